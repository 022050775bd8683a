//! The accept loop: hands each connection a place and a task, and waits for all of them at the end.
//!
//! Rule: every task belongs to the loop's set; a client for whom there is no place costs one write and
//! no task. Must not know SMTP beyond the reply that turns a client away.

use std::{
    future::poll_fn,
    io, mem,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use rustix::io::Errno;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    Clients, Options,
    connection::{self, Service},
    places::{NoPlace, Places},
};
use crate::{
    clock::Clock,
    queue::store::Store,
    shutdown::{Phase, Watch},
    smtp::{
        reply::{self, Reply},
        session::Client,
    },
};

/// How long to wait when the process has no file descriptor left for another connection.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// Turned-away clients are logged at most this often, with their number: a flood must not fill the log.
const TURNED_AWAY_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Bound sockets and the rules for who comes in.
#[derive(Debug)]
pub struct Listener {
    options: Options,
    sockets: Vec<StdListener>,
    clients: Arc<Clients>,
}

impl Listener {
    /// A listener on these sockets, as [`super::bind()`] returns them.
    #[must_use]
    pub fn new(options: Options, sockets: Vec<StdListener>) -> Self {
        Self { options, sockets, clients: Arc::default() }
    }

    /// The clients it has met, for whoever shows them.
    #[must_use]
    pub fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.clients)
    }

    /// The addresses of the sockets, with the ports that the kernel chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Serves clients until the service drains; then lets messages in transfer finish, at most
    /// `options.drain` long. An error means that the sockets cannot be used at all.
    pub async fn run(
        mut self,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        mut shutdown: Watch,
    ) -> io::Result<()> {
        let sockets = mem::take(&mut self.sockets);
        let sockets = sockets.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?;
        let drain = self.options.drain;
        let places = Places::new(self.options.max_connections, self.options.max_connections_per_client);
        let session_options = Arc::new(self.options.session.clone());
        let service = Arc::new(Service { store, clock: Arc::clone(&clock), session_options });
        let turned_away = TurnedAway { count: 0, silent_until_ms: 0 };
        let mut door =
            Door { options: self.options, places, service, shutdown: shutdown.clone(), turned_away };
        let mut connections = JoinSet::new();
        door.accept_all(&sockets, &mut connections, &mut shutdown).await;
        // From here on the kernel refuses new connections.
        drop(sockets);
        tokio::select! {
            () = async { while connections.join_next().await.is_some() {} } => {}
            () = clock.sleep(drain) => {
                tracing::warn!(open = connections.len(), "connections cut: they did not end in time");
            }
            () = shutdown.reached(Phase::Immediate) => {}
        }
        connections.shutdown().await;
        Ok(())
    }
}

/// What the accept loop knows.
struct Door {
    options: Options,
    places: Arc<Places>,
    service: Arc<Service>,
    shutdown: Watch,
    turned_away: TurnedAway,
}

/// How many clients were turned away since the last line about it.
struct TurnedAway {
    count: u64,
    silent_until_ms: u64,
}

impl Door {
    async fn accept_all(
        &mut self,
        sockets: &[TcpListener],
        connections: &mut JoinSet<()>,
        shutdown: &mut Watch,
    ) {
        let draining = shutdown.reached(Phase::Draining);
        tokio::pin!(draining);
        let mut next = 0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut draining => return,
                Some(_) = connections.join_next() => continue,
                accepted = accept_any(sockets, &mut next) => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, connections),
                Err(error) if is_exhausted(&error) => {
                    tracing::warn!(%error, "cannot take connections: raise LimitNOFILE or lower max_connections");
                    self.service.clock.sleep(EXHAUSTED_WAIT).await;
                }
                // The client was gone before we came to it.
                Err(error) => tracing::debug!(%error, "connection lost"),
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
        let address = peer.ip().to_canonical();
        let place = match self.places.take(address) {
            Ok(place) => place,
            Err(reason) => return self.turn_away(&stream, address, reason),
        };
        let client = Client { address, encrypted: false, policy: self.options.policy_of(address) };
        let service = Arc::clone(&self.service);
        let shutdown = self.shutdown.clone();
        connections.spawn(async move {
            connection::serve(stream, client, &service, shutdown).await;
            drop(place);
        });
    }

    /// One write into an empty send buffer, which cannot block, and the connection is closed.
    fn turn_away(&mut self, stream: &TcpStream, client: IpAddr, reason: NoPlace) {
        let hostname = &self.options.session.hostname;
        let (reply, reason): (Reply, _) = match reason {
            NoPlace::Full => (reply::too_many_connections(hostname), "max_connections"),
            NoPlace::ClientFull => (reply::too_many_of_client(hostname), "max_connections_per_client"),
        };
        let mut bytes = Vec::new();
        reply.render(&mut bytes);
        if let Err(error) = stream.try_write(&bytes) {
            tracing::debug!(%client, %error, "connection lost");
        }
        let now_ms = self.service.clock.now().since_boot_ms;
        if let Some(count) = self.turned_away.count_another(now_ms) {
            tracing::warn!(%client, reason, count, "refused");
        }
    }
}

impl TurnedAway {
    /// The number to be logged, when it is time for a line.
    fn count_another(&mut self, now_ms: u64) -> Option<u64> {
        self.count += 1;
        (now_ms >= self.silent_until_ms).then(|| {
            self.silent_until_ms = now_ms + TURNED_AWAY_LOG_INTERVAL.as_millis() as u64;
            mem::take(&mut self.count)
        })
    }
}

/// The next connection on any of the sockets, which take turns in being asked first.
async fn accept_any(sockets: &[TcpListener], next: &mut usize) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|context| {
        for offset in 0..sockets.len() {
            let index = (*next + offset) % sockets.len();
            if let Poll::Ready(accepted) = sockets[index].poll_accept(context) {
                *next = index + 1;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// Whether the process or the machine has run out of what a connection needs, see accept(2).
fn is_exhausted(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_turned_away_clients_is_logged_every_ten_seconds_with_its_number() {
        let mut turned_away = TurnedAway { count: 0, silent_until_ms: 0 };
        let logged: Vec<_> = (0..=20).map(|second| turned_away.count_another(second * 1000)).collect();
        let lines: Vec<_> = logged.into_iter().flatten().collect();
        assert_eq!(lines, [1, 10, 10]);
    }
}
