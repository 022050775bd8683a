//! `pillarbox doctor`: broken set-ups, each with the one check that must find it, and the remedy that it must name.

mod accounts;
mod daily;
mod scene;
mod setups;
mod story;
mod tokens;
mod upstreams;
mod weekly;
