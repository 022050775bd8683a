//! The consent of an account's owner within `pillarbox setup`: refused, interrupted, and given.

use rustix::process::Signal;

use super::scene::{ACCOUNT, Scene};
use crate::support::{
    browser::{browse, consent},
    terminal::AtTerminal,
};

/// Every prompt on the way to the consent, with an answer.
const WAY: [(&str, &str); 6] = [
    ("Gmail account", ACCOUNT),
    ("How to log in", "2"),
    ("File of your OAuth client", "client.json"),
    ("Who reads root's mail", ""),
    ("Who may send", ""),
    ("Do this?", "yes"),
];

/// The address that is shown next, in one piece whatever the terminal's width.
fn address(terminal: &mut AtTerminal, number: usize) -> String {
    terminal.wait_for("Open this address in a browser");
    terminal.wait_for("Waiting for");
    let shown = terminal.shown();
    let lines = shown.lines().map(str::trim).filter(|line| line.contains("/authorize?"));
    lines.map(str::to_owned).nth(number).expect("an address")
}

#[test]
fn a_refused_consent_leads_back_to_the_question_and_an_interrupted_one_to_the_next_call() {
    let scene = Scene::with_tokens();
    let mut terminal = scene.at_terminal(&[]);
    for (prompt, answer) in WAY {
        terminal.answer(prompt, answer);
    }
    let first = address(&mut terminal, 0);
    assert!(first.len() > 80, "longer than the terminal: {first}");
    browse(&consent(&first.replace("login_hint=me%40", "login_hint=deny%40")));
    terminal.wait_for("access_denied");
    // What is typed now is an answer, not an address.
    terminal.answer("What now", "1");
    address(&mut terminal, 1);
    terminal.signal(Signal::INT);
    assert_eq!(terminal.wait_for_end(), 128 + Signal::INT.as_raw());
    drop(terminal);
    assert!(
        scene.path("relay.toml.draft").exists(),
        "the next call knows that there is more to do"
    );

    let mut terminal = scene.at_terminal(&[]);
    let again = address(&mut terminal, 0);
    for (prompt, _) in WAY {
        assert!(!terminal.shown().contains(prompt), "{prompt}: {}", terminal.shown());
    }
    browse(&consent(&again));
    terminal.wait_for("The token works.");
    terminal.wait_for("Done. Next:");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(scene.path("queue/oauth-token.json").exists(), "{shown}");
    assert!(!scene.path("relay.toml.draft").exists());

    let (code, shown) = scene.at_terminal(&[]).end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("takes it") && !shown.contains("Open this address"), "{shown}");
}

#[test]
fn after_a_refused_consent_another_way_to_log_in_can_be_chosen() {
    let scene = Scene::with_tokens();
    let mut terminal = scene.at_terminal(&[]);
    for (prompt, answer) in WAY {
        terminal.answer(prompt, answer);
    }
    let first = address(&mut terminal, 0);
    browse(&consent(&first.replace("login_hint=me%40", "login_hint=deny%40")));
    terminal.answer("What now", "4");
    terminal.answer("How to log in", "2");
    terminal.wait_for("Open this address in a browser");
    terminal.wait_for("Waiting for");
    terminal.kill();
}
