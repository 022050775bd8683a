//! The folding of storms: what is asked before a message is taken.
//!
//! Rule: decided before the file of a message is whole, so that no worker can have it in between; whatever goes wrong lets
//! it leave as it is. Must not know the queue.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tracing::{info, warn};

use super::{
    about::Client,
    fold::Fold,
    id::QueueId,
    origin::Origin,
    record::MessageRecord,
    storms::{Decision, DueStorm, FoundFolded, Kind, Storms, Terms},
};
use crate::{
    clock::{Moment, Timestamp},
    live::Live,
    log_limit::LogLimit,
    message::{aliases::is_same_mailbox, envelope::Lane},
    smtp::address::Address,
    sync,
};

/// How often the log says that too many kinds of mail are known.
const FULL_SAID_EVERY: Duration = Duration::from_secs(3_600);

/// What is folded, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) terms: Terms,
    /// Who reads root's mail: what goes to nobody else is folded.
    pub(crate) admin: Option<Address>,
}

/// The storms, and what is folded.
#[derive(Debug)]
pub(super) struct Folding {
    options: Live<Options>,
    storms: Mutex<Storms>,
    full: Mutex<LogLimit>,
}

impl Folding {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options: Live::new(options),
            storms: Mutex::default(),
            full: Mutex::new(LogLimit::new(1, FULL_SAID_EVERY)),
        }
    }

    pub(super) fn set(&self, options: Options) {
        self.options.set(options);
    }

    /// Whether a message is of those that may be folded, where a rule does not say so: the one place where that is said.
    fn is_wanted(&self, record: &MessageRecord, asked: Option<bool>) -> bool {
        let options = self.options.get();
        let is_for_admin = options.admin.as_ref().is_some_and(|admin| {
            record.recipients.iter().all(|one| is_same_mailbox(&one.address, admin))
        });
        options.terms.after > 0
            && asked.unwrap_or(is_for_admin)
            && !matches!(record.lane, Lane::Urgent | Lane::Notice)
            && record.about.client != Client::Relay
    }

    /// The storm into which a new message goes.
    pub(super) fn fold(
        &self,
        id: QueueId,
        record: &MessageRecord,
        (from, asked): (&str, Option<bool>),
        now: Moment,
    ) -> Option<Fold> {
        if !self.is_wanted(record, asked) {
            return None;
        }
        let (kind, terms) = (kind(record, from), &self.options.get().terms);
        match sync::lock(&self.storms).decide(kind, id, now, terms) {
            Decision::Leaves => None,
            Decision::LeavesUnknown => {
                let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(messages) = full.tell(now.since_boot_ms) {
                    warn!(
                        messages,
                        "more kinds of mail come at once than are remembered; mail of a new kind is not folded, and leaves"
                    );
                }
                None
            }
            Decision::Folds(storm) => {
                if storm == id {
                    let subject = &record.about.subject;
                    info!(%storm, subject, "a storm of mail that is alike: from now on it is folded, and a summary tells of it");
                }
                Some(Fold { storm, from: from.to_owned(), told: None })
            }
        }
    }

    /// The storms of which a summary is due, or that are over.
    pub(super) fn due(&self, now: Moment) -> Vec<DueStorm> {
        sync::lock(&self.storms).due(now, &self.options.get().terms)
    }

    /// A summary of this storm is queued; `false` when there was nothing to tell.
    pub(super) fn told(&self, due: DueStorm, is_told: bool, now: Moment) {
        let mut storms = sync::lock(&self.storms);
        if due.is_over && !is_told {
            storms.forget(due.id);
        } else {
            storms.told(due, now, &self.options.get().terms);
        }
    }

    /// Whether mail is still folded into this storm.
    pub(super) fn lasts(&self, storm: QueueId, now: Moment) -> bool {
        sync::lock(&self.storms).lasts(storm, now, &self.options.get().terms)
    }

    /// When the next summary of this storm is due.
    pub(super) fn summary_at(&self, storm: QueueId, now: Moment) -> Option<Timestamp> {
        sync::lock(&self.storms).summary_at(storm, now, &self.options.get().terms)
    }

    /// Kinds of mail that are known.
    pub(super) fn kinds(&self) -> usize {
        sync::lock(&self.storms).kinds()
    }

    /// What a start has found; a storm that this process knows already is left alone.
    pub(super) fn adopt(&self, found: &[FoundFolded], now: Moment) {
        let terms = &self.options.get().terms;
        let mut storms = sync::lock(&self.storms);
        let unknown: Vec<&FoundFolded> =
            found.iter().filter(|one| !storms.knows(one.storm)).collect();
        let mut told: BTreeMap<QueueId, Timestamp> = BTreeMap::new();
        for one in unknown {
            storms.found(one, now, terms);
            if let Some(at) = one.told {
                let last = told.entry(one.storm).or_insert(at);
                *last = at.max(*last);
            }
        }
        told.into_iter().for_each(|(storm, at)| storms.was_told(storm, at, terms));
    }
}

fn kind(record: &MessageRecord, from: &str) -> Kind {
    let origin = Origin::of(record);
    let recipients = record.recipients.iter().map(|one| &one.address);
    Kind::of(&origin, recipients, from, &record.about.subject)
}

/// A record as a start looks at it; `None` of one that is not folded.
pub(super) fn found(record: &MessageRecord) -> Option<FoundFolded> {
    let fold = record.fold.as_ref().filter(|_| record.is_folded())?;
    let (kind, at) = (kind(record, &fold.from), record.accepted_at);
    Some(FoundFolded { storm: fold.storm, kind, at, told: fold.told })
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use super::*;
    use crate::{
        clock::{Clock as _, ManualClock},
        queue::{fixtures::envelope, storms::SHAPES_MAX},
    };

    #[test]
    fn of_more_kinds_than_are_remembered_the_rest_leaves_and_the_log_says_so_once_an_hour() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let (mut options, mut number) = (Options::default(), 0_u32);
        options.admin = Some("a@example.net".parse().unwrap());
        options.terms.after = 1;
        let folding = Folding::new(options);
        let record = MessageRecord::new(&envelope(clock.wall()), 1, "x");
        let mut fold = |kind: usize| {
            number += 1;
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            let from = format!("root@host{kind}");
            folding.fold(QueueId::from_bytes(id), &record, (&from, None), clock.now()).is_some()
        };
        let log = tempfile::NamedTempFile::new().unwrap();
        let writer = Arc::new(log.reopen().unwrap());
        let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
        tracing::subscriber::with_default(subscriber, || {
            for kind in 0..SHAPES_MAX {
                assert_eq!([fold(kind), fold(kind)], [false, true], "{kind}");
            }
            for kind in SHAPES_MAX..SHAPES_MAX + 500 {
                assert!(!fold(kind) && !fold(kind), "there is no room for {kind}");
            }
            assert!(fold(0) && fold(SHAPES_MAX - 1), "what is known goes on");
            clock.advance(FULL_SAID_EVERY);
        });
        assert_eq!(folding.kinds(), SHAPES_MAX, "which `storm list` and the page say");
        let said = fs::read_to_string(log.path()).unwrap();
        assert_eq!(said.matches("more kinds of mail come at once").count(), 1, "{said}");
    }
}
