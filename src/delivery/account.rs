//! The state machine of the upstream account: when it pauses, for how long, and how it recovers.
//!
//! Rule: pure; wall time comes in as an argument, because a pause must outlive a reboot, and so do its steps. A refusal of the
//! account never costs a message anything, and a pause ends with one probe: one message by one worker,
//! the rest waits for its success (docs/gmail.md section 3.1). Must not know replies or stores.

use std::time::Duration;

use super::{
    account_failure::{AccountFailure, Recheck, longest, rank, wait},
    in_step::HasWallTimes,
};
use crate::{
    budget::Limit,
    clock::Timestamp,
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
}

impl Permit {
    /// Whether only one recipient may be tried: the upstream says that the day is full.
    pub(super) fn is_single(self) -> bool {
        self.single
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
        let is_in_doubt = !self.proven || self.state.condition != AccountCondition::Open;
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
        Entry::Go(Permit { generation: self.generation, probe, single })
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
            let early = self.state.early.told(told, counted, limit, now);
            return early.map_or(Counted::Noted, Counted::Early);
        }
        let is_current = permit.generation >= self.full_generation;
        let is_more = accepted && self.state.early.accepted(counted, is_current, now);
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
    }
}

#[cfg(test)]
mod tests {
    use AccountCondition::{
        BackingOff, PausedConfiguration, PausedCredentials, PausedLogin, PausedQuota,
    };

    use super::*;
    use crate::{delivery::fixtures::claimed, queue::record::Setbacks};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn go(account: &mut Account, now: Timestamp) -> Permit {
        let Entry::Go(permit) = account.enter(now) else {
            panic!("no licence: {:?}", account.state())
        };
        permit
    }

    fn failure(condition: AccountCondition) -> AccountFailure {
        AccountFailure::new(condition, "said no".into(), "do something".into())
    }

    fn proven() -> Account {
        let mut account = Account::new(None, NOW);
        let permit = go(&mut account, NOW);
        account.accepted(permit, NOW);
        account
    }

    /// The pauses of a condition, in the table of docs/internals/account.md.
    fn documented_pauses(condition: AccountCondition) -> Vec<Duration> {
        let document = include_str!("../../docs/internals/account.md");
        let (_, section) = document.split_once("\n## States of the account\n").unwrap();
        let row =
            section.lines().find(|line| line.starts_with(&format!("| {} |", condition.name())));
        let pauses = row.unwrap().trim_end_matches(" |").rsplit('|').next().unwrap();
        pauses.split_whitespace().map(|pause| humantime::parse_duration(pause).unwrap()).collect()
    }

    #[test]
    fn the_others_go_when_the_probe_has_logged_in_but_not_before_its_answer_when_the_day_is_full() {
        for condition in [BackingOff, PausedLogin, PausedCredentials, PausedConfiguration] {
            let mut account = proven();
            let permit = go(&mut account, NOW);
            account.failed(permit, failure(condition), NOW);
            let later = account.state().until.unwrap();
            let probe = go(&mut account, later);
            assert_eq!(account.enter(later), Entry::ProbeIsOut);
            assert!(account.logged_in(probe) && !account.logged_in(probe), "told once");
            let other = go(&mut account, later);
            assert!(!other.is_probe() && account.state().condition == condition);
            // The probe came to nothing: the next one is alone again.
            account.release(probe);
            assert!(go(&mut account, later).is_probe());
            assert_eq!(account.enter(later), Entry::ProbeIsOut);
        }
        let mut account = proven();
        let permit = go(&mut account, NOW);
        account.failed(permit, failure(PausedQuota), NOW);
        let later = account.state().until.unwrap();
        let probe = go(&mut account, later);
        assert!(!account.logged_in(probe));
        assert_eq!(account.enter(later), Entry::ProbeIsOut);
    }

    #[test]
    fn the_pauses_grow_as_documented() {
        for condition in
            [BackingOff, PausedLogin, PausedQuota, PausedCredentials, PausedConfiguration]
        {
            let mut account = proven();
            let mut now = NOW;
            let pauses = documented_pauses(condition);
            for expected in pauses.iter().chain(pauses.last()) {
                let permit = go(&mut account, now);
                assert!(account.failed(permit, failure(condition), now));
                let until = account.state().until.unwrap();
                assert_eq!(until.since(now), *expected, "{condition:?}");
                assert_eq!(
                    account.enter(until.before(Duration::from_millis(1))),
                    Entry::Paused(until)
                );
                now = until;
            }
            assert_eq!(account.state().since, NOW, "since tells when it began");
        }
    }

    #[test]
    fn a_fault_on_this_side_pauses_for_minutes_and_never_shortens_what_the_upstream_asked_for() {
        let local = || AccountFailure { recheck: Recheck::Local, ..failure(PausedCredentials) };
        let mut account = proven();
        let mut now = NOW;
        for expected in [1, 2, 5, 5] {
            let permit = go(&mut account, now);
            assert!(account.failed(permit, local(), now));
            let until = account.state().until.unwrap();
            assert_eq!(until.since(now).as_secs() / 60, expected);
            now = until;
        }
        let mut account = proven();
        let (refused, without_password) = (go(&mut account, NOW), go(&mut account, NOW));
        account.failed(refused, failure(PausedQuota), NOW);
        let until = account.state().until;
        assert!(account.failed(without_password, local(), NOW));
        assert_eq!(account.state().until, until);
    }

    #[test]
    fn our_own_count_is_asked_when_the_day_is_called_full_and_while_less_is_allowed_because_of_it()
    {
        let ours = Limit::of(475);
        let mut account = proven();
        assert!(!account.wants_count(ours, NOW));
        let (refused, on_its_way) = (go(&mut account, NOW), go(&mut account, NOW));
        let full = AccountFailure { day_full: true, ..failure(PausedQuota) };
        assert!(account.failed(refused, full.clone(), NOW) && account.wants_count(ours, NOW));
        assert!(matches!(account.counted(refused, false, (430, ours), NOW), Counted::Early(_)));
        let allowed = |account: &Account, at| {
            account.allowance(ours, at).map(|allowance| allowance.recipients)
        };
        assert_eq!(account.counted(on_its_way, true, (431, ours), NOW), Counted::Noted);
        let later = account.state().until.unwrap();
        let probe = go(&mut account, later);
        assert!(account.failed(probe, full.clone(), later));
        assert_eq!(account.counted(probe, false, (410, ours), later), Counted::Noted);
        assert_eq!(
            allowed(&account, later),
            Some(431),
            "what was accepted before the refusal counts"
        );
        let later = account.state().until.unwrap();
        let probe = go(&mut account, later);
        assert!(probe.is_single() && account.accepted(probe, later));
        assert_eq!(account.counted(probe, true, (400, ours), later), Counted::NothingNew);
        let stored = Account::new(Some(account.state().clone()), later);
        assert_eq!(allowed(&stored, later), Some(431), "it outlives the pause and a restart");
        account.resume(later);
        assert_eq!(allowed(&account, later), None);
        let permit = go(&mut account, later);
        assert!(account.failed(permit, full, later));
        assert_eq!(account.counted(permit, false, (475, ours), later), Counted::Noted);
        assert!(!account.wants_count(ours, later), "our own count says the same");
    }

    fn ordered(hours: u64) -> Pause {
        Pause::new(NOW, Some(NOW.after(Duration::from_secs(3_600 * hours))), "new server")
    }

    #[test]
    fn nothing_the_upstream_says_ends_the_administrators_pause_or_is_lost_by_it() {
        let mut account = proven();
        let (accepted, refused) = (go(&mut account, NOW), go(&mut account, NOW));
        account.pause(Some(ordered(3)));
        let end = NOW.after(Duration::from_secs(3 * 3_600));
        assert_eq!(account.enter(NOW), Entry::Paused(end));
        account.accepted(accepted, NOW);
        assert!(account.failed(refused, failure(PausedQuota), NOW), "it is noted all the same");
        assert_eq!(account.state().condition, PausedQuota);
        assert_eq!(account.enter(NOW.after(Duration::from_secs(7_200))), Entry::Paused(end));
        let probe = go(&mut account, end);
        assert!(probe.is_probe(), "as after the account's own pause");
        account.pause(Some(ordered(4)));
        assert!(account.accepted(probe, end));
        assert_eq!(account.state().condition, AccountCondition::Open);
        assert_eq!(account.state().pause, Some(ordered(4)));
        assert!(matches!(account.enter(end), Entry::Paused(_)));
        account.resume(end);
        go(&mut account, end);
    }

    #[test]
    fn the_administrators_pause_outlives_a_restart_and_is_as_long_as_before_when_the_clock_is_set()
    {
        let stored = AccountState { pause: Some(ordered(3)), ..AccountState::open(NOW) };
        let mut account = Account::new(Some(stored.clone()), NOW);
        assert_eq!(account.state(), &stored);
        account.clock_was_set(-7_200_000);
        let end = NOW.after(Duration::from_secs(3_600));
        assert_eq!(account.enter(NOW), Entry::Paused(end));
        let mut wrong = Account::new(Some(stored), Timestamp(0));
        let latest = Timestamp(0).after(PAUSE_MAX);
        assert_eq!(wrong.enter(Timestamp(0)), Entry::Paused(latest));
    }

    #[test]
    fn ten_workers_that_meet_the_same_refusal_count_once() {
        let mut account = proven();
        let permits: Vec<Permit> = (0..10).map(|_| go(&mut account, NOW)).collect();
        let changes =
            permits.into_iter().filter(|permit| account.failed(*permit, failure(PausedQuota), NOW));
        assert_eq!(changes.count(), 1);
        assert_eq!(account.state().strikes, 1);
    }

    #[test]
    fn a_graver_refusal_replaces_a_lighter_one_but_not_the_reverse() {
        let mut account = proven();
        let (first, second, third) =
            (go(&mut account, NOW), go(&mut account, NOW), go(&mut account, NOW));
        account.failed(first, failure(BackingOff), NOW);
        assert!(account.failed(second, failure(PausedQuota), NOW));
        assert!(!account.failed(third, failure(PausedLogin), NOW));
        assert_eq!(account.state().condition, PausedQuota);
    }

    #[test]
    fn after_a_pause_one_worker_probes_and_its_success_opens_the_account_for_all() {
        let mut account = proven();
        let permit = go(&mut account, NOW);
        account.failed(permit, failure(PausedQuota), NOW);
        let later = NOW.after(Duration::from_secs(3_600));
        let probe = go(&mut account, later);
        assert_eq!(account.enter(later), Entry::ProbeIsOut);
        assert!(
            !account.answered(probe, later),
            "only an accepted message ends a pause for the quota"
        );
        let probe = go(&mut account, later);
        assert!(account.accepted(probe, later));
        assert_eq!(account.state().condition, AccountCondition::Open);
        go(&mut account, later);
        go(&mut account, later);
    }

    #[test]
    fn a_success_that_began_before_the_pause_does_not_end_it() {
        let mut account = proven();
        let (refused, slow) = (go(&mut account, NOW), go(&mut account, NOW));
        account.failed(refused, failure(PausedQuota), NOW);
        assert!(!account.accepted(slow, NOW));
        assert_eq!(account.state().condition, PausedQuota);
    }

    #[test]
    fn a_restart_neither_shortens_a_pause_nor_makes_it_endless() {
        let mut stored = AccountState::open(NOW);
        stored.condition = PausedQuota;
        stored.until = Some(NOW.after(Duration::from_secs(7_000)));
        assert_eq!(Account::new(Some(stored.clone()), NOW).state(), &stored);
        let stepped_back = Account::new(Some(stored), Timestamp(0));
        assert_eq!(stepped_back.state().until, Some(Timestamp(4 * 3_600_000)));
    }

    #[test]
    fn a_probe_that_is_given_back_tells_whether_somebody_was_turned_away() {
        let mut account = Account::new(None, Timestamp(0));
        let Entry::Go(probe) = account.enter(Timestamp(0)) else { panic!("open") };
        assert!(!account.give_back(probe), "nobody asked meanwhile");
        let Entry::Go(probe) = account.enter(Timestamp(0)) else { panic!("open") };
        assert_eq!(account.enter(Timestamp(0)), Entry::ProbeIsOut);
        assert!(account.give_back(probe), "he may have seen work that came too late for this one");
    }

    #[test]
    fn at_the_start_and_after_resume_one_login_must_work_before_the_others_try() {
        let mut account = Account::new(None, NOW);
        let probe = go(&mut account, NOW);
        assert_eq!(account.enter(NOW), Entry::ProbeIsOut);
        account.release(probe);
        let probe = go(&mut account, NOW);
        account.answered(probe, NOW);
        go(&mut account, NOW);
        go(&mut account, NOW);
        account.resume(NOW);
        go(&mut account, NOW);
        assert_eq!(account.enter(NOW), Entry::ProbeIsOut);
    }

    #[test]
    fn the_third_connection_lost_at_a_login_in_a_row_counts_as_too_many_logins() {
        let lost = || AccountFailure { lost_at_login: true, ..failure(BackingOff) };
        let mut account = proven();
        let mut now = NOW;
        let mut conditions = Vec::new();
        for failure in [lost(), lost(), failure(BackingOff), lost(), lost(), lost()] {
            let permit = go(&mut account, now);
            account.failed(permit, failure, now);
            conditions.push(account.state().condition);
            now = account.state().until.unwrap();
        }
        assert_eq!(conditions[..5], [BackingOff; 5], "another failure in between counts anew");
        assert_eq!(conditions[5], PausedLogin);
    }

    #[test]
    fn a_failure_may_ask_for_a_longer_pause_which_grows_within_its_limit() {
        let minutes = |condition, least: u64| -> Vec<u64> {
            let mut account = proven();
            let mut now = NOW;
            let mut pauses = Vec::new();
            for _ in 0..4 {
                let permit = go(&mut account, now);
                let least = Duration::from_secs(least * 60);
                account.failed(permit, AccountFailure { least, ..failure(condition) }, now);
                let until = account.state().until.unwrap();
                pauses.push(until.since(now).as_secs() / 60);
                now = until;
            }
            pauses
        };
        assert_eq!(minutes(BackingOff, 15), [15, 30, 60, 60]);
        assert_eq!(minutes(BackingOff, 5), [5, 10, 20, 40]);
        assert_eq!(minutes(PausedQuota, 240), [240; 4]);
    }

    #[test]
    fn what_one_message_may_have_earned_grows_to_15_minutes_unless_so_much_was_asked_for() {
        for (least, expected) in [(5, [5, 10, 15, 15]), (15, [15, 30, 60, 60])] {
            let mut account = proven();
            let mut now = NOW;
            for minutes in expected {
                let permit = go(&mut account, now);
                let (least, recheck) = (Duration::from_secs(least * 60), Recheck::AnotherMessage);
                account.failed(
                    permit,
                    AccountFailure { least, recheck, ..failure(BackingOff) },
                    now,
                );
                let until = account.state().until.unwrap();
                assert_eq!(until.since(now).as_secs() / 60, minutes);
                now = until;
            }
        }
    }

    #[test]
    fn what_costs_no_login_to_look_at_is_looked_at_as_in_a_back_off() {
        let mut account = proven();
        let mut now = NOW;
        for seconds in [30, 60, 120] {
            let permit = go(&mut account, now);
            let recheck = Recheck::WithoutLogin;
            account.failed(permit, AccountFailure { recheck, ..failure(PausedConfiguration) }, now);
            assert_eq!(account.state().condition, PausedConfiguration);
            let until = account.state().until.unwrap();
            assert_eq!(until.since(now).as_secs(), seconds);
            now = until;
        }
    }

    #[test]
    fn a_refusal_that_may_be_one_messages_own_pauses_for_minutes_whatever_its_condition() {
        for condition in [PausedQuota, PausedCredentials, PausedConfiguration, BackingOff] {
            let mut account = proven();
            let mut now = NOW;
            for most in [1, 5, 15, 15] {
                let permit = go(&mut account, now);
                let recheck = Recheck::AnotherMessage;
                account.failed(permit, AccountFailure { recheck, ..failure(condition) }, now);
                assert_eq!(account.state().condition, condition);
                let until = account.state().until.unwrap();
                assert!(until.since(now) <= Duration::from_secs(60 * most), "{condition:?}");
                now = until;
            }
        }
    }

    fn refused_before(number: u8, last: Timestamp) -> ClaimedMessage {
        let setbacks = Setbacks { count: 1, last: Some(last), stops: 0 };
        ClaimedMessage { accepted_at: NOW, lifetime_from: NOW, setbacks, ..claimed(number, &[]) }
    }

    #[test]
    fn a_refusal_is_the_messages_own_once_others_were_accepted_and_a_second_one_in_a_row_is_not() {
        let seconds = |seconds| NOW.after(Duration::from_secs(seconds));
        let mut account = proven();
        let permit = go(&mut account, NOW);
        let in_flight = go(&mut account, NOW);
        let recheck = Recheck::AnotherMessage;
        account.failed(permit, AccountFailure { recheck, ..failure(PausedQuota) }, seconds(1));
        account.accepted(in_flight, seconds(2));
        let first = refused_before(1, seconds(1));
        assert!(!account.is_its_own(&first, false), "that one was on its way before");
        let probe = go(&mut account, seconds(61));
        assert!(!account.is_its_own(&first, true), "the account itself is in doubt");
        account.accepted(probe, seconds(62));
        assert!(account.is_its_own(&first, false));
        let restarted = Account::new(Some(account.state().clone()), seconds(63));
        assert!(restarted.is_its_own(&first, false), "a restart remembers it");
        let permit = go(&mut account, seconds(63));
        account.charge(permit, first.id);
        assert!(account.is_its_own(&first, false), "it may be charged again");
        let others: Vec<ClaimedMessage> =
            (2..7).map(|number| refused_before(number, seconds(1))).collect();
        for other in &others[..4] {
            assert!(account.is_its_own(other, false));
            let permit = go(&mut account, seconds(63));
            account.charge(permit, other.id);
        }
        let sixth = &others[4];
        assert!(!account.is_its_own(sixth, true), "so many in a row are the account's affair");
        let permit = go(&mut account, seconds(64));
        account.accepted(permit, seconds(64));
        assert!(account.is_its_own(sixth, false));
    }

    #[test]
    fn a_full_day_is_probed_with_one_recipient_until_something_is_accepted_and_at_most_a_day() {
        let mut account = proven();
        let permit = go(&mut account, NOW);
        account.failed(permit, AccountFailure { day_full: true, ..failure(PausedQuota) }, NOW);
        // Another failure does not make it forget, nor does a restart.
        let later = NOW.after(Duration::from_secs(3_600));
        let probe = go(&mut account, later);
        assert!(probe.is_single());
        account.failed(probe, failure(PausedCredentials), later);
        let mut account = Account::new(Some(account.state().clone()), later);
        let morning = later.after(Duration::from_secs(6 * 3_600));
        let probe = go(&mut account, morning);
        assert!(account.answered(probe, morning), "the login works again");
        let probe = go(&mut account, morning);
        assert!(probe.is_single() && probe.is_probe(), "but the day is still full");
        assert!(account.accepted(probe, morning), "which is to be stored");
        assert!(!go(&mut account, morning).is_single());

        let mut account = proven();
        let permit = go(&mut account, NOW);
        account.failed(permit, AccountFailure { day_full: true, ..failure(PausedQuota) }, NOW);
        assert!(
            !go(&mut account, NOW.after(Duration::from_secs(24 * 3_600))).is_single(),
            "the window has passed"
        );
    }

    #[test]
    fn after_a_back_off_there_is_one_connection_for_half_an_hour() {
        let mut account = proven();
        assert_eq!(account.connections(5, NOW), 5);
        let permit = go(&mut account, NOW);
        account.failed(permit, failure(BackingOff), NOW);
        let until = account.state().until.unwrap();
        let probe = go(&mut account, until);
        account.accepted(probe, until);
        assert_eq!(account.connections(5, until), 1);
        assert_eq!(account.connections(5, until.after(ALONE)), 5);
    }

    #[test]
    fn the_third_spam_verdict_within_an_hour_is_once_too_often() {
        let mut account = proven();
        let minutes = |minutes: u64| NOW.after(Duration::from_secs(minutes * 60));
        assert_eq!(account.spam(1, minutes(0)), None);
        assert_eq!(account.spam(1, minutes(10)), None);
        assert_eq!(account.spam(1, minutes(65)), None, "the first is an hour ago");
        assert_eq!(account.spam(2, minutes(66)), Some(Stops::Everybody));
        assert_eq!(account.spam(3, minutes(67)), None, "and it begins anew");
    }

    #[test]
    fn spam_of_one_sender_is_his_affair_until_another_ones_is_found_beside_it() {
        let mut account = proven();
        assert_eq!([1, 2].map(|of_sender| account.spam(of_sender, NOW)), [None, None]);
        assert_eq!(account.spam(3, NOW), Some(Stops::Sender));
        assert_eq!(account.spam(4, NOW), Some(Stops::Sender));
        assert_eq!(account.spam(1, NOW), Some(Stops::Everybody));
    }

    #[test]
    fn an_attempt_from_before_a_resume_says_nothing_of_the_account_that_was_resumed() {
        for condition in [BackingOff, PausedQuota, PausedConfiguration] {
            let mut account = proven();
            let old = go(&mut account, NOW);
            account.resume(NOW);
            assert!(!account.failed(old, failure(condition), NOW));
            assert!(!account.lost_after_dot(old) && !account.lost_after_dot(old));
            assert_eq!(account.state().condition, AccountCondition::Open);
            let new = go(&mut account, NOW);
            assert!(account.failed(new, failure(condition), NOW));
        }
    }

    #[test]
    fn a_full_day_begins_with_an_hour_whatever_was_in_doubt_before() {
        let mut account = proven();
        let mut now = NOW;
        let doubtful =
            || AccountFailure { recheck: Recheck::AnotherMessage, ..failure(PausedQuota) };
        let full = || AccountFailure { day_full: true, ..failure(PausedQuota) };
        for (failure, minutes) in [
            (doubtful(), 1),
            (doubtful(), 5),
            (doubtful(), 15),
            (full(), 60),
            (full(), 120),
            (doubtful(), 1),
        ] {
            let permit = go(&mut account, now);
            assert!(account.failed(permit, failure, now));
            let until = account.state().until.unwrap();
            assert_eq!(until.since(now).as_secs() / 60, minutes);
            now = until;
        }
    }

    #[test]
    fn a_full_day_that_the_same_message_finds_again_lasts_no_longer_for_the_others() {
        let mut account = proven();
        let mut now = NOW;
        for (says_nothing_new, hours) in
            [(false, 1), (true, 1), (true, 1), (false, 2), (true, 1), (false, 4)]
        {
            let full = AccountFailure { says_nothing_new, day_full: true, ..failure(PausedQuota) };
            let permit = go(&mut account, now);
            assert!(account.failed(permit, full, now));
            let until = account.state().until.unwrap();
            assert_eq!(until.since(now), Duration::from_secs(hours * 3_600));
            now = until;
        }
    }
}
