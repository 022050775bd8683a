//! Two accounts behind one API: each tells of itself by its name, and an order for one leaves the other alone.

use std::sync::Arc;

use super::{Upstream as _, Upstreams};
use crate::{
    admin::{
        context::{Facts, Sources},
        health::Health,
        outlook::Age,
        spending, stand, status,
        tests::{Idle, account, limits, sources},
    },
    budget::{AccountKey, MAIN},
    clock::{Clock as _, ManualClock, Timestamp},
    live::Live,
    queue::{
        Claim, Outcome, Queue, Settlement,
        fixtures::envelope,
        id::QueueId,
        pause::Pause,
        routes::{Accounts, FailOver, Known, Route},
        ruled::Ruled,
        state::{AccountCondition, AccountState},
        waiting::Because,
        way::RouteKey,
    },
    shutdown::Shutdown,
};

const SECOND: &str = "second";

/// Mail of the route `shop` is the second account's.
struct Stage {
    clock: ManualClock,
    queue: Arc<Queue>,
    main: Arc<Idle>,
    second: Arc<Idle>,
    sources: Sources,
    _directory: tempfile::TempDir,
}

fn known(name: &str, limit: u32) -> (AccountKey, Known) {
    (AccountKey::of(name), Known { name: name.into(), limits: limits(name, limit) })
}

fn stage() -> Stage {
    let (directory, stop) = (tempfile::tempdir().expect("a directory"), Shutdown::new());
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let queue = Arc::new(Queue::in_memory(Arc::new(clock.clone()), 1 << 20));
    let second = AccountKey::of(SECOND);
    let shop = Route { accounts: vec![second], fail_over: FailOver::Never };
    queue.set_accounts(Accounts {
        accounts: [known(MAIN, 100), known(SECOND, 20)].into(),
        routes: [(RouteKey::of("shop"), shop)].into(),
        ..Accounts::default()
    });
    let (main, other) = (Arc::new(Idle::default()), Arc::new(Idle::default()));
    let sources = sources(directory.path(), &clock, &queue, stop.watch(), 100);
    let accounts = vec![account(MAIN, 100), account(SECOND, 20)];
    let facts = Facts { accounts, ..Facts::clone(&sources.facts()) };
    let upstreams = Upstreams::new(main.clone()).with(vec![(second, other.clone())]);
    let sources = Sources { upstreams, facts: Live::new(facts), ..sources };
    Stage { clock, queue, main, second: other, sources, _directory: directory }
}

impl Stage {
    async fn accept(&self, route: Option<&str>) -> QueueId {
        let mut draft = self.queue.begin(envelope(self.clock.wall())).expect("room");
        draft.ruled(Ruled { route: route.map(str::to_owned), ..Ruled::default() });
        draft.write(b"Subject: test\r\n\r\nbody\r\n").await.expect("room");
        self.queue.enqueue(draft).await.expect("room").id()
    }

    fn shut(&self, account: &Idle, condition: AccountCondition) {
        let state = AccountState { condition, ..AccountState::open(self.clock.wall()) };
        *account.state.lock().expect("no panic") = Some(state);
    }

    async fn why(&self, id: QueueId) -> (Because, String, Option<String>) {
        let message = self.queue.show(id).await.expect("a queue").expect("it waits");
        let situations = stand::situations(&self.sources).await.expect("a queue");
        let situation = situations.of(&message.record);
        let departure = situation.departure_of_message(id, &message.record).expect("it waits");
        (departure.because, departure.why, departure.account_name)
    }
}

#[tokio::test]
async fn what_keeps_the_mail_of_one_account_keeps_no_other_mail() {
    let stage = stage();
    let (ordinary, of_shop) = (stage.accept(None).await, stage.accept(Some("shop")).await);
    stage.shut(&stage.second, AccountCondition::PausedCredentials);
    assert_eq!(stage.why(ordinary).await.0, Because::Now);
    let words = "the account second is paused-credentials".to_owned();
    let name = Some(SECOND.to_owned());
    assert_eq!(stage.why(of_shop).await, (Because::Account, words.clone(), name));
    let told = status::told(&stage.sources, Age::New).await.expect("a queue");
    let [second] = &told.others[..] else { panic!("one more account") };
    assert_eq!((told.account.condition.as_str(), told.departure.because), ("open", Because::Now));
    assert_eq!((second.name.as_str(), second.departure.why.as_str()), (SECOND, words.as_str()));
    assert_eq!((told.budget.limit, second.budget.limit), (100.into(), 20.into()));
    let troubles = Health::of(&stage.sources).await.troubles;
    let [trouble] = &troubles[..] else { panic!("{troubles:?}") };
    assert!(trouble.what.starts_with("the account second is paused-credentials"), "{trouble:?}");
}

#[tokio::test]
async fn the_forecast_of_each_account_is_of_its_own_mail() {
    let stage = stage();
    for (route, number) in [(None, 3), (Some("shop"), 2)] {
        for _ in 0..number {
            stage.accept(route).await;
        }
    }
    let (_, summary) = stage.sources.counted(Age::New).await.expect("a queue");
    let mut waiting = Vec::new();
    for stand in stand::stands(&stage.sources, Some(&summary)).await.expect("a queue") {
        let key = stand.facts.key();
        let forecast = stand::foretell(&stage.sources, key, &stand.situation).await;
        waiting.push((summary.due_of(key), forecast.expect("a queue").waiting()));
    }
    assert_eq!(waiting, [(3, 3), (2, 2)]);
}

#[tokio::test]
async fn an_order_for_one_account_leaves_the_other_alone_and_one_without_a_name_is_for_all() {
    use crate::admin::of_account::OfAccount;

    let stage = stage();
    let of = |name: Option<&str>| OfAccount { account: name.map(str::to_owned) };
    let both = of(None).each(&stage.sources).expect("both");
    assert_eq!(both, (AccountKey::MAIN, vec![AccountKey::of(SECOND)]));
    let (only, others) = of(Some(SECOND)).each(&stage.sources).expect("there is one");
    assert_eq!((only, others), (AccountKey::of(SECOND), Vec::new()));
    let pause = Pause::new(stage.clock.wall(), None, "stocktaking");
    stage.sources.upstreams.of(only).pause(pause).await.expect("a queue");
    let line = status::line(&stage.sources).await;
    assert_eq!(
        line,
        "the queue is empty, account main open, account second open, paused by the administrator until `pillarbox resume --account second`: stocktaking"
    );
    let troubles = Health::of(&stage.sources).await.troubles;
    let [pause] = &troubles[..] else { panic!("{troubles:?}") };
    assert!(pause.what.contains("until `pillarbox resume --account second`"), "{pause:?}");
    assert!(
        pause.remedy.ends_with("pillarbox resume --account second ends the pause"),
        "{pause:?}"
    );
    let of_shop = stage.accept(Some("shop")).await;
    let message = stage.queue.show(of_shop).await.expect("a queue").expect("it waits");
    let situations = stand::situations(&stage.sources).await.expect("a queue");
    let situation = situations.of(&message.record);
    let departure = situation.departure_of_message(of_shop, &message.record).expect("it waits");
    let told = [departure.sentence(|_| String::new()), departure.advice("", true).expect("advice")];
    for words in told {
        assert!(words.contains("`pillarbox resume --account second`"), "{words}");
    }
    assert!(stage.main.status().account.pause.is_none());
    let refused = of(Some("shop")).each(&stage.sources);
    assert!(refused.is_err(), "a route is no account");
}

#[tokio::test]
async fn with_one_account_nothing_is_called_by_a_name() {
    let stage = stage();
    let facts =
        Facts { accounts: vec![account(MAIN, 100)], ..Facts::clone(&stage.sources.facts()) };
    let upstreams = Upstreams::new(stage.main.clone());
    let sources = Sources { upstreams, facts: Live::new(facts), ..stage.sources.clone() };
    stage.queue.set_accounts(Accounts::default());
    stage.shut(&stage.main, AccountCondition::PausedCredentials);
    let told = status::told(&sources, Age::New).await.expect("a queue");
    let json = serde_json::to_value(&told).expect("JSON");
    assert_eq!(json.get("others"), None);
    assert_eq!(status::line(&sources).await, "the queue is empty, account paused-credentials");
}

#[tokio::test]
async fn the_report_of_the_budget_says_which_account_spent_what_and_can_be_of_one_alone() {
    let stage = stage();
    for (route, account) in [(None, MAIN), (Some("shop"), SECOND), (Some("shop"), SECOND)] {
        stage.accept(route).await;
        let now = stage.clock.now();
        let claim = stage.queue.claim_due(now, limits(account, 100)).await.expect("a queue");
        let Claim::Message(claimed) = claim else { panic!("nothing to claim: {claim:?}") };
        let outcomes = vec![(0, Outcome::Relayed { reply: "250 OK".into() })];
        let settlement = Settlement { reservation: claimed.reservation, at: now.wall, outcomes };
        stage.queue.settle(claimed.id, settlement).await.expect("a queue");
    }
    let report = async |only: Option<&str>| {
        let only = only.map(AccountKey::of);
        let report = spending::count(&stage.sources, 1, only).await.expect("a queue");
        let accounts = report.accounts.into_iter().map(|one| (one.by, one.spent.recipients));
        (report.all.recipients, accounts.collect::<Vec<_>>())
    };
    let both = vec![(SECOND.to_owned(), 2), (MAIN.to_owned(), 1)];
    assert_eq!(report(None).await, (3, both));
    assert_eq!(report(Some(SECOND)).await, (2, vec![(SECOND.to_owned(), 2)]));
    assert_eq!(report(Some(MAIN)).await, (1, vec![(MAIN.to_owned(), 1)]));
}
