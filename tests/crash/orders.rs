//! The orders of a person (schedule, hold, release, retry, delete) before a daemon that dies by SIGKILL while it does them.
//!
//! On a disk every second kill comes when the mark beside the spool file changes, which is between that and the record. What
//! was answered holds after the next start; what was not, holds or does not, and mark and record say the same.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use fastrand::Rng;
use pillarbox::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::support::{
    backend::Backend,
    client::Client,
    daemon::{Home, Upstream},
    outage::{ask, seed},
};

const MESSAGES: usize = 8;
const KILLS: usize = 24;
const KILLS_WITH_A_DATABASE: usize = 8;
const HOUR_MS: i64 = 3_600_000;

/// What a person has ordered of a message; `None` in its place means that it was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ordered {
    is_held: bool,
    at: Option<i64>,
}

type Orders = BTreeMap<String, Option<Ordered>>;

/// An order that the message can take, as a request, and what holds behind it.
fn order(id: &str, before: Ordered, random: &mut Rng, now: i64) -> (String, Option<Ordered>) {
    let path = format!("/v1/queue/{id}");
    match random.u32(0..16) {
        0 => (format!("DELETE {path}"), None),
        1..5 if before.is_held => {
            (format!("POST {path}/release"), Some(Ordered { is_held: false, ..before }))
        }
        1..5 => (format!("POST {path}/hold"), Some(Ordered { is_held: true, ..before })),
        5..8 => (format!("POST {path}/retry"), Some(Ordered::default())),
        _ if before.is_held => (format!("POST {path}/retry"), Some(Ordered::default())),
        _ => {
            let at = now + random.i64(1..1_000) * HOUR_MS;
            (format!("POST {path}/schedule?at={at}"), Some(Ordered { at: Some(at), ..before }))
        }
    }
}

/// The status of the answer; `None` when there was none to its end.
fn request(socket: &Path, request: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    write!(stream, "{request} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.contains("\r\n\r\n").then(|| answer.lines().next().unwrap_or_default().to_owned())
}

/// Orders until there is no answer; the last order is the one that has none.
fn give_orders(
    socket: &Path,
    orders: &mut Orders,
    random: &mut Rng,
) -> Option<(String, Option<Ordered>)> {
    let now = SystemClock::new().wall().0;
    loop {
        let left: Vec<(String, Ordered)> =
            orders.iter().filter_map(|(id, state)| Some((id.clone(), (*state)?))).collect();
        if left.is_empty() {
            return None;
        }
        let (id, before) = &left[random.usize(..left.len())];
        let (line, after) = order(id, *before, random, now);
        match request(socket, &line) {
            Some(status) => assert!(status.contains(" 200 "), "{line} ({before:?}): {status}"),
            None => return Some((id.clone(), after)),
        }
        orders.insert(id.clone(), after);
    }
}

/// The marks beside the spool files: their names.
fn marks(home: &Home) -> Vec<String> {
    let mut names = Vec::new();
    for directory in fs::read_dir(home.state().join("spool")).into_iter().flatten().flatten() {
        for file in fs::read_dir(directory.path()).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if name.ends_with(".held") || name.ends_with(".scheduled") {
                names.push(name);
            }
        }
    }
    names.sort();
    names
}

/// What the queue says.
fn found(home: &Home) -> BTreeMap<String, Ordered> {
    let list = ask(home, &["queue", "list", "--all"]);
    let ordered = |message: &Value| {
        let is_held = message["recipients"][0]["state"] == "held";
        let id = message["id"].as_str().expect("an id").to_owned();
        (id, Ordered { is_held, at: message["scheduled_for"].as_i64() })
    };
    list["messages"].as_array().expect("messages").iter().map(ordered).collect()
}

fn submit(home: &Home, orders: &mut Orders) {
    let mut client = Client::hello(home.smtp);
    while orders.values().flatten().count() < MESSAGES {
        let reply = client.mail("me@example.org", &["you@example.org"], "Subject: x\n\nx\n");
        assert!(reply.starts_with("250 "), "{reply}");
        let id = reply.split_whitespace().next_back().expect("an id").to_owned();
        orders.insert(id, Some(Ordered::default()));
    }
}

#[test]
fn what_a_person_has_ordered_survives_kills_also_between_the_mark_and_the_record() {
    kill_over_orders(KILLS, &Backend::Disk);
}

#[test]
fn what_a_person_has_ordered_of_mail_in_the_database_survives_kills() {
    kill_over_orders(KILLS_WITH_A_DATABASE, &Backend::database());
}

fn kill_over_orders(kills: usize, backend: &Backend) {
    let has_marks = matches!(backend, Backend::Disk);
    let mut random = Rng::with_seed(seed("orders"));
    let home = backend.of(Home::new(&Upstream::nobody()));
    let mut daemon = home.start();
    assert!(home.output(["pause"]).status.success(), "nothing is to leave meanwhile");
    let (mut orders, mut within_one) = (Orders::new(), 0);
    for number in 0..kills {
        submit(&home, &mut orders);
        let (socket, mut told, mut dice) = (home.socket(), orders.clone(), random.fork());
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let person = thread::spawn(move || {
            let unanswered = give_orders(&socket, &mut told, &mut dice);
            over.store(true, Ordering::Relaxed);
            (told, unanswered)
        });
        thread::sleep(Duration::from_millis(random.u64(5..150)));
        if has_marks && number % 2 == 0 {
            let before = marks(&home);
            while marks(&home) == before && !is_over.load(Ordering::Relaxed) {}
        }
        daemon.kill();
        let (told, unanswered) = person.join().expect("no panic");
        daemon = home.start();
        backend.until_it_is_taken_over();
        let found = found(&home);
        within_one += usize::from(unanswered.is_some());
        orders = agreed(told, unanswered, &found);
        let expected = if has_marks { marks_of(&found) } else { Vec::new() };
        assert_eq!(marks(&home), expected, "mark and record say the same");
    }
    assert!(within_one > kills / 2, "only {within_one} kills met an order");
    assert!(daemon.terminate(Duration::from_secs(20)).success());
}

/// What holds from now on: all that was answered, and of the last order either side.
fn agreed(
    told: Orders,
    unanswered: Option<(String, Option<Ordered>)>,
    found: &BTreeMap<String, Ordered>,
) -> Orders {
    let mut orders = Orders::new();
    for (id, state) in told {
        let now = found.get(&id).copied();
        let may_be = unanswered.as_ref().filter(|(one, _)| *one == id).map(|(_, after)| *after);
        assert!(now == state || Some(now) == may_be, "{id}: {now:?}, not {state:?} or {may_be:?}");
        orders.insert(id, now);
    }
    orders
}

fn marks_of(found: &BTreeMap<String, Ordered>) -> Vec<String> {
    let mut names = Vec::new();
    for (id, ordered) in found {
        names.extend(ordered.is_held.then(|| format!("{id}.held")));
        names.extend(ordered.at.map(|_| format!("{id}.scheduled")));
    }
    names.sort();
    names
}
