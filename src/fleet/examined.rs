//! The findings of an examination of a fleet's database.
#![cfg_attr(
    not(feature = "fleet"),
    allow(dead_code, reason = "without the feature there is no database to be examined")
)]

use std::time::Duration;

/// A transaction that has been open for so long keeps what is deleted meanwhile from being removed.
pub(crate) const TRANSACTION_MAX: Duration = Duration::from_secs(15 * 60);

/// What an examination has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Examined {
    /// The version of the database's program.
    pub(crate) server: String,
    /// How long a question took.
    pub(crate) latency: Duration,
    /// The version of the tables, 0 where there are none, and why this program may not work with them.
    pub(crate) schema: (i32, Option<String>),
    /// The version of the tables that this program makes.
    pub(crate) own_schema: i32,
    /// What is written is on the disk when that is said.
    pub(crate) syncs: bool,
    /// A page that was half written is mended.
    pub(crate) writes_full_pages: bool,
    /// It is a standby, which takes no writes.
    pub(crate) is_standby: bool,
    /// Its time, in milliseconds since 1970, half a question ago.
    pub(crate) clock_ms: i64,
    /// The role of this host, as a statement names it.
    pub(crate) role: String,
    /// Rights that it lacks: of which table, `SCHEMA` or `FUNCTION`, and which right.
    pub(crate) lacking: Vec<(String, String)>,
    /// Transactions of others that have been open for long, as far as this role sees them: process, program, for how long.
    pub(crate) transactions: Vec<(i32, String, Duration)>,
    /// The hosts that are gone, each with its last sign of life, and those whose name two living ones have.
    pub(crate) gone: Vec<(String, Duration)>,
    pub(crate) namesakes: Vec<String>,
}
