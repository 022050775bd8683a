//! One message, one attempt: which addresses go on the wire, and which connection carries them.
//!
//! Rule: every recipient of the claim gets exactly one answer. Local names go to the administrator's
//! address; one that nobody reads is refused with the setting to correct. Must not know budgets or pauses.

use super::{answer::Answer, gmail::Envelope, options::Options};
use crate::{queue::store::ClaimedMessage, smtp::address::Address};

/// The addresses of an attempt.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is sent; recipients are named once.
    pub(super) envelope: Envelope,
    /// For each recipient of the claim, its place in the envelope or why it cannot be sent.
    places: Vec<Result<usize, String>>,
}

impl Plan {
    /// Plans a claim for an upstream that takes SMTPUTF8 or not.
    pub(super) fn new(claim: &ClaimedMessage, options: &Options, takes_internationalized: bool) -> Self {
        let mut recipients: Vec<Address> = Vec::with_capacity(claim.recipients.len());
        let mut places = Vec::with_capacity(claim.recipients.len());
        for recipient in &claim.recipients {
            let destination = destination(&recipient.address, options, takes_internationalized);
            places.push(destination.map(|address| place(&mut recipients, address)));
        }
        let reverse_path = reverse_path(claim, options);
        let internationalized = claim.internationalized
            || recipients.iter().chain(&reverse_path).any(Address::is_internationalized);
        Self { envelope: Envelope { reverse_path, recipients, internationalized }, places }
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
            return Err(format!("{address} is a local name and nobody reads it here: set identity.admin"));
        }
    };
    if address.is_internationalized() && !takes_internationalized {
        return Err(format!("{address} needs SMTPUTF8, which the upstream does not offer"));
    }
    Ok(address.clone())
}

/// The account's own address where there is one: Gmail puts it there anyway, and bounces must reach
/// somebody (gmail.md section 5).
fn reverse_path(claim: &ClaimedMessage, options: &Options) -> Option<Address> {
    let account = options.login.as_ref().map(|login| login.username.as_str());
    let account = account.filter(|name| name.contains('@')).and_then(|name| name.parse().ok());
    account.or_else(|| claim.reverse_path.clone())
}
