//! The settings: each value that holds, where it comes from, and nothing of a secret.

use std::{fs, net::SocketAddr};

use super::{Stage, browser::Browser};
use crate::support::daemon::{Home, Upstream, free_port};

/// In the place of every secret.
const SECRET: &str = "hunter2";

const SECTIONS: &str = "\
[alert]
command = [\"/bin/true\", \"--token=hunter2\"]
webhook = \"https://alerts.example.org/hunter2?key=hunter2\"
heartbeat = \"https://ping.example.org/hunter2\"

[[alert.target]]
name = \"phone\"
webhook = \"https://other.example.org/hunter2\"

[[alert.target]]
name = \"program\"
command = [\"/bin/sh\", \"-c\", \"echo hunter2\"]
";

#[test]
fn every_value_is_shown_with_its_place_and_nothing_of_a_secret() {
    let page = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let home = Home::with_sections(&Upstream::nobody(), SECTIONS)
        .environment("PILLARBOX__ADMIN__PAGE", &page.to_string())
        .environment("PILLARBOX__BUDGET__PACE_PER_MINUTE", "7");
    let daemon = home.start();
    let stage = Stage { home, daemon, page };
    let shown = stage.visitor(&["--look"]).get("/settings");
    assert_eq!(shown.status, 200, "{}", shown.body);
    let text = shown.text();
    let checked = stage.home.output(["check", "--json"]);
    let checked: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    let listed = stage.home.output(["check", "--all"]);
    let listed = String::from_utf8(listed.stdout).expect("text");
    for secret in [SECRET, "?key", "echo"] {
        assert!(!shown.body.contains(secret), "{}", shown.body);
        assert!(!checked.to_string().contains(secret), "{checked}");
        assert!(!listed.contains(secret), "{listed}");
    }
    let line = |key: &str| {
        let written = fs::read_to_string(stage.home.config()).expect("written");
        let number = written.lines().position(|line| line.starts_with(key)).expect("a line") + 1;
        format!("line {number} of {}", stage.home.config().display())
    };
    let hostname = format!("hostname relay.example.org {}", line("hostname"));
    for words in [
        hostname.as_str(),
        "pace_per_minute 7 PILLARBOX__BUDGET__PACE_PER_MINUTE in the environment",
        "lifetime 5d default",
        "owner_reserve 25 default",
        "max_bytes 2GiB default",
        "webhook (set, not shown)",
        "command /bin/true (with arguments, not shown)",
        "[[alert.target]] 2",
        "name program",
    ] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    // The page has what the command has, value by value.
    for setting in checked["settings"].as_array().expect("settings") {
        let value = setting["value"].as_str().unwrap_or("not set");
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = format!("{} {value} ", setting["key"].as_str().expect("a key"));
        assert!(text.contains(&words), "{words:?} in {text}");
    }
}

#[test]
fn a_value_that_waits_for_a_restart_is_not_shown_before_it() {
    let stage = Stage::new();
    let mut visitor = stage.visitor(&[]);
    let written = fs::read_to_string(stage.home.config()).expect("written");
    let changed = written
        .replace("[admin]\n", "[admin]\nhttp = \"127.0.0.1:1\"\n")
        .replace("[queue]\n", "[queue]\nlifetime = \"3d\"\n");
    fs::write(stage.home.config(), changed).expect("written");
    let before = visitor.get("/settings").text();
    assert!(before.contains("lifetime 5d default"), "{before}");
    assert_eq!(stage.say(&["reload"]).0, Some(0), "{}", stage.home.log());
    let after = visitor.get("/settings").text();
    assert!(after.contains("http not set default; changed, and waits for a restart"), "{after}");
    assert!(after.contains("lifetime 3d line "), "{after}");
}

#[test]
fn the_sandbox_says_which_values_are_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = crate::support::playground::Playground::start(directory.path(), &[]);
    let mut visitor: Browser = super::bad_days::visitor(&sandbox);
    let text = visitor.get("/settings").text();
    assert!(text.contains("port ") && text.contains("the sandbox"), "{text}");
    assert!(!text.contains("password_file /"), "{text}");
}
