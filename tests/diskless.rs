//! Daemons whose queue is in a real PostgreSQL: what one has accepted another sends, whoever is killed, stopped or stands
//! still, and whatever the database does.
//!
//! `tests/fleet/fetch` unpacks the database and its pooler; without them these tests fail.

mod pooler;
mod way;

use std::{fs, sync::Arc, time::Duration};

use pillarbox::{
    clock::{Clock as _, SystemClock},
    sandbox::{Failure, Stage},
};
use rustix::process::Signal;

use crate::support::{
    daemon::{Daemon, Home, within},
    fleet::{in_fleet, submit, try_submit, without_a_disk},
    gmail::Gmail,
    outage::{PLENTY, home_without_brakes, tail},
    postgres::Postgres,
    submitter::{Acknowledged, Load, Submitters},
};

/// For some daemons and a database on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Long enough to be stopped in the middle of it.
const DELAY: Duration = Duration::from_secs(4);

struct Scene {
    server: Arc<Postgres>,
    database: String,
    gmail: Gmail,
}

impl Scene {
    fn new() -> Self {
        Self::on(Postgres::shared())
    }

    fn on(server: Arc<Postgres>) -> Self {
        let database = server.database();
        Self { server, database, gmail: Gmail::start() }
    }

    /// A host that keeps nothing on its disk.
    fn host(&self, name: &'static str) -> Host {
        self.host_by(self.server.port, name)
    }

    /// The same to whom the server seems to be at this port.
    fn host_by(&self, port: u16, name: &'static str) -> Host {
        let home = home_without_brakes(&self.gmail.upstream(), PLENTY);
        self.host_in(without_a_disk(home, name, (port, &self.database)), name)
    }

    fn host_with_a_disk(&self, name: &'static str) -> Host {
        self.host_with_a_disk_by(self.server.port, name)
    }

    fn host_with_a_disk_by(&self, port: u16, name: &'static str) -> Host {
        let home = home_without_brakes(&self.gmail.upstream(), PLENTY);
        self.host_in(in_fleet(home, name, (port, &self.database)), name)
    }

    fn host_in(&self, home: Home, name: &'static str) -> Host {
        let upstream = self.gmail.upstream().port;
        Host { name, home, upstream, acknowledged: Vec::new() }
    }

    fn sql(&self, statement: &str) -> String {
        self.server.sql(&self.database, statement)
    }

    /// As if nothing had been heard of a host for longer than its lease.
    fn silence(&self, host: &Host) {
        let name = host.name;
        self.sql(&format!(
            "UPDATE pillarbox.queue SET lease_until = clock_timestamp() - interval '1 s' WHERE host = '{name}'"
        ));
    }

    /// As if a host had been on another machine, of which nobody here knows what is dead.
    fn move_away(&self, host: &Host) {
        let name = host.name;
        self.sql(&format!(
            "UPDATE pillarbox.queue SET process = 'another machine' WHERE host = '{name}'"
        ));
    }

    /// Waits until everything has arrived, once.
    fn expect_all(&self, hosts: &[&Host]) {
        let all = || hosts.iter().flat_map(|host| &host.acknowledged);
        let arrived = within(PATIENCE, || self.gmail.missing(all()).is_empty());
        let logs = || hosts.iter().map(|host| tail(&host.home.log()).to_owned());
        assert!(arrived, "{:?}: {}", self.gmail.missing(all()), logs().collect::<String>());
        let gone = within(PATIENCE, || self.sql("SELECT count(*) FROM pillarbox.message") == "0");
        assert!(gone, "{}", logs().collect::<String>());
        assert_eq!(self.sql("SELECT count(*) FROM pillarbox.body"), "0");
        let ids: Vec<_> = hosts.iter().flat_map(|host| host.acknowledged.clone()).collect();
        assert_eq!(self.gmail.altered(&ids), Vec::<String>::new());
    }
}

struct Host {
    name: &'static str,
    home: Home,
    upstream: u16,
    acknowledged: Vec<Acknowledged>,
}

impl Host {
    /// One that can send nothing until its next start: nobody listens where it looks for the upstream. (A pause would be of all
    /// hosts.)
    fn start_cut_off(&mut self) -> Daemon {
        self.home.set_environment("PILLARBOX__UPSTREAM__PORT", "1");
        let daemon = self.home.start();
        self.home.set_environment("PILLARBOX__UPSTREAM__PORT", &self.upstream.to_string());
        daemon
    }

    fn say(&self, command: &[&str]) -> String {
        let answer = self.home.output(command);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        assert!(answer.status.success(), "{command:?}: {}", text(&answer.stderr));
        text(&answer.stdout)
    }

    /// Hands in messages to one recipient each, which must be taken.
    fn submit(&mut self, number: usize, size: usize) {
        for _ in 0..number {
            let own = self.acknowledged.len();
            self.acknowledged.push(submit(&self.home, self.name, own, size));
        }
    }
}

#[test]
fn what_a_killed_host_has_accepted_another_sends_all_of_it_and_once() {
    let scene = Scene::new();
    let (mut dead, other) = (scene.host("dead"), scene.host("other"));
    let daemon = dead.start_cut_off();
    dead.submit(12, 500);
    // More than one row of octets.
    dead.submit(2, 700_000);
    scene.move_away(&dead);
    daemon.kill();
    fs::remove_dir_all(dead.home.state()).expect("its directory was there");
    let _other = other.home.start();
    assert_eq!(scene.gmail.recipients(), 0, "its lease lasts");
    scene.silence(&dead);
    scene.expect_all(&[&dead, &other]);
    assert_eq!(scene.gmail.duplicates(), 0);
    assert!(other.say(&["history", "list"]).contains("dead-0@example.org"), "it is that of all");
}

/// Nothing is done to the database: what the others wait for is the lease as it is.
#[test]
fn mail_of_a_dead_host_leaves_within_a_minute_of_its_death() {
    let scene = Scene::new();
    let (mut dead, other) = (scene.host("dead"), scene.host("other"));
    let _other = other.home.start();
    let daemon = dead.start_cut_off();
    dead.submit(3, 500);
    scene.move_away(&dead);
    daemon.kill();
    let clock = SystemClock::new();
    let death = clock.now().since_boot_ms;
    scene.expect_all(&[&dead, &other]);
    let time = (clock.now().since_boot_ms - death) / 1_000;
    println!("fleet death to departure: {time} s");
    assert!((15..60).contains(&time), "{time} s: the lease is 30 s and renewed every 5 to 7");
    assert_eq!(scene.gmail.duplicates(), 0);
}

#[test]
fn a_host_that_is_killed_and_started_again_waits_for_no_lease_of_its_own() {
    let scene = Scene::new();
    let mut host = scene.host("again");
    let daemon = host.home.start();
    host.submit(1, 500);
    scene.expect_all(&[&host]);
    let connections = "SELECT count(*) FROM pillarbox.login WHERE open_until > clock_timestamp()";
    assert_eq!(scene.sql(connections), "1", "the one is open that carried the message");
    daemon.kill();
    let daemon = host.start_cut_off();
    host.submit(3, 500);
    daemon.kill();
    let again = host.home.start();
    let clock = SystemClock::new();
    let start = clock.now().since_boot_ms;
    scene.expect_all(&[&host]);
    let time = (clock.now().since_boot_ms - start) / 1_000;
    assert!(time < 20, "{time} s: its mail has a lease of 30 s, and its connection one of 60");
    assert_eq!(scene.gmail.duplicates(), 0);
    assert!(again.terminate(PATIENCE).success());
}

#[test]
fn a_host_that_stands_still_in_an_attempt_sends_nothing_when_its_mail_was_taken_over() {
    let scene = Scene::new();
    let (mut still, other) = (scene.host("still"), scene.host("other"));
    let daemon = still.home.start();
    scene.gmail.strike("still-0@example.org", Stage::Data, Failure::Delay(DELAY));
    still.submit(1, 500);
    let claimed = "SELECT count(*) FROM pillarbox.message WHERE claim IS NOT NULL";
    assert!(within(PATIENCE, || scene.sql(claimed) == "1"), "{}", still.home.log());
    daemon.signal(Signal::STOP);
    scene.gmail.relent("still-0@example.org");
    scene.silence(&still);
    let _other = other.home.start();
    scene.expect_all(&[&still, &other]);
    daemon.signal(Signal::CONT);
    assert_eq!(daemon.wait(PATIENCE).code(), Some(75), "{}", still.home.log());
    assert!(still.home.log().contains("another host has taken over"), "{}", still.home.log());
    assert_eq!(scene.gmail.recipients(), 1, "{}", still.home.log());
    // Its supervisor starts it anew.
    let again = still.home.start();
    still.submit(1, 500);
    scene.expect_all(&[&still]);
    assert!(again.terminate(PATIENCE).success());
}

#[test]
fn a_clean_stop_hands_the_mail_over_at_once() {
    let scene = Scene::new();
    let (mut first, second) = (scene.host("first"), scene.host("second"));
    let (daemon, _second) = (first.start_cut_off(), second.home.start());
    first.submit(5, 500);
    assert!(daemon.terminate(PATIENCE).success());
    // Of its lease the most is left.
    let arrived = within(Duration::from_secs(20), || scene.gmail.recipients() == 5);
    assert!(arrived, "{}", second.home.log());
    scene.expect_all(&[&first, &second]);
    assert_eq!(scene.gmail.duplicates(), 0);
    // What a person has ordered on one host holds for the next start of another.
    second.say(&["pause"]);
    let _first = first.home.start();
    let is_paused = || first.say(&["status"]).contains("paused by the administrator");
    assert!(within(PATIENCE, is_paused), "{}", first.say(&["status"]));
}

#[test]
fn a_database_that_goes_away_in_the_middle_of_accepts_has_every_message_that_was_acknowledged() {
    let scene = Scene::on(Arc::new(Postgres::start()));
    let mut host = scene.host("a");
    let daemon = host.home.start();
    let load = Load { clients: 4, ..Load::default() };
    let submitters = Submitters::start(host.home.smtp, "cut", &load, 7);
    for _ in 0..2 {
        let taken = submitters.seen().acknowledged.len();
        assert!(within(PATIENCE, || submitters.seen().acknowledged.len() > taken + 10));
        scene.server.stop();
        let refused = || submitters.seen().refusals.iter().any(|reply| reply.contains("451 4.3"));
        assert!(within(PATIENCE, refused), "{:?}", submitters.seen().refusals);
        let health = || host.home.output(["health", "--ready"]);
        let words = || String::from_utf8_lossy(&health().stderr).into_owned();
        let said = within(PATIENCE, || {
            words().contains("the queue in the fleet's database cannot be used")
        });
        assert!(said, "{}", words());
        let told = host.say(&["fleet"]);
        assert!(told.contains("this host takes no mail meanwhile"), "{told}");
        // A new start would mend nothing.
        assert!(host.home.output(["health"]).status.success(), "{}", words());
        scene.server.resume();
    }
    let taken = submitters.seen().acknowledged.len();
    let goes_on = within(PATIENCE, || submitters.seen().acknowledged.len() > taken + 10);
    assert!(goes_on, "{}", tail(&host.home.log()));
    host.acknowledged = submitters.finish().acknowledged;
    scene.expect_all(&[&host]);
    assert_eq!(scene.gmail.unexplained_duplicates(), Vec::<String>::new());
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn mail_moves_from_the_disk_to_the_database_and_back() {
    let scene = Scene::new();
    let mut host = scene.host_with_a_disk("a");
    let daemon = host.start_cut_off();
    host.submit(3, 500);
    let held = host.acknowledged[1].queue_id().to_owned();
    host.say(&["queue", "hold", &held]);
    let (first, second) = (host.home.path("first"), host.home.path("second"));
    let export = |host: &Host, target: &std::path::Path| {
        let target = target.display().to_string();
        host.say(&["store", "export", "--format", "maildir", "--to", &target])
    };
    assert!(daemon.terminate(PATIENCE).success());
    assert!(export(&host, &first).contains("3 messages written"));

    host.home.set_environment("PILLARBOX__QUEUE__BACKEND", "postgres");
    let refused = host.home.output(["run"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("(messages: 3)"), "{words}");
    let state = host.home.state().to_owned();
    fs::rename(&state, host.home.path("before")).expect("its directory");
    let imported = host.say(&["store", "import", &first.display().to_string()]);
    assert!(imported.contains("3 messages"), "{imported}");
    assert_eq!(scene.sql("SELECT count(*) FROM pillarbox.message"), "3");
    let checked = host.home.output(["store", "check"]);
    assert!(String::from_utf8_lossy(&checked.stderr).contains("in the fleet's database"));
    let daemon = host.start_cut_off();
    let listed = host.say(&["queue", "list"]);
    assert!(host.acknowledged.iter().all(|one| listed.contains(one.queue_id())), "{listed}");
    let target = second.display().to_string();
    let busy = host.home.output(["store", "export", "--format", "maildir", "--to", &target]);
    assert!(String::from_utf8_lossy(&busy.stderr).contains("in use by a"), "{busy:?}");
    assert!(daemon.terminate(PATIENCE).success());
    assert!(export(&host, &second).contains("3 messages written"));

    host.home.set_environment("PILLARBOX__QUEUE__BACKEND", "sled");
    fs::remove_dir_all(&state).expect("a cache");
    host.say(&["store", "import", &target]);
    let daemon = host.home.start();
    let list = host.say(&["queue", "list", "--state", "held"]);
    assert!(list.contains(&held), "{list}");
    host.say(&["queue", "retry", &held]);
    let all = || scene.gmail.missing(&host.acknowledged);
    assert!(within(PATIENCE, || all().is_empty()), "{:?}", all());
    assert_eq!((scene.gmail.duplicates(), scene.gmail.recipients()), (0, 3));
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn an_import_beside_a_host_that_runs_becomes_its_mail_and_is_known_when_it_is_repeated() {
    let scene = Scene::new();
    let (mut host, mut other) = (scene.host_with_a_disk("a"), scene.host("other"));
    let daemon = host.start_cut_off();
    host.submit(3, 500);
    assert!(daemon.terminate(PATIENCE).success());
    let target = host.home.path("mail").display().to_string();
    host.say(&["store", "export", "--format", "maildir", "--to", &target]);
    fs::rename(host.home.state(), host.home.path("before")).expect("its directory");
    host.home.set_environment("PILLARBOX__QUEUE__BACKEND", "postgres");

    let running = other.start_cut_off();
    let imported = host.say(&["store", "import", &target]);
    assert!(imported.contains("3 messages imported"), "{imported}");
    assert!(imported.contains("a host that runs takes it over"), "{imported}");
    let is_there = |one: &Acknowledged| other.say(&["queue", "list"]).contains(one.queue_id());
    let all = || host.acknowledged.iter().all(is_there);
    assert!(within(PATIENCE, all), "{}", other.say(&["queue", "list"]));
    let again = host.say(&["store", "import", &target]);
    assert!(again.contains("0 messages imported, 3 known before"), "{again}");
    let busy = host.home.output(["store", "export", "--format", "mbox", "--to", "/nowhere/mbox"]);
    assert!(String::from_utf8_lossy(&busy.stderr).contains("in use by other"), "{busy:?}");
    assert!(running.terminate(PATIENCE).success());
    let _other = other.home.start();
    scene.expect_all(&[&host]);
    assert_eq!((scene.gmail.duplicates(), scene.gmail.recipients()), (0, 3));
}
