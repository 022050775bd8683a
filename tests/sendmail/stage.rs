//! A host of its own for one test: a program called sendmail, a configuration, a place for the socket, a drop
//! directory.
//!
//! Rule: nothing of this machine's own mail is touched. Must not know what a test proves.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use pillarbox::queue::dropped::{DIRECTORY_MODE, Head};
use tempfile::TempDir;

use crate::support::daemon::pillarbox;

/// The host.
#[derive(Debug)]
pub(crate) struct Stage {
    directory: TempDir,
    /// Set for every call.
    environment: Vec<(String, String)>,
}

/// A message in the drop directory.
#[derive(Debug)]
pub(crate) struct Dropped {
    /// Its file's name.
    pub(crate) name: String,
    pub(crate) head: Head,
    pub(crate) message: Vec<u8>,
}

impl Dropped {
    /// The message as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.message).into_owned()
    }
}

impl Stage {
    /// With the drop directory of a daemon that is down.
    pub(crate) fn new() -> Self {
        let stage = Self { directory: tempfile::tempdir().unwrap(), environment: Vec::new() };
        fs::set_permissions(stage.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(stage.drop_directory()).unwrap();
        fs::set_permissions(stage.drop_directory(), fs::Permissions::from_mode(DIRECTORY_MODE))
            .unwrap();
        stage.configure("");
        for name in ["sendmail", "mailq", "newaliases"] {
            symlink(pillarbox().get_program(), stage.path(name)).unwrap();
        }
        stage
    }

    /// Writes the configuration; `sections` are more of it.
    pub(crate) fn configure(&self, sections: &str) {
        let text = format!(
            "[sendmail]\nsocket = {:?}\ndrop_directory = {:?}\n[admin]\nsocket = {:?}\n{sections}",
            self.socket(),
            self.drop_directory(),
            self.path("admin.sock"),
        );
        fs::write(self.path("relay.toml"), text).unwrap();
    }

    /// Sets a variable for every call.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where the daemon would listen.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("submit.sock")
    }

    pub(crate) fn drop_directory(&self) -> PathBuf {
        self.path("drop")
    }

    /// The program under one of its names.
    pub(crate) fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path(name));
        command.args(arguments).env_clear().env("PILLARBOX_CONFIG", self.path("relay.toml"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Calls sendmail with this on standard input.
    pub(crate) fn sendmail(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Done {
        call(&mut self.command("sendmail", arguments), input.as_ref())
    }

    /// The messages in the drop directory, each proven whole.
    pub(crate) fn dropped(&self) -> Vec<Dropped> {
        let names = fs::read_dir(self.drop_directory()).unwrap();
        let mut names: Vec<PathBuf> = names.map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names.iter().map(|path| read(path)).collect()
    }

    /// The only one.
    #[track_caller]
    pub(crate) fn only_dropped(&self) -> Dropped {
        let mut all = self.dropped();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

fn read(path: &Path) -> Dropped {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("new."), "{name}");
    let bytes = fs::read(path).unwrap();
    let (head, length) = Head::read(&bytes).unwrap();
    let message = bytes[length..].to_vec();
    assert_eq!(head.message_bytes, message.len() as u64, "the file is whole");
    Dropped { name, head, message }
}

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// A success that says nothing, as cron wants it.
    #[track_caller]
    pub(crate) fn quietly(&self) {
        assert_eq!((self.code, &self.stdout[..], &self.stderr[..]), (Some(0), "", ""));
    }
}

/// Runs it with this on standard input.
pub(crate) fn call(command: &mut Command, input: &[u8]) -> Done {
    let mut child = command.spawn().unwrap();
    write_to(&mut child, input);
    done(child.wait_with_output().unwrap())
}

/// Writes standard input and closes it. Who refuses a message early need not read all of it.
pub(crate) fn write_to(child: &mut Child, input: &[u8]) {
    let mut pipe = child.stdin.take().unwrap();
    drop(pipe.write_all(input));
}

pub(crate) fn done(output: Output) -> Done {
    Done {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
