//! The start: what came in, left, waits and failed, whatever was restarted meanwhile.

use std::net::SocketAddr;

use super::{LIMIT, Stage};
use crate::support::{
    client::Client,
    daemon::{Home, free_port, within},
    gmail::Gmail,
};

/// A stage whose mail leaves to this look-alike.
fn relaying(gmail: &Gmail) -> Stage {
    let page = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let home =
        Home::new(&gmail.upstream()).environment("PILLARBOX__ADMIN__PAGE", &page.to_string());
    let daemon = home.start();
    Stage { home, daemon, page }
}

#[test]
fn the_start_counts_what_came_in_left_and_was_given_up_also_after_a_restart() {
    let gmail = Gmail::start();
    let stage = relaying(&gmail);
    for recipient in ["nosuch@example.net", "one@example.net", "two@example.net"] {
        stage.submit("a@example.org", recipient, "Subject: x\r\n\r\nx");
    }
    let done = || {
        let counts = |list: &str| stage.json(&[list, "list"])["messages"].as_array().map(Vec::len);
        (counts("dead"), counts("history")) == (Some(1), Some(2))
    };
    assert!(within(LIMIT, done), "{}", stage.home.log());
    let words = [
        "3 recipients accepted in the last 24 hours",
        "2 recipients relayed in the last 24 hours",
        "0 recipients waiting now",
        "1 recipient dead in the last 24 hours",
        "3 recipients accepted in the last 14 days",
    ];
    let told = |stage: &Stage| {
        let start = stage.visitor(&[]).get("/");
        for words in words {
            assert!(start.body.contains(words), "{words:?} in {}", start.body);
        }
        start
    };
    let start = told(&stage);
    let text = start.text();
    let reply = stage.json(&["dead", "list"])["messages"][0]["recipients"][0]["reason"]
        .as_str()
        .expect("a reply")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let failures = text.split_once("Last failures").expect("failures").1;
    assert!(failures.contains(&reply), "{reply:?} in {failures}");
    assert!(text.contains("By lane Recipients Share normal 2 100 %"), "{text}");
    assert!(text.contains("By client Recipients Share 127.0.0.1 2 100 %"), "{text}");
    assert_eq!(start.body.matches("<svg class=\"course\"").count(), 8, "{}", start.body);
    assert_eq!(start.body.matches("<rect class=\"past\"").count(), 24 + 4 * (24 + 14), "each hour");
    assert_eq!(start.body.matches("</title></rect>").count(), 4 * (24 + 14), "each has a title");
    let Stage { home, daemon, page } = stage;
    drop(daemon);
    let daemon = home.start();
    told(&Stage { home, daemon, page });
}

#[test]
fn the_start_names_odd_devices_and_the_last_look_of_the_relay_at_itself() {
    let stage = Stage::new();
    let text = stage.visitor(&[]).get("/").text();
    assert!(text.contains("None since the start of the relay."), "{text}");
    let mut client = Client::hello(stage.daemon.smtp);
    client.mail("a@example.org", &["b@example.net"], "Subject: bare\nline\r\n\r\nx");
    let odd = || {
        let clients = stage.json(&["clients"]);
        !clients["clients"][0]["quirks"].as_object().expect("quirks").is_empty()
    };
    assert!(within(LIMIT, odd), "{}", stage.json(&["clients"]));
    let clients = stage.json(&["clients"]);
    let text = stage.visitor(&[]).get("/").text();
    let shown = text.split_once("Odd devices").expect("odd devices").1;
    for quirk in clients["clients"][0]["quirks"].as_object().expect("quirks").keys() {
        assert!(shown.contains(&format!("127.0.0.1: {quirk}")) || shown.contains(quirk), "{shown}");
    }
    assert!(text.contains("Last look at itself"), "{text}");
}
