//! Runs a dialogue against the pure session, with its bytes cut in any way.
//!
//! Rule: the driver here keeps the contract of `Session::step` and checks that the machine does, too.

use std::sync::Arc;

use pillarbox::smtp::server::{
    Authentication, Client, Credentials, INPUT_BYTES_MAX, LoginRefusal, Options, Policy, Refusal,
    Session, Step,
};

use pillarbox::secret::Secret;

use super::dialogue::{Arrival, Dialogue, Event, Turn, envelope_text};

/// How the client's bytes are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// A client that waits for the replies: they must be there when it expects them.
    AsWritten,
    /// A client that waits for nothing.
    Whole,
    Bytes,
    Random,
}

/// Everything that came out of a run.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) replies: Vec<String>,
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) closed: bool,
    /// The names of the oddities that were reported, sorted. How bytes come decides about some of them.
    pub(crate) quirks: Vec<String>,
}

/// Runs the dialogue; checks at each of the server's lines that it has come, when the client waits.
pub(crate) fn run(dialogue: &Dialogue, cut: Cut) -> Outcome {
    let mut driver = Driver::new(dialogue);
    let waits = matches!(cut, Cut::AsWritten) || dialogue.must_wait();
    if !matches!(dialogue.turns.first(), Some(Turn::Send(_))) {
        driver.pump();
    }
    let (mut unsent, mut expected) = (Vec::new(), 0);
    for turn in &dialogue.turns {
        match turn {
            Turn::Send(bytes) => unsent.extend_from_slice(bytes),
            Turn::Event(event) => {
                driver.feed(&mut unsent, cut);
                driver.happen(*event);
            }
            Turn::Expect(line) => {
                expected += 1;
                if waits {
                    driver.feed(&mut unsent, cut);
                    let reply = driver.replies().get(expected - 1).cloned();
                    assert!(
                        reply.as_ref().is_some_and(|reply| line.matches(reply)),
                        "{}: line {expected} of the server is {reply:?}, not {line:?}",
                        dialogue.name
                    );
                }
            }
            Turn::ExpectClose => driver.feed(&mut unsent, cut),
        }
    }
    driver.feed(&mut unsent, cut);
    let mut quirks: Vec<_> =
        driver.session.take_quirks().iter().map(|quirk| quirk.name().to_owned()).collect();
    quirks.sort();
    Outcome { replies: driver.replies(), arrivals: driver.arrivals, closed: driver.closed, quirks }
}

/// What `Session` is told by a dialogue.
pub(crate) fn options_of(dialogue: &Dialogue) -> (Arc<Options>, Client) {
    let number = |key: &str, default: u64| {
        dialogue.directive(key).map_or(default, |text| text.parse().unwrap())
    };
    let options = Options {
        hostname: dialogue.directive("hostname").unwrap_or("relay.example").to_owned(),
        max_message_bytes: number("max_message_bytes", 35_872_000),
        max_recipients: usize::try_from(number("max_recipients", 1_000)).unwrap(),
        local_recipients: dialogue.directive("local_recipients") != Some("no"),
    };
    let is = |key: &str| dialogue.directive(key) == Some("yes");
    let authentication = match dialogue.directive("authentication") {
        None | Some("off") => Authentication::Off,
        Some("optional") => Authentication::Optional,
        Some("required") => Authentication::Required,
        Some("accept-any") => Authentication::AcceptAny,
        Some(other) => panic!("unknown authentication {other}"),
    };
    let policy = Policy {
        starttls: is("starttls"),
        authentication,
        priorities: dialogue.directive("priority_hints") == Some("true"),
        ..Policy::plain(dialogue.directive("trusted") != Some("no"), options.max_message_bytes)
    };
    let address = dialogue.directive("client").unwrap_or("127.0.0.1").parse().unwrap();
    (Arc::new(options), Client { address, encrypted: is("encrypted"), policy, local: false })
}

/// Whether a login is right, by the directive.
pub(crate) fn check_login(
    dialogue: &Dialogue,
    credentials: &Credentials,
) -> Result<(), LoginRefusal> {
    let login = dialogue.directive("login").unwrap();
    if login == "unavailable" {
        return Err(LoginRefusal::Unavailable);
    }
    let (name, password) = login.split_once(' ').unwrap();
    let right = Credentials { login: name.to_owned(), password: Secret::new(password.to_owned()) };
    if *credentials == right { Ok(()) } else { Err(LoginRefusal::Wrong) }
}

struct Driver<'a> {
    dialogue: &'a Dialogue,
    session: Session,
    output: Vec<u8>,
    /// The message in transfer.
    draft: Option<Arrival>,
    arrivals: Vec<Arrival>,
    closed: bool,
    /// The session has asked for the handshake, and it has not happened yet.
    securing: bool,
}

impl<'a> Driver<'a> {
    fn new(dialogue: &'a Dialogue) -> Self {
        let (options, client) = options_of(dialogue);
        let session = Session::new(options, client);
        Self {
            dialogue,
            session,
            output: Vec::new(),
            draft: None,
            arrivals: Vec::new(),
            closed: false,
            securing: false,
        }
    }

    fn replies(&self) -> Vec<String> {
        let text = String::from_utf8(self.output.clone()).unwrap();
        assert!(text.is_empty() || text.ends_with("\r\n"), "replies are complete lines: {text:?}");
        text.split_terminator("\r\n").map(str::to_owned).collect()
    }

    fn feed(&mut self, bytes: &mut Vec<u8>, cut: Cut) {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && !self.closed {
            let length = match cut {
                Cut::AsWritten | Cut::Whole => INPUT_BYTES_MAX,
                Cut::Bytes => 1,
                Cut::Random => fastrand::usize(1..40),
            };
            let (piece, after) = rest.split_at(length.min(rest.len()));
            self.session.receive(piece);
            self.pump();
            rest = after;
        }
        bytes.clear();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Eof => {
                self.securing = false;
                self.session.closed_by_peer();
            }
            Event::Timeout => self.session.timed_out(),
            Event::Drain => self.session.draining(),
            Event::Tls => {
                assert!(self.securing, "{}: no handshake was asked for", self.dialogue.name);
                self.securing = false;
                self.session.secured();
            }
        }
        self.pump();
    }

    /// Carries out steps until the session needs input or closes.
    fn pump(&mut self) {
        while !self.closed && !self.securing {
            match self.session.step() {
                Step::Send(bytes) => self.output.extend(bytes),
                Step::Admit { .. } => {
                    self.session.admitted(self.refusal("admit").map_or(Ok(()), Err))
                }
                Step::Begin(transaction) => {
                    assert!(self.draft.is_none(), "one message at a time");
                    let refusal = self.refusal("begin");
                    if refusal.is_none() {
                        let envelope = envelope_text(&transaction);
                        self.draft = Some(Arrival { envelope, message: Vec::new() });
                    }
                    self.session.begun(refusal.map_or(Ok(()), Err));
                }
                Step::Body(bytes) => match self.refusal("write") {
                    Some(refusal) => {
                        assert!(self.draft.take().is_some(), "no body without a draft");
                        self.session.write_failed(refusal);
                    }
                    None => self.draft.as_mut().unwrap().message.extend(bytes),
                },
                Step::Store => {
                    let arrival = self.draft.take().unwrap();
                    let refusal = self.refusal("stored");
                    if refusal.is_none() {
                        self.arrivals.push(arrival);
                    }
                    self.session.stored(refusal.map_or_else(|| Ok("01test".to_owned()), Err));
                }
                Step::StartTls => self.securing = true,
                Step::Authenticate(credentials) => {
                    self.session.authenticated(check_login(self.dialogue, &credentials));
                }
                Step::Abandon => assert!(self.draft.take().is_some(), "nothing to abandon"),
                Step::NeedInput => return,
                Step::Close => {
                    assert!(
                        self.draft.is_none(),
                        "a draft is stored or abandoned before the session closes"
                    );
                    self.closed = true;
                }
            }
        }
    }

    fn refusal(&self, key: &str) -> Option<Refusal> {
        match self.dialogue.directive(key)? {
            "full" => Some(Refusal::Full),
            "unavailable" => Some(Refusal::Unavailable),
            other => panic!("unknown refusal {other}"),
        }
    }
}
