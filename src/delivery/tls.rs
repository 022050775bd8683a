//! The TLS side of the upstream connection: trust roots, verification, the server's name.
//!
//! Rule: a certificate is always verified against the platform's roots and `ca_file`, and nothing is ever
//! pinned, since Google changes its issuers (docs/gmail.md section 1.2). Roots are read when the first
//! connection needs them, off the async threads, and shared. Must not know SMTP.

use std::{
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, Weak},
};

use tokio::{net::TcpStream, sync::OnceCell, task::spawn_blocking};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, CertificateError, ClientConfig, ProtocolVersion, RootCertStore,
        client::Resumption,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::answer::Fault;
use crate::{reasons, sync, text};

/// Octets of a file of trust roots: the largest bundles have 300 KiB.
const CA_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Sessions remembered for a quicker handshake; there is one server and there are few connections.
const SESSIONS_REMEMBERED: usize = 8;

/// The trust roots that are in use. Who trusts the same shares them: reading those of the platform takes a megabyte for a
/// moment, and keeping them some hundred KiB.
static IN_USE: Mutex<Vec<InUse>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct InUse {
    /// How many behind those of the platform are of a `ca_file`.
    added: usize,
    roots: Weak<RootCertStore>,
}

/// Makes connectors; the configuration behind them is built once.
#[derive(Debug)]
pub(super) struct Trust {
    ca_file: Option<PathBuf>,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Trust {
    pub(super) fn new(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, config: OnceCell::new() }
    }

    /// A connector. A failure is not remembered, so a corrected file is read at the next attempt.
    pub(super) async fn connector(&self) -> Result<TlsConnector, Fault> {
        let build = || async {
            let ca_file = self.ca_file.clone();
            match spawn_blocking(move || client_config(ca_file)).await {
                Ok(config) => config,
                Err(_) => Err(Fault::Configuration("reading the trust roots failed".into())),
            }
        };
        let config = self.config.get_or_try_init(build).await?;
        Ok(TlsConnector::from(Arc::clone(config)))
    }
}

/// The name that the certificate must prove.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, Fault> {
    ServerName::try_from(host.to_owned()).map_err(|_| {
        Fault::Configuration(format!(
            "upstream.host {host:?} is neither a host name nor an address"
        ))
    })
}

/// The server's own certificate (DER) and the version of TLS.
pub(super) fn protection(stream: &TlsStream<TcpStream>) -> Option<(Vec<u8>, &'static str)> {
    let session = stream.get_ref().1;
    let certificate = session.peer_certificates()?.first()?.to_vec();
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    Some((certificate, version))
}

/// What a failed handshake with `host` means.
pub(super) fn handshake_fault(host: &str, error: &io::Error) -> Fault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            Fault::Certificate(certificate(host, reason))
        }
        Some(rustls::Error::NoCertificatesPresented) => {
            Fault::Certificate("none was presented".into())
        }
        Some(rustls::Error::InvalidMessage(_)) => Fault::PlainText,
        Some(error) => Fault::Lost(format!("the TLS handshake failed: {}", reasons::of_tls(error))),
        None => Fault::Lost(format!("the TLS handshake failed: {error}")),
    }
}

/// What is wrong with a certificate, in words for the administrator. Google shows one for `invalid2.invalid`
/// to a client that sends no server name, and none is sent with an address (docs/gmail.md section 1.2).
fn certificate(host: &str, reason: &CertificateError) -> String {
    if host.parse::<IpAddr>().is_ok() {
        return format!(
            "{}; {host} is an address, so no server name is sent and Google shows a certificate for \
             invalid2.invalid: write the name in upstream.host",
            reasons::of_certificate(reason)
        );
    }
    reasons::of_certificate(reason)
}

fn client_config(ca_file: Option<PathBuf>) -> Result<Arc<ClientConfig>, Fault> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::Configuration(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots(ca_file)?)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS_REMEMBERED);
    Ok(Arc::new(config))
}

/// The roots of the platform, as whoever uses them has read them, and of the file as it is now.
fn roots(ca_file: Option<PathBuf>) -> Result<Arc<RootCertStore>, Fault> {
    let mut added = RootCertStore::empty();
    if let Some(path) = ca_file {
        add_file(&mut added, &path)?;
    }
    // Who comes second waits for the first to have read them.
    let mut in_use = sync::lock(&IN_USE);
    in_use.retain(|one| one.roots.strong_count() > 0);
    let has_added = |one: &&InUse| one.added == added.len();
    let mut alike = in_use.iter().filter(has_added).filter_map(|one| one.roots.upgrade());
    if let Some(shared) = alike.find(|one| one.roots.ends_with(&added.roots)) {
        return Ok(shared);
    }
    let mut roots = RootCertStore::empty();
    // Single unreadable certificates of the platform are its own affair; having none is reported below.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let of_file = added.len();
    roots.roots.append(&mut added.roots);
    if roots.is_empty() {
        return Err(Fault::Configuration(
            "no trust roots: install the package ca-certificates, or set upstream.ca_file".into(),
        ));
    }
    let roots = Arc::new(roots);
    in_use.push(InUse { added: of_file, roots: Arc::downgrade(&roots) });
    Ok(roots)
}

/// Why `upstream.ca_file` cannot be used, if it cannot.
#[must_use]
pub(crate) fn ca_file_fault(path: &std::path::Path) -> Option<String> {
    match add_file(&mut RootCertStore::empty(), path) {
        Err(Fault::Configuration(reason)) => Some(reason),
        Err(_) | Ok(()) => None,
    }
}

fn add_file(roots: &mut RootCertStore, path: &std::path::Path) -> Result<(), Fault> {
    let refused = |reason: String| {
        Fault::Configuration(format!("upstream.ca_file {}: {reason}", path.display()))
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| refused(error.to_string()))?;
    let read = io::Read::read_to_end(&mut io::Read::take(file, CA_FILE_BYTES_MAX), &mut bytes);
    read.map_err(|error| refused(error.to_string()))?;
    let plain = text::only_utf8(&bytes).map_err(|words| refused(format!("it {words}")))?;
    let certificates = CertificateDer::pem_slice_iter(plain);
    let before = roots.len();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.len() == before {
        return Err(refused("contains no certificate in PEM".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_trusts_the_same_shares_the_memory_of_it_and_nobody_trusts_more() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            let path = directory.path().join(name);
            std::fs::write(&path, made.cert.pem()).unwrap();
            path
        };
        let (one, other) = (file("one.pem"), file("other.pem"));
        let first = roots(Some(one.clone())).unwrap();
        let copy = directory.path().join("copy.pem");
        std::fs::copy(&one, &copy).unwrap();
        assert!(Arc::ptr_eq(&first, &roots(Some(copy)).unwrap()), "the same under another name");
        let second = roots(Some(other.clone())).unwrap();
        assert!(!Arc::ptr_eq(&first, &second) && first.roots != second.roots);
        // A file that has changed is read anew.
        std::fs::copy(&other, &one).unwrap();
        assert!(Arc::ptr_eq(&second, &roots(Some(one)).unwrap()));
    }
}
