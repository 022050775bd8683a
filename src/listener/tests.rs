//! The listener as clients meet it: real sockets on loopback, the memory twin of the queue, a clock that
//! the test moves.

mod rules;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use super::{
    Listener, Options, bind,
    options::{Limits, Local, Network},
};
use crate::{
    clock::{Clock, ManualClock, Timestamp},
    message::envelope::Lane,
    queue::Queue,
    shutdown::{Phase, Shutdown},
    smtp::server::{self, Policy},
};

const QUEUE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// A test that waits longer for a socket has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn options() -> Options {
    Options {
        addresses: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
        networks: trusted(&["127.0.0.0/8", "::1/128"]),
        default_policy: Policy::plain(false, 35_872_000),
        tls: None,
        users_file: None,
        max_connections: 20,
        max_connections_per_client: 10,
        local: Local::default(),
        drain: Duration::from_secs(30),
        limits: Limits::default(),
        session: server::Options {
            hostname: "relay.test".into(),
            max_message_bytes: 16 * 1024 * 1024,
            max_recipients: 100,
            local_recipients: false,
        },
        recipients: Arc::default(),
        rules: Arc::default(),
        priority_hints: false,
    }
}

fn trusted(networks: &[&str]) -> Vec<Network> {
    vec![Network {
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        policy: Policy::plain(true, 16 * 1024 * 1024),
        messages_per_minute: None,
        lane: Lane::Normal,
    }]
}

/// A listener at work.
struct Door {
    addresses: Vec<SocketAddr>,
    store: Arc<Queue>,
    clock: ManualClock,
    shutdown: Shutdown,
    running: JoinSet<std::io::Result<()>>,
}

impl Door {
    fn open(options: Options) -> Self {
        let clock = ManualClock::new(Timestamp(1_700_000_000_000));
        let store = Arc::new(Queue::in_memory(Arc::new(clock.clone()), QUEUE_BYTES_MAX));
        let sockets = bind(&options).unwrap();
        let listener = Listener::open(options, sockets).unwrap();
        let addresses = listener.addresses();
        let shutdown = Shutdown::new();
        let mut running = JoinSet::new();
        let watch = shutdown.watch();
        running.spawn(listener.run(Arc::clone(&store), Arc::new(clock.clone()), watch));
        Self { addresses, store, clock, shutdown, running }
    }

    async fn client(&self) -> Client {
        Client(TcpStream::connect(self.addresses[0]).await.unwrap())
    }

    async fn greeted(&self) -> Client {
        let mut client = self.client().await;
        client.expect("220 relay.test").await;
        client
    }

    async fn ended(&mut self) {
        patiently(self.running.join_next()).await.unwrap().unwrap().unwrap();
    }

    /// Moves the clock on in small steps while `until` is not yet done.
    async fn time_passes<T>(&self, until: impl Future<Output = T>) -> T {
        let moving = async {
            loop {
                self.clock.advance(Duration::from_secs(10));
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            outcome = patiently(until) => outcome,
            () = moving => unreachable!("it has no end"),
        }
    }
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads one reply and returns its last line, which must begin as expected.
    async fn expect(&mut self, beginning: &str) -> String {
        loop {
            let line = patiently(self.line()).await;
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            assert!(line.starts_with(beginning), "expected {beginning:?}, got {line:?}");
            return line;
        }
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    async fn say(&mut self, command: &str, beginning: &str) -> String {
        self.send(&format!("{command}\r\n")).await;
        self.expect(beginning).await
    }

    /// Up to the 354.
    async fn start_message(&mut self) {
        self.say("EHLO client.test", "250").await;
        self.say("MAIL FROM:<a@client.test>", "250 2.1.0").await;
        self.say("RCPT TO:<b@example.org>", "250 2.1.5").await;
        self.say("DATA", "354").await;
    }

    async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        patiently(self.0.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it must not take so long")
}

async fn stored_bytes(store: &Queue) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for message in store.list(None, 100).await.unwrap() {
        let mut reader = store.open_message(message.id).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            bytes.extend_from_slice(&block);
        }
        messages.push(bytes);
    }
    messages
}

#[tokio::test]
async fn a_message_that_is_answered_with_250_is_in_the_queue_under_that_id() {
    let door = Door::open(options());
    let mut client = door.greeted().await;
    client.start_message().await;
    let reply = client.say("Subject: hello\r\n\r\n..dot\r\n.", "250 2.0.0").await;
    client.say("QUIT", "221").await;
    client.expect_end().await;
    let queued = door.store.list(None, 10).await.unwrap();
    assert_eq!(queued.len(), 1);
    assert!(reply.contains(&queued[0].id.to_string()), "{reply}");
    let text = String::from_utf8(stored_bytes(&door.store).await.remove(0)).unwrap();
    assert!(text.ends_with("Subject: hello\r\n\r\n.dot\r\n"), "{text}");
    assert!(text.contains("from client.test"), "the Received field names the client: {text}");
}

#[tokio::test]
async fn a_large_message_arrives_byte_for_byte_in_one_pipelined_stream() {
    let door = Door::open(options());
    let line = "0123456789abcdef".repeat(4) + "\r\n";
    let body = line.repeat(8 * 1024 * 1024 / line.len());
    let mut client = door.greeted().await;
    client.start_message().await;
    let (mut reading, mut writing) = client.0.into_split();
    let sending =
        async { writing.write_all(format!("X: y\r\n\r\n{body}.\r\nQUIT\r\n").as_bytes()).await };
    let mut replies = String::new();
    let (sent, received) =
        patiently(async { tokio::join!(sending, reading.read_to_string(&mut replies)) }).await;
    sent.unwrap();
    received.unwrap();
    assert!(replies.starts_with("250 2.0.0") && replies.contains("\r\n221 "), "{replies}");
    assert!(stored_bytes(&door.store).await[0].ends_with(body.as_bytes()));
}

#[tokio::test]
async fn every_address_is_served() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let door = Door::open(Options { addresses: vec![any.into(); 3], ..options() });
    assert_eq!(door.addresses.len(), 3);
    for address in &door.addresses {
        Client(TcpStream::connect(address).await.unwrap()).expect("220").await;
    }
}

#[tokio::test]
async fn one_client_too_many_hears_421_and_the_place_is_free_again_after_quit() {
    let door = Door::open(Options { max_connections: 2, ..options() });
    let mut first = door.greeted().await;
    let _second = door.greeted().await;
    let mut third = door.client().await;
    third.expect("421 4.3.2").await;
    third.expect_end().await;
    first.say("QUIT", "221").await;
    first.expect_end().await;
    // The place comes back a moment after the connection has ended.
    let again = async {
        loop {
            let mut client = door.client().await;
            if client.line().await.starts_with("220") {
                return;
            }
        }
    };
    patiently(again).await;
}

#[tokio::test]
async fn one_client_may_not_take_every_place() {
    let door = Door::open(Options { max_connections_per_client: 1, ..options() });
    let mut first = door.greeted().await;
    first.start_message().await;
    let began = door.clock.now().since_boot_ms;
    let mut second = door.client().await;
    door.time_passes(second.expect("421 4.7.0")).await;
    assert!(door.clock.now().since_boot_ms - began >= 15_000, "a program of this host waits first");
}

#[tokio::test]
async fn a_program_of_this_host_that_waits_gets_the_place_of_an_idle_one_or_of_one_that_leaves() {
    let door = Door::open(Options { max_connections_per_client: 2, ..options() });
    let [mut silent, mut busy] = [door.greeted().await, door.greeted().await];
    busy.start_message().await;
    let mut third = door.client().await;
    door.time_passes(third.expect("220")).await;
    silent.expect("421 4.7.0").await;
    let mut fourth = door.client().await;
    busy.say("\r\nbody\r\n.", "250").await;
    busy.say("QUIT", "221").await;
    door.time_passes(fourth.expect("220")).await;
}

#[tokio::test]
async fn a_client_outside_of_the_trusted_networks_may_not_relay() {
    let door = Door::open(Options { networks: trusted(&["10.0.0.0/8"]), ..options() });
    let mut client = door.greeted().await;
    client.say("EHLO x", "250").await;
    client.say("MAIL FROM:<a@client.test>", "550 5.7.1").await;
}

#[test]
fn an_ipv4_client_on_an_ipv6_socket_is_an_ipv4_client() {
    let mapped: SocketAddr = "[::ffff:127.0.0.1]:1".parse().unwrap();
    assert!(options().policy_of(mapped.ip().to_canonical()).trusted);
    assert!(!options().policy_of("203.0.113.1".parse().unwrap()).trusted);
}

#[tokio::test]
async fn a_silent_client_is_sent_away_after_the_time_of_rfc_5321() {
    let door = Door::open(options());
    let mut client = door.greeted().await;
    client.start_message().await;
    let began = door.clock.now().since_boot_ms;
    door.time_passes(client.expect("421 4.4.2")).await;
    let silent = Duration::from_millis(door.clock.now().since_boot_ms - began);
    assert!(silent >= server::DATA_TIMEOUT, "{silent:?}");
    client.expect_end().await;
    assert_eq!(door.store.totals().messages, 0);
}

#[tokio::test]
async fn a_client_that_keeps_talking_is_never_timed_out() {
    let door = Door::open(options());
    let mut client = door.greeted().await;
    for _ in 0..20 {
        door.clock.advance(server::COMMAND_TIMEOUT / 2);
        client.say("NOOP", "250").await;
    }
}

#[tokio::test]
async fn a_full_or_failed_queue_is_told_to_the_client_who_keeps_the_message() {
    let door = Door::open(options());
    let mut client = door.greeted().await;
    client.start_message().await;
    door.store.close().await;
    client.say("\r\nbody\r\n.", "451 4.3.0").await;

    let full = Door::open(options());
    let mut client = full.greeted().await;
    for _ in 0..2 {
        client.start_message().await;
        client.send(&("x".repeat(998) + "\r\n").repeat(15 * 1024)).await;
        client.say(".", "250 2.0.0").await;
    }
    client.say("MAIL FROM:<a@client.test> SIZE=15000000", "452 4.3.1").await;
    client.say("MAIL FROM:<a@client.test>", "250").await;
}

#[tokio::test]
async fn a_client_that_vanishes_within_a_message_leaves_nothing() {
    let door = Door::open(Options { max_connections: 1, ..options() });
    let mut client = door.greeted().await;
    client.start_message().await;
    client.send("Subject: half\r\n").await;
    drop(client);
    let served_again = async { while !door.client().await.line().await.starts_with("220") {} };
    patiently(served_again).await;
    assert_eq!(door.store.totals().messages, 0);
}

#[tokio::test]
async fn a_client_that_goes_on_after_the_end_still_gets_the_last_reply() {
    let door = Door::open(options());
    let mut client = door.greeted().await;
    client.say("NOOP", "250").await;
    // More than one read takes: the rest is unread when the session closes.
    client.send(&format!("QUIT\r\n{}", "NOOP\r\n".repeat(40_000))).await;
    client.expect("221").await;
    client.expect_end().await;
}

#[tokio::test]
async fn a_stop_lets_the_message_in_transfer_finish_and_sends_the_idle_away() {
    let mut door = Door::open(options());
    let mut idle = door.greeted().await;
    let mut busy = door.greeted().await;
    busy.start_message().await;
    door.shutdown.advance(Phase::Draining);
    idle.expect("421 4.3.2").await;
    idle.expect_end().await;
    assert!(TcpStream::connect(door.addresses[0]).await.is_err(), "nobody new is let in");
    busy.say("Subject: last\r\n\r\nbody\r\n.", "250 2.0.0").await;
    busy.expect("421 4.3.2").await;
    busy.expect_end().await;
    drop((idle, busy));
    door.ended().await;
    assert_eq!(door.store.totals().messages, 1);
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_its_limit_for_a_message_that_does_not_end() {
    let mut door = Door::open(options());
    let mut busy = door.greeted().await;
    busy.start_message().await;
    door.shutdown.advance(Phase::Draining);
    let mut running = std::mem::take(&mut door.running);
    door.time_passes(running.join_next()).await.unwrap().unwrap().unwrap();
    busy.expect_end().await;
}

#[tokio::test]
async fn an_immediate_stop_waits_for_nobody() {
    let mut door = Door::open(options());
    let mut busy = door.greeted().await;
    busy.start_message().await;
    door.shutdown.advance(Phase::Immediate);
    door.ended().await;
    busy.expect_end().await;
}

#[tokio::test]
async fn a_message_is_logged_once_when_accepted_and_a_refusal_with_its_reply() {
    let log = crate::telemetry::tests::Captured::default();
    let level = tracing::Level::INFO;
    let telemetry = crate::telemetry::Options { format: crate::telemetry::Format::Json, level };
    let writer = log.clone();
    let subscriber = crate::telemetry::subscriber(telemetry, false, move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber);

    let door = Door::open(options());
    let mut client = door.greeted().await;
    client.say("EHLO x", "250").await;
    client.say("MAIL FROM:<>", "250").await;
    for recipient in ["a", "b", "c", "d", "e"] {
        client.say(&format!("RCPT TO:<{recipient}@example.org>"), "250").await;
    }
    client.say("RCPT TO:<root>", "550").await;
    client.say("DATA", "354").await;
    client.say("\r\nhi\r\n.", "250").await;
    client.say("QUIT", "221").await;

    let text = log.text();
    let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    // What is odd about this client has lines of its own.
    let events: Vec<_> = events.filter(|event| event["message"] != "put right").collect();
    let stages: Vec<&str> = events.iter().filter_map(|event| event["message"].as_str()).collect();
    assert_eq!(stages, ["refused", "accepted"]);
    assert!(events[0]["reply"].as_str().unwrap().starts_with("550 5.1."), "{text}");
    assert_eq!(events[1]["to"], "a@example.org,b@example.org,c@example.org,+2");
    assert_eq!((&events[1]["from"], &events[1]["recipients"]), (&"<>".into(), &5.into()));
    assert_eq!(events[1]["protocol"], "ESMTP");
    assert!(events[1].get("login").is_none(), "{text}");
}
