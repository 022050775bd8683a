//! Wall clocks that are wrong, and that are set: no age and no wait changes by it.

use super::*;
use pillarbox::budget::AccountKey;

mod histories;

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
const TEN: ClaimLimits = ClaimLimits { limit: Limit::of(10), ..TERMS };

impl Fixture {
    /// Relays as long as anything may leave; how many messages that were.
    async fn relay_all(&self, terms: ClaimLimits) -> usize {
        let mut relayed_now = 0;
        while let Claim::Message(claimed) =
            self.store().claim_due(self.clock.now(), terms).await.unwrap()
        {
            self.settle(&claimed, relayed()).await;
            relayed_now += 1;
        }
        relayed_now
    }

    /// The machine goes down and comes up after `off`, with a clock that then is `ahead` (behind, when negative).
    async fn reboot(&mut self, off: Duration, ahead_ms: i64) {
        let wall = self.clock.wall().after(off).0 + ahead_ms;
        self.clock.reboot();
        self.clock.set_wall(Timestamp(wall));
        self.crash().await;
    }

    async fn defer(&self, wait: Duration) -> QueueId {
        let claimed = self.claim().await;
        let until = self.clock.wall().after(wait);
        self.settle(&claimed, Outcome::Deferred { until, reply: "451 4.3.0 later".into() }).await;
        claimed.id
    }

    async fn is_due(&self) -> bool {
        matches!(self.store().claim_due(self.clock.now(), TERMS).await.unwrap(), Claim::Message(_))
    }

    async fn set_clock(&self, by_ms: i64) {
        self.clock.set_wall(Timestamp(self.clock.wall().0 + by_ms));
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

contract! {
    async fn mail_accepted_while_the_clock_was_hours_ahead_leaves_at_once(mut queue) {
        queue.set_clock(ms(10 * HOUR)).await;
        let id = queue.accept(&["a@x.org"]).await;
        queue.clock.advance(20 * MINUTE / 60);
        queue.set_clock(-ms(10 * HOUR)).await;
        assert_eq!(queue.claim().await.id, id);
    }

    async fn mail_accepted_by_a_clock_that_was_far_ahead_is_not_behind_a_message_that_waits(mut queue) {
        queue.accept(&["greylisted@x.org"]).await;
        queue.defer(4 * HOUR).await;
        queue.set_clock(ms(60 * DAY)).await;
        let id = queue.accept(&["a@x.org"]).await;
        queue.clock.advance(MINUTE);
        queue.set_clock(-ms(60 * DAY)).await;
        assert_eq!(queue.claim().await.id, id);
    }

    async fn mail_whose_transaction_began_before_the_clock_was_set_leaves_at_once(mut queue) {
        queue.accept(&["greylisted@x.org"]).await;
        queue.defer(4 * HOUR).await;
        queue.set_clock(ms(20 * HOUR)).await;
        let early = queue.envelope(&["a@x.org"]);
        queue.set_clock(-ms(20 * HOUR)).await;
        let id = queue.submit(early).await;
        let claimed = queue.claim().await;
        assert_eq!((claimed.id, claimed.accepted_at), (id, queue.clock.wall()));
    }

    async fn a_wait_is_as_long_as_it_was_meant_whichever_way_the_clock_is_set(mut queue) {
        for step in [-ms(10 * HOUR), ms(3 * HOUR), -ms(3_650 * DAY), ms(3_650 * DAY)] {
            queue.accept(&["a@x.org"]).await;
            queue.defer(HOUR).await;
            queue.set_clock(step).await;
            queue.clock.advance(HOUR - MINUTE);
            assert!(!queue.is_due().await, "{step}: not before its time");
            queue.crash().await;
            queue.clock.advance(MINUTE);
            let claimed = queue.claim().await;
            queue.settle(&claimed, relayed()).await;
        }
    }

    async fn a_settlement_that_was_decided_before_the_clock_was_set_back_waits_as_long_as_it_meant(mut queue) {
        queue.accept(&["a@x.org"]).await;
        let claimed = queue.claim().await;
        let at = queue.clock.wall();
        let outcomes = vec![(0, Outcome::Deferred { until: at.after(MINUTE), reply: "451".into() })];
        queue.set_clock(-ms(10 * HOUR)).await;
        let reservation = claimed.reservation;
        queue.store().settle(claimed.id, Settlement { reservation, at, outcomes }).await.unwrap();
        queue.clock.advance(MINUTE);
        assert!(queue.is_due().await);
    }

    async fn what_this_boot_wrote_is_shown_in_the_time_to_which_the_clock_was_set(mut queue) {
        queue.clock.set_wall(Timestamp(40_000));
        queue.crash().await;
        let id = queue.accept(&["a@x.org"]).await;
        // The record follows the 250 after a moment.
        queue.show(id).await;
        queue.clock.advance(MINUTE);
        queue.clock.set_wall(START);
        queue.crash().await;
        let shown = queue.show(id).await.record;
        assert_eq!((shown.accepted_at, shown.lifetime_from), (START.before(MINUTE), START.before(MINUTE)));
    }

    async fn a_step_of_the_clock_neither_ages_dead_letters_nor_history(mut queue) {
        queue.accept(&["gone@x.org"]).await;
        let claimed = queue.claim().await;
        queue.settle(&claimed, Outcome::Dead { reply: "550".into() }).await;
        queue.accept(&["a@x.org"]).await;
        queue.relay_all(TERMS).await;
        queue.set_clock(ms(40 * DAY)).await;
        let keep_after = queue.clock.wall().before(30 * DAY);
        assert_eq!(queue.store().expire_dead(keep_after).await, Ok(0));
        assert_eq!(queue.store().prune_history(keep_after).await, Ok(0));
        queue.set_clock(-ms(40 * DAY)).await;
        queue.clock.advance(31 * DAY);
        let keep_after = queue.clock.wall().before(30 * DAY);
        assert_eq!(queue.store().prune_history(keep_after).await, Ok(1));
        assert_eq!(queue.store().expire_dead(keep_after).await, Ok(1));
    }

    async fn a_clock_that_is_ahead_at_the_start_deletes_nothing_before_it_could_be_set_right(mut queue) {
        queue.accept(&["gone@x.org"]).await;
        let claimed = queue.claim().await;
        queue.settle(&claimed, Outcome::Dead { reply: "550".into() }).await;
        queue.accept(&["a@x.org"]).await;
        queue.relay_all(TERMS).await;
        queue.reboot(MINUTE, ms(40 * DAY)).await;
        queue.clock.advance(HOUR);
        let keep_after = queue.clock.wall().before(30 * DAY);
        assert_eq!(queue.store().expire_dead(keep_after).await, Ok(0));
        assert_eq!(queue.store().prune_history(keep_after).await, Ok(0));
        queue.set_clock(-ms(40 * DAY)).await;
        queue.clock.advance(5 * HOUR);
        let keep_after = queue.clock.wall().before(30 * DAY);
        assert_eq!(queue.store().expire_dead(keep_after).await, Ok(0));
        assert_eq!(queue.store().prune_history(keep_after).await, Ok(0));
    }

    async fn a_machine_that_was_off_for_long_goes_on_where_time_is(mut queue) {
        queue.accept(&["gone@x.org"]).await;
        let claimed = queue.claim().await;
        queue.settle(&claimed, Outcome::Dead { reply: "550".into() }).await;
        queue.accept(&["a@x.org"]).await;
        queue.defer(4 * HOUR).await;
        queue.reboot(40 * DAY, 0).await;
        assert!(queue.is_due().await, "due while it was off");
        queue.clock.advance(3 * HOUR);
        let keep_after = queue.clock.wall().before(30 * DAY);
        assert_eq!(queue.store().expire_dead(keep_after).await, Ok(1));
    }

    async fn the_lifetime_is_not_over_because_the_clock_is_ahead_at_the_start(mut queue) {
        queue.accept(&["a@x.org"]).await;
        queue.reboot(MINUTE, ms(6 * DAY)).await;
        queue.clock.advance(MINUTE);
        let claimed = queue.claim().await;
        assert_eq!(queue.clock.wall().since(claimed.lifetime_from), MINUTE);
    }

    async fn a_clock_that_was_behind_and_set_right_before_a_reboot_frees_no_budget(mut queue) {
        queue.set_clock(-ms(3 * DAY)).await;
        queue.crash().await;
        for _ in 0..20 {
            queue.accept(&["a@x.org"]).await;
        }
        assert_eq!(queue.relay_all(TEN).await, 10);
        queue.clock.advance(MINUTE);
        queue.set_clock(ms(3 * DAY)).await;
        assert_eq!(queue.relay_all(TEN).await, 0, "within the boot");
        queue.reboot(MINUTE, 0).await;
        queue.clock.advance(MINUTE);
        assert_eq!(queue.relay_all(TEN).await, 0, "after it");
        queue.clock.advance(DAY);
        assert_eq!(queue.relay_all(TEN).await, 10, "a day later");
    }

    async fn a_clock_that_is_behind_in_every_boot_until_it_is_set_frees_no_budget(mut queue) {
        for _ in 0..30 {
            queue.accept(&["a@x.org"]).await;
        }
        assert_eq!(queue.relay_all(TEN).await, 10);
        for _ in 0..5 {
            queue.reboot(MINUTE, -ms(30 * DAY)).await;
            queue.clock.advance(MINUTE / 2);
            assert_eq!(queue.relay_all(TEN).await, 0, "with the clock behind");
            queue.set_clock(ms(30 * DAY)).await;
            assert_eq!(queue.relay_all(TEN).await, 0, "with the clock set right");
            queue.clock.advance(HOUR);
        }
        queue.clock.advance(18 * HOUR);
        assert_eq!(queue.relay_all(TEN).await, 0);
        queue.clock.advance(HOUR);
        assert_eq!(queue.relay_all(TEN).await, 10, "a day after the first ten");
    }

    async fn a_clock_that_was_ahead_gives_the_budget_back_within_a_day(mut queue) {
        for reboots in 1..4 {
            queue.set_clock(ms(60 * DAY)).await;
            queue.crash().await;
            for _ in 0..10 {
                queue.accept(&["a@x.org"]).await;
            }
            assert_eq!(queue.relay_all(TEN).await, 10);
            queue.clock.advance(MINUTE);
            queue.set_clock(-ms(60 * DAY)).await;
            for _ in 0..reboots {
                queue.reboot(MINUTE, 0).await;
            }
            queue.clock.advance(DAY);
        }
    }

    async fn a_clock_that_was_ahead_and_right_only_after_the_reboot_blocks_the_budget_for_a_day_at_most(mut queue) {
        queue.set_clock(ms(60 * DAY)).await;
        queue.crash().await;
        for _ in 0..20 {
            queue.accept(&["a@x.org"]).await;
        }
        assert_eq!(queue.relay_all(TEN).await, 10);
        for ahead_ms in [-ms(60 * DAY), 0, 0, 0] {
            queue.reboot(MINUTE, ahead_ms).await;
            queue.clock.advance(6 * HOUR);
        }
        assert_eq!(queue.relay_all(TEN).await, 10);
    }

    async fn a_clock_that_is_ahead_at_the_start_frees_no_budget_before_it_could_be_set_right(mut queue) {
        for _ in 0..20 {
            queue.accept(&["a@x.org"]).await;
        }
        assert_eq!(queue.relay_all(TEN).await, 10);
        queue.clock.advance(22 * HOUR);
        queue.reboot(MINUTE, ms(2 * HOUR)).await;
        queue.clock.advance(MINUTE);
        assert_eq!(queue.relay_all(TEN).await, 0, "two hours ahead");
        queue.set_clock(-ms(2 * HOUR)).await;
        assert_eq!(queue.relay_all(TEN).await, 0, "set right");
        queue.clock.advance(2 * HOUR);
        assert_eq!(queue.relay_all(TEN).await, 10, "a day after the first ten");
    }

    async fn a_queue_that_moves_to_a_machine_that_is_up_for_months_keeps_budget_and_dead_letters(mut queue) {
        queue.accept(&["gone@x.org"]).await;
        let claimed = queue.claim().await;
        queue.settle(&claimed, Outcome::Dead { reply: "550".into() }).await;
        for _ in 0..20 {
            queue.accept(&["a@x.org"]).await;
        }
        assert_eq!(queue.relay_all(TEN).await, 10);
        let moved_at = queue.clock.wall().after(MINUTE);
        queue.clock.reboot();
        queue.clock.advance(100 * DAY);
        queue.clock.set_wall(moved_at);
        queue.crash().await;
        assert_eq!(queue.relay_all(TEN).await, 0);
        let keep_after = queue.clock.wall().before(30 * DAY);
        assert_eq!(queue.store().expire_dead(keep_after).await, Ok(0));
        queue.clock.advance(DAY);
        assert_eq!(queue.relay_all(TEN).await, 10);
    }

    async fn a_budget_that_came_back_while_the_machine_was_off_is_there_within_minutes(mut queue) {
        for _ in 0..20 {
            queue.accept(&["a@x.org"]).await;
        }
        assert_eq!(queue.relay_all(TEN).await, 10);
        queue.reboot(30 * HOUR, 0).await;
        queue.clock.advance(10 * MINUTE);
        assert_eq!(queue.relay_all(TEN).await, 10);
    }

    async fn the_account_s_pause_and_logins_move_with_the_clock(mut queue) {
        let state = AccountState {
            condition: AccountCondition::BackingOff,
            until: Some(queue.clock.wall().after(HOUR)),
            logins: vec![queue.clock.wall().before(MINUTE)],
            ..AccountState::open(queue.clock.wall())
        };
        queue.store().set_account_state(AccountKey::MAIN, state).await.unwrap();
        queue.set_clock(-ms(10 * HOUR)).await;
        queue.crash().await;
        let now = queue.clock.wall();
        let state = queue.store().account_state(AccountKey::MAIN).await.unwrap().unwrap();
        assert_eq!((state.since, state.until), (now, Some(now.after(HOUR))));
        assert_eq!(state.logins, [now.before(MINUTE)]);
    }
}
