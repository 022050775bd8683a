//! relay.toml and the environment, checked, as the Options of each module.
//!
//! Rule: what is returned cannot be wrong, only unsuitable; every refusal says where and what to do.
//! No secret is read here. Must not know what the modules do with their Options.

mod accounts;
mod admin;
mod alert;
mod configured;
mod document;
mod effective;
mod fleet;
pub mod host;
mod identity;
mod listener;
mod load;
mod networks;
mod notify;
pub(crate) mod problem;
mod reload;
mod report;
mod routes;
mod rules;
mod shown;
pub(crate) mod special_networks;
mod storage;
mod storm;
mod strangers;
mod surroundings;
mod upstream;
mod value;
pub(crate) mod volume;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::{
    accounts::{Shared, delivery_options},
    document::Document,
    effective::Written,
    identity::Mailbox,
    load::{Layers, Sections},
    report::Report,
    upstream::Account,
};
use crate::{
    admin as desk,
    budget::{AccountKey, MAIN},
    delivery, listener as door, notices,
    queue::{self, routes as ways, way::RouteKey},
    smtp::address::Address,
    telemetry, trust,
};

pub(crate) use self::{
    accounts::FurtherAccount,
    admin::DEFAULT_SOCKET,
    reload::{ReloadError, Reloaded},
    surroundings::{LOCAL_FILE, SYSTEM_FILE},
    upstream::is_gmail,
};
pub use self::{
    problem::SettingsError,
    surroundings::{SECRET_NAMES, Surroundings},
};

/// The checked configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it comes from.
    pub source: Source,
    /// For the listener.
    pub listener: door::Options,
    /// For the queue.
    pub queue: queue::options::Options,
    /// For the admin socket and its clients.
    pub admin: desk::Options,
    /// For the log.
    pub(crate) telemetry: telemetry::Options,
    /// Where the log goes.
    pub(crate) log_output: telemetry::Output,
    /// How long relayed messages are remembered.
    pub(crate) history_lifetime: Duration,
    /// How long dead letters are kept.
    pub(crate) dead_letter_lifetime: Duration,
    /// For notices of dead letters.
    pub notices: notices::Options,
    /// For alerts outside the queue.
    pub(crate) alert: desk::alert::outputs::Options,
    /// Whether the daemon diagnoses itself once a day.
    pub(crate) doctor: bool,
    /// For the weekly report.
    pub(crate) report: desk::weekly::memory::Options,
    /// Recipients of each day that are left to the account's owner; delivery never sees them.
    pub owner_reserve: u32,
    /// For delivery; whether there is an account, [`Settings::require_account`] knows.
    pub delivery: delivery::Options,
    /// The accounts beside that one.
    pub(crate) accounts: Vec<FurtherAccount>,
    /// For a host that shares its accounts' days with others.
    pub(crate) fleet: Option<crate::fleet::Options>,
    /// The routes of mail to them.
    ways: BTreeMap<RouteKey, ways::Route>,
    /// How long an account has to be paused before another stands in for it.
    fail_over_after: Duration,
    account: Account,
    /// As written, for a comparison with a changed configuration.
    sections: Sections,
    /// The same to be shown: every key with where it is written.
    written: Written,
    /// Whether the sandbox has laid its own values over it.
    pub(crate) is_of_sandbox: bool,
}

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This file, and the environment over it.
    File(PathBuf),
    /// The environment over the defaults.
    Defaults,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(formatter),
            Self::Defaults => formatter.write_str("no file (defaults and environment)"),
        }
    }
}

/// Loads the configuration of this process: the file `explicit`, else the one that `PILLARBOX_CONFIG`
/// names, else `./relay.toml`, else `/etc/pillarbox/relay.toml`, else none; the environment over it.
pub(crate) fn load(explicit: Option<&Path>) -> Result<Settings, SettingsError> {
    load_in(explicit, &Surroundings::of_this_process())
}

/// Loads the configuration in these surroundings.
pub fn load_in(
    explicit: Option<&Path>,
    surroundings: &Surroundings,
) -> Result<Settings, SettingsError> {
    let variables = &surroundings.variables;
    load::check_file_variable(variables)
        .map_err(|problem| SettingsError::Invalid(vec![problem]))?;
    let document = find_file(explicit, surroundings)?
        .map(|path| Document::read(&path, &load::sections()))
        .transpose()?;
    of_document(document, surroundings)
}

/// What this process would read in a file with this text, which need not be written yet.
pub(crate) fn judge(path: &Path, text: String) -> Result<Settings, SettingsError> {
    let document = Document::new(path.to_owned(), text, &load::sections());
    of_document(Some(document), &Surroundings::of_this_process())
}

/// The text of a configuration, whatever it says.
pub(crate) fn text_of(path: &Path) -> Result<String, SettingsError> {
    Document::read(path, &[]).map(|document| document.text().to_owned())
}

fn of_document(
    document: Option<Document>,
    surroundings: &Surroundings,
) -> Result<Settings, SettingsError> {
    let variables = &surroundings.variables;
    let Layers { sections, unread, mut problems } = load::read(document.as_ref(), variables);
    let Some(sections) = sections else { return Err(SettingsError::Invalid(problems)) };
    let source = document
        .as_ref()
        .map_or(Source::Defaults, |document| Source::File(document.path().to_owned()));
    let mut report = Report::new(document.as_ref(), variables, &unread);
    let settings = check(sections, source, surroundings, &mut report);
    // What could not be read is reported first; the rest is judged without it.
    problems.extend(report.finish());
    if problems.is_empty() { Ok(settings) } else { Err(SettingsError::Invalid(problems)) }
}

/// Every key as (section, key), in the order of the annotated relay.toml.
#[must_use]
pub fn keys() -> Vec<(&'static str, &'static str)> {
    load::sections()
        .into_iter()
        .flat_map(|(section, keys)| keys.iter().map(move |key| (section, *key)))
        .collect()
}

/// The file that is named, or else found. One that others can write is none that anybody should obey.
fn find_file(
    explicit: Option<&Path>,
    surroundings: &Surroundings,
) -> Result<Option<PathBuf>, SettingsError> {
    let named = surroundings.variables.get(load::FILE_VARIABLE).filter(|path| !path.is_empty());
    let named = explicit.map(Path::to_owned).or_else(|| named.map(PathBuf::from));
    if named.is_some() {
        return Ok(named);
    }
    let usual = [(&surroundings.local_file, false), (&surroundings.system_file, true)];
    // A file that exists but may not be read is an error later, not a reason to go on without it.
    let found = usual.into_iter().find(|(path, _)| path.symlink_metadata().is_ok());
    let Some((path, by_the_system)) = found else { return Ok(None) };
    match trust::distrust(path, by_the_system) {
        None => Ok(Some(path.clone())),
        Some(reason) => Err(SettingsError::Untrusted { path: path.clone(), reason }),
    }
}

fn check(
    mut sections: Sections,
    source: Source,
    surroundings: &Surroundings,
    report: &mut Report<'_>,
) -> Settings {
    let (host, written) = (&surroundings.host, sections.clone());
    let (provider, state) = (sections.upstream.provider(), sections.queue.directory(report));
    let upstream = sections.upstream.check(surroundings, (MAIN, &state), report);
    let account = upstream.mailbox();
    let mailbox = Mailbox::of(account.as_ref(), upstream.account);
    let admin = sections.identity.admin(report).or_else(|| account.clone());
    let hostname = sections.listener.hostname(host, report);
    let mailboxes: Vec<Address> = sections.account.mailboxes().collect();
    let recipients =
        sections.identity.recipients((&hostname, host), admin.as_ref(), &mailboxes, report);
    let mut listener = sections.listener.check(provider.profile(), &hostname, &recipients, report);
    let rules = sections.rule.check(&recipients.local().domains, report);
    listener.local = sections.sendmail.check(report);
    listener::check_against_upstream(&listener, provider, report);
    sections.queue.check(listener.session.max_message_bytes, report);
    let allowance = sections.budget.check((provider, &upstream.host), report);
    let fairness = sections.budget.fairness(&rules, report);
    let identity = sections.identity.check(mailbox, &hostname, report);
    let readers = (account.as_ref(), admin.as_ref(), sections.queue.history_lifetime);
    let is_redirected = recipients.local().redirect_all.is_some();
    let notices = sections.notices.check(&hostname, readers, is_redirected, report);
    let storms = sections.storm.check(admin.as_ref(), report);
    let (ca_file, secrets) = (upstream.ca_file.clone(), &surroundings.secret_directories);
    let (complete, domain) = (upstream.account, identity.domain.clone());
    let people = (admin.clone(), identity, Arc::clone(&recipients));
    let delivery = delivery_options(AccountKey::MAIN, upstream, allowance, &sections.queue, people);
    let shared = Shared {
        surroundings,
        state: &state,
        hostname: &hostname,
        main: complete,
        admin: admin.clone(),
        domain,
        recipients,
    };
    let accounts = sections.account.check(&sections.queue, &delivery, &shared, report);
    let (routes, ways) = sections.route.check(&accounts, report);
    listener.rules = Arc::new(rules.with_routes(routes));
    let fleet = sections.fleet.check(&hostname, surroundings, report);
    Settings {
        source,
        admin: sections.admin.check(&listener, report),
        alert: sections.alert.check(&hostname, ca_file, secrets, report),
        queue: sections.queue.options((state, hostname), (fairness, storms), &fleet, report),
        fleet,
        listener,
        telemetry: sections.log.options(),
        log_output: sections.log.output,
        history_lifetime: sections.queue.history_lifetime,
        dead_letter_lifetime: sections.queue.dead_letter_lifetime,
        fail_over_after: sections.queue.fail_over_after,
        notices: notices::Options { days: notify::days(&delivery, &accounts), ..notices },
        doctor: sections.doctor.enabled,
        report: sections.report.check(readers, report),
        owner_reserve: allowance.owner_reserve,
        accounts,
        ways,
        account: complete,
        written: effective::written(&written.clone().provided(), report),
        sections: written,
        is_of_sandbox: false,
        delivery,
    }
}

impl Settings {
    /// Every account, the main one first: its name, what its delivery is told, and what is left of its day to its owner.
    pub(crate) fn all_accounts(&self) -> impl Iterator<Item = (&str, &delivery::Options, u32)> {
        let others = self
            .accounts
            .iter()
            .map(|account| (account.name.as_str(), &account.delivery, account.owner_reserve));
        [(MAIN, &self.delivery, self.owner_reserve)].into_iter().chain(others)
    }

    /// The accounts by which mail leaves, and its routes to them, for the queue; none where there is only the main account, for
    /// whose mail there is nothing to decide.
    pub(crate) fn routes(&self) -> ways::Accounts {
        if self.accounts.is_empty() {
            return ways::Accounts::default();
        }
        let known = |(name, delivery, _): (&str, &delivery::Options, u32)| {
            let limits = delivery.claim_limits();
            (delivery.account, ways::Known { name: name.to_owned(), limits })
        };
        ways::Accounts {
            accounts: self.all_accounts().map(known).collect(),
            routes: self.ways.clone(),
            fail_over_after: self.fail_over_after,
        }
    }

    /// Accounts by which no mail leaves, because no route names them.
    pub(crate) fn idle_accounts(&self) -> impl Iterator<Item = &str> {
        let is_named = |one: &&FurtherAccount| {
            self.ways.values().any(|route| route.accounts.contains(&one.delivery.account))
        };
        self.accounts.iter().filter(move |one| !is_named(one)).map(|one| one.name.as_str())
    }

    /// Whether there is an account to relay through; commands that send nothing can do without, and so can the
    /// sandbox, which puts its own upstream in.
    pub fn require_account(&self) -> Result<(), SettingsError> {
        match self.account {
            Account::Complete => Ok(()),
            Account::Missing => Err(SettingsError::NoAccount(self.how_to_add_an_account())),
        }
    }

    fn how_to_add_an_account(&self) -> String {
        let file = match &self.source {
            Source::File(path) => path.display().to_string(),
            Source::Defaults => format!("./{LOCAL_FILE} or {SYSTEM_FILE}"),
        };
        let option = match &self.source {
            Source::File(path) if path != Path::new(SYSTEM_FILE) => {
                format!(" --config {}", path.display())
            }
            Source::File(_) | Source::Defaults => String::new(),
        };
        format!(
            "there is no account to relay through ({})\n\n\
             Run: pillarbox setup{option}\n\n\
             It asks for what is needed, or takes it by flags. By hand, add these two lines under [upstream] in {file}:\n\n\
             \x20   username = \"you@gmail.com\"\n\
             \x20   password_file = \"/etc/pillarbox/password\"\n\n\
             or set two environment variables:\n\n\
             \x20   PILLARBOX__UPSTREAM__USERNAME=you@gmail.com\n\
             \x20   PILLARBOX__UPSTREAM__PASSWORD_FILE=/etc/pillarbox/password\n\n\
             The first line of the password file is an app password, from \
             https://myaccount.google.com/apppasswords.\n\
             To try Pillarbox without an account: pillarbox sandbox",
            self.source
        )
    }
}
