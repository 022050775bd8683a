//! The fuzz target of command lines: any octets of a line, as `smtp::server::command` gets them.

use pillarbox::smtp::{
    address::Address,
    quirk::Quirks,
    server::{CommandError, command::Command},
};

/// Runs one input. Panics when something does not hold.
pub(crate) fn run(input: &[u8]) {
    let Ok(command) = parse(input) else { return };
    assert!(!input.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t'), "{command:?}");
    // The case of the verb and blanks around the line mean nothing.
    let mut line = input.trim_ascii().to_vec();
    let verb = line.iter().position(|octet| b" \t".contains(octet)).unwrap_or(line.len());
    line[..verb].make_ascii_lowercase();
    let padded = [b"  ".as_slice(), &line, b" \t"].concat();
    assert_eq!(parse(&padded), Ok(command.clone()));
    match &command {
        Command::Mail { reverse_path: Some(path), .. } => check_path(path, "MAIL FROM"),
        Command::Rcpt { forward_path, .. } => {
            check_path(forward_path, "RCPT TO");
            check_names_nobody_else(&String::from_utf8_lossy(input), forward_path);
        }
        Command::Helo(name) | Command::Ehlo(name) => {
            assert!(!name.contains(char::is_control), "{name:?}");
        }
        _ => {}
    }
}

fn parse(line: &[u8]) -> Result<Command, CommandError> {
    Command::parse(line, &mut Quirks::default())
}

/// An RCPT that was understood names no address but its own: outside of quotes, comments, routes and the values of
/// parameters there is no other.
fn check_names_nobody_else(line: &str, path: &Address) {
    let (_, behind_colon) = line.split_once(':').expect("TO:");
    let plain = plain(behind_colon);
    let own = self::plain(path.as_str()).to_lowercase();
    let between = [' ', '\t', ',', ';', '<', '>', ':', '/', '|', '\u{fffd}'];
    let is_parameter = |word: &&str| {
        let keyword = word.split_once('=').map(|(keyword, _)| keyword);
        keyword.is_some_and(|keyword| {
            keyword.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        })
    };
    let addresses = plain
        .split([' ', '\t'])
        .filter(|word| !is_parameter(word))
        .flat_map(|word| word.split(between))
        .filter(|word| word.trim_end_matches('.').find('@').is_some_and(|at| at > 0));
    for word in addresses {
        let word = word.trim_end_matches('.').to_lowercase();
        assert!(own.contains(&word), "{line:?} names {word:?} besides {path}");
    }
}

/// A text without quoted strings and comments. What does not end is none.
fn plain(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => quoted_length(rest),
            '(' => comment_length(rest),
            _ => None,
        };
        if length.is_none() {
            plain.push(first);
        }
        rest = &rest[length.unwrap_or_else(|| first.len_utf8())..];
    }
    plain
}

fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, character)| {
        let ends = *character == '"' && !escaped;
        escaped = *character == '\\' && !escaped;
        ends
    });
    end.map(|(at, _)| at + 1)
}

fn comment_length(text: &str) -> Option<usize> {
    let (mut open, mut escaped) = (0, false);
    let end = text.char_indices().find(|(_, character)| {
        if escaped {
            escaped = false;
            return false;
        }
        match character {
            '\\' => escaped = true,
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        open == 0
    });
    end.map(|(at, _)| at + 1)
}

/// A path that was understood is understood in its plain form, too: what we send is what we read.
fn check_path(path: &Address, verb: &str) {
    super::address::check_safe(path);
    let again = parse(format!("{verb}:<{path}>").as_bytes());
    match again {
        Ok(Command::Mail { reverse_path: Some(read), .. }) => assert_eq!(read, *path),
        Ok(Command::Rcpt { forward_path, .. }) => assert_eq!(forward_path, *path),
        other => panic!("{path} became {other:?}"),
    }
}
