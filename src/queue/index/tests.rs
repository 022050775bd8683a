//! The contract of an index, run against the one in memory, the one in sled and the one in PostgreSQL.
//!
//! Each test is a sentence about the index; `contract!` runs it on each. An index can be opened again, as the next
//! process does.

use rustix::io::Errno;

use super::*;
use crate::{
    clock::{Clock as _, Kind, ManualClock},
    message::envelope::{BodyKind, Lane},
    queue::{
        ending::Ending,
        faults::Step,
        memory_index::Memory,
        record::Setbacks,
        schedule::{Due, Schedule},
        sled_opening::SledFiles,
        state::{AccountCondition, Recipient, RecipientState},
    },
};
#[cfg(feature = "fleet")]
use crate::{fleet, queue::database::Place};

const START: Timestamp = Timestamp(1_800_000_000_000);

/// An index that is open, and where it comes from.
struct Fixture {
    directory: tempfile::TempDir,
    source: Box<dyn IndexSource>,
    faults: Faults,
    index: Option<Arc<dyn Index>>,
    /// The server of the database.
    #[cfg(feature = "fleet")]
    _scene: Option<fleet::tests::scene::Scene>,
}

impl Fixture {
    fn memory() -> Self {
        let faults = Faults::random(0, 0);
        Self::of(Box::new(Memory::new(faults.clone()).unwrap()), faults)
    }

    fn sled() -> Self {
        Self::of(Box::new(SledFiles), Faults::random(0, 0))
    }

    #[cfg(feature = "fleet")]
    fn postgres() -> Self {
        let (scene, faults) = (fleet::tests::scene::Scene::new(), Faults::random(0, 0));
        let options = fleet::Options { host: "a".into(), database: scene.options() };
        let clock = Arc::new(crate::clock::SystemClock::new());
        let place = Place::new(&options, clock, faults.clone()).unwrap();
        Self { _scene: Some(scene), ..Self::of(Box::new(place), faults) }
    }

    fn of(source: Box<dyn IndexSource>, faults: Faults) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut fixture = Self {
            directory,
            source,
            faults,
            index: None,
            #[cfg(feature = "fleet")]
            _scene: None,
        };
        fixture.reopen();
        fixture
    }

    fn reopen(&mut self) {
        drop(self.index.take());
        let path = self.directory.path();
        self.index = Some(self.source.open(path, false, &self.faults).unwrap());
    }

    fn index(&self) -> &dyn Index {
        self.index.as_deref().unwrap()
    }

    /// Writes that these messages wait.
    fn put(&self, records: &[(QueueId, MessageRecord)]) {
        let mut changes = Changes::default();
        for (id, record) in records {
            changes.put(*id, None, Some(record.clone()));
        }
        self.index().apply(&changes).unwrap();
    }

    /// Everything that it says of messages.
    fn seen(&self) -> String {
        let index = self.index();
        let messages: Vec<Entry> = index.messages(None).collect();
        let history: Vec<Entry> = index.history(None).collect();
        let news: Vec<_> = News::ALL.map(|news| index.dead_ids(news, None, 9)).into();
        let ended = index.ended_before(START.after(YEAR), 9);
        let (ledger, account) = (index.ledger().map(|found| found.events), index.accounts());
        format!("{messages:?}\n{history:?}\n{news:?}\n{ended:?}\n{ledger:?}\n{account:?}")
    }
}

const YEAR: Duration = Duration::from_secs(366 * 24 * 3_600);
const HOUR: Duration = Duration::from_secs(3_600);

fn id(number: u8) -> QueueId {
    QueueId::from_bytes([number; 16])
}

fn record(lane: Lane, state: RecipientState) -> MessageRecord {
    MessageRecord {
        accepted_at: START,
        reverse_path: "root@web01.example.org".parse().ok(),
        body: BodyKind::SevenBit,
        internationalized: false,
        size_bytes: 7,
        lane,
        lifetime_from: START,
        schedule: None,
        told: vec![],
        delay_told: false,
        notify: BTreeMap::new(),
        about: crate::queue::about::About::unknown(),
        attempts: Vec::new(),
        notices: vec![],
        setbacks: Setbacks::default(),
        end: None,
        resend_of: None,
        rule: None,
        fold: None,
        keeps_place: false,
        route: None,
        account: None,
        attempts_by: Vec::new(),
        recipients: vec![Recipient {
            address: "a@example.net".parse().unwrap(),
            state,
            attempts: 0,
            last_reply: None,
        }],
    }
}

fn due_after(lane: Lane, hours: u32) -> MessageRecord {
    record(lane, RecipientState::Queued { due: START.after(HOUR * hours), resend: false })
}

fn dead() -> RecipientState {
    RecipientState::Dead { since: START, reason: "550 no".into() }
}

fn account() -> AccountState {
    AccountState {
        condition: AccountCondition::PausedQuota,
        until: Some(START.after(HOUR)),
        reason: "550 5.4.5".into(),
        ..AccountState::open(START)
    }
}

fn second() -> AccountState {
    AccountState { reason: "535 5.7.8".into(), ..account() }
}

/// One change of each kind.
fn one_of_each() -> Changes {
    let accounts = [(AccountKey::MAIN, account()), (AccountKey::of("second"), second())].into();
    let mut changes = Changes { accounts, ..Changes::default() };
    changes.put(id(1), None, Some(due_after(Lane::Normal, 1)));
    changes.put(id(2), None, Some(record(Lane::Bulk, dead())));
    let relayed = record(Lane::Normal, RecipientState::Relayed { at: START });
    changes.finish(id(3), &relayed, relayed.clone(), Ending::Relayed.at(START));
    let at = ManualClock::new(START).now();
    changes
        .ledger
        .insert(4, Some(Event { at, recipients: 2, origin: 7, account: AccountKey::MAIN }));
    changes
}

fn ids(entries: Entries<'_>) -> Vec<QueueId> {
    entries.map(|entry| entry.unwrap().0).collect()
}

/// Runs each sentence on each index.
macro_rules! contract {
    ($(fn $name:ident(mut $fixture:ident) $body:block)*) => {
        $(mod $name {
            use super::*;

            #[allow(unused_mut, reason = "only some sentences open the index again")]
            fn run(mut $fixture: Fixture) $body

            #[test]
            fn memory() {
                run(Fixture::memory());
            }

            #[test]
            fn sled() {
                run(Fixture::sled());
            }

            #[cfg(feature = "fleet")]
            #[test]
            fn postgres() {
                run(Fixture::postgres());
            }
        })*
    };
}

contract! {
    fn what_was_written_is_there_also_when_it_is_opened_again(mut fixture) {
        fixture.index().begin(true, &[]).unwrap();
        fixture.index().apply(&one_of_each()).unwrap();
        let seen = fixture.seen();
        fixture.reopen();
        assert_eq!(fixture.seen(), seen);
        assert_eq!(fixture.index().message(id(1)), Ok(Some(due_after(Lane::Normal, 1))));
        assert_eq!(fixture.index().message(id(3)), Ok(None));
        assert!(fixture.index().finished(id(3)).unwrap().is_some());
        assert_eq!(fixture.index().accounts(), Ok(one_of_each().accounts));
        assert_eq!((fixture.index().is_new(), fixture.index().is_budget_unknown()), (Ok(false), Ok(true)));
        fixture.index().apply(&Changes { budget_known: true, ..one_of_each() }).unwrap();
        fixture.reopen();
        assert_eq!(fixture.index().is_budget_unknown(), Ok(false));
    }

    fn what_is_written_of_one_account_leaves_the_others_as_they_are(mut fixture) {
        let (name, mut expected) = (AccountKey::of, BTreeMap::new());
        let keys = [AccountKey::MAIN, name("second"), name("third"), name("shop"), name("office"), name("alarms")];
        // Long ones take several values, which a short one later leaves nothing of.
        for (round, length) in [10, 9_000, 20].into_iter().enumerate() {
            for key in keys.into_iter().cycle().skip(round).take(keys.len()) {
                let state = AccountState { reason: "5".repeat(length), ..account() };
                let accounts: BTreeMap<_, _> = [(key, state)].into();
                expected.extend(accounts.clone());
                fixture.index().apply(&Changes { accounts, ..Changes::default() }).unwrap();
                assert!(fixture.index().accounts().as_ref() == Ok(&expected), "{round}: {key:?}");
            }
        }
        fixture.reopen();
        assert!(fixture.index().accounts() == Ok(expected));
    }

    fn a_disk_that_fails_is_no_damage_and_nothing_of_the_write_is_there(mut fixture) {
        fixture.put(&[(id(9), due_after(Lane::Urgent, 0))]);
        let before = fixture.seen();
        for errno in [Errno::IO, Errno::NOSPC, Errno::MFILE] {
            fixture.faults.fail_next(Step::IndexWrite, errno);
            let written = fixture.index().apply(&one_of_each());
            assert!(matches!(written, Err(IndexError::Failed(_))), "{errno:?}: {written:?}");
            assert_eq!(fixture.seen(), before, "{errno:?}");
        }
        fixture.index().apply(&one_of_each()).unwrap();
        assert_ne!(fixture.seen(), before);
    }

    fn a_step_of_the_clock_moves_what_attempts_wait_for_and_nothing_that_a_person_has_set(mut fixture) {
        let clock = ManualClock::new(START);
        let mut timeline = Timeline::new(clock.now());
        fixture.index().set_timeline(timeline.clone());
        fixture.index().apply(&Changes { timeline: Some(timeline.clone()), ..one_of_each() }).unwrap();
        let schedule = Some(Schedule::new(START.after(HOUR * 900)));
        fixture.put(&[(id(5), MessageRecord { schedule, ..due_after(Lane::Normal, 1) })]);
        for step in 0..3 {
            clock.set_wall(START.after(HOUR * step));
            timeline.look(clock.now());
            fixture.index().set_timeline(timeline.clone());
            let turn = |number| {
                let record = fixture.index().message(id(number)).unwrap().unwrap();
                Turn::of(id(number), &record).unwrap().due
            };
            assert_eq!(turn(1), START.after(HOUR * (step + 1)).into());
            assert_eq!(turn(5), Due { at: START.after(HOUR * 900), is_scheduled: true });
        }
    }

    fn messages_are_in_the_order_of_their_ids_and_the_history_in_the_reverse(mut fixture) {
        assert_eq!(fixture.index().newest(), Ok(None));
        for number in [3, 1, 2] {
            fixture.put(&[(id(number), due_after(Lane::Normal, 1))]);
            let mut changes = Changes::default();
            let end = record(Lane::Normal, RecipientState::Relayed { at: START });
            changes.finish(id(10 + number), &end, end.clone(), Ending::Relayed.at(START));
            fixture.index().apply(&changes).unwrap();
        }
        let index = fixture.index();
        assert_eq!(ids(index.messages(None)), [id(1), id(2), id(3)]);
        assert_eq!(ids(index.messages(Some(id(1)))), [id(2), id(3)]);
        assert_eq!(index.newest(), Ok(Some(id(3))));
        assert_eq!(ids(index.history(None)), [id(13), id(12), id(11)]);
        assert_eq!(ids(index.history(Some(id(12)))), [id(11)]);
        assert_eq!(index.oldest_finished(), Ok(Some(id(11))));
    }

    fn ends_are_found_from_either_side_and_forgotten_with_their_messages(mut fixture) {
        let end = |number: u8| EndKey { at: START.after(HOUR * u32::from(number)), id: id(number) };
        for number in [2, 1, 3] {
            let mut changes = Changes::default();
            let relayed = record(Lane::Normal, RecipientState::Relayed { at: START });
            changes.finish(id(number), &relayed, relayed.clone(), Ending::Relayed.at(end(number).at));
            fixture.index().apply(&changes).unwrap();
        }
        let index = fixture.index();
        assert_eq!(index.ends_beyond(3, 9), Ok(vec![]));
        assert_eq!(index.ends_beyond(1, 9), Ok(vec![end(1), end(2)]));
        assert_eq!(index.ends_beyond(0, 1), Ok(vec![end(1)]));
        assert_eq!(index.ended_before(end(3).at, 9), Ok(vec![end(1), end(2)]));
        assert_eq!(index.ended_before(end(3).at, 1), Ok(vec![end(1)]));
        assert_eq!(index.ended_after(end(1).at, 9), Ok(vec![end(3), end(2)]));
        assert_eq!(index.ended_after(end(1).at, 1), Ok(vec![end(3)]));
        let mut changes = Changes::default();
        changes.forget_end(end(2));
        changes.move_end(end(3), START);
        index.apply(&changes).unwrap();
        assert_eq!(index.finished(id(2)), Ok(None));
        assert_eq!(index.ends_beyond(1, 9), Ok(vec![EndKey { at: START, id: id(3) }]));
        assert_eq!(index.ends_beyond(2, 9), Ok(vec![]));
        assert_eq!(index.ended_after(Timestamp(0), 9), Ok(vec![end(1), EndKey { at: START, id: id(3) }]));
    }

    fn what_there_is_to_tell_is_found_by_its_kind_in_pages(mut fixture) {
        let told = |number: usize| MessageRecord { told: vec![0; number], ..record(Lane::Normal, dead()) };
        fixture.put(&[(id(1), told(0)), (id(2), told(1)), (id(3), told(0)), (id(4), due_after(Lane::Normal, 1))]);
        let index = fixture.index();
        assert_eq!(index.dead_ids(News::Untold, None, 9), Ok(vec![id(1), id(3)]));
        assert_eq!(index.dead_ids(News::Untold, None, 1), Ok(vec![id(1)]));
        assert_eq!(index.dead_ids(News::Untold, Some(id(1)), 9), Ok(vec![id(3)]));
        assert_eq!(index.dead_ids(News::Told, None, 9), Ok(vec![id(2)]));
        assert_eq!(index.has_dead(&DeadKey { news: News::Told, id: id(2) }), Ok(true));
        let mut changes = Changes::default();
        changes.put(id(1), Some(&told(0)), Some(told(1)));
        index.apply(&changes).unwrap();
        assert_eq!(index.has_dead(&DeadKey { news: News::Untold, id: id(1) }), Ok(false));
        assert_eq!(index.dead_ids(News::Told, None, 9), Ok(vec![id(1), id(2)]));
    }

    fn a_step_of_the_clock_moves_every_time_and_writes_none(mut fixture) {
        let clock = ManualClock::new(START);
        let mut timeline = Timeline::new(clock.now());
        fixture.index().set_timeline(timeline.clone());
        fixture.index().apply(&Changes { timeline: Some(timeline.clone()), ..one_of_each() }).unwrap();
        // Three hours that never were.
        clock.set_wall(START.after(HOUR * 3));
        timeline.look(clock.now());
        fixture.index().set_timeline(timeline.clone());
        let found = fixture.index().message(id(1)).unwrap().unwrap();
        let due = START.after(HOUR * 4);
        assert_eq!((found.accepted_at, Turn::of(id(1), &found).unwrap().due.at), (clock.wall(), due));
        assert_eq!(fixture.index().accounts().unwrap()[&AccountKey::MAIN].until, Some(due));
        let known = fixture.index().timeline().unwrap();
        assert_eq!(known.wall(Kind::Past, known.stored(Kind::Past, clock.wall())), clock.wall());
        // What is written from now on is read as it was written.
        fixture.put(&[(id(5), due_after(Lane::Urgent, 5))]);
        assert_eq!(fixture.index().message(id(5)), Ok(Some(due_after(Lane::Urgent, 5))));
    }
}

#[test]
fn a_sync_that_fails_is_told_and_the_index_is_in_doubt_from_then_on() {
    for step in [Step::IndexFlush, Step::IndexSync] {
        for errno in [Errno::IO, Errno::NOSPC, Errno::MFILE] {
            let mut fixture = Fixture::sled();
            fixture.faults.fail_next(step, errno);
            let written = fixture.index().apply(&one_of_each());
            assert!(
                matches!(written, Err(IndexError::Failed(_))),
                "{step:?} {errno:?}: {written:?}"
            );
            let mark = fixture.directory.path().join("queue.sled.unsynced");
            assert!(mark.exists(), "{step:?} {errno:?}");
            fixture.reopen();
            assert!(!mark.exists(), "it was written anew");
            fixture.index().apply(&one_of_each()).unwrap();
        }
    }
}
