//! The clients that have been here, what is unusual about them, and what the log has said of them.
//!
//! Rule: bounded tables by address; the client seen least recently is forgotten for a new one. They count and never
//! decide. Must not know sockets or how the figures are shown.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::limits::prefix;
use crate::{
    clock::{Moment, Timestamp},
    log_limit::LogLimit,
    smtp::quirk::Quirk,
    sync,
};

/// Clients that are remembered: more than a private network has, and some 300 KiB of memory.
pub(crate) const CLIENTS_MAX: usize = 1_000;
/// How long an oddity of a client that was told stays untold: a device that is odd is odd in every message.
const QUIRK_LOG_INTERVAL: Duration = Duration::from_secs(3_600);

/// The table. The listener writes it, the admin API reads it.
#[derive(Debug, Default)]
pub struct Clients {
    table: Mutex<Table>,
    log_limits: LogLimits,
}

/// What is known of one client since the daemon's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientStats {
    /// Its address; behind a proxy the one that the proxy named.
    pub address: IpAddr,
    /// When it came first.
    pub(crate) first_seen: Timestamp,
    /// When it last came, handed in a message or was refused something.
    pub(crate) last_seen: Timestamp,
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
    pub(crate) connections: u64,
    /// Messages that are on disk.
    pub(crate) accepted: u64,
    /// Commands and messages that were refused.
    pub(crate) refused: u64,
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
        self.log_limits.tell(address, kind, now)
    }

    /// The same for a program of a user of this host.
    pub(super) fn tell_user(&self, uid: u32, kind: Kind, now: Moment) -> Option<u64> {
        self.log_limits.tell_user(uid, kind, now)
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

/// Over how long the lines are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Refusals that are told within it: all of a device that is set up wrongly, few of a flood.
const REFUSALS_MAX: u32 = 5;
/// Clients and kinds that are kept, some 300 KiB; the one told longest ago is forgotten for a new one.
const ENTRIES_MAX: usize = 4_096;

/// What is told. Each kind is counted for itself, so that a frequent one does not hide a rare one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A reply with this code, which refuses something or ends the session.
    Reply([u8; 3]),
    /// A mail transaction beyond the messages a minute of its network.
    TooFast,
    /// A message that the queue has no room for.
    NotQueued,
    /// A message that a rule does not want.
    Unwanted,
    /// A TLS handshake that failed.
    Handshake,
    /// A connection to a proxy's address without a PROXY header.
    NoProxyHeader,
    /// A login that was refused.
    Login,
    /// A login that could not be checked.
    LoginUnchecked,
    /// A user of this host for whom there was no place.
    Rejected,
}

impl Kind {
    /// Lines within [`WINDOW`].
    fn lines_max(self) -> u32 {
        match self {
            Self::Reply(_) | Self::Unwanted => REFUSALS_MAX,
            Self::TooFast
            | Self::NotQueued
            | Self::Handshake
            | Self::NoProxyHeader
            | Self::Login
            | Self::LoginUnchecked
            | Self::Rejected => 1,
        }
    }
}

/// Whose lines are counted together: those of a user of this host are his own, or one user's flood would hide what
/// another is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Prefix(IpAddr),
    User(u32),
}

/// The lines of all clients.
#[derive(Debug, Default)]
pub(super) struct LogLimits {
    windows: Mutex<HashMap<(Owner, Kind), LogLimit>>,
}

impl LogLimits {
    /// Counts an event. When it is to be told: how many events the line stands for.
    pub(super) fn tell(&self, client: IpAddr, kind: Kind, now: Moment) -> Option<u64> {
        self.tell_of((Owner::Prefix(prefix(client)), kind), now)
    }

    /// The same for a program of this user.
    pub(super) fn tell_user(&self, uid: u32, kind: Kind, now: Moment) -> Option<u64> {
        self.tell_of((Owner::User(uid), kind), now)
    }

    fn tell_of(&self, key: (Owner, Kind), now: Moment) -> Option<u64> {
        let kind = key.1;
        let now_ms = now.since_boot_ms;
        let mut windows = sync::lock(&self.windows);
        if windows.len() >= ENTRIES_MAX && !windows.contains_key(&key) {
            let oldest = windows.iter().min_by_key(|(_, limit)| limit.began_ms());
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                windows.remove(&oldest);
            }
        }
        let limit = windows.entry(key).or_insert_with(|| LogLimit::new(kind.lines_max(), WINDOW));
        limit.tell(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::clock::{Clock as _, ManualClock, Timestamp};

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

    const RELAYING_DENIED: Kind = Kind::Reply(*b"550");

    #[test]
    fn a_flood_is_told_in_five_lines_a_minute_and_the_next_line_counts_what_was_left_out() {
        let (told, clock) = (LogLimits::default(), ManualClock::new(Timestamp(0)));
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let flood = |count| {
            (0..count).filter_map(|_| told.tell(client, RELAYING_DENIED, clock.now())).collect()
        };
        let first: Vec<u64> = flood(1_000);
        assert_eq!(first, [1; 5]);
        assert_eq!(told.tell(client, Kind::Reply(*b"530"), clock.now()), Some(1), "another kind");
        assert_eq!(told.tell("192.0.2.2".parse().unwrap(), RELAYING_DENIED, clock.now()), Some(1));
        clock.advance(WINDOW);
        let second: Vec<u64> = flood(1_000);
        assert_eq!(second, [996, 1, 1, 1, 1]);
    }

    #[test]
    fn one_users_flood_hides_nothing_of_another() {
        let (told, clock) = (LogLimits::default(), ManualClock::new(Timestamp(0)));
        let flood: Vec<_> =
            (0..100).map(|_| told.tell_user(1_000, Kind::NotQueued, clock.now())).collect();
        assert_eq!(flood.iter().flatten().count(), 1);
        assert_eq!(told.tell_user(1_001, Kind::NotQueued, clock.now()), Some(1));
        assert_eq!(told.tell("127.0.0.1".parse().unwrap(), Kind::NotQueued, clock.now()), Some(1));
        assert_eq!(told.tell("127.0.0.9".parse().unwrap(), Kind::NotQueued, clock.now()), None);
    }

    #[test]
    fn hosts_of_one_ipv6_network_share_their_lines_and_the_number_of_clients_is_bounded() {
        let (told, clock) = (LogLimits::default(), ManualClock::new(Timestamp(0)));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(told.tell(address("2001:db8::1"), Kind::Login, clock.now()), Some(1));
        assert_eq!(told.tell(address("2001:db8::2"), Kind::Login, clock.now()), None);
        for number in 0..u32::try_from(ENTRIES_MAX).unwrap() + 10 {
            told.tell(Ipv4Addr::from(number).into(), Kind::Login, clock.now());
        }
        assert_eq!(told.windows.lock().unwrap().len(), ENTRIES_MAX);
    }
}
