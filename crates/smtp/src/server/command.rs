//! The commands of a client: one line in, one [`Command`] out (RFC 5321 section 4.1).
//!
//! Rule: liberal in form, because old printers and scripts are (any case, extra blanks, missing
//! brackets, source routes), and yet nothing gets through that is no safe address.
//! Must not know which command is allowed when, or to whom.

use std::{
    borrow::Cow,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{auth_exchange::Response, error::CommandError, extension::Parameters, sender};
use crate::{
    address::{Address, AddressError},
    host_name::is_label,
    path::{self, Path, PathError},
    quirk::{Quirk, Quirks},
};

/// Characters of a HELO or EHLO argument; a domain has at most 255 (RFC 5321 section 4.5.3.1.2).
pub const HELLO_LENGTH_MAX: usize = 255;

/// One command, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// EHLO with its argument, which may be empty and is never used for trust.
    Ehlo(String),
    /// HELO likewise.
    Helo(String),
    /// MAIL.
    Mail {
        /// FROM; `None` is `<>`.
        reverse_path: Option<Address>,
        /// What the client said, when it is not an address: the reverse path is what could be saved of it.
        unusable: Option<Unusable>,
        /// What follows it.
        parameters: Parameters,
    },
    /// RCPT.
    Rcpt {
        /// TO.
        forward_path: Address,
        /// What follows it.
        parameters: Parameters,
    },
    /// DATA.
    Data,
    /// BDAT (RFC 3030): so many octets follow.
    Bdat {
        /// How many; a number beyond `u64` becomes its largest.
        size_bytes: u64,
        /// The message ends with them.
        last: bool,
    },
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954).
    Auth {
        /// The mechanism, which need not be one of ours.
        mechanism: String,
        /// The initial response.
        initial: Option<Response>,
    },
    /// RSET.
    Rset,
    /// NOOP, with or without an argument.
    Noop,
    /// VRFY.
    Vrfy,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
    /// A command of RFC 5321 or of an extension that we do not serve: EXPN, TURN, ETRN ...
    NotImplemented,
    /// A verb nobody knows.
    Unknown,
    /// The first line of an HTTP request: a browser or a scanner at the wrong door.
    Http,
}

/// A sender that is not an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What the client said.
    pub text: String,
    /// What is wrong with it, for clients that should know better.
    pub error: CommandError,
}

/// How MAIL is to be.
const MAIL_USAGE: CommandError = CommandError::Usage("MAIL FROM:<address>");

impl Command {
    /// Reads a line without its line end. What was unusual about it goes into `quirks`.
    ///
    /// # Errors
    /// What is wrong with the line, as the reply has to say it: an unknown command, wrong arguments, an octet that no
    /// command may have (RFC 5321 section 4.1.1).
    pub fn parse(line: &[u8], quirks: &mut Quirks) -> Result<Self, CommandError> {
        // TAB is the one control character that some clients use as a blank.
        if line.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t') {
            return Err(CommandError::Character);
        }
        if let Some((extended, name)) = hello_of(line) {
            let name = hello(&name, quirks)?;
            return Ok(if extended { Self::Ehlo(name) } else { Self::Helo(name) });
        }
        let text = text_of(line);
        let (line, is_utf8) = (text.trim_ascii(), matches!(text, Cow::Borrowed(_)));
        let (verb, rest) = line.split_at(line.find([' ', '\t']).unwrap_or(line.len()));
        let rest = rest.trim_ascii();
        let verb = verb.to_ascii_uppercase();
        // Only a path may be other than ASCII (RFC 6531 section 3.4).
        if !line.is_ascii() && !matches!(verb.as_str(), "MAIL" | "RCPT") {
            return Err(CommandError::EightBit);
        }
        match verb.as_str() {
            "" => Err(CommandError::Empty),
            "MAIL" => mail(rest, is_utf8, quirks),
            "RCPT" => recipient(rest, is_utf8, quirks),
            "DATA" => alone(rest, Self::Data, "DATA"),
            "BDAT" => chunk(rest),
            "STARTTLS" => alone(rest, Self::StartTls, "STARTTLS"),
            "AUTH" => authenticate(rest),
            "RSET" => alone(rest, Self::Rset, "RSET"),
            "QUIT" => alone(rest, Self::Quit, "QUIT"),
            "NOOP" => Ok(Self::Noop),
            "VRFY" => Ok(Self::Vrfy),
            "HELP" => Ok(Self::Help),
            "EXPN" | "ETRN" | "TURN" | "ATRN" | "BURL" | "SEND" | "SOML" | "SAML" => {
                Ok(Self::NotImplemented)
            }
            "GET" | "POST" | "PUT" | "HEAD" | "OPTIONS" | "CONNECT" => Ok(Self::Http),
            _ => Ok(Self::Unknown),
        }
    }
}

/// A line as text; one that is no UTF-8 is read as Latin-1, as the devices mean it that send one.
fn text_of(line: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(line) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(line.iter().copied().map(char::from).collect()),
    }
}

fn alone(rest: &str, command: Command, usage: &'static str) -> Result<Command, CommandError> {
    if rest.is_empty() { Ok(command) } else { Err(CommandError::Usage(usage)) }
}

/// The argument of EHLO (true) or HELO, whatever its octets are: a host that is called `BÜRO-PC` says so in
/// Latin-1 or UTF-8. What is not text becomes U+FFFD.
fn hello_of(line: &[u8]) -> Option<(bool, String)> {
    let line = line.trim_ascii();
    let end = line.iter().position(|octet| matches!(octet, b' ' | b'\t')).unwrap_or(line.len());
    let (verb, rest) = line.split_at(end);
    let extended = verb.eq_ignore_ascii_case(b"EHLO");
    let printable = |character: char| {
        if character.is_control() { char::REPLACEMENT_CHARACTER } else { character }
    };
    (extended || verb.eq_ignore_ascii_case(b"HELO")).then(|| {
        (extended, String::from_utf8_lossy(rest.trim_ascii()).chars().map(printable).collect())
    })
}

/// Any printable argument will do, none as well: uninterruptible power supplies send a bare HELO.
fn hello(rest: &str, quirks: &mut Quirks) -> Result<String, CommandError> {
    if rest.chars().count() > HELLO_LENGTH_MAX {
        return Err(CommandError::Usage("EHLO followed by a name of at most 255 characters"));
    }
    quirks.insert_if(rest.is_empty(), Quirk::EmptyHello);
    quirks.insert_if(!rest.is_empty() && !is_usual_name(rest), Quirk::OddHello);
    Ok(rest.to_owned())
}

/// A domain of at least two labels, or an address literal (RFC 5321 section 4.1.3).
fn is_usual_name(name: &str) -> bool {
    if let Some(literal) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return match literal.split_at_checked("IPv6:".len()) {
            Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => {
                address.parse::<Ipv6Addr>().is_ok()
            }
            _ => literal.parse::<Ipv4Addr>().is_ok(),
        };
    }
    name.contains('.') && name.split('.').all(is_label)
}

fn mail(rest: &str, is_utf8: bool, quirks: &mut Quirks) -> Result<Command, CommandError> {
    let text = path::behind_colon(rest, "FROM", quirks).ok_or(MAIL_USAGE)?;
    let mut noticed = Quirks::default();
    match sender(text, is_utf8, &mut noticed) {
        Ok((reverse_path, parameters)) => {
            quirks.extend(noticed);
            let unqualified = reverse_path.as_ref().is_some_and(|path| path.domain().is_none());
            quirks.insert_if(unqualified, Quirk::UnqualifiedSender);
            Ok(Command::Mail { reverse_path, unusable: None, parameters })
        }
        Err(error) => {
            let (said, parameters) = sender::unusable(text, error)?;
            let parameters = Parameters::of_mail(parameters)?;
            let reverse_path = sender::salvaged(said);
            let unusable = Some(Unusable { text: said.to_owned(), error });
            Ok(Command::Mail { reverse_path, unusable, parameters })
        }
    }
}

/// The sender of a client that writes it as it should, or nearly so.
fn sender(
    text: &str,
    is_utf8: bool,
    quirks: &mut Quirks,
) -> Result<(Option<Address>, Parameters), CommandError> {
    if sender::has_lost_its_line_end(text) {
        return Err(CommandError::BehindSender);
    }
    let (path, _, parameters) = path::split(text, quirks).map_err(|error| match error {
        PathError::Unclosed => MAIL_USAGE,
        PathError::Several => CommandError::BehindSender,
    })?;
    let reverse_path = match path {
        Path::Null => None,
        Path::Bare("") => return Err(MAIL_USAGE),
        Path::Bare(word) if is_lone_parameter(word) => return Err(MAIL_USAGE),
        Path::Bracketed(text) | Path::Bare(text) => {
            Some(address(text, quirks).map_err(CommandError::ReversePath)?)
        }
    };
    if !is_utf8 && reverse_path.as_ref().is_some_and(Address::is_internationalized) {
        return Err(CommandError::EightBit);
    }
    match path {
        Path::Bare(_) if has_words_without_value(parameters) => {
            return Err(CommandError::ReversePath(AddressError::Character));
        }
        Path::Bracketed(_) | Path::Null if has_a_word_at_the_bracket(parameters) => {
            return Err(CommandError::BehindSender);
        }
        _ => {}
    }
    Ok((reverse_path, Parameters::of_mail(parameters)?))
}

fn recipient(rest: &str, is_utf8: bool, quirks: &mut Quirks) -> Result<Command, CommandError> {
    const USAGE: CommandError = CommandError::Usage("RCPT TO:<address>");
    let text = path::behind_colon(rest, "TO", quirks).ok_or(USAGE)?;
    let (path, name, parameters) = path::split(text, quirks).map_err(|error| match error {
        PathError::Unclosed => USAGE,
        PathError::Several => CommandError::BehindRecipient,
    })?;
    let text = match path {
        Path::Null => "",
        Path::Bare(word) if is_lone_parameter(word) => "",
        Path::Bracketed(text) | Path::Bare(text) => text,
    };
    let forward_path = address(text, quirks).map_err(CommandError::ForwardPath)?;
    if !is_utf8 && forward_path.is_internationalized() {
        return Err(CommandError::EightBit);
    }
    let has_words_behind = match path {
        Path::Bare(_) => has_words_without_value(parameters),
        Path::Bracketed(_) | Path::Null => has_a_word_at_the_bracket(parameters),
    };
    if has_words_behind || path::names_another(name, text) {
        return Err(CommandError::BehindRecipient);
    }
    Ok(Command::Rcpt { forward_path, parameters: Parameters::of_recipient(parameters)? })
}

fn address(text: &str, quirks: &mut Quirks) -> Result<Address, AddressError> {
    let address = Address::rooted(text)?;
    quirks.insert_if(address.as_str().len() < text.len(), Quirk::FinalDot);
    Ok(address)
}

/// Whether there is no address at all, but the first parameter: `MAIL FROM: SIZE=5`.
fn is_lone_parameter(word: &str) -> bool {
    path::is_parameter(word) && !word.contains('@')
}

/// Whether a word stands at the bracket itself, which no parameter without a value does: `<a@b>root`.
fn has_a_word_at_the_bracket(parameters: &str) -> bool {
    let first = parameters.split(' ').next().unwrap_or_default();
    !first.is_empty() && !path::is_parameter(first)
}

/// Whether words are behind an address without brackets that need not be parameters: `a@b root`, `My Printer`.
fn has_words_without_value(parameters: &str) -> bool {
    parameters.split_ascii_whitespace().any(|word| !path::is_parameter(word))
}

/// What is wrong with a BDAT that says no size.
pub const CHUNK_USAGE: CommandError = CommandError::Usage("BDAT size, or BDAT size LAST");

fn chunk(rest: &str) -> Result<Command, CommandError> {
    let mut words = rest.split_ascii_whitespace();
    let size = words.next().ok_or(CHUNK_USAGE)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(CHUNK_USAGE),
    };
    if words.next().is_some() || !size.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(CHUNK_USAGE);
    }
    Ok(Command::Bdat { size_bytes: size.parse().unwrap_or(u64::MAX), last })
}

fn authenticate(rest: &str) -> Result<Command, CommandError> {
    const USAGE: CommandError = CommandError::Usage("AUTH mechanism, or AUTH mechanism response");
    let mut words = rest.split_ascii_whitespace();
    let mechanism = words.next().ok_or(USAGE)?.to_owned();
    let initial = words.next().map(|response| Response::new(response.as_bytes().to_vec()));
    if words.next().is_some() {
        return Err(USAGE);
    }
    Ok(Command::Auth { mechanism, initial })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail_from(text: &str) -> Command {
        let reverse_path = (!text.is_empty()).then(|| text.parse().unwrap());
        Command::Mail { reverse_path, unusable: None, parameters: Parameters::default() }
    }

    fn check(line: &str, expected: Result<Command, CommandError>) {
        assert_eq!(Command::parse(line.as_bytes(), &mut Quirks::default()), expected, "{line:?}");
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
            // Comments, which RFC 822 allowed.
            ("MAIL FROM:<a@b.example (Joe)>", "a@b.example"),
            ("MAIL FROM:a@b.example(Joe)", "a@b.example"),
            ("MAIL FROM:<(Joe) a@b.example>", "a@b.example"),
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
            check(
                line,
                Ok(Command::Mail { reverse_path: "a@b".parse().ok(), unusable: None, parameters }),
            );
        }
        let parameters = Parameters { has_unknown: true, ..Parameters::default() };
        check(
            "MAIL FROM:a@b X=<>",
            Ok(Command::Mail { reverse_path: "a@b".parse().ok(), unusable: None, parameters }),
        );
    }

    #[test]
    fn what_cannot_be_understood_says_why() {
        for (line, error) in [
            ("", CommandError::Empty),
            (" ", CommandError::Empty),
            ("NOOP\0", CommandError::Character),
            ("MAIL FROM:<a@b>\rRCPT TO:<c@d>", CommandError::Character),
            ("NOOP hôte", CommandError::EightBit),
            ("MAIL", CommandError::Usage("MAIL FROM:<address>")),
            ("MAIL FROM:<a@b>,<c@d>", CommandError::BehindSender),
            ("MAIL FROM:a@b c@d", CommandError::BehindSender),
            ("MAIL TO:<a@b>", CommandError::Usage("MAIL FROM:<address>")),
            ("RCPT FROM:<a@b>", CommandError::Usage("RCPT TO:<address>")),
            ("RCPT TO:<>", CommandError::ForwardPath(AddressError::Empty)),
            ("RCPT TO:", CommandError::ForwardPath(AddressError::Empty)),
            ("RCPT TO:<a@b@c>", CommandError::ForwardPath(AddressError::Character)),
            ("RCPT TO:<a@b>,<c@d>", CommandError::BehindRecipient),
            ("RCPT TO:c@d <a@b>", CommandError::BehindRecipient),
            ("RCPT TO:a@b c", CommandError::BehindRecipient),
            ("RCPT TO:NOTIFY=NEVER", CommandError::ForwardPath(AddressError::Empty)),
            ("DATA now", CommandError::Usage("DATA")),
        ] {
            check(line, Err(error));
        }
        assert_eq!(
            Command::parse(b"RCPT TO:<\xfc@b>", &mut Quirks::default()),
            Err(CommandError::EightBit)
        );
        for (line, name) in [
            (b"EHLO B\xdcRO-PC".as_slice(), "B\u{fffd}RO-PC"),
            ("EHLO BÜRO-PC".as_bytes(), "BÜRO-PC"),
            ("EHLO a\u{85}b".as_bytes(), "a\u{fffd}b"),
        ] {
            let mut quirks = Quirks::default();
            assert_eq!(Command::parse(line, &mut quirks), Ok(Command::Ehlo(name.into())));
            assert!(quirks.contains(Quirk::OddHello));
        }
        assert!(matches!(
            Command::parse(format!("HELO {}", "x".repeat(256)).as_bytes(), &mut Quirks::default()),
            Err(CommandError::Usage(_))
        ));
    }

    #[test]
    fn a_sender_that_is_no_address_says_what_is_wrong_and_what_could_be_saved() {
        let usage = CommandError::Usage("MAIL FROM:<address>");
        let empty = CommandError::ReversePath(AddressError::Empty);
        for (line, saved, error) in [
            (b"MAIL FROM:".as_slice(), "unknown-sender", usage),
            (b"MAIL FROM:<a@b SIZE=5", "a@b", usage),
            // Only nothing is the null sender: not a route, not a comment.
            (b"MAIL FROM:<@a:>", "unknown-sender", empty),
            (b"MAIL FROM:<(x)>", "unknown-sender", empty),
            (b"MAIL FROM:<@a:(x)>", "unknown-sender", empty),
            (b"MAIL FROM:<a b@c>", "b@c", CommandError::ReversePath(AddressError::Character)),
            (b"MAIL FROM:<\xfc@b>", "unknown-sender", CommandError::EightBit),
        ] {
            let parsed = Command::parse(line, &mut Quirks::default());
            let Ok(Command::Mail { reverse_path, unusable: Some(unusable), parameters }) = parsed
            else {
                panic!("{} became {parsed:?}", line.escape_ascii());
            };
            assert_eq!(reverse_path.as_ref().map(Address::as_str), Some(saved));
            assert_eq!(unusable.error, error, "{}", line.escape_ascii());
            assert_eq!(parameters.declared_bytes, 5 * u64::from(line.ends_with(b"SIZE=5")));
        }
    }

    #[test]
    fn verbs_are_known_in_any_case() {
        for (line, command) in [
            ("ehlo [192.0.2.1]", Command::Ehlo("[192.0.2.1]".into())),
            ("HELO", Command::Helo(String::new())),
            ("HELO my_host.", Command::Helo("my_host.".into())),
            ("Data ", Command::Data),
            ("rset", Command::Rset),
            ("NoOp whatever", Command::Noop),
            ("VRFY root", Command::Vrfy),
            ("EXPN list", Command::NotImplemented),
            ("StartTls ", Command::StartTls),
            ("bdat 5", Command::Bdat { size_bytes: 5, last: false }),
            ("BDAT  0  last", Command::Bdat { size_bytes: 0, last: true }),
            (
                "BDAT 99999999999999999999999 LAST",
                Command::Bdat { size_bytes: u64::MAX, last: true },
            ),
            ("auth login", Command::Auth { mechanism: "login".into(), initial: None }),
            (
                "AUTH PLAIN =",
                Command::Auth {
                    mechanism: "PLAIN".into(),
                    initial: Some(Response::new(b"=".to_vec())),
                },
            ),
            ("help mail", Command::Help),
            ("QUIT", Command::Quit),
            ("XYZZY", Command::Unknown),
            ("GET / HTTP/1.1", Command::Http),
        ] {
            check(line, Ok(command));
        }
    }

    #[test]
    fn what_was_odd_about_a_command_is_told() {
        for (line, expected) in [
            ("MAIL FROM:<a@b.example>", vec![]),
            ("MAIL FROM:<>", vec![]),
            ("RCPT TO:<root>", vec![]),
            ("EHLO client.example", vec![]),
            ("EHLO [192.0.2.1]", vec![]),
            ("EHLO [IPV6:2001:db8::1]", vec![]),
            ("MAIL FROM: <a@b.example>", vec![Quirk::SpaceAfterColon]),
            ("MAIL FROM : <a@b.example>", vec![Quirk::SpaceAfterColon]),
            ("RCPT TO:a@b.example", vec![Quirk::MissingBrackets]),
            ("MAIL FROM:Joe <a@b.example>", vec![Quirk::DisplayName]),
            ("MAIL FROM:<a@b.example(Joe)>", vec![Quirk::DisplayName]),
            ("MAIL FROM:<a@b.example.>", vec![Quirk::FinalDot]),
            ("RCPT TO:<a@b.example.>", vec![Quirk::FinalDot]),
            ("RCPT TO:<@one.example:a@b.example>", vec![Quirk::SourceRoute]),
            ("MAIL FROM:<root>", vec![Quirk::UnqualifiedSender]),
            ("HELO", vec![Quirk::EmptyHello]),
            ("EHLO localhost", vec![Quirk::OddHello]),
            ("EHLO my_printer.lan", vec![Quirk::OddHello]),
            ("EHLO printer.lan.", vec![Quirk::OddHello]),
            ("EHLO [printer]", vec![Quirk::OddHello]),
            ("EHLO -a.lan", vec![Quirk::OddHello]),
            ("EHLO büro-pc.lan", vec![Quirk::OddHello]),
        ] {
            let mut quirks = Quirks::default();
            assert!(Command::parse(line.as_bytes(), &mut quirks).is_ok(), "{line}");
            assert_eq!(quirks.iter().collect::<Vec<_>>(), expected, "{line}");
        }
    }

    #[test]
    fn a_chunk_without_a_clear_size_and_a_login_with_too_many_words_are_refused() {
        for line in [
            "BDAT",
            "BDAT x",
            "BDAT -1",
            "BDAT +1",
            "BDAT 1 FIRST",
            "BDAT 1 LAST LAST",
            "AUTH",
            "AUTH A B C",
        ] {
            let parsed = Command::parse(line.as_bytes(), &mut Quirks::default());
            assert!(matches!(parsed, Err(CommandError::Usage(_))), "{line}: {parsed:?}");
        }
    }
}
