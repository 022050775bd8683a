//! Tests of address lists as people and programs write them.

use super::*;

#[track_caller]
fn check(text: &str, addresses: &[&str], unreadable: &[&str]) {
    let mut found = Found::default();
    found.read(text);
    let read: Vec<&str> = found.addresses.iter().map(Address::as_str).collect();
    let left: Vec<&str> = found.unreadable.iter().map(String::as_str).collect();
    assert_eq!((&read[..], &left[..]), (addresses, unreadable), "{text}");
}

const BOTH: [&str; 2] = ["bob@example.net", "ann@example.net"];

#[test]
fn every_address_of_a_list_is_found() {
    check("root", &["root"], &[]);
    check(
        " a@b, \"C, D\" <c@d>,, e@f (the (other) one, too)\r\n\t, g@[IPv6:::1]",
        &["a@b", "c@d", "e@f", "g@[IPv6:::1]"],
        &[],
    );
    check("a@b;c@d; ", &["a@b", "c@d"], &[]);
    check("a@b c@d", &["a@b", "c@d"], &[]);
    check("A@b, A@B, a@b", &["A@b", "a@b"], &[]);
    check(
        "Anacron <root>, \"john doe\"@example.org, <\"a>b\"@c.d>",
        &["root", "\"john doe\"@example.org", "\"a>b\"@c.d"],
        &[],
    );
    check("", &[], &[]);
}

#[test]
fn a_group_is_its_members() {
    check("undisclosed-recipients:;", &[], &[]);
    check("Undisclosed recipients", &[], &[]);
    check("<undisclosed-recipients:;>", &[], &[]);
    check("friends: a@b, C <c@d>;, e@f", &["a@b", "c@d", "e@f"], &[]);
    check("\"my, friends\": a@b;", &["a@b"], &[]);
    check("a: x@y; b: z@y;", &["x@y", "z@y"], &[]);
}

#[test]
fn two_addresses_are_two_whatever_stands_between_them() {
    for text in [
        "Bob <bob@example.net> Ann <ann@example.net>",
        "<bob@example.net><ann@example.net>",
        "<bob@example.net> <ann@example.net>",
        "Bob <bob@example.net>Ann <ann@example.net>",
        "bob@example.net / ann@example.net",
        "bob@example.net/ann@example.net",
        "bob@example.net /ann@example.net",
        "bob@example.net | ann@example.net",
        "bob@example.net and ann@example.net",
        "bob@example.net & ann@example.net",
        "bob@example.net und Ann ann@example.net",
        "Bob <bob@example.net> and ann@example.net",
        "bob@example.net Ann <ann@example.net>",
        "\"Bob, B.\" <bob@example.net>\r\n\"Ann, A.\" <ann@example.net>",
        "Bob <bob@example.net>\r\n Ann <ann@example.net>",
        "bob@example.net\tann@example.net",
        "bob@example.net\u{a0}ann@example.net",
        "bob@example.net\u{3001}ann@example.net",
        "bob@example.net\u{ff0c}ann@example.net",
        "bob@example.net;ann@example.net;",
        "<bob@example.net>;<ann@example.net>",
        "<bob@example.net, ann@example.net>",
        "<bob@example.net; Ann ann@example.net>",
        "Bob <bob@example.net, Ann <ann@example.net>",
        "Bob <bob@example.net Ann <ann@example.net",
        "bob@example.net> , ann@example.net>",
        "<<bob@example.net>>, <ann@example.net>",
        "\"Bob <bob@example.net>, Ann <ann@example.net>",
        "Bob <bob@example.net>, Ann (work <ann@example.net>",
        "Bob) <bob@example.net>, ann@example.net",
        "mailto:bob@example.net, <mailto:ann@example.net>",
        "'bob@example.net', 'ann@example.net' <ann@example.net>",
        "\u{201c}Bob, B\u{201d} <bob@example.net>, Ann [ann@example.net]",
        "bob@example.net., ann@example.net.",
        "bob @ example.net, ann @example.net",
        "bob@ example.net, ann@example.net",
        "To: bob@example.net Cc: ann@example.net",
        "<@relay.example:bob@example.net>, ann@example.net",
        "bob@example.net <ann@example.net>",
        "\u{feff}bob@example.net\u{200b}, ann@exam\u{ad}ple.net",
        "bob@example.net <>, Ann <ann@example.net>",
        "team: bob@example.net ann@example.net;",
        "bob@example.net (Bob, the first) ann@example.net (Ann)",
    ] {
        check(text, &BOTH, &[]);
    }
}

#[test]
fn names_are_no_recipients_whatever_is_in_them() {
    for text in [
        "\"ann@example.net\" <bob@example.net>",
        "\"Bob <bob@example.net>\" <bob@example.net>",
        "bob@example.net <bob@example.net>",
        "'bob@example.net' <bob@example.net>",
        "Bob and Ann <bob@example.net>",
        "Sales / Support <bob@example.net>",
        "root <bob@example.net>",
        "News @ Work <bob@example.net>",
        "news@ACME <bob@example.net>",
        "bob@example.net (ann@example.net)",
        "Bob B. bob@example.net",
        "bob bob@example.net",
        "bob@example.net Bob",
        "=?utf-8?q?Bob=2C_Ann?= <bob@example.net>",
        "B\u{f6}b <bob@example.net>",
        "\"Bob \\\"B\\\" Builder, Inc.\" <bob@example.net>",
    ] {
        check(text, &["bob@example.net"], &[]);
    }
}

#[test]
fn what_may_be_somebody_and_cannot_be_read_is_told() {
    check("Joe joe@b, c@d", &["joe@b", "c@d"], &[]);
    check("Joe Public, c@d", &["c@d"], &["Joe Public"]);
    check("\"Joe <joe@b>, c@d", &["joe@b", "c@d"], &[]);
    check("<>, a@b", &["a@b"], &["<>"]);
    check("Bob <>, a@b", &["a@b"], &["Bob <>"]);
    check(":include:/etc/passwd", &[], &[":include:/etc/passwd"]);
    check("bob@@example.net, a@b", &["a@b"], &["bob@@example.net"]);
    check("a@b, bob@", &["a@b"], &["bob@"]);
    check("a@b and root", &["a@b"], &["root"]);
    check("root / a@b", &["a@b"], &["root"]);
    check("root a@b", &["a@b"], &["root"]);
    check("Bob <a@b> root", &["a@b"], &["root"]);
    check("a@b.", &["a@b"], &[]);
    check("root@localhost.", &["root@localhost"], &[]);
    check("\"Joe <joe@b>, root", &["joe@b"], &["root"]);
    check("(bob@example.net)", &[], &["(bob@example.net)"]);
    check("=?utf-8?q?bob=40example.net?=", &[], &["=?utf-8?q?bob=40example.net?="]);
    check("\"Bob <bob@x.y>, \"Ann <ann@x.y>", &["ann@x.y"], &["Bob <bob@x.y>, "]);
    check("bob@x.y-ann@x.y", &[], &["bob@x.y-ann@x.y"]);
    check("bob@x.y Ann ann @ x.y", &["bob@x.y", "ann@x.y"], &[]);
    check("<@a.b,@c.d:bob@x.y>", &["bob@x.y"], &[]);
    check("<@a.b,bob@x.y:ann@x.y>", &[], &["<@a.b,bob@x.y:ann@x.y>"]);
}

#[test]
fn the_longest_texts_are_read_in_one_pass() {
    for unit in [
        "[:", ":", "<", "(", "\"", ",", "a,", "a@b,", "\\", "a <b@c>", "a@b ", "<\"", "\"@", "@[",
        "a: ",
    ] {
        let text = unit.repeat(256 * 1024 / unit.len());
        Found::default().read(&text);
    }
    Found::default().read(&"user a@b.c ".repeat(256 * 1024 / 11));
    let many: String = (0..20_000).map(|number| format!("{number}@b,")).collect();
    let mut found = Found::default();
    found.read(&many);
    assert_eq!(found.addresses.len(), 20_000);
}

#[test]
fn no_text_makes_the_reader_panic_and_no_address_between_commas_is_lost() {
    let mut random = fastrand::Rng::with_seed(17);
    let alphabet: Vec<char> = "ab@.<>(),;:\"\\[] \t\r\n\u{e9}\u{200b}/'".chars().collect();
    for _ in 0..50_000 {
        let text: String =
            (0..random.usize(0..30)).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
        Found::default().read(&text);
    }
    // Whatever marks are forgotten, every address is found or its text is told.
    let marks = ["", " ", "<", ">", "\"", "(", ")", ":", "'", "/", "[", "]", ";", " and ", ", "];
    for _ in 0..50_000 {
        let mut text = String::new();
        for address in BOTH {
            for _ in 0..random.usize(0..3) {
                text += marks[random.usize(..marks.len())];
            }
            text += address;
            text += marks[random.usize(1..marks.len())];
        }
        let mut found = Found::default();
        found.read(&text);
        let hidden = text.contains('(') || text.matches('"').count() > 1;
        let told = !found.unreadable.is_empty();
        let has = |address: &str| found.addresses.iter().any(|known| known.as_str() == address);
        assert!(BOTH.iter().all(|one| has(one)) || told || hidden, "{text:?}: {found:?}");
    }
}
