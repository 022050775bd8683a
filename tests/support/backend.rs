//! The place of a queue whose daemon is killed: the directory of its host, or a real PostgreSQL.
//!
//! Rule: whatever is promised is promised of both, so a test is written once. Must not know what a test proves.

use std::{sync::Arc, time::Duration};

use super::{
    daemon::{Home, within},
    fleet::without_a_disk,
    postgres::Postgres,
};

/// What a takeover may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the queue is.
pub(crate) enum Backend {
    Disk,
    Database(Arc<Postgres>, String),
}

impl Backend {
    /// A database of its own.
    pub(crate) fn database() -> Self {
        let server = Postgres::shared();
        let name = server.database();
        Self::Database(server, name)
    }

    /// The home of a host that keeps its queue here.
    pub(crate) fn of(&self, home: Home) -> Home {
        match self {
            Self::Disk => home,
            Self::Database(server, name) => without_a_disk(home, "a", (server.port, name)),
        }
    }

    /// Waits until the new start has everything that the dead one had.
    pub(crate) fn until_it_is_taken_over(&self) {
        if let Self::Database(server, name) = self {
            let queues = || server.sql(name, "SELECT count(*) FROM pillarbox.queue");
            assert!(within(PATIENCE, || queues() == "1"), "{} queues", queues());
        }
    }
}
