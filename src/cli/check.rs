//! `pillarbox check`: is the configuration right, and what would be used?
//!
//! Rule: prints no secret, and nothing of one; succeeds when `pillarbox run` would start with it and there is a password
//! that may be one to log in with. Must not know how settings are checked.

use std::{io, path::Path};

use serde_json::{Value, json};

use super::{
    check_listener,
    screen::{self, Screen, clean, count, labelled, span},
};
use crate::{
    admin::configured::Configured,
    aliases_file::AliasesFile,
    clock::{Clock as _, SystemClock},
    delivery::{self, PasswordSource, Provider, Tls, oauth::Grant},
    doctor::{door, places},
    exit::{Exit, Failure},
    listener::options::Local,
    message::{aliases::Routes, identity::FromPolicy},
    queue::{
        kept::KEPT_BYTES_MAX,
        options::{self, Fairness},
    },
    settings::{
        self, FurtherAccount, Settings, SettingsError,
        host::{self, Machine},
    },
    text,
    wording::settings as wording,
};

/// Checks and prints; `all` is every key, each with where its value comes from.
pub(super) fn run(
    out: &mut dyn Screen,
    config: Option<&Path>,
    as_json: bool,
    all: bool,
) -> Result<(), Failure> {
    let settings = match settings::load(config) {
        Err(error) if as_json => {
            // The words for people go to standard error, as without --json.
            screen::json(
                out,
                &json!({ "complete": false, "warnings": [], "problems": problems(&error) }),
            )?;
            return Err(error.into());
        }
        settings => settings?,
    };
    let now = SystemClock::new().wall();
    let places = places::look(&settings)
        .and(door::certificate(&settings.listener, now))
        .and(door::users(&settings.listener));
    let aliases = look_at_aliases(&settings.listener.recipients);
    let [socket, drop_directory] = places::local(&settings);
    let local = [socket.warnings, drop_directory.warnings].concat();
    let warnings =
        [&places.unused, &places.warnings, &aliases.warnings, &surroundings(&settings), &local]
            .map(Vec::as_slice)
            .concat();
    let wrong = places.wrong;
    if as_json {
        screen::json(out, &document(&settings, &aliases, &warnings, &wrong))?;
    } else {
        print(out, &settings, &aliases)?;
        if all {
            print_all(out, &settings.configured())?;
        }
        labelled(out, "warning", &warnings)?;
    }
    let account = settings.require_account().err().map(|error| error.to_string());
    let wrong: Vec<String> = account.into_iter().chain(wrong).collect();
    if !wrong.is_empty() {
        return Err(Failure::new(Exit::Configuration, wrong.join("\n\n")));
    }
    if !as_json {
        let but = match warnings.len() {
            0 => "",
            1 => ", but for the warning",
            _ => ", but for the warnings",
        };
        writeln!(out, "\nThe configuration is complete{but}.")?;
    }
    Ok(())
}

/// One by one, for programs.
fn problems(error: &SettingsError) -> Vec<Value> {
    match error {
        SettingsError::Invalid(problems) => problems
            .iter()
            .map(|problem| {
                let place = problem.place.to_string();
                json!({ "place": place, "what": problem.what, "remedy": problem.remedy })
            })
            .collect(),
        SettingsError::Unreadable { path, reason, remedy } => {
            vec![json!({ "place": path, "what": reason, "remedy": remedy })]
        }
        SettingsError::Untrusted { path, reason } => {
            let remedy = "Name it with --config, or make sure that nobody else may write it.";
            vec![json!({ "place": path, "what": reason, "remedy": remedy })]
        }
        SettingsError::NoAccount(words) => vec![unplaced(words)],
    }
}

/// A problem that is in no line of the configuration.
fn unplaced(words: &str) -> Value {
    json!({ "place": null, "what": words, "remedy": null })
}

/// Says nothing but whether there is an account, for units that skip the start without one. A configuration
/// that is wrong counts as one: `pillarbox run` fails with it, for everybody to see.
pub(super) fn account(config: Option<&Path>) -> Result<(), Failure> {
    let Ok(settings) = settings::load(config) else { return Ok(()) };
    settings.require_account()?;
    Ok(())
}

/// Every key, as the page's settings have it.
fn print_all(out: &mut dyn Screen, configured: &Configured) -> io::Result<()> {
    for keys in wording::sections(&configured.settings) {
        let Some(first) = keys.first() else { continue };
        writeln!(out, "\n{}", wording::header(&first.section))?;
        for setting in keys {
            let (value, origin) = (wording::value(setting), wording::origin(setting));
            writeln!(out, "  {}: {} ({})", setting.key, clean(value), clean(&origin))?;
        }
    }
    writeln!(out)
}

/// What may go wrong with it on this machine.
fn surroundings(settings: &Settings) -> Vec<String> {
    let listener = &settings.listener;
    let addresses: Vec<_> = listener.addresses.iter().map(|endpoint| endpoint.address).collect();
    let store = host::resolved(&settings.queue.directory);
    let store = settings.queue.database.is_none().then_some(&*store);
    let warnings = host::warnings(listener, &addresses, store, &Machine::of_this_process());
    let unreached = listener.rules.unreached().into_iter().map(|(name, earlier)| {
        format!(
            "the rule {name} is never reached: {earlier} comes before it and takes all of its mail. Write the rule with \
             more conditions first, or remove one of the two."
        )
    });
    let routes = listener.rules.unreached_routes().into_iter().map(|(name, earlier)| {
        format!(
            "the route {name} is never reached: {earlier} comes before it and takes all of its mail. Write the route with \
             more conditions first, or remove one of the two."
        )
    });
    let idle = settings.idle_accounts().map(|name| {
        format!(
            "no mail leaves by the account {name}: no [[route]] names it. Name it in accounts of one, or remove it."
        )
    });
    let warnings = warnings.iter().map(ToString::to_string);
    warnings.chain(unreached).chain(routes).chain(idle).collect()
}

/// Where mail waits.
fn place(queue: &options::Options) -> String {
    let directory = queue.directory.display();
    match &queue.database {
        Some(_) => format!("in the database of [fleet], with copies in {directory}"),
        None => directory.to_string(),
    }
}

/// The accounts beside the main one, a line each.
fn further(settings: &Settings) -> Vec<String> {
    let line = |one: &FurtherAccount| {
        let delivery = &one.delivery;
        let day = match delivery.recipients_per_day.recipients() {
            None => "no limit of recipients".to_owned(),
            Some(day) => {
                format!("{day} recipients in any 24 hours, {} more left for you", one.owner_reserve)
            }
        };
        let (name, host, port) = (&one.name, &delivery.host, delivery.port);
        format!("{name}: {host}:{port} ({}), {}; {day}", tls(delivery.tls), login(delivery))
    };
    settings.accounts.iter().map(line).collect()
}

fn print(out: &mut dyn Screen, settings: &Settings, aliases: &Survey<'_>) -> io::Result<()> {
    let (listener, queue, delivery) = (&settings.listener, &settings.queue, &settings.delivery);
    labelled(out, "from", &[settings.source.to_string()])?;
    let server = format!("{}:{} ({})", delivery.host, delivery.port, tls(delivery.tls));
    let lines: Vec<String> = std::iter::once(server).chain(provider(delivery)).collect();
    labelled(out, "upstream", &lines)?;
    let login = [login(delivery), format!("calling ourselves {}", delivery.ehlo_name)];
    labelled(out, "login", &login)?;
    let per_day = delivery.recipients_per_day;
    let urgent = match delivery.urgent_reserve {
        0 => String::new(),
        urgent => format!(", {urgent} of them for urgent mail only"),
    };
    let notices = match delivery.notice_reserve {
        0 => String::new(),
        notices => format!(", {notices} of them for notices only"),
    };
    let per_day = match per_day.recipients() {
        None => "no limit of recipients".to_owned(),
        Some(per_day) => format!(
            "{per_day} recipients in any 24 hours{notices}{urgent}, {} more left for you",
            settings.owner_reserve
        ),
    };
    let budget = format!(
        "{per_day}; {} a minute; {} connections",
        if delivery.pace_per_minute == 0 {
            "any number".to_owned()
        } else {
            delivery.pace_per_minute.to_string()
        },
        delivery.connections,
    );
    labelled(out, "budget", &[budget, fairness(&queue.fairness)])?;
    check_listener::print(out, listener)?;
    labelled(out, "rules", &listener.rules.lines())?;
    labelled(out, "accounts", &further(settings))?;
    labelled(out, "routes", &listener.rules.route_lines())?;
    print_local(out, &listener.local)?;
    labelled(out, "recipients", &aliases.lines())?;
    print_people(out, settings)?;
    let queue_lines = [
        format!("{}, up to {}", place(queue), screen::size(queue.max_bytes)),
        format!(
            "{} stay free on the disk; mail is tried for {}",
            screen::size(queue.min_free_bytes),
            span(delivery.lifetime)
        ),
    ];
    let kept = queue.keep_relayed.map(|time| {
        let most = screen::size(KEPT_BYTES_MAX);
        format!("relayed messages are kept for {}, {most} at most", span(time))
    });
    let queue_lines: Vec<String> = queue_lines.into_iter().chain(kept).collect();
    labelled(out, "queue", &queue_lines)?;
    let http = settings.admin.http.map(|address| format!("metrics and probes on http://{address}"));
    let page = settings.admin.page.as_ref().map(|page| {
        let url = page.url.as_ref().map(|url| format!(", which browsers find at {url}"));
        format!("the page on http://{}{}", page.address, url.unwrap_or_default())
    });
    let socket = settings.admin.socket.display().to_string();
    let admin: Vec<String> = std::iter::once(socket).chain(http).chain(page).collect();
    labelled(out, "admin", &admin)
}

/// `Fastmail: 1000 recipients a day; source: not verified ...`
fn provider(delivery: &delivery::Options) -> Option<String> {
    let profile = delivery.provider.profile();
    let day = profile.recipients_per_day;
    let known = delivery.provider != Provider::Custom;
    known.then(|| {
        format!("{}: {} recipients a day; source: {}", profile.title, day.value, day.evidence)
    })
}

/// `origins take turns, 100 recipients a day each at most; of a hundred recipients 5 are of bulk mail`.
fn fairness(fairness: &Fairness) -> String {
    let limit = match fairness.origin_limit.recipients() {
        None => String::new(),
        Some(limit) => format!(", each with {limit} recipients in any 24 hours"),
    };
    let bulk = match fairness.bulk_share {
        0 => "bulk mail waits for all other mail".to_owned(),
        share => format!("{share} of 100 recipients are of bulk mail while normal mail waits"),
    };
    format!("origins take turns{limit}; {bulk}")
}

fn document(
    settings: &Settings,
    aliases: &Survey<'_>,
    warnings: &[String],
    wrong: &[String],
) -> Value {
    let account = settings.require_account().err();
    let wrong = wrong.iter().map(|words| unplaced(words));
    let problems: Vec<Value> = account.iter().flat_map(problems).chain(wrong).collect();
    let (listener, queue, delivery) = (&settings.listener, &settings.queue, &settings.delivery);
    let mut document = json!({
        "source": settings.source.to_string(),
        "complete": problems.is_empty(),
        "warnings": warnings,
        "problems": problems,
        "upstream": {
            "provider": delivery.provider.word(),
            "host": delivery.host,
            "port": delivery.port,
            "tls": tls(delivery.tls),
            "username": delivery.login.as_ref().map(|login| &login.username),
            "ehlo_name": delivery.ehlo_name,
            "connections": delivery.connections,
            "logins_per_hour": delivery.logins_per_hour,
        },
        "budget": {
            "recipients_per_day": delivery.recipients_per_day.with(settings.owner_reserve),
            "owner_reserve": settings.owner_reserve,
            "notice_reserve": delivery.notice_reserve,
            "urgent_reserve": delivery.urgent_reserve,
            "bulk_share": queue.fairness.bulk_share,
            "origin_limit": queue.fairness.origin_limit,
            "pace_per_minute": delivery.pace_per_minute,
        },
        "listener": check_listener::document(listener),
        "recipients": aliases.document(),
        "sendmail": { "socket": listener.local.socket, "drop_directory": listener.local.drop_directory },
        "queue": {
            "directory": queue.directory,
            "lifetime_seconds": delivery.lifetime.as_secs(),
            "history_lifetime_seconds": settings.history_lifetime.as_secs(),
            "keep_relayed_seconds": queue.keep_relayed.map(|time| time.as_secs()),
            "max_bytes": queue.max_bytes,
            "min_free_bytes": queue.min_free_bytes,
        },
        "admin": {
            "socket": settings.admin.socket,
            "http": settings.admin.http,
            "page": settings.admin.page.as_ref().map(|page| page.address),
            "page_tls": settings.admin.page.as_ref().is_some_and(|page| page.tls.is_some()),
            "page_users_file": settings.admin.page.as_ref().and_then(|page| page.users_file.as_ref()),
            "page_url": settings.admin.page.as_ref().and_then(|page| page.url.as_ref()).map(ToString::to_string),
        },
    });
    for (section, value) in people_document(settings) {
        document[section] = value;
    }
    document["settings"] = json!(settings.configured().settings);
    document
}

fn tls(tls: Tls) -> &'static str {
    match tls {
        Tls::Starttls => "starttls",
        Tls::Implicit => "implicit",
        Tls::Off => "off",
    }
}

/// Who we log in as, and where the password is, never what it is.
fn login(delivery: &delivery::Options) -> String {
    let Some(login) = &delivery.login else { return "none".to_owned() };
    let source = match &login.password {
        PasswordSource::Inline(_) => "in the configuration".to_owned(),
        PasswordSource::File(path) | PasswordSource::Mounted(path) => {
            format!("in {}", path.display())
        }
        PasswordSource::Command(words) => {
            format!("from the command {}", text::program(words))
        }
        PasswordSource::Tokens(options) => {
            let source = match &options.grant {
                Grant::Refresh { token_file, .. } => format!("token in {}", token_file.display()),
                Grant::ServiceAccount { key_file } => {
                    format!("service account in {}", key_file.display())
                }
                Grant::Application { certificate: Some(file), .. } => {
                    format!("an application's certificate in {}", file.display())
                }
                Grant::Application { .. } => "an application's own secret".to_owned(),
            };
            return format!("{}, {source}", login.username);
        }
    };
    format!("{}, password {source}", login.username)
}

/// Lines in error that are named; the others are counted.
const PROBLEMS_SHOWN: usize = 20;

/// The file as it is now.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    file: &'a AliasesFile,
    /// `None` without a file.
    routes: Option<Routes>,
    /// What a person should look at.
    pub(super) warnings: Vec<String>,
}

/// Reads the file.
fn look_at_aliases(file: &AliasesFile) -> Survey<'_> {
    let path = file.choice().path().map_or_else(String::new, |path| path.display().to_string());
    match file.read() {
        Ok(routes) => {
            let aliases = routes.as_ref().map(|routes| &routes.aliases);
            let problems = aliases.map_or(&[][..], |aliases| aliases.problems());
            let mut warnings: Vec<String> = problems
                .iter()
                .take(PROBLEMS_SHOWN)
                .map(|problem| format!("{path}, {problem}"))
                .collect();
            let more = aliases.map_or(0, |aliases| aliases.problem_count()) - warnings.len();
            if more > 0 {
                warnings.push(format!("{path} has {} more", count(more as u64, "problem")));
            }
            Survey { file, routes, warnings }
        }
        Err(error) => Survey { file, routes: None, warnings: vec![error.to_string()] },
    }
}

impl Survey<'_> {
    /// For the screen.
    pub(super) fn lines(&self) -> Vec<String> {
        let local = self.file.local();
        let aliases = match (&self.routes, self.file.choice().path()) {
            (Some(routes), Some(path)) => {
                format!(
                    "{} in {}",
                    count(routes.aliases.len() as u64, "alias name"),
                    path.display()
                )
            }
            (None, Some(path)) if self.warnings.is_empty() => {
                format!("no aliases ({} is not there)", path.display())
            }
            (None, Some(path)) => format!("no aliases ({} cannot be read)", path.display()),
            (_, None) => "no aliases".to_owned(),
        };
        let admin = local.admin.as_ref().map_or_else(
            || "no other name of this host can be written to".to_owned(),
            |admin| format!("all other names of this host go to {admin}"),
        );
        let redirected = local.redirect_all.as_ref();
        let redirected =
            redirected.map(|all| format!("ALL mail, whoever it is for, goes to {all}"));
        [aliases, admin].into_iter().chain(redirected).collect()
    }

    /// For programs.
    pub(super) fn document(&self) -> Value {
        let local = self.file.local();
        let routes = self.routes.as_ref();
        json!({
            "aliases_file": self.file.choice().path(),
            "aliases": routes.map_or(0, |routes| routes.aliases.len()),
            "problems": routes.map_or(0, |routes| routes.aliases.problem_count()),
            "host_names": local.domains,
            "admin": local.admin,
            "redirect_all": local.redirect_all,
        })
    }
}

/// Prints both places.
fn print_local(out: &mut dyn Screen, places: &Local) -> io::Result<()> {
    let socket = places.socket.as_ref();
    let socket =
        socket.map_or_else(|| "no local socket".to_owned(), |path| path.display().to_string());
    let directory = places.drop_directory.as_ref().map_or_else(
        || "no drop directory: while the relay is down, local mail has nowhere to go".to_owned(),
        |path| format!("{} while the relay is down", path.display()),
    );
    labelled(out, "sendmail", &[socket, directory])
}

fn print_people(out: &mut dyn Screen, settings: &Settings) -> io::Result<()> {
    labelled(out, "identity", &identity(settings))?;
    labelled(out, "notices", &[notices(settings)])?;
    labelled(out, "alerts", &alerts(settings))?;
    labelled(out, "report", &[weekly_report(settings)])
}

/// Who mail is sent as.
fn identity(settings: &Settings) -> Vec<String> {
    let delivery = &settings.delivery;
    let identity = &delivery.identity;
    let account = delivery.login.as_ref().map_or("the account", |login| login.username.as_str());
    let send_as: Vec<String> = identity.send_as.iter().map(ToString::to_string).collect();
    let from = match identity.from {
        FromPolicy::Account => format!("everything leaves as {account}"),
        FromPolicy::AliasList => {
            format!("everything leaves as {account}, but what is from {}", send_as.join(", "))
        }
        FromPolicy::Keep => "senders stay as they are".to_owned(),
    };
    let domain =
        format!("a sender without a domain, such as root, becomes root@{}", identity.domain);
    let admin = match &delivery.admin {
        Some(admin) => format!("mail for a name without a domain goes to {admin}"),
        None => "mail for a name without a domain is refused".to_owned(),
    };
    vec![from, domain, admin]
}

/// Who is told by mail.
fn notices(settings: &Settings) -> String {
    let notices = &settings.notices;
    let (Some(_), Some(admin)) = (&notices.from, &notices.admin) else {
        return "nobody".to_owned();
    };
    let senders = if notices.senders { " and senders elsewhere" } else { "" };
    let delay = match notices.delay_after {
        Some(after) => format!("; of mail that waits after {}", span(after)),
        None => String::new(),
    };
    format!("to {admin}{senders}, at most {} an hour{delay}", notices.per_hour)
}

/// Whether a mail tells of the week.
fn weekly_report(settings: &Settings) -> String {
    match settings.report.to.as_ref().filter(|_| settings.report.enabled) {
        Some(to) => format!("once a week to {to}"),
        None => "not by mail; pillarbox report shows it".to_owned(),
    }
}

/// Who is told without mail.
fn alerts(settings: &Settings) -> Vec<String> {
    let mut lines: Vec<String> = settings
        .alert
        .targets
        .iter()
        .map(|target| {
            let only = target.only.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
            let only = if only.is_empty() { only } else { format!(", only of {only}") };
            format!("{}: {}{only}", target.name, target.way.shown())
        })
        .collect();
    if lines.is_empty() {
        lines.push("none".to_owned());
    }
    lines.extend(settings.alert.heartbeat.as_ref().map(|heartbeat| {
        let (place, every) = (heartbeat.address.place(), span(heartbeat.every));
        format!("a heartbeat {place} every {every} while mail leaves")
    }));
    lines
}

/// The sections of the JSON document.
fn people_document(settings: &Settings) -> [(&'static str, Value); 4] {
    let (delivery, notices, alert) = (&settings.delivery, &settings.notices, &settings.alert);
    let identity = &delivery.identity;
    let from = match identity.from {
        FromPolicy::Account => "account",
        FromPolicy::AliasList => "alias-list",
        FromPolicy::Keep => "keep",
    };
    [
        (
            "identity",
            json!({
                "from": from,
                "account": delivery.login.as_ref().map(|login| &login.username),
                "send_as": identity.send_as,
                "domain": identity.domain,
                "admin": delivery.admin,
            }),
        ),
        (
            "notices",
            json!({
                "to": notices.from.as_ref().and(notices.admin.as_ref()),
                "senders": notices.senders,
                "per_hour": notices.per_hour,
                "delay_after_seconds": notices.delay_after.map(|after| after.as_secs()),
            }),
        ),
        (
            "alerts",
            alert
                .targets
                .iter()
                .map(|target| {
                    json!({
                        "name": target.name,
                        "goes_to": target.way.shown(),
                        "only": target.only,
                    })
                })
                .collect(),
        ),
        ("report", json!({ "enabled": settings.report.enabled, "to": settings.report.to })),
    ]
}
