//! An application of an organisation at Microsoft: its own secret brings the token, and its refusals have numbers.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, sync::Arc};

use pillarbox::{
    delivery::{
        Provider,
        oauth::{ClientSource, Grant, Kind, SecretSource, Tokens},
    },
    queue::state::AccountCondition,
    sandbox::{Failure, OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET, Stage, TokenAnswer},
    secret::Secret,
};

use super::{scene::Scene, service_account::public_key};

async fn scene_of(id: &str, secret: &str) -> Scene {
    let mut scene = Scene::new().await;
    scene.file().remove().unwrap();
    let secret = Some(SecretSource::Inline(Secret::new(secret.into())));
    scene.tokens.grant = Grant::Application {
        client: ClientSource::Named { id: id.into(), secret },
        certificate: None,
    };
    scene
}

#[tokio::test]
async fn the_applications_secret_brings_a_token_for_the_mailbox_and_another_when_it_ends() {
    let mut scene = scene_of(OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET).await;
    scene.expect_one_token_until_it_ends().await;
    assert!(scene.file().read().is_err(), "nothing is written to the disk");
}

#[tokio::test]
async fn each_refusal_of_microsoft_says_what_to_do_and_charges_no_message() {
    for (id, secret, number, remedy) in [
        (OAUTH_CLIENT_ID, "expired", "AADSTS7000222", "create a new one"),
        (OAUTH_CLIENT_ID, "wrong", "AADSTS7000215", "its value is wanted, not its id"),
        ("another", OAUTH_CLIENT_SECRET, "AADSTS700016", "upstream.oauth_tenant"),
    ] {
        let mut scene = scene_of(id, secret).await;
        scene.start();
        let message = scene.submit().await;
        let state = scene.until_account(AccountCondition::PausedConfiguration).await;
        assert!(state.reason.contains(number), "{state:?}");
        assert!(
            state.remedy.contains(remedy) && state.remedy.contains("pillarbox resume"),
            "{state:?}"
        );
        assert!(!state.reason.contains(OAUTH_CLIENT_SECRET), "{state:?}");
        scene.expect_uncharged(message).await;
    }
}

/// A certificate with the key of these tests, and who does not know it.
async fn scene_with_certificate(known: bool) -> Scene {
    let mut key = public_key();
    let middle = key.len() / 2;
    key[middle] ^= u8::from(!known);
    let mut scene = Scene::with(|options| options.service_account_key = Some(key)).await;
    let pem = include_str!("service_account_key.pem");
    let signer = rcgen::KeyPair::from_pem(pem).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["relay".into()]).unwrap();
    let certificate = certificate.self_signed(&signer).unwrap().pem();
    let file = scene.directory.path().join("application.pem");
    std::fs::write(&file, format!("{certificate}{pem}")).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let client = ClientSource::Named { id: OAUTH_CLIENT_ID.into(), secret: None };
    scene.tokens.grant = Grant::Application { client, certificate: Some(file) };
    scene
}

#[tokio::test]
async fn a_certificate_takes_the_place_of_the_secret() {
    let mut scene = scene_with_certificate(true).await;
    scene.start();
    scene.submit().await;
    scene.until_received(1).await;
    assert_eq!((scene.token_requests(), scene.logins()), (1, (1, 0)));
}

#[tokio::test]
async fn a_certificate_that_is_not_known_and_a_file_without_one_are_told_apart() {
    let mut scene = scene_with_certificate(false).await;
    scene.start();
    let message = scene.submit().await;
    let state = scene.until_account(AccountCondition::PausedConfiguration).await;
    assert!(state.reason.contains("AADSTS700027"), "{state:?}");
    assert!(state.remedy.contains("upload the one"), "{state:?}");
    scene.expect_uncharged(message).await;

    let mut scene = scene_with_certificate(true).await;
    std::fs::write(scene.directory.path().join("application.pem"), "no certificate").unwrap();
    scene.start();
    let message = scene.submit().await;
    let state = scene.until_account(AccountCondition::PausedCredentials).await;
    assert!(state.reason.contains("holds no certificate with its RSA key"), "{state:?}");
    scene.expect_uncharged(message).await;
}

#[tokio::test]
async fn an_invalid_grant_kills_no_application_and_trouble_of_the_server_passes() {
    let scene = scene_of(OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET).await;
    let clock = Arc::new(scene.clock.clone());
    let tokens = Tokens::new(scene.tokens.clone(), "me@gmail.com", None, clock);
    for (answer, kind) in [
        (TokenAnswer::InvalidGrant, Kind::Refused),
        (TokenAnswer::Unavailable, Kind::Temporary),
        (TokenAnswer::TooManyRequests, Kind::Temporary),
    ] {
        scene.sandbox.answer_next_token_request(answer);
        let error = tokens.access_token().await.unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(!error.remedy.contains("auth google"), "{error:?}");
    }
    assert!(tokens.access_token().await.is_ok());
}

#[tokio::test]
async fn a_token_that_exchange_refuses_and_smtp_auth_that_is_off_are_told_apart() {
    let off = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.";
    let refused = "535 5.7.3 Authentication unsuccessful";
    for (words, condition, remedy, tokens) in [
        (off, AccountCondition::PausedConfiguration, "smtp_auth_disabled", 1),
        (refused, AccountCondition::PausedCredentials, "may not send as me@gmail.com", 2),
    ] {
        let mut scene = scene_of(OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET).await;
        scene.options.provider = Provider::Microsoft365;
        for _ in 0..2 {
            scene.sandbox.fail_next(Stage::Auth, Failure::Reply(words.into()));
        }
        scene.start();
        let message = scene.submit().await;
        let state = scene.until_account(condition).await;
        assert!(state.reason.contains(words), "{state:?}");
        assert!(state.remedy.contains(remedy) && !state.remedy.contains("google"), "{state:?}");
        assert_eq!(scene.token_requests(), tokens, "what is off is not mended by a new token");
        scene.expect_uncharged(message).await;
    }
}
