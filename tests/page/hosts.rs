//! Hosts on the page: shown where there is a fleet, and taken out by a button and a second press.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{LIMIT, Stage};
use crate::support::{
    daemon::{Home, Upstream, within},
    postgres::{PASSWORD, Postgres},
};

fn in_a_fleet(server: &Postgres) -> Stage {
    let home = Home::new(&Upstream::nobody());
    let password = home.path("database-password");
    fs::write(&password, PASSWORD).expect("a file");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("a mode");
    let (port, database) = (server.port, server.database());
    let address = format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable");
    Stage::with(
        home.environment("PILLARBOX__FLEET__DATABASE", &address)
            .environment("PILLARBOX__FLEET__HOST", "mail <1>")
            .environment("PILLARBOX__FLEET__PASSWORD_FILE", &password.display().to_string()),
    )
}

#[test]
fn a_host_of_a_fleet_is_shown_taken_out_after_a_question_and_taken_in_again() {
    let server = Postgres::shared();
    let stage = in_a_fleet(&server);
    let mut visitor = stage.visitor(&[]);
    assert!(visitor.get("/").body.contains("href=\"/hosts\""), "the navigation leads to it");
    let document = visitor.get("/hosts");
    let text = document.text();
    for words in ["PostgreSQL ", "mail <1> (this one)", "living", "empty"] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    assert!(document.body.contains("aria-label=\"Take out: mail &lt;1&gt;\""), "{}", document.body);
    let token = document.fields("token").remove(0);
    let order = [("token", &*token), ("deed", "drain"), ("host", "mail <1>")];
    let question = visitor.post("/hosts", &order);
    assert!(question.text().contains("Have mail <1> take no new mail?"), "{}", question.text());
    assert!(!stage.say(&["status"]).1.contains("drained since"), "nothing was done yet");
    let done = visitor.post("/hosts", &[&order[..], &[("sure", "yes")]].concat());
    assert_eq!((done.status, done.head("location")), (303, Some("/hosts")), "{}", done.body);
    assert!(within(LIMIT, || stage.say(&["status"]).1.contains("drained since")));
    let drained = visitor.get("/hosts");
    assert!(drained.text().contains("living, drained"), "{}", drained.text());
    assert!(drained.text().contains("Take mail again"), "{}", drained.text());
    let looking = stage.visitor(&["--look"]).get("/hosts");
    assert!(looking.text().contains("living") && !looking.body.contains("value=\"undrain\""));
}

#[test]
fn without_a_fleet_nothing_of_it_is_on_the_page_and_its_address_says_so() {
    let stage = Stage::new();
    let mut visitor = stage.visitor(&[]);
    assert!(!visitor.get("/").body.contains("/hosts"));
    assert!(visitor.get("/hosts").text().contains("is in no fleet"));
}
