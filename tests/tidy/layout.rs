//! The layout of every file: its opening, its name, its length, and what no file may contain.

use std::collections::BTreeSet;

use super::source::{Source, functions};

/// Lines of code of a file, comments, blank lines and its tests module not counted. Aim at 150 to 400.
pub(super) const FILE_LINES_MAX: usize = 600;
/// Lines of code of one function. Aim below 40: a screen.
pub(super) const FUNCTION_LINES_MAX: usize = 70;

/// Names that say nothing about the content, or clash with a crate.
const NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "type", "types", "misc", "sled", "config"];

/// Words that begin a question and not the name of a thing.
const QUESTIONS: &[&str] = &["What", "Who", "Which", "Whether", "How", "Where", "When", "Why"];

/// A missing or incomplete opening comment.
pub(super) fn opening(source: &Source) -> Vec<String> {
    if !source.text.starts_with("//! ") {
        return vec![format!("{}: does not open with `//!`, what it is", source.path)];
    }
    let mut opening = source.text.lines().take_while(|line| line.starts_with("//!"));
    if opening.any(|line| line.contains("(to be written)") || line.contains("to be written by")) {
        return vec![format!("{}: its opening comment is a placeholder", source.path)];
    }
    let first = source.text["//! ".len()..].split(' ').next().unwrap_or_default();
    if QUESTIONS.contains(&first) {
        return vec![format!("{}: opens with {first:?} and not with a noun phrase", source.path)];
    }
    Vec::new()
}

/// Files and functions that are too long.
pub(super) fn length(source: &Source) -> Vec<String> {
    let lines = source.product_lines();
    let mut found = Vec::new();
    if lines > FILE_LINES_MAX {
        found.push(format!(
            "{}: {lines} lines of code without its tests module; the limit is {FILE_LINES_MAX}",
            source.path
        ));
    }
    for function in functions(&source.code) {
        if function.lines > FUNCTION_LINES_MAX {
            let (path, line, name, lines) =
                (&source.path, function.line, &function.name, function.lines);
            found.push(format!(
                "{path}:{line}: `{name}` has {lines} lines; the limit is {FUNCTION_LINES_MAX}"
            ));
        }
    }
    found
}

/// Modules with a name that says nothing.
pub(super) fn names(path: &str) -> Vec<String> {
    let parts = path.trim_end_matches(".rs").split('/').skip(1);
    let bad = parts.filter(|part| NAMES.contains(part));
    bad.map(|part| format!("{path}: `{part}` is a name to avoid; name the noun that it defines"))
        .collect()
}

/// Rust files that no other file declares as a module, so that they are never compiled.
pub(super) fn forgotten(sources: &[Source]) -> Vec<String> {
    let paths: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let declares = |parent: &str, module: &str| {
        let parent = sources.iter().find(|source| source.path == parent);
        parent.is_some_and(|parent| {
            parent.code.lines().any(|line| line.trim_end().ends_with(&format!("mod {module};")))
        })
    };
    let mut found = Vec::new();
    for path in &paths {
        let Some((folder, file)) = path.rsplit_once('/') else { continue };
        let module = file.trim_end_matches(".rs");
        let is_root = ["src/lib.rs", "src/main.rs", "tests/all.rs", "tests/all/main.rs"]
            .iter()
            .any(|root| path.ends_with(root));
        if is_root || folder.ends_with("/examples") {
            continue;
        }
        let declared = match (module, folder.rsplit_once('/')) {
            ("mod", Some((above, name))) => {
                parents(above).iter().any(|parent| declares(parent, name))
            }
            ("mod", None) => true,
            _ => parents(folder).iter().any(|parent| declares(parent, module)),
        };
        if !declared {
            found
                .push(format!("{path}: no file declares `mod {module};`, so it is never compiled"));
        }
    }
    found
}

/// Files that may declare the modules of a folder.
fn parents(folder: &str) -> Vec<String> {
    ["/lib.rs", "/all.rs", "/main.rs", "/mod.rs", ".rs"]
        .iter()
        .map(|ending| format!("{folder}{ending}"))
        .collect()
}

/// Text that ties a file to one machine. The pieces are joined here so that this file passes itself.
const MACHINE_TEXT: &[(&str, &str)] = &[
    (concat!("/ro", "ot/"), "the home of one machine"),
    (concat!("/wo", "rk/"), "a folder of one machine"),
    (concat!("/Us", "ers/"), "the home of one machine"),
    (concat!("artifac", "tory"), "a private registry"),
    (concat!("codear", "tifact"), "a private registry"),
    (concat!("sparse+", "http"), "a registry other than the public one"),
    (concat!("index", "-url"), "a registry other than the public one"),
];

/// Where the packages of Cargo.lock come from.
const PUBLIC_REGISTRY: &str =
    concat!("source = \"registry+https://github.com/rust-lang/crates", ".io-index\"");

/// Hosts of package registries, which only Cargo.lock may name: whoever builds may have mirrors.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("deb.deb", "ian.org"),
    concat!("py", "pi.org"),
    concat!("npm", "js.org"),
];

/// Absolute paths of one machine and registries of one site.
pub(super) fn machine_text(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // Each workspace has its own: that of the tests in a browser, too.
    let is_lock = path.rsplit('/').next() == Some("Cargo.lock");
    for (number, line) in text.lines().enumerate() {
        let at = format!("{path}:{}", number + 1);
        for (needle, what) in MACHINE_TEXT.iter().filter(|(needle, _)| line.contains(needle)) {
            found.push(format!("{at}: `{needle}` is {what}"));
        }
        for host in REGISTRY_HOSTS.iter().filter(|host| !is_lock && line.contains(**host)) {
            found.push(format!("{at}: `{host}` is the host of a registry"));
        }
        if is_lock && line.starts_with("source = ") && line != PUBLIC_REGISTRY {
            found.push(format!("{at}: a package from elsewhere than the public registry: {line}"));
        }
    }
    found
}
