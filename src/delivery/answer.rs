//! An answer of the upstream: a reply, or a fault where a reply should have been.
//!
//! Rule: it is kept as it was said, with the stage at which it was said, because the same code means
//! different things at different stages (docs/gmail.md section 3). Must not know what is done about it.

use std::{
    borrow::Cow,
    fmt,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::oauth::TokenError;
use crate::{smtp::client, text};

/// Octets of a reply's text that are kept.
pub(super) const REPLY_TEXT_LENGTH_MAX: usize = 1_000;

/// Octets of an API's reason that are kept.
const REASON_LENGTH_MAX: usize = 60;

/// How far a connection or a mail transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// DNS, TCP and, for implicit TLS, the handshake.
    Connect,
    /// The 220 of the server.
    Greeting,
    /// EHLO.
    #[serde(rename = "EHLO")]
    Ehlo,
    /// STARTTLS and its handshake.
    #[serde(rename = "STARTTLS")]
    Starttls,
    /// AUTH.
    #[serde(rename = "AUTH")]
    Auth,
    /// MAIL FROM.
    #[serde(rename = "MAIL")]
    Mail,
    /// RCPT TO.
    #[serde(rename = "RCPT")]
    Rcpt,
    /// DATA, and the message up to its last block.
    #[serde(rename = "DATA")]
    Data,
    /// From the last block to the reply that ends the transaction.
    #[serde(rename = "final dot")]
    FinalDot,
}

impl Stage {
    /// Every stage, in order.
    pub(super) const ALL: [Self; 9] = [
        Self::Connect,
        Self::Greeting,
        Self::Ehlo,
        Self::Starttls,
        Self::Auth,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::FinalDot,
    ];

    /// The name in logs and on screens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Ehlo => "EHLO",
            Self::Starttls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::FinalDot => "final dot",
        }
    }
}

/// A stage that a worker writes and the status screen reads.
#[derive(Debug)]
pub(super) struct StageCell(AtomicU8);

impl StageCell {
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(Stage::Connect as u8))
    }

    pub(super) fn enter(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }

    pub(super) fn stage(&self) -> Stage {
        let position = usize::from(self.0.load(Ordering::Relaxed));
        Stage::ALL.get(position).copied().unwrap_or(Stage::Connect)
    }
}

/// One reply of the upstream, its lines joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// The three digits.
    pub(super) code: u16,
    /// The enhanced status code of RFC 3463, as `5.4.5`; empty when there was none.
    pub(super) enhanced: String,
    /// The text after it, printable in at most [`REPLY_TEXT_LENGTH_MAX`] octets.
    pub(super) text: String,
    /// It is one of HTTP: the code is its status, and the enhanced code the API's reason.
    pub(super) is_http: bool,
    /// How long the server asks to be left alone, where it says so.
    pub(super) asks_for: Duration,
}

impl Reply {
    /// Takes a reply as it was read.
    pub(super) fn of(reply: &client::reply::Reply) -> Self {
        Self::new(reply.code, &reply.joined())
    }

    /// Takes the joined text of a reply apart.
    pub(super) fn new(code: u16, joined: &str) -> Self {
        // A tab separates words as a blank does.
        let joined = if joined.contains('\t') {
            Cow::Owned(joined.replace('\t', " "))
        } else {
            Cow::Borrowed(joined)
        };
        let mut text = text::printable_within(&joined, REPLY_TEXT_LENGTH_MAX);
        let first = text.split(' ').next().unwrap_or_default();
        let enhanced = if is_enhanced_code(first) { first.to_owned() } else { String::new() };
        text.truncate(text.trim_end().len());
        let rest = text[enhanced.len()..].trim_start().len();
        text.drain(..text.len() - rest);
        Self { code, enhanced, text, is_http: false, asks_for: Duration::ZERO }
    }

    /// One of the API.
    pub(super) fn of_http(status: u16, reason: &str, message: &str) -> Self {
        let mut text = text::printable_within(message, REPLY_TEXT_LENGTH_MAX);
        text.truncate(text.trim_end().len());
        let enhanced = text::printable_within(reason, REASON_LENGTH_MAX);
        Self { code: status, enhanced, text, is_http: true, asks_for: Duration::ZERO }
    }

    pub(super) fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Whether the same again would be refused again, as far as the code tells.
    pub(super) fn is_permanent(&self) -> bool {
        if self.is_http { (400..500).contains(&self.code) } else { self.code >= 500 }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.code)?;
        for part in [&self.enhanced, &self.text] {
            if !part.is_empty() {
                write!(formatter, " {part}")?;
            }
        }
        Ok(())
    }
}

fn is_enhanced_code(word: &str) -> bool {
    let mut parts = word.split('.');
    let class = matches!(parts.next(), Some("2" | "4" | "5"));
    let mut number = || {
        parts.next().is_some_and(|part| {
            (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    class && number() && number() && parts.next().is_none()
}

/// Why there was no reply, or none that could be used. The words are for the administrator.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Fault {
    /// DNS, TCP or the network.
    #[error("{0}")]
    Unreachable(String),
    /// The certificate does not prove the name.
    #[error("the server's certificate was refused: {0}")]
    Certificate(String),
    /// What answered does not speak TLS at this point.
    #[error("the server answers in plain text where TLS was expected")]
    PlainText,
    /// What answered spoke TLS where a greeting in plain text was expected.
    #[error(
        "the server expects TLS from the first byte, and a greeting in plain text was expected"
    )]
    TlsFirst,
    /// EHLO did not offer STARTTLS.
    #[error("the server does not offer STARTTLS")]
    NoStarttls,
    /// Bytes followed the reply to STARTTLS in plain text.
    #[error(
        "plain text followed the reply to STARTTLS: someone may be tampering with the connection"
    )]
    Injected,
    /// EHLO did not offer AUTH PLAIN.
    #[error("the server does not offer AUTH PLAIN")]
    NoAuth,
    /// Our own configuration: a trust root is missing.
    #[error("{0}")]
    Configuration(String),
    /// The password cannot be had from its source; nothing was sent.
    #[error("{reason}")]
    NoPassword {
        /// What is wrong with which source.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// There is no access token, or the upstream takes none.
    #[error("{0}")]
    NoToken(TokenError),
    /// The connection ended or made no progress in time.
    #[error("{0}")]
    Lost(String),
    /// The server has trouble of its own, as it says.
    #[error("{words}")]
    Trouble {
        /// What it says.
        words: String,
        /// How long it asks to be left alone, where it says so.
        asks_for: Duration,
    },
    /// What came is not an SMTP reply.
    #[error("the server sent something that is not an SMTP reply: {0}")]
    Garbled(String),
    /// One of the others, on the way to the Gmail API, which has no port to choose and no STARTTLS.
    #[error("{0}")]
    OverHttps(Box<Self>),
    /// One of the others, with the name and port of the server.
    #[error("{server}: {fault}")]
    At {
        /// Where.
        server: String,
        /// What.
        fault: Box<Self>,
    },
}

impl Fault {
    /// The server has not come to an end in time.
    pub(super) fn too_slow(limit: Duration) -> Self {
        Self::Lost(format!("the server is too slow: no end within {} s", limit.as_secs_f32()))
    }

    /// The fault without the name of the server.
    pub(super) fn itself(&self) -> &Self {
        match self {
            Self::At { fault, .. } | Self::OverHttps(fault) => fault.itself(),
            other => other,
        }
    }
}

/// What became of a connection attempt, or of one recipient in a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The upstream replied.
    Replied {
        /// To what.
        stage: Stage,
        /// What.
        reply: Reply,
    },
    /// The upstream did not reply.
    Broken {
        /// To what.
        stage: Stage,
        /// Whether the final dot may have been sent: nobody knows whether the message was accepted.
        after_dot: bool,
        /// What happened.
        fault: Fault,
    },
    /// We did not ask, because it cannot work.
    Unsendable {
        /// Why, in words for the administrator.
        reason: String,
    },
}

impl Answer {
    /// How long the server asks to be left alone.
    pub(super) fn asks_for(&self) -> Duration {
        match self {
            Self::Replied { reply, .. } => reply.asks_for,
            Self::Broken { fault, .. } => match fault.itself() {
                Fault::Trouble { asks_for, .. } => *asks_for,
                _ => Duration::ZERO,
            },
            Self::Unsendable { .. } => Duration::ZERO,
        }
    }

    /// A fault before the message can have been accepted.
    pub(super) fn broken(stage: Stage, fault: Fault) -> Self {
        Self::Broken { stage, after_dot: false, fault }
    }

    /// Names the server in a fault of the network or of the server.
    pub(super) fn at(self, host: &str, port: u16) -> Self {
        match self {
            Self::Broken {
                fault: Fault::Configuration(_) | Fault::NoPassword { .. } | Fault::NoToken(_),
                ..
            } => self,
            Self::Broken { stage, after_dot, fault } => {
                let server = format!("{host} port {port}");
                Self::Broken {
                    stage,
                    after_dot,
                    fault: Fault::At { server, fault: Box::new(fault) },
                }
            }
            other => other,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replied { reply, .. } => fmt::Display::fmt(reply, formatter),
            // Nothing was sent, so there is no stage at which it happened.
            Self::Broken { fault: Fault::NoPassword { reason, .. }, .. } => {
                formatter.write_str(reason)
            }
            Self::Broken { fault: Fault::NoToken(error), .. } => formatter.write_str(&error.reason),
            Self::Broken { stage, fault, .. } => write!(formatter, "{fault} (at {})", stage.name()),
            Self::Unsendable { reason } => formatter.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_called_the_same_on_the_wire_of_the_api_and_on_screens() {
        for stage in Stage::ALL {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
        }
    }

    #[test]
    fn the_enhanced_code_is_taken_off_the_text() {
        let reply = Reply::new(550, "5.4.5 Daily user sending limit exceeded.");
        assert_eq!(
            (reply.enhanced.as_str(), reply.text.as_str()),
            ("5.4.5", "Daily user sending limit exceeded.")
        );
        assert_eq!(reply.to_string(), "550 5.4.5 Daily user sending limit exceeded.");
        assert_eq!(Reply::new(354, " Go ahead x - gsmtp").to_string(), "354 Go ahead x - gsmtp");
        assert_eq!(Reply::new(250, "5.x.1 odd").enhanced, "");
        assert_eq!(Reply::new(250, "").to_string(), "250");
    }

    #[test]
    fn a_long_reply_is_cut_and_what_deceives_a_reader_is_written_out() {
        let reply = Reply::new(550, &format!("5.0.0 a\u{7}\u{202e}b\tc{}", "ü".repeat(2_000)));
        assert!(reply.text.starts_with("a\\u{7}\\u{202e}b cü"), "{}", reply.text);
        assert!(reply.text.len() <= REPLY_TEXT_LENGTH_MAX && reply.text.ends_with("ü..."));
    }

    #[test]
    fn a_stage_cell_returns_what_was_entered() {
        let cell = StageCell::new();
        for stage in Stage::ALL {
            cell.enter(stage);
            assert_eq!(cell.stage(), stage);
        }
    }
}
