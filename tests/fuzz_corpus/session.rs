//! The fuzz target of the session: any bytes of a client, under any policy, cut in any way.
//!
//! The first three octets choose policy, answers and cuts; the rest is what the client sends. The driver
//! carries out every step as the listener does, and checks what must hold whatever comes in.

use std::{net::Ipv4Addr, sync::Arc};

use pillarbox::smtp::server::{
    Authentication, Client, Credentials, INPUT_BYTES_MAX, LoginRefusal, OUTPUT_BYTES_MAX, Options,
    Policy, Refusal, Session, Step, Transaction,
};

/// Octets before the client's bytes.
pub(crate) const CHOICES: usize = 3;
/// Octets of one reply line (RFC 5321 section 4.5.3.1.5), and of the longest reply with all its lines.
const REPLY_LINE_BYTES_MAX: usize = 512;
const REPLY_BYTES_MAX: usize = 4 * 1024;
/// Steps for one octet of input, and besides: more would be a session that spins.
const STEPS_PER_OCTET: usize = 8;
const STEPS_BESIDES: usize = 64;
const RECIPIENTS_MAX: usize = 4;

/// What the first octets choose.
#[derive(Clone, Copy, Debug)]
struct Choices {
    trusted: bool,
    starttls: bool,
    encrypted: bool,
    authentication: Authentication,
    small: bool,
    local_recipients: bool,
    /// Each question takes the next bits; 0 is a world in which everything works.
    answers: u8,
    /// Octets fed at a time; `None` is all at once.
    cut: Option<usize>,
    ending: Ending,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Open,
    Eof,
    Timeout,
    Drain,
}

impl Choices {
    fn of(octets: [u8; CHOICES]) -> Self {
        let [policy, answers, course] = octets;
        Self {
            trusted: policy & 1 == 0,
            starttls: policy & 2 != 0,
            encrypted: policy & 4 != 0,
            authentication: match policy >> 3 & 3 {
                0 => Authentication::Off,
                1 => Authentication::Optional,
                2 => Authentication::Required,
                _ => Authentication::AcceptAny,
            },
            small: policy & 32 != 0,
            local_recipients: policy & 64 == 0,
            answers,
            cut: match course & 15 {
                0 => None,
                octets => Some(usize::from(octets)),
            },
            ending: match course >> 4 & 3 {
                0 => Ending::Open,
                1 => Ending::Eof,
                2 => Ending::Timeout,
                _ => Ending::Drain,
            },
        }
    }

    fn session(self) -> Session {
        let max_message_bytes = if self.small { 100 } else { 100_000 };
        let options = Options {
            hostname: "relay.example".to_owned(),
            max_message_bytes,
            max_recipients: RECIPIENTS_MAX,
            local_recipients: self.local_recipients,
        };
        let policy = Policy {
            trusted: self.trusted,
            starttls: self.starttls,
            authentication: self.authentication,
            max_message_bytes,
            priorities: self.trusted,
        };
        let client = Client {
            address: Ipv4Addr::LOCALHOST.into(),
            encrypted: self.encrypted,
            policy,
            local: false,
        };
        Session::new(Arc::new(options), client)
    }
}

/// Runs one input. Panics when something does not hold.
pub(crate) fn run(input: &[u8]) {
    let Some((octets, client)) = input.split_first_chunk::<CHOICES>() else { return };
    let choices = Choices::of(*octets);
    let outcome = Driver::new(choices).run(client);
    let ends = if choices.trusted { lone_dots(client) } else { ends_of_data(client) };
    let chunks = last_chunks(client);
    assert!(
        outcome.stored.len() <= ends + chunks,
        "{} messages, but {ends} ends of data and {chunks} last chunks",
        outcome.stored.len()
    );
    // How the bytes are cut makes no difference to a trusted client. A stranger who speaks too early is sent
    // away, and where TLS begins it matters to everybody, because what comes before the handshake is thrown away.
    if choices.trusted && choices.cut.is_some() && choices.answers == 0 && !outcome.upgraded {
        let whole = Driver::new(Choices { cut: None, ..choices }).run(client);
        let (cut, whole_text) = (|| text(&outcome.replies), || text(&whole.replies));
        // What has come behind a refused DATA ends the session, what comes later need not: there one run may
        // end before the other, and until then they agree.
        let (refused, agree) = if refuses_data(&whole.replies) || refuses_data(&outcome.replies) {
            (true, is_beginning(&outcome.replies, &whole.replies))
        } else {
            (false, outcome.replies == whole.replies)
        };
        assert!(agree, "the replies depend on the cuts: {} {}", cut(), whole_text());
        let same = outcome.stored == whole.stored
            || refused && is_beginning(&outcome.stored, &whole.stored);
        assert!(same, "the messages depend on the cuts");
    }
}

/// Whether DATA may have been refused.
fn refuses_data(replies: &[u8]) -> bool {
    let refusals =
        ["503 5.5.1 ", "554 5.5.1 no valid", "501 5.5.4 syntax: DATA", "500 5.5.2 ", "501 5.5.2 "];
    text(replies)
        .split("\\r\\n")
        .any(|line| refusals.iter().any(|refusal| line.starts_with(refusal)))
}

/// Whether one is the beginning of the other.
fn is_beginning<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// What came out of a session.
#[derive(Debug, Default)]
struct Outcome {
    replies: Vec<u8>,
    stored: Vec<Vec<u8>>,
    upgraded: bool,
}

struct Driver {
    choices: Choices,
    session: Session,
    questions: u32,
    draft: Option<Vec<u8>>,
    /// RCPTs that were answered with 250 since the last MAIL that was.
    recipients: usize,
    /// What the client sends in all.
    client: Vec<u8>,
    logged_in: bool,
    encrypted: bool,
    closed: bool,
    steps_left: usize,
    outcome: Outcome,
}

impl Driver {
    fn new(choices: Choices) -> Self {
        Self {
            choices,
            session: choices.session(),
            questions: 0,
            draft: None,
            recipients: 0,
            client: Vec::new(),
            logged_in: false,
            encrypted: choices.encrypted,
            closed: false,
            steps_left: STEPS_BESIDES,
            outcome: Outcome::default(),
        }
    }

    fn run(mut self, client: &[u8]) -> Outcome {
        self.client = client.to_vec();
        self.pump();
        for piece in client.chunks(self.choices.cut.unwrap_or(INPUT_BYTES_MAX)) {
            if self.closed {
                break;
            }
            self.steps_left += piece.len() * STEPS_PER_OCTET;
            self.session.receive(piece);
            self.pump();
        }
        if !self.closed {
            self.end();
        }
        self.outcome
    }

    fn end(&mut self) {
        self.steps_left += STEPS_BESIDES;
        match self.choices.ending {
            Ending::Open => {}
            Ending::Drain => {
                self.session.draining();
                self.pump();
                assert!(self.closed || self.session.in_data(), "a stop ends what is not a message");
            }
            Ending::Eof => {
                self.session.closed_by_peer();
                self.pump();
                assert!(self.closed, "a client that has gone ends the session");
            }
            Ending::Timeout => {
                self.session.timed_out();
                self.pump();
                assert!(self.closed, "a silent client ends the session");
            }
        }
    }

    /// Carries out steps until the session needs input or closes.
    fn pump(&mut self) {
        loop {
            assert!(self.steps_left > 0, "the session spins");
            self.steps_left -= 1;
            match self.session.step() {
                Step::NeedInput => return,
                Step::Close => {
                    assert!(self.draft.is_none(), "a draft is stored or abandoned before the end");
                    assert_eq!(self.session.step(), Step::Close, "the end is the end");
                    self.closed = true;
                    return;
                }
                step => self.carry_out(step),
            }
        }
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Send(bytes) => self.send(&bytes),
            Step::Admit { .. } => {
                let answer = self.refusal();
                self.check_permission();
                self.session.admitted(answer.map_or(Ok(()), Err));
            }
            Step::Begin(transaction) => {
                self.check_permission();
                check_transaction(&transaction);
                self.check_recipients(&transaction);
                let any = self.choices.authentication == Authentication::AcceptAny;
                let logged_in = transaction.login.is_some();
                assert!(logged_in == self.logged_in || any, "who has logged in is known");
                assert!(self.draft.is_none(), "one message at a time");
                let answer = self.refusal();
                self.draft = answer.is_none().then(Vec::new);
                self.session.begun(answer.map_or(Ok(()), Err));
            }
            Step::Body(bytes) => {
                let draft = self.draft.as_mut().expect("no body without a draft");
                draft.extend(bytes);
                if let Some(refusal) = self.refusal() {
                    self.draft = None;
                    self.session.write_failed(refusal);
                }
            }
            Step::Store => {
                let message = self.draft.take().expect("nothing is stored that was not begun");
                check_line_ends(&message);
                let answer = self.refusal();
                if answer.is_none() {
                    self.outcome.stored.push(message);
                }
                self.session.stored(answer.map_or_else(|| Ok("01test".to_owned()), Err));
            }
            Step::Abandon => assert!(self.draft.take().is_some(), "there is something to abandon"),
            Step::StartTls => {
                assert!(
                    self.choices.starttls && !self.encrypted,
                    "TLS is begun once, where it is offered"
                );
                assert!(self.draft.is_none(), "never within a message");
                (self.encrypted, self.logged_in, self.outcome.upgraded) = (true, false, true);
                self.session.secured();
            }
            Step::Authenticate(credentials) => self.authenticate(&credentials),
            Step::NeedInput | Step::Close => unreachable!("they end the loop"),
        }
        // The quirks are taken as the listener takes them, or they would pile up.
        drop(self.session.take_quirks());
    }

    fn authenticate(&mut self, credentials: &Credentials) {
        assert_ne!(self.choices.authentication, Authentication::Off, "AUTH is not offered");
        assert!(self.encrypted || self.choices.trusted, "no password in plain text from afar");
        assert!(!self.logged_in, "one login in a session");
        assert!(!credentials.login.contains(['\r', '\n', '\0']), "a name goes to the log");
        let refused = match self.refusal() {
            None => None,
            Some(Refusal::Full) => Some(LoginRefusal::Wrong),
            Some(_) => Some(LoginRefusal::Unavailable),
        };
        self.logged_in = refused.is_none();
        self.session.authenticated(refused.map_or(Ok(()), Err));
    }

    fn check_permission(&self) {
        let permitted = match self.choices.authentication {
            Authentication::Off => self.choices.trusted,
            // A login that proves nothing is for the trusted only.
            Authentication::AcceptAny => self.choices.trusted,
            Authentication::Optional => self.choices.trusted || self.logged_in,
            Authentication::Required => self.logged_in,
        };
        assert!(permitted, "this client may not relay");
    }

    /// Those whom RCPT was answered 250 for are the recipients of the envelope, no more and no fewer.
    fn check_recipients(&self, transaction: &Transaction) {
        assert_eq!(transaction.forward_paths.len(), self.recipients, "{transaction:?}");
        for path in &transaction.forward_paths {
            let said = path.as_str().as_bytes();
            let was_said = self.client.windows(said.len()).any(|window| window == said);
            assert!(was_said, "nobody has named {path}");
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len() <= OUTPUT_BYTES_MAX + REPLY_BYTES_MAX,
            "{} octets at once",
            bytes.len()
        );
        assert!(bytes.ends_with(b"\r\n"), "replies are sent whole: {:?}", text(bytes));
        for line in bytes.split_inclusive(|octet| *octet == b'\n') {
            let code = line.first_chunk::<3>().expect("a code");
            assert!(
                code.iter().all(u8::is_ascii_digit) && b"2345".contains(&code[0]),
                "{:?}",
                text(line)
            );
            assert!(matches!(line[3], b' ' | b'-'), "{:?}", text(line));
            assert!(line.len() <= REPLY_LINE_BYTES_MAX, "{:?}", text(line));
            if line.starts_with(b"250 2.1.0 ") {
                self.recipients = 0;
            }
            self.recipients += usize::from(line.starts_with(b"250 2.1.5 "));
            let words = line.strip_suffix(b"\r\n").expect("CRLF");
            assert!(!words.iter().any(u8::is_ascii_control), "{:?}", text(line));
        }
        self.outcome.replies.extend_from_slice(bytes);
    }

    /// The next answer of the world around the session.
    fn refusal(&mut self) -> Option<Refusal> {
        self.questions = (self.questions + 1) % 4;
        match self.choices.answers >> (2 * self.questions) & 3 {
            0 => None,
            1 => Some(Refusal::Full),
            2 => Some(Refusal::Unavailable),
            _ => Some(Refusal::TooFast { retry_after: std::time::Duration::from_secs(7) }),
        }
    }
}

fn check_transaction(transaction: &Transaction) {
    assert!((1..=RECIPIENTS_MAX).contains(&transaction.forward_paths.len()));
    let login = transaction.login.as_deref().unwrap_or_default();
    assert!(!login.contains(['\r', '\n', '\0']), "{login:?} goes to a header field and to the log");
    let odd = |character: char| character.is_ascii_control() && character != '\t';
    assert!(
        !transaction.helo.contains(odd),
        "{:?} goes to a header field and to the log",
        transaction.helo
    );
    for path in transaction.forward_paths.iter().chain(&transaction.reverse_path) {
        super::address::check_safe(path);
        assert!(
            !path.is_internationalized() || transaction.internationalized,
            "{path} without SMTPUTF8"
        );
    }
    let reach = transaction.dsn.recipients.keys().next_back();
    assert!(reach.is_none_or(|place| *place < transaction.forward_paths.len()), "DSN of nobody");
}

/// Every CR is followed by LF and every LF follows a CR.
pub(crate) fn check_line_ends(message: &[u8]) {
    let mut before = b'\n';
    for octet in message {
        assert_eq!(*octet == b'\n', before == b'\r', "a bare line end in {:?}", text(message));
        before = if *octet == b'\n' { b' ' } else { *octet };
    }
    assert_ne!(before, b'\r', "a CR without LF at the end of {:?}", text(message));
}

/// Where a strict reader sees the end of a message: CRLF.CRLF, and a dot right behind the line of DATA.
fn ends_of_data(client: &[u8]) -> usize {
    dots(
        client,
        |before| before.ends_with(b"\r\n") || ends_with_data_and_lf(before),
        |after| after.starts_with(b"\r\n"),
    )
}

/// Where any reader could see one.
fn lone_dots(client: &[u8]) -> usize {
    dots(
        client,
        |before| before.ends_with(b"\n") || before.ends_with(b"\r"),
        |after| after.starts_with(b"\n") || after.starts_with(b"\r"),
    )
}

fn dots(client: &[u8], begins: impl Fn(&[u8]) -> bool, ends: impl Fn(&[u8]) -> bool) -> usize {
    let is_one =
        |at: &usize| client[*at] == b'.' && begins(&client[..*at]) && ends(&client[at + 1..]);
    (0..client.len()).filter(is_one).count()
}

fn ends_with_data_and_lf(before: &[u8]) -> bool {
    let Some(line) = before.strip_suffix(b"\n") else { return false };
    let line = line.rsplit(|octet| *octet == b'\n').next().unwrap_or(line);
    line.trim_ascii().eq_ignore_ascii_case(b"DATA")
}

/// How often BDAT could say that a chunk is the last one.
fn last_chunks(client: &[u8]) -> usize {
    client.windows(4).filter(|word| word.eq_ignore_ascii_case(b"LAST")).count()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
