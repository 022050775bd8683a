//! The front end of local mail: what `sendmail` does between standard input and the daemon.
//!
//! Rule: it runs with the rights of its caller, needs no secret and reads no file that holds one; 0 is returned
//! when the mail is safe and never before. A call is short and small: no runtime, no TLS, blocking calls.
//! Must not know the listener (sibling: they meet at the socket and in the drop directory) nor what is printed.

pub(crate) mod body;
pub mod caller;
pub mod configured;
pub(crate) mod dialogue;
pub(crate) mod flags;
pub(crate) mod input;
pub(crate) mod message;
pub(crate) mod submit;
pub(crate) mod transaction;

use std::{io::Read, path::PathBuf};

use self::{
    caller::Caller,
    configured::{Configured, Environment},
    flags::Flags,
    message::{Author, MessageBuilder},
    submit::{Report, Ways, refused, submit},
    transaction::{MailParameters, Recipient},
};
use crate::{
    exit::{Exit, Failure},
    message::address_list::Found,
    smtp::{address::Address, dsn::RecipientDsn},
    text,
};

/// Characters of an argument or a field that are repeated to the caller.
const SHOWN_MAX: usize = 100;

/// Everything that a call knows before it reads standard input.
#[derive(Debug)]
pub(crate) struct Call {
    /// The command line.
    pub(crate) flags: Flags,
    /// The variables.
    pub(crate) environment: Environment,
    /// The configuration.
    pub(crate) configured: Configured,
    /// The user.
    pub(crate) caller: Caller,
}

/// What a message came to that is safe.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Where it is.
    pub(crate) report: Report,
    /// Recipients who do not get it.
    pub(crate) trouble: Option<Failure>,
}

impl Call {
    /// Where mail goes.
    #[must_use]
    pub(crate) fn ways(&self) -> Ways {
        let destination = self.flags.destination.as_deref();
        Ways::new(destination, &self.environment, &self.configured, &self.caller.host)
    }

    /// Who a message is from that does not say so: `-F`, NAME, or what the system knows about the user; but what it
    /// knows about him is not the name of another sender.
    #[must_use]
    pub(crate) fn author(&self) -> Author {
        let said = self.flags.full_name.as_deref().or_else(|| self.environment.get("NAME"));
        let other = self.wished_sender().flatten();
        let name = match (said, &other) {
            (Some(said), _) => said.to_owned(),
            (None, Some(_)) => String::new(),
            (None, None) => self.caller.name.clone(),
        };
        Author { name, address: other.unwrap_or_else(|| self.caller.login.clone()) }
    }

    /// Directories for bodies that are too long for memory: that of the daemon is on a disk.
    #[must_use]
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let temporary = self.environment.get("TMPDIR").unwrap_or("/tmp");
        self.configured.drop_directory.iter().cloned().chain([temporary.into()]).collect()
    }

    /// Reads the message and hands it over.
    pub(crate) fn send(&self, input: &mut dyn Read, is_terminal: bool) -> Result<Sent, Failure> {
        let mut found = Found::default();
        self.flags.recipients.iter().for_each(|argument| found.read(argument));
        if !self.flags.from_header {
            has_recipients(&found, "name them, or use -t and name them in To, Cc or Bcc")?;
        }
        let limit = self.configured.max_message_bytes;
        let mut draft = MessageBuilder::new(self.directories(), limit);
        // Programs that forget -i pipe their text; only a person ends it with a dot.
        input::read(input, is_terminal && !self.flags.ignore_dots, &mut draft, limit)?;
        let mut message = draft.finish(&self.author());
        if self.flags.from_header {
            let named = std::mem::take(&mut message.named);
            named.addresses.into_iter().for_each(|address| found.add(address));
            found.unreadable.extend(named.unreadable);
            has_recipients(&found, "there is none on the command line and none in To, Cc or Bcc")?;
        }
        let ways = self.ways();
        let parameters = MailParameters {
            sender: self.sender(&ways),
            content: self.flags.content,
            envelope_id: self.flags.envelope_id.clone(),
            all_or_none: false,
        };
        let dsn = RecipientDsn { notify: self.flags.notify, original_recipient: None };
        let recipients = found
            .addresses
            .into_iter()
            .map(|address| Recipient { address, dsn: dsn.clone() })
            .collect();
        let report = submit(&ways, &parameters, recipients, &mut message)?;
        let trouble = left_out(&report, &found.unreadable);
        match trouble {
            Some(trouble) if report.safe.is_empty() => Err(trouble),
            trouble => Ok(Sent { report, trouble }),
        }
    }

    /// `-f`: `Some(None)` is the null reverse path; what is not an address is not a wish.
    fn wished_sender(&self) -> Option<Option<Address>> {
        let wish = self.flags.sender.as_deref()?;
        if wish.is_empty() {
            return Some(None);
        }
        let mut found = Found::default();
        found.read(wish);
        found.addresses.into_iter().next().map(Some)
    }

    /// The reverse path. A relay elsewhere cannot know on which host a bare name is at home.
    fn sender(&self, ways: &Ways) -> Option<Address> {
        let sender = self.wished_sender().unwrap_or_else(|| Some(self.caller.login.clone()))?;
        if sender.domain().is_some() || !ways.lead_away() {
            return Some(sender);
        }
        Some(format!("{sender}@{}", self.caller.host).parse().unwrap_or(sender))
    }
}

fn has_recipients(found: &Found, remedy: &str) -> Result<(), Failure> {
    if !found.addresses.is_empty() {
        return Ok(());
    }
    let words = match found.unreadable.first() {
        Some(text) => {
            format!("no recipient: \"{}\" is not an address", text::shorten(text, SHOWN_MAX))
        }
        None => format!("no recipient: {remedy}"),
    };
    Err(Failure::new(Exit::Data, words))
}

/// Who does not get a message that others get.
fn left_out(report: &Report, unreadable: &[String]) -> Option<Failure> {
    let others = if report.safe.is_empty() { "" } else { " (the others get it)" };
    if let Some((address, answer)) = report.refused.first() {
        let more = match report.refused.len() + unreadable.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        return Some(refused(answer, &format!("{address}{more} does not get the message{others}")));
    }
    let text = text::shorten(unreadable.first()?, SHOWN_MAX);
    let more = match unreadable.len() {
        1 => String::new(),
        count => format!(", nor are {} more", count - 1),
    };
    Some(Failure::new(Exit::Data, format!("\"{text}\" is not an address{more}{others}")))
}
