//! The file that keeps the refresh token, and the last access token beside it.
//!
//! Rule: it is replaced whole (written beside, synced, renamed, directory synced) with mode 0600, and a complete
//! file that a crash left beside it is not lost. One writer at a time, also between processes. Secrets are exposed
//! here to be written, and nowhere else to disk. Blocks. Must not know how tokens are had.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{client_file::read_secret, error::TokenError, issuer::Issuer};
use crate::{careful_file, clock::Timestamp, secret::Secret};

/// The version of the file's layout.
const VERSION: u32 = 1;
/// What is appended to the name while a new file is written.
const BESIDE: &str = ".new";
const WHAT: &str = "the token file";

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The account that has consented, as the configuration called it then.
    pub username: String,
    /// The client that the refresh token belongs to.
    pub client_id: String,
    /// The refresh token.
    pub refresh_token: Secret,
    /// When it was given.
    pub granted_at: Timestamp,
    /// When it ends, if that is known: 7 days after the consent while the consent screen is in testing.
    pub refresh_token_expires_at: Option<Timestamp>,
    /// What was allowed.
    pub scope: Option<String>,
    /// The last access token.
    pub access: Option<StoredAccess>,
    /// When this was stored; decides between two versions.
    pub stored_at: Timestamp,
}

/// An access token and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccess {
    /// The token.
    pub(crate) token: Secret,
    /// When it is replaced.
    pub(crate) use_until: Timestamp,
    /// When the provider ends it.
    pub(crate) expires_at: Timestamp,
}

/// The JSON on disk.
#[derive(Serialize, Deserialize)]
struct Json<S> {
    version: u32,
    username: String,
    client_id: String,
    refresh_token: S,
    granted_at_ms: Timestamp,
    refresh_token_expires_at_ms: Option<Timestamp>,
    scope: Option<String>,
    access: Option<JsonAccess<S>>,
    stored_at_ms: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct JsonAccess<S> {
    token: S,
    use_until_ms: Timestamp,
    expires_at_ms: Timestamp,
}

/// The file.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
    issuer: Issuer,
}

impl TokenFile {
    /// The file at `path`, which need not exist, for tokens of `issuer`.
    #[must_use]
    pub fn new(path: PathBuf, issuer: Issuer) -> Self {
        Self { path, issuer }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it. What a crash left complete but not yet in its place is put there first.
    pub fn read(&self) -> Result<Stored, TokenError> {
        if self.beside().symlink_metadata().is_ok()
            && let Ok(_lock) = self.lock()
        {
            self.recover();
        }
        match self.path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.missing()),
            _ => self.parse(&self.path),
        }
    }

    /// Replaces whatever is there: somebody has consented anew.
    pub fn replace(&self, stored: &Stored) -> Result<(), TokenError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(self.directory());
        made.map_err(|error| self.unwritable(&error))?;
        let _lock = self.lock().map_err(|error| self.unwritable(&error))?;
        self.write_beside(stored)
            .and_then(|()| self.put_in_place())
            .map_err(|error| self.unwritable(&error))
    }

    /// Replaces the file with what came of `used`, unless somebody has consented meanwhile or has taken the token
    /// back. Returns whether it was replaced.
    pub(crate) fn update(&self, used: &Stored, stored: &Stored) -> Result<bool, TokenError> {
        let _lock = self.lock().map_err(|error| self.unwritable(&error))?;
        match self.parse(&self.path) {
            Ok(present) => {
                let older = present.stored_at < used.stored_at;
                if present.refresh_token != used.refresh_token && !older {
                    return Ok(false);
                }
            }
            // A file that was removed stays so: the token was revoked.
            Err(_) if !self.path.exists() => return Ok(false),
            Err(_) => {}
        }
        let written = self.write_beside(stored).and_then(|()| self.put_in_place());
        written.map(|()| true).map_err(|error| self.unwritable(&error))
    }

    /// Removes it.
    pub fn remove(&self) -> Result<(), TokenError> {
        let removed = || {
            let _lock = self.lock()?;
            for path in [self.beside(), self.path.clone()] {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            File::open(self.directory())?.sync_all()
        };
        removed().map_err(|error| self.unwritable(&error))
    }

    fn beside(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(BESIDE);
        name.into()
    }

    fn directory(&self) -> &Path {
        self.path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("."))
    }

    /// Held by whoever writes; the directory itself is locked, so that nothing is left behind.
    fn lock(&self) -> io::Result<File> {
        let directory = File::open(self.directory())?;
        careful_file::lock(&directory)?;
        Ok(directory)
    }

    fn write_beside(&self, stored: &Stored) -> io::Result<()> {
        let json = Zeroizing::new(serde_json::to_vec_pretty(&json(stored))?);
        // The directory is the relay's, and root may be writing: whatever lies there is not trusted.
        let mut file = careful_file::create(&self.beside(), 0o600)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        // An administrator runs the consent as root; the relay, which must read the file, owns its directory.
        if careful_file::is_root() {
            let owner = fs::metadata(self.directory())?;
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        file.write_all(&json)?;
        file.sync_all()
    }

    fn put_in_place(&self) -> io::Result<()> {
        fs::rename(self.beside(), &self.path)?;
        File::open(self.directory())?.sync_all()
    }

    /// A file beside that is complete and newer takes its place; any other is removed.
    fn recover(&self) {
        let Ok(beside) = self.parse(&self.beside()) else {
            // Only half of it was written: nobody has relied on it.
            drop(fs::remove_file(self.beside()));
            return;
        };
        let newer =
            self.parse(&self.path).map_or(true, |present| present.stored_at < beside.stored_at);
        let done = if newer { self.put_in_place() } else { fs::remove_file(self.beside()) };
        if let Err(error) = done {
            tracing::warn!(%error, path = %self.path.display(), "a token file was not put in its place");
        }
    }

    fn parse(&self, path: &Path) -> Result<Stored, TokenError> {
        let text = read_secret(path, WHAT)?;
        let json: Json<Secret> = serde_json::from_str(&text).map_err(|_| self.damaged())?;
        if json.version != VERSION {
            return Err(self.damaged());
        }
        Ok(Stored {
            username: json.username,
            client_id: json.client_id,
            refresh_token: json.refresh_token,
            granted_at: json.granted_at_ms,
            refresh_token_expires_at: json.refresh_token_expires_at_ms,
            scope: json.scope,
            access: json.access.map(|access| StoredAccess {
                token: access.token,
                use_until: access.use_until_ms,
                expires_at: access.expires_at_ms,
            }),
            stored_at: json.stored_at_ms,
        })
    }

    fn missing(&self) -> TokenError {
        let reason =
            format!("there is no token yet: {WHAT} {} does not exist", self.path.display());
        TokenError::local(reason, format!("Run: {}", self.issuer.command()))
    }

    fn damaged(&self) -> TokenError {
        let reason = format!("{WHAT} {} is damaged or of another version", self.path.display());
        TokenError::local(reason, format!("Run: {}", self.issuer.command()))
    }

    fn unwritable(&self, error: &io::Error) -> TokenError {
        let remedy = "Give the relay's user room and the right to write there, or set upstream.oauth_token_file.";
        TokenError::local(
            format!("{WHAT} {} cannot be written: {error}", self.path.display()),
            remedy,
        )
    }
}

fn json(stored: &Stored) -> Json<&str> {
    Json {
        version: VERSION,
        username: stored.username.clone(),
        client_id: stored.client_id.clone(),
        refresh_token: stored.refresh_token.expose(),
        granted_at_ms: stored.granted_at,
        refresh_token_expires_at_ms: stored.refresh_token_expires_at,
        scope: stored.scope.clone(),
        access: stored.access.as_ref().map(|access| JsonAccess {
            token: access.token.expose(),
            use_until_ms: access.use_until,
            expires_at_ms: access.expires_at,
        }),
        stored_at_ms: stored.stored_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(token: &str, at: i64) -> Stored {
        Stored {
            username: "me@gmail.com".into(),
            client_id: "1.apps".into(),
            refresh_token: Secret::new(token.into()),
            granted_at: Timestamp(5),
            refresh_token_expires_at: None,
            scope: Some("https://mail.google.com/".into()),
            access: Some(StoredAccess {
                token: Secret::new("ya29.a".into()),
                use_until: Timestamp(7),
                expires_at: Timestamp(8),
            }),
            stored_at: Timestamp(at),
        }
    }

    fn token_file() -> (tempfile::TempDir, TokenFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = TokenFile::new(directory.path().join("state/oauth-token.json"), Issuer::Google);
        (directory, file)
    }

    #[test]
    fn what_was_stored_is_read_again_and_only_the_owner_may() {
        let (_directory, file) = token_file();
        file.replace(&stored("1//old", 1)).unwrap();
        assert_eq!(file.read().unwrap(), stored("1//old", 1));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(file.path()), mode(file.directory())), (0o600, 0o700));
        assert!(!file.beside().exists());
    }

    #[test]
    fn a_link_of_the_relay_s_user_is_not_followed_and_a_pipe_is_not_waited_for() {
        let (directory, file) = token_file();
        fs::create_dir(file.directory()).unwrap();
        let precious = directory.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, file.beside()).unwrap();
        file.replace(&stored("1//new", 1)).unwrap();
        assert_eq!(file.read().unwrap(), stored("1//new", 1));
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        for path in [file.beside(), file.path().to_owned()] {
            fs::remove_file(file.path()).ok();
            let pipe = rustix::fs::FileType::Fifo;
            let mode = rustix::fs::Mode::RUSR;
            rustix::fs::mknodat(rustix::fs::CWD, &path, pipe, mode, 0).unwrap();
            assert!(file.read().is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_token_written_before_a_kill_is_found_though_it_was_never_renamed() {
        let (_directory, file) = token_file();
        file.replace(&stored("1//old", 1)).unwrap();
        file.write_beside(&stored("1//rotated", 2)).unwrap();
        // Here the process is killed.
        assert_eq!(file.read().unwrap().refresh_token, Secret::new("1//rotated".into()));
        assert!(!file.beside().exists());
        // The very first token as well.
        let (_directory, file) = token_file();
        fs::create_dir(file.directory()).unwrap();
        file.write_beside(&stored("1//first", 1)).unwrap();
        assert_eq!(file.read().unwrap().refresh_token, Secret::new("1//first".into()));
    }

    #[test]
    fn a_file_that_was_cut_while_it_was_written_leaves_the_old_one_in_force() {
        let (_directory, file) = token_file();
        file.replace(&stored("1//old", 1)).unwrap();
        file.write_beside(&stored("1//rotated", 2)).unwrap();
        let whole = fs::read(file.beside()).unwrap();
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(file.beside(), &whole[..length]).unwrap();
            assert_eq!(file.read().unwrap(), stored("1//old", 1), "{length} bytes");
            assert!(!file.beside().exists());
        }
    }

    #[test]
    fn a_new_consent_is_not_overwritten_with_what_the_old_token_brought() {
        let (_directory, file) = token_file();
        file.replace(&stored("1//new", 2)).unwrap();
        assert!(!file.update(&stored("1//old", 1), &stored("1//rotated", 3)).unwrap());
        assert_eq!(file.read().unwrap(), stored("1//new", 2));
        assert!(file.update(&stored("1//new", 2), &stored("1//rotated", 3)).unwrap());
        assert_eq!(file.read().unwrap(), stored("1//rotated", 3));
        // One that could not be stored in its time is not taken for a new consent.
        assert!(file.update(&stored("1//unsaved", 4), &stored("1//again", 5)).unwrap());
        file.remove().unwrap();
        assert!(!file.update(&stored("1//again", 5), &stored("1//more", 6)).unwrap());
        assert!(file.read().unwrap_err().remedy.contains("pillarbox auth google"));
    }

    #[test]
    fn a_damaged_file_is_named_without_its_content() {
        let (_directory, file) = token_file();
        file.replace(&stored("1//old", 1)).unwrap();
        fs::write(file.path(), "{\"version\":1,\"refresh_token\":\"1//secret\"}").unwrap();
        let error = file.read().unwrap_err();
        assert!(
            error.reason.contains("damaged") && !format!("{error:?}").contains("1//secret"),
            "{error:?}"
        );
    }
}
