//! The books of a fleet, whose time is the database's: a test moves it together with its clock.
//!
//! Rule: nobody reads the books between the two, and no time passes while a message is on its way, because its leases would end
//! in the middle. Must not know what a test proves.

use std::{sync::Arc, time::Duration};

use pillarbox::clock::ManualClock;

use super::postgres::{Postgres, Session, as_if_passed};

/// Between two looks whether something is on its way.
const LOOK: Duration = Duration::from_millis(3);
/// Looks until a test gives up, which is a minute at least.
const LOOKS_MAX: u32 = 20_000;
/// Looks that must have shown the same until nothing more is expected.
const STILL: u32 = 10;

/// Takes the books and the queue away from everybody until the transaction ends, and says whether it may be now: not while
/// somebody uses them, nor while there is a claim, or a reservation behind that of this number.
const TAKE: &str = "
    CREATE FUNCTION pg_temp.take(since bigint) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        LOCK TABLE pillarbox.account, pillarbox.reservation, pillarbox.login, pillarbox.login_wish, pillarbox.message
            IN ACCESS EXCLUSIVE MODE NOWAIT;
        RETURN NOT EXISTS (SELECT FROM pillarbox.reservation WHERE NOT settled AND fence > since)
            AND NOT EXISTS (SELECT FROM pillarbox.message WHERE claim IS NOT NULL);
    EXCEPTION WHEN lock_not_available THEN
        RETURN false;
    END $$";

/// The books in a database, and the queues beside them.
#[derive(Debug)]
pub(crate) struct Books {
    session: Session,
    pub(crate) server: Arc<Postgres>,
    pub(crate) database: String,
    /// The number of the last reservation that is of no process any more.
    before: u64,
}

impl Books {
    /// In a database of their own, which a host has still to make.
    pub(crate) fn new() -> Self {
        let server = Postgres::shared();
        let database = server.database();
        let mut session = server.session(&database);
        session.ask(TAKE);
        Self { session, server, database, before: 0 }
    }

    /// No process is there: what it has left is over, or is nobody's.
    pub(crate) fn everybody_is_gone(&mut self) {
        self.session.ask("UPDATE pillarbox.queue SET lease_until = '-infinity'");
        let last = self.session.ask("SELECT coalesce(max(fence), 0) FROM pillarbox.account");
        self.before = last.parse().expect("a number");
    }

    /// Time passes for everybody, as soon as nothing is on its way.
    pub(crate) async fn pass(&mut self, clock: &ManualClock, time: Duration) {
        for _ in 0..LOOKS_MAX {
            if self.try_to_pass(clock, time) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("something is on its way, and does not come to its end");
    }

    /// The same, unless something is on its way.
    pub(crate) fn try_to_pass(&mut self, clock: &ManualClock, time: Duration) -> bool {
        if !self.take() {
            return false;
        }
        self.session.ask(&as_if_passed(time));
        clock.advance(time);
        self.session.ask("COMMIT");
        true
    }

    /// Waits until nothing is on its way and this stays as it is.
    pub(crate) async fn until_still<T: PartialEq>(&mut self, figure: impl Fn() -> T) {
        let (mut same, mut before) = (0, None);
        for _ in 0..LOOKS_MAX {
            let is_still = self.take();
            if is_still {
                self.session.ask("ROLLBACK");
            }
            let present = Some(figure());
            same = if is_still && before == present { same + 1 } else { 0 };
            if same >= STILL {
                return;
            }
            before = present;
            tokio::time::sleep(LOOK).await;
        }
        panic!("never still");
    }

    /// Begins a transaction in which the books are nobody else's, unless something is on its way.
    fn take(&mut self) -> bool {
        let is_taken = self.session.ask(&format!("BEGIN; SELECT pg_temp.take({})", self.before));
        if is_taken == "t" {
            return true;
        }
        self.session.ask("ROLLBACK");
        false
    }
}
