//! The rule that struck a message when it was accepted, as far as the queue has to know.
//!
//! Rule: kept in the trailer of the file and in the record, so that an index that is built anew knows it. What a rule asks is
//! not known here.

use super::{record::MessageRecord, state::RecipientState};
use crate::message::envelope::Lane;

/// What a rule has said of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ruled {
    /// The rule's name.
    pub(crate) rule: Option<String>,
    /// The lane in the place of the envelope's.
    pub(crate) lane: Option<Lane>,
    /// A person is to look at it first.
    pub(crate) hold: bool,
    /// Whether it is folded with what is alike, whoever gets it; without a word as any other.
    pub(crate) storm: Option<bool>,
    /// The name of the route that it takes.
    pub(crate) route: Option<String>,
}

/// The beginning of why a message is held by a rule.
const HELD_BY_RULE: &str = "held by the rule ";

/// Whether a rule is why somebody is held.
pub(super) fn is_by_rule(reason: &str) -> bool {
    reason.starts_with(HELD_BY_RULE)
}

impl Ruled {
    /// The record of the message as the rule has it.
    pub(super) fn apply(&self, record: &mut MessageRecord) {
        record.rule.clone_from(&self.rule);
        record.route.clone_from(&self.route);
        record.lane = self.lane.unwrap_or(record.lane);
        if !self.hold {
            return;
        }
        let name = self.rule.as_deref().unwrap_or_default();
        let reason =
            format!("{HELD_BY_RULE}{name}: queue release sends it, queue delete removes it");
        for recipient in &mut record.recipients {
            recipient.state =
                RecipientState::Held { since: record.accepted_at, reason: reason.clone() };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        clock::Clock as _,
        message::excerpt::Wanted,
        queue::{
            QueueError,
            fixtures::{Scene, envelope},
            id::QueueId,
            only::Only,
        },
    };

    fn ruled(hold: bool) -> Ruled {
        Ruled {
            rule: Some("raid".into()),
            lane: Some(Lane::Urgent),
            hold,
            storm: None,
            route: Some("shop".into()),
        }
    }

    async fn accept(scene: &Scene, ruled: Ruled) -> QueueId {
        let mut draft = scene.queue().begin(envelope(scene.clock.wall())).unwrap();
        draft.write(b"Subject: toner\r\n\r\nlow\r\n").await.unwrap();
        draft.ruled(ruled);
        scene.queue().enqueue(draft).await.unwrap().id()
    }

    async fn record(scene: &Scene, id: QueueId) -> MessageRecord {
        scene.queue().show(id).await.unwrap().unwrap().record
    }

    #[tokio::test]
    async fn rule_lane_and_route_are_kept_over_a_new_index() {
        let mut scene = Scene::new();
        let first = scene.accept().await;
        let id = accept(&scene, ruled(false)).await;
        for _ in 0..2 {
            let record = record(&scene, id).await;
            assert_eq!((record.rule.as_deref(), record.lane), (Some("raid"), Lane::Urgent));
            assert_eq!(record.route.as_deref(), Some("shop"));
            scene.restart_without_index().await;
        }
        assert_eq!(record(&scene, first).await.rule, None);
        assert_eq!(scene.claim().await.unwrap().id, id, "what is urgent leaves before older mail");
    }

    #[tokio::test]
    async fn what_a_rule_holds_is_held_from_its_first_moment_until_a_person_releases_it() {
        let mut scene = Scene::new();
        let id = accept(&scene, ruled(true)).await;
        assert!(scene.spooled(id, "held").exists(), "the mark is there before the 250");
        for _ in 0..2 {
            let RecipientState::Held { reason, .. } = scene.state(id).await else {
                panic!("it is not held")
            };
            assert!(reason.starts_with("held by the rule raid: "), "{reason}");
            assert!(scene.claim().await.is_err());
            scene.restart_without_index().await;
        }
        assert_eq!(scene.queue().release(id, &Only::default()).await, Ok(1));
        assert!(!scene.spooled(id, "held").exists());
        assert_eq!(scene.claim().await.unwrap().id, id);
    }

    #[tokio::test]
    async fn a_message_whose_hold_cannot_be_made_durable_is_not_taken() {
        let scene = Scene::new();
        let mut draft = scene.queue().begin(envelope(scene.clock.wall())).unwrap();
        draft.ruled(ruled(true));
        scene.faults.fail_next(crate::queue::faults::Step::Rename, rustix::io::Errno::NOSPC);
        let answer = scene.queue().enqueue(draft).await;
        assert!(matches!(answer, Err(QueueError::Full(_))), "{answer:?}");
        assert!(scene.queue().list(None, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_wanted_fields_of_a_long_message_are_taken_while_they_are_in_memory() {
        let scene = Scene::new();
        let mut wanted = Wanted::default();
        wanted.add("Subject");
        let wanted = Arc::new(wanted);
        for length in [10, 200_000] {
            let mut draft = scene.queue().begin(envelope(scene.clock.wall())).unwrap();
            draft.look_for(&wanted);
            draft.write(b"Subject: toner\r\n\r\n").await.unwrap();
            for _ in 0..length / 10 {
                draft.write(b"Subject:\r\n").await.unwrap();
            }
            let excerpt = draft.excerpt();
            assert_eq!(excerpt.values("subject").collect::<Vec<_>>(), ["toner"], "{length}");
        }
    }
}
