//! The hosts of a fleet: what each of them tells the others of itself, and what they make of it.
//!
//! Rule: whether a host lives is the database's clock alone. What a person has ordered of a host holds while nobody can be
//! asked. Must not know what a queue is, nor what happens at the door of a host that is drained.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tracing::{info, warn};

use super::{books::Trouble, own_file::OwnFile};
use crate::{
    clock::{Clock, Timestamp},
    live::Live,
    sync::lock,
};

/// Between two signs of life.
const BEAT_EVERY: Duration = Duration::from_secs(10);
/// The last part of it is left to chance, so that the hosts of a fleet do not come together.
const BEAT_JITTER_MS: u64 = 3_000;
/// A host that has given no sign of life for so long is gone: four of them, and a call that took as long as it may.
pub(crate) const GONE_AFTER: Duration = Duration::from_secs(50);
/// What is known of a host that is gone for so long is removed.
pub(crate) const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 86_400);
/// Hosts that are told of: more than anybody has.
#[cfg(any(feature = "fleet", test))]
pub(super) const HOSTS_MAX: usize = 200;
/// The same of what hosts have spent of accounts.
#[cfg(any(feature = "fleet", test))]
pub(super) const SPENT_MAX: usize = 1_000;

/// What lies in the queue of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Messages, with those that are held and dead.
    pub(crate) messages: u64,
    /// Recipients that wait to be tried, or are being tried.
    pub(crate) recipients: u64,
    /// For how long the one waits that waits for longest.
    pub(crate) oldest: Option<Duration>,
}

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) host: String,
    /// The number of this start; `None` with the first sign of life, which gets one.
    pub(super) instance: Option<i64>,
    pub(super) load: Load,
}

/// The answer to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The number of the last start of a host of this name.
    pub(super) instance: i64,
    /// For how long it is drained.
    pub(super) drained: Option<Duration>,
    /// Whether another living host has this name.
    pub(super) has_namesake: bool,
    /// Hosts that live, with this one.
    pub(super) living: u64,
}

/// A host as the books have it; spans are counted back from the moment of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) instance: i64,
    pub(super) version: String,
    pub(super) since: Duration,
    pub(super) seen: Duration,
    pub(super) has_stopped: bool,
    pub(super) load: Load,
    pub(super) drained: Option<Duration>,
    pub(super) has_namesake: bool,
}

impl Row {
    /// Whether it says nothing any more, and has not said that it stops.
    pub(super) fn is_gone(&self) -> bool {
        !self.has_stopped && self.seen > GONE_AFTER
    }
}

/// All hosts, with what they share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// The version of the database's program.
    pub(super) server: String,
    /// That of the tables.
    pub(super) schema: i32,
    /// How long the first and shortest question took.
    pub(super) latency: Duration,
    /// By name.
    pub(super) hosts: Vec<Row>,
    /// Hosts beyond [`HOSTS_MAX`].
    pub(super) more: u64,
    /// Recipients of the last 24 hours, by account and host.
    pub(super) spent: Vec<(String, String, u64)>,
    /// Logins of the last hour and open connections.
    pub(super) logins: Vec<LoggedIn>,
}

/// What a host has of the logins and connections of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoggedIn {
    /// As all hosts call it.
    pub(crate) account: String,
    /// Which host.
    pub(crate) host: String,
    /// Logins that count for the last hour.
    pub(crate) logins: u64,
    /// Connections that are open.
    pub(crate) open: u64,
    /// For how long it has waited for one more, while others have all.
    pub(crate) waits: Option<Duration>,
}

/// The books in which hosts are written down.
#[async_trait]
pub(super) trait Register: fmt::Debug + Send + Sync {
    /// Takes a sign of life.
    async fn beat(&self, beat: &Beat) -> Result<Heard, Trouble>;

    /// The host stops, and says so.
    async fn leave(&self, host: &str, instance: i64) -> Result<(), Trouble>;

    /// Has a host take no new mail, or take it again; false where none has this name.
    async fn drain(&self, host: &str, drains: bool) -> Result<bool, Trouble>;

    async fn list(&self) -> Result<Listed, Trouble>;

    /// Removes hosts that have been gone for long.
    async fn forget(&self) -> Result<(), Trouble>;
}

/// How a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Standing {
    /// It has given a sign of life lately.
    Living,
    /// It was stopped, and has said so.
    Stopped,
    /// It says nothing any more.
    Gone,
}

/// A host, by this host's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// What the others know it by.
    pub(crate) name: String,
    /// The number of its start.
    pub(crate) instance: i64,
    /// The version of its program.
    pub(crate) version: String,
    /// How it is.
    pub(crate) standing: Standing,
    /// Its last start.
    pub(crate) since: Timestamp,
    /// Its last sign of life.
    pub(crate) seen: Timestamp,
    /// What it had then.
    pub(crate) load: Load,
    /// Since when it takes no new mail.
    pub(crate) drained_since: Option<Timestamp>,
    /// Whether two living hosts call themselves so.
    pub(crate) has_namesake: bool,
}

/// The fleet, as it was last known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members {
    /// When that was.
    pub(crate) at: Timestamp,
    /// The version of the database's program.
    pub(crate) server: String,
    /// That of the tables.
    pub(crate) schema: i32,
    /// How long a question took.
    pub(crate) latency: Duration,
    /// By name.
    pub(crate) hosts: Vec<Host>,
    /// Hosts that are not named.
    pub(crate) more: u64,
    /// Recipients of the last 24 hours, by account and host.
    pub(crate) spent: Vec<(String, String, u64)>,
    /// Logins of the last hour and open connections.
    pub(crate) logins: Vec<LoggedIn>,
}

impl Members {
    fn of(listed: Listed, at: Timestamp) -> Self {
        let Listed { server, schema, latency, hosts, more, spent, logins } = listed;
        let hosts = hosts.into_iter().map(|row| Host::of(row, at)).collect();
        Self { at, server, schema, latency, hosts, more, spent, logins }
    }
}

impl Host {
    fn of(row: Row, now: Timestamp) -> Self {
        let standing = match row.has_stopped {
            true => Standing::Stopped,
            false if row.is_gone() => Standing::Gone,
            false => Standing::Living,
        };
        Self {
            name: row.name,
            instance: row.instance,
            version: row.version,
            standing,
            since: now.before(row.since),
            seen: now.before(row.seen),
            load: row.load,
            drained_since: row.drained.map(|span| now.before(span)),
            has_namesake: row.has_namesake,
        }
    }
}

/// This host among the others.
#[derive(Debug)]
pub(crate) struct Hosts {
    register: Arc<dyn Register>,
    /// What the others know this host by.
    own: String,
    /// What it keeps of that for its next start.
    file: OwnFile,
    clock: Arc<dyn Clock>,
    /// Since when this host takes no new mail; whoever keeps its door looks here.
    drained: Live<Option<Timestamp>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    instance: Option<i64>,
    has_namesake: bool,
    /// Hosts that live, with this one, as was last heard.
    living: u64,
    /// Why the last sign of life did not arrive.
    trouble: Option<Trouble>,
    known: Option<Members>,
}

impl Hosts {
    #[cfg(any(feature = "fleet", test))]
    pub(super) fn new(
        register: Arc<dyn Register>,
        (own, file): (String, OwnFile),
        clock: Arc<dyn Clock>,
        drained: Live<Option<Timestamp>>,
    ) -> Self {
        // An order outlasts a start, also where nobody can be asked.
        if let Some(since) = file.drained_since() {
            drained.set(Some(since));
        }
        Self { register, own, file, clock, drained, state: Mutex::default() }
    }

    /// What the others know this host by.
    pub(crate) fn own(&self) -> &str {
        &self.own
    }

    /// How long until the next sign of life.
    pub(crate) fn pause(&self) -> Duration {
        BEAT_EVERY.saturating_sub(Duration::from_millis(fastrand::u64(..BEAT_JITTER_MS)))
    }

    /// Gives a sign of life, and hears what was ordered of this host.
    pub(crate) async fn beat(&self, load: Load) {
        let instance = lock(&self.state).instance;
        let beat = Beat { host: self.own.clone(), instance, load };
        let answer = self.register.beat(&beat).await;
        let ordered = answer.as_ref().ok().map(|heard| heard.drained);
        self.note(answer);
        if let Some(drained) = ordered {
            self.is_drained_for(drained).await;
        }
    }

    fn note(&self, answer: Result<Heard, Trouble>) {
        let mut state = lock(&self.state);
        match answer {
            Ok(heard) => {
                if state.trouble.take().is_some() {
                    info!(host = self.own, "the other hosts of the fleet hear of this one again");
                }
                state.instance.get_or_insert(heard.instance);
                if heard.has_namesake && !state.has_namesake {
                    warn!(
                        host = self.own,
                        remedy =
                            "give each host of the fleet a name of its own: host under [fleet]",
                        "another living host of the fleet has the same name"
                    );
                }
                (state.has_namesake, state.living) = (heard.has_namesake, heard.living);
            }
            Err(trouble) => {
                if state.trouble.is_none() {
                    let remedy = "run pillarbox doctor --check fleet";
                    warn!(reason = %trouble, remedy, "the other hosts of the fleet do not hear of this one");
                }
                state.trouble = Some(trouble);
            }
        }
    }

    async fn is_drained_for(&self, span: Option<Duration>) {
        let before = *self.drained.get();
        match (before, span) {
            (None, Some(span)) => {
                warn!(
                    host = self.own,
                    "this host is drained: it takes no new mail, and relays what it has; pillarbox fleet undrain ends that"
                );
                self.drained.set(Some(self.clock.wall().before(span)));
            }
            (Some(_), None) => {
                info!(host = self.own, "this host is not drained any more: it takes mail again");
                self.drained.set(None);
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        let drained = *self.drained.get();
        self.file.keep_drained(drained).await;
    }

    /// Tells the others that this host stops.
    pub(crate) async fn leave(&self) {
        let instance = lock(&self.state).instance;
        if let Some(instance) = instance
            && let Err(trouble) = self.register.leave(&self.own, instance).await
        {
            tracing::debug!(%trouble, "the other hosts were not told of the stop");
        }
    }

    /// All hosts, asked now; what was last known of them stays known.
    ///
    /// # Errors
    /// The books cannot be asked.
    pub(crate) async fn ask(&self) -> Result<Members, Trouble> {
        let listed = self.register.list().await?;
        let members = Members::of(listed, self.clock.wall());
        lock(&self.state).known = Some(members.clone());
        Ok(members)
    }

    /// How many hosts live, as was last heard; 0 while nothing was.
    pub(crate) fn living(&self) -> u64 {
        lock(&self.state).living
    }

    /// What was last known of all hosts.
    pub(crate) fn known(&self) -> Option<Members> {
        lock(&self.state).known.clone()
    }

    /// Has a host take no new mail, or take it again. Returns whether there is one of this name.
    ///
    /// # Errors
    /// The books cannot be asked: nothing has changed.
    pub(crate) async fn drain(&self, host: &str, drains: bool) -> Result<bool, Trouble> {
        let is_there = self.register.drain(host, drains).await?;
        let now = self.clock.wall();
        if let Some(known) = &mut lock(&self.state).known {
            for one in known.hosts.iter_mut().filter(|one| one.name == host) {
                one.drained_since = drains.then(|| one.drained_since.unwrap_or(now));
            }
        }
        if is_there && host == self.own {
            let drained = self.drained.get().map_or(Duration::ZERO, |at| now.since(at));
            self.is_drained_for(drains.then_some(drained)).await;
        }
        Ok(is_there)
    }

    /// Removes what is known of hosts that have been gone for long; the next host, or the next time, does it as well.
    pub(super) async fn forget(&self) {
        if let Err(trouble) = self.register.forget().await {
            tracing::debug!(%trouble, "hosts that are long gone were not removed");
        }
    }
}
