//! Rules at the door: what is refused, held, or goes into another lane, and that nothing else is touched.

use super::*;
use crate::{
    message::identity::SenderPattern,
    queue::state::RecipientState,
    rules::{Effect, HeaderTest, Matcher, Pattern, Rule, Rules, Sender, Words},
};

fn rule(name: &str, matcher: Matcher, effect: Effect) -> Rule {
    Rule { name: name.into(), matchers: vec![matcher], effect }
}

fn door(rules: Vec<Rule>) -> Door {
    Door::open(Options { rules: Arc::new(Rules::new(rules, &[])), ..options() })
}

fn subject(words: &str) -> Matcher {
    Matcher::Subject(vec![Words::plain(words)])
}

fn lane(lane: Lane) -> Effect {
    Effect { lane: Some(lane), ..Effect::default() }
}

fn refusal(text: &str) -> Effect {
    Effect { refuse: Some(text.into()), ..Effect::default() }
}

async fn only_record(door: &Door) -> crate::queue::record::MessageRecord {
    let mut all = door.store.list(None, 10).await.unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0).record
}

#[tokio::test]
async fn what_a_rule_refuses_is_not_kept_and_its_client_hears_why_and_goes_on() {
    let door =
        door(vec![rule("no-backups", subject("Backup OK"), refusal("Collected elsewhere."))]);
    let mut client = door.greeted().await;
    client.start_message().await;
    let reply = client.say("Subject: backup ok\r\n\r\nall is well\r\n.", "550 5.7.1").await;
    assert_eq!(reply, "550 5.7.1 Collected elsewhere.");
    assert!(door.store.list(None, 10).await.unwrap().is_empty());
    client.start_message().await;
    client.say("Subject: Backup failed\r\n\r\nBackup OK\r\n.", "250 2.0.0").await;
    assert_eq!(only_record(&door).await.rule, None, "no rule struck");
}

#[tokio::test]
async fn a_refusal_is_ascii_unless_its_client_has_asked_for_utf_8() {
    let door = door(vec![rule("no", subject("x"), refusal("Nein, sch\u{f6}n w\u{e4}r's."))]);
    let mut client = door.greeted().await;
    client.start_message().await;
    client.say("Subject: x\r\n\r\n.", "550 5.7.1 Nein, sch?n w?r's.").await;
    client.say("MAIL FROM:<a@client.test> SMTPUTF8", "250").await;
    client.say("RCPT TO:<b@example.org>", "250").await;
    client.say("DATA", "354").await;
    client.say("Subject: x\r\n\r\n.", "550 5.7.1 Nein, sch\u{f6}n w\u{e4}r's.").await;
}

#[tokio::test]
async fn the_lane_of_a_rule_goes_before_that_of_the_network() {
    let raid = Matcher::Subject(vec![Words::Pattern(Pattern::new("degraded|failed").unwrap())]);
    let door = door(vec![
        rule("raid", raid, lane(Lane::Urgent)),
        rule("lists", Matcher::Header(vec![HeaderTest::List]), lane(Lane::Bulk)),
    ]);
    let mut client = door.greeted().await;
    client.start_message().await;
    client.say("Subject: md0 failed\r\nList-Id: <x>\r\n\r\n.", "250 2.0.0").await;
    let record = only_record(&door).await;
    assert_eq!((record.rule.as_deref(), record.lane), (Some("raid"), Lane::Urgent));
}

#[tokio::test]
async fn mail_takes_the_first_route_that_fits_whether_a_rule_strikes_it_or_not() {
    let by = |name: &str| Effect { accounts: vec![name.into()], ..Effect::default() };
    let routes = vec![
        rule("lists", Matcher::Header(vec![HeaderTest::List]), by("newsletter")),
        rule("shop", subject("order"), by("shop")),
        rule("late", subject("order"), by("main")),
    ];
    let raid = || vec![rule("raid", subject("raid"), lane(Lane::Urgent))];
    for (header, struck, route) in [
        ("Subject: order\r\nList-Id: <x>", None, Some("lists")),
        ("Subject: an order of the raid", Some("raid"), Some("shop")),
        ("Subject: raid", Some("raid"), None),
        ("Subject: well", None, None),
    ] {
        let rules = Arc::new(Rules::new(raid(), &[]).with_routes(routes.clone()));
        let door = Door::open(Options { rules, ..options() });
        let mut client = door.greeted().await;
        client.start_message().await;
        client.say(&format!("{header}\r\n\r\n."), "250 2.0.0").await;
        let record = only_record(&door).await;
        assert_eq!((record.rule.as_deref(), record.route.as_deref()), (struck, route), "{header}");
    }
}

#[tokio::test]
async fn a_route_without_conditions_takes_all_mail_also_where_there_is_no_rule() {
    let all = Rule {
        name: "all".into(),
        matchers: Vec::new(),
        effect: Effect { accounts: vec!["shop".into()], ..Effect::default() },
    };
    let rules = Arc::new(Rules::new(Vec::new(), &[]).with_routes(vec![all]));
    let door = Door::open(Options { rules, ..options() });
    let mut client = door.greeted().await;
    client.start_message().await;
    client.say("Subject: x\r\n\r\n.", "250 2.0.0").await;
    assert_eq!(only_record(&door).await.route.as_deref(), Some("all"));
}

#[tokio::test]
async fn what_a_rule_holds_is_taken_and_waits_for_a_person() {
    let sender = SenderPattern::Domain("client.test".into());
    let hold = Effect { hold: true, ..Effect::default() };
    let door = door(vec![rule("look", Matcher::Sender(vec![Sender::Of(sender)]), hold)]);
    let mut client = door.greeted().await;
    client.start_message().await;
    client.say("Subject: x\r\n\r\n.", "250 2.0.0").await;
    let record = only_record(&door).await;
    let RecipientState::Held { reason, .. } = &record.recipients[0].state else {
        panic!("{record:?}")
    };
    assert!(reason.starts_with("held by the rule look: "), "{reason}");
    assert_eq!(record.lane, Lane::Normal, "the network's");
}

#[tokio::test]
async fn the_header_of_a_message_that_has_left_the_memory_is_judged_as_well() {
    let door = door(vec![rule("raid", subject("degraded"), lane(Lane::Urgent))]);
    let mut client = door.greeted().await;
    client.start_message().await;
    client.send("Subject: md0 degraded\r\n\r\n").await;
    client.send(&"Subject: well\r\n".repeat(20_000)).await;
    client.say(".", "250 2.0.0").await;
    assert_eq!(only_record(&door).await.rule.as_deref(), Some("raid"));
}

/// The lane of a message with this parameter of MAIL and this header.
async fn lane_of(hints: bool, parameter: &str, header: &str) -> Lane {
    let raid = rule("raid", subject("raid"), lane(Lane::Normal));
    let look = rule("look", subject("look"), Effect { storm: Some(false), ..Effect::default() });
    let rules = Arc::new(Rules::new(vec![raid, look], &[]));
    let mut networks = trusted(&["127.0.0.0/8"]);
    networks[0].lane = Lane::Bulk;
    let door = Door::open(Options { rules, networks, priority_hints: hints, ..options() });
    let mut client = door.greeted().await;
    client.say("EHLO client.test", "250").await;
    client.say(&format!("MAIL FROM:<a@client.test>{parameter}"), "250").await;
    client.say("RCPT TO:<b@example.org>", "250").await;
    client.say("DATA", "354").await;
    client.say(&format!("{header}\r\n\r\n."), "250").await;
    only_record(&door).await.lane
}

#[tokio::test]
async fn a_rule_goes_before_a_hint_and_a_hint_before_the_network_where_hints_are_heard() {
    for (hints, parameter, header, expected) in [
        (true, "", "Subject: x", Lane::Bulk),
        (true, " MT-PRIORITY=4", "Subject: x", Lane::Urgent),
        (true, " MT-PRIORITY=2", "Subject: x", Lane::Bulk),
        (true, "", "X-Priority: 1", Lane::Urgent),
        (true, " MT-PRIORITY=-1", "X-Priority: 1", Lane::Bulk),
        (true, " MT-PRIORITY=4", "Subject: raid", Lane::Normal),
        (true, "", "Importance: high\r\nSubject: raid", Lane::Normal),
        (true, "", "Importance: high\r\nSubject: look", Lane::Urgent),
        (false, " MT-PRIORITY=4", "X-Priority: 1", Lane::Bulk),
    ] {
        assert_eq!(
            lane_of(hints, parameter, header).await,
            expected,
            "{hints} {parameter} {header}"
        );
    }
}
