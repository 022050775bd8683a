//! The checks of `[identity]` that concern recipients: which names are this host's, and who reads their mail.
//!
//! Rule: a domain where the administrator has a mailbox is not this host, whatever the host is called: its
//! people must not lose their mail to an alias. Must not know what an aliases file looks like.

use std::sync::Arc;

use super::{
    hostname::Host,
    raw::Identity as Raw,
    report::{Report, set},
    value::{List, Parsed, Text, shown},
};
use crate::{
    aliases_file::{AliasesFile, Choice, DEFAULT_FILE},
    message::aliases::LocalNames,
    smtp::address::Address,
};

const SECTION: &str = "identity";

/// The administrator's address, where it is written: one that can be written to from elsewhere.
pub(super) fn admin(raw: &Raw, report: &mut Report<'_>) -> Option<Address> {
    let Parsed(admin) = raw.admin.as_ref()?;
    if let Some(local) = admin.as_ref().filter(|address| address.domain().is_none()) {
        let what = format!("{local} has no domain, so the upstream would be asked to find it");
        let remedy = "Write the whole address of a mailbox elsewhere, such as \"you@example.org\".";
        report.add(SECTION, "admin", what, remedy);
    }
    admin.clone()
}

/// `admin` is the administrator's address or, without one, the account's.
pub(super) fn check(
    raw: &Raw,
    hostname: &str,
    host: &Host,
    admin: Option<&Address>,
    report: &mut Report<'_>,
) -> Arc<AliasesFile> {
    let redirect_all = raw.redirect_all.as_ref().and_then(|Parsed(address)| address.clone());
    if let Some(local) = redirect_all.as_ref().filter(|address| address.domain().is_none()) {
        let what = format!("{local} has no domain");
        report.add(
            SECTION,
            "redirect_all",
            what,
            "Write the whole address, such as \"test@example.org\".",
        );
    }
    let choice = match set(raw.aliases_file.as_ref()) {
        None => Choice::Usual,
        // As in the annotated sample: whoever removes the mark in front has not asked for more.
        Some(DEFAULT_FILE) => Choice::Usual,
        Some("off") => Choice::Off,
        Some(path) => Choice::Named(report.path(SECTION, "aliases_file", path)),
    };
    let elsewhere =
        raw.send_as.iter().flat_map(|List(list)| list).chain(admin).chain(&redirect_all);
    let mut elsewhere: Vec<&str> = elsewhere.filter_map(Address::domain).collect();
    elsewhere.extend(set(raw.domain.as_ref()));
    let mut domains: Vec<String> = Vec::new();
    let is_elsewhere = |name: &str| {
        elsewhere.iter().any(|domain| domain.trim_end_matches('.').eq_ignore_ascii_case(name))
    };
    let found = [hostname.to_lowercase()].into_iter().chain(host.mail_names());
    for name in found.filter(|name| !is_elsewhere(name)) {
        if !name.is_empty() && !domains.contains(&name) {
            domains.push(name);
        }
    }
    for HostName(name) in raw.local_domains.iter().flat_map(|List(list)| list) {
        if is_elsewhere(name) {
            let what = format!(
                "{name} is where the administrator, the account or an address in send_as has a mailbox"
            );
            let remedy = "Leave it out: a name of this host stands for nobody's mailbox elsewhere.";
            report.add(SECTION, "local_domains", what, remedy);
        } else if !domains.contains(name) {
            domains.push(name.clone());
        }
    }
    Arc::new(AliasesFile::new(choice, LocalNames { admin: admin.cloned(), domains, redirect_all }))
}

/// A name that stands behind the `@`, in lower case and without a final dot.
#[derive(Clone, Debug)]
pub(super) struct HostName(String);

impl Text for HostName {
    const EXPECTED: &'static str = "a name in quotes such as \"nas.example.org\"";

    fn read(text: &str) -> Result<Self, String> {
        let name = text.trim().trim_end_matches('.').to_lowercase();
        // Whatever may stand behind an @.
        let address: Result<Address, _> = format!("a@{name}").parse();
        match address {
            Ok(_) if !name.contains('[') => Ok(Self(name)),
            _ => Err(format!(
                "{} is not a name of a host; write for example \"nas.example.org\"",
                shown(text)
            )),
        }
    }
}

/// Whether somebody reads mail for a name of this host. Without an administrator only a file that was named
/// counts: a host whose usual file knows nobody would take mail that it refuses a moment later.
pub(super) fn are_read(recipients: &AliasesFile) -> bool {
    let local = recipients.local();
    let named = matches!(recipients.choice(), Choice::Named(_));
    local.admin.is_some() || local.redirect_all.is_some() || named
}
