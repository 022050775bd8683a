//! A message between the client and the upstream, as files: `golden/rewrite/*.eml`.
//!
//! Each file has three parts: lines `@ key: value` (configuration and envelope), the message as the client sends
//! it, and, behind `=====`, the reverse path and every octet that leaves. A line end in the file is CRLF in the
//! message; `\xNN` is any octet. `BLESS=1 cargo test rewrite` writes the last parts anew; review the difference
//! like code. The messages take the real way: a draft, a stored frame, a reader.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use pillarbox::{
    clock::{ManualClock, Timestamp},
    message::{
        aliases::{LocalNames, Routes},
        envelope::{BodyKind, Envelope, Lane, LocalUser, Origin},
        header::HEADER_BYTES_MAX,
        identity::{FromPolicy, Identity, SenderPattern, SenderRule, Terms},
        rewrite::{Rewritten, rewrite},
    },
    queue::{
        Queue,
        spool_file::{BUFFER_BYTES, MessageReader},
    },
    smtp::{address::Address, dsn::Dsn},
};

/// Fri, 15 Jan 2027 08:00:00 +0000.
const ACCEPTED: Timestamp = Timestamp(1_800_000_000_000);
/// The line between what comes in and what goes out.
const BORDER: &str = "=====\n";

#[tokio::test]
async fn every_kind_of_mail_leaves_as_its_file_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rewrite");
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20, "only {} cases were found", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (case, expected) = text.split_once(BORDER).unwrap_or((&text, ""));
        let left = Case::read(case).leaves().await;
        if std::env::var_os("BLESS").is_some() {
            fs::write(&file, format!("{case}{BORDER}{left}")).unwrap();
            continue;
        }
        assert_eq!(left, expected, "{}", file.display());
    }
}

/// One file's first two parts.
struct Case {
    keys: BTreeMap<String, String>,
    message: Vec<u8>,
}

impl Case {
    fn read(text: &str) -> Self {
        let (mut keys, mut message) = (BTreeMap::new(), Vec::new());
        for line in text.lines() {
            match line.strip_prefix("@ ") {
                Some(line) => {
                    let (key, value) = line.split_once(':').unwrap();
                    keys.insert(key.to_owned(), value.trim().to_owned());
                }
                None => message.extend([unescaped(line), b"\r\n".to_vec()].concat()),
            }
        }
        Self { keys, message }
    }

    fn key(&self, name: &str) -> Option<&str> {
        self.keys.get(name).map(String::as_str)
    }

    fn envelope(&self) -> Envelope {
        let reverse_path = self.key("reverse_path").unwrap_or("user@client.example");
        let mut envelope = envelope(
            (reverse_path != "<>").then(|| reverse_path.parse().unwrap()),
            self.key("helo").unwrap_or("web01"),
            self.key("client").unwrap_or("192.0.2.7"),
            self.key("smtputf8").is_some(),
        );
        let user = self.key("user").map(|name| LocalUser {
            uid: 1000,
            name: Some(name.to_owned()),
            claimed: false,
        });
        envelope.origin.local = user;
        envelope
    }

    /// `sender: www-data = shop@example.org; @web.example = me@gmail.com`.
    fn senders(&self) -> Vec<SenderRule> {
        let rules = self
            .key("sender")
            .unwrap_or_default()
            .split(';')
            .filter_map(|rule| rule.split_once('='));
        let rule = |(sender, from): (&str, &str)| {
            let sender = match sender.trim() {
                domain if domain.starts_with('@') => SenderPattern::Domain(domain[1..].to_owned()),
                address if address.contains('@') => {
                    SenderPattern::Address(address.parse().unwrap())
                }
                name => SenderPattern::Name(name.to_owned()),
            };
            SenderRule { sender, from: from.trim().parse().unwrap() }
        };
        rules.map(rule).collect()
    }

    /// `aliases: root: a@x.example, b@x.example; ops: root`. The administrator is the account, as by default.
    fn recipients(&self, account: Option<&Address>) -> Routes {
        let file = self.key("aliases").unwrap_or_default().replace("; ", "\n");
        let local = LocalNames {
            admin: account.cloned(),
            domains: vec!["relay.example".into()],
            ..LocalNames::default()
        };
        Routes::read(file.as_bytes(), local)
    }

    async fn leaves(&self) -> String {
        let mut send_as =
            self.key("send_as").unwrap_or_default().split(',').map(str::trim).collect::<Vec<_>>();
        send_as.retain(|address| !address.is_empty());
        let identity = Identity {
            from: match self.key("from").unwrap_or("account") {
                "account" => FromPolicy::Account,
                "alias-list" => FromPolicy::AliasList,
                "keep" => FromPolicy::Keep,
                other => panic!("{other}"),
            },
            send_as: send_as.into_iter().map(|address| address.parse().unwrap()).collect(),
            domain: "relay.example".into(),
            hostname: self.key("hostname").unwrap_or("relay.example").to_owned(),
            senders: self.senders(),
        };
        let account = self.key("account").unwrap_or("me@gmail.com");
        let account: Option<Address> = (account != "none").then(|| account.parse().unwrap());
        let recipients = self.recipients(account.as_ref());
        let terms = Terms {
            identity: &identity,
            account: account.as_ref(),
            recipients: &recipients,
            takes_utf8: self.key("upstream") != Some("ascii"),
        };
        let (id, mut reader) = accepted(self.envelope(), &[&self.message]).await;
        let reverse_path = terms.reverse_path(reader.envelope());
        let rewritten = edit(&mut reader, &terms).unwrap();
        let declared = reader.size_bytes();
        let left = read_all(&mut reader);
        assert_eq!(left.len() as u64, declared, "SIZE= is what leaves");
        let (_, mut again) = accepted(self.envelope(), &[&self.message]).await;
        let second = edit(&mut again, &terms).unwrap();
        assert_eq!(second.edits, rewritten.edits);
        let shown: String = left.iter().flat_map(|octet| shown(*octet)).collect();
        let (path, smtputf8) =
            (reverse_path.map_or_else(String::new, String::from), rewritten.internationalized);
        let smtputf8 = if smtputf8 { " SMTPUTF8" } else { "" };
        format!(
            "@ MAIL FROM:<{path}>{smtputf8}\n@ edits: {}\n{}",
            rewritten.edits,
            shown.replace(&id, "QUEUE-ID")
        )
    }
}

fn envelope(
    reverse_path: Option<Address>,
    helo: &str,
    client: &str,
    internationalized: bool,
) -> Envelope {
    Envelope {
        reverse_path,
        forward_paths: vec!["reader@example.net".parse().unwrap()],
        body: BodyKind::SevenBit,
        internationalized,
        dsn: Dsn::default(),
        lane: Lane::Normal,
        origin: Origin {
            address: client.parse().unwrap(),
            helo: helo.to_owned(),
            protocol: "ESMTP".to_owned(),
            login: None,
            local: None,
        },
        accepted_at: ACCEPTED,
    }
}

/// Stores a message that comes in these pieces, and opens it again.
async fn accepted(envelope: Envelope, pieces: &[&[u8]]) -> (String, MessageReader) {
    accepted_by(&queue(), envelope, pieces).await
}

fn queue() -> Queue {
    Queue::in_memory(Arc::new(ManualClock::new(ACCEPTED)), 1 << 30)
}

async fn accepted_by(
    store: &Queue,
    envelope: Envelope,
    pieces: &[&[u8]],
) -> (String, MessageReader) {
    let mut draft = store.begin(envelope).unwrap();
    for piece in pieces {
        draft.write(piece).await.unwrap();
    }
    let id = store.enqueue(draft).await.unwrap().id();
    (id.to_string(), store.open_message(id).await.unwrap())
}

fn edit(reader: &mut MessageReader, terms: &Terms<'_>) -> Option<Rewritten> {
    let section = reader.take_header().unwrap()?;
    let rewritten = rewrite(&section, reader.envelope(), terms);
    let twice = rewrite(&section, reader.envelope(), terms);
    assert_eq!(rewritten, twice, "the same message and configuration give the same bytes");
    let header = rewritten.as_ref().map_or(section.bytes, |rewritten| rewritten.header.clone());
    reader.put_in_front(header);
    rewritten
}

fn read_all(reader: &mut MessageReader) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        assert!(block.len() <= BUFFER_BYTES, "memory stays flat");
        all.extend(block);
    }
    all
}

fn unescaped(line: &str) -> Vec<u8> {
    let mut parts = line.split("\\x");
    let mut octets = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        octets.push(u8::from_str_radix(&part[..2], 16).unwrap());
        octets.extend_from_slice(&part.as_bytes()[2..]);
    }
    octets
}

/// CRLF is a line end of the file (a lone CR or LF would show), printable ASCII is itself.
fn shown(octet: u8) -> Vec<char> {
    match octet {
        b'\r' => Vec::new(),
        b'\n' | b'\t' | b' '..=b'~' => vec![char::from(octet)],
        other => format!("\\x{other:02x}").chars().collect(),
    }
}

/// Fields of about so many octets in all.
fn filler(octets: usize) -> String {
    format!("X-Filler: {}\r\n", "x".repeat(88)).repeat(octets / 100)
}

fn identity(from: FromPolicy) -> Identity {
    let name = || "relay.example".to_owned();
    Identity { from, send_as: Vec::new(), domain: name(), hostname: name(), senders: Vec::new() }
}

#[tokio::test]
async fn the_body_passes_unchanged_and_flat_whatever_the_header_is() {
    let (identity, account) = (identity(FromPolicy::Account), "me@gmail.com".parse().unwrap());
    let recipients = Routes::default();
    let terms = Terms {
        identity: &identity,
        account: Some(&account),
        recipients: &recipients,
        takes_utf8: true,
    };
    let mut random = fastrand::Rng::with_seed(23);
    for header_bytes in
        [0, 10, BUFFER_BYTES - 700, BUFFER_BYTES, 2 * BUFFER_BYTES, HEADER_BYTES_MAX - 2_000]
    {
        let lines = filler(header_bytes);
        let body: Vec<u8> = (0..3 * BUFFER_BYTES).map(|_| random.u8(..)).collect();
        let message =
            [format!("From: root@web01\r\nBcc: x@y\r\n{lines}\r\n").as_bytes(), &body].concat();
        let (_, mut reader) =
            accepted(envelope(None, "web01", "192.0.2.7", false), &[&message]).await;
        let rewritten = edit(&mut reader, &terms).unwrap();
        let declared = reader.size_bytes();
        let left = read_all(&mut reader);
        assert_eq!(left.len() as u64, declared, "{header_bytes}");
        let expected = [&rewritten.header[..], b"\r\n", &body].concat();
        assert!(left == expected, "a header of {header_bytes} octets");
        let header = String::from_utf8(rewritten.header).unwrap();
        assert!(
            header.contains("\r\nFrom: \"root on web01\" <me@gmail.com>\r\n")
                && !header.contains("Bcc")
        );
    }
}

#[tokio::test]
async fn a_header_beyond_all_measure_leaves_as_it_came_behind_the_added_fields() {
    let lines = filler(HEADER_BYTES_MAX);
    let message = format!("From: root\r\n{lines}\r\nbody\r\n");
    let (_, mut reader) =
        accepted(envelope(None, "web01", "192.0.2.7", false), &[message.as_bytes()]).await;
    assert!(reader.take_header().unwrap().is_none());
    let declared = reader.size_bytes();
    let left = read_all(&mut reader);
    assert!(left.starts_with(b"Received: ") && left.ends_with(message.as_bytes()));
    assert_eq!(left.len() as u64, declared);
}

#[tokio::test]
async fn message_id_and_date_are_judged_wherever_the_pieces_end() {
    let message =
        b"Subject: x\r\nMessage-ID: bad\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\n\r\nbody\r\n";
    let whole =
        accepted(envelope(None, "web01", "192.0.2.7", false), &[message]).await.1.take_header();
    let replaced = whole.unwrap().unwrap().replaced;
    assert!(replaced.message_id && replaced.date);
    for cut in 1..message.len() {
        let pieces = [&message[..cut], &message[cut..]];
        let (_, mut reader) = accepted(envelope(None, "web01", "192.0.2.7", false), &pieces).await;
        assert_eq!(reader.take_header().unwrap().unwrap().replaced, replaced, "cut at {cut}");
    }
}

/// What the random messages below are made of.
#[rustfmt::skip]
const PIECES: &[&[u8]] = &[
    b"From: ", b"From:root (Cron Daemon)", b"Sender: ", b"Reply-To: ", b"To: ",
    b"To: root, <root>", b"Cc: ", b"Bcc: secret@x.example", b"Subject: ", b"Message-ID: ",
    b"Date: ", b"a@b.example", b"<", b">", b"\"", b"(", b")", b",", b";", b"\xfc", b"\xc3\xbc",
    b"\0", b"\r\n", b"\r\n", b"\r\n", b" ", b"\t", b"root", b"=?utf-8?q?x?=", b"\\", b"@", b":",
];

#[tokio::test]
async fn no_message_breaks_the_rules_on_its_way_out() {
    let mut random = fastrand::Rng::with_seed(29);
    let account: Address = "me@gmail.com".parse().unwrap();
    let store = queue();
    for round in 0..3_000 {
        let from = [FromPolicy::Account, FromPolicy::AliasList, FromPolicy::Keep][round % 3];
        let mut identity = identity(from);
        identity.send_as = vec!["a@b.example".parse().unwrap()];
        let local = LocalNames { admin: Some(account.clone()), ..LocalNames::default() };
        let recipients = Routes::read(b"root: a@b.example, c@d.example", local);
        let account = random.bool().then_some(&account);
        let terms =
            Terms { identity: &identity, account, recipients: &recipients, takes_utf8: true };
        let message: Vec<u8> = (0..random.usize(0..40))
            .flat_map(|_| PIECES[random.usize(..PIECES.len())].to_vec())
            .collect();
        let envelope = envelope(None, "web01", "192.0.2.7", random.bool());
        let (_, mut reader) = accepted_by(&store, envelope, &[&message]).await;
        let Some(rewritten) = edit(&mut reader, &terms) else {
            panic!("{}", message.escape_ascii())
        };
        let shown = rewritten.header.escape_ascii().to_string();
        let text: String = rewritten.header.iter().map(|octet| char::from(*octet)).collect();
        assert!(!text.replace("\r\n", "").contains(['\r', '\n', '\0']), "{shown}");
        let fields = text.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
        let names: Vec<String> =
            fields.filter_map(|line| Some(line.split_once(':')?.0.trim().to_lowercase())).collect();
        let count = |name: &str| names.iter().filter(|known| *known == name).count();
        assert_eq!(
            (count("from"), count("message-id"), count("date"), count("bcc")),
            (1, 1, 1, 0),
            "{shown}"
        );
        assert!(
            count("sender") <= 1
                && count("reply-to") <= 1
                && count("to") <= 1
                && count("subject") <= 1,
            "{shown}"
        );
    }
}
