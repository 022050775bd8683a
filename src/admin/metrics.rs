//! `GET /metrics`: totals in Prometheus' text format, for whoever watches many machines.
//!
//! Rule: numbers only; no address of a person, no subject, no reply and no account name leaves by this way. Whoever
//! asks often gets the same text again, so that asking costs no walk through the queue each time. Must not know who asks.

use std::{fmt::Write as _, sync::Arc, time::Duration};

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
    outlook::Age,
    stand::{self, Stand},
};
use crate::{
    clock::Moment,
    delivery::Counters,
    fleet::{CallCounts, SPANS_MS},
    queue::state::AccountCondition,
};

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
    let mut stands = stand::stands(sources, None).await?;
    let others = stands.split_off(1);
    let Stand { pool, budget, .. } = stands.remove(0);
    page.labelled("info", "gauge", "The program.", "version", &[(env!("CARGO_PKG_VERSION"), 1)]);
    let uptime = now.since_boot_ms.saturating_sub(sources.facts().started.since_boot_ms) / 1000;
    page.gauge("uptime_seconds", "Since the start of the daemon.", uptime);
    page.gauge("ready", "Whether new mail is taken.", u64::from(health.is(Grade::Ready)));

    clients(&mut page, sources);
    let counted = others.iter().map(|one| one.pool.counters);
    counters(&mut page, counted.fold(pool.counters, Counters::and));
    let in_flight = others.iter().map(|one| one.pool.in_flight.len()).sum::<usize>();
    let in_flight = (in_flight + pool.in_flight.len()) as u64;
    page.gauge("in_flight_messages", "Messages with a worker.", in_flight);
    let names = AccountCondition::ALL
        .map(|condition| (condition.name(), u64::from(pool.account.condition == condition)));
    page.labelled(
        "account",
        "gauge",
        "1 for the condition that the account is in.",
        "condition",
        &names,
    );
    let account = Account::new(None, pool.account, now.wall);
    page.gauge(
        "account_open",
        "Whether mail may leave as far as the account goes.",
        account.is_open().into(),
    );
    page.gauge(
        "paused",
        "Whether the administrator has paused all sending.",
        account.pause.is_some().into(),
    );
    // A gauge of what has no limit is left out.
    if let Some(limit) = budget.limit.recipients() {
        let help = "What may be spent in 24 hours.";
        page.gauge("budget_limit_recipients", help, limit.into());
    }
    page.gauge("budget_spent_recipients", "Spent in the last 24 hours.", budget.spent.into());
    if let Some(room) = budget.room {
        let help = "What may still be spent on mail that is not urgent.";
        page.gauge("budget_room_recipients", help, room.into());
    }
    by_account(&mut page, sources).await?;
    fleet(&mut page, sources);
    queue(&mut page, sources, now).await?;
    Ok(page.text)
}

fn clients(page: &mut Page, sources: &Sources) {
    let clients = sources.clients.totals();
    page.counter("accepted_messages_total", "Messages taken from clients.", clients.accepted);
    page.counter(
        "refused_total",
        "Commands and messages of clients that were refused.",
        clients.refused,
    );
    page.counter(
        "connections_total",
        "Connections of clients that were served.",
        clients.connections,
    );
}

fn counters(page: &mut Page, counters: Counters) {
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
    page.counter("attempts_total", "Messages handed to a worker.", counters.attempts);
    page.counter(
        "upstream_connections_total",
        "Connections to the upstream.",
        counters.connections,
    );
    let unknown = "Refusals of the upstream in words that are not known.";
    page.counter("unknown_replies_total", unknown, counters.unknown_replies);
}

/// Of every account by its name, where there are several; those without a name are about the main one.
async fn by_account(page: &mut Page, sources: &Sources) -> Result<(), Refusal> {
    if !sources.facts().has_several_accounts() {
        return Ok(());
    }
    let stands = stand::stands(sources, None).await?;
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&Stand) -> Option<u64>| {
        let values = stands.iter().filter_map(|one| Some((&*one.facts.name, value(one)?)));
        page.labelled(name, "gauge", help, "account", &values.collect::<Vec<_>>());
    };
    let is_open = |one: &Stand| one.pool.account.condition == AccountCondition::Open;
    gauge("by_account_open", "Whether its mail may leave as far as the account goes.", &|one| {
        Some(is_open(one).into())
    });
    gauge("by_account_paused", "Whether the administrator has paused it.", &|one| {
        Some(one.pool.account.pause(one.situation.now).is_some().into())
    });
    gauge("by_account_budget_limit_recipients", "What it may spend in 24 hours.", &|one| {
        one.budget.limit.recipients().map(u64::from)
    });
    gauge(
        "by_account_budget_spent_recipients",
        "What it has spent in the last 24 hours.",
        &|one| Some(one.budget.spent.into()),
    );
    gauge(
        "by_account_budget_room_recipients",
        "What it may still spend on mail that is not urgent.",
        &|one| one.budget.room.map(u64::from),
    );
    Ok(())
}

/// Of a host that counts with others.
fn fleet(page: &mut Page, sources: &Sources) {
    let Some(fleet) = &sources.fleet else { return };
    let (calls, is_up) = (fleet.calls(), stand::away(sources).is_none());
    page.gauge("fleet_up", "Whether the fleet's database can be asked.", is_up.into());
    let is_drained = sources.store.drained().get().is_some();
    page.gauge("fleet_drained", "Whether this host is to take no new mail.", is_drained.into());
    let help = "Hosts that give signs of life, with this one, as was last heard.";
    page.gauge("fleet_hosts_living", help, fleet.hosts().living());
    if let Some(since) = calls.since_answer {
        let help = "Since the fleet's database has answered last.";
        page.gauge("fleet_seconds_since_answer", help, since.as_secs());
    }
    let help = "What was asked of the fleet's database and not answered.";
    page.counter("fleet_call_errors_total", help, calls.failed);
    page.histogram("fleet_call_seconds", "How long its answers took.", &calls);
}

async fn queue(page: &mut Page, sources: &Sources, now: Moment) -> Result<(), Refusal> {
    let (_, summary) = sources.counted(Age::New).await?;
    let totals = sources.store.totals();
    page.gauge(
        "queue_messages",
        "Messages in the queue, held and dead ones included.",
        totals.messages,
    );
    page.gauge("queue_bytes", "Octets of their files.", totals.bytes);
    page.gauge("queue_set_aside", "Damaged files that were set aside.", totals.set_aside);
    let oldest = summary.oldest.and_then(|oldest| oldest.waits_since);
    let oldest = oldest.map_or(0, |since| now.wall.0.saturating_sub(since.0).max(0) / 1000);
    let oldest = u64::try_from(oldest).unwrap_or(0);
    page.gauge(
        "queue_oldest_seconds",
        "How long the message waits that waits for longest, or is being sent; 0 without one.",
        oldest,
    );
    let states = summary.recipients;
    let states = [
        ("queued", states.queued),
        ("scheduled", states.scheduled),
        ("folded", states.folded),
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
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.one(name, "gauge", help, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.one(name, "counter", help, value);
    }

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

    fn histogram(&mut self, name: &str, help: &str, calls: &CallCounts) {
        self.head(name, "histogram", help);
        let ends = SPANS_MS.iter().map(|ms| (Duration::from_millis(*ms).as_secs_f64()).to_string());
        let ends = ends.chain(["+Inf".to_owned()]);
        for (end, count) in ends.zip(calls.within.iter().chain([&calls.answered])) {
            let _: std::fmt::Result =
                writeln!(self.text, "pillarbox_{name}_bucket{{le=\"{end}\"}} {count}");
        }
        let took = Duration::from_micros(calls.took_us).as_secs_f64();
        let _: std::fmt::Result = writeln!(
            self.text,
            "pillarbox_{name}_sum {took}\npillarbox_{name}_count {}",
            calls.answered
        );
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _: std::fmt::Result =
            write!(self.text, "# HELP pillarbox_{name} {help}\n# TYPE pillarbox_{name} {kind}\n");
    }
}
