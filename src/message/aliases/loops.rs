//! Names that lead back to themselves, or too deep.
//!
//! Rule: each name and each of its targets is looked at once, without recursion, whatever the file says.
//! Must not know how a name is expanded.

use std::collections::HashMap;

use super::{ALIASES_DEEP_MAX, Aliases, normalized, shown};

/// Names of a circle that are shown.
const CIRCLE_SHOWN_MAX: usize = 8;

/// A name that is being followed.
struct Visit<'a> {
    name: &'a str,
    /// Its names that are still to be looked at.
    next: Vec<&'a str>,
    depth: usize,
}

/// Adds a problem for each circle, and for each name that is exactly one alias too deep.
pub(super) fn report(aliases: &mut Aliases) {
    let mut found = Found::default();
    let next = following(aliases);
    let mut names: Vec<(usize, &str)> =
        aliases.entries.iter().map(|(name, entry)| (entry.line, name.as_str())).collect();
    names.sort_unstable();
    for (_, name) in names {
        if !found.depths.contains_key(name) {
            found.follow(name, &next);
        }
    }
    let problems: Vec<_> = found
        .problems
        .into_iter()
        .filter_map(|(name, what, remedy)| Some((aliases.entries.get(name)?.line, what, remedy)))
        .collect();
    for (line, what, remedy) in problems {
        aliases.report(line, what, remedy);
    }
}

/// The names behind each name. One that names itself directly stops there, as `\name` does.
fn following(aliases: &Aliases) -> HashMap<&str, Vec<&str>> {
    let entry_of = |target: &super::Target| {
        let known = aliases.entries.get_key_value(&normalized(target.address.local_part()))?;
        let local =
            target.address.domain().is_none_or(|domain| domain.eq_ignore_ascii_case("localhost"));
        (local && !target.is_final).then_some(known.0.as_str())
    };
    let names = |name: &str, targets: &[super::Target]| {
        targets.iter().filter_map(entry_of).filter(|target| *target != name).collect()
    };
    aliases
        .entries
        .iter()
        .map(|(name, entry)| (name.as_str(), names(name, &entry.targets)))
        .collect()
}

#[derive(Default)]
struct Found<'a> {
    /// Aliases that are applied below a name, where that is known; `None` while it is being followed.
    depths: HashMap<&'a str, Option<usize>>,
    problems: Vec<(&'a str, String, &'static str)>,
}

impl<'a> Found<'a> {
    fn follow(&mut self, start: &'a str, next: &HashMap<&'a str, Vec<&'a str>>) {
        let visit = |name: &'a str| Visit {
            name,
            next: next.get(name).cloned().unwrap_or_default(),
            depth: 1,
        };
        self.depths.insert(start, None);
        let mut path = vec![visit(start)];
        while let Some(current) = path.last_mut() {
            let Some(name) = current.next.pop() else {
                let Some(Visit { name, depth, .. }) = path.pop() else { return };
                self.leave(name, depth);
                if let Some(outer) = path.last_mut() {
                    outer.depth = outer.depth.max(depth + 1);
                }
                continue;
            };
            match self.depths.get(name) {
                Some(Some(depth)) => current.depth = current.depth.max(depth + 1),
                Some(None) => self.circle(name, &path),
                None => {
                    self.depths.insert(name, None);
                    path.push(visit(name));
                }
            }
        }
    }

    fn leave(&mut self, name: &'a str, depth: usize) {
        self.depths.insert(name, Some(depth));
        if depth == ALIASES_DEEP_MAX + 1 {
            let what = format!(
                "behind {} more than {ALIASES_DEEP_MAX} aliases follow each other",
                shown(name)
            );
            self.problems.push((
                name,
                what,
                "mail goes to identity.admin instead; name the addresses",
            ));
        }
    }

    fn circle(&mut self, name: &'a str, path: &[Visit<'a>]) {
        let from = path.iter().position(|visit| visit.name == name).unwrap_or_default();
        let names = path[from..].iter().map(|visit| visit.name).take(CIRCLE_SHOWN_MAX);
        let mut text: Vec<String> = names.map(shown).collect();
        if path.len() - from > CIRCLE_SHOWN_MAX {
            text.push("...".to_owned());
        }
        text.push(shown(name));
        let what = format!("the aliases go round in a circle: {}", text.join(" -> "));
        let remedy =
            "the way back is left out; a name that leads nowhere else goes to identity.admin";
        self.problems.push((name, what, remedy));
    }
}
