//! The state that all connections share, the terms for a client, and the clients for whom there is no place.
//!
//! Rule: nothing is decided about a client before its real address is known; whoever is sent away costs one write, and a
//! line in the log now and then: a flood must fill neither memory nor the log.

use std::{
    mem,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::TcpStream, sync::Notify};

use super::{
    auth::Authenticator,
    client_stats::Clients,
    limits::{LimitReached, prefix},
    options::{Endpoint, Options},
    proxy::Source,
    stream::Stream,
    terms::Terms,
    throughput::Memory,
    transaction_log,
};
use crate::{
    clock::Clock,
    live::Live,
    log_limit::LogLimit,
    message::envelope::{Lane, LocalUser},
    queue::Queue,
    smtp::server::{Client, Policy, reply},
    sync,
};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) store: Arc<Queue>,
    pub(super) clock: Arc<dyn Clock>,
    /// Those that the next connection gets.
    pub(super) terms: Live<Terms>,
    pub(super) authenticator: Authenticator,
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
        let policy = Policy { priorities: policy.trusted && options.priority_hints, ..policy };
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
        let policy = Policy {
            priorities: options.priority_hints,
            ..Policy::plain(true, options.session.max_message_bytes)
        };
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
        terms: &Terms,
        socket: TcpStream,
        client: IpAddr,
        from: TlsFrom,
    ) -> Stream {
        let Some(tls) = &terms.tls else {
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

    /// Sends a client away for whom there is no place.
    pub(super) fn reject(
        &self,
        socket: &TcpStream,
        endpoint: Endpoint,
        client: IpAddr,
        reason: LimitReached,
    ) {
        let hostname = &self.terms.get().session.hostname;
        let now_ms = self.clock.now().since_boot_ms;
        self.rejections.reject(socket, endpoint, client, reason, now_ms, hostname);
    }
}

/// Turned-away clients, and what else happens at the door in floods, are logged at most this often.
pub(super) const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Clients that one line names; of the others it says how often they came.
const NAMED_MAX: usize = 10;

/// Clients that were turned away since the last line about it.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    crowds: Mutex<Crowds>,
    /// Rings when the first of a crowd was turned away of which no line has told yet.
    untold: Notify,
}

#[derive(Debug, Default)]
struct Crowds {
    full: Crowd,
    client_full: Crowd,
}

/// Clients that were turned away for one reason.
#[derive(Debug)]
struct Crowd {
    limit: LogLimit,
    /// An address of each of the first prefixes, and how often that came.
    named: Vec<(IpAddr, u64)>,
}

/// What one line tells.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    count: u64,
    clients: String,
}

impl Rejections {
    /// One write into an empty send buffer, which cannot block. Where TLS comes first there is no way to
    /// say anything.
    pub(super) fn reject(
        &self,
        socket: &TcpStream,
        endpoint: Endpoint,
        client: IpAddr,
        reason: LimitReached,
        now_ms: u64,
        hostname: &str,
    ) {
        let reply = match reason {
            LimitReached::Full => reply::too_many_connections(hostname),
            LimitReached::ClientFull => reply::too_many_of_client(hostname),
        };
        if !endpoint.implicit_tls {
            let mut bytes = Vec::new();
            reply.render(&mut bytes);
            if let Err(error) = socket.try_write(&bytes) {
                tracing::debug!(%client, %error, "connection lost");
            }
        }
        let mut crowds = sync::lock(&self.crowds);
        let crowd = match reason {
            LimitReached::Full => &mut crowds.full,
            LimitReached::ClientFull => &mut crowds.client_full,
        };
        crowd.add(client);
        match crowd.line(now_ms) {
            Some(line) => log(reason, &line),
            None => self.untold.notify_one(),
        }
    }

    /// Tells of those whom the last line did not have, as soon as it is time for another: the last of a flood would
    /// else never be told of. Returns after each line.
    pub(super) async fn tell_late(&self, clock: &dyn Clock) {
        loop {
            let untold = self.untold.notified();
            let now_ms = clock.now().since_boot_ms;
            let Some(due_ms) = self.next_line_ms() else {
                untold.await;
                continue;
            };
            if due_ms <= now_ms {
                return self.tell(now_ms);
            }
            clock.sleep(Duration::from_millis(due_ms - now_ms)).await;
        }
    }

    /// Tells of everybody who was not told of yet.
    pub(super) fn tell_the_rest(&self) {
        self.tell(u64::MAX);
    }

    fn tell(&self, now_ms: u64) {
        let mut crowds = sync::lock(&self.crowds);
        let Crowds { full, client_full } = &mut *crowds;
        for (reason, crowd) in [(LimitReached::Full, full), (LimitReached::ClientFull, client_full)]
        {
            if let Some(line) = crowd.line(now_ms) {
                log(reason, &line);
            }
        }
    }

    /// When somebody is to be told of who was not told of yet.
    fn next_line_ms(&self) -> Option<u64> {
        let crowds = sync::lock(&self.crowds);
        let limits = [&crowds.full, &crowds.client_full].map(|crowd| &crowd.limit);
        limits.into_iter().filter(|limit| limit.has_untold()).map(LogLimit::next_ms).min()
    }
}

fn log(reason: LimitReached, Line { count, clients }: &Line) {
    let limit = match reason {
        LimitReached::Full => "max_connections",
        LimitReached::ClientFull => "max_connections_per_client",
    };
    tracing::warn!(%clients, reason = limit, count, "refused");
}

impl Default for Crowd {
    fn default() -> Self {
        Self { limit: LogLimit::new(1, LOG_INTERVAL), named: Vec::new() }
    }
}

impl Crowd {
    fn add(&mut self, client: IpAddr) {
        self.limit.count();
        let of_its_prefix = |(named, _): &&mut (IpAddr, u64)| prefix(*named) == prefix(client);
        if let Some((_, count)) = self.named.iter_mut().find(of_its_prefix) {
            *count += 1;
        } else if self.named.len() < NAMED_MAX {
            self.named.push((client, 1));
        }
    }

    /// `192.0.2.7 (12 times), 2001:db8::1, others (30 times)`, when there is somebody to tell of and it is time for it.
    fn line(&mut self, now_ms: u64) -> Option<Line> {
        let count = self.limit.due(now_ms)?;
        let named = mem::take(&mut self.named);
        let others = count - named.iter().map(|(_, count)| count).sum::<u64>();
        let names = named.iter().map(|(client, count)| (client.to_string(), *count));
        let others = (others > 0).then(|| ("others".to_owned(), others));
        let words = |(name, count)| match count {
            1 => name,
            _ => format!("{name} ({count} times)"),
        };
        let clients = names.chain(others).map(words).collect::<Vec<_>>().join(", ");
        Some(Line { count, clients })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{ManualClock, Timestamp},
        listener::tests::options,
    };

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

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_line_about_turned_away_clients_names_each_of_them_and_how_often_it_came() {
        let mut crowd = Crowd::default();
        crowd.add(address("192.0.2.1"));
        let first = crowd.line(0).unwrap();
        assert_eq!((first.count, first.clients.as_str()), (1, "192.0.2.1"));
        // The last one of a flood is the least telling of all.
        for client in ["192.0.2.1", "198.51.100.9", "2001:db8::1", "192.0.2.1", "2001:db8::2"] {
            crowd.add(address(client));
            assert_eq!(crowd.line(9_999), None);
        }
        let second = crowd.line(10_000).unwrap();
        assert_eq!(
            (second.count, second.clients.as_str()),
            (5, "192.0.2.1 (2 times), 198.51.100.9, 2001:db8::1 (2 times)")
        );
        assert_eq!(crowd.line(60_000), None, "nobody came since");
    }

    #[tokio::test]
    async fn the_last_of_a_flood_are_told_of_though_nobody_comes_after_them() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let rejections = Rejections::default();
        let add = |client: &str| {
            let mut crowds = rejections.crowds.lock().unwrap();
            crowds.client_full.add(address(client));
            crowds.client_full.line(clock.now().since_boot_ms)
        };
        assert!(add("192.0.2.1").is_some());
        assert!(add("192.0.2.2").is_none());
        let mut late = std::pin::pin!(rejections.tell_late(&clock));
        tokio::select! {
            biased;
            () = &mut late => panic!("too early for a line"),
            () = std::future::ready(()) => {}
        }
        clock.advance(LOG_INTERVAL);
        late.await;
        assert_eq!(rejections.next_line_ms(), None);
    }

    #[test]
    fn a_flood_of_many_addresses_makes_no_long_line() {
        let mut crowd = Crowd::default();
        for number in 0..100_000_u32 {
            crowd.add(std::net::Ipv6Addr::from(u128::from(number) << 64 | 0x2001 << 112).into());
        }
        let line = crowd.line(0).unwrap();
        assert_eq!(line.count, 100_000);
        assert!(line.clients.ends_with(", others (99990 times)"), "{}", line.clients);
        assert!(line.clients.len() < 500, "{}", line.clients.len());
    }
}
