//! The users file: one `login:hash` a line, the hash as an argon2id string in PHC form; `#` begins a remark.
//!
//! Rule: a line that cannot be read costs only its user, a file that others may read costs all of them;
//! editing keeps every line it does not mean. Must not know passwords or SMTP.

use std::{
    collections::HashMap,
    fmt,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use argon2::{Params, password_hash::phc::PasswordHash};
use thiserror::Error;

use crate::{
    careful_file::{self, Links},
    fingerprint::Fingerprint,
    text::{as_utf8, without_hidden},
};

/// Octets of a users file we read: 10,000 users of about 100 octets each.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Users in one file: an organisation's worth of devices, few enough to keep in memory.
pub const USERS_MAX: usize = 10_000;
/// Octets of a login: what a mail address may have (RFC 5321 section 4.5.3.1.3).
pub const LOGIN_LENGTH_MAX: usize = 254;
/// KiB of memory that one verification may take. Verifications run side by side, so a line that asks for
/// more could end the relay.
const MEMORY_KIB_MAX: u32 = 64 * 1024;
/// Passes over that memory; with more of them one login takes seconds of a processor.
const PASSES_MAX: u32 = 8;
/// Lanes of the computation, which run one after another here.
const LANES_MAX: u32 = 4;
/// Readable by everyone, or writable by anyone but the owner: the same as for the upstream's password.
const OPEN_TO_OTHERS: u32 = 0o026;

/// Why there are no users to ask.
#[derive(Debug, Error)]
pub enum UsersError {
    /// The file cannot be read.
    #[error("the users file {} cannot be read: {error}; make it with: pillarbox user add LOGIN", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// Others may read or replace the file.
    #[error("the users file {} (mode {mode:04o}) is open to others; run: chmod g-w,o-rw {}", path.display(), path.display())]
    Permissions {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// More than a users file can be.
    #[error("the users file {} is not a users file: {reason}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Our own thread ended.
    #[error("looking for a user was interrupted; see the log of the relay")]
    Interrupted,
}

/// A line that names no user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    /// Its login, where it has one.
    pub login: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

/// A users file as it was read.
#[derive(Clone, Default)]
pub struct UsersFile {
    /// The hash of each login.
    pub hashes: HashMap<String, PasswordHash>,
    /// The logins in the order of the file.
    pub logins: Vec<String>,
    /// What was skipped.
    pub skipped: Vec<BadLine>,
    /// The text, for editing.
    text: String,
}

/// Without hashes and text: a line may hold a password that somebody forgot to hash.
impl fmt::Debug for UsersFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("UsersFile").field("logins", &self.logins).finish_non_exhaustive()
    }
}

impl UsersFile {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> Result<Self, UsersError> {
        Self::read_with_fingerprint(path).map(|(file, _)| file)
    }

    /// The same, and what tells this state of the file from the next one.
    pub(super) fn read_with_fingerprint(path: &Path) -> Result<(Self, Fingerprint), UsersError> {
        let unreadable = |error| UsersError::Unreadable { path: path.to_owned(), error };
        let mut file = careful_file::open(path, Links::Followed).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & OPEN_TO_OTHERS != 0 {
            return Err(UsersError::Permissions { path: path.to_owned(), mode });
        }
        let mut bytes = Vec::new();
        Read::by_ref(&mut file)
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        let refused = |reason: String| UsersError::Content { path: path.to_owned(), reason };
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(refused(format!("it is longer than {FILE_BYTES_MAX} octets")));
        }
        let text = String::from_utf8(as_utf8(&bytes).into_owned());
        let text = text.map_err(|_| refused("it is not UTF-8".into()))?;
        let users = Self::parse(without_hidden(&text).into_owned());
        if users.logins.len() > USERS_MAX {
            return Err(refused(format!("it has more than {USERS_MAX} users")));
        }
        Ok((users, Fingerprint::from(&metadata)))
    }

    /// Reads the text of a users file.
    #[must_use]
    pub fn parse(text: String) -> Self {
        let mut users = Self::default();
        for (index, line) in text.lines().enumerate() {
            let Some((login, hash)) = fields(line) else {
                if !is_remark(line) {
                    let reason = "it has no colon; a line is login:hash".to_owned();
                    users.skipped.push(BadLine { line: index + 1, login: None, reason });
                }
                continue;
            };
            let entry = check_login(login).and_then(|()| check_hash(hash)).and_then(|hash| {
                let is_new = !users.hashes.contains_key(login);
                is_new
                    .then_some(hash)
                    .ok_or_else(|| "the login is there already; the first one counts".into())
            });
            match entry {
                Ok(hash) => {
                    users.hashes.insert(login.to_owned(), hash);
                    users.logins.push(login.to_owned());
                }
                Err(reason) => {
                    users.skipped.push(BadLine {
                        line: index + 1,
                        login: Some(login.to_owned()),
                        reason,
                    });
                }
            }
        }
        users.text = text;
        users
    }

    /// The text of the file with this user, who has a new hash if there was one.
    #[must_use]
    pub fn with(&self, login: &str, hash: &str) -> String {
        let entry = format!("{login}:{hash}");
        let mut lines: Vec<&str> = self.text.lines().collect();
        match lines.iter().position(|line| is_of(line, login)) {
            Some(position) => lines[position] = &entry,
            None => lines.push(&entry),
        }
        joined(&lines)
    }

    /// The text of the file without any line of this user; `None` when there is none.
    #[must_use]
    pub fn without(&self, login: &str) -> Option<String> {
        let kept: Vec<&str> = self.text.lines().filter(|line| !is_of(line, login)).collect();
        (kept.len() < self.text.lines().count()).then(|| joined(&kept))
    }
}

/// Whether a login can be written into the file, and said in AUTH.
pub fn check_login(login: &str) -> Result<(), String> {
    if login.is_empty() {
        return Err("the login is empty".into());
    }
    if login.len() > LOGIN_LENGTH_MAX {
        return Err(format!("the login is longer than {LOGIN_LENGTH_MAX} octets"));
    }
    if login.starts_with('#') {
        return Err("a login cannot begin with #, which begins a remark".into());
    }
    if login
        .chars()
        .any(|character| character == ':' || character.is_control() || character.is_whitespace())
    {
        return Err("a login has no colon, blank or control character".into());
    }
    Ok(())
}

/// Whether a hash can be verified, and at which cost. The hash itself is never repeated.
fn check_hash(text: &str) -> Result<PasswordHash, String> {
    let form = "the password is not an argon2id hash; set it again with: pillarbox user add LOGIN";
    let hash = PasswordHash::new(text).map_err(|_| form.to_owned())?;
    if hash.algorithm.as_str() != "argon2id" || hash.salt.is_none() || hash.hash.is_none() {
        return Err(form.to_owned());
    }
    let params = Params::try_from(&hash).map_err(|_| form.to_owned())?;
    if params.m_cost() > MEMORY_KIB_MAX
        || params.t_cost() > PASSES_MAX
        || params.p_cost() > LANES_MAX
    {
        return Err(format!(
            "its hash asks for more than m={MEMORY_KIB_MAX},t={PASSES_MAX},p={LANES_MAX}; set the password again \
             with: pillarbox user add LOGIN"
        ));
    }
    Ok(hash)
}

fn is_remark(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn fields(line: &str) -> Option<(&str, &str)> {
    if is_remark(line) {
        return None;
    }
    line.split_once(':').map(|(login, hash)| (login.trim(), hash.trim()))
}

fn is_of(line: &str, login: &str) -> bool {
    fields(line).is_some_and(|(of, _)| of == login)
}

fn joined(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [*line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cheap parameters: what is tested here is the reading.
    const HASH: &str =
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$Ai6mmDI8mo+1ax9DX1rJWOIGiXVfYyT3aqFLnGK4Jqo";

    #[test]
    fn a_file_has_users_and_remarks_and_its_bad_lines_are_named() {
        let text = format!(
            "# devices\n\nprinter:{HASH}\n  camera : {HASH} \nprinter:{HASH}\nplain:secret\nnocolon\n\
             two words:{HASH}\n:{HASH}\nold:$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$Ai6mmDI8mo+1ax9DX1rJWOIGiXVfYyT3aqFLnGK4Jqo\n\
             big:$argon2id$v=19$m=9999999,t=1,p=1$c29tZXNhbHQ$Ai6mmDI8mo+1ax9DX1rJWOIGiXVfYyT3aqFLnGK4Jqo\n"
        );
        let users = UsersFile::parse(text);
        assert_eq!(users.logins, ["printer", "camera"]);
        let lines: Vec<usize> = users.skipped.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [5, 6, 7, 8, 9, 10, 11]);
        let shown = format!("{:?}", users.skipped);
        assert!(!shown.contains("secret\"") && !shown.contains("Ai6mm"), "{shown}");
        assert!(shown.contains("m=65536"), "{shown}");
    }

    #[test]
    fn editing_keeps_remarks_and_order_and_takes_every_line_of_a_user_away() {
        let users = UsersFile::parse(format!("# a\none:{HASH}\ntwo:{HASH}\nbroken\none:x\n"));
        assert_eq!(users.with("one", "NEW"), format!("# a\none:NEW\ntwo:{HASH}\nbroken\none:x\n"));
        assert_eq!(
            users.with("three", "NEW"),
            format!("# a\none:{HASH}\ntwo:{HASH}\nbroken\none:x\nthree:NEW\n")
        );
        assert_eq!(users.without("one"), Some(format!("# a\ntwo:{HASH}\nbroken\n")));
        assert_eq!(users.without("nobody"), None);
    }

    #[test]
    fn a_login_fits_into_a_line_and_into_auth() {
        for login in ["printer", "a@b.example", "drucker-ü", "x#1"] {
            assert_eq!(check_login(login), Ok(()), "{login}");
        }
        for login in ["", "#x", "a b", "a:b", "a\0b", "a\nb", &"x".repeat(255)] {
            assert!(check_login(login).is_err(), "{login:?}");
        }
    }
}
