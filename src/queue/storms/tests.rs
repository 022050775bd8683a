//! Storms over a clock that is advanced: what leaves, what is folded, and that each folded message is told of once.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::clock::{Clock as _, ManualClock};

const MINUTE: Duration = Duration::from_secs(60);

fn clock() -> ManualClock {
    ManualClock::new(Timestamp(1_800_000_000_000))
}

fn kind(number: u8) -> Kind {
    Kind([number; 16])
}

/// Ids in the order of arrival.
struct Ids(u8, u64);

impl Ids {
    fn next(&mut self, clock: &ManualClock) -> QueueId {
        self.1 += 1;
        let mut bytes = [0; 16];
        let millis = u64::try_from(clock.wall().0).unwrap().to_be_bytes();
        bytes[..6].copy_from_slice(&millis[2..]);
        bytes[8..].copy_from_slice(&self.1.to_be_bytes());
        bytes[6] = self.0;
        QueueId::from_bytes(bytes)
    }
}

/// One after the other, this far apart; those that were folded.
fn arrive(
    storms: &mut Storms,
    clock: &ManualClock,
    ids: &mut Ids,
    (number, apart): (u32, Duration),
) -> Vec<QueueId> {
    let mut folded = Vec::new();
    for _ in 0..number {
        let id = ids.next(clock);
        if let Decision::Folds(_) = storms.decide(kind(1), id, clock.now(), &Terms::default()) {
            folded.push(id);
        }
        clock.advance(apart);
    }
    folded
}

#[test]
fn the_sixth_alike_within_ten_minutes_is_the_first_that_is_folded() {
    let (mut storms, clock, mut ids) = (Storms::default(), clock(), Ids(0, 0));
    let folded = arrive(&mut storms, &clock, &mut ids, (7, MINUTE));
    assert_eq!(folded.len(), 2);
    let calm = arrive(&mut Storms::default(), &clock, &mut ids, (50, MINUTE * 2 + MINUTE / 4));
    assert!(calm.is_empty(), "five in ten minutes are no storm");
    let id = ids.next(&clock);
    let other = storms.decide(kind(2), id, clock.now(), &Terms::default());
    assert_eq!(other, Decision::Leaves, "another shape, in the middle of it");
}

#[test]
fn zero_turns_it_off() {
    let (mut storms, clock, mut ids) = (Storms::default(), clock(), Ids(0, 0));
    let terms = Terms { after: 0, ..Terms::default() };
    for _ in 0..100 {
        let id = ids.next(&clock);
        assert_eq!(storms.decide(kind(1), id, clock.now(), &terms), Decision::Leaves);
    }
    assert!(storms.kinds.is_empty());
}

#[test]
fn summaries_are_due_after_10_minutes_30_minutes_2_hours_6_hours_whatever_arrives() {
    let (mut storms, clock, mut ids) = (Storms::default(), clock(), Ids(0, 0));
    let terms = Terms::default();
    arrive(&mut storms, &clock, &mut ids, (5, Duration::ZERO));
    let (mut told, start) = (Vec::new(), clock.wall());
    for _ in 0..24 * 60 {
        arrive(&mut storms, &clock, &mut ids, (1, Duration::ZERO));
        for due in storms.due(clock.now(), &terms) {
            assert!(!due.is_over);
            told.push(clock.wall().since(start).as_secs() / 60);
            storms.told(due, clock.now(), &terms);
        }
        clock.advance(MINUTE);
    }
    assert_eq!(told, [10, 30, 120, 360, 600, 840, 1_080, 1_320]);
}

#[test]
fn a_storm_is_over_when_none_has_come_for_ten_minutes_and_the_next_leave_again() {
    let (mut storms, clock, mut ids) = (Storms::default(), clock(), Ids(0, 0));
    let terms = Terms::default();
    let folded = arrive(&mut storms, &clock, &mut ids, (8, Duration::ZERO));
    let next = clock.wall().after(MINUTE * 10);
    assert_eq!(storms.summary_at(folded[0], clock.now(), &terms), Some(next));
    clock.advance(MINUTE * 9);
    assert!(storms.due(clock.now(), &terms).is_empty());
    clock.advance(MINUTE);
    let [due] = storms.due(clock.now(), &terms)[..] else { panic!("one is due") };
    assert_eq!(due, DueStorm { id: folded[0], is_over: true, folded: 3 });
    storms.told(due, clock.now(), &terms);
    assert_eq!(storms.summary_at(folded[0], clock.now(), &terms), None, "nothing is to be told");
    assert_eq!(arrive(&mut storms, &clock, &mut ids, (5, Duration::ZERO)).len(), 0);
    assert!(storms.knows(folded[0]), "until somebody has looked whether nothing is left");
    storms.forget(folded[0]);
    let again = arrive(&mut storms, &clock, &mut ids, (1, Duration::ZERO));
    assert_eq!(again.len(), 1, "a storm of its own");
    assert!(storms.knows(again[0]) && !storms.knows(folded[0]));
}

#[test]
fn a_start_finds_the_storms_again_by_what_is_folded() {
    let (clock, mut ids) = (clock(), Ids(0, 0));
    let (mut before, terms) = (Storms::default(), Terms::default());
    let folded = arrive(&mut before, &clock, &mut ids, (15, MINUTE));
    let mut storms = Storms::default();
    for id in &folded {
        let told = (id < &folded[3]).then(|| clock.wall());
        let message = FoundFolded { storm: folded[0], kind: kind(1), at: id.time(), told };
        storms.found(&message, clock.now(), &terms);
    }
    let next = ids.next(&clock);
    let decision = storms.decide(kind(1), next, clock.now(), &terms);
    assert_eq!(decision, Decision::Folds(folded[0]), "it goes on");
    assert_eq!(storms.due(clock.now(), &terms).len(), 1, "ten minutes are over");
    let (at, told) = (folded[0].time(), Some(clock.wall()));
    let told = FoundFolded { storm: next, kind: kind(2), at, told };
    clock.advance(MINUTE * 10);
    storms.found(&told, clock.now(), &terms);
    assert!(!storms.knows(next), "told and over");
}

#[test]
fn a_clock_that_is_set_neither_ends_a_storm_nor_begins_one() {
    for hours in [-48_i64, 48] {
        let (mut storms, clock, mut ids) = (Storms::default(), clock(), Ids(0, 0));
        arrive(&mut storms, &clock, &mut ids, (4, Duration::ZERO));
        clock.set_wall(clock.wall().moved(hours * 3_600_000));
        let folded = arrive(&mut storms, &clock, &mut ids, (2, Duration::ZERO));
        assert_eq!(folded.len(), 1, "{hours}");
        clock.set_wall(clock.wall().moved(-hours * 3_600_000));
        assert!(storms.due(clock.now(), &Terms::default()).is_empty(), "{hours}");
    }
}

#[test]
fn the_kinds_are_bounded_and_those_with_folded_mail_stay() {
    let (clock, mut ids) = (clock(), Ids(0, 0));
    let mut storms = Storms { kinds_max: 10, ..Storms::default() };
    let terms = Terms { after: 1, ..Terms::default() };
    let mut decide = |storms: &mut Storms, number: u8| {
        let id = ids.next(&clock);
        clock.advance(Duration::from_millis(1));
        storms.decide(kind(number), id, clock.now(), &terms)
    };
    for number in 0..5 {
        decide(&mut storms, number);
        assert!(matches!(decide(&mut storms, number), Decision::Folds(_)));
    }
    for number in 10..100 {
        assert_eq!(decide(&mut storms, number), Decision::Leaves);
        assert!(storms.kinds.len() <= 10);
    }
    assert!(matches!(decide(&mut storms, 0), Decision::Folds(_)), "the storm was not forgotten");
    for number in 95..100 {
        assert!(matches!(decide(&mut storms, number), Decision::Folds(_)), "seen last");
    }
    assert_eq!(decide(&mut storms, 200), Decision::LeavesUnknown, "full, and that is said");
    assert_eq!((storms.kinds.len(), storms.storms.len()), (10, 10));
}

#[test]
fn under_random_traffic_everything_leaves_or_is_told_of_once() {
    let seed = std::env::var("PILLARBOX_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("PILLARBOX_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..40 {
        let (clock, mut ids) = (clock(), Ids(0, 0));
        let mut storms = Storms { kinds_max: 20, ..Storms::default() };
        let terms = Terms { after: random.u32(1..8), ..Terms::default() };
        // What is on disk: folded messages by storm.
        let mut untold = Untold::new();
        let (mut accepted, mut ended) = (0, BTreeSet::new());
        for _ in 0..3_000 {
            match random.u32(0..100) {
                0 => clock.advance(MINUTE * random.u32(1..90)),
                1 => {
                    storms = Storms { kinds_max: 20, ..Storms::default() };
                    for (storm, messages) in &untold {
                        for (kind, id) in messages {
                            let (storm, at) = (*storm, id.time());
                            let found = FoundFolded { storm, kind: *kind, at, told: None };
                            storms.found(&found, clock.now(), &terms);
                        }
                    }
                }
                2..90 => {
                    let (kind, id) = (kind(random.u8(0..30)), ids.next(&clock));
                    accepted += 1;
                    match storms.decide(kind, id, clock.now(), &terms) {
                        Decision::Folds(storm) => untold.entry(storm).or_default().push((kind, id)),
                        _ => assert!(ended.insert(id), "it leaves once"),
                    }
                    assert!(storms.kinds.len() <= 20 && storms.storms.len() <= 40);
                }
                _ => clock.advance(Duration::from_secs(random.u64(1..120))),
            }
            tell(&mut storms, &clock, &terms, (&mut untold, &mut ended));
        }
        clock.advance(terms.window);
        tell(&mut storms, &clock, &terms, (&mut untold, &mut ended));
        assert!(untold.is_empty(), "{untold:?}");
        assert_eq!(ended.len(), accepted);
    }
}

/// Folded messages of which nobody was told, by storm.
type Untold = BTreeMap<QueueId, Vec<(Kind, QueueId)>>;

/// What the task does: what is untold of each due storm is told of.
fn tell(
    storms: &mut Storms,
    clock: &ManualClock,
    terms: &Terms,
    (untold, ended): (&mut Untold, &mut BTreeSet<QueueId>),
) {
    for due in storms.due(clock.now(), terms) {
        for (_, id) in untold.remove(&due.id).unwrap_or_default() {
            assert!(ended.insert(id), "it is told of once, and has not left");
        }
        storms.told(due, clock.now(), terms);
        if due.is_over {
            storms.forget(due.id);
        }
    }
}
