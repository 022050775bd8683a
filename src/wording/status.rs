//! The state of the relay in words: what waits, what may still be spent, and what is wrong.
//!
//! Rule: one screen; says what of the limit is left to the owner, and when room comes back. Must not know how the ledger
//! counts or why the account was paused.

use std::{cmp::Reverse, time::Duration};

use super::{Lines, phrase};
use crate::{
    addressed::{MAIN, addressed},
    admin::api::{
        Account, Because, Budget, Checkup, LimitedOrigin, OtherAccount, Queue, Status, TargetState,
    },
    budget::Limit,
    clock::Timestamp,
    delivery::LastError,
    doctor,
    findings::Verdict,
    listener::drop_directory::DropState,
    quantities::{count, relative, size, span, when},
};

/// Checks of the last diagnosis that are named.
const CHECKS_SHOWN: usize = 3;
/// A count of the queue that is so old says so.
const COUNT_IS_OLD: Duration = Duration::from_secs(10);
/// Errors of the upstream on the screen; --json has all that are kept.
const ERRORS_SHOWN: usize = 3;

/// `pillarbox 1.0.0, up 3 days`.
pub(crate) fn title(status: &Status) -> String {
    format!("pillarbox {}, up {}", status.version, span(Duration::from_secs(status.uptime_seconds)))
}

/// One screen: each label with what stands beside it; a label without a line is not shown.
pub(crate) fn lines(status: &Status) -> Lines {
    let now = status.now;
    vec![
        ("listening", vec![status.listening.join(", ")]),
        ("upstream", vec![upstream(status)]),
        ("account", account(&status.account, MAIN, now)),
        (
            "budget",
            std::iter::once(spent(&status.budget))
                .chain(upstreams_word(&status.budget, MAIN))
                .chain(limited(&status.budget))
                .collect(),
        ),
        ("others", status.others.iter().flat_map(|one| other(one, now)).collect()),
        ("queue", queue(&status.queue, now)),
        ("left here", dropped(status.dropped.as_ref())),
        ("next", departure(status)),
        ("new mail", refusing(status)),
        ("in flight", in_flight(status)),
        ("refused", refused(status)),
        ("errors", errors(status.errors.iter(), status.unknown_replies, now)),
        ("alerts", status.unreached.iter().filter_map(|target| unreached(target, now)).collect()),
        ("checks", checkup(status)),
    ]
}

/// An account besides the main one, with what keeps its mail.
pub(crate) fn other(other: &OtherAccount, now: Timestamp) -> Vec<String> {
    let OtherAccount { name, upstream, account: state, budget, departure, .. } = other;
    let user = state.username.as_ref();
    let user = user.map_or_else(String::new, |username| format!(" as {username}"));
    let mut lines = account(state, name, now);
    if let Some(first) = lines.first_mut() {
        *first = format!("{upstream}{user}: {first}");
    }
    lines.push(spent(budget));
    lines.extend(upstreams_word(budget, name));
    if departure.is_obstructed() && state.is_open() && state.pause.is_none() {
        lines.push(departure.sentence(|at| when(at, now)));
    }
    // What its pause tells already is not told again.
    let news = other.errors.iter().filter(|error| state.is_open() || error.text != state.reason);
    lines.extend(errors(news, other.unknown_replies, now));
    lines.into_iter().map(|line| format!("{name}: {line}")).collect()
}

fn in_flight(status: &Status) -> Vec<String> {
    let attempts = status.in_flight.iter().map(|attempt| {
        format!(
            "{} to {}, at {}, begun {}",
            attempt.id,
            count(attempt.recipients as u64, "recipient"),
            attempt.stage.name(),
            relative(attempt.since, status.now)
        )
    });
    attempts.collect()
}

fn refused(status: &Status) -> Vec<String> {
    let refused = status.refused.iter().map(|recipient| {
        format!(
            "{} to {} is {}: {}",
            recipient.id, recipient.recipient, recipient.state, recipient.reply
        )
    });
    refused.collect()
}

fn errors<'a>(
    errors: impl Iterator<Item = &'a LastError>,
    unknown_replies: u64,
    now: Timestamp,
) -> Vec<String> {
    let errors = errors.take(ERRORS_SHOWN);
    let errors =
        errors.map(|error| format!("{}: {}: {}", when(error.at, now), error.id, error.text));
    let unknown = (unknown_replies > 0).then(|| {
        let number = count(unknown_replies, "refusal");
        format!("{number} of the upstream in words that are not known; the log has them in full")
    });
    errors.chain(unknown).collect()
}

/// The last look of the relay at itself, what failed before what was warned of.
fn checkup(status: &Status) -> Vec<String> {
    let Some(Checkup { at, passed, troubles }) = &status.checkup else { return Vec::new() };
    let at = when(*at, status.now);
    if troubles.is_empty() {
        return vec![format!("{} well at {at}", count(*passed, "check"))];
    }
    let mut troubles: Vec<_> = troubles.iter().collect();
    troubles.sort_by_key(|finding| Reverse(finding.outcome.verdict));
    let shown = troubles.iter().take(CHECKS_SHOWN).map(|finding| {
        let verb = match finding.outcome.verdict {
            Verdict::Fail => "fails",
            _ => "warns",
        };
        format!("{} {verb}: {}", finding.name, finding.outcome.seen)
    });
    let more = troubles.len().saturating_sub(CHECKS_SHOWN);
    let more = if more > 0 { format!(" and {more} more,") } else { String::new() };
    shown
        .chain([format!("This{more} was found at {at}; look again with: pillarbox doctor")])
        .collect()
}

fn upstream(status: &Status) -> String {
    match &status.account.username {
        Some(username) => format!("{} as {username}", status.upstream),
        None => format!("{} without a login", status.upstream),
    }
}

/// How the account with this name is, and what to do.
pub(crate) fn account(account: &Account, name: &str, now: Timestamp) -> Vec<String> {
    let pause = account.pause.as_ref().map(|pause| pause.words(|at| when(at, now)));
    let pause = pause.map(|words| addressed(&words, name));
    if account.is_open() {
        return vec![pause.unwrap_or_else(|| "open".to_owned())];
    }
    let mut lines: Vec<String> = pause.into_iter().collect();
    lines.push(format!(
        "{} since {}: {}",
        account.condition,
        when(account.since, now),
        account.reason
    ));
    lines.extend((!account.remedy.is_empty()).then(|| format!("What to do: {}", account.remedy)));
    lines.push(doctor::advice_for_account(&account.condition, name));
    lines
}

/// `120 of 475 recipients spent in the last 24 hours (500 a day, 25 left for you, 5 for notices)`, and how many are
/// for urgent mail only.
pub(crate) fn spent(budget: &Budget) -> String {
    let (limit, day, reserve) = (budget.limit, budget.recipients_per_day, budget.owner_reserve);
    let notices = match budget.notice_reserve {
        0 => String::new(),
        notices => format!(", {notices} for notices"),
    };
    let urgent = match budget.urgent_reserve {
        0 => String::new(),
        urgent => format!(", {urgent} for urgent mail only"),
    };
    if limit == Limit::NONE {
        return format!(
            "{} spent in the last 24 hours (no limit)",
            count(budget.spent.into(), "recipient")
        );
    }
    let others = match budget.spent_by_other_hosts {
        None => String::new(),
        Some(others) => format!(", {others} of them by other hosts"),
    };
    format!(
        "{} of {limit} recipients spent in the last 24 hours{others} ({day} a day, {reserve} left for you{notices}{urgent})",
        budget.spent
    )
}

/// All that the upstream has said of the day of the account with this name.
fn upstreams_word(budget: &Budget, name: &str) -> Vec<String> {
    let early = budget.early.as_ref().map(|early| early.words(budget.limit, budget.now));
    let proposed = budget.proposed.as_ref();
    let proposed = proposed.map(|it| {
        let remedy = addressed(&it.remedy(budget.owner_reserve), name);
        format!("{}. {remedy}", it.seen())
    });
    full(budget).into_iter().chain(early).chain(proposed).collect()
}

/// The upstream's own word about the day.
fn full(budget: &Budget) -> Option<String> {
    let since = budget.full_since?;
    Some(format!(
        "the upstream says since {} that the day is full; other programs use the account, too",
        when(since, budget.now)
    ))
}

/// The origins that have used up their limit.
fn limited(budget: &Budget) -> Vec<String> {
    let one = |origin: &LimitedOrigin| {
        let LimitedOrigin { words, limit, until } = origin;
        let until = when(*until, budget.now);
        format!("{words} has had its {limit} recipients of a day: its mail waits until {until}")
    };
    budget.limited.iter().map(one).collect()
}

fn queue(queue: &Queue, now: Timestamp) -> Vec<String> {
    if queue.messages == 0 && queue.set_aside == 0 {
        return vec!["empty".into()];
    }
    let totals = &queue.recipients;
    let states = [
        (totals.queued, "waiting"),
        (totals.scheduled, "scheduled"),
        (totals.folded, "folded"),
        (totals.uncertain, "uncertain"),
        (totals.reserved, "in flight"),
        (totals.relayed, "relayed"),
        (totals.held, "held"),
        (totals.dead, "dead"),
    ];
    let states = states.iter().filter(|(number, _)| *number > 0);
    let states: Vec<String> = states.map(|(number, state)| format!("{number} {state}")).collect();
    let counted = queue.counted_at.filter(|at| now.since(*at) >= COUNT_IS_OLD);
    let counted = match (queue.partial, counted) {
        (false, None) => String::new(),
        (true, None) => " (counted in part)".to_owned(),
        (false, Some(at)) => format!(" (counted {})", relative(at, now)),
        (true, Some(at)) => format!(" (counted in part, {})", relative(at, now)),
    };
    let mut lines = vec![format!(
        "{}, {}; recipients: {}{counted}",
        count(queue.messages, "message"),
        size(queue.bytes),
        if states.is_empty() { "none".to_owned() } else { states.join(", ") },
    )];
    lines.extend(queue.oldest.map(|oldest| {
        format!(
            "the oldest that waits is {}, accepted {}",
            oldest.id,
            when(oldest.accepted_at, now)
        )
    }));
    lines.extend((totals.held > 0).then(|| {
        format!(
            "{} held for a person: pillarbox queue list --state held, then queue retry or delete",
            count(totals.held, "recipient")
        )
    }));
    lines.extend((queue.set_aside > 0).then(|| {
        format!(
            "{} damaged and set aside in {}",
            count(queue.set_aside, "file"),
            queue.set_aside_in
        )
    }));
    lines
}

/// Files of the drop directory, where there are any.
fn dropped(state: Option<&DropState>) -> Vec<String> {
    let Some(DropState { directory, waiting, set_aside }) = state else { return Vec::new() };
    let waiting = (*waiting > 0)
        .then(|| format!("{} in {directory} to be taken", count(*waiting, "message")));
    let set_aside = (*set_aside > 0).then(|| {
        let files = count(*set_aside, "file");
        format!("{files} set aside as {directory}/bad.*: the log says why; rename one back to be tried again, or delete it")
    });
    waiting.into_iter().chain(set_aside).collect()
}

/// When mail leaves, why not before, and what to do.
pub(crate) fn departure(status: &Status) -> Vec<String> {
    let departure = &status.departure;
    let is_sending = status.queue.recipients.reserved > 0;
    let line = match departure.because {
        Because::Empty if is_sending => {
            "Nothing more waits; what is in flight is being sent now.".to_owned()
        }
        _ => departure.sentence(|at| when(at, status.now)),
    };
    // What keeps it may be another account, whose remedy counts then.
    let other = status.others.iter().find(|one| one.departure == *departure);
    let account = other.map_or(&status.account, |one| &one.account);
    let advice = departure.advice(&account.remedy, status.refusing.is_none());
    std::iter::once(line).chain(advice).collect()
}

/// Whether clients are turned away, and what to do.
pub(crate) fn refusing(status: &Status) -> Vec<String> {
    let Some(refusing) = &status.refusing else { return Vec::new() };
    let (what, remedy) = (phrase(&refusing.what), phrase(&refusing.remedy));
    vec![format!("{what}."), format!("What to do: {remedy}.")]
}

/// What fails of a target, in one line; nothing where nothing does.
pub(crate) fn unreached(target: &TargetState, now: Timestamp) -> Option<String> {
    let failure = target.failure.as_ref()?;
    let again = target.next_try.map(|at| format!("; next try {}", when(at, now)));
    Some(format!(
        "{} ({}) has not been reached since {}: {}; {} waiting{}",
        target.name,
        target.goes_to,
        when(failure.since, now),
        failure.what,
        count(target.waiting, "alert"),
        again.unwrap_or_default(),
    ))
}

/// The budget of the account with this name: what is spent, what is left for whom, and when mail leaves.
pub(crate) fn budget_lines(budget: &Budget, name: &str) -> Lines {
    let room = match (budget.room, budget.frees_at) {
        (None, _) => "no limit".to_owned(),
        (Some(0), Some(at)) => {
            format!("none: the next recipient may leave at {}", when(at, budget.now))
        }
        (Some(0), None) => {
            addressed("none, ever: the limit is 0; raise budget.recipients_per_day", name)
        }
        (Some(room), _) => format!("for {}", count(room.into(), "more recipient")),
    };
    let of = |name: &str, reserve: u32, room: Option<u32>| match (reserve, room) {
        (0, _) | (_, None) => None,
        (_, Some(0)) => Some(format!("for {name}: none")),
        (_, Some(room)) => Some(format!("for {name}: {room}")),
    };
    let urgent = of("urgent mail", budget.urgent_reserve, budget.urgent_room);
    let notices = of("notices of this relay", budget.notice_reserve, budget.notice_room);
    let lines: Vec<String> = std::iter::once(room).chain(urgent).chain(notices).collect();
    let departure = match is_limited(budget) {
        Some(false) => "Mail that is due leaves now.".to_owned(),
        Some(true) => "Mail that is due leaves now, but for that of the origins above.".to_owned(),
        None => budget.departure.sentence(|at| when(at, budget.now)),
    };
    vec![
        ("spent", vec![spent(budget)]),
        ("upstream", upstreams_word(budget, name)),
        ("origins", limited(budget)),
        ("room", lines),
        ("next", vec![departure]),
    ]
}

/// The same in a row of a table: the account, what is spent, of how much, what is left for all mail, and when mail leaves.
pub(crate) fn budget_row(name: &str, budget: &Budget) -> [String; 5] {
    let next = match is_limited(budget) {
        Some(false) => "now".to_owned(),
        Some(true) => "now, but for origins at their own limit".to_owned(),
        None => budget.departure.sentence(|at| when(at, budget.now)),
    };
    let or_dash = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let (limit, room) = (or_dash(budget.limit.recipients()), or_dash(budget.room));
    [name.to_owned(), budget.spent.to_string(), limit, room, next]
}

/// Where mail that is due leaves now: whether that of some origins does not.
fn is_limited(budget: &Budget) -> Option<bool> {
    matches!(budget.departure.because, Because::Now | Because::Turn)
        .then(|| !budget.limited.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_does_not_say_that_all_mail_leaves_while_an_origin_waits_for_its_limit() {
        let budget = |limited: serde_json::Value| -> Budget {
            serde_json::from_value(serde_json::json!({
                "now": 0, "recipients_per_day": 500, "owner_reserve": 0, "limit": 500, "notice_reserve": 0,
                "urgent_reserve": 0, "spent": 7, "room": 493, "urgent_room": 493, "notice_room": 493,
                "frees_at": 0, "full_since": null, "limited": limited,
                "departure": { "at": 0, "because": "now", "why": "it is due" },
            }))
            .expect("a budget")
        };
        let next = |limited| budget_lines(&budget(limited), MAIN).pop().expect("a line").1.concat();
        assert_eq!(next(serde_json::json!([])), "Mail that is due leaves now.");
        let origin =
            serde_json::json!([{ "words": "10.0.0.7, from <>", "limit": 7, "until": 60_000 }]);
        let words = "Mail that is due leaves now, but for that of the origins above.";
        assert_eq!(next(origin), words);
    }

    #[test]
    fn what_is_to_be_done_about_a_further_account_names_it() {
        let departure = serde_json::json!({
            "at": null, "because": "account", "why": "the account shop is paused-configuration", "account_name": "shop",
        });
        let early = serde_json::json!({ "days": 3, "counted": 90, "recipients_per_day": 80 });
        let other: OtherAccount = serde_json::from_value(serde_json::json!({
            "name": "shop", "upstream": "mail.example.org:587", "departure": departure, "errors": [], "unknown_replies": 0,
            "account": {
                "username": "shop@example.org", "condition": "paused-configuration", "since": 0, "until": null,
                "reason": "no token", "remedy": "", "pause": { "since": 0, "until": null, "reason": "" },
            },
            "budget": {
                "now": 0, "recipients_per_day": 100, "owner_reserve": 0, "limit": 100, "spent": 0, "room": 0,
                "frees_at": null, "departure": departure, "proposed": early,
            },
        }))
        .expect("an account");
        let all = self::other(&other, Timestamp(0)).join("\n");
        for words in [
            "until `pillarbox resume --account shop`",
            "pillarbox doctor --check further-accounts",
            "Set recipients_per_day = 80 in the [[account]] shop,",
        ] {
            assert!(all.contains(words), "{words}: {all}");
        }
        let budget = budget_lines(&other.budget, "shop");
        let room = &budget.iter().find(|(label, _)| *label == "room").expect("a line").1;
        assert_eq!(room.concat(), "none, ever: the limit is 0; raise shop's recipients_per_day");
        let next = &budget.last().expect("a line").1;
        assert_eq!(
            next.concat(),
            "Mail waits: the account shop is paused-configuration, until `pillarbox resume --account shop`."
        );
    }

    #[test]
    fn what_the_pause_of_a_further_account_says_is_not_said_again_as_an_error() {
        let told: OtherAccount = serde_json::from_value(serde_json::json!({
            "name": "second", "upstream": "localhost:465",
            "account": {
                "username": "a@example.org", "condition": "paused-credentials", "since": 0, "until": null,
                "reason": "535 5.7.8 no", "remedy": "Make a new password.",
            },
            "budget": {
                "now": 0, "recipients_per_day": 500, "owner_reserve": 0, "limit": 500, "notice_reserve": 0,
                "urgent_reserve": 0, "spent": 7, "room": 493, "urgent_room": 493, "notice_room": 493,
                "frees_at": 0, "full_since": null, "limited": [],
                "departure": { "at": null, "because": "account", "why": "it is" },
            },
            "departure": { "at": null, "because": "account", "why": "it is" },
            "errors": [
                { "at": 0, "id": "06hhgq2g000000005jfavybr78", "text": "535 5.7.8 no" },
                { "at": 0, "id": "06hhgq2g000000005jfavybr78", "text": "421 4.7.0 later" },
            ],
            "unknown_replies": 0,
        }))
        .expect("an account");
        let text = other(&told, Timestamp(0)).join("\n");
        assert_eq!(text.matches("535 5.7.8 no").count(), 1, "{text}");
        assert!(text.contains("421 4.7.0 later"), "{text}");
    }
}
