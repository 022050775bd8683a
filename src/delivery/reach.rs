//! The way to the upstream: DNS, TCP, and TLS from the first byte where that is asked for.
//!
//! Rule: the addresses of the name are tried in turn, IPv6 and IPv4 alternating, each within its own limit,
//! so that a broken family costs seconds. Trouble with DNS is always temporary. Must not know SMTP.

use std::net::{IpAddr, SocketAddr};

use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::client::TlsStream;

use super::{
    answer::Fault,
    names,
    options::{IpFamily, Options, Tls, Way},
    tls::{self, Trust},
    wire::Wire,
};

/// Addresses of one name that are tried; smtp.gmail.com has one or two of each family.
const ADDRESSES_MAX: usize = 8;

/// DNS, TCP and, for implicit TLS, the handshake.
pub(super) async fn reach(options: &Options, way: Way, trust: &Trust) -> Result<Wire, Fault> {
    if way.tls != Tls::Implicit {
        return Ok(Wire::plain(reach_any_address(options, way.port).await?, options.account));
    }
    let stream = reach_encrypted(options, way.port, trust).await?;
    Ok(Wire::encrypted(stream, options.account))
}

/// DNS, TCP and the handshake.
pub(super) async fn reach_encrypted(
    options: &Options,
    port: u16,
    trust: &Trust,
) -> Result<TlsStream<TcpStream>, Fault> {
    let stream = reach_any_address(options, port).await?;
    let connector = trust.connector().await?;
    let name = tls::server_name(&options.host)?;
    match timeout(options.limits.command, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(tls::handshake_fault(&options.host, &error)),
        Err(_) => Err(Fault::Lost("the TLS handshake took too long".into())),
    }
}

async fn reach_any_address(options: &Options, port: u16) -> Result<TcpStream, Fault> {
    let (host, limit) = (options.host.as_str(), options.limits.connect);
    let unreachable = Fault::Unreachable;
    let addresses = match timeout(limit, names::addresses(host, port)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(unreachable(format!("the name cannot be resolved: {error}"))),
        Err(_) => return Err(unreachable("the name server does not answer".into())),
    };
    let any = !addresses.is_empty();
    let addresses = in_turn(addresses, options.ip_family);
    if addresses.is_empty() && any {
        let words =
            format!("the name has no IPv{} address (upstream.ip_family)", options.ip_family.name());
        return Err(unreachable(words));
    }
    let mut failures = Vec::new();
    for address in addresses {
        failures.push(match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Commands and the ends of messages are small and waited for.
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            Ok(Err(error)) => format!("{error} ({address})"),
            Err(_) => format!("no answer within {} s ({address})", limit.as_secs_f32()),
        });
    }
    if failures.is_empty() {
        return Err(unreachable("the name has no address".into()));
    }
    Err(unreachable(failures.join(", ")))
}

/// The addresses to try: those of the family, the families alternating, the resolver's first one first.
fn in_turn(addresses: Vec<SocketAddr>, family: IpFamily) -> Vec<SocketAddr> {
    let suits = |address: &SocketAddr| match family {
        IpFamily::Any => true,
        IpFamily::V4 => is_v4(address.ip()),
        IpFamily::V6 => !is_v4(address.ip()),
    };
    let suitable: Vec<SocketAddr> = addresses.into_iter().filter(suits).collect();
    let Some(first) = suitable.first().map(|address| is_v4(address.ip())) else {
        return Vec::new();
    };
    let (preferred, rest): (Vec<_>, Vec<_>) =
        suitable.into_iter().partition(|address| is_v4(address.ip()) == first);
    let (mut preferred, mut rest) = (preferred.into_iter(), rest.into_iter());
    let mut turns = Vec::new();
    while turns.len() < ADDRESSES_MAX {
        let before = turns.len();
        turns.extend(preferred.next());
        turns.extend(rest.next());
        if turns.len() == before {
            break;
        }
    }
    turns.truncate(ADDRESSES_MAX);
    turns
}

fn is_v4(address: IpAddr) -> bool {
    matches!(address.to_canonical(), IpAddr::V4(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(addresses: &[&str], family: IpFamily) -> Vec<String> {
        let addresses = addresses.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 587));
        in_turn(addresses.collect(), family)
            .iter()
            .map(|address| address.ip().to_string())
            .collect()
    }

    #[test]
    fn the_families_take_turns_so_that_a_dead_one_costs_little() {
        let all = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"];
        let expected = ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"];
        assert_eq!(turns(&all, IpFamily::Any), expected);
        assert_eq!(turns(&all, IpFamily::V4), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(turns(&all, IpFamily::V6), ["2001:db8::1", "2001:db8::2", "2001:db8::3"]);
        assert!(turns(&["192.0.2.1"], IpFamily::V6).is_empty());
    }

    #[test]
    fn no_more_addresses_are_tried_than_one_would_wait_for() {
        let many: Vec<String> = (1..=30).map(|number| format!("192.0.2.{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(turns(&many, IpFamily::Any).len(), ADDRESSES_MAX);
    }
}
