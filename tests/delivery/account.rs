//! Pauses of the account, and the brakes: budget, pace, logins.

use std::os::unix::fs::PermissionsExt;

use pillarbox::{
    budget::AccountKey,
    clock::Clock,
    delivery::{DepartureReason, Login, PasswordSource},
    message::envelope::Lane,
    queue::{pause::Pause, state::AccountCondition},
    sandbox::{Failure, Stage},
    shutdown::Phase,
};

use super::scene::{BODY, HOUR, MINUTE, START, Scene, eventually, login};

#[tokio::test]
async fn the_daily_limit_at_any_stage_pauses_the_account_and_harms_no_message() {
    for trigger in ["quota-rcpt", "quota", "quota-dot"] {
        let scene = Scene::running(|_| {}).await;
        let first = scene.submit(&[&format!("{trigger}@example.net")]).await;
        let state = scene.until_account(AccountCondition::PausedQuota).await;
        assert!(state.reason.contains("5.4.5") && !state.remedy.is_empty(), "{state:?}");
        assert_eq!(state.until, Some(scene.clock.wall().after(HOUR)), "{trigger}");
        let second = scene.submit(&["ok@example.net"]).await;
        scene.until_quiet().await;
        scene.until_names(first, &["queued"]).await;
        scene.until_names(second, &["queued"]).await;
        for id in [first, second] {
            assert_eq!(scene.state(id).await.1, 0, "{trigger}: no attempt is charged");
        }
        assert_eq!(
            scene
                .store
                .ledger(AccountKey::MAIN, scene.clock.now(), 500.into())
                .await
                .unwrap()
                .spent,
            0
        );
        assert_eq!(
            scene.store.account_state(AccountKey::MAIN).await.unwrap(),
            Some(state),
            "the pause is stored"
        );
        let next = scene.handle().status().next.unwrap();
        assert_eq!((next.why, next.at), (DepartureReason::Pause, START.after(HOUR)));
        assert_eq!(scene.received().len(), 0);
    }
}

#[tokio::test]
async fn what_the_administrator_pauses_waits_without_a_login_ends_by_itself_and_survives_a_restart()
{
    let mut scene = Scene::running(|_| {}).await;
    let end = scene.clock.wall().after(2 * HOUR);
    let pause = Pause::new(scene.clock.wall(), Some(end), "new server");
    let state = scene.handle().pause(pause.clone()).await.unwrap();
    assert_eq!(state.pause, Some(pause.clone()));
    assert_eq!(
        scene.store.account_state(AccountKey::MAIN).await.unwrap(),
        Some(state),
        "before the answer"
    );
    let id = scene.submit(&["ok@example.net"]).await;
    scene.until_quiet().await;
    let next = scene.handle().status().next.unwrap();
    assert_eq!((next.why, next.at), (DepartureReason::Pause, end));

    scene.stop(Phase::Draining).await;
    scene.restart_queue().await;
    scene.start_restored().await;
    scene.advance(HOUR).await;
    scene.until_quiet().await;
    assert_eq!(scene.state(id).await.0.name(), "queued");
    let status = scene.handle().status();
    assert_eq!((status.account.pause, status.counters.connections), (Some(pause), 0));
    scene.clock.advance(HOUR);
    scene.until_received(1).await;
}

#[tokio::test]
async fn a_message_on_its_way_ends_and_the_next_one_waits_for_the_person_who_paused() {
    let scene = Scene::running(|options| options.connections = 1).await;
    scene.sandbox.fail_next(Stage::Dot, Failure::Delay(MINUTE));
    scene.submit(&["first@example.net"]).await;
    let in_flight = async || !scene.handle().status().in_flight.is_empty();
    eventually("on its way", in_flight, async || String::new()).await;
    let second = scene.submit(&["second@example.net"]).await;
    scene.handle().pause(Pause::new(scene.clock.wall(), None, "")).await.unwrap();
    let ended = async || {
        scene.clock.advance(MINUTE / 6);
        scene.handle().status().in_flight.is_empty()
    };
    eventually("the end of what was on its way", ended, async || String::new()).await;
    scene.advance(24 * HOUR).await;
    scene.until_quiet().await;
    assert_eq!(scene.received().len(), 1);
    assert_eq!(scene.state(second).await.0.name(), "queued");
    let state = scene.handle().resume().await;
    assert_eq!(state.pause, None);
    scene.until_received(2).await;
}

#[tokio::test]
async fn a_pause_ends_with_one_probe_whose_success_opens_the_account() {
    let mut scene = Scene::new().await;
    scene.options.connections = 5;
    scene.start();
    scene.sandbox.fail_next(
        Stage::Mail,
        Failure::Reply("550 5.4.5 Daily user sending limit exceeded. {id}".into()),
    );
    scene.submit(&["ok@example.net"]).await;
    scene.until_account(AccountCondition::PausedQuota).await;
    for number in 0..10 {
        let recipient = format!("ok{number}@example.net");
        scene.submit_from(Lane::Normal, "www@host.example", &[&recipient], BODY).await;
    }
    scene.until_quiet().await;
    assert_eq!(scene.handle().status().counters.attempts, 1, "nothing leaves during the pause");

    // The probe, of another sender, is refused again: the pause doubles, and only one message was tried.
    scene.sandbox.fail_next(
        Stage::Data,
        Failure::Reply("550 5.4.5 Daily user sending limit exceeded. {id}".into()),
    );
    scene.advance(HOUR).await;
    eventually(
        "a second refusal",
        async || scene.handle().status().account.strikes == 2,
        async || format!("{:?}", scene.handle().status()),
    )
    .await;
    scene.until_quiet().await;
    assert_eq!(scene.handle().status().counters.attempts, 2);
    assert_eq!(scene.handle().status().account.until, Some(scene.clock.wall().after(2 * HOUR)));

    scene.advance(2 * HOUR).await;
    scene.until_received(9).await;
    scene.until_account(AccountCondition::Open).await;
    // The two that were refused are behind the others, and go one after the other.
    scene.advance(MINUTE).await;
    scene.until_received(10).await;
    scene.advance(MINUTE).await;
    scene.until_received(11).await;
    scene.until_account(AccountCondition::Open).await;
}

#[tokio::test]
async fn a_pause_survives_a_restart_and_resume_ends_it() {
    let mut scene = Scene::running(|_| {}).await;
    let id = scene.submit(&["quota@example.net"]).await;
    let paused = scene.until_account(AccountCondition::PausedQuota).await;
    scene.until_quiet().await;
    scene.stop(Phase::Immediate).await;
    scene.restart_queue().await;
    scene.start();
    assert_eq!(scene.until_account(AccountCondition::PausedQuota).await, paused);
    scene.submit(&["ok@example.net"]).await;
    scene.until_quiet().await;
    assert_eq!(scene.handle().status().counters.attempts, 0);

    scene.sandbox.clear_quota();
    scene.store.delete(id).await.unwrap();
    scene.handle().resume().await;
    scene.until_received(1).await;
    assert_eq!(
        scene.store.account_state(AccountKey::MAIN).await.unwrap().unwrap().condition,
        AccountCondition::Open
    );
}

#[tokio::test]
async fn each_refused_login_pauses_the_account_with_its_own_remedy() {
    use AccountCondition::{BackingOff, PausedCredentials, PausedLogin};
    for (password, condition, remedy, pause) in [
        ("wrong", PausedCredentials, "app password", 6 * HOUR),
        ("needs-app-password", PausedCredentials, "apppasswords", 6 * HOUR),
        ("needs-browser", PausedCredentials, "browser", 6 * HOUR),
        ("captcha", PausedCredentials, "browser", 6 * HOUR),
        ("busy", BackingOff, "tries again", MINUTE / 2),
        ("toomany", PausedLogin, "logs in again", 15 * MINUTE),
        ("drop", BackingOff, "", MINUTE / 2),
    ] {
        let scene = Scene::running(|options| options.login = Some(login(password))).await;
        let id = scene.submit(&["ok@example.net"]).await;
        scene.submit(&["ok2@example.net"]).await;
        let state = scene.until_account(condition).await;
        assert!(state.remedy.contains(remedy), "{password}: {state:?}");
        assert_eq!(state.until, Some(START.after(pause)), "{password}");
        scene.until_quiet().await;
        scene.until_names(id, &["queued"]).await;
        assert_eq!(scene.state(id).await.1, 0);
        let counters = scene.handle().status().counters;
        assert_eq!(
            counters.connections, 1,
            "{password}: one login is tried, not one for each message"
        );
    }
}

#[tokio::test]
async fn a_password_file_that_is_missing_open_or_empty_costs_minutes_and_no_connection() {
    let mut scene = Scene::new().await;
    let path = scene.directory.path().join("password");
    let source = PasswordSource::File(path.clone());
    scene.options.login = Some(Login { username: "me@gmail.com".into(), password: source });
    scene.start();
    let id = scene.submit(&["ok@example.net"]).await;
    let write = |text: &str, mode| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (minutes, strikes, remedy) in
        [(1, 1, "install -m 0600"), (2, 2, "chmod 600"), (5, 3, "first line"), (5, 4, "first line")]
    {
        let status = || scene.handle().status();
        eventually(
            remedy,
            async || status().account.strikes == strikes,
            async || format!("{:?}", status()),
        )
        .await;
        let state = scene.until_account(AccountCondition::PausedCredentials).await;
        assert_eq!(state.until, Some(scene.clock.wall().after(minutes * MINUTE)), "{state:?}");
        assert!(state.reason.contains(path.to_str().unwrap()), "{state:?}");
        assert!(
            state.remedy.contains(path.to_str().unwrap()) && state.remedy.contains(remedy),
            "{state:?}"
        );
        match strikes {
            1 => write("abcd efgh ijkl mnop\n", 0o644),
            2 | 3 => write("\nabcd efgh ijkl mnop\n", 0o600),
            _ => write("abcd efgh ijkl mnop\nfor the relay\n", 0o600),
        }
        assert_eq!(scene.sandbox.mailbox().counters().connections, 0);
        scene.advance(minutes * MINUTE).await;
    }
    scene.until_names(id, &["relayed"]).await;
    scene.until_account(AccountCondition::Open).await;
    assert_eq!(scene.sandbox.mailbox().counters().logins, 1);
    assert_eq!(scene.state(id).await.1, 0, "no attempt is charged");
}

#[tokio::test]
async fn a_login_that_the_upstream_forgot_is_repeated_once_before_the_account_pauses() {
    let wanted = "530 5.7.0 Authentication Required. {id}";
    for (times, expected, condition) in
        [(1, "relayed", AccountCondition::Open), (2, "queued", AccountCondition::PausedCredentials)]
    {
        let scene = Scene::new().await;
        for _ in 0..times {
            scene.sandbox.fail_next(Stage::Mail, Failure::Reply(wanted.into()));
        }
        let mut scene = scene;
        scene.start();
        let id = scene.submit(&["ok@example.net"]).await;
        scene.until_account(condition).await;
        scene.until_names(id, &[expected]).await;
        assert_eq!(scene.sandbox.mailbox().counters().connections, 2);
        assert_eq!(scene.state(id).await.1, 0, "no attempt is charged");
    }
}

#[tokio::test]
async fn login_stands_in_for_plain_where_only_that_is_offered_and_is_refused_once() {
    for (mechanisms, used) in [("LOGIN", "AUTH LOGIN"), ("LOGIN PLAIN", "AUTH PLAIN ***")] {
        let mut scene = Scene::with(|options| options.mechanisms = mechanisms).await;
        scene.start();
        scene.submit(&["ok@example.net"]).await;
        scene.until_received(1).await;
        let commands = scene.sandbox.mailbox().last_commands();
        let logins: Vec<_> = commands.iter().filter(|line| line.contains("AUTH ")).collect();
        assert!(logins.len() == 1 && logins[0].ends_with(used), "{mechanisms}: {logins:?}");
    }
    let mut scene = Scene::with(|options| options.mechanisms = "LOGIN").await;
    scene.options.login = Some(login("wrong"));
    scene.start();
    let id = scene.submit(&["ok@example.net"]).await;
    let state = scene.until_account(AccountCondition::PausedCredentials).await;
    assert!(state.reason.contains("535 5.7.8"), "{state:?}");
    assert_eq!(scene.sandbox.mailbox().counters().login_refusals, 1);
    assert_eq!(scene.state(id).await.1, 0);
}

#[tokio::test]
async fn an_app_password_with_spaces_logs_in() {
    let scene =
        Scene::running(|options| options.login = Some(login("abcd efgh\u{a0}ijkl mnop"))).await;
    scene.submit(&["ok@example.net"]).await;
    scene.until_received(1).await;
}

#[tokio::test]
async fn a_spent_budget_parks_the_queue_until_the_window_frees() {
    let mut scene = Scene::new().await;
    scene.options.recipients_per_day = 3.into();
    scene.options.connections = 1;
    scene.start();
    for number in 0..5 {
        scene.submit(&[&format!("ok{number}@example.net")]).await;
    }
    scene.until_received(3).await;
    scene.until_quiet().await;
    let next = scene.handle().status().next.unwrap();
    assert_eq!((next.why, next.at), (DepartureReason::Budget, START.after(24 * HOUR)));
    scene.advance(23 * HOUR).await;
    scene.until_quiet().await;
    assert_eq!(scene.received().len(), 3);
    scene.advance(HOUR).await;
    scene.until_received(5).await;
    assert_eq!(scene.handle().status().account.condition, AccountCondition::Open);
}

#[tokio::test]
async fn the_500th_recipient_leaves_and_the_501st_waits_for_the_window() {
    let mut scene = Scene::new().await;
    scene.options.recipients_per_day = 500.into();
    scene.start();
    let addresses: Vec<String> = (0..100).map(|number| format!("ok{number}@example.net")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    for _ in 0..5 {
        scene.submit(&addresses).await;
    }
    scene.until_received(5).await;
    let last = scene.submit(&["ok501@example.net"]).await;
    scene.until_quiet().await;
    let taken = || scene.received().iter().map(|message| message.rcpt_to.len()).sum::<usize>();
    assert_eq!((taken(), scene.names(last).await), (500, vec!["queued"]));
    scene.advance(24 * HOUR).await;
    scene.until_names(last, &["relayed"]).await;
    assert_eq!((taken(), scene.sandbox.mailbox().counters().quota_refusals), (501, 0));
}

#[tokio::test]
async fn the_pace_spreads_recipients_over_the_minutes() {
    let scene = Scene::running(|options| {
        options.pace_per_minute = 2;
        options.connections = 1;
    })
    .await;
    for number in 0..4 {
        scene.submit(&[&format!("ok{number}@example.net")]).await;
    }
    scene.until_received(3).await;
    scene.until_quiet().await;
    assert_eq!(scene.received().len(), 3, "a burst of two, and one on account");
    assert_eq!(scene.handle().status().next.unwrap().why, DepartureReason::Pace);
    scene.advance(MINUTE / 2).await;
    scene.until_received(4).await;
}

#[tokio::test]
async fn the_cap_on_logins_keeps_a_worn_connection_rather_than_stop() {
    let scene = Scene::running(|options| {
        options.connections = 1;
        options.logins_per_hour = 1;
        options.limits.messages_per_connection = 2;
    })
    .await;
    for number in 0..6 {
        scene.submit(&[&format!("ok{number}@example.net")]).await;
    }
    scene.until_received(6).await;
    assert_eq!(scene.sandbox.mailbox().counters().logins, 1);
}
