//! The forecast against what the pool then does: a whole daemon, a look-alike of Gmail and days that pass in seconds.
//!
//! Rule: only answers of the API and arrivals are compared. Must not know how either is worked out.

use std::{
    collections::{BTreeSet, HashMap},
    io::{Read as _, Write as _},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use pillarbox::{
    clock::{Clock, ManualClock, Timestamp},
    daemon::{self, Daemon},
    message::envelope::{BodyKind, Envelope, Lane, Origin},
    queue::{Queue, id::QueueId},
    sandbox::{self, Accepted, Sandbox},
    settings::{self, Surroundings, host::Host},
    shutdown::Phase,
    smtp::dsn::Dsn,
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{
    daemon::{Home, Upstream},
    lookalike_clock::lookalike_clock,
};

/// What a departure may differ from its forecast.
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const BUDGET: &str = "[budget]\nrecipients_per_day = 70\nowner_reserve = 10\nnotice_reserve = 3\nurgent_reserve = 8\n\
                      pace_per_minute = 12\n";
/// A notice of the relay would be new mail, of which no forecast knows.
const NO_NOTICES: &str = "[notices]\nto = \"nobody\"\n";
/// Real time without an arrival that is due, after which the clock goes on by a second: a sleep that began right after
/// the step was measured before it.
const POLLS_PER_SECOND: u32 = 50;

/// The body of an answer of the daemon.
fn ask(socket: &Path, method: &str, path: &str) -> Value {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: pillarbox\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
    serde_json::from_str(body).unwrap()
}

fn time(value: &Value) -> Timestamp {
    Timestamp(value.as_i64().unwrap_or_else(|| panic!("{value} is not a time")))
}

async fn accept(store: &Queue, now: Timestamp, lane: Lane, recipients: usize) -> QueueId {
    let address = |number| format!("r{number}@example.net").parse().unwrap();
    let envelope = Envelope {
        reverse_path: Some("cron@web01".parse().unwrap()),
        forward_paths: (0..recipients).map(address).collect(),
        body: BodyKind::SevenBit,
        internationalized: false,
        dsn: Dsn::default(),
        lane,
        origin: Origin {
            address: Ipv4Addr::LOCALHOST.into(),
            helo: "web01".into(),
            protocol: "ESMTP".into(),
            login: None,
            local: None,
        },
        accepted_at: now,
    };
    let mut draft = store.begin(envelope).unwrap();
    let id = draft.id();
    let text = format!("Message-ID: <{id}@days.test>\r\nDate: x\r\nSubject: x\r\n\r\nhello\r\n");
    draft.write(text.as_bytes()).await.unwrap();
    store.enqueue(draft).await.unwrap().id()
}

/// Mail of every lane, and the recipients of each message.
async fn fill(store: &Queue, now: Timestamp) -> HashMap<String, usize> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut recipients = HashMap::new();
    for _ in 0..80 {
        let lane = [Lane::Notice, Lane::Urgent, Lane::Normal, Lane::Bulk][random.usize(0..4)];
        let number = random.usize(1..=2);
        let id = accept(store, now, lane, number).await;
        recipients.insert(id.to_string(), number);
    }
    recipients
}

/// When each message began to arrive, and when its last recipients had it.
fn arrivals(accepted: &[Arc<Accepted>]) -> HashMap<String, (Timestamp, Timestamp)> {
    let mut arrived: HashMap<String, (Timestamp, Timestamp)> = HashMap::new();
    for mail in accepted {
        let id = mail.message_id.as_deref().unwrap_or_default();
        let id = id.trim_start_matches('<').trim_end_matches("@days.test>");
        let at = Timestamp(mail.at.0);
        let times = arrived.entry(id.to_owned()).or_insert((at, at));
        *times = (times.0.min(at), times.1.max(at));
    }
    arrived
}

fn is_within_a_minute(foretold: Timestamp, real: Timestamp) -> bool {
    foretold.since(real).max(real.since(foretold)) <= MINUTE
}

fn is_sending(socket: &Path) -> bool {
    let status = ask(socket, "GET", "/v1/status");
    status["in_flight"].as_array().is_some_and(|attempts| !attempts.is_empty())
}

/// Moves the clock to `at` and goes on until the mailbox has so many recipients, and the queue knows it.
async fn advance_to(
    clock: &ManualClock,
    at: Timestamp,
    (mailbox, socket): (&sandbox::Mailbox, &Path),
    recipients: usize,
) {
    clock.advance(at.since(clock.wall()));
    let came = || mailbox.accepted().iter().map(|mail| mail.rcpt_to.len()).sum::<usize>();
    let (mut polls, mut seconds) = (0, 0);
    while came() < recipients {
        tokio::time::sleep(Duration::from_millis(1)).await;
        polls += 1;
        // What is being sent takes as long as the machine needs, which is no time of this clock.
        if polls % POLLS_PER_SECOND == 0 && !is_sending(socket) {
            clock.advance(Duration::from_secs(1));
            seconds += 1;
            assert!(seconds < 90, "{} of {recipients} at {at}", came());
        }
    }
    // A recipient counts from the moment at which the reply is written down: the clock stands still until then.
    while is_sending(socket) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_of_every_lane_leaves_in_the_minute_that_the_forecast_says() {
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let sandbox = Sandbox::start(sandbox::Options {
        clock: lookalike_clock(&clock),
        ..sandbox::Options::default()
    });
    let sandbox = sandbox.await.unwrap();
    let mailbox = sandbox.mailbox();
    let authority = tempfile::tempdir().unwrap();
    let sections = format!("{BUDGET}{NO_NOTICES}");
    let home = Home::with_sections(&Upstream::of(&sandbox, authority.path()), &sections);
    let surroundings = Surroundings {
        variables: std::collections::BTreeMap::new(),
        local_file: "/nowhere/relay.toml".into(),
        system_file: "/nowhere/else.toml".into(),
        host: Host { nodename: "relay.example.org".into(), ..Host::default() },
        secret_directories: Vec::new(),
    };
    let settings = settings::load_in(Some(&home.config()), &surroundings).unwrap();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let listener = daemon::bind(&settings).unwrap();
    let (queue, its_clock) = (settings.queue.clone(), Arc::clone(&shared));
    let store = Arc::new(tokio::task::block_in_place(|| Queue::open(queue, its_clock)).unwrap());
    let daemon = Daemon::start(settings, shared, Arc::clone(&store), listener).await.unwrap();
    let shutdown = daemon.shutdown();
    let mut running = JoinSet::new();
    running.spawn(daemon.run());

    // A day that is spent in part, in the course of some hours.
    for number in 1..=20 {
        accept(&store, clock.wall(), Lane::Normal, 1).await;
        advance_to(&clock, clock.wall().after(HOUR / 6), (&mailbox, &home.socket()), number).await;
    }
    // Nothing leaves while it is asked when it will.
    let until = clock.wall().after(HOUR);
    ask(&home.socket(), "POST", &format!("/v1/pause?until={}&reason=days", until.0));
    let recipients = fill(&store, clock.wall()).await;
    clock.advance(MINUTE);
    let page = ask(&home.socket(), "GET", "/v1/queue?limit=1000");
    let foretold: HashMap<String, (Timestamp, Timestamp)> = page["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| {
            let id = message["id"].as_str().unwrap().to_owned();
            let explained = ask(&home.socket(), "GET", &format!("/v1/queue/{id}/explain"));
            assert_eq!(explained["message"]["departure"]["at"], message["departure"]["at"]);
            (id, (time(&message["departure"]["at"]), time(&explained["last"])))
        })
        .collect();
    assert_eq!(foretold.len(), recipients.len());

    let begins_and_ends = foretold.values().flat_map(|(first, last)| [*first, *last]);
    for at in begins_and_ends.collect::<BTreeSet<_>>() {
        let over = foretold.iter().filter(|(_, (_, last))| *last <= at);
        let begun = foretold.values().filter(|(first, last)| *first <= at && at < *last).count();
        let over: usize = over.map(|(id, _)| recipients[id]).sum();
        advance_to(&clock, at, (&mailbox, &home.socket()), 20 + over + begun).await;
    }
    let arrived = arrivals(&mailbox.accepted());
    let wrong: Vec<_> = foretold
        .iter()
        .map(|(id, foretold)| (id, foretold, arrived[id]))
        .filter(|(_, foretold, real)| {
            !is_within_a_minute(foretold.0, real.0) || !is_within_a_minute(foretold.1, real.1)
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), foretold.len());
    shutdown.advance(Phase::Draining);
    running.join_next().await.unwrap().unwrap().unwrap();
    sandbox.stop().await;
}
