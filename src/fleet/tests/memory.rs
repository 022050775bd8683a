//! Hosts over books in memory, for the tests of whoever shares a day with other hosts.

use std::sync::{Arc, atomic::Ordering};

use super::roll::Roll;
use crate::{
    budget::Limit,
    clock::{Clock, ManualClock},
    fleet::{Fleet, OwnFile, Share, Vault, books::Books as _, login_twin::LoginTwin, twin::Twin},
    live::Live,
    sync::lock,
};

const ACCOUNT: &str = "you@gmail.com at google";
/// The ledger of a host that is not in the test.
const ANOTHER: i64 = -1;

/// The books of one account.
pub(crate) struct InMemory {
    clock: ManualClock,
    twin: Arc<Twin>,
    logins: Arc<LoginTwin>,
}

impl InMemory {
    pub(crate) fn new(clock: &ManualClock) -> Self {
        let logins = Arc::new(LoginTwin::new(clock));
        Self { clock: clock.clone(), twin: Arc::new(Twin::new(clock)), logins }
    }

    /// The share of a host.
    pub(crate) fn share(&self, host: &str) -> Arc<Share> {
        self.fleet(host).share(ACCOUNT.into())
    }

    /// The account's token, for one more host.
    pub(crate) fn vault(&self) -> Arc<Vault> {
        self.fleet("host").vault(ACCOUNT.into())
    }

    fn fleet(&self, host: &str) -> Fleet {
        let (books, tokens) = (Arc::clone(&self.twin) as _, Arc::clone(&self.twin) as _);
        let roll = Arc::new(Roll::new(&self.clock));
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let (own, logins) = ((host.into(), OwnFile::none()), Arc::clone(&self.logins) as _);
        Fleet::over((books, logins), (roll, tokens), own, &clock, Live::new(None))
    }

    /// Somebody changes the tokens where they lie.
    pub(crate) fn tamper_with_tokens(&self) {
        lock(&self.twin.tokens).tamper();
    }

    /// Another host has spent so much.
    pub(crate) async fn has_spent(&self, recipients: u32) {
        let other = ("another host", ANOTHER);
        self.twin.bring_in(ACCOUNT, other, recipients).await.expect("they can be asked");
    }

    /// What this host knows of the others is what they have done by now.
    pub(crate) async fn look(&self, share: &Share, own: u32, limit: Limit) {
        // While they cannot be asked, that is what it knows.
        drop(share.elsewhere(own, limit).await);
    }

    /// A host goes on with its connections.
    pub(crate) async fn renew(&self, share: &Share) {
        share.seats.renew().await;
    }

    pub(crate) fn are_away(&self, are_away: bool) {
        self.twin.is_away.store(are_away, Ordering::Relaxed);
    }
}
