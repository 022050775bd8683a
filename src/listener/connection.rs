//! One connection: carries out the steps of its session.
//!
//! Rule: it decides nothing about SMTP; what a step asks is answered by the store, the users and the
//! limits. Waiting is interruptible only while nothing is half done: at the read.
//! Must not know how the store keeps a message or how a socket is read.

use std::{fmt, io, pin::pin, sync::Arc};

use super::{
    client_stats::Kind,
    expand::expand,
    limits::Seat,
    service::{Peer, Service, TlsFrom},
    stream::{Closing, Stream},
    terms::Terms,
    throughput::Share,
    timeouts::{Phase as WaitPhase, Timeouts},
    transaction_log::{self, Offer},
};
use crate::{
    message::envelope::{BodyKind, Envelope, Origin},
    passwd, quantities,
    queue::{QueueError, id::QueueId, incoming::IncomingMessage, ruled::Ruled},
    rules::{Facts, hint},
    shutdown::{Phase, Watch},
    smtp::server::{Client, Credentials, Refusal, Session, Step, Transaction},
    telemetry::dialogue::{self, Speaker},
};

/// Serves one client until the session ends.
pub(super) async fn serve(
    stream: Stream,
    peer: Peer,
    service: &Service,
    terms: Arc<Terms>,
    shutdown: Watch,
) {
    serve_at(&Seat::default(), stream, peer, service, terms, shutdown).await;
}

/// The same for a client that may be asked to leave its seat while it is idle.
pub(super) async fn serve_at(
    seat: &Seat,
    stream: Stream,
    peer: Peer,
    service: &Service,
    terms: Arc<Terms>,
    shutdown: Watch,
) {
    let client = peer.client;
    tracing::debug!(client = %client.address, trusted = client.policy.trusted, tls = client.encrypted, "connected");
    let session = Session::new(Arc::clone(&terms.session), client);
    let mut connection = Connection {
        seat,
        stream,
        peer,
        client,
        service,
        terms,
        session,
        speaker: Speaker::new(dialogue::Peer::Client(client.address)),
        message: None,
        link: Link::Open,
        closing: Closing::OnOurOwn,
    };
    connection.stream.receive_early(&mut connection.session);
    connection.pump(shutdown).await;
    if connection.link == Link::Open {
        connection.stream.close(connection.closing, &*service.clock).await;
    }
    tracing::debug!(client = %client.address, "closed");
}

struct Connection<'a> {
    seat: &'a Seat,
    stream: Stream,
    peer: Peer,
    client: Client,
    service: &'a Service,
    /// What the configuration said when it began.
    terms: Arc<Terms>,
    session: Session,
    speaker: Speaker,
    message: Option<InTransfer>,
    link: Link,
    closing: Closing,
}

/// The message in transfer.
struct InTransfer {
    content: Content,
    offer: Option<Offer>,
    /// What its header says of its priority is a hint.
    hears_header: bool,
    /// Given back when the message is on disk or dropped.
    memory: Share,
}

/// What becomes of its octets.
enum Content {
    /// They are kept.
    Draft(Box<IncomingMessage>),
    /// They are read and dropped: the message with this id is here already, and its client did not hear so.
    Repeated(QueueId),
}

#[derive(PartialEq, Eq)]
enum Link {
    Open,
    Gone,
}

/// What ended the wait for the client.
enum Wake {
    Input(io::Result<usize>),
    Draining,
    Dismissed,
    TimedOut,
}

impl Connection<'_> {
    async fn pump(&mut self, mut shutdown: Watch) {
        let terms = Arc::clone(&self.terms);
        let mut timeouts = Timeouts::new(&*self.service.clock, &terms.options.limits);
        let mut draining = pin!(shutdown.reached(Phase::Draining));
        let mut told = false;
        let mut answered = true;
        let mut octets = 0;
        loop {
            self.session.keep_heard(self.speaker.is_watched());
            let step = self.session.step();
            for line in self.session.take_heard() {
                self.speaker.hears(&line);
            }
            self.note_quirks();
            if !matches!(step, Step::NeedInput) {
                answered = true;
                self.seat.works();
            }
            match step {
                Step::Send(bytes) => self.send(&bytes).await,
                Step::Admit { declared_bytes } => self.admit(declared_bytes),
                Step::Begin(transaction) => self.begin(transaction).await,
                Step::Body(bytes) => {
                    octets += bytes.len();
                    self.write(&bytes).await;
                }
                Step::Store => {
                    self.speaker
                        .hears(&format!("({} octets of a message)", std::mem::take(&mut octets)));
                    self.store().await;
                    timeouts.message_stored();
                }
                Step::StartTls => self.start_tls().await,
                Step::Authenticate(credentials) => self.authenticate(&credentials).await,
                Step::Abandon => self.message = None,
                Step::Close => return,
                Step::NeedInput => {
                    let silence = self.session.timeout();
                    let in_data = self.session.in_data();
                    timeouts.wait(if in_data {
                        WaitPhase::Message
                    } else {
                        WaitPhase::Command { answered }
                    });
                    self.take_seat(answered);
                    answered = false;
                    let wake = tokio::select! {
                        biased;
                        () = &mut draining, if !told => Wake::Draining,
                        input = self.stream.receive(&mut self.session) => Wake::Input(input),
                        () = self.seat.dismissed(), if !in_data => Wake::Dismissed,
                        () = timeouts.expired(silence) => Wake::TimedOut,
                    };
                    timeouts.heard(if let Wake::Input(Ok(octets)) = &wake { *octets } else { 0 });
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
            Wake::Dismissed => {
                tracing::debug!(client = %self.client.address, "dismissed: others wait, and it was idle");
                self.session.dismissed();
            }
            Wake::TimedOut => {
                tracing::debug!(client = %self.client.address, "timed out");
                self.session.timed_out();
            }
        }
    }

    /// Notes that the client is waited for; within a message nobody is asked to leave. Octets that are no command
    /// do not make it less idle.
    fn take_seat(&self, answered: bool) {
        if self.session.in_data() {
            self.seat.works();
        } else if answered {
            let now_ms = self.service.clock.now().since_boot_ms;
            self.seat.waits_from(now_ms, self.session.has_spoken());
        }
    }

    fn lost(&mut self, error: Option<&io::Error>) {
        if let Some(error) = error {
            tracing::debug!(client = %self.client.address, %error, "connection lost");
        }
        self.link = Link::Gone;
        self.session.closed_by_peer();
    }

    fn note_quirks(&mut self) {
        for quirk in self.session.take_quirks() {
            if self.client.local {
                // Our own sendmail calls every host "localhost": nothing that anybody could put right.
                continue;
            }
            let is_news =
                self.service.clients.met(self.client.address, quirk, self.service.clock.now());
            transaction_log::quirk(self.client, quirk, is_news);
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        if self.speaker.is_watched() {
            self.speaker.says(&String::from_utf8_lossy(bytes));
        }
        let (clients, now) = (&self.service.clients, self.service.clock.now());
        let tell = |kind| self.tell(kind);
        let refusals = transaction_log::replies(self.client, self.uid(), bytes, tell);
        if refusals > 0 {
            clients.refused(self.client.address, refusals, now);
        }
        let last = bytes.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
        let after_quit = last.is_some_and(|line| line.starts_with(b"221 "));
        self.closing = if after_quit { Closing::AfterQuit } else { Closing::OnOurOwn };
        if let Err(error) = self.stream.send(bytes, &*self.service.clock).await {
            self.lost(Some(&error));
        }
    }

    async fn start_tls(&mut self) {
        if let Some(socket) = self.stream.take_plain() {
            // Boxed: most connections never need the room.
            self.stream = Box::pin(self.service.handshake(
                &self.terms,
                socket,
                self.client.address,
                TlsFrom::StartTls,
            ))
            .await;
        }
        match self.stream {
            Stream::Tls(_) => self.session.secured(),
            Stream::Plain(_) | Stream::Local(_) | Stream::Played(_) | Stream::Gone => {
                self.lost(None)
            }
        }
    }

    async fn authenticate(&mut self, credentials: &Credentials) {
        let (service, users) = (self.service, self.terms.users.as_ref());
        let checking = service.authenticator.check(users, self.client, credentials);
        let answer = Box::pin(checking).await;
        self.session.authenticated(answer);
    }

    fn admit(&mut self, declared_bytes: u64) {
        let answer = self.service.store.admission(declared_bytes);
        let answer = answer.map_err(|error| self.refuse(&error)).and_then(|()| {
            let rates = self.terms.rates(&self.service.clock);
            let network = self.peer.network.map_or(Ok(()), |network| rates.take(network));
            network.map_err(|retry_after| {
                if let Some(count) = self.tell(Kind::TooFast) {
                    let (client, count) = (self.client.address, transaction_log::several(count));
                    tracing::info!(%client, uid = self.uid(), retry_after_s = retry_after.as_secs(), count, "too fast");
                }
                Refusal::TooFast { retry_after }
            })
        });
        self.session.admitted(answer);
    }

    async fn begin(&mut self, transaction: Transaction) {
        let Some(memory) = self.service.memory.share(&*self.service.clock).await else {
            self.not_queued("no memory for another message");
            return self.session.begun(Err(Refusal::Unavailable));
        };
        let routes = self.terms.options.recipients.current(self.service.clock.now()).await;
        let (transaction, redirected) = match expand(transaction, &routes, self.client.address) {
            Ok(expanded) => (expanded.transaction, expanded.redirected),
            Err(unrouted) => {
                self.not_queued(&unrouted);
                return self.session.begun(Err(unrouted.refusal()));
            }
        };
        if let Some(local) = &mut self.peer.local
            && (transaction.claimed_user.is_some() || local.user.claimed)
        {
            local.user = passwd::named(local.uid, transaction.claimed_user).await;
        }
        let offer = Offer::of(&transaction);
        let hears_header = self.client.policy.priorities && transaction.priority.is_none();
        let now = self.service.clock.wall();
        let proposed: Option<QueueId> =
            transaction.proposed_id.as_deref().and_then(|id| id.parse().ok());
        let envelope = Envelope {
            reverse_path: transaction.reverse_path,
            forward_paths: transaction.forward_paths,
            body: if transaction.eight_bit { BodyKind::EightBitMime } else { BodyKind::SevenBit },
            internationalized: transaction.internationalized,
            dsn: transaction.dsn,
            lane: transaction.priority.and_then(hint::of_priority).unwrap_or(self.peer.lane),
            origin: Origin {
                address: self.client.address,
                helo: transaction.helo,
                protocol: transaction.protocol.to_owned(),
                login: transaction.login,
                local: self.peer.local.as_ref().map(|local| local.user.clone()),
            },
            accepted_at: now,
        };
        let from_file = self.peer.local.as_ref().is_some_and(|local| local.from_file);
        let acceptable = |id: &QueueId| match from_file {
            true => !id.is_ahead_of(now),
            false => id.is_acceptable_at(now),
        };
        let begun = match proposed.filter(acceptable) {
            Some(id) => self.service.store.begin_as(id, envelope).await,
            None => self.service.store.begin(envelope),
        };
        let answer = match begun {
            Ok(mut draft) => {
                draft.redirected_from(&redirected);
                if let Some(wanted) = &self.terms.wanted {
                    draft.look_for(wanted);
                }
                if let Some(unusable) = self.session.unusable_sender() {
                    transaction_log::unusable_sender(self.client.address, unusable);
                    draft.sent_as(unusable);
                }
                Ok(Content::Draft(Box::new(draft)))
            }
            Err(QueueError::AlreadyKnown(id)) => Ok(Content::Repeated(id)),
            Err(error) => Err(self.refuse(&error)),
        };
        self.session.begun(answer.map(|content| {
            self.message = Some(InTransfer { content, offer, hears_header, memory });
        }));
    }

    async fn write(&mut self, bytes: &[u8]) {
        let Some(InTransfer { content: Content::Draft(draft), .. }) = &mut self.message else {
            return;
        };
        if let Err(error) = draft.write(bytes).await {
            self.message = None;
            let refusal = self.refuse(&error);
            self.session.write_failed(refusal);
        }
    }

    async fn store(&mut self) {
        let Some(InTransfer { content, offer, hears_header, memory }) = self.message.take() else {
            // The session asks only while there is a draft; if it did otherwise, the client keeps the mail.
            return self.session.stored(Err(Refusal::Unavailable));
        };
        let mut draft = match content {
            Content::Draft(draft) => *draft,
            Content::Repeated(id) => {
                tracing::info!(%id, client = %self.client.address, "submitted again under a known id, and kept once");
                return self.session.stored(Ok(id.to_string()));
            }
        };
        let size_bytes = draft.size_bytes();
        let rule = match self.judge(&mut draft, hears_header) {
            Ok(rule) => rule,
            Err(refusal) => return self.session.stored(Err(refusal)),
        };
        let answer = match self.service.store.enqueue(draft).await {
            Ok(receipt) => {
                let user = self.peer.local.as_ref().map(|local| &local.user);
                transaction_log::accepted(
                    receipt.id(),
                    self.client,
                    user,
                    offer.as_ref(),
                    size_bytes,
                    rule.as_deref(),
                );
                self.service.clients.accepted(self.client.address, self.service.clock.now());
                Ok(receipt.id().to_string())
            }
            Err(error) => Err(self.refuse(&error)),
        };
        drop(memory);
        self.session.stored(answer);
    }

    /// Looks which rule strikes a message that is here as a whole, and which route it takes, and returns the rule's name; or why
    /// it is not taken.
    fn judge(
        &self,
        draft: &mut IncomingMessage,
        hears_header: bool,
    ) -> Result<Option<Arc<str>>, Refusal> {
        if self.terms.wanted.is_none() {
            return Ok(None);
        }
        let (excerpt, size_bytes) = (draft.excerpt(), draft.size_bytes());
        let hour = quantities::hour(self.service.clock.wall());
        let hint = if hears_header { hint::of_header(&excerpt) } else { None };
        let facts = Facts::of(draft.envelope(), &excerpt, size_bytes, hour);
        let rules = &self.terms.options.rules;
        let route = rules.route(&facts).map(|route| route.name.to_string());
        let Some(rule) = rules.judge(&facts) else {
            draft.ruled(Ruled { lane: hint, route, ..Ruled::default() });
            return Ok(None);
        };
        if let Some(text) = &rule.effect.refuse {
            if let Some(count) = self.tell(Kind::Unwanted) {
                let offer = (draft.envelope().reverse_path.as_ref(), size_bytes);
                transaction_log::unwanted(self.client, self.uid(), &rule.name, offer, count);
            }
            let is_for_utf_8 = draft.envelope().internationalized;
            return Err(Refusal::Unwanted { text: said(text, is_for_utf_8) });
        }
        let (name, lane, hold) = (rule.name.to_string(), rule.effect.lane, rule.effect.hold);
        draft.ruled(Ruled {
            rule: Some(name),
            lane: lane.or(hint),
            hold,
            storm: rule.effect.storm,
            route,
        });
        Ok(Some(Arc::clone(&rule.name)))
    }

    /// Why the client keeps the message: in our words in the log, in the session's words to the client.
    fn refuse(&self, error: &QueueError) -> Refusal {
        self.not_queued(error);
        match error {
            QueueError::Full(_) => Refusal::Full,
            QueueError::Drained(_) => Refusal::Drained,
            QueueError::Unavailable(_)
            | QueueError::Corrupt { .. }
            | QueueError::NotFound(_)
            | QueueError::Conflict(_)
            | QueueError::OtherState(_)
            | QueueError::NotAlone { .. }
            | QueueError::AlreadyKnown(_) => Refusal::Unavailable,
        }
    }

    fn not_queued(&self, reason: impl fmt::Display) {
        if let Some(count) = self.tell(Kind::NotQueued) {
            let (client, count) = (self.client.address, transaction_log::several(count));
            tracing::warn!(%client, uid = self.uid(), %reason, count, "refused");
        }
    }

    /// The number of events to be told, when it is time for a line.
    fn tell(&self, kind: Kind) -> Option<u64> {
        let now = self.service.clock.now();
        match self.uid() {
            Some(uid) => self.service.clients.tell_user(uid, kind, now),
            None => self.service.clients.tell(self.client.address, kind, now),
        }
    }

    /// The user of this host whose program it is.
    fn uid(&self) -> Option<u32> {
        self.peer.local.as_ref().map(|local| local.uid)
    }
}

/// A text for a reply: without SMTPUTF8 there is nothing but ASCII in one (RFC 6531 section 3.7.4.1).
fn said(text: &str, is_for_utf_8: bool) -> String {
    let readable = |one: char| if is_for_utf_8 || one.is_ascii() { one } else { '?' };
    text.chars().map(readable).collect()
}
