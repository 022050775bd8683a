//! The server side of one SMTP session as a pure machine: bytes in, steps out (RFC 5321 section 4).
//!
//! Rule: every transition that a command causes is in one `match (state, command)`, in
//! `transition.rs`; no I/O, no clock, no store. The driver carries out
//! each [`Step`] and answers the ones that ask a question.
//! Must not know how a message is stored or what becomes of it.

mod auth_exchange;
pub mod chunk;
pub mod command;
mod contract;
pub mod data;
mod error;
mod extension;
mod line;
mod login;
mod mail;
mod peer;
mod receiving;
pub mod reply;
mod sender;
mod state;
mod transfer;
mod transition;

use std::{mem, sync::Arc};

pub use self::{
    auth_exchange::LOGIN_BYTES_MAX,
    command::HELLO_LENGTH_MAX,
    contract::*,
    error::CommandError,
    extension::Parameters,
    peer::{Authentication, Client, Credentials, LoginRefusal, Policy},
    receiving::Terms,
};
use self::{
    line::Input,
    reply::Reply,
    state::{Hello, State},
};
use crate::quirk::{Quirk, QuirkLog};

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
    /// Who has logged in.
    login: Option<String>,
    quirk_log: QuirkLog,
    /// DATA was refused and no command has come since: a client that does not look sends its message now.
    data_refused: bool,
    /// Empty lines right before.
    empty_lines: u8,
    /// A message has ended and no command has come since: what a client puts behind its end is not a command.
    message_ended: bool,
    /// Octets of the recipients of the present transaction.
    envelope_bytes: usize,
    /// What was said in the last MAIL that is not an address.
    unusable_sender: Option<String>,
    /// Since the last message that was stored.
    errors: u32,
    /// Likewise.
    refused_recipients: usize,
    login_failures: u32,
    commands_without_message: u32,
    /// What the client has said, while somebody wants to see it.
    heard: Option<Vec<String>>,
    messages: u32,
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
            login: None,
            quirk_log: QuirkLog::default(),
            data_refused: false,
            empty_lines: 0,
            message_ended: false,
            envelope_bytes: 0,
            unusable_sender: None,
            errors: 0,
            refused_recipients: 0,
            login_failures: 0,
            commands_without_message: 0,
            heard: None,
            messages: 0,
        }
    }

    /// Takes bytes from the client. Call it only after `step` returned [`Step::NeedInput`], and with at
    /// most [`INPUT_BYTES_MAX`] at a time: this bounds the memory of a session. What had come before the
    /// first step was taken before the greeting: a stranger who speaks that early is sent away.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.receive(bytes);
    }

    /// Whether command lines are kept for [`Session::take_heard`].
    pub fn keep_heard(&mut self, keeps: bool) {
        if keeps != self.heard.is_some() {
            self.heard = keeps.then(Vec::new);
        }
    }

    /// The command lines since the last call, for whoever watches the dialogue: without the words of a login, and without
    /// what is no command at all, which may be a password that went astray. Each step adds no more than came in.
    pub fn take_heard(&mut self) -> Vec<String> {
        self.heard.as_mut().map(mem::take).unwrap_or_default()
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
            (State::Admitting(_), Err(Refusal::Drained)) => {
                self.answer(&reply::drained(&self.options.hostname), State::Closed)
            }
            (State::Admitting(_), Err(refusal)) => {
                self.answer(&reply::refused(refusal), State::Ready)
            }
            (state, _) => state,
        };
    }

    /// What a trusted client has said for its sender, when that is not an address: the reverse path of the transaction
    /// that [`Step::Begin`] hands over is what could be saved of it.
    #[must_use]
    pub fn unusable_sender(&self) -> Option<&str> {
        self.unusable_sender.as_deref()
    }

    /// The answer to [`Step::Begin`]; after a refusal there is no draft.
    pub fn begun(&mut self, answer: Result<(), Refusal>) {
        self.state = match (self.take_state(), answer) {
            (State::Beginning(beginning), Ok(())) => {
                self.messages += 1;
                self.commands_without_message = 0;
                self.transfer(beginning)
            }
            (State::Beginning(beginning), Err(refusal)) => {
                self.refuse_beginning(&beginning, refusal)
            }
            (state, _) => state,
        };
    }

    /// The answer to [`Step::Store`]: the queue id for the 250, or why the message was not taken.
    pub fn stored(&mut self, answer: Result<String, Refusal>) {
        let State::Storing(afterwards) = self.state else {
            return;
        };
        let reply = match answer {
            Ok(id) => {
                // Who gets messages through speaks SMTP, however oddly: an old device on a long connection may
                // make a mistake with each of them.
                (self.errors, self.refused_recipients) = (0, 0);
                reply::queued(&id)
            }
            Err(refusal) => reply::refused(refusal),
        };
        self.state = self.answer(&reply, State::after(afterwards));
    }

    /// The answer to [`Step::StartTls`]: the handshake is done. Nothing that was said before it counts
    /// any more (RFC 3207 section 4.2).
    pub fn secured(&mut self) {
        if !matches!(self.state, State::Securing) {
            return;
        }
        self.input.clear();
        self.client.encrypted = true;
        self.hello = Hello::Missing;
        self.login = None;
        self.state = State::Ready;
    }

    /// The answer to [`Step::Authenticate`]. The driver waits before a refusal, to slow down guessing.
    pub fn authenticated(&mut self, answer: Result<(), LoginRefusal>) {
        self.state = match (self.take_state(), answer) {
            (State::Authenticating { login }, Ok(())) => self.logged_in(login),
            (State::Authenticating { .. }, Err(refusal)) => self.not_logged_in(refusal),
            (state, _) => state,
        };
    }

    /// What was unusual about the client's way of speaking and was not told before: each oddity is told once
    /// a session. To be asked at the end of the session, and as often as one likes before.
    pub fn take_quirks(&mut self) -> Vec<Quirk> {
        self.quirk_log.take()
    }

    /// The draft could not take a [`Step::Body`] and the driver has dropped it: the rest of the message
    /// is read and discarded, then refused. No `Abandon` and no `Store` will come for it.
    pub fn write_failed(&mut self, refusal: Refusal) {
        match &mut self.state {
            State::Receiving(receiving) => receiving.refuse(reply::refused(refusal)),
            State::Chunk(chunk) => chunk.receiving.refuse(reply::refused(refusal)),
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
        if self.has_spoken() && !matches!(self.state, State::Closed) {
            self.quirk_log.record(Quirk::ClosedWithoutQuit);
        }
        self.output.clear();
        self.end();
    }

    /// Whether the client has said anything.
    #[must_use]
    pub fn has_spoken(&self) -> bool {
        self.messages > 0 || self.commands_without_message > 0
    }

    /// The client was idle while others of its kind waited: it hears so, and the session ends.
    pub fn dismissed(&mut self) {
        self.end();
        reply::too_many_of_client(&self.options.hostname).render(&mut self.output);
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
        matches!(
            self.state,
            State::Beginning(_)
                | State::Receiving(_)
                | State::Chunk(_)
                | State::Chunks(_)
                | State::Skipping(_)
                | State::Complete(_)
                | State::Storing(_)
        )
    }

    /// Does one piece of work; false when there is none without more input or an answer.
    fn advance(&mut self) -> bool {
        match self.state {
            State::Connected
            | State::Ready
            | State::Mail(_)
            | State::Recipients(_)
            | State::LoggingIn(_)
                if self.service == Service::Draining =>
            {
                self.state = self.answer(&reply::stopping(&self.options.hostname), State::Closed);
                true
            }
            State::Connected => {
                self.greet();
                true
            }
            State::Ready | State::Mail(_) | State::Recipients(_) | State::Chunks(_) => {
                self.next_command()
            }
            State::LoggingIn(_) => self.next_response(),
            State::Receiving(_) => self.next_data(),
            State::Chunk(_) => self.next_in_chunk(),
            State::Skipping(_) => self.skip_next(),
            State::Complete(afterwards) => {
                self.due = Some(Step::Store);
                self.state = State::Storing(afterwards);
                true
            }
            State::Admitting(_)
            | State::Beginning(_)
            | State::Storing(_)
            | State::Securing
            | State::Authenticating { .. }
            | State::Closed => false,
        }
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
        self.drop_draft();
        self.state = State::Closed;
        self.input.clear();
    }

    /// Asks to abandon the draft, if there is one; whoever calls this sets the next state.
    fn drop_draft(&mut self) {
        let draft = match &self.state {
            State::Receiving(receiving) | State::Chunks(receiving) => receiving.is_kept(),
            State::Chunk(chunk) => chunk.receiving.is_kept(),
            State::Complete(_) => true,
            _ => false,
        };
        let abandon = draft || self.due == Some(Step::Abandon);
        self.due = abandon.then_some(Step::Abandon);
    }

    /// Takes the state out; whoever calls this puts the next one in.
    fn take_state(&mut self) -> State {
        mem::replace(&mut self.state, State::Closed)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
