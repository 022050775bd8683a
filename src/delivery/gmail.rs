//! One connection to the upstream: opening it, one mail transaction after the other, closing it.
//!
//! Rule: the only file that knows lettre's connection (with `guard.rs` under it), driven command by
//! command, so that each recipient has a result of its own and the bytes stay unchanged. No password is
//! sent, and no message, before TLS unless TLS is off. A transaction takes two round trips: the envelope
//! in one write (RFC 2920), then the message. Must not know the queue or what a reply means.

mod login;

use std::sync::Arc;

use lettre::transport::smtp::{
    Error as SmtpError,
    client::AsyncSmtpConnection,
    extension::{ClientId, Extension},
    response::Response,
};
use tokio::time::timeout;

use super::{
    answer::{Answer, Fault, Reply, Stage, StageCell},
    body::Body,
    capabilities::Capabilities,
    credential::Credential,
    guard::{Handle, StartTlsError},
    oauth::Tokens,
    options::{Limits, Options, Tls, Way},
    reach::reach,
    replies::{EnvelopeReplies, Step, Transacted},
    tls::{self, Trust},
};
use crate::{
    queue::{reader::MessageReader, store::StoreError},
    smtp::address::Address,
};

/// An open connection, logged in and ready for MAIL.
pub(super) struct Connection {
    smtp: AsyncSmtpConnection,
    handle: Handle,
    capabilities: Capabilities,
    limits: Limits,
    /// The last transaction ended early, so the server still has its sender and recipients.
    needs_reset: bool,
    /// MAIL goes without parameters, because the server did not understand it with them.
    without_parameters: bool,
}

/// The envelope of one transaction.
#[derive(Debug)]
pub(super) struct Envelope {
    /// `None` is the null reverse path.
    pub(super) reverse_path: Option<Address>,
    /// At least one, at most `Limits::recipients_per_transaction`.
    pub(super) recipients: Vec<Address>,
    /// SMTPUTF8 is needed.
    pub(super) internationalized: bool,
}

impl Connection {
    /// Reads the password, or has a token fetched, before the upstream is called: what is wrong with it costs no
    /// connection.
    pub(super) async fn credential(
        options: &Options,
        tokens: Option<&Arc<Tokens>>,
    ) -> Result<Option<Credential>, Answer> {
        let Some(login) = &options.login else { return Ok(None) };
        let broken = |fault| Answer::Broken { stage: Stage::Auth, after_dot: false, fault };
        if options.tls == Tls::Off {
            let words = "a password is never sent without TLS: set upstream.tls";
            return Err(broken(Fault::Configuration(words.into())));
        }
        Credential::of(login, tokens, options.limits.password_command)
            .await
            .map(Some)
            .map_err(broken)
    }

    /// Opens a connection up to the point where AUTH, or MAIL, may follow.
    pub(super) async fn open(
        options: &Options,
        way: Way,
        trust: &Trust,
        stage: &StageCell,
    ) -> Result<Self, Answer> {
        stage.enter(Stage::Connect);
        let broken = |stage, fault| Answer::Broken { stage, after_dot: false, fault };
        let reached = reach(options, way, trust).await;
        let (guard, handle) = reached.map_err(|fault| broken(Stage::Connect, fault))?;
        stage.enter(Stage::Greeting);
        let name = ClientId::Domain(options.ehlo_name.clone());
        let smtp = AsyncSmtpConnection::connect_with_transport(Box::new(guard), &name).await;
        let smtp = smtp.map_err(|error| {
            let stage = if handle.wrote_anything() { Stage::Ehlo } else { Stage::Greeting };
            if handle.met_tls() { broken(stage, Fault::TlsFirst) } else { answer(stage, &error) }
        })?;
        let limits = options.limits.clone();
        let capabilities = Capabilities::default();
        let mut connection = Self {
            smtp,
            handle,
            capabilities,
            limits,
            needs_reset: false,
            without_parameters: false,
        };
        if way.tls == Tls::Starttls {
            stage.enter(Stage::Starttls);
            connection.start_tls(options, trust).await?;
        }
        stage.enter(Stage::Ehlo);
        // lettre keeps four keywords of its own EHLO only.
        let reply = connection.smtp.command(format!("EHLO {}\r\n", options.ehlo_name)).await;
        let reply = reply.map_err(|error| answer(Stage::Ehlo, &error))?;
        connection.capabilities = Capabilities::read(reply.message());
        Ok(connection)
    }

    /// Leaves the parameters of MAIL out from now on, or not.
    pub(super) fn leave_parameters_out(&mut self, out: bool) {
        self.without_parameters = out;
    }

    /// Whether SMTPUTF8 is offered.
    pub(super) fn takes_internationalized(&self) -> bool {
        self.capabilities.internationalized
    }

    async fn start_tls(&mut self, options: &Options, trust: &Trust) -> Result<(), Answer> {
        let broken = |fault| Answer::Broken { stage: Stage::Starttls, after_dot: false, fault };
        if !self.smtp.server_info().supports_feature(Extension::StartTls) {
            return Err(broken(Fault::NoStarttls));
        }
        let connector = trust.connector().await.map_err(broken)?;
        let name = tls::server_name(&options.host).map_err(broken)?;
        self.smtp.command("STARTTLS\r\n").await.map_err(|error| answer(Stage::Starttls, &error))?;
        match timeout(self.limits.command, self.handle.start_tls(&connector, name)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(StartTlsError::Injected)) => Err(broken(Fault::Injected)),
            // Injected text that comes a moment later meets the handshake, which it breaks.
            Ok(Err(StartTlsError::Handshake(error))) => {
                Err(broken(tls::handshake_fault(&options.host, &error)))
            }
            Err(_) => Err(broken(Fault::Lost("the TLS handshake took too long".into()))),
        }
    }

    /// Sends one message. `before_final_dot` runs before its last block leaves; when it fails, or the
    /// message cannot be read, the connection is given up and nothing is delivered.
    pub(super) async fn transact<F>(
        &mut self,
        envelope: &Envelope,
        reader: MessageReader,
        before_final_dot: F,
        stage: &StageCell,
    ) -> Transacted
    where
        F: FnOnce() -> Result<(), StoreError> + Send,
    {
        self.handle.begin_transaction();
        self.handle.set_limit(self.limits.command);
        let mut replies = EnvelopeReplies::new(envelope.recipients.len());
        let fault =
            self.send_envelope(envelope, reader.size_bytes(), &mut replies, stage).await.err();
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
        let mut lines = self.envelope_lines(envelope, size_bytes);
        self.needs_reset = false;
        let pipelining = self.capabilities.pipelining;
        if pipelining {
            let all = lines.iter().map(|(_, line)| line.as_str()).collect();
            lines[0].1 = all;
        }
        for (position, (step, line)) in lines.iter().enumerate() {
            if !pipelining && !replies.makes_sense(*step) {
                continue;
            }
            cell.enter(step.stage());
            let result = if pipelining && position > 0 {
                self.smtp.read_response().await
            } else {
                self.smtp.command(line).await
            };
            match result.map_or_else(
                |error| answer(step.stage(), &error),
                |reply| replied(step.stage(), &reply),
            ) {
                Answer::Replied { reply, .. } => replies.note(*step, reply),
                Answer::Broken { stage, fault, .. } => return Err((stage, fault)),
                Answer::Unsendable { reason } => {
                    return Err((step.stage(), Fault::Garbled(reason)));
                }
            }
        }
        Ok(())
    }

    fn envelope_lines(&self, envelope: &Envelope, size_bytes: u64) -> Vec<(Step, String)> {
        let offered = &self.capabilities;
        let mut mail = match &envelope.reverse_path {
            Some(address) => format!("MAIL FROM:<{address}>"),
            None => "MAIL FROM:<>".to_owned(),
        };
        let parameters = !self.without_parameters;
        if offered.size && parameters {
            mail.push_str(&format!(" SIZE={size_bytes}"));
        }
        // A message that claims 7 bits may hold 8 all the same; the declaration harms nobody.
        if offered.eight_bit_mime && parameters {
            mail.push_str(" BODY=8BITMIME");
        }
        if envelope.internationalized && offered.internationalized && parameters {
            mail.push_str(" SMTPUTF8");
        }
        mail.push_str("\r\n");
        let mut lines = Vec::with_capacity(envelope.recipients.len() + 3);
        if self.needs_reset {
            lines.push((Step::Reset, "RSET\r\n".to_owned()));
        }
        lines.push((Step::Mail, mail));
        let recipients = envelope.recipients.iter().enumerate();
        lines.extend(
            recipients.map(|(position, to)| (Step::Rcpt(position), format!("RCPT TO:<{to}>\r\n"))),
        );
        lines.push((Step::Data, "DATA\r\n".to_owned()));
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
        F: FnOnce() -> Result<(), StoreError> + Send,
    {
        self.handle.set_limit(self.limits.block);
        let (handle, final_dot_limit) = (self.handle.clone(), self.limits.final_dot);
        let mut body = Body::new(reader, || {
            before_final_dot()?;
            cell.enter(Stage::FinalDot);
            handle.set_limit(final_dot_limit);
            Ok(())
        });
        let mut store_error = None;
        let blocks = std::iter::from_fn(|| {
            let block = body.block();
            store_error = body.failed();
            if store_error.is_some() {
                // lettre would end the message here; the poison keeps the final dot from leaving.
                self.handle.poison();
            }
            block
        });
        let result = self.smtp.message_iter(blocks).await;
        if store_error.is_some() {
            let fault = Fault::Lost("given up because of the queue".into());
            return Transacted { store_error, ..replies.broken(Stage::Data, false, fault) };
        }
        match result.map_or_else(
            |error| answer(Stage::FinalDot, &error),
            |reply| replied(Stage::FinalDot, &reply),
        ) {
            Answer::Replied { reply, .. } => replies.finished(Stage::FinalDot, Some(reply)),
            Answer::Broken { fault, .. } if self.handle.may_have_sent_final_dot() => {
                replies.broken(Stage::FinalDot, true, fault)
            }
            Answer::Broken { fault, .. } => replies.broken(Stage::Data, false, fault),
            Answer::Unsendable { reason } => {
                replies.broken(Stage::Data, false, Fault::Garbled(reason))
            }
        }
    }

    /// The server said 354 though it refused every recipient: a lone dot ends the transaction (RFC 2920
    /// section 3.1), and its reply says nothing that we do not know.
    async fn send_nothing(&mut self, replies: EnvelopeReplies) -> Transacted {
        self.handle.set_limit(self.limits.final_dot);
        let result = self.smtp.command(".\r\n").await;
        let lost = result.is_err_and(|error| error.status().is_none());
        let finished = replies.finished(Stage::FinalDot, None);
        Transacted { broken: lost, ..finished }
    }

    /// Says goodbye, without waiting long for the answer.
    pub(super) async fn quit(mut self) {
        self.handle.set_limit(self.limits.quit);
        // The connection ends either way.
        drop(timeout(2 * self.limits.quit, self.smtp.quit()).await);
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

fn replied(stage: Stage, response: &Response) -> Answer {
    Answer::Replied { stage, reply: read(response) }
}

/// The reply with its lines joined; the enhanced code, which each line repeats, is kept once.
fn read(response: &Response) -> Reply {
    let first = response.first_word().unwrap_or_default();
    let repeated = format!("{first} ");
    let mut joined = String::new();
    for (position, line) in response.message().enumerate() {
        if position > 0 {
            joined.push(' ');
        }
        let is_code = position > 0 && first.contains('.');
        joined.push_str(if is_code { line.strip_prefix(&repeated).unwrap_or(line) } else { line });
    }
    Reply::new(response.code().into(), &joined)
}

/// A refusal as a reply, anything else as a fault. lettre joins the lines of a refusal itself.
fn answer(stage: Stage, error: &SmtpError) -> Answer {
    let source = std::error::Error::source(error);
    let text = source.map_or_else(|| error.to_string(), ToString::to_string);
    if let Some(code) = error.status() {
        let text = source.map_or_else(String::new, ToString::to_string);
        return Answer::Replied { stage, reply: Reply::new(code.into(), &text) };
    }
    let ended = source
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof);
    let fault = match text.as_str() {
        // lettre has no better word for the end of the stream.
        "incomplete response" => Fault::Lost("the server closed the connection".into()),
        _ if ended => Fault::Lost("the server closed the connection".into()),
        _ if error.is_response() || error.is_client() => Fault::Garbled(text),
        _ => Fault::Lost(format!("the connection was lost: {text}")),
    };
    Answer::Broken { stage, after_dot: false, fault }
}
