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

/// Whose server the mail goes to, and by what protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) provider: Provider,
    /// By the Gmail API, over HTTPS.
    pub(super) is_api: bool,
}

impl From<Provider> for Place {
    fn from(provider: Provider) -> Self {
        Self { provider, is_api: false }
    }
}

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
const OF_MICROSOFT: [Way; 1] = [(
    Login::Consent,
    "oauth",
    "a code that you enter in a browser on any device: an application of your own (docs/microsoft.md)",
)];
const OF_ANY_SERVER: [Way; 2] = [
    (Login::AppPassword, PASSWORD, "a user name and its password"),
    (Login::None, "none", "the server takes mail from this host without a login"),
];
/// The ways of a message, as relay.toml has them.
pub(super) const SMTP: &str = "smtp";
pub(super) const GMAIL_API: &str = "gmail-api";
const TRANSPORTS: [(&str, &str); 2] = [
    (SMTP, "the ports of mail"),
    (GMAIL_API, "HTTPS, where these are closed: with an OAuth client or a key of your own"),
];
/// Accounts of any organisation at Microsoft, where none is named.
pub(super) const ANY_TENANT: &str = "organizations";
/// The ways of TLS.
const TLS: [(&str, &str); 4] = [
    ("auto", "from the port: 465 begins with TLS, every other port with STARTTLS"),
    ("starttls", "in plain text first, on any port"),
    ("implicit", "from the first byte, on any port"),
    ("off", "never: for a server on this host only"),
];

impl Login {
    /// Every way at this place.
    fn ways(Place { provider, is_api }: Place) -> &'static [Way] {
        match provider {
            Provider::Custom => &OF_ANY_SERVER,
            // The API takes tokens alone.
            _ if is_api => &OF_GOOGLE[1..3],
            _ if provider.is_google() => &OF_GOOGLE,
            _ if provider.is_microsoft() => &OF_MICROSOFT,
            _ => &OF_ANY_SERVER[..1],
        }
    }

    /// Whether it is one of this place.
    pub(super) fn is_of(self, place: Place) -> bool {
        Self::ways(place).iter().any(|(login, ..)| *login == self)
    }

    /// What it is called in the answers.
    pub(super) fn name(self) -> &'static str {
        OF_GOOGLE.iter().find(|(login, ..)| *login == self).map_or("", |(_, name, _)| name)
    }

    /// The way with this name, wherever it is.
    pub(super) fn of(name: &str) -> Option<Self> {
        OF_GOOGLE.iter().find(|(_, own, _)| *own == name).map(|(login, ..)| *login)
    }

    /// The way that this answer means at a place.
    fn meant(text: &str, place: Place) -> Option<Self> {
        let ways = Self::ways(place);
        let named = ways.iter().find(|(login, name, _)| *name == text || login.name() == text);
        named.or_else(|| numbered(text, ways)).map(|(login, ..)| *login)
    }

    /// The one that counts when nothing else is said.
    pub(super) fn usual(place: Place) -> Self {
        match place.provider.profile().knows_hosts {
            true => Self::None,
            false => Self::ways(place).first().map_or(Self::AppPassword, |(login, ..)| *login),
        }
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

/// Where the answers lead to.
pub(super) fn place(answers: &Answers) -> Place {
    let provider = provider(answers);
    let transport = answers.get(&Name::Transport);
    let is_api = transport.is_some_and(|word| word == GMAIL_API);
    Place { provider, is_api: is_api && may_use_https(provider) }
}

/// Whether mail may leave by the Gmail API.
pub(super) fn may_use_https(provider: Provider) -> bool {
    matches!(provider, Provider::Gmail | Provider::Workspace)
}

/// The provider with this word.
pub(super) fn by_word(word: &str) -> Option<Provider> {
    Provider::WORDS.iter().find(|(own, _)| *own == word).map(|(_, provider)| *provider)
}

/// Whether the login is asked for: elsewhere there is one way.
pub(super) fn asks_login(place: Place) -> bool {
    Login::ways(place).len() > 1
}

/// Whether the host is asked for.
pub(super) fn asks_host(provider: Provider) -> bool {
    provider.profile().host.value.is_none()
}

/// What there is to choose from, each with its words.
pub(super) fn choices(name: Name, place: Place) -> Vec<(&'static str, &'static str)> {
    match name {
        Name::Provider => {
            Provider::WORDS.iter().map(|(word, one)| (*word, one.profile().title)).collect()
        }
        Name::Login => Login::ways(place).iter().map(|(_, name, whom)| (*name, *whom)).collect(),
        Name::Tls => TLS.to_vec(),
        Name::Transport if may_use_https(place.provider) => TRANSPORTS.to_vec(),
        Name::Transport => TRANSPORTS[..1].to_vec(),
        _ => Vec::new(),
    }
}

/// The choice as it is kept.
pub(super) fn chosen(name: Name, text: &str, place: Place) -> Option<&'static str> {
    if name == Name::Login {
        return Login::meant(text, place).map(Login::name);
    }
    let choices = choices(name, place);
    let named = choices.iter().find(|(own, _)| *own == text);
    named.or_else(|| numbered(text, &choices)).map(|(word, _)| *word)
}

/// What is said of an account that logs in in a way that is not asked for.
pub(super) const OF_APPLICATION: &str = "the account logs in as an application of its organisation (auth = \"client-credentials\"), \
     which setup leaves alone: docs/microsoft.md has the lines; then pillarbox check and pillarbox doctor. To log in with a code \
     instead: pillarbox setup --login oauth";

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
        Provider::Microsoft365 => (
            "Microsoft 365 mailbox",
            "Everything is relayed through this mailbox: its full address, such as relay@example.com.",
        ),
        Provider::Outlook => (
            "Outlook.com account",
            "Everything is relayed through this account: its full address, such as you@outlook.com.",
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
        Provider::Microsoft365 | Provider::Outlook => {
            ("Password", "Microsoft takes none from programs: it is not asked for.")
        }
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
            (Provider::Outlook, "oauth", Some(Login::Consent)),
            (Provider::Microsoft365, "password", None),
        ] {
            assert_eq!(Login::meant(text, provider.into()), expected, "{provider:?} {text}");
        }
        let api = Place { provider: Provider::Workspace, is_api: true };
        for (text, expected) in [
            ("1", Some(Login::Consent)),
            ("service-account", Some(Login::ServiceAccount)),
            ("app-password", None),
            ("none", None),
        ] {
            assert_eq!(Login::meant(text, api), expected, "{text}");
        }
        assert_eq!(Login::usual(api), Login::Consent);
        assert_eq!(Login::usual(Provider::Outlook.into()), Login::Consent);
        assert_eq!(Login::usual(Provider::Ses.into()), Login::AppPassword);
    }
}
