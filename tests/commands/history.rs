//! Messages that have left the queue: relayed, deleted, expired, sent elsewhere.

use super::*;
use crate::support::gmail::Gmail;

/// A message of one sender to `to`; its id.
fn send(daemon: &crate::support::daemon::Daemon, to: &str, subject: &str) -> String {
    let mut client = Client::hello(daemon.smtp);
    let reply = client.mail("printer@lan.example", &[to], &format!("Subject: {subject}\n\nx\n"));
    let words = reply.split_whitespace();
    let id = words.map(|word| word.trim_matches('.')).find(|word| word.len() == 26);
    id.unwrap_or_else(|| panic!("{reply}")).to_owned()
}

#[test]
fn the_history_tells_of_every_message_how_it_left_the_queue_who_ended_it_and_what_was_said() {
    let gmail = Gmail::start();
    let home = Home::new(&gmail.upstream());
    let daemon = home.start();
    let relayed = send(&daemon, "boss@example.net", "relayed one");
    let refused_id = send(&daemon, "nosuch@example.net", "gone");
    assert!(within(PATIENCE, || say(&home, &["dead", "list"]).contains(&refused_id)));
    assert!(within(PATIENCE, || gmail.recipients() >= 1));
    say(&home, &["dead", "resend", &refused_id, "--to", "new@example.net"]);
    assert!(within(PATIENCE, || say(&home, &["history", "list"]).contains(&refused_id)));

    let shown = say(&home, &["history", "show", &relayed]);
    for words in
        ["ended", ": relayed", "attempts", "250 2.0.0 OK", "to          boss@example.net: relayed"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(say(&home, &["queue", "show", &relayed]), shown, "it is found there as well");
    let end = &json(&home, &["history", "show", &refused_id])["end"];
    assert_eq!(end["how"], "redirected");
    let new = end["new"].as_str().expect("an id");
    assert!(within(PATIENCE, || say(&home, &["history", "list", "--all"]).contains(new)));
    assert!(end["by"].as_str().is_some_and(|by| by.contains("user ")), "{end}");

    let list = say(&home, &["history", "search", "subject:relayed"]);
    assert!(list.contains(&relayed) && !list.contains(&refused_id), "{list}");
    let newest_first = json(&home, &["history", "list"]);
    assert_eq!(newest_first["messages"][0]["id"], new, "{newest_first}");
    let page = say(&home, &["history", "list", "from:printer", "--limit", "1"]);
    assert!(page.contains("`pillarbox history list from:printer --after "), "{page}");
    let ended = |how: &str| json(&home, &["history", "list", &format!("ended:{how}"), "newer:1h"]);
    let found = |how: &str| ended(how)["messages"].as_array().map_or(0, Vec::len);
    let all = newest_first["messages"].as_array().map_or(0, Vec::len);
    let ends = ["redirected", "relayed", "deleted", "expired"].map(found);
    assert_eq!(ends, [1, all - 1, 0, 0], "{newest_first}");
    let counts = say(&home, &["history", "list", "--count-by", "from"]);
    assert!(counts.contains("in all."), "{counts}");
    assert_eq!(
        say(&home, &["history", "list", "from:nobody"]),
        "No message is found by from:nobody.\n"
    );
    let words = refused(&home, &["history", "show", "00000000000000000000000000"], 65);
    assert!(
        words.contains("there is no message 00000000000000000000000000 in the history"),
        "{words}"
    );
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_relayed_message_whose_octets_are_kept_is_sent_again_as_a_new_message_that_counts() {
    let gmail = Gmail::start();
    let home = Home::new(&gmail.upstream()).environment("PILLARBOX__QUEUE__KEEP_RELAYED", "1d");
    let daemon = home.start();
    let id = send(&daemon, "boss@example.net", "the invoice");
    assert!(within(PATIENCE, || say(&home, &["history", "list"]).contains(&id)));
    let kept = home.state().join("kept").join(&id);
    assert!(within(PATIENCE, || kept.exists()), "its octets are kept");
    let octets = home.output(["queue", "cat", &id]).stdout;
    assert!(octets.starts_with(b"Subject: the invoice\r\n"), "{octets:?}");

    let told = say(&home, &["history", "resend", &id]);
    assert!(told.starts_with(&format!("{id} goes to boss@example.net once more as ")), "{told}");
    let to = ["history", "resend", &id, "--to", "new@example.net", "other@example.net", "--json"];
    let answer: Value = serde_json::from_str(&say(&home, &to)).expect("JSON");
    let new = answer["new"].as_str().expect("an id").to_owned();
    assert!(within(PATIENCE, || gmail.recipients() == 4));
    assert!(within(PATIENCE, || json(&home, &["history", "list"])["messages"]
        .as_array()
        .is_some_and(|all| all.len() == 3)));
    let shown = json(&home, &["history", "show", &new]);
    assert_eq!(
        (&shown["resend_of"], &shown["end"]["how"]),
        (&id.as_str().into(), &"relayed".into())
    );
    assert_eq!(json(&home, &["budget"])["spent"], 4, "each recipient counts");
    assert!(gmail.unexplained_duplicates().len() <= 1, "only what was asked for twice");
    let words = refused(&home, &["history", "resend", &id, "--to", "nobody"], 65);
    assert!(words.contains("is not an address: it has no domain"), "{words}");
    assert!(daemon.terminate(PATIENCE).success());

    let check = say(&home, &["store", "check"]);
    assert!(
        check.contains("3 bodies of relayed messages kept")
            && check.contains("Everything is whole."),
        "{check}"
    );
    let target = home.path("taken.mbox");
    let target = target.to_str().expect("a path");
    let export = say(&home, &["store", "export", "--format", "mbox", "--to", target]);
    assert!(
        export.contains("3 messages in kept left there: relayed already")
            && export.contains("0 messages written"),
        "{export}"
    );
    fs::remove_dir_all(home.state().join("queue.sled")).expect("the index");
    let daemon = home.start();
    assert_eq!((queue_length(&home), gmail.recipients()), (0, 4), "nothing is sent by itself");
    let words = refused(&home, &["history", "resend", &id], 65);
    assert!(words.contains("there is no message"), "{words}");
    assert!(daemon.terminate(PATIENCE).success());
}
