//! Users who share the drop directory: whatever one of them leaves there, the others' mail is taken.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
};

use pillarbox::queue::dropped::new_name;

use super::stage::{Message, leave, leave_as, left, queued, told, wait};
use crate::support::{
    client::Client,
    daemon::{Home, Upstream},
};

/// The relay's user in a test that root runs.
const RELAY: u32 = 61_001;
const MALLORY: u32 = 61_002;
const ALICE: u32 = 61_003;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Leaves a file as somebody else's; the relay reads it through the directory's group, when the mode says so.
fn leave_of(home: &Home, user: u32, mode: u32, message: &Message) {
    let path = home.drop_directory().join(format!("tmp.{}", message.id));
    fs::write(&path, message.file()).unwrap();
    chown(&path, Some(user), Some(RELAY)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(&path, home.drop_directory().join(new_name(message.id))).unwrap();
}

#[test]
fn files_that_the_relay_may_not_read_are_set_aside_and_the_others_are_taken() {
    assert!(is_root() || std::env::var_os("CI").is_none(), "this test needs root");
    if !is_root() {
        return;
    }
    let home = Home::new(&Upstream::nobody());
    let _daemon = home.start_as(RELAY);
    wait(&home, "the directory", || home.drop_directory().is_dir());
    let unreadable: Vec<Message> = (0..5).map(|_| Message::to("x@example.org")).collect();
    unreadable.iter().for_each(|message| leave_of(&home, MALLORY, 0o600, message));
    leave_of(&home, ALICE, 0o640, &Message::to("a@example.org"));
    leave_of(&home, 0, 0o640, &Message::to("r@example.org"));
    wait(&home, "the mail of the others", || queued(&home) == 2);
    wait(&home, "the files set aside", || {
        left(&home).iter().filter(|name| name.starts_with("bad.new.")).count() == 5
    });
    // The work does not wait for the log.
    wait(&home, "the lines", || told(&home, "it cannot be read").len() == 5);
    let lines = told(&home, "it cannot be read");
    assert!(lines.iter().all(|line| line["uid"] == MALLORY), "{lines:?}");
}

#[test]
fn a_flood_of_unusable_files_keeps_nobody_waiting_and_fills_no_log() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    wait(&home, "the directory", || home.drop_directory().is_dir());
    daemon.kill();
    for number in 0..1_200 {
        let name = match number % 3 {
            0 => format!("letter {number}"),
            _ => new_name(Message::to("x@example.org").id),
        };
        leave_as(&home, &name, b"dear relay");
    }
    let message = Message::to("a@example.org");
    let _daemon = home.start();
    leave(&home, &message);
    wait(&home, "the message", || queued(&home) == 1);
    let lines = told(&home, "set aside in the drop directory");
    assert!((1..=20).contains(&lines.len()), "{} lines", lines.len());
    let uid = rustix::process::getuid().as_raw();
    assert!(lines.iter().all(|line| line["uid"] == uid), "{lines:?}");
}

#[test]
fn messages_larger_than_the_room_that_is_left_keep_no_smaller_one_waiting() {
    let home = Home::new(&Upstream::nobody())
        .environment("PILLARBOX__LISTENER__MAX_MESSAGE_BYTES", "1000KiB")
        .environment("PILLARBOX__QUEUE__MAX_BYTES", "1MiB");
    let daemon = home.start();
    wait(&home, "the directory", || home.drop_directory().is_dir());
    let filling = format!("Subject: x\n\n{}", format!("{}\n", "x".repeat(99)).repeat(9_000));
    let reply = Client::hello(daemon.smtp).mail("me@example.org", &["a@example.org"], &filling);
    assert!(reply.starts_with("250 "), "{reply}");
    let body = format!("{}\r\n", "y".repeat(99)).repeat(3_000);
    let large: Vec<Message> = (0..4).map(|_| Message::with_body("b@example.org", &body)).collect();
    large.iter().for_each(|message| leave(&home, message));
    leave(&home, &Message::to("c@example.org"));
    wait(&home, "the small one", || queued(&home) == 2);
    let late = Message::to("d@example.org");
    leave(&home, &late);
    wait(&home, "the late one", || queued(&home) == 3);
    let mut expected: Vec<String> = large.iter().map(|message| new_name(message.id)).collect();
    expected.sort();
    assert_eq!(left(&home), expected, "nothing is lost");
}

#[test]
fn an_id_that_a_caller_still_holds_keeps_only_its_own_file_waiting() {
    let home = Home::new(&Upstream::nobody());
    let _daemon = home.start();
    wait(&home, "the directory", || home.drop_directory().is_dir());
    let held = Message::to("a@example.org");
    // The last octet never comes.
    let (mut local, _) = super::stage::Local::connect(&home.submit_socket()).unwrap();
    for command in [
        "EHLO localhost".to_owned(),
        format!("MAIL FROM:<me@example.org> XQUEUEID={}", held.id),
        "RCPT TO:<a@example.org>".to_owned(),
    ] {
        assert!(local.command(&command).unwrap().starts_with("250"), "{command}");
    }
    local.send(b"BDAT 1000 LAST\r\nSubject: x\r\n").unwrap();
    leave(&home, &held);
    leave(&home, &Message::to("b@example.org"));
    wait(&home, "the other message", || queued(&home) == 1);
    drop(local);
    wait(&home, "the held one", || queued(&home) == 2 && left(&home).is_empty());
}
