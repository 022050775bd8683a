//! Connections that break, lie, hang or cannot be trusted.

use std::{path::PathBuf, time::Duration};

use pillarbox::{
    budget::AccountKey,
    clock::Clock,
    delivery::{Tls, Uncertain},
    queue::state::{AccountCondition, RecipientState},
    sandbox::{Failure, Stage},
    shutdown::Phase,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::JoinSet,
};

use super::scene::{BODY, HOUR, MINUTE, Scene, eventually};

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
            [BODY, &b"0123456789\r\n".repeat(if trigger == "dropmid" { 1_500_000 } else { 1 })]
                .concat();
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
    assert_eq!(
        scene.store.ledger(AccountKey::MAIN, scene.clock.now(), 500.into()).await.unwrap().spent,
        1,
        "the unit stays spent"
    );
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
pub(super) async fn scripted(
    greeting: &'static str,
    replies: Vec<&'static str>,
) -> (u16, JoinSet<Vec<String>>) {
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
        scripted("220 smtp.gmail.com\r\n", vec!["250-hello\r\n250 AUTH PLAIN\r\n", "221 bye\r\n"])
            .await;
    let scene = Scene::running(|options| options.port = port).await;
    scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::PausedConfiguration).await;
    assert!(state.reason.contains("STARTTLS"), "{state:?}");
    let heard = server.join_next().await.unwrap().unwrap();
    assert!(
        heard.iter().all(|line| !line.starts_with("AUTH") && !line.starts_with("MAIL")),
        "{heard:?}"
    );
}

#[tokio::test]
async fn text_injected_after_the_reply_to_starttls_is_noticed_and_never_believed() {
    let replies =
        vec!["250-hello\r\n250 STARTTLS\r\n", "220 go\r\n250-injected\r\n250 AUTH PLAIN\r\n"];
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
    assert!(state.reason.starts_with(&format!("localhost port {port}: ")), "{state:?}");
}

#[tokio::test]
async fn a_hanging_reply_is_given_up_at_every_stage() {
    for stage in [Stage::Mail, Stage::Data, Stage::Dot] {
        let scene = Scene::running(|options| {
            options.connections = 1;
            options.limits.command = Duration::from_secs(1);
            options.limits.final_dot = Duration::from_secs(1);
        })
        .await;
        scene.sandbox.fail_next(stage, Failure::Hang);
        let id = scene.submit(&["ok@example.net"]).await;
        let expected = if stage == Stage::Dot { "uncertain" } else { "relayed" };
        eventually(
            expected,
            async || {
                // On a busy machine the limit may strike elsewhere too: then the account backs off.
                if scene.handle().status().account.condition == AccountCondition::BackingOff {
                    scene.clock.advance(MINUTE / 2);
                }
                scene.names(id).await == [expected]
            },
            async || format!("{:?}, {:?}", scene.states(id).await, scene.handle().status()),
        )
        .await;
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
    assert!(state.reason.starts_with(&format!("localhost port {port}: ")), "{state:?}");
    scene.until_quiet().await;
    scene.stop(Phase::Draining).await;
    scene.options.port = scene.sandbox.starttls_address().port();
    scene.start();
    scene.advance(MINUTE / 2).await;
    scene.until_names(id, &["relayed"]).await;
}

#[tokio::test]
async fn a_connection_in_use_is_renewed_after_ten_minutes() {
    let scene = Scene::running(|options| {
        options.connections = 1;
        // Only its age can end it.
        options.limits.idle = HOUR;
    })
    .await;
    for (minutes, connections) in [(0, 1), (5, 1), (4, 1), (2, 2)] {
        scene.advance(minutes * MINUTE).await;
        let id = scene.submit(&["ok@example.net"]).await;
        scene.until_names(id, &["relayed"]).await;
        assert_eq!(
            scene.sandbox.mailbox().counters().connections,
            connections,
            "{minutes} minutes later"
        );
    }
    let limits = pillarbox::delivery::Limits::default();
    assert_eq!((limits.messages_per_connection, limits.final_dot), (100, 10 * MINUTE));
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
async fn a_message_is_settled_at_once_although_the_upstream_does_not_answer_quit() {
    let scene = Scene::running(|options| {
        options.connections = 1;
        options.limits.messages_per_connection = 1;
        options.limits.quit = HOUR;
    })
    .await;
    for _ in 0..3 {
        scene.sandbox.fail_next(Stage::Quit, Failure::Hang);
    }
    let first = scene.submit(&["first@example.net"]).await;
    let second = scene.submit(&["second@example.net"]).await;
    for id in [first, second] {
        scene.until_names(id, &["relayed"]).await;
    }
    assert_eq!(scene.sandbox.mailbox().counters().connections, 2);
}

#[tokio::test]
async fn the_last_connection_stays_open_while_a_new_one_would_cost_a_login_that_is_not_there() {
    let scene = Scene::running(|options| {
        options.connections = 1;
        options.logins_per_hour = 1;
    })
    .await;
    // A mail every two minutes for most of an hour, each of them longer after the last than an idle connection is kept.
    for _ in 0..25 {
        scene.advance(2 * MINUTE).await;
        scene.until_quiet().await;
        let id = scene.submit(&["ok@example.net"]).await;
        scene.until_names(id, &["relayed"]).await;
    }
    assert_eq!(scene.sandbox.mailbox().counters().logins, 1);
}

#[tokio::test]
async fn a_first_message_that_hangs_at_its_end_keeps_nobody_waiting_once_its_login_has_worked() {
    let scene = Scene::running(|_| {}).await;
    for resumed in [false, true] {
        if resumed {
            // Now the probe goes over a connection that is open already.
            scene.handle().resume().await;
        }
        scene.sandbox.fail_next(Stage::Dot, Failure::Hang);
        let hanging = scene.submit(&["hanging@example.net"]).await;
        let is_at_its_end = || {
            let in_flight = scene.handle().status().in_flight;
            in_flight
                .iter()
                .any(|flight| flight.id == hanging && flight.stage.name() == "final dot")
        };
        let present = async || format!("{:?}", scene.handle().status());
        eventually("a hanging message", async || is_at_its_end(), present).await;
        for number in 0..5 {
            let other = scene.submit(&[&format!("other{number}@example.net")]).await;
            scene.until_names(other, &["relayed"]).await;
        }
        assert!(is_at_its_end());
        scene.sandbox.disconnect_all();
        scene.until_names(hanging, &["uncertain"]).await;
    }
}

/// An upstream that takes one message in plain text with these replies: the greeting, then one for EHLO, MAIL, RCPT, DATA
/// and the message. It ends with what it heard when the client goes.
async fn odd(replies: [&'static [u8]; 6]) -> (u16, JoinSet<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut heard = Vec::new();
        for reply in replies {
            stream.write_all(reply).await.unwrap();
            loop {
                let mut line = Vec::new();
                if stream.read_until(b'\n', &mut line).await.unwrap_or(0) == 0 {
                    return heard;
                }
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                let is_text = heard.last().is_some_and(|last| last == "DATA") && line != ".";
                if !is_text {
                    heard.push(line);
                    break;
                }
            }
        }
        heard
    });
    (port, tasks)
}

#[tokio::test]
async fn an_acceptance_is_believed_however_it_is_written() {
    for replies in [
        [&b"220\r\n"[..], b"250\r\n", b"250\r\n", b"250\r\n", b"354\r\n", b"250\r\n"],
        [b"220 a\n", b"250-a\n250 SIZE\n", b"250 b\n", b"250 c\n", b"354 d\n", b"250 e\n"],
        [
            b"220 Gr\xfc\xdf Gott\r\n",
            b"250-h\xf6flich\r\n250 8BITMIME\r\n",
            b"250 f\xfcr\r\n",
            b"250 Empf\xe4nger\r\n",
            b"354 los\r\n",
            b"250 Danke f\xfcr die Nachricht\r\n",
        ],
        [
            b"220-a\r\n221 b\r\n",
            b"250 a\r\n",
            b"250-2.1.0 a\r\n251 2.1.5 b\r\n",
            b"250-2.1.0 a\r\n250 2.1.5 b\r\n",
            b"354-a\r\n354 b\r\n",
            b"250-2.0.0 a\r\n252 2.6.0 b\r\n",
        ],
    ] {
        let (port, _server) = odd(replies).await;
        let scene = Scene::running(|options| {
            (options.port, options.tls, options.login) = (port, Tls::Off, None);
        })
        .await;
        let id = scene.submit(&["ok@example.net"]).await;
        scene.until_names(id, &["relayed"]).await;
        assert_eq!(scene.handle().status().counters.connections, 1);
    }
}

#[tokio::test]
async fn a_refusal_in_another_charset_is_a_refusal_and_can_be_read() {
    let refused = b"550 5.1.1 Empf\xe4nger unbekannt\r\n";
    let (port, _server) =
        odd([b"220 a\r\n", b"250 a\r\n", b"250 a\r\n", refused, b"250 a\r\n", b"250 a\r\n"]).await;
    let scene = Scene::running(|options| {
        (options.port, options.tls, options.login) = (port, Tls::Off, None);
    })
    .await;
    let id = scene.submit(&["nobody@example.net"]).await;
    scene.until_names(id, &["dead"]).await;
    let RecipientState::Dead { reason, .. } = scene.state(id).await.0 else { panic!() };
    assert!(reason.contains("Empf\\xe4nger unbekannt"), "{reason}");
}

#[tokio::test]
async fn a_reply_that_trickles_in_has_no_more_time_than_one_that_does_not_come() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while stream.write_all(b"2").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let scene = Scene::running(|options| {
        options.port = port;
        options.limits.command = Duration::from_millis(300);
    })
    .await;
    scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::BackingOff).await;
    assert!(state.reason.contains("no whole reply within 0.3 s"), "{state:?}");
}
