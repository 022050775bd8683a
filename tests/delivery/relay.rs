//! A relay that a test lets live for days, as far as the test has to do with it: a pool over a queue in memory, or more than that.
//!
//! Rule: no more than what a pool has. Must not know what a test proves.

use std::time::Duration;

use pillarbox::{
    clock::ManualClock,
    queue::{Queue, state::AccountCondition},
    sandbox::Sandbox,
    shutdown::Phase,
};

use super::scene::Scene;

/// How long a recipient is tried.
pub(super) const LIFETIME: Duration = Duration::from_secs(60 * 24 * 3_600);

/// What lives for days.
pub(super) trait Relay {
    /// By which name it logs in.
    const LOGIN: &'static str;

    fn upstream(&self) -> &Sandbox;

    fn queue(&self) -> &Queue;

    fn clock(&self) -> &ManualClock;

    /// It is stopped and started again, after a reboot or not.
    async fn restart(&mut self, phase: Phase, reboots: bool);

    async fn condition(&self) -> AccountCondition;

    /// A person says that the cause of a pause is gone.
    async fn resume(&self);

    /// Waits until it has nothing to do.
    async fn until_quiet(&mut self);

    /// Time passes.
    async fn pass(&mut self, time: Duration);
}

impl Relay for Scene {
    const LOGIN: &'static str = "me@gmail.com";

    fn upstream(&self) -> &Sandbox {
        &self.sandbox
    }

    fn queue(&self) -> &Queue {
        &self.store
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn restart(&mut self, phase: Phase, reboots: bool) {
        self.stop(phase).await;
        if reboots {
            self.clock.reboot();
        }
        self.restart_queue().await;
        self.start();
    }

    async fn condition(&self) -> AccountCondition {
        self.handle().status().account.condition
    }

    async fn resume(&self) {
        self.handle().resume().await;
    }

    async fn until_quiet(&mut self) {
        Self::until_quiet(self).await;
    }

    async fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
    }
}
