//! The reason why mail waits, as every command tells it: the same time, the same reason, and never "now".

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn when_the_budget_is_spent_status_says_when_mail_leaves_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (sandbox, upstream) = sandbox(&directory).await;
    let home =
        Home::with_sections(&upstream, "[budget]\nrecipients_per_day = 1\nowner_reserve = 0\n");
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    client.mail("me@example.org", &["ok1@example.org"], "Subject: one\n\nHello.\n");
    sandbox.mailbox().wait_for(1, PATIENCE).await.expect("the first mail arrives");
    assert!(within(PATIENCE, || queue_length(&home) == 0), "{}", home.log());
    client.mail("me@example.org", &["ok2@example.org"], "Subject: two\n\nHello.\n");

    let status = say(&home, &["status"]);
    assert!(status.contains("1 of 1 recipients spent in the last 24 hours"), "{status}");
    assert!(
        status.contains("Mail leaves again at ") && status.contains("(in 23 h 59 min)"),
        "{status}"
    );
    assert!(
        status.contains("Nothing to do: mail is still taken, and leaves by itself."),
        "{status}"
    );
    let status = json(&home, &["status"]);
    assert_eq!(status["departure"]["because"], "budget");
    assert_eq!(status["queue"]["recipients"]["queued"], 1);
    assert!(say(&home, &["budget"]).contains("none: the next recipient may leave at "));
    assert_nobody_says_now(&home, "budget", "the 24 h budget is spent");
    let health = refused(&home, &["health", "--strict"], 1);
    assert!(health.contains("mail waits until ") && health.contains("budget is spent"), "{health}");
    assert!(say(&home, &["health"]).starts_with("runs, but mail waits until "));
    assert_eq!(json(&home, &["budget"])["room"], 0);
    assert_eq!(sandbox.mailbox().count(), 1, "the second mail waits");
    assert!(daemon.terminate(PATIENCE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_of_the_day_mail_leaves_and_every_place_says_no_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let (sandbox, upstream) = sandbox(&directory).await;
    let unlimited = "[budget]\nrecipients_per_day = 0\npace_per_minute = 0\n";
    let home = Home::with_sections(&upstream, unlimited);
    let check = say(&home, &["check"]);
    assert!(check.contains("no limit of recipients; any number a minute"), "{check}");
    let checked = json(&home, &["check"]);
    assert_eq!(checked["budget"]["recipients_per_day"], Value::Null);
    assert_eq!(checked["budget"]["owner_reserve"], 0);
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    for number in 1..=3 {
        let recipient = format!("ok{number}@example.org");
        client.mail("me@example.org", &[&recipient], "Subject: one\n\nHello.\n");
    }
    sandbox.mailbox().wait_for(3, PATIENCE).await.expect("all mail arrives");
    assert!(within(PATIENCE, || queue_length(&home) == 0), "{}", home.log());
    let status = say(&home, &["status"]);
    assert!(status.contains("3 recipients spent in the last 24 hours (no limit)"), "{status}");
    let budget = say(&home, &["budget"]);
    assert!(budget.lines().any(|line| line.ends_with("no limit")), "{budget}");
    let budget = json(&home, &["budget"]);
    for key in ["recipients_per_day", "limit", "room", "urgent_room", "notice_room"] {
        assert_eq!(budget[key], Value::Null, "{key}: {budget}");
    }
    assert_eq!((&budget["spent"], &budget["owner_reserve"]), (&3.into(), &0.into()));
    say(&home, &["health", "--strict"]);
    assert!(daemon.terminate(PATIENCE).success());
}

/// Every command gives one waiting message the same time and the same reason, and none of them says "now".
fn assert_nobody_says_now(home: &Home, because: &str, why: &str) {
    let status = json(home, &["status"]);
    let at = status["departure"]["at"].as_i64().expect("a time");
    assert!(at > status["now"].as_i64().expect("a time"), "{status}");
    let list = json(home, &["queue", "list"]);
    let id = list["messages"][0]["id"].as_str().expect("a message").to_owned();
    let retried = json(home, &["queue", "retry", &id]);
    let answers = [
        ("status", status["departure"].clone()),
        ("list", list["messages"][0]["departure"].clone()),
        ("show", json(home, &["queue", "show", &id])["departure"].clone()),
        ("retry", retried["departure"].clone()),
        ("budget", json(home, &["budget"])["departure"].clone()),
    ];
    for (command, departure) in answers {
        assert_eq!(departure["because"], because, "{command}: {departure}");
        let near = departure["at"].as_i64().is_some_and(|found| (found - at).abs() < 2_000);
        assert!(near, "{command}: {departure} is not about {at}");
        assert_eq!(departure["why"], why, "{command}");
    }
    let shown = say(home, &["queue", "show", &id]);
    let leaves = shown.lines().find(|line| line.starts_with("leaves ")).expect("a line");
    assert!(leaves.contains(why) && !leaves.contains("now"), "{shown}");
    let retried = say(home, &["queue", "retry", &id]);
    assert!(retried.contains(why) && !retried.contains("now"), "{retried}");
    let listed = say(home, &["queue", "list"]);
    // In words that somebody can act on, with the subject.
    let until = format!("waits for the {because} until ");
    assert!(listed.contains(&until) && !listed.contains("now"), "{listed}");
    for arguments in [&["status"], &["budget"]] {
        let text = say(home, arguments);
        assert!(text.contains("Mail leaves again at ") && text.contains(why), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_paused_account_says_so_once_with_the_way_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let (sandbox, upstream) = sandbox(&directory).await;
    let login = Some((LOGIN.to_owned(), "wrongwrongwrongg".to_owned()));
    let home = Home::new(&Upstream { login, ..upstream.clone() });
    let daemon = home.start();
    Client::hello(daemon.smtp).mail(
        "me@example.org",
        &["ok@example.org"],
        "Subject: x\n\nHello.\n",
    );
    let condition = || json(&home, &["status"])["account"]["condition"].as_str().map(str::to_owned);
    assert!(
        within(PATIENCE, || condition().as_deref() == Some("paused-credentials")),
        "{}",
        home.log()
    );
    assert_nobody_says_now(&home, "account", "the account is paused-credentials");
    assert!(say(&home, &["health"]).starts_with("runs, but the account is paused-credentials"));
    assert!(daemon.terminate(PATIENCE).success());

    let daemon = home.start();
    let is_about_the_pause = |event: &&Value| event.to_string().contains("pillarbox resume\"");
    assert!(
        within(PATIENCE, || home.events().iter().any(|event| is_about_the_pause(&event))),
        "{}",
        home.log()
    );
    let events = home.events();
    let warnings: Vec<&Value> = events.iter().filter(is_about_the_pause).collect();
    let [warning] = warnings[..] else { panic!("not one warning: {warnings:?}") };
    let text = warning.to_string();
    for word in ["WARN", "paused-credentials", "until", "reason", "remedy", "535"] {
        assert!(text.contains(word), "{word} is missing: {text}");
    }
    assert!(daemon.terminate(PATIENCE).success());

    // A start with another password tries it at once.
    let login = Some((LOGIN.to_owned(), APP_PASSWORD.to_owned()));
    home.configure(&Upstream { login, ..upstream }, "");
    let daemon = home.start();
    sandbox.mailbox().wait_for(1, PATIENCE).await.expect("the mail leaves");
    assert!(within(PATIENCE, || condition().as_deref() == Some("open")), "{}", home.log());
    assert!(daemon.terminate(PATIENCE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_an_old_copy_of_the_password_says_so_at_resume_and_a_restart_is_enough() {
    let directory = tempfile::tempdir().expect("a directory");
    let (sandbox, upstream) = sandbox(&directory).await;
    let login = Some((LOGIN.to_owned(), "elsewhere".to_owned()));
    let credentials = directory.path().display().to_string();
    let home = Home::new(&Upstream { login, ..upstream })
        .environment("CREDENTIALS_DIRECTORY", &credentials);
    let text = fs::read_to_string(home.config()).expect("written");
    fs::write(home.config(), text.replace("password = \"elsewhere\"\n", "")).expect("written");
    // What LoadCredential= of the unit hands over.
    let copy = directory.path().join("pillarbox-password");
    fs::write(&copy, "wrongwrongwrongg\n").expect("written");
    let daemon = home.start();
    let mut client = Client::hello(daemon.smtp);
    client.mail("me@example.org", &["ok@example.org"], "Subject: x\n\nHello.\n");
    let condition = || json(&home, &["status"])["account"]["condition"].as_str().map(str::to_owned);
    let is_paused = || condition().as_deref() == Some("paused-credentials");
    assert!(within(PATIENCE, is_paused), "{}", home.log());
    let remedy = say(&home, &["status"]);
    assert!(remedy.contains("restart the relay: `systemctl restart pillarbox`"), "{remedy}");
    let said = say(&home, &["resume"]);
    assert!(said.contains("the same password as before"), "{said}");
    assert!(within(PATIENCE, is_paused), "{}", home.log());
    assert!(daemon.terminate(PATIENCE).success());

    fs::write(&copy, format!("{APP_PASSWORD}\n")).expect("written");
    let daemon = home.start();
    sandbox.mailbox().wait_for(1, PATIENCE).await.expect("the mail leaves");
    assert!(daemon.terminate(PATIENCE).success());
}
