//! relay.toml and the environment, checked, as the Options of each module.
//!
//! Rule: to be written by its owner. Must not know more than its layer allows.
