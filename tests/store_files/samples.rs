//! Queues that earlier versions have written, kept as they were: an upgrade finds everything that was in them.
//!
//! `samples/records-1.tar.gz` is the queue of a sandbox whose records and trailers are of version 1: four messages
//! relayed and kept, a day of four spent with them, and of four more one held, one scheduled and two waiting.

use std::{fs, path::Path, process::Command, sync::Arc};

use pillarbox::{
    clock::{Clock as _, ManualClock, Timestamp},
    queue::{Queue, options::Options},
};

use super::stage::Stage;

/// 2026-11-28T19:30:00Z, some minutes after it was written.
const SOON_AFTER: Timestamp = Timestamp(1_795_894_200_000);

fn unpacked(sample: &str) -> Stage {
    let stage = Stage::new();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store_files/samples");
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive.join(sample)).arg("-C").arg(stage.state());
    assert!(tar.status().unwrap().success());
    stage
}

/// The recipients' states by subject, in the order of acceptance, once the queue has been opened.
async fn states(stage: &Stage) -> Vec<(String, &'static str)> {
    let clock = ManualClock::new(SOON_AFTER);
    let queue = Queue::open(Options::new(stage.state()), Arc::new(clock.clone())).unwrap();
    let ids = stage_ids(stage);
    let mut states = Vec::new();
    for id in ids {
        let found = queue.show(id.parse().unwrap()).await.unwrap().unwrap();
        states.push((id, found.record.recipients[0].state.name()));
    }
    assert_eq!(queue.ledger(clock.now(), 4.into()).await.unwrap().room, 0, "the day stays spent");
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
    assert_eq!(states(&stage).await, waiting());
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
    assert_eq!(states(&stage).await, waiting());
}
