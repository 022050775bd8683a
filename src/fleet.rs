//! The fleet: several hosts that share each account's day through one PostgreSQL database.
//!
//! Rule: a host asks before it claims, reserves before it sends, and settles afterwards; while it cannot ask, it sends
//! nothing. Time is the database's. Must not know the queue, nor what an upstream says.

#[cfg(feature = "fleet")]
mod bodies;
mod books;
mod calls;
#[cfg(feature = "fleet")]
mod examination;
mod examined;
mod hosts;
#[cfg(feature = "fleet")]
mod link;
#[cfg(feature = "fleet")]
mod login_books;
#[cfg(test)]
mod login_twin;
mod logins;
mod options;
mod own_file;
#[cfg(feature = "fleet")]
mod postgres;
#[cfg(feature = "fleet")]
mod processes;
mod reach;
#[cfg(feature = "fleet")]
mod register;
#[cfg(feature = "fleet")]
mod row_schema;
#[cfg(feature = "fleet")]
mod row_statements;
#[cfg(feature = "fleet")]
mod rows;
#[cfg(feature = "fleet")]
mod schema;
mod seats;
mod share;
#[cfg(feature = "fleet")]
mod tls;
#[cfg(feature = "fleet")]
mod token_rows;
#[cfg(test)]
mod token_twin;
#[cfg(test)]
mod twin;
#[cfg(feature = "fleet")]
mod unanswered;
mod vault;

use std::{future::pending, sync::Arc, time::Duration};

use tokio::sync::Notify;
use tracing::debug;

#[cfg(feature = "fleet")]
pub(crate) use self::examination::examine;
#[cfg(any(feature = "fleet", test))]
use self::hosts::Register;
use self::{books::Books, calls::Calls, logins::LoginBooks, reach::Reach, vault::TokenBooks};
pub(crate) use self::{
    books::{Told, Trouble, Word},
    calls::{CallCounts, SPANS_MS},
    examined::{Examined, TRANSACTION_MAX},
    hosts::{FORGOTTEN_AFTER, Host, Hosts, Load, LoggedIn, Members, Standing},
    logins::Terms,
    options::{Database, Options, Password, Place, TlsFiles},
    own_file::OwnFile,
    reach::{Away, REMEDY},
    seats::{Seat, Seating, Seats},
    share::{Claim, Elsewhere, Reserving, Share, Status},
    vault::{Kept, KeyId, Vault},
};
#[cfg(feature = "fleet")]
pub(crate) use self::{
    row_statements::{Id, Row, Write, Written},
    rows::{Refusal, Rows},
};
use crate::{
    clock::{Clock, Timestamp},
    live::Live,
};

/// How often a host that has mail to send hears how the account stands, about: no claim is granted by a word that is not the
/// last, so it is the end of a pause that is heard so soon.
const LISTEN_EVERY: Duration = Duration::from_millis(1_200);
/// The last part of it is left to chance.
const LISTEN_JITTER_MS: u64 = 400;
/// How often a host that has nothing to send looks whether the database is there, and brings what it could not settle.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The last part of it is left to chance, so that the hosts of a fleet do not come together.
const JITTER_MS: u64 = 10_000;
/// Between two looks for reservations that are over: any host may remove them, of all.
const LOOKS_BETWEEN_SWEEPS: u32 = 120;

/// Settings refuse a [fleet] where it is not built in.
#[cfg(not(feature = "fleet"))]
pub(crate) async fn examine(_: &Options, _: bool) -> Result<Examined, Trouble> {
    Err(Trouble("this pillarbox was built without fleets".to_owned()))
}

/// Whether this program was built with what a fleet needs.
pub(crate) const IS_BUILT_IN: bool = cfg!(feature = "fleet");

/// This host's part of a fleet.
#[derive(Debug)]
pub(crate) struct Fleet {
    books: Arc<dyn Books>,
    logins: Arc<dyn LoginBooks>,
    tokens: Arc<dyn TokenBooks>,
    host: String,
    /// The address of the database, without what is secret of it.
    place: String,
    calls: Arc<Calls>,
    reach: Arc<Reach>,
    clock: Arc<dyn Clock>,
    shares: Vec<Arc<Share>>,
    hosts: Arc<Hosts>,
    /// The number of this host's ledger.
    ledger: i64,
    /// Tells that mail waits at one of them.
    waits: Arc<Notify>,
    /// Tells that a seat at one of them is new, or over.
    seats_changed: Arc<Notify>,
}

impl Fleet {
    /// Nothing is asked of the database before somebody has to know something. Since when this host takes no new mail is said in
    /// `drained`, to whoever keeps the door.
    #[cfg(feature = "fleet")]
    pub(crate) fn new(
        options: &Options,
        own: OwnFile,
        clock: &Arc<dyn Clock>,
        drained: Live<Option<Timestamp>>,
    ) -> Option<Self> {
        let books = Arc::new(postgres::Postgres::new(options.database.clone()));
        let calls = books.link.calls();
        let (logins, register) = (Arc::clone(&books), Arc::clone(&books));
        let tokens = Arc::clone(&books);
        let own = (options.host.clone(), own);
        let fleet = Self::over((books, logins), (register, tokens), own, clock, drained);
        Some(Self { place: options.database.to_string(), calls, ..fleet })
    }

    /// Settings refuse a [fleet] where it is not built in.
    #[cfg(not(feature = "fleet"))]
    pub(crate) fn new(
        _: &Options,
        _: OwnFile,
        _: &Arc<dyn Clock>,
        _: Live<Option<Timestamp>>,
    ) -> Option<Self> {
        None
    }

    #[cfg(any(feature = "fleet", test))]
    fn over(
        (books, logins): (Arc<dyn Books>, Arc<dyn LoginBooks>),
        (register, tokens): (Arc<dyn Register>, Arc<dyn TokenBooks>),
        (host, own): (String, OwnFile),
        clock: &Arc<dyn Clock>,
        drained: Live<Option<Timestamp>>,
    ) -> Self {
        let (reach, ledger) = (Arc::new(Reach::default()), own.ledger());
        let own = (host.clone(), own);
        let hosts = Arc::new(Hosts::new(register, own, Arc::clone(clock), drained));
        let (clock, place, calls) = (Arc::clone(clock), String::new(), Arc::default());
        let (shares, waits, seats_changed) = (Vec::new(), Arc::default(), Arc::default());
        Self {
            books,
            logins,
            tokens,
            host,
            place,
            calls,
            reach,
            clock,
            shares,
            hosts,
            ledger,
            waits,
            seats_changed,
        }
    }

    /// The address of the database, without what is secret of it.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// What was asked of the database so far.
    pub(crate) fn calls(&self) -> CallCounts {
        self.calls.counts()
    }

    /// This host among the others.
    pub(crate) fn hosts(&self) -> &Arc<Hosts> {
        &self.hosts
    }

    /// This host's share of the account that all hosts know by this name.
    pub(crate) fn share(&mut self, account: String) -> Arc<Share> {
        let seats = Arc::new(Seats::new(
            (Arc::clone(&self.logins), Arc::clone(&self.reach), Arc::clone(&self.seats_changed)),
            (account.clone(), self.host.clone()),
            Arc::clone(&self.clock),
        ));
        let share = Arc::new(Share::new(
            (Arc::clone(&self.books), Arc::clone(&self.reach), Arc::clone(&self.waits)),
            (account, self.host.clone(), self.ledger),
            (Arc::clone(&self.clock), seats),
        ));
        self.shares.push(Arc::clone(&share));
        share
    }

    /// The access token of the account that all hosts know by this name.
    pub(crate) fn vault(&self, account: String) -> Arc<Vault> {
        let (tokens, reach) = (Arc::clone(&self.tokens), Arc::clone(&self.reach));
        Arc::new(Vault::new(tokens, reach, account))
    }

    /// Tells the other hosts that this one stops: what it had is theirs.
    pub(crate) async fn leave(&self) {
        for share in &self.shares {
            if share.seats.renew_in().is_some() {
                share.seats.renew().await;
            }
        }
        self.hosts.leave().await;
    }

    /// Looks after what is not settled, after connections, after the rows that are over, and after the database being there at
    /// all. It never ends.
    pub(crate) async fn look_after(self: Arc<Self>) {
        tokio::join!(self.look(), self.renew_seats());
    }

    /// Goes on with the connections of this host, and says which are over.
    async fn renew_seats(&self) {
        loop {
            for share in &self.shares {
                if share.seats.renew_in().is_some_and(|wait| wait.is_zero()) {
                    share.seats.renew().await;
                }
            }
            let next = self.shares.iter().filter_map(|share| share.seats.renew_in()).min();
            let next = async {
                match next {
                    Some(wait) => self.clock.sleep(wait).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = next => {}
                () = self.seats_changed.notified() => {}
            }
        }
    }

    async fn look(&self) {
        let mut looks: u32 = fastrand::u32(..LOOKS_BETWEEN_SWEEPS);
        loop {
            for share in &self.shares {
                share.look_after().await;
            }
            looks += 1;
            if looks >= LOOKS_BETWEEN_SWEEPS {
                looks = 0;
                // The next host, or the next time, does it as well.
                if let Err(trouble) = self.books.sweep().await {
                    debug!(%trouble, "reservations that are over were not removed");
                }
                if let Err(trouble) = self.tokens.forget_tokens().await {
                    debug!(%trouble, "tokens that are over were not removed");
                }
                self.hosts.forget().await;
            }
            let jitter = Duration::from_millis(fastrand::u64(..JITTER_MS));
            self.listen_for(LOOK_EVERY.saturating_sub(jitter)).await;
        }
    }

    /// Hears how the accounts stand for which mail waits, until the next look.
    async fn listen_for(&self, time: Duration) {
        let next_look = self.clock.sleep(time);
        tokio::pin!(next_look);
        loop {
            let attentive: Vec<_> =
                self.shares.iter().filter(|share| share.is_attentive()).collect();
            let jitter = Duration::from_millis(fastrand::u64(..LISTEN_JITTER_MS));
            let wait =
                if attentive.is_empty() { time } else { LISTEN_EVERY.saturating_sub(jitter) };
            tokio::select! {
                () = &mut next_look => return,
                () = self.waits.notified() => continue,
                () = self.clock.sleep(wait) => {}
            }
            for share in attentive {
                share.listen().await;
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
