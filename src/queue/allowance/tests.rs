//! Tests of the allowance of a day that was full early.

use super::*;
use crate::{budget::AccountKey, queue::ClaimLimits};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
const OURS: Limit = Limit::of(475);
const FIRST: Told = Told { again: false, alike: false };
const AGAIN: Told = Told { again: true, alike: true };
const OTHERS: Told = Told { again: true, alike: false };

fn told_at(counted: u32) -> EarlyDays {
    let mut days = EarlyDays::default();
    assert!(days.told(FIRST, counted, OURS, NOW).is_some(), "it is news");
    assert_eq!(days.told(AGAIN, counted, OURS, NOW), None, "and confirmed");
    days
}

#[test]
fn one_refusal_is_told_and_held_to_when_a_second_one_says_the_same() {
    let mut days = EarlyDays::default();
    days.told(FIRST, 430, OURS, NOW);
    assert!(days.in_force(OURS, NOW).is_some());
    assert_eq!(recipients(&days, NOW), None);
    for (told, counted, held) in [
        (FIRST, 438, Some(438)),
        (FIRST, 300, None),
        (FIRST, 474, Some(474)),
        (AGAIN, 90, Some(430)),
    ] {
        let mut days = days.clone();
        days.told(told, counted, OURS, NOW);
        assert_eq!(recipients(&days, NOW), held, "{told:?} after {counted}");
    }
}

#[test]
fn where_less_than_half_of_ours_was_accepted_the_mail_of_others_does_not_wait_for_it() {
    for told in [AGAIN, OTHERS] {
        let mut days = EarlyDays::default();
        days.told(FIRST, 200, OURS, NOW);
        days.told(told, 200, OURS, NOW);
        assert_eq!(recipients(&days, NOW), None);
    }
}

fn recipients(days: &EarlyDays, now: Timestamp) -> Option<u32> {
    days.allowance(OURS, now).map(|allowance| allowance.recipients)
}

/// `days` days on which the upstream said so after as many recipients.
fn on_days(counted: &[u32], limit: Limit, again: Option<Told>) -> EarlyDays {
    let mut days = EarlyDays::default();
    for (day, counted) in counted.iter().enumerate() {
        let at = NOW.after(25 * HOUR * u32::try_from(day).unwrap());
        assert!(days.told(FIRST, *counted, limit, at).is_some());
        again.map(|told| days.told(told, *counted, limit, at.after(HOUR)));
    }
    days
}

#[test]
fn what_was_accepted_until_the_day_was_full_is_all_that_is_sent_for_the_rest_of_it() {
    let days = told_at(430);
    let last = NOW.after(WINDOW - Duration::from_millis(1));
    assert_eq!((recipients(&days, NOW), recipients(&days, last)), (Some(430), Some(430)));
    assert_eq!(recipients(&days, NOW.after(WINDOW)), None, "then our own limit holds again");
}

#[test]
fn a_day_that_is_full_when_our_own_count_says_so_teaches_nothing() {
    for counted in [475, 480] {
        let mut days = EarlyDays::default();
        assert_eq!(days.told(FIRST, counted, OURS, NOW), None);
        assert_eq!(days, EarlyDays::default());
    }
}

#[test]
fn a_day_that_stays_full_is_one_day_of_which_the_most_counts_that_it_allowed() {
    let mut days = told_at(430);
    let later = NOW.after(20 * HOUR);
    assert_eq!(days.told(AGAIN, 90, OURS, later), None, "said once");
    assert_eq!(
        recipients(&days, later),
        Some(430),
        "ours have left it, and it is full all the same"
    );
    assert_eq!(days.told(AGAIN, 0, OURS, NOW.after(30 * HOUR)), None);
    assert_eq!(days.0.len(), 1, "nothing was accepted in between");
    assert!(days.told(FIRST, 400, OURS, NOW.after(31 * HOUR)).is_some(), "a new day");
    assert_eq!(days.0.len(), 2);
}

#[test]
fn what_is_accepted_beyond_it_allows_more_and_twice_as_much_each_time() {
    let mut days = told_at(300);
    assert!(!days.accepted(300, true, NOW), "as much as is known");
    let mut counted = 301;
    for step in [2, 4, 8, 16] {
        assert!(days.accepted(counted, true, NOW));
        let allowance = Allowance { recipients: counted + step, is_tried: true };
        assert_eq!(days.allowance(OURS, NOW), Some(allowance));
        assert!(!days.accepted(counted, true, NOW), "not before all of it was accepted");
        counted += step;
    }
    assert_eq!(days.told(FIRST, 327, OURS, NOW), None);
    let allowance = Allowance { recipients: 327, is_tried: false };
    assert_eq!(days.allowance(OURS, NOW), Some(allowance), "the refusal is the last word again");
}

#[test]
fn what_was_on_its_way_when_the_day_was_called_full_counts_and_proves_nothing_beyond_it() {
    let mut days = told_at(430);
    assert!(days.accepted(433, false, NOW));
    let allowance = Allowance { recipients: 433, is_tried: false };
    assert_eq!(days.allowance(OURS, NOW), Some(allowance));
}

#[test]
fn an_allowance_never_exceeds_our_own_limit_and_is_never_nothing() {
    let mut days = told_at(470);
    assert!(days.accepted(473, true, NOW));
    assert_eq!(days.allowance(OURS, NOW), None, "475 and more are our own affair");
    let (mut days, ours) = (EarlyDays::default(), Limit::of(1));
    days.told(FIRST, 0, ours, NOW);
    days.told(AGAIN, 0, ours, NOW);
    assert_eq!(days.allowance(ours, NOW).map(|allowance| allowance.recipients), Some(1));
}

#[test]
fn a_person_lifts_it_and_the_day_counts_all_the_same() {
    let mut days = on_days(&[430, 420, 450], OURS, Some(AGAIN));
    let now = NOW.after(51 * HOUR);
    assert!(days.allowance(OURS, now).is_some());
    days.lift();
    assert_eq!(days.allowance(OURS, now), None);
    assert!(days.proposed(OURS, now).is_some());
}

#[test]
fn three_such_days_within_a_month_propose_the_least_of_them() {
    let now = NOW.after(72 * HOUR);
    assert_eq!(on_days(&[430, 440], OURS, Some(AGAIN)).proposed(OURS, now), None);
    let days = on_days(&[446, 437, 450], OURS, Some(AGAIN));
    let proposed = ProposedLimit { days: 3, counted: 437, recipients: 430 };
    assert_eq!(days.proposed(OURS, now), Some(proposed));
    assert_eq!(days.proposed(Limit::of(430), now), None, "it was followed");
    assert_eq!(days.proposed(OURS, NOW.after(DAYS_COUNT_FOR + HOUR)), None, "two are left");
}

#[test]
fn little_that_one_sender_was_refused_proposes_nothing_unless_others_are_refused_as_well() {
    let now = NOW.after(72 * HOUR);
    for (again, is_proposed) in [(None, false), (Some(AGAIN), false), (Some(OTHERS), true)] {
        let days = on_days(&[12, 15, 11], OURS, again);
        assert_eq!(days.proposed(OURS, now).is_some(), is_proposed, "{again:?}");
        let without = on_days(&[400, 400, 400], Limit::NONE, again);
        assert_eq!(without.proposed(Limit::NONE, now).is_some(), is_proposed, "{again:?}");
    }
}

#[test]
fn a_day_whose_end_was_not_found_proposes_nothing() {
    let mut days = on_days(&[430, 430, 430], OURS, Some(AGAIN));
    days.accepted(431, true, NOW.after(51 * HOUR));
    assert_eq!(days.proposed(OURS, NOW.after(52 * HOUR)), None);
}

#[test]
fn only_the_last_days_are_remembered() {
    let days = on_days(&[400; 20], OURS, Some(AGAIN));
    assert_eq!(days.0.len(), DAYS_MAX);
}

#[test]
fn reserves_shrink_with_the_limit_and_are_nothing_while_more_is_tried() {
    let ours = ClaimLimits {
        account: AccountKey::MAIN,
        limit: OURS,
        notice_reserve: 5,
        urgent_reserve: 100,
        recipients_max: 100,
    };
    let within = |recipients, is_tried| {
        let limits = ours.within(Some(Allowance { recipients, is_tried }));
        (limits.limit, limits.notice_reserve, limits.urgent_reserve)
    };
    assert_eq!(within(430, false), (430.into(), 4, 90));
    assert_eq!(within(3, false), (3.into(), 0, 0), "other mail has room");
    assert_eq!(within(202, true), (202.into(), 0, 0));
    assert_eq!(within(600, false).0, OURS, "never more than ours");
    assert_eq!(ours.within(None).limit_of(crate::message::envelope::Lane::Normal), 370.into());
}
