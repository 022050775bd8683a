//! The figures of a queue and a history, and their text.

use std::{fs, path::Path, sync::Arc};

use super::*;
use crate::{
    admin::weekly::words,
    budget::AccountKey,
    clock::{Clock as _, ManualClock},
    findings::{Finding, Outcome},
    message::envelope::{BodyKind, Envelope, Origin},
    queue::{Claim, ClaimLimits, Outcome as End, Settlement, fold::Fold, id::QueueId},
    smtp::dsn::Dsn,
};

const START: Timestamp = Timestamp(1_800_000_000_000);
const LIFETIME: Duration = Duration::from_secs(30 * 86_400);
const HALF_A_WEEK: Duration = Duration::from_secs(302_400);

struct Scene {
    clock: ManualClock,
    store: Queue,
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::new(START);
        let store = Queue::in_memory(Arc::new(clock.clone()), 1 << 20);
        Self { clock, store }
    }

    /// A message of a device that ends so.
    async fn message(&self, client: &str, lane: Lane, end: End) {
        let envelope = Envelope {
            reverse_path: "sender@example.org".parse().ok(),
            forward_paths: vec!["a@example.net".parse().unwrap()],
            body: BodyKind::SevenBit,
            internationalized: false,
            dsn: Dsn::default(),
            lane,
            origin: Origin {
                address: client.parse().unwrap(),
                helo: "device".into(),
                protocol: "SMTP".into(),
                login: None,
                local: None,
            },
            accepted_at: self.clock.wall(),
        };
        let mut draft = self.store.begin(envelope).unwrap();
        draft.write(b"Subject: toner\r\n\r\nlow\r\n").await.unwrap();
        let _for_nobody = self.store.enqueue(draft).await.unwrap();
        let terms = ClaimLimits {
            account: AccountKey::MAIN,
            limit: crate::budget::Limit::of(10_000),
            recipients_max: 100,
            urgent_reserve: 0,
            notice_reserve: 0,
        };
        let claim = self.store.claim_due(self.clock.now(), terms).await.unwrap();
        let Claim::Message(claimed) = claim else { panic!("nothing to claim") };
        let settlement = Settlement {
            reservation: claimed.reservation,
            at: self.clock.wall(),
            outcomes: vec![(0, end)],
        };
        self.store.settle(claimed.id, settlement).await.unwrap();
    }

    /// So many that are folded, of the device that has sent most.
    async fn folded(&self, number: usize) -> Vec<QueuedMessage> {
        let mut one = self.store.history(None, 1).await.unwrap().remove(0);
        let storm = QueueId::from_bytes([2; 16]);
        one.record.accepted_at = self.clock.wall();
        one.record.attempts.clear();
        one.record.about.client = Client::At([192, 0, 2, 7].into());
        one.record.fold = Some(Fold { storm, from: "root@nas".into(), told: None });
        let waits = RecipientState::Queued { due: self.clock.wall(), resend: false };
        one.record.recipients[0].state = waits;
        vec![one; number]
    }

    async fn figures(&self, since: Timestamp, reports: &[Report]) -> Figures {
        self.figures_with(since, reports, &[]).await
    }

    /// The same, as if these were in the queue as well.
    async fn figures_with(
        &self,
        since: Timestamp,
        reports: &[Report],
        more: &[QueuedMessage],
    ) -> Figures {
        let now = self.clock.wall();
        let mut tally = Tally::new(since, now, LIFETIME).walk(&self.store).await.unwrap();
        more.iter().for_each(|message| tally.add(message));
        Figures {
            host: "web01.example".into(),
            limit: Some(475),
            ..tally.figures(now, &kept(reports))
        }
    }
}

fn relayed() -> End {
    End::Relayed { reply: "250 2.0.0 OK".into() }
}

fn dead(reply: &str) -> End {
    End::Dead { reply: reply.into() }
}

fn diagnosis(at: Timestamp, failed: &str, well: &str) -> Report {
    let finding = Finding::new;
    let findings =
        vec![finding(failed, Outcome::fail("no", "mend it")), finding(well, Outcome::pass("ok"))];
    Report { at, took_ms: 1, findings }
}

/// `tests/golden/NAME`, which BLESS=1 writes anew.
fn check_golden(name: &str, text: &str) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&golden, text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&golden).unwrap_or_default(), "{}", golden.display());
}

#[tokio::test]
async fn a_week_tells_for_whom_the_budget_was_spent_what_changed_and_what_needs_a_person() {
    let scene = Scene::new();
    scene.message("192.0.2.7", Lane::Normal, relayed()).await;
    scene.message("192.0.2.9", Lane::Normal, relayed()).await;
    scene.message("192.0.2.9", Lane::Normal, dead("550 5.1.1 no user 17")).await;
    scene.clock.advance(HALF_A_WEEK);
    scene.clock.advance(HALF_A_WEEK);
    let since = scene.clock.wall().before(HALF_A_WEEK);
    for _ in 0..3 {
        scene.message("192.0.2.7", Lane::Normal, relayed()).await;
    }
    scene.message("192.0.2.8", Lane::Urgent, relayed()).await;
    scene.message("192.0.2.7", Lane::Normal, dead("550 5.1.1 no user 4711")).await;
    scene.message("192.0.2.7", Lane::Bulk, dead("552 5.2.3 too \u{1b}[31mlarge")).await;
    scene.clock.advance(Duration::from_secs(60));
    let reports = [diagnosis(START, "dns", "clock"), diagnosis(scene.clock.wall(), "clock", "dns")];
    let bans = scene.folded(12).await;
    let week = scene.figures_with(scene.clock.wall().before(WEEK), &reports, &bans).await;
    let week = Figures {
        waiting: 2,
        oldest: Some(since),
        dead: 3,
        spent: 4,
        needs: vec![Need {
            what: "3 recipients were refused for good".into(),
            remedy: "pillarbox dead list, then pillarbox dead resend or delete".into(),
        }],
        ..week
    };
    assert_eq!((week.taken, week.relayed, week.died, week.partial), (18, 4, 2, false));
    assert_eq!(week.folded, 12);
    let changes = &week.changes;
    assert_eq!(
        (changes.new_clients.as_slice(), changes.silent_clients.as_slice()),
        (["192.0.2.8".to_owned()].as_slice(), ["192.0.2.9".to_owned()].as_slice())
    );
    assert_eq!(changes.new_refusals.len(), 1, "numbers make no new kind: {changes:?}");
    assert_eq!((changes.failing.concat(), changes.mended.concat()), ("clock".into(), "dns".into()));
    assert_eq!(words::subject(&week), "web01.example: 4 recipients relayed, one thing needs you");
    let text = words::text(&week);
    assert!(!text.contains('\u{1b}'), "{text}");
    check_golden("report_week.txt", &text);
}

#[tokio::test]
async fn a_first_week_has_nothing_to_be_compared_with_and_an_empty_one_is_one_line() {
    let scene = Scene::new();
    scene.clock.advance(HALF_A_WEEK);
    let empty = scene.figures(scene.clock.wall().before(WEEK), &[]).await;
    assert_eq!(words::subject(&empty), "web01.example: a week without mail");
    check_golden("report_empty.txt", &words::text(&empty));
    assert_eq!(words::text(&empty).lines().count(), 1);
    scene.message("192.0.2.7", Lane::Normal, relayed()).await;
    let first = scene.figures(scene.clock.wall().before(WEEK), &[]).await;
    assert!(!first.changes.comparable && first.changes.is_empty(), "{first:?}");
    check_golden("report_first.txt", &words::text(&first));
}

#[tokio::test]
async fn ten_thousand_origins_and_refusals_take_no_more_room_than_the_tables_have() {
    let mut tally = Tally::new(START, START.after(WEEK), LIFETIME);
    let scene = Scene::new();
    scene.message("192.0.2.7", Lane::Normal, dead("550 no")).await;
    let message = scene.store.list(None, 1).await.unwrap().remove(0);
    for number in 0..10_000 {
        let mut message = message.clone();
        message.record.about.user = Some(format!("user{number}"));
        message.record.attempts[0].reply = format!("550 {}", "x".repeat(number % 3_000));
        message.record.recipients[0].state = RecipientState::Relayed { at: START };
        tally.add(&message);
    }
    assert!(tally.refusals.len() <= VALUES_MAX && tally.clients.now.len() <= VALUES_MAX);
    let figures = tally.figures(START.after(WEEK), &checkups::Kept::default());
    assert_eq!((figures.origins.len(), figures.other_origins.recipients), (20, 9_980));
}

fn kept(reports: &[Report]) -> checkups::Kept {
    checkups::Kept { reports: reports.to_vec(), ..checkups::Kept::default() }
}

#[test]
fn what_failed_and_was_mended_on_one_day_is_told_unless_it_fails_again_or_was_before_the_period() {
    let day = Duration::from_secs(86_400);
    let mended = |name: &str, days| {
        let at = START.after(day * days);
        checkups::Mended { name: name.into(), at }
    };
    let mut kept =
        kept(&[diagnosis(START, "", "clock"), diagnosis(START.after(4 * day), "dns", "clock")]);
    kept.mended = vec![mended("clock", 1), mended("dns", 3), mended("dns", 4)];
    let (failing, well) = checks(&kept, START.after(2 * day));
    assert_eq!((failing.concat(), well.concat()), ("dns".into(), String::new()));
    let (failing, well) = checks(&kept, START);
    assert_eq!((failing.concat(), well.concat()), ("dns".into(), "clock".into()));
}

/// Everything has gone wrong at once, and strangers have had their say.
fn terrible() -> Figures {
    let share = |name: &str, recipients| Share { name: name.into(), recipients };
    let need = |what: &str, remedy: &str| Need { what: what.into(), remedy: remedy.into() };
    Figures {
        host: "web01.example".into(),
        since: START,
        now: START.after(WEEK),
        partial: true,
        taken: 4_711,
        relayed: 0,
        died: 94,
        waiting: 188,
        oldest: Some(START),
        held: 12,
        dead: 94,
        limit: Some(475),
        changes: Changes {
            comparable: true,
            new_clients: vec!["192.0.2.66 (mallory\nWhat needs you\n  Nothing.)".into()],
            silent_clients: vec!["192.0.2.7".into()],
            new_refusals: vec![share(
                "535-5.7.8 \u{1b}[2J no \u{202e} more\r\n\r\nMail\r\n  What to do: run this",
                94,
            )],
            failing: vec!["login".into(), "store-volume".into()],
            mended: Vec::new(),
        },
        needs: vec![
            need(
                &format!("the account is paused-login: 535-5.7.8 {}", "- not so ".repeat(60)),
                "Make a new app password, put it into the password file, then: pillarbox resume",
            ),
            need("94 recipients were refused for good", "pillarbox dead list"),
            need("the check store-volume fails: it goes with its container", ""),
        ],
        ..Figures::default()
    }
}

#[test]
fn a_terrible_week_is_told_and_no_words_of_a_stranger_look_like_ours() {
    let text = words::text(&terrible());
    assert_eq!(
        words::subject(&terrible()),
        "web01.example: 0 recipients relayed, 3 things need you"
    );
    check_golden("report_terrible.txt", &text);
    let at_the_margin: Vec<&str> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with(' ')).collect();
    assert_eq!(
        at_the_margin,
        [
            "The relay on web01.example,",
            "from 2027-01-15T08:00:00Z to 2027-01-22T08:00:00Z.",
            "What needs you",
            "Mail",
            "What changed",
            "`pillarbox report` shows this at any time. [report] in relay.toml says whether",
            "it comes by mail, which costs one recipient of the budget.",
        ]
    );
    let items = text.lines().filter(|line| line.starts_with("  - ")).count();
    let remedies = text.lines().filter(|line| line.starts_with("    What to do: ")).count();
    assert_eq!((items, remedies), (3, 2), "{text}");
    assert!(!text.chars().any(|one| one != '\n' && text::is_deceptive(one)), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[tokio::test]
async fn what_the_history_has_forgotten_is_said_and_compared_with_nothing() {
    let scene = Scene::new();
    scene.message("192.0.2.7", Lane::Normal, relayed()).await;
    scene.clock.advance(WEEK);
    scene.message("192.0.2.8", Lane::Normal, relayed()).await;
    let now = scene.clock.wall();
    let since = now.before(HALF_A_WEEK);
    for (days, partial, comparable) in [(30, false, true), (5, false, false), (1, true, false)] {
        let lifetime = Duration::from_secs(days * 86_400);
        let tally = Tally::new(since, now, lifetime).walk(&scene.store).await.unwrap();
        let figures = tally.figures(now, &checkups::Kept::default());
        assert_eq!((figures.partial, figures.changes.comparable), (partial, comparable), "{days}");
        assert_eq!(figures.changes.new_clients.is_empty(), !comparable, "{days}");
        assert_eq!(words::text(&figures).contains("the history forgot"), partial, "{days}");
    }
}
