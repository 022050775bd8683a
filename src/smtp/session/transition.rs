//! What each command does in each state (RFC 5321 section 4.1.4).
//!
//! Rule: one `match (state, command)` holds every transition; ARCHITECTURE.md shows it as a table and
//! the tests walk all pairs. Must not know about bytes that are not commands.

use super::{
    COMMANDS_WITHOUT_MESSAGE_MAX, ERRORS_MAX, Hello, MESSAGES_MAX, Session, State, Step, Transaction,
};
use crate::smtp::{address::Address, command::Command, dsn::Dsn, extension::Parameters, line::Line, reply};

impl Session {
    /// Reads and answers the next command; false when it has not come completely.
    pub(super) fn next_command(&mut self) -> bool {
        if self.input.pending().first() == Some(&TLS_HANDSHAKE) {
            // A TLS client waits for an answer to its first record and never sends a line end.
            self.state = self.answer(&reply::not_smtp(), State::Closed);
            return true;
        }
        let state = self.take_state();
        self.state = match self.input.take_line() {
            Line::Incomplete => {
                self.state = state;
                return false;
            }
            Line::TooLong => self.object(&reply::line_too_long(), state),
            Line::Complete(line) => match Command::parse(&line) {
                Err(error) => self.object(&reply::malformed(&error), state),
                Ok(command) => {
                    if !matches!(command, Command::Recipient { .. } | Command::Data) {
                        self.commands_without_message += 1;
                    }
                    self.transition(state, command)
                }
            },
        };
        self.enforce_limits();
        true
    }

    /// Every transition. A pair that is not here cannot happen: commands are read in `Ready`, `Mail` and
    /// `Recipients` only.
    fn transition(&mut self, state: State, command: Command) -> State {
        match (state, command) {
            (_, Command::ExtendedHello(name)) => {
                self.hello = Hello::Extended(name);
                self.answer(&reply::extended_hello(&self.options), State::Ready)
            }
            (_, Command::Hello(name)) => {
                self.hello = Hello::Basic(name);
                self.answer(&reply::hello(&self.options.hostname), State::Ready)
            }
            (state @ (State::Mail(_) | State::Recipients(_)), Command::Mail { .. }) => {
                self.object(&reply::nested_mail(), state)
            }
            (_, Command::Mail { reverse_path, parameters }) => self.mail(reverse_path, &parameters),
            (
                State::Mail(transaction) | State::Recipients(transaction),
                Command::Recipient { forward_path, parameters },
            ) => self.recipient(transaction, forward_path, &parameters),
            (State::Recipients(transaction), Command::Data) => {
                self.due = Some(Step::Begin(transaction));
                State::Beginning
            }
            (state @ State::Mail(_), Command::Data) => self.object(&reply::no_valid_recipients(), state),
            (state, Command::Recipient { .. } | Command::Data) => self.object(&reply::mail_first(), state),
            (_, Command::Reset) => self.answer(&reply::done(), State::Ready),
            (state, Command::Noop) => self.answer(&reply::done(), state),
            (state, Command::Verify) => self.answer(&reply::cannot_verify(), state),
            (state, Command::Help) => self.answer(&reply::help(), state),
            (state, Command::NotImplemented) => self.object(&reply::not_implemented(), state),
            (state, Command::Unknown) => self.object(&reply::unknown_command(), state),
            (_, Command::Quit) => self.answer(&reply::goodbye(), State::Closed),
            (_, Command::Http) => self.answer(&reply::not_smtp(), State::Closed),
        }
    }

    fn mail(&mut self, reverse_path: Option<Address>, parameters: &Parameters) -> State {
        let limit = self.options.max_message_bytes;
        if parameters.has_unknown && !self.client.policy.trusted {
            return self.object(&reply::unknown_parameter(), State::Ready);
        }
        if !self.client.policy.trusted {
            return self.object(&reply::relaying_denied(self.client.address), State::Ready);
        }
        if reverse_path.as_ref().is_some_and(Address::is_internationalized) && !parameters.internationalized {
            return self.object(&reply::needs_smtputf8(), State::Ready);
        }
        if parameters.declared_bytes > limit {
            return self.answer(&reply::too_large(limit), State::Ready);
        }
        self.due = Some(Step::Admit { declared_bytes: parameters.declared_bytes });
        let (helo, protocol) = match &self.hello {
            Hello::Missing => (String::new(), "SMTP"),
            Hello::Basic(name) => (name.clone(), "SMTP"),
            Hello::Extended(name) if parameters.internationalized => (name.clone(), "UTF8SMTP"),
            Hello::Extended(name) => (name.clone(), "ESMTP"),
        };
        State::Admitting(Transaction {
            reverse_path,
            forward_paths: Vec::new(),
            eight_bit: parameters.eight_bit,
            internationalized: parameters.internationalized,
            dsn: Dsn::default(),
            login: None,
            helo,
            protocol,
        })
    }

    fn recipient(&mut self, mut transaction: Transaction, path: Address, parameters: &Parameters) -> State {
        let refusal = if parameters.has_unknown && !self.client.policy.trusted {
            Some(reply::unknown_parameter())
        } else if path.is_internationalized() && !transaction.internationalized {
            Some(reply::needs_smtputf8())
        } else if self.is_local(&path) && !self.options.local_recipients {
            Some(reply::no_local_recipients())
        } else if transaction.forward_paths.len() >= self.options.max_recipients {
            Some(reply::too_many_recipients(self.options.max_recipients))
        } else {
            None
        };
        // A refused recipient is not an error of the protocol: the transaction goes on with the others.
        if let Some(refusal) = refusal {
            return self.answer(&refusal, State::with(transaction));
        }
        transaction.forward_paths.push(path);
        self.answer(&reply::recipient_accepted(), State::Recipients(transaction))
    }

    fn is_local(&self, path: &Address) -> bool {
        path.domain().is_none_or(|domain| {
            domain.eq_ignore_ascii_case("localhost") || domain.eq_ignore_ascii_case(&self.options.hostname)
        })
    }

    fn enforce_limits(&mut self) {
        let hostname = &self.options.hostname;
        let reply = if self.errors >= ERRORS_MAX {
            reply::too_many_errors(hostname)
        } else if self.commands_without_message > COMMANDS_WITHOUT_MESSAGE_MAX {
            reply::too_many_commands(hostname)
        } else if self.messages >= MESSAGES_MAX && matches!(self.state, State::Admitting(_)) {
            reply::too_many_messages(hostname)
        } else {
            return;
        };
        if !matches!(self.state, State::Closed) {
            self.due = None;
            self.state = self.answer(&reply, State::Closed);
        }
    }
}

impl State {
    /// The state of a transaction in which a recipient was refused.
    fn with(transaction: Transaction) -> Self {
        if transaction.forward_paths.is_empty() {
            Self::Mail(transaction)
        } else {
            Self::Recipients(transaction)
        }
    }
}

/// The first octet of a TLS connection: the record type "handshake".
const TLS_HANDSHAKE: u8 = 0x16;
