//! Messages over the Gmail API: who gets them, what each answer comes to, and what is uncertain.

use pillarbox::{
    delivery::{Tls, Transport, oauth::Issuer},
    queue::{id::QueueId, state::AccountCondition},
    sandbox::{Failure, SEND_REFRESH_TOKEN, Stage, USERNAME},
};

use super::scene::{HOUR, MINUTE, Scene, eventually, stored};
use pillarbox::clock::Clock;

const TO_THREE: &[u8] = b"From: cron@host.example\r\nTo: Ann <ann@example.net>, eve@example.net\r\nCc: bob@example.net\r\n\
    Bcc: mallory@example.net\r\nSubject: test\r\nMessage-ID: <one@example.org>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nhello\r\n";
const THREE: [&str; 3] = ["ann@example.net", "bob@example.net", "carol@example.net"];

/// A relay that sends over the API, with a token that allows that alone.
async fn over_the_api() -> Scene {
    let mut scene = Scene::new().await;
    scene.options.transport = Transport::GmailApi;
    scene.options.tls = Tls::Implicit;
    scene.options.port = scene.sandbox.api_address().port();
    scene.tokens.issuer = Issuer::GoogleApi;
    scene.file().replace(&stored(SEND_REFRESH_TOKEN, scene.clock.wall())).unwrap();
    scene
}

async fn started() -> Scene {
    let mut scene = over_the_api().await;
    scene.start();
    scene
}

/// Everybody who was named in all messages, in the order of their names.
fn named(scene: &Scene) -> Vec<String> {
    let accepted = scene.sandbox.mailbox().accepted();
    let mut named: Vec<String> =
        accepted.iter().flat_map(|message| message.rcpt_to.clone()).collect();
    named.sort_unstable();
    named
}

async fn until_relayed(scene: &Scene, id: QueueId) {
    for _ in 0..10_000 {
        let states = scene.states(id).await;
        if states.iter().all(|(state, _)| state.name() == "relayed") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("not relayed: {:?} {:?}", scene.states(id).await, scene.handle().status());
}

#[tokio::test]
async fn a_message_leaves_once_for_those_who_are_meant_whatever_its_header_says() {
    let scene = started().await;
    let id = scene.submit_to(&THREE, TO_THREE).await;
    until_relayed(&scene, id).await;
    assert_eq!(named(&scene), THREE);
    let accepted = scene.sandbox.mailbox().accepted();
    let text = String::from_utf8(accepted[0].body.clone()).unwrap();
    assert!(text.contains("\r\nTo: Ann <ann@example.net>\r\n"), "{text}");
    assert!(
        text.contains("\r\nX-Original-To: Ann <ann@example.net>, eve@example.net\r\n"),
        "{text}"
    );
    assert!(text.contains("Bcc: carol@example.net\r\n") && !text.contains("mallory"), "{text}");
    assert!(text.ends_with("\r\n\r\nhello\r\n"), "{text}");
    assert_eq!(scene.sandbox.spent(USERNAME), 3);
}

#[tokio::test]
async fn one_connection_and_one_token_carry_many_messages_and_cost_no_login_of_the_hour() {
    let mut scene = over_the_api().await;
    scene.options.connections = 1;
    scene.options.logins_per_hour = 1;
    scene.start();
    for count in 1..=5 {
        scene.submit().await;
        scene.until_received(count).await;
    }
    assert_eq!((scene.token_requests(), scene.sandbox.mailbox().counters().connections), (1, 1));
    assert_eq!(scene.handle().status().account.logins, []);
}

#[tokio::test]
async fn a_message_that_goes_in_parts_names_in_each_part_its_own_recipients() {
    let mut scene = over_the_api().await;
    scene.options.limits.recipients_per_transaction = 1;
    scene.start();
    let id = scene.submit_to(&THREE, TO_THREE).await;
    until_relayed(&scene, id).await;
    assert_eq!(named(&scene), THREE);
    assert_eq!(scene.sandbox.mailbox().count(), 3);
}

#[tokio::test]
async fn a_large_message_streams_to_the_octet() {
    let scene = started().await;
    let line = "0123456789".repeat(7) + "\r\n";
    let body = String::from_utf8(TO_THREE.to_vec()).unwrap() + &line.repeat(60_000);
    let id = scene.submit_to(&THREE, body.as_bytes()).await;
    until_relayed(&scene, id).await;
    let accepted = scene.sandbox.mailbox().accepted();
    assert!(accepted[0].body.ends_with(line.repeat(60_000).as_bytes()));
}

#[tokio::test]
async fn what_concerns_the_account_pauses_it_and_costs_the_message_nothing() {
    use AccountCondition::{BackingOff, PausedConfiguration, PausedCredentials, PausedQuota};
    for (answer, condition, remedy) in [
        ("403 rateLimitExceeded Rate Limit Exceeded", BackingOff, "pace_per_minute"),
        ("403 userRateLimitExceeded User Rate Limit Exceeded", BackingOff, "pace_per_minute"),
        ("429 rateLimitExceeded Too many concurrent requests for user.", BackingOff, "pace"),
        (
            "429 rateLimitExceeded User-rate limit exceeded. (Mail sending)",
            PausedQuota,
            "Send less",
        ),
        ("403 dailyLimitExceeded Daily Limit Exceeded", PausedQuota, "quotas"),
        ("403 quotaExceeded Quota exceeded", PausedQuota, "quotas"),
        ("403 domainPolicy Disabled", PausedConfiguration, "administrator"),
        ("403 accessNotConfigured Gmail API has not been used", PausedConfiguration, "Switch"),
        ("403 insufficientPermissions Insufficient", PausedCredentials, "auth google"),
        ("403 forbidden Delegation denied for me@gmail.com", PausedConfiguration, "delegation"),
        ("400 failedPrecondition Mail service not enabled", PausedConfiguration, "switched on"),
        ("404 notFound Not Found", PausedConfiguration, "upstream.host"),
        ("403 somethingNew What is this", PausedConfiguration, "docs/https.md"),
    ] {
        let scene = started().await;
        scene.sandbox.fail_always(Stage::Dot, Failure::Reply(answer.into()));
        let id = scene.submit_to(&THREE, TO_THREE).await;
        let account = scene.until_account(condition).await;
        assert!(account.remedy.contains(remedy), "{answer}: {}", account.remedy);
        assert!(account.reason.contains(answer.split(' ').nth(1).unwrap()), "{}", account.reason);
        scene.expect_uncharged(id).await;
        assert_eq!(scene.sandbox.mailbox().count(), 0, "{answer}");
    }
}

#[tokio::test]
async fn a_refusal_that_comes_before_the_end_of_a_large_message_is_heard_and_not_taken_for_a_lost_connection()
 {
    let scene = started().await;
    let line = "0123456789".repeat(7) + "\r\n";
    let body = String::from_utf8(TO_THREE.to_vec()).unwrap() + &line.repeat(100_000);
    let answer = "403 accessNotConfigured Gmail API has not been used";
    scene.sandbox.fail_always(Stage::Auth, Failure::Reply(answer.into()));
    let id = scene.submit_to(&THREE, body.as_bytes()).await;
    let account = scene.until_account(AccountCondition::PausedConfiguration).await;
    assert!(account.reason.contains("accessNotConfigured"), "{}", account.reason);
    scene.expect_uncharged(id).await;
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_at_once_and_one_that_is_refused_again_stops_the_account()
 {
    let scene = started().await;
    scene.submit().await;
    scene.until_received(1).await;
    scene.sandbox.revoke_all_tokens();
    scene.submit().await;
    scene.until_received(2).await;
    assert_eq!(scene.token_requests(), 2);
    scene
        .sandbox
        .fail_always(Stage::Auth, Failure::Reply("401 authError Invalid Credentials".into()));
    let id = scene.submit().await;
    let account = scene.until_account(AccountCondition::PausedCredentials).await;
    assert!(account.remedy.contains("pillarbox auth google"), "{}", account.remedy);
    scene.expect_uncharged(id).await;
}

#[tokio::test]
async fn a_token_without_the_right_to_send_stops_the_account_with_its_remedy() {
    let mut scene = over_the_api().await;
    scene.file().replace(&stored("narrow", scene.clock.wall())).unwrap();
    scene.start();
    scene.submit().await;
    let account = scene.until_account(AccountCondition::PausedCredentials).await;
    assert!(account.remedy.contains("box ticked"), "{}", account.remedy);
}

#[tokio::test]
async fn what_concerns_the_message_ends_it_and_nothing_else() {
    for answer in [
        "400 invalidArgument Invalid To header",
        "413 uploadTooLarge Request payload size exceeds the limit.",
    ] {
        let scene = started().await;
        scene.sandbox.fail_next(Stage::Dot, Failure::Reply(answer.into()));
        let id = scene.submit_to(&THREE, TO_THREE).await;
        scene.until_all(id, "dead").await;
        scene.submit().await;
        scene.until_received(1).await;
    }
}

#[tokio::test]
async fn a_header_that_is_too_large_to_be_edited_is_refused_and_never_sent() {
    let scene = started().await;
    let body = "X-Long: a\r\n".repeat(30_000) + "Subject: a\r\n\r\nhello\r\n";
    let id = scene.submit_to(&THREE, body.as_bytes()).await;
    scene.until_all(id, "dead").await;
    let (state, _) = scene.states(id).await.remove(0);
    assert!(format!("{state:?}").contains("too large to be edited"), "{state:?}");
    assert_eq!(scene.sandbox.mailbox().counters().reached(Stage::Body), 0);
}

#[tokio::test]
async fn a_connection_lost_before_the_end_of_the_message_is_replaced_and_delivers_once() {
    for stage in [Stage::Auth, Stage::Data] {
        let scene = started().await;
        let line = "0123456789".repeat(7) + "\r\n";
        // More than what is in flight before the server has said a word.
        let body = String::from_utf8(TO_THREE.to_vec()).unwrap() + &line.repeat(100_000);
        scene.sandbox.fail_next(stage, Failure::Drop);
        let id = scene.submit_to(&THREE, body.as_bytes()).await;
        until_relayed(&scene, id).await;
        assert_eq!(
            (named(&scene), scene.sandbox.mailbox().count()),
            (THREE.map(String::from).into(), 1)
        );
    }
}

#[tokio::test]
async fn what_happens_behind_the_last_block_is_uncertain_and_sent_once_more_with_the_same_octets() {
    for (failure, copies) in [
        (Failure::StoreAndDrop, 2),
        (Failure::Drop, 1),
        (Failure::Reply("503 backendError Backend Error".into()), 1),
        (Failure::Reply("500 internalError Internal Error".into()), 1),
    ] {
        let scene = started().await;
        scene.sandbox.fail_next(Stage::Dot, failure);
        let id = scene.submit_to(&THREE, TO_THREE).await;
        scene.until_all(id, "uncertain").await;
        for _ in 0..3 {
            scene.clock.advance(15 * MINUTE);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        until_relayed(&scene, id).await;
        let accepted = scene.sandbox.mailbox().accepted();
        assert_eq!(accepted.len(), copies);
        assert!(accepted.iter().all(|message| message.body == accepted[0].body));
    }
}

#[tokio::test]
async fn a_second_uncertain_end_holds_the_message_for_a_person() {
    let scene = started().await;
    scene.sandbox.fail_always(Stage::Dot, Failure::StoreAndDrop);
    let id = scene.submit_to(&THREE, TO_THREE).await;
    scene.until_all(id, "uncertain").await;
    scene.clock.advance(HOUR);
    scene.until_all(id, "held").await;
    assert_eq!(scene.sandbox.mailbox().count(), 2);
}

#[tokio::test]
async fn trouble_of_the_servers_own_pauses_the_account_so_that_few_messages_become_uncertain() {
    let mut scene = over_the_api().await;
    scene.options.connections = 1;
    scene.start();
    scene.sandbox.fail_always(Stage::Dot, Failure::Reply("503 backendError Backend Error".into()));
    for _ in 0..10 {
        scene.submit().await;
    }
    let account = scene.until_account(AccountCondition::BackingOff).await;
    assert!(account.reason.contains("503 backendError"), "{}", account.reason);
    assert_eq!(scene.sandbox.mailbox().counters().reached(Stage::Dot), 1);
}

#[tokio::test]
async fn a_server_that_asks_to_be_left_alone_is_left_alone_for_so_long_but_never_longer_than_an_hour()
 {
    for (answer, seconds) in [
        ("429 rateLimitExceeded Too many\nRetry-After: 600", 600),
        ("503 backendError Backend Error\nRetry-After: 600", 600),
        ("503 backendError Backend Error\nRetry-After: 3", 30),
        ("503 backendError Backend Error\nRetry-After: 86400", 3_600),
        ("503 backendError Backend Error\nRetry-After: soon", 30),
        ("500 internalError Internal Error\nRetry-After: 600", 30),
        ("429 rateLimitExceeded (Mail sending)\nRetry-After: 60", 3_600),
    ] {
        let scene = started().await;
        scene.sandbox.fail_always(Stage::Dot, Failure::Reply(answer.into()));
        scene.submit_to(&THREE, TO_THREE).await;
        let is_day = answer.contains("Mail sending");
        let condition =
            if is_day { AccountCondition::PausedQuota } else { AccountCondition::BackingOff };
        let account = scene.until_account(condition).await;
        let pause = account.until.unwrap().since(account.since).as_secs();
        assert_eq!(pause, seconds, "{answer}");
    }
}

/// The table of docs/https.md, which is compared with the program's own: answers, and what the relay does.
fn documented() -> Vec<(String, String)> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/https.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect());
    cells
        .map(|cells: Vec<&str>| (cells[0].trim_matches('`').to_owned(), cells[2].to_owned()))
        .collect()
}

#[tokio::test]
async fn each_answer_that_is_known_does_over_a_real_connection_what_the_table_says() {
    use AccountCondition::{BackingOff, PausedConfiguration, PausedCredentials, PausedQuota};
    let table = documented();
    assert!(table.len() >= 15, "{table:?}");
    for (answer, does) in table {
        let scene = started().await;
        scene.sandbox.fail_always(Stage::Dot, Failure::Reply(answer.clone()));
        let id = scene.submit_to(&THREE, TO_THREE).await;
        let conditions = match does.as_str() {
            "the message is given up" => {
                scene.until_all(id, "dead").await;
                assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
                continue;
            }
            "the account pauses: 1, 2, 4 hours" => &[PausedQuota][..],
            "the account pauses, with growing waits" => &[BackingOff],
            "the account pauses until a person has acted" => {
                &[PausedConfiguration, PausedCredentials]
            }
            "a new token at once, then the account pauses" => &[PausedCredentials],
            other => panic!("{answer}: nobody knows {other}"),
        };
        let status = || scene.handle().status();
        eventually(
            || conditions.contains(&status().account.condition) && status().in_flight.is_empty(),
            || format!("{answer}: {:?}", status()),
        )
        .await;
        let account = status().account;
        assert!(account.reason.contains(&answer), "{answer}: {}", account.reason);
        assert!(!account.remedy.is_empty() && status().counters.unknown_replies == 0, "{answer}");
        scene.expect_uncharged(id).await;
        assert_eq!(scene.sandbox.mailbox().count(), 0, "{answer}");
    }
}

#[tokio::test]
async fn recipients_that_mean_something_over_smtp_mean_it_over_the_api_as_well() {
    for (to, state) in [
        ("nosuch@example.net", "dead"),
        ("spam@example.net", "dead"),
        ("tmp-once@example.net", "uncertain"),
        ("dropdot-lost-once@example.net", "uncertain"),
        ("dropdot-once@example.net", "uncertain"),
        ("garbage-dot-once@example.net", "uncertain"),
    ] {
        let scene = started().await;
        let id = scene.submit_to(&[to], TO_THREE).await;
        scene.until_all(id, state).await;
        assert_eq!(scene.sandbox.mailbox().count(), usize::from(to.starts_with("dropdot-once")));
    }
    let scene = started().await;
    let id = scene.submit_to(&["quota@example.net"], TO_THREE).await;
    scene.until_account(AccountCondition::PausedQuota).await;
    scene.expect_uncharged(id).await;
    // For all mail of the account, for 24 hours.
    scene.handle().resume().await;
    let other = scene.submit().await;
    scene.until_account(AccountCondition::PausedQuota).await;
    scene.expect_uncharged(other).await;
}
