//! The routes: which account has the mail of each at a moment, and who stands in for whom.
//!
//! Rule: pure. An account that works again has its mail back at once; whoever has begun with a message and does not know
//! its outcome keeps it (`way.rs`). Must not know how an account comes to its state, nor which mail takes which route.

use std::{collections::BTreeMap, time::Duration};

use super::{
    allowance::EarlyDays,
    claim::ClaimLimits,
    order::ServedBy,
    pause::Pause,
    state::{AccountCondition, AccountState},
    times::Times as _,
    way::{RouteKey, Way},
};
use crate::{
    budget::{AccountKey, Ledger, Limit, ledgers::Ledgers},
    clock::{Moment, Timestamp},
    message::envelope::Lane,
};

/// The accounts, and the routes that mail takes to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// The accounts by their numbers.
    pub(crate) accounts: BTreeMap<AccountKey, Known>,
    /// The routes by their numbers.
    pub(crate) routes: BTreeMap<RouteKey, Route>,
    /// How long an account has to be paused before another stands in for it.
    pub(crate) fail_over_after: Duration,
}

/// What is known of an account here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: String,
    /// What it may spend, as configured, and who of that how much.
    pub(crate) limits: ClaimLimits,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Its account, and those that stand in for it while they can send, in this order; at least one.
    pub(crate) accounts: Vec<AccountKey>,
    /// What they stand in for.
    pub(crate) fail_over: FailOver,
}

/// When another account takes the mail of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FailOver {
    /// Never: the mail waits for its account.
    #[default]
    Never,
    /// When it is paused for longer than a named time.
    Paused,
    /// When its day is spent.
    Spent,
    /// In both cases.
    Both,
}

/// Why an account takes no mail at the moment, for as long as it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shut {
    /// Since it last worked.
    since: Timestamp,
    /// When it is tried again.
    until: Option<Timestamp>,
    /// The upstream says that the day is full; otherwise it refuses or is out of reach.
    is_full: bool,
}

/// How the accounts stand, as far as that decides about routes.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    shut: BTreeMap<AccountKey, Shut>,
    /// What a person has ordered.
    pauses: BTreeMap<AccountKey, Pause>,
    /// What the upstream has turned out to allow of the days of each.
    early: BTreeMap<AccountKey, EarlyDays>,
}

impl Standing {
    /// This is the state of an account from now on; says whether anything has changed. A person's pause is not a failure:
    /// mail waits for its end.
    pub(super) fn note(&mut self, account: AccountKey, state: &AccountState) -> bool {
        let early = self.early.insert(account, state.early.clone());
        let pause = match state.pause.clone() {
            Some(pause) => self.pauses.insert(account, pause),
            None => self.pauses.remove(&account),
        };
        let is_shut_anew = self.note_shut(account, state);
        is_shut_anew || early.unwrap_or_default() != state.early || pause != state.pause
    }

    fn note_shut(&mut self, account: AccountKey, state: &AccountState) -> bool {
        if state.condition == AccountCondition::Open {
            return self.shut.remove(&account).is_some();
        }
        let is_full = state.condition == AccountCondition::PausedQuota;
        // It stays shut while one trouble follows the other.
        let since = self.shut.get(&account).map_or(state.since, |before| before.since);
        let shut = Shut { since, until: state.until, is_full };
        self.shut.insert(account, shut) != Some(shut)
    }

    /// The wall clock was set forward by `step_ms` (back, when negative).
    pub(super) fn moved(&mut self, step_ms: i64) {
        for shut in self.shut.values_mut() {
            shut.since = shut.since.moved(step_ms);
            shut.until = shut.until.map(|until| until.moved(step_ms));
        }
        for until in self.pauses.values_mut().filter_map(|pause| pause.until.as_mut()) {
            *until = until.moved(step_ms);
        }
        for early in self.early.values_mut() {
            *early = std::mem::take(early).with_times(&|_, at| at.moved(step_ms));
        }
    }

    /// Whether an account is shut and may be tried with one message.
    pub(super) fn wants_a_probe(&self, account: AccountKey, now: Timestamp) -> bool {
        let shut = self.shut.get(&account);
        shut.is_some_and(|shut| shut.until.is_some_and(|until| until <= now))
    }

    /// When the next account will have been shut for so long that others stand in for it.
    pub(super) fn fails_over_at(&self, accounts: &Accounts, now: Timestamp) -> Option<Timestamp> {
        let times = self.shut.values().map(|shut| shut.since.after(accounts.fail_over_after));
        times.filter(|at| *at > now).min()
    }

    /// What an account may spend now: no more than its upstream has turned out to allow.
    fn limit(&self, accounts: &Accounts, account: AccountKey, now: Timestamp) -> Option<Limit> {
        let Known { limits, .. } = accounts.accounts.get(&account)?;
        let early = self.early.get(&account);
        let allowance = early.and_then(|early| early.allowance(limits.limit, now));
        Some(limits.within(allowance).limit_of(Lane::Normal))
    }

    /// When an account whose day is spent has room again, and with it the mail that others have for it meanwhile, or that
    /// it stands in for.
    pub(super) fn frees_at(
        &self,
        accounts: &Accounts,
        (account, ledger): (AccountKey, &Ledger),
        counted: Moment,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let limit = self.limit(accounts, account, now)?;
        let wait = ledger.frees_in(counted, limit).filter(|wait| !wait.is_zero())?;
        Some(now.after(wait))
    }

    /// Which account has which mail.
    pub(super) fn served_by(
        &self,
        accounts: &Accounts,
        ledgers: &Ledgers,
        counted: Moment,
        now: Timestamp,
    ) -> ServedBy {
        let spent = |account: AccountKey| {
            let limit = self.limit(accounts, account, now);
            limit.is_some_and(|limit| ledgers.of(account).room(counted, limit) == 0)
        };
        let fails = |account: AccountKey, fail_over: FailOver| {
            let shut = self.shut.get(&account);
            let for_long =
                |shut: &Shut| now.since(shut.since) >= accounts.fail_over_after && !shut.is_full;
            let is_paused = || shut.is_some_and(for_long);
            let is_spent = || shut.is_some_and(|shut| shut.is_full) || spent(account);
            match fail_over {
                FailOver::Never => false,
                FailOver::Paused => is_paused(),
                FailOver::Spent => is_spent(),
                FailOver::Both => is_paused() || is_spent(),
            }
        };
        // Who cannot send either helps nobody, whatever is the matter; at the end of its pause it may be tried.
        let is_shut = |shut: &Shut| shut.until.is_none_or(|until| until > now);
        let can_stand_in = |account: &AccountKey| {
            let is_shut = self.shut.get(account).is_some_and(is_shut);
            let is_paused = self.pauses.get(account).is_some_and(|pause| pause.holds(now));
            !is_shut && !is_paused && !spent(*account)
        };
        let serves = |route: &Route| {
            let (first, others) = route.accounts.split_first()?;
            let stands_in = || others.iter().copied().find(can_stand_in);
            let other = if fails(*first, route.fail_over) { stands_in() } else { None };
            Some(other.unwrap_or(*first))
        };
        ServedBy {
            routes: accounts
                .routes
                .iter()
                .map(|(key, route)| (*key, serves(route).unwrap_or_default()))
                .collect(),
            accounts: accounts.accounts.keys().copied().collect(),
        }
    }
}

impl Accounts {
    /// The name of an account that is not the main one, for a record.
    pub(super) fn name_of(&self, account: AccountKey) -> Option<String> {
        let known = self.accounts.get(&account).filter(|_| account != AccountKey::MAIN);
        known.map(|known| known.name.clone())
    }

    /// Whether another account takes the mail of this way when the day of the one that has it is spent.
    pub(super) fn stand_in_when_spent(&self, way: Way) -> bool {
        let Way::Route(route) = way else { return false };
        self.routes.get(&route).is_some_and(|route| {
            route.accounts.len() > 1 && matches!(route.fail_over, FailOver::Spent | FailOver::Both)
        })
    }

    /// Whether this account is the one of this route for which others only stand in.
    pub(super) fn is_own(&self, account: AccountKey, route: RouteKey) -> bool {
        self.routes.get(&route).is_some_and(|route| route.accounts.first() == Some(&account))
    }
}

#[cfg(test)]
mod tests;
