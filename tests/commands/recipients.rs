//! One recipient of a message: held, given up, and what is said of it.

use super::*;

#[test]
fn one_recipient_is_held_or_deleted_and_the_others_wait_on() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    assert!(within(PATIENCE, || home.output(["pause", "a test"]).status.success()));
    let mut client = Client::hello(daemon.smtp);
    let recipients = ["first@example.org", "second@example.org", "third@example.org"];
    client.mail("me@example.org", &recipients, "Subject: x\n\nHello.\n");
    let list = json(&home, &["queue", "list"]);
    let id = list["messages"][0]["id"].as_str().expect("an id");
    let waits = || home.output(["queue", "retry", id]).status.success();
    assert!(within(PATIENCE, waits), "an attempt may be under way");

    let held = say(&home, &["queue", "hold", id, "--recipient", "second@example.org"]);
    assert_eq!(held, format!("{id} 1 recipient held\n"));
    let deleted = say(&home, &["queue", "delete", id, "--recipient", "first@example.org"]);
    assert_eq!(deleted, format!("{id} 1 recipient deleted\n"));
    let shown = json(&home, &["queue", "show", id]);
    let states = [0, 1, 2].map(|place| shown["recipients"][place]["state"].clone());
    assert_eq!(states, ["dead", "held", "queued"], "{shown:#}");
    let journey = say(&home, &["queue", "show", id]);
    assert!(journey.contains("deleted by a person"), "{journey}");
    let status = json(&home, &["status"]);
    assert_eq!(status["queue"]["recipients"]["dead"], 0, "no dead letter: {status:#}");
    assert_eq!(say(&home, &["dead", "list"]), "There are no dead letters.\n");

    let wrong = home.output(["queue", "delete", id, "--recipient", "first@example.org"]);
    let words = stdout(&wrong);
    assert!(
        wrong.status.code() == Some(65) && words.contains("it has no such recipient"),
        "{words}"
    );
    let by_search = ["queue", "hold", "from:me", "--recipient", "third@example.org"];
    assert!(refused(&home, &by_search, 64).contains("named by their ids"));
    refused(&home, &["queue", "delete", "--all", "--recipient", "third@example.org"], 64);

    let gone = json(&home, &["queue", "delete", id, "--recipient", "second@example.org"]);
    assert_eq!((&gone["deleted"], &gone["recipients"]), (&true.into(), &1.into()));
    say(&home, &["queue", "delete", id, "--recipient", "third@example.org"]);
    assert_eq!(queue_length(&home), 0);
    let history = json(&home, &["history", "show", id]);
    assert_eq!(history["end"]["how"], "deleted", "{history:#}");
    assert!(daemon.terminate(PATIENCE).success());
}
