//! Days that the upstream calls full before our own count does: what it turned out to allow holds for the rest of them.

use pillarbox::{message::envelope::Lane, queue::state::AccountCondition, shutdown::Phase};

use super::scene::{BODY, HOUR, Scene};
use crate::support::captured::Captured;

/// Recipients that the upstream allows; we would send twice as many.
const ALLOWED: u32 = 5;

/// A relay that has found the day full after five of twelve messages of as many senders.
async fn found_full() -> Scene {
    let mut scene = Scene::with(|options| options.recipients_per_day = ALLOWED).await;
    scene.options.recipients_per_day = (2 * ALLOWED).into();
    scene.options.connections = 1;
    scene.start();
    for number in 0..12 {
        let (sender, to) = (format!("s{number}@host.example"), format!("ok{number}@example.net"));
        scene.submit_from(Lane::Normal, &sender, &[&to], BODY).await;
    }
    scene.until_account(AccountCondition::PausedQuota).await;
    scene
}

async fn hours_pass(scene: &Scene, hours: u32) {
    for _ in 0..hours {
        scene.advance(HOUR).await;
        scene.until_quiet().await;
    }
}

#[tokio::test]
async fn after_a_day_that_was_full_early_no_more_is_tried_than_it_allowed() {
    let captured = Captured::default();
    let _guards = captured.start();
    let mut scene = found_full().await;
    let refusals = |scene: &Scene| scene.sandbox.mailbox().counters().quota_refusals;
    hours_pass(&scene, 23).await;
    assert_eq!(scene.received().len(), 5);
    let refused = refusals(&scene);
    assert!((2..=8).contains(&refused), "one recipient asks when a pause ends: {refused}");
    hours_pass(&scene, 5).await;
    assert_eq!(
        (scene.received().len(), refusals(&scene)),
        (10, refused),
        "and waits without a refusal"
    );
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
    // Nothing of it is forgotten by a restart.
    scene.stop(Phase::Immediate).await;
    scene.restart_queue().await;
    scene.start_restored().await;
    hours_pass(&scene, 18).await;
    assert_eq!((scene.received().len(), refusals(&scene)), (10, refused));
    hours_pass(&scene, 24).await;
    assert_eq!(scene.received().len(), 12, "nothing is lost");
    let log = captured.text();
    assert!(log.contains("before our own count does") && log.contains("counted=5"), "{log}");
    assert!(!log.contains(" dead"), "{log}");
}
