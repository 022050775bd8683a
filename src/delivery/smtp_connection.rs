//! One connection that speaks SMTP: opening it, one mail transaction after the other, closing it.
//!
//! Rule: driven command by command, so that each recipient has a result of its own and the bytes stay
//! unchanged. No password is sent, and no message, before TLS unless TLS is off. A transaction takes two
//! round trips: the envelope in one write (RFC 2920), then the message. Besides each reply, each part of the
//! dialogue has a limit in time, so that a server which answers everything late cannot keep a message for ever.
//! Must not know the queue or what a reply means.

mod login;

use std::borrow::Cow;

use tokio::time::timeout;

use super::{
    answer::{Answer, Fault, Reply, Stage, StageCell},
    options::{Limits, Options, Tls, Way},
    reach::reach,
    replies::{EnvelopeReplies, Step, Transacted},
    sight::Sight,
    tls::{self, Trust},
    wire::Wire,
};
use crate::{
    queue::{QueueError, spool_file::MessageReader},
    smtp::client::{
        capabilities::Capabilities,
        commands::{self, Envelope},
        stuffing::DotStuffer,
    },
};

/// The greeting, EHLO twice and STARTTLS may take so many times the limit of one command.
const OPENING_LIMIT: u32 = 2;
/// The replies to MAIL, to all RCPT and to DATA may take so many times the limit of one command.
const ENVELOPE_LIMIT: u32 = 4;

/// An open connection, logged in and ready for MAIL.
pub(super) struct SmtpConnection {
    wire: Wire,
    /// The server's first reply.
    greeting: String,
    capabilities: Capabilities,
    limits: Limits,
    /// The last transaction ended early, so the server still has its sender and recipients.
    needs_reset: bool,
    /// MAIL goes without parameters, because the server did not understand it with them.
    without_parameters: bool,
}

/// How the way of the message to its final dot ended.
enum Sent {
    /// The dot has been sent, or may have been.
    Dot,
    /// It was not; the connection is lost.
    Broken(Fault),
    /// It was not, because of the queue.
    Unreadable(QueueError),
}

impl SmtpConnection {
    /// Opens a connection up to the point where AUTH, or MAIL, may follow.
    pub(super) async fn open(
        options: &Options,
        way: Way,
        trust: &Trust,
        stage: &StageCell,
    ) -> Result<Self, Answer> {
        stage.enter(Stage::Connect);
        let reached = reach(options, way, trust).await;
        let mut connection = Self {
            wire: reached.map_err(|fault| Answer::broken(Stage::Connect, fault))?,
            greeting: String::new(),
            capabilities: Capabilities::default(),
            limits: options.limits.clone(),
            needs_reset: false,
            without_parameters: false,
        };
        let limit = OPENING_LIMIT * options.limits.command;
        match timeout(limit, connection.greet(options, way, trust, stage)).await {
            Ok(greeted) => greeted.map(|()| connection),
            Err(_) => Err(Answer::broken(stage.stage(), Fault::too_slow(limit))),
        }
    }

    /// The greeting, EHLO, and STARTTLS with another EHLO.
    async fn greet(
        &mut self,
        options: &Options,
        way: Way,
        trust: &Trust,
        stage: &StageCell,
    ) -> Result<(), Answer> {
        stage.enter(Stage::Greeting);
        self.greeting = self.positive(Stage::Greeting).await?.to_string();
        self.hello(options, stage).await?;
        if way.tls == Tls::Starttls {
            stage.enter(Stage::Starttls);
            self.start_tls(options, trust).await?;
            // What was offered in plain text counts no more (RFC 3207 section 4.2).
            self.hello(options, stage).await?;
        }
        Ok(())
    }

    async fn hello(&mut self, options: &Options, stage: &StageCell) -> Result<(), Answer> {
        stage.enter(Stage::Ehlo);
        self.wire.say(&commands::ehlo(&options.ehlo_name));
        let limit = self.limits.command;
        let reply =
            self.wire.reply(limit).await.map_err(|fault| Answer::broken(Stage::Ehlo, fault))?;
        if !reply.is_positive() {
            return Err(Answer::Replied { stage: Stage::Ehlo, reply: Reply::of(&reply) });
        }
        self.capabilities = Capabilities::of(&reply);
        Ok(())
    }

    async fn start_tls(&mut self, options: &Options, trust: &Trust) -> Result<(), Answer> {
        let broken = |fault| Answer::broken(Stage::Starttls, fault);
        if !self.capabilities.starttls {
            return Err(broken(Fault::NoStarttls));
        }
        let connector = trust.connector().await.map_err(broken)?;
        let name = tls::server_name(&options.host).map_err(broken)?;
        self.wire.say(commands::STARTTLS);
        self.positive(Stage::Starttls).await?;
        let fault = |error: &std::io::Error| tls::handshake_fault(&options.host, error);
        self.wire.start_tls(&connector, name, self.limits.command, fault).await.map_err(broken)
    }

    /// Writes what was gathered and reads a reply.
    async fn reply(&mut self, stage: Stage) -> Result<Reply, Answer> {
        let reply = self.wire.reply(self.limits.command).await;
        reply.map(|reply| Reply::of(&reply)).map_err(|fault| Answer::broken(stage, fault))
    }

    /// The same, where anything but success ends the dialogue.
    async fn positive(&mut self, stage: Stage) -> Result<Reply, Answer> {
        match self.reply(stage).await? {
            reply if reply.is_positive() => Ok(reply),
            reply => Err(Answer::Replied { stage, reply }),
        }
    }

    /// What the server says of itself.
    pub(super) fn sight(&self) -> Sight {
        Sight {
            greeting: self.greeting.clone(),
            capabilities: self.capabilities,
            protection: self.wire.protection(),
        }
    }

    /// Leaves the parameters of MAIL out from now on, or not.
    pub(super) fn leave_parameters_out(&mut self, out: bool) {
        self.without_parameters = out;
    }

    /// Whether SMTPUTF8 is offered.
    pub(super) fn takes_internationalized(&self) -> bool {
        self.capabilities.internationalized
    }

    /// Sends one message. `before_final_dot` runs before its final dot leaves; when it fails, or the
    /// message cannot be read, the connection is given up and nothing is delivered.
    pub(super) async fn transact<F>(
        &mut self,
        envelope: &Envelope,
        reader: MessageReader,
        before_final_dot: F,
        stage: &StageCell,
    ) -> Transacted
    where
        F: Future<Output = Result<(), QueueError>> + Send,
    {
        let mut replies = EnvelopeReplies::new(envelope.recipients.len());
        let limit = ENVELOPE_LIMIT * self.limits.command;
        let sending = self.send_envelope(envelope, reader.size_bytes(), &mut replies, stage);
        let fault = match timeout(limit, sending).await {
            Ok(sent) => sent.err(),
            Err(_) => Some((stage.stage(), Fault::too_slow(limit))),
        };
        if let Some((stage, fault)) = fault {
            return replies.broken(stage, false, fault);
        }
        let Some(data) = replies.data.clone() else {
            self.needs_reset = true;
            return replies.finished(Stage::Data, None);
        };
        if data.code != 354 {
            self.needs_reset = true;
            return replies.finished(Stage::Data, Some(data));
        }
        if !replies.any_accepted() {
            return self.send_nothing(replies).await;
        }
        self.send_message(reader, before_final_dot, replies, stage).await
    }

    /// MAIL, RCPT and DATA: in one write when the server allows it, else one by one and no further than
    /// it makes sense.
    async fn send_envelope(
        &mut self,
        envelope: &Envelope,
        size_bytes: u64,
        replies: &mut EnvelopeReplies,
        cell: &StageCell,
    ) -> Result<(), (Stage, Fault)> {
        let lines = self.envelope_lines(envelope, size_bytes);
        self.needs_reset = false;
        let pipelining = self.capabilities.pipelining;
        if pipelining {
            lines.iter().for_each(|(_, line)| self.wire.say(line));
        }
        for (step, line) in &lines {
            if !pipelining {
                if !replies.makes_sense(*step) {
                    continue;
                }
                self.wire.say(line);
            }
            cell.enter(step.stage());
            match self.wire.reply(self.limits.command).await {
                Ok(reply) => replies.note(*step, Reply::of(&reply)),
                Err(fault) => return Err((step.stage(), fault)),
            }
        }
        Ok(())
    }

    fn envelope_lines(
        &self,
        envelope: &Envelope,
        size_bytes: u64,
    ) -> Vec<(Step, Cow<'static, str>)> {
        let parameters = match self.without_parameters {
            true => Vec::new(),
            false => envelope.parameters(&self.capabilities, size_bytes),
        };
        let mut lines = Vec::with_capacity(envelope.recipients.len() + 3);
        if self.needs_reset {
            lines.push((Step::Reset, commands::RSET.into()));
        }
        lines.push((Step::Mail, envelope.mail(&parameters).into()));
        let recipients = envelope.recipients.iter().enumerate();
        let rcpt = |(position, to)| (Step::Rcpt(position), commands::rcpt(to).into());
        lines.extend(recipients.map(rcpt));
        lines.push((Step::Data, commands::DATA.into()));
        lines
    }

    async fn send_message<F>(
        &mut self,
        reader: MessageReader,
        before_final_dot: F,
        replies: EnvelopeReplies,
        cell: &StageCell,
    ) -> Transacted
    where
        F: Future<Output = Result<(), QueueError>> + Send,
    {
        let octets = reader.size_bytes();
        self.wire.note(&format!("({octets} octets of a message)"));
        let limit = self.limits.message(octets);
        let sent = match timeout(limit, self.send_text(reader)).await {
            Ok(Ok(dot)) => self.send_final_dot(dot, before_final_dot, cell).await,
            Ok(Err(sent)) => sent,
            Err(_) => Sent::Broken(Fault::too_slow(limit)),
        };
        match sent {
            Sent::Broken(fault) => replies.broken(Stage::Data, false, fault),
            Sent::Unreadable(store_error) => {
                let fault = Fault::Lost("given up because of the queue".into());
                let store_error = Some(store_error);
                Transacted { store_error, ..replies.broken(Stage::Data, false, fault) }
            }
            Sent::Dot => match self.wire.reply(self.limits.final_dot).await {
                Ok(reply) => replies.finished(Stage::FinalDot, Some(Reply::of(&reply))),
                Err(fault) => replies.broken(Stage::FinalDot, true, fault),
            },
        }
    }

    /// Everything before the final dot, which is returned. What is left of it in the buffer leaves with the dot.
    async fn send_text(&mut self, mut reader: MessageReader) -> Result<&'static [u8], Sent> {
        let mut stuffer = DotStuffer::default();
        while let Some(block) = reader.next_block().map_err(Sent::Unreadable)? {
            stuffer.push(&block, self.wire.gathered());
            self.wire.relieve(self.limits.block).await.map_err(Sent::Broken)?;
        }
        Ok(stuffer.end())
    }

    async fn send_final_dot<F>(&mut self, dot: &[u8], before: F, cell: &StageCell) -> Sent
    where
        F: Future<Output = Result<(), QueueError>> + Send,
    {
        if let Err(error) = before.await {
            return Sent::Unreadable(error);
        }
        cell.enter(Stage::FinalDot);
        self.wire.note(".");
        self.wire.gathered().extend_from_slice(dot);
        match self.wire.flush(self.limits.block).await {
            Err(fault) if !self.wire.has_let_go() => Sent::Broken(fault),
            // A fault behind it shows once more when the reply is read.
            _ => Sent::Dot,
        }
    }

    /// The server said 354 though it refused every recipient: a lone dot ends the transaction (RFC 2920
    /// section 3.1), and its reply says nothing that we do not know.
    async fn send_nothing(&mut self, replies: EnvelopeReplies) -> Transacted {
        self.wire.say(".\r\n");
        let lost = self.wire.reply(self.limits.final_dot).await.is_err();
        let finished = replies.finished(Stage::FinalDot, None);
        Transacted { broken: lost, ..finished }
    }

    /// Says goodbye, without waiting long for the answer.
    pub(super) async fn quit(mut self) {
        self.wire.say(commands::QUIT);
        // The connection ends either way.
        drop(timeout(2 * self.limits.quit, self.wire.reply(self.limits.quit)).await);
    }
}

impl std::fmt::Debug for SmtpConnection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SmtpConnection")
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}
