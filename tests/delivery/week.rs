//! A week in which everything goes wrong: each known reply strikes with 5 % in each hour, connections
//! break at every stage, the daemon is restarted and the machine rebooted. A pool lives through it, and the whole daemon with
//! its queue in a database.
//!
//! What it must show: nothing is lost, no refusal of the account costs a message anything, logins and the
//! 24 hours stay within their limits.

use std::{collections::HashMap, sync::Arc};

use fastrand::Rng;
use pillarbox::{
    clock::{Clock as _, Timestamp},
    delivery::{KnownReply, Provider, Scope},
    message::envelope::Lane,
    queue::{
        id::QueueId,
        state::{AccountCondition, RecipientState},
    },
    sandbox::{APP_PASSWORD, Accepted, Failure, Stage},
    shutdown::Phase,
};

use super::{
    Captured,
    diskless::Diskless,
    relay::{LIFETIME, Relay},
    replies::{replies_of, stage},
    scene::{HOUR, Scene, hand_in},
};
use crate::support::postgres::PASSWORD;

/// How much mail there is.
struct Size {
    /// In each hour at most.
    messages: usize,
    /// Recipients a day; fewer than are submitted on a full day, so that the budget binds.
    limit: u32,
    /// Recipients that are relayed at least.
    relayed: usize,
}

const SIZE: Size = Size { messages: 5, limit: 100, relayed: 300 };
/// Two fifths of it: in a database each message is a dozen questions and transactions.
const SMALL_SIZE: Size = Size { messages: 2, limit: 40, relayed: 120 };
const LOGINS: u32 = 12;
const STEPS: usize = 7 * 24;
/// Of a hundred.
const CHANCE: u32 = 5;
/// Steps after the week until everything must have found its end.
const LAST_STEPS: usize = 30 * 24;

struct Week<R> {
    relay: R,
    size: Size,
    random: Rng,
    replies: Vec<KnownReply>,
    sent: Vec<(QueueId, String, usize)>,
    /// Login attempts so far, at the end of each step.
    logins: Vec<u64>,
}

impl<R: Relay> Week<R> {
    fn new(seed: u64, relay: R, size: Size) -> Self {
        let random = Rng::with_seed(seed);
        Self {
            relay,
            size,
            random,
            replies: replies_of(Provider::Gmail),
            sent: Vec::new(),
            logins: Vec::new(),
        }
    }

    fn chance(&mut self, of_a_hundred: u32) -> bool {
        self.random.u32(0..100) < of_a_hundred
    }

    /// Orders what may strike in this hour.
    fn order(&mut self) {
        self.relay.upstream().forget_failures();
        let mut orders = Vec::new();
        for reply in self.replies.clone() {
            if self.chance(CHANCE) {
                let text = format!("{} {{id}} - gsmtp", reply.line);
                let closes = text.starts_with("421");
                let failure =
                    if closes { Failure::ReplyAndClose(text) } else { Failure::Reply(text) };
                orders.push((stage(&reply), failure));
            }
        }
        for at in [
            Stage::Connect,
            Stage::Ehlo,
            Stage::Auth,
            Stage::Mail,
            Stage::Rcpt,
            Stage::Data,
            Stage::Dot,
        ] {
            if self.chance(CHANCE) {
                orders.push((at, Failure::Drop));
            }
        }
        if self.chance(CHANCE) {
            orders.push((Stage::Dot, Failure::StoreAndDrop));
        }
        self.random.shuffle(&mut orders);
        for (at, failure) in orders {
            self.relay.upstream().fail_next(at, failure);
        }
    }

    async fn submit(&mut self) {
        for _ in 0..self.random.usize(0..=self.size.messages) {
            let number = self.sent.len();
            let recipients: Vec<String> = (0..self.random.usize(1..4))
                .map(|which| format!("ok{number}.{which}@{}.example", ["a", "b"][which % 2]))
                .collect();
            let message_id = format!("<{number}@week.example>");
            let body = format!(
                "Message-ID: {message_id}\r\nDate: x\r\nSubject: {number}\r\n\r\nhello\r\n"
            );
            let names: Vec<&str> = recipients.iter().map(String::as_str).collect();
            let (from, now) = ((Lane::Normal, "cron@host.example"), self.relay.clock().wall());
            let id = hand_in(self.relay.queue(), from, &names, body.as_bytes(), now).await;
            self.sent.push((id, message_id, recipients.len()));
        }
    }

    async fn restart(&mut self) {
        let phase = if self.random.bool() { Phase::Immediate } else { Phase::Draining };
        let reboots = self.random.bool();
        self.relay.restart(phase, reboots).await;
    }

    /// A person mends what only a person can mend.
    async fn mend(&self) {
        use AccountCondition::{PausedConfiguration, PausedCredentials};
        if matches!(self.relay.condition().await, PausedCredentials | PausedConfiguration) {
            self.relay.resume().await;
        }
    }

    async fn end_step(&mut self) {
        self.relay.until_quiet().await;
        let counters = self.relay.upstream().mailbox().counters();
        self.logins.push(counters.logins + counters.login_refusals);
        self.relay.pass(HOUR).await;
    }

    async fn run(&mut self) {
        for _ in 0..STEPS {
            self.order();
            self.submit().await;
            if self.chance(50) {
                self.mend().await;
            }
            if self.chance(CHANCE) {
                self.restart().await;
            }
            self.end_step().await;
        }
        self.relay.upstream().forget_failures();
        for _ in 0..LAST_STEPS {
            self.mend().await;
            self.end_step().await;
            if self.is_over().await {
                return;
            }
        }
        panic!("mail still waits: {:?}", self.relay.condition().await);
    }

    async fn is_over(&self) -> bool {
        for (id, ..) in self.sent.iter().rev() {
            let message = self.relay.queue().show(*id).await.unwrap().expect("it is not lost");
            let waits = |name| matches!(name, "queued" | "uncertain" | "reserved");
            if message.recipients().iter().any(|recipient| waits(recipient.state.name())) {
                return false;
            }
        }
        true
    }
}

#[tokio::test]
async fn a_week_of_every_known_fault_loses_nothing_and_never_blames_a_message_for_the_account() {
    let captured = Captured::default();
    let _guards = captured.start();
    let mut scene = Scene::limited(SIZE.limit, LOGINS).await;
    scene.options.lifetime = LIFETIME;
    scene.start();
    live_through(scene, SIZE, &captured).await;
}

#[tokio::test]
async fn a_week_of_every_known_fault_with_the_queue_in_a_database_loses_nothing_either() {
    let captured = Captured::default();
    let _guards = captured.start();
    let diskless = Diskless::limited(SMALL_SIZE.limit, LOGINS).await;
    live_through(diskless, SMALL_SIZE, &captured).await;
    assert!(!captured.text().contains(PASSWORD), "the password of the database is in the log");
}

async fn live_through<R: Relay>(relay: R, size: Size, captured: &Captured) {
    let mut week = Week::new(crate::support::outage::seed("week"), relay, size);
    week.run().await;

    let mailbox = week.relay.upstream().mailbox();
    let accepted = mailbox.accepted();
    check_each_message(&week, &accepted).await;
    check_the_days(&accepted, week.size.limit);
    for hours in week.logins.windows(2) {
        let [before, now] = hours else { unreachable!() };
        assert!(now - before <= u64::from(LOGINS), "{} logins within an hour", now - before);
    }
    assert_eq!(mailbox.counters().quota_refusals, 0, "the relay stops first");
    let log = captured.text();
    let encoded = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
    let initial_response = encoded(&format!("\0{}\0{APP_PASSWORD}", R::LOGIN));
    for secret in [APP_PASSWORD, &encoded(APP_PASSWORD), &initial_response, "hello\r\n"] {
        assert!(!log.contains(secret.trim_end_matches('=')), "{secret:?} is in the log");
    }
}

/// Every recipient is relayed and was received, or is dead for a reason of its own, or waits for a person.
async fn check_each_message<R: Relay>(week: &Week<R>, accepted: &[Arc<Accepted>]) {
    let mut copies: HashMap<(&str, &str), usize> = HashMap::new();
    for mail in accepted {
        for recipient in &mail.rcpt_to {
            let message_id = mail.message_id.as_deref().unwrap_or_default();
            *copies.entry((message_id, recipient)).or_default() += 1;
        }
    }
    let (mut relayed, mut dead) = (0, 0);
    for (id, message_id, recipients) in &week.sent {
        let message = week.relay.queue().show(*id).await.unwrap().expect("no message is lost");
        assert_eq!(message.recipients().len(), *recipients);
        for recipient in message.recipients() {
            let address = recipient.address.to_string();
            let count = copies.get(&(message_id.as_str(), address.as_str())).copied().unwrap_or(0);
            assert!(count <= 2, "{message_id} to {address} arrived {count} times");
            match &recipient.state {
                RecipientState::Relayed { .. } => {
                    assert!(count > 0, "{message_id} to {address} is lost");
                    relayed += 1;
                }
                RecipientState::Dead { reason, .. } => {
                    let own = |reply: &&KnownReply| {
                        let line: String = reply.line.chars().take(100).collect();
                        reply.scope <= Scope::Message && reason.contains(&line)
                    };
                    assert!(
                        week.replies.iter().any(|reply| own(&reply)),
                        "dead because of: {reason}"
                    );
                    dead += 1;
                }
                RecipientState::Held { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let is_real = relayed > week.size.relayed && dead > 0;
    assert!(is_real, "the week was a real one: {relayed} relayed, {dead} dead");
}

/// No 24 hours over the limit.
pub(super) fn check_the_days(accepted: &[Arc<Accepted>], limit: u32) {
    let day = 24 * HOUR;
    let counted = |until: usize| {
        let now = Timestamp(accepted[until].at.0);
        let window = accepted[..=until]
            .iter()
            .rev()
            .take_while(|mail| now.since(Timestamp(mail.at.0)) < day);
        window.map(|mail| mail.rcpt_to.len()).sum::<usize>()
    };
    for position in 0..accepted.len() {
        let sent = counted(position);
        assert!(sent <= limit as usize, "{sent} recipients in 24 hours");
    }
}
