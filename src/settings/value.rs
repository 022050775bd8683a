//! The values that relay.toml and the environment may hold: durations, sizes, addresses, words, lists of them.
//!
//! Rule: a text that is no such value is refused by serde itself, so that the error has the line and
//! the caret, and never repeats a password. Each word is here once, and the refusal of another one names
//! them all. Must not know which key holds which value.

use std::{
    fmt,
    marker::PhantomData,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use serde::{
    Deserialize, Deserializer,
    de::{self, Error as _, SeqAccess, Visitor, value},
    forward_to_deserialize_any,
};
use url::Url;

use super::shown::{self, Shown, Value, without_credentials};
use crate::{
    delivery::{IpFamily, Uncertain, oauth::Endpoint},
    message::{
        envelope::Lane,
        identity::{FromPolicy, SenderPattern},
    },
    secret::Secret,
    smtp::{address::Address, server::Authentication},
    telemetry::{Format, LEVELS, Output},
    text,
};

/// A value written as text.
pub(super) trait Text: Sized {
    /// What is expected, for the error about a value of another type.
    fn expected() -> String;

    /// Reads the text, or says what is wrong with it and what to write instead.
    fn read(text: &str) -> Result<Self, String>;
}

/// A choice between words, each of which is here once.
pub(super) trait Words: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

impl<T: Words> Text for T {
    fn expected() -> String {
        let words: Vec<String> = T::WORDS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        match words.as_slice() {
            [others @ .., last] if !others.is_empty() => {
                format!("{} or {last}", others.join(", "))
            }
            words => words.concat(),
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        choose(text, T::WORDS)
    }
}

impl<T: Words> Value for T {
    fn shown(&self) -> Shown {
        let word = T::WORDS.iter().find(|(_, value)| value == self);
        word.map_or(Shown::Nothing, |(word, _)| Shown::Text((*word).to_owned()))
    }
}

/// A section of relay.toml, one line a key: its name, the type of its value, its default and its reader. serde fills it
/// over its defaults, and refuses a key that is not here.
macro_rules! section {
    (
        $(#[$about:meta])*
        $seen:vis struct $name:ident {
            $($(#[$of_key:meta])* $key_seen:vis $key:ident: $type:ty = $default:expr, $reader:literal;)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        $seen struct $name {
            $($(#[$of_key])* #[serde(deserialize_with = $reader)] $key_seen $key: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl $crate::settings::value::Keys for $name {
            fn changed(&self, other: &Self) -> Vec<&'static str> {
                let keys = [$((stringify!($key), self.$key != other.$key),)*];
                keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
            }

            fn keep(&mut self, key: &str, other: &Self) {
                $(if key == stringify!($key) {
                    self.$key = other.$key.clone();
                })*
            }

            fn shown(&self) -> $crate::settings::shown::Keys {
                let names = $crate::settings::value::field_names::<Self>().iter().copied();
                names.zip([$($crate::settings::shown::Value::shown(&self.$key),)*]).collect()
            }
        }

        impl $crate::settings::shown::Value for $name {
            fn shown(&self) -> $crate::settings::shown::Shown {
                let keys = $crate::settings::value::Keys::shown(self);
                $crate::settings::shown::Shown::Sections(vec![keys])
            }
        }
    };
}
pub(super) use section;

/// A section by its keys.
pub(super) trait Keys {
    /// The keys whose values are others than in `other`.
    fn changed(&self, other: &Self) -> Vec<&'static str>;

    /// Takes the value of a key from `other`.
    fn keep(&mut self, key: &str, other: &Self);

    /// Every key with its value as it may be shown.
    fn shown(&self) -> shown::Keys;
}

/// For a key whose value is written as text.
pub(super) fn text<'de, D: Deserializer<'de>, T: Text>(deserializer: D) -> Result<T, D::Error> {
    let text = deserializer.deserialize_str(Written(T::expected()))?;
    T::read(text.trim()).map_err(D::Error::custom)
}

/// The same where a key that is not there means something else than any value.
pub(super) fn text_if_any<'de, D: Deserializer<'de>, T: Text>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    text(deserializer).map(Some)
}

/// Reads a text; holds what is expected in its place.
struct Written(String);

impl Visitor<'_> for Written {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// For a key with a free text; an empty one is the way to say "not set".
pub(super) fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// For a key that names a file or a directory.
pub(super) fn path<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    Ok(word(deserializer)?.map(PathBuf::from))
}

/// The same where "off" is the way to do without.
pub(super) fn path_or_off<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    Ok(word(deserializer)?.filter(|text| text != "off").map(PathBuf::from))
}

impl Text for Duration {
    fn expected() -> String {
        "a duration in quotes such as \"5d\"".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map_err(|error| {
            format!(
                "{} is not a duration ({error}); write for example \"5d\", \"12h\" or \"90min\"",
                shown(text)
            )
        })
    }
}

/// `None` for "never".
impl Text for Option<Duration> {
    fn expected() -> String {
        "a duration in quotes such as \"4h\", or \"never\"".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(None);
        }
        Duration::read(text).map(Some).map_err(|words| format!("{words}, or \"never\""))
    }
}

impl Text for SocketAddr {
    fn expected() -> String {
        "an address and port in quotes such as \"127.0.0.1:25\"".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            let shown = shown(text);
            format!("{shown} is not an address with a port; write for example \"127.0.0.1:25\" or \"[::1]:25\"")
        })
    }
}

impl Text for IpNet {
    fn expected() -> String {
        "a network in quotes such as \"192.168.1.0/24\"".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        let single = text.parse::<IpAddr>().map(Self::from);
        let example = "\"192.168.1.0/24\", \"192.168.1.7\" or \"::1/128\"";
        let no_network =
            |_| format!("{} is not a network; write for example {example}", shown(text));
        let network: Self = single.or_else(|_| text.parse()).map_err(no_network)?;
        if network.addr() == network.trunc().addr() {
            return Ok(network);
        }
        let [host, whole] = [network.addr().to_string(), network.trunc().to_string()];
        Err(format!("{network} is a host and a network at once; write \"{host}\" or \"{whole}\""))
    }
}

impl Text for Address {
    fn expected() -> String {
        "a mail address in quotes".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        let parsed: Result<Self, _> = text.parse();
        parsed.map_err(|error| format!("{} is not a mail address: {error}", shown(text)))
    }
}

/// `None` for an empty text, which is the way to say "not set".
impl Text for Option<Address> {
    fn expected() -> String {
        "a mail address in quotes".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        Address::read(text).map(Some)
    }
}

/// A name that stands behind the `@`, in lower case and without a final dot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HostName(pub(super) String);

impl Text for HostName {
    fn expected() -> String {
        "a name in quotes such as \"nas.example.org\"".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        let name = text.trim().trim_end_matches('.').to_lowercase();
        // Whatever may stand behind an @.
        let address: Result<Address, _> = format!("a@{name}").parse();
        match address {
            Ok(_) if !name.contains('[') => Ok(Self(name)),
            _ => Err(format!(
                "{} is not a name of a host; write for example \"nas.example.org\"",
                shown(text)
            )),
        }
    }
}

impl Value for HostName {
    fn shown(&self) -> Shown {
        Shown::Text(self.0.clone())
    }
}

/// `None` for an empty text, which is the way to say "not set".
impl Text for Option<Endpoint> {
    fn expected() -> String {
        "an https:// address in quotes".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { Endpoint::new(text).map(Some) }
    }
}

impl Words for IpFamily {
    const WORDS: &'static [(&'static str, Self)] =
        &[("any", Self::Any), ("4", Self::V4), ("6", Self::V6)];
}

impl Words for Authentication {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("optional", Self::Optional),
        ("required", Self::Required),
        ("accept-any", Self::AcceptAny),
    ];
}

impl Words for Lane {
    const WORDS: &'static [(&'static str, Self)] =
        &[("urgent", Self::Urgent), ("normal", Self::Normal), ("bulk", Self::Bulk)];
}

impl Words for Uncertain {
    const WORDS: &'static [(&'static str, Self)] =
        &[("resend-once", Self::ResendOnce), ("hold", Self::Hold)];
}

impl Words for FromPolicy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("account", Self::Account), ("alias-list", Self::AliasList), ("keep", Self::Keep)];
}

impl Words for Format {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("text", Self::Text), ("json", Self::Json)];
}

/// `None` for "off".
/// Where browsers find the page: a scheme and a host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PageUrl(pub(super) Url);

/// Without a user name: the check refuses one.
impl Value for PageUrl {
    fn shown(&self) -> Shown {
        Shown::Text(self.0.to_string())
    }
}

/// `None` for an empty text, which is the way to say "not set".
impl Text for Option<PageUrl> {
    fn expected() -> String {
        "an http:// or https:// address in quotes".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let example = "write for example \"https://relay.example.org\"";
        let url = Url::parse(text).map_err(|error| {
            format!("{} is not an address of the web ({error}); {example}", shown(text))
        })?;
        let is_bare = matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(format!(
                "{} is not an http:// or https:// address; {example}",
                shown(text)
            ));
        }
        if !is_bare {
            return Err(format!("{} has more than a host and a port; {example}", shown(text)));
        }
        Ok(Some(PageUrl(url)))
    }
}

impl Text for Option<SocketAddr> {
    fn expected() -> String {
        "\"off\", or an address and port in quotes such as \"127.0.0.1:8025\"".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "off" {
            return Ok(None);
        }
        let no_address = |_| {
            format!(
                "{} is neither \"off\" nor an address with a port such as \"127.0.0.1:8025\"",
                shown(text)
            )
        };
        text.parse().map(Some).map_err(no_address)
    }
}

impl Words for Output {
    const WORDS: &'static [(&'static str, Self)] =
        &[("stderr", Self::Stderr), ("stdout", Self::Stdout)];
}

impl Words for tracing::Level {
    const WORDS: &'static [(&'static str, Self)] = LEVELS;
}

impl Text for SenderPattern {
    fn expected() -> String {
        "an address, \"@domain\" or a name in quotes".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        if let Some(domain) = text.strip_prefix('@') {
            let address: Result<Address, String> = Address::read(&format!("x{text}"));
            return address.map(|_| Self::Domain(domain.to_lowercase())).map_err(|_| {
                format!("{} is not a domain; write for example \"@example.org\"", shown(text))
            });
        }
        let address = Address::read(text)?;
        Ok(if address.domain().is_some() {
            Self::Address(address)
        } else {
            Self::Name(text.to_lowercase())
        })
    }
}

/// For a key that is `true` or `false`; in the environment the same words.
pub(super) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(Switch)
}

struct Switch;

impl Visitor<'_> for Switch {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("true or false")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
        choose(text.trim(), &[("true", true), ("false", false)]).map_err(E::custom)
    }
}

/// The value of the word `text`, or an error that lists the words.
pub(super) fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let listed = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let hint = text::nearest(text, words)
        .map_or_else(String::new, |word| format!("; did you mean \"{word}\"?"));
    Err(format!("{} is not one of {listed}{hint}", shown(text)))
}

/// A rejected text as it is shown in an error: quoted, printable, short, and without a password before a host.
pub(super) fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let safe = without_credentials(text);
    let short: String = safe.chars().take(CHARACTERS_MAX).collect();
    let dots = if short.len() < safe.len() { "..." } else { "" };
    format!("\"{}\"{dots}", text::printable(&short))
}

/// For a key with a whole number; whether it fits is judged with its range.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_i64(Whole)
}

/// The same where the default depends on other keys.
pub(super) fn whole_if_any<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    whole(deserializer).map(Some)
}

struct Whole;

impl Visitor<'_> for Whole {
    type Value = i64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number without quotes")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<i64, E> {
        Ok(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// For a number of octets: `35872000`, `"2GiB"` (1024-based) or `"2GB"` (1000-based).
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Size)
}

/// The same where the default is that of another key.
pub(super) fn size_if_any<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    size(deserializer).map(Some)
}

struct Size;

impl Visitor<'_> for Size {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a size such as \"256MiB\" or a number of octets")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number).map_err(|_| E::custom("a size cannot be negative"))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        let size: Result<bytesize::ByteSize, _> = text.trim().parse();
        size.map(|size| size.as_u64()).map_err(|_| {
            let shown = shown(text);
            E::custom(format!(
                "{shown} is not a size; write for example \"256MiB\", \"2GiB\" or 35872000"
            ))
        })
    }
}

/// For several values: a list, or one text with commas (the form for the environment).
pub(super) fn list<'de, D: Deserializer<'de>, T: Text>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(List(PhantomData))
}

/// The same where an empty list means something else than none.
pub(super) fn list_if_any<'de, D: Deserializer<'de>, T: Text>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    list(deserializer).map(Some)
}

/// For a value, or a list of them; a comma is a part of a text here.
pub(super) fn one_or_more<'de, D: Deserializer<'de>, T: Text>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(OneOrMore(PhantomData))
}

struct OneOrMore<T>(PhantomData<T>);

impl<'de, T: Text> Visitor<'de> for OneOrMore<T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, or a list of such", T::expected())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        T::read(text.trim()).map(|one| vec![one]).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, entries: A) -> Result<Vec<T>, A::Error> {
        List(PhantomData).visit_seq(entries)
    }
}

struct List<T>(PhantomData<T>);

impl<'de, T: Text> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list, each entry {}", T::expected())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(T::read).collect::<Result<_, _>>().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, entries: A) -> Result<Vec<T>, A::Error> {
        let entries = limited(entries, LIST_LENGTH_MAX, "entries")?;
        Ok(entries.into_iter().map(|Entry(entry)| entry).collect())
    }
}

/// An entry of a list; its own type, so that the caret is at the entry.
struct Entry<T>(T);

impl<'de, T: Text> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(EntryText(PhantomData))
    }
}

struct EntryText<T>(PhantomData<T>);

impl<T: Text> Visitor<'_> for EntryText<T> {
    type Value = Entry<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&T::expected())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry<T>, E> {
        T::read(text.trim()).map(Entry).map_err(E::custom)
    }
}

/// Entries of one list: more than anybody writes by hand, few enough to try each for each client.
const LIST_LENGTH_MAX: usize = 256;

/// Everything in a list, if that is not too much.
fn limited<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    mut entries: A,
    most: usize,
    what: &str,
) -> Result<Vec<T>, A::Error> {
    let mut list = Vec::new();
    while let Some(entry) = entries.next_element()? {
        if list.len() == most {
            return Err(A::Error::custom(format!("more than {most} {what}")));
        }
        list.push(entry);
    }
    Ok(list)
}

/// For sections of one name, each begun by its own header in two brackets.
pub(super) fn tables<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(Tables(TABLES_MAX, PhantomData))
}

/// The same where there may be so many.
pub(super) fn tables_up_to<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    most: usize,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(Tables(most, PhantomData))
}

struct Tables<T>(usize, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Tables<T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .write_str("sections whose name stands in two brackets, such as [[listener.network]]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, entries: A) -> Result<Vec<T>, A::Error> {
        limited(entries, self.0, "sections of one name")
    }
}

/// Sections of one name: each client is tried against each list of each of them.
const TABLES_MAX: usize = 64;

/// For a program and its arguments: a list, taken as it is, or one text split at blanks (for the
/// environment). No shell is involved.
pub(super) fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(Command)
}

struct Command;

impl<'de> Visitor<'de> for Command {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list such as [\"pass\", \"show\", \"gmail\"]")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, words: A) -> Result<Vec<String>, A::Error> {
        limited(words, LIST_LENGTH_MAX, "words")
    }
}

/// For a password, or an address that may be as good as one. A value of another type is refused without being
/// repeated: it is a password all the same.
pub(super) fn secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Secret>, D::Error> {
    deserializer.deserialize_any(SecretText)
}

struct SecretText;

impl SecretText {
    fn refuse<T, E: de::Error>() -> Result<T, E> {
        Err(E::custom("it must be a text in quotes"))
    }
}

impl<'de> Visitor<'de> for SecretText {
    type Value = Option<Secret>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok((!text.is_empty()).then(|| Secret::new(text.to_owned())))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Self::refuse()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Self::refuse()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Self::refuse()
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Self::refuse()
    }

    fn visit_map<A: de::MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Self::refuse()
    }
}

/// The names of a struct's fields in the order of the declaration, as serde knows them: the struct itself is the list of
/// its keys.
pub(super) fn field_names<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The answer comes through `names`; the deserializer itself always ends with an error.
    drop(T::deserialize(FieldNames(&mut names)));
    names
}

/// Asks a struct for the names of its fields instead of filling it.
struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(value::Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(value::Error::custom("names only"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
