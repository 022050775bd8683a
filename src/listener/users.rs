//! The users who may log in: the file of `login:hash` lines, and passwords verified against it.
//!
//! Rule: a login that does not exist takes as long as one that does; a line that cannot be read costs only its user, a file
//! that others may read costs all of them. A password is exposed here only to be hashed, and reaches no log and no error.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use argon2::{
    Argon2, Params,
    password_hash::{Error as HashError, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use thiserror::Error;
use tokio::{sync::Semaphore, task::spawn_blocking};
use tokio_rustls::rustls::crypto::ring;

use crate::{
    careful_file::{self, Links},
    file_stamp::FileStamp,
    secret::Secret,
    sync,
    text::{as_utf8, without_hidden},
};

/// Verifications at a time. Each takes 19 MiB and a processor for some 20 ms, or as much as its line of the
/// file asks for, which is at most 64 MiB.
const VERIFICATIONS_MAX: usize = 2;
/// Bad lines that are logged each time the file is read; the rest is counted.
const BAD_LINES_LOGGED_MAX: usize = 10;
/// Octets of a salt (RFC 9106 section 3.1 recommends 16).
const SALT_LENGTH: usize = 16;
/// What the password of an unknown login is compared with when the file is empty: the parameters that we
/// write, and an output that no password has.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$cGlsbGFyYm94bm9ib2R5$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What the users of a file may do with a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UsersOf {
    /// Send mail: devices and programs. A line is `login:hash`.
    Listener,
    /// See and command the relay on its page. A line is `login:hash`, or `login:hash:look`.
    Page,
}

/// What ends the line of a user of the page who may see everything and do nothing.
pub(crate) const LOOK: &str = ":look";

/// A user whose password was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Who it is.
    pub(crate) login: String,
    /// Whether he may only look.
    pub(crate) only_looks: bool,
    hash: Hash,
}

/// A hash that is never printed.
#[derive(Clone, PartialEq, Eq)]
struct Hash(PasswordHash);

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Hash")
    }
}

/// The users of one file.
#[derive(Debug)]
pub struct Users {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    of: UsersOf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// `None` when the last reading failed.
    stamp: Option<FileStamp>,
    file: Arc<UsersFile>,
}

impl Users {
    /// Reads the file of the listener's users.
    pub fn open(path: &Path) -> Result<Self, UsersError> {
        Self::read(path, UsersOf::Listener)
    }

    fn read(path: &Path, of: UsersOf) -> Result<Self, UsersError> {
        let (file, stamp) = UsersFile::read_with_stamp(path, of)?;
        log_reading(path, &file);
        Ok(Self::with(path, of, Loaded { stamp: Some(stamp), file: Arc::new(file) }))
    }

    /// The users of the page, whose file may not be readable yet: until it is, which is logged, nobody can log in.
    pub(crate) fn of_page(path: &Path) -> Self {
        let of = UsersOf::Page;
        Self::read(path, of).unwrap_or_else(|error| {
            tracing::error!(%error, "users not readable; nobody can log in");
            Self::with(path, of, Loaded { stamp: None, file: Arc::default() })
        })
    }

    fn with(path: &Path, of: UsersOf, loaded: Loaded) -> Self {
        Self {
            shared: Arc::new(Shared { path: path.to_owned(), of, loaded: Mutex::new(loaded) }),
            slots: Arc::new(Semaphore::new(VERIFICATIONS_MAX)),
        }
    }

    /// Whether there is such a user with this password. Waits for a free slot; a caller that goes away does
    /// not free its slot before the work is done.
    pub async fn verify(&self, login: &str, password: &Secret) -> Result<bool, UsersError> {
        self.identify(login, password).await.map(|known| known.is_some())
    }

    /// Whether this user is in the file as he was when he came: with the same password, and the same rights.
    pub(crate) async fn still_has(&self, known: &Known) -> bool {
        let (shared, known) = (Arc::clone(&self.shared), known.clone());
        let look = spawn_blocking(move || {
            shared.current().is_ok_and(|file| file.known(&known.login).as_ref() == Some(&known))
        });
        look.await.unwrap_or(false)
    }

    /// The user with this login and password; as [`Users::verify`].
    pub(crate) async fn identify(
        &self,
        login: &str,
        password: &Secret,
    ) -> Result<Option<Known>, UsersError> {
        let slot =
            Arc::clone(&self.slots).acquire_owned().await.map_err(|_| UsersError::Interrupted)?;
        let (shared, login, password) =
            (Arc::clone(&self.shared), login.to_owned(), password.clone());
        let verification = spawn_blocking(move || {
            let _slot = slot;
            shared.verify(&login, &password)
        });
        verification.await.map_err(|_| UsersError::Interrupted)?
    }
}

impl Shared {
    fn verify(&self, login: &str, password: &Secret) -> Result<Option<Known>, UsersError> {
        let file = self.current()?;
        let found = file.hashes.get(login);
        // An unknown login is compared with somebody else's hash, so that it takes the same time.
        let hash = found.or_else(|| file.logins.first().and_then(|first| file.hashes.get(first)));
        let nobody = PasswordHash::new(NOBODY).map_err(|_| UsersError::Interrupted)?;
        let outcome = Argon2::default()
            .verify_password(password.expose().as_bytes(), hash.unwrap_or(&nobody));
        match outcome {
            Ok(()) => Ok(file.known(login)),
            Err(HashError::PasswordInvalid) => Ok(None),
            Err(_) => Err(UsersError::Interrupted),
        }
    }

    /// The users as the file has them now. One look at the file's metadata costs nothing beside the hash
    /// that follows, so that it is taken each time.
    fn current(&self) -> Result<Arc<UsersFile>, UsersError> {
        let present = FileStamp::of(&self.path).ok();
        let mut loaded = self.lock();
        if present.is_some() && present == loaded.stamp {
            return Ok(Arc::clone(&loaded.file));
        }
        match UsersFile::read_with_stamp(&self.path, self.of) {
            Ok((file, stamp)) => {
                log_reading(&self.path, &file);
                *loaded = Loaded { stamp: Some(stamp), file: Arc::new(file) };
                Ok(Arc::clone(&loaded.file))
            }
            Err(error) => {
                // Said once, not with each login.
                if loaded.stamp.take().is_some() {
                    tracing::error!(%error, "users not readable; nobody can log in");
                }
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        sync::lock(&self.loaded)
    }
}

fn log_reading(path: &Path, file: &UsersFile) {
    let shown = path.display();
    tracing::info!(file = %shown, users = file.logins.len(), skipped = file.skipped.len(), "users read");
    for bad in file.skipped.iter().take(BAD_LINES_LOGGED_MAX) {
        let login = bad.login.as_deref().unwrap_or_default();
        tracing::warn!(file = %shown, line = bad.line, login, reason = bad.reason, "user skipped");
    }
}

/// Hashes a password for the users file, with a new salt and the parameters of the OWASP password storage
/// recommendation (m=19456, t=2, p=1).
pub fn hash(password: &Secret) -> Result<String, UsersError> {
    let mut salt = [0; SALT_LENGTH];
    ring::default_provider().secure_random.fill(&mut salt).map_err(|_| UsersError::Interrupted)?;
    let hash = Argon2::default().hash_password_with_salt(password.expose().as_bytes(), &salt);
    hash.map(|hash: PasswordHash| hash.to_string()).map_err(|_| UsersError::Interrupted)
}

/// Octets of a users file we read: 10,000 users of about 100 octets each.
pub(crate) const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Users in one file: an organisation's worth of devices, few enough to keep in memory.
pub(crate) const USERS_MAX: usize = 10_000;
/// Octets of a login: what a mail address may have (RFC 5321 section 4.5.3.1.3).
pub(crate) const LOGIN_LENGTH_MAX: usize = 254;
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
pub(crate) struct BadLine {
    /// Counted from 1.
    pub(crate) line: usize,
    /// Its login, where it has one.
    pub(crate) login: Option<String>,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// A users file as it was read.
#[derive(Clone, Default)]
pub(crate) struct UsersFile {
    /// The hash of each login.
    pub(crate) hashes: HashMap<String, PasswordHash>,
    /// The logins in the order of the file.
    pub(crate) logins: Vec<String>,
    /// Those that may only look.
    pub(crate) lookers: HashSet<String>,
    /// What was skipped.
    pub(crate) skipped: Vec<BadLine>,
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
    pub(crate) fn read(path: &Path, of: UsersOf) -> Result<Self, UsersError> {
        Self::read_with_stamp(path, of).map(|(file, _)| file)
    }

    /// The same, and what tells this state of the file from the next one.
    fn read_with_stamp(path: &Path, of: UsersOf) -> Result<(Self, FileStamp), UsersError> {
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
        let users = Self::parse(without_hidden(&text).into_owned(), of);
        if users.logins.len() > USERS_MAX {
            return Err(refused(format!("it has more than {USERS_MAX} users")));
        }
        Ok((users, FileStamp::from(&metadata)))
    }

    /// Reads the text of a users file.
    #[must_use]
    pub(crate) fn parse(text: String, of: UsersOf) -> Self {
        let mut users = Self::default();
        for (index, line) in text.lines().enumerate() {
            let Some((login, hash)) = fields(line) else {
                if !is_remark(line) {
                    let reason = "it has no colon; a line is login:hash".to_owned();
                    users.skipped.push(BadLine { line: index + 1, login: None, reason });
                }
                continue;
            };
            let looker = hash.strip_suffix(LOOK).filter(|_| of == UsersOf::Page);
            let (hash, only_looks) = (looker.unwrap_or(hash), looker.is_some());
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
                    if only_looks {
                        users.lookers.insert(login.to_owned());
                    }
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

    /// The user with this login.
    fn known(&self, login: &str) -> Option<Known> {
        let hash = Hash(self.hashes.get(login)?.clone());
        Some(Known { login: login.to_owned(), only_looks: self.lookers.contains(login), hash })
    }

    /// The text of the file with this user, who has a new hash if there was one.
    #[must_use]
    pub(crate) fn with(&self, login: &str, hash: &str) -> String {
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
    pub(crate) fn without(&self, login: &str) -> Option<String> {
        let kept: Vec<&str> = self.text.lines().filter(|line| !is_of(line, login)).collect();
        (kept.len() < self.text.lines().count()).then(|| joined(&kept))
    }
}

/// Whether a login can be written into the file, and said in AUTH.
pub(crate) fn check_login(login: &str) -> Result<(), String> {
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
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    struct Stage {
        _directory: tempfile::TempDir,
        path: PathBuf,
    }

    impl Stage {
        fn new(text: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let stage = Self { path: directory.path().join("users"), _directory: directory };
            stage.write(text, 0o600);
            stage
        }

        fn write(&self, text: &str, mode: u32) {
            fs::write(&self.path, text).unwrap();
            fs::set_permissions(&self.path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    fn line(login: &str, password: &str) -> String {
        format!("{login}:{}\n", hash(&secret(password)).unwrap())
    }

    #[tokio::test]
    async fn only_the_right_password_of_an_existing_login_opens() {
        let stage = Stage::new(&(line("printer", "correct horse") + &line("camera", "")));
        let users = Users::open(&stage.path).unwrap();
        for (login, password, opens) in [
            ("printer", "correct horse", true),
            ("printer", "correct hors", false),
            ("printer", "", false),
            ("Printer", "correct horse", false),
            // The password of the first user, whose hash stands in for those that do not exist.
            ("nobody", "correct horse", false),
            ("", "correct horse", false),
            ("camera", "correct horse", false),
        ] {
            assert_eq!(
                users.verify(login, &secret(password)).await.unwrap(),
                opens,
                "{login} {password}"
            );
        }
    }

    #[tokio::test]
    async fn an_empty_file_refuses_everybody() {
        let stage = Stage::new("# nobody yet\n");
        let users = Users::open(&stage.path).unwrap();
        assert!(!users.verify("printer", &secret("anything")).await.unwrap());
    }

    #[test]
    fn the_stand_in_for_nobody_costs_what_our_own_hashes_cost() {
        let parameters =
            |text: &str| text.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parameters(NOBODY), parameters(&hash(&secret("x")).unwrap()));
        assert!(PasswordHash::new(NOBODY).is_ok());
    }

    #[test]
    fn two_hashes_of_one_password_differ() {
        assert_ne!(hash(&secret("x")).unwrap(), hash(&secret("x")).unwrap());
    }

    #[tokio::test]
    async fn a_changed_file_counts_at_once_and_a_broken_one_until_it_is_mended() {
        let stage = Stage::new(&line("printer", "old"));
        let users = Users::open(&stage.path).unwrap();
        stage.write(&line("printer", "brand new"), 0o600);
        assert!(!users.verify("printer", &secret("old")).await.unwrap());
        assert!(users.verify("printer", &secret("brand new")).await.unwrap());

        fs::set_permissions(&stage.path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = users.verify("printer", &secret("brand new")).await.unwrap_err().to_string();
        assert!(error.contains("mode 0644") && error.contains("chmod"), "{error}");
        fs::remove_file(&stage.path).unwrap();
        let error = users.verify("printer", &secret("brand new")).await.unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
        stage.write(&line("printer", "third"), 0o640);
        assert!(users.verify("printer", &secret("third")).await.unwrap());
    }

    #[test]
    fn what_is_no_users_file_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let error = Users::open(&directory.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("pillarbox user add"), "{error}");
        assert!(Users::open(directory.path()).is_err(), "a directory");
        let stage = Stage::new(&"x".repeat(1024 * 1024 + 1));
        assert!(Users::open(&stage.path).unwrap_err().to_string().contains("longer than"));
        for (mode, accepted) in
            [(0o600, true), (0o640, true), (0o400, true), (0o604, false), (0o660, false)]
        {
            stage.write("", mode);
            assert_eq!(Users::open(&stage.path).is_ok(), accepted, "{mode:o}");
        }
    }

    #[test]
    fn neither_passwords_nor_hashes_are_printed() {
        let stage = Stage::new(&(line("printer", "secret") + "broken:secret\n"));
        let users = Users::open(&stage.path).unwrap();
        let shown = format!(
            "{:?} {:?}",
            users,
            UsersFile::read(&stage.path, UsersOf::Listener).unwrap().skipped
        );
        assert!(shown.contains("printer") && shown.contains("broken"), "{shown}");
        assert!(!shown.contains("secret") && !shown.contains("argon2id$"), "{shown}");
    }

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
        let users = UsersFile::parse(text, UsersOf::Listener);
        assert_eq!(users.logins, ["printer", "camera"]);
        let lines: Vec<usize> = users.skipped.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [5, 6, 7, 8, 9, 10, 11]);
        let shown = format!("{:?}", users.skipped);
        assert!(!shown.contains("secret\"") && !shown.contains("Ai6mm"), "{shown}");
        assert!(shown.contains("m=65536"), "{shown}");
    }

    #[test]
    fn editing_keeps_remarks_and_order_and_takes_every_line_of_a_user_away() {
        let users = UsersFile::parse(
            format!("# a\none:{HASH}\ntwo:{HASH}\nbroken\none:x\n"),
            UsersOf::Listener,
        );
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

    #[test]
    fn only_a_user_of_the_page_may_be_there_to_look() {
        let text = format!("alice:{HASH}\nbob:{HASH}:look\ncarol:{HASH}:act\n");
        let of_the_page = UsersFile::parse(text.clone(), UsersOf::Page);
        assert_eq!(of_the_page.logins, ["alice", "bob"]);
        let only_looks = |login| of_the_page.known(login).map(|known| known.only_looks);
        assert_eq!([only_looks("alice"), only_looks("bob")], [Some(false), Some(true)]);
        assert_eq!(only_looks("carol"), None, "what is not known gives no rights");
        assert_eq!(UsersFile::parse(text, UsersOf::Listener).logins, ["alice"]);
    }

    #[tokio::test]
    async fn a_user_is_known_until_his_password_or_his_rights_change() {
        let path = |stage: &Stage| Users::of_page(&stage.path);
        let stage = Stage::new("");
        fs::remove_file(&stage.path).unwrap();
        let users = path(&stage);
        assert!(users.identify("alice", &secret("x")).await.is_err(), "there is no file yet");
        let entry = line("alice", "x");
        stage.write(&entry, 0o600);
        let known = users.identify("alice", &secret("x")).await.unwrap().unwrap();
        assert!(!known.only_looks && !format!("{known:?}").contains("argon2id"));
        assert!(users.still_has(&known).await);
        for changed in [entry.replace('\n', ":look\n"), line("alice", "x"), String::new()] {
            stage.write(&changed, 0o600);
            assert!(!users.still_has(&known).await, "{changed}");
        }
        stage.write(&(entry + "# the same again\n"), 0o600);
        assert!(users.still_has(&known).await);
    }
}
