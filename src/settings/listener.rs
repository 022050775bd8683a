//! `[listener]`: where mail is taken, under which name, how much, and what protects clients and passwords.
//!
//! Rule: what the upstream or the queue will not take is refused at the door; nothing is half configured. No file is
//! read here: `pillarbox check` and the daemon look at them. Must not know how the listener uses what it is told.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use super::{
    document::{NETWORK, numbered},
    host::Host,
    identity,
    networks::{self, CERTIFICATE_REMEDY, Network, Protection},
    report::{Report, in_range},
    value::{
        Words, list, list_if_any, path, section, shown, size_if_any, switch, tables, text, whole,
        word,
    },
};
use crate::{
    aliases_file::AliasesFile,
    delivery::provider::{Profile, Provider},
    listener::{
        self,
        options::{Endpoint, Limits, Local, TlsFiles},
    },
    sendmail::configured::DEFAULT_MESSAGE_BYTES,
    smtp::host_name::is_host_name,
    smtp::server::{self, Authentication},
};

const SECTION: &str = "listener";
/// How long a stop waits for messages in transfer and attempts in flight; `pillarbox.service` gives 60 s.
pub(crate) const STOP_WAIT: Duration = Duration::from_secs(30);

section! {
    /// `[listener]`: who may hand mail over, where and how much.
    pub(super) struct Listener {
        addresses: Vec<SocketAddr> = this_host(), "list";
        tls_addresses: Vec<SocketAddr> = Vec::new(), "list";
        proxy_addresses: Vec<SocketAddr> = Vec::new(), "list";
        /// Those of this host.
        trusted_networks: Option<Vec<IpNet>> = None, "list_if_any";
        /// This host's own.
        hostname: Option<String> = None, "word";
        tls_certificate: Option<PathBuf> = None, "path";
        tls_key: Option<PathBuf> = None, "path";
        starttls: Starttls = Starttls::WhenConfigured, "text";
        authentication: Authentication = Authentication::Off, "text";
        users_file: Option<PathBuf> = None, "path";
        priority_hints: bool = false, "switch";
        /// As much as the provider takes, and no more than [`DEFAULT_MESSAGE_BYTES`].
        max_message_bytes: Option<u64> = None, "size_if_any";
        max_recipients: i64 = 1_000, "whole";
        max_connections: i64 = 200, "whole";
        max_connections_per_client: i64 = 50, "whole";
        /// Sections of their own, which are not counted among the keys.
        network: Vec<Network> = Vec::new(), "tables";
    }
}

/// Mail is taken from programs of this host.
fn this_host() -> Vec<SocketAddr> {
    vec![
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 25),
        SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 25),
    ]
}

/// `listener.starttls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Starttls {
    /// Where there is a certificate.
    WhenConfigured,
    Off,
}

impl Words for Starttls {
    const WORDS: &'static [(&'static str, Self)] =
        &[("when-configured", Self::WhenConfigured), ("off", Self::Off)];
}

impl Listener {
    /// Fills in what the provider decides, to be shown.
    pub(super) fn provide(&mut self, profile: &Profile) {
        self.max_message_bytes.get_or_insert_with(|| usual_message_bytes(profile));
    }

    /// What the listener is told, apart from what `[sendmail]` says.
    pub(super) fn check(
        &self,
        profile: &Profile,
        hostname: &str,
        recipients: &Arc<AliasesFile>,
        report: &mut Report<'_>,
    ) -> listener::Options {
        let connections = in_range!(report.whole, SECTION, self.max_connections, 1..=10_000);
        let sizes = networks::MESSAGE_BYTES;
        let usual = usual_message_bytes(profile);
        let octets = self.max_message_bytes.unwrap_or(usual);
        let octets = report.within(SECTION, "max_message_bytes", octets, usual, sizes);
        let addresses = self.endpoints(report);
        let tls = self.tls_files(report);
        let protection = self.protection(tls.is_some(), octets, &addresses, report);
        let users_file = self.users_file.as_deref();
        let users_file = users_file.map(|path| report.path(SECTION, "users_file", path));
        self.check_users_file(report);
        protection.check_passwords_are_private(
            SECTION,
            false,
            protection.starttls,
            self.authentication,
            report,
        );
        let networks =
            networks::check(&self.network, self.trusted_networks.as_deref(), &protection, report);
        let per_client =
            in_range!(report.whole, SECTION, self.max_connections_per_client, 1..=10_000);
        let max_recipients = in_range!(report.whole, SECTION, self.max_recipients, 1..=1_000);
        listener::Options {
            addresses,
            networks,
            default_policy: protection.policy_of_strangers(),
            tls,
            users_file,
            max_connections: connections as usize,
            max_connections_per_client: per_client as usize,
            local: Local::default(),
            drain: STOP_WAIT,
            limits: Limits::default(),
            session: server::Options {
                hostname: hostname.to_owned(),
                max_message_bytes: octets,
                max_recipients: max_recipients as usize,
                local_recipients: identity::are_read(recipients),
            },
            recipients: Arc::clone(recipients),
            rules: Arc::default(),
            priority_hints: self.priority_hints,
        }
    }

    /// The three lists of addresses, in the order of the file.
    fn endpoints(&self, report: &mut Report<'_>) -> Vec<Endpoint> {
        let lists = [
            ("addresses", &self.addresses, false, false),
            ("tls_addresses", &self.tls_addresses, true, false),
            ("proxy_addresses", &self.proxy_addresses, false, true),
        ];
        let mut endpoints: Vec<Endpoint> = Vec::new();
        let mut keys: Vec<&str> = Vec::new();
        for (key, list, implicit_tls, proxy) in lists {
            for address in list.iter().copied() {
                // Port 0 stands for any free port, of which there are many.
                let twice = endpoints
                    .iter()
                    .position(|other| address.port() != 0 && other.address == address);
                if let Some(other) = twice {
                    let what = format!("{address} is there twice, also in {}", keys[other]);
                    let what =
                        if keys[other] == key { format!("{address} is there twice") } else { what };
                    report.add(SECTION, key, what, "Remove one of the two.");
                }
                endpoints.push(Endpoint { address, implicit_tls, proxy });
                keys.push(key);
            }
        }
        if endpoints.is_empty() {
            let remedy = "Write at least one, such as \"127.0.0.1:2525\".";
            report.add(SECTION, "addresses", "the list is empty", remedy);
        }
        endpoints
    }

    /// Our name.
    pub(super) fn hostname(&self, this_host: &Host, report: &mut Report<'_>) -> String {
        let Some(name) = &self.hostname else { return this_host.fully_qualified_name() };
        if !is_host_name(name) {
            let what = format!("{} is not a host name", shown(name));
            let remedy = "Write a name such as \"relay.example.org\", or remove the line.";
            report.add(SECTION, "hostname", what, remedy);
        }
        name.clone()
    }

    fn protection(
        &self,
        has_certificate: bool,
        max_message_bytes: u64,
        addresses: &[Endpoint],
        report: &mut Report<'_>,
    ) -> Protection {
        let has_implicit_tls = addresses.iter().any(|endpoint| endpoint.implicit_tls);
        if has_implicit_tls && !has_certificate {
            let what = "TLS needs a certificate";
            report.add_lack(SECTION, "tls_addresses", what, CERTIFICATE_REMEDY);
        }
        let is_exposed =
            |endpoint: &Endpoint| !endpoint.address.ip().is_loopback() || endpoint.proxy;
        Protection {
            has_certificate,
            starttls: has_certificate && self.starttls == Starttls::WhenConfigured,
            authentication: self.authentication,
            max_message_bytes,
            is_exposed: addresses.iter().any(is_exposed),
            has_implicit_tls,
        }
    }

    /// Both files or none.
    fn tls_files(&self, report: &mut Report<'_>) -> Option<TlsFiles> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate: report.path(SECTION, "tls_certificate", certificate),
                key: report.path(SECTION, "tls_key", key),
            }),
            (Some(_), None) => {
                let what = "a certificate is of no use without its key";
                let remedy = "Add tls_key with the file of its private key, or remove the line.";
                report.add_lack(SECTION, "tls_certificate", what, remedy);
                None
            }
            (None, Some(_)) => {
                let what = "a key is of no use without its certificate";
                let remedy =
                    "Add tls_certificate with the file of the certificate, or remove the line.";
                report.add_lack(SECTION, "tls_key", what, remedy);
                None
            }
            (None, None) => None,
        }
    }

    /// Both users and somebody who is asked for a password, or none.
    fn check_users_file(&self, report: &mut Report<'_>) {
        let of_sections = self.network.iter().enumerate();
        let of_sections = of_sections
            .filter(|(_, section)| {
                section.authentication().is_some_and(networks::asks_for_password)
            })
            .map(|(index, _)| numbered(NETWORK, index));
        let asking: Vec<String> = networks::asks_for_password(self.authentication)
            .then(|| SECTION.to_owned())
            .into_iter()
            .chain(of_sections)
            .collect();
        if self.users_file.is_none() {
            for section in &asking {
                let what = "there are no users who could log in";
                let remedy = "Set users_file under [listener], and fill the file with: pillarbox user add LOGIN";
                report.add_lack(section, "authentication", what, remedy);
            }
        } else if asking.is_empty() {
            let what = "nobody is asked for a password, so the file would never be read";
            let remedy = "Write authentication = \"optional\" or \"required\", or remove the line.";
            report.add_lack(SECTION, "users_file", what, remedy);
        }
    }
}

/// Refuses to take what the upstream is known not to: a larger message would be taken from the client only to fail.
pub(super) fn check_against_upstream(
    listener: &listener::Options,
    provider: Provider,
    report: &mut Report<'_>,
) {
    let octets = listener.session.max_message_bytes;
    let most = provider.profile().message_bytes.value;
    if provider.is_google() && octets > most {
        let what = format!("Gmail takes at most {most} octets, not {octets}");
        report.add(SECTION, "max_message_bytes", what, "Lower it, or remove the line.");
    }
}

/// A larger message than the provider takes would be taken from the client only to fail.
fn usual_message_bytes(profile: &Profile) -> u64 {
    profile.message_bytes.value.min(DEFAULT_MESSAGE_BYTES)
}
