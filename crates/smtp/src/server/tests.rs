//! The session as a whole: all pairs of state and command, how replies are collected, and what must
//! never happen. What a client sees is in tests/dialogues.

use super::*;

pub(super) fn session(trusted: bool) -> Session {
    let options = Options {
        hostname: "relay.example".into(),
        max_message_bytes: 5_000,
        max_recipients: 3,
        local_recipients: false,
    };
    let policy = Policy {
        starttls: true,
        authentication: Authentication::Optional,
        ..Policy::plain(trusted, options.max_message_bytes)
    };
    Session::new(
        Arc::new(options),
        Client { address: [192, 0, 2, 1].into(), encrypted: false, policy, local: false },
    )
}

/// Sends and carries out steps until input is needed, saying yes to every question.
pub(super) fn talk(session: &mut Session, bytes: &[u8]) -> Vec<Step> {
    session.receive(bytes);
    let mut steps = Vec::new();
    loop {
        let step = session.step();
        match &step {
            Step::Admit { .. } => session.admitted(Ok(())),
            Step::Begin(_) => session.begun(Ok(())),
            Step::Store => session.stored(Ok("id".into())),
            Step::NeedInput | Step::Close => {
                steps.push(step);
                return steps;
            }
            Step::StartTls => session.secured(),
            Step::Authenticate(_) => session.authenticated(Ok(())),
            Step::Send(_) | Step::Body(_) | Step::Abandon => {}
        }
        steps.push(step);
    }
}

/// The reply codes of a talk, the last code of each reply.
fn codes(steps: &[Step]) -> Vec<String> {
    let text: Vec<u8> = steps
        .iter()
        .filter_map(|step| if let Step::Send(bytes) = step { Some(bytes.clone()) } else { None })
        .flatten()
        .collect();
    let text = String::from_utf8(text).unwrap();
    text.lines()
        .filter(|line| line.as_bytes()[3] != b'-')
        .map(|line| line[..3].to_owned())
        .collect()
}

fn state_name(session: &Session) -> &'static str {
    match session.state {
        State::Ready => "ready",
        State::Mail(_) => "mail",
        State::Recipients(_) => "recipients",
        State::Receiving(_) => "data",
        State::Chunks(_) => "chunks",
        State::LoggingIn(_) => "login",
        State::Skipping(_) => "skipping",
        State::Closed => "closed",
        State::Connected
        | State::Admitting(_)
        | State::Beginning(_)
        | State::Chunk(_)
        | State::Securing
        | State::Authenticating { .. }
        | State::Complete(_)
        | State::Storing(_) => "waiting",
    }
}

/// Columns of the table: the states in which lines are read, and the commands that lead there.
const STATES: [(&str, &str); 5] = [
    ("ready", ""),
    ("mail", "MAIL FROM:<a@b>\r\n"),
    ("recipients", "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\n"),
    ("chunks", "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nBDAT 1\r\nx"),
    ("login", "AUTH PLAIN\r\n"),
];

/// The table of docs/internals/smtp-session.md: for each command, in each of [`STATES`], the reply's code and the next state.
fn transitions() -> Vec<(&'static str, Vec<&'static str>)> {
    let document = include_str!("../../../../docs/internals/smtp-session.md");
    let (_, section) = document.split_once("\n## The SMTP session\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let cells =
        |row: &'static str| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let mut rows = section.lines().filter(|line| line.starts_with('|')).map(cells);
    assert_eq!(
        rows.next().unwrap()[1..],
        STATES.map(|(name, _)| name),
        "the states at the head of the table"
    );
    rows.skip(1).map(|row| (row[0].trim_matches('`'), row[1..].to_vec())).collect()
}

#[test]
fn every_command_does_in_every_state_what_the_table_says() {
    let transitions = transitions();
    assert_eq!(transitions.len(), 25, "commands in the table: {transitions:?}");
    for (command, expectations) in transitions {
        assert_eq!(expectations.len(), STATES.len(), "{command}");
        for ((state, way), expected) in STATES.iter().zip(expectations) {
            let mut session = session(true);
            talk(&mut session, way.as_bytes());
            assert_eq!(state_name(&session), *state);
            let steps = talk(&mut session, format!("{command}\r\n").as_bytes());
            let seen = format!("{} {}", codes(&steps).join(" "), state_name(&session));
            assert_eq!(seen, expected, "{command} in {state}");
        }
    }
}

#[test]
fn replies_to_a_pipeline_are_sent_together_and_before_anything_that_takes_time() {
    let mut session = session(true);
    assert_eq!(codes(&talk(&mut session, b"")), ["220"]);
    let steps = talk(
        &mut session,
        b"NOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nNOOP\r\nMAIL FROM:<a@b>\r\n",
    );
    let names: Vec<_> = steps
        .iter()
        .map(|step| match step {
            Step::Send(_) => codes(std::slice::from_ref(step)).join(","),
            Step::Admit { declared_bytes } => format!("admit {declared_bytes}"),
            Step::Begin(_) => "begin".into(),
            Step::Body(_) => "body".into(),
            Step::Store => "store".into(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        names,
        [
            "admit 0",
            "250,250,250",
            "begin",
            "354",
            "body",
            "store",
            "admit 0",
            "250,250,250",
            "NeedInput"
        ]
    );
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut session = session(true);
    talk(&mut session, b"MAIL FROM:<a@b>\r\n");
    session.admitted(Ok(()));
    session.begun(Err(Refusal::Full));
    session.stored(Ok("id".into()));
    session.write_failed(Refusal::Full);
    assert_eq!(state_name(&session), "mail");
    assert_eq!(session.step(), Step::NeedInput);
}

#[test]
fn a_question_without_an_answer_waits() {
    let mut session = session(true);
    session.receive(b"MAIL FROM:<a@b> SIZE=7\r\n");
    assert_eq!(session.step(), Step::Admit { declared_bytes: 7 });
    assert!(matches!(session.step(), Step::Send(_)), "the greeting need not wait for the answer");
    assert_eq!(session.step(), Step::NeedInput);
    session.admitted(Err(Refusal::Unavailable));
    assert_eq!(
        session.step(),
        Step::Send(b"451 4.3.0 the queue is not available, try again later\r\n".to_vec())
    );
}

#[test]
fn who_is_to_go_to_another_host_hears_so_when_he_has_a_message_and_not_before() {
    let mut session = session(true);
    session.receive(b"MAIL FROM:<a@b>\r\n");
    assert_eq!(session.step(), Step::Admit { declared_bytes: 0 });
    session.admitted(Err(Refusal::Drained));
    let Step::Send(octets) = session.step() else { panic!("there is something to say") };
    let said = String::from_utf8(octets).unwrap();
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("421 4.3.2 ") && last.contains("another host"), "{said}");
    assert_eq!(session.step(), Step::Close);
}

#[test]
fn a_failed_write_of_the_last_part_refuses_the_message_instead_of_storing_it() {
    let mut session = session(true);
    talk(&mut session, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    session.receive(b"x\r\n.\r\n");
    assert_eq!(session.step(), Step::Body(b"x\r\n".to_vec()));
    session.write_failed(Refusal::Full);
    assert_eq!(codes(&talk(&mut session, b"NOOP\r\n")), ["452", "250"]);
}

#[test]
fn the_timeout_is_shorter_within_a_message() {
    let mut session = session(true);
    talk(&mut session, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    assert_eq!((session.timeout(), session.in_data()), (COMMAND_TIMEOUT, false));
    talk(&mut session, b"DATA\r\n");
    assert_eq!((session.timeout(), session.in_data()), (DATA_TIMEOUT, true));
    talk(&mut session, b".\r\n");
    assert_eq!((session.timeout(), session.in_data()), (COMMAND_TIMEOUT, false));
}

#[test]
fn an_abandoned_message_is_abandoned_once() {
    for end in [Session::timed_out, Session::closed_by_peer] {
        let mut session = session(true);
        talk(&mut session, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n");
        end(&mut session);
        let steps = talk(&mut session, b"more\r\n.\r\n");
        assert_eq!(steps.iter().filter(|step| **step == Step::Abandon).count(), 1, "{steps:?}");
        assert!(steps.ends_with(&[Step::Close]) && !steps.contains(&Step::Store), "{steps:?}");
    }
    let mut session = session(true);
    talk(&mut session, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n");
    let too_large = talk(&mut session, &[b'x'; 6_000]);
    assert_eq!(too_large, [Step::Abandon, Step::NeedInput]);
    session.closed_by_peer();
    assert_eq!(talk(&mut session, b""), [Step::Close]);
}

#[test]
fn a_session_ends_after_its_last_message() {
    let mut session = session(true);
    talk(&mut session, b"");
    let message = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n";
    for _ in 0..MESSAGES_MAX {
        assert_eq!(codes(&talk(&mut session, message)), ["250", "250", "354", "250"]);
    }
    assert_eq!(codes(&talk(&mut session, message)), ["421"]);
    assert_eq!(session.step(), Step::Close);
}

#[test]
fn an_idle_session_keeps_little_memory_and_a_pipeline_gets_its_replies_in_portions() {
    let mut session = session(true);
    let pipeline = "MAIL FROM:<a@b>\r\n".to_owned() + &"RCPT TO:<root>\r\n".repeat(900);
    let steps = talk(&mut session, pipeline.as_bytes());
    assert!(steps.iter().filter(|step| matches!(step, Step::Send(_))).count() > 2, "in portions");
    for step in &steps {
        assert!(!matches!(step, Step::Send(bytes) if bytes.len() > OUTPUT_BYTES_MAX + 1_000));
    }
    assert_eq!(codes(&steps).len(), 902);
    assert_eq!((session.input.pending().len(), session.output.capacity()), (0, 0));
}

#[test]
fn octets_behind_starttls_are_dropped_before_and_during_the_handshake() {
    let mut session = session(true);
    talk(&mut session, b"EHLO client.example\r\nAUTH PLAIN AGEAYg==\r\n");
    session.receive(b"MAIL FROM:<a@b>\r\nSTARTTLS\r\nMAIL FROM:<injected@b>\r\n");
    let mut steps = Vec::new();
    while !steps.contains(&Step::StartTls) {
        let step = session.step();
        if matches!(step, Step::Admit { .. }) {
            session.admitted(Ok(()));
        }
        steps.push(step);
    }
    assert_eq!(codes(&steps), ["250", "220"]);
    session.receive(b"RCPT TO:<injected@b>\r\n");
    assert_eq!(session.step(), Step::NeedInput, "nothing is read before the handshake");
    session.secured();
    assert_eq!(talk(&mut session, b""), [Step::NeedInput]);
    assert_eq!(codes(&talk(&mut session, b"RCPT TO:<a@b>\r\nSTARTTLS\r\n")), ["503", "503"]);
    assert!(session.login.is_none() && matches!(session.hello, Hello::Missing));
}

#[test]
fn a_chunk_that_is_abandoned_is_abandoned_once() {
    let chunk = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 5\r\nabcde";
    for end in [
        "RSET\r\n",
        "EHLO x\r\n",
        "QUIT\r\n",
        "GET / HTTP/1.0\r\n",
        "BDAT x\r\n",
        "BDAT 5000\r\n",
        "BDAT 99999999\r\n",
    ] {
        let mut session = session(true);
        assert_eq!(codes(&talk(&mut session, chunk)), ["220", "250", "250", "250"]);
        let mut steps = talk(&mut session, end.as_bytes());
        session.closed_by_peer();
        steps.extend(talk(&mut session, b""));
        assert_eq!(
            steps.iter().filter(|step| **step == Step::Abandon).count(),
            1,
            "{end}: {steps:?}"
        );
    }
    let mut session = session(true);
    talk(&mut session, chunk);
    session.timed_out();
    assert_eq!(
        talk(&mut session, b"")[0],
        Step::Send(
            b"421 4.4.2 relay.example waited too long and closes the connection\r\n".to_vec()
        )
    );
}

#[test]
fn a_failed_write_within_a_chunk_is_answered_behind_it() {
    for last in ["", " LAST"] {
        let mut session = session(true);
        talk(&mut session, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
        session.receive(format!("BDAT 4{last}\r\nNO").as_bytes());
        assert!(matches!(session.step(), Step::Begin(_)));
        session.begun(Ok(()));
        assert_eq!(session.step(), Step::Body(b"NO".to_vec()));
        session.write_failed(Refusal::Full);
        let steps = talk(&mut session, b"OPNOOP\r\nBDAT 0 LAST\r\n");
        assert_eq!(codes(&steps), ["452", "250", "503"], "{steps:?}");
        assert!(!steps.contains(&Step::Store) && !steps.contains(&Step::Abandon));
    }
}

#[test]
fn no_password_is_left_in_the_memory_of_a_session_or_printed() {
    let password = b"c2VjcmV0";
    let remembers = |session: &Session| {
        session.input.memory().windows(password.len()).any(|window| window == password)
    };
    for opening in ["AUTH LOGIN\r\nYQ==\r\n", ""] {
        let mut session = session(true);
        talk(&mut session, opening.as_bytes());
        session.receive(if opening.is_empty() {
            b"AUTH PLAIN AGEAc2VjcmV0\r\nNOOP\r\n"
        } else {
            b"c2VjcmV0\r\nNOOP\r\n"
        });
        assert!(remembers(&session), "where the password is before it is used");
        let mut step = session.step();
        while matches!(step, Step::Send(_)) {
            step = session.step();
        }
        let Step::Authenticate(credentials) = step else {
            panic!("no login");
        };
        assert_eq!(credentials.login, "a");
        assert!(!remembers(&session));
        let shown = format!("{session:?} {credentials:?}");
        assert!(
            !shown.contains("secret") && !shown.contains(&format!("{password:?}")[1..20]),
            "{shown}"
        );
    }
}

#[test]
fn a_client_may_go_away_in_every_state() {
    for (state, way) in STATES.iter().chain(&[
        ("data", "MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n"),
        ("skipping", "BDAT 5\r\nx"),
    ]) {
        for end in [Session::closed_by_peer, Session::timed_out] {
            let mut session = session(true);
            talk(&mut session, way.as_bytes());
            assert_eq!(state_name(&session), *state);
            end(&mut session);
            let steps = talk(&mut session, b"NOOP\r\n.\r\n");
            assert!(
                steps.ends_with(&[Step::Close]) && !steps.contains(&Step::Store),
                "{state}: {steps:?}"
            );
            let abandoned = steps.contains(&Step::Abandon);
            assert_eq!(abandoned, matches!(*state, "data" | "chunks"), "{state}: {steps:?}");
        }
    }
}

#[test]
fn recipients_that_are_refused_end_the_session_when_there_is_no_end_of_them() {
    let refused = "RCPT TO:<root>\r\n".repeat(REFUSED_RECIPIENTS_MAX + 3);
    for way in ["", "RCPT TO:<c@d>\r\nRCPT TO:<c@d>\r\nRCPT TO:<c@d>\r\n"] {
        let mut session = session(true);
        talk(&mut session, format!("MAIL FROM:<a@b>\r\n{way}").as_bytes());
        assert_eq!(talk(&mut session, refused.as_bytes()).last(), Some(&Step::NeedInput));
        // A new transaction is no new beginning.
        let steps = talk(&mut session, b"RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<root>\r\nNOOP\r\n");
        assert_eq!(codes(&steps), ["250", "250", "550", "421"]);
        assert_eq!(session.step(), Step::Close);
    }
    let mut session = session(true);
    for _ in 0..2 {
        let steps = talk(&mut session, format!("MAIL FROM:<a@b>\r\n{refused}").as_bytes());
        assert_eq!(steps.last(), Some(&Step::NeedInput));
        let steps = talk(&mut session, b"RCPT TO:<c@d>\r\nDATA\r\n.\r\n");
        assert_eq!(codes(&steps), ["250", "354", "250"], "a message begins the count anew");
    }
}

#[test]
fn a_device_that_makes_a_mistake_with_each_message_is_served_for_ever() {
    let mut session = session(true);
    talk(&mut session, b"");
    for _ in 0..5 * ERRORS_MAX {
        let steps =
            talk(&mut session, b"XYZZY\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n");
        assert_eq!(codes(&steps), ["500", "250", "250", "354", "250"]);
    }
    let steps = talk(&mut session, "XYZZY\r\n".repeat(ERRORS_MAX as usize).as_bytes());
    assert_eq!(
        codes(&steps).last().map(String::as_str),
        Some("421"),
        "without a message it is not"
    );
}

#[test]
fn a_proposed_queue_id_is_heard_from_a_program_of_this_host_and_from_nobody_else() {
    let id = "01k9e5mxkr0000000f3v2hq7cg";
    let talk_of = |local: bool, trusted: bool| {
        let client = Client { local, ..session(trusted).client };
        let mut session = Session::new(Arc::clone(&session(trusted).options), client);
        let mail = format!(
            "EHLO a\r\nMAIL FROM:<a@b> XQUEUEID={id} XUID=1000\r\nRCPT TO:<c@d>\r\nDATA\r\n"
        );
        let steps = talk(&mut session, mail.as_bytes());
        let transaction = steps.iter().find_map(|step| match step {
            Step::Begin(begun) => {
                Some((begun.proposed_id.clone(), begun.claimed_user, begun.protocol))
            }
            _ => None,
        });
        (transaction, steps)
    };
    assert_eq!(talk_of(true, true).0, Some((Some(id.to_owned()), Some(1_000), "local")));
    let (transaction, steps) = talk_of(false, true);
    assert_eq!(transaction, Some((None, None, "ESMTP")), "to a device they are unknown parameters");
    assert!(!format!("{steps:?}").contains("XQUEUEID"), "it is not advertised");
    assert_eq!(talk_of(false, false).0, None);
}

#[test]
fn what_is_heard_for_a_watcher_has_no_login_and_nothing_that_is_not_a_command() {
    let mut session = session(true);
    talk(&mut session, b"EHLO before\r\n");
    assert_eq!(session.take_heard(), Vec::<String>::new(), "nobody watches");
    session.keep_heard(true);
    let lines = b"EHLO a\r\nAUTH PLAIN AGFsaWNlAGh1bnRlcjI=\r\nAUTH hunter2\r\naHVudGVyMg==\r\nMAIL FROM:nonsense at b\r\n\
                  MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nhunter2\r\n.\r\nQUIT\r\n";
    talk(&mut session, lines);
    let heard = session.take_heard();
    let shown: Vec<&str> = heard.iter().map(String::as_str).collect();
    let expected = [
        "EHLO a",
        "AUTH PLAIN ***",
        "AUTH ***",
        "(12 octets that are not a command)",
        "MAIL FROM:nonsense at b",
        "MAIL FROM:<a@b>",
        "RCPT TO:<c@d>",
        "DATA",
        "QUIT",
    ];
    assert_eq!(shown, expected);
    assert_eq!(session.take_heard(), Vec::<String>::new(), "each line once");
}
