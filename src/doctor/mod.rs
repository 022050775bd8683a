//! Diagnosis: every check of a relay and of what is around it, with its stable name, all at once and within one limit.
//!
//! Rule: it only looks. It opens no queue, changes no file, spends no budget, and shows no secret; what only the running
//! daemon knows it is told by the daemon. Where one thing is the cause of another, only the cause fails. Must not know who
//! asks, or how the findings are shown.

mod again;
mod certificate;
mod chain;
pub(crate) mod daily;
pub(crate) mod door;
mod fleet;
mod local;
mod machine;
mod order;
pub(crate) mod places;
mod provider;
mod scene;
mod supervisor;
mod tokens;
mod told;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use self::scene::{Found, Scene};
pub(crate) use self::{
    machine::Machine,
    order::{FLEET, FURTHER_ACCOUNTS, NAMES, advice, advice_for_account, needs_daemon},
    scene::{Daemon, Patient},
    tokens::warnings as token_warnings,
};
use crate::{
    clock::{Stopwatch, Timestamp},
    findings::{Finding, Outcome, Report},
};

/// How long all of it may take. The steps of the longest way, that to the upstream, have limits of their own within it.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs the checks with these names.
pub(crate) async fn examine(patient: Patient, wanted: &[&'static str]) -> Report {
    let (at, watch) = (patient.clock.wall(), Stopwatch::start());
    let has_others = patient.settings.as_ref().is_ok_and(|known| !known.accounts.is_empty());
    let has_fleet = patient.settings.as_ref().is_ok_and(|known| known.fleet.is_some());
    let mut tasks = tasks(patient, wanted, at);
    let mut found: BTreeMap<&'static str, Outcome> = BTreeMap::new();
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            found.extend(ended.unwrap_or_default());
        }
    };
    // What has not ended is dropped.
    let has_ended = tokio::time::timeout(LIMIT, all).await.is_ok();
    let took_ms = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX);
    let unanswered = || {
        if has_ended {
            let words = "it ended without an answer, by a mistake of the program";
            return Outcome::fail(words, "Please report it, with what pillarbox --version says");
        }
        let words = format!("it did not end within {} s", LIMIT.as_secs());
        let remedy = "See whether a disk or a network file system hangs (dmesg), then look again";
        Outcome::fail(words, remedy)
    };
    // Nobody has to hear of accounts, or of a fleet, that there are not; who asks for this check is told.
    let is_shown = |name: &&str| match *name {
        FURTHER_ACCOUNTS => has_others || wanted.len() == 1,
        FLEET => has_fleet || wanted.len() == 1,
        _ => true,
    };
    let shown = NAMES.into_iter().filter(|name| wanted.contains(name)).filter(is_shown);
    let findings = shown.map(|name| {
        let outcome = found.remove(name).unwrap_or_else(unanswered);
        Finding::new(name, outcome)
    });
    Report { at, took_ms, findings: findings.collect() }
}

fn tasks(patient: Patient, wanted: &[&'static str], now: Timestamp) -> JoinSet<Found> {
    let mut tasks = JoinSet::new();
    let is_wanted = |name: &str| wanted.contains(&name);
    let configuration = order::configuration(&patient.settings);
    tasks.spawn(async move { vec![("configuration", configuration)] });
    let daemon = patient.daemon.clone();
    tasks.spawn(async move { told::of_daemon(&daemon) });
    for (name, check) in local::OF_MACHINE.into_iter().filter(|(name, _)| is_wanted(name)) {
        let machine = Arc::clone(&patient.machine);
        tasks.spawn_blocking(move || vec![(name, check(&machine))]);
    }
    let (machine, wall) = (Arc::clone(&patient.machine), now);
    let has_daemon = patient.daemon.status().is_some();
    if is_wanted("clock") {
        let machine = Arc::clone(&machine);
        tasks.spawn(async move { vec![("clock", supervisor::clock(&machine, wall).await)] });
    }
    if is_wanted("unit") {
        tasks.spawn(async move { vec![("unit", supervisor::unit(&machine, has_daemon).await)] });
    }
    let Ok(settings) = patient.settings else {
        let words = "the configuration cannot be used; see configuration";
        let others = NAMES.into_iter().filter(|name| order::needs_settings(name));
        let skipped: Found = others.map(|name| (name, Outcome::skipped(words))).collect();
        tasks.spawn(async move { skipped });
        return tasks;
    };
    let Patient { daemon, machine, clock, .. } = patient;
    let scene = Arc::new(Scene { settings, daemon, machine, clock, now });
    for (name, check) in local::OF_SCENE.into_iter().filter(|(name, _)| is_wanted(name)) {
        let scene = Arc::clone(&scene);
        tasks.spawn_blocking(move || vec![(name, check(&scene))]);
    }
    if is_wanted(FURTHER_ACCOUNTS) {
        let others = Arc::clone(&scene);
        tasks.spawn(async move { vec![(FURTHER_ACCOUNTS, chain::follow_others(&others).await)] });
    }
    if is_wanted(FLEET) {
        let looked = Arc::clone(&scene);
        tasks.spawn(async move {
            let (options, clock) = (looked.settings.fleet.as_ref(), looked.clock.as_ref());
            let has_queue = looked.settings.queue.database.is_some();
            vec![(FLEET, fleet::look(options, has_queue, clock).await)]
        });
    }
    if order::WAY.into_iter().any(is_wanted) {
        let (way, with_login) = (Arc::clone(&scene), is_wanted("login"));
        tasks.spawn(async move { chain::follow(&way, with_login).await });
    }
    tasks
}
