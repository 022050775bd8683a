//! The account: what pauses it and for how long, its probes, and what its day turns out to allow.

mod of_all;

use AccountCondition::{
    BackingOff, PausedConfiguration, PausedCredentials, PausedLogin, PausedQuota,
};

use super::*;
use crate::{delivery::fixtures::claimed, queue::record::Setbacks};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn go(account: &mut Account, now: Timestamp) -> Permit {
    let Entry::Go(permit) = account.enter(now) else { panic!("no licence: {:?}", account.state()) };
    permit
}

fn failure(condition: AccountCondition) -> AccountFailure {
    AccountFailure::new(condition, "said no".into(), "do something".into())
}

fn proven() -> Account {
    let mut account = Account::new(None, NOW);
    let permit = go(&mut account, NOW);
    account.accepted(permit, NOW);
    account
}

/// The pauses of a condition, in the table of docs/internals/account.md.
fn documented_pauses(condition: AccountCondition) -> Vec<Duration> {
    let document = include_str!("../../../docs/internals/account.md");
    let (_, section) = document.split_once("\n## States of the account\n").unwrap();
    let row = section.lines().find(|line| line.starts_with(&format!("| {} |", condition.name())));
    let pauses = row.unwrap().trim_end_matches(" |").rsplit('|').next().unwrap();
    pauses.split_whitespace().map(|pause| humantime::parse_duration(pause).unwrap()).collect()
}

#[test]
fn the_others_go_when_the_probe_has_logged_in_but_not_before_its_answer_when_the_day_is_full() {
    for condition in [BackingOff, PausedLogin, PausedCredentials, PausedConfiguration] {
        let mut account = proven();
        let permit = go(&mut account, NOW);
        account.failed(permit, failure(condition), NOW);
        let later = account.state().until.unwrap();
        let probe = go(&mut account, later);
        assert_eq!(account.enter(later), Entry::ProbeIsOut);
        assert!(account.logged_in(probe) && !account.logged_in(probe), "told once");
        let other = go(&mut account, later);
        assert!(!other.is_probe() && account.state().condition == condition);
        // The probe came to nothing: the next one is alone again.
        account.release(probe);
        assert!(go(&mut account, later).is_probe());
        assert_eq!(account.enter(later), Entry::ProbeIsOut);
    }
    let mut account = proven();
    let permit = go(&mut account, NOW);
    account.failed(permit, failure(PausedQuota), NOW);
    let later = account.state().until.unwrap();
    let probe = go(&mut account, later);
    assert!(!account.logged_in(probe));
    assert_eq!(account.enter(later), Entry::ProbeIsOut);
}

#[test]
fn the_pauses_grow_as_documented() {
    for condition in [BackingOff, PausedLogin, PausedQuota, PausedCredentials, PausedConfiguration]
    {
        let mut account = proven();
        let mut now = NOW;
        let pauses = documented_pauses(condition);
        for expected in pauses.iter().chain(pauses.last()) {
            let permit = go(&mut account, now);
            assert!(account.failed(permit, failure(condition), now));
            let until = account.state().until.unwrap();
            assert_eq!(until.since(now), *expected, "{condition:?}");
            assert_eq!(account.enter(until.before(Duration::from_millis(1))), Entry::Paused(until));
            now = until;
        }
        assert_eq!(account.state().since, NOW, "since tells when it began");
    }
}

#[test]
fn a_fault_on_this_side_pauses_for_minutes_and_never_shortens_what_the_upstream_asked_for() {
    let local = || AccountFailure { recheck: Recheck::Local, ..failure(PausedCredentials) };
    let mut account = proven();
    let mut now = NOW;
    for expected in [1, 2, 5, 5] {
        let permit = go(&mut account, now);
        assert!(account.failed(permit, local(), now));
        let until = account.state().until.unwrap();
        assert_eq!(until.since(now).as_secs() / 60, expected);
        now = until;
    }
    let mut account = proven();
    let (refused, without_password) = (go(&mut account, NOW), go(&mut account, NOW));
    account.failed(refused, failure(PausedQuota), NOW);
    let until = account.state().until;
    assert!(account.failed(without_password, local(), NOW));
    assert_eq!(account.state().until, until);
}

#[test]
fn our_own_count_is_asked_when_the_day_is_called_full_and_while_less_is_allowed_because_of_it() {
    let ours = Limit::of(475);
    let mut account = proven();
    assert!(!account.wants_count(ours, NOW));
    let (refused, on_its_way) = (go(&mut account, NOW), go(&mut account, NOW));
    let full = AccountFailure { day_full: true, ..failure(PausedQuota) };
    assert!(account.failed(refused, full.clone(), NOW) && account.wants_count(ours, NOW));
    assert!(matches!(account.counted(refused, false, (430, ours), NOW), Counted::Early(_)));
    let allowed =
        |account: &Account, at| account.allowance(ours, at).map(|allowance| allowance.recipients);
    assert_eq!(account.counted(on_its_way, true, (431, ours), NOW), Counted::Noted);
    let later = account.state().until.unwrap();
    let probe = go(&mut account, later);
    assert!(account.failed(probe, full.clone(), later));
    assert_eq!(account.counted(probe, false, (410, ours), later), Counted::Noted);
    assert_eq!(allowed(&account, later), Some(431), "what was accepted before the refusal counts");
    let later = account.state().until.unwrap();
    let probe = go(&mut account, later);
    assert!(probe.is_single() && account.accepted(probe, later));
    assert_eq!(account.counted(probe, true, (400, ours), later), Counted::NothingNew);
    let stored = Account::new(Some(account.state().clone()), later);
    assert_eq!(allowed(&stored, later), Some(431), "it outlives the pause and a restart");
    account.resume(later);
    assert_eq!(allowed(&account, later), None);
    let permit = go(&mut account, later);
    assert!(account.failed(permit, full, later));
    assert_eq!(account.counted(permit, false, (475, ours), later), Counted::Noted);
    assert!(!account.wants_count(ours, later), "our own count says the same");
}

fn ordered(hours: u64) -> Pause {
    Pause::new(NOW, Some(NOW.after(Duration::from_secs(3_600 * hours))), "new server")
}

#[test]
fn nothing_the_upstream_says_ends_the_administrators_pause_or_is_lost_by_it() {
    let mut account = proven();
    let (accepted, refused) = (go(&mut account, NOW), go(&mut account, NOW));
    account.pause(Some(ordered(3)));
    let end = NOW.after(Duration::from_secs(3 * 3_600));
    assert_eq!(account.enter(NOW), Entry::Paused(end));
    account.accepted(accepted, NOW);
    assert!(account.failed(refused, failure(PausedQuota), NOW), "it is noted all the same");
    assert_eq!(account.state().condition, PausedQuota);
    assert_eq!(account.enter(NOW.after(Duration::from_secs(7_200))), Entry::Paused(end));
    let probe = go(&mut account, end);
    assert!(probe.is_probe(), "as after the account's own pause");
    account.pause(Some(ordered(4)));
    assert!(account.accepted(probe, end));
    assert_eq!(account.state().condition, AccountCondition::Open);
    assert_eq!(account.state().pause, Some(ordered(4)));
    assert!(matches!(account.enter(end), Entry::Paused(_)));
    account.resume(end);
    go(&mut account, end);
}

#[test]
fn the_administrators_pause_outlives_a_restart_and_is_as_long_as_before_when_the_clock_is_set() {
    let stored = AccountState { pause: Some(ordered(3)), ..AccountState::open(NOW) };
    let mut account = Account::new(Some(stored.clone()), NOW);
    assert_eq!(account.state(), &stored);
    account.clock_was_set(-7_200_000);
    let end = NOW.after(Duration::from_secs(3_600));
    assert_eq!(account.enter(NOW), Entry::Paused(end));
    let mut wrong = Account::new(Some(stored), Timestamp(0));
    let latest = Timestamp(0).after(PAUSE_MAX);
    assert_eq!(wrong.enter(Timestamp(0)), Entry::Paused(latest));
}

#[test]
fn ten_workers_that_meet_the_same_refusal_count_once() {
    let mut account = proven();
    let permits: Vec<Permit> = (0..10).map(|_| go(&mut account, NOW)).collect();
    let changes =
        permits.into_iter().filter(|permit| account.failed(*permit, failure(PausedQuota), NOW));
    assert_eq!(changes.count(), 1);
    assert_eq!(account.state().strikes, 1);
}

#[test]
fn a_graver_refusal_replaces_a_lighter_one_but_not_the_reverse() {
    let mut account = proven();
    let (first, second, third) =
        (go(&mut account, NOW), go(&mut account, NOW), go(&mut account, NOW));
    account.failed(first, failure(BackingOff), NOW);
    assert!(account.failed(second, failure(PausedQuota), NOW));
    assert!(!account.failed(third, failure(PausedLogin), NOW));
    assert_eq!(account.state().condition, PausedQuota);
}

#[test]
fn after_a_pause_one_worker_probes_and_its_success_opens_the_account_for_all() {
    let mut account = proven();
    let permit = go(&mut account, NOW);
    account.failed(permit, failure(PausedQuota), NOW);
    let later = NOW.after(Duration::from_secs(3_600));
    let probe = go(&mut account, later);
    assert_eq!(account.enter(later), Entry::ProbeIsOut);
    assert!(!account.answered(probe, later), "only an accepted message ends a pause for the quota");
    let probe = go(&mut account, later);
    assert!(account.accepted(probe, later));
    assert_eq!(account.state().condition, AccountCondition::Open);
    go(&mut account, later);
    go(&mut account, later);
}

#[test]
fn a_success_that_began_before_the_pause_does_not_end_it() {
    let mut account = proven();
    let (refused, slow) = (go(&mut account, NOW), go(&mut account, NOW));
    account.failed(refused, failure(PausedQuota), NOW);
    assert!(!account.accepted(slow, NOW));
    assert_eq!(account.state().condition, PausedQuota);
}

#[test]
fn a_restart_neither_shortens_a_pause_nor_makes_it_endless() {
    let mut stored = AccountState::open(NOW);
    stored.condition = PausedQuota;
    stored.until = Some(NOW.after(Duration::from_secs(7_000)));
    assert_eq!(Account::new(Some(stored.clone()), NOW).state(), &stored);
    let stepped_back = Account::new(Some(stored), Timestamp(0));
    assert_eq!(stepped_back.state().until, Some(Timestamp(4 * 3_600_000)));
}

#[test]
fn a_probe_that_is_given_back_tells_whether_somebody_was_turned_away() {
    let mut account = Account::new(None, Timestamp(0));
    let Entry::Go(probe) = account.enter(Timestamp(0)) else { panic!("open") };
    assert!(!account.give_back(probe), "nobody asked meanwhile");
    let Entry::Go(probe) = account.enter(Timestamp(0)) else { panic!("open") };
    assert_eq!(account.enter(Timestamp(0)), Entry::ProbeIsOut);
    assert!(account.give_back(probe), "he may have seen work that came too late for this one");
}

#[test]
fn at_the_start_and_after_resume_one_login_must_work_before_the_others_try() {
    let mut account = Account::new(None, NOW);
    let probe = go(&mut account, NOW);
    assert_eq!(account.enter(NOW), Entry::ProbeIsOut);
    account.release(probe);
    let probe = go(&mut account, NOW);
    account.answered(probe, NOW);
    go(&mut account, NOW);
    go(&mut account, NOW);
    account.resume(NOW);
    go(&mut account, NOW);
    assert_eq!(account.enter(NOW), Entry::ProbeIsOut);
}

#[test]
fn the_third_connection_lost_at_a_login_in_a_row_counts_as_too_many_logins() {
    let lost = || AccountFailure { lost_at_login: true, ..failure(BackingOff) };
    let mut account = proven();
    let mut now = NOW;
    let mut conditions = Vec::new();
    for failure in [lost(), lost(), failure(BackingOff), lost(), lost(), lost()] {
        let permit = go(&mut account, now);
        account.failed(permit, failure, now);
        conditions.push(account.state().condition);
        now = account.state().until.unwrap();
    }
    assert_eq!(conditions[..5], [BackingOff; 5], "another failure in between counts anew");
    assert_eq!(conditions[5], PausedLogin);
}

#[test]
fn a_failure_may_ask_for_a_longer_pause_which_grows_within_its_limit() {
    let minutes = |condition, least: u64| -> Vec<u64> {
        let mut account = proven();
        let mut now = NOW;
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let permit = go(&mut account, now);
            let least = Duration::from_secs(least * 60);
            account.failed(permit, AccountFailure { least, ..failure(condition) }, now);
            let until = account.state().until.unwrap();
            pauses.push(until.since(now).as_secs() / 60);
            now = until;
        }
        pauses
    };
    assert_eq!(minutes(BackingOff, 15), [15, 30, 60, 60]);
    assert_eq!(minutes(BackingOff, 5), [5, 10, 20, 40]);
    assert_eq!(minutes(PausedQuota, 240), [240; 4]);
}

#[test]
fn what_one_message_may_have_earned_grows_to_15_minutes_unless_so_much_was_asked_for() {
    for (least, expected) in [(5, [5, 10, 15, 15]), (15, [15, 30, 60, 60])] {
        let mut account = proven();
        let mut now = NOW;
        for minutes in expected {
            let permit = go(&mut account, now);
            let (least, recheck) = (Duration::from_secs(least * 60), Recheck::AnotherMessage);
            account.failed(permit, AccountFailure { least, recheck, ..failure(BackingOff) }, now);
            let until = account.state().until.unwrap();
            assert_eq!(until.since(now).as_secs() / 60, minutes);
            now = until;
        }
    }
}

#[test]
fn what_costs_no_login_to_look_at_is_looked_at_as_in_a_back_off() {
    let mut account = proven();
    let mut now = NOW;
    for seconds in [30, 60, 120] {
        let permit = go(&mut account, now);
        let recheck = Recheck::WithoutLogin;
        account.failed(permit, AccountFailure { recheck, ..failure(PausedConfiguration) }, now);
        assert_eq!(account.state().condition, PausedConfiguration);
        let until = account.state().until.unwrap();
        assert_eq!(until.since(now).as_secs(), seconds);
        now = until;
    }
}

#[test]
fn a_refusal_that_may_be_one_messages_own_pauses_for_minutes_whatever_its_condition() {
    for condition in [PausedQuota, PausedCredentials, PausedConfiguration, BackingOff] {
        let mut account = proven();
        let mut now = NOW;
        for most in [1, 5, 15, 15] {
            let permit = go(&mut account, now);
            let recheck = Recheck::AnotherMessage;
            account.failed(permit, AccountFailure { recheck, ..failure(condition) }, now);
            assert_eq!(account.state().condition, condition);
            let until = account.state().until.unwrap();
            assert!(until.since(now) <= Duration::from_secs(60 * most), "{condition:?}");
            now = until;
        }
    }
}

fn refused_before(number: u8, last: Timestamp) -> ClaimedMessage {
    let setbacks = Setbacks { count: 1, last: Some(last), stops: 0 };
    ClaimedMessage { accepted_at: NOW, lifetime_from: NOW, setbacks, ..claimed(number, &[]) }
}

#[test]
fn a_refusal_is_the_messages_own_once_others_were_accepted_and_a_second_one_in_a_row_is_not() {
    let seconds = |seconds| NOW.after(Duration::from_secs(seconds));
    let mut account = proven();
    let permit = go(&mut account, NOW);
    let in_flight = go(&mut account, NOW);
    let recheck = Recheck::AnotherMessage;
    account.failed(permit, AccountFailure { recheck, ..failure(PausedQuota) }, seconds(1));
    account.accepted(in_flight, seconds(2));
    let first = refused_before(1, seconds(1));
    assert!(!account.is_its_own(&first, false), "that one was on its way before");
    let probe = go(&mut account, seconds(61));
    assert!(!account.is_its_own(&first, true), "the account itself is in doubt");
    account.accepted(probe, seconds(62));
    assert!(account.is_its_own(&first, false));
    let restarted = Account::new(Some(account.state().clone()), seconds(63));
    assert!(restarted.is_its_own(&first, false), "a restart remembers it");
    let permit = go(&mut account, seconds(63));
    account.charge(permit, first.id);
    assert!(account.is_its_own(&first, false), "it may be charged again");
    let others: Vec<ClaimedMessage> =
        (2..7).map(|number| refused_before(number, seconds(1))).collect();
    for other in &others[..4] {
        assert!(account.is_its_own(other, false));
        let permit = go(&mut account, seconds(63));
        account.charge(permit, other.id);
    }
    let sixth = &others[4];
    assert!(!account.is_its_own(sixth, true), "so many in a row are the account's affair");
    let permit = go(&mut account, seconds(64));
    account.accepted(permit, seconds(64));
    assert!(account.is_its_own(sixth, false));
}

#[test]
fn a_full_day_is_probed_with_one_recipient_until_something_is_accepted_and_at_most_a_day() {
    let mut account = proven();
    let permit = go(&mut account, NOW);
    account.failed(permit, AccountFailure { day_full: true, ..failure(PausedQuota) }, NOW);
    // Another failure does not make it forget, nor does a restart.
    let later = NOW.after(Duration::from_secs(3_600));
    let probe = go(&mut account, later);
    assert!(probe.is_single());
    account.failed(probe, failure(PausedCredentials), later);
    let mut account = Account::new(Some(account.state().clone()), later);
    let morning = later.after(Duration::from_secs(6 * 3_600));
    let probe = go(&mut account, morning);
    assert!(account.answered(probe, morning), "the login works again");
    let probe = go(&mut account, morning);
    assert!(probe.is_single() && probe.is_probe(), "but the day is still full");
    assert!(account.accepted(probe, morning), "which is to be stored");
    assert!(!go(&mut account, morning).is_single());

    let mut account = proven();
    let permit = go(&mut account, NOW);
    account.failed(permit, AccountFailure { day_full: true, ..failure(PausedQuota) }, NOW);
    assert!(
        !go(&mut account, NOW.after(Duration::from_secs(24 * 3_600))).is_single(),
        "the window has passed"
    );
}

#[test]
fn after_a_back_off_there_is_one_connection_for_half_an_hour() {
    let mut account = proven();
    assert_eq!(account.connections(5, NOW), 5);
    let permit = go(&mut account, NOW);
    account.failed(permit, failure(BackingOff), NOW);
    let until = account.state().until.unwrap();
    let probe = go(&mut account, until);
    account.accepted(probe, until);
    assert_eq!(account.connections(5, until), 1);
    assert_eq!(account.connections(5, until.after(ALONE)), 5);
}

#[test]
fn the_third_spam_verdict_within_an_hour_is_once_too_often() {
    let mut account = proven();
    let minutes = |minutes: u64| NOW.after(Duration::from_secs(minutes * 60));
    assert_eq!(account.spam(1, minutes(0)), None);
    assert_eq!(account.spam(1, minutes(10)), None);
    assert_eq!(account.spam(1, minutes(65)), None, "the first is an hour ago");
    assert_eq!(account.spam(2, minutes(66)), Some(Stops::Everybody));
    assert_eq!(account.spam(3, minutes(67)), None, "and it begins anew");
}

#[test]
fn spam_of_one_sender_is_his_affair_until_another_ones_is_found_beside_it() {
    let mut account = proven();
    assert_eq!([1, 2].map(|of_sender| account.spam(of_sender, NOW)), [None, None]);
    assert_eq!(account.spam(3, NOW), Some(Stops::Sender));
    assert_eq!(account.spam(4, NOW), Some(Stops::Sender));
    assert_eq!(account.spam(1, NOW), Some(Stops::Everybody));
}

#[test]
fn an_attempt_from_before_a_resume_says_nothing_of_the_account_that_was_resumed() {
    for condition in [BackingOff, PausedQuota, PausedConfiguration] {
        let mut account = proven();
        let old = go(&mut account, NOW);
        account.resume(NOW);
        assert!(!account.failed(old, failure(condition), NOW));
        assert!(!account.lost_after_dot(old) && !account.lost_after_dot(old));
        assert_eq!(account.state().condition, AccountCondition::Open);
        let new = go(&mut account, NOW);
        assert!(account.failed(new, failure(condition), NOW));
    }
}

#[test]
fn a_full_day_begins_with_an_hour_whatever_was_in_doubt_before() {
    let mut account = proven();
    let mut now = NOW;
    let doubtful = || AccountFailure { recheck: Recheck::AnotherMessage, ..failure(PausedQuota) };
    let full = || AccountFailure { day_full: true, ..failure(PausedQuota) };
    for (failure, minutes) in [
        (doubtful(), 1),
        (doubtful(), 5),
        (doubtful(), 15),
        (full(), 60),
        (full(), 120),
        (doubtful(), 1),
    ] {
        let permit = go(&mut account, now);
        assert!(account.failed(permit, failure, now));
        let until = account.state().until.unwrap();
        assert_eq!(until.since(now).as_secs() / 60, minutes);
        now = until;
    }
}

#[test]
fn a_full_day_that_the_same_message_finds_again_lasts_no_longer_for_the_others() {
    let mut account = proven();
    let mut now = NOW;
    for (says_nothing_new, hours) in
        [(false, 1), (true, 1), (true, 1), (false, 2), (true, 1), (false, 4)]
    {
        let full = AccountFailure { says_nothing_new, day_full: true, ..failure(PausedQuota) };
        let permit = go(&mut account, now);
        assert!(account.failed(permit, full, now));
        let until = account.state().until.unwrap();
        assert_eq!(until.since(now), Duration::from_secs(hours * 3_600));
        now = until;
    }
}
