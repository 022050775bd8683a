//! A report that is begun and cut off at every step.

use std::{
    future::{Future, poll_fn},
    path::Path,
    pin::pin,
    sync::{Arc, mpsc},
    task::Poll,
};

use tokio::task::spawn_blocking;

use super::{figures::Figures, *};
use crate::{
    admin::tests,
    clock::{Clock as _, ManualClock},
    message::envelope::Lane,
    queue::id::{QueueId, RANDOM_LENGTH},
    shutdown::Shutdown,
};

/// 2027-01-18T08:00:00Z, a Monday, an hour or two after its hour.
const MONDAY: Timestamp = Timestamp(1_800_259_200_000);
const DAY: Duration = Duration::from_secs(86_400);

/// The same relay before and after a kill.
struct Scene {
    directory: tempfile::TempDir,
    clock: ManualClock,
    store: Arc<Queue>,
}

impl Scene {
    /// In an hour in which a report is due.
    async fn new() -> Self {
        let clock = ManualClock::new(MONDAY.before(3 * DAY));
        let store = Arc::new(Queue::in_memory(Arc::new(clock.clone()), 1 << 20));
        let scene = Self { directory: tempfile::tempdir().unwrap(), clock, store };
        assert_eq!(turn(&scene.start()).await.unwrap(), LOOK, "turned on just now");
        scene.clock.advance(3 * DAY);
        scene
    }

    /// A relay that has been running for a while.
    fn start(&self) -> Sources {
        let (stop, path): (_, &Path) = (Shutdown::new().watch(), self.directory.path());
        let sources = tests::sources(path, &self.clock, &self.store, stop, 100);
        let options = Options::clone(&sources.reports.options.get());
        sources.reports.options.set(Options { enabled: true, ..options });
        self.clock.advance(schedule::AFTER_START);
        sources
    }

    /// What was begun ends on the disk; what was only in memory is gone.
    async fn kill(&mut self) {
        // The only thread of such work does it in its order.
        spawn_blocking(|| {}).await.unwrap();
        self.store = Arc::new(self.store.killed().await);
    }

    async fn queued(&self) -> Vec<QueueId> {
        let all = self.store.list(None, 100).await.unwrap();
        assert!(all.iter().all(|one| one.record.lane == Lane::Bulk && one.record.size_bytes > 200));
        all.iter().map(|message| message.id).collect()
    }
}

/// Until it has waited so often; `None` when it had not ended then. What it asks of another thread is never answered
/// before it waits for it, so that it waits as often on every machine.
async fn cut_off<T>(work: impl Future<Output = T>, waits: usize) -> Option<T> {
    let (mut work, mut left) = (pin!(work), waits);
    poll_fn(|context| {
        let (open, gate) = mpsc::channel::<()>();
        // The only thread of such work stands at the gate until it falls.
        drop(spawn_blocking(move || gate.recv().is_ok()));
        let polled = work.as_mut().poll(context);
        drop(open);
        match polled {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                left -= 1;
                Poll::Pending
            }
        }
    })
    .await
}

/// With one thread for what blocks, so that its end can be waited for.
fn run<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(1).build().unwrap().block_on(test)
}

#[test]
fn a_report_that_is_cut_off_at_any_step_is_queued_once_by_the_next_start() {
    run(async {
        for kills in [1, 2] {
            let mut steps = 0;
            loop {
                let mut scene = Scene::new().await;
                let mut has_ended = false;
                for _ in 0..kills {
                    has_ended = cut_off(turn(&scene.start()), steps).await.is_some();
                    scene.kill().await;
                }
                for _ in 0..2 {
                    turn(&scene.start()).await.unwrap();
                    assert_eq!(scene.queued().await.len(), 1, "{kills} kills after {steps} steps");
                    scene.kill().await;
                }
                if has_ended {
                    break;
                }
                steps += 1;
            }
            assert!(steps > 5, "{steps} steps were cut off");
        }
    });
}

#[test]
fn one_that_was_queued_before_a_long_time_off_is_not_followed_by_another_one_at_once() {
    run(async {
        let mut scene = Scene::new().await;
        turn(&scene.start()).await.unwrap();
        let (id, at) = (scene.queued().await[0], scene.clock.wall());
        // As if the kill had come before that was kept; then the machine was off for months.
        let sources = scene.start();
        let mut held = sources.reports.hold().await;
        let kept = held.known().await.unwrap();
        let before = Kept { counts_since: Some(MONDAY.before(3 * DAY)), queued: None, ..kept };
        held.keep(Kept { pending: Some(Pending { id, at }), ..before }).await.unwrap();
        drop(held);
        scene.kill().await;
        scene.clock.advance(50 * DAY);
        let sources = scene.start();
        turn(&sources).await.unwrap();
        let kept = sources.reports.hold().await.known().await.unwrap();
        assert_eq!(kept.pending, None);
        assert_eq!(scene.queued().await.len(), 2, "the one of the weeks since then is due");

        // What the queue never had is queued anew, under an id of today.
        let unknown = Pending { id: QueueId::proposed(MONDAY, [9; RANDOM_LENGTH]), at: MONDAY };
        let mut held = sources.reports.hold().await;
        held.keep(Kept { pending: Some(unknown), ..kept }).await.unwrap();
        drop(held);
        turn(&sources).await.unwrap();
        let again = sources.reports.hold().await.known().await.unwrap();
        assert_eq!((again.pending, again.queued), (None, kept.queued), "six days apart at least");
        assert_eq!(scene.queued().await.len(), 2);
    });
}

#[test]
fn a_queue_that_takes_nothing_is_asked_again_for_the_same_report() {
    run(async {
        let scene = Scene::new().await;
        let small = Arc::new(Queue::in_memory(Arc::new(scene.clock.clone()), 10));
        let sources = scene.start();
        let full = Sources { store: small, ..sources.clone() };
        assert!(matches!(turn(&full).await, Err(ReportError::Queue(_))));
        let pending = sources.reports.hold().await.known().await.unwrap().pending.unwrap();
        turn(&sources).await.unwrap();
        assert_eq!(scene.queued().await, [pending.id]);
    });
}

#[test]
fn a_report_that_nobody_could_read_is_refused_in_words() {
    run(async {
        let sources = Scene::new().await.start();
        let options = Options::clone(&sources.reports.options.get());
        let nobody = Options { to: None, ..options };
        let id = new_id(MONDAY).unwrap();
        let refused = queue(&sources, &nobody, id, &Figures::default()).await.unwrap_err();
        assert!(refused.to_string().contains("set report.to"), "{refused}");
    });
}
