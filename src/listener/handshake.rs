//! The reason why a TLS handshake failed, in words that help.
//!
//! Rule: says what the client did and what the administrator can do; pure. Must not know sockets.

use std::{fmt, io};

use tokio_rustls::rustls::{self, AlertDescription, PeerIncompatible};

use crate::reasons;

/// Octets of a ClientHello up to its version.
pub(super) const HELLO_BYTES: usize = 11;

/// How a client began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// A ClientHello; the highest version it offers, but for 1.3, which is offered elsewhere.
    Tls(u16),
    /// The hello of SSL 2.0.
    Ssl2,
    /// No TLS.
    Other,
    /// Too few octets to tell.
    Unknown,
}

impl Hello {
    /// RFC 8446 section 4.1.2 and 5.1: record type 22, record version, length, message type 1, length,
    /// version.
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes {
            [22, _, _, _, _, 1, _, _, _, major, minor, ..] => {
                Self::Tls(u16::from_be_bytes([*major, *minor]))
            }
            [22, ..] | [] => Self::Unknown,
            [length, _, 1, ..] if length & 0x80 != 0 => Self::Ssl2,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Hello {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tls(0x0300) => "SSL 3.0",
            Self::Tls(0x0301) => "TLS 1.0",
            Self::Tls(0x0302) => "TLS 1.1",
            Self::Tls(_) => "TLS 1.2 or later",
            Self::Ssl2 => "SSL 2.0",
            Self::Other => "plain text",
            Self::Unknown => "an unknown version",
        })
    }
}

/// A handshake that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What happened.
    pub(super) reason: String,
    /// What can be done about it; empty when that is not known.
    pub(super) remedy: &'static str,
    /// Whether the client closed without having sent one octet: somebody looks whether the port is open.
    pub(super) unspoken: bool,
}

const OLD_CLIENT: &str = "hide STARTTLS from this client: starttls = false in a [[listener.network]] section with its \
                          address, and let it send in plain text within a network you trust";
const NOT_TRUSTED: &str = "the client does not trust the certificate: give it the issuer's certificate, or a \
                           certificate with the name that the client connects to";
const PLAIN_TEXT: &str = "set the client to TLS, or to a port without it";

impl Failure {
    /// What an error of the handshake means, given how the client began.
    pub(super) fn of(hello: &Hello, error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let old = matches!(hello, Hello::Tls(..0x0303) | Hello::Ssl2);
        match inner {
            _ if old => Self::told(format!("handshake refused, client speaks {hello}"), OLD_CLIENT),
            _ if *hello == Hello::Other => Self::told("client sent no TLS".into(), PLAIN_TEXT),
            Some(rustls::Error::PeerIncompatible(
                what @ (PeerIncompatible::NoCipherSuitesInCommon
                | PeerIncompatible::NoKxGroupsInCommon
                | PeerIncompatible::NoSignatureSchemesInCommon),
            )) => Self::told(
                format!("client knows no safe cipher that we know ({})", reasons::spaced(what)),
                OLD_CLIENT,
            ),
            Some(rustls::Error::AlertReceived(
                alert @ (AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired),
            )) => Self::told(
                format!("client refused our certificate ({})", reasons::spaced(alert)),
                NOT_TRUSTED,
            ),
            Some(error) => Self::told(reasons::of_tls(error), ""),
            None => Self::lost(error),
        }
    }

    fn told(reason: String, remedy: &'static str) -> Self {
        Self { reason, remedy, unspoken: false }
    }

    /// The client closed before its first octet.
    pub(super) fn unspoken() -> Self {
        Self { unspoken: true, ..Self::told("closed without a word".into(), "") }
    }

    /// The connection broke.
    pub(super) fn lost(error: impl fmt::Display) -> Self {
        Self::told(format!("connection lost: {error}"), "")
    }

    /// It took too long.
    pub(super) fn timed_out() -> Self {
        Self::told("client did not finish in time".into(), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(hello: Hello, error: rustls::Error) -> Failure {
        Failure::of(&hello, &io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn the_version_of_a_hello_is_that_of_the_hello_not_of_its_record() {
        let hello = |version: [u8; 2]| [22, 3, 1, 0, 200, 1, 0, 0, 196, version[0], version[1]];
        for (bytes, name) in [
            (&hello([3, 0])[..], "SSL 3.0"),
            (&hello([3, 1]), "TLS 1.0"),
            (&hello([3, 2]), "TLS 1.1"),
            (&hello([3, 3]), "TLS 1.2 or later"),
            (&[0x80, 0x2e, 1, 3, 1], "SSL 2.0"),
            (b"EHLO printer", "plain text"),
            (&[22, 3, 1], "an unknown version"),
            (&[], "an unknown version"),
        ] {
            assert_eq!(Hello::of(bytes).to_string(), name, "{bytes:?}");
        }
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let old = failure(Hello::Tls(0x0301), PeerIncompatible::Tls12NotOffered.into());
        assert_eq!(old.reason, "handshake refused, client speaks TLS 1.0");
        assert!(old.remedy.contains("starttls = false"));
        let ciphers = failure(Hello::Tls(0x0303), PeerIncompatible::NoCipherSuitesInCommon.into());
        assert!(ciphers.remedy.contains("starttls = false"), "{ciphers:?}");
        let untrusted =
            failure(Hello::Tls(0x0303), rustls::Error::AlertReceived(AlertDescription::UnknownCA));
        assert!(untrusted.remedy.contains("issuer"), "{untrusted:?}");
        let plain = failure(Hello::Other, rustls::Error::HandshakeNotComplete);
        assert_eq!(plain.reason, "client sent no TLS");
    }
}
