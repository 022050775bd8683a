//! The way to the upstream, link by link: its name, its ports, TLS, what it says, the login.
//!
//! Rule: it goes the way that mail goes; behind a broken link nothing is judged, so that the cause alone fails. Each step
//! has a limit, and all of them together less than the whole diagnosis.

use std::{io, net::SocketAddr, time::Duration};

use tokio::time::timeout;

use super::{
    certificate::not_after,
    order::WAY,
    places,
    scene::{Daemon, Found, Scene},
};
use crate::{
    addressed::MAIN,
    clock::Timestamp,
    delivery::{
        IpFamily, Limits, Options, Provider, Tls, Transport, Way,
        inspection::{self, Broken, Link, LoginProof, Sight},
        ports::{self, SUBMISSION, Tried, other_of_submission},
    },
    findings::{Outcome, Verdict},
    quantities::{relative, size},
    settings::FurtherAccount,
};

/// The name server.
const NAMES: Duration = Duration::from_secs(5);
/// One connection; all are tried at once.
const CONNECT: Duration = Duration::from_secs(5);
/// From the connection to the end of the greeting, with TLS.
const OPENING: Duration = Duration::from_secs(8);
/// The login, with its own connection and the reading of its password.
const LOGIN: Duration = Duration::from_secs(11);
/// How long before the end of the upstream's certificate it is told: whoever renews it has failed to by then.
const CERTIFICATE_WARNING: Duration = Duration::from_secs(3 * 86_400);

/// Goes the way, and fills in what lies behind a broken link.
pub(super) async fn follow(scene: &Scene, with_login: bool) -> Found {
    let mut found = go(scene, (None, &scene.settings.delivery), with_login).await;
    let broken = found.iter().find(|(_, outcome)| outcome.verdict == Verdict::Fail);
    // Where nothing has failed, the last one was not tried.
    let broken = broken.or_else(|| found.last());
    let why = broken.map_or_else(String::new, |(name, _)| format!("not reached; see {name}"));
    for name in WAY {
        if !found.iter().any(|(seen, _)| *seen == name) {
            found.push((name, Outcome::skipped(&why)));
        }
    }
    found
}

/// Goes the way of each account besides the main one, and says where it ends.
pub(super) async fn follow_others(scene: &Scene) -> Outcome {
    let accounts = &scene.settings.accounts;
    if accounts.is_empty() {
        return Outcome::skipped("there is no account besides main");
    }
    let mut outcomes = Vec::new();
    for FurtherAccount { name, delivery, .. } in accounts {
        let found = go(scene, (Some(name), delivery), true).await;
        let (link, outcome) = worst(found);
        let seen = match outcome.verdict {
            Verdict::Pass => outcome.seen.clone(),
            _ => format!("{link}: {}", outcome.seen),
        };
        outcomes.push((name.as_str(), Outcome { seen, ..outcome }));
    }
    Outcome::of_accounts(true, outcomes)
}

/// The first of the gravest, else the last: so far it went.
fn worst(found: Found) -> (&'static str, Outcome) {
    let gravest = found.iter().map(|(_, outcome)| outcome.verdict).max().unwrap_or(Verdict::Pass);
    let mut found = found.into_iter();
    let found = match gravest {
        Verdict::Pass => found.next_back(),
        _ => found.find(|(_, outcome)| outcome.verdict == gravest),
    };
    found.unwrap_or_else(|| ("dns", Outcome::skipped("not tried")))
}

/// `account` is the name of the account whose delivery it is, but for the main one.
async fn go(
    scene: &Scene,
    (account, delivery): (Option<&str>, &Options),
    with_login: bool,
) -> Found {
    let options = options(delivery);
    let mut found = Found::new();
    let addresses = match names(&options).await {
        Ok((outcome, addresses)) => {
            found.push(("dns", outcome));
            addresses
        }
        Err(outcome) => return vec![("dns", outcome)],
    };
    let (outcome, way) = ports(&options, &addresses).await;
    found.push(("upstream-ports", outcome));
    let Some(way) = way else { return found };
    if way.tls != Tls::Off && places::trust(&scene.settings, delivery).is_fatal() {
        found.push(("upstream-tls", Outcome::skipped("not tried; see secret-files")));
        return found;
    }
    match opening(&options, way).await {
        Ok(sight) => {
            found.push(("upstream-tls", protection(&sight, scene.now)));
            // What the listener takes is by the main account; another one's mail is routed by size.
            let taken = scene.settings.listener.session.max_message_bytes;
            let taken = taken * u64::from(account.is_none());
            found.push(("upstream-greeting", greeting(&sight, delivery.transport, taken)));
        }
        Err(Broken { link, reason, remedy }) => {
            let outcome = Outcome::fail(reason, remedy);
            let name = match link {
                Link::Network => "upstream-ports",
                Link::Tls => "upstream-tls",
                Link::Dialogue | Link::Login => "upstream-greeting",
            };
            found.retain(|(seen, _)| *seen != name);
            if name == "upstream-greeting" && options.tls == Tls::Off {
                found.push(("upstream-tls", Outcome::skipped(OFF)));
            }
            found.push((name, outcome));
            return found;
        }
    }
    if with_login && !found.iter().any(|(_, outcome)| outcome.verdict == Verdict::Fail) {
        found.push(("login", login(scene, account, &options, way).await));
    }
    found
}

/// The options of delivery with the limits of whoever waits at a terminal.
fn options(delivery: &Options) -> Options {
    let limits = Limits {
        connect: CONNECT,
        command: OPENING / 2,
        password_command: LOGIN / 2,
        ..delivery.limits.clone()
    };
    Options { limits, ..delivery.clone() }
}

async fn names(options: &Options) -> Result<(Outcome, Vec<SocketAddr>), Outcome> {
    let host = options.host.as_str();
    let remedy = match options.transport {
        Transport::Smtp => "Check upstream.host, and the name server in /etc/resolv.conf",
        Transport::GmailApi => "Check the name server in /etc/resolv.conf",
    };
    let fail = |words: String| Err(Outcome::fail(words, remedy));
    let addresses = match timeout(NAMES, inspection::addresses(host, options.port)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return fail(format!("{host} cannot be resolved: {error}")),
        Err(_) => return fail(format!("no name server answers within {} s", NAMES.as_secs())),
    };
    let [v4, v6] = ports::of_families(&addresses);
    let usable = match options.ip_family {
        IpFamily::Any => [v4.clone(), v6.clone()].concat(),
        IpFamily::V4 => v4.clone(),
        IpFamily::V6 => v6.clone(),
    };
    let listed = |addresses: &[SocketAddr], family: &str| match addresses {
        [] => format!("no {family}"),
        [first, ..] => format!("{family} {}", first.ip()),
    };
    let seen = format!("{host}: {}, {}", listed(&v4, "IPv4"), listed(&v6, "IPv6"));
    if usable.is_empty() {
        let family = options.ip_family.name();
        return Err(Outcome::fail(
            format!("{seen}; upstream.ip_family = \"{family}\" leaves none"),
            "Write ip_family = \"any\" under [upstream]",
        ));
    }
    Ok((Outcome::pass(seen), usable))
}

/// Tries the configured way, and where that is one of the usual two the other as well, in each family.
async fn ports(options: &Options, addresses: &[SocketAddr]) -> (Outcome, Option<Way>) {
    let configured = Way { port: options.port, tls: options.tls };
    let other = SUBMISSION.contains(&configured).then(|| other_of_submission(configured.port));
    let other = other.flatten().or(options.other_way);
    let numbers: Vec<u16> =
        [Some(configured), other].into_iter().flatten().map(|way| way.port).collect();
    let tried = ports::try_all(&numbers, addresses, CONNECT).await;
    let (mut outcome, way) = judge_ports(&tried, configured, other, options);
    let is_closed = tried.iter().all(|one| one.failure.is_some());
    let could = could_use_https(options.provider, options.port, options.transport);
    if is_closed && could && ports::https_is_open(CONNECT).await {
        USE_HTTPS.clone_into(&mut outcome.remedy);
    }
    (outcome, way)
}

/// Whether mail could leave over HTTPS where the ports of submission are closed.
fn could_use_https(provider: Provider, port: u16, transport: Transport) -> bool {
    let is_mailbox = matches!(provider, Provider::Gmail | Provider::Workspace);
    is_mailbox && transport == Transport::Smtp && SUBMISSION.iter().any(|way| way.port == port)
}

fn judge_ports(
    tried: &[Tried],
    configured: Way,
    other: Option<Way>,
    options: &Options,
) -> (Outcome, Option<Way>) {
    let seen = tried.iter().fold(String::new(), |seen, one| {
        let separator = if seen.is_empty() { "" } else { ", " };
        let ended = match &one.failure {
            None => format!("{} ms", one.took.as_millis()),
            Some(error) => error.to_string(),
        };
        seen + &format!("{separator}{} {ended}", one.address)
    });
    let works =
        |way: Way| tried.iter().any(|one| one.address.port() == way.port && one.failure.is_none());
    if works(configured) {
        // A host without a family has no fault of it; one whose packets are lost waits for each connection.
        let lost = tried.iter().find(|one| {
            let kind = one.failure.as_ref().map(io::Error::kind);
            one.address.port() == configured.port && kind == Some(io::ErrorKind::TimedOut)
        });
        return match lost {
            Some(lost) => {
                let (dead, alive) = if lost.is_v4() { ("4", "6") } else { ("6", "4") };
                let words = format!("{seen}: connections over IPv{dead} are lost");
                let remedy = format!(
                    "Mend IPv{dead} here, or write ip_family = \"{alive}\" under [upstream]"
                );
                (Outcome::warn(words, remedy), Some(configured))
            }
            None => (Outcome::pass(seen), Some(configured)),
        };
    }
    let blocked = format!("port {} cannot be connected to: {seen}", configured.port);
    if let Some(other) = other.filter(|other| works(*other)) {
        let remedy = format!(
            "Write port = {} under [upstream]; some providers block one of the two",
            other.port
        );
        return match options.other_way {
            Some(_) => (Outcome::warn(blocked, remedy), Some(other)),
            None => (Outcome::fail(blocked, remedy), None),
        };
    }
    let remedy = match options.transport {
        Transport::Smtp => {
            "Check the network and its firewall; some providers block ports 25, 465 and 587"
        }
        Transport::GmailApi => {
            "Check the network and its firewall: the Gmail API is reached over HTTPS (port 443)"
        }
    };
    (Outcome::fail(blocked, remedy), None)
}

/// What is done where the ports are closed and HTTPS is open.
const USE_HTTPS: &str = "HTTPS is open here: run pillarbox setup --transport gmail-api, or write transport = \"gmail-api\" and auth = \"oauth\" \
                         under [upstream] (docs/https.md has the steps); or let whoever runs the network open port 587";

async fn opening(options: &Options, way: Way) -> Result<Sight, Broken> {
    let slow = || Broken {
        link: Link::Dialogue,
        reason: format!(
            "{} port {}: no greeting within {} s",
            options.host,
            way.port,
            OPENING.as_secs()
        ),
        remedy: "Check upstream.host and upstream.port; a firewall may hold the connection".into(),
    };
    timeout(OPENING, inspection::look(options, way)).await.unwrap_or_else(|_| Err(slow()))
}

/// Why nothing is said of TLS.
const OFF: &str = "tls = \"off\": nothing is encrypted, and no password is sent";

fn protection(sight: &Sight, now: Timestamp) -> Outcome {
    let Some((certificate, version)) = &sight.protection else { return Outcome::skipped(OFF) };
    let end = not_after(certificate);
    let seen = match end {
        Some(end) => format!("{version}, certificate good, ends {}", relative(end, now)),
        None => format!("{version}, certificate good"),
    };
    if end.is_some_and(|end| end <= now.after(CERTIFICATE_WARNING)) {
        return Outcome::warn(seen, "Tell whoever runs the upstream to renew it: mail stops then");
    }
    Outcome::pass(seen)
}

/// `taken` is the size of messages that are taken here.
fn greeting(sight: &Sight, transport: Transport, taken: u64) -> Outcome {
    if transport == Transport::GmailApi {
        return Outcome::pass("HTTPS; the Gmail API says nothing before a message comes");
    }
    let offer = &sight.capabilities;
    let mechanisms = [
        (offer.auth_plain, "PLAIN"),
        (offer.auth_login, "LOGIN"),
        (offer.auth_xoauth2, "XOAUTH2"),
        (offer.auth_oauthbearer, "OAUTHBEARER"),
    ];
    let mechanisms: Vec<&str> =
        mechanisms.iter().filter(|(offered, _)| *offered).map(|(_, name)| *name).collect();
    let largest = offer.size_max.map_or_else(
        || "no size limit named".to_owned(),
        |octets| format!("messages of up to {}", size(octets)),
    );
    let mechanisms = if mechanisms.is_empty() { "none".to_owned() } else { mechanisms.join(" ") };
    let seen = format!("{}; AUTH: {mechanisms}; {largest}", sight.greeting);
    if offer.size_max.is_some_and(|largest| largest < taken) {
        return Outcome::warn(
            format!("{seen}, and this relay takes up to {}", size(taken)),
            "Lower max_message_bytes under [listener], so that clients hear it at once",
        );
    }
    Outcome::pass(seen)
}

async fn login(scene: &Scene, account: Option<&str>, options: &Options, way: Way) -> Outcome {
    if options.login.is_none() {
        return Outcome::skipped("no login is configured");
    }
    let username = options.login.as_ref().map_or("", |login| login.username.as_str());
    // What the API makes of a token shows when a message comes: nothing else may be asked with it.
    let accepted = || match options.transport {
        Transport::Smtp => Outcome::pass(format!("{username} was accepted")),
        Transport::GmailApi => Outcome::pass(format!("there is a token to send as {username}")),
    };
    let slow = || {
        Outcome::fail(
            format!("no end of the login within {} s", LOGIN.as_secs()),
            "Look again; if it stays so, see the log of the daemon",
        )
    };
    // One that is there and does not answer counts its logins all the same.
    if matches!(scene.daemon, Daemon::Silent { is_absent: true, .. }) {
        // What the files lack is told there, and costs no login.
        if places::secrets_of(&scene.settings, account.unwrap_or(MAIN)).is_fatal() {
            return Outcome::skipped("not tried; see secret-files");
        }
        let asked = inspection::log_in(options, way, &scene.clock);
        return match timeout(LOGIN, asked).await {
            Ok(Ok(())) => accepted(),
            Ok(Err(Broken { reason, remedy, .. })) => Outcome::fail(reason, remedy),
            Err(_) => slow(),
        };
    }
    match timeout(LOGIN, scene.daemon.prove_login(account)).await {
        Ok(Some(Ok(LoginProof::Accepted))) => accepted(),
        Ok(Some(Ok(LoginProof::Failed { reason, remedy }))) => Outcome::fail(reason, remedy),
        Ok(Some(Ok(LoginProof::LeftOut { why }))) => Outcome::skipped(format!("not tried: {why}")),
        Ok(Some(Err(words))) => Outcome::skipped(format!("not tried: {words}")),
        Ok(None) => Outcome::skipped("not tried; see daemon"),
        Err(_) => slow(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_proposed_to_mailboxes_of_google_whose_ports_of_submission_are_closed() {
        let could = |provider, port| could_use_https(provider, port, Transport::Smtp);
        assert!(could(Provider::Gmail, 587) && could(Provider::Workspace, 465));
        assert!(!could(Provider::Gmail, 2525), "not a port that networks close");
        assert!(!could(Provider::WorkspaceRelay, 587) && !could(Provider::Custom, 587));
        assert!(!could_use_https(Provider::Gmail, 587, Transport::GmailApi));
    }
}
