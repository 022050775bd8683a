//! Logins to the page by name and password: what they open, and what ends them.

use std::path::PathBuf;

use super::{
    Stage,
    browser::{Answer, Browser},
};
use crate::support::daemon::{Home, Upstream};

const PASSWORD: &str = "correct horse battery";

/// A daemon whose page has users.
struct Logins {
    stage: Stage,
    users: PathBuf,
    _directory: tempfile::TempDir,
}

impl Logins {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let users = directory.path().join("page-users");
        let home = Home::new(&Upstream::nobody())
            .environment("PILLARBOX__ADMIN__PAGE_USERS_FILE", &users.display().to_string());
        Self { stage: Stage::with(home), users, _directory: directory }
    }

    /// `pillarbox user` for the page, with this on standard input.
    fn user(&self, arguments: &[&str], input: &str) -> (Option<i32>, String) {
        let file = self.users.display().to_string();
        let arguments = [&["user"], arguments, &["--admin", "--file", &file]].concat();
        let output = self.stage.home.output_of(&arguments, input);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    }

    fn add(&self, name: &str, options: &[&str]) {
        let arguments = [&["add", name, "--stdin"], options].concat();
        let (code, words) = self.user(&arguments, &format!("{PASSWORD}\n"));
        assert_eq!(code, Some(0), "{words}");
    }

    fn log_in(&self, name: &str, password: &str) -> (Browser, Answer) {
        let mut browser = self.stage.browser();
        let asked = browser.get("/");
        assert!(asked.status == 401 && asked.text().starts_with("Log in"), "{}", asked.body);
        let answer = browser.post("/enter", &[("name", name), ("password", password)]);
        (browser, answer)
    }

    fn entered(&self, name: &str) -> Browser {
        let (browser, answer) = self.log_in(name, PASSWORD);
        assert_eq!((answer.status, answer.head("location")), (303, Some("/")), "{}", answer.body);
        browser
    }
}

#[test]
fn a_name_and_its_password_open_the_page_and_nothing_else_does() {
    let logins = Logins::new();
    let (_, answer) = logins.log_in("alice", PASSWORD);
    assert_eq!(answer.status, 503, "there is no users file yet: {}", answer.body);
    logins.add("alice", &[]);
    let mut alice = logins.entered("alice");
    assert_eq!(alice.get("/").status, 200);
    assert!(logins.stage.say(&["page", "sessions"]).1.contains("act  alice"));

    for (name, password) in [("alice", "wrong"), ("<b>mallory", PASSWORD), ("", "")] {
        let (mut browser, answer) = logins.log_in(name, password);
        assert_eq!(answer.status, 401, "{name}");
        assert!(answer.text().contains("The name or the password is wrong."), "{}", answer.body);
        assert!(!answer.body.contains("mallory") && browser.cookie.is_none());
        assert_eq!(browser.get("/").status, 401);
    }
    let log = logins.stage.home.log();
    assert!(log.contains("a wrong name or password for the page"), "{log}");
    assert!(!log.contains(PASSWORD), "{log}");
}

#[test]
fn whoever_was_added_to_look_sees_everything_and_does_nothing() {
    let logins = Logins::new();
    logins.add("bob", &["--look"]);
    logins.stage.submit("a@example.org", "b@example.net", "Subject: here\r\n\r\nx");
    let id = logins.stage.ids().remove(0);
    let mut bob = logins.entered("bob");
    let queue = bob.get("/queue");
    assert!(queue.status == 200 && queue.text().contains("here"), "{}", queue.body);
    let token = queue.fields("token").into_iter().next().unwrap_or_default();
    let fields = [("token", token.as_str()), ("deed", "delete"), ("id", &id), ("sure", "yes")];
    let answer = bob.post("/deeds", &fields);
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert_eq!(logins.stage.ids(), [id]);
    let list = logins.user(&["list"], "").1;
    assert!(list.starts_with("bob may look\n"), "{list}");
}

#[test]
fn a_session_ends_with_its_user_his_password_and_his_rights() {
    let logins = Logins::new();
    let changes: [&[&str]; 3] = [&["add", "--stdin"], &["add", "--stdin", "--look"], &["remove"]];
    for change in changes {
        logins.add("alice", &[]);
        logins.add("carol", &[]);
        let [mut alice, mut carol] = ["alice", "carol"].map(|name| logins.entered(name));
        let (code, words) = logins.user(&[change, &["alice"]].concat(), "another password\n");
        assert_eq!(code, Some(0), "{words}");
        assert_eq!(alice.get("/queue").status, 401, "{change:?}");
        assert_eq!(carol.get("/queue").status, 200, "{change:?}");
    }
}

#[test]
fn a_device_of_the_listener_is_no_user_of_the_page() {
    let logins = Logins::new();
    let file = logins.users.display().to_string();
    let arguments = ["user", "add", "printer", "--look", "--file", &file];
    let output = logins.stage.home.output_of(&arguments, "x\n");
    let words = String::from_utf8(output.stderr).expect("text");
    assert!(words.contains("--look is for a user of the page; add --admin"), "{words}");
}
