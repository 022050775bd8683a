//! Every integration test, in one binary.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets an error it did not expect should end there"
)]

mod alerts;
mod aliases;
mod assertions;
mod blame;
mod budget_days;
mod check;
mod clients;
mod commands;
mod crash;
mod crowd;
mod damage;
mod dead;
mod delivery;
mod deploy;
mod dialogues;
mod diskless;
mod doctor;
mod documents;
mod door;
mod fleet;
mod floods;
mod forecast_days;
mod fuzz_corpus;
mod gmail_api;
mod handover;
mod health;
mod hostile;
mod idle;
mod log;
mod migrate;
mod names;
mod oauth;
mod page;
mod pause;
mod power_cut;
mod reload;
mod rewrite;
mod scenarios;
mod schedule;
mod sendmail;
mod settings;
mod setup;
mod store_contract;
mod store_files;
mod storms;
mod summaries;
mod support;
mod surroundings;
mod tidy;
mod trace;
mod upstreams;
mod users;
