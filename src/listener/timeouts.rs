//! Time limits on a client: silence, a trickle, a message or a session without end.
//!
//! Rule: only time spent waiting for the client counts, never ours. A client may be behind the lowest
//! speed by as long as it may be silent: a scanner that pauses between pages catches up, one octet a
//! second does not. Must not know sockets or what is said.

use std::{future::Future, pin::Pin, time::Duration};

use super::options::Limits;
use crate::clock::Clock;

/// Tells when a client is given up. The timer is not set anew for each read but only when it has run
/// out, or would run out too late.
pub(super) struct Timeouts<'a> {
    clock: &'a dyn Clock,
    limits: &'a Limits,
    waiting: Waiting,
    timer_ends_ms: u64,
    timer: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

/// What the client is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A command; `answered` when the last input brought a reply.
    Command {
        /// There was something to do since the last wait.
        answered: bool,
    },
    /// More of a message.
    Message,
}

/// The waiting, as numbers.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// When the present wait began.
    since_ms: u64,
    /// How far the client is behind the lowest speed.
    behind_ms: u64,
    in_message: bool,
    /// When the message began, or the last one ended.
    phase_since_ms: u64,
}

impl<'a> Timeouts<'a> {
    pub(super) fn new(clock: &'a dyn Clock, limits: &'a Limits) -> Self {
        let now_ms = clock.now().since_boot_ms;
        let waiting =
            Waiting { since_ms: now_ms, behind_ms: 0, in_message: false, phase_since_ms: now_ms };
        let timer = Box::pin(std::future::ready(()));
        Self { clock, limits, waiting, timer_ends_ms: now_ms, timer }
    }

    /// A message was stored: the session is of use.
    pub(super) fn message_stored(&mut self) {
        self.waiting.phase_since_ms = self.clock.now().since_boot_ms;
    }

    /// A wait begins.
    pub(super) fn wait(&mut self, phase: Phase) {
        self.waiting.begin(self.clock.now().since_boot_ms, phase);
    }

    /// The client was heard.
    pub(super) fn heard(&mut self, octets: usize) {
        let rate = u64::from(self.limits.min_bytes_per_second);
        self.waiting.end(self.clock.now().since_boot_ms, octets as u64, rate);
    }

    /// Returns when the client is given up; `silence` is what the session allows in its present state.
    pub(super) async fn expired(&mut self, silence: Duration) {
        let deadline_ms = self.waiting.deadline_ms(silence, self.limits);
        loop {
            let now_ms = self.clock.now().since_boot_ms;
            if now_ms >= deadline_ms {
                return;
            }
            if self.timer_ends_ms <= now_ms || self.timer_ends_ms > deadline_ms {
                self.timer = self.clock.sleep(Duration::from_millis(deadline_ms - now_ms));
                self.timer_ends_ms = deadline_ms;
            }
            self.timer.as_mut().await;
            // A finished timer must not be polled again.
            self.timer_ends_ms = 0;
        }
    }
}

impl Waiting {
    fn begin(&mut self, now_ms: u64, phase: Phase) {
        let in_message = phase == Phase::Message;
        if in_message != self.in_message {
            (self.in_message, self.phase_since_ms) = (in_message, now_ms);
        }
        if phase == (Phase::Command { answered: true }) {
            self.behind_ms = 0;
        }
        self.since_ms = now_ms;
    }

    /// Within a message, octets make up for time; a command does it only when it is complete.
    fn end(&mut self, now_ms: u64, octets: u64, rate: u64) {
        self.behind_ms = self.behind_ms.saturating_add(now_ms.saturating_sub(self.since_ms));
        if self.in_message {
            let worth_ms = octets.saturating_mul(1_000).checked_div(rate).unwrap_or(u64::MAX);
            self.behind_ms = self.behind_ms.saturating_sub(worth_ms);
        }
    }

    fn deadline_ms(&self, silence: Duration, limits: &Limits) -> u64 {
        let phase = if self.in_message { limits.message } else { limits.session_without_message };
        let end_of_patience =
            self.since_ms.saturating_add(millis(silence)).saturating_sub(self.behind_ms);
        end_of_patience.min(self.phase_since_ms.saturating_add(millis(phase)))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::server::{COMMAND_TIMEOUT, DATA_TIMEOUT};

    /// Plays a client that sends `octets` every `interval` seconds. Returns the second in which it is
    /// given up, if that is within the first `seconds`.
    fn given_up(phase: Phase, octets: u64, interval: u64, seconds: u64) -> Option<u64> {
        let limits = Limits::default();
        let mut waiting =
            Waiting { since_ms: 0, behind_ms: 0, in_message: false, phase_since_ms: 0 };
        let silence = if phase == Phase::Message { DATA_TIMEOUT } else { COMMAND_TIMEOUT };
        for second in (0..seconds).step_by(usize::try_from(interval).unwrap()) {
            waiting.begin(second * 1_000, phase);
            let deadline_ms = waiting.deadline_ms(silence, &limits);
            if deadline_ms <= (second + interval) * 1_000 {
                return Some(deadline_ms / 1_000);
            }
            waiting.end(
                (second + interval) * 1_000,
                octets,
                u64::from(limits.min_bytes_per_second),
            );
        }
        None
    }

    #[test]
    fn one_octet_a_second_is_given_up_as_soon_as_silence_would_be() {
        assert_eq!(given_up(Phase::Message, 1, 1, 3_600), Some(181));
        assert_eq!(given_up(Phase::Command { answered: false }, 1, 1, 3_600), Some(300));
    }

    #[test]
    fn a_slow_modem_and_a_scanner_that_pauses_two_minutes_between_pages_may_go_on() {
        assert_eq!(given_up(Phase::Message, 1_000, 1, 3_600), None);
        assert_eq!(given_up(Phase::Message, 50_000, 120, 7_200), None);
    }

    #[test]
    fn neither_a_message_nor_a_session_without_one_lasts_for_ever() {
        let limits = Limits::default();
        let message = limits.message.as_secs();
        assert_eq!(given_up(Phase::Message, 200, 1, message + 10), Some(message));
        let session = limits.session_without_message.as_secs();
        assert_eq!(given_up(Phase::Command { answered: true }, 6, 10, session + 20), Some(session));
    }
}
