//! Storms in a queue in memory, told of by a task whose clock is advanced: what leaves, once, also over kills.

use std::collections::BTreeMap;

use super::*;
use crate::{
    budget::{AccountKey, Limit},
    clock::ManualClock,
    message::envelope::Lane,
    queue::{Claim, ClaimLimits, Outcome, Settlement, options},
};

const MINUTE: Duration = Duration::from_secs(60);
const START: Timestamp = Timestamp(1_795_860_000_000);

/// A relay that folds the administrator's mail, and what its upstream got.
struct Scene {
    clock: ManualClock,
    queue: Arc<Queue>,
    options: Options,
    /// Subject and text of everything that has left, in order.
    left: Vec<(String, String)>,
    /// What the summaries among it refer to.
    threads: Vec<String>,
}

fn admin() -> Address {
    "boss@example.org".parse().unwrap()
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::new(START);
        let queue = Arc::new(Queue::in_memory(Arc::new(clock.clone()), 1 << 30));
        let mut options = Options::new("nas.example.org".into());
        options.account = Some("me@gmail.com".parse().unwrap());
        let scene = Self { clock, queue, options, left: Vec::new(), threads: Vec::new() };
        scene.fold();
        scene
    }

    fn fold(&self) {
        let mut options = options::Options::new("/nowhere".into());
        options.max_bytes = 1 << 30;
        options.min_free_bytes = 0;
        options.storms.admin = Some(admin());
        self.queue.set_room(&options);
    }

    async fn kill(&mut self) {
        self.queue = Arc::new(self.queue.killed().await);
        self.fold();
    }

    async fn accept(&self, subject: &str, lane: Lane) -> QueueId {
        let mut envelope = envelope(admin(), "x", self.clock.wall(), lane);
        envelope.reverse_path = Some("root@nas.example.org".parse().unwrap());
        envelope.origin.address = [192, 0, 2, 1].into();
        let mut draft = self.queue.begin(envelope).unwrap();
        let text = format!(
            "From: root@nas\r\nMessage-ID: <{subject}@nas>\r\nSubject: {subject}\r\n\r\nsaid {subject}\r\n"
        );
        draft.write(text.replace(" @", "@").as_bytes()).await.unwrap();
        self.queue.enqueue(draft).await.unwrap().id()
    }

    async fn look(&self) {
        let given = Live::new(self.options.clone());
        let clock = Arc::new(self.clock.clone());
        StormTeller::new(given, Arc::clone(&self.queue), clock).look().await.unwrap();
    }

    /// Relays everything that is due.
    async fn relay(&mut self) {
        let limits = ClaimLimits {
            account: AccountKey::MAIN,
            limit: Limit::of(1_000_000),
            notice_reserve: 0,
            urgent_reserve: 0,
            recipients_max: 10,
        };
        loop {
            let claim = self.queue.claim_due(self.clock.now(), limits).await.unwrap();
            let Claim::Message(claimed) = claim else { return };
            let record = self.queue.show(claimed.id).await.unwrap().unwrap().record;
            let known = Original::default();
            let reader = self.queue.read_message(claimed.id).await.unwrap();
            let original = read_original(known, reader);
            let whole = String::from_utf8_lossy(&original.whole.unwrap()).into_owned();
            let thread = whole.lines().find(|line| line.starts_with("References: "));
            self.threads.extend(thread.map(str::to_owned));
            self.left.push((record.about.subject, original.text));
            let outcome = Outcome::Relayed { reply: "250 OK".into() };
            let (reservation, at) = (claimed.reservation, self.clock.wall());
            let outcomes = vec![(0, outcome)];
            let settlement = Settlement { reservation, at, outcomes };
            self.queue.settle(claimed.id, settlement).await.unwrap();
        }
    }

    fn subjects(&self) -> Vec<&str> {
        self.left.iter().map(|(subject, _)| subject.as_str()).collect()
    }
}

#[tokio::test]
async fn a_storm_is_five_messages_and_a_summary_at_each_time_and_at_its_end() {
    let mut scene = Scene::new();
    for minute in 0..=45 {
        for one in 0..3 {
            scene.accept(&format!("banned 192.0.2.{}", minute * 3 + one), Lane::Normal).await;
        }
        if minute == 20 {
            scene.accept("DegradedArray event on /dev/md0:nas", Lane::Normal).await;
        }
        scene.relay().await;
        scene.look().await;
        scene.clock.advance(MINUTE);
    }
    for _ in 0..15 {
        scene.look().await;
        scene.relay().await;
        scene.clock.advance(MINUTE);
    }
    let of_storm: Vec<&str> =
        scene.subjects().into_iter().filter(|subject| subject.starts_with('[')).collect();
    assert_eq!(scene.left.len(), 5 + 1 + 3, "{:?}", scene.subjects());
    let numbers = of_storm.iter().map(|subject| {
        let (number, rest) = subject[1..].split_once(' ').unwrap();
        assert_eq!(rest, "x] banned <address>");
        number.parse::<u32>().unwrap()
    });
    assert_eq!(numbers.sum::<u32>(), 46 * 3 - 5, "{of_storm:?}");
    let (_, last) = scene.left.last().unwrap();
    assert!(last.contains("the storm is over"), "{last}");
    assert!(last.contains("said banned 192.0.2.137"), "{last}");
    assert!(scene.subjects()[..7].contains(&"DegradedArray event on /dev/md0:nas"));
    assert_eq!(scene.threads.len(), 3);
    assert!(scene.threads.windows(2).all(|two| two[0] == two[1]), "{:?}", scene.threads);
}

#[tokio::test]
async fn one_alone_leaves_as_it_is_and_without_an_account_all_do() {
    let mut scene = Scene::new();
    for one in 0..6 {
        scene.accept(&format!("banned 192.0.2.{one}"), Lane::Normal).await;
    }
    scene.clock.advance(MINUTE * 10);
    scene.look().await;
    scene.relay().await;
    assert_eq!(scene.subjects().last(), Some(&"banned 192.0.2.5"));
    scene.clock.advance(MINUTE * 20);
    scene.look().await;
    scene.options.account = None;
    for one in 0..9 {
        scene.accept(&format!("banned 192.0.2.{one}"), Lane::Normal).await;
    }
    scene.clock.advance(MINUTE * 10);
    scene.look().await;
    scene.relay().await;
    assert_eq!(scene.left.len(), 6 + 9);
}

#[tokio::test]
async fn a_kill_between_the_summary_and_its_marks_tells_twice_and_one_after_them_does_not() {
    let mut scene = Scene::new();
    for one in 0..9 {
        scene.accept(&format!("banned 192.0.2.{one}"), Lane::Normal).await;
    }
    scene.clock.advance(MINUTE * 10);
    let due = scene.queue.storms_due();
    let given = Live::new(scene.options.clone());
    let teller = StormTeller::new(given, Arc::clone(&scene.queue), Arc::new(scene.clock.clone()));
    let mut found = teller.gather(&due).await.unwrap().remove(&due[0].id).unwrap();
    let ids = std::mem::take(&mut found.ids);
    teller.tell(due[0], found).await.unwrap();
    drop(teller);
    scene.kill().await;
    scene.look().await;
    scene.relay().await;
    let summaries = |scene: &Scene| {
        scene.subjects().iter().filter(|subject| subject.starts_with("[4 x]")).count()
    };
    assert_eq!((ids.len(), summaries(&scene)), (4, 2), "{:?}", scene.subjects());
    scene.kill().await;
    scene.look().await;
    scene.relay().await;
    assert_eq!(scene.left.len(), 5 + 2);
}

#[tokio::test]
async fn nothing_is_lost_or_told_twice_under_random_traffic_and_restarts() {
    let seed = std::env::var("PILLARBOX_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("PILLARBOX_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut scene = Scene::new();
    let mut sent: BTreeMap<String, u32> = BTreeMap::new();
    let mut released = 0;
    for number in 0..600_u32 {
        match random.u32(0..60) {
            0 => scene.kill().await,
            1 => scene.clock.advance(MINUTE * random.u32(1..40)),
            2 => {
                let (folded, _) = scene.queue.folded(None).await.unwrap();
                let untold = folded
                    .iter()
                    .find(|one| one.record.fold.as_ref().is_some_and(|fold| fold.told.is_none()));
                if let Some(message) = untold {
                    released += scene.queue.release(message.id, &Only::default()).await.unwrap();
                }
            }
            3..10 => scene.clock.advance(MINUTE),
            _ => {
                let word = ["banned", "scanned", "refused"][random.usize(..3)];
                let subject = format!("{word} {}", number % 30);
                let urgent = random.u32(0..20) == 0;
                let lane = if urgent { Lane::Urgent } else { Lane::Normal };
                scene.accept(&subject, lane).await;
                *sent.entry(subject).or_default() += 1;
            }
        }
        scene.look().await;
        scene.relay().await;
    }
    for _ in 0..4 {
        scene.clock.advance(MINUTE * 10);
        scene.look().await;
        scene.relay().await;
    }
    // By subject: how often it has left, itself or with a line in a summary.
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    for (subject, text) in &scene.left {
        if !subject.starts_with('[') {
            *told.entry(subject.clone()).or_default() += 1;
            continue;
        }
        for (number, line) in text.lines().filter_map(|line| line.trim().split_once(" x  ")) {
            let subject = line.split(", last").next().unwrap();
            *told.entry(subject.to_owned()).or_default() += number.parse::<u32>().unwrap();
        }
    }
    assert_eq!(told, sent, "{released} were released");
}
