//! Properties that hold for any input: it may be cut anywhere, and no message is stored whose end did not come.
//!
//! Rule: the pieces have a meaning somewhere, so that chance meets the odd corners; a failure prints its
//! input. Must not know what is right for one dialogue.

use super::{
    tests::{session, talk},
    *,
};

/// Octets that have a meaning somewhere, so that chance meets the odd corners.
const PIECES: [&[u8]; 37] = [
    b"MAIL FROM:<a@b>\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
    b"DATA\r\n",
    b"RSET\r\n",
    b"QUIT\r\n",
    b"NOOP\r\n",
    b"EHLO x\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN\r\n",
    b"AUTH PLAIN AGEAYg==\r\n",
    b"AUTH LOGIN\r\n",
    b"AUTH LOGIN YQ==\r\n",
    b"AGEAYg==\r\n",
    b"*\r\n",
    b"BDAT 5\r\n",
    b"BDAT 5\r\nab\rcd",
    b"BDAT 7 LAST\r\nab\n.\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 4999\r\n",
    b"BDAT 999999\r\n",
    b".\r\n",
    b"\r\n.\r\n",
    b"\n.\n",
    b".",
    b"\r",
    b"\n",
    b"\0",
    b"..\r\n",
    b"Received: x\r\n",
    b"text ",
    b"\xff",
    b"<",
    b"\"",
    b":",
    b"\x16",
    b"\x80.\x01",
];

#[test]
fn whatever_comes_the_result_does_not_depend_on_how_it_is_cut() {
    let (mut stored, mut logins) = (0, 0);
    for _ in 0..4_000 {
        let opening: &[u8] = match fastrand::u8(0..4) {
            0 => b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
            1 => b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 20\r\n",
            _ => b"",
        };
        let mut bytes = opening.to_vec();
        for _ in 0..fastrand::usize(0..30) {
            bytes.extend(*fastrand::choice(&PIECES).unwrap());
        }
        let groups = split_where_a_client_waits(&bytes);
        let whole = result(talk_in_groups(&groups, usize::MAX));
        stored += whole.2[1];
        logins += whole.2[3];
        for largest in [1, 3, 20] {
            assert_eq!(result(talk_in_groups(&groups, largest)), whole, "{}", bytes.escape_ascii());
        }
    }
    assert!(
        stored > 100 && logins > 100,
        "chance meets the interesting corners: {stored}, {logins}"
    );
}

/// What follows STARTTLS in the same packet is dropped, and what follows a refused DATA ends the session; so
/// that no cut can make a difference, the client waits there, as it must.
fn split_where_a_client_waits(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut groups, mut rest) = (Vec::new(), bytes);
    let end_of = |rest: &[u8], command: &[u8]| {
        rest.windows(command.len())
            .position(|window| window == command)
            .map(|at| at + command.len())
    };
    while let Some(end) = [b"STARTTLS\r\n".as_slice(), b"DATA\r\n"]
        .iter()
        .filter_map(|command| end_of(rest, command))
        .min()
    {
        let (group, after) = rest.split_at(end);
        groups.push(group.to_vec());
        rest = after;
    }
    groups.push(rest.to_vec());
    groups
}

fn talk_in_groups(groups: &[Vec<u8>], largest: usize) -> Vec<Step> {
    let mut session = session(true);
    let mut steps = talk(&mut session, b"");
    for group in groups {
        let mut rest = group.as_slice();
        while !rest.is_empty() {
            let length =
                if largest == usize::MAX { rest.len() } else { fastrand::usize(1..=largest) };
            let (piece, after) = rest.split_at(length.min(rest.len()));
            steps.extend(talk(&mut session, piece));
            rest = after;
        }
    }
    steps
}

/// The replies, the octets of all messages, and the number of each step that concerns a draft or a login.
fn result(steps: Vec<Step>) -> (Vec<u8>, Vec<u8>, [usize; 5]) {
    let (mut replies, mut bodies, mut counts) = (Vec::new(), Vec::new(), [0; 5]);
    for step in steps {
        match step {
            Step::Send(bytes) => replies.extend(bytes),
            Step::Body(bytes) => bodies.extend(bytes),
            Step::Begin(_) => counts[0] += 1,
            Step::Store => counts[1] += 1,
            Step::Abandon => counts[2] += 1,
            Step::Authenticate(_) => counts[3] += 1,
            Step::StartTls => counts[4] += 1,
            Step::Admit { .. } | Step::NeedInput | Step::Close => {}
        }
    }
    let unpaired = String::from_utf8_lossy(&bodies).replace("\r\n", "");
    assert!(!unpaired.contains(['\r', '\n', '\0']), "{}", bodies.escape_ascii());
    (replies, bodies, counts)
}

#[test]
fn random_octets_never_store_a_message_whose_end_did_not_come() {
    for _ in 0..20_000 {
        let mut bytes = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n".to_vec();
        bytes.extend_from_slice(if fastrand::bool() { b"DATA\r\n" } else { b"BDAT 60\r\n" });
        let random = fastrand::usize(0..60);
        let any = fastrand::bool();
        bytes.extend((0..random).map(|_| match any {
            true => fastrand::u8(..),
            false => *fastrand::choice(b"\r\n.\0BDATLS 05x\xff").unwrap(),
        }));
        let steps = talk(&mut session(true), &bytes);
        let ends: [&[u8]; 3] = [b"\r\n.\r\n", b"\n.\n", b"\n.\r\n"];
        let has_end = ends.iter().any(|end| bytes.windows(end.len()).any(|window| window == *end));
        assert!(has_end || !steps.contains(&Step::Store), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_message_is_the_same_with_data_and_in_chunks() {
    for _ in 0..2_000 {
        let mut message = Vec::new();
        for _ in 0..fastrand::usize(0..8) {
            let length = fastrand::usize(0..6);
            message.extend((0..length).map(|_| *fastrand::choice(b"..a: \0\r\n\xff").unwrap()));
            message.extend_from_slice(b"\r\n");
        }
        let mut data = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n".to_vec();
        let mut chunks = data.clone();
        data.extend_from_slice(b"DATA\r\n");
        // A client that stuffs dots does so after LF; a bare CR begins no line for it.
        for line in message.split_inclusive(|octet| *octet == b'\n') {
            data.extend(line.starts_with(b".").then_some(b'.'));
            data.extend_from_slice(line);
        }
        data.extend_from_slice(b".\r\n");
        let (first, second) = message.split_at(fastrand::usize(0..=message.len()));
        chunks.extend_from_slice(format!("BDAT {}\r\n", first.len()).as_bytes());
        chunks.extend_from_slice(first);
        chunks.extend_from_slice(format!("BDAT {} LAST\r\n", second.len()).as_bytes());
        chunks.extend_from_slice(second);
        let (_, with_data, data_counts) = result(talk(&mut session(true), &data));
        let (_, in_chunks, chunk_counts) = result(talk(&mut session(true), &chunks));
        assert_eq!(with_data.escape_ascii().to_string(), in_chunks.escape_ascii().to_string());
        assert_eq!((data_counts[1], chunk_counts[1]), (1, 1), "{}", message.escape_ascii());
    }
}

#[test]
fn whatever_is_dropped_from_a_message_only_one_whose_end_has_come_is_stored() {
    // Nothing of this stays in a message, or not for long: NUL, bare line ends, stuffed dots.
    let fillings: [&[u8]; 6] = [b"\0", b"\0\0\n", b"\r", b"\r\n..", b"\0\r", b"x\0"];
    for filling in fillings {
        for octets in [2_000, 70_000] {
            let filled = filling.repeat(octets / filling.len());
            for ends in [false, true] {
                let mut bytes = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx".to_vec();
                bytes.extend_from_slice(&filled);
                bytes.extend_from_slice(if ends { b"x\r\n.\r\n" } else { b"x" });
                let (mut session, mut steps) = (session(true), Vec::new());
                for piece in bytes.chunks(INPUT_BYTES_MAX) {
                    steps.extend(talk(&mut session, piece));
                }
                let (stored, expected) = (steps.contains(&Step::Store), ends && octets == 2_000);
                assert_eq!(
                    stored,
                    expected,
                    "{octets} of {}, ends: {ends}",
                    filling.escape_ascii()
                );
                let closed = steps.contains(&Step::Close);
                assert_eq!(
                    closed,
                    octets > 2_000,
                    "{octets} of {}, ends: {ends}",
                    filling.escape_ascii()
                );
            }
        }
    }
}
