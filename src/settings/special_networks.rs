//! Networks that no packet of the internet comes from: the one list of them.
//!
//! Rule: of networks that may overlap no one is here twice, so that they can be counted. Must not know what anybody
//! thinks of their clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Networks of organisations (RFC 1918), of carriers and overlays such as Tailscale's (RFC 6598), and link-local ones
/// (RFC 3927), in which hosts are that may have mail for us.
const LOCAL_V4: [Ipv4Net; 5] = [
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
];
/// The same of IPv6: unique local (RFC 4193), link-local (RFC 4291), site-local (RFC 3879).
const LOCAL_V6: [Ipv6Net; 3] = [v6(0xfc00, 0, 7), v6(0xfe80, 0, 10), v6(0xfec0, 0, 10)];

/// This network and this host (RFC 1122), assignments of protocols (RFC 6890), documents (RFC 5737), benchmarks
/// (RFC 2544), multicast (RFC 5771) and what is reserved (RFC 1112).
const OTHER_V4: [Ipv4Net; 9] = [
    v4([0, 0, 0, 0], 8),
    v4([127, 0, 0, 0], 8),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];
/// This host (RFC 4291), documents (RFC 3849).
const OTHER_V6: [Ipv6Net; 2] =
    [Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), v6(0x2001, 0x0db8, 32)];
/// All of IPv6 that was ever given out (RFC 4291 section 2.4).
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 3);

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(first: u16, second: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), length)
}

/// Networks in which hosts are that may have mail for us, and which the internet has no route to.
pub(crate) fn local() -> impl Iterator<Item = IpNet> {
    LOCAL_V4.map(IpNet::V4).into_iter().chain(LOCAL_V6.map(IpNet::V6))
}

/// All of IPv4 that the internet has no route to.
pub(super) fn unrouted_v4() -> impl Iterator<Item = Ipv4Net> {
    LOCAL_V4.into_iter().chain(OTHER_V4)
}

/// Of IPv6 what is set apart for that; there is more that was never given out.
pub(super) fn unrouted_v6() -> impl Iterator<Item = Ipv6Net> {
    LOCAL_V6.into_iter().chain(OTHER_V6)
}

/// Whether hosts of the whole internet can have a route to the address. One of IPv4 in the notation of IPv6 is that.
#[must_use]
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !unrouted_v4().any(|network| network.contains(&address)),
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !unrouted_v6().any(|network| network.contains(&address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_is_what_the_internet_can_route_to() {
        for address in [
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.1",
            "169.253.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2a00:1450::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "10.0.0.1",
            "172.17.0.2",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "192.0.0.8",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "203.0.113.9",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:100.64.0.1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd7a:115c:a1e0::1",
            "ff02::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn no_network_is_in_the_lists_twice() {
        let all: Vec<IpNet> =
            unrouted_v4().map(IpNet::V4).chain(unrouted_v6().map(IpNet::V6)).collect();
        for (index, one) in all.iter().enumerate() {
            let twin =
                all.iter().enumerate().find(|(at, other)| *at != index && other.contains(one));
            assert_eq!(twin, None, "{one}");
        }
    }
}
