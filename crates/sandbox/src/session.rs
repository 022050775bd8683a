//! One connection as Gmail conducts it: octets in, replies and a [`Flow`] out.
//!
//! Rule: no socket and no waiting here; what takes time is returned as a `Flow`, and the time of day
//! comes in as an argument. The transaction itself is in `transaction.rs`. Must not know the relay.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{
    accepted::TlsSession,
    body::Body,
    chunk::Chunk,
    command::Command,
    login::{self, Challenge},
    oauth::Expiry,
    replies::{self, Offer, Service, Template},
    script::Stage,
    scripted::Ordered,
    shared::{Shared, Weight},
    transaction::Transaction,
};
use crate::clock::Moment;

/// Which of the three ports a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// "587".
    StartTls,
    /// "465".
    Implicit,
    /// The "MX": neither TLS nor AUTH.
    Plain,
}

/// What the driver does after it has sent the replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Flow {
    /// Reads more.
    Continue,
    /// Begins TLS; what was received in plain text behind the command is gone.
    StartTls,
    /// Waits on the sandbox's clock before it sends the replies, then goes on.
    Pause(Duration),
    /// Closes in good order.
    Close,
    /// Closes at once; the reply that was due is missing.
    Drop,
    /// Sends nothing more until the client goes.
    Hang,
}

impl Flow {
    /// What happens after the reply that led to `self` has been written.
    pub(super) const fn then(self, next: Self) -> Self {
        next
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) number: u64,
    pub(super) port: Port,
    /// The session id.
    pub(super) id: String,
    pub(super) peer: IpAddr,
    pub(super) since: Moment,
    pub(super) tls: Option<TlsSession>,
    pub(super) client_name: Option<String>,
    pub(super) username: Option<String>,
    /// When the access token ends that the client has logged in with.
    pub(super) expiry: Option<Expiry>,
    unrecognized: u32,
    pub(super) state: State,
    /// What MAIL and RCPT have said in the present transaction, a line for each.
    pub(super) said: String,
    /// Replies that wait to be sent.
    pub(super) output: Vec<u8>,
}

/// Where in the dialogue a session is.
#[derive(Debug)]
pub(super) enum State {
    /// No mail transaction; perhaps no EHLO yet.
    Idle,
    /// A 334 was sent.
    Challenged(Challenge),
    /// MAIL was accepted.
    Mail(Box<Transaction>),
    /// 354 was sent.
    Data(Box<Transaction>, Box<Body>),
    /// BDAT was accepted; its octets are coming.
    Chunk(Chunk),
    /// The last BDAT was not the end of the message.
    Chunked(Box<Transaction>, Box<Body>),
}

impl Session {
    /// A connection that has just been made.
    pub(super) fn new(shared: Arc<Shared>, port: Port, peer: IpAddr, now: Moment) -> Self {
        let number = shared.next_connection();
        shared.mailbox.tally(|counters| {
            counters.connections += 1;
            counters.connections_open += 1;
            counters.connections_peak = counters.connections_peak.max(counters.connections_open);
        });
        Self {
            shared,
            number,
            port,
            id: replies::session_id(service(port)),
            peer,
            since: now,
            tls: None,
            client_name: None,
            username: None,
            expiry: None,
            unrecognized: 0,
            state: State::Idle,
            said: String::new(),
            output: Vec::with_capacity(1024),
        }
    }

    /// Greets; on the implicit port after the handshake.
    pub(super) fn greet(&mut self) -> Flow {
        self.shared.mailbox.reach(Stage::Connect);
        self.tell(Stage::Connect, Weight::Step, || "connected".to_owned());
        let flow = match self.ordered(Stage::Connect) {
            Ordered::Proceed(flow) | Ordered::StoreAndDrop(flow) => flow,
            Ordered::Instead(flow) => return flow,
        };
        replies::greeting(&mut self.output, service(self.port), &self.id);
        flow
    }

    /// TLS has been established: everything said before is forgotten (RFC 3207 section 4.2).
    pub(super) fn secured(&mut self, tls: TlsSession) {
        self.tls = Some(tls);
        self.client_name = None;
        self.state = State::Idle;
    }

    /// The client was silent for too long.
    pub(super) fn timed_out(&mut self) -> Flow {
        self.refuse(Stage::Other, &replies::IDLE_TIMEOUT, "").then(Flow::Close)
    }

    /// The access token has ended, and with it the connection; a message in transfer may finish first.
    pub(super) fn token_ended(&mut self) -> Flow {
        if matches!(self.state, State::Data(..) | State::Chunk(_)) {
            return Flow::Continue;
        }
        self.refuse(Stage::Other, &replies::SESSION_EXPIRED, "").then(Flow::Close)
    }

    /// Takes what it can of `input` and appends the replies to `output`. Returns how much it took.
    pub(super) fn receive(&mut self, input: &[u8], now: Moment) -> (usize, Flow) {
        let mut taken = 0;
        while taken < input.len() {
            let rest = &input[taken..];
            let flow = if let State::Chunk(chunk) = &mut self.state {
                taken += chunk.receive(rest);
                self.chunk_arrived(now)
            } else if let State::Data(_, body) = &mut self.state {
                let (length, ended) = body.receive(rest);
                taken += length;
                let flow = self.data_arrived(ended, now);
                if !ended && flow == Flow::Continue {
                    break;
                }
                flow
            } else {
                let Some(end) = memchr::memchr(b'\n', rest) else {
                    if rest.len() <= LINE_LENGTH_MAX {
                        break;
                    }
                    let flow = self.refuse(Stage::Other, &replies::LINE_TOO_LONG, "");
                    return (input.len(), flow.then(Flow::Close));
                };
                taken += end + 1;
                let line = &rest[..end];
                self.line(line.strip_suffix(b"\r").unwrap_or(line), now)
            };
            if flow != Flow::Continue {
                return (taken, flow);
            }
        }
        (taken, Flow::Continue)
    }

    fn line(&mut self, line: &[u8], now: Moment) -> Flow {
        let Ok(line) = str::from_utf8(line) else { return self.violation(&replies::SYNTAX_ERROR) };
        if let State::Challenged(challenge) = &mut self.state {
            let challenge = std::mem::replace(challenge, Challenge::Plain);
            self.state = State::Idle;
            self.shared.mailbox.note_command(self.number, "***");
            return self.login_step(login::proceed(challenge, line), now);
        }
        let command = Command::parse(line);
        self.note(line, &command);
        if self.expiry.is_some_and(|expiry| expiry.remaining(now).is_zero()) {
            return self.token_ended();
        }
        let stage = command.stage();
        self.shared.mailbox.reach(stage);
        // The commands of a transaction ask for their orders themselves, behind the checks of order and
        // syntax.
        if matches!(command, Command::Mail(_) | Command::Rcpt(_) | Command::Data | Command::Bdat(_))
        {
            match &command {
                Command::Mail(rest) => self.said = format!("{rest}\n"),
                Command::Rcpt(rest) => self.said.push_str(&format!("{rest}\n")),
                _ => {}
            }
            return self.transact(&command, now);
        }
        match self.ordered(stage) {
            Ordered::Instead(flow) => flow,
            Ordered::StoreAndDrop(flow) => flow,
            Ordered::Proceed(Flow::Continue) => self.command(&command, now),
            Ordered::Proceed(delayed) => match self.command(&command, now) {
                Flow::Continue => delayed,
                flow => flow,
            },
        }
    }

    fn command(&mut self, command: &Command<'_>, now: Moment) -> Flow {
        match command {
            Command::Ehlo(name) => self.hello(name, Hello::Extended),
            Command::Helo(name) => self.hello(name, Hello::Plain),
            Command::StartTls => self.start_tls(),
            Command::Auth(mechanism, initial) => self.authenticate(mechanism, *initial, now),
            Command::Rset => {
                self.state = State::Idle;
                self.reply(&replies::FLUSHED, "")
            }
            Command::Noop => self.reply(&replies::NOOP_OK, ""),
            Command::Vrfy => self.reply(&replies::VRFY_MAYBE, ""),
            Command::Help => self.reply(&replies::HELP, ""),
            Command::Quit => self.reply(&replies::CLOSING, "").then(Flow::Close),
            Command::Unimplemented => self.violation(&replies::UNIMPLEMENTED),
            Command::Unrecognized => {
                self.unrecognized += 1;
                if self.unrecognized > UNRECOGNIZED_MAX {
                    return self.violation(&replies::TOO_MANY_UNRECOGNIZED).then(Flow::Close);
                }
                self.violation(&replies::UNRECOGNIZED)
            }
            Command::Mail(_) | Command::Rcpt(_) | Command::Data | Command::Bdat(_) => {
                self.transact(command, now)
            }
        }
    }

    fn hello(&mut self, name: &str, hello: Hello) -> Flow {
        let refused =
            name.is_empty() || REFUSED_NAMES.iter().any(|bad| name.eq_ignore_ascii_case(bad));
        if refused && self.shared.options.refuse_localhost_ehlo {
            return self.refuse(Stage::Ehlo, &replies::EHLO_REFUSED, "").then(Flow::Close);
        }
        self.tell(Stage::Ehlo, Weight::Step, || format!("name={name}"));
        self.client_name = Some(name.to_owned());
        self.state = State::Idle;
        let service = service(self.port);
        if hello == Hello::Plain {
            replies::helo(&mut self.output, service);
            return Flow::Continue;
        }
        let offer = match self.port {
            Port::Plain => Offer::Neither,
            _ if self.tls.is_some() => Offer::Authentication(self.shared.options.mechanisms),
            _ if self.shared.options.offer_starttls => Offer::StartTls,
            _ => Offer::Neither,
        };
        let size_max = self.size_max();
        replies::ehlo(&mut self.output, service, self.peer, size_max, offer);
        Flow::Continue
    }

    fn start_tls(&mut self) -> Flow {
        if self.port == Port::Plain || !self.shared.options.offer_starttls {
            return self.violation(&replies::UNIMPLEMENTED);
        }
        if self.tls.is_some() {
            return self.violation(&replies::STARTTLS_REPEATED);
        }
        if self.client_name.is_none() {
            return self.violation(&replies::EHLO_FIRST);
        }
        self.output.extend_from_slice(replies::READY_TO_START_TLS);
        Flow::StartTls
    }

    /// Sends a reply that is not a refusal.
    pub(super) fn reply(&mut self, reply: &Template, detail: &str) -> Flow {
        reply.write(&mut self.output, &self.id, detail);
        Flow::Continue
    }

    /// Sends a refusal and tells about it.
    pub(super) fn refuse(&mut self, stage: Stage, reply: &'static Template, detail: &str) -> Flow {
        if reply.is_daily_limit() {
            self.shared.mailbox.tally(|counters| counters.quota_refusals += 1);
        }
        self.tell(stage, Weight::Result, || format!("refused reply={} {detail}", reply.codes()));
        self.reply(reply, detail)
    }

    /// Refuses what a correct client does not send.
    pub(super) fn violation(&mut self, reply: &'static Template) -> Flow {
        self.shared.mailbox.tally(|counters| counters.violations += 1);
        self.refuse(Stage::Other, reply, "")
    }

    pub(super) fn drop_connection(&mut self, stage: Stage) -> Flow {
        self.shared.mailbox.tally(|counters| counters.drops += 1);
        self.tell(stage, Weight::Result, || "connection dropped".to_owned());
        Flow::Drop
    }

    pub(super) fn tell(&self, stage: Stage, weight: Weight, text: impl FnOnce() -> String) {
        self.shared.tell(self.number, stage, weight, text);
    }

    /// Octets of the largest message; Google's MX takes more than its submission servers.
    pub(super) fn size_max(&self) -> u64 {
        if self.port == Port::Plain {
            EXCHANGE_SIZE_MAX
        } else {
            self.shared.options.size_bytes_max
        }
    }

    fn note(&self, line: &str, command: &Command<'_>) {
        match command {
            Command::Auth(mechanism, Some(_)) => {
                self.shared.mailbox.note_command(self.number, &format!("AUTH {mechanism} ***"));
            }
            _ => self.shared.mailbox.note_command(self.number, line),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.mailbox.tally(|counters| counters.connections_open -= 1);
        if let Some(username) = &self.username {
            self.shared.accounts.disconnected(username);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hello {
    Extended,
    Plain,
}

const fn service(port: Port) -> Service {
    match port {
        Port::Plain => Service::Exchange,
        Port::StartTls | Port::Implicit => Service::Submission,
    }
}

/// EHLO names that Gmail answers with 421 4.7.0.
const REFUSED_NAMES: &[&str] = &["localhost", "[127.0.0.1]"];
/// Octets of a command line; RFC 4954 section 4 asks for 12,288 in AUTH.
const LINE_LENGTH_MAX: usize = 16 * 1024;
/// Unknown commands that are answered before the connection is closed.
const UNRECOGNIZED_MAX: u32 = 5;
/// What Google's MX advertises as SIZE.
const EXCHANGE_SIZE_MAX: u64 = 157_286_400;
