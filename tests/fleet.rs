//! Several daemons that share an account's day through a real PostgreSQL: never more than the limit together, and nothing
//! lost, whoever is killed and whatever is away.
//!
//! `tests/fleet/fetch` unpacks the database; without it these tests fail.

mod account;
mod faults;
mod hosts;
mod logins;
mod tokens;

use std::time::Duration;

use crate::support::{
    daemon::{Daemon, Home, within},
    fleet::{in_fleet, submit},
    gmail::Gmail,
    outage::{ask, home_without_brakes, tail},
    postgres::{PASSWORD, Postgres},
    submitter::Acknowledged,
};

/// What the account may send in 24 hours.
const LIMIT: usize = 9;
/// For three daemons and a database on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A host of the fleet.
struct Host {
    name: &'static str,
    home: Home,
    daemon: Option<Daemon>,
    acknowledged: Vec<Acknowledged>,
}

impl Host {
    fn new(name: &'static str, gmail: &Gmail, database: (&Postgres, &str)) -> Self {
        let (server, database) = database;
        Self::at(name, gmail, LIMIT, (server.port, database))
    }

    /// A host to whom the server seems to be at this port.
    fn at(name: &'static str, gmail: &Gmail, limit: usize, (port, database): (u16, &str)) -> Self {
        let limit = u32::try_from(limit).expect("a small number");
        let home = home_without_brakes(&gmail.upstream(), limit);
        let home = in_fleet(home, name, (port, database));
        Self { name, home, daemon: None, acknowledged: Vec::new() }
    }

    /// What the account allows at a time, and in any hour.
    fn allow(&mut self, connections: u64, logins: u64) {
        let mut set = |key: &str, value: u64| self.home.set_environment(key, &value.to_string());
        set("PILLARBOX__UPSTREAM__CONNECTIONS", connections);
        set("PILLARBOX__UPSTREAM__LOGINS_PER_HOUR", logins);
    }

    fn start(mut self) -> Self {
        self.daemon = Some(self.home.start());
        self
    }

    /// Hands in messages to one recipient each, which must be taken.
    fn submit(&mut self, number: usize) {
        for _ in 0..number {
            let own = self.acknowledged.len();
            self.acknowledged.push(submit(&self.home, self.name, own, 500));
        }
    }

    /// Looks again at once, instead of within a minute.
    fn look_again(&self) {
        let answer = self.home.output(["reload"]);
        assert!(answer.status.success(), "{answer:?}");
    }
}

/// As if so many hours had passed for the books of the fleet.
fn pass(hours: u64, server: &Postgres, database: &str) {
    server.sql(
        database,
        &format!(
            "UPDATE pillarbox.account SET latest = latest - interval '{hours} h';
             UPDATE pillarbox.reservation SET lease_until = lease_until - interval '{hours} h',
                 counts_until = counts_until - interval '{hours} h';
             UPDATE pillarbox.login SET at = at - interval '{hours} h'"
        ),
    );
}

fn counted(server: &Postgres, database: &str) -> usize {
    let sum = server.sql(
        database,
        "SELECT coalesce(sum(recipients), 0) FROM pillarbox.reservation WHERE counts_until > clock_timestamp()",
    );
    sum.parse().expect("a number")
}

fn until<'a>(
    what: &str,
    hosts: impl IntoIterator<Item = &'a Host>,
    mut reached: impl FnMut() -> bool,
) {
    let reached = within(PATIENCE, || {
        std::thread::sleep(Duration::from_millis(100));
        reached()
    });
    let logs = hosts.into_iter().map(|host| tail(&host.home.log()).to_owned());
    assert!(reached, "not {what}: {}", logs.collect::<String>());
}

#[test]
fn three_hosts_one_of_which_is_killed_never_spend_more_than_their_day_together_and_lose_nothing() {
    let (server, gmail) = (Postgres::shared(), Gmail::start());
    let database = server.database();
    let host = |name| Host::new(name, &gmail, (&server, &database)).start();
    let mut hosts = ["a", "b", "c"].map(host);
    for _ in 0..2 {
        hosts.iter_mut().for_each(|host| host.submit(2));
    }
    until("the first mail sent", &hosts, || gmail.recipients() >= 4);
    hosts[1].daemon.take().expect("it runs").kill();
    hosts[1].daemon = Some(hosts[1].home.start());
    hosts.iter_mut().for_each(|host| host.submit(2));
    // Of what the kill has cut off it may be that nobody knows whether it was sent: that counts as well.
    until("the day spent", &hosts, || counted(&server, &database) == LIMIT);
    let first_day = gmail.recipients();
    assert!((LIMIT - 3..=LIMIT).contains(&first_day), "{first_day} recipients");
    for host in &hosts {
        let words = String::from_utf8(host.home.output(["status"]).stdout).expect("text");
        until("said", &hosts, || {
            let budget = ask(&host.home, &["status"])["budget"].clone();
            budget["spent"] == LIMIT && budget["spent_by_other_hosts"].as_u64() > Some(0)
        });
        assert!(words.contains("by other hosts"), "{words}");
    }
    let all = || hosts.iter().flat_map(|host| &host.acknowledged);
    let mut before = first_day;
    for day in 0.. {
        assert!(day < 6, "mail is left: {:?}", gmail.missing(all()));
        if gmail.missing(all()).is_empty() {
            break;
        }
        pass(25, &server, &database);
        hosts.iter().for_each(Host::look_again);
        until("another day spent", &hosts, || {
            gmail.missing(all()).is_empty() || counted(&server, &database) == LIMIT
        });
        let spent = gmail.recipients() - before;
        assert!(spent <= LIMIT, "{spent} recipients on day {day}");
        before = gmail.recipients();
    }
    assert_eq!(gmail.unexplained_duplicates(), Vec::<String>::new());
    assert_eq!(all().count(), 18);
}

#[test]
fn while_the_database_is_away_mail_is_taken_nothing_is_sent_and_it_goes_on_by_itself() {
    let (server, gmail) = (Postgres::start(), Gmail::start());
    let database = server.database();
    let mut hosts = [Host::new("a", &gmail, (&server, &database)).start()];
    hosts[0].submit(2);
    until("sent", &hosts, || gmail.recipients() == 2);
    server.stop();
    hosts[0].submit(2);
    let health = || String::from_utf8(hosts[0].home.output(["health"]).stdout).expect("text");
    until("said", &hosts, || health().contains("the fleet's database cannot be asked since"));
    let status = ask(&hosts[0].home, &["status"]);
    assert_eq!(status["departure"]["because"], "fleet", "{status:#}");
    let words = String::from_utf8(hosts[0].home.output(["status"]).stdout).expect("text");
    assert!(words.contains("the fleet's database cannot be asked"), "{words}");
    let list = String::from_utf8(hosts[0].home.output(["queue", "list"]).stdout).expect("text");
    assert!(list.contains("waits for the fleet's database"), "{list}");
    assert_eq!(gmail.recipients(), 2);
    server.resume();
    until("sent by itself", &hosts, || gmail.recipients() == 4);
    assert_eq!(gmail.missing(&hosts[0].acknowledged), Vec::<String>::new());
    until("well", &hosts, || !health().contains("fleet"));
    assert_eq!(counted(&server, &database), 4);
    assert!(!hosts[0].home.log().contains(PASSWORD));
}
