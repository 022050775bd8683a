//! Several accounts in the commands that are about messages and budgets: whose each attempt, day and past is.

use serde_json::Value;

use super::{PATIENCE, json, refused, say};
use crate::support::{
    client::Client,
    daemon::{Home, within},
    gmail::Gmail,
};
use pillarbox::sandbox::{Failure, Stage};

/// Who is written to by the second account, and is refused for now.
const LATER: &str = "later@example.net";

/// The look-alike as two accounts.
fn home(gmail: &Gmail) -> Home {
    let upstream = gmail.upstream();
    let ca_file = upstream.ca_file.as_ref().unwrap().display().to_string();
    let sections = format!(
        "[budget]\npace_per_minute = 0\n[notices]\nto = \"nobody\"\n\
         [[account]]\nname = \"second\"\nhost = {:?}\nport = {}\nca_file = {ca_file:?}\nehlo_name = \"relay.example.org\"\n\
         username = \"second@gmail.com\"\npassword = \"abcd efgh ijkl mnop\"\nrecipients_per_day = 50\nowner_reserve = 0\n\
         pace_per_minute = 0\n\
         [[route]]\nname = \"later\"\nmatch = {{ recipient = \"@example.net\" }}\naccounts = [\"second\"]\n\
         [[route]]\nname = \"all\"\naccounts = [\"main\"]\n",
        upstream.host, upstream.port,
    );
    Home::with_sections(&upstream, &sections)
}

fn id_of(home: &Home, list: &[&str], to: &str) -> Option<String> {
    let found = json(home, list);
    let messages = found["messages"].as_array()?.iter();
    let is_to = |message: &&Value| message["recipients"][0]["address"] == to;
    messages.clone().find(is_to)?["id"].as_str().map(str::to_owned)
}

#[test]
fn an_attempt_a_day_and_a_past_are_said_of_the_account_that_they_are_of() {
    let gmail = Gmail::start();
    gmail.strike(LATER, Stage::Rcpt, Failure::Reply("451 4.3.0 later".into()));
    let home = home(&gmail);
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    for to in [LATER, "ok@example.net", "ok@example.org"] {
        assert!(client.mail("cron@host", &[to], "Subject: x\n\nx").starts_with("250"));
    }
    assert!(within(PATIENCE, || gmail.recipients() == 2), "{}", home.log());
    let tried = || {
        let id = id_of(&home, &["queue", "list"], LATER)?;
        Some(id).filter(|id| say(&home, &["queue", "show", id]).contains("451 4.3.0 later"))
    };
    assert!(within(PATIENCE, || tried().is_some()), "{}", home.log());
    let id = tried().unwrap();
    let text = say(&home, &["queue", "show", &id]);
    assert!(text.contains(", by second: 451 4.3.0 later"), "{text}");
    assert!(text.lines().any(|line| line.split_whitespace().eq(["account", "second"])), "{text}");
    let found = json(&home, &["queue", "show", &id]);
    assert_eq!(
        (&found["account"], &found["attempts"][0]["account"]),
        (&"second".into(), &"second".into())
    );

    let relayed = id_of(&home, &["history", "list"], "ok@example.org").unwrap();
    let found = json(&home, &["history", "show", &relayed]);
    assert_eq!(found["account"], "main", "{found}");
    assert_eq!(found["attempts"][0]["account"], "main", "{found}");

    let text = say(&home, &["budget"]);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = text.lines().map(words).collect();
    assert_eq!(rows[0], ["ACCOUNT", "SPENT", "OF", "ROOM", "NEXT"], "{text}");
    assert_eq!(rows[1][..2], ["main", "1"], "{text}");
    assert_eq!(rows[2][..3], ["second", "1", "50"], "{text}");
    assert!(text.ends_with("\nMore of one: pillarbox budget --account NAME\n"), "{text}");
    let text = say(&home, &["budget", "--account", "second"]);
    assert!(text.contains("1 of 50") && !text.contains("ACCOUNT"), "{text}");

    // Both documents are those of main, with the others beside it.
    for question in [&["budget"][..], &["budget", "forecast"]] {
        let all = json(&home, question);
        let named = json(&home, &[question, &["--account", "second"]].concat());
        assert_eq!((&all["spent"], &all["others"][0]["name"]), (&1.into(), &"second".into()));
        assert_eq!(all["others"].as_array().map(Vec::len), Some(1), "{all}");
        assert_eq!((&all["others"][0]["limit"], &named["limit"]), (&50.into(), &50.into()));
        assert!(all["limit"] != 50 && named.get("others").is_none(), "{all}\n{named}");
    }
    let text = say(&home, &["budget", "forecast"]);
    assert!(text.starts_with("The account main:\n\n1 of "), "{text}");
    assert!(text.contains("\nThe account second:\n\n1 of 50 recipients spent"), "{text}");

    let all = json(&home, &["budget", "simulate"]);
    let accounts = all["accounts"].as_array().unwrap();
    let relayed = |one: &Value| (one["account"].clone(), one["all"]["was"]["relayed"].clone());
    let expected = ["main", "second"].map(|name| (name.into(), 1.into()));
    assert_eq!(accounts.iter().map(relayed).collect::<Vec<_>>(), expected, "{all}");
    let text = say(&home, &["budget", "simulate"]);
    assert!(
        text.starts_with("The account main:\n\n") && text.contains("\nThe account second:\n"),
        "{text}"
    );
    let flags = ["budget", "simulate", "--account", "second", "--recipients-per-day", "20"];
    let one = json(&home, &flags);
    assert_eq!((&one["account"], &one["limit_would"]), (&"second".into(), &20.into()), "{one}");
    assert_eq!(one["changes"][0], "[[account]] second: recipients_per_day = 20");
    let words = refused(&home, &["budget", "simulate", "--account", "third"], 65);
    assert!(words.contains("there is main, second"), "{words}");
}

#[test]
fn with_one_account_none_is_named() {
    let gmail = Gmail::start();
    let home = Home::new(&gmail.upstream());
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    assert!(client.mail("cron@host", &["ok@example.org"], "Subject: x\n\nx").starts_with("250"));
    assert!(within(PATIENCE, || id_of(&home, &["history", "list"], "ok@example.org").is_some()));
    let id = id_of(&home, &["history", "list"], "ok@example.org").unwrap();
    let found = json(&home, &["history", "show", &id]).to_string();
    assert!(!found.contains("\"account\""), "{found}");
    let text = say(&home, &["history", "show", &id]) + &say(&home, &["budget"]);
    assert!(!text.lines().any(|line| line.starts_with("account")), "{text}");
    assert!(!text.contains("ACCOUNT"), "{text}");
    for question in [&["budget"][..], &["budget", "forecast"]] {
        assert!(json(&home, question).get("others").is_none());
    }
    let simulated = json(&home, &["budget", "simulate"]);
    assert!(simulated.get("account").is_none() && simulated.get("all").is_some(), "{simulated}");
}
