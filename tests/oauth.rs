//! Tokens instead of a password: what keeps mail flowing, and what each refusal comes to.
//!
//! Time is a manual clock; the tests wait for real I/O alone, with a deadline.

mod api;
mod application;
mod bearer;
mod commands;
mod device;
mod https;
mod idle;
mod scene;
mod service_account;

use std::time::Duration;

use pillarbox::{
    clock::Clock,
    delivery::oauth::{Grant, Tokens},
    queue::state::AccountCondition,
    sandbox::{OAUTH_CLIENT_SECRET, REFRESH_TOKEN, TokenAnswer},
    secret::Secret,
};

use self::scene::{HOUR, MINUTE, Scene, stored};
use crate::support::captured::Captured;

#[tokio::test]
async fn a_token_is_asked_for_once_and_carries_many_messages() {
    let scene = Scene::running().await;
    for count in 1..=10 {
        scene.submit().await;
        scene.until_received(count).await;
    }
    assert_eq!((scene.token_requests(), scene.logins()), (1, (1, 0)));
    assert_eq!(scene.sandbox.mailbox().accepted()[0].username.as_deref(), Some("me@gmail.com"));
    assert_eq!(scene.sandbox.mailbox().counters().violations, 0);
}

#[tokio::test]
async fn a_token_is_replaced_five_minutes_before_its_end_and_the_connection_with_it() {
    let mut scene = Scene::with(|options| {
        options.idle = 3 * HOUR;
        options.age = 3 * HOUR;
    })
    .await;
    // Only the token can end the connection.
    scene.options.limits.connection_age = 3 * HOUR;
    scene.options.limits.idle = 3 * HOUR;
    scene.options.connections = 1;
    scene.start();
    scene.submit().await;
    scene.until_received(1).await;
    scene.clock.advance(54 * MINUTE);
    scene.submit().await;
    scene.until_received(2).await;
    assert_eq!((scene.token_requests(), scene.logins()), (1, (1, 0)), "there are 5 min 59 s left");
    scene.clock.advance(MINUTE);
    scene.submit().await;
    scene.until_received(3).await;
    assert_eq!((scene.token_requests(), scene.logins()), (2, (2, 0)));
}

#[tokio::test]
async fn a_restart_uses_the_token_that_is_still_good() {
    let mut scene = Scene::running().await;
    scene.submit().await;
    scene.until_received(1).await;
    scene.stop().await;
    scene.clock.advance(30 * MINUTE);
    scene.start();
    scene.submit().await;
    scene.until_received(2).await;
    assert_eq!((scene.token_requests(), scene.logins()), (1, (2, 0)));
}

#[tokio::test]
async fn a_new_refresh_token_replaces_the_stored_one() {
    let scene = Scene::running().await;
    scene.sandbox.answer_next_token_request(TokenAnswer::Rotated);
    scene.submit().await;
    scene.until_received(1).await;
    let rotated = scene.file().read().unwrap();
    assert_ne!(rotated.refresh_token, Secret::new(REFRESH_TOKEN.into()));
    scene.clock.advance(2 * HOUR);
    scene.submit().await;
    scene.until_received(2).await;
    let kept = scene.file().read().unwrap();
    assert_eq!((kept.refresh_token, kept.granted_at), (rotated.refresh_token, rotated.granted_at));
    assert_eq!(scene.token_requests(), 2);
}

#[tokio::test]
async fn a_new_refresh_token_that_cannot_be_written_is_used_from_memory_and_written_later() {
    let scene = Scene::new().await;
    let tokens = Tokens::new(
        scene.tokens.clone(),
        "me@gmail.com",
        None,
        std::sync::Arc::new(scene.clock.clone()),
    );
    // A directory where the new file would be written: not even root can open it as a file.
    let beside = scene.directory.path().join("state/oauth-token.json.new");
    std::fs::create_dir(&beside).unwrap();
    scene.sandbox.answer_next_token_request(TokenAnswer::Rotated);
    tokens.access_token().await.unwrap();
    assert_eq!(scene.file().read().unwrap().refresh_token, Secret::new(REFRESH_TOKEN.into()));
    // The old token is as good as dead; the next refresh works all the same, and reaches the disk.
    scene.clock.advance(2 * HOUR);
    std::fs::remove_dir(&beside).unwrap();
    tokens.access_token().await.unwrap();
    assert_ne!(scene.file().read().unwrap().refresh_token, Secret::new(REFRESH_TOKEN.into()));
}

#[tokio::test]
async fn whoever_asks_while_a_token_is_fetched_gets_the_same_one() {
    let scene = Scene::new().await;
    let tokens = Tokens::new(
        scene.tokens.clone(),
        "me@gmail.com",
        None,
        std::sync::Arc::new(scene.clock.clone()),
    );
    let (first, second, third) =
        tokio::join!(tokens.access_token(), tokens.access_token(), tokens.access_token());
    let first = first.unwrap();
    assert_eq!((&first, &first), (&second.unwrap(), &third.unwrap()));
    assert_eq!(scene.token_requests(), 1);
    tokens.reject(&first).await;
    assert_ne!(
        tokens.access_token().await.unwrap(),
        first,
        "a refused token is not handed out again"
    );
}

#[tokio::test]
async fn an_answer_arrives_though_nobody_waits_for_it_any_more() {
    let scene = Scene::new().await;
    let tokens = Tokens::new(
        scene.tokens.clone(),
        "me@gmail.com",
        None,
        std::sync::Arc::new(scene.clock.clone()),
    );
    scene.sandbox.answer_next_token_request(TokenAnswer::Slow);
    // A worker that is cut off in the middle of its request.
    let asked = async {
        while scene.token_requests() == 0 {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = tokens.access_token() => panic!("the answer is slow"),
        () = asked => {}
    }
    scene.clock.advance(MINUTE);
    tokens.access_token().await.unwrap();
    assert_eq!(scene.token_requests(), 1, "the first request's answer was still wanted");
}

#[tokio::test]
async fn a_refresh_token_is_dead_only_after_invalid_grant_and_a_person_makes_a_new_one() {
    let scene = Scene::running().await;
    scene.sandbox.answer_next_token_request(TokenAnswer::InvalidGrant);
    let id = scene.submit().await;
    let state = scene.until_account(AccountCondition::PausedCredentials).await;
    assert!(state.reason.contains("Token has been expired or revoked."), "{}", state.reason);
    for words in ["pillarbox auth google", "Testing", "In production"] {
        assert!(state.remedy.contains(words), "{}", state.remedy);
    }
    let pause = state.until.unwrap().since(scene.clock.wall());
    assert_eq!(pause, 6 * HOUR, "a dead token is not tried every few minutes");
    assert_eq!(scene.logins(), (0, 0), "nothing was sent to the upstream");
    scene.expect_uncharged(id).await;
    scene.file().replace(&stored(REFRESH_TOKEN, scene.clock.wall())).unwrap();
    scene.handle().resume().await;
    scene.until_received(1).await;
}

#[tokio::test]
async fn a_token_endpoint_in_trouble_costs_growing_waits_and_never_the_token() {
    for answer in [
        TokenAnswer::Unavailable,
        TokenAnswer::TooManyRequests,
        TokenAnswer::Truncated,
        TokenAnswer::Drop,
    ] {
        let scene = Scene::running().await;
        scene.sandbox.answer_next_token_request(answer);
        scene.sandbox.answer_next_token_request(answer);
        let id = scene.submit().await;
        let state = scene.until_account(AccountCondition::BackingOff).await;
        assert!(state.remedy.contains("the token is kept"), "{answer:?}: {}", state.remedy);
        assert_eq!(
            state.until.unwrap().since(scene.clock.wall()),
            Duration::from_secs(30),
            "{answer:?}"
        );
        scene.expect_uncharged(id).await;
        scene.clock.advance(Duration::from_secs(31));
        let state = scene.until_strikes(2).await;
        assert_eq!(state.until.unwrap().since(scene.clock.wall()), MINUTE, "{answer:?}");
        assert_eq!(scene.file().read().unwrap().refresh_token, Secret::new(REFRESH_TOKEN.into()));
        scene.clock.advance(2 * MINUTE);
        scene.until_received(1).await;
        scene.until_account(AccountCondition::Open).await;
        assert_eq!((scene.token_requests(), scene.logins()), (3, (1, 0)), "{answer:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_or_is_not_there_is_waited_for() {
    let mut scene = Scene::new().await;
    scene.tokens.limits.answer = Duration::from_millis(300);
    scene.sandbox.answer_next_token_request(TokenAnswer::Slow);
    scene.start();
    scene.submit().await;
    let state = scene.until_account(AccountCondition::BackingOff).await;
    assert!(state.reason.contains("no answer within 0.3 s"), "{}", state.reason);
    scene.clock.advance(MINUTE);
    scene.until_received(1).await;

    let mut scene = Scene::new().await;
    let nobody = format!("http://127.0.0.1:{}/token", crate::support::daemon::free_port());
    scene.tokens.endpoints.token = pillarbox::delivery::oauth::Endpoint::new(&nobody).unwrap();
    scene.start();
    let id = scene.submit().await;
    let state = scene.until_account(AccountCondition::BackingOff).await;
    assert!(state.reason.contains("127.0.0.1"), "{}", state.reason);
    scene.expect_uncharged(id).await;
}

#[tokio::test]
async fn a_client_that_the_endpoint_refuses_is_a_matter_of_configuration() {
    for (answer, words) in [
        (TokenAnswer::InvalidClient, "oauth_client_"),
        (TokenAnswer::UnauthorizedClient, "another client"),
    ] {
        let scene = Scene::running().await;
        scene.sandbox.answer_next_token_request(answer);
        let id = scene.submit().await;
        let state = scene.until_account(AccountCondition::PausedConfiguration).await;
        assert!(state.remedy.contains(words), "{answer:?}: {}", state.remedy);
        scene.expect_uncharged(id).await;
    }
    // An address that is not a token endpoint at all.
    let mut scene = Scene::new().await;
    let elsewhere = format!("{}/nothing", scene.sandbox.oauth_url());
    scene.tokens.endpoints.token = pillarbox::delivery::oauth::Endpoint::new(&elsewhere).unwrap();
    scene.start();
    scene.submit().await;
    let state = scene.until_account(AccountCondition::PausedConfiguration).await;
    assert!(
        state.reason.contains("404") && state.remedy.contains("oauth_token_endpoint"),
        "{state:?}"
    );
}

#[tokio::test]
async fn without_a_token_the_account_waits_for_the_consent_and_looks_again_soon() {
    let scene = Scene::new().await;
    scene.file().remove().unwrap();
    let mut scene = scene;
    scene.start();
    let id = scene.submit().await;
    let state = scene.until_account(AccountCondition::PausedCredentials).await;
    assert_eq!(state.remedy, "Run: pillarbox auth google");
    scene.expect_uncharged(id).await;
    scene.file().replace(&stored(REFRESH_TOKEN, scene.clock.wall())).unwrap();
    scene.clock.advance(2 * MINUTE);
    scene.until_received(1).await;
}

#[tokio::test]
async fn a_token_of_another_account_or_client_is_not_even_tried() {
    for (change, words) in [("username", "another account"), ("client", "another client")] {
        let mut scene = Scene::new().await;
        let mut other = stored(REFRESH_TOKEN, scene.clock.wall());
        match change {
            "username" => other.username = "you@gmail.com".into(),
            _ => other.client_id = "2.apps".into(),
        }
        scene.file().replace(&other).unwrap();
        scene.start();
        scene.submit().await;
        let state = scene.until_account(AccountCondition::PausedCredentials).await;
        assert!(state.reason.contains(words), "{}", state.reason);
        assert_eq!(scene.token_requests(), 0);
    }
}

#[tokio::test]
async fn a_token_that_the_upstream_refuses_is_replaced_once_and_the_login_repeated() {
    let scene = Scene::running().await;
    scene.sandbox.answer_next_token_request(TokenAnswer::Stale);
    scene.submit().await;
    scene.until_received(1).await;
    assert_eq!((scene.token_requests(), scene.logins()), (2, (1, 1)));
    let counters = scene.sandbox.mailbox().counters();
    assert_eq!(
        (counters.connections, counters.violations),
        (1, 0),
        "the challenge was answered as it should be"
    );
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
}

#[tokio::test]
async fn two_refused_tokens_pause_the_account_with_what_the_challenge_said() {
    let scene = Scene::running().await;
    scene.sandbox.answer_next_token_request(TokenAnswer::Stale);
    scene.sandbox.answer_next_token_request(TokenAnswer::Stale);
    let id = scene.submit().await;
    let state = scene.until_account(AccountCondition::PausedCredentials).await;
    for words in ["535 5.7.8", "status 400", "scope https://mail.google.com/"] {
        assert!(state.reason.contains(words), "{}", state.reason);
    }
    assert!(state.remedy.contains("another account than me@gmail.com"), "{}", state.remedy);
    assert!(!state.remedy.contains("app password"), "{}", state.remedy);
    assert_eq!(scene.logins(), (0, 2));
    scene.expect_uncharged(id).await;
    // After a person has looked, neither of the two is shown again.
    scene.handle().resume().await;
    scene.until_received(1).await;
    assert_eq!(scene.token_requests(), 3);
}

#[tokio::test]
async fn a_refresh_token_that_ends_soon_is_announced_in_the_log() {
    let captured = Captured::default();
    let _guards = captured.start();
    let scene = Scene::new().await;
    let end = scene.clock.wall().after(30 * HOUR);
    let testing = pillarbox::delivery::oauth::token_file::Stored {
        refresh_token_expires_at: Some(end),
        ..stored(REFRESH_TOKEN, scene.clock.wall())
    };
    scene.file().replace(&testing).unwrap();
    let tokens = Tokens::new(
        scene.tokens.clone(),
        "me@gmail.com",
        None,
        std::sync::Arc::new(scene.clock.clone()),
    );
    tokens.access_token().await.unwrap();
    let warnings = || captured.text().matches("the refresh token ends soon").count();
    assert_eq!(warnings(), 1);
    assert!(captured.text().contains(&end.to_string()));
    scene.clock.advance(HOUR);
    tokens.access_token().await.unwrap();
    assert_eq!(warnings(), 1, "not with every refresh");
    scene.clock.advance(12 * HOUR);
    tokens.access_token().await.unwrap();
    assert_eq!(warnings(), 2);
}

#[tokio::test]
async fn no_token_and_no_key_reaches_the_log_at_any_level() {
    let captured = Captured::default();
    let _guards = captured.start();
    let mut secrets =
        vec![OAUTH_CLIENT_SECRET.to_owned(), REFRESH_TOKEN.to_owned(), "ya29.".to_owned()];
    let mut scene = Scene::running().await;
    scene.sandbox.answer_next_token_request(TokenAnswer::Rotated);
    scene.submit().await;
    scene.until_received(1).await;
    let rotated = std::fs::read_to_string(scene.file().path()).unwrap();
    let rotated: serde_json::Value = serde_json::from_str(&rotated).unwrap();
    secrets.push(rotated["refresh_token"].as_str().unwrap().to_owned());
    for answer in [
        TokenAnswer::Stale,
        TokenAnswer::Truncated,
        TokenAnswer::Unavailable,
        TokenAnswer::InvalidGrant,
        TokenAnswer::InvalidClient,
    ] {
        // Ordered first: the advanced clock alone may send what waits.
        let before = scene.token_requests();
        scene.sandbox.answer_next_token_request(answer);
        scene.clock.advance(24 * HOUR);
        scene.submit().await;
        let asked =
            || scene.token_requests() > before && scene.handle().status().in_flight.is_empty();
        scene::eventually(asked, || format!("{answer:?} was not asked for")).await;
        scene.handle().resume().await;
    }
    scene.stop().await;
    assert!(matches!(scene.tokens.grant, Grant::Refresh { .. }));
    secrets.push(format!("{:?}", scene.tokens));

    let mut scene = Scene::with_service_account(|_| {}).await;
    scene.start();
    scene.submit().await;
    scene.until_received(1).await;
    scene.stop().await;
    let options = secrets.pop().unwrap();
    assert!(!options.contains(OAUTH_CLIENT_SECRET), "{options}");
    let key = include_str!("oauth/service_account_key.pem").lines().nth(2).unwrap();
    secrets.push(key.to_owned());
    secrets.push("eyJ".to_owned());
    let text = captured.text();
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in the log");
        let encoded = data_encoding::BASE64.encode(secret.as_bytes());
        assert!(!text.contains(&encoded), "{secret} is in the log, encoded");
    }
    for word in ["access token", "paused-credentials", "relayed"] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
}
