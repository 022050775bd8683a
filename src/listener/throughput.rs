//! Limits on messages in transfer: the memory of all of them, and how many a minute each network may hand in.
//!
//! Rule: a message takes its share before its first octet is read and gives it back when it is on disk or dropped, and
//! never needs more while it holds some, so nobody waits for ever. A network without a limit costs nothing.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::Clock as _,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::options::Network;
use crate::{
    clock::{BootClock, Clock},
    queue::spool_file::BUFFER_BYTES,
    smtp::server::INPUT_BYTES_MAX,
};

/// What one message in transfer may hold: the input of its session; what was decoded of that, twice as
/// much when every octet was a bare LF; and a draft's buffer, which is written out when it is full and may
/// have taken one more piece by then.
pub(super) const MESSAGE_BYTES_MAX: usize =
    INPUT_BYTES_MAX + 2 * (2 * INPUT_BYTES_MAX) + BUFFER_BYTES;

/// How long a message waits for memory. Clients wait two minutes for the reply to DATA
/// (RFC 5321 section 4.5.3.2.4).
const WAIT_MAX: Duration = Duration::from_secs(60);

/// All of it.
#[derive(Debug)]
pub(super) struct Memory {
    shares: Arc<Semaphore>,
}

/// The share of one message. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share {
    _permit: OwnedSemaphorePermit,
}

impl Memory {
    /// Room for `bytes`, and for one message at least.
    pub(super) fn new(bytes: u64) -> Self {
        let shares = usize::try_from(bytes).unwrap_or(usize::MAX) / MESSAGE_BYTES_MAX;
        Self { shares: Arc::new(Semaphore::new(shares.clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// Takes a share; waits when there is none, and in the end goes without.
    pub(super) async fn share(&self, clock: &dyn Clock) -> Option<Share> {
        let shares = Arc::clone(&self.shares);
        if let Ok(permit) = Arc::clone(&shares).try_acquire_owned() {
            return Some(Share { _permit: permit });
        }
        tokio::select! {
            biased;
            // The semaphore is never closed.
            permit = shares.acquire_owned() => permit.ok().map(|permit| Share { _permit: permit }),
            () = clock.sleep(WAIT_MAX) => None,
        }
    }
}

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

    #[tokio::test]
    async fn a_share_too_many_waits_for_one_to_come_back() {
        let clock = ManualClock::new(Timestamp(0));
        let memory = Memory::new(2 * MESSAGE_BYTES_MAX as u64);
        let first = memory.share(&clock).await.unwrap();
        let _second = memory.share(&clock).await.unwrap();
        let third = memory.share(&clock);
        tokio::pin!(third);
        tokio::select! {
            biased;
            _ = &mut third => panic!("there are two"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        assert!(third.await.is_some());
    }

    #[tokio::test]
    async fn whoever_waits_for_too_long_goes_without() {
        let clock = ManualClock::new(Timestamp(0));
        let memory = Memory::new(0);
        let _only = memory.share(&clock).await.unwrap();
        let waiting = memory.share(&clock);
        let moving = async {
            tokio::task::yield_now().await;
            clock.advance(WAIT_MAX);
        };
        let (share, ()) = tokio::join!(waiting, moving);
        assert!(share.is_none());
    }

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
