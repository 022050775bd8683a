//! The beginning of a message's subject, and who handed it over: what lists and searches know besides the envelope.
//!
//! Rule: it lies in the record, so that nobody opens a hundred thousand files to print a list. Must not know lists.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    message::envelope::{Envelope, Origin},
    text,
};

/// Octets of a user's name that are kept.
const USER_LENGTH_MAX: usize = 120;

/// Subject, client and user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// The beginning of the subject, decoded and printable; empty without one.
    pub(crate) subject: String,
    /// Who handed it over.
    pub(crate) client: Client,
    /// Who had logged in, or whose program of this host it was.
    pub(crate) user: Option<String>,
}

/// Who hands mail over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Client {
    /// This relay itself: a notice.
    Relay,
    /// A program of this host, through the local socket or the drop directory.
    Local,
    /// A client of the network.
    At(IpAddr),
}

impl About {
    pub(super) fn new(envelope: &Envelope, subject: &str) -> Self {
        let user = user(&envelope.origin);
        Self {
            subject: subject.to_owned(),
            client: Client::of(envelope),
            user: user.map(|user| text::printable_within(&user, USER_LENGTH_MAX)),
        }
    }
}

/// The name of a login or of a local user; his number when he has none.
fn user(origin: &Origin) -> Option<String> {
    let of_host =
        origin.local.as_ref().map(|user| user.name.clone().unwrap_or_else(|| user.uid.to_string()));
    origin.login.clone().or(of_host)
}

impl Client {
    fn of(envelope: &Envelope) -> Self {
        match &envelope.origin {
            _ if envelope.is_own_notice() => Self::Relay,
            origin if origin.local.is_some() => Self::Local,
            origin => Self::At(origin.address.to_canonical()),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay => formatter.write_str("relay"),
            Self::Local => formatter.write_str("local"),
            Self::At(address) => write!(formatter, "{address}"),
        }
    }
}

#[cfg(test)]
impl About {
    /// Of a message that nothing is known of.
    pub(crate) fn unknown() -> Self {
        Self { subject: String::new(), client: Client::Local, user: None }
    }
}
