//! The share of the internet that some networks hold together, however they are written and split.
//!
//! Rule: pure; private space may be trusted as a whole, public space only as far as one organisation can answer for its
//! hosts. Must not know what a network is trusted with.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::special_networks::{unrouted_v4, unrouted_v6};

/// Public IPv4 addresses that may be trusted in all: a /16, more than one organisation has nowadays.
const PUBLIC_V4_MAX: u128 = 1 << 16;
/// Public IPv6 addresses likewise: a /44, sixteen times what a site is given (RFC 6177).
const PUBLIC_V6_MAX: u128 = 1 << 84;

/// Networks of IPv6 that stand for all of IPv4, by which everybody may come, and what they are called.
const EMBEDDING: [(u128, u8, &str); 7] = [
    (0, 96, "IPv4-compatible addresses"),
    (0xffff << 32, 96, "IPv4-mapped addresses"),
    (0xffff << 48, 96, "IPv4-translated addresses"),
    (0x0064_ff9b << 96, 96, "NAT64"),
    (0x0064_ff9b_0001 << 80, 48, "local NAT64"),
    (0x2001_0000 << 96, 32, "Teredo"),
    (0x2002 << 112, 16, "6to4"),
];

/// First and last address.
type Span = (u128, u128);

/// The public addresses of some networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Public {
    v4: u128,
    v6: u128,
}

impl Public {
    /// Those of all of them together; an address that several hold counts once.
    pub(super) fn of<'a>(networks: impl IntoIterator<Item = &'a IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => v4.push(span_v4(network)),
                IpNet::V6(network) => v6.push(span_v6(network)),
            }
        }
        let unrouted_v4: Vec<Span> = unrouted_v4().map(|network| span_v4(&network)).collect();
        let unrouted_v6: Vec<Span> = unrouted_v6().map(|network| span_v6(&network)).collect();
        Self { v4: outside(merged(v4), &unrouted_v4), v6: outside(merged(v6), &unrouted_v6) }
    }

    /// Whether one organisation may answer for so many.
    pub(super) fn is_small(self) -> bool {
        self.v4 <= PUBLIC_V4_MAX && self.v6 <= PUBLIC_V6_MAX
    }
}

/// What stands for IPv4 addresses in this network, if something does. `::1` is a host.
pub(super) fn embedded_ipv4(network: &IpNet) -> Option<&'static str> {
    let IpNet::V6(network) = network else { return None };
    let (first, last) = span_v6(network);
    let holds =
        |(start, length): (u128, u8)| first <= start + host_bits(128 - length) && last >= start;
    let found = EMBEDDING.iter().find(|(start, length, _)| holds((*start, *length)));
    found.map(|(.., name)| *name).filter(|_| (first, last) != (1, 1))
}

fn span_v4(network: &Ipv4Net) -> Span {
    (network.network().to_bits().into(), network.broadcast().to_bits().into())
}

fn span_v6(network: &Ipv6Net) -> Span {
    (network.network().to_bits(), network.broadcast().to_bits())
}

/// The last host of a network of so many bits.
fn host_bits(bits: u8) -> u128 {
    1_u128.checked_shl(bits.into()).map_or(u128::MAX, |hosts| hosts - 1)
}

/// The same addresses in spans that do not touch.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for (first, last) in spans {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// How many addresses are in none of the excepted spans, which do not overlap.
fn outside(spans: Vec<Span>, excepted: &[Span]) -> u128 {
    let size = |(first, last): Span| (last - first).saturating_add(1);
    let common = |(first, last): Span| {
        let both = excepted.iter().map(|(start, end)| (first.max(*start), last.min(*end)));
        both.filter(|(first, last)| first <= last).map(size).fold(0, u128::saturating_add)
    };
    let public = spans.into_iter().map(|span| size(span).saturating_sub(common(span)));
    public.fold(0, u128::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn is_small(texts: &[&str]) -> bool {
        Public::of(&networks(texts)).is_small()
    }

    #[test]
    fn private_space_is_small_as_a_whole_and_public_space_up_to_an_organisation() {
        for texts in [
            &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10"][..],
            &["fc00::/7", "fe80::/10", "::1/128", "2001:db8::/32"],
            &["198.41.0.0/16"],
            &["198.41.0.0/17", "198.41.128.0/17", "198.41.0.0/16", "198.41.7.0/24"],
            &["2a00:1450::/44"],
            &["192.0.2.0/24", "8.8.8.8/32", "2a00:1450:4001::/48"],
            &[],
        ] {
            assert!(is_small(texts), "{texts:?}");
        }
    }

    #[test]
    fn the_internet_is_not_small_however_it_is_split() {
        for texts in [
            &["0.0.0.0/0"][..],
            &["::/0"],
            &["2000::/7"],
            &["11.0.0.0/8"],
            &["198.40.0.0/15"],
            &["198.41.0.0/16", "198.43.0.0/17"],
            &["8.0.0.0/7"],
            &["172.0.0.0/11"],
            &["2a00:1450::/43"],
            &["2a00:1450::/44", "2a00:1460::/48"],
        ] {
            assert!(!is_small(texts), "{texts:?}");
        }
        let split: Vec<_> = (0..=255).map(|number| format!("{number}.0.0.0/16")).collect();
        assert!(!is_small(&split.iter().map(String::as_str).collect::<Vec<_>>()));
        let all = networks(&["0.0.0.0/1", "128.0.0.0/1"]);
        assert_eq!(Public::of(&all), Public::of(&networks(&["0.0.0.0/0"])));
    }

    #[test]
    fn networks_that_stand_for_ipv4_are_known_whatever_their_size() {
        for (text, name) in [
            ("2002::/16", "6to4"),
            ("2002:c000:204::/48", "6to4"),
            ("2000::/3", "Teredo"),
            ("64:ff9b::/96", "NAT64"),
            ("64:ff9b::808:808/128", "NAT64"),
            ("64:ff9b:1::/48", "local NAT64"),
            ("2001::/32", "Teredo"),
            ("2001:0:1::/48", "Teredo"),
            ("::/96", "IPv4-compatible addresses"),
            ("::808:0/112", "IPv4-compatible addresses"),
            ("::/0", "IPv4-compatible addresses"),
            ("::ffff:0:0/96", "IPv4-mapped addresses"),
            ("::fffe:0:0/95", "IPv4-mapped addresses"),
            ("::ffff:0:0:0/96", "IPv4-translated addresses"),
        ] {
            assert_eq!(embedded_ipv4(&text.parse().unwrap()), Some(name), "{text}");
        }
        for text in ["::1/128", "fd00::/8", "2001:db8::/32", "2a00::/12", "10.0.0.0/8"] {
            assert_eq!(embedded_ipv4(&text.parse().unwrap()), None, "{text}");
        }
    }
}
