//! The measures of the source: how much there is, how long it is, who knows whom in a circle, and how much is public.
//!
//! The checks hold what is reached; `make figures` prints all of it (`.ci/figures.rs` is compiled from these files).

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, functions, is_word, tokens};

/// The measures of a set of files.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) files: usize,
    /// Lines of code, without comments, blank lines and tests.
    pub(super) lines: usize,
    /// Lines of code of the functions, sorted.
    pub(super) functions: Vec<usize>,
    /// Functions, types and constants that are `pub` without a restriction.
    pub(super) public_items: usize,
    /// Files that import each other, directly or by way of others, each circle sorted.
    pub(super) circles: Vec<Vec<String>>,
}

impl Figures {
    /// Of the files of one crate.
    pub(super) fn new(sources: &[Source]) -> Self {
        let mut functions: Vec<usize> = sources
            .iter()
            .flat_map(|source| functions(&source.product_code))
            .map(|function| function.lines)
            .collect();
        functions.sort_unstable();
        Self {
            files: sources.len(),
            lines: sources.iter().map(|source| filled(&source.product_code)).sum(),
            functions,
            public_items: sources.iter().map(|source| public_items(&source.product_code)).sum(),
            circles: circles(sources),
        }
    }

    /// The length that so many of a hundred functions do not exceed.
    pub(super) fn function_lines(&self, of_hundred: usize) -> usize {
        let at = (self.functions.len() * of_hundred).div_ceil(100).saturating_sub(1);
        self.functions.get(at).copied().unwrap_or(0)
    }
}

fn filled(code: &str) -> usize {
    code.lines().filter(|line| !line.trim().is_empty()).count()
}

const ITEMS: &[&str] =
    &["async", "const", "enum", "fn", "static", "struct", "trait", "type", "union", "unsafe"];

fn public_items(code: &str) -> usize {
    let tokens = tokens(code);
    let items = tokens.windows(2).filter(|pair| pair[0].1 == "pub" && ITEMS.contains(&pair[1].1));
    items.count()
}

/// A path in the code; for an import also the name by which the file knows it.
struct Reference {
    segments: Vec<String>,
    import: Option<Import>,
}

struct Import {
    name: String,
    public: bool,
}

/// The files of a crate by the path of the module that each is.
struct Modules<'a> {
    by_path: BTreeMap<Vec<String>, usize>,
    references: Vec<Vec<Reference>>,
    sources: &'a [Source],
}

/// Steps from one re-export to the next; more is a circle of re-exports, which does not compile.
const STEPS_MAX: usize = 8;

impl<'a> Modules<'a> {
    fn new(sources: &'a [Source]) -> Self {
        let paths = sources.iter().enumerate();
        let by_path = paths.map(|(at, source)| (module_path(&source.path), at)).collect();
        let references = sources.iter().map(|source| references(&source.product_code)).collect();
        Self { by_path, references, sources }
    }

    /// The file that defines what a path in the file `at` means; `None` for another crate's.
    fn target(&self, at: usize, segments: &[String], steps: usize) -> Option<usize> {
        let own = module_path(&self.sources[at].path);
        let (mut module, mut rest) = match segments.first()?.as_str() {
            "crate" => (Vec::new(), &segments[1..]),
            "self" => (own, &segments[1..]),
            "super" => (own[..own.len().checked_sub(1)?].to_vec(), &segments[1..]),
            child if self.by_path.contains_key(&[&own[..], &[child.to_owned()]].concat()) => {
                (own, segments)
            }
            _ => return None,
        };
        while let Some((first, further)) = rest.split_first() {
            if first == "super" {
                module.pop()?;
            } else if self
                .by_path
                .contains_key(&[&module[..], std::slice::from_ref(first)].concat())
            {
                module.push(first.clone());
            } else {
                break;
            }
            rest = further;
        }
        let found = *self.by_path.get(&module)?;
        match rest.first() {
            Some(name) if steps > 0 => {
                Some(self.through_a_re_export(found, name, steps).unwrap_or(found))
            }
            _ => Some(found),
        }
    }

    /// Where a name comes from that a file has by an import only.
    fn through_a_re_export(&self, file: usize, name: &str, steps: usize) -> Option<usize> {
        let imports = self.references[file].iter();
        let import = imports
            .filter(|reference| reference.import.as_ref().is_some_and(|import| import.name == name))
            .find(|reference| reference.segments.last().is_some_and(|last| last != "*"))?;
        self.target(file, &import.segments, steps - 1)
    }

    /// The files that a file knows. What it only hands on, it need not know.
    fn known(&self, at: usize) -> BTreeSet<usize> {
        let words: Vec<&str> =
            tokens(&self.sources[at].product_code).into_iter().map(|(_, token)| token).collect();
        let uses = |name: &str| words.iter().filter(|word| **word == name).count() > 1;
        let references = self.references[at].iter().filter(|reference| match &reference.import {
            Some(import) if import.public => uses(&import.name),
            _ => true,
        });
        let targets =
            references.filter_map(|reference| self.target(at, &reference.segments, STEPS_MAX));
        targets.filter(|target| *target != at).collect()
    }
}

/// `queue`, `id` of `src/queue/id.rs`; nothing of `src/lib.rs`.
fn module_path(path: &str) -> Vec<String> {
    let below = path.split_once("src/").map_or(path, |(_, below)| below).trim_end_matches(".rs");
    let mut segments: Vec<String> = below.split('/').map(str::to_owned).collect();
    if segments.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
        segments.pop();
    }
    segments
}

/// Every circle of files.
fn circles(sources: &[Source]) -> Vec<Vec<String>> {
    let modules = Modules::new(sources);
    let known: Vec<BTreeSet<usize>> = (0..sources.len()).map(|at| modules.known(at)).collect();
    let reached: Vec<BTreeSet<usize>> = (0..sources.len()).map(|at| reach(&known, at)).collect();
    let mut circles = BTreeSet::new();
    for (at, all) in reached.iter().enumerate() {
        let circle: BTreeSet<usize> =
            all.iter().copied().filter(|other| reached[*other].contains(&at)).collect();
        if circle.len() > 1 {
            let paths = circle.into_iter().map(|at| sources[at].path.clone());
            circles.insert(paths.collect::<Vec<_>>());
        }
    }
    circles.into_iter().collect()
}

fn reach(known: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(at) = open.pop() {
        open.extend(known[at].iter().copied().filter(|next| reached.insert(*next)));
    }
    reached
}

/// Every import and every other path of a file.
fn references(code: &str) -> Vec<Reference> {
    let tokens: Vec<&str> = tokens(code).into_iter().map(|(_, token)| token).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == "use" && at + 1 < tokens.len() {
            let before = at.checked_sub(1).map_or("", |before| tokens[before]);
            at = read_import(&tokens, at + 1, &[], before == "pub" || before == ")", &mut found);
        } else if is_word(tokens[at]) && tokens.get(at + 1) == Some(&"::") {
            let start = at;
            while is_word(tokens[at]) && tokens.get(at + 1) == Some(&"::") {
                at = (at + 2).min(tokens.len() - 1);
            }
            let words = tokens[start..=at].iter().filter(|token| is_word(token));
            let segments = words.map(|word| (*word).to_owned()).collect();
            found.push(Reference { segments, import: None });
            at += usize::from(is_word(tokens[at]));
        } else {
            at += 1;
        }
    }
    found
}

/// Reads the tree of an import at `at` and returns the index behind it.
fn read_import(
    tokens: &[&str],
    mut at: usize,
    above: &[String],
    public: bool,
    found: &mut Vec<Reference>,
) -> usize {
    let mut segments = above.to_vec();
    while let Some(token) = tokens.get(at) {
        match *token {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|next| *next != "}") {
                    at = read_import(tokens, at, &segments, public, found).max(at + 1);
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            "::" => at += 1,
            "as" => {
                let name = tokens.get(at + 1).copied().unwrap_or("_").to_owned();
                found.push(Reference { segments, import: Some(Import { name, public }) });
                return at + 2;
            }
            word if is_word(word) || word == "*" => {
                segments.push(word.to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    // `queue::{self, id}` has the name of what stands before.
    if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
        segments.pop();
    }
    if let Some(name) = segments.last().cloned() {
        found.push(Reference { segments, import: Some(Import { name, public }) });
    }
    at
}
