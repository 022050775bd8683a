//! The files, programs and addresses that relay.toml names, as they are on this machine.
//!
//! Rule: it only looks (an address is taken for a moment and given back); what only the relay's own user could find out
//! is a warning for another user.

use std::{
    env, fs,
    io::{self, ErrorKind},
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::Path,
};

use rustix::process::geteuid;

use crate::{
    addressed::{MAIN, addressed},
    admin::{
        alert::outputs::{Address, Heartbeat, Way},
        client::has_unit,
    },
    delivery::{
        self, Login, PasswordSource,
        oauth::{ClientSource, Grant, Issuer, SecretSource},
    },
    listener::{BindError, bind, drop_directory},
    settings::{SYSTEM_FILE, Settings},
    text,
};

/// Readable by everyone, or writable by anyone but the owner: what delivery refuses at a login.
const OPEN_TO_OTHERS: u32 = 0o026;
/// How the password's file is called in words.
const PASSWORD: &str = "password file";

/// What was found. Each text says what is the matter and, behind a semicolon or in a line of its own, what to do.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What keeps the relay from starting, from being safe, or mail from leaving.
    pub(crate) wrong: Vec<String>,
    /// What it starts with and will not use: its mail stays until that is put right.
    pub(crate) unused: Vec<String>,
    /// What a person should look at.
    pub(crate) warnings: Vec<String>,
}

impl Found {
    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.wrong.extend(other.wrong);
        self.unused.extend(other.unused);
        self.warnings.extend(other.warnings);
        self
    }

    /// Whether no mail leaves with it.
    pub(super) fn is_fatal(&self) -> bool {
        !self.wrong.is_empty() || !self.unused.is_empty()
    }
}

/// Looks at all of them.
pub(crate) fn look(settings: &Settings) -> Found {
    secrets(settings).and(alert(settings)).and(store(settings)).and(addresses(settings))
}

/// Secrets, and what else the relay reads to be trusted or to trust.
pub(crate) fn secrets(settings: &Settings) -> Found {
    let accounts = settings.all_accounts().map(|(name, ..)| of_account(settings, name));
    accounts.fold(Found::default(), Found::and).and(of_visitors(settings))
}

/// The same, of the accounts only that with this name.
pub(super) fn secrets_of(settings: &Settings, account: &str) -> Found {
    of_account(settings, account).and(of_visitors(settings))
}

/// Those of the account with this name, and what is said of another one than the main one by its name.
fn of_account(settings: &Settings, account: &str) -> Found {
    let mut looking = Looking::of(settings);
    let found = settings.all_accounts().find(|(name, ..)| *name == account);
    let Some((_, delivery, _)) = found else { return looking.found };
    if let Some(login) = &delivery.login {
        looking.login(login, &delivery.host);
        if let PasswordSource::Command(words) = &login.password {
            looking.program(words, "upstream.password_command");
        }
    }
    let found = looking.found.and(trust(settings, delivery));
    if account == MAIN {
        return found;
    }
    let of = |texts: Vec<String>| {
        let named = |text: &String| format!("account {account}: {}", addressed(text, account));
        texts.iter().map(named).collect()
    };
    let Found { wrong, unused, warnings } = found;
    Found { wrong: of(wrong), unused: of(unused), warnings: of(warnings) }
}

/// What is read for those who connect here.
fn of_visitors(settings: &Settings) -> Found {
    let mut looking = Looking::of(settings);
    let listener = &settings.listener;
    let tls = listener.tls.iter().flat_map(|files| {
        [(&files.certificate, "listener.tls_certificate"), (&files.key, "listener.tls_key")]
    });
    let users = listener.users_file.iter().map(|path| (path, "listener.users_file"));
    let page = settings.admin.page.iter().filter_map(|page| page.users_file.as_ref());
    let visitors = page.map(|path| (path, "admin.page_users_file"));
    for (path, key) in tls.chain(users).chain(visitors) {
        looking.readable(path, key);
    }
    looking.found
}

/// The further trust root of an upstream.
pub(super) fn trust(settings: &Settings, delivery: &delivery::Options) -> Found {
    let mut looking = Looking::of(settings);
    if let Some(path) = &delivery.ca_file {
        looking.ca_file(path);
    }
    looking.found
}

/// Who is told without mail.
pub(crate) fn alert(settings: &Settings) -> Found {
    let mut looking = Looking::of(settings);
    for target in &settings.alert.targets {
        let address = match &target.way {
            Way::Command(words) => {
                // [alert] itself has one, too, which bears the key's name.
                let key = match target.name.as_str() {
                    "command" => "alert.command".to_owned(),
                    name => format!("the command of the alert target {name}"),
                };
                looking.program(words, &key);
                continue;
            }
            Way::Webhook { address, .. } => address,
        };
        looking.web_address(address, "webhook file", &address.shown());
    }
    if let Some(Heartbeat { address, .. }) = &settings.alert.heartbeat {
        let shown = format!("the heartbeat {}", address.place());
        looking.web_address(address, "heartbeat file", &shown);
    }
    looking.found
}

/// Where mail waits, and the admin socket.
pub(crate) fn store(settings: &Settings) -> Found {
    let mut looking = Looking::of(settings);
    looking.directory(&settings.queue.directory, "queue.directory");
    looking.parent(&settings.admin.socket, "admin.socket");
    looking.found
}

/// The addresses that a start listens on.
pub(crate) fn addresses(settings: &Settings) -> Found {
    let mut looking = Looking::of(settings);
    looking.addresses(settings);
    looking.found
}

/// What stands in the way of local mail: its socket, and its drop directory.
pub(crate) fn local(settings: &Settings) -> [Found; 2] {
    let places = &settings.listener.local;
    let socket = places.socket.as_deref().and_then(bind::impassable);
    let directory = places.drop_directory.as_deref();
    let owner = owner_of(&settings.queue.directory);
    let directory = directory.map(|path| drop_directory::faults(path, owner)).unwrap_or_default();
    [socket.into_iter().collect(), directory].map(|warnings| Found { warnings, ..Found::default() })
}

/// The queue belongs to the user of the relay, who may be another one than the user of this command.
fn owner_of(directory: &Path) -> Option<(u32, u32)> {
    fs::metadata(directory).ok().map(|metadata| (metadata.uid(), metadata.gid()))
}

/// Who runs the relay, and who looks.
struct Runner {
    /// Owner of the queue, where there is one; else whoever looks.
    uid: u32,
    gid: u32,
    caller: u32,
    /// A unit starts the relay: it hands over a copy of the usual password file, and binds port 25.
    has_unit: bool,
}

impl Runner {
    fn of(settings: &Settings) -> Self {
        let caller = geteuid().as_raw();
        let (uid, gid) = owner_of(&settings.queue.directory)
            .unwrap_or_else(|| (caller, rustix::process::getegid().as_raw()));
        Self { uid, gid, caller, has_unit: has_unit() }
    }

    /// Whether the caller can know what the relay may do.
    fn is_known(&self) -> bool {
        self.caller == 0 || self.caller == self.uid
    }

    /// Whether the relay's user may read the file; `None` when its groups, or an access list, decide.
    fn may_read(&self, path: &Path) -> Option<bool> {
        if self.caller == self.uid {
            // Not opened: a pipe of somebody's would keep us.
            return Some(rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok());
        }
        if self.uid == 0 {
            return Some(true);
        }
        let parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        let ways = parents.map(|parent| self.may(parent, 0o1));
        let steps: Vec<Option<bool>> = ways.chain([self.may(path, 0o4)]).collect();
        if steps.contains(&Some(false)) {
            return Some(false);
        }
        steps.iter().all(Option::is_some).then_some(true)
    }

    fn may(&self, path: &Path, bit: u32) -> Option<bool> {
        let metadata = fs::metadata(path).ok()?;
        let mode = metadata.permissions().mode();
        if metadata.uid() == self.uid {
            return Some(mode & (bit << 6) != 0);
        }
        if metadata.gid() == self.gid {
            return Some(mode & (bit << 3) != 0);
        }
        match (mode & bit != 0, mode & (bit << 3) != 0) {
            (true, _) => Some(true),
            (false, false) => Some(false),
            (false, true) => None,
        }
    }
}

struct Looking {
    runner: Runner,
    found: Found,
}

impl Looking {
    fn of(settings: &Settings) -> Self {
        Self { runner: Runner::of(settings), found: Found::default() }
    }

    fn login(&mut self, login: &Login, host: &str) {
        let mut consent = "";
        let file = match &login.password {
            PasswordSource::File(path) => Some((path, PASSWORD, false)),
            PasswordSource::Mounted(path) => Some((path, PASSWORD, true)),
            PasswordSource::Tokens(options) => match &options.grant {
                Grant::Refresh { token_file, .. } => {
                    consent = options.issuer.command();
                    Some((token_file, "token file", false))
                }
                Grant::ServiceAccount { key_file } => Some((key_file, "key file", false)),
                Grant::Application { certificate, .. } => {
                    certificate.as_ref().map(|path| (path, "certificate file", false))
                }
            },
            PasswordSource::Inline(_) | PasswordSource::Command(_) => None,
        };
        if let PasswordSource::Tokens(options) = &login.password
            && let Grant::Refresh { client, .. } | Grant::Application { client, .. } =
                &options.grant
        {
            let how = match options.issuer {
                Issuer::Microsoft => {
                    "from https://entra.microsoft.com; docs/microsoft.md has the steps"
                }
                Issuer::Google | Issuer::GoogleApi => {
                    "from the Google Cloud console; docs/oauth.md has the steps"
                }
            };
            match client {
                ClientSource::File(path) => {
                    self.secret(path, "OAuth client file", how, false);
                }
                ClientSource::Named { secret: Some(SecretSource::File(path)), .. } => {
                    self.secret(path, "OAuth client secret's file", how, false);
                }
                ClientSource::Named { .. } => {}
            }
        }
        if let Some((path, what, mounted)) = file {
            let remedy = match what {
                "token file" => consent,
                "key file" => "put the service account's JSON key there",
                _ => "with the app password on its first line",
            };
            if !self.secret(path, what, remedy, mounted) {
                return;
            }
        }
        self.found.wrong.extend(delivery::password_fault(login, host));
    }

    /// A file that the relay must be able to read and others must not. Returns whether it can be judged further.
    fn secret(&mut self, path: &Path, what: &str, how: &str, mounted: bool) -> bool {
        let shown = path.display();
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let make = match what {
                    "token file" => format!("Make it:\n  {how}"),
                    "key file" => {
                        "Put the service account's JSON key there; docs/oauth.md has the steps"
                            .to_owned()
                    }
                    _ => format!("Make it, {how}:\n  install -m 0600 /dev/stdin {shown}"),
                };
                self.found.wrong.push(format!("there is no {what} {shown}. {make}"));
                return false;
            }
            Err(error) => {
                self.unknown(&format!("the {what} {shown}"), &error);
                return false;
            }
        };
        if !metadata.is_file() {
            self.found.wrong.push(format!("{shown} is not a file, so not a {what}"));
            return false;
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if !mounted && mode & OPEN_TO_OTHERS != 0 {
            self.found.unused.push(format!(
                "the {what} {shown} (mode {mode:04o}) is open to others, so the relay will not use it; \
                 run: chmod g-w,o-rw {shown}"
            ));
        }
        // The unit hands a copy of root's own file to the relay.
        let has_copy =
            self.runner.has_unit && path == Path::new(SYSTEM_FILE).with_file_name("password");
        if has_copy {
            return true;
        }
        if !self.runner.is_known() {
            if let Err(error) = fs::File::open(path) {
                self.unknown(&format!("the {what} {shown}"), &error);
                return false;
            }
            return true;
        }
        if self.runner.may_read(path) == Some(false) {
            let Runner { uid, gid, .. } = self.runner;
            self.found.wrong.push(format!(
                "the user who runs the relay (userid {uid}) cannot read the {what} {shown}; as root: \
                 chown {uid}:{gid} {shown} && chmod 0600 {shown}, and let that user pass its directories"
            ));
        }
        true
    }

    /// What the caller may not look at.
    fn unknown(&mut self, what: &str, error: &io::Error) {
        let words = format!("{what} cannot be looked at ({error})");
        if self.runner.caller == self.runner.uid {
            self.found.wrong.push(format!("{words}; let the user who runs the relay read it"));
        } else {
            let words = format!("{words}; check as root, or as the user that runs the relay");
            self.found.warnings.push(words);
        }
    }

    fn ca_file(&mut self, path: &Path) {
        let shown = path.display();
        match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return self.unknown(&format!("upstream.ca_file {shown}"), &error);
            }
            Err(error) => {
                return self.found.wrong.push(format!("upstream.ca_file {shown}: {error}"));
            }
            Ok(metadata) if !metadata.is_file() => {
                let words = format!(
                    "upstream.ca_file {shown} is a directory or no file, not certificates in PEM"
                );
                return self.found.wrong.push(words);
            }
            Ok(_) => {}
        }
        if let Err(error) = fs::File::open(path) {
            return self.unknown(&format!("upstream.ca_file {shown}"), &error);
        }
        self.readable(path, "upstream.ca_file");
        self.found.wrong.extend(delivery::ca_file_fault(path));
    }

    /// A file that is there for the caller, who may see more than the relay's own user.
    fn readable(&mut self, path: &Path, key: &str) {
        if path.exists() && self.runner.is_known() && self.runner.may_read(path) == Some(false) {
            let (Runner { uid, gid, .. }, shown) = (&self.runner, path.display());
            self.found.wrong.push(format!(
                "the user who runs the relay (userid {uid}) cannot read {key} {shown}; as root: chgrp {gid} {shown} && \
                 chmod g+r {shown}, and let that user pass its directories"
            ));
        }
    }

    /// The file of an address that may be a secret.
    fn web_address(&mut self, address: &Address, file: &str, shown: &str) {
        if let Address::File { path, mounted } = address {
            self.secret(path, file, "with its address on the first line", *mounted);
        }
        if address.holds_none() {
            let words = format!(
                "{shown} is without an address, such as https://alerts.example.org/hook, on the first line of its file"
            );
            self.found.wrong.push(words);
        }
    }

    /// A program that the relay starts.
    fn program(&mut self, words: &[String], key: &str) {
        let Some(name) = words.first() else { return };
        let is_program = |path: &Path| {
            fs::metadata(path)
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        let (path, name) = (Path::new(name), text::program(words));
        if path.as_os_str().as_encoded_bytes().contains(&b'/') {
            if is_program(path) {
                return;
            }
            let why = match fs::metadata(path) {
                Err(error) => error.to_string(),
                Ok(file) if file.is_dir() => "it is a directory".to_owned(),
                Ok(_) => format!("it is not executable; run: chmod +x {name}"),
            };
            return self.found.wrong.push(format!("{key} cannot be run: {name}: {why}"));
        }
        let places = env::var_os("PATH").unwrap_or_default();
        if !env::split_paths(&places).any(|place| is_program(&place.join(path))) {
            self.found.wrong.push(format!(
                "{key} cannot be run: there is no program {name} in the PATH; write its whole path"
            ));
        }
    }

    /// A directory that the relay makes or has.
    fn directory(&mut self, path: &Path, key: &str) {
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => {
                self.found.wrong.push(format!("{key} {} is not a directory", path.display()));
            }
            Ok(_) => {
                // A queue of another user is refused at the start; who looks as root sees its owner here.
                if self.runner.caller != 0 && self.runner.caller != self.runner.uid {
                    self.found.warnings.push(format!(
                        "{key} {} belongs to another user (userid {}), who alone can run the relay",
                        path.display(),
                        self.runner.uid
                    ));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.parent_can_be_made(path, key),
            Err(error) => self.unknown(&format!("{key} {}", path.display()), &error),
        }
    }

    /// The start makes missing directories below one that exists.
    fn parent_can_be_made(&mut self, path: &Path, key: &str) {
        let Some(parent) = path.ancestors().skip(1).find(|parent| parent.exists()) else { return };
        let is_directory = parent.is_dir();
        let may_write = rustix::fs::access(parent, rustix::fs::Access::WRITE_OK).is_ok();
        if !is_directory {
            let words = format!(
                "{key} {} cannot be made: {} is not a directory",
                path.display(),
                parent.display()
            );
            self.found.wrong.push(words);
        } else if !may_write && !self.runner.has_unit {
            self.found.wrong.push(format!(
                "{key} {} is not there, and this user may not make it in {}; make it as root for the user who runs \
                 the relay",
                path.display(),
                parent.display()
            ));
        }
    }

    fn parent(&mut self, path: &Path, key: &str) {
        let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
            return;
        };
        if path.is_dir() {
            self.found.wrong.push(format!("{key} {} is a directory", path.display()));
        } else if !parent.exists() {
            self.parent_can_be_made(path, key);
        }
    }

    /// Whether each address can be listened on. While the relay runs it holds them itself.
    fn addresses(&mut self, settings: &Settings) {
        if UnixStream::connect(&settings.admin.socket).is_ok() {
            return;
        }
        let listener = &settings.listener;
        let faults: Vec<_> = listener
            .addresses
            .iter()
            .filter_map(|endpoint| bind::fault(endpoint.address, &listener.addresses))
            .collect();
        let some_work = faults.len() < listener.addresses.len();
        for fault in faults {
            // systemd listens for the relay, before it runs and while it does not.
            match &fault {
                BindError::NotPermitted { .. } if self.runner.has_unit => {}
                BindError::InUse { address } if self.runner.has_unit => {
                    let port = address.port();
                    self.found.warnings.push(format!(
                        "{address} is in use: by pillarbox.socket, or by another program; see: ss -ltnp 'sport = :{port}'"
                    ));
                }
                // A start skips it: the default has [::1], and hosts without IPv6 exist.
                BindError::NotOurs { address } if address.is_ipv6() && some_work => {
                    self.found.warnings.push(format!(
                        "{address} is not an address of this host; it is skipped, the other addresses serve"
                    ));
                }
                fault => self.found.wrong.push(fault.to_string()),
            }
        }
        let page = settings.admin.page.as_ref().map(|page| page.address);
        let ports =
            [(settings.admin.http, "metrics and probes", "http"), (page, "the page", "page")];
        for (address, what, key) in ports {
            let Some(address) = address else { continue };
            if let Err(error) = TcpListener::bind(address) {
                self.found.wrong.push(format!(
                    "cannot listen on {address} for {what}: {error}; see [admin] {key}"
                ));
            }
        }
    }
}
