//! Mail whose every field tries to break out of its place.

use super::Stage;

/// Ends what it may stand in, begins what it should not, and turns the line around.
const BREAKOUT: &str =
    "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;b&gt;\u{202e}\u{1b}[2J";

#[test]
fn nothing_of_a_message_becomes_a_tag_an_attribute_or_a_control_character() {
    let stage = Stage::new();
    let header = format!(
        "Subject: {BREAKOUT}\r\nFrom: {BREAKOUT} <a@example.org>\r\nX-{}: {BREAKOUT}",
        "Evil"
    );
    stage.submit(
        "\"<script>alert(2)</script>\"@example.org",
        "\"<img src=y>\"@example.net",
        &format!("{header}\r\n\r\n{BREAKOUT}"),
    );
    let id = stage.ids().remove(0);
    let mut visitor = stage.visitor(&[]);
    let paths = ["/", "/queue", "/queue?count=subject", "/queue?count=from", "/clients"];
    let message = format!("/messages/{id}");
    let reflected = "/queue?search=%22%27%3E%3Cscript%3Ealert(3)%3C%2Fscript%3E";
    for path in paths.into_iter().chain([message.as_str(), reflected]) {
        let answer = visitor.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        for tag in ["<script", "<img", "<b>2", "onerror=alert(1)>", "\u{202e}", "\u{1b}"] {
            let body = answer.without_own_script();
            assert!(!body.contains(tag), "{path} has {tag:?}: {body}");
        }
    }
    let shown = visitor.get(&message);
    for said in [shown.text(), stage.say(&["queue", "show", &id]).1] {
        assert!(said.contains("by relay.example.org") && !said.contains("u{9}"), "folded: {said}");
    }
    assert!(
        shown.text().contains("<script>alert(1)</script>"),
        "and yet it is read: {}",
        shown.text()
    );
}
