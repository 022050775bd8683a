//! A limit on how often the log speaks of one client.
//!
//! Rule: a few lines a minute for each client and kind of event, and the next line says how many events it
//! stands for; strangers must not fill the log. Must not know how an event is worded.

use std::{collections::HashMap, net::IpAddr, sync::Mutex, time::Duration};

use super::site::site;
use crate::{clock::Moment, log_limit::LogLimit, sync};

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
    /// A TLS handshake that failed.
    Handshake,
    /// A connection to a proxy's address without a PROXY header.
    NoProxyHeader,
    /// A login that was refused.
    Login,
    /// A login that could not be checked.
    LoginUnchecked,
    /// A user of this host for whom there was no place.
    TurnedAway,
}

impl Kind {
    /// Lines within [`WINDOW`].
    fn lines_max(self) -> u32 {
        match self {
            Self::Reply(_) => REFUSALS_MAX,
            Self::TooFast
            | Self::NotQueued
            | Self::Handshake
            | Self::NoProxyHeader
            | Self::Login
            | Self::LoginUnchecked
            | Self::TurnedAway => 1,
        }
    }
}

/// Whose lines are counted together: those of a user of this host are his own, or one user's flood would hide what
/// another is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Site(IpAddr),
    User(u32),
}

/// The lines of all clients.
#[derive(Debug, Default)]
pub(super) struct Told {
    windows: Mutex<HashMap<(Owner, Kind), LogLimit>>,
}

impl Told {
    /// Counts an event. When it is to be told: how many events the line stands for.
    pub(super) fn tell(&self, client: IpAddr, kind: Kind, now: Moment) -> Option<u64> {
        self.tell_of((Owner::Site(site(client)), kind), now)
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
    use super::*;
    use crate::clock::{Clock as _, ManualClock, Timestamp};

    const RELAYING_DENIED: Kind = Kind::Reply(*b"550");

    #[test]
    fn a_flood_is_told_in_five_lines_a_minute_and_the_next_line_counts_what_was_left_out() {
        let (told, clock) = (Told::default(), ManualClock::new(Timestamp(0)));
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
        let (told, clock) = (Told::default(), ManualClock::new(Timestamp(0)));
        let flood: Vec<_> =
            (0..100).map(|_| told.tell_user(1_000, Kind::NotQueued, clock.now())).collect();
        assert_eq!(flood.iter().flatten().count(), 1);
        assert_eq!(told.tell_user(1_001, Kind::NotQueued, clock.now()), Some(1));
        assert_eq!(told.tell("127.0.0.1".parse().unwrap(), Kind::NotQueued, clock.now()), Some(1));
        assert_eq!(told.tell("127.0.0.9".parse().unwrap(), Kind::NotQueued, clock.now()), None);
    }

    #[test]
    fn hosts_of_one_ipv6_network_share_their_lines_and_the_number_of_clients_is_bounded() {
        let (told, clock) = (Told::default(), ManualClock::new(Timestamp(0)));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(told.tell(address("2001:db8::1"), Kind::Login, clock.now()), Some(1));
        assert_eq!(told.tell(address("2001:db8::2"), Kind::Login, clock.now()), None);
        for number in 0..u32::try_from(ENTRIES_MAX).unwrap() + 10 {
            told.tell(std::net::Ipv4Addr::from(number).into(), Kind::Login, clock.now());
        }
        assert_eq!(told.windows.lock().unwrap().len(), ENTRIES_MAX);
    }
}
