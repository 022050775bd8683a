//! The values that relay.toml and the environment may hold: durations, sizes, addresses, choices.
//!
//! Rule: a text that is no such value is refused by serde itself, so that the error has the line and
//! the caret, and never repeats a password. Must not know which key holds which value.

use std::{borrow::Cow, fmt, marker::PhantomData, net::SocketAddr, time::Duration};

use ipnet::IpNet;
use serde::{
    Deserialize, Deserializer,
    de::{self, Error as _, SeqAccess, Visitor},
};

use crate::{secret::Secret, smtp::address::Address, text};

/// A value written as text.
pub(super) trait Text: Sized {
    /// What is expected, for the error about a value of another type.
    const EXPECTED: &'static str;

    /// Reads the text, or says what is wrong with it and what to write instead.
    fn read(text: &str) -> Result<Self, String>;
}

/// Lets serde read any [`Text`].
#[derive(Clone, Debug)]
pub(super) struct Parsed<T>(pub(super) T);

impl<'de, T: Text> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: Text> Visitor<'_> for TextVisitor<T> {
    type Value = Parsed<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Parsed<T>, E> {
        T::read(text.trim()).map(Parsed).map_err(E::custom)
    }
}

impl Text for Duration {
    const EXPECTED: &'static str = "a duration in quotes such as \"5d\"";

    fn read(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map_err(|error| {
            format!(
                "{} is no duration ({error}); write for example \"5d\", \"12h\" or \"90min\"",
                shown(text)
            )
        })
    }
}

impl Text for SocketAddr {
    const EXPECTED: &'static str = "an address and port in quotes such as \"127.0.0.1:25\"";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            let shown = shown(text);
            format!("{shown} is no address with a port; write for example \"127.0.0.1:25\" or \"[::1]:25\"")
        })
    }
}

impl Text for IpNet {
    const EXPECTED: &'static str = "a network in quotes such as \"192.168.1.0/24\"";

    fn read(text: &str) -> Result<Self, String> {
        let single = text.parse::<std::net::IpAddr>().map(Self::from);
        let example = "\"192.168.1.0/24\", \"192.168.1.7\" or \"::1/128\"";
        let no_network = |_| format!("{} is no network; write for example {example}", shown(text));
        let network: Self = single.or_else(|_| text.parse()).map_err(no_network)?;
        if network.addr() == network.trunc().addr() {
            return Ok(network);
        }
        let [host, whole] = [network.addr().to_string(), network.trunc().to_string()];
        Err(format!("{network} is a host and a network at once; write \"{host}\" or \"{whole}\""))
    }
}

impl Text for Address {
    const EXPECTED: &'static str = "a mail address in quotes";

    fn read(text: &str) -> Result<Self, String> {
        let parsed: Result<Self, _> = text.parse();
        parsed.map_err(|error| format!("{} is no mail address: {error}", shown(text)))
    }
}

/// `None` for an empty text, which is the way to say "not set".
impl Text for Option<Address> {
    const EXPECTED: &'static str = "a mail address in quotes";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        Address::read(text).map(Some)
    }
}

/// Yes or no: `true` and `false`, in the environment the same words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch(pub(super) bool);

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SwitchVisitor)
    }
}

struct SwitchVisitor;

impl Visitor<'_> for SwitchVisitor {
    type Value = Switch;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("true or false")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Switch, E> {
        Ok(Switch(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Switch, E> {
        choose(text.trim(), &[("true", true), ("false", false)]).map(Switch).map_err(E::custom)
    }
}

/// The value of the word `text`, or an error that lists the words.
pub(super) fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let listed = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let hint =
        nearest(text, words).map_or_else(String::new, |word| format!("; did you mean \"{word}\"?"));
    Err(format!("{} is not one of {listed}{hint}", shown(text)))
}

/// The word that `text` was probably meant to be: at most a third of its letters differ.
pub(super) fn nearest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |word: &str| strsim::damerau_levenshtein(&text.to_lowercase(), word);
    let best = words.into_iter().min_by_key(|word| distance(word))?;
    (distance(best) <= (text.len().max(best.len()) / 3).max(1)).then_some(best)
}

/// A rejected text as it is shown in an error: quoted, printable, short, and without a password before a host.
pub(super) fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let safe = without_credentials(text);
    let short: String = safe.chars().take(CHARACTERS_MAX).collect();
    let dots = if short.len() < safe.len() { "..." } else { "" };
    format!("\"{}\"{dots}", text::printable(&short))
}

/// `smtps://me:secret@host` and `me:secret@host` with stars in the place of what stands before the host. An address
/// of mail has no colon before its `@`.
pub(super) fn without_credentials(text: &str) -> Cow<'_, str> {
    let Some(at) = text.rfind('@') else { return Cow::Borrowed(text) };
    let start = text.find("://").map_or(0, |scheme| scheme + 3);
    match text.get(start..at) {
        Some(user) if start > 0 || user.contains(':') => {
            Cow::Owned(format!("{}***{}", &text[..start], &text[at..]))
        }
        _ => Cow::Borrowed(text),
    }
}

/// A whole number; its range is checked with its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole(pub(super) i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WholeVisitor;
        impl Visitor<'_> for WholeVisitor {
            type Value = Whole;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a whole number without quotes")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(i64::try_from(number).unwrap_or(i64::MAX)))
            }
        }
        deserializer.deserialize_i64(WholeVisitor)
    }
}

/// A number of octets: `35872000`, `"2GiB"` (1024-based) or `"2GB"` (1000-based).
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a size such as \"256MiB\" or a number of octets")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Size, E> {
                u64::try_from(number).map(Size).map_err(|_| E::custom("a size cannot be negative"))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Size, E> {
                Ok(Size(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                let size: Result<bytesize::ByteSize, _> = text.trim().parse();
                size.map(|size| Size(size.as_u64())).map_err(|_| {
                    let shown = shown(text);
                    E::custom(format!(
                        "{shown} is no size; write for example \"256MiB\", \"2GiB\" or 35872000"
                    ))
                })
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

/// Several values: a list, or one text with commas (the form for the environment).
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<'de, T: Text> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);
        impl<'de, T: Text> Visitor<'de> for ListVisitor<T> {
            type Value = List<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "a list, each entry {}", T::EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<List<T>, E> {
                let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
                entries.map(T::read).collect::<Result<_, _>>().map(List).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(Parsed(entry)) = entries.next_element()? {
                    if list.len() == LIST_LENGTH_MAX {
                        return Err(A::Error::custom(format!(
                            "more than {LIST_LENGTH_MAX} entries"
                        )));
                    }
                    list.push(entry);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

/// Entries of one list: more than anybody writes by hand, few enough to try each for each client.
const LIST_LENGTH_MAX: usize = 256;

/// Sections of one name, each begun by its own header in two brackets.
#[derive(Clone, Debug)]
pub(super) struct Tables<T>(pub(super) Vec<T>);

impl<T> Default for Tables<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Tables<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TablesVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for TablesVisitor<T> {
            type Value = Tables<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(
                    "sections whose name stands in two brackets, such as [[listener.network]]",
                )
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Tables<T>, A::Error> {
                let mut tables = Vec::new();
                while let Some(table) = entries.next_element()? {
                    if tables.len() == TABLES_MAX {
                        return Err(A::Error::custom(format!(
                            "more than {TABLES_MAX} sections of one name"
                        )));
                    }
                    tables.push(table);
                }
                Ok(Tables(tables))
            }
        }
        deserializer.deserialize_seq(TablesVisitor(PhantomData))
    }
}

/// Sections of one name: each client is tried against each list of each of them.
const TABLES_MAX: usize = 64;

/// A program and its arguments: a list, taken as it is, or one text split at blanks (for the
/// environment). No shell is involved.
#[derive(Clone, Debug)]
pub(super) struct Command(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CommandVisitor;
        impl<'de> Visitor<'de> for CommandVisitor {
            type Value = Command;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list such as [\"pass\", \"show\", \"gmail\"]")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Command, E> {
                Ok(Command(text.split_whitespace().map(str::to_owned).collect()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Command, A::Error> {
                let mut command = Vec::new();
                while let Some(word) = words.next_element()? {
                    if command.len() == LIST_LENGTH_MAX {
                        return Err(A::Error::custom(format!("more than {LIST_LENGTH_MAX} words")));
                    }
                    command.push(word);
                }
                Ok(Command(command))
            }
        }
        deserializer.deserialize_any(CommandVisitor)
    }
}

/// A password, or an address that may be as good as one. A value of another type is refused without being repeated: it is a password all the same.
#[derive(Clone, Debug)]
pub(super) struct Password(pub(super) Option<Secret>);

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PasswordVisitor;
        impl PasswordVisitor {
            fn refuse<E: de::Error>() -> Result<Password, E> {
                Err(E::custom("it must be a text in quotes"))
            }
        }
        impl<'de> Visitor<'de> for PasswordVisitor {
            type Value = Password;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text in quotes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Password, E> {
                Ok(Password((!text.is_empty()).then(|| Secret::new(text.to_owned()))))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Password, E> {
                Self::refuse()
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Password, E> {
                Self::refuse()
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Password, E> {
                Self::refuse()
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Password, E> {
                Self::refuse()
            }

            fn visit_map<A: de::MapAccess<'de>>(self, _: A) -> Result<Password, A::Error> {
                Self::refuse()
            }
        }
        deserializer.deserialize_any(PasswordVisitor)
    }
}
