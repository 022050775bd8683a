//! The order of departure: strict between lanes, fair between origins, and the bound that it keeps for everybody.

use std::{collections::VecDeque, time::Duration};

use super::*;
use crate::clock::Stopwatch;

const START: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

fn id(number: u64) -> QueueId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    QueueId::from_bytes(bytes)
}

fn turn(number: u64, origin: u64, recipients: u32) -> Turn {
    Turn {
        lane: Lane::Normal,
        origin: OriginKey(origin),
        way: Way::default(),
        id: id(number),
        due: START.into(),
        place: START,
        recipients,
    }
}

/// An order in which these wait.
fn order(turns: impl IntoIterator<Item = Turn>) -> Order<()> {
    let mut order = Order::default();
    turns.into_iter().for_each(|turn| order.insert(turn, (), START));
    order
}

/// Takes what is next and serves it whole.
fn take(order: &mut Order<()>, recipients: u32, bulk_share: u32) -> Option<Place> {
    let Next::Due(place, ()) = order.next(AccountKey::MAIN, START, bulk_share) else { return None };
    order.served(AccountKey::MAIN, place, recipients, bulk_share);
    order.withdraw(place);
    Some(place)
}

fn numbers(order: &mut Order<()>) -> Vec<u64> {
    let of = |place: Place| u64::from_be_bytes(place.id.as_bytes()[..8].try_into().unwrap());
    std::iter::from_fn(|| take(order, 1, 0)).map(of).collect()
}

#[test]
fn lanes_are_strict_and_within_an_origin_acceptance_decides_whatever_was_tried_before() {
    let in_lane = |number, lane| Turn { lane, ..turn(number, 7, 1) };
    let retried = Turn { due: START.before(HOUR).into(), ..turn(5, 7, 1) };
    let mut order = order([
        in_lane(1, Lane::Bulk),
        retried,
        turn(4, 7, 1),
        turn(3, 7, 1),
        in_lane(6, Lane::Urgent),
        in_lane(2, Lane::Notice),
    ]);
    assert_eq!(numbers(&mut order), [2, 6, 3, 4, 5, 1]);
}

#[test]
fn an_origin_with_ten_thousand_messages_delays_the_single_one_of_another_by_one_turn_at_most() {
    let mut order = order((0..10_000).map(|number| turn(number, 1, 1)));
    for _ in 0..500 {
        take(&mut order, 1, 0);
    }
    order.insert(turn(20_000, 2, 1), (), START);
    let next: Vec<OriginKey> = (0..2).map(|_| take(&mut order, 1, 0).unwrap().origin).collect();
    assert!(next.contains(&OriginKey(2)), "{next:?}");
}

#[test]
fn a_message_to_a_hundred_counts_a_hundred() {
    let mut order = order((0..300).map(|number| turn(number, 1 + number % 2, 1)));
    let mut spent = [0_u32; 2];
    for _ in 0..200 {
        let Next::Due(place, ()) = order.next(AccountKey::MAIN, START, 0) else { break };
        // The first origin sends to a hundred each time.
        let recipients = if place.origin == OriginKey(1) { 100 } else { 1 };
        spent[usize::from(place.origin == OriginKey(2))] += recipients;
        order.served(AccountKey::MAIN, place, recipients, 0);
        order.withdraw(place);
        if spent[1] == 150 {
            break;
        }
    }
    assert!(spent[0] <= 200, "{spent:?}");
}

#[test]
fn whoever_comes_under_ever_new_names_starves_nobody() {
    let mut order = order((0..50).map(|number| turn(number, 1, 1)));
    // Who has sent to fifty sits out fifty rounds, and every turn brings another origin.
    let first = take(&mut order, 50, 0).unwrap();
    assert_eq!(first.origin, OriginKey(1));
    let comes_again = (1_000..).find(|number| {
        order.insert(turn(*number, *number, 1), (), START);
        take(&mut order, 1, 0).unwrap().origin == OriginKey(1)
    });
    assert!(comes_again.is_some_and(|number| number <= 1_060), "{comes_again:?}");
}

/// Random mail of random origins: of nobody whose first message waits goes any other origin twice before it.
#[test]
fn nobody_waits_for_two_turns_of_another_origin_whatever_comes() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut order: Order<()> = Order::default();
        // What each origin has waiting, when it began to wait, and the turns of others since.
        let mut waiting: HashMap<u64, VecDeque<Turn>> = HashMap::new();
        let mut since: HashMap<u64, HashMap<u64, u32>> = HashMap::new();
        let mut debts: HashMap<u64, u64> = HashMap::new();
        let (mut round, mut number) = (0_u64, 0);
        for _ in 0..3_000 {
            if random.u8(0..5) < 2 {
                let origin = if random.bool() { 1 } else { random.u64(1..30) };
                let own = waiting.entry(origin).or_default();
                number += 1;
                let turn = turn(number, origin, 1);
                if own.is_empty() && debts.get(&origin).is_none_or(|debt| *debt <= round + 1) {
                    since.insert(origin, HashMap::new());
                }
                own.push_back(turn);
                order.insert(turn, (), START);
                continue;
            }
            let recipients = if random.u8(0..10) == 0 { random.u32(1..40) } else { 1 };
            let Some(place) = take(&mut order, recipients, 0) else {
                assert!(waiting.values().all(VecDeque::is_empty), "seed {seed}: work is left");
                debts.clear();
                continue;
            };
            let own = waiting.get_mut(&place.origin.0).unwrap();
            assert_eq!(own.pop_front().map(|turn| turn.id), Some(place.id), "seed {seed}");
            round =
                round.max(order.lanes[super::number(place.lane)].rounds[&AccountKey::MAIN].round);
            debts.insert(place.origin.0, round + u64::from(recipients));
            since.remove(&place.origin.0);
            for turns in since.values_mut() {
                let turns = turns.entry(place.origin.0).or_insert(0);
                *turns += 1;
                assert!(*turns <= 1, "seed {seed}: origin {:?} twice", place.origin);
            }
        }
    }
}

#[test]
fn two_origins_that_always_wait_spend_the_same_but_for_one_message() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut order = order((0..4_000).map(|number| turn(number, number % 4, 1)));
    let mut spent = [0_u64; 4];
    for _ in 0..400 {
        let Next::Due(place, ()) = order.next(AccountKey::MAIN, START, 0) else {
            panic!("they wait")
        };
        let recipients = if random.bool() { 1 } else { random.u32(1..=100) };
        spent[usize::try_from(place.origin.0).unwrap()] += u64::from(recipients);
        order.served(AccountKey::MAIN, place, recipients, 0);
        order.withdraw(place);
        let (least, most) = (spent.iter().min().unwrap(), spent.iter().max().unwrap());
        assert!(most - least <= 100, "{spent:?}");
    }
}

#[test]
fn bulk_mail_has_its_share_of_what_both_send_and_no_more_and_none_by_default() {
    let bulk = |number| Turn { lane: Lane::Bulk, ..turn(number, 9, 1) };
    let shares = |bulk_share: u32| {
        let mut order = order((0..2_000).map(|number| turn(number, 1, 1)));
        (2_000..3_000).for_each(|number| order.insert(bulk(number), (), START));
        let mut of_bulk = 0;
        for taken in 1..=1_000_u32 {
            let place = take(&mut order, 1, bulk_share).unwrap();
            of_bulk += u32::from(place.lane == Lane::Bulk);
            assert!(of_bulk * 100 <= taken * bulk_share, "it never has more than its share");
        }
        of_bulk
    };
    assert_eq!([0, 5, 20, 50].map(shares), [0, 50, 200, 500]);
}

#[test]
fn a_large_bulk_message_waits_until_its_share_is_saved_up() {
    let mut order = order((0..5_000).map(|number| turn(number, 1, 1)));
    order.insert(Turn { lane: Lane::Bulk, ..turn(9_000, 9, 100) }, (), START);
    let before = (0..).take_while(|_| take(&mut order, 1, 5).unwrap().lane == Lane::Normal).count();
    assert_eq!(before, 1_900, "a hundred are five of a hundred of two thousand");
}

#[test]
fn an_origin_at_its_limit_keeps_nobody_waiting_and_comes_back_in_time() {
    let mut order = order([turn(1, 1, 1), turn(2, 1, 1), turn(3, 2, 1)]);
    let Next::Due(place, ()) = order.next(AccountKey::MAIN, START, 0) else { panic!("it waits") };
    order.block(place, START.after(HOUR));
    assert_eq!(numbers(&mut order), [3]);
    assert_eq!(order.next(AccountKey::MAIN, START, 0), Next::Later(Some(START.after(HOUR))));
    order.insert(turn(4, 1, 1), (), START);
    assert_eq!(numbers(&mut order), [0; 0], "what comes of it waits as well");
    assert!(
        matches!(order.next(AccountKey::MAIN, START.after(HOUR), 0), Next::Due(place, ()) if place.id == id(1))
    );
    assert_eq!(numbers(&mut order), [1, 2, 4]);
}

#[test]
fn room_that_comes_back_and_new_limits_end_the_wait_of_an_origin() {
    for end in [Order::unblock_all, |order: &mut Order<()>| order.unblock(OriginKey(1))] {
        let mut order = order([turn(1, 1, 1)]);
        let Next::Due(place, ()) = order.next(AccountKey::MAIN, START, 0) else {
            panic!("it waits")
        };
        order.block(place, START.after(HOUR));
        assert_eq!(numbers(&mut order), [0; 0]);
        end(&mut order);
        assert_eq!(numbers(&mut order), [1]);
    }
}

#[test]
fn what_is_due_later_waits_and_a_step_of_the_clock_moves_it_but_for_what_a_person_has_set() {
    let at = |number: u64, is_scheduled| Turn {
        due: Due { at: START.after(HOUR), is_scheduled },
        ..turn(number, number, 1)
    };
    let mut order = order([at(1, false), at(2, true)]);
    assert_eq!(order.next(AccountKey::MAIN, START, 0), Next::Later(Some(START.after(HOUR))));
    order.moved(2 * 3_600_000);
    assert!(
        matches!(order.next(AccountKey::MAIN, START.after(HOUR), 0), Next::Due(place, ()) if place.id == id(2))
    );
    order.remove(&at(2, true));
    assert_eq!(
        order.next(AccountKey::MAIN, START.after(HOUR), 0),
        Next::Later(Some(START.after(3 * HOUR)))
    );
    order.remove(&Turn { due: START.after(3 * HOUR).into(), ..at(1, false) });
    assert_eq!(order.next(AccountKey::MAIN, START.after(9 * HOUR), 0), Next::Later(None));
}

#[test]
fn a_due_time_of_a_clock_that_was_wrong_counts_as_due() {
    let wrong = Turn { due: START.after(48 * HOUR).into(), ..turn(1, 1, 1) };
    assert_eq!(numbers(&mut order([wrong])), [1]);
    let mut order = order([Turn { due: START.after(20 * HOUR).into(), ..turn(1, 1, 1) }]);
    assert_eq!(numbers(&mut order), [0; 0]);
    // The clock was right only for a moment.
    assert!(matches!(order.next(AccountKey::MAIN, START.before(20 * HOUR), 0), Next::Due(..)));
}

#[test]
fn at_a_start_acceptance_decides_and_who_has_cost_others_time_is_behind_what_waited_then() {
    let after = |millis| START.after(Duration::from_millis(millis));
    let at = |number, origin, millis| Turn { place: after(millis), ..turn(number, origin, 1) };
    // The first one of all has been tried, and was due again before the third was accepted.
    let turns = vec![at(3, 1, 3_000), at(1, 3, 2_500), at(2, 2, 2_000), at(4, 1, 3_500)];
    let mut begun = Order::default();
    begun.begin(turns, (), START);
    assert_eq!(numbers(&mut begun), [2, 1, 3, 4]);
    assert_eq!(
        numbers(&mut order([at(1, 1, 2_500), at(2, 1, 2_000)])),
        [2, 1],
        "nor of its origin"
    );
}

#[test]
fn an_order_that_is_resumed_goes_on_as_the_first_would_have() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let turns: Vec<Turn> =
            (0..200).map(|number| turn(number, random.u64(0..20), random.u32(1..9))).collect();
        let mut first = order(turns.iter().copied());
        let mut left: BTreeMap<QueueId, Turn> = turns.iter().map(|turn| (turn.id, *turn)).collect();
        for _ in 0..random.usize(0..150) {
            left.remove(&take(&mut first, random.u32(1..9), 5).unwrap().id);
        }
        let mut second = Order::standing_as(first.standings());
        left.values().for_each(|turn| second.insert(*turn, (), START));
        assert_eq!(numbers(&mut second), numbers(&mut first), "seed {seed}");
    }
}

#[test]
fn debts_are_bounded_and_forgotten_when_nobody_waits() {
    let mut order = order([turn(0, 0, 1)]);
    let many = u64::try_from(DEBTS_MAX).unwrap() + 5_000;
    for number in 1..many {
        order.insert(turn(number, number, 50), (), START);
        let at = turn(number, number, 50).stands();
        order.served(AccountKey::MAIN, at, 50, 0);
        order.withdraw(at);
        assert!(order.lanes[super::number(Lane::Normal)].origins.len() <= DEBTS_MAX + 2);
    }
    numbers(&mut order);
    assert!(order.lanes[number(Lane::Normal)].origins.is_empty());
}

/// Octets of this process that are in memory.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

/// Prints what docs/internals/lanes-and-notices.md says of it.
#[test]
fn a_decision_among_a_hundred_thousand_messages_of_a_thousand_origins_takes_less_than_a_millisecond()
 {
    const MESSAGES: u64 = 100_000;
    const DECISIONS: u32 = 20_000;
    let (before, mut order) = (resident_bytes(), Order::default());
    for number in 0..MESSAGES {
        order.insert(turn(number, number % 1_000, 1), (), START);
    }
    let bytes = resident_bytes().saturating_sub(before) / MESSAGES;
    let begun = Stopwatch::start();
    for _ in 0..DECISIONS {
        take(&mut order, 1, 5).unwrap();
    }
    let each = begun.elapsed() / DECISIONS;
    println!("{} ns for each decision, {bytes} octets for each message", each.as_nanos());
    assert!(each < Duration::from_millis(1), "{each:?}");
}

#[test]
fn who_owes_rounds_owes_them_also_when_limit_and_mail_are_back_in_the_same_moment() {
    let until = START.after(HOUR);
    let mut order = order([turn(1, 1, 50), turn(2, 1, 1)]);
    assert_eq!(take(&mut order, 50, 0).map(|place| place.id), Some(id(1)));
    let Next::Due(place, ()) = order.next(AccountKey::MAIN, START, 0) else {
        panic!("nobody else waits")
    };
    order.block(place, until);
    order.withdraw(place);
    order.insert(Turn { due: until.into(), place: until, ..turn(2, 1, 1) }, (), START);
    for number in 3..6 {
        order.insert(turn(number, 2, 1), (), START);
    }
    let mut left = Vec::new();
    while let Next::Due(place, ()) = order.next(AccountKey::MAIN, until, 0) {
        order.served(AccountKey::MAIN, place, 1, 0);
        order.withdraw(place);
        left.push(place.id);
    }
    assert_eq!(left, [3, 4, 5, 2].map(id));
}
