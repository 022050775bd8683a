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
