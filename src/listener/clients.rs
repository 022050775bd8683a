//! The clients that have been here, what they handed in and what is unusual about them.
//!
//! Rule: a bounded table by address; the client seen least recently is forgotten for a new one. It counts
//! and never decides. Must not know sockets or how the figures are shown.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::told::{Kind, Told};
use crate::{
    clock::{Moment, Timestamp},
    log_limit::LogLimit,
    smtp::quirk::Quirk,
    sync,
};

/// Clients that are remembered: more than a private network has, and some 300 KiB of memory.
pub const CLIENTS_MAX: usize = 1_000;
/// How long an oddity of a client that was told stays untold: a device that is odd is odd in every message.
const QUIRK_LOG_INTERVAL: Duration = Duration::from_secs(3_600);

/// The table. The listener writes it, the admin API reads it.
#[derive(Debug, Default)]
pub struct Clients {
    table: Mutex<Table>,
    told: Told,
}

/// What is known of one client since the daemon's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientStats {
    /// Its address; behind a proxy the one that the proxy named.
    pub address: IpAddr,
    /// When it came first.
    pub first_seen: Timestamp,
    /// When it last came, handed in a message or was refused something.
    pub last_seen: Timestamp,
    /// Connections that were served.
    pub connections: u64,
    /// Messages that are on disk.
    pub accepted: u64,
    /// Commands and messages that were refused: replies 45z, 53z and 55z.
    pub refused: u64,
    /// TLS handshakes that failed.
    #[serde(default)]
    pub failed_handshakes: u64,
    /// Connections to the address of a proxy that began without a PROXY header.
    #[serde(default)]
    pub no_proxy_headers: u64,
    /// Logins that were refused.
    #[serde(default)]
    pub failed_logins: u64,
    /// How often each oddity was met, by its name; a session meets each one once at most.
    pub quirks: BTreeMap<String, u64>,
}

/// All clients together since the daemon's start, the forgotten ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections that were served.
    pub connections: u64,
    /// Messages that are on disk.
    pub accepted: u64,
    /// Commands and messages that were refused.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<IpAddr, Entry>,
    totals: Totals,
    /// Counts every event, so that the order of two within one millisecond is known.
    sequence: u64,
}

#[derive(Debug)]
struct Entry {
    stats: ClientStats,
    /// The table's sequence when it was last seen.
    seen: u64,
    /// When the administrator may hear of each oddity again.
    quirk_limits: BTreeMap<Quirk, LogLimit>,
}

impl Clients {
    /// A connection is served.
    pub(super) fn connected(&self, address: IpAddr, now: Moment) {
        let mut table = self.lock();
        table.totals.connections += 1;
        table.entry(address, now).stats.connections += 1;
    }

    /// A message is on disk.
    pub(super) fn accepted(&self, address: IpAddr, now: Moment) {
        let mut table = self.lock();
        table.totals.accepted += 1;
        table.entry(address, now).stats.accepted += 1;
    }

    /// Something was refused.
    pub(super) fn refused(&self, address: IpAddr, count: u64, now: Moment) {
        let mut table = self.lock();
        table.totals.refused += count;
        table.entry(address, now).stats.refused += count;
    }

    /// An oddity was met. True when it is time to tell the administrator of it: the first one of its
    /// kind from this client in an hour.
    pub(super) fn met(&self, address: IpAddr, quirk: Quirk, now: Moment) -> bool {
        let mut table = self.lock();
        let entry = table.entry(address, now);
        *entry.stats.quirks.entry(quirk.name().to_owned()).or_default() += 1;
        let limit = entry.quirk_limits.entry(quirk);
        let limit = limit.or_insert_with(|| LogLimit::new(1, QUIRK_LOG_INTERVAL));
        limit.tell(now.since_boot_ms).is_some()
    }

    /// A TLS handshake has failed. When it is time to tell of it: how many failures the line stands for.
    pub(super) fn handshake_failed(&self, address: IpAddr, now: Moment) -> Option<u64> {
        self.lock().entry(address, now).stats.failed_handshakes += 1;
        self.tell(address, Kind::Handshake, now)
    }

    /// A connection to the address of a proxy had no PROXY header. The answer is as for handshakes.
    pub(super) fn without_proxy_header(&self, address: IpAddr, now: Moment) -> Option<u64> {
        self.lock().entry(address, now).stats.no_proxy_headers += 1;
        self.tell(address, Kind::NoProxyHeader, now)
    }

    /// A login was refused. The answer is as for handshakes.
    pub(super) fn login_failed(&self, address: IpAddr, now: Moment) -> Option<u64> {
        self.lock().entry(address, now).stats.failed_logins += 1;
        self.tell(address, Kind::Login, now)
    }

    /// Something happened that the log tells a few times a minute only. When it is to be told: how many
    /// events the line stands for.
    pub(super) fn tell(&self, address: IpAddr, kind: Kind, now: Moment) -> Option<u64> {
        self.told.tell(address, kind, now)
    }

    /// The same for a program of a user of this host.
    pub(super) fn tell_user(&self, uid: u32, kind: Kind, now: Moment) -> Option<u64> {
        self.told.tell_user(uid, kind, now)
    }

    /// All clients, the one seen last first.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ClientStats> {
        let table = self.lock();
        let mut entries: Vec<_> = table.entries.values().collect();
        entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.seen));
        entries.into_iter().map(|entry| entry.stats.clone()).collect()
    }

    /// All clients together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.lock().totals
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        sync::lock(&self.table)
    }
}

impl Table {
    fn entry(&mut self, address: IpAddr, now: Moment) -> &mut Entry {
        if self.entries.len() >= CLIENTS_MAX && !self.entries.contains_key(&address) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.seen);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.entries.remove(&oldest);
            }
        }
        self.sequence += 1;
        let entry = self.entries.entry(address).or_insert_with(|| Entry {
            stats: ClientStats::new(address, now.wall),
            seen: 0,
            quirk_limits: BTreeMap::new(),
        });
        entry.seen = self.sequence;
        entry.stats.last_seen = now.wall;
        entry
    }
}

impl ClientStats {
    fn new(address: IpAddr, now: Timestamp) -> Self {
        Self {
            address,
            first_seen: now,
            last_seen: now,
            connections: 0,
            accepted: 0,
            refused: 0,
            failed_handshakes: 0,
            no_proxy_headers: 0,
            failed_logins: 0,
            quirks: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::clock::{Clock as _, ManualClock};

    fn address(number: usize) -> IpAddr {
        Ipv4Addr::from(u32::try_from(0x0a00_0000 + number).unwrap()).into()
    }

    #[test]
    fn each_client_is_counted_for_itself_and_the_last_one_comes_first() {
        let (clients, clock) = (Clients::default(), ManualClock::new(Timestamp(1_000)));
        clients.connected(address(1), clock.now());
        clock.advance(Duration::from_secs(1));
        clients.connected(address(2), clock.now());
        clients.accepted(address(2), clock.now());
        clients.refused(address(1), 2, clock.now());
        clients.met(address(1), Quirk::BareLf, clock.now());
        let [one, two] = clients.snapshot().try_into().unwrap();
        assert_eq!(
            (one.address, one.connections, one.accepted, one.refused),
            (address(1), 1, 0, 2)
        );
        assert_eq!((one.first_seen, one.last_seen), (Timestamp(1_000), Timestamp(2_000)));
        assert_eq!(one.quirks, [("bare-lf".to_owned(), 1)].into());
        assert_eq!(
            (two.address, two.connections, two.accepted, two.refused),
            (address(2), 1, 1, 0)
        );
    }

    #[test]
    fn an_oddity_is_told_once_an_hour_for_each_client_and_kind() {
        let (clients, clock) = (Clients::default(), ManualClock::new(Timestamp(0)));
        assert!(clients.met(address(1), Quirk::BareLf, clock.now()));
        assert!(!clients.met(address(1), Quirk::BareLf, clock.now()));
        assert!(clients.met(address(1), Quirk::BareCr, clock.now()), "another kind");
        assert!(clients.met(address(2), Quirk::BareLf, clock.now()), "another client");
        clock.advance(QUIRK_LOG_INTERVAL);
        assert!(clients.met(address(1), Quirk::BareLf, clock.now()));
        assert_eq!(clients.snapshot()[0].quirks["bare-lf"], 3);
    }

    #[test]
    fn the_client_seen_least_recently_is_forgotten_for_a_new_one() {
        let (clients, clock) = (Clients::default(), ManualClock::new(Timestamp(0)));
        (0..CLIENTS_MAX).for_each(|number| clients.connected(address(number), clock.now()));
        clients.accepted(address(0), clock.now());
        clients.connected(address(CLIENTS_MAX), clock.now());
        let known: Vec<IpAddr> = clients.snapshot().iter().map(|client| client.address).collect();
        assert_eq!(known.len(), CLIENTS_MAX);
        assert!(known.contains(&address(0)) && !known.contains(&address(1)));
    }
}
