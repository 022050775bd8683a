//! The checks of `[[listener.network]]` and `trusted_networks`: what the clients of which network may do.
//!
//! Rule: no setting makes an open relay, and no section is written in vain. Must not know how the listener
//! uses what it is told.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    document::numbered,
    protection::{self, Protection},
    raw::{self, Listener, NETWORK},
    report::{Key, Report},
    strangers::{Public, embedded_ipv4},
    value::{List, Parsed, Size},
};
use crate::{
    listener::options::Network,
    message::envelope::Lane,
    smtp::session::{Authentication, Policy},
};

const SECTION: &str = "listener";
/// Messages a minute that a limit may allow; a higher one limits nothing.
const MESSAGES_PER_MINUTE_MAX: u32 = 100_000;

/// Where a network is written.
#[derive(Clone, Debug)]
struct Place {
    section: String,
    key: &'static str,
}

/// What is written before a network.
#[derive(Debug, Default)]
struct Seen {
    networks: Vec<(IpNet, Place)>,
    /// Those that are trusted, of all sections: what is harmless for itself may be the internet with the others.
    trusted: Vec<IpNet>,
}

impl Seen {
    /// Adds a network that is trusted; or says why it is not to be. Each is judged with those before it, so that the
    /// one that goes too far is named, once.
    fn trust(&mut self, network: &IpNet, policy: Policy) -> Option<(String, &'static str)> {
        if is_ipv4_mapped(network) {
            return None;
        }
        if !Public::of([network]).is_small() {
            return Some(strangers_trusted(network, policy));
        }
        if let Some(name) = embedded_ipv4(network) {
            let what =
                format!("{network} holds {name}: any host of the internet could seem to be in it");
            return Some((what, "Name the networks of your clients themselves."));
        }
        self.trusted.push(*network);
        if Public::of(&self.trusted).is_small() {
            return None;
        }
        self.trusted.pop();
        let what = format!(
            "with {network} the trusted networks of all sections hold more of the internet than one organisation has"
        );
        Some((what, "Name only networks whose every host you answer for, or let clients log in."))
    }
}

/// The networks in the order in which they are tried: the sections, then `trusted_networks`.
pub(super) fn check(
    raw: &Listener,
    protection: &Protection,
    max_message_bytes: u64,
    report: &mut Report<'_>,
) -> Vec<Network> {
    let mut seen = Seen::default();
    let mut networks = Vec::new();
    for (index, section) in raw.network.0.iter().enumerate() {
        let place = Place { section: numbered(NETWORK, index), key: "networks" };
        let list = list_of(section);
        if list.is_empty() {
            let remedy =
                "Add a line such as networks = [\"192.168.1.0/24\"], or remove the section.";
            report.add_lack(
                &place.section,
                "networks",
                "the section names no network, so it is for nobody",
                remedy,
            );
        }
        let policy = policy(section, &place.section, protection, max_message_bytes, report);
        check_list(list, &place, policy, &mut seen, report);
        networks.push(Network {
            networks: list.to_owned(),
            policy,
            messages_per_minute: messages_per_minute(section, &place.section, report),
            lane: section.lane.as_ref().map_or(Lane::Normal, |Parsed(lane)| *lane),
        });
    }
    let trusted = Policy {
        starttls: protection.starttls,
        authentication: protection.authentication,
        ..Policy::plain(true, max_message_bytes)
    };
    let list = match &raw.trusted_networks {
        None => loopback_networks(),
        Some(List(list)) => {
            let place = Place { section: SECTION.into(), key: "trusted_networks" };
            check_list(list, &place, trusted, &mut seen, report);
            list.clone()
        }
    };
    networks.push(Network {
        networks: list,
        policy: trusted,
        messages_per_minute: None,
        lane: Lane::Normal,
    });
    check_somebody_may(&networks, protection, report);
    networks
}

/// What everybody else may do: nothing, unless they log in.
pub(super) fn default_policy(protection: &Protection, max_message_bytes: u64) -> Policy {
    Policy {
        starttls: protection.starttls,
        authentication: match protection.authentication {
            // Any password will do only for who needs none.
            Authentication::AcceptAny => Authentication::Off,
            authentication => authentication,
        },
        ..Policy::plain(false, max_message_bytes)
    }
}

fn list_of(section: &raw::Network) -> &[IpNet] {
    section.networks.as_ref().map_or(&[], |List(list)| list)
}

fn policy(
    section: &raw::Network,
    name: &str,
    protection: &Protection,
    max_message_bytes: u64,
    report: &mut Report<'_>,
) -> Policy {
    let trusted = section.trusted.unwrap_or(false);
    let starttls = section.starttls.unwrap_or(protection.starttls);
    if starttls && protection.tls.is_none() {
        report.add_lack(
            name,
            "starttls",
            "STARTTLS needs a certificate",
            protection::CERTIFICATE_REMEDY,
        );
    }
    let written = section.authentication.as_ref().map(|Parsed(authentication)| *authentication);
    let authentication = match written {
        Some(Authentication::AcceptAny) if !trusted => {
            let what =
                "any password would open the relay to these clients, for they are not trusted";
            let remedy = "Write trusted = true when you answer for all of them, else \"required\".";
            report.add(name, "authentication", what, remedy);
            Authentication::Off
        }
        Some(authentication) => authentication,
        None if trusted => protection.authentication,
        None => default_policy(protection, max_message_bytes).authentication,
    };
    // A section that only inherits is reported where its policy comes from.
    if written.is_some() || (section.starttls.is_some() && protection.tls.is_some()) {
        let known = trusted && !hold_strangers(list_of(section));
        protection.check_passwords_are_private(name, known, starttls, authentication, report);
    }
    Policy {
        trusted,
        starttls: starttls && protection.tls.is_some(),
        authentication,
        max_message_bytes: section_size(section.max_message_bytes, name, max_message_bytes, report),
    }
}

fn section_size(
    written: Option<Size>,
    name: &str,
    of_listener: u64,
    report: &mut Report<'_>,
) -> u64 {
    let key = Key {
        section: name,
        key: "max_message_bytes",
        default: of_listener,
        range: 1024..=256 << 20,
    };
    let octets = report.size(key, written);
    if octets > of_listener {
        let what =
            format!("{octets} octets are more than the listener takes, which is {of_listener}");
        report.add(
            name,
            "max_message_bytes",
            what,
            "Lower it, or raise max_message_bytes of [listener].",
        );
    }
    octets
}

fn messages_per_minute(
    section: &raw::Network,
    name: &str,
    report: &mut Report<'_>,
) -> Option<NonZeroU32> {
    let key = Key {
        section: name,
        key: "messages_per_minute",
        default: 0,
        range: 0..=MESSAGES_PER_MINUTE_MAX,
    };
    NonZeroU32::new(report.whole(key, section.messages_per_minute))
}

/// Refuses networks that would open the relay, and those that can never count.
fn check_list(
    list: &[IpNet],
    place: &Place,
    policy: Policy,
    seen: &mut Seen,
    report: &mut Report<'_>,
) {
    let earlier = seen.networks.len();
    for network in list {
        if policy.trusted
            && let Some((what, remedy)) = seen.trust(network, policy)
        {
            report.add(&place.section, place.key, what, remedy);
        }
        if is_ipv4_mapped(network) {
            let what = format!("{network} is an IPv4 network in IPv6 notation");
            report.add(
                &place.section,
                place.key,
                what,
                "Write it as IPv4, such as \"192.168.1.0/24\".",
            );
        }
        if let Some((by, first)) =
            seen.networks[..earlier].iter().find(|(wider, _)| wider.contains(network))
        {
            let whereabouts = report.whereabouts(&first.section, first.key);
            let what = match by == network {
                true => format!("{network} has its policy already, in {whereabouts}"),
                false => {
                    format!(
                        "{network} is never reached: {by} in {whereabouts} holds it and comes first"
                    )
                }
            };
            let remedy = "The first section that holds a client counts; write the smaller network first, \
                          or remove one of the two.";
            report.add(&place.section, place.key, what, remedy);
        }
        seen.networks.push((*network, place.clone()));
    }
}

/// Why strangers are not trusted, not even when they must log in: a trusted client may do so in plain text,
/// and is met with patience that no stranger should have.
fn strangers_trusted(network: &IpNet, policy: Policy) -> (String, &'static str) {
    if policy.authentication == Authentication::Required {
        let what = format!("{network} holds strangers, and trusted clients may log in without TLS");
        return (
            what,
            "Leave trust out: with authentication everybody who logs in may send, from anywhere.",
        );
    }
    let what =
        format!("trusting {network} would make an open relay: anybody could send as your account");
    (what, "Name only networks whose every host you answer for, such as \"192.168.1.0/24\".")
}

/// Whether it is a network of IPv4 in the notation of IPv6, which no client is ever in: addresses are judged as IPv4.
fn is_ipv4_mapped(network: &IpNet) -> bool {
    matches!(network.addr(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

/// Whether strangers come from these networks, or may seem to.
fn hold_strangers(list: &[IpNet]) -> bool {
    !Public::of(list).is_small() || list.iter().any(|network| embedded_ipv4(network).is_some())
}

/// Refuses a door that nobody can pass.
fn check_somebody_may(networks: &[Network], protection: &Protection, report: &mut Report<'_>) {
    let by_login = |authentication| {
        matches!(authentication, Authentication::Optional | Authentication::Required)
    };
    let passes = |network: &Network| {
        !network.networks.is_empty()
            && (network.policy.trusted || by_login(network.policy.authentication))
    };
    if !networks.iter().any(passes) && !by_login(protection.authentication) {
        let remedy = "Remove the line to trust this host, or name the networks of your clients.";
        report.add(
            SECTION,
            "trusted_networks",
            "the list is empty, so nobody could hand mail over",
            remedy,
        );
    }
}

fn loopback_networks() -> Vec<IpNet> {
    let v4 = Ipv4Net::new(Ipv4Addr::new(127, 0, 0, 0), 8).map(IpNet::V4);
    let v6 = Ipv6Net::new(Ipv6Addr::LOCALHOST, 128).map(IpNet::V6);
    v4.into_iter().chain(v6).collect()
}
