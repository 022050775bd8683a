//! The fuzz target of the recipients as a header section names them: exactly those who are meant, each once, in fields that
//! can be read in one way only, whatever a client wrote.
//!
//! The first octet of the input says who is meant, the rest is the header section.

use std::collections::BTreeSet;

use pillarbox::{
    message::{
        addressees::name_exactly,
        header::{Edits, Header},
    },
    smtp::address::Address,
};

/// Of whom the bits of the first octet choose; the others are meant by nobody.
const PEOPLE: [&str; 8] = [
    "ann@b.example",
    "bob@b.example",
    "eve@b.example",
    "root@host.example",
    "\"d e\"@b.example",
    "f+g@b.example",
    "a@[IPv6:::1]",
    "me@gmail.com",
];
/// What could be taken for recipients, and may not leave.
const NEVER: [&str; 4] = ["resent-to", "resent-cc", "resent-bcc", "apparently-to"];

/// Runs one input. Panics when something does not hold.
pub(crate) fn run(input: &[u8]) {
    let Some((choice, section)) = input.split_first() else { return };
    let meant: Vec<Address> = (0..PEOPLE.len())
        .filter(|bit| choice & (1 << bit) != 0)
        .map(|bit| PEOPLE[bit].parse().unwrap())
        .collect();
    let section = as_rewritten(section);
    let name = || name_exactly(&section, &meant, &mut Edits::default());
    let Some(named) = name() else {
        assert!(Header::read(&section, 0).is_none(), "only what is too large is not edited");
        return;
    };
    assert_eq!(name().as_ref(), Some(&named), "every attempt sends the same");
    let shown = named.escape_ascii().to_string();
    let fields = fields(&named);
    for (name, _) in &fields {
        assert!(!NEVER.contains(&name.as_str()), "{name} in {shown}");
    }
    let mut found = Vec::new();
    for name in ["to", "cc", "bcc"] {
        let values: Vec<_> = fields.iter().filter(|(other, _)| other == name).collect();
        assert!(values.len() <= 1, "{name} twice in {shown}");
        found.extend(values.into_iter().flat_map(|(_, value)| mailboxes(value, &shown)));
    }
    let all: BTreeSet<_> = found.iter().map(|address| address.to_ascii_lowercase()).collect();
    assert_eq!(all.len(), found.len(), "somebody is named twice in {shown}");
    let expected: BTreeSet<_> =
        meant.iter().map(|address| address.as_str().to_ascii_lowercase()).collect();
    assert_eq!(all, expected, "{shown}");
}

/// What comes out of the edits before: lines that end with CRLF, no empty one, no bare line end, no NUL.
fn as_rewritten(section: &[u8]) -> Vec<u8> {
    let octets: Vec<u8> = section.iter().copied().filter(|octet| *octet != 0).collect();
    let lines = octets.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r"));
    let lines = lines.zip(octets.split(|octet| *octet == b'\n'));
    let lines = lines.map(|(without, line)| without.unwrap_or(line));
    lines.filter(|line| !line.is_empty()).flat_map(|line| [line, b"\r\n"].concat()).collect()
}

/// Names in lower case and values of all fields, by an eye that knows nothing but RFC 5322's line ends.
fn fields(section: &[u8]) -> Vec<(String, String)> {
    let shown = section.escape_ascii().to_string();
    let text = String::from_utf8_lossy(section).into_owned();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        let line = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("a bare end in {shown}"));
        assert!(!line.is_empty() && !line.contains('\r'), "an end too early in {shown}");
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.to_owned()));
        }
    }
    fields
}

/// The mailboxes of a field that we have written or left: with names of atoms or in quotes, and nothing else.
fn mailboxes(value: &str, shown: &str) -> Vec<String> {
    let (mut found, mut element) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for character in value.chars().chain([',']) {
        let is_escaped = std::mem::take(&mut escaped);
        match character {
            '\\' if quoted && !is_escaped => escaped = true,
            '"' if !is_escaped => quoted = !quoted,
            ',' if !quoted => {
                found.push(address(element.trim(), shown));
                element.clear();
                continue;
            }
            '(' | ')' | ';' if !quoted => panic!("{character} is left in {shown}"),
            _ => {}
        }
        element.push(character);
    }
    assert!(!quoted, "an open quote in {shown}");
    found
}

fn address(element: &str, shown: &str) -> String {
    let inside = match element.rsplit_once('<') {
        Some((_, inside)) => inside.strip_suffix('>').unwrap_or_else(|| panic!("{shown}")),
        None => element,
    };
    let address: Address = inside.parse().unwrap_or_else(|_| panic!("{inside:?} in {shown}"));
    address.as_str().to_owned()
}
