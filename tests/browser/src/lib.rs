//! The page in a real Chromium, as people see and use it: `make test-page`.
//!
//! Rule: a document is read by roles, accessible names and words, so that its markup may change; what it looks like is
//! measured and never compared with a picture. Whatever a test does, the browser's console stays empty and no other host
//! is asked for anything.

#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that meets an error it did not expect should end there"
)]

mod accessibility;
mod bad_days;
mod driver;
mod html_mail;
mod keyboard;
mod kinds;
mod readme;
mod relay;
mod sizes;
mod summaries;
mod visits;
mod window;
