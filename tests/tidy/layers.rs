//! Who may import whom: the layer table of ARCHITECTURE.md as a constant, and cycles inside a module.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, paths};

/// Each top-level module and its layer. A file imports only from lower layers; two modules of one layer
/// do not know each other.
const LAYERS: &[(&str, u8)] = &[
    ("smtp", 0),
    ("clock", 0),
    ("secret", 0),
    ("shutdown", 0),
    ("telemetry", 0),
    ("message", 1),
    ("budget", 1),
    ("queue", 2),
    ("listener", 3),
    ("delivery", 3),
    ("settings", 4),
    ("admin", 4),
    ("daemon", 5),
    ("sandbox", 5),
    ("cli", 6),
    ("main", 7),
];

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// `queue` of `src/queue/id.rs` and of `src/queue.rs`.
fn module_of(path: &str) -> &str {
    let below = path.trim_start_matches("src/");
    below.split('/').next().unwrap_or(below).trim_end_matches(".rs")
}

/// Imports that the table does not allow.
pub(super) fn forbidden_imports(source: &Source) -> Vec<String> {
    let own = module_of(&source.path);
    if own == "lib" {
        return Vec::new();
    }
    let Some(own_layer) = layer(own) else {
        return vec![format!("{}: module `{own}` has no row in the layer table", source.path)];
    };
    let mut found = Vec::new();
    for path in paths(&source.product_code) {
        let at = format!("{}:{}", source.path, path.line);
        if path.segments.iter().take(2).all(|segment| segment == "super") && path.segments.len() > 1 {
            found.push(format!("{at}: `super::super` hides which module is meant; write `crate::`"));
        }
        let [root, imported, ..] = &path.segments[..] else { continue };
        if (root != "crate" && root != "pillarbox") || imported == own {
            continue;
        }
        match layer(imported) {
            None => found.push(format!("{at}: `{root}::{imported}` is no module of the layer table")),
            Some(theirs) if theirs >= own_layer => found.push(format!(
                "{at}: `{own}` (layer {own_layer}) must not know `{imported}` (layer {theirs})"
            )),
            Some(_) => {}
        }
    }
    found
}

/// Circles that stay, with the reason.
const CIRCLES_ALLOWED: &[(&str, &str)] = &[
    // The trait's verbs return the error that a draft returns as well; both are the store's contract.
    ("queue/draft", "queue/store"),
];

/// Circles of files that import each other within one module folder. `mod.rs`, the folder's face, may
/// know all its files, and they may know what it defines.
pub(super) fn cycles(sources: &[Source]) -> Vec<String> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let Some((folder, file)) = source.path.trim_start_matches("src/").split_once('/') else { continue };
        let own = format!("{folder}/{}", first_word(file));
        for path in paths(&source.product_code) {
            let target = match &path.segments[..] {
                [root, name, file, ..] if root == "crate" && name == folder => file,
                [root, file, ..] if root == "super" && !own.ends_with("/mod") => file,
                _ => continue,
            };
            let target = format!("{folder}/{target}");
            let is_file = sources.iter().any(|other| other.path.starts_with(&format!("src/{target}.rs")));
            let allowed = CIRCLES_ALLOWED.contains(&(own.as_str(), target.as_str()));
            if is_file && target != own && !allowed {
                edges.entry(own.clone()).or_default().insert(target);
            }
        }
    }
    edges
        .keys()
        .filter(|start| reaches(&edges, start, start))
        .map(|file| format!("src/{file}.rs: imports itself in a circle: {:?}", edges[file]))
        .collect()
}

fn first_word(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or(file)
}

fn reaches(edges: &BTreeMap<String, BTreeSet<String>>, start: &str, goal: &str) -> bool {
    let mut open = vec![start];
    let mut seen = BTreeSet::new();
    while let Some(file) = open.pop() {
        for next in edges.get(file).into_iter().flatten() {
            if next == goal {
                return true;
            }
            if seen.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    false
}
