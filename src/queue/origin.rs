//! The origin of a message: who counts as one sender for fairness, limits and storms.
//!
//! Rule: known from the record alone, so that it is the same after a rebuild of the index. What nobody can change at will
//! counts, and what a program says of itself only besides. Must not know what is decided by it.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

use super::{
    about::{About, Client},
    record::MessageRecord,
};
use crate::smtp::address::Address;

/// Bits of an IPv6 address that are one client: a host has the rest for itself.
const IPV6_BITS: u32 = 64;

/// Client, user and reverse path, for people: `10.0.0.7, user printer, from scan@example.org`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Origin(String);

impl Origin {
    /// The origin of a message of which this is known.
    pub(crate) fn new(about: &About, reverse_path: Option<&Address>) -> Self {
        let client = match whole_client(about.client) {
            Client::At(IpAddr::V6(network)) => format!("{network}/{IPV6_BITS}"),
            client => client.to_string(),
        };
        let user = about.user.as_ref().map(|user| format!(", user {user}")).unwrap_or_default();
        let path = reverse_path.map(|path| path.as_str().to_lowercase()).unwrap_or_default();
        Self(format!("{client}{user}, from <{path}>"))
    }

    /// The origin of a message.
    pub(crate) fn of(record: &MessageRecord) -> Self {
        Self::new(&record.about, record.reverse_path.as_ref())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Of an IPv6 client its network.
fn whole_client(client: Client) -> Client {
    match client {
        Client::At(IpAddr::V6(address)) => {
            let network = Ipv6Addr::from_bits(address.to_bits() >> IPV6_BITS << IPV6_BITS);
            Client::At(network.into())
        }
        client => client,
    }
}

/// An origin as a number, and with it the rule that struck: mail that different rules struck is counted apart. Whether
/// another version of this program finds the same number matters for a day at most.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub(crate) struct OriginKey(pub(crate) u64);

impl OriginKey {
    /// That of a message, without the words: it is asked for at each step of each message.
    pub(crate) fn of(record: &MessageRecord) -> Self {
        let mut hasher = DefaultHasher::new();
        match whole_client(record.about.client) {
            Client::Relay => 0_u8.hash(&mut hasher),
            Client::Local => 1_u8.hash(&mut hasher),
            Client::At(address) => address.hash(&mut hasher),
        }
        record.about.user.hash(&mut hasher);
        let path = record.reverse_path.as_ref().map(Address::as_str).unwrap_or_default();
        path.chars().flat_map(char::to_lowercase).for_each(|one| one.hash(&mut hasher));
        record.rule.hash(&mut hasher);
        Self(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, queue::fixtures::envelope};

    /// The origin, and its number without a rule.
    fn origin(client: &str, user: Option<&str>, path: Option<&str>) -> (Origin, OriginKey) {
        let mut record = MessageRecord::new(&envelope(Timestamp(0)), 1, "");
        record.about.client = Client::At(client.parse().unwrap());
        record.about.user = user.map(str::to_owned);
        record.reverse_path = path.map(|path| path.parse().unwrap());
        (Origin::of(&record), OriginKey::of(&record))
    }

    #[test]
    fn client_user_and_reverse_path_make_an_origin_and_nothing_else_does() {
        let own = origin("10.0.0.7", Some("scan"), Some("a@b.example"));
        assert_eq!(own.0.to_string(), "10.0.0.7, user scan, from <a@b.example>");
        assert_eq!(own, origin("10.0.0.7", Some("scan"), Some("A@B.Example")));
        for other in [
            origin("10.0.0.8", Some("scan"), Some("a@b.example")),
            origin("10.0.0.7", Some("print"), Some("a@b.example")),
            origin("10.0.0.7", None, Some("a@b.example")),
            origin("10.0.0.7", Some("scan"), Some("c@b.example")),
            origin("10.0.0.7", Some("scan"), None),
        ] {
            assert_ne!(own.0, other.0);
            assert_ne!(own.1, other.1);
        }
    }

    #[test]
    fn mail_that_different_rules_struck_is_counted_apart() {
        let mut record = MessageRecord::new(&envelope(Timestamp(0)), 1, "");
        let without = OriginKey::of(&record);
        record.rule = Some("raid".into());
        assert_ne!(OriginKey::of(&record), without);
    }

    #[test]
    fn a_host_with_many_ipv6_addresses_is_one_client() {
        let own = origin("2001:db8:0:1::7", None, None);
        assert_eq!(own, origin("2001:db8:0:1:ffff::8", None, None));
        assert_ne!(own.1, origin("2001:db8:0:2::7", None, None).1);
    }
}
