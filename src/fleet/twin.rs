//! Books in memory, for tests: what PostgreSQL is asked to keep, as plain data, and what would be wrong in them.
//!
//! Rule: pure but for the lock. Must not be what a daemon uses: another host would not see it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use super::{
    books::{
        Answer, Ask, Books, Granted, Probe, Spender, Spent, Ticket, Told, Trouble, Word, granted,
    },
    token_twin::TokenRows,
    vault::{Kept, KeyId, TokenBooks},
};
use crate::{
    budget::{Limit, WINDOW},
    clock::{Clock, ManualClock, Timestamp},
    sync::lock,
};

/// A mistake that such books could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flaw {
    /// What was not settled in its lease is forgotten.
    ForgetsTheUncertain,
    /// A window begins with the claim, and not when the upstream may have taken the last of it.
    CountsFromTheClaim,
    /// Whoever asks gets a reservation, whatever he has heard of the account.
    GrantsToTheDeaf,
    /// A word is taken from a host that has not heard the last one.
    TakesLateWords,
    /// A probe is given while another one is out.
    GivesProbesAway,
}

/// A reservation as the table has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Row {
    fence: i64,
    ledger: i64,
    token: i64,
    recipients: u32,
    settled: bool,
    lease_until: Duration,
    counts_until: Duration,
}

/// The books of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Book {
    flaw: Option<Flaw>,
    fence: i64,
    latest: Duration,
    rows: Vec<Row>,
    number: i64,
    text: String,
    said_at: i64,
    at: Duration,
    /// Its token, its host, and until when it is waited for.
    probe: Option<(i64, String, Duration)>,
    /// Who tells that the day is spent, and until when nobody else does.
    notice: Option<(i64, Duration)>,
}

impl Book {
    pub(super) fn with(flaw: Option<Flaw>) -> Self {
        Self { flaw, ..Self::default() }
    }

    /// The time that counts when the clock says so.
    fn time(&self, clock: Duration) -> Duration {
        clock.max(self.latest)
    }

    fn counting(&self, now: Duration) -> impl Iterator<Item = &Row> {
        let forgets = self.flaw == Some(Flaw::ForgetsTheUncertain);
        self.rows.iter().filter(move |row| {
            row.counts_until > now && (!forgets || row.settled || row.lease_until > now)
        })
    }

    pub(super) fn spent(&self, clock: Duration, ledger: i64, limit: Limit) -> Spent {
        let now = self.time(clock);
        let sum = |rows: &mut dyn Iterator<Item = &Row>| {
            rows.map(|row| u64::from(row.recipients)).sum::<u64>()
        };
        let recipients = sum(&mut self.counting(now));
        let by_host = sum(&mut self.counting(now).filter(|row| row.ledger == ledger));
        let mut leaving: Vec<_> =
            self.counting(now).map(|row| (row.counts_until - now, row.recipients)).collect();
        leaving.sort_unstable();
        let is_spent = limit.room_after(recipients) == 0;
        let frees_in = if is_spent { limit.frees(recipients, leaving) } else { None };
        Spent { recipients, by_host, frees_in }
    }

    pub(super) fn reserve(&mut self, clock: Duration, host: &str, ask: &Ask) -> Answer {
        let word = self.word(clock);
        if word.number != ask.heard && self.flaw != Some(Flaw::GrantsToTheDeaf) {
            return Answer::Unheard(word);
        }
        let is_kept = ask.probe && self.flaw != Some(Flaw::GivesProbesAway);
        if let Some(probe) = word.probe.filter(|_| is_kept) {
            return Answer::ProbeIsOut(probe);
        }
        let spent = self.spent(clock, ask.ledger, Limit::NONE).recipients;
        let recipients = granted(ask, spent);
        if recipients == 0 {
            return Answer::Full;
        }
        let fence = self.insert(clock, (ask.ledger, ask.token), recipients, false, ask.lease);
        if ask.probe {
            self.probe = Some((ask.token, host.to_owned(), self.latest + ask.lease));
        }
        Answer::Granted(Granted { fence, recipients })
    }

    pub(super) fn word(&self, clock: Duration) -> Word {
        let now = self.time(clock);
        let probe = self.probe.as_ref().filter(|(_, _, until)| *until > now);
        Word {
            number: self.number,
            text: self.text.clone(),
            said_at: Timestamp(self.said_at),
            age: now.saturating_sub(self.at),
            probe: probe
                .map(|(_, host, until)| Probe { host: host.clone(), ends_in: *until - now }),
        }
    }

    pub(super) fn tell(&mut self, clock: Duration, heard: i64, said: (&str, Timestamp)) -> Told {
        if heard != self.number && self.flaw != Some(Flaw::TakesLateWords) {
            return Told::Late(self.word(clock));
        }
        self.latest = self.time(clock);
        self.number += 1;
        (self.text, self.said_at, self.at) = (said.0.to_owned(), said.1.0, self.latest);
        Told::Taken(self.number)
    }

    fn leave_notice_to(
        &mut self,
        clock: Duration,
        teller: i64,
        time: Duration,
    ) -> Option<Duration> {
        let now = self.time(clock);
        if let Some((_, until)) = self.notice.filter(|(by, until)| *by != teller && *until > now) {
            return Some(until - now);
        }
        self.notice = Some((teller, now + time));
        None
    }

    fn insert(
        &mut self,
        clock: Duration,
        (ledger, token): (i64, i64),
        recipients: u32,
        settled: bool,
        lease: Duration,
    ) -> i64 {
        self.latest = self.time(clock);
        self.fence += 1;
        let may_end =
            if self.flaw == Some(Flaw::CountsFromTheClaim) { Duration::ZERO } else { lease };
        self.rows.push(Row {
            fence: self.fence,
            ledger,
            token,
            recipients,
            settled,
            lease_until: self.latest + lease,
            counts_until: self.latest + may_end + WINDOW,
        });
        self.fence
    }

    pub(super) fn settle(&mut self, clock: Duration, ticket: Ticket, spent: u32) -> bool {
        let now = self.time(clock);
        if ticket.probe {
            self.probe.take_if(|(token, ..)| *token == ticket.token);
        }
        let is_meant = |row: &Row| {
            row.token == ticket.token
                && ticket.fence.is_none_or(|fence| fence == row.fence)
                && !row.settled
                && row.lease_until > now
        };
        let Some(at) = self.rows.iter().position(is_meant) else { return false };
        if spent == 0 {
            self.rows.remove(at);
        } else if let Some(row) = self.rows.get_mut(at) {
            row.settled = true;
            row.recipients = row.recipients.min(spent);
            row.counts_until = now + WINDOW;
        }
        true
    }

    fn bring_in(&mut self, clock: Duration, ledger: i64, spent: u32) {
        let known = self.spent(clock, ledger, Limit::NONE).by_host;
        let unknown = u64::from(spent).saturating_sub(known);
        if let Some(unknown) = u32::try_from(unknown).ok().filter(|unknown| *unknown > 0) {
            let token = -(self.fence + 1);
            self.insert(clock, (ledger, token), unknown, true, Duration::ZERO);
        }
    }
}

/// Books of one account that can be out of reach.
#[derive(Debug)]
pub(super) struct Twin {
    pub(super) book: Mutex<Book>,
    pub(super) tokens: Mutex<TokenRows>,
    clock: ManualClock,
    pub(super) is_away: AtomicBool,
    /// The next claim is made, and its answer is lost.
    pub(super) loses_an_answer: AtomicBool,
    /// So many milliseconds the host stands still before it reads what was spent, the next time.
    pub(super) stands_still_ms: AtomicU64,
}

impl Twin {
    pub(super) fn new(clock: &ManualClock) -> Self {
        Self {
            book: Mutex::default(),
            tokens: Mutex::default(),
            clock: clock.clone(),
            is_away: AtomicBool::new(false),
            loses_an_answer: AtomicBool::new(false),
            stands_still_ms: AtomicU64::new(0),
        }
    }

    fn clock(&self) -> Result<Duration, Trouble> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Trouble("the database is away".into()));
        }
        Ok(Duration::from_millis(self.clock.now().since_boot_ms))
    }
}

#[async_trait]
impl Books for Twin {
    async fn spent(
        &self,
        _: &str,
        (_, ledger): Spender<'_>,
        limit: Limit,
    ) -> Result<Spent, Trouble> {
        let spent = lock(&self.book).spent(self.clock()?, ledger, limit);
        let still_ms = self.stands_still_ms.swap(0, Ordering::Relaxed);
        self.clock.advance(Duration::from_millis(still_ms));
        Ok(spent)
    }

    async fn reserve(&self, _: &str, host: &str, ask: &Ask) -> Result<Answer, Trouble> {
        let answer = lock(&self.book).reserve(self.clock()?, host, ask);
        if self.loses_an_answer.swap(false, Ordering::Relaxed) {
            return Err(Trouble("the answer was lost".into()));
        }
        Ok(answer)
    }

    async fn settle(&self, _: &str, ticket: Ticket, spent: u32) -> Result<bool, Trouble> {
        Ok(lock(&self.book).settle(self.clock()?, ticket, spent))
    }

    async fn bring_in(&self, _: &str, (_, ledger): Spender<'_>, spent: u32) -> Result<(), Trouble> {
        lock(&self.book).bring_in(self.clock()?, ledger, spent);
        Ok(())
    }

    async fn hear(&self, _: &str) -> Result<Word, Trouble> {
        Ok(lock(&self.book).word(self.clock()?))
    }

    async fn tell(&self, _: &str, heard: i64, said: (&str, Timestamp)) -> Result<Told, Trouble> {
        Ok(lock(&self.book).tell(self.clock()?, heard, said))
    }

    async fn leave_notice_to(
        &self,
        _: &str,
        teller: i64,
        time: Duration,
    ) -> Result<Option<Duration>, Trouble> {
        Ok(lock(&self.book).leave_notice_to(self.clock()?, teller, time))
    }

    async fn sweep(&self) -> Result<(), Trouble> {
        self.clock().map(drop)
    }
}

#[async_trait]
impl TokenBooks for Twin {
    async fn token(&self, _: &str, key: &KeyId) -> Result<Kept, Trouble> {
        Ok(lock(&self.tokens).token(self.clock()?, key))
    }

    async fn leave_fetching_to(
        &self,
        (_, key): (&str, &KeyId),
        seen: i64,
        by: (i64, Duration),
    ) -> Result<bool, Trouble> {
        Ok(lock(&self.tokens).leave_fetching_to(self.clock()?, key, seen, by))
    }

    async fn put_token(
        &self,
        (_, key): (&str, &KeyId),
        seen: i64,
        token: (&[u8], Duration),
    ) -> Result<bool, Trouble> {
        Ok(lock(&self.tokens).put(self.clock()?, key, seen, token))
    }

    async fn refuse_token(&self, _: &str, key: &KeyId, number: i64) -> Result<(), Trouble> {
        self.clock()?;
        lock(&self.tokens).refuse(key, number);
        Ok(())
    }

    async fn forget_tokens(&self) -> Result<(), Trouble> {
        self.clock().map(drop)
    }
}
