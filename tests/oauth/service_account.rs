//! A service account with domain-wide delegation: no consent, no refresh token, other reasons to fail.

use std::{sync::Arc, time::Duration};

use pillarbox::{
    clock::{Clock, ManualClock},
    delivery::oauth::{Grant, Kind, Tokens},
    queue::state::AccountCondition,
    sandbox::TokenAnswer,
};
use ring::signature::{KeyPair as _, RsaKeyPair};
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

use super::scene::Scene;
use crate::support::service_account::write_key;

/// The public half of the test's key, with which the token endpoint checks the signature.
pub(super) fn public_key() -> Vec<u8> {
    let der =
        PrivatePkcs8KeyDer::from_pem_slice(include_bytes!("service_account_key.pem")).unwrap();
    RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap().public_key().as_ref().to_vec()
}

#[tokio::test]
async fn a_signed_assertion_brings_a_token_for_the_mailbox_and_another_when_it_ends() {
    let mut scene =
        Scene::with_service_account(|options| options.service_account_key = Some(public_key()))
            .await;
    scene.expect_one_token_until_it_ends().await;
}

#[tokio::test]
async fn a_missing_delegation_names_the_page_of_the_admin_console() {
    let mut scene = Scene::with_service_account(|_| {}).await;
    scene.sandbox.answer_next_token_request(TokenAnswer::UnauthorizedClient);
    scene.start();
    let id = scene.submit().await;
    let state = scene.until_account(AccountCondition::PausedConfiguration).await;
    for words in ["Domain-wide delegation", "https://mail.google.com/", "pillarbox resume"] {
        assert!(state.remedy.contains(words), "{}", state.remedy);
    }
    scene.expect_uncharged(id).await;
}

#[tokio::test]
async fn a_wrong_clock_is_named_and_not_taken_for_a_revoked_token() {
    for hours in [-2, 2] {
        let scene =
            Scene::with_service_account(|options| options.service_account_key = Some(public_key()))
                .await;
        let wrong = pillarbox::clock::Timestamp(scene.clock.wall().0 + hours * 3_600_000);
        let clock = Arc::new(ManualClock::new(wrong));
        let tokens = Tokens::new(scene.tokens.clone(), "me@gmail.com", None, clock);
        let error = tokens.access_token().await.unwrap_err();
        assert_eq!(
            error.kind,
            Kind::Temporary,
            "it works as soon as the clock is right: {error:?}"
        );
        assert!(
            error.reason.contains("this host's clock is 1") && error.reason.contains("min off"),
            "{error:?}"
        );
        assert!(error.remedy.contains("NTP") && !error.remedy.contains("auth google"), "{error:?}");
    }
}

#[tokio::test]
async fn a_key_that_was_deleted_is_a_matter_of_configuration() {
    let mut other = public_key();
    // Another modulus.
    let middle = other.len() / 2;
    other[middle] ^= 1;
    let scene =
        Scene::with_service_account(|options| options.service_account_key = Some(other)).await;
    let clock = Arc::new(scene.clock.clone());
    let tokens = Tokens::new(scene.tokens.clone(), "me@gmail.com", None, clock);
    let error = tokens.access_token().await.unwrap_err();
    assert_eq!(error.kind, Kind::Refused, "{error:?}");
    assert!(error.remedy.contains("create a new key"), "{error:?}");
}

#[tokio::test]
async fn a_key_file_that_cannot_be_used_is_named_and_looked_at_again_soon() {
    let mut scene = Scene::with_service_account(|_| {}).await;
    let Grant::ServiceAccount { key_file } = scene.tokens.grant.clone() else { panic!() };
    std::fs::write(&key_file, r#"{"client_email":"a@b","private_key":"-----BEGIN secret"}"#)
        .unwrap();
    scene.start();
    scene.submit().await;
    let state = scene.until_account(AccountCondition::PausedCredentials).await;
    assert!(
        state.reason.contains("service-account.json") && !state.reason.contains("BEGIN"),
        "{state:?}"
    );
    assert_eq!(state.until.unwrap().since(scene.clock.wall()), Duration::from_secs(60));
    write_key(&key_file);
    scene.clock.advance(Duration::from_secs(61));
    scene.until_received(1).await;
}
