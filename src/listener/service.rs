//! The state that all connections share, and the rules for a client.
//!
//! Rule: nothing is decided about a client before its real address is known. Must not know how a connection begins.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use tokio::net::TcpStream;

use super::{
    auth::Authenticator,
    client_stats::Clients,
    limits::{self, LimitReached},
    options::{Endpoint, Options},
    proxy::Source,
    reject::Rejections,
    stream::Stream,
    throughput::{Memory, Rates},
    tls::Tls,
    transaction_log,
};
use crate::{
    clock::Clock,
    message::envelope::{Lane, LocalUser},
    queue::Queue,
    smtp::server::{self, Client, Policy},
};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) store: Arc<Queue>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Options,
    pub(super) session_options: Arc<server::Options>,
    pub(super) tls: Option<Tls>,
    pub(super) authenticator: Authenticator,
    pub(super) rates: Rates,
    pub(super) memory: Memory,
    pub(super) clients: Arc<Clients>,
    pub(super) rejections: Rejections,
}

/// A client, and the network that the configuration has it in.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) client: Client,
    /// The number of its network.
    pub(super) network: Option<usize>,
    /// The lane of its mail.
    pub(super) lane: Lane,
    /// The user of this host, and how the message comes from him.
    pub(super) local: Option<Local>,
}

/// A user of this host.
#[derive(Clone, Debug)]
pub(super) struct Local {
    /// The number that the kernel gives.
    pub(super) uid: u32,
    /// The user of the present transaction.
    pub(super) user: LocalUser,
    /// The message is a file of the drop directory: however long it lay there, its name stays its id.
    pub(super) from_file: bool,
}

/// Where in a connection TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsFrom {
    /// On an address of TLS; who looks whether its port is open sends nothing.
    FirstByte,
    /// After STARTTLS.
    StartTls,
}

impl Peer {
    /// What the configuration says of a client.
    pub(super) fn of(source: Source, peer: IpAddr, options: &Options) -> Self {
        let (address, network) = match source {
            Source::Client(address) => (address, options.network_of(address)),
            Source::Proxy => (peer, None),
        };
        let policy = network.map_or(options.default_policy, |(_, network)| network.policy);
        Self {
            client: Client { address, encrypted: false, policy, local: false },
            network: network.map(|(number, _)| number),
            lane: network.map_or(Lane::Normal, |(_, network)| network.lane),
            local: None,
        }
    }

    /// A user of this host: trusted whatever the networks say, but with the lane, and the messages a minute, of
    /// clients on loopback.
    pub(super) fn of_user(local: Local, options: &Options) -> Self {
        let address = Ipv4Addr::LOCALHOST.into();
        let network = options.network_of(address);
        let policy = Policy::plain(true, options.session.max_message_bytes);
        Self {
            client: Client { address, encrypted: false, policy, local: true },
            network: network.map(|(number, _)| number),
            lane: network.map_or(Lane::Normal, |(_, network)| network.lane),
            local: Some(local),
        }
    }
}

impl Service {
    /// TLS over a socket, or nothing.
    pub(super) async fn handshake(
        &self,
        socket: TcpStream,
        client: IpAddr,
        from: TlsFrom,
    ) -> Stream {
        let Some(tls) = &self.tls else {
            // The configuration is checked for it.
            tracing::error!(%client, "TLS is expected, but no certificate is configured");
            return Stream::Gone;
        };
        match tls.accept(socket, &*self.clock).await {
            Ok(stream) => Stream::Tls(stream),
            Err(failure) if failure.unspoken && from == TlsFrom::FirstByte => {
                tracing::debug!(%client, "closed without a word of TLS");
                Stream::Gone
            }
            Err(failure) => {
                let told = self.clients.handshake_failed(client, self.clock.now());
                transaction_log::handshake_failed(client, &failure, told);
                Stream::Gone
            }
        }
    }

    /// A client, as its places are counted.
    pub(super) fn limit_key(&self, address: IpAddr) -> limits::LimitKey {
        limits::LimitKey::of_address(address, self.options.policy_of(address).trusted)
    }

    /// Sends a client away for whom there is no place.
    pub(super) fn reject(
        &self,
        socket: &TcpStream,
        endpoint: Endpoint,
        client: IpAddr,
        reason: LimitReached,
    ) {
        let hostname = &self.session_options.hostname;
        let now_ms = self.clock.now().since_boot_ms;
        self.rejections.reject(socket, endpoint, client, reason, now_ms, hostname);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::tests::options;

    #[test]
    fn policy_and_lane_are_those_of_the_first_network_that_holds_the_client() {
        let mut options = options();
        let mut alarms = options.networks[0].clone();
        alarms.networks = vec!["127.0.0.8/32".parse().unwrap()];
        alarms.lane = Lane::Urgent;
        options.networks.insert(0, alarms);
        let seen = |source, peer: &str| {
            let peer = Peer::of(source, peer.parse().unwrap(), &options);
            (peer.network, peer.lane, peer.client.policy.trusted)
        };
        let client = |text: &str| Source::Client(text.parse().unwrap());
        assert_eq!(seen(client("127.0.0.8"), "127.0.0.8"), (Some(0), Lane::Urgent, true));
        assert_eq!(seen(client("127.0.0.9"), "127.0.0.8"), (Some(1), Lane::Normal, true));
        assert_eq!(seen(client("203.0.113.5"), "127.0.0.8"), (None, Lane::Normal, false));
        assert_eq!(
            seen(Source::Proxy, "127.0.0.8"),
            (None, Lane::Normal, false),
            "the proxy is not its client"
        );
    }
}
