//! The situation that decides when mail leaves, of every account: gathered from the pools, the ledgers and the last walk.
//!
//! Rule: whoever tells of the relay's state (status, lists, probes, alerts, systemd's line) takes it from here. Must not
//! know what is told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    accounts::AccountFacts,
    api::Budget,
    context::Sources,
    early::{Early, Proposed},
    outlook::{Age, QueueSummary},
};
use crate::{
    budget::{AccountKey, Limit},
    clock::Timestamp,
    delivery::{self, DepartureReason, PoolStatus},
    fleet::{Away, Elsewhere},
    message::envelope::Lane,
    queue::{
        ClaimLimits, LedgerView, QueueError,
        forecast::{Forecast, Terms},
        listing::Limited,
        situations::Situations,
        waiting::{Because, Brake, Departure, Refusing, Room, Rooms, Situation},
    },
    shutdown::Phase,
};

/// Origins at their limit that one answer names.
const LIMITED_TOLD_MAX: usize = 20;
/// How long a probe waits for the queue; then it says what it knows from memory.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// How things stand with one account at one moment.
#[derive(Debug)]
pub(super) struct Stand {
    pub(super) facts: AccountFacts,
    pub(super) pool: PoolStatus,
    pub(super) situation: Situation,
    pub(super) budget: Budget,
}

impl Stand {
    /// When its mail leaves next as far as the pool knows, which is all that can be said without a walk.
    pub(super) fn next_departure(&self) -> Departure {
        let due = self.pool.next.map(|next| match next.why {
            DepartureReason::Due => next.at,
            _ => self.situation.now,
        });
        self.situation.first_departure(due.map(|due| (Lane::Normal, due.into())))
    }
}

/// Gathers it of every account, the main one first. Without a walk nothing counts as due.
pub(super) async fn stands(
    sources: &Sources,
    summary: Option<&QueueSummary>,
) -> Result<Vec<Stand>, QueueError> {
    let limited = sources.store.limited_origins(sources.clock.now()).await?;
    let mut stands = Vec::new();
    for (account, _) in sources.upstreams.all() {
        let due = summary.map_or(0, |summary| summary.due_of(account));
        stands.push(stand(sources, account, &limited, due).await?);
    }
    Ok(stands)
}

/// The same of one account.
pub(super) async fn stand_of(
    sources: &Sources,
    account: AccountKey,
    summary: Option<&QueueSummary>,
) -> Result<Stand, QueueError> {
    let limited = sources.store.limited_origins(sources.clock.now()).await?;
    let due = summary.map_or(0, |summary| summary.due_of(account));
    stand(sources, account, &limited, due).await
}

/// Of an account with so many recipients that are due.
async fn stand(
    sources: &Sources,
    account: AccountKey,
    limited: &Limited,
    due: u64,
) -> Result<Stand, QueueError> {
    let (now, all) = (sources.clock.now(), sources.facts());
    let facts = all.of(account);
    let pool = sources.upstreams.of(account).status();
    let limit = facts.limit();
    let early = &pool.account.early;
    let elsewhere = pool.fleet.as_ref().map(|fleet| fleet.elsewhere);
    let others_spent = elsewhere.map_or(0, |elsewhere| elsewhere.spent);
    let terms = facts.limits.within(early.allowance(limit, now.wall));
    let terms = ClaimLimits { limit: terms.limit.less(others_spent), ..terms };
    let of = |lane| sources.store.ledger(account, now, terms.limit_of(lane));
    let notices = of(Lane::Notice).await?;
    let urgent = of(Lane::Urgent).await?;
    let others = of(Lane::Normal).await?;
    let full = pool.account.is_day_full(now.wall).then_some(pool.account.until).flatten();
    let is_full = pool.account.is_day_full(now.wall);
    let room = |view: LedgerView| Room {
        recipients: if is_full { 0 } else { view.room },
        // `None` is never, whatever the upstream says.
        frees_at: frees_at(view, elsewhere, limit, now.wall)
            .map(|at| full.map_or(at, |full| at.max(full))),
    };
    let rooms = Rooms { notices: room(notices), urgent: room(urgent), others: room(others) };
    let situation = Situation {
        now: now.wall,
        stopping: sources.stop.phase() != Phase::Running,
        store_failure: match sources.store.admission(0) {
            Err(QueueError::Unavailable(reason)) => Some(reason),
            _ => None,
        },
        name: all.name(account),
        account: pool.account.clone(),
        is_shared: pool.fleet.is_some(),
        probing: pool.probing,
        rooms,
        brake: away_brake(&pool, now.wall).or_else(|| pool.next.and_then(brake)),
        due_recipients: due,
        limited: limited.clone(),
        forecast: Arc::default(),
    };
    // Without a limit only the upstream's own word leaves no room.
    let told = |room: Room| (is_full || limit != Limit::NONE).then_some(room.recipients);
    let budget = Budget {
        now: now.wall,
        recipients_per_day: facts.recipients_per_day,
        owner_reserve: facts.owner_reserve,
        limit,
        notice_reserve: facts.limits.notice_reserve,
        urgent_reserve: facts.limits.urgent_reserve,
        spent: others.spent.saturating_add(others_spent),
        spent_by_other_hosts: elsewhere.map(|elsewhere| elsewhere.spent),
        room: told(rooms.others),
        urgent_room: told(rooms.urgent),
        notice_room: told(rooms.notices),
        frees_at: rooms.others.frees_at,
        full_since: pool.account.day_full_since.filter(|_| is_full),
        early: early.in_force(limit, now.wall).map(|day| Early::of(day, limit)),
        proposed: early.proposed(limit, now.wall).map(|it| Proposed::of(it, facts.owner_reserve)),
        limited: situation.limited.values().take(LIMITED_TOLD_MAX).cloned().collect(),
        departure: situation.departure(Lane::Normal, now.wall),
    };
    Ok(Stand { facts: facts.clone(), pool, situation, budget })
}

/// The situations that these stands make together.
pub(super) async fn together(
    sources: &Sources,
    stands: impl IntoIterator<Item = (AccountKey, Situation)>,
) -> Result<Situations, QueueError> {
    let mut others: BTreeMap<AccountKey, Situation> = stands.into_iter().collect();
    let now = sources.clock.now();
    let main = others.remove(&AccountKey::MAIN).unwrap_or_else(|| Situation::clear(now.wall));
    Ok(Situations::new(main, others, sources.store.served_by(now).await?))
}

/// The situations for a page of a list: with the number of recipients that are due, counted lately.
pub(super) async fn situations(sources: &Sources) -> Result<Situations, QueueError> {
    situations_by(sources, Age::Recent).await
}

/// The same by a walk of this age.
pub(super) async fn situations_by(sources: &Sources, age: Age) -> Result<Situations, QueueError> {
    let (_, summary) = sources.counted(age).await?;
    let mut forecast = Vec::new();
    for Stand { facts, situation, .. } in stands(sources, Some(&summary)).await? {
        let account = facts.key();
        let expected = foretell(sources, account, &situation).await?;
        forecast.push((account, Situation { forecast: expected, ..situation }));
    }
    together(sources, forecast).await
}

/// When each message of an account leaves, by the last walk; empty while nobody can know.
pub(super) async fn foretell(
    sources: &Sources,
    account: AccountKey,
    situation: &Situation,
) -> Result<Arc<Forecast>, QueueError> {
    let Some(starts) = situation.starts() else { return Ok(Arc::default()) };
    let paced = situation.brake.is_some_and(|brake| brake.because == Because::Pace);
    let now = sources.clock.now();
    let gather = || async {
        let (limits, pace_per_minute) = sources.upstreams.of(account).pacing();
        let footing = sources.store.footing(limits.account, now).await?;
        let waiting = sources.store.waiting_for(account, now).await?;
        Ok((waiting, Terms { now: now.wall, starts, paced, footing, limits, pace_per_minute }))
    };
    sources.outlook.forecast(account, gather).await
}

/// When the mail of each account leaves next, for probes: `None` while the queue does not answer in time.
pub(super) async fn next_departures(sources: &Sources) -> Option<Vec<Departure>> {
    let stands = tokio::time::timeout(PROBE_PATIENCE, stands(sources, None)).await;
    Some(stands.ok()?.ok()?.iter().map(Stand::next_departure).collect())
}

/// When a day has room again.
fn frees_at(
    view: LedgerView,
    elsewhere: Option<Elsewhere>,
    limit: Limit,
    now: Timestamp,
) -> Option<Timestamp> {
    match elsewhere.filter(|_| view.room == 0) {
        Some(elsewhere) => elsewhere.day_frees_at(view.frees_at, limit, now),
        None => view.frees_at,
    }
}

/// Why the database that several hosts share cannot be asked, while it cannot.
pub(super) fn away(sources: &Sources) -> Option<Away> {
    sources.upstreams.all().find_map(|(_, upstream)| upstream.status().fleet?.away)
}

/// While it cannot, nothing is claimed until a host asks again.
fn away_brake(pool: &PoolStatus, now: Timestamp) -> Option<Brake> {
    pool.fleet.as_ref()?.away.as_ref()?;
    Some(Brake { until: now.after(delivery::AWAY_WAIT_MAX), because: Because::Fleet })
}

/// What only the pool knows; due times, budget and pauses are looked up.
fn brake(next: delivery::Departure) -> Option<Brake> {
    let because = match next.why {
        DepartureReason::Pace => Because::Pace,
        DepartureReason::Logins => Because::Logins,
        DepartureReason::Connections => Because::Connections,
        DepartureReason::Store => Because::Store,
        DepartureReason::Fleet => Because::Fleet,
        DepartureReason::Due | DepartureReason::Budget | DepartureReason::Pause => return None,
    };
    Some(Brake { until: next.at, because })
}

/// Why new mail is refused, or large mail: asked of the store as clients' messages ask it.
pub(super) fn refusing(sources: &Sources) -> Option<Refusing> {
    let largest = sources.facts().largest_message;
    let shown = bytesize::ByteSize::b(largest).display().iec().to_string();
    let store = &sources.store;
    let refusing = Refusing::of(store.admission(0), store.admission(largest), &shown);
    if store.waits_for_its_database() {
        return refusing.map(Refusing::for_its_database);
    }
    refusing
}
