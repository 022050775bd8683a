//! Kept bodies: no crash makes a waiting message of one, and they go before mail is refused.

use std::{fs, path::PathBuf, sync::Arc};

use rustix::io::Errno;

use super::*;
use crate::{
    clock::{Clock as _, ManualClock},
    queue::{
        Claim, ClaimLimits, Faults, Outcome, Settlement, faults::Step, fixtures::accept,
        options::Options,
    },
};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const LIMITS: ClaimLimits = ClaimLimits {
    limit: crate::budget::Limit::of(10),
    notice_reserve: 0,
    urgent_reserve: 0,
    recipients_max: 10,
};

/// A queue on disk that keeps what was relayed for a day.
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

    fn options(&self) -> Options {
        let mut options = Options::new(self.directory.path().into());
        (options.min_free_bytes, options.keep_relayed) = (0, Some(DAY));
        options
    }

    fn open(&mut self) {
        let clock = Arc::new(self.clock.clone());
        self.queue = Some(Queue::open_on(self.options(), clock, self.faults.clone()).unwrap());
    }

    fn queue(&self) -> &Queue {
        self.queue.as_ref().unwrap()
    }

    /// Ends the thread that removes files as well; `meanwhile` is what the power failure leaves.
    async fn restart(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.queue().close().await;
        meanwhile(self);
        self.queue = None;
        self.open();
    }

    /// A message that was relayed, with its file retired.
    async fn relayed(&mut self) -> QueueId {
        let id = accept(self.queue(), self.clock.wall()).await;
        let claim = self.queue().claim_due(self.clock.now(), LIMITS).await.unwrap();
        let Claim::Message(claimed) = claim else { panic!("{claim:?}") };
        let outcomes = vec![(0, Outcome::Relayed { reply: "250 OK".into() })];
        let at = self.clock.wall();
        let settlement = Settlement { reservation: claimed.reservation, at, outcomes };
        self.queue().settle(id, settlement).await.unwrap();
        self.restart(|_| ()).await;
        id
    }

    fn spooled(&self, id: QueueId) -> PathBuf {
        self.queue().shared.spool.path(id)
    }

    fn kept(&self, id: QueueId) -> PathBuf {
        self.queue().shared.spool.kept.path(id)
    }

    async fn waits(&self) -> bool {
        let claim = self.queue().claim_due(self.clock.now(), LIMITS).await.unwrap();
        matches!(claim, Claim::Message(_)) || self.queue().newest().await.unwrap().is_some()
    }
}

#[tokio::test]
async fn a_kept_body_is_read_for_as_long_as_it_is_wanted_and_waits_for_nobody() {
    let mut scene = Scene::new();
    let id = scene.relayed().await;
    let reader = scene.queue().read_message(id).await.unwrap();
    assert!(reader.size_bytes() > 0 && !scene.spooled(id).exists());
    let given = scene.queue().open_message(id).await;
    assert!(given.is_err(), "a worker gets nothing of it");
    assert!(!scene.waits().await);
    assert_eq!(scene.queue().prune_kept(Some(DAY)).await, Ok(0));
    // The clock of this boot is not believed at once.
    scene.clock.advance(DAY * 2);
    assert_eq!(scene.queue().prune_kept(Some(DAY)).await, Ok(1));
    assert!(matches!(scene.queue().read_message(id).await, Err(QueueError::NotFound(_))));
    let other = scene.relayed().await;
    assert_eq!(scene.queue().prune_kept(None).await, Ok(1), "nothing is kept any more");
    assert!(!scene.kept(other).exists());
}

#[tokio::test]
async fn a_power_that_fails_at_any_step_of_keeping_makes_no_relayed_message_wait() {
    let mut scene = Scene::new();
    let id = scene.relayed().await;
    let (spooled, kept) = (scene.spooled(id), scene.kept(id));
    // Settled, and the rename has not reached the disk.
    scene.restart(|_| fs::rename(&kept, &spooled).unwrap()).await;
    assert!(kept.exists() && !spooled.exists() && !scene.waits().await);
    // It has reached one directory only.
    scene.restart(|_| fs::hard_link(&kept, &spooled).unwrap()).await;
    assert!(kept.exists() && !spooled.exists() && !scene.waits().await);
    // The index is lost with all that it knew.
    let index = scene.directory.path().join("queue.sled");
    scene.restart(|_| fs::remove_dir_all(&index).unwrap()).await;
    assert!(kept.exists() && !scene.waits().await);
    assert_eq!(scene.queue().prune_kept(Some(DAY)).await, Ok(1), "nobody knows what it is");
    // A body that is cut off is no message for anybody.
    let id = scene.relayed().await;
    fs::write(scene.kept(id), "PBXM").unwrap();
    scene.restart(|_| ()).await;
    assert!(!scene.waits().await);
    assert!(matches!(scene.queue().read_message(id).await, Err(QueueError::Corrupt { .. })));
}

#[tokio::test]
async fn a_body_that_cannot_be_kept_is_removed_and_a_deleted_message_is_never_kept() {
    let mut scene = Scene::new();
    let deleted = accept(scene.queue(), scene.clock.wall()).await;
    scene.queue().delete(deleted).await.unwrap();
    scene.restart(|_| ()).await;
    assert!(!scene.kept(deleted).exists() && !scene.spooled(deleted).exists());
    let id = accept(scene.queue(), scene.clock.wall()).await;
    scene.faults.fail_next(Step::Rename, Errno::NOSPC);
    let (spooled, kept) = (scene.spooled(id), scene.kept(id));
    scene.queue().shared.spool.retire(id, super::super::spool::Retirement::Kept).unwrap();
    assert!(!spooled.exists() && !kept.exists());
}

#[tokio::test]
async fn kept_bodies_go_before_mail_is_refused_for_a_full_disk() {
    let mut scene = Scene::new();
    let id = scene.relayed().await;
    let full = Options { min_free_bytes: u64::MAX / 2, ..scene.options() };
    scene.queue().set_room(&full);
    assert!(matches!(scene.queue().admission(1), Err(QueueError::Full(_))));
    assert!(!scene.kept(id).exists(), "its room was taken first");
}
