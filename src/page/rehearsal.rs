//! The sandbox that a page belongs to, as far as its visitors may order anything of it.
//!
//! Rule: a page is told of it by whoever started both; must not know what is ordered.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use crate::sandbox::Director;

/// The look-alike behind the page, and how mail is handed to the relay.
pub(crate) struct Rehearsal {
    pub(crate) director: Director,
    pub(crate) send: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// What a page is told of it: nothing, unless it is that of a sandbox.
pub(crate) type Stage = Arc<OnceLock<Rehearsal>>;

impl fmt::Debug for Rehearsal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Rehearsal")
            .field("director", &self.director)
            .finish_non_exhaustive()
    }
}
