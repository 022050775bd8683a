//! Simulated days: the real queue, the real pool and a look-alike of Gmail, on a clock that is advanced.
//!
//! What a week must show: in no 24 hours more than the limit, nothing lost, nothing out of order, and mail
//! that leaves as soon as the window frees, also across restarts and reboots. With the queue in a database it is the whole
//! daemon, because there the books of its fleet know what was spent.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::support::{
    books::Books,
    clocked::daemon_of,
    daemon::{Home, Upstream},
    fleet::without_a_disk,
    lookalike_clock::lookalike_clock,
    outage::{NOTHING_OF_ITS_OWN, budget},
};
use pillarbox::{
    clock::{Clock, ManualClock, Timestamp},
    delivery::{
        IpFamily, Limits, Login, Options, PasswordSource, PoolHandle, Tls, Transport, Uncertain,
        pool::Pool,
    },
    message::{
        envelope::{BodyKind, Envelope, Origin},
        identity::{FromPolicy, Identity},
    },
    queue::{Queue, options},
    sandbox::{self, Accepted, Sandbox},
    secret::Secret,
    shutdown::{Phase, Shutdown},
};
use tokio::task::JoinSet;

/// A week's mail, some of which waits for days.
struct Week {
    messages: [usize; 7],
    recipients_per_day: u32,
}

const WEEK: Week = Week { messages: [800, 100, 700, 900, 0, 500, 0], recipients_per_day: 475 };
/// A tenth of it: in a database each message is a dozen questions and transactions.
const SMALL_WEEK: Week = Week { messages: [80, 10, 70, 90, 0, 50, 0], recipients_per_day: 47 };
/// The clock of the look-alike at its begin, in milliseconds.
const START_MS: i64 = 1_800_000_000_000;
const STEP: Duration = Duration::from_secs(3600);
const STEPS_PER_DAY: usize = 24;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Real time that one step may take before the test gives up.
const PATIENCE_POLLS: u32 = 20_000;

/// Where the queue is, and what makes a relay of it.
enum Place {
    Disk { state: PathBuf, options: Box<Options> },
    Database { home: Home, books: Books },
}

impl Place {
    fn on_a_disk(upstream: &Sandbox, directory: &Path, limit: u32) -> Self {
        let authority = directory.join("authority.pem");
        std::fs::write(&authority, upstream.certificate_authority_pem()).unwrap();
        let options = Box::new(delivery_options(upstream, &authority, limit));
        Self::Disk { state: directory.join("state"), options }
    }

    fn in_a_database(upstream: &Sandbox, directory: &Path, limit: u32) -> Self {
        let books = Books::new();
        // Nothing is sent but what the test hands in.
        let sections = budget(limit) + NOTHING_OF_ITS_OWN;
        let home = Home::with_sections(&Upstream::of(upstream, directory), &sections)
            .environment("PILLARBOX__UPSTREAM__PROVIDER", "gmail")
            .environment("PILLARBOX__UPSTREAM__CONNECTIONS", "1")
            .environment("PILLARBOX__QUEUE__LIFETIME", "30d")
            .environment("PILLARBOX__QUEUE__MIN_FREE_BYTES", "8MiB");
        let home = without_a_disk(home, "a", (books.server.port, &books.database));
        Self::Database { home, books }
    }

    async fn start(&self, clock: &ManualClock) -> Relay {
        match self {
            Self::Disk { state, options } => Relay::of_a_pool(state, options, clock),
            Self::Database { home, .. } => Relay::of_a_daemon(home, clock).await,
        }
    }

    /// Time passes.
    async fn pass(&mut self, clock: &ManualClock, time: Duration) {
        match self {
            Self::Disk { .. } => clock.advance(time),
            Self::Database { books, .. } => books.pass(clock, time).await,
        }
    }

    /// The same between two messages, where one can be on its way.
    fn try_to_pass(&mut self, clock: &ManualClock, time: Duration) {
        match self {
            Self::Disk { .. } => clock.advance(time),
            Self::Database { books, .. } => {
                books.try_to_pass(clock, time);
            }
        }
    }
}

/// The relay of one boot.
struct Relay {
    store: Arc<Queue>,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
    /// Of a pool alone.
    pool: Option<PoolHandle>,
}

impl Relay {
    fn of_a_pool(state: &Path, options: &Options, clock: &ManualClock) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let mut storage = options::Options::new(state.into());
        storage.min_free_bytes = 0;
        let store = Arc::new(Queue::open(storage, Arc::clone(&clock)).unwrap());
        let (shutdown, mut tasks) = (Shutdown::new(), JoinSet::new());
        let pool = Pool::new(options.clone(), Arc::clone(&store), clock);
        let handle = pool.handle();
        tasks.spawn(pool.run(shutdown.watch()));
        Self { store, shutdown, tasks, pool: Some(handle) }
    }

    async fn of_a_daemon(home: &Home, clock: &ManualClock) -> Self {
        let (daemon, store) = daemon_of(home, clock).await;
        let (shutdown, mut tasks) = (daemon.shutdown(), JoinSet::new());
        tasks.spawn(async { daemon.run().await.unwrap() });
        Self { store, shutdown, tasks, pool: None }
    }

    async fn stop(mut self) {
        self.shutdown.advance(Phase::Draining);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.store.close().await;
    }

    async fn accept(&self, number: usize, now: Timestamp) {
        let envelope = Envelope {
            reverse_path: Some("cron@web01".parse().unwrap()),
            forward_paths: vec!["ok@example.org".parse().unwrap()],
            body: BodyKind::SevenBit,
            internationalized: false,
            dsn: pillarbox::smtp::dsn::Dsn::default(),
            lane: pillarbox::message::envelope::Lane::Normal,
            origin: Origin {
                address: Ipv4Addr::LOCALHOST.into(),
                helo: "web01".into(),
                protocol: "ESMTP".into(),
                login: None,
                local: None,
            },
            accepted_at: now,
        };
        let mut draft = self.store.begin(envelope).unwrap();
        let text = format!(
            "Message-ID: <{number}@week.test>\r\nDate: x\r\nSubject: {number}\r\n\r\nhello\r\n"
        );
        draft.write(text.as_bytes()).await.unwrap();
        assert_eq!(self.store.enqueue(draft).await.unwrap().id().to_string().len(), 26);
    }
}

fn delivery_options(upstream: &Sandbox, authority: &Path, limit: u32) -> Options {
    Options {
        account: pillarbox::budget::AccountKey::MAIN,
        provider: pillarbox::delivery::Provider::Gmail,
        host: "localhost".into(),
        port: upstream.starttls_address().port(),
        transport: Transport::Smtp,
        tls: Tls::Starttls,
        other_way: None,
        ip_family: IpFamily::Any,
        login: Some(Login {
            username: "you@gmail.com".into(),
            password: PasswordSource::Inline(Secret::new("abcd efgh ijkl mnop".into())),
        }),
        ehlo_name: "relay.example.org".into(),
        ca_file: Some(authority.into()),
        // One connection, so that the order of arrival is the order of departure.
        connections: 1,
        logins_per_hour: 20,
        recipients_per_day: limit.into(),
        notice_reserve: 0,
        urgent_reserve: 0,
        pace_per_minute: 0,
        lifetime: 30 * DAY,
        uncertain: Uncertain::ResendOnce,
        admin: None,
        identity: Identity {
            from: FromPolicy::Account,
            send_as: Vec::new(),
            domain: "relay.example.org".into(),
            hostname: "relay.example.org".into(),
            senders: Vec::new(),
        },
        recipients: Arc::default(),
        drain: Duration::from_secs(20),
        limits: Limits::default(),
    }
}

/// Recipients that Gmail counts in the 24 hours before `now`.
fn in_window(accepted: &[Arc<Accepted>], now: Timestamp) -> usize {
    accepted.iter().rev().take_while(|mail| now.since(Timestamp(mail.at.0)) < DAY).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_week_of_3000_messages_keeps_the_limit_the_order_and_every_message() {
    live_through(&WEEK, Place::on_a_disk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_week_of_300_messages_in_a_database_keeps_the_limit_the_order_and_every_message() {
    live_through(&SMALL_WEEK, Place::in_a_database).await;
}

async fn live_through(week: &Week, make: impl FnOnce(&Sandbox, &Path, u32) -> Place) {
    let clock = ManualClock::new(Timestamp(START_MS));
    let limit = week.recipients_per_day;
    let upstream = Sandbox::start(sandbox::Options {
        clock: lookalike_clock(&clock),
        // Gmail itself would refuse one recipient more, and the test would see it.
        recipients_per_day: limit,
        ..sandbox::Options::default()
    });
    let upstream = upstream.await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut place = make(&upstream, directory.path(), limit);
    let mailbox = upstream.mailbox();

    let mut relay = place.start(&clock).await;
    let mut sent = 0;
    for (day, messages) in week.messages.into_iter().enumerate() {
        for step in 0..STEPS_PER_DAY {
            place.pass(&clock, STEP).await;
            if step % 12 == 5 {
                relay.stop().await;
                if step == 5 && day % 2 == 1 {
                    clock.reboot();
                }
                relay = place.start(&clock).await;
            }
            let due = messages * (step + 1) / STEPS_PER_DAY - messages * step / STEPS_PER_DAY;
            for _ in 0..due {
                relay.accept(sent, clock.wall()).await;
                sent += 1;
            }
            let accepted = mailbox.accepted();
            let room = limit as usize - in_window(&accepted, clock.wall());
            let expected = accepted.len() + room.min(sent - accepted.len());
            let mut polls = 0;
            // A message has left when its settlement is on disk, not when Gmail has it.
            while mailbox.count() < expected
                || relay.store.totals().messages > (sent - expected) as u64
            {
                polls += 1;
                assert!(
                    polls < PATIENCE_POLLS,
                    "day {day} step {step}: {} of {expected} arrived: {:?}, {:?}",
                    mailbox.count(),
                    relay.pool.as_ref().map(PoolHandle::status),
                    mailbox.last_commands()
                );
                tokio::time::sleep(Duration::from_millis(1)).await;
                if polls % 50 == 0 {
                    // A sleep that began right after the step was measured before it ends with the next one.
                    place.try_to_pass(&clock, Duration::from_secs(1));
                }
            }
        }
    }
    relay.stop().await;

    check_the_week(&mailbox.accepted(), week);
    assert_eq!(mailbox.counters().quota_refusals, 0, "the relay stops before Gmail does");
    upstream.stop().await;
}

/// Everything arrived once, in order, and never too much of it within a day.
fn check_the_week(accepted: &[Arc<Accepted>], week: &Week) {
    let limit = week.recipients_per_day as usize;
    assert_eq!(accepted.len(), week.messages.iter().sum::<usize>());
    for (number, mail) in accepted.iter().enumerate() {
        assert_eq!(
            mail.message_id.as_deref(),
            Some(format!("<{number}@week.test>").as_str()),
            "in order, once"
        );
        let since = accepted[..=number]
            .iter()
            .rev()
            .take_while(|earlier| Timestamp(mail.at.0).since(Timestamp(earlier.at.0)) < DAY)
            .count();
        assert!(since <= limit, "{since} recipients in the 24 hours before message {number}");
    }
    let days: HashMap<i64, usize> = accepted.iter().fold(HashMap::new(), |mut days, mail| {
        *days.entry((mail.at.0 - START_MS) / 86_400_000).or_default() += 1;
        days
    });
    // All but one in a hundred.
    let is_spent = |sent: &usize| *sent >= limit - limit / 95;
    assert!(days.values().any(is_spent), "the budget was really exhausted: {days:?}");
}
