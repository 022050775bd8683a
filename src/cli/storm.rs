//! `pillarbox storm`: mail that is alike and was folded, and what to do with it.
//!
//! Rule: what is in a storm is found, shown and released as by a search of the queue. Must not know what is alike.

use clap::Subcommand;

use super::{
    queue::{self, Chosen, Verb, Wanted},
    screen::{Form, Screen, Side, Table, clean, json, labelled_all, when},
};
use crate::{
    admin::{
        client::Client,
        listing::Of,
        storms::{Storm, Storms, folded_into},
    },
    clock::Timestamp,
    exit::{Exit, Failure},
    quantities::local,
    queue::{id::QueueId, search::Search},
    wording::storms::{NONE, remarks, standing, told},
};

/// What to do with storms.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Show the storms, and what of their mail no summary has told of.
    List,
    /// Show a storm with every message that is folded into it.
    Show {
        /// An id as `storm list` and a summary have it.
        id: QueueId,
    },
    /// Let everything leave that is folded into a storm, as it is.
    ///
    /// Each recipient counts for the budget. Asks first, on a terminal; elsewhere it needs --yes. `queue release ID` lets one
    /// message leave.
    Release {
        /// An id as `storm list` and a summary have it.
        id: QueueId,
        /// Only show which messages are meant.
        #[arg(long)]
        dry_run: bool,
        /// Confirms it where nobody can be asked.
        #[arg(long)]
        yes: bool,
    },
}

/// Runs one command against the daemon.
pub(super) async fn run(
    out: &mut dyn Screen,
    client: &Client,
    command: Command,
    form: Form,
    now: Timestamp,
) -> Result<(), Failure> {
    match command {
        Command::List => {
            let storms = client.storms().await?;
            match form {
                Form::Json => json(out, &storms)?,
                Form::Text => list(out, &storms, now)?,
            }
            Ok(())
        }
        Command::Show { id } => show(out, client, id, form, now).await,
        Command::Release { id, dry_run, yes } => {
            let deed = queue::Deed { dry_run, yes, ..Verb::Release.into() };
            queue::for_each(out, client, Chosen::Found(search_of(id)?), form, deed, now).await
        }
    }
}

/// What is folded into it still.
fn search_of(id: QueueId) -> Result<Search, Failure> {
    let search = folded_into(id).parse();
    search.map_err(|error| Failure::new(Exit::Usage, format!("{error}")))
}

fn list(out: &mut dyn Screen, answer: &Storms, now: Timestamp) -> std::io::Result<()> {
    let storms = &answer.storms;
    if storms.is_empty() {
        writeln!(out, "{NONE}")?;
    } else {
        let columns = [
            ("ID", Side::Left),
            ("LAST", Side::Left),
            ("MESSAGES", Side::Right),
            ("UNTOLD", Side::Right),
            ("NOW", Side::Left),
            ("SUBJECT", Side::Left),
        ];
        let row = |storm: &Storm| {
            [
                storm.id.to_string(),
                local(storm.last_at, now),
                storm.messages.to_string(),
                storm.untold.to_string(),
                standing(storm).to_owned(),
                clean(&storm.subject),
            ]
        };
        Table::new(columns).print(out, &storms.iter().map(row).collect::<Vec<_>>())?;
    }
    remarks(answer, storms.len()).iter().try_for_each(|remark| writeln!(out, "{remark}"))
}

async fn show(
    out: &mut dyn Screen,
    client: &Client,
    id: QueueId,
    form: Form,
    now: Timestamp,
) -> Result<(), Failure> {
    let Storms { storms, .. } = client.storms().await?;
    let Some(storm) = storms.into_iter().find(|storm| storm.id == id) else {
        let words = format!(
            "nothing is folded into a storm {id} any more; pillarbox history list storm:{id} shows what was"
        );
        return Err(Failure::new(Exit::Data, words));
    };
    if form == Form::Text {
        let standing = if storm.lasts { "lasts: what is alike is folded" } else { "over" };
        let messages = format!(
            "{}, {} of them untold, from {} to {}",
            storm.messages,
            storm.untold,
            when(storm.first_at, now),
            when(storm.last_at, now)
        );
        labelled_all(
            out,
            &[
                ("storm", vec![id.to_string()]),
                ("now", vec![standing.to_owned()]),
                ("subject", vec![clean(&storm.subject)]),
                ("subjects", vec![clean(&storm.shape)]),
                ("client", vec![clean(&storm.client)]),
                ("to", storm.to.iter().map(|address| clean(address)).collect()),
                ("messages", vec![messages]),
                ("told", told(&storm, now)),
            ],
        )?;
        writeln!(out)?;
    }
    let wanted = Wanted {
        of: Of::Queue,
        search: search_of(id)?,
        limit: None,
        after: None,
        sort: None,
        count_by: None,
        nothing: None,
    };
    queue::print_wanted(out, client, &wanted, form, now).await
}
