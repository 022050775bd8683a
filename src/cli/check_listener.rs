//! The part of `pillarbox check` that shows the listener: addresses, TLS, logins, and what each network may do.
//!
//! Rule: it shows and judges nothing. Must not know how the listener uses its files.

use std::io;

use serde_json::{Value, json};

use super::screen::{self, Screen, count, labelled};
use crate::{
    listener::{
        Options,
        bind::takes_ipv4,
        options::{Endpoint, Network},
    },
    message::envelope::Lane,
    smtp::server::{Authentication, Policy},
};

/// Prints what would be used.
pub(super) fn print(out: &mut dyn Screen, listener: &Options) -> io::Result<()> {
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
