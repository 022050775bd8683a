//! The checks of TLS and AUTH in `[listener]`: certificate, STARTTLS, authentication, users file.
//!
//! Rule: nothing is half configured, and no password of a stranger travels in plain text. No file is read
//! here: `pillarbox check` and the daemon look at them. Must not know which client is in which network.

use std::path::PathBuf;

use super::{
    document::numbered,
    raw::{Listener, NETWORK, Starttls},
    report::{Report, set},
    value::Parsed,
};
use crate::{
    listener::options::{Endpoint, TlsFiles},
    smtp::session::Authentication,
};

const SECTION: &str = "listener";
/// What to do when TLS is asked for and there is no certificate.
pub(super) const CERTIFICATE_REMEDY: &str =
    "Set tls_certificate and tls_key under [listener] to the files of a certificate.";

/// What protects the clients and their passwords.
#[derive(Clone, Debug)]
pub(super) struct Protection {
    pub(super) tls: Option<TlsFiles>,
    /// Whether STARTTLS is offered to clients whose network does not say.
    pub(super) starttls: bool,
    /// What clients hear whose network does not say.
    pub(super) authentication: Authentication,
    pub(super) users_file: Option<PathBuf>,
    /// Clients of other hosts can connect.
    is_exposed: bool,
    /// Some address is TLS from the first byte.
    has_implicit_tls: bool,
}

pub(super) fn check(raw: &Listener, addresses: &[Endpoint], report: &mut Report<'_>) -> Protection {
    let tls = tls_files(raw, report);
    let has_implicit_tls = addresses.iter().any(|endpoint| endpoint.implicit_tls);
    if has_implicit_tls && tls.is_none() {
        report.add_lack(SECTION, "tls_addresses", "TLS needs a certificate", CERTIFICATE_REMEDY);
    }
    let starttls = raw.starttls.as_ref().map_or(Starttls::WhenConfigured, |Parsed(mode)| *mode);
    let users_file =
        set(raw.users_file.as_ref()).map(|path| report.path(SECTION, "users_file", path));
    let protection = Protection {
        starttls: tls.is_some() && starttls == Starttls::WhenConfigured,
        tls,
        authentication: raw
            .authentication
            .as_ref()
            .map_or(Authentication::Off, |Parsed(mode)| *mode),
        users_file,
        is_exposed: addresses
            .iter()
            .any(|endpoint| !endpoint.address.ip().is_loopback() || endpoint.proxy),
        has_implicit_tls,
    };
    check_users_file(raw, &protection, report);
    let (starttls, authentication) = (protection.starttls, protection.authentication);
    protection.check_passwords_are_private(SECTION, false, starttls, authentication, report);
    protection
}

impl Protection {
    /// Refuses AUTH where the passwords of strangers would travel in plain text. Among `known` clients,
    /// those of a trusted network, an eavesdropper could send mail without a password anyway.
    pub(super) fn check_passwords_are_private(
        &self,
        section: &str,
        known: bool,
        starttls: bool,
        authentication: Authentication,
        report: &mut Report<'_>,
    ) {
        let encrypted = self.tls.is_some() && (starttls || self.has_implicit_tls);
        if known || encrypted || !self.is_exposed || !asks_for_password(authentication) {
            return;
        }
        let what = "passwords of clients that are not trusted would travel in plain text";
        let remedy = match self.tls {
            None => {
                "Set tls_certificate and tls_key, or write authentication in a [[listener.network]] with \
                     trusted = true."
            }
            Some(_) => "Offer STARTTLS to these clients, or add tls_addresses.",
        };
        report.add(section, "authentication", what, remedy);
    }
}

/// Whether logins are compared with the users file.
fn asks_for_password(authentication: Authentication) -> bool {
    matches!(authentication, Authentication::Optional | Authentication::Required)
}

/// Both files or none.
fn tls_files(raw: &Listener, report: &mut Report<'_>) -> Option<TlsFiles> {
    let certificate = set(raw.tls_certificate.as_ref());
    let key = set(raw.tls_key.as_ref());
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(TlsFiles {
            certificate: report.path(SECTION, "tls_certificate", certificate),
            key: report.path(SECTION, "tls_key", key),
        }),
        (Some(_), None) => {
            let remedy = "Add tls_key with the file of its private key, or remove the line.";
            report.add_lack(
                SECTION,
                "tls_certificate",
                "a certificate is of no use without its key",
                remedy,
            );
            None
        }
        (None, Some(_)) => {
            let remedy =
                "Add tls_certificate with the file of the certificate, or remove the line.";
            report.add_lack(
                SECTION,
                "tls_key",
                "a key is of no use without its certificate",
                remedy,
            );
            None
        }
        (None, None) => None,
    }
}

/// Both users and somebody who is asked for a password, or none.
fn check_users_file(raw: &Listener, protection: &Protection, report: &mut Report<'_>) {
    let of_section =
        |section: &super::raw::Network| section.authentication.as_ref().map(|Parsed(mode)| *mode);
    let sections = raw.network.0.iter().enumerate();
    let asking = sections.filter(|(_, section)| of_section(section).is_some_and(asks_for_password));
    let asking: Vec<String> = std::iter::once(SECTION.to_owned())
        .filter(|_| asks_for_password(protection.authentication))
        .chain(asking.map(|(index, _)| numbered(NETWORK, index)))
        .collect();
    if protection.users_file.is_none() {
        for section in &asking {
            let remedy =
                "Set users_file under [listener], and fill the file with: pillarbox user add LOGIN";
            report.add_lack(
                section,
                "authentication",
                "there are no users who could log in",
                remedy,
            );
        }
    } else if asking.is_empty() {
        let what = "nobody is asked for a password, so the file would never be read";
        let remedy = "Write authentication = \"optional\" or \"required\", or remove the line.";
        report.add_lack(SECTION, "users_file", what, remedy);
    }
}
