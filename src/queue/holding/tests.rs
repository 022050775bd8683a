//! Holds and their marks, over a new index and over a power that fails between the two.

use std::fs;

use rustix::io::Errno;

use super::*;
use crate::{
    clock::Clock as _,
    queue::{
        faults::Step,
        fixtures::{Scene, envelope},
        incoming::Restored,
        offline::restored::Stopped,
        state::RecipientState,
    },
};

async fn reason(scene: &Scene, id: QueueId) -> Option<String> {
    match scene.state(id).await {
        RecipientState::Held { reason, .. } => Some(reason),
        _ => None,
    }
}

#[tokio::test]
async fn what_a_person_holds_is_held_by_a_new_index_and_leaves_when_it_is_released() {
    let mut scene = Scene::new();
    let id = scene.accept().await;
    let only = Only::default();
    assert_eq!(scene.queue().keep(id, &only).await, Ok(1));
    for _ in 0..2 {
        scene.restart_without_index().await;
        assert_eq!(reason(&scene, id).await.as_deref(), Some(KEPT));
        assert_eq!(scene.queue().keep(id, &only).await, Ok(0), "it is held already");
        assert!(scene.claim().await.is_err());
    }
    assert_eq!(scene.queue().release(id, &only).await, Ok(1));
    assert!(!scene.spooled(id, "held").exists());
    scene.restart_without_index().await;
    assert!(scene.claim().await.is_ok());
}

#[tokio::test]
async fn a_retry_and_a_deletion_take_the_mark_along_and_a_verb_for_others_leaves_it() {
    let mut scene = Scene::new();
    let only = Only::default();
    let [retried, deleted, left] =
        [scene.accept().await, scene.accept().await, scene.accept().await];
    for id in [retried, deleted, left] {
        assert_eq!(scene.queue().keep(id, &only).await, Ok(1));
    }
    let dead = Only::with("dead");
    let verdict = scene.queue().retry_only(left, scene.clock.wall(), &dead).await;
    assert_eq!(verdict, Err(QueueError::OtherState(left)));
    assert_eq!(scene.queue().retry(retried, scene.clock.wall()).await, Ok(1));
    scene.queue().delete(deleted).await.unwrap();
    assert_eq!(scene.queue().keep(deleted, &only).await, Err(QueueError::NotFound(deleted)));
    let marks = [retried, deleted, left].map(|id| scene.spooled(id, "held"));
    scene.restart(|_| ()).await;
    assert_eq!(marks.map(|mark| mark.exists()), [false, false, true]);
}

#[tokio::test]
async fn a_message_that_an_import_holds_is_held_by_a_new_index() {
    let mut scene = Scene::new();
    let envelope = envelope(scene.clock.wall());
    let restored =
        Restored::from_a_mailbox(&envelope.forward_paths, Stopped::Held, scene.clock.wall());
    let mut draft = scene.queue().begin(envelope).unwrap();
    draft.restore(restored);
    draft.write(b"Subject: old\r\n\r\nmail\r\n").await.unwrap();
    let id = scene.queue().enqueue(draft).await.unwrap().id();
    let held = reason(&scene, id).await;
    scene.restart_without_index().await;
    assert_eq!(reason(&scene, id).await, held);
    assert!(held.is_some());
    assert_eq!(scene.queue().release(id, &Only::default()).await, Ok(0), "nobody held it by hand");
    assert!(scene.spooled(id, "held").exists());
}

#[tokio::test]
async fn a_power_that_fails_between_a_mark_and_a_record_leaves_what_was_answered() {
    let mut scene = Scene::new();
    let id = scene.accept().await;
    // Marked, and the record not written: the hold was not answered.
    scene.queue().shared.spool.mark(id, Mark::Held, KEPT).unwrap();
    scene.restart(|_| ()).await;
    assert!(!scene.spooled(id, "held").exists() && reason(&scene, id).await.is_none());
    // Held, and the mark gone: the release was not answered.
    assert_eq!(scene.queue().keep(id, &Only::default()).await, Ok(1));
    fs::remove_file(scene.spooled(id, "held")).unwrap();
    scene.restart(|_| ()).await;
    assert!(scene.spooled(id, "held").exists());
    scene.restart_without_index().await;
    assert_eq!(reason(&scene, id).await.as_deref(), Some(KEPT));
    // The octets of the mark did not reach the disk: it holds all the same.
    fs::write(scene.spooled(id, "held"), "").unwrap();
    scene.restart_without_index().await;
    assert!(reason(&scene, id).await.is_some());
    scene.expect_a_lone_mark_to_go(id, "held").await;
}

#[tokio::test]
async fn a_hold_whose_mark_cannot_be_made_durable_is_refused_and_nothing_is_held() {
    for step in [Step::Open, Step::Write, Step::Sync, Step::Rename, Step::SyncDirectory] {
        let mut scene = Scene::new();
        let id = scene.accept().await;
        scene.faults.fail_next(step, Errno::NOSPC);
        let refused = scene.queue().keep(id, &Only::default()).await;
        assert!(refused.is_err(), "{step:?}: {refused:?}");
        assert!(reason(&scene, id).await.is_none(), "{step:?}");
        scene.restart(|_| ()).await;
        assert!(!scene.spooled(id, "held").exists() && scene.claim().await.is_ok(), "{step:?}");
    }
}
