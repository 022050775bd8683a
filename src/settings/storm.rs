//! `[storm]`: from when on mail that is alike is folded, and when summaries tell of it.
//!
//! Rule: one number turns it on and off; the times have defaults that nobody needs to know. Must not know what is alike.

use std::time::Duration;

use super::{
    report::{Report, in_range},
    value::{list, section, text, whole},
};
use crate::{
    queue::{
        folding,
        storms::{AFTER_MAX, Terms},
    },
    smtp::address::Address,
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// Times of summaries that may be written.
const SUMMARIES_MAX: usize = 8;

section! {
    /// `[storm]`: mail that is alike.
    pub(super) struct Storm {
        after: i64 = Terms::default().after.into(), "whole";
        within: Duration = Terms::default().window, "text";
        summaries: Vec<Duration> = Terms::default().summaries, "list";
    }
}

impl Storm {
    const SECTION: &str = "storm";

    /// What the queue is told; without an administrator nothing is folded.
    pub(super) fn check(
        &self,
        admin: Option<&Address>,
        report: &mut Report<'_>,
    ) -> folding::Options {
        let section = Self::SECTION;
        let after = in_range!(report.whole, section, self.after, 0..=AFTER_MAX);
        let window = in_range!(report.within, section, self.within, MINUTE..=DAY);
        let default = Self::default().summaries;
        let is_in_order = self.summaries.windows(2).all(|pair| pair[0] < pair[1]);
        let range = MINUTE..=7 * DAY;
        let is_good = (1..=SUMMARIES_MAX).contains(&self.summaries.len())
            && is_in_order
            && self.summaries.iter().all(|time| range.contains(time));
        if !is_good {
            let what = format!(
                "it is not a list of 1 to {SUMMARIES_MAX} times from 1min to 7d, each longer than the one before"
            );
            let remedy = "Write for example [\"10min\", \"30min\", \"2h\", \"6h\"], which it is without the line.";
            report.add(section, "summaries", what, remedy);
        }
        let summaries = if is_good { self.summaries.clone() } else { default };
        folding::Options { terms: Terms { after, window, summaries }, admin: admin.cloned() }
    }
}
