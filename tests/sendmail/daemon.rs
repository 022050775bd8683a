//! With the real daemon: up, down and started later; and what the queue's front ends say.

use std::time::Duration;

use super::stage::Stage;
use crate::support::{
    daemon::{Home, within},
    gmail::Gmail,
    outage::{PLENTY, home_without_brakes},
};

/// A daemon and a host that know of each other.
pub(crate) fn together(gmail: &Gmail) -> (Home, Stage) {
    let stage = Stage::new();
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let home = home_without_brakes(&gmail.upstream(), PLENTY)
        .environment("PILLARBOX__SENDMAIL__SOCKET", &text(stage.socket()))
        .environment("PILLARBOX__SENDMAIL__DROP_DIRECTORY", &text(stage.drop_directory()));
    let stage = stage.variable("PILLARBOX__ADMIN__SOCKET", &text(home.socket()));
    (home, stage)
}

#[test]
fn mail_arrives_once_whether_the_daemon_runs_or_is_started_later() {
    let gmail = Gmail::start();
    let (home, stage) = together(&gmail);
    let mail = |name: &str| format!("Message-ID: <{name}@x.example>\nSubject: {name}\n\n.\nbody\n");
    stage.sendmail(&["-f", "joe", "a@b.example"], mail("down")).quietly();
    assert_eq!(stage.dropped().len(), 1);
    let daemon = home.start();
    assert!(within(Duration::from_secs(30), || gmail.recipients() == 1), "{}", home.log());
    stage.sendmail(&["-f", "joe", "a@b.example"], mail("up")).quietly();
    assert!(stage.dropped().is_empty(), "the socket takes it");
    assert!(within(Duration::from_secs(30), || gmail.recipients() == 2), "{}", home.log());
    // The daemon cannot be asked, and the file is found by notification.
    let without_socket = Stage::new()
        .variable("PILLARBOX__SENDMAIL__SOCKET", "off")
        .variable("PILLARBOX__SENDMAIL__DROP_DIRECTORY", stage.drop_directory().to_str().unwrap());
    without_socket.sendmail(&["-f", "joe", "a@b.example"], mail("noticed")).quietly();
    assert!(within(Duration::from_secs(30), || gmail.recipients() == 3), "{}", home.log());
    assert_eq!(gmail.duplicates(), 0);
    let texts: Vec<String> = gmail
        .accepted()
        .iter()
        .map(|message| String::from_utf8_lossy(&message.body).into_owned())
        .collect();
    assert!(texts.iter().all(|text| text.ends_with("\r\n\r\n.\r\nbody\r\n")), "{texts:?}");
    assert!(texts.iter().all(|text| text.contains("from userid ")), "{texts:?}");
    assert!(daemon.terminate(Duration::from_secs(20)).success());
}

#[test]
fn the_queue_is_shown_and_hurried_to_whom_the_admin_socket_lets_in() {
    let gmail = Gmail::start();
    let (home, stage) = together(&gmail);
    let mailq = |stage: &Stage| super::stage::call(&mut stage.command("mailq", &[]), b"");
    let down = mailq(&stage);
    assert_eq!(down.code, Some(69), "{down:?}");
    assert!(!down.stderr.contains("to be taken"), "{down:?}");
    let dropped = stage.drop_directory().join("new.00000000000000000000000000");
    std::fs::write(&dropped, "").expect("the directory is there");
    let down = mailq(&stage);
    std::fs::remove_file(&dropped).expect("nobody took it");
    let expected = ", to be taken when the daemon runs.";
    assert!(down.stderr.contains("1 message in ") && down.stderr.contains(expected), "{down:?}");
    home.configure(
        &crate::support::daemon::Upstream::nobody(),
        &crate::support::outage::budget(PLENTY),
    );
    let daemon = home.start();
    assert_eq!(mailq(&stage).stdout, "Mail queue is empty\n");
    let said = stage
        .sendmail(&["-v", "-f", "joe@x.example", "a@b.example"], "Subject: x\n\nbody\n")
        .stdout;
    let id = said.trim().rsplit(' ').next().unwrap().to_owned();
    for done in [mailq(&stage), stage.sendmail(&["-bp"], "")] {
        assert!(done.stdout.contains(&id) && done.stdout.contains("a@b.example"), "{done:?}");
    }
    stage.sendmail(&["-q"], "").quietly();
    stage.sendmail(&["-qI", &id], "").quietly();
    let unknown = stage.sendmail(&["-qI", "00000000000000000000000000"], "");
    assert_eq!(unknown.code, Some(65), "{unknown:?}");
    assert!(daemon.terminate(Duration::from_secs(20)).success());
}
