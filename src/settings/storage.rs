//! `[queue]`, `[budget]` and `[sendmail]`: where mail waits, how long, how much leaves, and how programs of this host
//! hand it over.
//!
//! Rule: a limit that could not hold is refused at start, not found out at night. Must not know how the
//! queue or the ledger work.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    report::{Report, in_range},
    value::{Words, path, path_or_off, section, size, text, whole, whole_if_any},
};
use crate::{
    budget::Limit,
    delivery::{
        Uncertain,
        provider::{Profile, Provider},
    },
    fleet,
    listener::options::Local,
    queue::{
        self,
        options::{Backend, Fairness},
    },
    rules::Rules,
    sendmail::configured,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// 10,000 a day is the most that any Gmail account may send, also by the relay service (docs/gmail.md section 2).
const GMAIL_PER_DAY_MAX: u32 = 10_000;
/// More than any server of one's own sends, and little enough to be multiplied.
const PER_DAY_MAX: u32 = 1_000_000_000;
/// With more of a hundred recipients it would be the normal mail that waits.
const BULK_SHARE_MAX: u32 = 50;
/// Where mail waits when nothing else is configured.
const DEFAULT_DIRECTORY: &str = "/var/lib/pillarbox";
/// Octets of a Unix socket's path (`sun_path` of unix(7), with its final NUL).
const SOCKET_PATH_LENGTH_MAX: usize = 107;
/// What the owner of the account sends by hand on a busy day.
const OWNER_RESERVE: i64 = 25;

section! {
    /// `[queue]`: where mail waits and for how long.
    pub(super) struct Queue {
        backend: Backend = Backend::Sled, "text";
        directory: Option<PathBuf> = None, "path";
        pub(super) lifetime: Duration = 5 * DAY, "text";
        pub(super) dead_letter_lifetime: Duration = 30 * DAY, "text";
        /// The history also tells a relayed message's leftover file from one whose record was lost, so it must outlive a
        /// restart.
        pub(super) history_lifetime: Duration = 30 * DAY, "text";
        keep_relayed: Option<Duration> = None, "text";
        max_bytes: u64 = usual().max_bytes, "size";
        min_free_bytes: u64 = usual().min_free_bytes, "size";
        pub(super) uncertain: Uncertain = Uncertain::ResendOnce, "text";
        pub(super) fail_over_after: Duration = MINUTE, "text";
    }
}

impl Words for Backend {
    const WORDS: &'static [(&'static str, Self)] =
        &[("sled", Self::Sled), ("postgres", Self::Postgres)];
}

/// The queue's own defaults.
fn usual() -> queue::options::Options {
    queue::options::Options::new(DEFAULT_DIRECTORY.into())
}

impl Queue {
    const SECTION: &str = "queue";

    /// Where mail waits.
    pub(super) fn directory(&self, report: &Report<'_>) -> PathBuf {
        let directory = self.directory.as_deref();
        let directory = directory.unwrap_or_else(|| Path::new(DEFAULT_DIRECTORY));
        report.path(Self::SECTION, "directory", directory)
    }

    pub(super) fn check(&mut self, max_message_bytes: u64, report: &mut Report<'_>) {
        let bytes = 1 << 20..=1 << 50;
        let kept = HOUR..=3650 * DAY;
        let section = Self::SECTION;
        self.max_bytes = in_range!(report.within, section, self.max_bytes, bytes.clone());
        if self.max_bytes < max_message_bytes {
            let what = format!(
                "one message may have {max_message_bytes} octets, the whole queue only {}",
                self.max_bytes
            );
            report.add(
                section,
                "max_bytes",
                what,
                "Raise it, or lower listener.max_message_bytes.",
            );
        }
        let tried = MINUTE..=90 * DAY;
        self.lifetime = in_range!(report.within, section, self.lifetime, tried);
        self.history_lifetime =
            in_range!(report.within, section, self.history_lifetime, kept.clone());
        self.dead_letter_lifetime =
            in_range!(report.within, section, self.dead_letter_lifetime, kept);
        self.keep_relayed = self
            .keep_relayed
            .map(|time| report.within(section, "keep_relayed", time, DAY, HOUR..=90 * DAY));
        if self.keep_relayed.is_some_and(|time| time > self.history_lifetime) {
            let what = "it is longer than history_lifetime, and what the history has forgotten cannot be sent again";
            report.add(section, "keep_relayed", what, "Shorten it, or lengthen history_lifetime.");
        }
        let out = Duration::from_secs(1)..=DAY;
        self.fail_over_after = in_range!(report.within, section, self.fail_over_after, out);
        self.min_free_bytes = in_range!(report.within, section, self.min_free_bytes, bytes);
    }

    /// The database in which the queue is; `None` where it is in its directory.
    fn database(
        &self,
        fleet: Option<&fleet::Options>,
        report: &mut Report<'_>,
    ) -> Option<fleet::Options> {
        if self.backend == Backend::Sled {
            return None;
        }
        if fleet.is_none() {
            let (what, remedy) = if fleet::IS_BUILT_IN {
                (
                    "a queue in PostgreSQL is in the database of the fleet, and [fleet] names none",
                    "Write where the database is: [fleet] database (docs/fleet.md), or \"sled\" for a queue on this host's disk.",
                )
            } else {
                (
                    "this pillarbox was built without fleets, whose database the queue would be in",
                    "Write \"sled\", or build it with the feature `fleet`, which is on by default.",
                )
            };
            report.add(Self::SECTION, "backend", what, remedy);
        }
        fleet.cloned()
    }

    /// What the queue is told.
    pub(super) fn options(
        &self,
        (directory, hostname): (PathBuf, String),
        (fairness, storms): (Fairness, queue::folding::Options),
        fleet: &Option<fleet::Options>,
        report: &mut Report<'_>,
    ) -> queue::options::Options {
        queue::options::Options {
            database: self.database(fleet.as_ref(), report),
            fairness,
            storms,
            max_bytes: self.max_bytes,
            min_free_bytes: self.min_free_bytes,
            hostname,
            keep_relayed: self.keep_relayed,
            hold_uncertain: self.uncertain == Uncertain::Hold,
            ..queue::options::Options::new(directory)
        }
    }
}

section! {
    /// `[budget]`: how much the account may be used.
    pub(super) struct Budget {
        /// What the provider allows, as the pace is.
        recipients_per_day: Option<i64> = None, "whole_if_any";
        /// [`OWNER_RESERVE`], of a day that has a limit.
        owner_reserve: Option<i64> = None, "whole_if_any";
        /// From what is left of the day, see [`usual_notice_reserve`].
        notice_reserve: Option<i64> = None, "whole_if_any";
        /// None unless somebody asks: it takes room from all other mail.
        urgent_reserve: i64 = 0, "whole";
        bulk_share: i64 = 5, "whole";
        /// 0 means no limit.
        origin_limit: i64 = 0, "whole";
        pace_per_minute: Option<i64> = None, "whole_if_any";
    }
}

/// What the account may be used for on a day, and who of us for how much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Already less the owner's reserve.
    pub(super) recipients_per_day: Limit,
    pub(super) owner_reserve: u32,
    pub(super) notice_reserve: u32,
    pub(super) urgent_reserve: u32,
    pub(super) pace_per_minute: u32,
}

impl Budget {
    const SECTION: &str = "budget";

    /// What origins, and bulk mail, may take from others.
    pub(super) fn fairness(&self, rules: &Rules, report: &mut Report<'_>) -> Fairness {
        let section = Self::SECTION;
        let bulk_share = in_range!(report.whole, section, self.bulk_share, 0..=BULK_SHARE_MAX);
        let limit = in_range!(report.whole, section, self.origin_limit, 0..=PER_DAY_MAX);
        Fairness {
            bulk_share,
            origin_limit: if limit == 0 { Limit::NONE } else { limit.into() },
            by_rule: rules.origin_limits(),
        }
    }

    /// Fills in what the provider decides, to be shown.
    pub(super) fn provide(&mut self, profile: &Profile) {
        self.recipients_per_day.get_or_insert_with(|| profile.recipients_per_day.value.into());
        self.pace_per_minute.get_or_insert_with(|| profile.pace_per_minute.value.into());
    }

    pub(super) fn check(
        &self,
        (provider, upstream): (Provider, &str),
        report: &mut Report<'_>,
    ) -> Allowance {
        let usual = provider.profile().pace_per_minute.value.into();
        let pace = self.pace_per_minute.unwrap_or(usual);
        let pace = report.whole(Self::SECTION, "pace_per_minute", pace, usual, 0..=10_000);
        let without_limit = Allowance {
            recipients_per_day: Limit::NONE,
            owner_reserve: 0,
            notice_reserve: 0,
            urgent_reserve: 0,
            pace_per_minute: pace,
        };
        match self.per_day(provider, upstream, report) {
            0 => {
                self.check_no_reserves(report);
                without_limit
            }
            per_day => self.check_reserves(per_day, without_limit, report),
        }
    }

    /// Recipients a day; 0 means no limit, which Gmail does not know.
    fn per_day(&self, provider: Provider, upstream: &str, report: &mut Report<'_>) -> u32 {
        let usual = i64::from(provider.profile().recipients_per_day.value);
        let written = self.recipients_per_day.unwrap_or(usual);
        let range = if provider.is_google() { 1..=GMAIL_PER_DAY_MAX } else { 0..=PER_DAY_MAX };
        if written != 0 || !provider.is_google() {
            return report.whole(Self::SECTION, "recipients_per_day", written, usual, range);
        }
        let what = format!("0 means no limit, and {upstream} has one");
        let remedy = "Write what the account allows (500 for gmail.com, 2000 for Workspace, 10000 for the relay \
                      service), or remove the line.";
        report.add(Self::SECTION, "recipients_per_day", what, remedy);
        // The reserves are judged all the same.
        500
    }

    /// Of what has no limit nothing can be kept: a reserve that is written is an error of whoever relies on it.
    fn check_no_reserves(&self, report: &mut Report<'_>) {
        let reserves = [
            ("owner_reserve", self.owner_reserve.unwrap_or(0)),
            ("notice_reserve", self.notice_reserve.unwrap_or(0)),
            ("urgent_reserve", self.urgent_reserve),
        ];
        for (key, reserve) in reserves.into_iter().filter(|(_, reserve)| *reserve != 0) {
            let what = format!("{reserve} cannot be kept of a day that has no limit");
            let remedy = "Remove the line, or set recipients_per_day to a limit.";
            report.add(Self::SECTION, key, what, remedy);
        }
    }

    fn check_reserves(&self, per_day: u32, rest: Allowance, report: &mut Report<'_>) -> Allowance {
        let (section, range) = (Self::SECTION, 0..=PER_DAY_MAX - 1);
        let owner = self.owner_reserve.unwrap_or(OWNER_RESERVE);
        let owner = report.whole(section, "owner_reserve", owner, OWNER_RESERVE, range.clone());
        if owner >= per_day {
            let what = format!("a reserve of {owner} leaves nothing of {per_day} recipients a day");
            report.add(section, "owner_reserve", what, "Make it smaller than recipients_per_day.");
        }
        let left = per_day.saturating_sub(owner);
        let urgent = in_range!(report.whole, section, self.urgent_reserve, range);
        let usual = usual_notice_reserve(left).min(left.saturating_sub(urgent.saturating_add(1)));
        let usual = i64::from(usual);
        let notices = self.notice_reserve.unwrap_or(usual);
        let notices = report.whole(section, "notice_reserve", notices, usual, 0..=100);
        if notices > 0 && urgent < left && notices >= left - urgent {
            let what = format!(
                "a reserve of {notices} for notices leaves nothing of {} recipients a day for all other mail",
                left - urgent
            );
            let remedy = "Make it smaller than recipients_per_day less the other reserves.";
            report.add(section, "notice_reserve", what, remedy);
        }
        if left > 0 && urgent >= left {
            let what = format!(
                "a reserve of {urgent} for urgent mail leaves nothing of {left} recipients a day for all other mail"
            );
            let remedy = "Make it smaller than recipients_per_day less owner_reserve.";
            report.add(section, "urgent_reserve", what, remedy);
        }
        Allowance {
            recipients_per_day: left.into(),
            owner_reserve: owner,
            notice_reserve: notices,
            urgent_reserve: urgent,
            ..rest
        }
    }
}

/// What is kept for our own notices unless something else is written: one in a hundred, five at most; on a day too
/// small to give that away, none.
fn usual_notice_reserve(left: u32) -> u32 {
    const DAY_MIN: u32 = 20;
    const RESERVE_MAX: u32 = 5;
    if left < DAY_MIN { 0 } else { left.div_ceil(100).min(RESERVE_MAX) }
}

section! {
    /// `[sendmail]`: how programs of this host hand mail over without the network. Whether a place can be used is found out
    /// by the daemon, which starts all the same.
    pub(super) struct Sendmail {
        socket: Option<PathBuf> = Some(configured::DEFAULT_SOCKET.into()), "path_or_off";
        drop_directory: Option<PathBuf> = Some(configured::DEFAULT_DROP_DIRECTORY.into()), "path_or_off";
    }
}

impl Sendmail {
    const SECTION: &str = "sendmail";

    pub(super) fn check(&self, report: &mut Report<'_>) -> Local {
        let (section, socket) = (Self::SECTION, self.socket.as_deref());
        let socket = socket.map(|path| report.path(section, "socket", path));
        if let Some(path) = &socket {
            check_socket_path(section, path, report);
        }
        let directory = self.drop_directory.as_deref();
        let directory = directory.map(|path| report.path(section, "drop_directory", path));
        Local { socket, drop_directory: directory }
    }
}

/// Refuses what is too long for a Unix socket.
pub(super) fn check_socket_path(section: &str, path: &Path, report: &mut Report<'_>) {
    let length = path.as_os_str().as_bytes().len();
    if length > SOCKET_PATH_LENGTH_MAX {
        let what = format!(
            "the path has {length} octets; a Unix socket's may have {SOCKET_PATH_LENGTH_MAX}"
        );
        report.add(section, "socket", what, "Choose a shorter one.");
    }
}
