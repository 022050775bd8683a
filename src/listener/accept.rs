//! The accept loop, of the network's sockets and of the local one.
//!
//! Rule: every task belongs to the loop's set, and a process without descriptors waits instead of spinning. Must not know
//! who is let in.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::Duration,
};

use rustix::io::Errno;
use tokio::task::JoinSet;

use super::turn_away::{LOG_INTERVAL, TurnedAway};
use crate::{
    clock::Clock,
    log_limit::LogLimit,
    shutdown::{Phase, Watch},
};

/// How long to wait when the process has no file descriptor left for another connection.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// What an accept loop is about.
pub(super) struct Loop<'a> {
    pub(super) clock: &'a dyn Clock,
    /// Of whom it tells when they come no more.
    pub(super) turned_away: &'a TurnedAway,
    /// What to do when there are no descriptors.
    pub(super) remedy: &'static str,
}

impl Loop<'_> {
    /// Lets connections in until the service drains. Tasks that end leave the set.
    pub(super) async fn run<S>(
        &self,
        mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<S>>,
        admit: impl Fn(S, &mut JoinSet<()>),
        connections: &mut JoinSet<()>,
        shutdown: &mut Watch,
    ) {
        let draining = shutdown.reached(Phase::Draining);
        tokio::pin!(draining);
        let mut exhausted = LogLimit::new(1, LOG_INTERVAL);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut draining => return,
                Some(_) = connections.join_next() => continue,
                accepted = poll_fn(&mut poll_accept) => accepted,
                () = self.turned_away.tell_late(self.clock) => continue,
            };
            match accepted {
                Ok(connection) => admit(connection, connections),
                Err(error) if is_exhausted(&error) => {
                    if let Some(count) = exhausted.tell(self.clock.now().since_boot_ms) {
                        let remedy = self.remedy;
                        tracing::warn!(%error, count, remedy, "cannot take connections");
                    }
                    self.clock.sleep(EXHAUSTED_WAIT).await;
                }
                // The client was gone before we came to it.
                Err(error) => tracing::debug!(%error, "connection lost"),
            }
        }
    }
}

/// Whether the process or the machine has run out of what a connection needs, see accept(2).
fn is_exhausted(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        clock::{ManualClock, Timestamp},
        shutdown::Shutdown,
    };

    #[tokio::test]
    async fn a_process_without_descriptors_waits_and_takes_the_next_connection() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let (shutdown, turned_away) = (Shutdown::new(), TurnedAway::default());
        let (mut tasks, mut watch) = (JoinSet::new(), shutdown.watch());
        let errors = [Errno::MFILE, Errno::CONNABORTED, Errno::NFILE];
        let mut answers =
            errors.map(|errno| Err(io::Error::from(errno))).into_iter().chain([Ok(7)]);
        let poll_accept = |_: &mut Context<'_>| answers.next().map_or(Poll::Pending, Poll::Ready);
        let admitted = Arc::new(std::sync::Mutex::new(Vec::new()));
        let its = Arc::clone(&admitted);
        let admit = |number: i32, _: &mut JoinSet<()>| its.lock().unwrap().push(number);
        let accepting = Loop { clock: &clock, turned_away: &turned_away, remedy: "none" };
        let mut running = std::pin::pin!(accepting.run(poll_accept, admit, &mut tasks, &mut watch));
        for waits in 0..=errors.len() {
            tokio::select! {
                biased;
                () = &mut running => panic!("it ends only when the service drains"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(admitted.lock().unwrap().is_empty(), waits < 2, "after {waits} waits");
            clock.advance(EXHAUSTED_WAIT);
        }
        assert_eq!(*admitted.lock().unwrap(), [7]);
        shutdown.advance(Phase::Draining);
        running.await;
    }
}
