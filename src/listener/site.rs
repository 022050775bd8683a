//! The addresses of one client: an IPv4 address, the 64 bits of an IPv6 address that a network is given, or all of this host.
//!
//! Rule: whatever is limited for one address is limited for its site, or a single host would have 2^64 times as much
//! with IPv6, and a program of this host 2^24 times as much. Must not know what is limited.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that stands for all of a site.
pub(super) fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}
