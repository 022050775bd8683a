//! Every example of the table of Gmail's replies, said over a real connection, and what the relay does then.

use std::time::Duration;

use pillarbox::{
    budget::AccountKey,
    clock::Clock,
    delivery::{Action, Growth, KnownReply, Provider, Scope, Stage as At, Waits, known_replies},
    message::envelope::Lane,
    queue::{
        id::QueueId,
        state::{AccountCondition, RecipientState},
    },
    sandbox::{APP_PASSWORD, Failure, Stage},
};

use super::{
    Captured,
    scene::{BODY, HOUR, MINUTE, START, Scene},
};

/// Every example of a provider's own table.
pub(super) fn replies_of(provider: Provider) -> Vec<KnownReply> {
    let mut known = known_replies();
    known.retain(|reply| reply.provider == provider);
    known
}

pub(super) fn stage(reply: &KnownReply) -> Stage {
    match reply.stage {
        At::Connect | At::Greeting => Stage::Connect,
        At::Ehlo => Stage::Ehlo,
        At::Starttls => Stage::StartTls,
        At::Auth => Stage::Auth,
        At::Mail => Stage::Mail,
        At::Rcpt => Stage::Rcpt,
        At::Data => Stage::Data,
        At::FinalDot => Stage::Dot,
    }
}

/// A scene whose upstream says the line, `times` times, and the message that meets it.
async fn met(reply: &KnownReply, times: usize, recipients: &[&str]) -> (Scene, QueueId) {
    let mut scene = Scene::new().await;
    scene.options.connections = 1;
    scene.options.provider = reply.provider;
    let text = format!("{} {{id}} - gsmtp", reply.line);
    let failure =
        if text.starts_with("421") { Failure::ReplyAndClose(text) } else { Failure::Reply(text) };
    for _ in 0..times {
        scene.sandbox.fail_next(stage(reply), failure.clone());
    }
    scene.start();
    let id = scene.submit(recipients).await;
    (scene, id)
}

/// Whatever concerns one message leaves the way open for the next.
async fn lets_the_next_one_pass(scene: &Scene, line: &str) {
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open, "{line}");
    let next = scene.submit(&["ok2@example.net"]).await;
    scene.until_names(next, &["relayed"]).await;
}

fn due(state: &RecipientState) -> Duration {
    match state {
        RecipientState::Queued { due, .. } => due.since(START),
        other => panic!("not queued: {other:?}"),
    }
}

async fn is_retried(reply: &KnownReply, waits: Waits) {
    let (scene, id) = met(reply, 1, &["ok@example.net"]).await;
    lets_the_next_one_pass(&scene, reply.line).await;
    let (state, attempts) = scene.state(id).await;
    let least = if waits.growth == Growth::FromAMinute { MINUTE } else { HOUR };
    assert_eq!(attempts, 1, "{}", reply.line);
    assert!(due(&state) >= least && due(&state) <= least.mul_f64(1.2), "{}: {state:?}", reply.line);
}

async fn is_given_up(reply: &KnownReply) {
    let (scene, id) = met(reply, 1, &["ok@example.net"]).await;
    scene.until_names(id, &["dead"]).await;
    let (RecipientState::Dead { reason, .. }, attempts) = scene.state(id).await else { panic!() };
    assert_eq!(attempts, 1, "{}", reply.line);
    let shown: String = reply.line.chars().take(100).collect();
    assert!(reason.starts_with(&shown), "{reason} tells what was said");
    lets_the_next_one_pass(&scene, reply.line).await;
}

async fn is_divided(reply: &KnownReply) {
    let (scene, id) = met(reply, 1, &["a@example.net", "b@example.org"]).await;
    scene.until_names(id, &["relayed"; 2]).await;
    assert!(scene.states(id).await.iter().all(|(_, attempts)| *attempts == 0), "{}", reply.line);
    assert_eq!(scene.received().len(), 2, "{}", reply.line);
    lets_the_next_one_pass(&scene, reply.line).await;
}

async fn is_said_without_parameters(reply: &KnownReply) {
    let (scene, id) = met(reply, 1, &["ok@example.net"]).await;
    scene.until_names(id, &["relayed"]).await;
    assert!(scene.received()[0].parameters.is_empty(), "{}", reply.line);
    lets_the_next_one_pass(&scene, reply.line).await;
    assert!(!scene.received()[1].parameters.is_empty(), "the next one has them again");
    let (scene, id) = met(reply, 2, &["ok@example.net"]).await;
    scene.until_names(id, &["dead"]).await;
    lets_the_next_one_pass(&scene, reply.line).await;
}

async fn reconnects(reply: &KnownReply, then: AccountCondition) {
    let (scene, id) = met(reply, 1, &["ok@example.net"]).await;
    scene.until_names(id, &["relayed"]).await;
    assert_eq!(scene.sandbox.mailbox().counters().connections, 2, "{}", reply.line);
    assert_eq!(scene.state(id).await.1, 0, "{}", reply.line);
    lets_the_next_one_pass(&scene, reply.line).await;

    let (scene, id) = met(reply, 2, &["ok@example.net"]).await;
    let state = scene.until_account(then).await;
    assert!(!state.remedy.is_empty(), "{}", reply.line);
    scene.until_quiet().await;
    scene.until_names(id, &["queued"]).await;
    assert_eq!(scene.state(id).await.1, 0, "{}: no attempt is charged", reply.line);
}

async fn pauses(reply: &KnownReply, condition: AccountCondition) {
    let (scene, id) = met(reply, 1, &["ok@example.net"]).await;
    let second = scene.submit(&["ok2@example.net"]).await;
    let state = scene.until_account(condition).await;
    scene.until_quiet().await;
    // Hours are for a refused login and for a full day. A refusal of what was sent may be about that alone.
    let (usual, most) = match (condition, reply.stage) {
        (AccountCondition::Open, _) => panic!("no pause: {reply:?}"),
        (AccountCondition::PausedQuota, _) if reply.certain => (HOUR, HOUR),
        (AccountCondition::BackingOff, _) => (MINUTE / 2, 15 * MINUTE),
        (_, At::Mail | At::Rcpt | At::Data | At::FinalDot) if !reply.certain => (MINUTE, MINUTE),
        (AccountCondition::PausedLogin, _) => (15 * MINUTE, 15 * MINUTE),
        (_, At::Auth | At::Mail | At::Rcpt | At::Data | At::FinalDot) => (6 * HOUR, 6 * HOUR),
        _ => (MINUTE / 2, MINUTE / 2),
    };
    let pause = state.until.unwrap().since(START);
    assert!(pause >= usual && pause <= most, "{}: {pause:?}", reply.line);
    assert!(state.remedy == reply.remedy && !state.remedy.is_empty(), "{}: {state:?}", reply.line);
    let shown: String = reply.line.chars().take(60).collect();
    assert!(state.reason.contains(&shown), "{}: {state:?}", reply.line);
    for id in [id, second] {
        scene.until_names(id, &["queued"]).await;
        assert_eq!(scene.state(id).await.1, 0, "{}: no attempt is charged", reply.line);
    }
    assert_eq!(
        scene.store.ledger(AccountKey::MAIN, scene.clock.now(), 500.into()).await.unwrap().spent,
        0,
        "{}",
        reply.line
    );
    assert_eq!(
        scene.store.account_state(AccountKey::MAIN).await.unwrap(),
        Some(state),
        "{}: it is stored",
        reply.line
    );
    assert_eq!(scene.received().len(), 0, "{}", reply.line);
}

async fn does_as_its_row_says(reply: &KnownReply) {
    match reply.action {
        Action::Accept => panic!("no refusal: {reply:?}"),
        Action::Retry(waits) => is_retried(reply, waits).await,
        Action::GiveUp | Action::GiveUpAsSpam => is_given_up(reply).await,
        Action::Split | Action::SplitByDomain => is_divided(reply).await,
        Action::WithoutParameters => is_said_without_parameters(reply).await,
        Action::Reconnect { then } => reconnects(reply, then).await,
        Action::Pause(condition) => pauses(reply, condition).await,
    }
}

#[tokio::test]
async fn each_example_of_every_other_providers_table_does_over_a_real_connection_what_its_row_says()
{
    let captured = Captured::default();
    let _guards = captured.start();
    // Whatever tables there are: a new one is here without a line.
    let others = known_replies().into_iter().filter(|reply| reply.provider != Provider::Gmail);
    for reply in others {
        does_as_its_row_says(&reply).await;
    }
    assert!(!captured.text().contains("unknown reply"), "every example is known");
}

#[tokio::test]
async fn what_gmails_table_says_of_a_code_judges_no_other_server() {
    // DKIM at Gmail; at Microsoft the end of passwords; elsewhere nothing that is known.
    let line = "550 5.7.30 Basic authentication is not supported for Client Submission. {id}";
    for (provider, condition, dies) in [
        (Provider::Gmail, AccountCondition::Open, true),
        (Provider::Microsoft365, AccountCondition::PausedConfiguration, false),
    ] {
        let mut scene = Scene::new().await;
        scene.options.connections = 1;
        scene.options.provider = provider;
        scene.sandbox.fail_next(Stage::Dot, Failure::Reply(line.into()));
        scene.start();
        let id = scene.submit(&["ok@example.net"]).await;
        scene.until_names(id, &[if dies { "dead" } else { "queued" }]).await;
        scene.until_account(condition).await;
        scene.until_quiet().await;
        scene.until_names(id, &[if dies { "dead" } else { "queued" }]).await;
    }
}

#[tokio::test]
async fn each_example_of_the_table_does_over_a_real_connection_what_its_row_says() {
    let captured = Captured::default();
    let _guards = captured.start();
    for reply in replies_of(Provider::Gmail) {
        does_as_its_row_says(&reply).await;
    }
    let text = captured.text();
    let initial_response =
        data_encoding::BASE64.encode(format!("\0me@gmail.com\0{APP_PASSWORD}").as_bytes());
    for secret in [APP_PASSWORD, &initial_response, ".a dot"] {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
    assert!(!text.contains("unknown reply"), "every example is known");
    for word in [
        "paused-quota",
        "paused-login",
        "paused-credentials",
        "paused-configuration",
        "backing-off",
    ] {
        assert!(text.contains(word), "{word} was not reached");
    }
}

#[test]
fn the_table_covers_every_scope_and_action_at_every_stage_that_can_refuse() {
    let replies = replies_of(Provider::Gmail);
    assert!(replies.len() >= 100, "{}", replies.len());
    for at in
        [At::Greeting, At::Ehlo, At::Starttls, At::Auth, At::Mail, At::Rcpt, At::Data, At::FinalDot]
    {
        assert!(replies.iter().any(|reply| reply.stage == at), "{at:?}");
    }
    for scope in [Scope::Recipient, Scope::Message, Scope::Connection, Scope::Account] {
        assert!(replies.iter().any(|reply| reply.scope == scope), "{scope:?}");
    }
}

#[tokio::test]
async fn an_unknown_reply_is_counted_logged_in_full_and_follows_the_default_rule() {
    let captured = Captured::default();
    let _guards = captured.start();
    let scene = Scene::new().await;
    let mut scene = scene;
    scene.options.connections = 1;
    let line =
        "559 5.9.9 This has never been heard before, and it goes on for a while {id} - gsmtp";
    scene.sandbox.fail_next(Stage::Dot, Failure::Reply(line.into()));
    scene.start();
    let id = scene.submit(&["ok@example.net"]).await;
    scene.until_names(id, &["dead"]).await;
    scene.until_quiet().await;
    assert_eq!(scene.handle().status().counters.unknown_replies, 1);
    let text = captured.text();
    let told = text.lines().find(|line| line.contains("unknown reply")).unwrap();
    assert!(told.contains("WARN") && told.contains(&id.to_string()), "{told}");
    assert!(
        told.contains("final dot: 559 5.9.9 This has never") && told.contains("gsmtp"),
        "{told}"
    );
    let known = scene.submit(&["nosuch@example.net"]).await;
    scene.until_names(known, &["dead"]).await;
    assert_eq!(scene.handle().status().counters.unknown_replies, 1, "a known one is not counted");
}

#[tokio::test]
async fn the_third_spam_verdict_within_an_hour_pauses_the_account_for_an_hour() {
    let mut scene = Scene::running(|options| options.connections = 1).await;
    for number in 0..2 {
        let id = spam(&scene, &format!("s{number}@host.example"), number).await;
        scene.until_names(id, &["dead"]).await;
    }
    scene.until_quiet().await;
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
    // A restart does not make it forget.
    scene.stop(pillarbox::shutdown::Phase::Draining).await;
    scene.start();
    let third = spam(&scene, "s0@host.example", 3).await;
    let state = scene.until_account(AccountCondition::PausedQuota).await;
    scene.until_names(third, &["dead"]).await;
    assert_eq!(state.until, Some(START.after(HOUR)));
    assert!(state.reason.contains("spam") && state.reason.contains("5.7.1"), "{state:?}");
    assert!(!state.remedy.is_empty() && state.day_full_since.is_none(), "{state:?}");
}

async fn spam(scene: &Scene, sender: &str, number: u32) -> QueueId {
    let to = format!("spam+{number}@example.net");
    scene.submit_from(Lane::Normal, sender, &[&to], BODY).await
}

#[tokio::test]
async fn spam_of_one_sender_stops_his_mail_for_an_hour_and_nobody_elses() {
    let captured = Captured::default();
    let _guards = captured.start();
    let scene = Scene::running(|options| options.connections = 1).await;
    for number in 0..3 {
        let id = spam(&scene, "web@host.example", number).await;
        scene.until_names(id, &["dead"]).await;
    }
    let his = scene.submit_from(Lane::Normal, "web@host.example", &["ok@example.net"], BODY).await;
    let other = scene.submit(&["ok@example.net"]).await;
    scene.until_names(other, &["relayed"]).await;
    scene.until_quiet().await;
    assert_eq!(scene.names(his).await, ["queued"]);
    assert_eq!(due(&scene.state(his).await.0), HOUR, "as the queue list says");
    assert_eq!(scene.state(his).await.1, 0, "nothing is charged");
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
    assert!(captured.text().contains("the mail of a sender waits"), "{}", captured.text());
    scene.clock.advance(HOUR);
    scene.until_names(his, &["relayed"]).await;
}

#[tokio::test]
async fn a_message_that_looks_suspicious_is_given_up_after_three_attempts_with_long_waits() {
    let scene = Scene::running(|options| options.connections = 1).await;
    let line =
        "421 4.7.0 This message is suspicious due to the nature of the content. {id} - gsmtp";
    for _ in 0..3 {
        scene.sandbox.fail_next(Stage::Dot, Failure::ReplyAndClose(line.into()));
    }
    let id = scene.submit(&["ok@example.net"]).await;
    for (attempt, wait) in [(1, 2 * HOUR), (2, 5 * HOUR)] {
        super::scene::eventually(
            "an attempt",
            async || scene.state(id).await.1 == attempt,
            async || format!("{:?}", scene.states(id).await),
        )
        .await;
        scene.advance(wait).await;
    }
    scene.until_names(id, &["dead"]).await;
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
}

#[tokio::test]
async fn a_full_day_is_known_after_a_restart_and_probed_with_one_recipient() {
    let mut scene = Scene::running(|options| options.connections = 1).await;
    let line = "550 5.4.5 Daily user sending limit exceeded. {id}";
    scene.sandbox.fail_next(Stage::Data, Failure::Reply(line.into()));
    scene.submit(&["a@example.net", "b@example.net", "c@example.net"]).await;
    let paused = scene.until_account(AccountCondition::PausedQuota).await;
    assert!(paused.is_day_full(scene.clock.wall()));
    scene.until_quiet().await;
    scene.stop(pillarbox::shutdown::Phase::Immediate).await;
    scene.restart_queue().await;
    scene.start();
    assert!(
        scene.until_account(AccountCondition::PausedQuota).await.is_day_full(scene.clock.wall())
    );
    // It is behind all others, by a minute.
    scene.advance(HOUR + MINUTE).await;
    let received = scene.until_received(2).await;
    let sizes: Vec<usize> = received.iter().map(|message| message.rcpt_to.len()).collect();
    assert_eq!(sizes, [1, 2], "one recipient first, the rest when it was accepted");
    let state = scene.until_account(AccountCondition::Open).await;
    assert!(!state.is_day_full(scene.clock.wall()));
}

#[tokio::test]
async fn logins_of_the_last_hour_count_after_a_restart() {
    let mut scene = Scene::running(|options| {
        options.connections = 1;
        options.logins_per_hour = 2;
    })
    .await;
    for number in 0..2 {
        let id = scene.submit(&["ok@example.net"]).await;
        scene.until_names(id, &["relayed"]).await;
        scene.until_quiet().await;
        scene.stop(pillarbox::shutdown::Phase::Immediate).await;
        scene.restart_queue().await;
        if number == 0 {
            scene.clock.advance(10 * MINUTE);
        } else {
            scene.clock.reboot();
        }
        scene.start();
    }
    let third = scene.submit(&["ok@example.net"]).await;
    scene.until_quiet().await;
    scene.until_names(third, &["queued"]).await;
    assert_eq!(scene.sandbox.mailbox().counters().logins, 2);
    let next = scene.handle().status().next.unwrap();
    assert_eq!(next.at, START.after(HOUR));
    scene.advance(50 * MINUTE).await;
    scene.until_names(third, &["relayed"]).await;
}

#[tokio::test]
async fn a_challenge_after_the_whole_credential_is_answered_and_its_refusal_read() {
    let mut scene = Scene::new().await;
    let challenge = data_encoding::BASE64.encode(br#"{"status":"400","schemes":"Bearer"}"#);
    scene.sandbox.fail_next(Stage::Auth, Failure::Reply(format!("334 {challenge}")));
    let refusal = "535 5.7.8 Username and Password not accepted. {id}";
    scene.sandbox.fail_next(Stage::Other, Failure::Reply(refusal.into()));
    scene.start();
    scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::PausedCredentials).await;
    assert!(state.reason.contains("535 5.7.8"), "{state:?}");
}

#[tokio::test]
async fn the_third_login_in_a_row_that_ends_without_a_word_counts_as_too_many() {
    let scene = Scene::running(|options| options.connections = 1).await;
    for _ in 0..3 {
        scene.sandbox.fail_next(Stage::Auth, Failure::Drop);
    }
    let id = scene.submit(&["ok@example.net"]).await;
    for strikes in [1, 2] {
        super::scene::eventually(
            "a strike",
            async || scene.handle().status().account.strikes == strikes,
            async || format!("{:?}", scene.handle().status()),
        )
        .await;
        assert_eq!(scene.handle().status().account.condition, AccountCondition::BackingOff);
        scene.advance(strikes * MINUTE / 2).await;
    }
    let state = scene.until_account(AccountCondition::PausedLogin).await;
    assert_eq!(state.until, Some(scene.clock.wall().after(15 * MINUTE)));
    assert_eq!(scene.state(id).await.1, 0);
}
