//! The connections of an account that several hosts share, as a worker and the pool meet them.
//!
//! Rule: without a fleet nothing is asked and nothing changes; so it is over the API, whose requests nobody counts as logins. A
//! refusal costs no message anything. Must not know how the books are kept.

use std::{
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    shared::Shared,
    status::{Departure, DepartureReason},
};
use crate::fleet::{Seat, Seating, Seats};

/// How long a host without a connection waits before it asks again; up to half as much is added by chance. It must not be
/// longer than a wish lasts.
const SEAT_WAIT: Duration = Duration::from_secs(3);
/// How long it waits at most for a login before it asks again: another host may give one back that was not made.
const LOGIN_WAIT_MAX: Duration = Duration::from_secs(60);
/// Beyond the moment at which a login is said to be free: at most, as chance has it, so that the hosts do not come together.
const LOGIN_JITTER_MS: u64 = 2_000;

/// What a worker may do that has no connection.
#[derive(Debug)]
pub(super) enum Seated {
    /// Log in: nobody else counts it.
    Alone,
    /// Log in, and use the connection as long as this lasts.
    With(Seat),
    /// Nothing: the schedule knows what for.
    Refused,
}

impl Shared {
    /// This host's connections, where they are shared.
    pub(super) fn seats(&self) -> Option<&Arc<Seats>> {
        self.share().filter(|_| !self.options().is_api()).map(|share| &share.seats)
    }

    /// Tells those connections what the present options allow: each question to the books names it, from now on.
    pub(super) fn name_what_is_allowed(&self) {
        let Some(share) = &self.fleet else { return };
        share.seats.allow(self.options().seating_terms());
    }

    /// Waits until connections are asked back, or were lost; for ever without a fleet.
    pub(super) async fn news_of_seats(&self) {
        match self.seats() {
            Some(seats) => seats.news.notified().await,
            None => pending().await,
        }
    }

    /// Asks for a connection and a login.
    pub(super) async fn ask_for_a_seat(&self) -> Seated {
        let Some(seats) = self.seats() else { return Seated::Alone };
        match seats.ask().await {
            Ok(Seating::Granted(seat)) => {
                self.wants_a_seat.store(false, Ordering::Relaxed);
                let mut schedule = self.schedule();
                schedule.unblock(DepartureReason::Logins);
                schedule.unblock(DepartureReason::Connections);
                return Seated::With(seat);
            }
            Ok(Seating::HourIsSpent { frees_in }) => {
                self.wants_a_seat.store(true, Ordering::Relaxed);
                let jitter = Duration::from_millis(fastrand::u64(..LOGIN_JITTER_MS));
                let wait = frees_in.min(LOGIN_WAIT_MAX) + jitter;
                self.schedule().block(DepartureReason::Logins, self.now(), wait);
            }
            Ok(Seating::AllInUse) => self.is_crowded_out(seats),
            Err(_) => self.wait_for_the_fleet(),
        }
        Seated::Refused
    }

    /// This host goes on with the connections that it has; where it has none, its mail waits for one.
    pub(super) fn is_crowded_out(&self, seats: &Seats) {
        let now = self.now();
        if seats.number() > 0 {
            // What is sent over them is found by who sends it; this is for one that becomes free elsewhere.
            self.schedule().due(Some(now.wall.after(seats.crowded_for())));
            return;
        }
        self.wants_a_seat.store(true, Ordering::Relaxed);
        let wait = SEAT_WAIT + SEAT_WAIT.mul_f64(fastrand::f64() / 2.0);
        self.schedule().block(DepartureReason::Connections, now, wait);
    }

    /// Whether a worker without a connection need not ask for one yet.
    pub(super) fn waits_for_a_seat(&self) -> bool {
        let Some(seats) = self.seats() else { return false };
        let schedule = self.schedule();
        let now = self.clock.now();
        schedule.waits_for(DepartureReason::Logins, now)
            || schedule.waits_for(DepartureReason::Connections, now)
            || seats.number() > 0 && !seats.crowded_for().is_zero()
    }

    /// How long until a login may be made, by this host's own count.
    pub(super) fn own_login_wait(&self) -> Duration {
        if self.options().counts_logins() { self.logins.wait() } else { Duration::ZERO }
    }

    /// The same by what was last heard of all hosts as well.
    pub(super) fn login_wait(&self) -> Duration {
        let of_all = self.seats().map_or(Duration::ZERO, |seats| seats.hour_is_spent_for());
        self.own_login_wait().max(of_all)
    }

    /// When the next message leaves: where the hour is spent by all hosts, they have said when that ends.
    pub(super) fn by_the_logins_of_all(&self, next: Departure) -> Departure {
        if next.why != DepartureReason::Logins {
            return next;
        }
        Departure { at: next.at.max(self.now().wall.after(self.login_wait())), ..next }
    }

    /// Whether more logins are left than the others, messages and hosts, will need.
    pub(super) fn has_logins_to_spare(&self) -> bool {
        let options = self.options();
        let of_all = || {
            let seats = self.seats();
            seats.is_none_or(|seats| seats.is_plentiful(options.logins_per_hour))
        };
        !options.counts_logins() || self.logins.is_plentiful() && of_all()
    }
}

#[cfg(test)]
mod tests;
