//! The power fails under load, and the disk runs full: nothing that was acknowledged is lost.
//!
//! A power cut is an ext4 image on a loop device, copied after SIGKILL and mounted anew: the copy holds
//! only what the daemon's own syncs had put on the disk. Needs root and loop devices; where they are
//! missing the tests say so and show nothing.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use crate::support::{
    daemon::{Home, within},
    gmail::Gmail,
    loop_disk::{self, LoopDisk},
    outage::{
        PLENTY, ask, budget, drain, expect_promises_kept, home_without_brakes, queue_list, seed,
        tail,
    },
    submitter::{Acknowledged, Crowd, Load, Submitters, Wire, message},
};

/// Cuts in one run; `PILLARBOX_POWER_CUTS` changes it (`make test-power-long`: 100).
const CUTS: usize = 20;
/// Cuts in one run over messages to hundreds, which take longer.
const CUTS_OF_CROWDS: usize = 6;
/// Cuts of one queue of them, which grows all the time: its day is spent, and a start reads all of it.
const CUTS_OF_CROWDS_PER_ROUND: usize = 20;
/// What a day has when it is to be spent before all is sent.
const SMALL_DAY: u32 = 3_100;
/// Octets of the disk whose power is cut.
const DISK_BYTES: u64 = 384 << 20;
/// Octets of the disk that runs full.
const SMALL_DISK_BYTES: u64 = 96 << 20;

#[test]
fn the_simulated_power_cut_takes_what_was_not_synced_and_only_that() {
    if not_here("simulated power cut") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = LoopDisk::create(directory.path(), "disk-0", 16 << 20).expect("a disk");
    let synced = fs::File::create(disk.path().join("synced")).expect("a file");
    synced.set_len(5).and_then(|()| synced.sync_all()).expect("on the disk");
    fs::write(disk.path().join("not-synced"), "hello").expect("in memory");
    let disk = disk.cut_power("disk-1");
    assert!(disk.path().join("synced").exists());
    assert!(!disk.path().join("not-synced").exists());
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_fails() {
    if not_here("power cut") {
        return;
    }
    let seed = seed("power cut");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().expect("a temporary directory");
    // A short round trip keeps final dots in flight and messages waiting at every cut.
    let gmail = Gmail::with(|options| options.latency = Duration::from_millis(3));
    let mut disk = LoopDisk::create(directory.path(), "disk-0", DISK_BYTES).expect("a disk");
    let mut home = home_on(&disk, &gmail);
    let mut promised = Vec::new();
    let cuts = cuts(CUTS);
    for cut in 1..=cuts {
        let daemon = home.start();
        let clients =
            Submitters::start(home.smtp, &format!("cut{cut}"), &busy(), seed ^ cut as u64);
        std::thread::sleep(Duration::from_millis(random.u64(200..1200)));
        daemon.kill();
        promised.extend(clients.finish().acknowledged);
        disk = disk.cut_power(&format!("disk-{cut}"));
        home = home.state_at(&disk.path().join("state"));
        home.configure(&gmail.upstream(), &budget(PLENTY));
        expect_store_opened(home.state(), cut, &home);
    }
    let daemon = home.start();
    expect_store_opened(home.state(), cuts + 1, &home);
    expect_promises_kept("power cut", cuts, &home, &gmail, &promised);
    assert!(daemon.terminate(Duration::from_secs(20)).success());
}

#[test]
fn a_power_cut_over_messages_to_hundreds_forgets_no_recipient_and_spends_no_day_twice() {
    if not_here("power cut over crowds") {
        return;
    }
    let mut random = fastrand::Rng::with_seed(seed("power cut over crowds"));
    let (mut left, mut acknowledged) = (cuts(CUTS_OF_CROWDS), 0);
    while left > 0 {
        let cuts = left.min(CUTS_OF_CROWDS_PER_ROUND);
        left -= cuts;
        acknowledged += cut_power_over_crowds(cuts, &mut random);
    }
    eprintln!(
        "power cut over crowds: {acknowledged} messages acknowledged, no recipient of them lost"
    );
}

/// One queue and one day. Returns how many messages were acknowledged.
fn cut_power_over_crowds(cuts: usize, random: &mut fastrand::Rng) -> usize {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let gmail = Gmail::with(|options| options.latency = Duration::from_millis(3));
    let mut disk = LoopDisk::create(directory.path(), "disk-0", DISK_BYTES).expect("a disk");
    let sections = budget(SMALL_DAY);
    let mut home = home_without_brakes(&gmail.upstream(), SMALL_DAY)
        .environment("PILLARBOX__LISTENER__MAX_RECIPIENTS", "1000")
        .state_at(&disk.path().join("state"));
    let aliases = home.path("aliases");
    fs::write(&aliases, format!("everyone: {}\n", readers(200).join(", "))).expect("the aliases");
    home = home
        .environment("PILLARBOX__IDENTITY__ALIASES_FILE", aliases.to_str().expect("a plain path"));
    home.configure(&gmail.upstream(), &sections);
    let crowds = Load { clients: 3, pause_ms: 0..60, crowds: crowds(), ..busy() };
    let mut promised = Vec::new();
    for cut in 1..=cuts {
        let daemon = home.start();
        let clients = Submitters::start(home.smtp, &format!("cut{cut}"), &crowds, random.u64(..));
        std::thread::sleep(Duration::from_millis(random.u64(400..1600)));
        // Of the dead alone: a list of the whole queue would run after the mail that keeps coming in.
        if let Some(dead) = ask(&home, &["dead", "list"])["messages"][0]["id"].as_str() {
            drop(home.output(["queue", "delete", dead]));
        }
        daemon.kill();
        promised.extend(clients.finish().acknowledged);
        disk = disk.cut_power(&format!("disk-{cut}"));
        home = home.state_at(&disk.path().join("state"));
        home.configure(&gmail.upstream(), &sections);
        expect_store_opened(home.state(), cut, &home);
    }
    let daemon = home.start();
    expect_store_opened(home.state(), cuts + 1, &home);
    let day_is_spent = || gmail.recipients() + 100 > SMALL_DAY as usize;
    within(Duration::from_secs(20), day_is_spent);
    let sent = gmail.recipients();
    assert!(sent <= SMALL_DAY as usize, "{sent} recipients on a limit of {SMALL_DAY}");
    expect_none_forgotten(&home, &gmail, &promised);
    assert!(daemon.terminate(Duration::from_secs(20)).success());
    assert_eq!(gmail.altered(&promised), Vec::<String>::new());
    promised.len()
}

/// Who was promised a message has it, or waits for it in the queue.
fn expect_none_forgotten(home: &Home, gmail: &Gmail, promised: &[Acknowledged]) {
    assert!(promised.len() > 20, "only {} messages were acknowledged", promised.len());
    let (listed, copies) = (queue_list(home), gmail.copies());
    for message in promised {
        let has_it =
            |to: &&String| copies.contains_key(&(message.message_id.clone(), (*to).clone()));
        let missing = message.recipients.iter().filter(|to| !has_it(to)).count();
        let waiting = listed.iter().find(|listed| listed.id == message.queue_id());
        let waiting = waiting
            .map_or(0, |listed| listed.states.iter().filter(|state| *state != "relayed").count());
        assert!(
            missing <= waiting,
            "{}: {missing} of {} have it not, and {waiting} wait\n{}",
            message.reply,
            message.recipients.len(),
            tail(&home.log())
        );
    }
}

fn readers(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("reader{number}@example.net")).collect()
}

/// One, some, hundreds, an alias of hundreds, and some of whom one does not exist.
fn crowds() -> Vec<Crowd> {
    let mut crowds: Vec<Crowd> = [1, 1, 1, 20, 200, 1_000]
        .map(|count| Crowd { asked: readers(count), reached: readers(count) })
        .into();
    crowds.push(Crowd { asked: vec!["everyone".into()], reached: readers(200) });
    let mut asked = readers(20);
    asked.push("nosuch@example.net".into());
    crowds.push(Crowd { asked, reached: readers(20) });
    crowds
}

fn cuts(usual: usize) -> usize {
    std::env::var("PILLARBOX_POWER_CUTS").map_or(usual, |text| text.parse().expect("a number"))
}

#[test]
fn a_full_disk_refuses_mail_for_the_time_being_and_loses_none() {
    if not_here("full disk") {
        return;
    }
    let seed = seed("full disk");
    let directory = tempfile::tempdir().expect("a temporary directory");
    // Slow enough that messages are waiting and leaving all through the outage.
    let gmail = Gmail::with(|options| options.latency = Duration::from_millis(80));
    let disk = LoopDisk::create(directory.path(), "small", SMALL_DISK_BYTES).expect("a disk");
    let home = home_on(&disk, &gmail);
    let mut daemon = home.start();
    let clients = Submitters::start(home.smtp, "before", &busy(), seed);
    assert!(within(Duration::from_secs(20), || clients.seen().acknowledged.len() > 100));

    // Less room than the daemon wants to keep: it refuses early, in good order.
    disk.fill("ballast", 6 << 20);
    let refusals = || clients.seen().refusals;
    let refused = within(Duration::from_secs(20), || {
        refusals().iter().any(|reply| reply.starts_with("452 4.3.1"))
    });
    assert!(refused, "no 452 4.3.1 but {:?}\n{}", refusals(), tail(&home.log()));

    // No room at all, while messages are still on their way out.
    disk.fill("ballast", 0);
    assert!(!gmail.missing(&clients.seen().acknowledged).is_empty(), "nothing was left to send");
    std::thread::sleep(Duration::from_secs(2));
    let during = clients.finish();
    let permanent: Vec<&String> =
        during.refusals.iter().filter(|reply| !reply.starts_with('4')).collect();
    assert!(
        permanent.is_empty(),
        "a full disk passes, so no refusal may be for good: {permanent:?}"
    );
    assert!(daemon.is_running(), "the daemon ended on a full disk:\n{}", tail(&home.log()));
    let process = daemon.process_id();

    // Room again: the same process takes and relays mail without anybody's help.
    fs::remove_file(disk.path().join("ballast")).expect("the ballast goes");
    let text = message("<after@client.example.org>", 2000, &mut fastrand::Rng::with_seed(seed));
    let to = ["reader@example.net".to_owned()];
    let accepted = within(Duration::from_secs(60), || {
        let submitted = Wire::connect(home.smtp).and_then(|mut wire| wire.submit(&to, &text));
        submitted.is_ok_and(|reply| reply.is_ok())
    });
    assert!(accepted, "still no 250 with room on the disk:\n{}", tail(&home.log()));
    assert_eq!(daemon.process_id(), process);
    assert!(daemon.is_running());
    drain(&home, &gmail, &during.acknowledged, Duration::from_secs(60));
    assert_eq!(gmail.altered(&during.acknowledged), Vec::<String>::new());
    let after = || gmail.accepted().iter().any(|mail| mail.body.ends_with(&text));
    assert!(within(Duration::from_secs(20), after), "the message after the outage never left");
    assert!(daemon.terminate(Duration::from_secs(20)).success());
}

/// Says plainly that a test shows nothing on this machine, and why.
fn not_here(test: &str) -> bool {
    let reason = loop_disk::unavailable();
    if let Some(reason) = &reason {
        // Not `eprintln`, which the test runner keeps to itself when a test passes.
        drop(writeln!(io::stderr(), "{test}: NOT RUN on this machine: {reason}"));
    }
    reason.is_some()
}

fn home_on(disk: &LoopDisk, gmail: &Gmail) -> Home {
    let home = home_without_brakes(&gmail.upstream(), PLENTY).state_at(&disk.path().join("state"));
    home.configure(&gmail.upstream(), &budget(PLENTY));
    home
}

fn busy() -> Load {
    Load { clients: 4, pause_ms: 0..20, recipients: 1..3, ..Load::default() }
}

/// No cut may ever make the queue's index unreadable: a store that was set aside would show here, and so would pages that
/// sled never syncs.
fn expect_store_opened(state: &Path, cut: usize, home: &Home) {
    let names = fs::read_dir(state).map(|entries| {
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect::<Vec<_>>()
    });
    let bad: Vec<String> = names
        .unwrap_or_default()
        .into_iter()
        .filter(|name| name.starts_with("queue.sled.bad"))
        .collect();
    assert!(
        bad.is_empty(),
        "before life {cut} the store did not open: {bad:?}\n{}",
        tail(&home.log())
    );
    let blobs = fs::read_dir(state.join("queue.sled/blobs")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0, "before life {cut} the index has pages that sled never syncs");
}
