//! The wall time of a stored time: the relay's own time runs on through every step of the wall clock.
//!
//! Rule: what is stored counts in the boot clock, and one small table says which wall time each boot began at. So a
//! step of the wall clock restamps everything that this boot wrote by one write, and no age changes. Must not know records.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BootId, EARLIEST, Moment, Timestamp, millis};

/// A smaller difference between the clocks is the time that reading them took.
const STEP_MIN_MS: i64 = 2_000;
/// How long after its start the wall clock of a boot may still be set right. Afterwards it is believed how long the
/// machine was off, and a step no longer changes that. Until then nothing that cannot be taken back rests on it.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_secs(2 * 3600);
/// Boots that are remembered; of those before them the clock counts as that of the oldest one.
const BOOTS_MAX: usize = 32;

/// The boots in which something was stored. Its own times ("stored") are milliseconds, as wall times are, and equal to
/// them for as long as no clock was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timeline {
    earlier: Vec<Boot>,
    present: Boot,
    /// The offset of the present boot when the time before it was settled.
    settled: Option<i64>,
    /// The largest offset since then.
    most: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Boot {
    id: BootId,
    /// The stored time of its start, as if this program had been there; a machine may have been up for long when the
    /// queue came to it.
    zero: i64,
    /// The stored time when it was first seen: everything since then was stored in it.
    first: i64,
    /// The stored time when it was last seen.
    seen: i64,
    /// Wall time less stored time.
    offset: i64,
}

/// What a time says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// When something happened: it never becomes a time of the future, whatever is learnt about the clock.
    Past,
    /// When something is to happen: it stays as far ahead, and in the order of its index.
    Planned,
    /// When a person wants it to happen, whose clock is on the wall: it is never moved, neither by a step nor by a boot
    /// with a clock that is wrong for some minutes.
    Named,
}

/// What a look at the clocks has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Both clocks went on together.
    Nothing,
    /// The wall clock was set forward by as many milliseconds (back, when negative).
    Step(i64),
    /// How long the machine was off is believed from now on.
    Settled,
    /// The machine was started anew.
    Boot,
}

impl Timeline {
    /// The first one: stored times are wall times.
    #[must_use]
    pub(crate) fn new(now: Moment) -> Self {
        let (wall, zero) = (now.wall.0, now.wall.0.saturating_sub(since_boot(now)));
        let present = Boot { id: now.boot, zero, first: wall, seen: wall, offset: 0 };
        Self { earlier: Vec::new(), present, settled: None, most: 0 }
    }

    /// Compares the clocks with what is known, and takes over what has changed.
    pub(crate) fn look(&mut self, now: Moment) -> Found {
        if now.boot != self.present.id {
            self.begin(now);
            return Found::Boot;
        }
        let stored = self.present.zero.saturating_add(since_boot(now));
        self.present.seen = self.present.seen.max(stored);
        let offset = now.wall.0.saturating_sub(stored);
        let step = offset.saturating_sub(self.present.offset);
        if step.saturating_abs() >= STEP_MIN_MS {
            self.present.offset = offset;
            self.most = self.most.max(offset);
            return Found::Step(step);
        }
        if self.settled.is_none() && since_boot(now) >= millis(SETTLED_AFTER) {
            self.order();
            self.settled = Some(self.present.offset);
            self.most = self.present.offset;
            return Found::Settled;
        }
        Found::Nothing
    }

    /// The wall time of a stored time.
    #[must_use]
    pub(crate) fn wall(&self, kind: Kind, stored: Timestamp) -> Timestamp {
        if kind == Kind::Named {
            return stored;
        }
        if kind == Kind::Planned || stored.0 >= self.present.first {
            return Timestamp(stored.0.saturating_add(self.present.offset));
        }
        let place = self.earlier.iter().rposition(|boot| boot.first <= stored.0).unwrap_or(0);
        let Some(boot) = self.earlier.get(place) else {
            return Timestamp(stored.0.saturating_add(self.present.offset));
        };
        let wall = stored.0.saturating_add(boot.offset).saturating_add(self.lead());
        Timestamp(wall.min(self.present_start()))
    }

    /// The stored time of a wall time: of the latest boot that has such a time.
    #[must_use]
    pub(crate) fn stored(&self, kind: Kind, wall: Timestamp) -> Timestamp {
        if kind == Kind::Named {
            return wall;
        }
        if kind == Kind::Planned {
            return Timestamp(wall.0.saturating_sub(self.present.offset));
        }
        let mut next = i64::MAX;
        let lead = self.lead();
        let boots = self.earlier.iter().map(|boot| (boot.first, boot.offset.saturating_add(lead)));
        let present = (self.present.first, self.present.offset);
        for (first, offset) in boots.chain([present]).rev() {
            let stored = wall.0.saturating_sub(offset);
            if stored >= first {
                return Timestamp(stored.min(next));
            }
            next = first.saturating_sub(1);
        }
        let oldest = self.earlier.first().map_or(self.present.offset, |boot| boot.offset + lead);
        Timestamp(wall.0.saturating_sub(oldest).min(next))
    }

    /// The wall time of a moment of a boot that is remembered.
    #[must_use]
    pub(crate) fn wall_of(&self, moment: Moment) -> Option<Timestamp> {
        let boots = self.earlier.iter().chain([&self.present]);
        let boot = boots.rev().find(|boot| boot.id == moment.boot)?;
        Some(self.wall(Kind::Past, Timestamp(boot.zero.saturating_add(since_boot(moment)))))
    }

    /// How much of the ages of what earlier boots wrote rests on a wall clock that may be wrong yet: for how long the
    /// machine was off, in the first `believed_after` of a boot.
    #[must_use]
    pub(crate) fn doubt(&self, now: Moment, believed_after: Duration) -> Duration {
        let Some(last) = self.earlier.last() else { return Duration::ZERO };
        if now.boot == self.present.id && since_boot(now) >= millis(believed_after) {
            return Duration::ZERO;
        }
        let seen = last.seen.saturating_add(last.offset).saturating_add(self.lead());
        Timestamp(self.present_start()).since(Timestamp(seen))
    }

    /// How far the steps since it was settled have moved what earlier boots wrote.
    fn lead(&self) -> i64 {
        self.settled.map_or(0, |settled| self.present.offset.saturating_sub(settled))
    }

    /// The wall time when the present boot was first seen.
    fn present_start(&self) -> i64 {
        self.present.first.saturating_add(self.present.offset)
    }

    /// The machine was started anew, or the queue came to another one. Stored time goes on from when it was last seen, by
    /// as much as the wall clock says, which brings what was to be done meanwhile forward.
    fn begin(&mut self, now: Moment) {
        // Of two clocks between which a settled boot was stepped, the one by which the machine was off for less counts.
        if self.settled.is_some() {
            self.present.offset = self.most;
        }
        self.order();
        let last = self.present;
        let was_wrong = last.seen.saturating_add(last.offset) < EARLIEST.0 && now.wall >= EARLIEST;
        let off = now.wall.0.saturating_sub(last.seen.saturating_add(last.offset));
        let off = if was_wrong { 0 } else { off.max(0) };
        let first = last.seen.saturating_add(off);
        let offset = now.wall.0.saturating_sub(first);
        self.earlier.push(last);
        if was_wrong {
            // That clock was never set right: as if nobody knew how long the machine was off.
            self.earlier.last_mut().into_iter().for_each(|last| last.offset = offset);
        }
        if self.earlier.len() > BOOTS_MAX {
            self.earlier.remove(0);
        }
        let zero = first.saturating_sub(since_boot(now));
        self.present = Boot { id: now.boot, zero, first, seen: first, offset };
        self.settled = None;
    }

    /// Lets no boot end after the one that followed it had begun: its clock was ahead.
    fn order(&mut self) {
        let lead = self.lead();
        let mut next = self.present_start();
        for boot in self.earlier.iter_mut().rev() {
            let latest = next.saturating_sub(boot.seen);
            boot.offset = boot.offset.saturating_add(lead).min(latest);
            next = boot.first.saturating_add(boot.offset);
        }
        self.settled = self.settled.map(|_| self.present.offset);
    }
}

fn since_boot(moment: Moment) -> i64 {
    i64::try_from(moment.since_boot_ms).unwrap_or(i64::MAX)
}

/// Notices steps of the wall clock for what is only in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    last: Moment,
}

impl Steps {
    /// From now on.
    #[must_use]
    pub(crate) fn since(now: Moment) -> Self {
        Self { last: now }
    }

    /// By how many milliseconds the wall clock was set forward since the last look (back, when negative).
    pub(crate) fn look(&mut self, now: Moment) -> Option<i64> {
        let last = self.last;
        let passed = since_boot(now).saturating_sub(since_boot(last));
        let step = now.wall.0.saturating_sub(last.wall.0).saturating_sub(passed);
        if last.boot == now.boot && step.saturating_abs() < STEP_MIN_MS {
            // Small differences must not add up to a step that was none, nor hide one.
            return None;
        }
        self.last = now;
        (last.boot == now.boot).then_some(step)
    }
}
