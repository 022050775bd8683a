//! The list of targets as it is printed.

use super::*;
use crate::{admin::alert::watch::Kind, clock::Timestamp};

#[test]
fn the_list_says_what_waits_and_what_failed_last() {
    let now = Timestamp(1_800_000_000_000);
    let target = |name: &str, failure| TargetState {
        name: name.into(),
        goes_to: "the webhook at ntfy.sh".into(),
        format: Some("ntfy".into()),
        only: vec![Kind::Held, Kind::Account],
        waiting: 2,
        oldest: Some(now),
        last_sent: None,
        next_try: Some(now.after(std::time::Duration::from_secs(60))),
        failure,
    };
    let what = "HTTP status 503\u{1b}[2J".to_owned();
    let failure = crate::admin::alert::outbox::Failure { since: now, at: now, what };
    let targets = vec![target("phone", Some(failure)), target("board", None)];
    let mut out = Vec::new();
    print(&mut out, &Targets { now, targets }).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "phone  the webhook at ntfy.sh (ntfy)  held, account        2  -");
    assert!(lines[4].starts_with("phone (the webhook at ntfy.sh) has not been reached since "));
    assert!(
        lines[4].contains("HTTP status 503") && lines[4].contains("; 2 alerts waiting; next try ")
    );
    assert!(!text.contains('\u{1b}'), "{text}");
    assert_eq!(lines.len(), 5, "{text}");
}
