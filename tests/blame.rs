//! The real daemon, and whom a refusal concerns: one message that is always refused holds nobody up, and a clock
//! that is set delays and forgets nothing.

use std::{fs, os::unix::fs::FileExt, path::PathBuf, process::Command, time::Duration};

use pillarbox::sandbox::{Failure, Stage};

use crate::support::{
    daemon::{Home, within},
    gmail::Gmail,
    outage::{PLENTY, ask, home_without_brakes},
    submitter::{Wire, message},
};

/// Longer than the first pause, for a machine under load.
const PATIENCE: Duration = Duration::from_secs(120);

fn submit(home: &Home, number: u32, recipient: &str) -> String {
    let text =
        message(&format!("<{number}@client.example.org>"), 300, &mut fastrand::Rng::with_seed(1));
    let wire = Wire::connect(home.smtp);
    let mut wire = wire.unwrap_or_else(|error| panic!("{error}: {}", home.log()));
    wire.submit(&[recipient.to_owned()], &text).expect("it lasts").expect("it is taken")
}

#[test]
fn a_message_that_is_always_refused_holds_nobody_up_and_status_and_log_say_so() {
    let gmail = Gmail::start();
    let busy = "421 4.3.0 Temporary System Problem. Try again later (10). {id}";
    gmail.strike("<bad@", Stage::Data, Failure::ReplyAndClose(busy.into()));
    let home = home_without_brakes(&gmail.upstream(), PLENTY);
    let _daemon = home.start();
    let account = || ask(&home, &["status"])["account"].clone();
    submit(&home, 0, "bad@example.net");
    assert!(within(PATIENCE, || account()["condition"] == "backing-off"), "{}", account());
    for number in 1..4 {
        submit(&home, number, &format!("ok{number}@example.net"));
    }
    let shown = account();
    assert!(shown["reason"].as_str().is_some_and(|reason| reason.contains("4.3.0")), "{shown}");
    assert!(shown["until"].as_i64() > Some(0), "{shown}");
    assert!(within(PATIENCE, || gmail.accepted().len() == 3), "{}", home.log());
    assert!(within(PATIENCE, || account()["condition"] == "open"), "{}", account());
    // The one that was refused is the only one left, and says why it waits.
    let listed = ask(&home, &["queue", "list"]);
    let [left] = listed["messages"].as_array().expect("a list").as_slice() else {
        panic!("{listed}")
    };
    assert_eq!(left["recipients"][0]["address"], "bad@example.net", "{listed}");
    let log = home.log();
    for words in ["backing-off", "the upstream accepts mail again", "Temporary System Problem"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    // What comes now leaves at once.
    submit(&home, 9, "ok9@example.net");
    assert!(within(Duration::from_secs(20), || gmail.accepted().len() == 4), "{}", home.log());
}

/// A library that moves what a process takes for wall time by the seconds in a file.
struct SetClock {
    library: PathBuf,
    seconds: PathBuf,
    _directory: tempfile::TempDir,
}

/// It asks for no memory, file or lock: a process may ask for the time anywhere.
const SET_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile long *seconds;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("SET_CLOCK_SECONDS"), O_RDONLY | O_CLOEXEC);
    void *page = mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) abort();
    seconds = page;
    close(file);
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int result = syscall(SYS_clock_gettime, id, at);
    if (result == 0 && id == CLOCK_REALTIME && seconds) at->tv_sec += *seconds;
    return result;
}
"#;

impl SetClock {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [source, library, seconds] =
            ["clock.c", "clock.so", "seconds"].map(|name| directory.path().join(name));
        fs::write(&source, SET_CLOCK).expect("a file");
        // Whoever can link Rust has this compiler.
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).args([&library, &source]);
        let made = compiler.status().expect("a C compiler");
        assert!(made.success(), "{made}");
        let clock = Self { library, seconds, _directory: directory };
        clock.set(0);
        clock
    }

    /// Sets the clock of the processes so far from the machine's.
    fn set(&self, seconds: i64) {
        let seconds = seconds.to_ne_bytes();
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(&self.seconds);
        file.expect("a file").write_all_at(&seconds, 0).expect("its octets");
    }

    fn of(&self, home: Home) -> Home {
        home.environment("LD_PRELOAD", &self.library.display().to_string())
            .environment("SET_CLOCK_SECONDS", &self.seconds.display().to_string())
    }
}

#[test]
fn a_clock_that_is_set_under_a_running_daemon_frees_no_budget_and_delays_no_mail() {
    let clock = SetClock::new();
    let gmail = Gmail::start();
    let home = clock.of(home_without_brakes(&gmail.upstream(), 3));
    let _daemon = home.start();
    let (day, year) = (24 * 3_600, 365 * 24 * 3_600);
    // Mail leaves at once whatever the clock says, and the day's three recipients stay three.
    for (number, seconds) in [(1, 0), (2, 2 * day), (3, -year)] {
        clock.set(seconds);
        submit(&home, number, &format!("ok{number}@example.net"));
        let count = usize::try_from(number).expect("a small number");
        let left = within(Duration::from_secs(20), || gmail.accepted().len() == count);
        assert!(left, "{number}: {}", home.log());
    }
    for (number, seconds) in [(4, -year), (5, 3 * day), (6, year)] {
        clock.set(seconds);
        submit(&home, number, &format!("ok{number}@example.net"));
        let spent = || ask(&home, &["budget"])["spent"].as_i64() == Some(3);
        assert!(within(PATIENCE, spent), "{}", ask(&home, &["budget"]));
    }
    assert_eq!(gmail.accepted().len(), 3, "{}", home.log());
    let listed = ask(&home, &["queue", "list"]);
    let waiting = listed["messages"].as_array().expect("a list");
    assert_eq!(waiting.len(), 3, "{listed}");
    for message in waiting {
        let recipient = &message["recipients"][0];
        assert_eq!((&recipient["state"], &recipient["attempts"]), (&"queued".into(), &0.into()));
    }
    assert!(home.log().contains("the clock of this machine was set"), "{}", home.log());
}
