//! Schedules and their marks: over restarts, new indexes, steps of the clock, holds, and a power that fails in between.

use std::{fs, time::Duration};

use rustix::io::Errno;

use super::*;
use crate::{
    clock::{Clock as _, EARLIEST},
    queue::{
        Claim, Outcome, Settlement,
        faults::Step,
        fixtures::{LIMITS, Scene, accept, envelope},
        incoming::Restored,
        offline::restored::{InFlight, Stopped},
        state::RecipientState,
    },
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const ANY: fn() -> Only = Only::default;

/// For when it is scheduled, and whether it is held.
async fn orders(scene: &Scene, id: QueueId) -> (Option<Timestamp>, bool) {
    let message = scene.queue().show(id).await.unwrap().unwrap();
    let is_held = message.recipients()[0].state.name() == "held";
    (message.record.schedule.map(|schedule| schedule.at), is_held)
}

#[tokio::test]
async fn what_is_scheduled_leaves_at_its_time_and_not_before_also_after_a_restart_and_by_a_new_index()
 {
    let mut scene = Scene::new();
    let id = scene.accept().await;
    let at = scene.clock.wall().after(DAY * 3);
    assert_eq!(scene.queue().schedule(id, at, &ANY()).await, Ok(1));
    let other = scene.accept().await;
    assert_eq!(scene.claim().await.map(|claimed| claimed.id), Ok(other), "it is in nobody's way");
    scene.queue().delete(other).await.unwrap_err();
    scene.restart(|_| ()).await;
    scene.restart_without_index().await;
    scene.queue().delete(other).await.unwrap();
    assert_eq!(scene.claim().await.unwrap_err(), Some(at));
    scene.clock.advance(DAY * 3 - HOUR);
    scene.restart(|_| ()).await;
    assert_eq!(scene.claim().await.unwrap_err(), Some(at));
    scene.clock.advance(HOUR);
    let claimed = scene.claim().await.unwrap();
    assert_eq!((claimed.id, claimed.lifetime_from), (id, at), "no hour before counts");
}

#[tokio::test]
async fn over_each_index_a_schedule_is_in_the_order_of_departure_and_a_deferral_behind_it_waits_as_any()
 {
    let on_disk = Scene::new();
    let in_memory = Queue::in_memory(std::sync::Arc::new(on_disk.clock.clone()), 1 << 20);
    for queue in [on_disk.queue(), &in_memory] {
        let now = on_disk.clock.wall();
        let [first, second] = [accept(queue, now).await, accept(queue, now).await];
        for (id, days) in [(first, 2), (second, 1)] {
            assert_eq!(queue.schedule(id, now.after(DAY * days), &ANY()).await, Ok(1));
        }
        for id in [second, first] {
            let idle = queue.claim_due(on_disk.clock.now(), LIMITS).await.unwrap();
            assert!(matches!(idle, Claim::Idle { next: Some(_) }), "{idle:?}");
            on_disk.clock.advance(DAY);
            let claim = queue.claim_due(on_disk.clock.now(), LIMITS).await.unwrap();
            let Claim::Message(claimed) = claim else { panic!("{claim:?}") };
            assert_eq!(claimed.id, id);
            let (at, reply) = (on_disk.clock.wall(), "451 later".to_owned());
            let outcomes = vec![(0, Outcome::Deferred { until: at.after(HOUR), reply })];
            let settlement = Settlement { reservation: claimed.reservation, at, outcomes };
            queue.settle(id, settlement).await.unwrap();
            let idle = queue.claim_due(on_disk.clock.now(), LIMITS).await.unwrap();
            let Claim::Idle { next } = idle else { panic!("{idle:?}") };
            assert_eq!(next, Some(at.after(HOUR)));
            queue.delete(id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_retry_or_a_time_that_has_passed_ends_a_schedule_and_a_deletion_takes_its_mark_along() {
    let mut scene = Scene::new();
    let now = scene.clock.wall();
    for ending in ["retry", "past", "delete"] {
        let id = scene.accept().await;
        assert_eq!(scene.queue().schedule(id, now.after(DAY), &ANY()).await, Ok(1));
        assert!(scene.spooled(id, "scheduled").exists());
        match ending {
            "retry" => assert_eq!(scene.queue().retry(id, now).await, Ok(1)),
            "past" => assert_eq!(scene.queue().schedule(id, now, &ANY()).await, Ok(1)),
            _ => scene.queue().delete(id).await.unwrap(),
        }
        let is_left = ending != "delete";
        assert_eq!(scene.claim().await.is_ok(), is_left, "{ending}");
        scene.restart(|_| ()).await;
        assert!(!scene.spooled(id, "scheduled").exists(), "{ending}");
        if is_left {
            scene.queue().delete(id).await.unwrap();
        }
    }
    let gone = scene.accept().await;
    scene.queue().delete(gone).await.unwrap();
    let verdict = scene.queue().schedule(gone, now.after(DAY), &ANY()).await;
    assert_eq!(verdict, Err(QueueError::NotFound(gone)));
    scene.restart(|_| ()).await;
    assert!(!scene.spooled(gone, "scheduled").exists());
}

#[tokio::test]
async fn what_is_held_and_scheduled_leaves_when_it_is_released_and_its_time_has_come() {
    let mut scene = Scene::new();
    let at = scene.clock.wall().after(DAY);
    let [released, kept, retried] =
        [scene.accept().await, scene.accept().await, scene.accept().await];
    assert_eq!(scene.queue().schedule(released, at, &ANY()).await, Ok(1));
    for id in [released, kept, retried] {
        assert_eq!(scene.queue().keep(id, &ANY()).await, Ok(1));
    }
    for id in [kept, retried] {
        assert_eq!(scene.queue().schedule(id, at, &ANY()).await, Ok(1), "also what is held");
    }
    scene.restart_without_index().await;
    for id in [released, kept, retried] {
        assert_eq!(orders(&scene, id).await, (Some(at), true));
    }
    assert_eq!(scene.queue().release(released, &ANY()).await, Ok(1));
    assert_eq!(scene.queue().retry(retried, scene.clock.wall()).await, Ok(1));
    scene.restart_without_index().await;
    assert_eq!(orders(&scene, released).await, (Some(at), false));
    assert_eq!(scene.claim().await.map(|claimed| claimed.id), Ok(retried));
    assert_eq!(scene.claim().await.unwrap_err(), Some(at));
    scene.clock.advance(DAY);
    assert_eq!(scene.claim().await.map(|claimed| claimed.id), Ok(released));
    assert_eq!(scene.claim().await.unwrap_err(), None, "a hold has no end");
    assert_eq!(scene.queue().release(kept, &ANY()).await, Ok(1));
    assert_eq!(scene.claim().await.map(|claimed| claimed.id), Ok(kept));
}

#[tokio::test]
async fn a_message_of_which_nothing_waits_and_one_of_another_kind_keep_what_they_had() {
    let mut scene = Scene::new();
    let at = scene.clock.wall().after(DAY);
    let [dead, other] = [scene.accept().await, scene.accept().await];
    assert_eq!(scene.queue().schedule(other, at, &ANY()).await, Ok(1));
    let claimed = scene.claim().await.unwrap();
    assert_eq!(claimed.id, dead);
    let under_way = scene.queue().schedule(dead, at, &ANY()).await;
    assert_eq!(under_way, Err(QueueError::Conflict(dead)));
    let outcomes = vec![(0, Outcome::Dead { reply: "550 no".into() })];
    let settlement =
        Settlement { reservation: claimed.reservation, at: scene.clock.wall(), outcomes };
    scene.queue().settle(dead, settlement).await.unwrap();
    assert_eq!(scene.queue().schedule(dead, at, &ANY()).await, Ok(0));
    let of_others = scene.queue().schedule(other, at.after(DAY), &Only::with("dead")).await;
    assert_eq!(of_others, Err(QueueError::OtherState(other)));
    let only = Only::with("scheduled");
    assert_eq!(scene.queue().schedule(other, at.after(HOUR), &only).await, Ok(1));
    scene.restart_without_index().await;
    assert_eq!(orders(&scene, dead).await.0, None);
    assert_eq!(orders(&scene, other).await.0, Some(at.after(HOUR)));
}

#[tokio::test]
async fn no_step_of_the_clock_and_no_boot_with_a_wrong_one_moves_what_a_person_has_set() {
    let mut scene = Scene::new();
    let (begin, id) = (scene.clock.wall(), scene.accept().await);
    let at = begin.after(DAY * 2);
    assert_eq!(scene.queue().schedule(id, at, &ANY()).await, Ok(1));
    for wall in [begin.after(HOUR * 5), begin.before(HOUR * 2), Timestamp(0), EARLIEST] {
        scene.clock.set_wall(wall);
        assert_eq!(scene.claim().await.unwrap_err(), Some(at), "{wall}");
        scene.clock.reboot();
        scene.restart(|_| ()).await;
        assert_eq!(scene.claim().await.unwrap_err(), Some(at), "{wall}");
    }
    scene.clock.set_wall(at);
    assert_eq!(scene.claim().await.map(|claimed| claimed.id), Ok(id));
}

#[tokio::test]
async fn a_power_that_fails_between_a_schedule_and_its_mark_leaves_what_was_answered() {
    let mut scene = Scene::new();
    let (now, id) = (scene.clock.wall(), scene.accept().await);
    let (at, other) = (now.after(DAY), (now.0 + 7).to_string());
    // Marked, and the record not written: the schedule was not answered.
    scene.queue().shared.spool.mark(id, Mark::Scheduled, &other).unwrap();
    scene.restart(|_| ()).await;
    assert!(!scene.spooled(id, "scheduled").exists());
    assert_eq!(orders(&scene, id).await.0, None);
    // The same of a second time.
    assert_eq!(scene.queue().schedule(id, at, &ANY()).await, Ok(1));
    scene.queue().shared.spool.mark(id, Mark::Scheduled, &other).unwrap();
    scene.restart(|_| ()).await;
    scene.restart_without_index().await;
    assert_eq!(orders(&scene, id).await, (Some(at), false));
    // Scheduled, and the mark gone: the retry was not answered.
    fs::remove_file(scene.spooled(id, "scheduled")).unwrap();
    scene.restart(|_| ()).await;
    scene.restart_without_index().await;
    assert_eq!(orders(&scene, id).await, (Some(at), false));
    // A mark that was being replaced leaves nothing of the new one behind.
    let part = scene.spooled(id, "scheduled.part");
    fs::write(&part, "1").unwrap();
    scene.restart_without_index().await;
    assert_eq!((orders(&scene, id).await.0, part.exists()), (Some(at), false));
    // What cannot be read any more does not leave by itself, and says so.
    for damaged in ["", "tomorrow", "99999999999999999999"] {
        let mark = scene.spooled(id, "scheduled");
        scene.restart(|_| fs::write(&mark, damaged).unwrap()).await;
        scene
            .restart(|scene| {
                fs::write(&mark, damaged).unwrap();
                scene.lose_index();
            })
            .await;
        let RecipientState::Held { reason, .. } = scene.state(id).await else { panic!() };
        assert!(reason.starts_with("scheduled for a time that was lost"), "{reason}");
        assert_eq!(scene.queue().retry(id, now).await, Ok(1));
        assert_eq!(scene.queue().schedule(id, at, &ANY()).await, Ok(1));
    }
    scene.expect_a_lone_mark_to_go(id, "scheduled").await;
}

#[tokio::test]
async fn a_schedule_whose_mark_cannot_be_made_durable_is_refused_and_the_one_before_stays() {
    for step in [Step::Open, Step::Write, Step::Sync, Step::Rename, Step::SyncDirectory] {
        let mut scene = Scene::new();
        let (now, id) = (scene.clock.wall(), scene.accept().await);
        assert_eq!(scene.queue().schedule(id, now.after(DAY), &ANY()).await, Ok(1));
        scene.faults.fail_next(step, Errno::NOSPC);
        let refused = scene.queue().schedule(id, now.after(HOUR), &ANY()).await;
        assert!(refused.is_err(), "{step:?}: {refused:?}");
        assert_eq!(orders(&scene, id).await.0, Some(now.after(DAY)), "{step:?}");
        scene.restart(|_| ()).await;
        scene.restart_without_index().await;
        assert_eq!(orders(&scene, id).await.0, Some(now.after(DAY)), "{step:?}");
    }
}

#[tokio::test]
async fn a_message_comes_into_another_queue_with_the_time_for_which_it_is_scheduled() {
    let mut scene = Scene::new();
    let now = scene.clock.wall();
    let envelope = envelope(now);
    let waits = Restored::from_a_mailbox(&envelope.forward_paths, Stopped::Due, now).recipients;
    let at = Some(now.after(DAY * 9));
    let restored = Restored::from_export(&waits, at, Stopped::Held, InFlight::Held, now);
    let mut draft = scene.queue().begin(envelope).unwrap();
    draft.restore(restored);
    draft.write(b"Subject: old\r\n\r\nmail\r\n").await.unwrap();
    let id = scene.queue().enqueue(draft).await.unwrap().id();
    for _ in 0..2 {
        assert_eq!(orders(&scene, id).await, (at, false));
        assert_eq!(scene.claim().await.unwrap_err(), at);
        scene.restart_without_index().await;
    }
}

#[tokio::test]
async fn any_orders_that_were_answered_are_those_of_any_start_after_them() {
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut scene = Scene::new();
        let id = scene.accept().await;
        let mut expected = (None, false);
        for step in 0..25 {
            let now = scene.clock.wall();
            let queue = scene.queue();
            match random.u8(0..7) {
                0 => expected.1 |= queue.keep(id, &ANY()).await == Ok(1),
                1 => expected.1 &= queue.release(id, &ANY()).await == Ok(0),
                2 | 3 => {
                    let at = now.after(HOUR * random.u32(0..200));
                    assert_eq!(queue.schedule(id, at, &ANY()).await, Ok(1));
                    expected.0 = Some(at).filter(|at| *at > now);
                }
                4 if random.bool() => {
                    assert_eq!(queue.retry(id, now).await, Ok(1));
                    expected = (None, false);
                }
                5 => scene.restart(|_| ()).await,
                6 => scene.restart_without_index().await,
                _ => scene.clock.advance(HOUR),
            }
            assert_eq!(orders(&scene, id).await, expected, "seed {seed}, step {step}");
        }
    }
}
