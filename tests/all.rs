//! Every integration test, in one binary.

mod budget_days;
mod clients;
mod commands;
mod crash;
mod damage;
mod delivery;
mod dialogues;
mod power_cut;
mod sandbox;
mod settings;
mod store_contract;
mod support;
mod tidy;
