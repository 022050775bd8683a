//! Command lines as Gmail reads them (RFC 5321 section 4.1).
//!
//! Rule: strict where a relay could be wrong without noticing, such as a space after the colon or an
//! unknown parameter. Must not know in which order commands may come.

use super::script::Stage;
use pillarbox_smtp::address::Address;

/// One command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Ehlo(&'a str),
    Helo(&'a str),
    StartTls,
    /// Mechanism and initial response, if any.
    Auth(&'a str, Option<&'a str>),
    /// What follows the verb.
    Mail(&'a str),
    /// What follows the verb.
    Rcpt(&'a str),
    Data,
    /// What follows the verb (RFC 3030).
    Bdat(&'a str),
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
    /// A verb of RFC 5321 that Gmail does not offer.
    Unimplemented,
    Unrecognized,
}

impl<'a> Command<'a> {
    /// Reads a line without its line end.
    pub(super) fn parse(line: &'a str) -> Self {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_ascii_end();
        let is = |name: &str| verb.trim_ascii_end().eq_ignore_ascii_case(name);
        match () {
            () if is("MAIL") => Self::Mail(rest),
            () if is("RCPT") => Self::Rcpt(rest),
            () if is("DATA") => Self::Data,
            () if is("EHLO") => Self::Ehlo(rest.trim_ascii()),
            () if is("HELO") => Self::Helo(rest.trim_ascii()),
            () if is("STARTTLS") => Self::StartTls,
            () if is("AUTH") => {
                let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
                Self::Auth(mechanism, Some(initial).filter(|initial| !initial.is_empty()))
            }
            () if is("RSET") => Self::Rset,
            () if is("NOOP") => Self::Noop,
            () if is("QUIT") => Self::Quit,
            () if is("VRFY") => Self::Vrfy,
            () if is("HELP") => Self::Help,
            () if is("BDAT") => Self::Bdat(rest),
            () if is("EXPN") || is("ETRN") || is("TURN") => Self::Unimplemented,
            () => Self::Unrecognized,
        }
    }

    /// The stage that the command reaches. AUTH reaches its stage only with the credentials.
    pub(super) const fn stage(&self) -> Stage {
        match self {
            Self::Ehlo(_) | Self::Helo(_) => Stage::Ehlo,
            Self::StartTls => Stage::StartTls,
            Self::Mail(_) => Stage::Mail,
            Self::Rcpt(_) => Stage::Rcpt,
            Self::Data | Self::Bdat(_) => Stage::Data,
            Self::Rset => Stage::Rset,
            Self::Noop => Stage::Noop,
            Self::Quit => Stage::Quit,
            Self::Auth(..) | Self::Vrfy | Self::Help | Self::Unimplemented | Self::Unrecognized => {
                Stage::Other
            }
        }
    }
}

/// The argument of MAIL or RCPT.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path<'a> {
    /// What stood between the angle brackets.
    pub text: &'a str,
    /// What followed, such as `SIZE=1000`.
    pub parameters: Vec<&'a str>,
}

impl<'a> Path<'a> {
    /// Reads `FROM:<a@b> NAME=VALUE`, with `keyword` being `FROM:`. `None` is a syntax error.
    pub(super) fn parse(rest: &'a str, keyword: &str) -> Option<Self> {
        let (found, path) = rest.split_at_checked(keyword.len())?;
        if !found.eq_ignore_ascii_case(keyword) {
            return None;
        }
        let inside = path.strip_prefix('<')?;
        let end = closing_bracket(inside)?;
        let (text, after) = (&inside[..end], &inside[end + 1..]);
        if !after.is_empty() && !after.starts_with(' ') {
            return None;
        }
        Some(Self { text, parameters: after.split_ascii_whitespace().collect() })
    }

    /// The address, when it is one with a domain, and one that the transaction may carry.
    pub(super) fn address(&self, internationalized: bool) -> Option<Address> {
        let address: Address = self.text.parse().ok()?;
        let allowed = internationalized || !address.is_internationalized();
        (address.domain().is_some() && allowed).then_some(address)
    }
}

/// The argument of BDAT (RFC 3030 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkSize {
    /// Octets that follow the line.
    pub octets: u64,
    /// Whether the message ends with them.
    pub last: bool,
}

impl ChunkSize {
    /// `None` is a syntax error.
    pub(super) fn parse(rest: &str) -> Option<Self> {
        let (octets, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let last = rest.trim_ascii().eq_ignore_ascii_case("LAST");
        let known = last || rest.trim_ascii().is_empty();
        let digits = octets.bytes().all(|octet| octet.is_ascii_digit());
        (known && digits).then_some(Self { octets: octets.parse().ok()?, last })
    }
}

fn closing_bracket(inside: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    inside.bytes().position(|octet| {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return true,
            _ => {}
        }
        false
    })
}

/// The parameters of MAIL that Gmail knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MailParameters {
    /// `SIZE=`, in octets.
    pub size: u64,
    /// `SMTPUTF8`.
    pub internationalized: bool,
}

impl MailParameters {
    /// `None` when one of them is unknown or malformed.
    pub(super) fn parse(parameters: &[&str]) -> Option<Self> {
        let mut known = Self::default();
        for parameter in parameters {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name.to_ascii_uppercase().as_str() {
                "SIZE" => known.size = value.parse().ok()?,
                "BODY" if value.eq_ignore_ascii_case("7BIT") => {}
                "BODY" if value.eq_ignore_ascii_case("8BITMIME") => {}
                "SMTPUTF8" if value.is_empty() => known.internationalized = true,
                "AUTH" if !value.is_empty() => {}
                _ => return None,
            }
        }
        Some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_needs_its_brackets_and_nothing_before_them() {
        let path = |rest| Path::parse(rest, "FROM:").map(|path| path.text);
        assert_eq!(path("FROM:<a@b>"), Some("a@b"));
        assert_eq!(path("from:<> SIZE=1"), Some(""));
        assert_eq!(path("FROM:<\"a>\\\"\"@b>"), Some("\"a>\\\"\"@b"));
        for wrong in
            ["FROM: <a@b>", "FROM:a@b", "FROM:<a@b", "FROM:<a@b>SIZE=1", "TO:<a@b>", "FROM", ""]
        {
            assert_eq!(path(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_chunk_has_a_size_and_perhaps_the_end() {
        let parse = |rest| ChunkSize::parse(rest).map(|size| (size.octets, size.last));
        assert_eq!(parse("86"), Some((86, false)));
        assert_eq!(parse("0 last"), Some((0, true)));
        for wrong in ["", "+1", "-1", "x", "1 LATER", "99999999999999999999"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_the_parameters_that_gmail_advertises_are_known() {
        let parse = |text: &str| MailParameters::parse(&text.split(' ').collect::<Vec<_>>());
        assert_eq!(
            parse("size=7 BODY=8bitmime SMTPUTF8"),
            Some(MailParameters { size: 7, internationalized: true })
        );
        for wrong in ["RET=HDRS", "ENVID=x", "BODY=BINARYMIME", "SIZE=x", "SIZE", "SMTPUTF8=1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
