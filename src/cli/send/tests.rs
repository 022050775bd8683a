//! The stages of a test message as they are printed, one look after the other, compared with files.

use super::*;
use crate::cli::printed::{NOW, canned, compare_at_every_width};

const HOSTILE: &str = "GET /v1/queue/06hhgq2g000000005jfavybr7c";

/// The message with each of its recipients in this state.
fn in_state(message: &Message, state: &str) -> Message {
    let mut message = message.clone();
    for recipient in &mut message.recipients {
        recipient.state = state.into();
        recipient.reason = None;
        recipient.last_reply = None;
    }
    message
}

#[test]
fn each_stage_is_told_once_with_the_words_of_the_upstream_and_nothing_in_them_steers() {
    let end: Message = canned(HOSTILE);
    compare_at_every_width("send_wait", |out| {
        let mut told = Told::begin(out, end.id)?;
        let looks = [
            (in_state(&end, "queued"), 0),
            (in_state(&end, "queued"), 300),
            (in_state(&end, "reserved"), 1_500),
            (end.clone(), 65_000),
            (end.clone(), 66_000),
        ];
        looks.into_iter().try_for_each(|(message, elapsed)| {
            told.look(out, &message, Duration::from_millis(elapsed), NOW)
        })
    });
}

#[test]
fn the_exit_code_says_whether_it_was_relayed_refused_or_still_waits() {
    let message: Message = canned(HOSTILE);
    let limit = Duration::from_secs(120);
    assert!(verdict(&in_state(&message, "relayed"), true, limit).is_ok());
    for (state, over, exit) in [
        ("dead", true, Exit::Unhealthy),
        ("held", true, Exit::Unhealthy),
        ("queued", false, Exit::Temporary),
    ] {
        let failure = verdict(&in_state(&message, state), over, limit).unwrap_err();
        assert_eq!(failure.exit, exit, "{state}");
        assert!(failure.message.contains(&message.id.to_string()), "{failure}");
    }
}
