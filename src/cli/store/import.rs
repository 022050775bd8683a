//! `pillarbox store import`: the messages of an mbox file or a Maildir become mail of the queue.
//!
//! Rule: a message that the queue knows is never queued a second time; nothing leaves by itself that a person
//! should look at first. Must not know the formats.

use std::{
    fs,
    io::Write,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;

use super::{
    foreign::{self, Recipients},
    mailbox_reader::{Found, MailboxReader},
};
use crate::{
    cli::{
        exit::{Exit, Failure},
        runtime::Runtime,
        screen::{clean, count},
    },
    clock::{Clock as _, SystemClock, Timestamp},
    daemon,
    message::mbox,
    queue::{
        carried::Carried,
        draft::Draft,
        options::Options,
        restored::{InFlight, Restored, Stopped},
        sled_store::SledStore,
        store::{Store as _, StoreError},
    },
    smtp::address::Address,
};

/// What is put into the queue, and how.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// An mbox file or a Maildir.
    path: PathBuf,
    /// Send what was held or dead, and mail without an envelope, at once; otherwise it is held.
    #[arg(long)]
    queue: bool,
    /// Who gets messages that have no envelope; may be given more than once.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "headers", value_parser = Address::rooted)]
    recipient: Vec<Address>,
    /// Messages that have no envelope go to the addresses in their fields To, Cc and Bcc.
    #[arg(long)]
    headers: bool,
    /// Who sends messages that have no envelope; default: their field Return-Path, or From.
    #[arg(long, value_name = "ADDRESS", value_parser = Address::rooted)]
    sender: Option<Address>,
}

/// Puts every message into the queue.
pub(super) fn run(
    out: &mut dyn Write,
    options: Options,
    arguments: &Arguments,
) -> Result<(), Failure> {
    daemon::harden();
    belongs_to_us(&options.directory)?;
    let unreadable = |error: std::io::Error| {
        Failure::new(
            Exit::Data,
            format!("{} cannot be imported: {error}", arguments.path.display()),
        )
    };
    let mut mailbox = MailboxReader::open(&arguments.path).map_err(unreadable)?;
    let in_flight = if options.hold_uncertain { InFlight::Held } else { InFlight::ResentOnce };
    let clock = Arc::new(SystemClock::new());
    let now = clock.wall();
    let store = SledStore::open(options, clock)?;
    let runtime = Runtime::of_a_daemon()?;
    let mut import = Import { store, arguments, in_flight, now, tally: Tally::default() };
    let result = loop {
        let found = match mailbox.next() {
            Ok(Some(found)) => found,
            Ok(None) => break Ok(()),
            Err(error) => break Err(unreadable(error)),
        };
        if let Err(failure) = runtime.block_on(import.one(out, found)) {
            break Err(failure);
        }
    };
    runtime.block_on(import.store.close());
    import.tally.print(out, arguments.queue)?;
    result?;
    match import.tally.refused {
        0 => Ok(()),
        refused => {
            Err(Failure::new(Exit::Data, format!("{} not imported", count(refused, "message"))))
        }
    }
}

/// Files that root makes in the queue of another user could not be read by the daemon.
fn belongs_to_us(directory: &Path) -> Result<(), Failure> {
    let own = rustix::process::geteuid().as_raw();
    match fs::metadata(directory) {
        Ok(found) if found.uid() != own => Err(Failure::new(
            Exit::Permission,
            format!(
                "the queue in {} belongs to user {}, and its daemon must be able to read what is imported; \
                 run the command as that user: setpriv --reuid={} --regid={} --clear-groups pillarbox store import ...",
                directory.display(),
                found.uid(),
                found.uid(),
                found.gid()
            ),
        )),
        _ => Ok(()),
    }
}

struct Import<'a> {
    store: SledStore,
    arguments: &'a Arguments,
    in_flight: InFlight,
    now: Timestamp,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    imported: u64,
    known: u64,
    refused: u64,
}

impl Import<'_> {
    /// One message; only a queue that takes nothing more is a failure.
    async fn one(&mut self, out: &mut dyn Write, found: Found) -> Result<(), Failure> {
        let (draft, message) = match self.draft(&found).await {
            Ok(Some(ready)) => ready,
            Ok(None) => {
                self.tally.known += 1;
                writeln!(out, "{}: the queue knows it already", clean(&found.place))?;
                return Ok(());
            }
            Err(Refusal::Message(reason)) => {
                self.tally.refused += 1;
                writeln!(out, "{} is not imported: {}", clean(&found.place), clean(&reason))?;
                return Ok(());
            }
            Err(Refusal::Store(error)) => return Err(stopped(&error)),
        };
        self.store(draft, &message).await.map_err(|error| stopped(&error))?;
        self.tally.imported += 1;
        Ok(())
    }

    /// What would be queued; nothing when the queue knows it.
    async fn draft(&self, found: &Found) -> Result<Option<(Draft, Vec<u8>)>, Refusal> {
        let stopped = if self.arguments.queue { Stopped::Due } else { Stopped::Held };
        let bytes = found.bytes.as_ref().map_err(|reason| Refusal::Message(reason.clone()))?;
        let carried =
            Carried::of_file(bytes).map_err(|error| Refusal::Message(error.to_string()))?;
        let Some(carried) = carried else {
            let message = mbox::from_a_file(bytes);
            let sender = self.arguments.sender.as_ref();
            let envelope = foreign::envelope(&message, &self.recipients()?, sender, self.now);
            let envelope = envelope.map_err(Refusal::Message)?;
            let restored = Restored::from_a_mailbox(&envelope.forward_paths, stopped, self.now);
            let mut draft = self.store.begin(envelope)?;
            draft.restore(restored);
            return Ok(Some((draft, message)));
        };
        let Carried { id, envelope, recipients, message } = carried;
        let mut draft = match self.store.begin_as(id, envelope).await {
            Err(StoreError::AlreadyKnown(_)) => return Ok(None),
            answer => answer?,
        };
        draft.restore(Restored::from_export(&recipients, stopped, self.in_flight, self.now));
        Ok(Some((draft, message)))
    }

    fn recipients(&self) -> Result<Recipients, Refusal> {
        match (self.arguments.recipient.as_slice(), self.arguments.headers) {
            ([], true) => Ok(Recipients::OfTheFields),
            ([], false) => Err(Refusal::Message(
                "it has no X-Envelope fields, so nobody knows whom it is for; say --recipient ADDRESS, or \
                 --headers to take its fields To, Cc and Bcc"
                    .into(),
            )),
            (named, _) => Ok(Recipients::Named(named.to_vec())),
        }
    }

    async fn store(&self, mut draft: Draft, message: &[u8]) -> Result<(), StoreError> {
        for block in message.chunks(crate::queue::draft::BUFFER_BYTES) {
            draft.write(block).await?;
        }
        let _receipt = self.store.enqueue(draft).await?;
        Ok(())
    }
}

/// Why a message does not come in.
enum Refusal {
    /// It is its own fault.
    Message(String),
    /// Nothing comes in any more.
    Store(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(_) | StoreError::Unavailable(_) => Self::Store(error),
            StoreError::Corrupt { .. }
            | StoreError::NotFound(_)
            | StoreError::Conflict(_)
            | StoreError::OtherState(_)
            | StoreError::AlreadyKnown(_) => Self::Message(error.to_string()),
        }
    }
}

fn stopped(error: &StoreError) -> Failure {
    let words = format!(
        "the import stopped: {error}. Run it again later; what is in the queue is passed over"
    );
    Failure::new(Exit::Temporary, words)
}

impl Tally {
    fn print(&self, out: &mut dyn Write, queue: bool) -> std::io::Result<()> {
        let Self { imported, known, refused } = self;
        writeln!(
            out,
            "{} imported, {known} known before, {refused} not imported.",
            count(*imported, "message")
        )?;
        if *imported > 0 && !queue {
            writeln!(
                out,
                "What was held or dead, or had no envelope, is held: pillarbox queue list, then queue retry."
            )?;
        }
        Ok(())
    }
}
