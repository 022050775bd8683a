//! OAUTHBEARER (RFC 7628), for an upstream that has no XOAUTH2.

use pillarbox::{queue::state::AccountCondition, sandbox::TokenAnswer};

use super::scene::Scene;

/// An upstream that offers these mechanisms.
async fn offering(mechanisms: &'static str) -> Scene {
    let mut scene = Scene::with(|options| options.mechanisms = mechanisms).await;
    scene.start();
    scene
}

fn logins_by(scene: &Scene, mechanism: &str) -> usize {
    let commands = scene.sandbox.mailbox().last_commands();
    commands.iter().filter(|line| line.ends_with(&format!("AUTH {mechanism} ***"))).count()
}

#[tokio::test]
async fn oauthbearer_is_used_where_xoauth2_is_not_offered_and_only_there() {
    for (mechanisms, used, unused) in [
        ("PLAIN OAUTHBEARER", "OAUTHBEARER", "XOAUTH2"),
        ("OAUTHBEARER XOAUTH2", "XOAUTH2", "OAUTHBEARER"),
    ] {
        let scene = offering(mechanisms).await;
        scene.submit().await;
        scene.until_received(1).await;
        assert_eq!((logins_by(&scene, used), logins_by(&scene, unused)), (1, 0), "{mechanisms}");
        let accepted = scene.sandbox.mailbox().accepted();
        assert_eq!(accepted[0].username.as_deref(), Some("me@gmail.com"));
    }
}

#[tokio::test]
async fn a_token_refused_by_oauthbearer_is_replaced_once_and_then_explained() {
    let scene = offering("OAUTHBEARER").await;
    scene.sandbox.answer_next_token_request(TokenAnswer::Stale);
    scene.submit().await;
    scene.until_received(1).await;
    assert_eq!((scene.token_requests(), scene.logins()), (2, (1, 1)));

    let scene = offering("OAUTHBEARER").await;
    scene.sandbox.answer_next_token_request(TokenAnswer::Stale);
    scene.sandbox.answer_next_token_request(TokenAnswer::Stale);
    let id = scene.submit().await;
    let state = scene.until_account(AccountCondition::PausedCredentials).await;
    for words in ["535 5.7.8", "status 400", "scope https://mail.google.com/"] {
        assert!(state.reason.contains(words), "{}", state.reason);
    }
    assert_eq!(
        scene.sandbox.mailbox().counters().violations,
        0,
        "the JSON was acknowledged with one octet 01"
    );
    assert_eq!(logins_by(&scene, "OAUTHBEARER"), 2);
    scene.expect_uncharged(id).await;
}

#[tokio::test]
async fn an_upstream_without_any_mechanism_for_tokens_gets_none() {
    let scene = offering("PLAIN LOGIN").await;
    let id = scene.submit().await;
    let state = scene.until_account(AccountCondition::PausedConfiguration).await;
    assert!(state.reason.contains("neither AUTH XOAUTH2 nor AUTH OAUTHBEARER"), "{}", state.reason);
    assert_eq!(scene.logins(), (0, 0));
    scene.expect_uncharged(id).await;
}
