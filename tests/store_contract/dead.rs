//! Dead letters: what is told of them, how they are taken up again, and when they expire.

use pillarbox::{
    queue::record::{NoticeKind, NoticeSent},
    smtp::{
        address::Address,
        dsn::{Notify, RecipientDsn},
    },
};

use super::*;

/// The ids of a list.
fn ids(messages: &[QueuedMessage]) -> Vec<QueueId> {
    messages.iter().map(|message| message.id).collect()
}

/// A message of two recipients of which the first is dead and the second relayed.
async fn dead_letter(queue: &Fixture) -> QueueId {
    let id = queue.accept(&["gone@example.net", "ok@example.net"]).await;
    let claimed = queue.claim().await;
    let outcomes =
        vec![(0, Outcome::Dead { reply: "550 5.1.1 no such user".into() }), (1, relayed())];
    queue
        .store()
        .settle(
            claimed.id,
            Settlement { reservation: claimed.reservation, at: queue.clock.wall(), outcomes },
        )
        .await
        .unwrap();
    queue.clock.advance(Duration::from_millis(3));
    id
}

contract! {
    async fn dead_letters_are_listed_and_stay_untold_until_somebody_was_told(mut queue) {
        let first = dead_letter(&queue).await;
        let second = dead_letter(&queue).await;
        queue.accept(&["waiting@example.net"]).await;
        queue.crash().await;
        let store = queue.store();
        assert_eq!(ids(&store.unnotified(10).await.unwrap()), [first, second]);
        assert_eq!(ids(&store.unnotified(1).await.unwrap()), [first]);
        store.mark_notified(first, vec![0].into()).await.unwrap();
        drop(store);
        queue.crash().await;
        let store = queue.store();
        assert_eq!(ids(&store.unnotified(10).await.unwrap()), [second]);
        assert_eq!(ids(&store.dead(None, 10).await.unwrap()), [first, second]);
        assert_eq!(ids(&store.dead(Some(first), 10).await.unwrap()), [second]);
        assert_eq!(ids(&store.dead(None, 1).await.unwrap()), [first]);
    }

    async fn a_recipient_that_dies_while_somebody_is_told_of_another_is_not_forgotten(mut queue) {
        let id = queue.accept(&["gone@example.net", "later@example.net"]).await;
        let claimed = queue.claim().await;
        let at = queue.clock.wall();
        let dead = |reply: &str| Outcome::Dead { reply: reply.into() };
        let later = Outcome::Deferred { until: at, reply: "451 4.3.0 later".into() };
        queue.store().settle(claimed.id, Settlement { reservation: claimed.reservation, at, outcomes: vec![(0, dead("550")), (1, later)] }).await.unwrap();
        let found = queue.store().unnotified(10).await.unwrap();
        let places: Vec<usize> = found[0].record.untold().collect();
        let claimed = queue.claim().await;
        queue.settle(&claimed, dead("554")).await;
        queue.store().mark_notified(id, places.into()).await.unwrap();
        queue.crash().await;
        let found = queue.store().unnotified(10).await.unwrap();
        assert_eq!(found[0].record.untold().collect::<Vec<_>>(), [1]);
        queue.store().mark_notified(id, vec![1].into()).await.unwrap();
        assert!(queue.store().unnotified(10).await.unwrap().is_empty());
    }

    async fn a_dead_letter_that_is_retried_has_a_new_lifetime_and_is_told_of_again(mut queue) {
        let id = dead_letter(&queue).await;
        queue.store().mark_notified(id, vec![0].into()).await.unwrap();
        queue.clock.advance(6 * DAY);
        let now = queue.clock.wall();
        assert_eq!(queue.store().retry(id, now).await.unwrap(), 1);
        assert!(queue.store().dead(None, 10).await.unwrap().is_empty());
        let claimed = queue.claim().await;
        assert_eq!(claimed.lifetime_from, now);
        queue.settle(&claimed, Outcome::Dead { reply: "550 5.1.1 still not".into() }).await;
        queue.crash().await;
        assert_eq!(ids(&queue.store().unnotified(10).await.unwrap()), [id]);
    }

    async fn dead_letters_expire_into_the_history_and_nothing_else_does(mut queue) {
        let old = dead_letter(&queue).await;
        queue.clock.advance(10 * DAY);
        let waiting = queue.accept(&["gone@example.net", "later@example.net"]).await;
        let claimed = queue.claim().await;
        let at = queue.clock.wall();
        let later = Outcome::Deferred { until: at.after(2 * DAY), reply: "451 4.3.0 later".into() };
        let outcomes = vec![(0, Outcome::Dead { reply: "550".into() }), (1, later)];
        queue.store().settle(claimed.id, Settlement { reservation: claimed.reservation, at, outcomes }).await.unwrap();
        queue.clock.advance(DAY);
        let recent = dead_letter(&queue).await;
        let keep_after = queue.clock.wall().before(Duration::from_secs(12 * 3600));
        assert_eq!(queue.store().expire_dead(keep_after).await.unwrap(), 1);
        queue.crash().await;
        assert_eq!(ids(&queue.store().dead(None, 10).await.unwrap()), [waiting, recent]);
        let expired = queue.show(old).await;
        assert!(
            matches!(&expired.recipients()[0].state, RecipientState::Dead { reason, .. } if reason.contains("5.1.1")),
            "{expired:?}"
        );
        assert!(queue.store().open_message(old).await.is_err(), "its bytes are gone");
        queue.clock.advance(30 * DAY);
        let keep_after = queue.clock.wall();
        assert_eq!(queue.store().expire_dead(keep_after).await.unwrap(), 1, "who still waits keeps the other");
    }

    async fn a_relayed_message_whose_client_asked_for_it_waits_until_somebody_was_told(mut queue) {
        let mut envelope = queue.envelope(&["ok@example.net", "later@example.net"]);
        let notify = Some(Notify { success: true, ..Notify::default() });
        envelope.dsn.recipients.insert(0, RecipientDsn { notify, original_recipient: None });
        let id = queue.submit(envelope).await;
        let claimed = queue.claim().await;
        queue.settle(&claimed, relayed()).await;
        queue.crash().await;
        let store = queue.store();
        assert_eq!(ids(&store.unnotified(10).await.unwrap()), [id]);
        assert!(store.dead(None, 10).await.unwrap().is_empty(), "it is not a dead letter");
        assert!(store.history(None, 10).await.unwrap().is_empty());
        assert!(store.open_message(id).await.is_ok(), "its notice wants its header");
        let at = queue.clock.wall();
        let to = "joe@partner.example".parse::<Address>().unwrap();
        let notices = (0..20).map(|_| NoticeSent { at, kind: NoticeKind::Relayed, to: to.clone(), id }).collect();
        store.mark_notified(id, Notified { places: vec![0], delayed: false, notices }).await.unwrap();
        drop(store);
        queue.crash().await;
        let store = queue.store();
        assert!(store.unnotified(10).await.unwrap().is_empty());
        let history = store.history(None, 10).await.unwrap();
        assert_eq!(ids(&history), [id]);
        assert_eq!(history[0].record.notices.len(), 8, "only the last ones are kept");
        assert!(store.open_message(id).await.is_err(), "its file is gone");
    }

    async fn what_is_held_because_no_answer_came_is_told_of_once_and_expires_like_a_dead_letter(mut queue) {
        let id = queue.accept(&["lost@example.net"]).await;
        for _ in 0..2 {
            queue.store().final_dot(queue.claim().await.id).await.unwrap();
            queue.crash().await;
        }
        let of_a_person = queue.accept(&["later@example.net"]).await;
        queue.store().hold(of_a_person, queue.clock.wall(), "a storm".into()).await.unwrap();
        queue.crash().await;
        let store = queue.store();
        assert_eq!(ids(&store.unnotified(10).await.unwrap()), [id]);
        assert!(store.dead(None, 10).await.unwrap().is_empty(), "it is not a dead letter");
        store.mark_notified(id, vec![0].into()).await.unwrap();
        drop(store);
        queue.crash().await;
        let store = queue.store();
        assert!(store.unnotified(10).await.unwrap().is_empty(), "a kill does not forget who was told");
        let since = queue.clock.wall();
        assert_eq!(store.expire_dead(since.before(DAY)).await, Ok(0), "its time is not over");
        queue.clock.advance(30 * DAY);
        assert_eq!(store.expire_dead(queue.clock.wall().before(DAY)).await, Ok(1));
        drop(store);
        queue.crash().await;
        let RecipientState::Dead { reason, .. } = queue.show(id).await.recipients()[0].state.clone() else { panic!() };
        assert!(reason.starts_with("it was held until its time was over: the relay stopped"), "{reason}");
        assert!(queue.store().open_message(id).await.is_err(), "its bytes are gone");
        assert_eq!(queue.show(of_a_person).await.recipients()[0].state.name(), "held", "a person decides");
    }

    async fn what_is_held_again_after_a_person_has_sent_it_again_is_told_of_again(mut queue) {
        let id = queue.accept(&["lost@example.net"]).await;
        let lost = || Outcome::Uncertain { resend_at: None, reason: "the connection was lost".into() };
        queue.settle(&queue.claim().await, lost()).await;
        queue.store().mark_notified(id, vec![0].into()).await.unwrap();
        let keep_after = queue.clock.wall().after(DAY);
        assert_eq!(queue.store().retry(id, queue.clock.wall()).await, Ok(1));
        assert_eq!(queue.store().expire(id, keep_after).await, Err(QueueError::Conflict(id)));
        queue.settle(&queue.claim().await, lost()).await;
        queue.crash().await;
        assert_eq!(ids(&queue.store().unnotified(10).await.unwrap()), [id]);
        assert_eq!(queue.store().expire_dead(keep_after).await, Ok(1), "told or not");
    }
}
