//! The state machine of the upstream account: when it pauses, for how long, and how it recovers.
//!
//! Rule: pure; wall time comes in as an argument, because a pause must outlive a reboot, and so do its steps. A refusal of the
//! account never costs a message anything, and a pause ends with one probe: one message by one worker,
//! the rest waits for its success (docs/gmail.md section 3.1). Must not know replies or stores.

mod of_all;

use std::time::Duration;

use self::of_all::OfAll;
pub(super) use self::of_all::{Adopted, Saying};
use super::{
    account_failure::{AccountFailure, Recheck, longest, rank, wait},
    in_step::HasWallTimes,
};
use crate::{
    budget::Limit,
    clock::Timestamp,
    fleet::Word,
    queue::{
        ClaimedMessage,
        allowance::{Allowance, EarlyDay, Told},
        id::QueueId,
        pause::{PAUSE_MAX, Pause},
        state::{AccountCondition, AccountState},
    },
};

/// The account as the pool sees it.
#[derive(Debug)]
pub(super) struct Account {
    state: AccountState,
    /// Rises with every change, so that ten workers that meet the same refusal count as one.
    generation: u64,
    /// Whether a login has worked since the start or the last `resume`.
    proven: bool,
    /// Whether a worker is out with the one message that may be tried.
    probing: bool,
    /// Its login has worked: the others need not wait for the end of its message, which may hang.
    login_worked: bool,
    /// Somebody was told that the probe is out, and looks again when it comes back.
    turned_away: bool,
    /// Connections lost in a row after the final dot; the second one backs off.
    losses: u32,
    /// Connections lost in a row at AUTH; the third one counts as too many logins.
    login_losses: u32,
    /// The messages that were charged with a refusal in the account's name since one was accepted.
    charged: Vec<QueueId>,
    /// What stands against the account was said after a login that worked, so another login proves nothing.
    refused_after_login: bool,
    /// How what stands against it may be looked at again, as far as that is known.
    recheck: Option<Recheck>,
    /// The generation that the last `resume` began: attempts from before it have nothing to say any more.
    resumed: u64,
    /// The upstream has called the day full, and our own count is not compared with it yet.
    told_full: Option<Told>,
    /// The generation that began when it said so: attempts of an earlier one may have been accepted before.
    full_generation: u64,
    /// What the other hosts of a fleet say and have to be told; without a fleet nobody asks.
    of_all: OfAll,
}

/// What our own count has said when the upstream had called the day full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    NothingNew,
    /// The allowance has changed.
    Noted,
    /// The upstream was earlier than we, for the first time on this day.
    Early(EarlyDay),
}

/// Connections lost at AUTH in a row that are taken for a refusal (docs/gmail.md section 3.3).
const LOGIN_LOSSES_MAX: u32 = 3;
/// Messages taken for spam within [`SPAM_WINDOW`] that pause the account (docs/gmail.md section 3.6).
const SPAM_MAX: usize = 3;
/// The window in which they are counted.
const SPAM_WINDOW: Duration = Duration::from_secs(3_600);
/// Messages that are charged in a row with refusals in the account's name: with one more, the account is in doubt.
const CHARGED_MAX: usize = 5;
/// How long after a back-off there is one connection at a time.
const ALONE: Duration = Duration::from_secs(30 * 60);

/// The licence for one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permit {
    generation: u64,
    probe: bool,
    single: bool,
    of_all: bool,
    heard: Option<i64>,
}

impl Permit {
    /// Whether only one recipient may be tried: the upstream says that the day is full.
    pub(super) fn is_single(self) -> bool {
        self.single
    }

    /// Whether the other hosts wait for the result of this attempt, too.
    pub(super) fn is_probe_of_all(self) -> bool {
        self.of_all
    }

    /// The number of the word by which it was given; `None` before the first look.
    pub(super) fn heard(self) -> Option<i64> {
        self.heard
    }

    /// Whether the others wait for the result of this attempt.
    pub(super) fn is_probe(self) -> bool {
        self.probe
    }
}

/// Whether an attempt may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It may.
    Go(Permit),
    /// A worker is out with the probe; its result decides.
    ProbeIsOut,
    /// Not before this time.
    Paused(Timestamp),
}

/// Whom too many verdicts of spam stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stops {
    Sender,
    Everybody,
}

impl HasWallTimes for Account {
    fn clock_was_set(&mut self, step_ms: i64) {
        self.state = self.state.clone().moved(step_ms);
        self.of_all.clock_was_set(step_ms);
    }
}

impl Account {
    /// Continues from what was stored. A stored pause is kept as it is, except that one which ends
    /// later than any pause could (the clock stepped back) is cut to the longest.
    pub(super) fn new(stored: Option<AccountState>, now: Timestamp) -> Self {
        let mut state = stored.unwrap_or_else(|| AccountState::open(now));
        let latest = now.after(longest(state.condition));
        state.until = state.until.map(|until| until.min(latest));
        state.alone_until = state.alone_until.map(|until| until.min(latest.after(ALONE)));
        if let Some(until) = state.pause.as_mut().and_then(|pause| pause.until.as_mut()) {
            *until = (*until).min(now.after(PAUSE_MAX));
        }
        Self {
            state,
            generation: 0,
            proven: false,
            probing: false,
            login_worked: false,
            turned_away: false,
            losses: 0,
            login_losses: 0,
            charged: Vec::new(),
            refused_after_login: false,
            recheck: None,
            resumed: 0,
            told_full: None,
            full_generation: 0,
            of_all: OfAll::default(),
        }
    }

    pub(super) fn state(&self) -> &AccountState {
        &self.state
    }

    /// Whether one message is being tried, for which the others wait.
    pub(super) fn is_probing(&self, now: Timestamp) -> bool {
        self.probing && self.wants_probe(now)
    }

    /// Whether the next attempt is one for which the others wait.
    fn wants_probe(&self, now: Timestamp) -> bool {
        let is_in_doubt = !self.proven
            || self.state.condition != AccountCondition::Open
            || self.of_all.wants_probe(now);
        self.state.is_day_full(now) || (is_in_doubt && !self.login_worked)
    }

    /// Asks for a licence. Until the account is proven, and after a pause, there is only one at a time.
    pub(super) fn enter(&mut self, now: Timestamp) -> Entry {
        if let Some(until) = self.state.shut_until(now).filter(|until| *until > now) {
            return Entry::Paused(until);
        }
        let (single, probe) = (self.state.is_day_full(now), self.wants_probe(now));
        if probe && self.probing {
            self.turned_away = true;
            return Entry::ProbeIsOut;
        }
        self.probing |= probe;
        let (of_all, heard) = (probe && self.of_all.wants_probe(now), self.of_all.number());
        Entry::Go(Permit { generation: self.generation, probe, single, of_all, heard })
    }

    /// How many of `configured` connections may be open.
    pub(super) fn connections(&self, configured: usize, now: Timestamp) -> usize {
        let alone = self.state.alone_until.is_some_and(|until| now < until);
        if alone { 1 } else { configured.max(1) }
    }

    /// A message was taken for spam, as `of_sender` of its sender were within the hour, this one included. When that was
    /// once too often, it stops the sender if all of them were his, and else everybody.
    pub(super) fn spam(&mut self, of_sender: usize, now: Timestamp) -> Option<Stops> {
        self.state.spam.retain(|at| now.since(*at) < SPAM_WINDOW);
        self.state.spam.push(now);
        let all = self.state.spam.len();
        if all < SPAM_MAX {
            return None;
        }
        // They are kept: with the next one of somebody else it is not his affair alone any more.
        if of_sender >= all {
            return Some(Stops::Sender);
        }
        self.state.spam.clear();
        Some(Stops::Everybody)
    }

    /// Whether the attempt with this licence began before a person said that all is well.
    pub(super) fn is_from_before_resume(&self, permit: Permit) -> bool {
        permit.generation < self.resumed
    }

    /// Whether a refusal in the account's name would be this message's own: it, or what it has in common with
    /// another (`convicted`), was refused before, others were accepted since, and nothing stands against the
    /// account now.
    pub(super) fn is_its_own(&self, claim: &ClaimedMessage, convicted: bool) -> bool {
        let known = claim.setbacks.last.zip(self.state.accepted_at);
        self.state.condition == AccountCondition::Open
            && (self.charged.len() < CHARGED_MAX || self.charged.contains(&claim.id))
            && (convicted || known.is_some_and(|(refused, accepted)| accepted > refused))
    }

    /// A refusal in the account's name was this message's own.
    pub(super) fn charge(&mut self, permit: Permit, id: QueueId) {
        if !self.charged.contains(&id) {
            self.charged.push(id);
        }
        self.release(permit);
    }

    /// Whether nothing has changed since the licence was given.
    pub(super) fn is_current(&self, permit: Permit) -> bool {
        permit.generation == self.generation
    }

    /// The licence's attempt says nothing about the account.
    pub(super) fn release(&mut self, permit: Permit) {
        if permit.probe && permit.generation == self.generation {
            self.probing = false;
            self.login_worked = false;
        }
    }

    /// The upstream has let the probe in. Returns whether others may go now. Whether the day has room shows at the
    /// message alone.
    #[must_use]
    pub(super) fn logged_in(&mut self, permit: Permit) -> bool {
        let is_news = permit.probe && permit.generation == self.generation && !self.login_worked;
        let is_enough = !permit.single
            && !self.refused_after_login
            && self.state.condition != AccountCondition::PausedQuota;
        self.login_worked |= is_news && is_enough;
        is_news && is_enough
    }

    /// The licence was not used. Returns whether somebody was turned away meanwhile, who may have seen
    /// work that this one did not.
    #[must_use]
    pub(super) fn give_back(&mut self, permit: Permit) -> bool {
        self.release(permit);
        permit.probe && std::mem::take(&mut self.turned_away)
    }

    /// A worker died; if it had the probe, the probe is free again.
    pub(super) fn abandon_probe(&mut self) {
        self.probing = false;
        self.login_worked = false;
    }

    /// The upstream accepted a message. Returns whether the state changed.
    pub(super) fn accepted(&mut self, permit: Permit, now: Timestamp) -> bool {
        self.losses = 0;
        let current = self.is_current(permit);
        if current {
            self.state.accepted_at = Some(now);
            self.charged.clear();
        }
        let learned = current && self.state.day_full_since.take().is_some();
        self.prove(permit, now, AccountCondition::Open) || learned
    }

    /// The upstream took the login but refused this message or its recipients: that ends every pause
    /// but the one for the quota, which only an accepted message can end.
    pub(super) fn answered(&mut self, permit: Permit, now: Timestamp) -> bool {
        self.prove(permit, now, AccountCondition::PausedQuota)
    }

    fn prove(&mut self, permit: Permit, now: Timestamp, except: AccountCondition) -> bool {
        // The success of an attempt that began before the pause does not end the pause.
        if permit.generation != self.generation {
            return false;
        }
        if except == AccountCondition::PausedQuota && self.state.condition == except {
            self.release(permit);
            return false;
        }
        let changed = self.state.condition != AccountCondition::Open;
        self.proven = true;
        self.refused_after_login = false;
        self.probing = false;
        self.login_worked = false;
        self.login_losses = 0;
        self.of_all.opened(self.state.is_day_full(now), now);
        if changed {
            self.state = AccountState {
                day_full_since: self.state.day_full_since,
                alone_until: self.state.alone_until,
                accepted_at: self.state.accepted_at,
                spam: std::mem::take(&mut self.state.spam),
                pause: self.state.pause.take(),
                early: std::mem::take(&mut self.state.early),
                ..AccountState::open(now)
            };
            self.generation += 1;
        }
        changed
    }

    /// The connection was lost after a final dot. Two in a row mean that the connection is bad.
    pub(super) fn lost_after_dot(&mut self, permit: Permit) -> bool {
        if self.is_from_before_resume(permit) {
            return false;
        }
        self.losses += 1;
        self.release(permit);
        self.losses >= 2
    }

    /// The account is refused. Returns whether the state changed: a refusal that another worker has
    /// already reported does not count twice, but a graver one replaces a lighter one.
    pub(super) fn failed(
        &mut self,
        permit: Permit,
        mut failure: AccountFailure,
        now: Timestamp,
    ) -> bool {
        if self.is_from_before_resume(permit) {
            return false;
        }
        self.login_losses = if failure.lost_at_login { self.login_losses + 1 } else { 0 };
        if self.login_losses >= LOGIN_LOSSES_MAX {
            failure.condition = AccountCondition::PausedLogin;
            failure.remedy = "Nothing: logins that end without a word mean that there were too many; the relay logs \
                              in again when the pause ends. Check that nothing else logs in to this account in a loop."
                .to_owned();
        }
        let graver = rank(failure.condition) > rank(self.state.condition);
        if permit.generation != self.generation && !graver {
            return false;
        }
        let again = self.state.condition == failure.condition;
        if failure.day_full {
            let (again, alike) = (self.state.day_full_since.is_some(), failure.says_nothing_new);
            self.told_full = Some(Told { again, alike });
            self.full_generation = self.generation + 1;
        }
        // A lost connection is not a word against the account: there the login is what was in doubt.
        self.refused_after_login = failure.recheck == Recheck::AnotherMessage
            && failure.condition != AccountCondition::BackingOff;
        let strikes = if again { self.strikes_with(&failure) } else { 1 };
        self.recheck = Some(failure.recheck);
        let told = failure.clone();
        // A short pause never cuts the rest of a longer one.
        let until = self.state.until.max(Some(now.after(wait(&failure, strikes))));
        // One message may have lost its connection for itself; the second in a row has not.
        let narrows = matches!(
            failure.condition,
            AccountCondition::BackingOff | AccountCondition::PausedLogin
        ) && (again || !failure.lost_in_transaction);
        let alone_until = until.filter(|_| narrows).map(|until| until.after(ALONE));
        self.state = AccountState {
            condition: failure.condition,
            since: if again { self.state.since } else { now },
            until,
            strikes,
            reason: failure.reason,
            remedy: failure.remedy,
            day_full_since: if failure.day_full { Some(now) } else { self.state.day_full_since },
            alone_until: self.state.alone_until.max(alone_until),
            accepted_at: self.state.accepted_at,
            spam: std::mem::take(&mut self.state.spam),
            logins: Vec::new(),
            login_mark: self.state.login_mark,
            pause: self.state.pause.take(),
            early: std::mem::take(&mut self.state.early),
        };
        self.generation += 1;
        self.probing = false;
        self.login_worked = false;
        self.of_all.failed(&told);
        true
    }

    /// Whether our own count has something to say: the upstream has called the day full, or it holds to less than `limit`
    /// because of that.
    pub(super) fn wants_count(&self, limit: Limit, now: Timestamp) -> bool {
        self.told_full.is_some() || self.state.early.in_force(limit, now).is_some()
    }

    /// What may be spent of `limit`, by what the upstream has turned out to allow.
    pub(super) fn allowance(&self, limit: Limit, now: Timestamp) -> Option<Allowance> {
        self.state.early.allowance(limit, now)
    }

    /// We have spent `counted` of `limit` now that the attempt with this licence is settled, `accepted` or not.
    pub(super) fn counted(
        &mut self,
        permit: Permit,
        accepted: bool,
        (counted, limit): (u32, Limit),
        now: Timestamp,
    ) -> Counted {
        if let Some(told) = self.told_full.take() {
            self.of_all.learned();
            let early = self.state.early.told(told, counted, limit, now);
            return early.map_or(Counted::Noted, Counted::Early);
        }
        let is_current = permit.generation >= self.full_generation;
        let is_more = accepted && self.state.early.accepted(counted, is_current, now);
        if is_more {
            self.of_all.learned();
        }
        if is_more { Counted::Noted } else { Counted::NothingNew }
    }

    /// How often the condition has been found in a row, this failure of the same condition included. A pause of hours
    /// grows with what is new alone, and not with those of minutes before it, which one message may have earned.
    fn strikes_with(&self, failure: &AccountFailure) -> u32 {
        let is_of_hours = failure.condition != AccountCondition::BackingOff;
        let is_of_its_kind = self.recheck.is_none_or(|known| known == failure.recheck);
        match failure.recheck {
            _ if is_of_hours && !is_of_its_kind => 1,
            Recheck::Usual if failure.says_nothing_new => self.state.strikes,
            _ => self.state.strikes.saturating_add(1),
        }
    }

    /// A person orders a pause, in the place of one that he ordered before. What is on its way ends.
    pub(super) fn pause(&mut self, pause: Option<Pause>) {
        self.state.pause = pause;
        self.of_all.paused();
    }

    /// A person says that it is repaired, and ends his own pause.
    pub(super) fn resume(&mut self, now: Timestamp) {
        self.state.early.lift();
        self.state = AccountState {
            accepted_at: self.state.accepted_at,
            early: std::mem::take(&mut self.state.early),
            ..AccountState::open(now)
        };
        self.told_full = None;
        self.generation += 1;
        self.resumed = self.generation;
        self.charged.clear();
        self.refused_after_login = false;
        self.proven = false;
        self.probing = false;
        self.login_worked = false;
        self.losses = 0;
        self.login_losses = 0;
        self.of_all.resumed();
    }

    /// The number of the last word of all hosts that was heard or said; `None` before the first look.
    pub(super) fn heard(&self) -> Option<i64> {
        self.of_all.number()
    }

    /// The host that has found the account as it is, when it is not `host` itself.
    pub(super) fn found_by(&self, host: &str) -> Option<&str> {
        self.of_all.found_by(host)
    }

    /// Whether another host tells the administrator of the account's trouble.
    pub(super) fn is_told_elsewhere(&self, host: &str) -> bool {
        self.of_all.is_told_elsewhere(host)
    }

    /// The login is another one than that which was refused: the others' pause for it is over as well.
    pub(super) fn begins_anew(&mut self) {
        self.of_all.resumed();
    }

    /// What the others have to be told by `host`; nothing before their last word was heard.
    pub(super) fn to_tell(&self, host: &str, now: Timestamp) -> Option<Saying> {
        self.of_all.to_tell(&self.state, host, now)
    }

    /// The others have it, under this number.
    pub(super) fn was_told(&mut self, saying: Saying, number: i64) {
        self.of_all.was_told(saying, number);
    }

    /// Another host's word counts, but for what this one has to say that is graver, or ordered by a person.
    ///
    /// # Errors
    /// It is in no form that this program knows.
    pub(super) fn adopt(
        &mut self,
        word: &Word,
        now: Timestamp,
    ) -> Result<Adopted, serde_json::Error> {
        let adopted = self.of_all.adopt(&mut self.state, word, now)?;
        if adopted.is_another {
            self.generation += 1;
            (self.probing, self.login_worked) = (false, false);
            (self.recheck, self.refused_after_login) = (None, false);
        }
        if adopted.resumed {
            self.resumed = self.generation;
            self.charged.clear();
            (self.losses, self.login_losses) = (0, 0);
        }
        Ok(adopted)
    }
}

#[cfg(test)]
mod tests;
