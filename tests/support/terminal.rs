//! A pseudo-terminal with a program at it, and hands that type.
//!
//! Rule: it waits for words, never for a time. Must not know which program it is.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use super::daemon::within;

/// How long words may take to appear; far more than they need, for a machine under load.
const WORDS_WITHIN: Duration = Duration::from_secs(30);

/// The same command, which nobody started in the background: a shell has such a job ignore the key that interrupts, and so would
/// everything that it starts.
fn as_a_person_does(command: &Command) -> Command {
    let mut person = Command::new("env");
    person.arg("--default-signal=INT,QUIT").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => person.env(name, value),
            None => person.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        person.current_dir(directory);
    }
    person
}

/// A program at a terminal.
pub(crate) struct AtTerminal {
    hands: File,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    /// Octets of what is shown that were waited for already.
    read: usize,
    reader: JoinHandle<()>,
}

impl AtTerminal {
    /// Runs it at a terminal of so many columns.
    pub(crate) fn run(command: &Command, columns: u16) -> Self {
        let mut command = as_a_person_does(command);
        let hands = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&hands).expect("it is ours");
        unlockpt(&hands).expect("it opens");
        let name = ptsname(&hands, Vec::new()).expect("it has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let screen = File::from(rustix::fs::open(name, flags, Mode::empty()).expect("it opens"));
        let size = Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&screen, size).expect("it has a size");
        let end = || Stdio::from(screen.try_clone().expect("one more"));
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("the program starts");
        // With the last end of the program's side, which is the program's own, reading ends.
        drop((command, screen));
        let hands = File::from(hands);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut eyes, seen) = (hands.try_clone().expect("one more"), Arc::clone(&shown));
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = eyes.read(&mut piece) {
                seen.lock().expect("no panic").extend_from_slice(&piece[..count]);
            }
        });
        Self { hands, child, shown, read: 0, reader }
    }

    /// All that was shown so far.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("no panic")).into_owned()
    }

    /// Waits for words behind those that were waited for before.
    pub(crate) fn wait_for(&mut self, words: &str) {
        let mut end = None;
        within(WORDS_WITHIN, || {
            let shown = self.shown.lock().expect("no panic");
            let fresh = &shown[self.read..];
            let found = fresh.windows(words.len()).position(|window| window == words.as_bytes());
            end = found.map(|at| self.read + at + words.len());
            end.is_some()
        });
        self.read = end.unwrap_or_else(|| panic!("{words:?} was not shown:\n{}", self.shown()));
    }

    /// Waits for words, and types an answer and Enter.
    pub(crate) fn answer(&mut self, words: &str, answer: &str) {
        self.wait_for(words);
        self.press(&format!("{answer}\r"));
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.hands.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Makes the terminal larger or smaller, and tells the program.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.hands, size).expect("it has a size");
        self.signal(Signal::WINCH);
    }

    /// Sends a signal to the program.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("an id");
        kill_process(id, signal).expect("the signal is sent");
    }

    /// The process id.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// How the terminal treats what is typed.
    pub(crate) fn modes(&self) -> LocalModes {
        tcgetattr(&self.hands).expect("it is a terminal").local_modes
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().expect("the signal is sent");
        self.child.wait().expect("the child ends");
        self.shown()
    }

    /// Waits for the end: the exit code, or 128 and the signal when that ended it.
    pub(crate) fn wait_for_end(&mut self) -> i32 {
        let mut status = None;
        within(WORDS_WITHIN, || {
            status = self.child.try_wait().expect("the child can be asked");
            status.is_some()
        });
        let status = status.unwrap_or_else(|| panic!("it still runs:\n{}", self.shown()));
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        code.expect("an end")
    }

    /// The same, and all that was shown.
    pub(crate) fn end(mut self) -> (i32, String) {
        let code = self.wait_for_end();
        // The last words may come a moment after the end; a program that it has left behind may keep the terminal open.
        within(Duration::from_secs(1), || self.reader.is_finished());
        (code, self.shown())
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        // It may have ended already, which is what these calls wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
