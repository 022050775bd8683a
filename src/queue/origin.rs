//! The origin of a message: who counts as one sender.
//!
//! Rule: what nobody can change at will counts, and what a program says of itself only besides. Must not know what is
//! decided by it.

use std::{fmt, net::IpAddr};

use super::about::{About, Client};
use crate::smtp::address::Address;

/// Client, user and reverse path; an IPv6 client is its network of 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Origin(String);

impl Origin {
    /// The origin of a message of which this is known.
    pub(crate) fn of(about: &About, reverse_path: Option<&Address>) -> Self {
        let client = match about.client {
            Client::At(IpAddr::V6(address)) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                format!("{}/64", std::net::Ipv6Addr::from_bits(network))
            }
            client => client.to_string(),
        };
        let user = about.user.as_deref().unwrap_or_default();
        let path = reverse_path.map(Address::as_str).unwrap_or_default();
        Self(format!("{client} {user} <{path}>"))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
