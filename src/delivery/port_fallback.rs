//! The port that the upstream is reached on: the configured one, or the other of 465 and 587.
//!
//! Rule: pure. The other way is tried only when the configured one cannot even be connected to several times
//! in a row, which is how providers block a port; a refusal is no reason. Must not know sockets.

use std::time::Duration;

use super::options::{Options, Way};

/// Connections that fail in a row before the other port is tried (docs/gmail.md section 3.2).
const FAILURES_MAX: u32 = 3;
/// How long the other port is used before the configured one is tried again.
const RETURN_AFTER: Duration = Duration::from_secs(3_600);

/// The ways to the upstream.
#[derive(Debug)]
pub(super) struct PortFallback {
    configured: Way,
    other: Option<Way>,
    /// Connections in a row that could not be made on the configured way.
    failures: u32,
    /// Since when the other way works, by milliseconds since boot.
    away_since_ms: Option<u64>,
}

impl PortFallback {
    pub(super) fn new(options: &Options) -> Self {
        let configured = Way { port: options.port, tls: options.tls };
        Self { configured, other: options.other_way, failures: 0, away_since_ms: None }
    }

    /// The ways to try one after the other for the next connection.
    pub(super) fn next(&self, now_ms: u64) -> Vec<Way> {
        let Some(other) = self.other else { return vec![self.configured] };
        match self.away_since_ms {
            Some(since) if now_ms.saturating_sub(since) < as_ms(RETURN_AFTER) => vec![other],
            Some(_) => vec![self.configured, other],
            // This attempt may be the one too many.
            None if self.failures + 1 >= FAILURES_MAX => vec![self.configured, other],
            None => vec![self.configured],
        }
    }

    /// A way could be connected to. Returns whether the use of ways has changed.
    pub(super) fn reached(&mut self, way: Way, now_ms: u64) -> bool {
        let was_away = self.away_since_ms.is_some();
        if way == self.configured {
            self.failures = 0;
            self.away_since_ms = None;
            return was_away;
        }
        self.away_since_ms = Some(now_ms);
        !was_away
    }

    /// A way could not be connected to.
    pub(super) fn unreachable(&mut self, way: Way) {
        if way == self.configured {
            self.failures = self.failures.saturating_add(1);
        } else {
            // Neither way leads there now: the configured one is tried first again.
            self.away_since_ms = None;
        }
    }
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Tls;

    const STARTTLS: Way = Way { port: 587, tls: Tls::Starttls };
    const IMPLICIT: Way = Way { port: 465, tls: Tls::Implicit };
    const HOUR_MS: u64 = 3_600_000;

    fn ways(other: Option<Way>) -> PortFallback {
        PortFallback { configured: STARTTLS, other, failures: 0, away_since_ms: None }
    }

    #[test]
    fn the_third_failure_in_a_row_tries_the_other_port_and_an_hour_later_the_first_again() {
        let mut ways = ways(Some(IMPLICIT));
        for _ in 0..2 {
            assert_eq!(ways.next(0), [STARTTLS]);
            ways.unreachable(STARTTLS);
        }
        assert_eq!(ways.next(0), [STARTTLS, IMPLICIT]);
        ways.unreachable(STARTTLS);
        assert!(ways.reached(IMPLICIT, 0), "that is news");
        assert_eq!(ways.next(HOUR_MS - 1), [IMPLICIT]);
        assert_eq!(ways.next(HOUR_MS), [STARTTLS, IMPLICIT]);
        assert!(ways.reached(STARTTLS, HOUR_MS), "and so is the return");
        assert_eq!(ways.next(HOUR_MS), [STARTTLS]);
    }

    #[test]
    fn a_success_in_between_counts_anew_and_without_another_port_there_is_one_way() {
        let mut with = ways(Some(IMPLICIT));
        with.unreachable(STARTTLS);
        with.unreachable(STARTTLS);
        assert!(!with.reached(STARTTLS, 0));
        assert_eq!(with.next(0), [STARTTLS]);
        let mut without = ways(None);
        (0..9).for_each(|_| without.unreachable(STARTTLS));
        assert_eq!(without.next(0), [STARTTLS]);
    }
}
