//! The checks of `[upstream]`: the account, the way to it, and what would put it at risk.
//!
//! Rule: no secret is read here, only where it is. Half an account is an error; none at all is not,
//! because only `run` needs one. Must not know how delivery uses what it is told.

use std::{
    fs::File,
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{
    Account, SECRET_NAMES, Surroundings,
    hostname::{Host, is_fully_qualified, names_every_host},
    oauth,
    raw::{Auth, TlsMode, Upstream},
    report::{Key, Report, set},
    value::{Parsed, Switch, shown},
};
use crate::delivery::{IpFamily, Login, PasswordSource, Tls, Way, oauth::Options};

const SECTION: &str = "upstream";
const HOST_DEFAULT: &str = "smtp.gmail.com";
/// Beside the system's configuration.
const USUAL_FILE: &str = "password";
/// A username longer than any mailbox (RFC 5321 section 4.5.3.1.3).
const USERNAME_LENGTH_MAX: usize = 320;

/// The connection half of `delivery::Options`.
pub(super) struct Checked {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) other_way: Option<Way>,
    pub(super) ip_family: IpFamily,
    pub(super) login: Option<Login>,
    pub(super) account: Account,
    pub(super) ehlo_name: String,
    pub(super) connections: usize,
    pub(super) logins_per_hour: u32,
}

/// `state` is where the relay keeps what it writes.
pub(super) fn check(
    raw: &Upstream,
    surroundings: &Surroundings,
    state: &Path,
    report: &mut Report<'_>,
) -> Checked {
    let (this_host, secret_directories) =
        (&surroundings.host, surroundings.secret_directories.as_slice());
    let host = host(raw, report);
    let port = report
        .whole(Key { section: SECTION, key: "port", default: 587, range: 1..=65_535 }, raw.port);
    let port = u16::try_from(port).unwrap_or(587);
    let auth = raw.auth.as_ref().map_or(Auth::Password, |Parsed(auth)| *auth);
    let tokens = oauth::check(raw, auth, state, report);
    let login = match auth {
        Auth::Consent | Auth::ServiceAccount => {
            token_login(raw, auth, tokens, secret_directories, report)
        }
        Auth::Password | Auth::None => login(raw, auth, surroundings, report),
    };
    let tls = tls(raw, &host, port, login.is_some(), report);
    let account = match (auth, &login) {
        (Auth::None, _) | (_, Some(_)) => Account::Complete,
        (_, None) => Account::Missing,
    };
    // More than a few connections or logins look like an attack to Gmail (docs/gmail.md section 2).
    let connections = Key { section: SECTION, key: "connections", default: 2, range: 1..=10 };
    let logins_per_hour =
        Key { section: SECTION, key: "logins_per_hour", default: 20, range: 1..=1000 };
    Checked {
        host,
        port,
        tls,
        other_way: other_way(raw, port, tls),
        ip_family: raw.ip_family.as_ref().map_or(IpFamily::Any, |Parsed(family)| *family),
        login,
        account,
        ehlo_name: ehlo_name(raw, this_host, report),
        connections: report.whole(connections, raw.connections) as usize,
        logins_per_hour: report.whole(logins_per_hour, raw.logins_per_hour),
    }
}

/// Without the final dot, which says that a name is whole: every name with a dot in it is looked up as a whole one first.
fn written_host(raw: &Upstream) -> &str {
    let host = set(raw.host.as_ref()).unwrap_or(HOST_DEFAULT);
    host.strip_suffix('.').filter(|name| name.parse::<IpAddr>().is_err()).unwrap_or(host)
}

/// Whether that is one of Google's servers for submission, whose limits are known.
pub(super) fn is_gmail(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    [".gmail.com", ".googlemail.com"].iter().any(|domain| host.ends_with(domain))
}

fn host(raw: &Upstream, report: &mut Report<'_>) -> String {
    let host = written_host(raw);
    let is_name = |name: &str| {
        name.len() <= 253
            && name.split('.').all(|label| !label.is_empty())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    if host.parse::<IpAddr>().is_err() && !is_name(host) {
        let what = format!("{} is not a host name", shown(host));
        report.add(
            SECTION,
            "host",
            what,
            "Write the name alone, such as \"smtp.gmail.com\"; the port has its own key.",
        );
    }
    host.to_owned()
}

fn tls(raw: &Upstream, host: &str, port: u16, has_login: bool, report: &mut Report<'_>) -> Tls {
    match raw.tls.as_ref().map_or(TlsMode::Auto, |Parsed(mode)| *mode) {
        TlsMode::Auto if port == 465 => Tls::Implicit,
        TlsMode::Auto | TlsMode::Starttls => Tls::Starttls,
        TlsMode::Implicit => Tls::Implicit,
        TlsMode::Off => {
            let is_loopback =
                host.parse::<IpAddr>().map_or(host == "localhost", |address| address.is_loopback());
            if !is_loopback {
                let what =
                    format!("without TLS everybody on the way to {host} could read the mail");
                report.add(
                    SECTION,
                    "tls",
                    what,
                    "Remove the line; \"off\" is for an upstream on this host only.",
                );
            }
            if has_login {
                let what = "a password is never sent without TLS";
                report.add(
                    SECTION,
                    "tls",
                    what,
                    "Remove the line, or remove username and password.",
                );
            }
            Tls::Off
        }
    }
}

/// The other of Gmail's two submission ports, when the configured one has its usual protection.
fn other_way(raw: &Upstream, port: u16, tls: Tls) -> Option<Way> {
    let wanted = raw.other_port.is_none_or(|Switch(wanted)| wanted);
    let other = match (port, tls) {
        (587, Tls::Starttls) => Some(Way { port: 465, tls: Tls::Implicit }),
        (465, Tls::Implicit) => Some(Way { port: 587, tls: Tls::Starttls }),
        _ => None,
    };
    other.filter(|_| wanted)
}

fn login(
    raw: &Upstream,
    auth: Auth,
    surroundings: &Surroundings,
    report: &mut Report<'_>,
) -> Option<Login> {
    let secret_directories = surroundings.secret_directories.as_slice();
    let username = set(raw.username.as_ref());
    let sources = password_sources(raw, secret_directories, report);
    if let [(first, _), (second, _), ..] = sources.as_slice() {
        let other = report.place(SECTION, first);
        let what = format!("the password is given twice, here and as {first} ({other})");
        report.add(
            SECTION,
            second,
            what,
            "Keep one of password_file, password_command and password.",
        );
    }
    let source = sources.into_iter().next();
    if auth == Auth::None {
        let written = username.map(|_| "username").or_else(|| source.map(|(key, _)| key));
        if let Some(key) = written {
            let what = "there is an account although auth is \"none\"";
            report.add(SECTION, key, what, "Remove username and password, or remove auth.");
        }
        return None;
    }
    let unnamed =
        |found: fn(&Surroundings) -> Option<Source>| username.and_then(|_| found(surroundings));
    let source =
        source.or_else(|| unnamed(usual_file)).map(|source| or_its_copy(source, surroundings));
    let source = source.or_else(|| unnamed(mounted_secret));
    match (username, source) {
        (None, None) => None,
        (None, Some((key, _))) => {
            report.add_lack(SECTION, key, "there is a password but no username", USERNAME_REMEDY);
            None
        }
        (Some(_), None) => {
            let remedy = "Add password_file = \"/etc/pillarbox/password\" under [upstream]; the first line of that \
                          file is the app password.";
            report.add_lack(SECTION, "username", "there is a username but no password", remedy);
            None
        }
        (Some(username), Some((_, password))) => {
            check_username(username, raw, report);
            Some(Login { username: username.to_owned(), password })
        }
    }
}

/// An account that logs in with tokens has no password.
fn token_login(
    raw: &Upstream,
    auth: Auth,
    tokens: Option<Options>,
    secret_directories: &[PathBuf],
    report: &mut Report<'_>,
) -> Option<Login> {
    let auth = auth.name();
    for (key, _) in password_sources(raw, secret_directories, report) {
        let what = format!("there is a password although auth is \"{auth}\"");
        report.add(SECTION, key, what, "Remove the line, or set auth = \"password\".");
    }
    let Some(username) = set(raw.username.as_ref()) else {
        report.add_lack(
            SECTION,
            "auth",
            format!("auth is \"{auth}\" but there is no username"),
            USERNAME_REMEDY,
        );
        return None;
    };
    check_username(username, raw, report);
    let tokens = PasswordSource::Tokens(Box::new(tokens?));
    Some(Login { username: username.to_owned(), password: tokens })
}

const USERNAME_REMEDY: &str =
    "Add username = \"you@gmail.com\", the account's full address, under [upstream].";

fn check_username(username: &str, raw: &Upstream, report: &mut Report<'_>) {
    if username.len() > USERNAME_LENGTH_MAX || username.chars().any(char::is_control) {
        report.add(
            SECTION,
            "username",
            "it is too long or has control characters",
            USERNAME_REMEDY,
        );
    }
    let at_gmail = written_host(raw).ends_with(".gmail.com");
    if at_gmail && !username.contains('@') {
        report.add(SECTION, "username", "Gmail wants the full address", USERNAME_REMEDY);
    }
}

/// A source of the password, and the key that it stands for.
type Source = (&'static str, PasswordSource);

/// The password that systemd or a container's engine has put where it puts secrets. Only its name is
/// looked for; it is read before each login, like any other. One of a single octet is the line end that the
/// unit (SetCredential=) puts in the place of a password that root has not stored.
fn mounted_secret(surroundings: &Surroundings) -> Option<Source> {
    let directories = surroundings.secret_directories.iter();
    let places = directories.flat_map(|directory| SECRET_NAMES.map(|name| directory.join(name)));
    let is_stored =
        |path: &PathBuf| path.metadata().is_ok_and(|file| file.is_file() && file.len() > 1);
    let found = places.into_iter().find(is_stored);
    found.map(|path| ("password_file", PasswordSource::Mounted(path)))
}

/// The password file beside the system's configuration, which needs no line in it.
fn usual_file(surroundings: &Surroundings) -> Option<Source> {
    let path = surroundings.system_file.with_file_name(USUAL_FILE);
    (path.is_absolute() && path.is_file()).then_some(("password_file", PasswordSource::File(path)))
}

/// The unit hands the daemon a copy of the usual file, which may be root's alone.
fn or_its_copy(source: Source, surroundings: &Surroundings) -> Source {
    let usual = surroundings.system_file.with_file_name(USUAL_FILE);
    match &source.1 {
        PasswordSource::File(path) if *path == usual && File::open(path).is_err() => {
            mounted_secret(surroundings).unwrap_or(source)
        }
        _ => source,
    }
}

/// Every source of the password that is set, in the order of preference.
fn password_sources(
    raw: &Upstream,
    secret_directories: &[PathBuf],
    report: &Report<'_>,
) -> Vec<Source> {
    let file = set(raw.password_file.as_ref()).map(|path| {
        let path = report.path(SECTION, "password_file", path);
        let mounted = secret_directories.iter().any(|directory| path.starts_with(directory));
        let source =
            if mounted { PasswordSource::Mounted(path) } else { PasswordSource::File(path) };
        ("password_file", source)
    });
    let command = raw.password_command.as_ref().filter(|command| !command.0.is_empty());
    let command =
        command.map(|command| ("password_command", PasswordSource::Command(command.0.clone())));
    let inline = raw.password.as_ref().and_then(|password| password.0.clone());
    let inline = inline.map(|secret| ("password", PasswordSource::Inline(secret)));
    [file, command, inline].into_iter().flatten().collect()
}

fn ehlo_name(raw: &Upstream, this_host: &Host, report: &mut Report<'_>) -> String {
    let Some(name) = set(raw.ehlo_name.as_ref()) else { return this_host.fully_qualified_name() };
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = literal.map(|text| text.strip_prefix("IPv6:").unwrap_or(text).parse::<IpAddr>());
    let acceptable = match address {
        Some(Ok(address)) => !address.is_loopback() && !address.is_unspecified(),
        Some(Err(_)) => false,
        None => is_fully_qualified(name),
    };
    if !acceptable {
        let what = if names_every_host(name) || matches!(address, Some(Ok(_))) {
            format!("Gmail turns away clients that call themselves {name} (421 4.7.0)")
        } else {
            format!("{} is no fully qualified name", shown(name))
        };
        let remedy = "Write a name with a dot, such as \"relay.example.org\", or remove the line for this host's own.";
        report.add(SECTION, "ehlo_name", what, remedy);
    }
    name.to_owned()
}
