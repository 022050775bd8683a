//! A pool, its queue and its upstream, for the tests beside this file.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::support::lookalike_clock::lookalike_clock;
use pillarbox::{
    clock::{Clock, ManualClock, Timestamp},
    delivery::{
        IpFamily, Limits, Login, Options, PasswordSource, Pool, PoolHandle, Tls, Transport,
        Uncertain,
    },
    message::{
        envelope::{BodyKind, Envelope, Lane, Origin},
        identity::{FromPolicy, Identity},
    },
    queue::{
        Queue,
        id::QueueId,
        state::{AccountCondition, AccountState, RecipientState},
    },
    sandbox::{self, APP_PASSWORD, Accepted, Sandbox},
    secret::Secret,
    shutdown::{Phase, Shutdown},
};
use tokio::task::JoinSet;

/// How long real I/O may take before a test fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const START: Timestamp = Timestamp(1_700_000_000_000);
pub(super) const BODY: &[u8] = b"Subject: test\r\nMessage-ID: <one@example.org>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n.a dot\r\n\r\nlast\r\n";

/// A pool, its queue and its upstream.
pub(super) struct Scene {
    pub(super) sandbox: Sandbox,
    pub(super) store: Arc<Queue>,
    pub(super) clock: ManualClock,
    pub(super) options: Options,
    pub(super) directory: tempfile::TempDir,
    pub(super) running: Option<Running>,
}

pub(super) struct Running {
    pub(super) handle: PoolHandle,
    pub(super) shutdown: Shutdown,
    pub(super) tasks: JoinSet<()>,
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With these limits a day and an hour. Gmail's own guard of logins is far away: what must hold is the relay's.
    pub(super) async fn limited(recipients_per_day: u32, logins_per_hour: u32) -> Self {
        let mut scene = Self::with(|options| {
            options.recipients_per_day = recipients_per_day;
            options.logins_per_minute = 1_000;
        })
        .await;
        scene.options.recipients_per_day = recipients_per_day.into();
        scene.options.logins_per_hour = logins_per_hour;
        scene
    }

    pub(super) async fn with(edit: impl FnOnce(&mut sandbox::Options)) -> Self {
        let clock = ManualClock::new(START);
        let mut sandbox_options =
            sandbox::Options { clock: lookalike_clock(&clock), ..Default::default() };
        edit(&mut sandbox_options);
        let sandbox = Sandbox::start(sandbox_options).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, sandbox.certificate_authority_pem()).unwrap();
        let options = Options {
            port: sandbox.starttls_address().port(),
            ca_file: Some(ca_file),
            ..options()
        };
        let store = Arc::new(Queue::in_memory(Arc::new(clock.clone()), 1 << 30));
        Self { sandbox, store, clock, options, directory, running: None }
    }

    /// A scene whose pool runs as `edit` says.
    pub(super) async fn running(edit: impl FnOnce(&mut Options)) -> Self {
        let mut scene = Self::new().await;
        edit(&mut scene.options);
        scene.start();
        scene
    }

    pub(super) fn start(&mut self) {
        self.start_by(Arc::new(self.clock.clone()));
    }

    /// The pool reads this clock; everything else the scene's.
    pub(super) fn start_by(&mut self, clock: Arc<dyn Clock>) {
        let pool = Pool::new(self.options.clone(), self.store.clone(), clock);
        self.run(pool);
    }

    /// A start as the daemon's: the account's stored state is known before anybody asks.
    pub(super) async fn start_restored(&mut self) {
        let clock = Arc::new(self.clock.clone());
        let mut pool = Pool::new(self.options.clone(), self.store.clone(), clock);
        pool.restore().await;
        self.run(pool);
    }

    fn run(&mut self, pool: Pool) {
        let (handle, shutdown, mut tasks) = (pool.handle(), Shutdown::new(), JoinSet::new());
        tasks.spawn(pool.run(shutdown.watch()));
        self.running = Some(Running { handle, shutdown, tasks });
    }

    pub(super) async fn stop(&mut self, phase: Phase) {
        let mut running = self.running.take().unwrap();
        running.shutdown.advance(phase);
        let end = tokio::time::timeout(PATIENCE, running.tasks.join_next()).await;
        end.expect("the pool does not stop").unwrap().unwrap();
    }

    /// The process that has the queue is killed, and another one opens it; the pool must have been stopped.
    pub(super) async fn restart_queue(&mut self) {
        self.store = Arc::new(self.store.killed().await);
    }

    pub(super) fn handle(&self) -> &PoolHandle {
        &self.running.as_ref().unwrap().handle
    }

    pub(super) async fn submit(&self, recipients: &[&str]) -> QueueId {
        self.submit_body(recipients, BODY).await
    }

    pub(super) async fn submit_body(&self, recipients: &[&str], body: &[u8]) -> QueueId {
        self.submit_in(Lane::Normal, recipients, body).await
    }

    pub(super) async fn submit_in(&self, lane: Lane, recipients: &[&str], body: &[u8]) -> QueueId {
        self.submit_from(lane, "cron@host.example", recipients, body).await
    }

    pub(super) async fn submit_from(
        &self,
        lane: Lane,
        sender: &str,
        recipients: &[&str],
        body: &[u8],
    ) -> QueueId {
        hand_in(&self.store, (lane, sender), recipients, body, self.clock.wall()).await
    }

    pub(super) async fn states(&self, id: QueueId) -> Vec<(RecipientState, u32)> {
        let message = self.store.show(id).await.unwrap().expect("the message is gone");
        message
            .recipients()
            .iter()
            .map(|recipient| (recipient.state.clone(), recipient.attempts))
            .collect()
    }

    pub(super) async fn state(&self, id: QueueId) -> (RecipientState, u32) {
        self.states(id).await.remove(0)
    }

    /// The state names of all recipients.
    pub(super) async fn names(&self, id: QueueId) -> Vec<&'static str> {
        self.states(id).await.iter().map(|(state, _)| state.name()).collect()
    }

    pub(super) async fn until_names(&self, id: QueueId, expected: &[&str]) {
        eventually(
            &format!("{expected:?}"),
            async || self.names(id).await == expected,
            async || format!("{:?}, {:?}", self.states(id).await, self.handle().status()),
        )
        .await;
    }

    pub(super) async fn until_account(&self, expected: AccountCondition) -> AccountState {
        let present = || self.handle().status().account;
        eventually(
            expected.name(),
            async || present().condition == expected && self.handle().status().in_flight.is_empty(),
            async || format!("{:?}", self.handle().status()),
        )
        .await;
        present()
    }

    /// Waits until the pool has nothing to do, then advances the clock.
    pub(super) async fn advance(&self, duration: Duration) {
        self.until_quiet().await;
        self.clock.advance(duration);
    }

    /// The same for long simulations, without a sleep while nothing is on the wire.
    pub(super) async fn until_still(&self) {
        /// Turns that every task of this thread has between two looks; three looks must show the same.
        const TURNS: usize = 20;
        let wait = async {
            let mut before = None;
            let mut same = 0;
            while same < 3 {
                let status = self.handle().status();
                let present = (status.counters, status.next);
                let is_same = status.in_flight.is_empty() && before == Some(present);
                same = if is_same { same + 1 } else { 0 };
                before = Some(present);
                if !status.in_flight.is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                // The queue answers in order: what was asked of it before has its answer when this has.
                let nobody = QueueId::from_bytes([0; 16]);
                assert!(self.store.retry(nobody, self.clock.wall()).await.is_err());
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
            }
        };
        let end = tokio::time::timeout(PATIENCE, wait).await;
        assert!(end.is_ok(), "never still: {:?}", self.handle().status());
    }

    pub(super) async fn until_quiet(&self) {
        let mut before = None;
        let mut same = 0;
        eventually(
            "quiet",
            async || {
                let status = self.handle().status();
                let present = (status.counters, status.in_flight.len(), status.next);
                same = if status.in_flight.is_empty() && before == Some(present) {
                    same + 1
                } else {
                    0
                };
                before = Some(present);
                same > 5
            },
            async || format!("{:?}", self.handle().status()),
        )
        .await;
    }

    pub(super) fn received(&self) -> Vec<Arc<Accepted>> {
        self.sandbox.mailbox().accepted()
    }

    pub(super) async fn until_received(&self, count: usize) -> Vec<Arc<Accepted>> {
        eventually(
            &format!("{count} messages"),
            async || self.received().len() >= count,
            async || format!("{} messages, {:?}", self.received().len(), self.handle().status()),
        )
        .await;
        self.received()
    }
}

/// Hands in a message at this time.
pub(super) async fn hand_in(
    store: &Queue,
    (lane, sender): (Lane, &str),
    recipients: &[&str],
    body: &[u8],
    now: Timestamp,
) -> QueueId {
    let envelope = Envelope {
        reverse_path: Some(sender.parse().unwrap()),
        forward_paths: recipients.iter().map(|address| address.parse().unwrap()).collect(),
        body: BodyKind::SevenBit,
        internationalized: false,
        dsn: pillarbox::smtp::dsn::Dsn::default(),
        lane,
        origin: Origin {
            address: IpAddr::from([127, 0, 0, 1]),
            helo: "host.example".into(),
            protocol: "ESMTP".into(),
            login: None,
            local: None,
        },
        accepted_at: now,
    };
    let mut draft = store.begin(envelope).unwrap();
    draft.write(body).await.unwrap();
    store.enqueue(draft).await.unwrap().id()
}

pub(super) async fn eventually(
    what: &str,
    mut reached: impl AsyncFnMut() -> bool,
    present: impl AsyncFn() -> String,
) {
    let wait = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("{what} was not reached: {}", present().await);
    }
}

pub(super) fn options() -> Options {
    Options {
        account: pillarbox::budget::AccountKey::MAIN,
        provider: pillarbox::delivery::Provider::Gmail,
        host: "localhost".into(),
        port: 587,
        transport: Transport::Smtp,
        tls: Tls::Starttls,
        other_way: None,
        ip_family: IpFamily::Any,
        login: Some(login(APP_PASSWORD)),
        ehlo_name: "relay.example.org".into(),
        ca_file: None,
        connections: 2,
        logins_per_hour: 1_000,
        recipients_per_day: 500.into(),
        notice_reserve: 0,
        urgent_reserve: 0,
        pace_per_minute: 0,
        lifetime: 120 * HOUR,
        uncertain: Uncertain::ResendOnce,
        admin: Some("admin@example.org".parse().unwrap()),
        identity: Identity {
            from: FromPolicy::Account,
            send_as: Vec::new(),
            domain: "relay.example.org".into(),
            hostname: "relay.example.org".into(),
            senders: Vec::new(),
        },
        recipients: Arc::default(),
        drain: 10 * MINUTE,
        limits: Limits { command: PATIENCE, final_dot: PATIENCE, ..Limits::default() },
    }
}

pub(super) fn login(password: &str) -> Login {
    let password = PasswordSource::Inline(Secret::new(password.into()));
    Login { username: "me@gmail.com".into(), password }
}
