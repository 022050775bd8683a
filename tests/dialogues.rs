//! SMTP dialogues as files (`tests/dialogues/*.smtp`), run against the pure session, over a socket, and
//! against the daemon.
//!
//! Rule: the behaviour of the listener is written there first. `dialogues/dialogue.rs` explains the format.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod daemon;
mod dialogue;
mod pure;

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

pub(crate) use self::dialogue::{Dialogue, Event, Turn};
use self::{
    dialogue::Arrival,
    pure::{Cut, Outcome, check_login, options_of, run},
};
use pillarbox::smtp::server::{Session, Step};

/// How long a test waits for a line of a server on this machine before it fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// Dialogues that a socket must hold, at least.
const OVER_A_SOCKET_MIN: usize = 50;
/// Dialogues that the daemon must hold, at least. The others need a clock, a stop or a store that the test
/// controls, or a client from elsewhere.
const WITH_THE_DAEMON_MIN: usize = 50;

/// Holds the dialogue with a server at `address`. What arrives there is for the caller to check.
///
/// # Errors
/// The first line of the server that is not as written, or missing.
pub(crate) async fn run_against(address: SocketAddr, dialogue: &Dialogue) -> Result<(), String> {
    let mut stream =
        BufReader::new(TcpStream::connect(address).await.map_err(|error| error.to_string())?);
    for (number, turn) in dialogue.turns.iter().enumerate() {
        let wrong = |what: String| format!("{}, turn {}: {what}", dialogue.name, number + 1);
        match turn {
            // A server that has closed may have its client's bytes refused; the next line tells.
            Turn::Send(bytes) => drop(stream.write_all(bytes).await),
            Turn::Event(Event::Eof) => drop(stream.shutdown().await),
            Turn::Event(event) => {
                return Err(wrong(format!("{event:?} cannot happen over a socket")));
            }
            Turn::Expect(expected) => {
                let mut line = String::new();
                let read = tokio::time::timeout(PATIENCE, stream.read_line(&mut line)).await;
                let line = line.strip_suffix("\r\n").unwrap_or(&line);
                if !expected.matches(line) {
                    return Err(wrong(format!("expected {expected:?}, got {line:?} ({read:?})")));
                }
            }
            Turn::ExpectClose => {
                let mut rest = Vec::new();
                let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
                // A reset is a close that lost the race with our bytes.
                if read.is_err() || !rest.is_empty() {
                    return Err(wrong(format!("expected a close, got {rest:?}")));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_dialogue_goes_as_written_however_its_bytes_are_cut() {
    let dialogues = Dialogue::all();
    assert!(dialogues.len() >= 35, "only {} dialogues were found", dialogues.len());
    for dialogue in &dialogues {
        let mut as_written = run(dialogue, Cut::AsWritten);
        check(dialogue, &as_written);
        if dialogue.directive("timing").is_some() {
            continue;
        }
        as_written.quirks.clear();
        let mut cuts = vec![Cut::Whole, Cut::Bytes];
        cuts.extend([Cut::Random; 10]);
        for cut in cuts {
            let outcome = Outcome { quirks: Vec::new(), ..run(dialogue, cut) };
            assert_eq!(outcome, as_written, "{} with {cut:?}", dialogue.name);
        }
    }
}

#[tokio::test]
async fn every_dialogue_goes_as_written_over_a_socket() {
    let dialogues = Dialogue::all();
    let held: Vec<_> =
        dialogues.iter().filter(|dialogue| !dialogue.is_for_the_pure_session_only()).collect();
    assert!(
        held.len() >= OVER_A_SOCKET_MIN,
        "only {} dialogues were held over a socket",
        held.len()
    );
    for dialogue in held {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, dialogue).await;
        };
        let ((), talk) = tokio::join!(serving, run_against(address, dialogue));
        assert_eq!(talk, Ok(()));
    }
}

#[tokio::test]
async fn every_dialogue_goes_as_written_with_the_daemon_and_its_queue_holds_what_arrived() {
    let dialogues = Dialogue::all();
    let groups = daemon::by_settings(&dialogues);
    let count: usize = groups.values().map(Vec::len).sum();
    assert!(count >= WITH_THE_DAEMON_MIN, "only {count} dialogues were held with the daemon");
    for (settings, dialogues) in &groups {
        daemon::hold(settings, dialogues).await;
    }
}

#[test]
fn a_mistake_in_a_dialogue_file_is_found() {
    for text in [
        "X: what",
        "C! jump",
        "M: no end",
        "C: NOOP\n@ trusted no",
        "Q: no-such-oddity",
        "@ no_such_option 1",
        "C: \\q",
    ] {
        assert!(std::panic::catch_unwind(|| Dialogue::parse("mistake", text)).is_err(), "{text}");
    }
}

fn check(dialogue: &Dialogue, outcome: &Outcome) {
    let expected: Vec<_> = dialogue
        .turns
        .iter()
        .filter_map(|turn| if let Turn::Expect(line) = turn { Some(line) } else { None })
        .collect();
    let name = &dialogue.name;
    assert_eq!(outcome.replies.len(), expected.len(), "{name}: {:#?}", outcome.replies);
    assert_eq!(
        outcome.closed,
        dialogue.turns.contains(&Turn::ExpectClose),
        "{name}: closed at the end"
    );
    if let Some(quirks) = &dialogue.quirks {
        assert_eq!(outcome.quirks, *quirks, "{name}: oddities");
    }
    expect_arrivals(name, outcome.arrivals.clone(), &dialogue.arrivals);
}

/// A dialogue that does not say what the envelope is does not care.
fn expect_arrivals(name: &str, mut arrivals: Vec<Arrival>, expected: &[Arrival]) {
    for (arrival, expected) in arrivals.iter_mut().zip(expected) {
        if expected.envelope.is_empty() {
            arrival.envelope.clear();
        }
    }
    assert_eq!(readable(&arrivals), readable(expected), "{name}: what arrived");
}

fn readable(arrivals: &[Arrival]) -> Vec<(String, String)> {
    arrivals
        .iter()
        .map(|arrival| (arrival.envelope.clone(), arrival.message.escape_ascii().to_string()))
        .collect()
}

/// The smallest server around the session: it stores nothing and says yes to everything.
async fn serve(mut stream: TcpStream, dialogue: &Dialogue) {
    let (options, client) = options_of(dialogue);
    let mut session = Session::new(options, client);
    let mut buffer = [0; 4096];
    loop {
        match session.step() {
            Step::Send(bytes) => drop(stream.write_all(&bytes).await),
            Step::Admit { .. } => session.admitted(Ok(())),
            Step::Begin(_) => session.begun(Ok(())),
            Step::Store => session.stored(Ok("01test".to_owned())),
            Step::Body(_) | Step::Abandon => {}
            Step::StartTls => session.secured(),
            Step::Authenticate(credentials) => {
                session.authenticated(check_login(dialogue, &credentials))
            }
            Step::NeedInput => match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => session.closed_by_peer(),
                Ok(count) => session.receive(&buffer[..count]),
            },
            Step::Close => return,
        }
    }
}
