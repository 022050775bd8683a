//! Queues that earlier versions have written, kept as they were: an upgrade finds everything that was in them.
//!
//! `samples/records-1.tar.gz` is the queue of a sandbox whose records and trailers are of version 1: four messages
//! relayed and kept, a day of four spent with them, and of four more one held, one scheduled and two waiting.
//! `samples/records-2.tar.gz` is one of version 2: four relayed, and of six more three folded, one held and two waiting.
//! `samples/records-3.tar.gz` is one of version 3 with two accounts: three relayed, which is all of the main one's day of two; of two more
//! one was refused for now as the second account's, and one waits for the main one.

use std::{fs, path::Path, process::Command, sync::Arc};

use pillarbox::{
    budget::AccountKey,
    clock::{Clock as _, ManualClock, Timestamp},
    message::envelope::Lane,
    queue::{Queue, options::Options},
};

use super::stage::Stage;

/// 2026-11-28T19:30:00Z, some minutes after the first was written.
const SOON_AFTER: Timestamp = Timestamp(1_795_894_200_000);
/// 2026-11-28T23:45:00Z, the same of the second.
pub(super) const SOON_AFTER_2: Timestamp = Timestamp(1_795_909_500_000);

/// 2026-11-29T12:50:00Z, the same of the third.
const SOON_AFTER_3: Timestamp = Timestamp(1_795_956_600_000);

pub(super) fn unpacked(sample: &str) -> Stage {
    let stage = Stage::new();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store_files/samples");
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive.join(sample)).arg("-C").arg(stage.state());
    assert!(tar.status().unwrap().success());
    stage
}

/// The recipients' states by subject, in the order of acceptance, once the queue has been opened.
async fn states(stage: &Stage, now: Timestamp) -> Vec<(String, &'static str)> {
    let clock = ManualClock::new(now);
    let queue = Queue::open(Options::new(stage.state()), Arc::new(clock.clone())).unwrap();
    let ids = stage_ids(stage);
    let mut states = Vec::new();
    for id in ids {
        let found = queue.show(id.parse().unwrap()).await.unwrap().unwrap();
        states.push((id, found.record.recipients[0].state.name()));
    }
    assert_eq!(
        queue.ledger(AccountKey::MAIN, clock.now(), 4.into()).await.unwrap().room,
        0,
        "the day stays spent"
    );
    queue.close().await;
    states
}

/// The messages whose files are in the spool, in the order of acceptance.
fn stage_ids(stage: &Stage) -> Vec<String> {
    let files =
        stage.files().into_keys().filter(|path| path.starts_with(stage.state().join("spool")));
    let names = files.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let mut ids: Vec<_> = names.filter(|name| !name.contains('.')).collect();
    ids.sort();
    ids
}

const WAITING: [(&str, &str); 4] = [
    ("06h277d0ar000000dhjx51ywym", "queued"),
    ("06h277d0bw0000009nref687xc", "held"),
    ("06h277d0d4000000bnsd622adw", "queued"),
    ("06h277d0e4000000acpwkrn3gr", "queued"),
];

fn waiting() -> Vec<(String, &'static str)> {
    WAITING.map(|(id, state)| (id.to_owned(), state)).to_vec()
}

#[tokio::test]
async fn a_queue_with_records_of_version_1_is_opened_with_everything_in_it() {
    let stage = unpacked("records-1.tar.gz");
    let said = stage.say(&["check"]);
    assert!(said.contains("4 messages"), "{said}");
    assert_eq!(states(&stage, SOON_AFTER).await, waiting());
    let clock = ManualClock::new(SOON_AFTER);
    let queue = Queue::open(Options::new(stage.state()), Arc::new(clock)).unwrap();
    let left = queue.history(None, 10).await.unwrap();
    let relayed = left.iter().filter(|one| one.record.recipients[0].state.name() == "relayed");
    assert_eq!(relayed.count(), 4);
    queue.close().await;
}

#[tokio::test]
async fn its_spool_files_alone_give_the_same_messages() {
    let stage = unpacked("records-1.tar.gz");
    fs::remove_dir_all(stage.state().join("queue.sled")).unwrap();
    assert_eq!(states(&stage, SOON_AFTER).await, waiting());
}

pub(super) const WAITING_2: [(&str, &str); 6] = [
    ("06h28znjar000000gh2r0dt1zr", "queued"),
    ("06h28znjqr000000rpqqhj3c04", "queued"),
    ("06h28znk68000000ts3bsk0474", "queued"),
    ("06h28znkg8000000j1kc2hwwdg", "queued"),
    ("06h28znqqc000000rj1tka847g", "held"),
    ("06h28znrqc000000ztcpjr6ecr", "queued"),
];

#[tokio::test]
async fn a_queue_of_one_account_is_the_main_account_s_with_its_rules_and_storms() {
    for keep_index in [true, false] {
        let stage = unpacked("records-2.tar.gz");
        if !keep_index {
            fs::remove_dir_all(stage.state().join("queue.sled")).unwrap();
        }
        let expected = WAITING_2.map(|(id, state)| (id.to_owned(), state));
        assert_eq!(states(&stage, SOON_AFTER_2).await, expected, "index: {keep_index}");
        let clock = Arc::new(ManualClock::new(SOON_AFTER_2));
        let queue = Queue::open(Options::new(stage.state()), clock).unwrap();
        for (id, lane) in [(WAITING_2[0].0, Lane::Normal), (WAITING_2[5].0, Lane::Urgent)] {
            let found = queue.show(id.parse().unwrap()).await.unwrap().unwrap();
            assert_eq!(found.record.lane, lane);
        }
        let account = queue.account_state(AccountKey::MAIN).await.unwrap();
        assert_eq!(account.is_some(), keep_index, "an index that is made anew knows of no login");
        queue.close().await;
    }
}

#[tokio::test]
async fn a_queue_whose_attempts_have_no_account_is_opened_with_all_of_them() {
    let stage = unpacked("records-3.tar.gz");
    assert!(stage.say(&["check"]).contains("2 messages"));
    let clock = ManualClock::new(SOON_AFTER_3);
    let queue = Queue::open(Options::new(stage.state()), Arc::new(clock.clone())).unwrap();
    let mut found = Vec::new();
    for id in stage_ids(&stage) {
        let shown = queue.show(id.parse().unwrap()).await.unwrap().unwrap();
        let one = &shown.record.recipients[0];
        found.push((
            one.address.to_string(),
            one.state.name(),
            one.attempts,
            one.last_reply.is_some(),
        ));
    }
    let waiting = |to: &str, attempts, said| (to.to_owned(), "queued", attempts, said);
    assert_eq!(found, [waiting("full@example.net", 1, true), waiting("ok4@example.org", 0, false)]);
    assert_eq!(queue.history(None, 10).await.unwrap().len(), 3);
    assert_eq!(queue.ledger(AccountKey::MAIN, clock.now(), 2.into()).await.unwrap().room, 0);
    queue.close().await;
}
