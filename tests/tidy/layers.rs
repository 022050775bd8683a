//! The layer table of ARCHITECTURE.md as a constant. Layers exclude circles of modules.

use super::source::{Source, paths};

/// Each top-level module and its layer. A file imports only from lower layers; two modules of one layer
/// do not know each other.
const LAYERS: &[(&str, u8)] = &[
    ("addressed", 0),
    ("clock", 0),
    ("exit", 0),
    ("file_stamp", 0),
    ("handbook", 0),
    ("reasons", 0),
    ("log_limit", 0),
    ("live", 0),
    ("shutdown", 0),
    ("unix_socket", 0),
    ("sync", 0),
    ("careful_file", 0),
    ("telemetry", 1),
    ("text", 0),
    ("trust", 0),
    ("message", 1),
    ("budget", 1),
    ("tasks", 1),
    ("quantities", 1),
    ("findings", 1),
    ("kept_file", 1),
    ("aliases_file", 2),
    ("fleet", 2),
    ("passwd", 2),
    ("queue", 2),
    ("rules", 2),
    ("written_time", 2),
    ("listener", 3),
    ("delivery", 3),
    ("notices", 3),
    ("sendmail", 3),
    ("settings", 4),
    ("admin", 4),
    ("supervision", 4),
    ("doctor", 5),
    ("sandbox", 5),
    ("wording", 6),
    ("page", 7),
    ("daemon", 8),
    ("cli", 9),
    ("main", 10),
];

/// Packages below the program, which it names as if they were modules of its own (`src/lib.rs`). Any file may import
/// them; Cargo sees to it that they import nothing of the program.
const BELOW: &[&str] = &["secret", "smtp"];

/// Imports along a row, with the reason.
const ALONG_A_ROW: &[(&str, &str)] = &[
    // The checked settings hold the Options of every module, those of the admin API as well.
    ("settings", "admin"),
    // The queue of a host without a disk is in the fleet's database.
    ("queue", "fleet"),
    // A lock is taken in one way everywhere.
    ("clock", "sync"),
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
    found.extend(upward_paths(source));
    for path in paths(&source.product_code) {
        let at = format!("{}:{}", source.path, path.line);
        if path.segments[0].starts_with("pillarbox_") {
            found.push(format!(
                "{at}: a package of ours is named by its module: `crate::smtp`, `crate::sandbox`"
            ));
        }
        let [root, imported, ..] = &path.segments[..] else { continue };
        if (root != "crate" && root != "pillarbox")
            || imported == own
            || BELOW.contains(&imported.as_str())
        {
            continue;
        }
        match layer(imported) {
            None => {
                found.push(format!("{at}: `{root}::{imported}` is no module of the layer table"))
            }
            Some(theirs)
                if theirs == own_layer && ALONG_A_ROW.contains(&(own, imported.as_str())) => {}
            Some(theirs) if theirs >= own_layer => found.push(format!(
                "{at}: `{own}` (layer {own_layer}) must not know `{imported}` (layer {theirs})"
            )),
            Some(_) => {}
        }
    }
    found
}

/// Paths that climb two modules.
pub(super) fn upward_paths(source: &Source) -> Vec<String> {
    let climbs = |segments: &[String]| segments.len() > 1 && segments[..2] == ["super", "super"];
    let found = paths(&source.product_code).into_iter().filter(|path| climbs(&path.segments));
    let line = |line| {
        format!(
            "{}:{line}: `super::super` hides which module is meant; write `crate::`",
            source.path
        )
    };
    found.map(|path| line(path.line)).collect()
}
