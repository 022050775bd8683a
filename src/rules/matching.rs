//! The conditions of a rule, and what each asks of a message.
//!
//! Rule: a list of values means any of them; every condition of a rule must fit. Must not know what follows from a rule.

use std::fmt;

use ipnet::IpNet;

use super::{facts::Facts, pattern::Pattern};
use crate::{message::identity::SenderPattern, smtp::address::Address, text};

/// One condition; the cheap ones stand first and are tried first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Matcher {
    /// The client's address is in one of them.
    Network(Vec<IpNet>),
    /// This name has logged in.
    Login(Vec<String>),
    /// A program of this user of the host handed the message over: a login name or a number.
    User(Vec<String>),
    /// The message is as long.
    Size(Vec<Size>),
    /// It came at this time of the day.
    Hour(Vec<Hours>),
    /// The reverse path.
    Sender(Vec<Sender>),
    /// One of the forward paths, as they are after aliases.
    Recipient(Vec<SenderPattern>),
    /// A field of the header.
    Header(Vec<HeaderTest>),
    /// The subject, decoded.
    Subject(Vec<Words>),
}

/// Which reverse path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sender {
    /// The null one.
    Null,
    /// One of these.
    Of(SenderPattern),
}

/// A text that has these words in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Words {
    /// As they stand, in any case.
    Plain {
        /// For people.
        written: String,
        /// In lower case.
        wanted: String,
    },
    /// What the pattern fits.
    Pattern(Pattern),
}

/// What is asked of the header.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HeaderTest {
    /// What mailing lists write.
    List,
    /// What is sent to many.
    Bulk,
    /// What no person wrote.
    Automatic,
    /// A field of this name (in lower case), with these words when there are any.
    Field(String, Option<Words>),
}

/// A limit for the length of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Size {
    /// More octets.
    Above(u64),
    /// Fewer octets.
    Below(u64),
}

/// Whole hours of the local day: from the first up to the second, over midnight when that is not later.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hours {
    /// When they begin: 0 to 23.
    pub(crate) from: u8,
    /// When they are over: 1 to 24.
    pub(crate) to: u8,
}

impl Matcher {
    /// Its name in relay.toml.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Network(_) => "network",
            Self::Login(_) => "login",
            Self::User(_) => "user",
            Self::Size(_) => "size",
            Self::Hour(_) => "hour",
            Self::Sender(_) => "sender",
            Self::Recipient(_) => "recipient",
            Self::Header(_) => "header",
            Self::Subject(_) => "subject",
        }
    }

    pub(super) fn fits(&self, facts: &Facts<'_>, local_domains: &[String]) -> bool {
        match self {
            Self::Network(any) => any.iter().any(|network| network.contains(&facts.client)),
            Self::Login(any) => {
                facts.login.is_some_and(|login| any.iter().any(|known| known == login))
            }
            Self::User(any) => facts.user.is_some_and(|user| {
                any.iter()
                    .any(|known| user.name.as_ref() == Some(known) || known.parse() == Ok(user.uid))
            }),
            Self::Size(any) => any.iter().any(|size| size.holds(facts.size_bytes)),
            Self::Hour(any) => any.iter().any(|hours| hours.hold(facts.hour)),
            Self::Sender(any) => any.iter().any(|sender| match (sender, facts.reverse_path) {
                (Sender::Null, None) => true,
                (Sender::Of(pattern), Some(address)) => is_of(address, pattern, local_domains),
                (Sender::Null, Some(_)) | (Sender::Of(_), None) => false,
            }),
            Self::Recipient(any) => {
                let mut forward_paths = facts.forward_paths.iter();
                forward_paths
                    .any(|address| any.iter().any(|pattern| is_of(address, pattern, local_domains)))
            }
            Self::Header(any) => any.iter().any(|test| test.fits(facts)),
            Self::Subject(any) => {
                let subject = facts.excerpt.values(SUBJECT).next().unwrap_or_default();
                any.iter().any(|words| words.are_in(subject))
            }
        }
    }

    /// Whether it fits a message of whose header only the subject is known, or only its beginning; `None` where that leaves
    /// it open.
    pub(super) fn is_known_to_fit(
        &self,
        facts: &Facts<'_>,
        has_whole_subject: bool,
        local_domains: &[String],
    ) -> Option<bool> {
        let (fits, is_all) = match self {
            Self::Header(any) => {
                let is_kept = |test: &HeaderTest| test.fields().iter().all(|one| *one == SUBJECT);
                let mut known = any.iter().filter(|test| is_kept(test));
                (known.any(|test| test.fits(facts)), any.iter().all(is_kept))
            }
            other => (other.fits(facts, local_domains), true),
        };
        let looks_at_subject = self.fields().contains(&SUBJECT);
        let is_open = !is_all || (looks_at_subject && !has_whole_subject);
        (fits || !is_open).then_some(fits)
    }

    /// The names of the fields that it looks at.
    pub(super) fn fields(&self) -> Vec<&str> {
        match self {
            Self::Subject(_) => vec![SUBJECT],
            Self::Header(any) => any.iter().flat_map(HeaderTest::fields).collect(),
            _ => Vec::new(),
        }
    }

    /// How many patterns it has.
    pub(crate) fn patterns(&self) -> usize {
        let is_pattern = |words: &&Words| matches!(words, Words::Pattern(_));
        match self {
            Self::Subject(any) => any.iter().filter(is_pattern).count(),
            Self::Header(any) => {
                let words = any.iter().filter_map(|test| match test {
                    HeaderTest::Field(_, words) => words.as_ref(),
                    _ => None,
                });
                words.filter(is_pattern).count()
            }
            _ => 0,
        }
    }

    /// Its values as they could be written, each alone.
    pub(super) fn values(&self) -> Vec<String> {
        fn all<T: fmt::Display>(values: &[T]) -> Vec<String> {
            values.iter().map(ToString::to_string).collect()
        }
        match self {
            Self::Network(any) => all(any),
            Self::Login(any) | Self::User(any) => any.clone(),
            Self::Size(any) => all(any),
            Self::Hour(any) => all(any),
            Self::Sender(any) => all(any),
            Self::Recipient(any) => any.iter().map(shown).collect(),
            Self::Header(any) => all(any),
            Self::Subject(any) => all(any),
        }
    }
}

/// `sender = "@nas.example.org"`, as in relay.toml.
impl fmt::Display for Matcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> =
            self.values().iter().map(|value| format!("\"{value}\"")).collect();
        match &values[..] {
            [one] => write!(formatter, "{} = {one}", self.name()),
            several => write!(formatter, "{} = [{}]", self.name(), several.join(", ")),
        }
    }
}

const SUBJECT: &str = "subject";
const PRECEDENCE: &str = "precedence";
const AUTO_SUBMITTED: &str = "auto-submitted";
/// Fields that only mailing lists and newsletters have (RFC 2369, RFC 2919).
const OF_LISTS: [&str; 3] = ["list-id", "list-post", "list-unsubscribe"];

impl HeaderTest {
    fn fits(&self, facts: &Facts<'_>) -> bool {
        let first = |name| facts.excerpt.values(name).next();
        let precedence =
            |words: &[&str]| first(PRECEDENCE).is_some_and(|value| is_one_of(value, words));
        match self {
            Self::List => {
                OF_LISTS.iter().any(|name| first(*name).is_some()) || precedence(&["list"])
            }
            Self::Bulk => precedence(&["bulk", "junk"]),
            // RFC 3834 section 5: "no", or what a program did.
            Self::Automatic => first(AUTO_SUBMITTED).is_some_and(|value| {
                let word = value.split(';').next().unwrap_or_default();
                !is_one_of(word, &["no", ""])
            }),
            Self::Field(name, None) => first(name).is_some(),
            Self::Field(name, Some(words)) => {
                facts.excerpt.values(name).any(|value| words.are_in(value))
            }
        }
    }

    fn fields(&self) -> Vec<&str> {
        match self {
            Self::List => [&OF_LISTS[..], &[PRECEDENCE]].concat(),
            Self::Bulk => vec![PRECEDENCE],
            Self::Automatic => vec![AUTO_SUBMITTED],
            Self::Field(name, _) => vec![name],
        }
    }
}

fn is_one_of(value: &str, words: &[&str]) -> bool {
    words.iter().any(|word| value.trim().eq_ignore_ascii_case(word))
}

impl Words {
    /// Words without a pattern.
    pub(crate) fn plain(written: &str) -> Self {
        Self::Plain { written: written.to_owned(), wanted: written.to_lowercase() }
    }

    fn are_in(&self, value: &str) -> bool {
        match self {
            Self::Plain { wanted, .. } => text::has_in_any_case(value, wanted),
            Self::Pattern(pattern) => pattern.fits(value),
        }
    }
}

impl Size {
    fn holds(self, octets: u64) -> bool {
        match self {
            Self::Above(limit) => octets > limit,
            Self::Below(limit) => octets < limit,
        }
    }
}

impl Hours {
    fn hold(self, hour: u8) -> bool {
        match self.from < self.to {
            true => (self.from..self.to).contains(&hour),
            false => hour >= self.from || hour < self.to,
        }
    }
}

/// Whether an address is one of these. A bare name is that of nobody elsewhere.
fn is_of(address: &Address, pattern: &SenderPattern, local_domains: &[String]) -> bool {
    match pattern {
        SenderPattern::Address(known) => known.as_str().eq_ignore_ascii_case(address.as_str()),
        SenderPattern::Domain(known) => {
            address.domain().is_some_and(|domain| domain.eq_ignore_ascii_case(known))
        }
        SenderPattern::Name(known) => {
            let is_local =
                |domain: &str| local_domains.iter().any(|local| local.eq_ignore_ascii_case(domain));
            address.local_part().eq_ignore_ascii_case(known)
                && address.domain().is_none_or(is_local)
        }
    }
}

fn shown(pattern: &SenderPattern) -> String {
    match pattern {
        SenderPattern::Address(address) => address.to_string(),
        SenderPattern::Domain(domain) => format!("@{domain}"),
        SenderPattern::Name(name) => name.clone(),
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("<>"),
            Self::Of(pattern) => formatter.write_str(&shown(pattern)),
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain { written, .. } => formatter.write_str(written),
            Self::Pattern(pattern) => pattern.fmt(formatter),
        }
    }
}

impl fmt::Display for HeaderTest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List => formatter.write_str("list"),
            Self::Bulk => formatter.write_str("bulk"),
            Self::Automatic => formatter.write_str("automatic"),
            Self::Field(name, None) => write!(formatter, "{name}:"),
            Self::Field(name, Some(words)) => write!(formatter, "{name}: {words}"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(octets) => write!(formatter, ">{octets}"),
            Self::Below(octets) => write!(formatter, "<{octets}"),
        }
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.from, self.to)
    }
}
