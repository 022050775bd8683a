//! The warnings of a start, with machines made of the kernel's texts.
//!
//! A case is a folder `surroundings/NAME`: a relay.toml, the texts (one that is missing is empty), and
//! `expected.txt`. `BLESS=1 cargo test surroundings` writes those anew; review the difference like code.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use pillarbox::settings::{
    self, Surroundings,
    host::{self, Host, Machine},
};

fn machine(case: &Path) -> Machine {
    let text = |name: &str| fs::read_to_string(case.join(name)).unwrap_or_default();
    Machine {
        route: text("route"),
        ipv6_route: text("ipv6_route"),
        fib_trie: text("fib_trie"),
        if_inet6: text("if_inet6"),
        mountinfo: text("mountinfo"),
    }
}

fn warnings(case: &Path) -> String {
    let surroundings = Surroundings {
        variables: BTreeMap::new(),
        local_file: "/nowhere/relay.toml".into(),
        system_file: "/nowhere/else.toml".into(),
        secret_directories: Vec::new(),
        host: Host { nodename: "relay.example.org".into(), ..Host::default() },
    };
    let settings = settings::load_in(Some(&case.join("relay.toml")), &surroundings)
        .unwrap_or_else(|error| panic!("{}: {error}", case.display()));
    let listener = &settings.listener;
    let addresses: Vec<SocketAddr> =
        listener.addresses.iter().map(|endpoint| endpoint.address).collect();
    let warnings =
        host::warnings(listener, &addresses, Some(&settings.queue.directory), &machine(case));
    warnings.iter().map(|warning| format!("{}\n  {}\n", warning.what, warning.remedy)).collect()
}

#[test]
fn every_machine_is_warned_of_in_the_expected_words() {
    let mut cases: Vec<PathBuf> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/surroundings"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
    cases.sort();
    assert!(cases.len() >= 15, "only {} cases were found", cases.len());
    for case in cases {
        let (text, golden) = (warnings(&case), case.join("expected.txt"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &text).unwrap();
        }
        // Silence is an expectation, too: its file is there, and empty.
        let expected = fs::read_to_string(&golden).unwrap_or_else(|_| "no expected.txt".into());
        assert_eq!(text, expected, "{}", case.display());
    }
}
