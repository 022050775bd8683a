//! The Gmail API within `pillarbox setup`: offered where the ports of mail are closed, or chosen, and proved.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

use serde_json::{Value, json};

use super::scene::{ACCOUNT, PASSWORD, Scene};
use crate::support::{
    browser::{browse, consent},
    daemon::free_port,
    service_account::write_key,
};

/// From now on the port leads to the other one. Its threads end with their connections.
fn open(port: u16, to: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = TcpStream::connect(("127.0.0.1", to)).unwrap();
            for (mut from, mut to) in
                [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)]
            {
                thread::spawn(move || {
                    drop(io::copy(&mut from, &mut to));
                    drop(to.shutdown(Shutdown::Write));
                });
            }
        }
    });
}

/// The key of a service account that may act for the mailbox.
fn key_file(scene: &Scene) -> String {
    let path = scene.path("key.json");
    write_key(&path);
    path.display().to_string()
}

#[test]
fn where_the_ports_are_closed_a_person_is_offered_https_and_consents_to_sending_alone() {
    let scene = Scene::with_tokens();
    let port = free_port();
    scene.lead_to(port);
    let mut terminal = scene.at_terminal(&[]);
    for (prompt, answer) in [
        ("Gmail account", ACCOUNT),
        // Nothing is reached yet, and that is known.
        ("What now", "3"),
        ("How to log in", "1"),
        ("Who reads root's mail", ""),
        ("Who may send", ""),
        ("App password", PASSWORD),
        ("Do this?", "yes"),
    ] {
        terminal.answer(prompt, answer);
    }
    terminal.wait_for("the login could not be tried");
    terminal.wait_for("send over HTTPS instead");
    open(port, scene.gmail.api().port);
    terminal.answer("What now", "2");
    terminal.wait_for("1  oauth");
    terminal.answer("How to log in [oauth]", "");
    terminal.answer("File of your OAuth client", "client.json");
    terminal.wait_for("auth/gmail.send to its consent");
    terminal.answer("Do this?", "yes");
    terminal.wait_for("Open this address in a browser");
    terminal.wait_for("Waiting for");
    let shown = terminal.shown();
    let address = shown.lines().map(str::trim).find(|line| line.contains("/authorize?")).unwrap();
    assert!(address.contains("gmail.send") && !address.contains("mail.google.com"), "{address}");
    browse(&consent(address));
    terminal.wait_for("The token works.");
    terminal.wait_for("localhost takes it.");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    let text = scene.text();
    for line in ["transport = \"gmail-api\"", "auth = \"oauth\"", "# Here as well."] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(!text.lines().any(|line| line.starts_with("password_file")), "{text}");
    let (code, shown) = scene.at_terminal(&[]).end();
    assert!(code == 0 && shown.contains("All is in place"), "{shown}");
}

/// What was shown, whatever the width of the terminal.
fn in_one_line(shown: &str) -> String {
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn closed_ports_are_told_before_the_login_is_asked_for_and_https_is_offered_instead_of_a_password()
{
    let scene = Scene::with_tokens();
    let port = free_port();
    scene.lead_to(port);
    let mut terminal = scene.at_terminal(&[]);
    terminal.answer("Gmail account", ACCOUNT);
    terminal.wait_for("stop here");
    let shown = in_one_line(&terminal.shown());
    let closed = format!("localhost cannot be reached from here on port {port} (");
    assert!(shown.contains(&closed) && !shown.contains("How to log in"), "{shown}");
    open(port, scene.gmail.api().port);
    terminal.answer("What now", "2");
    terminal.wait_for("1  oauth");
    terminal.answer("How to log in [oauth]", "");
    terminal.answer("File of your OAuth client", "client.json");
    terminal.answer("Who reads root's mail", "");
    terminal.answer("Who may send", "");
    terminal.answer("Do this?", "yes");
    terminal.wait_for("Open this address in a browser");
    let shown = terminal.kill();
    assert!(!shown.contains("App password"), "{shown}");
    assert!(scene.text().contains("transport = \"gmail-api\"\n"), "{}", scene.text());
}

#[test]
fn a_person_who_has_opened_the_ports_looks_again_and_one_who_stops_finds_his_answers_later() {
    let scene = Scene::new();
    let (port, files) = (free_port(), scene.files());
    scene.lead_to(port);
    let mut terminal = scene.at_terminal(&[]);
    terminal.answer("Gmail account", ACCOUNT);
    terminal.answer("What now", "4");
    let (code, shown) = terminal.end();
    assert!(code == 0 && shown.contains("Call pillarbox setup again to go on."), "{code} {shown}");
    assert_eq!(scene.files().len(), files.len() + 1, "the draft alone is new");
    let mut terminal = scene.at_terminal(&[]);
    terminal.wait_for("stop here");
    open(port, scene.gmail.upstream().port);
    terminal.answer("What now", "1");
    terminal.wait_for("How to log in");
    let shown = in_one_line(&terminal.shown());
    assert!(shown.contains(&format!("localhost can be reached from here on port {port}, over")));
    assert!(!shown.contains("Gmail account"), "{shown}");
    terminal.kill();
}

#[test]
fn nothing_is_looked_at_where_no_login_will_be_tried() {
    let scene = Scene::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    scene.lead_to(listener.local_addr().unwrap().port());
    let answers = ["--account", ACCOUNT, "--root-to", ACCOUNT, "--serve", "host"];
    for flag in ["--no-prove", "--dry-run"] {
        let mut terminal = scene.at_terminal(&[&[flag][..], &answers].concat());
        terminal.answer("How to log in", "");
        terminal.answer("App password", PASSWORD);
        if flag == "--no-prove" {
            terminal.answer("Do this?", "no");
        }
        let (code, shown) = terminal.end();
        assert!(code == 0 && !shown.contains("reached"), "{flag}: {code} {shown}");
    }
    listener.set_nonblocking(true).unwrap();
    let met = listener.accept().map_err(|error| error.kind());
    assert!(matches!(met, Err(io::ErrorKind::WouldBlock)), "{met:?}");
}

#[test]
fn flags_choose_https_and_its_login_is_proved() {
    let scene = Scene::with_tokens();
    scene.lead_to(scene.gmail.api().port);
    let key = key_file(&scene);
    let flags = ["--no-input", "--yes", "--account", ACCOUNT, "--transport", "gmail-api"];
    let (code, _, err) = scene.run(&flags, "");
    assert!(code == 64 && err.contains("--client-file FILE"), "no password will do: {err}");
    let given = [&flags[..], &["--login", "service-account", "--key-file", &key]].concat();
    let (code, out, err) = scene.run(&given, "");
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("localhost takes it."), "{out}");
    assert!(out.contains("gmail.send to its domain-wide delegation"), "{out}");
    let text = scene.text();
    assert!(text.contains("transport = \"gmail-api\"\n"), "{text}");
    let files = scene.files();
    let (code, out, err) = scene.run(&given, "");
    assert!(code == 0 && out.contains("All is in place"), "{out}{err}");
    assert_eq!(scene.files(), files);
}

#[test]
fn a_program_whose_ports_are_closed_is_told_which_answer_leads_on() {
    let scene = Scene::with_tokens();
    scene.lead_to(free_port());
    let answers = json!({ "account": ACCOUNT, "password": PASSWORD });
    let flags = ["--json", "--answers", "-", "--yes"];
    let (code, out, _) = scene.run(&flags, &answers.to_string());
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &document["question"]), (75, &json!("transport")), "{document}");
    let error = document["error"].as_str().unwrap();
    assert!(error.contains("--transport gmail-api"), "{error}");
    scene.lead_to(scene.gmail.api().port);
    let answers =
        json!({ "transport": "gmail-api", "login": "oauth", "client-file": "client.json" });
    let (code, out, _) = scene.run(&flags, &answers.to_string());
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &document["login"]), (0, &json!("needs-consent")), "{document}");
    assert!(
        document["next"][0].as_str().unwrap().starts_with("pillarbox auth google"),
        "{document}"
    );
}
