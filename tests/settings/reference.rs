//! The annotated relay.toml: every key, its true default and the range that is checked.

use std::fs;

use pillarbox::settings::{self, Settings, Source};

use super::{load_text, repository};

/// relay.toml with every commented key, and the commented section, in force.
fn uncommented() -> String {
    let text = fs::read_to_string(repository().join("relay.toml")).unwrap();
    let in_force = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|first: char| first.is_ascii_lowercase()) => rest.to_owned(),
        Some(rest) if rest.starts_with("[[") => rest.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(|line| in_force(line) + "\n").collect()
}

#[test]
fn the_annotated_relay_toml_loads_as_it_is_shipped() {
    let shipped = fs::read_to_string(repository().join("relay.toml")).unwrap();
    let (shipped, empty) = (load_text(&shipped).unwrap(), load_text("").unwrap());
    assert_eq!(without_source(&shipped), without_source(&empty));
}

/// Keys of `[upstream]` that are written for every account.
const OF_ITS_OWN: [&str; 2] = ["username", "password_file"];

#[test]
fn the_annotated_relay_toml_documents_every_key_with_its_true_default() {
    let text = uncommented();
    let mut section = "";
    let mut documented = Vec::new();
    let mut comment = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim_matches(['[', ']']);
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            assert!(comment, "[{section}] {key} has no comment above it");
            documented.push((section, key));
        }
        comment = line.starts_with('#');
    }
    // A further account has the keys of [upstream] as well, which are explained there.
    let of_upstream =
        |key: &str| settings::keys().contains(&("upstream", key)) && !OF_ITS_OWN.contains(&key);
    let mut expected = settings::keys();
    expected.retain(|(section, key)| *section != "account" || !of_upstream(key));
    documented.sort_unstable();
    expected.sort_unstable();
    assert_eq!(documented, expected);

    // The accounts, the networks of a section, a rule, a route and a target have no default; everything else must say what an absent
    // key means.
    let least = "[upstream]\nusername = \"you@gmail.com\"\npassword_file = \"/etc/pillarbox/password\"\n\
                 [[listener.network]]\nnetworks = [\"192.168.1.0/24\"]\n\
                 [[rule]]\nname = \"raid\"\nlane = \"urgent\"\nstorm = false\n\
                 match = { sender = \"@nas.example.org\", subject = \"/degraded|failed/\" }\n\
                 [[identity.sender]]\nmatch = \"www-data\"\nfrom = \"you@gmail.com\"\n\
                 [[account]]\nname = \"newsletter\"\nusername = \"newsletter@example.org\"\n\
                 password_file = \"/etc/pillarbox/newsletter-password\"\n\
                 [[route]]\nname = \"newsletters\"\naccounts = [\"newsletter\"]\n\
                 match = { header = [\"list\", \"bulk\"] }\n\
                 [[alert.target]]\nname = \"phone\"\nwebhook_file = \"/etc/pillarbox/webhook\"\n";
    let (written, absent) = (load_text(&text).unwrap(), load_text(least).unwrap());
    assert_eq!(without_source(&written), without_source(&absent));
}

#[test]
fn the_annotated_relay_toml_says_the_ranges_that_are_checked() {
    let text = uncommented();
    let (mut header, mut comment, mut ranges) = ("", String::new(), 0);
    for line in text.lines() {
        if let Some(words) = line.strip_prefix('#') {
            comment += words;
            continue;
        }
        if line.starts_with('[') {
            header = line;
        } else if let Some((key, _)) = line.split_once(" = ")
            && let Some([least, most]) = range_in(&comment)
        {
            ranges += 1;
            for (value, fits) in
                [(least.0 - 1, false), (least.0, true), (most.0, true), (most.0 + 1, false)]
            {
                let value = format!("{value}{}", most.1);
                let value = if most.1.is_empty() { value } else { format!("\"{value}\"") };
                let needed = match header {
                    "[[listener.network]]" => "networks = [\"192.168.1.0/24\"]\n",
                    "[[account]]" => "name = \"newsletter\"\n",
                    _ => "",
                };
                let outcome = load_text(&format!("{header}\n{needed}{key} = {value}\n"));
                let words = outcome.map_or_else(|error| error.to_string(), |_| String::new());
                let place = format!("{header} {key}: ");
                let mut problems = words.lines().filter(|line| line.contains(&place));
                let as_said = match fits {
                    true => !problems.any(|problem| problem.contains("is not between")),
                    false => problems.next().is_some(),
                };
                assert!(as_said, "{header} {key} = {value}\n{words}");
            }
        }
        comment.clear();
    }
    assert_eq!(ranges, 35, "every key with a range says it");
}

/// "1min to 90d" or "0 (none) to 100" in a comment: two numbers, each with the unit that makes it a value; sizes are in
/// octets and durations in seconds.
fn range_in(comment: &str) -> Option<[(i64, &'static str); 2]> {
    let outside =
        comment.split(" (").map(|part| part.split_once(')').map_or(part, |(_, rest)| rest));
    let words: Vec<String> =
        outside.flat_map(str::split_whitespace).map(|word| word.replace(['.', ','], "")).collect();
    let number = |word: &str| {
        if let Ok(number) = word.parse() {
            return Some((number, ""));
        }
        if let Ok(size) = word.parse::<bytesize::ByteSize>() {
            return Some((size.as_u64().try_into().ok()?, ""));
        }
        let duration = humantime::parse_duration(word).ok()?;
        Some((duration.as_secs().try_into().ok()?, "s"))
    };
    let mut found = words.windows(3).filter(|three| three[1] == "to");
    found.find_map(|three| Some([number(&three[0])?, number(&three[2])?]))
}

fn without_source(settings: &Settings) -> String {
    let mut settings = settings.clone();
    settings.source = Source::Defaults;
    format!("{settings:#?}")
}
