//! The checks of `[listener]`: who may hand mail over, where, and how much.
//!
//! Rule: no setting makes an open relay. Must not know how the listener uses what it is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    STOP_WAIT,
    hostname::Host,
    raw::Listener,
    report::{Key, Report, set},
};
use crate::{
    listener::{self, options::Network},
    message::envelope::Lane,
    smtp::session::{self, Policy},
};

const SECTION: &str = "listener";
/// The largest private IPv4 network is 10.0.0.0/8 (RFC 1918); anything wider holds strangers.
const PREFIX_LENGTH_MIN_V4: u8 = 8;
/// The unique local IPv6 addresses are fc00::/7 (RFC 4193).
const PREFIX_LENGTH_MIN_V6: u8 = 7;
/// What Gmail advertises with SIZE; a larger message would be taken from the client only to fail.
const GMAIL_MESSAGE_BYTES_MAX: u64 = 35_882_577;
/// Leaves 10,577 octets of Gmail's limit for the fields we add.
const MESSAGE_BYTES_DEFAULT: u64 = 35_872_000;

pub(super) fn check(
    raw: &Listener,
    this_host: &Host,
    local_recipients: bool,
    report: &mut Report<'_>,
) -> listener::Options {
    let max_message_bytes = Key {
        section: SECTION,
        key: "max_message_bytes",
        default: MESSAGE_BYTES_DEFAULT,
        range: 1024..=256 << 20,
    };
    let max_recipients = Key { section: SECTION, key: "max_recipients", default: 100, range: 1..=1000 };
    let max_connections = Key { section: SECTION, key: "max_connections", default: 200, range: 1..=10_000 };
    let per_client =
        Key { section: SECTION, key: "max_connections_per_client", default: 50, range: 1..=10_000 };
    let max_connections = report.whole(max_connections, raw.max_connections) as usize;
    let octets = report.size(max_message_bytes, raw.max_message_bytes);
    listener::Options {
        addresses: addresses(raw, report).into_iter().map(Into::into).collect(),
        networks: vec![Network {
            networks: trusted_networks(raw, report),
            policy: Policy::plain(true, octets),
            messages_per_minute: None,
            lane: Lane::Normal,
        }],
        default_policy: Policy::plain(false, octets),
        tls: None,
        users_file: None,
        max_connections,
        max_connections_per_client: report.whole(per_client, raw.max_connections_per_client) as usize,
        drain: STOP_WAIT,
        limits: listener::options::Limits::default(),
        session: session::Options {
            hostname: hostname(raw, this_host, report),
            max_message_bytes: octets,
            max_recipients: report.whole(max_recipients, raw.max_recipients) as usize,
            local_recipients,
        },
    }
}

/// Refuses to take what the upstream will not.
pub(super) fn check_against_upstream(listener: &listener::Options, upstream: &str, report: &mut Report<'_>) {
    let octets = listener.session.max_message_bytes;
    if upstream.ends_with(".gmail.com") && octets > GMAIL_MESSAGE_BYTES_MAX {
        let what = format!("Gmail takes at most {GMAIL_MESSAGE_BYTES_MAX} octets, not {octets}");
        report.add(SECTION, "max_message_bytes", what, "Lower it, or remove the line.");
    }
}

fn addresses(raw: &Listener, report: &mut Report<'_>) -> Vec<SocketAddr> {
    let Some(list) = &raw.addresses else {
        return vec![
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 25),
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 25),
        ];
    };
    if list.0.is_empty() {
        report.add(
            SECTION,
            "addresses",
            "the list is empty",
            "Write at least one, such as \"127.0.0.1:2525\".",
        );
    }
    let twice = list
        .0
        .iter()
        .enumerate()
        .find(|(index, address)| address.port() != 0 && list.0[..*index].contains(address));
    if let Some((_, address)) = twice {
        report.add(SECTION, "addresses", format!("{address} is there twice"), "Remove one of the two.");
    }
    list.0.clone()
}

fn trusted_networks(raw: &Listener, report: &mut Report<'_>) -> Vec<IpNet> {
    let Some(list) = &raw.trusted_networks else { return loopback_networks() };
    if list.0.is_empty() {
        let remedy = "Remove the line to trust this host, or name the networks of your clients.";
        report.add(SECTION, "trusted_networks", "the list is empty, so nobody could hand mail over", remedy);
    }
    for network in &list.0 {
        let too_wide = match network {
            IpNet::V4(network) => network.prefix_len() < PREFIX_LENGTH_MIN_V4,
            IpNet::V6(network) => network.prefix_len() < PREFIX_LENGTH_MIN_V6,
        };
        if too_wide {
            let what =
                format!("trusting {network} would make an open relay: anybody could send as your account");
            let remedy = "Name only networks whose every host you answer for, such as \"192.168.1.0/24\".";
            report.add(SECTION, "trusted_networks", what, remedy);
        }
        if let IpAddr::V6(address) = network.addr()
            && address.to_ipv4_mapped().is_some()
        {
            let what = format!("{network} is an IPv4 network in IPv6 notation");
            report.add(SECTION, "trusted_networks", what, "Write it as IPv4, such as \"192.168.1.0/24\".");
        }
    }
    list.0.clone()
}

fn loopback_networks() -> Vec<IpNet> {
    let v4 = Ipv4Net::new(Ipv4Addr::new(127, 0, 0, 0), 8).map(IpNet::V4);
    let v6 = Ipv6Net::new(Ipv6Addr::LOCALHOST, 128).map(IpNet::V6);
    v4.into_iter().chain(v6).collect()
}

fn hostname(raw: &Listener, this_host: &Host, report: &mut Report<'_>) -> String {
    let Some(name) = set(raw.hostname.as_ref()) else { return this_host.fully_qualified_name() };
    let acceptable = name.len() <= 253
        && name.split('.').all(|label| !label.is_empty())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !acceptable {
        let what = format!("{name:?} is no host name");
        report.add(
            SECTION,
            "hostname",
            what,
            "Write a name such as \"relay.example.org\", or remove the line.",
        );
    }
    name.to_owned()
}
