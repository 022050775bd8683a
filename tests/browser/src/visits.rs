//! Visits: the way in, lists that are searched, deeds that ask first, and the way out.

use crate::{
    relay::Relay,
    window::{stand_before, visit},
};

/// A relay that keeps these messages, from a printer and from a shop.
async fn paused(messages: usize) -> Relay {
    let relay = Relay::start(&[]).await;
    relay.tell(&["pause", "new switch"]);
    for number in 0..messages {
        let name = if number % 2 == 0 { "printer" } else { "shop" };
        let message = format!("Subject: {name} says {number}\n\nHello.");
        relay.send(&format!("{name}@example.org"), &["you@example.com"], &message);
    }
    relay
}

#[tokio::test]
async fn a_link_opens_the_start_by_a_press_and_only_once() {
    let relay = Relay::start(&[]).await;
    stand_before(&relay, &[], async |window, link| {
        window.may_be_refused(401);
        window.at("/").await;
        assert!(window.text().await.contains("pillarbox page"), "{}", window.text().await);

        window.open(link).await;
        window.press("button", "Open the page").await;
        assert_eq!((window.path().await.as_str(), window.heading().await.as_str()), ("/", "Start"));
        assert!(window.text().await.contains("Nothing waits to leave."));
        assert!(!window.path().await.contains("link="), "the token is not left in the address");

        window.press("button", "Leave").await;
        window.at("/queue").await;
        assert_eq!(window.heading().await, "No session");

        window.may_be_refused(410);
        window.open(link).await;
        assert_eq!(window.heading().await, "This link is used up");
    })
    .await;
}

#[tokio::test]
async fn a_search_shows_what_it_finds_and_counts_it() {
    let relay = paused(7).await;
    visit(&relay, async |window| {
        window.press("link", "Queue").await;
        window.write("searchbox", "Search", "from:printer").await;
        window.press("button", "Show").await;
        let text = window.text().await;
        assert!(text.contains("printer says 4") && !text.contains("shop says"), "{text}");
        assert_eq!(boxes(window).await, 4, "{text}");

        window.at("/queue?count=from").await;
        let text = window.text().await;
        assert!(text.contains("printer@example.org") && text.contains("7 messages"), "{text}");

        window.write("searchbox", "Search", "colour:red").await;
        window.press("button", "Show").await;
        assert!(window.text().await.contains("colour"), "{}", window.text().await);
        assert_eq!(boxes(window).await, 0);
    })
    .await;
}

/// How many messages can be chosen.
async fn boxes(window: &crate::window::Window) -> usize {
    let operated = window.operated().await;
    operated
        .iter()
        .filter(|(_, role, name)| role == "checkbox" && name.starts_with("Choose "))
        .count()
}

#[tokio::test]
async fn messages_that_are_chosen_by_hand_are_held_after_a_question() {
    let relay = paused(3).await;
    visit(&relay, async |window| {
        window.at("/queue").await;
        window.choose("checkbox", "Choose ").await;
        window.press("button", "Hold").await;
        assert!(window.text().await.contains("Hold 1 message here"), "{}", window.text().await);
        assert_eq!(held(&relay), 0, "a question does nothing");
        window.press("link", "No").await;
        assert_eq!((window.path().await.as_str(), held(&relay)), ("/queue", 0));

        window.choose("checkbox", "Choose ").await;
        window.press("button", "Hold").await;
        window.press("button", "Yes: Hold").await;
        assert!(window.text().await.contains("Done for 1 message."), "{}", window.text().await);
        assert_eq!(held(&relay), 1);
    })
    .await;
}

#[tokio::test]
async fn all_that_a_search_finds_are_deleted_after_their_number_was_typed() {
    let relay = paused(120).await;
    visit(&relay, async |window| {
        window.at("/queue?search=from%3Aprinter").await;
        window.choose("checkbox", "All that are found").await;
        window.press("button", "Delete").await;
        let question = window.text().await;
        assert!(question.contains("Delete 60 messages for good?"), "{question}");
        window.write("textbox", "Type 60", "60").await;
        window.press("button", "Yes: Delete").await;
        assert!(window.text().await.contains("Done for 60 messages."), "{}", window.text().await);
        assert_eq!(relay.ask(&["status"])["queue"]["messages"], 60, "those of the shop stay");
    })
    .await;
}

#[tokio::test]
async fn everything_is_seen_and_done_without_scripts() {
    let relay = paused(2).await;
    stand_before(&relay, &[], async |window, link| {
        window.without_scripts().await;
        window.open(link).await;
        window.press("button", "Open the page").await;
        assert!(window.text().await.contains("new switch"), "{}", window.text().await);
        window.press("link", "Queue").await;
        window.choose("checkbox", "Choose ").await;
        window.press("button", "Delete").await;
        window.press("button", "Yes: Delete").await;
        assert!(window.text().await.contains("Done for 1 message."), "{}", window.text().await);
        window.press("link", "Account").await;
        window.press("button", "End every pause").await;
        relay.comes_to(0, 0).await;
    })
    .await;
}

#[tokio::test]
async fn who_may_only_look_finds_no_button_but_the_one_to_leave() {
    let relay = paused(2).await;
    stand_before(&relay, &["--look"], async |window, link| {
        window.open(link).await;
        window.press("button", "Open the page").await;
        for path in ["/queue", "/account", "/dead"] {
            window.at(path).await;
            for (_, role, name) in window.operated().await {
                assert!(
                    role != "button" || ["Leave", "Show"].contains(&name.as_str()),
                    "{path}: {name}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_that_ends_shows_nothing_more_and_says_how_to_come_back() {
    let relay = paused(1).await;
    visit(&relay, async |window| {
        window.at("/queue").await;
        let sessions = relay.ask(&["page", "sessions"]);
        let number = sessions["sessions"][0]["number"].to_string();
        relay.tell(&["page", "end", &number]);
        window.may_be_refused(401);
        window.choose("checkbox", "Choose ").await;
        window.press("button", "Delete").await;
        assert_eq!(window.heading().await, "No session");
        assert!(window.text().await.contains("pillarbox page"), "{}", window.text().await);
        assert_eq!(relay.ask(&["status"])["queue"]["messages"], 1, "nothing was done");
    })
    .await;
}

fn held(relay: &Relay) -> u64 {
    relay.ask(&["status"])["queue"]["recipients"]["held"].as_u64().unwrap()
}
