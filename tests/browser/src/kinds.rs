//! One document of every kind, of a relay in which something of everything has happened.

use crate::{
    relay::Relay,
    window::{Window, stand_before},
};

/// The documents that have a path of their own.
const PATHS: [(&str, &str); 15] = [
    ("start", "/"),
    ("queue", "/queue"),
    ("found", "/queue?search=subject%3Atoner"),
    ("counted", "/queue?count=from"),
    ("not-a-search", "/queue?search=colour%3Ared"),
    ("nothing-found", "/queue?search=from%3Anobody"),
    ("dead", "/dead"),
    ("history", "/history"),
    ("storms", "/storms"),
    ("budget", "/budget"),
    ("clients", "/clients"),
    ("account", "/account"),
    ("settings", "/settings"),
    ("scenarios", "/scenarios"),
    ("error", "/nothing/like/it"),
];

/// Words as strangers send them: long, without a place to break, and of several scripts.
const SUBJECTS: [&str; 5] = [
    "toner low",
    "=?utf-8?B?UsO8Y2t3w6RydHNndXJ0IOKAkyDQv9GA0LjQstC10YIg2YXYsdit2KjYpyDkvaDlpb0=?=",
    "backup-of-the-whole-storage-array-number-0000000000000000000000000000000000000000001-has-ended",
    "Re: Re: Fwd: [all] a long subject that goes on and on about the meeting of the day after tomorrow at ten",
    "<script>alert(1)</script>",
];

/// Who may come in without a link, and how.
const USER: &str = "alice";
const PASSWORD: &str = "six words that nobody else knows";

/// Whose mail is folded where much of it is alike.
const ADMIN: &str = "you@gmail.com";

/// A message with a part of HTML.
const HTML: &str = "Subject: offer\nContent-Type: text/html; charset=utf-8\n\n<h2>An offer</h2><p>Only today.</p>\
    <table><tr><td>Toner</td><td>12</td></tr></table><img alt=\"a printer\">";

/// A relay with relayed mail, a dead letter, a storm, and mail of all sorts that waits and is held.
pub(crate) async fn eventful() -> Relay {
    let relay = Relay::start_with_user(USER, PASSWORD).await;
    for number in 0..3 {
        let message = format!("Subject: report {number}\n\nHello.");
        relay.send("shop@example.org", &["you@example.com", "me@example.com"], &message);
    }
    relay.send("scanner@example.org", &["nosuch@example.com"], "Subject: scan\n\nHello.");
    relay.comes_to(0, 1).await;
    relay.tell(&["pause", "the switch is replaced"]);
    for number in 0..8 {
        let message =
            format!("Subject: [Fail2Ban] sshd: banned 192.0.2.{number} from nas\n\nHello.");
        relay.send("root@nas.example.org", &[ADMIN], &message);
    }
    for number in 0..60 {
        let sender = format!("a-printer-with-a-long-name-{}@printers.example.org", number % 7);
        let message = format!("Subject: {}\n\nHello.", SUBJECTS[number % SUBJECTS.len()]);
        relay.send(&sender, &["the-people-who-care-for-printers@example.com"], &message);
    }
    relay.send("shop@example.org", &["you@example.com"], HTML);
    let list = relay.ask(&["queue", "list"]);
    relay.tell(&["queue", "hold", list["messages"][2]["id"].as_str().expect("an id")]);
    relay
}

/// Shows one document of every kind, with its name.
pub(crate) async fn each(mut look: impl AsyncFnMut(&Window, &str)) {
    let relay = eventful().await;
    stand_before(&relay, &[], async |window, link| {
        for status in [400, 401, 404, 410] {
            window.may_be_refused(status);
        }
        window.at("/").await;
        look(window, "no-session").await;
        window.write("textbox", "Name", USER).await;
        window.write("textbox", "Password", "not this one").await;
        window.press("button", "Log in").await;
        look(window, "not-logged-in").await;
        window.open(link).await;
        look(window, "sign-in").await;
        window.press("button", "Open the page").await;
        for (name, path) in PATHS {
            window.at(path).await;
            look(window, name).await;
        }
        for (name, list) in [("message-waiting", "queue"), ("message-dead", "dead")] {
            let list = relay.ask(&[list, "list"]);
            let id = list["messages"].as_array().and_then(|all| all.last()).unwrap()["id"].clone();
            window.at(&format!("/messages/{}", id.as_str().expect("an id"))).await;
            look(window, name).await;
        }
        let found = relay.ask(&["queue", "list", "subject:offer"]);
        let id = found["messages"][0]["id"].as_str().expect("an id").to_owned();
        window.at(&format!("/messages/{id}/html/1")).await;
        look(window, "html-mail").await;
        window.at("/queue").await;
        window.press("button", "Hold").await;
        look(window, "nothing-chosen").await;
        window.at("/queue").await;
        window.choose("checkbox", "All that are found").await;
        window.press("button", "Delete").await;
        look(window, "question").await;
        window.at("/queue").await;
        window.choose("checkbox", "Choose ").await;
        window.press("button", "Release").await;
        window.press("button", "Yes: Release").await;
        look(window, "report").await;
        window.open(link).await;
        look(window, "used-up").await;
    })
    .await;
}
