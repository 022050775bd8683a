//! The seats of one host: its connections to an account, each of which is one of those that all hosts share.
//!
//! Rule: a seat is the host's for a while after each renewal, by its own boot clock and counted from before it asked; then
//! nothing begins on its connection any more. Must not know what a connection carries.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::Notify;
use tracing::debug;

use super::{
    books::Trouble,
    logins::{Held, LoginAnswer, LoginAsk, LoginBooks, Over, Renewal, Renewed, Terms, USE},
    reach::Reach,
};
use crate::{clock::Clock, sync::lock};

/// Between two renewals: several may fail before a seat is over.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// The last part of it is left to chance, so that the hosts of a fleet do not come together.
const RENEW_JITTER_MS: u64 = 1_500;
/// Seats that are over and of which the books have not heard; the oldest beyond that end there by themselves.
const OVER_MAX: usize = 100;
/// How long a host that was refused one more connection goes on with those that it has.
const CROWDED_FOR: Duration = Duration::from_secs(10);

/// One host's part of an account's connections.
#[derive(Debug)]
pub(crate) struct Seats {
    books: Arc<dyn LoginBooks>,
    reach: Arc<Reach>,
    account: String,
    host: String,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Tells whoever renews that there is something to be renewed, or to be said.
    changed: Arc<Notify>,
    /// Tells that seats are asked back, or were lost.
    pub(crate) news: Notify,
}

#[derive(Debug, Default)]
struct State {
    seats: BTreeMap<i64, Own>,
    over: VecDeque<Over>,
    /// What every question names.
    terms: Terms,
    /// So many are for others.
    asked_back: u32,
    /// Logins that count, by all hosts, as was last heard.
    logins: u32,
    /// Until when the hour is spent, in milliseconds since boot.
    hour_until_ms: u64,
    /// Until when no more than those that there are.
    crowded_until_ms: u64,
    /// When the next renewal is, in milliseconds since boot.
    renew_at_ms: u64,
    /// The books could not be asked: what is to be said waits for the next renewal.
    is_away: bool,
}

impl State {
    fn number(&self) -> usize {
        self.seats.values().filter(|own| !own.is_leaving).count()
    }
}

/// A seat as its host knows it.
#[derive(Clone, Copy, Debug)]
struct Own {
    /// The last moment of this boot at which its connection may be used.
    until_ms: u64,
    is_made: bool,
    is_idle: bool,
    /// Its connection is being closed.
    is_leaving: bool,
}

/// The right to one connection, and to one login on it. It is given back when it is dropped, so its connection goes first.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    token: i64,
    /// The books have it, or may have it.
    is_known: bool,
}

/// The answer to a host that wants to log in.
#[derive(Debug)]
pub(crate) enum Seating {
    /// It may.
    Granted(Seat),
    /// The logins of the hour are spent, by all hosts together.
    HourIsSpent {
        /// For so long.
        frees_in: Duration,
    },
    /// All connections are in use, or hosts that have waited for longer come first.
    AllInUse,
}

impl Seats {
    pub(super) fn new(
        (books, reach, changed): (Arc<dyn LoginBooks>, Arc<Reach>, Arc<Notify>),
        (account, host): (String, String),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (state, news) = (Mutex::default(), Notify::new());
        Self { books, reach, account, host, clock, state, changed, news }
    }

    /// The account allows this from now on. What was heard under other terms counts no more.
    pub(crate) fn allow(&self, terms: Terms) {
        let mut state = lock(&self.state);
        if state.terms != terms {
            (state.terms, state.hour_until_ms, state.crowded_until_ms) = (terms, 0, 0);
        }
    }

    /// Asks for a connection and a login.
    ///
    /// # Errors
    /// The books cannot be asked, or have not answered in time: nobody may log in.
    pub(crate) async fn ask(self: &Arc<Self>) -> Result<Seating, Trouble> {
        let asked_ms = self.now_ms();
        let token = fastrand::i64(1..);
        let (terms, over) = {
            let mut state = lock(&self.state);
            (state.terms, Vec::from(std::mem::take(&mut state.over)))
        };
        // Dropped in the middle, it is given back as well: it may have been granted.
        let mut seat = Seat { seats: Arc::clone(self), token, is_known: true };
        let own = Own {
            until_ms: after(asked_ms, USE),
            is_made: false,
            is_idle: false,
            is_leaving: false,
        };
        let ask = LoginAsk { token, terms, over };
        let answer = self.books.log_in(&self.account, &self.host, &ask).await;
        self.reach.note(&answer, self.clock.wall());
        let mut state = lock(&self.state);
        match answer {
            Ok(LoginAnswer::Granted { logins }) => {
                (state.logins, state.hour_until_ms) = (logins, 0);
                if state.seats.is_empty() {
                    state.renew_at_ms = after(asked_ms, RENEW_EVERY);
                }
                state.seats.insert(token, own);
                drop(state);
                self.changed.notify_one();
                Ok(Seating::Granted(seat))
            }
            Ok(LoginAnswer::HourIsSpent { logins, frees_in }) => {
                state.logins = logins;
                state.hour_until_ms = after(self.now_ms(), frees_in);
                seat.is_known = false;
                Ok(Seating::HourIsSpent { frees_in })
            }
            Ok(LoginAnswer::AllInUse) => {
                state.crowded_until_ms = after(self.now_ms(), CROWDED_FOR);
                seat.is_known = false;
                Ok(Seating::AllInUse)
            }
            Err(trouble) => {
                for one in ask.over.into_iter().rev() {
                    state.over.push_front(one);
                }
                state.is_away = true;
                drop(state);
                Err(trouble)
            }
        }
    }

    /// Whether one more connection is to be closed for another host. Whoever asks closes it.
    pub(crate) fn is_asked_back(&self) -> bool {
        let crowded_until_ms = after(self.now_ms(), CROWDED_FOR);
        let mut state = lock(&self.state);
        let is_asked = state.asked_back > 0;
        if is_asked {
            state.asked_back -= 1;
            state.crowded_until_ms = crowded_until_ms;
        }
        is_asked
    }

    /// How many connections this host has that are not being closed.
    pub(crate) fn number(&self) -> usize {
        lock(&self.state).number()
    }

    /// How many workers are worth having: after a refusal no more than there are connections.
    pub(crate) fn workers_max(&self) -> usize {
        let now_ms = self.now_ms();
        let state = lock(&self.state);
        if now_ms < state.crowded_until_ms { state.number().max(1) } else { usize::MAX }
    }

    /// How long a host that was refused goes on with what it has.
    pub(crate) fn crowded_for(&self) -> Duration {
        Duration::from_millis(lock(&self.state).crowded_until_ms.saturating_sub(self.now_ms()))
    }

    /// How long the logins of the hour are spent by all hosts, as was last heard.
    pub(crate) fn hour_is_spent_for(&self) -> Duration {
        Duration::from_millis(lock(&self.state).hour_until_ms.saturating_sub(self.now_ms()))
    }

    /// Whether more than half of the hour's logins are left to all hosts, as was last heard.
    pub(crate) fn is_plentiful(&self, per_hour: u32) -> bool {
        2 * u64::from(lock(&self.state).logins) < u64::from(per_hour)
    }

    /// How long until there is something to be said to the books; `None` when there is nothing.
    pub(super) fn renew_in(&self) -> Option<Duration> {
        let now_ms = self.now_ms();
        let state = lock(&self.state);
        match (state.over.is_empty(), state.seats.is_empty()) {
            (true, true) => None,
            (false, _) if !state.is_away => Some(Duration::ZERO),
            _ => Some(Duration::from_millis(state.renew_at_ms.saturating_sub(now_ms))),
        }
    }

    /// Goes on with the seats, and says which are over.
    pub(super) async fn renew(&self) {
        let asked_ms = self.now_ms();
        let (renewal, leaving) = {
            let mut state = lock(&self.state);
            let jitter = Duration::from_millis(fastrand::u64(..RENEW_JITTER_MS));
            state.renew_at_ms = after(asked_ms, RENEW_EVERY.saturating_sub(jitter));
            let held = |(token, own): (&i64, &Own)| Held { token: *token, is_made: own.is_made };
            let count = |is: fn(&Own) -> bool| {
                u32::try_from(state.seats.values().filter(|own| is(own)).count()).unwrap_or(0)
            };
            let idle = count(|own| own.is_idle && !own.is_leaving);
            let leaving = count(|own| own.is_leaving);
            let (held, terms) = (state.seats.iter().map(held).collect(), state.terms);
            let over = Vec::from(std::mem::take(&mut state.over));
            (Renewal { held, idle, terms, over }, leaving)
        };
        let answer = self.books.renew(&self.account, &self.host, &renewal).await;
        self.reach.note(&answer, self.clock.wall());
        let mut state = lock(&self.state);
        state.is_away = answer.is_err();
        let Ok(Renewed { kept, give_up, logins, frees_in }) = answer else {
            for one in renewal.over.into_iter().rev() {
                state.over.push_front(one);
            }
            state.over.truncate(OVER_MAX);
            return;
        };
        for Held { token, .. } in renewal.held {
            if let Some(own) = state.seats.get_mut(&token) {
                let is_kept = kept.contains(&token);
                own.until_ms = if is_kept { after(asked_ms, USE) } else { 0 };
            }
        }
        let now_ms = self.now_ms();
        state.logins = logins;
        state.hour_until_ms = frees_in.map_or(0, |wait| after(now_ms, wait));
        // What is being closed is still open in the books.
        state.asked_back = give_up.saturating_sub(leaving);
        let is_news = state.asked_back > 0 || state.seats.values().any(|own| own.until_ms < now_ms);
        drop(state);
        if is_news {
            debug!(give_up, "connections are wanted by other hosts, or were lost");
            self.news.notify_one();
        }
    }

    fn ended(&self, token: i64) {
        let mut state = lock(&self.state);
        // One whose answer never came may have been granted.
        let was_made = state.seats.remove(&token).is_some_and(|own| own.is_made);
        if state.over.len() >= OVER_MAX {
            state.over.pop_front();
        }
        state.over.push_back(Over { token, was_made });
        drop(state);
        self.changed.notify_one();
    }

    fn now_ms(&self) -> u64 {
        self.clock.now().since_boot_ms
    }

    fn edit(&self, token: i64, edit: impl FnOnce(&mut Own)) {
        if let Some(own) = lock(&self.state).seats.get_mut(&token) {
            edit(own);
        }
    }
}

impl Seat {
    /// Whether its connection may be used.
    pub(crate) fn is_good(&self) -> bool {
        !self.left().is_zero()
    }

    /// How long its connection may be used without another renewal.
    pub(crate) fn left(&self) -> Duration {
        let now_ms = self.seats.now_ms();
        let until_ms = lock(&self.seats.state).seats.get(&self.token).map_or(0, |own| own.until_ms);
        Duration::from_millis(until_ms.saturating_sub(now_ms))
    }

    /// Waits until its connection may not be used any more.
    pub(crate) async fn is_over(&self) {
        loop {
            let left = self.left();
            if left.is_zero() {
                return;
            }
            self.seats.clock.sleep(left).await;
        }
    }

    /// The login is made now, unless it is too late for that.
    #[must_use]
    pub(crate) fn may_log_in(&self) -> bool {
        let now_ms = self.seats.now_ms();
        let mut may = false;
        // From here on no renewal counts it anew, unless one is under way.
        self.seats.edit(self.token, |own| {
            may = now_ms < own.until_ms;
            own.is_made |= may;
        });
        may
    }

    /// Whether its connection carries nothing.
    pub(crate) fn rests(&self, is_idle: bool) {
        self.seats.edit(self.token, |own| own.is_idle = is_idle);
    }

    /// Its connection is being closed.
    pub(crate) fn leaves(&self) {
        self.seats.edit(self.token, |own| own.is_leaving = true);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.is_known {
            self.seats.ended(self.token);
        }
    }
}

fn after(from_ms: u64, span: Duration) -> u64 {
    from_ms.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
