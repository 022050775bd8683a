//! Every command that prints what others have written, at 80 and at 120 columns and off a terminal, compared with files.
//!
//! Rule: the answers of the daemon are fixed (`tests/golden/printed/answers.json`) and hostile; everything from the command
//! line to the last octet is the real way. `BLESS=1 cargo test printed` writes the files anew; review them like code.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    thread,
};

use clap::Parser as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Arguments, dispatch,
    fitting::columns,
    screen::{Lines, Screen, Sheet},
};
use crate::{clock::Timestamp, text::is_deceptive};

/// In the middle of a day.
pub(super) const NOW: Timestamp = Timestamp(1_800_014_400_000);
const WIDTHS: [(&str, Option<usize>); 3] = [("80", Some(80)), ("120", Some(120)), ("file", None)];

/// The name of its files, and the command.
const CASES: &[(&str, &str)] = &[
    ("status", "status"),
    ("budget", "budget"),
    ("budget_forecast", "budget forecast"),
    ("budget_report", "budget report"),
    ("clients", "clients"),
    ("fleet", "fleet"),
    ("fleet_drain", "fleet drain mx2.example.org"),
    ("fleet_undrain", "fleet undrain"),
    ("queue_list", "queue list"),
    ("queue_show", "queue show 06hhgq2g000000005jfavybr7c"),
    ("queue_explain", "queue explain 06hhgq2g000000005jfavybr7c"),
    ("queue_counts", "queue list --count-by from"),
    ("queue_retry", "queue retry 06hhgq2g000000005jfavybr7c"),
    ("queue_hold", "queue hold 06hhgq2g000000005jfavybr7c"),
    ("queue_release", "queue release 06hhgq2g000000005jfavybr7c"),
    ("queue_schedule", "queue schedule 06hhgq2g000000005jfavybr7c --at 2027-01-16T08:00:00Z"),
    ("queue_delete", "queue delete 06hhgq2g000000005jfavybr7c"),
    ("dead_list", "dead list"),
    ("dead_resend", "dead resend 06hhgq2g000000005jfavybr7m --to boss@example.net"),
    ("history_list", "history list"),
    ("history_counts", "history list --count-by from"),
    ("history_show", "history show 06hhgq2g000000005jfavybr7m"),
    ("history_resend", "history resend 06hhgq2g000000005jfavybr7m"),
    ("storm_list", "storm list"),
    ("alert_list", "alert list"),
    ("alert_test", "alert test"),
    ("log", "log"),
    ("trace", "trace --upstream"),
    ("pause", "pause new mail server"),
    ("resume", "resume"),
    ("reload", "reload"),
    ("health", "health"),
];

/// A daemon that has the same answers for ever.
pub(super) struct Canned {
    directory: TempDir,
}

impl Canned {
    pub(super) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("admin.sock")).expect("a socket");
        let path = golden("answers.json");
        let answers = fs::read_to_string(path).expect("the answers");
        let answers: BTreeMap<String, Value> = serde_json::from_str(&answers).expect("JSON");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &answers);
            }
        });
        Self { directory }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }
}

fn answer(mut stream: UnixStream, answers: &BTreeMap<String, Value>) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    drop(lines.find(String::is_empty));
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let end = json!({ "messages": [], "next": null, "until": null });
    let known = if query.contains("after=") { &end } else { &answers[&format!("{method} {path}")] };
    let body = match known {
        Value::Array(lines) => {
            lines.iter().filter_map(Value::as_str).map(|line| format!("{line}\n")).collect()
        }
        document => document.to_string(),
    };
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
    // A command that has enough of it goes away.
    drop(write!(stream, "{head} {}\r\n\r\n{body}", body.len()));
    drop(stream.read(&mut [0; 1]));
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/printed").join(name)
}

/// What the command prints at so many columns, its words at its end included.
fn printed(canned: &Canned, command: &str, width: Option<usize>) -> String {
    let line = ["pillarbox", "--socket"].map(str::to_owned).into_iter();
    let socket = canned.socket().display().to_string();
    let words = command.split(' ').map(str::to_owned);
    let mut words: Vec<String> = line.take(1).chain(words).collect();
    words.extend(["--socket".to_owned(), socket]);
    let arguments = Arguments::try_parse_from(words).expect("a command");
    let mut shown = Vec::new();
    let mut out = Sheet { out: Lines::new(&mut shown, width), width };
    let result = dispatch(arguments, &mut out, NOW);
    out.flush().expect("written");
    drop(out);
    if let Err(failure) = result {
        assert!(failure.message.is_empty(), "{command}: {failure}");
    }
    String::from_utf8(shown).expect("text")
}

/// Compares what a part of a command prints with its files, at every width.
pub(super) fn compare_at_every_width(
    name: &str,
    print: impl Fn(&mut dyn Screen) -> io::Result<()>,
) {
    for (columns, width) in WIDTHS {
        let mut shown = Vec::new();
        let mut out = Sheet { out: Lines::new(&mut shown, width), width };
        print(&mut out).and_then(|()| out.flush()).expect("written");
        drop(out);
        let text = String::from_utf8(shown).expect("text");
        assert_fits(name, &text, width);
        compare(&format!("{name}_{columns}.txt"), &text);
    }
}

/// The answer of the daemon to this question, as the commands read it.
pub(super) fn canned<T: DeserializeOwned>(question: &str) -> T {
    let answers = fs::read_to_string(golden("answers.json")).expect("the answers");
    let mut answers: BTreeMap<String, Value> = serde_json::from_str(&answers).expect("JSON");
    serde_json::from_value(answers.remove(question).expect("an answer")).expect("of this form")
}

/// Compares with the file of that name, or writes it.
pub(super) fn compare(name: &str, text: &str) {
    let path = golden(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, text).expect("written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} (BLESS=1 writes it)", path.display());
}

/// Nothing steers or deceives, and nothing is wider than the terminal.
pub(super) fn assert_fits(name: &str, text: &str, width: Option<usize>) {
    let is_odd = |letter: &char| *letter != '\n' && is_deceptive(*letter);
    assert_eq!(text.chars().find(is_odd), None, "{name}: {text}");
    for line in text.lines() {
        assert!(width.is_none_or(|width| columns(line) <= width), "{name}: {line}");
        assert_eq!(line.trim_end(), line, "{name}");
    }
}

#[test]
fn whatever_a_command_prints_fits_its_terminal_steers_nothing_and_is_as_it_was_reviewed() {
    let canned = Canned::start();
    for (name, command) in CASES {
        for (columns, width) in WIDTHS {
            let text = printed(&canned, command, width);
            assert_fits(name, &text, width);
            compare(&format!("{name}_{columns}.txt"), &text);
        }
    }
}

#[test]
fn a_terminal_of_any_width_gets_every_id_in_one_piece() {
    let canned = Canned::start();
    for (name, command) in CASES {
        let ids = |text: &str| text.matches("06hhgq2g000000005jfavybr7").count();
        let all = ids(&printed(&canned, command, Some(200)));
        for width in [30, 40, 80, 133] {
            let text = printed(&canned, command, Some(width));
            assert_fits(name, &text, Some(width));
            assert!(ids(&text) >= all.min(1), "{name} at {width}: {text}");
        }
    }
}
