//! The beginning of a message's subject, and who handed it over: what lists and searches know besides the envelope.
//!
//! Rule: it lies in the record, so that nobody opens a hundred thousand files to print a list. Must not know lists.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    message::envelope::{Envelope, LocalUser, Origin},
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
    /// The number of the user of this host who handed it over, where the kernel has vouched for it.
    pub(crate) owner: Option<u32>,
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
            owner: envelope.origin.local.as_ref().and_then(LocalUser::vouched),
        }
    }

    /// Whether this user has handed it over, by the kernel's word then and now. A number that another person has got since
    /// does not do: the name must be the same, where there is one.
    pub(crate) fn is_of(&self, user: &LocalUser) -> bool {
        user.vouched().is_some_and(|uid| self.owner == Some(uid))
            && self.user.as_ref() == Some(&user.shown())
    }
}

/// The name of a login or of a local user; his number when he has none.
fn user(origin: &Origin) -> Option<String> {
    let of_host = origin.local.as_ref().map(LocalUser::shown);
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

    /// The one that is shown so; `None` when none is.
    pub(crate) fn shown_as(text: &str) -> Option<Self> {
        match text {
            "relay" => Some(Self::Relay),
            "local" => Some(Self::Local),
            address => address.parse().ok().map(Self::At),
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
        Self { subject: String::new(), client: Client::Local, user: None, owner: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, message::envelope::OVERFLOW_UID, queue::fixtures::envelope};

    fn user(uid: u32, name: Option<&str>, claimed: bool) -> LocalUser {
        LocalUser { uid, name: name.map(str::to_owned), claimed }
    }

    /// Of a message that this user has handed over.
    fn about(user: LocalUser) -> About {
        let mut envelope = envelope(Timestamp(1_800_000_000_000));
        envelope.origin.local = Some(user);
        About::new(&envelope, "")
    }

    #[test]
    fn a_message_is_of_the_user_for_whom_the_kernel_vouches_and_of_nobody_else() {
        let alice = user(1_000, Some("alice"), false);
        assert!(about(alice.clone()).is_of(&alice));
        assert!(about(user(1_000, None, false)).is_of(&user(1_000, None, false)));
        for other in [
            user(1_001, Some("bob"), false),
            user(1_001, Some("alice"), false),
            user(0, Some("root"), false),
            // Her number was given to him.
            user(1_000, Some("bob"), false),
            user(1_000, None, false),
            user(1_000, Some("alice"), true),
        ] {
            assert!(!about(alice.clone()).is_of(&other), "{other:?}");
        }
    }

    #[test]
    fn what_the_kernel_did_not_vouch_for_is_nobodys() {
        let alice = user(1_000, Some("alice"), false);
        assert!(!about(user(1_000, Some("alice"), true)).is_of(&alice), "a claim");
        let nobody = user(OVERFLOW_UID, None, false);
        assert!(!about(nobody.clone()).is_of(&nobody), "everybody else has the number");
        assert!(!About::unknown().is_of(&alice), "of the network");
    }
}
