//! The mail that the look-alike has taken: messages, counters, the last commands, and the journal.
//!
//! Rule: a message is in the journal before it is acknowledged, so that a test which kills the client
//! can tell what arrived. Nothing grows without limit. Must not know why a message was taken.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

use super::{accepted::Accepted, options::Options, rewritten, script::Stage};
use crate::clock::Timestamp;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    /// The Message-ID with its angle brackets.
    pub message_id: Option<String>,
    /// The reverse path.
    pub mail_from: String,
    /// The accepted forward paths.
    pub rcpt_to: Vec<String>,
    /// Octets of the message.
    pub size: u64,
    /// CRC-32 of the message.
    pub crc32: u32,
    /// When the final dot arrived.
    pub at: Timestamp,
    /// Whether 250 followed.
    pub answered: bool,
    /// Whether it came back to the account's own inbox.
    #[serde(default)]
    pub bounced: bool,
}

/// How often what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections made.
    pub connections: u64,
    /// Connections that are open.
    pub connections_open: u64,
    /// The most that were open at once.
    pub connections_peak: u64,
    /// Logins that succeeded.
    pub logins: u64,
    /// Logins that were refused, for whatever reason.
    pub login_refusals: u64,
    /// Messages stored, answered or not.
    pub messages: u64,
    /// Their recipients.
    pub recipients: u64,
    /// Messages that were answered 250 and bounced all the same.
    pub bounces: u64,
    /// Requests at the token endpoint.
    pub token_requests: u64,
    /// Requests for consent.
    pub authorizations: u64,
    /// 550 5.4.5 at any stage.
    pub quota_refusals: u64,
    /// Connections closed without the reply that was due.
    pub drops: u64,
    /// Commands out of order, unknown or malformed.
    pub violations: u64,
    stages: [u64; Stage::COUNT],
}

impl Counters {
    /// How often a stage was reached.
    #[must_use]
    pub fn reached(&self, stage: Stage) -> u64 {
        self.stages[stage as usize]
    }
}

/// Fewer messages arrived in time than were waited for.
#[derive(Debug, Error)]
#[error("only {present} of {wanted} messages reached the sandbox in {waited:?}")]
pub struct TooFew {
    /// How many were waited for.
    pub wanted: usize,
    /// How many came.
    pub present: usize,
    /// How long they were waited for.
    pub waited: Duration,
}

/// Everything the sandbox remembers for its user.
#[derive(Debug)]
pub struct Mailbox {
    contents: Mutex<Contents>,
    stored: watch::Sender<usize>,
    messages_kept_max: usize,
    bytes_kept_max: u64,
    commands_kept_max: usize,
    send_as: Vec<String>,
    directory: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Contents {
    messages: VecDeque<Arc<Accepted>>,
    bytes: u64,
    /// How many of the messages have which Message-ID.
    copies: BTreeMap<String, usize>,
    commands: VecDeque<String>,
    counters: Counters,
    journal: Option<File>,
}

impl Mailbox {
    /// An empty one; opens the journal for appending.
    pub(super) fn open(options: &Options) -> io::Result<Self> {
        let open = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
        let journal = options.journal.as_deref().map(open).transpose()?;
        Ok(Self {
            contents: Mutex::new(Contents { journal, ..Contents::default() }),
            stored: watch::Sender::new(0),
            messages_kept_max: options.messages_kept_max,
            bytes_kept_max: options.bytes_kept_max,
            commands_kept_max: options.commands_kept_max,
            send_as: options.send_as.clone(),
            directory: options.mailbox.clone(),
        })
    }

    /// The messages, oldest first, as far as they are kept.
    #[must_use]
    pub fn accepted(&self) -> Vec<Arc<Accepted>> {
        self.lock().messages.iter().cloned().collect()
    }

    /// How many messages were stored since the start.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.stored.borrow()
    }

    /// Waits in real time until `wanted` messages have been stored since the start; returns all.
    ///
    /// # Errors
    /// Fewer had come when `patience` was over; how many.
    pub async fn wait_for(
        &self,
        wanted: usize,
        patience: Duration,
    ) -> Result<Vec<Arc<Accepted>>, TooFew> {
        let mut stored = self.stored.subscribe();
        let enough = stored.wait_for(|count| *count >= wanted);
        let in_time = matches!(tokio::time::timeout(patience, enough).await, Ok(Ok(_)));
        if in_time {
            return Ok(self.accepted());
        }
        Err(TooFew { wanted, present: self.count(), waited: patience })
    }

    /// A copy of the counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.lock().counters.clone()
    }

    /// The last command lines of all connections, oldest first, each as `number: line`. Credentials
    /// are replaced by `***`.
    #[must_use]
    pub fn last_commands(&self) -> Vec<String> {
        self.lock().commands.iter().cloned().collect()
    }

    /// The message as Gmail keeps it in Sent and passes it on: From, Message-ID and Date rewritten where
    /// Gmail would, Return-Path and Received in front.
    #[must_use]
    pub fn rewritten(&self, message: &Accepted) -> Vec<u8> {
        rewritten::rewritten(message, &self.send_as)
    }

    /// Every Message-ID that is stored more than once, with how often.
    #[must_use]
    pub fn duplicates(&self) -> BTreeMap<String, usize> {
        let contents = self.lock();
        contents
            .copies
            .iter()
            .filter(|(_, count)| **count > 1)
            .map(|(id, count)| (id.clone(), *count))
            .collect()
    }

    /// Stores a message; an error means that journal or file could not be written, and nothing is stored.
    pub(super) fn store(&self, mut message: Accepted) -> io::Result<Arc<Accepted>> {
        let (message, count) = {
            let mut contents = self.lock();
            let before = message.message_id.as_ref().and_then(|id| contents.copies.get(id));
            message.copies_before = before.copied().unwrap_or(0);
            let message = Arc::new(message);
            if let Some(journal) = &mut contents.journal {
                journal.write_all(&journal_line(&message)?)?;
            }
            if let Some(directory) = &self.directory {
                self.write_file(directory, contents.counters.messages + 1, &message)?;
            }
            contents.counters.messages += 1;
            contents.counters.recipients += message.rcpt_to.len() as u64;
            contents.counters.bounces += u64::from(message.bounced);
            contents.keep(&message);
            while contents.messages.len() > self.messages_kept_max
                || contents.bytes > self.bytes_kept_max
            {
                if !contents.forget_oldest() {
                    break;
                }
            }
            (message, contents.counters.messages)
        };
        self.stored.send_replace(usize::try_from(count).unwrap_or(usize::MAX));
        Ok(message)
    }

    /// One file a message, named so that they sort by arrival; the envelope's recipients come first.
    fn write_file(&self, directory: &Path, number: u64, message: &Accepted) -> io::Result<()> {
        let mut text: Vec<u8> = message
            .rcpt_to
            .iter()
            .flat_map(|path| format!("Delivered-To: {path}\r\n").into_bytes())
            .collect();
        text.extend_from_slice(&self.rewritten(message));
        let name = format!("{:013}-{number:06}", message.at.0);
        let unfinished = directory.join(format!(".{name}"));
        fs::write(&unfinished, text)?;
        fs::rename(unfinished, directory.join(format!("{name}.eml")))
    }

    /// Notes a command line.
    pub(super) fn note_command(&self, connection: u64, line: &str) {
        if self.commands_kept_max == 0 {
            return;
        }
        let text = format!("{connection}: {line:.COMMAND_LENGTH_MAX$}");
        let mut contents = self.lock();
        if contents.commands.len() >= self.commands_kept_max {
            contents.commands.pop_front();
        }
        contents.commands.push_back(text);
    }

    /// Changes the counters.
    pub(super) fn tally(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.lock().counters);
    }

    /// Counts a stage.
    pub(super) fn reach(&self, stage: Stage) {
        self.lock().counters.stages[stage as usize] += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn keep(&mut self, message: &Arc<Accepted>) {
        self.bytes += message.body.len() as u64;
        self.messages.push_back(Arc::clone(message));
        if let Some(id) = &message.message_id {
            *self.copies.entry(id.clone()).or_insert(0) += 1;
        }
    }

    /// `false` when there is none.
    fn forget_oldest(&mut self) -> bool {
        let Some(oldest) = self.messages.pop_front() else { return false };
        self.bytes -= oldest.body.len() as u64;
        if let Some(id) = &oldest.message_id
            && let Some(count) = self.copies.get_mut(id)
        {
            *count -= 1;
            if *count == 0 {
                self.copies.remove(id);
            }
        }
        true
    }
}

fn journal_line(message: &Accepted) -> io::Result<Vec<u8>> {
    let line = JournalLine {
        message_id: message.message_id.clone(),
        mail_from: message.mail_from.clone(),
        rcpt_to: message.rcpt_to.clone(),
        size: message.size,
        crc32: message.crc32,
        at: message.at,
        answered: message.answered,
        bounced: message.bounced,
    };
    let mut text = serde_json::to_vec(&line).map_err(io::Error::other)?;
    text.push(b'\n');
    Ok(text)
}

/// Characters of a command line that are kept.
const COMMAND_LENGTH_MAX: usize = 1024;
