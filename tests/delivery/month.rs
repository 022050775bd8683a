//! A month in which every reply of the table strikes single messages, single senders and the whole account,
//! and mail that is none of theirs never waits longer for it than the documents say.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use fastrand::Rng;
use pillarbox::{
    clock::{Clock, Timestamp},
    delivery::{KnownReply, Scope, known_replies},
    message::{envelope::Lane, identity::FromPolicy},
    queue::{
        id::QueueId,
        state::{AccountCondition, RecipientState},
        store::Store,
    },
    sandbox::{Failure, Stage},
    shutdown::Phase,
};

use super::{
    replies::stage,
    scene::{HOUR, MINUTE, START, Scene},
};

/// How long good mail waits at most for a bad message or a bad sender.
const BOUND: Duration = Duration::from_secs(15 * 60);
/// The same when Gmail says that the day is full or the rate is unusual, and after three verdicts of spam.
const BOUND_FULL: Duration = HOUR;
/// How long the probe may take that follows a pause.
const SLACK: Duration = MINUTE;
/// How long mail waits at most when what was wrong with the whole account is over.
const RECOVERY: Duration = Duration::from_secs(8 * 3_600);

const DAY: Duration = Duration::from_secs(24 * 3_600);
const DAYS: u32 = 30;
/// Recipients a day; the last day has more mail.
const LIMIT: u32 = 200;
const LOGINS: u32 = 20;

/// When good mail comes in an episode, in seconds after its begin.
const COMES_AT: [u64; 7] = [0, 20, 70, 400, 1_300, 3_900, 7_800];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Struck {
    Message,
    Sender,
    Account,
}

/// Mail that nobody refuses.
#[derive(Debug)]
struct Good {
    id: QueueId,
    at: Timestamp,
    /// How long it may wait, by what has paused the account meanwhile.
    may_wait: Duration,
}

struct Month {
    scene: Scene,
    random: Rng,
    /// Good mail on its way, and all of it.
    waiting: Vec<Good>,
    good: Vec<QueueId>,
    bad: Vec<QueueId>,
    /// What met a refusal of the whole account, when that was over, and which it was.
    met: Vec<(QueueId, Timestamp, KnownReply)>,
    /// What is to be struck at the end, and has been: name, and the row.
    struck: Vec<(String, &'static str)>,
    /// Login attempts so far, by time.
    logins: Vec<(Timestamp, u64)>,
    /// The longest that good mail has waited for one that may cost so much.
    slowest: HashMap<Duration, Duration>,
    now: &'static str,
    /// Messages submitted.
    count: usize,
}

impl Month {
    async fn new(seed: u64) -> Self {
        let mut scene = Scene::with(|options| {
            options.recipients_per_day = LIMIT;
            // Gmail's own guards are far away; what must hold is the relay's.
            options.logins_per_minute = 1_000;
        })
        .await;
        scene.options.recipients_per_day = LIMIT.into();
        scene.options.logins_per_hour = LOGINS;
        scene.options.identity.from = FromPolicy::Keep;
        scene.start();
        Self {
            scene,
            random: Rng::with_seed(seed),
            waiting: Vec::new(),
            good: Vec::new(),
            bad: Vec::new(),
            met: Vec::new(),
            struck: Vec::new(),
            logins: Vec::new(),
            slowest: HashMap::new(),
            now: "",
            count: 0,
        }
    }

    fn wall(&self) -> Timestamp {
        self.scene.clock.wall()
    }

    async fn submit(&mut self, sender: &str, recipient: &str, kind: &str) -> QueueId {
        self.count += 1;
        let number = self.count;
        let body = format!(
            "Message-ID: <{kind}{number}@month.example>\r\nDate: x\r\nSubject: {number}\r\n\r\nhello\r\n"
        );
        self.scene.submit_from(Lane::Normal, sender, &[recipient], body.as_bytes()).await
    }

    async fn submit_good(&mut self) {
        let number = self.good.len();
        let sender = format!("{}@host.example", ["cron", "root", "www"][number % 3]);
        let id = self.submit(&sender, &format!("ok{number}@example.net"), "good").await;
        self.good.push(id);
        self.waiting.push(Good { id, at: self.wall(), may_wait: BOUND });
    }

    async fn submit_bad(&mut self, sender: &str, recipient: &str) {
        let id = self.submit(sender, recipient, "bad").await;
        self.bad.push(id);
    }

    /// Waits until the pool has nothing more to do at this time, then looks at the good mail.
    async fn look(&mut self) {
        self.scene.until_still().await;
        let counters = self.scene.sandbox.mailbox().counters();
        self.logins.push((self.wall(), counters.logins + counters.login_refusals));
        let account = self.scene.handle().status().account;
        let now = self.wall();
        for mut good in std::mem::take(&mut self.waiting) {
            if account.condition != AccountCondition::Open {
                good.may_wait = good.may_wait.max(may_cost(&account.reason));
            }
            let waited = now.since(good.at);
            if self.scene.names(good.id).await == ["relayed"] {
                let slowest = self.slowest.entry(good.may_wait).or_default();
                *slowest = waited.max(*slowest);
            } else {
                assert!(
                    waited <= good.may_wait + SLACK,
                    "{waited:?}, struck by {}: {:#?}",
                    self.now,
                    self.scene.handle().status()
                );
                self.waiting.push(good);
            }
        }
    }

    /// Goes on until then; while good mail waits, from one end of a pause to the next.
    async fn until(&mut self, target: Timestamp) {
        loop {
            self.look().await;
            let now = self.wall();
            if now >= target {
                return;
            }
            let pause = self.scene.handle().status().account.until.filter(|until| *until > now);
            let next = match pause {
                _ if self.waiting.is_empty() => target,
                Some(until) => until.min(target),
                None => now.after(MINUTE / 4).min(target),
            };
            self.scene.clock.advance(next.since(now));
        }
    }

    /// Mail of its own kind comes for a while, one or all of one sender of which is refused.
    async fn strike_some(&mut self, reply: &KnownReply, whom: Struck) {
        let name = format!("{whom:?}{}-", self.struck.len()).to_lowercase();
        self.scene.sandbox.strike(&name, stage(reply), failure(reply));
        self.struck.push((name.clone(), reply.line));
        // Who sends shows at MAIL alone; a single message is one of a sender who sends others, too.
        let is_sender = whom == Struck::Sender || stage(reply) == Stage::Mail;
        let sender =
            if is_sender { format!("{name}x@host.example") } else { "cron@host.example".into() };
        let began = self.wall();
        for (number, at) in COMES_AT.into_iter().enumerate() {
            self.until(began.after(Duration::from_secs(at))).await;
            let first_good = self.random.bool();
            if first_good {
                self.submit_good().await;
            }
            if number == 0 || whom == Struck::Sender {
                self.submit_bad(&sender, &format!("{name}{number}@example.net")).await;
                if self.random.bool() {
                    self.look().await;
                }
            }
            if !first_good {
                self.submit_good().await;
            }
        }
        while !self.waiting.is_empty() {
            self.until(self.wall().after(MINUTE)).await;
        }
    }

    /// All mail is refused for a while. What is refused for its own sake may die of it; all other mail leaves later.
    async fn strike_all(&mut self, reply: &KnownReply) {
        self.scene.sandbox.strike("", stage(reply), failure(reply));
        let began = self.wall();
        let minutes = self.random.u64(1..100);
        let mut sent = Vec::new();
        for part in 0..3 {
            let number = self.good.len() + self.met.len() + sent.len();
            let id =
                self.submit("cron@host.example", &format!("all{number}@example.net"), "all").await;
            sent.push(id);
            self.until(began.after(Duration::from_secs((part + 1) * minutes * 20))).await;
        }
        let times = self.scene.sandbox.relent("");
        assert!(times > 0, "{} has struck nobody", reply.line);
        if self.random.bool() {
            self.scene.handle().resume().await;
        }
        let over = self.wall();
        while self.scene.handle().status().account.condition != AccountCondition::Open {
            let waited = self.wall().since(over);
            assert!(
                waited < RECOVERY,
                "{waited:?} after {}: {:#?}",
                self.now,
                self.scene.handle().status()
            );
            // Only an accepted message says that the account is well.
            sent.push(self.submit("cron@host.example", "ok@example.net", "all").await);
            self.until(self.wall().after(30 * MINUTE)).await;
        }
        self.met.extend(sent.into_iter().map(|id| (id, over, *reply)));
    }

    /// What met a refusal of everybody has left within a day, or is dead for its own sake.
    async fn look_after_the_met(&mut self) {
        for (id, over, reply) in std::mem::take(&mut self.met) {
            let waited = self.wall().since(over);
            match self.scene.state(id).await.0 {
                RecipientState::Relayed { .. } => {}
                RecipientState::Dead { reason, .. } => {
                    assert!(reply.scope <= Scope::Message, "dead because of the account: {reason}");
                }
                state => {
                    assert!(waited < DAY, "{waited:?} after {}: {state:?}", reply.line);
                    self.met.push((id, over, reply));
                }
            }
        }
    }

    async fn restart(&mut self) {
        let phase = if self.random.bool() { Phase::Immediate } else { Phase::Draining };
        self.scene.stop(phase).await;
        if self.random.bool() {
            self.scene.clock.reboot();
        }
        self.scene.store.restart();
        self.scene.start();
    }

    async fn run(&mut self) {
        let mut episodes = episodes();
        self.random.shuffle(&mut episodes);
        let each = DAYS * DAY / u32::try_from(episodes.len()).unwrap();
        for (number, (reply, whom)) in (0..).zip(&episodes) {
            self.until(START.after(each * number)).await;
            self.now = reply.line;
            match whom {
                Struck::Account => self.strike_all(reply).await,
                Struck::Message | Struck::Sender => self.strike_some(reply, *whom).await,
            }
            self.look_after_the_met().await;
            if self.random.u32(0..30) == 0 {
                self.restart().await;
            }
        }
        assert!(self.wall() >= START.after(each * (u32::try_from(episodes.len()).unwrap() - 1)));
        for (name, line) in std::mem::take(&mut self.struck) {
            assert!(self.scene.sandbox.relent(&name) > 0, "{line} has never struck {name}");
        }
    }

    /// More mail than the day has room for.
    async fn spend_the_day(&mut self) {
        for _ in 0..LIMIT {
            self.submit_good().await;
        }
        let waiting: Vec<QueueId> = self.waiting.drain(..).map(|good| good.id).collect();
        for _ in 0..3 * 24 {
            self.until(self.wall().after(HOUR)).await;
        }
        self.look_after_the_met().await;
        for id in waiting {
            assert_eq!(self.scene.names(id).await, ["relayed"]);
        }
    }
}

/// Every example of the table, and whom it can strike: before MAIL nobody knows whose mail it is.
fn episodes() -> Vec<(KnownReply, Struck)> {
    let whom = |reply: KnownReply| {
        let all = [Struck::Account, Struck::Message, Struck::Sender];
        let known = if stage(&reply) >= Stage::Mail { 3 } else { 1 };
        all.into_iter().take(known).map(move |whom| (reply, whom))
    };
    known_replies().into_iter().flat_map(whom).collect()
}

fn failure(reply: &KnownReply) -> Failure {
    let text = format!("{} {{id}} - gsmtp", reply.line);
    if text.starts_with("421") { Failure::ReplyAndClose(text) } else { Failure::Reply(text) }
}

/// How long the others may wait for a pause with this reason.
fn may_cost(reason: &str) -> Duration {
    let says_it = |reply: &KnownReply| {
        let line: String = reply.line.chars().take(60).collect();
        reason.contains(&line) && (reply.certain || line.contains("unusual rate"))
    };
    let full = reason.contains("taken for spam") || known_replies().iter().any(says_it);
    if full { BOUND_FULL } else { BOUND }
}

#[tokio::test]
async fn a_month_of_every_known_reply_delays_good_mail_by_no_more_than_is_documented() {
    let seed = crate::support::outage::seed("month");
    let mut month = Month::new(seed).await;
    month.run().await;
    month.spend_the_day().await;

    let accepted = month.scene.received();
    let ids: HashSet<&str> =
        accepted.iter().filter_map(|mail| mail.message_id.as_deref()).collect();
    assert_eq!(ids.len(), accepted.len(), "nothing arrives twice");
    assert!(month.met.is_empty(), "{:?}", month.met);
    for id in &month.good {
        let message = month.scene.store.show(*id).await.unwrap().expect("no message is lost");
        let [recipient] = message.recipients() else { panic!("one recipient") };
        assert!(matches!(recipient.state, RecipientState::Relayed { .. }), "{recipient:?}");
    }
    for id in &month.bad {
        assert!(month.scene.store.show(*id).await.unwrap().is_some(), "no message is lost");
    }
    check_the_hours(&month.logins);
    super::week::check_the_days(&accepted, LIMIT);
    assert_eq!(month.scene.sandbox.mailbox().counters().quota_refusals, 0, "the relay stops first");
    assert!(
        month.slowest[&BOUND] > 4 * MINUTE && month.slowest[&BOUND_FULL] > 15 * MINUTE,
        "{:?}",
        month.slowest
    );
}

/// No hour with more logins than may be.
fn check_the_hours(logins: &[(Timestamp, u64)]) {
    let mut first = 0;
    for (now, count) in logins {
        while now.since(logins[first].0) >= HOUR {
            first += 1;
        }
        let within = count - logins[first].1;
        assert!(within <= u64::from(LOGINS), "{within} logins within an hour");
    }
}
