//! The arguments of real callers, and what becomes of them: `golden/sendmail/*.txt`, one file a caller.
//!
//! A file has the arguments (`argv `, one a line), standard input (`in `, with its line ends as escapes) and,
//! behind `=====`, the commands and every line that is handed over. The callers and their inputs were recorded on
//! Debian 12 (the file's first line names the package). LOGIN stands for whoever runs the test, CALLER for his
//! mailbox. `BLESS=1 cargo test sendmail::callers` writes the last parts anew; review the difference like code.

use std::{fs, path::PathBuf};

use pillarbox::sendmail::{caller::Caller, configured::Environment};

use super::stage::Stage;

const BORDER: &str = "=====\n";

#[test]
fn what_every_caller_passes_is_handed_over_as_its_file_says() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sendmail");
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 14, "only {} callers were found", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (case, expected) = text.split_once(BORDER).unwrap_or((&text, ""));
        let handed_over = handed_over(case);
        if std::env::var_os("BLESS").is_some() {
            fs::write(&file, format!("{case}{BORDER}{handed_over}")).unwrap();
            continue;
        }
        assert_eq!(handed_over, expected, "{}", file.display());
    }
}

fn handed_over(case: &str) -> String {
    let (mut arguments, mut input) = (Vec::new(), Vec::new());
    for line in case.lines() {
        if let Some(argument) = line.strip_prefix("argv ") {
            arguments.push(argument);
        } else if let Some(text) = line.strip_prefix("in ") {
            input.extend(unescaped(text));
        } else {
            assert!(line.starts_with("# ") || line.is_empty(), "{line}");
        }
    }
    let stage = Stage::new();
    stage.sendmail(&arguments, &input).quietly();
    let dropped = stage.only_dropped();
    let caller = Caller::of_this_process(&Environment::default());
    let login = format!("<{}>", caller.login);
    let mut lines = vec![dropped.head.mail.replace(&login, "<LOGIN>")];
    lines[0] = lines[0]
        .split(' ')
        .filter(|word| !word.starts_with("XUID="))
        .map(|word| if word.starts_with("SIZE=") { "SIZE" } else { word })
        .collect::<Vec<_>>()
        .join(" ");
    lines.extend(dropped.head.recipients.iter().cloned());
    let own_from = if caller.name.is_empty() {
        format!("From: {}", caller.login)
    } else {
        format!("From: \"{}\" {login}", caller.name)
    };
    let text = dropped.message.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"");
    for line in text.split("\\r\\n") {
        lines.push(if line == own_from { "From: CALLER".to_owned() } else { line.to_owned() });
    }
    let mut all = lines.join("\n");
    all.truncate(all.trim_end_matches('\n').len());
    all + "\n"
}

/// `\r`, `\n`, `\t`, `\\` and `\xNN`.
fn unescaped(text: &str) -> Vec<u8> {
    let (mut octets, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let (octet, used) = match (first, after.first()) {
            (b'\\', Some(b'r')) => (b'\r', 1),
            (b'\\', Some(b'n')) => (b'\n', 1),
            (b'\\', Some(b't')) => (b'\t', 1),
            (b'\\', Some(b'\\')) => (b'\\', 1),
            (b'\\', Some(b'x')) => {
                let digits = std::str::from_utf8(&after[1..3]).unwrap();
                (u8::from_str_radix(digits, 16).unwrap(), 3)
            }
            (other, _) => (*other, 0),
        };
        octets.push(octet);
        rest = &after[used..];
    }
    octets
}
