//! A small network between a client and a server: it carries, is cut, stands still, is slow, or loses what the server answers.
//!
//! Rule: only octets of the loopback interface pass, and each connection ends with the network. Must not know a protocol.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often a connection looks whether the network has changed.
const LOOK: Duration = Duration::from_millis(10);
const OCTETS: usize = 16 * 1024;
/// What each so many octets of a client take on a slow way: 800 KB/s for each connection.
const SLOW: Duration = Duration::from_millis(20);

/// What the network does with octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Way {
    Open,
    /// Open connections end, and new ones are not taken.
    Cut,
    /// Nothing passes; connections stay open.
    Still,
    /// What the client says arrives, and the answers do not: nobody knows what was done.
    Unanswered,
    /// What a client says takes its time.
    Slow,
}

/// What becomes of a connection whose answer is lost: the server has done what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It ends.
    Cut,
    /// It stays open, and nothing is answered any more.
    Silence,
}

/// Which answer is to be lost.
#[derive(Debug)]
struct Wanted {
    /// What the client has said before.
    after: &'static str,
    /// What is not answered.
    to: &'static str,
    loss: Loss,
}

/// A way to a server on the loopback interface.
#[derive(Debug)]
pub(crate) struct Network {
    /// Where the server seems to be.
    pub(crate) port: u16,
    state: Arc<State>,
    doorman: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    way: AtomicU8,
    ended: AtomicBool,
    wanted: Mutex<Option<Wanted>>,
}

impl State {
    fn is(&self, way: Way) -> bool {
        self.way.load(Ordering::SeqCst) == way as u8
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::SeqCst) || self.is(Way::Cut)
    }

    fn wanted(&self) -> std::sync::MutexGuard<'_, Option<Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, as both of its carriers know it.
#[derive(Debug, Default)]
struct Line {
    loss: Mutex<Option<Loss>>,
    /// What the client said last, as far as it may be the beginning of something wanted, and whether `after` has come.
    said: Mutex<(Vec<u8>, bool)>,
}

impl Line {
    fn has(&self, loss: Loss) -> bool {
        *self.loss.lock().unwrap_or_else(PoisonError::into_inner) == Some(loss)
    }

    /// Hears what the client says, before the server does.
    fn hear(&self, octets: &[u8], state: &State) {
        let mut wanted = state.wanted();
        let Some(Wanted { after, to, loss }) = &*wanted else { return };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (tail, has_come) = &mut *said;
        tail.extend_from_slice(octets);
        let find = |text: &[u8], what: &str| {
            text.windows(what.len()).position(|octets| octets == what.as_bytes())
        };
        while let Some(at) = find(tail, to) {
            if *has_come || find(&tail[..at], after).is_some() {
                *self.loss.lock().unwrap_or_else(PoisonError::into_inner) = Some(*loss);
                *wanted = None;
                return;
            }
            tail.drain(..at + to.len());
        }
        *has_come |= find(tail, after).is_some();
        let known = tail.len().saturating_sub(after.len().max(to.len()) - 1);
        tail.drain(..known);
    }
}

impl Network {
    /// An open way to this port.
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        listener.set_nonblocking(true).expect("it can be asked");
        let state = Arc::new(State::default());
        let of_doorman = Arc::clone(&state);
        let doorman = thread::spawn(move || {
            let mut carriers = Vec::new();
            while !of_doorman.ended.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((client, _)) => carriers.extend(connect(client, server, &of_doorman)),
                    Err(_) => thread::sleep(LOOK),
                }
                carriers.retain(|carrier: &JoinHandle<()>| !carrier.is_finished());
            }
            for carrier in carriers {
                carrier.join().expect("a carrier does not panic");
            }
        });
        Self { port, state, doorman: Some(doorman) }
    }

    /// Loses one answer: the first to `to` on a connection by which `after` has come since the `to` before.
    pub(crate) fn lose(&self, (after, to): (&'static str, &'static str), loss: Loss) {
        *self.state.wanted() = Some(Wanted { after, to, loss });
    }

    /// Whether that has happened.
    pub(crate) fn has_lost(&self) -> bool {
        self.state.wanted().is_none()
    }

    /// From now on.
    pub(crate) fn set(&self, way: Way) {
        self.state.way.store(way as u8, Ordering::SeqCst);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        if let Some(doorman) = self.doorman.take() {
            // It has nothing to say but that it panicked, and then its test has failed already.
            drop(doorman.join());
        }
    }
}

/// Two carriers, one for each direction; none where the server or the network is away.
fn connect(client: TcpStream, server: u16, state: &Arc<State>) -> Vec<JoinHandle<()>> {
    if state.is_over() {
        return Vec::new();
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return Vec::new() };
    let copy = |stream: &TcpStream| stream.try_clone().expect("a second handle");
    let line = Arc::new(Line::default());
    let ways = [(copy(&client), copy(&server), false), (server, client, true)];
    let carriers = ways.into_iter().map(|(from, to, answers)| {
        let (state, line) = (Arc::clone(state), Arc::clone(&line));
        thread::spawn(move || {
            // Either end may go at any time.
            drop(carry(&from, &to, answers, (&state, &line)));
            drop(from.shutdown(Shutdown::Both));
            drop(to.shutdown(Shutdown::Both));
        })
    });
    carriers.collect()
}

fn carry(
    mut from: &TcpStream,
    mut to: &TcpStream,
    answers: bool,
    (state, line): (&State, &Line),
) -> io::Result<()> {
    from.set_nonblocking(false)?;
    from.set_read_timeout(Some(LOOK))?;
    let mut octets = vec![0; OCTETS];
    while !state.is_over() {
        if state.is(Way::Still) {
            thread::sleep(LOOK);
            continue;
        }
        match from.read(&mut octets) {
            Ok(0) => return Ok(()),
            Ok(_) if answers && line.has(Loss::Cut) => return Ok(()),
            Ok(_) if answers && (state.is(Way::Unanswered) || line.has(Loss::Silence)) => {}
            Ok(number) => {
                if !answers {
                    line.hear(&octets[..number], state);
                    thread::sleep(if state.is(Way::Slow) { SLOW } else { Duration::ZERO });
                }
                while state.is(Way::Still) && !state.is_over() {
                    thread::sleep(LOOK);
                }
                to.write_all(&octets[..number])?;
            }
            Err(error) if is_no_octet_yet(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_no_octet_yet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
