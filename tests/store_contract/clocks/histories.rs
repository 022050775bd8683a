//! Any history of steps, sleeps, reboots and wrong starting clocks, compared with the time that really passes.
//!
//! What must hold: no 24 hours with more than the limit, nothing due early or delayed by more than its own wait,
//! nothing forgotten early, and everything forgotten in the end. A clock that is wrong at the start is set right within
//! minutes; in a boot that has lasted for hours it may be set to anything.

use fastrand::Rng;
use pillarbox::budget::AccountKey;

use super::*;
use crate::support::outage;

const FIVE: u32 = 5;
const LIMIT: ClaimLimits = ClaimLimits { limit: Limit::of(FIVE), ..TERMS };
const KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);
const OPERATIONS: usize = 40;
const YEARS: i64 = 10 * 365 * 24 * 3_600 * 1_000;

/// What really happened.
struct Truth {
    /// Time since the beginning, and how much of it the machine was on.
    passed: Duration,
    running: Duration,
    relayed: Vec<Duration>,
    /// Ends of dead letters and of history entries that have not been forgotten yet, oldest first.
    dead: Vec<Duration>,
    ended: Vec<Duration>,
    /// The message that waits: since when, by `running`, for how long, and whether the machine was restarted since.
    waits: Option<(Duration, Duration, bool)>,
}

struct History {
    queue: Fixture,
    truth: Truth,
    random: Rng,
}

impl History {
    fn below(&mut self, most: Duration) -> Duration {
        Duration::from_millis(self.random.u64(1_000..=u64::try_from(most.as_millis()).unwrap()))
    }

    async fn pass(&mut self, time: Duration) {
        self.queue.clock.advance(time);
        self.truth.passed += time;
        self.truth.running += time;
        self.check().await;
    }

    fn right_clock(&self) -> Timestamp {
        START.after(self.truth.passed)
    }

    /// The clock is anything.
    async fn step(&mut self) {
        let by_ms = match self.random.u8(..) % 3 {
            0 => self.random.i64(-YEARS..YEARS),
            1 => self.random.i64(-ms(3 * DAY)..ms(3 * DAY)),
            _ => self.random.i64(-ms(2 * HOUR)..ms(2 * HOUR)),
        };
        self.queue.set_clock(by_ms).await;
        self.check().await;
    }

    async fn reboot(&mut self) {
        let off = match self.random.u8(..) % 3 {
            0 => self.below(40 * DAY),
            _ => self.below(2 * HOUR),
        };
        self.truth.passed += off;
        if let Some((_, _, restarted)) = &mut self.truth.waits {
            *restarted = true;
        }
        self.queue.clock.reboot();
        let wrong = match self.random.u8(..) % 4 {
            0 => Timestamp(self.random.i64(0..100_000)),
            1 => Timestamp(self.right_clock().0 + self.random.i64(-YEARS..YEARS)),
            2 => Timestamp(self.right_clock().0 + ms(2 * HOUR)),
            _ => self.right_clock(),
        };
        self.queue.clock.set_wall(wrong);
        self.queue.crash().await;
        self.check().await;
        let late = self.below(9 * MINUTE);
        self.pass(late).await;
        let right = self.right_clock();
        self.queue.clock.set_wall(right);
        self.check().await;
        // The clock is right for the first hours, as whoever sets it keeps it.
        self.pass(2 * HOUR).await;
    }

    async fn relay(&mut self) {
        while let Claim::Message(claimed) =
            self.queue.store().claim_due(self.queue.clock.now(), LIMIT).await.unwrap()
        {
            if claimed.recipients[0].address.as_str() == "waits@x.org" {
                self.queue.settle(&claimed, Outcome::NotTried { until: None }).await;
                self.end_of_wait();
                self.queue.store().delete(claimed.id).await.unwrap();
                self.truth.ended.push(self.truth.passed);
                continue;
            }
            if self.random.u8(..).is_multiple_of(8) {
                self.queue.settle(&claimed, Outcome::Dead { reply: "550".into() }).await;
                self.truth.dead.push(self.truth.passed);
                continue;
            }
            self.queue.settle(&claimed, relayed()).await;
            self.truth.relayed.push(self.truth.passed);
            self.truth.ended.push(self.truth.passed);
            let passed = self.truth.passed;
            let in_window = self.truth.relayed.iter().filter(|at| passed - **at < DAY).count();
            assert!(in_window <= FIVE as usize, "{in_window} recipients in 24 hours");
        }
    }

    fn end_of_wait(&mut self) {
        let Some((since, wait, restarted)) = self.truth.waits.take() else {
            panic!("it was due twice")
        };
        let waited = self.truth.running - since;
        assert!(
            restarted || waited + Duration::from_secs(2) >= wait,
            "due early: {waited:?} of {wait:?}"
        );
    }

    /// What is left of the day.
    async fn room(&self) -> u32 {
        let (store, now) = (self.queue.store(), self.queue.clock.now());
        store.ledger(AccountKey::MAIN, now, FIVE.into()).await.unwrap().room
    }

    async fn check(&mut self) {
        self.relay().await;
        if let Some((since, wait, _)) = self.truth.waits {
            let room = self.room().await;
            let waited = self.truth.running - since;
            assert!(
                room == 0 || waited <= wait + Duration::from_secs(2),
                "{waited:?} instead of {wait:?}"
            );
        }
        let keep_after = self.queue.clock.wall().before(KEPT);
        let expired = self.queue.store().expire_dead(keep_after).await.unwrap() as usize;
        let passed = self.truth.passed;
        for end in self.truth.dead.drain(..expired) {
            assert!(
                passed - end + Duration::from_secs(2) >= KEPT,
                "a dead letter of {:?}",
                passed - end
            );
            self.truth.ended.push(passed);
        }
        let pruned = self.queue.store().prune_history(keep_after).await.unwrap() as usize;
        for end in self.truth.ended.drain(..pruned) {
            assert!(passed - end + Duration::from_secs(2) >= KEPT, "history of {:?}", passed - end);
        }
    }

    async fn submit(&mut self) {
        for _ in 0..self.random.usize(1..6) {
            self.queue.accept(&["a@x.org"]).await;
        }
        self.check().await;
    }

    async fn defer(&mut self) {
        if self.truth.waits.is_some() {
            return;
        }
        // Urgent, so that it is the one that is claimed.
        let id = self.queue.accept_in(Lane::Urgent, &["waits@x.org"]).await;
        let room = FIVE * 2;
        let store = self.queue.store();
        let claim = store
            .claim_due(self.queue.clock.now(), ClaimLimits { limit: Limit::of(room), ..LIMIT });
        let Claim::Message(claimed) = claim.await.unwrap() else { panic!("it is urgent") };
        assert_eq!(claimed.id, id);
        let wait = self.below(20 * HOUR);
        let until = self.queue.clock.wall().after(wait);
        self.queue.settle(&claimed, Outcome::Deferred { until, reply: "451".into() }).await;
        self.truth.waits = Some((self.truth.running, wait, false));
    }

    async fn run(mut self) {
        let mut up = self.truth.running;
        for _ in 0..OPERATIONS {
            match self.random.u8(..) % 8 {
                0 | 1 => self.submit().await,
                2 => self.defer().await,
                3 if self.truth.running - up > 3 * HOUR => self.step().await,
                4 => {
                    up = self.truth.running;
                    self.reboot().await;
                }
                5 => {
                    let days = self.below(12 * DAY);
                    self.pass(days).await;
                }
                _ => {
                    let hours = self.below(9 * HOUR);
                    self.pass(hours).await;
                }
            }
        }
        self.pass(25 * HOUR).await;
        let room = self.room().await;
        let waiting = self.queue.store().totals().messages as usize - self.truth.dead.len();
        assert!(room > 0 || waiting > 0 || !self.truth.relayed.is_empty(), "the budget comes back");
        for _ in 0..40 {
            self.pass(26 * HOUR).await;
        }
        assert_eq!(
            self.queue.store().totals().messages as usize,
            self.truth.dead.len(),
            "all has left"
        );
        self.pass(31 * DAY + 3 * HOUR).await;
        self.pass(31 * DAY).await;
        assert!(
            self.truth.dead.is_empty() && self.truth.ended.is_empty(),
            "and is forgotten in the end"
        );
    }
}

async fn histories(fixture: fn() -> Fixture, number: u64) {
    let first = outage::seed("histories");
    for seed in (0..number).map(|number| first.wrapping_add(number)) {
        outage::show_seed("history", seed);
        let truth = Truth {
            passed: Duration::ZERO,
            running: Duration::ZERO,
            relayed: Vec::new(),
            dead: Vec::new(),
            ended: Vec::new(),
            waits: None,
        };
        History { queue: fixture(), truth, random: Rng::with_seed(seed) }.run().await;
    }
}

#[tokio::test]
async fn no_history_of_clocks_overspends_delays_or_forgets_in_memory() {
    histories(Fixture::memory, 60).await;
}

#[tokio::test]
async fn no_history_of_clocks_overspends_delays_or_forgets_on_disk() {
    histories(Fixture::sled, 3).await;
}
