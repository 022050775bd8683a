//! The replies to the commands of one envelope, and what they mean for each recipient.
//!
//! Rule: pure. A recipient's own refusal comes before what happened later to the others; a refused MAIL
//! concerns all. Must not know the connection.

use super::answer::{Answer, Fault, Reply, Stage};
use crate::queue::QueueError;

/// What one transaction came to.
#[derive(Debug)]
pub(super) struct Transacted {
    /// One for each recipient of the envelope.
    pub(super) answers: Vec<Answer>,
    /// The connection cannot be used any more.
    pub(super) broken: bool,
    /// The message could not be read, or the queue could not note the final dot; nothing was sent.
    pub(super) store_error: Option<QueueError>,
}

/// One command of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Reset,
    Mail,
    Rcpt(usize),
    Data,
}

impl Step {
    pub(super) fn stage(self) -> Stage {
        match self {
            Self::Reset | Self::Mail => Stage::Mail,
            Self::Rcpt(_) => Stage::Rcpt,
            Self::Data => Stage::Data,
        }
    }
}

/// The replies to the envelope, as they come in.
#[derive(Debug)]
pub(super) struct EnvelopeReplies {
    mail: Option<Reply>,
    recipients: Vec<Option<Reply>>,
    /// To DATA; `None` while it has not been sent.
    pub(super) data: Option<Reply>,
}

impl EnvelopeReplies {
    pub(super) fn new(recipients: usize) -> Self {
        Self { mail: None, recipients: vec![None; recipients], data: None }
    }

    pub(super) fn note(&mut self, step: Step, reply: Reply) {
        match step {
            // A refused RSET shows in the reply to MAIL.
            Step::Reset => {}
            Step::Mail => self.mail = Some(reply),
            Step::Rcpt(position) => self.recipients[position] = Some(reply),
            Step::Data => self.data = Some(reply),
        }
    }

    pub(super) fn makes_sense(&self, step: Step) -> bool {
        match step {
            Step::Reset | Step::Mail => true,
            Step::Rcpt(_) => self.mail_accepted(),
            Step::Data => self.any_accepted(),
        }
    }

    fn mail_accepted(&self) -> bool {
        self.mail.as_ref().is_some_and(Reply::is_positive)
    }

    pub(super) fn any_accepted(&self) -> bool {
        self.mail_accepted() && self.recipients.iter().flatten().any(Reply::is_positive)
    }

    /// Each recipient's own refusal, or that of MAIL, or `rest`.
    fn answers(self, rest: &Answer) -> Vec<Answer> {
        if let Some(reply) = self.mail.filter(|reply| !reply.is_positive()) {
            return vec![Answer::Replied { stage: Stage::Mail, reply }; self.recipients.len()];
        }
        let own = |reply: Option<Reply>| match reply {
            Some(reply) if !reply.is_positive() => Answer::Replied { stage: Stage::Rcpt, reply },
            _ => rest.clone(),
        };
        self.recipients.into_iter().map(own).collect()
    }

    /// The transaction ended with `reply` at `stage`, or before it because nobody was left.
    pub(super) fn finished(self, stage: Stage, reply: Option<Reply>) -> Transacted {
        let rest = match reply {
            Some(reply) => Answer::Replied { stage, reply },
            None => Answer::Unsendable { reason: "no recipient was accepted".into() },
        };
        Transacted { answers: self.answers(&rest), broken: false, store_error: None }
    }

    pub(super) fn broken(self, stage: Stage, after_dot: bool, fault: Fault) -> Transacted {
        let rest = Answer::Broken { stage, after_dot, fault };
        Transacted { answers: self.answers(&rest), broken: true, store_error: None }
    }
}
