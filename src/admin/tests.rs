//! The API end to end: client, socket and server over the memory twin of the store.
//!
//! Rule: only what travels is tested here; what the verbs do is the store contract's.

mod orders;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{
    accounts::{AccountFacts, Upstream, Upstreams},
    alert::{
        outputs::{self, Target, Way},
        post::Post,
        watch::{self, Kind as AlertKind},
    },
    api::{Because, Kind},
    checkups::Checkups,
    client::{Client, ClientError},
    context::{Facts, Sources},
    counts::CountBy,
    health::Grade,
    listing::{Of, Sort},
    place::Place,
    reload,
    server::serve,
    socket::{MONITORING, Peer, Port, Socket},
    weekly::{
        memory::{self, Reports},
        schedule::{Hour, Weekday},
    },
};
use crate::{
    budget::{AccountKey, Limit, MAIN},
    clock::{Clock, ManualClock, Timestamp},
    delivery::{Counters, PoolStatus, inspection::LoginProof},
    live::Live,
    message::envelope::{BodyKind, Envelope, Origin},
    queue::{
        ClaimLimits, Queue, QueueError, id::QueueId, only::Only, pause::Pause, search::Search,
        spool_file::MessageReader, state::AccountState,
    },
    shutdown::{Phase, Shutdown, Watch},
    smtp::address::Address,
    telemetry::LogLevel,
};

/// A delivery half that only counts what it is asked.
#[derive(Debug, Default)]
pub(super) struct Idle {
    resumed: AtomicU32,
    /// How the account is, where it is not open.
    pub(super) state: Mutex<Option<AccountState>>,
    /// The upstream has said, at this time, that the day is full.
    full_since: Mutex<Option<Timestamp>>,
}

#[async_trait]
impl Upstream for Idle {
    fn status(&self) -> PoolStatus {
        let day_full_since = *self.full_since.lock().expect("no panic");
        let state = self.state.lock().expect("no panic").clone();
        let state = state.unwrap_or_else(|| AccountState::open(Timestamp(0)));
        let account = AccountState { day_full_since, ..state };
        let counters = Counters::default();
        PoolStatus {
            fleet: None,
            account,
            probing: false,
            in_flight: vec![],
            next: None,
            errors: vec![],
            counters,
            last_unknown_reply: None,
        }
    }

    fn pacing(&self) -> (ClaimLimits, u32) {
        (limits(MAIN, Limit::of(475)), 0)
    }

    async fn resume(&self) -> AccountState {
        self.resumed.fetch_add(1, Ordering::Relaxed);
        *self.state.lock().expect("no panic") = None;
        self.status().account
    }

    async fn pause(&self, pause: Pause) -> Result<AccountState, QueueError> {
        let state = AccountState { pause: Some(pause), ..self.status().account };
        *self.state.lock().expect("no panic") = Some(state.clone());
        Ok(state)
    }

    fn rewrite_as_sent(
        &self,
        _: QueueId,
        _: Timestamp,
        reader: &mut MessageReader,
    ) -> Result<String, QueueError> {
        reader.put_in_front(b"X-As-Sent: yes\r\n".to_vec());
        Ok(String::new())
    }

    async fn prove_login(&self) -> LoginProof {
        LoginProof::Accepted
    }
}

struct Stage {
    _directory: TempDir,
    _server: JoinSet<()>,
    _shutdown: Shutdown,
    /// The order to the daemon, which its server outlives.
    stop: Shutdown,
    /// The TCP port.
    port: SocketAddr,
    clock: ManualClock,
    store: Arc<Queue>,
    upstream: Arc<Idle>,
    client: Client,
}

/// Whose only target is a command that fails.
fn alert_options() -> outputs::Options {
    let way = Way::Command(vec!["false".into(), "s3cret".into()]);
    outputs::Options {
        targets: vec![Target { name: "phone".into(), way, only: vec![AlertKind::Held] }],
        ca_file: None,
        heartbeat: None,
        watch: watch::Options {
            oldest_message: Duration::from_secs(3_600),
            repeat: Duration::from_secs(86_400),
            hostname: "relay.example.org".into(),
        },
    }
}

fn report_options() -> memory::Options {
    let address: Address = "admin@example.org".parse().expect("an address");
    memory::Options {
        enabled: false,
        hour: Hour { day: Weekday::Monday, hour: 6 },
        from: Some(address.clone()),
        to: Some(address),
        history_lifetime: Duration::from_secs(30 * 86_400),
    }
}

pub(super) fn limits(name: &str, limit: impl Into<Limit>) -> ClaimLimits {
    ClaimLimits {
        account: AccountKey::of(name),
        limit: limit.into(),
        notice_reserve: 0,
        urgent_reserve: 0,
        recipients_max: 100,
    }
}

/// An account that may spend `limit` recipients beside its owner.
pub(super) fn account(name: &str, limit: impl Into<Limit>) -> AccountFacts {
    let limits = limits(name, limit);
    AccountFacts {
        name: name.into(),
        upstream: "smtp.example.org:587".into(),
        username: Some("you@example.org".into()),
        in_fleet: "you@example.org at smtp.example.org".into(),
        recipients_per_day: limits.limit.with(5),
        owner_reserve: 5,
        limits,
        connections: Some(2),
        logins_per_hour: Some(20),
    }
}

/// What everybody who tells of the relay's state asks, of one that may spend `limit` recipients.
pub(super) fn sources(
    directory: &Path,
    clock: &ManualClock,
    store: &Arc<Queue>,
    stop: Watch,
    limit: impl Into<Limit>,
) -> Sources {
    let facts = Facts {
        started: clock.now(),
        listening: vec![([127, 0, 0, 1], 2525).into()],
        local_socket: None,
        accounts: vec![account(MAIN, limit)],
        networks: Arc::default(),
        rules: Arc::default(),
        hostname: "relay.example.org".into(),
        damaged: "/nonexistent/damaged".into(),
        configured: Arc::default(),
        largest_message: 1 << 10,
    };
    Sources {
        store: Arc::clone(store),
        upstreams: Upstreams::new(Arc::new(Idle::default())),
        clients: Arc::default(),
        dropped: None,
        clock: Arc::new(clock.clone()),
        stop,
        mishaps: crate::tasks::Mishaps::default(),
        outlook: Arc::default(),
        checkups: Arc::new(Checkups::in_directory(directory)),
        reports: Arc::new(Reports::in_directory(directory, Live::new(report_options()))),
        log_level: LogLevel::of_this_process(tracing::Level::INFO),
        facts: Live::new(facts),
        reloader: reload::channel().0,
        alert: Live::new(alert_options()),
        post: Arc::new(Post::in_directory(directory)),
        page: Some(Arc::new(Place::new(
            "127.0.0.1:8025".parse().expect("an address"),
            None,
            false,
        ))),
        sessions: Arc::default(),
        fleet: None,
    }
}

/// A server whose relay may spend `limit` recipients.
fn stage(limit: impl Into<Limit>) -> Stage {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("admin.sock");
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let store = Arc::new(Queue::in_memory(Arc::new(clock.clone()), 1 << 20));
    let upstream = Arc::new(Idle::default());
    let (shutdown, stop) = (Shutdown::new(), Shutdown::new());
    let its_clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let read_only = Port::bind(([127, 0, 0, 1], 0).into(), &MONITORING, Arc::clone(&its_clock))
        .expect("a free port");
    let port = axum::serve::Listener::local_addr(&read_only).expect("an address");
    let sources = sources(directory.path(), &clock, &store, stop.watch(), limit);
    let sources = Sources { upstreams: Upstreams::new(upstream.clone()), ..sources };
    let socket = Socket::bind(&path, its_clock).expect("a free path");
    let mut server = JoinSet::new();
    server.spawn(serve(socket, Some(read_only), sources, shutdown.watch()));
    let client = Client::new(path);
    Stage {
        _directory: directory,
        _server: server,
        _shutdown: shutdown,
        stop,
        port,
        clock,
        store,
        upstream,
        client,
    }
}

impl Stage {
    async fn accept(&self, recipients: usize) -> QueueId {
        let forward_paths = (0..recipients).map(|number| format!("r{number}@example.org"));
        let envelope = Envelope {
            reverse_path: Some("sender@example.org".parse().expect("an address")),
            forward_paths: forward_paths.map(|text| text.parse().expect("an address")).collect(),
            body: BodyKind::SevenBit,
            internationalized: false,
            dsn: crate::smtp::dsn::Dsn::default(),
            lane: crate::message::envelope::Lane::Normal,
            origin: Origin {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                helo: "client".into(),
                protocol: "ESMTP".into(),
                login: None,
                local: None,
            },
            accepted_at: self.clock.wall(),
        };
        let mut draft = self.store.begin(envelope).expect("room");
        draft.write(b"Subject: test\r\n\r\nbody\r\n").await.expect("room");
        self.store.enqueue(draft).await.expect("room").id()
    }

    /// What the TCP port answers: the whole of it.
    async fn over_tcp(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.port).await.expect("the port is open");
        let request = format!("{method} {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    async fn claim(&self, limit: u32) {
        let terms = ClaimLimits {
            account: AccountKey::MAIN,
            limit: limit.into(),
            notice_reserve: 0,
            urgent_reserve: 0,
            recipients_max: 100,
        };
        self.store.claim_due(self.clock.now(), terms).await.expect("the twin answers");
    }
}

#[tokio::test]
async fn status_names_the_budget_as_the_obstacle_and_when_it_ends() {
    let stage = stage(2);
    let first = stage.accept(2).await;
    stage.claim(2).await;
    stage.accept(1).await;
    let status = stage.client.status().await.expect("an answer");
    assert_eq!((status.queue.messages, status.queue.recipients.queued), (2, 1));
    assert_eq!(status.queue.oldest.map(|oldest| oldest.id), Some(first));
    assert_eq!(status.queue.recipients.reserved, 2);
    assert_eq!(
        (status.budget.limit, status.budget.spent, status.budget.room),
        (2.into(), 2, Some(0))
    );
    assert_eq!(status.departure.because, Because::Budget);
    assert_eq!(status.departure.at, Some(stage.clock.wall().after(Duration::from_secs(86_400))));
}

#[tokio::test]
async fn a_day_that_the_upstream_calls_full_leaves_no_room_whatever_the_ledger_says() {
    let stage = stage(10);
    let since = stage.clock.wall();
    *stage.upstream.full_since.lock().expect("no panic") = Some(since);
    let budget = stage.client.budget(None).await.expect("an answer").first;
    assert_eq!((budget.spent, budget.room, budget.full_since), (0, Some(0), Some(since)));
    stage.clock.advance(Duration::from_secs(86_400));
    let budget = stage.client.budget(None).await.expect("an answer").first;
    assert_eq!(
        (budget.room, budget.full_since),
        (Some(10), None),
        "a day later it cannot be full any more"
    );
}

#[tokio::test]
async fn pages_of_the_queue_follow_one_another_without_gap_or_repetition() {
    let stage = stage(10);
    let mut accepted = Vec::new();
    for _ in 0..5 {
        accepted.push(stage.accept(1).await);
    }
    let (mut seen, mut walk) = (Vec::new(), stage.client.queue(None));
    while let Some(messages) = walk.page(2).await.expect("an answer") {
        seen.extend(messages.iter().map(|message| message.id));
    }
    assert_eq!(seen, accepted);
}

#[tokio::test]
async fn a_list_of_a_queue_that_grows_faster_than_it_is_read_ends_at_what_was_there() {
    let stage = stage(10);
    let mut accepted = Vec::new();
    for _ in 0..5 {
        accepted.push(stage.accept(1).await);
    }
    let (mut seen, mut walk) = (Vec::new(), stage.client.queue(None));
    while let Some(messages) = walk.page(2).await.expect("an answer") {
        for message in messages {
            seen.push(message.id);
            stage.accept(1).await;
            stage.accept(1).await;
        }
    }
    assert_eq!(seen, accepted);
}

#[tokio::test]
async fn a_message_can_be_shown_retried_and_deleted_and_is_then_history() {
    let stage = stage(10);
    let id = stage.accept(3).await;
    assert_eq!(stage.client.message(id).await.expect("an answer").recipients.len(), 3);
    assert_eq!(stage.client.retry(id, &Only::default()).await.expect("an answer").recipients, 3);
    assert_eq!(stage.client.delete(id, &Only::default()).await.expect("an answer").id, id);
    let again = stage.client.delete(id, &Only::default()).await.err();
    assert_eq!(again.and_then(|error| error.kind()), Some(Kind::NotFound));
    let remembered = stage.client.message(id).await.expect("an answer");
    assert!(
        remembered.recipients.iter().all(|recipient| recipient.state == "dead"),
        "{remembered:?}"
    );
}

#[tokio::test]
async fn what_the_page_orders_is_done_by_its_visitor_and_nobody_else_may_say_so() {
    let stage = stage(10);
    let id = stage.accept(1).await;
    let person = "al\u{ef}ce (user 1000)";
    stage.client.asking_for(person).delete(id, &Only::default()).await.expect("deleted");
    let end = stage.client.finished(id).await.expect("its history").end.expect("an end");
    assert_eq!(end.by.as_deref(), Some(person));
    let own = rustix::process::geteuid().as_raw();
    let asking = |uid| Peer { uid, visitor: None }.asking_for("root (user 0)").visitor;
    assert_eq!(asking(own).as_deref(), Some("root (user 0)"));
    assert_eq!(asking(own + 1), None, "a user who says that he is another");
}

#[tokio::test]
async fn a_message_is_deleted_only_in_the_state_that_was_asked_for() {
    let stage = stage(10);
    let id = stage.accept(1).await;
    let refusal =
        stage.client.delete(id, &Only::with("dead")).await.err().and_then(|error| error.kind());
    assert_eq!(refusal, Some(Kind::OtherState));
    assert_eq!(stage.client.message(id).await.expect("an answer").recipients[0].state, "queued");
    assert_eq!(stage.client.delete(id, &Only::with("queued")).await.expect("an answer").id, id);
    let again =
        stage.client.delete(id, &Only::with("queued")).await.err().and_then(|error| error.kind());
    assert_eq!(again, Some(Kind::NotFound));
}

#[tokio::test]
async fn a_message_in_the_hands_of_a_worker_cannot_be_deleted() {
    let stage = stage(10);
    let id = stage.accept(1).await;
    stage.claim(10).await;
    let refusal =
        stage.client.delete(id, &Only::default()).await.err().and_then(|error| error.kind());
    assert_eq!(refusal, Some(Kind::Conflict));
}

#[tokio::test]
async fn resume_reaches_the_delivery_half() {
    let stage = stage(10);
    assert!(stage.client.resume(None).await.expect("an answer").first.is_open());
    assert_eq!(stage.upstream.resumed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn without_a_daemon_the_client_says_so_and_what_to_do() {
    let client = Client::new(PathBuf::from("/nonexistent/admin.sock"));
    let error = client.status().await.expect_err("nobody is there");
    assert!(matches!(error, ClientError::NoDaemon(_)));
    assert!(
        error
            .to_string()
            .starts_with("no daemon answers on /nonexistent/admin.sock; is it running?")
    );
}

#[tokio::test]
async fn a_relay_that_is_told_to_stop_is_alive_but_not_ready() {
    let stage = stage(10);
    let health = stage.client.health().await.expect("an answer");
    assert!(health.is(Grade::Clear), "{health:?}");
    assert!(stage.over_tcp("GET", "/health/ready").await.ends_with("\r\nok\n"));
    stage.stop.advance(Phase::Draining);
    let health = stage.client.health().await.expect("an answer");
    assert!(health.is(Grade::Live) && !health.is(Grade::Ready), "{health:?}");
    assert!(stage.over_tcp("GET", "/health/live").await.starts_with("HTTP/1.0 200 "));
    let answer = stage.over_tcp("GET", "/health/ready").await;
    assert!(
        answer.starts_with("HTTP/1.0 503 ") && answer.ends_with("\r\nthe relay is stopping\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn the_tcp_port_changes_nothing_and_shows_nobody() {
    let stage = stage(10);
    let id = stage.accept(2).await;
    for (method, path) in [("GET", "/v1/status".to_owned()), ("POST", "/v1/resume".into())] {
        let answer = stage.over_tcp(method, &path).await;
        assert!(answer.starts_with("HTTP/1.0 404 "), "{path}: {answer}");
    }
    assert!(
        stage.over_tcp("DELETE", &format!("/v1/queue/{id}")).await.starts_with("HTTP/1.0 404 ")
    );
    assert!(stage.over_tcp("POST", "/metrics").await.starts_with("HTTP/1.0 405 "));
    assert_eq!(stage.upstream.resumed.load(Ordering::Relaxed), 0);
    assert_eq!(stage.store.totals().messages, 1);
    let metrics = stage.over_tcp("GET", "/metrics").await;
    assert!(metrics.contains("\npillarbox_queue_messages 1\n"), "{metrics}");
    assert!(!metrics.contains('@') && !metrics.contains("example.org"), "{metrics}");
}

#[tokio::test]
async fn without_a_limit_no_metric_and_no_answer_invents_one() {
    let stage = stage(Limit::NONE);
    stage.accept(2).await;
    stage.claim(u32::MAX).await;
    let metrics = stage.over_tcp("GET", "/metrics").await;
    assert!(metrics.contains("\npillarbox_budget_spent_recipients 2\n"), "{metrics}");
    assert!(!metrics.contains("budget_limit") && !metrics.contains("budget_room"), "{metrics}");
    let budget = stage.client.budget(None).await.expect("an answer").first;
    assert_eq!((budget.limit, budget.spent, budget.room), (Limit::NONE, 2, None));
    *stage.upstream.full_since.lock().expect("no panic") = Some(stage.clock.wall());
    let budget = stage.client.budget(None).await.expect("an answer").first;
    assert_eq!(budget.room, Some(0), "the upstream's own word still counts");
}

#[tokio::test]
async fn metrics_are_well_formed_and_found_anew_after_five_seconds() {
    let stage = stage(10);
    let metrics = stage.over_tcp("GET", "/metrics").await;
    let (head, body) = metrics.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for line in body.lines().filter(|line| !line.starts_with("# HELP ")) {
        let (name, value) = line.trim_start_matches("# TYPE ").rsplit_once(' ').expect("two words");
        assert!(name.starts_with("pillarbox_"), "{line}");
        let known = if line.starts_with('#') {
            ["counter", "gauge"].contains(&value)
        } else {
            value.parse::<u64>().is_ok()
        };
        assert!(known, "{line}");
        let counts = line
            .strip_prefix("# TYPE ")
            .is_none_or(|_| name.ends_with("_total") == (value == "counter"));
        assert!(counts, "a counter, and nothing else, ends in _total: {line}");
    }
    for expected in [
        "pillarbox_account{condition=\"open\"} 1",
        "pillarbox_account{condition=\"paused-quota\"} 0",
        "pillarbox_budget_limit_recipients 10",
        "pillarbox_queue_oldest_seconds 0",
        "pillarbox_ready 1",
    ] {
        assert!(body.lines().any(|line| line == expected), "{expected} is missing:\n{body}");
    }

    stage.accept(3).await;
    stage.clock.advance(Duration::from_secs(4));
    assert_eq!(
        stage.over_tcp("GET", "/metrics").await.split_once("\r\n\r\n").map(|(_, body)| body),
        Some(body)
    );
    stage.clock.advance(Duration::from_secs(1));
    let metrics = stage.over_tcp("GET", "/metrics").await;
    assert!(metrics.contains("\npillarbox_queue_recipients{state=\"queued\"} 3\n"), "{metrics}");
    assert!(metrics.contains("\npillarbox_queue_oldest_seconds 5\n"), "{metrics}");
}

#[tokio::test]
async fn a_search_finds_every_message_whatever_the_pages_and_a_verb_meets_no_other() {
    let stage = stage(100);
    let mut ids = Vec::new();
    for recipients in [1, 3, 2] {
        ids.push(stage.accept(recipients).await);
        stage.clock.advance(Duration::from_secs(60));
    }
    for limit in [1, 2, 10] {
        let search: Search = "to:r1@ age>30s".parse().expect("a search");
        let (mut walk, mut found) = (stage.client.queue(None).of(search, None), Vec::new());
        while let Some(page) = walk.page(limit).await.expect("an answer") {
            found.extend(page.into_iter().map(|message| message.id));
        }
        assert_eq!(found, ids[1..], "{limit}");
    }
    let search = "subject:test".parse().expect("a search");
    let counts = stage.client.counts(Of::Queue, CountBy::To, &search, 1).await.expect("an answer");
    assert_eq!((counts.messages, counts.recipients, counts.other_messages), (3, 6, 3));
    assert_eq!((counts.values[0].value.as_str(), counts.values[0].messages), ("r0@example.org", 3));
    let only = Only::default().found_by("to:r2@".parse().expect("a search"));
    let refused = stage.client.delete(ids[0], &only).await.expect_err("another one");
    assert_eq!(refused.kind(), Some(Kind::OtherState));
    stage.client.delete(ids[1], &only).await.expect("this one");
}

#[tokio::test]
async fn the_history_is_searched_sorted_and_counted_newest_first_whatever_the_pages() {
    let stage = stage(100);
    let mut ids = Vec::new();
    for recipients in [1, 3, 2, 1] {
        ids.push(stage.accept(recipients).await);
        stage.clock.advance(Duration::from_secs(60));
    }
    let waiting = ids.pop().expect("four");
    // What came first goes last.
    for id in ids.iter().rev() {
        stage.client.delete(*id, &Only::default()).await.expect("an answer");
        stage.clock.advance(Duration::from_secs(1));
    }
    let read = async |limit, search: &str, sort| {
        let search: Search = search.parse().expect("a search");
        let (mut walk, mut found) = (stage.client.walk(Of::History, None).of(search, sort), vec![]);
        while let Some(page) = walk.page(limit).await.expect("an answer") {
            found.extend(page.iter().map(|message| message.id));
        }
        assert_eq!(walk.next(), None);
        found
    };
    let newest_first: Vec<QueueId> = ids.iter().rev().copied().collect();
    for limit in [1, 2, 3, 10] {
        assert_eq!(read(limit, "", None).await, newest_first);
        assert_eq!(read(limit, "to:r1@", None).await, newest_first[..2]);
        assert_eq!(read(limit, "to:r2@", None).await, ids[1..2]);
        assert_eq!(read(limit, "", Some(Sort::Ended)).await, ids, "the end is another order");
        assert_eq!(read(limit, "-ended:deleted", None).await, []);
    }
    let everything = Search::default();
    let counts = stage.client.counts(Of::History, CountBy::To, &everything, 1).await;
    let counts = counts.expect("an answer");
    assert_eq!((counts.messages, counts.recipients), (3, 6));
    assert_eq!((counts.values[0].value.as_str(), counts.values[0].messages), ("r0@example.org", 3));

    let end = stage.client.finished(ids[0]).await.expect("an answer").end.expect("it has ended");
    let user = rustix::process::geteuid().as_raw();
    assert!(end.by.is_some_and(
        |by| by.ends_with(&format!("user {user}")) || by.ends_with(&format!("(user {user})"))
    ));
    assert_eq!(
        (end.how.as_str(), end.at),
        ("deleted", stage.clock.wall().before(Duration::from_secs(1)))
    );
    let still_there = stage.client.finished(waiting).await.expect_err("it waits");
    assert!(still_there.to_string().contains("is still in the queue"), "{still_there}");
}

#[tokio::test]
async fn a_test_alert_says_what_each_receiver_answered_and_shows_no_secret() {
    let stage = stage(100);
    let trials = stage.client.test_alerts(None).await.unwrap().trials;
    assert_eq!((trials.len(), &*trials[0].target, trials[0].taken), (1, "phone", false));
    assert_eq!(trials[0].answer, "the alert command false failed: exit status: 1");
    let one = stage.client.test_alerts(Some("phone")).await.unwrap().trials;
    assert_eq!(one, trials);
    let error = stage.client.test_alerts(Some("nobody")).await.unwrap_err();
    assert_eq!(error.kind(), Some(Kind::NotFound));
    assert_eq!(error.to_string(), "there is no target \"nobody\"; there are: phone");
    let list = stage.client.alerts().await.unwrap();
    assert_eq!((list.targets[0].waiting, &list.targets[0].only[..]), (0, &[AlertKind::Held][..]));
    assert_eq!(list.targets[0].goes_to, "the command false");
    assert!(!format!("{list:?}{trials:?}").contains("s3cret"));
}
