//! The judgement of every combination of obstacles: one reason, one time, and no "now" while something stands in the way.

use super::*;
use crate::queue::{fixtures::envelope, schedule::Schedule};

const NOW: Timestamp = Timestamp(1_000_000);
const PAST: Timestamp = Timestamp(999_000);
const SOON: Timestamp = Timestamp(1_060_000);
const LATER: Timestamp = Timestamp(4_600_000);
const TOMORROW: Timestamp = Timestamp(87_400_000);

fn account(condition: AccountCondition, until: Option<Timestamp>) -> AccountState {
    AccountState { condition, until, ..AccountState::open(PAST) }
}

fn clear() -> Situation {
    let room = Room { recipients: 10, frees_at: Some(NOW) };
    Situation {
        now: NOW,
        stopping: false,
        store_failure: None,
        name: None,
        account: AccountState::open(PAST),
        is_shared: false,
        probing: false,
        rooms: Rooms { notices: room, urgent: room, others: room },
        brake: None,
        limited: Limited::new(),
        forecast: Arc::default(),
        due_recipients: 1,
    }
}

/// Every obstacle with its end: `None` for one that does not stand in the way, `Some(None)` for one without an end.
type End = Option<Option<Timestamp>>;

fn accounts() -> Vec<(AccountState, End)> {
    let mut all = vec![(AccountState::open(PAST), None)];
    for condition in AccountCondition::ALL.into_iter().skip(1) {
        for (until, end) in [
            (Some(PAST), None),
            (Some(SOON), Some(Some(SOON))),
            (Some(TOMORROW), Some(Some(TOMORROW))),
            (None, Some(None)),
        ] {
            all.push((account(condition, until), end));
        }
    }
    all
}

fn pauses() -> Vec<(Option<Pause>, End)> {
    let pause = |until| Some(Pause::new(PAST, until, "new server."));
    vec![
        (None, None),
        (pause(Some(PAST)), None),
        (pause(Some(SOON)), Some(Some(SOON))),
        (pause(Some(TOMORROW)), Some(Some(TOMORROW))),
        (pause(None), Some(None)),
    ]
}

fn rooms() -> Vec<(Room, End)> {
    vec![
        (Room { recipients: 10, frees_at: Some(NOW) }, None),
        // Such as the end of a day that the upstream called full: one recipient is tried.
        (Room { recipients: 0, frees_at: Some(PAST) }, None),
        (Room { recipients: 0, frees_at: Some(LATER) }, Some(Some(LATER))),
        (Room { recipients: 0, frees_at: Some(TOMORROW) }, Some(Some(TOMORROW))),
        (Room { recipients: 0, frees_at: None }, Some(None)),
    ]
}

fn dues() -> Vec<Due> {
    let scheduled = [PAST, LATER].map(|at| Due { at, is_scheduled: true });
    [PAST, NOW, SOON, TOMORROW].map(Due::from).into_iter().chain(scheduled).collect()
}

fn why_due(due: Due) -> Because {
    if due.is_scheduled { Because::Scheduled } else { Because::Due }
}

fn brakes() -> Vec<(Option<Brake>, End)> {
    let mut all = vec![(None, None)];
    for because in [Because::Pace, Because::Logins, Because::Connections, Because::Store] {
        for (until, end) in [(PAST, None), (SOON, Some(Some(SOON))), (LATER, Some(Some(LATER)))] {
            all.push((Some(Brake { until, because }), end));
        }
    }
    all
}

/// Every combination, with the ends of its obstacles in the order of gravity.
fn every_combination(mut check: impl FnMut(&Situation, Lane, Due, [(Because, End); 7])) {
    let pauses = pauses();
    let of_upstream = accounts();
    let both = pauses.iter().flat_map(|pause| of_upstream.iter().map(move |known| (pause, known)));
    for ((pause, of_pause), (account, of_account)) in both {
        let account = AccountState { pause: pause.clone(), ..account.clone() };
        for (room, of_room) in rooms() {
            for (brake, of_brake) in brakes() {
                for due in dues() {
                    for flags in 0..8_u8 {
                        let situation = Situation {
                            stopping: flags & 1 != 0,
                            store_failure: (flags & 2 != 0).then(|| "input/output error".into()),
                            probing: flags & 4 != 0,
                            account: account.clone(),
                            rooms: Rooms { others: room, ..clear().rooms },
                            brake,
                            ..clear()
                        };
                        let endless = |holds: bool| holds.then_some(None);
                        let ends = [
                            (Because::Stopping, endless(situation.stopping)),
                            (Because::Store, endless(situation.store_failure.is_some())),
                            (Because::Paused, *of_pause),
                            (Because::Account, *of_account),
                            (Because::Budget, of_room),
                            (brake.map_or(Because::Pace, |brake| brake.because), of_brake),
                            (why_due(due), (due.at > NOW).then_some(Some(due.at))),
                        ];
                        check(&situation, Lane::Normal, due, ends);
                    }
                }
            }
        }
    }
}

#[test]
fn of_all_obstacles_the_one_that_ends_last_is_named_with_its_end() {
    let mut seen = 0_u32;
    every_combination(|situation, lane, due, ends| {
        seen += 1;
        let found = situation.departure(lane, due);
        let standing: Vec<_> = ends.iter().filter_map(|(why, end)| Some((*why, (*end)?))).collect();
        let context = format!("{situation:?} due {due:?}: {found:?}");
        if let Some((why, _)) = standing.iter().find(|(_, end)| end.is_none()) {
            assert_eq!(found.because, *why, "{context}");
            assert!(found.at.is_none() || found.because == Because::Store, "{context}");
            return;
        }
        let Some(last) = standing.iter().filter_map(|(_, end)| *end).max() else {
            let why = if situation.probing { Because::Probe } else { Because::Now };
            let room = situation.rooms.others.recipients;
            let expected = if why == Because::Now && room == 0 { Because::Turn } else { why };
            assert_eq!((found.at, found.because), (Some(NOW), expected), "{context}");
            return;
        };
        assert_eq!(found.at, Some(last), "{context}");
        let first = standing.iter().find(|(_, end)| *end == Some(last)).map(|(why, _)| *why);
        assert_eq!(Some(found.because), first, "{context}");
    });
    assert_eq!(seen, 5 * 21 * 5 * 13 * 6 * 8);
}

#[test]
fn no_sentence_says_now_and_no_probe_says_clear_while_an_obstacle_stands() {
    every_combination(|situation, lane, due, ends| {
        let found = situation.departure(lane, due);
        let stands = ends.iter().any(|(_, end)| end.is_some());
        let words = found.sentence(|at| format!("<{}>", at.0));
        assert_eq!(words.contains(" now"), !stands && !situation.probing, "{words}: {situation:?}");
        assert!(words.ends_with('.') && !words.contains(".."), "{words}");
        if let Some(at) = found.at.filter(|_| stands) {
            assert!(words.contains(&format!("<{}>", at.0)), "{words}");
        }
        let grave = matches!(
            found.because,
            Because::Paused | Because::Account | Because::Budget | Because::Store
        );
        assert!(!grave || found.is_obstructed(), "{words}");
        assert_eq!(found.because.short() == "now", found.because == Because::Now, "{words}");
    });
}

#[test]
fn each_lane_waits_for_its_own_part_of_the_budget() {
    let spent = Room { recipients: 0, frees_at: Some(TOMORROW) };
    let rooms = Rooms { others: spent, ..clear().rooms };
    let situation = Situation { rooms, ..clear() };
    let of = |lane| situation.departure(lane, PAST).because;
    assert_eq!(
        [Lane::Notice, Lane::Urgent, Lane::Normal, Lane::Bulk].map(of),
        [Because::Now, Because::Now, Because::Budget, Because::Budget]
    );
    let first =
        situation.first_departure([(Lane::Normal, PAST.into()), (Lane::Urgent, SOON.into())]);
    assert_eq!((first.at, first.because), (Some(SOON), Because::Due));
    assert_eq!(situation.first_departure([]).because, Because::Empty);
}

#[test]
fn the_recipient_that_leaves_first_speaks_for_its_message_and_a_held_one_for_nobody_else() {
    let queued = |due| RecipientState::Queued { due, resend: false };
    let held = RecipientState::Held { since: PAST, reason: "two lost answers".into() };
    let reserved = RecipientState::Reserved { reservation: 1, since: PAST, resend: false };
    let dead = RecipientState::Dead { since: PAST, reason: "550".into() };
    let relayed = RecipientState::Relayed { at: PAST };
    let mut record = MessageRecord::new(&envelope(PAST), 1, "");
    let of = |states: &[&RecipientState]| {
        clear().departure_of(&record, states.iter().copied()).map(|found| (found.at, found.because))
    };
    assert_eq!(of(&[&dead, &relayed]), None);
    assert_eq!(of(&[&held, &dead]), Some((None, Because::Held)));
    assert_eq!(of(&[&held, &queued(LATER), &queued(SOON)]), Some((Some(SOON), Because::Due)));
    assert_eq!(of(&[&queued(SOON), &reserved]), Some((Some(NOW), Because::InFlight)));
    let paused = Situation { account: account(AccountCondition::PausedLogin, None), ..clear() };
    let found = paused.departure_of(&record, [&held, &queued(PAST)]);
    assert_eq!(found.map(|found| found.because), Some(Because::Account));
    record.schedule = Some(Schedule::new(LATER));
    let found = clear().departure_of(&record, [&held, &queued(SOON)]);
    let found = found.map(|found| (found.at, found.because));
    assert_eq!(found, Some((Some(LATER), Because::Scheduled)));
}

#[test]
fn more_recipients_than_the_budget_has_room_for_leave_in_their_turn() {
    let situation = Situation { due_recipients: 306, ..clear() };
    let found = situation.departure(Lane::Normal, PAST);
    assert_eq!(found.because, Because::Turn);
    assert_eq!(found.why, "306 recipients are due, and the 24 h budget has room for 10");
}

#[test]
fn mail_of_an_origin_at_its_limit_waits_for_that_and_says_so_also_when_nothing_else_is_due() {
    let until = NOW.after(Duration::from_secs(3_600));
    let origin =
        LimitedOrigin { words: "local, from <a@b.example>".into(), limit: 3.into(), until };
    let limited = Limited::from([(OriginKey(7), origin)]);
    let situation = Situation { limited, ..clear() };
    let departure = situation.first_departure([(Lane::Normal, until.into())]);
    assert_eq!((departure.at, departure.because), (Some(until), Because::Origin));
    let sentence = departure.sentence(|_| "12:00".into());
    assert_eq!(sentence, "Mail leaves again at 12:00: the limit of its origin is used up.");
    let due = situation.first_departure([(Lane::Normal, NOW.into())]);
    assert_eq!(due.because, Because::Now);
}

#[test]
fn a_queue_without_room_for_the_largest_message_says_so_before_it_is_full() {
    let full = || Err(QueueError::Full("the disk has 100.0 KiB left".into()));
    assert_eq!(Refusing::of(Ok(()), Ok(()), "25.0 MiB"), None);
    let large = Refusing::of(Ok(()), full(), "25.0 MiB").unwrap();
    assert!(!large.everything && !large.failed, "{large:?}");
    assert!(
        large.what.starts_with("large mail is not taken (a message may have 25.0 MiB): "),
        "{large:?}"
    );
    let all = Refusing::of(full(), full(), "25.0 MiB").unwrap();
    assert!(all.everything && all.what.starts_with("no mail is taken: the disk"), "{all:?}");
    let gone = || Err(QueueError::Unavailable("input/output error".into()));
    assert!(Refusing::of(gone(), gone(), "").unwrap().failed);
    let drained = || Err(QueueError::Drained(NOW));
    let drained = Refusing::of(drained(), drained(), "").unwrap();
    assert!(drained.everything && !drained.failed, "{drained:?}");
    assert!(drained.remedy.contains("fleet undrain"), "{drained:?}");
}
