//! The runtimes of the commands, and the one way in which they wait for a future.

use std::{pin::Pin, time::Duration};

use crate::exit::{Exit, Failure};

/// Threads that drive connections. The work is waiting for disks and networks; two keep a slow task
/// from holding up the others, and each costs memory while idle.
const WORKER_THREADS: usize = 2;
/// Threads for calls that block: syncs of spool files run side by side there.
const BLOCKING_THREADS_MAX: usize = 64;
/// How long an unused one of them stays, so that a burst's memory comes back.
const BLOCKING_THREAD_IDLE: Duration = Duration::from_secs(2);
/// Our deepest stack is TLS over SMTP; the usual 2 MiB is mostly address space, but not only.
const THREAD_STACK_BYTES: usize = 512 * 1024;
/// How long a process that was told to stop at once waits for calls that block.
const STOP: Duration = Duration::from_millis(200);

/// What drives the futures of a command.
pub(super) struct Runtime(tokio::runtime::Runtime);

impl Runtime {
    /// For a daemon.
    pub(super) fn of_a_daemon() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_keep_alive(BLOCKING_THREAD_IDLE)
            .thread_stack_size(THREAD_STACK_BYTES)
            .enable_all()
            .build();
        runtime.map(Self).map_err(|error| {
            Failure::new(Exit::Temporary, format!("cannot start threads: {error}"))
        })
    }

    /// For a question: only people and monitoring wait for it.
    pub(super) fn of_a_question() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .map(Self)
            .map_err(|error| Failure::new(Exit::Temporary, format!("cannot start: {error}")))
    }

    /// Waits for a future. Behind a pointer, because the runtime compiles what it waits for once for each kind of
    /// runtime that there is: a whole command, three times.
    pub(super) fn block_on<'f, T>(&self, future: impl Future<Output = T> + 'f) -> T {
        let future: Pin<Box<dyn Future<Output = T> + 'f>> = Box::pin(future);
        self.0.block_on(future)
    }

    /// Ends what still runs, without waiting long for it.
    pub(super) fn stop(self) {
        self.0.shutdown_timeout(STOP);
    }
}
