//! Five daemons, one database and one account over simulated days, while hosts are killed and stand still, clocks are set,
//! and the network and the database come and go.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use fastrand::Rng;
use pillarbox::sandbox::{self, Accepted};
use rustix::process::Signal;

use super::{Host, counted, pass, until};
use crate::support::{
    gmail::Gmail,
    network::{Network, Way},
    outage::{ask, seed, tail},
    postgres::Postgres,
};

/// What the account may send in 24 hours, at the upstream as well.
const LIMIT: usize = 12;
/// What each host is given to send. Its own ledger, whose day does not pass here, has room for it, and for the notices that it
/// may write for all that the day is spent.
const EACH: usize = 10;
/// Its connections at a time, and logins in any hour.
const CONNECTIONS: u64 = 2;
const LOGINS: u64 = 120;
const HOSTS: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Of the simulated time. Without faults the mail takes five days.
const HOURS_MAX: u64 = 14 * 24;
const DAY_MS: i64 = 24 * 3_600_000;

/// The look-alike's clock: this machine's, and the hours that the test lets pass.
#[derive(Debug, Default)]
struct Shifted {
    real: sandbox::SystemClock,
    hours: AtomicU64,
}

impl sandbox::Clock for Shifted {
    fn now(&self) -> sandbox::Moment {
        let now = self.real.now();
        let passed = Duration::from_secs(3_600 * self.hours.load(Ordering::SeqCst));
        let passed_ms = i64::try_from(passed.as_millis()).expect("some days");
        sandbox::Moment {
            wall: sandbox::Timestamp(now.wall.0 + passed_ms),
            running: now.running + passed,
            ..now
        }
    }

    fn sleep(&self, duration: Duration) -> sandbox::Sleep<'_> {
        self.real.sleep(duration)
    }
}

/// A host, its way to the database, and its wall clock.
struct Place {
    host: Host,
    network: Network,
    wall: PathBuf,
}

impl Place {
    fn new(name: &'static str, gmail: &Gmail, (port, database): (u16, &str)) -> Self {
        let network = Network::before(port);
        let mut host = Host::at(name, gmail, LIMIT, (network.port, database));
        host.allow(CONNECTIONS, LOGINS);
        let (library, wall) = (host.home.path("wall_clock.so"), host.home.path("wall-clock"));
        compile(&library);
        host.home.set_environment("LD_PRELOAD", &library.display().to_string());
        host.home.set_environment("WALL_CLOCK", &wall.display().to_string());
        Self { host: host.start(), network, wall }
    }

    /// Whether it has nothing under way.
    fn is_quiet(&self) -> bool {
        ask(&self.host.home, &["status"])["in_flight"].as_array().is_some_and(Vec::is_empty)
    }
}

/// What compiles Rust has a C compiler: it links with it.
fn compile(library: &Path) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/wall_clock.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-o"]).args([library, Path::new(source)]);
    assert!(compiler.arg("-ldl").status().expect("a C compiler").success());
}

/// The fleet of the test.
struct Fleet {
    server: Postgres,
    database: String,
    gmail: Gmail,
    clock: Arc<Shifted>,
    places: Vec<Place>,
    random: Rng,
    /// What was done, and how often.
    done: BTreeMap<&'static str, usize>,
}

impl Fleet {
    fn start(seed: u64) -> Self {
        let clock = Arc::new(Shifted::default());
        let of_gmail = Arc::clone(&clock);
        let gmail = Gmail::with(|options| {
            options.clock = of_gmail;
            options.recipients_per_day = u32::try_from(LIMIT).expect("a small number");
        });
        let server = Postgres::start();
        let database = server.database();
        let place = |name| Place::new(name, &gmail, (server.port, &database));
        let places = HOSTS.map(place).into();
        let (random, done) = (Rng::with_seed(seed), BTreeMap::new());
        Self { server, database, gmail, clock, places, random, done }
    }

    /// Something goes wrong for a moment, and is well again afterwards. Nothing of it may need a person.
    fn harm(&mut self) {
        let (which, moment) = (self.random.usize(..HOSTS.len()), self.random.u64(20..900));
        let place = &mut self.places[which];
        let wait = || thread::sleep(Duration::from_millis(moment));
        let through = |way| {
            place.network.set(way);
            wait();
            if way == Way::Unanswered {
                place.network.set(Way::Cut);
                thread::sleep(Duration::from_millis(50));
            }
            place.network.set(Way::Open);
        };
        let what = match self.random.u8(..7) {
            0 => {
                place.host.daemon.take().expect("it runs").kill();
                // Its connections went with it; the minute until the books know that would be waited for.
                let name = place.host.name;
                self.server.sql(
                    &self.database,
                    &format!("UPDATE pillarbox.login SET open_until = clock_timestamp() WHERE host = '{name}'"),
                );
                place.host.daemon = Some(place.host.home.start());
                "a host was killed"
            }
            1 => {
                let daemon = place.host.daemon.as_ref().expect("it runs");
                daemon.signal(Signal::STOP);
                wait();
                daemon.signal(Signal::CONT);
                "a host stood still"
            }
            2 => {
                let seconds = self.random.i64(-6 * 3_600..6 * 3_600);
                fs::write(&place.wall, seconds.to_string()).expect("a file");
                "a clock was set"
            }
            3 => {
                through(Way::Cut);
                "a network was cut"
            }
            4 => {
                through(Way::Still);
                "a network stood still"
            }
            5 => {
                through(Way::Unanswered);
                "answers were lost"
            }
            _ => {
                self.server.stop();
                wait();
                self.server.resume();
                "the database was restarted"
            }
        };
        *self.done.entry(what).or_default() += 1;
    }

    fn is_delivered(&self) -> bool {
        self.missing().is_empty()
    }

    fn missing(&self) -> Vec<String> {
        self.gmail.missing(self.places.iter().flat_map(|place| &place.host.acknowledged))
    }

    /// Waits until nothing more can be sent in this hour, and nothing is under way.
    fn settle(&self) {
        self.places.iter().for_each(|place| place.host.look_again());
        let mut spent = || {
            let is_spent = || counted(&self.server, &self.database) >= LIMIT || self.is_delivered();
            is_spent() && self.places.iter().all(Place::is_quiet) && is_spent()
        };
        until("spent", self.places.iter().map(|place| &place.host), &mut spent);
    }

    /// Hours pass, for the upstream first: what is over there is over for the books only then.
    fn pass(&self, hours: u64) {
        self.clock.hours.fetch_add(hours, Ordering::SeqCst);
        pass(hours, &self.server, &self.database);
    }

    /// The most recipients that were accepted in any 24 hours.
    fn most_in_a_day(&self) -> usize {
        let accepted = self.gmail.accepted();
        let within = |first: &Arc<Accepted>| {
            let day = first.at.0..first.at.0 + DAY_MS;
            let in_it = accepted.iter().filter(|message| day.contains(&message.at.0));
            in_it.map(|message| message.rcpt_to.len()).sum()
        };
        accepted.iter().map(within).max().unwrap_or(0)
    }
}

#[test]
fn five_hosts_with_every_kind_of_trouble_keep_to_their_day_lose_nothing_and_starve_nobody() {
    let mut fleet = Fleet::start(seed("fleet"));
    let (mut passed, mut logged_in) = (0, 0);
    let submitted = |fleet: &Fleet| fleet.places[0].host.acknowledged.len();
    while submitted(&fleet) < EACH || !fleet.is_delivered() {
        assert!(passed < HOURS_MAX, "after {passed} hours {:?} are left", fleet.missing());
        if submitted(&fleet) < EACH {
            fleet.places.iter_mut().for_each(|place| place.host.submit(2));
        }
        for _ in 0..2 {
            fleet.harm();
        }
        fleet.settle();
        let logins = fleet.gmail.counters().logins + fleet.gmail.counters().login_refusals;
        // Between two rounds there are hours.
        assert!(logins - logged_in <= LOGINS, "{} logins in an hour", logins - logged_in);
        logged_in = logins;
        let hours = fleet.random.u64(2..14);
        fleet.pass(hours);
        passed += hours;
    }
    let logs = || fleet.places.iter().map(|place| tail(&place.host.home.log()).to_owned());
    assert!(fleet.most_in_a_day() <= LIMIT, "{} in a day", fleet.most_in_a_day());
    // No host stands still for as long as its connections last without it: then they would be counted here as well.
    assert!(fleet.gmail.counters().connections_peak <= CONNECTIONS, "{:?}", fleet.gmail.counters());
    assert_eq!(fleet.gmail.quota_refusals(), 0, "{}", logs().collect::<String>());
    assert_eq!(fleet.gmail.unexplained_duplicates(), Vec::<String>::new());
    let acknowledged = fleet.places.iter().map(|place| place.host.acknowledged.len());
    assert_eq!(acknowledged.sum::<usize>(), EACH * HOSTS.len());
    assert!(fleet.done.values().sum::<usize>() >= 12, "{:?}", fleet.done);
}
