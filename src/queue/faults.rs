//! The seam at which tests make a step of the disk fail.

use std::{
    io,
    sync::{Arc, Mutex},
};

use crate::sync;

/// A step that a disk may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
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
    /// It is noted that a final dot may be out.
    NoteDot,
    /// The index is written to.
    IndexWrite,
    /// What was written to it is flushed.
    IndexFlush,
    /// It is synced.
    IndexSync,
}

/// What goes wrong; outside of tests nothing, which costs a comparison.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    plan: Option<Arc<Mutex<Plan>>>,
}

#[derive(Debug)]
struct Plan {
    random: fastrand::Rng,
    /// One step in so many fails; 0: none.
    one_in: u32,
    /// What fails the next times.
    next: Option<(Step, rustix::io::Errno, u32)>,
    failed: Vec<Step>,
}

impl Plan {
    /// What disks say: EIO, ENOSPC, EMFILE, EACCES.
    const ERRORS: [rustix::io::Errno; 4] = [
        rustix::io::Errno::IO,
        rustix::io::Errno::NOSPC,
        rustix::io::Errno::MFILE,
        rustix::io::Errno::ACCESS,
    ];

    fn at(&mut self, step: Step) -> io::Result<()> {
        if let Some((_, errno, times)) = self.next.filter(|(next, ..)| *next == step) {
            self.next = (times > 1).then(|| (step, errno, times - 1));
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

impl Faults {
    /// Whether the step fails.
    pub(super) fn at(&self, step: Step) -> io::Result<()> {
        let Some(plan) = &self.plan else { return Ok(()) };
        sync::lock(plan).at(step)
    }

    /// Whether pauses are for people only, who do not wait in a test.
    pub(super) fn is_in_a_hurry(&self) -> bool {
        self.plan.is_some()
    }

    /// One step in `one_in` fails, by the dice of `seed`.
    pub(super) fn random(seed: u64, one_in: u32) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let plan = Plan { random, one_in, next: None, failed: Vec::new() };
        Self { plan: Some(Arc::new(Mutex::new(plan))) }
    }

    /// This step fails with EIO the next `times`.
    pub fn fail(&self, step: Step, times: u32) {
        self.plan_next(step, rustix::io::Errno::IO, times);
    }

    fn plan_next(&self, step: Step, errno: rustix::io::Errno, times: u32) {
        if let Some(plan) = &self.plan {
            sync::lock(plan).next = (times > 0).then_some((step, errno, times));
        }
    }
}

#[cfg(test)]
impl Faults {
    /// This step fails the next time.
    pub(super) fn once(step: Step, errno: rustix::io::Errno) -> Self {
        let faults = Self::random(0, 0);
        faults.fail_next(step, errno);
        faults
    }

    /// The same, from now on.
    pub(super) fn fail_next(&self, step: Step, errno: rustix::io::Errno) {
        self.plan_next(step, errno, 1);
    }

    /// From now on one step in `one_in` fails; 0: none.
    pub(super) fn set(&self, one_in: u32) {
        if let Some(plan) = &self.plan {
            sync::lock(plan).one_in = one_in;
        }
    }

    /// The steps that have failed.
    pub(super) fn failed(&self) -> Vec<Step> {
        let plan = self.plan.as_ref().expect("a plan");
        sync::lock(plan).failed.clone()
    }
}

#[cfg(test)]
mod tests;
