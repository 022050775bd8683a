//! The contract of lanes: who leaves first, and whose the last of the budget is.

use super::*;
use pillarbox::budget::AccountKey;

contract! {
    async fn urgent_mail_leaves_first_then_normal_then_bulk_each_in_order_also_after_a_crash(mut queue) {
        let mut accepted = Vec::new();
        for lane in [Lane::Bulk, Lane::Normal, Lane::Urgent, Lane::Normal, Lane::Bulk, Lane::Urgent] {
            accepted.push(queue.accept_in(lane, &["a@x.org"]).await);
            queue.clock.advance(Duration::from_millis(3));
        }
        queue.crash().await;
        let mut claimed = Vec::new();
        while let Ok((id, _)) = queue.claim_on(TERMS).await {
            claimed.push(id);
        }
        assert_eq!(claimed, [2, 5, 1, 3, 0, 4].map(|place| accepted[place]));
        assert_eq!(queue.show(accepted[2]).await.record.lane, Lane::Urgent);
    }

    async fn urgent_mail_that_waits_for_a_later_time_keeps_nobody_waiting(mut queue) {
        let urgent = queue.accept_in(Lane::Urgent, &["a@x.org"]).await;
        let claimed = queue.claim().await;
        let later = queue.clock.wall().after(Duration::from_secs(60));
        queue.settle(&claimed, Outcome::Deferred { until: later, reply: "450 busy".into() }).await;
        let bulk = queue.accept_in(Lane::Bulk, &["b@x.org"]).await;
        queue.crash().await;
        assert_eq!(queue.claim().await.id, bulk);
        let idle = queue.claim_on(TERMS).await.unwrap_err();
        assert!(matches!(idle, Claim::Idle { next: Some(next) } if next == later), "{idle:?}");
        queue.clock.advance(Duration::from_secs(60));
        assert_eq!(queue.claim().await.id, urgent);
    }

    async fn the_last_of_the_budget_is_for_urgent_mail_only(mut queue) {
        let terms = ClaimLimits { account: AccountKey::MAIN, limit: Limit::of(5), urgent_reserve: 2, notice_reserve: 0, recipients_max: 100 };
        let normal = queue.accept(&["a@x.org", "b@x.org", "c@x.org", "d@x.org"]).await;
        queue.accept_in(Lane::Bulk, &["e@x.org"]).await;
        let Claim::Message(first) = queue.store().claim_due(queue.clock.now(), terms).await.unwrap() else { panic!() };
        assert_eq!((first.id, first.recipients.len()), (normal, 3), "as many as are not reserved");
        queue.settle(&first, relayed()).await;
        queue.crash().await;
        let spent = queue.claim_on(terms).await.unwrap_err();
        assert!(matches!(spent, Claim::Exhausted { frees_in: Some(DAY), reserved_room: 2 }), "{spent:?}");
        let urgent = queue.accept_in(Lane::Urgent, &["f@x.org", "g@x.org", "h@x.org"]).await;
        assert_eq!(queue.claim_on(terms).await.unwrap(), (urgent, 2), "urgent mail has the rest, and no more");
        let spent = queue.claim_on(terms).await.unwrap_err();
        assert!(matches!(spent, Claim::Exhausted { frees_in: Some(DAY), reserved_room: 0 }), "{spent:?}");
        assert_eq!(queue.spent().await, 5);
    }

    async fn a_notice_leaves_before_all_others_and_has_a_reserve_that_nobody_else_may_spend(mut queue) {
        let terms = ClaimLimits { account: AccountKey::MAIN, limit: Limit::of(5), urgent_reserve: 1, notice_reserve: 1, recipients_max: 100 };
        let urgent = queue.accept_in(Lane::Urgent, &["a@x.org", "b@x.org"]).await;
        let normal = queue.accept(&["c@x.org", "d@x.org", "e@x.org"]).await;
        assert_eq!(queue.claim_on(terms).await.unwrap(), (urgent, 2));
        assert_eq!(queue.claim_on(terms).await.unwrap(), (normal, 1), "but for the two reserves");
        let more = queue.accept_in(Lane::Urgent, &["f@x.org", "g@x.org"]).await;
        assert_eq!(queue.claim_on(terms).await.unwrap(), (more, 1), "but for the notices' reserve");
        let notice = queue.accept_in(Lane::Notice, &["admin@x.org"]).await;
        queue.accept_in(Lane::Notice, &["admin@x.org"]).await;
        assert_eq!(queue.claim_on(terms).await.unwrap(), (notice, 1));
        let spent = queue.claim_on(terms).await.unwrap_err();
        assert!(matches!(spent, Claim::Exhausted { frees_in: Some(DAY), reserved_room: 0 }), "{spent:?}");
    }
}
