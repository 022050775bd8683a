//! The copy that lies in the account's Sent folder and that recipients get (docs/gmail.md section 5).
//!
//! Rule: only what was observed at Gmail is changed: From, Message-ID, Date; Return-Path and Received
//! come in front. All other fields and the body stay as they were sent. Must not know who looks at it.

use jiff::{Timestamp, fmt::rfc2822, tz::TimeZone};

use super::accepted::Accepted;

/// The message as Gmail keeps it; `send_as` are the account's verified addresses.
pub(super) fn rewritten(message: &Accepted, send_as: &[String]) -> Vec<u8> {
    let header = Header::of(&message.body);
    let mut out = Vec::with_capacity(message.body.len() + 1024);
    let mut put = |text: &str| out.extend_from_slice(format!("{text}\r\n").as_bytes());
    put(&format!("Return-Path: <{}>", message.username.as_deref().unwrap_or(&message.mail_from)));
    put(&received(message));
    if header.value("Message-ID").is_none() {
        put(&format!("Message-ID: <{}>", invented_id(message, "mx.google.com")));
    }
    if header.value("Date").is_none() {
        put(&format!("Date: {}", date(message)));
    }
    for field in &header.fields {
        let (name, value) = (field.name(), field.value());
        let changed = match name.to_ascii_lowercase().as_str() {
            "from" => {
                message.username.as_deref().and_then(|account| new_from(&value, account, send_as))
            }
            "message-id" if !is_message_id(&value) => {
                Some(format!("<{}>", invented_id(message, "SMTPIN_ADDED_BROKEN@mx.google.com")))
            }
            "date" => new_date(&value, message),
            _ => None,
        };
        match changed {
            None => out.extend_from_slice(field.0),
            Some(new) => {
                let text = format!("{name}: {new}\r\nX-Google-Original-{name}: {value}\r\n");
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
    out.extend_from_slice(header.rest);
    out
}

/// The fields of a message and what follows them, the empty line included.
struct Header<'a> {
    fields: Vec<Field<'a>>,
    rest: &'a [u8],
}

/// A field with its continuation lines and its last line end.
struct Field<'a>(&'a [u8]);

impl<'a> Header<'a> {
    fn of(message: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        let mut rest = message;
        while let Some(length) = field_length(rest) {
            let (field, after) = rest.split_at(length);
            fields.push(Field(field));
            rest = after;
        }
        Self { fields, rest }
    }

    fn value(&self, name: &str) -> Option<String> {
        self.fields.iter().find(|field| field.name().eq_ignore_ascii_case(name)).map(Field::value)
    }
}

impl Field<'_> {
    fn name(&self) -> String {
        let end = memchr::memchr(b':', self.0).unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end]).trim_end().to_owned()
    }

    /// Unfolded (RFC 5322 section 2.2.3).
    fn value(&self) -> String {
        let start = memchr::memchr(b':', self.0).map_or(self.0.len(), |colon| colon + 1);
        String::from_utf8_lossy(&self.0[start..]).replace(['\r', '\n'], "").trim().to_owned()
    }
}

/// Octets of the field at the beginning; `None` when there is no field.
fn field_length(text: &[u8]) -> Option<usize> {
    let line = |from: usize| Some(from + memchr::memchr(b'\n', text.get(from..)?)? + 1);
    let mut end = line(0)?;
    let colon = memchr::memchr(b':', &text[..end])?;
    if !text[..colon].iter().all(|octet| octet.is_ascii_graphic()) {
        return None;
    }
    while matches!(text.get(end), Some(b' ' | b'\t')) {
        end = line(end)?;
    }
    Some(end)
}

fn received(message: &Accepted) -> String {
    let protocol = match (&message.tls, &message.username) {
        (Some(_), Some(_)) => "ESMTPSA",
        (Some(_), None) => "ESMTPS",
        (None, _) => "ESMTP",
    };
    let host = if message.username.is_some() { "smtp.gmail.com" } else { "mx.google.com" };
    // Several recipients would tell each of them about the others.
    let recipient = match message.rcpt_to.as_slice() {
        [only] => format!("\r\n        for <{only}>"),
        _ => String::new(),
    };
    let tls = message.tls.as_ref().map_or_else(String::new, |tls| {
        let bits = if tls.cipher_suite.contains("_128_") { 128 } else { 256 };
        format!(
            "\r\n        (version={} cipher={} bits={bits}/{bits})",
            tls.version.replace("TLS1.", "TLS1_"),
            tls.cipher_suite
        )
    });
    format!(
        "Received: from {} ([{}])\r\n        by {host} with {protocol} id {}{recipient}{tls};\r\n        {}",
        message.ehlo,
        message.peer,
        message.session_id,
        date(message)
    )
}

/// The account in place of a sender that is none of its addresses. A difference in case is enough; the
/// display name survives, unless there were two senders.
fn new_from(value: &str, account: &str, send_as: &[String]) -> Option<String> {
    let senders = split_outside_quotes(value, ',');
    let (name, address) = name_and_address(senders.first().copied().unwrap_or(""));
    if senders.len() == 1 && (address == account || send_as.iter().any(|own| own == address)) {
        return None;
    }
    let name = if senders.len() == 1 { name } else { "" };
    Some(if name.is_empty() { account.to_owned() } else { format!("{name} <{account}>") })
}

/// `Root <root@web01>` or `root@web01`.
fn name_and_address(sender: &str) -> (&str, &str) {
    let parts = split_outside_quotes(sender, '<');
    match parts.as_slice() {
        [name, address] => (name.trim(), address.split('>').next().unwrap_or(address).trim()),
        _ => ("", sender.split('(').next().unwrap_or(sender).trim()),
    }
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let split = |character: char| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        character == separator && !quoted
    };
    text.split(split).collect()
}

/// `<left@right>` without blanks.
fn is_message_id(value: &str) -> bool {
    let inside = value.strip_prefix('<').and_then(|value| value.strip_suffix('>'));
    inside.and_then(|id| id.split_once('@')).is_some_and(|(left, right)| {
        !left.is_empty() && !right.is_empty() && value.bytes().all(|octet| octet.is_ascii_graphic())
    })
}

/// Such as `664c5a29.1c69fb81.0a1b2.c3d4@mx.google.com`: the same for the same message.
fn invented_id(message: &Accepted, host: &str) -> String {
    let seconds = message.at.0.div_euclid(1000);
    let (high, low) = (message.crc32 >> 12, message.crc32 & 0xffff);
    let middle = if host.contains('@') { "." } else { "@" };
    format!("{seconds:08x}.1c69fb81.{high:05x}.{low:04x}{middle}{host}")
}

/// The usual form of a date in an unusual one; the time of arrival when it is not a date at all.
fn new_date(value: &str, message: &Accepted) -> Option<String> {
    let zone = value.split('(').next().and_then(|value| value.trim_end().rsplit(' ').next());
    let numeric = zone.is_some_and(|zone| {
        let digits = zone.strip_prefix(['+', '-']);
        digits.is_some_and(|digits| {
            digits.len() == 4 && digits.bytes().all(|octet| octet.is_ascii_digit())
        })
    });
    match rfc2822::parse(value) {
        Ok(_) if numeric => None,
        Ok(written) => Some(written.strftime(DATE).to_string()),
        Err(_) => Some(date(message)),
    }
}

/// The time of arrival in UTC.
fn date(message: &Accepted) -> String {
    // Only a time thousands of years away is out of range.
    let at = Timestamp::from_millisecond(message.at.0).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(TimeZone::UTC).strftime(DATE).to_string()
}

/// RFC 5322 section 3.3.
const DATE: &str = "%a, %d %b %Y %H:%M:%S %z";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_from_that_is_not_the_accounts_becomes_the_accounts_and_keeps_its_name() {
        let aliases = ["alias@example.org".to_owned()];
        let from = |value| new_from(value, "me@gmail.com", &aliases);
        for kept in [
            "me@gmail.com",
            "Me <me@gmail.com>",
            "\"A, B\" <alias@example.org>",
            "me@gmail.com (Me)",
        ] {
            assert_eq!(from(kept), None, "{kept}");
        }
        for (value, expected) in [
            ("root@web01", "me@gmail.com"),
            ("Root <root@web01>", "Root <me@gmail.com>"),
            ("\"Root, web01\" <root@web01>", "\"Root, web01\" <me@gmail.com>"),
            ("Me <Me@gmail.com>", "Me <me@gmail.com>"),
            ("Me <me@gmail.com>, You <you@example.org>", "me@gmail.com"),
            ("root (Cron Daemon)", "me@gmail.com"),
        ] {
            assert_eq!(from(value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn fields_end_where_the_body_begins() {
        let header = Header::of(b"A: 1\r\nB: 2\r\n\tmore\r\n\r\nC: 3\r\n");
        let fields: Vec<_> =
            header.fields.iter().map(|field| (field.name(), field.value())).collect();
        assert_eq!(fields, [("A".into(), "1".into()), ("B".into(), "2\tmore".into())]);
        assert_eq!(header.rest, b"\r\nC: 3\r\n");
        assert_eq!(Header::of(b"no field\r\n").rest, b"no field\r\n");
    }
}
