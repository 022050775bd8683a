//! Messages to the supervisor of the process (sd_notify(3)): ready, stopping, a line of status, signs of life.
//!
//! Rule: a sign of life is sent only after the runtime has turned and the queue has answered; a refusal is an
//! answer, silence is none, for a restart mends silence and not a full disk. Must not know who supervises: without
//! a socket for it nothing is said.

use std::{
    env,
    ffi::{OsStr, OsString},
    future::Future,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
    sync::Arc,
    time::Duration,
};

use crate::clock::Clock;

/// Between two looks, and so between two lines of status, when no watchdog wants them oftener.
const LOOK: Duration = Duration::from_secs(10);
/// Signs of life in the watchdog's time: one or two may be late on a busy machine.
const SIGNS: u32 = 3;

/// Our end of the supervisor's socket. Clones speak to the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Supervisor {
    line: Option<Arc<Line>>,
}

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    to: SocketAddr,
    /// How long the supervisor waits for a sign of life.
    watchdog: Option<Duration>,
}

/// The variables of sd_notify(3) and sd_watchdog_enabled(3).
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables {
    /// `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    pub(crate) socket: Option<OsString>,
    /// `WATCHDOG_USEC`.
    pub(crate) watchdog_us: Option<u64>,
    /// `WATCHDOG_PID`: whom the watchdog is for; everybody when it is missing.
    pub(crate) watchdog_pid: Option<u32>,
}

impl Variables {
    /// Those of this process.
    #[must_use]
    pub(crate) fn of_this_process() -> Self {
        let number = |name| env::var(name).ok();
        Self {
            socket: env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()),
            watchdog_us: number("WATCHDOG_USEC").and_then(|text| text.parse().ok()),
            watchdog_pid: number("WATCHDOG_PID").and_then(|text| text.parse().ok()),
        }
    }
}

impl Supervisor {
    /// The one that these variables name; nobody, with a warning, when it cannot be reached.
    #[must_use]
    pub(crate) fn named(variables: &Variables) -> Self {
        let Some(name) = &variables.socket else { return Self::default() };
        let is_for_us = variables.watchdog_pid.is_none_or(|pid| pid == process::id());
        let watchdog =
            variables.watchdog_us.filter(|time| is_for_us && *time > 0).map(Duration::from_micros);
        match connect(name) {
            Ok((socket, to)) => Self { line: Some(Arc::new(Line { socket, to, watchdog })) },
            Err(error) => {
                tracing::warn!(socket = %name.display(), %error, "the supervisor (NOTIFY_SOCKET) cannot be notified");
                Self::default()
            }
        }
    }

    /// Everything listens, and the queue is open.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is read anew; [`Supervisor::ready`] tells the end.
    pub(crate) fn reloading(&self) {
        self.tell("RELOADING=1");
    }

    /// The process ends well without having started. A supervisor takes an end before READY=1 for a failure.
    pub(crate) fn skipped(&self, why: &str) {
        self.tell(&format!("READY=1\nSTATUS={why}"));
    }

    /// The stop has begun.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping: what is in transfer ends first");
    }

    /// What takes long before [`Supervisor::ready`].
    pub(crate) fn status(&self, text: &str) {
        self.tell(&format!("STATUS={text}"));
    }

    /// Tells how things stand, as `look` finds it, and that we live, until it is dropped.
    pub(crate) async fn watch<F: Future<Output = String>>(
        &self,
        look: impl Fn() -> F,
        clock: Arc<dyn Clock>,
    ) {
        self.repeat(look, clock.as_ref()).await;
    }

    /// When `look` does not return, this waits with it, and the watchdog hears nothing.
    async fn repeat<F: Future<Output = String>>(&self, look: impl Fn() -> F, clock: &dyn Clock) {
        let Some(line) = &self.line else { return std::future::pending().await };
        let pause = line.watchdog.map_or(LOOK, |time| LOOK.min(time / SIGNS));
        let mut told = None;
        loop {
            let status = look().await;
            if line.watchdog.is_some() {
                self.tell("WATCHDOG=1");
            }
            // At its own pace, however short the watchdog's time is.
            let now = Duration::from_millis(clock.now().since_boot_ms);
            if told.is_none_or(|at| now.saturating_sub(at) >= LOOK) {
                self.status(&status);
                told = Some(now);
            }
            clock.sleep(pause).await;
        }
    }

    /// A supervisor that has gone or does not read is no reason to stop work.
    fn tell(&self, words: &str) {
        let Some(line) = &self.line else { return };
        if let Err(error) = line.socket.send_to_addr(words.as_bytes(), &line.to) {
            tracing::debug!(%error, "the supervisor was not notified");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let to = match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A full socket must not hold the daemon up.
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Mutex};

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    /// A supervisor of the test's own.
    struct Fake {
        socket: UnixDatagram,
        _directory: tempfile::TempDir,
    }

    impl Fake {
        fn start(watchdog: Option<Duration>) -> (Self, Supervisor) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            let variables = Variables {
                socket: Some(path.into()),
                watchdog_us: watchdog.map(|time| u64::try_from(time.as_micros()).unwrap()),
                watchdog_pid: Some(process::id()),
            };
            (Self { socket, _directory: directory }, Supervisor::named(&variables))
        }

        /// What has come since the last call.
        fn heard(&self) -> Vec<String> {
            let mut buffer = [0; 1024];
            let mut heard = Vec::new();
            while let Ok(length) = self.socket.recv(&mut buffer) {
                heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
            }
            heard
        }
    }

    /// Lets a task that needs no disk go as far as it can.
    async fn turn(task: &mut (impl Future<Output = ()> + Unpin)) {
        for _ in 0..20 {
            tokio::select! {
                biased;
                () = &mut *task => panic!("it watches for ever"),
                () = tokio::task::yield_now() => {}
            }
        }
    }

    #[test]
    fn each_event_is_one_datagram() {
        let (fake, supervisor) = Fake::start(None);
        supervisor.status("opening the queue");
        supervisor.ready();
        supervisor.stopping();
        let stopping = "STOPPING=1\nSTATUS=stopping: what is in transfer ends first";
        assert_eq!(fake.heard(), ["STATUS=opening the queue", "READY=1", stopping]);
    }

    #[test]
    fn an_abstract_socket_is_spoken_to_as_well() {
        let name = format!("pillarbox-test-{}", process::id());
        let socket =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap())
                .unwrap();
        let variables =
            Variables { socket: Some(format!("@{name}").into()), ..Variables::default() };
        Supervisor::named(&variables).ready();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
    }

    #[test]
    fn without_a_supervisor_and_with_one_that_has_gone_nothing_happens() {
        Supervisor::named(&Variables::default()).ready();
        let gone = Path::new("/nowhere/notify").as_os_str().to_owned();
        Supervisor::named(&Variables { socket: Some(gone), ..Variables::default() }).ready();
        let (fake, supervisor) = Fake::start(None);
        drop(fake);
        supervisor.ready();
    }

    #[tokio::test]
    async fn signs_of_life_come_three_times_in_the_watchdogs_time_and_the_status_every_ten_seconds()
    {
        let clock = ManualClock::new(Timestamp(0));
        let (fake, supervisor) = Fake::start(Some(Duration::from_secs(12)));
        let line = Arc::new(Mutex::new("the queue is empty"));
        let look = || std::future::ready((*line.lock().unwrap()).to_owned());
        let mut task = Box::pin(supervisor.watch(look, Arc::new(clock.clone())));
        turn(&mut task).await;
        assert_eq!(fake.heard(), ["WATCHDOG=1", "STATUS=the queue is empty"]);
        *line.lock().unwrap() = "3 messages in the queue";
        for expected in [
            &["WATCHDOG=1"][..],
            &["WATCHDOG=1"],
            &["WATCHDOG=1", "STATUS=3 messages in the queue"],
        ] {
            clock.advance(Duration::from_secs(4));
            turn(&mut task).await;
            assert_eq!(fake.heard(), expected);
        }
    }

    #[tokio::test]
    async fn a_queue_that_does_not_answer_gets_no_sign_of_life() {
        let clock = ManualClock::new(Timestamp(0));
        let (fake, supervisor) = Fake::start(Some(Duration::from_secs(60)));
        let mut task = Box::pin(supervisor.repeat(std::future::pending, &clock));
        turn(&mut task).await;
        clock.advance(Duration::from_secs(3600));
        turn(&mut task).await;
        assert_eq!(fake.heard(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_watchdog_for_another_process_gets_no_signs_but_the_status_is_told() {
        let (fake, supervisor) = Fake::start(None);
        let path = fake.socket.local_addr().unwrap().as_pathname().unwrap().to_owned();
        drop(supervisor);
        let variables = Variables {
            socket: Some(path.into()),
            watchdog_us: Some(60_000_000),
            watchdog_pid: Some(process::id() + 1),
        };
        let clock = ManualClock::new(Timestamp(0));
        let supervisor = Supervisor::named(&variables);
        let look = || std::future::ready("the queue is empty".to_owned());
        let mut task = Box::pin(supervisor.watch(look, Arc::new(clock)));
        turn(&mut task).await;
        assert_eq!(fake.heard(), ["STATUS=the queue is empty"]);
    }
}
