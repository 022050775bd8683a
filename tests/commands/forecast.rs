//! The times at which mail leaves, message by message and hour by hour, while the day is spent.

use std::time::Duration;

use crate::support::{
    client::Client,
    daemon::{Home, within},
    gmail::Gmail,
};

const LIMIT: Duration = Duration::from_secs(30);
const DAY_MS: i64 = 86_400_000;

fn text(home: &Home, arguments: &[&str]) -> String {
    let output = home.output(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(home: &Home, arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&text(home, &[arguments, &["--json"]].concat())).expect("JSON")
}

#[test]
fn each_message_of_a_spent_day_has_its_own_time_and_the_hours_add_up() {
    let gmail = Gmail::start();
    let budget = "[budget]\nrecipients_per_day = 3\nowner_reserve = 0\nnotice_reserve = 0\n";
    let home = Home::with_sections(&gmail.upstream(), budget);
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    let mut send = |number: usize| {
        let text = format!("From: cron@web01\r\nSubject: {number}\r\n\r\nx");
        let reply = client.mail("cron@web01", &["b@example.net"], &text);
        reply.split_whitespace().last().expect("an id").to_owned()
    };
    (0..3).for_each(|number| drop(send(number)));
    assert!(within(LIMIT, || gmail.accepted().len() == 3), "{}", home.log());
    let ids: Vec<String> = (3..8).map(&mut send).collect();
    assert!(within(LIMIT, || text(&home, &["budget"]).contains("none: the next recipient")));
    // A walk through the queue serves for a few seconds.
    let waits = || json(&home, &["budget", "forecast"])["waiting"] == 5;
    assert!(within(LIMIT, waits), "{}", json(&home, &["budget", "forecast"]));

    let explained = |id: &str| json(&home, &["queue", "explain", id]);
    for (number, id) in ids.iter().enumerate() {
        let explained = explained(id);
        let at = explained["message"]["departure"]["at"].as_i64().expect("a time");
        let days = (at - explained["now"].as_i64().unwrap()) as f64 / DAY_MS as f64;
        let expected = if number < 3 { 1.0 } else { 2.0 };
        assert!((days - expected).abs() < 0.01, "message {number}: {days} days, {explained}");
        assert_eq!((&explained["before"], &explained["waiting"]), (&number.into(), &5.into()));
        assert_eq!(explained["message"]["departure"]["because"], "budget");
    }
    let words = text(&home, &["queue", "explain", &ids[4]]);
    for line in [
        "network     127.0.0.0/8, ::1/128 (trusted)",
        "lane        normal",
        "4 of 4 other messages that wait leave before it",
        "raise budget.recipients_per_day",
        "queue cat --as-sent",
    ] {
        assert!(words.contains(line), "{line} is not in\n{words}");
    }

    let forecast = json(&home, &["budget", "forecast"]);
    let sum = |key: &str| -> u64 {
        let hours = forecast["hours"].as_array().expect("hours");
        assert_eq!(hours.len(), 24);
        hours.iter().map(|hour| hour[key].as_u64().expect("a number")).sum()
    };
    assert_eq!((sum("leaving"), sum("freed")), (3, 3), "in the last of the hours: {forecast}");
    let table = text(&home, &["budget", "forecast"]);
    assert!(table.starts_with("3 of 3 recipients spent; 5 recipients wait to leave.\n"), "{table}");
    assert!(table.contains("all of it has left by "), "{table}");
    assert_eq!(table.lines().count(), 2 + 1 + 24, "{table}");
    assert!(table.lines().skip(2).all(|line| line.len() <= 80), "{table}");

    assert_eq!(
        home.output(["queue", "explain", "06h234xmq8000000fda3mr86rw"]).status.code(),
        Some(65)
    );
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
}
