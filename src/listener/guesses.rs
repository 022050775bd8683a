//! Guesses: slows down whoever tries passwords, and asks him no more.
//!
//! Rule: passwords of one address that are being looked at and those that were wrong are at most
//! [`FAILURES_MAX`] together; further ones wait, so that many connections guess no faster than one and many
//! right logins at once all come in. Must not know passwords, nor where they are asked for.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::Notify;

use super::limits::prefix;
use crate::{clock::Clock, sync};

/// Wrong passwords of one address within [`WINDOW_MS`], after which it is not even asked.
const FAILURES_MAX: usize = 20;
/// How long a failure counts.
const WINDOW_MS: u64 = 10 * 60 * 1_000;
/// How long the first refusal is held back; each further one a second longer,
const DELAY: Duration = Duration::from_secs(1);
/// up to this. Clients wait for minutes, and a person who mistypes should not.
const DELAY_MAX: Duration = Duration::from_secs(8);
/// Addresses whose failures are counted; the one with the oldest failure is forgotten for a new one.
const ADDRESSES_MAX: usize = 4_096;
/// How long a login waits for others of its address; a client waits for minutes, and one check takes a
/// fraction of a second.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// The guesses of all clients.
#[derive(Debug)]
pub(crate) struct Guesses {
    failures: Failures,
    clock: Arc<dyn Clock>,
}

impl Guesses {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { failures: Failures::default(), clock }
    }

    /// Leave to look at one password; `None` when the address has failed too often.
    pub(crate) async fn turn(&self, address: IpAddr) -> Option<Attempt<'_>> {
        let waiting = async {
            loop {
                // Before the look, so that no end of another attempt is missed.
                let ended = self.failures.ended.notified();
                match self.failures.attempt(address, self.now_ms()) {
                    Turn::Now(attempt) => return Some(attempt),
                    Turn::Never => return None,
                    Turn::Later => ended.await,
                }
            }
        };
        tokio::select! {
            biased;
            turn = waiting => turn,
            () = self.clock.sleep(TURN_TIMEOUT) => None,
        }
    }

    /// The password was wrong: holds the refusal back, and says once that the address is not asked any more.
    pub(crate) async fn refuse(&self, attempt: Attempt<'_>, client: IpAddr) {
        let failure = attempt.failed(self.now_ms());
        if let Some(cut_off) = failure.cut_off {
            let until = self.clock.wall().after(cut_off);
            tracing::warn!(%client, %until, "too many failed logins; not asked until then");
        }
        self.clock.sleep(failure.delay()).await;
    }

    fn now_ms(&self) -> u64 {
        self.clock.now().since_boot_ms
    }
}

/// The failures of each address that count at present.
#[derive(Debug, Default)]
struct Failures {
    by_address: Mutex<HashMap<IpAddr, History>>,
    /// An attempt has ended: whoever waits for a turn looks again.
    ended: Notify,
}

#[derive(Debug, Default)]
struct History {
    /// When each failure was.
    failed_ms: VecDeque<u64>,
    /// Attempts that have not ended.
    pending: usize,
    /// Until when it need not be told again that the address is not asked.
    told_until_ms: u64,
}

/// Whether a password may be looked at.
#[derive(Debug)]
enum Turn<'a> {
    Now(Attempt<'a>),
    /// When another attempt of the address has ended.
    Later,
    Never,
}

/// A password that is being looked at.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    failures: &'a Failures,
    prefix: IpAddr,
}

/// A password that was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failure {
    /// Which one of its address this is, from 1.
    number: usize,
    /// How long the address is not asked from now on, where this is news.
    cut_off: Option<Duration>,
}

impl Failure {
    fn delay(self) -> Duration {
        DELAY.saturating_mul(u32::try_from(self.number).unwrap_or(u32::MAX)).min(DELAY_MAX)
    }
}

impl Failures {
    fn attempt(&self, address: IpAddr, now_ms: u64) -> Turn<'_> {
        let key = prefix(address);
        let mut by_address = self.lock();
        if by_address.len() >= ADDRESSES_MAX && !by_address.contains_key(&key) {
            // Those with attempts stay; there are no more of them than connections.
            let idle = by_address.iter().filter(|(_, history)| history.pending == 0);
            let oldest = idle.min_by_key(|(_, history)| history.failed_ms.back().copied());
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                by_address.remove(&oldest);
            }
        }
        let history = by_address.entry(key).or_default();
        while history
            .failed_ms
            .front()
            .is_some_and(|first| now_ms.saturating_sub(*first) >= WINDOW_MS)
        {
            history.failed_ms.pop_front();
        }
        if history.failed_ms.len() >= FAILURES_MAX {
            return Turn::Never;
        }
        if history.failed_ms.len() + history.pending >= FAILURES_MAX {
            return Turn::Later;
        }
        history.pending += 1;
        Turn::Now(Attempt { failures: self, prefix: key })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, History>> {
        sync::lock(&self.by_address)
    }
}

impl Attempt<'_> {
    /// The password was wrong.
    fn failed(self, now_ms: u64) -> Failure {
        let mut by_address = self.failures.lock();
        let history = by_address.entry(self.prefix).or_default();
        history.failed_ms.push_back(now_ms);
        let number = history.failed_ms.len();
        let is_news = number >= FAILURES_MAX && now_ms >= history.told_until_ms;
        let cut_off = history.failed_ms.front().filter(|_| is_news).map(|first| {
            history.told_until_ms = now_ms + WINDOW_MS;
            Duration::from_millis((first + WINDOW_MS).saturating_sub(now_ms))
        });
        Failure { number, cut_off }
    }
}

/// However it ended, also when the client has vanished.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut by_address = self.failures.lock();
        if let Some(history) = by_address.get_mut(&self.prefix) {
            history.pending = history.pending.saturating_sub(1);
            if history.pending == 0 && history.failed_ms.is_empty() {
                by_address.remove(&self.prefix);
            }
        }
        drop(by_address);
        self.failures.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A wrong password; `None` when it was not looked at.
    fn fail(failures: &Failures, text: &str, now_ms: u64) -> Option<Failure> {
        match failures.attempt(address(text), now_ms) {
            Turn::Now(attempt) => Some(attempt.failed(now_ms)),
            Turn::Later | Turn::Never => None,
        }
    }

    #[test]
    fn the_delay_grows_with_each_failure_and_the_address_is_cut_off_until_they_are_old() {
        let failures = Failures::default();
        let one = "192.0.2.1";
        let fails: Vec<_> =
            (0..20).map(|second| fail(&failures, one, second * 1_000).unwrap()).collect();
        let delays: Vec<u64> = fails.iter().map(|failure| failure.delay().as_secs()).collect();
        assert_eq!(delays[..9], [1, 2, 3, 4, 5, 6, 7, 8, 8]);
        let told: Vec<_> = fails.iter().filter_map(|failure| failure.cut_off).collect();
        assert_eq!(told, [Duration::from_secs(581)], "once, at the last one");
        assert_eq!(fail(&failures, one, 20_000), None);
        assert!(fail(&failures, "192.0.2.2", 20_000).is_some(), "another address");
        assert_eq!(fail(&failures, one, 599_999), None);
        let next = fail(&failures, one, 600_000).unwrap();
        assert_eq!(next.cut_off, None, "it was told within the last ten minutes");
        assert_eq!(fail(&failures, one, 600_000), None, "one by one");
    }

    #[test]
    fn a_right_password_costs_nothing_and_leaves_nothing() {
        let failures = Failures::default();
        for _ in 0..100 {
            assert!(matches!(failures.attempt(address("192.0.2.1"), 0), Turn::Now(_)));
        }
        assert!(failures.lock().is_empty());
    }

    #[test]
    fn attempts_at_a_time_wait_for_each_other_and_wrong_ones_stop_at_the_limit() {
        let failures = Failures::default();
        let one = address("192.0.2.1");
        let mut pending: Vec<_> = (0..FAILURES_MAX)
            .map(|_| match failures.attempt(one, 0) {
                Turn::Now(attempt) => attempt,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(matches!(failures.attempt(one, 0), Turn::Later));
        drop(pending.pop());
        assert!(matches!(failures.attempt(one, 0), Turn::Now(_)), "one was right");
        pending.pop().unwrap().failed(0);
        for attempt in pending {
            attempt.failed(0);
        }
        assert_eq!(failures.lock()[&one].failed_ms.len(), FAILURES_MAX - 1);
        assert!(fail(&failures, "192.0.2.1", 0).is_some_and(|failure| failure.cut_off.is_some()));
        assert!(matches!(failures.attempt(one, 0), Turn::Never));
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_guess_together() {
        let failures = Failures::default();
        for host in 0..FAILURES_MAX {
            assert!(fail(&failures, &format!("2001:db8::{host:x}"), 0).is_some());
        }
        assert_eq!(fail(&failures, "2001:db8::ffff", 0), None);
        assert!(fail(&failures, "2001:db8:0:1::1", 0).is_some());
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let failures = Failures::default();
        for number in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 10 {
            fail(&failures, &std::net::Ipv4Addr::from(number).to_string(), u64::from(number));
        }
        let by_address = failures.lock();
        assert_eq!(by_address.len(), ADDRESSES_MAX);
        assert!(!by_address.contains_key(&address("0.0.0.0")));
    }
}
