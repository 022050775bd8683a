//! One connection to the upstream, whatever is spoken on it: opening it, one message after the other, closing it.
//!
//! Rule: what the transports have in common is said here and nothing is done. Must not know the queue or what a reply means.

use std::sync::Arc;

use super::{
    answer::{Answer, Fault, Stage, StageCell},
    api_connection::ApiConnection,
    credential::Credential,
    oauth::Tokens,
    options::{Options, Tls, Transport, Way},
    replies::Transacted,
    sight::Sight,
    smtp_connection::SmtpConnection,
    tls::Trust,
};
use crate::{
    clock::Timestamp,
    queue::{QueueError, spool_file::MessageReader},
    smtp::client::commands::Envelope,
};

/// An open connection, ready for a login or a message.
#[derive(Debug)]
pub(super) enum Connection {
    Smtp(Box<SmtpConnection>),
    Api(Box<ApiConnection>),
}

impl Connection {
    /// Reads the password, or has a token fetched, before the upstream is called: what is wrong with it costs no
    /// connection.
    pub(super) async fn credential(
        options: &Options,
        tokens: Option<&Arc<Tokens>>,
    ) -> Result<Option<Credential>, Answer> {
        let Some(login) = &options.login else { return Ok(None) };
        if options.tls == Tls::Off {
            let words = "a password is never sent without TLS: set upstream.tls";
            return Err(Answer::broken(Stage::Auth, Fault::Configuration(words.into())));
        }
        Credential::of(login, tokens, options.limits.password_command)
            .await
            .map(Some)
            .map_err(|fault| Answer::broken(Stage::Auth, fault))
    }

    /// Opens a connection up to the point where a login, or a message, may follow.
    pub(super) async fn open(
        options: &Options,
        way: Way,
        trust: &Trust,
        stage: &StageCell,
    ) -> Result<Self, Answer> {
        Ok(match options.transport {
            Transport::Smtp => {
                Self::Smtp(Box::new(SmtpConnection::open(options, way, trust, stage).await?))
            }
            Transport::GmailApi => {
                Self::Api(Box::new(ApiConnection::open(options, way, trust, stage).await?))
            }
        })
    }

    /// Logs in. Returns when a connection that was opened with this credential must be renewed.
    pub(super) async fn log_in(
        &mut self,
        credential: &Credential,
        options: &Options,
        way: Way,
        stage: &StageCell,
    ) -> Result<Option<Timestamp>, Answer> {
        match self {
            Self::Smtp(connection) => connection.log_in(credential, options, way, stage).await,
            Self::Api(connection) => connection.log_in(credential).map(Some),
        }
    }

    /// What the server says of itself.
    pub(super) fn sight(&self) -> Sight {
        match self {
            Self::Smtp(connection) => connection.sight(),
            Self::Api(connection) => connection.sight(),
        }
    }

    /// Leaves the parameters of MAIL out from now on, or not.
    pub(super) fn leave_parameters_out(&mut self, out: bool) {
        match self {
            Self::Smtp(connection) => connection.leave_parameters_out(out),
            Self::Api(_) => {}
        }
    }

    /// Whether addresses with other letters than ASCII can be named.
    pub(super) fn takes_internationalized(&self) -> bool {
        match self {
            Self::Smtp(connection) => connection.takes_internationalized(),
            Self::Api(_) => false,
        }
    }

    /// Sends one message. `before_final_dot` runs before the last of it leaves; when it fails, or the message cannot be
    /// read, the connection is given up and nothing is delivered.
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
        match self {
            Self::Smtp(connection) => {
                connection.transact(envelope, reader, before_final_dot, stage).await
            }
            Self::Api(connection) => {
                let recipients = envelope.recipients.len();
                connection.transact(recipients, reader, before_final_dot, stage).await
            }
        }
    }

    /// Says goodbye, without waiting long for the answer.
    pub(super) async fn quit(self) {
        match self {
            Self::Smtp(connection) => connection.quit().await,
            // HTTP has no farewell.
            Self::Api(_) => {}
        }
    }
}
