//! Mail whose every field tries to break out of its place.

use std::collections::{BTreeMap, BTreeSet};

use pillarbox::sandbox::{Failure, Stage as At};

use super::{LIMIT, Stage, browser::Answer};
use crate::support::{
    daemon::{Home, within},
    gmail::Gmail,
};

/// Ends what it may stand in, begins what it should not, and turns the line around.
const BREAKOUT: &str =
    "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;b&gt;\u{202e}\u{1b}[2J";

#[test]
fn nothing_of_a_message_becomes_a_tag_an_attribute_or_a_control_character() {
    let stage = Stage::new();
    let header = format!(
        "Subject: {BREAKOUT}\r\nFrom: {BREAKOUT} <a@example.org>\r\nX-{}: {BREAKOUT}",
        "Evil"
    );
    stage.submit(
        "\"<script>alert(2)</script>\"@example.org",
        "\"<img src=y>\"@example.net",
        &format!("{header}\r\n\r\n{BREAKOUT}"),
    );
    let id = stage.ids().remove(0);
    let mut visitor = stage.visitor(&[]);
    let paths = ["/", "/queue", "/queue?count=subject", "/queue?count=from", "/clients"];
    let message = format!("/messages/{id}");
    let reflected = "/queue?search=%22%27%3E%3Cscript%3Ealert(3)%3C%2Fscript%3E";
    for path in paths.into_iter().chain([message.as_str(), reflected]) {
        let answer = visitor.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        for tag in ["<script", "<img", "<b>2", "onerror=alert(1)>", "\u{202e}", "\u{1b}"] {
            let body = answer.without_own_script();
            assert!(!body.contains(tag), "{path} has {tag:?}: {body}");
        }
    }
    let shown = visitor.get(&message);
    for said in [shown.text(), stage.say(&["queue", "show", &id]).1] {
        assert!(said.contains("by relay.example.org") && !said.contains("u{9}"), "folded: {said}");
    }
    assert!(
        shown.text().contains("<script>alert(1)</script>"),
        "and yet it is read: {}",
        shown.text()
    );
}

/// What breaks out of a text, an attribute, a tag, a comment, a line or an eye.
const FRAGMENTS: [&str; 14] = [
    "\"",
    "'",
    ">",
    "</td></tr></table>",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "--><!--",
    "&lt;b&gt;&amp;#60;",
    "\u{202e}\u{2066}",
    "\u{1b}[2J\u{7f}",
    "\u{200b}\u{ad}",
    "javascript:alert(1)",
    "]]><svg/onload=alert(1)>",
];

/// Every tag of a document with the names of its attributes.
fn shapes(body: &str) -> BTreeSet<String> {
    let tags = body.split('<').skip(1).map(|tag| tag.split('>').next().unwrap_or_default());
    let shape = |tag: &str| {
        // Of what stands between two quotes nothing is a name.
        let outside: String = tag.split('"').step_by(2).collect::<Vec<_>>().join("\"");
        let mut names: Vec<&str> =
            outside.split([' ', '"', '=']).filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        names.join(" ")
    };
    tags.map(shape).collect()
}

/// What the page of a relay shows in which everything that others can say is made of these words.
fn shown(mut words: impl FnMut() -> String) -> BTreeMap<&'static str, Answer> {
    let gmail = Gmail::start();
    let sections = "[identity]\nadmin = \"admin@example.org\"\n[notices]\nto = \"nobody\"\n";
    let stage = Stage::with(Home::with_sections(&gmail.upstream(), sections));
    let mut submit = |recipient: &str, subject: &str| {
        let header = format!("Subject: {subject}\r\nFrom: {subject} <a@example.org>");
        let message = format!("{header}\r\n\r\n{}", words());
        stage.submit("\"<script>alert(2)</script>\"@example.org", recipient, &message);
        words()
    };
    let mut reply = submit("fine@example.net", "x");
    for number in 0..4 {
        let recipient = format!("dead{number}@example.net");
        reply = submit(&format!("fine{number}@example.net"), &reply);
        gmail.strike(&recipient, At::Rcpt, Failure::Reply(format!("550 5.1.1 {reply}")));
        submit(&recipient, &reply);
    }
    let ended = || {
        let number = |list: &str| stage.json(&[list, "list"])["messages"].as_array().map(Vec::len);
        (number("dead"), number("history")) == (Some(4), Some(5))
    };
    assert!(within(LIMIT, ended), "{}", stage.home.log());
    let reason = submit("admin@example.org", "y");
    let (code, said) = stage.say(&["pause", &reason]);
    assert_eq!(code, Some(0), "{said}");
    for _ in 0..9 {
        submit("admin@example.org", &reason);
    }
    let mut visitor = stage.visitor(&[]);
    let mut answers = BTreeMap::new();
    for path in [
        "/",
        "/queue",
        "/queue?count=subject",
        "/dead",
        "/dead?count=reason",
        "/history",
        "/history?sort=from",
        "/storms",
        "/budget",
        "/clients",
        "/account",
    ] {
        answers.insert(path, visitor.get(path));
    }
    for (list, name) in [("dead", "a dead letter"), ("history", "a relayed message")] {
        let id =
            stage.json(&[list, "list"])["messages"][0]["id"].as_str().expect("an id").to_owned();
        answers.insert(name, visitor.get(&format!("/messages/{id}")));
    }
    answers
}

#[test]
fn whatever_others_say_no_document_gets_a_tag_or_an_attribute_that_it_has_not_with_plain_words() {
    let seed = std::env::var("PILLARBOX_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("PILLARBOX_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let plain = shown(|| "plain words".to_owned());
    let hostile = shown(|| {
        let fragments = (0..random.usize(1..6)).map(|_| FRAGMENTS[random.usize(..FRAGMENTS.len())]);
        format!("<a> {} b", fragments.collect::<Vec<_>>().concat())
    });
    for (name, answer) in &hostile {
        assert_eq!((answer.status, plain[name].status), (200, 200), "{name}: {}", answer.body);
        let (got, expected) = (shapes(&answer.body), shapes(&plain[name].body));
        let more: Vec<&String> = got.difference(&expected).collect();
        assert!(more.is_empty(), "{name} has {more:?}: {}", answer.body);
        let body = answer.without_own_script();
        let deceives = |one: &char| {
            (one.is_control() && *one != '\n') || "\u{202e}\u{2066}\u{200b}\u{ad}".contains(*one)
        };
        assert_eq!(body.chars().find(deceives), None, "{name}: {body}");
    }
    for name in ["/", "/queue", "/dead", "/history", "/storms", "/account"] {
        assert!(hostile[name].body.contains("&lt;a&gt; "), "{name}: {}", hostile[name].body);
    }
}
