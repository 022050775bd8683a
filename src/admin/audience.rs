//! Limits on who talks to the API at a time: so many in all and of each client; whoever says nothing makes room.
//!
//! Rule: a client that asks at once is heard, whatever others hold; one whose answer is under way is not interrupted.
//! Must not know HTTP or sockets.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::oneshot;

use crate::{listener::limits::prefix, sync};

/// Under what conversations are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Address(IpAddr),
    User(u32),
}

impl Party {
    /// A client of the network; all of loopback, and an IPv6 network that a site is given, are one.
    pub(super) fn of_address(address: IpAddr) -> Self {
        Self::Address(prefix(address))
    }

    /// Programs of this host, and root, for whom the last places are kept.
    fn is_first(self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::User(uid) => uid == 0,
        }
    }
}

/// How many may talk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) all: usize,
    pub(super) of_one: usize,
    /// Of all, those that are kept for root, or for this host.
    pub(super) kept: usize,
}

/// Everybody who talks, the one who came first before the others.
#[derive(Debug)]
pub(super) struct Audience {
    limits: Limits,
    present: Mutex<VecDeque<Present>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Present {
    number: u64,
    party: Party,
    /// An answer is under way.
    is_answered: bool,
    /// Dropped when somebody else gets the place.
    _stay: oneshot::Sender<()>,
}

/// A place in the audience; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    audience: Arc<Audience>,
    number: u64,
    /// Ends when somebody else has got the place.
    pub(super) lost: oneshot::Receiver<()>,
}

impl Audience {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, present: Mutex::default(), next: AtomicU64::new(0) })
    }

    /// Lets somebody in. Where it is full, whoever came first and is not being answered loses his place: of the same
    /// party, when that has all it may have. `None` when all of them are being answered.
    pub(super) fn enter(self: &Arc<Self>, party: Party) -> Option<Place> {
        let mut present = self.lock();
        let all =
            if party.is_first() { self.limits.all } else { self.limits.all - self.limits.kept };
        let of_party = present.iter().filter(|other| other.party == party).count();
        let gives_way = |other: &Present| {
            !other.is_answered && (of_party < self.limits.of_one || other.party == party)
        };
        if of_party >= self.limits.of_one || present.len() >= all {
            let first = present.iter().position(gives_way)?;
            present.remove(first);
        }
        let (stay, lost) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        present.push_back(Present { number, party, is_answered: false, _stay: stay });
        Some(Place { audience: Arc::clone(self), number, lost })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Present>> {
        sync::lock(&self.present)
    }
}

impl Place {
    /// Whether an answer is under way.
    pub(super) fn answered(&self, is_answered: bool) {
        let mut present = self.audience.lock();
        if let Some(own) = present.iter_mut().find(|other| other.number == self.number) {
            own.is_answered = is_answered;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.audience.lock().retain(|other| other.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { all: 4, of_one: 2, kept: 1 };

    fn address(text: &str) -> Party {
        Party::of_address(text.parse().unwrap())
    }

    fn is_lost(place: &mut Place) -> bool {
        place.lost.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn whoever_came_first_and_says_nothing_makes_room_for_one_of_the_same_client() {
        let audience = Audience::new(LIMITS);
        let mut first = audience.enter(address("127.0.0.1")).unwrap();
        let mut second = audience.enter(address("127.9.9.9")).unwrap();
        let mut other = audience.enter(address("192.0.2.1")).unwrap();
        first.answered(true);
        let third = audience.enter(address("::1")).unwrap();
        assert_eq!([&mut first, &mut second, &mut other].map(is_lost), [false, true, false]);
        third.answered(true);
        assert!(audience.enter(address("127.0.0.1")).is_none(), "both are being answered");
        drop(first);
        assert!(audience.enter(address("127.0.0.1")).is_some());
    }

    #[test]
    fn the_network_leaves_a_place_to_this_host_and_users_to_root() {
        for (others, own) in [
            (["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"].map(address), address("::1")),
            ([1, 2, 3, 4].map(Party::User), Party::User(0)),
        ] {
            let audience = Audience::new(LIMITS);
            let mut places = others.map(|party| audience.enter(party).unwrap());
            assert_eq!(places.each_mut().map(is_lost), [true, false, false, false]);
            let _own = audience.enter(own).unwrap();
            assert_eq!(places.each_mut().map(is_lost), [true, false, false, false]);
        }
    }
}
