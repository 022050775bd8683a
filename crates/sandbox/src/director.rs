//! The change from one scenario to another while a look-alike runs.
//!
//! Rule: what was ordered before is taken back, and every connection ends, so that nothing goes on as it was. Must not know
//! who looks.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use super::{
    scenario::{SCENARIOS, Scenario},
    shared::Shared,
};

/// Has a running look-alike play scenarios. Any number of clones may be about, also after its end.
#[derive(Clone)]
pub struct Director {
    shared: Arc<Shared>,
    disconnect: watch::Sender<u64>,
    playing: Arc<Mutex<Option<&'static Scenario>>>,
}

impl Director {
    pub(super) fn new(shared: Arc<Shared>, disconnect: watch::Sender<u64>) -> Self {
        Self { shared, disconnect, playing: Arc::default() }
    }

    /// Those that can be played while it runs. The others need another start, or another login of the relay.
    pub fn scenarios(&self) -> impl Iterator<Item = &'static Scenario> + use<> {
        SCENARIOS.iter().filter(|scenario| scenario.while_it_runs().is_some())
    }

    /// Plays one of them from now on, and none with `None`; `false` where it cannot be played.
    pub fn play(&self, scenario: Option<&'static Scenario>) -> bool {
        let changed = scenario.map(Scenario::while_it_runs);
        let Some(changed) = changed.map_or(Some(None), |changed| changed.map(Some)) else {
            return false;
        };
        let Shared { script, accounts, options, .. } = &*self.shared;
        script.forget_orders();
        script.leave_to(changed.as_ref().and_then(|changed| changed.chance.clone()));
        accounts.clear_quota();
        let usual = options.recipients_per_day;
        accounts.set_day(
            changed.as_ref().map_or(usual, |changed| changed.recipients_per_day.min(usual)),
        );
        changed
            .into_iter()
            .flat_map(|changed| changed.script)
            .for_each(|order| script.order(order));
        *self.playing.lock().unwrap_or_else(PoisonError::into_inner) = scenario;
        self.disconnect.send_modify(|orders| *orders += 1);
        true
    }

    /// The one that is played.
    #[must_use]
    pub fn playing(&self) -> Option<&'static Scenario> {
        *self.playing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Director {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Director").field("playing", &self.playing()).finish_non_exhaustive()
    }
}
