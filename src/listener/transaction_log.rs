//! The listener's log lines about a message.
//!
//! Rule: one "accepted" for each message, after it is on disk; addresses and sizes, never a line of the message. Must not know how the log is printed.

use std::{fmt, net::IpAddr};

use tracing::Level;

use super::{client_stats::Kind, tls::Failure};
use crate::{
    message::envelope::LocalUser,
    queue::id::QueueId,
    smtp::{
        address::Address,
        quirk::Quirk,
        server::{Client, Transaction},
    },
};

/// Recipients that are named; of the others the number is enough.
const RECIPIENTS_SHOWN_MAX: usize = 3;
/// Characters of a login that are logged.
const LOGIN_SHOWN_MAX: usize = 64;

/// Who writes to whom, kept until the message is accepted.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    reverse_path: Option<Address>,
    first_forward_paths: Vec<Address>,
    recipients: usize,
    login: Option<String>,
    protocol: &'static str,
}

impl Offer {
    /// What the log will want to know; `None` when it wants to know nothing.
    pub(super) fn of(transaction: &Transaction) -> Option<Self> {
        tracing::enabled!(Level::INFO).then(|| Self {
            reverse_path: transaction.reverse_path.clone(),
            first_forward_paths: transaction
                .forward_paths
                .iter()
                .take(RECIPIENTS_SHOWN_MAX)
                .cloned()
                .collect(),
            recipients: transaction.forward_paths.len(),
            login: transaction.login.as_deref().map(login),
            protocol: transaction.protocol,
        })
    }
}

/// A sender that is not an address is kept beside what stands in its place.
pub(super) fn unusable_sender(client: IpAddr, unusable: &str) {
    let sender = unusable.chars().take(LOGIN_SHOWN_MAX).collect::<String>();
    let sender = sender.escape_default().to_string();
    tracing::info!(%client, sender, "the sender is not an address");
}

/// A login as the log shows it: a client chose it, so nothing in it may look like the log's own.
pub(super) fn login(login: &str) -> String {
    login.chars().take(LOGIN_SHOWN_MAX).collect::<String>().escape_debug().to_string()
}

/// The number of events that a line stands for, where it stands for more than its own.
pub(super) fn several(count: u64) -> Option<u64> {
    (count > 1).then_some(count)
}

/// Recipients were replaced by those whom they stand for.
pub(super) fn expanded(client: IpAddr, asked: &[Address], recipients: usize) {
    let to =
        Recipients { first: &asked[..asked.len().min(RECIPIENTS_SHOWN_MAX)], all: asked.len() };
    tracing::info!(%client, %to, recipients, "aliases applied");
}

/// A message is on disk.
pub(super) fn accepted(
    id: QueueId,
    client: Client,
    user: Option<&LocalUser>,
    offer: Option<&Offer>,
    size_bytes: u64,
    rule: Option<&str>,
) {
    let Some(offer) = offer else { return };
    tracing::info!(
        %id,
        client = %client.address,
        uid = user.map(|user| user.uid),
        user = user.and_then(|user| user.name.as_deref()),
        claimed = user.filter(|user| user.claimed).map(|_| true),
        from = %Sender(offer),
        to = %Recipients { first: &offer.first_forward_paths, all: offer.recipients },
        recipients = offer.recipients,
        size = size_bytes,
        login = offer.login,
        protocol = offer.protocol,
        rule,
        "accepted"
    );
}

/// A rule does not want a message of this sender and size; the reply has its text.
pub(super) fn unwanted(
    client: Client,
    uid: Option<u32>,
    rule: &str,
    (sender, size): (Option<&Address>, u64),
    count: u64,
) {
    let from = sender.map_or("<>", Address::as_str);
    tracing::info!(client = %client.address, uid, rule, from, size, count = several(count), "refused by a rule");
}

/// Replies on their way to a client: what an administrator should know of them, a few times a minute.
/// Refusals by the store have been told with their reason; syntax errors are the client's own noise.
/// Returns how many refuse a mail transaction, a message or a login.
pub(super) fn replies(
    client: Client,
    uid: Option<u32>,
    bytes: &[u8],
    tell: impl Fn(Kind) -> Option<u64>,
) -> u64 {
    let address = client.address;
    let mut refusals = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        let [first @ (b'4' | b'5'), second, third, b' ', ..] = line else { continue };
        let code = [*first, *second, *third];
        refusals += u64::from(matches!(code, [_, b'5', _] | [b'5', b'3', _]));
        let reply = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        // 421 ends the session; 530 and 538 ask for what the client does not do.
        let told = matches!(&code, [b'5', b'5', _] | b"530" | b"538" | b"421")
            .then(|| tell(Kind::Reply(code)));
        match told.flatten() {
            Some(count) => {
                tracing::info!(client = %address, uid, %reply, count = several(count), "refused")
            }
            None => tracing::debug!(client = %address, uid, %reply, "replied"),
        }
    }
    refusals
}

/// Something odd about the client's way of speaking. It was put right, but for a lone dot: that may be
/// an attempt to smuggle a second message past a careless server.
pub(super) fn quirk(client: Client, quirk: Quirk, is_news: bool) {
    let (client, trusted, name) = (client.address, client.policy.trusted, quirk.name());
    if !is_news {
        tracing::debug!(%client, quirk = name, "put right");
    } else if quirk == Quirk::LoneDot {
        let action = if trusted { "kept, connection closed" } else { "refused" };
        tracing::warn!(%client, quirk = name, action, "unusual client");
    } else {
        // The first thing that a newcomer sees of a first mail: it says that nothing is wrong with it.
        let what = quirk.meaning();
        tracing::info!(%client, quirk = name, what, "put right");
    }
}

/// A TLS handshake came to nothing; `told` is the number of failures to be told.
pub(super) fn handshake_failed(client: IpAddr, failure: &Failure, told: Option<u64>) {
    let reason = &failure.reason;
    let remedy = Some(failure.remedy).filter(|remedy| !remedy.is_empty());
    match told {
        Some(count) => {
            tracing::info!(%client, reason, remedy, count = several(count), "TLS handshake failed");
        }
        None => tracing::debug!(%client, reason, remedy, "TLS handshake failed"),
    }
}

struct Sender<'a>(&'a Offer);

impl fmt::Display for Sender<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.reverse_path {
            Some(address) => address.fmt(formatter),
            None => formatter.write_str("<>"),
        }
    }
}

struct Recipients<'a> {
    first: &'a [Address],
    all: usize,
}

impl fmt::Display for Recipients<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.first.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(formatter, "{separator}{address}")?;
        }
        match self.all - self.first.len() {
            0 => Ok(()),
            more => write!(formatter, ",+{more}"),
        }
    }
}
