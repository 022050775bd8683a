//! Limits against floods, and what is counted.

use std::{num::NonZeroU32, time::Duration};

use pillarbox::{
    listener::{Options, options::Limits},
    smtp::server::{DATA_TIMEOUT, ERRORS_MAX},
};
use tokio::task::JoinSet;

use super::stage::{Client, Door, Log, let_others_work, network, options, patiently};

#[tokio::test]
async fn a_network_that_sends_too_fast_is_told_how_long_to_wait_and_may_go_on_then() {
    let mut limited = network(&["127.0.0.0/8"]);
    limited.messages_per_minute = NonZeroU32::new(2);
    let door = Door::open(Options { networks: vec![limited], ..options() });
    let mut client = door.greeted().await;
    client.mail().await;
    client.mail().await;
    let reply = client.say("MAIL FROM:<a@client.test>", "450 4.7.1").await;
    assert!(reply.contains("in 30 s"), "{reply}");
    door.clock.advance(Duration::from_secs(30));
    client.mail().await;
}

#[tokio::test]
async fn one_octet_a_second_within_a_message_is_cut_off() {
    let door = Door::open(options());
    let mut client = door.greeted().await;
    client.start_message().await;
    let began = door.now_ms();
    let mut octets = 0;
    let mut reply = [0; 9];
    let cut = loop {
        client.0.writable().await.unwrap();
        octets += client.0.try_write(b"x").unwrap_or(0);
        door.clock.advance(Duration::from_secs(1));
        let_others_work().await;
        if client.0.try_read(&mut reply).is_ok() {
            break Duration::from_millis(door.now_ms() - began);
        }
    };
    assert_eq!(std::str::from_utf8(&reply).unwrap(), "421 4.4.2");
    // Each octet was heard, and yet it took hardly longer than silence.
    assert!(
        octets > 100 && cut >= DATA_TIMEOUT && cut < DATA_TIMEOUT + Duration::from_secs(30),
        "{octets} {cut:?}"
    );
    assert_eq!(door.clients()[0].accepted, 0);
}

#[tokio::test]
async fn a_session_that_brings_no_message_ends_although_it_keeps_talking() {
    let door = Door::open(options());
    let mut client = door.greeted().await;
    for _ in 0..15 {
        door.clock.advance(Duration::from_secs(230));
        client.say("NOOP", "250").await;
    }
    door.time_passes(client.expect("421 4.4.2")).await;
    client.expect_end().await;
}

#[tokio::test]
async fn a_session_that_brings_messages_now_and_then_goes_on() {
    let door = Door::open(options());
    let mut client = door.greeted().await;
    for _ in 0..15 {
        client.mail().await;
        door.clock.advance(Duration::from_secs(280));
        client.say("NOOP", "250").await;
        door.clock.advance(Duration::from_secs(280));
    }
}

/// Memory for this many messages.
fn with_memory_for(messages: u64) -> Options {
    let limits = Limits { message_memory_bytes: messages * 144 * 1024, ..Limits::default() };
    Options { limits, ..options() }
}

#[tokio::test]
async fn a_message_for_which_there_is_no_memory_waits_for_another_to_end() {
    let door = Door::open(with_memory_for(2));
    let [mut first, mut second, mut third] =
        [door.greeted().await, door.greeted().await, door.greeted().await];
    first.start_message().await;
    second.start_message().await;
    third.say("EHLO client.test", "250").await;
    third.send("MAIL FROM:<a@client.test>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n").await;
    third.expect("250 2.1.0").await;
    third.expect("250 2.1.5").await;
    let_others_work().await;
    assert!(third.0.try_read(&mut [0; 3]).is_err(), "no 354 yet");
    first.say("\r\nbody\r\n.", "250 2.0.0").await;
    third.expect("354").await;
    third.say("\r\nbody\r\n.", "250 2.0.0").await;
    // A client that vanishes gives its share back, too.
    drop(second);
    let [mut fourth, mut fifth] = [door.greeted().await, door.greeted().await];
    fourth.start_message().await;
    fifth.start_message().await;
}

#[tokio::test]
async fn whoever_waits_too_long_for_memory_keeps_the_message() {
    let door = Door::open(with_memory_for(1));
    let mut first = door.greeted().await;
    first.start_message().await;
    let mut second = door.greeted().await;
    second.say("EHLO client.test", "250").await;
    second.say("MAIL FROM:<a@client.test>", "250").await;
    second.say("RCPT TO:<b@example.org>", "250").await;
    second.send("DATA\r\n").await;
    door.time_passes(second.expect("451 4.3.0")).await;
}

#[tokio::test]
async fn many_large_messages_at_once_get_through_with_memory_for_two() {
    let door = Door::open(with_memory_for(2));
    let body = "0123456789abcdef\r\n".repeat(60_000);
    let mut sending = JoinSet::new();
    for _ in 0..12 {
        let mut client = door.greeted().await;
        let body = body.clone();
        sending.spawn(async move {
            client.start_message().await;
            client.send(format!("X: y\r\n\r\n{body}.\r\n")).await;
            client.expect("250 2.0.0").await;
        });
    }
    while let Some(sent) = patiently(sending.join_next()).await {
        sent.unwrap();
    }
    let messages = door.messages().await;
    assert_eq!(messages.len(), 12);
    assert!(messages.iter().all(|message| message.ends_with(&body)));
}

#[tokio::test]
async fn what_a_client_does_is_counted_under_its_address() {
    let door = Door::open(options());
    for _ in 0..2 {
        let mut client = door.greeted().await;
        client.mail().await;
        client.say("MAIL FROM:<a@client.test>", "250").await;
        client.say("RCPT TO:<root>", "550").await;
        client.say("RCPT TO:<b@example.org>", "250").await;
        client.say("DATA", "354").await;
        client.say("Subject: x\n\nbare\n\r\n.", "250").await;
        client.say("QUIT", "221").await;
        client.expect_end().await;
    }
    let summary = door.summary();
    assert_eq!((summary.connections, summary.accepted, summary.refused), (2, 4, 2));
    assert_eq!(summary.quirks.get("bare-lf"), Some(&2), "once a session: {summary:?}");
}

#[tokio::test]
async fn a_stranger_who_speaks_before_the_greeting_is_sent_away() {
    let door = Door::open(Options { networks: Vec::new(), ..options() });
    let mut stream = std::net::TcpStream::connect(door.address).unwrap();
    // Nobody has accepted yet: the door works only while this test waits.
    std::io::Write::write_all(&mut stream, b"EHLO x\r\n").unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut client = Client(tokio::net::TcpStream::from_std(stream).unwrap());
    client.expect("554 5.7.0").await;
}

#[tokio::test]
async fn strangers_with_idle_connections_do_not_keep_trusted_clients_out() {
    let networks = vec![network(&["127.0.0.1/32"])];
    let door = Door::open(Options { max_connections: 8, networks, ..options() });
    let mut strangers = Vec::new();
    for number in 0..8 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(std::net::SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
        let mut client = Client(socket.connect(door.address).await.unwrap());
        client.expect(if number < 6 { "220" } else { "421 4.3.2" }).await;
        strangers.push(client);
    }
    door.greeted().await.mail().await;
}

#[tokio::test]
async fn refusals_are_told_a_few_times_a_minute_and_counted_and_a_session_that_is_ended_leaves_a_line()
 {
    let (log, _guard) = Log::capture();
    let door = Door::open(options());
    let mut client = door.greeted().await;
    client.say("EHLO client.test", "250").await;
    client.say("MAIL FROM:<a@client.test>", "250").await;
    let refused = |code: &str| {
        let text = log.text();
        let lines = text.lines().filter(|line| line.contains("\"refused\"") && line.contains(code));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for _ in 0..9 {
        client.say("RCPT TO:<root>", "550").await;
    }
    assert_eq!(refused("550 5.1").len(), 5);
    door.clock.advance(Duration::from_secs(60));
    client.say("RCPT TO:<root>", "550").await;
    assert!(refused("550 5.1")[5].contains(r#""count":5"#), "{}", log.text());
    door.time_passes(client.expect("421 4.4.2")).await;
    assert_eq!(refused("421 4.4.2").len(), 1);
}

#[tokio::test]
async fn a_lone_dot_is_a_warning_that_says_what_was_done() {
    let (log, _guard) = Log::capture();
    let door = Door::open(options());
    let mut client = door.greeted().await;
    client.start_message().await;
    client.say("Subject: x\r\n\r\nhi\n.\nMAIL FROM:<x@y.example>\r\n.", "250 2.0.0").await;
    let text = log.text();
    let told = text.lines().find(|line| line.contains("lone-dot")).unwrap();
    assert!(told.contains("WARN") && told.contains("kept, connection closed"), "{told}");
}

#[tokio::test]
async fn a_client_that_still_sends_when_we_close_is_not_reset() {
    let door = Door::open(options());
    let mut client = door.greeted().await;
    for _ in 0..ERRORS_MAX {
        client.say("NONSENSE", "500").await;
    }
    client.expect("421 4.7.0").await;
    // A reset would answer the first of these and fail the second, and the end with it.
    for _ in 0..2 {
        client.send("NOOP\r\n").await;
        let_others_work().await;
    }
    client.expect_end().await;
}
