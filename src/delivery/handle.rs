//! A hold on a running pool, for those who watch it and for `resume`.
//!
//! Rule: it shows and it ends pauses; it never sends anything. Must not know who holds it.

use std::sync::Arc;

use super::{shared::Shared, status::PoolStatus};
use crate::queue::state::AccountState;

/// A hold on a running pool, for the status screen and `resume`.
#[derive(Clone, Debug)]
pub struct PoolHandle {
    shared: Arc<Shared>,
}

impl PoolHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Everything at once.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        self.shared.status()
    }

    /// Ends every pause: a person says that the cause is gone. One message is tried first.
    pub async fn resume(&self) -> AccountState {
        self.shared.resume().await
    }
}
