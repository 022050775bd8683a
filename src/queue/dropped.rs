//! The format of the drop directory: what a program of this host leaves there while the daemon does not answer.
//!
//! ```text
//! PILLARBOX-DROP 1
//! EHLO localhost
//! MAIL FROM:<...> SIZE=n BODY=8BITMIME ...
//! RCPT TO:<...> ...                           once or more
//! BDAT n LAST
//! <n octets>
//! ```
//!
//! Lines end with CRLF: it is batch SMTP (RFC 2442), the very commands that go over the local socket, so both ways
//! are judged by one session. The name of the file is the id of the message. BDAT tells how long a whole file is.
//!
//! A file that goes to some of its recipients only is written anew by the daemon, before anybody gets it: then `OWNER=n`
//! stands behind the version, and those who come later stand behind a second MAIL with an id of their own.
//!
//! Rule: pure; a head is read or refused as a whole, and no line of it can hide a second command.
//! Must not know who may write there, or what becomes of a file.

use thiserror::Error;

use super::id::QueueId;

/// The mode of the directory: anybody may put a file there, nobody but the daemon may list them, nobody may remove or
/// rename somebody else's (sticky), and files belong to the daemon's group (setgid).
pub const DIRECTORY_MODE: u32 = 0o3733;
/// The mode of a file, whatever the umask of the caller: the daemon reads it through its group.
pub const FILE_MODE: u32 = 0o640;
/// Octets of a head: 1,000 recipients with the longest addresses, and notes about notifications, fit.
pub(crate) const HEAD_BYTES_MAX: usize = 1024 * 1024;
/// The first word of a file, and the version of the format that this program writes and reads.
const MARK: &str = "PILLARBOX-DROP ";
const VERSION: &str = "1";
/// Octets that a head which the daemon has written anew may have more: the owner, and MAIL once more.
const DIVIDED_BYTES_MAX: usize = 64 * 1024;
/// Octets that hold any head.
pub(crate) const ANY_HEAD_BYTES_MAX: usize = HEAD_BYTES_MAX + DIVIDED_BYTES_MAX;
/// What stands behind the version in a file that the daemon has written anew.
const OWNER: &str = " OWNER=";
/// The parameter of MAIL with the id of a message.
const ID: &str = "XQUEUEID=";
/// What the caller says in EHLO, over the socket as well.
pub(crate) const HELLO: &str = "EHLO localhost";

/// What a file's name says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// Its caller still writes it, or has died over that.
    Temporary(QueueId),
    /// It is whole, and waits for the daemon.
    New(QueueId),
    /// The daemon has set it aside for a person.
    Bad,
}

impl Name {
    /// Reads a name; `None` is a file that Pillarbox has not put there.
    #[must_use]
    pub(crate) fn read(name: &str) -> Option<Self> {
        // One spelling for each id: in another one it would be a second file of the same message.
        let id = |text: &str| text.parse().ok().filter(|id: &QueueId| id.to_string() == text);
        match name.split_once('.')? {
            ("tmp", rest) => id(rest).map(Self::Temporary),
            ("new", rest) => id(rest).map(Self::New),
            ("bad", _) => Some(Self::Bad),
            _ => None,
        }
    }
}

/// The name while the file is being written.
#[must_use]
pub fn temporary_name(id: QueueId) -> String {
    format!("tmp.{id}")
}

/// The name from the rename on.
#[must_use]
pub fn new_name(id: QueueId) -> String {
    format!("new.{id}")
}

/// The name under which a file is kept that cannot be used.
#[must_use]
pub(crate) fn bad_name(name: &str) -> String {
    format!("bad.{name}")
}

/// What stands before the octets of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `MAIL FROM:<...>` with its parameters, without CRLF.
    pub mail: String,
    /// `RCPT TO:<...>` with its parameters, without CRLF; at least one.
    pub recipients: Vec<String>,
    /// Octets of the message.
    pub message_bytes: u64,
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeadError {
    /// Somebody else's file.
    #[error("it does not begin with \"{MARK}{VERSION}\"")]
    Foreign,
    /// Written by a newer program.
    #[error("it is of version {0:?} of the format, and this program knows version {VERSION} only")]
    Version(String),
    /// No BDAT where the head must have ended.
    #[error("it ends, or goes on for too long, before its BDAT line")]
    Endless,
    /// The commands are not EHLO, MAIL, RCPT ..., BDAT.
    #[error("its line {0} is not the command that must stand there")]
    Command(usize),
    /// The message is shorter or longer than announced.
    #[error("it has {found} octets behind its head and should have {announced}")]
    Torn {
        /// What BDAT says.
        announced: u64,
        /// What is there.
        found: u64,
    },
}

impl Head {
    /// The commands in their order, without CRLF: for the socket, and for whoever plays a file to a session.
    pub fn commands(&self) -> impl Iterator<Item = String> + '_ {
        let first = [HELLO.to_owned(), self.mail.clone()].into_iter();
        let last = std::iter::once(format!("BDAT {} LAST", self.message_bytes));
        first.chain(self.recipients.iter().cloned()).chain(last)
    }

    /// The bytes at the beginning of a file.
    ///
    /// # Errors
    /// What would not be read again.
    pub fn encode(&self) -> Result<Vec<u8>, HeadError> {
        Contents { head: self.clone(), rest: None, owner: None }.encode()
    }

    /// Reads the head from the first octets of a file, [`HEAD_BYTES_MAX`] of them or all. Returns with it where the
    /// message begins. For files that a caller has written.
    pub fn read(bytes: &[u8]) -> Result<(Self, usize), HeadError> {
        match Contents::read(bytes)? {
            (Contents { head, rest: None, owner: None }, message_at) => Ok((head, message_at)),
            _ => Err(HeadError::Foreign),
        }
    }

    /// Whether a file of `file_bytes`, whose message begins at `message_at`, is whole.
    pub(crate) fn check_length(&self, message_at: usize, file_bytes: u64) -> Result<(), HeadError> {
        let found = file_bytes.saturating_sub(message_at as u64);
        let announced = self.message_bytes;
        if found == announced { Ok(()) } else { Err(HeadError::Torn { announced, found }) }
    }
}

/// A head, and what the daemon has added when it wrote the file anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Who gets the message under the id of the file.
    pub head: Head,
    /// Who gets it after them.
    pub rest: Option<Rest>,
    /// Whose file it was before; to be believed of the daemon only.
    pub owner: Option<u32>,
}

/// Recipients who get the message under an id of its own, when the others have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The id.
    pub id: QueueId,
    /// Their RCPT lines; at least one.
    pub recipients: Vec<String>,
}

impl Contents {
    /// The bytes at the beginning of a file.
    ///
    /// # Errors
    /// What would not be read again.
    pub fn encode(&self) -> Result<Vec<u8>, HeadError> {
        let owner = self.owner.map_or_else(String::new, |owner| format!("{OWNER}{owner}"));
        let mut text = format!("{MARK}{VERSION}{owner}\r\n");
        let mut commands: Vec<String> = self.head.commands().collect();
        if let Some(Rest { id, recipients }) = &self.rest {
            let last = commands.len() - 1;
            let mail = format!("{} {ID}{id}", self.head.mail);
            commands.splice(last..last, [mail].into_iter().chain(recipients.iter().cloned()));
        }
        for command in commands {
            text += &command;
            text += "\r\n";
        }
        match Self::read(text.as_bytes())? {
            (read, length) if read == *self && length == text.len() => Ok(text.into_bytes()),
            _ => Err(HeadError::Command(1)),
        }
    }

    /// Reads the first octets of a file, [`ANY_HEAD_BYTES_MAX`] of them or all. Returns with them where the message
    /// begins.
    pub fn read(bytes: &[u8]) -> Result<(Self, usize), HeadError> {
        let mut lines =
            Lines { bytes: &bytes[..bytes.len().min(ANY_HEAD_BYTES_MAX)], at: 0, number: 0 };
        let owner = owner_of(lines.next().map_err(|_| HeadError::Foreign)?)?;
        if owner.is_none() {
            lines.bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        }
        if lines.next()? != HELLO {
            return Err(HeadError::Command(lines.number));
        }
        let mail = lines.next()?;
        if !begins_with(mail, "MAIL FROM:") {
            return Err(HeadError::Command(lines.number));
        }
        let (recipients, mut line) = lines.recipients()?;
        let mut rest = None;
        let id = line.strip_prefix(mail).and_then(|behind| behind.trim_start().strip_prefix(ID));
        if let Some(id) = id.filter(|_| owner.is_some()) {
            let id = id.parse().map_err(|_| HeadError::Command(lines.number))?;
            let (others, last) = lines.recipients()?;
            rest = Some(Rest { id, recipients: others });
            line = last;
        }
        let size = line.strip_prefix("BDAT ").and_then(|size| size.strip_suffix(" LAST"));
        let size = size.filter(|size| size.bytes().all(|octet| octet.is_ascii_digit()));
        let Some(message_bytes) = size.and_then(|size| size.parse().ok()) else {
            return Err(HeadError::Command(lines.number));
        };
        let head = Head { mail: mail.to_owned(), recipients, message_bytes };
        Ok((Self { head, rest, owner }, lines.at))
    }
}

/// What the first line says about the owner, once it is of our format.
fn owner_of(first: &str) -> Result<Option<u32>, HeadError> {
    let version = first.strip_prefix(MARK).ok_or(HeadError::Foreign)?;
    let unknown = || HeadError::Version(version.chars().take(16).collect());
    match version.strip_prefix(VERSION) {
        Some("") => Ok(None),
        Some(behind) => {
            let owner = behind.strip_prefix(OWNER).and_then(|owner| owner.parse().ok());
            owner.map(Some).ok_or_else(unknown)
        }
        None => Err(unknown()),
    }
}

fn begins_with(line: &str, command: &str) -> bool {
    line.get(..command.len()).is_some_and(|word| word.eq_ignore_ascii_case(command))
}

/// The lines of a head.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Of the line that was read last, counted from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    /// The RCPT lines that follow, at least one, and the line behind them.
    fn recipients(&mut self) -> Result<(Vec<String>, &'a str), HeadError> {
        let mut recipients = Vec::new();
        loop {
            let line = self.next()?;
            if begins_with(line, "RCPT TO:") {
                recipients.push(line.to_owned());
            } else if recipients.is_empty() {
                return Err(HeadError::Command(self.number));
            } else {
                return Ok((recipients, line));
            }
        }
    }

    /// The next one. A session may take a bare CR or LF, or a NUL, for more than a character of the line.
    fn next(&mut self) -> Result<&'a str, HeadError> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(HeadError::Endless)?;
        self.at += end + 2;
        self.number += 1;
        let line = str::from_utf8(&rest[..end]).ok();
        line.filter(|line| !line.contains(['\r', '\n', '\0']))
            .ok_or(HeadError::Command(self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, queue::id::RANDOM_LENGTH};

    fn head() -> Head {
        Head {
            mail: "MAIL FROM:<root@web01> SIZE=5 BODY=8BITMIME".into(),
            recipients: vec![
                "RCPT TO:<root>".into(),
                "RCPT TO:<täglich@example.org> NOTIFY=NEVER".into(),
            ],
            message_bytes: 5,
        }
    }

    #[test]
    fn a_head_reads_back_and_tells_where_the_message_begins() {
        let mut file = head().encode().unwrap();
        let text = "PILLARBOX-DROP 1\r\nEHLO localhost\r\nMAIL FROM:<root@web01> SIZE=5 BODY=8BITMIME\r\n\
                    RCPT TO:<root>\r\nRCPT TO:<täglich@example.org> NOTIFY=NEVER\r\nBDAT 5 LAST\r\n";
        assert_eq!(String::from_utf8(file.clone()).unwrap(), text);
        file.extend_from_slice(b"a\r\nb\n");
        let (read, message_at) = Head::read(&file).unwrap();
        assert_eq!((&read, &file[message_at..]), (&head(), &b"a\r\nb\n"[..]));
        assert_eq!(read.check_length(message_at, file.len() as u64), Ok(()));
        let torn = HeadError::Torn { announced: 5, found: 4 };
        assert_eq!(read.check_length(message_at, file.len() as u64 - 1), Err(torn));
    }

    #[test]
    fn what_is_no_head_is_refused_with_the_line() {
        let rest = "EHLO localhost\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 0 LAST\r\n";
        let read = |text: &str| Head::read(text.as_bytes()).map(|_| ()).unwrap_err();
        assert_eq!(read(""), HeadError::Foreign);
        assert_eq!(read(rest), HeadError::Foreign);
        assert_eq!(read(&format!("PILLARBOX-DROP 2\r\n{rest}")), HeadError::Version("2".into()));
        for (wrong, line) in [
            (rest.replace("localhost", "x"), 2),
            (rest.replace("EHLO localhost\r\n", ""), 2),
            (rest.replace("MAIL FROM:", "MAIL"), 3),
            (rest.replace("MAIL FROM:<a@b>\r\n", "DATA\r\n"), 3),
            (rest.replace("<a@b>", "<a@b>\nDATA"), 3),
            (rest.replace("<a@b>", "<a@b>\0"), 3),
            (rest.replace("RCPT TO:<c@d>\r\n", ""), 4),
            (rest.replace("BDAT 0 LAST", "BDAT 0"), 5),
            (rest.replace("BDAT 0 LAST", "BDAT +1 LAST"), 5),
            (rest.replace("BDAT 0 LAST", "BDAT 99999999999999999999 LAST"), 5),
            (rest.replace("BDAT 0 LAST", "QUIT"), 5),
        ] {
            assert_eq!(
                read(&format!("PILLARBOX-DROP 1\r\n{wrong}")),
                HeadError::Command(line),
                "{wrong}"
            );
        }
        assert_eq!(read("PILLARBOX-DROP 1\r\nEHLO localhost\r\nMAIL FR"), HeadError::Endless);
        let endless = "RCPT TO:<a@b.example>\r\n".repeat(HEAD_BYTES_MAX / 20);
        let many = format!(
            "PILLARBOX-DROP 1\r\nEHLO localhost\r\nMAIL FROM:<>\r\n{endless}BDAT 0 LAST\r\n"
        );
        assert_eq!(read(&many), HeadError::Endless);
    }

    #[test]
    fn a_head_with_a_hidden_command_is_not_written() {
        for (mail, recipient) in
            [("MAIL FROM:<>\r\nRCPT TO:<x@y>", "RCPT TO:<a@b>"), ("MAIL FROM:<>", "QUIT")]
        {
            let head =
                Head { mail: mail.into(), recipients: vec![recipient.into()], message_bytes: 0 };
            assert!(head.encode().is_err(), "{head:?}");
        }
        assert!(Head { recipients: Vec::new(), ..head() }.encode().is_err());
    }

    #[test]
    fn a_file_that_the_daemon_has_divided_reads_back_and_a_caller_cannot_write_one() {
        let id = QueueId::proposed(Timestamp(1_800_000_000_000), [7; RANDOM_LENGTH]);
        let rest = Rest { id, recipients: vec!["RCPT TO:<c@d>".into(), "RCPT TO:<e@f>".into()] };
        let divided = Contents { head: head(), rest: Some(rest), owner: Some(1_000) };
        let bytes = divided.encode().unwrap();
        assert!(bytes.starts_with(b"PILLARBOX-DROP 1 OWNER=1000\r\n"));
        assert_eq!(Contents::read(&bytes).unwrap(), (divided.clone(), bytes.len()));
        assert_eq!(Head::read(&bytes), Err(HeadError::Foreign));
        let alone = Contents { rest: None, ..divided.clone() };
        assert_eq!(Contents::read(&alone.encode().unwrap()).unwrap().0, alone);
        // Without an owner a second MAIL is not a command that may stand there.
        assert!(Contents { owner: None, ..divided }.encode().is_err());
        let odd = b"PILLARBOX-DROP 1 OWNER=x\r\n";
        assert_eq!(Contents::read(odd), Err(HeadError::Version("1 OWNER=x".into())));
    }

    #[test]
    fn names_read_back_in_one_spelling_only() {
        let id = QueueId::proposed(Timestamp(1_800_000_000_000), [7; RANDOM_LENGTH]);
        assert_eq!(Name::read(&temporary_name(id)), Some(Name::Temporary(id)));
        assert_eq!(Name::read(&new_name(id)), Some(Name::New(id)));
        assert_eq!(Name::read(&bad_name(&new_name(id))), Some(Name::Bad));
        for foreign in [
            "",
            "new",
            "new.",
            "new.x",
            &format!("new.{}", id.to_string().to_uppercase()),
            "README.md",
        ] {
            assert_eq!(Name::read(foreign), None, "{foreign}");
        }
    }
}
