//! The heartbeat against a small server of our own.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::Mutex,
    thread,
};

use super::*;
use crate::{
    admin::alert::outputs::Address, delivery::oauth::Endpoint, sync::lock,
    telemetry::tests::Captured,
};

const EVERY: Duration = Duration::from_secs(300);

/// The port of a receiver, the status that it answers with, and the first lines of what it has heard.
type Receiver = (u16, Arc<Mutex<&'static str>>, Arc<Mutex<Vec<String>>>);

/// Answers each request with the present status; keeps their first lines.
fn receiver() -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (status, heard) = (Arc::new(Mutex::new("200 OK")), Arc::<Mutex<Vec<String>>>::default());
    let (answer, log) = (Arc::clone(&status), Arc::clone(&heard));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lock(&log).push(lines.next().unwrap().unwrap());
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let status = *lock(&answer);
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (port, status, heard)
}

#[tokio::test]
async fn it_is_heard_while_all_is_well_and_what_changes_is_logged_once_without_the_address() {
    let (captured, _guard) = Captured::listening();

    let (port, status, heard) = receiver();
    let endpoint = Endpoint::new(&format!("http://127.0.0.1:{port}/ping/s3cret")).unwrap();
    let address = Address::Written(endpoint);
    let mut pulse = Pulse::new(Heartbeat { address, every: EVERY }, None);
    assert_eq!(pulse.turn(None).await, EVERY);
    assert_eq!(lock(&heard).clone(), ["GET /ping/s3cret HTTP/1.1"]);
    let paused = || Some("the account is paused-login: 535".to_owned());
    for _ in 0..3 {
        assert_eq!(pulse.turn(paused()).await, SOON);
    }
    assert_eq!(lock(&heard).len(), 1, "silence is the alarm");
    *lock(&status) = "503 Service Unavailable";
    for _ in 0..3 {
        assert_eq!(pulse.turn(None).await, SOON);
    }
    *lock(&status) = "204 No Content";
    assert_eq!(pulse.turn(None).await, EVERY);
    assert_eq!(pulse.turn(None).await, EVERY);
    assert_eq!(lock(&heard).len(), 6);
    let log = captured.text();
    for (words, times) in [
        ("the heartbeat stays away", 1),
        ("the heartbeat could not be sent", 1),
        ("HTTP status 503", 1),
        ("the heartbeat is heard again", 1),
        ("s3cret", 0),
    ] {
        assert_eq!(log.matches(words).count(), times, "{words}: {log}");
    }
    assert!(!format!("{pulse:?}").contains("s3cret"), "{pulse:?}");
}
