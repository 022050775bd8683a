//! the command line.
//!
//! Rule: to be written by its owner. Must not know more than its layer allows.
