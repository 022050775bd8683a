//! Speaks SMTP as a client: one transaction over a connection (RFC 5321 section 3.3).
//!
//! Rule: what is refused for good and what only now is told apart for each recipient and for the message; a
//! connection that is lost after the message has gone is neither a refusal nor a success.
//! Must not know what becomes of a message that could not be handed over here.

use std::{io, time::Duration};

use super::{
    connection::{Connection, LOCAL_CONNECT},
    letter::Letter,
    transaction::{Offer, Recipient, Transaction},
};
use crate::smtp::{
    address::Address,
    client::{capabilities::Capabilities, reply::Reply, stuffing::DotStuffer},
};

/// How long a relay elsewhere may take for a reply; the daemon's socket is quicker or broken.
const ANSWER: Duration = Duration::from_secs(60);
const LOCAL_ANSWER: Duration = Duration::from_secs(10);
/// How long the reply to the message may take: it is synced to a disk meanwhile.
const FINAL_ANSWER: Duration = Duration::from_secs(5 * 60);
const LOCAL_FINAL_ANSWER: Duration = Duration::from_secs(30);
/// Commands that are sent before their replies are read: what both can hold in their buffers.
const PIPELINE: usize = 50;

/// Whom we talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Our daemon, behind its own socket.
    Daemon,
    /// A relay elsewhere.
    Relay,
}

/// An SMTP session.
#[derive(Debug)]
pub struct Submission {
    connection: Connection,
    peer: Peer,
    offer: Offer,
}

/// Why a transaction came to nothing.
#[derive(Debug)]
pub enum Failure {
    /// No connection, or one that was lost, with what is known about it.
    Lost(String),
    /// The message was refused, for good or for now.
    Refused(Reply),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

/// What a transaction came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The reply to the message, when somebody gets it.
    pub taken: Option<Reply>,
    /// Why the message came to nothing, or to nobody knows what, after recipients had been accepted.
    pub failed: Option<Failure>,
    /// Who was accepted.
    pub accepted: Vec<Recipient>,
    /// Who does not, and why.
    pub refused: Vec<(Address, Reply)>,
    /// Whom the server takes later, or in another transaction.
    pub later: Vec<Recipient>,
}

impl Submission {
    /// Greets.
    pub fn open(mut connection: Connection, peer: Peer, own_name: &str) -> Result<Self, Failure> {
        let (greeting_within, within) = match peer {
            Peer::Daemon => (LOCAL_CONNECT, LOCAL_ANSWER),
            Peer::Relay => (ANSWER, ANSWER),
        };
        positive(connection.answer(greeting_within)?)?;
        connection.send(format!("EHLO {own_name}\r\n").as_bytes())?;
        let answer = connection.answer(within)?;
        let offer = if answer.is_positive() {
            Offer { queue_id: peer == Peer::Daemon, ..Offer::of(&Capabilities::of(&answer)) }
        } else {
            // A server from before 1995, or a device.
            connection.send(format!("HELO {own_name}\r\n").as_bytes())?;
            positive(connection.answer(within)?)?;
            Offer::default()
        };
        Ok(Self { connection, peer, offer })
    }

    /// One transaction.
    pub fn submit(
        &mut self,
        transaction: &Transaction<'_>,
        letter: &mut Letter,
    ) -> Result<Outcome, Failure> {
        if transaction.is_internationalized() && !self.offer.internationalized {
            let words = "553 5.6.7 the relay does not offer SMTPUTF8, which the addresses need";
            return Err(
                Reply::of(words).map_or_else(|| Failure::Lost(words.into()), Failure::Refused)
            );
        }
        let mut commands = vec![transaction.mail(self.offer)];
        commands.extend(transaction.recipients(self.offer));
        let mut answers = self.ask(&commands)?.into_iter();
        if let Some(answer) = answers.next().filter(|answer| !answer.is_positive()) {
            return Err(Failure::Refused(answer));
        }
        let mut outcome = Outcome::default();
        for (recipient, answer) in transaction.recipients.iter().zip(answers) {
            if answer.is_positive() {
                outcome.accepted.push(recipient.clone());
            } else if answer.is_temporary() {
                outcome.later.push(recipient.clone());
            } else {
                outcome.refused.push((recipient.address.clone(), answer));
            }
        }
        if let Some((_, answer)) =
            outcome.refused.first().filter(|_| transaction.sending.all_or_none)
        {
            let refusal = Failure::Refused(answer.clone());
            self.ask(&["RSET".to_owned()])?;
            return Err(refusal);
        }
        if outcome.accepted.is_empty() {
            self.ask(&["RSET".to_owned()])?;
            return Ok(outcome);
        }
        match self.transfer(transaction, letter) {
            Ok(answer) => outcome.taken = Some(answer),
            Err(failure) => outcome.failed = Some(failure),
        }
        Ok(outcome)
    }

    /// Sends commands and reads a reply for each.
    fn ask(&mut self, commands: &[String]) -> Result<Vec<Reply>, Failure> {
        let within = if self.peer == Peer::Daemon { LOCAL_ANSWER } else { ANSWER };
        let mut answers = Vec::with_capacity(commands.len());
        for group in commands.chunks(if self.offer.pipelining { PIPELINE } else { 1 }) {
            let lines: String =
                group.iter().flat_map(|command| [command.as_str(), "\r\n"]).collect();
            self.connection.send(lines.as_bytes())?;
            for _ in group {
                answers.push(self.connection.answer(within)?);
            }
        }
        Ok(answers)
    }

    /// The message itself.
    fn transfer(
        &mut self,
        transaction: &Transaction<'_>,
        letter: &mut Letter,
    ) -> Result<Reply, Failure> {
        let sent = if self.offer.chunking {
            let first = format!("BDAT {} LAST\r\n", transaction.size_bytes);
            let connection = &mut self.connection;
            connection
                .send(first.as_bytes())
                .and_then(|()| letter.replay(|block| connection.send(block)))
        } else {
            let answer = self.ask(&["DATA".to_owned()])?.pop();
            if let Some(answer) = answer.filter(|answer| answer.code != 354) {
                return Err(Failure::Refused(answer));
            }
            self.send_with_dots(letter)
        };
        let within = if self.peer == Peer::Daemon { LOCAL_FINAL_ANSWER } else { FINAL_ANSWER };
        let answer = match (self.connection.answer(within), sent) {
            (Ok(answer), _) => answer,
            // Why the write failed says more than that no reply came.
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error.into()),
        };
        positive(answer)
    }

    /// DATA: a dot at the beginning of a line is doubled (RFC 5321 section 4.5.2).
    fn send_with_dots(&mut self, letter: &mut Letter) -> io::Result<()> {
        let mut stuffer = DotStuffer::default();
        let connection = &mut self.connection;
        letter.replay(|block| {
            let mut stuffed = Vec::with_capacity(block.len() + block.len() / 64);
            stuffer.push(block, &mut stuffed);
            connection.send(&stuffed)
        })?;
        self.connection.send(stuffer.end())
    }

    /// Says goodbye. Nobody waits for the answer.
    pub fn close(mut self) {
        drop(self.connection.send(b"QUIT\r\n"));
    }
}

fn positive(answer: Reply) -> Result<Reply, Failure> {
    if answer.is_positive() { Ok(answer) } else { Err(Failure::Refused(answer)) }
}
