//! `pillarbox health` as a supervisor runs it, and the probes over TCP: the real binary and its exit codes.
//!
//! Each question is asked in a state in which its answer differs from that of the question before.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Output,
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    client::Client,
    daemon::{Home, Upstream, free_port, within},
};

/// Longer than any of these takes, for a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);

fn ask(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = home.output([&["health"], arguments].concat());
    (
        status.code(),
        [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat(),
    )
}

#[test]
fn without_a_daemon_the_exit_code_is_69() {
    let home = Home::new(&Upstream::nobody());
    for arguments in [&[][..], &["--ready"], &["--strict"], &["--json"]] {
        let (code, words) = ask(&home, arguments);
        assert_eq!(code, Some(69), "{words}");
        assert!(words.starts_with("pillarbox: no daemon answers on "), "{words}");
    }
}

#[test]
fn an_upstream_out_of_reach_needs_a_person_perhaps_but_no_restart() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    assert_eq!(ask(&home, &["--strict"]), (Some(0), "healthy\n".into()));
    let reply = Client::hello(daemon.smtp).mail(
        "me@example.org",
        &["you@example.org"],
        "Subject: one\n\nHello.\n",
    );
    assert!(reply.starts_with("250 "), "{reply}");
    assert!(within(PATIENCE, || ask(&home, &["--strict"]).0 == Some(1)), "{}", home.log());
    let (_, words) = ask(&home, &["--strict"]);
    assert!(words.starts_with("pillarbox: runs, but the account is backing-off: "), "{words}");
    for arguments in [&[][..], &["--ready"]] {
        let (code, words) = ask(&home, arguments);
        assert_eq!((code, &words[..24]), (Some(0), "runs, but the account is"), "{arguments:?}");
    }
    let (code, document) = ask(&home, &["--strict", "--json"]);
    let document: Value = serde_json::from_str(&document).expect("JSON and nothing else");
    assert_eq!(
        (code, &document["ready"], &document["clear"]),
        (Some(1), &true.into(), &false.into())
    );
    assert_eq!(document["troubles"][0]["spoils"], "clear");
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_full_disk_is_not_ready_and_no_reason_to_restart() {
    let port = free_port();
    let home = Home::new(&Upstream::nobody())
        .environment("PILLARBOX__QUEUE__MIN_FREE_BYTES", "1PiB")
        .environment("PILLARBOX__ADMIN__HTTP", &format!("127.0.0.1:{port}"));
    let daemon = home.start();
    assert_eq!(ask(&home, &[]).0, Some(0));
    let (code, words) = ask(&home, &["--ready"]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("no mail is taken: the disk of the queue has "), "{words}");
    let status = |arguments: &[&str]| {
        let output = home.output([&["status"], arguments].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = status(&[]);
    assert!(text.contains("new mail    no mail is taken: the disk of the queue has "), "{text}");
    let document: Value = serde_json::from_str(&status(&["--json"])).expect("JSON");
    assert_eq!(document["refusing"]["everything"], true, "{document}");
    let reply = Client::hello(daemon.smtp).command("MAIL FROM:<me@example.org>");
    assert!(reply.starts_with("452 4.3.1"), "clients hear the same: {reply}");
    assert!(within(PATIENCE, || home.log().contains("no mail is taken")), "{}", home.log());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    assert!(get(address, "/health/live").starts_with("HTTP/1.0 200 "));
    assert!(get(address, "/health/ready").starts_with("HTTP/1.0 503 "));
    assert!(get(address, "/metrics").contains("\npillarbox_ready 0\n"));
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_queue_without_room_for_a_large_message_is_not_ready_though_small_ones_are_taken() {
    let home = Home::new(&Upstream::nobody())
        .environment("PILLARBOX__QUEUE__MAX_BYTES", "2MiB")
        .environment("PILLARBOX__LISTENER__MAX_MESSAGE_BYTES", "1MiB");
    let daemon = home.start();
    assert_eq!(ask(&home, &["--ready"]).0, Some(0));
    let mut client = Client::hello(daemon.smtp);
    let text = format!("Subject: large\n\n{}", "a line of text\n".repeat(60_000));
    for _ in 0..2 {
        let reply = client.mail("me@example.org", &["you@example.org"], &text);
        assert!(reply.starts_with("250 "), "{reply}");
    }
    let reply = client.command("MAIL FROM:<me@example.org> SIZE=250000");
    assert!(reply.starts_with("452 4.3.1"), "{reply}");
    let (code, words) = ask(&home, &["--ready"]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("large mail is not taken (a message may have 1.0 MiB"), "{words}");
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_port_for_metrics_that_is_taken_is_named_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let home = Home::new(&Upstream::nobody()).environment("PILLARBOX__ADMIN__HTTP", &address);
    let output = home.output(["run"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{words}");
    let expected = format!("pillarbox: cannot listen on {address} for metrics and probes: ");
    assert!(words.contains(&expected) && words.contains("[admin] http"), "{words}");
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the port is open");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn the_log_goes_to_standard_output_where_a_container_wants_it() {
    for (output, on_stdout) in [("stdout", true), ("stderr", false)] {
        let home = Home::new(&Upstream::nobody()).environment("PILLARBOX__LOG__OUTPUT", output);
        let mut command = home.command(["run"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        assert!(within(PATIENCE, || ask(&home, &[]).0 == Some(0)), "it does not start");
        let process = i32::try_from(child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process id");
        rustix::process::kill_process(process, rustix::process::Signal::TERM)
            .expect("the signal is sent");
        let (mut out, mut error) = (String::new(), String::new());
        child.stdout.take().expect("piped").read_to_string(&mut out).expect("UTF-8");
        child.stderr.take().expect("piped").read_to_string(&mut error).expect("UTF-8");
        assert!(child.wait().expect("it ends").success(), "{out}{error}");
        let (log, silent) = if on_stdout { (out, error) } else { (error, out) };
        assert!(
            log.contains("\"message\":\"started\"") && silent.is_empty(),
            "{output}: {log}{silent}"
        );
    }
}
