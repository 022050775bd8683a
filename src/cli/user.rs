//! `pillarbox user`: who may log in, to the listener or to the page.
//!
//! Rule: a password comes from a terminal or from standard input, never from the command line, which every
//! user of the host can read; the running daemon needs no word, it sees the changed file. Must not know how
//! a password is hashed or a file replaced.

use std::{
    fs::{self, File, Metadata},
    io::{self, Write},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::json;
use thiserror::Error;

use super::{
    password,
    screen::{self, Form, Screen, clean, count},
};
use crate::{
    careful_file,
    exit::{Exit, Failure},
    listener::users::{self, LOOK, USERS_MAX, UsersError, UsersFile, UsersOf, check_login},
    settings,
};

/// Which file.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// People who see and command the relay on its page, instead of devices that send mail.
    #[arg(long, global = true)]
    admin: bool,
    /// The users file; default: listener.users_file of the configuration, or with --admin admin.page_users_file.
    #[arg(long, global = true, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What is done with it.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Add a login, or give it a new password, which is asked for.
    Add {
        /// The name that the device logs in with.
        login: String,
        /// With --admin: may see everything on the page, and do nothing.
        #[arg(long)]
        look: bool,
        /// Read the password from the first line of standard input, without asking.
        #[arg(long)]
        stdin: bool,
    },
    /// Remove a login.
    Remove {
        /// The name that the device logs in with.
        login: String,
    },
    /// Show the logins.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Does it.
pub(super) fn run(
    out: &mut dyn Screen,
    config: Option<&Path>,
    arguments: Arguments,
    command: Command,
) -> Result<(), Failure> {
    let of = if arguments.admin { UsersOf::Page } else { UsersOf::Listener };
    let path = match arguments.file {
        Some(file) => file,
        None => configured(config, of)?,
    };
    let file = UserFile { path, of };
    match command {
        Command::Add { look: true, .. } if !arguments.admin => Err(Failure::new(
            Exit::Usage,
            "--look is for a user of the page; add --admin, or leave it out",
        )),
        Command::Add { login, look, stdin } => add(out, &file, &login, look, stdin),
        Command::Remove { login } => remove(out, &file, &login),
        Command::List { json } => list(out, &file, if json { Form::Json } else { Form::Text }),
    }
}

/// The file that is meant.
struct UserFile {
    path: PathBuf,
    of: UsersOf,
}

fn configured(config: Option<&Path>, of: UsersOf) -> Result<PathBuf, Failure> {
    let settings = settings::load(config)?;
    let (file, key) = match of {
        UsersOf::Listener => (settings.listener.users_file, "users_file under [listener]"),
        UsersOf::Page => (
            settings.admin.page.and_then(|page| page.users_file),
            "page and page_users_file under [admin]",
        ),
    };
    file.ok_or_else(|| {
        let words = format!(
            "no users file is configured ({}). Set {key}, or name the file with --file",
            settings.source
        );
        Failure::new(Exit::Configuration, words)
    })
}

fn add(
    out: &mut dyn Screen,
    file: &UserFile,
    login: &str,
    only_looks: bool,
    from_stdin: bool,
) -> Result<(), Failure> {
    let path = &file.path;
    check_login(login)
        .map_err(|reason| Failure::new(Exit::Usage, format!("{login:?}: {reason}")))?;
    // A file that cannot be edited is found out before anybody types a password; the lock comes after it.
    drop(Edit::begin(file)?);
    let entered = password::ask(login, from_stdin)?;
    let right = if only_looks { LOOK } else { "" };
    let hash = users::hash(&entered.secret)? + right;
    let edit = Edit::begin(file)?;
    let is_new = !edit.users().hashes.contains_key(login);
    if is_new && edit.users().logins.len() >= USERS_MAX {
        let words = format!("{} has {USERS_MAX} users already, which is the most", path.display());
        return Err(Failure::new(Exit::Data, words));
    }
    let text = edit.users().with(login, &hash);
    let was_created = edit.creates();
    edit.finish(&text)?;
    let shown = path.display();
    if is_new {
        writeln!(out, "{} can log in now; {shown} is up to date.", clean(login))?;
    } else {
        writeln!(out, "{} has a new password; {shown} is up to date.", clean(login))?;
    }
    if was_created && rustix::process::geteuid().is_root() {
        writeln!(
            out,
            "The file is new: the user that runs the relay must be able to read it, for example"
        )?;
        writeln!(out, "  chown root:pillarbox {shown}")?;
    }
    if let Some(warning) = entered.warning {
        writeln!(out, "Warning: {warning}.")?;
    }
    Ok(())
}

fn remove(out: &mut dyn Screen, file: &UserFile, login: &str) -> Result<(), Failure> {
    let path = &file.path;
    let edit = Edit::begin(file)?;
    let Some(text) = edit.users().without(login) else {
        let admin = if file.of == UsersOf::Page { " --admin" } else { "" };
        let words = format!(
            "there is no user {login:?} in {}; see: pillarbox user list{admin}",
            path.display()
        );
        return Err(Failure::new(Exit::Data, words));
    };
    edit.finish(&text)?;
    writeln!(out, "{} cannot log in any more; {} is up to date.", clean(login), path.display())?;
    Ok(())
}

fn list(out: &mut dyn Screen, file: &UserFile, form: Form) -> Result<(), Failure> {
    let path = &file.path;
    let users = UsersFile::read(path, file.of)?;
    match form {
        Form::Json => {
            let skipped: Vec<_> = users
                .skipped
                .iter()
                .map(|bad| json!({ "line": bad.line, "login": bad.login, "reason": bad.reason }))
                .collect();
            let mut document = json!({ "file": path, "users": users.logins, "skipped": skipped });
            if file.of == UsersOf::Page {
                let looks = |login: &&String| users.lookers.contains(*login);
                document["only_look"] = users.logins.iter().filter(looks).cloned().collect();
            }
            screen::json(out, &document)?;
        }
        Form::Text => print(out, path, &users)?,
    }
    Ok(())
}

fn print(out: &mut dyn Screen, path: &Path, users: &UsersFile) -> io::Result<()> {
    for login in &users.logins {
        let right = if users.lookers.contains(login) { " may look" } else { "" };
        writeln!(out, "{}{right}", clean(login))?;
    }
    for bad in &users.skipped {
        writeln!(out, "Warning: line {} is skipped: {}.", bad.line, bad.reason)?;
    }
    writeln!(out, "{} in {}", count(users.logins.len() as u64, "user"), path.display())
}

impl From<UsersError> for Failure {
    fn from(error: UsersError) -> Self {
        let exit = match &error {
            UsersError::Unreadable { error, .. }
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                Exit::Permission
            }
            UsersError::Unreadable { .. } | UsersError::Content { .. } => Exit::Data,
            UsersError::Permissions { .. } => Exit::Configuration,
            UsersError::Interrupted => Exit::Temporary,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Users(error) => error.into(),
            EditError::File { path, error } => {
                let words = format!("cannot write {}: {error}", path.display());
                match error.kind() {
                    io::ErrorKind::PermissionDenied => Self::new(
                        Exit::Permission,
                        format!("{words}; run the command as root, or as the owner of the file"),
                    ),
                    _ => Self::new(Exit::Temporary, words),
                }
            }
        }
    }
}

/// A new file is for its owner alone.
const MODE_NEW: u32 = 0o600;
/// What root makes is also for the group of the directory: the relay's, as a rule.
const MODE_NEW_OF_ROOT: u32 = 0o640;

/// Why the file was not replaced.
#[derive(Debug, Error)]
enum EditError {
    /// It cannot be read, or should not be used.
    #[error("{0}")]
    Users(#[from] UsersError),
    /// It cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
}

/// The lock on a users file, and what was in it.
#[derive(Debug)]
struct Edit {
    path: PathBuf,
    /// The locked directory: no lock file stays behind, and the lock ends with the process.
    directory: File,
    users: UsersFile,
    /// What the file was like; `None` when there is none yet.
    present: Option<Metadata>,
}

impl Edit {
    /// Waits for other editors and reads the file; one that does not exist is empty.
    pub(super) fn begin(file: &UserFile) -> Result<Self, EditError> {
        let path = &file.path;
        // A symbolic link stays, and what it names is replaced; but not for root, when it is somebody else's.
        careful_file::expect_no_link_of_others(path)
            .map_err(|error| EditError::File { path: path.to_owned(), error })?;
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let failed = |error: io::Error| EditError::File { path: path.clone(), error };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(parent.unwrap_or_else(|| Path::new("."))).map_err(failed)?;
        careful_file::lock(&directory).map_err(failed)?;
        let present = match fs::metadata(&path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let users = present
            .as_ref()
            .map(|_| UsersFile::read(&path, file.of))
            .transpose()?
            .unwrap_or_default();
        Ok(Self { path, directory, users, present })
    }

    /// What is in the file.
    pub(super) fn users(&self) -> &UsersFile {
        &self.users
    }

    /// Whether the file is a new one.
    pub(super) fn creates(&self) -> bool {
        self.present.is_none()
    }

    /// Puts the new text in the place of the old.
    pub(super) fn finish(self, text: &str) -> Result<(), EditError> {
        let scratch = self.scratch();
        let written = self.write(&scratch, text);
        if written.is_err() {
            // What is left of the attempt is overwritten by the next one.
            fs::remove_file(&scratch).ok();
        }
        written.map_err(|error| EditError::File { path: self.path.clone(), error })
    }

    fn write(&self, scratch: &Path, text: &str) -> io::Result<()> {
        let mut file = careful_file::create(scratch, MODE_NEW)?;
        file.write_all(text.as_bytes())?;
        self.give(&file)?;
        file.sync_all()?;
        fs::rename(scratch, &self.path)?;
        self.directory.sync_all()
    }

    /// Owner, group and mode of the file that is replaced.
    fn give(&self, file: &File) -> io::Result<()> {
        let own = file.metadata()?;
        let (owner, group, mode) = match &self.present {
            Some(present) => (present.uid(), present.gid(), present.permissions().mode()),
            None if rustix::process::geteuid().is_root() => {
                (own.uid(), self.directory.metadata()?.gid(), MODE_NEW_OF_ROOT)
            }
            None => (own.uid(), own.gid(), MODE_NEW),
        };
        if (owner, group) != (own.uid(), own.gid()) {
            std::os::unix::fs::fchown(file, Some(owner), Some(group))?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))
    }

    /// Beside the file, because a rename does not cross file systems; one name, because of the lock.
    fn scratch(&self) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(".new");
        self.path.with_file_name(name)
    }
}

#[cfg(test)]
mod tests;
