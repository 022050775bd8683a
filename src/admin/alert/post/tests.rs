//! The post after restarts, whenever the process ended: each test begins a new post with the file of the last one.

use std::fs;

use super::*;
use crate::{
    admin::alert::{
        outputs::Way,
        watch::{Kind, State},
    },
    clock::{Clock as _, ManualClock},
};

const START: Timestamp = Timestamp(1_800_000_000_000);
const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

fn target(name: &str, only: &[Kind]) -> Target {
    Target { name: name.into(), way: Way::Command(vec!["true".into()]), only: only.to_vec() }
}

fn alert(kind: Kind, subject: &str) -> Alert {
    let (host, remedy) = ("web01".into(), String::new());
    Alert { kind, state: State::Begins, host, at: START, subject: subject.into(), remedy }
}

fn told(checks: &[&str]) -> Told {
    let checks = checks.iter().map(|name| (*name).to_owned()).collect();
    Told { checks, ..Told::default() }
}

fn subjects(post: &Post, target: &Target) -> Vec<String> {
    post.outbox(target).waiting.iter().map(|alert| alert.subject.clone()).collect()
}

#[tokio::test]
async fn what_waits_and_what_was_told_survives_a_restart_and_what_was_sent_is_not_sent_again() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(START);
    let targets = [target("phone", &[]), target("board", &[Kind::Held])];
    let [phone, board] = &targets;
    let first = Post::in_directory(directory.path());
    first.serve(&targets);
    let alerts = [alert(Kind::Held, "held"), alert(Kind::Account, "paused")];
    first.add(&alerts, told(&["login"]), &targets).await;
    assert_eq!(subjects(&first, board), ["held"], "it wants no other kind");
    let next = first.next(phone, clock.now()).unwrap();
    // Killed between the sending and the mark: it is sent once more.
    let killed = Post::in_directory(directory.path());
    assert_eq!(killed.next(phone, clock.now()).unwrap(), next);
    first.sent(phone, &next, START).await;

    let second = Post::in_directory(directory.path());
    second.serve(&targets);
    assert_eq!(second.told(), told(&["login"]));
    assert_eq!(subjects(&second, phone), ["paused"]);
    assert_eq!(subjects(&second, board), ["held"]);
}

#[tokio::test]
async fn the_power_may_fail_while_the_file_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let targets = [target("phone", &[])];
    let post = Post::in_directory(directory.path());
    post.serve(&targets);
    post.add(&[alert(Kind::Store, "one")], told(&[]), &targets).await;
    let whole = fs::read(directory.path().join(FILE)).unwrap();
    for length in 0..whole.len() {
        // The new file is torn, the old one is still there.
        fs::write(directory.path().join("alerts.new"), &whole[..length]).unwrap();
    }
    let post = Post::in_directory(directory.path());
    post.serve(&targets);
    assert_eq!(subjects(&post, &targets[0]), ["one"]);
    post.add(&[alert(Kind::Store, "two")], told(&[]), &targets).await;
    assert_eq!(subjects(&Post::in_directory(directory.path()), &targets[0]), ["one", "two"]);
}

#[tokio::test]
async fn a_damaged_file_costs_no_alert_and_one_of_a_newer_program_stays() {
    let targets = [target("phone", &[])];
    for (found, stays) in [("", false), ("{", false), ("{\"version\":2}", true)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        fs::write(&path, found).unwrap();
        let post = Post::in_directory(directory.path());
        post.serve(&targets);
        post.add(&[alert(Kind::Store, "one")], told(&[]), &targets).await;
        assert_eq!(subjects(&post, &targets[0]), ["one"], "{found}");
        assert_eq!(fs::read_to_string(&path).unwrap() == found, stays, "{found}");
    }
}

#[tokio::test]
async fn what_waits_is_bounded_in_number_octets_and_age() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(START);
    let targets: Vec<Target> = (0..16).map(|number| target(&format!("t{number}"), &[])).collect();
    let post = Post::in_directory(directory.path());
    post.serve(&targets);
    let long = "\u{1b}".repeat(10_000);
    let alerts: Vec<Alert> = (0..100).map(|_| alert(Kind::Store, &long)).collect();
    post.add(&alerts, told(&[]), &targets).await;
    let length = fs::metadata(directory.path().join(FILE)).unwrap().len();
    assert!(length < FILE_BYTES_MAX / 2, "{length}");
    let again = Post::in_directory(directory.path());
    assert_eq!(subjects(&again, &targets[15]).len(), 20);
    clock.advance(DAY * 8);
    assert_eq!(again.next(&targets[15], clock.now()), None, "what was a week ago is in the log");
}

#[tokio::test]
async fn what_waits_for_a_target_that_is_gone_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let targets = [target("phone", &[])];
    let post = Post::in_directory(directory.path());
    post.serve(&targets);
    post.add(&[alert(Kind::Store, "one")], told(&[]), &targets).await;
    post.serve(&[]);
    assert_eq!(subjects(&post, &targets[0]), Vec::<String>::new());
}
