//! MAIL and RCPT: who may send, and how a mail transaction comes together (RFC 5321 section 3.3).
//!
//! Rule: nobody relays who is neither in a trusted network nor logged in; that is decided here and nowhere
//! else. Must not know whether there is room for a message.

use super::{
    Authentication, ENVELOPE_BYTES_MAX, RECIPIENT_BYTES, Session, Step, Transaction,
    command::Unusable,
    error::CommandError,
    extension::{self, Parameters, Priority},
    reply::{self, Reply},
    sender,
    state::{Hello, State},
};
use crate::{
    address::Address,
    dsn::{Dsn, RecipientDsn},
    quirk::Quirk,
};

impl Session {
    /// MAIL in `Ready`.
    pub(super) fn mail(
        &mut self,
        mut reverse_path: Option<Address>,
        mut unusable: Option<Unusable>,
        mut parameters: Parameters,
    ) -> State {
        let trusted = self.client.policy.trusted;
        if trusted
            && !parameters.internationalized
            && let Some(path) = reverse_path.take_if(|path| path.is_internationalized())
        {
            let text = path.as_str().to_owned();
            reverse_path = sender::salvaged(&text);
            unusable = Some(Unusable { text, error: CommandError::EightBit });
        }
        if let Some(unusable) = unusable.as_ref().filter(|_| !trusted) {
            return self.object(&reply::malformed(&unusable.error), State::Ready);
        }
        self.hide_what_is_not_offered(&mut parameters);
        let limit = self.client.policy.max_message_bytes;
        let has_null_or_ascii_path =
            !reverse_path.as_ref().is_some_and(Address::is_internationalized);
        if parameters.has_unknown && !trusted {
            return self.object(&reply::unknown_parameter(), State::Ready);
        }
        if let Some(reply) = self.access_denied() {
            return self.object(&reply, State::Ready);
        }
        if !has_null_or_ascii_path && !parameters.internationalized {
            return self.object(&reply::needs_smtputf8(), State::Ready);
        }
        if parameters.priority == Some(Priority::Malformed) {
            let error = CommandError::Parameter("MT-PRIORITY");
            return self.object(&reply::malformed(&error), State::Ready);
        }
        if parameters.declared_bytes > limit {
            return self.answer(&reply::too_large(limit), State::Ready);
        }
        if matches!(self.hello, Hello::Missing) {
            self.quirk_log.record(Quirk::NoHello);
        }
        if parameters.has_unknown {
            self.quirk_log.record(Quirk::UnknownParameter);
        }
        if unusable.is_some() {
            self.quirk_log.record(Quirk::BadSender);
        }
        self.unusable_sender = unusable.map(|unusable| unusable.text);
        self.envelope_bytes = 0;
        self.due = Some(Step::Admit { declared_bytes: parameters.declared_bytes });
        State::Admitting(Transaction {
            reverse_path,
            forward_paths: Vec::new(),
            eight_bit: parameters.eight_bit,
            internationalized: parameters.internationalized,
            dsn: Dsn {
                content: parameters.content,
                envelope_id: parameters.envelope_id,
                ..Dsn::default()
            },
            priority: parameters.priority.and_then(Priority::number),
            login: self.login.clone(),
            helo: self.hello_name().to_owned(),
            proposed_id: parameters.queue_id,
            claimed_user: parameters.user_id,
            protocol: self.protocol(parameters.internationalized),
        })
    }

    /// To whom it is not offered, a parameter is one like any that nobody offers.
    fn hide_what_is_not_offered(&self, parameters: &mut Parameters) {
        if !self.client.local {
            parameters.has_unknown |= parameters.queue_id.take().is_some();
            parameters.has_unknown |= parameters.user_id.take().is_some();
        }
        if !extension::priorities_offered(self.client) {
            parameters.has_unknown |= parameters.priority.take().is_some();
        }
    }

    /// RCPT in `Mail` and `Recipients`.
    pub(super) fn recipient(
        &mut self,
        mut transaction: Transaction,
        path: Address,
        parameters: Parameters,
    ) -> State {
        let bytes = envelope_bytes(&path, &parameters.recipient);
        let refusal = if parameters.has_unknown && !self.client.policy.trusted {
            Some(reply::unknown_parameter())
        } else if path.is_internationalized() && !transaction.internationalized {
            Some(reply::needs_smtputf8())
        } else if self.is_local(&path) && !self.options.local_recipients {
            Some(reply::no_local_recipients())
        } else if transaction.forward_paths.len() >= self.options.max_recipients {
            Some(reply::too_many_recipients(self.options.max_recipients))
        } else if self.envelope_bytes + bytes > ENVELOPE_BYTES_MAX {
            Some(reply::too_many_recipients(transaction.forward_paths.len()))
        } else {
            None
        };
        // A refused recipient is not an error of the protocol: the transaction goes on with the others.
        if let Some(refusal) = refusal {
            self.refused_recipients += 1;
            return self.answer(&refusal, State::with(transaction));
        }
        if parameters.has_unknown {
            self.quirk_log.record(Quirk::UnknownParameter);
        }
        if parameters.recipient != RecipientDsn::default() {
            transaction
                .dsn
                .recipients
                .insert(transaction.forward_paths.len(), parameters.recipient);
        }
        self.envelope_bytes += bytes;
        transaction.forward_paths.push(path);
        self.answer(&reply::recipient_accepted(), State::Recipients(transaction))
    }

    /// Why this client may not send mail now, if it may not.
    fn access_denied(&self) -> Option<Reply> {
        let policy = self.client.policy;
        let needs_login = policy.authentication == Authentication::Required || !policy.trusted;
        if !extension::authentication_works(self.client) && !policy.trusted {
            return Some(reply::relaying_denied(self.client.address));
        }
        if needs_login && self.login.is_none() {
            return Some(reply::authentication_required());
        }
        // Old devices never introduce themselves; strangers do.
        let is_nameless = matches!(self.hello, Hello::Missing) && !policy.trusted;
        is_nameless.then(reply::hello_first)
    }

    fn hello_name(&self) -> &str {
        match &self.hello {
            Hello::Missing => "",
            Hello::Basic(name) | Hello::Extended(name) => name,
        }
    }

    /// The word of RFC 3848 and RFC 6531 for Received. TLS and AUTH are extensions, so who used one of
    /// them spoke ESMTP, whatever the greeting was.
    fn protocol(&self, internationalized: bool) -> &'static str {
        if self.client.local {
            return "local";
        }
        let extended = matches!(self.hello, Hello::Extended(_));
        match (extended && internationalized, self.client.encrypted, self.login.is_some()) {
            (true, true, true) => "UTF8SMTPSA",
            (true, true, false) => "UTF8SMTPS",
            (true, false, true) => "UTF8SMTPA",
            (true, false, false) => "UTF8SMTP",
            (false, true, true) => "ESMTPSA",
            (false, true, false) => "ESMTPS",
            (false, false, true) => "ESMTPA",
            (false, false, false) if extended => "ESMTP",
            (false, false, false) => "SMTP",
        }
    }

    fn is_local(&self, path: &Address) -> bool {
        path.domain().is_none_or(|domain| {
            domain.eq_ignore_ascii_case("localhost")
                || domain.eq_ignore_ascii_case(&self.options.hostname)
        })
    }
}

/// Octets of memory that a recipient takes in the envelope.
fn envelope_bytes(path: &Address, asked: &RecipientDsn) -> usize {
    let original = asked.original_recipient.as_ref().map_or(0, String::len);
    RECIPIENT_BYTES + path.as_str().len() + original
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
