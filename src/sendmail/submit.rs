//! The ways to where a message is safe: the daemon's socket, the drop directory, or a relay elsewhere.
//!
//! Rule: the way that was named is the only one, so that mail for a sandbox never reaches a daemon; otherwise the socket
//! comes first, and whatever goes wrong there for now ends in the drop directory under the same queue id, by which the
//! daemon knows it when it has it already. Every wait has a limit, and a file gets its name when it is whole and on the disk.

use std::{
    collections::VecDeque,
    fmt,
    fs::File,
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, fchmod, flock, fsync, openat, renameat, unlinkat},
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use super::{
    configured::{Configured, Environment},
    message::Message,
    transaction::{MailParameters, Recipient, Transaction},
};
use crate::{
    clock::{Clock as _, Stopwatch, SystemClock},
    exit::{Exit, Failure},
    queue::{
        dropped::{FILE_MODE, new_name, temporary_name},
        id::{QueueId, RANDOM_LENGTH},
    },
    smtp::{
        address::Address,
        client::{
            capabilities::Capabilities,
            reply::{Reply, ReplyBuffer},
            stuffing::DotStuffer,
        },
        host_name::is_host_name,
    },
};

/// Where mail may be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ways {
    /// Where to connect to.
    pub(crate) target: Target,
    /// Where a file may be left.
    pub(crate) drop_directory: Option<PathBuf>,
    /// Recipients of one transaction.
    pub(crate) recipients_max: usize,
    /// What we call ourselves to a relay elsewhere.
    pub(crate) own_name: String,
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The daemon's socket.
    Socket(PathBuf),
    /// `HOST:PORT` of a relay elsewhere.
    Relay(String),
    /// Nowhere: no socket is configured.
    Nowhere,
}

/// What became of a message.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// One line for each place where it is safe.
    pub(crate) safe: Vec<String>,
    /// The queue id, when there is one.
    pub(crate) id: Option<QueueId>,
    /// Who does not get it.
    pub(crate) refused: Vec<(Address, Reply)>,
}

impl Ways {
    /// Where `--host` and PILLARBOX_SUBMIT say, else where the configuration says.
    #[must_use]
    pub(crate) fn new(
        destination: Option<&str>,
        environment: &Environment,
        configured: &Configured,
        host: &str,
    ) -> Self {
        let named = destination.or_else(|| environment.get("PILLARBOX_SUBMIT"));
        let target = match (named, &configured.socket) {
            (Some(path), _) if path.starts_with('/') || path.starts_with('.') => {
                Target::Socket(path.into())
            }
            (Some(relay), _) => Target::Relay(relay.into()),
            (None, Some(socket)) => Target::Socket(socket.clone()),
            (None, None) => Target::Nowhere,
        };
        // Who names a socket without naming a directory means that daemon and no other.
        let may_drop = match &target {
            Target::Relay(_) => false,
            Target::Socket(_) if named.is_some() => {
                environment.get("PILLARBOX__SENDMAIL__DROP_DIRECTORY").is_some()
            }
            Target::Socket(_) | Target::Nowhere => true,
        };
        let own_name = if is_host_name(host) { host } else { "localhost" };
        Self {
            target,
            drop_directory: configured.drop_directory.clone().filter(|_| may_drop),
            recipients_max: configured.max_recipients,
            own_name: own_name.to_owned(),
        }
    }

    /// Whether the message leaves this host, or its container, so that a bare name needs a host.
    #[must_use]
    pub(crate) fn lead_away(&self) -> bool {
        matches!(self.target, Target::Relay(_))
    }
}

/// Hands the message over, in as many transactions as its recipients need.
pub(crate) fn submit(
    ways: &Ways,
    parameters: &MailParameters,
    recipients: Vec<Recipient>,
    message: &mut Message,
) -> Result<Report, Failure> {
    if let Target::Relay(relay) = &ways.target
        && !relay
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    {
        let words = format!(
            "\"{relay}\" is not a place to submit to: write HOST:PORT or the path of a socket in --host \
                             or PILLARBOX_SUBMIT"
        );
        return Err(Failure::new(Exit::Configuration, words));
    }
    let mut bearer = Bearer { ways, submission: None, out_of_reach: None };
    let mut waiting: VecDeque<Recipient> = recipients.into();
    let mut report = Report::default();
    while !waiting.is_empty() {
        let count = waiting.len().min(ways.recipients_max);
        let group = waiting.drain(..count).collect();
        let transaction = Transaction {
            id: new_id()?,
            user_id: rustix::process::getuid().as_raw(),
            parameters,
            recipients: group,
            size_bytes: message.length(),
            eight_bit: message.eight_bit,
        };
        let result = bearer.carry(transaction, message, &mut report);
        waiting.extend(result.map_err(|trouble| after_others(trouble, &report))?);
    }
    if let Some(submission) = bearer.submission {
        submission.close();
    }
    Ok(report)
}

/// A caller that tries again sends it twice to those who have it: he should know.
fn after_others(trouble: Failure, report: &Report) -> Failure {
    if report.safe.is_empty() {
        return trouble;
    }
    Failure::new(trouble.exit, format!("{trouble}; other recipients get the message"))
}

/// The time, and what nobody can guess: who knows the id of a message could make the daemon take his for it.
fn new_id() -> Result<QueueId, Failure> {
    let mut random = [0; RANDOM_LENGTH];
    let count = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    if count != Ok(RANDOM_LENGTH) {
        return Err(Failure::new(Exit::Temporary, "the kernel gives no random numbers"));
    }
    Ok(QueueId::proposed(SystemClock::new().wall(), random))
}

struct Bearer<'a> {
    ways: &'a Ways,
    submission: Option<Submission>,
    /// Why there is no connection, and will be none in this call.
    out_of_reach: Option<String>,
}

impl Bearer<'_> {
    /// Hands over one transaction; returns who needs another one.
    fn carry(
        &mut self,
        mut transaction: Transaction<'_>,
        message: &mut Message,
        report: &mut Report,
    ) -> Result<Vec<Recipient>, Failure> {
        let mut others = Vec::new();
        let reason = match self.submit(&transaction, message) {
            Ok(Outcome { taken: Some(answer), refused, later, .. }) => {
                let shown = match self.ways.target {
                    Target::Relay(_) => answer.to_string(),
                    Target::Socket(_) | Target::Nowhere => format!("queued as {}", transaction.id),
                };
                report.safe.push(shown);
                report.id.get_or_insert(transaction.id);
                report.refused.extend(refused);
                return Ok(later);
            }
            Ok(Outcome { failed: Some(failure), accepted, refused, later, .. }) => {
                let reason = self.after(failure)?;
                // The daemon may have the message under this id for those whom it accepted, and for nobody else.
                (transaction.recipients, others) = (accepted, later);
                report.refused.extend(refused);
                reason
            }
            Ok(Outcome { refused, later, .. }) => {
                report.refused.extend(refused);
                if later.is_empty() {
                    return Ok(later);
                }
                transaction.recipients = later;
                "no recipient is taken just now".to_owned()
            }
            Err(failure) => self.after(failure)?,
        };
        self.leave(&transaction, message, &reason)?;
        report.safe.push(format!("left for the daemon as {}", transaction.id));
        report.id.get_or_insert(transaction.id);
        Ok(others)
    }

    /// Why it may work another way, when it may.
    fn after(&mut self, failure: NotTaken) -> Result<String, Failure> {
        match failure {
            NotTaken::Refused(answer) if !answer.is_temporary() => {
                Err(refused(&answer, "the relay refuses the message"))
            }
            NotTaken::Refused(answer) => Ok(answer.to_string()),
            NotTaken::Lost(reason) => {
                self.submission = None;
                self.out_of_reach = Some(reason.clone());
                Ok(reason)
            }
        }
    }

    fn submit(
        &mut self,
        transaction: &Transaction<'_>,
        message: &mut Message,
    ) -> Result<Outcome, NotTaken> {
        if let Some(reason) = &self.out_of_reach {
            return Err(NotTaken::Lost(reason.clone()));
        }
        let mut submission = match self.submission.take() {
            Some(submission) => submission,
            None => self.connect()?,
        };
        let outcome = submission.submit(transaction, message);
        self.submission = Some(submission);
        outcome
    }

    fn connect(&self) -> Result<Submission, NotTaken> {
        let (connection, peer) = match &self.ways.target {
            Target::Socket(path) => (Connection::local(path), Peer::Daemon),
            Target::Relay(relay) => (Connection::remote(relay), Peer::Relay),
            Target::Nowhere => return Err(NotTaken::Lost("no socket is configured".into())),
        };
        let own_name = if peer == Peer::Daemon { "localhost" } else { &self.ways.own_name };
        Submission::open(connection?, peer, own_name)
    }

    fn leave(
        &self,
        transaction: &Transaction<'_>,
        message: &mut Message,
        reason: &str,
    ) -> Result<(), Failure> {
        let target = &self.ways.target;
        let Some(directory) = &self.ways.drop_directory else {
            let words =
                format!("cannot hand the message over to {target} ({reason}); try again later");
            return Err(Failure::new(Exit::Temporary, words));
        };
        leave(directory, transaction, message).map_err(|error| {
            let directory = directory.display();
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "; is Pillarbox installed on this host?",
                _ => "",
            };
            let words = format!(
                "cannot hand the message over: {target} does not take it ({reason}), and nothing can be left in \
                 {directory} ({error}){hint}"
            );
            Failure::new(Exit::Temporary, words)
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(formatter, "the socket {}", path.display()),
            Self::Relay(relay) => write!(formatter, "the relay {relay}"),
            Self::Nowhere => formatter.write_str("the daemon"),
        }
    }
}

/// How long a relay elsewhere may take for a reply; the daemon's socket is quicker or broken.
const ANSWER: Duration = Duration::from_secs(60);
const LOCAL_ANSWER: Duration = Duration::from_secs(10);
/// How long the reply to the message may take: it is synced to a disk meanwhile.
const FINAL_ANSWER: Duration = Duration::from_secs(5 * 60);
const LOCAL_FINAL_ANSWER: Duration = Duration::from_secs(30);
/// Commands that are sent before their replies are read: what both can hold in their buffers.
const PIPELINE: usize = 50;

/// Whom we talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Our daemon, behind its own socket.
    Daemon,
    /// A relay elsewhere.
    Relay,
}

/// An SMTP session.
#[derive(Debug)]
pub(crate) struct Submission {
    connection: Connection,
    peer: Peer,
    offer: Capabilities,
}

/// Why a transaction came to nothing.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// No connection, or one that was lost, with what is known about it.
    Lost(String),
    /// The message was refused, for good or for now.
    Refused(Reply),
}

impl From<io::Error> for NotTaken {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

/// What a transaction came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The reply to the message, when somebody gets it.
    pub(crate) taken: Option<Reply>,
    /// Why the message came to nothing, or to nobody knows what, after recipients had been accepted.
    pub(crate) failed: Option<NotTaken>,
    /// Who was accepted.
    pub(crate) accepted: Vec<Recipient>,
    /// Who does not, and why.
    pub(crate) refused: Vec<(Address, Reply)>,
    /// Whom the server takes later, or in another transaction.
    pub(crate) later: Vec<Recipient>,
}

impl Submission {
    /// Greets.
    pub(crate) fn open(
        mut connection: Connection,
        peer: Peer,
        own_name: &str,
    ) -> Result<Self, NotTaken> {
        let (greeting_within, within) = match peer {
            Peer::Daemon => (LOCAL_CONNECT, LOCAL_ANSWER),
            Peer::Relay => (ANSWER, ANSWER),
        };
        positive(connection.answer(greeting_within)?)?;
        connection.send(format!("EHLO {own_name}\r\n").as_bytes())?;
        let answer = connection.answer(within)?;
        let offer = if answer.is_positive() {
            Capabilities::of(&answer)
        } else {
            // A server from before 1995, or a device.
            connection.send(format!("HELO {own_name}\r\n").as_bytes())?;
            positive(connection.answer(within)?)?;
            Capabilities::default()
        };
        Ok(Self { connection, peer, offer })
    }

    /// One transaction.
    pub(crate) fn submit(
        &mut self,
        transaction: &Transaction<'_>,
        message: &mut Message,
    ) -> Result<Outcome, NotTaken> {
        if transaction.is_internationalized() && !self.offer.internationalized {
            let words = "553 5.6.7 the relay does not offer SMTPUTF8, which the addresses need";
            return Err(
                Reply::of(words).map_or_else(|| NotTaken::Lost(words.into()), NotTaken::Refused)
            );
        }
        let mut commands = vec![match self.peer {
            Peer::Daemon => transaction.mail_with_id(self.offer),
            Peer::Relay => transaction.mail(self.offer),
        }];
        commands.extend(transaction.recipients(self.offer));
        let mut answers = self.ask(&commands)?.into_iter();
        if let Some(answer) = answers.next().filter(|answer| !answer.is_positive()) {
            return Err(NotTaken::Refused(answer));
        }
        let mut outcome = Outcome::default();
        for (recipient, answer) in transaction.recipients.iter().zip(answers) {
            if answer.is_positive() {
                outcome.accepted.push(recipient.clone());
            } else if answer.is_temporary() {
                outcome.later.push(recipient.clone());
            } else {
                outcome.refused.push((recipient.address.clone(), answer));
            }
        }
        if let Some((_, answer)) =
            outcome.refused.first().filter(|_| transaction.parameters.all_or_none)
        {
            let refusal = NotTaken::Refused(answer.clone());
            self.ask(&["RSET".to_owned()])?;
            return Err(refusal);
        }
        if outcome.accepted.is_empty() {
            self.ask(&["RSET".to_owned()])?;
            return Ok(outcome);
        }
        match self.transfer(transaction, message) {
            Ok(answer) => outcome.taken = Some(answer),
            Err(failure) => outcome.failed = Some(failure),
        }
        Ok(outcome)
    }

    /// Sends commands and reads a reply for each.
    fn ask(&mut self, commands: &[String]) -> Result<Vec<Reply>, NotTaken> {
        let within = if self.peer == Peer::Daemon { LOCAL_ANSWER } else { ANSWER };
        let mut answers = Vec::with_capacity(commands.len());
        for group in commands.chunks(if self.offer.pipelining { PIPELINE } else { 1 }) {
            let lines: String =
                group.iter().flat_map(|command| [command.as_str(), "\r\n"]).collect();
            self.connection.send(lines.as_bytes())?;
            for _ in group {
                answers.push(self.connection.answer(within)?);
            }
        }
        Ok(answers)
    }

    /// The message itself.
    fn transfer(
        &mut self,
        transaction: &Transaction<'_>,
        message: &mut Message,
    ) -> Result<Reply, NotTaken> {
        let sent = if self.offer.chunking {
            let first = format!("BDAT {} LAST\r\n", transaction.size_bytes);
            let connection = &mut self.connection;
            connection
                .send(first.as_bytes())
                .and_then(|()| message.replay(|block| connection.send(block)))
        } else {
            let answer = self.ask(&["DATA".to_owned()])?.pop();
            if let Some(answer) = answer.filter(|answer| answer.code != 354) {
                return Err(NotTaken::Refused(answer));
            }
            self.send_with_dots(message)
        };
        let within = if self.peer == Peer::Daemon { LOCAL_FINAL_ANSWER } else { FINAL_ANSWER };
        let answer = match (self.connection.answer(within), sent) {
            (Ok(answer), _) => answer,
            // Why the write failed says more than that no reply came.
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error.into()),
        };
        positive(answer)
    }

    /// DATA: a dot at the beginning of a line is doubled (RFC 5321 section 4.5.2).
    fn send_with_dots(&mut self, message: &mut Message) -> io::Result<()> {
        let mut stuffer = DotStuffer::default();
        let connection = &mut self.connection;
        message.replay(|block| {
            let mut stuffed = Vec::with_capacity(block.len() + block.len() / 64);
            stuffer.push(block, &mut stuffed);
            connection.send(&stuffed)
        })?;
        self.connection.send(stuffer.end())
    }

    /// Says goodbye. Nobody waits for the answer.
    pub(crate) fn close(mut self) {
        drop(self.connection.send(b"QUIT\r\n"));
    }
}

fn positive(answer: Reply) -> Result<Reply, NotTaken> {
    if answer.is_positive() { Ok(answer) } else { Err(NotTaken::Refused(answer)) }
}

/// How long the daemon's socket may take to let us in, and to greet; then the mail is left in a file.
pub(crate) const LOCAL_CONNECT: Duration = Duration::from_secs(2);
/// How long one address of a relay elsewhere may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Addresses of a relay that are tried.
const ADDRESSES_MAX: usize = 8;
/// How long one write may take.
const WRITE: Duration = Duration::from_secs(60);
/// How long a connection may be used in all.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    buffer: ReplyBuffer,
    age: Stopwatch,
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Connection {
    /// To a Unix socket.
    pub(crate) fn local(path: &Path) -> io::Result<Self> {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // A full backlog makes connect wait: for as long as a write may take.
        set_socket_timeout(&socket, Timeout::Send, Some(LOCAL_CONNECT))?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        let stream = UnixStream::from(socket);
        stream.set_write_timeout(Some(WRITE))?;
        Ok(Self::new(Stream::Unix(stream)))
    }

    /// To `HOST:PORT`. Names are resolved by the system.
    pub(crate) fn remote(host_and_port: &str) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in host_and_port.to_socket_addrs()?.take(ADDRESSES_MAX) {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_write_timeout(Some(WRITE))?;
                    return Ok(Self::new(Stream::Tcp(stream)));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn new(stream: Stream) -> Self {
        Self { stream, buffer: ReplyBuffer::default(), age: Stopwatch::start() }
    }

    /// Writes all of it.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.age.elapsed() > LIFETIME {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match &mut self.stream {
            Stream::Unix(stream) => stream.write_all(bytes),
            Stream::Tcp(stream) => stream.write_all(bytes),
        }
    }

    /// Reads a reply; `limit` is for all of its lines.
    pub(crate) fn answer(&mut self, limit: Duration) -> io::Result<Reply> {
        let watch = Stopwatch::start();
        loop {
            match self.buffer.reply() {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(error) => {
                    return Err(io::Error::other(format!("it does not speak SMTP: {error}")));
                }
            }
            let rest = limit.saturating_sub(watch.elapsed());
            if rest.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
            self.receive(rest)?;
        }
    }

    fn receive(&mut self, limit: Duration) -> io::Result<()> {
        let block = self.buffer.space();
        let read = match &mut self.stream {
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(limit)).and_then(|()| stream.read(block))
            }
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(limit)).and_then(|()| stream.read(block))
            }
        };
        match read {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")),
            Ok(count) => {
                self.buffer.received(count);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
            }
            Err(error) => Err(error),
        }
    }
}

/// Writes the message, and returns when it is safe.
pub(crate) fn leave(
    directory: &Path,
    transaction: &Transaction<'_>,
    message: &mut Message,
) -> io::Result<()> {
    let head = transaction.head().encode().map_err(io::Error::other)?;
    // The directory may not be listed, so it is opened by its path alone.
    let place = openat(
        rustix::fs::CWD,
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let (temporary, new) = (temporary_name(transaction.id), new_name(transaction.id));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    let mode = Mode::from_raw_mode(FILE_MODE);
    let mut file = File::from(openat(&place, &temporary, flags, mode)?);
    // Says that this program lives, whatever a clock makes of the age of the file. Where there are no locks, the age is all
    // there is.
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok();
    let written = (|| {
        // Whatever the umask says: the daemon reads it through its group.
        fchmod(&file, mode)?;
        file.write_all(&head)?;
        message.replay(|block| file.write_all(block))?;
        fsync(&file)?;
        renameat(&place, &temporary, &place, &new)?;
        Ok(())
    })();
    if let Err(error) = written {
        // A file that stays all the same is removed by the daemon after a day.
        unlinkat(&place, &temporary, AtFlags::empty()).ok();
        return Err(error);
    }
    // Once more: that makes the new name durable on ext4, XFS and btrfs, where the caller may not sync the directory.
    if let Err(error) = fsync(&file) {
        // What cannot be promised is taken back, unless the daemon has it already.
        return unlinkat(&place, &new, AtFlags::empty()).map_or(Ok(()), |()| Err(error.into()));
    }
    Ok(())
}

/// What a final refusal of the relay means for the caller.
#[must_use]
pub(crate) fn refused(answer: &Reply, what: &str) -> Failure {
    Failure::new(exit_of(answer), format!("{what}: {answer}"))
}

/// The enhanced code (RFC 3463) says more than the three digits, where there is one.
fn exit_of(answer: &Reply) -> Exit {
    let (subject, detail) = answer.enhanced().unwrap_or_default();
    match (subject, detail, answer.code) {
        _ if answer.is_temporary() => Exit::Temporary,
        // Bad addresses; 5.1.7 and 5.1.8 are about the sender.
        (1, 7 | 8, _) => Exit::Data,
        (1, ..) => Exit::NoUser,
        (3, 4, _) | (6, ..) | (2, 3, _) | (4, 6, _) => Exit::Data,
        (7, ..) => Exit::Permission,
        (_, _, 552 | 554) => Exit::Data,
        (_, _, 530 | 535 | 538) => Exit::Permission,
        (0, _, 550 | 551 | 553) => Exit::NoUser,
        _ => Exit::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sendmail::configured::Source;

    fn ways(destination: Option<&str>, variables: &[(&str, &str)]) -> Ways {
        let environment = Environment::of(variables);
        let configured = Source::read(Some(Path::new("/nonexistent")), &environment).configured();
        Ways::new(destination, &environment, &configured, "host")
    }

    #[test]
    fn the_way_that_is_named_is_the_only_one() {
        let usual = ways(None, &[]);
        assert_eq!(usual.target, Target::Socket("/run/pillarbox/submit.sock".into()));
        assert_eq!(usual.drop_directory, Some("/var/spool/pillarbox".into()));
        let named = ways(None, &[("PILLARBOX_SUBMIT", "/tmp/s")]);
        assert_eq!((named.target, named.drop_directory), (Target::Socket("/tmp/s".into()), None));
        let both =
            [("PILLARBOX_SUBMIT", "/tmp/s"), ("PILLARBOX__SENDMAIL__DROP_DIRECTORY", "/tmp/d")];
        assert_eq!(ways(None, &both).drop_directory, Some("/tmp/d".into()));
        let relay = ways(Some("relay:25"), &both);
        assert_eq!((relay.target, relay.drop_directory), (Target::Relay("relay:25".into()), None));
    }

    #[test]
    fn two_ids_are_never_the_same() {
        assert_ne!(new_id().unwrap(), new_id().unwrap());
    }

    #[test]
    fn every_refusal_has_its_code() {
        for (line, exit) in [
            ("552 5.3.4 too large", Exit::Data),
            ("554 5.4.6 loop", Exit::Data),
            ("554 no", Exit::Data),
            ("550 5.1.3 nobody reads mail to this host", Exit::NoUser),
            ("550 no such user", Exit::NoUser),
            ("553 5.1.3 bad address", Exit::NoUser),
            ("553 5.1.7 bad sender", Exit::Data),
            ("550 5.7.1 relaying denied", Exit::Permission),
            ("530 5.7.0 log in first", Exit::Permission),
            ("530 log in first", Exit::Permission),
            ("501 5.5.4 bad parameter", Exit::Unavailable),
            ("451 4.3.0 later", Exit::Temporary),
        ] {
            let answer = Reply::of(line).unwrap();
            assert_eq!(refused(&answer, "x").exit, exit, "{line}");
        }
    }
}
