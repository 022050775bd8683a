//! Whom a refusal concerns that speaks of the account, learned from what happens next.
//!
//! Rule: pure and bounded. A sender or recipient that was in a refused transaction is a suspect; an accepted message
//! without it convicts it, one with it clears it. A convicted one stops nobody else, and waits for its own turn once
//! more than one of its messages was refused: one alone may be bad for itself.

use std::{collections::VecDeque, time::Duration};

use crate::{
    clock::{Moment, Timestamp},
    message::envelope::Lane,
    queue::{ClaimedMessage, id::QueueId},
    smtp::address::Address,
};

/// Senders and recipients that are remembered; the oldest go first.
const SUSPECTS_MAX: usize = 512;
/// Recipients of one refused transaction that are remembered.
const RECIPIENTS_MAX: usize = 16;
/// How long a suspect is remembered after the last refusal.
const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);
/// How long the next message of a convicted sender or recipient waits after each refusal that follows.
const TURNS: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(5 * 60), Duration::from_secs(15 * 60)];
/// The window in which verdicts of spam are counted, and how long a sender waits who has earned too many.
const SPAM_WINDOW: Duration = Duration::from_secs(3_600);
/// Verdicts of spam, senders who wait because of them, and messages that cost connections, that are remembered.
const REMEMBERED_MAX: usize = 512;
/// How long it counts that a refusal of a message has ended a connection.
pub(super) const COSTLY_FOR: Duration = Duration::from_secs(4 * 3_600);
/// Looks that one probe takes for a message that has nothing in common with what was refused.
const LOOKS_MAX: usize = 200;
/// How long a message is passed over whose lane leaves before the others.
const PASSED_OVER: Duration = Duration::from_secs(1);

/// What a refused message has in common with others.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trait {
    Sender(Option<Address>),
    Recipient(Address),
}

#[derive(Debug)]
struct Suspect {
    is: Trait,
    /// By milliseconds since boot, as all times here: these waits do not outlive the process.
    refused_ms: u64,
    /// Since its refusal a message without it was accepted.
    convicted: bool,
    /// The message that made it a suspect.
    first: QueueId,
    /// Another message with it was refused as well when it was convicted.
    several: bool,
    /// The turns of its messages that come for the first time, and of those that were tried before: a message that fails
    /// again and again takes no turn from a new one.
    turns: [Turns; 2],
}

/// The turns of one kind of a suspect's messages.
#[derive(Clone, Copy, Debug, Default)]
struct Turns {
    refusals: u32,
    next_ms: u64,
}

/// Whether a claimed message is tried now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    /// It goes back to the queue until then, uncharged, and the next one is looked at.
    Later(Timestamp),
}

/// The suspects.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    known: Vec<Suspect>,
    /// What the present probe has looked at.
    looked_at: Vec<(QueueId, Likeness)>,
    /// How often it has looked.
    looks: usize,
    /// Whose messages were taken for spam, and when.
    spam: VecDeque<(Option<Address>, u64)>,
    /// Senders who wait because of that, and until when.
    stopped: VecDeque<(Option<Address>, u64)>,
    /// Messages whose last refusal ended the connection, and when.
    costly: VecDeque<(QueueId, u64)>,
}

/// How much a message resembles what was refused: whether it was itself, and what they have in common, what is convicted
/// before what is merely suspected. Then its octets: a small one asks as well, and what breaks transfers is mostly large.
type Likeness = (bool, usize, usize, u64);

impl Suspects {
    /// Whether a message is tried now. Recipients whose turn has not come are taken out of the claim, unless none
    /// is left. A probe after a refusal looks for a message that has nothing in common with it.
    pub(super) fn turn(&mut self, claim: &mut ClaimedMessage, probe: bool, now: Moment) -> Turn {
        self.forget(now);
        if let Some(until_ms) = self.next_turn(claim, now) {
            return Turn::Later(wall(until_ms, now));
        }
        if probe { self.least_alike(claim, now.wall) } else { Turn::Now }
    }

    /// Whether this message is the one to ask with. Each is looked at once and goes to the end of its lane, or out of
    /// it for a moment where other lanes come after it; then the one goes that resembles the refused ones least.
    fn least_alike(&mut self, claim: &ClaimedMessage, now: Timestamp) -> Turn {
        let shared = || self.known.iter().filter(|one| one.is_in(claim));
        let (convicted, shared) = (shared().filter(|one| one.convicted).count(), shared().count());
        let likeness = (claim.setbacks.count > 0, convicted, shared, claim.size_bytes);
        let looked_at = self.looked_at.iter().any(|(id, _)| *id == claim.id);
        let is_best = self.looked_at.iter().all(|(_, other)| likeness <= *other);
        let unlike = claim.setbacks.count == 0 && shared == 0;
        if unlike || self.looks >= LOOKS_MAX || looked_at && is_best {
            return Turn::Now;
        }
        self.looks += 1;
        if looked_at {
            return Turn::Later(now.after(PASSED_OVER));
        }
        self.looked_at.push((claim.id, likeness));
        let behind = matches!(claim.lane, Lane::Notice | Lane::Urgent);
        Turn::Later(if behind { now.after(PASSED_OVER) } else { now })
    }

    fn look_anew(&mut self) {
        self.looked_at.clear();
        self.looks = 0;
    }

    fn next_turn(&self, claim: &mut ClaimedMessage, now: Moment) -> Option<u64> {
        let stopped = self.stopped.iter().find(|(sender, _)| *sender == claim.reverse_path);
        if let Some((_, until_ms)) = stopped {
            return Some(*until_ms);
        }
        let kind = kind(claim);
        let waits = |is: &Trait| {
            let known = self.known.iter().find(|one| one.convicted && one.is == *is)?;
            Some(known.turns[kind].next_ms).filter(|next_ms| *next_ms > now.since_boot_ms)
        };
        if let Some(until_ms) = waits(&Trait::Sender(claim.reverse_path.clone())) {
            return Some(until_ms);
        }
        let mut earliest: Option<u64> = None;
        let (waiting, free) = std::mem::take(&mut claim.recipients).into_iter().partition(|one| {
            let until_ms = waits(&Trait::Recipient(one.address.clone()));
            earliest = earliest.into_iter().chain(until_ms).min();
            until_ms.is_some()
        });
        let (waiting, free): (Vec<_>, Vec<_>) = (waiting, free);
        let all_wait = free.is_empty() && !waiting.is_empty();
        claim.recipients = if all_wait { waiting } else { free };
        earliest.filter(|_| all_wait)
    }

    /// A transaction was refused in the account's name.
    pub(super) fn accuse(&mut self, claim: &ClaimedMessage, now: Moment) {
        self.look_anew();
        let recipients = claim.recipients.iter().take(RECIPIENTS_MAX);
        let recipients = recipients.map(|one| Trait::Recipient(one.address.clone()));
        for is in [Trait::Sender(claim.reverse_path.clone())].into_iter().chain(recipients) {
            if let Some(known) = self.known.iter_mut().find(|one| one.is == is) {
                known.refused_ms = now.since_boot_ms;
                continue;
            }
            if self.known.len() >= SUSPECTS_MAX {
                self.known.remove(0);
            }
            self.known.push(Suspect {
                is,
                refused_ms: now.since_boot_ms,
                convicted: false,
                first: claim.id,
                several: false,
                turns: <[Turns; 2]>::default(),
            });
        }
    }

    /// A transaction was accepted for `accepted` of its recipients: that clears what is in it, and convicts what
    /// is not.
    pub(super) fn accepted(&mut self, claim: &ClaimedMessage, accepted: &[usize]) {
        self.look_anew();
        let mut accepted_part = claim.clone();
        accepted_part.recipients.retain(|one| accepted.contains(&one.index));
        self.known.retain(|one| !one.is_in(&accepted_part));
        for one in &mut self.known {
            one.convicted = true;
        }
    }

    /// Whether something in this transaction is what an earlier refusal was about.
    pub(super) fn is_convicted(&self, claim: &ClaimedMessage) -> bool {
        self.known.iter().any(|one| one.convicted && one.is_in(claim))
    }

    /// Whether so has more than one message with it.
    pub(super) fn is_known_for_it(&self, claim: &ClaimedMessage) -> bool {
        self.known.iter().any(|one| one.convicted && one.several && one.is_in(claim))
    }

    /// The refusal of this transaction was its own.
    pub(super) fn charge(&mut self, claim: &ClaimedMessage, now: Moment) {
        let kind = kind(claim);
        for one in self.known.iter_mut().filter(|one| one.convicted && one.is_in(claim)) {
            one.refused_ms = now.since_boot_ms;
            one.several |= one.first != claim.id;
            if one.several {
                one.turns[kind].lengthen(now);
            }
        }
    }

    /// Whether this transaction has something in common with one that was refused, as far as that is known: after a
    /// restart nobody remembers what was.
    pub(super) fn is_like_a_refused_one(&self, claim: &ClaimedMessage) -> bool {
        claim.setbacks.count > 0
            || self.known.is_empty()
            || self.known.iter().any(|one| one.is_in(claim))
    }

    /// A message was taken for spam. Returns how many of its sender were within the hour, this one included.
    pub(super) fn spam(&mut self, claim: &ClaimedMessage, now: Moment) -> usize {
        self.forget(now);
        remember(&mut self.spam, (claim.reverse_path.clone(), now.since_boot_ms));
        self.spam.iter().filter(|(sender, _)| *sender == claim.reverse_path).count()
    }

    /// The mail of this message's sender waits for an hour. Returns whether that is news, and until when.
    pub(super) fn stop_sender(&mut self, claim: &ClaimedMessage, now: Moment) -> (bool, Timestamp) {
        let known = self.stopped.len();
        self.stopped.retain(|(sender, _)| *sender != claim.reverse_path);
        let is_news = self.stopped.len() == known;
        let until_ms = now.since_boot_ms.saturating_add(milliseconds(SPAM_WINDOW));
        remember(&mut self.stopped, (claim.reverse_path.clone(), until_ms));
        (is_news, wall(until_ms, now))
    }

    /// The refusal of a message has ended the connection, which will cost a login.
    pub(super) fn cost_a_connection(&mut self, id: QueueId, now: Moment) {
        self.costly.retain(|(one, _)| *one != id);
        remember(&mut self.costly, (id, now.since_boot_ms));
    }

    /// How long ago it was that the refusal of a message has ended a connection.
    pub(super) fn has_cost_a_connection(&self, id: QueueId, now: Moment) -> Option<Duration> {
        let (_, at_ms) = self.costly.iter().find(|(one, _)| *one == id)?;
        Some(Duration::from_millis(now.since_boot_ms.saturating_sub(*at_ms)))
    }

    /// A person says that all is well.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn forget(&mut self, now: Moment) {
        let old = |one: &Suspect| now.since_boot_ms.saturating_sub(one.refused_ms);
        self.known.retain(|one| old(one) < milliseconds(REMEMBERED));
        let since = |at_ms: u64| now.since_boot_ms.saturating_sub(at_ms);
        self.spam.retain(|(_, at_ms)| since(*at_ms) < milliseconds(SPAM_WINDOW));
        self.costly.retain(|(_, at_ms)| since(*at_ms) < milliseconds(REMEMBERED));
        self.stopped.retain(|(_, until_ms)| *until_ms > now.since_boot_ms);
    }
}

impl Suspect {
    fn is_in(&self, claim: &ClaimedMessage) -> bool {
        match &self.is {
            Trait::Sender(sender) => claim.reverse_path == *sender,
            Trait::Recipient(address) => claim.recipients.iter().any(|one| one.address == *address),
        }
    }
}

impl Turns {
    fn lengthen(&mut self, now: Moment) {
        let step = usize::try_from(self.refusals).unwrap_or(usize::MAX);
        let turn = TURNS[step.min(TURNS.len() - 1)];
        self.refusals = self.refusals.saturating_add(1);
        self.next_ms = now.since_boot_ms.saturating_add(milliseconds(turn));
    }
}

/// Which turns a message takes: 0 when it comes for the first time, 1 when it was tried before.
fn kind(claim: &ClaimedMessage) -> usize {
    usize::from(claim.setbacks.count > 0 || claim.recipients.iter().any(|one| one.attempts > 0))
}

/// Adds one; the oldest goes when there are too many.
fn remember<T>(all: &mut VecDeque<T>, one: T) {
    if all.len() >= REMEMBERED_MAX {
        all.pop_front();
    }
    all.push_back(one);
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn wall(until_ms: u64, now: Moment) -> Timestamp {
    now.wall.after(Duration::from_millis(until_ms.saturating_sub(now.since_boot_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock, ManualClock},
        delivery::fixtures::claimed,
    };

    fn claim(number: u8, sender: &str, recipients: &[&str]) -> ClaimedMessage {
        ClaimedMessage { reverse_path: sender.parse().ok(), ..claimed(number, recipients) }
    }

    fn turn(suspects: &mut Suspects, mut claim: ClaimedMessage, clock: &ManualClock) -> Turn {
        suspects.turn(&mut claim, false, clock.now())
    }

    #[test]
    fn an_accepted_message_of_others_convicts_and_one_of_the_same_clears() {
        let clock = ManualClock::new(Timestamp(0));
        let mut suspects = Suspects::default();
        let bad = claim(1, "bad@a.example", &["x@b.example"]);
        suspects.accuse(&bad, clock.now());
        assert!(!suspects.is_convicted(&bad), "nobody knows yet");
        suspects.accepted(&claim(2, "good@a.example", &["x@b.example"]), &[0]);
        assert!(suspects.is_convicted(&claim(3, "bad@a.example", &["y@b.example"])), "the sender");
        assert!(!suspects.is_convicted(&claim(4, "good@a.example", &["x@b.example"])));
        suspects.accepted(&claim(5, "bad@a.example", &["y@b.example"]), &[0]);
        assert!(!suspects.is_convicted(&bad), "it was not the sender after all");
    }

    #[test]
    fn what_is_convicted_waits_for_its_turn_and_the_other_recipients_go_on() {
        let clock = ManualClock::new(Timestamp(0));
        let mut suspects = Suspects::default();
        let bad = claim(1, "s@a.example", &["x@b.example"]);
        suspects.accuse(&bad, clock.now());
        suspects.accepted(&claim(2, "s@a.example", &["y@b.example"]), &[0]);
        assert_eq!(turn(&mut suspects, bad.clone(), &clock), Turn::Now);
        suspects.charge(&bad, clock.now());
        let other = claim(2, "t@a.example", &["x@b.example"]);
        assert_eq!(turn(&mut suspects, other.clone(), &clock), Turn::Now, "one may be bad alone");
        assert!(!suspects.is_known_for_it(&other));
        for minutes in [1, 5, 15, 15] {
            suspects.charge(&other, clock.now());
            assert!(suspects.is_known_for_it(&other));
            let wait = Duration::from_secs(60 * minutes);
            let until = Turn::Later(clock.wall().after(wait));
            assert_eq!(
                turn(&mut suspects, claim(3, "t@a.example", &["x@b.example"]), &clock),
                until
            );
            let mut both = claim(4, "t@a.example", &["x@b.example", "y@b.example"]);
            assert_eq!(suspects.turn(&mut both, false, clock.now()), Turn::Now);
            assert_eq!(both.recipients.iter().map(|one| one.index).collect::<Vec<_>>(), [1]);
            clock.advance(wait);
            assert_eq!(turn(&mut suspects, bad.clone(), &clock), Turn::Now);
        }
        clock.advance(REMEMBERED);
        turn(&mut suspects, bad.clone(), &clock);
        assert!(!suspects.is_convicted(&bad), "a day without a refusal");
    }

    #[test]
    fn messages_that_fail_again_and_again_take_no_turn_from_new_ones() {
        let clock = ManualClock::new(Timestamp(0));
        let mut suspects = Suspects::default();
        let first = claim(1, "s@a.example", &["x@b.example"]);
        let mut tried = claim(2, "s@a.example", &["y@b.example"]);
        tried.recipients[0].attempts = 1;
        suspects.accuse(&first, clock.now());
        suspects.accepted(&claim(3, "other@a.example", &["z@b.example"]), &[0]);
        for _ in 0..5 {
            suspects.charge(&tried, clock.now());
        }
        let Turn::Later(_) = turn(&mut suspects, tried, &clock) else { panic!("its turn is over") };
        let new = claim(4, "s@a.example", &["w@b.example"]);
        assert_eq!(turn(&mut suspects, new.clone(), &clock), Turn::Now);
        suspects.charge(&new, clock.now());
        assert_eq!(turn(&mut suspects, new, &clock), Turn::Later(clock.wall().after(TURNS[0])));
    }

    #[test]
    fn a_probe_rather_asks_with_a_suspect_than_with_a_convict() {
        let clock = ManualClock::new(Timestamp(0));
        let mut suspects = Suspects::default();
        suspects.accuse(&claim(1, "convict@a.example", &["x@b.example"]), clock.now());
        suspects.accepted(&claim(2, "good@a.example", &["y@b.example"]), &[0]);
        suspects.accuse(&claim(3, "suspect@a.example", &["z@b.example"]), clock.now());
        let by = |number, sender| claim(number, sender, &["w@b.example"]);
        let mut ask = |claim: &ClaimedMessage| {
            suspects.turn(&mut claim.clone(), true, clock.now()) == Turn::Now
        };
        let (convict, suspect) = (by(4, "convict@a.example"), by(5, "suspect@a.example"));
        assert!(!ask(&convict) && !ask(&suspect), "each is looked at");
        assert!(!ask(&convict) && ask(&suspect));
    }

    #[test]
    fn a_probe_passes_over_what_resembles_the_refused_one_once() {
        let clock = ManualClock::new(Timestamp(0));
        let mut suspects = Suspects::default();
        suspects.accuse(&claim(1, "bad@a.example", &["x@b.example"]), clock.now());
        for number in 2..5 {
            let mut same = claim(number, "bad@a.example", &["y@b.example"]);
            let later = Turn::Later(clock.wall());
            assert_eq!(
                suspects.turn(&mut same, true, clock.now()),
                later,
                "to the end of the line"
            );
        }
        let mut other = claim(9, "good@a.example", &["y@b.example"]);
        assert_eq!(suspects.turn(&mut other, true, clock.now()), Turn::Now);
        let mut again = claim(2, "bad@a.example", &["y@b.example"]);
        assert_eq!(
            suspects.turn(&mut again, true, clock.now()),
            Turn::Now,
            "there is nothing else"
        );
    }

    #[test]
    fn the_memory_is_bounded() {
        let clock = ManualClock::new(Timestamp(0));
        let mut suspects = Suspects::default();
        for number in 0..2 * SUSPECTS_MAX {
            let sender = format!("s{number}@a.example");
            suspects.accuse(&claim(1, &sender, &["x@b.example"]), clock.now());
        }
        assert_eq!(suspects.known.len(), SUSPECTS_MAX);
    }
}
