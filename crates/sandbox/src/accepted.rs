//! A message that was accepted, with how it came.

use std::net::IpAddr;

use crate::clock::Timestamp;

/// One stored message.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The reverse path, without angle brackets.
    pub mail_from: String,
    /// The forward paths that were accepted.
    pub rcpt_to: Vec<String>,
    /// The parameters of MAIL, such as `BODY=8BITMIME`.
    pub parameters: Vec<String>,
    /// The octets after unstuffing, otherwise verbatim. Only the beginning without `keep_bodies`.
    pub body: Vec<u8>,
    /// Octets of the whole message.
    pub size: u64,
    /// CRC-32 of the whole message.
    pub crc32: u32,
    /// The Message-ID with its angle brackets.
    pub message_id: Option<String>,
    /// How it was encrypted, if it was.
    pub tls: Option<TlsSession>,
    /// Who had logged in.
    pub username: Option<String>,
    /// The name given in EHLO.
    pub ehlo: String,
    /// The address it came from.
    pub peer: IpAddr,
    /// The session id in the replies.
    pub session_id: String,
    /// Which connection, counted from 1.
    pub connection_number: u64,
    /// When the final dot arrived.
    pub at: Timestamp,
    /// Whether 250 was sent; `false` when the connection was dropped instead.
    pub answered: bool,
    /// Whether it was beyond the daily limit and came back to the account's own inbox.
    pub bounced: bool,
    /// How many messages with this Message-ID were there before.
    pub copies_before: usize,
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSession {
    /// Such as `TLS1_3`.
    pub version: String,
    /// Such as `TLS_AES_256_GCM_SHA384`.
    pub cipher_suite: String,
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
}
