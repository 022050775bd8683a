//! `[upstream]`: the account, the way to it, and what would put it at risk.
//!
//! Rule: no secret is read here, only where it is. Half an account is an error; none at all is not,
//! because only `run` needs one. Must not know how delivery uses what it is told.

mod oauth;

use std::{
    fs::File,
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{
    document::names_a_password,
    host::{Host, is_fully_qualified, names_every_host},
    report::{Report, in_range},
    surroundings::{SECRET_NAMES, Surroundings},
    value::{
        Words, command, path, secret, section, shown, switch, text, text_if_any, whole,
        whole_if_any, word,
    },
};
use crate::{
    budget::MAIN,
    delivery::{
        API_HOST, IpFamily, Login, PasswordSource, Tls, Transport, Way,
        oauth::{Endpoint, Options},
        provider::Provider,
    },
    secret::Secret,
    smtp::{address::Address, host_name::is_host_name},
};

const SECTION: &str = "upstream";
/// Beside the system's configuration.
const USUAL_FILE: &str = "password";
const API_PORT: i64 = 443;
/// A username longer than any mailbox (RFC 5321 section 4.5.3.1.3).
const USERNAME_LENGTH_MAX: usize = 320;

section! {
    /// `[upstream]`: the account and the way to it.
    pub(super) struct Upstream {
        /// Gmail; with a host that is not Google's, any other server.
        provider: Option<Provider> = None, "text_if_any";
        transport: Transport = Transport::Smtp, "text";
        /// The provider's, as are the next one and those of connections and of recipients a message.
        host: Option<String> = None, "word";
        port: Option<i64> = None, "whole_if_any";
        tls: TlsMode = TlsMode::Auto, "text";
        other_port: bool = true, "switch";
        ip_family: IpFamily = IpFamily::Any, "text";
        username: Option<String> = None, "word";
        password_file: Option<PathBuf> = None, "path";
        password_command: Vec<String> = Vec::new(), "command";
        password: Option<Secret> = None, "secret";
        /// With a password, unless the provider takes none, or knows this host and nobody is named.
        auth: Option<Auth> = None, "text_if_any";
        oauth_tenant: Option<String> = None, "word";
        oauth_client_file: Option<PathBuf> = None, "path";
        oauth_client_id: Option<String> = None, "word";
        oauth_client_secret_file: Option<PathBuf> = None, "path";
        oauth_client_secret: Option<Secret> = None, "secret";
        oauth_client_certificate_file: Option<PathBuf> = None, "path";
        /// In the queue's directory, which the relay's user owns and may write.
        oauth_token_file: Option<PathBuf> = None, "path";
        service_account_file: Option<PathBuf> = None, "path";
        /// Google's; so are the next two.
        oauth_authorization_endpoint: Option<Endpoint> = None, "text";
        oauth_token_endpoint: Option<Endpoint> = None, "text";
        oauth_revocation_endpoint: Option<Endpoint> = None, "text";
        /// This host's name.
        ehlo_name: Option<String> = None, "word";
        ca_file: Option<PathBuf> = None, "path";
        recipients_per_message: Option<i64> = None, "whole_if_any";
        /// More than a few connections or logins look like an attack to Gmail (docs/gmail.md section 2).
        connections: Option<i64> = None, "whole_if_any";
        logins_per_hour: i64 = 20, "whole";
    }
}

/// `upstream.tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TlsMode {
    /// From the port.
    Auto,
    Starttls,
    Implicit,
    Off,
}

impl Words for Provider {
    const WORDS: &'static [(&'static str, Self)] = Self::WORDS;
}

impl Words for Transport {
    const WORDS: &'static [(&'static str, Self)] =
        &[("smtp", Self::Smtp), ("gmail-api", Self::GmailApi)];
}

impl Words for TlsMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("starttls", Self::Starttls),
        ("implicit", Self::Implicit),
        ("off", Self::Off),
    ];
}

/// `upstream.auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Auth {
    Password,
    /// A person has consented in a browser.
    Consent,
    /// A key that may act for the whole domain.
    ServiceAccount,
    /// An application of an organisation at Microsoft.
    Application,
    /// The upstream knows us by our address.
    None,
}

impl Words for Auth {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("password", Self::Password),
        ("oauth", Self::Consent),
        ("service-account", Self::ServiceAccount),
        ("client-credentials", Self::Application),
        ("none", Self::None),
    ];
}

impl Auth {
    /// The word in the file.
    fn name(self) -> &'static str {
        let word = Self::WORDS.iter().find(|(_, choice)| *choice == self);
        word.map_or("", |(word, _)| word)
    }
}

/// Whether there is somebody to relay as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// A login, or `auth = "none"`.
    Complete,
    Missing,
}

/// The way to the upstream: half of `delivery::Options`.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) provider: Provider,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) transport: Transport,
    pub(super) tls: Tls,
    pub(super) other_way: Option<Way>,
    pub(super) ip_family: IpFamily,
    pub(super) login: Option<Login>,
    pub(super) account: Account,
    pub(super) ehlo_name: String,
    /// One more trusted root.
    pub(super) ca_file: Option<PathBuf>,
    pub(super) recipients_per_message: u32,
    pub(super) connections: usize,
    pub(super) logins_per_hour: u32,
}

impl Connection {
    /// The account's own mailbox, where it logs in with its name.
    pub(super) fn mailbox(&self) -> Option<Address> {
        let login = self.login.as_ref().filter(|_| self.provider.profile().logs_in_as_mailbox);
        login.and_then(|login| login.username.parse().ok())
    }
}

impl Upstream {
    /// Who runs the upstream: whoever is named, else Gmail, or with a host that is not Google's somebody unknown.
    pub(super) fn provider(&self) -> Provider {
        let is_gmail = self.host.as_deref().is_none_or(is_gmail);
        self.provider.unwrap_or(if is_gmail { Provider::Gmail } else { Provider::Custom })
    }

    /// The account's own mailbox, as far as the keys tell.
    pub(super) fn mailbox(&self) -> Option<Address> {
        let username = self.username.as_deref();
        username.filter(|_| self.provider().profile().logs_in_as_mailbox)?.parse().ok()
    }

    /// Fills in what the provider decides, to be shown.
    pub(super) fn provide(&mut self) {
        let (provider, auth) = (self.provider(), self.auth());
        let profile = provider.profile();
        self.provider.get_or_insert(provider);
        self.auth.get_or_insert(auth);
        let (host, port) = self.usual_place();
        self.host = self.host.take().or_else(|| host.map(str::to_owned));
        self.port.get_or_insert(port);
        self.recipients_per_message
            .get_or_insert_with(|| profile.recipients_per_message.value.into());
        self.connections.get_or_insert_with(|| profile.connections.value.into());
    }

    /// Whether messages leave by the Gmail API.
    fn is_api(&self) -> bool {
        self.transport == Transport::GmailApi
    }

    /// The host, if there is one that is the same for everybody, and the port, without a line of their own.
    fn usual_place(&self) -> (Option<&'static str>, i64) {
        let profile = self.provider().profile();
        if self.is_api() {
            return (Some(API_HOST), API_PORT);
        }
        (profile.host.value, profile.port.value.into())
    }

    fn auth(&self) -> Auth {
        let without = self.provider().profile().knows_hosts && self.username.is_none();
        let usual = match self.provider() {
            Provider::Outlook => Auth::Consent,
            _ if without => Auth::None,
            _ => Auth::Password,
        };
        self.auth.unwrap_or(usual)
    }

    /// The account has this name; `state` is where the relay keeps what it writes.
    pub(super) fn check(
        &self,
        surroundings: &Surroundings,
        (name, state): (&str, &Path),
        report: &mut Report<'_>,
    ) -> Connection {
        let profile = self.provider().profile();
        let host = self.host(report);
        self.check_transport(report);
        let (_, usual) = self.usual_place();
        let port = self.port.unwrap_or(usual);
        let port = report.whole(SECTION, "port", port, usual, 1..=u16::MAX.into());
        let port = u16::try_from(port).unwrap_or(u16::MAX);
        let tokens = self.tokens(&state.join(token_file(name)), report);
        let login = match self.auth() {
            Auth::Consent | Auth::ServiceAccount | Auth::Application => {
                self.token_login(tokens, surroundings, report)
            }
            Auth::Password | Auth::None => self.password_login(name == MAIN, surroundings, report),
        };
        let tls = self.tls(&host, port, login.is_some(), report);
        let account = match (self.auth(), &login) {
            (Auth::None, _) | (_, Some(_)) => Account::Complete,
            (_, None) => Account::Missing,
        };
        let ehlo_name = self.ehlo_name(&surroundings.host, report);
        let usual = profile.connections.value.into();
        let connections = self.connections.unwrap_or(usual);
        let connections = report.whole(SECTION, "connections", connections, usual, 1..=10);
        let usual = profile.recipients_per_message.value.into();
        let recipients = self.recipients_per_message.unwrap_or(usual);
        let key = "recipients_per_message";
        let recipients_per_message = report.whole(SECTION, key, recipients, usual, 1..=1000);
        let logins_per_hour = in_range!(report.whole, SECTION, self.logins_per_hour, 1..=1000);
        Connection {
            provider: self.provider(),
            host,
            port,
            transport: self.transport,
            tls,
            other_way: self.other_way(port, tls),
            ip_family: self.ip_family,
            login,
            account,
            ehlo_name,
            ca_file: self.ca_file.as_deref().map(|path| report.path(SECTION, "ca_file", path)),
            recipients_per_message,
            connections: connections as usize,
            logins_per_hour,
        }
    }

    /// Without the final dot, which says that a name is whole: every name with a dot in it is looked up as a whole one first.
    fn written_host(&self) -> &str {
        let (usual, _) = self.usual_place();
        let host = self.host.as_deref().or(usual).unwrap_or_default();
        host.strip_suffix('.').filter(|name| name.parse::<IpAddr>().is_err()).unwrap_or(host)
    }

    fn host(&self, report: &mut Report<'_>) -> String {
        let host = self.written_host();
        let provider = self.provider();
        if host.is_empty() {
            let title = provider.profile().title;
            let what = format!("the provider ({title}) has no host that is the same for everybody");
            let remedy =
                "Write the name of your account's server as host; docs/providers.md has more.";
            report.add_lack(SECTION, "provider", what, remedy);
        } else if is_gmail(host) && !provider.is_google() {
            let what = format!("{} is Google's, and its limits are known", shown(host));
            let remedy = "Write \"gmail\", \"workspace\" or \"workspace-relay\", or another host.";
            report.add(SECTION, "provider", what, remedy);
        } else if host.parse::<IpAddr>().is_err() && !is_host_name(host) {
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

    /// What the Gmail API needs: an account of Google, TLS from the first byte, and a token.
    fn check_transport(&self, report: &mut Report<'_>) {
        if !self.is_api() {
            return;
        }
        if !matches!(self.provider(), Provider::Gmail | Provider::Workspace) {
            let what = "the Gmail API sends for accounts of Gmail and Workspace alone";
            let remedy = "Write provider = \"gmail\" or \"workspace\", or remove the line.";
            report.add(SECTION, "transport", what, remedy);
        }
        if !matches!(self.auth(), Auth::Consent | Auth::ServiceAccount) {
            let what = "the Gmail API takes no password, only tokens";
            let remedy = "Write auth = \"oauth\" (and run `pillarbox auth google`) or auth = \"service-account\"; docs/https.md \
                          has the steps.";
            report.add(SECTION, "transport", what, remedy);
        }
        if matches!(self.tls, TlsMode::Starttls | TlsMode::Off) {
            let what = "the Gmail API is spoken over HTTPS, which begins with TLS";
            report.add(SECTION, "tls", what, "Remove the line.");
        }
        if self.host.as_deref().is_some_and(is_gmail) {
            let what = "that is a server for SMTP, and transport is \"gmail-api\"";
            report.add(SECTION, "host", what, "Remove the line for the API's own.");
        }
    }

    fn tls(&self, host: &str, port: u16, has_login: bool, report: &mut Report<'_>) -> Tls {
        match self.tls {
            _ if self.is_api() => Tls::Implicit,
            TlsMode::Auto if port == 465 => Tls::Implicit,
            TlsMode::Auto | TlsMode::Starttls => Tls::Starttls,
            TlsMode::Implicit => Tls::Implicit,
            TlsMode::Off => {
                let is_loopback = host
                    .parse::<IpAddr>()
                    .map_or(host == "localhost", |address| address.is_loopback());
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
    fn other_way(&self, port: u16, tls: Tls) -> Option<Way> {
        let other = match (port, tls) {
            _ if self.is_api() => None,
            (587, Tls::Starttls) => Some(Way { port: 465, tls: Tls::Implicit }),
            (465, Tls::Implicit) => Some(Way { port: 587, tls: Tls::Starttls }),
            _ => None,
        };
        other.filter(|_| self.other_port)
    }

    /// What stands in the usual places is the main account's.
    fn password_login(
        &self,
        is_main: bool,
        surroundings: &Surroundings,
        report: &mut Report<'_>,
    ) -> Option<Login> {
        let username = self.username.as_deref();
        let sources = self.password_sources(surroundings, report);
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
        if self.auth() == Auth::None {
            let written = username.map(|_| "username").or_else(|| source.map(|(key, _)| key));
            if let Some(key) = written {
                let what = "there is an account although auth is \"none\"";
                report.add(SECTION, key, what, "Remove username and password, or remove auth.");
            }
            return None;
        }
        let may_be_unnamed = username.filter(|_| is_main);
        let unnamed = |found: fn(&Surroundings) -> Option<Source>| {
            may_be_unnamed.and_then(|_| found(surroundings))
        };
        let source =
            source.or_else(|| unnamed(usual_file)).map(|source| or_its_copy(source, surroundings));
        let source = source.or_else(|| unnamed(mounted_secret));
        match (username, source) {
            (None, None) => {
                if !is_main {
                    let what = "the account has no username";
                    report.add_lack(SECTION, "username", what, USERNAME_REMEDY);
                }
                None
            }
            (None, Some((key, _))) => {
                report.add_lack(
                    SECTION,
                    key,
                    "there is a password but no username",
                    USERNAME_REMEDY,
                );
                None
            }
            (Some(_), None) => {
                let remedy = if is_main {
                    "Run: pillarbox setup. Or add password_file = \"/etc/pillarbox/password\" under [upstream]; the \
                     first line of that file is the app password."
                } else {
                    "Add password_file with the name of a file; its first line is the password."
                };
                report.add_lack(SECTION, "username", "there is a username but no password", remedy);
                None
            }
            (Some(username), Some((_, password))) => {
                self.check_username(username, report);
                Some(Login { username: username.to_owned(), password })
            }
        }
    }

    /// An account that logs in with tokens has no password.
    fn token_login(
        &self,
        tokens: Option<Options>,
        surroundings: &Surroundings,
        report: &mut Report<'_>,
    ) -> Option<Login> {
        let auth = self.auth().name();
        for (key, _) in self.password_sources(surroundings, report) {
            let what = format!("there is a password although auth is \"{auth}\"");
            let remedy = match self.provider() {
                Provider::Outlook => "Remove the line: Microsoft takes no password there.",
                _ => "Remove the line, or set auth = \"password\".",
            };
            report.add(SECTION, key, what, remedy);
        }
        let Some(username) = self.username.as_deref() else {
            report.add_lack(
                SECTION,
                "auth",
                format!("auth is \"{auth}\" but there is no username"),
                USERNAME_REMEDY,
            );
            return None;
        };
        self.check_username(username, report);
        let tokens = PasswordSource::Tokens(Box::new(tokens?));
        Some(Login { username: username.to_owned(), password: tokens })
    }

    fn check_username(&self, username: &str, report: &mut Report<'_>) {
        if username.len() > USERNAME_LENGTH_MAX || username.chars().any(char::is_control) {
            report.add(
                SECTION,
                "username",
                "it is too long or has control characters",
                USERNAME_REMEDY,
            );
        }
        if names_a_password(username) {
            let what = "there is more in it than a user name: a password, as it seems";
            let remedy = "Write the user name alone; the password goes into the file that password_file names.";
            report.add(SECTION, "username", what, remedy);
        }
        let at_gmail = self.is_api() || self.written_host().ends_with(".gmail.com");
        if at_gmail && !username.contains('@') {
            report.add(SECTION, "username", "Gmail wants the full address", USERNAME_REMEDY);
        }
    }

    /// Every source of the password that is set, in the order of preference.
    fn password_sources(&self, surroundings: &Surroundings, report: &Report<'_>) -> Vec<Source> {
        let file = self.password_file.as_deref().map(|path| {
            let path = report.path(SECTION, "password_file", path);
            let mounted =
                surroundings.secret_directories.iter().any(|directory| path.starts_with(directory));
            let source =
                if mounted { PasswordSource::Mounted(path) } else { PasswordSource::File(path) };
            ("password_file", source)
        });
        let command = Some(&self.password_command).filter(|words| !words.is_empty());
        let command =
            command.map(|words| ("password_command", PasswordSource::Command(words.clone())));
        let inline = self.password.clone();
        let inline = inline.map(|secret| ("password", PasswordSource::Inline(secret)));
        [file, command, inline].into_iter().flatten().collect()
    }

    fn ehlo_name(&self, this_host: &Host, report: &mut Report<'_>) -> String {
        let Some(name) = &self.ehlo_name else { return this_host.fully_qualified_name() };
        let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address =
            literal.map(|text| text.strip_prefix("IPv6:").unwrap_or(text).parse::<IpAddr>());
        let acceptable = match address {
            Some(Ok(address)) => !address.is_loopback() && !address.is_unspecified(),
            Some(Err(_)) => false,
            None => is_fully_qualified(name),
        };
        if !acceptable {
            let what = if names_every_host(name) || matches!(address, Some(Ok(_))) {
                format!("Gmail turns away clients that call themselves {name} (421 4.7.0)")
            } else {
                format!("{} is not a fully qualified name", shown(name))
            };
            let remedy = "Write a name with a dot, such as \"relay.example.org\", or remove the line for this host's own.";
            report.add(SECTION, "ehlo_name", what, remedy);
        }
        name.clone()
    }
}

/// Whether that is one of Google's servers for submission, whose limits are known.
pub(crate) fn is_gmail(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    [".gmail.com", ".googlemail.com"].iter().any(|domain| host.ends_with(domain))
}

/// What the token of the account with this name is called in the queue's directory, which the relay's user owns and may
/// write.
fn token_file(account: &str) -> String {
    if account == MAIN {
        "oauth-token.json".to_owned()
    } else {
        format!("oauth-token-{account}.json")
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

const USERNAME_REMEDY: &str =
    "Add username = \"you@gmail.com\", the account's full address, under [upstream].";
