//! One host's share of an account: what it has reserved and not yet settled, and what it last heard of the others.
//!
//! Rule: a final dot needs a reservation whose lease still lasts by this host's boot clock, counted from before it was asked
//! for. What cannot be settled is brought later or stays spent. Must not know what a recipient is sent.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use tracing::{debug, warn};

use super::{
    books::{Ask, Books, Spent, Ticket, Trouble},
    reach::{Away, Reach},
};
use crate::{
    budget::Limit,
    clock::{Clock, Timestamp},
    sync::lock,
};

/// Settlements that wait for the database; the oldest beyond that stays spent. A host that sends has a few at a time.
const UNSETTLED_MAX: usize = 1_000;
/// What a lease lasts beyond the last moment at which the final dot may be sent: the longest wait for its answer is ten
/// minutes (RFC 5321 section 4.5.3.2.6), and the rest is for its settlement.
const LEASE_AFTER_DOT: Duration = Duration::from_secs(20 * 60);

/// One host's share of an account.
#[derive(Debug)]
pub(crate) struct Share {
    books: Arc<dyn Books>,
    reach: Arc<Reach>,
    /// As all hosts call it.
    account: String,
    host: String,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether what this host had spent alone is known to all.
    joined: bool,
    /// By the number that the queue has given a claim.
    reserved: BTreeMap<u64, Reserved>,
    unsettled: VecDeque<(Ticket, u32)>,
    known: Elsewhere,
    /// Of ordinary mail, when it was asked for last.
    limit: Limit,
}

#[derive(Clone, Copy, Debug)]
struct Reserved {
    ticket: Ticket,
    recipients: u32,
    /// The last moment of this boot at which a final dot may be sent.
    dot_until_ms: u64,
}

/// What was last heard of the other hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// Recipients of the last 24 hours that this host's own ledger does not have.
    pub(crate) spent: u32,
    /// When one more may be spent, by this host's clock; `None` while there is room, and where there never is.
    pub(crate) frees_at: Option<Timestamp>,
}

/// How this host stands with the others, for whoever tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Since when the database cannot be asked, and why.
    pub(crate) away: Option<Away>,
    /// What was last heard of the others.
    pub(crate) elsewhere: Elsewhere,
}

impl Share {
    pub(super) fn new(
        (books, reach): (Arc<dyn Books>, Arc<Reach>),
        (account, host): (String, String),
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { books, reach, account, host, clock, state: Mutex::default() }
    }

    /// For whoever tells of it.
    pub(crate) fn status(&self) -> Status {
        let elsewhere = lock(&self.state).known;
        Status { away: self.reach.away(), elsewhere }
    }

    /// What the others have spent beside the `own` recipients that this host's ledger has; `limit` is that of ordinary mail.
    ///
    /// # Errors
    /// The books cannot be asked: nothing may be claimed.
    pub(crate) async fn elsewhere(&self, own: u32, limit: Limit) -> Result<Elsewhere, Trouble> {
        self.bring().await?;
        if !lock(&self.state).joined {
            self.heard(self.books.bring_in(&self.account, &self.host, own).await)?;
            lock(&self.state).joined = true;
        }
        let spent = self.ask(limit).await?;
        let known = self.beside(spent, own.into());
        let mut state = lock(&self.state);
        (state.known, state.limit) = (known, limit);
        Ok(known)
    }

    async fn ask(&self, limit: Limit) -> Result<Spent, Trouble> {
        self.heard(self.books.spent(&self.account, &self.host, limit).await)
    }

    fn beside(&self, all: Spent, own: u64) -> Elsewhere {
        let spent = u32::try_from(all.recipients.saturating_sub(own)).unwrap_or(u32::MAX);
        let frees_at = all.frees_in.map(|wait| self.clock.wall().after(wait));
        Elsewhere { spent, frees_at }
    }

    /// Reserves recipients for the claim that the queue knows by this number, whose transfer takes `transfer` at most.
    /// Returns how many there is room for.
    ///
    /// # Errors
    /// The books cannot be asked, or have not answered in time: nothing may be sent.
    pub(crate) async fn reserve(
        &self,
        claim: u64,
        recipients: u32,
        limit: Limit,
        transfer: Duration,
    ) -> Result<u32, Trouble> {
        let asked_ms = self.clock.now().since_boot_ms;
        let token = fastrand::i64(1..);
        let ask = Ask { token, recipients, limit, lease: transfer + LEASE_AFTER_DOT };
        let answer = self.books.reserve(&self.account, &self.host, &ask).await;
        if answer.is_err() {
            // It may have been made all the same.
            self.keep(Ticket { token, fence: None }, 0);
        }
        let Some(granted) = self.heard(answer)? else { return Ok(0) };
        let ticket = Ticket { token, fence: Some(granted.fence) };
        let transfer_ms = u64::try_from(transfer.as_millis()).unwrap_or(u64::MAX);
        let dot_until_ms = asked_ms.saturating_add(transfer_ms);
        let reserved = Reserved { ticket, recipients: granted.recipients, dot_until_ms };
        lock(&self.state).reserved.insert(claim, reserved);
        Ok(granted.recipients)
    }

    /// Whether the final dot of a claim may still be sent.
    pub(crate) fn may_send(&self, claim: u64) -> bool {
        let now_ms = self.clock.now().since_boot_ms;
        let state = lock(&self.state);
        state.reserved.get(&claim).is_some_and(|reserved| now_ms <= reserved.dot_until_ms)
    }

    /// Settles the reservation of a claim: so many of its recipients were spent, or may have been. Of a claim without a
    /// reservation there is nothing to settle.
    pub(crate) async fn settle(&self, claim: u64, spent: u32) {
        let Some(reserved) = lock(&self.state).reserved.remove(&claim) else { return };
        let spent = spent.min(reserved.recipients);
        let answer = self.books.settle(&self.account, reserved.ticket, spent).await;
        if answer.is_err() {
            self.keep(reserved.ticket, spent);
        }
        if self.heard(answer) == Ok(false) {
            warn!(
                recipients = reserved.recipients,
                "a reservation in the fleet's books was over before it was settled; its recipients count for 24 hours"
            );
        }
    }

    /// Brings what could not be settled before, and looks what the others have done, and whether the books can be asked.
    pub(super) async fn look_after(&self) {
        let limit = lock(&self.state).limit;
        // Whoever sends compares with his own ledger; for a look the books know enough.
        if self.bring().await.is_ok()
            && let Ok(spent) = self.ask(limit).await
        {
            let known = self.beside(spent, spent.by_host);
            lock(&self.state).known = known;
        }
    }

    /// Brings what could not be settled before.
    async fn bring(&self) -> Result<(), Trouble> {
        loop {
            let Some((ticket, spent)) = lock(&self.state).unsettled.pop_front() else {
                return Ok(());
            };
            let answer = self.books.settle(&self.account, ticket, spent).await;
            if answer.is_err() {
                lock(&self.state).unsettled.push_front((ticket, spent));
            }
            let was_there = self.heard(answer)?;
            // It may have been settled by the attempt whose answer was lost.
            debug!(was_there, "a settlement was brought to the fleet's books");
        }
    }

    fn keep(&self, ticket: Ticket, spent: u32) {
        let mut state = lock(&self.state);
        if state.unsettled.len() >= UNSETTLED_MAX {
            state.unsettled.pop_front();
        }
        state.unsettled.push_back((ticket, spent));
    }

    fn heard<T>(&self, answer: Result<T, Trouble>) -> Result<T, Trouble> {
        self.reach.note(&answer, self.clock.wall());
        answer
    }
}
