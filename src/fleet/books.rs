//! The books that all hosts of a fleet share: what may be done with them, and the pure decision of a claim.
//!
//! Rule: whoever keeps them takes one claim for an account at a time and stamps it by a clock of his own, which never goes
//! back. What is not settled in its lease counts until a whole window after the lease. Must not know where they are kept.
#![cfg_attr(
    not(feature = "fleet"),
    allow(dead_code, reason = "without the feature no books give these answers")
)]

use std::{fmt, time::Duration};

use async_trait::async_trait;
use thiserror::Error;

use crate::{budget::Limit, clock::Timestamp};

/// Why the books could not be asked, in words with what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub(crate) struct Trouble(pub(crate) String);

/// A claim on an account's day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// By which it is known where no answer has come: a number that nobody else has.
    pub(super) token: i64,
    /// The number of the ledger of the host that asks.
    pub(super) ledger: i64,
    /// How many recipients are wanted.
    pub(super) recipients: u32,
    /// Recipients of a day before which mail of its lane may still leave.
    pub(super) limit: Limit,
    /// How long it may stay without a settlement.
    pub(super) lease: Duration,
    /// The number of the last word of the account that the host has acted upon.
    pub(super) heard: i64,
    /// It is the one attempt for which all hosts wait.
    pub(super) probe: bool,
}

/// A reservation of this host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) token: i64,
    /// The number that the books have given it, one for each claim of the account; `None` where their answer has not come.
    pub(super) fence: Option<i64>,
    /// The other hosts wait for it.
    pub(super) probe: bool,
}

/// A token is no secret, but says nothing to anybody.
impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Ticket({:?})", self.fence)
    }
}

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) fence: i64,
    /// At least one, and at most what was asked for.
    pub(super) recipients: u32,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Granted(Granted),
    /// The day has no room for it.
    Full,
    /// Another attempt is out for which all hosts wait.
    ProbeIsOut(Probe),
    /// There is a word of the account that the host has not heard.
    Unheard(Word),
}

/// The attempt that is out for all hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Whose it is.
    pub(crate) host: String,
    /// When it counts as lost, if nobody hears of it before.
    pub(crate) ends_in: Duration,
}

/// What the hosts say of an account to each other: the last word counts, and has the highest number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// 0 before there is one.
    pub(crate) number: i64,
    /// In a form that hosts understand.
    pub(crate) text: String,
    /// When it was said, by the clock of who said it: the times in it are by the same one.
    pub(crate) said_at: Timestamp,
    /// How long ago that was.
    pub(crate) age: Duration,
    /// The attempt that is out for all.
    pub(crate) probe: Option<Probe>,
}

/// Whether a word was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is the last one now, by this number.
    Taken(i64),
    /// Another one came before it.
    Late(Word),
}

/// What the last 24 hours have taken of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    /// Recipients, by all hosts.
    pub(super) recipients: u64,
    /// Recipients that the ledger of the host that asks has as well.
    pub(super) by_host: u64,
    /// How long until one more may be spent of the limit that was asked for; `None` while there is room, and where there
    /// never is.
    pub(super) frees_in: Option<Duration>,
}

/// A host that has spent something: by its name, and by the number of its ledger, which no other host has.
pub(super) type Spender<'a> = (&'a str, i64);

/// Books that several hosts share. Accounts are known by the name that all give them.
#[async_trait]
pub(super) trait Books: fmt::Debug + Send + Sync {
    /// What was spent of an account.
    async fn spent(&self, account: &str, by: Spender<'_>, limit: Limit) -> Result<Spent, Trouble>;

    /// Reserves as much as is wanted and as there is room for, where the host has heard the last word of the account.
    async fn reserve(&self, account: &str, host: &str, ask: &Ask) -> Result<Answer, Trouble>;

    /// Ends a reservation within its lease: so many of its recipients were spent, just now. Returns whether it was there to
    /// be ended; what is over, or another's, stays as it is. Whoever waits for it need wait no longer.
    async fn settle(&self, account: &str, ticket: Ticket, spent: u32) -> Result<bool, Trouble>;

    /// Sees to it that at least so many recipients of the account are known as this ledger's: what its host has spent alone.
    async fn bring_in(&self, account: &str, by: Spender<'_>, spent: u32) -> Result<(), Trouble>;

    /// The last word of an account.
    async fn hear(&self, account: &str) -> Result<Word, Trouble>;

    /// Says the next word of an account, where the last one is that of this number.
    async fn tell(
        &self,
        account: &str,
        heard: i64,
        (text, now): (&str, Timestamp),
    ) -> Result<Told, Trouble>;

    /// Leaves it to the teller of this number, for so long, to tell of the account's day by mail; `None` where it is his now,
    /// otherwise for how long it is another's.
    async fn leave_notice_to(
        &self,
        account: &str,
        teller: i64,
        time: Duration,
    ) -> Result<Option<Duration>, Trouble>;

    /// Removes what has long been over.
    async fn sweep(&self) -> Result<(), Trouble>;
}

/// How many of the wanted recipients may be reserved after so many were spent; the one decision of a claim.
#[cfg(any(feature = "fleet", test))]
pub(super) fn granted(ask: &Ask, spent: u64) -> u32 {
    ask.limit.room_after(spent).min(ask.recipients)
}
