//! Figures of a queue in a PostgreSQL that syncs: a few messages in each run of the tests, as many as the bench asks for in
//! its own.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{open, relayed, until_so};
use crate::{
    budget::Limit,
    clock::{Clock as _, Stopwatch, SystemClock},
    fleet::tests::scene::{Scene, of_environment},
    queue::{
        Claim, ClaimLimits, ClaimedMessage, Queue,
        fixtures::{LIMITS, accept},
    },
};

/// Messages that wait.
const QUEUED: &str = "PILLARBOX_FLEET_QUEUED";
/// Messages that have left, over a hundred days.
const HISTORY: &str = "PILLARBOX_FLEET_HISTORY";
/// Messages that come and go.
const PASSING: &str = "PILLARBOX_FLEET_PASSING";
/// How many of them at a time.
const AT_A_TIME: u32 = 16;
/// How many are sent, of which the middle is told.
const SENT: usize = 50;
const UNLIMITED: ClaimLimits = ClaimLimits { limit: Limit::NONE, ..LIMITS };

async fn claim(queue: &Queue) -> ClaimedMessage {
    match queue.claim_due(SystemClock::new().now(), UNLIMITED).await.unwrap() {
        Claim::Message(claimed) => claimed,
        other => panic!("{other:?}"),
    }
}

async fn send_one(queue: &Queue) {
    let claimed = claim(queue).await;
    queue.final_dot(claimed.id).await.unwrap();
    queue.settle(claimed.id, relayed(&claimed)).await.unwrap();
}

/// More of a message that waits and of one that has left, as the daemon has written them.
fn multiply(scene: &Scene, waiting: u32, left: u32) {
    scene.sql(&format!(
        "INSERT INTO pillarbox.message (id, queue, record)
         SELECT set_byte(decode(lpad(to_hex(number), 32, '0'), 'hex'), 0, 1), queue, record
         FROM (SELECT * FROM pillarbox.message LIMIT 1) one, generate_series(1, {waiting}) number;
         INSERT INTO pillarbox.body
         SELECT m.id, 0, b.octets FROM pillarbox.message m, (SELECT * FROM pillarbox.body LIMIT 1) b
         WHERE m.id <> b.message;
         DO $$ DECLARE first bigint; BEGIN
             FOR day IN 1 .. 100 LOOP
                 first := floor(extract(epoch FROM clock_timestamp()) / 86400) - day;
                 EXECUTE format('CREATE TABLE pillarbox.%I PARTITION OF pillarbox.history FOR VALUES FROM (%s) TO (%s)',
                     'history_' || to_char(to_timestamp(first * 86400) AT TIME ZONE 'UTC', 'YYYYMMDD'),
                     first * 86400000, (first + 1) * 86400000);
             END LOOP;
         END $$;
         INSERT INTO pillarbox.history
         SELECT set_byte(decode(lpad(to_hex(number), 32, '0'), 'hex'), 0, 2),
                (floor(extract(epoch FROM clock_timestamp()) / 86400) - 1 - number % 100)::bigint * 86400000 + number,
                one.record
         FROM (SELECT * FROM pillarbox.history LIMIT 1) one, generate_series(1, {left}) number;
         ANALYZE"
    ));
}

fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1_000.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_among_many_that_wait_beside_a_long_history() {
    let (waiting, left) = (of_environment(QUEUED, 300), of_environment(HISTORY, 3_000));
    let scene = Scene::that_syncs();
    let directory = tempfile::tempdir().unwrap();
    let first = open(&scene, "a", directory.path()).unwrap();
    accept(&first, SystemClock::new().wall()).await;
    send_one(&first).await;
    accept(&first, SystemClock::new().wall()).await;
    multiply(&scene, waiting, left);
    first.close().await;
    drop(first);

    let began = Stopwatch::start();
    let queue = open(&scene, "a", directory.path()).unwrap();
    let start = began.elapsed();
    assert_eq!(queue.totals().messages, u64::from(waiting) + 1, "it took over what waits");
    let news = scene.sql("SELECT count(*) FROM pillarbox.message WHERE fresh");
    assert_eq!(news, "0", "what a start reads it does not hear of again");
    let [mut accepts, mut claims, mut dots, mut settlements] = [(); 4].map(|()| Vec::new());
    for _ in 0..SENT {
        let began = Stopwatch::start();
        accept(&queue, SystemClock::new().wall()).await;
        accepts.push(began.elapsed());
        let began = Stopwatch::start();
        let claimed = claim(&queue).await;
        claims.push(began.elapsed());
        let began = Stopwatch::start();
        queue.final_dot(claimed.id).await.unwrap();
        dots.push(began.elapsed());
        let began = Stopwatch::start();
        queue.settle(claimed.id, relayed(&claimed)).await.unwrap();
        settlements.push(began.elapsed());
    }
    println!(
        "rows {waiting} wait, {left} have left: start {:.1} s, accept {:.1} ms, claim {:.1} ms, dot {:.1} ms, settle {:.1} ms",
        start.as_secs_f64(),
        middle(accepts),
        middle(claims),
        middle(dots),
        middle(settlements),
    );
    let rows =
        "SELECT (SELECT count(*) FROM pillarbox.message), (SELECT count(*) FROM pillarbox.history)";
    assert_eq!(scene.sql(rows), format!("{}|{}", waiting + 1, left as usize + 1 + SENT));
    queue.close().await;
    drop(queue);
    let read = rows_read_by_queue(&scene).await;
    let all = u64::from(waiting) + 1;
    // Taken over, the octets' ids, and read with all others.
    assert!(
        read < 10 * (all + SENT as u64),
        "{read} rows were read to find those of {SENT} messages"
    );
}

/// Rows that were read by way of the index that has them by their queue, once the server has counted the last removal.
async fn rows_read_by_queue(scene: &Scene) -> u64 {
    let removed = "SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'message'";
    let are_counted = async || scene.sql(removed).parse::<usize>().unwrap() >= SENT;
    until_so("the server never counted them", are_counted).await;
    let read =
        "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'message_queue_id_idx'";
    scene.sql(read).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tables_of_what_waits_stay_small_however_much_passes() {
    let passing = of_environment(PASSING, 500);
    let scene = Scene::new();
    let directory = tempfile::tempdir().unwrap();
    let queue = Arc::new(open(&scene, "a", directory.path()).unwrap());
    // As clients and workers do it, beside each other.
    let parts = (0..AT_A_TIME).map(|part| {
        let queue = Arc::clone(&queue);
        async move {
            for _ in (part..passing).step_by(AT_A_TIME as usize) {
                accept(&queue, SystemClock::new().wall()).await;
                send_one(&queue).await;
            }
        }
    });
    parts.collect::<JoinSet<()>>().join_all().await;
    let octets = scene.sql(
        "SELECT sum(pg_total_relation_size(oid)) FROM pg_class
         WHERE oid IN ('pillarbox.message'::regclass, 'pillarbox.body'::regclass, 'pillarbox.queue'::regclass)",
    );
    let octets: u64 = octets.parse().expect("a number");
    println!("rows after {passing} messages: {} KiB", octets / 1024);
    assert_eq!(scene.sql("SELECT count(*) FROM pillarbox.message"), "0");
    // What came since the last vacuum, a minute ago or so: some thousands.
    assert!(octets < 32 * 1024 * 1024, "{octets} octets");
    queue.close().await;
}
