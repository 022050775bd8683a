//! The visitors of the page: nobody without a link, nobody under another name, and none for ever.

use super::{LIMIT, Stage, browser::form};

/// Every document that is private.
const PRIVATE: [&str; 8] = [
    "/",
    "/queue",
    "/dead",
    "/history",
    "/clients",
    "/account",
    "/settings",
    "/messages/00000000000000000000000000",
];

#[test]
fn nothing_is_shown_and_nothing_done_without_a_session() {
    let stage = Stage::new();
    stage.submit("a@example.org", "b@example.net", "Subject: private words\r\n\r\nx");
    let id = stage.ids().remove(0);
    let mut stranger = stage.browser();
    for cookie in [None, Some("pillarbox="), Some("pillarbox=AAAA"), Some("session=AAAA")] {
        stranger.cookie = cookie.map(str::to_owned);
        for path in PRIVATE.into_iter().chain([format!("/messages/{id}").as_str()]) {
            let answer = stranger.get(path);
            assert_eq!(answer.status, 401, "{path}: {}", answer.body);
            assert!(answer.text().contains("pillarbox page"), "{path}: {}", answer.body);
            assert!(!answer.body.contains("private words") && !answer.body.contains("example.net"));
        }
        for path in ["/deeds", "/account", "/leave"] {
            let fields = [("deed", "delete"), ("id", id.as_str()), ("sure", "yes"), ("token", "")];
            assert_eq!(stranger.post(path, &fields).status, 401, "{path}");
        }
    }
    assert_eq!(stage.ids(), [id], "nothing was done");
}

#[test]
fn every_answer_forbids_what_could_be_done_with_it_elsewhere() {
    let stage = Stage::new();
    let mut visitor = stage.visitor(&[]);
    let start = visitor.get("/");
    let style = start.body.split("href=\"").find(|rest| rest.starts_with("/assets/style."));
    let style = style.and_then(|rest| rest.split('"').next()).expect("a style").to_owned();
    let stranger = stage.browser();
    let answers = [
        start,
        visitor.get("/nowhere"),
        visitor.get(&style),
        stranger.clone().get("/"),
        stranger.clone().ask("GET", "/", &[("Host", "evil.example")], ""),
    ];
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 404, 200, 401, 421]);
    for (place, answer) in answers.iter().enumerate() {
        let policy = answer.head("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        for part in ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        // One script, named whole, and none at all by another name than the page's.
        let script = policy.split_once("script-src ").map(|(_, script)| script);
        assert_eq!(script.is_some(), place != 4, "{policy}");
        let own = format!("{}/assets/live.", stage.page);
        assert!(script.is_none_or(|script| script.starts_with(&own)), "{policy}");
        assert_eq!(answer.head("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.head("referrer-policy"), Some("same-origin"));
        let cached = answer.head("cache-control").expect("a rule for caches");
        assert_eq!(cached == "no-store", place != 2, "{place}: {cached}");
    }
    for answer in &answers {
        let body = answer.without_own_script();
        assert!(!body.contains("<script") && !body.contains(" style="));
        let others = answer.body.matches("://").count();
        let said = answer.body.matches(&format!("http://{}", stage.page)).count();
        assert_eq!(others, said, "nothing is fetched from elsewhere: {}", answer.body);
    }
}

#[test]
fn another_name_for_our_address_is_refused_before_anything_is_looked_at() {
    let stage = Stage::new();
    let mut visitor = stage.visitor(&[]);
    let port = stage.page.port();
    for name in ["evil.example", "localhost", "127.0.0.1", "127.0.0.1:1", "[::1]:25", ""] {
        let answer = visitor.ask("GET", "/queue", &[("Host", name)], "");
        assert!(matches!(answer.status, 400 | 421), "{name:?}: {}", answer.status);
    }
    let own = format!("localhost:{port}");
    assert_eq!(visitor.ask("GET", "/queue", &[("Host", &own)], "").status, 200);
    let twice = [("Host", own.as_str()), ("Host", "evil.example")];
    assert!(matches!(visitor.ask("GET", "/queue", &twice, "").status, 400 | 421));
    let elsewhere = visitor.ask("GET", "http://evil.example/queue", &[("Host", &own)], "");
    assert_eq!(elsewhere.status, 421);
}

#[test]
fn a_link_is_used_up_by_its_button_and_not_by_whoever_fetches_it() {
    let stage = Stage::new();
    let link = stage.link(&[]);
    let mut scanner = stage.browser();
    for _ in 0..3 {
        assert_eq!(scanner.get(&link).status, 200);
        assert_eq!(scanner.cookie, None);
    }
    let mut owner = stage.browser();
    let document = owner.get(&link);
    let entered = owner.press(&document, "button.main");
    let cookie = entered.head("set-cookie").expect("a session");
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(owner.get("/").status, 200);
    assert_eq!(scanner.get(&link).status, 410, "used up");
    assert_eq!(scanner.press(&document, "button.main").status, 410);
    let log = stage.home.log();
    for secret in [link.split_once('=').unwrap().1, cookie.split(['=', ';']).nth(1).unwrap()] {
        assert!(!log.contains(secret), "{log}");
    }
    assert!(log.contains("a visitor of the page"), "{log}");
}

#[test]
fn a_session_ends_by_its_visitor_by_the_command_and_by_a_restart() {
    let stage = Stage::new();
    assert!(stage.say(&["page", "sessions"]).1.starts_with("Nobody visits the page."));
    let (mut first, mut second, mut third) =
        (stage.visitor(&[]), stage.visitor(&["--look"]), stage.visitor(&[]));
    let listed = stage.json(&["page", "sessions"]);
    let sessions = listed["sessions"].as_array().expect("sessions").clone();
    assert_eq!(sessions.len(), 3, "{listed}");
    assert_eq!((&sessions[1]["role"], &sessions[2]["role"]), (&"look".into(), &"act".into()));

    let session = first.cookie.clone();
    assert_eq!(first.post("/leave", &[]).status, 303);
    assert_eq!(first.cookie, None, "removed");
    first.cookie = session;
    assert_eq!(first.get("/").status, 401, "and over");

    let number = sessions[1]["number"].to_string();
    assert_eq!(stage.say(&["page", "end", &number]).0, Some(0));
    assert_eq!(second.get("/").status, 401);
    let (code, words) = stage.say(&["page", "end", &number]);
    assert_eq!(code, Some(65), "{words}");
    assert!(words.contains("there is no session"), "{words}");

    assert_eq!(third.get("/").status, 200);
    let Stage { home, daemon, .. } = stage;
    assert_eq!(daemon.terminate(LIMIT).code(), Some(0));
    let _daemon = home.start();
    assert_eq!(third.get("/").status, 401);
}

#[test]
fn a_form_of_another_site_does_nothing() {
    let stage = Stage::new();
    stage.submit("a@example.org", "b@example.net", "Subject: x\r\n\r\nx");
    let id = stage.ids().remove(0);
    let (mut visitor, mut other) = (stage.visitor(&[]), stage.visitor(&[]));
    let token = visitor.get("/queue").fields("token").remove(0);
    let others = other.get("/queue").fields("token").remove(0);
    let host = stage.page.to_string();
    let own = format!("http://{host}");
    let fields = |token| {
        form(&[
            ("deed", "delete"),
            ("id", &id),
            ("sure", "yes"),
            ("messages", "1"),
            ("token", token),
        ])
    };
    for origin in ["http://evil.example", "null", "", "https://127.0.0.1", "http://127.0.0.1:1"] {
        let heads = [("Host", host.as_str()), ("Origin", origin)];
        let answer = visitor.ask("POST", "/deeds", &heads, &fields(&token));
        assert_eq!(answer.status, 403, "{origin:?}");
    }
    let without = visitor.ask("POST", "/deeds", &[("Host", &host)], &fields(&token));
    assert_eq!(without.status, 403, "no origin at all");
    let heads = [("Host", host.as_str()), ("Origin", own.as_str())];
    for wrong in ["", "AAAA", others.as_str()] {
        assert_eq!(visitor.ask("POST", "/deeds", &heads, &fields(wrong)).status, 403, "{wrong:?}");
    }
    assert!(matches!(visitor.get("/deeds").status, 404 | 405), "a link does nothing");
    assert_eq!(stage.ids(), std::slice::from_ref(&id));
    assert_eq!(visitor.ask("POST", "/deeds", &heads, &fields(&token)).status, 200);
    assert!(stage.ids().is_empty());
}

#[test]
fn the_command_says_that_there_is_no_page() {
    let home = crate::support::daemon::Home::new(&crate::support::daemon::Upstream::nobody());
    let _daemon = home.start();
    let socket = home.socket().display().to_string();
    let output = home.output(["page", "--socket", &socket]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(65), "{words}");
    assert!(words.contains("the page is off; set page = \"127.0.0.1:8025\""), "{words}");
}
