//! Three daemons and the connections of their account: never more at a time than it may have, and never more logins in an hour.

use serde_json::Value;

use super::{Host, pass, until};
use crate::support::{gmail::Gmail, outage::ask, postgres::Postgres};

/// Hosts that are told to have so many connections at a time, and logins in any hour.
fn hosts<const NUMBER: usize>(
    names: [&'static str; NUMBER],
    gmail: &Gmail,
    database: (&Postgres, &str),
    (connections, logins): (u64, u64),
) -> [Host; NUMBER] {
    names.map(|name| {
        let (server, database) = database;
        let mut host = Host::at(name, gmail, 1_000, (server.port, database));
        host.allow(connections, logins);
        host.start()
    })
}

fn departure(host: &Host) -> Value {
    ask(&host.home, &["status"])["departure"].clone()
}

fn words(host: &Host, command: &[&str]) -> String {
    String::from_utf8(host.home.output(command).stdout).expect("text")
}

#[test]
fn hosts_that_send_at_once_share_the_connections_and_every_one_comes_to_its_own() {
    let (server, gmail) = (Postgres::shared(), Gmail::start());
    let database = server.database();
    let mut hosts = hosts(["a", "b", "c"], &gmail, (&server, &database), (1, 1_000));
    for _ in 0..4 {
        hosts.iter_mut().for_each(|host| host.submit(5));
    }
    until("everything sent", &hosts, || gmail.recipients() == 60);
    assert_eq!(gmail.counters().connections_peak, 1);
    let promised = hosts.iter().flat_map(|host| &host.acknowledged);
    assert_eq!(gmail.missing(promised), Vec::<String>::new());
    assert_eq!(gmail.duplicates(), 0);
}

#[test]
fn a_host_that_has_no_connection_says_who_has_them_and_gets_that_of_one_that_is_gone() {
    let (server, gmail) = (Postgres::shared(), Gmail::start());
    let database = server.database();
    let mut hosts = hosts(["a", "b"], &gmail, (&server, &database), (1, 1_000));
    hosts[0].submit(1);
    until("sent", &hosts, || gmail.recipients() == 1);
    // Killed with its connection, which is its own for a while.
    hosts[0].daemon.take().expect("it runs").kill();
    hosts[1].submit(1);
    until("said", &hosts, || departure(&hosts[1])["because"] == "connections");
    let status = words(&hosts[1], &["status"]);
    assert!(status.contains("other hosts of the fleet use all connections"), "{status}");
    let list = words(&hosts[1], &["queue", "list"]);
    assert!(list.contains("waits for a connection, which other hosts have"), "{list}");
    let shown = words(&hosts[1], &["fleet"]);
    assert!(shown.contains("1 of 1 connection is open: a 1; waiting for one: b for "), "{shown}");
    assert!(shown.contains("1 of 1000 logins in the last hour"), "{shown}");
    assert_eq!(gmail.recipients(), 1);
    server.sql(&database, "UPDATE pillarbox.login SET open_until = open_until - interval '1 min'");
    until("sent as well", &hosts, || gmail.recipients() == 2);
    assert_eq!(gmail.counters().connections_peak, 1);
}

#[test]
fn the_logins_of_the_hour_are_those_of_all_hosts_also_after_one_was_killed() {
    let (server, gmail) = (Postgres::shared(), Gmail::start());
    let database = server.database();
    let mut hosts = hosts(["a", "b", "c"], &gmail, (&server, &database), (3, 2));
    hosts[0].submit(1);
    until("sent by the first", &hosts, || gmail.recipients() == 1);
    hosts[1].submit(1);
    until("sent by the second", &hosts, || gmail.recipients() == 2);
    hosts[1].daemon.take().expect("it runs").kill();
    hosts[1].daemon = Some(hosts[1].home.start());
    hosts[1].submit(1);
    hosts[2].submit(1);
    for host in [&hosts[1], &hosts[2]] {
        until("said", &hosts, || departure(host)["because"] == "logins");
    }
    let status = words(&hosts[2], &["status"]);
    assert!(
        status.contains("the logins of this hour are used up, by all hosts of the fleet together"),
        "{status}"
    );
    let at = departure(&hosts[2])["at"].as_i64().expect("a time");
    let now = ask(&hosts[2].home, &["status"])["now"].as_i64().expect("a time");
    assert!((50 * 60_000..=62 * 60_000).contains(&(at - now)), "{at} {now}");
    assert_eq!((gmail.counters().logins, gmail.recipients()), (2, 2));
    pass(2, &server, &database);
    hosts.iter().for_each(Host::look_again);
    until("sent after an hour", &hosts, || gmail.recipients() == 4);
    assert_eq!(gmail.counters().login_refusals, 0);
}
