//! The history of finished messages: how long it remembers them, whatever the clock did.

use super::*;

/// What the history knows, the newest first.
async fn known(queue: &Fixture) -> Vec<QueueId> {
    let history = queue.store().history(None, 100).await.unwrap();
    history.into_iter().map(|message| message.id).collect()
}

/// Forgets what ended more than 30 days ago.
async fn prune(queue: &Fixture) -> u32 {
    let keep_after = queue.clock.wall().before(30 * DAY);
    queue.store().prune_history(keep_after).await.unwrap()
}

contract! {
    async fn a_message_that_waited_long_is_remembered_from_its_end_on(mut queue) {
        let id = queue.accept(&["a@x.org"]).await;
        queue.store().hold(id, queue.clock.wall(), "a person".into()).await.unwrap();
        queue.clock.advance(31 * DAY);
        queue.store().retry(id, queue.clock.wall()).await.unwrap();
        queue.settle(&queue.claim().await, relayed()).await;
        queue.crash().await;
        assert_eq!((prune(&queue).await, known(&queue).await), (0, vec![id]));
        queue.clock.advance(31 * DAY);
        assert_eq!((prune(&queue).await, known(&queue).await), (1, vec![]));
    }

    async fn a_dead_letter_is_remembered_from_its_removal_on(mut queue) {
        let id = queue.accept(&["a@x.org"]).await;
        queue.settle(&queue.claim().await, Outcome::Dead { reply: "550".into() }).await;
        queue.clock.advance(40 * DAY);
        assert_eq!(queue.store().expire_dead(queue.clock.wall().before(30 * DAY)).await, Ok(1));
        queue.crash().await;
        assert_eq!((prune(&queue).await, known(&queue).await), (0, vec![id]));
    }

    async fn a_clock_that_was_years_ahead_once_keeps_nothing_for_ever(mut queue) {
        queue.clock.set_wall(START.after(4_000 * DAY));
        let held = queue.accept(&["a@x.org"]).await;
        queue.store().hold(held, queue.clock.wall(), "a person".into()).await.unwrap();
        let ended = queue.accept(&["b@x.org"]).await;
        queue.settle(&queue.claim().await, relayed()).await;
        queue.clock.set_wall(START);
        queue.crash().await;
        let mut later = Vec::new();
        for _ in 0..3 {
            let id = queue.accept(&["c@x.org"]).await;
            assert!(!id.is_ahead_of(queue.clock.wall()), "ids come back to the present");
            queue.settle(&queue.claim().await, relayed()).await;
            later.push(id);
        }
        assert_eq!(prune(&queue).await, 0);
        assert_eq!(known(&queue).await.len(), 4);
        queue.clock.advance(31 * DAY);
        assert_eq!((prune(&queue).await, known(&queue).await), (4, vec![]), "{ended} as well");
    }
}
