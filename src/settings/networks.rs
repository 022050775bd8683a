//! `[[listener.network]]` and `trusted_networks`: what the clients of which network may do.
//!
//! Rule: no setting makes an open relay, no section is written in vain, and no password of a stranger travels in plain
//! text. Must not know how the listener uses what it is told.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    ops::RangeInclusive,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    document::{NETWORK, numbered},
    report::{Report, in_range},
    strangers::{Public, embedded_ipv4},
    value::{list, section, size_if_any, text, text_if_any, whole},
};
use crate::{
    listener::options,
    message::envelope::Lane,
    smtp::server::{Authentication, Policy},
};

const SECTION: &str = "listener";
/// What the limit for one message may be, of the listener and of a section.
pub(super) const MESSAGE_BYTES: RangeInclusive<u64> = 1024..=256 << 20;
/// Messages a minute that a limit may allow; a higher one limits nothing.
const MESSAGES_PER_MINUTE_MAX: u32 = 100_000;
/// What to do when TLS is asked for and there is no certificate.
pub(super) const CERTIFICATE_REMEDY: &str =
    "Set tls_certificate and tls_key under [listener] to the files of a certificate.";

section! {
    /// `[[listener.network]]`: what the clients of some networks may do.
    pub(super) struct Network {
        networks: Vec<IpNet> = Vec::new(), "list";
        trusted: bool = false, "bool::deserialize";
        /// As `[listener]` says; so are the next two.
        starttls: Option<bool> = None, "Option::deserialize";
        authentication: Option<Authentication> = None, "text_if_any";
        max_message_bytes: Option<u64> = None, "size_if_any";
        /// 0 means no limit.
        messages_per_minute: i64 = 0, "whole";
        lane: Lane = Lane::Normal, "text";
    }
}

/// What `[listener]` says of all networks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Protection {
    pub(super) has_certificate: bool,
    /// Whether STARTTLS is offered to clients whose network does not say.
    pub(super) starttls: bool,
    /// What clients hear whose network does not say.
    pub(super) authentication: Authentication,
    pub(super) max_message_bytes: u64,
    /// Clients of other hosts can connect.
    pub(super) is_exposed: bool,
    /// Some address is TLS from the first byte.
    pub(super) has_implicit_tls: bool,
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
        let encrypted = self.has_certificate && (starttls || self.has_implicit_tls);
        if known || encrypted || !self.is_exposed || !asks_for_password(authentication) {
            return;
        }
        let what = "passwords of clients that are not trusted would travel in plain text";
        let remedy = if self.has_certificate {
            "Offer STARTTLS to these clients, or add tls_addresses."
        } else {
            "Set tls_certificate and tls_key, or write authentication in a [[listener.network]] with \
             trusted = true."
        };
        report.add(section, "authentication", what, remedy);
    }

    /// What the clients of trusted networks may do that no section names.
    fn policy_of_trusted(&self) -> Policy {
        Policy {
            starttls: self.starttls,
            authentication: self.authentication,
            ..Policy::plain(true, self.max_message_bytes)
        }
    }

    /// What everybody else may do: nothing, unless they log in.
    pub(super) fn policy_of_strangers(&self) -> Policy {
        Policy {
            starttls: self.starttls,
            authentication: match self.authentication {
                // Any password will do only for who needs none.
                Authentication::AcceptAny => Authentication::Off,
                authentication => authentication,
            },
            ..Policy::plain(false, self.max_message_bytes)
        }
    }
}

/// Whether logins are compared with the users file.
pub(super) fn asks_for_password(authentication: Authentication) -> bool {
    matches!(authentication, Authentication::Optional | Authentication::Required)
}

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

/// The networks in the order in which they are tried: the sections, then `trusted_networks`, which are those of this
/// host when nothing is written.
pub(super) fn check(
    sections: &[Network],
    trusted_networks: Option<&[IpNet]>,
    protection: &Protection,
    report: &mut Report<'_>,
) -> Vec<options::Network> {
    let mut seen = Seen::default();
    let mut networks = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let place = Place { section: numbered(NETWORK, index), key: "networks" };
        networks.push(section.check(&place, protection, &mut seen, report));
    }
    let policy = protection.policy_of_trusted();
    if let Some(list) = trusted_networks {
        let place = Place { section: SECTION.into(), key: "trusted_networks" };
        check_list(list, &place, policy, &mut seen, report);
    }
    networks.push(options::Network {
        networks: trusted_networks.map_or_else(loopback_networks, <[IpNet]>::to_vec),
        policy,
        messages_per_minute: None,
        lane: Lane::Normal,
    });
    check_somebody_may(&networks, protection, report);
    networks
}

impl Network {
    /// What the section itself says.
    pub(super) fn authentication(&self) -> Option<Authentication> {
        self.authentication
    }

    fn check(
        &self,
        place: &Place,
        protection: &Protection,
        seen: &mut Seen,
        report: &mut Report<'_>,
    ) -> options::Network {
        let section = place.section.as_str();
        if self.networks.is_empty() {
            let what = "the section names no network, so it is for nobody";
            let remedy =
                "Add a line such as networks = [\"192.168.1.0/24\"], or remove the section.";
            report.add_lack(section, "networks", what, remedy);
        }
        let policy = self.policy(section, protection, report);
        check_list(&self.networks, place, policy, seen, report);
        let limit = 0..=MESSAGES_PER_MINUTE_MAX;
        let limit = in_range!(report.whole, section, self.messages_per_minute, limit);
        options::Network {
            networks: self.networks.clone(),
            policy,
            messages_per_minute: NonZeroU32::new(limit),
            lane: self.lane,
        }
    }

    fn policy(&self, name: &str, protection: &Protection, report: &mut Report<'_>) -> Policy {
        let starttls = self.starttls.unwrap_or(protection.starttls);
        if starttls && !protection.has_certificate {
            let what = "STARTTLS needs a certificate";
            report.add_lack(name, "starttls", what, CERTIFICATE_REMEDY);
        }
        let authentication = match self.authentication {
            Some(Authentication::AcceptAny) if !self.trusted => {
                let what =
                    "any password would open the relay to these clients, for they are not trusted";
                let remedy =
                    "Write trusted = true when you answer for all of them, else \"required\".";
                report.add(name, "authentication", what, remedy);
                Authentication::Off
            }
            Some(authentication) => authentication,
            None if self.trusted => protection.authentication,
            None => protection.policy_of_strangers().authentication,
        };
        // A section that only inherits is reported where its policy comes from.
        let says_starttls = self.starttls.is_some() && protection.has_certificate;
        if self.authentication.is_some() || says_starttls {
            let known = self.trusted && !hold_strangers(&self.networks);
            protection.check_passwords_are_private(name, known, starttls, authentication, report);
        }
        let octets = self.size(name, protection.max_message_bytes, report);
        Policy {
            starttls: starttls && protection.has_certificate,
            authentication,
            ..Policy::plain(self.trusted, octets)
        }
    }

    fn size(&self, name: &str, of_listener: u64, report: &mut Report<'_>) -> u64 {
        let key = "max_message_bytes";
        let octets = self.max_message_bytes.unwrap_or(of_listener);
        let octets = report.within(name, key, octets, of_listener, MESSAGE_BYTES);
        if octets > of_listener {
            let what =
                format!("{octets} octets are more than the listener takes, which is {of_listener}");
            let remedy = "Lower it, or raise max_message_bytes of [listener].";
            report.add(name, key, what, remedy);
        }
        octets
    }
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
fn check_somebody_may(
    networks: &[options::Network],
    protection: &Protection,
    report: &mut Report<'_>,
) {
    let passes = |network: &options::Network| {
        !network.networks.is_empty()
            && (network.policy.trusted || asks_for_password(network.policy.authentication))
    };
    if !networks.iter().any(passes) && !asks_for_password(protection.authentication) {
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
