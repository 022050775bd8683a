//! What a client asks of delivery status notifications (RFC 3461): RET and ENVID of MAIL, NOTIFY and ORCPT
//! of RCPT.
//!
//! Rule: kept with the envelope and honoured by our own notices, never passed to the upstream: Gmail does
//! not offer DSN and refuses the parameters. Must not know how a notice is built.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the mail transaction asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dsn {
    /// RET: how much of the message a notice carries; `None` leaves it to us.
    pub content: Option<Content>,
    /// ENVID, decoded, at most 100 characters.
    pub envelope_id: Option<String>,
    /// What was asked for single recipients, by their position among the forward paths. Who is not here
    /// gets the default of RFC 3461 section 4.1: a notice of failure.
    pub recipients: BTreeMap<usize, RecipientDsn>,
}

/// RET (RFC 3461 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The whole message.
    Full,
    /// Its header section.
    Headers,
}

/// The parameters of one RCPT.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientDsn {
    /// NOTIFY.
    pub notify: Option<Notify>,
    /// ORCPT with its address type, decoded, such as `rfc822;joe@example.org`.
    pub original_recipient: Option<String>,
}

/// NOTIFY (RFC 3461 section 4.1); all false is NEVER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// SUCCESS.
    pub success: bool,
    /// FAILURE.
    pub failure: bool,
    /// DELAY.
    pub delay: bool,
}
