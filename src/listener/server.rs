//! The listener: hands each connection a place and a task, and waits for all of them at the end.
//!
//! Rule: every task belongs to the loop's set; a client for whom there is no place costs one write and
//! no task. Must not know SMTP beyond the reply that turns a client away.

use std::{io, mem, net::SocketAddr, path::Path, sync::Arc};

use tokio::{net::TcpListener, task::JoinSet};

use super::{
    Clients, Options,
    accept::{Acceptor, LocalAcceptor},
    auth::Authenticator,
    bind::{Socket, Sockets},
    drop_directory::{Reader, Tally},
    limits::ConnectionLimits,
    service::{Rejections, Service},
    terms::{OpenError, Terms},
    throughput::Memory,
};
use crate::{
    clock::Clock,
    live::Live,
    queue::Queue,
    shutdown::{Phase, Watch},
    tasks::{self, Mishaps},
    unix_socket::UnixSocket,
};

/// Bound sockets and the terms for who comes in.
#[derive(Debug)]
pub struct Listener {
    terms: Live<Terms>,
    limits: Arc<ConnectionLimits>,
    sockets: Sockets,
    clients: Arc<Clients>,
    dropped: Option<Arc<Tally>>,
    mishaps: Mishaps,
}

/// A hold on a listener that runs.
#[derive(Clone, Debug)]
pub(crate) struct ListenerHandle {
    terms: Live<Terms>,
    limits: Arc<ConnectionLimits>,
}

/// Options whose files have been read.
#[derive(Debug)]
pub(crate) struct Prepared(Terms);

impl ListenerHandle {
    /// Reads the files that the options name.
    ///
    /// # Errors
    /// One of them cannot be used; nothing has changed.
    pub(crate) fn prepare(&self, options: Options) -> Result<Prepared, OpenError> {
        Terms::open(options).map(Prepared)
    }

    /// Serves the next connection, and each after it, by these. Those that are open end by the old ones; the sockets and
    /// the drop directory stay.
    pub(crate) fn apply(&self, Prepared(terms): Prepared) {
        let options = &terms.options;
        self.limits.set(options.max_connections, options.max_connections_per_client);
        self.terms.set(terms);
    }
}

impl Listener {
    /// A listener on these sockets, as [`super::bind()`] returns them. Certificate and users are read.
    pub fn open(options: Options, sockets: Sockets) -> Result<Self, OpenError> {
        let limits =
            ConnectionLimits::new(options.max_connections, options.max_connections_per_client);
        let dropped =
            options.local.drop_directory.as_deref().map(|path| Arc::new(Tally::new(path)));
        let mishaps = Mishaps::default();
        let terms = Live::new(Terms::open(options)?);
        Ok(Self { terms, limits, sockets, clients: Arc::default(), dropped, mishaps })
    }

    /// A hold for whoever changes its options while it runs.
    #[must_use]
    pub(crate) fn handle(&self) -> ListenerHandle {
        ListenerHandle { terms: self.terms.clone(), limits: Arc::clone(&self.limits) }
    }

    /// What lies in the drop directory, if there is to be one.
    #[must_use]
    pub fn dropped(&self) -> Option<Arc<Tally>> {
        self.dropped.clone()
    }

    /// Where the local socket is, if there is one.
    #[must_use]
    pub(crate) fn local_socket(&self) -> Option<&Path> {
        self.sockets.local.as_ref().map(UnixSocket::path)
    }

    /// The clients it has met, for whoever shows them.
    #[must_use]
    pub fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.clients)
    }

    /// Counts tasks that have failed.
    #[must_use]
    pub(crate) fn mishaps(&self) -> Mishaps {
        self.mishaps.clone()
    }

    /// The addresses of the sockets, with the ports that the kernel chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.network.iter().filter_map(|socket| socket.socket.local_addr().ok()).collect()
    }

    /// Serves clients until the service drains; then lets messages in transfer finish, at most
    /// `options.drain` long. An error means that the sockets cannot be used at all.
    pub async fn run(
        mut self,
        store: Arc<Queue>,
        clock: Arc<dyn Clock>,
        mut shutdown: Watch,
    ) -> io::Result<()> {
        let sockets = mem::take(&mut self.sockets.network).into_iter();
        let sockets = sockets
            .map(|Socket { socket, endpoint }| Ok((TcpListener::from_std(socket)?, endpoint)));
        let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
        let (local_socket, dropped) = (self.sockets.local.take(), self.dropped.take());
        let (drain, mishaps) = (self.terms.get().options.drain, self.mishaps());
        let limits = Arc::clone(&self.limits);
        let service = Arc::new(self.service(store, Arc::clone(&clock)));
        let acceptor =
            Acceptor { limits, service: Arc::clone(&service), shutdown: shutdown.clone() };
        let local_acceptor = LocalAcceptor::new(Arc::clone(&service), shutdown.clone());
        let (mut connections, mut local_connections) = (JoinSet::new(), JoinSet::new());
        if let Some(tally) = dropped {
            // Its message in transfer is finished with those of the others.
            let (stop, its_service) = (shutdown.clone(), Arc::clone(&service));
            let make =
                move || Reader::new(Arc::clone(&tally), Arc::clone(&its_service)).run(stop.clone());
            connections.spawn(tasks::tend("drop directory", mishaps, Arc::clone(&clock), make));
        }
        let accepting_locally = async {
            if let Some(socket) = local_socket {
                local_acceptor.accept_all(socket, &mut local_connections).await;
            }
        };
        tokio::join!(
            acceptor.accept_all(&sockets, &mut connections, &mut shutdown),
            accepting_locally
        );
        // From here on the kernel refuses new connections.
        drop(sockets);
        tokio::select! {
            () = async {
                while connections.join_next().await.is_some() {}
                while local_connections.join_next().await.is_some() {}
            } => {}
            () = clock.sleep(drain) => {
                let open = connections.len() + local_connections.len();
                tracing::warn!(open, "connections cut: they did not end in time");
            }
            () = shutdown.reached(Phase::Immediate) => {}
        }
        connections.shutdown().await;
        local_connections.shutdown().await;
        service.rejections.tell_the_rest();
        Ok(())
    }

    fn service(self, store: Arc<Queue>, clock: Arc<dyn Clock>) -> Service {
        Service {
            store,
            authenticator: Authenticator::new(Arc::clone(&self.clients), Arc::clone(&clock)),
            memory: Memory::new(self.terms.get().options.limits.message_memory_bytes),
            clients: self.clients,
            rejections: Rejections::default(),
            terms: self.terms,
            clock,
        }
    }
}
