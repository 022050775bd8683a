//! Limits on the clients that are served, in all and from each address.
//!
//! Rule: a place is taken before a session starts and given back when it is dropped, so no path out of a session can leak
//! one. Nobody leaves within a message, and nobody who has just spoken. Must not know sockets.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::sync;

/// The last one of so many shares of the places is for trusted clients alone: a handful of strangers with
/// idle connections must not keep the devices of the house out. A quarter of the default is 50 places, and
/// leaves 150 to strangers.
const SHARES: usize = 4;
/// The last one of so many shares is for programs of this host alone, and at least one place: the network must not keep
/// them out. It is 10 places of the default.
const SHARES_OF_NETWORK: usize = 20;
/// Clients of this host that wait for a place; each holds a socket. More hear 421.
const WAITING_MAX: usize = 1_024;

/// All places.
#[derive(Debug)]
pub(super) struct ConnectionLimits {
    max: AtomicUsize,
    max_per_client: AtomicUsize,
    taken: Mutex<Taken>,
    /// Who waits for a place of this host, in the order in which they came.
    waiting: Mutex<VecDeque<Arc<Notify>>>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_client: HashMap<Party, Vec<Arc<Seat>>>,
}

/// Whom a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LimitKey {
    party: Party,
    rank: Rank,
}

/// Under what its places are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Party {
    Address(IpAddr),
    User(u32),
}

/// How far a client may fill the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// Up to the last quarter.
    Stranger,
    /// Up to the places of this host.
    Trusted,
    /// All of them.
    First,
}

impl LimitKey {
    /// A client of a network; `trusted` when it may relay without a login. All of loopback is one client.
    pub(super) fn of_address(address: IpAddr, trusted: bool) -> Self {
        let is_apart = trusted && !address.is_loopback();
        let rank = match (trusted, address.is_loopback()) {
            (false, _) => Rank::Stranger,
            (true, false) => Rank::Trusted,
            (true, true) => Rank::First,
        };
        Self { party: Party::Address(if is_apart { address } else { prefix(address) }), rank }
    }

    /// A user of this host. The last places are root's: a user's programs must not keep the system's own mail out.
    pub(super) fn of_user(uid: u32) -> Self {
        let rank = if uid == 0 { Rank::First } else { Rank::Stranger };
        Self { party: Party::User(uid), rank }
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitReached {
    /// None at all, or none for strangers.
    Full,
    /// None for this client.
    ClientFull,
}

/// One place, taken.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limits: Arc<ConnectionLimits>,
    /// `None` until a proxy has named it.
    client: Option<Party>,
    seat: Arc<Seat>,
}

impl ConnectionLimits {
    pub(super) fn new(max: usize, max_per_client: usize) -> Arc<Self> {
        let (taken, waiting) = (Mutex::default(), Mutex::default());
        let (max, max_per_client) = (AtomicUsize::new(max), AtomicUsize::new(max_per_client));
        Arc::new(Self { max, max_per_client, taken, waiting })
    }

    /// From now on so many. Whoever has a place keeps it.
    pub(super) fn set(&self, max: usize, max_per_client: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.max_per_client.store(max_per_client, Ordering::Relaxed);
        self.call_the_first();
    }

    /// Takes a place for a client.
    pub(super) fn take(
        self: &Arc<Self>,
        client: LimitKey,
    ) -> Result<ConnectionPermit, LimitReached> {
        let mut permit = self.take_of(Rank::First)?;
        permit.name(client)?;
        Ok(permit)
    }

    /// Takes a place for a client whose address a proxy has yet to tell; it may be anybody.
    pub(super) fn reserve_before_proxy(self: &Arc<Self>) -> Result<ConnectionPermit, LimitReached> {
        self.take_of(Rank::Trusted)
    }

    fn take_of(self: &Arc<Self>, rank: Rank) -> Result<ConnectionPermit, LimitReached> {
        let mut taken = self.lock();
        if taken.total >= self.max_of(rank) {
            return Err(LimitReached::Full);
        }
        taken.total += 1;
        Ok(ConnectionPermit { limits: Arc::clone(self), client: None, seat: Arc::default() })
    }

    /// Asks the client of this party that has been idle for the longest to leave, if one has been for long enough; no
    /// more of them than wait.
    pub(super) fn dismiss_the_idle(&self, client: LimitKey, now_ms: u64) {
        let waiting = self.waiting().len();
        let taken = self.lock();
        let seats = taken.by_client.get(&client.party).map_or(&[][..], Vec::as_slice);
        if seats.iter().filter(|seat| seat.is_dismissed()).count() >= waiting {
            return;
        }
        let idle = seats.iter().filter_map(|seat| Some((seat.idle_ms(now_ms, waiting)?, seat)));
        if let Some((_, seat)) = idle.max_by_key(|(idle_ms, _)| *idle_ms) {
            seat.dismiss();
        }
    }

    /// Waits in line. `None` when too many do.
    pub(super) fn wait(self: &Arc<Self>) -> Option<Waiting> {
        let mut waiting = self.waiting();
        if waiting.len() >= WAITING_MAX {
            return None;
        }
        let call = Arc::new(Notify::new());
        waiting.push_back(Arc::clone(&call));
        Some(Waiting { limits: Arc::clone(self), call })
    }

    /// Whether somebody waits, so that nobody may overtake him.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting().is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Notify>>> {
        sync::lock(&self.waiting)
    }

    fn call_the_first(&self) {
        if let Some(call) = self.waiting().front() {
            call.notify_one();
        }
    }

    /// How many places may be taken when a client of this rank has got the last of them.
    fn max_of(&self, rank: Rank) -> usize {
        let max = self.max.load(Ordering::Relaxed);
        match rank {
            Rank::Stranger => max - max / SHARES,
            Rank::Trusted if max > 1 => max - (max / SHARES_OF_NETWORK).max(1),
            Rank::Trusted | Rank::First => max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        sync::lock(&self.taken)
    }
}

/// One who waits for a place.
#[derive(Debug)]
pub(super) struct Waiting {
    limits: Arc<ConnectionLimits>,
    call: Arc<Notify>,
}

impl Waiting {
    /// Returns when a place has been given back and it is this one's turn.
    pub(super) async fn called(&self) {
        self.call.notified().await;
    }

    /// Whether nobody came before.
    pub(super) fn is_first(&self) -> bool {
        self.limits.waiting().front().is_some_and(|call| Arc::ptr_eq(call, &self.call))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.limits.waiting().retain(|call| !Arc::ptr_eq(call, &self.call));
        self.limits.call_the_first();
    }
}

impl ConnectionPermit {
    /// Counts the place as one of this client's. Whoever gets an error gives the place back.
    pub(super) fn name(&mut self, client: LimitKey) -> Result<(), LimitReached> {
        let mut taken = self.limits.lock();
        if taken.total > self.limits.max_of(client.rank) {
            return Err(LimitReached::Full);
        }
        let seats = taken.by_client.entry(client.party).or_default();
        if seats.len() >= self.limits.max_per_client.load(Ordering::Relaxed) {
            return Err(LimitReached::ClientFull);
        }
        seats.push(Arc::clone(&self.seat));
        self.client = Some(client.party);
        Ok(())
    }

    /// By which its client can be asked to leave.
    pub(super) fn seat(&self) -> Arc<Seat> {
        Arc::clone(&self.seat)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut taken = self.limits.lock();
        taken.total -= 1;
        // Nobody is called for a place that was nobody's: whoever waits would call himself, again and again.
        let Some(client) = self.client else { return };
        if let Some(seats) = taken.by_client.get_mut(&client) {
            seats.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
            // The map holds present clients only, so that it cannot grow for ever.
            if seats.is_empty() {
                taken.by_client.remove(&client);
            }
        }
        drop(taken);
        self.limits.call_the_first();
    }
}

/// How long a client may be silent that has never said anything: a program speaks as soon as it is greeted.
const SILENCE: Duration = Duration::from_secs(2);
/// The same while a crowd waits, which is a flood.
const SILENCE_IN_A_CROWD: Duration = Duration::from_millis(500);
/// So many are a crowd.
const CROWD: usize = 25;
/// How long one may think between two commands while others wait. Programs that keep connections open make a new one.
const IDLENESS: Duration = Duration::from_secs(10);

/// One client's seat. All times are those of the boot clock, in milliseconds.
#[derive(Debug)]
pub(super) struct Seat {
    /// Since when it waits for the client, outside of a message; `NEVER` when it does not.
    idle_from_ms: AtomicU64,
    has_spoken: AtomicBool,
    dismissed: AtomicBool,
    call: Arc<Notify>,
}

const NEVER: u64 = u64::MAX;

impl Default for Seat {
    fn default() -> Self {
        Self {
            idle_from_ms: AtomicU64::new(NEVER),
            has_spoken: AtomicBool::new(false),
            dismissed: AtomicBool::new(false),
            call: Arc::default(),
        }
    }
}

impl Seat {
    /// The session waits for its client, who has or has not spoken before.
    pub(super) fn waits_from(&self, now_ms: u64, has_spoken: bool) {
        self.has_spoken.store(has_spoken, Ordering::Relaxed);
        self.idle_from_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The session has something to do, or is within a message.
    pub(super) fn works(&self) {
        self.idle_from_ms.store(NEVER, Ordering::Relaxed);
    }

    /// For how long it has been idle beyond what is granted; `None` when it is not to be asked to leave.
    pub(super) fn idle_ms(&self, now_ms: u64, waiting: usize) -> Option<u64> {
        let idle_from_ms = self.idle_from_ms.load(Ordering::Relaxed);
        if idle_from_ms == NEVER || self.is_dismissed() {
            return None;
        }
        let granted = match self.has_spoken.load(Ordering::Relaxed) {
            true => IDLENESS,
            false if waiting >= CROWD => SILENCE_IN_A_CROWD,
            false => SILENCE,
        };
        now_ms.saturating_sub(idle_from_ms).checked_sub(granted.as_millis() as u64)
    }

    /// Asks its client to leave.
    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
        self.call.notify_one();
    }

    /// Whether its client was asked to leave.
    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed.load(Ordering::Relaxed)
    }

    /// Returns when its client is asked to leave.
    pub(super) async fn dismissed(&self) {
        self.call.notified().await;
    }
}

/// The addresses of one client as one: an IPv4 address, the 64 bits of an IPv6 address that a network is given, or all of
/// this host. Whatever is limited for one address is limited for its prefix, or a single host would have 2^64 times as much
/// with IPv6, and a program of this host 2^24 times as much.
pub(crate) fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(address: &str) -> LimitKey {
        LimitKey::of_address(address.parse().unwrap(), true)
    }

    fn stranger(address: &str) -> LimitKey {
        LimitKey::of_address(address.parse().unwrap(), false)
    }

    #[test]
    fn strangers_leave_the_last_quarter_to_trusted_clients_also_behind_a_proxy() {
        let limits = ConnectionLimits::new(8, 8);
        let strangers: Vec<_> =
            (0..6).map(|_| limits.take(stranger("192.0.2.1")).unwrap()).collect();
        assert_eq!(limits.take(stranger("192.0.2.2")).unwrap_err(), LimitReached::Full);
        let mut behind_a_proxy = limits.reserve_before_proxy().unwrap();
        assert_eq!(behind_a_proxy.name(stranger("192.0.2.2")), Err(LimitReached::Full));
        assert_eq!(behind_a_proxy.name(trusted("10.0.0.1")), Ok(()));
        // One place is kept for programs of this host.
        assert_eq!(limits.take(trusted("10.0.0.2")).unwrap_err(), LimitReached::Full);
        assert_eq!(limits.reserve_before_proxy().unwrap_err(), LimitReached::Full);
        let _last = limits.take(trusted("127.0.0.1")).unwrap();
        assert_eq!(limits.take(trusted("127.0.0.1")).unwrap_err(), LimitReached::Full);
        drop(strangers);
        assert!(limits.take(stranger("192.0.2.2")).is_ok());
    }

    #[test]
    fn all_of_loopback_is_one_client_and_the_network_leaves_it_a_place() {
        let limits = ConnectionLimits::new(10, 3);
        let own = ["127.0.0.1", "127.9.9.9", "::1"].map(|text| limits.take(trusted(text)).unwrap());
        for another in ["127.0.0.1", "127.0.0.2", "::1"] {
            assert_eq!(limits.take(trusted(another)).unwrap_err(), LimitReached::ClientFull);
        }
        drop(own);
        let network: Vec<_> =
            (0..9).map(|host| limits.take(trusted(&format!("10.0.0.{host}"))).unwrap()).collect();
        assert_eq!(limits.take(trusted("10.0.0.9")).unwrap_err(), LimitReached::Full);
        assert!(limits.take(trusted("::1")).is_ok());
        drop(network);
    }

    #[tokio::test]
    async fn the_client_that_was_idle_for_the_longest_is_asked_to_leave_and_no_busy_one() {
        let (limits, loopback) = (ConnectionLimits::new(10, 3), trusted("127.0.0.1"));
        let [silent, spoken, busy] = [0; 3].map(|_| limits.take(loopback).unwrap());
        silent.seat().waits_from(1_000, false);
        spoken.seat().waits_from(0, true);
        let dismissed = || [&silent, &spoken, &busy].map(|permit| permit.seat().is_dismissed());
        limits.dismiss_the_idle(loopback, 60_000);
        assert_eq!(dismissed(), [false; 3], "nobody waits");
        let _one = limits.wait().unwrap();
        limits.dismiss_the_idle(loopback, 2_000);
        assert_eq!(dismissed(), [false; 3], "not yet");
        limits.dismiss_the_idle(loopback, 3_000);
        assert_eq!(dismissed(), [true, false, false], "it has never spoken");
        limits.dismiss_the_idle(loopback, 60_000);
        assert_eq!(dismissed(), [true, false, false], "one leaves for the one that waits");
        let _other = limits.wait().unwrap();
        limits.dismiss_the_idle(trusted("10.0.0.1"), 60_000);
        limits.dismiss_the_idle(loopback, 60_000);
        limits.dismiss_the_idle(loopback, 60_000);
        assert_eq!(dismissed(), [true, true, false]);
    }

    #[tokio::test]
    async fn a_place_that_comes_back_calls_the_one_who_came_first() {
        let (limits, loopback) = (ConnectionLimits::new(10, 1), trusted("127.0.0.1"));
        let permit = limits.take(loopback).unwrap();
        let [first, second] = [0; 2].map(|_| limits.wait().unwrap());
        assert!(first.is_first() && !second.is_first());
        drop(permit);
        first.called().await;
        drop(first);
        second.called().await;
        assert!(second.is_first());
        let waiting: Vec<_> = (0..WAITING_MAX - 1).map(|_| limits.wait().unwrap()).collect();
        assert!(limits.wait().is_none(), "they are bounded");
        drop((waiting, second));
        assert!(!limits.has_waiting());
    }

    #[test]
    fn users_leave_the_last_quarter_to_root_and_have_each_their_own() {
        let limits = ConnectionLimits::new(8, 3);
        let taken = [1_000, 1_000, 1_000].map(|uid| limits.take(LimitKey::of_user(uid)).unwrap());
        assert_eq!(limits.take(LimitKey::of_user(1_000)).unwrap_err(), LimitReached::ClientFull);
        let _others = [1, 2, 3].map(|uid| limits.take(LimitKey::of_user(uid)).unwrap());
        assert_eq!(limits.take(LimitKey::of_user(4)).unwrap_err(), LimitReached::Full);
        let _system = [0, 0].map(|uid| limits.take(LimitKey::of_user(uid)).unwrap());
        drop(taken);
        assert!(limits.take(LimitKey::of_user(1_000)).is_ok());
    }

    #[test]
    fn an_ipv6_network_of_strangers_has_the_places_of_one_client_and_trusted_hosts_each_their_own()
    {
        let limits = ConnectionLimits::new(100, 2);
        let _taken =
            ["2001:db8::1", "2001:db8::2"].map(|text| limits.take(stranger(text)).unwrap());
        assert_eq!(limits.take(stranger("2001:db8::3")).unwrap_err(), LimitReached::ClientFull);
        assert!(limits.take(stranger("2001:db8:0:1::1")).is_ok());
        let own =
            ["fd00::1", "fd00::1", "fd00::2", "fd00::2"].map(|text| limits.take(trusted(text)));
        assert!(own.iter().all(Result::is_ok));
    }

    #[test]
    fn a_place_comes_back_when_it_is_dropped_and_nothing_of_the_client_stays() {
        let [one, other] = ["127.0.0.1", "192.0.2.1"].map(trusted);
        let limits = ConnectionLimits::new(3, 1);
        let first = limits.take(one).unwrap();
        assert_eq!(limits.take(one).unwrap_err(), LimitReached::ClientFull);
        let second = limits.take(other).unwrap();
        assert_eq!(limits.take(other).unwrap_err(), LimitReached::Full);
        drop((first, second));
        assert!(limits.lock().by_client.is_empty());
        assert!(limits.take(one).is_ok());
    }

    #[test]
    fn a_place_that_a_proxy_has_yet_to_name_counts_in_all_and_then_for_its_client() {
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(trusted);
        let limits = ConnectionLimits::new(4, 1);
        let _first = limits.take(one).unwrap();
        let (mut second, mut third) =
            (limits.reserve_before_proxy().unwrap(), limits.reserve_before_proxy().unwrap());
        assert_eq!(limits.reserve_before_proxy().unwrap_err(), LimitReached::Full);
        assert_eq!(second.name(one), Err(LimitReached::ClientFull));
        assert_eq!(third.name(other), Ok(()));
        drop((second, third));
        let taken = limits.lock();
        assert_eq!((taken.total, taken.by_client.len()), (1, 1));
    }
}
