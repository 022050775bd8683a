//! docs/: every page can be found from the index, and the words that troubleshooting quotes are the program's.

use std::fs;

/// Fragments of what the program says, and the file that says it.
const QUOTED: &[(&str, &str)] = &[
    ("the 24 h budget is spent", "src/queue/waiting.rs"),
    ("the account is ", "src/queue/waiting.rs"),
    ("when the next attempt is due.", "src/queue/waiting.rs"),
    ("the pace a minute is kept", "src/queue/waiting.rs"),
    ("the logins of this hour are used up", "src/queue/waiting.rs"),
    ("What to do:", "src/cli/status.rs"),
    ("is not in a trusted network of this relay", "src/smtp/reply.rs"),
    ("log in first, with AUTH PLAIN or AUTH LOGIN", "src/smtp/reply.rs"),
    ("login not accepted: name or password is wrong", "src/smtp/reply.rs"),
    ("a login needs an encrypted connection, use STARTTLS first", "src/smtp/reply.rs"),
    ("no room for the message, try again later", "src/smtp/reply.rs"),
    ("the queue is not available, try again later", "src/smtp/reply.rs"),
    ("too many messages in this minute, try again in", "src/smtp/reply.rs"),
    ("serves too many clients just now", "src/smtp/reply.rs"),
    ("logins cannot be checked just now, try again later", "src/smtp/reply.rs"),
    (
        "is in use by another program (another mail server, or Pillarbox itself?).",
        "src/listener/bind.rs",
    ),
    ("there is no account to relay through", "src/settings/mod.rs"),
    ("is in use by another pillarbox", "src/queue/opening.rs"),
    ("was left untouched:", "src/queue/opening.rs"),
    ("newer version", "src/queue/sled_tables.rs"),
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

#[test]
fn every_page_can_be_found_from_the_index() {
    let index = fs::read_to_string("docs/README.md").unwrap();
    for entry in fs::read_dir("docs").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name == "README.md" || index.contains(&format!("]({name})")),
            "docs/{name} is not in docs/README.md"
        );
    }
}

#[test]
fn every_link_of_a_page_leads_to_a_file() {
    let mut pages = vec!["README.md".into(), "SECURITY.md".into(), "CONTRIBUTING.md".into()];
    pages.extend(fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path()));
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_file = !link.is_empty() && !link.contains(':');
            let target = page.parent().unwrap().join(link);
            assert!(
                !is_file || target.exists(),
                "{} links to {link}, which is not there",
                page.display()
            );
        }
    }
}
