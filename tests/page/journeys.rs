//! The journey of a message: what the commands say of it, in the order of time.

use super::{LIMIT, Stage, browser::Answer};
use crate::support::{client::Client, daemon::within, gmail::Gmail};

/// The steps of the journey, as text.
fn steps(document: &Answer) -> Vec<String> {
    let list = document.body.split_once("<ol class=\"journey\">").expect("a journey").1;
    let list = list.split("</ol>").next().unwrap_or_default();
    let steps = list.split("<li").skip(1);
    steps.map(|step| Answer { body: format!("<h1><li{step}"), ..document.clone() }.text()).collect()
}

/// What `queue explain` says beside these labels, each line with its blanks made one.
fn explained(stage: &Stage, id: &str, labels: &[&str]) -> Vec<String> {
    let (code, words) = stage.say(&["queue", "explain", id]);
    assert_eq!(code, Some(0), "{words}");
    let (mut said, mut is_meant) = (Vec::new(), false);
    for line in words.lines() {
        let (label, rest) = line.split_at(line.len().min(12));
        if !label.trim().is_empty() {
            is_meant = labels.contains(&label.trim());
        }
        said.extend(is_meant.then(|| rest.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    said
}

#[test]
fn every_attempt_is_told_in_the_upstream_s_own_words_and_then_the_end() {
    let gmail = Gmail::start();
    let stage = Stage::relaying_to(&gmail.upstream());
    let mut client = Client::hello(stage.daemon.smtp);
    let recipients = ["nosuch@example.net", "there@example.net"];
    let answer = client.mail("a@example.org", &recipients, "Subject: two\n\nx\n");
    let id = answer.split_whitespace().last().expect("an id").to_owned();
    let shown = |id: &str| stage.json(&["queue", "show", id]);
    let is_over = || shown(&id)["recipients"][0]["state"] == "dead";
    assert!(within(LIMIT, is_over), "{}", stage.home.log());
    let message = shown(&id);
    let mut visitor = stage.visitor(&["--look"]);
    let document = visitor.get(&format!("/messages/{id}"));
    let steps = steps(&document);
    let step = |words: &str| {
        let found = steps.iter().find(|step| step.contains(words));
        found.unwrap_or_else(|| panic!("{words:?} is not in {steps:#?}"))
    };
    for words in [
        "Accepted from",
        "[127.0.0.1]",
        "not by TLS, without a login",
        "a@example.org to 2 recipients",
    ] {
        assert!(steps[0].contains(words), "{words}: {}", steps[0]);
    }
    let attempts = message["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 2, "{message:#}");
    for attempt in attempts {
        let reply = attempt["reply"].as_str().expect("words");
        let words = reply.split_whitespace().collect::<Vec<_>>().join(" ");
        let whom = attempt["recipients"][0].as_str().expect("an address");
        let told = step(&words);
        assert!(told.contains(&format!("Attempt for {whom}, answered")), "{told}");
        let verbatim = format!("<blockquote><bdi>{}</bdi>", reply.replace('\'', "&#39;"));
        assert!(document.body.replace("'", "&#39;").contains(&verbatim), "{}", document.body);
    }
    step("Given up: nosuch@example.net");
    step("Relayed: there@example.net");

    let answer = client.mail("a@example.org", &["there@example.net"], "Subject: one\n\nx\n");
    let id = answer.split_whitespace().last().expect("an id").to_owned();
    assert!(within(LIMIT, || shown(&id)["end"]["how"] == "relayed"), "{}", stage.home.log());
    let steps = self::steps(&visitor.get(&format!("/messages/{id}")));
    assert!(steps.last().expect("steps").contains("Left the queue: relayed"), "{steps:#?}");
    assert!(steps[1].contains("Attempt, answered 250 "), "all recipients are meant: {steps:#?}");
}

#[test]
fn what_waits_says_what_queue_explain_says_and_what_a_person_has_ordered() {
    let stage = Stage::new();
    for number in 0..3 {
        stage.submit("a@example.org", "b@example.net", &format!("Subject: no {number}\r\n\r\nx"));
    }
    let ids = stage.ids();
    let mut visitor = stage.visitor(&["--look"]);
    let mut told = |id: &str| -> Vec<String> {
        let document = visitor.get(&format!("/messages/{id}"));
        assert_eq!(document.status, 200, "{}", document.body);
        steps(&document)
    };
    stage.json(&["queue", "hold", &ids[1]]);
    stage.json(&["queue", "schedule", &ids[2], "--in", "50h"]);
    for id in &ids {
        let steps = told(id);
        let made = explained(&stage, id, &["network", "lane", "edits"]);
        assert_eq!(made.len(), 3, "{made:?}");
        for words in made {
            assert!(steps[0].contains(&words), "{words:?} is not in {}", steps[0]);
        }
    }
    let steps = told(&ids[1]);
    for words in explained(&stage, &ids[1], &["leaves", "sooner"]) {
        let last = steps.last().expect("steps");
        assert!(last.contains("To come: Stays here") && last.contains(&words), "{words}: {last}");
    }
    assert!(steps.iter().any(|step| step.contains(" Held ")), "{steps:#?}");
    let steps = told(&ids[2]);
    let [.., scheduled, leaves] = steps.as_slice() else { panic!("{steps:#?}") };
    assert!(scheduled.contains("(in 2 d ") && scheduled.contains("a person has set this time"));
    for words in explained(&stage, &ids[2], &["sooner"]) {
        assert!(leaves.contains(&words), "{words:?} is not in {leaves}");
    }
}
