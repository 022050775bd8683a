//! The words of storms: how one stands, whom its mail is for, and what is said of all of them.

use crate::{
    admin::storms::{Storm, Storms},
    clock::Timestamp,
    quantities::{count, when},
};

/// What is said where there is no storm.
pub(crate) const NONE: &str = "Nothing is folded.";

/// Whether mail is still folded into it.
#[must_use]
pub(crate) fn standing(storm: &Storm) -> &'static str {
    if storm.lasts { "lasts" } else { "over" }
}

/// When a summary tells of it, the last one and the next one.
#[must_use]
pub(crate) fn told(storm: &Storm, now: Timestamp) -> Vec<String> {
    let last = storm.told_at.map_or_else(|| "nothing yet".to_owned(), |at| when(at, now));
    let next = storm.next_at.map(|at| format!("next summary {}", when(at.max(now), now)));
    [last].into_iter().chain(next).collect()
}

/// The first recipient of its mail, and how many more.
#[must_use]
pub(crate) fn addressees(storm: &Storm) -> String {
    match storm.to.as_slice() {
        [] => "nobody".to_owned(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

/// How many storms are not among those that are named, of which so many are shown; and that no new kind of mail is folded.
#[must_use]
pub(crate) fn remarks(answer: &Storms, shown: usize) -> Vec<String> {
    let Storms { storms, more, kinds, kinds_max } = answer;
    let before = more + storms.len().saturating_sub(shown) as u64;
    let before = (before > 0).then(|| format!("{} before these.", count(before, "storm")));
    let full = (kinds >= kinds_max).then(|| {
        format!(
            "{kinds} kinds of mail come at once, which is as many as are remembered: mail of a new kind is not folded."
        )
    });
    before.into_iter().chain(full).collect()
}
