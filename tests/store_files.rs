//! `pillarbox store check|export|import` as an administrator types it: what is in the queue comes out in formats
//! that every mail program reads, and goes into another queue as it was.

mod boundary;
mod damage;
mod samples;
mod stage;
mod upgrade;

use std::fs;

use pillarbox::{
    clock::Timestamp,
    queue::{Outcome, state::RecipientState},
};

use self::stage::{NOW, Stage, awkward_messages};
use crate::support::{
    client::Client,
    daemon::{Home, Upstream},
};

/// Every message of `from` is in `to`, octet for octet and recipient for recipient.
fn assert_same(from: &Stage, to: &Stage, states: bool) {
    let (there, here) = (from.carried(), to.carried());
    assert_eq!(there.len(), here.len());
    for (there, here) in there.iter().zip(&here) {
        assert_eq!((there.id, &there.envelope), (here.id, &here.envelope));
        assert!(there.message == here.message, "the octets of {} differ", there.id);
        let addresses = |carried: &pillarbox::queue::offline::portable::PortableMessage| {
            carried.recipients.iter().map(|recipient| recipient.address.clone()).collect::<Vec<_>>()
        };
        assert_eq!(addresses(there), addresses(here));
        assert!(
            !states || there.recipients == here.recipients,
            "{:?} {:?}",
            there.recipients,
            here.recipients
        );
    }
}

#[tokio::test]
async fn what_is_exported_comes_back_as_it_was_in_both_formats() {
    let from = Stage::new();
    let store = from.open();
    for (envelope, message) in awkward_messages() {
        from.accept(&store, envelope, &message).await;
    }
    store.close().await;
    drop(store);
    for format in ["mbox", "maildir"] {
        let target = from.path(format);
        let said = from.say(&["export", "--format", format, "--to", &target]);
        let count = awkward_messages().len();
        assert!(said.contains(&format!("{count} messages written to {target}.")), "{said}");
        let to = Stage::new();
        let said = to.say(&["import", &target]);
        assert!(
            said.starts_with(&format!(
                "{count} messages imported, 0 known before, 0 not imported."
            )),
            "{said}"
        );
        assert_same(&from, &to, true);
        assert!(to.say(&["check"]).contains("Everything is whole."));

        let said = to.say(&["import", &target]);
        assert!(
            said.contains(&format!("0 messages imported, {count} known before, 0 not imported.")),
            "{said}"
        );
        assert_same(&from, &to, true);
    }
}

#[tokio::test]
async fn held_and_dead_mail_comes_in_held_and_nobody_is_written_to_twice() {
    let from = Stage::new();
    let store = from.open();
    let id = from
        .accept(
            &store,
            stage::envelope(&["a@x.example", "b@x.example", "c@x.example"]),
            b"A: b\r\n",
        )
        .await;
    let outcomes = vec![
        (0, Outcome::Relayed { reply: "250 fine".into() }),
        (1, Outcome::Dead { reply: "550 5.1.1 no such user".into() }),
        (2, Outcome::Deferred { until: Timestamp(NOW.0 + 1), reply: "450 later".into() }),
    ];
    from.settle(&store, id, outcomes).await;
    let held = from.accept(&store, stage::envelope(&["d@x.example"]), b"A: b\r\n").await;
    store.hold(held, NOW, "a storm".into()).await.unwrap();
    store.close().await;
    drop(store);
    let target = from.path("all");
    from.say(&["export", "--format", "maildir", "--to", &target]);

    let to = Stage::new();
    to.say(&["import", &target]);
    let states = to.states(id);
    assert!(matches!(states[0], RecipientState::Relayed { .. }), "{states:?}");
    let RecipientState::Held { reason, .. } = &states[1] else { panic!("{states:?}") };
    assert_eq!(reason, "dead before the import: 550 5.1.1 no such user");
    assert_eq!(states[2], RecipientState::Queued { due: Timestamp(NOW.0 + 1), resend: false });
    let RecipientState::Held { reason, .. } = &to.states(held)[0] else { panic!("{states:?}") };
    assert_eq!(reason, "held before the import: a storm");

    let at_once = Stage::new();
    at_once.say(&["import", "--queue", &target]);
    let names: Vec<&str> = at_once.states(id).iter().map(RecipientState::name).collect();
    assert_eq!(names, ["relayed", "queued", "queued"]);
    assert_eq!(at_once.states(held)[0].name(), "queued");

    let some = from.path("some");
    from.say(&["export", "--format", "mbox", "--state", "held", "--to", &some]);
    assert_eq!(fs::read_to_string(&some).unwrap().matches("X-Envelope-Id: ").count(), 1);
}

#[tokio::test]
async fn the_fields_can_be_read_by_people_and_by_other_programs() {
    let from = Stage::new();
    let store = from.open();
    let id = from
        .accept(&store, stage::envelope(&["a@x.example"]), b"Subject: x\r\n\r\nFrom me\r\n")
        .await;
    store.close().await;
    drop(store);
    let target = from.path("mbox");
    from.say(&["export", "--format", "mbox", "--to", &target]);
    let expected = format!(
        "From sender@x.example Fri Jan 15 08:00:00 2027\n\
         X-Envelope-Version: 1\n\
         X-Envelope-Id: {id}\n\
         X-Envelope-Accepted: 2027-01-15T08:00:00.000Z\n\
         X-Envelope-From: <sender@x.example>\n\
         X-Envelope-Parameters: body=7bit\n\
         X-Envelope-Lane: normal\n\
         X-Envelope-Origin: address=192.0.2.7 protocol=ESMTP helo=printer+20cellar\n\
         X-Envelope-To: <a@x.example>\n\
         X-Envelope-Recipient: state=queued due=2027-01-15T08:00:00.000Z attempts=0\n\
         X-Envelope-Content: lines=unix octets=23 crc32=ac2f37a6\n\
         Subject: x\n\n>From me\n\n"
    );
    assert_eq!(fs::read_to_string(&target).unwrap(), expected);
}

#[test]
fn mail_of_other_programs_needs_somebody_to_say_whom_it_is_for() {
    let stage = Stage::new();
    let file = stage.path("old");
    fs::write(
        &file,
        "From me Sat Jan  3 01:05:34 1996\nFrom: me@x.example\nTo: you@x.example\n\nHello.\n",
    )
    .unwrap();
    let said = stage.refused(&["import", &file], 65);
    assert!(
        said.contains("message 1 is not imported") && said.contains("say --recipient ADDRESS"),
        "{said}"
    );
    assert_eq!(stage.carried(), []);

    let said = stage.say(&["import", "--headers", &file]);
    assert!(said.contains("1 message imported"), "{said}");
    stage.say(&[
        "import",
        "--queue",
        "--recipient",
        "b@x.example",
        "--recipient",
        "c@x.example.",
        "--sender",
        "d@x.example.",
        &file,
    ]);
    let [first, second] = &stage.carried()[..] else { panic!("two messages") };
    assert_eq!(second.envelope.reverse_path.as_ref().unwrap().as_str(), "d@x.example");
    assert_eq!(first.message, b"From: me@x.example\r\nTo: you@x.example\r\n\r\nHello.\r\n");
    assert_eq!(first.envelope.reverse_path.as_ref().unwrap().as_str(), "me@x.example");
    assert_eq!(
        (first.recipients[0].address.as_str(), first.recipients[0].state.name()),
        ("you@x.example", "held")
    );
    let names: Vec<_> = second
        .recipients
        .iter()
        .map(|found| (found.address.as_str(), found.state.name()))
        .collect();
    assert_eq!(names, [("b@x.example", "queued"), ("c@x.example", "queued")]);
}

#[test]
fn every_recipient_of_the_fields_gets_a_message_that_is_imported_or_it_is_not() {
    let stage = Stage::new();
    let file = stage.path("old");
    let message = |to: &str| {
        format!("From me Sat Jan  3 01:05:34 1996\nFrom: me@x.example\nTo: {to}\n\nHello.\n\n")
    };
    let both =
        ["B <b@x.example>; C <c@x.example>", "b@x.example, <>, \"C <c@x.example>"].map(message);
    fs::write(&file, both.concat() + &message("b@x.example, c@@x.example")).unwrap();
    let said = stage.refused(&["import", "--headers", &file], 65);
    assert!(said.contains("message 3 is not imported") && said.contains("c@@x.example"), "{said}");
    let carried = stage.carried();
    assert_eq!(carried.len(), 2);
    for message in carried {
        let to: Vec<&str> = message.recipients.iter().map(|found| found.address.as_str()).collect();
        assert_eq!(to, ["b@x.example", "c@x.example"]);
    }
}

#[test]
fn one_file_of_a_maildir_that_cannot_be_read_keeps_no_other_one_out() {
    let stage = Stage::new();
    let maildir = std::path::PathBuf::from(stage.path("maildir"));
    for name in ["cur", "new"] {
        fs::create_dir_all(maildir.join(name)).unwrap();
    }
    fs::File::create(maildir.join("new/1.large")).unwrap().set_len(129 << 20).unwrap();
    fs::write(maildir.join("new/2.small"), "From: me@x.example\nTo: you@x.example\n\nHello.\n")
        .unwrap();
    let said = stage.refused(&["import", "--headers", maildir.to_str().unwrap()], 65);
    assert!(said.contains("1.large is not imported: it cannot be read"), "{said}");
    assert_eq!(stage.carried().len(), 1);
}

#[tokio::test]
async fn a_message_that_was_changed_is_not_imported_and_the_others_are() {
    let from = Stage::new();
    let store = from.open();
    for text in ["one", "two", "three"] {
        from.accept(
            &store,
            stage::envelope(&["a@x.example"]),
            format!("A: b\r\n\r\n{text}\r\n").as_bytes(),
        )
        .await;
    }
    store.close().await;
    drop(store);
    let target = from.path("mbox");
    from.say(&["export", "--format", "mbox", "--to", &target]);
    let text = fs::read_to_string(&target).unwrap();
    fs::write(&target, text.replace("\ntwo\n", "\nzwei\n")).unwrap();
    let to = Stage::new();
    let said = to.refused(&["import", &target], 65);
    assert!(
        said.contains("message 2 is not imported: its text was changed since it was exported"),
        "{said}"
    );
    assert_eq!(to.carried().len(), 2);
}

#[test]
fn what_is_no_mailbox_or_exists_already_is_refused_and_left_alone() {
    let stage = Stage::new();
    stage.say(&["import", &stage.made("empty", b"")]);
    let said = stage.refused(&["import", &stage.made("text", b"Dear all,\n")], 65);
    assert!(said.contains("it is not an mbox"), "{said}");
    let said = stage.refused(&["import", &stage.directory()], 65);
    assert!(said.contains("it is not a Maildir"), "{said}");
    let precious = stage.made("precious", b"keep me");
    for format in ["mbox", "maildir"] {
        let said = stage.refused(&["export", "--format", format, "--to", &precious], 65);
        assert!(said.contains("exists, and nothing is ever written over"), "{said}");
    }
    assert_eq!(fs::read(&precious).unwrap(), b"keep me");
}

#[test]
fn a_route_and_the_account_that_may_have_sent_a_message_come_through_an_export() {
    let sections = "[[account]]\nname = \"second\"\nhost = \"127.0.0.2\"\nport = 9\ntls = \"off\"\nauth = \"none\"\n\n\
                    [[route]]\nname = \"shop\"\naccounts = [\"second\"]\nmatch = { recipient = \"shop@example.net\" }\n";
    let homes = [(); 2].map(|()| Home::with_sections(&Upstream::nobody(), sections));
    let [from, to] = &homes;
    let daemon = from.start();
    let mut client = Client::hello(daemon.smtp);
    for recipient in ["shop@example.net", "b@example.net"] {
        let reply = client.mail("a@example.org", &[recipient], "Subject: x\r\n\r\nx");
        assert!(reply.starts_with("250"), "{reply}");
    }
    daemon.terminate(std::time::Duration::from_secs(30));
    let run = |home: &Home, arguments: &[&str]| {
        let output = home.output(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
    };
    let path = |home: &Home, name: &str| home.path(name).display().to_string();
    let (file, again) = (path(from, "mbox"), path(to, "mbox"));
    run(from, &["store", "export", "--format", "mbox", "--to", &file]);
    let text = fs::read_to_string(&file).unwrap();
    let route = "X-Envelope-Route: shop\n";
    assert_eq!(text.matches(route).count(), 1, "{text}");
    // As after an attempt, which may have been made.
    let tried = format!("{route}X-Envelope-Account: second\n");
    let untried = text.replace(&tried, route);
    fs::write(&file, untried.replace(route, &tried)).unwrap();
    run(to, &["store", "import", &file]);
    run(to, &["store", "export", "--format", "mbox", "--to", &again]);
    let text = fs::read_to_string(&again).unwrap();
    assert!(text.contains(&tried) && text.matches("X-Envelope-Route").count() == 1, "{text}");
}
