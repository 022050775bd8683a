//! The way to the upstream: DNS, TCP, and TLS from the first byte where that is asked for.
//!
//! Rule: every address of the name is tried in turn, each within its own limit. Must not know SMTP.

use std::net::SocketAddr;

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    answer::Fault,
    guard::{self, Guard, Handle},
    options::{Options, Tls},
    tls::{self, Trust},
};

/// DNS, TCP and, for implicit TLS, the handshake. Every address is tried in turn.
pub(super) async fn reach(options: &Options, trust: &Trust) -> Result<(Guard, Handle), Fault> {
    let limits = &options.limits;
    let (stream, peer) = reach_any_address(options).await?;
    // Commands and the ends of messages are small and waited for.
    drop(stream.set_nodelay(true));
    if options.tls != Tls::Implicit {
        return Ok(guard::plain(stream, peer, limits.command, limits.quit));
    }
    let connector = trust.connector().await?;
    let name = tls::server_name(&options.host)?;
    match timeout(limits.command, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(guard::encrypted(stream, peer, limits.command, limits.quit)),
        Ok(Err(error)) => Err(tls::handshake_fault(&error)),
        Err(_) => Err(Fault::Lost("the TLS handshake took too long".into())),
    }
}

async fn reach_any_address(options: &Options) -> Result<(TcpStream, SocketAddr), Fault> {
    let (host, port, limit) = (options.host.as_str(), options.port, options.limits.connect);
    let unreachable = Fault::Unreachable;
    let addresses = match timeout(limit, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(unreachable(format!("the name cannot be resolved: {error}"))),
        Err(_) => return Err(unreachable("the name server does not answer".into())),
    };
    let mut failure = unreachable("the name has no address".into());
    for address in addresses {
        failure = match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => unreachable(format!("{error} ({address})")),
            Err(_) => unreachable(format!("no answer within {} s ({address})", limit.as_secs_f32())),
        };
    }
    Err(failure)
}
