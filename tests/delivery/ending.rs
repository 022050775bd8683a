//! Stops in the middle, and a queue that fails in the middle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use pillarbox::{
    budget::Limit,
    clock::{Clock, Moment, Timestamp},
    delivery::{Pool, Stage as DeliveryStage},
    message::envelope::Envelope,
    queue::{
        draft::Draft,
        id::QueueId,
        memory_store::MemoryStore,
        only::Only,
        reader::MessageReader,
        receipt::Receipt,
        state::{AccountState, RecipientState},
        store::{
            Claim, ClaimTerms, LedgerView, QueuedMessage, Settlement, Store, StoreError, Totals,
        },
    },
    sandbox::{Failure, Stage},
    shutdown::{Phase, Shutdown},
};
use tokio::task::JoinSet;

use super::scene::{MINUTE, Running, START, Scene, eventually};

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
    scene.store.restart();
    assert_eq!(scene.names(id).await, ["uncertain"]);
}

/// A queue that cannot note a final dot, or take a settlement, or that panics, a number of times.
#[derive(Debug)]
struct Failing {
    inner: Arc<MemoryStore>,
    final_dots: AtomicU32,
    settlements: AtomicU32,
    claims: AtomicU32,
    panics_at_opening: AtomicU32,
    panics_at_settling: AtomicU32,
}

impl Failing {
    fn around(inner: Arc<MemoryStore>) -> Self {
        Self {
            inner,
            final_dots: AtomicU32::new(0),
            settlements: AtomicU32::new(0),
            claims: AtomicU32::new(0),
            panics_at_opening: AtomicU32::new(0),
            panics_at_settling: AtomicU32::new(0),
        }
    }
}

fn fails(left: &AtomicU32) -> Result<(), StoreError> {
    let fewer = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    fewer.map_or(Ok(()), |_| Err(StoreError::Unavailable("the disk is gone".into())))
}

#[async_trait::async_trait]
impl Store for Failing {
    async fn claim_due(&self, now: Moment, terms: ClaimTerms) -> Result<Claim, StoreError> {
        fails(&self.claims)?;
        self.inner.claim_due(now, terms).await
    }
    fn final_dot(&self, id: QueueId) -> Result<(), StoreError> {
        fails(&self.final_dots)?;
        self.inner.final_dot(id)
    }
    fn answered(&self, id: QueueId, settlement: &Settlement) -> Result<(), StoreError> {
        self.inner.answered(id, settlement)
    }
    async fn settle(&self, id: QueueId, settlement: Settlement) -> Result<(), StoreError> {
        fails(&self.panics_at_settling).expect("an injected panic");
        fails(&self.settlements)?;
        self.inner.settle(id, settlement).await
    }
    fn admission(&self, size_bytes: u64) -> Result<(), StoreError> {
        self.inner.admission(size_bytes)
    }
    fn begin(&self, envelope: Envelope) -> Result<Draft, StoreError> {
        self.inner.begin(envelope)
    }
    async fn begin_as(&self, id: QueueId, envelope: Envelope) -> Result<Draft, StoreError> {
        self.inner.begin_as(id, envelope).await
    }
    async fn enqueue(&self, draft: Draft) -> Result<Receipt, StoreError> {
        self.inner.enqueue(draft).await
    }
    async fn open_message(&self, id: QueueId) -> Result<MessageReader, StoreError> {
        fails(&self.panics_at_opening).expect("an injected panic");
        self.inner.open_message(id).await
    }
    async fn dead(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        self.inner.dead(after, limit).await
    }
    async fn given_up(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        self.inner.given_up(after, limit).await
    }
    async fn untold(&self, limit: usize) -> Result<Vec<QueuedMessage>, StoreError> {
        self.inner.untold(limit).await
    }
    async fn expire(&self, id: QueueId, keep_after: Timestamp) -> Result<(), StoreError> {
        self.inner.expire(id, keep_after).await
    }
    async fn read_message(&self, id: QueueId) -> Result<MessageReader, StoreError> {
        self.inner.read_message(id).await
    }
    async fn told(
        &self,
        id: QueueId,
        told: pillarbox::queue::store::Told,
    ) -> Result<(), StoreError> {
        self.inner.told(id, told).await
    }
    async fn retry_only(
        &self,
        id: QueueId,
        now: Timestamp,
        only: &Only,
    ) -> Result<u32, StoreError> {
        self.inner.retry_only(id, now, only).await
    }
    async fn hold(&self, id: QueueId, now: Timestamp, reason: String) -> Result<u32, StoreError> {
        self.inner.hold(id, now, reason).await
    }
    async fn delete_only(&self, id: QueueId, only: &Only) -> Result<(), StoreError> {
        self.inner.delete_only(id, only).await
    }
    async fn newest(&self) -> Result<Option<QueueId>, StoreError> {
        self.inner.newest().await
    }
    async fn list(
        &self,
        after: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        self.inner.list(after, limit).await
    }
    async fn show(&self, id: QueueId) -> Result<Option<QueuedMessage>, StoreError> {
        self.inner.show(id).await
    }
    async fn history(
        &self,
        before: Option<QueueId>,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        self.inner.history(before, limit).await
    }
    async fn prune_history(&self, keep_after: Timestamp) -> Result<u32, StoreError> {
        self.inner.prune_history(keep_after).await
    }
    async fn ledger(&self, now: Moment, limit: Limit) -> Result<LedgerView, StoreError> {
        self.inner.ledger(now, limit).await
    }
    async fn account_state(&self) -> Result<Option<AccountState>, StoreError> {
        self.inner.account_state().await
    }
    async fn set_account_state(&self, state: AccountState) -> Result<(), StoreError> {
        self.inner.set_account_state(state).await
    }
    fn totals(&self) -> Totals {
        self.inner.totals()
    }
    async fn changed(&self) {
        self.inner.changed().await;
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

fn start(scene: &mut Scene, store: Failing) {
    let pool = Pool::new(scene.options.clone(), Arc::new(store), Arc::new(scene.clock.clone()));
    let (handle, shutdown, mut tasks) = (pool.handle(), Shutdown::new(), JoinSet::new());
    tasks.spawn(pool.run(shutdown.watch()));
    scene.running = Some(Running { handle, shutdown, tasks });
}

#[tokio::test]
async fn a_worker_that_panics_leaves_its_message_to_the_others() {
    let mut scene = Scene::new().await;
    scene.options.connections = 1;
    let store =
        Failing { panics_at_opening: AtomicU32::new(1), ..Failing::around(scene.store.clone()) };
    start(&mut scene, store);
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
    let store =
        Failing { panics_at_settling: AtomicU32::new(1), ..Failing::around(scene.store.clone()) };
    start(&mut scene, store);
    let id = scene.submit(&["ok@example.net"]).await;
    scene.until_names(id, &["relayed"]).await;
    scene.until_quiet().await;
    assert_eq!(scene.received().len(), 1);
}

#[tokio::test]
async fn a_failing_queue_delays_messages_but_none_leaves_unnoted_and_none_leaves_twice() {
    for (final_dots, settlements, claims) in [(2, 0, 0), (0, 3, 0), (0, 0, 3), (1, 1, 1)] {
        let mut scene = Scene::new().await;
        let store = Failing {
            final_dots: AtomicU32::new(final_dots),
            settlements: AtomicU32::new(settlements),
            claims: AtomicU32::new(claims),
            ..Failing::around(scene.store.clone())
        };
        start(&mut scene, store);
        let id = scene.submit(&["ok@example.net"]).await;
        eventually(
            "relayed",
            async || {
                scene.clock.advance(Duration::from_secs(1));
                scene.names(id).await == ["relayed"]
            },
            async || format!("{:?} {:?}", scene.states(id).await, scene.handle().status()),
        )
        .await;
        assert_eq!(scene.received().len(), 1, "{final_dots} {settlements} {claims}");
        assert_eq!(scene.state(id).await.1, 0, "no attempt is charged");
    }
}
