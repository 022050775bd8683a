//! From an accepted socket to the first step of its session: whom it is from, whether there is a place, TLS where it
//! comes first.
//!
//! Rule: nobody is greeted before a place is certain. Must not know SMTP.

use std::net::IpAddr;

use tokio::net::TcpStream;

use super::{
    connection, events,
    options::Endpoint,
    places::Place,
    proxy::{self, Source},
    service::{Guest, Service, TlsFrom},
    stream::Stream,
};
use crate::shutdown::{Phase, Watch};

/// A connection that was accepted and has a place. It is named already, unless a proxy has to tell the
/// client's address.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: TcpStream,
    pub(super) peer: IpAddr,
    pub(super) endpoint: Endpoint,
    pub(super) place: Place,
}

impl Arrival {
    /// Serves the client to the end.
    pub(super) async fn serve(self, service: &Service, mut shutdown: Watch) {
        let (watch, seat) = (shutdown.clone(), self.place.seat());
        seat.waits_from(service.clock.now().since_boot_ms, false);
        let prepared = tokio::select! {
            biased;
            // Nobody was greeted yet, so nobody is owed a word.
            () = shutdown.reached(Phase::Draining) => None,
            () = seat.dismissed() => None,
            prepared = self.prepare(service) => prepared,
        };
        if let Some((stream, guest, place)) = prepared {
            service.clients.connected(guest.client.address, service.clock.now());
            connection::serve_at(&seat, stream, guest, service, watch).await;
            drop(place);
        }
    }

    /// What comes before the greeting; boxed where it is large, since most connections need none of it.
    async fn prepare(mut self, service: &Service) -> Option<(Stream, Guest, Place)> {
        // Replies are single small writes; waiting for more to send would only delay them.
        if let Err(error) = self.socket.set_nodelay(true) {
            tracing::debug!(client = %self.peer, %error, "connection lost");
            return None;
        }
        let source = if self.endpoint.proxy {
            Box::pin(self.named_by_proxy(service)).await?
        } else {
            Source::Client(self.peer)
        };
        let mut guest = Guest::of(source, self.peer, &service.options);
        if !self.endpoint.implicit_tls {
            return Some((Stream::Plain(self.socket), guest, self.place));
        }
        guest.client.encrypted = true;
        let stream =
            Box::pin(service.handshake(self.socket, guest.client.address, TlsFrom::FirstByte))
                .await;
        matches!(stream, Stream::Tls(_)).then_some((stream, guest, self.place))
    }

    async fn named_by_proxy(&mut self, service: &Service) -> Option<Source> {
        let source = match proxy::read(&mut self.socket, &*service.clock).await {
            Ok(source) => source,
            Err(error) => {
                let told = service.clients.without_proxy_header(self.peer, service.clock.now());
                if let Some(count) = told {
                    let (proxy, address) = (self.peer, self.endpoint.address);
                    tracing::warn!(%proxy, %address, %error, count = events::several(count), "refused");
                }
                return None;
            }
        };
        let Source::Client(client) = source else { return Some(source) };
        match self.place.name(service.guest(client)) {
            Ok(()) => Some(source),
            Err(reason) => {
                service.turn_away(&self.socket, self.endpoint, client, reason);
                None
            }
        }
    }
}
