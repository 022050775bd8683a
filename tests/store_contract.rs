//! The contract of the queue, run over each index.
//!
//! Each test is a sentence about the queue; `contract!` runs it over the index in memory and over sled. A fixture can
//! end the process in thought (`crash`): what was answered before must hold after.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use pillarbox::{
    budget::{AccountKey, Limit},
    clock::{Clock, ManualClock, Timestamp},
    message::envelope::{BodyKind, Envelope, Lane, Origin},
    queue::{
        Claim, ClaimLimits, ClaimedMessage, Notified, Outcome, Queue, QueueError, QueuedMessage,
        Settlement,
        id::QueueId,
        only::Only,
        options::Options,
        state::{AccountCondition, AccountState, RecipientState},
    },
};

const START: Timestamp = Timestamp(1_800_000_000_000);
const LIMIT: u32 = 500;
const TERMS: ClaimLimits = ClaimLimits {
    account: AccountKey::MAIN,
    limit: Limit::of(LIMIT),
    urgent_reserve: 0,
    notice_reserve: 0,
    recipients_max: 100,
};
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A store that can be crashed, with the clock it lives by.
struct Fixture {
    clock: ManualClock,
    backend: Backend,
}

enum Backend {
    Memory(Arc<Queue>),
    Sled { directory: tempfile::TempDir, store: Option<Arc<Queue>> },
}

impl Fixture {
    fn memory() -> Self {
        let clock = ManualClock::new(START);
        let store = Queue::in_memory(Arc::new(clock.clone()), 1 << 20);
        Self { clock, backend: Backend::Memory(Arc::new(store)) }
    }

    fn sled() -> Self {
        let clock = ManualClock::new(START);
        let directory = tempfile::tempdir().unwrap();
        let mut fixture = Self { clock, backend: Backend::Sled { directory, store: None } };
        fixture.open();
        fixture
    }

    fn open(&mut self) {
        let Backend::Sled { directory, store } = &mut self.backend else { return };
        let mut options = Options::new(directory.path().into());
        (options.max_bytes, options.min_free_bytes) = (1 << 20, 0);
        *store = Some(Arc::new(Queue::open(options, Arc::new(self.clock.clone())).unwrap()));
    }

    fn store(&self) -> Arc<Queue> {
        match &self.backend {
            Backend::Memory(store) => Arc::clone(store),
            Backend::Sled { store, .. } => Arc::clone(store.as_ref().unwrap()),
        }
    }

    /// The process ends without a word and starts again.
    async fn crash(&mut self) {
        match &mut self.backend {
            Backend::Memory(store) => *store = Arc::new(store.killed().await),
            Backend::Sled { store, .. } => {
                // Closing writes nothing that an answer did not already stand on.
                store.take().unwrap().close().await;
                self.open();
                let state = state_of(self);
                assert_eq!(pages::blobs(&state), 0, "a page that sled never syncs");
            }
        }
    }

    async fn accept(&self, recipients: &[&str]) -> QueueId {
        self.accept_in(Lane::Normal, recipients).await
    }

    async fn accept_in(&self, lane: Lane, recipients: &[&str]) -> QueueId {
        accept(&self.store(), &self.clock, lane, recipients).await.unwrap()
    }

    fn envelope(&self, recipients: &[&str]) -> Envelope {
        envelope(&self.clock, Lane::Normal, recipients)
    }

    async fn submit(&self, envelope: Envelope) -> QueueId {
        submit(&self.store(), envelope).await.unwrap()
    }

    /// What a claim on these terms brings: the message's id and how many recipients, or why nothing.
    async fn claim_on(&self, terms: ClaimLimits) -> Result<(QueueId, usize), Claim> {
        match self.store().claim_due(self.clock.now(), terms).await.unwrap() {
            Claim::Message(message) => Ok((message.id, message.recipients.len())),
            nothing => Err(nothing),
        }
    }

    async fn claim(&self) -> ClaimedMessage {
        match self.store().claim_due(self.clock.now(), TERMS).await.unwrap() {
            Claim::Message(message) => message,
            other => panic!("nothing to claim: {other:?}"),
        }
    }

    async fn settle(&self, claimed: &ClaimedMessage, outcome: Outcome) {
        let outcomes =
            claimed.recipients.iter().map(|recipient| (recipient.index, outcome.clone())).collect();
        self.store()
            .settle(
                claimed.id,
                Settlement { reservation: claimed.reservation, at: self.clock.wall(), outcomes },
            )
            .await
            .unwrap();
    }

    async fn show(&self, id: QueueId) -> QueuedMessage {
        self.store().show(id).await.unwrap().unwrap()
    }

    async fn spent(&self) -> u32 {
        self.store().ledger(AccountKey::MAIN, self.clock.now(), 500.into()).await.unwrap().spent
    }
}

async fn accept(
    store: &Queue,
    clock: &ManualClock,
    lane: Lane,
    recipients: &[&str],
) -> Result<QueueId, QueueError> {
    submit(store, envelope(clock, lane, recipients)).await
}

fn envelope(clock: &ManualClock, lane: Lane, recipients: &[&str]) -> Envelope {
    Envelope {
        reverse_path: Some("root@web01".parse().unwrap()),
        forward_paths: recipients.iter().map(|address| address.parse().unwrap()).collect(),
        body: BodyKind::SevenBit,
        internationalized: false,
        dsn: pillarbox::smtp::dsn::Dsn::default(),
        lane,
        origin: Origin {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: "web01".into(),
            protocol: "ESMTP".into(),
            login: None,
            local: None,
        },
        accepted_at: clock.wall(),
    }
}

async fn submit(store: &Queue, envelope: Envelope) -> Result<QueueId, QueueError> {
    let mut draft = store.begin(envelope)?;
    draft.write(b"Subject: disk full\r\nMessage-ID: <1@web01>\r\nDate: x\r\n").await?;
    draft.write(b"\r\n.\r\nbody \xff\r\n").await?;
    Ok(store.enqueue(draft).await?.id())
}

fn relayed() -> Outcome {
    Outcome::Relayed { reply: "250 2.0.0 OK".into() }
}

/// Runs each sentence over each index.
macro_rules! contract {
    ($(async fn $name:ident(mut $fixture:ident) $body:block)*) => {
        $(mod $name {
            use super::*;
            #[allow(unused_mut, reason = "only some sentences crash the store")]
            async fn sentence(mut $fixture: Fixture) $body
            #[tokio::test]
            async fn memory() { sentence(Fixture::memory()).await; }
            #[tokio::test]
            async fn sled() { sentence(Fixture::sled()).await; }
        })*
    };
}

mod claims;
mod clocks;
mod dead;
mod history;
mod lanes;
mod listing;
mod pages;
mod proposed;

contract! {
    async fn an_accepted_message_is_there_after_a_crash_with_its_bytes(mut queue) {
        let id = queue.accept(&["a@example.org", "b@example.org"]).await;
        queue.crash().await;
        let shown = queue.show(id).await;
        assert_eq!(shown.recipients().len(), 2);
        let mut reader = queue.store().open_message(id).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            bytes.extend_from_slice(&block);
        }
        assert_eq!(bytes.len() as u64, reader.size_bytes());
        let original = b"Subject: disk full\r\nMessage-ID: <1@web01>\r\nDate: x\r\n\r\n.\r\nbody \xff\r\n";
        assert!(bytes.ends_with(original), "{:?}", String::from_utf8_lossy(&bytes));
        assert!(bytes.starts_with(b"Received: from web01"), "{:?}", String::from_utf8_lossy(&bytes));
        assert_eq!(queue.store().totals().messages, 1);
    }

    async fn messages_are_claimed_in_the_order_of_acceptance_each_by_one_worker(mut queue) {
        let mut accepted = Vec::new();
        for _ in 0..5 {
            accepted.push(queue.accept(&["a@example.org"]).await);
            queue.clock.advance(Duration::from_millis(3));
        }
        queue.crash().await;
        let mut claimed = Vec::new();
        for _ in 0..5 {
            claimed.push(queue.claim().await.id);
        }
        assert_eq!(claimed, accepted);
        let none = queue.store().claim_due(queue.clock.now(), TERMS).await.unwrap();
        assert!(matches!(none, Claim::Idle { next: None }), "{none:?}");
    }

    async fn a_claim_reserves_budget_and_a_relayed_message_keeps_it_across_a_crash(mut queue) {
        let id = queue.accept(&["a@example.org", "b@example.org"]).await;
        let claimed = queue.claim().await;
        assert_eq!(queue.spent().await, 2);
        queue.settle(&claimed, relayed()).await;
        queue.crash().await;
        assert_eq!(queue.spent().await, 2);
        assert!(queue.store().list(None, 10).await.unwrap().is_empty());
        let history = queue.store().history(None, 10).await.unwrap();
        assert_eq!(history.iter().map(|message| message.id).collect::<Vec<_>>(), [id]);
        assert!(queue.show(id).await.recipients().iter().all(|recipient| recipient.state.is_relayed()));
        assert_eq!(queue.store().totals().messages, 0);
        queue.clock.advance(DAY);
        assert_eq!(queue.spent().await, 0);
    }

    async fn each_recipient_has_its_own_outcome_and_only_refused_ones_are_refunded(mut queue) {
        let id = queue.accept(&["ok@x.org", "bad@x.org", "later@x.org", "lost@x.org", "untried@x.org"]).await;
        let claimed = queue.claim().await;
        let later = queue.clock.wall().after(Duration::from_secs(60));
        let outcomes = vec![
            (0, relayed()),
            (1, Outcome::Dead { reply: "550 5.1.1 no such user".into() }),
            (2, Outcome::Deferred { until: later, reply: "450 4.2.1 busy".into() }),
            (3, Outcome::Uncertain { resend_at: Some(later), reason: "connection lost".into() }),
        ];
        queue.store().settle(claimed.id, Settlement { reservation: claimed.reservation, at: queue.clock.wall(), outcomes }).await.unwrap();
        queue.crash().await;
        let names = |shown: &QueuedMessage| shown.recipients().iter().map(|recipient| recipient.state.name()).collect::<Vec<_>>();
        assert_eq!(names(&queue.show(id).await), ["relayed", "dead", "queued", "uncertain", "queued"]);
        assert_eq!(queue.show(id).await.recipients().iter().map(|recipient| recipient.attempts).collect::<Vec<_>>(), [0, 1, 1, 1, 0]);
        assert_eq!(queue.spent().await, 2, "the relayed and the uncertain one stay spent");
        let claimed = queue.claim().await;
        assert_eq!(claimed.recipients.iter().map(|recipient| recipient.index).collect::<Vec<_>>(), [4], "the others are not due");
    }

    async fn a_spent_budget_parks_mail_until_the_window_frees_and_says_when(mut queue) {
        queue.accept(&["a@x.org", "b@x.org", "c@x.org"]).await;
        let terms = ClaimLimits { account: AccountKey::MAIN, limit: Limit::of(2), urgent_reserve: 0, notice_reserve: 0, recipients_max: 100 };
        let Claim::Message(first) = queue.store().claim_due(queue.clock.now(), terms).await.unwrap() else { panic!() };
        assert_eq!(first.recipients.len(), 2, "as many as the budget holds");
        queue.settle(&first, relayed()).await;
        queue.crash().await;
        let claim = queue.store().claim_due(queue.clock.now(), terms).await.unwrap();
        assert!(matches!(claim, Claim::Exhausted { frees_in: Some(wait), reserved_room: 0 } if wait == DAY), "{claim:?}");
        queue.clock.advance(DAY);
        let Claim::Message(rest) = queue.store().claim_due(queue.clock.now(), terms).await.unwrap() else { panic!() };
        assert_eq!(rest.recipients.iter().map(|recipient| recipient.index).collect::<Vec<_>>(), [2]);
    }

    async fn without_a_limit_no_claim_waits_and_a_limit_that_is_set_later_knows_the_day(mut queue) {
        // Also none of a lane for which something would be reserved.
        let terms = ClaimLimits { account: AccountKey::MAIN, limit: Limit::NONE, urgent_reserve: u32::MAX, notice_reserve: u32::MAX, recipients_max: 2 };
        for _ in 0..4 {
            queue.accept(&["a@x.org", "b@x.org"]).await;
            let Claim::Message(claimed) = queue.store().claim_due(queue.clock.now(), terms).await.unwrap() else { panic!() };
            assert_eq!(claimed.recipients.len(), 2);
            queue.settle(&claimed, relayed()).await;
        }
        queue.crash().await;
        let view = queue.store().ledger(AccountKey::MAIN, queue.clock.now(), Limit::NONE).await.unwrap();
        assert_eq!((view.spent, view.frees_at), (8, Some(queue.clock.wall())));
        queue.accept(&["c@x.org"]).await;
        let limited = |limit| ClaimLimits { limit: Limit::of(limit), ..TERMS };
        let claim = queue.store().claim_due(queue.clock.now(), limited(8)).await.unwrap();
        assert!(matches!(claim, Claim::Exhausted { frees_in: Some(DAY), .. }), "{claim:?}");
        let claim = queue.store().claim_due(queue.clock.now(), limited(9)).await.unwrap();
        assert!(matches!(claim, Claim::Message(_)), "{claim:?}");
    }

    async fn a_transaction_takes_at_most_its_recipients_and_the_rest_follows(mut queue) {
        let addresses: Vec<String> = (0..250).map(|number| format!("user{number}@example.org")).collect();
        let id = queue.accept(&addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
        queue.crash().await;
        let mut sizes = Vec::new();
        for _ in 0..3 {
            let claimed = queue.claim().await;
            sizes.push(claimed.recipients.len());
            queue.settle(&claimed, relayed()).await;
        }
        assert_eq!(sizes, [100, 100, 50]);
        assert_eq!(queue.show(id).await.recipients()[249].address.as_str(), "user249@example.org");
        assert_eq!(queue.spent().await, 250);
    }

    async fn a_claim_that_dies_before_its_final_dot_is_queued_again_at_its_place_without_cost(mut queue) {
        let first = queue.accept(&["a@x.org"]).await;
        queue.clock.advance(Duration::from_secs(5));
        queue.accept(&["b@x.org"]).await;
        assert_eq!(queue.claim().await.id, first);
        queue.crash().await;
        assert_eq!(queue.spent().await, 0);
        let again = queue.claim().await;
        assert_eq!((again.id, again.recipients[0].resend, again.recipients[0].attempts), (first, false, 0));
    }

    async fn a_claim_that_dies_after_its_final_dot_is_sent_once_more_and_then_held(mut queue) {
        let id = queue.accept(&["a@x.org"]).await;
        for (spent, resend) in [(1, true), (2, false)] {
            let claimed = queue.claim().await;
            queue.store().final_dot(claimed.id).await.unwrap();
            queue.crash().await;
            assert_eq!(queue.spent().await, spent, "a unit that may have been used stays spent");
            assert_eq!(queue.show(id).await.recipients()[0].state.name(), if resend { "uncertain" } else { "held" });
        }
        assert_eq!(queue.store().retry(id, queue.clock.wall()).await, Ok(1));
        queue.settle(&queue.claim().await, relayed()).await;
        assert_eq!(queue.store().totals().messages, 0);
    }

    async fn a_claim_that_dies_after_its_answer_was_noted_ends_with_that_answer(mut queue) {
        let id = queue.accept(&["a@x.org", "b@x.org"]).await;
        let claimed = queue.claim().await;
        let dead = Outcome::Dead { reply: "550 5.1.1 no such user".into() };
        let settlement = Settlement { reservation: claimed.reservation, at: queue.clock.wall(), outcomes: vec![(0, relayed()), (1, dead)] };
        queue.store().final_dot(claimed.id).await.unwrap();
        queue.store().answered(claimed.id, &settlement).unwrap();
        queue.crash().await;
        assert_eq!(queue.spent().await, 1, "the refused recipient's unit comes back");
        let recipients = queue.show(id).await.recipients().to_vec();
        assert_eq!(recipients.iter().map(|to| to.state.name()).collect::<Vec<_>>(), ["relayed", "dead"]);
        assert_eq!(recipients[0].last_reply.as_deref(), Some("250 2.0.0 OK"));
        assert!(queue.claim_on(TERMS).await.is_err(), "nothing is sent again");
    }

    async fn held_and_dead_messages_wait_for_a_person_who_may_retry_or_delete_them(mut queue) {
        let id = queue.accept(&["a@x.org"]).await;
        let now = queue.clock.wall();
        assert_eq!(queue.store().hold(id, now, "storm".into()).await, Ok(1));
        queue.crash().await;
        assert!(matches!(queue.show(id).await.recipients()[0].state, RecipientState::Held { .. }));
        assert!(matches!(queue.store().claim_due(queue.clock.now(), TERMS).await.unwrap(), Claim::Idle { next: None }));
        assert_eq!(queue.store().retry(id, now).await, Ok(1));
        let claimed = queue.claim().await;
        assert_eq!(queue.store().delete(id).await, Err(QueueError::Conflict(id)));
        assert_eq!(queue.store().retry(id, now).await, Err(QueueError::Conflict(id)));
        queue.settle(&claimed, Outcome::Dead { reply: "552 5.7.0 blocked".into() }).await;
        assert_eq!(queue.spent().await, 0);
        assert_eq!(queue.store().delete(id).await, Ok(()));
        assert_eq!(queue.store().delete(id).await, Err(QueueError::NotFound(id)));
        queue.crash().await;
        assert_eq!(queue.store().totals().messages, 0);
        assert_eq!(queue.store().list(None, 10).await.unwrap().len(), 0);
        let RecipientState::Dead { reason, .. } = queue.show(id).await.recipients()[0].state.clone() else { panic!() };
        assert_eq!(reason, "deleted by a person", "the history remembers it");
    }

    async fn a_letter_that_was_taken_up_again_is_not_deleted_among_the_dead_ones(mut queue) {
        let id = queue.accept(&["a@x.org"]).await;
        let now = queue.clock.wall();
        queue.settle(&queue.claim().await, Outcome::Dead { reply: "552 5.7.0 blocked".into() }).await;
        assert_eq!(queue.store().dead(None, 10).await.unwrap().len(), 1);
        assert_eq!(queue.store().delete_only(id, &Only::with("held")).await, Err(QueueError::OtherState(id)));
        // Between the list of dead letters and their removal a person sends this one again.
        assert_eq!(queue.store().retry(id, now).await, Ok(1));
        assert_eq!(queue.store().delete_only(id, &Only::with("dead")).await, Err(QueueError::OtherState(id)));
        queue.crash().await;
        let claimed = queue.claim().await;
        assert_eq!(claimed.id, id, "it is here and leaves");
        assert_eq!(queue.store().delete_only(id, &Only::with("reserved")).await, Err(QueueError::Conflict(id)));
        queue.settle(&claimed, Outcome::Dead { reply: "552 5.7.0 blocked".into() }).await;
        assert_eq!(queue.store().delete_only(id, &Only::with("dead")).await, Ok(()));
        assert_eq!(queue.store().delete_only(id, &Only::with("dead")).await, Err(QueueError::NotFound(id)));
    }

    async fn what_is_tried_again_among_those_of_a_kind_is_of_that_kind_at_that_moment(mut queue) {
        let id = queue.accept(&["a@x.org", "b@x.org"]).await;
        let now = queue.clock.wall();
        assert_eq!(queue.store().retry_only(id, now, &Only::with("dead")).await, Err(QueueError::OtherState(id)));
        assert_eq!(queue.store().retry_only(id, now, &Only::without("dead")).await, Ok(2));
        // Between the list of what waits and the next attempt the upstream refuses a recipient for good.
        queue.settle(&queue.claim().await, Outcome::Dead { reply: "550 5.1.1 nobody".into() }).await;
        assert_eq!(queue.store().retry_only(id, now, &Only::without("dead")).await, Err(QueueError::OtherState(id)));
        assert_eq!(queue.store().retry_only(id, now, &Only::with("dead")).await, Ok(2));
        assert_eq!(queue.store().delete_only(id, &Only::without("queued")).await, Err(QueueError::OtherState(id)));
        queue.crash().await;
        assert_eq!(queue.claim().await.id, id);
    }

    async fn the_newest_message_is_the_one_that_sorts_last(mut queue) {
        assert_eq!(queue.store().newest().await, Ok(None));
        let _first = queue.accept(&["a@x.org"]).await;
        let second = queue.accept(&["a@x.org"]).await;
        assert_eq!(queue.store().newest().await, Ok(Some(second)));
        queue.crash().await;
        assert_eq!(queue.store().newest().await, Ok(Some(second)));
    }

    async fn a_deferred_recipient_is_due_again_at_its_time_and_idle_says_when(mut queue) {
        queue.accept(&["a@x.org"]).await;
        let until = queue.clock.wall().after(Duration::from_secs(300));
        queue.settle(&queue.claim().await, Outcome::Deferred { until, reply: "451 4.3.0 later".into() }).await;
        queue.crash().await;
        let idle = queue.store().claim_due(queue.clock.now(), TERMS).await.unwrap();
        assert!(matches!(idle, Claim::Idle { next: Some(next) } if next == until), "{idle:?}");
        queue.clock.advance(Duration::from_secs(300));
        assert_eq!(queue.claim().await.recipients[0].attempts, 1);
    }

    async fn mail_that_was_put_off_by_a_wrong_clock_is_due_at_once(mut queue) {
        queue.clock.set_wall(START.after(400 * DAY));
        let id = queue.accept(&["a@x.org"]).await;
        queue.clock.set_wall(START);
        assert_eq!(queue.claim().await.id, id);
    }

    async fn a_full_queue_refuses_and_takes_mail_again_when_there_is_room(mut queue) {
        assert!(matches!(queue.store().admission(2 << 20), Err(QueueError::Full(_))));
        assert_eq!(queue.store().admission(1000), Ok(()));
        let id = queue.accept(&["a@x.org"]).await;
        assert!(matches!(queue.store().admission((1 << 20) - 10), Err(QueueError::Full(_))));
        queue.store().delete(id).await.unwrap();
        assert_eq!(queue.store().admission((1 << 20) - 10), Ok(()));
    }

    async fn a_dropped_draft_leaves_nothing(mut queue) {
        let store = queue.store();
        let id = queue.accept(&["a@x.org"]).await;
        store.delete(id).await.unwrap();
        let envelope = Envelope {
            reverse_path: None,
            forward_paths: vec!["a@x.org".parse().unwrap()],
            body: BodyKind::SevenBit,
            internationalized: false,
            dsn: pillarbox::smtp::dsn::Dsn::default(),
            lane: Lane::Normal,
            origin: Origin { address: IpAddr::V4(Ipv4Addr::LOCALHOST), helo: String::new(), protocol: "SMTP".into(), login: None , local: None},
            accepted_at: queue.clock.wall(),
        };
        let mut draft = store.begin(envelope).unwrap();
        draft.write(&vec![b'x'; 200_000]).await.unwrap();
        drop(draft);
        drop(store);
        if let Backend::Sled { directory, .. } = &queue.backend {
            // The file of the deleted message goes in a thread of its own, for which closing waits.
            queue.store().close().await;
            assert_eq!(files_under(&directory.path().join("spool")), 0);
        }
        queue.crash().await;
        assert_eq!(queue.store().totals().messages, 0);
    }

    async fn the_state_of_the_account_survives(mut queue) {
        assert_eq!(queue.store().account_state(AccountKey::MAIN).await, Ok(None));
        let state = AccountState {
            condition: AccountCondition::PausedQuota,
            until: Some(queue.clock.wall().after(DAY)),
            strikes: 2,
            reason: "550 5.4.5 Daily user sending limit exceeded".into(),
            ..AccountState::open(queue.clock.wall())
        };
        queue.store().set_account_state(AccountKey::MAIN, state.clone()).await.unwrap();
        queue.crash().await;
        assert_eq!(queue.store().account_state(AccountKey::MAIN).await, Ok(Some(state)));
    }

    async fn lists_come_in_pages_and_history_is_pruned_by_age(mut queue) {
        let mut ids = Vec::new();
        for _ in 0..7 {
            ids.push(queue.accept(&["a@x.org"]).await);
            queue.clock.advance(Duration::from_secs(1));
        }
        let page = |messages: Vec<QueuedMessage>| messages.into_iter().map(|message| message.id).collect::<Vec<_>>();
        assert_eq!(page(queue.store().list(None, 3).await.unwrap()), ids[..3]);
        assert_eq!(page(queue.store().list(Some(ids[2]), 10).await.unwrap()), ids[3..]);
        let mut ends = Vec::new();
        for _ in 0..7 {
            ends.push(queue.clock.wall());
            queue.settle(&queue.claim().await, relayed()).await;
            queue.clock.advance(Duration::from_secs(1));
        }
        let newest_first: Vec<_> = ids.iter().rev().copied().collect();
        assert_eq!(page(queue.store().history(None, 3).await.unwrap()), newest_first[..3]);
        assert_eq!(page(queue.store().history(Some(ids[4]), 10).await.unwrap()), newest_first[3..]);
        assert_eq!(queue.store().prune_history(ends[3]).await, Ok(3));
        assert_eq!(page(queue.store().history(None, 10).await.unwrap()), newest_first[..4]);
    }

    async fn a_worker_that_waits_is_woken_by_an_accepted_message(mut queue) {
        let store = queue.store();
        let mut changes = store.changes();
        let (id, changed) = tokio::join!(queue.accept(&["a@x.org"]), changes.changed());
        changed.unwrap();
        assert_eq!(queue.claim().await.id, id);
    }

    async fn a_closed_store_refuses(mut queue) {
        queue.store().close().await;
        assert!(matches!(accept(&queue.store(), &queue.clock, Lane::Normal, &["a@x.org"]).await, Err(QueueError::Unavailable(_))));
        assert!(matches!(queue.store().claim_due(queue.clock.now(), TERMS).await, Err(QueueError::Unavailable(_))));
        queue.crash().await;
        queue.accept(&["a@x.org"]).await;
    }
}

fn files_under(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { files_under(&entry.path()) } else { 1 }).sum()
}

/// The spool file of a message.
fn spool_file(state: &std::path::Path, id: QueueId) -> std::path::PathBuf {
    state.join("spool").join(format!("{:02x}", id.as_bytes()[3])).join(id.to_string())
}

fn state_of(queue: &Fixture) -> std::path::PathBuf {
    let Backend::Sled { directory, .. } = &queue.backend else { panic!("not on disk") };
    directory.path().into()
}

#[tokio::test]
async fn a_file_that_outlives_the_deletion_or_the_relaying_of_its_message_is_not_sent_again() {
    let mut queue = Fixture::sled();
    let deleted = queue.accept(&["a@x.org"]).await;
    let sent = queue.accept(&["b@x.org"]).await;
    let state = state_of(&queue);
    // As a power cut leaves it: the removal of the file was not yet on disk.
    let copies = [deleted, sent]
        .map(|id| (spool_file(&state, id), std::fs::read(spool_file(&state, id)).unwrap()));
    queue.store().delete(deleted).await.unwrap();
    queue.settle(&queue.claim().await, relayed()).await;
    queue.store().close().await;
    copies.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    queue.crash().await;
    assert_eq!(queue.store().totals().messages, 0);
    assert!(copies.iter().all(|(path, _)| !path.exists()), "the leftovers are removed");
}

#[tokio::test]
async fn without_the_index_every_message_is_queued_again_and_the_budget_is_not_forgotten() {
    let mut queue = Fixture::sled();
    let first = queue.accept(&["a@x.org"]).await;
    queue.settle(&queue.claim().await, relayed()).await;
    let waiting = queue.accept(&["b@x.org", "c@x.org"]).await;
    queue.store().close().await;
    let state = state_of(&queue);
    std::fs::remove_dir_all(state.join("queue.sled")).unwrap();
    queue.crash().await;
    assert!(queue.store().show(first).await.unwrap().is_none());
    assert_eq!(queue.show(waiting).await.recipients().len(), 2);
    assert_eq!(queue.spent().await, 1, "the copy of the ledger knows it");
}

#[tokio::test]
async fn when_index_and_ledger_are_lost_half_of_the_budget_counts_as_spent_also_after_another_restart()
 {
    let mut queue = Fixture::sled();
    queue.accept(&["b@x.org"]).await;
    queue.store().close().await;
    let state = state_of(&queue);
    for damaged in std::fs::read_dir(state.join("queue.sled")).unwrap().map(Result::unwrap) {
        if damaged.path().is_file() {
            std::fs::write(damaged.path(), vec![0xff; 70_000]).unwrap();
        }
    }
    std::fs::write(state.join("ledger.copy"), "").unwrap();
    queue.crash().await;
    queue.crash().await;
    let claimed = queue.claim().await;
    assert_eq!(queue.spent().await, LIMIT / 2 + 1);
    queue.settle(&claimed, relayed()).await;
    queue.crash().await;
    assert_eq!(queue.spent().await, LIMIT / 2 + 1, "it is counted once");
    let names = std::fs::read_dir(&state)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        names.filter(|name| name.starts_with("queue.sled.bad-")).count(),
        1,
        "set aside, not removed"
    );
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_when_it_is_opened_and_does_not_stop_the_others() {
    let queue = Fixture::sled();
    let bad = queue.accept(&["a@x.org"]).await;
    let good = queue.accept(&["b@x.org"]).await;
    let path = spool_file(&state_of(&queue), bad);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(queue.claim().await.id, bad);
    assert!(
        matches!(queue.store().open_message(bad).await, Err(QueueError::Corrupt { id, .. }) if id == bad)
    );
    assert_eq!(queue.spent().await, 0, "its reservation is given back");
    assert_eq!(queue.show(bad).await.recipients()[0].state.name(), "dead");
    assert_eq!(queue.store().totals().set_aside, 1);
    assert_eq!(queue.claim().await.id, good);
}

#[tokio::test]
async fn a_second_process_is_told_who_has_the_queue() {
    let queue = Fixture::sled();
    let clock = Arc::new(queue.clock.clone());
    let refused =
        Queue::open(Options::new(state_of(&queue)), clock).map(drop).unwrap_err().to_string();
    let owner = format!("is in use by another pillarbox (process {})", std::process::id());
    assert!(refused.contains(&owner), "{refused}");
}

#[tokio::test]
async fn an_index_of_a_newer_version_is_left_untouched() {
    let queue = Fixture::sled();
    queue.store().close().await;
    let state = state_of(&queue);
    drop(queue.store());
    let index = sled::open(state.join("queue.sled")).unwrap();
    index.open_tree("meta").unwrap().insert("schema", &99u32.to_be_bytes()).unwrap();
    index.flush().unwrap();
    drop(index);
    // The lock of the closed store goes with it.
    let (directory, clock) = match queue.backend {
        Backend::Sled { directory, store } => {
            drop(store);
            (directory, queue.clock)
        }
        Backend::Memory(_) => panic!("not on disk"),
    };
    let refused =
        Queue::open(Options::new(directory.path().into()), Arc::new(clock)).map(drop).unwrap_err();
    assert!(refused.to_string().contains("newer version"), "{refused}");
    assert!(directory.path().join("queue.sled/db").exists());
}
