//! The whole daemon before two real servers that we did not write: Postfix with Cyrus SASL, and Python's aiosmtpd, both
//! with TLS and logins.
//!
//! `tests/upstreams/fetch` unpacks them; without them these tests fail. Postfix needs root: elsewhere its tests say so,
//! as `make test` does beforehand, and show nothing. Every daemon here logs everything, and no secret may be in it.

mod accounts;
mod aiosmtpd;
mod postfix;
mod programs;

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    time::Duration,
};

use data_encoding::BASE64;
use fastrand::Rng;
use serde_json::Value;

use self::{
    aiosmtpd::Aiosmtpd,
    postfix::Postfix,
    programs::{PASSWORD, SIZE_MAX, Stored, USERNAME, Way},
};
use crate::support::{
    daemon::{Daemon, Home, Upstream, within},
    outage::{PLENTY, ask, home_without_brakes, queue_list, tail},
    submitter::{Acknowledged, Load, Submitters, Wire, message},
};

/// For 5 MB through two servers on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const WAYS: [Way; 3] = [Way::Starttls, Way::Implicit, Way::Bare];
/// Small messages beside the large one; all of them on one connection.
const MESSAGES: usize = 20;

/// The relay, logging everything.
struct Relay {
    home: Home,
    _daemon: Daemon,
}

impl Relay {
    fn start(upstream: &Upstream) -> Self {
        let home = home_without_brakes(upstream, PLENTY);
        Self::at(home.environment("PILLARBOX__UPSTREAM__CONNECTIONS", "1"))
    }

    fn at(home: Home) -> Self {
        let home = home.environment("PILLARBOX__LOG__LEVEL", "trace");
        let daemon = home.start();
        Self { home, _daemon: daemon }
    }

    /// Hands in a message, which must be taken.
    fn submit(&self, number: usize, recipients: &[&str], size: usize) -> Acknowledged {
        let message_id = format!("<{number}@client.example.org>");
        let text = message(&message_id, size, &mut Rng::with_seed(number as u64));
        let recipients: Vec<String> = recipients.iter().map(ToString::to_string).collect();
        let mut wire = Wire::connect(self.home.smtp).expect("the relay listens");
        let reply =
            wire.submit(&recipients, &text).expect("the connection lasts").expect("it is taken");
        Acknowledged { message_id, recipients, text, reply }
    }

    fn status(&self) -> Value {
        ask(&self.home, &["status"])
    }

    fn until(&self, what: &str, mut reached: impl FnMut() -> bool) {
        let reached = within(PATIENCE, || {
            std::thread::sleep(Duration::from_millis(50));
            reached()
        });
        assert!(reached, "not {what}: {:#}\n{}", self.status(), tail(&self.home.log()));
    }

    /// Neither the password nor any form in which it crosses the wire is in the log of the relay.
    fn expect_no_secret(&self) {
        let log = self.home.log();
        assert!(
            log.contains("\"level\":\"TRACE\"") || log.contains("\"level\":\"DEBUG\""),
            "it logs everything"
        );
        let encoded = |text: &str| BASE64.encode(text.as_bytes());
        for secret in
            [PASSWORD.to_owned(), encoded(PASSWORD), encoded(&format!("\0{USERNAME}\0{PASSWORD}"))]
        {
            assert!(!log.contains(secret.trim_end_matches('=')), "{secret} is in the log");
        }
    }
}

/// The part of a message behind its header section, which the relay must not touch.
fn body(text: &[u8]) -> &[u8] {
    let end = text.windows(4).position(|octets| octets == b"\r\n\r\n").expect("a header section");
    &text[end + 4..]
}

fn message_id(text: &[u8]) -> String {
    let head = String::from_utf8_lossy(&text[..text.len().min(4_000)]).into_owned();
    let field = head.lines().find_map(|line| line.strip_prefix("Message-ID: "));
    field.expect("a Message-ID").trim().to_owned()
}

/// Copies of each message for each recipient.
fn copies(stored: &[Stored]) -> BTreeMap<(String, String), usize> {
    let mut copies = BTreeMap::new();
    for message in stored {
        for recipient in &message.recipients {
            *copies.entry((message_id(&message.text), recipient.clone())).or_default() += 1;
        }
    }
    copies
}

/// Everything that was promised is there, and each copy is octet by octet what was sent.
fn expect_to_the_letter(stored: &[Stored], sent: &[Acknowledged]) {
    let texts: BTreeMap<&str, &[u8]> =
        sent.iter().map(|message| (message.message_id.as_str(), &message.text[..])).collect();
    for message in stored {
        let name = message_id(&message.text);
        let original = texts.get(name.as_str()).unwrap_or_else(|| panic!("{name} was never sent"));
        assert!(body(&message.text) == body(original), "{name} was altered");
    }
    let copies = copies(stored);
    for message in sent {
        for recipient in &message.recipients {
            assert!(
                copies.contains_key(&(message.message_id.clone(), recipient.clone())),
                "{}",
                message.reply
            );
        }
    }
}

/// Sends 5 MB and small messages of 8-bit text, dots and empty lines; `stored` tells what the server has.
fn deliver_everything(
    upstream: &Upstream,
    way: Way,
    mut stored: impl FnMut() -> Vec<Stored>,
) -> Relay {
    let relay = Relay::start(upstream);
    let mut sent = vec![relay.submit(0, &["reader@example.net"], 5_000_000)];
    for number in 1..=MESSAGES {
        let recipients =
            [&["a@example.net"][..], &["a@example.net", "b@example.net", "c@example.net"]]
                [number % 2];
        sent.push(relay.submit(number, recipients, 200 * number));
    }
    let promised = sent.iter().map(|message| message.recipients.len()).sum::<usize>();
    relay.until(&format!("everything over {way:?}"), || copies(&stored()).len() >= promised);
    expect_to_the_letter(&stored(), &sent);
    assert!(copies(&stored()).values().all(|count| *count == 1), "{way:?}: nothing twice");
    relay.until("an empty queue", || relay.status()["queue"]["messages"] == 0);
    relay.expect_no_secret();
    relay
}

/// The refused recipient is dead with the server's words; the others have the message.
fn refuse_one_recipient(upstream: &Upstream, mut stored: impl FnMut() -> Vec<Stored>) {
    let relay = Relay::start(upstream);
    let recipients = ["first@example.net", "nosuch@example.net", "last@example.net"];
    relay.submit(1, &recipients, 500);
    relay.until("partly accepted", || {
        let listed = queue_list(&relay.home);
        listed.len() == 1 && listed[0].states == ["relayed", "dead", "relayed"]
    });
    relay.until("delivered", || copies(&stored()).len() == 2);
    let dead = ask(&relay.home, &["dead", "list"]).to_string();
    assert!(dead.contains("550 5.1.1") && dead.contains("No such user here"), "{dead}");
    assert_eq!(relay.status()["account"]["condition"], "open");
    relay.expect_no_secret();
}

/// One login, then the account waits for a person; nothing is charged.
fn refuse_the_password(upstream: &Upstream) {
    let relay = Relay::start(upstream);
    relay.submit(1, &["reader@example.net"], 500);
    relay.until("paused", || relay.status()["account"]["condition"] == "paused-credentials");
    let account = relay.status()["account"].clone();
    assert!(
        account["reason"].as_str().is_some_and(|reason| reason.contains("535 5.7.8")),
        "{account}"
    );
    assert_eq!(queue_list(&relay.home)[0].states, ["queued"]);
    relay.expect_no_secret();
}

/// The server's own limit: the message dies alone, and the next one leaves.
fn refuse_the_size(upstream: &Upstream, mut stored: impl FnMut() -> Vec<Stored>) {
    let relay = Relay::start(upstream);
    relay.submit(1, &["reader@example.net"], SIZE_MAX + 100_000);
    relay
        .until("dead", || queue_list(&relay.home).iter().any(|message| message.states == ["dead"]));
    let dead = ask(&relay.home, &["dead", "list"]).to_string();
    assert!(dead.contains("552"), "{dead}");
    let next = relay.submit(2, &["reader@example.net"], 500);
    relay.until("relayed", || !stored().is_empty());
    expect_to_the_letter(&stored(), &[next]);
    relay.expect_no_secret();
}

/// A server that is killed and comes back with what it has stored.
trait Mortal {
    fn stored(&self) -> Vec<Stored>;
    fn kill(&mut self);
    fn restart(&mut self);
}

impl Mortal for Postfix {
    fn stored(&self) -> Vec<Stored> {
        self.stored()
    }

    fn kill(&mut self) {
        self.kill();
    }

    fn restart(&mut self) {
        self.restart();
    }
}

impl Mortal for Aiosmtpd {
    fn stored(&self) -> Vec<Stored> {
        self.stored()
    }

    fn kill(&mut self) {
        self.kill();
    }

    fn restart(&mut self) {
        self.run();
    }
}

/// Under load the server is killed three times and comes back.
fn kill_the_server(upstream: &Upstream, server: &mut impl Mortal) {
    let relay = Relay::start(upstream);
    let load = Load { clients: 2, pause_ms: 10..60, ..Load::default() };
    let clients = Submitters::start(relay.home.smtp, "mortal", &load, 1);
    for round in 1..=3 {
        let before = server.stored().len();
        relay.until(&format!("busy in round {round}"), || {
            drop(relay.home.output(["resume"]));
            server.stored().len() > before + 5
        });
        server.kill();
        std::thread::sleep(Duration::from_millis(300));
        server.restart();
    }
    let sent = clients.finish().acknowledged;
    relay.until("an empty queue", || {
        drop(relay.home.output(["resume"]));
        drop(relay.home.output(["queue", "retry", "--all"]));
        relay.status()["queue"]["messages"] == 0
    });
    let promised = sent.iter().map(|message| message.recipients.len()).sum::<usize>();
    relay.until("delivered", || copies(&server.stored()).len() >= promised);
    let stored = server.stored();
    // What was on its way at the end of the clients may be there without a promise.
    let known = |text: &[u8]| sent.iter().any(|message| message.message_id == message_id(text));
    let stored: Vec<Stored> = stored.into_iter().filter(|message| known(&message.text)).collect();
    expect_to_the_letter(&stored, &sent);
    let twice = copies(&stored).values().filter(|count| **count > 1).count();
    assert!(
        twice <= 3 * load.recipients.end,
        "{twice} second copies: more than the lost connections explain"
    );
    relay.expect_no_secret();
}

fn not_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        // Not `eprintln`, which the test runner keeps to itself when a test passes.
        drop(writeln!(io::stderr(), "{test}: NOT RUN on this machine: Postfix needs root"));
    }
    !root
}

#[test]
fn aiosmtpd_gets_every_octet_under_one_login_whatever_it_offers() {
    for way in WAYS {
        let server = Aiosmtpd::start(way);
        drop(deliver_everything(&server.upstream(PASSWORD), way, || server.stored()));
        let mechanism = if way == Way::Bare { "LOGIN" } else { "PLAIN" };
        assert_eq!(
            server.logins(),
            [format!("{mechanism} good")],
            "{way:?}: one login for every message"
        );
        for envelope in server.envelopes() {
            assert_eq!(envelope["tls"], true);
            let options = envelope["mail_options"].to_string();
            assert!(options.contains("SIZE=") && options.contains("BODY=8BITMIME"), "{options}");
        }
    }
}

#[test]
fn aiosmtpd_refuses_a_recipient_a_password_and_a_size() {
    let server = Aiosmtpd::start(Way::Starttls);
    refuse_one_recipient(&server.upstream(PASSWORD), || server.stored());
    let server = Aiosmtpd::start(Way::Implicit);
    refuse_the_size(&server.upstream(PASSWORD), || server.stored());
    for (way, login) in [(Way::Starttls, "PLAIN bad"), (Way::Bare, "LOGIN bad")] {
        let server = Aiosmtpd::start(way);
        refuse_the_password(&server.upstream("not the one"));
        assert_eq!(server.logins(), [login]);
    }
}

#[test]
fn aiosmtpd_is_killed_under_load_and_nothing_is_lost() {
    let mut server = Aiosmtpd::start(Way::Starttls);
    kill_the_server(&server.upstream(PASSWORD), &mut server);
}

#[test]
fn postfix_gets_every_octet_under_one_login_whatever_it_offers() {
    if not_root("Postfix, every octet") {
        return;
    }
    for way in WAYS {
        let server = Postfix::start();
        drop(deliver_everything(&server.upstream(way, PASSWORD), way, || server.stored()));
        let log = server.log();
        let mechanism = if way == Way::Bare { "LOGIN" } else { "PLAIN" };
        assert!(
            log.contains(&format!("sasl_method={mechanism}, sasl_username={USERNAME}")),
            "{log}"
        );
        let connections: Vec<_> = log.lines().filter(|line| line.contains("auth=")).collect();
        assert!(connections.len() <= 1, "{way:?}: one login for every message: {connections:?}");
    }
}

#[test]
fn postfix_refuses_a_recipient_a_password_and_a_size() {
    if not_root("Postfix, refusals") {
        return;
    }
    let server = Postfix::start();
    refuse_one_recipient(&server.upstream(Way::Starttls, PASSWORD), || server.stored());
    let server = Postfix::start();
    refuse_the_size(&server.upstream(Way::Implicit, PASSWORD), || server.stored());
    // Without SIZE= the refusal comes after the final dot.
    let server = Postfix::start();
    refuse_the_size(&server.upstream(Way::Bare, PASSWORD), || server.stored());
    for way in [Way::Starttls, Way::Bare] {
        let server = Postfix::start();
        refuse_the_password(&server.upstream(way, "not the one"));
        assert_eq!(server.log().matches("authentication failed").count(), 1, "{}", server.log());
    }
}

#[test]
fn postfix_is_killed_under_load_and_nothing_is_lost() {
    if not_root("Postfix, killed") {
        return;
    }
    let mut server = Postfix::start();
    kill_the_server(&server.upstream(Way::Starttls, PASSWORD), &mut server);
}
