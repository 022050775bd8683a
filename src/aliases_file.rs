//! The aliases file of this host, read anew when it changes.
//!
//! Rule: looked at no more than once a second, by whoever asks; a file that cannot be read leaves what was
//! known in force, and is told once, not with every message. Must not know what becomes of a recipient.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::{
    clock::Moment,
    file_stamp::FileStamp,
    message::aliases::{FILE_BYTES_MAX, LocalNames, Routes},
    sync,
};

/// Where the file is unless another one is named.
pub(crate) const DEFAULT_FILE: &str = "/etc/aliases";
/// Milliseconds between two looks at the file.
const LOOK_INTERVAL_MS: u64 = 1_000;
/// Write permission for everybody.
const WRITABLE_BY_ALL: u32 = 0o002;
/// Problems that are logged each time the file is read; the rest is counted.
const PROBLEMS_LOGGED_MAX: usize = 10;

/// Which file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// None.
    #[default]
    Off,
    /// [`DEFAULT_FILE`]; many hosts have none.
    Usual,
    /// The one that was written in the configuration, so it should be there.
    Named(PathBuf),
}

impl Choice {
    /// The file.
    #[must_use]
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Off => None,
            Self::Usual => Some(Path::new(DEFAULT_FILE)),
            Self::Named(path) => Some(path),
        }
    }
}

/// Why a file says nothing.
#[derive(Debug, Error)]
#[error("the aliases file {} cannot be read: {error}; correct it, or write aliases_file = \"off\"", path.display())]
pub struct Unreadable {
    /// Which file.
    pub(crate) path: PathBuf,
    /// The system's words.
    pub(crate) error: io::Error,
}

/// The file, and what it meant at the last look.
#[derive(Debug, Default)]
pub struct AliasesFile {
    choice: Choice,
    local: LocalNames,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// On the boot clock; `None` before the first look.
    looked_at_ms: Option<u64>,
    /// Of the content that was read.
    stamp: Option<FileStamp>,
    routes: Arc<Routes>,
    /// The trouble that has been told.
    told: Option<String>,
}

/// What a look finds.
enum Look {
    Same,
    Absent,
    Changed(Box<Routes>, FileStamp),
    Failed(Unreadable),
}

impl AliasesFile {
    /// Nothing is read before it is asked for.
    #[must_use]
    pub fn new(choice: Choice, local: LocalNames) -> Self {
        let routes = Arc::new(Routes { local: local.clone(), ..Routes::default() });
        Self { choice, local, state: Mutex::new(State { routes, ..State::default() }) }
    }

    /// The same file for another administrator.
    #[must_use]
    pub(crate) fn with_admin(&self, admin: Option<crate::smtp::address::Address>) -> Self {
        Self::new(self.choice.clone(), LocalNames { admin, ..self.local.clone() })
    }

    /// Which file it is.
    #[must_use]
    pub(crate) fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Who is local, and who reads their mail.
    #[must_use]
    pub fn local(&self) -> &LocalNames {
        &self.local
    }

    /// Reads the file, whether it has changed or not; `None` when there is none and none was asked for.
    ///
    /// # Errors
    /// When it cannot be read, or a file that was named is not there.
    pub fn read(&self) -> Result<Option<Routes>, Unreadable> {
        match self.look(None) {
            Look::Changed(routes, _) => Ok(Some(*routes)),
            Look::Failed(error) => Err(error),
            Look::Same | Look::Absent => Ok(None),
        }
    }

    /// What the file says at this moment. May read it: use [`Self::current`] where nobody may wait.
    pub(crate) fn routes(&self, now: Moment) -> Arc<Routes> {
        let known = {
            let mut state = self.lock();
            let is_first = state.looked_at_ms.is_none();
            if !state.is_due(now) {
                return Arc::clone(&state.routes);
            }
            state.looked_at_ms = Some(now.since_boot_ms);
            if is_first {
                // Whoever asks meanwhile has nothing to go by, and waits.
                let look = self.look(None);
                return self.learn(&mut state, look);
            }
            state.stamp
        };
        let look = self.look(known);
        self.learn(&mut self.lock(), look)
    }

    /// The same for a task that must not wait for a disk; others go on with what is known.
    pub(crate) async fn current(self: &Arc<Self>, now: Moment) -> Arc<Routes> {
        {
            let state = self.lock();
            if !state.is_due(now) {
                return Arc::clone(&state.routes);
            }
        }
        let file = Arc::clone(self);
        let read = spawn_blocking(move || file.routes(now)).await;
        // The look is cut short only when the runtime ends.
        read.unwrap_or_else(|_| Arc::clone(&self.lock().routes))
    }

    fn look(&self, known: Option<FileStamp>) -> Look {
        let Some(path) = self.choice.path() else { return Look::Absent };
        match read(path, known) {
            Ok(None) => Look::Same,
            Ok(Some((bytes, stamp))) => {
                Look::Changed(Box::new(Routes::read(&bytes, self.local.clone())), stamp)
            }
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && self.choice == Choice::Usual =>
            {
                Look::Absent
            }
            Err(error) => Look::Failed(Unreadable { path: path.to_owned(), error }),
        }
    }

    fn learn(&self, state: &mut State, look: Look) -> Arc<Routes> {
        match look {
            Look::Same => state.told = None,
            Look::Absent => {
                if state.stamp.take().is_some() {
                    tracing::info!(file = DEFAULT_FILE, "aliases file removed");
                    state.routes =
                        Arc::new(Routes { local: self.local.clone(), ..Routes::default() });
                }
            }
            Look::Changed(routes, stamp) => {
                log_reading(self.choice.path().unwrap_or_else(|| Path::new("")), &routes);
                state.stamp = Some(stamp);
                state.routes = Arc::from(routes);
                state.told = None;
            }
            Look::Failed(error) => {
                // The next look tries again, also when nothing but a passing trouble was in the way.
                state.stamp = None;
                let words = error.to_string();
                if state.told.as_ref() != Some(&words) {
                    tracing::error!(
                        error = words,
                        "aliases not readable; those known before stay in force"
                    );
                    state.told = Some(words);
                }
            }
        }
        Arc::clone(&state.routes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        sync::lock(&self.state)
    }
}

impl State {
    fn is_due(&self, now: Moment) -> bool {
        self.looked_at_ms.is_none_or(|at| now.since_boot_ms >= at.saturating_add(LOOK_INTERVAL_MS))
    }
}

/// The content, unless it is the known one.
fn read(path: &Path, known: Option<FileStamp>) -> io::Result<Option<(Vec<u8>, FileStamp)>> {
    if known.is_some_and(|known| FileStamp::of(path).is_ok_and(|present| present == known)) {
        return Ok(None);
    }
    if let Some(reason) = distrust(path) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    // Before it is opened: nobody would ever come to the other end of a pipe.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut file = File::open(path)?;
    let stamp = FileStamp::from(&file.metadata()?);
    let mut bytes = Vec::new();
    io::Read::by_ref(&mut file).take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some((bytes, stamp)))
}

/// Whoever may write the file reads root's mail.
fn distrust(path: &Path) -> Option<String> {
    let mode = path.metadata().ok()?.permissions().mode();
    (mode & WRITABLE_BY_ALL != 0).then(|| {
        format!(
            "everybody may write it, and so read the mail of root; run: chmod o-w {}",
            path.display()
        )
    })
}

fn log_reading(path: &Path, routes: &Routes) {
    let (file, aliases) = (path.display(), &routes.aliases);
    tracing::info!(%file, names = aliases.len(), problems = aliases.problem_count(), "aliases read");
    for problem in aliases.problems().iter().take(PROBLEMS_LOGGED_MAX) {
        let (what, remedy) = (&problem.what, &problem.remedy);
        tracing::warn!(%file, line = problem.line, what, remedy, "alias not used");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;
    use crate::clock::{Clock as _, ManualClock, Timestamp};

    struct Stage {
        directory: tempfile::TempDir,
        clock: ManualClock,
        file: Arc<AliasesFile>,
    }

    impl Stage {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let choice = Choice::Named(directory.path().join("aliases"));
            let local =
                LocalNames { admin: "admin@gmail.com".parse().ok(), ..LocalNames::default() };
            let clock = ManualClock::new(Timestamp(1_800_000_000_000));
            Self { directory, clock, file: Arc::new(AliasesFile::new(choice, local)) }
        }

        fn write(&self, text: &str) {
            // As an editor does it, so that even two writes within one tick of the clock differ.
            let other = self.directory.path().join("new");
            fs::write(&other, text).unwrap();
            fs::rename(other, self.directory.path().join("aliases")).unwrap();
        }

        async fn root(&self) -> String {
            let routes = self.file.current(self.clock.now()).await;
            routes.of(&"root".parse().unwrap()).unwrap()[0].address.to_string()
        }
    }

    #[tokio::test]
    async fn a_change_is_seen_a_second_later_and_a_trouble_leaves_what_was_known() {
        let stage = Stage::new();
        stage.write("root: one@example.org\n");
        assert_eq!(stage.root().await, "one@example.org");
        stage.write("root: two@example.org\n");
        stage.clock.advance(Duration::from_millis(999));
        assert_eq!(stage.root().await, "one@example.org", "not looked at yet");
        stage.clock.advance(Duration::from_millis(1));
        assert_eq!(stage.root().await, "two@example.org");
        fs::remove_file(stage.directory.path().join("aliases")).unwrap();
        stage.clock.advance(Duration::from_secs(1));
        assert_eq!(stage.root().await, "two@example.org");
        fs::create_dir(stage.directory.path().join("aliases")).unwrap();
        stage.clock.advance(Duration::from_secs(1));
        assert_eq!(stage.root().await, "two@example.org");
        fs::remove_dir(stage.directory.path().join("aliases")).unwrap();
        stage.write("root: three@example.org\n");
        stage.clock.advance(Duration::from_secs(1));
        assert_eq!(stage.root().await, "three@example.org");
    }

    #[tokio::test]
    async fn a_file_that_was_named_and_is_missing_is_an_error_and_mail_goes_to_the_administrator() {
        let stage = Stage::new();
        let error = stage.file.read().unwrap_err().to_string();
        assert!(
            error.contains("aliases_file = \"off\"") && error.contains("No such file"),
            "{error}"
        );
        assert_eq!(stage.root().await, "admin@gmail.com");
        let off = AliasesFile::new(Choice::Off, LocalNames::default());
        assert!(off.read().unwrap().is_none());
    }
}
