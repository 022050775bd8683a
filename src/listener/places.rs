//! How many clients are being served, in all and from each address.
//!
//! Rule: a [`Place`] is taken before a session starts and given back when it is dropped, so no path out
//! of a session can leak one. Must not know sockets.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::site::site;

/// The last one of so many shares of the places is for trusted clients alone: a handful of strangers with
/// idle connections must not keep the devices of the house out. A quarter of the default is 50 places, and
/// leaves 150 to strangers.
const SHARES: usize = 4;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    max_per_client: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_client: HashMap<Party, usize>,
}

/// Whom a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guest {
    party: Party,
    /// Whether the last places are for it, too.
    trusted: bool,
}

/// Under what its places are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Party {
    Address(IpAddr),
    User(u32),
}

impl Guest {
    /// A client of a network; `trusted` when it may relay without a login.
    pub(super) fn of_address(address: IpAddr, trusted: bool) -> Self {
        Self { party: Party::Address(if trusted { address } else { site(address) }), trusted }
    }

    /// A user of this host. The last places are root's: a user's programs must not keep the system's own mail out.
    pub(super) fn of_user(uid: u32) -> Self {
        Self { party: Party::User(uid), trusted: uid == 0 }
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// None at all, or none for strangers.
    Full,
    /// None for this client.
    ClientFull,
}

/// One place, taken.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    /// `None` until a proxy has named it.
    client: Option<Party>,
}

impl Places {
    pub(super) fn new(max: usize, max_per_client: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_client, taken: Mutex::default() })
    }

    /// Takes a place for a client.
    pub(super) fn take(self: &Arc<Self>, client: Guest) -> Result<Place, NoPlace> {
        let mut place = self.take_unnamed()?;
        place.name(client)?;
        Ok(place)
    }

    /// Takes a place for a client whose address a proxy has yet to tell.
    pub(super) fn take_unnamed(self: &Arc<Self>) -> Result<Place, NoPlace> {
        let mut taken = self.lock();
        if taken.total >= self.max {
            return Err(NoPlace::Full);
        }
        taken.total += 1;
        Ok(Place { places: Arc::clone(self), client: None })
    }

    /// How many places may be taken when a stranger has got the last of them.
    fn max_of_strangers(&self) -> usize {
        self.max - self.max / SHARES
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts the place as one of this client's. Whoever gets an error gives the place back.
    pub(super) fn name(&mut self, client: Guest) -> Result<(), NoPlace> {
        let mut taken = self.places.lock();
        if !client.trusted && taken.total > self.places.max_of_strangers() {
            return Err(NoPlace::Full);
        }
        let client = client.party;
        let of_client = taken.by_client.get(&client).copied().unwrap_or_default();
        if of_client >= self.places.max_per_client {
            return Err(NoPlace::ClientFull);
        }
        taken.by_client.insert(client, of_client + 1);
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.total -= 1;
        let Some(client) = self.client else { return };
        if let Some(of_client) = taken.by_client.get_mut(&client) {
            *of_client -= 1;
            // The map holds present clients only, so that it cannot grow for ever.
            if *of_client == 0 {
                taken.by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(address: &str) -> Guest {
        Guest::of_address(address.parse().unwrap(), true)
    }

    fn stranger(address: &str) -> Guest {
        Guest::of_address(address.parse().unwrap(), false)
    }

    #[test]
    fn strangers_leave_the_last_quarter_to_trusted_clients_also_behind_a_proxy() {
        let places = Places::new(8, 8);
        let strangers: Vec<_> =
            (0..6).map(|_| places.take(stranger("192.0.2.1")).unwrap()).collect();
        assert_eq!(places.take(stranger("192.0.2.2")).unwrap_err(), NoPlace::Full);
        let mut behind_a_proxy = places.take_unnamed().unwrap();
        assert_eq!(behind_a_proxy.name(stranger("192.0.2.2")), Err(NoPlace::Full));
        assert_eq!(behind_a_proxy.name(trusted("10.0.0.1")), Ok(()));
        let _last = places.take(trusted("10.0.0.2")).unwrap();
        assert_eq!(places.take(trusted("10.0.0.3")).unwrap_err(), NoPlace::Full);
        drop(strangers);
        assert!(places.take(stranger("192.0.2.2")).is_ok());
    }

    #[test]
    fn users_leave_the_last_quarter_to_root_and_have_each_their_own() {
        let places = Places::new(8, 3);
        let taken = [1_000, 1_000, 1_000].map(|uid| places.take(Guest::of_user(uid)).unwrap());
        assert_eq!(places.take(Guest::of_user(1_000)).unwrap_err(), NoPlace::ClientFull);
        let _others = [1, 2, 3].map(|uid| places.take(Guest::of_user(uid)).unwrap());
        assert_eq!(places.take(Guest::of_user(4)).unwrap_err(), NoPlace::Full);
        let _system = [0, 0].map(|uid| places.take(Guest::of_user(uid)).unwrap());
        drop(taken);
        assert!(places.take(Guest::of_user(1_000)).is_ok());
    }

    #[test]
    fn an_ipv6_network_of_strangers_has_the_places_of_one_client_and_trusted_hosts_each_their_own()
    {
        let places = Places::new(100, 2);
        let _taken =
            ["2001:db8::1", "2001:db8::2"].map(|text| places.take(stranger(text)).unwrap());
        assert_eq!(places.take(stranger("2001:db8::3")).unwrap_err(), NoPlace::ClientFull);
        assert!(places.take(stranger("2001:db8:0:1::1")).is_ok());
        let own =
            ["fd00::1", "fd00::1", "fd00::2", "fd00::2"].map(|text| places.take(trusted(text)));
        assert!(own.iter().all(Result::is_ok));
    }

    #[test]
    fn a_place_comes_back_when_it_is_dropped_and_nothing_of_the_client_stays() {
        let [one, other] = ["127.0.0.1", "127.0.0.2"].map(trusted);
        let places = Places::new(2, 1);
        let first = places.take(one).unwrap();
        assert_eq!(places.take(one).unwrap_err(), NoPlace::ClientFull);
        let second = places.take(other).unwrap();
        assert_eq!(places.take(one).unwrap_err(), NoPlace::Full);
        drop((first, second));
        assert!(places.lock().by_client.is_empty());
        assert!(places.take(one).is_ok());
    }

    #[test]
    fn a_place_that_a_proxy_has_yet_to_name_counts_in_all_and_then_for_its_client() {
        let [one, other] = ["127.0.0.1", "127.0.0.2"].map(trusted);
        let places = Places::new(3, 1);
        let _first = places.take(one).unwrap();
        let (mut second, mut third) =
            (places.take_unnamed().unwrap(), places.take_unnamed().unwrap());
        assert_eq!(places.take_unnamed().unwrap_err(), NoPlace::Full);
        assert_eq!(second.name(one), Err(NoPlace::ClientFull));
        assert_eq!(third.name(other), Ok(()));
        drop((second, third));
        let taken = places.lock();
        assert_eq!((taken.total, taken.by_client.len()), (1, 1));
    }
}
