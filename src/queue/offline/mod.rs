//! A queue that no daemon has: looked at, compared, and taken out or brought in message by message.
//!
//! Rule: the running queue knows nothing of this folder. What looks changes nothing; what an import brings goes through
//! `Queue::enqueue` like any other mail.

#[cfg(feature = "fleet")]
mod database_copy;
pub mod inspection;
pub mod portable;
pub(crate) mod restored;
pub(crate) mod verification;
