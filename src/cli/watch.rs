//! `pillarbox status --watch`: the screen again and again, in place on a terminal, one below the other elsewhere.
//!
//! Rule: a daemon that goes away is no end, and what is shown fits the terminal, whatever becomes of its size. Must not know
//! what the screen says.

use std::{
    io::{self, Write},
    pin::Pin,
    time::Duration,
};

use rustix::process::{Signal as Number, getpid, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    fitting::{Size, fitted, size},
    full_screen::{self, FullScreen, Keys},
    screen::{self, Form, Lines, Screen, Sheet, clean, local_in_full, relative, span},
    status,
};
use crate::{
    admin::{
        api::Status,
        client::{Client, ClientError},
    },
    clock::{Clock as _, SystemClock, Timestamp},
    exit::{Exit, Failure},
    text,
    wording::phrase,
};

/// How long the daemon may take to answer before the screen says that it does not.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows the screen until somebody ends it, which is success.
pub(super) async fn run(
    out: &mut dyn Screen,
    client: &Client,
    form: Form,
    every: Duration,
) -> Result<(), Failure> {
    // Where nobody answers from the beginning, waiting would hide a wrong path.
    let first = client.status().await?;
    let mut watch = Watch { client, every, look: Look::new(first) };
    let mut signals = Signals::receive()?;
    if form == Form::Text && full_screen::is_possible() {
        watch.in_place(out, &mut signals).await
    } else {
        watch.one_below_the_other(out, form, &mut signals).await
    }
}

/// What the last look has shown.
#[derive(Debug)]
struct Look {
    at: Timestamp,
    status: Box<Status>,
    /// Since when, as far as anybody has looked, the daemon has not answered, and why.
    missed: Option<(Timestamp, String)>,
}

impl Look {
    fn new(status: Status) -> Self {
        Self { at: SystemClock::new().wall(), status: Box::new(status), missed: None }
    }

    fn note(&mut self, answer: Result<Status, ClientError>) {
        match answer {
            Ok(status) => *self = Self::new(status),
            Err(error) => self.missed = Some((SystemClock::new().wall(), error.to_string())),
        }
    }

    /// For people.
    fn lines(&self, width: Option<usize>) -> io::Result<Vec<String>> {
        let mut shown = Vec::new();
        let mut page = Sheet { out: Lines::new(&mut shown, width), width };
        match &self.missed {
            None => status::print(&mut page, &self.status)?,
            Some((at, why)) => {
                let (last, ago) = (local_in_full(self.at), relative(self.at, *at));
                writeln!(page, "The daemon does not answer. It was last seen {last} ({ago}).")?;
                writeln!(page, "What was found: {}.", clean(phrase(why)))?;
            }
        }
        page.flush()?;
        Ok(String::from_utf8_lossy(&shown).lines().map(str::to_owned).collect())
    }

    /// For programs, in one line.
    fn document(&self) -> io::Result<String> {
        let json = match &self.missed {
            None => serde_json::to_string(&self.status)?,
            Some((at, why)) => {
                serde_json::json!({ "now": at, "unreachable": why, "last_seen": self.at })
                    .to_string()
            }
        };
        Ok(text::printable_json(&json).into_owned())
    }
}

struct Watch<'a> {
    client: &'a Client,
    every: Duration,
    look: Look,
}

type Next<'a> = Pin<Box<dyn Future<Output = Result<Status, ClientError>> + 'a>>;

impl<'a> Watch<'a> {
    /// The next look, when it is time for it.
    fn next(&self) -> Next<'a> {
        let (client, every) = (self.client, self.every);
        Box::pin(async move {
            SystemClock::new().sleep(every).await;
            client.status_again(PATIENCE).await
        })
    }

    async fn one_below_the_other(
        &mut self,
        out: &mut dyn Screen,
        form: Form,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let mut gap = "";
        while screen::is_read() {
            match form {
                Form::Json => writeln!(out, "{}", self.look.document()?)?,
                Form::Text => {
                    writeln!(out, "{gap}{}", self.look.lines(out.width())?.join("\n"))?;
                }
            }
            out.flush()?;
            gap = "\n";
            tokio::select! {
                answer = self.next() => self.look.note(answer),
                () = signals.ends.wait() => break,
            }
        }
        Ok(())
    }

    async fn in_place(
        &mut self,
        out: &mut dyn Screen,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let (stdin, mut keys) = (io::stdin(), Keys::new());
        let mut next = self.next();
        loop {
            let mut shown = FullScreen::begin(out, &stdin)?;
            loop {
                shown.draw(&self.drawn(size(), keys.which())?)?;
                tokio::select! {
                    answer = &mut next => {
                        self.look.note(answer);
                        next = self.next();
                    }
                    _ = signals.resized.recv() => {}
                    () = signals.ends.wait() => return Ok(()),
                    () = keys.quit() => return Ok(()),
                    _ = signals.suspended.recv() => break,
                }
            }
            // The shell has its terminal for the while.
            drop(shown);
            kill_process(getpid(), Number::STOP).map_err(io::Error::from)?;
        }
    }

    /// Lines for a terminal of this size: never more, and none wider.
    fn drawn(&self, Size { columns, rows }: Size, end: &str) -> io::Result<Vec<String>> {
        let at = self.look.missed.as_ref().map_or(self.look.at, |(at, _)| *at);
        let head = format!("{}, every {}; {end} ends it", local_in_full(at), span(self.every));
        let lines = self.look.lines(Some(columns))?;
        let mut shown: Vec<String> = std::iter::once(head).chain(lines).collect();
        let rows = rows.max(1);
        if shown.len() > rows {
            let hidden = shown.len() - (rows - 1);
            shown.truncate(rows - 1);
            shown.push(format!("... {hidden} lines more than the terminal has"));
        }
        Ok(shown.iter().map(|line| fitted(line, columns).into_owned()).collect())
    }
}

/// The signals that it obeys.
#[derive(Debug)]
struct Signals {
    ends: Ends,
    suspended: Signal,
    resized: Signal,
}

/// Those that end it.
#[derive(Debug)]
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn receive() -> Result<Self, Failure> {
        let receive = || {
            Ok::<_, io::Error>(Self {
                ends: Ends {
                    interrupt: signal(SignalKind::interrupt())?,
                    terminate: signal(SignalKind::terminate())?,
                    hang_up: signal(SignalKind::hangup())?,
                },
                suspended: signal(SignalKind::from_raw(Number::TSTP.as_raw()))?,
                resized: signal(SignalKind::window_change())?,
            })
        };
        receive().map_err(|error| {
            Failure::new(Exit::Temporary, format!("cannot receive signals: {error}"))
        })
    }
}

impl Ends {
    /// Waits for one.
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
