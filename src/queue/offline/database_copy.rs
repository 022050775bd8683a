//! A copy of a queue in the fleet's database as a directory, to be looked at while no host works with it.
//!
//! Rule: nothing in the database is changed. Must not know what is looked for.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
};

use super::inspection::{Copy, Inspection, InspectionError};
use crate::{
    clock::SystemClock,
    fleet::{Options, Refusal, Rows},
    queue::{
        database_index::read, faults::Faults, id::QueueId, index::IndexError,
        memory_index::MemoryIndex, spool,
    },
};

impl Inspection {
    /// Copies the messages of all hosts to a directory below `scratch`; the index of the copy is in memory.
    ///
    /// # Errors
    /// When a host works with them, or they cannot be read.
    pub(crate) fn of_database(database: &Options, scratch: &Path) -> Result<Self, InspectionError> {
        let rows =
            Rows::new(database, Arc::new(SystemClock::new())).map_err(InspectionError::Spool)?;
        let alive = rows.alive().map_err(away)?;
        if !alive.is_empty() {
            return Err(InspectionError::InUse(alive.join(", ")));
        }
        let copy = Copy::empty(scratch).map_err(InspectionError::Spool)?;
        let index = MemoryIndex::mirror(Faults::default());
        let mut after = None;
        loop {
            let page = rows.messages_of_all(after).map_err(away)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for row in &page {
                let id = QueueId::from_bytes(row.id);
                index.fill(id, read(id, &row.record).map_err(|error| words_of(&error)));
                let file = spooled(&copy.0, id).map_err(InspectionError::Spool)?;
                rows.fetch(row.id, file).map_err(away)?;
            }
        }
        Ok(Self::of_copy(copy.0.clone(), Arc::new(index), copy))
    }
}

fn spooled(state: &Path, id: QueueId) -> io::Result<File> {
    let path = spool::path_below(&state.join("spool"), id);
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    File::options().write(true).create_new(true).open(path)
}

fn away(refusal: Refusal) -> InspectionError {
    InspectionError::Away(refusal.to_string())
}

fn words_of(error: &IndexError) -> String {
    error.to_string()
}
