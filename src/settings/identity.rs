//! `[identity]`: who mail is sent as, which names are this host's, and who reads their mail.
//!
//! Rule: a policy that cannot be carried out is refused, not weakened in silence. Without an account there
//! is nobody to send as, so clients keep their own addresses. A domain where the administrator has a mailbox
//! is not this host, whatever the host is called: its people must not lose their mail to an alias. Must not
//! know how a message is edited, nor what an aliases file looks like.

use std::{path::Path, sync::Arc};

use super::{
    document::{SENDER, numbered},
    host::{Host, is_fully_qualified},
    report::Report,
    upstream::Account,
    value::{HostName, list, section, shown, tables, text, text_if_any, word},
};
use crate::{
    aliases_file::{AliasesFile, Choice, DEFAULT_FILE},
    message::{
        aliases::LocalNames,
        identity::{self, FromPolicy, SenderPattern, SenderRule},
    },
    smtp::address::Address,
};

const SECTION: &str = "identity";

section! {
    /// `[identity]`: who is who.
    pub(super) struct Identity {
        /// "account" where the account has an address, else "keep".
        from: Option<FromPolicy> = None, "text_if_any";
        pub(super) send_as: Vec<Address> = Vec::new(), "list";
        /// The listener's name.
        domain: Option<String> = None, "word";
        /// The account.
        admin: Option<Address> = None, "text";
        aliases_file: Option<String> = None, "word";
        local_domains: Vec<HostName> = Vec::new(), "list";
        redirect_all: Option<Address> = None, "text";
        /// Sections of their own, which are not counted among the keys.
        sender: Vec<Sender> = Vec::new(), "tables";
    }
}

section! {
    /// `[[identity.sender]]`: who is sent as which of the account's addresses.
    pub(super) struct Sender {
        #[serde(rename = "match")]
        pattern: Option<SenderPattern> = None, "text_if_any";
        from: Option<Address> = None, "text_if_any";
    }
}

/// What mail can be sent as.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mailbox<'a> {
    /// The account is still to be named.
    Unknown,
    /// Nobody logs in, or with a name that is not an address.
    None,
    /// The account's address.
    Known(&'a Address),
}

impl<'a> Mailbox<'a> {
    /// From the account's address and whether there is an account.
    pub(super) fn of(address: Option<&'a Address>, account: Account) -> Self {
        match (address.filter(|address| address.domain().is_some()), account) {
            (Some(address), _) => Self::Known(address),
            (None, Account::Missing) => Self::Unknown,
            (None, Account::Complete) => Self::None,
        }
    }
}

impl Identity {
    /// The administrator's address, where it is written: one that can be written to from elsewhere.
    pub(super) fn admin(&self, report: &mut Report<'_>) -> Option<Address> {
        if let Some(local) = self.admin.as_ref().filter(|address| address.domain().is_none()) {
            let what = format!("{local} has no domain, so the upstream would be asked to find it");
            let remedy =
                "Write the whole address of a mailbox elsewhere, such as \"you@example.org\".";
            report.add(SECTION, "admin", what, remedy);
        }
        self.admin.clone()
    }

    /// Who is meant by a recipient on this host. `admin` is the administrator's address or, without one, the account's; the
    /// `mailboxes` elsewhere are those of the accounts.
    pub(super) fn recipients(
        &self,
        (hostname, host): (&str, &Host),
        admin: Option<&Address>,
        mailboxes: &[Address],
        report: &mut Report<'_>,
    ) -> Arc<AliasesFile> {
        let redirect_all = self.redirect_all.clone();
        if let Some(local) = redirect_all.as_ref().filter(|address| address.domain().is_none()) {
            let what = format!("{local} has no domain");
            let remedy = "Write the whole address, such as \"test@example.org\".";
            report.add(SECTION, "redirect_all", what, remedy);
        }
        let choice = match self.aliases_file.as_deref() {
            None => Choice::Usual,
            // As in the annotated sample: whoever removes the mark in front has not asked for more.
            Some(DEFAULT_FILE) => Choice::Usual,
            Some("off") => Choice::Off,
            Some(path) => Choice::Named(report.path(SECTION, "aliases_file", Path::new(path))),
        };
        let domains = self.local_domains((hostname, host), admin, mailboxes, report);
        let names = LocalNames { admin: admin.cloned(), domains, redirect_all };
        Arc::new(AliasesFile::new(choice, names))
    }

    /// The names of this host behind an `@`.
    fn local_domains(
        &self,
        (hostname, host): (&str, &Host),
        admin: Option<&Address>,
        mailboxes: &[Address],
        report: &mut Report<'_>,
    ) -> Vec<String> {
        let elsewhere = self.send_as.iter().chain(admin).chain(&self.redirect_all).chain(mailboxes);
        let mut elsewhere: Vec<&str> = elsewhere.filter_map(Address::domain).collect();
        elsewhere.extend(self.domain.as_deref());
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
        for HostName(name) in &self.local_domains {
            if is_elsewhere(name) {
                let what = format!(
                    "{name} is where the administrator, an account or an address in send_as has a mailbox"
                );
                let remedy =
                    "Leave it out: a name of this host stands for nobody's mailbox elsewhere.";
                report.add(SECTION, "local_domains", what, remedy);
            } else if !domains.contains(name) {
                domains.push(name.clone());
            }
        }
        domains
    }

    /// Who mail is sent as.
    pub(super) fn check(
        &self,
        account: Mailbox<'_>,
        hostname: &str,
        report: &mut Report<'_>,
    ) -> identity::Identity {
        let nameless = matches!(account, Mailbox::None);
        let usual = if nameless { FromPolicy::Keep } else { FromPolicy::Account };
        let from = self.from.unwrap_or(usual);
        if nameless && from != FromPolicy::Keep {
            let what = "there is no account whose address could be put into From";
            let remedy = "Write from = \"keep\", or give [upstream] a username that is an address.";
            report.add_lack(SECTION, "from", what, remedy);
        }
        self.check_send_as(from, report);
        let senders = self.senders(from, account, report);
        identity::Identity {
            from,
            send_as: self.send_as.clone(),
            domain: self.domain(hostname, report),
            hostname: hostname.to_owned(),
            senders,
        }
    }

    fn check_send_as(&self, from: FromPolicy, report: &mut Report<'_>) {
        if let Some(local) = self.send_as.iter().find(|address| address.domain().is_none()) {
            let what = format!("{local} has no domain");
            let remedy = "Write the whole address, such as \"shop@example.org\".";
            report.add(SECTION, "send_as", what, remedy);
        }
        match (self.send_as.is_empty(), from == FromPolicy::AliasList) {
            (false, false) => {
                let what = "the addresses are not used unless from is \"alias-list\"";
                let remedy = "Add from = \"alias-list\", or remove the line.";
                report.add_lack(SECTION, "send_as", what, remedy);
            }
            (true, true) => {
                let what = "\"alias-list\" needs a list, and send_as is empty";
                let remedy = "Name the addresses in send_as, or write from = \"account\".";
                report.add_lack(SECTION, "from", what, remedy);
            }
            (false, true) | (true, false) => {}
        }
    }

    /// `[[identity.sender]]`.
    fn senders(
        &self,
        from: FromPolicy,
        account: Mailbox<'_>,
        report: &mut Report<'_>,
    ) -> Vec<SenderRule> {
        let account = match account {
            Mailbox::Known(address) => Some(address),
            Mailbox::Unknown | Mailbox::None => None,
        };
        let mut rules: Vec<SenderRule> = Vec::new();
        for (index, section) in self.sender.iter().enumerate() {
            let place = numbered(SENDER, index);
            if from == FromPolicy::Keep {
                let what =
                    "the rule is not used: with from = \"keep\" everybody is sent as himself";
                let remedy = "Remove the section, or the line from = \"keep\".";
                report.add(&place, "match", what, remedy);
                continue;
            }
            let (Some(sender), Some(address)) = (&section.pattern, &section.from) else {
                let key = if section.pattern.is_none() { "match" } else { "from" };
                let remedy =
                    "A rule has both: match = \"www-data\" and from = \"shop@example.org\".";
                report.add_lack(&place, key, format!("the rule has no {key}"), remedy);
                continue;
            };
            let is = |known: &&Address| known.as_str().eq_ignore_ascii_case(address.as_str());
            // Without an account there is a problem already, and a better one.
            let permitted = account.into_iter().chain(&self.send_as).find(is);
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
            let from = permitted.unwrap_or(address).clone();
            rules.push(SenderRule { sender: sender.clone(), from });
        }
        rules
    }

    fn domain(&self, hostname: &str, report: &mut Report<'_>) -> String {
        let Some(domain) = &self.domain else { return hostname.to_owned() };
        if !is_fully_qualified(domain) {
            let what = format!("{} is not a domain of mail addresses", shown(domain));
            let remedy = "Write a name with a dot, such as \"example.org\", or remove the line for the listener's own.";
            report.add(SECTION, "domain", what, remedy);
        }
        domain.clone()
    }
}

/// Whether somebody reads mail for a name of this host. Without an administrator only a file that was named
/// counts: a host whose usual file knows nobody would take mail that it refuses a moment later.
pub(super) fn are_read(recipients: &AliasesFile) -> bool {
    let local = recipients.local();
    let named = matches!(recipients.choice(), Choice::Named(_));
    local.admin.is_some() || local.redirect_all.is_some() || named
}
