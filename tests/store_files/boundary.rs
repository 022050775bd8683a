//! Queues that are not to be touched: a daemon has it, a newer program wrote it, it belongs to another user.

use pillarbox::budget::AccountKey;
use std::fs;

use pillarbox::queue::{Outcome, Queue, options::Options, state::AccountState};

use super::stage::{NOW, Stage, envelope};

#[tokio::test]
async fn a_queue_in_use_is_left_alone_and_the_words_say_how_to_stop_the_daemon() {
    let stage = Stage::new();
    let store = stage.open();
    let file = stage.made("empty", b"");
    let target = stage.path("mbox");
    for arguments in
        [&["check"][..], &["import", &file], &["export", "--format", "mbox", "--to", &target]]
    {
        let said = stage.refused(arguments, 75);
        assert!(said.contains("is in use by another pillarbox (process "), "{said}");
        assert!(said.contains("systemctl stop pillarbox"), "{said}");
    }
    store.close().await;
    drop(store);
    stage.say(&["check"]);
    assert!(!fs::exists(&target).unwrap());
}

#[test]
fn a_directory_without_a_queue_is_no_empty_queue() {
    let stage = Stage::new();
    let said = stage.refused(&["check"], 65);
    assert!(said.contains("there is no queue in") && said.contains("--directory"), "{said}");
    assert_eq!(stage.files().len(), 0);
}

/// Writes `layout` where the index keeps the version of its layout.
fn set_layout(stage: &Stage, layout: u32) {
    let database = sled::open(stage.state().join("queue.sled")).unwrap();
    database.open_tree("meta").unwrap().insert("schema", &layout.to_be_bytes()).unwrap();
    database.flush().unwrap();
}

#[tokio::test]
async fn what_a_newer_program_wrote_is_not_opened_but_can_be_taken_out() {
    let stage = Stage::new();
    let store = stage.open();
    stage.accept(&store, envelope(&["a@x.example"]), b"A: b\r\n").await;
    store.close().await;
    drop(store);
    set_layout(&stage, 99);
    let before = stage.files();
    let clock = std::sync::Arc::new(pillarbox::clock::ManualClock::new(NOW));
    let refused = Queue::open(Options::new(stage.state()), clock).unwrap_err().to_string();
    assert!(refused.contains("left untouched") && refused.contains("layout 99"), "{refused}");
    let said = stage.refused(&["check"], 65);
    assert!(
        said.contains("newer version") && said.contains("install the version that wrote it"),
        "{said}"
    );
    let said = stage.say(&["export", "--format", "maildir", "--to", &stage.path("out")]);
    assert!(said.contains("1 message written"), "{said}");
    let spool = |files: &std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>| {
        let spool = files.iter().filter(|(path, _)| path.starts_with(stage.state().join("spool")));
        spool.map(|(path, bytes)| (path.clone(), bytes.clone())).collect::<Vec<_>>()
    };
    assert_eq!(spool(&stage.files()), spool(&before));
}

/// Raises the version of what the index or a spool file holds, with checksums that fit.
#[derive(Clone, Copy, Debug)]
enum Raised {
    Message,
    Event,
    Account,
    Frame,
}

impl Raised {
    fn raise(self, stage: &Stage) {
        let (tree, at) = match self {
            Self::Message => ("msg", 2),
            Self::Event => ("ledger", 0),
            Self::Account => ("meta", 2),
            Self::Frame => return raise_frame(stage),
        };
        let database = sled::open(stage.state().join("queue.sled")).unwrap();
        let tree = database.open_tree(tree).unwrap();
        let entries = tree.iter().map(Result::unwrap).filter(|(key, _)| key != b"schema");
        for (key, value) in entries.collect::<Vec<_>>() {
            let mut value = value.to_vec();
            let end = value.len() - 4;
            value[at] += 1;
            let checksum = crc32fast::hash(&value[at..end]).to_le_bytes();
            value[end..].copy_from_slice(&checksum);
            tree.insert(key, value).unwrap();
        }
        database.flush().unwrap();
    }
}

/// A spool file of a newer program that the index does not know yet.
fn raise_frame(stage: &Stage) {
    fs::remove_dir_all(stage.state().join("queue.sled")).unwrap();
    let files = stage.files();
    let (path, bytes) =
        files.iter().find(|(path, _)| path.starts_with(stage.state().join("spool"))).unwrap();
    let mut bytes = bytes.clone();
    bytes[4] += 1;
    let end = bytes.len() - 8;
    let checksum = crc32fast::hash(&bytes[..end]).to_le_bytes();
    bytes[end..end + 4].copy_from_slice(&checksum);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_newer_version_of_any_record_or_frame_keeps_the_queue_closed_and_untouched() {
    for raised in [Raised::Message, Raised::Event, Raised::Account, Raised::Frame] {
        let stage = Stage::new();
        let store = stage.open();
        let id = stage.accept(&store, envelope(&["a@x.example"]), b"A: b\r\n").await;
        let held = Outcome::Uncertain { resend_at: None, reason: "a test".into() };
        stage.settle(&store, id, vec![(0, held)]).await;
        store.set_account_state(AccountKey::MAIN, AccountState::open(NOW)).await.unwrap();
        store.close().await;
        drop(store);
        raised.raise(&stage);
        let below = |folder: &str| {
            let files = stage.files().into_iter();
            let folder = stage.state().join(folder);
            files.filter(|(path, _)| path.starts_with(&folder)).collect::<Vec<_>>()
        };
        let spool = below("spool");
        let clock = std::sync::Arc::new(pillarbox::clock::ManualClock::new(NOW));
        let refused = Queue::open(Options::new(stage.state()), clock).unwrap_err().to_string();
        assert!(refused.contains("left untouched"), "{refused}");
        let newer = match raised {
            Raised::Message => "version 5",
            Raised::Event => "version 4",
            Raised::Account => "version 3",
            Raised::Frame => "version 2",
        };
        assert!(refused.contains(newer), "{refused}");
        assert_eq!((below("spool"), below("damaged")), (spool, Vec::new()), "{raised:?}");
        let mut names = fs::read_dir(stage.state()).unwrap();
        let moved = |name: std::ffi::OsString| name.to_string_lossy().contains("bad");
        assert!(!names.any(|entry| moved(entry.unwrap().file_name())), "{raised:?}");
    }
}

#[test]
fn nothing_is_imported_into_the_queue_of_another_user() {
    let stage = Stage::new();
    let file = stage.made("mbox", b"From a b\nTo: c@x.example\n\n");
    let other = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(stage.state(), Some(65_534), Some(65_534)).unwrap();
        stage.directory()
    } else {
        "/".to_owned()
    };
    let mut command = crate::support::daemon::pillarbox();
    let output = command
        .args(["store", "import", "--headers", &file, "--directory", &other])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(77));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("belongs to user") && said.contains("setpriv --reuid="), "{said}");
    assert_eq!(stage.files().len(), 0);
}
