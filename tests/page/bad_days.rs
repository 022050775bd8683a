//! The start on a bad day: each scenario of the sandbox that stops the mail, as its page tells it.

use std::time::Duration;

use super::browser::Browser;
use crate::support::{daemon::within, playground::Playground};

const PATIENCE: Duration = Duration::from_secs(40);

/// A visitor who opens the link that the sandbox prints.
pub(super) fn visitor(sandbox: &Playground) -> Browser {
    let printed = sandbox.printed();
    let link = printed.lines().find(|line| line.contains("/enter?link=")).expect("a link").trim();
    let rest = link.strip_prefix("http://").expect("a page without TLS");
    let (address, path) = rest.split_at(rest.find('/').expect("a path"));
    let mut browser = Browser::new(address.parse().expect("an address"));
    let document = browser.get(path);
    assert_eq!(browser.press(&document, "button.main").status, 303, "{}", document.body);
    browser
}

#[test]
fn the_start_says_what_is_wrong_and_what_to_do_in_the_words_of_status() {
    for scenario in ["bad-password", "app-password-needed", "daily-limit", "quota-at-mail"] {
        let directory = tempfile::tempdir().unwrap();
        let sandbox = Playground::start(directory.path(), &["--scenario", scenario]);
        let mut visitor = visitor(&sandbox);
        let before = visitor.get("/");
        assert!(before.body.contains("class=\"standing good\""), "{scenario}: {}", before.body);
        assert!(before.text().contains("Nothing waits to leave."), "{scenario}: {}", before.text());
        let status = || Playground::ask(directory.path(), "status");
        let mut told = serde_json::Value::Null;
        let is_stopped = |told: &mut serde_json::Value| {
            // Some of them let a number of messages pass first.
            if told["queue"]["messages"].as_u64() == Some(0) || told.is_null() {
                sandbox.send("you@example.org");
            }
            *told = status();
            told["account"]["condition"] != "open"
                && told["queue"]["messages"] != 0
                && told["queue"]["recipients"]["reserved"] == 0
        };
        assert!(within(PATIENCE, || is_stopped(&mut told)), "{scenario}: {told:#}");
        let page = visitor.get("/");
        assert!(page.body.contains("class=\"standing bad\""), "{scenario}: {}", page.body);
        let text = page.text();
        for key in ["reason", "remedy"] {
            let words = told["account"][key].as_str().expect("words");
            // A command is marked as one, where a terminal has backticks.
            let plain = |words: &str| words.replace([' ', '`'], "");
            assert!(plain(&text).contains(&plain(words)), "{scenario}: {words:?} in {text}");
            let commands = words.split('`').skip(1).step_by(2);
            for command in commands {
                assert!(page.body.contains(&format!("<code>{command}</code>")), "{command}");
            }
        }
        let account = visitor.get("/account").text();
        assert!(account.contains(told["account"]["condition"].as_str().unwrap()), "{account}");
        sandbox.stop();
    }
}

#[test]
fn a_second_sandbox_has_its_page_elsewhere_and_one_may_do_without() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let sandboxes = directories.each_ref().map(|place| Playground::start(place.path(), &[]));
    let mut visitors = sandboxes.each_ref().map(visitor);
    for visitor in &mut visitors {
        assert_eq!(visitor.get("/queue").status, 200);
    }
    let place = tempfile::tempdir().unwrap();
    let without = Playground::start(place.path(), &["--page", "off"]);
    assert!(!without.printed().contains("/enter?link="), "{}", without.printed());
}
