//! The format of a dialogue file: what a client sends, what the server answers, what arrives.
//!
//! ```text
//! # A comment: the reason for this dialogue, and its source.
//! @ max_message_bytes 1000      an option, only before the first line of the talk
//! C: MAIL FROM:<a@b.example>    the client sends this and CRLF
//! C> a\nb\r                     the client sends these octets and nothing else
//! C! eof                        the client closes its side (also: timeout, drain, tls: the handshake)
//! S: 250 2.1.0 sender OK        the server answers exactly this
//! S~ 250 2.0.0 queued as        the server's line begins with this
//! S! close                      the server closes the connection
//! E: from=<a@b.example> ...     the envelope of a message that arrived
//! M: Subject: x                 a line of that message
//! M! end                        the end of that message
//! Q: bare-lf no-date            the oddities that the session reports, all of them ("none" for none)
//! ```
//!
//! Options of the policy are `trusted`, `priority_hints` (true), `starttls`, `encrypted`, `authentication` (off, optional, required,
//! accept-any); `login joe secret` is the one login that is right, `login unavailable` one that nobody can
//! check. `timing matters` marks a talk that goes otherwise when its bytes come otherwise, `waits yes` one whose
//! client must wait for each reply, however its bytes are cut.
//!
//! `C*20: NOOP` repeats a line. Escapes are `\r \n \t \\ \xHH` and `\{x*100}`, a character repeated.
//! Rule: a mistake in a file is an error with its line number, never a line that is passed over.

use std::{iter::Peekable, path::Path, str::Chars};

use pillarbox::smtp::{dsn::Dsn, quirk::Quirk, server::Transaction};

/// One file.
#[derive(Debug)]
pub(crate) struct Dialogue {
    pub(crate) name: String,
    pub(crate) directives: Vec<(String, String)>,
    pub(crate) turns: Vec<Turn>,
    pub(crate) arrivals: Vec<Arrival>,
    /// The names of the oddities, if the file says.
    pub(crate) quirks: Option<Vec<String>>,
}

/// One line of the talk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Turn {
    Send(Vec<u8>),
    Event(Event),
    Expect(Expected),
    ExpectClose,
}

/// What happens besides bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    Eof,
    /// The client is silent for longer than the session waits.
    Timeout,
    /// The service is being stopped.
    Drain,
    /// The TLS handshake succeeds.
    Tls,
}

/// A line of the server, without CRLF.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expected {
    Exactly(String),
    Beginning(String),
}

/// A message that must arrive.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Arrival {
    /// As [`envelope_text`] writes it; empty in a file that does not say.
    pub(crate) envelope: String,
    pub(crate) message: Vec<u8>,
}

impl Expected {
    pub(crate) fn matches(&self, line: &str) -> bool {
        match self {
            Self::Exactly(text) => line == text,
            Self::Beginning(text) => line.starts_with(text.as_str()),
        }
    }
}

impl Dialogue {
    /// Every `.smtp` file in the folder, in the order of their names.
    pub(crate) fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "smtp"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// The value of a directive.
    pub(crate) fn directive(&self, key: &str) -> Option<&str> {
        self.directives.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether it needs a session whose time, stop, handshake or store the test controls: over a socket it
    /// cannot be held.
    pub(crate) fn is_for_the_pure_session_only(&self) -> bool {
        let event =
            |turn: &Turn| matches!(turn, Turn::Event(Event::Timeout | Event::Drain | Event::Tls));
        self.turns.iter().any(event)
            || ["admit", "begin", "write", "stored", "timing"]
                .iter()
                .any(|key| self.directive(key).is_some())
    }

    /// Whether the client must wait for each reply: one that is not trusted is cut off otherwise, and behind a
    /// refused DATA everybody is.
    pub(crate) fn must_wait(&self) -> bool {
        self.directive("trusted") == Some("no") || self.directive("waits").is_some()
    }

    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Self::parse(&name, &std::fs::read_to_string(path).unwrap())
    }

    pub(crate) fn parse(name: &str, text: &str) -> Self {
        let mut dialogue = Self {
            name: name.to_owned(),
            directives: Vec::new(),
            turns: Vec::new(),
            arrivals: Vec::new(),
            quirks: None,
        };
        let mut arriving = Arrival::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (tag, rest) = line.split_at(line.find(' ').unwrap_or(line.len()));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let (tag, count) = repetition(tag);
            for _ in 0..count {
                match tag.as_str() {
                    "@" => {
                        assert!(
                            dialogue.turns.is_empty(),
                            "{name}:{number}: a directive must come first"
                        );
                        dialogue.directives.push(directive(rest));
                    }
                    "C:" => {
                        dialogue.turns.push(Turn::Send([unescape(rest), b"\r\n".to_vec()].concat()))
                    }
                    "C>" => dialogue.turns.push(Turn::Send(unescape(rest))),
                    "C!" => dialogue.turns.push(Turn::Event(event(rest))),
                    "S:" => dialogue.turns.push(Turn::Expect(Expected::Exactly(rest.to_owned()))),
                    "S~" => dialogue.turns.push(Turn::Expect(Expected::Beginning(rest.to_owned()))),
                    "S!" if rest == "close" => dialogue.turns.push(Turn::ExpectClose),
                    "E:" => rest.clone_into(&mut arriving.envelope),
                    "M:" => arriving.message.extend([unescape(rest), b"\r\n".to_vec()].concat()),
                    "Q:" => dialogue.quirks = Some(quirks(rest)),
                    "M!" if rest == "end" => dialogue.arrivals.push(std::mem::take(&mut arriving)),
                    _ => panic!("{name}:{number}: what is this? {line}"),
                }
            }
        }
        assert_eq!(arriving, Arrival::default(), "{name}: a message without `M! end`");
        dialogue
    }
}

/// The envelope as `E:` lines write it.
pub(crate) fn envelope_text(transaction: &Transaction) -> String {
    let path = |path: &pillarbox::smtp::address::Address| format!("<{path}>");
    format!(
        "from={} to={} protocol={} helo={}{}{}",
        transaction.reverse_path.as_ref().map_or_else(|| "<>".to_owned(), path),
        transaction.forward_paths.iter().map(path).collect::<Vec<_>>().join(","),
        transaction.protocol,
        transaction.helo,
        if transaction.eight_bit { " 8bit" } else { "" },
        if transaction.internationalized { " utf8" } else { "" },
    ) + &transaction.login.as_ref().map_or_else(String::new, |login| format!(" login={login}"))
        + &dsn_text(&transaction.dsn)
}

fn dsn_text(dsn: &Dsn) -> String {
    let mut text = String::new();
    if let Some(content) = dsn.content {
        text += &format!(" ret={content:?}");
    }
    if let Some(id) = &dsn.envelope_id {
        text += &format!(" envid={id}");
    }
    for (position, recipient) in &dsn.recipients {
        let notify = recipient.notify.map_or_else(String::new, |notify| {
            let words =
                [("success", notify.success), ("failure", notify.failure), ("delay", notify.delay)];
            let words: Vec<_> =
                words.iter().filter(|(_, asked)| *asked).map(|(word, _)| *word).collect();
            format!(" notify[{position}]={}", words.join(","))
        });
        let original = recipient
            .original_recipient
            .as_ref()
            .map_or_else(String::new, |original| format!(" orcpt[{position}]={original}"));
        text += &(notify + &original);
    }
    text
}

/// The names behind `Q:`; one that does not exist is a mistake.
fn quirks(rest: &str) -> Vec<String> {
    let mut names: Vec<_> =
        rest.split(' ').filter(|name| *name != "none").map(str::to_owned).collect();
    for name in &names {
        assert!(Quirk::ALL.iter().any(|quirk| quirk.name() == name), "unknown oddity {name}");
    }
    names.sort();
    names
}

/// `C*20:` is `C:` twenty times.
fn repetition(tag: &str) -> (String, usize) {
    match tag.split_once('*') {
        Some((letter, rest)) => {
            let (count, kind) = rest.split_at(rest.len() - 1);
            (format!("{letter}{kind}"), count.parse().unwrap())
        }
        None => (tag.to_owned(), 1),
    }
}

fn directive(rest: &str) -> (String, String) {
    let (key, value) = rest.split_once(' ').unwrap();
    let known = [
        "trusted",
        "client",
        "hostname",
        "max_message_bytes",
        "max_recipients",
        "priority_hints",
        "local_recipients",
        "admit",
        "begin",
        "write",
        "stored",
        "starttls",
        "encrypted",
        "authentication",
        "login",
        "timing",
        "waits",
    ];
    assert!(known.contains(&key), "unknown directive {key}");
    (key.to_owned(), value.to_owned())
}

fn event(rest: &str) -> Event {
    match rest {
        "eof" => Event::Eof,
        "timeout" => Event::Timeout,
        "drain" => Event::Drain,
        "tls" => Event::Tls,
        _ => panic!("unknown event {rest}"),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut characters) = (Vec::new(), text.chars().peekable());
    while let Some(character) = characters.next() {
        if character != '\\' {
            bytes.extend(character.to_string().as_bytes());
            continue;
        }
        match characters.next().unwrap() {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            '\\' => bytes.push(b'\\'),
            'x' => {
                let digits: String = characters.by_ref().take(2).collect();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            '{' => bytes.extend(repeated(&mut characters)),
            other => panic!("unknown escape \\{other}"),
        }
    }
    bytes
}

/// The inside of `\{x*100}`.
fn repeated(characters: &mut Peekable<Chars<'_>>) -> Vec<u8> {
    let inside: String = characters.by_ref().take_while(|character| *character != '}').collect();
    let (what, count) = inside.split_once('*').unwrap();
    what.repeat(count.parse().unwrap()).into_bytes()
}
