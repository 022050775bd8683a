//! `[[rule]]`: what becomes of which messages.
//!
//! Rule: a rule that says nothing, or that could never mean what it says, is refused where it stands. Must not know how a
//! message is judged.

use std::sync::Arc;

use bytesize::ByteSize;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::{
    document::{RULE, numbered},
    report::{Report, in_range},
    shown::{self, Shown, Value},
    value::{self, Keys, Text, one_or_more, section, tables_up_to, text_if_any, whole, word},
};
use crate::{
    message::{envelope::Lane, identity::SenderPattern},
    rules::{
        self, Effect, HeaderTest, Hours, Matcher, NAME_LENGTH_MAX, PATTERNS_MAX, Pattern,
        REFUSAL_LENGTH_MAX, RULES_MAX, Sender, Size, Words,
    },
    text,
};

/// Recipients a day that a limit may allow; a higher one limits nothing.
const ORIGIN_LIMIT_MAX: u32 = 1_000_000;

/// All sections of this name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rules(Vec<Rule>);

section! {
    /// One of them.
    pub(super) struct Rule {
        name: Option<String> = None, "word";
        #[serde(rename = "match")]
        conditions: Match = Match::default(), "Match::deserialize";
        /// That of its client's network.
        lane: Option<Lane> = None, "text_if_any";
        /// 0 means no limit.
        origin_limit: i64 = 0, "whole";
        storm: Option<bool> = None, "Option::deserialize";
        hold: bool = false, "bool::deserialize";
        refuse: Option<String> = None, "word";
    }
}

/// What must fit; a key that is not there fits always.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Match {
    #[serde(deserialize_with = "one_or_more")]
    network: Vec<IpNet>,
    #[serde(deserialize_with = "one_or_more")]
    login: Vec<Login>,
    #[serde(deserialize_with = "one_or_more")]
    user: Vec<Login>,
    #[serde(deserialize_with = "one_or_more")]
    sender: Vec<Sender>,
    #[serde(deserialize_with = "one_or_more")]
    recipient: Vec<SenderPattern>,
    #[serde(deserialize_with = "one_or_more")]
    subject: Vec<Words>,
    #[serde(deserialize_with = "one_or_more")]
    header: Vec<HeaderTest>,
    #[serde(deserialize_with = "one_or_more")]
    size: Vec<Size>,
    #[serde(deserialize_with = "one_or_more")]
    hour: Vec<Hours>,
}

impl Match {
    /// The cheap ones first; of those with an empty list none is asked for.
    pub(super) fn matchers(&self) -> Vec<Matcher> {
        fn some<T: Clone>(values: &[T], matcher: fn(Vec<T>) -> Matcher) -> Option<Matcher> {
            (!values.is_empty()).then(|| matcher(values.to_vec()))
        }
        let names = |values: &[Login]| values.iter().map(|one| one.0.clone()).collect::<Vec<_>>();
        let (logins, users) = (names(&self.login), names(&self.user));
        let all = [
            some(&self.network, Matcher::Network),
            some(&logins, Matcher::Login),
            some(&users, Matcher::User),
            some(&self.size, Matcher::Size),
            some(&self.hour, Matcher::Hour),
            some(&self.sender, Matcher::Sender),
            some(&self.recipient, Matcher::Recipient),
            some(&self.header, Matcher::Header),
            some(&self.subject, Matcher::Subject),
        ];
        all.into_iter().flatten().collect()
    }
}

/// The names of the conditions.
pub(super) fn conditions() -> &'static [&'static str] {
    value::field_names::<Match>()
}

impl Value for Match {
    fn shown(&self) -> Shown {
        let matchers: Vec<String> = self.matchers().iter().map(ToString::to_string).collect();
        if matchers.is_empty() {
            return Shown::Nothing;
        }
        Shown::Text(format!("{{ {} }}", matchers.join(", ")))
    }
}

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        tables_up_to(deserializer, RULES_MAX).map(Self)
    }
}

/// A list of sections stands in the place of a section of its own. A running daemon takes all of it.
impl Keys for Rules {
    fn changed(&self, other: &Self) -> Vec<&'static str> {
        changed_of(&self.0, &other.0)
    }

    fn keep(&mut self, _: &str, _: &Self) {}

    fn shown(&self) -> shown::Keys {
        vec![("", Shown::Sections(self.0.iter().map(Keys::shown).collect()))]
    }
}

/// The keys whose values are others than before in any section with conditions of a list.
pub(super) fn changed_of<'de, T: Keys + Deserialize<'de>>(
    own: &[T],
    others: &[T],
) -> Vec<&'static str> {
    let changed: Vec<&str> =
        own.iter().zip(others).flat_map(|(one, other)| one.changed(other)).collect();
    let is_changed = |name: &&&str| match **name {
        // One more or less, or in another place.
        "name" => own.len() != others.len() || changed.contains(&"name"),
        // The macro knows fields by the names they have here.
        "match" => changed.contains(&"conditions"),
        name => changed.contains(&name),
    };
    value::field_names::<T>().iter().filter(is_changed).copied().collect()
}

impl Rules {
    /// The rules on a host with these names.
    pub(super) fn check(&self, local_domains: &[String], report: &mut Report<'_>) -> rules::Rules {
        let mut checked: Vec<rules::Rule> = Vec::new();
        let names: Vec<Option<&str>> = self.0.iter().map(|one| one.name.as_deref()).collect();
        let mut patterns = 0;
        for (index, section) in self.0.iter().enumerate() {
            let place = numbered(RULE, index);
            let matchers = section.matchers(&place, report);
            patterns += matchers.iter().map(Matcher::patterns).sum::<usize>();
            if patterns > PATTERNS_MAX {
                let what = format!("all rules together have more than {PATTERNS_MAX} patterns");
                report.add(&place, "match", what, "Write several words as one: \"/this|that/\".");
                break;
            }
            let effect = section.effect(&place, report);
            let name = name(&names, (RULE, index), report);
            checked.extend(name.map(|name| rules::Rule { name, matchers, effect }));
        }
        rules::Rules::new(checked, local_domains)
    }
}

impl Rule {
    fn matchers(&self, place: &str, report: &mut Report<'_>) -> Vec<Matcher> {
        let matchers = self.conditions.matchers();
        if matchers.is_empty() {
            let what = "the rule does not say which messages it is for";
            let remedy = "Write for example match = { sender = \"@nas.example.org\" }.";
            report.add_lack(place, "match", what, remedy);
        }
        matchers
    }

    fn effect(&self, place: &str, report: &mut Report<'_>) -> Effect {
        let limit = in_range!(report.whole, place, self.origin_limit, 0..=ORIGIN_LIMIT_MAX);
        let effect = Effect {
            lane: self.lane,
            origin_limit: (limit > 0).then_some(limit),
            storm: self.storm,
            hold: self.hold,
            refuse: self.refusal(place, report),
            accounts: Vec::new(),
        };
        if effect == Effect::default() {
            let what = "nothing follows from the rule";
            let remedy = "Write lane, origin_limit, storm, hold = true or refuse, or remove it.";
            report.add_lack(place, "name", what, remedy);
        }
        let others = Effect { refuse: None, ..effect.clone() };
        if effect.refuse.is_some() && others != Effect::default() {
            let what = format!(
                "what is refused is not kept, so nothing else can follow ({})",
                others.words().join(", ")
            );
            let remedy = "Remove this line or the others; hold = true keeps the message for you.";
            report.add(place, "refuse", what, remedy);
        }
        effect
    }

    fn refusal(&self, place: &str, report: &mut Report<'_>) -> Option<Arc<str>> {
        let words = self.refuse.as_deref()?;
        if words.chars().count() > REFUSAL_LENGTH_MAX || words.chars().any(text::is_deceptive) {
            let what = format!(
                "the text is not one line of at most {REFUSAL_LENGTH_MAX} printable characters"
            );
            report.add(place, "refuse", what, "Write one short sentence for the client's log.");
        }
        Some(words.into())
    }
}

/// The name of the rule, or of the route, with this number, unlike those before it.
pub(super) fn name(
    names: &[Option<&str>],
    (kind, index): (&str, usize),
    report: &mut Report<'_>,
) -> Option<Arc<str>> {
    let place = numbered(kind, index);
    let Some(name) = names.get(index).copied().flatten() else {
        let remedy = "Write for example name = \"raid\": logs and lists call it so.";
        report.add_lack(&place, "name", format!("the {kind} has no name"), remedy);
        return None;
    };
    if !text::is_plain_name(name, NAME_LENGTH_MAX) {
        let what = format!(
            "{} is not a name of at most {NAME_LENGTH_MAX} letters (a to z), digits and -",
            value::shown(name)
        );
        report.add(&place, "name", what, "Write for example \"raid\".");
        return None;
    }
    let earlier = names.iter().position(|one| *one == Some(name)).filter(|one| *one < index);
    if let Some(earlier) = earlier {
        let whereabouts = report.whereabouts(&numbered(kind, earlier), "name");
        let what = format!("another {kind} is called {name}, in {whereabouts}");
        report.add(&place, "name", what, "Choose another name.");
        return None;
    }
    Some(name.into())
}

/// The name of an account, as it is written.
#[derive(Clone, Debug, PartialEq)]
struct Login(String);

impl Text for Login {
    fn expected() -> String {
        "a login name in quotes".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Err("the name is empty".to_owned())
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl Text for Sender {
    fn expected() -> String {
        "an address, \"@domain\", a name or \"<>\" in quotes".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        if text == "<>" { Ok(Self::Null) } else { SenderPattern::read(text).map(Self::Of) }
    }
}

impl Text for Words {
    fn expected() -> String {
        "words, or a \"/pattern/\", in quotes".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the words are missing".to_owned());
        }
        let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let Some(pattern) = inner else { return Ok(Self::plain(text)) };
        let pattern = Pattern::new(pattern);
        pattern
            .map(Self::Pattern)
            .map_err(|reason| format!("{} is not a pattern: {reason}", value::shown(text)))
    }
}

impl Text for HeaderTest {
    fn expected() -> String {
        "\"list\", \"bulk\", \"automatic\" or \"Field: words\" in quotes".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        let Some((name, words)) = text.split_once(':') else {
            let named = [("list", 0), ("bulk", 1), ("automatic", 2)];
            let chosen = value::choose(text, &named).map_err(|error| {
                format!("{error}; a field is written with its colon: \"X-Name: words\"")
            });
            return Ok([Self::List, Self::Bulk, Self::Automatic][chosen?].clone());
        };
        let name = name.trim();
        // RFC 5322 section 3.6.8.
        if name.is_empty() || !name.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(format!("{} is not the name of a field", value::shown(name)));
        }
        let words = words.trim();
        let words = if words.is_empty() { None } else { Some(Words::read(words)?) };
        Ok(Self::Field(name.to_ascii_lowercase(), words))
    }
}

impl Text for Size {
    fn expected() -> String {
        "a limit in quotes such as \">5MiB\" or \"<100KiB\"".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        let unlike = || {
            let shown = value::shown(text);
            format!("{shown} is not a limit for a size; write for example \">5MiB\" or \"<100KiB\"")
        };
        let limit = text.strip_prefix(['<', '>']).ok_or_else(unlike)?;
        let octets = limit.trim().parse::<ByteSize>().map_err(|_| unlike())?.as_u64();
        Ok(if text.starts_with('>') { Self::Above(octets) } else { Self::Below(octets) })
    }
}

impl Text for Hours {
    fn expected() -> String {
        "hours in quotes such as \"22-6\"".to_owned()
    }

    fn read(text: &str) -> Result<Self, String> {
        let unlike = || {
            let shown = value::shown(text);
            format!(
                "{shown} is not a part of the day; write for example \"22-6\", from 22:00 to 6:00"
            )
        };
        let hour = |part: &str| part.trim().parse::<u8>().ok().filter(|hour| *hour <= 24);
        let (from, to) = text.split_once('-').ok_or_else(unlike)?;
        let (from, to) = (hour(from).ok_or_else(unlike)?, hour(to).ok_or_else(unlike)?);
        if from % 24 == to % 24 {
            return Err(format!("{} is the whole day; leave the key out", value::shown(text)));
        }
        Ok(Self { from: from % 24, to: if to == 0 { 24 } else { to } })
    }
}
