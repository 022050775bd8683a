//! relay.toml as it is written: the same sections and keys, everything optional.
//!
//! Rule: a key that is not here does not exist, in the file as in the environment; a key whose feature
//! does not exist is not here. Must not know defaults or what goes with what: the checks beside it do.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use serde::Deserialize;

use super::{
    field_names::field_names,
    recipients::HostName,
    telling::Delay,
    value::{Command, List, Parsed, Password, Size, Switch, Tables, Text, Whole, choose, shown},
};
use crate::{
    delivery::{IpFamily, Uncertain, oauth::Endpoint},
    message::{
        envelope::Lane,
        identity::{FromPolicy, SenderPattern},
    },
    smtp::{address::Address, session::Authentication},
    telemetry::{Format, Output},
};

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) upstream: Upstream,
    pub(super) listener: Listener,
    pub(super) sendmail: Sendmail,
    pub(super) queue: Queue,
    pub(super) budget: Budget,
    pub(super) identity: Identity,
    pub(super) notices: Notices,
    pub(super) alert: Alert,
    pub(super) admin: Admin,
    pub(super) log: Log,
}

/// `[upstream]`: the account and the way to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Upstream {
    pub(super) host: Option<String>,
    pub(super) port: Option<Whole>,
    pub(super) tls: Option<Parsed<TlsMode>>,
    pub(super) other_port: Option<Switch>,
    pub(super) ip_family: Option<Parsed<IpFamily>>,
    pub(super) username: Option<String>,
    pub(super) password_file: Option<String>,
    pub(super) password_command: Option<Command>,
    pub(super) password: Option<Password>,
    pub(super) auth: Option<Parsed<Auth>>,
    pub(super) oauth_client_file: Option<String>,
    pub(super) oauth_client_id: Option<String>,
    pub(super) oauth_client_secret_file: Option<String>,
    pub(super) oauth_client_secret: Option<Password>,
    pub(super) oauth_token_file: Option<String>,
    pub(super) service_account_file: Option<String>,
    pub(super) oauth_authorization_endpoint: Option<Parsed<Option<Endpoint>>>,
    pub(super) oauth_token_endpoint: Option<Parsed<Option<Endpoint>>>,
    pub(super) oauth_revocation_endpoint: Option<Parsed<Option<Endpoint>>>,
    pub(super) ehlo_name: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) connections: Option<Whole>,
    pub(super) logins_per_hour: Option<Whole>,
}

/// `[listener]`: who may hand mail over, where and how much.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Listener {
    pub(super) addresses: Option<List<SocketAddr>>,
    pub(super) tls_addresses: Option<List<SocketAddr>>,
    pub(super) proxy_addresses: Option<List<SocketAddr>>,
    pub(super) trusted_networks: Option<List<IpNet>>,
    pub(super) hostname: Option<String>,
    pub(super) tls_certificate: Option<String>,
    pub(super) tls_key: Option<String>,
    pub(super) starttls: Option<Parsed<Starttls>>,
    pub(super) authentication: Option<Parsed<Authentication>>,
    pub(super) users_file: Option<String>,
    pub(super) max_message_bytes: Option<Size>,
    pub(super) max_recipients: Option<Whole>,
    pub(super) max_connections: Option<Whole>,
    pub(super) max_connections_per_client: Option<Whole>,
    /// Its value is a list of sections; [`sections`] does not count it.
    pub(super) network: Tables<Network>,
}

/// `[[listener.network]]`: what the clients of some networks may do.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Network {
    pub(super) networks: Option<List<IpNet>>,
    pub(super) trusted: Option<bool>,
    pub(super) starttls: Option<bool>,
    pub(super) authentication: Option<Parsed<Authentication>>,
    pub(super) max_message_bytes: Option<Size>,
    pub(super) messages_per_minute: Option<Whole>,
    pub(super) lane: Option<Parsed<Lane>>,
}

/// `[sendmail]`: how programs of this host hand mail over without the network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sendmail {
    pub(super) socket: Option<String>,
    pub(super) drop_directory: Option<String>,
}

/// `[queue]`: where mail waits and for how long.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Queue {
    pub(super) directory: Option<String>,
    pub(super) lifetime: Option<Parsed<Duration>>,
    pub(super) dead_letter_lifetime: Option<Parsed<Duration>>,
    pub(super) history_lifetime: Option<Parsed<Duration>>,
    pub(super) max_bytes: Option<Size>,
    pub(super) min_free_bytes: Option<Size>,
    pub(super) uncertain: Option<Parsed<Uncertain>>,
}

/// `[budget]`: how much the account may be used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Budget {
    pub(super) recipients_per_day: Option<Whole>,
    pub(super) owner_reserve: Option<Whole>,
    pub(super) notice_reserve: Option<Whole>,
    pub(super) urgent_reserve: Option<Whole>,
    pub(super) pace_per_minute: Option<Whole>,
}

/// `[identity]`: who is who.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Identity {
    pub(super) from: Option<Parsed<FromPolicy>>,
    pub(super) send_as: Option<List<Address>>,
    pub(super) domain: Option<String>,
    pub(super) admin: Option<Parsed<Option<Address>>>,
    pub(super) aliases_file: Option<String>,
    pub(super) local_domains: Option<List<HostName>>,
    pub(super) redirect_all: Option<Parsed<Option<Address>>>,
    /// A list of sections, as in `[listener]`.
    pub(super) sender: Tables<Sender>,
}

/// `[[identity.sender]]`: who is sent as which of the account's addresses.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sender {
    #[serde(rename = "match")]
    pub(super) pattern: Option<Parsed<SenderPattern>>,
    pub(super) from: Option<Parsed<Address>>,
}

/// `[notices]`: mail about mail that could not be relayed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Notices {
    pub(super) to: Option<Parsed<Told>>,
    pub(super) per_hour: Option<Whole>,
    pub(super) delay_after: Option<Parsed<Delay>>,
}

/// `[alert]`: who is told without mail.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Alert {
    pub(super) command: Option<Command>,
    pub(super) webhook: Option<Password>,
    pub(super) webhook_file: Option<String>,
    pub(super) oldest_message: Option<Parsed<Duration>>,
    pub(super) repeat: Option<Parsed<Duration>>,
}

/// `[admin]`: where `pillarbox status` and the other commands reach the daemon.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    pub(super) socket: Option<String>,
    pub(super) http: Option<Parsed<Option<SocketAddr>>>,
}

/// `[log]`: what is printed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) output: Option<Parsed<Output>>,
    pub(super) format: Option<Parsed<Format>>,
    pub(super) level: Option<Parsed<tracing::Level>>,
}

/// `upstream.tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// From the port.
    Auto,
    Starttls,
    Implicit,
    Off,
}

impl Text for TlsMode {
    const EXPECTED: &'static str = "\"auto\", \"starttls\", \"implicit\" or \"off\"";

    fn read(text: &str) -> Result<Self, String> {
        choose(
            text,
            &[
                ("auto", Self::Auto),
                ("starttls", Self::Starttls),
                ("implicit", Self::Implicit),
                ("off", Self::Off),
            ],
        )
    }
}

/// `upstream.auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Auth {
    Password,
    /// A person has consented in a browser.
    Consent,
    /// A key that may act for the whole domain.
    ServiceAccount,
    /// The upstream knows us by our address.
    None,
}

impl Auth {
    /// The word in the file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Consent => "oauth",
            Self::ServiceAccount => "service-account",
            Self::None => "none",
        }
    }
}

impl Text for Auth {
    const EXPECTED: &'static str = "\"password\", \"oauth\", \"service-account\" or \"none\"";

    fn read(text: &str) -> Result<Self, String> {
        let choices = [Self::Password, Self::Consent, Self::ServiceAccount, Self::None];
        choose(text, &choices.map(|choice| (choice.name(), choice)))
    }
}

/// `listener.starttls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starttls {
    /// Where there is a certificate.
    WhenConfigured,
    Off,
}

impl Text for Starttls {
    const EXPECTED: &'static str = "\"when-configured\" or \"off\"";

    fn read(text: &str) -> Result<Self, String> {
        choose(text, &[("when-configured", Self::WhenConfigured), ("off", Self::Off)])
    }
}

impl Text for SenderPattern {
    const EXPECTED: &'static str = "an address, \"@domain\" or a name in quotes";

    fn read(text: &str) -> Result<Self, String> {
        if let Some(domain) = text.strip_prefix('@') {
            let address: Result<Address, String> = Address::read(&format!("x{text}"));
            return address.map(|_| Self::Domain(domain.to_lowercase())).map_err(|_| {
                format!("{} is no domain; write for example \"@example.org\"", shown(text))
            });
        }
        let address = Address::read(text)?;
        Ok(if address.domain().is_some() {
            Self::Address(address)
        } else {
            Self::Name(text.to_lowercase())
        })
    }
}

/// `notices.to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nobody,
    Admin,
    AdminAndSender,
}

impl Text for Told {
    const EXPECTED: &'static str = "\"admin\", \"admin-and-sender\" or \"nobody\"";

    fn read(text: &str) -> Result<Self, String> {
        choose(
            text,
            &[
                ("admin", Self::Admin),
                ("admin-and-sender", Self::AdminAndSender),
                ("nobody", Self::Nobody),
            ],
        )
    }
}

/// A section that may be there several times.
pub(super) const NETWORK: &str = "listener.network";
/// Another one.
pub(super) const SENDER: &str = "identity.sender";
/// All of them.
pub(super) const REPEATED: [&str; 2] = [NETWORK, SENDER];

/// Every section with its keys, in the order of the file, as serde knows them.
pub(super) fn sections() -> [(&'static str, &'static [&'static str]); 12] {
    [
        ("upstream", field_names::<Upstream>()),
        ("listener", without_sections(field_names::<Listener>())),
        (NETWORK, field_names::<Network>()),
        ("sendmail", field_names::<Sendmail>()),
        ("queue", field_names::<Queue>()),
        ("budget", field_names::<Budget>()),
        ("identity", without_sections(field_names::<Identity>())),
        (SENDER, field_names::<Sender>()),
        ("notices", field_names::<Notices>()),
        ("alert", field_names::<Alert>()),
        ("admin", field_names::<Admin>()),
        ("log", field_names::<Log>()),
    ]
}

/// Without the key of a list of sections: it is the last field, because those stand below the section's own
/// keys.
fn without_sections(keys: &'static [&'static str]) -> &'static [&'static str] {
    keys.split_last().map_or(keys, |(_, keys)| keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_sections_is_the_list_of_the_file() {
        let names: Vec<&str> = sections().iter().map(|(section, _)| *section).collect();
        let once: Vec<&str> =
            names.iter().copied().filter(|name| !REPEATED.contains(name)).collect();
        assert_eq!(once, field_names::<Raw>());
        let inner = REPEATED.map(|name| name.split_once('.').unwrap().1);
        let has_inner = |keys: &[&str]| keys.iter().any(|key| inner.contains(key));
        assert!(sections().iter().all(|(_, keys)| !keys.is_empty() && !has_inner(keys)));
        assert_eq!(field_names::<Listener>().last(), Some(&inner[0]));
        assert_eq!(field_names::<Identity>().last(), Some(&inner[1]));
    }
}
