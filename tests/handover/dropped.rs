//! The drop directory: what is taken and when, what is set aside, and that nothing is lost.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
};

use pillarbox::{
    clock::{Clock as _, SystemClock, Timestamp},
    queue::dropped::{new_name, temporary_name},
};

use super::stage::{
    Message, hand_over, leave, leave_as, left, make_directory, proposed_at, queued, told, wait,
};
use crate::support::{
    client::Client,
    daemon::{Home, Upstream},
    gmail::Gmail,
    outage::{PLENTY, ask, home_without_brakes, queue_list},
};

#[test]
fn files_are_taken_at_start_and_as_they_come_and_their_owner_is_named() {
    let gmail = Gmail::start();
    let home = home_without_brakes(&gmail.upstream(), PLENTY);
    let daemon = home.start();
    wait(&home, "the directory", || home.drop_directory().is_dir());
    wait(&home, "its mode", || {
        fs::metadata(home.drop_directory()).unwrap().permissions().mode() & 0o7777 == 0o3733
    });
    daemon.kill();
    let early = Message::to("early@example.org");
    leave(&home, &early);
    let _daemon = home.start();
    wait(&home, "the message that was there", || early.copies(&gmail) == 1);
    let late = Message::to("late@example.org");
    let before = SystemClock::new().now().since_boot_ms;
    leave(&home, &late);
    wait(&home, "the message that came", || late.copies(&gmail) == 1);
    let took_ms = SystemClock::new().now().since_boot_ms - before;
    assert!(took_ms < 30_000, "by notification, not by the look of every minute: {took_ms} ms");
    wait(&home, "the removal of both", || left(&home).is_empty());
    let uid = rustix::process::getuid().as_raw();
    for message in gmail.accepted() {
        let body = String::from_utf8_lossy(&message.body);
        assert!(body.contains(&format!("(Pillarbox, from userid {uid}")), "{body}");
    }
    assert_eq!(gmail.accepted().len(), 2);
}

#[test]
fn a_file_whose_message_is_known_is_removed_and_not_sent_again() {
    let home = Home::new(&Upstream::nobody());
    let _daemon = home.start();
    wait(&home, "the directory", || home.drop_directory().is_dir());
    let message = Message::to("a@example.org");
    assert!(hand_over(&home, &message).unwrap().starts_with("250 "));
    leave(&home, &message);
    wait(&home, "the removal", || left(&home).is_empty());
    assert_eq!(queued(&home), 1);
    assert_eq!(told(&home, "submitted again under a known id").len(), 1);
    let old = proposed_at(
        SystemClock::new().wall().before(std::time::Duration::from_secs(50 * 24 * 3600)),
    );
    let old = Message { id: old, ..Message::to("old@example.org") };
    leave(&home, &old);
    wait(&home, "the removal", || left(&home).is_empty());
    let ids: Vec<String> = queue_list(&home).into_iter().map(|message| message.id).collect();
    assert!(
        ids.contains(&old.id.to_string()),
        "a file keeps its id however long it lay there: {ids:?}"
    );
}

#[test]
fn what_the_queue_has_no_room_for_waits_until_it_has() {
    let home = Home::new(&Upstream::nobody())
        .environment("PILLARBOX__LISTENER__MAX_MESSAGE_BYTES", "1000KiB")
        .environment("PILLARBOX__QUEUE__MAX_BYTES", "1MiB");
    let daemon = home.start();
    wait(&home, "the directory", || home.drop_directory().is_dir());
    let filling = format!("Subject: x\n\n{}", format!("{}\n", "x".repeat(99)).repeat(9_000));
    let reply = Client::hello(daemon.smtp).mail("me@example.org", &["a@example.org"], &filling);
    assert!(reply.starts_with("250 "), "{reply}");
    let message =
        Message::with_body("b@example.org", &format!("{}\r\n", "y".repeat(99)).repeat(3_000));
    leave(&home, &message);
    wait(&home, "the refusal", || !told(&home, "max_bytes").is_empty());
    assert_eq!(left(&home), [new_name(message.id)]);
    wait(&home, "the number in status", || ask(&home, &["status"])["dropped"]["waiting"] == 1);
    let first = queue_list(&home).remove(0).id;
    assert!(home.output(["queue", "delete", &first]).status.success());
    wait(&home, "the removal", || left(&home).is_empty());
    assert_eq!(queue_list(&home).remove(0).id, message.id.to_string());
}

#[test]
fn what_cannot_be_used_is_set_aside_told_and_counted_and_never_lost() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    wait(&home, "the directory", || home.drop_directory().is_dir());
    daemon.kill();
    let directory = home.drop_directory();
    let message = || Message::to("a@example.org");
    let torn = message();
    leave_as(&home, &new_name(torn.id), &torn.file()[..torn.file().len() - 1]);
    let (foreign, other_id, local) = (message(), message(), Message::to("root"));
    leave_as(&home, "letter.txt", b"dear relay");
    leave_as(&home, &new_name(foreign.id), b"dear relay");
    let with_other_id = String::from_utf8(other_id.file()).unwrap();
    let with_other_id =
        with_other_id.replace(" BODY=8BITMIME", &format!(" XQUEUEID={}", foreign.id));
    leave_as(&home, &new_name(other_id.id), with_other_id.as_bytes());
    leave(&home, &local);
    let secret = home.path("secret");
    fs::write(&secret, message().file()).unwrap();
    let [linked, hard, fifo, folder] = [(); 4].map(|()| directory.join(new_name(message().id)));
    symlink(&secret, &linked).unwrap();
    fs::hard_link(&secret, &hard).unwrap();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fs::create_dir(&folder).unwrap();
    let before = left(&home);
    let _daemon = home.start();
    wait(&home, "all of them set aside", || {
        left(&home).iter().all(|name| name.starts_with("bad."))
    });
    let expected: Vec<String> = before.iter().map(|name| format!("bad.{name}")).collect();
    assert_eq!(left(&home), expected);
    wait(&home, "the lines", || {
        told(&home, "set aside in the drop directory").len() == before.len()
    });
    for reason in [
        "and should have",
        "is not one that Pillarbox gives",
        "does not begin with",
        "another queue id",
        "RCPT TO:<root>: 550 5.",
        "a symbolic link",
        "has 2 names",
        "not a regular file",
        "a directory",
    ] {
        assert_eq!(told(&home, reason).len(), 1, "{reason}:\n{}", home.log());
    }
    assert_eq!(queued(&home), 0);
    let state = &ask(&home, &["status"])["dropped"];
    assert_eq!(
        (&state["waiting"], &state["set_aside"]),
        (&0.into(), &(before.len() as u64).into()),
        "{state}"
    );
    let screen = String::from_utf8(home.output(["status"]).stdout).unwrap();
    assert!(screen.contains(&format!("{} files set aside", before.len())), "{screen}");
    assert!(secret.exists(), "what a link leads to is left alone");
    // A person who has mended the cause renames the file back.
    let mended = format!("bad.{}", new_name(torn.id));
    fs::write(directory.join(&mended), torn.file()).unwrap();
    fs::rename(directory.join(&mended), directory.join(new_name(torn.id))).unwrap();
    wait(&home, "the mended file", || queued(&home) == 1);
}

#[test]
fn an_unfinished_file_is_removed_after_a_day_and_not_before_and_never_while_it_is_written() {
    let home = Home::new(&Upstream::nobody());
    make_directory(&home);
    let [old, young, written] = [(); 3].map(|()| temporary_name(proposed_at(Timestamp(1))));
    for name in [&old, &young, &written] {
        fs::write(home.drop_directory().join(name), "half").unwrap();
    }
    // What a wall clock that was set forward makes of a file whose caller lives, who holds the lock.
    let caller = fs::File::open(home.drop_directory().join(&written)).unwrap();
    caller.lock().unwrap();
    for name in [&old, &written] {
        let touched = Command::new("touch")
            .args(["-d", "25 hours ago"])
            .arg(home.drop_directory().join(name))
            .status();
        assert!(touched.unwrap().success());
    }
    let mut stay = vec![young.clone(), written];
    stay.sort();
    let daemon = home.start();
    wait(&home, "the removal", || left(&home) == stay);
    daemon.kill();
    drop(caller);
    let _daemon = home.start();
    wait(&home, "the removal of the other", || left(&home) == [young.clone()]);
}

#[test]
fn check_names_both_places_and_the_command_for_a_wrong_mode() {
    let home = Home::new(&Upstream::nobody());
    make_directory(&home);
    let check = || String::from_utf8(home.output(["check"]).stdout).unwrap();
    let said = check();
    for place in [home.submit_socket(), home.drop_directory()] {
        assert!(said.contains(&place.display().to_string()), "{said}");
    }
    assert!(!said.contains("3733"), "{said}");
    fs::set_permissions(home.drop_directory(), fs::Permissions::from_mode(0o777)).unwrap();
    let said = check();
    assert!(
        said.contains(&format!("run: chmod 3733 {}", home.drop_directory().display())),
        "{said}"
    );
}

#[test]
fn two_daemons_never_take_the_files_of_one_directory() {
    let [first, second] = [(); 2].map(|()| Home::new(&Upstream::nobody()));
    let _daemon = first.start();
    wait(&first, "the directory", || first.drop_directory().is_dir());
    let second = second.environment(
        "PILLARBOX__SENDMAIL__DROP_DIRECTORY",
        &first.drop_directory().display().to_string(),
    );
    let _other = second.start();
    let told = || !told(&second, "another daemon takes its files").is_empty();
    assert!(crate::support::daemon::within(super::stage::PATIENCE, told), "{}", second.log());
}
