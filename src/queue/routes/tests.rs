//! The routes over a queue on disk: whose mail leaves by which account, while each of them fails in turn.

use std::time::Duration;

use super::*;
use crate::{
    budget::WINDOW,
    clock::Clock as _,
    queue::{
        Claim, ClaimLimits, ClaimedMessage, Outcome, Settlement,
        allowance::Told,
        fixtures::{LIMITS, Scene, envelope},
        id::QueueId,
        ruled::Ruled,
    },
};

const MINUTE: Duration = Duration::from_secs(60);
const MAIN: AccountKey = AccountKey::MAIN;

fn second() -> AccountKey {
    AccountKey::of("second")
}

/// Two accounts with ten recipients each; the mail of the route `shop` is the main account's.
fn accounts(fail_over: FailOver) -> Accounts {
    let known = |name: &str| Known {
        name: name.into(),
        limits: ClaimLimits { account: AccountKey::of(name), ..LIMITS },
    };
    let route = Route { accounts: vec![MAIN, second()], fail_over };
    Accounts {
        accounts: [(MAIN, known("main")), (second(), known("second"))].into(),
        routes: [(RouteKey::of("shop"), route)].into(),
        fail_over_after: MINUTE,
    }
}

fn scene(fail_over: FailOver) -> Scene {
    Scene::with(|options| options.accounts = accounts(fail_over))
}

async fn accept(scene: &Scene, route: Option<&str>) -> QueueId {
    let mut draft = scene.queue().begin(envelope(scene.clock.wall())).unwrap();
    draft.write(b"Subject: order\r\n\r\n1\r\n").await.unwrap();
    draft.ruled(Ruled { route: route.map(str::to_owned), ..Ruled::default() });
    scene.queue().enqueue(draft).await.unwrap().id()
}

async fn claim(scene: &Scene, account: AccountKey) -> Result<ClaimedMessage, Claim> {
    let terms = ClaimLimits { account, ..LIMITS };
    match scene.queue().claim_due(scene.clock.now(), terms).await.unwrap() {
        Claim::Message(claimed) => Ok(claimed),
        nothing => Err(nothing),
    }
}

async fn settle(scene: &Scene, claimed: &ClaimedMessage, outcome: Outcome) {
    let outcomes = vec![(0, outcome)];
    let (reservation, at) = (claimed.reservation, scene.clock.wall());
    let settlement = Settlement { reservation, at, outcomes };
    scene.queue().settle(claimed.id, settlement).await.unwrap();
}

/// Its ten recipients are spent.
async fn spend_all(scene: &Scene, account: AccountKey) {
    let mut accounts = (*scene.queue().shared.accounts.get()).clone();
    let own = Route { accounts: vec![account], fail_over: FailOver::Never };
    accounts.routes.insert(RouteKey::of("own"), own);
    scene.queue().set_accounts(accounts);
    for _ in 0..10 {
        accept(scene, Some("own")).await;
        let claimed = claim(scene, account).await.unwrap();
        settle(scene, &claimed, relayed()).await;
    }
}

fn relayed() -> Outcome {
    Outcome::Relayed { reply: "250 2.0.0 OK".into() }
}

/// The account is in this condition from now on, and is tried again after `pause`.
async fn condition(
    scene: &Scene,
    account: AccountKey,
    condition: AccountCondition,
    pause: Duration,
) {
    let now = scene.clock.wall();
    let until = (condition != AccountCondition::Open).then(|| now.after(pause));
    let state = AccountState { condition, until, ..AccountState::open(now) };
    scene.queue().set_account_state(account, state).await.unwrap();
}

/// Which of the two accounts has this message now; only one of them may.
async fn whose(scene: &Scene, id: QueueId) -> AccountKey {
    let mut found = Vec::new();
    for account in [second(), MAIN] {
        if let Ok(claimed) = claim(scene, account).await {
            assert_eq!(claimed.id, id);
            settle(scene, &claimed, Outcome::NotTried { until: None }).await;
            found.push(account);
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

#[tokio::test]
async fn an_account_of_which_less_is_allowed_than_it_may_spend_is_spent_with_that() {
    let scene = scene(FailOver::Spent);
    for _ in 0..6 {
        let id = accept(&scene, None).await;
        let claimed = claim(&scene, MAIN).await.unwrap();
        assert_eq!(claimed.id, id);
        settle(&scene, &claimed, relayed()).await;
    }
    let id = accept(&scene, Some("shop")).await;
    assert_eq!(whose(&scene, id).await, MAIN, "four of its ten are left");
    let (now, mut state) = (scene.clock.wall(), AccountState::open(scene.clock.wall()));
    for again in [false, true] {
        state.early.told(Told { again, alike: false }, 6, LIMITS.limit, now);
    }
    scene.queue().set_account_state(MAIN, state).await.unwrap();
    assert_eq!(whose(&scene, id).await, second(), "the upstream allows six");
    scene.clock.advance(WINDOW);
    assert_eq!(whose(&scene, id).await, MAIN);
}

#[tokio::test]
async fn a_spent_account_looks_again_when_its_day_has_room_though_another_has_the_mail() {
    let scene = scene(FailOver::Both);
    for account in [MAIN, second()] {
        spend_all(&scene, account).await;
    }
    let id = accept(&scene, Some("shop")).await;
    condition(&scene, MAIN, AccountCondition::PausedCredentials, 48 * 60 * MINUTE).await;
    let idle = claim(&scene, second()).await.unwrap_err();
    let Claim::Idle { next } = idle else { panic!("{idle:?}") };
    scene.clock.advance(MINUTE);
    let later = claim(&scene, second()).await.unwrap_err();
    let Claim::Idle { next: Some(at) } = later else { panic!("{later:?}, after {next:?}") };
    scene.clock.advance(at.since(scene.clock.wall()));
    assert_eq!(claim(&scene, second()).await.unwrap().id, id, "nobody else could wake it");
}

#[tokio::test]
async fn mail_without_a_route_is_the_main_account_s_and_that_of_a_route_its_first_account_s() {
    let scene = scene(FailOver::Both);
    let id = accept(&scene, None).await;
    assert!(matches!(claim(&scene, second()).await, Err(Claim::Idle { .. })));
    let claimed = claim(&scene, MAIN).await.unwrap();
    assert_eq!(claimed.id, id);
    settle(&scene, &claimed, relayed()).await;
    let id = accept(&scene, Some("shop")).await;
    assert_eq!(whose(&scene, id).await, MAIN);
}

#[tokio::test]
async fn another_stands_in_for_an_account_that_is_paused_for_a_minute_until_it_works_again() {
    let mut scene = scene(FailOver::Paused);
    let id = accept(&scene, Some("shop")).await;
    condition(&scene, MAIN, AccountCondition::PausedCredentials, 60 * MINUTE).await;
    assert_eq!(whose(&scene, id).await, MAIN, "not at once");
    let idle = claim(&scene, second()).await.unwrap_err();
    let Claim::Idle { next } = idle else { panic!("{idle:?}") };
    assert_eq!(next, Some(scene.clock.wall().after(MINUTE)), "it is to look then");
    scene.clock.advance(MINUTE);
    assert_eq!(whose(&scene, id).await, second());
    // One trouble follows the other: it is the same failure.
    condition(&scene, MAIN, AccountCondition::BackingOff, 60 * MINUTE).await;
    scene.restart(|_| ()).await;
    scene.clock.advance(MINUTE);
    assert_eq!(whose(&scene, id).await, second(), "a start knows it");
    scene.restart_without_index().await;
    condition(&scene, MAIN, AccountCondition::Open, MINUTE).await;
    assert_eq!(whose(&scene, id).await, MAIN);
}

#[tokio::test]
async fn an_account_whose_pause_is_over_is_tried_with_one_message_that_another_stands_in_for() {
    let scene = scene(FailOver::Paused);
    condition(&scene, MAIN, AccountCondition::BackingOff, 5 * MINUTE).await;
    scene.clock.advance(2 * MINUTE);
    let [first, other] = [accept(&scene, Some("shop")).await, accept(&scene, Some("shop")).await];
    let by_second = claim(&scene, second()).await.unwrap();
    assert_eq!(by_second.id, first);
    settle(&scene, &by_second, relayed()).await;
    assert!(claim(&scene, MAIN).await.is_err(), "its pause is not over");
    scene.clock.advance(3 * MINUTE);
    let probe = claim(&scene, MAIN).await.unwrap();
    assert_eq!(probe.id, other);
    settle(&scene, &probe, relayed()).await;
    condition(&scene, MAIN, AccountCondition::Open, MINUTE).await;
    let id = accept(&scene, Some("shop")).await;
    assert_eq!(whose(&scene, id).await, MAIN);
}

#[tokio::test]
async fn another_stands_in_for_an_account_whose_day_is_spent_until_it_has_room() {
    let scene = scene(FailOver::Spent);
    for _ in 0..10 {
        accept(&scene, Some("shop")).await;
        let claimed = claim(&scene, MAIN).await.unwrap();
        settle(&scene, &claimed, relayed()).await;
    }
    let id = accept(&scene, Some("shop")).await;
    assert_eq!(whose(&scene, id).await, second());
    let of_main = accept(&scene, None).await;
    assert!(matches!(claim(&scene, MAIN).await, Err(Claim::Exhausted { .. })));
    scene.queue().delete(of_main).await.unwrap();
    scene.clock.advance(WINDOW);
    assert_eq!(whose(&scene, id).await, MAIN);
    condition(&scene, MAIN, AccountCondition::PausedQuota, WINDOW).await;
    assert_eq!(whose(&scene, id).await, second(), "its upstream says that the day is full");
}

#[tokio::test]
async fn who_cannot_send_either_stands_in_for_nobody_until_it_may_be_tried() {
    for (fail_over, trouble, other) in [
        (FailOver::Spent, AccountCondition::PausedQuota, AccountCondition::PausedCredentials),
        (FailOver::Paused, AccountCondition::PausedCredentials, AccountCondition::PausedQuota),
        (FailOver::Both, AccountCondition::BackingOff, AccountCondition::BackingOff),
    ] {
        let scene = scene(fail_over);
        condition(&scene, MAIN, trouble, 60 * MINUTE).await;
        condition(&scene, second(), other, 30 * MINUTE).await;
        scene.clock.advance(2 * MINUTE);
        let id = accept(&scene, Some("shop")).await;
        assert_eq!(whose(&scene, id).await, MAIN, "{fail_over:?}");
        scene.clock.advance(28 * MINUTE);
        assert_eq!(whose(&scene, id).await, second(), "{fail_over:?}");
    }
    let scene = scene(FailOver::Paused);
    condition(&scene, MAIN, AccountCondition::PausedCredentials, 60 * MINUTE).await;
    let now = scene.clock.wall();
    let pause = Some(Pause::new(now, Some(now.after(20 * MINUTE)), "new plan"));
    let ordered = AccountState { pause, ..AccountState::open(now) };
    scene.queue().set_account_state(second(), ordered).await.unwrap();
    scene.clock.advance(2 * MINUTE);
    let id = accept(&scene, Some("shop")).await;
    assert_eq!(whose(&scene, id).await, MAIN, "a person has paused the other");
    scene.clock.advance(18 * MINUTE);
    assert_eq!(whose(&scene, id).await, second());
}

#[tokio::test]
async fn who_has_spent_its_own_day_stands_in_for_nobody_until_it_has_room() {
    let scene = scene(FailOver::Paused);
    spend_all(&scene, second()).await;
    condition(&scene, MAIN, AccountCondition::PausedCredentials, 48 * 60 * MINUTE).await;
    scene.clock.advance(2 * MINUTE);
    let id = accept(&scene, Some("shop")).await;
    assert_eq!(whose(&scene, id).await, MAIN, "the other's day is spent");
    scene.clock.advance(WINDOW);
    assert_eq!(whose(&scene, id).await, second());
}

#[tokio::test]
async fn without_leave_to_fail_over_mail_waits_for_its_account() {
    for (fail_over, trouble) in [
        (FailOver::Never, AccountCondition::PausedCredentials),
        (FailOver::Spent, AccountCondition::PausedCredentials),
        (FailOver::Paused, AccountCondition::PausedQuota),
    ] {
        let scene = scene(fail_over);
        condition(&scene, MAIN, trouble, 60 * MINUTE).await;
        scene.clock.advance(30 * MINUTE);
        let id = accept(&scene, Some("shop")).await;
        assert_eq!(whose(&scene, id).await, MAIN, "{fail_over:?}");
    }
}

#[tokio::test]
async fn a_message_whose_outcome_is_uncertain_stays_with_the_account_that_has_begun() {
    let mut scene = scene(FailOver::Both);
    let id = accept(&scene, Some("shop")).await;
    let claimed = claim(&scene, MAIN).await.unwrap();
    let (resend_at, reason) = (Some(scene.clock.wall()), "connection lost".to_owned());
    settle(&scene, &claimed, Outcome::Uncertain { resend_at, reason }).await;
    condition(&scene, MAIN, AccountCondition::PausedCredentials, 60 * MINUTE).await;
    scene.clock.advance(2 * MINUTE);
    let other = accept(&scene, Some("shop")).await;
    let by_second = claim(&scene, second()).await.unwrap();
    assert_eq!(by_second.id, other);
    settle(&scene, &by_second, relayed()).await;
    for _ in 0..2 {
        assert_eq!(whose(&scene, id).await, MAIN);
        scene.restart(|_| ()).await;
    }
}

#[tokio::test]
async fn mail_of_an_account_that_is_gone_is_the_main_account_s_also_when_its_outcome_is_uncertain()
{
    let mut scene = scene(FailOver::Both);
    let mut only_second = accounts(FailOver::Never);
    let route = Route { accounts: vec![second()], fail_over: FailOver::Never };
    only_second.routes.insert(RouteKey::of("shop"), route);
    scene.queue().set_accounts(only_second);
    let [plain, uncertain] =
        [accept(&scene, Some("shop")).await, accept(&scene, Some("shop")).await];
    let claimed = [claim(&scene, second()).await.unwrap(), claim(&scene, second()).await.unwrap()];
    settle(&scene, &claimed[0], Outcome::NotTried { until: None }).await;
    let (resend_at, reason) = (Some(scene.clock.wall()), "connection lost".to_owned());
    settle(&scene, &claimed[1], Outcome::Uncertain { resend_at, reason }).await;
    scene.options.accounts = Accounts::default();
    scene.restart(|_| ()).await;
    let mut found = Vec::new();
    while let Ok(claimed) = claim(&scene, MAIN).await {
        settle(&scene, &claimed, relayed()).await;
        found.push(claimed.id);
    }
    found.sort_unstable();
    assert_eq!(found, [plain, uncertain]);
}

#[tokio::test]
async fn what_each_account_has_spent_is_known_after_a_kill_and_half_of_each_when_it_is_lost() {
    let mut scene = scene(FailOver::Never);
    let mut accounts = accounts(FailOver::Never);
    let shop = Route { accounts: vec![second()], fail_over: FailOver::Never };
    accounts.routes.insert(RouteKey::of("shop"), shop);
    scene.options.accounts = accounts;
    scene.restart(|_| ()).await;
    for (account, route, number) in [(MAIN, None, 2), (second(), Some("shop"), 3)] {
        for _ in 0..number {
            accept(&scene, route).await;
            let claimed = claim(&scene, account).await.unwrap();
            settle(&scene, &claimed, relayed()).await;
        }
    }
    async fn spent(scene: &Scene) -> [u32; 2] {
        let now = scene.clock.now();
        let of = |account| scene.queue().ledger(account, now, LIMITS.limit);
        [of(MAIN).await.unwrap().spent, of(second()).await.unwrap().spent]
    }
    assert_eq!(spent(&scene).await, [2, 3]);
    scene.restart(|_| ()).await;
    assert_eq!(spent(&scene).await, [2, 3]);
    // The copy beside the index tells them apart as well.
    scene.restart_without_index().await;
    assert_eq!(spent(&scene).await, [2, 3]);
    accept(&scene, None).await;
    scene
        .restart(|scene| {
            scene.lose_index();
            std::fs::remove_file(scene.options.directory.join("ledger.copy")).unwrap();
        })
        .await;
    claim(&scene, MAIN).await.unwrap();
    assert_eq!(spent(&scene).await, [6, 5], "half of each, and this message");
}
