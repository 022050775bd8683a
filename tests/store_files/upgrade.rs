//! A long queue that an earlier version has written: how long the present one takes to open it, in how much memory.
//!
//! The octets are those of `samples/records-2.tar.gz`: its six messages and the four events of its day are there many times,
//! under ids of their own. A process of its own opens them, so that its memory is nobody else's.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use pillarbox::{
    budget::{AccountKey, Limit},
    clock::{Clock as _, ManualClock, SystemClock},
    queue::{Queue, id::QueueId, options::Options},
};

use super::{
    samples::{SOON_AFTER_2, WAITING_2, unpacked},
    stage::Stage,
};

/// What waits, and the recipients that were spent of the day.
const MESSAGES: usize = 10_000;
const SPENT: u32 = 2_004;
/// The events of the sample, each of one recipient.
const EVENTS: u32 = 4;
/// Until the queue is open, by a build without optimisations on a busy machine; docs/internals/testing.md has what it
/// usually is.
const SECONDS_MAX: f64 = 30.0;
/// What the process has grown by then: it keeps of each message a few hundred octets, not its record.
const OCTETS_MAX: u64 = 64 * 1024 * 1024;
/// The state directory, for the process that opens it.
const STATE: &str = "PILLARBOX_TEST_STATE";
/// Messages of a page.
const PAGE: usize = 1_000;

/// The ids of the copies of a message, itself among them.
fn copies(id: QueueId, count: usize) -> impl Iterator<Item = QueueId> {
    (0..count).map(move |number| {
        let mut bytes = *id.as_bytes();
        // The counter: they were all accepted in one millisecond.
        let counter = u32::from_be_bytes([bytes[6], bytes[7], bytes[8], bytes[9]]);
        let number = u32::try_from(number).unwrap();
        bytes[6..10].copy_from_slice(&(counter + number).to_be_bytes());
        QueueId::from_bytes(bytes)
    })
}

fn file(state: &Path, id: QueueId) -> PathBuf {
    state.join(format!("spool/{:02x}/{id}", id.as_bytes()[3]))
}

/// Everything under the key, with what stands behind it in its keys.
fn records(tree: &sled::Tree, key: &[u8]) -> Vec<(Vec<u8>, sled::IVec)> {
    let found = tree.scan_prefix(key).map(|entry| entry.unwrap());
    found.map(|(whole, value)| (whole[key.len()..].to_vec(), value)).collect()
}

/// The queue of the sample with as many messages and events, octet for octet as version 2 has written each.
fn inflated() -> Stage {
    let stage = unpacked("records-2.tar.gz");
    let state = stage.state();
    let index = sled::Config::new().path(state.join("queue.sled")).open().unwrap();
    let messages = index.open_tree("msg").unwrap();
    for (place, (id, _)) in WAITING_2.iter().enumerate() {
        let id: QueueId = id.parse().unwrap();
        let parts = records(&messages, id.as_bytes());
        assert!(!parts.is_empty() && parts[0].1[2] == 2, "a record of version 2");
        let count = (MESSAGES - place).div_ceil(WAITING_2.len());
        for copy in copies(id, count).skip(1) {
            fs::copy(file(&state, id), file(&state, copy)).unwrap();
            for (rest, value) in &parts {
                messages.insert([copy.as_bytes(), rest.as_slice()].concat(), value).unwrap();
            }
        }
    }
    let ledger = index.open_tree("ledger").unwrap();
    let events: Vec<_> = ledger.iter().map(|entry| entry.unwrap()).collect();
    assert_eq!(events.len(), EVENTS as usize);
    let last = events.last().unwrap().0.to_vec();
    let (sequence, rest) = last.split_first_chunk::<8>().unwrap();
    let next = u64::from_be_bytes(*sequence) + 1;
    for number in 0..u64::from(SPENT - EVENTS) {
        let (_, event) = &events[number as usize % events.len()];
        ledger.insert([&(next + number).to_be_bytes()[..], rest].concat(), event).unwrap();
    }
    index.flush().unwrap();
    drop((messages, ledger, index));
    stage
}

fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn ten_thousand_messages_of_version_2_are_opened_soon_in_little_memory_and_all_are_there() {
    let stage = inflated();
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "store_files::upgrade::child", "--ignored", "--nocapture"]);
    let output = child.env(STATE, stage.state()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let line = text
        .lines()
        .find_map(|line| line.split_once("opened in "))
        .unwrap_or_else(|| panic!("{text}"));
    println!("opened in {}", line.1);
}

#[tokio::test]
#[ignore = "runs as the child of the test above"]
async fn child() {
    let state = env::var_os(STATE).expect("the parent names the directory");
    let clock = ManualClock::new(SOON_AFTER_2);
    let (options, before) = (Options::new(state.into()), memory("VmRSS"));
    let start = SystemClock::new().now().since_boot_ms;
    let queue = Queue::open(options, Arc::new(clock.clone())).unwrap();
    let seconds = (SystemClock::new().now().since_boot_ms - start) as f64 / 1_000.0;
    let grown = memory("VmHWM").saturating_sub(before);
    println!("opened in {seconds:.2} s, with {} MiB", grown / 1024 / 1024);
    assert!(seconds < SECONDS_MAX, "{seconds} s");
    assert!(grown < OCTETS_MAX, "{grown} octets");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = queue.list(after, PAGE).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        found.extend(page.iter().map(|one| (one.id, one.record.recipients[0].state.name())));
    }
    let mut expected: Vec<(QueueId, &str)> = Vec::new();
    for (place, (id, name)) in WAITING_2.into_iter().enumerate() {
        let count = (MESSAGES - place).div_ceil(WAITING_2.len());
        expected.extend(copies(id.parse().unwrap(), count).map(|id| (id, name)));
    }
    expected.sort();
    assert_eq!(found.len(), MESSAGES);
    assert!(found == expected, "the same messages in the same states");
    let day = queue.ledger(AccountKey::MAIN, clock.now(), Limit::of(SPENT + 7)).await.unwrap();
    assert_eq!(day.room, 7, "the day is as spent as it was");
    queue.close().await;
}
