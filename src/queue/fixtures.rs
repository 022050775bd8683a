//! A message of a printer and a queue on disk that is started anew, for the tests beside the files of the queue.

use std::{fs, net::Ipv4Addr, path::PathBuf, sync::Arc};

use super::{
    Claim, ClaimLimits, ClaimedMessage, Faults, Queue, id::QueueId, options::Options,
    state::RecipientState,
};
use crate::{
    budget::{AccountKey, Limit},
    clock::{Clock as _, ManualClock, Timestamp},
    message::envelope::{BodyKind, Envelope, Lane, Origin},
    smtp::dsn::Dsn,
};

/// On what terms the tests claim.
pub(super) const LIMITS: ClaimLimits = ClaimLimits {
    account: AccountKey::MAIN,
    limit: Limit::of(10),
    notice_reserve: 0,
    urgent_reserve: 0,
    recipients_max: 10,
};

/// Its envelope, with one recipient.
pub(crate) fn envelope(accepted_at: Timestamp) -> Envelope {
    Envelope {
        reverse_path: None,
        forward_paths: vec!["a@example.net".parse().unwrap()],
        body: BodyKind::SevenBit,
        internationalized: false,
        dsn: Dsn::default(),
        lane: Lane::Normal,
        origin: Origin {
            address: Ipv4Addr::LOCALHOST.into(),
            helo: "printer".into(),
            protocol: "SMTP".into(),
            login: None,
            local: None,
        },
        accepted_at,
    }
}

/// The message, queued.
pub(crate) async fn accept(queue: &Queue, accepted_at: Timestamp) -> QueueId {
    let mut draft = queue.begin(envelope(accepted_at)).unwrap();
    draft.write(b"Subject: toner\r\n\r\nlow\r\n").await.unwrap();
    queue.enqueue(draft).await.unwrap().id()
}

/// A queue on disk that is stopped, harmed, and started.
pub(super) struct Scene {
    directory: tempfile::TempDir,
    pub(super) clock: ManualClock,
    pub(super) faults: Faults,
    pub(super) options: Options,
    queue: Option<Queue>,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(super) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let mut options = Options::new(directory.path().into());
        options.min_free_bytes = 0;
        change(&mut options);
        let faults = Faults::random(0, 0);
        let mut scene = Self { directory, clock, faults, options, queue: None };
        scene.open();
        scene
    }

    fn open(&mut self) {
        let clock = Arc::new(self.clock.clone());
        let queue = Queue::open_on(self.options.clone(), clock, self.faults.clone());
        self.queue = Some(queue.unwrap());
    }

    pub(super) fn queue(&self) -> &Queue {
        self.queue.as_ref().unwrap()
    }

    pub(super) async fn accept(&self) -> QueueId {
        accept(self.queue(), self.clock.wall()).await
    }

    /// Ends the thread that removes files as well; `meanwhile` is what the power failure leaves.
    pub(super) async fn restart(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.queue().close().await;
        meanwhile(self);
        self.queue = None;
        self.open();
    }

    pub(super) async fn restart_without_index(&mut self) {
        self.restart(|scene| scene.lose_index()).await;
    }

    pub(super) fn lose_index(&self) {
        fs::remove_dir_all(self.directory.path().join("queue.sled")).unwrap();
    }

    /// The file of a message, or a mark beside it.
    pub(super) fn spooled(&self, id: QueueId, mark: &str) -> PathBuf {
        self.queue().shared.spool.path(id).with_extension(mark)
    }

    /// The message is gone, and its mark is not: a start removes that as well.
    pub(super) async fn expect_a_lone_mark_to_go(&mut self, id: QueueId, mark: &str) {
        let left = self.spooled(id, mark);
        self.restart(|scene| {
            fs::remove_file(scene.spooled(id, "")).unwrap();
            scene.lose_index();
        })
        .await;
        assert!(!left.exists());
    }

    pub(super) async fn state(&self, id: QueueId) -> RecipientState {
        let message = self.queue().show(id).await.unwrap().unwrap();
        message.recipients()[0].state.clone()
    }

    /// What is due, if anything is.
    pub(super) async fn claim(&self) -> Result<ClaimedMessage, Option<Timestamp>> {
        match self.queue().claim_due(self.clock.now(), LIMITS).await.unwrap() {
            Claim::Message(claimed) => Ok(claimed),
            Claim::Idle { next } => Err(next),
            Claim::Exhausted { .. } => panic!("the day is spent"),
        }
    }
}
