//! The envelope: who sends, who receives, and how the message came to us (RFC 5321 section 2.3.1).
//!
//! Rule: fixed when DATA begins and never changed afterwards; the spool file carries it.
//! Must not know what becomes of a recipient: that is the queue's record.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    smtp::{address::Address, dsn::Dsn},
};

/// Everything that a mail transaction said before DATA, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The address of MAIL FROM; `None` is the null reverse path `<>`.
    pub reverse_path: Option<Address>,
    /// The addresses of RCPT TO, in order; at least one, at most `listener.max_recipients`.
    pub forward_paths: Vec<Address>,
    /// What BODY= declared (RFC 6152).
    pub body: BodyKind,
    /// Whether SMTPUTF8 was asked for (RFC 6531).
    pub internationalized: bool,
    /// What was asked of delivery status notifications (RFC 3461).
    pub dsn: Dsn,
    /// How urgent the message is.
    pub lane: Lane,
    /// Who handed the message over.
    pub origin: Origin,
    /// When DATA began.
    pub accepted_at: Timestamp,
}

impl Envelope {
    /// Whether it is a notice that we wrote ourselves: nobody handed it over, and nobody is to be told
    /// about its fate.
    #[must_use]
    pub(crate) fn is_own_notice(&self) -> bool {
        self.reverse_path.is_none() && self.origin.address.is_unspecified()
    }
}

/// What the client declared about the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyKind {
    /// Nothing declared, or BODY=7BIT. The body may hold 8-bit bytes all the same.
    #[default]
    SevenBit,
    /// BODY=8BITMIME.
    EightBitMime,
}

/// How urgent a message is: our own notices go first, then urgent mail, bulk mail last. Records hold the number of
/// the variant, so a new one goes to the end.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Lane {
    /// An alarm: before all others.
    Urgent,
    /// Everything that nothing is known of.
    #[default]
    Normal,
    /// What may wait for everything else.
    Bulk,
    /// A notice of our own; no client's mail is in this lane.
    Notice,
}

impl Lane {
    /// Every lane, in the order of departure.
    pub(crate) const ALL: [Self; 4] = [Self::Notice, Self::Urgent, Self::Normal, Self::Bulk];

    /// The name, as in relay.toml, logs and on screens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
            Self::Notice => "notice",
        }
    }

    /// The lane of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.name() == name)
    }
}

/// The client, for the Received field and the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its network address; the unspecified one when the message is our own, 127.0.0.1 when a program of
    /// this host handed it over.
    pub address: IpAddr,
    /// What it said in HELO or EHLO; empty when it said nothing. Never used for trust.
    pub helo: String,
    /// The `with` word of RFC 3848: SMTP, ESMTP, UTF8SMTP ...; `local` for a program of this host.
    pub protocol: String,
    /// Who had logged in, if somebody had.
    pub login: Option<String>,
    /// Whose program it was, when it came through the local socket or the drop directory.
    pub local: Option<LocalUser>,
}

/// A user of this host, as the kernel names the owner of a process or of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalUser {
    /// The number.
    pub uid: u32,
    /// The login name, when /etc/passwd has one for the number.
    pub name: Option<String>,
    /// The program has said so of itself: in the daemon's user namespace the kernel has one number for all users,
    /// so nobody can vouch for it.
    pub claimed: bool,
}

/// The number that the kernel gives for everybody who has none in this process's user namespace (user_namespaces(7)).
pub(crate) const OVERFLOW_UID: u32 = 65_534;

impl LocalUser {
    /// The number, where the kernel vouches that it is this user's and nobody else's. The one for everybody never is,
    /// also where somebody has it: a message may have come while the kernel had no other.
    #[must_use]
    pub(crate) fn vouched(&self) -> Option<u32> {
        (!self.claimed && self.uid != OVERFLOW_UID).then_some(self.uid)
    }

    /// The login name; the number where there is none.
    #[must_use]
    pub(crate) fn shown(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }
}
