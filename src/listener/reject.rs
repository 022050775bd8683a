//! Clients for whom there is no place.
//!
//! Rule: one write, and a line in the log now and then that says how many they were and which: a flood must fill neither
//! memory nor the log. Must not know how places are counted.

use std::{mem, net::IpAddr, sync::Mutex, time::Duration};

use tokio::{net::TcpStream, sync::Notify};

use super::{
    limits::{LimitReached, prefix},
    options::Endpoint,
};
use crate::{clock::Clock, log_limit::LogLimit, smtp::server::reply, sync};

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
    use crate::clock::{ManualClock, Timestamp};

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
