//! The octets of a message: as it was taken, and as the upstream gets it.

use super::*;
use crate::support::gmail::Gmail;

fn octets(home: &Home, arguments: &[&str]) -> Vec<u8> {
    let output = home.output(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    output.stdout
}

#[test]
fn what_queue_cat_shows_as_sent_is_what_the_upstream_gets_and_the_rest_is_what_was_taken() {
    let gmail = Gmail::start();
    let unreachable = Upstream { port: free_port(), ..gmail.upstream() };
    let home = Home::new(&unreachable);
    let daemon = home.start();
    // Without Message-ID and Date, with a blind copy, octets of no character set, and longer than a block.
    let body: Vec<u8> = (0..200_000_u32).map(|at| b'!' + (at * 7 % 90) as u8).collect();
    let mut taken = b"From: Printer <printer@lan.example>\r\nBcc: hidden@example.net\r\nSubject: \
                      \x1b[2Jtoner\r\n\r\n\xff\xfe\x1b[31m\r\n"
        .to_vec();
    body.chunks(70).for_each(|line| {
        taken.extend_from_slice(line);
        taken.extend_from_slice(b"\r\n");
    });
    let mut client = Client::hello(daemon.smtp);
    client.begin("printer@lan.example", &["boss@example.net"]);
    let mut stuffed = Vec::new();
    for line in taken.split_inclusive(|octet| *octet == b'\n') {
        stuffed.extend_from_slice(if line.starts_with(b".") { b"." } else { b"" });
        stuffed.extend_from_slice(line);
    }
    client.send(&stuffed);
    client.send(b".\r\n");
    assert!(client.reply().starts_with("250 "));
    drop(client);
    let list = json(&home, &["queue", "list"]);
    let id = list["messages"][0]["id"].as_str().expect("an id").to_owned();

    assert!(octets(&home, &["queue", "cat", &id]) == taken, "every octet that was sent");
    let as_sent = octets(&home, &["queue", "cat", "--as-sent", &id]);
    let shown = String::from_utf8_lossy(&as_sent);
    for (words, is_there) in [
        ("relay@gmail.com", true),
        ("Received: from", true),
        ("Message-ID:", true),
        ("hidden@example.net", false),
    ] {
        assert_eq!(shown.contains(words), is_there, "{words}: {}", &shown[..600]);
    }
    let words = refused(&home, &["queue", "cat", &id, "--json"], 64);
    assert!(words.contains("leave --json out"), "{words}");
    assert!(daemon.terminate(PATIENCE).success());

    home.configure(&gmail.upstream(), "");
    let daemon = home.start();
    say(&home, &["resume"]);
    assert!(within(PATIENCE, || gmail.recipients() == 1));
    let got = &gmail.accepted()[0];
    let shown = (as_sent.len() as u64, crc32fast::hash(&as_sent));
    assert_eq!((got.size, got.crc32), shown, "what was shown is what has left");
    assert!(within(PATIENCE, || queue_length(&home) == 0));
    let words = refused(&home, &["queue", "cat", &id], 65);
    assert!(words.contains("has left the queue, and its octets went with it"), "{words}");
    let unknown = refused(&home, &["queue", "cat", "00000000000000000000000000"], 65);
    assert!(unknown.contains("there is no message"), "{unknown}");
    assert!(daemon.terminate(PATIENCE).success());
}
