//! The trust in a file that was found and not named.
//!
//! Rule: it belongs to root or to the caller, so does the directory that it lies in, and nobody else may write either; so
//! it is for a link, too, and for what it leads to. Must not know what the file says.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Write permission for the group and for everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why the file does not count, when it does not, in words that go on after its name. `by_the_system` is a path that
/// only root can have made: what is mounted there for reading only is what root has put there, whosever it is elsewhere.
pub(crate) fn distrust(path: &Path, by_the_system: bool) -> Option<String> {
    let caller = rustix::process::geteuid().as_raw();
    let judged = whole_way(path).and_then(|way| {
        way.iter().map(|place| fault(place, caller, by_the_system)).collect::<io::Result<Vec<_>>>()
    });
    match judged {
        Ok(faults) => faults.into_iter().flatten().next(),
        Err(error) => Some(format!("its owner cannot be found out: {error}")),
    }
}

/// The link or file itself, what it leads to, and the directories of both.
fn whole_way(path: &Path) -> io::Result<Vec<PathBuf>> {
    let target = fs::canonicalize(path)?;
    let directory = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("/"),
    };
    Ok(vec![path.to_owned(), directory(path), directory(&target), target])
}

fn fault(place: &Path, caller: u32, by_the_system: bool) -> io::Result<Option<String>> {
    let found = fs::symlink_metadata(place)?;
    let shown = place.display();
    let read_only = is_read_only(place);
    let is_ours = found.uid() == 0 || found.uid() == caller || (by_the_system && read_only);
    if !is_ours {
        let owner = found.uid();
        return Ok(Some(format!("{shown} belongs to user {owner}, and not to root or to you")));
    }
    // The mode of a link means nothing.
    let may_be_written = found.mode() & WRITABLE_BY_OTHERS != 0 && !found.is_symlink();
    Ok((may_be_written && !read_only).then(|| format!("others may write {shown}")))
}

fn is_read_only(place: &Path) -> bool {
    use rustix::fs::StatVfsMountFlags;
    rustix::fs::statvfs(place).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_counts_that_nobody_else_can_have_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("relay.toml");
        fs::write(&file, "").unwrap();
        set_mode(&file, 0o644);
        set_mode(directory.path(), 0o755);
        assert_eq!(distrust(&file, false), None);
        for (path, mode) in [
            (file.as_path(), 0o664),
            (file.as_path(), 0o646),
            (directory.path(), 0o775),
            (directory.path(), 0o1777),
        ] {
            set_mode(path, mode);
            let words = distrust(&file, false).unwrap();
            assert_eq!(words, format!("others may write {}", path.display()));
            assert!(distrust(&file, true).is_some());
            set_mode(&file, 0o644);
            set_mode(directory.path(), 0o755);
        }
        assert_eq!(distrust(&file, false), None);
    }

    #[test]
    fn a_link_counts_only_when_both_of_its_ends_do() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = theirs.path().join("theirs.toml");
        fs::write(&file, "").unwrap();
        let link = ours.path().join("relay.toml");
        symlink(&file, &link).unwrap();
        set_mode(&file, 0o644);
        assert_eq!(distrust(&link, false), None);
        set_mode(theirs.path(), 0o777);
        assert!(distrust(&link, false).unwrap().contains("others may write"));
    }

    #[test]
    fn what_belongs_to_somebody_else_does_not_count() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give a file away.
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("relay.toml");
        fs::write(&file, "").unwrap();
        set_mode(&file, 0o644);
        chown(&file, Some(61_001), None).unwrap();
        assert!(distrust(&file, false).unwrap().contains("belongs to user 61001"));
        chown(&file, Some(0), None).unwrap();
        chown(directory.path(), Some(61_001), None).unwrap();
        assert!(distrust(&file, true).unwrap().contains("belongs to user 61001"));
    }
}
