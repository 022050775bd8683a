//! Shares and limits of origins, over the claims of a queue and a clock that is advanced.

use std::time::Duration;

use super::*;
use crate::{
    budget::Limit,
    clock::{Clock, ManualClock, Timestamp},
    message::envelope::{Envelope, Lane},
    queue::{Claim, ClaimLimits, Outcome, Settlement, fixtures::envelope, id::QueueId},
};

const START: Timestamp = Timestamp(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const TERMS: ClaimLimits = ClaimLimits {
    account: AccountKey::MAIN,
    limit: Limit::of(1_000),
    notice_reserve: 0,
    urgent_reserve: 0,
    recipients_max: 100,
};

struct Scene {
    queue: Queue,
    clock: ManualClock,
}

impl Scene {
    fn new(origin_limit: u32) -> Self {
        let clock = ManualClock::new(START);
        let queue = Queue::in_memory(Arc::new(clock.clone()), u64::MAX);
        let scene = Self { queue, clock };
        scene.limit(origin_limit);
        scene
    }

    fn limit(&self, origin_limit: u32) {
        let fairness = Fairness { origin_limit: origin_limit.into(), ..Fairness::default() };
        self.queue.set_fairness(fairness);
    }

    async fn accept(&self, lane: Lane, from: &str, recipients: u32) -> QueueId {
        let forward_paths =
            (0..recipients).map(|one| format!("r{one}@example.net").parse().unwrap()).collect();
        let reverse_path = from.parse().ok();
        let now = self.clock.wall();
        let envelope = Envelope { lane, forward_paths, reverse_path, ..envelope(now) };
        let mut draft = self.queue.begin(envelope).unwrap();
        draft.write(b"Subject: x\r\n\r\nx\r\n").await.unwrap();
        self.queue.enqueue(draft).await.unwrap().id()
    }

    /// Claims and settles what may leave now; whom each was from, with the number of its recipients.
    async fn leave(&self, outcome: impl Fn(&str) -> Outcome) -> Vec<(String, usize)> {
        let mut left = Vec::new();
        loop {
            let claim = self.queue.claim_due(self.clock.now(), TERMS).await.unwrap();
            let Claim::Message(claim) = claim else { return left };
            let from = claim.reverse_path.as_ref().unwrap().as_str().to_owned();
            let outcomes = claim.recipients.iter().map(|one| (one.index, outcome(&from))).collect();
            let (reservation, at) = (claim.reservation, self.clock.wall());
            let settlement = Settlement { reservation, at, outcomes };
            self.queue.settle(claim.id, settlement).await.unwrap();
            left.push((from, claim.recipients.len()));
        }
    }

    async fn relayed(&self) -> Vec<(String, usize)> {
        self.leave(|_| Outcome::Relayed { reply: "250 OK".into() }).await
    }

    async fn waiting_origins(&self) -> Vec<String> {
        let limited = self.queue.limited_origins(self.clock.now()).await.unwrap();
        limited.into_values().map(|origin| origin.words).collect()
    }
}

fn from(left: &[(String, usize)], origin: &str) -> usize {
    left.iter().filter(|(from, _)| from == origin).map(|(_, recipients)| recipients).sum()
}

#[tokio::test]
async fn beyond_its_limit_mail_of_an_origin_waits_for_the_window_and_that_of_others_goes_on() {
    let scene = Scene::new(3);
    for _ in 0..5 {
        scene.accept(Lane::Normal, "job@example.org", 1).await;
    }
    scene.accept(Lane::Normal, "person@example.org", 1).await;
    scene.accept(Lane::Bulk, "job@example.org", 1).await;
    let left = scene.relayed().await;
    assert_eq!((from(&left, "job@example.org"), from(&left, "person@example.org")), (3, 1));
    assert_eq!(scene.waiting_origins().await, ["127.0.0.1, from <job@example.org>"]);
    let idle = scene.queue.claim_due(scene.clock.now(), TERMS).await.unwrap();
    assert!(
        matches!(idle, Claim::Idle { next: Some(next) } if next == START.after(DAY)),
        "{idle:?}"
    );
    // What was spent is known after a kill as well.
    let queue = scene.queue.killed().await;
    let scene = Scene { queue, ..scene };
    scene.limit(3);
    assert_eq!(scene.relayed().await, []);
    scene.clock.advance(DAY);
    assert_eq!(from(&scene.relayed().await, "job@example.org"), 3);
    assert!(scene.waiting_origins().await.is_empty());
}

#[tokio::test]
async fn of_a_message_to_many_as_many_leave_as_its_origin_has_left() {
    let scene = Scene::new(5);
    scene.accept(Lane::Normal, "job@example.org", 12).await;
    for _ in 0..3 {
        let left = from(&scene.relayed().await, "job@example.org");
        assert!(left == 5 || left == 2, "{left}");
        scene.clock.advance(DAY);
    }
    assert_eq!(scene.queue.totals().messages, 0);
}

#[tokio::test]
async fn another_limit_counts_at_once_and_with_what_was_sent_before_it() {
    let scene = Scene::new(2);
    for _ in 0..6 {
        scene.accept(Lane::Normal, "job@example.org", 1).await;
    }
    assert_eq!(from(&scene.relayed().await, "job@example.org"), 2);
    scene.limit(5);
    assert_eq!(from(&scene.relayed().await, "job@example.org"), 3);
    scene.queue.set_fairness(Fairness::default());
    assert_eq!(from(&scene.relayed().await, "job@example.org"), 1);
}

#[tokio::test]
async fn what_is_not_accepted_gives_its_origin_room_again() {
    let scene = Scene::new(2);
    for _ in 0..4 {
        scene.accept(Lane::Normal, "job@example.org", 1).await;
    }
    let dead = |_: &str| Outcome::Dead { reply: "550 5.1.1 no such user".into() };
    assert_eq!(from(&scene.leave(dead).await, "job@example.org"), 4, "nothing of it was spent");
}

#[tokio::test]
async fn in_no_window_any_origin_has_more_than_its_limit_whatever_comes_and_fails() {
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let scene = Scene::new(7);
        let mut departures: Vec<(Timestamp, String, usize)> = Vec::new();
        for _ in 0..120 {
            for _ in 0..random.usize(0..4) {
                let from = format!("job{}@example.org", random.u8(0..4));
                let lane = Lane::ALL[random.usize(1..4)];
                scene.accept(lane, &from, random.u32(1..6)).await;
            }
            let until = scene.clock.wall().after(Duration::from_secs(random.u64(60..9_000)));
            let fails = random.u8(0..4) == 0;
            let outcome = |_: &str| match fails {
                true => Outcome::Deferred { until, reply: "451 later".into() },
                false => Outcome::Relayed { reply: "250 OK".into() },
            };
            let left = scene.leave(outcome).await;
            let now = scene.clock.wall();
            departures.extend(
                left.into_iter().filter(|_| !fails).map(|(from, number)| (now, from, number)),
            );
            let within = departures.iter().filter(|(at, ..)| now.since(*at) < DAY);
            let mut sums = std::collections::HashMap::new();
            within.for_each(|(_, from, number)| *sums.entry(from).or_insert(0) += number);
            assert!(sums.values().all(|sum| *sum <= 7), "seed {seed}: {sums:?}");
            scene.clock.advance(Duration::from_secs(random.u64(1..7_200)));
        }
    }
}

#[tokio::test]
async fn who_was_refused_for_now_keeps_his_place_and_who_has_cost_others_time_does_not() {
    let hour = Duration::from_secs(3_600);
    let until = START.after(hour);
    let reply = String::from("451 4.2.1 later");
    for (outcome, keeps) in [
        (Outcome::Deferred { until, reply: reply.clone() }, true),
        (Outcome::SetBack { until, reply }, false),
        (Outcome::NotTried { until: Some(until) }, false),
    ] {
        let scene = Scene::new(1_000);
        let first = scene.accept(Lane::Normal, "job@example.org", 1).await;
        let claim = scene.queue.claim_due(scene.clock.now(), TERMS).await.unwrap();
        let Claim::Message(claim) = claim else { panic!("{claim:?}") };
        let (reservation, at) = (claim.reservation, scene.clock.wall());
        let settlement = Settlement { reservation, at, outcomes: vec![(0, outcome.clone())] };
        scene.queue.settle(first, settlement).await.unwrap();
        scene.clock.advance(hour / 2);
        let second = scene.accept(Lane::Normal, "job@example.org", 1).await;
        scene.clock.advance(hour);
        let queue = scene.queue.killed().await;
        let next = queue.claim_due(scene.clock.now(), TERMS).await.unwrap();
        let Claim::Message(next) = next else { panic!("{next:?}") };
        assert_eq!(next.id, if keeps { first } else { second }, "{outcome:?}");
    }
}
