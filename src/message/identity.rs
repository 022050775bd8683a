//! The identity that mail is sent as: the `[identity]` section, and what it means for an address.
//!
//! Rule: pure; the same answer for the same configuration. An upstream account sends as itself and as the
//! addresses that its owner has verified, whatever a header says. Must not know how a header is edited.

use crate::{
    message::{
        aliases::Routes,
        envelope::{Envelope, Origin},
    },
    smtp::{address::Address, host_name::is_host_name},
};

/// Octets of a client's own name that are shown to a reader.
const HOST_LENGTH_MAX: usize = 100;
/// Domains that mean nothing outside of the network where they are used (RFC 6761, RFC 8375, and habit).
const PRIVATE_DOMAINS: [&str; 7] =
    ["localhost", "localdomain", "local", "lan", "internal", "invalid", "home.arpa"];

/// The `[identity]` section, as far as it concerns senders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What becomes of the From field.
    pub from: FromPolicy,
    /// Addresses that the account may send as besides its own.
    pub send_as: Vec<Address>,
    /// What a name without a domain gets.
    pub domain: String,
    /// This host's own name, for a reader.
    pub hostname: String,
    /// Who is sent as which address; the first that fits counts.
    pub senders: Vec<SenderRule>,
}

/// An address for some of those who may not send as themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderRule {
    /// Whom it is for.
    pub sender: SenderPattern,
    /// The account, or one of `send_as`.
    pub from: Address,
}

/// Which senders a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SenderPattern {
    /// An address, in any case.
    Address(Address),
    /// Every address of a domain.
    Domain(String),
    /// A name of this host, with or without its domain, or the login of who called sendmail.
    Name(String),
}

/// What becomes of the From field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromPolicy {
    /// It is the account.
    Account,
    /// It is the account unless it is one of `send_as`.
    AliasList,
    /// It stays, as long as it is valid.
    Keep,
}

/// Who one attempt sends as.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The configuration.
    pub identity: &'a Identity,
    /// The address of the account that is logged in; `None` when there is none, which leaves nothing but to
    /// keep what clients say.
    pub account: Option<&'a Address>,
    /// Who is local, and whom local names stand for.
    pub recipients: &'a Routes,
    /// Whether the upstream takes a header in UTF-8 (SMTPUTF8).
    pub takes_utf8: bool,
}

impl<'a> Terms<'a> {
    /// Whether a header in UTF-8 may leave as it is: the client has asked for SMTPUTF8, and the upstream knows it.
    #[must_use]
    pub(crate) fn keeps_utf8(&self, envelope: &Envelope) -> bool {
        self.takes_utf8 && envelope.internationalized
    }

    /// The address that stands for everybody who may not send as himself; `None` when all may.
    #[must_use]
    pub(crate) fn stand_in(&self) -> Option<&'a Address> {
        self.account.filter(|_| self.identity.from != FromPolicy::Keep)
    }

    /// The same for one message, whose authors these are: the first rule counts that fits an author, the
    /// envelope's sender or the user of this host whose program it was; else it is the account.
    #[must_use]
    pub(crate) fn stand_in_for(
        &self,
        envelope: &Envelope,
        authors: &[Address],
    ) -> Option<&'a Address> {
        let account = self.stand_in()?;
        let fits = |rule: &&SenderRule| {
            let mut addresses = authors.iter().chain(&envelope.reverse_path);
            let user = envelope.origin.local.as_ref().and_then(|user| user.name.as_deref());
            let is_user = |name: &str| matches!(&rule.sender, SenderPattern::Name(known) if known.eq_ignore_ascii_case(name));
            addresses.any(|address| self.fits(&rule.sender, address)) || user.is_some_and(is_user)
        };
        Some(self.identity.senders.iter().find(fits).map_or(account, |rule| &rule.from))
    }

    fn fits(&self, pattern: &SenderPattern, address: &Address) -> bool {
        match pattern {
            SenderPattern::Address(known) => known.as_str().eq_ignore_ascii_case(address.as_str()),
            SenderPattern::Domain(known) => {
                address.domain().is_some_and(|domain| domain.eq_ignore_ascii_case(known))
            }
            SenderPattern::Name(known) => self
                .recipients
                .local
                .name_of(address)
                .is_some_and(|name| name == known.to_lowercase()),
        }
    }

    /// How to write an address that the account may send as. Gmail takes another spelling of it for a
    /// stranger's, so ours is that of the configuration.
    #[must_use]
    pub(crate) fn permitted(&self, address: &Address) -> Option<&'a Address> {
        let aliases = match self.identity.from {
            FromPolicy::AliasList => self.identity.send_as.as_slice(),
            FromPolicy::Account | FromPolicy::Keep => &[],
        };
        let same = |known: &&Address| known.as_str().eq_ignore_ascii_case(address.as_str());
        self.stand_in().into_iter().chain(aliases).find(same)
    }

    /// The address with a domain.
    #[must_use]
    pub(crate) fn qualified(&self, address: &Address) -> Address {
        let text = format!("{address}@{}", self.identity.domain);
        let unqualified = address.domain().is_none();
        // Only a text that is not a domain could fail here.
        if unqualified { text.parse().unwrap_or_else(|_| address.clone()) } else { address.clone() }
    }

    /// The reverse path for the upstream. Bounces must reach somebody, and Gmail puts the account there
    /// anyway; a client's null reverse path becomes the account too, because whether Gmail takes `<>` from
    /// an account is not known. Our own notices keep it: nobody must hear of their fate.
    #[must_use]
    pub fn reverse_path(&self, envelope: &Envelope) -> Option<Address> {
        if envelope.is_own_notice() {
            return None;
        }
        let own = || envelope.reverse_path.as_ref().map(|address| self.qualified(address));
        self.stand_in().cloned().or_else(own)
    }

    /// The host that a message comes from, for a reader: what the client calls itself, else its address;
    /// this host's own name when it is a program here that says nothing better.
    #[must_use]
    pub fn host(&self, origin: &Origin) -> String {
        let name = origin.helo.trim_end_matches('.');
        let first = name.split('.').next().unwrap_or_default();
        if is_host_name(name) && first != "localhost" && name.len() <= HOST_LENGTH_MAX {
            return name.to_owned();
        }
        let address = origin.address.to_canonical();
        if address.is_loopback() || address.is_unspecified() {
            return self.identity.hostname.clone();
        }
        address.to_string()
    }
}

/// Whether somebody elsewhere could write to this address, as far as its form tells.
#[must_use]
pub(crate) fn is_reachable(address: &Address) -> bool {
    let Some(domain) = address.domain().map(str::to_lowercase) else { return false };
    let private = |name: &&str| domain.strip_suffix(*name).is_some_and(|rest| rest.ends_with('.'));
    domain.contains('.')
        && !domain.starts_with('[')
        && !domain.starts_with("localhost.")
        && !PRIVATE_DOMAINS.iter().any(private)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn identity(from: FromPolicy, name: &str) -> Identity {
        Identity {
            from,
            send_as: Vec::new(),
            domain: name.into(),
            hostname: name.into(),
            senders: Vec::new(),
        }
    }

    fn host(helo: &str, client: &str) -> String {
        let mut identity = identity(FromPolicy::Keep, "relay.example");
        identity.domain = "example.org".into();
        let address: IpAddr = client.parse().unwrap();
        let origin = Origin {
            address,
            helo: helo.into(),
            protocol: String::new(),
            login: None,
            local: None,
        };
        Terms {
            identity: &identity,
            account: None,
            recipients: &Routes::default(),
            takes_utf8: true,
        }
        .host(&origin)
    }

    #[test]
    fn the_host_is_what_a_reader_can_use() {
        assert_eq!(host("web01", "192.0.2.7"), "web01");
        assert_eq!(host("web01.example.org.", "127.0.0.1"), "web01.example.org");
        assert_eq!(host("localhost.localdomain", "127.0.0.1"), "relay.example");
        assert_eq!(host("", "::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(host("[192.0.2.7]", "192.0.2.7"), "192.0.2.7");
        assert_eq!(host("a\" <b>", "2001:db8::1"), "2001:db8::1");
    }

    #[test]
    fn addresses_of_a_private_network_are_not_reachable() {
        for text in [
            "root",
            "root@web01",
            "root@localhost.localdomain",
            "p@printer.local",
            "p@nas.LAN",
            "p@[192.0.2.7]",
        ] {
            assert!(!is_reachable(&address(text)), "{text}");
        }
        for text in ["a@example.org", "a@lan.example.org", "a@mylocal.example"] {
            assert!(is_reachable(&address(text)), "{text}");
        }
    }

    #[test]
    fn an_alias_counts_only_with_its_policy_and_in_any_case() {
        let account = address("me@gmail.com");
        let mut identity = identity(FromPolicy::AliasList, "relay.example");
        identity.send_as = vec![address("Shop@example.org")];
        let recipients = Routes::default();
        let permitted = |identity: &Identity, text: &str| {
            let terms = Terms {
                identity,
                account: Some(&account),
                recipients: &recipients,
                takes_utf8: true,
            };
            terms.permitted(&address(text)).map(ToString::to_string)
        };
        assert_eq!(permitted(&identity, "shop@EXAMPLE.org"), Some("Shop@example.org".into()));
        assert_eq!(permitted(&identity, "Me@gmail.com"), Some("me@gmail.com".into()));
        assert_eq!(permitted(&identity, "me+tag@gmail.com"), None);
        identity.from = FromPolicy::Account;
        assert_eq!(permitted(&identity, "shop@example.org"), None);
    }
}
