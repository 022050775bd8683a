//! The fuzz target of searches: what is understood is written in a form that means the same, and the rest is told.

use pillarbox::queue::fuzzing;

/// Runs one input. Panics when something does not hold.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match fuzzing::search(text) {
        Ok(written) => assert_eq!(fuzzing::search(&written).as_ref(), Ok(&written), "{text:?}"),
        Err(words) => {
            assert!(!words.contains(|one: char| one.is_control() && one != '\n'), "{words:?}");
            assert!(words.lines().count() <= 3, "{words:?}");
        }
    }
}
