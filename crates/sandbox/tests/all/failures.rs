//! Triggers, limits, scripted failures and what the sandbox remembers.

use std::{sync::Arc, time::Duration};

use pillarbox_sandbox::{
    Chance, Clock, Failure, JournalLine, Malformed, ManualClock, Options, Stage, SystemClock,
    Timestamp,
};
use tokio::io::AsyncReadExt;

use super::client::*;

#[tokio::test]
async fn too_many_logins_in_a_minute_are_refused_until_the_minute_is_over() {
    let clock = ManualClock::new(Timestamp(0));
    let options =
        Options { clock: Arc::new(clock.clone()), logins_per_minute: 2, ..Options::default() };
    let sandbox = start(options).await;
    drop(Client::ready(&sandbox).await);
    drop(Client::ready(&sandbox).await);
    let mut client = Client::implicit(&sandbox).await;
    let auth = plain("me@gmail.com", "abcdefghijklmnop");
    client.talk(&format!("S: 220 \nC: EHLO a.example\n{EHLO_REST}")).await;
    client
        .talk(&format!("C: {auth}\nS: 454-4.7.0 Too many login\nS: 454-4.7.0 \nS: 454 4.7.0 "))
        .await;
    clock.advance(Duration::from_secs(60));
    client.talk(&format!("C: {auth}\nS: 235 ")).await;
}

#[tokio::test]
async fn each_recipient_name_fails_at_its_stage_and_the_connection_goes_on() {
    let (sandbox, _clock) = start_with_clock().await;
    let mut client = Client::ready(&sandbox).await;
    let after = "\nC: RSET\nS: 250 2.1.5 Flushed ";
    let cases = [
        ("ok", ACCEPTED.to_owned()),
        ("nosuch", "S: 550-5.1.1 \nS: 550-5.1.1 \nS: 550-5.1.1 \nS: 550 5.1.1  https://support.google.com/mail/?p=NoSuchUser ".to_owned()),
        ("badsyntax", "S: 553-5.1.3 The recipient address <badsyntax@\nS: 553-5.1.3 \nS: 553-5.1.3 \nS: 553 5.1.3 ".to_owned()),
        ("rate", "S: 450-4.2.1 \nS: 450-4.2.1 \nS: 450-4.2.1 \nS: 450-4.2.1 \nS: 450 4.2.1 ".to_owned()),
        ("rateperm", "S: 550-5.2.1 \nS: 550-5.2.1 \nS: 550-5.2.1 \nS: 550 5.2.1  https://support.google.com/mail/?p=ReceivingRatePerm ".to_owned()),
        ("full", "S: 452-4.2.2 \nS: 452-4.2.2 \nS: 452 4.2.2  https://support.google.com/mail/?p=OverQuotaTemp ".to_owned()),
        ("fullperm", "S: 552-5.2.2 \nS: 552-5.2.2 \nS: 552 5.2.2  https://support.google.com/mail/?p=OverQuotaPerm ".to_owned()),
        ("garbage", "S: \u{7f}\u{1} not a reply".to_owned()),
        ("longline", "S: 550 5.1.1 xxxxxxx".to_owned()),
        ("mixedcode", "S: 250-2.1.5 OK\nS: 550 5.1.1 OK".to_owned()),
        ("nul", "S: 250 2.1.5 O\0K".to_owned()),
        ("garbage-data", at_data("S: \u{7f}\u{1} not a reply")),
        ("mixedcode-data", at_data("S: 250-2.1.5 OK\nS: 550 5.1.1 OK")),
        ("nul-data", at_data("S: 250 2.1.5 O\0K")),
        ("longline-data", at_data("S: 550 5.1.1 xxxxxxx")),
        ("garbage-dot", at_dot("S: \u{7f}\u{1} not a reply")),
        ("longline-dot", at_dot("S: 550 5.1.1 xxxxxxx")),
        ("mixedcode-dot", at_dot("S: 250-2.1.5 OK\nS: 550 5.1.1 OK")),
        ("nul-dot", at_dot("S: 250 2.1.5 O\0K")),
        ("virus", at_dot("S: 552-5.7.0 \nS: 552-5.7.0 \nS: 552-5.7.0 \nS: 552 5.7.0  https://support.google.com/mail/?p=BlockedMessage ")),
        ("spam", at_dot("S: 550-5.7.1 \nS: 550-5.7.1 \nS: 550-5.7.1 \nS: 550 5.7.1  https://support.google.com/mail/?p=UnsolicitedMessageError ")),
        ("tmp", at_dot("S: 451 4.3.0 Mail server temporarily rejected message.")),
        ("tmp3", at_dot("S: 451 4.3.0 ")),
        ("tmp3", at_dot("S: 451 4.3.0 ")),
        ("tmp3", at_dot("S: 451 4.3.0 ")),
        ("tmp3", ACCEPTED.to_owned()),
    ];
    for (recipient, rest) in &cases {
        client.message(recipient, &format!("{rest}{after}")).await;
    }
    assert_eq!(sandbox.mailbox().count(), 2);
}

#[tokio::test]
async fn recipients_that_end_the_connection_do_so_at_their_stage() {
    let sandbox = start(Options::default()).await;
    let cases = [
        ("sys", at_data("S: 421 4.3.0 Temporary System Problem.\nclose"), 0),
        ("droprcpt", "close".to_owned(), 0),
        ("dropdata", at_data("close"), 0),
        ("dropmid", at_data("S: 354  Go ahead \nC: the first line\nclose"), 0),
        ("dropdot-lost", at_dot("close"), 0),
        ("dropdot", at_dot("close"), 1),
        ("dropdot-once", at_dot("close"), 2),
        ("dropdot-once", ACCEPTED.to_owned(), 3),
        ("dropmail", format!("{ACCEPTED}\nC: MAIL FROM:<me@gmail.com>\nclose"), 4),
    ];
    for (recipient, rest, stored) in &cases {
        Client::ready(&sandbox).await.message(recipient, rest).await;
        assert_eq!(sandbox.mailbox().count(), *stored, "{recipient}");
    }
    let answered: Vec<bool> =
        sandbox.mailbox().accepted().iter().map(|message| message.answered).collect();
    assert_eq!(answered, [false, false, true, true]);
    assert_eq!(sandbox.mailbox().duplicates().get("<1@x>"), Some(&4));
    // Only the first MAIL behind "dropmail" is lost.
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
}

#[tokio::test]
async fn a_lock_out_holds_at_every_stage_until_a_day_has_passed() {
    let (sandbox, clock) = start_with_clock().await;
    let refused_mail = format!("C: MAIL FROM:<me@gmail.com>\n{LIMIT}");
    let refused_rcpt = format!("{OPEN}\nC: RCPT TO:<ok@x.net>\n{LIMIT}\nC: RSET\nS: 250 ");
    let ok = format!("{OPEN}\nC: RCPT TO:<ok@x.net>\n");
    let cases = [
        ("quota", at_data(LIMIT), format!("{ok}{}", at_data(LIMIT))),
        ("quota-mail", ACCEPTED.to_owned(), refused_mail),
        ("quota-rcpt", format!("{LIMIT}\nC: RSET\nS: 250 "), refused_rcpt),
        ("quota-dot", at_dot(LIMIT), format!("{ok}{}", at_dot(LIMIT))),
    ];
    for (recipient, first, next) in &cases {
        let mut client = Client::ready(&sandbox).await;
        client.message(recipient, first).await;
        client.talk(next).await;
        clock.advance(23 * HOUR);
        Client::ready(&sandbox).await.talk(next).await;
        clock.advance(HOUR);
        Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
    }
    Client::ready(&sandbox).await.message("quota", &at_data(LIMIT)).await;
    sandbox.clear_quota();
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
    assert_eq!(sandbox.mailbox().counters().quota_refusals, 12);
}

#[tokio::test]
async fn recipients_are_counted_over_a_rolling_day_across_connections() {
    let clock = ManualClock::new(Timestamp(1_716_281_641_000));
    let options =
        Options { clock: Arc::new(clock.clone()), recipients_per_day: 3, ..Options::default() };
    let sandbox = start(options).await;
    let second = "S: 250 2.1.5 OK \nC: RCPT TO:<ok2@example.net>\n";
    Client::ready(&sandbox).await.message("ok", &format!("{second}{ACCEPTED}")).await;
    clock.advance(HOUR);
    let mut client = Client::ready(&sandbox).await;
    client.message("ok", &format!("{second}{}", at_data(LIMIT))).await;
    client.message("ok", ACCEPTED).await;
    client.message("ok", &at_data(LIMIT)).await;
    assert_eq!(sandbox.spent("me@gmail.com"), 3);
    clock.advance(23 * HOUR - Duration::from_millis(1));
    Client::ready(&sandbox).await.message("ok", &at_data(LIMIT)).await;
    clock.advance(Duration::from_millis(1));
    let mut client = Client::ready(&sandbox).await;
    client.message("ok", &format!("{second}{ACCEPTED}")).await;
    client.message("ok", &at_data(LIMIT)).await;
}

#[tokio::test]
async fn a_connection_ends_when_it_is_silent_or_old() {
    let (sandbox, clock) = start_with_clock().await;
    let mut silent = Client::ready(&sandbox).await;
    clock.advance(Duration::from_secs(15 * 60));
    silent.talk("S: 451 4.4.2 Timeout - closing connection.\nclose").await;

    let mut old = Client::ready(&sandbox).await;
    for _ in 0..6 {
        clock.advance(Duration::from_secs(10 * 60));
        old.talk("C: NOOP\nS: 250 2.0.0 OK ").await;
    }
    old.talk(
        "C: MAIL FROM:<me@gmail.com>\nS: 421 4.7.0 Connection expired, try reconnecting.\nclose",
    )
    .await;
}

#[tokio::test]
async fn too_many_connections_of_one_account_are_noticed_at_data() {
    let sandbox = start(Options { connections_max: 1, ..Options::default() }).await;
    let first = Client::ready(&sandbox).await;
    Client::ready(&sandbox)
        .await
        .message("ok", &at_data("S: 421 4.3.0 Temporary System Problem.\nclose"))
        .await;
    drop(first);
    while sandbox.mailbox().counters().connections_open > 0 {
        tokio::task::yield_now().await;
    }
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
}

#[tokio::test]
async fn a_slow_recipient_is_answered_when_the_clock_says_so() {
    let (sandbox, clock) = start_with_clock().await;
    let mut client = Client::ready(&sandbox).await;
    client.message("slow", &at_dot("C: NOOP")).await;
    sandbox.mailbox().wait_for(1, PATIENCE).await.unwrap();
    let mut octet = [0; 1];
    let early =
        tokio::time::timeout(Duration::from_millis(50), client.stream.read(&mut octet)).await;
    assert!(early.is_err(), "answered before its time");
    clock.advance(Duration::from_secs(10));
    client.talk("S: 250 2.0.0 OK  \nS: 250 2.0.0 OK ").await;
}

#[tokio::test]
async fn a_test_can_order_any_reply_or_loss_at_any_stage() {
    let sandbox = start(Options::default()).await;
    sandbox.fail_next(
        Stage::Connect,
        Failure::ReplyAndClose("421 4.7.0 Try again later {id} - gsmtp".into()),
    );
    Client::implicit(&sandbox).await.talk("S: 421 4.7.0 Try again later \nclose").await;
    sandbox.fail_next(Stage::StartTls, Failure::Drop);
    let mut client = Client::starttls(&sandbox).await;
    client.talk("S: 220 \nC: HELO a.example\nS: 250 \nC: STARTTLS\nclose").await;
    let mut client = Client::ready(&sandbox).await;
    for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot] {
        sandbox.fail_next(stage, Failure::Reply("450-4.9.9 first\n450 4.9.9 second".into()));
    }
    let failed = "S: 450-4.9.9 first\nS: 450 4.9.9 second\n";
    client.talk(&format!("C: MAIL FROM:<me@gmail.com>\n{failed}{OPEN}")).await;
    client
        .talk(&format!(
            "C: RCPT TO:<ok@x.net>\n{failed}C: RCPT TO:<ok@x.net>\nS: 250 \nC: DATA\n{failed}"
        ))
        .await;
    client.message("ok", &at_dot(failed)).await;
    sandbox.fail_next(Stage::Dot, Failure::StoreAndDrop);
    client.message("ok", &at_dot("close")).await;
    assert_eq!(sandbox.mailbox().count(), 1);

    for stage in [
        Stage::Connect,
        Stage::Ehlo,
        Stage::Auth,
        Stage::Mail,
        Stage::Rset,
        Stage::Noop,
        Stage::Quit,
    ] {
        sandbox.fail_next(stage, Failure::Malformed(Malformed::MixedCodes));
    }
    let malformed = "S: 250-2.1.5 OK\nS: 550 5.1.1 OK\n";
    let auth = plain("me@gmail.com", "abcdefghijklmnop");
    let mut client = Client::implicit(&sandbox).await;
    client
        .talk(&format!("{malformed}C: EHLO a.example\n{malformed}C: EHLO a.example\n{EHLO_REST}"))
        .await;
    client
        .talk(&format!("C: {auth}\n{malformed}C: {auth}\nS: 235 \nC: MAIL FROM:<>\n{malformed}"))
        .await;
    client.talk(&format!("C: RSET\n{malformed}C: NOOP\n{malformed}C: QUIT\n{malformed}")).await;
}

#[tokio::test]
async fn an_order_can_hold_until_it_is_taken_back() {
    let sandbox = start(Options::default()).await;
    sandbox.fail_always(
        Stage::Mail,
        Failure::ReplyAndClose("421 4.4.5 Server busy {id} - gsmtp".into()),
    );
    for _ in 0..3 {
        Client::ready(&sandbox)
            .await
            .talk("C: MAIL FROM:<me@gmail.com>\nS: 421 4.4.5 Server busy \nclose")
            .await;
    }
    sandbox.forget_failures();
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
}

#[tokio::test]
async fn chance_drops_connections_the_same_way_at_each_start() {
    let chance = Chance { one_in: 3, seed: 5, failures: vec![(Stage::Mail, Failure::Drop)] };
    let mut runs = Vec::new();
    for _ in 0..2 {
        let sandbox = start(Options { chance: Some(chance.clone()), ..Options::default() }).await;
        let mut outcomes = Vec::new();
        for _ in 0..12 {
            let mut client = Client::ready(&sandbox).await;
            client.send(b"MAIL FROM:<me@gmail.com>\r\n").await;
            outcomes.push(client.line().await.is_some());
        }
        runs.push(outcomes);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&true) && runs[0].contains(&false), "{:?}", runs[0]);
}

#[tokio::test]
async fn open_connections_can_be_cut_and_new_ones_work() {
    let sandbox = start(Options::default()).await;
    let mut client = Client::ready(&sandbox).await;
    sandbox.disconnect_all();
    client.talk("close").await;
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
}

#[tokio::test]
async fn the_journal_holds_each_stored_message_before_it_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let options = Options { journal: Some(path.clone()), keep_bodies: false, ..Options::default() };
    let sandbox = start(options).await;
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
    Client::ready(&sandbox).await.message("dropdot", &at_dot("close")).await;
    Client::ready(&sandbox).await.message("dropdot-lost", &at_dot("close")).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<JournalLine> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answered: Vec<bool> = lines.iter().map(|line| line.answered).collect();
    assert_eq!(answered, [true, false]);
    assert_eq!(lines[0].message_id.as_deref(), Some("<1@x>"));
    assert_eq!(lines[0].rcpt_to, ["ok@example.net"]);
    let body = b"Message-ID: <1@x>\r\n\r\nhello\r\n";
    assert_eq!((lines[0].size, lines[0].crc32), (body.len() as u64, crc32fast::hash(body)));
}

#[tokio::test]
async fn each_message_is_a_file_as_its_recipients_get_it() {
    let directory = tempfile::tempdir().unwrap();
    let mailbox = directory.path().join("mailbox");
    let sandbox = start(Options { mailbox: Some(mailbox.clone()), ..Options::default() }).await;
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
    Client::ready(&sandbox).await.message("dropdot-lost", &at_dot("close")).await;
    let files: Vec<_> =
        std::fs::read_dir(&mailbox).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("one message was stored, but there are {files:?}") };
    assert_eq!(file.extension().unwrap(), "eml");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(
        text.starts_with(
            "Delivered-To: ok@example.net\r\nReturn-Path: <me@gmail.com>\r\nReceived: "
        ),
        "{text}"
    );
    assert!(text.ends_with("Message-ID: <1@x>\r\n\r\nhello\r\n"), "{text}");
}

#[tokio::test]
async fn a_watcher_sees_each_step_of_a_message_and_no_secret() {
    let sandbox = start(Options::default()).await;
    let mut events = sandbox.events();
    Client::ready(&sandbox).await.message("ok", ACCEPTED).await;
    let mut lines = Vec::new();
    while let Ok(event) = events.try_recv() {
        lines.push(event.to_string());
    }
    assert_eq!(
        lines,
        [
            "upstream #1 connect: connected",
            "upstream #1 ehlo: name=relay.example.org",
            "upstream #1 auth: logged in user=me@gmail.com",
            "upstream #1 mail: from=me@gmail.com",
            "upstream #1 rcpt: to=ok@example.net",
            "upstream #1 data: recipients=1",
            "upstream #1 dot: accepted from=me@gmail.com to=ok@example.net size=28 message_id=<1@x>",
        ]
    );
}

#[tokio::test]
async fn latency_delays_each_batch_of_replies_once() {
    let latency = Duration::from_millis(20);
    let sandbox = start(Options { latency, ..Options::default() }).await;
    let mut client = Client::plain(&sandbox).await;
    client.talk("S: 220 \nC: HELO a.example\nS: 250 ").await;
    let clock = SystemClock::new();
    let before = clock.now();
    client.talk(&format!("{}{}", "C: NOOP\n".repeat(100), "S: 250 \n".repeat(100))).await;
    let passed = clock.now().since(before);
    // The upper bound is generous, because a busy machine must not fail the test.
    assert!(passed >= latency - Duration::from_millis(1) && passed < 50 * latency, "{passed:?}");
}
