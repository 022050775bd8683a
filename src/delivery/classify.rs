//! The meaning of an answer: whom it concerns and what to do.
//!
//! Rule: pure, and total: every answer has a verdict. The provider's table of known replies comes first
//! (`reply_tables.rs`), then the default rules of docs/gmail.md section 3.7, which decide by stage: before
//! MAIL nothing can be a message's fault. Must not know queues, clocks or connections.

use std::{borrow::Cow, time::Duration};

use super::{
    answer::{Answer, Fault, Reply, Stage},
    api_replies, oauth,
    provider::Provider,
    reply_tables,
    verdict::{Action, Growth, Scope, Verdict, Waits},
    wording::{Subject, subject},
};
use crate::queue::state::AccountCondition;

/// How long a recipient is tried whose refusal is permanent but unknown (docs/gmail.md section 3.7).
const UNKNOWN_REFUSAL_LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// The verdict on an answer.
pub(super) fn classify(provider: Provider, answer: &Answer) -> Verdict {
    match answer {
        Answer::Replied { stage, reply } => of_reply(provider, *stage, reply),
        Answer::Broken { stage, fault, .. } => of_fault(*stage, fault),
        Answer::Unsendable { .. } => Verdict::new(Scope::Recipient, Action::GiveUp),
    }
}

/// Whether an answer is a refusal that the table does not know.
pub(super) fn is_unknown(provider: Provider, answer: &Answer) -> bool {
    match answer {
        Answer::Replied { reply, .. } if reply.is_http => {
            !reply.is_positive() && api_replies::row(reply).is_none()
        }
        Answer::Replied { stage, reply } => {
            !reply.is_positive() && reply_tables::row(provider, *stage, &with_code(reply)).is_none()
        }
        Answer::Broken { .. } | Answer::Unsendable { .. } => false,
    }
}

/// The verdict on a reply.
fn of_reply(provider: Provider, stage: Stage, reply: &Reply) -> Verdict {
    if reply.is_positive() {
        return of_positive_reply(stage, reply);
    }
    if reply.is_http {
        return api_replies::verdict(reply);
    }
    let reply = &with_code(reply);
    let row = reply_tables::row(provider, stage, reply);
    row.map_or_else(|| by_stage(stage, reply), |row| row.verdict)
}

/// The reply with its enhanced code, which qmail and its kin write at the end: `(#5.3.4)`.
fn with_code(reply: &Reply) -> Cow<'_, Reply> {
    let at_the_end = || {
        let (before, rest) = reply.text.rsplit_once("(#")?;
        let (code, after) = rest.split_once(')')?;
        let reordered = Reply::new(reply.code, &format!("{code} {before}{after}"));
        (!reordered.enhanced.is_empty()).then_some(reordered)
    };
    let found = if reply.enhanced.is_empty() { at_the_end() } else { None };
    found.map_or(Cow::Borrowed(reply), Cow::Owned)
}

fn of_positive_reply(stage: Stage, reply: &Reply) -> Verdict {
    let finished = matches!(stage, Stage::Rcpt | Stage::FinalDot) && reply.code < 300;
    if finished {
        return Verdict::new(Scope::Message, Action::Accept);
    }
    // Only the two stages above end with a positive reply: anything else means that we and the
    // server do not agree about where we are.
    let scope = if stage < Stage::Mail { CONNECTION_TROUBLE } else { RECONNECT };
    scope.hint("The server's reply was not the one that its command calls for.")
}

const RECONNECT: Verdict = Verdict::reconnect(AccountCondition::BackingOff);
const CONNECTION_TROUBLE: Verdict =
    Verdict::new(Scope::Account, Action::Pause(AccountCondition::BackingOff));

/// docs/gmail.md section 3.7: a reply that the table does not know.
fn by_stage(stage: Stage, reply: &Reply) -> Verdict {
    use AccountCondition::{PausedConfiguration, PausedCredentials};
    let permanent = reply.code >= 500;
    match stage {
        Stage::Auth if permanent => {
            Verdict::pause(PausedCredentials, "Check upstream.username and the app password.")
        }
        Stage::Connect | Stage::Greeting | Stage::Ehlo | Stage::Starttls if permanent => {
            Verdict::pause(
                PausedConfiguration,
                "Check upstream.host, upstream.port and upstream.ehlo_name, then restart the relay: `systemctl restart pillarbox`.",
            )
        }
        Stage::Connect | Stage::Greeting | Stage::Ehlo | Stage::Starttls | Stage::Auth => {
            CONNECTION_TROUBLE
        }
        Stage::Rcpt => of_recipient(reply, permanent),
        Stage::Mail | Stage::Data if reply.code == 421 => RECONNECT,
        Stage::Mail | Stage::Data | Stage::FinalDot => of_message(stage, reply, permanent),
    }
}

/// An unknown refusal of a recipient. Only words that are plainly about the account concern more than it.
fn of_recipient(reply: &Reply, permanent: bool) -> Verdict {
    let retry = |waits| Verdict::new(Scope::Recipient, Action::Retry(waits));
    match subject(reply) {
        Subject::Recipients => Verdict::new(Scope::Recipient, Action::Split),
        Subject::Allowance => ALLOWANCE,
        _ if permanent && reply.enhanced.starts_with("5.1.") => {
            Verdict::new(Scope::Recipient, Action::GiveUp)
        }
        _ if permanent => retry(A_DAY),
        _ => retry(Waits::USUAL),
    }
}

/// An unknown refusal of MAIL, DATA or the message. A size or a mailbox is never the account's affair.
fn of_message(stage: Stage, reply: &Reply, permanent: bool) -> Verdict {
    let retry = |waits| Verdict::new(Scope::Message, Action::Retry(waits));
    match subject(reply) {
        Subject::Recipients => Verdict::new(Scope::Message, Action::Split),
        Subject::Allowance => ALLOWANCE,
        Subject::Rate => RATE,
        // Some limit: before a message was seen it is rather the account's, after it rather its own.
        Subject::Limit if permanent && stage < Stage::FinalDot => ALLOWANCE,
        Subject::Mailbox if permanent && stage < Stage::FinalDot => retry(A_DAY),
        _ if permanent => Verdict::new(Scope::Message, Action::GiveUp),
        _ => retry(Waits::USUAL),
    }
}

/// Hourly, for a day: a refusal for good that may pass all the same.
const A_DAY: Waits = Waits {
    growth: Growth::FromAnHour,
    attempts_max: None,
    lifetime: Some(UNKNOWN_REFUSAL_LIFETIME),
};
const ALLOWANCE: Verdict = Verdict::pause(
    AccountCondition::PausedQuota,
    "Nothing; the relay tries another message when the pause ends. Send less from this account meanwhile.",
);
const RATE: Verdict = Verdict::pause(
    AccountCondition::BackingOff,
    "Nothing: the relay tries again with growing waits. If it happens often, lower budget.pace_per_minute.",
);

fn of_fault(stage: Stage, fault: &Fault) -> Verdict {
    use AccountCondition::{BackingOff, PausedConfiguration, PausedCredentials};
    let configuration = |remedy| Verdict::pause(PausedConfiguration, remedy);
    match fault {
        Fault::Unreachable(_) => Verdict::pause(
            BackingOff,
            "Check the network and the name server; some providers block ports 25, 465 and 587 (upstream.other_port tries the other of the last two).",
        ),
        Fault::Trouble { .. } => Verdict::pause(
            BackingOff,
            "Nothing: the relay tries again with growing waits. https://www.google.com/appsstatus says whether Google knows of it.",
        ),
        Fault::Certificate(_) => configuration(
            "Check upstream.host, the system's clock and its CA certificates (package ca-certificates), or upstream.ca_file; then run `pillarbox resume`.",
        ),
        Fault::PlainText if stage == Stage::Connect => configuration(
            "This port does not begin with TLS: set upstream.port = 465, or upstream.tls = \"starttls\" with port 587; then restart the relay: `systemctl restart pillarbox`.",
        ),
        Fault::TlsFirst => configuration(
            "This port begins with TLS: set upstream.tls = \"implicit\" (port 465), or upstream.port = 587; then restart the relay: `systemctl restart pillarbox`.",
        ),
        Fault::NoStarttls | Fault::Injected | Fault::PlainText => configuration(
            "Something between here and the upstream changes the connection (a middlebox or an attacker): try upstream.port = 465. The relay looks again by itself; nothing is ever sent in plain text.",
        ),
        Fault::NoAuth => configuration(
            "Check that upstream.host and upstream.port are a submission server; then restart the relay: `systemctl restart pillarbox`.",
        ),
        // Its remedy comes with it.
        Fault::NoPassword { .. } => Verdict::pause(PausedCredentials, ""),
        Fault::NoToken(error) => match error.kind {
            oauth::Kind::Local | oauth::Kind::Dead => Verdict::pause(PausedCredentials, ""),
            oauth::Kind::Temporary => Verdict::pause(BackingOff, ""),
            oauth::Kind::Refused => Verdict::pause(PausedConfiguration, ""),
        },
        Fault::Configuration(_) => configuration("Correct it; then restart the relay: `systemctl restart pillarbox`."),
        Fault::Lost(_) if stage == Stage::Greeting => CONNECTION_TROUBLE.hint(
            "Nothing was said on the connection. If the port begins with TLS (465), set upstream.tls = \"implicit\"; else look for a proxy or a filter in between.",
        ),
        Fault::Lost(_) | Fault::Garbled(_) if stage < Stage::Mail => CONNECTION_TROUBLE.hint(
            "Check that upstream.port and upstream.tls belong together, and that no proxy is in between.",
        ),
        Fault::Lost(_) | Fault::Garbled(_) => RECONNECT,
        Fault::OverHttps(fault) => over_https(stage, fault),
        Fault::At { fault, .. } => of_fault(stage, fault),
    }
}

/// The same where the upstream is the Gmail API: host and port are given.
fn over_https(stage: Stage, fault: &Fault) -> Verdict {
    let verdict = of_fault(stage, fault);
    match fault {
        Fault::Unreachable(_) => verdict.hint(
            "Check the network, the name server and the firewall: the Gmail API is reached over HTTPS (port 443).",
        ),
        Fault::Certificate(_) => verdict.hint(
            "Check the system's clock and its CA certificates (package ca-certificates), or upstream.ca_file if a proxy opens TLS connections; then run `pillarbox resume`.",
        ),
        Fault::PlainText | Fault::TlsFirst => verdict.hint(
            "Something between here and Google answers in the place of the Gmail API (a proxy, or a network that wants a login): let HTTPS to gmail.googleapis.com through. The relay looks again by itself; nothing is ever sent in plain text.",
        ),
        Fault::Lost(_) | Fault::Garbled(_) if stage < Stage::Mail => {
            verdict.hint("Check that no proxy and no filter for HTTPS is in between.")
        }
        _ => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_and_code_class_has_a_verdict_and_none_before_mail_harms_a_message() {
        for stage in Stage::ALL {
            for code in (200..600).step_by(1) {
                let verdict =
                    of_reply(Provider::Gmail, stage, &Reply::new(code, "5.9.9 unheard of"));
                if stage < Stage::Mail {
                    assert_eq!(verdict.scope, Scope::Account, "{stage:?} {code}");
                }
                let accepted = verdict.action == Action::Accept;
                assert_eq!(
                    accepted,
                    matches!(stage, Stage::Rcpt | Stage::FinalDot) && code < 300,
                    "{stage:?} {code}"
                );
            }
        }
    }

    #[test]
    fn unknown_replies_follow_the_default_rules() {
        use AccountCondition::{BackingOff, PausedConfiguration, PausedCredentials, PausedQuota};
        let pause = |condition| (Scope::Account, Action::Pause(condition));
        let lifetime = Some(Duration::from_secs(24 * 3_600));
        let a_day = Waits { growth: Growth::FromAnHour, attempts_max: None, lifetime };
        for (stage, code, text, expected) in [
            // A permanent refusal before MAIL is the configuration's fault.
            (Stage::Ehlo, 550, "5.9.9 no", pause(PausedConfiguration)),
            (Stage::Auth, 550, "5.9.9 no", pause(PausedCredentials)),
            // A temporary one is the network's.
            (Stage::Greeting, 450, "later", pause(BackingOff)),
            (Stage::Rcpt, 550, "5.1.9 no", (Scope::Recipient, Action::GiveUp)),
            (Stage::Rcpt, 550, "5.2.9 no", (Scope::Recipient, Action::Retry(a_day))),
            (Stage::Rcpt, 450, "later", (Scope::Recipient, Action::Retry(Waits::USUAL))),
            // Words of limits at MAIL and DATA concern the account.
            (Stage::Data, 550, "5.9.9 Some limit reached", pause(PausedQuota)),
            (
                Stage::FinalDot,
                454,
                "Throttling failure: Daily message quota exceeded.",
                pause(PausedQuota),
            ),
            (
                Stage::FinalDot,
                432,
                "4.3.2 Concurrent connections limit exceeded.",
                pause(BackingOff),
            ),
            (
                Stage::Rcpt,
                550,
                "Domain a.example has exceeded the max emails per hour.",
                pause(PausedQuota),
            ),
            // The narrower subject does not: sizes, loops, mailboxes, the number of recipients.
            (Stage::Mail, 552, "Message size exceeds limit", (Scope::Message, Action::GiveUp)),
            (Stage::Data, 550, "5.9.9 attachment limit exceeded", (Scope::Message, Action::GiveUp)),
            (Stage::Data, 554, "Too many hops", (Scope::Message, Action::GiveUp)),
            (
                Stage::Data,
                550,
                "5.9.9 mailbox quota exceeded",
                (Scope::Message, Action::Retry(a_day)),
            ),
            (Stage::Data, 550, "5.5.3 Too many recipients", (Scope::Message, Action::Split)),
            (Stage::Rcpt, 552, "Too many recipients", (Scope::Recipient, Action::Split)),
            (Stage::Data, 550, "5.9.9 corporate mail refused", (Scope::Message, Action::GiveUp)),
            (Stage::FinalDot, 554, "no", (Scope::Message, Action::GiveUp)),
            (Stage::FinalDot, 451, "later", (Scope::Message, Action::Retry(Waits::USUAL))),
            (Stage::FinalDot, 421, "bye", (Scope::Message, Action::Retry(Waits::USUAL))),
            (Stage::Data, 421, "bye", (Scope::Connection, Action::Reconnect { then: BackingOff })),
            (
                Stage::Data,
                250,
                "not 354",
                (Scope::Connection, Action::Reconnect { then: BackingOff }),
            ),
        ] {
            let reply = Reply::new(code, text);
            let verdict = of_reply(Provider::Gmail, stage, &reply);
            assert_eq!((verdict.scope, verdict.action), expected, "{stage:?} {code} {text}");
            let unknown = is_unknown(Provider::Gmail, &Answer::Replied { stage, reply });
            assert_eq!(unknown, code >= 400, "{stage:?} {code} {text} is counted");
        }
    }

    #[test]
    fn an_enhanced_code_at_the_end_of_the_text_counts() {
        let text = "sorry, that message size exceeds my databytes limit (#5.3.4)";
        for stage in [Stage::Mail, Stage::Data, Stage::FinalDot] {
            let verdict = of_reply(Provider::Gmail, stage, &Reply::new(552, text));
            assert_eq!((verdict.scope, verdict.action), (Scope::Message, Action::GiveUp));
        }
        let unknown = Answer::Replied { stage: Stage::Mail, reply: Reply::new(552, text) };
        assert!(!is_unknown(Provider::Gmail, &unknown), "the table has this code");
    }

    #[test]
    fn a_broken_connection_is_the_accounts_affair_before_mail_and_the_connections_after() {
        for stage in Stage::ALL {
            let answer =
                Answer::Broken { stage, after_dot: false, fault: Fault::Lost("gone".into()) };
            let expected = if stage < Stage::Mail { Scope::Account } else { Scope::Connection };
            assert_eq!(classify(Provider::Gmail, &answer).scope, expected);
        }
    }

    #[test]
    fn what_ends_the_way_to_the_gmail_api_is_mended_without_a_port_or_a_host() {
        let unreachable = || Fault::Unreachable("no answer".into());
        let faults = [
            unreachable(),
            Fault::Certificate("expired".into()),
            Fault::PlainText,
            Fault::Lost("gone".into()),
        ];
        for fault in faults {
            let of = |fault| classify(Provider::Gmail, &Answer::broken(Stage::Connect, fault));
            let plain = of(fault.clone());
            let over_https = of(Fault::OverHttps(Box::new(fault)));
            assert_eq!(over_https.action, plain.action);
            for wrong in ["465", "587", "upstream.port", "upstream.host", "upstream.tls"] {
                assert!(!over_https.remedy.contains(wrong), "{}", over_https.remedy);
            }
        }
        let located = Fault::At {
            server: "gmail.googleapis.com port 443".into(),
            fault: Box::new(Fault::OverHttps(Box::new(unreachable()))),
        };
        let remedy = of_fault(Stage::Connect, &located).remedy;
        assert!(remedy.contains("HTTPS (port 443)"), "{remedy}");
    }
}
