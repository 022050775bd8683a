//! The targets of alerts as a person sees them: what waits for each, what failed, and a trial of the way to it.
//!
//! Rule: a trial goes past what waits, once, to all that are asked for at once. As in `server.rs`; the words are of version 1
//! of the API.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Query, State, rejection::QueryRejection},
    routing::{get, post},
};
use serde::Deserialize;
use tokio::{task::JoinSet, time::timeout};

use super::{
    answers::{TargetState, Targets, Trial, Trials},
    outputs::{Courier, Options, Target, Way},
    post::up,
    watch::{Alert, Kind as AlertKind, State as Stage},
};
use crate::{
    admin::{
        api::Kind,
        context::{Json, Refusal, Sources},
    },
    clock::{Moment, Timestamp},
};

/// How long one trial may take: below what an answer of the API may.
const TRIAL_MAX: Duration = Duration::from_secs(25);

/// The query of a trial.
#[derive(Debug, Deserialize)]
struct Asked {
    target: Option<String>,
}

pub(in crate::admin) fn router() -> Router<Sources> {
    Router::new().route("/v1/alerts", get(list)).route("/v1/alerts/test", post(test))
}

async fn list(State(sources): State<Sources>) -> Json<Targets> {
    Json(Targets { now: sources.clock.wall(), targets: states(&sources) })
}

async fn test(
    State(sources): State<Sources>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Trials>, Refusal> {
    let Query(Asked { target }) = asked?;
    let options = sources.alert.get();
    let trials = try_targets(&options, target.as_deref(), sources.clock.wall()).await;
    if let (Some(name), true) = (target, trials.is_empty()) {
        let names: Vec<&str> = options.targets.iter().map(|target| &*target.name).collect();
        let known = if names.is_empty() { "none is set".into() } else { names.join(", ") };
        let words = format!("there is no target {name:?}; there are: {known}");
        return Err(Refusal::new(Kind::NotFound, words));
    }
    Ok(Json(Trials { trials }))
}

/// How every target stands.
pub(in crate::admin) fn states(sources: &Sources) -> Vec<TargetState> {
    let (options, now) = (sources.alert.get(), sources.clock.now());
    options.targets.iter().map(|target| state(sources, target, now)).collect()
}

fn state(sources: &Sources, target: &Target, now: Moment) -> TargetState {
    let outbox = sources.post.outbox(target);
    let pause = outbox.not_before.0.saturating_sub(up(now).0).max(0);
    let pause = Duration::from_millis(pause.unsigned_abs());
    let (name, goes_to, only) = (target.name.clone(), target.way.shown(), target.only.clone());
    TargetState {
        name,
        goes_to,
        format: match target.way {
            Way::Webhook { format, .. } => Some(format.name().to_owned()),
            Way::Command(_) => None,
        },
        only,
        waiting: outbox.waiting.len() as u64,
        oldest: outbox.waiting.front().map(|alert| alert.at),
        last_sent: outbox.last_sent,
        next_try: outbox.failure.is_some().then(|| now.wall.after(pause)),
        failure: outbox.failure,
    }
}

/// Sends one alert to every target, or to the one of this name, at once and once.
pub(crate) async fn try_targets(
    options: &Options,
    only: Option<&str>,
    now: Timestamp,
) -> Vec<Trial> {
    let host = options.watch.hostname.clone();
    let alert = Arc::new(Alert {
        kind: AlertKind::Test,
        state: Stage::Begins,
        at: now,
        subject: format!("{host}: a test of the way by which alerts come; nothing is wrong"),
        host,
        remedy: String::new(),
    });
    let asked = |target: &&Target| only.is_none_or(|name| target.name == name);
    let targets: Vec<&Target> = options.targets.iter().filter(asked).collect();
    all(&targets, options.ca_file.as_ref(), &alert, TRIAL_MAX).await
}

/// Hands it to all of them at once, each within the limit.
pub(super) async fn all(
    targets: &[&Target],
    ca_file: Option<&PathBuf>,
    alert: &Arc<Alert>,
    limit: Duration,
) -> Vec<Trial> {
    let mut trials = JoinSet::new();
    for (position, target) in targets.iter().enumerate() {
        let courier = Courier::new((*target).clone(), ca_file.cloned());
        let alert = Arc::clone(alert);
        trials.spawn(async move { (position, attempt(&courier, &alert, limit).await) });
    }
    let mut trials = trials.join_all().await;
    trials.sort_by_key(|(position, _)| *position);
    trials.into_iter().map(|(_, trial)| trial).collect()
}

async fn attempt(courier: &Courier, alert: &Alert, limit: Duration) -> Trial {
    let answer = timeout(limit, courier.hand_over(alert)).await;
    let answer =
        answer.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs_f32())));
    let Target { name, way, .. } = &courier.target;
    Trial {
        target: name.clone(),
        goes_to: way.shown(),
        taken: answer.is_ok(),
        answer: answer.unwrap_or_else(|error| error),
    }
}
