//! The script: failures that a test or a scenario orders for a stage of the dialogue.
//!
//! Rule: an order strikes whoever reaches its stage, in the order given; chance comes from a seed, so that
//! a run can be repeated. Must not know connections.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::replies::Malformed;

/// Where in the dialogue something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The greeting.
    Connect,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS.
    StartTls,
    /// The verdict on a login.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// The DATA command, before 354, or the first BDAT of a message.
    Data,
    /// The first octets of message data.
    Body,
    /// After the final dot.
    Dot,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// Any other command.
    Other,
}

impl Stage {
    /// How many there are.
    pub(super) const COUNT: usize = Self::Other as usize + 1;
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connect => "connect",
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::Auth => "auth",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Body => "body",
            Self::Dot => "dot",
            Self::Rset => "rset",
            Self::Noop => "noop",
            Self::Quit => "quit",
            Self::Other => "other",
        })
    }
}

/// What happens at a stage instead of the usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// This reply instead of the usual one. Lines are separated by LF; `{id}` becomes the session id.
    Reply(String),
    /// The same, then the connection is closed.
    ReplyAndClose(String),
    /// The connection is closed without a reply.
    Drop,
    /// At [`Stage::Dot`]: the message is stored, then the connection is closed without a reply.
    /// Elsewhere the same as `Drop`.
    StoreAndDrop,
    /// No reply, and nothing is read any more, until the client goes away.
    Hang,
    /// The usual reply, but this much later on the sandbox's clock.
    Delay(Duration),
    /// Octets that are no proper reply.
    Malformed(Malformed),
}

/// How often an order strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The next so many times that its stage is reached.
    Next(u32),
    /// Every time.
    Always,
}

/// A failure that waits for its stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Where it strikes.
    pub stage: Stage,
    /// What happens.
    pub failure: Failure,
    /// How often.
    pub times: Times,
}

/// Failures by chance, for a network or a server that cannot be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chance {
    /// Each failure strikes one time in so many that its stage is reached; at least 1.
    pub one_in: u32,
    /// Where the dice begin: the same seed and the same dialogue give the same failures.
    pub seed: u64,
    /// What may happen, and where.
    pub failures: Vec<(Stage, Failure)>,
}

/// What always happens to somebody.
#[derive(Debug)]
struct Struck {
    /// A part of what MAIL or RCPT says.
    whom: String,
    stage: Stage,
    failure: Failure,
    /// How often it has happened.
    times: u32,
}

/// What has been ordered.
#[derive(Debug, Default)]
pub(super) struct Script {
    ordered: Mutex<VecDeque<Order>>,
    /// What always happens to mail from or to somebody.
    struck: Mutex<Vec<Struck>>,
    chance: Mutex<Option<(Chance, fastrand::Rng)>>,
}

impl Script {
    /// Begins with the orders of a scenario.
    pub(super) fn new(orders: &[Order], chance: Option<Chance>) -> Self {
        let script = Self {
            ordered: Mutex::new(orders.iter().cloned().collect()),
            struck: Mutex::default(),
            chance: Mutex::default(),
        };
        script.leave_to(chance);
        script
    }

    /// What the dice decide from now on; nothing any more without a chance.
    pub(super) fn leave_to(&self, chance: Option<Chance>) {
        let with_dice = |chance: Chance| {
            let dice = fastrand::Rng::with_seed(chance.seed);
            (chance, dice)
        };
        *self.chance.lock().unwrap_or_else(PoisonError::into_inner) = chance.map(with_dice);
    }

    /// Orders a failure; the oldest order is forgotten beyond [`ORDERS_MAX`].
    pub(super) fn order(&self, order: Order) {
        let mut ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        if ordered.len() >= ORDERS_MAX {
            ordered.pop_front();
        }
        ordered.push_back(order);
    }

    /// Orders a failure for every transaction of somebody, until it is forgotten.
    pub(super) fn strike(&self, whom: String, stage: Stage, failure: Failure) {
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        if struck.len() < ORDERS_MAX {
            struck.push(Struck { whom, stage, failure, times: 0 });
        }
    }

    /// Takes back what happens to somebody, and says how often it has happened.
    pub(super) fn relent(&self, whom: &str) -> u32 {
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        struck.extract_if(.., |one| one.whom == whom).map(|one| one.times).sum()
    }

    /// Takes back every order that has not struck yet.
    pub(super) fn forget_orders(&self) {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What happens at `stage` to a transaction of which this was `said`: what somebody in it always meets, else the
    /// first order for the stage, else what the dice say.
    pub(super) fn take(&self, stage: Stage, said: &str) -> Option<Failure> {
        self.struck_at(stage, said).or_else(|| self.take_order(stage)).or_else(|| self.roll(stage))
    }

    fn struck_at(&self, stage: Stage, said: &str) -> Option<Failure> {
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        let one = struck.iter_mut().find(|one| one.stage == stage && said.contains(&one.whom))?;
        one.times += 1;
        Some(one.failure.clone())
    }

    fn take_order(&self, stage: Stage) -> Option<Failure> {
        let mut ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        // An order for no time at all is none.
        let due = |order: &Order| order.stage == stage && order.times != Times::Next(0);
        let position = ordered.iter().position(due)?;
        let order = &mut ordered[position];
        match &mut order.times {
            Times::Always => Some(order.failure.clone()),
            Times::Next(times) if *times > 1 => {
                *times -= 1;
                Some(order.failure.clone())
            }
            Times::Next(_) => ordered.remove(position).map(|order| order.failure),
        }
    }

    fn roll(&self, stage: Stage) -> Option<Failure> {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let (chance, dice) = chance.as_mut()?;
        let mut candidates = chance.failures.iter().filter(|(at, _)| *at == stage);
        let struck = candidates.find(|_| dice.u32(0..chance.one_in.max(1)) == 0);
        struck.map(|(_, failure)| failure.clone())
    }
}

/// Orders that may wait; a test that needs more is wrong.
const ORDERS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn next(stage: Stage, failure: Failure) -> Order {
        Order { stage, failure, times: Times::Next(1) }
    }

    #[test]
    fn an_order_strikes_at_its_stage_in_the_order_given_and_as_often_as_it_says() {
        let script = Script::default();
        script.order(Order { times: Times::Next(2), ..next(Stage::Mail, Failure::Drop) });
        script.order(next(Stage::Mail, Failure::Hang));
        script.order(Order { times: Times::Always, ..next(Stage::Dot, Failure::Drop) });
        assert_eq!(script.take(Stage::Rcpt, ""), None);
        assert_eq!(script.take(Stage::Mail, ""), Some(Failure::Drop));
        assert_eq!(script.take(Stage::Mail, ""), Some(Failure::Drop));
        assert_eq!(script.take(Stage::Mail, ""), Some(Failure::Hang));
        assert_eq!(script.take(Stage::Mail, ""), None);
        assert_eq!(
            [(); 3].map(|()| script.take(Stage::Dot, "")),
            [const { Some(Failure::Drop) }; 3]
        );
        script.forget_orders();
        assert_eq!(script.take(Stage::Dot, ""), None);
    }

    #[test]
    fn somebody_is_struck_in_each_of_his_transactions_and_nobody_else() {
        let script = Script::default();
        script.strike("<bad@".into(), Stage::Data, Failure::Drop);
        let of = |sender: &str| script.take(Stage::Data, &format!("FROM:<{sender}@a.example>\n"));
        assert_eq!(
            [of("bad"), of("good"), of("bad")],
            [Some(Failure::Drop), None, Some(Failure::Drop)]
        );
        assert_eq!(script.take(Stage::Dot, "FROM:<bad@a.example>"), None);
        assert_eq!([script.relent("<bad@"), script.relent("<bad@")], [2, 0]);
        assert_eq!(of("bad"), None);
        script.strike("<bad@".into(), Stage::Data, Failure::Drop);
        script.forget_orders();
        assert_eq!(of("bad"), None);
    }

    #[test]
    fn chance_strikes_about_as_often_as_asked_for_and_the_same_way_each_time() {
        let chance = Chance { one_in: 4, seed: 7, failures: vec![(Stage::Mail, Failure::Drop)] };
        let roll = || {
            let script = Script::new(&[], Some(chance.clone()));
            assert_eq!(script.take(Stage::Rcpt, ""), None);
            (0..1000).map(|_| script.take(Stage::Mail, "").is_some()).collect::<Vec<bool>>()
        };
        let struck = roll().iter().filter(|struck| **struck).count();
        assert!((200..300).contains(&struck), "{struck} of 1000");
        assert_eq!(roll(), roll());
    }
}
