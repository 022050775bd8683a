//! Local mail as the daemon takes it: over the Unix socket and out of the drop directory, through kills.

mod divided;
mod dropped;
mod kills;
mod neighbours;
mod socket;
mod stage;
