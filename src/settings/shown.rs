//! The values of the configuration as they may be shown.
//!
//! Rule: a value is shown by its type, so that none of a secret, of a command's arguments or of what stands before a host
//! can be forgotten: a type that does not say how it is shown does not compile. Must not know which key holds which value.

use std::{borrow::Cow, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

use crate::{
    delivery::oauth::Endpoint, message::identity::SenderPattern, secret::Secret,
    smtp::address::Address, text,
};

/// In the place of a secret.
const NOT_SHOWN: &str = "(set, not shown)";

/// A value as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Not set.
    Nothing,
    /// As it could be written.
    Text(String),
    /// A place, which is told from the directory of the file.
    Path(PathBuf),
    /// Sections of one name, each key by key.
    Sections(Vec<Keys>),
}

impl Shown {
    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Path(path) => Some(path.display().to_string()),
            Self::Nothing | Self::Sections(_) => None,
        }
    }
}

/// The keys of a section.
pub(super) type Keys = Vec<(&'static str, Shown)>;

/// A type of values.
pub(super) trait Value {
    fn shown(&self) -> Shown;
}

/// A type whose values have no secret in them, in words.
macro_rules! as_written {
    ($($type:ty: |$value:ident| $words:expr;)*) => {
        $(impl Value for $type {
            fn shown(&self) -> Shown {
                let $value = self;
                Shown::Text($words)
            }
        })*
    };
}

as_written! {
    bool: |value| value.to_string();
    i64: |value| value.to_string();
    u64: |value| octets(*value);
    Duration: |value| in_days(*value);
    SocketAddr: |value| value.to_string();
    IpNet: |value| value.to_string();
    Address: |value| value.to_string();
    SenderPattern: |value| match value {
        SenderPattern::Address(address) => address.to_string(),
        SenderPattern::Domain(domain) => format!("@{domain}"),
        SenderPattern::Name(name) => name.clone(),
    };
    Secret: |_value| NOT_SHOWN.to_owned();
    Endpoint: |value| {
        let text = value.to_string();
        text.split_once('?').map_or_else(|| text.clone(), |(path, _)| format!("{path}?(not shown)"))
    };
}

impl Value for PathBuf {
    fn shown(&self) -> Shown {
        Shown::Path(self.clone())
    }
}

impl<T: Value> Value for Option<T> {
    fn shown(&self) -> Shown {
        self.as_ref().map_or(Shown::Nothing, Value::shown)
    }
}

/// A name that somebody has written; a password before a host is none of it.
impl Value for Option<String> {
    fn shown(&self) -> Shown {
        self.as_ref()
            .map_or(Shown::Nothing, |text| Shown::Text(without_credentials(text).into_owned()))
    }
}

/// A program with its arguments, of which any may be a secret.
impl Value for Vec<String> {
    fn shown(&self) -> Shown {
        match self.len() {
            0 => Shown::Nothing,
            1 => Shown::Text(text::program(self).to_owned()),
            _ => Shown::Text(format!("{} (with arguments, not shown)", text::program(self))),
        }
    }
}

impl<T: Value> Value for Vec<T> {
    fn shown(&self) -> Shown {
        let (mut texts, mut sections) = (Vec::new(), Vec::new());
        for value in self {
            match value.shown() {
                Shown::Nothing => {}
                Shown::Text(text) => texts.push(text),
                Shown::Path(path) => texts.push(path.display().to_string()),
                Shown::Sections(one) => sections.extend(one),
            }
        }
        match (texts.is_empty(), sections.is_empty()) {
            (true, true) => Shown::Nothing,
            (false, _) => Shown::Text(texts.join(", ")),
            (true, false) => Shown::Sections(sections),
        }
    }
}

/// In the largest unit that loses nothing.
fn octets(value: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units.into_iter().find(|(bits, _)| value > 0 && value.trailing_zeros() >= *bits);
    whole.map_or_else(|| value.to_string(), |(bits, unit)| format!("{}{unit}", value >> bits))
}

/// As one would write it: whole days as days, not as months and hours.
pub(super) fn in_days(duration: Duration) -> String {
    const DAY_SECONDS: u64 = 86_400;
    match duration.as_secs() {
        seconds if seconds >= DAY_SECONDS && seconds % DAY_SECONDS == 0 => {
            format!("{}d", seconds / DAY_SECONDS)
        }
        _ => humantime::format_duration(duration).to_string(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &impl Value) -> String {
        value.shown().text().unwrap_or_default()
    }

    #[test]
    fn what_may_be_a_secret_is_never_shown() {
        let command =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for words in [
            &["curl", "-u", "me:hunter2"][..],
            &["curl -u me:hunter2"],
            &["TOKEN=hunter2"],
            &["https://me:hunter2@host/x"],
            &["sh", "-c", "hunter2"],
        ] {
            let shown = text(&command(words));
            assert!(!shown.contains("hunter2") && !shown.is_empty(), "{shown}");
        }
        assert_eq!(text(&command(&["pass", "show", "gmail"])), "pass (with arguments, not shown)");
        assert_eq!(text(&Secret::new("hunter2".into())), NOT_SHOWN);
        assert_eq!(text(&Some("me:hunter2@example.org".to_owned())), "***@example.org");
        let endpoint = Endpoint::new("https://login.example/token?client_secret=hunter2").unwrap();
        assert_eq!(text(&endpoint), "https://login.example/token?(not shown)");
    }

    #[test]
    fn a_size_is_in_the_largest_unit_that_loses_nothing() {
        for (value, shown) in [
            (0, "0"),
            (1 << 30, "1GiB"),
            (3 << 29, "1536MiB"),
            (1025, "1025"),
            (1024, "1KiB"),
            (35_872_000, "35872000"),
        ] {
            assert_eq!(octets(value), shown);
        }
    }
}
