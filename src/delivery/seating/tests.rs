//! A pool of one host of a fleet before a server that stands still: what becomes of a connection that may be another host's.

use std::sync::Mutex;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use super::*;
use crate::{
    budget::AccountKey,
    clock::{Clock, ManualClock, Timestamp},
    delivery::{IpFamily, Limits, Options, Pool, Provider, Tls, Transport, Uncertain},
    fleet::tests::memory::InMemory,
    message::{
        envelope::{BodyKind, Envelope, Lane, Origin},
        identity::{FromPolicy, Identity},
    },
    queue::Queue,
    shutdown::Shutdown,
    sync::lock,
};

/// How long real I/O may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);
const A_WHILE: Duration = Duration::from_secs(50);

/// The commands that a server has heard, by connection; the last one is empty when the connection has ended.
type Heard = Arc<Mutex<Vec<Vec<String>>>>;

/// Answers each command, but this one on its first connection.
async fn converse(stream: TcpStream, connection: usize, heard: Heard, stands_still_at: &str) {
    let mut stream = BufReader::new(stream);
    let mut reply = "220 ready\r\n";
    let mut is_data = false;
    loop {
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
        let mut line = String::new();
        let octets = stream.read_line(&mut line).await.unwrap_or(0);
        let command = line.trim_end().to_owned();
        lock(&heard)[connection].push(command.clone());
        if octets == 0 {
            return;
        }
        let stands_still = connection == 0 && command.starts_with(stands_still_at);
        (reply, is_data) = match &*command {
            _ if stands_still => ("", false),
            "." => ("250 2.0.0 taken\r\n", false),
            _ if is_data => ("", true),
            "DATA" => ("354 go on\r\n", true),
            "QUIT" => ("221 2.0.0 bye\r\n", false),
            _ => ("250 2.0.0 good\r\n", false),
        };
    }
}

fn options(port: u16) -> Options {
    let domain = || "relay.example.org".to_owned();
    Options {
        account: AccountKey::MAIN,
        provider: Provider::Custom,
        host: "127.0.0.1".into(),
        port,
        transport: Transport::Smtp,
        tls: Tls::Off,
        other_way: None,
        ip_family: IpFamily::Any,
        login: None,
        ehlo_name: domain(),
        ca_file: None,
        connections: 1,
        logins_per_hour: 20,
        recipients_per_day: 500.into(),
        notice_reserve: 0,
        urgent_reserve: 0,
        pace_per_minute: 0,
        lifetime: 120 * Duration::from_secs(3_600),
        uncertain: Uncertain::ResendOnce,
        admin: None,
        identity: Identity {
            from: FromPolicy::Account,
            send_as: Vec::new(),
            domain: domain(),
            hostname: domain(),
            senders: Vec::new(),
        },
        recipients: Arc::default(),
        drain: PATIENCE,
        limits: Limits::default(),
    }
}

fn envelope(clock: &ManualClock) -> Envelope {
    Envelope {
        reverse_path: Some("cron@host.example".parse().unwrap()),
        forward_paths: vec!["somebody@example.org".parse().unwrap()],
        body: BodyKind::SevenBit,
        internationalized: false,
        dsn: crate::smtp::dsn::Dsn::default(),
        lane: Lane::Normal,
        origin: Origin {
            address: [127, 0, 0, 1].into(),
            helo: "host.example".into(),
            protocol: "ESMTP".into(),
            login: None,
            local: None,
        },
        accepted_at: clock.wall(),
    }
}

/// Sends one message past a server that stands still at a command of its first connection, while nobody renews what the
/// host has: what each connection has heard when the message is through.
async fn send_past(stands_still_at: &'static str) -> Vec<Vec<String>> {
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, mut tasks) = (Heard::default(), JoinSet::new());
    let of_server = Arc::clone(&heard);
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let number = lock(&of_server).len();
            lock(&of_server).push(Vec::new());
            open.spawn(converse(stream, number, Arc::clone(&of_server), stands_still_at));
        }
    });
    let of_all: Arc<dyn Clock> = Arc::new(clock.clone());
    let store = Arc::new(Queue::in_memory(Arc::clone(&of_all), 1 << 30));
    let mut draft = store.begin(envelope(&clock)).unwrap();
    draft.write(b"Subject: test\r\n\r\ntext\r\n").await.unwrap();
    drop(store.enqueue(draft).await.unwrap());
    let books = InMemory::new(&clock);
    let fleet = Some((books.share("a host"), books.vault()));
    let pool = Pool::new(options(port), Arc::clone(&store), of_all).sharing(fleet);
    let shutdown = Shutdown::new();
    tasks.spawn(pool.run(shutdown.watch()));
    let wait = async {
        let is_through = || store.totals().messages == 0;
        let stands = || {
            lock(&heard).first().is_some_and(|first| {
                first.last().is_some_and(|last| last.starts_with(stands_still_at))
            })
        };
        while !stands() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        clock.advance(A_WHILE);
        while !is_through() {
            tokio::time::sleep(Duration::from_millis(2)).await;
            // What another host would have by now is free after the rest of the lease.
            clock.advance(Duration::from_millis(100));
        }
    };
    let is_through = timeout(PATIENCE, wait).await.is_ok();
    let heard = lock(&heard).clone();
    assert!(is_through, "{heard:?}");
    heard
}

#[tokio::test]
async fn a_message_is_broken_off_before_its_final_dot_when_its_connection_may_be_anothers() {
    let heard = send_past("RCPT").await;
    let [first, second] = &heard[..] else { panic!("{heard:?}") };
    assert!(
        !first.contains(&"DATA".to_owned()) && !first.contains(&"QUIT".to_owned()),
        "{first:?}"
    );
    assert_eq!(first.last().map(String::as_str), Some(""), "it was closed");
    assert!(second.contains(&".".to_owned()), "{second:?}");
}
