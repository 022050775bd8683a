//! The notifier against the memory twin, with a clock that the test moves.

use super::*;
use crate::{
    budget::AccountKey,
    clock::ManualClock,
    live::Live,
    queue::{
        Claim, ClaimLimits, Outcome, Queue, Settlement,
        routes::{Accounts, FailOver, Known, Route},
        ruled::Ruled,
        way::RouteKey,
    },
    smtp::dsn::{Notify, RecipientDsn},
};

mod fleet;

struct Scene {
    clock: ManualClock,
    store: Arc<Queue>,
    notifier: Notifier,
}

impl Scene {
    fn new(senders: bool) -> Self {
        Self::at(ManualClock::new(Timestamp(1_800_000_000_000)), senders)
    }

    fn at(clock: ManualClock, senders: bool) -> Self {
        let store = Arc::new(Queue::in_memory(Arc::new(clock.clone()), 1 << 30));
        let mut options = Options::new("web01.example".into());
        options.from = "me@gmail.com".parse().ok();
        options.admin = "admin@example.org".parse().ok();
        options.senders = senders;
        let notifier =
            Notifier::new(Live::new(options), Arc::clone(&store), Arc::new(clock.clone()));
        Self { clock, store, notifier }
    }

    /// The next process: only the queue is what it was.
    fn restart(&mut self) {
        let options = Live::new((*self.notifier.options).clone());
        let clock = Arc::new(self.clock.clone());
        self.notifier = Notifier::new(options, Arc::clone(&self.store), clock);
    }

    /// A message that is refused for good.
    async fn refused(&self, reverse_path: &str, notify: Option<Notify>) {
        self.ends(reverse_path, notify, Outcome::Dead { reply: "550 5.1.1 no such user".into() })
            .await;
    }

    async fn ends(&self, reverse_path: &str, notify: Option<Notify>, outcome: Outcome) -> QueueId {
        self.message(reverse_path, notify, |_| {}, outcome).await
    }

    /// A message with that outcome.
    async fn message(
        &self,
        reverse_path: &str,
        notify: Option<Notify>,
        edit: impl FnOnce(&mut Envelope),
        outcome: Outcome,
    ) -> QueueId {
        let mut envelope = envelope(
            "gone@example.net".parse().unwrap(),
            "printer",
            self.clock.wall(),
            Lane::Notice,
        );
        envelope.lane = Lane::Normal;
        envelope.reverse_path = reverse_path.parse().ok();
        let asked = RecipientDsn { notify, original_recipient: None };
        envelope.dsn.recipients.insert(0, asked);
        edit(&mut envelope);
        let mut draft = self.store.begin(envelope).unwrap();
        draft
            .write(b"Subject: Toner\r\n low\r\nMessage-ID: <7@printer.lan>\r\n\r\ntext\r\n")
            .await
            .unwrap();
        let id = self.store.enqueue(draft).await.unwrap().id();
        // Only this one: whatever else waits is left alone.
        loop {
            let terms = ClaimLimits {
                account: AccountKey::MAIN,
                limit: crate::budget::Limit::of(10_000),
                recipients_max: 100,
                urgent_reserve: 0,
                notice_reserve: 0,
            };
            let Claim::Message(claimed) =
                self.store.claim_due(self.clock.now(), terms).await.unwrap()
            else {
                panic!("nothing to claim")
            };
            let until = self.clock.wall().after(Duration::from_secs(20 * 3600));
            let outcome = match claimed.id == id {
                true => outcome.clone(),
                false => Outcome::NotTried { until: Some(until) },
            };
            let settlement = Settlement {
                reservation: claimed.reservation,
                at: self.clock.wall(),
                outcomes: vec![(0, outcome)],
            };
            self.store.settle(claimed.id, settlement).await.unwrap();
            if claimed.id == id {
                return id;
            }
        }
    }

    async fn look_after(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.notifier.look().await.unwrap();
    }

    /// To whom notices wait, and their text.
    async fn notices(&self) -> Vec<(String, String)> {
        let mut notices = Vec::new();
        for message in self.store.list(None, 1_000).await.unwrap() {
            if message.record.lane != Lane::Notice {
                continue;
            }
            let mut reader = self.store.open_message(message.id).await.unwrap();
            let mut bytes = Vec::new();
            while let Some(block) = reader.next_block().unwrap() {
                bytes.extend_from_slice(&block);
            }
            let text = String::from_utf8(bytes).unwrap();
            notices.push((message.recipients()[0].address.to_string(), text));
        }
        notices
    }
}

#[tokio::test]
async fn the_administrator_is_told_once_when_a_message_is_dead() {
    let mut scene = Scene::new(false);
    scene.refused("root@web02.example", None).await;
    scene.look_after(59).await;
    assert!(scene.notices().await.is_empty(), "more may come");
    scene.look_after(1).await;
    let notices = scene.notices().await;
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].0, "admin@example.org");
    for words in [
        "Subject: [web01.example] Mail could not be relayed: Toner low",
        "gone@example.net",
        "Message-ID: <7@printer.lan>",
        "Final-Recipient: rfc822; gone@example.net",
    ] {
        assert!(notices[0].1.contains(words), "{words} is missing in\n{}", notices[0].1);
    }
    scene.look_after(600).await;
    assert_eq!(scene.notices().await.len(), 1, "once");
}

#[tokio::test]
async fn many_failures_come_in_one_notice_although_they_never_stop() {
    let mut scene = Scene::new(false);
    for _ in 0..70 {
        scene.refused("root@web02.example", None).await;
        scene.look_after(10).await;
    }
    let notices = scene.notices().await;
    assert_eq!(notices.len(), 1);
    assert!(notices[0].1.contains("messages could not be relayed"), "{}", notices[0].1);
}

#[tokio::test]
async fn an_hour_brings_a_few_notices_and_the_next_one_tells_of_all_the_others() {
    let mut scene = Scene::new(false);
    for _ in 0..9 {
        scene.refused("root@web02.example", None).await;
        scene.look_after(61).await;
    }
    assert_eq!(scene.notices().await.len(), 4);
    scene.look_after(3600).await;
    let notices = scene.notices().await;
    assert_eq!(notices.len(), 5);
    assert!(notices.iter().any(|(_, text)| text.contains("5 messages could not be relayed")));
}

#[tokio::test]
async fn restarts_bring_no_hour_more_notices() {
    let mut scene = Scene::new(false);
    for _ in 0..9 {
        scene.refused("root@web02.example", None).await;
        scene.look_after(61).await;
        scene.restart();
    }
    assert_eq!(scene.notices().await.len(), 4);
}

#[tokio::test]
async fn nobody_is_told_of_a_notice_or_of_what_nobody_wanted_to_know() {
    let mut scene = Scene::new(true);
    scene.refused("", None).await;
    scene.refused("root@web02.example", Some(Notify::default())).await;
    scene.refused("root@web02.example", Some(Notify { success: true, ..Notify::default() })).await;
    scene.look_after(3600).await;
    assert!(scene.notices().await.is_empty());
    assert!(
        scene.store.unnotified(10).await.unwrap().is_empty(),
        "they are not looked at for ever"
    );
}

#[tokio::test]
async fn a_sender_elsewhere_is_told_of_its_own_mail_when_that_is_wanted() {
    let mut scene = Scene::new(true);
    for sender in
        ["joe@partner.example", "root@web01.example", "root@localhost", "me@gmail.com", "cron"]
    {
        scene.refused(sender, None).await;
    }
    scene.look_after(60).await;
    let notices = scene.notices().await;
    let told: Vec<&str> = notices.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.contains(&"admin@example.org") && told.contains(&"joe@partner.example"),
        "{told:?}"
    );
    let (_, text) = notices.iter().find(|(to, _)| to == "joe@partner.example").unwrap();
    assert_eq!(text.matches("Final-Recipient").count(), 1, "only its own");
}

#[tokio::test]
async fn an_answer_that_was_lost_twice_is_told_of_once_as_a_death_is_and_a_persons_hold_is_not() {
    let mut scene = Scene::new(true);
    let lost = || Outcome::Uncertain { resend_at: None, reason: "the connection was lost".into() };
    let later = scene.clock.wall().after(Duration::from_secs(20 * 3_600));
    let parked = Outcome::NotTried { until: Some(later) };
    let held = scene.ends("root@web02.example", None, parked).await;
    scene.store.hold(held, scene.clock.wall(), "a storm".into()).await.unwrap();
    scene.ends("", None, lost()).await;
    scene.ends("root@web02.example", Some(Notify::default()), lost()).await;
    let id = scene.ends("joe@partner.example", None, lost()).await;
    scene.look_after(59).await;
    assert!(scene.notices().await.is_empty(), "more may come");
    scene.look_after(1).await;
    let notices = scene.notices().await;
    let told: Vec<&str> = notices.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(told, ["admin@example.org", "joe@partner.example"]);
    for words in [
        "Subject: [web01.example] Mail may not have arrived: Toner low",
        "gone@example.net (may have arrived): the connection was lost",
        "pillarbox queue retry ID",
        "pillarbox queue delete ID",
        "Action: failed\r\nStatus: 5.4.2",
    ] {
        assert!(notices[0].1.contains(words), "{words} is missing in\n{}", notices[0].1);
    }
    assert!(scene.store.unnotified(10).await.unwrap().is_empty());
    scene.look_after(7 * 24 * 3_600).await;
    assert_eq!(scene.notices().await.len(), 2, "once");
    let record = scene.store.show(id).await.unwrap().unwrap().record;
    assert_eq!(record.recipients[0].state.name(), "held", "a person decides");
}

/// Refused for the time being.
fn deferred(until: Timestamp) -> Outcome {
    Outcome::Deferred { until, reply: "450 4.2.1 too fast".into() }
}

const ALL: Notify = Notify { success: true, failure: true, delay: true };

#[tokio::test]
async fn the_limit_of_an_hour_holds_for_senders_too_and_the_administrator_hears_how_many_were_left_out()
 {
    let mut scene = Scene::new(true);
    for number in 0..9 {
        scene.refused(&format!("joe{number}@partner.example"), None).await;
    }
    scene.look_after(60).await;
    let notices = scene.notices().await;
    assert_eq!(notices.len(), 4, "the administrator's and three");
    let (_, text) = notices.iter().find(|(to, _)| to == "admin@example.org").unwrap();
    assert!(text.contains("9 messages could not be relayed"), "{text}");
    assert!(text.contains("Not told: 6 of the senders"), "{text}");
    scene.look_after(3_600).await;
    assert_eq!(scene.notices().await.len(), 4, "what was left out is not told an hour later");
}

#[tokio::test]
async fn a_message_that_is_refused_for_hours_is_told_of_once_and_one_that_waits_for_the_budget_is_not()
 {
    let mut scene = Scene::new(false);
    let later = scene.clock.wall().after(Duration::from_secs(20 * 3_600));
    let refused = scene.ends("root@web02.example", None, deferred(later)).await;
    let parked = Outcome::NotTried { until: Some(later) };
    scene.ends("root@web02.example", None, parked.clone()).await;
    scene
        .ends(
            "root@web02.example",
            Some(Notify { failure: true, ..Notify::default() }),
            deferred(later),
        )
        .await;
    scene.look_after(4 * 3_600 - 60).await;
    assert!(scene.notices().await.is_empty());
    scene.look_after(300).await;
    let notices = scene.notices().await;
    assert_eq!(notices.len(), 1);
    for words in [
        "Subject: [web01.example] Mail is waiting: Toner low",
        "Action: delayed",
        "450 4.2.1 too fast",
    ] {
        assert!(notices[0].1.contains(words), "{words} is missing in\n{}", notices[0].1);
    }
    scene.look_after(3_600).await;
    assert_eq!(scene.notices().await.len(), 1, "once");
    let record = scene.store.show(refused).await.unwrap().unwrap().record;
    let sent = &record.notices[0];
    assert_eq!((sent.kind, sent.to.as_str()), (NoticeKind::Delayed, "admin@example.org"));
}

#[tokio::test]
async fn who_asks_to_hear_of_a_delay_hears_of_one_that_is_the_budgets_too() {
    let mut scene = Scene::new(true);
    let later = scene.clock.wall().after(Duration::from_secs(20 * 3_600));
    scene.ends("joe@partner.example", Some(ALL), Outcome::NotTried { until: Some(later) }).await;
    scene.look_after(4 * 3_600).await;
    let notices = scene.notices().await;
    let told: Vec<&str> = notices.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(told, ["admin@example.org", "joe@partner.example"]);
    let text = notices[1].1.replace("=\r\n", "");
    assert!(text.contains("it waits for the account or for the day's budget"), "{text}");
}

#[tokio::test]
async fn a_delay_is_never_told_of_when_the_configuration_says_so() {
    let mut scene = Scene::new(false);
    Arc::make_mut(&mut scene.notifier.options).delay_after = None;
    let later = scene.clock.wall().after(Duration::from_secs(20 * 3_600));
    scene.ends("root@web02.example", Some(ALL), deferred(later)).await;
    scene.look_after(10 * 3_600).await;
    assert!(scene.notices().await.is_empty());
}

#[tokio::test]
async fn a_sender_elsewhere_that_asks_for_it_is_told_that_its_mail_was_relayed() {
    let mut scene = Scene::new(true);
    let relayed = Outcome::Relayed { reply: "250 2.0.0 OK".into() };
    let id = scene.ends("joe@partner.example", Some(ALL), relayed).await;
    assert!(
        scene.store.history(None, 10).await.unwrap().is_empty(),
        "it stays until somebody was told"
    );
    scene.look_after(60).await;
    let notices = scene.notices().await;
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].0, "joe@partner.example");
    assert!(notices[0].1.contains("Action: relayed\r\nStatus: 2.0.0"), "{}", notices[0].1);
    let history = scene.store.history(None, 10).await.unwrap();
    assert_eq!((history[0].id, history[0].record.notices[0].kind), (id, NoticeKind::Relayed));
    scene.look_after(600).await;
    assert_eq!(scene.notices().await.len(), 1, "once");
}

#[tokio::test]
async fn nobody_is_told_of_a_success_where_senders_are_not_told_or_have_no_address_elsewhere() {
    let relayed = || Outcome::Relayed { reply: "250 2.0.0 OK".into() };
    for (senders, sender) in
        [(false, "joe@partner.example"), (true, "root@web01.example"), (true, "")]
    {
        let mut scene = Scene::new(senders);
        scene.ends(sender, Some(ALL), relayed()).await;
        scene.look_after(0).await;
        assert!(scene.notices().await.is_empty());
        assert_eq!(
            scene.store.history(None, 10).await.unwrap().len(),
            1,
            "and it waits for nothing"
        );
    }
}

#[tokio::test]
async fn the_whole_message_is_returned_when_its_client_asks_for_it() {
    let mut scene = Scene::new(false);
    let dead = Outcome::Dead { reply: "550 5.1.1 no such user".into() };
    let full =
        |envelope: &mut Envelope| envelope.dsn.content = Some(crate::smtp::dsn::Content::Full);
    scene.message("root@web02.example", None, full, dead).await;
    scene.look_after(60).await;
    let (_, text) = &scene.notices().await[0];
    let returned =
        text.split("Content-Type: message/rfc822\r\n").nth(1).expect("the whole message");
    assert!(returned.contains("Message-ID: <7@printer.lan>\r\n\r\ntext\r\n"), "{text}");
}

/// A message of normal mail to one recipient, which takes this route.
async fn accept(scene: &Scene, route: Option<&str>) {
    let (to, now) = ("ann@example.net".parse().unwrap(), scene.clock.wall());
    let mut envelope = envelope(to, "printer", now, Lane::Notice);
    envelope.lane = Lane::Normal;
    envelope.reverse_path = "a@example.org".parse().ok();
    let mut draft = scene.store.begin(envelope).unwrap();
    draft.ruled(Ruled { route: route.map(str::to_owned), ..Ruled::default() });
    draft.write(b"Subject: one\r\n\r\ntext\r\n").await.unwrap();
    let _receipt = scene.store.enqueue(draft).await.unwrap();
}

/// Relays the next one.
async fn relay(scene: &Scene, terms: ClaimLimits) {
    let claim = scene.store.claim_due(scene.clock.now(), terms).await.unwrap();
    let Claim::Message(claimed) = claim else { panic!("nothing to claim: {claim:?}") };
    let outcomes = vec![(0, Outcome::Relayed { reply: "250 OK".into() })];
    let reservation = claimed.reservation;
    let settlement = Settlement { reservation, at: scene.clock.wall(), outcomes };
    scene.store.settle(claimed.id, settlement).await.unwrap();
}

#[tokio::test]
async fn a_spent_day_with_mail_waiting_is_told_once_a_day_by_the_notices_own_reserve() {
    let mut scene = Scene::new(false);
    let account = AccountKey::MAIN;
    Arc::make_mut(&mut scene.notifier.options).days =
        vec![super::super::Day { account, name: None, limit: 3.into(), others: 2.into() }];
    let terms = ClaimLimits {
        account: AccountKey::MAIN,
        limit: crate::budget::Limit::of(3),
        notice_reserve: 1,
        urgent_reserve: 0,
        recipients_max: 100,
    };
    for _ in 0..2 {
        accept(&scene, None).await;
        relay(&scene, terms).await;
    }
    scene.notifier.look().await.unwrap();
    assert_eq!(scene.store.totals().messages, 0, "a spent day without mail is no news");
    for _ in 0..3 {
        accept(&scene, None).await;
    }
    scene.notifier.look().await.unwrap();
    assert_eq!(scene.store.totals().messages, 4, "the mail and the notice");
    // The notice leaves although nothing else may.
    let claim = scene.store.claim_due(scene.clock.now(), terms).await.unwrap();
    let Claim::Message(notice) = claim else { panic!("the notice waits: {claim:?}") };
    let mut reader = scene.store.open_message(notice.id).await.unwrap();
    let mut text = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        text.extend_from_slice(&block);
    }
    let text = String::from_utf8(text).unwrap();
    let subject = "Subject: web01.example: 3 recipients wait, the budget of the day is spent\r\n";
    assert!(text.contains(subject) && text.contains("To: admin@example.org\r\n"), "{text}");
    assert!(
        text.contains("Mail leaves again at 2027-01-16T08:00:00Z: the 24 h budget is"),
        "{text}"
    );
    // The words of the day as a whole, not of the part that this mail may spend.
    let says = "may write to 3 recipients in any 24 hours. 2 are spent, and what\r\n\
                is left is kept for urgent mail and notices: mail to\r\n3 recipients waits.";
    assert!(text.replace("=\r\n", "").contains(says), "{text}");
    for _ in 0..40 {
        scene.clock.advance(Duration::from_secs(1_800));
        scene.notifier.look().await.unwrap();
    }
    assert_eq!(scene.store.totals().messages, 4, "once a day");
    scene.restart();
    scene.notifier.look().await.unwrap();
    assert_eq!(scene.store.totals().messages, 4, "a restart tells nothing again");
    let outcomes = vec![(0, Outcome::Relayed { reply: "250 OK".into() })];
    let (reservation, at) = (notice.reservation, scene.clock.wall());
    scene.store.settle(notice.id, Settlement { reservation, at, outcomes }).await.unwrap();
    scene.restart();
    scene.notifier.look().await.unwrap();
    assert_eq!(scene.store.totals().messages, 3, "not when the notice has left either");
}

#[tokio::test]
async fn of_several_accounts_each_has_its_spent_day_told_by_its_name_and_with_its_own_mail() {
    let mut scene = Scene::new(false);
    let second = AccountKey::of("second");
    let limits = |account, limit: u32| ClaimLimits {
        account,
        limit: crate::budget::Limit::of(limit),
        notice_reserve: 0,
        urgent_reserve: 0,
        recipients_max: 100,
    };
    let known = |name: &str| {
        let account = AccountKey::of(name);
        (account, Known { name: name.into(), limits: limits(account, 1) })
    };
    scene.store.set_accounts(Accounts {
        accounts: [known("main"), known("second")].into(),
        routes: [(
            RouteKey::of("shop"),
            Route { accounts: vec![second], fail_over: FailOver::Never },
        )]
        .into(),
        ..Accounts::default()
    });
    let day = |name: &str| super::super::Day {
        account: AccountKey::of(name),
        name: Some(name.into()),
        limit: 1.into(),
        others: 1.into(),
    };
    Arc::make_mut(&mut scene.notifier.options).days = vec![day("main"), day("second")];
    accept(&scene, Some("shop")).await;
    relay(&scene, limits(second, 1)).await;
    for route in [Some("shop"), Some("shop"), None] {
        accept(&scene, route).await;
    }
    scene.notifier.look().await.unwrap();
    assert_eq!(scene.store.totals().messages, 4, "the mail, and the notice of one account");
    let claim = scene.store.claim_due(scene.clock.now(), limits(AccountKey::MAIN, 1)).await;
    let Ok(Claim::Message(notice)) = claim else { panic!("the notice leaves by main: {claim:?}") };
    let mut reader = scene.store.open_message(notice.id).await.unwrap();
    let mut text = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        text.extend_from_slice(&block);
    }
    let text = String::from_utf8(text).unwrap().replace("=\r\n", "");
    for words in [
        "2 recipients wait, the budget of the day of second\r\n is spent\r\n",
        "The account second of the relay on web01.example may write to 1 recipients",
        ": account second: the 24 h budget is spent",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // The notice has spent the main account's day.
    scene.notifier.look().await.unwrap();
    scene.notifier.look().await.unwrap();
    assert_eq!(scene.store.totals().messages, 5, "each once");
}
