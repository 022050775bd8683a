//! One look at the drop directory: each owner's files in turn, played to a session as their callers would have done.
//!
//! Rule: what becomes of a file follows from the session's replies alone; it counts as taken only by the 250 after its last
//! octet. Trouble with a file is that file's own; only trouble of the queue, or of this process, ends a look.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::spawn_blocking,
};

use super::directory::{Directory, Dropped, Listing, Owned, Tally, Unusable, another_id};
use crate::{
    listener::{
        connection,
        service::{Local, Peer, Service},
        stream::Stream,
    },
    passwd::named,
    queue::{
        dropped::{Contents, Head, Rest, new_name},
        id::QueueId,
    },
    shutdown::{Phase, Watch},
    smtp::{
        client::reply::{Reply, ReplyBuffer},
        server::INPUT_BYTES_MAX,
    },
    text,
};

/// How long one look lasts: then it is looked anew, so that who has come meanwhile need not wait for all that was there.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// Files of one owner that stay in one look: his next ones are for a later look.
const STAYING_MAX: u32 = 20;
/// Characters of a file's name that are logged.
const NAME_SHOWN_MAX: usize = 64;

/// The time for which the limits on lines and on files set aside are.
const WINDOW_MS: u64 = 60_000;
/// Lines about files of one owner.
const LINES_MAX: u64 = 20;
/// Files of one owner that are set aside.
const SET_ASIDE_MAX: u64 = 100;
/// Owners that are told apart; the others share their limits.
const OWNERS_MAX: usize = 100;
/// Owners whose number is told at the end; of the others how many lines were left out.
const SUMMARIES_MAX: usize = 10;
/// Stands for all owners beyond [`OWNERS_MAX`].
const OTHERS: u32 = u32::MAX;

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
            (Arc::clone(self.directory), self.service.terms.get().session.max_message_bytes);
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
        match play(id, dropped, self.service, watch.clone()).await {
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
        let (file, directory) = (shown(name), self.tally.path().display());
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
        self.tally.note(self.waiting, self.bad);
    }
}

/// A file that was read, to be written anew.
struct Source {
    contents: Contents,
    uid: u32,
    message: File,
    message_at: u64,
}

impl Source {
    /// Its recipients, when only those of `now` get the message first.
    fn divide(&mut self, now: Vec<String>, mut rest: Vec<String>) {
        self.contents.head.recipients = now;
        self.contents.head.mail = without_id(&self.contents.head.mail);
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

/// Octets of the file that are read at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// Recipients refused one after the other that the session is told of: before it has had enough.
const REFUSED_MAX: usize = 500;
/// Refusals that are repeated as the reason.
const REASONS_MAX: usize = 3;

/// What the session has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The message is safe, for all recipients of the file.
    Taken,
    /// Nobody has it: these would get it now, and those would not, with the first reasons.
    Divided { now: Vec<String>, rest: Vec<String>, reasons: String },
    /// Not now.
    Later(String),
    /// Never.
    Bad(String),
}

/// What the session has said to the recipients.
#[derive(Debug, Default)]
struct Said {
    accepted: Vec<String>,
    /// Each with the reply.
    refused: Vec<(String, String)>,
    /// Too many for this transaction.
    untried: Vec<String>,
}

/// Plays a file.
pub(super) async fn play(
    id: QueueId,
    dropped: Dropped,
    service: &Service,
    shutdown: Watch,
) -> Outcome {
    let head = &dropped.contents.head;
    let Some(mail) = with_id(&with_size(&head.mail, head.message_bytes), id) else {
        return Outcome::Bad("its MAIL line has another queue id than its name".into());
    };
    let user = named(dropped.uid, None).await;
    let terms = service.terms.get();
    let peer = Peer::of_user(Local { uid: dropped.uid, user, from_file: true }, &terms.options);
    service.clients.connected(peer.client.address, service.clock.now());
    let (ours, theirs) = tokio::io::duplex(INPUT_BYTES_MAX);
    let session = connection::serve(Stream::Played(theirs), peer, service, terms, shutdown);
    let (spoken, ()) = tokio::join!(Player::new(ours).speak(mail, dropped), Box::pin(session));
    spoken.unwrap_or_else(|error| Outcome::Later(error.to_string()))
}

/// MAIL with the id of the message, which is the file's name. `None` when it has another one already.
fn with_id(mail: &str, id: QueueId) -> Option<String> {
    let mut given = mail.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    match given.find(|(keyword, _)| keyword.eq_ignore_ascii_case("XQUEUEID")) {
        Some((_, value)) => (value.parse() == Ok(id)).then(|| mail.to_owned()),
        None => Some(format!("{mail} XQUEUEID={id}")),
    }
}

/// MAIL with the size that the message really has, so that a queue without room for it says so before it comes.
fn with_size(mail: &str, octets: u64) -> String {
    match mail.contains('>') {
        true => with_parameter(mail, "SIZE=", &octets.to_string()),
        false => mail.to_owned(),
    }
}

/// MAIL without an id: its name is the id of a file.
fn without_id(mail: &str) -> String {
    without_parameter(mail, "XQUEUEID=")
}

fn with_parameter(mail: &str, keyword: &str, value: &str) -> String {
    let without = without_parameter(mail, keyword);
    let Some((path, others)) = without.rsplit_once('>') else { return without };
    format!("{path}> {keyword}{value}{others}")
}

fn without_parameter(mail: &str, keyword: &str) -> String {
    let (path, parameters) = mail.split_at(mail.rfind('>').map_or(mail.len(), |at| at + 1));
    let is_it = |word: &&str| {
        word.get(..keyword.len()).is_some_and(|key| key.eq_ignore_ascii_case(keyword))
    };
    let others = parameters.split_ascii_whitespace().filter(|word| !is_it(word));
    [path].into_iter().chain(others.flat_map(|word| [" ", word])).collect()
}

/// The client's side of the conversation. It is dropped at its end, which is what ends the session.
struct Player {
    pipe: DuplexStream,
    buffer: ReplyBuffer,
}

impl Player {
    fn new(pipe: DuplexStream) -> Self {
        Self { pipe, buffer: ReplyBuffer::default() }
    }

    async fn speak(mut self, mail: String, dropped: Dropped) -> io::Result<Outcome> {
        let Dropped { file, contents, .. } = dropped;
        let head = contents.head;
        for expected in [self.reply().await?, self.say(crate::queue::dropped::HELLO).await?] {
            if !expected.is_positive() {
                return Ok(Outcome::Later(expected.to_string()));
            }
        }
        let reply = self.say(&mail).await?;
        if !reply.is_positive() {
            return Ok(judged(&reply));
        }
        let said = match self.recipients(&head.recipients).await? {
            Ok(said) => said,
            Err(reply) => return Ok(Outcome::Later(reply)),
        };
        if said.accepted.len() < head.recipients.len() {
            return Ok(said.outcome());
        }
        self.pipe.write_all(format!("BDAT {} LAST\r\n", head.message_bytes).as_bytes()).await?;
        if let Err(reason) = self.send(file, head.message_bytes).await? {
            return Ok(Outcome::Bad(reason));
        }
        let reply = self.reply().await?;
        if !reply.is_positive() {
            return Ok(judged(&reply));
        }
        // Whatever happens to the farewell, the message is safe.
        drop(self.say("QUIT").await);
        Ok(Outcome::Taken)
    }

    /// All RCPT lines, as far as the session takes them; `Err` when it takes none just now.
    async fn recipients(&mut self, lines: &[String]) -> io::Result<Result<Said, String>> {
        let mut said = Said::default();
        for (position, recipient) in lines.iter().enumerate() {
            if said.refused.len() == REFUSED_MAX {
                said.untried = lines[position..].to_vec();
                break;
            }
            let reply = self.say(recipient).await?;
            // Too many recipients will be too many tomorrow.
            let is_surplus = reply.enhanced() == Some((5, 3));
            if reply.is_positive() {
                said.accepted.push(recipient.clone());
            } else if reply.is_temporary() && is_surplus {
                said.untried = lines[position..].to_vec();
                break;
            } else if reply.is_temporary() {
                return Ok(Err(reply.to_string()));
            } else {
                said.refused.push((recipient.clone(), reply.to_string()));
            }
        }
        Ok(Ok(said))
    }

    /// One command, one reply.
    async fn say(&mut self, command: &str) -> io::Result<Reply> {
        self.pipe.write_all(format!("{command}\r\n").as_bytes()).await?;
        self.reply().await
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        loop {
            if let Some(reply) = self.buffer.reply().map_err(io::Error::other)? {
                return Ok(reply);
            }
            match self.pipe.read(self.buffer.space()).await? {
                0 => {
                    let words = "the session has ended";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, words));
                }
                count => self.buffer.received(count),
            }
        }
    }

    /// The octets of the message, or why they cannot be read as announced. A session that does not want them any more
    /// has said why.
    async fn send(&mut self, mut file: File, octets: u64) -> io::Result<Result<(), String>> {
        let mut left = octets;
        let mut block = Vec::new();
        while left > 0 {
            let wanted = left.min(BLOCK_BYTES as u64);
            let work = move || {
                block.clear();
                let read = file.by_ref().take(wanted).read_to_end(&mut block);
                read.map(|read| (file, block, read as u64))
            };
            let read;
            (file, block, read) = match spawn_blocking(work).await.map_err(io::Error::other)? {
                Ok(read) => read,
                Err(error) => return Ok(Err(format!("it cannot be read: {error}"))),
            };
            if read < wanted {
                return Ok(Err("it became shorter while it was read".into()));
            }
            if self.pipe.write_all(&block).await.is_err() {
                return Ok(Ok(()));
            }
            left -= read;
        }
        Ok(Ok(()))
    }
}

impl Said {
    /// When not all were accepted.
    fn outcome(self) -> Outcome {
        let Self { accepted, refused, untried } = self;
        let more = refused.len().saturating_sub(REASONS_MAX);
        let first = refused.iter().take(REASONS_MAX);
        let mut reasons: Vec<String> =
            first.map(|(recipient, reply)| format!("{recipient}: {reply}")).collect();
        reasons.extend((more > 0).then(|| format!("{more} more")));
        let reasons = reasons.join("; ");
        let refused = refused.into_iter().map(|(recipient, _)| recipient);
        match (accepted.is_empty(), untried.is_empty()) {
            (true, true) => Outcome::Bad(reasons),
            // Whoever has not been asked yet may well get it.
            (true, false) => Outcome::Divided { now: untried, rest: refused.collect(), reasons },
            (false, _) => {
                let rest = refused.chain(untried).collect();
                Outcome::Divided { now: accepted, rest, reasons }
            }
        }
    }
}

fn judged(reply: &Reply) -> Outcome {
    let words = reply.to_string();
    if reply.is_temporary() { Outcome::Later(words) } else { Outcome::Bad(words) }
}

/// What has been told in the present minute.
#[derive(Debug, Default)]
pub(super) struct Telling {
    since_ms: u64,
    owners: BTreeMap<u32, Told>,
}

#[derive(Debug, Default)]
struct Told {
    lines: u64,
    left_out: u64,
    set_aside: u64,
}

/// Lines that were left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Whose files they were about; nobody's when there are too many owners.
    pub(super) uid: Option<u32>,
    pub(super) lines: u64,
}

impl Telling {
    /// Whether there is a line for a file of this owner.
    pub(super) fn may_tell(&mut self, uid: u32) -> bool {
        let told = self.of(uid);
        let has_room = told.lines < LINES_MAX;
        if has_room {
            told.lines += 1
        } else {
            told.left_out += 1
        }
        has_room
    }

    /// Whether one more file of this owner is set aside now.
    pub(super) fn may_set_aside(&mut self, uid: u32) -> bool {
        let told = self.of(uid);
        told.set_aside += 1;
        told.set_aside <= SET_ASIDE_MAX
    }

    fn of(&mut self, uid: u32) -> &mut Told {
        let is_known = self.owners.contains_key(&uid) || self.owners.len() < OWNERS_MAX;
        self.owners.entry(if is_known { uid } else { OTHERS }).or_default()
    }

    /// Begins a new minute when the last one is over; returns what it had no room for.
    pub(super) fn turn_over(&mut self, now_ms: u64) -> Vec<LeftOut> {
        if now_ms < self.since_ms.saturating_add(WINDOW_MS) {
            return Vec::new();
        }
        self.since_ms = now_ms;
        let told = std::mem::take(&mut self.owners);
        let left_out = told.into_iter().filter(|(_, told)| told.left_out > 0);
        let mut left_out: Vec<LeftOut> = left_out
            .map(|(uid, told)| LeftOut {
                uid: (uid != OTHERS).then_some(uid),
                lines: told.left_out,
            })
            .collect();
        let rest = left_out.split_off(left_out.len().min(SUMMARIES_MAX));
        let lines: u64 = rest.iter().map(|other| other.lines).sum();
        left_out.extend((lines > 0).then_some(LeftOut { uid: None, lines }));
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn mail_says_the_size_that_the_message_has() {
        for (mail, expected) in [
            ("MAIL FROM:<a@b>", "MAIL FROM:<a@b> SIZE=7"),
            ("MAIL FROM:<> SIZE=1 BODY=8BITMIME size=2", "MAIL FROM:<> SIZE=7 BODY=8BITMIME"),
            ("MAIL FROM:<\"a  b>\"@c> RET=HDRS", "MAIL FROM:<\"a  b>\"@c> SIZE=7 RET=HDRS"),
            ("MAIL FROM:a@b SIZE=1", "MAIL FROM:a@b SIZE=1"),
        ] {
            assert_eq!(with_size(mail, 7), expected);
        }
    }

    #[test]
    fn who_was_not_asked_yet_is_tried_before_who_was_refused() {
        let line = |number: usize| format!("RCPT TO:<{number}@b>");
        let refused = (0..5).map(|number| (line(number), "550 5.1.1 no".to_owned()));
        let said = Said { refused: refused.collect(), untried: vec![line(9)], ..Said::default() };
        let Outcome::Divided { now, rest, reasons } = said.outcome() else { panic!() };
        assert_eq!((now, rest.len()), (vec![line(9)], 5));
        assert!(
            reasons.starts_with("RCPT TO:<0@b>: 550 5.1.1 no; ") && reasons.ends_with("; 2 more"),
            "{reasons}"
        );
        let said = Said { accepted: vec![line(1)], untried: vec![line(2)], ..Said::default() };
        let divided =
            Outcome::Divided { now: vec![line(1)], rest: vec![line(2)], reasons: String::new() };
        assert_eq!(said.outcome(), divided);
    }

    #[test]
    fn mail_gets_the_id_of_the_file_and_may_have_it_but_no_other_one() {
        let id = QueueId::proposed(Timestamp(1_800_000_000_000), *b"random");
        let with = format!("MAIL FROM:<a@b> SIZE=5 XQUEUEID={id}");
        assert_eq!(with_id("MAIL FROM:<a@b> SIZE=5", id), Some(with.clone()));
        assert_eq!(with_id(&with, id), Some(with.clone()));
        let other = QueueId::proposed(Timestamp(1_800_000_000_000), *b"other.");
        assert_eq!(with_id(&with, other), None);
    }

    #[test]
    fn one_owner_has_his_lines_and_takes_none_of_the_others() {
        let mut telling = Telling::default();
        assert_eq!(telling.turn_over(WINDOW_MS), []);
        let told = (0..1_000).filter(|_| telling.may_tell(1_000)).count() as u64;
        assert_eq!(told, LINES_MAX);
        assert!(telling.may_tell(1_001) && telling.may_tell(0));
        assert_eq!(telling.turn_over(2 * WINDOW_MS - 1), []);
        let left_out = LeftOut { uid: Some(1_000), lines: 1_000 - LINES_MAX };
        assert_eq!(telling.turn_over(2 * WINDOW_MS), [left_out]);
        assert!(telling.may_tell(1_000));
    }

    #[test]
    fn a_minute_sets_aside_so_many_files_of_an_owner_and_no_more() {
        let mut telling = Telling::default();
        let set_aside = (0..1_000).filter(|_| telling.may_set_aside(1_000)).count() as u64;
        assert_eq!((set_aside, telling.may_set_aside(1_001)), (SET_ASIDE_MAX, true));
    }

    #[test]
    fn a_crowd_of_owners_is_bounded_in_memory_and_in_lines() {
        let mut telling = Telling::default();
        telling.turn_over(WINDOW_MS);
        for uid in 0..10_000 {
            assert!((0..30).filter(|_| telling.may_tell(uid)).count() as u64 <= LINES_MAX);
        }
        assert!(telling.owners.len() <= OWNERS_MAX + 1);
        let left_out = telling.turn_over(2 * WINDOW_MS);
        assert_eq!(left_out.len(), SUMMARIES_MAX + 1);
        let told = LINES_MAX * (OWNERS_MAX as u64 + 1);
        assert_eq!(left_out.iter().map(|other| other.lines).sum::<u64>(), 300_000 - told);
    }
}
