//! The look of every kind of document: it fits a phone, a desk and a zoom of 200 %, and paper.
//!
//! Rule: measured in the browser; the pictures that are kept are for people.

use serde_json::json;

use crate::{kinds, window::Window};

/// Width and height in CSS pixels, the scale, and a name.
pub(crate) const SIZES: [(u32, u32, u32, &str); 3] =
    [(1400, 1000, 1, "1400"), (360, 740, 1, "360"), (640, 512, 2, "zoom-200")];

/// What sticks out of the window, is cut off, lies upon something else or is too small to be hit.
const FAULTS: &str = include_str!("faults.js");

pub(crate) async fn faults(window: &Window, name: &str) -> Vec<String> {
    let faults = window.measure(FAULTS).await;
    let faults = faults.as_array().expect("faults").iter();
    faults.map(|fault| format!("{name}: {}", fault.as_str().unwrap())).collect()
}

/// Says all of them at once.
pub(crate) fn expect_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[tokio::test]
async fn every_document_fits_a_phone_a_desk_and_a_zoom_of_200_percent() {
    let mut found = Vec::new();
    kinds::each(async |window, name| {
        for (width, height, scale, size) in SIZES {
            window.measures(width, height, scale).await;
            found.extend(faults(window, &format!("{name} at {size}")).await);
            for colours in ["light", "dark"] {
                window.medium("screen", colours).await;
                window.keep_picture(&format!("{name}-{size}-{colours}")).await;
            }
        }
        // Larger letters alone, as some people have them.
        window.measures(1400, 1000, 1).await;
        window.measure("document.documentElement.style.fontSize = '200%'").await;
        found.extend(faults(window, &format!("{name} with letters of 200 %")).await);
    })
    .await;
    expect_none(&found);
}

#[tokio::test]
async fn paper_gets_the_content_and_nothing_to_press() {
    let mut found = Vec::new();
    kinds::each(async |window, name| {
        window.measures(760, 1000, 1).await;
        window.medium("print", "light").await;
        let seen = window.measure(PRINTED).await;
        let wanted = json!({ "pressed": [], "white": true, "lost": [] });
        if seen != wanted {
            found.push(format!("{name} on paper: {seen}"));
        }
        found.extend(faults(window, &format!("{name} on paper")).await);
        window.keep_picture(&format!("{name}-print")).await;
        window.medium("screen", "light").await;
    })
    .await;
    expect_none(&found);
}

/// What of a document paper shows: nothing to press, all that can be read, dark on white.
const PRINTED: &str = "const seen = one => one.getClientRects().length > 0 && getComputedStyle(one).visibility === 'visible';
    const all = (what, is_seen) =>
        [...document.querySelectorAll(what)].filter(one => seen(one) === is_seen).map(one => one.outerHTML.slice(0, 120));
    return {
        pressed: all('button, input, select, nav', true),
        lost: all('h1, h2, dd, td:not(:has(input)), p:not(:has(button)), svg rect[height]:not([height=\"0\"])', false),
        white: getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)',
    };";
