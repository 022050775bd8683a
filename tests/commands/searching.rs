//! The search language at work: lists, counts, and verbs by search.

use super::*;

/// A daemon whose queue has three messages of two senders that cannot leave.
fn three_messages() -> (Home, crate::support::daemon::Daemon) {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    for (from, to, subject, text) in [
        ("printer@example.org", "boss@example.net", "toner low", "short"),
        (
            "backup@example.org",
            "admin@example.net",
            "=?utf-8?q?B=C3=BCro_12?=",
            &*"long ".repeat(2_000),
        ),
        ("backup@example.org", "boss@example.net", "B\u{fc}ro 34", "short"),
    ] {
        let reply = client.mail(from, &[to], &format!("Subject: {subject}\n\n{text}\n"));
        assert!(reply.starts_with("250 "), "{reply}");
    }
    (home, daemon)
}

/// The subjects of a list, in its order.
fn subjects(home: &Home, words: &[&str]) -> Vec<String> {
    let list = json(home, &[&["queue", "list"], words].concat());
    let messages = list["messages"].as_array().expect("a list");
    messages.iter().filter_map(|message| message["subject"].as_str().map(str::to_owned)).collect()
}

#[test]
fn the_queue_can_be_searched_sorted_and_counted() {
    let (home, daemon) = three_messages();
    let (toner, first, second) = ("toner low", "B\u{fc}ro 12", "B\u{fc}ro 34");
    assert_eq!(subjects(&home, &[]), [toner, first, second]);
    assert_eq!(subjects(&home, &["from:backup"]), [first, second]);
    assert_eq!(subjects(&home, &["from:backup", "-subject:12"]), [second]);
    assert_eq!(subjects(&home, &["b\u{dc}RO", "to:boss", "client:127.0.0.0/8"]), [second]);
    assert_eq!(subjects(&home, &["--sort", "size", "--limit", "1"]), [first]);
    assert_eq!(subjects(&home, &["--sort", "from", "to:boss"]), [second, toner]);
    let page = json(&home, &["queue", "list", "--sort", "size", "--limit", "2"]);
    let after = page["next"].as_str().expect("there is more").to_owned();
    assert_eq!(subjects(&home, &["--sort", "size", "--after", &after]).len(), 1);

    let counts = json(&home, &["queue", "list", "--count-by", "from"]);
    assert_eq!((&counts["messages"], &counts["values"][0]["messages"]), (&3.into(), &2.into()));
    assert_eq!(counts["values"][0]["value"], "backup@example.org");
    let alike = json(&home, &["queue", "list", "--count-by", "subject", "from:backup"]);
    assert_eq!(alike["values"].as_array().map(Vec::len), Some(1), "{alike}");
    assert_eq!(alike["values"][0]["value"], "B\u{fc}ro #");
    for by in ["to", "client", "user", "state", "reason"] {
        let table = say(&home, &["queue", "list", "--count-by", by]);
        assert!(table.contains("MESSAGES") && table.ends_with("in all.\n"), "{table}");
    }
    let nothing = say(&home, &["queue", "list", "from:nobody"]);
    assert_eq!(nothing, "No message is found by from:nobody.\n");
    let mistake = refused(&home, &["queue", "list", "to:boss", "form:backup"], 64);
    assert!(mistake.contains("\n  to:boss form:backup\n          ^^^^"), "{mistake}");
    assert!(mistake.contains("did you mean \"from:\"?"), "{mistake}");
    for command in [&["queue", "list"][..], &["queue", "delete"], &["queue", "retry"]] {
        let misfit = refused(&home, &[command, &["to:boss", "ended:deleted"]].concat(), 64);
        assert!(misfit.contains("\n  to:boss ended:deleted\n          ^^^^"), "{misfit}");
        assert!(misfit.contains("pillarbox history list ended:deleted"), "{misfit}");
    }
    let misfit = refused(&home, &["history", "list", "state:held"], 64);
    assert!(misfit.contains("pillarbox queue list state:held"), "{misfit}");
    let shown = subjects(&home, &["to:admin"]);
    assert_eq!(shown, [first]);
    assert!(daemon.terminate(PATIENCE).success());

    // The subject comes from the record, and a new index has it from the message's file.
    fs::remove_dir_all(home.state().join("queue.sled")).expect("the index");
    let daemon = home.start();
    assert_eq!(subjects(&home, &["from:backup"]), [first, second]);
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_verb_takes_a_search_shows_what_it_means_and_asks_before_it_removes() {
    let (home, daemon) = three_messages();
    let search = ["queue", "delete", "from:backup"];
    let shown = say(&home, &[&search[..], &["--dry-run"]].concat());
    assert!(shown.ends_with("2 messages meant; nothing was done.\n"), "{shown}");
    let refusal = refused(&home, &search, 64);
    assert!(refusal.contains("every message that is found by from:backup"), "{refusal}");
    for words in [&["toner"][..], &["0123456789abcdefghjkmnpq"]] {
        let refusal = refused(&home, &[&["queue", "delete", "--yes"], words].concat(), 64);
        assert!(refusal.contains("is not a queue id"), "{refusal}");
    }
    assert_eq!(queue_length(&home), 3);
    // An attempt may be under way with one of them.
    let delete = || home.output([&search[..], &["--yes"]].concat()).status.success();
    assert!(within(PATIENCE, || delete() && subjects(&home, &[]) == ["toner low"]));
    assert!(within(PATIENCE, || {
        let retried = home.output(["queue", "retry", "subject:toner"]);
        stdout(&retried).contains("\n1 message due")
    }));
    let id = json(&home, &["queue", "list"])["messages"][0]["id"].clone();
    let id = id.as_str().expect("an id");
    let shown = say(&home, &["queue", "show", id]);
    assert!(shown.contains("subject     toner low\n"), "{shown}");
    assert!(shown.contains("header      ") && shown.contains("Subject: toner low\n"), "{shown}");
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn what_a_person_holds_stays_over_a_restart_until_it_is_released() {
    let (home, daemon) = three_messages();
    // An attempt may be under way with one of them.
    let held = || subjects(&home, &["state:held"]).len();
    let hold = || home.output(["queue", "hold", "from:backup", "state:queued"]).status.success();
    assert!(within(PATIENCE, || hold() && held() == 2));
    assert!(say(&home, &["queue", "list", "state:held"]).contains("  held by a person  "));
    assert!(daemon.terminate(PATIENCE).success());
    let daemon = home.start();
    assert_eq!(held(), 2);
    let released = say(&home, &["queue", "release", "to:boss", "state:held"]);
    assert!(released.contains(" 1 recipient due"), "{released}");
    assert_eq!(subjects(&home, &["state:held"]), ["B\u{fc}ro 12"]);
    let shown = json(&home, &["queue", "list", "state:held"]);
    let id = shown["messages"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(json(&home, &["queue", "release", &id])["recipients"], 1);
    assert_eq!(held(), 0);
    assert!(daemon.terminate(PATIENCE).success());
}
