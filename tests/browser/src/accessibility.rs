//! The accessibility of every kind of document, as axe-core judges it: it finds nothing, in light and in dark.
//!
//! Rule: it is let in by the driver, past the page's policy, which stays in force for the document itself.

use std::path::Path;

use crate::{kinds, window::Window};

/// All rules but those that read style sheets by a request of their own, which the page's policy refuses.
const LOOK: &str = "const done = arguments[arguments.length - 1];
    const options = { preload: false, resultTypes: ['violations'], rules: { 'target-size': { enabled: true } } };
    axe.run(document, options).then(
        found => done(found.passes.length < 10 ? ['axe-core has looked at nothing'] : found.violations.flatMap(rule => rule.nodes.map(node =>
            `${rule.id}: ${rule.help}: ${node.html}: ${node.failureSummary}`))),
        error => done([`axe-core fails: ${error}`]));";

async fn finds_nothing(window: &Window, name: &str, axe: &str) {
    for colours in ["light", "dark"] {
        window.medium("screen", colours).await;
        window.measure(axe).await;
        let found = window.measure_late(LOOK).await;
        let found = found.as_array().expect("what was found");
        assert!(found.is_empty(), "{name}, {colours}: {found:#?}");
    }
}

#[tokio::test]
async fn axe_core_finds_nothing_in_any_document() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/axe-core/axe.min.js");
    let axe =
        std::fs::read_to_string(file).expect("tests/browser/fetch was run, as make test-page does");
    kinds::each(async |window, name| finds_nothing(window, name, &axe).await).await;
}
