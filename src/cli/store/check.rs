//! `pillarbox store check`: is everything in the queue whole, and does it fit together?
//!
//! Rule: succeeds when nothing is damaged; each finding comes with what to do. Must not know what is compared.

use serde_json::json;

use crate::{
    cli::{
        progress::Progress,
        screen::{Screen, clean, count, size},
    },
    clock::{Clock as _, SystemClock},
    exit::{Exit, Failure},
    queue::{
        offline::{
            inspection::Inspection,
            verification::{self, Finding, Gravity, Summary},
        },
        options::Options,
    },
};

/// Checks and prints: a line for each finding as it is found, then what there is.
pub(super) fn run(out: &mut dyn Screen, options: &Options, as_json: bool) -> Result<(), Failure> {
    if options.database.is_some() {
        let words = "the queue is in the fleet's database ([queue] backend), of which this command knows nothing: PostgreSQL \
                     checks its own tables (pg_amcheck), and each host checks every message before it sends it. \
                     For a queue on disk name it: --directory DIR";
        return Err(Failure::new(Exit::Usage, words));
    }
    let inspection = look(options)?;
    let files = inspection.messages()?.len() + inspection.kept();
    let progress = Progress::new("files checked", Some(files as u64));
    let mut printed = Ok(());
    let mut tell = |finding: &Finding| {
        progress.clear();
        if printed.is_ok() {
            printed = print(out, finding, as_json);
        }
    };
    let summary =
        verification::check(&inspection, SystemClock::new().now(), &mut tell, &|| progress.step())?;
    drop(progress);
    printed?;
    if as_json {
        let words = json!({ "summary": {
            "files": summary.files, "bytes": summary.bytes, "records": summary.records,
            "waiting": summary.waiting, "held": summary.held, "dead": summary.dead,
            "history": summary.history, "kept": summary.kept, "spent": summary.spent,
            "problems": summary.problems, "notes": summary.notes,
        } });
        writeln!(out, "{words}")?;
    } else {
        print_summary(out, options, &summary)?;
    }
    match summary.problems {
        0 => Ok(()),
        // The findings have said it all.
        _ => Err(Failure::new(Exit::Data, "")),
    }
}

/// Looks into a queue; the copy of its index, or of all of it, lies in the directory for temporary files ($TMPDIR).
pub(super) fn look(options: &Options) -> Result<Inspection, Failure> {
    let scratch = std::env::temp_dir();
    #[cfg(feature = "fleet")]
    if let Some(database) = &options.database {
        return Ok(Inspection::of_database(database, &scratch)?);
    }
    Ok(Inspection::open(&options.directory, &scratch)?)
}

fn print(out: &mut dyn Screen, finding: &Finding, as_json: bool) -> std::io::Result<()> {
    let kind = match finding.gravity {
        Gravity::Problem => "problem",
        Gravity::Note => "note",
    };
    let Finding { subject, what, remedy, .. } = finding;
    if as_json {
        return writeln!(
            out,
            "{}",
            json!({ kind: { "subject": subject, "what": what, "remedy": remedy } })
        );
    }
    writeln!(out, "{kind}: {}: {}", clean(subject), clean(what))?;
    writeln!(out, "         {remedy}")
}

fn print_summary(
    out: &mut dyn Screen,
    options: &Options,
    summary: &Summary,
) -> std::io::Result<()> {
    let Summary { files, bytes, records, waiting, held, dead, history, kept, .. } = *summary;
    let Summary { spent, problems, notes, .. } = *summary;
    writeln!(out, "{}", options.directory.display())?;
    writeln!(
        out,
        "  {} in the spool ({}), {}",
        count(files, "message"),
        size(bytes),
        count(records, "record")
    )?;
    writeln!(out, "  recipients: {waiting} waiting, {held} held, {dead} dead")?;
    writeln!(
        out,
        "  {history} finished in the history; {} counted for the last 24 hours",
        count(spent.into(), "recipient")
    )?;
    if kept > 0 {
        let bodies = if kept == 1 { "body" } else { "bodies" };
        writeln!(out, "  {kept} {bodies} of relayed messages kept")?;
    }
    match (problems, notes) {
        (0, 0) => writeln!(out, "Everything is whole."),
        (0, _) => writeln!(out, "Everything is whole, but for {}.", count(notes, "note")),
        _ => writeln!(out, "{} and {}.", count(problems, "problem"), count(notes, "note")),
    }
}
