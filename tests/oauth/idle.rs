//! A relay that has no mail for months: its refresh token stays alive, and trouble with it is told in time.

use std::{sync::Arc, time::Duration};

use pillarbox::{
    clock::Clock,
    delivery::oauth::{
        Tokens,
        token_file::Stored,
        tokens::{KEEP_ALIVE, LOOK_EVERY},
    },
    sandbox::{REFRESH_TOKEN, TokenAnswer},
};

use super::scene::{self, HOUR, Scene, stored};
use crate::support::captured::Captured;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn keeper(scene: &Scene) -> Tokens {
    Tokens::new(scene.tokens.clone(), "me@gmail.com", None, Arc::new(scene.clock.clone()))
}

#[tokio::test]
async fn a_year_without_mail_uses_the_refresh_token_every_week_and_mail_leaves_after_it() {
    let scene = Scene::running().await;
    for week in 1..=52 {
        let before = scene.file().read().unwrap().stored_at;
        let asked = || {
            let asked = scene.token_requests() == week;
            if !asked {
                scene.clock.advance(LOOK_EVERY);
            }
            asked
        };
        scene::eventually(asked, || format!("{} requests in week {week}", scene.token_requests()))
            .await;
        assert!(scene.clock.wall().since(before) >= KEEP_ALIVE, "not more often than once a week");
        // The next week begins when the answer is on the disk.
        let kept = || scene.file().read().unwrap().stored_at > before;
        scene::eventually(kept, || format!("not stored in week {week}")).await;
    }
    assert_eq!(scene.logins(), (0, 0), "the upstream is left alone");
    scene.submit().await;
    scene.until_received(1).await;
    assert_eq!(
        (scene.token_requests(), scene.logins()),
        (52, (1, 0)),
        "the last token was still good"
    );
}

#[tokio::test]
async fn a_token_in_use_is_not_refreshed_for_its_own_sake() {
    let scene = Scene::new().await;
    let tokens = keeper(&scene);
    tokens.access_token().await.unwrap();
    for _ in 0..6 {
        scene.clock.advance(DAY);
        tokens.look_after().await;
    }
    assert_eq!(scene.token_requests(), 1);
    scene.clock.advance(DAY + HOUR);
    tokens.look_after().await;
    tokens.look_after().await;
    assert_eq!(scene.token_requests(), 2);
}

#[tokio::test]
async fn a_token_that_was_stored_by_a_clock_that_was_years_ahead_is_kept_alive_now() {
    let scene = Scene::new().await;
    let right = scene.clock.wall();
    scene.clock.set_wall(right.after(10 * 365 * DAY));
    let tokens = keeper(&scene);
    tokens.access_token().await.unwrap();
    scene.clock.set_wall(right);
    scene.clock.advance(LOOK_EVERY);
    keeper(&scene).look_after().await;
    assert_eq!(scene.token_requests(), 2, "nobody knows how old it is");
}

#[tokio::test]
async fn a_consent_that_died_in_the_quiet_is_told_with_its_remedy_before_mail_needs_it() {
    let captured = Captured::default();
    let _guards = captured.start();
    let scene = Scene::new().await;
    let tokens = keeper(&scene);
    scene.clock.advance(KEEP_ALIVE + HOUR);
    scene.sandbox.answer_next_token_request(TokenAnswer::InvalidGrant);
    tokens.look_after().await;
    let log = captured.text();
    for words in [
        "WARN",
        "could not be kept alive",
        "Token has been expired or revoked.",
        "pillarbox auth google",
    ] {
        assert!(log.contains(words), "{words} is missing:\n{log}");
    }
    assert_eq!(
        scene.file().read().unwrap().refresh_token.expose(),
        REFRESH_TOKEN,
        "a person replaces it"
    );
}

#[tokio::test]
async fn the_seventh_day_of_a_consent_screen_in_testing_is_announced_without_any_mail() {
    let captured = Captured::default();
    let _guards = captured.start();
    let scene = Scene::new().await;
    let now = scene.clock.wall();
    let testing =
        Stored { refresh_token_expires_at: Some(now.after(7 * DAY)), ..stored(REFRESH_TOKEN, now) };
    scene.file().replace(&testing).unwrap();
    let tokens = keeper(&scene);
    let warnings = || captured.text().matches("the refresh token ends soon").count();
    for (days, expected) in [(0, 0), (4, 0), (6, 1)] {
        scene.clock.set_wall(now.after(days * DAY));
        tokens.look_after().await;
        assert_eq!(warnings(), expected, "after {days} days");
    }
    assert!(captured.text().contains("In production"));
    assert_eq!(scene.token_requests(), 0, "looking costs nothing");
}

#[tokio::test]
async fn without_a_consent_the_look_is_silent() {
    let captured = Captured::default();
    let _guards = captured.start();
    let scene = Scene::new().await;
    scene.file().remove().unwrap();
    keeper(&scene).look_after().await;
    assert!(!captured.text().contains("WARN"), "{}", captured.text());
    assert_eq!(scene.token_requests(), 0);
}
