//! The shape of the program, checked by machine: layers, who may name what, lengths, names, opening comments.
//!
//! Each check comes with a sample that it must refuse, so that a check which sees nothing cannot pass.

mod bans;
mod figures;
mod layers;
mod layout;
mod packages;
mod source;

use figures::Figures;
use source::{Source, files_below, read, sources_below};

#[test]
fn a_file_imports_only_from_layers_below_its_own() {
    expect_none(sources_below("src").iter().flat_map(layers::forbidden_imports));
    expect_none(sources_below("crates").iter().flat_map(layers::upward_paths));
}

#[test]
fn the_layer_check_refuses_upward_and_sibling_imports() {
    let refused = [
        ("src/queue/batch.rs", "use crate::delivery::Options;"),
        ("src/listener/mod.rs", "use crate::{queue::record, delivery};"),
        ("src/budget.rs", "fn f() { crate::queue::now() }"),
        ("src/admin/status.rs", "use crate::settings::Settings;"),
        ("src/admin/server.rs", "use crate::{\n    settings::{self, Settings},\n};"),
        ("src/queue/sled_index.rs", "use super::super::delivery::pool;"),
        ("src/novelty/mod.rs", "use std::fs;"),
        ("src/main.rs", "use pillarbox::novelty;"),
        ("src/daemon.rs", "use pillarbox_sandbox::Sandbox;"),
    ];
    for (path, text) in refused {
        let found = layers::forbidden_imports(&Source::new(path, text));
        assert!(!found.is_empty(), "accepted {path}: {text}");
    }
    let accepted = [
        ("src/delivery/pool.rs", "use crate::{clock::Clock, delivery::gmail, queue};"),
        ("src/queue/batch.rs", "// crate::delivery\nconst A: &str = \"crate::delivery\";"),
        ("src/queue/batch.rs", "#[cfg(test)]\nmod tests { use crate::sandbox::Sandbox; }"),
    ];
    for (path, text) in accepted {
        let found = layers::forbidden_imports(&Source::new(path, text));
        assert_eq!(found, Vec::<String>::new(), "refused {path}: {text}");
    }
}

#[test]
fn only_the_files_named_for_it_know_engines_sockets_clocks_and_secrets() {
    expect_none(product_sources().iter().flat_map(bans::forbidden_uses));
}

#[test]
fn the_bans_refuse_a_sample_of_each_kind() {
    let refused = [
        ("crates/smtp/src/server/mod.rs", "use tokio::net::TcpStream;"),
        ("src/message/header.rs", "use std::{fmt, fs};"),
        ("src/budget.rs", "pub async fn reserve() {}"),
        ("crates/smtp/src/server/line.rs", "use std::net::{IpAddr, TcpStream};"),
        ("src/delivery/retry.rs", "use std::time::Instant; fn f() { Instant::now(); }"),
        ("src/queue/committer.rs", "fn f() { std::time::SystemTime::now(); }"),
        ("src/queue/committer.rs", "use std::{fmt, time::{Duration, Instant}};"),
        ("src/settings/load.rs", "fn f(s: Secret) { s.expose(); }"),
        ("src/delivery/gmail.rs", "fn f(s: Secret) { Secret::expose(&s); }"),
        ("src/queue/spool.rs", "fn f(tree: &sled::Tree) {}"),
        ("src/queue/spool.rs", "use super::offline::inspection::Inspection;"),
        ("src/queue/spool.rs", "use crate::queue::{id, offline};"),
        ("src/delivery/classify.rs", "use lettre::transport::smtp::response::Response;"),
        ("src/listener/accept.rs", "use tokio::io::{AsyncReadExt, AsyncWriteExt};"),
        ("src/delivery/pool.rs", "fn f() { tokio::spawn(async {}); }"),
        ("src/delivery/pool.rs", "use tokio::task; fn f() { task::spawn(async {}); }"),
    ];
    for (path, text) in refused {
        assert!(
            !bans::forbidden_uses(&Source::new(path, text)).is_empty(),
            "accepted {path}: {text}"
        );
    }
    let accepted = [
        ("src/clock.rs", "fn f() { SystemTime::now(); }"),
        ("src/delivery/credential.rs", "fn f(s: Secret) { s.expose(); }"),
        ("src/queue/sled_index.rs", "use sled::Tree;"),
        (
            "src/queue/offline/inspection.rs",
            "use crate::queue::offline::portable::PortableMessage;",
        ),
        ("src/queue/batch.rs", "use crate::queue::sled_index; // sled::Tree\n"),
        ("crates/smtp/src/server/mod.rs", "use std::net::IpAddr;"),
        ("crates/smtp/src/server/mod.rs", "#[cfg(test)]\nmod tests { use std::fs; }"),
    ];
    for (path, text) in accepted {
        let found = bans::forbidden_uses(&Source::new(path, text));
        assert_eq!(found, Vec::<String>::new(), "refused {path}: {text}");
    }
}

#[test]
fn every_file_opens_with_what_it_is() {
    let files = product_sources().into_iter().chain(sources_below("tests"));
    expect_none(files.flat_map(|source| layout::opening(&source)));
}

#[test]
fn the_opening_check_refuses_files_without_a_comment() {
    for (path, text) in [
        ("src/queue/a.rs", "use std::fs;"),
        ("src/queue/a.rs", "// A thing."),
        ("tests/a.rs", "fn main() {}"),
        ("tests/a.rs", "//! (to be written)"),
        ("src/a.rs", "//! What a thing does."),
    ] {
        assert!(!layout::opening(&Source::new(path, text)).is_empty(), "accepted {path}: {text}");
    }
    assert!(layout::opening(&Source::new("src/a.rs", "//! A.\n")).is_empty());
}

#[test]
fn files_and_functions_are_short_enough_to_be_read() {
    let files = product_sources().into_iter().chain(sources_below("tests"));
    expect_none(files.flat_map(|source| layout::length(&source)));
}

#[test]
fn the_length_check_refuses_a_long_file_and_a_long_function() {
    let lines = |count: usize| "    step();\n".repeat(count);
    let function = |count| format!("fn long<const N: usize>(a: [u8; 4]) {{\n{}}}\n", lines(count));
    let check = |text: &str| layout::length(&Source::new("src/a.rs", text)).len();
    assert_eq!(check(&function(layout::FUNCTION_LINES_MAX - 2)), 0);
    assert_eq!(check(&function(layout::FUNCTION_LINES_MAX - 1)), 1);
    assert_eq!(check(&"use a;\n".repeat(layout::FILE_LINES_MAX)), 0);
    assert_eq!(check(&"use a;\n".repeat(layout::FILE_LINES_MAX + 1)), 1);
    let with_tests = format!("#[cfg(test)]\nmod tests {{\n{}}}", "    use a;\n".repeat(500));
    assert_eq!(check(&with_tests), 0);
    let fixtures =
        format!("#[cfg(test)]\nmod fixtures;\n{}", "use a;\n".repeat(layout::FILE_LINES_MAX));
    assert_eq!(check(&fixtures), 1, "what follows is not of the tests");
    let commented = format!("{}// a\n\n", "use a;\n".repeat(layout::FILE_LINES_MAX));
    assert_eq!(check(&commented), 0);
}

/// Lines of code that nine of ten functions do not exceed.
const FUNCTION_LINES_OF_NINE_IN_TEN: usize = 25;
/// Circles of files in the look-alike: a session and its parts. The relay and the protocol have none.
const CIRCLES_OF_THE_SANDBOX: usize = 1;
/// Functions, types and constants of the relay that are `pub` without a restriction. It falls; only what tests need of a new
/// part (the last time: the rules among the options of the listener, one) may raise it.
const PUBLIC_ITEMS_MAX: usize = 330;

#[test]
fn most_functions_are_short_and_little_is_public() {
    let all = Figures::new(&product_sources());
    let nine_in_ten = all.function_lines(90);
    assert!(nine_in_ten <= FUNCTION_LINES_OF_NINE_IN_TEN, "{nine_in_ten} lines (`make figures`)");
    let public = Figures::new(&sources_below("src")).public_items;
    assert!(public <= PUBLIC_ITEMS_MAX, "{public} public items (`make figures`)");
    assert!(public + 20 > PUBLIC_ITEMS_MAX, "{public} public items: lower PUBLIC_ITEMS_MAX");
}

#[test]
fn no_files_know_each_other_in_a_circle() {
    for folder in source::packages() {
        let allowed = if folder.contains("sandbox") { CIRCLES_OF_THE_SANDBOX } else { 0 };
        let circles = Figures::new(&sources_below(&folder)).circles;
        assert!(circles.len() <= allowed, "{folder} (`make figures`):\n{circles:#?}");
    }
}

#[test]
fn the_figures_see_circles_lengths_and_what_is_public() {
    let files = [
        ("src/lib.rs", "pub mod queue;\nmod clock;"),
        ("src/clock.rs", "pub fn now() {}\npub(crate) fn then() {\n    now();\n}\n"),
        // Hands on what it does not use itself: no circle with those who use the rest of it.
        ("src/queue/mod.rs", "mod id;\nmod store;\npub use self::{id::Id, store::Store as Queue};"),
        ("src/queue/id.rs", "use super::{Queue, clock};\npub struct Id(pub u8);"),
        ("src/queue/store.rs", "fn f() { crate::queue::id::Id(1); }\n#[cfg(test)]\nmod tests {}"),
        ("src/queue/alone.rs", "use crate::{clock::now, queue::Id};\n// crate::queue::lonely\n"),
        ("src/queue/lonely.rs", "use super::alone::*;"),
    ];
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    let figures = Figures::new(&sources);
    assert_eq!(figures.circles, [["src/queue/id.rs", "src/queue/store.rs"]]);
    assert_eq!((figures.files, figures.public_items), (7, 2));
    assert_eq!((figures.function_lines(50), figures.function_lines(100)), (1, 3));
    assert_eq!(figures.lines, 2 + 4 + 3 + 2 + 1 + 1 + 1);
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    let files = product_sources().into_iter().chain(sources_below("tests"));
    expect_none(files.flat_map(|source| layout::names(&source.path)));
}

#[test]
fn the_name_check_refuses_such_names() {
    for path in
        ["src/utils.rs", "src/queue/types.rs", "src/config/mod.rs", "tests/support/helpers.rs"]
    {
        assert_eq!(layout::names(path).len(), 1, "accepted {path}");
    }
    assert!(layout::names("src/queue/sled_index.rs").is_empty());
}

#[test]
fn no_file_is_forgotten_by_its_module_declarations() {
    expect_none(layout::forgotten(&product_sources()));
    expect_none(layout::forgotten(&sources_below("tests")));
}

#[test]
fn the_forgotten_file_check_finds_a_test_that_would_never_run() {
    let all = Source::new("tests/all.rs", "mod crash;\nmod support;");
    let files =
        ["tests/crash.rs", "tests/damage.rs", "tests/support/mod.rs", "tests/support/extra.rs"];
    let sources: Vec<Source> =
        files.iter().map(|path| Source::new(path, "//! A.")).chain(std::iter::once(all)).collect();
    let found = layout::forgotten(&sources);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("tests/damage.rs") && found[1].starts_with("tests/support/extra.rs")
    );
}

#[test]
fn no_file_is_tied_to_one_machine() {
    let files = files_below(".", &untracked_folders());
    expect_none(files.iter().flat_map(|path| layout::machine_text(path, &read(path))));
}

#[test]
fn the_machine_check_refuses_its_paths_and_registries() {
    let home = format!("cd {}build", concat!("/ro", "ot/"));
    assert_eq!(layout::machine_text("Makefile", &home).len(), 1);
    assert_eq!(
        layout::machine_text("docs/a.md", "see https://x.example/artifac\u{74}ory/").len(),
        1
    );
    for lock in ["Cargo.lock", "tests/browser/Cargo.lock"] {
        assert_eq!(layout::machine_text(lock, "source = \"git+https://x.example/y\"").len(), 1);
    }
    assert_eq!(layout::machine_text("README.md", concat!("get it from crates", ".io")).len(), 1);
    assert!(layout::machine_text("README.md", "the state is in /var/lib/pillarbox").is_empty());
}

#[test]
fn no_package_comes_back_that_was_got_rid_of() {
    let lock = read("Cargo.lock");
    expect_none(packages::unwanted(&lock));
    let count = packages::count(&lock);
    assert!(count + 10 > packages::PACKAGES_MAX, "{count} packages: lower PACKAGES_MAX");
}

#[test]
fn the_package_check_refuses_a_package_by_name_and_by_number() {
    let lock = |names: &[&str]| -> String {
        names.iter().map(|name| format!("name = \"{name}\"\nsource = \"registry\"\n\n")).collect()
    };
    for name in ["oauth2", "icu_normalizer", "icu_properties_data", "chrono", "reqwest"] {
        assert_eq!(packages::unwanted(&lock(&["tokio", name])).len(), 1, "accepted {name}");
    }
    let needs = |name: &str| {
        packages::unwanted(&format!(
            "[[package]]\nname = \"{name}\"\ndependencies = [\n \"sha2 0.11.1\",\n \"tokio\",\n]\n"
        ))
    };
    assert_eq!((needs("pillarbox").len(), needs("postgres-protocol").len()), (1, 0));
    let many = vec!["tokio"; packages::PACKAGES_MAX];
    assert!(packages::unwanted(&lock(&many)).is_empty());
    assert_eq!(packages::unwanted(&lock(&[&many[..], &["x"]].concat())).len(), 1);
}

/// What `cargo deny` refuses as well, where it is installed.
#[test]
fn no_package_is_there_twice_but_those_that_deny_toml_names() {
    let deny = read("deny.toml");
    let table: toml::Table = deny.parse().unwrap();
    let targets = table["graph"]["targets"].as_array().unwrap();
    let mut listed = String::new();
    for target in targets.iter().filter_map(|target| target.as_str()) {
        let arguments =
            "tree --workspace --locked --offline --duplicates --depth 0 --prefix none --target";
        let mut cargo = std::process::Command::new(env!("CARGO"));
        let ended = cargo.args(arguments.split(' ')).arg(target).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        listed += &String::from_utf8(ended.stdout).unwrap();
    }
    assert!(listed.contains("parking_lot v0.11"), "{listed}");
    expect_none(packages::several_versions(&listed, &deny));
}

#[test]
fn the_check_of_versions_refuses_a_second_one_and_an_exception_without_one() {
    let deny = "[bans]\nskip = [{ crate = \"a@0.2\", reason = \"b\" }]\n";
    for (listed, found) in [
        ("a v0.2.9\na v0.4.0 (proc-macro)\n", 0),
        ("a v0.2.9\na v0.4.0\na v0.20.1\n", 1),
        ("a v0.2.9\na v0.4.0\nb v1.0.0\nb v2.0.0 (*)\n", 1),
        ("b v1.0.0\nb v2.0.0\n", 2),
        ("", 1),
    ] {
        let lines = packages::several_versions(listed, deny);
        assert_eq!(lines.len(), found, "{listed}: {lines:?}");
    }
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = r####"let a = "x::y\"z"; // b::c
let d = r#"e::f"#; /* g::h /* i */ j::k */ let l: &'static str = m::n('"', '\'', b'\\'); o::p();"####;
    let found: Vec<String> = source::paths(&source::blank_comments_and_strings(text))
        .iter()
        .map(|path| path.segments.join("::"))
        .collect();
    assert_eq!(found, ["m::n", "o::p"]);
}

/// The files of the program and of the packages beside it, with what those have for tests and examples.
fn product_sources() -> Vec<Source> {
    sources_below("src").into_iter().chain(sources_below("crates")).collect()
}

/// What .gitignore keeps out of the repository, and git's own folder (a file in a worktree).
fn untracked_folders() -> Vec<String> {
    let ignored = read(".gitignore");
    let ignored = ignored.lines().filter_map(|line| line.strip_prefix('/'));
    ignored.map(|name| name.trim_end_matches('/').to_owned()).chain([".git".to_owned()]).collect()
}

fn expect_none(found: impl IntoIterator<Item = String>) {
    let found: Vec<String> = found.into_iter().collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
