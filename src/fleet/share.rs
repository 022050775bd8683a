//! One host's share of an account: what it has reserved and not yet settled, and what it last heard of the others.
//!
//! Rule: a final dot needs a reservation whose lease still lasts by this host's boot clock, counted from before it was asked
//! for. What cannot be settled is brought later or stays spent. Must not know what a recipient is sent.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tracing::{debug, warn};

use super::{
    books::{Answer, Ask, Books, Probe, Spender, Spent, Ticket, Told, Trouble, Word},
    reach::{Away, Reach},
    seats::Seats,
};
use crate::{
    budget::{Limit, WINDOW},
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
    /// The number of this host's ledger.
    ledger: i64,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Tells of a word of the account that was heard, and that a word of this host can be said now.
    pub(crate) news: Notify,
    /// Mail waits here, so that it matters how the account stands.
    is_waiting: AtomicBool,
    /// Tells that it does.
    waits: Arc<Notify>,
    /// This host has a word that could not be said.
    owes_a_word: AtomicBool,
    /// By which the others' books know that a notice is this process's.
    teller: i64,
    /// Its connections.
    pub(crate) seats: Arc<Seats>,
}

/// A claim on the day, as the queue and delivery know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// The number that the queue has given it.
    pub(crate) number: u64,
    pub(crate) recipients: u32,
    pub(crate) limit: Limit,
    /// How long it may take to hand it over.
    pub(crate) transfer: Duration,
    /// The number of the account's word by which it was let go.
    pub(crate) heard: i64,
    /// All hosts wait for it.
    pub(crate) probe: bool,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reserving {
    /// So many recipients may be tried.
    Granted(u32),
    /// None: the day is full.
    Full,
    /// None: another host tries one message, or this one has it out.
    ProbeIsOut(Probe),
    /// None: the account stands otherwise than this host knew.
    Unheard,
}

#[derive(Debug, Default)]
struct State {
    /// Whether what this host had spent alone is known to all.
    joined: bool,
    /// By the number that the queue has given a claim.
    reserved: BTreeMap<u64, Reserved>,
    unsettled: VecDeque<(Ticket, u32)>,
    known: Elsewhere,
    /// The account's last word that was heard, until somebody takes it.
    word: Option<Word>,
    /// Its number, taken or not.
    number: i64,
    /// The attempt of another host for which this one waits, and until when by the boot clock.
    probe: Option<(String, u64)>,
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
    /// The other host that tries one message for all, as far as is known.
    pub(crate) probing: Option<String>,
    /// Whether the others hear of the account's trouble from another host.
    pub(crate) told_elsewhere: bool,
}

impl Elsewhere {
    /// When a day without room has some again: what other hosts have taken this host's ledger does not know; they have told when it
    /// frees, or will within a day. `own` is by the ledger.
    pub(crate) fn day_frees_at(
        self,
        own: Option<Timestamp>,
        limit: Limit,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if self.spent == 0 || limit == Limit::of(0) {
            return own;
        }
        self.frees_at.or(own).or_else(|| Some(now.after(WINDOW)))
    }
}

impl Share {
    pub(super) fn new(
        (books, reach, waits): (Arc<dyn Books>, Arc<Reach>, Arc<Notify>),
        (account, host, ledger): (String, String, i64),
        (clock, seats): (Arc<dyn Clock>, Arc<Seats>),
    ) -> Self {
        Self {
            books,
            reach,
            account,
            host,
            ledger,
            clock,
            state: Mutex::default(),
            news: Notify::new(),
            is_waiting: AtomicBool::new(false),
            waits,
            owes_a_word: AtomicBool::new(false),
            teller: fastrand::i64(1..),
            seats,
        }
    }

    /// What the others know this host by.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// For whoever tells of it; who tells of the account's trouble, the account knows.
    pub(crate) fn status(&self) -> Status {
        let now_ms = self.clock.now().since_boot_ms;
        let state = lock(&self.state);
        let probe = state.probe.as_ref().filter(|(_, until_ms)| *until_ms > now_ms);
        Status {
            away: self.reach.away(),
            elsewhere: state.known,
            probing: probe.map(|(host, _)| host.clone()),
            told_elsewhere: false,
        }
    }

    /// Whether mail waits here: then it is heard soon when the account stands otherwise.
    pub(crate) fn mail_waits(&self, is_waiting: bool) {
        if is_waiting && !self.is_waiting.swap(is_waiting, Ordering::Relaxed) {
            self.waits.notify_one();
        }
        self.is_waiting.store(is_waiting, Ordering::Relaxed);
    }

    /// Whether the account is asked after often.
    pub(super) fn is_attentive(&self) -> bool {
        self.is_waiting.load(Ordering::Relaxed) && self.reach.away().is_none()
    }

    /// Whether a word of this host waits to be said. Until then the end of its probe is not told either.
    pub(crate) fn owes_a_word(&self, owes: bool) {
        self.owes_a_word.store(owes, Ordering::Relaxed);
    }

    /// Hears how the account stands.
    ///
    /// # Errors
    /// The books cannot be asked.
    pub(crate) async fn hear(&self) -> Result<Word, Trouble> {
        let word = self.heard(self.books.hear(&self.account).await)?;
        self.keep_word(word.clone());
        Ok(word)
    }

    /// Whether there is a word that nobody has taken yet, or one of this host to be said.
    pub(crate) fn has_news(&self) -> bool {
        lock(&self.state).word.is_some() || self.owes_a_word.load(Ordering::Relaxed)
    }

    /// The account's word that was heard since this was asked last.
    pub(crate) fn take_word(&self) -> Option<Word> {
        lock(&self.state).word.take()
    }

    /// Says how the account stands, for a host that has heard the word of this number.
    ///
    /// # Errors
    /// The books cannot be asked; it may have been said all the same.
    pub(crate) async fn tell(
        &self,
        heard: i64,
        (text, now): (&str, Timestamp),
    ) -> Result<Told, Trouble> {
        let told = self.heard(self.books.tell(&self.account, heard, (text, now)).await)?;
        if let Told::Taken(number) = &told {
            let mut state = lock(&self.state);
            state.number = state.number.max(*number);
        }
        Ok(told)
    }

    /// Leaves it to this host, for so long, to tell by mail that the day is spent; `None` where it is this one's now, otherwise for how
    /// long it is another's.
    ///
    /// # Errors
    /// The books cannot be asked: then the notice could not leave either.
    pub(crate) async fn take_notice(&self, time: Duration) -> Result<Option<Duration>, Trouble> {
        self.heard(self.books.leave_notice_to(&self.account, self.teller, time).await)
    }

    /// What was heard is in no form that this program knows.
    pub(crate) fn misunderstood(&self, why: &str) -> Trouble {
        let words = format!("what another host says of the account cannot be read: {why}");
        let answer: Result<(), Trouble> = Err(Trouble(words.clone()));
        drop(self.heard(answer));
        Trouble(words)
    }

    fn keep_word(&self, word: Word) {
        let now_ms = self.clock.now().since_boot_ms;
        let mut state = lock(&self.state);
        let until_ms = |probe: &Probe| {
            now_ms.saturating_add(u64::try_from(probe.ends_in.as_millis()).unwrap_or(u64::MAX))
        };
        let others = word.probe.as_ref().filter(|probe| probe.host != self.host);
        state.probe = others.map(|probe| (probe.host.clone(), until_ms(probe)));
        if word.number > state.number {
            state.number = word.number;
            state.word = Some(word);
            self.news.notify_one();
        }
    }

    /// What the others have spent beside the `own` recipients that this host's ledger has; `limit` is that of ordinary mail.
    ///
    /// # Errors
    /// The books cannot be asked: nothing may be claimed.
    pub(crate) async fn elsewhere(&self, own: u32, limit: Limit) -> Result<Elsewhere, Trouble> {
        self.bring().await?;
        if !lock(&self.state).joined {
            self.heard(self.books.bring_in(&self.account, self.spender(), own).await)?;
            lock(&self.state).joined = true;
        }
        let known = Self::beside(self.ask(limit).await?, own.into());
        let mut state = lock(&self.state);
        (state.known, state.limit) = (known, limit);
        Ok(known)
    }

    /// What was spent, and when that was asked: whoever stands still before he reads the answer waits no longer for that.
    async fn ask(&self, limit: Limit) -> Result<(Timestamp, Spent), Trouble> {
        let asked = self.clock.wall();
        let spent = self.heard(self.books.spent(&self.account, self.spender(), limit).await)?;
        Ok((asked, spent))
    }

    fn spender(&self) -> Spender<'_> {
        (&self.host, self.ledger)
    }

    fn beside((asked, all): (Timestamp, Spent), own: u64) -> Elsewhere {
        let spent = u32::try_from(all.recipients.saturating_sub(own)).unwrap_or(u32::MAX);
        let frees_at = all.frees_in.map(|wait| asked.after(wait));
        Elsewhere { spent, frees_at }
    }

    /// Reserves recipients for a claim.
    ///
    /// # Errors
    /// The books cannot be asked, or have not answered in time: nothing may be sent.
    pub(crate) async fn reserve(&self, claim: Claim) -> Result<Reserving, Trouble> {
        let Claim { number, recipients, limit, transfer, heard, probe } = claim;
        let asked_ms = self.clock.now().since_boot_ms;
        let token = fastrand::i64(1..);
        let lease = transfer + LEASE_AFTER_DOT;
        let ask = Ask { token, ledger: self.ledger, recipients, limit, lease, heard, probe };
        let answer = self.books.reserve(&self.account, &self.host, &ask).await;
        if answer.is_err() {
            // It may have been made all the same.
            self.keep(Ticket { token, fence: None, probe }, 0);
        }
        let granted = match self.heard(answer)? {
            Answer::Granted(granted) => granted,
            Answer::Full => return Ok(Reserving::Full),
            Answer::ProbeIsOut(probe) => return Ok(Reserving::ProbeIsOut(probe)),
            Answer::Unheard(word) => {
                self.keep_word(word);
                return Ok(Reserving::Unheard);
            }
        };
        let ticket = Ticket { token, fence: Some(granted.fence), probe };
        let transfer_ms = u64::try_from(transfer.as_millis()).unwrap_or(u64::MAX);
        let dot_until_ms = asked_ms.saturating_add(transfer_ms);
        let reserved = Reserved { ticket, recipients: granted.recipients, dot_until_ms };
        lock(&self.state).reserved.insert(number, reserved);
        Ok(Reserving::Granted(granted.recipients))
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
        if reserved.ticket.probe && self.owes_a_word.load(Ordering::Relaxed) {
            // Who waits for it has to hear what it has found before it is over.
            self.keep(reserved.ticket, spent);
            return;
        }
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

    /// Hears how the account stands; one who has a word to say learns that it can be said.
    pub(super) async fn listen(&self) {
        if self.hear().await.is_ok() && self.owes_a_word.load(Ordering::Relaxed) {
            self.news.notify_one();
        }
    }

    /// Brings what could not be settled before, and looks what the others have done, and whether the books can be asked.
    pub(super) async fn look_after(&self) {
        self.listen().await;
        let limit = lock(&self.state).limit;
        // Whoever sends compares with his own ledger; for a look the books know enough.
        if self.bring().await.is_ok()
            && let Ok((asked, spent)) = self.ask(limit).await
        {
            let known = Self::beside((asked, spent), spent.by_host);
            lock(&self.state).known = known;
        }
    }

    /// Brings what could not be settled before.
    async fn bring(&self) -> Result<(), Trouble> {
        // What a probe has found is said before it is over.
        while !self.owes_a_word.load(Ordering::Relaxed) {
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
        Ok(())
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
