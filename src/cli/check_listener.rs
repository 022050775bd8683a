//! The part of `pillarbox check` about the listener: addresses, TLS and its end, logins, and what each network may do.
//!
//! Rule: files are looked at as the caller; what only the relay's own user may read is not blamed on the configuration, and
//! no length within a certificate is trusted. Must not know how the listener uses its files.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use jiff::civil::DateTime;
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

use super::screen::{self, count, labelled, when};
use crate::{
    clock::Timestamp,
    listener::{
        Options,
        bind::takes_ipv4,
        options::{Endpoint, Network, TlsFiles},
        tls,
        users::{UsersError, UsersFile},
    },
    message::envelope::Lane,
    smtp::server::{Authentication, Policy},
};

/// How long before a certificate's end there is a warning: time for whoever renews it by hand.
const CERTIFICATE_WARNING: Duration = Duration::from_secs(14 * 86_400);
/// Who reads the key can pretend to be this host.
const READABLE_BY_ALL: u32 = 0o004;
/// Skipped lines of the users file that are named.
const BAD_LINES_SHOWN: usize = 5;

/// What the files of the door are like.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// What keeps the relay from starting, or from being safe.
    pub(super) wrong: Vec<String>,
    /// What a person should look at.
    pub(super) warnings: Vec<String>,
}

/// Looks at the files.
pub(super) fn look(listener: &Options, now: Timestamp) -> Door {
    let mut door = Door::default();
    if let Some(files) = &listener.tls {
        door.look_at_certificate(files, now);
    }
    if let Some(path) = &listener.users_file {
        door.look_at_users(path);
    }
    door
}

impl Door {
    fn look_at_certificate(&mut self, files: &TlsFiles, now: Timestamp) {
        for path in [&files.certificate, &files.key] {
            if let Err(error) = fs::File::open(path)
                && error.kind() == io::ErrorKind::PermissionDenied
            {
                return self.warnings.push(format!(
                    "{} cannot be looked at ({error}); check as root, or as the user that runs the relay",
                    path.display()
                ));
            }
        }
        self.wrong.extend(open_key(files));
        if let Err(error) = tls::check(files) {
            return self.wrong.push(error.to_string());
        }
        self.warnings.extend(certificate_end(files, now));
    }

    fn look_at_users(&mut self, path: &Path) {
        let shown = path.display();
        match UsersFile::read(path) {
            Ok(users) => {
                if users.logins.is_empty() {
                    let words = format!(
                        "nobody can log in: {shown} has no users; add one with: pillarbox user add LOGIN"
                    );
                    self.warnings.push(words);
                }
                let lines = users.skipped.iter().take(BAD_LINES_SHOWN);
                self.warnings.extend(
                    lines.map(|bad| {
                        format!("line {} of {shown} is skipped: {}", bad.line, bad.reason)
                    }),
                );
            }
            Err(UsersError::Unreadable { error, .. })
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                self.warnings.push(format!(
                    "the users file {shown} cannot be looked at ({error}); check as root, or as the user that runs the \
                     relay"
                ));
            }
            Err(error) => self.wrong.push(error.to_string()),
        }
    }
}

/// What a start says of the certificate, which can be used.
pub(super) fn certificate_warnings(files: &TlsFiles, now: Timestamp) -> Vec<String> {
    open_key(files).into_iter().chain(certificate_end(files, now)).collect()
}

/// A key that everybody can read.
fn open_key(files: &TlsFiles) -> Option<String> {
    let mode = fs::metadata(&files.key).ok()?.permissions().mode();
    let key = files.key.display();
    (mode & READABLE_BY_ALL != 0)
        .then(|| format!("everybody can read the private key {key}; run: chmod o-rwx {key}"))
}

/// A certificate that ends soon, or has ended.
fn certificate_end(files: &TlsFiles, now: Timestamp) -> Option<String> {
    let end = ends_at(&files.certificate)?;
    let (verb, file) = (if end <= now { "ended" } else { "ends" }, files.certificate.display());
    (end <= now.after(CERTIFICATE_WARNING)).then(|| {
        format!(
            "the certificate {file} {verb} at {}; renew it, the relay takes it up by itself",
            when(end, now)
        )
    })
}

/// Prints what would be used.
pub(super) fn print(out: &mut dyn Write, listener: &Options) -> io::Result<()> {
    let limits = format!(
        "messages of up to {} and {} recipients; {} connections, {} from one client",
        screen::size(listener.session.max_message_bytes),
        listener.session.max_recipients,
        listener.max_connections,
        listener.max_connections_per_client
    );
    let endpoint = |one: &Endpoint| endpoint(one, &listener.addresses);
    let addresses: Vec<String> = listener.addresses.iter().map(endpoint).collect();
    let lines = [addresses.join(", "), format!("as {}", listener.session.hostname), limits];
    labelled(out, "listening", &lines)?;
    let certificate = listener.tls.as_ref().map_or_else(
        || "no certificate".to_owned(),
        |files| format!("certificate {}, key {}", files.certificate.display(), files.key.display()),
    );
    let users = listener.users_file.as_ref();
    let users = users.map(|path| format!("users in {}", path.display()));
    labelled(out, "protection", &[vec![certificate], users.into_iter().collect()].concat())?;
    let networks = listener.networks.iter().filter(|network| !network.networks.is_empty());
    let networks =
        networks.map(|network| self::network(network, listener.session.max_message_bytes));
    let others = format!("everybody else: {}", rights(listener.default_policy));
    labelled(out, "clients", &networks.chain([others]).collect::<Vec<_>>())
}

/// `127.0.0.1:465 (TLS)`, `[::]:25 (IPv6 and IPv4)`.
fn endpoint(endpoint: &Endpoint, all: &[Endpoint]) -> String {
    let address = endpoint.address;
    let families =
        match (address.is_ipv6() && address.ip().is_unspecified(), takes_ipv4(address, all)) {
            (false, _) => "",
            (true, true) => " (IPv6 and IPv4)",
            (true, false) => " (IPv6 only)",
        };
    let kind = match (endpoint.implicit_tls, endpoint.proxy) {
        (true, _) => " (TLS)",
        (false, true) => " (PROXY protocol)",
        (false, false) => "",
    };
    format!("{address}{families}{kind}")
}

/// `192.168.1.0/24: trusted, STARTTLS, up to 1 MiB, 60 messages a minute, urgent`.
fn network(network: &Network, of_listener: u64) -> String {
    let names: Vec<String> = network.networks.iter().map(ToString::to_string).collect();
    let octets = network.policy.max_message_bytes;
    let size = (octets < of_listener).then(|| format!(", up to {}", screen::size(octets)));
    let rate = network.messages_per_minute;
    let rate = rate.map(|rate| format!(", {} a minute", count(u32::from(rate).into(), "message")));
    let lane = (network.lane != Lane::Normal).then(|| format!(", {}", lane(network.lane)));
    let limits: String = [size, rate, lane].into_iter().flatten().collect();
    format!("{}: {}{limits}", names.join(", "), rights(network.policy))
}

/// What a policy allows, in words.
fn rights(policy: Policy) -> String {
    let may = match (policy.trusted, policy.authentication) {
        (true, Authentication::Off) => "trusted",
        (true, Authentication::Optional) => "trusted, may log in",
        (true, Authentication::AcceptAny) => "trusted, with any password",
        (true | false, Authentication::Required) | (false, Authentication::Optional) => {
            "must log in"
        }
        (false, Authentication::Off | Authentication::AcceptAny) => "refused",
    };
    format!("{may}{}", if policy.starttls { ", STARTTLS" } else { "" })
}

/// The same for programs.
pub(super) fn document(listener: &Options) -> Value {
    let addresses = |holds: fn(&Endpoint) -> bool| {
        let addresses = listener.addresses.iter().filter(|endpoint| holds(endpoint));
        addresses.map(|endpoint| endpoint.address.to_string()).collect::<Vec<_>>()
    };
    let networks = listener.networks.iter().map(|network| {
        let mut document = policy(network.policy);
        document["networks"] = json!(network.networks);
        document["messages_per_minute"] = json!(network.messages_per_minute.map_or(0, u32::from));
        document["lane"] = json!(lane(network.lane));
        document
    });
    json!({
        "addresses": addresses(|endpoint| !endpoint.implicit_tls && !endpoint.proxy),
        "tls_addresses": addresses(|endpoint| endpoint.implicit_tls),
        "proxy_addresses": addresses(|endpoint| endpoint.proxy),
        "hostname": listener.session.hostname,
        "trusted_networks": listener.trusted_networks().collect::<Vec<_>>(),
        "tls_certificate": listener.tls.as_ref().map(|files| &files.certificate),
        "tls_key": listener.tls.as_ref().map(|files| &files.key),
        "users_file": listener.users_file,
        "network": networks.collect::<Vec<_>>(),
        "everybody_else": policy(listener.default_policy),
        "max_message_bytes": listener.session.max_message_bytes,
        "max_recipients": listener.session.max_recipients,
        "max_connections": listener.max_connections,
        "max_connections_per_client": listener.max_connections_per_client,
    })
}

fn policy(policy: Policy) -> Value {
    json!({
        "trusted": policy.trusted,
        "starttls": policy.starttls,
        "authentication": match policy.authentication {
            Authentication::Off => "off",
            Authentication::Optional => "optional",
            Authentication::Required => "required",
            Authentication::AcceptAny => "accept-any",
        },
        "max_message_bytes": policy.max_message_bytes,
    })
}

fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Urgent => "urgent",
        Lane::Normal => "normal",
        Lane::Bulk => "bulk",
        Lane::Notice => "notice",
    }
}

/// DER tags (X.690 section 8).
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When the first certificate of a PEM file ends.
fn ends_at(path: &Path) -> Option<Timestamp> {
    let certificate = CertificateDer::pem_file_iter(path).ok()?.next()?.ok()?;
    not_after(&certificate)
}

/// `Certificate { tbsCertificate { version?, serial, algorithm, issuer, validity { notBefore, notAfter } ...`
fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (tag, certificate, _) = element(der)?;
    let (inner_tag, mut rest, _) = element(certificate).filter(|_| tag == SEQUENCE)?;
    if inner_tag != SEQUENCE {
        return None;
    }
    if *rest.first()? == VERSION {
        rest = element(rest)?.2;
    }
    for _ in ["serial", "algorithm", "issuer"] {
        rest = element(rest)?.2;
    }
    let (tag, validity, _) = element(rest)?;
    let (_, _, rest) = element(validity).filter(|_| tag == SEQUENCE)?;
    let (tag, text, _) = element(rest)?;
    moment_of(tag, std::str::from_utf8(text).ok()?)
}

/// Tag, content, and what follows. Nothing a certificate holds here has a tag or length of another form.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; two digits below 50 are of this century.
fn moment_of(tag: u8, text: &str) -> Option<Timestamp> {
    let text = match tag {
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let moment = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    Some(Timestamp(moment.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_found() {
        let mut parameters =
            rcgen::CertificateParams::new(vec!["relay.example.org".into()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        for (year, expected) in [(2031, "2031-05-17T00:00:00Z"), (2055, "2055-05-17T00:00:00Z")] {
            parameters.not_after = rcgen::date_time_ymd(year, 5, 17);
            let certificate = parameters.self_signed(&key).unwrap();
            assert_eq!(not_after(certificate.der()).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a.example".into()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        for length in 0..150 {
            assert_eq!(not_after(&certificate.der()[..length]), None, "{length}");
        }
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(not_after(b"GET / HTTP/1.0"), None);
    }
}
