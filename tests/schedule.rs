//! A message that a person has scheduled, in the whole daemon on a clock that is advanced, and in every command that says
//! when mail leaves.

use std::time::Duration;

use serde_json::Value;

use crate::support::{client::Client, clocked::Scene, daemon::within};

/// Longer than any of these takes, for a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

/// A daemon that may not send, with so many messages; their ids.
async fn paused(number: usize) -> (Scene, Vec<String>) {
    let scene = Scene::start().await;
    scene.say(&["pause"]);
    let mut client = Client::hello(scene.home.smtp);
    for message in 0..number {
        let text = format!("Subject: number {message}\n\nHello.\n");
        let reply = client.mail("me@example.org", &[&format!("ok{message}@example.net")], &text);
        assert!(reply.starts_with("250 "), "{reply}");
    }
    let list = json(&scene, &["queue", "list"]);
    let ids = list["messages"].as_array().expect("messages").iter();
    let ids = ids.map(|message| message["id"].as_str().expect("an id").to_owned()).collect();
    (scene, ids)
}

fn json(scene: &Scene, arguments: &[&str]) -> Value {
    let answer = scene.say(&[arguments, &["--json"]].concat());
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_message_leaves_days_later_at_its_time_and_every_command_says_so_until_then() {
    let (scene, ids) = paused(2).await;
    let [late, now] = ids.as_slice() else { panic!("{ids:?}") };
    let said = scene.say(&["queue", "schedule", late, "--in", "50h"]);
    assert!(said.contains(" 1 recipient scheduled for "), "{said}");
    scene.say(&["resume"]);
    assert!(within(PATIENCE, || scene.sandbox.mailbox().count() == 1));
    assert!(within(PATIENCE, || !scene.say(&["queue", "list"]).contains(now.as_str())));

    let list = scene.say(&["queue", "list", "state:scheduled"]);
    assert!(list.contains("  is scheduled for "), "{list}");
    assert!(scene.say(&["queue", "list", "state:queued"]).starts_with("No message is found"));
    let shown = scene.say(&["queue", "show", late]);
    assert!(shown.contains("\nscheduled   ") && shown.contains("(in 2 d "), "{shown}");
    assert!(shown.contains(": it is scheduled for that time"), "{shown}");
    let explained = scene.say(&["queue", "explain", late]);
    assert!(
        explained.contains(&format!("pillarbox queue retry {late} sends it now")),
        "{explained}"
    );
    let status = scene.say(&["status"]);
    assert!(status.contains("recipients: 1 scheduled"), "{status}");
    assert!(status.contains(": the first of it is scheduled for then."), "{status}");
    assert!(!status.contains("the oldest that waits"), "it waits for nobody: {status}");
    let message = json(&scene, &["queue", "show", late]);
    let at = message["scheduled_for"].as_i64().expect("a time");
    assert_eq!(message["departure"]["because"], "scheduled");
    assert_eq!(message["departure"]["at"], at);
    assert_eq!(message["recipients"][0]["state"], "scheduled");
    assert_eq!(json(&scene, &["budget", "forecast"])["empty_at"], at);
    assert_eq!(json(&scene, &["status"])["queue"]["recipients"]["scheduled"], 1);
    let counted = json(&scene, &["queue", "list", "--count-by", "state"]);
    assert_eq!(counted["values"][0]["value"], "scheduled");

    for _ in 0..7 {
        scene.clock.advance(HOUR * 7);
        assert_eq!(json(&scene, &["queue", "show", late])["recipients"][0]["attempts"], 0);
    }
    assert_eq!(scene.sandbox.mailbox().count(), 1);
    scene.clock.advance(HOUR);
    scene.advance_until_accepted(2);
    assert!(
        within(PATIENCE, || json(&scene, &["history", "show", late])["end"]["how"] == "relayed")
    );
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_ends_with_a_retry_and_is_made_by_search_for_a_time_that_makes_sense() {
    let (scene, ids) = paused(3).await;
    let said = scene.say(&["queue", "schedule", "subject:number", "--at", "tomorrow 08:00"]);
    assert_eq!(said.matches(" 1 recipient scheduled for ").count(), 3, "{said}");
    assert!(said.contains("\n3 messages scheduled for "), "{said}");
    let dry = scene.say(&["queue", "schedule", "--dry-run", "--all", "--in", "90d"]);
    assert!(dry.contains("3 messages meant; nothing was done."), "{dry}");
    let [held, retried, past] = ids.as_slice() else { panic!("{ids:?}") };
    scene.say(&["queue", "hold", held]);
    let list = scene.say(&["queue", "list", "state:held"]);
    assert!(list.contains("held by a person, then for "), "{list}");
    scene.say(&["resume"]);
    scene.say(&["queue", "retry", retried]);
    assert!(within(PATIENCE, || scene.sandbox.mailbox().count() == 1));
    let said = scene.say(&["queue", "schedule", past, "--at", "2020-01-01T00:00:00Z"]);
    assert!(said.starts_with("That time has passed: what waits is due now.\n"), "{said}");
    assert!(said.contains(" 1 recipient due"), "{said}");
    assert!(within(PATIENCE, || scene.sandbox.mailbox().count() == 2));
    for (arguments, words) in [
        (&["--in", "400d"][..], "is more than 366 days ahead; nothing was changed"),
        (&["--at", "noon"], "write a time such as 14:30"),
        (&["--in", "0s"], "write a time such as 30s"),
        (&[], "--at"),
        (&["--in", "2h", "--at", "14:30"], "cannot be used with"),
    ] {
        let arguments = [&["queue", "schedule", held], arguments].concat();
        let output = scene.home.output(&arguments);
        let error = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success() && error.contains(words), "{arguments:?}: {error}");
    }
    let answer = json(&scene, &["queue", "release", held]);
    assert_eq!(answer["departure"]["because"], "scheduled", "{answer}");
    assert_eq!(json(&scene, &["queue", "retry", held])["recipients"], 1);
    assert!(within(PATIENCE, || scene.sandbox.mailbox().count() == 3));
    scene.stop().await;
}
