//! Every condition with its edges, and the judgement of several rules.

use std::{net::IpAddr, sync::Arc};

use super::{
    Effect, Facts, HeaderTest, Hours, Matcher, Outcome, Pattern, Rule, Rules, Sender, Size, Words,
};
use crate::{
    clock::{Clock as _, SystemClock},
    message::{
        envelope::{Lane, LocalUser},
        excerpt::{Excerpt, Wanted},
        identity::SenderPattern,
    },
    smtp::address::Address,
};

/// A message as a test changes it.
struct Case {
    client: &'static str,
    login: Option<&'static str>,
    user: Option<LocalUser>,
    sender: Option<&'static str>,
    recipients: &'static [&'static str],
    header: &'static str,
    size_bytes: u64,
    hour: u8,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            client: "192.0.2.7",
            login: None,
            user: None,
            sender: Some("cron@nas.example.org"),
            recipients: &["alice@example.org", "bob@example.net"],
            header: "Subject: RAID degraded\r\n\r\n",
            size_bytes: 1_000,
            hour: 12,
        }
    }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

impl Case {
    fn with<T>(&self, rules: &Rules, look: impl FnOnce(&Facts<'_>) -> T) -> T {
        let sender = self.sender.map(address);
        let recipients: Vec<Address> = self.recipients.iter().map(|text| address(text)).collect();
        let excerpt = Excerpt::of(self.header.as_bytes(), true, rules.wanted());
        look(&Facts {
            client: self.client.parse::<IpAddr>().unwrap(),
            login: self.login,
            user: self.user.as_ref(),
            reverse_path: sender.as_ref(),
            forward_paths: &recipients,
            excerpt: &excerpt,
            size_bytes: self.size_bytes,
            hour: self.hour,
        })
    }

    fn fits(&self, matcher: Matcher) -> bool {
        let rules = rules([("only", vec![matcher])]);
        self.with(&rules, |facts| rules.judge(facts).is_some())
    }
}

fn rules<const N: usize>(all: [(&str, Vec<Matcher>); N]) -> Rules {
    let effect = Effect { lane: Some(Lane::Bulk), ..Effect::default() };
    let all = all.into_iter().map(|(name, matchers)| Rule {
        name: Arc::from(name),
        matchers,
        effect: effect.clone(),
    });
    Rules::new(all.collect(), &["relay.example.org".to_owned()])
}

fn plain(words: &str) -> Words {
    Words::plain(words)
}

fn pattern(text: &str) -> Words {
    Words::Pattern(Pattern::new(text).unwrap())
}

fn domain(name: &str) -> SenderPattern {
    SenderPattern::Domain(name.into())
}

#[test]
fn a_network_holds_the_address_of_the_client() {
    let network = |text: &str| Matcher::Network(vec![text.parse().unwrap()]);
    assert!(Case::default().fits(network("192.0.2.0/24")));
    assert!(!Case::default().fits(network("192.0.2.8/32")));
    assert!(!Case::default().fits(network("::/0")), "IPv6 is another family");
    let any = vec!["10.0.0.0/8".parse().unwrap(), "192.0.2.7/32".parse().unwrap()];
    assert!(Case::default().fits(Matcher::Network(any)), "any of a list");
}

#[test]
fn a_login_and_a_user_are_those_of_the_client_and_nobody_is_neither() {
    let login = |name: &str| Matcher::Login(vec![name.to_owned()]);
    let logged_in = Case { login: Some("printer"), ..Case::default() };
    assert!(logged_in.fits(login("printer")));
    assert!(!logged_in.fits(login("Printer")), "a login is as it is written");
    assert!(!Case::default().fits(login("printer")));
    let user = |name: &str| Matcher::User(vec![name.to_owned()]);
    let named = LocalUser { uid: 33, name: Some("www-data".into()), claimed: false };
    let local = Case { user: Some(named), ..Case::default() };
    assert!(local.fits(user("www-data")) && local.fits(user("33")));
    assert!(!local.fits(user("root")) && !local.fits(user("330")));
    assert!(!Case::default().fits(user("root")));
    let nameless = LocalUser { uid: 33, name: None, claimed: false };
    let nameless = Case { user: Some(nameless), ..Case::default() };
    assert!(nameless.fits(user("33")) && !nameless.fits(user("www-data")));
}

#[test]
fn a_sender_is_an_address_a_domain_a_name_of_this_host_or_nobody() {
    let sender = |pattern| Matcher::Sender(vec![Sender::Of(pattern)]);
    let whole = |text| sender(SenderPattern::Address(address(text)));
    assert!(Case::default().fits(whole("Cron@NAS.example.org")), "in any case");
    assert!(!Case::default().fits(whole("cron@example.org")));
    assert!(Case::default().fits(sender(domain("nas.example.org"))));
    assert!(!Case::default().fits(sender(domain("example.org"))), "another domain");
    let name = || sender(SenderPattern::Name("root".into()));
    for (text, expected) in [
        ("root", true),
        ("Root@relay.example.org", true),
        ("root@nas.example.org", false),
        ("toor", false),
    ] {
        let case = Case { sender: Some(text), ..Case::default() };
        assert_eq!(case.fits(name()), expected, "{text}");
    }
    let null = Case { sender: None, ..Case::default() };
    assert!(null.fits(Matcher::Sender(vec![Sender::Null])));
    assert!(!null.fits(name()) && !null.fits(sender(domain("nas.example.org"))));
    assert!(!Case::default().fits(Matcher::Sender(vec![Sender::Null])));
}

#[test]
fn a_recipient_fits_when_any_of_them_does() {
    let recipient = |name: &str| Matcher::Recipient(vec![domain(name)]);
    assert!(Case::default().fits(recipient("example.net")), "the second one");
    assert!(!Case::default().fits(recipient("example.com")));
    let alone = Case { recipients: &["alice@example.org"], ..Case::default() };
    assert!(!alone.fits(recipient("example.net")));
}

#[test]
fn a_subject_has_the_words_or_fits_the_pattern_and_is_decoded() {
    let subject = |words| Matcher::Subject(vec![words]);
    assert!(Case::default().fits(subject(plain("raid DEGRADED"))), "in any case");
    assert!(!Case::default().fits(subject(plain("degraded raid"))), "in this order");
    assert!(Case::default().fits(subject(pattern("^raid (degraded|failed)$"))));
    assert!(!Case::default().fits(subject(pattern("^degraded"))));
    let encoded = Case { header: "Subject: =?utf-8?q?St=C3=B6rung?=\r\n\r\n", ..Case::default() };
    assert!(encoded.fits(subject(plain("ST\u{d6}RUNG"))));
    let none = Case { header: "From: x\r\n\r\nSubject: raid\r\n", ..Case::default() };
    assert!(!none.fits(subject(plain("raid"))), "the body is not looked at");
    assert!(none.fits(subject(pattern("^$"))), "no subject is an empty one");
}

#[test]
fn a_header_is_that_of_lists_of_bulk_of_programs_or_has_a_field() {
    let fits = |header, test: &HeaderTest| {
        Case { header, ..Case::default() }.fits(Matcher::Header(vec![test.clone()]))
    };
    for (header, list, bulk, automatic) in [
        ("List-Id: <news.example.org>\r\n\r\n", true, false, false),
        ("list-unsubscribe: <mailto:x@y>\r\n\r\n", true, false, false),
        ("Precedence: list\r\n\r\n", true, false, false),
        ("Precedence: Bulk\r\n\r\n", false, true, false),
        ("Precedence: junk\r\n\r\n", false, true, false),
        ("Precedence: special-delivery\r\n\r\n", false, false, false),
        ("Auto-Submitted: auto-generated; owner=x\r\n\r\n", false, false, true),
        ("Auto-Submitted: No\r\n\r\n", false, false, false),
        ("Subject: List-Id: x\r\n\r\n", false, false, false),
    ] {
        assert_eq!(fits(header, &HeaderTest::List), list, "list {header}");
        assert_eq!(fits(header, &HeaderTest::Bulk), bulk, "bulk {header}");
        assert_eq!(fits(header, &HeaderTest::Automatic), automatic, "automatic {header}");
    }
    let field = |words| HeaderTest::Field("x-spam".into(), words);
    let header = "X-Spam: no\r\nX-SPAM: yes, 7 points\r\n\r\n";
    assert!(fits(header, &field(None)));
    assert!(fits(header, &field(Some(plain("Yes")))), "any field of this name");
    assert!(fits(header, &field(Some(pattern(r"\d points$")))));
    assert!(!fits(header, &field(Some(plain("maybe")))));
    assert!(!fits("Subject: x\r\n\r\n", &field(None)));
}

#[test]
fn a_size_is_beyond_its_limit_and_hours_go_over_midnight() {
    let of_size = |size| Case::default().fits(Matcher::Size(vec![size]));
    assert!(of_size(Size::Above(999)) && !of_size(Size::Above(1_000)));
    assert!(of_size(Size::Below(1_001)) && !of_size(Size::Below(1_000)));
    let at = |hour, from, to| {
        Case { hour, ..Case::default() }.fits(Matcher::Hour(vec![Hours { from, to }]))
    };
    assert!(at(22, 22, 6) && at(23, 22, 6) && at(0, 22, 6) && at(5, 22, 6));
    assert!(!at(6, 22, 6) && !at(21, 22, 6));
    assert!(at(8, 8, 17) && at(16, 8, 17) && !at(17, 8, 17) && !at(7, 8, 17));
    assert!(at(23, 20, 24) && !at(0, 20, 24));
}

#[test]
fn all_conditions_must_fit_and_the_first_rule_counts() {
    let network = || Matcher::Network(vec!["192.0.2.0/24".parse().unwrap()]);
    let subject = |words: &str| Matcher::Subject(vec![plain(words)]);
    let rules = rules([
        ("backups", vec![network(), subject("backup")]),
        ("raid", vec![network(), subject("raid")]),
        ("all", vec![network()]),
    ]);
    let struck = |case: &Case| {
        case.with(&rules, |facts| rules.judge(facts).map(|rule| rule.name.to_string()))
    };
    assert_eq!(struck(&Case::default()).as_deref(), Some("raid"));
    let other = Case { header: "Subject: hello\r\n\r\n", ..Case::default() };
    assert_eq!(struck(&other).as_deref(), Some("all"));
    assert_eq!(struck(&Case { client: "10.0.0.1", ..Case::default() }), None);
    assert_eq!(rules.of_name("raid").map(|rule| rule.effect.lane), Some(Some(Lane::Bulk)));
    assert!(rules.of_name("gone").is_none());
}

#[test]
fn an_explanation_says_of_each_rule_what_did_not_fit() {
    let subject = |words: &str| Matcher::Subject(vec![plain(words), pattern("^never$")]);
    let rules = rules([
        ("backups", vec![Matcher::Sender(vec![Sender::Null]), subject("backup")]),
        ("raid", vec![subject("raid")]),
        ("all", vec![Matcher::Size(vec![Size::Above(1)])]),
    ]);
    let outcomes: Vec<Outcome> = Case::default().with(&rules, |facts| {
        rules.explain(facts).into_iter().map(|judgement| judgement.outcome).collect()
    });
    let why = vec![
        "the sender is cron@nas.example.org, not <>".to_owned(),
        "the subject is \"RAID degraded\", without backup or /^never$/".to_owned(),
    ];
    let effect = vec!["lane bulk".to_owned()];
    assert_eq!(outcomes, [Outcome::Unfit(why), Outcome::Struck(effect), Outcome::TooLate]);
}

#[test]
fn a_rule_behind_one_with_fewer_of_the_same_conditions_is_never_reached() {
    let hour = || Matcher::Hour(vec![Hours { from: 22, to: 6 }]);
    let size = |limit| Matcher::Size(vec![Size::Above(limit)]);
    let rules = rules([
        ("night", vec![hour()]),
        ("large", vec![size(7)]),
        ("large-night", vec![hour(), size(9)]),
        ("larger", vec![size(9)]),
    ]);
    assert_eq!(rules.unreached(), [("large-night", "night")]);
}

#[test]
fn only_the_fields_that_are_asked_for_are_wanted() {
    let header = Matcher::Header(vec![HeaderTest::Bulk, HeaderTest::Automatic]);
    let wanted = Wanted { names: vec!["precedence".into(), "auto-submitted".into()] };
    assert_eq!(**rules([("one", vec![header])]).wanted(), wanted);
    assert!(rules([("one", vec![Matcher::Login(vec!["x".into()])])]).wanted().names.is_empty());
}

/// `cargo test --release --lib rules::tests::a_hundred -- --nocapture` prints what it takes.
#[test]
fn a_hundred_rules_cost_a_message_next_to_nothing() {
    let numbered = |number: usize| {
        let subject = pattern(&format!(r"^host{number}: (disk|fan) \d+ (failed|degraded)"));
        let matchers = match number % 4 {
            0 => vec![Matcher::Subject(vec![subject])],
            1 => vec![Matcher::Header(vec![HeaderTest::Field("x-host".into(), Some(subject))])],
            2 => vec![Matcher::Subject(vec![plain(&format!("backup of host{number}"))])],
            _ => vec![Matcher::Sender(vec![Sender::Of(domain(&format!("host{number}.example")))])],
        };
        let effect = Effect { lane: Some(Lane::Urgent), ..Effect::default() };
        Rule { name: Arc::from(format!("rule-{number}")), matchers, effect }
    };
    let rules = Rules::new((0..100).map(numbered).collect(), &[]);
    let header = "X-Host: backup server in the cellar\r\n\
                  Subject: nightly report of host number seven, nothing unusual\r\n\r\n";
    let case = Case { header, ..Case::default() };
    const TIMES: u64 = 1_000;
    let clock = SystemClock::new();
    let took_ms = case.with(&rules, |facts| {
        let started = clock.now().since_boot_ms;
        for _ in 0..TIMES {
            let excerpt = Excerpt::of(header.as_bytes(), true, rules.wanted());
            assert!(rules.judge(&Facts { excerpt: &excerpt, ..*facts }).is_none());
        }
        clock.now().since_boot_ms - started
    });
    println!("100 rules: {} us a message", took_ms * 1_000 / TIMES);
    // A hundred times what it takes where the program is optimised and the machine is idle.
    assert!(took_ms < 2 * TIMES, "{took_ms} ms for {TIMES} messages");
}
