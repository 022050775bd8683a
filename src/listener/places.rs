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
    /// `None` until a proxy has named it.
    client: Option<IpAddr>,
}

impl Places {
    pub(super) fn new(max: usize, max_per_client: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_client, taken: Mutex::default() })
    }

    /// Takes a place for a client.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr) -> Result<Place, NoPlace> {
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

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts the place as one of this client's. Whoever gets an error gives the place back.
    pub(super) fn name(&mut self, client: IpAddr) -> Result<(), NoPlace> {
        let mut taken = self.places.lock();
        let of_client = taken.by_client.entry(client).or_default();
        if *of_client >= self.places.max_per_client {
            return Err(NoPlace::ClientFull);
        }
        *of_client += 1;
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

    #[test]
    fn a_place_that_a_proxy_has_yet_to_name_counts_in_all_and_then_for_its_client() {
        let [one, other] = ["127.0.0.1", "127.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let places = Places::new(3, 1);
        let _first = places.take(one).unwrap();
        let (mut second, mut third) = (places.take_unnamed().unwrap(), places.take_unnamed().unwrap());
        assert_eq!(places.take_unnamed().unwrap_err(), NoPlace::Full);
        assert_eq!(second.name(one), Err(NoPlace::ClientFull));
        assert_eq!(third.name(other), Ok(()));
        drop((second, third));
        let taken = places.lock();
        assert_eq!((taken.total, taken.by_client.len()), (1, 1));
    }
}
