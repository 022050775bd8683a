//! The local socket: who it is is seen, and one id is one message.

use std::{fs, time::Duration};

use pillarbox::clock::{Clock as _, SystemClock};

use super::stage::{Local, Message, PATIENCE, hand_over, proposed_at, queued, told, wait};
use crate::support::{
    client::Client,
    daemon::{Home, Upstream},
    gmail::Gmail,
    outage::{PLENTY, home_without_brakes},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn the_kernel_names_the_user_in_received_and_in_the_log() {
    let gmail = Gmail::start();
    let home = home_without_brakes(&gmail.upstream(), PLENTY);
    let daemon = home.start();
    let message = Message::to("a@example.org");
    let reply = hand_over(&home, &message).unwrap();
    assert!(reply.starts_with("250 ") && reply.contains(&message.id.to_string()), "{reply}");
    wait(&home, "the message's arrival", || message.copies(&gmail) == 1);
    let uid = rustix::process::getuid().as_raw();
    let body = String::from_utf8_lossy(&gmail.accepted()[0].body).into_owned();
    let received = format!("Received: by relay.example.org (Pillarbox, from userid {uid}");
    assert!(
        body.contains(&received) && body.contains(&format!("with local id {}", message.id)),
        "{body}"
    );
    let accepted = told(&home, "accepted");
    assert_eq!(accepted.len(), 1, "{}", home.log());
    assert!(accepted[0].to_string().contains(&format!("\"uid\":{uid}")), "{}", accepted[0]);
    assert!(daemon.terminate(PATIENCE).success());
    assert!(!home.submit_socket().exists(), "the socket goes with its daemon");
}

#[test]
fn neither_login_nor_tls_nor_the_parameter_of_our_own_sendmail_is_offered() {
    let home = Home::new(&Upstream::nobody());
    let _daemon = home.start();
    let (mut local, greeting) = Local::connect(&home.submit_socket()).unwrap();
    assert!(greeting.starts_with("220 relay.example.org "), "{greeting}");
    let hello = local.command("EHLO localhost").unwrap();
    for offered in ["PIPELINING", "SIZE ", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN"] {
        assert!(hello.contains(offered), "{hello}");
    }
    for not_offered in ["AUTH", "STARTTLS", "XQUEUEID"] {
        assert!(!hello.contains(not_offered), "{hello}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(home.submit_socket()).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o666);
}

#[test]
fn the_same_id_twice_is_one_message_also_after_a_restart_and_after_it_was_relayed() {
    let gmail = Gmail::start();
    let home = home_without_brakes(&Upstream::nobody(), PLENTY);
    let daemon = home.start();
    let message = Message::to("a@example.org");
    let yes = hand_over(&home, &message).unwrap();
    assert!(yes.starts_with("250 "), "{yes}");
    assert_eq!(hand_over(&home, &message).unwrap(), yes, "queued");
    assert_eq!(queued(&home), 1);
    daemon.kill();
    let daemon = home.start();
    assert_eq!(hand_over(&home, &message).unwrap(), yes, "after a kill");
    assert_eq!(queued(&home), 1);
    daemon.kill();
    home.configure(&gmail.upstream(), &crate::support::outage::budget(PLENTY));
    let daemon = home.start();
    wait(&home, "the message's arrival", || message.copies(&gmail) == 1 && queued(&home) == 0);
    assert_eq!(hand_over(&home, &message).unwrap(), yes, "relayed");
    daemon.kill();
    let _daemon = home.start();
    assert_eq!(hand_over(&home, &message).unwrap(), yes, "relayed, and after a kill");
    // Whatever was taken for a second message would be ahead of this one.
    let next = Message::to("b@example.org");
    hand_over(&home, &next).unwrap();
    wait(&home, "the next message's arrival", || next.copies(&gmail) == 1);
    assert_eq!((message.copies(&gmail), gmail.accepted().len()), (1, 2));
}

#[test]
fn an_id_from_long_ago_or_from_the_future_is_not_used() {
    let home = Home::new(&Upstream::nobody());
    let _daemon = home.start();
    let now = SystemClock::new().wall();
    for time in [now.before(41 * DAY), now.after(DAY)] {
        let message = Message { id: proposed_at(time), ..Message::to("a@example.org") };
        let reply = hand_over(&home, &message).unwrap();
        assert!(reply.starts_with("250 ") && !reply.contains(&message.id.to_string()), "{reply}");
    }
    assert_eq!(queued(&home), 2);
}

#[test]
fn an_id_that_comes_over_tcp_is_ignored() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    let id = Message::to("a@example.org").id;
    for _ in 0..2 {
        let mut client = Client::hello(daemon.smtp);
        let mail = client.command(&format!("MAIL FROM:<me@example.org> XQUEUEID={id}"));
        assert!(mail.starts_with("250"), "a trusted device may send odd parameters: {mail}");
        assert!(client.command("RCPT TO:<a@example.org>").starts_with("250"));
        assert!(client.command("DATA").starts_with("354"));
        client.send(b"Subject: x\r\n\r\n.\r\n");
        let reply = client.reply();
        assert!(reply.starts_with("250") && !reply.contains(&id.to_string()), "{reply}");
    }
    assert_eq!(queued(&home), 2);
}

#[test]
fn a_user_who_has_all_his_places_hears_421_and_may_come_again() {
    let home = Home::new(&Upstream::nobody());
    let _daemon = home.start();
    let taken: Vec<Local> =
        (0..50).map(|_| Local::connect(&home.submit_socket()).unwrap().0).collect();
    let (_, greeting) = Local::connect(&home.submit_socket()).unwrap();
    assert!(greeting.starts_with("421 4.7.0 "), "{greeting}");
    drop(taken);
    wait(&home, "a place", || Local::connect(&home.submit_socket()).unwrap().1.starts_with("220"));
}

#[test]
fn a_daemon_that_cannot_have_its_socket_or_directory_says_so_and_starts() {
    let home = Home::new(&Upstream::nobody());
    fs::write(home.submit_socket(), "precious").unwrap();
    fs::write(home.drop_directory(), "precious").unwrap();
    let _daemon = home.start();
    wait_for_both_warnings(&home);
    assert_eq!(fs::read_to_string(home.submit_socket()).unwrap(), "precious");
}

fn wait_for_both_warnings(home: &Home) {
    let both = || {
        !told(home, "no local socket").is_empty()
            && !told(home, "the drop directory cannot be used").is_empty()
    };
    assert!(crate::support::daemon::within(PATIENCE, both), "{}", home.log());
    assert!(told(home, "install -d -m 3733").len() == 1, "with the remedy: {}", home.log());
}
