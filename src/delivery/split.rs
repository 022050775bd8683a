//! The grouping of a claim's recipients into transactions, for messages that must be divided.
//!
//! Rule: pure, and bounded; what is forgotten here is merely tried as a whole once more. Must not know
//! replies.

use std::collections::BTreeMap;

use crate::queue::{ClaimedMessage, id::QueueId};

/// Messages whose division is remembered at once. Each leaves with its last recipient.
const REMEMBERED_MAX: usize = 1_000;

/// How a message is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecipientGroups {
    /// Into transactions of at most so many recipients.
    AtMost(usize),
    /// Into one transaction for each domain.
    ByDomain,
}

impl RecipientGroups {
    /// The division that follows a transaction of `recipients` that was too large.
    pub(super) fn halved(recipients: usize) -> Self {
        Self::AtMost((recipients / 2).max(1))
    }
}

/// The messages that are divided.
#[derive(Debug, Default)]
pub(super) struct Splits(BTreeMap<QueueId, RecipientGroups>);

impl Splits {
    /// Remembers how a message is divided from now on.
    pub(super) fn note(&mut self, id: QueueId, groups: RecipientGroups) {
        if self.0.len() >= REMEMBERED_MAX && !self.0.contains_key(&id) {
            // The oldest message has the smallest id.
            self.0.pop_first();
        }
        self.0.insert(id, groups);
    }

    /// Leaves in `claim` what goes in its next transaction; the rest stays in the queue, uncharged.
    pub(super) fn apply(&mut self, claim: &mut ClaimedMessage) {
        match self.0.get(&claim.id) {
            None => {}
            Some(RecipientGroups::AtMost(most)) => claim.recipients.truncate(*most),
            Some(RecipientGroups::ByDomain) => {
                let domain = |address: &crate::smtp::address::Address| {
                    address.domain().map(str::to_ascii_lowercase)
                };
                let first = claim.recipients.first().map(|recipient| domain(&recipient.address));
                claim.recipients.retain(|recipient| Some(domain(&recipient.address)) == first);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::fixtures::claimed;

    fn left(splits: &mut Splits, mut claim: ClaimedMessage) -> Vec<usize> {
        splits.apply(&mut claim);
        claim.recipients.iter().map(|recipient| recipient.index).collect()
    }

    #[test]
    fn a_message_is_halved_until_its_recipients_go_alone() {
        let sizes = [100, 51, 3, 2, 1].map(RecipientGroups::halved);
        assert_eq!(sizes, [50, 25, 1, 1, 1].map(RecipientGroups::AtMost));
        let mut splits = Splits::default();
        splits.note(QueueId::from_bytes([1; 16]), RecipientGroups::AtMost(2));
        assert_eq!(left(&mut splits, claimed(1, &["a@x.org", "b@x.org", "c@x.org"])), [0, 1]);
        assert_eq!(left(&mut splits, claimed(2, &["a@x.org", "b@x.org", "c@x.org"])), [0, 1, 2]);
    }

    #[test]
    fn a_message_goes_to_one_domain_at_a_time() {
        let mut splits = Splits::default();
        splits.note(QueueId::from_bytes([1; 16]), RecipientGroups::ByDomain);
        let addresses = ["a@x.org", "b@y.org", "c@X.ORG"];
        assert_eq!(left(&mut splits, claimed(1, &addresses)), [0, 2]);
        assert_eq!(left(&mut splits, claimed(1, &addresses[1..])), [0]);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut splits = Splits::default();
        for number in 0..2 * REMEMBERED_MAX as u128 {
            splits.note(QueueId::from_bytes(number.to_be_bytes()), RecipientGroups::AtMost(1));
        }
        assert_eq!(splits.0.len(), REMEMBERED_MAX);
    }
}
