//! The final dots of claims as workers tell of them: about to be sent, answered, over.
//!
//! Rule: what is told here is on the safe side after any death of the process; where the queue is elsewhere, also after that of
//! the machine. Must not know what an upstream says.

use tracing::error;

use super::{
    Queue,
    claim::Settlement,
    error::QueueError,
    faults::Step,
    id::QueueId,
    spool::{blocking, refused},
};
use crate::sync;

impl Queue {
    /// Notes that the final dot of a claimed message is about to be sent. Cheap; survives the death
    /// of the process, not of the machine (after a reboot every reservation counts as sent). Where the queue is in a
    /// database it is one transaction, and survives both.
    pub async fn final_dot(&self, id: QueueId) -> Result<(), QueueError> {
        match sync::lock(&self.shared.unconfirmed).as_mut() {
            Some(sends) => {
                let noted = self.faults().at(Step::NoteDot).and_then(|()| sends.note(id));
                noted.map_err(|error| refused(&error))?;
            }
            None => return Err(self.shared.refusal()),
        }
        match self.shared.spool.remote.clone() {
            Some(remote) => blocking(move || remote.note_dot(id)).await?,
            None => Ok(()),
        }
    }

    /// Notes what follows from the answer to a final dot, before [`Queue::settle`] makes it durable. As
    /// cheap as [`Queue::final_dot`], and survives as much: a process that is killed now settles with it at
    /// its next start instead of sending the message again.
    pub fn answered(&self, id: QueueId, settlement: &Settlement) -> Result<(), QueueError> {
        match sync::lock(&self.shared.unconfirmed).as_mut() {
            Some(sends) => sends.answered(id, settlement).map_err(|error| refused(&error)),
            None => Err(self.shared.refusal()),
        }
    }

    /// The claim of `id` has ended. A mention that cannot be taken back errs on the safe side.
    pub(super) fn forget_send(&self, id: QueueId) {
        let forgotten = sync::lock(&self.shared.unconfirmed).as_mut().map(|sends| sends.forget(id));
        if let Some(Err(error)) = forgotten {
            error!(%id, error = %error, "the note about a final dot cannot be taken back");
        }
    }
}
