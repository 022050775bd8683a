//! The words and deeds of the page: those of the commands.

use super::{Stage, browser::Answer};

/// Presses a button of a list or a document, and answers the question with yes.
fn order(
    visitor: &mut super::Browser,
    document: &Answer,
    deed: &str,
    ids: &[&str],
) -> (Answer, Answer) {
    let token = document.fields("token").remove(0);
    let mut fields = vec![("token", token.as_str()), ("deed", deed)];
    fields.extend(ids.iter().map(|id| ("id", *id)));
    let question = visitor.post("/deeds", &fields);
    assert_eq!(question.status, 200, "{}", question.body);
    assert_eq!(question.fields("id"), ids, "the question is about the same messages");
    let number = ids.len().to_string();
    fields.extend([("sure", "yes"), ("messages", number.as_str())]);
    let report = visitor.post("/deeds", &fields);
    assert_eq!(report.status, 200, "{}", report.body);
    (question, report)
}

fn held(stage: &Stage, id: &str) -> bool {
    stage.json(&["queue", "show", id])["recipients"][0]["state"] == "held"
}

#[test]
fn every_deed_asks_first_to_how_many_and_does_what_the_command_does() {
    let stage = Stage::new();
    for number in 0..3 {
        stage.submit("a@example.org", "b@example.net", &format!("Subject: no {number}\r\n\r\nx"));
    }
    let ids = stage.ids();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut visitor = stage.visitor(&[]);
    let list = visitor.get("/queue");
    assert_eq!(list.fields("id"), ids, "{}", list.body);

    let token = list.fields("token").remove(0);
    let asked = visitor.post("/deeds", &[("token", &token), ("deed", "hold"), ("id", ids[0])]);
    assert!(asked.text().contains("Hold 1 message here"), "{}", asked.text());
    assert!(!held(&stage, ids[0]), "a question does nothing");

    let (question, report) = order(&mut visitor, &list, "hold", &ids[..2]);
    assert!(question.text().contains("Hold 2 messages here"), "{}", question.text());
    assert!(report.text().contains("Done for 2 messages."), "{}", report.text());
    assert_eq!(ids.iter().map(|id| held(&stage, id)).collect::<Vec<_>>(), [true, true, false]);
    assert!(visitor.get("/queue?search=state:held").fields("id") == ids[..2]);

    order(&mut visitor, &list, "release", &ids[..1]);
    assert!(!held(&stage, ids[0]));
    order(&mut visitor, &list, "retry", &ids[1..2]);
    assert!(!held(&stage, ids[1]));
    let (question, _) = order(&mut visitor, &list, "delete", &ids);
    assert!(question.text().contains("Delete 3 messages for good?"), "{}", question.text());
    assert!(stage.ids().is_empty());

    let ended = stage.json(&["history", "show", ids[0]]);
    let by = ended["end"]["by"].as_str().expect("a person");
    assert!(stage.home.log().contains(&format!("\"by\":\"{by}\"")), "{by}");
    assert!(by.contains("(user ") && !by.contains("visitor"), "whose link it was: {by}");
    let report = {
        let fields = [
            ("token", token.as_str()),
            ("deed", "delete"),
            ("id", ids[0]),
            ("sure", "yes"),
            ("messages", "1"),
        ];
        visitor.post("/deeds", &fields)
    };
    assert!(report.text().contains("Done for 0 messages."), "{}", report.text());
    assert!(report.text().contains(ids[0]), "{}", report.text());
    let log = stage.home.log();
    assert_eq!(log.matches("ordered on the page").count(), 8, "{log}");
}

#[test]
fn who_may_only_look_sees_no_button_and_can_do_nothing() {
    let stage = Stage::new();
    stage.submit("a@example.org", "b@example.net", "Subject: x\r\n\r\nx");
    let id = stage.ids().remove(0);
    let (mut actor, mut looker) = (stage.visitor(&[]), stage.visitor(&["--look"]));
    for path in ["/queue", &format!("/messages/{id}"), "/account"] {
        let (one, other) = (actor.get(path), looker.get(path));
        assert_eq!((one.status, other.status), (200, 200), "{path}");
        assert!(one.body.contains("name=\"deed\""), "{path}");
        assert!(!other.body.contains("name=\"deed\"") && !other.body.contains("name=\"token\""));
    }
    let token = actor.get("/queue").fields("token").remove(0);
    let fields = [("token", token.as_str()), ("deed", "delete"), ("id", &id), ("sure", "yes")];
    assert_eq!(looker.post("/deeds", &fields).status, 403);
    assert_eq!(looker.post("/account", &[("token", &token), ("deed", "pause")]).status, 403);
    assert_eq!(stage.ids(), [id]);
}

#[test]
fn the_account_is_paused_and_resumed_and_the_start_says_so() {
    let stage = Stage::new();
    let mut visitor = stage.visitor(&[]);
    let token = visitor.get("/account").fields("token").remove(0);
    let fields = [("token", token.as_str()), ("deed", "pause"), ("reason", "new <b>server</b>")];
    let answer = visitor.post("/account", &fields);
    assert_eq!((answer.status, answer.head("location")), (303, Some("/account")));
    assert_eq!(stage.json(&["status"])["account"]["pause"]["reason"], "new <b>server</b>");
    let start = visitor.get("/");
    assert!(start.text().contains("paused by the administrator"), "{}", start.text());
    assert!(start.body.contains("new &lt;b&gt;server") && !start.body.contains("<b>server"));
    visitor.post("/account", &[("token", &token), ("deed", "resume")]);
    assert!(stage.json(&["status"])["account"]["pause"].is_null());
}

#[test]
fn every_row_says_what_the_command_says_of_the_same_message() {
    let stage = Stage::new();
    for number in 0..60 {
        let sender = format!("printer{}@example.org", number % 4);
        let subject = format!("Subject: toner {number} low\r\n\r\nx");
        stage.submit(&sender, &format!("b{number}@example.net"), &subject);
    }
    let mut visitor = stage.visitor(&[]);
    let first = visitor.get("/queue");
    let next = first.body.split("href=\"").find(|rest| rest.starts_with("/queue?after="));
    let next = next.and_then(|rest| rest.split('"').next()).expect("a further page").to_owned();
    let second = visitor.get(&next);
    let shown = [first.fields("id"), second.fields("id")];
    assert_eq!(shown.each_ref().map(Vec::len), [50, 10]);
    assert_eq!(shown.concat(), stage.ids());
    let list = stage.json(&["queue", "list", "from:printer3"]);
    let found = visitor.get("/queue?search=from%3Aprinter3");
    let wanted = list["messages"].as_array().expect("messages");
    assert_eq!(found.fields("id").len(), wanted.len());
    let text = found.text();
    for message in wanted {
        let (id, subject) = (message["id"].as_str().unwrap(), message["subject"].as_str().unwrap());
        let row = text.split(id).nth(1).expect("a row");
        let to = message["recipients"][0]["address"].as_str().unwrap();
        assert!(row.contains(subject) && row.contains(&format!("printer3@example.org to {to}")));
    }
    let counts = visitor.get("/queue?count=from");
    assert!(counts.text().contains("60 messages for 60 recipients."), "{}", counts.text());
    assert!(counts.text().contains("printer3@example.org 15 15"), "{}", counts.text());
    let wrong = visitor.get("/queue?search=colour%3Ared");
    assert_eq!(wrong.status, 200);
    assert!(wrong.text().contains("colour"), "{}", wrong.text());
    assert!(wrong.body.contains("value=\"colour:red\""), "what was typed stays: {}", wrong.body);
    for (list, other) in [
        ("/queue?search=ended:deleted", "pillarbox history list ended:deleted"),
        ("/dead?search=ended:deleted", "pillarbox history list ended:deleted"),
        ("/history?search=state:held", "pillarbox queue list state:held"),
    ] {
        let misfit = visitor.get(list);
        assert!(misfit.text().contains(other), "{list}: {}", misfit.text());
    }
}

#[test]
fn all_that_a_search_finds_is_meant_as_it_was_counted_and_many_need_their_number() {
    let stage = Stage::new();
    let submit = |number: usize| {
        let sender = format!("printer{}@example.org", number % 4);
        stage.submit(&sender, "b@example.net", &format!("Subject: no {number}\r\n\r\nx"));
    };
    (0..60).for_each(submit);
    let mut visitor = stage.visitor(&[]);
    let token = visitor.get("/queue").fields("token").remove(0);
    let chosen = |search, deed| {
        vec![
            ("token", token.as_str()),
            ("all", "yes"),
            ("of", "queue"),
            ("search", search),
            ("deed", deed),
        ]
    };
    let question = visitor.post("/deeds", &chosen("from:printer3", "hold"));
    assert!(question.text().contains("Hold 15 messages here"), "{}", question.text());
    assert!(question.text().contains("All that are found by from:printer3"), "{}", question.text());
    submit(63);
    let until = question.fields("until").remove(0);
    let mut yes = chosen("from:printer3", "hold");
    yes.extend([("sure", "yes"), ("messages", "15"), ("until", until.as_str())]);
    let report = visitor.post("/deeds", &yes);
    assert!(report.text().contains("Done for 15 messages."), "{}", report.text());
    let held = visitor.get("/queue?search=state:held");
    assert_eq!(held.fields("id").len(), 15, "what came after the question is not meant");

    let question = visitor.post("/deeds", &chosen("", "delete"));
    assert!(question.text().contains("Delete 61 messages for good?"), "{}", question.text());
    assert!(question.text().contains("Type 61, the number of messages"), "{}", question.text());
    let until = question.fields("until").remove(0);
    for typed in ["", "15", "yes"] {
        let mut wrong = chosen("", "delete");
        wrong.extend([("sure", "yes"), ("messages", "61"), ("until", &until), ("typed", typed)]);
        let again = visitor.post("/deeds", &wrong);
        assert!(again.text().contains("Delete 61 messages for good?"), "{}", again.text());
    }
    assert_eq!(stage.ids().len(), 61);
    let mut right = chosen("", "delete");
    right.extend([("sure", "yes"), ("messages", "61"), ("until", &until), ("typed", "61")]);
    let report = visitor.post("/deeds", &right);
    assert!(report.text().contains("Done for 61 messages."), "{}", report.text());
    assert!(stage.ids().is_empty());

    let wrong = visitor.post("/deeds", &chosen("colour:red", "delete"));
    assert_eq!(wrong.status, 404, "a search that nobody understands finds nothing");
}

#[test]
fn messages_leave_at_the_time_that_was_asked_for_and_the_answer_does_not_move_it() {
    let stage = Stage::new();
    for number in 0..3 {
        stage.submit("a@example.org", "b@example.net", &format!("Subject: no {number}\r\n\r\nx"));
    }
    let ids = stage.ids();
    let mut visitor = stage.visitor(&[]);
    let document = visitor.get(&format!("/messages/{}", ids[0]));
    assert!(
        document.body.contains("value=\"schedule\"") && document.body.contains("name=\"when\"")
    );
    let token = document.fields("token").remove(0);
    let asked = |when| {
        vec![
            ("token", token.as_str()),
            ("deed", "schedule"),
            ("when", when),
            ("id", ids[0].as_str()),
            ("id", ids[1].as_str()),
        ]
    };
    for (when, words) in [
        ("", "write a time such as"),
        ("soon", "or a span such as 10min or 2h"),
        ("2020-01-01 10:00", "that time has passed"),
        ("500days", "more than 366 days ahead"),
        ("<script>", "write a time such as"),
    ] {
        let refused = visitor.post("/deeds", &asked(when));
        assert!(refused.text().contains(words), "{when:?}: {}", refused.text());
        assert_eq!(refused.fields("sure"), [""; 0], "{when:?}");
    }
    let question = visitor.post("/deeds", &asked("50h"));
    assert!(question.text().contains("Have 2 messages leave "), "{}", question.text());
    assert!(question.text().contains("(in 2 d "), "{}", question.text());
    let at = question.fields("at").remove(0);
    let scheduled = |id: &str| stage.json(&["queue", "show", id])["scheduled_for"].to_string();
    assert_eq!(scheduled(&ids[0]), "null", "a question does nothing");
    let mut yes = asked("1h");
    yes.extend([("at", at.as_str()), ("sure", "yes"), ("messages", "2")]);
    let report = visitor.post("/deeds", &yes);
    assert!(report.text().contains("Done for 2 messages."), "{}", report.text());
    assert_eq!(
        [&ids[0], &ids[1], &ids[2]].map(|id| scheduled(id)),
        [at.clone(), at.clone(), "null".to_owned()]
    );

    let found = [
        ("token", token.as_str()),
        ("all", "yes"),
        ("of", "queue"),
        ("search", "state:scheduled"),
        ("deed", "schedule"),
        ("when", "2h"),
    ];
    let question = visitor.post("/deeds", &found);
    assert!(question.text().contains("Have 2 messages leave "), "{}", question.text());
    let (until, later) = (question.fields("until").remove(0), question.fields("at").remove(0));
    let sure =
        [("until", until.as_str()), ("at", later.as_str()), ("sure", "yes"), ("messages", "2")];
    let report = visitor.post("/deeds", &[&found[..], &sure[..]].concat());
    assert!(report.text().contains("Done for 2 messages."), "{}", report.text());
    assert_eq!([scheduled(&ids[0]), scheduled(&ids[1])], [later.clone(), later]);
}

#[test]
fn a_chosen_message_that_has_left_meanwhile_is_counted_apart() {
    let stage = Stage::new();
    for number in 0..3 {
        stage.submit("a@example.org", "b@example.net", &format!("Subject: no {number}\r\n\r\nx"));
    }
    let ids = stage.ids();
    let mut visitor = stage.visitor(&[]);
    let token = visitor.get("/queue").fields("token").remove(0);
    stage.json(&["queue", "delete", &ids[1]]);
    let unknown = "00000000000000000000000000";
    let mut fields = vec![("token", token.as_str()), ("deed", "hold"), ("id", unknown)];
    fields.extend(ids.iter().map(|id| ("id", id.as_str())));
    let question = visitor.post("/deeds", &fields);
    assert_eq!(question.status, 200, "{}", question.body);
    assert!(question.text().contains("Hold 2 messages here"), "{}", question.text());
    assert!(question.text().contains("2 chosen messages left meanwhile."), "{}", question.text());
    assert_eq!(question.fields("id"), [ids[0].as_str(), ids[2].as_str()]);
    fields.retain(|(name, _)| *name != "id");
    fields.push(("id", ids[1].as_str()));
    let question = visitor.post("/deeds", &fields);
    assert!(question.text().contains("Hold 0 messages"), "{}", question.text());
    assert!(!question.body.contains("Yes: Hold"), "{}", question.body);
}

#[test]
fn whatever_is_refused_is_answered_with_a_document() {
    let stage = Stage::new();
    let mut visitor = stage.visitor(&[]);
    let host = stage.page.to_string();
    for (method, path) in [
        ("GET", "/messages/%ff"),
        ("PUT", "/queue"),
        ("GET", "/deeds"),
        ("GET", "/queue?after=x"),
        ("DELETE", "/"),
    ] {
        let answer = visitor.ask(method, path, &[("Host", &host)], "");
        assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.status);
        assert_eq!(
            answer.head("content-type"),
            Some("text/html; charset=utf-8"),
            "{method} {path}"
        );
        assert!(answer.body.contains("<h1>"), "{method} {path}: {}", answer.body);
    }
}
