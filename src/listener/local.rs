//! The clients of the local socket: the kernel names each client's user, and the session is the listener's own.
//!
//! Rule: a user who fills his places keeps neither other users nor root out, and never a client of the network.
//! Must not know SMTP beyond the reply that turns a client away.

use std::{sync::Arc, task::Context};

use tokio::{net::UnixStream, task::JoinSet};

use super::{
    accept::Loop,
    connection,
    places::{self, NoPlace, Place, Places},
    service::{Guest, Local, Service},
    stream::Stream,
    told::Kind,
    user,
};
use crate::{shutdown::Watch, smtp::reply, unix_socket::UnixSocket};

/// What admits the local connections.
pub(super) struct LocalDoor {
    places: Arc<Places>,
    service: Arc<Service>,
    shutdown: Watch,
}

impl LocalDoor {
    pub(super) fn new(service: Arc<Service>, shutdown: Watch) -> Self {
        let limits = &service.options.limits;
        let places = Places::new(limits.local_connections, limits.local_connections_per_user);
        Self { places, service, shutdown }
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
            turned_away: &self.service.turned_away,
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
        match self.places.take(places::Guest::of_user(uid)) {
            Ok(place) => {
                let (service, shutdown) = (Arc::clone(&self.service), self.shutdown.clone());
                connections
                    .spawn(async move { serve(stream, uid, place, &service, shutdown).await });
            }
            Err(reason) => self.turn_away(&stream, uid, reason),
        }
    }

    /// One write into an empty send buffer, which cannot block.
    fn turn_away(&self, stream: &UnixStream, uid: u32, reason: NoPlace) {
        let hostname = &self.service.session_options.hostname;
        let (reply, reason) = match reason {
            NoPlace::Full => {
                (reply::too_many_connections(hostname), "all local connections are taken")
            }
            NoPlace::ClientFull => {
                (reply::too_many_of_client(hostname), "this user has all it may have")
            }
        };
        let mut bytes = Vec::new();
        reply.render(&mut bytes);
        if let Err(error) = stream.try_write(&bytes) {
            tracing::debug!(uid, %error, "local connection lost");
        }
        let now = self.service.clock.now();
        if let Some(count) = self.service.clients.tell_user(uid, Kind::TurnedAway, now) {
            tracing::warn!(uid, reason, count, "refused");
        }
    }
}

async fn serve(stream: UnixStream, uid: u32, place: Place, service: &Service, shutdown: Watch) {
    let user = user::named(uid, None).await;
    let guest = Guest::of_user(Local { uid, user, from_file: false }, &service.options);
    service.clients.connected(guest.client.address, service.clock.now());
    connection::serve(Stream::Local(stream), guest, service, shutdown).await;
    drop(place);
}
