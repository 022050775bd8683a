//! Three months in which every reply of the table strikes a single message, a single sender and the whole account,
//! and mail that is none of theirs never waits longer for it than the documents say.

use std::{collections::HashSet, time::Duration};

use fastrand::Rng;
use pillarbox::{
    clock::{Clock, Timestamp},
    delivery::{KnownReply, Provider, Scope},
    message::{envelope::Lane, identity::FromPolicy},
    queue::{
        id::QueueId,
        state::{AccountCondition, AccountState, RecipientState},
    },
    sandbox::{Failure, Stage},
    shutdown::Phase,
};

use super::{
    replies::{replies_of, stage},
    scene::{HOUR, MINUTE, START, Scene},
};
use crate::support::outage::seed_or;

/// How long good mail waits at most for one bad message or one bad sender (docs/internals/account.md, "Whom a refusal
/// concerns").
const BOUND: Duration = Duration::from_secs(15 * 60);
/// The same when Gmail says that the rate is unusual.
const BOUND_RATE: Duration = HOUR;
/// The same when Gmail says that the day is full, and after three verdicts of spam; for the second one and those that
/// follow while no other mail is accepted.
const BOUNDS_FULL: [Duration; 3] =
    [HOUR, Duration::from_secs(2 * 3_600), Duration::from_secs(4 * 3_600)];
/// How long the probe may take that follows a pause.
const SLACK: Duration = MINUTE;
/// How long mail waits at most when what was wrong with the whole account is over: the longest pause, and what else is due.
const RECOVERY: Duration = Duration::from_secs(8 * 3_600);
/// When what met a refusal of the whole account has left at the latest: its own step is four hours, and the next refusal
/// may strike it again.
const MET_AGAIN: Duration = DAY;

/// What a pause for verdicts of spam says.
const SPAM: &str = "of several senders within an hour were taken for spam";

const DAY: Duration = Duration::from_secs(24 * 3_600);
const DAYS: u32 = 30;
/// The least step of the clock.
const STEP: Duration = Duration::from_secs(5);
/// Recipients a day; the last day has more mail.
const LIMIT: u32 = 100;
const LOGINS: u32 = 20;
/// Who stay struck at once for days, besides those whose episode it is.
const KEPT_MAX: usize = 3;

/// When good mail comes in an episode, in seconds after its begin.
const COMES_AT: [u64; 7] = [0, 20, 70, 400, 1_300, 3_900, 7_800];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Struck {
    Account,
    Message,
    Sender,
}

/// Mail that nobody refuses.
#[derive(Debug)]
struct Good {
    id: QueueId,
    at: Timestamp,
    /// What has paused the account meanwhile, each once, and how long it may wait for that.
    met: Vec<(&'static str, Duration)>,
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
    /// How many have been struck.
    struck: u32,
    /// Who is struck, and until when.
    kept: Vec<(Timestamp, String)>,
    /// Login attempts so far, by time.
    logins: Vec<(Timestamp, u64)>,
    /// Who have said that the day is full since the account was open.
    full: Vec<&'static str>,
    /// The longest that good mail has waited.
    slowest: Duration,
    /// The reply of this episode.
    now: &'static str,
    /// Messages submitted.
    count: usize,
}

impl Month {
    async fn new(seed: u64) -> Self {
        let mut scene = Scene::limited(LIMIT, LOGINS).await;
        scene.options.identity.from = FromPolicy::Keep;
        scene.start_restored().await;
        Self {
            scene,
            random: Rng::with_seed(seed),
            waiting: Vec::new(),
            good: Vec::new(),
            bad: Vec::new(),
            met: Vec::new(),
            struck: 0,
            kept: Vec::new(),
            logins: Vec::new(),
            full: Vec::new(),
            slowest: Duration::ZERO,
            now: "",
            count: 0,
        }
    }

    fn wall(&self) -> Timestamp {
        self.scene.clock.wall()
    }

    async fn submit(&mut self, sender: &str, recipient: &str) -> QueueId {
        self.count += 1;
        let number = self.count;
        let body = format!(
            "Message-ID: <{number}@month.example>\r\nDate: x\r\nSubject: {number}\r\n\r\nhello\r\n"
        );
        self.scene.submit_from(Lane::Normal, sender, &[recipient], body.as_bytes()).await
    }

    async fn submit_good(&mut self) {
        let number = self.good.len();
        let sender = format!("{}@host.example", ["cron", "root", "www"][number % 3]);
        let id = self.submit(&sender, &format!("ok{number}@example.net")).await;
        self.good.push(id);
        self.waiting.push(Good { id, at: self.wall(), met: Vec::new() });
    }

    /// Waits until the pool has nothing more to do at this time, then looks at the good mail.
    async fn look(&mut self) {
        self.scene.until_still().await;
        let counters = self.scene.sandbox.mailbox().counters();
        self.logins.push((self.wall(), counters.logins + counters.login_refusals));
        let account = self.scene.handle().status().account;
        let now = self.wall();
        let paused_by = self.pause(&account);
        for mut good in std::mem::take(&mut self.waiting) {
            let is_known = |(line, _): &(&str, Duration)| good.met.iter().any(|one| one.0 == *line);
            if let Some(pause) = paused_by.filter(|pause| !is_known(pause)) {
                good.met.push(pause);
            }
            let waited = now.since(good.at);
            if self.scene.names(good.id).await == ["relayed"] {
                self.slowest = self.slowest.max(waited);
            } else {
                let may_wait: Duration = good.met.iter().map(|(_, most)| *most).sum();
                assert!(
                    waited <= may_wait + SLACK,
                    "{waited:?}, paused by {:?}, while {} struck: {:#?}",
                    good.met,
                    self.now,
                    self.scene.handle().status()
                );
                self.waiting.push(good);
            }
        }
    }

    /// Why the account pauses, and how long the others may wait for that.
    fn pause(&mut self, account: &AccountState) -> Option<(&'static str, Duration)> {
        if account.condition == AccountCondition::Open {
            self.full.clear();
            return None;
        }
        let line = line_of(&account.reason);
        let is_certain = |reply: &KnownReply| reply.line == line && reply.certain;
        if line != SPAM && !replies_of(Provider::Gmail).iter().any(is_certain) {
            let most = match line {
                _ if line.contains("unusual rate") => BOUND_RATE,
                // Said of another message at the same time, so its pause holds as well, and is the longer one.
                _ if account.is_day_full(self.wall()) => BOUNDS_FULL[0],
                _ => BOUND,
            };
            return Some((line, most));
        }
        if !self.full.contains(&line) {
            self.full.push(line);
        }
        let rank = self.full.iter().position(|one| *one == line).unwrap_or_default();
        Some((line, BOUNDS_FULL[rank.min(2)]))
    }

    /// Goes on until then, from one departure to the next.
    async fn until(&mut self, target: Timestamp) {
        loop {
            self.look().await;
            let now = self.wall();
            if now >= target {
                return;
            }
            let next = self.scene.handle().status().next.map(|departure| departure.at);
            let next = next.unwrap_or(target).max(now.after(STEP)).min(target);
            self.scene.clock.advance(next.since(now));
        }
    }

    /// Mail of its own kind comes for a while, one or all of one sender of which is refused: by each of the replies,
    /// so that several are bad at once.
    async fn strike_some(&mut self, replies: &[KnownReply], whom: Struck) {
        let mut bad = Vec::new();
        for reply in replies {
            self.struck += 1;
            let name = format!("{whom:?}{}-", self.struck).to_lowercase();
            self.scene.sandbox.strike(&name, stage(reply), failure(reply));
            // Who sends shows at MAIL alone; a single message is one of a sender who sends others, too.
            let is_sender = whom == Struck::Sender || stage(reply) == Stage::Mail;
            let sender = if is_sender { name.as_str() } else { "cron" };
            bad.push((format!("{sender}@host.example"), name));
        }
        let began = self.wall();
        for (number, at) in COMES_AT.into_iter().enumerate() {
            self.until(began.after(Duration::from_secs(at))).await;
            let first_good = self.random.bool();
            if first_good {
                self.submit_good().await;
            }
            if number == 0 || whom == Struck::Sender {
                for (sender, name) in &bad {
                    let id = self.submit(sender, &format!("{name}{number}@example.net")).await;
                    self.bad.push(id);
                }
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
        // Most of them are well again; some stay as they are for days, beside those to come.
        for (_, name) in bad {
            let stays = self.kept.len() < KEPT_MAX && self.random.u32(0..4) == 0;
            let days = if stays { self.random.u32(1..5) } else { 0 };
            self.kept.push((self.wall().after(days * DAY), name));
        }
        self.relent(self.wall());
    }

    /// Those whose time has come are struck no more.
    fn relent(&mut self, now: Timestamp) {
        for (_, name) in self.kept.extract_if(.., |(until, _)| *until <= now) {
            assert!(self.scene.sandbox.relent(&name) > 0, "{name} was never struck");
        }
    }

    /// All mail is refused for a while. What is refused for its own sake may die of it; all other mail leaves later.
    async fn strike_all(&mut self, reply: &KnownReply) {
        self.scene.sandbox.strike("", stage(reply), failure(reply));
        let began = self.wall();
        let minutes = self.random.u64(1..100);
        let mut sent = Vec::new();
        for part in 0..3 {
            let to = format!("all{}@example.net", self.count);
            sent.push(self.submit("cron@host.example", &to).await);
            self.until(began.after(Duration::from_secs((part + 1) * minutes * 20))).await;
        }
        // Nobody is struck while an earlier pause lasts.
        while self.scene.sandbox.relent("") == 0 {
            self.scene.sandbox.strike("", stage(reply), failure(reply));
            self.until(self.wall().after(MINUTE)).await;
        }
        if self.random.bool() {
            self.scene.handle().resume().await;
        }
        let over = self.wall();
        // Only an accepted message says that the account is well: one that has nothing in common with the others.
        let name = format!("fresh{}", self.count);
        let (sender, recipient) = (format!("{name}@host.example"), format!("{name}@example.net"));
        let fresh = self.submit(&sender, &recipient).await;
        self.good.push(fresh);
        while self.scene.names(fresh).await != ["relayed"] {
            let waited = self.wall().since(over);
            assert!(
                waited < RECOVERY,
                "{waited:?} after {}: {:#?}",
                self.now,
                self.scene.handle().status()
            );
            self.until(self.wall().after(5 * MINUTE)).await;
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
                    assert!(
                        says_a_message_is_bad(&reason),
                        "dead because of the account: {reason}"
                    );
                }
                state => {
                    assert!(waited < MET_AGAIN, "{waited:?} after {}: {state:?}", reply.line);
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
        self.scene.restart_queue().await;
        self.scene.start_restored().await;
    }

    async fn run(&mut self, mut episodes: Vec<(KnownReply, Struck)>) {
        self.random.shuffle(&mut episodes);
        let count = u32::try_from(episodes.len()).unwrap();
        let each = DAYS * DAY / count;
        for (number, (reply, whom)) in (0..).zip(&episodes) {
            self.until(START.after(each * number)).await;
            self.relent(self.wall());
            self.now = reply.line;
            let besides =
                episodes.iter().find(|other| other.1 == *whom && other.0.line != self.now);
            match (whom, besides) {
                (Struck::Account, _) => self.strike_all(reply).await,
                (_, Some((other, _))) if self.random.u32(0..8) == 0 => {
                    self.strike_some(&[*reply, *other], *whom).await;
                }
                _ => self.strike_some(&[*reply], *whom).await,
            }
            self.look_after_the_met().await;
            if self.random.u32(0..15) == 0 {
                self.restart().await;
            }
        }
        assert!(self.wall() >= START.after(each * (count - 1)));
        self.relent(self.wall().after(DAYS * DAY));
    }

    /// More mail than the day has room for, and time for all that has been set back.
    async fn spend_the_day(&mut self) {
        for _ in 0..LIMIT {
            self.submit_good().await;
        }
        let waiting: Vec<QueueId> = self.waiting.drain(..).map(|good| good.id).collect();
        self.until(self.wall().after(3 * DAY)).await;
        self.look_after_the_met().await;
        for id in waiting {
            assert_eq!(self.scene.names(id).await, ["relayed"]);
        }
    }

    async fn check(&self) {
        let accepted = self.scene.received();
        let ids: HashSet<&str> =
            accepted.iter().filter_map(|mail| mail.message_id.as_deref()).collect();
        assert_eq!(ids.len(), accepted.len(), "nothing arrives twice");
        assert!(self.met.is_empty(), "{:?}", self.met);
        for id in &self.good {
            assert_eq!(self.scene.names(*id).await, ["relayed"]);
        }
        // Those who were relented have left as well, and the others are dead and told.
        for id in &self.bad {
            assert!(matches!(self.scene.names(*id).await[..], ["relayed" | "dead"]), "{id}");
        }
        check_the_hours(&self.logins);
        super::week::check_the_days(&accepted, LIMIT);
        let counters = self.scene.sandbox.mailbox().counters();
        assert_eq!(counters.quota_refusals, 0, "the relay stops first");
        assert!(self.slowest > BOUND, "too little has happened: {:?}", self.slowest);
    }
}

/// The episodes of one of three months: an example of every row of the table, another one each month, and whom it
/// strikes in which month. Before MAIL nobody knows whose mail it is, so one month has it.
fn episodes(month: usize) -> Vec<(KnownReply, Struck)> {
    let whom = [Struck::Account, Struck::Message, Struck::Sender];
    let known = replies_of(Provider::Gmail);
    let rows = known.chunk_by(|one, next| one.meaning == next.meaning);
    let struck = |(number, examples): (usize, &[KnownReply])| {
        let reply = examples[month % examples.len()];
        let turn = whom[(number + month) % whom.len()];
        (stage(&reply) >= Stage::Mail || turn == Struck::Account).then_some((reply, turn))
    };
    rows.enumerate().filter_map(struck).collect()
}

fn failure(reply: &KnownReply) -> Failure {
    let text = format!("{} {{id}} - gsmtp", reply.line);
    if text.starts_with("421") { Failure::ReplyAndClose(text) } else { Failure::Reply(text) }
}

/// Whether this text quotes the reply, whose end may be cut.
fn quotes(text: &str, reply: &KnownReply) -> bool {
    let line: String = reply.line.chars().take(60).collect();
    text.contains(&line)
}

/// Whether a reason of death is a refusal of the message or its recipient.
fn says_a_message_is_bad(reason: &str) -> bool {
    replies_of(Provider::Gmail)
        .iter()
        .any(|reply| reply.scope <= Scope::Message && quotes(reason, reply))
}

/// The line of the table for which the account pauses.
fn line_of(reason: &str) -> &'static str {
    if reason.contains(SPAM) {
        return SPAM;
    }
    let known = replies_of(Provider::Gmail).into_iter().find(|reply| quotes(reason, reply));
    known.unwrap_or_else(|| panic!("a pause for what nobody has said: {reason}")).line
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

async fn live_through(month: usize, seed: u64) {
    let mut life = Month::new(seed_or("month", seed)).await;
    life.run(episodes(month)).await;
    life.spend_the_day().await;
    life.check().await;
}

#[tokio::test]
async fn a_first_month_of_known_replies_delays_good_mail_by_no_more_than_is_documented() {
    live_through(0, 1).await;
}

#[tokio::test]
async fn a_second_month_of_known_replies_delays_good_mail_by_no_more_than_is_documented() {
    live_through(1, 2).await;
}

#[tokio::test]
async fn a_third_month_of_known_replies_delays_good_mail_by_no_more_than_is_documented() {
    live_through(2, 3).await;
}
