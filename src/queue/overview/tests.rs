//! Digests against the records of a queue in which everything happens, also clocks that are set, disks that fail and kills.

use std::time::Duration;

use super::*;
use crate::{
    clock::{Clock as _, ManualClock, Timestamp},
    message::envelope::Envelope,
    queue::{
        Claim, ClaimedMessage, Outcome, Settlement, Step,
        committer::READ_AT_ONCE,
        fixtures::{LIMITS, accept, envelope},
        id::QueueId,
        only::Only,
    },
};

const START: Timestamp = Timestamp(1_800_000_000_000);

/// What is known without reading.
async fn glance(queue: &Queue) -> Vec<Digest> {
    let look = |all: &mut Vec<Digest>, digest| all.push(digest);
    let (all, is_whole) = queue.look_through(Vec::new(), look).await.unwrap();
    assert!(is_whole);
    all
}

/// What is in the records.
async fn read(queue: &Queue) -> Vec<Digest> {
    let all = queue.list(None, 1_000).await.unwrap();
    all.iter().map(|message| Digest::of(message.id, &message.record)).collect()
}

fn outcome(random: &mut fastrand::Rng, now: Timestamp) -> Outcome {
    let reply = "450 4.2.1 try later".to_owned();
    match random.u8(0..5) {
        0 => Outcome::Relayed { reply },
        1 => Outcome::Deferred { until: now.after(Duration::from_secs(random.u64(1..900))), reply },
        2 => Outcome::Dead { reply },
        3 => Outcome::Uncertain { resend_at: random.bool().then_some(now), reason: reply },
        _ => Outcome::NotTried { until: None },
    }
}

/// One thing that happens.
async fn happens(
    queue: &Queue,
    clock: &ManualClock,
    random: &mut fastrand::Rng,
    claims: &mut Vec<ClaimedMessage>,
) {
    let now = clock.wall();
    let ids: Vec<QueueId> = read(queue).await.iter().map(|digest| digest.id).collect();
    let id = random.choice(ids).unwrap_or_else(|| QueueId::from_bytes([0; 16]));
    match random.u8(0..12) {
        0..=3 => {
            let recipients = random.usize(1..5);
            let forward_paths =
                (0..recipients).map(|one| format!("r{one}@example.net").parse().unwrap());
            let forward_paths = forward_paths.collect();
            let draft = queue.begin(Envelope { forward_paths, ..envelope(now) }).unwrap();
            drop(queue.enqueue(draft).await);
        }
        4 | 5 => {
            if let Ok(Claim::Message(claim)) = queue.claim_due(clock.now(), LIMITS).await {
                claims.push(claim);
            }
        }
        6 | 7 => {
            let Some(claim) = claims.pop() else { return };
            let outcomes = claim.recipients.iter().map(|one| (one.index, outcome(random, now)));
            let outcomes = outcomes.collect();
            let settlement = Settlement { reservation: claim.reservation, at: now, outcomes };
            drop(queue.settle(claim.id, settlement).await);
        }
        8 => drop(queue.hold(id, now, "look at it".into()).await),
        9 => {
            let at = now.after(Duration::from_secs(random.u64(1..7_200)));
            drop(queue.schedule(id, at, &Only::default()).await);
        }
        10 => drop(queue.retry(id, now).await),
        _ => drop(queue.delete(id).await),
    }
}

#[tokio::test]
async fn whatever_happens_to_a_queue_its_digests_say_what_its_records_say() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let clock = ManualClock::new(START);
    let mut queue = Queue::in_memory(Arc::new(clock.clone()), u64::MAX);
    let mut claims = Vec::new();
    for step in 0..1_500 {
        happens(&queue, &clock, &mut random, &mut claims).await;
        clock.advance(Duration::from_millis(random.u64(0..60_000)));
        match random.u8(..) {
            0 => clock.set_wall(clock.wall().moved(random.i64(-7_200_000..7_200_000))),
            1 | 2 => {
                queue = queue.killed().await;
                claims.clear();
            }
            3 => {
                queue.faults().fail(Step::IndexWrite, 1);
                accept(&queue, clock.wall()).await;
                while queue.list(None, 1).await.is_err() {
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
        assert_eq!(glance(&queue).await, read(&queue).await, "step {step}, seed {seed}");
    }
    assert!(read(&queue).await.len() < 1_000, "a page holds them all");
}

#[tokio::test]
async fn after_a_step_of_the_clock_the_records_are_read_once_and_not_again() {
    let clock = ManualClock::new(START);
    let queue = Queue::in_memory(Arc::new(clock.clone()), u64::MAX);
    for _ in 0..2 * READ_AT_ONCE + 10 {
        accept(&queue, clock.wall()).await;
    }
    // What was accepted last is written with it.
    queue.list(None, 1).await.unwrap();
    let before = queue.records_read();
    assert_eq!(glance(&queue).await.len(), 2 * READ_AT_ONCE + 10);
    assert_eq!(queue.records_read(), before, "each acceptance has told what it is");
    clock.set_wall(START.after(Duration::from_secs(7_200)));
    // The committer sees it, and goes on by itself.
    queue.commit(|_| Ok(())).await.unwrap();
    while !sync::lock(&queue.shared.digests).is_whole() {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        assert_eq!(glance(&queue).await.len(), 2 * READ_AT_ONCE + 10);
    }
    assert_eq!(queue.records_read() - before, 2 * READ_AT_ONCE as u64 + 10);
}
