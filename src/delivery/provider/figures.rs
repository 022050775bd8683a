//! A provider's profile: figures, each with where it is known from.

use std::fmt;

/// What is known of a provider.
#[derive(Debug)]
pub(crate) struct Profile {
    /// Its name.
    pub(crate) title: &'static str,
    /// Its server for submission; none where each account or region has its own.
    pub(crate) host: Figure<Option<&'static str>>,
    /// 587 begins in plain text, 465 with TLS.
    pub(crate) port: Figure<u16>,
    /// Whether the user name is an address that mail can be sent as.
    pub(crate) logs_in_as_mailbox: bool,
    /// Whether it knows a host by its address when there is no user name.
    pub(crate) knows_hosts: bool,
    /// Recipients in any 24 hours.
    pub(crate) recipients_per_day: Figure<u32>,
    /// Recipients of one message.
    pub(crate) recipients_per_message: Figure<u32>,
    /// Octets of one message, as they travel.
    pub(crate) message_bytes: Figure<u64>,
    /// Connections at a time.
    pub(crate) connections: Figure<u32>,
    /// Recipients a minute.
    pub(crate) pace_per_minute: Figure<u32>,
}

/// A figure and where it is known from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure<T> {
    /// The default.
    pub(crate) value: T,
    /// Where it is known from.
    pub(crate) evidence: Evidence,
}

/// Where a figure is known from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Evidence {
    /// A page of the provider itself says so.
    Page {
        /// Its address.
        address: &'static str,
        /// The day on which it was read.
        read: &'static str,
    },
    /// No page of the provider was found that says so.
    Unverified,
    /// The provider says nothing, and this is what we think careful.
    Ours,
}

impl fmt::Display for Evidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page { address, read } => write!(formatter, "{address} (read on {read})"),
            Self::Unverified => {
                formatter.write_str("not verified: no page of the provider was found that says so")
            }
            Self::Ours => formatter.write_str("our own choice"),
        }
    }
}

impl<T> Figure<T> {
    pub(super) const fn stated(value: T, address: &'static str, read: &'static str) -> Self {
        Self { value, evidence: Evidence::Page { address, read } }
    }

    pub(super) const fn unverified(value: T) -> Self {
        Self { value, evidence: Evidence::Unverified }
    }

    pub(super) const fn ours(value: T) -> Self {
        Self { value, evidence: Evidence::Ours }
    }
}
