//! Runs the dialogues against the real daemon and looks into its queue afterwards.
//!
//! Rule: options of a dialogue become settings, and dialogues with the same settings share a process.
//! The queue is opened only when the daemon has ended. Must not know what a dialogue is about.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pillarbox::{
    clock::SystemClock,
    queue::{LIST_LENGTH_MAX, Queue, options::Options, record::MessageRecord},
    smtp::{dsn::Dsn, server::Transaction},
};

use super::{
    dialogue::{Arrival, Dialogue, envelope_text},
    expect_arrivals, run_against,
};
use crate::support::daemon::{Home, Upstream};

/// How long a daemon without clients may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// Options that are a setting of relay.toml, with its name in the environment.
const SETTINGS: [(&str, &str); 4] = [
    ("hostname", "PILLARBOX__LISTENER__HOSTNAME"),
    ("max_message_bytes", "PILLARBOX__LISTENER__MAX_MESSAGE_BYTES"),
    ("max_recipients", "PILLARBOX__LISTENER__MAX_RECIPIENTS"),
    ("priority_hints", "PILLARBOX__LISTENER__PRIORITY_HINTS"),
];

/// What a daemon is told for a dialogue: the names and values of the environment.
type Settings = BTreeMap<&'static str, String>;

/// The dialogues that a daemon can hold, by what it must be told.
pub(crate) fn by_settings(dialogues: &[Dialogue]) -> BTreeMap<Settings, Vec<&Dialogue>> {
    let mut groups: BTreeMap<_, Vec<&Dialogue>> = BTreeMap::new();
    for dialogue in dialogues {
        // A client cannot choose the address that it seems to come from, and the daemon of this test has
        // neither certificate nor users.
        let needs_more = ["client", "starttls", "encrypted", "authentication", "login"]
            .iter()
            .any(|key| dialogue.directive(key).is_some());
        if !dialogue.is_for_the_pure_session_only() && !needs_more {
            groups.entry(settings(dialogue)).or_default().push(dialogue);
        }
    }
    groups
}

fn settings(dialogue: &Dialogue) -> Settings {
    let mut settings =
        Settings::from([("PILLARBOX__LISTENER__HOSTNAME", "relay.example".to_owned())]);
    for (option, name) in SETTINGS {
        if let Some(value) = dialogue.directive(option) {
            settings.insert(name, value.to_owned());
        }
    }
    if dialogue.directive("local_recipients") != Some("no") {
        settings.insert("PILLARBOX__IDENTITY__ADMIN", ADMIN.to_owned());
    }
    if dialogue.directive("trusted") == Some("no") {
        settings.insert("PILLARBOX__LISTENER__TRUSTED_NETWORKS", "192.0.2.0/24".to_owned());
    }
    settings
}

/// Who reads the mail of names of this host.
const ADMIN: &str = "admin@example.net";

/// Holds the dialogues one after the other with one daemon, and compares what it has stored.
pub(crate) async fn hold(settings: &Settings, dialogues: &[&Dialogue]) {
    // A port below 1024 that no test can be given: what is stored stays.
    let home = Home::new(&Upstream { port: 1, ..Upstream::nobody() })
        .environment("PILLARBOX__QUEUE__MIN_FREE_BYTES", "8MiB");
    let home = settings.iter().fold(home, |home, (name, value)| home.environment(name, value));
    let daemon = home.start();
    for dialogue in dialogues {
        assert_eq!(run_against(daemon.smtp, dialogue).await, Ok(()), "{settings:?}");
    }
    assert!(daemon.terminate(STOP_WITHIN).success(), "{}", home.log());
    let expected = dialogues
        .iter()
        .flat_map(|dialogue| dialogue.arrivals.iter().map(without_dsn).map(expanded));
    let expected = expected.collect::<Vec<_>>();
    let names: Vec<&str> = dialogues.iter().map(|dialogue| dialogue.name.as_str()).collect();
    expect_arrivals(&names.join(", "), stored(&home).await, &expected);
}

/// What was asked of notices is kept with the envelope in the spool, not in the records that this test reads.
fn without_dsn(arrival: &Arrival) -> Arrival {
    let asked = [" ret=", " envid=", " notify[", " orcpt["];
    let end = asked.iter().filter_map(|word| arrival.envelope.find(word)).min();
    let envelope = arrival.envelope[..end.unwrap_or(arrival.envelope.len())].to_owned();
    Arrival { envelope, message: arrival.message.clone() }
}

/// Names of this host are stored as the address of who reads their mail, each address once.
fn expanded(arrival: Arrival) -> Arrival {
    let parts =
        arrival.envelope.split_once(" to=<").map(|(before, rest)| (before, rest.split_once("> ")));
    let Some((before, Some((recipients, after)))) = parts else { return arrival };
    let mut addresses: Vec<&str> = Vec::new();
    for recipient in recipients.split(">,<") {
        let lower = recipient.to_lowercase();
        let here = ["@localhost", "@relay.example"].iter().any(|domain| lower.ends_with(domain));
        let address = if here || !recipient.contains('@') { ADMIN } else { recipient };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let envelope = format!("{before} to=<{}> {after}", addresses.join(">,<"));
    Arrival { envelope, message: arrival.message }
}

/// What is in the queue, in the order in which it came.
async fn stored(home: &Home) -> Vec<Arrival> {
    let options = Options::new(home.state().to_owned());
    let store = Queue::open(options, Arc::new(SystemClock::new())).unwrap();
    let mut arrivals = Vec::new();
    for message in store.list(None, LIST_LENGTH_MAX).await.unwrap() {
        let mut reader = store.open_message(message.id).await.unwrap();
        let mut octets = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            octets.extend(block);
        }
        arrivals.push(arrival(&message.id.to_string(), &message.record, &octets));
    }
    store.close().await;
    arrivals
}

/// Takes apart what was put together at acceptance: the fields that were added, an empty line when the
/// message has no header, the message.
fn arrival(id: &str, record: &MessageRecord, octets: &[u8]) -> Arrival {
    let (added, message) =
        octets.split_at(octets.len() - usize::try_from(record.size_bytes).unwrap());
    let added = std::str::from_utf8(added).unwrap();
    let lines = added
        .strip_suffix("\r\n\r\n")
        .or_else(|| added.strip_suffix("\r\n"))
        .unwrap()
        .split("\r\n");
    let names: Vec<&str> = lines
        .filter(|line| !line.starts_with('\t'))
        .map(|line| line.split(':').next().unwrap())
        .collect();
    // None of the dialogues sends one of these fields itself.
    assert_eq!(names, ["Received", "Message-ID", "Date"], "{added}");
    let words: Vec<&str> = added.split_whitespace().take(10).collect();
    let [
        "Received:",
        "from",
        helo,
        "([127.0.0.1])",
        "by",
        "relay.example",
        "with",
        protocol,
        "id",
        named,
    ] = words[..]
    else {
        panic!("not the Received field of this relay: {added}")
    };
    assert_eq!(named.trim_end_matches(';'), id);
    let transaction = Transaction {
        reverse_path: record.reverse_path.clone(),
        forward_paths: record
            .recipients
            .iter()
            .map(|recipient| recipient.address.clone())
            .collect(),
        eight_bit: record.body == pillarbox::message::envelope::BodyKind::EightBitMime,
        internationalized: record.internationalized,
        dsn: Dsn::default(),
        login: None,
        // A client that did not introduce itself is named by its address.
        helo: if helo == "[127.0.0.1]" { String::new() } else { helo.to_owned() },
        proposed_id: None,
        claimed_user: None,
        priority: None,
        protocol: ["SMTP", "ESMTP", "UTF8SMTP"]
            .into_iter()
            .find(|known| *known == protocol)
            .unwrap(),
    };
    Arrival { envelope: envelope_text(&transaction), message: message.to_vec() }
}
