//! Brings a message to where it is safe: the daemon's socket, the drop directory, or a relay elsewhere.
//!
//! Rule: the way that was named is the only one, so that mail for a sandbox never reaches a daemon; otherwise the
//! socket comes first, and whatever goes wrong there for now ends in the drop directory under the same queue id,
//! by which the daemon knows it when it has it already. Must not know where a message came from.

use std::{collections::VecDeque, fmt, io, path::PathBuf};

use super::{
    configured::Configured,
    connection::Connection,
    drop_file,
    environment::Environment,
    letter::Letter,
    submission::{Failure, Outcome, Peer, Submission},
    transaction::{Recipient, Sending, Transaction},
    trouble::{Code, Trouble},
};
use crate::{
    clock::{Clock as _, SystemClock},
    queue::id::{QueueId, RANDOM_LENGTH},
    smtp::{address::Address, client::reply::Reply, host_name::is_host_name},
};

/// Where mail may be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ways {
    /// Where to connect to.
    pub target: Target,
    /// Where a file may be left.
    pub drop_directory: Option<PathBuf>,
    /// Recipients of one transaction.
    pub recipients_max: usize,
    /// What we call ourselves to a relay elsewhere.
    pub own_name: String,
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The daemon's socket.
    Socket(PathBuf),
    /// `HOST:PORT` of a relay elsewhere.
    Relay(String),
    /// Nowhere: no socket is configured.
    Nowhere,
}

/// What became of a message.
#[derive(Debug, Default)]
pub struct Report {
    /// One line for each place where it is safe.
    pub safe: Vec<String>,
    /// The queue id, when there is one.
    pub id: Option<QueueId>,
    /// Who does not get it.
    pub refused: Vec<(Address, Reply)>,
}

impl Ways {
    /// Where `--host` and PILLARBOX_SUBMIT say, else where the configuration says.
    #[must_use]
    pub fn new(
        destination: Option<&str>,
        environment: &Environment,
        configured: &Configured,
        host: &str,
    ) -> Self {
        let named = destination.or_else(|| environment.get("PILLARBOX_SUBMIT"));
        let target = match (named, &configured.socket) {
            (Some(path), _) if path.starts_with('/') || path.starts_with('.') => {
                Target::Socket(path.into())
            }
            (Some(relay), _) => Target::Relay(relay.into()),
            (None, Some(socket)) => Target::Socket(socket.clone()),
            (None, None) => Target::Nowhere,
        };
        // Who names a socket without naming a directory means that daemon and no other.
        let may_drop = match &target {
            Target::Relay(_) => false,
            Target::Socket(_) if named.is_some() => {
                environment.get("PILLARBOX__SENDMAIL__DROP_DIRECTORY").is_some()
            }
            Target::Socket(_) | Target::Nowhere => true,
        };
        let own_name = if is_host_name(host) { host } else { "localhost" };
        Self {
            target,
            drop_directory: configured.drop_directory.clone().filter(|_| may_drop),
            recipients_max: configured.max_recipients,
            own_name: own_name.to_owned(),
        }
    }

    /// Whether the message leaves this host, or its container, so that a bare name needs a host.
    #[must_use]
    pub fn lead_away(&self) -> bool {
        matches!(self.target, Target::Relay(_))
    }
}

/// Hands the message over, in as many transactions as its recipients need.
pub fn hand_over(
    ways: &Ways,
    sending: &Sending,
    recipients: Vec<Recipient>,
    letter: &mut Letter,
) -> Result<Report, Trouble> {
    if let Target::Relay(relay) = &ways.target
        && !relay
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    {
        let words = format!(
            "\"{relay}\" is not a place to submit to: write HOST:PORT or the path of a socket in --host \
                             or PILLARBOX_SUBMIT"
        );
        return Err(Trouble::new(Code::Configuration, words));
    }
    let mut bearer = Bearer { ways, submission: None, out_of_reach: None };
    let mut waiting: VecDeque<Recipient> = recipients.into();
    let mut report = Report::default();
    while !waiting.is_empty() {
        let count = waiting.len().min(ways.recipients_max);
        let group = waiting.drain(..count).collect();
        let transaction = Transaction {
            id: new_id()?,
            user_id: rustix::process::getuid().as_raw(),
            sending,
            recipients: group,
            size_bytes: letter.length(),
            eight_bit: letter.eight_bit,
        };
        let result = bearer.carry(transaction, letter, &mut report);
        waiting.extend(result.map_err(|trouble| after_others(trouble, &report))?);
    }
    if let Some(submission) = bearer.submission {
        submission.close();
    }
    Ok(report)
}

/// A caller that tries again sends it twice to those who have it: he should know.
fn after_others(trouble: Trouble, report: &Report) -> Trouble {
    if report.safe.is_empty() {
        return trouble;
    }
    Trouble::new(trouble.code, format!("{trouble}; other recipients get the message"))
}

/// The time, and what nobody can guess: who knows the id of a message could make the daemon take his for it.
fn new_id() -> Result<QueueId, Trouble> {
    let mut random = [0; RANDOM_LENGTH];
    let count = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    if count != Ok(RANDOM_LENGTH) {
        return Err(Trouble::new(Code::Temporary, "the kernel gives no random numbers"));
    }
    Ok(QueueId::proposed(SystemClock::new().wall(), random))
}

struct Bearer<'a> {
    ways: &'a Ways,
    submission: Option<Submission>,
    /// Why there is no connection, and will be none in this call.
    out_of_reach: Option<String>,
}

impl Bearer<'_> {
    /// Hands over one transaction; returns who needs another one.
    fn carry(
        &mut self,
        mut transaction: Transaction<'_>,
        letter: &mut Letter,
        report: &mut Report,
    ) -> Result<Vec<Recipient>, Trouble> {
        let mut others = Vec::new();
        let reason = match self.submit(&transaction, letter) {
            Ok(Outcome { taken: Some(answer), refused, later, .. }) => {
                let shown = match self.ways.target {
                    Target::Relay(_) => answer.to_string(),
                    Target::Socket(_) | Target::Nowhere => format!("queued as {}", transaction.id),
                };
                report.safe.push(shown);
                report.id.get_or_insert(transaction.id);
                report.refused.extend(refused);
                return Ok(later);
            }
            Ok(Outcome { failed: Some(failure), accepted, refused, later, .. }) => {
                let reason = self.after(failure)?;
                // The daemon may have the message under this id for those whom it accepted, and for nobody else.
                (transaction.recipients, others) = (accepted, later);
                report.refused.extend(refused);
                reason
            }
            Ok(Outcome { refused, later, .. }) => {
                report.refused.extend(refused);
                if later.is_empty() {
                    return Ok(later);
                }
                transaction.recipients = later;
                "no recipient is taken just now".to_owned()
            }
            Err(failure) => self.after(failure)?,
        };
        self.leave(&transaction, letter, &reason)?;
        report.safe.push(format!("left for the daemon as {}", transaction.id));
        report.id.get_or_insert(transaction.id);
        Ok(others)
    }

    /// Why it may work another way, when it may.
    fn after(&mut self, failure: Failure) -> Result<String, Trouble> {
        match failure {
            Failure::Refused(answer) if !answer.is_temporary() => {
                Err(Trouble::refused(&answer, "the relay refuses the message"))
            }
            Failure::Refused(answer) => Ok(answer.to_string()),
            Failure::Lost(reason) => {
                self.submission = None;
                self.out_of_reach = Some(reason.clone());
                Ok(reason)
            }
        }
    }

    fn submit(
        &mut self,
        transaction: &Transaction<'_>,
        letter: &mut Letter,
    ) -> Result<Outcome, Failure> {
        if let Some(reason) = &self.out_of_reach {
            return Err(Failure::Lost(reason.clone()));
        }
        let mut submission = match self.submission.take() {
            Some(submission) => submission,
            None => self.connect()?,
        };
        let outcome = submission.submit(transaction, letter);
        self.submission = Some(submission);
        outcome
    }

    fn connect(&self) -> Result<Submission, Failure> {
        let (connection, peer) = match &self.ways.target {
            Target::Socket(path) => (Connection::local(path), Peer::Daemon),
            Target::Relay(relay) => (Connection::remote(relay), Peer::Relay),
            Target::Nowhere => return Err(Failure::Lost("no socket is configured".into())),
        };
        let own_name = if peer == Peer::Daemon { "localhost" } else { &self.ways.own_name };
        Submission::open(connection?, peer, own_name)
    }

    fn leave(
        &self,
        transaction: &Transaction<'_>,
        letter: &mut Letter,
        reason: &str,
    ) -> Result<(), Trouble> {
        let target = &self.ways.target;
        let Some(directory) = &self.ways.drop_directory else {
            let words =
                format!("cannot hand the message over to {target} ({reason}); try again later");
            return Err(Trouble::new(Code::Temporary, words));
        };
        drop_file::leave(directory, transaction, letter).map_err(|error| {
            let directory = directory.display();
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "; is Pillarbox installed on this host?",
                _ => "",
            };
            let words = format!(
                "cannot hand the message over: {target} does not take it ({reason}), and nothing can be left in \
                 {directory} ({error}){hint}"
            );
            Trouble::new(Code::Temporary, words)
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(formatter, "the socket {}", path.display()),
            Self::Relay(relay) => write!(formatter, "the relay {relay}"),
            Self::Nowhere => formatter.write_str("the daemon"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sendmail::configured::Source;

    fn ways(destination: Option<&str>, variables: &[(&str, &str)]) -> Ways {
        let environment = Environment::of(variables);
        let configured = Source::read(Some(Path::new("/nonexistent")), &environment).configured();
        Ways::new(destination, &environment, &configured, "host")
    }

    #[test]
    fn the_way_that_is_named_is_the_only_one() {
        let usual = ways(None, &[]);
        assert_eq!(usual.target, Target::Socket("/run/pillarbox/submit.sock".into()));
        assert_eq!(usual.drop_directory, Some("/var/spool/pillarbox".into()));
        let named = ways(None, &[("PILLARBOX_SUBMIT", "/tmp/s")]);
        assert_eq!((named.target, named.drop_directory), (Target::Socket("/tmp/s".into()), None));
        let both =
            [("PILLARBOX_SUBMIT", "/tmp/s"), ("PILLARBOX__SENDMAIL__DROP_DIRECTORY", "/tmp/d")];
        assert_eq!(ways(None, &both).drop_directory, Some("/tmp/d".into()));
        let relay = ways(Some("relay:25"), &both);
        assert_eq!((relay.target, relay.drop_directory), (Target::Relay("relay:25".into()), None));
    }

    #[test]
    fn two_ids_are_never_the_same() {
        assert_ne!(new_id().unwrap(), new_id().unwrap());
    }
}
