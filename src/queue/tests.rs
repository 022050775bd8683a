//! A record that cannot be read while the queue is open.

use std::{sync::Arc, time::Duration};

use super::{Claim, ClaimLimits, Queue, fixtures::accept};
use crate::{
    budget::{AccountKey, Limit},
    clock::{Clock as _, ManualClock, Timestamp},
};

const LIMITS: ClaimLimits = ClaimLimits {
    account: AccountKey::MAIN,
    limit: Limit::of(10),
    notice_reserve: 0,
    urgent_reserve: 0,
    recipients_max: 10,
};

#[tokio::test]
async fn a_damaged_record_is_rebuilt_with_the_times_of_a_message_that_arrives() {
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let store = Queue::in_memory(Arc::new(clock.clone()), 1 << 20);
    // Its client, or a clock that was wrong when it was accepted, has put it into the future.
    let future = clock.wall().after(Duration::from_secs(400 * 24 * 3_600));
    let id = accept(&store, future).await;
    assert_eq!(store.show(id).await.unwrap().unwrap().record.accepted_at, clock.wall());

    clock.advance(Duration::from_secs(60));
    store.memory.as_ref().unwrap().damage(id);
    let claim = store.claim_due(clock.now(), LIMITS).await.unwrap();
    assert!(matches!(claim, Claim::Idle { next: Some(next) } if next == clock.wall()), "{claim:?}");
    let claim = store.claim_due(clock.now(), LIMITS).await.unwrap();
    let Claim::Message(claimed) = claim else { panic!("{claim:?}") };
    assert_eq!((claimed.id, claimed.accepted_at), (id, clock.wall()));
    assert!(claimed.lifetime_from <= clock.wall(), "or its lifetime would end in a year");
}
