//! A file of the drop directory that goes to some of its recipients only: nobody is lost, nobody has it twice, also when
//! the relay dies on the way or is configured anew.

use std::fs;

use pillarbox::queue::dropped::{Contents, Head, Rest, new_name};

use super::stage::{Message, hand_over, leave_as, left, make_directory, told, wait};
use crate::support::{
    daemon::{Home, Upstream},
    outage::ask,
};

const FIVE: [&str; 5] =
    ["a@example.org", "b@example.org", "c@example.org", "d@example.org", "e@example.org"];

/// Who gets mail that is in the queue, sorted: somebody who is there twice has it twice.
fn recipients(home: &Home) -> Vec<String> {
    let page = ask(home, &["queue", "list", "--all"]);
    let messages = page["messages"].as_array().expect("a list");
    let all = messages.iter().flat_map(|message| message["recipients"].as_array().expect("a list"));
    let mut all: Vec<String> =
        all.map(|one| one["address"].as_str().expect("an address").to_owned()).collect();
    all.sort();
    all
}

fn home_with(max_recipients: usize) -> Home {
    Home::new(&Upstream::nobody())
        .environment("PILLARBOX__LISTENER__MAX_RECIPIENTS", &max_recipients.to_string())
}

#[test]
fn more_recipients_than_a_transaction_takes_all_have_their_mail_once() {
    let home = home_with(2);
    let _daemon = home.start();
    wait(&home, "the directory", || home.drop_directory().is_dir());
    let message = Message::to("nobody@example.org");
    leave_as(&home, &new_name(message.id), &message.file_for(&FIVE));
    wait(&home, "all recipients", || recipients(&home) == FIVE);
    wait(&home, "the removal", || left(&home).is_empty());
    let uid = rustix::process::getuid().as_raw();
    for accepted in told(&home, "accepted") {
        assert_eq!(accepted["uid"], uid, "the owner is known of a file that was written anew");
    }
    let ids: Vec<String> =
        told(&home, "accepted").iter().map(|line| line["id"].to_string()).collect();
    assert_eq!(ids.len(), 3, "each part has an id of its own: {ids:?}");
}

#[test]
fn what_is_set_aside_holds_the_refused_recipients_only_and_can_be_renamed_back() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    wait(&home, "the directory", || home.drop_directory().is_dir());
    let message = Message::to("nobody@example.org");
    let to = ["a@example.org", "root", "b@example.org", "alice"];
    leave_as(&home, &new_name(message.id), &message.file_for(&to));
    let is_aside = || matches!(&left(&home)[..], [only] if only.starts_with("bad.new."));
    wait(&home, "the file set aside", is_aside);
    let aside = left(&home).remove(0);
    let (contents, _) =
        Contents::read(&fs::read(home.drop_directory().join(&aside)).unwrap()).unwrap();
    assert_eq!(contents.head.recipients, ["RCPT TO:<root>", "RCPT TO:<alice>"]);
    assert_eq!(recipients(&home), ["a@example.org", "b@example.org"]);
    let uid = rustix::process::getuid().as_raw();
    let reason = &told(&home, "set aside in the drop directory")[0];
    assert!(reason.to_string().contains("RCPT TO:<root>: 550"), "{reason}");
    assert_eq!(reason["uid"], uid);
    // Renamed back too early it comes to nothing new; after the cause was mended it comes to those who lack it.
    let back = home.drop_directory().join(aside.strip_prefix("bad.").unwrap());
    fs::rename(home.drop_directory().join(&aside), &back).unwrap();
    wait(&home, "the file set aside again", is_aside);
    drop(daemon);
    let home = home.environment("PILLARBOX__IDENTITY__ADMIN", "admin@example.org");
    fs::rename(home.drop_directory().join(left(&home).remove(0)), &back).unwrap();
    let _daemon = home.start();
    wait(&home, "the removal", || left(&home).is_empty());
    assert_eq!(recipients(&home), ["a@example.org", "admin@example.org", "b@example.org"]);
}

#[test]
fn a_death_between_the_parts_loses_nobody_and_sends_nothing_twice() {
    let home = home_with(2);
    let daemon = home.start();
    wait(&home, "the directory", || home.drop_directory().is_dir());
    let [first, rest] = [(); 2].map(|()| Message::to("a@example.org"));
    assert!(hand_over(&home, &first).unwrap().starts_with("250 "));
    daemon.kill();
    // The first part is in the queue, and its file is still there with those who come later.
    let divided = Contents {
        head: Head { recipients: vec!["RCPT TO:<a@example.org>".into()], ..first.head() },
        rest: Some(Rest { id: rest.id, recipients: vec!["RCPT TO:<b@example.org>".into()] }),
        owner: Some(rustix::process::getuid().as_raw()),
    };
    let bytes = [divided.encode().unwrap(), first.text.clone().into_bytes()].concat();
    leave_as(&home, &new_name(first.id), &bytes);
    let daemon = home.start();
    wait(&home, "the removal", || left(&home).is_empty());
    assert_eq!(recipients(&home), ["a@example.org", "b@example.org"]);
    daemon.kill();
    // And once more, when the rest has left the directory before the file that it came from.
    leave_as(&home, &new_name(first.id), &bytes);
    let _daemon = home.start();
    wait(&home, "the removal", || left(&home).is_empty());
    assert_eq!(recipients(&home), ["a@example.org", "b@example.org"]);
}

#[test]
fn a_file_that_was_sent_before_the_limits_changed_is_not_divided() {
    let home = home_with(5);
    make_directory(&home);
    let message = Message::to("nobody@example.org");
    leave_as(&home, &new_name(message.id), &message.file_for(&FIVE));
    let daemon = home.start();
    wait(&home, "the removal", || left(&home).is_empty());
    assert_eq!(recipients(&home), FIVE);
    daemon.kill();
    let home = home.environment("PILLARBOX__LISTENER__MAX_RECIPIENTS", "2");
    leave_as(&home, &new_name(message.id), &message.file_for(&FIVE));
    let _daemon = home.start();
    wait(&home, "the removal", || left(&home).is_empty());
    assert_eq!(recipients(&home), FIVE);
}

#[test]
fn a_crowd_of_refused_recipients_keeps_nobody_behind_it_waiting() {
    let home = Home::new(&Upstream::nobody());
    let _daemon = home.start();
    wait(&home, "the directory", || home.drop_directory().is_dir());
    let message = Message::to("nobody@example.org");
    let mut to: Vec<String> = (0..3_000).map(|number| format!("nobody{number}")).collect();
    to.push("a@example.org".into());
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    leave_as(&home, &new_name(message.id), &message.file_for(&to));
    wait(&home, "the one who can be written to", || recipients(&home) == ["a@example.org"]);
    wait(&home, "the others set aside", || {
        !left(&home).is_empty() && left(&home).iter().all(|name| name.starts_with("bad."))
    });
}
