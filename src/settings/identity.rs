//! The checks of `[identity]` that concern senders: who mail is sent as.
//!
//! Rule: a policy that cannot be carried out is refused, not weakened in silence. Without an account there
//! is nobody to send as, so clients keep their own addresses. Must not know how a message is edited.

use super::{
    Account,
    document::numbered,
    hostname::is_fully_qualified,
    raw::{Identity as Raw, SENDER},
    report::{Report, set},
    upstream,
    value::{List, Parsed, shown},
};
use crate::{
    message::identity::{FromPolicy, Identity, SenderRule},
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
        report.add_lack(SECTION, "from", what, remedy);
    }
    let send_as = raw.send_as.as_ref().map_or_else(Vec::new, |List(addresses)| addresses.clone());
    if let Some(local) = send_as.iter().find(|address| address.domain().is_none()) {
        let what = format!("{local} has no domain");
        report.add(
            SECTION,
            "send_as",
            what,
            "Write the whole address, such as \"shop@example.org\".",
        );
    }
    if !send_as.is_empty() && from != FromPolicy::AliasList {
        let what = "the addresses are not used unless from is \"alias-list\"";
        report.add_lack(SECTION, "send_as", what, "Add from = \"alias-list\", or remove the line.");
    }
    if send_as.is_empty() && from == FromPolicy::AliasList {
        let remedy = "Name the addresses in send_as, or write from = \"account\".";
        report.add_lack(
            SECTION,
            "from",
            "\"alias-list\" needs a list, and send_as is empty",
            remedy,
        );
    }
    let senders = senders(raw, from, &account(upstream), &send_as, report);
    let (domain, hostname) = (domain(raw, hostname, report), hostname.to_owned());
    Identity { from, send_as, domain, hostname, senders }
}

/// The address of the account, where it is known.
fn account(upstream: &upstream::Checked) -> Option<Address> {
    let username = upstream.login.as_ref().map(|login| login.username.parse::<Address>());
    username.and_then(Result::ok).filter(|address| address.domain().is_some())
}

/// `[[identity.sender]]`.
fn senders(
    raw: &Raw,
    from: FromPolicy,
    account: &Option<Address>,
    send_as: &[Address],
    report: &mut Report<'_>,
) -> Vec<SenderRule> {
    let mut rules: Vec<SenderRule> = Vec::new();
    for (index, section) in raw.sender.0.iter().enumerate() {
        let place = numbered(SENDER, index);
        if from == FromPolicy::Keep {
            let what = "the rule is not used: with from = \"keep\" everybody is sent as himself";
            report.add(&place, "match", what, "Remove the section, or the line from = \"keep\".");
            continue;
        }
        let (Some(Parsed(sender)), Some(Parsed(address))) = (&section.pattern, &section.from)
        else {
            let key = if section.pattern.is_none() { "match" } else { "from" };
            let remedy = "A rule has both: match = \"www-data\" and from = \"shop@example.org\".";
            report.add_lack(&place, key, format!("the rule has no {key}"), remedy);
            continue;
        };
        let is = |known: &Address| known.as_str().eq_ignore_ascii_case(address.as_str());
        // Without an account there is a problem already, and a better one.
        let permitted = account.iter().chain(send_as).find(|known| is(known));
        if permitted.is_none() && account.is_some() {
            let what = format!(
                "{address} is neither the account nor in send_as, so nobody may send as it"
            );
            report.add(&place, "from", what, "Add it to send_as, with from = \"alias-list\".");
        }
        if let Some(earlier) = rules.iter().position(|rule| rule.sender == *sender) {
            let whereabouts = report.whereabouts(&numbered(SENDER, earlier), "match");
            let what = format!("there is a rule for it already, in {whereabouts}");
            report.add(&place, "match", what, "Remove one of the two; the first one counts.");
        }
        rules.push(SenderRule {
            sender: sender.clone(),
            from: permitted.unwrap_or(address).clone(),
        });
    }
    rules
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
        let what = format!("{} is no domain of mail addresses", shown(domain));
        let remedy = "Write a name with a dot, such as \"example.org\", or remove the line for the listener's own.";
        report.add(SECTION, "domain", what, remedy);
    }
    domain.to_owned()
}
