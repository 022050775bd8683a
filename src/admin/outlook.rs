//! The situation of the queue, gathered from the store, the pool and the order to stop.
//!
//! Rule: whoever tells of the relay's state (status, lists, probes, alerts, systemd's line) takes it from here.

use std::time::Duration;

use super::{
    api::Budget,
    context::Sources,
    survey::{MESSAGES_MAX, Survey},
};
use crate::{
    budget::Limit,
    clock::Timestamp,
    delivery::{DepartureReason, PoolStatus},
    message::envelope::Lane,
    queue::{
        store::{LedgerView, StoreError},
        waiting::{Because, Brake, Departure, Refusing, Room, Rooms, Situation},
    },
    shutdown::Phase,
};

/// How long a probe waits for the queue; then it says what it knows from memory.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// How things stand at one moment.
#[derive(Debug)]
pub(super) struct Stand {
    pub(super) pool: PoolStatus,
    pub(super) situation: Situation,
    pub(super) budget: Budget,
}

impl Stand {
    /// When mail leaves next as far as the pool knows, which is all that can be said without a walk.
    pub(super) fn next_departure(&self) -> Departure {
        let due = self.pool.next.map(|next| match next.why {
            DepartureReason::Due => next.at,
            _ => self.situation.now,
        });
        self.situation.first_departure(due.map(|due| (Lane::Normal, due)))
    }
}

/// Gathers it; `due` is the number of recipients that are due.
pub(super) async fn stand(sources: &Sources, due: u64) -> Result<Stand, StoreError> {
    let (now, facts) = (sources.clock.now(), &sources.facts);
    let pool = sources.upstream.status();
    let limit = facts.limit();
    let of_urgent = limit.less(facts.notice_reserve);
    let of_others = of_urgent.less(facts.urgent_reserve);
    let notices = sources.store.ledger(now, limit).await?;
    let urgent = sources.store.ledger(now, of_urgent).await?;
    let others = sources.store.ledger(now, of_others).await?;
    let full = pool.account.is_day_full(now.wall).then_some(pool.account.until).flatten();
    let is_full = pool.account.is_day_full(now.wall);
    let room = |view: LedgerView| Room {
        recipients: if is_full { 0 } else { view.room },
        // `None` is never, whatever the upstream says.
        frees_at: view.frees_at.map(|at| full.map_or(at, |full| at.max(full))),
    };
    let rooms = Rooms { notices: room(notices), urgent: room(urgent), others: room(others) };
    let situation = Situation {
        now: now.wall,
        stopping: sources.stop.phase() != Phase::Running,
        store_failure: match sources.store.admission(0) {
            Err(StoreError::Unavailable(reason)) => Some(reason),
            _ => None,
        },
        account: pool.account.clone(),
        probing: pool.probing,
        rooms,
        brake: pool.next.and_then(brake),
        due_recipients: due,
    };
    // Without a limit only the upstream's own word leaves no room.
    let told = |room: Room| (is_full || limit != Limit::NONE).then_some(room.recipients);
    let budget = Budget {
        now: now.wall,
        recipients_per_day: facts.recipients_per_day,
        owner_reserve: facts.owner_reserve,
        limit,
        notice_reserve: facts.notice_reserve,
        urgent_reserve: facts.urgent_reserve,
        spent: others.spent,
        room: told(rooms.others),
        urgent_room: told(rooms.urgent),
        notice_room: told(rooms.notices),
        frees_at: rooms.others.frees_at,
        full_since: pool.account.day_full_since.filter(|_| is_full),
        departure: situation.departure(Lane::Normal, now.wall),
    };
    Ok(Stand { pool, situation, budget })
}

/// The situation of a page of a list: with the number of recipients that are due, counted lately.
pub(super) async fn situation(sources: &Sources) -> Result<Situation, StoreError> {
    let now = sources.clock.now();
    let due = match sources.outlook.due(now).await {
        Some(due) => due,
        None => {
            let survey = Survey::of(sources.store.as_ref(), now.wall, MESSAGES_MAX).await?;
            sources.outlook.keep(now, &survey).await;
            survey.due
        }
    };
    Ok(stand(sources, due).await?.situation)
}

/// When mail leaves next, for probes: `None` while the queue does not answer in time.
pub(super) async fn next_departure(sources: &Sources) -> Option<Departure> {
    let stand = tokio::time::timeout(PROBE_PATIENCE, stand(sources, 0)).await;
    Some(stand.ok()?.ok()?.next_departure())
}

/// What only the pool knows; due times, budget and pauses are looked up.
fn brake(next: crate::delivery::Departure) -> Option<Brake> {
    let because = match next.why {
        DepartureReason::Pace => Because::Pace,
        DepartureReason::Logins => Because::Logins,
        DepartureReason::Store => Because::Store,
        DepartureReason::Due | DepartureReason::Budget | DepartureReason::Pause => return None,
    };
    Some(Brake { until: next.at, because })
}

/// Why new mail is refused, or large mail: asked of the store as clients' messages ask it.
pub(super) fn refusing(sources: &Sources) -> Option<Refusing> {
    let largest = sources.facts.largest_message;
    let shown = bytesize::ByteSize::b(largest).display().iec().to_string();
    Refusing::of(sources.store.admission(0), sources.store.admission(largest), &shown)
}

/// One line for systemd: what waits and until when, how the account is, and what is refused. It asks the queue, and
/// waits as long as the queue does.
pub async fn line(sources: &Sources) -> String {
    let messages = sources.store.totals().messages;
    let queue = match messages {
        0 => "the queue is empty".to_owned(),
        1 => "1 message in the queue".to_owned(),
        messages => format!("{messages} messages in the queue"),
    };
    let refusing =
        refusing(sources).map_or_else(String::new, |refusing| format!("; {}", refusing.what));
    let Ok(stand) = stand(sources, 0).await else {
        return format!("{queue}, which cannot be read just now{refusing}");
    };
    let account = format!("account {}", stand.situation.account.condition.name());
    let departure = stand.next_departure();
    let waits = match departure.at.filter(|_| messages > 0 && departure.is_obstructed()) {
        Some(at) => format!("; mail leaves at {}: {}", utc(at), departure.why),
        None if messages > 0 && departure.is_obstructed() => {
            format!("; mail waits: {}", departure.why)
        }
        None => String::new(),
    };
    let held = match sources.outlook.held() {
        0 => String::new(),
        held => format!("; {held} held for a person"),
    };
    format!("{queue}, {account}{waits}{held}{refusing}")
}

fn utc(at: Timestamp) -> String {
    at.to_string()
}
