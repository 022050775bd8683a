//! The machine as `pillarbox setup` finds it: the files that are there already, who we are, and which programs run.
//!
//! Rule: what is found is never asked again. Read once before each plan and changed in nothing; no secret is kept. Files of
//! the machine are read below one root, so that a test makes a machine of files.

use std::{
    env, fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{
    edit::Written,
    providers::{self, Login},
    questions::{Answers, Name, THIS_HOST},
    service,
};
use crate::{
    careful_file::is_root,
    delivery::provider::Provider,
    exit::{Exit, Failure},
    settings::{self, LOCAL_FILE, SYSTEM_FILE, host, volume},
};

/// Where a password lies when nothing else is said: beside the configuration.
const PASSWORD_FILE: &str = "password";
/// The variable that names the configuration.
const CONFIG_VARIABLE: &str = "PILLARBOX_CONFIG";
/// There where systemd is the first process (sd_booted(3)).
const BOOTED: &str = "run/systemd/system";
/// Where the unit may be.
const UNIT_DIRECTORIES: [&str; 3] =
    ["etc/systemd/system", "lib/systemd/system", "usr/lib/systemd/system"];
/// What engines put into a container.
const MARKS_OF_CONTAINERS: [&str; 2] = [".dockerenv", "run/.containerenv"];
/// The drop-in of the socket unit that is ours.
const DROP_IN: &str = "etc/systemd/system/pillarbox.socket.d/setup.conf";
/// Names in the directory of the configuration that are looked at.
const NAMES_MAX: usize = 10_000;
/// The port of whoever may open it, and of everybody else.
const PORT: u16 = 25;
const PORT_OF_USERS: u16 = 2525;

/// The machine.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The configuration that is made or changed.
    pub(super) config: PathBuf,
    /// Its text, when it is there.
    pub(super) text: Option<String>,
    /// What that says.
    pub(super) written: Written,
    /// Whether the directory of the configuration is there.
    pub(super) has_directory: bool,
    /// Whether it is the configuration that the service reads.
    pub(super) is_system: bool,
    /// Whether we are root.
    pub(super) is_root: bool,
    /// Whether there is a file where the password belongs.
    pub(super) has_password: bool,
    /// Names of the files beside the configuration.
    pub(super) beside: Vec<String>,
    /// Whether the unit is there and systemd runs.
    pub(super) has_unit: bool,
    /// Whether it runs.
    pub(super) is_active: bool,
    /// The text of our drop-in of the socket unit.
    pub(super) drop_in: Option<String>,
    /// Where that drop-in is.
    pub(super) drop_in_path: PathBuf,
    /// This host's addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// The home of whoever calls.
    pub(super) home: Option<PathBuf>,
    /// Whether this is a container whose files nobody edits.
    pub(super) is_container: bool,
}

impl Found {
    /// Looks at everything. `explicit` is the configuration that was named.
    pub(super) fn look(explicit: Option<&Path>, root: &Path) -> Result<Self, Failure> {
        let is_root = is_root();
        let system_file = root.join(SYSTEM_FILE.trim_start_matches('/'));
        let variable =
            env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let named = explicit.map(Path::to_owned).or(variable);
        let is_container = named.is_none() && is_container(root);
        // The copy of relay.toml in the current directory may be that of the source: it must be named.
        let config = named.unwrap_or_else(|| match is_root {
            true => system_file.clone(),
            false => PathBuf::from(".").join(LOCAL_FILE),
        });
        let text = text_of(&config)?;
        let written = Written::read(text.as_deref().unwrap_or_default()).map_err(|what| {
            let words = format!(
                "{}: {what}; correct that first. See it with: pillarbox check --config {0}",
                config.display()
            );
            Failure::new(Exit::Configuration, words)
        })?;
        let is_system = config == system_file;
        let has_unit = is_system
            && root.join(BOOTED).exists()
            && UNIT_DIRECTORIES
                .iter()
                .any(|directory| root.join(directory).join(service::UNIT).exists());
        let drop_in_path = root.join(DROP_IN);
        let mut found = Self {
            has_directory: parent(&config).is_dir(),
            is_active: has_unit && service::is_active(),
            drop_in: fs::read_to_string(&drop_in_path).ok(),
            drop_in_path,
            addresses: host::Machine::below(root).addresses(),
            home: env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()),
            has_password: false,
            beside: names_in(parent(&config)),
            config,
            text,
            written,
            is_system,
            is_root,
            has_unit,
            is_container,
        };
        found.has_password = found.password_file().symlink_metadata().is_ok();
        Ok(found)
    }

    /// The directory of the configuration.
    pub(super) fn directory(&self) -> &Path {
        parent(&self.config)
    }

    /// Where the password belongs.
    pub(super) fn password_file(&self) -> PathBuf {
        let written = self.written.text("upstream", "password_file");
        self.directory().join(written.as_deref().unwrap_or(PASSWORD_FILE))
    }

    /// The path as relay.toml has it: one that is beside it, in an ordinary user's directory, stays when that is moved.
    pub(super) fn written_path(&self, path: &Path) -> String {
        let beside = path.strip_prefix(self.directory()).ok().filter(|_| !self.is_system);
        beside.unwrap_or(path).display().to_string()
    }

    /// Whether the password comes from a place that is not a file of ours.
    pub(super) fn has_other_password(&self) -> bool {
        ["password", "password_command"].iter().any(|key| self.written.has("upstream", key))
    }

    /// Whether it lies where the service looks without a line in relay.toml.
    pub(super) fn has_unnamed_password(&self) -> bool {
        self.is_system
            && self.has_password
            && self.written.has("upstream", "username")
            && !self.written.has("upstream", "password_file")
    }

    /// The port on which mail is taken when nothing else is said.
    pub(super) fn port(&self) -> u16 {
        if self.is_root { PORT } else { PORT_OF_USERS }
    }

    /// Whether the provider that is written needs no login.
    fn knows_hosts(&self) -> bool {
        let word = self.written.text("upstream", "provider");
        word.and_then(|word| providers::by_word(&word)).is_some_and(|one| one.profile().knows_hosts)
    }

    /// Whether the provider that is written is one of Microsoft's.
    fn is_microsoft(&self) -> bool {
        let word = self.written.text("upstream", "provider");
        word.and_then(|word| providers::by_word(&word)).is_some_and(Provider::is_microsoft)
    }

    /// Whether the account logs in as an application of its organisation, which nobody is asked about.
    pub(super) fn is_application(&self) -> bool {
        let auth = self.written.text("upstream", "auth");
        auth.is_some_and(|auth| auth == "client-credentials")
    }

    /// The way to log in that is configured, as far as it is.
    fn login(&self) -> Option<Login> {
        let has = |key| self.written.has("upstream", key);
        let auth = self.written.text("upstream", "auth");
        if self.is_microsoft() {
            let consents = auth.is_none_or(|auth| auth == "oauth");
            return (consents && has("oauth_client_id")).then_some(Login::Consent);
        }
        match auth.as_deref() {
            Some("oauth") => has("oauth_client_file").then_some(Login::Consent),
            Some("service-account") => has("service_account_file").then_some(Login::ServiceAccount),
            Some("none") => Some(Login::None),
            None if self.knows_hosts() && !has("username") => Some(Login::None),
            _ => (has("username")
                && (has("password_file")
                    || self.has_other_password()
                    || self.has_unnamed_password()))
            .then_some(Login::AppPassword),
        }
    }

    /// Who runs the upstream, as far as the files say.
    pub(super) fn provider(&self) -> Option<Provider> {
        let text = |key| self.written.text("upstream", key);
        let named = text("provider").and_then(|word| providers::by_word(&word));
        let by_host = text("host").map(|host| match settings::is_gmail(&host) {
            true => Provider::Gmail,
            false => Provider::Custom,
        });
        named.or(by_host).or_else(|| self.login().map(|_| Provider::Gmail))
    }

    /// The same as far as it holds when the mail goes to this provider.
    pub(super) fn answers_for(&self, provider: Provider) -> Answers {
        let mut answers = self.answers();
        if self.provider().is_some_and(|found| found != provider) {
            let kept = [Name::Provider, Name::RootTo, Name::Serve, Name::Listen];
            answers.retain(|name, _| kept.contains(name));
        }
        answers
    }

    /// What the files say already: questions that need not be asked.
    pub(super) fn answers(&self) -> Answers {
        let text = |section, key| self.written.text(section, key);
        let mut answers = Answers::new();
        let mut say = |name, text: Option<String>| {
            text.into_iter().for_each(|text| drop(answers.insert(name, text)));
        };
        let (account, login) = (text("upstream", "username"), self.login());
        let provider = self.provider();
        say(Name::Provider, provider.map(|provider| provider.word().to_owned()));
        let is_custom = provider == Some(Provider::Custom);
        let host = text("upstream", "host");
        let is_known = is_custom && host.is_some();
        say(Name::Host, host.filter(|_| provider.is_some_and(providers::asks_host)));
        let port = self.written.number("upstream", "port");
        say(Name::Port, is_known.then(|| port.unwrap_or_else(|| "587".to_owned())));
        let tls = text("upstream", "tls");
        say(Name::Tls, is_known.then(|| tls.unwrap_or_else(|| "auto".to_owned())));
        let transport = text("upstream", "transport");
        say(Name::Transport, transport.filter(|_| provider.is_some_and(providers::may_use_https)));
        say(Name::Account, account.clone());
        say(Name::Login, login.map(|login| login.name().to_owned()));
        let path = |key| {
            let path = text("upstream", key)?;
            Some(self.directory().join(path).display().to_string())
        };
        say(Name::ClientFile, path("oauth_client_file"));
        say(Name::KeyFile, path("service_account_file"));
        let consents = self.is_microsoft() && login.is_some();
        say(Name::ClientId, text("upstream", "oauth_client_id").filter(|_| consents));
        let tenant = text("upstream", "oauth_tenant");
        let tenant = tenant.or_else(|| Some(providers::ANY_TENANT.to_owned()));
        say(Name::Tenant, tenant.filter(|_| consents && provider == Some(Provider::Microsoft365)));
        let admin = text("identity", "admin");
        // Whoever has configured an account has left the rest as it is.
        let is_complete = login.is_some() && (account.is_some() || login == Some(Login::None));
        let reads = provider.is_none_or(|provider| provider.profile().logs_in_as_mailbox);
        let reader = account.filter(|name| is_complete && reads && name.contains('@'));
        say(Name::RootTo, admin.or(reader));
        let trusted = self.written.trusted();
        let trusted: Vec<String> = trusted
            .iter()
            .filter(|network| !network.addr().is_loopback())
            .map(ToString::to_string)
            .collect();
        let serve = if trusted.is_empty() { THIS_HOST.to_owned() } else { trusted.join(" ") };
        say(Name::Serve, Some(serve).filter(|_| is_complete));
        let addresses = self.written.list("listener", "addresses").map(|list| list.join(" "));
        say(Name::Listen, addresses.filter(|_| is_complete && !trusted.is_empty()));
        answers
    }

    #[cfg(test)]
    pub(super) fn of_nothing(config: &str) -> Self {
        Self {
            config: config.into(),
            text: None,
            written: Written::read("").expect("nothing is TOML"),
            has_directory: true,
            is_system: false,
            is_root: false,
            has_password: false,
            beside: Vec::new(),
            has_unit: false,
            is_active: false,
            drop_in: None,
            drop_in_path: "/etc/systemd/system/pillarbox.socket.d/setup.conf".into(),
            addresses: Vec::new(),
            home: Some("/home/me".into()),
            is_container: false,
        }
    }
}

fn text_of(config: &Path) -> Result<Option<String>, Failure> {
    match config.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        _ => Ok(Some(settings::text_of(config)?)),
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(NAMES_MAX);
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The directory of a file; that of a bare name is the current one.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

fn is_container(root: &Path) -> bool {
    let mount = || host::Machine::below(root).mount(Path::new("/"));
    let is_marked = || MARKS_OF_CONTAINERS.iter().any(|mark| root.join(mark).exists());
    !root.join(BOOTED).exists()
        && (is_marked() || mount().is_some_and(|mount| volume::ends_with_its_container(&mount)))
}
