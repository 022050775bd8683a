//! The logins of an account and its open connections, as all hosts of a fleet share them: who may log in, and who gives up.
//!
//! Rule: pure. Whoever keeps a page takes one question of its account at a time, and the time that he names never goes back. A
//! connection that nobody renews is over by itself. Must not know where pages are kept.
#![cfg_attr(
    not(feature = "fleet"),
    allow(dead_code, reason = "without the feature no books have pages")
)]

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;

use super::books::Trouble;

/// How long a connection is a host's after each renewal.
const LEASE: Duration = Duration::from_secs(60);
/// How long the host uses it by its own boot clock, counted from before it asked: what is left is for closing it.
pub(super) const USE: Duration = Duration::from_secs(50);
/// An hour, and as long as it may be from the moment at which a login is counted to the moment at which it is made.
const COUNTS_FOR: Duration = Duration::from_secs(3_600 + LEASE.as_secs());
/// How long a wish lasts: whoever still wants a connection asks again before.
const WISH: Duration = Duration::from_secs(20);
/// The least time that a host keeps a connection to which it has a right, where there are more hosts than connections.
const TURN_MIN: Duration = Duration::from_secs(60);

/// What the account allows, as the asking host is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Terms {
    /// Logins in any hour; `None` where they are not counted.
    pub(crate) logins: Option<u32>,
    /// Connections at a time.
    pub(crate) connections: u32,
}

/// How long what lasts. Every program of a fleet has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spans {
    pub(super) counts_for: Duration,
    pub(super) lease: Duration,
}

impl Default for Spans {
    fn default() -> Self {
        Self { counts_for: COUNTS_FOR, lease: LEASE }
    }
}

/// A connection that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Over {
    pub(super) token: i64,
    /// It has come to a login, which counts for its hour.
    pub(super) was_made: bool,
}

/// A connection that a host holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) token: i64,
    /// It has come to its login. Before, the login counts from each renewal on.
    pub(super) is_made: bool,
}

/// A host wants to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoginAsk {
    /// By which the login is known: a number that nobody else has.
    pub(super) token: i64,
    pub(super) terms: Terms,
    /// What is over is over before it is asked.
    pub(super) over: Vec<Over>,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LoginAnswer {
    /// It may: so many logins count now, with this one.
    Granted { logins: u32 },
    /// The hour is spent, by all hosts together, until then.
    HourIsSpent { logins: u32, frees_in: Duration },
    /// All connections are in use, or others come first.
    AllInUse,
}

/// A host goes on with its connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Renewal {
    pub(super) held: Vec<Held>,
    /// How many of them carry nothing.
    pub(super) idle: u32,
    pub(super) terms: Terms,
    pub(super) over: Vec<Over>,
}

/// The answer to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Renewed {
    /// Those that are still the host's.
    pub(super) kept: Vec<i64>,
    /// So many of them are for others, who wait.
    pub(super) give_up: u32,
    pub(super) logins: u32,
    /// When one more login may be made, where the hour is spent.
    pub(super) frees_in: Option<Duration>,
}

/// Books that have a page for each account.
#[async_trait]
pub(super) trait LoginBooks: fmt::Debug + Send + Sync {
    /// Counts a login and a connection, where there is room for both.
    async fn log_in(
        &self,
        account: &str,
        host: &str,
        ask: &LoginAsk,
    ) -> Result<LoginAnswer, Trouble>;

    /// Goes on with the connections of a host, and ends those that are over.
    async fn renew(&self, account: &str, host: &str, renewal: &Renewal)
    -> Result<Renewed, Trouble>;
}

/// A login; the times are of whoever keeps the page.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Login {
    pub(super) host: String,
    pub(super) at: Duration,
    pub(super) open_until: Duration,
}

/// A host waits for a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wish {
    pub(super) since: Duration,
    pub(super) until: Duration,
}

/// What is known of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Page {
    pub(super) spans: Spans,
    /// By token.
    pub(super) logins: BTreeMap<i64, Login>,
    /// By host.
    pub(super) wishes: BTreeMap<String, Wish>,
}

impl Page {
    pub(super) fn log_in(&mut self, now: Duration, host: &str, ask: &LoginAsk) -> LoginAnswer {
        self.end(now, host, &ask.over);
        if let Some(frees_in) = self.frees_in(now, ask.terms) {
            // Nobody has to make room for one who may not log in.
            self.wishes.remove(host);
            return LoginAnswer::HourIsSpent { logins: self.counted(now), frees_in };
        }
        let seats = self.seats(now);
        let fair = self.fair(&seats, host, ask.terms);
        let needy = self.needy(&seats, host, fair);
        let has_its_part = seats.get(host).is_some_and(|own| *own >= fair);
        let since = self.wishes.get(host).map_or(now, |wish| wish.since);
        let first = needy.iter().filter(|other| has_its_part || **other < (since, host)).count();
        if free(&seats, ask.terms) > first {
            let login =
                Login { host: host.to_owned(), at: now, open_until: now + self.spans.lease };
            self.wishes.remove(host);
            self.logins.insert(ask.token, login);
            return LoginAnswer::Granted { logins: self.counted(now) };
        }
        if has_its_part {
            self.wishes.remove(host);
        } else {
            self.wishes.insert(host.to_owned(), Wish { since, until: now + WISH });
        }
        LoginAnswer::AllInUse
    }

    pub(super) fn renew(&mut self, now: Duration, host: &str, renewal: &Renewal) -> Renewed {
        self.end(now, host, &renewal.over);
        let mut kept = Vec::new();
        for Held { token, is_made } in &renewal.held {
            let login = self.logins.get_mut(token);
            if let Some(login) = login.filter(|it| it.host == host && it.open_until > now) {
                login.open_until = now + self.spans.lease;
                if !is_made {
                    login.at = now;
                }
                kept.push(*token);
            }
        }
        Renewed {
            kept,
            give_up: self.to_give_up(now, host, renewal),
            logins: self.counted(now),
            frees_in: self.frees_in(now, renewal.terms),
        }
    }

    /// Ends connections, and forgets what counts no more.
    fn end(&mut self, now: Duration, host: &str, over: &[Over]) {
        for Over { token, was_made } in over {
            let login = self.logins.get_mut(token).filter(|login| login.host == host);
            match login {
                Some(login) if *was_made => login.open_until = login.open_until.min(now),
                Some(_) => drop(self.logins.remove(token)),
                None => {}
            }
        }
        let counts_for = self.spans.counts_for;
        self.logins.retain(|_, login| login.at + counts_for > now || login.open_until > now);
        self.wishes.retain(|_, wish| wish.until > now);
    }

    /// Logins that count.
    fn counted(&self, now: Duration) -> u32 {
        let counts = |login: &&Login| login.at + self.spans.counts_for > now;
        u32::try_from(self.logins.values().filter(counts).count()).unwrap_or(u32::MAX)
    }

    /// How long until one more login may be made; `None` when it may now.
    fn frees_in(&self, now: Duration, terms: Terms) -> Option<Duration> {
        // 0 counts as 1: nothing could ever be sent otherwise.
        let limit = usize::try_from(terms.logins?.max(1)).unwrap_or(usize::MAX);
        let ends = self.logins.values().map(|login| login.at + self.spans.counts_for);
        let mut ends: Vec<_> = ends.filter(|end| *end > now).collect();
        ends.sort_unstable();
        // So many have to go that one less than the limit is left.
        let last = ends.len().checked_sub(limit)?;
        ends.get(last).map(|end| *end - now)
    }

    /// Open connections by host.
    fn seats(&self, now: Duration) -> BTreeMap<&str, u32> {
        let mut seats = BTreeMap::new();
        for login in self.logins.values().filter(|login| login.open_until > now) {
            *seats.entry(&*login.host).or_default() += 1;
        }
        seats
    }

    /// What each of the hosts may have that have or want a connection: one at least.
    fn fair(&self, seats: &BTreeMap<&str, u32>, host: &str, terms: Terms) -> u32 {
        let wanting = self.wishes.keys().filter(|name| !seats.contains_key(name.as_str()));
        let is_new = !seats.contains_key(host) && !self.wishes.contains_key(host);
        let hosts = seats.len() + wanting.count() + usize::from(is_new);
        let hosts = u32::try_from(hosts).unwrap_or(u32::MAX).max(1);
        (terms.connections / hosts).max(1)
    }

    /// The other hosts that wait and have less than that, the one that waits for longest first.
    fn needy(&self, seats: &BTreeMap<&str, u32>, host: &str, fair: u32) -> Vec<(Duration, &str)> {
        let own = |name: &str| seats.get(name).copied().unwrap_or(0);
        let others = self.wishes.iter().filter(|(name, _)| *name != host && own(name) < fair);
        let mut needy: Vec<_> = others.map(|(name, wish)| (wish.since, &**name)).collect();
        needy.sort_unstable();
        needy
    }

    /// How many of its connections a host leaves to others. First go those beyond anybody's part, of the host that has most;
    /// then those that carry nothing while there are logins enough; then the ones whose turn is over.
    fn to_give_up(&self, now: Duration, host: &str, renewal: &Renewal) -> u32 {
        let terms = renewal.terms;
        let seats = self.seats(now);
        let Some(own) = seats.get(host).copied() else { return 0 };
        let fair = self.fair(&seats, host, terms);
        let needy = self.needy(&seats, host, fair).len();
        let mut needed =
            u32::try_from(needy.saturating_sub(free(&seats, terms))).unwrap_or(u32::MAX);
        if needed == 0 || self.frees_in(now, terms).is_some() {
            return 0;
        }
        let mut beyond: Vec<_> =
            seats.iter().map(|(name, seats)| (seats.saturating_sub(fair), *name)).collect();
        beyond.sort_unstable_by(|one, other| other.cmp(one));
        let mut goes = 0;
        for (seats, name) in beyond {
            let gone = seats.min(needed);
            needed -= gone;
            if name == host {
                goes = gone;
            }
        }
        let is_plenty = terms.logins.is_none_or(|limit| 2 * self.counted(now) < limit);
        let idle = if is_plenty { renewal.idle.min(needed) } else { 0 };
        (goes + idle.max(self.whose_turn_is_over(now, host, terms, needed))).min(own)
    }

    /// How many of a host's connections are among the longest open ones, as many as are needed, and have had their turn.
    fn whose_turn_is_over(&self, now: Duration, host: &str, terms: Terms, needed: u32) -> u32 {
        let open = self.logins.values().filter(|login| login.open_until > now);
        let mut turns: Vec<_> = open.map(|login| (login.at, &*login.host)).collect();
        turns.sort_unstable();
        let over = turns.into_iter().take(usize::try_from(needed).unwrap_or(usize::MAX));
        let over = over.filter(|(at, name)| *name == host && *at + turn(terms) <= now);
        u32::try_from(over.count()).unwrap_or(u32::MAX)
    }
}

/// How long a turn lasts at least: so long that turns take half of the hour's logins at most.
pub(super) fn turn(terms: Terms) -> Duration {
    let hour = Duration::from_secs(3_600);
    let turn = terms.logins.map(|logins| 2 * terms.connections * hour / logins.max(1));
    turn.unwrap_or_default().max(TURN_MIN)
}

fn free(seats: &BTreeMap<&str, u32>, terms: Terms) -> usize {
    // 0 counts as 1, as above.
    let free = terms.connections.max(1).saturating_sub(seats.values().sum());
    usize::try_from(free).unwrap_or(usize::MAX)
}
