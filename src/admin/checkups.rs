//! The diagnoses that the daemon has made of itself: the last one for whoever asks, and the last thirty on disk.
//!
//! Rule: one file beside the queue, replaced whole, of bounded size. One that cannot be read or written costs a line in the
//! log and never mail; one of a newer program is left as it is. Must not know how a diagnosis is made.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    findings::{Report, Verdict},
    kept_file::{self, KeptFileError},
    sync::lock,
};

/// The file's name in the queue's directory.
const FILE: &str = "checkups.json";
/// Diagnoses that are kept: a month.
const KEPT: usize = 30;
/// Octets of the file that are read: thirty times what a report can have.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The form of the file.
const VERSION: u32 = 1;

/// Checks that are remembered as mended: more than there are, for a month in which each was mended once.
const MENDED_MAX: usize = 100;

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) version: u32,
    /// The oldest first.
    pub(super) reports: Vec<Report>,
    /// What failed in a diagnosis whose place was taken by one in which it does not; the oldest first.
    #[serde(default)]
    pub(super) mended: Vec<Mended>,
}

/// A check that failed and was well when it was looked at again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mended {
    pub(super) name: String,
    /// When it was well.
    pub(super) at: Timestamp,
}

/// Where a diagnosis goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Behind,
    OfTheLast,
}

/// The last diagnosis, and where it is kept with those before it.
#[derive(Debug)]
pub(crate) struct Checkups {
    path: PathBuf,
    last: Mutex<Option<Arc<Report>>>,
}

impl Checkups {
    /// Those in the queue's directory.
    #[must_use]
    pub(crate) fn in_directory(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let kept = read(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, path = %path.display(), "earlier diagnoses cannot be read");
            Kept::default()
        });
        let last = kept.reports.into_iter().last().map(Arc::new);
        Self { path, last: Mutex::new(last) }
    }

    /// The last one.
    #[must_use]
    pub(crate) fn last(&self) -> Option<Arc<Report>> {
        lock(&self.last).clone()
    }

    /// All that are kept; none when they cannot be read. Blocks.
    pub(super) fn all(&self) -> Kept {
        read(&self.path).unwrap_or_default()
    }

    /// Keeps one more. Blocks.
    pub(crate) fn keep(&self, report: Report) {
        self.put(report, Place::Behind);
    }

    /// Puts one in the place of the last one, parts of which it has looked at again. Blocks.
    pub(crate) fn amend(&self, report: Report) {
        self.put(report, Place::OfTheLast);
    }

    /// Says no more what was found once, because nobody looks any more. It stays on disk.
    pub(crate) fn forget(&self) {
        *lock(&self.last) = None;
    }

    fn put(&self, report: Report, place: Place) {
        *lock(&self.last) = Some(Arc::new(report.clone()));
        if let Err(error) = write(&self.path, report, place) {
            tracing::warn!(%error, path = %self.path.display(), "the diagnosis was not kept on disk");
        }
    }
}

fn read(path: &Path) -> Result<Kept, KeptFileError> {
    kept_file::read(path, VERSION, FILE_BYTES_MAX)
}

fn write(path: &Path, report: Report, place: Place) -> Result<(), KeptFileError> {
    let mut kept = match read(path) {
        // What was damaged makes room.
        Err(KeptFileError::Damaged(_)) => Kept::default(),
        kept => kept?,
    };
    kept.version = VERSION;
    if place == Place::OfTheLast
        && let Some(before) = kept.reports.pop()
    {
        // Otherwise nobody would hear of what failed and was mended between two daily looks.
        kept.mended.extend(mended(&before, &report));
        let superfluous = kept.mended.len().saturating_sub(MENDED_MAX);
        kept.mended.drain(..superfluous);
    }
    kept.reports.push(report);
    let superfluous = kept.reports.len().saturating_sub(KEPT);
    kept.reports.drain(..superfluous);
    kept_file::replace(path, &kept)
}

/// What fails before and not after it.
fn mended(before: &Report, after: &Report) -> Vec<Mended> {
    let fails = |report: &Report, name: &str| {
        let mut findings = report.findings.iter();
        findings.any(|found| found.name == name && found.outcome.verdict == Verdict::Fail)
    };
    let names = before.findings.iter().map(|finding| &finding.name);
    let mended = names.filter(|name| fails(before, name) && !fails(after, name));
    mended.map(|name| Mended { name: name.clone(), at: after.at }).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::findings::{Finding, Outcome};

    fn report(at: i64) -> Report {
        let outcome = Outcome::fail("535", "a new password");
        let findings = vec![Finding::new("login", outcome)];
        Report { at: Timestamp(at), took_ms: 1, findings }
    }

    #[test]
    fn the_last_thirty_survive_a_restart_and_older_ones_make_room() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Checkups::in_directory(directory.path()).last(), None);
        let checkups = Checkups::in_directory(directory.path());
        (1..=40).for_each(|at| checkups.keep(report(at)));
        let again = Checkups::in_directory(directory.path());
        assert_eq!(again.last().as_deref(), Some(&report(40)));
        let kept = read(&directory.path().join(FILE)).unwrap();
        assert_eq!(kept.reports.len(), KEPT);
        assert_eq!(kept.reports[0], report(11));
    }

    #[test]
    fn what_is_looked_at_again_takes_the_place_of_the_last_one() {
        let directory = tempfile::tempdir().unwrap();
        let checkups = Checkups::in_directory(directory.path());
        (1..=3).for_each(|at| checkups.keep(report(at)));
        checkups.amend(report(4));
        checkups.amend(report(5));
        assert_eq!(checkups.last().as_deref(), Some(&report(5)));
        let kept = read(&directory.path().join(FILE)).unwrap();
        assert_eq!(kept.reports, [report(1), report(2), report(5)]);
        checkups.forget();
        assert_eq!(checkups.last(), None);
        assert_eq!(read(&directory.path().join(FILE)).unwrap().reports.len(), 3);
    }

    #[test]
    fn what_failed_and_is_well_when_it_is_looked_at_again_is_remembered_and_a_limited_number_of_it()
    {
        let directory = tempfile::tempdir().unwrap();
        let checkups = Checkups::in_directory(directory.path());
        let well = |at: i64| {
            let findings = vec![Finding::new("login", Outcome::pass("accepted"))];
            Report { at: Timestamp(at), took_ms: 1, findings }
        };
        checkups.keep(report(1));
        assert_eq!(checkups.all().mended, []);
        checkups.amend(report(2));
        assert_eq!(checkups.all().mended, [], "it still fails");
        checkups.amend(well(3));
        checkups.amend(well(4));
        let expected = [Mended { name: "login".into(), at: Timestamp(3) }];
        assert_eq!(checkups.all().mended, expected);
        for at in 1..=150 {
            checkups.amend(report(at * 10));
            checkups.amend(well(at * 10 + 1));
        }
        let mended = checkups.all().mended;
        assert_eq!((mended.len(), mended[MENDED_MAX - 1].at), (MENDED_MAX, Timestamp(1_501)));
        // As a program before this one has written it.
        fs::write(directory.path().join(FILE), r#"{"version":1,"reports":[]}"#).unwrap();
        assert_eq!(checkups.all().mended, []);
    }

    #[test]
    fn a_damaged_file_makes_room_and_one_of_a_newer_program_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        for damaged in ["", "{", "[]", "{\"version\":1,\"reports\":[{}]}"] {
            fs::write(&path, damaged).unwrap();
            let checkups = Checkups::in_directory(directory.path());
            assert_eq!(checkups.last(), None, "{damaged}");
            checkups.keep(report(1));
            assert_eq!(read(&path).unwrap().reports, [report(1)], "{damaged}");
        }
        let newer = "{\"version\":2,\"reports\":\"elsewhere\"}";
        fs::write(&path, newer).unwrap();
        let checkups = Checkups::in_directory(directory.path());
        checkups.keep(report(2));
        assert_eq!(checkups.last().as_deref(), Some(&report(2)), "while it runs");
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    }
}
