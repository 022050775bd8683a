//! The checks of `[listener]`: where mail is taken, under which name, and how much.
//!
//! Rule: what the upstream or the queue will not take is refused at the door; who may come in is in
//! `networks.rs`, and what protects them in `protection.rs`. Must not know how the listener uses what it is told.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use super::{
    STOP_WAIT,
    hostname::Host,
    networks, protection,
    raw::Listener,
    recipients,
    report::{Key, Report, set},
    value::{List, shown},
};
use crate::{
    aliases_file::AliasesFile,
    listener::{self, options::Endpoint},
    smtp::session,
};

const SECTION: &str = "listener";
/// What Gmail advertises with SIZE; a larger message would be taken from the client only to fail.
const GMAIL_MESSAGE_BYTES_MAX: u64 = 35_882_577;
/// Leaves 10,577 octets of Gmail's limit for the fields we add.
const MESSAGE_BYTES_DEFAULT: u64 = 35_872_000;

pub(super) fn check(
    raw: &Listener,
    hostname: &str,
    recipients: &Arc<AliasesFile>,
    report: &mut Report<'_>,
) -> listener::Options {
    let max_message_bytes = Key {
        section: SECTION,
        key: "max_message_bytes",
        default: MESSAGE_BYTES_DEFAULT,
        range: 1024..=256 << 20,
    };
    let max_recipients =
        Key { section: SECTION, key: "max_recipients", default: 1_000, range: 1..=1000 };
    let max_connections =
        Key { section: SECTION, key: "max_connections", default: 200, range: 1..=10_000 };
    let per_client =
        Key { section: SECTION, key: "max_connections_per_client", default: 50, range: 1..=10_000 };
    let max_connections = report.whole(max_connections, raw.max_connections) as usize;
    let octets = report.size(max_message_bytes, raw.max_message_bytes);
    let addresses = endpoints(raw, report);
    let protection = protection::check(raw, &addresses, report);
    listener::Options {
        addresses,
        networks: networks::check(raw, &protection, octets, report),
        default_policy: networks::default_policy(&protection, octets),
        tls: protection.tls,
        users_file: protection.users_file,
        max_connections,
        max_connections_per_client: report.whole(per_client, raw.max_connections_per_client)
            as usize,
        local: listener::options::Local::default(),
        drain: STOP_WAIT,
        limits: listener::options::Limits::default(),
        session: session::Options {
            hostname: hostname.to_owned(),
            max_message_bytes: octets,
            max_recipients: report.whole(max_recipients, raw.max_recipients) as usize,
            local_recipients: recipients::are_read(recipients),
        },
        recipients: Arc::clone(recipients),
    }
}

/// Refuses to take what the upstream will not.
pub(super) fn check_against_upstream(
    listener: &listener::Options,
    upstream: &str,
    report: &mut Report<'_>,
) {
    let octets = listener.session.max_message_bytes;
    if super::upstream::is_gmail(upstream) && octets > GMAIL_MESSAGE_BYTES_MAX {
        let what = format!("Gmail takes at most {GMAIL_MESSAGE_BYTES_MAX} octets, not {octets}");
        report.add(SECTION, "max_message_bytes", what, "Lower it, or remove the line.");
    }
}

/// The three lists of addresses, in the order of the file.
fn endpoints(raw: &Listener, report: &mut Report<'_>) -> Vec<Endpoint> {
    let lists = [
        ("addresses", &raw.addresses, false, false),
        ("tls_addresses", &raw.tls_addresses, true, false),
        ("proxy_addresses", &raw.proxy_addresses, false, true),
    ];
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut keys: Vec<&str> = Vec::new();
    for (key, list, implicit_tls, proxy) in lists {
        let written = list.as_ref().map(|List(list)| list.clone());
        let default = if key == "addresses" { default_addresses() } else { Vec::new() };
        for address in written.unwrap_or(default) {
            // Port 0 stands for any free port, of which there are many.
            let twice =
                endpoints.iter().position(|other| address.port() != 0 && other.address == address);
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
        report.add(
            SECTION,
            "addresses",
            "the list is empty",
            "Write at least one, such as \"127.0.0.1:2525\".",
        );
    }
    endpoints
}

fn default_addresses() -> Vec<SocketAddr> {
    vec![
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 25),
        SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 25),
    ]
}

/// Our name.
pub(super) fn hostname(raw: &Listener, this_host: &Host, report: &mut Report<'_>) -> String {
    let Some(name) = set(raw.hostname.as_ref()) else { return this_host.fully_qualified_name() };
    let acceptable = name.len() <= 253
        && name.split('.').all(|label| !label.is_empty())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !acceptable {
        let what = format!("{} is no host name", shown(name));
        report.add(
            SECTION,
            "hostname",
            what,
            "Write a name such as \"relay.example.org\", or remove the line.",
        );
    }
    name.to_owned()
}
