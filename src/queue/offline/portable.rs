//! A queued message outside of the queue: its octets, with its envelope and states in fields before them.
//!
//! ```text
//! X-Envelope-Version: 1                     the first field
//! X-Envelope-Id, -Accepted, -From, -Parameters, -Lane, -Origin
//! X-Envelope-Not-Before                     only of a message that a person has scheduled
//! X-Envelope-Rule                           only of a message that a rule has struck
//! X-Envelope-Route                          only of a message for which a route was found
//! X-Envelope-Account                        only of a message that another account than the main one has tried last
//! X-Envelope-To: <a@b.example>              for each recipient, followed by
//! X-Envelope-Recipient: state=held ...      what is known of it, and
//! X-Envelope-Reason, -Reply                 why, in words
//! X-Envelope-Content: ...                   the last field; the message's own header section follows
//! ```
//!
//! Rule: what is written is read back octet by octet and recipient by recipient, and any other program takes
//! it for a message with fields that it need not know. Whatever is not a visible ASCII character in a `name=value` word is
//! written as `+` and two hexadecimal digits for each octet, after the manner of RFC 3461 section 4. Must not know files.

use std::fmt::{self, Write as _};

use thiserror::Error;

use crate::{
    clock::Timestamp,
    message::{
        envelope::{BodyKind, Envelope, Lane, LocalUser, Origin},
        mbox::{self, LineEnds},
    },
    queue::{
        id::QueueId,
        state::{Recipient, RecipientState},
    },
    smtp::{
        address::Address,
        dsn::{Content, Dsn, Notify, RecipientDsn},
    },
    text,
};

/// The beginning of every field.
const PREFIX: &str = "X-Envelope-";
/// The version of the fields that this program writes and reads.
const VERSION: &str = "1";
/// Octets of one of our fields.
const FIELD_BYTES_MAX: usize = 8 * 1024;
/// Octets of the name of a rule, a route or an account; relay.toml takes no longer one.
const NAME_LENGTH_MAX: usize = 64;
/// Recipients of one message; `listener.max_recipients` goes as far.
const RECIPIENTS_MAX: usize = 1_000;

/// A message outside of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortableMessage {
    /// Its id.
    pub id: QueueId,
    /// Its envelope.
    pub envelope: Envelope,
    /// The recipients of the envelope with their states.
    pub recipients: Vec<Recipient>,
    /// When a person has it leave.
    pub(crate) not_before: Option<Timestamp>,
    /// The rule that struck when it was accepted.
    pub(crate) rule: Option<String>,
    /// The route that was found for it then.
    pub(crate) route: Option<String>,
    /// The account that has tried it last, where that is not the main one.
    pub(crate) account: Option<String>,
    /// The octets as the client sent them.
    pub message: Vec<u8>,
}

/// Why the fields cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PortableError {
    /// A newer program wrote them.
    #[error("its X-Envelope fields are of version {0:?}; this program knows version {VERSION}")]
    Version(String),
    /// A field is missing.
    #[error("the field X-Envelope-{0} is missing")]
    Missing(&'static str),
    /// A field makes no sense.
    #[error("the field X-Envelope-{field} cannot be understood: {value:?}")]
    Malformed {
        /// Its name without the beginning.
        field: String,
        /// What it says.
        value: String,
    },
    /// The octets are not those that were exported.
    #[error(
        "its text was changed since it was exported (by an editor, or by a mail program that opened the file)"
    )]
    Changed,
}

impl PortableMessage {
    /// The message for a file: the fields, then its octets.
    #[must_use]
    pub(crate) fn to_file(&self) -> Vec<u8> {
        let (ends, lines) = mbox::for_a_file(&self.message);
        let mut bytes = self.fields(ends).into_bytes();
        bytes.extend_from_slice(&lines);
        bytes
    }

    fn fields(&self, ends: LineEnds) -> String {
        let (envelope, mut text) = (&self.envelope, String::new());
        let mut field = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _written = writeln!(text, "{PREFIX}{name}: {value}");
        };
        field("Version", VERSION);
        field("Id", &self.id.to_string());
        field("Accepted", &time(envelope.accepted_at));
        field("From", &format!("<{}>", envelope.reverse_path.as_ref().map_or("", Address::as_str)));
        field("Parameters", &parameters(envelope));
        field("Lane", envelope.lane.name());
        field("Origin", &origin(&envelope.origin));
        if let Some(at) = self.not_before {
            field("Not-Before", &time(at));
        }
        let names = [("Rule", &self.rule), ("Route", &self.route), ("Account", &self.account)];
        for (name, value) in names {
            if let Some(value) = value {
                field(name, value);
            }
        }
        for (place, recipient) in self.recipients.iter().enumerate() {
            field("To", &format!("<{}>", recipient.address));
            field("Recipient", &standing(recipient, envelope.dsn.recipients.get(&place)));
            if let RecipientState::Held { reason, .. } | RecipientState::Dead { reason, .. } =
                &recipient.state
            {
                field("Reason", &one_line(reason));
            }
            if let Some(reply) = &recipient.last_reply {
                field("Reply", &one_line(reply));
            }
        }
        let mut content = Words::default();
        content.put("lines", if ends == LineEnds::Unix { "unix" } else { "verbatim" });
        content.put("octets", &self.message.len().to_string());
        content.put("crc32", &format!("{:08x}", crc32fast::hash(&self.message)));
        field("Content", &content.to_string());
        text
    }

    /// Reads what [`PortableMessage::to_file`] wrote; `None` when the bytes do not begin with our fields.
    ///
    /// # Errors
    /// When they do and cannot be understood, or the message behind them is another one.
    pub(crate) fn of_file(bytes: &[u8]) -> Result<Option<Self>, PortableError> {
        let first = format!("{PREFIX}Version: ");
        if !bytes.starts_with(first.as_bytes()) {
            return Ok(None);
        }
        let mut fields = Vec::new();
        let mut rest = bytes;
        while fields.last().is_none_or(|(name, _): &(String, String)| name != "Content") {
            let Some(end) = rest.iter().take(FIELD_BYTES_MAX).position(|octet| *octet == b'\n')
            else {
                return Err(PortableError::Missing("Content"));
            };
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            let Some((name, value)) =
                line.strip_prefix(PREFIX).and_then(|line| line.split_once(':'))
            else {
                return Err(PortableError::Missing("Content"));
            };
            fields.push((name.to_owned(), value.trim().to_owned()));
            rest = &rest[end + 1..];
        }
        Fields(fields).read(rest).map(Some)
    }
}

/// The fields, in their order.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn read(self, rest: &[u8]) -> Result<PortableMessage, PortableError> {
        let version = self.value("Version")?;
        if version != VERSION {
            return Err(PortableError::Version(text::shorten(version, 200).into()));
        }
        let accepted = self.value("Accepted")?;
        let (recipients, asked) = self.recipients()?;
        let mut envelope = Envelope {
            reverse_path: match path(self.value("From")?) {
                Some("") => None,
                Some(address) => Some(address.parse().map_err(|_| self.malformed("From"))?),
                None => return Err(self.malformed("From")),
            },
            forward_paths: recipients.iter().map(|recipient| recipient.address.clone()).collect(),
            body: BodyKind::default(),
            internationalized: false,
            dsn: Dsn { recipients: asked, ..Dsn::default() },
            lane: Lane::ALL
                .into_iter()
                .find(|lane| self.value("Lane") == Ok(lane.name()))
                .unwrap_or_default(),
            origin: read_origin(self.value("Origin")?).ok_or_else(|| self.malformed("Origin"))?,
            accepted_at: moment(accepted).ok_or_else(|| self.malformed("Accepted"))?,
        };
        read_parameters(&mut envelope, self.value("Parameters")?);
        let message =
            content(self.value("Content")?, rest).ok_or_else(|| self.malformed("Content"))?;
        let message = message.ok_or(PortableError::Changed)?;
        let id = self.value("Id")?.parse().map_err(|_| self.malformed("Id"))?;
        let not_before = match self.value("Not-Before") {
            Ok(at) => Some(moment(at).ok_or_else(|| self.malformed("Not-Before"))?),
            Err(_) => None,
        };
        let [rule, route, account] =
            ["Rule", "Route", "Account"].map(|name| self.value(name).ok().map(cut_name));
        Ok(PortableMessage { id, envelope, recipients, not_before, rule, route, account, message })
    }

    fn value(&self, name: &'static str) -> Result<&str, PortableError> {
        let found = self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        found.ok_or(PortableError::Missing(name))
    }

    fn malformed(&self, name: &'static str) -> PortableError {
        malformed(name, self.value(name).unwrap_or_default())
    }

    /// The recipients in their order, and what was asked of notifications for each.
    fn recipients(&self) -> Result<(Vec<Recipient>, Asked), PortableError> {
        let (mut recipients, mut asked) = (Vec::<Recipient>::new(), Asked::new());
        for (name, value) in &self.0 {
            let wrong = || malformed(name, value);
            let place = recipients.len();
            match (name.as_str(), recipients.last_mut()) {
                ("To", _) if place < RECIPIENTS_MAX => {
                    let address =
                        path(value).and_then(|path| path.parse().ok()).ok_or_else(wrong)?;
                    let state = RecipientState::Queued { due: Timestamp(0), resend: false };
                    recipients.push(Recipient { address, state, attempts: 0, last_reply: None });
                }
                ("Recipient", Some(last)) => {
                    let words = Words::read(value).ok_or_else(wrong)?;
                    last.state = state(&words).ok_or_else(wrong)?;
                    last.attempts =
                        words.get("attempts").and_then(|word| word.parse().ok()).unwrap_or(0);
                    let notify =
                        words.get("notify").map(|word| Notify::read(word).ok_or_else(wrong));
                    let dsn = RecipientDsn {
                        notify: notify.transpose()?,
                        original_recipient: words.get("orcpt").map(str::to_owned),
                    };
                    if dsn != RecipientDsn::default() {
                        asked.insert(place - 1, dsn);
                    }
                }
                ("Reason", Some(last)) => {
                    if let RecipientState::Held { reason, .. }
                    | RecipientState::Dead { reason, .. } = &mut last.state
                    {
                        reason.clone_from(value);
                    }
                }
                ("Reply", Some(last)) => last.last_reply = Some(value.clone()),
                ("To" | "Recipient" | "Reason" | "Reply", _) => return Err(wrong()),
                _ => {}
            }
        }
        if recipients.is_empty() {
            Err(PortableError::Missing("To"))
        } else {
            Ok((recipients, asked))
        }
    }
}

/// The name of a rule, a route or an account, as much of it as one may have.
fn cut_name(name: &str) -> String {
    text::printable_within(name, NAME_LENGTH_MAX)
}

type Asked = std::collections::BTreeMap<usize, RecipientDsn>;

fn malformed(field: &str, value: &str) -> PortableError {
    PortableError::Malformed { field: field.into(), value: text::shorten(value, 200).into() }
}

/// The inside of the angle brackets.
fn path(value: &str) -> Option<&str> {
    value.strip_prefix('<')?.strip_suffix('>')
}

/// A reason or a reply as the value of a field.
fn one_line(text: &str) -> String {
    text::printable(text).trim().to_owned()
}

/// The message behind the fields: `None` when `value` makes no sense, `Some(None)` when it is another message.
fn content(value: &str, rest: &[u8]) -> Option<Option<Vec<u8>>> {
    let words = Words::read(value)?;
    let length: usize = words.get("octets")?.parse().ok()?;
    let checksum = u32::from_str_radix(words.get("crc32")?, 16).ok()?;
    let mut message = match words.get("lines")? {
        "unix" => mbox::from_a_file(rest),
        "verbatim" => rest.to_vec(),
        _ => return None,
    };
    // A file ends its last line, the message need not.
    if matches!(message.get(length..), Some(b"\r\n" | b"\n")) {
        message.truncate(length);
    }
    Some((message.len() == length && crc32fast::hash(&message) == checksum).then_some(message))
}

/// The parameters of MAIL, decoded, under the names that they have there.
fn parameters(envelope: &Envelope) -> String {
    let mut words = Words::default();
    words.put("body", if envelope.body == BodyKind::EightBitMime { "8bitmime" } else { "7bit" });
    if envelope.internationalized {
        words.put("smtputf8", "yes");
    }
    match envelope.dsn.content {
        Some(Content::Full) => words.put("ret", "full"),
        Some(Content::Headers) => words.put("ret", "hdrs"),
        None => {}
    }
    if let Some(id) = &envelope.dsn.envelope_id {
        words.put("envid", id);
    }
    words.to_string()
}

fn read_parameters(envelope: &mut Envelope, value: &str) {
    let words = Words::read(value).unwrap_or_default();
    if words.get("body") == Some("8bitmime") {
        envelope.body = BodyKind::EightBitMime;
    }
    envelope.internationalized = words.get("smtputf8").is_some();
    envelope.dsn.content = words.get("ret").and_then(Content::read);
    envelope.dsn.envelope_id = words.get("envid").map(str::to_owned);
}

fn origin(origin: &Origin) -> String {
    let mut words = Words::default();
    words.put("address", &origin.address.to_string());
    words.put("protocol", &origin.protocol);
    words.put("helo", &origin.helo);
    if let Some(login) = &origin.login {
        words.put("login", login);
    }
    if let Some(local) = &origin.local {
        words.put("uid", &local.uid.to_string());
        if let Some(name) = &local.name {
            words.put("user", name);
        }
        if local.claimed {
            words.put("claimed", "yes");
        }
    }
    words.to_string()
}

fn read_origin(value: &str) -> Option<Origin> {
    let words = Words::read(value)?;
    let own = |name| words.get(name).map(str::to_owned);
    let uid = words.get("uid").map(|uid| uid.parse().ok());
    Some(Origin {
        address: words.get("address")?.parse().ok()?,
        helo: own("helo").unwrap_or_default(),
        protocol: own("protocol").unwrap_or_default(),
        login: own("login"),
        local: match uid {
            Some(uid) => {
                Some(LocalUser { uid: uid?, name: own("user"), claimed: own("claimed").is_some() })
            }
            None => None,
        },
    })
}

/// What is known of a recipient.
fn standing(recipient: &Recipient, dsn: Option<&RecipientDsn>) -> String {
    let mut words = Words::default();
    words.put("state", recipient.state.name());
    match &recipient.state {
        RecipientState::Queued { due, .. } => words.put("due", &time(*due)),
        RecipientState::Reserved { since, .. }
        | RecipientState::Held { since, .. }
        | RecipientState::Dead { since, .. } => words.put("since", &time(*since)),
        RecipientState::Relayed { at } => words.put("at", &time(*at)),
    }
    words.put("attempts", &recipient.attempts.to_string());
    if let Some(notify) = dsn.and_then(|dsn| dsn.notify) {
        words.put("notify", &notify_words(notify));
    }
    if let Some(original) = dsn.and_then(|dsn| dsn.original_recipient.as_deref()) {
        words.put("orcpt", original);
    }
    words.to_string()
}

fn notify_words(notify: Notify) -> String {
    let all = [(notify.success, "success"), (notify.failure, "failure"), (notify.delay, "delay")];
    let asked: Vec<&str> = all.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
    if asked.is_empty() { "never".into() } else { asked.join(",") }
}

fn state(words: &Words) -> Option<RecipientState> {
    let at = |name| words.get(name).and_then(moment);
    Some(match words.get("state")? {
        "queued" => RecipientState::Queued { due: at("due")?, resend: false },
        "uncertain" => RecipientState::Queued { due: at("due")?, resend: true },
        // The reservation belongs to the ledger that was left behind.
        "reserved" => {
            RecipientState::Reserved { reservation: 0, since: at("since")?, resend: false }
        }
        "relayed" => RecipientState::Relayed { at: at("at")? },
        "held" => RecipientState::Held { since: at("since")?, reason: String::new() },
        "dead" => RecipientState::Dead { since: at("since")?, reason: String::new() },
        _ => return None,
    })
}

/// `name=value` words of one line, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Words(Vec<(String, String)>);

impl Words {
    /// Adds a word.
    fn put(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// The value of the first word of this name.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Reads a line of words; `None` when it is none.
    fn read(line: &str) -> Option<Self> {
        let word = |word: &str| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), decoded(value)?))
        };
        line.split_ascii_whitespace().map(word).collect::<Option<Vec<_>>>().map(Self)
    }
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.0.iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            write!(formatter, "{gap}{name}=")?;
            for octet in value.bytes() {
                match octet {
                    b'!'..=b'~' if octet != b'+' => write!(formatter, "{}", char::from(octet))?,
                    _ => write!(formatter, "+{octet:02X}")?,
                }
            }
        }
        Ok(())
    }
}

fn decoded(value: &str) -> Option<String> {
    let (mut octets, mut source) = (Vec::new(), value.bytes());
    while let Some(octet) = source.next() {
        octets.push(match octet {
            b'+' => {
                let digits = [source.next()?, source.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(octets).ok()
}

/// A time to the millisecond, in RFC 3339.
fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_| at.0.to_string(), |time| format!("{time:.3}"))
}

/// Reads what [`time`] wrote.
fn moment(text: &str) -> Option<Timestamp> {
    let far_away = || text.parse().ok().map(Timestamp);
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(|time| Timestamp(time.as_millisecond()))
        .or_else(far_away)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "X-Envelope-Version: 1\nX-Envelope-Id: 06hhgq2g000000005jfavybr78\n\
        X-Envelope-Accepted: 2027-01-15T08:00:00.000Z\nX-Envelope-From: <>\nX-Envelope-Parameters: body=7bit\n\
        X-Envelope-Lane: normal\nX-Envelope-Origin: address=127.0.0.1 protocol=local helo= uid=0 user=root\n\
        X-Envelope-To: <a@b.example>\nX-Envelope-Recipient: state=dead since=2027-01-15T08:00:00.000Z attempts=2\n\
        X-Envelope-Reason: 550 no\nX-Envelope-Content: lines=unix octets=6 crc32=204dff6e\nA: b\n";

    #[test]
    fn what_was_written_is_read_and_written_again_as_it_was() {
        let carried = PortableMessage::of_file(FILE.as_bytes()).unwrap().unwrap();
        assert_eq!(carried.message, b"A: b\r\n");
        assert_eq!(carried.envelope.origin.local.as_ref().unwrap().uid, 0);
        assert!(
            matches!(&carried.recipients[0].state, RecipientState::Dead { reason, .. } if reason == "550 no")
        );
        assert_eq!(String::from_utf8(carried.to_file()).unwrap(), FILE);
        // A program that gave the file the line ends of SMTP has lost nothing.
        let crlf = FILE.replace('\n', "\r\n");
        assert_eq!(PortableMessage::of_file(crlf.as_bytes()), Ok(Some(carried)));
    }

    #[test]
    fn the_time_that_a_person_has_set_is_carried_and_a_wrong_one_is_named() {
        let scheduled = FILE.replace(
            "X-Envelope-To",
            "X-Envelope-Not-Before: 2027-01-16T22:30:00.000Z\nX-Envelope-To",
        );
        let carried = PortableMessage::of_file(scheduled.as_bytes()).unwrap().unwrap();
        assert_eq!(carried.not_before, moment("2027-01-16T22:30:00Z"));
        assert_eq!(String::from_utf8(carried.to_file()).unwrap(), scheduled);
        let wrong = scheduled.replace("2027-01-16T22:30:00.000Z", "soon");
        let wrong = PortableMessage::of_file(wrong.as_bytes()).unwrap_err();
        assert!(wrong.to_string().contains("X-Envelope-Not-Before"), "{wrong}");
    }

    #[test]
    fn rule_route_and_account_are_carried_and_no_longer_than_a_name_may_be() {
        type Name = fn(PortableMessage) -> Option<String>;
        let names: [(&str, Name); 3] = [
            ("Rule", |carried| carried.rule),
            ("Route", |carried| carried.route),
            ("Account", |carried| carried.account),
        ];
        let read =
            |file: &str| PortableMessage::of_file(file.as_bytes()).unwrap().expect("our fields");
        for (field, value) in names {
            assert_eq!(value(read(FILE)), None, "an older program knew of no {field}");
            let with = |name: &str| {
                let field = format!("X-Envelope-{field}: {name}\nX-Envelope-To");
                FILE.replace("X-Envelope-To", &field)
            };
            let carried = read(&with("raid"));
            assert_eq!(value(carried.clone()).as_deref(), Some("raid"));
            assert_eq!(String::from_utf8(carried.to_file()).unwrap(), with("raid"));
            let long = value(read(&with(&"x\u{1b}".repeat(1_000)))).unwrap();
            assert!(long.len() <= NAME_LENGTH_MAX && long.is_ascii(), "{long}");
        }
    }

    #[test]
    fn a_reply_that_drives_a_terminal_or_turns_round_is_written_out() {
        let mut carried = PortableMessage::of_file(FILE.as_bytes()).unwrap().unwrap();
        let words = "550 away\u{1b}[2J \u{202e}cod.exe\u{9b}";
        carried.recipients[0].last_reply = Some(words.into());
        let file = String::from_utf8(carried.to_file()).unwrap();
        let shown = "550 away\\u{1b}[2J \\u{202e}cod.exe\\u{9b}";
        assert!(file.contains(&format!("X-Envelope-Reply: {shown}\n")), "{file}");
        let again = PortableMessage::of_file(file.as_bytes()).unwrap().unwrap();
        assert_eq!(again.recipients[0].last_reply.as_deref(), Some(shown));
        assert_eq!(String::from_utf8(again.to_file()).unwrap(), file);
        let refused = FILE.replace("Version: 1", "Version: \u{202e}2");
        let refused = PortableMessage::of_file(refused.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("\\u{202e}2"), "{refused}");
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let read = |from: &str, to: &str| {
            PortableMessage::of_file(FILE.replace(from, to).as_bytes()).unwrap_err()
        };
        assert_eq!(read("Version: 1", "Version: 2"), PortableError::Version("2".into()));
        assert_eq!(read("X-Envelope-Lane", "Status"), PortableError::Missing("Content"));
        assert_eq!(read("A: b", "A: c"), PortableError::Changed);
        for (from, to, field) in [
            ("<a@b.example>", "a@b.example", "To"),
            ("<>", "<a b>", "From"),
            ("state=dead", "state=odd", "Recipient"),
            ("2027-01-15T08:00:00.000Z\nX-Envelope-From", "today\nX-Envelope-From", "Accepted"),
            ("uid=0", "uid=x", "Origin"),
            ("octets=6", "octets=", "Content"),
            ("06hhgq", "../../", "Id"),
        ] {
            let error = read(from, to);
            assert!(
                matches!(&error, PortableError::Malformed { field: found, .. } if found == field),
                "{error}"
            );
        }
        assert_eq!(PortableMessage::of_file(b"A: b\n"), Ok(None));
        assert_eq!(
            PortableMessage::of_file(b"X-Envelope-Version: 1\n"),
            Err(PortableError::Missing("Content"))
        );
    }

    #[test]
    fn any_value_survives_in_one_line_of_ascii() {
        let mut words = Words::default();
        for value in ["", "plain", "a b=c+d", "línea\r\nBcc: x@y", "\u{0}\u{7f}+20", "+"] {
            words.put("value", value);
        }
        let line = words.to_string();
        assert!(line.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{line}");
        assert_eq!(Words::read(&line), Some(words));
        for wrong in ["value", "a=b c", "a=+2", "a=+2X", "a=+FF"] {
            assert_eq!(Words::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_keep_their_milliseconds_wherever_they_lie() {
        for at in [0, 1, 1_800_000_000_123, -5, i64::MAX, i64::MIN] {
            assert_eq!(
                moment(&time(Timestamp(at))),
                Some(Timestamp(at)),
                "{}",
                time(Timestamp(at))
            );
        }
        assert_eq!(time(Timestamp(1_800_000_000_120)), "2027-01-15T08:00:00.120Z");
        assert_eq!(moment("yesterday"), None);
    }
}
