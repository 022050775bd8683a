//! The fuzz targets on a stable compiler: the committed corpus, and a short run of random changes to it.
//!
//! The bodies of the targets are in `fuzz_corpus/`; `fuzz/fuzz_targets/` gives the same files to libFuzzer.
//! `BLESS=1 cargo test fuzz_corpus` writes the seeds anew, from the dialogues and from the odd cases here; what
//! a fuzzer has found is added by hand, under a name that says what it shows, and stays.

use std::{collections::BTreeMap, fs, panic, path::PathBuf};

mod address;
mod address_list;
mod addressees;
mod command;
mod data;
mod header;
mod parts;
mod record;
mod reply;
mod search;
mod seeds;
mod session;

/// Octets of all seeds: a corpus is a start, not a store.
const CORPUS_BYTES_MAX: u64 = 200 * 1024;
/// Random changes to the seeds that one run of the tests tries for each target.
const MUTATIONS: usize = 5_000;
/// The same choices in every run: a failure is found again.
const SEED: u64 = 0x5eed;
/// Octets of a changed input.
const INPUT_BYTES_MAX: usize = 4 * 1024;

/// The body of a target: it panics when something does not hold.
type Body = fn(&[u8]);

const TARGETS: [(&str, Body); 11] = [
    ("session", session::run),
    ("command", command::run),
    ("address", address::run),
    ("address_list", address_list::run),
    ("addressees", addressees::run),
    ("data", data::run),
    ("header", header::run),
    ("parts", parts::run),
    ("record", record::run),
    ("reply", reply::run),
    ("search", search::run),
];

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The committed inputs of a target by name.
fn inputs(target: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(corpus().join(target)).unwrap().map(Result::unwrap);
    let named = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    named.collect()
}

/// Runs one input, and names it when it fails.
#[expect(clippy::print_stderr, reason = "the test runner shows it when the test fails")]
fn check(target: Body, name: &str, input: &[u8]) {
    if let Err(failure) = panic::catch_unwind(|| target(input)) {
        eprintln!("the input was {name}: {}", session::text(input));
        panic::resume_unwind(failure);
    }
}

/// Who changes a dialogue changes its seed with it.
#[test]
fn every_seed_is_committed_as_it_would_be_written() {
    for (target, name, bytes) in seeds::all() {
        let folder = corpus().join(target);
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(&name), &bytes).unwrap();
        }
        let committed = fs::read(folder.join(&name)).unwrap_or_default();
        let is_same = committed == bytes;
        assert!(is_same, "{target}/{name}: write it anew by BLESS=1 cargo test fuzz_corpus");
    }
}

#[test]
fn every_committed_input_holds() {
    for (name, target) in TARGETS {
        let inputs = inputs(name);
        assert!(inputs.len() >= 10, "{name} has {} inputs", inputs.len());
        inputs.iter().for_each(|(input, bytes)| check(target, input, bytes));
    }
}

#[test]
fn the_dialogues_hold_under_every_policy_and_cut() {
    for (name, talk) in seeds::talks() {
        for policy in 0..128 {
            for (answers, course) in [(0, 0), (0, 0x17), (0b01_00_10_00, 0x2f)] {
                let input = [&[policy, answers, course], talk.as_slice()].concat();
                check(session::run, &name, &input);
            }
        }
    }
}

#[test]
fn random_changes_of_the_inputs_hold_for_each_target() {
    for (name, target) in TARGETS {
        let inputs: Vec<Vec<u8>> = inputs(name).into_values().collect();
        let mut random = fastrand::Rng::with_seed(SEED);
        for number in 0..MUTATIONS {
            let input = changed(&inputs, &mut random);
            check(target, &format!("change {number} for {name}"), &input);
        }
    }
}

#[test]
fn the_corpus_is_small() {
    let sizes =
        TARGETS.map(|(name, _)| inputs(name).values().map(|input| input.len() as u64).sum::<u64>());
    assert!(sizes.iter().sum::<u64>() <= CORPUS_BYTES_MAX, "{sizes:?}");
}

/// An input with a few random changes: octets that matter to SMTP, parts of other inputs, cuts.
fn changed(inputs: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let pick = |random: &mut fastrand::Rng| &inputs[random.usize(..inputs.len())];
    let mut input = pick(random).clone();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..=input.len());
        match random.u8(..5) {
            0 => input.insert(at, *random.choice(b"\r\n. :<>@\"\\\0\x16\xff").unwrap()),
            1 if at < input.len() => input[at] = random.u8(..),
            2 => drop(input.drain(at..input.len().min(at + 8))),
            3 => {
                let other = pick(random);
                let from = random.usize(..=other.len());
                let to = other.len().min(from + 40);
                input.splice(at..at, other[from..to].iter().copied());
            }
            _ => input.truncate(at),
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}
