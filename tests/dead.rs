//! Mail that cannot be relayed, from the client to the notice and back to a recipient.
//!
//! Rule: the whole daemon with its real queue, in this process, so that the test moves its clock; the
//! administrator's commands are the real binary. Must not know how the queue stores dead letters.

use std::{process::Output, sync::Arc, time::Duration};

use pillarbox::{
    clock::{Clock, ManualClock, SystemClock},
    daemon::{self, Daemon, DaemonError},
    queue::Queue,
    sandbox::{Options as SandboxOptions, Sandbox},
    settings::{self, Surroundings, host::Host},
    shutdown::{Phase, Shutdown},
};
use tokio::task::JoinSet;

use crate::support::{
    client::Client,
    daemon::{Home, Upstream, within},
};

/// Longer than any of these takes, for a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a step of the clock is given to show an effect.
const STEP_PATIENCE: Duration = Duration::from_secs(2);
const LOGIN: &str = "you@gmail.com";
const ADMIN: &str = "admin@example.com";

/// A daemon before a look-alike, and its clock.
struct Scene {
    home: Home,
    clock: ManualClock,
    sandbox: Sandbox,
    shutdown: Shutdown,
    running: JoinSet<Result<(), DaemonError>>,
    _authority: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let authority = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        let upstream = Upstream::of(&sandbox, authority.path());
        let sections = format!("[budget]\npace_per_minute = 0\n\n[identity]\nadmin = {ADMIN:?}\n");
        let home = Home::with_sections(&upstream, &sections);
        let settings = settings::load_in(Some(&home.config()), &nothing_around()).unwrap();
        let clock = ManualClock::new(SystemClock::new().wall());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let listener = daemon::bind(&settings).unwrap();
        let (queue, of_store) = (settings.queue.clone(), Arc::clone(&shared));
        let store = tokio::task::block_in_place(|| Queue::open(queue, of_store)).unwrap();
        let store: Arc<Queue> = Arc::new(store);
        let daemon = Daemon::start(settings, shared, store, listener).await.unwrap();
        let shutdown = daemon.shutdown();
        let mut running = JoinSet::new();
        running.spawn(daemon.run());
        Self { home, clock, sandbox, shutdown, running, _authority: authority }
    }

    /// Runs a command that must succeed and returns what it printed.
    fn say(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.home.output(arguments);
        let (stdout, stderr) =
            (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert!(status.success(), "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// Moves the clock until the look-alike has so many messages.
    fn advance_until_accepted(&self, number: usize) {
        let came = (0..10).any(|_| {
            self.clock.advance(Duration::from_secs(30));
            within(STEP_PATIENCE, || self.sandbox.mailbox().count() >= number)
        });
        assert!(came, "{:?}", self.sandbox.mailbox().last_commands());
    }

    /// Moves the clock by minutes until this is so.
    fn advance_until(&self, is_so: impl Fn() -> bool) {
        let came = (0..60).any(|_| {
            self.clock.advance(Duration::from_secs(300));
            within(STEP_PATIENCE, &is_so)
        });
        assert!(came, "{:?}", self.sandbox.mailbox().last_commands());
    }

    async fn stop(mut self) {
        self.shutdown.advance(Phase::Draining);
        let ended = tokio::time::timeout(PATIENCE, self.running.join_next()).await.unwrap();
        ended.unwrap().unwrap().unwrap();
    }
}

fn nothing_around() -> Surroundings {
    Surroundings {
        variables: std::collections::BTreeMap::new(),
        local_file: "/nowhere/relay.toml".into(),
        system_file: "/nowhere/else.toml".into(),
        host: Host { nodename: "relay.example.org".into(), ..Host::default() },
        secret_directories: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_listed_and_told_of_and_reaches_another_address() {
    let scene = Scene::start().await;
    assert_eq!(scene.say(&["dead", "list"]), "There are no dead letters.\n");
    let mut client = Client::hello(scene.home.smtp);
    let reply =
        client.mail("printer@example.org", &["nosuch@example.net"], "Subject: Toner\n\nlow\n");
    assert!(reply.starts_with("250 "), "{reply}");
    drop(client);

    assert!(within(PATIENCE, || scene.say(&["dead", "list"]).contains("nosuch@example.net")));
    let list = scene.say(&["dead", "list"]);
    assert!(list.contains("550 5.1.1"), "with the reply: {list}");
    let id =
        list.lines().nth(1).and_then(|line| line.split_whitespace().next()).unwrap().to_owned();
    let shown = scene.say(&["dead", "show", &id]);
    assert!(shown.contains("nosuch@example.net: ") && shown.contains("\nclient      "), "{shown}");
    assert!(shown.contains("[127.0.0.1]"), "who handed it over: {shown}");

    scene.advance_until_accepted(1);
    let accepted = scene.sandbox.mailbox().accepted();
    let notice = &accepted[0];
    assert_eq!(
        (notice.mail_from.as_str(), notice.rcpt_to.as_slice()),
        ("", &[ADMIN.to_owned()][..])
    );
    let text = String::from_utf8_lossy(&notice.body);
    for words in [
        "multipart/report",
        "Subject: [relay.example.org] Mail could not be relayed: Toner",
        "message/delivery-status",
        "Final-Recipient: rfc822; nosuch@example.net",
        "Status: 5.1.1",
        "text/rfc822-headers",
        LOGIN,
        id.as_str(),
    ] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
    assert!(!text.contains("X-Original-From"), "its From leaves as it was written:\n{text}");
    let shown = scene.say(&["queue", "show", &id]);
    assert!(shown.contains(&format!(", failed to {ADMIN} as ")), "{shown}");

    let moved = scene.say(&["dead", "resend", &id, "--to", "ok@example.net"]);
    assert!(moved.starts_with(&format!("{id} goes to ok@example.net as ")), "{moved}");
    scene.sandbox.mailbox().wait_for(2, PATIENCE).await.unwrap();
    let accepted = scene.sandbox.mailbox().accepted();
    assert_eq!(
        (accepted[1].mail_from.as_str(), accepted[1].rcpt_to[0].as_str()),
        (LOGIN, "ok@example.net")
    );
    assert!(String::from_utf8_lossy(&accepted[1].body).contains("Subject: Toner"));
    assert_eq!(scene.say(&["dead", "list"]), "There are no dead letters.\n");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_of_which_two_answers_were_lost_is_told_of_once_and_goes_when_its_time_is_over() {
    let scene = Scene::start().await;
    let mut client = Client::hello(scene.home.smtp);
    let reply =
        client.mail("printer@example.org", &["dropdot@example.net"], "Subject: Toner\n\nlow\n");
    assert!(reply.starts_with("250 "), "{reply}");
    drop(client);
    let held = || scene.say(&["queue", "list", "--state", "held"]);
    scene.advance_until(|| held().contains("dropdot@example.net"));
    let list = held();
    let id =
        list.lines().nth(1).and_then(|line| line.split_whitespace().next()).unwrap().to_owned();
    let notices = || {
        let accepted = scene.sandbox.mailbox().accepted();
        accepted.into_iter().filter(|one| one.mail_from.is_empty()).collect::<Vec<_>>()
    };
    scene.advance_until(|| !notices().is_empty());
    let notice = &notices()[0];
    assert_eq!(notice.rcpt_to, [ADMIN]);
    let text = String::from_utf8_lossy(&notice.body);
    for words in [
        "Subject: [relay.example.org] Mail may not have arrived: Toner",
        "dropdot@example.net (tried 2 times, may have arrived)",
        "pillarbox queue retry ID",
        id.as_str(),
    ] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
    assert_eq!(scene.say(&["dead", "list"]), "There are no dead letters.\n", "it is not dead");

    scene.clock.advance(Duration::from_secs(29 * 24 * 3600));
    assert!(held().contains(&id), "kept for dead_letter_lifetime");
    scene.clock.advance(Duration::from_secs(2 * 24 * 3600));
    assert!(within(PATIENCE, || !held().contains(&id)), "{}", held());
    assert_eq!(notices().len(), 1, "told once");
    scene.stop().await;
}
