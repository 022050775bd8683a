//! Every interleaving of three hosts that log in, one of which may die, lose an answer or stand still at any moment: never more
//! logins in a window than the limit, and never more connections that may be used than there are.

use std::time::Duration;

use super::search::{Model, explore};
use crate::fleet::logins::{
    Held, LoginAnswer, LoginAsk, Over, Page, Renewal, Renewed, Spans, Terms,
};

/// Time passes in steps; a window is two of them.
const STEP: Duration = Duration::from_secs(3_600);
const WINDOW_STEPS: u8 = 2;
const LEASE_STEPS: u8 = 2;
/// The last step that is looked at.
const END: u8 = 4;
const HOSTS: [&str; 3] = ["a", "b", "c"];
const TERMS: Terms = Terms { logins: Some(2), connections: 1 };
/// Questions of all hosts together.
const ASKS_MAX: i64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    /// It may use a connection before this step, and has logged in over it or not.
    Seated {
        token: i64,
        until: u8,
        is_made: bool,
    },
    /// It has closed its connection, or has never heard that it may open one.
    Closed {
        token: i64,
        was_made: bool,
    },
}

/// A mistake that the books or the hosts could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mistake {
    /// A login counts from the moment at which it was granted, for a window.
    CountsFromTheGrant,
    /// What a host has closed has never been.
    ForgetsWhatIsClosed,
    /// A connection that is over is renewed as others are.
    RevivesWhatIsOver,
    /// A host logs in whenever it comes to that.
    LogsInLate,
    /// A host uses its connection whether or not it was renewed.
    UsesWhatIsOver,
    /// A host says that its connection is closed and goes on with it.
    SaysItTooEarly,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    page: Page,
    latest: Duration,
    hosts: [Phase; HOSTS.len()],
    step: u8,
    /// How far the database's clock was set back.
    behind: u8,
    asks: i64,
    /// Logins at the upstream, by step.
    made: [u8; END as usize + 1],
    mistake: Option<Mistake>,
}

impl World {
    fn new(mistake: Option<Mistake>) -> Self {
        let lease = STEP * u32::from(LEASE_STEPS);
        let late =
            if mistake == Some(Mistake::CountsFromTheGrant) { Duration::ZERO } else { lease };
        let spans = Spans { counts_for: STEP * u32::from(WINDOW_STEPS) + late, lease };
        Self {
            page: Page { spans, ..Page::default() },
            latest: Duration::ZERO,
            hosts: [Phase::Idle; HOSTS.len()],
            step: 0,
            behind: 0,
            asks: 0,
            made: [0; END as usize + 1],
            mistake,
        }
    }

    fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// The moment of a transaction.
    fn stamp(&mut self) -> Duration {
        let clock = STEP * (10 + u32::from(self.step) - u32::from(self.behind));
        self.latest = self.latest.max(clock);
        self.latest
    }

    fn with(&self, host: usize, phase: Phase) -> Self {
        let mut next = self.clone();
        next.hosts[host] = phase;
        next
    }

    /// Whether a host's connection may carry something by what the host knows.
    fn is_usable(&self, phase: Phase) -> bool {
        match phase {
            Phase::Seated { until, .. } => self.step < until || self.has(Mistake::UsesWhatIsOver),
            _ => false,
        }
    }

    fn ask(&self, host: usize) -> Vec<Self> {
        if self.asks == ASKS_MAX {
            return Vec::new();
        }
        let mut next = self.clone();
        next.asks += 1;
        let (token, now) = (next.asks, next.stamp());
        let ask = LoginAsk { token, terms: TERMS, over: Vec::new() };
        match next.page.log_in(now, HOSTS[host], &ask) {
            LoginAnswer::Granted { .. } => {
                let until = self.step + LEASE_STEPS;
                let seated = Phase::Seated { token, until, is_made: false };
                let unanswered = Phase::Closed { token, was_made: false };
                vec![next.with(host, seated), next.with(host, unanswered)]
            }
            LoginAnswer::HourIsSpent { .. } | LoginAnswer::AllInUse => vec![next],
        }
    }

    fn log_in(&self, host: usize, phase: Phase) -> Option<Self> {
        let Phase::Seated { token, until, is_made: false } = phase else { return None };
        if self.step >= until && !self.has(Mistake::LogsInLate) {
            return None;
        }
        let mut next = self.with(host, Phase::Seated { token, until, is_made: true });
        next.made[usize::from(self.step)] += 1;
        Some(next)
    }

    fn renew(&self, host: usize, phase: Phase) -> Option<Self> {
        let Phase::Seated { token, is_made, .. } = phase else { return None };
        let mut next = self.clone();
        let now = next.stamp();
        if self.has(Mistake::RevivesWhatIsOver)
            && let Some(login) = next.page.logins.get_mut(&token)
        {
            login.open_until = now + STEP;
        }
        let held = vec![Held { token, is_made }];
        let renewal = Renewal { held, terms: TERMS, ..Renewal::default() };
        let Renewed { kept, .. } = next.page.renew(now, HOSTS[host], &renewal);
        let until = if kept.contains(&token) { self.step + LEASE_STEPS } else { 0 };
        Some(next.with(host, Phase::Seated { token, until, is_made }))
    }

    /// It tells the books that a connection is over.
    fn tell(&self, host: usize, (token, was_made): (i64, bool), then: Phase) -> Self {
        let mut next = self.with(host, then);
        let now = next.stamp();
        let over = vec![Over { token, was_made }];
        next.page.renew(now, HOSTS[host], &Renewal { over, terms: TERMS, ..Renewal::default() });
        if self.has(Mistake::ForgetsWhatIsClosed) {
            next.page.logins.remove(&token);
        }
        next
    }
}

impl Model for World {
    fn is_broken(&self) -> bool {
        let from = usize::from((self.step + 1).saturating_sub(WINDOW_STEPS));
        let made = self.made[from..=usize::from(self.step)].iter().sum::<u8>();
        let used = self.hosts.iter().filter(|phase| self.is_usable(**phase)).count();
        Some(u32::from(made)) > TERMS.logins || used > TERMS.connections as usize
    }

    fn next(&self) -> Vec<Self> {
        let mut all = Vec::new();
        if self.step < END {
            all.push(Self { step: self.step + 1, ..self.clone() });
        }
        if self.behind == 0 {
            all.push(Self { behind: 1, ..self.clone() });
        }
        for host in 0..HOSTS.len() {
            let phase = self.hosts[host];
            if phase != Phase::Idle {
                // It dies, and its connection with it.
                all.push(self.with(host, Phase::Idle));
            }
            match phase {
                Phase::Idle => all.extend(self.ask(host)),
                Phase::Seated { token, is_made, .. } => {
                    all.extend(self.log_in(host, phase));
                    all.extend(self.renew(host, phase));
                    all.push(self.with(host, Phase::Closed { token, was_made: is_made }));
                    if self.has(Mistake::SaysItTooEarly) {
                        all.push(self.tell(host, (token, is_made), phase));
                    }
                }
                Phase::Closed { token, was_made } => {
                    all.push(self.tell(host, (token, was_made), Phase::Idle));
                }
            }
        }
        all
    }

    /// Their names decide who comes first.
    fn sort_hosts(&mut self) {}
}

#[test]
fn no_interleaving_of_three_hosts_has_too_many_logins_or_connections() {
    let (worlds, broken) = explore(World::new(None));
    assert_eq!(broken, None);
    assert!(worlds > 10_000, "{worlds} worlds are too few to say anything");
}

#[test]
fn each_mistake_that_the_books_or_a_host_could_make_with_logins_is_found_by_the_same_search() {
    for mistake in [
        Mistake::CountsFromTheGrant,
        Mistake::ForgetsWhatIsClosed,
        Mistake::RevivesWhatIsOver,
        Mistake::LogsInLate,
        Mistake::UsesWhatIsOver,
        Mistake::SaysItTooEarly,
    ] {
        let (_, broken) = explore(World::new(Some(mistake)));
        assert!(broken.is_some(), "{mistake:?} does no harm");
    }
}
