//! Each exit code, by its real cause: one line on standard error that helps, and nothing on standard output.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use super::{
    stage::{Done, Stage, call},
    stand_in::StandIn,
};
use crate::support::{
    executable,
    loop_disk::{LoopDisk, unavailable},
};

const MAIL: &str = "Subject: x\n\nbody\n";

#[track_caller]
fn expect(done: &Done, code: i32, words: &str) {
    assert_eq!((done.code, &done.stdout[..]), (Some(code), ""), "{done:?}");
    assert!(done.stderr.starts_with("sendmail: ") && done.stderr.contains(words), "{done:?}");
    assert_eq!(done.stderr.lines().count(), 1, "{done:?}");
}

#[test]
fn usage_64_a_daemon_is_asked_of_the_wrong_program() {
    for flag in ["-bd", "-bl", "-D"] {
        expect(&Stage::new().sendmail(&[flag], ""), 64, "pillarbox run");
    }
}

#[test]
fn data_65_nobody_to_send_to_or_too_much_to_send() {
    let stage = Stage::new();
    expect(&stage.sendmail(&[], MAIL), 65, "no recipient");
    expect(&stage.sendmail(&["-t"], MAIL), 65, "no recipient");
    expect(&stage.sendmail(&["-t"], "To: nobody at all\n\n"), 65, "is not an address");
    stage.configure("[listener]\nmax_message_bytes = 2000\n");
    expect(&stage.sendmail(&["a@b.example"], "x\n".repeat(1_500)), 65, "2000");
    assert!(stage.dropped().is_empty());
}

#[test]
fn data_65_one_address_of_several_is_none_and_the_others_get_the_message() {
    let stage = Stage::new();
    expect(&stage.sendmail(&["a@b.example", "Joe Public"], MAIL), 65, "the others get it");
    assert_eq!(stage.only_dropped().head.recipients, ["RCPT TO:<a@b.example>"]);
}

#[test]
fn no_user_67_the_daemon_does_not_know_a_local_name() {
    let stage = Stage::new();
    let daemon = StandIn::at(&stage.socket(), &[("RCPT TO:<nobody>", "550 5.1.1 no such user")]);
    expect(&stage.sendmail(&["nobody"], MAIL), 67, "no such user");
    assert_eq!(daemon.commands()[3..], ["RSET", "QUIT"]);
    assert!(stage.dropped().is_empty());
}

#[test]
fn no_user_67_is_told_also_when_others_get_the_message() {
    let stage = Stage::new();
    let daemon = StandIn::at(&stage.socket(), &[("RCPT TO:<nobody>", "550 5.1.1 no such user")]);
    expect(&stage.sendmail(&["nobody", "a@b.example"], MAIL), 67, "the others get it");
    assert!(daemon.heard.recv().unwrap().ends_with(b"\r\n\r\nbody\r\n"));
}

#[test]
fn the_daemons_refusals_have_their_codes() {
    for (command, reply, code) in [
        ("MAIL", "550 5.7.1 you may not", 77),
        ("MAIL", "552 5.3.4 too large", 65),
        ("BDAT", "554 5.4.6 a loop", 65),
        ("BDAT", "500 5.5.1 what", 69),
    ] {
        let stage = Stage::new();
        let script: &'static [_] = Box::leak(Box::new([(command, reply)]));
        let daemon = StandIn::at(&stage.socket(), script);
        expect(&stage.sendmail(&["a@b.example"], MAIL), code, reply);
        drop(daemon.commands());
        assert!(stage.dropped().is_empty(), "a refusal for good is not tried again in a file");
    }
}

#[test]
fn cannot_create_73_a_long_message_has_no_place_while_it_is_read() {
    let stage = Stage::new().variable("TMPDIR", "/nonexistent");
    fs::remove_dir(stage.drop_directory()).unwrap();
    expect(&stage.sendmail(&["a@b.example"], "x\n".repeat(600_000)), 73, "/nonexistent");
}

#[test]
fn input_74_standard_input_cannot_be_read() {
    let stage = Stage::new();
    let directory = fs::File::open(stage.drop_directory()).unwrap();
    let child =
        stage.command("sendmail", &["a@b.example"]).stdin(Stdio::from(directory)).spawn().unwrap();
    expect(&super::stage::done(child.wait_with_output().unwrap()), 74, "standard input");
}

#[test]
fn temporary_75_no_daemon_and_no_drop_directory() {
    let stage = Stage::new();
    fs::remove_dir(stage.drop_directory()).unwrap();
    expect(&stage.sendmail(&["a@b.example"], MAIL), 75, "submit.sock");
    let stage = Stage::new().variable("PILLARBOX_SUBMIT", "127.0.0.1:1");
    expect(&stage.sendmail(&["a@b.example"], MAIL), 75, "127.0.0.1:1");
    assert!(stage.dropped().is_empty(), "mail for a relay elsewhere is not for this host's daemon");
}

#[test]
fn temporary_75_the_disk_is_full() {
    if let Some(reason) = unavailable() {
        panic!("this machine cannot show a full disk: {reason}");
    }
    let images = tempfile::tempdir().unwrap();
    let disk = LoopDisk::create(images.path(), "disk", 8 << 20).unwrap();
    let drop_directory = disk.path().join("drop");
    fs::create_dir(&drop_directory).unwrap();
    let stage = Stage::new()
        .variable("PILLARBOX__SENDMAIL__DROP_DIRECTORY", drop_directory.to_str().unwrap());
    stage.sendmail(&["a@b.example"], MAIL).quietly();
    disk.fill("ballast", 0);
    expect(&stage.sendmail(&["a@b.example"], "x\n".repeat(50_000)), 75, "No space left");
    let names = fs::read_dir(&drop_directory).unwrap().count();
    assert_eq!(names, 1, "what could not be written is not left behind");
}

#[test]
fn configuration_78_the_place_to_submit_to_makes_no_sense() {
    let stage = Stage::new().variable("PILLARBOX_SUBMIT", "relay");
    expect(&stage.sendmail(&["a@b.example"], MAIL), 78, "PILLARBOX_SUBMIT");
}

#[test]
fn an_ordinary_user_may_leave_mail_and_cannot_where_the_directory_says_no() {
    if !rustix::process::geteuid().is_root() {
        panic!("this test becomes another user, which needs root");
    }
    let stage = Stage::new();
    // The tests may have been built where nobody else may look.
    let program = stage.path("sendmail");
    let original = fs::canonicalize(&program).unwrap();
    fs::remove_file(&program).unwrap();
    executable::copy(&original, &program);
    rustix::fs::chown(stage.drop_directory(), None, Some(rustix::fs::Gid::from_raw(7))).unwrap();
    fs::set_permissions(stage.drop_directory(), fs::Permissions::from_mode(0o3733)).unwrap();
    let as_nobody = |arguments: &[&str]| {
        use std::os::unix::process::CommandExt as _;
        call(stage.command("sendmail", arguments).uid(65_534).gid(65_534), MAIL.as_bytes())
    };
    as_nobody(&["a@b.example"]).quietly();
    let file = stage.drop_directory().join(stage.only_dropped().name);
    let about = fs::metadata(file).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!((about.uid(), about.gid(), about.mode() & 0o7777), (65_534, 7, 0o640));
    fs::set_permissions(stage.drop_directory(), fs::Permissions::from_mode(0o755)).unwrap();
    expect(&as_nobody(&["a@b.example"]), 75, "Permission denied");
}
