//! The keyboard: everything is reached with Tab in the order in which it is read, and one sees where one is.

use serde_json::Value;
use thirtyfour::Key;

use crate::{
    kinds,
    window::{Window, visit},
};

/// What has the focus, and what a person sees of that.
const FOCUSED: &str = "const one = document.activeElement, box = one.getBoundingClientRect();
    const style = getComputedStyle(one);
    const at = document.elementFromPoint(box.x + Math.min(box.width, 20) / 2, box.y + Math.min(box.height, 20) / 2);
    return one === document.body ? null : {
        place: [...document.querySelectorAll('*')].indexOf(one),
        name: one.outerHTML.slice(0, 120),
        outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
        inside: box.top >= -1 && box.left >= -1 && box.right <= innerWidth + 1 && box.bottom <= innerHeight + 1,
        uncovered: at !== null && (one.contains(at) || at.contains(one)),
    };";

/// How many things there are to reach.
const REACHED: &str = "return [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex=\"0\"]')]
    .filter(one => one.type !== 'hidden' && one.checkVisibility()).length;";

async fn walk(window: &Window, name: &str) -> Vec<String> {
    let (mut found, mut places) = (Vec::new(), Vec::new());
    let all = window.measure(REACHED).await.as_u64().unwrap();
    // A document that Tab does not leave would hold the walk for ever.
    for _ in 0..all {
        window.strike(Key::Tab).await;
        let focused = window.measure(FOCUSED).await;
        if focused == Value::Null {
            break;
        }
        for what in ["outlined", "inside", "uncovered"] {
            if focused[what] != true {
                found.push(format!("{name}: not {what}: {}", focused["name"]));
            }
        }
        places.push(focused["place"].as_u64().unwrap());
    }
    if places.len() as u64 != all {
        found.push(format!("{name}: {} of {all} are reached", places.len()));
    }
    if !places.is_sorted() {
        found.push(format!("{name}: another order than that of the text: {places:?}"));
    }
    found
}

#[tokio::test]
async fn everything_is_reached_with_tab_in_its_order_and_is_seen_to_have_the_focus() {
    let mut found = Vec::new();
    kinds::each(async |window, name| {
        for (width, height) in [(1400, 1000), (360, 740)] {
            window.measures(width, height, 1).await;
            window.measure("document.activeElement.blur(); scrollTo(0, 0)").await;
            found.extend(walk(window, &format!("{name} at {width}")).await);
            window.reload().await;
        }
    })
    .await;
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[tokio::test]
async fn the_first_stop_leads_past_the_navigation() {
    let relay = kinds::eventful().await;
    visit(&relay, async |window| {
        window.at("/queue").await;
        window.strike(Key::Tab).await;
        let first = window.measure("return document.activeElement.textContent").await;
        assert_eq!(first, "To the content");
        window.strike(Key::Enter).await;
        window.strike(Key::Tab).await;
        let next = window.measure("return document.activeElement.name").await;
        assert_eq!(next, "search", "the first of the content");
        window.strike_all("subject:toner").await;
        window.enter(Key::Enter).await;
        let path = window.path().await;
        assert!(path.contains("search=subject%3Atoner"), "{path}");
    })
    .await;
}
