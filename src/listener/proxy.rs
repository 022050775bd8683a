//! The PROXY protocol, version 2: a proxy in front of us names the client it brings.
//!
//! Rule: an address with `proxy` in its configuration takes connections with a header and no others, and
//! whoever can reach it is believed; so it must be reachable by proxies only. Must not know what the
//! client wants.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use thiserror::Error;
use tokio::net::TcpStream;

use super::stream::read_exact;
use crate::clock::Clock;

/// How long a proxy may take for the header, which it sends at once.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Octets behind the first sixteen: addresses, and what a proxy tells of its own TLS connection.
const REST_BYTES_MAX: usize = 2048;

const HEAD_BYTES: usize = 16;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Two addresses and two ports.
const IPV4_BYTES: usize = 12;
const IPV6_BYTES: usize = 36;

/// Whom a connection is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The client that the proxy named.
    Client(IpAddr),
    /// The proxy itself (LOCAL: it looks whether we live), or somebody it does not know (UNSPEC).
    /// Nobody of the kind is trusted.
    Proxy,
}

/// Why a header is not believed.
#[derive(Debug, Error)]
pub(super) enum ProxyError {
    #[error(
        "no PROXY header, version 2, at the beginning; only proxies may connect to this address"
    )]
    NoHeader,
    #[error("version {0} of the PROXY protocol; only version 2 is spoken here")]
    Version(u8),
    #[error("unknown command {0} in the PROXY header")]
    Command(u8),
    #[error("protocol {0:#04x} in the PROXY header; only TCP over IPv4 and IPv6 brings SMTP")]
    Protocol(u8),
    #[error("{0} octets in the PROXY header do not hold its addresses")]
    Short(usize),
    #[error("{0} octets in the PROXY header; at most {REST_BYTES_MAX} are read")]
    Long(usize),
    #[error("the PROXY header did not come in time")]
    TimedOut,
    #[error("connection lost within the PROXY header: {0}")]
    Lost(#[from] io::Error),
}

/// The first sixteen octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// LOCAL, as opposed to PROXY.
    local: bool,
    protocol: u8,
    /// Octets that follow.
    rest_bytes: usize,
}

/// Reads the header, and not one octet more: what follows is the client's.
pub(super) async fn read(socket: &mut TcpStream, clock: &dyn Clock) -> Result<Source, ProxyError> {
    let reading = async {
        let mut head = [0; HEAD_BYTES];
        read_exact(socket, &mut head).await?;
        let head = Head::of(&head)?;
        let mut rest = vec![0; head.rest_bytes];
        read_exact(socket, &mut rest).await?;
        head.source(&rest)
    };
    tokio::select! {
        biased;
        outcome = reading => outcome,
        () = clock.sleep(HEADER_TIMEOUT) => Err(ProxyError::TimedOut),
    }
}

impl Head {
    fn of(bytes: &[u8; HEAD_BYTES]) -> Result<Self, ProxyError> {
        let [signature @ .., version_and_command, protocol, high, low] = bytes;
        if signature != SIGNATURE {
            return Err(ProxyError::NoHeader);
        }
        let local = match (version_and_command >> 4, version_and_command & 0x0f) {
            (2, 0) => true,
            (2, 1) => false,
            (2, command) => return Err(ProxyError::Command(command)),
            (version, _) => return Err(ProxyError::Version(version)),
        };
        let rest_bytes = usize::from(u16::from_be_bytes([*high, *low]));
        if rest_bytes > REST_BYTES_MAX {
            return Err(ProxyError::Long(rest_bytes));
        }
        Ok(Self { local, protocol: *protocol, rest_bytes })
    }

    /// The client's address is the first in the rest; what follows the addresses is skipped.
    fn source(self, rest: &[u8]) -> Result<Source, ProxyError> {
        let short = ProxyError::Short(rest.len());
        match (self.local, self.protocol) {
            (true, _) | (_, 0x00) => Ok(Source::Proxy),
            (_, 0x11) => match rest.first_chunk::<4>() {
                Some(octets) if rest.len() >= IPV4_BYTES => {
                    Ok(Source::Client(Ipv4Addr::from(*octets).into()))
                }
                _ => Err(short),
            },
            (_, 0x21) => match rest.first_chunk::<16>() {
                Some(octets) if rest.len() >= IPV6_BYTES => {
                    Ok(Source::Client(IpAddr::from(Ipv6Addr::from(*octets)).to_canonical()))
                }
                _ => Err(short),
            },
            (_, protocol) => Err(ProxyError::Protocol(protocol)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_and_command: u8, protocol: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, protocol], &length, rest].concat()
    }

    fn parse(bytes: &[u8]) -> Result<Source, ProxyError> {
        let (head, rest) = bytes.split_at(HEAD_BYTES);
        Head::of(head.try_into().unwrap())?.source(rest)
    }

    const IPV4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 25];

    #[test]
    fn the_client_is_the_source_of_tcp_over_either_family_whatever_else_is_told() {
        let client = |text: &str| Source::Client(text.parse().unwrap());
        assert_eq!(parse(&header(0x21, 0x11, &IPV4)).unwrap(), client("192.0.2.7"));
        let with_more = [&IPV4[..], &[0x05, 0, 3, 1, 2, 3]].concat();
        assert_eq!(parse(&header(0x21, 0x11, &with_more)).unwrap(), client("192.0.2.7"));
        let mut rest = [0; IPV6_BYTES];
        rest[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(parse(&header(0x21, 0x21, &rest)).unwrap(), client("2001:db8::7"));
        rest[..16].copy_from_slice(&Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().octets());
        assert_eq!(parse(&header(0x21, 0x21, &rest)).unwrap(), client("192.0.2.7"));
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_or_for_nobody_names_no_client() {
        assert_eq!(parse(&header(0x20, 0x00, &[])).unwrap(), Source::Proxy);
        assert_eq!(
            parse(&header(0x20, 0x11, &IPV4)).unwrap(),
            Source::Proxy,
            "LOCAL counts, not the address"
        );
        assert_eq!(parse(&header(0x21, 0x00, &[1, 2, 3])).unwrap(), Source::Proxy);
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let long = vec![0; REST_BYTES_MAX + 1];
        for (bytes, reason) in [
            (b"EHLO client.example.org\r\n".to_vec(), "no PROXY header"),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 25\r\n".to_vec(), "no PROXY header"),
            (header(0x11, 0x11, &IPV4), "version 1"),
            (header(0x22, 0x11, &IPV4), "unknown command 2"),
            (header(0x21, 0x12, &IPV4), "protocol 0x12"),
            (header(0x21, 0x31, &[0; 216]), "protocol 0x31"),
            (header(0x21, 0x11, &IPV4[..11]), "11 octets"),
            (header(0x21, 0x21, &IPV4), "12 octets"),
            (header(0x21, 0x11, &long), "at most 2048"),
        ] {
            let text = parse(&bytes).unwrap_err().to_string();
            assert!(text.contains(reason), "expected {reason:?} in {text:?}");
        }
    }
}
