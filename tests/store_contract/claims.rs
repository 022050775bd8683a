//! Claims and who may end them: a settlement ends its own claim, a decision holds for what is there when it is written.

use super::*;

async fn settle_and_claim(
    queue: &Fixture,
    claimed: &ClaimedMessage,
    outcome: Outcome,
    limits: ClaimLimits,
) -> (Result<(), QueueError>, Result<Claim, QueueError>) {
    let outcomes = claimed.recipients.iter().map(|one| (one.index, outcome.clone())).collect();
    let (reservation, at) = (claimed.reservation, queue.clock.wall());
    let settlement = Settlement { reservation, at, outcomes };
    queue.store().settle_and_claim(claimed.id, settlement, queue.clock.now(), limits).await
}

contract! {
    async fn a_message_in_whose_attempt_the_relay_stopped_leaves_behind_those_that_waited(mut queue) {
        let first = queue.accept(&["a@x.org"]).await;
        queue.clock.advance(Duration::from_secs(1));
        let second = queue.accept(&["b@x.org"]).await;
        queue.clock.advance(Duration::from_secs(1));
        assert_eq!(queue.claim().await.id, first);
        queue.crash().await;
        assert_eq!(queue.claim().await.id, second);
        assert_eq!(queue.claim().await.id, first, "at once, when nobody else waits");
        assert_eq!(queue.spent().await, 2);
    }

    async fn a_message_that_stops_the_relay_each_time_stops_no_other_and_is_not_lost(mut queue) {
        let bad = queue.accept_in(Lane::Urgent, &["bad@x.org"]).await;
        let mut others = Vec::new();
        for _ in 0..14 {
            // Whatever is in flight beside it is stopped with it.
            others.push(queue.accept(&["a@x.org"]).await);
            let mut claims = Vec::new();
            while let Claim::Message(claimed) = queue.store().claim_due(queue.clock.now(), TERMS).await.unwrap() {
                claims.push(claimed);
            }
            if claims.iter().all(|claimed| claimed.id != bad) {
                for claimed in claims {
                    queue.settle(&claimed, relayed()).await;
                }
            }
            queue.crash().await;
            queue.clock.advance(Duration::from_secs(1));
        }
        let left: Vec<QueueId> = queue.store().list(None, 10).await.unwrap().iter().map(|one| one.id).collect();
        assert_eq!(left, [bad], "of {others:?}");
        queue.clock.advance(Duration::from_secs(3_600));
        let claimed = queue.claim().await;
        assert_eq!((claimed.id, claimed.recipients[0].attempts), (bad, 0));
        // An attempt that comes to its end begins anew.
        queue.settle(&claimed, Outcome::Deferred { until: queue.clock.wall(), reply: "451".into() }).await;
        assert_eq!(queue.show(bad).await.record.setbacks.stops, 0);
    }

    async fn a_settlement_of_an_earlier_claim_ends_no_later_one(mut queue) {
        queue.accept(&["a@x.org"]).await;
        let first = queue.claim().await;
        queue.settle(&first, Outcome::NotTried { until: None }).await;
        let second = queue.claim().await;
        assert_ne!(first.reservation, second.reservation);
        // A worker that was thought to be dead.
        queue.settle(&first, relayed()).await;
        assert_eq!(queue.show(second.id).await.recipients()[0].state.name(), "reserved");
        assert!(queue.claim_on(TERMS).await.is_err(), "the second worker still has it");
        assert_eq!(queue.spent().await, 1);
        queue.settle(&second, relayed()).await;
        assert_eq!((queue.spent().await, queue.store().totals().messages), (1, 0));
    }

    async fn a_claim_beside_a_settlement_sees_what_came_back(mut queue) {
        let first = queue.accept(&["a@x.org"]).await;
        queue.clock.advance(Duration::from_secs(1));
        queue.accept(&["b@x.org"]).await;
        let claimed = queue.claim().await;
        let (settled, claim) = settle_and_claim(&queue, &claimed, Outcome::NotTried { until: None }, TERMS).await;
        assert_eq!(settled, Ok(()));
        let Ok(Claim::Message(again)) = claim else { panic!("{claim:?}") };
        assert_eq!((again.id, queue.spent().await), (first, 1));
        assert_ne!(again.reservation, claimed.reservation);
    }

    async fn a_claim_that_comes_to_nothing_changes_nothing_about_the_settlement_beside_it(mut queue) {
        let limited = ClaimLimits { limit: Limit::of(1), ..TERMS };
        for recipient in ["a@x.org", "b@x.org"] {
            queue.accept(&[recipient]).await;
        }
        let claimed = queue.claim().await;
        let (settled, claim) = settle_and_claim(&queue, &claimed, relayed(), limited).await;
        assert_eq!(settled, Ok(()));
        assert!(matches!(claim, Ok(Claim::Exhausted { .. })), "{claim:?}");
        queue.crash().await;
        assert_eq!((queue.spent().await, queue.store().totals().messages), (1, 1));
        let claimed = queue.claim().await;
        let (settled, claim) = settle_and_claim(&queue, &claimed, relayed(), TERMS).await;
        assert_eq!(settled, Ok(()));
        assert!(matches!(claim, Ok(Claim::Idle { next: None })), "{claim:?}");
        queue.crash().await;
        assert_eq!((queue.spent().await, queue.store().totals().messages), (2, 0));
    }

    async fn a_dead_letter_that_a_person_resends_while_dead_letters_expire_is_kept(mut queue) {
        let id = queue.accept(&["a@x.org"]).await;
        queue.settle(&queue.claim().await, Outcome::Dead { reply: "550".into() }).await;
        queue.clock.advance(31 * DAY);
        let keep_after = queue.clock.wall().before(30 * DAY);
        let page = queue.store().dead(None, 10).await.unwrap();
        assert!(page[0].record.is_dead_since_before(keep_after));
        assert_eq!(queue.store().retry(id, queue.clock.wall()).await, Ok(1));
        assert_eq!(queue.store().expire(id, keep_after).await, Err(QueueError::Conflict(id)));
        queue.crash().await;
        assert_eq!(queue.claim().await.id, id);
        assert_eq!(queue.store().expire(id, keep_after).await, Err(QueueError::Conflict(id)));
    }

    async fn whoever_only_reads_a_message_changes_nothing(mut queue) {
        let id = queue.accept(&["a@x.org"]).await;
        let claimed = queue.claim().await;
        if let Backend::Sled { directory, .. } = &queue.backend {
            std::fs::write(spool_file(directory.path(), id), "damaged").unwrap();
            let read = queue.store().read_message(id).await;
            assert!(matches!(read, Err(QueueError::Corrupt { .. })), "{read:?}");
            std::fs::remove_file(spool_file(directory.path(), id)).unwrap();
            assert_eq!(queue.store().read_message(id).await.err(), Some(QueueError::NotFound(id)));
        } else {
            assert!(queue.store().read_message(id).await.is_ok());
        }
        assert_eq!(queue.show(id).await.recipients()[0].state.name(), "reserved");
        assert_eq!(queue.store().totals().set_aside, 0);
        queue.settle(&claimed, relayed()).await;
        // Another thread removes the file, after the answer.
        let gone = async {
            while queue.store().read_message(id).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone).await.expect("it is removed soon");
        assert_eq!(queue.store().read_message(id).await.err(), Some(QueueError::NotFound(id)));
    }
}
