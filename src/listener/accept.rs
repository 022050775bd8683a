//! The accept loop, and what it lets in: clients of the network and programs of this host, each for a place.
//!
//! Rule: every task belongs to the loop's set, and a process without descriptors waits instead of spinning. A user who
//! fills his places keeps neither other users nor root out, and never a client of the network.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustix::io::Errno;
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinSet,
};

use super::{
    client_stats::Kind,
    connection,
    limits::{self, ConnectionLimits, ConnectionPermit, LimitReached, Waiting},
    options::Endpoint,
    proxy::{self, Source},
    service::{LOG_INTERVAL, Local, Peer, Rejections, Service, TlsFrom},
    stream::Stream,
    terms::Terms,
    transaction_log,
};
use crate::{
    clock::Clock,
    log_limit::LogLimit,
    passwd,
    shutdown::{Phase, Watch},
    smtp::server::reply,
    unix_socket::UnixSocket,
};

/// How long to wait when the process has no file descriptor left for another connection.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);
/// How long a program of this host waits for a place that others of this host hold, before it hears 421.
const PLACE_WAIT: Duration = Duration::from_secs(15);
/// How often it looks meanwhile whether one of them is idle.
const PLACE_LOOK: Duration = Duration::from_millis(250);

/// What an accept loop is about.
pub(super) struct Loop<'a> {
    pub(super) clock: &'a dyn Clock,
    /// Of whom it tells when they come no more.
    pub(super) rejections: &'a Rejections,
    /// What to do when there are no descriptors.
    pub(super) remedy: &'static str,
}

impl Loop<'_> {
    /// Lets connections in until the service drains. Tasks that end leave the set.
    pub(super) async fn run<S>(
        &self,
        mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<S>>,
        admit: impl Fn(S, &mut JoinSet<()>),
        connections: &mut JoinSet<()>,
        shutdown: &mut Watch,
    ) {
        let draining = shutdown.reached(Phase::Draining);
        tokio::pin!(draining);
        let mut exhausted = LogLimit::new(1, LOG_INTERVAL);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut draining => return,
                Some(_) = connections.join_next() => continue,
                accepted = poll_fn(&mut poll_accept) => accepted,
                () = self.rejections.tell_late(self.clock) => continue,
            };
            match accepted {
                Ok(connection) => admit(connection, connections),
                Err(error) if is_exhausted(&error) => {
                    if let Some(count) = exhausted.tell(self.clock.now().since_boot_ms) {
                        let remedy = self.remedy;
                        tracing::warn!(%error, count, remedy, "cannot take connections");
                    }
                    self.clock.sleep(EXHAUSTED_WAIT).await;
                }
                // The client was gone before we came to it.
                Err(error) => tracing::debug!(%error, "connection lost"),
            }
        }
    }
}

/// Whether the process or the machine has run out of what a connection needs, see accept(2).
fn is_exhausted(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno)
    })
}

/// What admits the network's connections.
pub(super) struct Acceptor {
    pub(super) limits: Arc<ConnectionLimits>,
    pub(super) service: Arc<Service>,
    pub(super) shutdown: Watch,
}

impl Acceptor {
    pub(super) async fn accept_all(
        &self,
        sockets: &[(TcpListener, Endpoint)],
        connections: &mut JoinSet<()>,
        shutdown: &mut Watch,
    ) {
        let (service, mut next) = (&self.service, 0);
        let accepting = Loop {
            clock: &*service.clock,
            rejections: &service.rejections,
            remedy: "raise LimitNOFILE or lower max_connections",
        };
        let admit = |(socket, peer, endpoint), connections: &mut JoinSet<()>| {
            self.admit(socket, peer, endpoint, connections);
        };
        let poll_accept = |context: &mut Context<'_>| poll_any(sockets, &mut next, context);
        accepting.run(poll_accept, admit, connections, shutdown).await;
    }

    fn admit(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        endpoint: Endpoint,
        connections: &mut JoinSet<()>,
    ) {
        let peer = peer.ip().to_canonical();
        let of_this_host = peer.is_loopback() && !endpoint.proxy;
        let permit = if endpoint.proxy {
            self.limits.reserve_before_proxy()
        } else if of_this_host && self.limits.has_waiting() {
            Err(LimitReached::ClientFull)
        } else {
            self.limits.take(self.service.terms.get().limit_key(peer))
        };
        let service = Arc::clone(&self.service);
        let mut shutdown = self.shutdown.clone();
        let waiting = match permit {
            Ok(permit) => {
                let arrival = Arrival { socket, peer, endpoint, permit };
                connections.spawn(async move { arrival.serve(&service, shutdown).await });
                return;
            }
            Err(LimitReached::ClientFull) if of_this_host => self.limits.wait(),
            Err(reason) => return self.service.reject(&socket, endpoint, peer, reason),
        };
        let Some(waiting) = waiting else {
            return self.service.reject(&socket, endpoint, peer, LimitReached::ClientFull);
        };
        let limits = Arc::clone(&self.limits);
        connections.spawn(async move {
            let permit = tokio::select! {
                biased;
                () = shutdown.reached(Phase::Draining) => return,
                permit = wait_for_permit(&limits, waiting, &service, peer) => permit,
            };
            match permit {
                Ok(permit) => {
                    let arrival = Arrival { socket, peer, endpoint, permit };
                    arrival.serve(&service, shutdown).await;
                }
                Err(reason) => service.reject(&socket, endpoint, peer, reason),
            }
        });
    }
}

/// Waits until a program of this host leaves, or one that is idle has been asked to. All of them are one client, so that
/// a burst of one program would otherwise cost another its mail.
async fn wait_for_permit(
    limits: &Arc<ConnectionLimits>,
    waiting: Waiting,
    service: &Service,
    peer: IpAddr,
) -> Result<ConnectionPermit, LimitReached> {
    let (clock, key) = (&*service.clock, service.terms.get().limit_key(peer));
    let began_ms = clock.now().since_boot_ms;
    loop {
        let now_ms = clock.now().since_boot_ms;
        if waiting.is_first()
            && let Ok(permit) = limits.take(key)
        {
            return Ok(permit);
        }
        if u128::from(now_ms.saturating_sub(began_ms)) >= PLACE_WAIT.as_millis() {
            return Err(LimitReached::ClientFull);
        }
        limits.dismiss_the_idle(key, now_ms);
        tokio::select! {
            () = waiting.called() => {}
            () = clock.sleep(PLACE_LOOK) => {}
        }
    }
}

/// The next connection on any of the sockets, which take turns in being asked first.
fn poll_any(
    sockets: &[(TcpListener, Endpoint)],
    next: &mut usize,
    context: &mut Context<'_>,
) -> Poll<io::Result<(TcpStream, SocketAddr, Endpoint)>> {
    for offset in 0..sockets.len() {
        let index = (*next + offset) % sockets.len();
        let (socket, endpoint) = &sockets[index];
        if let Poll::Ready(accepted) = socket.poll_accept(context) {
            *next = index + 1;
            return Poll::Ready(accepted.map(|(stream, peer)| (stream, peer, *endpoint)));
        }
    }
    Poll::Pending
}

/// What admits the local connections.
pub(super) struct LocalAcceptor {
    limits: Arc<ConnectionLimits>,
    service: Arc<Service>,
    shutdown: Watch,
}

impl LocalAcceptor {
    pub(super) fn new(service: Arc<Service>, shutdown: Watch) -> Self {
        let terms = service.terms.get();
        let limits = &terms.options.limits;
        let limits =
            ConnectionLimits::new(limits.local_connections, limits.local_connections_per_user);
        Self { limits, service, shutdown }
    }

    /// Takes connections until the service drains.
    pub(super) async fn accept_all(&self, socket: UnixSocket, connections: &mut JoinSet<()>) {
        let listener = match socket.listener() {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the local socket cannot be used"),
        };
        let mut shutdown = self.shutdown.clone();
        let accepting = Loop {
            clock: &*self.service.clock,
            rejections: &self.service.rejections,
            remedy: "raise LimitNOFILE; this is the local socket",
        };
        let poll_accept = |context: &mut Context<'_>| listener.poll_accept(context);
        let admit = |(stream, _), connections: &mut JoinSet<()>| self.admit(stream, connections);
        accepting.run(poll_accept, admit, connections, &mut shutdown).await;
    }

    fn admit(&self, stream: UnixStream, connections: &mut JoinSet<()>) {
        let uid = match stream.peer_cred() {
            Ok(credentials) => credentials.uid(),
            Err(error) => return tracing::debug!(%error, "local connection lost"),
        };
        match self.limits.take(limits::LimitKey::of_user(uid)) {
            Ok(permit) => {
                let (service, shutdown) = (Arc::clone(&self.service), self.shutdown.clone());
                connections
                    .spawn(async move { serve(stream, uid, permit, &service, shutdown).await });
            }
            Err(reason) => self.reject(&stream, uid, reason),
        }
    }

    /// One write into an empty send buffer, which cannot block.
    fn reject(&self, stream: &UnixStream, uid: u32, reason: LimitReached) {
        let terms = self.service.terms.get();
        let hostname = &terms.session.hostname;
        let (reply, reason) = match reason {
            LimitReached::Full => {
                (reply::too_many_connections(hostname), "all local connections are taken")
            }
            LimitReached::ClientFull => {
                (reply::too_many_of_client(hostname), "this user has all it may have")
            }
        };
        let mut bytes = Vec::new();
        reply.render(&mut bytes);
        if let Err(error) = stream.try_write(&bytes) {
            tracing::debug!(uid, %error, "local connection lost");
        }
        let now = self.service.clock.now();
        if let Some(count) = self.service.clients.tell_user(uid, Kind::Rejected, now) {
            tracing::warn!(uid, reason, count, "refused");
        }
    }
}

async fn serve(
    stream: UnixStream,
    uid: u32,
    permit: ConnectionPermit,
    service: &Service,
    shutdown: Watch,
) {
    let user = passwd::named(uid, None).await;
    let terms = service.terms.get();
    let peer = Peer::of_user(Local { uid, user, from_file: false }, &terms.options);
    service.clients.connected(peer.client.address, service.clock.now());
    connection::serve(Stream::Local(stream), peer, service, terms, shutdown).await;
    drop(permit);
}

/// A connection that was accepted and has a place. It is named already, unless a proxy has to tell the
/// client's address.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: TcpStream,
    pub(super) peer: IpAddr,
    pub(super) endpoint: Endpoint,
    pub(super) permit: ConnectionPermit,
}

impl Arrival {
    /// Serves the client to the end.
    pub(super) async fn serve(self, service: &Service, mut shutdown: Watch) {
        let (watch, seat, terms) = (shutdown.clone(), self.permit.seat(), service.terms.get());
        seat.waits_from(service.clock.now().since_boot_ms, false);
        let prepared = tokio::select! {
            biased;
            // Nobody was greeted yet, so nobody is owed a word.
            () = shutdown.reached(Phase::Draining) => None,
            () = seat.dismissed() => None,
            prepared = self.prepare(service, &terms) => prepared,
        };
        if let Some((stream, peer, permit)) = prepared {
            service.clients.connected(peer.client.address, service.clock.now());
            connection::serve_at(&seat, stream, peer, service, terms, watch).await;
            drop(permit);
        }
    }

    /// What comes before the greeting; boxed where it is large, since most connections need none of it.
    async fn prepare(
        mut self,
        service: &Service,
        terms: &Terms,
    ) -> Option<(Stream, Peer, ConnectionPermit)> {
        // Replies are single small writes; waiting for more to send would only delay them.
        if let Err(error) = self.socket.set_nodelay(true) {
            tracing::debug!(client = %self.peer, %error, "connection lost");
            return None;
        }
        let source = if self.endpoint.proxy {
            Box::pin(self.named_by_proxy(service, terms)).await?
        } else {
            Source::Client(self.peer)
        };
        let mut peer = Peer::of(source, self.peer, &terms.options);
        if !self.endpoint.implicit_tls {
            return Some((Stream::Plain(self.socket), peer, self.permit));
        }
        peer.client.encrypted = true;
        let stream = Box::pin(service.handshake(
            terms,
            self.socket,
            peer.client.address,
            TlsFrom::FirstByte,
        ))
        .await;
        matches!(stream, Stream::Tls(_)).then_some((stream, peer, self.permit))
    }

    async fn named_by_proxy(&mut self, service: &Service, terms: &Terms) -> Option<Source> {
        let source = match proxy::read(&mut self.socket, &*service.clock).await {
            Ok(source) => source,
            Err(error) => {
                let told = service.clients.without_proxy_header(self.peer, service.clock.now());
                if let Some(count) = told {
                    let (proxy, address) = (self.peer, self.endpoint.address);
                    tracing::warn!(%proxy, %address, %error, count = transaction_log::several(count), "refused");
                }
                return None;
            }
        };
        let Source::Client(client) = source else { return Some(source) };
        match self.permit.name(terms.limit_key(client)) {
            Ok(()) => Some(source),
            Err(reason) => {
                service.reject(&self.socket, self.endpoint, client, reason);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        clock::{ManualClock, Timestamp},
        shutdown::Shutdown,
    };

    #[tokio::test]
    async fn a_process_without_descriptors_waits_and_takes_the_next_connection() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let (shutdown, rejections) = (Shutdown::new(), Rejections::default());
        let (mut tasks, mut watch) = (JoinSet::new(), shutdown.watch());
        let errors = [Errno::MFILE, Errno::CONNABORTED, Errno::NFILE];
        let mut answers =
            errors.map(|errno| Err(io::Error::from(errno))).into_iter().chain([Ok(7)]);
        let poll_accept = |_: &mut Context<'_>| answers.next().map_or(Poll::Pending, Poll::Ready);
        let admitted = Arc::new(std::sync::Mutex::new(Vec::new()));
        let its = Arc::clone(&admitted);
        let admit = |number: i32, _: &mut JoinSet<()>| its.lock().unwrap().push(number);
        let accepting = Loop { clock: &clock, rejections: &rejections, remedy: "none" };
        let mut running = std::pin::pin!(accepting.run(poll_accept, admit, &mut tasks, &mut watch));
        for waits in 0..=errors.len() {
            tokio::select! {
                biased;
                () = &mut running => panic!("it ends only when the service drains"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(admitted.lock().unwrap().is_empty(), waits < 2, "after {waits} waits");
            clock.advance(EXHAUSTED_WAIT);
        }
        assert_eq!(*admitted.lock().unwrap(), [7]);
        shutdown.advance(Phase::Draining);
        running.await;
    }
}
