//! Simulated days: the real queue, the real pool and a look-alike of Gmail, on a clock that is advanced.
//!
//! What a week must show: in no 24 hours more than the limit, nothing lost, nothing out of order, and mail
//! that leaves as soon as the window frees, also across restarts and reboots.

use std::{collections::HashMap, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use crate::support::lookalike_clock::lookalike_clock;
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

const LIMIT: u32 = 475;
const STEP: Duration = Duration::from_secs(3600);
const STEPS_PER_DAY: usize = 24;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Real time that one step may take before the test gives up.
const PATIENCE_POLLS: u32 = 20_000;

/// The relay of one boot: a store and a pool over it.
struct Relay {
    store: Arc<Queue>,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
    pool: PoolHandle,
}

impl Relay {
    fn start(state: &Path, options: Options, clock: &ManualClock) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let mut storage = options::Options::new(state.into());
        storage.min_free_bytes = 0;
        let store = Arc::new(Queue::open(storage, Arc::clone(&clock)).unwrap());
        let (shutdown, mut tasks) = (Shutdown::new(), JoinSet::new());
        let pool = Pool::new(options, Arc::clone(&store), clock);
        let handle = pool.handle();
        tasks.spawn(pool.run(shutdown.watch()));
        Self { store, shutdown, tasks, pool: handle }
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

fn delivery_options(upstream: &Sandbox, authority: &Path) -> Options {
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
        recipients_per_day: LIMIT.into(),
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
    let clock = ManualClock::new(Timestamp(1_800_000_000_000));
    let upstream = Sandbox::start(sandbox::Options {
        clock: lookalike_clock(&clock),
        // Gmail itself would refuse one recipient more, and the test would see it.
        recipients_per_day: LIMIT,
        ..sandbox::Options::default()
    });
    let upstream = upstream.await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("authority.pem");
    std::fs::write(&authority, upstream.certificate_authority_pem()).unwrap();
    let options = delivery_options(&upstream, &authority);
    let state = directory.path().join("state");
    let mailbox = upstream.mailbox();

    let per_day = [800, 100, 700, 900, 0, 500, 0];
    let mut relay = Relay::start(&state, options.clone(), &clock);
    let mut sent = 0;
    for (day, messages) in per_day.into_iter().enumerate() {
        for step in 0..STEPS_PER_DAY {
            clock.advance(STEP);
            if step % 12 == 5 {
                relay.stop().await;
                if step == 5 && day % 2 == 1 {
                    clock.reboot();
                }
                relay = Relay::start(&state, options.clone(), &clock);
            }
            let due = messages * (step + 1) / STEPS_PER_DAY - messages * step / STEPS_PER_DAY;
            for _ in 0..due {
                relay.accept(sent, clock.wall()).await;
                sent += 1;
            }
            let accepted = mailbox.accepted();
            let room = LIMIT as usize - in_window(&accepted, clock.wall());
            let expected = accepted.len() + room.min(sent - accepted.len());
            let mut polls = 0;
            // A message has left when its settlement is on disk, not when Gmail has it.
            while mailbox.count() < expected
                || relay.store.totals().messages > (sent - expected) as u64
            {
                polls += 1;
                assert!(
                    polls < PATIENCE_POLLS,
                    "day {day} step {step}: {} of {expected} arrived: {:?}",
                    mailbox.count(),
                    relay.pool.status()
                );
                tokio::time::sleep(Duration::from_millis(1)).await;
                if polls % 50 == 0 {
                    // A sleep that began right after the step was measured before it ends with the next one.
                    clock.advance(Duration::from_secs(1));
                }
            }
        }
    }
    relay.stop().await;

    check_the_week(&mailbox.accepted());
    assert_eq!(mailbox.counters().quota_refusals, 0, "the relay stops before Gmail does");
    upstream.stop().await;
}

/// Everything arrived once, in order, and never too much of it within a day.
fn check_the_week(accepted: &[Arc<Accepted>]) {
    assert_eq!(accepted.len(), 3000);
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
        assert!(
            since <= LIMIT as usize,
            "{since} recipients in the 24 hours before message {number}"
        );
    }
    let days: HashMap<i64, usize> = accepted.iter().fold(HashMap::new(), |mut days, mail| {
        *days.entry((mail.at.0 - 1_800_000_000_000) / 86_400_000).or_default() += 1;
        days
    });
    assert!(days.values().any(|sent| *sent >= 470), "the budget was really exhausted: {days:?}");
}
