//! `pillarbox store import`: the messages of an mbox file or a Maildir become mail of the queue.
//!
//! Rule: a message that the queue knows is never queued a second time; nothing leaves by itself that a person
//! should look at first. Must not know the formats.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;

use super::mailbox::{FoundMessage, MailboxReader};
use crate::{
    cli::{
        progress::Progress,
        runtime::Runtime,
        screen::{Screen, clean, count},
    },
    clock::{Clock as _, SystemClock, Timestamp},
    daemon,
    exit::{Exit, Failure},
    message::{
        address_list::Found,
        encoding::text_of,
        envelope::{BodyKind, Envelope, Lane, Origin},
        header::{Header, end_of_section},
        mbox,
    },
    queue::{
        Queue, QueueError,
        incoming::{IncomingMessage, Restored},
        offline::{
            portable::PortableMessage,
            restored::{InFlight, Stopped},
        },
        options::Options,
        ruled::Ruled,
    },
    smtp::{address::Address, dsn::Dsn},
};

/// What is put into the queue, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
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
    out: &mut dyn Screen,
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
    let is_shared = options.database.is_some();
    let store = Queue::open(options, clock)?;
    let runtime = Runtime::of_a_daemon()?;
    let mut import = Import { store, arguments, in_flight, now, tally: Tally::default() };
    let progress = Progress::of_silent_work("messages read", None);
    let result = loop {
        progress.step();
        let found = match mailbox.next() {
            Ok(Some(found)) => found,
            Ok(None) => break Ok(()),
            Err(error) => break Err(unreadable(error)),
        };
        if let Err(failure) = runtime.block_on(import.one(out, found)) {
            break Err(failure);
        }
    };
    drop(progress);
    runtime.block_on(import.store.close());
    import.tally.print(out, arguments.queue)?;
    if is_shared && import.tally.imported > 0 {
        writeln!(
            out,
            "It is in the fleet's database: a host that runs takes it over within seconds, and else the next one that starts."
        )?;
    }
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
    store: Queue,
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
    async fn one(&mut self, out: &mut dyn Screen, found: FoundMessage) -> Result<(), Failure> {
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
    async fn draft(
        &self,
        found: &FoundMessage,
    ) -> Result<Option<(IncomingMessage, Vec<u8>)>, Refusal> {
        let stopped = if self.arguments.queue { Stopped::Due } else { Stopped::Held };
        let bytes = found.bytes.as_ref().map_err(|reason| Refusal::Message(reason.clone()))?;
        let carried =
            PortableMessage::of_file(bytes).map_err(|error| Refusal::Message(error.to_string()))?;
        let Some(carried) = carried else {
            let message = mbox::from_a_file(bytes);
            let sender = self.arguments.sender.as_ref();
            let envelope = envelope(&message, &self.recipients()?, sender, self.now);
            let envelope = envelope.map_err(Refusal::Message)?;
            let restored = Restored::from_a_mailbox(&envelope.forward_paths, stopped, self.now);
            let mut draft = self.store.begin(envelope)?;
            draft.restore(restored);
            return Ok(Some((draft, message)));
        };
        let PortableMessage { id, envelope, recipients, not_before, rule, route, account, message } =
            carried;
        let mut draft = match self.store.begin_as(id, envelope).await {
            Err(QueueError::AlreadyKnown(_)) => return Ok(None),
            answer => answer?,
        };
        draft.ruled(Ruled { rule, route, ..Ruled::default() });
        let (in_flight, now) = (self.in_flight, self.now);
        let restored = Restored::from_export(&recipients, not_before, stopped, in_flight, now);
        draft.restore(restored.tried_by(account));
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

    async fn store(&self, mut draft: IncomingMessage, message: &[u8]) -> Result<(), QueueError> {
        for block in message.chunks(crate::queue::spool_file::BUFFER_BYTES) {
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
    Store(QueueError),
}

impl From<QueueError> for Refusal {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Full(_) | QueueError::Drained(_) | QueueError::Unavailable(_) => {
                Self::Store(error)
            }
            QueueError::Corrupt { .. }
            | QueueError::NotFound(_)
            | QueueError::Conflict(_)
            | QueueError::OtherState(_)
            | QueueError::NotAlone { .. }
            | QueueError::AlreadyKnown(_) => Self::Message(error.to_string()),
        }
    }
}

fn stopped(error: &QueueError) -> Failure {
    let words = format!(
        "the import stopped: {error}. Run it again later; what is in the queue is passed over"
    );
    Failure::new(Exit::Temporary, words)
}

impl Tally {
    fn print(&self, out: &mut dyn Screen, queue: bool) -> std::io::Result<()> {
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

/// Recipients that are taken from the fields of one message; more are a mailing list.
const RECIPIENTS_MAX: usize = 100;

/// Characters of a field that are repeated.
const SHOWN_MAX: usize = 100;

/// Who gets messages without an envelope.
#[derive(Clone, Debug)]
pub(super) enum Recipients {
    /// These.
    Named(Vec<Address>),
    /// Those of To, Cc and Bcc.
    OfTheFields,
}

/// The envelope for a message, with CRLF line ends, or why there is none.
pub(super) fn envelope(
    message: &[u8],
    recipients: &Recipients,
    sender: Option<&Address>,
    now: Timestamp,
) -> Result<Envelope, String> {
    let mut end = 0;
    let ended = end_of_section(message, &mut end).is_some();
    let section = if ended { &message[..end] } else { message };
    let header = Header::read(section, 0).ok_or("its header section is too long")?;
    let forward_paths = match recipients {
        Recipients::Named(named) => named.clone(),
        Recipients::OfTheFields => of_the_fields(&header)?,
    };
    if forward_paths.is_empty() {
        return Err(
            "no address can be read in its fields To, Cc and Bcc; name one with --recipient".into(),
        );
    }
    if forward_paths.len() > RECIPIENTS_MAX {
        return Err(format!("it has more than {RECIPIENTS_MAX} recipients"));
    }
    let reverse_path = sender.cloned().or_else(|| sender_of(&header));
    let internationalized =
        forward_paths.iter().chain(&reverse_path).any(Address::is_internationalized);
    Ok(Envelope {
        reverse_path,
        forward_paths,
        body: if message.is_ascii() { BodyKind::SevenBit } else { BodyKind::EightBitMime },
        internationalized,
        dsn: Dsn::default(),
        lane: Lane::default(),
        origin: Origin {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: String::new(),
            protocol: "local".into(),
            login: None,
            local: None,
        },
        accepted_at: now,
    })
}

/// What all fields of these names say.
fn read(header: &Header<'_>, names: &[&str]) -> Found {
    let mut found = Found::default();
    for field in names.iter().flat_map(|name| header.fields().iter().filter(|one| one.is(name))) {
        found.read(&text_of(field.value()));
    }
    found
}

/// Every address with a domain in To, Cc and Bcc; names of the host that the message comes from mean nothing here.
fn of_the_fields(header: &Header<'_>) -> Result<Vec<Address>, String> {
    let Found { addresses, unreadable, .. } = read(header, &["To", "Cc", "Bcc"]);
    // Somebody would be left out.
    if let Some(text) = unreadable.iter().find(|text| text.contains('@')) {
        let text: String = text.chars().take(SHOWN_MAX).collect();
        return Err(format!(
            "\"{text}\" in its fields To, Cc and Bcc cannot be read as an address; name all recipients with \
             --recipient"
        ));
    }
    Ok(addresses.into_iter().filter(|address| address.domain().is_some()).collect())
}

/// Return-Path, which may be the null one, or else From.
fn sender_of(header: &Header<'_>) -> Option<Address> {
    let path = header.fields().iter().find(|field| field.is("Return-Path"));
    if path.is_some_and(|path| path.value().trim_ascii() == b"<>") {
        return None;
    }
    let has_domain = |found: Found| found.addresses.into_iter().find(|one| one.domain().is_some());
    has_domain(read(header, &["Return-Path"])).or_else(|| has_domain(read(header, &["From"])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_fields(message: &str) -> Result<Envelope, String> {
        envelope(message.as_bytes(), &Recipients::OfTheFields, None, Timestamp(7))
    }

    #[test]
    fn the_envelope_comes_from_the_fields_when_that_was_asked_for() {
        let message = "Return-Path: <bounce@list.example>\r\nFrom: A <a@b.example>\r\nTo: C <c@d.example>,\r\n \
                       root, \"E, F\" <e@f.example>\r\nCc: c@d.example\r\nBcc: g@h.example\r\n\r\nTo: x@y.example\r\n";
        let found = of_fields(message).unwrap();
        let to: Vec<&str> = found.forward_paths.iter().map(Address::as_str).collect();
        assert_eq!(to, ["c@d.example", "e@f.example", "g@h.example"]);
        assert_eq!(found.reverse_path.as_ref().map(Address::as_str), Some("bounce@list.example"));
        assert_eq!(found.body, BodyKind::SevenBit);
        assert!(!found.is_own_notice());
    }

    #[test]
    fn every_address_of_the_fields_is_taken_or_the_message_is_not_imported() {
        let both = ["bob@example.net", "ann@example.net"];
        for to in [
            "Bob <bob@example.net>; Ann <ann@example.net>",
            "bob@example.net;ann@example.net;",
            "Bob <bob@example.net>, <>, Ann <ann@example.net>",
            "\"Bob <bob@example.net>, Ann <ann@example.net>",
            "Bob <bob@example.net> Ann <ann@example.net>",
            "\"B, Bob\" <bob@example.net>,\r\n\tfriends: Ann <ann@example.net>;",
        ] {
            let found = of_fields(&format!("From: a@b.example\r\nTo: {to}\r\n\r\n")).unwrap();
            let to: Vec<&str> = found.forward_paths.iter().map(Address::as_str).collect();
            assert_eq!(to, both);
        }
        for to in ["bob@example.net, ann@@example.net", "bob@example.net, ann@", "a@b.c-d@e.f"] {
            let error = of_fields(&format!("To: {to}\r\n\r\n")).unwrap_err();
            assert!(error.contains("cannot be read as an address"), "{error}");
        }
        let bounce = "Return-Path: <>\r\nFrom: a@b.example\r\nTo: bob@example.net\r\n\r\n";
        assert_eq!(of_fields(bounce).unwrap().reverse_path, None);
    }

    #[test]
    fn a_message_that_names_nobody_is_refused_and_a_named_recipient_is_the_only_one() {
        assert!(
            of_fields("To: undisclosed-recipients:;\r\n\r\n").unwrap_err().contains("--recipient")
        );
        let named = Recipients::Named(vec!["me@x.example".parse().unwrap()]);
        let sender = "s@x.example".parse().unwrap();
        let found = envelope(
            "To: c@d.example\r\n\r\nü\r\n".as_bytes(),
            &named,
            Some(&sender),
            Timestamp(7),
        )
        .unwrap();
        assert_eq!(found.forward_paths[0].as_str(), "me@x.example");
        assert_eq!((found.forward_paths.len(), found.body), (1, BodyKind::EightBitMime));
        assert_eq!(found.reverse_path, Some(sender));
    }
}
