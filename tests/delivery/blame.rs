//! Whom a refusal concerns: mail of others leaves although one message, one sender or one recipient is refused in the
//! account's name or breaks every connection.

use std::time::Duration;

use pillarbox::{
    clock::Clock,
    message::{envelope::Lane, identity::FromPolicy},
    queue::{
        id::QueueId,
        state::{AccountCondition, RecipientState},
    },
    sandbox::{Failure, Stage},
    shutdown::Phase,
};

use super::scene::{BODY, HOUR, MINUTE, START, Scene};

const QUOTA: &str = "550 5.7.1 Email quota exceeded. {id}";
const RELAY: &str = "550 5.7.1 Invalid credentials for relay <192.0.2.1>. The IP address you've registered in your \
                     Workspace SMTP Relay service doesn't match the domain of the account this email is being sent from. {id}";
const FULL: &str = "550 5.4.5 Daily user sending limit exceeded. {id}";

fn reply(text: &str) -> Failure {
    Failure::Reply(text.into())
}

async fn from(scene: &Scene, sender: &str, recipient: &str) -> QueueId {
    scene.submit_from(Lane::Normal, sender, &[recipient], BODY).await
}

/// Goes on in steps until every message is relayed, and says how long that took.
async fn until_relayed(scene: &Scene, ids: &[QueueId], most: Duration) -> Duration {
    let start = scene.clock.wall();
    loop {
        scene.until_quiet().await;
        let mut left = 0;
        for id in ids {
            left += usize::from(scene.names(*id).await.iter().any(|name| *name != "relayed"));
        }
        let took = scene.clock.wall().since(start);
        if left == 0 {
            return took;
        }
        assert!(took < most, "{left} still wait after {took:?}: {:?}", scene.handle().status());
        scene.clock.advance(MINUTE / 4);
    }
}

/// Goes on until a message is dead.
async fn until_dead(scene: &Scene, id: QueueId) -> String {
    for _ in 0..2_000 {
        scene.until_quiet().await;
        if let (RecipientState::Dead { reason, .. }, _) = scene.state(id).await {
            return reason;
        }
        scene.clock.advance(5 * MINUTE);
    }
    panic!("not dead: {:?}", scene.states(id).await);
}

#[tokio::test]
async fn one_message_refused_in_the_accounts_name_delays_the_others_by_a_minute_and_dies_alone() {
    for (at, line) in [(Stage::Data, QUOTA), (Stage::Dot, RELAY), (Stage::Rcpt, RELAY)] {
        let scene = Scene::running(|options| options.connections = 1).await;
        scene.sandbox.strike("<bad@", at, reply(line));
        let bad = scene.submit(&["bad@example.net"]).await;
        let mut good = Vec::new();
        for number in 0..5 {
            good.push(scene.submit(&[&format!("ok{number}@example.net")]).await);
        }
        let took = until_relayed(&scene, &good, HOUR).await;
        assert!(took <= 2 * MINUTE, "{at}: {took:?}");
        assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
        // From now on it troubles nobody, and in the end it is told.
        let reason = until_dead(&scene, bad).await;
        assert!(reason.contains("550 5.7.1"), "{reason}");
        let status = scene.handle().status();
        assert_eq!(status.account.condition, AccountCondition::Open);
        assert_eq!(scene.state(bad).await.1, 8, "{at}: attempts are charged");
        let late = scene.submit(&["ok9@example.net"]).await;
        scene.until_names(late, &["relayed"]).await;
    }
}

#[tokio::test]
async fn a_full_day_that_one_message_alone_meets_delays_the_others_by_one_pause() {
    let scene = Scene::running(|options| options.connections = 1).await;
    scene.sandbox.strike("<bad@", Stage::Data, reply(FULL));
    let bad = scene.submit(&["bad@example.net"]).await;
    let good = scene.submit(&["ok@example.net"]).await;
    let took = until_relayed(&scene, &[good], 3 * HOUR).await;
    assert!(took >= HOUR && took <= HOUR + MINUTE, "{took:?}");
    for number in 0..20 {
        scene.advance(20 * MINUTE).await;
        let next = scene.submit(&[&format!("ok{number}@example.net")]).await;
        scene.until_names(next, &["relayed"]).await;
    }
    assert!(scene.state(bad).await.1 > 1, "it is charged instead");
}

#[tokio::test]
async fn one_senders_refusals_do_not_stop_the_others_however_many_he_sends() {
    let mut scene = Scene::new().await;
    scene.options.identity.from = FromPolicy::Keep;
    scene.options.connections = 2;
    scene.start();
    scene.sandbox.strike("<bad@", Stage::Mail, reply(RELAY));
    let (mut bad, mut good) = (Vec::new(), Vec::new());
    for number in 0..40 {
        bad.push(from(&scene, "bad@host.example", &format!("r{number}@example.net")).await);
    }
    for number in 0..20 {
        good.push(from(&scene, "good@host.example", &format!("s{number}@example.net")).await);
        bad.push(from(&scene, "bad@host.example", &format!("t{number}@example.net")).await);
    }
    let took = until_relayed(&scene, &good, HOUR).await;
    assert!(took <= 2 * MINUTE, "{took:?}");
    // Those that come later do not even wait for that.
    for hour in 0..6 {
        let late = from(&scene, "good@host.example", &format!("u{hour}@example.net")).await;
        bad.push(from(&scene, "bad@host.example", &format!("v{hour}@example.net")).await);
        let took = until_relayed(&scene, &[late], HOUR).await;
        assert!(took <= MINUTE, "hour {hour}: {took:?} {:#?}", scene.handle().status().errors);
        scene.advance(HOUR).await;
    }
    let mails = scene.sandbox.mailbox().counters().reached(Stage::Mail);
    assert!(mails <= 26 + 60, "{mails} MAIL for 26 accepted messages");
    // When he is let in again, all of it leaves.
    scene.sandbox.forget_failures();
    until_relayed(&scene, &bad, 12 * HOUR).await;
}

#[tokio::test]
async fn a_recipient_who_is_always_refused_stops_neither_other_messages_nor_those_beside_him() {
    let scene = Scene::running(|options| options.connections = 1).await;
    scene.sandbox.strike("<bad@", Stage::Data, reply(QUOTA));
    let mut lists = Vec::new();
    for _ in 0..3 {
        let names: Vec<String> = (0..8).map(|number| format!("ok{number}@example.net")).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names[3] = "bad@example.net";
        lists.push(scene.submit(&names).await);
    }
    let other = scene.submit(&["other@example.net"]).await;
    let took = until_relayed(&scene, &[other], HOUR).await;
    assert!(took <= 2 * MINUTE, "{took:?}");
    for _ in 0..48 {
        scene.advance(30 * MINUTE).await;
    }
    scene.until_quiet().await;
    for list in lists {
        let names = scene.names(list).await;
        let relayed = names.iter().filter(|name| **name == "relayed").count();
        assert_eq!(relayed, 7, "{names:?}");
    }
}

#[tokio::test]
async fn a_transfer_that_always_breaks_the_connection_costs_few_logins_and_less_and_less_time() {
    let mut scene = Scene::new().await;
    scene.options.connections = 1;
    scene.options.logins_per_hour = 20;
    // What an idle connection costs is not the question here.
    scene.options.limits.idle = HOUR;
    scene.start();
    scene.sandbox.strike("<bad@", Stage::Data, Failure::Drop);
    let bad = scene.submit(&["bad@example.net"]).await;
    let logins = || scene.sandbox.mailbox().counters().logins;
    let mut slowest = Duration::ZERO;
    for minute in 0..60 {
        let good = scene.submit(&[&format!("ok{minute}@example.net")]).await;
        slowest = slowest.max(until_relayed(&scene, &[good], HOUR).await);
        let past = scene.clock.wall().since(START);
        scene.clock.advance(((minute + 1) * MINUTE).saturating_sub(past));
    }
    assert!(slowest <= MINUTE, "{slowest:?}");
    // Once with a second try, then after 1.5, 6, 21 minutes, and the next connection of the others each time.
    assert!(logins() <= 10, "{} logins in the first hour", logins());
    let before = logins();
    let attempts = scene.handle().status().counters.deferred;
    assert!(attempts >= 2, "others were accepted, so it is charged");
    for _ in 0..24 {
        scene.advance(HOUR).await;
    }
    scene.until_quiet().await;
    assert!(logins() - before <= 8, "{} in a day without other mail", logins() - before);
    assert_ne!(scene.names(bad).await, ["relayed"]);
    assert!(scene.handle().status().counters.deferred > attempts);
}

#[tokio::test]
async fn many_messages_that_break_connections_leave_half_of_the_logins_to_the_others() {
    let mut scene = Scene::new().await;
    scene.options.connections = 3;
    scene.options.logins_per_hour = 20;
    // What an idle connection costs is not the question here.
    scene.options.limits.idle = HOUR;
    scene.start();
    scene.sandbox.strike("<bad", Stage::Data, Failure::Drop);
    let large = [BODY, &b"0123456789\r\n".repeat(1_000)].concat();
    for number in 0..4 {
        scene.submit_body(&[&format!("bad{number}@example.net")], &large).await;
    }
    for minute in 0..120 {
        let good = scene.submit(&[&format!("ok{minute}@example.net")]).await;
        let took = until_relayed(&scene, &[good], HOUR).await;
        assert!(took <= 5 * MINUTE, "minute {minute}: {took:?}");
        scene.clock.advance(MINUTE);
    }
}

#[tokio::test]
async fn what_a_message_has_cost_survives_a_restart() {
    let mut scene = Scene::running(|options| options.connections = 1).await;
    scene.sandbox.strike("<bad@", Stage::Data, reply(QUOTA));
    let bad = scene.submit(&["bad@example.net"]).await;
    let good = scene.submit(&["ok@example.net"]).await;
    until_relayed(&scene, &[good], HOUR).await;
    scene.stop(Phase::Immediate).await;
    scene.restart_queue().await;
    scene.clock.reboot();
    scene.start();
    for _ in 0..5 {
        scene.advance(MINUTE).await;
    }
    scene.until_quiet().await;
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
    assert!(scene.state(bad).await.1 >= 1, "charged at once: {:?}", scene.states(bad).await);
}

#[tokio::test]
async fn a_whole_account_that_is_refused_pauses_and_charges_no_message_but_those_in_doubt() {
    let scene = Scene::running(|options| options.connections = 3).await;
    scene.sandbox.fail_always(Stage::Mail, reply(RELAY));
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(scene.submit(&[&format!("ok{number}@example.net")]).await);
    }
    for _ in 0..24 {
        scene.advance(15 * MINUTE).await;
    }
    scene.until_quiet().await;
    assert_eq!(scene.handle().status().account.condition, AccountCondition::PausedConfiguration);
    let asked = scene.handle().status().counters.attempts;
    assert!(asked <= 30, "{asked} attempts in six hours");
    for id in &ids {
        assert_eq!(scene.state(*id).await.1, 0, "nothing is charged");
    }
    scene.sandbox.forget_failures();
    until_relayed(&scene, &ids, 5 * HOUR).await;
}

#[tokio::test]
async fn an_urgent_sender_who_is_refused_does_not_stop_ordinary_mail() {
    let mut scene = Scene::new().await;
    scene.options.identity.from = FromPolicy::Keep;
    scene.options.connections = 1;
    scene.start();
    scene.sandbox.strike("<alarm@", Stage::Mail, reply(RELAY));
    for number in 0..30 {
        let to = format!("r{number}@example.net");
        scene.submit_from(Lane::Urgent, "alarm@host.example", &[&to], BODY).await;
    }
    let good = from(&scene, "good@host.example", "ok@example.net").await;
    let took = until_relayed(&scene, &[good], HOUR).await;
    assert!(took <= 2 * MINUTE, "{took:?}");
}

#[tokio::test]
async fn a_size_that_is_refused_at_mail_is_the_messages_affair() {
    for line in [
        "552 Message size exceeds limit",
        "552 sorry, that message size exceeds my databytes limit (#5.3.4)",
    ] {
        let scene = Scene::running(|options| options.connections = 1).await;
        scene.sandbox.fail_next(Stage::Mail, reply(line));
        let large = scene.submit(&["ok@example.net"]).await;
        scene.until_names(large, &["dead"]).await;
        let small = scene.submit(&["ok2@example.net"]).await;
        scene.until_names(small, &["relayed"]).await;
        assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
    }
}
