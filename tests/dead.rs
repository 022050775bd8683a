//! Mail that cannot be relayed, from the client to the notice and back to a recipient.
//!
//! Rule: the whole daemon with its real queue, in this process, so that the test moves its clock; the
//! administrator's commands are the real binary. Must not know how the queue stores dead letters.

use std::time::Duration;

use crate::support::{
    client::Client,
    clocked::{ADMIN, Scene},
    daemon::within,
};

/// Longer than any of these takes, for a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);
const LOGIN: &str = "you@gmail.com";

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_listed_and_told_of_and_reaches_another_address() {
    let scene = Scene::start().await;
    assert_eq!(scene.say(&["dead", "list"]), "There are no dead letters.\n");
    let mut client = Client::hello(scene.home.smtp);
    let reply =
        client.mail("printer@example.org", &["nosuch@example.net"], "Subject: Toner\n\nlow\n");
    assert!(reply.starts_with("250 "), "{reply}");
    drop(client);

    assert!(within(PATIENCE, || scene.say(&["dead", "list"]).contains("nosuch@example.net")));
    let list = scene.say(&["dead", "list"]);
    assert!(list.contains("550 5.1.1"), "with the reply: {list}");
    let id =
        list.lines().nth(1).and_then(|line| line.split_whitespace().next()).unwrap().to_owned();
    let shown = scene.say(&["dead", "show", &id]);
    assert!(shown.contains("nosuch@example.net: ") && shown.contains("\nclient      "), "{shown}");
    assert!(shown.contains("[127.0.0.1]"), "who handed it over: {shown}");

    scene.advance_until_accepted(1);
    let accepted = scene.sandbox.mailbox().accepted();
    let notice = &accepted[0];
    assert_eq!(
        (notice.mail_from.as_str(), notice.rcpt_to.as_slice()),
        ("", &[ADMIN.to_owned()][..])
    );
    let text = String::from_utf8_lossy(&notice.body);
    for words in [
        "multipart/report",
        "Subject: [relay.example.org] Mail could not be relayed: Toner",
        "message/delivery-status",
        "Final-Recipient: rfc822; nosuch@example.net",
        "Status: 5.1.1",
        "text/rfc822-headers",
        LOGIN,
        id.as_str(),
    ] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
    assert!(!text.contains("X-Original-From"), "its From leaves as it was written:\n{text}");
    let shown = scene.say(&["queue", "show", &id]);
    assert!(shown.contains(&format!(", failed to {ADMIN} as ")), "{shown}");

    let moved = scene.say(&["dead", "resend", &id, "--to", "ok@example.net"]);
    assert!(moved.starts_with(&format!("{id} goes to ok@example.net as ")), "{moved}");
    scene.sandbox.mailbox().wait_for(2, PATIENCE).await.unwrap();
    let accepted = scene.sandbox.mailbox().accepted();
    assert_eq!(
        (accepted[1].mail_from.as_str(), accepted[1].rcpt_to[0].as_str()),
        (LOGIN, "ok@example.net")
    );
    assert!(String::from_utf8_lossy(&accepted[1].body).contains("Subject: Toner"));
    assert_eq!(scene.say(&["dead", "list"]), "There are no dead letters.\n");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_of_which_two_answers_were_lost_is_told_of_once_and_goes_when_its_time_is_over() {
    let scene = Scene::start().await;
    let mut client = Client::hello(scene.home.smtp);
    let reply =
        client.mail("printer@example.org", &["dropdot@example.net"], "Subject: Toner\n\nlow\n");
    assert!(reply.starts_with("250 "), "{reply}");
    drop(client);
    let held = || scene.say(&["queue", "list", "--state", "held"]);
    scene.advance_until(|| held().contains("dropdot@example.net"));
    let list = held();
    let id =
        list.lines().nth(1).and_then(|line| line.split_whitespace().next()).unwrap().to_owned();
    let notices = || {
        let accepted = scene.sandbox.mailbox().accepted();
        accepted.into_iter().filter(|one| one.mail_from.is_empty()).collect::<Vec<_>>()
    };
    scene.advance_until(|| !notices().is_empty());
    let notice = &notices()[0];
    assert_eq!(notice.rcpt_to, [ADMIN]);
    let text = String::from_utf8_lossy(&notice.body);
    for words in [
        "Subject: [relay.example.org] Mail may not have arrived: Toner",
        "dropdot@example.net (tried 2 times, may have arrived)",
        "pillarbox queue retry ID",
        id.as_str(),
    ] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
    assert_eq!(scene.say(&["dead", "list"]), "There are no dead letters.\n", "it is not dead");

    scene.clock.advance(Duration::from_secs(29 * 24 * 3600));
    assert!(held().contains(&id), "kept for dead_letter_lifetime");
    scene.clock.advance(Duration::from_secs(2 * 24 * 3600));
    assert!(within(PATIENCE, || !held().contains(&id)), "{}", held());
    assert_eq!(notices().len(), 1, "told once");
    scene.stop().await;
}
