//! `sendmail`, `mailq` and `newaliases` as the real binary: what callers pass, what becomes of it, and how it ends.

mod callers;
mod cost;
mod crowd;
mod daemon;
mod dialogue;
mod exits;
mod flags;
mod own_mail;
mod recipients;
mod relay;
mod rights;
mod rules;
mod stage;
mod stand_in;
mod static_binary;
