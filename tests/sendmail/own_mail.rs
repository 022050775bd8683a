//! `mailq` of ordinary users: each sees his own messages, by the kernel's word, and nothing of anybody else.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    daemon::together,
    stage::{Done, Stage, call},
};
use crate::support::{
    client::Client,
    daemon::{Home, Upstream, pillarbox, within},
    executable,
    gmail::Gmail,
    outage::{PLENTY, budget},
};

const ALICE: u32 = 61_002;
const BOB: u32 = 61_003;
const CAROL: u32 = 61_004;

/// A host on which nothing leaves, and whose programs other users may run. `None` without root.
fn host() -> Option<(Home, Stage)> {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        return None;
    }
    let gmail = Gmail::start();
    let (home, stage) = together(&gmail);
    home.configure(&Upstream::nobody(), &budget(PLENTY));
    fs::create_dir(stage.path("bin")).unwrap();
    for name in ["sendmail", "mailq"] {
        executable::copy(Path::new(pillarbox().get_program()), &program(&stage, name));
    }
    Some((home, stage))
}

fn program(stage: &Stage, name: &str) -> PathBuf {
    stage.path("bin").join(name)
}

/// The program as this user calls it.
fn run(stage: &Stage, uid: u32, name: &str, arguments: &[&str], input: &str) -> Done {
    let template = stage.command(name, arguments);
    let mut command = Command::new(program(stage, name));
    command.args(arguments).env_clear().uid(uid).gid(uid).current_dir("/");
    command.envs(template.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    call(&mut command, input.as_bytes())
}

/// A message of this user; its id.
fn send(stage: &Stage, uid: u32, to: &str) -> String {
    let sent = run(stage, uid, "sendmail", &["-v", to], "Subject: private\n\nbody\n");
    assert_eq!(sent.code, Some(0), "{sent:?}");
    sent.stdout.trim().rsplit(' ').next().unwrap().to_owned()
}

fn mailq(stage: &Stage, uid: u32) -> Done {
    run(stage, uid, "mailq", &[], "")
}

/// What the socket for users says to root, who is a user there like others.
fn asked(stage: &Stage, request: &str) -> String {
    let mut stream = UnixStream::connect(stage.path("submit-mailq.sock")).unwrap();
    stream.write_all(format!("{request} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn each_user_sees_his_own_messages_and_nothing_of_anybody_else() {
    let Some((home, stage)) = host() else { return };
    let dropped = send(&stage, ALICE, "dropped@of-alice.example");
    let daemon = home.start();
    let hers = send(&stage, ALICE, "a@of-alice.example");
    let his = send(&stage, BOB, "b@of-bob.example");
    let roots = send(&stage, 0, "r@of-root.example");

    let shows = |list: &Done, wanted: &[&str], others: &[&str]| {
        wanted.iter().all(|one| list.stdout.contains(one))
            && !others.iter().any(|one| list.stdout.contains(one))
    };
    assert!(within(Duration::from_secs(30), || mailq(&stage, ALICE).stdout.contains(&dropped)));
    let list = mailq(&stage, ALICE);
    let (own, others) =
        ([&*hers, &*dropped, "a@of-alice.example"], [&*his, &*roots, "of-bob", "of-root"]);
    assert!(list.code == Some(0) && shows(&list, &own, &others), "{list:?}");
    assert!(list.stdout.starts_with("-Queue ID-") && list.stdout.contains(" in 2 Requests."));
    assert!(list.stderr.contains("these are your own messages only"), "{list:?}");
    assert!(!list.stdout.contains("private") && !list.stdout.contains("body"), "{list:?}");
    let list = run(&stage, BOB, "sendmail", &["-bp"], "");
    assert!(
        list.code == Some(0) && shows(&list, &[&*his], &[&*hers, &*dropped, "of-alice"]),
        "{list:?}"
    );
    let list = mailq(&stage, CAROL);
    assert_eq!((list.code, &*list.stdout), (Some(0), "No message of yours is in the queue\n"));
    let list = mailq(&stage, 0);
    assert!(shows(&list, &[&*hers, &*dropped, &*his, &*roots], &[]), "root sees all: {list:?}");
    assert_eq!(list.stderr, "");
    let list = mailq(&stage, 65_534);
    assert_eq!(list.code, Some(77), "the number of everybody: {list:?}");
    assert!(list.stderr.contains("does not tell the relay whose program this is"), "{list:?}");

    // The other front ends stay closed, and the socket has one question.
    let refused = run(&stage, ALICE, "sendmail", &["-qI", &hers], "");
    assert_eq!(refused.code, Some(77), "{refused:?}");
    assert!(asked(&stage, "GET /v1/queue").contains(&roots));
    for request in [
        "GET /v1/status".to_owned(),
        "GET /v1/history".to_owned(),
        "GET /v1/queue/counts?by=from".to_owned(),
        format!("GET /v1/queue/{his}"),
        format!("GET /v1/queue/{his}/message"),
        format!("DELETE /v1/queue/{his}"),
        format!("POST /v1/queue/{his}/retry"),
        "POST /v1/pause".to_owned(),
    ] {
        assert!(asked(&stage, &request).starts_with("HTTP/1.0 404"), "{request}");
    }
    assert!(asked(&stage, "DELETE /v1/queue").starts_with("HTTP/1.0 405"));
    // Whatever a question names: the answer has his own messages, and goes on behind one of them.
    for question in
        ["search=of-bob", "until=zzzzzzzzzzzzzzzzzzzzzzzzzz", "limit=1", "user=bob&uid=61003"]
    {
        let answer = asked(&stage, &format!("GET /v1/queue?{question}"));
        assert!(
            ![&hers, &dropped, &his].iter().any(|id| answer.contains(*id)),
            "{question}: {answer}"
        );
    }
    assert!(daemon.terminate(Duration::from_secs(20)).success());
    assert!(!stage.path("submit-mailq.sock").exists(), "it goes with the daemon");
}

#[test]
fn without_a_daemon_or_a_socket_for_users_mailq_ends_as_people_expect() {
    let Some((home, stage)) = host() else { return };
    let admin = stage.path("admin.sock");
    let stage = stage.variable("PILLARBOX__ADMIN__SOCKET", admin.to_str().unwrap());
    let down = mailq(&stage, ALICE);
    assert_eq!(down.code, Some(69), "{down:?}");
    assert!(down.stderr.contains("no daemon answers on "), "{down:?}");
    let home = home.environment("PILLARBOX__ADMIN__SOCKET", admin.to_str().unwrap());
    let daemon = home.start();
    assert_eq!(mailq(&stage, ALICE).code, Some(0));
    daemon.kill();
    // Both files are still there.
    let down = mailq(&stage, ALICE);
    assert_eq!((down.code, &*down.stdout), (Some(69), ""), "{down:?}");
    let without = stage.variable("PILLARBOX__SENDMAIL__SOCKET", "off");
    let refused = mailq(&without, ALICE);
    assert_eq!(refused.code, Some(77), "{refused:?}");
    assert!(refused.stderr.contains("may look at the whole queue"), "{refused:?}");
}

#[test]
fn a_socket_for_users_that_is_taken_keeps_their_mail_from_being_shown_and_stops_nothing_else() {
    let limit = Duration::from_secs(30);
    let home = Home::new(&Upstream::nobody());
    // Whatever is there is not the relay's to remove.
    fs::create_dir(home.path("submit-mailq.sock")).unwrap();
    let daemon = home.start();
    assert!(within(limit, || home.log().contains("cannot see their own mail with mailq")));
    let reply = Client::hello(daemon.smtp).mail("a@x.example", &["b@y.example"], "A: b\r\n\r\nx");
    assert!(reply.starts_with("250"), "{reply}");
    // One that has ended by itself has ended with an error.
    assert_eq!(daemon.terminate(limit).code(), Some(0), "{}", home.log());
}
