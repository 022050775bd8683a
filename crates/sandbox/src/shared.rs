//! The state that all connections of one sandbox share.
//!
//! Rule: everything here is synchronous and guarded by short locks, so that a session is a plain
//! function of its input. Must not know sockets.

use std::{
    fmt,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::sync::broadcast;

use super::{
    account::Accounts,
    mailbox::Mailbox,
    oauth::Identity,
    options::Options,
    script::{Script, Stage},
    triggers::Strikes,
};

/// One line for whoever watches the look-alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which connection, counted from 1.
    pub connection: u64,
    /// Where in the dialogue.
    pub stage: Stage,
    /// What happened, such as `from=a@example.org`; no secret, no body.
    pub text: String,
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "upstream #{} {}: {}", self.connection, self.stage, self.text)
    }
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// One of the steps of every message.
    Step,
    /// What a watcher waits for: a login, a message, a refusal.
    Result,
}

/// The common ground of the connections.
#[derive(Debug)]
pub(super) struct Shared {
    pub options: Options,
    pub mailbox: Arc<Mailbox>,
    pub accounts: Accounts,
    pub identity: Identity,
    pub script: Script,
    pub strikes: Strikes,
    events: broadcast::Sender<Event>,
    connections: AtomicU64,
}

impl Shared {
    pub(super) fn new(options: Options, mailbox: Arc<Mailbox>) -> Self {
        Self {
            accounts: Accounts::new(options.recipients_per_day, options.logins_per_minute),
            script: Script::new(&options.script, options.chance.clone()),
            options,
            mailbox,
            identity: Identity::default(),
            strikes: Strikes::default(),
            events: broadcast::Sender::new(EVENTS_WAITING_MAX),
            connections: AtomicU64::new(0),
        }
    }

    /// The number of the next connection.
    pub(super) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A new watcher.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Tells watchers and the log; `text` is made only if somebody listens.
    pub(super) fn tell(
        &self,
        connection: u64,
        stage: Stage,
        weight: Weight,
        text: impl FnOnce() -> String,
    ) {
        let logged = match weight {
            Weight::Result => tracing::enabled!(tracing::Level::INFO),
            Weight::Step => tracing::enabled!(tracing::Level::DEBUG),
        };
        let watched = self.events.receiver_count() > 0;
        if !logged && !watched {
            return;
        }
        let event = Event { connection, stage, text: text() };
        match weight {
            Weight::Result => tracing::info!("{event}"),
            Weight::Step => tracing::debug!("{event}"),
        }
        if watched {
            // An error means that the last watcher has just gone.
            drop(self.events.send(event));
        }
    }
}

/// Events a slow watcher may lag behind before it misses some.
const EVENTS_WAITING_MAX: usize = 4096;
