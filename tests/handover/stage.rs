//! The two ways in which a program of this host submits a message: a client of the local socket, and one that leaves files.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::{
        fs::{OpenOptionsExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use pillarbox::{
    clock::{Clock as _, SystemClock, Timestamp},
    queue::{
        dropped::{DIRECTORY_MODE, FILE_MODE, Head, new_name, temporary_name},
        id::QueueId,
    },
};

use crate::support::{
    daemon::{Home, within},
    gmail::Gmail,
    outage::{ask, tail},
};

/// Far more than anything here needs.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// A connection to the local socket.
#[derive(Debug)]
pub(super) struct Local {
    reader: BufReader<UnixStream>,
}

impl Local {
    /// Connects and reads the greeting, whatever it is.
    pub(super) fn connect(socket: &Path) -> io::Result<(Self, String)> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut local = Self { reader: BufReader::new(stream) };
        let greeting = local.reply()?;
        Ok((local, greeting))
    }

    /// One command, one reply, all its lines.
    pub(super) fn command(&mut self, line: &str) -> io::Result<String> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    pub(super) fn reply(&mut self) -> io::Result<String> {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            reply += &line;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(reply);
            }
        }
    }
}

/// Hands a message over through the local socket: the reply behind its last octet, or the first that is not a yes.
pub(super) fn hand_over(home: &Home, message: &Message) -> io::Result<String> {
    match say(home, message)? {
        Said::All(mut local) => local.reply(),
        Said::Refused(reply) => Ok(reply),
    }
}

/// The same by a caller who listens no more once it has said everything: what it keeps open until then.
pub(super) fn hand_over_deaf(home: &Home, message: &Message) -> io::Result<Local> {
    match say(home, message)? {
        Said::All(local) => Ok(local),
        Said::Refused(reply) => Err(io::Error::other(reply)),
    }
}

/// How far a caller came before the last reply.
enum Said {
    All(Local),
    Refused(String),
}

fn say(home: &Home, message: &Message) -> io::Result<Said> {
    let (mut local, greeting) = Local::connect(&home.submit_socket())?;
    if !greeting.starts_with("220") {
        return Ok(Said::Refused(greeting));
    }
    let head = message.head();
    let commands: Vec<String> = head.commands().collect();
    let (last, first) = commands.split_last().expect("BDAT is the last one");
    for command in first {
        let with_id = format!("{command} XQUEUEID={}", message.id);
        let reply = local.command(if command.starts_with("MAIL") { &with_id } else { command })?;
        if !reply.starts_with("250") {
            return Ok(Said::Refused(reply));
        }
    }
    local.send(format!("{last}\r\n").as_bytes())?;
    local.send(message.text.as_bytes())?;
    Ok(Said::All(local))
}

/// A message with the id that its sender has given it.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: QueueId,
    pub(super) recipient: String,
    pub(super) text: String,
}

impl Message {
    /// A short one.
    pub(super) fn to(recipient: &str) -> Self {
        Self::with_body(recipient, "It works.\r\n")
    }

    pub(super) fn with_body(recipient: &str, body: &str) -> Self {
        let id = proposed_at(SystemClock::new().wall());
        let text = format!("Message-ID: <{id}@here.example>\r\nSubject: local\r\n\r\n{body}");
        Self { id, recipient: recipient.to_owned(), text }
    }

    pub(super) fn head(&self) -> Head {
        Head {
            mail: format!("MAIL FROM:<me@example.org> SIZE={} BODY=8BITMIME", self.text.len()),
            recipients: vec![format!("RCPT TO:<{}>", self.recipient)],
            message_bytes: self.text.len() as u64,
        }
    }

    /// The whole file of the drop directory, for these recipients.
    pub(super) fn file_for(&self, recipients: &[&str]) -> Vec<u8> {
        let recipients = recipients.iter().map(|to| format!("RCPT TO:<{to}>")).collect();
        let head = Head { recipients, ..self.head() };
        [head.encode().expect("a sound head"), self.text.clone().into_bytes()].concat()
    }

    /// The whole file of the drop directory.
    pub(super) fn file(&self) -> Vec<u8> {
        [self.head().encode().expect("a sound head"), self.text.clone().into_bytes()].concat()
    }

    /// How many copies the upstream has.
    pub(super) fn copies(&self, gmail: &Gmail) -> usize {
        let id = format!("{}@here.example", self.id);
        let accepted = gmail.accepted();
        accepted
            .iter()
            .filter(|message| message.message_id.as_ref().is_some_and(|found| found.contains(&id)))
            .count()
    }
}

pub(super) fn proposed_at(time: Timestamp) -> QueueId {
    let mut random = [0; 6];
    random.fill_with(|| fastrand::u8(..));
    QueueId::proposed(time, random)
}

/// Lets a daemon make the drop directory, and kills it.
pub(super) fn make_directory(home: &Home) {
    let daemon = home.start();
    let mode = || {
        fs::metadata(home.drop_directory()).map_or(0, |found| found.permissions().mode() & 0o7777)
    };
    assert!(
        within(PATIENCE, || mode() == DIRECTORY_MODE),
        "mode {:o}\n{}",
        mode(),
        tail(&home.log())
    );
    daemon.kill();
}

/// Leaves a message in the drop directory, as a caller does.
pub(super) fn leave(home: &Home, message: &Message) {
    leave_as(home, &new_name(message.id), &message.file());
}

/// Leaves a file under any name.
pub(super) fn leave_as(home: &Home, name: &str, content: &[u8]) {
    let directory = home.drop_directory();
    let draft = directory.join(temporary_name(proposed_at(Timestamp(1))));
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&draft)
        .expect("a new file");
    file.write_all(content).expect("written");
    file.sync_all().expect("synced");
    fs::rename(draft, directory.join(name)).expect("renamed");
}

/// Names in the drop directory, sorted.
pub(super) fn left(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.drop_directory()).expect("the directory is there");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Waits for a condition, and shows the log when it does not come.
pub(super) fn wait(home: &Home, what: &str, condition: impl FnMut() -> bool) {
    assert!(
        within(PATIENCE, condition),
        "{what} did not happen; {:?}\n{}",
        left(home),
        tail(&home.log())
    );
}

/// The events of the log with this text.
pub(super) fn told(home: &Home, message: &str) -> Vec<serde_json::Value> {
    home.events().into_iter().filter(|event| event.to_string().contains(message)).collect()
}

/// Messages in the queue.
pub(super) fn queued(home: &Home) -> u64 {
    ask(home, &["status"])["queue"]["messages"].as_u64().expect("a number")
}
