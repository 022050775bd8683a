//! What one stranger has: an IPv4 address, or the 64 bits of an IPv6 address that a network is given.
//!
//! Rule: whatever is limited for one address of a stranger is limited for its site, or a single host with
//! IPv6 would have 2^64 times as much. Must not know what is limited.

use std::net::{IpAddr, Ipv6Addr};

/// The address that stands for all of a site.
pub(super) fn site(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}
