//! The plan of `pillarbox setup`, from the answers and from what is on the machine: files with their modes, then the service.
//!
//! Rule: what is done already is not in it, so a second plan is what the first one left. Pure.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{
    answers::{account, listeners, login, mailbox, networks},
    edit::{self, Change, Setting},
    found::{Found, parent},
    providers::{self, ANY_TENANT, Login, asks_host, place, provider},
    questions::{Answers, Name},
    service, transport,
};
use crate::{
    delivery::{API_HOST, provider::Provider},
    settings::is_gmail,
};

/// Gmail's server for accounts, and the one that knows a host by its address.
const GMAIL: &str = "smtp.gmail.com";
const RELAY_SERVICE: &str = "smtp-relay.gmail.com";
/// Modes of directories and of files without a secret.
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
/// Of files with a secret: their owner's alone, or for the service's group to read as well.
pub(super) const SECRET_MODE: u32 = 0o600;
const GROUP_MODE: u32 = 0o640;
/// The keys of each way to log in.
const PASSWORD_KEYS: [&str; 3] = ["password_file", "password_command", "password"];
const CLIENT_KEYS: [&str; 4] =
    ["oauth_client_file", "oauth_client_id", "oauth_client_secret_file", "oauth_client_secret"];
const KEY_KEY: &str = "service_account_file";
const TENANT_KEY: &str = "oauth_tenant";
const CERTIFICATE_KEY: &str = "oauth_client_certificate_file";
const TOKEN_KEY: &str = "oauth_token_file";
/// The head of a relay.toml that was not there.
const NEW_FILE: &str = "\
# Pillarbox. `pillarbox setup` has written this; change what you like. What is not here has its default: the annotated
# relay.toml of the documentation has every key, and `pillarbox check` shows what is used.

[upstream]
";
/// The head of the drop-in.
const NEW_DROP_IN: &str = "# Written by `pillarbox setup`: the addresses of listener.addresses in relay.toml.\n[Socket]\n";

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Makes a directory.
    Directory { path: PathBuf },
    /// Stores the password that was given.
    Password { path: PathBuf, what: &'static str, replaces: bool },
    /// Copies a secret file to where the relay may read it.
    Copy { from: PathBuf, to: PathBuf, for_service: bool, replaces: bool },
    /// Writes relay.toml.
    Config { path: PathBuf, text: String, changes: Vec<Change>, is_new: bool },
    /// Writes the drop-in of the socket unit.
    DropIn { path: PathBuf, text: String, replaces: bool },
    /// Tries the login.
    Prove { host: String, account: Option<String> },
    /// Calls systemctl.
    Service { arguments: Vec<&'static str>, why: &'static str },
}

/// All of it, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) deeds: Vec<Deed>,
    /// What a person should know beside it.
    pub(super) notes: Vec<String>,
    /// Whose files they will be.
    pub(super) owner: &'static str,
}

/// What is to be done beside the answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Orders {
    /// A password was given that is to be stored.
    pub(super) stores_password: bool,
    /// The login is tried.
    pub(super) proves: bool,
    /// An earlier call has changed files that the service has not read.
    pub(super) service_is_due: bool,
}

/// Makes the plan. It fails only when relay.toml has a form that cannot be edited.
pub(super) fn make(answers: &Answers, found: &Found, orders: Orders) -> Result<Plan, String> {
    let mut deeds = Vec::new();
    if !found.has_directory {
        deeds.push(Deed::Directory { path: found.directory().to_owned() });
    }
    if orders.stores_password {
        let path = found.password_file();
        let what = providers::secret(provider(answers));
        deeds.push(Deed::Password { replaces: found.has_password, what, path });
    }
    let secret = secret_file(answers, found);
    deeds.extend(secret.as_ref().and_then(|(from, to)| copy(from, to, found)));
    let secret = secret.map(|(_, to)| to);
    let changes = changes(answers, found, secret.as_deref(), orders.stores_password);
    let old = found.text.as_deref();
    let text = edit::apply(old.unwrap_or(NEW_FILE), &changes)?;
    if old != Some(text.as_str()) {
        let path = found.config.clone();
        deeds.push(Deed::Config { path, text, changes, is_new: old.is_none() });
    }
    let drop_in = drop_in(answers, found);
    // An earlier call may have been interrupted before systemd read what it wrote.
    let has_drop_in = drop_in.is_some() || (orders.service_is_due && found.drop_in.is_some());
    deeds.extend(drop_in);
    let changes_files = !deeds.is_empty();
    if orders.proves {
        deeds.push(Deed::Prove { host: host(answers, found), account: account(answers).cloned() });
    }
    deeds.extend(service(found, changes_files || orders.service_is_due, has_drop_in));
    let owner = if found.is_root { "root" } else { "you" };
    Ok(Plan { deeds, notes: notes(answers, found), owner })
}

impl Plan {
    /// Whether nothing is left to do but the proof.
    pub(super) fn is_done(&self) -> bool {
        self.deeds.iter().all(|deed| matches!(deed, Deed::Prove { .. }))
    }

    /// The text that relay.toml gets, when it gets another.
    pub(super) fn text(&self) -> Option<&str> {
        self.deeds.iter().find_map(|deed| match deed {
            Deed::Config { text, .. } => Some(text.as_str()),
            _ => None,
        })
    }
}

/// The file of the client or of the key that was named, and where it belongs.
fn secret_file(answers: &Answers, found: &Found) -> Option<(PathBuf, PathBuf)> {
    let (name, usual) = match login(answers)? {
        Login::Consent if provider(answers).is_microsoft() => return None,
        Login::Consent => (Name::ClientFile, "client.json"),
        Login::ServiceAccount => (Name::KeyFile, "service-account.json"),
        Login::AppPassword | Login::None => return None,
    };
    let from = PathBuf::from(answers.get(&name)?);
    let is_configured = found.answers().get(&name).is_some_and(|path| from == *path);
    let is_there = is_configured || parent(&from) == found.directory();
    let to = if is_there { from.clone() } else { found.directory().join(usual) };
    Some((from, to))
}

fn copy(from: &Path, to: &Path, found: &Found) -> Option<Deed> {
    (from != to).then(|| Deed::Copy {
        from: from.to_owned(),
        to: to.to_owned(),
        for_service: found.has_unit,
        replaces: found.beside.iter().any(|name| to.file_name() == Some(name.as_ref())),
    })
}

/// The server that the mail goes to.
pub(super) fn host(answers: &Answers, found: &Found) -> String {
    let provider = provider(answers);
    if asks_host(provider) {
        return answers.get(&Name::Host).cloned().unwrap_or_default();
    }
    let written = found.written.text("upstream", "host").filter(|_| !moves(answers, found));
    if place(answers).is_api {
        return written.filter(|host| !is_gmail(host)).unwrap_or_else(|| API_HOST.to_owned());
    }
    let written = written.filter(|host| host != GMAIL && host != API_HOST);
    let by_address = provider.is_google() && login(answers) == Some(Login::None);
    let usual = if by_address { Some(RELAY_SERVICE) } else { provider.profile().host.value };
    written.unwrap_or_else(|| usual.unwrap_or_default().to_owned())
}

/// Whether the mail went to another provider before.
pub(super) fn moves(answers: &Answers, found: &Found) -> bool {
    found.provider().is_some_and(|old| old != provider(answers))
}

/// Who runs the upstream and where it is, as far as the files do not say it.
fn of_provider(answers: &Answers, found: &Found) -> Vec<Change> {
    const SECTION: &str = "upstream";
    let provider = provider(answers);
    let written = |key| found.written.text(SECTION, key);
    let mut changes = Vec::new();
    let is_asked = |key: &str| match key {
        "host" => asks_host(provider),
        _ => provider == Provider::Custom,
    };
    let keys = ["host", "port", "tls"];
    // What led to the provider before would lead there still.
    if moves(answers, found) {
        let others = keys.into_iter().filter(|key| !is_asked(key));
        let others = others.filter(|key| found.written.names(SECTION, key));
        changes.extend(others.map(|key| Change::Remove { section: SECTION, key }));
    }
    if found.provider().unwrap_or(Provider::Gmail) != provider {
        changes.push(Change::text(SECTION, "provider", provider.word()));
    }
    let host = answers
        .get(&Name::Host)
        .filter(|host| is_asked("host") && Some(*host) != written("host").as_ref());
    changes.extend(host.map(|host| Change::text(SECTION, "host", host)));
    if provider == Provider::Custom {
        let usual = provider.profile().port.value.to_string();
        let port = answers.get(&Name::Port);
        let port =
            port.filter(|port| **port != found.written.number(SECTION, "port").unwrap_or(usual));
        let port = port.and_then(|port| port.parse().ok());
        changes.extend(port.map(|port| Change::Set {
            section: SECTION,
            key: "port",
            to: Setting::Number(port),
        }));
        let tls = answers.get(&Name::Tls);
        let tls = tls.filter(|tls| **tls != written("tls").unwrap_or_else(|| "auto".to_owned()));
        changes.extend(tls.map(|tls| Change::text(SECTION, "tls", tls)));
    }
    changes
}

/// What relay.toml must say that it does not yet.
fn changes(
    answers: &Answers,
    found: &Found,
    secret: Option<&Path>,
    stores_password: bool,
) -> Vec<Change> {
    let mut changes = of_provider(answers, found);
    changes.extend(transport::changes(answers, found, moves(answers, found)));
    changes.extend(of_login(answers, found, secret, stores_password));
    let written = found.written.text("identity", "admin").or_else(|| mailbox(answers).cloned());
    if let Some(reader) =
        answers.get(&Name::RootTo).filter(|reader| Some(*reader) != written.as_ref())
    {
        changes.push(Change::text("identity", "admin", reader));
    }
    changes.extend(of_listener(answers, found));
    changes
}

fn of_login(
    answers: &Answers,
    found: &Found,
    secret: Option<&Path>,
    stores_password: bool,
) -> Vec<Change> {
    const SECTION: &str = "upstream";
    let Some(login) = login(answers) else { return Vec::new() };
    let written = |key| found.written.text(SECTION, key);
    let path = |path: &Path| Some(found.written_path(path));
    let secret = secret.and_then(path);
    let keeps_other =
        (found.has_other_password() || found.has_unnamed_password()) && !stores_password;
    let password = found.password_file();
    let password = Some(&password).filter(|_| !keeps_other).and_then(|file| path(file));
    let auth = |name: &str| Some(name.to_owned());
    let relay = (host(answers, found) == RELAY_SERVICE
        && provider(answers) != Provider::WorkspaceRelay)
        .then(|| RELAY_SERVICE.to_owned());
    let account = answers.get(&Name::Account).cloned();
    let set: Vec<(&'static str, Option<String>)> = match login {
        Login::AppPassword => vec![("username", account), ("password_file", password)],
        Login::Consent if provider(answers).is_microsoft() => {
            let id = answers.get(&Name::ClientId).cloned();
            let tenant = answers.get(&Name::Tenant).filter(|tenant| *tenant != ANY_TENANT);
            let tenant = tenant.map(|tenant| (TENANT_KEY, Some(tenant.clone())));
            let client = [("username", account), ("auth", auth("oauth")), (CLIENT_KEYS[1], id)];
            client.into_iter().chain(tenant).collect()
        }
        Login::Consent => {
            vec![("username", account), ("auth", auth("oauth")), (CLIENT_KEYS[0], secret)]
        }
        Login::ServiceAccount => {
            vec![("username", account), ("auth", auth("service-account")), (KEY_KEY, secret)]
        }
        Login::None => vec![("host", relay), ("auth", auth("none"))],
    };
    let of_tokens = [KEY_KEY, TOKEN_KEY, TENANT_KEY, CERTIFICATE_KEY, "auth", "username"];
    let others = [&PASSWORD_KEYS[..], &CLIENT_KEYS, &of_tokens].concat();
    let is_kept = |key: &&str| {
        set.iter().any(|(set, _)| set == key)
            || (login == Login::AppPassword && keeps_other && PASSWORD_KEYS.contains(key))
            || (login == Login::Consent && *key == TOKEN_KEY && !moves(answers, found))
    };
    let removed = others.into_iter().filter(|key| !is_kept(key) && found.written.has(SECTION, key));
    let remove = removed.map(|key| Change::Remove { section: SECTION, key }).collect::<Vec<_>>();
    let set = set.into_iter().filter_map(|(key, value)| {
        let value = value.filter(|value| Some(value) != written(key).as_ref())?;
        Some(Change::text(SECTION, key, value))
    });
    remove.into_iter().chain(set).collect()
}

fn of_listener(answers: &Answers, found: &Found) -> Vec<Change> {
    let list = |addresses: &[String]| Change::Set {
        section: "listener",
        key: "addresses",
        to: Setting::List(addresses.to_vec()),
    };
    let mut changes = Vec::new();
    let wanted = addresses(answers, found);
    let written = found.written.list("listener", "addresses");
    if wanted != written.unwrap_or_else(|| usual_addresses(25)) {
        changes.push(list(&wanted));
    }
    let trusted = found.written.trusted();
    let is_new = |network: &IpNet| !trusted.iter().any(|known| known.contains(network));
    let networks: Vec<IpNet> = networks(answers).into_iter().filter(is_new).collect();
    if !networks.is_empty() {
        changes.push(Change::Trust { networks });
    }
    // What only root may use by default.
    let own = [
        ("queue", "directory", "queue"),
        ("admin", "socket", "run/admin.sock"),
        ("sendmail", "socket", "run/submit.sock"),
        ("sendmail", "drop_directory", "drop"),
    ];
    let own = own
        .into_iter()
        .filter(|(section, key, _)| !found.is_root && !found.written.has(section, key));
    changes.extend(own.map(|(section, key, path)| Change::text(section, key, path)));
    changes
}

/// Those of a relay for this host alone.
fn usual_addresses(port: u16) -> Vec<String> {
    ["127.0.0.1", "[::1]"].map(|address| format!("{address}:{port}")).to_vec()
}

/// Where mail is taken: where it is taken already, and where the answers say. An address that stands for all others of
/// its family and port leaves no room for them.
fn addresses(answers: &Answers, found: &Found) -> Vec<String> {
    let written = found.written.list("listener", "addresses");
    let mut all = written.unwrap_or_else(|| usual_addresses(found.port()));
    let chosen = listeners(answers);
    let covers = |wide: &SocketAddr, other: &SocketAddr| {
        wide.ip().is_unspecified()
            && wide.port() == other.port()
            && wide.is_ipv4() == other.is_ipv4()
    };
    all.retain(|text| {
        text.parse::<SocketAddr>()
            .map_or(true, |address| !chosen.iter().any(|wide| covers(wide, &address)))
    });
    let parsed: Vec<SocketAddr> = all.iter().filter_map(|text| text.parse().ok()).collect();
    let is_new =
        |one: &&SocketAddr| !parsed.contains(one) && !parsed.iter().any(|wide| covers(wide, one));
    all.extend(chosen.iter().filter(is_new).map(ToString::to_string));
    all
}

/// Under systemd the ports are those of the socket unit.
fn drop_in(answers: &Answers, found: &Found) -> Option<Deed> {
    if !found.has_unit || networks(answers).is_empty() {
        return None;
    }
    // The empty line takes the unit's own addresses away, of which one could be in the way of 0.0.0.0.
    let lines = addresses(answers, found);
    let lines = lines.iter().map(|address| format!("ListenStream={address}\n")).collect::<String>();
    let text = format!("{NEW_DROP_IN}ListenStream=\n{lines}");
    let replaces = found.drop_in.is_some();
    let is_new = found.drop_in.as_deref() != Some(text.as_str());
    is_new.then(|| Deed::DropIn { path: found.drop_in_path.clone(), text, replaces })
}

fn service(found: &Found, is_due: bool, has_drop_in: bool) -> Vec<Deed> {
    if !(found.has_unit && found.is_root) {
        return Vec::new();
    }
    let deed =
        |arguments: &[&'static str], why| Deed::Service { arguments: arguments.to_vec(), why };
    let start = deed(
        &["enable", "--now", service::SOCKET, service::UNIT],
        "start it, now and with the machine",
    );
    let mut deeds = Vec::new();
    if has_drop_in {
        deeds.push(deed(&["daemon-reload"], "have systemd read its files"));
    }
    match (found.is_active, is_due, has_drop_in) {
        // A socket gets other addresses only while its service is stopped.
        (true, true, true) => {
            deeds.push(deed(&["stop", service::UNIT, service::SOCKET], "close the old addresses"));
            deeds.push(start);
        }
        (true, true, false) => {
            deeds.push(deed(&["restart", service::UNIT], "have it read its configuration"))
        }
        (true, false, _) => {}
        (false, ..) => deeds.push(start),
    }
    deeds
}

fn notes(answers: &Answers, found: &Found) -> Vec<String> {
    let serves_host = networks(answers).is_empty();
    let trusted =
        found.written.trusted().into_iter().filter(|network| !network.addr().is_loopback());
    let trusted: Vec<String> = trusted.map(|network| network.to_string()).collect();
    let kept = (serves_host && !trusted.is_empty()).then(|| {
        format!(
            "{} may still send: remove its section in {} to end that",
            trusted.join(", "),
            found.config.display()
        )
    });
    let open = networks(answers).iter().any(|network| network.prefix_len() == 0);
    let open = open.then(|| "everybody would be in that network".to_owned());
    kept.into_iter().chain(open).chain(transport::note(answers, found)).collect()
}

impl Deed {
    /// The mode of what is written.
    pub(super) fn mode(&self) -> Option<u32> {
        match self {
            Self::Directory { .. } => Some(DIRECTORY_MODE),
            Self::Password { .. } => Some(SECRET_MODE),
            Self::Copy { for_service, .. } => {
                Some(if *for_service { GROUP_MODE } else { SECRET_MODE })
            }
            Self::Config { is_new: true, .. } | Self::DropIn { .. } => Some(FILE_MODE),
            Self::Config { .. } | Self::Prove { .. } | Self::Service { .. } => None,
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Directory { path }
            | Self::Password { path, .. }
            | Self::Copy { to: path, .. }
            | Self::Config { path, .. }
            | Self::DropIn { path, .. } => Some(path),
            Self::Prove { .. } | Self::Service { .. } => None,
        }
    }

    /// What it is called for programs.
    fn name(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "make-directory",
            Self::Password { .. } => "store-password",
            Self::Copy { .. } => "copy-file",
            Self::Config { .. } => "write-configuration",
            Self::DropIn { .. } => "write-drop-in",
            Self::Prove { .. } => "prove-login",
            Self::Service { .. } => "run-systemctl",
        }
    }

    /// In words, and line by line what it consists of.
    pub(super) fn words(&self, owner: &str) -> (String, Vec<String>) {
        let rights =
            self.mode().map_or_else(String::new, |mode| format!(" ({owner}, mode {mode:04o})"));
        let shown = self.path().map(|path| path.display().to_string()).unwrap_or_default();
        let verb = |replaces: &bool| if *replaces { "replace" } else { "write" };
        match self {
            Self::Directory { .. } => (format!("make the directory {shown}{rights}"), Vec::new()),
            Self::Password { replaces: false, what, .. } => {
                (format!("store the {what} in {shown}{rights}"), Vec::new())
            }
            Self::Password { .. } => {
                (format!("replace the password in {shown}{rights}"), Vec::new())
            }
            Self::Copy { from, replaces, .. } => {
                let over = if *replaces { ", which is there and is replaced" } else { "" };
                (format!("copy {} to {shown}{over}{rights}", from.display()), Vec::new())
            }
            Self::Config { is_new, changes, .. } => {
                let what = match is_new {
                    true => format!("write {shown}, a new file{rights}"),
                    false => format!("change {shown}; its comments and all else in it stay"),
                };
                (what, changes.iter().map(Change::words).collect())
            }
            Self::DropIn { text, replaces, .. } => {
                let lines =
                    text.lines().filter(|line| line.starts_with("Listen")).map(str::to_owned);
                (format!("{} {shown}{rights}", verb(replaces)), lines.collect())
            }
            Self::Prove { host, account: Some(account) } => (
                format!("log in to {host} as {account}, to prove that it works; nothing is sent"),
                Vec::new(),
            ),
            Self::Prove { host, account: None } => (
                format!("connect to {host}, to prove that it answers; nothing is sent"),
                Vec::new(),
            ),
            Self::Service { arguments, why } => {
                (format!("systemctl {}, to {why}", arguments.join(" ")), Vec::new())
            }
        }
    }

    /// For programs.
    pub(super) fn document(&self, owner: &str) -> Value {
        let (words, lines) = self.words(owner);
        let mode = self.mode().map(|mode| format!("{mode:04o}"));
        json!({
            "deed": self.name(),
            "file": self.path(),
            "mode": mode,
            "owner": mode.as_ref().map(|_| owner),
            "words": words,
            "lines": lines,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::setup::{edit::Written, report};

    fn answers(login: &str, serve: &str) -> Answers {
        let pairs = [
            (Name::Account, "me@gmail.com"),
            (Name::Login, login),
            (
                Name::ClientFile,
                "/home/me/Downloads/client_secret_1.apps.googleusercontent.com.json",
            ),
            (Name::KeyFile, "/etc/pillarbox/service-account.json"),
            (Name::RootTo, "boss@example.org"),
            (Name::Serve, serve),
        ];
        let mut answers: Answers = pairs.map(|(name, text)| (name, text.to_owned())).into();
        if serve != "host" {
            answers.insert(Name::Listen, "0.0.0.0:25".to_owned());
        }
        answers
    }

    /// A machine with the package, on which nobody has done anything yet.
    fn package() -> Found {
        let text = include_str!("../../../relay.toml");
        Found {
            text: Some(text.to_owned()),
            written: Written::read(text).unwrap(),
            is_root: true,
            is_system: true,
            has_unit: true,
            ..Found::of_nothing("/etc/pillarbox/relay.toml")
        }
    }

    /// The machine after one deed.
    fn after(found: &Found, deed: &Deed) -> Found {
        let mut found = found.clone();
        match deed {
            Deed::Directory { .. } => found.has_directory = true,
            Deed::Password { .. } => found.has_password = true,
            Deed::Config { text, .. } => {
                found.written = Written::read(text).unwrap();
                found.text = Some(text.clone());
            }
            Deed::DropIn { text, .. } => found.drop_in = Some(text.clone()),
            Deed::Service { arguments, .. } => found.is_active = arguments[0] != "stop",
            Deed::Copy { .. } | Deed::Prove { .. } => {}
        }
        found
    }

    #[test]
    fn what_is_configured_elsewhere_or_needs_no_line_stays_as_it_is() {
        let secret = "[upstream]\nusername = \"me@gmail.com\"\n";
        let client =
            format!("{secret}auth = \"oauth\"\noauth_client_file = \"/srv/client.json\"\n");
        let command = format!("{secret}password_command = [\"pass\"]\n");
        for text in [secret, &client, &command] {
            let written = Written::read(text).unwrap();
            let found = Found {
                text: Some(text.to_owned()),
                written,
                has_password: true,
                is_active: true,
                ..package()
            };
            let known = found.answers();
            assert_eq!(crate::cli::setup::answers::next(&known), None, "{text}");
            let plan = make(&known, &found, Orders::default()).unwrap();
            assert_eq!(plan.deeds, [], "{text}");
        }
    }

    #[test]
    fn sockets_that_systemd_has_not_read_yet_are_opened_by_the_next_call() {
        let mut found = package();
        found.is_active = true;
        let answers = answers("app-password", "10.0.0.0/8");
        let plan = make(&answers, &found, ORDERS).unwrap();
        for deed in plan.deeds.iter().filter(|deed| !matches!(deed, Deed::Service { .. })) {
            found = after(&found, deed);
        }
        let orders = Orders { service_is_due: true, ..Orders::default() };
        assert_eq!(systemctl(&make(&answers, &found, orders).unwrap()), systemctl(&plan));
    }

    fn systemctl(plan: &Plan) -> Vec<String> {
        let calls = plan.deeds.iter().filter_map(|deed| match deed {
            Deed::Service { arguments, .. } => Some(arguments.join(" ")),
            _ => None,
        });
        calls.collect()
    }

    const ORDERS: Orders = Orders { stores_password: true, proves: true, service_is_due: false };
    const START: &str = "enable --now pillarbox.socket pillarbox.service";

    /// `BLESS=1 cargo test setup` writes the files anew; review the difference like code.
    #[test]
    fn the_plan_fits_the_terminal_and_nothing_in_it_steers_one() {
        let mut odd = package();
        odd.config = "/etc/pillar\u{1b}[31mbox/relay.toml".into();
        for (name, found, login, serve) in [
            ("package", package(), "app-password", "192.168.1.0/24 fd12:3456:789a::/48"),
            ("oauth", package(), "oauth", "host"),
            ("user", Found::of_nothing("/home/me/pillarbox/relay.toml"), "app-password", "host"),
            ("odd", odd, "none", "host"),
        ] {
            let stores_password = login == "app-password";
            let plan =
                make(&answers(login, serve), &found, Orders { stores_password, ..ORDERS }).unwrap();
            for width in [80, 120] {
                let mut out = Vec::new();
                report::print(&mut out, &plan, width).unwrap();
                let text = String::from_utf8(out).unwrap();
                assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
                assert!(!text.contains('\u{1b}'), "{text}");
                let path = Path::new(env!("CARGO_MANIFEST_DIR"));
                let path = path.join(format!("tests/golden/setup/{name}_{width}.txt"));
                if std::env::var_os("BLESS").is_some() {
                    std::fs::write(&path, &text).unwrap();
                }
                assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
            }
        }
    }

    #[test]
    fn after_each_deed_the_plan_is_what_is_left_of_it() {
        for (login, serve) in [
            ("app-password", "host"),
            ("app-password", "10.0.0.0/8"),
            ("service-account", "host"),
            ("none", "host"),
        ] {
            let answers = answers(login, serve);
            let mut found = Found {
                has_directory: false,
                text: None,
                written: Written::read("").unwrap(),
                ..package()
            };
            let mut orders = Orders {
                stores_password: login == "app-password",
                proves: false,
                service_is_due: true,
            };
            let plan = make(&answers, &found, orders).unwrap();
            let files = plan.deeds.iter().filter(|deed| !matches!(deed, Deed::Service { .. }));
            let mut left: Vec<&Deed> = files.collect();
            while let Some((first, rest)) = left.split_first() {
                found = after(&found, first);
                orders.stores_password &= !matches!(first, Deed::Password { .. });
                left = rest.to_vec();
                let next = make(&answers, &found, orders).unwrap();
                let files: Vec<&Deed> = next
                    .deeds
                    .iter()
                    .filter(|deed| !matches!(deed, Deed::Service { .. }))
                    .collect();
                assert_eq!(files, left, "{login} {serve}");
                assert!(systemctl(&next).contains(&START.to_owned()), "{next:?}");
            }
            found.is_active = true;
            orders.service_is_due = false;
            assert!(make(&answers, &found, orders).unwrap().is_done());
            // The files know every answer: nothing is asked, and a plan of what they say changes nothing.
            let known = found.answers();
            assert_eq!(crate::cli::setup::answers::next(&known), None, "{login}: {known:?}");
            assert!(make(&known, &found, orders).unwrap().is_done(), "{login}");
        }
    }

    #[test]
    fn a_service_that_runs_is_restarted_and_one_with_other_addresses_stopped_between() {
        let mut found = package();
        found.is_active = true;
        let calls = |found: &Found, serve| {
            systemctl(&make(&answers("app-password", serve), found, ORDERS).unwrap())
        };
        assert_eq!(calls(&found, "host"), ["restart pillarbox.service"]);
        assert_eq!(
            calls(&found, "10.0.0.0/8"),
            ["daemon-reload", "stop pillarbox.service pillarbox.socket", START]
        );
        found.is_active = false;
        assert_eq!(calls(&found, "host"), [START]);
        found.has_unit = false;
        assert!(calls(&found, "10.0.0.0/8").is_empty());
    }

    #[test]
    fn an_address_that_stands_for_all_takes_the_place_of_those_of_its_family() {
        let found = package();
        let plan = make(&answers("app-password", "10.0.0.0/8"), &found, ORDERS).unwrap();
        let text = plan.text().unwrap();
        assert!(text.contains("\naddresses = [\"[::1]:25\", \"0.0.0.0:25\"]\n"), "{text}");
        let drop_in = plan.deeds.iter().find_map(|deed| match deed {
            Deed::DropIn { text, .. } => Some(text.as_str()),
            _ => None,
        });
        let lines = "[Socket]\nListenStream=\nListenStream=[::1]:25\nListenStream=0.0.0.0:25\n";
        assert!(drop_in.unwrap().ends_with(lines), "{drop_in:?}");
    }

    #[test]
    fn a_client_goes_where_the_service_may_read_it_and_one_that_is_there_stays() {
        let copies = |login| {
            let plan = make(&answers(login, "host"), &package(), Orders::default()).unwrap();
            plan.deeds.into_iter().find(|deed| matches!(deed, Deed::Copy { .. }))
        };
        let copy = copies("oauth").unwrap();
        assert_eq!(
            (copy.path(), copy.mode()),
            (Some(Path::new("/etc/pillarbox/client.json")), Some(0o640))
        );
        assert_eq!(copies("service-account"), None);
    }
}
