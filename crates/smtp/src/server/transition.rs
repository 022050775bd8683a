//! The effect of each command in each state (RFC 5321 section 4.1.4).
//!
//! Rule: one `match (state, command)` holds every transition;
//! docs/internals/smtp-session.md shows it as a table and the tests walk all pairs. Must not know about bytes that are not commands.

use super::{
    COMMANDS_WITHOUT_MESSAGE_MAX, ERRORS_MAX, MESSAGES_MAX, REFUSED_RECIPIENTS_MAX, Session, Step,
    auth_exchange::Mechanism,
    command::{CHUNK_USAGE, Command},
    error::CommandError,
    extension,
    line::{COMMAND_LINE_BYTES_MAX, Line, Verb},
    login,
    reply::{self, Reply},
    state::{Hello, State},
};
use crate::quirk::{Quirk, Quirks};

/// A command line as it may be seen.
fn shown(line: &[u8], command: Option<&Command>) -> String {
    let is_envelope =
        [b"MAIL", b"RCPT", b"EHLO", b"HELO"].iter().any(|verb| begins_with(line, verb));
    let is_known = matches!(
        command,
        Some(
            Command::Data
                | Command::Bdat { .. }
                | Command::StartTls
                | Command::Rset
                | Command::Noop
                | Command::Vrfy
                | Command::Help
                | Command::Quit
        )
    );
    match command {
        _ if is_envelope || is_known => String::from_utf8_lossy(line).into_owned(),
        Some(Command::Auth { mechanism, .. }) if Mechanism::read(mechanism).is_some() => {
            format!("AUTH {} ***", mechanism.to_ascii_uppercase())
        }
        Some(Command::Auth { .. }) => "AUTH ***".to_owned(),
        _ => format!("({} octets that are not a command)", line.len()),
    }
}

impl Session {
    /// Greets, unless a client that is not trusted has not waited for it.
    pub(super) fn greet(&mut self) {
        let waits = self.input.pending().is_empty();
        if !waits && !self.client.policy.trusted {
            self.quirk_log.record(Quirk::EarlyTalker);
            self.begins_with_tls();
            if self.input.pending().starts_with(PROXY_SIGNATURE) {
                self.quirk_log.record(Quirk::ProxyHeader);
            }
            self.state = self.answer(&reply::early_talker(), State::Closed);
            return;
        }
        if !waits {
            self.quirk_log.record(Quirk::EarlyTalker);
        }
        self.state = self.answer(&reply::greeting(&self.options.hostname), State::Ready);
    }

    /// Reads and answers the next command; false when it has not come completely.
    pub(super) fn next_command(&mut self) -> bool {
        if self.begins_with_tls() {
            // A TLS client waits for an answer to its first record and never sends a line end.
            self.close(&reply::no_tls_on_connect());
            return true;
        }
        let mut line = match self.input.take_line(COMMAND_LINE_BYTES_MAX) {
            Line::Incomplete => return false,
            Line::TooLong(verb) => {
                self.too_long(verb);
                return true;
            }
            Line::Endless => {
                self.close(&reply::line_too_long());
                return true;
            }
            Line::Complete(line) => line,
            Line::CompleteBareLf(line) => {
                self.quirk_log.record(Quirk::CommandBareLf);
                line
            }
        };
        if self.ends_proxy_signature(&line) {
            self.quirk_log.record(Quirk::ProxyHeader);
            self.close(&reply::no_proxy_header());
            return true;
        }
        if self.is_behind_a_message(&line) {
            self.enforce_limits();
            return true;
        }
        let mut quirks = Quirks::default();
        let parsed = Command::parse(&line, &mut quirks);
        if let Some(heard) = &mut self.heard {
            heard.push(shown(&line, parsed.as_ref().ok()));
        }
        match parsed {
            Err(error) if self.is_text(Err(&error)) => self.close(&reply::malformed(&error)),
            Ok(command) if self.is_text(Ok(&command)) => self.close(&reply::unknown_command()),
            // How many octets follow is not known, and they must not be taken for commands.
            Err(error) if begins_with(&line, b"BDAT") => self.close(&reply::malformed(&error)),
            Err(error) if begins_with(&line, b"DATA") => {
                self.errors += 1;
                self.refuse_data(&reply::malformed(&error));
            }
            Err(error) => {
                let state = self.take_state();
                self.state = self.object(&reply::malformed(&error), state);
            }
            Ok(command) => {
                self.data_refused = false;
                self.quirk_log.record_all(quirks);
                self.count(&command);
                if matches!(command, Command::Auth { .. }) {
                    login::wipe(&mut line);
                    self.input.wipe_used();
                }
                self.transition(command);
            }
        }
        self.enforce_limits();
        true
    }

    /// Whether it is an empty line that some clients put behind the end of a message: it is passed over, because they
    /// take its reply for that to QUIT and send the message again. It counts as a command, so that nobody lives on it.
    fn is_behind_a_message(&mut self, line: &[u8]) -> bool {
        self.message_ended &= line.trim_ascii().is_empty();
        self.commands_without_message += u32::from(self.message_ended);
        self.message_ended
    }

    /// A line that is too long. Behind BDAT octets follow, and nobody knows how many.
    fn too_long(&mut self, verb: Verb) {
        self.message_ended = false;
        if verb.is(b"BDAT") {
            self.close(&reply::malformed(&CHUNK_USAGE));
        } else if self.data_refused {
            self.close(&reply::line_too_long());
        } else if verb.is(b"DATA") {
            self.errors += 1;
            self.refuse_data(&reply::line_too_long());
        } else {
            let state = self.take_state();
            self.state = self.object(&reply::line_too_long(), state);
        }
        self.enforce_limits();
    }

    fn count(&mut self, command: &Command) {
        let brings_a_message_forward = match command {
            Command::Rcpt { .. } | Command::Data => true,
            Command::Bdat { size_bytes, .. } => *size_bytes > 0,
            _ => false,
        };
        self.commands_without_message += u32::from(!brings_a_message_forward);
    }

    /// Every transition. A pair that is not here cannot happen: commands are read in `Ready`, `Mail`,
    /// `Recipients` and `Chunks` only.
    fn transition(&mut self, command: Command) {
        if matches!(
            command,
            Command::Ehlo(_) | Command::Helo(_) | Command::Rset | Command::Quit | Command::Http
        ) {
            self.drop_draft();
        }
        let state = self.take_state();
        self.state = match (state, command) {
            (_, Command::Ehlo(name)) => {
                let reply = reply::extended_hello(&self.options, self.client);
                self.hello(Hello::Extended(name), &reply)
            }
            (_, Command::Helo(name)) => {
                let reply = reply::hello(&self.options.hostname);
                self.hello(Hello::Basic(name), &reply)
            }
            (State::Recipients(transaction), Command::Data) => self.data(transaction),
            (state, Command::Data) => {
                let reply = data_refusal(&state);
                self.state = state;
                self.errors += 1;
                return self.refuse_data(&reply);
            }
            (
                state @ State::Chunks(_),
                Command::Mail { .. } | Command::Rcpt { .. } | Command::StartTls,
            ) => self.object(&reply::more_chunks_first(), state),
            (state @ (State::Mail(_) | State::Recipients(_)), Command::Mail { .. }) => {
                self.object(&reply::nested_mail(), state)
            }
            (_, Command::Mail { reverse_path, unusable, parameters }) => {
                self.mail(reverse_path, unusable, parameters)
            }
            (
                State::Mail(transaction) | State::Recipients(transaction),
                Command::Rcpt { forward_path, parameters },
            ) => self.recipient(transaction, forward_path, parameters),
            (state, Command::Rcpt { .. }) => self.object(&reply::mail_first(), state),
            (state, Command::Bdat { size_bytes, last }) => self.chunk(state, size_bytes, last),
            (state, Command::StartTls) => self.start_tls(state),
            (state, Command::Auth { mechanism, initial }) => {
                self.authenticate(state, &mechanism, initial)
            }
            (_, Command::Rset) => self.answer(&reply::done(), State::Ready),
            (state, Command::Noop) => self.answer(&reply::done(), state),
            (state, Command::Vrfy) => self.answer(&reply::cannot_verify(), state),
            (state, Command::Help) => self.answer(&reply::help(), state),
            (state, Command::NotImplemented) => self.object(&reply::not_implemented(), state),
            (state, Command::Unknown) => self.object(&reply::unknown_command(), state),
            (_, Command::Quit) => self.answer(&reply::goodbye(), State::Closed),
            (_, Command::Http) => {
                self.quirk_log.record(Quirk::Http);
                self.answer(&reply::not_http(), State::Closed)
            }
        };
    }

    /// DATA that cannot begin. It is the last command of a group (RFC 2920 section 3.1): what has come behind
    /// it is the message of a client that does not wait, and nothing of it may be read as a command.
    pub(super) fn refuse_data(&mut self, reply: &Reply) {
        if !self.input.pending().is_empty() {
            self.close(reply);
            return;
        }
        self.data_refused = true;
        reply.render(&mut self.output);
    }

    /// Whether a line behind a refused DATA is the first one of the message, which came a little later: no
    /// command that a client goes on with, but a field, an empty line, or a word that texts begin with.
    fn is_text(&self, line: Result<&Command, &CommandError>) -> bool {
        let goes_on = match line {
            Ok(command) => !matches!(
                command,
                Command::Unknown
                    | Command::NotImplemented
                    | Command::Help
                    | Command::Vrfy
                    | Command::Http
            ),
            // A slip in the address, or in a parameter, is a command nevertheless.
            Err(
                CommandError::ReversePath(_)
                | CommandError::ForwardPath(_)
                | CommandError::BehindSender
                | CommandError::BehindRecipient
                | CommandError::Parameter(_),
            ) => true,
            Err(_) => false,
        };
        self.data_refused && !goes_on
    }

    /// HELO or EHLO. Who does not wait for the reply cannot know what is offered.
    fn hello(&mut self, hello: Hello, reply: &Reply) -> State {
        if matches!(self.hello, Hello::Missing) && !self.input.pending().is_empty() {
            self.quirk_log.record(Quirk::EarlyTalker);
            if !self.client.policy.trusted {
                return self.answer(&reply::early_talker(), State::Closed);
            }
        }
        self.hello = hello;
        self.answer(reply, State::Ready)
    }

    /// STARTTLS. What came behind it in plaintext may be somebody else's and is dropped (RFC 3207
    /// section 4.2, CVE-2011-0411).
    fn start_tls(&mut self, state: State) -> State {
        if self.client.encrypted {
            return self.object(&reply::already_encrypted(), state);
        }
        if !extension::starttls_offered(self.client) {
            return self.object(&reply::not_implemented(), state);
        }
        self.input.clear();
        self.due = Some(Step::StartTls);
        self.answer(&reply::start_tls(), State::Securing)
    }

    /// Whether a TLS handshake comes where SMTP is expected.
    fn begins_with_tls(&mut self) -> bool {
        let is_hello = match self.input.pending() {
            [TLS_HANDSHAKE, ..] => true,
            // The form of SSL 2 (RFC 5246 appendix E.2), which old printers still begin with: no command
            // begins so, and a line that ends within it is none either.
            [length, second, SSL2_CLIENT_HELLO, ..] => length & 0x80 != 0 && *second != b'\n',
            _ => false,
        };
        let found = !self.client.encrypted && is_hello;
        if found {
            self.quirk_log.record(Quirk::TlsOnPlaintext);
        }
        found
    }

    /// Whether a header of the PROXY protocol comes where SMTP is expected. Its signature begins with lines, two
    /// empty ones and one of a NUL, that no client sends; so it is known however it is cut.
    fn ends_proxy_signature(&mut self, line: &[u8]) -> bool {
        let found = self.empty_lines == 2 && line == [0];
        self.empty_lines = if line.is_empty() { self.empty_lines.saturating_add(1) } else { 0 };
        found
    }

    pub(super) fn enforce_limits(&mut self) {
        let hostname = &self.options.hostname;
        let reply = if self.errors >= ERRORS_MAX {
            reply::too_many_errors(hostname)
        } else if self.commands_without_message > COMMANDS_WITHOUT_MESSAGE_MAX {
            reply::too_many_commands(hostname)
        } else if self.refused_recipients > self.options.max_recipients + REFUSED_RECIPIENTS_MAX {
            reply::too_many_refused_recipients(hostname)
        } else if self.messages >= MESSAGES_MAX && matches!(self.state, State::Admitting(_)) {
            reply::too_many_messages(hostname)
        } else {
            return;
        };
        // What is half done has its own end: a chunk must be skipped before anything is answered.
        if !matches!(self.state, State::Closed | State::Securing | State::Skipping(_)) {
            self.close(&reply);
        }
    }

    /// Answers, and ends the session.
    fn close(&mut self, reply: &Reply) {
        self.drop_draft();
        self.state = self.answer(reply, State::Closed);
    }
}

/// Why DATA cannot begin in this state.
fn data_refusal(state: &State) -> Reply {
    match state {
        State::Chunks(_) => reply::more_chunks_first(),
        State::Mail(_) => reply::no_valid_recipients(),
        _ => reply::mail_first(),
    }
}

/// Whether a line that cannot be understood was meant as this command.
fn begins_with(line: &[u8], verb: &[u8; 4]) -> bool {
    line.trim_ascii_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case(verb))
}

/// The first octet of a TLS connection: the record type "handshake".
const TLS_HANDSHAKE: u8 = 0x16;

/// The third octet of a connection in the form of SSL 2, behind its length: the message "client hello".
const SSL2_CLIENT_HELLO: u8 = 0x01;

/// How a header of the PROXY protocol, version 2, begins.
const PROXY_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
