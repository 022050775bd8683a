//! The daemon over the Gmail API: what it promised it keeps, through kills around the last block of a message.
//!
//! What each answer comes to is in `oauth/api.rs`, beside the tokens.

use std::time::Duration;

use pillarbox::sandbox::{Failure, Stage};

use crate::support::{
    client::Client,
    daemon::{Home, within},
    gmail::Gmail,
    outage::{ask, seed, tail},
    service_account::write_key,
};

/// How long mail may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the server thinks about each message: a kill meets many of them then.
const THOUGHT: Duration = Duration::from_millis(120);
const KILLS: usize = 8;

/// A home that sends through this look-alike's API, as a service account that may act for the mailbox.
fn home(gmail: &Gmail, budget: &str) -> Home {
    let home = Home::with_sections(&gmail.api(), &format!("[budget]\n{budget}\n"));
    let key_file = home.path("key.json");
    write_key(&key_file);
    let token_endpoint = format!("{}/token", gmail.oauth_url());
    home.environment("PILLARBOX__UPSTREAM__PROVIDER", "gmail")
        .environment("PILLARBOX__UPSTREAM__TRANSPORT", "gmail-api")
        .environment("PILLARBOX__UPSTREAM__USERNAME", "relay@gmail.com")
        .environment("PILLARBOX__UPSTREAM__AUTH", "service-account")
        .environment("PILLARBOX__UPSTREAM__SERVICE_ACCOUNT_FILE", &key_file.display().to_string())
        .environment("PILLARBOX__UPSTREAM__OAUTH_TOKEN_ENDPOINT", &token_endpoint)
}

fn text(number: usize, to: &str) -> String {
    format!(
        "From: relay@gmail.com\r\nTo: {to}\r\nMessage-ID: <{number}@host.example>\r\nSubject: {number}\r\n\r\nhello\r\n"
    )
}

fn submit(home: &Home, number: usize, recipients: &[&str], to: &str) {
    let reply = Client::hello(home.smtp).mail("relay@gmail.com", recipients, &text(number, to));
    assert!(reply.starts_with("250"), "{reply}");
}

#[test]
fn mail_leaves_over_https_for_exactly_its_recipients_and_the_budget_counts_each() {
    let gmail = Gmail::start();
    let home = home(&gmail, "recipients_per_day = 5\nowner_reserve = 0");
    let daemon = home.start();
    for number in 0..3 {
        submit(
            &home,
            number,
            &["a@x.example", "b@x.example", "c@y.example"],
            "a@x.example, z@x.example",
        );
    }
    assert!(within(PATIENCE, || gmail.recipients() == 5), "{}", tail(&home.log()));
    let status = ask(&home, &["status"]);
    assert_eq!(status["budget"]["spent"], 5, "{status}");
    assert!(gmail.accepted().iter().all(|message| {
        message
            .rcpt_to
            .iter()
            .all(|to| ["a@x.example", "b@x.example", "c@y.example"].contains(&to.as_str()))
    }));
    assert!(gmail.copies().values().all(|copies| copies.len() == 1));
    assert_eq!(gmail.accepted()[0].username.as_deref(), Some("relay@gmail.com"));
    assert!(daemon.terminate(PATIENCE).success());
    assert_eq!(gmail.recipients(), 5);
}

#[test]
fn a_large_message_streams_and_memory_does_not_grow_with_it() {
    const MESSAGE: usize = 24 * 1024 * 1024;
    const GROWTH_MAX: u64 = 8 * 1024 * 1024;
    let gmail = Gmail::start();
    let home = home(&gmail, "recipients_per_day = 500");
    let daemon = home.start();
    submit(&home, 0, &["a@x.example"], "a@x.example");
    assert!(within(PATIENCE, || gmail.recipients() == 1), "{}", tail(&home.log()));
    daemon.forget_peak();
    let before = daemon.memory("VmHWM");
    let line = "0123456789".repeat(7) + "\r\n";
    let large = text(1, "a@x.example") + &line.repeat(MESSAGE / line.len());
    let reply = Client::hello(home.smtp).mail("relay@gmail.com", &["a@x.example"], &large);
    assert!(reply.starts_with("250"), "{reply}");
    assert!(within(PATIENCE, || gmail.recipients() == 2), "{}", tail(&home.log()));
    let grown = daemon.memory("VmHWM").saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} octets more");
    assert!(gmail.accepted()[1].size as usize > MESSAGE - line.len());
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn doctor_goes_the_way_of_the_api_and_spends_nothing() {
    let gmail = Gmail::start();
    let home = home(&gmail, "recipients_per_day = 500");
    let daemon = home.start();
    let output = home.output(["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for (check, seen) in [
        ("upstream-ports", "ms"),
        ("upstream-tls", "certificate good"),
        ("upstream-greeting", "Gmail API"),
        ("login", "there is a token to send as relay@gmail.com"),
    ] {
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["name"] == check).unwrap();
        assert_eq!(found["verdict"], "pass", "{report:#}");
        assert!(found["seen"].as_str().unwrap().contains(seen), "{found}");
    }
    assert_eq!(gmail.recipients(), 0);
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn kills_around_the_last_block_lose_nothing_and_repeat_only_what_was_in_flight() {
    let mut random = fastrand::Rng::with_seed(seed("kills over the API"));
    let gmail = Gmail::start();
    gmail.strike("", Stage::Dot, Failure::Delay(THOUGHT));
    let home = home(&gmail, "recipients_per_day = 500");
    let mut daemon = home.start();
    for number in 0..KILLS {
        submit(&home, number, &["a@x.example", "b@x.example"], "a@x.example");
        std::thread::sleep(Duration::from_millis(random.u64(0..400)));
        daemon.kill();
        daemon = home.start();
    }
    let all = || {
        // What is uncertain waits for minutes; a person may be sooner.
        drop(home.output(["queue", "retry", "--all"]));
        std::thread::sleep(Duration::from_millis(300));
        ask(&home, &["queue", "list", "--all"])["messages"].as_array().is_some_and(Vec::is_empty)
    };
    assert!(within(3 * PATIENCE, all), "{}", tail(&home.log()));
    let copies = gmail.copies();
    assert_eq!(copies.len(), 2 * KILLS, "each recipient has each message");
    assert!(copies.values().all(|copies| copies.len() <= 2), "no more than one repetition");
    assert_eq!(gmail.unexplained_duplicates(), Vec::<String>::new());
    assert!(daemon.terminate(PATIENCE).success());
}
