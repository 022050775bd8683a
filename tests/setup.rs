//! `pillarbox setup`, by a person at a pseudo-terminal, by flags and by JSON, in front of the look-alike.
//!
//! Rule: nothing leaves the machine, and no file outside of the scene is written.

mod consent;
mod flags;
mod https;
mod json;
mod machine;
mod microsoft;
mod person;
mod providers;
mod scene;
