//! Clients that only want to submit mail: a connection, a message, QUIT; and how long that took.
//!
//! Rule: whatever a client hears but a 250 to its message is a refusal. Must not know what goes on beside it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use fastrand::Rng;
use pillarbox::clock::{Clock as _, SystemClock};

use crate::support::submitter::{Wire, message};

/// Clients at a time.
const CLIENTS: usize = 4;
/// Between two messages of one client: cron jobs and printers, not a load test of their own.
const PAUSE: Duration = Duration::from_millis(20);
const MESSAGE_BYTES: usize = 4 * 1024;
/// Messages at most, should the flood not end.
const MESSAGES_MAX: usize = 20_000;

/// What the honest clients saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// From before the connection to after the 250, for each message that was accepted.
    pub(super) latencies_ms: Vec<u64>,
    /// What was heard or happened instead.
    pub(super) refusals: Vec<String>,
}

/// Clients at work.
pub(super) struct Honest {
    threads: Vec<JoinHandle<()>>,
    seen: Arc<Mutex<Seen>>,
}

impl Honest {
    /// Clients that submit at least `messages`, for at least `lasts`, and until the flood has `finished`.
    pub(super) fn start(
        daemon: SocketAddr,
        messages: usize,
        lasts: Duration,
        finished: Arc<AtomicBool>,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let begun = Arc::new(AtomicUsize::new(0));
        let until_ms = now_ms() + u64::try_from(lasts.as_millis()).unwrap();
        let client = |number: usize| {
            let (seen, begun, finished) =
                (Arc::clone(&seen), Arc::clone(&begun), Arc::clone(&finished));
            move || {
                let mut random = Rng::with_seed(number as u64);
                loop {
                    let place = begun.fetch_add(1, Ordering::Relaxed);
                    let is_over = now_ms() >= until_ms && finished.load(Ordering::SeqCst);
                    if (place >= messages && is_over) || place >= MESSAGES_MAX {
                        return;
                    }
                    submit(daemon, place, &mut random, &seen);
                    std::thread::sleep(PAUSE);
                }
            }
        };
        let threads = (0..CLIENTS).map(|number| std::thread::spawn(client(number))).collect();
        Self { threads, seen }
    }

    /// Waits for them.
    pub(super) fn finish(self) -> Seen {
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn submit(daemon: SocketAddr, place: usize, random: &mut Rng, seen: &Mutex<Seen>) {
    let text = message(&format!("<honest.{place}@client.example.org>"), MESSAGE_BYTES, random);
    let began = now_ms();
    let wire = Wire::connect(daemon);
    let answer = wire.and_then(|mut wire| wire.submit(&["reader@example.net".to_owned()], &text));
    let took = now_ms() - began;
    let mut seen = seen.lock().unwrap();
    match answer {
        Ok(Ok(_)) => seen.latencies_ms.push(took),
        Ok(Err(refusal)) => seen.refusals.push(refusal),
        Err(error) => seen.refusals.push(error.to_string()),
    }
}

/// The value below which this part of a hundred lies; 0 of nothing.
pub(super) fn percentile(values: &mut [u64], part: usize) -> u64 {
    values.sort_unstable();
    let place = (values.len() * part).div_ceil(100).saturating_sub(1);
    values.get(place).copied().unwrap_or(0)
}

fn now_ms() -> u64 {
    SystemClock::new().now().since_boot_ms
}
