//! The seeds of the fuzz targets: what the dialogues say, and odd cases.
//!
//! Rule: a seed shows one thing and is short; the fuzzer finds the combinations.

use crate::dialogues::{Dialogue, Turn};

/// Octets of a seed of the session; longer dialogues are about limits that the fuzzer's options make small.
const SEED_BYTES_MAX: usize = 2 * 1024;

/// What the clients of the dialogues send.
pub(super) fn talks() -> Vec<(String, Vec<u8>)> {
    let talk = |dialogue: &Dialogue| {
        let sent = dialogue.turns.iter().filter_map(|turn| match turn {
            Turn::Send(bytes) => Some(bytes.as_slice()),
            Turn::Event(_) | Turn::Expect(_) | Turn::ExpectClose => None,
        });
        sent.collect::<Vec<_>>().concat()
    };
    let talks =
        Dialogue::all().into_iter().map(|dialogue| (dialogue.name.clone(), talk(&dialogue)));
    talks.filter(|(_, talk)| talk.len() <= SEED_BYTES_MAX).collect()
}

/// A seed: its target, its name, and its octets.
pub(super) type Seed = (&'static str, String, Vec<u8>);

/// Every seed.
pub(super) fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut seed = |target: &'static str, name: &str, bytes: &[u8]| {
        seeds.push((target, name.to_owned(), bytes.to_vec()));
    };
    for (name, talk) in talks() {
        let first = [&[0, 0, 0], talk.as_slice()].concat();
        seed("session", &name, &first);
    }
    for (number, (choices, talk)) in (1..).zip(ODD_TALKS) {
        seed("session", &format!("odd_{number:02}"), &[choices.as_slice(), talk].concat());
    }
    for (number, line) in (1..).zip(LINES) {
        seed("command", &format!("line_{number:02}"), line);
    }
    for (number, address) in (1..).zip(ADDRESSES) {
        seed("address", &format!("address_{number:02}"), address.as_bytes());
    }
    for (number, list) in (1..).zip(ADDRESS_LISTS) {
        seed("address_list", &format!("list_{number:02}"), list.as_bytes());
    }
    for (number, search) in SEARCHES.iter().enumerate() {
        seed("search", &format!("search_{number:02}"), search.as_bytes());
    }
    for (number, data) in (1..).zip(DATA) {
        seed("data", &format!("data_{number:02}"), &[b"\x03".as_slice(), data].concat());
    }
    for (number, header) in (1..).zip(HEADERS) {
        seed("header", &format!("header_{number:02}"), &[b"\x05".as_slice(), header].concat());
    }
    for (number, header) in (1..).zip(RECIPIENTS) {
        seed(
            "addressees",
            &format!("recipients_{number:02}"),
            &[b"\x15".as_slice(), header].concat(),
        );
    }
    for (number, message) in (1..).zip(MESSAGES) {
        seed("parts", &format!("message_{number:02}"), &[b"\x05".as_slice(), message].concat());
    }
    for (number, said) in (1..).zip(REPLIES) {
        seed("reply", &format!("reply_{number:02}"), &[b"\x05".as_slice(), said].concat());
    }
    for (number, bytes) in (1..).zip(records()) {
        seed("record", &format!("record_{number:02}"), &bytes);
    }
    seeds
}

/// Lists of addresses as people write them.
const ADDRESS_LISTS: &[&str] = &[
    "Bob <bob@b.example>, \"Ann, A.\" <ann@b.example>",
    "bob@b.example; ann@b.example;",
    "<bob@b.example><ann@b.example>",
    "bob@b.example (Bob (the first)) ann@b.example",
    "friends: bob@b.example, Ann <ann@b.example>; root",
    "\"Bob <bob@b.example>, Ann (work <ann@b.example>",
    "<@a.example,@b.example:bob@c.example>",
    "<@a,bob@b.example:ann@b.example>",
    "x@[a,bob@b.example,b] <ann@b.example>",
    "bob@[IPv6:::1], \"john doe\"@b.example",
    "joe @ b.example, ann@ b.example, News @ Work <news@b.example>",
    "\u{201c}Bob, B\u{201d} <bob@b.example>\u{ff0c}ann@b.example\u{200b}",
    "'bob@b.example'/mailto:ann@b.example.",
    "undisclosed-recipients:;",
    ":include:/etc/passwd, =?utf-8?q?bob=40b.example?=",
    "Bob <bob@b.example\r\n\tand ann@b.example, <>",
];

/// What servers say, and what is none of it.
const REPLIES: &[&[u8]] = &[
    b"220 smtp.gmail.com ESMTP x - gsmtp\r\n",
    b"250-smtp.gmail.com at your service\r\n250-SIZE 35882577\r\n250-8BITMIME\r\n250-AUTH LOGIN PLAIN\r\n250 SMTPUTF8\r\n",
    b"250-relay\r\n250-AUTH=LOGIN PLAIN\r\n250 DSN\r\n",
    b"250 2.1.0 OK\r\n250 2.1.5 OK\r\n354 go\r\n",
    b"220\r\n250-\r\n250\r\n",
    b"250-a\n250 b\n",
    b"550 5.1.1 Empf\xe4nger unbekannt\r\n",
    b"535 \xb5\xc7\xc2\xbc\xca\xa7\xb0\xdc\r\n",
    b"571 5.7.1 no\r\n",
    b"250-2.1.5 OK\r\n550 5.1.1 OK\r\n",
    b"250 2.1.5 O\0K\r\n",
    b"250 no line end",
    b"\x15\x03\x01\x00\x02\x02\x16",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"334 eyJzdGF0dXMiOiI0MDAifQ==\r\n",
];

/// Header sections as odd programs write them.
const HEADERS: &[&[u8]] = &[
    b"From: root (Cron Daemon)\r\nTo: root\r\nSubject: Cron <root@web01> true\r\n",
    b"From: \"Doe, Joe\" <a@b.example>\r\nBcc: secret@x.example\r\nResent-Bcc: y@x.example\r\n",
    b"Subject: T\xe4glich\r\nFrom: a@b.example, c@d.example\r\n",
    b"Subject: \xc3\xbc\r\n folded\r\n\tagain\r\nDate : yesterday\r\n",
    b"From: a@b.example\r\nFrom: c@d.example\r\nSender: e@f.example\r\nReply-To: g@h.example\r\n",
    b"Message-ID: no brackets\r\nMessage-ID: <1@x>\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\n",
    b"not a field\r\nFrom\r\n: empty\r\n",
    b"From: <@route:a@b.example> (a (nested\\) comment)\r\nTo: undisclosed-recipients:;\r\n",
    b"X: a\0b\rc\nFrom: =?utf-8?q?x?= <a@b.example>\r\n",
    b"References: <1@x> <2@x> <3@x> <4@x> <5@x> <6@x> <7@x> <8@x>\r\nResent-From: a@b.example\r\n",
    b"Content-Type: text/plain; name=\"\xfc.txt\"\r\nFrom:a@b\r\n",
];

/// Logins, TLS, chunks, sizes and refusals, which few dialogues have; with the octets that choose the policy.
const ODD_TALKS: &[([u8; 3], &[u8])] = &[
    ([0x02, 0, 0], b"EHLO a\r\nSTARTTLS\r\nEHLO b\r\nMAIL FROM:<a@b.c>\r\n"),
    ([0x02, 0, 3], b"EHLO a\r\nSTARTTLS\r\nRSET\r\nSTARTTLS\r\n"),
    ([0x0c, 0, 0], b"EHLO a\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b.c>\r\n"),
    ([0x0d, 0, 5], b"EHLO a\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\nMAIL FROM:<a@b.c>\r\n"),
    ([0x0b, 0, 0], b"EHLO a\r\nSTARTTLS\r\nEHLO a\r\nAUTH PLAIN\r\nAGEAYg==\r\nMAIL FROM:<a@b.c>\r\n"),
    ([0x15, 0x55, 0], b"EHLO a\r\nAUTH PLAIN AGEAYg==\r\nAUTH PLAIN AGEAYg==\r\n"),
    ([0x14, 0, 0], b"EHLO a\r\nMAIL FROM:<a@b.c>\r\nAUTH LOGIN YQ==\r\n*\r\n"),
    ([0x1d, 0, 0], b"EHLO a\r\nAUTH CRAM-MD5\r\nAUTH PLAIN =\r\nAUTH LOGIN \xff\r\n"),
    ([0, 0, 0], b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nBDAT 3\r\na\r\nBDAT 2 LAST\r\nb\nQUIT\r\n"),
    ([0, 0, 1], b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nBDAT 0 LAST\r\nBDAT 1\r\nx"),
    ([0, 0, 0], b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nBDAT 4\r\nab\r\rDATA\r\nBDAT 5 LAST\r\n\r\n.\r\n"),
    ([0x20, 0, 0], b"MAIL FROM:<a@b.c> SIZE=101\r\nMAIL FROM:<a@b.c> SIZE=99\r\nRCPT TO:<d@e.f>\r\nBDAT 200 LAST\r\n"),
    ([0, 0x55, 0], b"MAIL FROM:<>\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n"),
    ([0, 0x10, 2], b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\nMAIL FROM:<>\r\n"),
    ([0, 0xc0, 0x10], b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n.\r\n"),
    ([0, 0, 0], b"MAIL FROM:<a@b.c> RET=HDRS ENVID=x+2B BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<d@e.f> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;d+40e\r\nDATA\r\n.\r\n"),
    ([0, 0, 0], b"DATA\n.\r\nMAIL FROM:<>\nRCPT TO:<a@b>\ndata \n.\r\n"),
    ([0x40, 0, 0], b"MAIL FROM:<root>\r\nRCPT TO:<root>\r\nRCPT TO:<postmaster>\r\nDATA\r\n\r\n.\r\n"),
];

/// Messages with parts, and with what looks like some.
const MESSAGES: &[&[u8]] = &[
    b"Subject: x\r\n\r\nhello\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\nend",
    b"Content-Type: multipart/mixed; boundary=\"b b\"\r\n\r\n--b b \r\nContent-Type: text/html\n\n<p>\n--b b--",
    b"Content-Type: multipart/a; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/b; boundary=i\r\n\r\n--i\r\n\r\nx\r\n--i--\r\n--o\r\n\r\ny\r\n--o--",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b\r\n--b--",
    b"Content-Type: multipart/mixed\r\n\r\n--\r\n\r\n----\r\n",
    b"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\nx",
    b"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\naGVsbG8=\r\n=",
    b"Content-Transfer-Encoding: quoted-printable\r\nContent-Type: text/plain; charset=utf-16\r\n\r\na=3D=\r\nb=\r\n=4",
    b"Content-Disposition: attachment; filename*0*=utf-8''%C3%B6; filename*1=\"x\"\r\n\r\n\xff\0",
    b"Content-Type: text/plain; name=\"=?utf-8?b?w7Y=?=\"\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nz",
    b"\r\n",
    b"no header section at all",
];

/// Header sections that name recipients in every way that people, programs and enemies have.
const RECIPIENTS: &[&[u8]] = &[
    b"To: Ann <ann@b.example>, eve@b.example\r\nCc: bob@b.example\r\nBcc: mallory@b.example\r\nSubject: x\r\n",
    b"To: friends: ann@b.example, bob@b.example;\r\nCc: undisclosed-recipients:;\r\n",
    b"To: \"eve@b.example, ann\" <ann@b.example>\r\nTo: bob@b.example\r\nTo:\r\n",
    b"To: ann@b.example (<eve@b.example>)\r\nResent-To: eve@b.example\r\nApparently-To: bob@b.example\r\n",
    b"Received: from a by b; x\r\nReceived: from c\r\n\tby d\r\nTo: <@a,@b:ann@b.example>\r\n",
    b"To : ann@b.example\r\nTO: =?utf-8?q?Ann?= <ANN@B.example>\r\ncc:\teve@b.example,\r\n\tbob@b.example,\r\n",
    b"To: \xc3\xa4nn@b.example, \xe4 <bob@b.example>\r\nno field at all\r\n: nameless\r\n",
    b"To: ann@b.example\rBcc: eve@b.example\r\nCc: bob@b.example\r\r\n",
    b"To: \"d e\"@b.example, a@[IPv6:::1], \"d\\\"e\" <f+g@b.example>\r\n",
    b"To: ann@b.example; bob@b.example\r\nCc: \"open <ann@b.example>\r\n",
    b"To:ann@b.example,ann@b.example,Ann <ann@B.EXAMPLE>\r\nCc:ann@b.example\r\n",
    b"Subject: nobody is named\r\n",
    b"",
];

const LINES: &[&[u8]] = &[
    b"MAIL FROM:<a@b.example>",
    b"mail from: <> SIZE=1000 BODY=8BITMIME SMTPUTF8",
    b"MAIL FROM: Joe <joe@example.org> AUTH=<>",
    b"MAIL FROM:<@a,@b:c@d>",
    b"RCPT TO:<\"a>b\"@c>",
    b"RCPT TO:<\"a\\\"b\"@c> NOTIFY=NEVER ORCPT=rfc822;x+3D",
    b"RCPT TO:a@[IPv6:::1]",
    b"RCPT TO:<\xc3\xbc@b\xc3\xbccher.example>",
    b"RCPT TO:<\"a\"> SIZE=\"b\"@c>",
    b"EHLO [192.0.2.1]",
    b"HELO",
    b"\tEHLO  a b ",
    b"AUTH PLAIN AGEAYg==",
    b"BDAT 18446744073709551616 LAST",
    b"GET / HTTP/1.1",
    b"\x16\x03\x01",
    b"",
];

const ADDRESSES: &[&str] = &[
    "root",
    "a@b.example",
    "\"q q@\"@example.org",
    "\"a\"> SIZE=\"b\"@c",
    "\"a\\\"b\"@c",
    "\"\"@c",
    "\"",
    "\"a\\\"@c",
    "u@[127.0.0.1]",
    "u@[IPv6:::1]",
    "u@[]",
    "\u{fc}@b\u{fc}cher.example",
    "a@b@c",
    "a@\u{2028}b",
    "a\u{85}@b",
];

const DATA: &[&[u8]] = &[
    b".\r\n",
    b"a\r\n.\r\nQUIT\r\n",
    b"..\r\n.\r\n",
    b".a\r\n.\r\n",
    b"a\n.\nb\r\n.\r\n",
    b"a\n.\r\n.\r\n",
    b"a\r\n.\n.\r\n",
    b"a\r\n.\r.\r\n",
    b"a\r.\rb\r\n.\r\n",
    b"a\r.\r\n.\r\n",
    b"\r\r\r\n\n\n.\r\n",
    b"a\0\xff\r\n.\r",
];

/// Records and spool files, whole and cut, with the octet that says which.
fn records() -> Vec<Vec<u8>> {
    let address = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // See `queue::record` and `queue::state`: postcard, the fields in their order.
    let recipient = |state: &[u8]| [address("c@d.example").as_slice(), state, &[2, 0]].concat();
    let head =
        |version: u8| [&[version, 14, 1], address("a@b.example").as_slice(), &[1, 0, 99]].concat();
    let queued = recipient(&[0, 16, 1]);
    let states: [&[u8]; 5] =
        [&[0, 16, 1], &[1, 9, 16, 0], &[2, 16], &[3, 16, 2, b'n', b'o'], &[4, 16, 0]];
    let mut found = vec![
        [&[2], head(1).as_slice(), &[1], &queued].concat(),
        [&[2], head(2).as_slice(), &[2, 1], &queued].concat(),
        [&[2], head(3).as_slice(), &[0, 1], &queued].concat(),
        vec![2, 2],
        vec![2],
        vec![0],
    ];
    found.extend(
        states.map(|state| [&[2], head(2).as_slice(), &[0, 1], &recipient(state)].concat()),
    );
    // See `queue::frame`: an envelope with an IPv4 origin; a trailer with one field and four octets of body.
    let origin = [&[0u8, 127, 0, 0, 1][..], &address("web"), &address("ESMTP")].concat();
    let paths =
        [&[1u8][..], &address("a@b.example"), &[1], &address("c@d.example"), &[0, 0]].concat();
    let new = [&[1u8][..], &paths, &[0, 0, 0, 1], &origin, &[0, 14]].concat();
    let old = [&[1u8][..], &paths, &origin, &[14]].concat();
    let part = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap()], bytes].concat();
    for (head, envelope) in [([2u8, 0], &new), ([1, 0], &old), ([2, 1], &new), ([2, 255], &new)] {
        for trailer in
            [&b"\x01\x03X:\n\x00\x04"[..], b"\x01\x00\x01\x02\x04", b"\x01\x00\x01\x7f\x04"]
        {
            let parts = [part(&head), part(envelope), part(b"a\r\nb"), part(trailer)].concat();
            found.push([&[3u8][..], &parts].concat());
        }
    }
    found
}

/// Searches of every kind, and mistakes.
const SEARCHES: [&str; 18] = [
    "toner low",
    "from:printer@example.org -state:dead",
    "from:<> \"<>\" from:\"<>\"",
    "subject:\"two words\" \"say \\\"hi\\\" \\\\ there\"",
    "client:192.0.2.0/24 client:[2001:db8::1] client:local",
    "age>2h age<\"1day 2h\" size>1.5MB size<10KiB",
    "lane:urgent STATE:HELD reply:5.1.1 id:06hh user:alice",
    "-\"-x\" -to:-x ::1 12:30",
    "form:a",
    "age>never",
    "subject:\"open",
    "\"a\"b",
    "- a",
    "B\u{dc}RO \u{130}stanbul \u{3a3}",
    "client:999.0.2.1/99",
    "lane: state:",
    "older:2h -newer:\"1h 30min\" larger:1.5MB smaller:10KiB ended:relayed",
    "older:never -ended:refused larger:",
];
