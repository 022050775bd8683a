//! The session as a whole: all pairs of state and command, how replies are collected, and that no
//! input upsets it. What a client sees is in tests/dialogues.

use super::*;

fn session(trusted: bool) -> Session {
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
    Session::new(Arc::new(options), Client { address: [192, 0, 2, 1].into(), encrypted: false, policy })
}

/// Sends and carries out steps until input is needed, saying yes to every question.
fn talk(session: &mut Session, bytes: &[u8]) -> Vec<Step> {
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
    text.lines().filter(|line| line.as_bytes()[3] != b'-').map(|line| line[..3].to_owned()).collect()
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

/// The table of ARCHITECTURE.md: for each command, in each of [`STATES`], the reply's code and the next state.
fn transitions() -> Vec<(&'static str, Vec<&'static str>)> {
    let document = include_str!("../../../ARCHITECTURE.md");
    let (_, section) = document.split_once("\n## The SMTP session\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let cells = |row: &'static str| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
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
        ["admit 0", "250,250,250", "begin", "354", "body", "store", "admit 0", "250,250,250", "NeedInput"]
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
    let pipeline = "MAIL FROM:<a@b>\r\n".to_owned() + &"RCPT TO:<root>\r\n".repeat(4_000);
    let steps = talk(&mut session, pipeline.as_bytes());
    for step in &steps {
        assert!(!matches!(step, Step::Send(bytes) if bytes.len() > OUTPUT_BYTES_MAX + 1_000));
    }
    assert_eq!(codes(&steps).len(), 4_002);
    assert_eq!((session.input.pending().len(), session.output.capacity()), (0, 0));
}

/// Octets that have a meaning somewhere, so that chance meets the odd corners.
const PIECES: [&[u8]; 36] = [
    b"MAIL FROM:<a@b>\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
    b"DATA\r\n",
    b"RSET\r\n",
    b"QUIT\r\n",
    b"NOOP\r\n",
    b"EHLO x\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN\r\n",
    b"AUTH PLAIN AGEAYg==\r\n",
    b"AUTH LOGIN\r\n",
    b"AUTH LOGIN YQ==\r\n",
    b"AGEAYg==\r\n",
    b"*\r\n",
    b"BDAT 5\r\n",
    b"BDAT 5\r\nab\rcd",
    b"BDAT 7 LAST\r\nab\n.\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 4999\r\n",
    b"BDAT 999999\r\n",
    b".\r\n",
    b"\r\n.\r\n",
    b"\n.\n",
    b".",
    b"\r",
    b"\n",
    b"\0",
    b"..\r\n",
    b"Received: x\r\n",
    b"text ",
    b"\xff",
    b"<",
    b"\"",
    b":",
    b"\x16",
];

#[test]
fn whatever_comes_the_result_does_not_depend_on_how_it_is_cut() {
    let (mut stored, mut logins) = (0, 0);
    for _ in 0..4_000 {
        let opening: &[u8] = match fastrand::u8(0..4) {
            0 => b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
            1 => b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 20\r\n",
            _ => b"",
        };
        let mut bytes = opening.to_vec();
        for _ in 0..fastrand::usize(0..30) {
            bytes.extend(*fastrand::choice(&PIECES).unwrap());
        }
        let groups = split_behind_starttls(&bytes);
        let whole = result(talk_in_groups(&groups, usize::MAX));
        stored += whole.2[1];
        logins += whole.2[3];
        for largest in [1, 3, 20] {
            assert_eq!(result(talk_in_groups(&groups, largest)), whole, "{}", bytes.escape_ascii());
        }
    }
    assert!(stored > 100 && logins > 100, "chance meets the interesting corners: {stored}, {logins}");
}

/// What follows STARTTLS in the same packet is dropped; so that no cut can make a difference, the client
/// waits there, as it must.
fn split_behind_starttls(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut groups, mut rest) = (Vec::new(), bytes);
    let command: &[u8] = b"STARTTLS\r\n";
    while let Some(at) = rest.windows(command.len()).position(|window| window == command) {
        let (group, after) = rest.split_at(at + command.len());
        groups.push(group.to_vec());
        rest = after;
    }
    groups.push(rest.to_vec());
    groups
}

fn talk_in_groups(groups: &[Vec<u8>], largest: usize) -> Vec<Step> {
    let mut session = session(true);
    let mut steps = talk(&mut session, b"");
    for group in groups {
        let mut rest = group.as_slice();
        while !rest.is_empty() {
            let length = if largest == usize::MAX { rest.len() } else { fastrand::usize(1..=largest) };
            let (piece, after) = rest.split_at(length.min(rest.len()));
            steps.extend(talk(&mut session, piece));
            rest = after;
        }
    }
    steps
}

/// The replies, the octets of all messages, and the number of each step that concerns a draft or a login.
fn result(steps: Vec<Step>) -> (Vec<u8>, Vec<u8>, [usize; 5]) {
    let (mut replies, mut bodies, mut counts) = (Vec::new(), Vec::new(), [0; 5]);
    for step in steps {
        match step {
            Step::Send(bytes) => replies.extend(bytes),
            Step::Body(bytes) => bodies.extend(bytes),
            Step::Begin(_) => counts[0] += 1,
            Step::Store => counts[1] += 1,
            Step::Abandon => counts[2] += 1,
            Step::Authenticate(_) => counts[3] += 1,
            Step::StartTls => counts[4] += 1,
            Step::Admit { .. } | Step::NeedInput | Step::Close => {}
        }
    }
    let unpaired = String::from_utf8_lossy(&bodies).replace("\r\n", "");
    assert!(!unpaired.contains(['\r', '\n', '\0']), "{}", bodies.escape_ascii());
    (replies, bodies, counts)
}

#[test]
fn random_octets_never_store_a_message_whose_end_did_not_come() {
    for _ in 0..20_000 {
        let mut bytes = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n".to_vec();
        bytes.extend_from_slice(if fastrand::bool() { b"DATA\r\n" } else { b"BDAT 60\r\n" });
        let random = fastrand::usize(0..60);
        bytes.extend((0..random).map(|_| *fastrand::choice(b"\r\n.\0BDATLS 05x\xff").unwrap()));
        let steps = talk(&mut session(true), &bytes);
        let has_end = bytes.windows(5).any(|window| window == b"\r\n.\r\n");
        assert!(has_end || !steps.contains(&Step::Store), "{}", bytes.escape_ascii());
    }
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
        assert_eq!(steps.iter().filter(|step| **step == Step::Abandon).count(), 1, "{end}: {steps:?}");
    }
    let mut session = session(true);
    talk(&mut session, chunk);
    session.timed_out();
    assert_eq!(
        talk(&mut session, b"")[0],
        Step::Send(b"421 4.4.2 relay.example waited too long and closes the connection\r\n".to_vec())
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
fn no_password_is_left_in_the_memory_of_a_session() {
    let mut session = session(true);
    talk(&mut session, b"AUTH LOGIN\r\n");
    talk(&mut session, b"YQ==\r\n");
    session.receive(b"c2VjcmV0\r\nNOOP\r\n");
    let octets = format!("{:?}", b"c2VjcmV0");
    let octets = octets.trim_matches(['[', ']']);
    assert!(format!("{session:?}").contains(octets), "where the password is before it is used");
    let Step::Authenticate(credentials) = session.step() else {
        panic!("no login");
    };
    assert_eq!(credentials.login, "a");
    let shown = format!("{session:?} {credentials:?}");
    assert!(!shown.contains(octets) && !shown.contains("secret"), "{shown}");
}
