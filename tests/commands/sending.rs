//! `pillarbox send`: a test message, and what it says about it.

use super::*;

/// The words of each line, without how long it took.
fn stages(output: &str) -> Vec<&str> {
    output.lines().map(|line| line.get(10..).unwrap_or(line)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_is_followed_until_the_upstream_has_taken_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (sandbox, upstream) = sandbox(&directory).await;
    let home = Home::with_sections(&upstream, "[identity]\nadmin = \"admin@example.net\"\n");
    let daemon = home.start();

    let output = say(&home, &["send", "ok1@example.org", "--wait", "--timeout", "30"]);
    let stages = stages(&output);
    assert!(stages[0].starts_with("queued as "), "{output}");
    let last = stages.last().expect("lines");
    assert!(last.starts_with("relayed to ok1@example.org: 250 2.0.0 OK"), "{output}");

    // Nobody named: whoever reads root's mail.
    let message = json(&home, &["send", "--wait"]);
    assert_eq!(message["recipients"][0]["address"], "admin@example.net");
    assert_eq!(message["recipients"][0]["state"], "relayed");
    let mails = sandbox.mailbox().wait_for(2, PATIENCE).await.expect("both arrive");
    let text = String::from_utf8_lossy(&mails[1].body).into_owned();
    assert!(text.contains("\r\nSubject: Test message of Pillarbox on "), "{text}");
    assert!(text.contains("\r\nTo: ") && text.contains("\r\nFrom: "), "{text}");

    // Without --wait it only says where to look.
    let queued = say(&home, &["send", "ok2@example.org"]);
    let id = queued.split([' ', '.']).nth(2).expect("an id");
    assert!(queued.starts_with("Queued as ") && queued.contains("queue show"), "{queued}");
    assert_eq!(json(&home, &["queue", "show", id])["id"], id);
    assert!(daemon.terminate(PATIENCE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_ends_the_wait_with_the_upstreams_words_said_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_sandbox, upstream) = sandbox(&directory).await;
    let home = Home::new(&upstream);
    let daemon = home.start();
    let output = home.output(["send", "nosuch@example.org", "--wait", "--timeout", "30"]);
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    let shown = stdout(&output);
    let last = *stages(&shown).last().expect("lines");
    assert!(last.starts_with("dead, not relayed to nosuch@example.org: 550 5.1.1 "), "{shown}");
    assert_eq!(last.matches("550 5.1.1").count(), 1, "{shown}");
    assert!(stderr(&output).contains("was not relayed to everybody"), "{}", stderr(&output));
    assert!(daemon.terminate(PATIENCE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_that_waits_says_why_and_stays_queued() {
    let directory = tempfile::tempdir().expect("a directory");
    let (sandbox, upstream) = sandbox(&directory).await;
    let home =
        Home::with_sections(&upstream, "[budget]\nrecipients_per_day = 1\nowner_reserve = 0\n");
    let daemon = home.start();
    say(&home, &["send", "ok1@example.org", "--wait"]);
    let output = home.output(["send", "ok2@example.org", "--wait", "--timeout", "1"]);
    assert_eq!(output.status.code(), Some(75), "{}{}", stdout(&output), stderr(&output));
    let shown = stdout(&output);
    assert!(shown.contains("ok2@example.org waits, leaves "), "{shown}");
    assert!(shown.contains("the 24 h budget is spent"), "{shown}");
    assert!(
        stderr(&output).contains("still waits after 1 s. It stays queued"),
        "{}",
        stderr(&output)
    );
    assert_eq!(queue_length(&home), 1);
    assert_eq!(sandbox.mailbox().count(), 1);
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn without_a_daemon_send_says_so_and_leaves_nothing_behind() {
    let home = Home::new(&Upstream::nobody());
    fs::create_dir(home.drop_directory()).expect("created");
    let words = refused(&home, &["send", "ok1@example.org"], 69);
    assert!(words.contains("cannot hand the message over to the socket "), "{words}");
    assert!(words.contains("Run: pillarbox doctor --check daemon"), "{words}");
    assert_eq!(fs::read_dir(home.drop_directory()).expect("readable").count(), 0);
}
