//! The mail transaction: MAIL, RCPT, DATA and the final dot (RFC 5321 section 3.3). BDAT is in `chunk.rs`.
//!
//! Rule: the checks of each step come in Gmail's order: sequence, syntax, what a test ordered, the
//! account, the recipient's name. A refused DATA ends the transaction. Must not know sockets.

use super::{
    accepted::Accepted,
    body::Body,
    command::{Command, MailParameters, Path},
    options::OverLimit,
    replies,
    script::Stage,
    scripted::Ordered,
    session::{Flow, Port, Session, State},
    shared::Weight,
    triggers::{Armed, Effect},
};
use crate::clock::Moment;

/// What MAIL and RCPT have said so far.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    mail_from: String,
    parameters: Vec<String>,
    internationalized: bool,
    rcpt_to: Vec<String>,
    armed: Vec<Armed>,
}

/// Whether a stage goes on after scripts and triggers had their say.
enum Passage {
    /// It does; the flow is `Continue` or a pause.
    Free(Flow),
    /// The message is stored, then this happens.
    StoredOnly(Flow),
    /// It does not; a reply, if one is due, has been written.
    Barred(Flow),
}

impl Session {
    /// MAIL, RCPT, DATA and BDAT.
    pub(super) fn transact(&mut self, command: &Command<'_>, now: Moment) -> Flow {
        match command {
            Command::Mail(rest) => self.mail(rest, now),
            Command::Rcpt(rest) => self.rcpt(rest, now),
            Command::Bdat(rest) => self.bdat(rest, now),
            _ => self.data(now),
        }
    }

    fn mail(&mut self, rest: &str, now: Moment) -> Flow {
        if self.client_name.is_none() {
            return self.violation(&replies::EHLO_FIRST);
        }
        if self.port == Port::StartTls && self.tls.is_none() {
            return self.violation(&replies::STARTTLS_FIRST);
        }
        if self.port != Port::Plain && self.username.is_none() {
            return self.violation(&replies::AUTHENTICATION_REQUIRED);
        }
        if !matches!(self.state, State::Idle) {
            return self.violation(&replies::BAD_SEQUENCE);
        }
        let age_max = self.shared.options.age;
        if now.since(self.since) >= age_max {
            return self.refuse(Stage::Mail, &replies::CONNECTION_EXPIRED, "").then(Flow::Close);
        }
        let Some(path) = Path::parse(rest, "FROM:") else {
            return self.violation(&replies::SYNTAX_ERROR);
        };
        let Some(parameters) = MailParameters::parse(&path.parameters) else {
            return self.violation(&replies::SYNTAX_ERROR);
        };
        let sender = path.address(parameters.internationalized);
        if sender.is_none() && !path.text.is_empty() {
            return self.refuse(Stage::Mail, &replies::BAD_SENDER, path.text);
        }
        if parameters.size > self.size_max() {
            return self.refuse(Stage::Mail, &replies::TOO_LARGE, "");
        }
        if self.shared.accounts.drops_this_mail(self.account()) {
            return self.drop_connection(Stage::Mail);
        }
        let flow = match self.pass(Stage::Mail, &[], now) {
            Passage::Free(flow) => flow,
            Passage::StoredOnly(flow) | Passage::Barred(flow) => return flow,
        };
        self.tell(Stage::Mail, Weight::Step, || format!("from={}", path.text));
        self.state = State::Mail(Box::new(Transaction {
            mail_from: path.text.to_owned(),
            parameters: path.parameters.iter().map(|text| (*text).to_owned()).collect(),
            internationalized: parameters.internationalized,
            ..Transaction::default()
        }));
        self.reply(&replies::SENDER_OK, "").then(flow)
    }

    fn rcpt(&mut self, rest: &str, now: Moment) -> Flow {
        let State::Mail(transaction) = &self.state else {
            let chunked = matches!(self.state, State::Chunked(..));
            return self.violation(if chunked {
                &replies::BAD_SEQUENCE
            } else {
                &replies::MAIL_FIRST
            });
        };
        let (internationalized, count) = (transaction.internationalized, transaction.rcpt_to.len());
        let Some(path) = Path::parse(rest, "TO:").filter(|path| path.parameters.is_empty()) else {
            return self.violation(&replies::SYNTAX_ERROR);
        };
        let Some(address) = path.address(internationalized) else {
            return self.refuse(Stage::Rcpt, &replies::BAD_RECIPIENT, path.text);
        };
        if count >= self.shared.options.recipients_max {
            return self.refuse(Stage::Rcpt, &replies::TOO_MANY_RECIPIENTS, path.text);
        }
        let armed = Armed::of(address.local_part(), path.text);
        let flow = match self.pass(Stage::Rcpt, armed.as_slice(), now) {
            Passage::Free(flow) => flow,
            Passage::StoredOnly(flow) | Passage::Barred(flow) => return flow,
        };
        self.tell(Stage::Rcpt, Weight::Step, || format!("to={address}"));
        if let State::Mail(transaction) = &mut self.state {
            transaction.rcpt_to.push(String::from(address));
            transaction.armed.extend(armed);
        }
        self.reply(&replies::RECIPIENT_OK, "").then(flow)
    }

    fn data(&mut self, now: Moment) -> Flow {
        let transaction = match std::mem::replace(&mut self.state, State::Idle) {
            State::Mail(transaction) if transaction.has_recipients() => transaction,
            State::Mail(transaction) => {
                self.state = State::Mail(transaction);
                return self.violation(&replies::RCPT_FIRST);
            }
            State::Chunked(transaction, body) => {
                self.state = State::Chunked(transaction, body);
                return self.violation(&replies::NO_DATA_AFTER_BDAT);
            }
            State::Idle | State::Challenged(_) | State::Data(..) | State::Chunk(_) => {
                return self.violation(&replies::MAIL_FIRST);
            }
        };
        let flow = match self.may_send(&transaction, now) {
            Ok(flow) => flow,
            Err(flow) => return flow,
        };
        let body = self.empty_body();
        self.state = State::Data(transaction, body);
        self.reply(&replies::GO_AHEAD, "").then(flow)
    }

    /// Whether the account and its connections allow another message; a refusal has been written.
    pub(super) fn may_send(
        &mut self,
        transaction: &Transaction,
        now: Moment,
    ) -> Result<Flow, Flow> {
        let flow = match self.pass(Stage::Data, &transaction.armed, now) {
            Passage::Free(flow) => flow,
            Passage::StoredOnly(flow) | Passage::Barred(flow) => return Err(flow),
        };
        if let Some(username) = &self.username {
            let (accounts, options) = (&self.shared.accounts, &self.shared.options);
            if accounts.connections(username) > options.connections_max {
                return Err(self
                    .refuse(Stage::Data, &replies::SYSTEM_PROBLEM, "")
                    .then(Flow::Close));
            }
            let refuses = options.over_limit == OverLimit::Refuse;
            if refuses && !accounts.has_room(username, transaction.recipients(), now) {
                return Err(self.refuse(Stage::Data, &replies::DAILY_LIMIT, ""));
            }
        }
        self.tell(Stage::Data, Weight::Step, || format!("recipients={}", transaction.recipients()));
        Ok(flow)
    }

    /// A body that keeps what it is to keep.
    pub(super) fn empty_body(&self) -> Box<Body> {
        let whole = usize::try_from(self.size_max()).unwrap_or(usize::MAX);
        let kept_max = if self.shared.options.keep_bodies { whole } else { HEADER_KEPT_MAX };
        Box::new(Body::new(kept_max))
    }

    /// Some message data has arrived, perhaps all of it.
    pub(super) fn data_arrived(&mut self, ended: bool, now: Moment) -> Flow {
        let State::Data(transaction, mut body) = std::mem::replace(&mut self.state, State::Idle)
        else {
            return Flow::Continue;
        };
        if let Err(flow) = self.body_begins(&transaction, &mut body, now) {
            return flow;
        }
        if ended {
            return self.message_arrived(*transaction, *body, now);
        }
        self.state = State::Data(transaction, body);
        Flow::Continue
    }

    /// The first octets of a message may be the last that this connection sees.
    pub(super) fn body_begins(
        &mut self,
        transaction: &Transaction,
        body: &mut Body,
        now: Moment,
    ) -> Result<(), Flow> {
        if !body.starts() {
            return Ok(());
        }
        self.shared.mailbox.reach(Stage::Body);
        match self.pass(Stage::Body, &transaction.armed, now) {
            Passage::Free(_) => Ok(()),
            Passage::StoredOnly(flow) | Passage::Barred(flow) => Err(flow),
        }
    }

    /// The final dot, or the end of the last chunk.
    pub(super) fn message_arrived(
        &mut self,
        mut transaction: Transaction,
        body: Body,
        now: Moment,
    ) -> Flow {
        self.shared.mailbox.reach(Stage::Dot);
        if body.size > self.size_max() {
            return self.refuse(Stage::Dot, &replies::TOO_LARGE, "");
        }
        if body.bare_line_feed && self.shared.options.strict_line_ends {
            return self.violation(&replies::BARE_LINE_FEED);
        }
        let armed = std::mem::take(&mut transaction.armed);
        match self.pass(Stage::Dot, &armed, now) {
            Passage::Free(flow) | Passage::StoredOnly(flow) => {
                self.accept(transaction, body, now, flow)
            }
            Passage::Barred(flow) => flow,
        }
    }

    /// Stores the message and, unless the connection is to drop, says so.
    fn accept(&mut self, transaction: Transaction, body: Body, now: Moment, flow: Flow) -> Flow {
        let recipients = transaction.recipients();
        let spent = self
            .username
            .as_ref()
            .is_none_or(|name| self.shared.accounts.spend(name, recipients, now));
        if !spent && self.shared.options.over_limit == OverLimit::Refuse {
            return self.refuse(Stage::Dot, &replies::DAILY_LIMIT, "");
        }
        let answered = flow != Flow::Drop;
        let message_id = body.message_id();
        let (size, crc32) = (body.size, body.crc32());
        let stored = self.shared.mailbox.store(Accepted {
            mail_from: transaction.mail_from,
            rcpt_to: transaction.rcpt_to,
            parameters: transaction.parameters,
            body: body.into_kept(),
            size,
            crc32,
            message_id,
            tls: self.tls.clone(),
            username: self.username.clone(),
            ehlo: self.client_name.clone().unwrap_or_default(),
            peer: self.peer,
            session_id: self.id.clone(),
            connection_number: self.number,
            at: now.wall,
            answered,
            bounced: !spent,
            copies_before: 0,
        });
        let message = match stored {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(%error, "the sandbox cannot write its journal or mailbox");
                return self.refuse(Stage::Dot, &replies::TRY_AGAIN, "");
            }
        };
        self.tell(Stage::Dot, Weight::Result, || {
            let (from, to) = (&message.mail_from, message.rcpt_to.join(","));
            let id = message.message_id.as_deref().unwrap_or("none");
            let again = if message.copies_before > 0 { " duplicate" } else { "" };
            format!("accepted from={from} to={to} size={size} message_id={id}{again}")
        });
        if message.bounced {
            self.tell(Stage::Dot, Weight::Result, || BOUNCED.to_owned());
        }
        if !answered {
            return flow;
        }
        self.reply(&replies::MESSAGE_ACCEPTED, &(now.wall.0 / 1000).to_string()).then(flow)
    }

    fn pass(&mut self, stage: Stage, armed: &[Armed], now: Moment) -> Passage {
        let flow = match self.ordered(stage) {
            Ordered::Proceed(flow) => flow,
            Ordered::Instead(flow) => return Passage::Barred(flow),
            Ordered::StoreAndDrop(flow) => return Passage::StoredOnly(flow),
        };
        if self.shared.accounts.limited_at(self.account(), stage, now) {
            return Passage::Barred(self.refuse(stage, &replies::DAILY_LIMIT, ""));
        }
        // At RCPT the rows that begin at the next MAIL are noted; all others wait for their stage.
        let struck = armed.iter().find(|armed| {
            let due = match armed.trigger.stage {
                Stage::Mail => stage == Stage::Rcpt,
                own => own == stage,
            };
            due && self.shared.strikes.strikes(armed)
        });
        struck.map_or(Passage::Free(flow), |armed| self.strike(stage, armed, flow, now))
    }

    fn strike(&mut self, stage: Stage, armed: &Armed, flow: Flow, now: Moment) -> Passage {
        match &armed.trigger.effect {
            Effect::Refuse(reply) | Effect::RefuseFirst(_, reply) => {
                Passage::Barred(self.refuse(stage, reply, &armed.address))
            }
            Effect::RefuseAndClose(reply) => {
                Passage::Barred(self.refuse(stage, reply, &armed.address).then(Flow::Close))
            }
            Effect::LimitAccount => {
                self.shared.accounts.limit(self.account(), stage, now);
                Passage::Barred(self.refuse(stage, &replies::DAILY_LIMIT, ""))
            }
            Effect::LimitAccountAtNextMail => {
                self.shared.accounts.limit(self.account(), Stage::Mail, now);
                Passage::Free(flow)
            }
            Effect::DropAtNextMail => {
                self.shared.accounts.drop_next_mail(self.account());
                Passage::Free(flow)
            }
            Effect::Drop => Passage::Barred(self.drop_connection(stage)),
            Effect::StoreAndDrop => Passage::StoredOnly(self.drop_connection(stage)),
            Effect::Delay => Passage::Free(Flow::Pause(self.shared.options.slow)),
            Effect::Malformed(malformed) => {
                malformed.write(&mut self.output);
                self.tell(stage, Weight::Result, || format!("malformed reply {malformed:?}"));
                Passage::Barred(Flow::Continue)
            }
        }
    }

    /// Whose limits apply; the plain port has triggers of its own, but no window.
    fn account(&self) -> &str {
        self.username.as_deref().unwrap_or("")
    }
}

impl Transaction {
    /// Whether DATA or BDAT may follow.
    pub(super) fn has_recipients(&self) -> bool {
        !self.rcpt_to.is_empty()
    }

    fn recipients(&self) -> u32 {
        u32::try_from(self.rcpt_to.len()).unwrap_or(u32::MAX)
    }
}

/// Octets kept of a message whose body is not wanted: enough for the Message-ID.
const HEADER_KEPT_MAX: usize = 16 * 1024;
/// What the account's owner finds in the inbox, while the relay has a 250.
const BOUNCED: &str = "bounced into the account's inbox: from=mailer-daemon@googlemail.com \
     text=\"You have reached a limit for sending mail. Your message was not sent.\"";
