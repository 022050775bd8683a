//! Simulated days: random traffic that rules judge, origins share and storms fold, on a clock that is advanced, with restarts.
//!
//! What they must show: in no 24 hours more than the limit, lanes in their order, nobody passed over twice, and nothing
//! lost; what is folded is told of once, and at least once over kills; a restart changes nothing about who leaves.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use super::*;
use crate::{
    budget::{AccountKey, Limit},
    clock::ManualClock,
    message::identity::SenderPattern,
    queue::{
        Claim, ClaimLimits, Outcome, Settlement,
        about::Client,
        options::{self, Fairness},
        origin::Origin,
        record::MessageRecord,
        ruled::Ruled,
        state::Recipient,
        storms::SHAPES_MAX,
    },
    rules::{Effect, Facts, Matcher, Rule, Rules, Sender, Words},
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const START: Timestamp = Timestamp(1_795_860_000_000);
const ADMIN: &str = "boss@example.org";
/// Recipients in any 24 hours, of all and of each shop.
const LIMIT: u32 = 150;
const SHOP_LIMIT: u32 = 40;
/// What of it is for urgent mail alone.
const RESERVE: u32 = 10;
const DAYS: u32 = 2;

/// What is done to the relay meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Nothing,
    /// It is stopped and started between any two steps.
    Restarts,
    /// It is killed in the middle of anything as well.
    Kills,
}

/// A message on its way in.
#[derive(Clone, Debug)]
struct Mail {
    from: String,
    to: Vec<String>,
    subject: String,
}

/// What waits for a worker.
#[derive(Clone, Debug)]
struct Waits {
    lane: Lane,
    origin: String,
    recipients: usize,
}

/// Recipients that have left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Left {
    at: Timestamp,
    lane: Lane,
    origin: String,
    subject: String,
    recipients: usize,
}

struct Relay {
    clock: ManualClock,
    queue: Arc<Queue>,
    rules: Rules,
    limit: u32,
    trouble: Trouble,
    /// What happens to the relay, apart from what its clients do.
    chance: fastrand::Rng,
    restarts: usize,
    left: Vec<Left>,
    /// Turns that others have had since an origin began to wait, by lane.
    passed: HashMap<(Lane, String), HashMap<String, u32>>,
    waiting: BTreeMap<QueueId, Waits>,
    /// What a worker had when the relay was killed, and what has its place behind others for it.
    tried: HashSet<QueueId>,
}

fn rule(name: &str, matcher: Matcher, effect: Effect) -> Rule {
    Rule { name: Arc::from(name), matchers: vec![matcher], effect }
}

/// Alarms are urgent, shops have bulk mail and a limit, and what the nightly job says is never folded.
fn rules() -> Rules {
    let subject = |words: &str| Matcher::Subject(vec![Words::plain(words)]);
    let shop = SenderPattern::Domain("shop.example.org".into());
    let bulk =
        Effect { lane: Some(Lane::Bulk), origin_limit: Some(SHOP_LIMIT), ..Effect::default() };
    let all = vec![
        rule("raid", subject("degraded"), Effect { lane: Some(Lane::Urgent), ..Effect::default() }),
        rule("shop", Matcher::Sender(vec![Sender::Of(shop)]), bulk),
        rule(
            "nightly",
            subject("nightly report"),
            Effect { storm: Some(false), ..Effect::default() },
        ),
    ];
    Rules::new(all, &[])
}

impl Relay {
    fn new(limit: u32, trouble: Trouble, seed: u64) -> Self {
        let clock = ManualClock::new(START);
        let queue = Arc::new(Queue::in_memory(Arc::new(clock.clone()), 1 << 30));
        let chance = fastrand::Rng::with_seed(seed ^ 0x5707);
        let relay = Self {
            clock,
            queue,
            rules: rules(),
            limit,
            trouble,
            chance,
            restarts: 0,
            left: Vec::new(),
            passed: HashMap::new(),
            waiting: BTreeMap::new(),
            tried: HashSet::new(),
        };
        relay.configure();
        relay
    }

    fn configure(&self) {
        let mut options = options::Options::new("/nowhere".into());
        (options.max_bytes, options.min_free_bytes) = (1 << 30, 0);
        options.storms.admin = Some(ADMIN.parse().unwrap());
        self.queue.set_room(&options);
        let (bulk_share, by_rule) = (0, self.rules.origin_limits());
        self.queue.set_fairness(Fairness { bulk_share, by_rule, ..Fairness::default() });
    }

    async fn restart(&mut self) {
        self.queue = Arc::new(self.queue.killed().await);
        self.restarts += 1;
        self.configure();
        // Who owes turns is not known any more; from here on it is fair again.
        self.passed.clear();
    }

    async fn may_restart(&mut self) {
        if self.trouble != Trouble::Nothing && self.chance.u8(0..40) == 0 {
            self.restart().await;
        }
    }

    async fn accept(&mut self, mail: &Mail) {
        let to = |one: &String| one.parse().unwrap();
        let mut own = envelope(ADMIN.parse().unwrap(), "x", self.clock.wall(), Lane::Normal);
        own.forward_paths = mail.to.iter().map(to).collect();
        own.reverse_path = Some(mail.from.parse().unwrap());
        own.origin.address = [192, 0, 2, 1].into();
        let mut draft = self.queue.begin(own).unwrap();
        draft.look_for(self.rules.wanted());
        let text = format!("From: {}\r\nSubject: {}\r\n\r\nx\r\n", mail.from, mail.subject);
        draft.write(text.as_bytes()).await.unwrap();
        let (excerpt, size) = (draft.excerpt(), draft.size_bytes());
        let struck = self.rules.judge(&Facts::of(draft.envelope(), &excerpt, size, 12));
        if let Some(Rule { name, effect, .. }) = struck {
            let (rule, lane, storm) = (Some(name.to_string()), effect.lane, effect.storm);
            draft.ruled(Ruled { rule, lane, hold: false, storm, route: None });
        }
        let _for_nobody = self.queue.enqueue(draft).await.unwrap();
    }

    /// A look of the task, which a kill may cut off anywhere.
    async fn look(&mut self) {
        let mut options = Options::new("nas.example.org".into());
        options.account = Some("me@gmail.com".parse().unwrap());
        let (queue, clock) = (Arc::clone(&self.queue), Arc::new(self.clock.clone()));
        let teller = StormTeller::new(Live::new(options), queue, clock);
        if self.trouble == Trouble::Kills && self.chance.u8(0..4) == 0 {
            let polls = self.chance.u32(1..12);
            if cut_off(teller.look(), polls).await.is_none() {
                drop(teller);
                return self.restart().await;
            }
        } else {
            teller.look().await.unwrap();
        }
    }

    /// What waits, as the queue has it.
    async fn read(&mut self) {
        let mut after = None;
        self.waiting.clear();
        loop {
            let page = self.queue.list(after, 250).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for message in page.iter().filter(|one| !one.record.is_folded()) {
                let open = |one: &&Recipient| !one.state.is_final();
                let recipients = message.record.recipients.iter().filter(open).count();
                let (lane, origin) = (message.record.lane, origin(&message.record));
                if recipients > 0 {
                    self.waiting.insert(message.id, Waits { lane, origin, recipients });
                }
            }
        }
        for waits in self.waiting.values() {
            self.passed.entry((waits.lane, waits.origin.clone())).or_default();
        }
    }

    /// Relays everything that may leave now.
    async fn relay(&mut self) {
        self.read().await;
        let limits = ClaimLimits {
            account: AccountKey::MAIN,
            limit: Limit::of(self.limit),
            notice_reserve: 0,
            urgent_reserve: RESERVE,
            recipients_max: 10,
        };
        loop {
            let claim = self.queue.claim_due(self.clock.now(), limits).await.unwrap();
            let Claim::Message(claimed) = claim else { return };
            let recipients = claimed.recipients.len();
            self.is_the_turn_of(claimed.id, recipients);
            if self.trouble == Trouble::Kills && self.chance.u8(0..60) == 0 {
                // Before anything was sent: what was reserved is wasted.
                self.tried.insert(claimed.id);
                self.restart().await;
                self.read().await;
                continue;
            }
            let subject = self.queue.show(claimed.id).await.unwrap().unwrap().record.about.subject;
            let Waits { lane, origin, .. } = self.waiting[&claimed.id].clone();
            let at = self.clock.wall();
            self.left.push(Left { at, lane, origin, subject, recipients });
            self.keeps_the_limits();
            let relayed = claimed
                .recipients
                .iter()
                .map(|one| (one.index, Outcome::Relayed { reply: "250 OK".into() }));
            let (reservation, outcomes) = (claimed.reservation, relayed.collect());
            let settlement = Settlement { reservation, at, outcomes };
            self.queue.settle(claimed.id, settlement).await.unwrap();
            let waits = self.waiting.get_mut(&claimed.id).unwrap();
            waits.recipients -= recipients;
            if waits.recipients == 0 {
                self.waiting.remove(&claimed.id);
            }
        }
    }

    /// No lane before its own waits, none of its origin came earlier, and nobody is passed over twice by one origin.
    fn is_the_turn_of(&mut self, id: QueueId, recipients: usize) {
        let waits = self.waiting[&id].clone();
        assert!(recipients <= waits.recipients);
        let earlier = self.waiting.values().find(|one| one.lane < waits.lane);
        assert!(earlier.is_none(), "{earlier:?} before {waits:?}");
        let mut own = self.waiting.iter().filter(|(id, one)| {
            one.origin == waits.origin && one.lane == waits.lane && !self.tried.contains(id)
        });
        if !self.tried.contains(&id) {
            assert_eq!(own.next().map(|(first, _)| *first), Some(id), "in the order of acceptance");
        }
        // Bulk mail goes to many at once, and who has sent to many sits out as many rounds.
        if waits.lane == Lane::Bulk {
            return;
        }
        let others: HashSet<&String> = self
            .waiting
            .values()
            .filter(|one| one.lane == waits.lane && one.origin != waits.origin)
            .map(|one| &one.origin)
            .collect();
        for other in others {
            let passed = self.passed.entry((waits.lane, other.clone())).or_default();
            let turns = passed.entry(waits.origin.clone()).or_insert(0);
            *turns += 1;
            assert!(*turns <= 1, "{} goes twice before {other}", waits.origin);
        }
        self.passed.remove(&(waits.lane, waits.origin));
    }

    /// In the 24 hours up to what has left just now.
    fn keeps_the_limits(&self) {
        let last = self.left.last().unwrap();
        let day = || self.left.iter().rev().take_while(|one| last.at.since(one.at) < DAY);
        let all: usize = day().map(|one| one.recipients).sum();
        assert!(all <= self.limit as usize, "{all} recipients in a day");
        if last.lane == Lane::Bulk {
            let own = day().filter(|one| one.origin == last.origin);
            let own: usize = own.map(|one| one.recipients).sum();
            assert!(own <= SHOP_LIMIT as usize, "{own} recipients of {}", last.origin);
        }
    }
}

fn origin(record: &MessageRecord) -> String {
    match record.about.client {
        Client::Relay => "the relay".to_owned(),
        _ => Origin::of(record).to_string(),
    }
}

/// Polls so often; `None` when it had not ended then.
async fn cut_off<T>(work: impl Future<Output = T>, polls: u32) -> Option<T> {
    let (mut work, mut left) = (pin!(work), polls);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// What comes, step by step.
struct Traffic {
    random: fastrand::Rng,
    /// Messages so far.
    number: u32,
    /// What a program that has gone wild says, and for how many steps still.
    wild: (&'static str, u32),
}

impl Traffic {
    fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), number: 0, wild: ("", 0) }
    }

    /// So many of the same sender, to the administrator where nobody else is named.
    fn mail(&mut self, count: u32, (from, to): (&str, Option<u32>), words: &str) -> Vec<Mail> {
        let reader = |one| format!("reader{one}@example.net");
        let to: Vec<String> =
            to.map_or_else(|| vec![ADMIN.to_owned()], |readers| (0..readers).map(reader).collect());
        let numbers = self.number + 1..=self.number + count;
        self.number += count;
        let mail = |number| Mail {
            from: from.to_owned(),
            to: to.clone(),
            subject: format!("{words} {number}"),
        };
        numbers.map(mail).collect()
    }

    /// The mail of one step. A program that goes wild says more than five times the same at once.
    fn step(&mut self) -> Vec<Mail> {
        let (letters, person) = (self.random.u32(0..3), self.random.u8(0..5));
        let person = format!("person{person}@example.org");
        let mut all = self.mail(letters, (&person, Some(1)), "letter");
        if self.wild.1 == 0 && self.random.u8(0..30) == 0 {
            let words = ["banned", "scanned", "refused"][self.random.usize(..3)];
            self.wild = (words, self.random.u32(1..20));
        }
        if self.wild.1 > 0 {
            self.wild.1 -= 1;
            let notices = self.random.u32(8..14);
            all.extend(self.mail(notices, ("root@nas.example.org", None), self.wild.0));
        }
        let shop = format!("news{}@shop.example.org", self.random.u8(0..2));
        all.extend(match self.random.u8(0..30) {
            0 => {
                let results = self.random.u32(10..40);
                self.mail(results, ("job@example.org", Some(1)), "result")
            }
            1 | 2 => {
                let readers = self.random.u32(1..25);
                self.mail(1, (&shop, Some(readers)), "offer")
            }
            3 => self.mail(1, ("monitor@nas.example.org", None), "an array is degraded, fault"),
            4 => self.mail(9, ("night@nas.example.org", None), "nightly report"),
            _ => Vec::new(),
        });
        all
    }
}

/// Some days of it, and then as many without traffic as it takes until everything has left.
async fn days(limit: u32, trouble: Trouble, seed: u64) -> (Relay, Vec<Mail>) {
    let mut relay = Relay::new(limit, trouble, seed);
    let (mut traffic, mut sent) = (Traffic::new(seed), Vec::new());
    while relay.clock.wall().since(START) < DAY * DAYS {
        relay.clock.advance(MINUTE * traffic.random.u32(1..14));
        for mail in traffic.step() {
            relay.accept(&mail).await;
            sent.push(mail);
        }
        relay.may_restart().await;
        relay.look().await;
        relay.may_restart().await;
        relay.relay().await;
        assert!(relay.queue.kinds_of_mail() <= SHAPES_MAX);
    }
    relay.trouble = Trouble::Nothing;
    for _ in 0..24 * 30 {
        relay.clock.advance(MINUTE * 60);
        relay.look().await;
        relay.relay().await;
        if relay.waiting.is_empty() {
            break;
        }
    }
    assert!(relay.waiting.is_empty(), "everything leaves in the end");
    (relay, sent)
}

fn is_summary(left: &Left) -> bool {
    left.origin == "the relay"
}

/// Messages of which the summaries tell.
fn told(relay: &Relay) -> usize {
    let of = |left: &Left| left.subject[1..].split(' ').next().unwrap().parse::<usize>().unwrap();
    relay.left.iter().filter(|one| is_summary(one)).map(of).sum()
}

/// By subject: recipients that have left by themselves.
fn by_subject(relay: &Relay) -> BTreeMap<&str, usize> {
    let mut all = BTreeMap::new();
    for left in relay.left.iter().filter(|one| !is_summary(one)) {
        *all.entry(left.subject.as_str()).or_default() += left.recipients;
    }
    all
}

/// Everything was relayed or told of; returns how many messages were folded.
async fn nothing_is_lost(relay: &Relay, sent: &[Mail]) -> usize {
    let (mut folded, mut after) = (BTreeSet::new(), None);
    loop {
        let (page, next) = relay.queue.folded(after).await.unwrap();
        for message in page {
            let fold = message.record.fold.expect("it is folded");
            assert!(fold.told.is_some(), "{} was told of", message.record.about.subject);
            folded.insert(message.record.about.subject);
        }
        if next.is_none() {
            break;
        }
        after = next;
    }
    let left = by_subject(relay);
    for Mail { subject, to, .. } in sent {
        let is_there = left.get(subject.as_str()) == Some(&to.len()) || folded.contains(subject);
        assert!(is_there, "{subject}: {:?} of {}", left.get(subject.as_str()), to.len());
    }
    assert_eq!(left.len() + folded.len(), sent.len(), "each by one way");
    folded.len()
}

fn seed() -> u64 {
    let seed = std::env::var("PILLARBOX_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("PILLARBOX_TEST_SEED={seed}");
    seed
}

#[tokio::test]
async fn days_of_random_mail_keep_limits_lanes_and_turns_and_tell_of_everything_once() {
    let seed = seed();
    for trouble in [Trouble::Nothing, Trouble::Restarts] {
        let (relay, sent) = days(LIMIT, trouble, seed).await;
        let folded = nothing_is_lost(&relay, &sent).await;
        assert_eq!(told(&relay), folded, "told of once, with {} restarts", relay.restarts);
        assert!(folded > 0 && relay.left.len() > 200, "these are days of work");
    }
}

#[tokio::test]
async fn days_with_kills_in_the_middle_of_anything_lose_nothing_and_tell_at_least_once() {
    let (relay, sent) = days(LIMIT, Trouble::Kills, seed()).await;
    let folded = nothing_is_lost(&relay, &sent).await;
    assert!(told(&relay) >= folded, "with {} restarts", relay.restarts);
    assert!(relay.restarts > 5);
}

/// With room for everybody the very same messages leave in each step, in the same lanes.
#[tokio::test]
async fn a_restart_at_any_step_changes_nothing_about_who_leaves() {
    let seed = seed();
    let in_steps = async |trouble| {
        let (relay, _) = days(100_000, trouble, seed).await;
        let mut left = relay.left;
        left.sort();
        (left, relay.restarts)
    };
    let (calm, _) = in_steps(Trouble::Nothing).await;
    let (restarted, restarts) = in_steps(Trouble::Restarts).await;
    let first = calm.iter().zip(&restarted).find(|(one, other)| one != other);
    assert_eq!((first, calm.len()), (None, restarted.len()), "{restarts} restarts");
    assert!(restarts > 3);
}
