//! A limit on the messages a minute from each network.
//!
//! Rule: a network without a limit costs nothing here; one with a limit may send a minute's worth at
//! once. Must not know what a network is but by its number.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::Clock as _,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

use super::options::Network;
use crate::clock::{BootClock, Clock};

type Limiter = RateLimiter<NotKeyed, InMemoryState, BootClock, NoOpMiddleware<Duration>>;

/// The limits of all networks.
#[derive(Debug)]
pub(super) struct Rates {
    clock: BootClock,
    limiters: Vec<Option<Limiter>>,
}

impl Rates {
    pub(super) fn new(networks: &[Network], clock: Arc<dyn Clock>) -> Self {
        let clock = BootClock::new(clock);
        let limiter = |per_minute: NonZeroU32| {
            RateLimiter::direct_with_clock(Quota::per_minute(per_minute), clock.clone())
        };
        let limiters =
            networks.iter().map(|network| network.messages_per_minute.map(limiter)).collect();
        Self { clock, limiters }
    }

    /// Counts one message of the network with this number, or tells how long it must wait, in whole
    /// seconds.
    pub(super) fn take(&self, network: usize) -> Result<(), Duration> {
        let Some(Some(limiter)) = self.limiters.get(network) else { return Ok(()) };
        limiter.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            Duration::from_secs(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{ManualClock, Timestamp},
        message::envelope::Lane,
        smtp::server::Policy,
    };

    fn network(messages_per_minute: Option<u32>) -> Network {
        Network {
            networks: Vec::new(),
            policy: Policy::plain(true, 1_000),
            messages_per_minute: messages_per_minute.and_then(NonZeroU32::new),
            lane: Lane::Normal,
        }
    }

    #[test]
    fn each_network_has_its_own_minute_and_one_without_a_limit_has_none() {
        let clock = ManualClock::new(Timestamp(0));
        let rates = Rates::new(&[network(Some(2)), network(None)], Arc::new(clock.clone()));
        assert_eq!([rates.take(0), rates.take(0)], [Ok(()), Ok(())]);
        assert_eq!(rates.take(0), Err(Duration::from_secs(30)));
        clock.advance(Duration::from_millis(29_500));
        assert_eq!(rates.take(0), Err(Duration::from_secs(1)));
        assert!((0..1_000).all(|_| rates.take(1).is_ok()));
        clock.advance(Duration::from_secs(1));
        assert_eq!(rates.take(0), Ok(()));
    }
}
