//! The users who may log in: verifies a login and a password against the users file.
//!
//! Rule: a login that does not exist takes as long as one that does; at most `VERIFICATIONS_MAX` run at a
//! time, so their memory is bounded; the file is read anew when it has changed. A password is exposed here
//! only to be hashed, and reaches no log and no error. Must not know SMTP.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use argon2::{
    Argon2,
    password_hash::{Error as HashError, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::{sync::Semaphore, task::spawn_blocking};
use tokio_rustls::rustls::crypto::ring;

use super::users_file::UsersFile;
use crate::{fingerprint::Fingerprint, secret::Secret, sync};

pub use super::users_file::UsersError;

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

/// The users of one file.
#[derive(Debug)]
pub struct Users {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// `None` when the last reading failed.
    fingerprint: Option<Fingerprint>,
    file: Arc<UsersFile>,
}

impl Users {
    /// Reads the file.
    pub fn open(path: &Path) -> Result<Self, UsersError> {
        let (file, fingerprint) = UsersFile::read_with_fingerprint(path)?;
        log_reading(path, &file);
        let loaded = Loaded { fingerprint: Some(fingerprint), file: Arc::new(file) };
        Ok(Self {
            shared: Arc::new(Shared { path: path.to_owned(), loaded: Mutex::new(loaded) }),
            slots: Arc::new(Semaphore::new(VERIFICATIONS_MAX)),
        })
    }

    /// Whether there is such a user with this password. Waits for a free slot; a caller that goes away does
    /// not free its slot before the work is done.
    pub async fn verify(&self, login: &str, password: &Secret) -> Result<bool, UsersError> {
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
    fn verify(&self, login: &str, password: &Secret) -> Result<bool, UsersError> {
        let file = self.current()?;
        let found = file.hashes.get(login);
        // An unknown login is compared with somebody else's hash, so that it takes the same time.
        let hash = found.or_else(|| file.logins.first().and_then(|first| file.hashes.get(first)));
        let nobody = PasswordHash::new(NOBODY).map_err(|_| UsersError::Interrupted)?;
        let outcome = Argon2::default()
            .verify_password(password.expose().as_bytes(), hash.unwrap_or(&nobody));
        match outcome {
            Ok(()) => Ok(found.is_some()),
            Err(HashError::PasswordInvalid) => Ok(false),
            Err(_) => Err(UsersError::Interrupted),
        }
    }

    /// The users as the file has them now. One look at the file's metadata costs nothing beside the hash
    /// that follows, so that it is taken each time.
    fn current(&self) -> Result<Arc<UsersFile>, UsersError> {
        let present = Fingerprint::of(&self.path).ok();
        let mut loaded = self.lock();
        if present.is_some() && present == loaded.fingerprint {
            return Ok(Arc::clone(&loaded.file));
        }
        match UsersFile::read_with_fingerprint(&self.path) {
            Ok((file, fingerprint)) => {
                log_reading(&self.path, &file);
                *loaded = Loaded { fingerprint: Some(fingerprint), file: Arc::new(file) };
                Ok(Arc::clone(&loaded.file))
            }
            Err(error) => {
                // Said once, not with each login.
                if loaded.fingerprint.take().is_some() {
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
        let shown = format!("{:?} {:?}", users, UsersFile::read(&stage.path).unwrap().skipped);
        assert!(shown.contains("printer") && shown.contains("broken"), "{shown}");
        assert!(!shown.contains("secret") && !shown.contains("argon2id$"), "{shown}");
    }
}
