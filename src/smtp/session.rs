//! The server side of one SMTP session as a pure machine: bytes in, steps out (RFC 5321 section 4).
//!
//! Rule: every transition that a command causes is in one `match (state, command)`, in
//! `session/transition.rs`; no I/O, no clock, no store. The driver (`listener/connection.rs`) carries out
//! each [`Step`] and answers the ones that ask a question.
//! Must not know how a message is stored or what becomes of it.

mod transition;

use std::{mem, sync::Arc, time::Duration};

pub use super::client::{Authentication, Client, Credentials, LoginRefusal, Policy};
use super::{
    address::Address,
    dsn::Dsn,
    line::Input,
    quirk::Quirk,
    receiving::{Afterwards, Ending, Receiving},
    reply::{self, Reply},
};

/// What the machine is allowed and told. `settings` fills it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Our name in the greeting and in EHLO's reply.
    pub hostname: String,
    /// Largest message, advertised with SIZE (RFC 1870). Gmail takes 35,882,577; we leave room for the
    /// fields we add.
    pub max_message_bytes: u64,
    /// Recipients in one transaction; RFC 5321 section 4.5.3.1.8 asks for at least 100.
    pub max_recipients: usize,
    /// Whether `root` (no domain) or `root@localhost` may be written to, because somebody reads it.
    pub local_recipients: bool,
}

/// A mail transaction that has reached DATA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// MAIL FROM; `None` is `<>`.
    pub reverse_path: Option<Address>,
    /// RCPT TO, in order, at least one.
    pub forward_paths: Vec<Address>,
    /// BODY=8BITMIME was declared.
    pub eight_bit: bool,
    /// SMTPUTF8 was asked for.
    pub internationalized: bool,
    /// What was asked of delivery status notifications.
    pub dsn: Dsn,
    /// Who has logged in, if somebody has.
    pub login: Option<String>,
    /// The HELO or EHLO argument; empty when none was given.
    pub helo: String,
    /// The `with` word of RFC 3848 and RFC 6531: SMTP, ESMTP, ESMTPSA, UTF8SMTP ...
    pub protocol: &'static str,
}

/// What the driver must do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Write these bytes to the client (one or more complete replies).
    Send(Vec<u8>),
    /// Ask the store whether a message of this size may come; answer with `Session::admitted`.
    Admit {
        /// SIZE= of MAIL, or 0 when the client did not say.
        declared_bytes: u64,
    },
    /// DATA: start a draft; answer with `Session::begun`.
    Begin(Transaction),
    /// Decoded message bytes for the draft.
    Body(Vec<u8>),
    /// The message is complete: make it durable; answer with `Session::stored`.
    Store,
    /// The 220 is sent: do the TLS handshake, then call `Session::secured`; if it fails, close.
    StartTls,
    /// Check a login; answer with `Session::authenticated`.
    Authenticate(Credentials),
    /// The draft is not wanted any more (too large, refused, connection gone): drop it.
    Abandon,
    /// Nothing to do until more bytes come, or the timeout passes.
    NeedInput,
    /// Write nothing more and close.
    Close,
}

/// Why a message cannot be taken just now. The words for the client come from the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No room: 452 4.3.1.
    Full,
    /// The queue has failed and is being repaired: 451 4.3.0.
    Unavailable,
    /// The client's network sends too fast: 450 4.7.1 with the time to wait.
    TooFast {
        /// When the next message may come.
        retry_after: Duration,
    },
}

/// How long the driver waits for the client in the present state (RFC 5321 section 4.5.3.2).
pub type Timeout = Duration;

/// Octets that may be fed to [`Session::receive`] at a time.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Octets of replies that are collected for one write; pipelined commands wait while more are due.
pub const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// How long a client may think before the next command (RFC 5321 section 4.5.3.2.7).
pub const COMMAND_TIMEOUT: Timeout = Timeout::from_secs(5 * 60);

/// How long a client may pause within a message. RFC 5321 section 4.5.3.2.5 gives a data block three
/// minutes; scanners that send while they scan need some of it.
pub const DATA_TIMEOUT: Timeout = Timeout::from_secs(3 * 60);

/// Errors in one session: a client that makes more of them does not speak SMTP.
pub const ERRORS_MAX: u32 = 20;

/// Commands other than RCPT and DATA since the last message: more than any client needs between two messages, and
/// few enough that nobody keeps a connection for nothing but NOOP.
pub const COMMANDS_WITHOUT_MESSAGE_MAX: u32 = 100;

/// Messages in one session: far beyond a day's budget of the account, so only a runaway gets there.
pub const MESSAGES_MAX: u32 = 10_000;

/// One session. The driver feeds bytes with [`Session::receive`] and carries out what
/// [`Session::step`] returns, until that is [`Step::NeedInput`] or [`Step::Close`].
#[derive(Debug)]
pub struct Session {
    options: Arc<Options>,
    client: Client,
    state: State,
    hello: Hello,
    input: Input,
    /// Replies that are not sent yet.
    output: Vec<u8>,
    /// What the driver must do after the replies are sent.
    due: Option<Step>,
    service: Service,
    errors: u32,
    commands_without_message: u32,
    messages: u32,
}

/// Where the session is. Each variant owns what is meaningful only there.
#[derive(Debug)]
enum State {
    /// The greeting is not sent yet.
    Connected,
    /// No mail transaction.
    Ready,
    /// MAIL came and `Admit` was asked.
    Admitting(Transaction),
    /// MAIL was accepted, no recipient yet.
    Mail(Transaction),
    /// At least one recipient was accepted.
    Recipients(Transaction),
    /// DATA came and `Begin` was asked.
    Beginning,
    /// The message is coming.
    Receiving(Box<Receiving>),
    /// It has come; `Store` is to be asked.
    Complete(Afterwards),
    /// `Store` was asked.
    Storing(Afterwards),
    /// Nothing more is read or answered.
    Closed,
}

/// How the client introduced itself. Nothing depends on it but the words in Received.
#[derive(Debug)]
enum Hello {
    Missing,
    Basic(String),
    Extended(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Service {
    Running,
    Draining,
}

impl Session {
    /// A session whose first step is to send the greeting.
    #[must_use]
    pub fn new(options: Arc<Options>, client: Client) -> Self {
        Self {
            options,
            client,
            state: State::Connected,
            hello: Hello::Missing,
            input: Input::default(),
            output: Vec::new(),
            due: None,
            service: Service::Running,
            errors: 0,
            commands_without_message: 0,
            messages: 0,
        }
    }

    /// Takes bytes from the client. Call it only after `step` returned [`Step::NeedInput`], and with at
    /// most [`INPUT_BYTES_MAX`] at a time: this bounds the memory of a session. What a client sends
    /// before the greeting just waits.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.receive(bytes);
    }

    /// What to do next. `Admit`, `Begin` and `Store` are questions: answer them before the next call.
    /// Replies to pipelined commands are sent together, and before anything that may take time, so
    /// that no client waits for a reply that is already known (RFC 2920 section 3.2).
    #[must_use = "a step that is not carried out is a reply or a message that gets lost"]
    pub fn step(&mut self) -> Step {
        while self.due.is_none() && self.output.len() < OUTPUT_BYTES_MAX && self.advance() {}
        // Admit is answered from memory: it may overtake replies, so that they are sent together.
        if let Some(step) = self.due.take_if(|step| matches!(step, Step::Admit { .. })) {
            return step;
        }
        if !self.output.is_empty() {
            return Step::Send(mem::take(&mut self.output));
        }
        if let Some(step) = self.due.take() {
            return step;
        }
        if matches!(self.state, State::Closed) {
            return Step::Close;
        }
        if !self.in_data() {
            self.input.shrink();
        }
        Step::NeedInput
    }

    /// The answer to [`Step::Admit`].
    pub fn admitted(&mut self, answer: Result<(), Refusal>) {
        self.state = match (self.take_state(), answer) {
            (State::Admitting(transaction), Ok(())) => {
                self.answer(&reply::sender_accepted(), State::Mail(transaction))
            }
            (State::Admitting(_), Err(refusal)) => self.answer(&reply::refused(refusal), State::Ready),
            (state, _) => state,
        };
    }

    /// The answer to [`Step::Begin`]; after a refusal there is no draft.
    pub fn begun(&mut self, answer: Result<(), Refusal>) {
        self.state = match (self.take_state(), answer) {
            (State::Beginning, Ok(())) => {
                self.messages += 1;
                self.commands_without_message = 0;
                self.answer(&reply::start_data(), State::Receiving(Box::default()))
            }
            (State::Beginning, Err(refusal)) => self.answer(&reply::refused(refusal), State::Ready),
            (state, _) => state,
        };
    }

    /// The answer to [`Step::Store`]: the queue id for the 250, or why the message was not taken.
    pub fn stored(&mut self, answer: Result<String, Refusal>) {
        let State::Storing(afterwards) = self.state else {
            return;
        };
        let reply = answer.map_or_else(reply::refused, |id| reply::queued(&id));
        self.state = self.answer(&reply, State::after(afterwards));
    }

    /// The answer to [`Step::StartTls`]: the handshake is done.
    pub fn secured(&mut self) {}

    /// The answer to [`Step::Authenticate`]. The driver waits before a refusal, to slow down guessing.
    pub fn authenticated(&mut self, _answer: Result<(), LoginRefusal>) {}

    /// What was odd about the client's way of speaking since the last call.
    pub fn take_quirks(&mut self) -> Vec<Quirk> {
        Vec::new()
    }

    /// The draft could not take a [`Step::Body`] and the driver has dropped it: the rest of the message
    /// is read and discarded, then refused. No `Abandon` and no `Store` will come for it.
    pub fn write_failed(&mut self, refusal: Refusal) {
        match &mut self.state {
            State::Receiving(receiving) => receiving.refuse(reply::refused(refusal)),
            // It was the last part of the message.
            State::Complete(afterwards) => {
                let next = State::after(*afterwards);
                self.state = self.answer(&reply::refused(refusal), next);
            }
            _ => {}
        }
    }

    /// The client has closed its side: a message that is not complete is abandoned, nothing is answered.
    pub fn closed_by_peer(&mut self) {
        self.output.clear();
        self.end();
    }

    /// The client was silent for [`Session::timeout`].
    pub fn timed_out(&mut self) {
        self.end();
        reply::timed_out(&self.options.hostname).render(&mut self.output);
    }

    /// The service stops: a message in transfer may finish and gets its reply, then the session ends
    /// where the next command would begin.
    pub fn draining(&mut self) {
        self.service = Service::Draining;
    }

    /// How long to wait for the client after [`Step::NeedInput`].
    #[must_use]
    pub fn timeout(&self) -> Timeout {
        if self.in_data() { DATA_TIMEOUT } else { COMMAND_TIMEOUT }
    }

    /// Whether a message is in transfer: from DATA until it is stored, refused or abandoned.
    #[must_use]
    pub fn in_data(&self) -> bool {
        matches!(self.state, State::Beginning | State::Receiving(_) | State::Complete(_) | State::Storing(_))
    }

    /// Does one piece of work; false when there is none without more input or an answer.
    fn advance(&mut self) -> bool {
        match self.state {
            State::Connected | State::Ready | State::Mail(_) | State::Recipients(_)
                if self.service == Service::Draining =>
            {
                self.state = self.answer(&reply::stopping(&self.options.hostname), State::Closed);
                true
            }
            State::Connected => {
                self.state = self.answer(&reply::greeting(&self.options.hostname), State::Ready);
                true
            }
            State::Ready | State::Mail(_) | State::Recipients(_) => self.next_command(),
            State::Receiving(_) => self.next_data(),
            State::Complete(afterwards) => {
                self.due = Some(Step::Store);
                self.state = State::Storing(afterwards);
                true
            }
            State::Admitting(_) | State::Beginning | State::Storing(_) | State::Closed => false,
        }
    }

    fn next_data(&mut self) -> bool {
        let State::Receiving(receiving) = &mut self.state else {
            return false;
        };
        if self.input.pending().is_empty() {
            return false;
        }
        let taken = receiving.take(self.input.pending(), &self.options, self.client);
        self.input.consume(taken.consumed);
        if taken.refused_now {
            self.due = Some(Step::Abandon);
        } else if !taken.body.is_empty() {
            self.due = Some(Step::Body(taken.body));
        }
        match taken.ending {
            Some(Ending::Store(afterwards)) => self.state = State::Complete(afterwards),
            Some(Ending::Refuse(reply, afterwards)) => {
                self.state = self.answer(&reply, State::after(afterwards));
            }
            None => {}
        }
        true
    }

    fn answer(&mut self, reply: &Reply, next: State) -> State {
        reply.render(&mut self.output);
        next
    }

    /// Answers something that a correct client would not have sent.
    fn object(&mut self, reply: &Reply, next: State) -> State {
        self.errors += 1;
        self.answer(reply, next)
    }

    /// Ends the session; a draft is not wanted any more.
    fn end(&mut self) {
        let draft = match self.take_state() {
            State::Receiving(receiving) => receiving.is_kept(),
            State::Complete(_) => true,
            _ => false,
        };
        self.due = draft.then_some(Step::Abandon);
        self.input.clear();
    }

    /// Takes the state out; whoever calls this puts the next one in.
    fn take_state(&mut self) -> State {
        mem::replace(&mut self.state, State::Closed)
    }
}

impl State {
    fn after(afterwards: Afterwards) -> Self {
        match afterwards {
            Afterwards::Continue => Self::Ready,
            Afterwards::Close => Self::Closed,
        }
    }
}

#[cfg(test)]
mod tests;
