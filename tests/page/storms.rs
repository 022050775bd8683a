//! Storms on the page: what is folded is listed, opened and released, and what that has saved is told.

use super::{LIMIT, Stage};
use crate::support::{
    daemon::{Home, Upstream, within},
    gmail::Gmail,
};

const ADMIN: &str = "admin@example.org";
const SECTIONS: &str = "[identity]\nadmin = \"admin@example.org\"\n[notices]\nto = \"nobody\"\n";
/// Those of a kind that leave as they are.
const UNTOUCHED: usize = 5;

/// So many ban notices of one kind, all but five of which are folded.
fn ban(stage: &Stage, notices: usize) {
    for number in 0..notices {
        let message = format!(
            "From: Fail2Ban <root@nas>\r\nSubject: banned 192.0.2.{number} from nas\r\n\r\nx"
        );
        stage.submit("root@nas.example.org", ADMIN, &message);
    }
}

#[test]
fn a_storm_is_listed_with_its_origin_its_shape_and_its_next_summary_and_its_mail_is_one_press_away()
{
    let stage = Stage::with(Home::with_sections(&Upstream::nobody(), SECTIONS));
    let mut visitor = stage.visitor(&[]);
    assert!(visitor.get("/storms").text().contains("Nothing is folded."));
    ban(&stage, 9);
    let storms = stage.json(&["storm", "list"]);
    let storm = &storms["storms"][0];
    let id = storm["id"].as_str().expect("an id");
    let document = visitor.get("/storms");
    let text = document.text();
    let row = text.split(id).nth(1).expect("a row");
    for words in [
        "lasts 127.0.0.1, from <root@nas.example.org> to admin@example.org",
        "banned <address> from nas 4 4 ",
        "nothing yet; next summary ",
        "(in 9 min",
    ] {
        assert!(row.contains(words), "{words:?} in {row}");
    }
    let shown = stage.say(&["storm", "show", id]).1;
    assert!(
        shown.contains("banned <address> from nas") && shown.contains("next summary"),
        "{shown}"
    );
    let link = document.body.split("href=\"/queue?").nth(1).expect("a link");
    let link = link.split('"').next().expect("its end");
    let folded = visitor.get(&format!("/queue?{link}"));
    assert_eq!(folded.fields("id"), stage.ids()[UNTOUCHED..]);
    assert!(visitor.get("/").body.contains("href=\"/storms\""), "the start leads to it");
    assert!(
        !stage.visitor(&["--look"]).get("/storms").body.contains("value=\"release\""),
        "who may only look finds no button"
    );
}

#[test]
fn a_storm_is_released_after_a_question_that_says_to_how_many_recipients() {
    let gmail = Gmail::start();
    let stage = Stage::with(Home::with_sections(&gmail.upstream(), SECTIONS));
    ban(&stage, 60);
    let mut visitor = stage.visitor(&[]);
    let document = visitor.get("/storms");
    let search = document.fields("search").remove(0);
    let token = document.fields("token").remove(0);
    let mut fields = vec![
        ("token", token.as_str()),
        ("all", "yes"),
        ("of", "queue"),
        ("search", search.as_str()),
        ("deed", "release"),
    ];
    let question = visitor.post("/deeds", &fields);
    let words = "Let 55 messages to 55 recipients leave that are held or folded here?";
    assert!(question.text().contains(words), "{}", question.text());
    let folded = || stage.json(&["status"])["queue"]["recipients"]["folded"].as_u64();
    assert_eq!(folded(), Some(55), "a question does nothing");
    let until = question.fields("until").remove(0);
    fields.extend([("sure", "yes"), ("messages", "55"), ("until", until.as_str())]);
    let again = visitor.post("/deeds", &fields);
    assert!(again.text().contains("Type 55, the number of messages"), "{}", again.text());
    fields.push(("typed", "55"));
    let report = visitor.post("/deeds", &fields);
    assert!(report.text().contains("Done for 55 messages."), "{}", report.text());
    assert_eq!(folded(), Some(0));
    assert!(visitor.get("/storms").text().contains("Nothing is folded."));
}

#[test]
fn on_whom_the_last_days_were_spent_is_told_as_the_command_tells_it() {
    let gmail = Gmail::start();
    let rule =
        "[[rule]]\nname = \"shop\"\nmatch = { sender = \"@shop.example.org\" }\nlane = \"bulk\"\n";
    let sections = format!("{SECTIONS}{rule}");
    let stage = Stage::with(Home::with_sections(&gmail.upstream(), &sections));
    ban(&stage, 9);
    stage.submit("news@shop.example.org", "b@example.net", "Subject: x\r\n\r\nx");
    assert!(within(LIMIT, || gmail.accepted().len() == UNTOUCHED + 1), "{}", stage.home.log());
    let told = |days: &str| stage.say(&["budget", "report", "--days", days]).1;
    let sentence = "; 4 more were not, because their messages were folded.";
    assert!(within(LIMIT, || told("7").contains(sentence)), "{}", told("7"));
    let mut visitor = stage.visitor(&[]);
    for (path, days) in [("/budget", "7"), ("/budget?days=1", "1")] {
        let text = visitor.get(path).text();
        let said = told(days).split_whitespace().collect::<Vec<_>>().join(" ");
        let first = said.split(" SPENT").next().expect("its first line");
        assert!(text.contains(first), "{first:?} in {text}");
        for row in [
            "127.0.0.1, from <root@nas.example.org> 5 4",
            "127.0.0.1, from <news@shop.example.org> 1 0",
            "normal 5 4",
            "bulk 1 0",
            "shop 1 0",
        ] {
            assert!(text.contains(row), "{row:?} in {text}");
        }
    }
    for wrong in ["/budget?days=0", "/budget?days=32", "/budget?days=x"] {
        assert_eq!(visitor.get(wrong).status, 400, "{wrong}");
    }
}
