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
    delivery::{
        IpFamily, Limits, Login, Options, PasswordSource, Pool, PoolHandle, Provider, Tls,
        Transport, Uncertain,
    },
    fleet::{Share, Terms, tests::memory::InMemory},
    message::{
        envelope::{BodyKind, Envelope, Lane, Origin},
        identity::{FromPolicy, Identity},
    },
    queue::Queue,
    secret::Secret,
    shutdown::Shutdown,
    sync::lock,
};

/// How long real I/O may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);
const A_WHILE: Duration = Duration::from_secs(50);

/// The commands that a server has heard, by connection; the last one is empty when the connection has ended.
type Heard = Arc<Mutex<Vec<Vec<String>>>>;

/// What a server does on its first connection when it hears a command for the n-th time; otherwise it answers.
#[derive(Clone, Copy)]
enum Mood {
    StandsStillAt(&'static str, usize),
    HangsUpAt(&'static str, usize),
}

async fn converse(stream: TcpStream, connection: usize, heard: Heard, mood: Mood) {
    let mut stream = BufReader::new(stream);
    let mut reply = "220 ready\r\n";
    let (mut is_data, mut times) = (false, 0);
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
        let (Mood::StandsStillAt(at, nth) | Mood::HangsUpAt(at, nth)) = mood;
        times += usize::from(connection == 0 && command.starts_with(at));
        let is_met = times == nth && command.starts_with(at);
        (reply, is_data) = match &*command {
            _ if is_met && matches!(mood, Mood::HangsUpAt(..)) => return,
            _ if is_met => ("", false),
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

/// A pool of one host before such a server; nobody renews what the host has.
struct Stage {
    clock: ManualClock,
    heard: Heard,
    store: Arc<Queue>,
    books: InMemory,
    share: Arc<Share>,
    handle: PoolHandle,
    port: u16,
    _shutdown: Shutdown,
    _tasks: JoinSet<()>,
}

impl Stage {
    async fn before(mood: Mood) -> Self {
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
                open.spawn(converse(stream, number, Arc::clone(&of_server), mood));
            }
        });
        let of_all: Arc<dyn Clock> = Arc::new(clock.clone());
        let store = Arc::new(Queue::in_memory(Arc::clone(&of_all), 1 << 30));
        let books = InMemory::new(&clock);
        let share = books.share("a host");
        let fleet = Some((Arc::clone(&share), books.vault()));
        let pool = Pool::new(options(port), Arc::clone(&store), of_all).sharing(fleet);
        let (handle, shutdown) = (pool.handle(), Shutdown::new());
        tasks.spawn(pool.run(shutdown.watch()));
        let (_shutdown, _tasks) = (shutdown, tasks);
        Self { clock, heard, store, books, share, handle, port, _shutdown, _tasks }
    }

    async fn accept(&self) {
        let mut draft = self.store.begin(envelope(&self.clock)).unwrap();
        draft.write(b"Subject: test\r\n\r\ntext\r\n").await.unwrap();
        drop(self.store.enqueue(draft).await.unwrap());
    }

    /// Waits until it is so, with something done between two looks.
    async fn until(&self, mut is_so: impl FnMut() -> bool, mut meanwhile: impl FnMut()) {
        let wait = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(2)).await;
                meanwhile();
            }
        };
        let is_reached = timeout(PATIENCE, wait).await.is_ok();
        assert!(is_reached, "{:?} {:?}", lock(&self.heard), self.handle.status());
    }

    fn has_sent_all(&self) -> bool {
        self.store.totals().messages == 0 && self.handle.status().in_flight.is_empty()
    }
}

#[tokio::test]
async fn a_message_is_broken_off_before_its_final_dot_when_its_connection_may_be_anothers() {
    let stage = Stage::before(Mood::StandsStillAt("RCPT", 1)).await;
    stage.accept().await;
    let stands = || {
        let heard = lock(&stage.heard);
        heard.first().and_then(|first| first.last()).is_some_and(|last| last.starts_with("RCPT"))
    };
    stage.until(stands, || ()).await;
    stage.clock.advance(A_WHILE);
    // What another host would have by now is free after the rest of the lease.
    stage.until(|| stage.has_sent_all(), || stage.clock.advance(Duration::from_millis(100))).await;
    let heard = lock(&stage.heard);
    let [first, second] = &heard[..] else { panic!("{heard:?}") };
    assert!(
        !first.contains(&"DATA".to_owned()) && !first.contains(&"QUIT".to_owned()),
        "{first:?}"
    );
    assert_eq!(first.last().map(String::as_str), Some(""), "it was closed");
    assert!(second.contains(&".".to_owned()), "{second:?}");
}

#[tokio::test]
async fn a_message_whose_connection_was_too_old_waits_for_one_of_the_fleet_as_if_it_had_not_been_begun()
 {
    let stage = Stage::before(Mood::HangsUpAt("MAIL", 2)).await;
    stage.accept().await;
    stage.until(|| stage.has_sent_all(), || ()).await;
    let other = stage.books.share("another host");
    other.seats.allow(Terms { logins: None, connections: 1 });
    assert!(matches!(other.seats.ask().await, Ok(Seating::AllInUse)), "it waits from now on");
    stage.clock.advance(Duration::from_secs(1));
    let begin = stage.clock.now();
    stage.accept().await;
    let is_refused = || {
        let next = stage.handle.status().next;
        next.is_some_and(|next| next.why == DepartureReason::Connections)
    };
    let time_passes = || {
        if is_refused() {
            stage.clock.advance(Duration::from_millis(100));
        }
    };
    stage.until(is_refused, || ()).await;
    stage.until(|| stage.has_sent_all(), time_passes).await;
    let heard = lock(&stage.heard);
    assert_eq!(heard.len(), 2, "{heard:?}");
    let waited = stage.clock.now().since_boot_ms - begin.since_boot_ms;
    assert!(waited < 30_000, "{waited} ms: what another host wants it wants for 20 s");
}

#[tokio::test]
async fn after_a_reload_the_books_are_told_what_the_account_allows_before_any_login() {
    let stage = Stage::before(Mood::StandsStillAt("nothing", 1)).await;
    let login = || {
        let password = PasswordSource::Inline(Secret::new("never used".into()));
        Some(Login { username: "me@example.org".into(), password })
    };
    let allow = |logins_per_hour, connections| {
        let options = options(stage.port);
        stage.handle.apply(Options { login: login(), logins_per_hour, connections, ..options });
    };
    allow(20, 4);
    let seats = &stage.share.seats;
    let mut held = Vec::new();
    for _ in 0..2 {
        let Ok(Seating::Granted(seat)) = seats.ask().await else { panic!("nobody else is there") };
        assert!(seat.may_log_in());
        held.push(seat);
    }
    let other = stage.books.share("another host");
    other.seats.allow(Terms { logins: None, connections: 2 });
    assert!(matches!(other.seats.ask().await, Ok(Seating::AllInUse)));
    stage.books.renew(&stage.share).await;
    assert!(seats.hour_is_spent_for().is_zero() && !seats.is_asked_back(), "two of four are free");
    allow(20, 2);
    stage.books.renew(&stage.share).await;
    assert!(seats.hour_is_spent_for().is_zero() && seats.is_asked_back(), "each has one of two");
    allow(2, 2);
    stage.books.renew(&stage.share).await;
    assert!(seats.hour_is_spent_for() > Duration::from_secs(3_000) && !seats.is_asked_back());
}
