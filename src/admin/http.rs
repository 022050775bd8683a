//! The TCP port of `[admin] http`: metrics and probes, read only.
//!
//! Rule: there is no authorisation here, so nothing here changes anything or shows whose mail it is. Few may talk at a
//! time and not for long, and nobody keeps a probe out. Must not know what is shown.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};

use super::{
    audience::{Audience, Limits, Party},
    conversation::Conversation,
};
use crate::clock::Clock;

/// Conversations at a time. A monitor and a supervisor need two; whoever asks for nothing makes room for them.
const LIMITS: Limits = Limits { all: 32, of_one: 8, kept: 8 };
/// Pause after an accept failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why nobody can listen there.
#[derive(Debug, Error)]
#[error(
    "cannot listen on {address} for metrics and probes: {error}; choose another address for [admin] http, or \"off\""
)]
pub struct PortError {
    address: SocketAddr,
    error: io::Error,
}

/// A listening port.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    audience: Arc<Audience>,
    clock: Arc<dyn Clock>,
}

impl Port {
    /// Listens on `address`; within a runtime.
    pub fn bind(address: SocketAddr, clock: Arc<dyn Clock>) -> Result<Self, PortError> {
        let bind = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let listener = bind().map_err(|error| PortError { address, error })?;
        Ok(Self { listener, audience: Audience::new(LIMITS), clock })
    }
}

impl axum::serve::Listener for Port {
    type Io = Conversation<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else {
                self.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // Nobody waits here: who has no place is closed, so that the next one is seen.
            if let Some(place) = self.audience.enter(Party::of_address(address.ip())) {
                return (Conversation::new(stream, place, &self.clock), address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get, serve::Listener as _};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        task::JoinSet,
        time::timeout,
    };

    use super::*;
    use crate::clock::SystemClock;

    /// A probe that hears nothing for so long has failed.
    const PATIENCE: Duration = Duration::from_secs(5);

    async fn probe(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    #[tokio::test]
    async fn slow_idle_and_silent_connections_keep_no_probe_out() {
        let clock = Arc::new(SystemClock::new());
        let port = Port::bind("127.0.0.1:0".parse().unwrap(), clock).unwrap();
        let address = port.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            axum::serve(port, Router::new().route("/", get(async || "alive"))).await
        });
        let mut slow = Vec::new();
        for said in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"].repeat(20) {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            slow.push(stream);
        }
        for _ in 0..5 {
            assert!(probe(address).await.ends_with("alive"));
        }
    }
}
