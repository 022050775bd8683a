//! The server's side of TLS: the certificate, its renewal while we run, and handshakes.
//!
//! Rule: a pair that cannot be used never replaces one that can; TLS 1.2 and 1.3 only. A handshake that
//! fails is told in words that help to mend the client. Must not know SMTP.

use std::{
    fs,
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
        self, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

use super::{
    handshake::{Failure, HELLO_BYTES, Hello},
    options::TlsFiles,
};
use crate::{clock::Clock, fingerprint::Fingerprint, reasons, sync, text};

/// How long a client may take for a handshake: a slow device computes for some seconds.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
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
pub(super) struct Tls {
    files: TlsFiles,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// The files that were read last, whether they were good or not.
    stamps: Option<[Fingerprint; 2]>,
    looked_at_ms: u64,
}

/// Whether these files can be used, for whoever checks a configuration.
pub fn check(files: &TlsFiles) -> Result<(), TlsError> {
    load(files).map(drop)
}

impl Tls {
    /// Reads the files.
    pub(super) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let current = Current { config: load(&files)?, stamps, looked_at_ms: 0 };
        Ok(Self { files, current: Mutex::new(current) })
    }

    /// Does the handshake with a client, within its time.
    pub(super) async fn accept(
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

fn stamps(files: &TlsFiles) -> Option<[Fingerprint; 2]> {
    Some([Fingerprint::of(&files.certificate).ok()?, Fingerprint::of(&files.key).ok()?])
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
}
