//! Aliases end to end: what a client says at RCPT, and who gets the mail at the upstream.

use std::{fs, time::Duration};

use crate::support::{
    client::Client,
    daemon::{Daemon, Home, within},
    gmail::Gmail,
    outage::{PLENTY, budget},
};

/// How long mail may take to the look-alike on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const FILE: &str = "\
# for the tests
root: alice@example.net, \"Bob\" <bob@example.net>
admin: ROOT
postmaster: admin, carol@example.net
round: about
about: round
broken line
printer: |/usr/bin/lp, printer@example.net
";

/// A daemon with an aliases file, between a client and the look-alike.
struct Relay {
    gmail: Gmail,
    home: Home,
    _daemon: Daemon,
}

impl Relay {
    fn start(identity: &str) -> Self {
        let gmail = Gmail::start();
        let sections = format!(
            "{}\n[identity]\naliases_file = \"aliases\"\nadmin = \"admin@example.net\"\n{identity}",
            budget(PLENTY)
        );
        let home = Home::with_sections(&gmail.upstream(), &sections);
        fs::write(home.path("aliases"), FILE).expect("written");
        let daemon = home.start();
        Self { gmail, home, _daemon: daemon }
    }

    /// Sends one message, waits for it, and returns its recipients and its text.
    fn sent(&self, recipients: &[&str], text: &str) -> (Vec<String>, String) {
        let before = self.gmail.accepted().len();
        let reply = Client::hello(self.home.smtp).mail("cron@client.example", recipients, text);
        assert!(reply.starts_with("250 "), "{reply}");
        assert!(within(PATIENCE, || self.gmail.accepted().len() > before), "{}", self.home.log());
        let accepted = self.gmail.accepted();
        assert_eq!(accepted.len(), before + 1, "one message, one transaction");
        let mail = &accepted[before];
        (mail.rcpt_to.clone(), String::from_utf8_lossy(&mail.body).into_owned())
    }

    fn recipients_of(&self, recipients: &[&str]) -> Vec<String> {
        self.sent(recipients, "Subject: x\n\ntext").0
    }
}

#[test]
fn names_reach_everybody_they_stand_for_once() {
    let relay = Relay::start("");
    let (recipients, text) = relay.sent(
        &["root", "Admin@localhost", "postmaster@relay.example.org"],
        "From: root (Cron Daemon)\nTo: root\nSubject: x\n\ntext",
    );
    assert_eq!(recipients, ["alice@example.net", "bob@example.net", "carol@example.net"]);
    assert!(text.contains("\r\nTo: alice@example.net,\r\n\tbob@example.net\r\n"), "{text}");
    assert!(text.contains("\r\nX-Original-To: root\r\n"), "{text}");
    assert_eq!(relay.recipients_of(&["round"]), ["admin@example.net"], "a circle");
    assert_eq!(relay.recipients_of(&["nobody@localhost"]), ["admin@example.net"]);
    assert_eq!(relay.recipients_of(&["printer"]), ["printer@example.net"]);
    assert_eq!(
        relay.recipients_of(&["root@example.net"]),
        ["root@example.net"],
        "somebody elsewhere"
    );

    let log = relay.home.log();
    for (line, word) in [(5, "circle"), (7, "has no colon"), (8, "is a command")] {
        let told = relay.home.events().iter().any(|event| {
            event.to_string().contains("alias not used")
                && event.to_string().contains(&format!("\"line\":{line}"))
                && event.to_string().contains(word)
        });
        assert!(told, "line {line}, {word}: {log}");
    }
}

#[test]
fn a_change_of_the_file_counts_while_the_relay_runs() {
    let relay = Relay::start("");
    assert_eq!(relay.recipients_of(&["root"]).len(), 2);
    fs::write(relay.home.path("new"), "root: dave@example.net\nbad\n").expect("written");
    fs::rename(relay.home.path("new"), relay.home.path("aliases")).expect("renamed");
    assert!(within(PATIENCE, || relay.recipients_of(&["root"]) == ["dave@example.net"]));
    fs::remove_file(relay.home.path("aliases")).expect("removed");
    let told = || relay.home.log().matches("aliases not readable").count();
    assert!(
        within(PATIENCE, || relay.recipients_of(&["root"]) == ["dave@example.net"] && told() > 0)
    );
    assert_eq!(relay.recipients_of(&["root"]), ["dave@example.net"]);
    assert_eq!(told(), 1, "said once");
}

#[test]
fn a_machine_whose_mail_must_reach_nobody_redirects_all_of_it() {
    let relay = Relay::start("redirect_all = \"test@example.net\"\n");
    let (recipients, text) = relay
        .sent(&["customer@example.net", "root"], "To: customer@example.net\nSubject: x\n\ntext");
    assert_eq!(recipients, ["test@example.net"]);
    assert!(text.contains("\r\nX-Original-To: customer@example.net,\r\n\troot\r\n"), "{text}");
    assert!(text.contains("\r\nTo: customer@example.net\r\n"), "{text}");
}

#[test]
fn a_name_for_too_many_is_refused_and_nobody_gets_a_part() {
    let relay = Relay::start("");
    let list: Vec<String> = (0..1_001).map(|number| format!("r{number}@example.net")).collect();
    fs::write(relay.home.path("new"), format!("all: {}\n", list.join(",\n  "))).expect("written");
    fs::rename(relay.home.path("new"), relay.home.path("aliases")).expect("renamed");
    let mut client = Client::hello(relay.home.smtp);
    let refused = within(PATIENCE, || {
        client.command("MAIL FROM:<a@client.example>");
        assert!(client.command("RCPT TO:<all>").starts_with("250"));
        let reply = client.command("DATA");
        if reply.starts_with("354") {
            // The file has not been looked at yet: the old one knows no such name.
            client.send(b"Subject: x\r\n\r\n.\r\n");
            client.reply();
        }
        reply.starts_with("550 5.5.3 ")
    });
    assert!(refused, "{}", relay.home.log());
    let reached: Vec<String> =
        relay.gmail.accepted().iter().flat_map(|mail| mail.rcpt_to.clone()).collect();
    assert!(reached.iter().all(|recipient| recipient == "admin@example.net"), "{reached:?}");
}

#[test]
fn check_shows_the_file_its_names_and_its_errors() {
    let gmail = Gmail::start();
    let sections = "[identity]\naliases_file = \"aliases\"\nredirect_all = \"test@example.net\"\n";
    let home = Home::with_sections(&gmail.upstream(), sections);
    let missing = String::from_utf8_lossy(&home.output(["check"]).stdout).into_owned();
    assert!(
        missing.contains("cannot be read") && missing.contains("aliases_file = \"off\""),
        "{missing}"
    );
    fs::write(home.path("aliases"), FILE).expect("written");
    let shown = String::from_utf8_lossy(&home.output(["check"]).stdout).into_owned();
    for words in [
        "6 alias names in ",
        "line 7: \"broken line\" has no colon",
        "ALL mail",
        "test@example.net",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let document: serde_json::Value =
        serde_json::from_slice(&home.output(["check", "--json"]).stdout).expect("JSON");
    assert_eq!(document["recipients"]["aliases"], 6);
    assert_eq!(document["recipients"]["problems"], 3);
}
