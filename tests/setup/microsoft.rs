//! Microsoft's code within `pillarbox setup`: entered in place, by another account, and later when nobody can be asked.

use std::fs;

use pillarbox::sandbox::PUBLIC_CLIENT_ID;
use serde_json::{Value, json};

use super::scene::{Scene, output};
use crate::support::{browser::browse, terminal::AtTerminal};

const MAILBOX: &str = "me@outlook.com";
/// Every prompt on the way to the code, with an answer.
const WAY: [(&str, &str); 5] = [
    ("Outlook.com account", MAILBOX),
    ("Application (client) id", PUBLIC_CLIENT_ID),
    ("Who reads root's mail [me@outlook.com]", ""),
    ("Who may send", ""),
    ("Do this?", "yes"),
];
const FLAGS: [&str; 6] =
    ["--no-input", "--yes", "--account", MAILBOX, "--client-id", PUBLIC_CLIENT_ID];

/// Enters the code that is shown as the last one, as this mailbox.
fn enter(terminal: &mut AtTerminal, username: &str) {
    terminal.wait_for("Enter this code there");
    terminal.wait_for("Waiting ...");
    let shown = terminal.shown();
    let last = shown.rsplit("Open this address").next().unwrap();
    let lines: Vec<&str> = last.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let (address, code) = (lines[0].trim(), lines[1].trim());
    let (header, page) = browse(&format!("{address}?user_code={code}&username={username}"));
    assert!(header.starts_with("HTTP/1.1 200"), "{header}\n{page}");
}

#[test]
fn a_person_enters_the_code_in_place_and_the_login_is_proved() {
    let scene = Scene::at_microsoft("outlook");
    let mut terminal = scene.at_terminal(&[]);
    for (prompt, answer) in WAY {
        terminal.answer(prompt, answer);
    }
    enter(&mut terminal, MAILBOX);
    terminal.wait_for("The token works.");
    terminal.wait_for("localhost takes it.");
    terminal.wait_for("Done. Next:");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    for words in ["How to log in", "App password", "google", "Gmail"] {
        assert!(!shown.contains(words), "{words}: {shown}");
    }
    let lines = format!(
        "username = {MAILBOX:?}\nauth = \"oauth\"\noauth_client_id = {PUBLIC_CLIENT_ID:?}\n"
    );
    let text = scene.text();
    assert!(text.contains(&lines) && text.contains("# Here as well."), "{text}");
    assert!(scene.path("queue/oauth-token.json").exists());
    assert!(!scene.path("relay.toml.draft").exists());
    let (code, shown) = scene.at_terminal(&[]).end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("takes it") && !shown.contains("Enter this code"), "{shown}");
}

#[test]
fn a_code_that_another_account_has_entered_is_found_by_the_proof_and_another_one_is_given() {
    let scene = Scene::at_microsoft("outlook");
    let mut terminal = scene.at_terminal(&[]);
    for (prompt, answer) in WAY {
        terminal.answer(prompt, answer);
    }
    enter(&mut terminal, "other@outlook.com");
    terminal.wait_for("the login was refused");
    terminal.wait_for("consent once more");
    terminal.answer("What now", "1");
    enter(&mut terminal, MAILBOX);
    terminal.wait_for("localhost takes it.");
    terminal.wait_for("Done. Next:");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
}

#[test]
fn whoever_cannot_be_asked_is_told_what_is_needed_next_and_a_later_call_goes_on() {
    let scene = Scene::at_microsoft("outlook");
    let (code, out, err) = scene.run(&FLAGS, "");
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let next = format!("pillarbox auth microsoft --config {}", scene.config().display());
    assert!(out.contains(&next), "{out}");
    let files = scene.files();
    let answers = json!({ "account": MAILBOX, "client-id": PUBLIC_CLIENT_ID });
    let (code, out, err) = scene.run(&["--json", "--answers", "-"], &answers.to_string());
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &document["login"]), (0, &json!("needs-consent")), "{out}{err}");
    assert_eq!(document["next"][0], json!(next));
    assert_eq!(scene.files(), files);
    let mut terminal = scene.at_terminal(&[]);
    enter(&mut terminal, MAILBOX);
    terminal.wait_for("Done. Next:");
    let (code, shown) = terminal.end();
    assert!(code == 0 && !shown.contains("Who may send"), "{shown}");
    let (code, out, _) = scene.run(&FLAGS, "");
    assert!(code == 0 && out.contains("takes it"), "{out}");
}

#[test]
fn an_organisation_is_named_by_its_tenant_and_without_one_any_may_log_in() {
    let scene = Scene::at_microsoft("microsoft365");
    let (code, out, err) = scene.run(&[&FLAGS[..], &["--tenant", "example.com"]].concat(), "");
    assert_eq!(code, 0, "{out}{err}");
    assert!(scene.text().contains("oauth_tenant = \"example.com\"\n"), "{}", scene.text());
    let (code, out, err) = scene.run(&[&FLAGS[..], &["--tenant", "organizations"]].concat(), "");
    assert_eq!(code, 0, "{out}{err}");
    assert!(scene.text().contains("#oauth_tenant = \"example.com\"\n"), "{}", scene.text());
    let (code, out, _) = scene.run(&["--no-input"], "");
    assert!(code == 0 && out.contains("All is in place"), "the file knows every answer: {out}");
}

#[test]
fn a_container_is_given_the_ids_and_no_secret() {
    let scene = Scene::new();
    fs::remove_file(scene.config()).unwrap();
    fs::create_dir(scene.path("root")).unwrap();
    fs::write(scene.path("root/.dockerenv"), "").unwrap();
    let root = scene.path("root").display().to_string();
    let flags = [&FLAGS[..], &["--root", &root, "--provider", "microsoft365"]].concat();
    let (code, out, err) = output(scene.bare(&flags), "");
    assert_eq!(code, 0, "{out}{err}");
    for words in [
        "-e PILLARBOX__UPSTREAM__PROVIDER=microsoft365",
        "-e PILLARBOX__UPSTREAM__AUTH=oauth",
        &format!("-e PILLARBOX__UPSTREAM__OAUTH_CLIENT_ID={PUBLIC_CLIENT_ID}"),
        "-e PILLARBOX__UPSTREAM__OAUTH_TOKEN_FILE=",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(!out.contains("TENANT") && !out.contains("install -m"), "{out}");
}
