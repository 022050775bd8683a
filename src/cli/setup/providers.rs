//! The questions of `pillarbox setup` in the words of each provider: the ways to log in, the user name, the password.
//!
//! Rule: the question of the password says where one is made only as the provider itself does. What is not asked of a provider
//! has its profile's value. Pure.

use super::questions::{Answers, Kind, Name, Question};
use crate::delivery::provider::Provider;

/// How to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// With a password that the provider has made for programs, or any other.
    AppPassword,
    Consent,
    ServiceAccount,
    None,
}

/// A way to log in: what it is called, and for whom it is.
type Way = (Login, &'static str, &'static str);

/// What it is called wherever there is a password.
const PASSWORD: &str = "password";
const OF_GOOGLE: [Way; 4] = [
    (Login::AppPassword, "app-password", "any account with 2-step verification; the least work"),
    (
        Login::Consent,
        "oauth",
        "where app passwords are not allowed: an OAuth client of your own (docs/oauth.md)",
    ),
    (
        Login::ServiceAccount,
        "service-account",
        "Workspace: a key that its administrator has allowed (docs/oauth.md)",
    ),
    (Login::None, "none", "smtp-relay.gmail.com, which knows this host by its IP address"),
];
const OF_ANY_SERVER: [Way; 2] = [
    (Login::AppPassword, PASSWORD, "a user name and its password"),
    (Login::None, "none", "the server takes mail from this host without a login"),
];
/// The ways of TLS.
const TLS: [(&str, &str); 4] = [
    ("auto", "from the port: 465 begins with TLS, every other port with STARTTLS"),
    ("starttls", "in plain text first, on any port"),
    ("implicit", "from the first byte, on any port"),
    ("off", "never: for a server on this host only"),
];

impl Login {
    /// Every way at this provider.
    fn ways(provider: Provider) -> &'static [Way] {
        match provider {
            Provider::Custom => &OF_ANY_SERVER,
            _ if provider.is_google() => &OF_GOOGLE,
            _ => &OF_ANY_SERVER[..1],
        }
    }

    /// What it is called in the answers.
    pub(super) fn name(self) -> &'static str {
        OF_GOOGLE.iter().find(|(login, ..)| *login == self).map_or("", |(_, name, _)| name)
    }

    /// The way with this name, wherever it is.
    pub(super) fn of(name: &str) -> Option<Self> {
        OF_GOOGLE.iter().find(|(_, own, _)| *own == name).map(|(login, ..)| *login)
    }

    /// The way that this answer means at a provider.
    fn meant(text: &str, provider: Provider) -> Option<Self> {
        let ways = Self::ways(provider);
        let named = ways.iter().find(|(login, name, _)| *name == text || login.name() == text);
        named.or_else(|| numbered(text, ways)).map(|(login, ..)| *login)
    }

    /// The one that counts when nothing else is said.
    pub(super) fn usual(provider: Provider) -> Self {
        if provider.profile().knows_hosts { Self::None } else { Self::AppPassword }
    }
}

/// The one at this place of a list that was shown.
fn numbered<'a, T>(text: &str, list: &'a [T]) -> Option<&'a T> {
    list.get(text.parse::<usize>().ok()?.checked_sub(1)?)
}

/// The provider that was chosen; without a choice, Gmail.
pub(super) fn provider(answers: &Answers) -> Provider {
    let word = answers.get(&Name::Provider);
    word.and_then(|word| by_word(word)).unwrap_or(Provider::Gmail)
}

/// The provider with this word.
pub(super) fn by_word(word: &str) -> Option<Provider> {
    Provider::WORDS.iter().find(|(own, _)| *own == word).map(|(_, provider)| *provider)
}

/// Whether the login is asked for: elsewhere there is one way.
pub(super) fn asks_login(provider: Provider) -> bool {
    Login::ways(provider).len() > 1
}

/// Whether the host is asked for.
pub(super) fn asks_host(provider: Provider) -> bool {
    provider.profile().host.value.is_none()
}

/// What there is to choose from, each with its words.
pub(super) fn choices(name: Name, provider: Provider) -> Vec<(&'static str, &'static str)> {
    match name {
        Name::Provider => {
            Provider::WORDS.iter().map(|(word, one)| (*word, one.profile().title)).collect()
        }
        Name::Login => Login::ways(provider).iter().map(|(_, name, whom)| (*name, *whom)).collect(),
        Name::Tls => TLS.to_vec(),
        _ => Vec::new(),
    }
}

/// The choice as it is kept.
pub(super) fn chosen(
    name: Name,
    text: &str,
    provider: Provider,
) -> Option<Result<&'static str, String>> {
    if name == Name::Login {
        return Login::meant(text, provider).map(|login| Ok(login.name()));
    }
    let choices = choices(name, provider);
    let named = choices.iter().find(|(own, _)| *own == text);
    let (word, _) = named.or_else(|| numbered(text, &choices))?;
    let is_microsoft = name == Name::Provider && by_word(word).is_some_and(Provider::is_microsoft);
    Some(if is_microsoft { Err(of_microsoft()) } else { Ok(word) })
}

/// What is said of a provider whose login has steps of its own.
pub(super) fn of_microsoft() -> String {
    "Microsoft takes no password from programs, and what it takes instead is made there first: docs/microsoft.md has the \
     steps and the lines of relay.toml; then pillarbox check and pillarbox doctor"
        .to_owned()
}

/// What a password is called, in a sentence.
pub(super) fn secret(provider: Provider) -> &'static str {
    match provider {
        Provider::Icloud => "app-specific password",
        Provider::Ses => "SMTP password",
        Provider::Brevo => "SMTP key",
        Provider::Sendgrid => "API key",
        Provider::Yahoo | Provider::Fastmail => "app password",
        _ if provider.is_google() => "app password",
        _ => PASSWORD,
    }
}

/// A question as it is put for this provider.
pub(super) fn question(name: Name, provider: Provider) -> Question {
    let usual = *name.question();
    let words = match name {
        Name::Account => account(provider),
        Name::Login if provider == Provider::Custom => {
            Some(("How to log in", "Whoever runs the server knows."))
        }
        Name::Password => password(provider),
        _ => None,
    };
    let kind = match name {
        Name::Account if !has_addresses(provider) => Kind::User,
        _ => usual.kind,
    };
    let (prompt, help) = words.unwrap_or((usual.prompt, usual.help));
    Question { kind, prompt, help, ..usual }
}

/// Whether the user names are full addresses.
fn has_addresses(provider: Provider) -> bool {
    provider.profile().logs_in_as_mailbox && provider != Provider::Custom
}

fn account(provider: Provider) -> Option<(&'static str, &'static str)> {
    Some(match provider {
        Provider::Icloud => (
            "iCloud account",
            "Everything is relayed through this account: its full address, such as you@icloud.com.",
        ),
        Provider::Yahoo => (
            "Yahoo account",
            "Everything is relayed through this account: its full address, such as you@yahoo.com.",
        ),
        Provider::Fastmail => (
            "Fastmail account",
            "Everything is relayed through this account: its full address, such as you@fastmail.com.",
        ),
        Provider::Zoho => (
            "Zoho account",
            "Everything is relayed through this account: its full address, such as you@zohomail.com.",
        ),
        Provider::Ses => ("SMTP user name", "That of the SMTP credentials, which is no address."),
        Provider::Mailgun => {
            ("SMTP user name", "A user of the sending domain, such as postmaster@mg.example.org.")
        }
        Provider::Brevo => ("SMTP login", "The login beside the SMTP keys, which is no mailbox."),
        Provider::Sendgrid => ("SMTP user name", "At SendGrid it is the word apikey."),
        Provider::Custom => {
            ("User name", "What the server knows this host by: often a full address.")
        }
        _ => return None,
    })
}

fn password(provider: Provider) -> Option<(&'static str, &'static str)> {
    Some(match provider {
        Provider::Icloud => (
            "App-specific password",
            "Sign in at https://account.apple.com, open \"Sign-In and Security\", \"App-Specific Passwords\", and generate \
             one (https://support.apple.com/102654). It is not shown.",
        ),
        Provider::Yahoo => (
            "App password",
            "On the account security page of Yahoo, create an app password \
             (https://help.yahoo.com/kb/SLN15241.html). It is not shown.",
        ),
        Provider::Fastmail => (
            "App password",
            "Open Settings, \"Privacy & Security\", \"Integrations\", \"New app password\", with access to mail \
             (https://www.fastmail.com/help/clients/apppassword.html). It is not shown.",
        ),
        Provider::Zoho => (
            "Password",
            "That of the account; with two-factor authentication, one that Zoho has made for programs. It is not shown.",
        ),
        Provider::Ses => ("SMTP password", "That of the SMTP credentials. It is not shown."),
        Provider::Brevo => ("SMTP key", "The SMTP key, not an API key. It is not shown."),
        Provider::Sendgrid => ("API key", "An API key that may send mail. It is not shown."),
        Provider::Mailgun | Provider::Custom => {
            ("Password", "That of this user name. It is not shown.")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_but_googles_asks_in_words_of_its_own_and_never_for_what_only_google_has() {
        for (word, provider) in Provider::WORDS {
            let [account, password] =
                [Name::Account, Name::Password].map(|name| question(name, *provider));
            let text = [account.prompt, account.help, password.prompt, password.help].concat();
            assert!(!text.contains('\n') && !text.contains("  "), "{word}: {text}");
            if provider.is_microsoft() {
                continue;
            }
            let names_google = text.contains("Gmail") || text.contains("google");
            assert_eq!(names_google, provider.is_google(), "{word}: {text}");
        }
    }

    #[test]
    fn a_way_to_log_in_has_its_number_in_the_list_of_its_provider() {
        for (provider, text, expected) in [
            (Provider::Gmail, "4", Some(Login::None)),
            (Provider::Custom, "2", Some(Login::None)),
            (Provider::Custom, "password", Some(Login::AppPassword)),
            (Provider::Custom, "app-password", Some(Login::AppPassword)),
            (Provider::Gmail, "password", None),
            (Provider::Custom, "oauth", None),
            (Provider::Fastmail, "none", None),
        ] {
            assert_eq!(Login::meant(text, provider), expected, "{provider:?} {text}");
        }
    }
}
