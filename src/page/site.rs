//! The sources of every answer.

use std::sync::Arc;

use super::{rehearsal::Stage, streams::Live};
use crate::{
    admin::{
        client::Client,
        place::Place,
        sessions::{Sessions, Visit},
    },
    clock::Clock,
    listener::{guesses::Guesses, users::Users},
};

/// Octets of a form: all the ids of a list, and a search.
pub(super) const FORM_BYTES_MAX: usize = 64 * 1024;

/// What every answer is made from.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) client: Client,
    pub(super) sessions: Arc<Sessions>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) place: Arc<Place>,
    /// Who may come in by name and password.
    pub(super) users: Option<Arc<Users>>,
    pub(super) guesses: Arc<Guesses>,
    pub(super) live: Arc<Live>,
    /// The sandbox that it belongs to.
    pub(super) stage: Stage,
    /// Whether there are other hosts to be shown.
    pub(super) has_fleet: bool,
}

impl Site {
    /// The same, asking for this visitor.
    pub(super) fn asking_for(&self, visit: &Visit) -> Self {
        Self { client: self.client.asking_for(&visit.person), ..self.clone() }
    }
}
