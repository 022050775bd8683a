//! Bits flip and tails go missing in the daemon's files: it starts, says so, and delivers what is whole.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use fastrand::Rng;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    daemon::{Home, within},
    gmail::Gmail,
    outage::{PLENTY, ask, budget, drain, home_without_brakes, seed, start_timed, tail},
    submitter::{Acknowledged, Wire, message},
};

/// Damaged stores of each kind.
const CASES: usize = 10;
/// Messages in a store.
const MESSAGES: usize = 12;
/// How long a start may take, whatever is broken.
const START_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn flipped_bits_in_the_index_cost_no_message() {
    let stored = Stored::fill();
    let mut random = Rng::with_seed(seed("damage: flipped bits in the index"));
    for _ in 0..CASES {
        let life = stored.copy();
        let done = flip_bit(
            &pick(&files_below(&life.state().join("queue.sled")), &mut random),
            &mut random,
        );
        life.expect_every_message_delivered(&done);
    }
}

#[test]
fn cut_tails_of_the_index_cost_no_message() {
    let stored = Stored::fill();
    let mut random = Rng::with_seed(seed("damage: cut tails of the index"));
    for _ in 0..CASES {
        let life = stored.copy();
        let done = cut_tail(
            &pick(&files_below(&life.state().join("queue.sled")), &mut random),
            &mut random,
        );
        life.expect_every_message_delivered(&done);
    }
}

#[test]
fn an_index_that_cannot_be_read_at_all_is_set_aside_and_rebuilt() {
    let stored = Stored::fill();
    let life = stored.copy();
    let engine = files_below(&life.state().join("queue.sled"));
    for file in &engine {
        let length = fs::metadata(file).expect("a file").len();
        fs::write(file, vec![0xa5; usize::try_from(length).expect("a small file")])
            .expect("garbage");
    }
    life.expect_every_message_delivered("the whole index overwritten");
    assert_eq!(
        life.indexes_set_aside().len(),
        1,
        "the unreadable index is not kept for a person to look at"
    );
}

#[test]
fn an_index_that_is_gone_is_rebuilt() {
    let stored = Stored::fill();
    let life = stored.copy();
    fs::remove_dir_all(life.state().join("queue.sled")).expect("the index goes");
    life.expect_every_message_delivered("no index");
}

#[test]
fn a_message_with_a_flipped_bit_is_set_aside_and_the_others_are_delivered() {
    let stored = Stored::fill();
    let mut random = Rng::with_seed(seed("damage: flipped bits in the spool"));
    for _ in 0..CASES {
        let life = stored.copy();
        let victim = pick(&stored.messages, &mut random);
        let done = flip_bit(&life.spool_file(&victim), &mut random);
        life.expect_all_but_one_delivered(&victim, &done);
    }
}

#[test]
fn a_message_with_a_cut_tail_is_set_aside_and_the_others_are_delivered() {
    let stored = Stored::fill();
    let mut random = Rng::with_seed(seed("damage: cut tails in the spool"));
    for _ in 0..CASES {
        let life = stored.copy();
        let victim = pick(&stored.messages, &mut random);
        let done = cut_tail(&life.spool_file(&victim), &mut random);
        life.expect_all_but_one_delivered(&victim, &done);
    }
}

/// A state directory with messages that were accepted and may not leave yet.
struct Stored {
    directory: TempDir,
    messages: Vec<Acknowledged>,
}

impl Stored {
    /// Lets a daemon accept mail while the day's budget, a single recipient, is spent.
    fn fill() -> Self {
        let gmail = Gmail::start();
        let home = home_without_brakes(&gmail.upstream(), 1);
        let daemon = home.start();
        let mut wire = Wire::connect(home.smtp).expect("the daemon answers");
        let mut random = Rng::with_seed(1);
        let mut submit = |name: String| {
            let message_id = format!("<{name}@client.example.org>");
            let text = message(&message_id, random.usize(300..20_000), &mut random);
            let recipients = vec!["reader@example.net".to_owned()];
            let reply =
                wire.submit(&recipients, &text).expect("the daemon answers").expect("a 250");
            Acknowledged { message_id, recipients, text, reply }
        };
        submit("spends-the-budget".into());
        assert!(
            within(Duration::from_secs(20), || gmail.recipients() == 1),
            "{}",
            tail(&home.log())
        );
        let messages: Vec<_> =
            (0..MESSAGES).map(|number| submit(format!("kept-{number}"))).collect();
        assert!(daemon.terminate(Duration::from_secs(20)).success());
        assert_eq!(gmail.recipients(), 1);
        let directory = tempfile::tempdir().expect("a temporary directory");
        copy_folder(home.state(), &directory.path().join("state"));
        Self { directory, messages }
    }

    /// A fresh copy to damage, with an upstream and a budget for everything.
    fn copy(&self) -> Life<'_> {
        let gmail = Gmail::start();
        let home = home_without_brakes(&gmail.upstream(), PLENTY);
        home.configure(&gmail.upstream(), &budget(PLENTY));
        copy_folder(&self.directory.path().join("state"), home.state());
        Life { stored: self, gmail, home }
    }
}

/// A damaged copy and what becomes of it.
struct Life<'a> {
    stored: &'a Stored,
    gmail: Gmail,
    home: Home,
}

impl Life<'_> {
    fn state(&self) -> &Path {
        self.home.state()
    }

    fn spool_file(&self, message: &Acknowledged) -> PathBuf {
        let files = files_below(&self.state().join("spool"));
        let named = files.iter().find(|file| file.to_string_lossy().contains(message.queue_id()));
        named.cloned().unwrap_or_else(|| panic!("no spool file for {}", message.reply))
    }

    fn expect_every_message_delivered(&self, done: &str) {
        let (daemon, took) = start_timed(&self.home);
        assert!(took < START_WITHIN, "{done}: greeting after {took:?}");
        drain(&self.home, &self.gmail, &self.stored.messages, Duration::from_secs(30));
        assert_eq!(self.gmail.altered(&self.stored.messages), Vec::<String>::new(), "{done}");
        self.expect_lost_indexes_reported(done);
        assert!(daemon.terminate(Duration::from_secs(20)).success(), "{done}");
    }

    fn expect_all_but_one_delivered(&self, victim: &Acknowledged, done: &str) {
        let (daemon, took) = start_timed(&self.home);
        assert!(took < START_WITHIN, "{done}: greeting after {took:?}");
        let whole =
            self.stored.messages.iter().filter(|message| message.message_id != victim.message_id);
        let delivered =
            within(Duration::from_secs(30), || self.gmail.missing(whole.clone()).is_empty());
        let log = self.home.log();
        assert!(delivered, "{done}: missing {:?}\n{}", self.gmail.missing(whole), tail(&log));
        let counted = within(Duration::from_secs(10), || self.set_aside() == 1);
        assert!(counted, "{done}: set aside: {}\n{}", self.set_aside(), tail(&self.home.log()));
        let status = ask(&self.home, &["status"]);
        let aside = status["queue"]["set_aside_in"].as_str().unwrap_or_default();
        let remains = fs::read_dir(aside).expect("status names a directory");
        assert_eq!(remains.count(), 1, "{done}: what was set aside is in {aside}");
        assert!(self.reported(), "{done}: no warning in the log:\n{}", tail(&self.home.log()));
        let arrived = self.gmail.missing([victim]).is_empty();
        assert!(!arrived, "{done}: a damaged message was relayed");
        assert!(daemon.terminate(Duration::from_secs(20)).success(), "{done}");
    }

    /// Whoever finds the remains of an index must find in the log what they are and why they are there.
    fn expect_lost_indexes_reported(&self, done: &str) {
        let events = self.home.events();
        for index in self.indexes_set_aside() {
            let reports = |event: &&Value| {
                event["level"] == "ERROR" && event["moved_to"].as_str() == index.to_str()
            };
            let report = events.iter().find(reports);
            let report = report.unwrap_or_else(|| {
                panic!(
                    "{done}: nothing says where {} comes from:\n{}",
                    index.display(),
                    tail(&self.home.log())
                )
            });
            assert!(
                report["error"].as_str().is_some_and(|error| !error.is_empty()),
                "{done}: {report}"
            );
        }
    }

    /// Indexes that could not be read and were moved away.
    fn indexes_set_aside(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.state()).expect("the state directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let is_one = |path: &PathBuf| path.to_string_lossy().contains("/queue.sled.bad-");
        paths.filter(is_one).collect()
    }

    fn set_aside(&self) -> u64 {
        ask(&self.home, &["status"])["queue"]["set_aside"].as_u64().unwrap_or_default()
    }

    /// Whether the log holds an event at level warn or error.
    fn reported(&self) -> bool {
        let loud = |event: &Value| matches!(event["level"].as_str(), Some("WARN" | "ERROR"));
        self.home.events().iter().any(loud)
    }
}

fn pick<T: Clone>(choices: &[T], random: &mut Rng) -> T {
    choices[random.usize(0..choices.len())].clone()
}

/// Turns one bit of a file over and says which.
fn flip_bit(path: &Path, random: &mut Rng) -> String {
    let mut file = File::options().read(true).write(true).open(path).expect("a file to damage");
    let length = file.metadata().expect("its length").len();
    let at = random.u64(0..length);
    let mut octet = [0];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut octet)).expect("an octet");
    octet[0] ^= 1 << random.u8(0..8);
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(&octet)).expect("another octet");
    format!("bit flipped at {at} of {length} in {}", path.display())
}

/// Shortens a file and says by how much.
fn cut_tail(path: &Path, random: &mut Rng) -> String {
    let file = File::options().write(true).open(path).expect("a file to damage");
    let length = file.metadata().expect("its length").len();
    let kept = random.u64(0..length);
    file.set_len(kept).expect("a shorter file");
    format!("cut from {length} to {kept} octets: {}", path.display())
}

/// Every file below `folder` that is not empty, in a fixed order.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if fs::metadata(&path).expect("a file").len() > 0 {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else if path.is_file() {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}
