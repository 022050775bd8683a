//! `pillarbox check` and people: as whom mail leaves, and who is told when it does not.
//!
//! Rule: the webhook's address may be a secret; its host is shown. Must not know how mail is edited or told of.

use std::{io, io::Write};

use serde_json::{Value, json};

use super::{moment::span, screen::labelled};
use crate::{message::identity::FromPolicy, settings::Settings};

pub(super) fn print(out: &mut dyn Write, settings: &Settings) -> io::Result<()> {
    labelled(out, "identity", &identity(settings))?;
    labelled(out, "notices", &[notices(settings)])?;
    labelled(out, "alerts", &alerts(settings))
}

/// Who mail is sent as.
fn identity(settings: &Settings) -> Vec<String> {
    let delivery = &settings.delivery;
    let identity = &delivery.identity;
    let account = delivery.login.as_ref().map_or("the account", |login| login.username.as_str());
    let send_as: Vec<String> = identity.send_as.iter().map(ToString::to_string).collect();
    let from = match identity.from {
        FromPolicy::Account => format!("everything leaves as {account}"),
        FromPolicy::AliasList => {
            format!("everything leaves as {account}, but what is from {}", send_as.join(", "))
        }
        FromPolicy::Keep => "senders stay as they are".to_owned(),
    };
    let domain =
        format!("a sender without a domain, such as root, becomes root@{}", identity.domain);
    let admin = match &delivery.admin {
        Some(admin) => format!("mail for a name without a domain goes to {admin}"),
        None => "mail for a name without a domain is refused".to_owned(),
    };
    vec![from, domain, admin]
}

/// Who is told by mail.
fn notices(settings: &Settings) -> String {
    let notices = &settings.notices;
    let (Some(_), Some(admin)) = (&notices.from, &notices.admin) else {
        return "nobody".to_owned();
    };
    let senders = if notices.senders { " and senders elsewhere" } else { "" };
    let delay = match notices.delay_after {
        Some(after) => format!("; of mail that waits after {}", span(after)),
        None => String::new(),
    };
    format!("to {admin}{senders}, at most {} an hour{delay}", notices.per_hour)
}

/// Who is told without mail.
fn alerts(settings: &Settings) -> Vec<String> {
    let alert = &settings.alert;
    let command = alert.command.first().map(|program| format!("the command {program}"));
    let webhook = alert.webhook.as_ref().map(|address| address.shown());
    let mut lines: Vec<String> = command.into_iter().chain(webhook).collect();
    if lines.is_empty() {
        lines.push("none".to_owned());
    }
    lines
}

/// The sections of the JSON document.
pub(super) fn document(settings: &Settings) -> [(&'static str, Value); 3] {
    let (delivery, notices, alert) = (&settings.delivery, &settings.notices, &settings.alert);
    let identity = &delivery.identity;
    let from = match identity.from {
        FromPolicy::Account => "account",
        FromPolicy::AliasList => "alias-list",
        FromPolicy::Keep => "keep",
    };
    [
        (
            "identity",
            json!({
                "from": from,
                "account": delivery.login.as_ref().map(|login| &login.username),
                "send_as": identity.send_as,
                "domain": identity.domain,
                "admin": delivery.admin,
            }),
        ),
        (
            "notices",
            json!({
                "to": notices.from.as_ref().and(notices.admin.as_ref()),
                "senders": notices.senders,
                "per_hour": notices.per_hour,
                "delay_after_seconds": notices.delay_after.map(|after| after.as_secs()),
            }),
        ),
        (
            "alerts",
            json!({
                "command": alert.command.first(),
                "webhook": alert.webhook.as_ref().map(|address| address.shown()),
            }),
        ),
    ]
}
