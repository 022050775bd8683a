//! The TCP port of `[admin] http`: metrics and probes, read only.
//!
//! Rule: there is no authorisation here, so nothing here changes anything or shows whose mail it is. Few may talk at a
//! time and not for long. Must not know what is shown.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::conversation::Conversation;

/// Conversations at a time; more wait. A monitor and a supervisor need two.
const CONNECTIONS_MAX: usize = 8;
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
    permits: Arc<Semaphore>,
}

impl Port {
    /// Listens on `address`; within a runtime.
    pub fn bind(address: SocketAddr) -> Result<Self, PortError> {
        let bind = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let listener = bind().map_err(|error| PortError { address, error })?;
        Ok(Self { listener, permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)) })
    }
}

impl axum::serve::Listener for Port {
    type Io = Conversation<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // The semaphore is never closed, so an error cannot happen; waiting a moment is safe.
            if let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await
                && let Ok((stream, address)) = self.listener.accept().await
            {
                return (Conversation::new(stream, permit), address);
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
