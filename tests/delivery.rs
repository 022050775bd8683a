//! Delivery against the Gmail look-alike, over real TLS: what each answer of the upstream comes to.
//!
//! Time is a manual clock; the tests wait for real I/O alone, with a deadline.

mod account;
mod blame;
mod clocks;
mod connection;
mod diskless;
mod documents;
mod early;
mod ending;
mod identity;
mod lanes;
mod month;
mod ports;
mod recipients;
mod relay;
mod replies;
mod scene;
mod week;

use pillarbox::{
    budget::AccountKey,
    clock::Clock,
    delivery::Tls,
    queue::state::{AccountCondition, RecipientState},
    sandbox::{APP_PASSWORD, Failure, Stage},
    shutdown::Phase,
};

use self::scene::{BODY, HOUR, MINUTE, Scene, eventually};
use crate::support::captured::Captured;

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
            assert!(message.tls.is_some() && message.answered);
            assert_eq!(message.mail_from, "me@gmail.com");
            assert_eq!(message.ehlo, "relay.example.org");
            assert!(message.parameters.iter().any(|parameter| parameter == "BODY=8BITMIME"));
        }
        let counters = scene.sandbox.mailbox().counters();
        assert_eq!(
            (counters.connections, counters.logins, counters.violations),
            (1, 1, 0),
            "{tls:?}"
        );
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
    let id = scene
        .submit(&["ok@example.net", "nosuch@example.net", "full@example.net", "ok2@example.net"])
        .await;
    scene.until_names(id, &["relayed", "dead", "queued", "relayed"]).await;
    assert_eq!(scene.received()[0].rcpt_to, ["ok@example.net", "ok2@example.net"]);
    let [_, dead, full, _] = &scene.states(id).await[..] else { panic!() };
    assert!(
        matches!(&dead.0, RecipientState::Dead { reason, .. } if reason.contains("5.1.1")),
        "{dead:?}"
    );
    assert_eq!((dead.1, full.1), (1, 1), "each refusal counts as an attempt");
    let ledger = scene.store.ledger(AccountKey::MAIN, scene.clock.now(), 500.into()).await.unwrap();
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
        .submit(&[
            "a@example.net",
            "b@example.net",
            "c@example.net",
            "d@example.net",
            "e@example.net",
        ])
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
async fn no_password_and_no_body_reaches_the_log_and_every_step_does() {
    let captured = Captured::default();
    let _guards = captured.start();
    let mut scene = Scene::running(|_| {}).await;
    let id = scene.submit(&["ok@example.net", "nosuch@example.net", "full@example.net"]).await;
    scene.until_names(id, &["relayed", "dead", "queued"]).await;
    let uncertain = scene.submit(&["dropdot@example.net"]).await;
    scene.until_names(uncertain, &["uncertain"]).await;
    scene.submit(&["quota@example.net"]).await;
    scene.until_account(AccountCondition::PausedQuota).await;
    scene.stop(Phase::Draining).await;

    let text = captured.text();
    let initial_response =
        data_encoding::BASE64.encode(format!("\0me@gmail.com\0{APP_PASSWORD}").as_bytes());
    for secret in [APP_PASSWORD, &initial_response, ".a dot"] {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
    for word in ["relayed", "deferred", "dead", "uncertain", "paused-quota"] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
    assert!(text.contains(&id.to_string()) && text.contains("2.0.0 OK"));
}

#[tokio::test]
async fn a_pause_is_a_warning_and_its_end_is_news() {
    let captured = Captured::default();
    let _guards = captured.start();
    let mut scene = Scene::running(|_| {}).await;
    scene.sandbox.fail_next(
        Stage::Mail,
        Failure::Reply("550 5.4.5 Daily user sending limit exceeded.".into()),
    );
    let id = scene.submit(&["ok@example.net"]).await;
    scene.until_account(AccountCondition::PausedQuota).await;
    scene.until_quiet().await;
    scene.stop(Phase::Draining).await;
    scene.start();
    // It is behind all others, by a minute.
    scene.advance(HOUR + MINUTE).await;
    scene.until_names(id, &["relayed"]).await;
    scene.until_account(AccountCondition::Open).await;

    let text = captured.text();
    let events: Vec<&str> = text.lines().filter(|line| line.contains(" account=\"")).collect();
    let [begins, goes_on, ends] = events[..] else { panic!("{text}") };
    for pause in [begins, goes_on] {
        assert!(
            pause.contains("WARN") && pause.contains("paused-quota") && pause.contains("5.4.5"),
            "{pause}"
        );
    }
    assert!(ends.contains("INFO") && ends.contains("account=\"open\""), "{ends}");
}
