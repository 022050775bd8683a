//! Clients for whom there is no place.
//!
//! Rule: one write, and a line in the log now and then with their number: a flood must fill neither memory
//! nor the log. Must not know how places are counted.

use std::{
    mem,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::net::TcpStream;

use super::{options::Endpoint, places::NoPlace};
use crate::smtp::reply;

/// Turned-away clients are logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How many clients were turned away since the last line about it.
#[derive(Debug, Default)]
pub(super) struct TurnedAway {
    counter: Mutex<Counter>,
}

/// How many events of one kind there were since the last line about them.
#[derive(Debug, Default)]
pub(super) struct Counter {
    count: u64,
    silent_until_ms: u64,
}

impl TurnedAway {
    /// One write into an empty send buffer, which cannot block. Where TLS comes first there is no way to
    /// say anything.
    pub(super) fn turn_away(
        &self,
        socket: &TcpStream,
        endpoint: Endpoint,
        client: IpAddr,
        reason: NoPlace,
        now_ms: u64,
        hostname: &str,
    ) {
        let (reply, reason) = match reason {
            NoPlace::Full => (reply::too_many_connections(hostname), "max_connections"),
            NoPlace::ClientFull => {
                (reply::too_many_of_client(hostname), "max_connections_per_client")
            }
        };
        if !endpoint.implicit_tls {
            let mut bytes = Vec::new();
            reply.render(&mut bytes);
            if let Err(error) = socket.try_write(&bytes) {
                tracing::debug!(%client, %error, "connection lost");
            }
        }
        let mut counter = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counter.count_another(now_ms) {
            tracing::warn!(%client, reason, count, "refused");
        }
    }
}

impl Counter {
    /// The number to be logged, when it is time for a line.
    pub(super) fn count_another(&mut self, now_ms: u64) -> Option<u64> {
        self.count += 1;
        (now_ms >= self.silent_until_ms).then(|| {
            self.silent_until_ms = now_ms + LOG_INTERVAL.as_millis() as u64;
            mem::take(&mut self.count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_turned_away_clients_is_logged_every_ten_seconds_with_its_number() {
        let mut counter = Counter::default();
        let logged: Vec<_> = (0..=20).map(|second| counter.count_another(second * 1000)).collect();
        let lines: Vec<_> = logged.into_iter().flatten().collect();
        assert_eq!(lines, [1, 10, 10]);
    }
}
