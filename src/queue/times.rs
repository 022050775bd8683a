//! Every time in what is stored: records keep stored times, everybody else sees wall times.
//!
//! Rule: a time that is added to a record is added here, or a step of the wall clock would not move it. Must not know
//! which store holds a record.

use super::{
    allowance::EarlyDays,
    index::EndKey,
    pause::Pause,
    record::MessageRecord,
    state::{AccountState, RecipientState},
    transition::DUE_AHEAD_MAX,
};
use crate::clock::{EARLIEST, Kind, Timestamp};

/// How one time is changed.
pub(super) type Change<'a> = &'a dyn Fn(Kind, Timestamp) -> Timestamp;

/// Something that holds times.
pub(super) trait Times: Sized {
    /// Changes each of them.
    fn each_time(&mut self, change: Change<'_>);

    /// The same with changed times.
    fn with_times(mut self, change: Change<'_>) -> Self {
        self.each_time(change);
        self
    }
}

impl Times for MessageRecord {
    fn each_time(&mut self, change: Change<'_>) {
        // Named one by one, so that none is forgotten.
        let Self {
            accepted_at,
            reverse_path: _,
            body: _,
            internationalized: _,
            size_bytes: _,
            lane: _,
            lifetime_from,
            schedule,
            told: _,
            delay_told: _,
            notify: _,
            about: _,
            attempts,
            notices,
            setbacks,
            end,
            resend_of: _,
            recipients,
            rule: _,
            fold,
            keeps_place: _,
            route: _,
            account: _,
            attempts_by: _,
        } = self;
        let ended = end.iter_mut().map(|end| &mut end.at);
        let notices = notices.iter_mut().map(|notice| &mut notice.at);
        let attempts = attempts.iter_mut().map(|attempt| &mut attempt.at);
        for at in notices
            .chain(attempts)
            .chain(ended)
            .chain([accepted_at, lifetime_from])
            .chain(&mut setbacks.last)
            .chain(fold.iter_mut().filter_map(|fold| fold.told.as_mut()))
        {
            *at = change(Kind::Past, *at);
        }
        schedule.iter_mut().for_each(|one| one.at = change(Kind::Named, one.at));
        recipients.iter_mut().for_each(|recipient| recipient.state.each_time(change));
    }
}

impl Times for RecipientState {
    fn each_time(&mut self, change: Change<'_>) {
        match self {
            Self::Queued { due, .. } => *due = change(Kind::Planned, *due),
            Self::Reserved { since: at, .. }
            | Self::Relayed { at }
            | Self::Held { since: at, .. }
            | Self::Dead { since: at, .. } => *at = change(Kind::Past, *at),
        }
    }
}

impl Times for AccountState {
    fn each_time(&mut self, change: Change<'_>) {
        let Self {
            condition: _,
            since,
            until,
            strikes: _,
            reason: _,
            remedy: _,
            day_full_since,
            alone_until,
            accepted_at,
            spam,
            logins,
            login_mark: _,
            pause,
            early,
        } = self;
        if let Some(Pause { since, until, reason: _ }) = pause {
            *since = change(Kind::Past, *since);
            until.iter_mut().for_each(|at| *at = change(Kind::Planned, *at));
        }
        for at in [until, alone_until].into_iter().flatten() {
            *at = change(Kind::Planned, *at);
        }
        for at in
            spam.iter_mut().chain(logins).chain(day_full_since).chain(accepted_at).chain([since])
        {
            *at = change(Kind::Past, *at);
        }
        early.each_time(change);
    }
}

impl Times for EarlyDays {
    fn each_time(&mut self, change: Change<'_>) {
        for day in &mut self.0 {
            day.since = change(Kind::Past, day.since);
            day.told = change(Kind::Past, day.told);
        }
    }
}

/// Only its place in the order; how old it is, the boot in which it was written says.
impl Times for EndKey {
    fn each_time(&mut self, change: Change<'_>) {
        self.at = change(Kind::Planned, self.at);
    }
}

impl AccountState {
    /// The same after the wall clock was set forward by `step_ms` (back, when negative).
    pub(crate) fn moved(self, step_ms: i64) -> Self {
        self.with_times(&|_, at| at.moved(step_ms))
    }
}

/// The record of a message that comes into the queue at `now`. Its clock may have been another one: that of a
/// transaction during which the clock was set, of a file whose record is lost, of another queue. What was never tried
/// is due, nothing is of the future, and no lifetime began before this program existed.
pub(super) fn arriving(mut record: MessageRecord, now: Timestamp) -> MessageRecord {
    let is_wrong = |at: Timestamp| at > now || (at < EARLIEST && now >= EARLIEST);
    for at in [&mut record.accepted_at, &mut record.lifetime_from] {
        *at = if is_wrong(*at) { now } else { *at };
    }
    for recipient in &mut record.recipients {
        let waits = recipient.attempts > 0 && recipient.state.name() == "queued";
        let latest = if waits { now.after(DUE_AHEAD_MAX) } else { now };
        recipient.state.each_time(&|_, at| at.min(latest));
    }
    record
}
