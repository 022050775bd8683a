//! Recipients whose name decides what happens.
//!
//! Rule: every case is one row of [`RECIPIENTS`] with the stage at which it strikes (docs/sandbox.md). `+tag` after the name is ignored; `-once` after it makes it strike once per address, then the
//! recipient is an ordinary one. Must not know connections.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{
    replies::{self, Malformed, Template},
    script::Stage,
};

/// What a trigger does at its stage.
#[derive(Debug)]
pub(super) enum Effect {
    /// Answers with this.
    Refuse(&'static Template),
    /// Answers with this the first so many times for the same address.
    RefuseFirst(u32, &'static Template),
    /// Answers with this and closes.
    RefuseAndClose(&'static Template),
    /// 550 5.4.5 at this stage, for everything the account sends in the next 24 hours.
    LimitAccount,
    /// The same, but it begins at the account's next MAIL.
    LimitAccountAtNextMail,
    /// Closes without a reply.
    Drop,
    /// Closes without a reply at the account's next MAIL.
    DropAtNextMail,
    /// Stores the message, then closes without a reply.
    StoreAndDrop,
    /// Answers as usual, but later.
    Delay,
    /// Answers with what no server should say.
    Malformed(Malformed),
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Trigger {
    name: &'static str,
    /// Where it strikes.
    pub stage: Stage,
    /// What it does.
    pub effect: Effect,
}

const fn row(name: &'static str, stage: Stage, effect: Effect) -> Trigger {
    Trigger { name, stage, effect }
}

/// Local parts that mean something; every other one, such as `ok`, succeeds.
static RECIPIENTS: &[Trigger] = &[
    row("nosuch", Stage::Rcpt, Effect::Refuse(&replies::NO_SUCH_USER)),
    row("badsyntax", Stage::Rcpt, Effect::Refuse(&replies::BAD_RECIPIENT)),
    row("rate", Stage::Rcpt, Effect::Refuse(&replies::RATE)),
    row("rateperm", Stage::Rcpt, Effect::Refuse(&replies::RATE_PERMANENT)),
    row("full", Stage::Rcpt, Effect::Refuse(&replies::MAILBOX_FULL)),
    row("fullperm", Stage::Rcpt, Effect::Refuse(&replies::MAILBOX_FULL_PERMANENT)),
    row("quota", Stage::Data, Effect::LimitAccount),
    row("quota-mail", Stage::Mail, Effect::LimitAccountAtNextMail),
    row("quota-rcpt", Stage::Rcpt, Effect::LimitAccount),
    row("quota-dot", Stage::Dot, Effect::LimitAccount),
    row("virus", Stage::Dot, Effect::Refuse(&replies::BLOCKED)),
    row("spam", Stage::Dot, Effect::Refuse(&replies::UNSOLICITED)),
    row("tmp", Stage::Dot, Effect::Refuse(&replies::TRY_AGAIN)),
    row("tmp3", Stage::Dot, Effect::RefuseFirst(3, &replies::TRY_AGAIN)),
    row("sys", Stage::Data, Effect::RefuseAndClose(&replies::SYSTEM_PROBLEM)),
    row("dropmail", Stage::Mail, Effect::DropAtNextMail),
    row("droprcpt", Stage::Rcpt, Effect::Drop),
    row("dropdata", Stage::Data, Effect::Drop),
    row("dropmid", Stage::Body, Effect::Drop),
    row("dropdot", Stage::Dot, Effect::StoreAndDrop),
    row("dropdot-lost", Stage::Dot, Effect::Drop),
    row("slow", Stage::Dot, Effect::Delay),
    row("garbage", Stage::Rcpt, Effect::Malformed(Malformed::Garbage)),
    row("garbage-data", Stage::Data, Effect::Malformed(Malformed::Garbage)),
    row("garbage-dot", Stage::Dot, Effect::Malformed(Malformed::Garbage)),
    row("longline", Stage::Rcpt, Effect::Malformed(Malformed::LongLine)),
    row("longline-data", Stage::Data, Effect::Malformed(Malformed::LongLine)),
    row("longline-dot", Stage::Dot, Effect::Malformed(Malformed::LongLine)),
    row("mixedcode", Stage::Rcpt, Effect::Malformed(Malformed::MixedCodes)),
    row("mixedcode-data", Stage::Data, Effect::Malformed(Malformed::MixedCodes)),
    row("mixedcode-dot", Stage::Dot, Effect::Malformed(Malformed::MixedCodes)),
    row("nul", Stage::Rcpt, Effect::Malformed(Malformed::Nul)),
    row("nul-data", Stage::Data, Effect::Malformed(Malformed::Nul)),
    row("nul-dot", Stage::Dot, Effect::Malformed(Malformed::Nul)),
];

/// A recipient that will strike.
#[derive(Clone, Debug)]
pub(super) struct Armed {
    /// The row.
    pub trigger: &'static Trigger,
    /// The whole address, which is what "once" and "first three times" count.
    pub address: String,
    once: bool,
}

impl Armed {
    /// Looks the local part up.
    pub(super) fn of(local_part: &str, address: &str) -> Option<Self> {
        let name =
            local_part.split_once('+').map_or(local_part, |(name, _)| name).to_ascii_lowercase();
        let (name, once) =
            name.strip_suffix("-once").map_or((name.as_str(), false), |name| (name, true));
        let trigger = RECIPIENTS.iter().find(|row| row.name == name)?;
        Some(Self { trigger, address: address.to_owned(), once })
    }
}

/// How often which address has struck.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    struck: Mutex<HashMap<String, u32>>,
}

impl Strikes {
    /// Whether an armed recipient strikes now, counted by its address.
    pub(super) fn strikes(&self, armed: &Armed) -> bool {
        let limit = match armed.trigger.effect {
            _ if armed.once => 1,
            Effect::RefuseFirst(times, _) => times,
            _ => return true,
        };
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        if struck.len() >= STRUCK_MAX && !struck.contains_key(&armed.address) {
            struck.clear();
        }
        let times = struck.entry(armed.address.clone()).or_default();
        *times += 1;
        *times <= limit
    }
}

/// Addresses whose strikes are counted.
const STRUCK_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn stage_of(local_part: &str) -> Option<Stage> {
        Armed::of(local_part, local_part).map(|armed| armed.trigger.stage)
    }

    #[test]
    fn a_tag_and_once_do_not_hide_the_name() {
        assert_eq!(stage_of("quota"), Some(Stage::Data));
        assert_eq!(stage_of("Quota-Dot+7"), Some(Stage::Dot));
        assert_eq!(stage_of("dropdot-lost-once+7"), Some(Stage::Dot));
        assert_eq!(stage_of("ok"), None);
        assert_eq!(stage_of("okquota"), None);
    }

    #[test]
    fn once_and_three_times_are_counted_per_address() {
        let counted = Strikes::default();
        let strikes =
            |name: &str| Armed::of(name, name).is_some_and(|armed| counted.strikes(&armed));
        assert_eq!([(); 5].map(|()| strikes("tmp3")), [true, true, true, false, false]);
        assert_eq!([(); 2].map(|()| strikes("dropdot-once")), [true, false]);
        assert_eq!([(); 2].map(|()| strikes("tmp")), [true, true]);
        assert!(strikes("tmp3+other"));
    }
}
