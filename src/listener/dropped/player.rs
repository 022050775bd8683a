//! Plays a file of the drop directory to a session of its own, as its caller would have done over the local socket.
//!
//! Rule: what becomes of the file follows from the session's replies alone; it counts as taken only by the 250 after its
//! last octet, behind which there is a receipt. Must not know how a file is opened or removed.

use std::{
    fs::File,
    io::{self, Read},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::spawn_blocking,
};

use super::directory::Dropped;
use crate::{
    listener::{
        connection,
        service::{Guest, Local, Service},
        stream::Stream,
        user::named,
    },
    queue::id::QueueId,
    shutdown::Watch,
    smtp::{
        client::reply::{Reply, ReplyBuffer},
        server::INPUT_BYTES_MAX,
    },
};

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
    let guest = Guest::of_user(Local { uid: dropped.uid, user, from_file: true }, &service.options);
    service.clients.connected(guest.client.address, service.clock.now());
    let (ours, theirs) = tokio::io::duplex(INPUT_BYTES_MAX);
    let session = connection::serve(Stream::Played(theirs), guest, service, shutdown);
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
pub(super) fn without_id(mail: &str) -> String {
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
}
