//! The places of open pages' streams, and the one look at the relay that serves all of them.
//!
//! Rule: no look is made while no page is open, and looks cost a named part of the time. Must not know who is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::body::Bytes;
use tokio::sync::{Notify, watch};

use crate::{
    admin::{client::Client, pulse::Pulse},
    clock::Clock,
    shutdown::{Phase, Watch},
    sync::lock,
};

/// Streams of one session: a browser has six connections to a host, and needs some for its documents.
const STREAMS_OF_ONE_MAX: usize = 4;
/// Streams of all sessions: half of the connections that the page has.
const STREAMS_MAX: usize = 32;
/// How often the relay is looked at while a page is open.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After a look so many times as long is rested, so that looks cost one hundredth of the time at most.
const REST_AFTER_LOOK: u32 = 99;

/// What the streams share.
#[derive(Debug)]
pub(super) struct Live {
    /// The last pulse, as it is sent; nothing before the first one.
    pub(super) told: watch::Sender<Option<Bytes>>,
    /// Open streams by the numbers of their sessions.
    open: Mutex<HashMap<u64, usize>>,
    /// Somebody has opened a page.
    opened: Notify,
    pub(super) stop: Watch,
}

impl Live {
    pub(super) fn new(stop: Watch) -> Arc<Self> {
        Arc::new(Self {
            told: watch::Sender::new(None),
            open: Mutex::default(),
            opened: Notify::new(),
            stop,
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        lock(&self.open)
    }

    /// A place for one more stream of this session, while there is one.
    pub(super) fn enter(self: &Arc<Self>, session: u64) -> Option<Seat> {
        let mut open = self.open();
        let own = open.get(&session).copied().unwrap_or(0);
        if own == STREAMS_OF_ONE_MAX || open.values().sum::<usize>() >= STREAMS_MAX {
            return None;
        }
        open.insert(session, own + 1);
        drop(open);
        self.opened.notify_one();
        Some(Seat { live: Arc::clone(self), session })
    }

    /// Looks at the relay for all streams until the stop is ordered.
    pub(super) async fn look(self: Arc<Self>, client: Client, clock: Arc<dyn Clock>) {
        let mut stop = self.stop.clone();
        let looking = async {
            loop {
                while self.open().is_empty() {
                    self.opened.notified().await;
                }
                let began = clock.now();
                if let Ok(pulse) = client.pulse().await {
                    self.tell(&pulse);
                }
                let took_ms = clock.now().since_boot_ms.saturating_sub(began.since_boot_ms);
                let rest = Duration::from_millis(took_ms).saturating_mul(REST_AFTER_LOOK);
                clock.sleep(rest.max(LOOK_EVERY)).await;
            }
        };
        tokio::select! {
            () = stop.reached(Phase::Draining) => {}
            () = looking => {}
        }
    }

    fn tell(&self, pulse: &Pulse) {
        let json = serde_json::to_string(pulse).unwrap_or_default();
        let event = Some(Bytes::from(format!("data: {json}\n\n")));
        self.told.send_if_modified(|told| {
            let differs = *told != event;
            if differs {
                *told = event;
            }
            differs
        });
    }
}

/// A place of a stream; dropped, it is somebody else's.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) live: Arc<Live>,
    pub(super) session: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.live.open();
        if let Some(number) = open.get_mut(&self.session) {
            *number -= 1;
            if *number == 0 {
                open.remove(&self.session);
            }
        }
    }
}
