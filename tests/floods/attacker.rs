//! Clients that want a relay to themselves.
//!
//! Rule: an attacker that is cut off comes back, until the attack is over. Must not know what is measured.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    task::JoinSet,
};

use super::source;

/// Between two octets of a client that trickles.
const TRICKLE: Duration = Duration::from_secs(1);
/// Octets written at a time.
static BLOCK: [u8; 64 * 1024] = [b'A'; 64 * 1024];
/// NOOPs written at a time.
const PIPELINE: u64 = 100;
/// How long a client that was cut off waits for the reply that says why.
const REPLY_WITHIN: Duration = Duration::from_secs(5);

/// What an attacker does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attack {
    /// Takes the greeting and nothing else.
    Idle,
    /// Sends a command one octet a second.
    TrickledCommand,
    /// Sends a message likewise.
    TrickledData,
    /// Sends a line that never ends.
    EndlessLine,
    /// NOOP, until all attackers together have sent so many.
    Noops { total: u64 },
    /// One message of so many octets.
    LargeData { bytes: u64 },
}

/// What the attackers have done so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Attackers that were greeted at least once.
    pub(super) connected: AtomicUsize,
    noops: AtomicU64,
    data_bytes: AtomicU64,
    data_reply: std::sync::Mutex<Option<String>>,
}

/// What they had done in the end.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) noops: u64,
    pub(super) data_bytes: u64,
    pub(super) data_reply: Option<String>,
}

/// Attackers at work.
pub(super) struct Attackers {
    runtime: Runtime,
    tasks: JoinSet<()>,
    pub(super) done: Arc<Progress>,
    /// The attacks with an end have come to it.
    pub(super) finished: Arc<AtomicBool>,
}

impl Attackers {
    /// Starts them.
    pub(super) fn start(daemon: SocketAddr, attacks: &[(Attack, usize)]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let (runtime, mut tasks) = (runtime.unwrap(), JoinSet::new());
        let done = Arc::new(Progress::default());
        let with_end = Arc::new(AtomicUsize::new(0));
        let finished = Arc::new(AtomicBool::new(true));
        let all = attacks.iter().flat_map(|(attack, count)| std::iter::repeat_n(*attack, *count));
        for (number, attack) in all.enumerate() {
            let attacker =
                Attacker { daemon, source: source(number).into(), attack, done: Arc::clone(&done) };
            let (with_end, finished) = (Arc::clone(&with_end), Arc::clone(&finished));
            let ends = matches!(attack, Attack::Noops { .. } | Attack::LargeData { .. });
            if ends {
                with_end.fetch_add(1, Ordering::SeqCst);
                finished.store(false, Ordering::SeqCst);
            }
            let work = async move {
                attacker.run().await;
                if ends && with_end.fetch_sub(1, Ordering::SeqCst) == 1 {
                    finished.store(true, Ordering::SeqCst);
                }
            };
            tasks.spawn_on(work, runtime.handle());
        }
        Self { runtime, tasks, done, finished }
    }

    /// Ends every attack.
    pub(super) fn stop(mut self) -> Done {
        self.runtime.block_on(self.tasks.shutdown());
        Done {
            noops: self.done.noops.load(Ordering::Relaxed),
            data_bytes: self.done.data_bytes.load(Ordering::Relaxed),
            data_reply: self.done.data_reply.lock().unwrap().take(),
        }
    }
}

struct Attacker {
    daemon: SocketAddr,
    source: IpAddr,
    attack: Attack,
    done: Arc<Progress>,
}

impl Attacker {
    async fn run(&self) {
        let mut is_new = true;
        loop {
            if let Ok(stream) = self.connect().await {
                if std::mem::take(&mut is_new) {
                    self.done.connected.fetch_add(1, Ordering::Relaxed);
                }
                // Being cut off is what an attacker expects.
                drop(self.attack(stream).await);
            }
            match self.attack {
                Attack::Noops { total } if self.done.noops.load(Ordering::Relaxed) >= total => {
                    return;
                }
                Attack::LargeData { .. } if !is_new => return,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.source, 0))?;
        let mut stream = BufReader::with_capacity(512, socket.connect(self.daemon).await?);
        expect(&mut stream, "220").await?;
        Ok(stream)
    }

    async fn attack(&self, mut stream: BufReader<TcpStream>) -> io::Result<()> {
        match self.attack {
            Attack::Idle => stream.read_u8().await.map(drop),
            Attack::TrickledCommand => loop {
                trickle(&mut stream, b"NOOP and not much more than that\r\n").await?;
            },
            Attack::TrickledData => {
                begin(&mut stream).await?;
                loop {
                    trickle(&mut stream, b"Subject: a message that takes its time\r\n").await?;
                }
            }
            Attack::EndlessLine => loop {
                stream.write_all(&BLOCK).await?;
            },
            Attack::Noops { total } => self.noops(&mut stream, total).await,
            Attack::LargeData { bytes } => {
                begin(&mut stream).await?;
                let cut_off = self.large_data(&mut stream, bytes).await;
                let mut reply = String::new();
                let read = tokio::time::timeout(REPLY_WITHIN, stream.read_line(&mut reply)).await;
                drop(read);
                *self.done.data_reply.lock().unwrap() = Some(reply);
                cut_off
            }
        }
    }

    async fn noops(&self, stream: &mut BufReader<TcpStream>, total: u64) -> io::Result<()> {
        let pipeline = b"NOOP\r\n".repeat(usize::try_from(PIPELINE).unwrap());
        while self.done.noops.load(Ordering::Relaxed) < total {
            stream.write_all(&pipeline).await?;
            self.done.noops.fetch_add(PIPELINE, Ordering::Relaxed);
            for _ in 0..PIPELINE {
                expect(stream, "250").await?;
            }
        }
        Ok(())
    }

    async fn large_data(&self, stream: &mut BufReader<TcpStream>, bytes: u64) -> io::Result<()> {
        let mut line = BLOCK;
        line[62 * 1024..].copy_from_slice(&[b'\r', b'\n'].repeat(1024));
        while self.done.data_bytes.load(Ordering::Relaxed) < bytes {
            let written = stream.write(&line).await?;
            self.done.data_bytes.fetch_add(written as u64, Ordering::Relaxed);
        }
        stream.write_all(b"\r\n.\r\n").await
    }
}

async fn trickle(stream: &mut BufReader<TcpStream>, text: &[u8]) -> io::Result<()> {
    for octet in text {
        stream.write_u8(*octet).await?;
        tokio::time::sleep(TRICKLE).await;
    }
    Ok(())
}

/// A mail transaction up to DATA.
async fn begin(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    for command in ["MAIL FROM:<flood@example.org>\r\n", "RCPT TO:<reader@example.net>\r\n"] {
        stream.write_all(command.as_bytes()).await?;
        expect(stream, "250").await?;
    }
    stream.write_all(b"DATA\r\n").await?;
    expect(stream, "354").await
}

/// A reply of one line with this code.
async fn expect(stream: &mut BufReader<TcpStream>, code: &str) -> io::Result<()> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    if line.starts_with(code) { Ok(()) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
}
