//! Every interleaving of three hosts, one of which may die, lose an answer or be late at any moment: the upstream never
//! takes more than the limit within a window.

use std::time::Duration;

use super::search::{Model, explore};
use crate::{
    budget::{Limit, WINDOW},
    fleet::{
        books::{Answer, Ask, Ticket, granted},
        twin::{Book, Flaw},
    },
};

/// Time passes in steps; a window is three of them.
const STEP: Duration = Duration::from_secs(WINDOW.as_secs() / 3);
const WINDOW_STEPS: u8 = 3;
/// The last step that is looked at: the first reservation is over by then.
const END: u8 = 5;
const LIMIT: u32 = 3;
const WANTED: u32 = 2;
/// A final dot may be sent in the step of its claim or in the next one, and the lease lasts a step longer.
const DOT_STEPS: u8 = 1;
const LEASE_STEPS: u32 = 2;
const HOSTS: usize = 3;
/// Claims of all hosts together.
const CLAIMS_MAX: i64 = 3;

/// How far a host is with its one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase {
    Idle,
    /// It has seen how much room there is, without a lock.
    Counted {
        recipients: u32,
    },
    /// It has a reservation since this step.
    Reserved {
        token: i64,
        fence: i64,
        recipients: u32,
        since: u8,
    },
    /// The upstream has taken the message.
    Accepted {
        token: i64,
        fence: i64,
        recipients: u32,
    },
    /// It may have a reservation whose answer was lost, and will give it back.
    Unanswered {
        token: i64,
    },
}

/// A mistake that hosts could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mistake {
    /// They send a final dot whenever it is ready.
    SendsLate,
    /// They count first and reserve afterwards.
    CountsWithoutALock,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    book: Book,
    hosts: [Phase; HOSTS],
    step: u8,
    /// How far the database's clock was set back.
    behind: u8,
    claims: i64,
    /// What the upstream took, by step.
    accepted: [u32; END as usize + 1],
    mistake: Option<Mistake>,
}

impl World {
    fn new(flaw: Option<Flaw>, mistake: Option<Mistake>) -> Self {
        let (book, hosts) = (Book::with(flaw), [Phase::Idle; HOSTS]);
        Self {
            book,
            hosts,
            step: 0,
            behind: 0,
            claims: 0,
            accepted: [0; END as usize + 1],
            mistake,
        }
    }

    fn clock(&self) -> Duration {
        // Far from the beginning of time, so that it can be set back.
        STEP * (10 + u32::from(self.step) - u32::from(self.behind))
    }

    fn is_overspent(&self) -> bool {
        let from = usize::from((self.step + 1).saturating_sub(WINDOW_STEPS));
        self.accepted[from..=usize::from(self.step)].iter().sum::<u32>() > LIMIT
    }

    fn with(&self, host: usize, phase: Phase) -> Self {
        let mut next = self.clone();
        next.hosts[host] = phase;
        next
    }

    fn claim(&self, host: usize) -> Vec<Self> {
        if self.claims == CLAIMS_MAX {
            return Vec::new();
        }
        let token = self.claims + 1;
        let lease = STEP * LEASE_STEPS;
        let (limit, heard, probe) = (Limit::of(LIMIT), 0, false);
        let mut ask = Ask { token, ledger: 0, recipients: WANTED, limit, lease, heard, probe };
        if let Phase::Counted { recipients } = self.hosts[host] {
            (ask.recipients, ask.limit) = (recipients, Limit::NONE);
        } else if self.mistake == Some(Mistake::CountsWithoutALock) {
            let spent = self.book.spent(self.clock(), 0, Limit::NONE).recipients;
            let recipients = granted(&ask, spent);
            return Vec::from_iter(
                (recipients > 0).then(|| self.with(host, Phase::Counted { recipients })),
            );
        }
        let mut asked = self.clone();
        asked.claims = token;
        let Answer::Granted(reserved) = asked.book.reserve(self.clock(), "a host", &ask) else {
            return vec![asked];
        };
        let (fence, recipients) = (reserved.fence, reserved.recipients);
        let reserved = Phase::Reserved { token, fence, recipients, since: self.step };
        vec![asked.with(host, reserved), asked.with(host, Phase::Unanswered { token })]
    }

    fn dot(&self, host: usize, phase: Phase) -> Option<Self> {
        let Phase::Reserved { token, fence, recipients, since } = phase else { return None };
        if self.step - since > DOT_STEPS && self.mistake != Some(Mistake::SendsLate) {
            return None;
        }
        let mut sent = self.with(host, Phase::Accepted { token, fence, recipients });
        sent.accepted[usize::from(self.step)] += recipients;
        Some(sent)
    }

    /// It settles, it dies, or it settles and the database never hears of it, which is the same as its death.
    fn settle(&self, host: usize, phase: Phase, spent: bool) -> Vec<Self> {
        let (token, fence, recipients) = match phase {
            Phase::Reserved { token, fence, recipients, .. }
            | Phase::Accepted { token, fence, recipients } => (token, Some(fence), recipients),
            Phase::Unanswered { token } => (token, None, 0),
            Phase::Idle | Phase::Counted { .. } => return Vec::new(),
        };
        let dead = self.with(host, Phase::Idle);
        let mut settled = dead.clone();
        let ticket = Ticket { token, fence, probe: false };
        settled.book.settle(self.clock(), ticket, if spent { recipients } else { 0 });
        vec![dead, settled]
    }
}

impl Model for World {
    fn is_broken(&self) -> bool {
        self.is_overspent()
    }

    fn next(&self) -> Vec<Self> {
        let mut all = Vec::new();
        if self.step < END {
            all.push(Self { step: self.step + 1, ..self.clone() });
        }
        if self.behind == 0 {
            all.push(Self { behind: 1, ..self.clone() });
        }
        for host in 0..HOSTS {
            match self.hosts[host] {
                Phase::Idle | Phase::Counted { .. } => all.extend(self.claim(host)),
                phase @ Phase::Reserved { .. } => {
                    all.extend(self.dot(host, phase));
                    all.extend(self.settle(host, phase, false));
                }
                phase @ Phase::Accepted { .. } => all.extend(self.settle(host, phase, true)),
                phase @ Phase::Unanswered { .. } => all.extend(self.settle(host, phase, false)),
            }
        }
        all
    }

    fn sort_hosts(&mut self) {
        self.hosts.sort_unstable();
    }
}

#[test]
fn no_interleaving_of_three_hosts_spends_more_than_the_limit() {
    let (worlds, overspent) = explore(World::new(None, None));
    assert_eq!(overspent, None);
    assert!(worlds > 10_000, "{worlds} worlds are too few to say anything");
}

#[test]
fn each_mistake_that_the_books_or_a_host_could_make_is_found_by_the_same_search() {
    for flaw in [Flaw::ForgetsTheUncertain, Flaw::CountsFromTheClaim] {
        let (_, overspent) = explore(World::new(Some(flaw), None));
        assert!(overspent.is_some(), "{flaw:?} spends nothing more");
    }
    for mistake in [Mistake::SendsLate, Mistake::CountsWithoutALock] {
        let (_, overspent) = explore(World::new(None, Some(mistake)));
        assert!(overspent.is_some(), "{mistake:?} spends nothing more");
    }
}
