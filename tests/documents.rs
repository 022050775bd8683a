//! docs/: every page can be found from the index, and the words that troubleshooting quotes are the program's.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Fragments of what the program says, and the file that says it.
const QUOTED: &[(&str, &str)] = &[
    ("the 24 h budget is spent", "src/queue/waiting.rs"),
    ("the account is ", "src/queue/waiting.rs"),
    ("when the next attempt is due.", "src/queue/waiting.rs"),
    ("the pace a minute is kept", "src/queue/waiting.rs"),
    ("the logins of this hour are used up", "src/queue/waiting.rs"),
    ("other hosts of the fleet use all connections to the account", "src/queue/waiting.rs"),
    ("What to do:", "src/wording/status.rs"),
    ("is not in a trusted network of this relay", "crates/smtp/src/server/reply.rs"),
    ("log in first, with AUTH PLAIN or AUTH LOGIN", "crates/smtp/src/server/reply.rs"),
    ("login not accepted: name or password is wrong", "crates/smtp/src/server/reply.rs"),
    (
        "a login needs an encrypted connection, use STARTTLS first",
        "crates/smtp/src/server/reply.rs",
    ),
    ("no room for the message, try again later", "crates/smtp/src/server/reply.rs"),
    ("the queue is not available, try again later", "crates/smtp/src/server/reply.rs"),
    ("too many messages in this minute, try again in", "crates/smtp/src/server/reply.rs"),
    ("serves too many clients just now", "crates/smtp/src/server/reply.rs"),
    ("logins cannot be checked just now, try again later", "crates/smtp/src/server/reply.rs"),
    (
        "is in use by another program (another mail server, or Pillarbox itself?).",
        "src/listener/bind.rs",
    ),
    ("there is no account to relay through", "src/settings/mod.rs"),
    ("is in use by another pillarbox", "src/queue/recovery.rs"),
    ("was left untouched:", "src/queue/recovery.rs"),
    ("newer version", "src/queue/index.rs"),
    ("no answer within", "src/delivery/reach.rs"),
    ("not allowed to use", "src/admin/client.rs"),
];

/// Without line ends, as a reader sees it.
fn flowing(path: &str) -> String {
    fs::read_to_string(path).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_words_that_troubleshooting_quotes_are_those_of_the_program() {
    let page = flowing("docs/troubleshooting.md");
    for (words, file) in QUOTED {
        assert!(page.contains(words), "docs/troubleshooting.md does not quote {words:?} any more");
        assert!(flowing(file).contains(words), "{file} does not say {words:?} any more");
    }
}

/// The files that a page links to; a picture links to none.
fn links(page: &Path) -> Vec<PathBuf> {
    if page.extension() == Some("png".as_ref()) {
        return Vec::new();
    }
    let text = fs::read_to_string(page).unwrap();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let files = targets.filter(|link| !link.is_empty() && !link.contains(':'));
    files.map(|link| page.parent().unwrap_or_else(|| Path::new(".")).join(link)).collect()
}

/// All pages of `docs/`.
fn pages() -> Vec<PathBuf> {
    let (mut folders, mut pages) = (vec![PathBuf::from("docs")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { pages.push(path) }
        }
    }
    pages
}

#[test]
fn every_page_for_administrators_can_be_found_from_the_index() {
    let index = fs::read_to_string("docs/README.md").unwrap();
    for page in pages().iter().filter(|page| page.parent() == Some(Path::new("docs"))) {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(
            name == "README.md" || index.contains(&format!("]({name})")),
            "docs/{name} is not in docs/README.md"
        );
    }
}

#[test]
fn every_page_can_be_reached_from_the_readme() {
    let mut reached = vec![fs::canonicalize("README.md").unwrap()];
    let mut next = 0;
    while let Some(page) = reached.get(next).cloned() {
        next += 1;
        let is_ours = |link: &&PathBuf| {
            ["md", "png"].iter().any(|kind| link.extension() == Some(kind.as_ref()))
        };
        for link in links(&page).iter().filter(is_ours) {
            let link =
                fs::canonicalize(link).unwrap_or_else(|_| panic!("{page:?} links to {link:?}"));
            if !reached.contains(&link) {
                reached.push(link);
            }
        }
    }
    for page in pages() {
        assert!(reached.contains(&fs::canonicalize(&page).unwrap()), "no link leads to {page:?}");
    }
}

#[test]
fn every_link_of_a_page_leads_to_a_file() {
    let roots = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "ARCHITECTURE.md"];
    for page in roots.into_iter().map(PathBuf::from).chain(pages()) {
        for link in links(&page) {
            assert!(link.exists(), "{page:?} links to {link:?}, which is not there");
        }
    }
}

/// The code map: the name of each folder, and the text below its heading.
fn code_map(document: &str) -> Vec<(Vec<&str>, &str)> {
    let (_, map) = document.split_once("\n## The code map\n").unwrap();
    let map = map.split("\n## ").next().unwrap();
    let parts = map.split("\n### ").skip(1).map(|part| part.split_once('\n').unwrap());
    parts.map(|(heading, text)| (heading.split('`').skip(1).step_by(2).collect(), text)).collect()
}

#[test]
fn the_code_map_has_each_folder_with_an_entry_point_that_is_there_and_an_invariant() {
    let document = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let map = code_map(&document);
    for entry in fs::read_dir("src").unwrap().map(|entry| entry.unwrap().path()) {
        let name = format!("{}/", entry.file_name().unwrap().to_str().unwrap());
        let is_part_of_a_file = entry.with_extension("rs").exists();
        assert!(
            !entry.is_dir()
                || is_part_of_a_file
                || map.iter().any(|(names, _)| names.contains(&&*name)),
            "src/{name} is not in the code map"
        );
    }
    for (names, text) in map.iter().filter(|(names, _)| !names.is_empty()) {
        assert!(text.contains("*Invariant:*"), "{names:?} has no invariant");
        let (_, start) =
            text.split_once("Start at `").unwrap_or_else(|| panic!("{names:?}: no start"));
        let (file, rest) = start.split_once('`').unwrap();
        let folders = names.iter().map(|name| name.trim_end_matches('/'));
        let places = folders.flat_map(|name| {
            [format!("src/{name}/{file}"), format!("{name}/src/{file}"), format!("src/{file}")]
        });
        let text = places.filter_map(|place| fs::read_to_string(place).ok()).next();
        let text = text.unwrap_or_else(|| panic!("{names:?}: {file} is not there"));
        if let Some(item) = rest.strip_prefix(" (`").and_then(|rest| rest.split('`').next()) {
            let name = item.rsplit("::").next().unwrap();
            assert!(text.contains(&format!("fn {name}")), "{file} has no {item}");
        }
    }
}

/// Files whose text may name documents.
fn files_that_cite() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        ["src", "crates", "tests", "fuzz", "benches", "examples", "docs", "."]
            .map(Into::into)
            .into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let below = folder != Path::new(".") && path.file_name() != Some("target".as_ref());
            match path.extension().and_then(|extension| extension.to_str()) {
                _ if path.is_dir() && below => folders.push(path),
                Some("rs" | "md" | "toml") if path.is_file() => files.push(path),
                _ => {}
            }
        }
    }
    files
}

/// The text on one line, so that what a comment breaks is whole again.
fn joined(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.trim_start();
        ["//!", "///", "//", "# "].iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line)
    });
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// Names that stand for any document, and what is made or installed elsewhere.
fn is_of_the_repository(name: &str) -> bool {
    let stem = name.rsplit('/').next().unwrap().trim_end_matches(".md");
    let elsewhere = ["//", "target/"].iter().any(|start| name.starts_with(start));
    stem.len() > 1 && stem != "NAME" && !elsewhere && !name.contains("share/doc/")
}

/// Documents that `text` names and that are not there, and sections that they do not have.
fn dangling(path: &Path, text: &str) -> Vec<String> {
    let text = joined(text);
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_/.".contains(c);
    let mut found = Vec::new();
    for (end, _) in text.match_indices(".md") {
        let end = end + ".md".len();
        if text[end..].starts_with(|c: char| c.is_ascii_alphanumeric()) {
            continue;
        }
        let start = text[..end].rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
        let name = &text[start..end];
        if !is_of_the_repository(name) || text[..start].ends_with('*') {
            continue;
        }
        let beside = path.parent().unwrap_or_else(|| Path::new("."));
        let docs = ["", "docs", "docs/internals"].map(|folder| Path::new(folder).join(name));
        let places = std::iter::once(beside.join(name)).chain(docs).collect::<Vec<_>>();
        let Some(document) = places.iter().find(|place| place.is_file()) else {
            found.push(format!("{}: {name} is not there", path.display()));
            continue;
        };
        let headings = fs::read_to_string(document).unwrap();
        for number in sections(&text[end..]) {
            let is_heading = |line: &str| {
                line.starts_with('#')
                    && line.trim_start_matches('#').trim().starts_with(&format!("{number} "))
                    || line.starts_with(&format!("## {number}. "))
            };
            if !headings.lines().any(is_heading) {
                found.push(format!("{}: {name} has no section {number}", path.display()));
            }
        }
    }
    found
}

/// The numbers in " section 3.1", " sections 3.3, 4.2 and 5" and the like, at the beginning of `text`.
fn sections(text: &str) -> Vec<&str> {
    let Some(rest) = [" sections ", " section "].iter().find_map(|word| text.strip_prefix(word))
    else {
        return Vec::new();
    };
    let mut numbers = Vec::new();
    for word in rest.split(' ').filter(|word| *word != "and") {
        let number = word.trim_end_matches(|c: char| !c.is_ascii_digit());
        if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
            break;
        }
        numbers.push(number);
        if !word.ends_with(',') && word != number {
            break;
        }
    }
    numbers
}

#[test]
fn every_document_and_section_that_is_named_anywhere_is_there() {
    let mut files = files_that_cite();
    files.retain(|path| !path.ends_with("tests/documents.rs")); // Its samples are wrong by intent.
    assert!(files.len() > 300, "{} files", files.len());
    let found: Vec<String> =
        files.iter().flat_map(|path| dangling(path, &fs::read_to_string(path).unwrap())).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_search_for_such_names_finds_a_wrong_one_of_each_kind() {
    let path = Path::new("src/delivery/throttle.rs");
    for wrong in [
        concat!("// (cra", "tes.md part 3)"),
        concat!("//! Rule: (docs/gmail.md section\n//! 3.", "99)."),
        concat!("// docs/gmail.md sections 3.3, 4.", "77 and 5"),
        concat!("\"see docs/nowh", "ere.md\""),
    ] {
        assert_eq!(dangling(path, wrong).len(), 1, "accepted {wrong}");
    }
    for right in
        ["// docs/gmail.md sections 3.3, 4.2 and 5.", "// gmail.md section 2 tells", "README.md"]
    {
        assert_eq!(dangling(path, right), Vec::<String>::new(), "refused {right}");
    }
}
