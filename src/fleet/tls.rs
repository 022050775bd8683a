//! TLS to the database: verified always, by the platform's trust roots and the one of the configuration.
//!
//! Rule: nothing is asked of a server that has not proved its name. Files are read for each connection, so that renewed ones
//! need no restart. Must not know what is asked.

use std::{
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream as Rustls,
    rustls::{
        self, ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

use super::options::TlsFiles;
use crate::reasons;

/// What connections to the database are made with.
#[derive(Clone)]
pub(super) struct Connector(Arc<ClientConfig>);

impl Connector {
    /// Reads the files.
    pub(super) fn new(files: &TlsFiles) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        // Single unreadable certificates of the platform are its own affair; having none is said below.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = &files.ca_file {
            for certificate in certificates("ca_file", path)? {
                roots.add(certificate).map_err(|error| refused("ca_file", path, error))?;
            }
        }
        if roots.is_empty() {
            return Err(
                "there are no trust roots: install the package ca-certificates, or set fleet.ca_file"
                    .into(),
            );
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots);
        let config = match &files.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("client_certificate", certificate)?;
                let key_of = PrivateKeyDer::from_pem_file(key);
                let key_of = key_of.map_err(|error| refused("client_key", key, error))?;
                let with = builder.with_client_auth_cert(chain, key_of);
                with.map_err(|error| refused("client_key", key, error))?
            }
        };
        Ok(Self(Arc::new(config)))
    }
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = read.map_err(|error| refused(key, path, error))?;
    if found.is_empty() {
        return Err(refused(key, path, "it contains no certificate in PEM"));
    }
    Ok(found)
}

fn refused(key: &str, path: &Path, why: impl std::fmt::Display) -> String {
    format!("fleet.{key} {}: {why}", path.display())
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Connector {
    type Stream = Stream<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Handshake> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Handshake { config: Arc::clone(&self.0), name })
    }
}

/// A handshake that is to be made.
pub(super) struct Handshake {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Handshake {
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let made = TlsConnector::from(self.config).connect(self.name, stream).await;
            made.map(Stream).map_err(in_words)
        })
    }
}

/// Why a handshake failed, in words for the administrator.
fn in_words(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => io::Error::other(format!(
            "its certificate was not accepted: {}",
            reasons::of_certificate(reason)
        )),
        Some(tls) => {
            io::Error::other(format!("the TLS handshake failed: {}", reasons::of_tls(tls)))
        }
        None => error,
    }
}

/// A connection under TLS.
pub(super) struct Stream<S>(Rustls<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    /// The server has proved its name; more would need the hash of its certificate's own signature.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
