//! Conditions that begin, last and end, and what is told of them.

use super::*;

const MINUTE_MS: i64 = 60_000;

fn watch() -> Watch {
    after(Memory::default(), 0)
}

/// One of a process that begins at this minute with what an earlier one remembers.
fn after(memory: Memory, minute: i64) -> Watch {
    let options = Options {
        oldest_message: Duration::from_secs(6 * 3600),
        repeat: Duration::from_secs(24 * 3600),
        hostname: "web01".into(),
    };
    Watch::new(options, memory, Timestamp(minute * 60_000))
}

/// What is told at minute `minute`.
fn told(watch: &mut Watch, minute: i64, facts: &Facts) -> Vec<(Kind, State)> {
    let alerts = watch.look(Timestamp(minute * MINUTE_MS), facts);
    alerts.into_iter().map(|alert| (alert.kind, alert.state)).collect()
}

fn paused(condition: &str, since_minute: i64) -> Facts {
    let account = AccountTrouble {
        account: None,
        condition: condition.into(),
        since: Timestamp(since_minute * MINUTE_MS),
        reason: "535 5.7.8 not accepted".into(),
        remedy: "make a new app password".into(),
    };
    Facts { accounts: vec![account], ..Facts::default() }
}

#[test]
fn an_origin_at_its_limit_is_told_of_once_however_often_it_comes_back_to_it() {
    let mut watch = watch();
    let at = |origins: &[&str]| Facts {
        limited: origins.iter().map(ToString::to_string).collect(),
        ..Facts::default()
    };
    let subjects = |alerts: Vec<Alert>| -> Vec<String> {
        alerts.into_iter().map(|alert| alert.subject).collect()
    };
    let one = "web01: 10.0.0.7, from <a@b.example> has used up the limit of an origin for this day";
    let first = subjects(watch.look(Timestamp(0), &at(&["10.0.0.7, from <a@b.example>"])));
    assert_eq!(first, [one]);
    for minute in 1..60 * 30 {
        let now = Timestamp(minute * MINUTE_MS);
        let facts = if minute % 7 == 0 { at(&["10.0.0.7, from <a@b.example>"]) } else { at(&[]) };
        assert_eq!(watch.look(now, &facts), [], "minute {minute}");
    }
    let now = Timestamp(60 * 30 * MINUTE_MS);
    let both = at(&["10.0.0.7, from <a@b.example>", "local, user www-data, from <>"]);
    assert_eq!(subjects(watch.look(now, &both)).len(), 1, "the other one");
    let after_a_day = Timestamp(now.0 + 25 * 60 * MINUTE_MS);
    assert_eq!(watch.look(after_a_day, &at(&[])), []);
    assert_eq!(subjects(watch.look(after_a_day, &at(&["10.0.0.7, from <a@b.example>"]))), [one]);
}

#[test]
fn a_pause_is_told_when_it_begins_once_a_day_while_it_lasts_and_when_it_is_over() {
    let mut watch = watch();
    let facts = paused("paused-credentials", 1_000);
    assert_eq!(told(&mut watch, 1_000, &facts), [(Kind::Account, State::Begins)]);
    assert_eq!(told(&mut watch, 1_001, &facts), []);
    assert_eq!(told(&mut watch, 1_000 + 24 * 60, &facts), [(Kind::Account, State::Lasts)]);
    assert_eq!(told(&mut watch, 3_000, &Facts::default()), [], "it may come back at once");
    assert_eq!(told(&mut watch, 3_005, &facts), [], "and it did");
    assert_eq!(told(&mut watch, 3_006, &Facts::default()), []);
    assert_eq!(told(&mut watch, 3_016, &Facts::default()), [(Kind::Account, State::Over)]);
    assert_eq!(told(&mut watch, 3_017, &Facts::default()), []);
}

#[test]
fn another_pause_of_the_account_is_another_alert() {
    let mut watch = watch();
    told(&mut watch, 1_000, &paused("paused-quota", 1_000));
    assert_eq!(
        told(&mut watch, 1_001, &paused("paused-login", 1_001)),
        [(Kind::Account, State::Begins)]
    );
}

#[test]
fn an_upstream_that_is_out_of_reach_for_minutes_is_no_alert_and_for_half_an_hour_it_is() {
    let mut watch = watch();
    assert_eq!(told(&mut watch, 1_029, &paused("backing-off", 1_000)), []);
    assert_eq!(
        told(&mut watch, 1_030, &paused("backing-off", 1_000)),
        [(Kind::Account, State::Begins)]
    );
}

fn day(account: Option<&str>, spent: u32, limit: Limit) -> Day {
    Day { account: account.map(Into::into), spent, limit }
}

#[test]
fn of_several_accounts_each_is_called_by_its_name_and_another_one_in_trouble_is_told_anew() {
    let mut watch = watch();
    let trouble = |name: &str| AccountTrouble {
        account: Some(name.into()),
        ..paused("paused-credentials", 0).accounts.remove(0)
    };
    let subjects = |alerts: Vec<Alert>| -> Vec<String> {
        alerts.into_iter().map(|alert| alert.subject).collect()
    };
    let words =
        |name: &str| format!("the account {name} is paused-credentials: 535 5.7.8 not accepted");
    let mut facts = Facts { accounts: vec![trouble("shop")], ..Facts::default() };
    let first = watch.look(Timestamp(MINUTE_MS), &facts);
    assert_eq!(subjects(first), [format!("web01: {}", words("shop"))]);
    facts.accounts.insert(0, trouble("main"));
    let both = watch.look(Timestamp(2 * MINUTE_MS), &facts);
    let remedy = both[0].remedy.clone();
    let subject = format!("web01: {}; {}", words("main"), words("shop"));
    assert_eq!((subjects(both), &*remedy), (vec![subject], "make a new app password"));
    facts.accounts.clear();
    facts.days = vec![
        day(Some("main"), 10, 475.into()),
        day(Some("shop"), 100, 100.into()),
        day(Some("third"), 80, 100.into()),
    ];
    let budgets = watch.look(Timestamp(3 * MINUTE_MS), &facts);
    let commands = ["pillarbox budget --account shop", "pillarbox budget --account third"];
    for (alert, command) in budgets.iter().zip(commands) {
        assert!(alert.remedy.ends_with(command), "{alert:?}");
    }
    assert_eq!(
        subjects(budgets),
        [
            "web01: 100 of 100 recipients of this day of shop are spent",
            "web01: 80 of 100 recipients of this day of third are spent",
        ]
    );
}

#[test]
fn the_budget_is_told_at_eighty_and_at_ninety_five_hundredths() {
    let mut watch = watch();
    let of =
        |spent, limit: Limit| Facts { days: vec![day(None, spent, limit)], ..Facts::default() };
    let spent = |spent| of(spent, 475.into());
    assert_eq!(told(&mut watch, 1, &spent(379)), []);
    assert_eq!(told(&mut watch, 2, &spent(380)), [(Kind::BudgetLow, State::Begins)]);
    assert_eq!(told(&mut watch, 3, &spent(451)), []);
    assert_eq!(told(&mut watch, 4, &spent(452)), [(Kind::BudgetNearlySpent, State::Begins)]);
    assert_eq!(told(&mut watch, 5, &of(9, Limit::of(0))), [], "nothing may be spent, no alert");
    assert_eq!(told(&mut watch, 6, &of(u32::MAX, Limit::NONE)), [], "no limit, no alert");
}

#[test]
fn mail_that_waits_a_store_that_fails_and_replies_nobody_knows_are_told() {
    let mut watch = watch();
    let minute = 10_000;
    let facts = Facts {
        oldest_waiting: Some(Timestamp((minute - 6 * 60) * MINUTE_MS)),
        store_failure: Some("the disk is full".into()),
        unknown_replies: 1,
        last_unknown_reply: Some("599 what".into()),
        ..Facts::default()
    };
    let kinds: Vec<Kind> =
        told(&mut watch, minute, &facts).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(
        kinds,
        [Kind::Store, Kind::OldestMessage, Kind::UnknownReplies],
        "the gravest first"
    );
}

#[test]
fn mail_that_waits_is_told_with_what_it_waits_for() {
    let mut watch = watch();
    let facts = Facts {
        oldest_waiting: Some(Timestamp(0)),
        departure: Some("Mail leaves again at noon: the 24 h budget is spent.".into()),
        ..Facts::default()
    };
    let alerts = watch.look(Timestamp(7 * 3600 * 1000), &facts);
    let remedy = "Mail leaves again at noon: the 24 h budget is spent. See also: pillarbox status";
    assert_eq!(alerts.first().map(|alert| alert.remedy.as_str()), Some(remedy));
}

#[test]
fn a_queue_that_takes_no_more_mail_is_told_until_it_does() {
    let mut watch = watch();
    let full = Facts {
        store_full: Some("no mail is taken: its quota is used up".into()),
        ..Facts::default()
    };
    assert_eq!(told(&mut watch, 1, &full), [(Kind::Store, State::Begins)]);
    assert_eq!(told(&mut watch, 2, &full), []);
    assert_eq!(told(&mut watch, 3, &Facts::default()), [], "it may come back at once");
    assert_eq!(told(&mut watch, 13, &Facts::default()), [(Kind::Store, State::Over)]);
}

#[test]
fn an_alert_for_which_there_was_no_room_is_told_when_there_is() {
    let mut watch = watch();
    for n in 0..ALERTS_PER_HOUR_MAX as i64 {
        let condition = if n % 2 == 0 { "paused-quota" } else { "paused-login" };
        assert_eq!(told(&mut watch, 1_000 + n, &paused(condition, 1_000 + n)).len(), 1);
    }
    let failed = Facts { store_failure: Some("the disk is gone".into()), ..Facts::default() };
    let heard: Vec<i64> = (1_030..1_100)
        .filter(|minute| told(&mut watch, *minute, &failed).contains(&(Kind::Store, State::Begins)))
        .collect();
    assert_eq!(heard, [1_060], "an hour after the first of the twenty");
    // The end of what was never told is not told either, and that of what was told waits for room as well.
    let mut over = Vec::new();
    for minute in 1_100..1_200 {
        over.extend(told(&mut watch, minute, &Facts::default()));
    }
    assert_eq!(over, [(Kind::Store, State::Over)]);
}

#[test]
fn held_mail_set_aside_or_stuck_files_and_failed_tasks_are_told() {
    let mut watch = watch();
    let held = Facts { held: 2, ..Facts::default() };
    assert_eq!(told(&mut watch, 1, &held), [(Kind::Held, State::Begins)]);
    assert_eq!(told(&mut watch, 2, &held), []);
    let dropped = |set_aside, waiting| Facts {
        dropped: Some(Dropped { directory: "/drop".into(), set_aside, waiting }),
        held: 2,
        ..Facts::default()
    };
    assert_eq!(told(&mut watch, 3, &dropped(3, 0)), [(Kind::Dropped, State::Begins)]);
    assert_eq!(told(&mut watch, 4, &dropped(3, 5)), []);
    assert_eq!(told(&mut watch, 33, &dropped(3, 5)), []);
    assert_eq!(told(&mut watch, 34, &dropped(3, 5)), [(Kind::Dropped, State::Begins)], "stuck");
    let mishaps = Mishap { number: 1, last: "expiry" };
    let facts = Facts { mishaps, ..dropped(3, 5) };
    assert_eq!(told(&mut watch, 35, &facts), [(Kind::Task, State::Begins)]);
    assert_eq!(told(&mut watch, 36, &facts), []);
}

#[test]
fn unknown_replies_soon_after_the_first_are_told_a_day_later_and_not_left_out() {
    let mut watch = watch();
    let unknown = |unknown_replies| Facts { unknown_replies, ..Facts::default() };
    assert_eq!(told(&mut watch, 1, &unknown(1)), [(Kind::UnknownReplies, State::Begins)]);
    assert_eq!(told(&mut watch, 2, &unknown(1)), []);
    assert_eq!(told(&mut watch, 5, &unknown(2)), []);
    assert_eq!(told(&mut watch, 24 * 60, &unknown(2)), []);
    assert_eq!(told(&mut watch, 24 * 60 + 1, &unknown(2)), [(Kind::UnknownReplies, State::Lasts)]);
    assert_eq!(told(&mut watch, 72 * 60, &unknown(2)), []);
}

#[test]
fn a_restart_neither_tells_anew_nor_forgets_the_end_of_what_was_told() {
    let mut before = watch();
    let held = Facts { held: 2, set_aside: 3, ..paused("paused-quota", 1) };
    assert_eq!(told(&mut before, 1, &held).len(), 3);
    let memory = serde_json::to_string(before.memory()).unwrap();
    let restarted = || after(serde_json::from_str(&memory).unwrap(), 5);
    let mut lasts = restarted();
    assert_eq!(told(&mut lasts, 5, &held), []);
    assert_eq!(told(&mut lasts, 24 * 60 + 1, &held).len(), 2, "what lasts is told again");
    let mut over = restarted();
    assert_eq!(told(&mut over, 6, &Facts::default()), []);
    let ends = [(Kind::Account, State::Over), (Kind::Held, State::Over)];
    assert_eq!(told(&mut over, 17, &Facts::default()), ends);
    // The clock was set back by a day meanwhile: that keeps nobody from being told again.
    let mut back = after(serde_json::from_str(&memory).unwrap(), -24 * 60);
    assert_eq!(told(&mut back, -24 * 60, &held), []);
    assert_eq!(told(&mut back, 0, &held).len(), 2);
}

#[test]
fn a_condition_that_changes_all_the_time_is_told_a_limited_number_of_times_in_an_hour() {
    let mut watch = watch();
    let number = (0..60)
        .map(|minute| told(&mut watch, minute, &paused(&format!("paused-{minute}"), minute)).len())
        .sum::<usize>();
    assert_eq!(number, ALERTS_PER_HOUR_MAX);
}

#[test]
fn a_fleets_database_that_is_away_for_long_is_told_of_once_and_again_when_it_is_back() {
    let mut watch = watch();
    let away = Away { since: Timestamp(0), reason: "the database gave no answer".into() };
    let facts = Facts { away: Some(away), ..Facts::default() };
    assert_eq!(told(&mut watch, 1, &facts), []);
    assert_eq!(told(&mut watch, 2, &facts), [(Kind::Fleet, State::Begins)]);
    assert_eq!(told(&mut watch, 30, &facts), []);
    let back = Facts::default();
    assert_eq!(told(&mut watch, 31, &back), []);
    assert_eq!(told(&mut watch, 42, &back), [(Kind::Fleet, State::Over)]);
}
