//! The answers: which question comes next, its default, and what counts as an answer.
//!
//! Rule: pure; what the machine says comes in as [`Found`]. An answer is kept in one form, whatever was typed.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;

use super::{
    edit::network,
    found::Found,
    providers::{self, Login, Place, asks_host, asks_login, place},
    questions::{Answers, Kind, NOBODY, Name, QUESTIONS, THIS_HOST},
};
use crate::{
    delivery::provider::Provider,
    smtp::{address::Address, host_name::is_host_name},
    text::shorten,
};

/// Octets of an answer; no list of networks is longer.
const ANSWER_LENGTH_MAX: usize = 4 * 1024;
/// Characters of a wrong answer that are shown.
const SHOWN_MAX: usize = 60;

/// The way to log in that was chosen, or the only one that there is.
pub(super) fn login(answers: &Answers) -> Option<Login> {
    let chosen = answers.get(&Name::Login).and_then(|name| Login::of(name));
    let place = place(answers);
    chosen.or_else(|| (!asks_login(place)).then(|| Login::usual(place)))
}

/// The user name, where somebody logs in.
pub(super) fn account(answers: &Answers) -> Option<&String> {
    answers.get(&Name::Account).filter(|_| login(answers) != Some(Login::None))
}

/// The account's address, where it is one that mail can be read at.
pub(super) fn mailbox(answers: &Answers) -> Option<&String> {
    let reads = place(answers).provider.profile().logs_in_as_mailbox;
    account(answers).filter(|name| reads && address(name).is_ok())
}

/// Networks that may send; none when it is this host alone.
pub(super) fn networks(answers: &Answers) -> Vec<IpNet> {
    answers.get(&Name::Serve).into_iter().flat_map(|text| words(text)).filter_map(network).collect()
}

/// The addresses that were chosen for them.
pub(super) fn listeners(answers: &Answers) -> Vec<SocketAddr> {
    let text = answers.get(&Name::Listen);
    text.into_iter().flat_map(|text| words(text)).filter_map(|word| word.parse().ok()).collect()
}

/// The next question before the plan that has no answer yet. Whether a password is needed or another transport, the flow knows.
pub(super) fn next(answers: &Answers) -> Option<Name> {
    let (login, place) = (login(answers), place(answers));
    let provider = place.provider;
    // Where many have no login, that is asked before there is an account.
    let may_be_nobody = provider == Provider::Custom || provider.profile().knows_hosts;
    let is_due = |name: &Name| match name {
        Name::Host => asks_host(provider),
        Name::Port | Name::Tls => provider == Provider::Custom,
        Name::Login => asks_login(place),
        Name::Account if may_be_nobody && login.is_none() => false,
        Name::Account => login != Some(Login::None),
        Name::ClientFile => login == Some(Login::Consent) && !provider.is_microsoft(),
        Name::ClientId => provider.is_microsoft(),
        Name::Tenant => provider == Provider::Microsoft365,
        Name::KeyFile => login == Some(Login::ServiceAccount),
        Name::Listen => !networks(answers).is_empty(),
        Name::Transport | Name::Password | Name::SendTo => false,
        Name::Provider | Name::RootTo | Name::Serve => true,
    };
    let names = QUESTIONS.iter().map(|question| question.name);
    names.filter(is_due).find(|name| !answers.contains_key(name))
}

/// What counts when nothing else is said.
pub(super) fn default(name: Name, answers: &Answers, found: &Found) -> Option<String> {
    let place = place(answers);
    let provider = place.provider;
    let written = found.answers_for(provider).remove(&name);
    let fits = |answer: &String| {
        name != Name::Login || Login::of(answer).is_some_and(|login| login.is_of(place))
    };
    if let Some(answer) = written.filter(fits) {
        return Some(answer);
    }
    let beside = |file: &str| Some(found.directory().join(file).display().to_string());
    match name {
        Name::Provider => Some(Provider::Gmail.word().to_owned()),
        Name::Port => Some(provider.profile().port.value.to_string()),
        Name::Tls => Some("auto".to_owned()),
        Name::Transport => Some(providers::SMTP.to_owned()),
        Name::Tenant => Some(providers::ANY_TENANT.to_owned()),
        // As the list has it: elsewhere than at Google no password is one for programs alone.
        Name::Login => Some(match Login::usual(place) {
            Login::AppPassword if provider == Provider::Custom => "password".to_owned(),
            login => login.name().to_owned(),
        }),
        Name::Account if provider == Provider::Sendgrid => Some("apikey".to_owned()),
        Name::ClientFile => beside("client.json"),
        Name::KeyFile => beside("service-account.json"),
        Name::RootTo => mailbox(answers).cloned(),
        Name::SendTo => answers.get(&Name::RootTo).cloned(),
        Name::Serve => Some(THIS_HOST.to_owned()),
        Name::Listen => Some(default_listeners(&networks(answers), found)),
        Name::Host | Name::Account | Name::ClientId | Name::Password => None,
    }
}

/// This host's addresses in the networks, or else all that it has.
fn default_listeners(networks: &[IpNet], found: &Found) -> String {
    let port = found.port();
    let own =
        found.addresses.iter().filter(|own| networks.iter().any(|network| network.contains(*own)));
    let own: Vec<String> = own.map(|own| SocketAddr::new(*own, port).to_string()).collect();
    if !own.is_empty() {
        return own.join(" ");
    }
    let all: IpAddr = match networks.iter().all(|network| network.addr().is_ipv4()) {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(all, port).to_string()
}

/// The answer as it is kept, or what is wrong with it.
pub(super) fn check(name: Name, text: &str, place: Place, found: &Found) -> Result<String, String> {
    let text = text.trim();
    let shown = shorten(text, SHOWN_MAX);
    if text.len() > ANSWER_LENGTH_MAX {
        return Err(format!("the answer is longer than {ANSWER_LENGTH_MAX} octets"));
    }
    if text.is_empty() {
        return Err("an answer is needed".to_owned());
    }
    if text.chars().any(crate::text::is_deceptive) {
        return Err(format!("{shown} has a character that cannot be seen; type it anew"));
    }
    match providers::question(name, place.provider).kind {
        Kind::Address => address(text),
        Kind::User => Ok(text.to_owned()),
        Kind::Host => host(text),
        Kind::Port => port(text),
        Kind::AddressOrNo if text == NOBODY => Ok(NOBODY.to_owned()),
        Kind::AddressOrNo => address(text),
        Kind::Id => id(text),
        Kind::Choice => match providers::chosen(name, text, place) {
            Some(word) => Ok(word.to_owned()),
            None => {
                let words = providers::choices(name, place);
                let words: Vec<&str> = words.into_iter().map(|(word, _)| word).collect();
                Err(format!("{shown} is not one of {}", words.join(", ")))
            }
        },
        Kind::File => Ok(file(text, found).display().to_string()),
        Kind::Networks if text == THIS_HOST => Ok(text.to_owned()),
        Kind::Networks => each(text, trusted),
        Kind::Listeners => each(text, |word| listener(word, found.port())),
        Kind::Secret => Err("a secret is not an answer".to_owned()),
    }
}

fn address(text: &str) -> Result<String, String> {
    let wrong =
        || format!("{} is not a full address such as you@gmail.com", shorten(text, SHOWN_MAX));
    let address: Address = text.parse().map_err(|_| wrong())?;
    // A host without a dot has no mailbox elsewhere.
    let has_domain =
        address.domain().is_some_and(|domain| domain.contains('.') || domain.starts_with('['));
    if has_domain { Ok(address.to_string()) } else { Err(wrong()) }
}

fn host(text: &str) -> Result<String, String> {
    let is_address = text.parse::<IpAddr>().is_ok();
    let wrong = "is not the name of a server such as smtp.example.org; the port has its own answer";
    match is_address || is_host_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("{} {wrong}", shorten(text, SHOWN_MAX))),
    }
}

fn id(text: &str) -> Result<String, String> {
    let is_id = text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-_".contains(&octet));
    match is_id {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{} is not an id such as 66666666-7777-8888-9999-000000000000",
            shorten(text, SHOWN_MAX)
        )),
    }
}

fn port(text: &str) -> Result<String, String> {
    let number = text.parse::<u16>().ok().filter(|number| *number > 0);
    number
        .map(|number| number.to_string())
        .ok_or_else(|| format!("{} is not a port, such as 587 or 465", shorten(text, SHOWN_MAX)))
}

/// The path as a shell would have it: nobody writes `~` and means a directory of that name.
fn file(text: &str, found: &Found) -> PathBuf {
    match (text.strip_prefix("~/"), &found.home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', ',']).filter(|word| !word.is_empty())
}

fn each(text: &str, check: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let checked: Vec<String> = words(text).map(check).collect::<Result<_, _>>()?;
    if checked.is_empty() { Err("an answer is needed".to_owned()) } else { Ok(checked.join(" ")) }
}

fn trusted(word: &str) -> Result<String, String> {
    let wrong = || {
        let shown = shorten(word, SHOWN_MAX);
        format!("{shown} is neither \"host\" nor a network such as 192.168.1.0/24")
    };
    let network = network(word).ok_or_else(wrong)?;
    if network.trunc() != network {
        return Err(format!("{network} is an address within a network; write {}", network.trunc()));
    }
    if network.addr().is_loopback() {
        return Err(format!(
            "{network} is this host, which may always send; write \"host\" for it alone"
        ));
    }
    Ok(network.to_string())
}

fn listener(word: &str, port: u16) -> Result<String, String> {
    let alone = || {
        let bare = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(word);
        Some(SocketAddr::new(bare.parse().ok()?, port))
    };
    let address: Option<SocketAddr> = word.parse().ok().or_else(alone);
    let address = address.filter(|address| address.port() != 0);
    address.map(|address| address.to_string()).ok_or_else(|| {
        let shown = shorten(word, SHOWN_MAX);
        format!("{shown} is not an address with a port, such as 192.168.1.10:25 or [fd00::1]:25")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(pairs: &[(Name, &str)]) -> Answers {
        pairs.iter().map(|(name, text)| (*name, (*text).to_owned())).collect()
    }

    #[test]
    fn each_way_to_log_in_asks_what_it_needs_and_nothing_else() {
        use Name::*;
        for (login, network, expected) in [
            ("app-password", "host", &[Account, RootTo, Serve][..]),
            ("oauth", "host", &[Account, ClientFile, RootTo, Serve]),
            ("service-account", "host", &[Account, KeyFile, RootTo, Serve]),
            ("none", "10.0.0.0/8", &[RootTo, Serve, Listen]),
        ] {
            let mut answers = answers(&[(Login, login), (Provider, "gmail")]);
            let mut asked = Vec::new();
            while let Some(name) = next(&answers) {
                asked.push(name);
                answers.insert(name, if name == Serve { network } else { "x" }.to_owned());
            }
            assert_eq!(asked, expected, "{login}");
        }
    }

    #[test]
    fn a_provider_is_asked_for_what_its_profile_does_not_say() {
        use Name::*;
        for (word, expected) in [
            ("gmail", &[Account, Login, RootTo, Serve][..]),
            ("workspace-relay", &[Login, Account, RootTo, Serve]),
            ("icloud", &[Account, RootTo, Serve]),
            ("outlook", &[Account, ClientId, RootTo, Serve]),
            ("microsoft365", &[Account, ClientId, Tenant, RootTo, Serve]),
            ("ses", &[Host, Account, RootTo, Serve]),
            ("custom", &[Host, Port, Tls, Login, Account, RootTo, Serve]),
        ] {
            let mut answers = answers(&[(Provider, word)]);
            let mut asked = Vec::new();
            while let Some(name) = next(&answers) {
                asked.push(name);
                let answer = if name == Login { "app-password" } else { "host" };
                answers.insert(name, answer.to_owned());
            }
            assert_eq!(asked, expected, "{word}");
        }
    }

    #[test]
    fn an_answer_is_kept_in_one_form_and_a_wrong_one_is_explained() {
        let found = Found::of_nothing("/home/me/relay.toml");
        for (name, text, kept) in [
            (Name::Account, " you@gmail.com ", "you@gmail.com"),
            (Name::Provider, "6", "icloud"),
            (Name::Host, "192.0.2.1", "192.0.2.1"),
            (Name::Port, "465", "465"),
            (Name::Tls, "2", "starttls"),
            (Name::Transport, "2", "gmail-api"),
            (Name::Tenant, "example.com", "example.com"),
            (Name::Provider, "outlook", "outlook"),
            (Name::Login, "1", "app-password"),
            (Name::Login, "none", "none"),
            (Name::Serve, "host", "host"),
            (
                Name::Serve,
                "192.168.1.0/24,10.1.2.3  fd00::/8",
                "192.168.1.0/24 10.1.2.3/32 fd00::/8",
            ),
            (
                Name::Listen,
                "192.168.1.10, [fd00::1]:2525 fd00::2",
                "192.168.1.10:2525 [fd00::1]:2525 [fd00::2]:2525",
            ),
            (Name::SendTo, "no", "no"),
            (Name::ClientFile, "~/Downloads/c.json", "/home/me/Downloads/c.json"),
        ] {
            assert_eq!(check(name, text, Provider::Gmail.into(), &found), Ok(kept.to_owned()));
        }
        for (name, text, words) in [
            (Name::Provider, "gmial", "gmial is not one of gmail, workspace"),
            (Name::ClientId, "an id", "an id is not an id such as"),
            (Name::Host, "smtp.example.org:587", "the port has its own answer"),
            (Name::Port, "0", "0 is not a port"),
            (Name::Tls, "ssl", "ssl is not one of auto, starttls, implicit, off"),
            (Name::Account, "", "an answer is needed"),
            (Name::Account, "you", "you is not a full address"),
            (Name::Account, "you@host", "not a full address"),
            (Name::Account, "you@gmail.com\u{9b}2J", "you@gmail.com\\u{9b}2J has a character"),
            (Name::Account, "you\u{202e}@gmail.com", "cannot be seen"),
            (Name::Login, "5", "5 is not one of"),
            (Name::Login, "0", "0 is not one of"),
            (Name::Login, "password", "is not one of"),
            (Name::Serve, "192.168.1.5/24", "write 192.168.1.0/24"),
            (Name::Serve, "127.0.0.0/8", "is this host"),
            (Name::Serve, "lan", "lan is neither"),
            (Name::Serve, ",", "an answer is needed"),
            (Name::Listen, "eth0", "is not an address with a port"),
            (Name::Listen, "192.168.1.1:0", "is not an address with a port"),
            (Name::SendTo, "nobody", "nobody is not a full address"),
        ] {
            let error = check(name, text, Provider::Gmail.into(), &found).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        let long = check(Name::Serve, &"1".repeat(5000), Provider::Gmail.into(), &found);
        assert!(long.unwrap_err().contains("4096"));
    }

    #[test]
    fn the_default_address_is_this_hosts_own_in_the_network_or_else_every_one() {
        let mut found = Found::of_nothing("/etc/pillarbox/relay.toml");
        found.is_root = true;
        found.addresses =
            ["192.168.1.10", "10.0.0.5", "fd00::1"].map(|text| text.parse().unwrap()).to_vec();
        for (networks, expected) in [
            ("192.168.1.0/24", "192.168.1.10:25"),
            ("192.168.1.0/24 fd00::/8", "192.168.1.10:25 [fd00::1]:25"),
            ("172.16.0.0/16", "0.0.0.0:25"),
            ("2001:db8::/48", "[::]:25"),
        ] {
            let answers = answers(&[(Name::Serve, networks)]);
            assert_eq!(default(Name::Listen, &answers, &found).unwrap(), expected);
        }
    }
}
