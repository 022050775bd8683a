//! The seam at which tests make a step of the disk fail.
//!
//! Rule: outside of tests it costs nothing and never fails. Must not know what a step is for.

use std::io;
#[cfg(test)]
use std::sync::{Arc, Mutex, PoisonError};

/// A step that a disk may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A spool file is opened or made.
    Open,
    /// It is written to.
    Write,
    /// It is synced.
    Sync,
    /// It gets its final name.
    Rename,
    /// It is removed.
    Unlink,
    /// A directory is synced.
    SyncDirectory,
    /// The index is written to.
    IndexWrite,
    /// What was written to it is flushed.
    IndexFlush,
    /// It is synced.
    IndexSync,
}

/// What goes wrong; by default nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    #[cfg(test)]
    plan: Option<Arc<Mutex<Plan>>>,
}

impl Faults {
    /// Whether the step fails.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests fill it")]
    pub(super) fn at(&self, _step: Step) -> io::Result<()> {
        Ok(())
    }

    /// Whether the step fails.
    #[cfg(test)]
    pub(super) fn at(&self, step: Step) -> io::Result<()> {
        let Some(plan) = &self.plan else { return Ok(()) };
        plan.lock().unwrap_or_else(PoisonError::into_inner).at(step)
    }

    /// Whether pauses are for people only, who do not wait in a test.
    pub(super) fn is_in_a_hurry(&self) -> bool {
        #[cfg(test)]
        return self.plan.is_some();
        #[cfg(not(test))]
        false
    }
}

#[cfg(test)]
#[derive(Debug)]
struct Plan {
    random: fastrand::Rng,
    /// One step in so many fails; 0: none.
    one_in: u32,
    /// What fails once.
    once: Option<(Step, rustix::io::Errno)>,
    failed: Vec<Step>,
}

#[cfg(test)]
impl Plan {
    /// What disks say: EIO, ENOSPC, EMFILE, EACCES.
    const ERRORS: [rustix::io::Errno; 4] = [
        rustix::io::Errno::IO,
        rustix::io::Errno::NOSPC,
        rustix::io::Errno::MFILE,
        rustix::io::Errno::ACCESS,
    ];

    fn at(&mut self, step: Step) -> io::Result<()> {
        if let Some((_, errno)) = self.once.take_if(|(once, _)| *once == step) {
            self.failed.push(step);
            return Err(errno.into());
        }
        if self.one_in == 0 || self.random.u32(0..self.one_in) != 0 {
            return Ok(());
        }
        self.failed.push(step);
        Err(Self::ERRORS[self.random.usize(..4)].into())
    }
}

#[cfg(test)]
impl Faults {
    /// One step in `one_in` fails, by the dice of `seed`.
    pub(super) fn random(seed: u64, one_in: u32) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let plan = Plan { random, one_in, once: None, failed: Vec::new() };
        Self { plan: Some(Arc::new(Mutex::new(plan))) }
    }

    /// This step fails the next time.
    pub(super) fn once(step: Step, errno: rustix::io::Errno) -> Self {
        let faults = Self::random(0, 0);
        faults.fail_next(step, errno);
        faults
    }

    /// The same, from now on.
    pub(super) fn fail_next(&self, step: Step, errno: rustix::io::Errno) {
        if let Some(plan) = &self.plan {
            plan.lock().unwrap_or_else(PoisonError::into_inner).once = Some((step, errno));
        }
    }

    /// From now on one step in `one_in` fails; 0: none.
    pub(super) fn set(&self, one_in: u32) {
        if let Some(plan) = &self.plan {
            plan.lock().unwrap_or_else(PoisonError::into_inner).one_in = one_in;
        }
    }

    /// The steps that have failed.
    pub(super) fn failed(&self) -> Vec<Step> {
        let plan = self.plan.as_ref().expect("a plan");
        plan.lock().unwrap_or_else(PoisonError::into_inner).failed.clone()
    }
}

#[cfg(test)]
mod tests;
