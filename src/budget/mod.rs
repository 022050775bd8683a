//! The budget: how many recipients the account may still write to, over any rolling 24 hours.
//!
//! Rule: pure; time comes in as a [`crate::clock::Moment`]. Must not know how events are stored.

pub(crate) mod ledger;
mod limit;

pub use limit::Limit;
