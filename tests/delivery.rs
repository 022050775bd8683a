//! Delivery against the Gmail look-alike, over real TLS: what each answer of the upstream comes to.
//!
//! Time is a manual clock; the tests wait for real I/O alone, with a deadline.

use std::{
    io::Write,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use pillarbox::{
    clock::{Clock, ManualClock, Moment, Timestamp},
    delivery::{
        DepartureReason, Limits, Login, Options, PasswordSource, Pool, PoolHandle, Stage as DeliveryStage,
        Tls, Uncertain,
    },
    message::envelope::{BodyKind, Envelope, Origin},
    queue::{
        draft::Draft,
        id::QueueId,
        memory_store::MemoryStore,
        reader::MessageReader,
        receipt::Receipt,
        state::{AccountCondition, AccountState, RecipientState},
        store::{Claim, ClaimTerms, LedgerView, QueuedMessage, Settlement, Store, StoreError, Totals},
    },
    sandbox::{self, APP_PASSWORD, Accepted, Failure, Sandbox, Stage},
    secret::Secret,
    shutdown::{Phase, Shutdown},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::JoinSet,
};

/// How long real I/O may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const START: Timestamp = Timestamp(1_700_000_000_000);
const BODY: &[u8] = b"Subject: test\r\nMessage-ID: <one@example.org>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n.a dot\r\n\r\nlast\r\n";

/// A pool, its queue and its upstream.
struct Scene {
    sandbox: Sandbox,
    store: Arc<MemoryStore>,
    clock: ManualClock,
    options: Options,
    directory: tempfile::TempDir,
    running: Option<Running>,
}

struct Running {
    handle: PoolHandle,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(edit: impl FnOnce(&mut sandbox::Options)) -> Self {
        let clock = ManualClock::new(START);
        let mut sandbox_options = sandbox::Options { clock: Arc::new(clock.clone()), ..Default::default() };
        edit(&mut sandbox_options);
        let sandbox = Sandbox::start(sandbox_options).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, sandbox.certificate_authority_pem()).unwrap();
        let options =
            Options { port: sandbox.starttls_address().port(), ca_file: Some(ca_file), ..options() };
        let store = Arc::new(MemoryStore::new(Arc::new(clock.clone()), 1 << 30));
        Self { sandbox, store, clock, options, directory, running: None }
    }

    /// A scene whose pool runs as `edit` says.
    async fn running(edit: impl FnOnce(&mut Options)) -> Self {
        let mut scene = Self::new().await;
        edit(&mut scene.options);
        scene.start();
        scene
    }

    fn start(&mut self) {
        let pool = Pool::new(self.options.clone(), self.store.clone(), Arc::new(self.clock.clone()));
        let (handle, shutdown, mut tasks) = (pool.handle(), Shutdown::new(), JoinSet::new());
        tasks.spawn(pool.run(shutdown.watch()));
        self.running = Some(Running { handle, shutdown, tasks });
    }

    async fn stop(&mut self, phase: Phase) {
        let mut running = self.running.take().unwrap();
        running.shutdown.advance(phase);
        let end = tokio::time::timeout(PATIENCE, running.tasks.join_next()).await;
        end.expect("the pool does not stop").unwrap().unwrap();
    }

    fn handle(&self) -> &PoolHandle {
        &self.running.as_ref().unwrap().handle
    }

    async fn submit(&self, recipients: &[&str]) -> QueueId {
        self.submit_body(recipients, BODY).await
    }

    async fn submit_body(&self, recipients: &[&str], body: &[u8]) -> QueueId {
        let envelope = Envelope {
            reverse_path: Some("cron@host.example".parse().unwrap()),
            forward_paths: recipients.iter().map(|address| address.parse().unwrap()).collect(),
            body: BodyKind::SevenBit,
            internationalized: false,
            origin: Origin {
                address: IpAddr::from([127, 0, 0, 1]),
                helo: "host.example".into(),
                protocol: "ESMTP".into(),
            },
            accepted_at: self.clock.wall(),
        };
        let mut draft = self.store.begin(envelope).unwrap();
        draft.write(body).await.unwrap();
        self.store.enqueue(draft).await.unwrap().id()
    }

    async fn states(&self, id: QueueId) -> Vec<(RecipientState, u32)> {
        let message = self.store.show(id).await.unwrap().expect("the message is gone");
        message.recipients().iter().map(|recipient| (recipient.state.clone(), recipient.attempts)).collect()
    }

    async fn state(&self, id: QueueId) -> (RecipientState, u32) {
        self.states(id).await.remove(0)
    }

    /// The state names of all recipients.
    async fn names(&self, id: QueueId) -> Vec<&'static str> {
        self.states(id).await.iter().map(|(state, _)| state.name()).collect()
    }

    async fn until_names(&self, id: QueueId, expected: &[&str]) {
        eventually(
            &format!("{expected:?}"),
            async || self.names(id).await == expected,
            async || format!("{:?}, {:?}", self.states(id).await, self.handle().status()),
        )
        .await;
    }

    async fn until_account(&self, expected: AccountCondition) -> AccountState {
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
    async fn advance(&self, duration: Duration) {
        self.until_quiet().await;
        self.clock.advance(duration);
    }

    async fn until_quiet(&self) {
        let mut before = None;
        let mut same = 0;
        eventually(
            "quiet",
            async || {
                let status = self.handle().status();
                let present = (status.counters, status.in_flight.len(), status.next);
                same = if status.in_flight.is_empty() && before == Some(present) { same + 1 } else { 0 };
                before = Some(present);
                same > 5
            },
            async || format!("{:?}", self.handle().status()),
        )
        .await;
    }

    fn received(&self) -> Vec<Arc<Accepted>> {
        self.sandbox.mailbox().accepted()
    }

    async fn until_received(&self, count: usize) -> Vec<Arc<Accepted>> {
        eventually(
            &format!("{count} messages"),
            async || self.received().len() >= count,
            async || format!("{} messages, {:?}", self.received().len(), self.handle().status()),
        )
        .await;
        self.received()
    }
}

async fn eventually(what: &str, mut reached: impl AsyncFnMut() -> bool, present: impl AsyncFn() -> String) {
    let wait = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("{what} was not reached: {}", present().await);
    }
}

fn options() -> Options {
    Options {
        host: "localhost".into(),
        port: 587,
        tls: Tls::Starttls,
        login: Some(login(APP_PASSWORD)),
        ehlo_name: "relay.example.org".into(),
        ca_file: None,
        connections: 2,
        logins_per_hour: 1_000,
        recipients_per_day: 500,
        pace_per_minute: 0,
        lifetime: 120 * HOUR,
        uncertain: Uncertain::ResendOnce,
        admin: Some("admin@example.org".parse().unwrap()),
        drain: 10 * MINUTE,
        limits: Limits { command: PATIENCE, final_dot: PATIENCE, ..Limits::default() },
    }
}

fn login(password: &str) -> Login {
    let password = PasswordSource::Inline(Secret::new(password.into()));
    Login { username: "me@gmail.com".into(), password }
}

#[tokio::test]
async fn both_tls_modes_deliver_the_bytes_unchanged_under_one_login() {
    for tls in [Tls::Starttls, Tls::Implicit] {
        let mut scene = Scene::new().await;
        scene.options.tls = tls;
        scene.options.connections = 1;
        if tls == Tls::Implicit {
            scene.options.port = scene.sandbox.implicit_address().port();
        }
        scene.start();
        for number in 0..20 {
            scene.submit(&[&format!("ok{number}@example.net")]).await;
        }
        let received = scene.until_received(20).await;
        for message in &received {
            assert!(message.body.ends_with(BODY), "{:?}", String::from_utf8_lossy(&message.body));
            assert!(message.tls && message.answered);
            assert_eq!(message.mail_from, "me@gmail.com");
            assert_eq!(message.ehlo, "relay.example.org");
            assert!(message.parameters.iter().any(|parameter| parameter == "BODY=8BITMIME"));
        }
        let counters = scene.sandbox.mailbox().counters();
        assert_eq!((counters.connections, counters.logins, counters.violations), (1, 1, 0), "{tls:?}");
    }
}

#[tokio::test]
async fn a_megabyte_arrives_as_it_was_stored_and_so_do_odd_endings() {
    let scene = Scene::running(|_| {}).await;
    let head = b"Message-ID: <big@example.org>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n";
    let bodies = [
        [&head[..], &b"..two dots\r\n.one\r\n0123456789 \xff\xfe\r\n".repeat(40_000)].concat(),
        head.to_vec(),
        [&head[..], b".\r\n"].concat(),
        [&head[..], b"\r\n\r\n\r\n"].concat(),
        [&head[..], &vec![b'x'; 64 * 1024 - 300], b"\r\n"].concat(),
    ];
    for body in &bodies {
        scene.submit_body(&["ok@example.net"], body).await;
    }
    let received = scene.until_received(bodies.len()).await;
    for body in &bodies {
        assert!(
            received.iter().any(|message| message.body.ends_with(body)),
            "{} bytes are missing",
            body.len()
        );
    }
    assert_eq!(scene.handle().status().counters.uncertain, 0);
}

#[tokio::test]
async fn one_refused_recipient_never_fails_the_others() {
    let scene = Scene::running(|_| {}).await;
    let id =
        scene.submit(&["ok@example.net", "nosuch@example.net", "full@example.net", "ok2@example.net"]).await;
    scene.until_names(id, &["relayed", "dead", "queued", "relayed"]).await;
    assert_eq!(scene.received()[0].rcpt_to, ["ok@example.net", "ok2@example.net"]);
    let [_, dead, full, _] = &scene.states(id).await[..] else { panic!() };
    assert!(matches!(&dead.0, RecipientState::Dead { reason, .. } if reason.contains("5.1.1")), "{dead:?}");
    assert_eq!((dead.1, full.1), (1, 1), "each refusal counts as an attempt");
    let ledger = scene.store.ledger(scene.clock.now(), 500).await.unwrap();
    assert_eq!(ledger.spent, 2, "what was refused is given back");
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
}

#[tokio::test]
async fn a_message_that_lost_all_its_recipients_leaves_the_connection_usable() {
    let scene = Scene::running(|options| options.connections = 1).await;
    let dead = scene.submit(&["nosuch@example.net", "badsyntax@example.net"]).await;
    let relayed = scene.submit(&["ok@example.net"]).await;
    scene.until_names(dead, &["dead", "dead"]).await;
    scene.until_names(relayed, &["relayed"]).await;
    assert_eq!(scene.sandbox.mailbox().counters().connections, 1);
}

#[tokio::test]
async fn two_hundred_and_fifty_recipients_go_in_three_transactions_of_the_same_bytes() {
    let scene = Scene::running(|_| {}).await;
    let addresses: Vec<String> = (0..250).map(|number| format!("ok{number}@example.net")).collect();
    scene.submit(&addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let received = scene.until_received(3).await;
    let mut sizes: Vec<usize> = received.iter().map(|message| message.rcpt_to.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100]);
    assert!(received.iter().all(|message| message.body == received[0].body));
    let mut all: Vec<&String> = received.iter().flat_map(|message| &message.rcpt_to).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 250);
}

#[tokio::test]
async fn recipients_that_the_upstream_has_no_room_for_follow_in_another_transaction_uncharged() {
    let mut scene = Scene::with(|options| options.recipients_max = 2).await;
    scene.start();
    let id = scene
        .submit(&["a@example.net", "b@example.net", "c@example.net", "d@example.net", "e@example.net"])
        .await;
    scene.until_names(id, &["relayed"; 5]).await;
    assert!(scene.states(id).await.iter().all(|(_, attempts)| *attempts <= 1));
    assert_eq!(scene.received().len(), 3);
}

#[tokio::test]
async fn local_names_go_to_the_administrator_or_are_refused_with_the_remedy() {
    let scene = Scene::running(|_| {}).await;
    let id = scene.submit(&["root", "www-data@localhost", "ok@example.net"]).await;
    scene.until_names(id, &["relayed"; 3]).await;
    assert_eq!(scene.received()[0].rcpt_to, ["admin@example.org", "ok@example.net"]);

    let scene = Scene::running(|options| options.admin = None).await;
    let id = scene.submit(&["root"]).await;
    scene.until_names(id, &["dead"]).await;
    let (RecipientState::Dead { reason, .. }, _) = scene.state(id).await else { panic!() };
    assert!(reason.contains("identity.admin"), "{reason}");
}

#[tokio::test]
async fn each_answer_to_a_message_has_its_outcome() {
    let scene = Scene::running(|_| {}).await;
    for (recipient, expected, attempts) in [
        ("virus", "dead", 1),
        ("spam", "dead", 1),
        ("tmp", "queued", 1),
        ("rate", "queued", 1),
        ("rateperm", "queued", 1),
        ("fullperm", "dead", 1),
    ] {
        let id = scene.submit(&[&format!("{recipient}@example.net")]).await;
        let state = async || scene.state(id).await;
        eventually(
            recipient,
            async || {
                let (state, count) = state().await;
                state.name() == expected && count == attempts
            },
            async || format!("{:?}", state().await),
        )
        .await;
    }
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
    assert_eq!(scene.handle().status().errors.len(), 6);
}

#[tokio::test]
async fn a_deferred_message_is_tried_again_when_due_until_it_is_accepted() {
    let scene = Scene::running(|_| {}).await;
    let id = scene.submit(&["tmp3@example.net"]).await;
    for (attempt, wait) in [(1, 2 * MINUTE), (2, 7 * MINUTE), (3, 20 * MINUTE)] {
        eventually(
            "an attempt",
            async || scene.state(id).await.1 == attempt,
            async || format!("{:?}", scene.state(id).await),
        )
        .await;
        scene.advance(wait).await;
    }
    scene.until_names(id, &["relayed"]).await;
}

#[tokio::test]
async fn the_daily_limit_at_any_stage_pauses_the_account_and_harms_no_message() {
    for trigger in ["quota-rcpt", "quota", "quota-dot"] {
        let scene = Scene::running(|_| {}).await;
        let first = scene.submit(&[&format!("{trigger}@example.net")]).await;
        let state = scene.until_account(AccountCondition::PausedQuota).await;
        assert!(state.reason.contains("5.4.5") && !state.remedy.is_empty(), "{state:?}");
        assert_eq!(state.until, Some(scene.clock.wall().after(HOUR)), "{trigger}");
        let second = scene.submit(&["ok@example.net"]).await;
        scene.until_quiet().await;
        scene.until_names(first, &["queued"]).await;
        scene.until_names(second, &["queued"]).await;
        for id in [first, second] {
            assert_eq!(scene.state(id).await.1, 0, "{trigger}: no attempt is charged");
        }
        assert_eq!(scene.store.ledger(scene.clock.now(), 500).await.unwrap().spent, 0);
        assert_eq!(scene.store.account_state().await.unwrap(), Some(state), "the pause is stored");
        let next = scene.handle().status().next.unwrap();
        assert_eq!((next.why, next.at), (DepartureReason::Pause, START.after(HOUR)));
        assert_eq!(scene.received().len(), 0);
    }
}

#[tokio::test]
async fn a_pause_ends_with_one_probe_whose_success_opens_the_account() {
    let mut scene = Scene::new().await;
    scene.options.connections = 5;
    scene.start();
    scene
        .sandbox
        .fail_next(Stage::Mail, Failure::Reply("550 5.4.5 Daily user sending limit exceeded. {id}".into()));
    scene.submit(&["ok@example.net"]).await;
    scene.until_account(AccountCondition::PausedQuota).await;
    for number in 0..10 {
        scene.submit(&[&format!("ok{number}@example.net")]).await;
    }
    scene.until_quiet().await;
    assert_eq!(scene.handle().status().counters.attempts, 1, "nothing leaves during the pause");

    // The probe is refused again: the pause doubles, and only one message was tried.
    scene
        .sandbox
        .fail_next(Stage::Data, Failure::Reply("550 5.4.5 Daily user sending limit exceeded. {id}".into()));
    scene.advance(HOUR).await;
    eventually(
        "a second refusal",
        async || scene.handle().status().account.strikes == 2,
        async || format!("{:?}", scene.handle().status()),
    )
    .await;
    scene.until_quiet().await;
    assert_eq!(scene.handle().status().counters.attempts, 2);
    assert_eq!(scene.handle().status().account.until, Some(scene.clock.wall().after(2 * HOUR)));

    scene.advance(2 * HOUR).await;
    scene.until_received(11).await;
    scene.until_account(AccountCondition::Open).await;
}

#[tokio::test]
async fn a_pause_survives_a_restart_and_resume_ends_it() {
    let mut scene = Scene::running(|_| {}).await;
    let id = scene.submit(&["quota@example.net"]).await;
    let paused = scene.until_account(AccountCondition::PausedQuota).await;
    scene.until_quiet().await;
    scene.stop(Phase::Immediate).await;
    scene.store.restart();
    scene.start();
    assert_eq!(scene.until_account(AccountCondition::PausedQuota).await, paused);
    scene.submit(&["ok@example.net"]).await;
    scene.until_quiet().await;
    assert_eq!(scene.handle().status().counters.attempts, 0);

    scene.sandbox.clear_quota();
    scene.store.delete(id).await.unwrap();
    scene.handle().resume().await;
    scene.until_received(1).await;
    assert_eq!(scene.store.account_state().await.unwrap().unwrap().condition, AccountCondition::Open);
}

#[tokio::test]
async fn each_refused_login_pauses_the_account_with_its_own_remedy() {
    use AccountCondition::{BackingOff, PausedCredentials, PausedLogin};
    for (password, condition, remedy, pause) in [
        ("wrong", PausedCredentials, "app password", 6 * HOUR),
        ("needs-app-password", PausedCredentials, "apppasswords", 6 * HOUR),
        ("needs-browser", PausedCredentials, "browser", 6 * HOUR),
        ("captcha", PausedCredentials, "browser", 6 * HOUR),
        ("busy", BackingOff, "tries again", MINUTE / 2),
        ("toomany", PausedLogin, "logs in again", 15 * MINUTE),
        ("drop", BackingOff, "", MINUTE / 2),
    ] {
        let scene = Scene::running(|options| options.login = Some(login(password))).await;
        let id = scene.submit(&["ok@example.net"]).await;
        scene.submit(&["ok2@example.net"]).await;
        let state = scene.until_account(condition).await;
        assert!(state.remedy.contains(remedy), "{password}: {state:?}");
        assert_eq!(state.until, Some(START.after(pause)), "{password}");
        scene.until_quiet().await;
        scene.until_names(id, &["queued"]).await;
        assert_eq!(scene.state(id).await.1, 0);
        let counters = scene.handle().status().counters;
        assert_eq!(counters.connections, 1, "{password}: one login is tried, not one for each message");
    }
}

#[tokio::test]
async fn an_app_password_with_spaces_logs_in() {
    let scene = Scene::running(|options| options.login = Some(login("abcd efgh\u{a0}ijkl mnop"))).await;
    scene.submit(&["ok@example.net"]).await;
    scene.until_received(1).await;
}

#[tokio::test]
async fn a_connection_closed_with_421_is_replaced_at_once_and_nothing_is_charged() {
    for stage in [Stage::Mail, Stage::Rcpt, Stage::Data] {
        let scene = Scene::running(|options| options.connections = 1).await;
        let expired = "421 4.7.0 Connection expired, try reconnecting. {id}";
        scene.sandbox.fail_next(stage, Failure::ReplyAndClose(expired.into()));
        let id = scene.submit(&["ok@example.net"]).await;
        scene.until_names(id, &["relayed"]).await;
        assert_eq!(scene.sandbox.mailbox().counters().connections, 2, "{stage:?}");
        assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
    }
}

#[tokio::test]
async fn a_second_lost_connection_in_a_row_backs_off_and_the_message_steps_back() {
    for trigger in ["droprcpt", "dropdata", "dropmid", "garbage", "longline", "mixedcode"] {
        let scene = Scene::running(|options| options.connections = 1).await;
        // So large that its final dot is still here when the connection goes in its midst.
        let body =
            [BODY, &b"0123456789\r\n".repeat(if trigger == "dropmid" { 1_500_000 } else { 1 })].concat();
        let id = scene.submit_body(&[&format!("{trigger}@example.net")], &body).await;
        scene.until_account(AccountCondition::BackingOff).await;
        let other = scene.submit(&["ok@example.net"]).await;
        scene.until_quiet().await;
        assert_eq!(scene.state(id).await.1, 0, "{trigger}: no attempt is charged");
        scene.advance(MINUTE / 2).await;
        scene.until_names(other, &["relayed"]).await;
        assert_eq!(scene.received().len(), 1, "{trigger}");
    }
}

#[tokio::test]
async fn a_dead_idle_connection_is_noticed_and_replaced() {
    let scene = Scene::running(|options| options.connections = 1).await;
    let first = scene.submit(&["ok@example.net"]).await;
    scene.until_names(first, &["relayed"]).await;
    scene.until_quiet().await;
    scene.sandbox.disconnect_all();
    let second = scene.submit(&["ok@example.net"]).await;
    scene.until_names(second, &["relayed"]).await;
    assert_eq!(scene.received().len(), 2);
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
}

#[tokio::test]
async fn an_answer_lost_after_the_final_dot_yields_two_identical_copies_then_holds() {
    let scene = Scene::running(|_| {}).await;
    let id = scene.submit(&["dropdot@example.net"]).await;
    scene.until_names(id, &["uncertain"]).await;
    assert_eq!(scene.store.ledger(scene.clock.now(), 500).await.unwrap().spent, 1, "the unit stays spent");
    let RecipientState::Queued { due, .. } = scene.state(id).await.0 else { panic!() };
    let wait = due.since(scene.clock.wall());
    assert!(wait >= 5 * MINUTE && wait <= 15 * MINUTE, "{wait:?}");
    scene.advance(15 * MINUTE).await;
    scene.until_names(id, &["held"]).await;
    scene.advance(24 * HOUR).await;
    scene.until_quiet().await;
    let received = scene.received();
    assert_eq!(received.len(), 2, "never more than two copies");
    assert_eq!(received[0].body, received[1].body);
}

#[tokio::test]
async fn a_message_lost_after_the_final_dot_is_sent_again() {
    let scene = Scene::running(|_| {}).await;
    let id = scene.submit(&["dropdot-lost-once@example.net"]).await;
    scene.until_names(id, &["uncertain"]).await;
    assert_eq!(scene.received().len(), 0);
    scene.advance(15 * MINUTE).await;
    scene.until_names(id, &["relayed"]).await;
    assert_eq!(scene.received().len(), 1);
}

#[tokio::test]
async fn with_the_hold_policy_an_uncertain_recipient_waits_for_a_person() {
    let scene = Scene::running(|options| options.uncertain = Uncertain::Hold).await;
    let id = scene.submit(&["dropdot@example.net"]).await;
    scene.until_names(id, &["held"]).await;
    assert_eq!(scene.received().len(), 1);
}

#[tokio::test]
async fn a_wrong_authority_or_name_is_refused_and_nothing_is_sent() {
    for implicit in [false, true] {
        for wrong_name in [false, true] {
            let mut scene = Scene::new().await;
            if implicit {
                scene.options.tls = Tls::Implicit;
                scene.options.port = scene.sandbox.implicit_address().port();
            }
            if wrong_name {
                // No server name is sent with an address, so the sandbox shows `invalid2.invalid`.
                scene.options.host = "127.0.0.1".into();
            } else {
                scene.options.ca_file = Some(another_authority(&scene.directory));
            }
            scene.start();
            let id = scene.submit(&["ok@example.net"]).await;
            let state = scene.until_account(AccountCondition::PausedConfiguration).await;
            assert!(state.reason.contains("certificate"), "{state:?}");
            assert_eq!(scene.sandbox.mailbox().counters().logins, 0);
            scene.until_names(id, &["queued"]).await;
            assert_eq!(scene.state(id).await.1, 0);
        }
    }
}

fn another_authority(directory: &tempfile::TempDir) -> PathBuf {
    let path = directory.path().join("other.pem");
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(&path, certificate.cert.pem()).unwrap();
    path
}

/// An upstream that plays back lines without TLS. Each command it reads gets the next reply.
async fn scripted(greeting: &'static str, replies: Vec<&'static str>) -> (u16, JoinSet<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(greeting.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        let mut replies = replies.into_iter();
        loop {
            let mut line = Vec::new();
            if stream.read_until(b'\n', &mut line).await.unwrap_or(0) == 0 {
                return heard;
            }
            heard.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            let Some(reply) = replies.next() else { return heard };
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    (port, tasks)
}

#[tokio::test]
async fn a_connection_without_starttls_is_refused_before_anything_is_said() {
    let (port, mut server) =
        scripted("220 smtp.gmail.com\r\n", vec!["250-hello\r\n250 AUTH PLAIN\r\n", "221 bye\r\n"]).await;
    let scene = Scene::running(|options| options.port = port).await;
    scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::PausedConfiguration).await;
    assert!(state.reason.contains("STARTTLS"), "{state:?}");
    let heard = server.join_next().await.unwrap().unwrap();
    assert!(heard.iter().all(|line| !line.starts_with("AUTH") && !line.starts_with("MAIL")), "{heard:?}");
}

#[tokio::test]
async fn text_injected_after_the_reply_to_starttls_is_noticed_and_never_believed() {
    let replies = vec!["250-hello\r\n250 STARTTLS\r\n", "220 go\r\n250-injected\r\n250 AUTH PLAIN\r\n"];
    let (port, mut server) = scripted("220 smtp.gmail.com\r\n", replies).await;
    let scene = Scene::running(|options| options.port = port).await;
    scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::PausedConfiguration).await;
    assert!(state.reason.contains("plain text"), "{state:?}");
    let heard = server.join_next().await.unwrap().unwrap();
    assert_eq!(heard[..2], ["EHLO relay.example.org", "STARTTLS"]);
    assert!(heard.iter().all(|line| !line.starts_with("AUTH")), "{heard:?}");
}

#[tokio::test]
async fn a_silent_upstream_is_given_up_within_the_limit() {
    let (port, _server) = scripted("", vec![]).await;
    let scene = Scene::running(|options| {
        options.port = port;
        options.limits.command = Duration::from_millis(100);
    })
    .await;
    scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::BackingOff).await;
    assert!(state.reason.contains("no progress") && state.reason.contains("greeting"), "{state:?}");
}

#[tokio::test]
async fn a_hanging_reply_is_given_up_at_every_stage() {
    for stage in [Stage::Mail, Stage::Data, Stage::Dot] {
        let scene = Scene::running(|options| {
            options.connections = 1;
            options.limits.command = Duration::from_millis(300);
            options.limits.final_dot = Duration::from_millis(300);
        })
        .await;
        scene.sandbox.fail_next(stage, Failure::Hang);
        let id = scene.submit(&["ok@example.net"]).await;
        let expected = if stage == Stage::Dot { "uncertain" } else { "relayed" };
        scene.until_names(id, &[expected]).await;
    }
}

#[tokio::test]
async fn a_refused_connection_backs_off_and_recovers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut scene = Scene::running(|options| options.port = port).await;
    let id = scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::BackingOff).await;
    assert!(state.reason.contains(&port.to_string()), "{state:?}");
    scene.until_quiet().await;
    scene.stop(Phase::Draining).await;
    scene.options.port = scene.sandbox.starttls_address().port();
    scene.start();
    scene.advance(MINUTE / 2).await;
    scene.until_names(id, &["relayed"]).await;
}

#[tokio::test]
async fn a_spent_budget_parks_the_queue_until_the_window_frees() {
    let mut scene = Scene::new().await;
    scene.options.recipients_per_day = 3;
    scene.options.connections = 1;
    scene.start();
    for number in 0..5 {
        scene.submit(&[&format!("ok{number}@example.net")]).await;
    }
    scene.until_received(3).await;
    scene.until_quiet().await;
    let next = scene.handle().status().next.unwrap();
    assert_eq!((next.why, next.at), (DepartureReason::Budget, START.after(24 * HOUR)));
    scene.advance(23 * HOUR).await;
    scene.until_quiet().await;
    assert_eq!(scene.received().len(), 3);
    scene.advance(HOUR).await;
    scene.until_received(5).await;
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
}

#[tokio::test]
async fn the_pace_spreads_recipients_over_the_minutes() {
    let scene = Scene::running(|options| {
        options.pace_per_minute = 2;
        options.connections = 1;
    })
    .await;
    for number in 0..4 {
        scene.submit(&[&format!("ok{number}@example.net")]).await;
    }
    scene.until_received(3).await;
    scene.until_quiet().await;
    assert_eq!(scene.received().len(), 3, "a burst of two, and one on account");
    assert_eq!(scene.handle().status().next.unwrap().why, DepartureReason::Pace);
    scene.advance(MINUTE / 2).await;
    scene.until_received(4).await;
}

#[tokio::test]
async fn connections_are_renewed_after_their_messages_and_closed_when_idle() {
    let scene = Scene::running(|options| {
        options.connections = 1;
        options.limits.messages_per_connection = 4;
    })
    .await;
    for number in 0..10 {
        scene.submit(&[&format!("ok{number}@example.net")]).await;
    }
    scene.until_received(10).await;
    scene.until_quiet().await;
    assert_eq!(scene.sandbox.mailbox().counters().connections, 3);
    scene.advance(MINUTE).await;
    let open = || scene.sandbox.mailbox().counters().connections_open;
    eventually("a closed connection", async || open() == 0, async || open().to_string()).await;
    assert_eq!(scene.sandbox.mailbox().counters().drops, 0, "closed with QUIT");
}

#[tokio::test]
async fn the_cap_on_logins_keeps_a_worn_connection_rather_than_stop() {
    let scene = Scene::running(|options| {
        options.connections = 1;
        options.logins_per_hour = 1;
        options.limits.messages_per_connection = 2;
    })
    .await;
    for number in 0..6 {
        scene.submit(&[&format!("ok{number}@example.net")]).await;
    }
    scene.until_received(6).await;
    assert_eq!(scene.sandbox.mailbox().counters().logins, 1);
}

#[tokio::test]
async fn draining_finishes_what_is_in_flight_and_claims_nothing_more() {
    let mut scene = Scene::running(|options| options.connections = 1).await;
    scene.sandbox.fail_next(Stage::Dot, Failure::Delay(5 * MINUTE));
    let first = scene.submit(&["ok@example.net"]).await;
    let second = scene.submit(&["ok2@example.net"]).await;
    eventually(
        "the final dot",
        async || scene.handle().status().in_flight.iter().any(|one| one.stage == DeliveryStage::FinalDot),
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
        async || scene.handle().status().in_flight.iter().any(|one| one.stage == DeliveryStage::FinalDot),
        async || format!("{:?}", scene.handle().status()),
    )
    .await;
    scene.stop(Phase::Immediate).await;
    scene.store.restart();
    assert_eq!(scene.names(id).await, ["uncertain"]);
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_password_and_no_body_reaches_the_log_and_every_step_does() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // With one subscriber alone, tracing would decide for all threads from one that has none.
    let _other = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut scene = Scene::running(|_| {}).await;
    let id = scene.submit(&["ok@example.net", "nosuch@example.net", "full@example.net"]).await;
    scene.until_names(id, &["relayed", "dead", "queued"]).await;
    let uncertain = scene.submit(&["dropdot@example.net"]).await;
    scene.until_names(uncertain, &["uncertain"]).await;
    scene.submit(&["quota@example.net"]).await;
    scene.until_account(AccountCondition::PausedQuota).await;
    scene.stop(Phase::Draining).await;

    let text = String::from_utf8_lossy(&captured.0.lock().unwrap()).into_owned();
    let initial_response = data_encoding::BASE64.encode(format!("\0me@gmail.com\0{APP_PASSWORD}").as_bytes());
    for secret in [APP_PASSWORD, &initial_response, ".a dot"] {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
    for word in ["claimed", "relayed", "deferred", "dead", "uncertain", "paused-quota"] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
    assert!(text.contains(&id.to_string()) && text.contains("2.0.0 OK"));
}

/// A queue that cannot note a final dot, or take a settlement, a number of times.
#[derive(Debug)]
struct Failing {
    inner: Arc<MemoryStore>,
    final_dots: AtomicU32,
    settlements: AtomicU32,
    claims: AtomicU32,
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
    async fn settle(&self, id: QueueId, settlement: Settlement) -> Result<(), StoreError> {
        fails(&self.settlements)?;
        self.inner.settle(id, settlement).await
    }
    fn admission(&self, size_bytes: u64) -> Result<(), StoreError> {
        self.inner.admission(size_bytes)
    }
    fn begin(&self, envelope: Envelope) -> Result<Draft, StoreError> {
        self.inner.begin(envelope)
    }
    async fn enqueue(&self, draft: Draft) -> Result<Receipt, StoreError> {
        self.inner.enqueue(draft).await
    }
    async fn open_message(&self, id: QueueId) -> Result<MessageReader, StoreError> {
        self.inner.open_message(id).await
    }
    async fn retry(&self, id: QueueId, now: Timestamp) -> Result<u32, StoreError> {
        self.inner.retry(id, now).await
    }
    async fn hold(&self, id: QueueId, now: Timestamp, reason: String) -> Result<u32, StoreError> {
        self.inner.hold(id, now, reason).await
    }
    async fn delete(&self, id: QueueId) -> Result<(), StoreError> {
        self.inner.delete(id).await
    }
    async fn list(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<QueuedMessage>, StoreError> {
        self.inner.list(after, limit).await
    }
    async fn show(&self, id: QueueId) -> Result<Option<QueuedMessage>, StoreError> {
        self.inner.show(id).await
    }
    async fn history(&self, before: Option<QueueId>, limit: usize) -> Result<Vec<QueuedMessage>, StoreError> {
        self.inner.history(before, limit).await
    }
    async fn prune_history(&self, keep_after: Timestamp) -> Result<u32, StoreError> {
        self.inner.prune_history(keep_after).await
    }
    async fn ledger(&self, now: Moment, limit: u32) -> Result<LedgerView, StoreError> {
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

#[tokio::test]
async fn a_failing_queue_delays_messages_but_none_leaves_unnoted_and_none_leaves_twice() {
    for (final_dots, settlements, claims) in [(2, 0, 0), (0, 3, 0), (0, 0, 3), (1, 1, 1)] {
        let mut scene = Scene::new().await;
        let store = Arc::new(Failing {
            inner: scene.store.clone(),
            final_dots: AtomicU32::new(final_dots),
            settlements: AtomicU32::new(settlements),
            claims: AtomicU32::new(claims),
        });
        let pool = Pool::new(scene.options.clone(), store, Arc::new(scene.clock.clone()));
        let (handle, shutdown, mut tasks) = (pool.handle(), Shutdown::new(), JoinSet::new());
        tasks.spawn(pool.run(shutdown.watch()));
        scene.running = Some(Running { handle, shutdown, tasks });
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
