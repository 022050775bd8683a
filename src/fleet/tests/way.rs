//! The way to the database: cut off in the middle of a claim, stalled, protected, and not there at all.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::scene::{A, ACCOUNT, Scene, Server, ask, granted, spent};
use crate::{
    budget::Limit,
    fleet::{
        books::{Books as _, Ticket},
        options::{Database, Place, TlsFiles},
        postgres::Postgres,
    },
};

/// What a proxy does once so many octets have come from the server.
#[derive(Clone, Copy)]
enum Then {
    Cuts,
    Stalls,
}

/// A proxy before the server that hands on `octets` of its answers, for one connection.
async fn proxy(port: u16, octets: usize, then: Then) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut asked, mut answered) = ([0; 4_096], [0; 4_096]);
        let mut left = octets;
        while left > 0 {
            tokio::select! {
                read = client.read(&mut asked) => match read {
                    Ok(read @ 1..) => server.write_all(&asked[..read]).await.unwrap(),
                    Ok(0) | Err(_) => return,
                },
                read = server.read(&mut answered) => match read {
                    Ok(read @ 1..) => {
                        let passed = read.min(left);
                        left -= passed;
                        client.write_all(&answered[..passed]).await.unwrap();
                    }
                    Ok(0) | Err(_) => return,
                },
            }
        }
        if matches!(then, Then::Stalls) {
            std::future::pending().await
        }
    });
    (address, tasks)
}

fn through(scene: &Scene, address: SocketAddr) -> Postgres {
    Postgres::new(Database { port: address.port(), ..scene.options() })
}

#[tokio::test]
async fn a_claim_that_is_cut_off_anywhere_is_whole_or_not_there_and_can_be_given_back() {
    let scene = Scene::new();
    let books = scene.books();
    assert_eq!(spent(&books).await, 0);
    let mut made = 0;
    for octets in (1..2_000).step_by(37) {
        let (address, _proxy) = proxy(scene.server.port, octets, Then::Cuts).await;
        let asked = ask(3, 10);
        let answer = through(&scene, address).reserve(ACCOUNT, "a", &asked).await;
        // Whoever is next waits until the server has ended what was begun.
        books.bring_in(ACCOUNT, A, 0).await.unwrap();
        let counts = spent(&books).await;
        match answer {
            Ok(answer) => {
                assert_eq!(
                    (granted(Ok(answer)).map(|granted| granted.recipients), counts),
                    (Some(3), 3)
                );
            }
            Err(_) => assert!(counts == 0 || counts == 3, "{counts} after {octets} octets"),
        }
        made += u32::from(counts > 0);
        let ticket = Ticket { token: asked.token, fence: None, probe: false };
        assert_eq!(books.settle(ACCOUNT, ticket, 0).await.unwrap(), counts > 0);
    }
    assert!(made > 0, "some were made");
}

#[tokio::test]
async fn a_host_that_stalls_in_the_middle_of_a_claim_does_not_keep_the_others_from_theirs() {
    let scene = Scene::new();
    let books = scene.books();
    assert_eq!(spent(&books).await, 0);
    books.bring_in(ACCOUNT, A, 0).await.unwrap();
    // As far as a claim with a lock: found by trying.
    let mut stalled = JoinSet::new();
    let mut proxies = Vec::new();
    for octets in (500..900).step_by(40) {
        let (address, proxy) = proxy(scene.server.port, octets, Then::Stalls).await;
        proxies.push(proxy);
        let slow = through(&scene, address);
        stalled.spawn(async move { slow.reserve(ACCOUNT, "b", &ask(1, 100)).await.is_err() });
    }
    assert!(stalled.join_next().await.unwrap().unwrap_or(true));
    assert!(granted(books.reserve(ACCOUNT, "a", &ask(1, 100)).await).is_some());
}

#[tokio::test]
async fn a_database_that_is_not_there_is_said_in_words() {
    let scene = Scene::new();
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let said = |books: Postgres| async move {
        books.spent(ACCOUNT, A, Limit::NONE).await.unwrap_err().to_string()
    };
    let away = said(through(&scene, nobody)).await;
    assert!(away.contains("cannot be reached") && away.contains("refused"), "{away}");
    let unknown = Database { name: "nothing".into(), ..scene.options() };
    let unknown = said(Postgres::new(unknown)).await;
    assert!(unknown.contains("the database says") && unknown.contains("nothing"), "{unknown}");
}

#[tokio::test]
async fn a_server_that_was_started_again_is_asked_by_a_new_connection() {
    let server = Arc::new(Server::start());
    let database = server.database();
    let scene = Scene { server, database };
    let books = scene.books();
    books.reserve(ACCOUNT, "a", &ask(4, 10)).await.unwrap();
    scene.server.stop();
    assert!(books.spent(ACCOUNT, A, Limit::NONE).await.is_err());
    scene.server.resume();
    assert_eq!(spent(&books).await, 4);
}

/// A certificate authority, with the server's certificate and a client's, in the directory of a server.
struct Certificates {
    directory: PathBuf,
    owner: u32,
}

impl Certificates {
    fn write(server: &Server) -> Self {
        let directory = server.path("tls");
        fs::create_dir(&directory).unwrap();
        let owner = fs::metadata(server.path("data")).unwrap();
        let owner = std::os::unix::fs::MetadataExt::uid(&owner);
        let of = |name: &str| {
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let mut authority = of("authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = authority.self_signed(&key).unwrap();
        let written = Self { directory, owner };
        written.file("ca.pem", &own.pem());
        let issuer = Issuer::new(authority, key);
        for name in ["localhost", "relay"] {
            let key = KeyPair::generate().unwrap();
            let signed = of(name).signed_by(&key, &issuer).unwrap();
            written.file(&format!("{name}.pem"), &signed.pem());
            written.file(&format!("{name}.key"), &key.serialize_pem());
        }
        written
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if rustix::process::geteuid().is_root() {
            chown(&path, Some(self.owner), Some(self.owner)).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

#[tokio::test]
async fn a_server_must_prove_its_name_and_may_know_us_by_a_certificate_alone() {
    let server = Arc::new(Server::start());
    let database = server.database();
    let files = Certificates::write(&server);
    server.sql("postgres", "CREATE ROLE relay LOGIN SUPERUSER");
    let shown = |path: &Path| path.display().to_string();
    server.configure(&format!(
        "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\nssl_ca_file = '{}'\n",
        shown(&files.path("localhost.pem")),
        shown(&files.path("localhost.key")),
        shown(&files.path("ca.pem")),
    ));
    let access = server.path("data/pg_hba.conf");
    let before = fs::read_to_string(&access).unwrap();
    fs::write(&access, format!("hostssl all relay all cert\n{before}")).unwrap();
    server.stop();
    server.resume();
    let scene = Scene { server, database };
    let client = Some((files.path("relay.pem"), files.path("relay.key")));
    let ca_file = Some(files.path("ca.pem"));
    let by = |user: &str, host: &str, tls: TlsFiles| {
        let place = Place::Host(host.to_owned());
        let options = scene.options();
        let password = options.password.clone().filter(|_| user == "postgres");
        Postgres::new(Database { place, user: user.into(), password, tls: Some(tls), ..options })
    };
    let said = |books: Postgres| async move {
        let answer = books.spent(ACCOUNT, A, Limit::NONE).await;
        answer.map(|spent| spent.recipients).map_err(|trouble| trouble.to_string())
    };
    let trusting = || TlsFiles { ca_file: ca_file.clone(), client: None };
    assert_eq!(said(by("postgres", "localhost", trusting())).await, Ok(0));
    let known = TlsFiles { client, ..trusting() };
    assert_eq!(said(by("relay", "localhost", known)).await, Ok(0));
    let unknown = said(by("relay", "localhost", trusting())).await.unwrap_err();
    assert!(unknown.contains("certificate"), "{unknown}");
    let untrusted = said(by("postgres", "localhost", TlsFiles::default())).await.unwrap_err();
    assert!(untrusted.contains("certificate was not accepted"), "{untrusted}");
    let another = said(by("postgres", "127.0.0.1", trusting())).await.unwrap_err();
    assert!(another.contains("certificate was not accepted"), "{another}");
}
