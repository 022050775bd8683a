//! The origin of a message and who has been told of it, as the API shows them.
//!
//! Rule: what a client has said of itself is shown and never trusted. Must not know what is stored beside it.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    message::envelope::Envelope,
    queue::{id::QueueId, record::NoticeSent},
};

/// Who handed a message over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The client's network address; `None` for a notice of our own.
    pub address: Option<String>,
    /// What it called itself; empty when it said nothing.
    pub helo: String,
    /// The `with` word of its Received field, such as `ESMTPSA`.
    pub protocol: String,
    /// Who had logged in.
    pub login: Option<String>,
    /// Whose program of this host it was, such as `1000 (alice)`.
    #[serde(default)]
    pub user: Option<String>,
}

impl From<&Envelope> for Origin {
    fn from(envelope: &Envelope) -> Self {
        let origin = &envelope.origin;
        let address =
            (!envelope.is_own_notice()).then(|| origin.address.to_canonical().to_string());
        let (helo, protocol, login) =
            (origin.helo.clone(), origin.protocol.clone(), origin.login.clone());
        let user = origin.local.as_ref().map(|user| match &user.name {
            Some(name) => format!("{} ({name})", user.uid),
            None => user.uid.to_string(),
        });
        Self { address, helo, protocol, login, user }
    }
}

/// A notice about a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// When it was queued.
    pub at: Timestamp,
    /// `failed`, `delayed` or `relayed`.
    pub kind: String,
    /// Who gets it.
    pub to: String,
    /// Its own id.
    pub id: QueueId,
}

impl From<NoticeSent> for Notice {
    fn from(sent: NoticeSent) -> Self {
        Self { at: sent.at, kind: sent.kind.name().to_owned(), to: sent.to.into(), id: sent.id }
    }
}
