//! The other hosts of a fleet as a worker meets them: before a claim, before an attempt, before the final dot, afterwards.
//!
//! Rule: without a fleet nothing is asked and nothing changes, and so it is of an account without a limit. While the fleet
//! cannot be asked, nothing is claimed. Must not know how the books are kept.

use std::{future::pending, sync::Arc, time::Duration};

use tracing::{info, warn};

use super::{
    account::{Adopted, Permit},
    options::Options,
    shared::Shared,
    status::DepartureReason,
};
use crate::{
    budget::Limit,
    clock::{Moment, Timestamp},
    fleet::{self, Claim, Reserving, Share, Told, Trouble, Vault, Word},
    message::envelope::Lane,
    queue::{
        ClaimLimits, ClaimedMessage, Settlement,
        pause::Pause,
        state::{AccountCondition, AccountState},
    },
    sync::lock,
};

/// How long a host waits before it asks again that could not ask: so long at least, and at most, as chance has it.
const AWAY_WAIT: Duration = Duration::from_secs(10);
pub(crate) const AWAY_WAIT_MAX: Duration = Duration::from_secs(15);
/// The same where another host has taken what was left just now.
const TAKEN_WAIT: Duration = Duration::from_secs(1);
/// What an attempt may take beside the transfer of its octets: connecting, the commands, and trying again.
const BESIDE_TRANSFER: Duration = Duration::from_secs(30 * 60);
/// The same of the one for which all hosts wait: it is given up earlier, so that they do not wait for long for one that is gone.
const BESIDE_A_PROBE: Duration = Duration::from_secs(10 * 60);
/// How long a host waits for another one's probe before it asks again; up to half as much is added by chance. It hears
/// earlier what the probe has found.
const PROBE_WAIT: Duration = Duration::from_secs(10);
/// How often a word is written anew because another host was quicker.
const TELL_TRIES_MAX: u32 = 8;
/// What a person hears whose order did not reach the others.
pub(super) const NOT_TOLD: &str = "The other hosts of the fleet have not heard of it, because the database cannot be asked. This host tells them as \
                                   soon as it answers; until then, order it on each of them.";

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
    /// Shares the day, and the token that the account logs in with; of an account without a limit neither.
    pub(super) fn share_with_the_fleet(&mut self, share: Arc<Share>, vault: Arc<Vault>) {
        self.fleet = Some(share);
        self.name_what_is_allowed();
        let is_shared = self.share().is_some();
        let tokens = self.tokens.as_mut().and_then(Arc::get_mut);
        if let Some(tokens) = tokens.filter(|_| is_shared) {
            tokens.share(vault);
        }
    }

    /// This host's share of the account's day, where there is one to be shared.
    pub(super) fn share(&self) -> Option<&Arc<Share>> {
        self.fleet.as_ref().filter(|_| self.options().recipients_per_day != Limit::NONE)
    }

    /// Waits until another host has said something of the account; for ever without a fleet.
    pub(super) async fn news_of_the_fleet(&self) {
        match &self.fleet {
            Some(share) => share.news.notified().await,
            None => pending().await,
        }
    }

    /// Tells the fleet's task whether it matters soon how the account stands.
    pub(super) fn mail_waits(&self) {
        if let Some(share) = self.share() {
            share.mail_waits(self.store.totals().messages > 0);
        }
    }

    /// How this host stands with the others.
    pub(super) fn fleet_status(&self) -> Option<fleet::Status> {
        let share = self.share()?;
        let account = self.account();
        let told_elsewhere = account.is_told_elsewhere(share.host());
        Some(fleet::Status { told_elsewhere, ..share.status() })
    }

    /// What the others have taken, as far as is known.
    pub(super) fn elsewhere(&self) -> u32 {
        self.share().map_or(0, |share| share.status().elsewhere.spent)
    }

    /// The terms of a claim when the others are asked what they have taken; `None` when nothing may be claimed.
    pub(super) async fn among_the_fleet(
        &self,
        terms: ClaimLimits,
        permit: Permit,
        now: Moment,
    ) -> Option<ClaimLimits> {
        let Some(share) = self.share() else { return Some(terms) };
        if !self.is_agreed(share, permit).await {
            return None;
        }
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

    /// Whether an attempt may begin by what all hosts know of the account.
    async fn is_agreed(&self, share: &Share, permit: Permit) -> bool {
        let heard = self.account().heard();
        if heard.is_none() || permit.heard() != heard || share.has_news() {
            match self.catch_up().await {
                // The account is asked anew.
                Ok(()) => self.more.notify_one(),
                Err(_) => self.wait_for_the_fleet(),
            }
            return false;
        }
        if !permit.is_probe_of_all() {
            return true;
        }
        match share.hear().await {
            Ok(Word { probe: Some(_), .. }) => self.wait_for_a_probe(),
            Ok(_) => return true,
            Err(_) => self.wait_for_the_fleet(),
        }
        false
    }

    fn wait_for_a_probe(&self) {
        let wait = PROBE_WAIT + PROBE_WAIT.mul_f64(fastrand::f64() / 2.0);
        self.schedule().block(DepartureReason::Pause, self.now(), wait);
    }

    pub(super) fn wait_for_the_fleet(&self) {
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
        let (probe, heard) = (permit.is_probe_of_all(), permit.heard().unwrap_or_default());
        let beside = if probe { BESIDE_A_PROBE } else { BESIDE_TRANSFER };
        let transfer = self.options().limits.message(claim.size_bytes) + beside;
        let (number, recipients) = (claim.reservation, wanted);
        let asked = Claim { number, recipients, limit, transfer, heard, probe };
        match share.reserve(asked).await {
            Ok(Reserving::Granted(granted)) => {
                claim.recipients.truncate(granted as usize);
                return true;
            }
            Ok(Reserving::Full) => {
                self.schedule().block(DepartureReason::Budget, self.now(), TAKEN_WAIT);
            }
            Ok(Reserving::ProbeIsOut(_)) => self.wait_for_a_probe(),
            Ok(Reserving::Unheard) => {
                if self.catch_up().await.is_err() {
                    self.wait_for_the_fleet();
                }
            }
            Err(_) => self.wait_for_the_fleet(),
        }
        false
    }

    /// Hears how the account stands by the last word of any host, and says what this one has to say of it.
    ///
    /// # Errors
    /// The fleet cannot be asked, or not be understood.
    pub(super) async fn catch_up(&self) -> Result<(), Trouble> {
        let Some(share) = self.share() else { return Ok(()) };
        let _one_at_a_time = self.telling.lock().await;
        let done = self.hear_and_tell(share).await;
        share.owes_a_word(self.has_a_word_for(share));
        done
    }

    /// Says how the account stands when that has changed, to the administrator and to the others.
    pub(super) async fn tell_what_was_found(&self, changed: bool) {
        if changed {
            self.announce();
        }
        self.tell_the_fleet().await;
    }

    /// Tells the others what an attempt has found of the account, if there is anything.
    pub(super) async fn tell_the_fleet(&self) {
        if self.share().is_some_and(|share| self.has_a_word_for(share)) {
            // What cannot be told now is told before anything else is sent.
            drop(self.catch_up().await);
        }
    }

    fn has_a_word_for(&self, share: &Share) -> bool {
        let account = self.account();
        account.to_tell(share.host(), account.now().wall).is_some()
    }

    async fn hear_and_tell(&self, share: &Share) -> Result<(), Trouble> {
        let is_first = self.account().heard().is_none();
        let word = if is_first { Some(share.hear().await?) } else { share.take_word() };
        if let Some(word) = word {
            self.adopt(share, &word).await?;
        }
        for _ in 0..TELL_TRIES_MAX {
            let saying = {
                let account = self.account();
                account.to_tell(share.host(), account.now().wall)
            };
            let Some(saying) = saying else { break };
            match share.tell(saying.heard, (&saying.text(), saying.now)).await? {
                Told::Taken(number) => self.account().was_told(saying, number),
                Told::Late(word) => self.adopt(share, &word).await?,
            }
        }
        Ok(())
    }

    async fn adopt(&self, share: &Share, word: &Word) -> Result<(), Trouble> {
        let adopted = {
            let mut account = self.account();
            let now = account.now().wall;
            account.adopt(word, now)
        };
        let Adopted { is_shown, resumed, .. } =
            adopted.map_err(|error| share.misunderstood(&error.to_string()))?;
        if resumed {
            self.schedule().clear();
            lock(&self.suspects).clear();
        }
        if is_shown {
            self.schedule().unblock(DepartureReason::Pause);
            self.announce_word(resumed);
            self.persist().await;
        }
        self.more.notify_one();
        Ok(())
    }

    /// Says what another host has said of the account.
    fn announce_word(&self, resumed: bool) {
        let state = self.shown_state();
        if let Some(pause) = state.pause(self.now().wall) {
            warn!("another host of the fleet: {}", pause.words(|at| at.to_string()));
        }
        match state.condition {
            AccountCondition::Open if resumed => {
                info!(account = "open", reason = "resumed by a person on another host", "account");
            }
            AccountCondition::Open => {
                info!(account = "open", reason = "another host says so", "account");
            }
            _ => self.announce(),
        }
    }

    /// The account's state as a person is shown it: with the host that has found it so.
    pub(super) fn shown_state(&self) -> AccountState {
        let state = self.account_state();
        let Some(share) = self.share() else { return state };
        match self.account().found_by(share.host()) {
            Some(host) => {
                AccountState { reason: format!("{host} found: {}", state.reason), ..state }
            }
            None => state,
        }
    }

    /// A pause that names the host on which it was ordered, where there are several.
    pub(super) fn ordered_here(&self, pause: Pause) -> Pause {
        let Some(share) = self.share() else { return pause };
        let reason = match pause.reason.trim_end_matches('.') {
            "" => format!("ordered on {}", share.host()),
            reason => format!("{reason} (ordered on {})", share.host()),
        };
        Pause::new(pause.since, pause.until, &reason)
    }

    /// Tells the others what a person has ordered here. Returns what he has to hear.
    pub(super) async fn tell_the_order(&self) -> &'static str {
        match self.catch_up().await {
            Ok(()) => "",
            Err(_) => {
                warn!("{NOT_TOLD}");
                NOT_TOLD
            }
        }
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
