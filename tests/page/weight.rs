//! The weight of the documents, with a queue that is long and whose mail is as wordy as it may be.

use std::thread;

use super::Stage;
use crate::support::client::Client;

/// What a person on a slow line may have to wait for.
const OCTETS_MAX: usize = 100_000;
const CLIENTS: usize = 20;
const MESSAGES: usize = 10_000;

#[test]
fn no_document_weighs_100_kb_with_10_000_messages_in_the_queue() {
    let stage = Stage::new();
    let address =
        |name: &str| format!("{}@{}.example.org", name.repeat(60 / name.len()), "long".repeat(15));
    let (sender, recipient) = (address("printer"), address("people"));
    let subject = "a subject with \"quotes\" & <marks> that goes on and on; ".repeat(15);
    let message = format!("Subject: {subject}\n\nx");
    let (sender, message) = (sender.as_str(), message.as_str());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::hello(stage.daemon.smtp);
                for _ in 0..MESSAGES / CLIENTS {
                    let answer = client.mail(sender, &[&recipient], message);
                    assert!(answer.starts_with("250"), "{answer}");
                }
            });
        }
    });
    let mut visitor = stage.visitor(&[]);
    let list = visitor.get("/queue");
    let document = format!("/messages/{}", list.fields("id")[0]);
    let paths = ["/", "/queue", "/queue?search=from:printer", "/queue?count=subject", "/history"];
    let others = ["/dead", "/storms", "/budget", "/clients", "/account", "/settings", &document];
    for path in paths.into_iter().chain(others) {
        let answer = visitor.get(path);
        assert_eq!(answer.status, 200, "{path}");
        let octets = answer.body.len();
        assert!(octets < OCTETS_MAX, "{path}: {octets} octets");
    }
}
