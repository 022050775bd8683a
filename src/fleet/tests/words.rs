//! Every interleaving of three hosts that say to each other how an account stands, one of which may die or stand still at
//! any moment: nothing begins after a pause was said, one probe at a time, and no late word undoes a newer one.

use std::time::Duration;

use super::search::{Model, explore};
use crate::{
    budget::Limit,
    clock::Timestamp,
    fleet::{
        books::{Answer, Ask, Ticket, Told},
        twin::{Book, Flaw},
    },
};

const STEP: Duration = Duration::from_secs(3_600);
/// The last step that is looked at.
const END: u8 = 2;
/// A probe may be sent in the step of its claim, and is waited for until the next one is over.
const LEASE_STEPS: u32 = 2;
const HOSTS: usize = 3;
/// Attempts and orders of all hosts together.
const CLAIMS_MAX: i64 = 2;
const ORDERS_MAX: u8 = 2;

/// How a host knows that the account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Account {
    Open,
    /// Nothing begins before this step; then one attempt does.
    PausedUntil(u8),
}

impl Account {
    fn text(self) -> String {
        match self {
            Self::Open => String::new(),
            Self::PausedUntil(step) => step.to_string(),
        }
    }

    fn read(text: &str) -> Self {
        text.parse().map_or(Self::Open, Self::PausedUntil)
    }

    fn is_shut(self, step: u8) -> bool {
        matches!(self, Self::PausedUntil(until) if step < until)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase {
    Idle,
    /// It has a claim, and may log in while this step lasts.
    Claimed {
        token: i64,
        fence: i64,
        probe: bool,
        since: u8,
        upon: i64,
    },
    /// It has logged in, and this is what it found.
    Found {
        token: i64,
        fence: i64,
        probe: bool,
        /// Nothing, where another word came meanwhile.
        account: Option<Account>,
        /// The last word when it was let go.
        upon: i64,
    },
    /// A person has ordered this.
    Ordered(Account),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Host {
    heard: i64,
    account: Account,
    phase: Phase,
}

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Broken {
    BeganAfterAPause,
    TwoProbes,
    LateWord,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    book: Book,
    hosts: [Host; HOSTS],
    step: u8,
    claims: i64,
    orders: u8,
    broken: Option<Broken>,
}

impl World {
    fn new(flaw: Option<Flaw>) -> Self {
        let host = Host { heard: 0, account: Account::Open, phase: Phase::Idle };
        let (book, hosts) = (Book::with(flaw), [host; HOSTS]);
        Self { book, hosts, step: 0, claims: 0, orders: 0, broken: None }
    }

    fn clock(&self) -> Duration {
        STEP * (10 + u32::from(self.step))
    }

    /// How the account stands by the last word.
    fn account(&self) -> Account {
        Account::read(&self.book.word(self.clock()).text)
    }

    fn edit(&self, host: usize, edit: impl FnOnce(&mut Host)) -> Self {
        let mut next = self.clone();
        edit(&mut next.hosts[host]);
        next
    }

    fn hear(&self, host: usize) -> Self {
        let word = self.book.word(self.clock());
        self.edit(host, |host| {
            (host.heard, host.account) = (word.number, Account::read(&word.text));
            if let Phase::Found { account, .. } = &mut host.phase {
                *account = None;
            }
        })
    }

    fn claim(&self, host: usize) -> Option<Self> {
        let Host { heard, account, .. } = self.hosts[host];
        if self.claims == CLAIMS_MAX || account.is_shut(self.step) {
            return None;
        }
        let (token, probe) = (self.claims + 1, account != Account::Open);
        let lease = STEP * LEASE_STEPS;
        let ask = Ask { token, ledger: 0, recipients: 1, limit: Limit::NONE, lease, heard, probe };
        let (stands, is_out) = (self.account(), self.has_a_probe());
        let mut next = self.clone();
        next.claims = token;
        let Answer::Granted(granted) = next.book.reserve(self.clock(), "a host", &ask) else {
            return Some(next);
        };
        if stands.is_shut(self.step) {
            next.broken = Some(Broken::BeganAfterAPause);
        } else if probe && is_out {
            next.broken = Some(Broken::TwoProbes);
        }
        let (fence, since) = (granted.fence, self.step);
        let claimed = Phase::Claimed { token, fence, probe, since, upon: heard };
        Some(next.edit(host, |host| host.phase = claimed))
    }

    /// Whether a host has a probe that it may still log in with, or has just done so.
    fn has_a_probe(&self) -> bool {
        self.hosts.iter().any(|host| match host.phase {
            Phase::Claimed { probe, since, .. } => probe && since == self.step,
            _ => false,
        })
    }

    /// It is taken, refused, or never comes to it.
    fn log_in(&self, host: usize, phase: Phase) -> Vec<Self> {
        let Phase::Claimed { token, fence, probe, since, upon } = phase else { return Vec::new() };
        let found = |account| {
            // What came between its claim and its login is not what it has found.
            let account = (self.hosts[host].heard == upon).then_some(account);
            self.edit(host, |host| host.phase = Phase::Found { token, fence, probe, account, upon })
        };
        let mut all = vec![self.dies(host), self.settled(host, token, fence, probe)];
        if since == self.step {
            all.extend([Account::Open, Account::PausedUntil(self.step + 1)].map(found));
        }
        all
    }

    fn order(&self, host: usize) -> Vec<Self> {
        if self.orders == ORDERS_MAX {
            return Vec::new();
        }
        let mut next = self.clone();
        next.orders += 1;
        [Account::Open, Account::PausedUntil(self.step + 1)]
            .map(|account| next.edit(host, |host| host.phase = Phase::Ordered(account)))
            .to_vec()
    }

    /// It says what it found or was ordered; what was found is not said where another word came before it.
    fn tell(&self, host: usize, phase: Phase) -> Vec<Self> {
        let (account, upon) = match phase {
            Phase::Found { account: Some(account), upon, .. } => (account, Some(upon)),
            Phase::Ordered(account) => (account, None),
            Phase::Found { token, fence, probe, .. } => {
                return vec![self.dies(host), self.settled(host, token, fence, probe)];
            }
            _ => return Vec::new(),
        };
        let heard = self.hosts[host].heard;
        let last = self.book.word(self.clock()).number;
        let mut next = self.clone();
        let said = next.book.tell(self.clock(), heard, (&account.text(), Timestamp(0)));
        if matches!(said, Told::Taken(_)) && upon.unwrap_or(heard) != last {
            next.broken = Some(Broken::LateWord);
        }
        match (said, phase) {
            (Told::Taken(number), _) => {
                next = next.edit(host, |host| (host.heard, host.account) = (number, account));
            }
            // A person's order is written upon the word that came before it.
            (Told::Late(_), Phase::Ordered(_)) => return vec![next.hear(host), self.dies(host)],
            (Told::Late(_), _) => next = next.hear(host),
        }
        let done = match phase {
            Phase::Found { token, fence, probe, .. } => next.settled(host, token, fence, probe),
            _ => next.edit(host, |host| host.phase = Phase::Idle),
        };
        // It may die before anybody hears of it, or right afterwards.
        vec![self.dies(host), next.dies(host), done]
    }

    fn settled(&self, host: usize, token: i64, fence: i64, probe: bool) -> Self {
        let mut next = self.edit(host, |host| host.phase = Phase::Idle);
        let ticket = Ticket { token, fence: Some(fence), probe };
        next.book.settle(self.clock(), ticket, 0);
        next
    }

    /// It hears the last word when it is back.
    fn dies(&self, host: usize) -> Self {
        self.edit(host, |host| host.phase = Phase::Idle).hear(host)
    }
}

impl Model for World {
    fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    fn next(&self) -> Vec<Self> {
        let mut all = Vec::new();
        if self.step < END {
            all.push(Self { step: self.step + 1, ..self.clone() });
        }
        for host in 0..HOSTS {
            let Host { heard, phase, .. } = self.hosts[host];
            if heard < self.book.word(self.clock()).number {
                all.push(self.hear(host));
            }
            match phase {
                Phase::Idle => {
                    all.extend(self.claim(host));
                    all.extend(self.order(host));
                }
                Phase::Claimed { .. } => all.extend(self.log_in(host, phase)),
                Phase::Found { .. } | Phase::Ordered(_) => all.extend(self.tell(host, phase)),
            }
        }
        all
    }

    fn sort_hosts(&mut self) {
        self.hosts.sort_unstable();
    }
}

#[test]
fn no_interleaving_of_three_hosts_begins_after_a_pause_or_has_two_probes_or_undoes_a_newer_word() {
    let (worlds, broken) = explore(World::new(None));
    assert_eq!(broken, None);
    assert!(worlds > 10_000, "{worlds} worlds are too few to say anything");
}

#[test]
fn each_mistake_that_the_books_could_make_with_words_is_found_by_the_same_search() {
    for (flaw, broken) in [
        (Flaw::GrantsToTheDeaf, Broken::BeganAfterAPause),
        (Flaw::TakesLateWords, Broken::LateWord),
        (Flaw::GivesProbesAway, Broken::TwoProbes),
    ] {
        let (_, found) = explore(World::new(Some(flaw)));
        assert_eq!(found.and_then(|world| world.broken), Some(broken), "{flaw:?}");
    }
}
