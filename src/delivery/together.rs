//! The other hosts of a fleet as a worker meets them: before a claim, before an attempt, before the final dot, afterwards.
//!
//! Rule: without a fleet nothing is asked and nothing changes, and so it is of an account without a limit. While the fleet
//! cannot be asked, nothing is claimed. Must not know how the books are kept.

use std::{sync::Arc, time::Duration};

use tracing::warn;

use super::{account::Permit, options::Options, shared::Shared, status::DepartureReason};
use crate::{
    budget::Limit,
    clock::{Moment, Timestamp},
    fleet::Share,
    message::envelope::Lane,
    queue::{ClaimLimits, ClaimedMessage, Settlement},
};

/// How long a host waits before it asks again that could not ask: so long at least, and at most, as chance has it.
const AWAY_WAIT: Duration = Duration::from_secs(10);
pub(crate) const AWAY_WAIT_MAX: Duration = Duration::from_secs(15);
/// The same where another host has taken what was left just now.
const TAKEN_WAIT: Duration = Duration::from_secs(1);
/// What an attempt may take beside the transfer of its octets: connecting, the commands, and trying again.
const BESIDE_TRANSFER: Duration = Duration::from_secs(30 * 60);

impl Options {
    /// The account as all hosts of a fleet call it: by its login, which is the same wherever it is used.
    pub(crate) fn name_in_fleet(&self) -> String {
        let login = self.login.as_ref().map_or("", |login| login.username.as_str());
        // Google's servers and its API are one account.
        let at = if self.provider.is_google() { "google" } else { &self.host };
        format!("{} at {at}", login.to_lowercase())
    }
}

impl Shared {
    /// This host's share of the account's day, where there is one to be shared.
    pub(super) fn share(&self) -> Option<&Arc<Share>> {
        self.fleet.as_ref().filter(|_| self.options().recipients_per_day != Limit::NONE)
    }

    /// What the others have taken, as far as is known.
    pub(super) fn elsewhere(&self) -> u32 {
        self.share().map_or(0, |share| share.status().elsewhere.spent)
    }

    /// The terms of a claim when the others are asked what they have taken; `None` when nothing may be claimed.
    pub(super) async fn among_the_fleet(
        &self,
        terms: ClaimLimits,
        now: Moment,
    ) -> Option<ClaimLimits> {
        let Some(share) = self.share() else { return Some(terms) };
        let Ok(own) = self.store.ledger(terms.account, now, terms.limit).await else {
            self.schedule().store_failed(now);
            return None;
        };
        match share.elsewhere(own.spent, terms.limit_of(Lane::Normal)).await {
            Ok(others) => Some(ClaimLimits { limit: terms.limit.less(others.spent), ..terms }),
            Err(_) => {
                self.wait_for_the_fleet();
                None
            }
        }
    }

    fn wait_for_the_fleet(&self) {
        let wait = AWAY_WAIT + (AWAY_WAIT_MAX - AWAY_WAIT).mul_f64(fastrand::f64());
        self.schedule().block(DepartureReason::Fleet, self.now(), wait);
    }

    /// Reserves what a claim needs of the day that all share; recipients for whom there is no room are taken out. Returns
    /// whether anything is left to be tried.
    pub(super) async fn reserve_in_the_fleet(
        &self,
        claim: &mut ClaimedMessage,
        permit: Permit,
    ) -> bool {
        let Some(share) = self.share() else { return true };
        let wanted = u32::try_from(claim.recipients.len()).unwrap_or(u32::MAX);
        let limit = self.claim_limits_of(permit).limit_of(claim.lane);
        let transfer = self.options().limits.message(claim.size_bytes) + BESIDE_TRANSFER;
        match share.reserve(claim.reservation, wanted, limit, transfer).await {
            Ok(0) => self.schedule().block(DepartureReason::Budget, self.now(), TAKEN_WAIT),
            Ok(granted) => {
                claim.recipients.truncate(granted as usize);
                return true;
            }
            Err(_) => self.wait_for_the_fleet(),
        }
        false
    }

    /// Whether the final dot of a claim may be sent. One that comes too late could be accepted when nobody counts it any more.
    pub(super) fn may_send(&self, claim: &ClaimedMessage) -> bool {
        let may = self.share().is_none_or(|share| share.may_send(claim.reservation));
        if !may {
            warn!(id = %claim.id, "the message was not sent: handing it over took longer than its reservation in the fleet's books");
        }
        may
    }

    /// Tells the others what was spent of a claim.
    pub(super) async fn settle_in_the_fleet(&self, settlement: &Settlement) {
        let Some(share) = &self.fleet else { return };
        let spent = settlement.outcomes.iter().filter(|(_, outcome)| outcome.is_spent()).count();
        share.settle(settlement.reservation, u32::try_from(spent).unwrap_or(u32::MAX)).await;
    }

    /// Nothing of a claim was sent, and there is nobody to be told of it.
    pub(super) async fn give_back_in_the_fleet(&self, claim: u64) {
        if let Some(share) = &self.fleet {
            share.settle(claim, 0).await;
        }
    }

    /// How long until the day has room, where the others know better than this host's own ledger.
    pub(super) fn frees_in(&self, own: Option<Duration>, now: Timestamp) -> Option<Duration> {
        let of_all = self.share().and_then(|share| share.status().elsewhere.frees_at);
        of_all.map(|at| at.since(now)).or(own)
    }
}
