//! One message, one attempt: which addresses go on the wire, and which header section.
//!
//! Rule: every recipient of the claim gets exactly one answer. Local names go to the administrator's
//! address; one that nobody reads is refused with the setting to correct. The header section is edited by
//! `message::rewrite`, anew for each attempt, so a corrected configuration applies to mail already queued.
//! Must not know budgets or pauses.

use tracing::warn;

use super::{answer::Answer, options::Options};
use crate::{
    clock::{Moment, Timestamp},
    message::{
        addressees::name_exactly, header::Edits, identity::Terms, rewrite::rewrite,
        trace::correct_dates,
    },
    queue::{ClaimedMessage, QueueError, id::QueueId, spool_file::MessageReader},
    smtp::{address::Address, client::commands::Envelope},
};

/// The addresses of an attempt.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is sent; recipients are named once.
    pub(super) envelope: Envelope,
    /// For each recipient of the claim, its place in the envelope or why it cannot be sent.
    places: Vec<Result<usize, String>>,
    /// Of the header section.
    pub(super) edits: Edits,
}

impl Plan {
    /// Plans a claim for an upstream that takes SMTPUTF8 or not, and puts the edited header section into
    /// the reader.
    ///
    /// # Errors
    /// `Unavailable` when the message cannot be read.
    pub(super) fn new(
        claim: &ClaimedMessage,
        reader: &mut MessageReader,
        options: &Options,
        takes_internationalized: bool,
        now: Moment,
    ) -> Result<Self, QueueError> {
        let account = account_of(options);
        let routes = options.recipients.routes(now);
        let terms = Terms {
            identity: &options.identity,
            account: account.as_ref(),
            recipients: &routes,
            takes_utf8: takes_internationalized,
        };
        let reverse_path = terms.reverse_path(reader.envelope());
        let reverse_path = reverse_path.map(|address| address.in_ascii().unwrap_or(address));
        let unsendable = reverse_path
            .as_ref()
            .filter(|address| address.is_internationalized() && !takes_internationalized)
            .map(|address| needs_smtputf8("the sender ", address));
        let mut recipients: Vec<Address> = Vec::with_capacity(claim.recipients.len());
        let mut places = Vec::with_capacity(claim.recipients.len());
        for recipient in &claim.recipients {
            let destination = match &unsendable {
                None => destination(&recipient.address, options, takes_internationalized),
                Some(reason) => Err(reason.clone()),
            };
            places.push(destination.map(|address| place(&mut recipients, address)));
        }
        let keeps_utf8 = terms.keeps_utf8(reader.envelope());
        let named = options.is_api().then_some(recipients.as_slice());
        let edited = edit_header(claim.id, claim.accepted_at, reader, &terms, named)?;
        let (edits, header_internationalized) = match edited {
            Edited::Yes(edits, internationalized) => (edits, internationalized),
            Edited::TooLarge if named.is_some() => {
                recipients.clear();
                places.iter_mut().for_each(|place| *place = Err(UNNAMED.to_owned()));
                Default::default()
            }
            Edited::TooLarge => Default::default(),
        };
        let internationalized = keeps_utf8
            || header_internationalized
            || recipients.iter().chain(&reverse_path).any(Address::is_internationalized);
        Ok(Self {
            envelope: Envelope { reverse_path, recipients, internationalized },
            places,
            edits,
        })
    }

    /// One answer for each recipient of the claim.
    pub(super) fn answers(&self, of_envelope: &[Answer]) -> Vec<Answer> {
        let missing = || Answer::Unsendable { reason: "the upstream's answer is missing".into() };
        let answer = |place: &Result<usize, String>| match place {
            Ok(position) => of_envelope.get(*position).cloned().unwrap_or_else(missing),
            Err(reason) => Answer::Unsendable { reason: reason.clone() },
        };
        self.places.iter().map(answer).collect()
    }
}

/// Makes the reader give the octets that an attempt of this moment would send, and says what was edited.
///
/// # Errors
/// `Unavailable` when the message cannot be read.
pub(super) fn rewrite_as_sent(
    id: QueueId,
    accepted_at: Timestamp,
    reader: &mut MessageReader,
    options: &Options,
    takes_internationalized: bool,
    now: Moment,
) -> Result<String, QueueError> {
    let (account, routes) = (account_of(options), options.recipients.routes(now));
    let terms = Terms {
        identity: &options.identity,
        account: account.as_ref(),
        recipients: &routes,
        takes_utf8: takes_internationalized,
    };
    let everybody = reader.envelope().forward_paths.iter();
    let everybody: Vec<Address> =
        everybody.filter_map(|to| destination(to, options, takes_internationalized).ok()).collect();
    let named = options.is_api().then_some(everybody.as_slice());
    Ok(match edit_header(id, accepted_at, reader, &terms, named)? {
        Edited::Yes(edits, _) => edits.to_string(),
        Edited::TooLarge => String::new(),
    })
}

/// The address of the account that is logged in.
fn account_of(options: &Options) -> Option<Address> {
    let account = options.login.as_ref().and_then(|login| login.username.parse::<Address>().ok());
    account.filter(|address| address.domain().is_some())
}

fn place(recipients: &mut Vec<Address>, address: Address) -> usize {
    if let Some(position) = recipients.iter().position(|known| *known == address) {
        return position;
    }
    recipients.push(address);
    recipients.len() - 1
}

fn destination(
    address: &Address,
    options: &Options,
    takes_internationalized: bool,
) -> Result<Address, String> {
    let local = address.domain().is_none_or(|domain| domain.eq_ignore_ascii_case("localhost"));
    let address = match (&options.admin, local) {
        (_, false) => address,
        (Some(admin), true) => admin,
        (None, true) => {
            return Err(format!(
                "5.1.3 {address} is a local name whose mail nobody reads here: set identity.admin"
            ));
        }
    };
    match address.in_ascii() {
        Some(address) => Ok(address),
        None if takes_internationalized => Ok(address.clone()),
        None => Err(needs_smtputf8("", address)),
    }
}

/// With the status code for it (RFC 6531 section 3.5): no other server would take the address either.
fn needs_smtputf8(what: &str, address: &Address) -> String {
    format!("5.6.7 {what}{address} needs SMTPUTF8, which the upstream does not offer")
}

/// Why nobody is told of a message whose header cannot name its recipients.
const UNNAMED: &str = "5.3.4 the header section is too large to be edited, and the Gmail API knows the recipients by it alone: \
                       make it smaller, or send it by SMTP";

/// What became of a header section.
enum Edited {
    /// The edits, and whether only SMTPUTF8 can carry it.
    Yes(Edits, bool),
    /// It leaves as it is, if at all.
    TooLarge,
}

/// Puts the edited header section in front of the body; `named` are those whom it must name, and nobody else.
fn edit_header(
    id: QueueId,
    accepted_at: Timestamp,
    reader: &mut MessageReader,
    terms: &Terms<'_>,
    named: Option<&[Address]>,
) -> Result<Edited, QueueError> {
    let too_large = || warn!(%id, "the header section is too large to be edited");
    let Some(mut section) = reader.take_header()? else {
        too_large();
        return Ok(Edited::TooLarge);
    };
    let added = section.bytes.len().min(section.added_bytes);
    correct_dates(&mut section.bytes[..added], reader.envelope(), accepted_at);
    let rewritten = rewrite(&section, reader.envelope(), terms).and_then(|mut rewritten| {
        if let Some(named) = named {
            rewritten.header = name_exactly(&rewritten.header, named, &mut rewritten.edits)?;
        }
        Some(rewritten)
    });
    let Some(rewritten) = rewritten else {
        too_large();
        reader.put_in_front(section.bytes);
        return Ok(Edited::TooLarge);
    };
    reader.put_in_front(rewritten.header);
    Ok(Edited::Yes(rewritten.edits, rewritten.internationalized))
}
