//! The fuzz target of header sections: edits keep every other byte, and whatever a client wrote, what leaves
//! is a header section that can end nothing early.
//!
//! The first octet of the input chooses the edit and its field, the rest is the header section.

use std::net::{IpAddr, Ipv4Addr};

use pillarbox::{
    clock::Timestamp,
    message::{
        aliases::{LocalNames, Routes},
        envelope::{BodyKind, Envelope, Lane, Origin},
        header::{Header, HeaderSection},
        identity::{FromPolicy, Identity, Terms},
        rewrite::rewrite,
    },
    smtp::dsn::Dsn,
};

/// Runs one input. Panics when something does not hold.
pub(crate) fn run(input: &[u8]) {
    let Some((choice, section)) = input.split_first() else { return };
    check_edit(*choice, section);
    check_rewrite(*choice, section);
}

fn check_edit(choice: u8, section: &[u8]) {
    let Some(unedited) = Header::read(section, 0) else { return };
    let originals: Vec<Vec<u8>> =
        unedited.fields().iter().map(|field| field.original().to_vec()).collect();
    assert_eq!(originals.concat(), section, "the fields are all there is");
    assert_eq!(unedited.finish(), ended(section.to_vec()), "what is not edited leaves as it came");
    if originals.is_empty() {
        return;
    }
    let place = usize::from(choice >> 2) % originals.len();
    let mut header = Header::read(section, 0).unwrap();
    let (before, after) = (originals[..place].concat(), originals[place + 1..].concat());
    let expected = match choice & 3 {
        0 => {
            header.fields_mut()[place].remove();
            [before, after].concat()
        }
        1 => {
            header.insert("X-New", "value");
            [b"X-New: value\r\n".to_vec(), section.to_vec()].concat()
        }
        _ if header.fields()[place].name().is_empty() => return,
        2 => {
            header.fields_mut()[place].set_value(" new");
            let name = header.fields()[place].name().into_owned();
            [before, format!("{name}: new\r\n").into_bytes(), after].concat()
        }
        _ => {
            header.fields_mut()[place].rename("X-Old");
            let value = header.fields()[place].value().to_vec();
            [before, b"X-Old:".to_vec(), value, b"\r\n".to_vec(), after].concat()
        }
    };
    assert_eq!(header.finish(), ended(expected));
}

/// A header section ends with a line end, unless it is empty.
fn ended(mut section: Vec<u8>) -> Vec<u8> {
    if !section.is_empty() && !section.ends_with(b"\n") {
        section.extend_from_slice(b"\r\n");
    }
    section
}

fn check_rewrite(choice: u8, section: &[u8]) {
    let from =
        [FromPolicy::Account, FromPolicy::AliasList, FromPolicy::Keep][usize::from(choice) % 3];
    let send_as = vec!["a@b.example".parse().unwrap()];
    let name = || "relay.example".to_owned();
    let identity =
        Identity { from, send_as, domain: name(), hostname: name(), senders: Vec::new() };
    let local = LocalNames { admin: "me@gmail.com".parse().ok(), ..LocalNames::default() };
    let recipients = Routes::read(b"root: a@b.example, c@d.example", local);
    let account = "me@gmail.com".parse().unwrap();
    let terms = Terms {
        identity: &identity,
        account: Some(&account),
        recipients: &recipients,
        takes_utf8: true,
    };
    // What the session lets through: lines that end with CRLF, no empty one, no NUL.
    let section: Vec<u8> = section.iter().copied().filter(|octet| *octet != 0).collect();
    let lines =
        section.split(|octet| matches!(octet, b'\r' | b'\n')).filter(|line| !line.is_empty());
    let bytes: Vec<u8> = lines.flat_map(|line| [line, b"\r\n"].concat()).collect();
    let section = HeaderSection { bytes, ..HeaderSection::default() };
    let envelope = envelope(choice & 0x40 != 0);
    let Some(rewritten) = rewrite(&section, &envelope, &terms) else { return };
    let shown = rewritten.header.escape_ascii();
    assert!(rewritten.header.is_empty() || rewritten.header.ends_with(b"\r\n"), "{shown}");
    for line in rewritten.header.split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("a bare LF in {shown}"));
        assert!(!line.is_empty() && !line.contains(&b'\r') && !line.contains(&0), "{shown}");
        assert!(!line.to_ascii_lowercase().starts_with(b"bcc:"), "{shown}");
    }
    let again = rewrite(&section, &envelope, &terms).unwrap();
    assert_eq!(again.header, rewritten.header, "every attempt sends the same");
}

fn envelope(internationalized: bool) -> Envelope {
    Envelope {
        reverse_path: "root@web01.example".parse().ok(),
        forward_paths: vec!["you@example.net".parse().unwrap()],
        body: BodyKind::SevenBit,
        internationalized,
        dsn: Dsn::default(),
        lane: Lane::Normal,
        origin: Origin {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: "web01.example".into(),
            protocol: "ESMTP".into(),
            login: None,
            local: None,
        },
        accepted_at: Timestamp(1_800_000_000_000),
    }
}
