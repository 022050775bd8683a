//! The journey of a message: what has happened to it and what is to come, step by step.
//!
//! Rule: pure; the words of a reply are the upstream's own, and stand apart from ours. Each step says what the commands say
//! of it.

use super::{
    Lines, explain,
    message::{client_of, in_short, sender, size_and_kind, whom},
};
use crate::{
    admin::{
        api::{Because, Message, Recipient},
        forecast::Explained,
    },
    clock::Timestamp,
    quantities::count,
    queue::id::QueueId,
};

/// One step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// When; `None` where nobody can know.
    pub(crate) at: Option<Timestamp>,
    /// It has not happened yet.
    pub(crate) is_to_come: bool,
    /// What.
    pub(crate) what: String,
    /// What of it is in words of ours.
    pub(crate) lines: Lines,
    /// What was said, word for word.
    pub(crate) reply: Option<String>,
    /// Another message that it is about.
    pub(crate) other: Option<QueueId>,
}

/// All of them, in the order of time; what made the message what it is only where that was asked.
pub(crate) fn journey(
    message: &Message,
    explained: Option<&Explained>,
    now: Timestamp,
) -> Vec<Step> {
    let mut steps = vec![accepted(message, explained)];
    let mut between: Vec<Step> = attempts(message).chain(notices(message)).collect();
    between.extend(ends(message));
    between.sort_by_key(|step| step.at);
    steps.extend(between);
    steps.extend(left(message));
    steps.extend(scheduled(message, now));
    steps.extend(explained.and_then(|explained| departure(explained, now)));
    steps
}

fn accepted(message: &Message, explained: Option<&Explained>) -> Step {
    let what = match &message.origin {
        Some(origin) if origin.address.is_none() => "Written by this relay itself".to_owned(),
        Some(origin) => format!("Accepted from {}", client_of(origin)),
        None => match &message.client {
            Some(client) => format!("Accepted from {client}"),
            None => "Accepted".to_owned(),
        },
    };
    let protection = message.origin.as_ref().and_then(|origin| protection(&origin.protocol));
    let resent = message.resend_of.map(|old| format!("{old}, which was relayed, once more"));
    let to = count(message.recipients.len() as u64, "recipient");
    let mut lines = vec![
        ("from", vec![format!("{} to {to}", sender(message))]),
        ("size", vec![size_and_kind(message)]),
        ("protected", protection.map(str::to_owned).into_iter().collect()),
        ("resend of", resent.into_iter().collect()),
    ];
    match explained {
        Some(explained) => lines.extend(explain::made(explained)),
        None => {
            lines.push(("rule", message.rule.iter().cloned().collect()));
            lines.push(("lane", vec![message.lane.clone()]));
        }
    }
    Step { at: Some(message.accepted_at), what, lines, other: message.resend_of, ..Step::default() }
}

/// What the `with` word of RFC 3848 says of its way to us; nothing of mail that no network has carried.
fn protection(protocol: &str) -> Option<&'static str> {
    let rest = protocol.strip_prefix("UTF8").unwrap_or(protocol).trim_start_matches('E');
    Some(match rest.strip_prefix("SMTP")? {
        "SA" => "by TLS, with a login",
        "S" => "by TLS, without a login",
        "A" => "not by TLS, with a login",
        _ => "not by TLS, without a login",
    })
}

fn attempts(message: &Message) -> impl Iterator<Item = Step> {
    message.attempts.iter().map(|attempt| Step {
        at: Some(attempt.at),
        what: {
            let whom = whom(attempt, message).map(|whom| format!(" for {whom}"));
            let by = attempt.account.as_ref().map(|name| format!(" by {name}"));
            format!("Attempt{}{}, answered", whom.unwrap_or_default(), by.unwrap_or_default())
        },
        reply: Some(attempt.reply.clone()),
        ..Step::default()
    })
}

fn notices(message: &Message) -> impl Iterator<Item = Step> {
    message.notices.iter().map(|notice| Step {
        at: Some(notice.at),
        what: format!("Notice ({}) queued to {}", notice.kind, notice.to),
        other: Some(notice.id),
        ..Step::default()
    })
}

/// The states of recipients that have a beginning, once for all that share it.
fn ends(message: &Message) -> Vec<Step> {
    let mut steps: Vec<(&Recipient, Vec<&str>)> = Vec::new();
    for one in message.recipients.iter().filter(|one| one.since.is_some()) {
        let key = |one: &Recipient| (one.since, one.state.clone(), one.reason.clone());
        match steps.iter_mut().find(|(first, _)| key(first) == key(one)) {
            Some((_, addresses)) => addresses.push(&one.address),
            None => steps.push((one, vec![&one.address])),
        }
    }
    let step = |(one, addresses): (&Recipient, Vec<&str>)| {
        let what = match one.state.as_str() {
            "relayed" => "Relayed",
            "held" => "Held",
            "dead" => "Given up",
            "reserved" => "Being sent",
            other => other,
        };
        let whom = match addresses.as_slice() {
            [_, ..] if addresses.len() == message.recipients.len() => String::new(),
            [first, rest @ ..] if !rest.is_empty() => format!(": {first} and {} more", rest.len()),
            _ => format!(": {}", addresses.concat()),
        };
        let known = |reason: &&String| !message.attempts.iter().any(|one| one.reply == **reason);
        let reason = one.reason.iter().filter(known).cloned().collect();
        let (at, what) = (one.since, format!("{what}{whom}"));
        Step { at, what, lines: vec![("reason", reason)], ..Step::default() }
    };
    steps.into_iter().map(step).collect()
}

fn left(message: &Message) -> Option<Step> {
    let end = message.end.as_ref()?;
    let what = format!("Left the queue: {}", in_short(end));
    Some(Step { at: Some(end.at), what, other: end.new, ..Step::default() })
}

fn scheduled(message: &Message, now: Timestamp) -> Option<Step> {
    let at = message.scheduled_for.filter(|at| *at > now)?;
    let what = "Scheduled: a person has set this time".to_owned();
    Some(Step { at: Some(at), is_to_come: true, what, ..Step::default() })
}

/// When it leaves and why, or why it does not.
fn departure(explained: &Explained, now: Timestamp) -> Option<Step> {
    let departure = explained.message.departure.as_ref()?;
    let what = match departure.because {
        Because::Held | Because::Folded => "Stays here",
        Because::InFlight => "Is being sent",
        Because::Now => "Leaves now",
        _ => "Leaves",
    };
    Some(Step {
        at: departure.at.filter(|at| *at > now),
        is_to_come: true,
        what: what.to_owned(),
        lines: explain::leaving(explained),
        ..Step::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_in_the_order_of_time_and_recipients_that_share_an_end_are_one_step() {
        let recipient = |address: &str, reason: &str| {
            serde_json::json!({"address": address, "state": "dead", "since": 5_000, "next_attempt": null, "reason": reason,
                "attempts": 1, "last_reply": "550 no"})
        };
        let id = QueueId::from_bytes([7; 16]);
        let message: Message = serde_json::from_value(serde_json::json!({
            "id": id, "accepted_at": 1_000, "from": null, "size_bytes": 10, "eight_bit": true, "internationalized": false,
            "client": "192.0.2.7",
            "attempts": [{"at": 5_000, "recipients": ["a@x.example", "b@x.example"], "reply": "550 no"}],
            "notices": [{"at": 3_000, "kind": "delayed", "to": "me@x.example", "id": id}],
            "recipients": [recipient("a@x.example", "550 no"), recipient("b@x.example", "550 no"),
                recipient("c@x.example", "its lifetime is over")],
        }))
        .expect("a message");
        let steps = journey(&message, None, Timestamp(9_000));
        let whats: Vec<&str> = steps.iter().map(|step| step.what.as_str()).collect();
        assert_eq!(
            whats,
            [
                "Accepted from 192.0.2.7",
                "Notice (delayed) queued to me@x.example",
                "Attempt for a@x.example and 1 more, answered",
                "Given up: a@x.example and 1 more",
                "Given up: c@x.example",
            ]
        );
        assert_eq!(steps[1].other, Some(id));
        assert_eq!(steps[3].lines, [("reason", vec![])], "the attempt has said it");
        assert_eq!(steps[4].lines, [("reason", vec!["its lifetime is over".to_owned()])]);
    }

    #[test]
    fn the_way_of_a_message_is_told_by_its_protocol() {
        for (protocol, told) in [
            ("SMTP", Some("not by TLS, without a login")),
            ("ESMTP", Some("not by TLS, without a login")),
            ("ESMTPA", Some("not by TLS, with a login")),
            ("ESMTPS", Some("by TLS, without a login")),
            ("ESMTPSA", Some("by TLS, with a login")),
            ("UTF8SMTPSA", Some("by TLS, with a login")),
            ("LOCAL", None),
            ("local", None),
        ] {
            assert_eq!(protection(protocol), told, "{protocol}");
        }
    }
}
