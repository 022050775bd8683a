//! the Gmail look-alike.
//!
//! Rule: to be written by its owner. Must not know more than its layer allows.
