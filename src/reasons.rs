//! Errors of files and of TLS in words for the person who must act, with the remedy where there is one.
//!
//! Rule: what the libraries print for programmers (`Os { code: 5, .. }`, `Other(OtherError(..))`) goes no further.

use std::{fmt, io};

use rustix::io::Errno;
use tokio_rustls::rustls::{self, CertificateError};

/// Seconds of a day, for the age of a certificate.
const DAY_S: u64 = 86_400;
/// Names of a certificate that are told.
const NAMES_MAX: usize = 5;

/// What an error of a file or of a disk means.
#[must_use]
pub(crate) fn of_file(error: &io::Error) -> String {
    let Some(errno) = Errno::from_io_error(error) else { return error.to_string() };
    let remedy = match errno {
        Errno::IO => "see what the kernel says of the disk (dmesg), and replace it if this goes on",
        Errno::NOSPC | Errno::DQUOT => "make room there",
        Errno::MFILE | Errno::NFILE => "raise LimitNOFILE of the service (ulimit -n)",
        Errno::ACCESS | Errno::PERM => "the user that Pillarbox runs as must be allowed to",
        Errno::ROFS => "mount it for writing, or see why the kernel made it read-only (dmesg)",
        Errno::NOMEM => "give the machine or the service more memory",
        _ => return error.to_string(),
    };
    format!("{error}; {remedy}")
}

/// What an error of TLS means, whoever is at the other side.
#[must_use]
pub(crate) fn of_tls(error: &rustls::Error) -> String {
    use rustls::Error;
    match error {
        Error::AlertReceived(alert) => {
            format!("the other side broke the handshake off: {}", spaced(alert))
        }
        Error::PeerIncompatible(what) => format!("the other side does not fit: {}", spaced(what)),
        Error::PeerMisbehaved(what) => {
            format!("the other side does not keep to TLS: {}", spaced(what))
        }
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => {
            "what came is not TLS, or is damaged".into()
        }
        Error::InvalidCertificate(reason) => format!("the certificate: {}", of_certificate(reason)),
        Error::InvalidCertRevocationList(what) => {
            format!("the list of revoked certificates cannot be used: {}", spaced(what))
        }
        Error::InvalidEncryptedClientHello(what) => {
            format!("the encrypted hello cannot be used: {}", spaced(what))
        }
        Error::InconsistentKeys(_) => "key and certificate do not belong together".into(),
        Error::Other(what) => in_words(&what.to_string()),
        plain => plain.to_string(),
    }
}

/// What is wrong with a certificate, as the end of a sentence that begins with it.
#[must_use]
pub(crate) fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired => "it has expired, or this host's clock is wrong".into(),
        CertificateError::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / DAY_S;
            format!("it expired {days} days ago, or this host's clock is wrong")
        }
        CertificateError::NotValidYet => "it is not valid yet, so this host's clock is probably wrong".into(),
        CertificateError::NotValidYetContext { time, not_before } => {
            let days = not_before.as_secs().saturating_sub(time.as_secs()) / DAY_S;
            format!("it becomes valid in {days} days, so this host's clock is probably wrong")
        }
        CertificateError::UnknownIssuer => {
            "it is signed by an authority that this host does not know: the CA certificates are old, or something in \
             between intercepts TLS"
                .into()
        }
        CertificateError::NotValidForName => "it is for another name".into(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> =
                presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect();
            let more = if names.len() > NAMES_MAX { ", ..." } else { "" };
            let names = names[..names.len().min(NAMES_MAX)].join(", ");
            let names = if names.is_empty() { "no name at all".to_owned() } else { names };
            format!("it is for {names}{more} and not for {}", expected.to_str())
        }
        CertificateError::Revoked => "its authority has revoked it".into(),
        CertificateError::BadEncoding => "it is damaged, or not a certificate".into(),
        CertificateError::BadSignature => "its signature is wrong: it is damaged, or forged".into(),
        CertificateError::Other(what) if what.to_string() == "CaUsedAsEndEntity" => {
            "it is that of an authority (CA:TRUE) and not of a server: issue one without CA:TRUE for the server, and \
             keep this one to sign it"
                .into()
        }
        CertificateError::Other(what) => in_words(&what.to_string()),
        other => spaced(other),
    }
}

/// A name such as `NoCipherSuitesInCommon` as words.
#[must_use]
pub(crate) fn spaced(name: &impl fmt::Debug) -> String {
    in_words(&format!("{name:?}"))
}

/// The first name of a programmer's text, as words; what is not such a text stays.
fn in_words(text: &str) -> String {
    let name = text.split(|c: char| !c.is_ascii_alphanumeric()).find(|part| !part.is_empty());
    let name = name.unwrap_or(text);
    let is_prose = text.contains(' ') && !text.contains(['(', '{']);
    if is_prose {
        return text.to_owned();
    }
    let mut words = String::with_capacity(name.len() + 8);
    let mut before = ' ';
    for c in name.chars() {
        if c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
        before = c;
    }
    words
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{
        AlertDescription, Error, OtherError, PeerIncompatible, PeerMisbehaved,
        pki_types::{ServerName, UnixTime},
    };

    use super::*;

    fn errno(errno: Errno) -> String {
        of_file(&io::Error::from(errno))
    }

    #[test]
    fn an_error_of_a_disk_says_what_to_do() {
        assert!(
            errno(Errno::IO).contains("Input/output error") && errno(Errno::IO).contains("dmesg")
        );
        assert!(errno(Errno::NOSPC).ends_with("make room there"));
        assert!(errno(Errno::MFILE).contains("LimitNOFILE"));
        assert!(errno(Errno::ACCESS).starts_with("Permission denied"));
        assert!(errno(Errno::ROFS).contains("read-only"));
        assert!(errno(Errno::NOENT).starts_with("No such file"));
        assert_eq!(of_file(&io::Error::other("our own words")), "our own words");
    }

    #[test]
    fn no_error_of_tls_is_told_in_a_programmers_form() {
        let other = |name: &'static str| {
            CertificateError::Other(OtherError(Arc::new(io::Error::other(name))))
        };
        let name = ServerName::try_from("smtp.gmail.com").unwrap();
        let presented = vec!["DnsName(\"invalid2.invalid\")".to_owned()];
        let certificate = [
            (CertificateError::Expired, "it has expired"),
            (
                CertificateError::ExpiredContext {
                    time: UnixTime::since_unix_epoch(std::time::Duration::from_secs(10 * DAY_S)),
                    not_after: UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                        3 * DAY_S,
                    )),
                },
                "it expired 7 days ago",
            ),
            (CertificateError::UnknownIssuer, "authority that this host does not know"),
            (
                CertificateError::NotValidForNameContext { expected: name, presented },
                "it is for invalid2.invalid and not for smtp.gmail.com",
            ),
            (other("CaUsedAsEndEntity"), "without CA:TRUE"),
            (other("UnsupportedCertVersion"), "unsupported cert version"),
            (CertificateError::InvalidPurpose, "invalid purpose"),
        ];
        for (error, words) in certificate {
            let said = of_tls(&Error::InvalidCertificate(error));
            assert!(said.contains(words), "{said}");
            assert!(!said.contains(['{', '(']) || words.contains("CA:TRUE"), "{said}");
        }
        for (error, words) in [
            (Error::AlertReceived(AlertDescription::HandshakeFailure), "off: handshake failure"),
            (PeerIncompatible::NoCipherSuitesInCommon.into(), "no cipher suites in common"),
            (PeerMisbehaved::TooManyEmptyFragments.into(), "too many empty fragments"),
            (Error::DecryptError, "cannot decrypt"),
            (
                Error::Other(OtherError(Arc::new(io::Error::other("CaUsedAsEndEntity")))),
                "ca used as",
            ),
        ] {
            assert!(of_tls(&error).contains(words), "{}", of_tls(&error));
        }
    }
}
