//! One look at the drop directory: each owner's files in turn, and what becomes of each.
//!
//! Rule: only trouble of the queue, or of this process, ends a look. Trouble with a file is that file's own: it is set
//! aside or stays, and the next one is tried. Must not know when the next look is.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::{OsStr, OsString},
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::task::spawn_blocking;

use super::{
    Tally,
    directory::{Directory, Dropped, Unusable, another_id},
    listing::{Listing, Owned},
    player::{self, Outcome},
    telling::Telling,
};
use crate::{
    listener::service::Service,
    queue::{
        dropped::{Contents, Head, Rest, new_name},
        id::QueueId,
    },
    shutdown::{Phase, Watch},
    text,
};

/// How long one look lasts: then it is looked anew, so that who has come meanwhile need not wait for all that was there.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// Files of one owner that stay in one look: his next ones are for a later look.
const STAYING_MAX: u32 = 20;
/// Characters of a file's name that are logged.
const NAME_SHOWN_MAX: usize = 64;

/// How a look has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// There is more.
    Again,
    /// All is taken, or set aside.
    Done,
    /// Some files stay where they are; others may be taken as soon as they come. Whether there were more files than
    /// this look has tried.
    Stuck { has_more: bool },
    /// The queue takes nothing just now.
    PutOff,
}

/// What became of one file.
enum Fate {
    /// It is taken, set aside, or gone.
    Settled,
    /// It is as it was, which cost next to nothing.
    Passed,
    /// It is as it was, and the session was asked.
    Stays,
    /// It is as it was, and so would be all others.
    Refused,
}

/// One look.
pub(super) struct Round<'a> {
    service: &'a Service,
    tally: &'a Tally,
    directory: &'a Arc<Directory>,
    telling: &'a mut Telling,
    waiting: u64,
    bad: u64,
    /// Who had the last turn.
    pub(super) last: Option<u32>,
    /// The last file of each owner that was tried.
    pub(super) tried: BTreeMap<u32, QueueId>,
    /// Octets of the smallest message that the queue had no room for.
    no_room_for: u64,
    /// A file was written anew.
    has_news: bool,
}

impl<'a> Round<'a> {
    /// `found` are the numbers of files that wait and of those that were set aside.
    pub(super) fn new(
        service: &'a Service,
        tally: &'a Tally,
        directory: &'a Arc<Directory>,
        telling: &'a mut Telling,
        found: (u64, u64),
    ) -> Self {
        let (waiting, bad) = found;
        let (last, tried) = (None, BTreeMap::new());
        Self {
            service,
            tally,
            directory,
            telling,
            waiting,
            bad,
            last,
            tried,
            no_room_for: u64::MAX,
            has_news: false,
        }
    }

    /// Takes what can be taken.
    pub(super) async fn take(&mut self, listing: &Listing, watch: &Watch) -> Look {
        let began_ms = self.service.clock.now().since_boot_ms;
        let most_ms = u64::try_from(LOOK_MAX.as_millis()).unwrap_or(u64::MAX);
        let (mut settled, mut stayed) = (0_u64, false);
        for Owned { uid, item } in &listing.foreign {
            let fate =
                self.set_aside(item, Some(*uid), "its name is not one that Pillarbox gives").await;
            settled += u64::from(matches!(fate, Fate::Settled));
        }
        let mut owners: VecDeque<(u32, VecDeque<QueueId>, u32)> =
            listing.in_turns().into_iter().map(|(uid, files)| (uid, files, 0)).collect();
        let mut in_time = true;
        while let Some((uid, mut files, mut staying)) = owners.pop_front() {
            let Some(id) = files.pop_front() else { continue };
            self.count();
            in_time = self.service.clock.now().since_boot_ms < began_ms.saturating_add(most_ms);
            if watch.phase() != Phase::Running || !in_time {
                break;
            }
            (self.last, _) = (Some(uid), self.tried.insert(uid, id));
            match self.file(id, watch).await {
                Fate::Settled => settled += 1,
                Fate::Passed => stayed = true,
                Fate::Stays => (stayed, staying) = (true, staying + 1),
                Fate::Refused => {
                    self.count();
                    return Look::PutOff;
                }
            }
            if staying < STAYING_MAX {
                owners.push_back((uid, files, staying));
            }
        }
        self.count();
        let has_more = listing.has_more || !in_time;
        match (settled > 0 && has_more || self.has_news, stayed || has_more) {
            (true, _) => Look::Again,
            (false, true) => Look::Stuck { has_more },
            (false, false) => Look::Done,
        }
    }

    async fn file(&mut self, id: QueueId, watch: &Watch) -> Fate {
        let (directory, limit) =
            (Arc::clone(self.directory), self.service.session_options.max_message_bytes);
        let read = spawn_blocking(move || directory.read(id, limit)).await;
        let read = read.unwrap_or_else(|error| Err(Unusable::Exhausted(io::Error::other(error))));
        let name = OsString::from(new_name(id));
        let dropped: Dropped = match read {
            Ok(dropped) => dropped,
            Err(Unusable::Gone) => {
                self.waiting = self.waiting.saturating_sub(1);
                return Fate::Settled;
            }
            Err(Unusable::Exhausted(error)) => {
                tracing::warn!(%id, %error, "no file of the drop directory can be read just now");
                return Fate::Refused;
            }
            Err(Unusable::Bad { uid, reason }) => {
                return self.set_aside(&name, uid, &reason).await;
            }
        };
        let octets = dropped.contents.head.message_bytes;
        if octets >= self.no_room_for {
            return Fate::Passed;
        }
        let (uid, message_at) = (dropped.uid, dropped.message_at);
        let message = match dropped.file.try_clone() {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%id, uid, %error, "no file of the drop directory can be read just now");
                return Fate::Refused;
            }
        };
        let contents = dropped.contents.clone();
        let mut source = Source { contents, uid, message, message_at };
        match player::play(id, dropped, self.service, watch.clone()).await {
            Outcome::Taken => self.taken(id, source).await,
            Outcome::Divided { now, rest, reasons } => match self.service.store.show(id).await {
                // It was sent before the relay died, when its recipients were judged otherwise.
                Ok(Some(_)) => self.taken(id, source).await,
                Ok(None) => {
                    source.divide(now, rest);
                    self.divide(id, source, &reasons).await
                }
                Err(_) => self.stays(id, uid, &reasons, octets),
            },
            Outcome::Bad(reason) => self.set_aside(&name, Some(uid), &reason).await,
            Outcome::Later(reply) => self.stays(id, uid, &reply, octets),
        }
    }

    /// The queue does not take it now. Whether it takes anything is for the queue to say: a reply may be about this
    /// message alone, or about a caller who still holds its id.
    fn stays(&mut self, id: QueueId, uid: u32, reply: &str, octets: u64) -> Fate {
        tracing::debug!(%id, uid, reply, "a file of the drop directory waits");
        // 450 is the rate of all programs of this host.
        if self.service.store.admission(0).is_err() || reply.starts_with("450") {
            return Fate::Refused;
        }
        if reply.starts_with("452") {
            self.no_room_for = octets.min(self.no_room_for);
        }
        Fate::Stays
    }

    /// Writes the file anew before anybody gets the message, so that its name stays the id of a message whose
    /// recipients are known, however the relay is configured when it is looked at again.
    async fn divide(&mut self, id: QueueId, source: Source, reasons: &str) -> Fate {
        let (uid, directory) = (source.uid, Arc::clone(self.directory));
        let recipients = source.contents.head.recipients.len();
        let written = spawn_blocking(move || source.write(&directory, id)).await;
        match written.map_err(io::Error::other).flatten() {
            Ok(rest) => {
                if self.telling.may_tell(uid) {
                    tracing::info!(%id, uid, recipients, rest, reasons, "a file of the drop directory goes to some recipients first; the rest gets an id of its own");
                }
                // It is one file still, and its next turn comes at once.
                self.has_news = true;
                Fate::Settled
            }
            Err(error) => {
                if self.telling.may_tell(uid) {
                    tracing::warn!(%id, uid, %error, "a file of the drop directory cannot be divided among its recipients; it waits");
                }
                Fate::Stays
            }
        }
    }

    /// The message is safe, so its file goes; recipients who are not served yet have one of their own before that.
    async fn taken(&mut self, id: QueueId, source: Source) -> Fate {
        let (uid, directory) = (source.uid, Arc::clone(self.directory));
        let has_rest = source.contents.rest.is_some();
        let removed = spawn_blocking(move || {
            source.write_rest(&directory)?;
            directory.remove(id)
        });
        match removed.await.map_err(io::Error::other).flatten() {
            Ok(()) => {
                self.waiting = self.waiting.saturating_sub(u64::from(!has_rest));
                self.has_news |= has_rest;
                Fate::Settled
            }
            Err(error) => {
                if self.telling.may_tell(uid) {
                    tracing::error!(%id, uid, %error, "the file of a message that was taken cannot be removed from the drop directory; the message is sent once all the same");
                }
                Fate::Stays
            }
        }
    }

    async fn set_aside(&mut self, name: &OsStr, uid: Option<u32>, reason: &str) -> Fate {
        let owner = uid.unwrap_or(u32::MAX);
        if !self.telling.may_set_aside(owner) {
            return Fate::Passed;
        }
        let (directory, old) = (Arc::clone(self.directory), name.to_owned());
        let moved = spawn_blocking(move || directory.set_aside(&old)).await;
        let moved = moved.map_err(io::Error::other).flatten();
        let told = self.telling.may_tell(owner);
        let (file, directory) = (shown(name), self.tally.path.display());
        match moved {
            Ok(kept_as) => {
                self.bad += 1;
                self.waiting = self
                    .waiting
                    .saturating_sub(u64::from(name.as_encoded_bytes().starts_with(b"new.")));
                if told {
                    let remedy =
                        "look at it as root; rename it back to be tried again, or delete it";
                    tracing::warn!(%directory, file, uid, reason, kept_as = shown(&kept_as), remedy, "set aside in the drop directory");
                }
                Fate::Settled
            }
            Err(error) => {
                if told {
                    tracing::warn!(%directory, file, uid, reason, %error, "a file of the drop directory can neither be used nor renamed");
                }
                Fate::Stays
            }
        }
    }

    fn count(&self) {
        self.tally.waiting.store(self.waiting, Ordering::Relaxed);
        self.tally.set_aside.store(self.bad, Ordering::Relaxed);
    }
}

/// A file that was read, to be written anew.
struct Source {
    contents: Contents,
    uid: u32,
    message: std::fs::File,
    message_at: u64,
}

impl Source {
    /// Its recipients, when only those of `now` get the message first.
    fn divide(&mut self, now: Vec<String>, mut rest: Vec<String>) {
        self.contents.head.recipients = now;
        self.contents.head.mail = player::without_id(&self.contents.head.mail);
        match &mut self.contents.rest {
            Some(known) => known.recipients.append(&mut rest),
            // The id is chosen when it is written.
            none @ None => {
                *none = Some(Rest { id: QueueId::from_bytes([0; 16]), recipients: rest })
            }
        }
        self.contents.owner = Some(self.uid);
    }

    /// Puts it in the place of the file that it was read from. Returns how many recipients come later.
    fn write(mut self, directory: &Directory, id: QueueId) -> io::Result<usize> {
        let mut count = 0;
        if let Some(rest) = &mut self.contents.rest {
            (rest.id, count) = (another_id(id)?, rest.recipients.len());
        }
        directory.write(id, &self.contents, &mut self.message, self.message_at)?;
        Ok(count)
    }

    /// Gives those who come later a file of their own. To be done again costs nothing: their id is known by then.
    fn write_rest(mut self, directory: &Directory) -> io::Result<()> {
        let Some(Rest { id, recipients }) = self.contents.rest.take() else { return Ok(()) };
        let head = Head { recipients, ..self.contents.head };
        let contents = Contents { head, rest: None, owner: Some(self.uid) };
        directory.write(id, &contents, &mut self.message, self.message_at)
    }
}

/// A name as the log shows it: anybody may have chosen it.
fn shown(name: &OsStr) -> String {
    text::shorten(&name.to_string_lossy(), NAME_SHOWN_MAX).into_owned()
}
