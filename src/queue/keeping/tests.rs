//! Kept bodies: no crash makes a waiting message of one, and they go before mail is refused.

use std::{fs, path::PathBuf};

use rustix::io::Errno;

use super::*;
use crate::{
    clock::Clock as _,
    queue::{Outcome, Settlement, faults::Step, fixtures::Scene, options::Options},
};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A queue that keeps what was relayed for a day.
fn keeping() -> Scene {
    Scene::with(|options| options.keep_relayed = Some(DAY))
}

/// A message that was relayed, with its file retired.
async fn relayed(scene: &mut Scene) -> QueueId {
    let id = scene.accept().await;
    let claimed = scene.claim().await.unwrap();
    let outcomes = vec![(0, Outcome::Relayed { reply: "250 OK".into() })];
    let at = scene.clock.wall();
    let settlement = Settlement { reservation: claimed.reservation, at, outcomes };
    scene.queue().settle(id, settlement).await.unwrap();
    scene.restart(|_| ()).await;
    id
}

fn body(scene: &Scene, id: QueueId) -> PathBuf {
    scene.queue().shared.spool.kept.path(id)
}

async fn waits(scene: &Scene) -> bool {
    scene.claim().await.is_ok() || scene.queue().newest().await.unwrap().is_some()
}

#[tokio::test]
async fn a_kept_body_is_read_for_as_long_as_it_is_wanted_and_waits_for_nobody() {
    let mut scene = keeping();
    let id = relayed(&mut scene).await;
    let reader = scene.queue().read_message(id).await.unwrap();
    assert!(reader.size_bytes() > 0 && !scene.spooled(id, "").exists());
    let given = scene.queue().open_message(id).await;
    assert!(given.is_err(), "a worker gets nothing of it");
    assert!(!waits(&scene).await);
    assert_eq!(scene.queue().prune_kept(Some(DAY)).await, Ok(0));
    // The clock of this boot is not believed at once.
    scene.clock.advance(DAY * 2);
    assert_eq!(scene.queue().prune_kept(Some(DAY)).await, Ok(1));
    assert!(matches!(scene.queue().read_message(id).await, Err(QueueError::NotFound(_))));
    let other = relayed(&mut scene).await;
    assert_eq!(scene.queue().prune_kept(None).await, Ok(1), "nothing is kept any more");
    assert!(!body(&scene, other).exists());
}

#[tokio::test]
async fn a_power_that_fails_at_any_step_of_keeping_makes_no_relayed_message_wait() {
    let mut scene = keeping();
    let id = relayed(&mut scene).await;
    let (spooled, kept) = (scene.spooled(id, ""), body(&scene, id));
    // Settled, and the rename has not reached the disk.
    scene.restart(|_| fs::rename(&kept, &spooled).unwrap()).await;
    assert!(kept.exists() && !spooled.exists() && !waits(&scene).await);
    // It has reached one directory only.
    scene.restart(|_| fs::hard_link(&kept, &spooled).unwrap()).await;
    assert!(kept.exists() && !spooled.exists() && !waits(&scene).await);
    // The index is lost with all that it knew.
    scene.restart_without_index().await;
    assert!(kept.exists() && !waits(&scene).await);
    assert_eq!(scene.queue().prune_kept(Some(DAY)).await, Ok(1), "nobody knows what it is");
    // A body that is cut off is no message for anybody.
    let id = relayed(&mut scene).await;
    fs::write(body(&scene, id), "PBXM").unwrap();
    scene.restart(|_| ()).await;
    assert!(!waits(&scene).await);
    assert!(matches!(scene.queue().read_message(id).await, Err(QueueError::Corrupt { .. })));
}

#[tokio::test]
async fn a_body_that_cannot_be_kept_is_removed_and_a_deleted_message_is_never_kept() {
    let mut scene = keeping();
    let deleted = scene.accept().await;
    scene.queue().delete(deleted).await.unwrap();
    scene.restart(|_| ()).await;
    assert!(!body(&scene, deleted).exists() && !scene.spooled(deleted, "").exists());
    let id = scene.accept().await;
    scene.faults.fail_next(Step::Rename, Errno::NOSPC);
    let (spooled, kept) = (scene.spooled(id, ""), body(&scene, id));
    scene.queue().shared.spool.retire(id, super::super::spool::Retirement::Kept).unwrap();
    assert!(!spooled.exists() && !kept.exists());
}

#[tokio::test]
async fn kept_bodies_go_before_mail_is_refused_for_a_full_disk() {
    let mut scene = keeping();
    let id = relayed(&mut scene).await;
    let full = Options { min_free_bytes: u64::MAX / 2, ..scene.options.clone() };
    scene.queue().set_room(&full);
    assert!(matches!(scene.queue().admission(1), Err(QueueError::Full(_))));
    assert!(!body(&scene, id).exists(), "its room was taken first");
}
