//! The checks of `[identity]` that concern senders: who mail is sent as.
//!
//! Rule: a policy that cannot be carried out is refused, not weakened in silence. Without an account there
//! is nobody to send as, so clients keep their own addresses. Must not know how a message is edited.

use super::{
    Account,
    hostname::is_fully_qualified,
    raw::Identity as Raw,
    report::{Report, set},
    upstream,
    value::{List, Parsed},
};
use crate::{
    message::identity::{FromPolicy, Identity},
    smtp::address::Address,
};

const SECTION: &str = "identity";

pub(super) fn check(
    raw: &Raw,
    upstream: &upstream::Checked,
    hostname: &str,
    report: &mut Report<'_>,
) -> Identity {
    let written = raw.from.as_ref().map(|Parsed(policy)| *policy);
    let usual = if has_address(upstream) { FromPolicy::Account } else { FromPolicy::Keep };
    let from = written.unwrap_or(usual);
    if written.is_some_and(|policy| policy != FromPolicy::Keep) && !has_address(upstream) {
        let what = "there is no account whose address could be put into From";
        let remedy = "Write from = \"keep\", or give [upstream] a username that is an address.";
        report.add(SECTION, "from", what, remedy);
    }
    let send_as = raw.send_as.as_ref().map_or_else(Vec::new, |List(addresses)| addresses.clone());
    if let Some(local) = send_as.iter().find(|address| address.domain().is_none()) {
        let what = format!("{local} has no domain");
        report.add(SECTION, "send_as", what, "Write the whole address, such as \"shop@example.org\".");
    }
    if !send_as.is_empty() && from != FromPolicy::AliasList {
        let what = "the addresses are not used unless from is \"alias-list\"";
        report.add(SECTION, "send_as", what, "Add from = \"alias-list\", or remove the line.");
    }
    if send_as.is_empty() && from == FromPolicy::AliasList {
        let remedy = "Name the addresses in send_as, or write from = \"account\".";
        report.add(SECTION, "from", "\"alias-list\" needs a list, and send_as is empty", remedy);
    }
    Identity { from, send_as, domain: domain(raw, hostname, report) }
}

/// Whether From can be the account: its name is an address, or it is still to be named.
fn has_address(upstream: &upstream::Checked) -> bool {
    match &upstream.login {
        Some(login) => login.username.parse::<Address>().is_ok_and(|name| name.domain().is_some()),
        None => upstream.account == Account::Missing,
    }
}

fn domain(raw: &Raw, hostname: &str, report: &mut Report<'_>) -> String {
    let Some(domain) = set(raw.domain.as_ref()) else { return hostname.to_owned() };
    if !is_fully_qualified(domain) {
        let what = format!("{domain:?} is no domain of mail addresses");
        let remedy =
            "Write a name with a dot, such as \"example.org\", or remove the line for the listener's own.";
        report.add(SECTION, "domain", what, remedy);
    }
    domain.to_owned()
}
