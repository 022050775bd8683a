//! The day whose budget is spent while mail waits: the administrator hears of it once a day, by the notices' own reserve.
//!
//! Rule: bounded; a walk is made only when nothing may be spent, and ends when it has counted enough. Of several hosts that
//! share a day one tells, by what all have spent.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::remembered::Told;
use crate::{
    budget::{AccountKey, Limit},
    clock::{Moment, Timestamp},
    fleet::{Elsewhere, Share},
    message::envelope::Lane,
    queue::{
        LIST_LENGTH_MAX, Queue, QueueError,
        waiting::{Departure, Room, Rooms, Situation},
        way::Way,
    },
};

/// How often it is told.
const REPEAT: Duration = Duration::from_secs(24 * 3600);
/// How long mail must wait for the budget, so that a day that is spent for minutes only is nobody's concern.
const WORTH_TELLING: Duration = Duration::from_secs(30 * 60);
/// Pages of the queue that are counted.
const PAGES_MAX: usize = 10;
/// How long it is left to the host that is about to tell: one that dies before its notice is queued keeps the others silent
/// for so long.
const ABOUT_TO_TELL: Duration = Duration::from_secs(15 * 60);

/// This host's share of each account's day that other hosts spend as well.
pub(crate) type Shares = BTreeMap<AccountKey, Arc<Share>>;

/// What the relay may spend on mail that is neither urgent nor a notice, and in all.
#[derive(Clone, Debug)]
pub(crate) struct Day {
    /// Which account's.
    pub(crate) account: AccountKey,
    /// Its name, where there are several.
    pub(crate) name: Option<Arc<str>>,
    /// Of all mail.
    pub(crate) limit: Limit,
    /// Of mail that is neither urgent nor a notice.
    pub(crate) others: Limit,
}

/// When it was told of each account, by whichever host.
#[derive(Debug, Default)]
pub(super) struct Spent {
    told: BTreeMap<AccountKey, Timestamp>,
    shares: Shares,
}

/// What there is to tell.
#[derive(Debug)]
pub(super) struct News {
    /// Whose day it is.
    pub(super) account: AccountKey,
    pub(super) subject: String,
    pub(super) text: String,
}

impl Spent {
    /// Where these days are shared.
    pub(super) fn sharing(shares: Shares) -> Self {
        Self { shares, ..Self::default() }
    }

    /// What is to be told at `now`: of one account, the next look tells of another.
    pub(super) async fn look(
        &self,
        store: &Queue,
        now: Moment,
        hostname: &str,
        days: &[Day],
    ) -> Result<Option<News>, QueueError> {
        let is_young = |at: &Timestamp| *at <= now.wall && now.wall.since(*at) < REPEAT;
        for day in days.iter().filter(|day| !self.told.get(&day.account).is_some_and(is_young)) {
            let fleet = self.shares.get(&day.account).map(|share| share.status());
            if fleet.as_ref().is_some_and(|fleet| fleet.away.is_some()) {
                // Nobody knows what is spent, and a notice could not leave.
                continue;
            }
            let elsewhere = fleet.map(|fleet| fleet.elsewhere);
            let news = look_at(store, now, hostname, (day, elsewhere)).await?;
            if news.is_some() {
                return Ok(news);
            }
        }
        Ok(None)
    }

    /// What was told before a start counts as well.
    pub(super) fn remember(&mut self, days: &[Day], told: &[Told]) {
        for day in days {
            let end = subject_end(day);
            let last = told.iter().rfind(|told| told.subject.ends_with(&end));
            self.told.extend(last.map(|told| (day.account, told.at)));
        }
    }

    /// Whether this host is the one that tells of this account; otherwise it is quiet while another one is.
    pub(super) async fn is_ours(&mut self, account: AccountKey, now: Timestamp) -> bool {
        let Some(share) = self.shares.get(&account) else { return true };
        match share.take_notice(ABOUT_TO_TELL).await {
            Ok(None) => true,
            Ok(Some(wait)) => {
                self.told.insert(account, now.before(REPEAT.saturating_sub(wait)));
                false
            }
            Err(_) => false,
        }
    }

    /// It was told of this account.
    pub(super) async fn told(&mut self, account: AccountKey, now: Timestamp) {
        self.told.insert(account, now);
        if let Some(share) = self.shares.get(&account)
            && let Err(trouble) = share.take_notice(REPEAT).await
        {
            tracing::debug!(%trouble, "another host may tell as well that the day is spent");
        }
    }
}

async fn look_at(
    store: &Queue,
    now: Moment,
    hostname: &str,
    (day, elsewhere): (&Day, Option<Elsewhere>),
) -> Result<Option<News>, QueueError> {
    let by_others = elsewhere.map_or(0, |elsewhere| elsewhere.spent);
    let view = store.ledger(day.account, now, day.others.less(by_others)).await?;
    if view.room > 0 {
        return Ok(None);
    }
    let waiting = waiting(store, now, day.account).await?;
    let frees_at = match elsewhere {
        Some(elsewhere) => elsewhere.day_frees_at(view.frees_at, day.others, now.wall),
        None => view.frees_at,
    };
    let others = Room { recipients: 0, frees_at };
    let clear = Situation::clear(now.wall);
    let (rooms, name) = (Rooms { others, ..clear.rooms }, day.name.clone());
    let situation = Situation { rooms, name, ..clear };
    let departure = situation.departure(Lane::Normal, now.wall);
    let is_soon = departure.at.is_some_and(|at| at < now.wall.after(WORTH_TELLING));
    if waiting == 0 || is_soon {
        return Ok(None);
    }
    let spent = (view.spent.saturating_add(by_others), elsewhere.map(|_| by_others));
    Ok(Some(news(hostname, day, spent, waiting, &departure)))
}

/// Recipients of an account's mail that are due and may not leave.
async fn waiting(store: &Queue, now: Moment, account: AccountKey) -> Result<usize, QueueError> {
    let (mut walk, mut number) = (store.walk().await?, 0);
    let served_by = store.served_by(now).await?;
    for _ in 0..PAGES_MAX {
        if walk.is_over() {
            break;
        }
        let page = walk.take(store.list(walk.after(), LIST_LENGTH_MAX).await?);
        let records = page.iter().map(|message| &message.record);
        let records = records.filter(|record| matches!(record.lane, Lane::Normal | Lane::Bulk));
        let records = records.filter(|record| served_by.account_of(Way::of(record)) == account);
        let due = records.flat_map(|record| {
            record.recipients.iter().filter_map(|recipient| record.due(&recipient.state))
        });
        number += due.filter(|due| due.at <= now.wall).count();
    }
    Ok(number)
}

/// What the subject ends with, by which it is known again after a restart.
fn subject_end(day: &Day) -> String {
    let of = day.name.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
    format!("the budget of the day{of} is spent")
}

/// What was spent is by all, and in a fleet so much of it by the other hosts.
fn news(
    hostname: &str,
    day: &Day,
    (spent, by_others): (u32, Option<u32>),
    waiting: usize,
    departure: &Departure,
) -> News {
    let Day { account, name, limit, .. } = day;
    let relay = match name {
        Some(name) => format!("The account {name} of the relay"),
        None => "The relay".to_owned(),
    };
    let (noun, verb) = if waiting == 1 { ("recipient", "waits") } else { ("recipients", "wait") };
    let sentence = departure.sentence(|at| at.to_string());
    // Urgent mail and notices go beyond what other mail may spend, so it can be more than that and less than the day.
    let are = if spent == 1 { "is" } else { "are" };
    let rest = if limit.room_after(spent.into()) == 0 {
        "and nothing\r\nis left"
    } else {
        "and what\r\nis left is kept for urgent mail and notices"
    };
    let (together, theirs, once) = match by_others {
        None => ("", String::new(), "You hear of this once a day at most."),
        Some(theirs) => (
            ", together\r\nwith the other hosts of the fleet",
            format!(", {theirs} of them by other hosts"),
            "You hear of this once a day at most, from one host for all. What waits on the others: \"pillarbox fleet\".",
        ),
    };
    News {
        account: *account,
        subject: format!("{hostname}: {waiting} {noun} {verb}, {}", subject_end(day)),
        text: format!(
            "{relay} on {hostname} may write to {limit} recipients in any 24 hours{together}. {spent} {are} spent{theirs}, {rest}: mail to\r\n\
             {waiting} {noun} waits. Nothing is lost, and mail is still taken.\r\n\
             \r\n\
             {sentence}\r\n\
             \r\n\
             What to do: nothing, if it may wait. \"pillarbox queue list\" shows what waits; if a program sends more\r\n\
             than it should, stop it, and give up its mail with \"pillarbox queue delete\".\r\n\
             \r\n\
             {once}\r\n"
        ),
    }
}
