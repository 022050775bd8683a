//! Bad days: what a person reads on the start when a scenario of the sandbox stops the mail.

use crate::{
    relay::{PATIENCE, Relay},
    window::{visit, within},
};

/// Plays a scenario until the mail is stopped; the start must say these words then, and what `status` says.
async fn is_told(scenario: &str, words: &[&str]) {
    let relay = Relay::start(&["--scenario", scenario]).await;
    visit(&relay, async |window| {
        assert!(window.text().await.contains("Nothing waits to leave."));
        let is_stopped = within(PATIENCE, async || {
            // Some of them let a number of messages pass first.
            relay.send("backup@example.org", &["you@example.com"], "Subject: done\n\nHello.");
            relay.ask(&["status"])["account"]["condition"] != "open"
        });
        assert!(is_stopped.await, "{scenario}: {}", relay.printed());
        window.at("/").await;
        let (text, status) = (window.text().await, relay.ask(&["status"]));
        let told = ["reason", "remedy"].map(|key| status["account"][key].as_str().unwrap());
        // A command is marked as one, where a terminal has backticks.
        let told = told.map(|words| words.replace('`', ""));
        let told = told.map(|words| words.split_whitespace().collect::<Vec<_>>().join(" "));
        for words in words.iter().copied().chain(told.iter().map(String::as_str)) {
            assert!(text.contains(words), "{scenario}: {words:?} in {text}");
        }
        assert!(!text.contains("Nothing waits to leave."), "{scenario}: {text}");
        window.keep_picture(&format!("bad-day-{scenario}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_told_with_what_to_do() {
    is_told("bad-password", &["5.7.8"]).await;
}

#[tokio::test]
async fn a_day_that_is_spent_is_told_with_its_end() {
    is_told("daily-limit", &["5.4.5"]).await;
}

#[tokio::test]
async fn a_login_that_wants_a_browser_is_told_with_its_address() {
    is_told("browser-login-needed", &["WebLoginRequired"]).await;
}

/// What a person presses on the page of the sandbox, and reads on the start then.
const PRESSED: [(&str, &str); 6] = [
    ("daily-limit", "5.4.5"),
    ("bad-password", "5.7.8"),
    ("server-busy", "Server busy"),
    ("temporarily-rejected", "451 4.3.0"),
    ("slow", "Mail is leaving now."),
    ("good-day", ""),
];

#[tokio::test]
async fn scenarios_are_pressed_and_the_start_tells_what_the_relay_makes_of_each() {
    let relay = Relay::start(&[]).await;
    visit(&relay, async |window| {
        for (scenario, words) in PRESSED {
            window.at("/").await;
            window.press("link", "Play a scenario").await;
            let button = if scenario == "good-day" { "A good day" } else { scenario };
            window.press("button", button).await;
            assert_eq!(window.path().await, "/", "{scenario}");
            let is_told = within(PATIENCE, async || {
                window.at("/").await;
                window.text().await.contains(words)
            });
            assert!(is_told.await, "{scenario}: {words:?} in {}", window.text().await);
            let played = format!("{scenario} is played");
            assert_eq!(window.text().await.contains(&played), scenario != "good-day", "{scenario}");
            window.keep_picture(&format!("pressed-{scenario}")).await;
        }
    })
    .await;
}
