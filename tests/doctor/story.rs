//! The story of a relay whose mail nobody missed for 23 days: its password was refused since the first, its sender would
//! have been refused behind that, and the restart that mended it emptied its queue. Here it ends otherwise.
//!
//! Rule: the whole daemon on a clock that is moved, before the look-alike; the commands are the real binary.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use pillarbox::sandbox::{Failure, Options as SandboxOptions, Stage};
use serde_json::Value;

use super::daily::Told;
use crate::support::{client::Client, daemon::within};

const PATIENCE: Duration = Duration::from_secs(30);
const DAYS: usize = 23;
const MAILS: usize = 94;
const RIGHT: &str = "ponm lkji hgfe dcba";
/// What the provider says to a sender that is not the account's.
const NOT_OWNED: &str = "553 5.7.1 Sender address rejected: not owned by user you@gmail.com";

fn mail(told: &Told, number: usize) {
    let mut client = Client::hello(told.home.smtp);
    let text = format!("Subject: mail {number}\n\nhello\n");
    let reply = client.mail("printer@house.example", &["you@example.net"], &text);
    assert!(reply.starts_with("250 "), "{number}: {reply}");
}

fn diagnosis(told: &Told) -> BTreeMap<String, Value> {
    let output = told.home.output(["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1), "it fails");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    findings.iter().map(|one| (one["name"].as_str().unwrap().to_owned(), one.clone())).collect()
}

/// Alerts of this kind.
fn alerts(told: &Told, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(told.home.path("alerts")).unwrap_or_default();
    let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|alert| alert["kind"] == kind).collect()
}

fn waiting(told: &Told) -> u64 {
    let status: Value = serde_json::from_str(&told.say(&["status", "--json"])).unwrap();
    status["queue"]["messages"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_house_relay_whose_password_is_refused_for_23_days_is_heard_of_on_the_first_and_loses_nothing()
 {
    let accounts = BTreeMap::from([("you@gmail.com".to_owned(), RIGHT.replace(' ', ""))]);
    let options = SandboxOptions { accounts, ..SandboxOptions::default() };
    let keep = "[identity]\nfrom = \"keep\"\n[budget]\npace_per_minute = 0\n";
    let told = Told::before(options, keep).await;
    told.sandbox.strike("printer@house.example", Stage::Mail, Failure::Reply(NOT_OWNED.into()));

    // The first day: who listens hears of it, and not by mail, which cannot leave.
    let running = told.start().await;
    mail(&told, 0);
    told.advance_until(5, Duration::from_secs(61), || !alerts(&told, "account").is_empty());
    let first = alerts(&told, "account")[0].to_string();
    assert!(first.contains("535") && first.contains("begins"), "{first}");
    assert_eq!(told.sandbox.mailbox().count(), 0);
    // One command names both faults, the one and the one behind it.
    let found = diagnosis(&told);
    assert_eq!(found["account"]["verdict"], "fail", "{}", found["account"]);
    assert!(found["account"]["seen"].as_str().unwrap().contains("535"), "{}", found["account"]);
    assert_eq!(found["sender"]["verdict"], "warn", "{}", found["sender"]);
    let remedy = found["sender"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("from = \"account\""), "{remedy}");
    assert_eq!(found["login"]["verdict"], "skipped", "a refused password is not tried again");

    // Nobody does anything for 23 days.
    for number in 1..MAILS {
        let step = Duration::from_secs(86_400) * u32::try_from(DAYS).unwrap()
            / u32::try_from(MAILS).unwrap();
        told.clock.advance(step);
        mail(&told, number);
    }
    assert!(alerts(&told, "account").len() > 1, "and hears of it again");
    assert!(told.sandbox.mailbox().counters().login_refusals < 24 * DAYS as u64);
    assert_eq!(waiting(&told), MAILS as u64);

    // Both faults are mended, and the relay is started again: every mail is there, and leaves.
    running.stop().await;
    let text = fs::read_to_string(told.home.config()).unwrap();
    let text = text.replace("from = \"keep\"", "from = \"account\"");
    let text = text.replace("password = \"abcdefghijklmnop\"", &format!("password = {RIGHT:?}"));
    fs::write(told.home.config(), text).unwrap();
    let running = told.start().await;
    told.advance_until(30, Duration::from_secs(600), || waiting(&told) == 0);
    let mut subjects: Vec<String> = told
        .sandbox
        .mailbox()
        .accepted()
        .iter()
        .map(|one| {
            let text = String::from_utf8_lossy(&one.body).into_owned();
            let subject = text.lines().find_map(|line| line.strip_prefix("Subject: "));
            subject.unwrap_or_default().to_owned()
        })
        .filter(|subject| subject.starts_with("mail "))
        .collect();
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), MAILS, "{subjects:?}");
    running.stop().await;
}

#[test]
fn the_start_warns_of_a_queue_that_would_be_gone_after_the_restart() {
    // Memory is such a place on every Linux; that a volume without a name is one is shown with the mounts of such machines.
    let memory = Path::new("/dev/shm");
    assert!(memory.is_dir(), "this test needs /dev/shm");
    let state = tempfile::tempdir_in(memory).unwrap();
    let upstream = crate::support::daemon::Upstream::nobody();
    let home = crate::support::daemon::Home::new(&upstream).state_at(&state.path().join("queue"));
    home.configure(&upstream, "");
    let daemon = home.start();
    let warned =
        || home.log().contains("is on tmpfs, which is empty after a restart of the machine");
    assert!(within(PATIENCE, warned), "{}", home.log());
    let output = home.output(["doctor", "--json", "--check", "store-volume"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["findings"][0]["verdict"], "warn", "{report:#}");
    assert!(daemon.terminate(PATIENCE).success());
}
