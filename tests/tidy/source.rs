//! The program text as the tidy checks see it: without comments and string contents, as paths and functions.
//!
//! A small lexer, not a parser: it must be right about comments, strings, braces and `a::{b, c}`,
//! and may be ignorant of everything else.

use std::{fs, path::Path};

/// One Rust file.
pub(super) struct Source {
    /// Path from the package's root, with `/`.
    pub(super) path: String,
    /// The file as it is.
    pub(super) text: String,
    /// The file with comments and the insides of strings blanked; line numbers are unchanged.
    pub(super) code: String,
    /// `code` before the file's own `#[cfg(test)] mod tests`.
    pub(super) product_code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = blank_comments_and_strings(text);
        let end = test_module_start(&code).unwrap_or(code.len());
        let product_code = if is_test_file(path) { String::new() } else { code[..end].to_owned() };
        Self { path: path.to_owned(), text: text.to_owned(), code, product_code }
    }

    /// Lines of code before the tests module: comments and blank lines do not count.
    pub(super) fn product_lines(&self) -> usize {
        let end = test_module_start(&self.code).unwrap_or(self.code.len());
        self.code[..end].lines().filter(|line| !line.trim().is_empty()).count()
    }
}

/// Whether a file below `src` holds nothing but tests of the file beside it, or of its whole package.
fn is_test_file(path: &str) -> bool {
    let below_crates = path.starts_with("crates/");
    let is_for_tests = path.ends_with("/tests.rs") || path.ends_with("/fixtures.rs");
    (below_crates || path.starts_with("src/")) && is_for_tests
        || below_crates && (path.contains("/tests/") || path.contains("/examples/"))
}

/// Where the tests at a file's end begin. A module of theirs in a file of its own, declared among the others, ends nothing.
fn test_module_start(code: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let rest = code[start + "#[cfg(test)]".len()..].trim_start();
        let name =
            rest.strip_prefix("mod ").and_then(|rest| rest.split_inclusive(['{', ';']).next());
        if name.is_some_and(|name| name.ends_with('{') || name == "tests;") {
            return Some(start);
        }
        from = start + 1;
    }
    None
}

/// Every file below `folder` (from the package's root), sorted, with its path from the root.
pub(super) fn files_below(folder: &str, skip: &[String]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root.join(&folder)).expect("a folder of the package") {
            let entry = entry.expect("an entry of a folder");
            let name = entry.file_name().into_string().expect("a file name in UTF-8");
            let path = if folder == "." { name } else { format!("{folder}/{name}") };
            if skip.contains(&path) {
                continue;
            }
            match entry.file_type().expect("a file type") {
                kind if kind.is_dir() => open.push(path),
                kind if kind.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// The folders of the program's source and of its packages' sources.
pub(super) fn packages() -> Vec<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let names = fs::read_dir(crates).into_iter().flatten().filter_map(Result::ok);
    let names = names.filter_map(|folder| folder.file_name().into_string().ok());
    let mut folders: Vec<String> = names.map(|name| format!("crates/{name}/src")).collect();
    folders.sort();
    folders.insert(0, "src".to_owned());
    folders
}

/// Every Rust file below `folder`.
pub(super) fn sources_below(folder: &str) -> Vec<Source> {
    let rust = files_below(folder, &[]).into_iter().filter(|path| path.ends_with(".rs"));
    rust.map(|path| Source::new(&path, &read(&path))).collect()
}

/// The text of a file of the package; empty when it is no UTF-8.
pub(super) fn read(path: &str) -> String {
    let bytes =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file of the package");
    String::from_utf8(bytes).unwrap_or_default()
}

/// Replaces comments, the insides of strings and character literals by spaces.
pub(super) fn blank_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let previous = code.chars().next_back().unwrap_or(' ');
        let length = blank_length(rest, previous);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// Octets of the comment, string or character literal at the start of `rest`; 0 when there is none.
fn blank_length(rest: &str, previous: char) -> usize {
    let within_word = previous.is_alphanumeric() || previous == '_';
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return 1 + string_length(inside);
    }
    let raw = rest.strip_prefix('b').unwrap_or(rest);
    if let Some(hashes) = raw.strip_prefix('r').filter(|_| !within_word) {
        let fence = hashes.bytes().take_while(|byte| *byte == b'#').count();
        if hashes[fence..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(fence));
            let start = rest.len() - hashes.len() + fence + 1;
            return rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len());
        }
    }
    if rest.starts_with('\'') { character_length(rest) } else { 0 }
}

fn block_comment_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        let here = &rest[at..];
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += here.chars().next().map_or(0, char::len_utf8);
        }
        if depth == 0 || at >= rest.len() {
            return at;
        }
    }
}

/// Octets up to and with the closing quote.
fn string_length(inside: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    inside.len()
}

/// Octets of a character literal; 0 for a lifetime.
fn character_length(rest: &str) -> usize {
    let mut inside = rest[1..].char_indices();
    match inside.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(0, |at| at + 4),
        Some((_, c)) if rest[1 + c.len_utf8()..].starts_with('\'') => c.len_utf8() + 2,
        _ => 0,
    }
}

/// A path such as `std::fs::File`, with the line it starts on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CodePath {
    pub(super) line: usize,
    pub(super) segments: Vec<String>,
}

/// Every path in the code; `use a::{b, c::d}` counts as `a::b` and `a::c::d`.
pub(super) fn paths(code: &str) -> Vec<CodePath> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let starts = is_word(tokens[at].1)
            && (tokens.get(at + 1).is_some_and(|next| next.1 == "::")
                || (at > 0 && tokens[at - 1].1 == "use"));
        if starts {
            at = read_tree(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads the path tree at `at` and returns the index behind it.
fn read_tree(
    tokens: &[(usize, &str)],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<CodePath>,
) -> usize {
    let line = tokens[at].0;
    let mut segments = prefix.to_vec();
    while let Some((_, token)) = tokens.get(at) {
        if *token == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|next| next.1 != "}") {
                at = read_tree(tokens, at, &segments, found).max(at + 1);
                while tokens.get(at).is_some_and(|next| next.1 != "," && next.1 != "}") {
                    at += 1; // `as name`
                }
                at += usize::from(tokens.get(at).is_some_and(|next| next.1 == ","));
            }
            return at + 1;
        }
        if !is_word(token) && *token != "*" {
            break;
        }
        segments.push((*token).to_owned());
        at += 1;
        let goes_on = tokens.get(at).is_some_and(|next| next.1 == "::")
            && tokens
                .get(at + 1)
                .is_some_and(|next| is_word(next.1) || next.1 == "{" || next.1 == "*");
        if !goes_on {
            break;
        }
        at += 1;
    }
    found.push(CodePath { line, segments });
    at
}

pub(super) fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Words, `::` and single signs, each with its line.
pub(super) fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word =
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                word => word,
            };
            tokens.push((number + 1, &rest[..length]));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// A function with the number of its lines of code, comments and blank lines not counted.
pub(super) struct Function {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) lines: usize,
}

/// Every function with a body.
pub(super) fn functions(code: &str) -> Vec<Function> {
    let tokens = tokens(code);
    let filled: Vec<bool> = code.lines().map(|line| !line.trim().is_empty()).collect();
    let mut found = Vec::new();
    for (at, (line, token)) in tokens.iter().enumerate() {
        let Some((_, name)) = tokens.get(at + 1).filter(|next| *token == "fn" && is_word(next.1))
        else {
            continue;
        };
        let Some(end) = body_end(&tokens[at..]) else { continue };
        let lines = filled[line - 1..end].iter().filter(|filled| **filled).count();
        found.push(Function { line: *line, name: (*name).to_owned(), lines });
    }
    found
}

/// The line of the brace that closes the first body; `None` for a function without one.
fn body_end(tokens: &[(usize, &str)]) -> Option<usize> {
    let (mut depth, mut brackets) = (0_usize, 0_usize);
    for (line, token) in tokens {
        match *token {
            "(" | "[" => brackets += 1,
            ")" | "]" => brackets = brackets.saturating_sub(1),
            ";" if depth == 0 && brackets == 0 => return None,
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(*line);
                }
            }
            _ => {}
        }
    }
    None
}
