//! `GET /metrics`: totals in Prometheus' text format, for whoever watches many machines.
//!
//! Rule: numbers only; no address of a person, no subject, no reply and no account name leaves by this way. Whoever
//! asks often gets the same text again, so that asking costs no walk through the queue each time. Must not know who asks.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::Mutex;

use super::{
    api::Account,
    context::{Refusal, Sources},
    health::{Grade, Health},
    status::{self, MESSAGES_MAX, QueueSummary},
};
use crate::{clock::Moment, delivery::PoolStatus, queue::state::AccountCondition};

/// How long one answer serves everybody: less than any scrape interval that makes sense.
const AGE_MAX_MS: u64 = 5_000;
/// The format, as Prometheus documents it.
const CONTENT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The last answer; who waits for the lock gets what the one before has found.
type Last = Arc<Mutex<Option<(Moment, String)>>>;

pub(super) fn router() -> Router<Sources> {
    let last = Last::default();
    Router::new().route(
        "/metrics",
        get(move |State(sources): State<Sources>| answer(sources, Arc::clone(&last))),
    )
}

async fn answer(sources: Sources, last: Last) -> Result<Response, Refusal> {
    let now = sources.clock.now();
    let mut last = last.lock().await;
    let is_young = |then: &Moment| {
        then.boot == now.boot && now.since_boot_ms.saturating_sub(then.since_boot_ms) < AGE_MAX_MS
    };
    let text = match last.take().filter(|(then, _)| is_young(then)) {
        Some((then, text)) => {
            *last = Some((then, text.clone()));
            text
        }
        None => {
            let text = text(&sources, now).await?;
            *last = Some((now, text.clone()));
            text
        }
    };
    Ok(([(CONTENT_TYPE, CONTENT)], text).into_response())
}

async fn text(sources: &Sources, now: Moment) -> Result<String, Refusal> {
    let mut page = Page::default();
    let health = Health::at_once(sources);
    let status::Stand { pool, budget, .. } = status::stand(sources, 0).await?;
    page.labelled("info", "gauge", "The program.", "version", &[(env!("CARGO_PKG_VERSION"), 1)]);
    let uptime = now.since_boot_ms.saturating_sub(sources.facts.started.since_boot_ms) / 1000;
    page.one("uptime_seconds", "gauge", "Since the start of the daemon.", uptime);
    page.one("ready", "gauge", "Whether new mail is taken.", u64::from(health.is(Grade::Ready)));

    clients(&mut page, sources);
    counters(&mut page, &pool);
    let names = AccountCondition::ALL
        .map(|condition| (condition.name(), u64::from(pool.account.condition == condition)));
    page.labelled(
        "account",
        "gauge",
        "1 for the condition that the account is in.",
        "condition",
        &names,
    );
    let account = Account::new(None, pool.account);
    page.one(
        "account_open",
        "gauge",
        "Whether mail may leave as far as the account goes.",
        account.is_open().into(),
    );
    // A gauge of what has no limit is left out.
    if let Some(limit) = budget.limit.recipients() {
        let help = "What may be spent in 24 hours.";
        page.one("budget_limit_recipients", "gauge", help, limit.into());
    }
    page.one(
        "budget_spent_recipients",
        "gauge",
        "Spent in the last 24 hours.",
        budget.spent.into(),
    );
    if let Some(room) = budget.room {
        let help = "What may still be spent on mail that is not urgent.";
        page.one("budget_room_recipients", "gauge", help, room.into());
    }
    queue(&mut page, sources, now).await?;
    Ok(page.text)
}

fn clients(page: &mut Page, sources: &Sources) {
    let clients = sources.clients.totals();
    page.one(
        "accepted_messages_total",
        "counter",
        "Messages taken from clients.",
        clients.accepted,
    );
    page.one(
        "refused_total",
        "counter",
        "Commands and messages of clients that were refused.",
        clients.refused,
    );
    page.one(
        "connections_total",
        "counter",
        "Connections of clients that were served.",
        clients.connections,
    );
}

fn counters(page: &mut Page, pool: &PoolStatus) {
    let counters = &pool.counters;
    let outcomes = [
        ("relayed", counters.relayed),
        ("deferred", counters.deferred),
        ("dead", counters.dead),
        ("uncertain", counters.uncertain),
    ];
    page.labelled(
        "recipients_total",
        "counter",
        "What became of recipients that were tried.",
        "outcome",
        &outcomes,
    );
    page.one("attempts_total", "counter", "Messages handed to a worker.", counters.attempts);
    page.one(
        "upstream_connections_total",
        "counter",
        "Connections to the upstream.",
        counters.connections,
    );
    let unknown = "Refusals of the upstream in words that are not known.";
    page.one("unknown_replies_total", "counter", unknown, counters.unknown_replies);
    page.one("in_flight_messages", "gauge", "Messages with a worker.", pool.in_flight.len() as u64);
}

async fn queue(page: &mut Page, sources: &Sources, now: Moment) -> Result<(), Refusal> {
    let summary = QueueSummary::of(sources.store.as_ref(), now.wall, MESSAGES_MAX).await?;
    sources.outlook.keep(now, summary.due, summary.recipients.held).await;
    let totals = sources.store.totals();
    page.one(
        "queue_messages",
        "gauge",
        "Messages in the queue, held and dead ones included.",
        totals.messages,
    );
    page.one("queue_bytes", "gauge", "Octets of their files.", totals.bytes);
    page.one("queue_set_aside", "gauge", "Damaged files that were set aside.", totals.set_aside);
    let oldest = summary
        .oldest
        .map_or(0, |oldest| now.wall.0.saturating_sub(oldest.accepted_at.0).max(0) / 1000);
    let oldest = u64::try_from(oldest).unwrap_or(0);
    page.one(
        "queue_oldest_seconds",
        "gauge",
        "Age of the oldest message that waits or is being sent; 0 without one.",
        oldest,
    );
    let states = summary.recipients;
    let states = [
        ("queued", states.queued),
        ("uncertain", states.uncertain),
        ("reserved", states.reserved),
        ("relayed", states.relayed),
        ("held", states.held),
        ("dead", states.dead),
    ];
    page.labelled(
        "queue_recipients",
        "gauge",
        "Recipients of messages in the queue.",
        "state",
        &states,
    );
    Ok(())
}

/// The text as it grows. Names, help and labels are ours, so nothing needs to be escaped.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        // Writing to a String cannot fail.
        let _: std::fmt::Result = writeln!(self.text, "pillarbox_{name} {value}");
    }

    fn labelled(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
    ) {
        self.head(name, kind, help);
        for (which, value) in values {
            let _: std::fmt::Result =
                writeln!(self.text, "pillarbox_{name}{{{label}=\"{which}\"}} {value}");
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _: std::fmt::Result =
            write!(self.text, "# HELP pillarbox_{name} {help}\n# TYPE pillarbox_{name} {kind}\n");
    }
}
