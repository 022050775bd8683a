//! The servers that we did not write: where they are, and what both kinds have in common.
//!
//! Rule: `tests/upstreams/fetch` has unpacked them below target/; a machine that lacks them fails the tests, with the
//! words that mend it. Must not know what a test proves.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use crate::support::daemon::within;

/// The password of the only account.
pub(super) const PASSWORD: &str = "Gut:en/Morgen+Secret";
/// Its user name.
pub(super) const USERNAME: &str = "me@relay.test";
/// Octets of the largest message that the servers take.
pub(super) const SIZE_MAX: usize = 6_000_000;

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// STARTTLS and AUTH PLAIN.
    Starttls,
    /// TLS from the first octet and AUTH PLAIN.
    Implicit,
    /// STARTTLS and AUTH LOGIN alone, and as few extensions as the server can be brought to.
    Bare,
}

/// A message as the server stored it, once for each transaction or each recipient.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) recipients: Vec<String>,
    /// All of it, with CRLF.
    pub(super) text: Vec<u8>,
}

/// The unpacked packages.
pub(super) fn root() -> PathBuf {
    let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-servers");
    assert!(
        servers.join(".complete").exists(),
        "Postfix and aiosmtpd are missing: run tests/upstreams/fetch (make test does), which installs nothing"
    );
    servers.join("root")
}

/// A certificate for `localhost` in a directory: the paths of certificate and key.
pub(super) fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    fs::write(&certificate, made.cert.pem()).expect("a file");
    fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    (certificate, key)
}

/// Waits until somebody listens, or panics with what the server said.
pub(super) fn until_it_listens(port: u16, child: &mut Child, said: &Path) {
    let listens = within(Duration::from_secs(30), || {
        let status = child.try_wait().expect("the server can be asked");
        assert!(status.is_none(), "the server ended with {status:?}: {}", text(said));
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    assert!(listens, "the server does not listen on port {port}: {}", text(said));
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
