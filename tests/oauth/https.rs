//! The token endpoint over HTTPS: proved by a certificate, never followed elsewhere, never waited for without end.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pillarbox::{delivery::oauth::Endpoint, queue::state::AccountCondition};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use super::scene::{MINUTE, Scene};

/// What is behind the encryption.
#[derive(Clone, Copy)]
enum Behind {
    /// The look-alike's token endpoint.
    Service(SocketAddr),
    /// A server that sends everybody to the other place.
    Redirect(SocketAddr),
    /// Nobody who answers.
    Silence,
}

/// A TLS server on loopback whose certificate is for one name.
struct Front {
    address: SocketAddr,
    certificate_pem: String,
    requests: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Front {
    async fn start(name: &str, behind: Behind) -> Self {
        let made = rcgen::generate_simple_self_signed(vec![name.into()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, acceptor) =
            (Arc::new(AtomicUsize::new(0)), TlsAcceptor::from(Arc::new(config)));
        let mut task = JoinSet::new();
        let counted = Arc::clone(&requests);
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(acceptor.clone(), stream, behind, Arc::clone(&counted)));
            }
        });
        Self { address, certificate_pem: made.cert.pem(), requests, _task: task }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::new(&format!("https://localhost:{}/token", self.address.port())).unwrap()
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    behind: Behind,
    requests: Arc<AtomicUsize>,
) {
    // A client that does not believe the certificate hangs up here.
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    requests.fetch_add(1, Ordering::SeqCst);
    match behind {
        Behind::Service(address) => {
            let mut service = TcpStream::connect(address).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut stream, &mut service).await);
        }
        Behind::Redirect(other) => {
            let mut request = vec![0; 4096];
            drop(stream.read(&mut request).await);
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{other}/token\r\nContent-Length: 0\r\n\r\n"
            );
            drop(stream.write_all(answer.as_bytes()).await);
            drop(stream.shutdown().await);
        }
        Behind::Silence => std::future::pending().await,
    }
}

/// A scene whose tokens come from `front`, which `upstream.ca_file` proves or not.
async fn scene_with(front: impl AsyncFnOnce(SocketAddr) -> Front, trusted: bool) -> (Scene, Front) {
    let mut scene = Scene::new().await;
    let service = scene.sandbox.oauth_url().strip_prefix("http://").unwrap().parse().unwrap();
    let front = front(service).await;
    scene.tokens.endpoints.token = front.endpoint();
    if trusted {
        // Beside the authority of the SMTP server: a private network has one file for both.
        let path = scene.options.ca_file.clone().unwrap();
        let both = std::fs::read_to_string(&path).unwrap() + &front.certificate_pem;
        std::fs::write(&path, both).unwrap();
    }
    (scene, front)
}

#[tokio::test]
async fn a_token_comes_over_https_from_a_server_that_ca_file_proves() {
    let front = async |service| Front::start("localhost", Behind::Service(service)).await;
    let (mut scene, front) = scene_with(front, true).await;
    scene.start();
    scene.submit().await;
    scene.until_received(1).await;
    assert_eq!((scene.token_requests(), scene.logins()), (1, (1, 0)));
    assert_eq!(front.requests.load(Ordering::SeqCst), 1, "it went through TLS");
}

#[tokio::test]
async fn a_certificate_that_proves_nothing_gets_no_secret_and_is_a_matter_of_configuration() {
    // Nobody vouches for the first; the second is trusted, but for another name.
    for (name, trusted) in [("localhost", false), ("oauth2.example.org", true)] {
        let front = async |service| Front::start(name, Behind::Service(service)).await;
        let (mut scene, front) = scene_with(front, trusted).await;
        scene.start();
        let id = scene.submit().await;
        let state = scene.until_account(AccountCondition::PausedConfiguration).await;
        assert!(state.reason.contains("certificate was refused"), "{}", state.reason);
        assert!(state.remedy.contains("ca_file"), "{}", state.remedy);
        assert_eq!((scene.token_requests(), front.requests.load(Ordering::SeqCst)), (0, 0));
        scene.expect_uncharged(id).await;
    }
}

#[tokio::test]
async fn a_redirection_is_not_followed_with_secrets_in_hand() {
    let front = async |service| Front::start("localhost", Behind::Redirect(service)).await;
    let (mut scene, _front) = scene_with(front, true).await;
    scene.start();
    let id = scene.submit().await;
    let state = scene.until_account(AccountCondition::PausedConfiguration).await;
    assert!(state.reason.contains("307"), "{}", state.reason);
    assert!(state.remedy.contains("oauth_token_endpoint"), "{}", state.remedy);
    assert_eq!(scene.token_requests(), 0, "the other place was never asked");
    scene.expect_uncharged(id).await;
}

#[tokio::test]
async fn an_https_endpoint_that_is_silent_is_given_up_in_time_and_asked_again() {
    let front = async |_| Front::start("localhost", Behind::Silence).await;
    let (mut scene, front) = scene_with(front, true).await;
    scene.tokens.limits.answer = Duration::from_millis(500);
    scene.start();
    let id = scene.submit().await;
    let state = scene.until_account(AccountCondition::BackingOff).await;
    assert!(state.reason.contains("no answer within 0.5 s"), "{}", state.reason);
    scene.expect_uncharged(id).await;
    scene.clock.advance(MINUTE);
    scene.until_strikes(2).await;
    assert!(front.requests.load(Ordering::SeqCst) <= 2);
}
