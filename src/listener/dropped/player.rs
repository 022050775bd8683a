//! Plays a file of the drop directory to a session of its own, as its caller would have done over the local socket.
//!
//! Rule: what becomes of the file follows from the session's replies alone; it counts as taken only by the 250 after its
//! last octet, behind which there is a receipt. Must not know how a file is opened or removed.

use std::{
    fs::File,
    io::{self, Read},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream},
    task::spawn_blocking,
};

use super::directory::Dropped;
use crate::{
    listener::{
        arrival::{Guest, Local, Service},
        connection,
        local::named,
        stream::Stream,
    },
    queue::id::QueueId,
    shutdown::Watch,
    smtp::session::INPUT_BYTES_MAX,
};

/// Octets of one reply; the session's own are shorter.
const REPLY_BYTES_MAX: u64 = 16 * 1024;
/// Octets of the file that are read at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// What the session has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The message is safe; these recipients were refused for good, with the replies.
    Taken(Vec<String>),
    /// Not now.
    Later(String),
    /// Never.
    Bad(String),
}

/// Plays a file.
pub(super) async fn play(
    id: QueueId,
    dropped: Dropped,
    service: &Service,
    shutdown: Watch,
) -> Outcome {
    let Some(mail) = with_id(&dropped.head.mail, id) else {
        return Outcome::Bad("its MAIL line has another queue id than its name".into());
    };
    let user = named(dropped.uid, None).await;
    let guest = Guest::of_user(Local { uid: dropped.uid, user, from_file: true }, &service.options);
    service.clients.connected(guest.client.address, service.clock.now());
    let (ours, theirs) = tokio::io::duplex(INPUT_BYTES_MAX);
    let session = connection::serve(Stream::Played(theirs), guest, service, shutdown);
    let (spoken, ()) =
        tokio::join!(Player(BufReader::new(ours)).speak(mail, dropped), Box::pin(session));
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

/// The client's side of the conversation. It is dropped at its end, which is what ends the session.
struct Player(BufReader<DuplexStream>);

impl Player {
    async fn speak(mut self, mail: String, dropped: Dropped) -> io::Result<Outcome> {
        let Dropped { file, head, .. } = dropped;
        for expected in [self.reply().await?, self.say(crate::queue::dropped::HELLO).await?] {
            if !expected.starts_with('2') {
                return Ok(Outcome::Later(expected));
            }
        }
        let reply = self.say(&mail).await?;
        if !reply.starts_with('2') {
            return Ok(judged(reply));
        }
        let mut refused = Vec::new();
        for recipient in &head.recipients {
            let reply = self.say(recipient).await?;
            match reply.as_bytes() {
                [b'2', ..] => {}
                // Too many recipients will be too many tomorrow.
                [b'4', ..] if !reply.contains(" 4.5.3 ") => return Ok(Outcome::Later(reply)),
                _ => refused.push(format!("{recipient}: {reply}")),
            }
        }
        if refused.len() == head.recipients.len() {
            return Ok(Outcome::Bad(refused.swap_remove(0)));
        }
        self.0.write_all(format!("BDAT {} LAST\r\n", head.message_bytes).as_bytes()).await?;
        if !self.send(file, head.message_bytes).await? {
            return Ok(Outcome::Bad("it became shorter while it was read".into()));
        }
        let reply = self.reply().await?;
        if !reply.starts_with('2') {
            return Ok(judged(reply));
        }
        // Whatever happens to the farewell, the message is safe.
        drop(self.say("QUIT").await);
        Ok(Outcome::Taken(refused))
    }

    /// One command, one reply.
    async fn say(&mut self, command: &str) -> io::Result<String> {
        self.0.write_all(format!("{command}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// The last line of a reply.
    async fn reply(&mut self) -> io::Result<String> {
        let mut limited = (&mut self.0).take(REPLY_BYTES_MAX);
        loop {
            let mut line = String::new();
            if limited.read_line(&mut line).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the session has ended"));
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                line.truncate(line.trim_end().len());
                return Ok(line);
            }
        }
    }

    /// The octets of the message; false when there are not as many as announced. A session that does not want them
    /// any more has said why.
    async fn send(&mut self, mut file: File, octets: u64) -> io::Result<bool> {
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
            (file, block, read) = spawn_blocking(work).await.map_err(io::Error::other)??;
            if read < wanted {
                return Ok(false);
            }
            if self.0.write_all(&block).await.is_err() {
                return Ok(true);
            }
            left -= read;
        }
        Ok(true)
    }
}

fn judged(reply: String) -> Outcome {
    if reply.starts_with('5') { Outcome::Bad(reply) } else { Outcome::Later(reply) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

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
