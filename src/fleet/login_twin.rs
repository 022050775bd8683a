//! Pages of logins in memory, for tests: of one account, by a clock that is advanced.
//!
//! Rule: as `twin.rs`; what is decided is decided by the same code as in PostgreSQL.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use super::{
    books::Trouble,
    logins::{LoginAnswer, LoginAsk, LoginBooks, Page, Renewal, Renewed},
};
use crate::{
    clock::{Clock as _, ManualClock},
    sync::lock,
};

#[derive(Debug)]
pub(super) struct LoginTwin {
    pub(super) page: Mutex<Page>,
    clock: ManualClock,
    pub(super) is_away: AtomicBool,
    /// The next question is heard, and its answer is lost.
    pub(super) loses_an_answer: AtomicBool,
}

impl LoginTwin {
    pub(super) fn new(clock: &ManualClock) -> Self {
        Self {
            page: Mutex::default(),
            clock: clock.clone(),
            is_away: AtomicBool::new(false),
            loses_an_answer: AtomicBool::new(false),
        }
    }

    pub(super) fn now(&self) -> Duration {
        Duration::from_millis(self.clock.now().since_boot_ms)
    }

    fn judge<T>(&self, judge: impl FnOnce(&mut Page, Duration) -> T) -> Result<T, Trouble> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Trouble("the database is away".into()));
        }
        let answer = judge(&mut lock(&self.page), self.now());
        if self.loses_an_answer.swap(false, Ordering::Relaxed) {
            return Err(Trouble("the answer was lost".into()));
        }
        Ok(answer)
    }
}

#[async_trait]
impl LoginBooks for LoginTwin {
    async fn log_in(&self, _: &str, host: &str, ask: &LoginAsk) -> Result<LoginAnswer, Trouble> {
        self.judge(|page, now| page.log_in(now, host, ask))
    }

    async fn renew(&self, _: &str, host: &str, renewal: &Renewal) -> Result<Renewed, Trouble> {
        self.judge(|page, now| page.renew(now, host, renewal))
    }
}
