//! The checks of what lies on this machine: files, places, addresses, programs.
//!
//! Rule: each check blocks and is run beside the others. A missing part that nothing needs here is no fault.

use std::{fs, net::SocketAddr, os::unix::fs::FileTypeExt as _, path::Path};

use super::{
    certificate, door,
    machine::Machine,
    places::{self, Found},
    provider,
    scene::{Daemon, Scene},
    tokens, told,
};
use crate::{
    admin::client::has_unit,
    delivery::{self, PasswordSource},
    findings::Outcome,
    listener,
    message::identity::FromPolicy,
    quantities::{count, relative, size},
    settings::{
        host::{self, Warning},
        volume::Kept,
    },
    smtp::address::Address,
    text::capitalized,
};

/// A check with its name.
type Check<T> = (&'static str, fn(&T) -> Outcome);

/// The checks of a machine, whatever is configured.
pub(super) const OF_MACHINE: [Check<Machine>; 1] = [("sendmail-program", sendmail_program)];
/// The checks that look at what the configuration names.
pub(super) const OF_SCENE: [Check<Scene>; 17] = [
    ("secret-files", secret_files),
    ("users", users),
    ("store-directory", store_directory),
    ("store-volume", store_volume),
    ("store-space", store_space),
    ("set-aside-files", set_aside_files),
    ("listening-addresses", listening_addresses),
    ("gateway-trust", gateway_trust),
    ("listener-certificate", listener_certificate),
    ("local-socket", local_socket),
    ("drop-directory", drop_directory),
    ("aliases", aliases),
    ("sender", sender),
    ("provider", |scene| provider::of(&scene.settings)),
    ("oldest-message", oldest_message),
    ("tokens", tokens_of_login),
    ("alert-path", alert_path),
];

/// Where programs look for sendmail, or a shell finds it.
const SENDMAIL: [&str; 5] = [
    "/usr/sbin/sendmail",
    "/usr/lib/sendmail",
    "/usr/bin/sendmail",
    "/usr/local/sbin/sendmail",
    "/usr/local/bin/sendmail",
];
/// What our own program is called.
const OURS: &str = "pillarbox";
/// Files of a directory that are counted.
const FILES_MAX: usize = 10_000;

/// What is the matter, and behind a semicolon, a full stop or the end of a line what to do.
pub(super) fn parted<'a>(words: &'a str, otherwise: &'a str) -> (&'a str, &'a str) {
    let ends = ["; ", ".\n", "\n", ". "];
    let end = ends.iter().filter_map(|end| Some((words.find(end)?, end.len()))).min();
    match end {
        Some((at, length)) => (&words[..at], words[at + length..].trim()),
        None => (words, otherwise),
    }
}

/// The finding of a look: the first trouble with its remedy, and how many more there are.
fn judged(found: &Found, well: impl AsRef<str>, otherwise: &str) -> Outcome {
    let told = |texts: &[String]| {
        let (what, remedy) = parted(texts.first()?, otherwise);
        let others: Vec<&str> = texts[1..].iter().map(|text| parted(text, otherwise).0).collect();
        let others =
            if others.is_empty() { String::new() } else { format!("; {}", others.join("; ")) };
        let again =
            if texts.len() > 1 { "; pillarbox check shows the remedies of the others" } else { "" };
        Some((format!("{what}{others}"), capitalized(remedy) + again))
    };
    if let Some((what, remedy)) = told(&[found.wrong.as_slice(), &found.unused].concat()) {
        return Outcome::fail(what, remedy);
    }
    if let Some((what, remedy)) = told(&found.warnings) {
        return Outcome::warn(what, remedy);
    }
    Outcome::pass(well)
}

fn warned(warnings: &[Warning], well: &str) -> Outcome {
    match warnings.first() {
        Some(Warning { what, remedy }) => Outcome::warn(what, remedy),
        None => Outcome::pass(well),
    }
}

fn secret_files(scene: &Scene) -> Outcome {
    let otherwise =
        "Make the app password its first line: https://myaccount.google.com/apppasswords";
    let found = places::secrets(&scene.settings);
    let has_none = scene
        .settings
        .all_accounts()
        .all(|(_, delivery, _)| delivery.login.is_none() && delivery.ca_file.is_none());
    if has_none && !found.is_fatal() && found.warnings.is_empty() {
        return Outcome::skipped("no password, token or trust root is configured");
    }
    judged(&found, "readable by the relay, closed to others", otherwise)
}

fn users(scene: &Scene) -> Outcome {
    let listener = &scene.settings.listener;
    if listener.users_file.is_none() {
        return Outcome::skipped("nobody logs in to the listener");
    }
    judged(&door::users(listener), "the users file can be used", "Run: pillarbox user list")
}

fn store_directory(scene: &Scene) -> Outcome {
    let directory = scene.store();
    let (shown, is_there) = (directory.display(), directory.is_dir());
    let well = if is_there { "is there" } else { "is made at the start" };
    let otherwise = "Set queue.directory and admin.socket to places that the relay may make or has";
    judged(&places::store(&scene.settings), format!("{shown} {well}"), otherwise)
}

fn store_volume(scene: &Scene) -> Outcome {
    if scene.settings.queue.database.is_some() {
        return Outcome::pass(
            "the queue is in the fleet's database, and no disk of this host has to last",
        );
    }
    let store = host::resolved(scene.store());
    match host::volatile(Kept::Queue, &store, &scene.machine.kernel) {
        Some(Warning { what, remedy }) => Outcome::warn(what, remedy),
        None => match scene.machine.kernel.mount(&store) {
            Some(mount) => Outcome::pass(format!("on {}, which lasts", mount.kind)),
            None => Outcome::skipped("the kernel does not say what the queue's directory is on"),
        },
    }
}

fn store_space(scene: &Scene) -> Outcome {
    let (queue, session) = (&scene.settings.queue, &scene.settings.listener.session);
    let place = scene.store().ancestors().find(|place| place.exists());
    let Some(Ok(found)) = place.map(rustix::fs::statvfs) else {
        return Outcome::skipped("the file system does not say how much of it is free");
    };
    let (free, kept) = (found.f_bavail.saturating_mul(found.f_frsize), queue.min_free_bytes);
    let shown = format!("{} free", size(free));
    let remedy = format!("Make room on the disk of {}", scene.store().display());
    // Some file systems have no table of files that could be full.
    if found.f_files > 0 && found.f_favail == 0 {
        return Outcome::fail("the file system can hold no more files", remedy);
    }
    if free < kept {
        let seen = format!("{shown}, and {} stay free: no mail is taken", size(kept));
        return Outcome::fail(seen, format!("{remedy}, or lower queue.min_free_bytes"));
    }
    if free - kept < session.max_message_bytes {
        let seen = format!("{shown}, and {} stay free: large mail is not taken", size(kept));
        return Outcome::warn(seen, remedy);
    }
    Outcome::pass(format!("{shown}, of which {} stay free", size(kept)))
}

/// Damaged files of the queue, and files of the drop directory that were no mail.
fn set_aside_files(scene: &Scene) -> Outcome {
    let damaged = scene.store().join("damaged");
    let drop_directory = scene.settings.listener.local.drop_directory.as_deref();
    let (of_queue, of_drop) = match scene.daemon.status() {
        Some(status) => {
            (status.queue.set_aside, status.dropped.as_ref().map_or(0, |dropped| dropped.set_aside))
        }
        None => (files(&damaged, ""), drop_directory.map_or(0, |path| files(path, "bad."))),
    };
    let places = [
        (of_queue, damaged.display().to_string()),
        (
            of_drop,
            drop_directory
                .map_or_else(String::new, |path| path.join("bad.*").display().to_string()),
        ),
    ];
    let found = places.iter().filter(|(number, _)| *number > 0);
    let found: Vec<String> =
        found.map(|(number, place)| format!("{} in {place}", count(*number, "file"))).collect();
    match found.is_empty() {
        true => Outcome::pass("no file was set aside"),
        false => Outcome::warn(
            format!("set aside because they could not be read: {}", found.join(", ")),
            "See the log for why; docs/operating.md says what can be saved. Then move them away",
        ),
    }
}

fn files(directory: &Path, prefix: &str) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().take(FILES_MAX);
    let found = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    found.count() as u64
}

fn listening_addresses(scene: &Scene) -> Outcome {
    let listener = &scene.settings.listener;
    if let Daemon::Silent { is_absent: false, .. } = scene.daemon {
        return Outcome::skipped("the daemon has them and does not answer; see daemon");
    }
    let mut found = places::addresses(&scene.settings);
    let taken = scene.addresses().into_iter().filter_map(|address| {
        let names = scene.machine.holders(address);
        (!names.is_empty()).then(|| (address, names.join(", ")))
    });
    let taken: Vec<(SocketAddr, String)> = taken.collect();
    let served = scene.daemon.status().map(|status| &status.listening);
    if let Some(served) = served {
        let is_served = |address: &SocketAddr| served.contains(&address.to_string());
        let all: Vec<SocketAddr> = scene.addresses();
        // Addresses of IPv6 are skipped by hosts without it, and port 0 becomes another one.
        let missing = all.iter().filter(|one| one.is_ipv4() && one.port() != 0 && !is_served(one));
        found.warnings.extend(missing.map(|address| {
            format!(
                "the daemon does not listen on {address}; restart it, or add a ListenStream= line to pillarbox.socket \
                 when systemd opens its sockets"
            )
        }));
    } else if let Some((address, names)) = taken
        .iter()
        .find(|(address, _)| listener::bind::fault(*address, &listener.addresses).is_some())
    {
        // systemd itself listens for a relay that does not run.
        if !(has_unit() && names.starts_with("systemd ")) {
            let port = address.port();
            return Outcome::fail(
                format!("{address} is in use by {names}"),
                format!(
                    "Stop that program, or choose another port in addresses under [listener]; see: ss -ltnp 'sport = :{port}'"
                ),
            );
        }
    }
    let outcome = judged(&found, well(scene), "Correct addresses under [listener]");
    if outcome.is_trouble() {
        return outcome;
    }
    let machine = &scene.machine.kernel;
    let warnings = host::open_addresses(listener, &scene.addresses(), machine);
    warned(&warnings, &well(scene))
}

fn well(scene: &Scene) -> String {
    let addresses: Vec<String> = scene.addresses().iter().map(SocketAddr::to_string).collect();
    format!("mail is taken on {}", addresses.join(", "))
}

fn gateway_trust(scene: &Scene) -> Outcome {
    let (listener, machine) = (&scene.settings.listener, &scene.machine.kernel);
    let warnings = host::gateways(listener, &scene.addresses(), machine);
    warned(&warnings, "no gateway is trusted that could let strangers in")
}

fn listener_certificate(scene: &Scene) -> Outcome {
    let listener = &scene.settings.listener;
    let Some(files) = &listener.tls else {
        return Outcome::skipped("the listener has no certificate");
    };
    let end = certificate::ends_at(&files.certificate);
    let end = end.map_or_else(String::new, |end| format!(", ends {}", relative(end, scene.now)));
    let well = format!("{}{end}", files.certificate.display());
    judged(&door::certificate(listener, scene.now), well, "Correct tls_certificate and tls_key")
}

fn local_socket(scene: &Scene) -> Outcome {
    let Some(path) = &scene.settings.listener.local.socket else {
        return Outcome::skipped("there is no local socket: socket = \"off\" under [sendmail]");
    };
    let shown = path.display();
    let [socket, _] = places::local(&scene.settings);
    let outcome = judged(&socket, format!("{shown} takes mail of this host"), "Run: chmod o+x");
    if outcome.is_trouble() {
        return outcome;
    }
    if scene.daemon.status().is_none() {
        return Outcome::skipped(format!("{shown} is there while the daemon runs; see daemon"));
    }
    // Not connected to: the listener would count a client that said nothing.
    let is_socket = fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let listens = scene
        .daemon
        .status()
        .is_some_and(|status| status.listening.iter().any(|place| Path::new(place) == path));
    let remedy = "See the log of the daemon's start for why; then: systemctl restart pillarbox";
    match (listens, is_socket) {
        (true, true) => outcome,
        (true, false) => {
            Outcome::fail(format!("{shown} was removed or is no socket: it takes no mail"), remedy)
        }
        (false, _) => Outcome::fail(format!("the daemon takes no mail on {shown}"), remedy),
    }
}

fn drop_directory(scene: &Scene) -> Outcome {
    let Some(path) = &scene.settings.listener.local.drop_directory else {
        return Outcome::skipped(
            "there is no drop directory: drop_directory = \"off\" under [sendmail]",
        );
    };
    let shown = path.display();
    let [_, found] = places::local(&scene.settings);
    let outcome =
        judged(&found, format!("{shown} keeps mail while the daemon is down"), "Run: ls -ld");
    if outcome.is_trouble() {
        return outcome;
    }
    if !path.exists() {
        let words = format!("{shown} is not there");
        return match scene.daemon.status() {
            Some(_) => Outcome::warn(
                format!("{words}, so local mail has nowhere to go while the daemon is down"),
                "Restart the daemon, which makes it, and see its log if it cannot",
            ),
            None => Outcome::skipped(format!("{words}; the daemon makes it")),
        };
    }
    let place = host::resolved(path);
    if let Some(Warning { what, remedy }) =
        host::volatile(Kept::Drop, &place, &scene.machine.kernel)
    {
        return Outcome::warn(what, remedy);
    }
    match scene.daemon.status().and_then(|status| status.dropped.as_ref()) {
        Some(dropped) if dropped.waiting > 0 => Outcome::warn(
            format!("{} in {shown} for long", count(dropped.waiting, "message")),
            "See the log of the daemon for why they are not taken",
        ),
        _ => outcome,
    }
}

fn aliases(scene: &Scene) -> Outcome {
    let file = &scene.settings.listener.recipients;
    let routes = match file.read() {
        Ok(routes) => routes,
        Err(error) => {
            let words = error.to_string();
            let (what, remedy) = parted(&words, "");
            return Outcome::fail(what, remedy);
        }
    };
    let routes = routes.unwrap_or_else(|| crate::message::aliases::Routes {
        local: file.local().clone(),
        ..Default::default()
    });
    let path = file.choice().path().map_or_else(String::new, |path| path.display().to_string());
    if let Some(problem) = routes.aliases.problems().first() {
        let number = count(routes.aliases.problem_count() as u64, "problem");
        let seen = format!("{path} has {number}: line {}: {}", problem.line, problem.what);
        return Outcome::warn(seen, &problem.remedy);
    }
    if let Some(all) = &routes.local.redirect_all {
        return Outcome::warn(
            format!("all mail, whoever it is for, goes to {all}"),
            "Remove redirect_all under [identity] when the test is over",
        );
    }
    let Ok(root) = "root".parse::<Address>() else { return Outcome::skipped("no name of root") };
    match routes.of(&root) {
        Ok(found) => {
            let readers: Vec<String> =
                found.iter().map(|route| route.address.to_string()).collect();
            Outcome::pass(format!("root's mail is read by {}", readers.join(", ")))
        }
        Err(error) => {
            let words = error.to_string();
            let (what, remedy) = words.split_once(": ").unwrap_or((&words, ""));
            Outcome::fail(what, remedy)
        }
    }
}

/// Whom mail is from, which a provider may refuse although it takes the login.
fn sender(scene: &Scene) -> Outcome {
    let settings = &scene.settings;
    let outcomes = settings
        .all_accounts()
        .filter_map(|(name, delivery, _)| Some((name, sender_of(delivery)?)));
    let mut outcomes = outcomes.peekable();
    match outcomes.peek() {
        None => Outcome::skipped("without a login the upstream decides by address"),
        Some(_) => Outcome::of_accounts(!settings.accounts.is_empty(), outcomes),
    }
}

/// The same of one account; `None` where nobody logs in.
fn sender_of(delivery: &delivery::Options) -> Option<Outcome> {
    let login = delivery.login.as_ref()?;
    Some(match delivery.identity.from {
        FromPolicy::Account => Outcome::pass(format!("all mail is from {}", login.username)),
        FromPolicy::AliasList => {
            let own = delivery.identity.send_as.iter().map(ToString::to_string);
            let own: Vec<String> = own.collect();
            Outcome::pass(format!("mail is from {}, or from {}", login.username, own.join(", ")))
        }
        FromPolicy::Keep => Outcome::warn(
            format!(
                "mail is from whoever its program says, and many providers refuse a sender that does not belong to {}",
                login.username
            ),
            "Write from = \"account\" under [identity], or \"alias-list\" with what the account may send as",
        ),
    })
}

fn oldest_message(scene: &Scene) -> Outcome {
    let Some(status) = scene.daemon.status() else {
        return Outcome::skipped(told::NOBODY);
    };
    let Some(oldest) = status.queue.oldest else { return Outcome::pass("nothing waits") };
    let (age, limit) =
        (relative(oldest.accepted_at, status.now), scene.settings.alert.watch.oldest_message);
    let seen = format!("{} was accepted {age}", oldest.id);
    if status.now.since(oldest.accepted_at) < limit {
        return Outcome::pass(seen);
    }
    let why = &status.departure.why;
    Outcome::warn(
        format!("{seen} and waits: {why}"),
        format!("Run: pillarbox queue show {}", oldest.id),
    )
}

fn tokens_of_login(scene: &Scene) -> Outcome {
    let outcomes = scene.settings.all_accounts().filter_map(|(name, delivery, _)| {
        let login = delivery.login.as_ref();
        let uses = login.is_some_and(|login| matches!(login.password, PasswordSource::Tokens(_)));
        let outcome = match places::secrets_of(&scene.settings, name).is_fatal() {
            true => Outcome::skipped("not looked at; see secret-files"),
            false => tokens::of(login, scene.now),
        };
        uses.then_some((name, outcome))
    });
    let mut outcomes = outcomes.peekable();
    match outcomes.peek() {
        None => tokens::of(None, scene.now),
        Some(_) => Outcome::of_accounts(!scene.settings.accounts.is_empty(), outcomes),
    }
}

fn alert_path(scene: &Scene) -> Outcome {
    let targets = &scene.settings.alert.targets;
    let ways: Vec<String> = targets.iter().map(|target| target.way.shown()).collect();
    if ways.is_empty() {
        return Outcome::warn(
            "nobody hears of it when the account is refused: a notice by mail could not leave",
            "Set webhook_file or command under [alert]",
        );
    }
    let well = format!("alerts go to {}; --alert sends one", ways.join(" and "));
    judged(&places::alert(&scene.settings), well, "Correct [alert]")
}

fn sendmail_program(machine: &Machine) -> Outcome {
    let mut ours = Vec::new();
    for path in SENDMAIL {
        let Some(followed) = machine.followed(path) else { continue };
        let target = match followed {
            Err(nowhere) => {
                return Outcome::warn(
                    format!("{path} leads to {}, which is not there", nowhere.display()),
                    format!("Run: ln -sf /usr/bin/pillarbox {path}"),
                );
            }
            Ok(target) => target,
        };
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != OURS {
            return Outcome::warn(
                format!(
                    "{path} is {}, so mail of this host's programs goes past the relay",
                    target.display()
                ),
                format!(
                    "Remove that mail program, or let {path} lead to this one; see pillarbox migrate"
                ),
            );
        }
        ours.push(path);
    }
    match ours.first() {
        Some(path) => Outcome::pass(format!("{path} is Pillarbox")),
        None => Outcome::skipped("there is no sendmail program here"),
    }
}
