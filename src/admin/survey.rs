//! One walk through the queue: recipients by state, the oldest message, the next due time, refusals.
//!
//! Rule: it reads page by page and keeps totals only, so that 50,000 messages cost no memory.
//! Must not know what the totals are shown as.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::sync::Mutex;

use crate::{
    clock::{Moment, Timestamp},
    message::envelope::Lane,
    queue::{
        state::RecipientState,
        store::{QueuedMessage, Store, StoreError},
        walk::Walk,
    },
};

use super::api::{Oldest, PAGE_MAX, RecipientTotals, RefusedRecipient};

/// Messages looked at; a queue beyond that is counted in part, so that a status never takes long.
pub const MESSAGES_MAX: usize = 100_000;
/// Refusals kept: what fits a screen.
const REFUSED_MAX: usize = 5;

/// How long one walk through the queue serves the pages of a list.
const WALK_AGE_MAX_MS: u64 = 5_000;

/// What the last walks have found.
#[derive(Debug, Default)]
pub struct Outlook {
    due: Mutex<Option<(Moment, u64)>>,
    held: AtomicU64,
}

impl Outlook {
    /// Keeps what a walk has found.
    pub(super) async fn keep(&self, now: Moment, survey: &Survey) {
        self.held.store(survey.recipients.held, Ordering::Relaxed);
        *self.due.lock().await = Some((now, survey.due));
    }

    /// Recipients that were due, when they were counted lately.
    pub(super) async fn due(&self, now: Moment) -> Option<u64> {
        let is_young = |then: &Moment| {
            then.boot == now.boot
                && now.since_boot_ms.saturating_sub(then.since_boot_ms) < WALK_AGE_MAX_MS
        };
        self.due.lock().await.filter(|(then, _)| is_young(then)).map(|(_, due)| due)
    }

    /// Recipients that wait for a person.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

/// What the walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Recipients by state.
    pub recipients: RecipientTotals,
    /// The message that was accepted first of those that wait or are being sent; dead and held ones do not count.
    pub oldest: Option<Oldest>,
    /// The earliest time at which a recipient of each lane is due.
    pub next_due: BTreeMap<Lane, Timestamp>,
    /// Recipients that are due.
    pub due: u64,
    /// The refusals of the newest messages that have any, newest first.
    pub refused: Vec<RefusedRecipient>,
    /// Whether the queue was longer than the walk.
    pub partial: bool,
}

impl Survey {
    /// Walks through the queue, over `messages_max` messages of it at most.
    pub async fn of(
        store: &dyn Store,
        now: Timestamp,
        messages_max: usize,
    ) -> Result<Self, StoreError> {
        let mut survey = Self::default();
        let (mut walk, mut seen) = (Walk::begin(store).await?, 0);
        while seen < messages_max && !walk.is_over() {
            let page = walk.take(store.list(walk.after(), PAGE_MAX).await?);
            seen += page.len();
            page.iter().for_each(|message| survey.add(message, now));
        }
        survey.partial = seen >= messages_max;
        survey.refused.reverse();
        Ok(survey)
    }

    fn add(&mut self, message: &QueuedMessage, now: Timestamp) {
        let (accepted_at, lane) = (message.record.accepted_at, message.record.lane);
        let waits = message.recipients().iter().any(|recipient| {
            matches!(
                recipient.state,
                RecipientState::Queued { .. } | RecipientState::Reserved { .. }
            )
        });
        if waits && self.oldest.is_none_or(|oldest| accepted_at < oldest.accepted_at) {
            self.oldest = Some(Oldest { id: message.id, accepted_at });
        }
        for recipient in message.recipients() {
            let totals = &mut self.recipients;
            match &recipient.state {
                RecipientState::Queued { due, resend } => {
                    *(if *resend { &mut totals.uncertain } else { &mut totals.queued }) += 1;
                    self.due += u64::from(*due <= now);
                    let next = self.next_due.entry(lane).or_insert(*due);
                    *next = (*next).min(*due);
                }
                RecipientState::Reserved { .. } => totals.reserved += 1,
                RecipientState::Relayed { .. } => totals.relayed += 1,
                RecipientState::Held { .. } => totals.held += 1,
                RecipientState::Dead { .. } => totals.dead += 1,
            }
        }
        self.note_refusal(message);
    }

    /// Keeps the first refusal of the message, and of the last [`REFUSED_MAX`] messages with one.
    fn note_refusal(&mut self, message: &QueuedMessage) {
        let refused = message.recipients().iter().find_map(|recipient| match &recipient.state {
            RecipientState::Relayed { .. } => None,
            RecipientState::Held { reason, .. } | RecipientState::Dead { reason, .. } => {
                Some((recipient, reason))
            }
            RecipientState::Queued { .. } | RecipientState::Reserved { .. } => {
                recipient.last_reply.as_ref().map(|reply| (recipient, reply))
            }
        });
        let Some((recipient, reply)) = refused else { return };
        if self.refused.len() == REFUSED_MAX {
            self.refused.remove(0);
        }
        self.refused.push(RefusedRecipient {
            id: message.id,
            recipient: recipient.address.to_string(),
            state: recipient.state.name().to_owned(),
            reply: reply.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        message::envelope::BodyKind,
        queue::{id::QueueId, record::MessageRecord, state::Recipient},
    };

    const NOW: Timestamp = Timestamp(60);

    fn message(number: u8, states: Vec<(RecipientState, Option<&str>)>) -> QueuedMessage {
        let recipients = states.into_iter().map(|(state, reply)| Recipient {
            address: format!("r{number}@example.org").parse().expect("an address"),
            state,
            attempts: 0,
            last_reply: reply.map(str::to_owned),
        });
        let record = MessageRecord {
            accepted_at: Timestamp(i64::from(number)),
            reverse_path: None,
            body: BodyKind::SevenBit,
            internationalized: false,
            size_bytes: 1,
            lane: Lane::Normal,
            lifetime_from: Timestamp(0),
            told: Vec::new(),
            delay_told: false,
            notify: BTreeMap::new(),
            notices: Vec::new(),
            setbacks: crate::queue::record::Setbacks::default(),
            recipients: recipients.collect(),
        };
        QueuedMessage { id: QueueId::from_bytes([number; 16]), record }
    }

    #[test]
    fn totals_the_oldest_that_waits_and_the_next_due_time_come_from_every_recipient() {
        let queued = |due| RecipientState::Queued { due: Timestamp(due), resend: false };
        let reserved =
            RecipientState::Reserved { reservation: 1, since: Timestamp(1), resend: false };
        let mut survey = Survey::default();
        let dead = RecipientState::Dead { since: Timestamp(1), reason: "550".into() };
        survey.add(&message(0, vec![(dead, None)]), NOW);
        survey.add(&message(1, vec![(queued(70), None), (queued(50), Some("451 later"))]), NOW);
        survey.add(&message(2, vec![(reserved.clone(), None), (reserved, None)]), NOW);
        assert_eq!((survey.recipients.queued, survey.recipients.reserved), (2, 2));
        assert_eq!(survey.next_due, BTreeMap::from([(Lane::Normal, Timestamp(50))]));
        assert_eq!(survey.due, 1, "the one that is due at 50");
        assert_eq!(
            survey.oldest.map(|oldest| oldest.accepted_at),
            Some(Timestamp(1)),
            "a dead letter does not wait"
        );
    }

    #[test]
    fn only_the_refusals_of_the_newest_messages_are_kept() {
        let mut survey = Survey::default();
        for number in 1..=9 {
            let state = RecipientState::Dead {
                since: Timestamp(0),
                reason: format!("550 number {number}"),
            };
            survey.add(&message(number, vec![(state, None)]), NOW);
        }
        let replies: Vec<&str> = survey.refused.iter().map(|error| error.reply.as_str()).collect();
        assert_eq!(replies, [5, 6, 7, 8, 9].map(|number| format!("550 number {number}")));
    }
}
