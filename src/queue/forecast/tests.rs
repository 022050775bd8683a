//! The forecast against a queue that is worked off by its own claims, on a clock that is advanced.

use std::{collections::HashMap, sync::Arc};

use super::*;
use crate::{
    budget::AccountKey,
    clock::{Clock, ManualClock, Stopwatch},
    message::envelope::Envelope,
    queue::{Claim, Outcome, Queue, Settlement, fixtures::envelope, only::Only},
};

const START: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
/// Who waits for a reserve looks once a minute.
const LOOK: Duration = Duration::from_secs(60);

fn limits(limit: u32) -> ClaimLimits {
    ClaimLimits {
        account: AccountKey::MAIN,
        limit: limit.into(),
        notice_reserve: 3,
        urgent_reserve: 10,
        recipients_max: 100,
    }
}

async fn accept(queue: &Queue, now: Timestamp, lane: Lane, recipients: usize) -> QueueId {
    accept_of(queue, now, lane, recipients, 0).await
}

/// A message of the origin with this number.
async fn accept_of(
    queue: &Queue,
    now: Timestamp,
    lane: Lane,
    recipients: usize,
    origin: u32,
) -> QueueId {
    let forward_paths =
        (0..recipients).map(|number| format!("r{number}@example.net").parse().unwrap()).collect();
    let reverse_path = format!("job{origin}@example.org").parse().ok();
    let envelope = Envelope { lane, forward_paths, reverse_path, ..envelope(now) };
    let mut draft = queue.begin(envelope).unwrap();
    draft.write(b"Subject: x\r\n\r\nx\r\n").await.unwrap();
    queue.enqueue(draft).await.unwrap().id()
}

/// What the forecast says now.
async fn foretold(queue: &Queue, clock: &ManualClock, limits: ClaimLimits) -> Forecast {
    let now = clock.now();
    let waiting = queue.waiting_for(AccountKey::MAIN, now).await.unwrap().concat();
    let waiting = waiting.chunks(7).map(<[_]>::to_vec).collect();
    let footing = queue.footing(AccountKey::MAIN, now).await.unwrap();
    let (now, paced) = (now.wall, false);
    Forecast::new(waiting, Terms { now, starts: now, paced, footing, limits, pace_per_minute: 0 })
}

/// Works the queue off as the pool does: what is claimed is relayed at once, and nothing else happens. Returns when the
/// first and the last recipients of each message left, and each departure.
async fn worked_off(
    queue: &Queue,
    clock: &ManualClock,
    limits: ClaimLimits,
) -> (HashMap<QueueId, (Timestamp, Timestamp)>, Vec<(Timestamp, u32)>) {
    let (mut left, mut departures) = (HashMap::new(), Vec::new());
    loop {
        let wait = match queue.claim_due(clock.now(), limits).await.unwrap() {
            Claim::Message(claim) => {
                let at = clock.wall();
                left.entry(claim.id).or_insert((at, at)).1 = at;
                departures.push((at, u32::try_from(claim.recipients.len()).unwrap()));
                let relayed = || Outcome::Relayed { reply: "250 OK".into() };
                let outcomes = claim.recipients.iter().map(|one| (one.index, relayed())).collect();
                let settlement = Settlement { reservation: claim.reservation, at, outcomes };
                queue.settle(claim.id, settlement).await.unwrap();
                continue;
            }
            Claim::Idle { next: Some(next) } => next.since(clock.wall()),
            Claim::Idle { next: None } => return (left, departures),
            Claim::Exhausted { frees_in, .. } => frees_in.expect("there is a limit").min(LOOK),
        };
        clock.advance(wait.max(Duration::from_millis(1)));
    }
}

/// A day that is spent in part, messages of all lanes and sizes, some that were deferred, and some that are scheduled.
async fn scene(seed: u64) -> (Queue, ManualClock) {
    let mut random = fastrand::Rng::with_seed(seed);
    let clock = ManualClock::new(START);
    let queue = Queue::in_memory(Arc::new(clock.clone()), u64::MAX);
    for _ in 0..random.usize(0..12) {
        let origin = random.u32(0..3);
        accept_of(&queue, clock.wall(), Lane::Normal, random.usize(1..8), origin).await;
        let Claim::Message(claim) = queue.claim_due(clock.now(), limits(200)).await.unwrap() else {
            panic!("there is room")
        };
        let is_deferred = random.bool();
        let until = clock.wall().after(HOUR * random.u32(1..20));
        let outcome = |index| match is_deferred && index % 2 == 0 {
            true => Outcome::Deferred { until, reply: "450 later".into() },
            false => Outcome::Relayed { reply: "250 OK".into() },
        };
        let outcomes = claim.recipients.iter().map(|one| (one.index, outcome(one.index))).collect();
        let settlement = Settlement { reservation: claim.reservation, at: clock.wall(), outcomes };
        queue.settle(claim.id, settlement).await.unwrap();
        clock.advance(Duration::from_secs(random.u64(1..4_000)));
    }
    for _ in 0..random.usize(20..60) {
        let lane = Lane::ALL[random.usize(0..4)];
        let recipients =
            if random.u8(0..8) == 0 { random.usize(90..260) } else { random.usize(1..5) };
        let id = accept_of(&queue, clock.wall(), lane, recipients, random.u32(0..5)).await;
        if random.u8(0..6) == 0 {
            let at = clock.wall().after(Duration::from_secs(random.u64(0..60 * 3_600)));
            assert!(queue.schedule(id, at, &Only::default()).await.is_ok_and(|number| number > 0));
        }
        clock.advance(Duration::from_millis(random.u64(0..50)));
    }
    (queue, clock)
}

#[tokio::test]
async fn an_undisturbed_queue_is_foretold_to_the_minute_message_by_message() {
    for seed in 0..12 {
        let (queue, clock) = scene(seed).await;
        let limit = limits(40 + 30 * u32::try_from(seed).unwrap());
        let origin_limit = if seed % 3 == 0 { Limit::of(30) } else { Limit::NONE };
        let bulk_share = u32::try_from(seed % 4).unwrap() * 10;
        queue.set_fairness(Fairness { bulk_share, origin_limit, ..Fairness::default() });
        let (forecast, from) = (foretold(&queue, &clock, limit).await, clock.wall());
        let (left, departures) = worked_off(&queue, &clock, limit).await;
        assert_eq!(forecast.messages(), left.len(), "seed {seed}");
        for (id, (first, last)) in left {
            let expected = forecast.of(id).expect("it is foretold");
            let within = |expected: Timestamp, real: Timestamp| {
                expected.since(real).max(real.since(expected)) <= LOOK
            };
            assert!(
                within(expected.first, first) && within(expected.last, last),
                "seed {seed}, {id}: {expected:?}, left at {first} and {last}"
            );
        }
        for (number, hour) in forecast.hours(from, 24).into_iter().enumerate() {
            let begins = from.after(HOUR * u32::try_from(number).unwrap());
            let within = departures.iter().filter(|(at, _)| {
                *at >= begins.after(LOOK) && *at < begins.after(HOUR).before(LOOK)
            });
            let certain: u32 = within.map(|(_, recipients)| recipients).sum();
            assert!(hour.leaving >= certain, "seed {seed}, hour {number}: {hour:?}, {certain}");
            assert!(hour.spent <= limit.limit.recipients().unwrap(), "seed {seed}: {hour:?}");
        }
    }
}

#[tokio::test]
async fn what_is_left_of_a_message_that_a_worker_has_is_foretold_as_well() {
    let clock = ManualClock::new(START);
    let queue = Queue::in_memory(Arc::new(clock.clone()), u64::MAX);
    let id = accept(&queue, clock.wall(), Lane::Normal, 250).await;
    let claim = queue.claim_due(clock.now(), limits(1_000)).await.unwrap();
    assert!(matches!(claim, Claim::Message(claim) if claim.recipients.len() == 100));
    let forecast = foretold(&queue, &clock, limits(1_000)).await;
    assert_eq!((forecast.waiting(), forecast.of(id).is_some()), (150, true));
}

#[tokio::test]
async fn the_place_counts_the_messages_that_begin_before() {
    let clock = ManualClock::new(START);
    let queue = Queue::in_memory(Arc::new(clock.clone()), u64::MAX);
    let bulk = accept(&queue, clock.wall(), Lane::Bulk, 1).await;
    let first = accept(&queue, clock.wall(), Lane::Normal, 1).await;
    let second = accept(&queue, clock.wall(), Lane::Normal, 1).await;
    let urgent = accept(&queue, clock.wall(), Lane::Urgent, 1).await;
    let forecast = foretold(&queue, &clock, limits(15)).await;
    let places = [urgent, first, second, bulk].map(|id| forecast.of(id).unwrap().before);
    assert_eq!(places, [0, 1, 2, 3]);
    let hour = forecast.hours(clock.wall(), 25);
    assert_eq!(
        (hour[0].leaving, hour[0].spent, hour[0].waiting),
        (2, 2, 2),
        "of the reserve nothing"
    );
    assert_eq!((hour[24].leaving, hour[24].freed, hour[24].waiting), (2, 2, 0), "a day later");
    let begins = clock.wall().after(HOUR * 24);
    assert_eq!(
        serde_json::to_string(&hour[24]).unwrap(),
        format!(
            "{{\"begins\":{},\"leaving\":2,\"freed\":2,\"spent\":{},\"waiting\":0}}",
            begins.0, hour[24].spent
        ),
        "version 1 of the API"
    );
}

#[test]
fn nothing_leaves_before_the_end_of_a_pause_and_never_without_a_limit_above_zero() {
    let message = |number: u8| waiting(QueueId::from_bytes([number; 16]), Lane::Normal, START, 1);
    let terms = |starts: Timestamp, limit: u32| Terms {
        now: START,
        starts,
        paced: false,
        footing: Footing::default(),
        limits: limits(limit),
        pace_per_minute: 60,
    };
    let paused = Forecast::new(vec![vec![message(1)]], terms(START.after(HOUR), 100));
    assert_eq!(
        paused.of(QueueId::from_bytes([1; 16])).map(|one| one.first),
        Some(START.after(HOUR))
    );
    assert_eq!(Forecast::new(vec![vec![message(1)]], terms(START, 0)).messages(), 0);
    // A minute's worth at once, then one a second.
    let paced = Forecast::new(vec![(0..80).map(message).collect()], terms(START, 1_000));
    let last = paced.of(QueueId::from_bytes([79; 16])).map(|one| one.first.since(START).as_secs());
    assert!(last.is_some_and(|last| (18..=21).contains(&last)), "{last:?}");
}

fn waiting(id: QueueId, lane: Lane, due: Timestamp, recipients: u32) -> Waiting {
    Waiting {
        id,
        origin: OriginKey(7),
        lane,
        is_scheduled: false,
        by_due: true,
        due,
        limit: Limit::NONE,
        recipients,
        rare: None,
    }
}

/// Whatever leaves, in its order; `is_asked` has the play look at every message, also at those of which nothing but their
/// recipients counts.
fn played(
    waiting: &[Vec<Waiting>],
    terms: &Terms,
    is_asked: bool,
) -> Vec<(Position, Timestamp, u32)> {
    let mut play = Play::new(waiting.to_vec(), terms.clone());
    if is_asked {
        play.order = Order::standing_as(terms.footing.standings.clone());
        for (number, page) in (0..).zip(waiting) {
            for (place, message) in (0..).zip(page) {
                let seat = Seat { position: (number, place), plain: 0 };
                play.order.insert(message.turn(), seat, terms.now);
            }
        }
    }
    let mut left = Vec::new();
    loop {
        match play.step() {
            Step::Left(Left { position, at, recipients }) => left.push((position, at, recipients)),
            Step::Waited => {}
            Step::Over => return left,
        }
    }
}

#[test]
fn what_is_known_of_a_message_without_looking_at_it_changes_no_departure() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let has_limits = seed % 2 == 0;
        let mut message = |number: u8| {
            let due = START.after(Duration::from_secs(random.u64(0..90_000)));
            let later = if random.u8(0..5) == 0 { random.u32(1..9) } else { 0 };
            let at = due.after(Duration::from_secs(random.u64(1..50_000)));
            let rare = Rare { later: [(at, later)].into(), way: Way::default() };
            let origin = OriginKey(random.u64(0..9));
            let is_limited = has_limits && origin.0.is_multiple_of(3);
            Waiting {
                origin,
                is_scheduled: later == 0 && random.bool(),
                by_due: random.bool(),
                limit: if is_limited { Limit::of(20) } else { Limit::NONE },
                rare: (later > 0).then(|| Box::new(rare)),
                ..waiting(
                    QueueId::from_bytes([number; 16]),
                    Lane::ALL[random.usize(0..4)],
                    due,
                    random.u32(1..60),
                )
            }
        };
        let pages: Vec<Vec<Waiting>> =
            (0..8).map(|page| (page * 25..page * 25 + 25).map(&mut message).collect()).collect();
        let footing = Footing { bulk_share: random.u32(0..3) * 10, ..Footing::default() };
        let limits = ClaimLimits { recipients_max: random.u32(1..70), ..limits(150) };
        let now = START.after(HOUR * random.u32(0..20));
        let pace_per_minute = random.u32(0..2) * 30;
        let terms = Terms { now, starts: now, paced: false, footing, limits, pace_per_minute };
        let left = played(&pages, &terms, false);
        assert!(left.len() >= 200, "seed {seed}: {}", left.len());
        assert_eq!(left, played(&pages, &terms, true), "seed {seed}");
    }
}

/// What a page of a walk holds.
const PAGE: u32 = 1_000;

#[test]
fn a_hundred_thousand_messages_take_a_step_or_two_each_and_no_large_block_of_memory() {
    let lanes = [Lane::Urgent, Lane::Normal, Lane::Bulk];
    let message = |number: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let lane = lanes[number as usize % lanes.len()];
        let (id, due) =
            (QueueId::from_bytes(id), START.after(Duration::from_millis(number.into())));
        waiting(id, lane, due, 1 + number % 2)
    };
    let page = |page: u32| (page * PAGE..(page + 1) * PAGE).map(message).collect();
    let pages: Vec<Vec<Waiting>> = (0..100).map(page).collect();
    let now = START.after(HOUR);
    let terms = || Terms {
        now,
        starts: now,
        paced: false,
        footing: Footing::default(),
        limits: limits(475),
        pace_per_minute: 20,
    };
    let mut play = Play::new(pages.clone(), terms());
    let mut steps = 0_u32;
    while !matches!(play.step(), Step::Over) {
        steps += 1;
    }
    // A message that leaves in two parts has two, and each wait for the window is one.
    assert!(steps < 400_000, "{steps} steps");
    assert!(play.spent.len() <= 475);
    assert!(size_of::<Waiting>() <= 56 && size_of::<(QueueId, Expected)>() <= 40);

    let begun = Stopwatch::start();
    let forecast = Forecast::new(pages, terms());
    println!("{} ms for a forecast of 100,000 messages", begun.elapsed().as_millis());
    assert_eq!((forecast.messages(), forecast.waiting()), (100_000, 150_000));
    assert!(forecast.departures.len() < 1_000);
    assert!(forecast.expected.iter().all(|page| page.len() <= PAGE as usize));
    let place = |number| forecast.of(message(number).id).map(|expected| expected.before);
    assert_eq!([place(0), place(3), place(1)], [Some(0), Some(1), Some(33_334)]);
    assert_eq!(place(100_000), None);
}
