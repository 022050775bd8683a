//! `pillarbox fleet`: the hosts that share an account's day, and the orders to drain one.
//!
//! Rule: prints what `wording/` says.

use std::io;

use clap::Subcommand;

use super::screen::{Form, Screen, Side, Table, clean, json, labelled_all};
use crate::{
    admin::{
        client::Client,
        fleet::{FleetView, HostTold},
    },
    exit::Failure,
    wording::fleet,
};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Have a host take no new mail; it relays what it has.
    ///
    /// It stays so over restarts, until `pillarbox fleet undrain`.
    Drain {
        /// Its name in the fleet; default: this host.
        #[arg(value_name = "HOST")]
        host: Option<String>,
    },
    /// Have a host take mail again.
    Undrain {
        /// Its name in the fleet; default: this host.
        #[arg(value_name = "HOST")]
        host: Option<String>,
    },
}

pub(super) async fn run(
    out: &mut dyn Screen,
    client: &Client,
    form: Form,
    command: Option<&Command>,
) -> Result<(), Failure> {
    let (host, drains) = match command {
        None => {
            let view = client.fleet().await?;
            match form {
                Form::Json => json(out, &view)?,
                Form::Text => print(out, &view)?,
            }
            return Ok(());
        }
        Some(Command::Drain { host }) => (host.as_deref(), true),
        Some(Command::Undrain { host }) => (host.as_deref(), false),
    };
    let ordered = client.drain(host, drains).await?;
    match form {
        Form::Json => json(out, &ordered)?,
        Form::Text => {
            for line in fleet::ordered(&ordered) {
                writeln!(out, "{}", clean(&line))?;
            }
        }
    }
    Ok(())
}

fn print(out: &mut dyn Screen, view: &FleetView) -> io::Result<()> {
    labelled_all(out, &fleet::lines(view))?;
    let Some(told) = &view.fleet else { return Ok(()) };
    if !told.hosts.is_empty() {
        writeln!(out)?;
    }
    let mut table = Table::new([
        ("HOST", Side::Left),
        ("STATE", Side::Left),
        ("VERSION", Side::Left),
        ("LAST SEEN", Side::Left),
        ("QUEUE", Side::Left),
        ("OLDEST", Side::Left),
    ]);
    let row = |host: &HostTold| {
        [
            host.name.clone(),
            fleet::standing(host),
            host.version.clone(),
            fleet::seen(host, view.now),
            fleet::queue(host),
            fleet::oldest(host, view.now),
        ]
    };
    table.print(out, &told.hosts.iter().map(row).collect::<Vec<_>>())?;
    for remark in fleet::remarks(view) {
        writeln!(out, "\n{}", clean(&remark))?;
    }
    Ok(())
}
