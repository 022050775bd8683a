//! Tests of what an aliases file means, and that nothing in one makes the reader panic or go round in circles.

use super::*;

const FILE: &str = "\
# the usual
root: ops,  Boss <boss@example.org>   # a remark behind
ops:  alice@example.org,
      \"bob@example.net\"

  # a remark within

  , carol
postmaster: root
mailer-daemon: Postmaster
\"first last\": fl@example.org
Carol: \\carol, carol@example.org
self: self, me@example.org
one: two
two: one
printer: |/usr/bin/lp
noreply: /dev/null
list: :include:/etc/list, reader@example.org
joined: a@example.org, \\
b@example.org
";

fn routes(file: &str) -> Routes {
    let local = LocalNames {
        admin: Some("admin@gmail.com".parse().unwrap()),
        domains: vec!["web01".into(), "web01.example.org".into()],
        redirect_all: None,
    };
    Routes::read(file.as_bytes(), local)
}

#[track_caller]
fn check(routes: &Routes, address: &str, expected: &[&str]) {
    let found = routes
        .of(&address.parse().unwrap())
        .map(|found| found.into_iter().map(|route| route.address.to_string()).collect::<Vec<_>>());
    assert_eq!(found.unwrap(), expected, "{address}");
}

#[test]
fn a_name_stands_for_its_addresses_wherever_it_is_written() {
    let routes = routes(FILE);
    let everybody = [
        "alice@example.org",
        "bob@example.net",
        "admin@gmail.com",
        "carol@example.org",
        "boss@example.org",
    ];
    for root in [
        "root",
        "ROOT",
        "root@localhost",
        "Root@web01",
        "root@WEB01.example.org",
        "root@web01.example.org",
    ] {
        check(&routes, root, &everybody);
    }
    check(&routes, "MAILER-DAEMON", &everybody);
    check(&routes, "\"First Last\"@web01", &["fl@example.org"]);
    check(&routes, "joined", &["a@example.org", "b@example.org"]);
    check(&routes, "self", &["admin@gmail.com", "me@example.org"]);
    check(&routes, "list", &["reader@example.org"]);
}

#[test]
fn names_that_nobody_has_go_to_the_administrator() {
    let routes = routes(FILE);
    for name in ["nobody", "one", "two", "printer", "noreply", "x@localhost", "carol"] {
        let found = routes.of(&name.parse().unwrap()).unwrap();
        assert!(found.iter().any(|route| route.to_admin), "{name}");
    }
    check(&routes, "joe@elsewhere.example", &["joe@elsewhere.example"]);
    check(&routes, "root@example.org", &["root@example.org"]);
}

#[test]
fn without_an_administrator_unknown_names_are_refused() {
    let mut routes = routes(FILE);
    routes.local.admin = None;
    let unrouted = routes.of(&"nobody".parse().unwrap()).unwrap_err();
    assert_eq!(unrouted, Unrouted::Nobody("nobody".into()));
    assert!(unrouted.to_string().contains("identity.admin"));
    check(&routes, "joined", &["a@example.org", "b@example.org"]);
}

#[test]
fn the_way_to_an_address_is_told() {
    let mut routes = routes(FILE);
    let explained = |routes: &Routes, address: &str| routes.explain(&address.parse().unwrap());
    assert_eq!(
        explained(&routes, "postmaster@web01"),
        [
            "postmaster@web01 -> root -> ops -> alice@example.org",
            "postmaster@web01 -> root -> ops -> bob@example.net",
            "postmaster@web01 -> root -> ops -> carol -> carol -> (no alias: identity.admin) -> admin@gmail.com",
            "postmaster@web01 -> root -> ops -> carol -> carol@example.org",
            "postmaster@web01 -> root -> boss@example.org",
        ]
    );
    assert_eq!(explained(&routes, "x@y.example"), ["x@y.example"]);
    assert_eq!(
        explained(&routes, "nobody"),
        ["nobody -> (no alias: identity.admin) -> admin@gmail.com"]
    );
    routes.local.redirect_all = Some("test@example.org".parse().unwrap());
    assert_eq!(
        explained(&routes, "x@y.example"),
        ["x@y.example -> (identity.redirect_all) -> test@example.org"]
    );
}

#[test]
fn every_line_in_error_is_named_and_the_rest_works() {
    for (line, what, remedy) in [
        ("root me@example.org", "has no colon", "name: address"),
        (": me@example.org", "no name", "name: address"),
        ("my name: me@example.org", "has a blank", "in quotes"),
        ("me@example.org: you@example.org", "is an address", "without @"),
        ("root:", "there is no recipient behind", "behind the colon"),
        ("root: \"a@b", "quote does not end", "close it"),
        ("root: a b@example.org", "is not an address", "commas between"),
        ("root: a@b..c", "is not an address", "commas between"),
        ("*: me@example.org", "all other names", "identity.admin"),
        ("root: |prog", "is a command", "skipped"),
        ("root: \"|prog a, b\"", "is a command", "skipped"),
        ("root: /var/mail/root", "is a file", "skipped"),
        ("root: :include:/etc/x", "includes a file", "skipped"),
        ("root: :fail: no", "another mail program", "skipped"),
        ("good: x@example.org", "there already, in line 1", "first one counts"),
        ("a: b\nb: a", "circle: \"a\" -> \"b\" -> \"a\"", "left out"),
    ] {
        let text = format!("good: good@example.org\n\n{line}\nlast: last@example.org\n");
        let routes = routes(&text);
        let problems = routes.aliases.problems();
        assert_eq!(problems.len(), 1, "{line}: {problems:?}");
        let shown = problems[0].to_string();
        assert!(
            shown.starts_with("line 3: ") && shown.contains(what) && shown.contains(remedy),
            "{shown}"
        );
        check(&routes, "good", &["good@example.org"]);
        check(&routes, "last", &["last@example.org"]);
    }
    let routes = Routes::read(
        b"g\xfcnter: a@example.org\nroot: j\xf6rg@example.org\nok: ok@example.org",
        LocalNames::default(),
    );
    let lines: Vec<usize> = routes.aliases.problems().iter().map(|problem| problem.line).collect();
    assert_eq!((lines, routes.aliases.len()), (vec![1, 2], 1));
}

#[test]
fn a_target_that_is_skipped_costs_only_itself() {
    let routes = routes("root: |prog, me@example.org, /dev/null\n");
    check(&routes, "root", &["me@example.org"]);
    assert_eq!(routes.aliases.problem_count(), 2);
}

#[test]
fn circles_and_depth_are_reported_and_end() {
    let chain: String = (0..30).map(|number| format!("n{number}: n{}\n", number + 1)).collect();
    let routes = routes(&format!("{chain}n30: end@example.org\n"));
    check(&routes, "n11", &["end@example.org"]);
    check(&routes, "n0", &["admin@gmail.com"]);
    let problems = routes.aliases.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].what.contains("more than 20 aliases"), "{problems:?}");

    let circle = routes_of_a_circle(NAMES_MAX);
    check(&circle, "n0", &["admin@gmail.com"]);
    assert_eq!(circle.aliases.problem_count(), 2, "the circle and its depth");
    assert!(circle.aliases.problems().iter().all(|problem| problem.what.len() < 400));
}

fn routes_of_a_circle(names: usize) -> Routes {
    let text: String =
        (0..names).map(|number| format!("n{number}: n{}\n", (number + 1) % names)).collect();
    routes(&text)
}

#[test]
fn a_name_for_more_than_a_message_may_have_is_refused_as_a_whole() {
    let list =
        |count: usize| (0..count).map(|number| format!("r{number}@x.example,")).collect::<String>();
    let routes =
        routes(&format!("fits: {}\nall: {}\n", list(RECIPIENTS_MAX), list(RECIPIENTS_MAX + 1)));
    assert_eq!(routes.of(&"fits".parse().unwrap()).unwrap().len(), RECIPIENTS_MAX);
    assert_eq!(routes.of(&"all".parse().unwrap()), Err(Unrouted::TooMany("all".into())));
    let fan: String = (0..200)
        .map(|number| {
            let targets: Vec<String> = (0..200).map(|other| format!("n{other}")).collect();
            format!("n{number}: {}\n", targets.join(","))
        })
        .collect();
    // Few addresses, but too much to follow.
    assert_eq!(self::routes(&fan).of(&"n0".parse().unwrap()), Err(Unrouted::TooMany("n0".into())));
}

#[test]
fn the_size_of_a_file_is_bounded() {
    let routes = Routes::read(&vec![b'a'; FILE_BYTES_MAX + 1], LocalNames::default());
    assert!(routes.aliases.len() == 0);
    assert!(routes.aliases.problems()[0].what.contains("larger than 1048576 octets"));
    let many = self::routes(&"x\n".repeat(FILE_BYTES_MAX / 2));
    assert_eq!(many.aliases.problems().len(), PROBLEMS_MAX);
    assert_eq!(many.aliases.problem_count(), FILE_BYTES_MAX / 2);
    let names: String = (0..=NAMES_MAX).map(|number| format!("n{number}: a@b\n")).collect();
    let names = self::routes(&names);
    assert_eq!((names.aliases.len(), names.aliases.problem_count()), (NAMES_MAX, 1));
}

#[test]
fn the_largest_files_are_read_in_one_pass() {
    for unit in [
        "a", "\"", ",", "\\", "a:", "a,", "a: b\n", "\n ", "a: \\\n", "<", "(", "#", "a: \"", ":\n",
    ] {
        let routes = routes(&unit.repeat(FILE_BYTES_MAX / unit.len()));
        drop(routes.of(&"a".parse().unwrap()));
    }
}

#[test]
fn no_octets_make_the_reader_panic_or_go_round_in_circles() {
    let mut random = fastrand::Rng::with_seed(41);
    let pieces: Vec<&[u8]> = vec![
        b"a",
        b"b",
        b"c",
        b"d",
        b"root",
        b": ",
        b":",
        b",",
        b"\n",
        b"\n",
        b"\n",
        b" ",
        b"\t",
        b"#",
        b"\"",
        b"\\",
        b"@",
        b"x@y.example",
        b"localhost",
        b"<",
        b">",
        b"|",
        b"/",
        b":include:",
        b"\r",
        b"\0",
        b"\xff",
        b"\xc3",
        b"a: b, c\n",
        b"b: c, a\n",
        b"c: a, b, \\c\n",
        b"*",
    ];
    for _ in 0..6_000 {
        let bytes: Vec<u8> = (0..random.usize(0..40))
            .flat_map(|_| pieces[random.usize(..pieces.len())].to_vec())
            .collect();
        let local =
            LocalNames { admin: Some("admin@gmail.com".parse().unwrap()), ..LocalNames::default() };
        let routes = Routes::read(&bytes, local);
        for name in ["a", "b", "root", "c@localhost", "x@y.example"] {
            let found = routes.of(&name.parse().unwrap()).unwrap();
            assert!(!found.is_empty(), "{}", bytes.escape_ascii());
            let mut addresses: Vec<&str> =
                found.iter().map(|route| route.address.as_str()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            assert_eq!(addresses.len(), found.len(), "{}", bytes.escape_ascii());
            assert!(
                found.iter().all(|route| routes.local.name_of(&route.address).is_none()),
                "{}",
                bytes.escape_ascii()
            );
        }
        let lines = bytes.split(|octet| *octet == b'\n').count();
        assert!(
            routes.aliases.problems().iter().all(|problem| (1..=lines).contains(&problem.line))
        );
    }
}

#[test]
fn a_file_is_read_whatever_editor_has_written_it() {
    let text = "root:\u{a0}bob@example.net,\u{200b} ann@example.net,\u{feff}\r\n\u{a0}\tcarol@example.net\r\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [
        text.as_bytes().to_vec(),
        [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        [b"\xff\xfe", &little[..]].concat(),
        [b"\xfe\xff", &big[..]].concat(),
    ] {
        let routes = Routes::read(&bytes, LocalNames::default());
        assert_eq!(routes.aliases.problems(), []);
        let found = routes.of(&"root".parse().unwrap()).unwrap();
        let found: Vec<&str> = found.iter().map(|route| route.address.as_str()).collect();
        assert_eq!(found, ["bob@example.net", "ann@example.net", "carol@example.net"]);
    }
}

#[test]
fn an_entry_for_all_other_names_is_reported_in_every_spelling() {
    for name in ["*", "default", "Default"] {
        let aliases = Aliases::read(format!("{name}: ops@example.net\n").as_bytes());
        assert!(aliases.len() == 0, "{name}");
        let problem = aliases.problems()[0].to_string();
        assert!(
            problem.contains("for all other names") && problem.contains("identity.admin"),
            "{problem}"
        );
    }
    assert_eq!(Aliases::read(b"\"default\": ops@example.net\n").len(), 1, "a user's name");
}

#[test]
fn two_addresses_without_a_comma_are_two_or_reported() {
    for line in [
        "root: Bob <bob@example.net> Ann <ann@example.net>",
        "root: <bob@example.net><ann@example.net>",
        "root: bob@example.net; ann@example.net",
        "root: bob@example.net ann@example.net",
        "root: bob@example.net <ann@example.net>",
        "root: bob@example.net., ann@example.net.",
    ] {
        let routes = Routes::read(line.as_bytes(), LocalNames::default());
        assert_eq!(routes.aliases.problems(), [], "{line}");
        let found = routes.of(&"root".parse().unwrap()).unwrap();
        let found: Vec<&str> = found.iter().map(|route| route.address.as_str()).collect();
        assert_eq!(found, ["bob@example.net", "ann@example.net"], "{line}");
    }
    let aliases = Aliases::read(b"root: bob@example.net and ops\n");
    assert_eq!((aliases.len(), aliases.problem_count()), (0, 1), "ops is not left out in silence");
}

#[test]
fn spellings_of_a_mailbox_are_alike_when_what_they_have_in_common_is() {
    let spellings = [
        "Ops@example.net",
        "Ops@EXAMPLE.net",
        "ops@example.net",
        "Ops",
        "ops",
        "Ops@example.org",
        "Ops@bücher.example",
        "Ops@BÜCHER.example",
        "Ops@\u{212A}.example",
        "Ops@k.example",
    ];
    let addresses = spellings.map(|text| text.parse::<Address>().unwrap());
    for one in &addresses {
        for other in &addresses {
            let same = same_mailbox(one) == same_mailbox(other);
            assert_eq!(is_same_mailbox(one, other), same, "{one} and {other}");
        }
    }
}
