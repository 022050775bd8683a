//! docs/gmail.md holds the whole table of Gmail's replies, docs/replies.md those of all others, in the words of the program.
//!
//! `BLESS=1 cargo test documents` writes its tables anew; review the difference like code.

use std::{fmt::Write, fs, path::PathBuf};

use pillarbox::delivery::{Action, Growth, KnownReply, Provider, Stage, known_replies};

use super::replies::replies_of;

const BEGIN: &str =
    "<!-- The tables are written by `BLESS=1 cargo test documents` from the program's own. -->\n";
const END: &str = "<!-- End of the tables. -->\n";

fn document() -> PathBuf {
    page("gmail.md")
}

fn page(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// The tables of docs/replies.md.
const OTHERS: [(&str, Provider); 7] = [
    ("Microsoft 365 and Outlook.com", Provider::Microsoft365),
    ("iCloud Mail", Provider::Icloud),
    ("Zoho Mail", Provider::Zoho),
    ("Amazon SES", Provider::Ses),
    ("Mailgun", Provider::Mailgun),
    ("SendGrid", Provider::Sendgrid),
    ("Any server", Provider::Custom),
];

/// What the relay does, in words.
fn does(reply: &KnownReply) -> String {
    match reply.action {
        Action::Accept => "takes it as accepted".into(),
        Action::Retry(waits) => {
            let growth = match waits.growth {
                Growth::FromAMinute => {
                    "tries again after 1 min, 5 min, 15 min, 1 h, then every 4 h"
                }
                Growth::FromAnHour => "tries again after 1 h, then every 4 h",
                Growth::Hourly => "tries again every hour",
            };
            let most = waits.attempts_max.map(|most| format!("; dead after {most} attempts"));
            format!("{growth}{}", most.unwrap_or_default())
        }
        Action::GiveUp => "**dead**: kept for you to see".into(),
        Action::GiveUpAsSpam => {
            "**dead**: kept for you to see; after the third within an hour the mail of its sender waits for 1 h, or \
             all mail if they are of several"
                .into()
        }
        Action::Split => "sends the rest at once, in transactions of half the size".into(),
        Action::SplitByDomain => "sends the rest at once, one domain at a time".into(),
        Action::WithoutParameters => {
            "sends MAIL once more without parameters, then **dead**".into()
        }
        Action::Reconnect { then } => {
            format!("reconnects at once; the second time in a row: **{}**", then.name())
        }
        Action::Pause(condition) if reply.certain || reply.stage <= Stage::Auth => {
            format!("**{}**; nothing is charged to a message", condition.name())
        }
        Action::Pause(condition) => {
            format!(
                "**{}**, until another message is accepted; then it is this message's own",
                condition.name()
            )
        }
    }
}

/// The line without the address of a help page, which the tables would be too wide for.
fn shown(line: &str) -> String {
    let line = line.split(" For more information").next().unwrap_or(line);
    let line = line.split(" Learn more at").next().unwrap_or(line);
    let short: String = line.chars().take(110).collect();
    let dots = if short.len() < line.len() { "..." } else { "" };
    format!("{}{dots}", short.replace('|', "\\|"))
}

fn tables() -> String {
    let replies = replies_of(Provider::Gmail);
    let mut text = String::new();
    for (title, stages) in [
        (
            "At the start of a connection",
            &[Stage::Connect, Stage::Greeting, Stage::Ehlo, Stage::Starttls][..],
        ),
        ("At the login", &[Stage::Auth]),
        ("At MAIL and DATA", &[Stage::Mail, Stage::Data]),
        ("For one recipient", &[Stage::Rcpt]),
        ("After the message", &[Stage::FinalDot]),
    ] {
        writeln!(text, "\n### {title}\n").unwrap();
        writeln!(text, "| Gmail says | which means | the relay | you |\n|---|---|---|---|")
            .unwrap();
        for reply in replies.iter().filter(|reply| stages.contains(&reply.stage)) {
            let (says, means, does) = (shown(reply.line), reply.meaning, does(reply));
            writeln!(text, "| `{says}` | {means} | {does} | {} |", reply.remedy).unwrap();
        }
    }
    text.push('\n');
    text
}

/// Those of the other providers, each with where it is known from.
fn tables_of_others() -> String {
    let mut text = String::new();
    for reply in known_replies() {
        let has_title = OTHERS.iter().any(|(_, provider)| *provider == reply.provider);
        assert!(has_title || reply.provider == Provider::Gmail, "no title for {reply:?}");
    }
    for (title, provider) in OTHERS {
        writeln!(text, "\n### {title}\n").unwrap();
        text.push_str("| at | it says | which means | the relay | you | known from |\n");
        text.push_str("|---|---|---|---|---|---|\n");
        for reply in replies_of(provider) {
            let (at, says, does) = (reply.stage.name(), shown(reply.line), does(&reply));
            let (means, remedy, source) = (reply.meaning, reply.remedy, reply.source);
            writeln!(text, "| {at} | `{says}` | {means} | {does} | {remedy} | {source} |").unwrap();
        }
    }
    text.push('\n');
    text
}

#[test]
fn the_document_for_administrators_has_every_reply_as_the_program_knows_it() {
    for (name, tables) in [("gmail.md", tables()), ("replies.md", tables_of_others())] {
        let path = page(name);
        let present = fs::read_to_string(&path).unwrap();
        let (before, rest) = present.split_once(BEGIN).expect("the mark before the tables");
        let (_, after) = rest.split_once(END).expect("the mark behind the tables");
        let expected = format!("{before}{BEGIN}{tables}{END}{after}");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &expected).unwrap();
        }
        assert!(present == expected, "docs/{name} differs; run BLESS=1 cargo test documents");
    }
}

#[test]
fn every_reply_of_another_server_names_a_page_or_the_standard_that_it_is_known_from() {
    for reply in known_replies().iter().filter(|reply| reply.provider != Provider::Gmail) {
        let mut sources = reply.source.split(", ");
        let is_named = |source: &str| source.starts_with("https://") || source.starts_with("RFC ");
        assert!(sources.all(is_named), "{reply:?}");
    }
}

/// The tables of the evidence below a section's heading: code, enhanced code, where it is known from.
fn evidence<'a>(document: &'a str, section: &str) -> Vec<(&'a str, &'a str, &'a str)> {
    let heading = format!("\n### {section} ");
    let (_, rest) = document.split_once(&heading).unwrap_or_else(|| panic!("no section {section}"));
    let rest = rest.split("\n## ").next().unwrap().split("\n### ").next().unwrap();
    let cells =
        |line: &'a str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let rows = rest.lines().filter(|line| line.starts_with('|')).map(cells);
    rows.map(|row| (row[0], row[1], row[row.len() - 1])).collect()
}

#[test]
fn every_known_reply_has_its_line_of_evidence_in_the_section_that_its_row_names() {
    let document = fs::read_to_string(document()).unwrap();
    for reply in replies_of(Provider::Gmail) {
        let cited = reply.source.strip_prefix("docs/gmail.md section").expect("a section");
        let sections: Vec<&str> = cited
            .trim_start_matches('s')
            .split_whitespace()
            .filter(|word| *word != "and")
            .collect();
        let (code, rest) = reply.line.split_at(3);
        let enhanced = rest.split_whitespace().next().unwrap();
        let lines: Vec<_> =
            sections.iter().flat_map(|section| evidence(&document, section)).collect();
        let line = lines.iter().find(|line| (line.0, line.1) == (code, enhanced));
        let (_, _, known_from) =
            line.unwrap_or_else(|| panic!("no evidence for {} in {cited}", reply.line));
        let keys = known_from.split('[').skip(1).filter_map(|rest| rest.split(']').next());
        let keys: Vec<&str> = keys.collect();
        assert!(!keys.is_empty() || known_from.contains("RFC"), "{}: {known_from}", reply.line);
        for key in keys {
            assert!(document.contains(&format!("\n[{key}]: https://")), "no address for [{key}]");
        }
    }
}
