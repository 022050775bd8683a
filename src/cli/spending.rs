//! `pillarbox budget report`: on whom the budget of the last days was spent, and what folding has spared.
//!
//! Rule: as the API counts it. Must not know how that is.

use std::io;

use clap::value_parser;

use super::{
    of_account::OfAccount,
    screen::{Screen, Side, Table, clean, when},
    simulate::asked,
};
use crate::admin::spending::{BudgetReport, DAYS, DAYS_MAX, PARTIAL, Share, Spent};

/// What of the budget is shown, besides how it stands.
#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show the next 24 hours.
    ///
    /// What leaves in each, what the window forgets, and what still waits.
    Forecast(OfAccount),
    /// Show on whom the last days were spent.
    ///
    /// By day, origin, lane and rule, of several accounts by account, and what folding has spared.
    Report(Arguments),
    /// Play the last days through under other settings.
    ///
    /// What would have waited, for how long, and what would have been folded, beside what was. The settings are those of the
    /// configuration (--config names another one), with the values of the flags over it. Nothing is sent or changed.
    Simulate(asked::Arguments),
}

/// What is asked of the last days.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many days, up to now.
    #[arg(long, default_value_t = DAYS, value_parser = value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
    pub(super) days: u32,
    #[command(flatten)]
    pub(super) of: OfAccount,
}

/// Prints it: all in one line, then a table for each thing that it was counted by.
pub(super) fn print(out: &mut dyn Screen, report: &BudgetReport) -> io::Result<()> {
    writeln!(out, "{}", report.all.sentence(&when(report.since, report.now)))?;
    if report.partial {
        writeln!(out, "{PARTIAL}")?;
    }
    if report.all == Spent::default() {
        return Ok(());
    }
    table(out, "DAY FROM", &report.days_by_name())?;
    table(out, "ORIGIN", &report.all_origins())?;
    table(out, "LANE", &report.lanes)?;
    for (by, shares) in [("RULE", &report.rules), ("ACCOUNT", &report.accounts)] {
        if !shares.is_empty() {
            table(out, by, shares)?;
        }
    }
    Ok(())
}

fn table(out: &mut dyn Screen, by: &'static str, shares: &[Share]) -> io::Result<()> {
    writeln!(out)?;
    let columns = [("SPENT", Side::Right), ("FOLDED", Side::Right), (by, Side::Left)];
    let row = |share: &Share| {
        let Spent { recipients, folded } = share.spent;
        [recipients.to_string(), folded.to_string(), clean(&share.by)]
    };
    Table::new(columns).print(out, &shares.iter().map(row).collect::<Vec<_>>())
}
