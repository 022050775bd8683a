//! One connection: carries out the steps of its session.
//!
//! Rule: the only file that reads a client socket. It decides nothing about SMTP; what a step asks is
//! answered by the store. Waiting is interruptible only while nothing is half done: at the read.
//! Must not know how the store keeps a message.

use std::{
    cell::RefCell, future::Future, future::poll_fn, io, pin::Pin, pin::pin, sync::Arc, task::ready,
    time::Duration,
};

use rustix::net::RecvFlags;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

use super::events::{self, Offer};
use crate::{
    clock::Clock,
    message::envelope::{BodyKind, Envelope, Lane, Origin},
    queue::{
        draft::Draft,
        store::{Store, StoreError},
    },
    shutdown::{Phase, Watch},
    smtp::session::{self, Client, INPUT_BYTES_MAX, LoginRefusal, Refusal, Session, Step, Transaction},
};

/// How long a client may leave a reply unread before the connection is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long, and for how many octets, a closed connection is emptied. Closing a socket that holds
/// unread bytes resets it, and the client may lose the last reply, even a 250.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) session_options: Arc<session::Options>,
}

/// Serves one client until the session ends.
pub(super) async fn serve(stream: TcpStream, client: Client, service: &Service, shutdown: Watch) {
    tracing::debug!(client = %client.address, trusted = client.policy.trusted, "connected");
    // Replies are single small writes; waiting for more to send would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(client = %client.address, %error, "connection lost");
        return;
    }
    let session = Session::new(Arc::clone(&service.session_options), client);
    let mut connection = Connection { stream, client, service, session, message: None, peer: Peer::Open };
    connection.pump(shutdown).await;
    connection.close().await;
    tracing::debug!(client = %client.address, "closed");
}

struct Connection<'a> {
    stream: TcpStream,
    client: Client,
    service: &'a Service,
    session: Session,
    /// The message in transfer.
    message: Option<(Draft, Option<Offer>)>,
    peer: Peer,
}

#[derive(PartialEq, Eq)]
enum Peer {
    Open,
    Gone,
}

/// What ended the wait for the client.
enum Wake {
    Input(io::Result<usize>),
    Draining,
    TimedOut,
}

impl Connection<'_> {
    async fn pump(&mut self, mut shutdown: Watch) {
        let mut watchdog = Watchdog::new(&*self.service.clock);
        let mut draining = pin!(shutdown.reached(Phase::Draining));
        let mut told = false;
        loop {
            match self.session.step() {
                Step::Send(bytes) => self.send(&bytes).await,
                Step::Admit { declared_bytes } => self.admit(declared_bytes),
                Step::Begin(transaction) => self.begin(transaction),
                Step::Body(bytes) => self.write(&bytes).await,
                Step::Store => self.store().await,
                // The session does not ask for these yet.
                Step::StartTls => self.session.secured(),
                Step::Authenticate(_) => self.session.authenticated(Err(LoginRefusal::Unavailable)),
                Step::Abandon => self.message = None,
                Step::Close => return,
                Step::NeedInput => {
                    let timeout = self.session.timeout();
                    let wake = tokio::select! {
                        biased;
                        () = &mut draining, if !told => Wake::Draining,
                        input = receive(&mut self.stream, &mut self.session) => Wake::Input(input),
                        () = watchdog.bark(timeout) => Wake::TimedOut,
                    };
                    watchdog.pat();
                    told |= matches!(wake, Wake::Draining);
                    self.wake(wake);
                }
            }
        }
    }

    fn wake(&mut self, wake: Wake) {
        match wake {
            Wake::Input(Ok(0)) => self.lost(None),
            Wake::Input(Ok(_)) => {}
            Wake::Input(Err(error)) => self.lost(Some(&error)),
            Wake::Draining => self.session.draining(),
            Wake::TimedOut => {
                tracing::debug!(client = %self.client.address, "timed out");
                self.session.timed_out();
            }
        }
    }

    fn lost(&mut self, error: Option<&io::Error>) {
        if let Some(error) = error {
            tracing::debug!(client = %self.client.address, %error, "connection lost");
        }
        self.peer = Peer::Gone;
        self.session.closed_by_peer();
    }

    async fn send(&mut self, bytes: &[u8]) {
        events::replies(self.client, bytes);
        // Nearly always the whole reply fits into the socket's buffer, and no timer is needed.
        let written = match self.stream.try_write(bytes) {
            Ok(written) if written == bytes.len() => return,
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return self.lost(Some(&error)),
        };
        let outcome = tokio::select! {
            outcome = self.stream.write_all(&bytes[written..]) => outcome,
            () = self.service.clock.sleep(WRITE_TIMEOUT) => Err(io::ErrorKind::TimedOut.into()),
        };
        if let Err(error) = outcome {
            self.lost(Some(&error));
        }
    }

    fn admit(&mut self, declared_bytes: u64) {
        let answer = self.service.store.admission(declared_bytes);
        self.session.admitted(answer.map_err(|error| refuse(self.client, &error)));
    }

    fn begin(&mut self, transaction: Transaction) {
        let offer = Offer::of(&transaction);
        let envelope = Envelope {
            reverse_path: transaction.reverse_path,
            forward_paths: transaction.forward_paths,
            body: if transaction.eight_bit { BodyKind::EightBitMime } else { BodyKind::SevenBit },
            internationalized: transaction.internationalized,
            dsn: transaction.dsn,
            lane: Lane::Normal,
            origin: Origin {
                address: self.client.address,
                helo: transaction.helo,
                protocol: transaction.protocol.to_owned(),
                login: transaction.login,
            },
            accepted_at: self.service.clock.wall(),
        };
        let answer = self.service.store.begin(envelope);
        let answer = answer.map(|draft| self.message = Some((draft, offer)));
        self.session.begun(answer.map_err(|error| refuse(self.client, &error)));
    }

    async fn write(&mut self, bytes: &[u8]) {
        let Some((draft, _)) = &mut self.message else { return };
        if let Err(error) = draft.write(bytes).await {
            self.message = None;
            self.session.write_failed(refuse(self.client, &error));
        }
    }

    async fn store(&mut self) {
        let Some((draft, offer)) = self.message.take() else {
            // The session asks only while there is a draft; if it did otherwise, the client keeps the mail.
            return self.session.stored(Err(Refusal::Unavailable));
        };
        let size_bytes = draft.size_bytes();
        let answer = match self.service.store.enqueue(draft).await {
            Ok(receipt) => {
                events::accepted(receipt.id(), self.client, offer.as_ref(), size_bytes);
                Ok(receipt.id().to_string())
            }
            Err(error) => Err(refuse(self.client, &error)),
        };
        self.session.stored(answer);
    }

    /// Takes what the client has sent meanwhile, so that closing does not reset the connection.
    async fn close(&mut self) {
        if self.peer == Peer::Gone {
            return;
        }
        // Asked of the kernel, because the runtime may not have heard of new bytes yet. Nothing, or the
        // end, is the usual answer: then dropping the socket closes it in good order.
        let waiting = rustix::net::recv(&self.stream, &mut [0; 4096], RecvFlags::DONTWAIT);
        if !waiting.is_ok_and(|(read, _)| read > 0) || self.stream.shutdown().await.is_err() {
            return;
        }
        let stream = &self.stream;
        tokio::select! {
            () = empty(stream) => {}
            () = self.service.clock.sleep(LINGER) => {}
        }
    }
}

async fn empty(stream: &TcpStream) {
    let mut buffer = [0; 4096];
    let mut octets = 0;
    while octets < LINGER_BYTES_MAX && stream.readable().await.is_ok() {
        match stream.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => octets += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Why the client keeps the message: in our words in the log, in the session's words to the client.
fn refuse(client: Client, error: &StoreError) -> Refusal {
    tracing::warn!(client = %client.address, reason = %error, "refused");
    match error {
        StoreError::Full(_) => Refusal::Full,
        StoreError::Unavailable(_)
        | StoreError::Corrupt { .. }
        | StoreError::NotFound(_)
        | StoreError::Conflict(_) => Refusal::Unavailable,
    }
}

/// Feeds what the client has sent to its session; 0 octets are the end.
///
/// The bytes pass through one buffer of the thread, not of the connection: a client that waits costs no
/// buffer, and one that sends a large message gets a large one.
async fn receive(stream: &mut TcpStream, session: &mut Session) -> io::Result<usize> {
    thread_local! {
        static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; INPUT_BYTES_MAX].into_boxed_slice());
    }
    poll_fn(|context| {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            session.receive(buffer.filled());
            Ok(buffer.filled().len()).into()
        })
    })
    .await
}

/// Tells when a client has been silent for too long. The timer is not set anew for each read but only
/// when it has run out, or would run out too late.
struct Watchdog<'a> {
    clock: &'a dyn Clock,
    silent_since_ms: u64,
    timer_ends_ms: u64,
    timer: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

impl<'a> Watchdog<'a> {
    fn new(clock: &'a dyn Clock) -> Self {
        let now = clock.now().since_boot_ms;
        let timer = Box::pin(std::future::ready(()));
        Self { clock, silent_since_ms: now, timer_ends_ms: now, timer }
    }

    /// The client was heard.
    fn pat(&mut self) {
        self.silent_since_ms = self.clock.now().since_boot_ms;
    }

    /// Returns when the client has been silent for `timeout`.
    async fn bark(&mut self, timeout: Duration) {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let deadline = self.silent_since_ms.saturating_add(timeout_ms);
        loop {
            let now = self.clock.now().since_boot_ms;
            if now >= deadline {
                return;
            }
            if self.timer_ends_ms <= now || self.timer_ends_ms > deadline {
                self.timer = self.clock.sleep(Duration::from_millis(deadline - now));
                self.timer_ends_ms = deadline;
            }
            self.timer.as_mut().await;
            // A finished timer must not be polled again.
            self.timer_ends_ms = 0;
        }
    }
}
