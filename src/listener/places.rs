//! How many clients are being served, in all and from each address.
//!
//! Rule: a [`Place`] is taken before a session starts and given back when it is dropped, so no path out
//! of a session can leak one. Must not know sockets.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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
    by_client: HashMap<IpAddr, usize>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// None at all.
    Full,
    /// None for this client.
    ClientFull,
}

/// One place, taken.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    client: IpAddr,
}

impl Places {
    pub(super) fn new(max: usize, max_per_client: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_client, taken: Mutex::default() })
    }

    /// Takes a place for a client.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr) -> Result<Place, NoPlace> {
        let mut taken = self.lock();
        if taken.total >= self.max {
            return Err(NoPlace::Full);
        }
        let of_client = taken.by_client.entry(client).or_default();
        if *of_client >= self.max_per_client {
            return Err(NoPlace::ClientFull);
        }
        *of_client += 1;
        taken.total += 1;
        Ok(Place { places: Arc::clone(self), client })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.total -= 1;
        if let Some(of_client) = taken.by_client.get_mut(&self.client) {
            *of_client -= 1;
            // The map holds present clients only, so that it cannot grow for ever.
            if *of_client == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_it_is_dropped_and_nothing_of_the_client_stays() {
        let [one, other] = ["127.0.0.1", "127.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let places = Places::new(2, 1);
        let first = places.take(one).unwrap();
        assert_eq!(places.take(one).unwrap_err(), NoPlace::ClientFull);
        let second = places.take(other).unwrap();
        assert_eq!(places.take(one).unwrap_err(), NoPlace::Full);
        drop((first, second));
        assert!(places.lock().by_client.is_empty());
        assert!(places.take(one).is_ok());
    }
}
