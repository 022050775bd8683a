//! Queues of several hosts in a real PostgreSQL: what one leaves another sends, and nobody sends what is no longer his.

mod answers;
mod figures;
mod rights;

use std::fmt;

use super::*;
use crate::{
    clock::{ManualClock, SystemClock},
    fleet::tests::scene::Scene,
    queue::{
        Claim, ClaimedMessage, Outcome, Settlement,
        fixtures::{LIMITS, accept, envelope},
        state::RecipientState,
    },
};

/// What a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Looks again and again until it finds something; otherwise says what it has found instead.
async fn until<T, E: fmt::Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let mut waited = Duration::ZERO;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(found) => assert!(waited < PATIENCE, "{what}: {found:?}"),
        }
        tokio::time::sleep(POLL).await;
        waited += POLL;
    }
}

/// The same until something is so.
async fn until_so(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    until(what, async || is_so().await.then_some(()).ok_or(())).await;
}

struct Host {
    directory: tempfile::TempDir,
    queue: Queue,
}

impl Host {
    fn start(scene: &Scene, name: &str) -> Self {
        Self::start_by(scene.options(), name)
    }

    fn start_by(database: fleet::Database, name: &str) -> Self {
        Self::start_with(database, name, Arc::new(SystemClock::new()))
    }

    /// One that never comes to renew its lease, because no time passes for it.
    fn start_still(database: fleet::Database, name: &str) -> Self {
        let clock = ManualClock::new(SystemClock::new().wall());
        Self::start_with(database, name, Arc::new(clock))
    }

    fn start_with(database: fleet::Database, name: &str, clock: Arc<dyn Clock>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let queue = open_at(database, name, directory.path(), clock).unwrap();
        Self { directory, queue }
    }

    async fn accept(&self) -> QueueId {
        accept(&self.queue, SystemClock::new().wall()).await
    }

    async fn claim(&self) -> ClaimedMessage {
        let claim = self.queue.claim_due(SystemClock::new().now(), LIMITS).await.unwrap();
        let Claim::Message(claimed) = claim else { panic!("{claim:?}") };
        claimed
    }

    /// The first recipient of a message, once it has come.
    async fn state(&self, id: QueueId) -> RecipientState {
        until("it never came", async || {
            let found = self.queue.show(id).await.unwrap();
            found.map(|found| found.recipients()[0].state.clone()).ok_or(id)
        })
        .await
    }
}

fn open(scene: &Scene, name: &str, directory: &Path) -> Result<Queue, QueueOpenError> {
    open_by(scene, name, directory, Arc::new(SystemClock::new()))
}

fn open_by(
    scene: &Scene,
    name: &str,
    directory: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Queue, QueueOpenError> {
    open_at(scene.options(), name, directory, clock)
}

fn open_at(
    database: fleet::Database,
    name: &str,
    directory: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Queue, QueueOpenError> {
    let mut options = Options::new(directory.into());
    options.min_free_bytes = 0;
    let database = fleet::Options { host: name.into(), database };
    Queue::open_in_database(options, &database, clock, Faults::default())
}

/// As if nothing had been heard of a host, whose clock stands still, for longer than its lease.
fn silence(scene: &Scene, name: &str) {
    scene.sql(&format!(
        "UPDATE pillarbox.queue SET lease_until = clock_timestamp() - interval '1 s' WHERE host = '{name}'"
    ));
}

fn relayed(claimed: &ClaimedMessage) -> Settlement {
    let outcome = Outcome::Relayed { reply: "250 OK".into() };
    let at = SystemClock::new().wall();
    Settlement { reservation: claimed.reservation, at, outcomes: vec![(0, outcome)] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_silent_host_had_comes_to_another_and_it_sends_nothing_any_more() {
    let scene = Scene::new();
    let clock = ManualClock::new(SystemClock::new().wall());
    let silent = Host::start_with(scene.options(), "silent", Arc::new(clock.clone()));
    let (sent, unsent) = (silent.accept().await, silent.accept().await);
    let waiting = silent.accept().await;
    let in_doubt = silent.claim().await;
    silent.queue.final_dot(in_doubt.id).await.unwrap();
    let claimed = silent.claim().await;
    assert_eq!((in_doubt.id, claimed.id), (sent, unsent));
    silence(&scene, "silent");
    let other = Host::start(&scene, "other");
    let resent = other.state(sent).await;
    assert!(matches!(resent, RecipientState::Queued { resend: true, .. }), "{resent:?}");
    for id in [unsent, waiting] {
        let again = other.state(id).await;
        assert!(matches!(again, RecipientState::Queued { resend: false, .. }), "{again:?}");
    }
    // It comes back in the middle of an attempt, and brings a new message.
    silent.queue.final_dot(unsent).await.unwrap_err();
    let mut draft = silent.queue.begin(envelope(Timestamp(1))).unwrap();
    draft.write(b"Subject: late\r\n\r\n\r\n").await.unwrap();
    silent.queue.enqueue(draft).await.unwrap_err();
    clock.advance(Duration::from_secs(10));
    let why = silent.queue.failed().await;
    assert!(why.contains("another host has taken over"), "{why}");
    silent.queue.settle(claimed.id, relayed(&claimed)).await.unwrap_err();
    assert_eq!(scene.sql("SELECT count(*) FROM pillarbox.message"), "3");
    assert_eq!(other.queue.totals().messages, 3);
    // Its octets are with the database.
    for _ in 0..3 {
        let claimed = other.claim().await;
        let mut reader = other.queue.open_message(claimed.id).await.unwrap();
        let block = reader.next_block().unwrap().unwrap();
        assert!(String::from_utf8_lossy(&block).contains("Subject: toner"));
        other.queue.final_dot(claimed.id).await.unwrap();
        other.queue.settle(claimed.id, relayed(&claimed)).await.unwrap();
    }
    let left =
        "SELECT (SELECT count(*) FROM pillarbox.message), (SELECT count(*) FROM pillarbox.body),
        (SELECT count(*) FROM pillarbox.history), (SELECT count(*) FROM pillarbox.queue)";
    assert_eq!(scene.sql(left), "0|0|3|1");
    other.queue.close().await;
    assert_eq!(scene.sql("SELECT count(*) FROM pillarbox.queue"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_a_dot_was_noted_elsewhere_is_remembered_until_what_follows_from_it_is_written() {
    let scene = Scene::new();
    let leave = async |name: &str| {
        let silent = Host::start_still(scene.options(), name);
        silent.accept().await;
        let claimed = silent.claim().await;
        silent.queue.final_dot(claimed.id).await.unwrap();
        silence(&scene, name);
        (claimed.id, silent)
    };
    let (at_the_start, _first) = leave("first").await;
    let other = Host::start(&scene, "other");
    let (later, _second) = leave("second").await;
    for id in [at_the_start, later] {
        let resent = other.state(id).await;
        assert!(matches!(resent, RecipientState::Queued { resend: true, .. }), "{resent:?}");
        let index = sync::read(&other.queue.shared.index).clone().unwrap();
        assert_eq!(index.may_be_sent(id), Some(false), "the record says it now");
    }
    other.queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_slept_asks_whether_its_mail_is_still_its_own_and_goes_on() {
    let scene = Scene::new();
    let clock = ManualClock::new(SystemClock::new().wall());
    let directory = tempfile::tempdir().unwrap();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let queue = open_by(&scene, "a", directory.path(), shared).unwrap();
    let host = Host { directory, queue };
    let (first, second) = (host.accept().await, host.accept().await);
    for _ in 0..2 {
        host.claim().await;
    }
    clock.advance(Duration::from_secs(3_600));
    host.queue.final_dot(first).await.unwrap();
    silence(&scene, "a");
    let other = Host::start(&scene, "other");
    other.state(second).await;
    clock.advance(Duration::from_secs(3_600));
    host.queue.final_dot(second).await.unwrap_err();
    other.queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_leaves_the_mail_to_others_at_once_and_one_of_them_takes_it() {
    let scene = Scene::new();
    let (first, second) = (Host::start(&scene, "first"), Host::start(&scene, "second"));
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(first.accept().await);
    }
    first.queue.hold(ids[0], Timestamp(1), "asked".into()).await.unwrap();
    first.queue.close().await;
    let third = Host::start(&scene, "third");
    let taken = || second.queue.totals().messages + third.queue.totals().messages;
    until_so("it never came", async || taken() >= 20).await;
    let taker = if third.queue.totals().messages > 0 { &third } else { &second };
    assert_eq!(taker.queue.totals().messages, 20, "a queue goes as a whole");
    let held = taker.state(ids[0]).await;
    assert!(matches!(&held, RecipientState::Held { reason, .. } if reason == "asked"), "{held:?}");
    // What was cached by an earlier process is not what this host has.
    let cached = third.directory.path().to_owned();
    third.queue.close().await;
    second.queue.close().await;
    drop((first, second, third.queue));
    let again = open(&scene, "third", &cached).unwrap();
    let again = Host { directory: tempfile::tempdir().unwrap(), queue: again };
    again.state(ids[19]).await;
    assert_eq!(again.queue.totals().messages, 20);
    again.queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_host_takes_nothing_over_until_it_takes_mail_again() {
    let scene = Scene::new();
    let clock = ManualClock::new(SystemClock::new().wall());
    let directory = tempfile::tempdir().unwrap();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let drained = open_by(&scene, "drained", directory.path(), shared).unwrap();
    drained.drained().set(Some(clock.wall()));
    // What it has begun before it heard of it is over.
    clock.advance(LOOK_EVERY);
    tokio::time::sleep(POLL).await;
    let gone = Host::start(&scene, "gone");
    gone.accept().await;
    gone.queue.close().await;
    let look = async || {
        clock.advance(LOOK_EVERY);
        tokio::time::sleep(POLL).await;
        drained.totals().messages
    };
    for _ in 0..20 {
        assert_eq!(look().await, 0);
    }
    drained.drained().set(None);
    let mut looks = 0;
    while look().await == 0 {
        assert!(looks < 3_000, "it never came");
        looks += 1;
    }
    drained.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_of_the_disk_is_not_forgotten_by_a_change_of_the_backend() {
    let scene = Scene::new();
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path().into());
    options.min_free_bytes = 0;
    let on_disk = Queue::open(options, Arc::new(SystemClock::new())).unwrap();
    accept(&on_disk, SystemClock::new().wall()).await;
    on_disk.close().await;
    let refused = open(&scene, "a", directory.path()).unwrap_err().to_string();
    assert!(refused.contains("(messages: 1)") && refused.contains("docs/fleet.md"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_is_there_and_claims_of_two_hosts_have_different_numbers() {
    let scene = Scene::new();
    let (first, second) = (Host::start(&scene, "first"), Host::start(&scene, "second"));
    let ids = [first.accept().await, second.accept().await];
    let claims = [first.claim().await, second.claim().await];
    assert_eq!(claims.each_ref().map(|claimed| claimed.id), ids);
    assert_ne!(claims[0].reservation >> 40, claims[1].reservation >> 40);
    let rows = "SELECT count(*) FROM pillarbox.message WHERE claim IS NOT NULL AND NOT dot";
    assert_eq!(scene.sql(rows), "2");
    first.queue.final_dot(ids[0]).await.unwrap();
    assert_eq!(scene.sql(rows), "1");
    // A dot is of one claim: the next one has not sent it yet.
    let outcome = Outcome::NotTried { until: None };
    let settlement = Settlement {
        reservation: claims[0].reservation,
        at: SystemClock::new().wall(),
        outcomes: vec![(0, outcome)],
    };
    let now = SystemClock::new().now();
    let (settled, claim) = first.queue.settle_and_claim(ids[0], settlement, now, LIMITS).await;
    settled.unwrap();
    assert!(matches!(claim, Ok(Claim::Message(_))), "{claim:?}");
    assert_eq!(scene.sql(rows), "2");
    first.queue.close().await;
    second.queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_of_the_history_are_made_ahead_and_dropped_whole() {
    let scene = Scene::new();
    let host = Host::start(&scene, "a");
    let days = || {
        scene.sql(
            "SELECT count(*) FROM pg_class WHERE relname ~ '^history_[0-9]{8}$' AND relkind = 'r'",
        )
    };
    assert_eq!(days(), "3");
    let id = host.accept().await;
    let claimed = host.claim().await;
    host.queue.settle(id, relayed(&claimed)).await.unwrap();
    let now = SystemClock::new().wall();
    host.queue.prune_history(now.before(Duration::from_secs(3_600))).await.unwrap();
    assert_eq!((days().as_str(), host.queue.history(None, 9).await.unwrap().len()), ("3", 1));
    host.queue.prune_history(now.after(Duration::from_secs(86_400))).await.unwrap();
    assert_eq!((days().as_str(), host.queue.history(None, 9).await.unwrap().len()), ("2", 0));
    // Without a day of its own it is with the others.
    let id = host.accept().await;
    let claimed = host.claim().await;
    host.queue.settle(id, relayed(&claimed)).await.unwrap();
    assert_eq!(scene.sql("SELECT count(*) FROM pillarbox.history_other"), "1");
    assert!(host.queue.finished(id).await.unwrap().is_some());
    host.queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn hosts_that_shorten_the_history_of_all_at_once_forget_no_message_too_many() {
    let scene = Scene::new();
    let hosts = ["a", "b", "c"].map(|name| Host::start(&scene, name));
    for round in 1..=5 {
        scene.sql(
            "DELETE FROM pillarbox.history;
            INSERT INTO pillarbox.history (id, ended, record)
                SELECT decode(lpad(to_hex(number), 32, '0'), 'hex'), number, ''
                FROM generate_series(1, 5000) AS numbers (number)",
        );
        let [a, b, c] = &hosts;
        let (a, b, c) = tokio::join!(
            a.queue.cap_history(1_200),
            b.queue.cap_history(1_200),
            c.queue.cap_history(1_200)
        );
        assert!(a.is_ok() && b.is_ok() && c.is_ok(), "{a:?} {b:?} {c:?}");
        let left = scene.sql("SELECT count(*), min(ended) FROM pillarbox.history");
        assert_eq!(left, "1200|3801", "in round {round}: those that ended last");
    }
    for host in hosts {
        host.queue.close().await;
    }
}
