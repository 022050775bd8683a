//! Clients that submit mail without pause, through kills and refusals, and remember what was promised.
//!
//! Rule: a message counts as acknowledged only when its 250 was read to the end of the line; whatever
//! happens before that may or may not have been stored. Must not know what becomes of a message.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use fastrand::Rng;

/// How the clients behave.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Clients at a time.
    pub(crate) clients: usize,
    /// Milliseconds between two messages of one client.
    pub(crate) pause_ms: Range<u64>,
    /// Octets of a message, about.
    pub(crate) size: Range<usize>,
    /// Recipients of a message.
    pub(crate) recipients: Range<usize>,
    /// Messages on one connection.
    pub(crate) per_connection: usize,
    /// Whom messages are for, one by lot; when there is none, `recipients` counts them.
    pub(crate) crowds: Vec<Crowd>,
}

/// Whom a message is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd {
    /// What RCPT says.
    pub(crate) asked: Vec<String>,
    /// Who must get it.
    pub(crate) reached: Vec<String>,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            clients: 4,
            pause_ms: 5..40,
            size: 300..12_000,
            recipients: 1..4,
            per_connection: 5,
            crowds: Vec::new(),
        }
    }
}

/// A message that was answered with 250 after its final dot.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) message_id: String,
    pub(crate) recipients: Vec<String>,
    /// Every octet as it was sent, before dots were doubled.
    pub(crate) text: Vec<u8>,
    /// The reply, which names the queue id.
    pub(crate) reply: String,
}

impl Acknowledged {
    /// The id that the queue gave it.
    pub(crate) fn queue_id(&self) -> &str {
        self.reply.split_whitespace().next_back().unwrap_or_default()
    }
}

/// Running clients.
#[derive(Debug)]
pub(crate) struct Submitters {
    stop: Arc<AtomicBool>,
    record: Arc<Mutex<Record>>,
    threads: Vec<JoinHandle<()>>,
}

/// What the clients saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Replies other than the hoped for.
    pub(crate) refusals: Vec<String>,
}

impl Submitters {
    /// Starts the clients. `name` keeps the message ids of several loads apart.
    pub(crate) fn start(address: SocketAddr, name: &str, load: &Load, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let record = Arc::new(Mutex::new(Record::default()));
        let threads = (0..load.clients)
            .map(|number| {
                let mut client = Submitter {
                    address,
                    name: format!("{name}-{number}"),
                    next: 0,
                    load: load.clone(),
                    random: Rng::with_seed(seed.wrapping_add(number as u64)),
                    stop: Arc::clone(&stop),
                    record: Arc::clone(&record),
                };
                std::thread::spawn(move || client.run())
            })
            .collect();
        Self { stop, record, threads }
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Record {
        self.record.lock().expect("no client panicked").clone()
    }

    /// Stops the clients after the message each one is at.
    pub(crate) fn finish(self) -> Record {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no client panicked");
        }
        self.record.lock().expect("no client panicked").clone()
    }
}

struct Submitter {
    address: SocketAddr,
    name: String,
    next: u64,
    load: Load,
    random: Rng,
    stop: Arc<AtomicBool>,
    record: Arc<Mutex<Record>>,
}

impl Submitter {
    fn run(&mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            // A connection that is refused or lost is what these tests cause: the next one follows.
            drop(self.session());
            self.pause();
        }
    }

    fn pause(&mut self) {
        std::thread::sleep(Duration::from_millis(self.random.u64(self.load.pause_ms.clone())));
    }

    fn session(&mut self) -> io::Result<()> {
        let mut wire = Wire::connect(self.address)?;
        for _ in 0..self.load.per_connection {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let message_id = format!("<{}.{}@client.example.org>", self.name, self.next);
            self.next += 1;
            let text =
                message(&message_id, self.random.usize(self.load.size.clone()), &mut self.random);
            let count = self.random.usize(self.load.recipients.clone());
            let crowd = match self.random.choice(&self.load.crowds) {
                Some(crowd) => crowd.clone(),
                None => {
                    let readers = (0..count).map(|number| format!("reader{number}@example.net"));
                    let readers: Vec<String> = readers.collect();
                    Crowd { asked: readers.clone(), reached: readers }
                }
            };
            let recipients = crowd.reached;
            match wire.submit(&crowd.asked, &text)? {
                Ok(reply) => {
                    let message = Acknowledged { message_id, recipients, text, reply };
                    self.record.lock().expect("no client panicked").acknowledged.push(message);
                }
                Err(refusal) => {
                    self.record.lock().expect("no client panicked").refusals.push(refusal);
                    break;
                }
            }
            self.pause();
        }
        wire.command(b"QUIT\r\n").map(drop)
    }
}

/// A message of about `size` octets with lines that begin with dots, empty lines and 8-bit text.
pub(crate) fn message(message_id: &str, size: usize, random: &mut Rng) -> Vec<u8> {
    let mut text = format!(
        "From: Sender <sender@example.org>\r\nTo: reader@example.net\r\nSubject: {message_id}\r\n\
         Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: {message_id}\r\n\r\n"
    )
    .into_bytes();
    while text.len() < size {
        match random.u8(0..8) {
            0 => text.extend_from_slice(b"."),
            1 => text.extend_from_slice(b".. two dots"),
            2 => {}
            3 => text.extend_from_slice("gr\u{fc}\u{df}e \u{20ac}".as_bytes()),
            _ => text.extend((0..random.usize(1..76)).map(|_| random.u8(b' '..=b'~'))),
        }
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// One connection of a client that gives up at the first surprise.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    /// Connects and greets.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_nodelay(true)?;
        let mut wire = Self { stream: BufReader::new(stream) };
        wire.reply()?;
        wire.command(b"EHLO client.example.org\r\n")?;
        Ok(wire)
    }

    /// One mail transaction: `Ok(Ok)` with the 250 to the final dot, `Ok(Err)` with the first refusal.
    pub(crate) fn submit(
        &mut self,
        recipients: &[String],
        text: &[u8],
    ) -> io::Result<Result<String, String>> {
        let mut commands = vec!["MAIL FROM:<sender@example.org> BODY=8BITMIME\r\n".to_owned()];
        commands.extend(recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>\r\n")));
        for command in commands {
            let reply = self.command(command.as_bytes())?;
            if !reply.starts_with("250") {
                return Ok(Err(reply));
            }
        }
        let reply = self.command(b"DATA\r\n")?;
        if !reply.starts_with("354") {
            return Ok(Err(reply));
        }
        let mut wire_text = Vec::with_capacity(text.len() + 64);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if line.first() == Some(&b'.') {
                wire_text.push(b'.');
            }
            wire_text.extend_from_slice(line);
        }
        wire_text.extend_from_slice(b".\r\n");
        let reply = self.command(&wire_text)?;
        Ok(if reply.starts_with("250") { Ok(reply) } else { Err(reply) })
    }

    /// Sends `bytes` and returns the reply, without its last line end.
    fn command(&mut self, bytes: &[u8]) -> io::Result<String> {
        self.stream.get_mut().write_all(bytes)?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<String> {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            self.stream.read_line(&mut reply)?;
            let line = &reply[start..];
            if !line.ends_with('\n') {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(reply.trim_end().to_owned());
            }
        }
    }
}
