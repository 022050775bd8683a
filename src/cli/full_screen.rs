//! A terminal whose whole screen is drawn again and again, and a key that ends it.
//!
//! Rule: whatever ends it, a panic too, the screen and the keys are left as they were found; the cursor is never hidden. Must
//! not know what is drawn.

use std::{
    future::pending,
    io::{self, IsTerminal as _, Read as _, Stdin, Write},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::termios::LocalModes;
use tokio::sync::mpsc;

use super::keyboard::Keyboard;

/// The other screen of a terminal, which keeps what was on the first one.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
/// To the first place, and what is cleared from there: a line, and the rest of the screen. Before the text, not behind it:
/// behind the last column they would clear that.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";
/// The keys that end it.
const QUIT: [u8; 2] = [b'q', b'Q'];

/// Whether the other screen is shown.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// Whether the cursor of this terminal can be moved.
pub(super) fn is_possible() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdout().is_terminal() && !is_dumb
}

/// The screen while it is drawn.
pub(super) struct FullScreen<'a> {
    out: &'a mut dyn Write,
    _keyboard: Option<Keyboard<'a>>,
}

impl<'a> FullScreen<'a> {
    pub(super) fn begin(out: &'a mut dyn Write, stdin: &'a Stdin) -> io::Result<Self> {
        // The words of a panic are for the screen that stays.
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |words| {
                leave(&mut io::stdout());
                before(words);
            }));
        });
        let modes = LocalModes::ECHO | LocalModes::ICANON;
        let keyboard = stdin.is_terminal().then(|| Keyboard::without(stdin, modes)).transpose()?;
        let mut shown = Self { out, _keyboard: keyboard };
        IS_SHOWN.store(true, Ordering::Relaxed);
        shown.put(ENTER)?;
        Ok(shown)
    }

    /// Lines that fit the screen.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut drawn = HOME.to_owned();
        for (at, line) in lines.iter().enumerate() {
            let is_last = at + 1 == lines.len();
            drawn += if is_last { CLEAR_REST } else { CLEAR_LINE };
            drawn += line;
            drawn += if is_last { "" } else { "\r\n" };
        }
        self.put(&drawn)
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl Drop for FullScreen<'_> {
    fn drop(&mut self) {
        leave(self.out);
    }
}

/// The keys, while there is a keyboard.
#[derive(Debug)]
pub(super) struct Keys(Option<mpsc::Receiver<()>>);

impl Keys {
    /// Those of standard input.
    pub(super) fn new() -> Self {
        if !io::stdin().is_terminal() {
            return Self(None);
        }
        let (quit, pressed) = mpsc::channel(1);
        // Nothing waits for it: it sits in a read that only a key ends, and goes with the process.
        thread::spawn(move || {
            let keys = io::stdin().lock().bytes().map_while(Result::ok);
            for _ in keys.filter(|key| QUIT.contains(key)) {
                if quit.blocking_send(()).is_err() {
                    break;
                }
            }
        });
        Self(Some(pressed))
    }

    /// What ends it, for whoever looks at the screen.
    pub(super) fn which(&self) -> &'static str {
        if self.0.is_some() { "q" } else { "Ctrl-C" }
    }

    /// Waits for one that ends it.
    pub(super) async fn quit(&mut self) {
        if let Some(pressed) = &mut self.0
            && pressed.recv().await.is_some()
        {
            return;
        }
        pending().await
    }
}

/// Shows the first screen again, once.
fn leave(out: &mut dyn Write) {
    if IS_SHOWN.swap(false, Ordering::Relaxed) {
        // Nobody is left to tell when this fails.
        drop(out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_screen_is_back_after_a_panic() {
        let mut out = Vec::new();
        let panicked = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            IS_SHOWN.store(true, Ordering::Relaxed);
            let mut shown = FullScreen { out: &mut out, _keyboard: None };
            shown.draw(&["one".to_owned(), "two".to_owned()]).expect("drawn");
            panic::resume_unwind(Box::new("a mistake"));
        }));
        assert!(panicked.is_err());
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "\x1b[H\x1b[Kone\r\n\x1b[Jtwo\x1b[?1049l"
        );
    }
}
