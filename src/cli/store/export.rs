//! `pillarbox store export`: the queue as an mbox file or a Maildir.
//!
//! Rule: one message that cannot be read does not keep the others from coming out; an existing file is never
//! touched; when the command says that a message was written, it is on the disk. Must not know the formats.

use std::{io::Write, path::PathBuf};

use clap::Args;

use super::{
    check::look,
    mailbox::{Format, MailboxWriter},
};
use crate::{
    cli::{
        progress::Progress,
        queue::State,
        screen::{clean, count},
    },
    exit::{Exit, Failure},
    queue::{
        kept::FOLDER as KEPT,
        offline::{inspection::TakeError, portable::PortableMessage},
        options::Options,
        state::Recipient,
    },
};

/// What is written where.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// The format.
    #[arg(long, value_name = "FORMAT")]
    format: Format,
    /// The file (mbox) or directory (Maildir) to make; it must not exist.
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// Only messages with at least one recipient in this state; may be given more than once.
    #[arg(long, value_name = "STATE")]
    state: Vec<State>,
}

/// Writes every message.
pub(super) fn run(
    out: &mut dyn Write,
    options: &Options,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let inspection = look(options)?;
    if let Some(reason) = inspection.index_trouble() {
        if !arguments.state.is_empty() {
            let words = format!(
                "the states of messages are not known: {reason}. Export them without --state"
            );
            return Err(Failure::new(Exit::Data, words));
        }
        writeln!(out, "Warning: {}.", clean(reason))?;
        writeln!(
            out,
            "The messages come from the spool alone: each counts as waiting, for all of its recipients."
        )?;
    }
    let messages = inspection.messages()?;
    let target = &arguments.to;
    let unwritable = |error: std::io::Error| {
        let words = match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                format!(
                    "{} exists, and nothing is ever written over; name another",
                    target.display()
                )
            }
            _ => format!("{} cannot be written: {error}", target.display()),
        };
        Failure::new(Exit::Data, words)
    };
    let mut writer = MailboxWriter::create(arguments.format, target).map_err(unwritable)?;
    let (mut written, mut failed) = (0, 0);
    let progress = Progress::new("messages written", Some(messages.len() as u64));
    for id in messages {
        progress.step();
        match inspection.take(id) {
            Ok(carried) if !is_wanted(&arguments.state, &carried) => {}
            Ok(carried) => {
                writer.write(&carried).map_err(unwritable)?;
                written += 1;
            }
            Err(TakeError::Finished) => {}
            Err(TakeError::File(reason)) => {
                failed += 1;
                progress.clear();
                let path = inspection.path(id);
                writeln!(
                    out,
                    "{id} cannot be exported: {}; its file is {}",
                    clean(&reason),
                    path.display()
                )?;
            }
        }
    }
    writer.finish().map_err(unwritable)?;
    drop(progress);
    say_what_stays(out, inspection.kept() as u64)?;
    writeln!(out, "{} written to {}.", count(written, "message"), target.display())?;
    match failed {
        0 => Ok(()),
        _ => Err(Failure::new(
            Exit::Data,
            format!("{} could not be exported", count(failed, "message")),
        )),
    }
}

/// What was relayed already is nothing to be put into another queue.
fn say_what_stays(out: &mut dyn Write, kept: u64) -> std::io::Result<()> {
    if kept == 0 {
        return Ok(());
    }
    let kept = count(kept, "message");
    writeln!(out, "{kept} in {KEPT} left there: relayed already, and kept for `history resend`.")
}

fn is_wanted(states: &[State], carried: &PortableMessage) -> bool {
    let in_state = |state: &State| {
        let is_in = |found: &Recipient| found.state.name() == state.name();
        let is_scheduled = *state == State::Scheduled && carried.not_before.is_some();
        is_scheduled || carried.recipients.iter().any(is_in)
    };
    states.is_empty() || states.iter().any(in_state)
}
