//! `pillarbox check`: is the configuration right, and what would be used?
//!
//! Rule: prints no secret, and nothing of one; succeeds when `pillarbox run` would start with it and there is a password
//! that may be one to log in with. Must not know how settings are checked.

use std::{io, io::Write, path::Path};

use serde_json::{Value, json};

use super::{
    check_aliases::{self, Survey},
    check_door, check_local, check_places, check_telling,
    exit::{Exit, Failure},
    moment::span,
    screen::{self, labelled},
};
use crate::{
    clock::{Clock as _, SystemClock},
    delivery::{self, PasswordSource, Tls, oauth::Grant},
    settings::{
        self, Settings, SettingsError,
        host::{self, Machine},
    },
};

/// Checks and prints.
pub(super) fn run(
    out: &mut dyn Write,
    config: Option<&Path>,
    as_json: bool,
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
    let places = check_places::look(&settings);
    let door = check_door::look(&settings.listener, SystemClock::new().wall());
    let aliases = check_aliases::look(&settings.listener.recipients);
    let local = check_local::warnings(&settings);
    let warnings =
        [&places.warnings, &door.warnings, &aliases.warnings, &surroundings(&settings), &local]
            .map(Vec::as_slice)
            .concat();
    let wrong = [places.wrong, door.wrong].concat();
    if as_json {
        screen::json(out, &document(&settings, &aliases, &warnings, &wrong))?;
    } else {
        print(out, &settings, &aliases)?;
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

/// What may go wrong with it on this machine.
fn surroundings(settings: &Settings) -> Vec<String> {
    let listener = &settings.listener;
    let addresses: Vec<_> = listener.addresses.iter().map(|endpoint| endpoint.address).collect();
    let store = host::resolved(&settings.queue.directory);
    let warnings = host::warnings(listener, &addresses, &store, &Machine::of_this_process());
    warnings.iter().map(ToString::to_string).collect()
}

fn print(out: &mut dyn Write, settings: &Settings, aliases: &Survey<'_>) -> io::Result<()> {
    let (listener, queue, delivery) = (&settings.listener, &settings.queue, &settings.delivery);
    labelled(out, "from", &[settings.source.to_string()])?;
    labelled(
        out,
        "upstream",
        &[format!("{}:{} ({})", delivery.host, delivery.port, tls(delivery.tls))],
    )?;
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
    labelled(out, "budget", &[budget])?;
    check_door::print(out, listener)?;
    check_local::print(out, &listener.local)?;
    labelled(out, "recipients", &aliases.lines())?;
    check_telling::print(out, settings)?;
    let queue_lines = [
        format!("{}, up to {}", queue.directory.display(), screen::size(queue.max_bytes)),
        format!(
            "{} stay free on the disk; mail is tried for {}",
            screen::size(queue.min_free_bytes),
            span(delivery.lifetime)
        ),
    ];
    labelled(out, "queue", &queue_lines)?;
    let http = settings.admin.http.map(|address| format!("metrics and probes on http://{address}"));
    let admin: Vec<String> =
        std::iter::once(settings.admin.socket.display().to_string()).chain(http).collect();
    labelled(out, "admin", &admin)
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
            "pace_per_minute": delivery.pace_per_minute,
        },
        "listener": check_door::document(listener),
        "recipients": aliases.document(),
        "sendmail": { "socket": listener.local.socket, "drop_directory": listener.local.drop_directory },
        "queue": {
            "directory": queue.directory,
            "lifetime_seconds": delivery.lifetime.as_secs(),
            "history_lifetime_seconds": settings.history_lifetime.as_secs(),
            "max_bytes": queue.max_bytes,
            "min_free_bytes": queue.min_free_bytes,
        },
        "admin": { "socket": settings.admin.socket, "http": settings.admin.http },
    });
    for (section, value) in check_telling::document(settings) {
        document[section] = value;
    }
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
            format!("from the command {}", words.first().map_or("", String::as_str))
        }
        PasswordSource::Tokens(options) => {
            let source = match &options.grant {
                Grant::Refresh { token_file, .. } => format!("token in {}", token_file.display()),
                Grant::ServiceAccount { key_file } => {
                    format!("service account in {}", key_file.display())
                }
            };
            return format!("{}, {source}", login.username);
        }
    };
    format!("{}, password {source}", login.username)
}
