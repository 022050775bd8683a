//! A message of the past: what the daemon says of it, and as the record with which it would come once more.
//!
//! Rule: what was not kept is not made up: without its header a message is judged by what is left, and the rules that ask for more
//! are named. Must not know what becomes of it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::LazyLock,
};

use serde::Serialize;

use crate::{
    admin::api::Message,
    budget::WINDOW,
    clock::Timestamp,
    listener,
    message::{
        envelope::{BodyKind, Envelope, Lane, LocalUser, OVERFLOW_UID, Origin as Handed},
        excerpt::Excerpt,
        identification::is_whole_subject,
    },
    quantities,
    queue::{
        about::{About, Client},
        id::QueueId,
        origin::{Origin, OriginKey},
        record::MessageRecord,
        ruled::Ruled,
        schedule::Schedule,
        state::RecipientState,
    },
    rules::{Facts, Kept},
    smtp::{address::Address, dsn::Dsn},
};

/// What became of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Relayed then.
    Relayed(Timestamp),
    /// Folded, and never relayed.
    Folded,
    /// It waits.
    Waits,
    /// Refused for good, held or deleted.
    Gone,
}

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub(super) id: QueueId,
    pub(super) accepted_at: Timestamp,
    /// When a person had it leave.
    scheduled_at: Option<Timestamp>,
    from: Option<Address>,
    about: About,
    pub(super) lane: Lane,
    /// Which of several accounts it left by, or has it.
    pub(super) account: Option<String>,
    rule: Option<String>,
    size_bytes: u64,
    pub(super) recipients: Vec<(Address, Fate)>,
}

/// A message beside the beginning of the past that is played through.
#[derive(Debug)]
pub(super) struct Before {
    /// What of it was spent before, and counts yet.
    pub(super) spent: Vec<(Timestamp, u32, OriginKey)>,
    /// What comes once more; `None` when nothing does.
    pub(super) record: Option<MessageRecord>,
}

impl Past {
    /// As the daemon shows it; `None` of what cannot be understood.
    pub(super) fn read(message: &Message) -> Option<Self> {
        let client = Client::shown_as(message.client.as_deref()?)?;
        let (subject, user, owner) = (message.subject.clone(), message.user.clone(), message.owner);
        let how = message.end.as_ref().map(|end| end.how.as_str());
        let fate = |state: &str, since: Option<Timestamp>| match state {
            "relayed" => since.map_or(Fate::Gone, Fate::Relayed),
            "folded" => Fate::Folded,
            _ if how == Some("folded") => Fate::Folded,
            "queued" | "scheduled" | "uncertain" | "reserved" if how.is_none() => Fate::Waits,
            _ => Fate::Gone,
        };
        let recipients = message.recipients.iter().filter_map(|one| {
            Some((one.address.parse().ok()?, fate(one.state.as_str(), one.since)))
        });
        Some(Self {
            id: message.id,
            accepted_at: message.accepted_at,
            scheduled_at: message.scheduled_at,
            from: message.from.as_ref().and_then(|path| path.parse().ok()),
            about: About { subject, client, user, owner },
            lane: Lane::named(&message.lane)?,
            account: message.account.clone(),
            rule: message.rule.clone(),
            size_bytes: message.size_bytes,
            recipients: recipients.collect(),
        })
    }

    /// Since when it might have left.
    pub(super) fn ready(&self) -> Timestamp {
        self.scheduled_at.map_or(self.accepted_at, |at| at.max(self.accepted_at))
    }

    /// Whose it is.
    pub(super) fn origin(&self) -> String {
        Origin::new(&self.about, self.from.as_ref()).to_string()
    }

    /// Whether it told of folded mail, of which a simulation makes its own. The relay begins their subjects so, and writes nothing else
    /// in the lane of others but the weekly report.
    pub(super) fn is_summary(&self) -> bool {
        let count = self.about.subject.strip_prefix('[').and_then(|rest| rest.split_once(" x] "));
        self.about.client == Client::Relay
            && count.is_some_and(|(number, _)| number.bytes().all(|one| one.is_ascii_digit()))
    }

    /// What of it was before `since`, and what comes once more.
    pub(super) fn split(&self, since: Timestamp) -> Before {
        let counts = |at: Timestamp| at < since && at.after(WINDOW) > since;
        let comes = |fate: Fate| match fate {
            Fate::Relayed(at) => at >= since,
            Fate::Folded => self.accepted_at >= since,
            Fate::Waits => true,
            Fate::Gone => false,
        };
        let relayed = self.recipients.iter().filter_map(|(_, fate)| match fate {
            Fate::Relayed(at) if counts(*at) => Some(*at),
            _ => None,
        });
        let relayed: Vec<Timestamp> = relayed.collect();
        let coming = self.recipients.iter().filter(|(_, fate)| comes(*fate));
        let coming: Vec<Address> = coming.map(|(address, _)| address.clone()).collect();
        let comes = !coming.is_empty() && !self.is_summary();
        if relayed.is_empty() && !comes {
            return Before { spent: Vec::new(), record: None };
        }
        let mut record = self.record(coming);
        let key = OriginKey::of(&record);
        record.rule = None;
        Before {
            spent: relayed.into_iter().map(|at| (at, 1, key)).collect(),
            record: comes.then_some(record),
        }
    }

    /// The record of a message to these, as it came.
    fn record(&self, recipients: Vec<Address>) -> MessageRecord {
        let envelope = Envelope {
            reverse_path: self.from.clone(),
            forward_paths: recipients,
            body: BodyKind::SevenBit,
            internationalized: false,
            dsn: Dsn::default(),
            lane: self.lane,
            origin: Handed {
                address: self.address(),
                helo: String::new(),
                protocol: String::new(),
                login: None,
                local: None,
            },
            accepted_at: self.accepted_at,
        };
        let mut record = MessageRecord::new(&envelope, self.size_bytes, "");
        record.about = self.about.clone();
        record.rule.clone_from(&self.rule);
        if let Some(at) = self.scheduled_at {
            record.schedule = Some(Schedule::new(at));
            for recipient in &mut record.recipients {
                recipient.state = RecipientState::Queued { due: at, resend: false };
            }
        }
        record
    }

    fn address(&self) -> IpAddr {
        match self.about.client {
            Client::At(address) => address,
            Client::Local => Ipv4Addr::LOCALHOST.into(),
            Client::Relay => Ipv4Addr::UNSPECIFIED.into(),
        }
    }
}

/// A rule that asks for what was not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Open {
    /// Its name.
    pub(super) rule: String,
    /// What it asks for.
    pub(super) asks: String,
    /// Messages that might fit, and are judged as if they did not.
    pub(super) unfit: u64,
    /// Messages that it struck then, and strikes again.
    pub(super) as_then: u64,
}

/// The settings that judge a message as it comes.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    listener: &'a listener::options::Options,
    open: BTreeMap<String, Open>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(listener: &'a listener::options::Options) -> Self {
        Self { listener, open: BTreeMap::new() }
    }

    /// What the rules say of a message, whose record gets the lane of its client; `None` when they refuse it.
    pub(super) fn judge(&mut self, past: &Past, record: &mut MessageRecord) -> Option<Ruled> {
        static NOTHING: LazyLock<Excerpt> = LazyLock::new(Excerpt::default);
        record.lane = self.lane(past);
        let (about, client) = (&past.about, past.about.client);
        if client == Client::Relay || self.listener.rules.is_empty() {
            return Some(Ruled::default());
        }
        let excerpt = match about.subject.as_str() {
            "" => None,
            subject => Some(Excerpt::of_subject(subject)),
        };
        let user = about.user.clone().filter(|_| client == Client::Local).map(|user| LocalUser {
            uid: about.owner.or_else(|| user.parse().ok()).unwrap_or(OVERFLOW_UID),
            name: user.parse::<u32>().is_err().then_some(user),
            claimed: about.owner.is_none(),
        });
        let forward_paths: Vec<Address> =
            past.recipients.iter().map(|(address, _)| address.clone()).collect();
        let facts = Facts {
            client: past.address().to_canonical(),
            login: about.user.as_deref().filter(|_| client != Client::Local),
            user: user.as_ref(),
            reverse_path: past.from.as_ref(),
            forward_paths: &forward_paths,
            excerpt: excerpt.as_ref().unwrap_or(&NOTHING),
            size_bytes: past.size_bytes,
            hour: quantities::hour(past.accepted_at),
        };
        let has_whole_subject = is_whole_subject(&about.subject);
        let kept = Kept { facts, has_whole_subject, struck: past.rule.as_deref() };
        let found = self.listener.rules.recall(&kept);
        for (rule, matcher, is_as_then) in found.open {
            let open = self.open.entry(rule.name.to_string()).or_insert_with(|| Open {
                rule: rule.name.to_string(),
                asks: matcher.to_string(),
                unfit: 0,
                as_then: 0,
            });
            *(if is_as_then { &mut open.as_then } else { &mut open.unfit }) += 1;
        }
        let Some(rule) = found.rule else { return Some(Ruled::default()) };
        let effect = &rule.effect;
        if effect.refuse.is_some() {
            return None;
        }
        let (lane, hold, storm) = (effect.lane, effect.hold, effect.storm);
        Some(Ruled { rule: Some(rule.name.to_string()), lane, hold, storm, route: None })
    }

    /// The lane in which a message comes that no rule strikes. What its client said of its priority is kept by its lane alone.
    fn lane(&self, past: &Past) -> Lane {
        if past.about.client == Client::Relay
            || (self.listener.priority_hints && past.rule.is_none())
        {
            return past.lane;
        }
        let network = self.listener.network_of(past.address().to_canonical());
        network.map_or(Lane::Normal, |(_, network)| network.lane)
    }

    /// Rules that asked for what was not kept.
    pub(super) fn open(self) -> Vec<Open> {
        self.open.into_values().collect()
    }
}
