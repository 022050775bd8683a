//! Limits on how often the log speaks of one thing: so many lines in a while, and the next line counts the rest.
//!
//! Rule: pure; the time comes in, in milliseconds of the boot clock. Must not know what is told.

use std::time::Duration;

/// The limit for one kind of event.
#[derive(Clone, Debug)]
pub(crate) struct LogLimit {
    lines_max: u32,
    window: Duration,
    /// When the window began; `None` before the first line.
    began_ms: Option<u64>,
    /// Lines of the window.
    lines: u32,
    /// Events that no line has told of.
    untold: u64,
}

impl LogLimit {
    /// So many lines in any window, which begins with a line.
    pub(crate) const fn new(lines_max: u32, window: Duration) -> Self {
        Self { lines_max, window, began_ms: None, lines: 0, untold: 0 }
    }

    /// An event. When it is to be told: how many events the line stands for.
    pub(crate) fn tell(&mut self, now_ms: u64) -> Option<u64> {
        self.count();
        self.due(now_ms)
    }

    /// An event that may be told later.
    pub(crate) fn count(&mut self) {
        self.untold += 1;
    }

    /// How many events a line stands for, when there are some and it is time for one.
    pub(crate) fn due(&mut self, now_ms: u64) -> Option<u64> {
        if self.untold == 0 || now_ms < self.next_ms() {
            return None;
        }
        if self.is_over(now_ms) {
            (self.began_ms, self.lines) = (Some(now_ms), 0);
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.untold))
    }

    /// Whether there are events that no line has told of.
    pub(crate) fn has_untold(&self) -> bool {
        self.untold > 0
    }

    /// When there may be another line.
    pub(crate) fn next_ms(&self) -> u64 {
        let end = |began: u64| began.saturating_add(self.window.as_millis() as u64);
        self.began_ms.filter(|_| self.lines >= self.lines_max).map_or(0, end)
    }

    /// When the window began: which of several is the oldest.
    pub(crate) fn began_ms(&self) -> u64 {
        self.began_ms.unwrap_or(0)
    }

    fn is_over(&self, now_ms: u64) -> bool {
        let age = |began| u128::from(now_ms.saturating_sub(began));
        self.began_ms.is_none_or(|began| age(began) >= self.window.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn a_flood_is_told_once_in_a_window_with_its_number() {
        let mut limit = LogLimit::new(1, TEN);
        let told: Vec<_> = (0..=20).filter_map(|second| limit.tell(second * 1_000)).collect();
        assert_eq!(told, [1, 10, 10]);
    }

    #[test]
    fn several_lines_in_a_window_are_told_at_once() {
        let mut limit = LogLimit::new(3, TEN);
        let told: Vec<_> = (0..100).filter_map(|_| limit.tell(5_000)).collect();
        assert_eq!(told, [1, 1, 1]);
        assert_eq!((limit.has_untold(), limit.next_ms(), limit.due(14_999)), (true, 15_000, None));
        assert_eq!((limit.due(15_000), limit.due(15_000)), (Some(97), None), "without a new event");
        let more: Vec<_> = (0..100).filter_map(|_| limit.tell(16_000)).collect();
        assert_eq!(more, [1, 1]);
    }
}
