//! The commands as an administrator types them: the real binary, its words and its exit codes.
//!
//! Rule: what is printed for people is compared where it must be exact, and searched for its facts
//! elsewhere; what is printed for programs is read as JSON.

use std::{fs, net::SocketAddr, path::Path, process::Output, time::Duration};

use pillarbox::sandbox::{APP_PASSWORD, Options as SandboxOptions, Sandbox};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    client::Client,
    daemon::{Home, Upstream, free_port, pillarbox, within},
    playground::Playground,
};

#[path = "commands/accounts.rs"]
mod accounts;
#[path = "commands/contents.rs"]
mod contents;
#[path = "commands/fitting.rs"]
mod fitting;
#[path = "commands/forecast.rs"]
mod forecast;
#[path = "commands/history.rs"]
mod history;
#[path = "commands/recipients.rs"]
mod recipients;
#[path = "commands/searching.rs"]
mod searching;
#[path = "commands/sending.rs"]
mod sending;
#[path = "commands/simulating.rs"]
mod simulating;
#[path = "commands/waiting.rs"]
mod waiting;
#[path = "commands/watching.rs"]
mod watching;

/// Longer than any of these takes, for a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);
const LOGIN: &str = "you@gmail.com";

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Runs a command that must succeed and returns what it printed.
fn say(home: &Home, arguments: &[&str]) -> String {
    let output = home.output(arguments);
    assert!(output.status.success(), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

fn json(home: &Home, arguments: &[&str]) -> Value {
    let text = say(home, &[arguments, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// Runs a command that must fail with `code` and returns what it said.
fn refused(home: &Home, arguments: &[&str], code: i32) -> String {
    let output = home.output(arguments);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {}{}",
        stdout(&output),
        stderr(&output)
    );
    stderr(&output)
}

/// A look-alike in this process, and how a daemon reaches it.
async fn sandbox(home_for_ca: &tempfile::TempDir) -> (Sandbox, Upstream) {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.expect("free ports");
    let upstream = Upstream::of(&sandbox, home_for_ca.path());
    (sandbox, upstream)
}

fn queue_length(home: &Home) -> usize {
    json(home, &["queue", "list"])["messages"].as_array().map_or(0, Vec::len)
}

#[test]
fn check_prints_what_would_be_used_and_no_secret() {
    let upstream = Upstream { host: "localhost".into(), ..Upstream::nobody() };
    let login = Some((LOGIN.to_owned(), APP_PASSWORD.to_owned()));
    let home = Home::new(&Upstream { tls: "starttls".into(), login, ..upstream });
    let text = say(&home, &["check"]);
    assert!(text.contains(&home.smtp.to_string()) && text.contains(LOGIN), "{text}");
    // This machine may give reasons for warnings, such as a directory in memory.
    assert!(text.contains("\nThe configuration is complete"), "{text}");
    assert!(!text.contains(APP_PASSWORD), "{text}");
    for line in [
        &format!("identity    everything leaves as {LOGIN}\n"),
        "becomes root@relay.example.org\n",
        &format!("goes to {LOGIN}\n"),
        &format!("notices     to {LOGIN}, at most 4 an hour; of mail that waits after 4 h\n"),
        "alerts      none\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
    let document = say(&home, &["check", "--json"]);
    assert!(
        document.contains("\"complete\": true") && !document.contains(APP_PASSWORD),
        "{document}"
    );
}

#[test]
fn check_refuses_a_bad_configuration_with_the_place_and_exit_code_78() {
    let home = Home::with_sections(&Upstream::nobody(), "[budget]\nrecipients_per_dya = 3\n");
    let words = refused(&home, &["check"], 78);
    assert!(words.contains("relay.toml:") && words.contains("recipients_per_day"), "{words}");
    assert_eq!(refused(&home, &["run"], 78), words, "run refuses in the same words");
    let output = home.output(["check", "--json"]);
    assert_eq!(output.status.code(), Some(78));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["complete"], false);
    let problem = &document["problems"][0];
    assert!(
        problem["place"].as_str().is_some_and(|place| place.contains("relay.toml:")),
        "{document}"
    );
    assert!(problem["what"].to_string().contains("recipients_per_dya"), "{document}");
    assert!(problem["remedy"].to_string().contains("recipients_per_day"), "{document}");
}

#[test]
fn check_tells_programs_what_is_missing_and_shows_only_the_host_of_a_webhook() {
    let sections =
        "[alert]\nwebhook = \"https://alerts.example.org/s3cret\"\ncommand = [\"true\", \"now\"]\n";
    let home = Home::with_sections(&Upstream::nobody(), sections);
    let text = say(&home, &["check"]);
    let lines = "alerts      command: the command true\n            webhook: the webhook at alerts.example.org\n";
    assert!(text.contains(lines) && !text.contains("s3cret"), "{text}");
    fs::write(home.config(), sections).expect("written");
    let output = home.output(["check", "--json"]);
    assert_eq!(output.status.code(), Some(78));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(
        document["problems"][0]["what"].to_string().contains("there is no account"),
        "{document}"
    );
    assert!(!document.to_string().contains("s3cret"), "{document}");
}

#[test]
fn check_says_when_the_password_file_is_missing_or_open_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new(&Upstream::nobody());
    let file = home.path("password");
    let text = format!(
        "[upstream]\nusername = {LOGIN:?}\npassword_file = {:?}\n",
        file.display().to_string()
    );
    fs::write(home.config(), text).expect("written");
    let words = refused(&home, &["check"], 78);
    assert!(words.contains(&format!("there is no password file {}", file.display())), "{words}");

    fs::write(&file, APP_PASSWORD).expect("written");
    for (mode, is_private) in [(0o600, true), (0o640, true), (0o644, false), (0o660, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("our own file");
        let text = say(&home, &["check"]);
        let warning = format!("run: chmod g-w,o-rw {}", file.display());
        assert_eq!(text.contains(&warning), !is_private, "{mode:o}: {text}");
        assert!(is_private || text.contains("complete, but for the warning"), "{mode:o}: {text}");
        let document = json(&home, &["check"]);
        let warnings = document["warnings"].as_array().expect("a list");
        let of_password =
            warnings.iter().filter(|words| words.to_string().contains("the password file"));
        assert_eq!(of_password.count(), usize::from(!is_private), "{mode:o}");
        assert!(!text.contains(APP_PASSWORD), "{text}");
    }
}

#[test]
fn run_without_an_account_says_which_two_lines_to_add() {
    let home = Home::new(&Upstream::nobody());
    fs::write(home.config(), "[listener]\naddresses = [\"127.0.0.1:0\"]\n").expect("written");
    let words = refused(&home, &["run"], 78);
    let words = words.replace(&home.config().display().to_string(), "relay.toml");
    assert_eq!(words, include_str!("golden/run_without_account.txt"));
}

#[test]
fn a_unit_without_an_account_ends_well_and_its_supervisor_is_told_why() {
    use std::os::unix::net::UnixDatagram;
    let home = Home::new(&Upstream::nobody());
    fs::write(home.config(), "[listener]\naddresses = [\"127.0.0.1:0\"]\n").expect("written");
    let place = home.path("notify");
    let supervisor = UnixDatagram::bind(&place).expect("a socket");
    supervisor.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let run = || {
        let mut command = home.command(["run", "--skip-without-account"]);
        command.env("NOTIFY_SOCKET", &place).output().expect("the binary starts")
    };
    let output = run();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(words.contains("there is no account to relay through"), "{words}");
    assert!(words.contains("password_file = "), "the lines to add are not there: {words}");
    let mut told = [0; 200];
    let length = supervisor.recv(&mut told).expect("the supervisor hears something");
    let told = String::from_utf8_lossy(&told[..length]);
    assert_eq!(told, "READY=1\nSTATUS=not started: there is no account yet");

    // What is wrong is still a failure.
    fs::write(home.config(), "[listener]\nadresses = [\"127.0.0.1:0\"]\n").expect("written");
    assert_eq!(run().status.code(), Some(78));
}

#[test]
fn without_a_daemon_every_question_says_so_with_exit_code_69() {
    let home = Home::new(&Upstream::nobody());
    for arguments in [&["status"][..], &["budget"], &["clients"], &["queue", "list"], &["resume"]] {
        let words = refused(&home, arguments, 69);
        let expected =
            format!("pillarbox: no daemon answers on {}; is it running?", home.socket().display());
        assert!(words.starts_with(&expected), "{words}");
    }
}

#[test]
fn without_a_daemon_a_configuration_that_was_ignored_is_named_with_its_mistake() {
    let home = Home::new(&Upstream::nobody());
    fs::write(home.config(), "[admin]\nsoket = \"elsewhere.sock\"\n").expect("written");
    let output =
        pillarbox().arg("status").current_dir(home.path("")).output().expect("the binary runs");
    let words = stderr(&output);
    assert!(
        words.starts_with("pillarbox: no daemon answers on /run/pillarbox/admin.sock"),
        "{words}"
    );
    assert!(words.contains("was ignored") && words.contains("relay.toml:2:1"), "{words}");
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_exit_code_64() {
    let home = Home::new(&Upstream::nobody());
    assert!(refused(&home, &["queue", "show", "../etc/passwd"], 64).contains("not a queue id"));
    assert!(refused(&home, &["queue", "delete", "--all"], 64).contains("--yes"));
    refused(&home, &["fly"], 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_handed_to_the_daemon_reaches_the_upstream_and_every_stage_is_logged() {
    let directory = tempfile::tempdir().expect("a directory");
    let (sandbox, upstream) = sandbox(&directory).await;
    let home = Home::new(&upstream);
    let daemon = home.start();
    let reply = Client::hello(daemon.smtp).mail(
        "me@example.org",
        &["ok@example.org"],
        "Subject: one\n\nHello.\n",
    );
    assert!(reply.starts_with("250 "), "{reply}");
    sandbox.mailbox().wait_for(1, PATIENCE).await.expect("the mail arrives");
    assert!(within(PATIENCE, || queue_length(&home) == 0), "{}", home.log());
    let status = say(&home, &["status"]);
    assert!(status.contains("open") && status.contains("Nothing waits to leave."), "{status}");
    assert_eq!(json(&home, &["budget"])["spent"], 1);
    assert!(daemon.terminate(PATIENCE).success());
    // Three lines tell of it: the second names what was edited, and the last has the whole story.
    let id = reply.trim_end().rsplit(' ').next().expect("the queue id");
    let log = home.log();
    let lines = log.lines().filter(|line| line.contains(id));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<&Value> = lines.iter().map(|line| &line["message"]).collect();
    assert_eq!(told, ["accepted", "relayed", "left the queue"], "{log}");
    assert_eq!(lines[1]["edits"], "From, Reply-To", "{log}");
    let story = &lines[2];
    for (field, value) in [
        ("client", Value::from("127.0.0.1")),
        ("from", "me@example.org".into()),
        ("to", "ok@example.org".into()),
        ("recipients", 1.into()),
        ("relayed", 1.into()),
        ("lane", "normal".into()),
        ("refusals", 0.into()),
        ("end", "relayed".into()),
    ] {
        assert_eq!(story[field], value, "{field}: {log}");
    }
    assert!(story["reply"].as_str().is_some_and(|reply| reply.starts_with("250 ")), "{log}");
    assert!(!log.contains(APP_PASSWORD), "a secret reached the log");
}

#[test]
fn waiting_mail_can_be_listed_shown_retried_and_deleted() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    for number in 1..=3 {
        let recipients = ["first@example.org", "second@example.org"];
        client.mail("me@example.org", &recipients, &format!("Subject: {number}\n\nHello.\n"));
    }
    let list = json(&home, &["queue", "list", "--all"]);
    let ids: Vec<&str> = list["messages"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|message| message["id"].as_str())
        .collect();
    assert_eq!((ids.len(), &list["next"]), (3, &Value::Null));

    let table = say(&home, &["queue", "list"]);
    assert!(table.starts_with("ID ") && table.contains("first@example.org and 1 more"), "{table}");
    let part = say(&home, &["queue", "list", "--limit", "2"]);
    assert!(part.ends_with(&format!(
        "There is more: `pillarbox queue list --after {}`, or --all.\n",
        ids[1]
    )));
    assert_eq!(json(&home, &["queue", "list", "--after", ids[1]])["messages"][0]["id"], ids[2]);

    let shown = say(&home, &["queue", "show", ids[0]]);
    assert!(
        shown.contains("first@example.org: ") && shown.contains("second@example.org: "),
        "{shown}"
    );
    assert!(shown.contains("me@example.org"), "{shown}");
    let shown = json(&home, &["queue", "show", ids[0]]);
    assert_eq!(shown["recipients"][1]["address"], "second@example.org");

    // An attempt may be under way; both commands then ask to come back.
    assert!(within(PATIENCE, || home.output(["queue", "retry", ids[0]]).status.success()));
    assert!(within(PATIENCE, || home.output(["queue", "delete", ids[0]]).status.success()));
    assert_eq!(
        say(&home, &["queue", "list", "--after", ids[2]]),
        format!("There is nothing after {}.\n", ids[2])
    );
    let remembered = say(&home, &["queue", "show", ids[0]]);
    assert!(remembered.contains("deleted by a person"), "{remembered}");
    let never = "00000000000000000000000000";
    let unknown = home.output(["queue", "show", never]);
    assert_eq!(unknown.status.code(), Some(65));
    assert!(
        stderr(&unknown).contains(&format!("there is no message {never} in the queue")),
        "{unknown:?}"
    );

    let all = || home.output(["queue", "delete", "--all", "--yes"]).status.success();
    assert!(within(PATIENCE, || all() && queue_length(&home) == 0));
    assert_eq!(say(&home, &["queue", "list"]), "The queue is empty.\n");
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_list_goes_on_over_many_pages_and_every_message_is_in_it_once() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    for _ in 0..260 {
        let reply =
            client.mail("me@example.org", &["you@example.org"], "Subject: one of many\n\nHello.\n");
        assert!(reply.starts_with("250 "), "{reply}");
    }
    let list = json(&home, &["queue", "list", "--all"]);
    let ids: Vec<_> =
        list["messages"].as_array().expect("a list").iter().map(|message| &message["id"]).collect();
    assert!(
        ids.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str()),
        "in the order of acceptance"
    );
    assert_eq!(ids.len(), 260);
    assert_eq!(say(&home, &["queue", "list", "--all"]).lines().count(), 261, "titles and messages");
    assert_eq!(json(&home, &["queue", "list"])["messages"].as_array().map(Vec::len), Some(100));
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn after_a_sigkill_the_next_daemon_has_the_mail_wherever_its_state_lies() {
    let elsewhere = tempfile::tempdir().expect("a directory");
    let home = Home::new(&Upstream::nobody()).state_at(&elsewhere.path().join("queue"));
    home.configure(&Upstream::nobody(), "");
    let daemon = home.start();
    let reply = Client::hello(daemon.smtp).mail(
        "me@example.org",
        &["you@example.org"],
        "Subject: a\n\nb\n",
    );
    assert!(reply.starts_with("250 "), "{reply}");
    daemon.kill();
    let daemon = home.start();
    assert_eq!(queue_length(&home), 1);
    assert!(elsewhere.path().join("queue/spool").is_dir());
    let starts =
        home.events().iter().filter(|event| event.to_string().contains("\"started\"")).count();
    assert_eq!(starts, 2, "{}", home.log());
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn the_daemon_writes_no_core_dump_and_its_files_are_its_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new(&Upstream::nobody()).environment("PILLARBOX__BUDGET__OWNER_RESERVE", "7");
    let daemon = home.start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.process_id())).expect("proc");
    let core =
        limits.lines().find(|line| line.starts_with("Max core file size")).expect("the line");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let mode = |path: &Path| fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
    assert_eq!((mode(&home.socket()), mode(home.state()) & 0o077), (0o660, 0));
    assert_eq!(json(&home, &["budget"])["owner_reserve"], 7, "the environment counts");
    assert!(daemon.terminate(PATIENCE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_can_be_chosen_by_the_state_of_a_recipient() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_sandbox, upstream) = sandbox(&directory).await;
    let home = Home::with_sections(&upstream, "[budget]\npace_per_minute = 0\n");
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    client.mail("me@example.org", &["nosuch@example.org"], "Subject: refused\n\nHello.\n");
    client.mail("me@example.org", &["tmp@example.org"], "Subject: later\n\nHello.\n");
    let length = |state| {
        let list = json(&home, &["queue", "list", "--state", state]);
        list["messages"].as_array().map_or(0, Vec::len)
    };
    assert!(within(PATIENCE, || (length("dead"), length("queued")) == (1, 1)), "{}", home.log());
    assert!(say(&home, &["queue", "list", "--state", "dead"]).contains("nosuch@example.org"));
    let nothing = say(&home, &["queue", "list", "--state", "held"]);
    assert_eq!(nothing, "There is no message with a held recipient.\n");

    // The deferred message may be with a worker just now.
    assert!(within(PATIENCE, || {
        let output = home.output(["queue", "retry", "--all"]);
        let text = stdout(&output);
        assert!(text.contains("1 message with dead recipients left as they are"), "{text}");
        output.status.success() && text.contains("\n1 message due now.\n")
    }));
    assert_eq!(length("dead"), 1, "retry --all does not revive the dead");
    let refusal = refused(&home, &["queue", "delete", "--all", "--state", "dead"], 64);
    assert!(refusal.contains("every message with a dead recipient"), "{refusal}");
    let deleted = say(&home, &["queue", "delete", "--all", "--state", "dead", "--yes"]);
    assert!(deleted.ends_with("\n1 message deleted.\n"), "{deleted}");
    assert_eq!((length("dead"), queue_length(&home)), (0, 1));
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_second_daemon_on_the_same_queue_is_refused_and_harms_nothing() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    let words = refused(&home, &["run"], 69);
    assert!(words.contains(&home.smtp.to_string()), "the port comes first: {words}");
    let mut second = home.command(["run"]);
    let second = second
        .env("PILLARBOX__LISTENER__ADDRESSES", "127.0.0.1:0")
        .output()
        .expect("the binary runs");
    assert_eq!(second.status.code(), Some(69));
    let words = stderr(&second);
    assert!(words.contains(&home.state().display().to_string()), "it names the directory: {words}");
    assert!(say(&home, &["status"]).contains("listening"), "the first one still answers");
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn sigterm_lets_a_message_in_transfer_finish_and_keeps_it() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    client.begin("me@example.org", &["you@example.org"]);
    client.send(b"Subject: slow\r\n\r\nfirst half\r\n");
    daemon.signal(Signal::TERM);
    assert!(within(PATIENCE, || home.log().contains("stopping")), "{}", home.log());
    client.send(b"second half\r\n.\r\n");
    let reply = client.reply();
    assert!(reply.starts_with("250 "), "{reply}{}", home.log());
    assert_eq!(daemon.wait(PATIENCE).code(), Some(0));
    assert!(!home.socket().exists(), "the admin socket goes with its daemon");

    let daemon = home.start();
    assert_eq!(queue_length(&home), 1, "the message is still there");
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_second_signal_stops_at_once_and_loses_nothing_that_was_acknowledged() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    client.mail("me@example.org", &["you@example.org"], "Subject: kept\n\nHello.\n");
    client.begin("me@example.org", &["you@example.org"]);
    client.send(b"Subject: never finished\r\n");
    daemon.signal(Signal::TERM);
    assert!(within(PATIENCE, || home.log().contains("stopping")), "{}", home.log());
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(Duration::from_secs(5)).code(), Some(0));

    let daemon = home.start();
    assert_eq!(queue_length(&home), 1, "the acknowledged message alone");
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn a_hang_up_with_the_same_configuration_changes_nothing_and_is_logged() {
    let home = Home::new(&Upstream::nobody());
    let mut daemon = home.start();
    daemon.signal(Signal::HUP);
    assert!(
        within(PATIENCE, || home.log().contains("the configuration has not changed")),
        "{}",
        home.log()
    );
    assert!(daemon.is_running());
    daemon.wait_until_it_greets();
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn the_sandbox_takes_a_mail_and_shows_every_stage_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let sandbox = Playground::start(directory.path(), &[]);
    let address = sandbox.smtp.to_string();
    let words = ["swaks ", "curl -sS ", "python3 ", "Nothing leaves this machine", &address];
    // The program is not in the PATH of whoever has just built it.
    let program = env!("CARGO_BIN_EXE_pillarbox");
    let commands = ["status --socket /", "resume --socket /", "sendmail you@", "run`"]
        .map(|command| format!("{program} {command}"));
    for word in words.into_iter().chain(commands.iter().map(String::as_str)) {
        assert!(sandbox.printed().contains(word), "{word} is missing:\n{}", sandbox.printed());
    }
    sandbox.send("you@example.org");
    sandbox.wait_for("relayed");
    for stage in ["accepted", "relayed"] {
        assert!(sandbox.printed().contains(stage), "{stage} is missing:\n{}", sandbox.printed());
    }
    assert!(!sandbox.printed().contains(APP_PASSWORD), "a secret reached the screen");
    sandbox.stop();
}

#[test]
fn every_sandbox_starts_fresh_unless_its_directory_was_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path();
    let named = state.join("pillarbox-sandbox").display().to_string();
    let run = |arguments: &[&str]| {
        let sandbox = Playground::start(state, &[arguments, &["--daily-limit", "1"]].concat());
        let found = (Playground::ask(state, "budget")["spent"].clone(), waiting_messages(state));
        sandbox.send("first@example.org");
        assert!(within(PATIENCE, || Playground::ask(state, "budget")["spent"] == 1));
        sandbox.send("second@example.org");
        sandbox.stop();
        found
    };
    let fresh = (Value::from(0), Value::from(0));
    assert_eq!(run(&[]), fresh);
    assert_eq!(run(&[]), fresh);
    let kept = run(&["--directory", &named]);
    assert_eq!(kept.0, Value::from(1), "a named directory keeps the budget");
    assert_ne!(kept.1, Value::from(0), "and the mail");
}

fn waiting_messages(state: &Path) -> Value {
    Playground::ask(state, "status")["queue"]["messages"].clone()
}

#[test]
fn a_second_sandbox_is_told_what_to_choose_and_breaks_nothing_of_the_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path();
    let first = Playground::start(state, &[]);
    let authority =
        || fs::read(state.join("pillarbox-sandbox/look-alike-ca.pem")).expect("the file is there");
    let before = authority();

    let second = Playground::command(state, first.smtp).output().expect("the binary runs");
    assert_eq!(second.status.code(), Some(69));
    assert!(
        stderr(&second).contains("pillarbox sandbox --listen 127.0.0.1:"),
        "{}",
        stderr(&second)
    );
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let second = Playground::command(state, elsewhere).output().expect("the binary runs");
    assert_eq!(second.status.code(), Some(69));
    assert!(stderr(&second).contains("pillarbox sandbox --directory PATH"), "{}", stderr(&second));

    assert_eq!(authority(), before, "the first one's certificate is still there");
    first.send("you@example.org");
    first.wait_for("relayed");
    first.stop();

    let misplaced = state.join("output/ca.pem").display().to_string();
    let mut third = Playground::command(state, elsewhere);
    let third = third.args(["--ca-file", &misplaced]).output().expect("the binary runs");
    assert_eq!(third.status.code(), Some(69));
    assert!(stderr(&third).contains("choose another place with --ca-file"), "{}", stderr(&third));
}

#[test]
fn a_reader_who_has_read_enough_is_no_failure() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    for number in 0..40 {
        let reply = Client::hello(daemon.smtp).mail(
            "me@example.org",
            &["a@example.org"],
            &format!("Subject: {number}\n\nx\n"),
        );
        assert!(reply.starts_with("250 "), "{reply}");
    }
    for line in [
        &["status"][..],
        &["status", "--json"],
        &["queue", "list"],
        &["queue", "list", "--json"],
        &["dead", "list"],
        &["budget"],
        &["clients"],
        &["check"],
        &["mailq"],
        &["store", "check"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = home.command(line);
        command.stdin(std::process::Stdio::null()).stdout(writer);
        let output = command.stderr(std::process::Stdio::piped()).output().expect("it runs");
        let usual = home.output(line).status.code();
        assert_eq!(
            (output.status.code(), stderr(&output)),
            (usual, stderr(&home.output(line))),
            "{line:?}"
        );
    }
}
