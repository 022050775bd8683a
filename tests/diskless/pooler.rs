//! Hosts behind a real PgBouncer in its transaction mode, with fewer connections to the database than hosts ask by.

use super::*;
use crate::support::pooler::Pooler;

/// A host without a disk alone has up to seven of its own.
const CONNECTIONS: usize = 2;

#[test]
fn behind_pgbouncer_hosts_with_and_without_a_disk_accept_relay_take_over_and_hear_each_other() {
    let scene = Scene::new();
    let pooler = Pooler::before(&scene.server, CONNECTIONS);
    let (mut dead, mut other) =
        (scene.host_by(pooler.port, "dead"), scene.host_by(pooler.port, "other"));
    let mut with_a_disk = scene.host_with_a_disk_by(pooler.port, "disk");
    let first = dead.start_cut_off();
    dead.submit(10, 500);
    // More than one row of octets.
    dead.submit(2, 700_000);
    let _other = other.home.start();
    let _with_a_disk = with_a_disk.home.start();
    other.submit(10, 500);
    with_a_disk.submit(10, 500);
    let hosts = "SELECT count(*) FROM pillarbox.host WHERE NOT stopped";
    assert!(within(PATIENCE, || scene.sql(hosts) == "3"), "{}", pooler.log());
    first.kill();
    scene.silence(&dead);
    scene.expect_all(&[&dead, &other, &with_a_disk]);
    assert_eq!(scene.gmail.duplicates(), 0);
    let spent = "SELECT sum(recipients) FROM pillarbox.reservation WHERE settled";
    assert!(within(PATIENCE, || scene.sql(spent) == "32"), "{}", scene.sql(spent));

    let shown = other.say(&["fleet"]);
    assert!(shown.contains("disk") && shown.contains("answered within"), "{shown}");
    other.say(&["fleet", "drain", "disk"]);
    let is_drained = || with_a_disk.say(&["status"]).contains("drained since");
    assert!(within(PATIENCE, is_drained), "{}", with_a_disk.say(&["status"]));
    other.say(&["pause", "new", "server"]);
    let is_paused = || with_a_disk.say(&["status"]).contains("new server (ordered on other)");
    assert!(within(PATIENCE, is_paused), "{}", with_a_disk.say(&["status"]));
    other.say(&["resume"]);
    // The server ends each connection, also those that the pooler kept.
    scene.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    let goes_on = || submit_more(&mut other);
    assert!(within(PATIENCE, goes_on), "{}", tail(&other.home.log()));
    scene.expect_all(&[&other]);
}

/// Hands in one more, which may be refused for a moment.
fn submit_more(host: &mut Host) -> bool {
    let number = host.acknowledged.len();
    let taken = try_submit(host.home.smtp, (host.name, number), 500);
    taken.map(|acknowledged| host.acknowledged.push(acknowledged)).is_ok()
}
