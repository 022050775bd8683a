//! `sendmail -bs`: SMTP on standard input and output, with the session of the listener.
//!
//! Rule: the caller hears 250 when his message is safe, as everybody does; each message is handed over like any
//! other, so it does not matter whether the daemon runs. Must not know SMTP: that is the session.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::{
    message::{Author, MessageBuilder},
    submit::{Ways, submit},
    transaction::{MailParameters, Recipient},
};
use crate::exit::{Exit, Failure};
use crate::smtp::server::{
    Client, INPUT_BYTES_MAX, LoginRefusal, Options, Policy, Refusal, Session, Step, Transaction,
};

/// What a dialogue needs.
#[derive(Debug)]
pub(crate) struct Terms<'a> {
    /// Where messages go.
    pub(crate) ways: &'a Ways,
    /// Who a message is from that does not say so.
    pub(crate) author: &'a Author,
    /// Directories for long bodies.
    pub(crate) directories: Vec<PathBuf>,
    /// Limits of the session.
    pub(crate) options: Options,
}

/// Something to read from, with a limit to the waiting.
pub(crate) trait Input {
    /// Octets, 0 at the end; `TimedOut` when none came in time.
    fn receive(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<usize>;
}

/// A message in transfer.
struct InTransfer {
    transaction: Transaction,
    draft: MessageBuilder,
}

/// Speaks until the caller has done. What could not be handed over is told to `complain`, too.
pub(crate) fn speak(
    terms: &Terms<'_>,
    input: &mut dyn Input,
    output: &mut dyn Write,
    complain: &mut dyn FnMut(&str),
) -> Result<(), Failure> {
    let size_bytes_max = terms.options.max_message_bytes;
    let client = client(size_bytes_max);
    let mut session = Session::new(Arc::new(terms.options.clone()), client);
    let mut message: Option<InTransfer> = None;
    let mut block = vec![0; INPUT_BYTES_MAX];
    loop {
        match session.step() {
            Step::Send(bytes) => {
                output.write_all(&bytes).and_then(|()| output.flush()).map_err(|error| {
                    Failure::new(Exit::Input, format!("cannot write to standard output: {error}"))
                })?
            }
            Step::Admit { .. } => session.admitted(Ok(())),
            Step::Begin(transaction) => {
                let draft = MessageBuilder::new(terms.directories.clone(), size_bytes_max);
                message = Some(InTransfer { transaction, draft });
                session.begun(Ok(()));
            }
            Step::Body(bytes) => {
                let written =
                    message.as_mut().map_or(Ok(()), |message| message.draft.write(&bytes));
                if let Err(trouble) = written {
                    complain(&trouble.message);
                    message = None;
                    session.write_failed(refusal(&trouble));
                }
            }
            Step::Store => {
                let stored = message
                    .take()
                    .map_or(Err(Refusal::Unavailable), |message| store(terms, message, complain));
                session.stored(stored);
            }
            Step::Abandon => message = None,
            // Neither is offered, so nobody gets this far.
            Step::StartTls => session.closed_by_peer(),
            Step::Authenticate(_) => session.authenticated(Err(LoginRefusal::Unavailable)),
            Step::Close => return Ok(()),
            Step::NeedInput => match input.receive(&mut block, session.timeout()) {
                Ok(0) => session.closed_by_peer(),
                Ok(count) => session.receive(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => session.timed_out(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => session.closed_by_peer(),
            },
        }
    }
}

/// A user of this host, who may send.
fn client(size_bytes_max: u64) -> Client {
    Client {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        encrypted: false,
        // Its ids are ours: each message gets one when it is handed over.
        local: false,
        policy: Policy::plain(true, size_bytes_max),
    }
}

fn store(
    terms: &Terms<'_>,
    message: InTransfer,
    complain: &mut dyn FnMut(&str),
) -> Result<String, Refusal> {
    let InTransfer { transaction, draft } = message;
    // What is known about the caller is not the name of another sender.
    let author = match &transaction.reverse_path {
        Some(address) if *address != terms.author.address => {
            Author { name: String::new(), address: address.clone() }
        }
        _ => terms.author.clone(),
    };
    let mut message = draft.finish(&author);
    let parameters = MailParameters {
        sender: transaction.reverse_path,
        content: transaction.dsn.content,
        envelope_id: transaction.dsn.envelope_id,
        all_or_none: true,
    };
    let mut notes = transaction.dsn.recipients;
    let recipients =
        transaction.forward_paths.into_iter().enumerate().map(|(position, address)| Recipient {
            address,
            dsn: notes.remove(&position).unwrap_or_default(),
        });
    let report =
        submit(terms.ways, &parameters, recipients.collect(), &mut message).map_err(|trouble| {
            complain(&trouble.message);
            refusal(&trouble)
        })?;
    report.id.map(|id| id.to_string()).ok_or(Refusal::Unavailable)
}

fn refusal(trouble: &Failure) -> Refusal {
    match trouble.exit {
        Exit::Temporary => Refusal::Unavailable,
        Exit::CannotCreate | Exit::Input => Refusal::Full,
        _ => Refusal::Rejected,
    }
}
