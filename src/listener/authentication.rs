//! Logins: asks the users file, and slows down whoever guesses.
//!
//! Rule: a failure is charged to the client's address before the password is looked at and given back when
//! it was right, so that many connections guess no faster than one. The password reaches no log.
//! Must not know the words of AUTH.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    clients::Clients,
    site::site,
    users::{Users, UsersError},
};
use crate::{
    clock::Clock,
    smtp::session::{Authentication, Client, Credentials, LoginRefusal},
};

/// Wrong passwords of one address within [`FAILURES_WINDOW`], after which it is not even asked.
pub(super) const FAILURES_MAX: usize = 20;
/// How long a failure counts.
pub(super) const FAILURES_WINDOW: Duration = Duration::from_secs(10 * 60);
/// How long the first refusal is held back; each further one a second longer,
pub(super) const DELAY: Duration = Duration::from_secs(1);
/// up to this. Clients wait for minutes, and a person who mistypes should not.
pub(super) const DELAY_MAX: Duration = Duration::from_secs(8);
/// Addresses whose failures are counted; the one with the oldest failure is forgotten for a new one.
const ADDRESSES_MAX: usize = 4_096;
/// Characters of a login that are logged.
const LOGIN_LOGGED_MAX: usize = 64;

/// Who may log in, and who guesses.
#[derive(Debug)]
pub(super) struct Authenticator {
    users: Option<Users>,
    failures: Failures,
    clients: Arc<Clients>,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    pub(super) fn new(users: Option<Users>, clients: Arc<Clients>, clock: Arc<dyn Clock>) -> Self {
        Self { users, failures: Failures::default(), clients, clock }
    }

    /// Whether the client is who it says. A refusal takes its time.
    pub(super) async fn check(&self, client: Client, credentials: &Credentials) -> Result<(), LoginRefusal> {
        // Only a trusted client, which may relay without a login as well.
        if client.policy.authentication == Authentication::AcceptAny && client.policy.trusted {
            return Ok(());
        }
        let Some(charge) = self.failures.charge(client.address, self.now_ms()) else {
            self.log(client, credentials, "too many failures; not asked");
            return Err(LoginRefusal::Unavailable);
        };
        match self.ask(credentials).await {
            Ok(true) => {
                self.failures.refund(client.address, charge);
                Ok(())
            }
            Ok(false) => {
                self.log(client, credentials, "wrong login or password");
                self.clock.sleep(charge.delay()).await;
                Err(LoginRefusal::Wrong)
            }
            Err(error) => {
                self.failures.refund(client.address, charge);
                tracing::warn!(client = %client.address, reason = %error, "login not checked");
                Err(LoginRefusal::Unavailable)
            }
        }
    }

    async fn ask(&self, credentials: &Credentials) -> Result<bool, UsersError> {
        match &self.users {
            Some(users) => users.verify(&credentials.login, &credentials.password).await,
            // Without a file nobody is a user.
            None => Ok(false),
        }
    }

    fn log(&self, client: Client, credentials: &Credentials, reason: &str) {
        let login: String = credentials.login.chars().take(LOGIN_LOGGED_MAX).collect();
        let login = login.escape_debug();
        if self.clients.login_failed(client.address, self.clock.now()) {
            tracing::info!(client = %client.address, %login, reason, "login refused");
        } else {
            tracing::debug!(client = %client.address, %login, reason, "login refused");
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.now().since_boot_ms
    }
}

/// The failures of each address that count at present.
#[derive(Debug, Default)]
struct Failures {
    by_address: Mutex<HashMap<IpAddr, VecDeque<u64>>>,
}

/// A failure, charged in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Charge {
    at_ms: u64,
    /// Which one of its address this is, from 1.
    number: usize,
}

impl Charge {
    fn delay(self) -> Duration {
        DELAY.saturating_mul(u32::try_from(self.number).unwrap_or(u32::MAX)).min(DELAY_MAX)
    }
}

impl Failures {
    /// `None` when the address has failed too often.
    fn charge(&self, address: IpAddr, now_ms: u64) -> Option<Charge> {
        let address = site(address);
        let mut by_address = self.lock();
        if by_address.len() >= ADDRESSES_MAX && !by_address.contains_key(&address) {
            let oldest = by_address.iter().min_by_key(|(_, times)| times.back().copied());
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                by_address.remove(&oldest);
            }
        }
        let times = by_address.entry(address).or_default();
        let window_ms = u64::try_from(FAILURES_WINDOW.as_millis()).unwrap_or(u64::MAX);
        while times.front().is_some_and(|first| now_ms.saturating_sub(*first) >= window_ms) {
            times.pop_front();
        }
        if times.len() >= FAILURES_MAX {
            return None;
        }
        times.push_back(now_ms);
        Some(Charge { at_ms: now_ms, number: times.len() })
    }

    fn refund(&self, address: IpAddr, charge: Charge) {
        let address = site(address);
        let mut by_address = self.lock();
        let Some(times) = by_address.get_mut(&address) else { return };
        if let Some(position) = times.iter().rposition(|time| *time == charge.at_ms) {
            times.remove(position);
        }
        if times.is_empty() {
            by_address.remove(&address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, VecDeque<u64>>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_delay_grows_with_each_failure_and_the_address_is_cut_off_until_they_are_old() {
        let failures = Failures::default();
        let one = address("192.0.2.1");
        let delays: Vec<u64> =
            (0..20).map(|second| failures.charge(one, second * 1_000).unwrap().delay().as_secs()).collect();
        assert_eq!(delays[..9], [1, 2, 3, 4, 5, 6, 7, 8, 8]);
        assert_eq!(failures.charge(one, 20_000), None);
        assert!(failures.charge(address("192.0.2.2"), 20_000).is_some(), "another address");
        assert_eq!(failures.charge(one, 599_999), None);
        assert!(failures.charge(one, 600_000).is_some());
        assert_eq!(failures.charge(one, 600_000), None, "one by one");
    }

    #[test]
    fn a_right_password_costs_nothing_and_leaves_nothing() {
        let failures = Failures::default();
        let one = address("192.0.2.1");
        for _ in 0..100 {
            let charge = failures.charge(one, 0).unwrap();
            failures.refund(one, charge);
        }
        assert!(failures.lock().is_empty());
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_guess_together() {
        let failures = Failures::default();
        for host in 0..FAILURES_MAX {
            assert!(failures.charge(address(&format!("2001:db8::{host:x}")), 0).is_some());
        }
        assert_eq!(failures.charge(address("2001:db8::ffff"), 0), None);
        assert!(failures.charge(address("2001:db8:0:1::1"), 0).is_some());
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let failures = Failures::default();
        for number in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 10 {
            failures.charge(std::net::Ipv4Addr::from(number).into(), u64::from(number));
        }
        let by_address = failures.lock();
        assert_eq!(by_address.len(), ADDRESSES_MAX);
        assert!(!by_address.contains_key(&address("0.0.0.0")));
    }
}
