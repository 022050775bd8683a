//! The checks of `[queue]`, `[budget]` and `[admin]`: where mail waits, how long, and how much leaves.
//!
//! Rule: a limit that could not hold is refused at start, not found out at night. Must not know how the
//! queue or the ledger work.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    raw::{Admin, Budget, Queue},
    report::{Key, Report, set},
    upstream::is_gmail,
    value::{Parsed, Whole},
};
use crate::{admin, budget::Limit, delivery, notices};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// 10,000 a day is the most that any Gmail account may send, also by the relay service (docs/gmail.md section 2).
const GMAIL_PER_DAY_MAX: u32 = 10_000;
/// More than any server of one's own sends, and little enough to be multiplied.
const PER_DAY_MAX: u32 = 1_000_000_000;
const DIRECTORY_DEFAULT: &str = "/var/lib/pillarbox";
/// Octets of a Unix socket's path (`sun_path` of unix(7), with its final NUL).
const SOCKET_PATH_LENGTH_MAX: usize = 107;

/// The checked `[queue]`.
pub(super) struct CheckedQueue {
    pub(super) directory: PathBuf,
    pub(super) lifetime: Duration,
    pub(super) history_lifetime: Duration,
    pub(super) dead_letter_lifetime: Duration,
    pub(super) max_bytes: u64,
    pub(super) min_free_bytes: u64,
}

pub(super) fn check_queue(
    raw: &Queue,
    max_message_bytes: u64,
    report: &mut Report<'_>,
) -> CheckedQueue {
    let lifetime = Key {
        section: "queue",
        key: "lifetime",
        default: 5 * DAY,
        range: Duration::from_secs(60)..=90 * DAY,
    };
    // The history also tells a relayed message's leftover file from one whose record was lost, so it
    // must outlive a restart.
    let history = Key {
        section: "queue",
        key: "history_lifetime",
        default: 30 * DAY,
        range: HOUR..=3650 * DAY,
    };
    let dead = Key {
        section: "queue",
        key: "dead_letter_lifetime",
        default: 30 * DAY,
        range: HOUR..=3650 * DAY,
    };
    let max =
        Key { section: "queue", key: "max_bytes", default: 2 << 30, range: 1 << 20..=1 << 50 };
    let min_free = Key {
        section: "queue",
        key: "min_free_bytes",
        default: 256 << 20,
        range: 1 << 20..=1 << 50,
    };
    let max_bytes = report.size(max, raw.max_bytes);
    if max_bytes < max_message_bytes {
        let what = format!(
            "one message may have {max_message_bytes} octets, the whole queue only {max_bytes}"
        );
        report.add("queue", "max_bytes", what, "Raise it, or lower listener.max_message_bytes.");
    }
    CheckedQueue {
        directory: directory(raw, report),
        lifetime: report.duration(lifetime, raw.lifetime.as_ref()),
        history_lifetime: report.duration(history, raw.history_lifetime.as_ref()),
        dead_letter_lifetime: report.duration(dead, raw.dead_letter_lifetime.as_ref()),
        max_bytes,
        min_free_bytes: report.size(min_free, raw.min_free_bytes),
    }
}

/// Where mail waits.
pub(super) fn directory(raw: &Queue, report: &Report<'_>) -> PathBuf {
    let directory = set(raw.directory.as_ref());
    directory
        .map_or_else(|| DIRECTORY_DEFAULT.into(), |path| report.path("queue", "directory", path))
}

/// The checked `[budget]`.
pub(super) struct CheckedBudget {
    /// Already less the owner's reserve.
    pub(super) recipients_per_day: Limit,
    pub(super) owner_reserve: u32,
    pub(super) notice_reserve: u32,
    pub(super) urgent_reserve: u32,
    pub(super) pace_per_minute: u32,
}

impl CheckedBudget {
    /// What notices tell of.
    pub(super) fn day(&self) -> notices::Day {
        let reserved = self.notice_reserve.saturating_add(self.urgent_reserve);
        let limit = self.recipients_per_day;
        notices::Day { limit, others: limit.less(reserved) }
    }
}

/// What becomes of a recipient whose final dot was never answered.
pub(super) fn uncertain(raw: &Queue) -> delivery::Uncertain {
    let choice = raw.uncertain.as_ref();
    choice.map_or(delivery::Uncertain::ResendOnce, |Parsed(choice)| *choice)
}

pub(super) fn check_budget(raw: &Budget, upstream: &str, report: &mut Report<'_>) -> CheckedBudget {
    let pace = Key { section: "budget", key: "pace_per_minute", default: 20, range: 0..=10_000 };
    let pace_per_minute = report.whole(pace, raw.pace_per_minute);
    match recipients_per_day(raw, upstream, report) {
        None => {
            check_no_reserves(raw, report);
            CheckedBudget {
                recipients_per_day: Limit::NONE,
                owner_reserve: 0,
                notice_reserve: 0,
                urgent_reserve: 0,
                pace_per_minute,
            }
        }
        Some(per_day) => CheckedBudget { pace_per_minute, ..check_reserves(raw, per_day, report) },
    }
}

/// What is written; `None` is no limit, which Gmail does not know.
fn recipients_per_day(raw: &Budget, upstream: &str, report: &mut Report<'_>) -> Option<u32> {
    let is_gmail = is_gmail(upstream);
    if is_gmail && matches!(raw.recipients_per_day, Some(Whole(0))) {
        let what = format!("0 is no limit, and {upstream} has one");
        let remedy = "Write what the account allows (500 for gmail.com, 2000 for Workspace, 10000 for the relay \
                      service), or remove the line.";
        report.add("budget", "recipients_per_day", what, remedy);
        return Some(500);
    }
    let range = if is_gmail { 1..=GMAIL_PER_DAY_MAX } else { 0..=PER_DAY_MAX };
    let key = Key { section: "budget", key: "recipients_per_day", default: 500, range };
    Some(report.whole(key, raw.recipients_per_day)).filter(|per_day| *per_day > 0)
}

/// Of what has no limit nothing can be kept: a reserve that is written is an error of whoever relies on it.
fn check_no_reserves(raw: &Budget, report: &mut Report<'_>) {
    let reserves = [
        ("owner_reserve", raw.owner_reserve),
        ("notice_reserve", raw.notice_reserve),
        ("urgent_reserve", raw.urgent_reserve),
    ];
    for (key, value) in reserves {
        if let Some(Whole(reserve)) = value
            && reserve != 0
        {
            let what = format!("{reserve} cannot be kept of a day that has no limit");
            let remedy = "Remove the line, or set recipients_per_day to a limit.";
            report.add("budget", key, what, remedy);
        }
    }
}

fn check_reserves(raw: &Budget, per_day: u32, report: &mut Report<'_>) -> CheckedBudget {
    let range = 0..=PER_DAY_MAX - 1;
    let reserve =
        Key { section: "budget", key: "owner_reserve", default: 25, range: range.clone() };
    // None unless somebody asks: it takes room from all other mail.
    let urgent = Key { section: "budget", key: "urgent_reserve", default: 0, range };
    let reserve = report.whole(reserve, raw.owner_reserve);
    if reserve >= per_day {
        let what = format!("a reserve of {reserve} leaves nothing of {per_day} recipients a day");
        report.add("budget", "owner_reserve", what, "Make it smaller than recipients_per_day.");
    }
    let left = per_day.saturating_sub(reserve);
    let urgent = report.whole(urgent, raw.urgent_reserve);
    let default = notice_reserve(left).min(left.saturating_sub(urgent.saturating_add(1)));
    let notices = Key { section: "budget", key: "notice_reserve", default, range: 0..=100 };
    let notices = report.whole(notices, raw.notice_reserve);
    if notices > 0 && urgent < left && notices >= left - urgent {
        let what = format!(
            "a reserve of {notices} for notices leaves nothing of {} recipients a day for all other mail",
            left - urgent
        );
        let remedy = "Make it smaller than recipients_per_day less the other reserves.";
        report.add("budget", "notice_reserve", what, remedy);
    }
    if left > 0 && urgent >= left {
        let what = format!(
            "a reserve of {urgent} for urgent mail leaves nothing of {left} recipients a day for all other mail"
        );
        let remedy = "Make it smaller than recipients_per_day less owner_reserve.";
        report.add("budget", "urgent_reserve", what, remedy);
    }
    CheckedBudget {
        recipients_per_day: left.into(),
        owner_reserve: reserve,
        notice_reserve: notices,
        urgent_reserve: urgent,
        pace_per_minute: 0,
    }
}

/// What is kept for our own notices unless something else is written: one in a hundred, five at most; on a day too
/// small to give that away, none.
fn notice_reserve(left: u32) -> u32 {
    const DAY_MIN: u32 = 20;
    const RESERVE_MAX: u32 = 5;
    if left < DAY_MIN { 0 } else { left.div_ceil(100).min(RESERVE_MAX) }
}

pub(super) fn check_admin(raw: &Admin, report: &mut Report<'_>) -> admin::Options {
    let http = raw.http.as_ref().and_then(|Parsed(address)| *address);
    admin::Options { socket: check_socket(raw, report), http }
}

fn check_socket(raw: &Admin, report: &mut Report<'_>) -> PathBuf {
    let Some(path) = set(raw.socket.as_ref()) else { return super::DEFAULT_SOCKET.into() };
    let path = report.path("admin", "socket", path);
    check_socket_path("admin", &path, report);
    path
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
