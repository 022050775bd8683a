//! The wall clock is wrong, or is set: mail goes on leaving, and nothing is given up for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use pillarbox::{
    budget::AccountKey,
    clock::{Clock, ManualClock, Moment, Timestamp},
    delivery::DepartureReason,
    queue::{
        id::QueueId,
        state::{AccountCondition, RecipientState},
    },
    sandbox::{Failure, Stage},
};

use super::scene::{HOUR, MINUTE, START, Scene, eventually};

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Ten years.
const LONG: Duration = Duration::from_secs(3_650 * 24 * 3_600);

/// Minutes pass until `count` messages have left, `most` at most.
async fn minutes_until(scene: &Scene, count: usize, most: u32) {
    for _ in 0..=most {
        scene.until_quiet().await;
        if scene.received().len() >= count {
            return;
        }
        scene.clock.advance(MINUTE);
    }
    let status = scene.handle().status();
    panic!("{} have left; now {}, {:?}", scene.received().len(), scene.clock.wall(), status.next);
}

/// Minutes pass until it was tried.
async fn minutes_until_tried(scene: &Scene, id: QueueId) {
    for _ in 0..5 {
        scene.until_quiet().await;
        if scene.state(id).await.1 > 0 {
            return;
        }
        scene.clock.advance(MINUTE);
    }
}

#[tokio::test]
async fn a_short_pause_stays_short_whichever_way_the_clock_is_set() {
    for to in [START.before(10 * HOUR), START.after(LONG), Timestamp(40_000)] {
        let scene = Scene::running(|_| {}).await;
        let busy = "421 4.4.5 Server busy, try again later. {id}";
        scene.sandbox.fail_next(Stage::Mail, Failure::Reply(busy.into()));
        scene.submit(&["ok@example.net"]).await;
        scene.until_account(AccountCondition::BackingOff).await;
        scene.until_quiet().await;
        let left = scene.handle().status().account.until.unwrap().since(scene.clock.wall());
        scene.clock.set_wall(to);
        let status = scene.handle().status();
        assert_eq!(status.account.until, Some(to.after(left)), "as long as before");
        assert_eq!(status.next.unwrap().why, DepartureReason::Pause);
        minutes_until(&scene, 1, 75).await;
        let stored = scene.store.account_state(AccountKey::MAIN).await.unwrap().unwrap();
        assert_eq!(stored.condition, AccountCondition::Open);
    }
}

#[tokio::test]
async fn a_message_deferred_by_a_clock_that_was_ahead_is_tried_again_in_a_minute() {
    for ahead in [2 * HOUR, LONG] {
        let scene = Scene::running(|_| {}).await;
        scene.clock.set_wall(START.after(ahead));
        scene.sandbox.fail_next(Stage::Rcpt, Failure::Reply("450 4.2.0 Greylisted. {id}".into()));
        let id = scene.submit(&["ok@example.net"]).await;
        eventually("tried", async || scene.state(id).await.1 > 0, async || String::new()).await;
        scene.clock.set_wall(START);
        minutes_until(&scene, 1, 3).await;
    }
}

#[tokio::test]
async fn mail_accepted_in_1970_before_the_clock_was_set_is_not_given_up_at_its_first_refusal() {
    let scene = Scene::running(|_| {}).await;
    scene.clock.set_wall(Timestamp(40_000));
    let busy = "421 4.4.5 Server busy, try again later. {id}";
    scene.sandbox.fail_next(Stage::Mail, Failure::Reply(busy.into()));
    let id = scene.submit(&["ok@example.net"]).await;
    scene.until_account(AccountCondition::BackingOff).await;
    scene.until_quiet().await;
    scene.sandbox.fail_next(Stage::Rcpt, Failure::Reply("450 4.2.0 Greylisted. {id}".into()));
    scene.clock.set_wall(START);
    minutes_until_tried(&scene, id).await;
    let (state, attempts) = scene.state(id).await;
    assert!(attempts == 1 && matches!(state, RecipientState::Queued { .. }), "{state:?}");
    minutes_until(&scene, 1, 5).await;
}

#[tokio::test]
async fn mail_that_waited_for_the_account_beyond_its_lifetime_is_tried_for_hours_before_it_is_dead()
{
    let scene = Scene::running(|_| {}).await;
    let full = "550 5.4.5 Daily user sending limit exceeded. {id}";
    scene.sandbox.fail_next(Stage::Mail, Failure::Reply(full.into()));
    let id = scene.submit(&["ok@example.net"]).await;
    scene.until_account(AccountCondition::PausedQuota).await;
    scene.until_quiet().await;
    let later = "451 4.3.0 Mail server temporarily rejected message. {id}";
    scene.sandbox.fail_next(Stage::Dot, Failure::Reply(later.into()));
    scene.clock.advance(6 * DAY);
    eventually("tried", async || scene.state(id).await.1 > 0, async || String::new()).await;
    let (state, attempts) = scene.state(id).await;
    assert!(matches!(state, RecipientState::Queued { .. }), "attempts {attempts}: {state:?}");
    minutes_until(&scene, 1, 180).await;
}

/// A clock that somebody sets forward or back again at every fifth reading.
#[derive(Debug)]
struct Unsteady(ManualClock, AtomicU64);

#[async_trait::async_trait]
impl Clock for Unsteady {
    fn now(&self) -> Moment {
        let now = self.0.now();
        let ahead = self.1.fetch_add(1, Ordering::Relaxed) / 5 % 2 == 1;
        Moment { wall: if ahead { now.wall.after(HOUR) } else { now.wall }, ..now }
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }
}

#[test]
fn a_clock_that_is_set_at_any_moment_of_an_attempt_stops_nothing() {
    let (done, is_done) = mpsc::channel();
    // A worker that waits for itself blocks its thread: this one looks on.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut scene = Scene::new().await;
            scene.start_by(Arc::new(Unsteady(scene.clock.clone(), AtomicU64::new(0))));
            for number in 0..50 {
                scene.submit(&[&format!("ok{number}@example.net")]).await;
            }
            scene.until_received(50).await;
            done.send(()).expect("somebody looks on");
        });
    });
    let within = is_done.recv_timeout(Duration::from_secs(30));
    assert!(within.is_ok(), "delivery stands still: {within:?}");
}
