//! A queue on a disk whose steps fail at random: nothing that was acknowledged is lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use super::*;
use crate::{
    budget::AccountKey,
    clock::{Clock as _, ManualClock, Timestamp},
    message::envelope::Envelope,
    queue::{
        Claim, ClaimLimits, ClaimedMessage, Outcome, Queue, Settlement, fixtures::envelope,
        id::QueueId, options::Options,
    },
};

const LIMIT: u32 = 400;
/// Days in which everything leaves.
const DRAINS: usize = 10;

struct Run {
    directory: tempfile::TempDir,
    clock: ManualClock,
    random: fastrand::Rng,
    faults: Faults,
    /// What heard 250.
    acknowledged: BTreeSet<QueueId>,
    /// What the upstream has accepted, and how often.
    relayed: BTreeMap<QueueId, u32>,
    /// Recipients that the upstream has accepted.
    spent: u32,
    /// Settlements that the queue did not take.
    unsettled: u32,
    /// Where the queue is, when that is no disk.
    #[cfg(feature = "fleet")]
    database: Option<crate::fleet::tests::scene::Scene>,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(Timestamp(1_800_000_000_000)),
            random: fastrand::Rng::with_seed(seed),
            faults: Faults::random(seed, 0),
            acknowledged: BTreeSet::new(),
            relayed: BTreeMap::new(),
            spent: 0,
            unsettled: 0,
            #[cfg(feature = "fleet")]
            database: None,
        }
    }

    fn open(&self) -> Queue {
        let mut options = Options::new(self.directory.path().into());
        options.min_free_bytes = 0;
        let clock = Arc::new(self.clock.clone());
        #[cfg(feature = "fleet")]
        if let Some(scene) = &self.database {
            let database = crate::fleet::Options { host: "a".into(), database: scene.options() };
            return Queue::open_in_database(options, &database, clock, self.faults.clone())
                .unwrap();
        }
        Queue::open_on(options, clock, self.faults.clone()).unwrap()
    }

    /// What an earlier process has left in a database comes in by itself.
    #[cfg(feature = "fleet")]
    async fn all_has_come(&self, store: &Queue) {
        let Some(scene) = &self.database else { return };
        let mut polls = 0;
        while scene.sql("SELECT count(*) FROM pillarbox.message")
            != store.totals().messages.to_string()
        {
            polls += 1;
            assert!(polls < 500, "it never came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[cfg(not(feature = "fleet"))]
    async fn all_has_come(&self, _: &Queue) {}

    async fn accept(&mut self, store: &Queue) {
        let recipients = [1, 1, 2, 20][self.random.usize(..4)];
        let path = |number| format!("reader-{number}@example.net").parse().unwrap();
        let envelope = Envelope {
            reverse_path: "root@web01.example.org".parse().ok(),
            forward_paths: (0..recipients).map(path).collect(),
            ..envelope(self.clock.wall())
        };
        let Ok(mut draft) = store.begin(envelope) else { return };
        let body = vec![b'x'; self.random.usize(10..200_000)];
        if draft.write(&body).await.is_ok()
            && let Ok(receipt) = store.enqueue(draft).await
        {
            self.acknowledged.insert(receipt.id());
        }
    }

    /// Relays one message, should there be one; `None` when nothing can leave.
    async fn relay(&mut self, store: &Queue) -> Option<QueueId> {
        let terms = ClaimLimits {
            account: AccountKey::MAIN,
            limit: crate::budget::Limit::of(LIMIT),
            urgent_reserve: 0,
            notice_reserve: 0,
            recipients_max: 100,
        };
        let Ok(Claim::Message(claimed)) = store.claim_due(self.clock.now(), terms).await else {
            return None;
        };
        let readable = store.open_message(claimed.id).await.is_ok();
        let outcome = if readable && store.final_dot(claimed.id).await.is_ok() {
            *self.relayed.entry(claimed.id).or_default() += 1;
            self.spent += u32::try_from(claimed.recipients.len()).unwrap();
            Outcome::Relayed { reply: "250 2.0.0 OK".into() }
        } else {
            Outcome::NotTried { until: None }
        };
        self.settle(store, &claimed, outcome).await;
        Some(claimed.id)
    }

    async fn settle(&mut self, store: &Queue, claimed: &ClaimedMessage, outcome: Outcome) {
        let outcomes = claimed.recipients.iter().map(|one| (one.index, outcome.clone())).collect();
        let reservation = claimed.reservation;
        let settlement = Settlement { reservation, at: self.clock.wall(), outcomes };
        // As the worker does: what was answered is noted, and offered until the queue takes it.
        store.answered(claimed.id, &settlement).ok();
        for _ in 0..20 {
            if store.settle(claimed.id, settlement.clone()).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.unsettled += 1;
    }

    /// Everything that waits leaves, a day after the other when the budget is spent.
    async fn drain(&mut self, store: &Queue) {
        for _ in 0..DRAINS {
            let before = self.spent;
            while self.relay(store).await.is_some() {}
            let spent = self.spent - before;
            assert!(spent <= LIMIT, "{spent} recipients in a day");
            self.clock.advance(Duration::from_secs(25 * 3600));
        }
    }
}

fn blobs(state: &Path) -> usize {
    std::fs::read_dir(state.join("queue.sled/blobs")).unwrap().count()
}

/// Lives of the process in the test of random faults.
const LIVES_MAX: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_on_a_disk_whose_steps_fail_at_random() {
    let seed = std::env::var("PILLARBOX_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("PILLARBOX_TEST_SEED={seed}");
    nothing_acknowledged_is_lost(Run::new(seed), seed).await;
}

#[cfg(feature = "fleet")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_in_a_database_that_fails_at_random() {
    let seed = std::env::var("PILLARBOX_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("PILLARBOX_TEST_SEED={seed}");
    let scene = crate::fleet::tests::scene::Scene::new();
    let run = Run { database: Some(scene), ..Run::new(seed) };
    nothing_acknowledged_is_lost(run, seed).await;
}

async fn nothing_acknowledged_is_lost(mut run: Run, seed: u64) {
    let mut steps = BTreeSet::new();
    for life in 0..LIVES_MAX {
        // Chance may leave a kind of step alone for three lives.
        if life >= 3 && steps.len() > 4 {
            break;
        }
        run.faults.set(0);
        let store = run.open();
        run.faults.set([40, 15, 8][life % 3]);
        for _ in 0..25 {
            run.accept(&store).await;
            if run.random.bool() {
                run.relay(&store).await;
            }
            run.clock.advance(Duration::from_secs(1));
        }
        // The process ends; what it was told stays told.
        run.faults.set(0);
        store.close().await;
        drop(store);
        let sled = run.directory.path().join("queue.sled").exists();
        assert!(!sled || blobs(run.directory.path()) == 0, "seed {seed}");
        steps.extend(run.faults.failed().into_iter().map(|step| format!("{step:?}")));
    }
    assert!(run.spent <= LIMIT, "seed {seed}: {} recipients within a day", run.spent);
    assert!(steps.len() > 4, "seed {seed}: only {steps:?} ever failed");
    run.clock.advance(Duration::from_secs(25 * 3600));
    let store = run.open();
    run.all_has_come(&store).await;
    run.drain(&store).await;
    let lost: Vec<_> =
        run.acknowledged.iter().filter(|id| !run.relayed.contains_key(*id)).collect();
    assert!(lost.is_empty(), "seed {seed}: {lost:?} of {}", run.acknowledged.len());
    let twice = run.relayed.values().filter(|times| **times > 1).count();
    assert!(twice <= run.unsettled as usize, "seed {seed}: {twice} sent again, {}", run.unsettled);
    assert_eq!(store.totals().set_aside, 0, "seed {seed}: a fault of the disk is no damage");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_sync_the_index_is_written_anew_before_it_is_believed() {
    use std::os::unix::fs::MetadataExt as _;
    for step in [Step::IndexFlush, Step::IndexSync] {
        let mut run = Run::new(1);
        let store = run.open();
        run.accept(&store).await;
        let id = store.list(None, 1).await.unwrap()[0].id;
        let data = run.directory.path().join("queue.sled/db");
        let inode = || std::fs::metadata(&data).unwrap().ino();
        let before = inode();
        let hold = || store.hold(id, Timestamp(1), "asked".into());
        run.faults.fail_next(step, rustix::io::Errno::IO);
        hold().await.unwrap_err();
        let mut attempts = 0;
        while hold().await.is_err() {
            attempts += 1;
            assert!(attempts < 500, "{step:?}: it is never open again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_ne!(inode(), before, "{step:?}: pages of the old file may never reach the disk");
        assert_eq!(store.list(None, 10).await.unwrap().len(), 1);
        // A process that ends instead of opening it again leaves that to the next one.
        let before = inode();
        run.faults.fail_next(step, rustix::io::Errno::IO);
        store.retry(id, Timestamp(2)).await.unwrap_err();
        let closing = tokio::time::timeout(Duration::from_secs(15), store.close()).await;
        assert!(closing.is_ok(), "nobody waits for tables that the next process opens");
        drop(store);
        let store = run.open();
        assert_ne!(inode(), before, "{step:?}");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_the_disk_cannot_read_at_a_start_is_no_damage() {
    let mut run = Run::new(1);
    let store = run.open();
    run.accept(&store).await;
    store.close().await;
    drop(store);
    std::fs::remove_dir_all(run.directory.path().join("queue.sled")).unwrap();
    run.faults.fail_next(Step::Open, rustix::io::Errno::IO);
    let store = run.open();
    assert_eq!(run.faults.failed().len(), 1, "the file was read");
    assert_eq!(store.totals().set_aside, 0);
    assert_eq!(store.list(None, 10).await.unwrap().len(), 1);
    store.close().await;
}
