//! Broken tokens: ended, about to end, of another account, without the right, damaged, missing.

use std::time::Duration;

use pillarbox::{
    clock::{Clock as _, SystemClock, Timestamp},
    delivery::oauth::{
        Issuer,
        token_file::{Stored, TokenFile},
    },
    sandbox::{OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET},
    secret::Secret,
};

use super::{
    scene::{Scene, write},
    setups::{expect_all, fail, warn},
};

pub(super) const HOUR: Duration = Duration::from_secs(3_600);

/// The account logs in with a token that was changed so.
fn with_token(scene: &Scene, change: impl FnOnce(&mut Stored, Timestamp)) {
    log_in_with_tokens(scene);
    store_token(scene, "oauth-token.json", change);
}

/// A token in this file of the queue's directory that is well, but for the change.
pub(super) fn store_token(scene: &Scene, file: &str, change: impl FnOnce(&mut Stored, Timestamp)) {
    let now = SystemClock::new().wall();
    let mut stored = Stored {
        username: "relay@gmail.com".into(),
        client_id: OAUTH_CLIENT_ID.into(),
        refresh_token: Secret::new("hunter2".into()),
        granted_at: now.before(HOUR),
        refresh_token_expires_at: None,
        scope: Some("https://mail.google.com/".into()),
        access: None,
        stored_at: now.before(HOUR),
    };
    change(&mut stored, now);
    let file = TokenFile::new(scene.home.state().join(file), Issuer::Google);
    file.replace(&stored).unwrap();
}

fn log_in_with_tokens(scene: &Scene) {
    scene.configure(
        "password = \"abcd efgh ijkl mnop\"",
        "auth = \"oauth\"\noauth_client_file = \"client.json\"",
    );
    client_file(scene);
}

pub(super) fn client_file(scene: &Scene) {
    let client = serde_json::json!({
        "installed": { "client_id": OAUTH_CLIENT_ID, "client_secret": OAUTH_CLIENT_SECRET }
    });
    write(&scene.home.path("client.json"), &client.to_string(), 0o600);
}

#[test]
fn what_is_wrong_with_tokens_is_found_by_one_check_with_its_remedy() {
    expect_all(&[
        fail("tokens", "the token has ended", "In production", |scene| {
            with_token(scene, |stored, now| {
                stored.refresh_token_expires_at = Some(now.before(HOUR));
            });
        }),
        warn("tokens", "the token ends in ", "In production", |scene| {
            with_token(scene, |stored, now| {
                stored.refresh_token_expires_at = Some(now.after(20 * HOUR));
            });
        }),
        fail("tokens", "does not allow mail", "pillarbox auth google", |scene| {
            with_token(scene, |stored, _| stored.scope = Some("openid".into()));
        }),
        fail("tokens", "the token is other@gmail.com's", "upstream.username", |scene| {
            with_token(scene, |stored, _| stored.username = "other@gmail.com".into());
        }),
        fail("tokens", "oauth-token.json", "pillarbox auth google", |scene| {
            log_in_with_tokens(scene);
            write(&scene.home.state().join("oauth-token.json"), "{", 0o600);
        }),
        fail("secret-files", "there is no token file ", "pillarbox auth google", |scene| {
            log_in_with_tokens(scene);
        }),
        fail("secret-files", "OAuth client file", "docs/oauth.md", |scene| {
            with_token(scene, |_, _| ());
            std::fs::remove_file(scene.home.path("client.json")).unwrap();
        }),
    ]);
}

#[test]
fn a_token_that_is_well_is_told_with_its_age_and_without_itself() {
    let scene = Scene::new();
    with_token(&scene, |_, _| ());
    let output = scene.output(&["--json", "--check", "tokens"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("given 1 h ago, no end is known"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}
