//! The daemon dies by SIGKILL while mail is handed over: whatever was handed over is sent, and once.
//!
//! Nobody is upstream while the daemon is killed, so that every copy is one of the hand-over and none of SMTP's own
//! window behind the final dot.

use std::{fs, time::Duration};

use super::stage::{Message, hand_over, hand_over_deaf, leave, left, make_directory, wait};
use crate::support::{
    daemon::{Home, Upstream},
    gmail::Gmail,
    outage::{PLENTY, budget, home_without_brakes, queue_list, seed},
};

const KILLS: usize = 12;
const MESSAGES: usize = 40;
/// Large enough that a kill meets some of them half read.
const BODY_LINES: usize = 5_000;

fn message(number: usize) -> Message {
    let lines = if number.is_multiple_of(4) { BODY_LINES } else { 1 };
    Message::with_body(
        &format!("r{number}@example.org"),
        &format!("{}\r\n", "x".repeat(98)).repeat(lines),
    )
}

/// Starts the relay with an upstream, and looks that each message is there once.
fn expect_each_once(home: &Home, messages: &[Message]) {
    let gmail = Gmail::start();
    home.configure(&gmail.upstream(), &budget(PLENTY));
    let _daemon = home.start();
    wait(home, "the arrival of all", || {
        gmail.accepted().len() >= messages.len() && queue_list(home).is_empty()
    });
    let copies: Vec<usize> = messages.iter().map(|message| message.copies(&gmail)).collect();
    assert_eq!(copies, vec![1; messages.len()]);
    assert_eq!(gmail.accepted().len(), messages.len());
    let text_is_whole = |message: &Message| {
        gmail.accepted().iter().any(|arrived| arrived.body.ends_with(message.text.as_bytes()))
    };
    assert!(messages.iter().all(text_is_whole), "every octet arrives");
}

#[test]
fn files_of_the_drop_directory_are_sent_once_each_through_kills() {
    let mut random = fastrand::Rng::with_seed(seed("drop directory"));
    let home = home_without_brakes(&Upstream::nobody(), PLENTY);
    make_directory(&home);
    let messages: Vec<Message> = (0..MESSAGES).map(message).collect();
    let mut waiting = messages.iter();
    for _ in 0..KILLS {
        waiting.by_ref().take(MESSAGES.div_ceil(KILLS)).for_each(|message| leave(&home, message));
        let daemon = home.start();
        std::thread::sleep(Duration::from_millis(random.u64(0..120)));
        daemon.kill();
    }
    let daemon = home.start();
    wait(&home, "the removal of all", || left(&home).is_empty());
    drop(daemon);
    expect_each_once(&home, &messages);
}

#[test]
fn a_caller_that_hears_nothing_hands_over_again_and_the_message_is_sent_once() {
    let mut random = fastrand::Rng::with_seed(seed("local socket"));
    let home = home_without_brakes(&Upstream::nobody(), PLENTY);
    let mut daemon = Some(home.start());
    let messages: Vec<Message> = (0..MESSAGES).map(message).collect();
    for round in messages.chunks(MESSAGES.div_ceil(KILLS)) {
        let (first, others) = round.split_first().expect("a round has messages");
        std::thread::scope(|scope| {
            for message in others {
                let home = &home;
                scope.spawn(move || match hand_over(home, message) {
                    Ok(reply) if reply.starts_with("250") => {}
                    // Down, or killed in the middle: the file under the same id is the second way.
                    Ok(_) | Err(_) => leave(home, message),
                });
            }
            // Whenever the kill comes, this one hears nothing, whether the relay has its message or not.
            let deaf = hand_over_deaf(&home, first).expect("the relay is there and takes it");
            std::thread::sleep(Duration::from_millis(random.u64(0..60)));
            daemon.take().unwrap().kill();
            drop(deaf);
            leave(&home, first);
        });
        daemon = Some(home.start());
    }
    wait(&home, "the removal of all", || left(&home).is_empty());
    drop(daemon);
    expect_each_once(&home, &messages);
}

#[test]
fn a_file_that_outlives_its_removal_is_known_and_not_sent_again() {
    // What is found when the daemon dies, or the power fails, between the receipt and the removal of the file.
    let home = home_without_brakes(&Upstream::nobody(), PLENTY);
    make_directory(&home);
    let message = message(1);
    leave(&home, &message);
    let daemon = home.start();
    wait(&home, "the removal", || left(&home).is_empty());
    daemon.kill();
    leave(&home, &message);
    let daemon = home.start();
    wait(&home, "the second removal", || left(&home).is_empty());
    drop(daemon);
    // The same when the index, with all records, is lost as well.
    fs::remove_dir_all(home.state().join("queue.sled")).unwrap();
    leave(&home, &message);
    let daemon = home.start();
    wait(&home, "the third removal", || left(&home).is_empty());
    drop(daemon);
    expect_each_once(&home, &[message]);
}
