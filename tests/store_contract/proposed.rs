//! Ids that a client proposes: under each of them one message at most, however often it is handed over.

use pillarbox::queue::incoming::IncomingMessage;

use super::*;

fn proposed(queue: &Fixture) -> QueueId {
    QueueId::proposed(queue.clock.wall(), *b"random")
}

async fn begin(queue: &Fixture, id: QueueId) -> Result<IncomingMessage, QueueError> {
    queue.store().begin_as(id, envelope(&queue.clock, Lane::Normal, &["a@example.org"])).await
}

/// Hands a message over as `id`.
async fn hand_over(queue: &Fixture, id: QueueId) -> Result<QueueId, QueueError> {
    let mut draft = begin(queue, id).await?;
    draft.write(b"Subject: disk full\r\n\r\nbody\r\n").await?;
    Ok(queue.store().enqueue(draft).await?.id())
}

contract! {
    async fn a_message_has_the_id_that_was_proposed_for_it(mut queue) {
        let id = proposed(&queue);
        assert_eq!(hand_over(&queue, id).await, Ok(id));
        queue.crash().await;
        assert_eq!(queue.claim().await.id, id);
    }

    async fn a_message_that_is_queued_is_known_also_after_a_crash(mut queue) {
        let id = proposed(&queue);
        hand_over(&queue, id).await.unwrap();
        assert_eq!(hand_over(&queue, id).await, Err(QueueError::AlreadyKnown(id)));
        queue.crash().await;
        assert_eq!(hand_over(&queue, id).await, Err(QueueError::AlreadyKnown(id)));
        assert_eq!(queue.store().totals().messages, 1);
    }

    async fn a_message_that_was_relayed_or_deleted_is_known_as_long_as_the_history_knows_it(mut queue) {
        let id = proposed(&queue);
        hand_over(&queue, id).await.unwrap();
        let claimed = queue.claim().await;
        assert_eq!(hand_over(&queue, id).await, Err(QueueError::AlreadyKnown(id)), "in the hands of a worker");
        queue.settle(&claimed, relayed()).await;
        assert_eq!(hand_over(&queue, id).await, Err(QueueError::AlreadyKnown(id)), "relayed");
        queue.crash().await;
        assert_eq!(hand_over(&queue, id).await, Err(QueueError::AlreadyKnown(id)), "after a crash");
        assert_eq!(queue.store().prune_history(queue.clock.wall().after(DAY)).await, Ok(1));
        assert_eq!(hand_over(&queue, id).await, Ok(id));
        queue.store().delete(id).await.unwrap();
        assert_eq!(hand_over(&queue, id).await, Err(QueueError::AlreadyKnown(id)), "deleted");
    }

    async fn two_drafts_with_one_id_are_a_conflict_until_the_first_one_has_ended(mut queue) {
        let id = proposed(&queue);
        let first = begin(&queue, id).await.unwrap();
        assert_eq!(hand_over(&queue, id).await, Err(QueueError::Conflict(id)));
        drop(first);
        let mut second = begin(&queue, id).await.unwrap();
        second.write(&[b'x'; 100_000]).await.unwrap();
        drop(second);
        assert_eq!(hand_over(&queue, id).await, Ok(id), "a draft that was dropped leaves nothing behind");
        assert_eq!(queue.store().totals().messages, 1);
    }
}
