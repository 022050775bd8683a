//! The scenarios that a visitor of the sandbox's page presses: each of them, and what the start says then.

use std::time::Duration;

use super::{Stage, bad_days::visitor, browser::Browser};
use crate::support::{daemon::within, playground::Playground};

const PATIENCE: Duration = Duration::from_secs(40);

/// Where the start says something.
#[derive(Clone, Copy)]
enum Place {
    /// On top: mail does not leave.
    Standing,
    /// Among the numbers or the last failures.
    Below,
}
use Place::{Below, Standing};

/// A scenario, and what the start says once the relay has met it.
const SAID: &[(&str, Place, &str)] = &[
    ("daily-limit", Standing, "5.4.5"),
    ("bad-password", Standing, "Username and Password not accepted"),
    ("recipient-unknown", Below, "550 5.1.1"),
    ("connection-expired", Standing, "Nothing waits to leave."),
    ("slow", Standing, "Mail is leaving now."),
    ("quota-at-mail", Standing, "5.4.5"),
    ("app-password-needed", Standing, "5.7.9"),
    ("mailbox-full", Below, "452 4.2.2"),
    ("malformed-replies", Standing, "Nothing waits to leave."),
    ("quota-at-dot", Standing, "5.4.5"),
    ("browser-login-needed", Standing, "web browser"),
    ("temporarily-rejected", Below, "451 4.3.0"),
    ("unknown-refusal", Below, "penguins"),
    ("captcha-needed", Standing, "5.7.14"),
    ("sending-denied", Standing, "Mail Sending denied"),
    ("too-many-logins", Standing, "Too many login attempts"),
    ("attachment-blocked", Below, "552 5.7.0"),
    ("temporary-login-trouble", Standing, "temporary system problem"),
    ("server-busy", Standing, "Server busy"),
    ("spam-verdict", Below, "550 5.7.1"),
    ("system-problem", Standing, "Temporary System Problem"),
    ("ehlo-refused", Standing, "upstream.ehlo_name"),
    ("drop-after-dot", Below, "uncertain"),
    // Whatever is lost by chance, somebody is told of it or it arrives.
    ("flaky", Below, "recipients accepted"),
];

fn press(visitor: &mut Browser, scenario: &str) {
    let document = visitor.get("/scenarios");
    let token = document.fields("token");
    let token = token.last().expect("a token").as_str();
    let pressed = visitor.post("/scenarios", &[("token", token), ("scenario", scenario)]);
    assert_eq!((pressed.status, pressed.head("location")), (303, Some("/")), "{}", pressed.body);
}

/// The text of the start without what it says of the scenario, and the part of it on top.
fn start(visitor: &mut Browser) -> (String, String, String) {
    let mut answer = visitor.get("/");
    let whole = answer.text();
    let (before, rest) = answer.body.split_once("<section aria-label=\"Scenario\">").expect("it");
    let (_, after) = rest.split_once("</section>").expect("its end");
    let parts = [before.to_owned(), format!("<h1>{after}")];
    let [standing, below] = parts.map(|part| {
        answer.body = part;
        answer.text()
    });
    (whole, standing, below)
}

#[test]
fn each_scenario_is_pressed_and_the_start_says_what_the_relay_makes_of_it() {
    for (scenario, place, words) in SAID {
        // Each in a sandbox of its own: mail that is left from another one would meet its first replies.
        let directory = tempfile::tempdir().unwrap();
        let sandbox = Playground::start(directory.path(), &[]);
        let mut visitor = visitor(&sandbox);
        press(&mut visitor, scenario);
        let mut seen = Default::default();
        let mut says = || {
            seen = start(&mut visitor);
            let (_, standing, below) = &seen;
            match place {
                Standing => standing.contains(words),
                Below => below.contains(words),
            }
        };
        assert!(within(PATIENCE, &mut says), "{scenario}: {words:?} in {seen:#?}");
        assert!(seen.0.contains(&format!("{scenario} is played: ")), "{scenario}: {seen:#?}");
        sandbox.stop();
    }
}

#[test]
fn after_a_good_day_is_pressed_mail_leaves_again_and_all_of_them_were_offered() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = Playground::start(directory.path(), &[]);
    let mut visitor = visitor(&sandbox);
    let offered = visitor.get("/scenarios").fields("scenario");
    let expected = SAID.iter().map(|(scenario, ..)| *scenario).chain(["good-day"]);
    assert!(expected.clone().all(|name| offered.iter().any(|one| one == name)), "{offered:?}");
    assert_eq!(offered.len(), expected.count());
    press(&mut visitor, "bad-password");
    let stands_still = |visitor: &mut Browser| start(visitor).1.contains("paused");
    assert!(within(PATIENCE, || stands_still(&mut visitor)), "{:?}", start(&mut visitor));
    press(&mut visitor, "good-day");
    let is_well = |visitor: &mut Browser| start(visitor).1.contains("Nothing waits to leave.");
    assert!(within(PATIENCE, || is_well(&mut visitor)), "{:?}", start(&mut visitor));
    assert!(!start(&mut visitor).0.contains("is played"));
    sandbox.stop();
}

#[test]
fn nothing_is_played_without_its_form_by_a_looker_or_on_the_page_of_a_real_relay() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = Playground::start(directory.path(), &[]);
    let mut visitor = visitor(&sandbox);
    let forged = visitor.post("/scenarios", &[("scenario", "bad-password"), ("token", "x")]);
    assert_eq!(forged.status, 403, "{}", forged.body);
    let token = visitor.get("/scenarios").fields("token").remove(0);
    for unknown in ["", "no-such-thing", "certificate-wrong", "oauth-expired"] {
        let asked = visitor.post("/scenarios", &[("token", &token), ("scenario", unknown)]);
        assert_eq!(asked.status, 404, "{unknown}: {}", asked.body);
    }
    assert!(!visitor.get("/").text().contains("is played"));
    sandbox.stop();

    let fixed = Playground::start(directory.path(), &["--scenario", "bad-password"]);
    let mut visitor = self::visitor(&fixed);
    assert_eq!(visitor.get("/scenarios").status, 404, "its login is wrong whatever is pressed");
    fixed.stop();
    let stage = Stage::new();
    let mut visitor = stage.visitor(&[]);
    assert_eq!(visitor.get("/scenarios").status, 404);
    let token = visitor.get("/account").fields("token").remove(0);
    let asked = visitor.post("/scenarios", &[("token", &token), ("scenario", "good-day")]);
    assert_eq!(asked.status, 404);
    assert!(!visitor.get("/").body.contains("sandbox"), "{}", visitor.get("/").body);
}
