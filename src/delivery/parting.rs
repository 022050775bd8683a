//! A connection that is to be closed, with its seat among those that the hosts of a fleet share.
//!
//! Rule: the connection goes first, then its seat.

use super::connection::Connection;
use crate::fleet::Seat;

/// A connection that is to be closed, and then its seat is another's.
#[derive(Debug)]
pub(super) struct Parting {
    connection: Connection,
    seat: Option<Seat>,
}

impl Parting {
    pub(super) fn new(connection: Connection, seat: Option<Seat>) -> Self {
        if let Some(seat) = &seat {
            seat.leaves();
        }
        Self { connection, seat }
    }

    /// Says goodbye, and then that the connection is closed.
    pub(super) async fn quit(self) {
        self.connection.quit().await;
        drop(self.seat);
    }
}
