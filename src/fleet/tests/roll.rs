//! The hosts in memory, by a clock that is advanced.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    clock::{Clock as _, ManualClock, Timestamp},
    fleet::{
        books::Trouble,
        hosts::{Beat, FORGOTTEN_AFTER, GONE_AFTER, Heard, Listed, Load, Register, Row},
    },
    sync::lock,
};

/// What a row of the table has.
#[derive(Clone, Debug)]
struct Entry {
    instance: i64,
    since: Timestamp,
    seen: Timestamp,
    has_stopped: bool,
    load: Load,
    drained: Option<Timestamp>,
    namesake: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Roll {
    clock: ManualClock,
    entries: Mutex<BTreeMap<String, Entry>>,
    pub(super) is_away: AtomicBool,
}

impl Roll {
    pub(super) fn new(clock: &ManualClock) -> Self {
        let (clock, entries) = (clock.clone(), Mutex::default());
        Self { clock, entries, is_away: AtomicBool::new(false) }
    }

    fn now(&self) -> Result<Timestamp, Trouble> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Trouble("the database is away".into()));
        }
        Ok(self.clock.wall())
    }
}

impl Entry {
    fn has_namesake(&self, now: Timestamp) -> bool {
        self.namesake.is_some_and(|at| now.since(at) < GONE_AFTER)
    }
}

#[async_trait]
impl Register for Roll {
    async fn beat(&self, beat: &Beat) -> Result<Heard, Trouble> {
        let (now, mut entries) = (self.now()?, lock(&self.entries));
        let new = Entry {
            instance: 0,
            since: now,
            seen: now,
            has_stopped: false,
            load: beat.load,
            drained: None,
            namesake: None,
        };
        let entry = entries.entry(beat.host.clone()).or_insert(new);
        match beat.instance {
            Some(instance) if instance < entry.instance => entry.namesake = Some(now),
            instance => {
                if instance.is_none() {
                    (entry.instance, entry.since) = (entry.instance + 1, now);
                }
                (entry.seen, entry.has_stopped, entry.load) = (now, false, beat.load);
            }
        }
        let entry = entry.clone();
        let lives = |other: &Entry| !other.has_stopped && now.since(other.seen) <= GONE_AFTER;
        let others = entries.iter().filter(|(name, other)| **name != beat.host && lives(other));
        Ok(Heard {
            living: others.count() as u64 + 1,
            instance: entry.instance,
            drained: entry.drained.map(|at| now.since(at)),
            has_namesake: entry.has_namesake(now),
        })
    }

    async fn leave(&self, host: &str, instance: i64) -> Result<(), Trouble> {
        let now = self.now()?;
        if let Some(entry) = lock(&self.entries).get_mut(host)
            && entry.instance == instance
        {
            (entry.has_stopped, entry.seen) = (true, now);
        }
        Ok(())
    }

    async fn drain(&self, host: &str, drains: bool) -> Result<bool, Trouble> {
        let now = self.now()?;
        let mut entries = lock(&self.entries);
        let Some(entry) = entries.get_mut(host) else { return Ok(false) };
        entry.drained = drains.then(|| entry.drained.unwrap_or(now));
        Ok(true)
    }

    async fn list(&self) -> Result<Listed, Trouble> {
        let now = self.now()?;
        let row = |(name, entry): (&String, &Entry)| Row {
            name: name.clone(),
            instance: entry.instance,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: now.since(entry.since),
            seen: now.since(entry.seen),
            has_stopped: entry.has_stopped,
            load: entry.load,
            drained: entry.drained.map(|at| now.since(at)),
            has_namesake: entry.has_namesake(now),
        };
        let hosts = lock(&self.entries).iter().map(row).collect();
        Ok(Listed { hosts, ..Listed::default() })
    }

    async fn forget(&self) -> Result<(), Trouble> {
        let now = self.now()?;
        lock(&self.entries).retain(|_, entry| now.since(entry.seen) <= FORGOTTEN_AFTER);
        Ok(())
    }
}

/// What can be said of a row whatever the clock of whoever keeps it.
pub(super) fn seen(row: &Row) -> (&str, i64, bool, bool, bool, Duration) {
    let Row { name, instance, has_stopped, drained, has_namesake, seen, .. } = row;
    let minutes = Duration::from_secs(seen.as_secs() / 60 * 60);
    (name, *instance, *has_stopped, drained.is_some(), *has_namesake, minutes)
}
