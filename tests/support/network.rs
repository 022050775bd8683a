//! A small network between a client and a server: it carries, is cut, stands still, or loses what the server answers.
//!
//! Rule: only octets of the loopback interface pass, and each connection ends with the network. Must not know a protocol.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often a connection looks whether the network has changed.
const LOOK: Duration = Duration::from_millis(10);
const OCTETS: usize = 16 * 1024;

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
}

impl State {
    fn is(&self, way: Way) -> bool {
        self.way.load(Ordering::SeqCst) == way as u8
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::SeqCst) || self.is(Way::Cut)
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
    let ways = [(copy(&client), copy(&server), false), (server, client, true)];
    let carriers = ways.into_iter().map(|(from, to, answers)| {
        let state = Arc::clone(state);
        thread::spawn(move || {
            // Either end may go at any time.
            drop(carry(&from, &to, answers, &state));
            drop(from.shutdown(Shutdown::Both));
            drop(to.shutdown(Shutdown::Both));
        })
    });
    carriers.collect()
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, answers: bool, state: &State) -> io::Result<()> {
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
            Ok(_) if answers && state.is(Way::Unanswered) => {}
            Ok(number) => {
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
