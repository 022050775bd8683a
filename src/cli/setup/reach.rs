//! The look whether the upstream can be reached from here, in the background while the first questions are asked.
//!
//! Rule: connections alone, and within one limit. Nobody is kept waiting for longer, and nothing is found out that a person
//! is not told.

use std::{collections::BTreeSet, io, sync::mpsc, thread, time::Duration};

use tokio::time::timeout;

use super::{
    found::Found,
    plan,
    providers::{may_use_https, place},
    questions::{Answers, Name},
};
use crate::{
    cli::runtime::Runtime,
    delivery::{inspection, ports},
    settings::is_gmail,
};

/// The name server, each connection, and all of it.
const NAMES: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(12);

/// Where mail would leave to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    host: String,
    ports: Vec<u16>,
    /// HTTPS is looked at as well: mail could leave by it.
    asks_https: bool,
}

impl Target {
    /// By the answers so far and the files; nothing where mail leaves over HTTPS.
    pub(super) fn of(answers: &Answers, found: &Found) -> Option<Self> {
        let place = place(answers);
        let host = plan::host(answers, found);
        if place.is_api || host.is_empty() {
            return None;
        }
        let written = found.written.number("upstream", "port");
        let written = written.filter(|_| !plan::moves(answers, found));
        let port = answers.get(&Name::Port).cloned().or(written);
        let usual = place.provider.profile().port.value;
        let port = port.and_then(|port| port.parse().ok()).unwrap_or(usual);
        let other = ports::other_of_submission(port).map(|way| way.port);
        let asks_https = may_use_https(place.provider) && is_gmail(&host);
        Some(Self { host, ports: [port].into_iter().chain(other).collect(), asks_https })
    }
}

/// A port with the families over which it is open, or why it is not.
type Port = (u16, Result<Families, String>);

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    host: String,
    /// Each port, or why there is no address.
    ports: Result<Vec<Port>, String>,
    /// Whether the Gmail API can be reached, where that was looked at.
    https: Option<bool>,
}

/// Over which families a port is open; one of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Families {
    v4: bool,
    v6: bool,
}

/// A look that is under way.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) target: Target,
    seen: mpsc::Receiver<Seen>,
}

impl Look {
    /// Begins it.
    pub(super) fn begin(target: Target) -> io::Result<Self> {
        let (told, seen) = mpsc::sync_channel(1);
        let at = target.clone();
        // Whoever ends meanwhile does not wait for it.
        thread::Builder::new().name("reach".into()).spawn(move || {
            let Ok(runtime) = Runtime::of_a_question() else { return };
            if let Ok(seen) = runtime.block_on(async { timeout(WHOLE, look(&at)).await }) {
                drop(told.send(seen));
            }
            runtime.stop();
        })?;
        Ok(Self { target, seen })
    }

    /// What was seen, if it is known by now.
    pub(super) fn result(&self) -> Option<Seen> {
        self.seen.try_recv().ok()
    }

    /// Waits for what is seen; nothing when nothing could be found out.
    pub(super) fn wait(&self) -> Option<Seen> {
        self.seen.recv_timeout(WHOLE).ok()
    }
}

async fn look(target: &Target) -> Seen {
    let Target { host, ports, asks_https } = target;
    let seen = |ports, https| Seen { host: host.clone(), ports, https };
    let first = ports.first().copied().unwrap_or_default();
    let trouble = match timeout(NAMES, inspection::addresses(host, first)).await {
        Ok(Ok(addresses)) if !addresses.is_empty() => {
            let addresses = ports::of_families(&addresses).concat();
            let tried = ports::try_all(ports, &addresses, CONNECT).await;
            let ports: Vec<_> = ports.iter().map(|port| (*port, judged(*port, &tried))).collect();
            let is_closed = ports.iter().all(|(_, result)| result.is_err());
            let https = match is_closed && *asks_https {
                true => Some(ports::https_is_open(CONNECT).await),
                false => None,
            };
            return seen(Ok(ports), https);
        }
        Ok(Ok(_)) => "the name has no address".to_owned(),
        Ok(Err(error)) => format!("the name cannot be resolved: {error}"),
        Err(_) => format!("no name server answers within {} s", NAMES.as_secs()),
    };
    seen(Err(trouble), None)
}

fn judged(port: u16, tried: &[ports::Tried]) -> Result<Families, String> {
    let at_port = || tried.iter().filter(|one| one.address.port() == port);
    let is_open = |v4| at_port().any(|one| one.is_v4() == v4 && one.failure.is_none());
    let families = Families { v4: is_open(true), v6: is_open(false) };
    if families.v4 || families.v6 {
        return Ok(families);
    }
    let reasons: BTreeSet<String> =
        at_port().filter_map(|one| one.failure.as_ref()).map(ToString::to_string).collect();
    Err(reasons.into_iter().collect::<Vec<_>>().join(", "))
}

impl Seen {
    /// Whether mail finds no port.
    pub(super) fn is_closed(&self) -> bool {
        self.ports().iter().all(|(_, result)| result.is_err())
    }

    /// Whether it could leave over HTTPS instead, as far as that is known.
    pub(super) fn may_have_https(&self) -> bool {
        self.ports.is_ok() && self.https != Some(false)
    }

    /// In a sentence or two.
    pub(super) fn words(&self) -> String {
        let host = &self.host;
        if let Err(trouble) = &self.ports {
            return format!(
                "{host} cannot be reached from here: {trouble}. Check the name, and the name server in /etc/resolv.conf."
            );
        }
        let of = |is_open: bool| -> Vec<u16> {
            let ports = self.ports().iter().filter(|(_, result)| result.is_ok() == is_open);
            ports.map(|(port, _)| *port).collect()
        };
        let (open, closed) = (of(true), of(false));
        let not = |and| format!("{} ({})", numbers(&closed, and), self.reasons());
        if open.is_empty() {
            let advice = match self.https {
                Some(true) => "HTTPS is open here: mail can leave by the Gmail API.",
                Some(false) => "HTTPS is closed as well: this host seems to be without a network.",
                None => "A firewall may be in the way: some networks let no mail out.",
            };
            return format!("{host} cannot be reached from here on {}. {advice}", not("or"));
        }
        let but = match closed.is_empty() {
            true => String::new(),
            false => format!(", and not on {}", not("or")),
        };
        let (open, families) = (numbers(&open, "and"), self.families());
        format!("{host} can be reached from here on {open}, over {families}{but}.")
    }

    fn ports(&self) -> &[Port] {
        self.ports.as_deref().unwrap_or_default()
    }

    /// Why ports are closed, each reason once.
    fn reasons(&self) -> String {
        let reasons = self.ports().iter().filter_map(|(_, result)| result.as_ref().err());
        let reasons: BTreeSet<&str> = reasons.map(String::as_str).collect();
        reasons.into_iter().collect::<Vec<_>>().join("; ")
    }

    fn families(&self) -> &'static str {
        let any = |of: fn(&Families) -> bool| {
            self.ports().iter().any(|(_, result)| result.as_ref().is_ok_and(of))
        };
        match (any(|families| families.v4), any(|families| families.v6)) {
            (true, true) => "IPv4 and IPv6",
            (false, true) => "IPv6",
            _ => "IPv4",
        }
    }
}

/// `port 465` or `ports 465 and 587`.
fn numbers(ports: &[u16], and: &str) -> String {
    let numbers: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let word = if numbers.len() == 1 { "port" } else { "ports" };
    format!("{word} {}", numbers.join(&format!(" {and} ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::setup::edit::Written;

    fn target(text: &str, answers: &[(Name, &str)]) -> Option<Target> {
        let mut found = Found::of_nothing("/etc/pillarbox/relay.toml");
        found.written = Written::read(text).unwrap();
        let mut all = found.answers();
        all.extend(answers.iter().map(|(name, text)| (*name, (*text).to_owned())));
        Target::of(&all, &found)
    }

    #[test]
    fn it_looks_at_both_ports_of_submission_where_the_answers_and_the_file_lead() {
        let at = |host: &str, ports: &[u16], asks_https| {
            Some(Target { host: host.into(), ports: ports.to_vec(), asks_https })
        };
        assert_eq!(target("", &[]), at("smtp.gmail.com", &[587, 465], true));
        let file = "[upstream]\nhost = \"localhost\"\nport = 2525\nprovider = \"gmail\"\n";
        assert_eq!(target(file, &[]), at("localhost", &[2525], false));
        let moved = [(Name::Provider, "icloud")];
        assert_eq!(target(file, &moved), at("smtp.mail.me.com", &[587, 465], false));
        let custom = [(Name::Provider, "custom"), (Name::Host, "mx.example"), (Name::Port, "465")];
        assert_eq!(target("", &custom), at("mx.example", &[465, 587], false));
        let api = [(Name::Provider, "gmail"), (Name::Transport, "gmail-api")];
        assert_eq!(target("", &api), None);
    }

    #[test]
    fn what_was_seen_is_said_with_its_reason_and_with_the_way_that_is_left() {
        let (both, v6) = (Families { v4: true, v6: true }, Families { v4: false, v6: true });
        let closed = || Err("no answer within 5 s".to_owned());
        let words = |ports: [Result<Families, String>; 2], https| {
            let ports = Ok([587, 465].into_iter().zip(ports).collect());
            Seen { host: "smtp.gmail.com".into(), ports, https }.words()
        };
        assert_eq!(
            words([Ok(both), Ok(both)], None),
            "smtp.gmail.com can be reached from here on ports 587 and 465, over IPv4 and IPv6."
        );
        assert_eq!(
            words([closed(), Ok(v6)], None),
            "smtp.gmail.com can be reached from here on port 465, over IPv6, and not on port 587 (no answer within 5 s)."
        );
        let nowhere = "smtp.gmail.com cannot be reached from here on ports 587 or 465 (no answer within 5 s). ";
        for (https, advice) in [
            (Some(true), "HTTPS is open here: mail can leave by the Gmail API."),
            (Some(false), "HTTPS is closed as well: this host seems to be without a network."),
            (None, "A firewall may be in the way: some networks let no mail out."),
        ] {
            assert_eq!(words([closed(), closed()], https), format!("{nowhere}{advice}"));
        }
        let ports = Err("no name server answers within 5 s".to_owned());
        let seen = Seen { host: "smtp.gmail.com".into(), ports, https: None };
        let words =
            "smtp.gmail.com cannot be reached from here: no name server answers within 5 s. ";
        assert!(seen.is_closed() && !seen.may_have_https(), "{seen:?}");
        assert!(seen.words().starts_with(words), "{}", seen.words());
    }

    #[test]
    fn what_nobody_listens_at_is_seen_from_a_thread_of_its_own() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Target { host: "127.0.0.1".into(), ports: vec![port], asks_https: false };
        let seen = Look::begin(target.clone()).unwrap().wait().unwrap();
        assert_eq!(seen.ports, Ok(vec![(port, Ok(Families { v4: true, v6: false }))]));
        drop(listener);
        let seen = Look::begin(target).unwrap().wait().unwrap();
        assert!(seen.is_closed() && seen.words().contains("refused"), "{}", seen.words());
    }
}
