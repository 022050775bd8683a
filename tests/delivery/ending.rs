//! Stops in the middle, and a queue that fails in the middle.

use std::{
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    time::Duration,
};

use pillarbox::{
    clock::Clock,
    delivery::{DepartureReason, Stage as DeliveryStage},
    queue::{Step, state::RecipientState},
    sandbox::{Failure, Stage},
    shutdown::Phase,
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
};

use super::scene::{MINUTE, START, Scene, eventually};

#[tokio::test]
async fn draining_finishes_what_is_in_flight_and_claims_nothing_more() {
    let mut scene = Scene::running(|options| options.connections = 1).await;
    scene.sandbox.fail_next(Stage::Dot, Failure::Delay(5 * MINUTE));
    let first = scene.submit(&["ok@example.net"]).await;
    let second = scene.submit(&["ok2@example.net"]).await;
    eventually(
        "the final dot",
        async || {
            scene.handle().status().in_flight.iter().any(|one| one.stage == DeliveryStage::FinalDot)
        },
        async || format!("{:?}", scene.handle().status()),
    )
    .await;
    let dots = || scene.sandbox.mailbox().counters().reached(Stage::Dot);
    eventually("the sandbox has it", async || dots() == 1, async || dots().to_string()).await;
    scene.running.as_ref().unwrap().shutdown.advance(Phase::Draining);
    scene.clock.advance(5 * MINUTE);
    scene.stop(Phase::Draining).await;
    assert_eq!(scene.names(first).await, ["relayed"]);
    assert_eq!(scene.names(second).await, ["queued"]);
    assert_eq!(scene.received().len(), 1);
}

#[tokio::test]
async fn an_immediate_stop_with_the_final_dot_out_leaves_the_recipient_uncertain() {
    let mut scene = Scene::running(|_| {}).await;
    scene.sandbox.fail_next(Stage::Dot, Failure::Hang);
    let id = scene.submit(&["ok@example.net"]).await;
    eventually(
        "the final dot",
        async || {
            scene.handle().status().in_flight.iter().any(|one| one.stage == DeliveryStage::FinalDot)
        },
        async || format!("{:?}", scene.handle().status()),
    )
    .await;
    scene.stop(Phase::Immediate).await;
    scene.restart_queue().await;
    assert_eq!(scene.names(id).await, ["uncertain"]);
}

/// Panics where the worker says this for the first time.
struct PanicsAt {
    word: &'static str,
    left: AtomicU32,
}

impl<S: Subscriber> Layer<S> for PanicsAt {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let is_first =
            || self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        assert!(message.0 != self.word || !is_first(), "an injected panic");
    }
}

/// The worker runs on the thread of its test.
fn panic_once_at(word: &'static str) -> DefaultGuard {
    let layer = PanicsAt { word, left: AtomicU32::new(1) };
    tracing::subscriber::set_default(tracing_subscriber::registry().with(layer))
}

#[tokio::test]
async fn a_worker_that_panics_leaves_its_message_to_the_others() {
    let mut scene = Scene::new().await;
    scene.options.connections = 1;
    let _panics = panic_once_at("claimed");
    scene.start();
    let id = scene.submit(&["ok@example.net"]).await;
    scene.until_names(id, &["queued"]).await;
    let due = async || match scene.state(id).await.0 {
        RecipientState::Queued { due, .. } => due.since(START),
        _ => Duration::ZERO,
    };
    eventually(
        "put back",
        async || due().await == MINUTE,
        async || format!("{:?}", scene.states(id).await),
    )
    .await;
    assert_eq!(scene.store.retry(id, scene.clock.wall()).await, Ok(1), "nobody claims it any more");
    eventually(
        "relayed",
        async || {
            scene.clock.advance(Duration::from_secs(1));
            scene.names(id).await == ["relayed"]
        },
        async || format!("{:?} {:?}", scene.states(id).await, scene.handle().status()),
    )
    .await;
    assert_eq!(scene.received().len(), 1);
    assert_eq!(scene.state(id).await.1, 0, "no attempt is charged");
    assert!(scene.handle().status().in_flight.is_empty());
}

#[tokio::test]
async fn what_a_worker_had_decided_before_it_panicked_holds() {
    let mut scene = Scene::new().await;
    let _panics = panic_once_at("relayed");
    scene.start();
    let id = scene.submit(&["ok@example.net"]).await;
    scene.until_names(id, &["relayed"]).await;
    scene.until_quiet().await;
    assert_eq!(scene.received().len(), 1);
}

#[tokio::test]
async fn a_failing_queue_delays_messages_but_none_leaves_unnoted_and_none_leaves_twice() {
    for (step, times) in [(Step::NoteDot, 2), (Step::IndexWrite, 1), (Step::IndexWrite, 3)] {
        for at in [Stage::Mail, Stage::Dot] {
            let mut scene = Scene::new().await;
            scene.start();
            scene.sandbox.fail_next(at, Failure::Delay(MINUTE));
            let id = scene.submit(&["ok@example.net"]).await;
            let reached = || scene.sandbox.mailbox().counters().reached(at);
            eventually("under way", async || reached() == 1, async || reached().to_string()).await;
            // At the first stage the final dot comes after it, at the second the settlement.
            scene.store.faults().fail(step, times);
            scene.clock.advance(MINUTE);
            eventually(
                "relayed",
                async || {
                    scene.clock.advance(Duration::from_secs(1));
                    let found = scene.store.show(id).await;
                    let names =
                        found.map(|found| found.map(|one| one.recipients()[0].state.name()));
                    names == Ok(Some("relayed"))
                },
                async || format!("{:?}", scene.handle().status()),
            )
            .await;
            assert_eq!(scene.received().len(), 1, "{step:?} {times} {at:?}");
            assert_eq!(scene.state(id).await.1, 0, "no attempt is charged");
        }
    }
}

#[tokio::test]
async fn a_queue_that_fails_while_a_message_is_claimed_delays_it_and_nothing_else() {
    let mut scene = Scene::new().await;
    let id = scene.submit(&["ok@example.net"]).await;
    assert_eq!(scene.names(id).await, ["queued"]);
    scene.store.faults().fail(Step::IndexWrite, 3);
    scene.start();
    eventually(
        "relayed",
        async || {
            scene.clock.advance(Duration::from_secs(1));
            scene.received().len() == 1
        },
        async || format!("{:?}", scene.handle().status()),
    )
    .await;
    scene.until_names(id, &["relayed"]).await;
    assert_eq!(scene.received().len(), 1);
    assert_eq!(scene.state(id).await.1, 0, "no attempt is charged");
}

/// Lets time pass while mail waits for the queue, and at no other moment, until it is so.
async fn until_the_queue_goes_on(scene: &Scene, mut is_so: impl AsyncFnMut() -> bool) {
    eventually(
        "going on",
        async || {
            let next = scene.handle().status().next;
            if next.is_some_and(|next| next.why == DepartureReason::Store) {
                scene.clock.advance(Duration::from_millis(500));
            }
            is_so().await
        },
        async || format!("{:?}", scene.handle().status()),
    )
    .await;
}

#[tokio::test]
async fn a_message_whose_queue_fails_for_a_moment_in_its_attempt_is_as_if_it_had_not_been_begun() {
    for (step, times) in [(Step::Open, 1), (Step::Open, 4), (Step::NoteDot, 1), (Step::NoteDot, 4)]
    {
        let mut scene = Scene::new().await;
        scene.options.connections = 1;
        let first = scene.submit(&["ok@example.net"]).await;
        let second = scene.submit(&["ok2@example.net"]).await;
        assert_eq!(scene.names(second).await, ["queued"]);
        scene.store.faults().fail(step, times);
        scene.start();
        until_the_queue_goes_on(&scene, async || scene.received().len() == 2).await;
        let order = scene.received().iter().map(|one| one.rcpt_to[0].clone()).collect::<Vec<_>>();
        assert_eq!(order, ["ok@example.net", "ok2@example.net"], "{step:?} {times}: its place");
        let waited = scene.clock.wall().since(START);
        assert!(waited <= Duration::from_secs(20), "{step:?} {times}: {waited:?}");
        scene.until_names(first, &["relayed"]).await;
        assert_eq!(scene.state(first).await.1, 0, "no attempt is charged");
    }
}

#[tokio::test]
async fn a_message_that_its_queue_can_never_give_keeps_the_others_for_some_seconds_alone() {
    let mut scene = Scene::new().await;
    scene.options.connections = 1;
    let bad = scene.submit(&["ok@example.net"]).await;
    let good = scene.submit(&["ok2@example.net"]).await;
    assert_eq!(scene.names(good).await, ["queued"]);
    scene.store.faults().fail(Step::Open, 5);
    scene.start();
    until_the_queue_goes_on(&scene, async || scene.received().len() == 1).await;
    scene.until_names(good, &["relayed"]).await;
    let now = scene.clock.wall();
    assert!(now.since(START) < MINUTE, "{:?}", now.since(START));
    let RecipientState::Queued { due, .. } = scene.state(bad).await.0 else { panic!("it waits") };
    assert!(due > now, "others go first");
    scene.clock.advance(MINUTE);
    until_the_queue_goes_on(&scene, async || scene.received().len() == 2).await;
}
