//! Streams of pages that are open: what they tell, how many there are, and how they end.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use super::{Browser, LIMIT, Stage};
use crate::support::daemon::within;

/// A stream, and what has come of it.
struct Stream {
    connection: TcpStream,
    heard: String,
    is_over: bool,
}

impl Stream {
    fn open(stage: &Stage, visitor: &Browser) -> Self {
        let mut connection = TcpStream::connect(stage.page).expect("a connection");
        let cookie = visitor.cookie.clone().unwrap_or_default();
        let request =
            format!("GET /live HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n", stage.page);
        connection.write_all(request.as_bytes()).expect("sent");
        connection.set_read_timeout(Some(Duration::from_millis(50))).expect("a limit");
        let mut stream = Self { connection, heard: String::new(), is_over: false };
        assert!(stream.hears("\r\n\r\n"), "{}", stream.heard);
        stream
    }

    /// Whether this comes, sooner or later.
    fn hears(&mut self, words: &str) -> bool {
        within(LIMIT, || {
            self.read();
            self.heard.contains(words)
        })
    }

    /// Whether it ends, sooner or later.
    fn ends(&mut self) -> bool {
        within(LIMIT, || {
            self.read();
            self.is_over
        })
    }

    fn read(&mut self) {
        let mut octets = [0; 4096];
        match self.connection.read(&mut octets) {
            Ok(0) => self.is_over = true,
            Ok(number) => self.heard += &String::from_utf8_lossy(&octets[..number]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.is_over = true,
        }
        // The last chunk; the conversation may go on.
        self.is_over |= self.heard.ends_with("\r\n0\r\n\r\n");
    }
}

#[test]
fn an_open_page_hears_of_what_came_in_and_of_nothing_else() {
    let stage = Stage::new();
    let visitor = stage.visitor(&["--look"]);
    let mut streams: Vec<Stream> = (0..3).map(|_| Stream::open(&stage, &visitor)).collect();
    for stream in &mut streams {
        assert!(stream.hears("\"accepted\":0"), "{}", stream.heard);
        let head = stream.heard.to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        for field in ["content-type: text/event-stream", "cache-control: no-store"] {
            assert!(head.contains(field), "{head}");
        }
    }
    stage.submit("a@example.org", "b@example.net", "Subject: private words\r\n\r\nx");
    for stream in &mut streams {
        assert!(stream.hears("\"accepted\":1"), "{}", stream.heard);
        assert!(!stream.heard.contains("private") && !stream.heard.contains("example"));
        let events = stream.heard.matches("data: ").count();
        assert!((2..=4).contains(&events), "only changes: {}", stream.heard);
    }
    let list = visitor.clone().get("/queue");
    assert!(list.body.contains("data-accepted=\"1\""), "{}", list.body);
}

#[test]
fn a_stream_ends_with_its_session_and_at_once_with_the_relay() {
    let stage = Stage::new();
    let (first, second) = (stage.visitor(&[]), stage.visitor(&[]));
    let (mut ended, mut open) = (Stream::open(&stage, &first), Stream::open(&stage, &second));
    let sessions = stage.json(&["page", "sessions"]);
    let number = sessions["sessions"][0]["number"].to_string();
    assert_eq!(stage.say(&["page", "end", &number]).0, Some(0));
    assert!(ended.ends(), "{}", ended.heard);
    open.read();
    assert!(!open.is_over, "another session's goes on");
    let Stage { daemon, home, .. } = stage;
    // A stop that waited for the stream would take 50 s.
    assert!(daemon.terminate(Duration::from_secs(10)).success());
    assert!(open.ends(), "{}", home.log());
}

#[test]
fn a_session_has_a_named_number_of_streams_and_gets_a_place_back() {
    let stage = Stage::new();
    let mut visitor = stage.visitor(&[]);
    let mut streams: Vec<Stream> = (0..4).map(|_| Stream::open(&stage, &visitor)).collect();
    let refused = visitor.get("/live");
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert!(stage.visitor(&[]).get("/queue").status == 200, "documents are shown all the same");
    let other = stage.visitor(&[]);
    assert!(Stream::open(&stage, &other).hears("data: "), "another session has its own");
    streams.pop();
    assert!(within(LIMIT, || { Stream::open(&stage, &visitor).heard.starts_with("HTTP/1.1 200") }));
    assert_eq!(stage.browser().get("/live").status, 401, "nobody follows without a session");
}

#[test]
fn the_script_is_the_only_one_that_a_document_may_run_and_no_document_needs_it() {
    let stage = Stage::new();
    let mut visitor = stage.visitor(&[]);
    for path in ["/", "/queue", "/dead", "/history"] {
        let document = visitor.get(path);
        let tag = document.own_script().expect("our script");
        assert_eq!(document.body.matches("<script").count(), 1, "{path}");
        let policy = document.head("content-security-policy").expect("a policy");
        let allowed = format!("script-src {}{tag}; connect-src 'self'", stage.page);
        assert!(policy.ends_with(&allowed), "{policy} and not {allowed}");
        assert!(document.body.contains("aria-live=\"polite\""), "{path}");
        let script = visitor.get(&tag);
        assert_eq!(script.status, 200);
        assert_eq!(script.head("content-type"), Some("text/javascript"));
        let cached = script.head("cache-control").expect("a rule");
        assert!(cached.contains("immutable"), "{cached}");
        for inline in ["onclick", "javascript:", "<style", " style="] {
            assert!(!document.body.contains(inline), "{path}: {inline}");
        }
    }
    for path in ["/clients", "/account", "/settings"] {
        assert_eq!(visitor.get(path).own_script(), None, "nothing is live in {path}");
    }
}
