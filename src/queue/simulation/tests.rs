//! The simulation over histories that random numbers make: what no terms may change, and what each of them must.

use std::collections::HashMap;

use super::*;
use crate::{
    budget::{AccountKey, Event, Ledger, Limit},
    clock::{Clock as _, ManualClock},
    message::envelope::{Envelope, Lane},
    queue::{Claim, Outcome, Queue, Settlement, fixtures::envelope, storms},
};

const START: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
const DAYS: u32 = 6;
const ADMIN: &str = "admin@example.org";

fn terms(limit: impl Into<Limit>) -> Terms {
    let limits = ClaimLimits {
        account: AccountKey::MAIN,
        limit: limit.into(),
        notice_reserve: 0,
        urgent_reserve: 0,
        recipients_max: 100,
    };
    let storms = storms::Terms { after: 0, ..storms::Terms::default() };
    let storms = folding::Options { terms: storms, admin: ADMIN.parse().ok() };
    Terms { limits, pace_per_minute: 0, fairness: Fairness::default(), storms }
}

fn folding(after: u32) -> Terms {
    let mut terms = terms(1_000);
    terms.storms.terms.after = after;
    terms
}

/// A message that came at this time.
#[derive(Clone)]
struct Came {
    at: Timestamp,
    from: u32,
    lane: Lane,
    recipients: Vec<String>,
    subject: String,
}

impl Came {
    fn envelope(&self) -> Envelope {
        Envelope {
            reverse_path: format!("job{}@example.org", self.from).parse().ok(),
            forward_paths: self.recipients.iter().map(|one| one.parse().unwrap()).collect(),
            lane: self.lane,
            ..envelope(self.at)
        }
    }

    fn record(&self) -> MessageRecord {
        MessageRecord::new(&self.envelope(), 1, &self.subject)
    }
}

fn one(at: Timestamp, subject: &str) -> Came {
    let recipients = vec![ADMIN.to_owned()];
    Came { at, from: 1, lane: Lane::Normal, recipients, subject: subject.to_owned() }
}

/// Some days of mail of some programs, now and then much of it at once.
fn history(seed: u64, lanes: &[Lane]) -> Vec<Came> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut at, end) = (START, START.after(24 * HOUR * (DAYS - 1)));
    let mut came = Vec::new();
    while at < end {
        at = at.after(Duration::from_secs(random.u64(60..20_000)));
        let burst = if random.u8(0..6) == 0 { random.usize(5..60) } else { 1 };
        for number in 0..burst {
            at = at.after(Duration::from_millis(random.u64(1..9_000)));
            let recipients = if random.u8(0..9) == 0 { random.usize(2..150) } else { 1 };
            let address = |number| format!("r{number}@example.net");
            came.push(Came {
                at,
                from: random.u32(0..4),
                lane: lanes[random.usize(0..lanes.len())],
                recipients: (0..recipients).map(address).collect(),
                subject: format!("job {number} failed"),
            });
        }
    }
    came
}

/// Plays it through; how many of a message's recipients have left when.
fn play(terms: &Terms, came: &[Came]) -> Played {
    let mut simulation = Simulation::new(terms.clone());
    for (number, one) in (1_u128..).zip(came) {
        let id = QueueId::from_bytes(number.to_be_bytes());
        simulation.accept(id, one.record(), &Ruled::default());
    }
    simulation.play(START, START.after(24 * HOUR * DAYS), &[])
}

/// The hours that recipients have waited, added up; those that are still there have until the end.
fn waited(played: &Played, came: &[Came]) -> f64 {
    let mut left: HashMap<usize, u32> = HashMap::new();
    let (mut ms, end) = (0, START.after(24 * HOUR * DAYS));
    for Departure { whose, at, recipients } in &played.departures {
        let Whose::Message(number) = *whose else { continue };
        *left.entry(number).or_default() += recipients;
        ms += at.since(came[number].at).as_millis() * u128::from(*recipients);
    }
    for (number, one) in came.iter().enumerate() {
        let rest = one.recipients.len() - left.get(&number).copied().unwrap_or(0) as usize;
        ms += end.since(one.at).as_millis() * rest as u128;
    }
    Duration::from_millis(u64::try_from(ms).unwrap()).as_secs_f64() / 3_600.0
}

#[test]
fn no_24_hours_have_more_than_the_limit_and_no_lane_takes_the_reserve_of_another() {
    for seed in 0..12 {
        let came = history(seed, &Lane::ALL);
        let mut terms = terms(200);
        (terms.limits.notice_reserve, terms.limits.urgent_reserve) = (5, 20);
        terms.pace_per_minute = [0, 30][usize::from(seed % 2 == 1)];
        let (mut ledger, played) = (Ledger::default(), play(&terms, &came));
        for Departure { whose, at, recipients } in &played.departures {
            let Whose::Message(number) = *whose else { panic!("nothing is folded") };
            let (now, lane) = (moment(*at), came[number].lane);
            ledger.prune(now);
            let room = ledger.room(now, terms.limits.limit_of(lane));
            assert!(*recipients <= room, "seed {seed}: {recipients} of {room} at {at}");
            let event =
                Event { at: now, recipients: *recipients, origin: 0, account: AccountKey::MAIN };
            ledger.insert(ledger.next_sequence(), event);
        }
        let all: u32 = played.departures.iter().map(|one| one.recipients).sum();
        let most: usize = came.iter().map(|one| one.recipients.len()).sum();
        assert!(all as usize <= most && all > 300, "seed {seed}: {all} of {most}");
    }
}

/// Claims what can be claimed at this moment, and relays it at once. Returns when more can be.
async fn work_off(
    queue: &Queue,
    clock: &ManualClock,
    limits: ClaimLimits,
    ids: &HashMap<QueueId, usize>,
    left: &mut Vec<Departure>,
) -> Option<Timestamp> {
    loop {
        let claim = match queue.claim_due(clock.now(), limits).await.unwrap() {
            Claim::Message(claim) => claim,
            Claim::Idle { next } => return next,
            Claim::Exhausted { frees_in, .. } => {
                return frees_in.map(|wait| clock.wall().after(wait));
            }
        };
        let (at, recipients) = (clock.wall(), u32::try_from(claim.recipients.len()).unwrap());
        left.push(Departure { whose: Whose::Message(ids[&claim.id]), at, recipients });
        let relayed = || Outcome::Relayed { reply: "250 OK".into() };
        let outcomes = claim.recipients.iter().map(|one| (one.index, relayed())).collect();
        let settlement = Settlement { reservation: claim.reservation, at, outcomes };
        queue.settle(claim.id, settlement).await.unwrap();
    }
}

#[tokio::test]
async fn the_queue_itself_lets_each_message_leave_when_the_simulation_says() {
    for seed in 0..6 {
        let came = history(seed, &Lane::ALL);
        let mut terms = terms(150);
        // An origin that waits for its limit is looked for once a minute where a reserve has room, and not to the moment.
        if seed % 2 == 0 {
            (terms.limits.notice_reserve, terms.limits.urgent_reserve) = (5, 20);
        } else {
            terms.fairness.origin_limit = Limit::of(60);
        }
        let clock = ManualClock::new(START);
        let queue = Queue::in_memory(std::sync::Arc::new(clock.clone()), u64::MAX);
        queue.set_fairness(terms.fairness.clone());
        let (mut ids, mut left, mut next) = (HashMap::new(), Vec::new(), None);
        let end = START.after(24 * HOUR * DAYS);
        for number in 0..=came.len() {
            let until = came.get(number).map_or(end, |one| one.at);
            while let Some(at) = next.filter(|at: &Timestamp| *at <= until) {
                clock.advance(at.since(clock.wall()));
                next = work_off(&queue, &clock, terms.limits, &ids, &mut left).await;
            }
            clock.advance(until.since(clock.wall()));
            let Some(one) = came.get(number) else { continue };
            let mut draft = queue.begin(one.envelope()).unwrap();
            draft.write(b"Subject: x\r\n\r\nx\r\n").await.unwrap();
            ids.insert(queue.enqueue(draft).await.unwrap().id(), number);
            next = work_off(&queue, &clock, terms.limits, &ids, &mut left).await;
        }
        let played = play(&terms, &came).departures;
        assert!(left.len() > 100, "seed {seed}: {}", left.len());
        for (number, (real, simulated)) in left.iter().zip(&played).enumerate() {
            assert_eq!(real, simulated, "seed {seed}, departure {number}");
        }
        assert_eq!(left.len(), played.len(), "seed {seed}");
    }
}

#[test]
fn with_room_for_everything_nothing_waits() {
    for seed in 0..12 {
        let came = history(seed, &Lane::ALL);
        for limit in [Limit::NONE, Limit::of(1_000_000)] {
            let played = play(&terms(limit), &came);
            assert!(waited(&played, &came).abs() < f64::EPSILON, "seed {seed}");
            let all: u32 = played.departures.iter().map(|one| one.recipients).sum();
            assert_eq!(all as usize, came.iter().map(|one| one.recipients.len()).sum::<usize>());
        }
    }
}

#[test]
fn a_lower_limit_never_makes_less_wait() {
    for seed in 0..12 {
        let came = history(seed, &[Lane::Normal]);
        let hours = [1_000, 500, 300, 200, 120, 60, 1, 0].map(|limit| {
            let hours = waited(&play(&terms(limit), &came), &came);
            (limit, hours)
        });
        assert!(hours.is_sorted_by(|one, next| one.1 <= next.1), "seed {seed}: {hours:?}");
        assert!(hours[0].1 < hours[7].1);
    }
}

#[test]
fn a_lower_limit_of_an_origin_never_makes_less_of_it_wait_and_none_of_the_others() {
    for seed in 0..6 {
        let came = history(seed, &[Lane::Normal]);
        let hours = [Limit::NONE, Limit::of(200), Limit::of(50), Limit::of(3)].map(|limit| {
            let mut terms = terms(Limit::NONE);
            terms.fairness.origin_limit = limit;
            waited(&play(&terms, &came), &came)
        });
        assert!(hours[0].abs() < f64::EPSILON && hours.is_sorted(), "seed {seed}: {hours:?}");
    }
}

#[test]
fn what_was_spent_before_counts_until_its_24_hours_are_over() {
    let came = [one(START.after(HOUR), "a"), one(START.after(2 * HOUR), "b")];
    let mut simulation = Simulation::new(terms(10));
    for (number, one) in (1_u128..).zip(&came) {
        let id = QueueId::from_bytes(number.to_be_bytes());
        simulation.accept(id, one.record(), &Ruled::default());
    }
    let before = START.before(20 * HOUR);
    let spent = [(before, 10, OriginKey::default()), (START.before(30 * HOUR), 10, OriginKey(1))];
    let played = simulation.play(START, START.after(24 * HOUR), &spent);
    let at = before.after(WINDOW);
    let left = |number| Departure { whose: Whose::Message(number), at, recipients: 1 };
    assert_eq!(played.departures, [left(0), left(1)]);
}

#[test]
fn of_a_storm_the_first_ones_leave_and_summaries_tell_of_the_rest_as_the_relay_would() {
    let minute = Duration::from_secs(60);
    let ban = |number: u32| one(START.after(minute * number), &format!("banned 192.0.2.{number}"));
    let mut came: Vec<Came> = (0..45).map(ban).collect();
    came.insert(20, one(START.after(minute * 19), "disk is full"));
    let played = play(&folding(5), &came);
    let of = |whose: fn(&Whose) -> bool| {
        let of = played.departures.iter().filter(|one| whose(&one.whose));
        of.map(|one| one.at.since(START).as_secs() / 60).collect::<Vec<_>>()
    };
    // The alarm is of another kind.
    assert_eq!(of(|whose| matches!(whose, Whose::Message(_))), [0, 1, 2, 3, 4, 19]);
    // Ten and thirty minutes after the first folded one, and once it is over.
    assert_eq!(of(|whose| *whose == Whose::Summary), [15, 35, 54]);
    assert!(played.alone.is_empty());
    let without = play(&folding(0), &came);
    assert_eq!(without.departures.len(), came.len());
}

#[test]
fn what_is_folded_alone_leaves_as_it_is_when_its_summary_is_due() {
    let minute = Duration::from_secs(60);
    let came: Vec<Came> = (0..6).map(|number| one(START.after(minute * number), "same")).collect();
    let played = play(&folding(5), &came);
    assert_eq!(played.alone, [5]);
    let last = played.departures.last().unwrap();
    assert_eq!((last.whose, last.recipients), (Whose::Message(5), 1));
    assert!(last.at.since(came[5].at) >= minute * 10, "{last:?}");
}

#[test]
fn what_a_rule_holds_never_leaves_and_its_lane_and_its_limit_count() {
    let came: Vec<Came> = (0..3).map(|_| one(START, "x")).collect();
    let mut terms = terms(1);
    terms.fairness.by_rule.insert("few".to_owned(), Limit::of(0));
    let mut simulation = Simulation::new(terms);
    let rules = [(None, true), (Some("few"), false), (None, false)];
    let mut became = Vec::new();
    for ((number, one), (rule, hold)) in (1_u128..).zip(&came).zip(rules) {
        let id = QueueId::from_bytes(number.to_be_bytes());
        let ruled = Ruled { rule: rule.map(str::to_owned), hold, ..Ruled::default() };
        became.push(simulation.accept(id, one.record(), &ruled));
    }
    assert_eq!(became, [Becomes::IsHeld, Becomes::Waits, Becomes::Waits]);
    let played = simulation.play(START, START.after(24 * HOUR * DAYS), &[]);
    let left: Vec<Whose> = played.departures.iter().map(|one| one.whose).collect();
    assert_eq!(left, [Whose::Message(2)]);
}
