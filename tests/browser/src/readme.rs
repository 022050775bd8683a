//! The pictures of the README: a good day, and one whose budget is spent. `make screenshots` puts them into docs/.

use crate::{
    relay::{PATIENCE, Relay},
    window::{Window, visit, within},
};

/// A picture in a repository is fetched by everybody, for ever.
const OCTETS_MAX: u64 = 150_000;

async fn keep(window: &Window, name: &str) {
    window.measures(1100, 1120, 1).await;
    window.at("/").await;
    let picture = window.keep_view(name).await;
    let octets = std::fs::metadata(picture).unwrap().len();
    assert!(octets < OCTETS_MAX, "{name}: {octets} octets");
}

fn send(relay: &Relay, sender: &str, subject: &str, recipients: usize) {
    let recipients: Vec<_> =
        (0..recipients).map(|one| format!("reader{one}@example.com")).collect();
    let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
    let message = format!("Subject: {subject}\n\nHello.");
    relay.send(&format!("{sender}@example.org"), &recipients, &message);
}

#[tokio::test]
async fn a_good_day_shows_what_was_spent_and_what_is_to_leave_at_which_hour() {
    let relay = Relay::start(&[]).await;
    for (sender, subject) in
        [("printer", "Toner is low"), ("nas", "RAID is well"), ("shop", "An order")]
    {
        for _ in 0..3 {
            send(&relay, sender, subject, 2);
        }
    }
    relay.comes_to(0, 0).await;
    relay.tell(&["pause", "newsletters are made ready"]);
    let letters =
        [("morning", "3h", 12), ("noon", "8h", 30), ("evening", "13h", 20), ("night", "19h", 8)];
    for (name, hours, recipients) in letters {
        send(&relay, name, "The newsletter", recipients);
        relay.tell(&["queue", "schedule", "--in", hours, &format!("from:{name}")]);
    }
    relay.tell(&["resume"]);
    let is_seen = async || relay.ask(&["status"])["queue"]["recipients"]["scheduled"] == 70;
    assert!(within(PATIENCE, is_seen).await, "{}", relay.printed());
    visit(&relay, async |window| {
        window.at("/").await;
        let text = window.text().await;
        assert!(text.contains("70 scheduled") && text.contains("18 recipients spent"), "{text}");
        keep(window, "readme-good-day").await;
    })
    .await;
}

#[tokio::test]
async fn a_spent_day_says_when_it_goes_on() {
    let relay = Relay::start(&["--daily-limit", "20"]).await;
    for number in 0..30 {
        send(&relay, "shop", &format!("Order {number}"), 2);
    }
    let is_spent = async || relay.ask(&["status"])["budget"]["room"] == 0;
    assert!(within(PATIENCE, is_spent).await, "{}", relay.printed());
    visit(&relay, async |window| {
        window.at("/").await;
        let text = window.text().await;
        assert!(text.contains("Mail leaves again at") && text.contains("in 23 h"), "{text}");
        keep(window, "readme-spent-day").await;
    })
    .await;
}
