//! Messages that do not fit in one transaction, and replies that arrive for a whole envelope at once.

use pillarbox::{
    budget::AccountKey,
    clock::Clock,
    delivery::Tls,
    message::{envelope::Lane, identity::FromPolicy},
    queue::state::{AccountCondition, RecipientState},
    sandbox::{Failure, Stage},
};

use super::{
    connection::scripted,
    scene::{BODY, HOUR, MINUTE, Scene, eventually},
};

fn sizes(scene: &Scene) -> Vec<usize> {
    scene.received().iter().map(|message| message.rcpt_to.len()).collect()
}

#[tokio::test]
async fn what_does_not_fit_follows_in_transactions_of_half_the_size() {
    let mut scene = Scene::with(|options| options.recipients_max = 3).await;
    scene.options.connections = 1;
    scene.start();
    let addresses: Vec<String> = (0..10).map(|number| format!("ok{number}@example.net")).collect();
    let id = scene.submit(&addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    scene.until_names(id, &["relayed"; 10]).await;
    assert_eq!(sizes(&scene), [3, 3, 2, 2], "10, then at most 5, then at most 2");
    assert!(
        scene.states(id).await.iter().all(|(_, attempts)| *attempts == 0),
        "nothing is charged"
    );
    assert_eq!(
        scene.store.ledger(AccountKey::MAIN, scene.clock.now(), 500.into()).await.unwrap().spent,
        10
    );
}

#[tokio::test]
async fn a_message_to_a_thousand_reaches_each_of_them_once_over_as_many_days_as_the_budget_needs() {
    const LIMIT: usize = 300;
    // Gmail itself would refuse one recipient more in a day, and the test would see it.
    let mut scene = Scene::with(|options| options.recipients_per_day = LIMIT as u32).await;
    scene.options.recipients_per_day = (LIMIT as u32).into();
    scene.start();
    let addresses: Vec<String> =
        (0..1_000).map(|number| format!("ok{number}@example.net")).collect();
    let id = scene.submit(&addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for day in 1.. {
        let reached = || sizes(&scene).iter().sum::<usize>();
        let expected = addresses.len().min(day * LIMIT);
        eventually(
            &format!("{expected} recipients on day {day}"),
            async || reached() >= expected,
            async || format!("{} recipients, {:?}", reached(), scene.handle().status()),
        )
        .await;
        scene.until_quiet().await;
        assert_eq!(reached(), expected, "no more than the day allows");
        let spent = scene
            .store
            .ledger(AccountKey::MAIN, scene.clock.now(), (LIMIT as u32).into())
            .await
            .unwrap()
            .spent;
        assert_eq!(spent as usize, expected - (day - 1) * LIMIT);
        if expected == addresses.len() {
            break;
        }
        scene.advance(24 * HOUR).await;
    }
    scene.until_names(id, &["relayed"; 1_000]).await;
    let mut named: Vec<String> =
        scene.received().iter().flat_map(|message| message.rcpt_to.clone()).collect();
    named.sort();
    let mut expected = addresses;
    expected.sort();
    assert_eq!(named, expected, "nobody twice, nobody lost");
    assert!(sizes(&scene).iter().all(|size| *size <= 100), "what Gmail takes in one transaction");
    assert!(
        scene.states(id).await.iter().all(|(_, attempts)| *attempts == 0),
        "nothing is charged"
    );
    assert_eq!(scene.sandbox.mailbox().counters().quota_refusals, 0);
}

#[tokio::test]
async fn a_transaction_in_which_nobody_fits_is_halved_until_one_goes_alone() {
    let mut scene = Scene::with(|options| options.recipients_max = 0).await;
    scene.options.connections = 1;
    scene.start();
    let id =
        scene.submit(&["a@example.net", "b@example.net", "c@example.net", "d@example.net"]).await;
    eventually(
        "an attempt",
        async || scene.states(id).await.iter().all(|(_, attempts)| *attempts == 1),
        async || format!("{:?}", scene.states(id).await),
    )
    .await;
    scene.until_names(id, &["queued"; 4]).await;
    let commands = scene.sandbox.mailbox().last_commands();
    let recipients = commands.iter().filter(|line| line.contains("RCPT TO")).count();
    assert_eq!(recipients, 4 + 2 + 1 + 1 + 1 + 1, "four together, two, then each alone");
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
}

#[tokio::test]
async fn a_server_that_takes_one_domain_at_a_time_gets_one_domain_at_a_time() {
    let mut scene = Scene::new().await;
    scene.options.connections = 1;
    let line = "451 4.3.0 Multiple destination domains per transaction is unsupported. {id}";
    for _ in 0..4 {
        scene.sandbox.fail_next(Stage::Rcpt, Failure::Reply(line.into()));
    }
    scene.start();
    let id = scene.submit(&["a@x.example", "b@y.example", "c@X.example", "d@z.example"]).await;
    scene.until_names(id, &["relayed"; 4]).await;
    assert_eq!(scene.received()[0].rcpt_to, ["a@x.example", "c@X.example"]);
    assert_eq!(sizes(&scene), [2, 1, 1]);
    assert!(
        scene.states(id).await.iter().all(|(_, attempts)| *attempts == 0),
        "nothing is charged"
    );
}

#[tokio::test]
async fn each_recipient_is_retried_on_its_own_until_its_lifetime_is_over() {
    let scene = Scene::running(|options| {
        options.connections = 1;
        options.lifetime = 30 * MINUTE;
    })
    .await;
    let id = scene.submit(&["ok@example.net", "full@example.net", "rate@example.net"]).await;
    scene.until_names(id, &["relayed", "queued", "queued"]).await;
    for attempts in [2, 3] {
        scene.advance(8 * MINUTE).await;
        eventually(
            "the next attempt",
            async || {
                scene.clock.advance(MINUTE / 6);
                scene.states(id).await.iter().skip(1).all(|(_, charged)| *charged >= attempts)
            },
            async || format!("{:?}", scene.states(id).await),
        )
        .await;
    }
    scene.advance(30 * MINUTE).await;
    scene.until_names(id, &["relayed", "dead", "dead"]).await;
    assert_eq!(scene.received().len(), 1, "the first was never sent again");
}

/// A server for two transactions, without SMTPUTF8.
async fn without_smtputf8() -> (u16, tokio::task::JoinSet<Vec<String>>) {
    let replies = vec![
        "250-mail.example\r\n250 8BITMIME\r\n",
        "250 2.1.0 OK\r\n",
        "250 2.1.5 OK\r\n",
        "354 go on\r\n",
    ];
    scripted("220 mail.example\r\n", replies).await
}

#[tokio::test]
async fn an_internationalized_domain_reaches_an_upstream_without_smtputf8_as_its_a_label() {
    let (port, mut server) = without_smtputf8().await;
    let scene = Scene::running(|options| {
        options.connections = 1;
        (options.port, options.tls, options.login) = (port, Tls::Off, None);
    })
    .await;
    let id = scene.submit(&["reader@b\u{fc}cher.example", "l\u{e9}a@example.net"]).await;
    let heard = server.join_next().await.unwrap().unwrap();
    let recipients: Vec<&String> = heard.iter().filter(|line| line.starts_with("RCPT")).collect();
    // Who cannot be named to this server is refused before anything is said, and keeps the other from nothing.
    assert_eq!(recipients, ["RCPT TO:<reader@xn--bcher-kva.example>"]);
    assert!(!heard.iter().any(|line| line.contains("SMTPUTF8")), "{heard:?}");
    eventually(
        "the end of the other",
        async || scene.names(id).await[1] == "dead",
        async || format!("{:?}", scene.states(id).await),
    )
    .await;
    let (RecipientState::Dead { reason, .. }, _) = scene.states(id).await.remove(1) else {
        panic!()
    };
    let words = "5.6.7 l\u{e9}a@example.net needs SMTPUTF8, which the upstream does not offer";
    assert_eq!(reason, words);
}

#[tokio::test]
async fn a_sender_that_an_upstream_cannot_hear_of_is_refused_and_never_said() {
    let (port, mut server) = without_smtputf8().await;
    let scene = Scene::running(|options| {
        options.connections = 1;
        (options.port, options.tls, options.login) = (port, Tls::Off, None);
        options.identity.from = FromPolicy::Keep;
    })
    .await;
    let id = scene
        .submit_from(Lane::Normal, "j\u{f6}rg@host.example", &["reader@example.net"], BODY)
        .await;
    scene.until_names(id, &["dead"]).await;
    let (RecipientState::Dead { reason, .. }, _) = scene.state(id).await else { panic!() };
    assert!(reason.starts_with("5.6.7 the sender j\u{f6}rg@host.example needs"), "{reason}");
    // The connection is there for the next one.
    scene.submit(&["reader@example.net"]).await;
    let heard = server.join_next().await.unwrap().unwrap();
    assert_eq!(heard[1].split(' ').nth(1), Some("FROM:<cron@host.example>"), "{heard:?}");
}

#[tokio::test]
async fn a_lone_dot_ends_a_transaction_that_the_server_began_for_nobody() {
    let (port, mut server) = scripted(
        "220 mail.example\r\n",
        vec![
            "250-mail.example\r\n250 PIPELINING\r\n",
            "250 2.1.0 OK\r\n",
            "550 5.1.1 nobody\r\n",
            "354 go on\r\n",
            "554 5.5.1 no valid recipients\r\n",
            "250 2.1.0 OK\r\n",
            "250 2.1.5 OK\r\n",
            "354 go on\r\n",
        ],
    )
    .await;
    let scene = Scene::running(|options| {
        options.connections = 1;
        (options.port, options.tls, options.login) = (port, Tls::Off, None);
    })
    .await;
    let dead = scene.submit(&["nobody@example.net"]).await;
    scene.until_names(dead, &["dead"]).await;
    scene.submit(&["somebody@example.net"]).await;
    eventually(
        "the second transaction",
        async || !scene.handle().status().in_flight.is_empty() || server.is_empty(),
        async || format!("{:?}", scene.handle().status()),
    )
    .await;
    let heard = server.join_next().await.unwrap().unwrap();
    let words: Vec<&str> =
        heard.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    let expected = ["EHLO", "MAIL", "RCPT", "DATA", ".", "MAIL", "RCPT", "DATA"];
    assert_eq!(
        words[..8],
        expected,
        "no empty line before the dot, no command after it: {heard:?}"
    );
}
