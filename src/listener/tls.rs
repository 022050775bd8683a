//! The server's side of TLS: the certificate, its renewal while we run, and handshakes.
//!
//! Rule: a pair that cannot be used never replaces one that can; TLS 1.2 and 1.3 only. A handshake that
//! fails is told in words that help to mend the client. Must not know SMTP.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use thiserror::Error;
use tokio::{net::TcpStream, task::spawn_blocking};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, AlertDescription, PeerIncompatible, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

use super::options::TlsFiles;
use crate::{clock::Clock, file_stamp::FileStamp, reasons, sync, text};

/// How long a client may take for a handshake: a slow device computes for some seconds.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at the files; a handshake costs far more than a look.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Octets of a certificate or key file: chains have some KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a certificate cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TlsError {
    /// The file is not there, or not for us.
    #[error(
        "cannot read {}: {reason}. The user that Pillarbox runs as must be able to read certificate and key",
        path.display()
    )]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// It can be read, but is something else.
    #[error("{} {what}", path.display())]
    Content {
        /// Which one.
        path: PathBuf,
        /// What is wrong, and the remedy.
        what: String,
    },
    /// Both are good, but not together.
    #[error(
        "the key in {} does not belong to the first certificate in {}. The certificate file must begin with \
         the certificate of this host, followed by those of its issuers",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
}

/// A certificate and its key, renewed when their files change.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// The files that were read last, whether they were good or not.
    stamps: Option<[FileStamp; 2]>,
    looked_at_ms: u64,
}

/// Whether these files can be used, for whoever checks a configuration.
pub(crate) fn check(files: &TlsFiles) -> Result<(), TlsError> {
    load(files).map(drop)
}

impl Tls {
    /// Reads the files.
    pub(crate) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let current = Current { config: load(&files)?, stamps, looked_at_ms: 0 };
        Ok(Self { files, current: Mutex::new(current) })
    }

    /// Does the handshake with a client, within its time.
    pub(crate) async fn accept(
        &self,
        socket: TcpStream,
        clock: &dyn Clock,
    ) -> Result<Box<TlsStream<TcpStream>>, Failure> {
        let acceptor = TlsAcceptor::from(self.config(clock.now().since_boot_ms).await);
        let handshake = async {
            let first = peek(&socket).await.map_err(Failure::lost)?;
            if first.is_empty() {
                return Err(Failure::unspoken());
            }
            let hello = Hello::of(&first);
            acceptor.accept(socket).await.map(Box::new).map_err(|error| Failure::of(&hello, &error))
        };
        tokio::select! {
            biased;
            outcome = handshake => outcome,
            () = clock.sleep(HANDSHAKE_TIMEOUT) => Err(Failure::timed_out()),
        }
    }

    /// The configuration for a new handshake. One caller looks at the files, the others go on with what
    /// there is.
    async fn config(&self, now_ms: u64) -> Arc<ServerConfig> {
        let interval_ms = u64::try_from(LOOK_INTERVAL.as_millis()).unwrap_or(u64::MAX);
        let (config, known) = {
            let mut current = self.lock();
            if now_ms < current.looked_at_ms.saturating_add(interval_ms) {
                return Arc::clone(&current.config);
            }
            current.looked_at_ms = now_ms;
            (Arc::clone(&current.config), current.stamps)
        };
        let files = self.files.clone();
        let look = spawn_blocking(move || {
            // Before the content: a change in between is seen at the next look.
            let found = stamps(&files);
            (found != known).then(|| (found, load(&files)))
        });
        // The look is cut short only when the runtime ends.
        let Ok(Some((stamps, loaded))) = look.await else { return config };
        let mut current = self.lock();
        current.stamps = stamps;
        match loaded {
            Ok(config) => {
                tracing::info!(file = %self.files.certificate.display(), "certificate renewed");
                current.config = config;
            }
            Err(error) => tracing::error!(%error, "new certificate not usable; the old one stays"),
        }
        Arc::clone(&current.config)
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        sync::lock(&self.current)
    }
}

/// The first octets of the client, which stay in the socket.
async fn peek(socket: &TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HELLO_BYTES];
    let read = socket.peek(&mut bytes).await?;
    bytes.truncate(read);
    Ok(bytes)
}

fn stamps(files: &TlsFiles) -> Option<[FileStamp; 2]> {
    Some([FileStamp::of(&files.certificate).ok()?, FileStamp::of(&files.key).ok()?])
}

fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let content = |path: &Path, what: String| TlsError::Content { path: path.to_owned(), what };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&read(&files.certificate)?).collect();
    let chain = chain.map_err(|error| {
        content(&files.certificate, format!("holds no certificates in PEM: {error}"))
    })?;
    if chain.is_empty() {
        let what = "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned();
        return Err(content(&files.certificate, what));
    }
    // The words of a PEM error do not quote the file.
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|_| {
        content(
            &files.key,
            "holds no private key in PEM without a passphrase (-----BEGIN PRIVATE KEY-----)".into(),
        )
    })?;
    let unusable = |error: rustls::Error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { key: files.key.clone(), certificate: files.certificate.clone() }
        }
        error => content(
            &files.certificate,
            format!("and {} cannot be used: {}", files.key.display(), reasons::of_tls(&error)),
        ),
    };
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, TlsError> {
    let unreadable = |error: io::Error| TlsError::Unreadable {
        path: path.to_owned(),
        reason: reasons::of_file(&error),
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        let what = format!(
            "is not a file of at most {FILE_BYTES_MAX} octets with a certificate or key in PEM"
        );
        return Err(TlsError::Content { path: path.to_owned(), what });
    }
    // It may grow while it is read.
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    let plain = text::only_utf8(&bytes);
    let plain =
        plain.map_err(|what| TlsError::Content { path: path.to_owned(), what: what.to_owned() })?;
    Ok(plain.to_vec().into())
}

/// Octets of a ClientHello up to its version.
const HELLO_BYTES: usize = 11;

/// How a client began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// A ClientHello; the highest version it offers, but for 1.3, which is offered elsewhere.
    Tls(u16),
    /// The hello of SSL 2.0.
    Ssl2,
    /// No TLS.
    Other,
    /// Too few octets to tell.
    Unknown,
}

impl Hello {
    /// RFC 8446 section 4.1.2 and 5.1: record type 22, record version, length, message type 1, length,
    /// version.
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes {
            [22, _, _, _, _, 1, _, _, _, major, minor, ..] => {
                Self::Tls(u16::from_be_bytes([*major, *minor]))
            }
            [22, ..] | [] => Self::Unknown,
            [length, _, 1, ..] if length & 0x80 != 0 => Self::Ssl2,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Hello {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tls(0x0300) => "SSL 3.0",
            Self::Tls(0x0301) => "TLS 1.0",
            Self::Tls(0x0302) => "TLS 1.1",
            Self::Tls(_) => "TLS 1.2 or later",
            Self::Ssl2 => "SSL 2.0",
            Self::Other => "plain text",
            Self::Unknown => "an unknown version",
        })
    }
}

/// A handshake that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What happened.
    pub(crate) reason: String,
    /// What can be done about it; empty when that is not known.
    pub(crate) remedy: &'static str,
    /// Whether the client closed without having sent one octet: somebody looks whether the port is open.
    pub(super) unspoken: bool,
}

const OLD_CLIENT: &str = "hide STARTTLS from this client: starttls = false in a [[listener.network]] section with its \
                          address, and let it send in plain text within a network you trust";
const NOT_TRUSTED: &str = "the client does not trust the certificate: give it the issuer's certificate, or a \
                           certificate with the name that the client connects to";
const PLAIN_TEXT: &str = "set the client to TLS, or to a port without it";

impl Failure {
    /// What an error of the handshake means, given how the client began.
    pub(super) fn of(hello: &Hello, error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let old = matches!(hello, Hello::Tls(..0x0303) | Hello::Ssl2);
        match inner {
            _ if old => Self::told(format!("handshake refused, client speaks {hello}"), OLD_CLIENT),
            _ if *hello == Hello::Other => Self::told("client sent no TLS".into(), PLAIN_TEXT),
            Some(rustls::Error::PeerIncompatible(
                what @ (PeerIncompatible::NoCipherSuitesInCommon
                | PeerIncompatible::NoKxGroupsInCommon
                | PeerIncompatible::NoSignatureSchemesInCommon),
            )) => Self::told(
                format!("client knows no safe cipher that we know ({})", reasons::spaced(what)),
                OLD_CLIENT,
            ),
            Some(rustls::Error::AlertReceived(
                alert @ (AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired),
            )) => Self::told(
                format!("client refused our certificate ({})", reasons::spaced(alert)),
                NOT_TRUSTED,
            ),
            Some(error) => Self::told(reasons::of_tls(error), ""),
            None => Self::lost(error),
        }
    }

    fn told(reason: String, remedy: &'static str) -> Self {
        Self { reason, remedy, unspoken: false }
    }

    /// The client closed before its first octet.
    pub(super) fn unspoken() -> Self {
        Self { unspoken: true, ..Self::told("closed without a word".into(), "") }
    }

    /// The connection broke.
    pub(super) fn lost(error: impl fmt::Display) -> Self {
        Self::told(format!("connection lost: {error}"), "")
    }

    /// It took too long.
    pub(super) fn timed_out() -> Self {
        Self::told("client did not finish in time".into(), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stage {
        _directory: tempfile::TempDir,
        files: TlsFiles,
    }

    impl Stage {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let [certificate, key] =
                ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
            let stage = Self { _directory: directory, files: TlsFiles { certificate, key } };
            stage.write(&pair());
            stage
        }

        fn write(&self, (certificate, key): &(String, String)) {
            fs::write(&self.files.certificate, certificate).unwrap();
            fs::write(&self.files.key, key).unwrap();
        }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["relay.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_the_remedy() {
        let stage = Stage::new();
        assert_eq!(check(&stage.files), Ok(()));
        let ((certificate, key), other) = (pair(), pair());
        for (written, expected) in [
            ((certificate.clone(), other.1), "does not belong to the first certificate"),
            ((key.clone(), key.clone()), "holds no certificate in PEM"),
            ((certificate.clone(), certificate.clone()), "holds no private key in PEM"),
            (
                (certificate, "-----BEGIN PRIVATE KEY-----\nTOPSECRET".to_owned()),
                "holds no private key",
            ),
        ] {
            stage.write(&written);
            let text = check(&stage.files).unwrap_err().to_string();
            assert!(text.contains(expected) && !text.contains("TOPSECRET"), "{text}");
        }
        fs::remove_file(&stage.files.key).unwrap();
        stage.write(&pair());
        fs::remove_file(&stage.files.key).unwrap();
        assert!(check(&stage.files).unwrap_err().to_string().contains("key.pem"));
    }

    #[tokio::test]
    async fn a_new_pair_is_used_a_bad_one_is_not_and_the_files_are_not_looked_at_all_the_time() {
        let stage = Stage::new();
        let tls = Tls::open(stage.files.clone()).unwrap();
        let first = tls.config(10_000).await;
        stage.write(&pair());
        assert!(Arc::ptr_eq(&first, &tls.config(10_001).await), "too early for another look");
        let second = tls.config(20_000).await;
        assert!(!Arc::ptr_eq(&first, &second));
        fs::write(&stage.files.key, "half a ke").unwrap();
        assert!(Arc::ptr_eq(&second, &tls.config(30_000).await));
        fs::remove_file(&stage.files.key).unwrap();
        assert!(Arc::ptr_eq(&second, &tls.config(40_000).await));
        stage.write(&pair());
        assert!(!Arc::ptr_eq(&second, &tls.config(50_000).await));
    }

    fn failure(hello: Hello, error: rustls::Error) -> Failure {
        Failure::of(&hello, &io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn the_version_of_a_hello_is_that_of_the_hello_not_of_its_record() {
        let hello = |version: [u8; 2]| [22, 3, 1, 0, 200, 1, 0, 0, 196, version[0], version[1]];
        for (bytes, name) in [
            (&hello([3, 0])[..], "SSL 3.0"),
            (&hello([3, 1]), "TLS 1.0"),
            (&hello([3, 2]), "TLS 1.1"),
            (&hello([3, 3]), "TLS 1.2 or later"),
            (&[0x80, 0x2e, 1, 3, 1], "SSL 2.0"),
            (b"EHLO printer", "plain text"),
            (&[22, 3, 1], "an unknown version"),
            (&[], "an unknown version"),
        ] {
            assert_eq!(Hello::of(bytes).to_string(), name, "{bytes:?}");
        }
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let old = failure(Hello::Tls(0x0301), PeerIncompatible::Tls12NotOffered.into());
        assert_eq!(old.reason, "handshake refused, client speaks TLS 1.0");
        assert!(old.remedy.contains("starttls = false"));
        let ciphers = failure(Hello::Tls(0x0303), PeerIncompatible::NoCipherSuitesInCommon.into());
        assert!(ciphers.remedy.contains("starttls = false"), "{ciphers:?}");
        let untrusted =
            failure(Hello::Tls(0x0303), rustls::Error::AlertReceived(AlertDescription::UnknownCA));
        assert!(untrusted.remedy.contains("issuer"), "{untrusted:?}");
        let plain = failure(Hello::Other, rustls::Error::HandshakeNotComplete);
        assert_eq!(plain.reason, "client sent no TLS");
    }
}
