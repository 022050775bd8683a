//! The commands of a client: one line in, one [`Command`] out (RFC 5321 section 4.1).
//!
//! Rule: liberal in form, because old printers and scripts are (any case, extra blanks, missing
//! brackets, source routes), and yet nothing gets through that is no safe address.
//! Must not know which command is allowed when, or to whom.

use thiserror::Error;

use super::{
    address::{Address, AddressError},
    extension::Parameters,
};

/// Characters of a HELO or EHLO argument; a domain has at most 255 (RFC 5321 section 4.5.3.1.2).
pub const HELLO_LENGTH_MAX: usize = 255;

/// One command, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// EHLO with its argument, which may be empty and is never used for trust.
    ExtendedHello(String),
    /// HELO likewise.
    Hello(String),
    /// MAIL.
    Mail {
        /// FROM; `None` is `<>`.
        reverse_path: Option<Address>,
        /// What follows it.
        parameters: Parameters,
    },
    /// RCPT.
    Recipient {
        /// TO.
        forward_path: Address,
        /// What follows it.
        parameters: Parameters,
    },
    /// DATA.
    Data,
    /// RSET.
    Reset,
    /// NOOP, with or without an argument.
    Noop,
    /// VRFY.
    Verify,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
    /// A command of RFC 5321 or of an extension that we do not serve: EXPN, STARTTLS, AUTH, BDAT, TURN ...
    NotImplemented,
    /// A verb nobody knows.
    Unknown,
    /// The first line of an HTTP request: a browser or a scanner at the wrong door.
    Http,
}

impl Command {
    /// Reads a line without its line end.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        // TAB is the one control character that some clients use as a blank.
        if line.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t') {
            return Err(CommandError::Character);
        }
        let line = std::str::from_utf8(line).map_err(|_| CommandError::EightBit)?.trim_ascii();
        let (verb, rest) = line.split_at(line.find([' ', '\t']).unwrap_or(line.len()));
        let rest = rest.trim_ascii();
        let verb = verb.to_ascii_uppercase();
        // Only a path may be other than ASCII (RFC 6531 section 3.4).
        if !line.is_ascii() && !matches!(verb.as_str(), "MAIL" | "RCPT") {
            return Err(CommandError::EightBit);
        }
        match verb.as_str() {
            "" => Err(CommandError::Empty),
            "EHLO" => hello(rest).map(Self::ExtendedHello),
            "HELO" => hello(rest).map(Self::Hello),
            "MAIL" => mail(rest),
            "RCPT" => recipient(rest),
            "DATA" => alone(rest, Self::Data, "DATA"),
            "RSET" => alone(rest, Self::Reset, "RSET"),
            "QUIT" => alone(rest, Self::Quit, "QUIT"),
            "NOOP" => Ok(Self::Noop),
            "VRFY" => Ok(Self::Verify),
            "HELP" => Ok(Self::Help),
            "EXPN" | "STARTTLS" | "AUTH" | "BDAT" | "ETRN" | "TURN" | "ATRN" | "SEND" | "SOML" | "SAML" => {
                Ok(Self::NotImplemented)
            }
            "GET" | "POST" | "PUT" | "HEAD" | "OPTIONS" | "CONNECT" => Ok(Self::Http),
            _ => Ok(Self::Unknown),
        }
    }
}

/// Why a line is no command. The words are for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// Nothing but blanks.
    #[error("empty command line")]
    Empty,
    /// A bare CR, a NUL or another control character.
    #[error("control character in a command line")]
    Character,
    /// Octets above 127 where only ASCII may be, or no UTF-8.
    #[error("only ASCII is allowed in this command")]
    EightBit,
    /// The arguments have the wrong form; the right one is given.
    #[error("syntax: {0}")]
    Usage(&'static str),
    /// A parameter of one of our extensions has a value that makes no sense.
    #[error("the value of {0} is not valid")]
    Parameter(&'static str),
    /// The address of MAIL.
    #[error("bad sender address: {0}")]
    ReversePath(AddressError),
    /// The address of RCPT.
    #[error("bad recipient address: {0}")]
    ForwardPath(AddressError),
}

fn alone(rest: &str, command: Command, usage: &'static str) -> Result<Command, CommandError> {
    if rest.is_empty() { Ok(command) } else { Err(CommandError::Usage(usage)) }
}

/// Any printable argument will do, none as well: uninterruptible power supplies send a bare HELO.
fn hello(rest: &str) -> Result<String, CommandError> {
    if rest.len() > HELLO_LENGTH_MAX {
        return Err(CommandError::Usage("EHLO followed by a name of at most 255 characters"));
    }
    Ok(rest.to_owned())
}

fn mail(rest: &str) -> Result<Command, CommandError> {
    let (path, parameters) = path(rest, "FROM").ok_or(CommandError::Usage("MAIL FROM:<address>"))?;
    let reverse_path = match path {
        Path::Bracketed("") => None,
        Path::Bare("") => return Err(CommandError::Usage("MAIL FROM:<address>")),
        Path::Bracketed(text) | Path::Bare(text) => Some(text.parse().map_err(CommandError::ReversePath)?),
    };
    Ok(Command::Mail { reverse_path, parameters: Parameters::of_mail(parameters)? })
}

fn recipient(rest: &str) -> Result<Command, CommandError> {
    let (path, parameters) = path(rest, "TO").ok_or(CommandError::Usage("RCPT TO:<address>"))?;
    let (Path::Bracketed(text) | Path::Bare(text)) = path;
    let forward_path = text.parse().map_err(CommandError::ForwardPath)?;
    Ok(Command::Recipient { forward_path, parameters: Parameters::of_recipient(parameters) })
}

/// The text of an address, and whether it stood in angle brackets: `<>` means something, nothing does not.
enum Path<'a> {
    Bracketed(&'a str),
    Bare(&'a str),
}

/// Splits `KEYWORD:<address> parameters`. Blanks around the colon, a display name before the brackets
/// and an address without brackets are accepted.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(Path<'a>, &'a str)> {
    let (word, after) = rest.split_once(':')?;
    if !word.trim_ascii().eq_ignore_ascii_case(keyword) {
        return None;
    }
    let after = after.trim_ascii();
    let bracket = unquoted(after, |before, character| {
        // A bracket that opens a path begins a word: `a@b AUTH=<>` has none.
        character == '<' && before.is_none_or(|before| before == ' ' || before == '\t')
    });
    let Some(bracket) = bracket else {
        let end = unquoted(after, |_, character| character == ' ' || character == '\t');
        let (address, parameters) = after.split_at(end.unwrap_or(after.len()));
        return Some((Path::Bare(address), parameters));
    };
    let inside = &after[bracket + 1..];
    let end = unquoted(inside, |_, character| character == '>')?;
    let parameters = &inside[end + 1..];
    Some((Path::Bracketed(without_route(inside[..end].trim_ascii())), parameters))
}

/// The position of the first character outside quotes for which `found` holds, given the one before.
fn unquoted(text: &str, found: impl Fn(Option<char>, char) -> bool) -> Option<usize> {
    let (mut quoted, mut escaped, mut before) = (false, false, None);
    for (position, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted && found(before, character) => return Some(position),
            _ => {}
        }
        before = Some(character);
    }
    None
}

/// Drops a source route such as `@one,@two:` (RFC 5321 appendix C).
fn without_route(path: &str) -> &str {
    match path.split_once(':') {
        Some((route, address)) if route.starts_with('@') => address.trim_ascii(),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail_from(text: &str) -> Command {
        let reverse_path = (!text.is_empty()).then(|| text.parse().unwrap());
        Command::Mail { reverse_path, parameters: Parameters::default() }
    }

    fn check(line: &str, expected: Result<Command, CommandError>) {
        assert_eq!(Command::parse(line.as_bytes()), expected, "{line:?}");
    }

    #[test]
    fn every_form_of_mail_that_real_clients_send_is_understood() {
        for (line, address) in [
            ("MAIL FROM:<a@b.example>", "a@b.example"),
            ("mail from:<a@b.example>", "a@b.example"),
            ("  Mail \t From : <a@b.example>  ", "a@b.example"),
            // A blank after the colon: many scripts and appliances.
            ("MAIL FROM: <a@b.example>", "a@b.example"),
            // No brackets, or a display name before them: old libraries.
            ("MAIL FROM:a@b.example", "a@b.example"),
            ("MAIL FROM: a@b.example", "a@b.example"),
            ("MAIL FROM:Joe Doe <a@b.example>", "a@b.example"),
            ("MAIL FROM:\"Doe <Joe>\" <a@b.example>", "a@b.example"),
            // Source routes are dropped.
            ("MAIL FROM:<@one.example,@two.example:a@b.example>", "a@b.example"),
            // No domain.
            ("MAIL FROM:<root>", "root"),
            // The null reverse path.
            ("MAIL FROM:<>", ""),
            ("MAIL FROM:< >", ""),
            // Quoted local parts keep blanks and brackets; a literal keeps its colons.
            ("MAIL FROM:<\"a >b\"@c.example>", "\"a >b\"@c.example"),
            ("MAIL FROM:<a@[IPv6:::1]>", "a@[IPv6:::1]"),
        ] {
            check(line, Ok(mail_from(address)));
        }
    }

    #[test]
    fn parameters_follow_the_path_with_and_without_brackets() {
        for line in ["MAIL FROM:<a@b> SIZE=5", "MAIL FROM:a@b SIZE=5", "MAIL FROM:<a@b>SIZE=5"] {
            let parameters = Parameters { declared_bytes: 5, ..Parameters::default() };
            check(line, Ok(Command::Mail { reverse_path: "a@b".parse().ok(), parameters }));
        }
        let parameters = Parameters { has_unknown: true, ..Parameters::default() };
        check("MAIL FROM:a@b AUTH=<>", Ok(Command::Mail { reverse_path: "a@b".parse().ok(), parameters }));
    }

    #[test]
    fn what_cannot_be_understood_says_why() {
        for (line, error) in [
            ("", CommandError::Empty),
            (" ", CommandError::Empty),
            ("NOOP\0", CommandError::Character),
            ("MAIL FROM:<a@b>\rRCPT TO:<c@d>", CommandError::Character),
            ("EHLO hôte", CommandError::EightBit),
            ("MAIL", CommandError::Usage("MAIL FROM:<address>")),
            ("MAIL FROM:", CommandError::Usage("MAIL FROM:<address>")),
            ("MAIL FROM:<a@b", CommandError::Usage("MAIL FROM:<address>")),
            ("MAIL TO:<a@b>", CommandError::Usage("MAIL FROM:<address>")),
            ("MAIL FROM:<a b@c>", CommandError::ReversePath(AddressError::Character)),
            ("RCPT FROM:<a@b>", CommandError::Usage("RCPT TO:<address>")),
            ("RCPT TO:<>", CommandError::ForwardPath(AddressError::Empty)),
            ("RCPT TO:", CommandError::ForwardPath(AddressError::Empty)),
            ("RCPT TO:<a@b@c>", CommandError::ForwardPath(AddressError::Character)),
            ("DATA now", CommandError::Usage("DATA")),
        ] {
            check(line, Err(error));
        }
        assert_eq!(Command::parse(b"MAIL FROM:<\xfc@b>"), Err(CommandError::EightBit));
        check(&format!("HELO {}", "x".repeat(256)), hello(&"x".repeat(256)).map(Command::Hello));
    }

    #[test]
    fn verbs_are_known_in_any_case() {
        for (line, command) in [
            ("ehlo [192.0.2.1]", Command::ExtendedHello("[192.0.2.1]".into())),
            ("HELO", Command::Hello(String::new())),
            ("HELO my_host.", Command::Hello("my_host.".into())),
            ("Data ", Command::Data),
            ("rset", Command::Reset),
            ("NoOp whatever", Command::Noop),
            ("VRFY root", Command::Verify),
            ("EXPN list", Command::NotImplemented),
            ("STARTTLS", Command::NotImplemented),
            ("AUTH LOGIN", Command::NotImplemented),
            ("help mail", Command::Help),
            ("QUIT", Command::Quit),
            ("XYZZY", Command::Unknown),
            ("GET / HTTP/1.1", Command::Http),
        ] {
            check(line, Ok(command));
        }
    }
}
