//! Figures of the books in a PostgreSQL that syncs: a few in each run of the tests, as many as the bench asks for in its own.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::scene::{A, ACCOUNT, Scene, ask, granted, of_environment, ticket};
use crate::{
    budget::Limit,
    clock::Stopwatch,
    fleet::{books::Books as _, postgres::Postgres},
};

/// How long each number of hosts is watched, in seconds.
const SECONDS: &str = "PILLARBOX_FLEET_SECONDS";
/// Messages after which the tables are looked at.
const MESSAGES: &str = "PILLARBOX_FLEET_MESSAGES";
/// Recipients of the last 24 hours that each claim adds up: an account of Workspace that is nearly spent.
const SPENT: i32 = 1_900;
const LIMIT: u32 = 2_000;

/// A message of a host: reserved, sent by nobody, and settled.
async fn one_message(books: &Postgres, host: &str, spent: u32) {
    let asked = ask(1, LIMIT);
    let granted = granted(books.reserve(ACCOUNT, host, &asked).await).expect("there is room");
    assert!(books.settle(ACCOUNT, ticket(&asked, granted), spent).await.unwrap());
}

/// Messages of so many hosts at once in this time.
async fn messages_of(scene: &Scene, hosts: u32, time: Duration) -> u32 {
    let mut running = JoinSet::new();
    let began = Stopwatch::start();
    for host in 0..hosts {
        let (books, name) = (scene.books(), format!("host {host}"));
        running.spawn(async move {
            let mut messages = 0;
            while began.elapsed() < time {
                one_message(&books, &name, 0).await;
                messages += 1;
            }
            messages
        });
    }
    running.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_and_settlements_a_second_of_one_host_and_of_twenty() {
    let time = Duration::from_millis(u64::from(of_environment(SECONDS, 0)) * 1_000 + 200);
    let scene = Scene::that_syncs();
    let books = scene.books();
    books.spent(ACCOUNT, A, Limit::NONE).await.unwrap();
    scene.sql(&format!(
        "INSERT INTO pillarbox.account (name, fence) VALUES ('{ACCOUNT}', {SPENT});
         INSERT INTO pillarbox.reservation
         SELECT '{ACCOUNT}', number, 'a', number, 1, true, clock_timestamp(), clock_timestamp() + interval '20 h'
         FROM generate_series(1, {SPENT}) number"
    ));
    for hosts in [1, 5, 20] {
        let messages = messages_of(&scene, hosts, time).await;
        let rate = f64::from(messages) / time.as_secs_f64();
        let each = f64::from(hosts) * 1_000.0 / rate;
        println!("fleet {hosts} hosts: {rate:.0} /s {each:.1} ms");
        assert!(messages >= hosts, "each has sent");
    }
    let left = scene.sql("SELECT count(*), max(fence) > 0 FROM pillarbox.reservation");
    assert_eq!(left, format!("{SPENT}|t"), "what was given back is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_stay_as_small_as_a_day_however_many_messages_were_sent() {
    const A_DAY: u32 = 1_000;
    let messages = of_environment(MESSAGES, 2 * A_DAY);
    let scene = Scene::new();
    let hosts: Vec<Arc<Postgres>> = (0..4).map(|_| Arc::new(scene.books())).collect();
    let mut sent = 0;
    while sent < messages {
        let mut running = JoinSet::new();
        for books in &hosts {
            let books = Arc::clone(books);
            running.spawn(async move {
                for _ in 0..A_DAY / 4 {
                    one_message(&books, "a", 1).await;
                }
            });
        }
        running.join_all().await;
        sent += A_DAY;
        scene.pass(Duration::from_secs(26 * 3_600));
        hosts[0].sweep().await.unwrap();
    }
    let octets = scene.sql(
        "SELECT pg_total_relation_size('pillarbox.reservation') + pg_total_relation_size('pillarbox.account')",
    );
    let octets: u64 = octets.parse().expect("a number");
    println!("fleet after {sent} messages: {} KiB", octets / 1024);
    let rows = scene.sql("SELECT count(*) FROM pillarbox.reservation");
    assert_eq!(rows, "0");
    // Two days of rows that nobody has vacuumed yet, and their indexes.
    assert!(octets < 4 * 1024 * 1024, "{octets} octets");
}
