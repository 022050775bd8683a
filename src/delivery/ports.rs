//! The ports of an upstream, and whether they can be connected to from here, over each family of addresses.
//!
//! Rule: connections alone, all at once and each within one limit; nothing is said on them. Must not know SMTP.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use super::{
    names,
    options::{API_HOST, Tls, Way},
};
use crate::clock::Stopwatch;

/// The two ways of submission (RFC 8314 section 3.3, RFC 6409).
pub(crate) const SUBMISSION: [Way; 2] =
    [Way { port: 465, tls: Tls::Implicit }, Way { port: 587, tls: Tls::Starttls }];
/// The port of HTTPS.
const HTTPS: u16 = 443;
/// Addresses of each family that are tried.
const ADDRESSES_MAX: usize = 2;

/// One connection that was tried.
#[derive(Debug)]
pub(crate) struct Tried {
    /// Where to.
    pub(crate) address: SocketAddr,
    /// How long it took.
    pub(crate) took: Duration,
    /// Why there is none.
    pub(crate) failure: Option<io::Error>,
}

impl Tried {
    /// Whether it is over IPv4.
    pub(crate) fn is_v4(&self) -> bool {
        is_v4(&self.address)
    }
}

/// The other of the usual two ports.
pub(crate) fn other_of_submission(port: u16) -> Option<Way> {
    let is_usual = SUBMISSION.iter().any(|way| way.port == port);
    SUBMISSION.into_iter().find(|way| is_usual && way.port != port)
}

/// The first addresses of IPv4, and those of IPv6.
pub(crate) fn of_families(addresses: &[SocketAddr]) -> [Vec<SocketAddr>; 2] {
    [true, false].map(|v4| {
        let of_family = addresses.iter().filter(|address| is_v4(address) == v4);
        of_family.take(ADDRESSES_MAX).copied().collect()
    })
}

fn is_v4(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_ipv4()
}

/// Tries each of these ports at each of these addresses. In the order of the ports, then of the addresses.
pub(crate) async fn try_all(
    ports: &[u16],
    addresses: &[SocketAddr],
    limit: Duration,
) -> Vec<Tried> {
    let mut tasks = JoinSet::new();
    for port in ports {
        for address in addresses {
            tasks.spawn(connect(SocketAddr::new(address.ip(), *port), limit));
        }
    }
    let mut tried = tasks.join_all().await;
    let place = |port: u16| ports.iter().position(|one| *one == port);
    tried.sort_by_key(|one| (place(one.address.port()), one.address));
    tried
}

async fn connect(address: SocketAddr, limit: Duration) -> Tried {
    let watch = Stopwatch::start();
    let failure = match timeout(limit, TcpStream::connect(address)).await {
        Ok(connected) => connected.err(),
        Err(_) => Some(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} s", limit.as_secs()),
        )),
    };
    Tried { address, took: watch.elapsed(), failure }
}

/// Whether the Gmail API can be connected to from here.
pub(crate) async fn https_is_open(limit: Duration) -> bool {
    let look = async {
        let addresses = names::addresses(API_HOST, HTTPS).await.unwrap_or_default();
        for address in addresses {
            if TcpStream::connect(address).await.is_ok() {
                return true;
            }
        }
        false
    };
    timeout(limit, look).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_addresses_of_each_family_are_tried_and_the_other_port_of_submission() {
        let text = ["[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"];
        let addresses = text.map(|text| text.parse().unwrap());
        let [v4, v6] = of_families(&addresses);
        assert_eq!((&v4[..], &v6[..]), (&addresses[1..3], &addresses[..1]));
        let other = |port| other_of_submission(port).map(|way| way.port);
        assert_eq!([465, 587, 25].map(other), [Some(587), Some(465), None]);
    }

    #[tokio::test]
    async fn an_open_port_is_told_from_a_closed_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let closed = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let tried = try_all(&[closed, open.port()], &[open], Duration::from_secs(5)).await;
        let seen: Vec<_> =
            tried.iter().map(|one| (one.address.port(), one.failure.is_none())).collect();
        assert_eq!(seen, [(closed, false), (open.port(), true)]);
    }
}
