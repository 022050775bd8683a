//! Holds and their marks, over a new index and over a power that fails between the two.

use std::{fs, path::PathBuf, sync::Arc};

use rustix::io::Errno;

use super::*;
use crate::{
    clock::{Clock as _, ManualClock},
    queue::{
        Claim, ClaimLimits, Faults, fixtures::accept, fixtures::envelope, id::QueueId,
        options::Options, restored::Restored, restored::Stopped, state::RecipientState,
    },
};

const LIMITS: ClaimLimits = ClaimLimits {
    limit: crate::budget::Limit::of(10),
    notice_reserve: 0,
    urgent_reserve: 0,
    recipients_max: 10,
};

/// A queue on disk that is stopped, robbed of its index, and started.
struct Scene {
    directory: tempfile::TempDir,
    clock: ManualClock,
    faults: Faults,
    queue: Option<Queue>,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let mut scene = Self { directory, clock, faults: Faults::random(0, 0), queue: None };
        scene.open();
        scene
    }

    fn open(&mut self) {
        let mut options = Options::new(self.directory.path().into());
        options.min_free_bytes = 0;
        let clock = Arc::new(self.clock.clone());
        self.queue = Some(Queue::open_on(options, clock, self.faults.clone()).unwrap());
    }

    fn queue(&self) -> &Queue {
        self.queue.as_ref().unwrap()
    }

    async fn restart(&mut self) {
        self.queue().close().await;
        self.queue = None;
        self.open();
    }

    async fn restart_without_index(&mut self) {
        self.queue().close().await;
        self.queue = None;
        fs::remove_dir_all(self.directory.path().join("queue.sled")).unwrap();
        self.open();
    }

    fn mark(&self, id: QueueId) -> PathBuf {
        self.queue().shared.spool.path(id).with_extension("held")
    }

    async fn reason(&self, id: QueueId) -> Option<String> {
        let message = self.queue().show(id).await.unwrap().unwrap();
        match &message.recipients()[0].state {
            RecipientState::Held { reason, .. } => Some(reason.clone()),
            _ => None,
        }
    }

    async fn is_claimable(&self) -> bool {
        let claim = self.queue().claim_due(self.clock.now(), LIMITS).await.unwrap();
        matches!(claim, Claim::Message(_))
    }
}

#[tokio::test]
async fn what_a_person_holds_is_held_by_a_new_index_and_leaves_when_it_is_released() {
    let mut scene = Scene::new();
    let id = accept(scene.queue(), scene.clock.wall()).await;
    let only = Only::default();
    assert_eq!(scene.queue().keep(id, &only).await, Ok(1));
    for _ in 0..2 {
        scene.restart_without_index().await;
        assert_eq!(scene.reason(id).await.as_deref(), Some(KEPT));
        assert_eq!(scene.queue().keep(id, &only).await, Ok(0), "it is held already");
        assert!(!scene.is_claimable().await);
    }
    assert_eq!(scene.queue().release(id, &only).await, Ok(1));
    assert!(!scene.mark(id).exists());
    scene.restart_without_index().await;
    assert!(scene.is_claimable().await);
}

#[tokio::test]
async fn a_retry_and_a_deletion_take_the_mark_along_and_a_verb_for_others_leaves_it() {
    let mut scene = Scene::new();
    let only = Only::default();
    let [retried, deleted, left] = [
        accept(scene.queue(), scene.clock.wall()).await,
        accept(scene.queue(), scene.clock.wall()).await,
        accept(scene.queue(), scene.clock.wall()).await,
    ];
    for id in [retried, deleted, left] {
        assert_eq!(scene.queue().keep(id, &only).await, Ok(1));
    }
    let dead = Only::with("dead");
    let verdict = scene.queue().retry_only(left, scene.clock.wall(), &dead).await;
    assert_eq!(verdict, Err(QueueError::OtherState(left)));
    assert_eq!(scene.queue().retry(retried, scene.clock.wall()).await, Ok(1));
    scene.queue().delete(deleted).await.unwrap();
    assert_eq!(scene.queue().keep(deleted, &only).await, Err(QueueError::NotFound(deleted)));
    let marks = [retried, deleted, left].map(|id| scene.mark(id));
    scene.restart().await;
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
    let reason = scene.reason(id).await;
    scene.restart_without_index().await;
    assert_eq!(scene.reason(id).await, reason);
    assert!(reason.is_some());
    assert_eq!(scene.queue().release(id, &Only::default()).await, Ok(0), "nobody held it by hand");
    assert!(scene.mark(id).exists());
}

#[tokio::test]
async fn a_power_that_fails_between_a_mark_and_a_record_leaves_what_was_answered() {
    let mut scene = Scene::new();
    let id = accept(scene.queue(), scene.clock.wall()).await;
    // Marked, and the record not written: the hold was not answered.
    scene.queue().shared.spool.mark_held(id, KEPT).unwrap();
    scene.restart().await;
    assert!(!scene.mark(id).exists() && scene.reason(id).await.is_none());
    // Held, and the mark gone: the release was not answered.
    assert_eq!(scene.queue().keep(id, &Only::default()).await, Ok(1));
    fs::remove_file(scene.mark(id)).unwrap();
    scene.restart().await;
    assert!(scene.mark(id).exists());
    scene.restart_without_index().await;
    assert_eq!(scene.reason(id).await.as_deref(), Some(KEPT));
    // The octets of the mark did not reach the disk: it holds all the same.
    fs::write(scene.mark(id), "").unwrap();
    scene.restart_without_index().await;
    assert!(scene.reason(id).await.is_some());
    // The message is gone, and its mark is not.
    scene.queue().close().await;
    fs::remove_file(scene.queue().shared.spool.path(id)).unwrap();
    let mark = scene.mark(id);
    fs::remove_dir_all(scene.directory.path().join("queue.sled")).unwrap();
    scene.queue = None;
    scene.open();
    assert!(!mark.exists());
}

#[tokio::test]
async fn a_hold_whose_mark_cannot_be_made_durable_is_refused_and_nothing_is_held() {
    use crate::queue::faults::Step;
    for step in [Step::Open, Step::Write, Step::Sync, Step::SyncDirectory] {
        let mut scene = Scene::new();
        let id = accept(scene.queue(), scene.clock.wall()).await;
        scene.faults.fail_next(step, Errno::NOSPC);
        let refused = scene.queue().keep(id, &Only::default()).await;
        assert!(refused.is_err(), "{step:?}: {refused:?}");
        assert!(scene.reason(id).await.is_none(), "{step:?}");
        scene.restart().await;
        assert!(!scene.mark(id).exists() && scene.is_claimable().await, "{step:?}");
    }
}
