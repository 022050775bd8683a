//! The one judgement of why mail waits, until when and what to do, behind status, lists, probes, alerts and notices.
//!
//! Rule: pure and total; of several obstacles the one that ends last is named, with its end, so that nobody says
//! "now" or "healthy" where another says "tomorrow". Must not know who asks or how a time is printed.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    error::QueueError,
    fold::FOLDED,
    forecast::Forecast,
    id::QueueId,
    listing::{Limited, LimitedOrigin},
    origin::OriginKey,
    pause::Pause,
    record::MessageRecord,
    schedule::Due,
    state::{AccountCondition, AccountState, RecipientState},
};
use crate::{
    addressed::{MAIN, addressed},
    clock::Timestamp,
    message::envelope::Lane,
};

/// A turn that comes so soon is now.
const SOON: Duration = Duration::from_secs(60);

/// Everything that decides about the departure of mail, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Situation {
    /// The moment.
    pub(crate) now: Timestamp,
    /// Whether the relay has been told to stop.
    pub(crate) stopping: bool,
    /// Why the queue does not answer.
    pub(crate) store_failure: Option<String>,
    /// Its name, where there are several accounts, for the words about it.
    pub(crate) name: Option<Arc<str>>,
    /// The upstream account.
    pub(crate) account: AccountState,
    /// Whether other hosts share it.
    pub(crate) is_shared: bool,
    /// Whether one message is being tried, for whose result the others wait.
    pub(crate) probing: bool,
    /// What mail of each lane may still spend of the day.
    pub(crate) rooms: Rooms,
    /// What else holds everything for a while.
    pub(crate) brake: Option<Brake>,
    /// Recipients that are due, of all lanes; 0 when nobody has counted.
    pub(crate) due_recipients: u64,
    /// Origins that have used up their limit.
    pub(crate) limited: Limited,
    /// When each message leaves, as far as that was worked out.
    pub(crate) forecast: Arc<Forecast>,
}

/// What may still be spent of the day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rooms {
    /// By notices of our own.
    pub(crate) notices: Room,
    /// By urgent mail.
    pub(crate) urgent: Room,
    /// By all other mail.
    pub(crate) others: Room,
}

/// What mail of one kind may still spend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Recipients that may still be spent now.
    pub(crate) recipients: u32,
    /// When one more may be; `None` is never.
    pub(crate) frees_at: Option<Timestamp>,
}

impl Rooms {
    fn of(&self, lane: Lane) -> Room {
        match lane {
            Lane::Notice => self.notices,
            Lane::Urgent => self.urgent,
            Lane::Normal | Lane::Bulk => self.others,
        }
    }
}

/// A short wait that holds everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Brake {
    /// Its end.
    pub(crate) until: Timestamp,
    /// `Pace`, `Logins`, `Connections`, `Store` or `Fleet`.
    pub(crate) because: Because,
}

/// When something leaves, and what decides that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departure {
    /// When; `None` when nothing will, when only a person can make it, or when nobody knows.
    pub at: Option<Timestamp>,
    /// What decides that.
    pub(crate) because: Because,
    /// The same in words that follow a time.
    pub why: String,
    /// Of a wait for the account: how it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<AccountCondition>,
    /// Whose account decides that, when there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account_name: Option<String>,
}

/// What decides when mail leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Because {
    /// Nothing waits to leave.
    Empty,
    /// It is due, and nothing is in its way.
    Now,
    /// It is due, and more than the budget has room for is due with it.
    Turn,
    /// It is with a worker.
    InFlight,
    /// One message is tried first.
    Probe,
    /// The next attempt is due then.
    Due,
    /// A person has it leave then, and not before.
    Scheduled,
    /// The pace a minute.
    Pace,
    /// The cap on logins an hour.
    Logins,
    /// Other hosts use all connections to the account.
    Connections,
    /// The budget of the day.
    Budget,
    /// The limit of its origin.
    Origin,
    /// The administrator has ordered a pause.
    Paused,
    /// The account is paused or backing off.
    Account,
    /// The queue has failed.
    Store,
    /// The database that several hosts share cannot be asked.
    Fleet,
    /// The relay stops.
    Stopping,
    /// It is held.
    Held,
    /// It is folded into a storm.
    Folded,
}

impl Because {
    /// One word or two, for a column.
    #[must_use]
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::Empty => "-",
            Self::Now => "now",
            Self::Turn => "in turn",
            Self::InFlight => "in flight",
            Self::Probe => "after the probe",
            Self::Due => "retry",
            Self::Scheduled => "scheduled",
            Self::Pace => "pace",
            Self::Logins => "logins",
            Self::Connections => "connections",
            Self::Budget => "budget",
            Self::Origin => "origin limit",
            Self::Paused => "paused",
            Self::Account => "account",
            Self::Store => "queue failed",
            Self::Fleet => "fleet",
            Self::Stopping => "stopping",
            Self::Held => "held",
            Self::Folded => FOLDED,
        }
    }
}

impl Because {
    /// Whether it ends at the time of the departure.
    #[must_use]
    pub(crate) fn is_a_wait(self) -> bool {
        match self {
            Self::Due
            | Self::Scheduled
            | Self::Pace
            | Self::Logins
            | Self::Budget
            | Self::Origin
            | Self::Paused
            | Self::Account
            | Self::Store
            | Self::Fleet => true,
            Self::Empty
            | Self::Now
            | Self::Turn
            | Self::InFlight
            | Self::Probe
            | Self::Connections
            | Self::Stopping
            | Self::Held
            | Self::Folded => false,
        }
    }
}

impl Because {
    /// Whether its words need the name of the account that they are about.
    fn is_of_an_account(self) -> bool {
        match self {
            Self::Turn
            | Self::Probe
            | Self::Pace
            | Self::Logins
            | Self::Connections
            | Self::Budget
            | Self::Paused => true,
            Self::Empty
            | Self::Now
            | Self::InFlight
            | Self::Due
            | Self::Scheduled
            | Self::Origin
            // Its words have the name already.
            | Self::Account
            | Self::Store
            | Self::Fleet
            | Self::Stopping
            | Self::Held
            | Self::Folded => false,
        }
    }
}

impl Situation {
    /// Nothing is in the way of anything.
    #[must_use]
    pub(crate) fn clear(now: Timestamp) -> Self {
        let room = Room { recipients: u32::MAX, frees_at: Some(now) };
        Self {
            now,
            stopping: false,
            store_failure: None,
            name: None,
            account: AccountState::open(now),
            is_shared: false,
            probing: false,
            rooms: Rooms { notices: room, urgent: room, others: room },
            brake: None,
            due_recipients: 0,
            limited: Limited::new(),
            forecast: Arc::default(),
        }
    }

    /// When something of `lane` that is due at `due` leaves.
    #[must_use]
    pub(crate) fn departure(&self, lane: Lane, due: impl Into<Due>) -> Departure {
        let (at, because) = self.last_obstacle(lane, due.into());
        self.told(at, because)
    }

    /// When the first of several leaves; each is a lane and the earliest due time in it.
    #[must_use]
    pub(crate) fn first_departure(
        &self,
        waiting: impl IntoIterator<Item = (Lane, Due)>,
    ) -> Departure {
        let departures = waiting.into_iter().map(|(lane, due)| self.departure(lane, due));
        let first = departures.min_by_key(Departure::rank);
        let first = first.unwrap_or_else(|| self.told(None, Because::Empty));
        // What waits for the limit of its origin counts as due when that has room again.
        let at_a_limit = |at| self.limited.values().any(|origin| origin.until == at);
        match first.at.filter(|at| first.because == Because::Due && at_a_limit(*at)) {
            Some(at) => self.told(Some(at), Because::Origin),
            None => first,
        }
    }

    /// When the next recipient of the message with this id leaves, in its turn; `None` when none of them ever will.
    #[must_use]
    pub(crate) fn departure_of_message(
        &self,
        id: QueueId,
        record: &MessageRecord,
    ) -> Option<Departure> {
        let states = record.recipients.iter().map(|recipient| &recipient.state);
        let departure = self.departure_of(record, states)?;
        let departure = self.limited_departure(record, departure);
        let waits_in_turn = match departure.because {
            Because::Now
            | Because::Turn
            | Because::Due
            | Because::Scheduled
            | Because::Pace
            | Because::Budget
            | Because::Origin
            | Because::Paused
            | Because::Account => true,
            Because::Empty
            | Because::InFlight
            | Because::Probe
            | Because::Logins
            | Because::Connections
            | Because::Store
            | Because::Fleet
            | Because::Stopping
            | Because::Held
            | Because::Folded => false,
        };
        let turn = self.forecast.of(id).filter(|_| waits_in_turn).map(|expected| expected.first);
        let Some(turn) = turn.filter(|turn| *turn > departure.at.unwrap_or(self.now).after(SOON))
        else {
            return Some(departure);
        };
        let because = match departure.because {
            Because::Now | Because::Due | Because::Scheduled | Because::Pace => Because::Turn,
            Because::Origin => return Some(Departure { at: Some(turn), ..departure }),
            because => because,
        };
        Some(self.told(Some(turn), because))
    }

    /// The same of a message whose origin may have used up its limit: that counts where it outlasts what else is in the way.
    fn limited_departure(&self, record: &MessageRecord, departure: Departure) -> Departure {
        let Some(at) = departure.at.filter(|_| departure.because != Because::InFlight) else {
            return departure;
        };
        match self
            .limited
            .get(&OriginKey::of(record))
            .filter(|origin| origin.until > at.max(self.now))
        {
            Some(LimitedOrigin { words, limit, until }) => {
                let why = format!("its origin ({words}) has had its {limit} recipients of a day");
                Departure {
                    at: Some(*until),
                    because: Because::Origin,
                    why,
                    account: None,
                    account_name: None,
                }
            }
            None => departure,
        }
    }

    /// The end of what holds everything just now; `None` when nobody knows it.
    #[must_use]
    pub(crate) fn starts(&self) -> Option<Timestamp> {
        let is_shut = self.is_shut() || self.is_day_full();
        let ordered = self.account.pause(self.now);
        if ordered.is_some_and(|pause| pause.until.is_none())
            || self.stopping
            || self.store_failure.is_some()
            || (is_shut && self.account.until.is_none())
        {
            return None;
        }
        let account = self.account.until.filter(|_| is_shut);
        let brake = self.brake.map(|brake| brake.until);
        let ordered = ordered.and_then(|pause| pause.until);
        [account, ordered, brake].into_iter().flatten().chain([self.now]).max()
    }

    /// When the next recipient of one message that is in such a state leaves; `None` when none of them ever will.
    #[must_use]
    pub(crate) fn departure_of<'a>(
        &self,
        record: &MessageRecord,
        states: impl IntoIterator<Item = &'a RecipientState>,
    ) -> Option<Departure> {
        let departures = states.into_iter().filter_map(|state| match state {
            RecipientState::Queued { .. } if record.fold.is_some() => {
                Some(self.told(None, Because::Folded))
            }
            RecipientState::Queued { .. } => {
                record.due(state).map(|due| self.departure(record.lane, due))
            }
            RecipientState::Reserved { .. } => Some(self.told(Some(self.now), Because::InFlight)),
            RecipientState::Held { .. } => Some(self.told(None, Because::Held)),
            RecipientState::Relayed { .. } | RecipientState::Dead { .. } => None,
        });
        departures.min_by_key(Departure::rank)
    }

    /// The obstacle that ends last. One without an end outlasts every other, and the queue comes before the
    /// account, the account before the budget.
    fn last_obstacle(&self, lane: Lane, due: Due) -> (Option<Timestamp>, Because) {
        let endless = [
            (self.stopping, Because::Stopping),
            (self.store_failure.is_some(), Because::Store),
            (self.pause().is_some_and(|pause| pause.until.is_none()), Because::Paused),
            (self.is_shut() && self.account.until.is_none(), Because::Account),
            (self.is_spent(lane) && self.rooms.of(lane).frees_at.is_none(), Because::Budget),
        ];
        if let Some((_, because)) = endless.into_iter().find(|(holds, _)| *holds) {
            let at = self.brake.filter(|brake| brake.because == because).map(|brake| brake.until);
            return (at.filter(|at| *at > self.now), because);
        }
        let brake = self.brake.map(|brake| (Some(brake.until), brake.because));
        let ends = [
            self.pause().map(|pause| (pause.until, Because::Paused)),
            self.is_shut().then_some((self.account.until, Because::Account)),
            self.is_spent(lane).then_some((self.rooms.of(lane).frees_at, Because::Budget)),
            brake,
            Some((Some(due.at), if due.is_scheduled { Because::Scheduled } else { Because::Due })),
        ];
        let ends = ends.into_iter().flatten().filter_map(|(end, because)| Some((end?, because)));
        // The first one of those that end together.
        let last = ends
            .filter(|(end, _)| *end > self.now)
            .reduce(|known, next| if next.0 > known.0 { next } else { known });
        let because = match last {
            Some((at, because)) => return (Some(at), because),
            None if self.probing => Because::Probe,
            None if self.due_recipients > u64::from(self.rooms.of(lane).recipients)
                && !self.is_day_full() =>
            {
                Because::Turn
            }
            None => Because::Now,
        };
        (Some(self.now), because)
    }

    fn pause(&self) -> Option<&Pause> {
        self.account.pause(self.now)
    }

    fn is_shut(&self) -> bool {
        self.account.condition != AccountCondition::Open
            && self.account.until.is_none_or(|until| until > self.now)
    }

    fn is_spent(&self, lane: Lane) -> bool {
        let Room { recipients, frees_at } = self.rooms.of(lane);
        recipients == 0 && frees_at.is_none_or(|frees_at| frees_at > self.now)
    }

    fn is_day_full(&self) -> bool {
        self.account.is_day_full(self.now)
    }

    fn told(&self, at: Option<Timestamp>, because: Because) -> Departure {
        let why = match because {
            Because::Empty => "nothing waits".to_owned(),
            Because::Now => "it is due".to_owned(),
            Because::Turn => format!(
                "{} recipients are due, and the 24 h budget has room for {}",
                self.due_recipients, self.rooms.others.recipients
            ),
            Because::InFlight => "it is being sent".to_owned(),
            Because::Probe => {
                "one message is tried first, the others wait for its result".to_owned()
            }
            Because::Due => "the next attempt is due then".to_owned(),
            Because::Scheduled => "it is scheduled for that time".to_owned(),
            Because::Pace => "the pace a minute is kept".to_owned(),
            Because::Logins if self.is_shared => {
                "the logins of this hour are used up, by all hosts of the fleet together".to_owned()
            }
            Because::Logins => "the logins of this hour are used up".to_owned(),
            Because::Connections => {
                "other hosts of the fleet use all connections to the account".to_owned()
            }
            Because::Budget if self.is_day_full() => {
                "the upstream says that the account's day is full".to_owned()
            }
            Because::Budget if at.is_none() => "the budget of the day is 0".to_owned(),
            Because::Budget => "the 24 h budget is spent".to_owned(),
            Because::Origin => "the limit of its origin is used up".to_owned(),
            Because::Paused => {
                let reason = self.pause().map_or("", |pause| pause.reason.trim_end_matches('.'));
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                format!("paused by the administrator{reason}")
            }
            Because::Account => format!("the account is {}", self.account.condition.name()),
            Because::Store => "the queue has failed (see the log)".to_owned(),
            Because::Fleet => "the fleet's database cannot be asked".to_owned(),
            Because::Stopping => "the relay is stopping".to_owned(),
            Because::Held => "it is held for a person".to_owned(),
            Because::Folded => "it is folded into a storm of mail that is alike".to_owned(),
        };
        let is_of_an_account = because == Because::Account || because.is_of_an_account();
        let account_name = self.name.as_deref().filter(|_| is_of_an_account).map(str::to_owned);
        let why = match &account_name {
            Some(name) if because == Because::Account => {
                format!("the account {name} is {}", self.account.condition.name())
            }
            Some(name) => format!("account {name}: {why}"),
            None => why,
        };
        let account = Some(self.account.condition).filter(|_| because == Because::Account);
        Departure { at, because, why, account, account_name }
    }
}

impl Departure {
    /// What leaves first comes first; of what has no time, the queue's own failure before what is held.
    pub(crate) fn rank(&self) -> (bool, Option<Timestamp>, bool) {
        (self.at.is_none(), self.at, matches!(self.because, Because::Held | Because::Folded))
    }

    /// One sentence; `when` puts a time into words.
    #[must_use]
    pub(crate) fn sentence(&self, when: impl Fn(Timestamp) -> String) -> String {
        self.addressed(&self.sentence_of_main(self.at.map(when)))
    }

    /// A text of the main account about the one that decides it.
    #[must_use]
    pub(crate) fn addressed(&self, text: &str) -> String {
        addressed(text, self.account_name.as_deref().unwrap_or(MAIN))
    }

    fn sentence_of_main(&self, at: Option<String>) -> String {
        match (self.because, at) {
            (Because::Empty, _) => "Nothing waits to leave.".to_owned(),
            (Because::Now | Because::InFlight, _) => "Mail is leaving now.".to_owned(),
            (Because::Turn, _) => format!("Mail is leaving now, in its turn: {}.", self.why),
            (Because::Probe, _) => format!("Mail waits: {}.", self.why),
            (Because::Connections, Some(at)) => {
                format!("Mail waits: {}; one is asked for again at {at}.", self.why)
            }
            (Because::Due, Some(at)) => {
                format!("Mail leaves again at {at}, when the next attempt is due.")
            }
            (Because::Scheduled, Some(at)) => {
                format!("Mail leaves again at {at}: the first of it is scheduled for then.")
            }
            (Because::Store, Some(at)) => {
                format!("Mail waits: {}; it is tried again at {at}.", self.why)
            }
            (Because::Store, None) => {
                format!("Mail waits: {}; it is opened again by itself.", self.why)
            }
            (Because::Fleet, _) => {
                format!("Mail waits: {}; it is asked again all the time.", self.why)
            }
            (Because::Stopping, _) => {
                "Mail waits for the next start: the relay is stopping.".to_owned()
            }
            (Because::Paused, None) => {
                format!("Mail waits until `pillarbox resume`: {}.", self.why)
            }
            (Because::Paused, Some(at)) => format!("Mail waits until {at}: {}.", self.why),
            (Because::Account, None) => {
                format!("Mail waits: {}, until `pillarbox resume`.", self.why)
            }
            (Because::Budget, None) => format!(
                "Mail never leaves: {} (budget.recipients_per_day less budget.owner_reserve).",
                self.why
            ),
            (Because::Held, _) => {
                "Mail waits for a person: `pillarbox queue retry` or `delete`.".to_owned()
            }
            (Because::Folded, _) => {
                "Mail is folded into storms, of which summaries tell: `pillarbox storm list`."
                    .to_owned()
            }
            (Because::Account, Some(at)) => {
                format!("Mail leaves again at {at}, one message first: {}.", self.why)
            }
            (_, Some(at)) => format!("Mail leaves again at {at}: {}.", self.why),
            (_, None) => format!("Mail waits: {}.", self.why),
        }
    }

    /// What a person can do, where the account's own remedy does not say it; `is_taken` is whether new mail is.
    #[must_use]
    pub(crate) fn advice(&self, account_remedy: &str, is_taken: bool) -> Option<String> {
        const BY_ITSELF: &str = "Nothing to do: mail is still taken, and leaves by itself.";
        if !is_taken {
            // Of that there is more to be said than that nothing is to be done.
            return None;
        }
        let advice = match (self.because, self.at) {
            (Because::Paused, _) => Some(
                "Nothing to do: mail is still taken, and kept. `pillarbox resume` ends the pause.",
            ),
            (Because::Budget, Some(_)) => Some(BY_ITSELF),
            (Because::Budget, None) => {
                Some("What to do: raise budget.recipients_per_day and restart.")
            }
            (Because::Account, Some(_)) if account_remedy.is_empty() => Some(
                "Nothing to do: mail is still taken, and leaves by itself. `pillarbox resume` tries now.",
            ),
            _ => None,
        };
        advice.map(|advice| self.addressed(advice))
    }

    /// Whether mail waits for something that an administrator would want to know of: more than the pace, a retry or a
    /// turn.
    #[must_use]
    pub(crate) fn is_obstructed(&self) -> bool {
        match self.because {
            Because::Budget
            | Because::Paused
            | Because::Account
            | Because::Store
            | Because::Fleet
            | Because::Logins => true,
            Because::Empty
            | Because::Now
            | Because::Turn
            | Because::InFlight
            | Because::Probe
            | Because::Due
            | Because::Scheduled
            | Because::Pace
            | Because::Connections
            | Because::Origin
            | Because::Stopping
            | Because::Held
            | Because::Folded => false,
        }
    }
}

/// Why new mail is refused, or some of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusing {
    /// Whether all mail is refused, or only large messages.
    pub(crate) everything: bool,
    /// Whether the queue itself has failed, which a new start of the process may mend.
    pub(crate) failed: bool,
    /// What is refused, and why.
    pub(crate) what: String,
    /// What to do.
    pub(crate) remedy: String,
}

impl Refusing {
    /// From the store's answers about the smallest and the largest message; `largest` is the latter's octets.
    #[must_use]
    pub(crate) fn of(
        smallest: Result<(), QueueError>,
        largest: Result<(), QueueError>,
        shown: &str,
    ) -> Option<Self> {
        let everything = smallest.is_err();
        let error = smallest.and(largest).err()?;
        let failed = !matches!(error, QueueError::Full(_) | QueueError::Drained(_));
        let which = if everything { "no mail is taken" } else { "large mail is not taken" };
        let up_to =
            if everything { String::new() } else { format!(" (a message may have {shown})") };
        let remedy = if matches!(error, QueueError::Drained(_)) {
            "Nothing, if that was meant: `pillarbox fleet undrain` has it take mail again. Clients hear 421 4.3.2, keep their mail \
             and come again, or go to another host"
        } else if failed {
            "The queue reopens by itself; if that does not help, see the log and the disk"
        } else {
            "Free space on the disk, raise [queue] max_bytes, or give up what nobody needs: pillarbox queue list, \
             pillarbox dead list. Clients hear 452 4.3.1, keep their mail and come again"
        };
        Some(Self {
            everything,
            failed,
            what: format!("{which}{up_to}: {error}"),
            remedy: remedy.to_owned(),
        })
    }

    /// The same of a queue in a database that is away: no new start of the process would mend that.
    #[must_use]
    pub(crate) fn for_its_database(self) -> Self {
        let remedy = "Look at the database and at the way to it. Clients hear 451, keep their mail and come again; it goes on \
                      by itself once the database answers";
        Self { failed: false, remedy: remedy.to_owned(), ..self }
    }
}

#[cfg(test)]
mod tests;
