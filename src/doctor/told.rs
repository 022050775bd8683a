//! The judgement of what the running daemon says of itself.
//!
//! Rule: pure. What mends itself is a warning, what needs a person fails. Must not know how the daemon was asked.

use super::scene::{Daemon, Found};
use crate::{
    addressed::addressed,
    admin::api::{Account, Budget, Status},
    budget::{Limit, MAIN},
    clock::Timestamp,
    findings::Outcome,
    quantities::{count, span, when},
};

/// A check of what the daemon says.
type Check = fn(&Status) -> Outcome;

/// All of them but `oldest-message`, which the configuration has a say in, and what lies on disk.
const CHECKS: [(&str, Check); 5] = [
    ("versions", versions),
    ("account", account),
    ("budget", budget),
    ("dead-letters", dead_letters),
    ("unknown-replies", unknown_replies),
];
/// Why nothing is known.
pub(super) const NOBODY: &str = "only the running daemon knows; see daemon";

/// What can be said of the daemon, or without it.
pub(super) fn of_daemon(daemon: &Daemon) -> Found {
    let Some(status) = daemon.status() else {
        let others = CHECKS.into_iter().map(|(name, _)| (name, Outcome::skipped(NOBODY)));
        return std::iter::once(("daemon", silent(daemon))).chain(others).collect();
    };
    let uptime = span(std::time::Duration::from_secs(status.uptime_seconds));
    let runs = Outcome::pass(format!("answers; it runs for {uptime}"));
    let runs = match &status.refusing {
        None => runs,
        Some(refusing) => Outcome::fail(&refusing.what, &refusing.remedy),
    };
    let others = CHECKS.into_iter().map(|(name, check)| (name, check(status)));
    std::iter::once(("daemon", runs)).chain(others).collect()
}

fn silent(daemon: &Daemon) -> Outcome {
    let Daemon::Silent { why, .. } = daemon else { return Outcome::pass("runs") };
    let (what, remedy) = why.split_once("; ").unwrap_or((why, "see its log"));
    Outcome::fail(what, remedy)
}

fn versions(status: &Status) -> Outcome {
    let ours = env!("CARGO_PKG_VERSION");
    let theirs = &status.version;
    if theirs == ours {
        return Outcome::pass(format!("command and daemon are both version {ours}"));
    }
    Outcome::warn(
        format!("the daemon is version {theirs}, this command is version {ours}"),
        "Restart the daemon, so that it runs what is installed: systemctl restart pillarbox",
    )
}

fn account(status: &Status) -> Outcome {
    let main = one_account((MAIN, &status.upstream), &status.account, status.now);
    let others = status.others.iter().map(|one| {
        let name = one.name.as_str();
        (name, one_account((name, &one.upstream), &one.account, status.now))
    });
    together(main, others)
}

/// That of the main account, with those of others where there are any.
fn together<'a>(
    main: Outcome,
    others: impl ExactSizeIterator<Item = (&'a str, Outcome)>,
) -> Outcome {
    Outcome::of_accounts(others.len() > 0, [(MAIN, main)].into_iter().chain(others))
}

fn one_account((name, upstream): (&str, &str), account: &Account, now: Timestamp) -> Outcome {
    let Account { condition, since, until, reason, remedy, pause, .. } = account;
    let paused = pause.as_ref().map(|pause| pause.words(|at| when(at, now)));
    let paused = paused.map(|words| addressed(&words, name));
    if let Some(paused) = paused.as_ref().filter(|_| account.is_open()) {
        let remedy = "Nothing, if it may wait; pillarbox resume ends the pause";
        return Outcome::warn(format!("the relay is {paused}"), remedy);
    }
    if account.is_open() {
        return Outcome::pass(match &account.username {
            Some(username) => format!("open: {upstream} as {username}"),
            None => format!("open: {upstream} without a login"),
        });
    }
    let tried =
        until.map_or_else(String::new, |until| format!("; tried again at {}", when(until, now)));
    let paused = paused.map_or_else(String::new, |paused| format!("; the relay is {paused}"));
    let seen = format!("{condition} since {}: {reason}{tried}{paused}", when(*since, now));
    // These end by themselves.
    if matches!(condition.as_str(), "backing-off" | "paused-quota") {
        return Outcome::warn(seen, or(remedy, "Nothing, if it does not last"));
    }
    Outcome::fail(seen, or(remedy, "Run: pillarbox status"))
}

fn or<'a>(remedy: &'a str, otherwise: &'a str) -> &'a str {
    if remedy.is_empty() { otherwise } else { remedy }
}

fn budget(status: &Status) -> Outcome {
    let others = status.others.iter().map(|one| (one.name.as_str(), one_budget(&one.budget)));
    together(one_budget(&status.budget), others)
}

fn one_budget(budget: &Budget) -> Outcome {
    let Budget { now, limit, spent, room, frees_at, full_since, early, proposed, .. } = budget;
    let owner_reserve = &budget.owner_reserve;
    let spent_words = match limit {
        limit if *limit == Limit::NONE => {
            format!("{} spent in 24 hours, without a limit", count(u64::from(*spent), "recipient"))
        }
        limit => format!("{spent} of {limit} recipients spent in 24 hours"),
    };
    if let Some(since) = full_since.filter(|_| proposed.is_none()) {
        return Outcome::warn(
            format!("the upstream says since {} that the day is full", when(since, *now)),
            "See what else uses the account; mail leaves when its day has room again",
        );
    }
    if let Some(proposed) = proposed {
        return Outcome::warn(proposed.seen(), proposed.remedy(*owner_reserve));
    }
    if let Some(early) = early {
        let remedy = "Nothing, if it does not happen often: see what else uses the account";
        return Outcome::warn(early.words(*limit, *now), remedy);
    }
    match (room, frees_at) {
        (Some(0), None) => Outcome::fail(
            format!("{spent_words}: the limit leaves no room, ever"),
            "Raise budget.recipients_per_day",
        ),
        (Some(0), Some(at)) => Outcome::warn(
            format!("{spent_words}; the next one may leave at {}", when(*at, *now)),
            "Nothing, if mail may wait; pillarbox clients shows who sends so much",
        ),
        _ => Outcome::pass(spent_words),
    }
}

fn dead_letters(status: &Status) -> Outcome {
    let totals = &status.queue.recipients;
    let said = status.refused.first().map_or_else(String::new, |refused| {
        format!("; the last: {}: {}", refused.recipient, refused.reply)
    });
    let of = |number: u64, what: &str| {
        (number > 0).then(|| format!("{} {what}", count(number, "recipient")))
    };
    let (dead, held) = (of(totals.dead, "refused for good"), of(totals.held, "held for a person"));
    let remedy = match (&dead, &held) {
        (None, None) => return Outcome::pass("nothing is dead or held"),
        (None, Some(_)) => "See pillarbox queue list --state held, then queue retry or delete",
        (Some(_), _) => "See pillarbox dead list, then dead resend or dead delete",
    };
    let words: Vec<String> = dead.into_iter().chain(held).collect();
    Outcome::warn(format!("{}{said}", words.join(", ")), remedy)
}

fn unknown_replies(status: &Status) -> Outcome {
    match status.unknown_replies {
        0 => Outcome::pass("the upstream said nothing unknown since the start"),
        number => Outcome::warn(
            format!("{} of the upstream in words that are not known", count(number, "refusal")),
            "Look for them in the log; docs/gmail.md says how to report one",
        ),
    }
}
