//! Every flag of the table in docs/sendmail.md, with the real binary and a daemon that is down.

use std::fs;

use super::{stage::Stage, stand_in::StandIn};

const MAIL: &str = "Subject: x\n\nbody\n";

#[test]
fn flags_that_mean_nothing_here_lose_no_mail_and_no_recipient() {
    for flags in [
        "-bm",
        "-B8BITMIME",
        "-B 7BIT",
        "-em",
        "-e m",
        "-odi",
        "-oem",
        "-o 7",
        "-O Timeout=5",
        "-Am",
        "-Ac",
        "-G",
        "-h 3",
        "-h3",
        "-L tag",
        "-Ltag",
        "-m",
        "-n",
        "-U",
        "-d",
        "-d0.4",
        "-p SMTP:x",
        "-x",
        "-q15m",
        "-i",
        "-oi",
    ] {
        let stage = Stage::new();
        let line: Vec<&str> = flags.split(' ').chain(["a@b.example"]).collect();
        stage.sendmail(&line, MAIL).quietly();
        let dropped = stage.only_dropped();
        assert_eq!(dropped.head.recipients, ["RCPT TO:<a@b.example>"], "{flags}");
        assert!(dropped.text().ends_with("Subject: x\r\n\r\nbody\r\n"), "{flags}");
    }
}

#[test]
fn an_unknown_flag_is_told_and_the_mail_goes() {
    let stage = Stage::new();
    for line in
        [&["-Z", "a@b.example"][..], &["--frobnicate=1", "a@b.example"], &["a@b.example", "-by"]]
    {
        let done = stage.sendmail(line, MAIL);
        assert_eq!(
            (done.code, &done.stdout[..], done.stderr.lines().count()),
            (Some(0), "", 1),
            "{done:?}"
        );
    }
    assert_eq!(stage.dropped().len(), 3);
}

#[test]
fn flags_that_name_files_never_touch_one() {
    let stage = Stage::new();
    let secret = stage.path("secret");
    fs::write(&secret, "a secret").unwrap();
    let (secret, log, queue) = (secret.to_str().unwrap(), stage.path("log"), stage.path("queue"));
    let (log, queue) = (log.to_str().unwrap(), queue.to_str().unwrap());
    let glued = [
        format!("-C{secret}"),
        format!("-X{log}"),
        format!("-oQ{queue}"),
        format!("-OQueueDirectory={queue}"),
    ];
    let option = format!("QueueDirectory={queue}");
    let lines: [&[&str]; 4] = [
        &["-C", secret, "-X", log, "-O", &option, "a@b.example"],
        &[&glued[0], &glued[1], &glued[2], &glued[3], "a@b.example"],
        // What a web program hands through when somebody types it as his address.
        &["-t", "-i", "-fx@y.example", "-X", log, "-oQ", queue, "a@b.example"],
        &["-t", "-fx", "--config", secret, "--host", "127.0.0.1:1", "a@b.example"],
    ];
    let before = names(&stage);
    for line in lines {
        let done = stage.sendmail(line, MAIL);
        assert_eq!((done.code, &done.stdout[..]), (Some(0), ""), "{line:?}: {done:?}");
        assert!(!done.stderr.contains("a secret"));
    }
    assert_eq!(names(&stage), before, "no file appeared");
    assert_eq!(fs::read_to_string(secret).unwrap(), "a secret");
    let dropped = stage.dropped();
    assert_eq!(dropped.len(), 4);
    assert!(dropped.iter().all(|dropped| !dropped.text().contains("secret")));
}

fn names(stage: &Stage) -> Vec<String> {
    let entries = fs::read_dir(stage.path("")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_sender_the_notices_and_the_id_reach_the_daemon() {
    let stage = Stage::new();
    let daemon = StandIn::at(&stage.socket(), &[]);
    let flags = [
        "-f",
        "<>",
        "-N",
        "never",
        "-R",
        "hdrs",
        "-V",
        "id 1",
        "-v",
        "-i",
        "--",
        "a@b.example",
        "root",
    ];
    let done = stage.sendmail(&flags, "Subject: gr\u{fc}n\n\n.\nend\n");
    let message = daemon.heard.recv().unwrap();
    assert!(message.ends_with(b"\r\n\r\n.\r\nend\r\n"));
    let commands = daemon.commands();
    let (_, proposed) = commands[1].split_once("XQUEUEID=").unwrap();
    let (id, user) = proposed.split_once(" XUID=").unwrap();
    assert_eq!(user, rustix::process::getuid().as_raw().to_string());
    let size = message.len();
    assert_eq!(
        commands,
        [
            "EHLO localhost".to_owned(),
            format!(
                "MAIL FROM:<> SIZE={size} BODY=8BITMIME RET=HDRS ENVID=id+201 XQUEUEID={id} XUID={user}"
            ),
            "RCPT TO:<a@b.example> NOTIFY=NEVER".to_owned(),
            "RCPT TO:<root> NOTIFY=NEVER".to_owned(),
            format!("BDAT {size} LAST"),
            "QUIT".to_owned(),
        ]
    );
    assert_eq!(
        (done.code, done.stdout, &done.stderr[..]),
        (Some(0), format!("queued as {id}\n"), "")
    );
}

#[test]
fn who_heard_nothing_after_the_message_leaves_it_under_the_same_id() {
    for script in [
        &[("BDAT", "")][..],
        &[("BDAT", "451 4.3.0 in transfer")],
        &[("MAIL", "452 4.3.1 full")],
        &[("RCPT", "451 4.3.0 later")],
        &[("greeting", "421 4.3.2 too many")],
        &[("greeting", "hello")],
    ] {
        let stage = Stage::new();
        let daemon = StandIn::at(&stage.socket(), script);
        let done = stage.sendmail(&["-v", "a@b.example"], MAIL);
        let dropped = stage.only_dropped();
        let id = dropped.name.strip_prefix("new.").unwrap().to_owned();
        assert_eq!(
            (done.code, done.stdout),
            (Some(0), format!("left for the daemon as {id}\n")),
            "{script:?}"
        );
        assert_eq!(dropped.head.recipients, ["RCPT TO:<a@b.example>"]);
        if let Some(mail) = daemon.commands().get(1) {
            assert!(mail.contains(&format!(" XQUEUEID={id} XUID=")), "{mail}");
        }
    }
}

#[test]
fn many_recipients_are_one_message_up_to_the_limit_of_a_transaction() {
    let stage = Stage::new();
    let recipients: Vec<String> = (0..250).map(|number| format!("r{number}@b.example")).collect();
    let input = format!("To: {}\n\nbody\n", recipients.join(",\n "));
    stage.sendmail(&["-t"], input).quietly();
    let counts: Vec<usize> =
        stage.dropped().iter().map(|dropped| dropped.head.recipients.len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 250);
    assert_eq!(counts.len(), 3);
    stage.configure("[listener]\nmax_recipients = 500\n");
    let before = stage.dropped().len();
    stage.sendmail(&["-t"], format!("Bcc: {}\n\nbody\n", recipients.join(","))).quietly();
    assert_eq!(stage.dropped().len(), before + 1);
}

#[test]
fn help_is_an_answer() {
    let done = Stage::new().sendmail(&["--help"], "");
    assert_eq!((done.code, done.stdout.contains("docs/sendmail.md")), (Some(0), true));
}

#[test]
fn the_aliases_are_checked_and_explained() {
    let stage = Stage::new();
    let aliases = stage.path("aliases");
    fs::write(&aliases, "root: joe@x.example\nweb: |/bin/program\npostmaster: root\n").unwrap();
    stage.configure(&format!("[identity]\naliases_file = {:?}\n", aliases.to_str().unwrap()));
    let checked = super::stage::call(&mut stage.command("newaliases", &[]), b"");
    assert_eq!((checked.code, &checked.stdout[..]), (Some(0), ""), "{checked:?}");
    assert!(
        checked.stderr.starts_with("newaliases: ") && checked.stderr.contains("line 2"),
        "{checked:?}"
    );
    assert_eq!(stage.sendmail(&["-bi"], "").code, Some(0));
    for flag in ["-bv", "-bt"] {
        let explained = stage.sendmail(&[flag, "postmaster", "a@b.example"], "");
        assert_eq!((explained.code, &explained.stderr[..]), (Some(0), ""), "{explained:?}");
        assert!(
            explained.stdout.contains("postmaster: ") && explained.stdout.contains("joe@x.example")
        );
        assert!(explained.stdout.contains("a@b.example: a@b.example"), "{explained:?}");
    }
    let unknown = stage.sendmail(&["-bv", "nobody-here"], "");
    assert_eq!((unknown.code, &unknown.stdout[..]), (Some(67), ""), "{unknown:?}");
    fs::remove_file(&aliases).unwrap();
    assert_eq!(stage.sendmail(&["-bi"], "").code, Some(78));
}
