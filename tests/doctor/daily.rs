//! The relay's own look at itself: once a day on a clock that is moved, told, kept, and shown.
//!
//! Rule: the whole daemon in this process, so that the test moves its clock; the commands are the real binary.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use pillarbox::{
    clock::{Clock, ManualClock, SystemClock},
    daemon::{self, Daemon, DaemonError},
    queue::Queue,
    sandbox::{Failure, Options as SandboxOptions, Sandbox, Stage},
    settings::{self, Surroundings, host::Host},
    shutdown::{Phase, Shutdown},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{
    daemon::{Home, Upstream, within},
    executable,
    gmail::Gmail,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// How long a step of the clock is given to show an effect.
const STEP_PATIENCE: Duration = Duration::from_secs(2);
const HOUR: Duration = Duration::from_secs(3_600);

/// A home whose alerts are lines of a file.
pub(super) struct Told {
    pub(super) home: Home,
    pub(super) sandbox: Sandbox,
    pub(super) clock: ManualClock,
    _authority: tempfile::TempDir,
}

pub(super) struct Running {
    shutdown: Shutdown,
    tasks: JoinSet<Result<(), DaemonError>>,
}

impl Told {
    pub(super) async fn new(more: &str) -> Self {
        Self::before(SandboxOptions::default(), more).await
    }

    /// Before this look-alike.
    pub(super) async fn before(options: SandboxOptions, more: &str) -> Self {
        let authority = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(options).await.unwrap();
        let upstream = Upstream::of(&sandbox, authority.path());
        let home = Home::new(&upstream);
        let program = home.path("tell");
        let alerts = home.path("alerts").display().to_string();
        executable::script(&program, &format!("#!/bin/sh\ncat >> {alerts}\necho >> {alerts}\n"));
        let program = program.display().to_string();
        home.configure(&upstream, &format!("[alert]\ncommand = [{program:?}]\n{more}"));
        let clock = ManualClock::new(SystemClock::new().wall());
        Self { home, sandbox, clock, _authority: authority }
    }

    pub(super) async fn start(&self) -> Running {
        let nothing_around = Surroundings {
            variables: std::collections::BTreeMap::new(),
            local_file: "/nowhere/relay.toml".into(),
            system_file: "/nowhere/else.toml".into(),
            host: Host { nodename: "relay.example.org".into(), ..Host::default() },
            secret_directories: Vec::new(),
        };
        let settings = settings::load_in(Some(&self.home.config()), &nothing_around).unwrap();
        let shared: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let listener = daemon::bind(&settings).unwrap();
        let (queue, of_store) = (settings.queue.clone(), Arc::clone(&shared));
        let store = tokio::task::block_in_place(|| Queue::open(queue, of_store)).unwrap();
        let daemon = Daemon::start(settings, shared, Arc::new(store), listener).await.unwrap();
        let shutdown = daemon.shutdown();
        let mut tasks = JoinSet::new();
        tasks.spawn(daemon.run());
        Running { shutdown, tasks }
    }

    pub(super) fn say(&self, arguments: &[&str]) -> String {
        let output = self.home.output(arguments);
        String::from_utf8(output.stdout).unwrap()
    }

    /// The alerts of checks so far.
    fn alerts(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.home.path("alerts")).unwrap_or_default();
        let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        all.filter(|alert| alert["kind"] == "check").collect()
    }

    fn checkup(&self) -> Value {
        let status: Value = serde_json::from_str(&self.say(&["status", "--json"])).unwrap();
        status["checkup"].clone()
    }

    /// Moves the clock by so many steps of a minute until this is so.
    pub(super) fn advance_until(&self, steps: usize, step: Duration, is_so: impl Fn() -> bool) {
        let came = (0..steps).any(|_| {
            self.clock.advance(step);
            within(STEP_PATIENCE, &is_so)
        });
        assert!(came, "{}, {:?}", self.checkup(), self.alerts());
    }
}

impl Running {
    pub(super) async fn stop(mut self) {
        self.shutdown.advance(Phase::Draining);
        let ended = tokio::time::timeout(PATIENCE, self.tasks.join_next()).await.unwrap();
        ended.unwrap().unwrap().unwrap();
    }
}

fn has_failed(checkup: &Value, check: &str) -> bool {
    let troubles = checkup["troubles"].as_array();
    troubles
        .is_some_and(|all| all.iter().any(|one| one["name"] == check && one["verdict"] == "fail"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_begins_to_fail_is_told_once_shown_and_told_once_more_when_it_is_well() {
    let told = Told::new("").await;
    let refusal = Failure::Reply("550 5.7.1 not you".into());
    told.sandbox.fail_always(Stage::Ehlo, refusal);
    let running = told.start().await;
    assert!(told.checkup().is_null(), "nothing right after the start");
    told.advance_until(3, Duration::from_secs(301), || {
        has_failed(&told.checkup(), "upstream-greeting")
    });
    told.advance_until(3, Duration::from_secs(61), || !told.alerts().is_empty());
    let alerts = told.alerts();
    assert_eq!(alerts[0]["state"], "begins", "{alerts:?}");
    let words = alerts[0].to_string();
    assert!(words.contains("upstream-greeting") && words.contains("550 5.7.1 not you"), "{words}");
    assert!(words.contains("pillarbox doctor --check upstream-greeting"), "{words}");
    let screen = told.say(&["status"]);
    assert!(screen.contains("checks      upstream-greeting fails: "), "{screen}");

    // A day later it is well; a restart in between forgets nothing, and tells nothing anew.
    let first = told.checkup()["at"].as_i64().unwrap();
    running.stop().await;
    told.sandbox.forget_failures();
    let running = told.start().await;
    assert_eq!(told.checkup()["at"], first, "kept on disk");
    told.clock.advance(Duration::from_secs(61));
    assert!(!within(STEP_PATIENCE, || told.alerts().len() > 1), "{:?}", told.alerts());
    assert!(told.sandbox.mailbox().count() == 0, "nothing is sent");
    told.advance_until(3, 25 * HOUR, || told.checkup()["at"] != first);
    assert!(!has_failed(&told.checkup(), "upstream-greeting"), "{}", told.checkup());
    told.advance_until(3, Duration::from_secs(61), || {
        told.alerts().last().is_some_and(|alert| alert["state"] == "over")
    });
    let number = told.alerts().len();
    told.clock.advance(Duration::from_secs(3_601));
    assert!(!within(STEP_PATIENCE, || told.alerts().len() > number), "{:?}", told.alerts());
    running.stop().await;
}

/// A service outside that is asked while all is well: its address, and how often it was.
fn heartbeats() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/ping", listener.local_addr().unwrap());
    let counted = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&counted);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.take_while(|line| !line.as_ref().unwrap().is_empty()).for_each(drop);
            counter.fetch_add(1, Ordering::SeqCst);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).unwrap();
        }
    });
    (address, counted)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_heartbeat_returns_soon_after_the_repair_and_not_a_day_later() {
    let (address, counted) = heartbeats();
    let heard = || counted.load(Ordering::SeqCst);
    let told = Told::new(&format!("heartbeat = {address:?}\n")).await;
    told.sandbox.fail_always(Stage::Ehlo, Failure::Reply("550 5.7.1 not you".into()));
    let running = told.start().await;
    told.advance_until(3, Duration::from_secs(301), || {
        has_failed(&told.checkup(), "upstream-greeting")
    });
    let first = told.checkup();
    assert!(heard() > 0, "until then nobody knew");
    // The beat of the moment in which it was found.
    within(Duration::from_millis(300), || false);
    let before = heard();
    for _ in 0..12 {
        told.clock.advance(Duration::from_secs(151));
        assert!(!within(Duration::from_millis(100), || heard() > before), "{}", told.checkup());
    }
    assert!(has_failed(&told.checkup(), "upstream-greeting"));

    told.sandbox.forget_failures();
    let repaired = told.clock.wall();
    told.advance_until(12, Duration::from_secs(151), || heard() > before);
    let took = told.clock.wall().since(repaired);
    assert!(took < Duration::from_secs(20 * 60), "{took:?}");
    let checkup = told.checkup();
    assert!(!has_failed(&checkup, "upstream-greeting"), "{checkup}");
    assert_eq!(checkup["at"], first["at"], "it is still the look of the day");
    assert!(checkup["passed"].as_u64() > first["passed"].as_u64(), "{checkup}");
    told.advance_until(3, Duration::from_secs(61), || {
        told.alerts().last().is_some_and(|alert| alert["state"] == "over")
    });
    assert_eq!(told.alerts().len(), 2, "{:?}", told.alerts());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_behind_the_first_is_found_by_the_next_look_and_a_login_fails_once_an_hour() {
    let told = Told::new("").await;
    told.sandbox.fail_always(Stage::Ehlo, Failure::Reply("550 5.7.1 not you".into()));
    let running = told.start().await;
    told.advance_until(3, Duration::from_secs(301), || {
        has_failed(&told.checkup(), "upstream-greeting")
    });
    told.sandbox.forget_failures();
    told.sandbox.fail_always(Stage::Auth, Failure::Reply("535 5.7.8 not so".into()));
    let logins = || told.sandbox.mailbox().counters().reached(Stage::Auth);
    let before = logins();
    told.advance_until(6, Duration::from_secs(301), || has_failed(&told.checkup(), "login"));
    assert!(!has_failed(&told.checkup(), "upstream-greeting"), "{}", told.checkup());
    assert_eq!(logins(), before + 1);
    told.advance_until(3, Duration::from_secs(61), || {
        // What is well again may be told in the same look, behind it.
        told.alerts().iter().any(|alert| alert.to_string().contains("a check fails: login"))
    });
    for _ in 0..10 {
        told.clock.advance(Duration::from_secs(301));
        assert!(!within(Duration::from_millis(200), || logins() > before + 1));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_was_told_not_to_look_at_itself_does_not() {
    let told = Told::new("[doctor]\nenabled = false\n").await;
    let running = told.start().await;
    for _ in 0..3 {
        told.clock.advance(24 * HOUR);
        assert!(!within(Duration::from_millis(300), || !told.checkup().is_null()));
    }
    running.stop().await;
}

#[test]
fn a_running_relay_that_is_well_passes_every_check_it_is_asked_for() {
    let gmail = Gmail::start();
    let home = Home::with_sections(&gmail.upstream(), "[alert]\ncommand = [\"/bin/true\"]\n");
    let daemon = home.start();
    let names = [
        "configuration",
        "secret-files",
        "store-directory",
        "store-space",
        "set-aside-files",
        "listening-addresses",
        "local-socket",
        "drop-directory",
        "aliases",
        "daemon",
        "versions",
        "account",
        "budget",
        "oldest-message",
        "dead-letters",
        "unknown-replies",
        "dns",
        "upstream-ports",
        "upstream-tls",
        "upstream-greeting",
        "login",
        "alert-path",
    ];
    let checks = names.iter().flat_map(|name| ["--check", name]);
    let arguments = ["doctor", "--json", "--strict", "--send", "--alert"].into_iter().chain(checks);
    let output = home.output(arguments);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["passed"], names.len() + 2, "with the message and the alert: {report:#}");
    assert_eq!(gmail.recipients(), 1, "one message, and no more of the budget");
    assert!(daemon.terminate(PATIENCE).success());
}
