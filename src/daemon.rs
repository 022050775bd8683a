//! Wires the modules into the daemon.
//!
//! Rule: the only file that knows all modules. Must not hold policy of its own.
