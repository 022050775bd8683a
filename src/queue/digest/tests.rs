//! Digests against the records that they are of, and their pages against a plain map.

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::queue::{fixtures::envelope, fold::Fold};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn id(number: u32) -> QueueId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    QueueId::from_bytes(bytes)
}

fn record(recipients: usize) -> MessageRecord {
    let mut envelope = envelope(NOW);
    envelope.forward_paths =
        (0..recipients).map(|number| format!("r{number}@example.net").parse().unwrap()).collect();
    MessageRecord::new(&envelope, 1, "")
}

#[test]
fn a_digest_is_due_as_its_record_is_whatever_its_recipients_wait_for() {
    let at = |minutes: u64| NOW.after(Duration::from_secs(60 * minutes));
    let mut deferred = record(4);
    for (recipient, minutes) in deferred.recipients.iter_mut().zip([9, 3, 9, 5]) {
        recipient.state = RecipientState::Queued { due: at(minutes), resend: minutes == 5 };
    }
    let scheduled = MessageRecord { schedule: Some(Schedule::new(at(7))), ..deferred.clone() };
    let mut begun = scheduled.clone();
    begun.schedule.as_mut().unwrap().has_come = true;
    let fold = Fold { storm: id(1), from: String::new(), told: None };
    let folded = MessageRecord { fold: Some(fold), ..record(2) };
    let mut ended = record(3);
    let reason = "550 5.1.1 gone".to_owned();
    ended.recipients[0].state = RecipientState::Dead { since: NOW, reason: reason.clone() };
    ended.recipients[1].state = RecipientState::Held { since: NOW, reason };
    ended.recipients[2].state =
        RecipientState::Reserved { reservation: 1, since: NOW, resend: false };
    for record in [record(1), deferred, scheduled, begun, folded, ended] {
        let (digest, mut dues) = (Digest::of(id(1), &record), BTreeMap::new());
        let waiting = record.recipients.iter().filter_map(|one| record.due(&one.state));
        waiting.for_each(|due| *dues.entry(due).or_insert(0) += 1);
        assert_eq!(digest.dues().collect::<Vec<_>>(), dues.into_iter().collect::<Vec<_>>());
        assert_eq!(digest.waits_since(), record.not_before_schedule(record.accepted_at));
        assert_eq!(digest.is_scheduled(NOW), record.scheduled_for(NOW).is_some());
        assert_eq!(digest.is_refused, record.first_refusal().is_some());
        let queued = record.recipients.iter().filter(|one| one.state.name() != "reserved");
        let ends = record.ended().count() + usize::from(record.has_state("held", NOW));
        assert_eq!(digest.queued() as usize + ends, queued.count());
        assert_eq!(digest.has_ends(), ends > 0);
    }
    assert!(size_of::<Digest>() <= 64, "{}", size_of::<Digest>());
    assert_eq!(Digest::of(id(1), &record(3)).rare, None, "most messages take no more");
}

#[test]
fn whatever_comes_and_goes_is_known_in_order_and_the_pages_stay_filled() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut digests, mut known) = (Digests::of_nothing(), BTreeMap::new());
    for step in 0..20_000_u32 {
        // It grows, then it shrinks.
        let comes = random.u8(0..10) < if step < 8_000 { 8 } else { 3 };
        let number = if random.bool() { step } else { random.u32(0..=step) };
        if comes {
            let record = record(random.usize(1..3));
            digests.note(id(number), Some(&record));
            known.insert(id(number), Digest::of(id(number), &record));
        } else {
            let behind = known.range(id(number)..).next().map(|(id, _)| *id);
            let gone = behind.unwrap_or_else(|| id(number));
            digests.note(gone, None);
            known.remove(&gone);
        }
        let pages = &digests.pages;
        assert!(pages.iter().all(|page| !page.is_empty() && page.len() <= PAGE), "seed {seed}");
        assert!(pages.len() <= 2 + known.len() * 4 / PAGE, "seed {seed}: {} pages", pages.len());
        assert_eq!(digests.length, known.len());
    }
    let after = known.keys().nth(known.len() / 3).copied();
    for after in [None, after, after.map(|_| id(u32::MAX))] {
        let behind: Vec<_> =
            known.values().filter(|one| Some(one.id) > after).take(999).cloned().collect();
        assert_eq!(digests.after(after, 999), behind, "seed {seed}");
    }
}

#[test]
fn of_a_queue_that_is_too_long_the_beginning_is_known_and_goes_on_when_there_is_room() {
    let (mut digests, record) = (Digests::of_nothing(), record(1));
    let number = |place: usize| id(u32::try_from(2 * place).unwrap());
    for place in 0..DIGESTS_MAX + 5 {
        digests.note(number(place), Some(&record));
    }
    assert_eq!((digests.length, digests.is_whole(), digests.room()), (DIGESTS_MAX, false, 0));
    assert_eq!(digests.last(), Some(number(DIGESTS_MAX - 1)));
    // Into the middle: the last one is not known any more.
    digests.note(id(7), Some(&record));
    assert_eq!((digests.length, digests.last()), (DIGESTS_MAX, Some(number(DIGESTS_MAX - 2))));
    for place in 0..10 {
        digests.note(number(place), None);
    }
    assert_eq!(digests.room(), 10);
    digests.note(number(DIGESTS_MAX), Some(&record));
    assert_eq!(digests.room(), 10, "what is behind is not known until it has been read");
    let behind = [DIGESTS_MAX - 1, DIGESTS_MAX, DIGESTS_MAX + 1].map(number);
    digests.append(behind.iter().map(|id| (*id, &record)), true);
    assert_eq!((digests.is_whole(), digests.last()), (true, Some(number(DIGESTS_MAX + 1))));
}
