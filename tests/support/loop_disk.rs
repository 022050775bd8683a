//! An ext4 file system in a file, mounted through a loop device: a disk whose power can be cut, and which
//! can be full. Needs root and loop devices.
//!
//! Rule: with `commit=300` nothing but a sync of the daemon writes the journal, so that a copy of the image
//! holds what a disk would hold at that moment. Every mount ends with its owner. Must not know the daemon.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

/// A mounted image.
#[derive(Debug)]
pub(crate) struct LoopDisk {
    image: PathBuf,
    mounted_at: PathBuf,
}

/// Why this machine cannot mount images; `None` when it can.
pub(crate) fn unavailable() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting an image needs root".into());
    }
    let probe = tempfile::tempdir().expect("a temporary directory");
    LoopDisk::create(probe.path(), "probe", 8 << 20).err()
}

impl LoopDisk {
    /// Makes a file system of `bytes` in `directory` and mounts it.
    pub(crate) fn create(directory: &Path, name: &str, bytes: u64) -> Result<Self, String> {
        let image = directory.join(format!("{name}.img"));
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(bytes).map_err(|error| error.to_string())?;
        // No blocks kept back for root, and nothing that the kernel would write later by itself.
        let options = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        run(Command::new("mkfs.ext4").args(options).arg(&image))?;
        Self::mount(image, directory, name)
    }

    fn mount(image: PathBuf, directory: &Path, name: &str) -> Result<Self, String> {
        let mounted_at = directory.join(name);
        fs::create_dir_all(&mounted_at).map_err(|error| error.to_string())?;
        run(Command::new("mount").args(["-o", "loop,commit=300"]).arg(&image).arg(&mounted_at))?;
        Ok(Self { image, mounted_at })
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mounted_at
    }

    /// The power cut: takes what is on the disk at this moment as a new disk, mounts that one, and throws
    /// this one away. The processes that wrote to it must be dead already.
    pub(crate) fn cut_power(self, name: &str) -> Self {
        let directory = self.image.parent().expect("the image lies in a directory").to_owned();
        let copy = directory.join(format!("{name}.img"));
        run(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(&copy)).expect("a copy");
        let old = self.image.clone();
        drop(self);
        fs::remove_file(old).expect("the old image is removed");
        Self::mount(copy, &directory, name).expect("the copy is mounted and its journal replayed")
    }

    /// Writes a file until `free` octets or fewer are left.
    pub(crate) fn fill(&self, file: &str, free: u64) {
        let mut ballast = File::options()
            .create(true)
            .append(true)
            .open(self.mounted_at.join(file))
            .expect("the ballast opens");
        for block in [vec![1; 1 << 20], vec![1; 4096]] {
            while self.free() > free + block.len() as u64 && ballast.write_all(&block).is_ok() {}
        }
        if free == 0 {
            // The last blocks, until the disk says no.
            while ballast.write_all(&[1; 512]).is_ok() {}
        }
        // A full disk refuses this as well, which is the point.
        drop(ballast.sync_all());
    }

    /// Octets that are free.
    pub(crate) fn free(&self) -> u64 {
        let figures = rustix::fs::statvfs(&self.mounted_at).expect("the file system answers");
        figures.f_bavail * figures.f_frsize
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if run(Command::new("umount").arg(&self.mounted_at)).is_err() {
            // Somebody still holds it, such as a child that a failed test left behind: let go when it ends.
            drop(run(Command::new("umount").arg("--lazy").arg(&self.mounted_at)));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    // mkfs and mount live where the path of an ordinary user does not lead.
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command.env("PATH", format!("{path}:/usr/sbin:/sbin")).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
