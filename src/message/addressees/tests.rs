//! A header section as it leaves for an upstream without an envelope: examples, and random ones with what must hold of each.

use std::net::IpAddr;

use super::*;
use crate::{
    clock::Timestamp,
    message::{
        address_list::Found,
        aliases::Routes,
        envelope::{BodyKind, Envelope, Lane, Origin},
        header::{HeaderSection, end_of_section},
        identity::{FromPolicy, Identity, Terms},
        rewrite::rewrite,
    },
};

fn addresses(list: &[&str]) -> Vec<Address> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn named(section: &str, recipients: &[&str]) -> String {
    let recipients = addresses(recipients);
    let header = name_exactly(section.as_bytes(), &recipients, &mut Edits::default()).unwrap();
    String::from_utf8(header).unwrap()
}

#[track_caller]
fn check(section: &str, recipients: &[&str], expected: &str) {
    let section = format!("{section}\r\n").replace('|', "\r\n");
    assert_eq!(named(&section, recipients).trim_end().replace("\r\n", "|"), expected, "{section}");
}

#[test]
fn fields_that_name_exactly_who_is_meant_stay_to_the_octet() {
    for section in [
        "To:joe@x.example|Subject: a",
        "To: Joe Q. Public <joe@x.example>,|\t\"Public, Ann\" <ann@x.example>",
        "To: joe@X.EXAMPLE|Cc: =?utf-8?q?J=C3=B6rg?= <ann@x.example>",
        "From: a@b.example|TO : joe@x.example|cc:ann@x.example",
    ] {
        let recipients: &[&str] = match section.contains("ann") {
            true => &["joe@x.example", "ann@x.example"],
            false => &["joe@x.example"],
        };
        check(section, recipients, section);
    }
}

#[test]
fn who_is_meant_and_not_visible_becomes_a_blind_copy() {
    check("To: a@x.example", &["a@x.example", "b@x.example"], "Bcc: b@x.example|To: a@x.example");
    check(
        "Subject: a",
        &["a@x.example", "b@x.example"],
        "Bcc: a@x.example,|\tb@x.example|Subject: a",
    );
}

#[test]
fn who_is_visible_and_not_meant_is_kept_under_another_name() {
    check(
        "To: Ann <a@x.example>, b@x.example|Cc: c@x.example",
        &["a@x.example"],
        "To: Ann <a@x.example>|X-Original-To: Ann <a@x.example>, b@x.example|X-Original-Cc: c@x.example",
    );
    check("To: b@x.example", &["a@x.example"], "Bcc: a@x.example|X-Original-To: b@x.example");
}

#[test]
fn nobody_is_named_twice() {
    check(
        "To: a@x.example|Cc: A <a@X.example>, b@x.example",
        &["a@x.example", "b@x.example", "b@X.EXAMPLE"],
        "Cc: b@x.example|To: a@x.example|X-Original-Cc: A <a@X.example>, b@x.example",
    );
}

#[test]
fn groups_comments_and_old_names_are_read_and_written_plainly() {
    check(
        "To: Friends: a@x.example, B <b@x.example>;, c@x.example (Cee (the third))",
        &["a@x.example", "b@x.example", "c@x.example"],
        "To: a@x.example,|\tB <b@x.example>,|\t\"Cee (the third)\" <c@x.example>\
         |X-Original-To: Friends: a@x.example, B <b@x.example>;, c@x.example (Cee (the third))",
    );
    check(
        "To: undisclosed-recipients:;",
        &["a@x.example"],
        "Bcc: a@x.example|X-Original-To: undisclosed-recipients:;",
    );
    check(
        "To: \"a\\\"b <c@x.example>\" <d@x.example>",
        &["d@x.example"],
        "To: d@x.example|X-Original-To: \"a\\\"b <c@x.example>\" <d@x.example>",
    );
}

#[test]
fn what_cannot_be_read_for_certain_is_set_aside_whole() {
    for field in [
        "a@x.example b@x.example",
        "\"a <a@x.example>",
        "a@x.example> <b@x.example",
        "a@x.example;b@x.example",
        "<a@x.example> b@x.example",
    ] {
        check(
            &format!("To: {field}"),
            &["a@x.example"],
            &format!("Bcc: a@x.example|X-Original-To: {field}"),
        );
    }
}

#[test]
fn names_in_other_alphabets_and_quoted_local_parts_are_found_in_their_spellings() {
    check(
        "To: joe@b\u{fc}cher.example, \"a b\"@x.example",
        &["\"a b\"@x.example", "joe@xn--bcher-kva.example"],
        "To: joe@xn--bcher-kva.example,|\t\"a b\"@x.example\
         |X-Original-To: joe@b\u{fc}cher.example, \"a b\"@x.example",
    );
}

#[test]
fn other_fields_for_recipients_name_nobody_and_blind_copies_stay_blind() {
    check(
        "To: a@x.example|Bcc: b@x.example|Resent-To: c@x.example|Resent-Cc: d@x.example\
         |Resent-Bcc: e@x.example|Apparently-To: f@x.example|no field",
        &["a@x.example"],
        "To: a@x.example|X-Original-Resent-To: c@x.example|X-Original-Resent-Cc: d@x.example\
         |X-Original-Apparently-To: f@x.example|X-Not-A-Field: no field",
    );
}

#[test]
fn a_header_that_is_too_large_is_not_edited() {
    let section = b"a: b\r\n".repeat(5_000);
    assert_eq!(name_exactly(&section, &addresses(&["a@x.example"]), &mut Edits::default()), None);
}

const PEOPLE: [&str; 8] = [
    "ann@x.example",
    "bob@y.example",
    "\"c d\"@x.example",
    "dora@xn--bcher-kva.example",
    "eve+tag@y.example",
    "\"f,g\"@x.example",
    "h.i@[192.0.2.7]",
    "jo@xn--bcher-kva.example",
];

/// One address in a list as people and programs write it.
fn member(random: &mut fastrand::Rng) -> String {
    let address = PEOPLE[random.usize(..PEOPLE.len())];
    let address = match random.u8(..8) {
        0 => address.replace("xn--bcher-kva", "b\u{fc}cher"),
        1 => address.replace("x.example", "X.Example"),
        2 => format!("other{}@z.example", random.u8(..4)),
        _ => address.to_owned(),
    };
    match random.u8(..16) {
        0 => format!("Name <{address}>"),
        1 => format!("\"Name, the <first>\" <{address}>"),
        2 => format!("{address} (a comment, with (another@one.example) in it)"),
        3 => format!("\"{}\" <{address}>", address.replace('"', "")),
        4 => format!("Group: {address}, <{address}>;"),
        5 => format!("=?utf-8?q?N=C3=A4me?=\r\n <{address}>"),
        6 => format!("{address} {address}"),
        7 => format!("N\u{e4}me <{address}>"),
        8 => format!("{address} <{address}>"),
        9 => format!("<{address}"),
        10 => format!("\"open <{address}>"),
        11 => format!("<@host.example:{address}>"),
        12 => format!("a\\b <{address}>"),
        13 => format!("Group:;{address}"),
        _ => address,
    }
}

fn random_section(random: &mut fastrand::Rng) -> String {
    const NAMES: [&str; 16] = [
        "To",
        "To",
        "to ",
        "Cc",
        "CC",
        "Bcc",
        "Resent-To",
        "Resent-Cc",
        "Resent-Bcc",
        "Subject",
        "X-To",
        "Apparently-To",
        "From",
        "Reply-To",
        "Sender",
        "X-Original-To",
    ];
    let mut section = String::new();
    for _ in 0..random.u8(..7) {
        if random.u8(..12) == 0 {
            section +=
                ["no field\r\n", "To ann@x.example\r\n", "X: a\rTo: eve@z.example\r\n", "To: \n"]
                    [random.usize(..4)];
            continue;
        }
        let between = [", ", ",", ",\r\n\t", " ,\r\n ", ";", ",,", "\n "][random.usize(..7)];
        let members: Vec<String> = (0..random.u8(..4)).map(|_| member(random)).collect();
        section += &format!("{}: {}\r\n", NAMES[random.usize(..16)], members.join(between));
    }
    section
}

/// What [`rewrite`] makes of it first, as an attempt does.
fn rewritten(section: &str) -> Vec<u8> {
    let identity = Identity {
        from: FromPolicy::Account,
        send_as: Vec::new(),
        domain: "relay.example".into(),
        hostname: "relay.example".into(),
        senders: Vec::new(),
    };
    let (account, routes) = ("me@gmail.com".parse().unwrap(), Routes::default());
    let terms = Terms {
        identity: &identity,
        account: Some(&account),
        recipients: &routes,
        takes_utf8: false,
    };
    let envelope = Envelope {
        reverse_path: None,
        forward_paths: Vec::new(),
        body: BodyKind::SevenBit,
        internationalized: false,
        dsn: crate::smtp::dsn::Dsn::default(),
        lane: Lane::Normal,
        origin: Origin {
            address: IpAddr::from([192, 0, 2, 7]),
            helo: "host.example".into(),
            protocol: "ESMTP".into(),
            login: None,
            local: None,
        },
        accepted_at: Timestamp(1_800_000_000_000),
    };
    let section = HeaderSection { bytes: section.as_bytes().to_vec(), ..HeaderSection::default() };
    rewrite(&section, &envelope, &terms).unwrap().header
}

/// Whoever a reader could take for a recipient, in the eyes of a reader that finds every address, once for each field.
fn everybody(section: &[u8]) -> Vec<String> {
    // A reader that takes a CR alone for the end of a line must find nobody else.
    let text = String::from_utf8(section.to_vec()).expect("only ASCII leaves");
    let text =
        text.replace("\r\n", "\n").replace('\r', "\n").replace("\n ", " ").replace("\n\t", " ");
    let mut found = Vec::new();
    for line in text.lines() {
        assert!(line.contains(':'), "every line is a field: {line:?} {}", section.escape_ascii());
        let (name, value) = line.split_once(':').unwrap();
        let name = name.trim().to_ascii_lowercase();
        assert!(!name.starts_with("resent-") || !name.ends_with("to") && !name.ends_with("cc"));
        if ["to", "cc", "bcc", "apparently-to"].contains(&name.as_str()) {
            let mut read = Found::default();
            read.read(value);
            assert!(read.unreadable.is_empty() && !read.addresses.is_empty(), "{line:?}");
            // As often as it stands there, names aside.
            let without_names = value.split(',').filter(|part| part.contains('@')).count();
            assert!(without_names >= read.addresses.len(), "{line:?}");
            found.extend(read.addresses.iter().map(key));
        }
    }
    found.sort_unstable();
    found
}

/// Text that is rich in what separates fields, lines, words and addresses.
fn noise(random: &mut fastrand::Rng) -> String {
    const PIECES: [&str; 24] = [
        "To:",
        "Cc: ",
        "Bcc:",
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        ",",
        ";",
        ":",
        "<",
        ">",
        "(",
        ")",
        "\"",
        "\\",
        "@",
        "a",
        "ann@x.example",
        "eve@z.example",
        "\u{fc}",
        "=?utf-8?q?a?=",
        "[",
    ];
    (0..random.usize(0..60)).map(|_| PIECES[random.usize(..PIECES.len())]).collect()
}

#[test]
fn whatever_octets_a_header_has_nobody_else_is_named() {
    let mut random = fastrand::Rng::with_seed(12);
    let meant = addresses(&["ann@x.example", "bob@y.example"]);
    for _ in 0..20_000 {
        let mut section = noise(&mut random);
        let mut line_start = 0;
        if end_of_section(section.as_bytes(), &mut line_start).is_some() {
            section.truncate(line_start);
        }
        let header = rewritten(&section);
        let named = name_exactly(&header, &meant, &mut Edits::default()).unwrap();
        assert_eq!(
            everybody(&named),
            ["ann@x.example", "bob@y.example"],
            "{section:?}\n{}",
            named.escape_ascii()
        );
    }
}

#[test]
fn whatever_a_header_says_exactly_those_who_are_meant_are_named_each_once() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..20_000 {
        let section = random_section(&mut random);
        let mut people = PEOPLE;
        random.shuffle(&mut people);
        let meant = addresses(&people[..random.usize(1..=people.len())]);
        let header = rewritten(&section);
        let named = name_exactly(&header, &meant, &mut Edits::default()).unwrap();
        let mut expected: Vec<String> = meant.iter().map(key).collect();
        expected.sort_unstable();
        assert_eq!(everybody(&named), expected, "{section:?}\n{}", named.escape_ascii());
        let again = name_exactly(&named, &meant, &mut Edits::default()).unwrap();
        assert_eq!(everybody(&again), expected, "{}", again.escape_ascii());
    }
}
