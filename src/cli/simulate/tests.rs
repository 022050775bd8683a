//! A past of some days, played through: what is compared, and how it is printed.

use serde_json::{Value, json};

use super::{
    figures::{Course, Span},
    past::Fate,
    *,
};
use crate::{
    admin::api::Message,
    cli::printed::{NOW, compare_at_every_width},
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const ADMIN: &str = "admin@example.org";
const CONFIGURATION: &str = r#"
[upstream]
username = "you@gmail.com"
password = "abcdefghijklmnop"
[identity]
admin = "admin@example.org"
aliases_file = "off"
"#;

fn settings(sections: &str) -> Settings {
    let text = format!("{CONFIGURATION}{sections}");
    crate::settings::judge(Path::new("/etc/pillarbox/relay.toml"), text).expect("a configuration")
}

/// A message in the daemon's words: relayed in the second in which it came.
fn message(number: u32, at: Timestamp, from: &str, to: &[&str], subject: &str) -> Value {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&at.0.to_be_bytes()[2..]);
    id[6..10].copy_from_slice(&number.to_be_bytes());
    let relayed = at.after(Duration::from_secs(1));
    let recipient = |address: &&str| {
        json!({ "address": address, "state": "relayed", "since": relayed, "next_attempt": null,
            "reason": null, "attempts": 0, "last_reply": "250 OK" })
    };
    json!({
        "id": crate::queue::id::QueueId::from_bytes(id), "accepted_at": at, "from": from,
        "size_bytes": 800, "lane": "normal", "eight_bit": false, "internationalized": false,
        "subject": subject, "client": "10.0.0.7", "end": { "at": relayed, "how": "relayed" },
        "recipients": to.iter().map(recipient).collect::<Vec<_>>(),
    })
}

/// The same, not relayed.
fn in_state(mut message: Value, state: &str, end: Value) -> Value {
    for recipient in message["recipients"].as_array_mut().expect("recipients") {
        recipient["state"] = state.into();
        recipient["since"] = Value::Null;
    }
    message["end"] = end;
    message
}

fn read(messages: Vec<Value>) -> Vec<Past> {
    let read = |value| Past::read(&serde_json::from_value::<Message>(value).expect("a message"));
    messages.into_iter().map(|value| read(value).expect("it is understood")).collect()
}

/// Three days: some mail each hour, a night of ban notices, a job that writes to many, newsletters, and an alarm.
fn past() -> Vec<Past> {
    let start = NOW.before(DAY * 3);
    let mut all = vec![
        message(0, start.before(HOUR * 30), "old@example.org", &[ADMIN], "long ago"),
        message(1, start.before(HOUR * 5), "old@example.org", &[ADMIN, "b@example.net"], "before"),
    ];
    let job = |number: u32, from: &str, to: &[&str], subject: &str, at| {
        message(number, at, from, to, subject)
    };
    for hour in 0..72 {
        let at = start.after(HOUR * hour);
        all.push(job(hour, "cron@web1.example.org", &[ADMIN], "Cron <root@web1> backup", at));
    }
    for ban in 0..40 {
        let at = start.after(HOUR * 10 + Duration::from_secs(30) * ban);
        let subject = format!("[Fail2Ban] sshd: banned 192.0.2.{ban} from nas");
        all.push(job(100 + ban, "root@nas.example.org", &[ADMIN], &subject, at));
    }
    for order in 0..80 {
        let at = start.after(HOUR * 30 + Duration::from_secs(5) * order);
        let to = format!("customer{order}@example.net");
        all.push(job(200 + order, "shop@example.org", &[&to], "Your order", at));
    }
    for letter in 0..6 {
        let at = start.after(HOUR * 31 + Duration::from_secs(9) * letter);
        let to = ["a@example.net", "b@example.net", "c@example.net"];
        let mut news = job(300 + letter, "news@example.org", &to, "News", at);
        news["rule"] = if letter < 2 { "newsletters".into() } else { Value::Null };
        all.push(news);
    }
    let at = start.after(HOUR * 32);
    all.push(job(400, "nas@example.org", &[ADMIN], "RAID md0 degraded", at));
    let wrong = job(401, "web@example.org", &["nobody@example.net"], "Bounce", at.after(HOUR));
    all.push(in_state(wrong, "dead", Value::Null));
    let noise = job(402, "web@example.org", &[ADMIN], "Backup OK", at.after(HOUR * 2));
    all.push(noise);
    let waits = job(403, "slow@example.org", &[ADMIN], "Waits", NOW.before(HOUR));
    all.push(in_state(waits, "queued", Value::Null));
    let mut past = read(all);
    past.sort_by_key(|one| (one.accepted_at, one.id));
    past
}

const RULES: &str = r#"
[[rule]]
name = "raid"
match = { subject = "degraded" }
lane = "urgent"
[[rule]]
name = "no-backups"
match = { subject = "Backup OK" }
refuse = "Not here."
[[rule]]
name = "newsletters"
match = { header = ["list", "bulk"], sender = "@example.org" }
lane = "bulk"
"#;

fn compared(past: Vec<Past>, sections: &str, last: Duration) -> Compared {
    let was = terms(&settings(""), None).expect("the main account").limits;
    let past: Vec<&Past> = past.iter().collect();
    let settings = settings(sections);
    let terms = terms(&settings, None).expect("the main account");
    let mut compared = compare((&past, false), was, terms, &settings, (NOW.before(last), NOW));
    compared.configuration = "/etc/pillarbox/relay.toml".into();
    compared
}

fn small_day(rest: &str) -> String {
    format!("[budget]\nrecipients_per_day = 60\nowner_reserve = 0\npace_per_minute = 0\n{rest}")
}

#[test]
fn what_is_printed_is_as_it_was_reviewed() {
    let mut shown = compared(past(), &small_day(RULES), DAY * 3);
    shown.changes = vec!["[budget] recipients_per_day = 60".to_owned()];
    compare_at_every_width("budget_simulate", |out| words::print(out, &shown));
    let mut nothing = compared(Vec::new(), "", DAY * 40);
    nothing.history_kept_ms = Some(30 * 86_400_000);
    compare_at_every_width("budget_simulate_nothing", |out| words::print(out, &nothing));
}

#[test]
fn under_the_same_settings_a_past_with_room_is_as_it_was() {
    let calm = past()
        .into_iter()
        .filter(|one| one.recipients.iter().all(|(_, fate)| matches!(fate, Fate::Relayed(_))));
    let unpaced = "[budget]\npace_per_minute = 0\n[storm]\nafter = 0\n";
    let found = compared(calm.collect(), unpaced, DAY * 3);
    assert_eq!(found.all.was.relayed, found.all.would.relayed);
    assert_eq!(found.all.recipients, found.all.would.relayed);
    for day in &found.days {
        let Course { relayed, .. } = day.was;
        assert_eq!(day.would, Course { relayed, ..Course::default() }, "nothing waits");
        assert_eq!(day.was, day.would);
    }
    assert!(found.origins.is_empty() && found.lanes.is_empty() && found.open.is_empty());
}

#[test]
fn each_recipient_is_in_one_figure_and_no_day_has_more_than_the_limit() {
    for sections in [small_day(""), small_day(RULES), small_day("[storm]\nafter = 0\n")] {
        let found = compared(past(), &sections, DAY * 3);
        let Course { relayed, summaries, folded, refused, held, waiting, .. } = found.all.would;
        let left = relayed - summaries + folded + refused + held + waiting;
        assert_eq!(left, found.all.recipients + found.before);
        assert!(found.days.iter().all(|day| day.would.relayed <= 60), "{:?}", found.days);
        assert_eq!(found.left_out, 1, "the one that was refused for good");
        let by_day: u64 = found.days.iter().map(|day| day.recipients).sum();
        assert_eq!(by_day, found.all.recipients);
    }
}

#[test]
fn what_folding_would_have_spared_and_who_would_have_waited_is_told() {
    let found = compared(past(), &small_day(""), DAY * 3);
    assert_eq!((found.all.was.folded, found.all.would.folded), (0, 35));
    assert_eq!(found.all.would.summaries, 2, "ten minutes after the first, and at the end");
    let shop = &found.origins[0];
    assert_eq!(shop.by, "10.0.0.7, from <shop@example.org>");
    assert!(shop.would.recipients > 20 && shop.was.recipients == 0, "{shop:?}");
    assert_eq!(found.all.was.waited, 1, "what is queued has waited for an hour");
    assert_eq!(found.all.was.longest_ms, 3_600_000);
    let [_, second, _] = &found.days[..] else { panic!("three days: {:?}", found.days) };
    let Some(Span { begins, .. }) = second.would.at_limit.first() else { panic!("{second:?}") };
    let shop_from = NOW.before(DAY * 3).after(HOUR * 30);
    assert!(begins.since(shop_from) < HOUR && *begins >= shop_from, "{begins}");
    assert!(found.all.was.at_limit.is_empty(), "the day had 500");
}

#[test]
fn a_rule_that_asks_for_the_header_is_named_and_the_others_judge() {
    let found = compared(past(), &small_day(RULES), DAY * 3);
    let [open] = &found.open[..] else { panic!("{:?}", found.open) };
    assert_eq!(
        (open.rule.as_str(), open.asks.as_str()),
        ("newsletters", "header = [\"list\", \"bulk\"]")
    );
    assert_eq!(open.as_then, 2);
    assert!(open.unfit > 80, "whatever is of example.org: {open:?}");
    assert_eq!(found.all.would.refused, 1);
    assert!(found.lanes.iter().all(|lane| lane.by != "urgent"), "the alarm does not wait");
}

#[test]
fn what_the_daemon_says_of_a_recipient_is_understood() {
    let at = NOW.before(HOUR);
    let fate = |value| read(vec![value])[0].recipients[0].1;
    let one = || message(1, at, "a@example.org", &[ADMIN], "x");
    assert_eq!(fate(one()), Fate::Relayed(at.after(Duration::from_secs(1))));
    for (state, end, expected) in [
        ("queued", Value::Null, Fate::Waits),
        ("scheduled", Value::Null, Fate::Waits),
        ("uncertain", Value::Null, Fate::Waits),
        ("reserved", Value::Null, Fate::Waits),
        ("folded", Value::Null, Fate::Folded),
        ("folded", json!({ "at": at, "how": "folded" }), Fate::Folded),
        ("queued", json!({ "at": at, "how": "deleted" }), Fate::Gone),
        ("held", Value::Null, Fate::Gone),
        ("dead", json!({ "at": at, "how": "expired" }), Fate::Gone),
    ] {
        assert_eq!(fate(in_state(one(), state, end)), expected, "{state}");
    }
}

#[test]
fn summaries_that_were_sent_are_not_sent_once_more() {
    let mut summary = message(1, NOW.before(HOUR), "x", &[ADMIN], "[512 x] banned");
    (summary["client"], summary["from"]) = ("relay".into(), Value::Null);
    let mut by_a_client = summary.clone();
    by_a_client["client"] = "10.0.0.7".into();
    let past = read(vec![summary, by_a_client]);
    assert_eq!([past[0].is_summary(), past[1].is_summary()], [true, false]);
    let found = compared(past, "", DAY);
    assert_eq!((found.all.was.relayed, found.all.was.summaries), (2, 1));
    assert_eq!((found.all.would.relayed, found.all.messages), (1, 1));
}

#[test]
fn mail_that_a_person_had_scheduled_waits_from_its_time_on() {
    let (at, later) = (NOW.before(HOUR * 20), NOW.before(HOUR * 2));
    let mut one = message(1, at, "a@example.org", &[ADMIN], "x");
    one["scheduled_at"] = json!(later);
    one["recipients"][0]["since"] = json!(later.after(Duration::from_secs(2)));
    let found = compared(read(vec![one]), "", DAY);
    assert_eq!((found.all.was.relayed, found.all.would.relayed), (1, 1));
    assert_eq!((found.all.was.waited, found.all.would.waited), (0, 0));
}
