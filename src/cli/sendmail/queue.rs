//! `mailq` and `sendmail -q`: the queue through the admin socket.
//!
//! Rule: who may use that socket sees and does everything; everybody else sees his own messages, through a socket that
//! shows nothing more: the queue shows who writes to whom. `-q` is for the administrator; others call it from scripts, and nothing happens.
//! Must not know how the queue is printed.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use super::mailq::Mailq;
use crate::{
    admin::client::{Client, ClientError},
    cli::{
        fitting,
        queue::{self, Chosen, PAGE, Verb},
        runtime::Runtime,
        screen::{Form, Lines, Output, Sheet, count},
    },
    clock::{Clock as _, SystemClock},
    exit::{Exit, Failure},
    queue::{id::QueueId, only::Only, search::Search},
    sendmail::configured::{DEFAULT_DROP_DIRECTORY, Source, own_mail_socket},
    settings,
};

/// Entries of the drop directory that are counted.
const FILES_MAX: usize = 10_000;
/// What an ordinary user may know.
const NOT_ALLOWED: &str = "only root and the group that owns the admin socket may look at the whole queue; what became \
                           of your mail you hear by mail, and your queue ids with `sendmail -v`";
/// What an ordinary user, and the monitor that runs as one, must not take for the whole.
const OWN_ONLY: &str = "these are your own messages only; root and the group that owns the admin socket see the whole \
                        queue";

/// Prints the queue, or what of it is the caller's where he may see no more.
pub(super) fn show(source: &Source, complain: &mut dyn FnMut(&str)) -> Result<(), Failure> {
    let shown = print(&client(source), Mailq::default()).or_else(|failure| match failure.exit {
        Exit::Permission => show_own(source, failure).inspect(|()| complain(OWN_ONLY)),
        _ => Err(failure),
    });
    shown.map_err(|failure| match failure.exit {
        Exit::Unavailable => match waiting_files(source) {
            Some(words) => Failure::new(Exit::Unavailable, format!("{failure}\n{words}")),
            None => failure,
        },
        _ => failure,
    })
}

/// The caller's own messages, where he may not see all: `refused`.
fn show_own(source: &Source, refused: Failure) -> Result<(), Failure> {
    let not_allowed = |why| Failure::new(Exit::Permission, format!("{why} ({NOT_ALLOWED})"));
    let Some(submit) = source.configured().socket else { return Err(not_allowed(refused)) };
    let socket = own_mail_socket(&submit);
    // A file on which nobody answers is that of a daemon which was killed; without one, users are not asked here.
    let is_there = socket.exists();
    print(&Client::new(socket), Mailq::own()).map_err(|failure| match failure.exit {
        Exit::Unavailable if !is_there => not_allowed(refused),
        Exit::Permission => not_allowed(failure),
        _ => failure,
    })
}

fn print(client: &Client, mut list: Mailq) -> Result<(), Failure> {
    let mut out = BufWriter::new(Lines::new(Output::standard(), fitting::width()));
    let result = block_on(async {
        let mut walk = client.queue(None);
        let now = SystemClock::new().wall();
        let mut page = walk.page(PAGE).await?;
        while let Some(messages) = page {
            // The daemon gathers the next ones while these are printed.
            let printing = async { list.page(&mut out, &messages, now) };
            let (next, printed) = tokio::join!(walk.page(PAGE), printing);
            printed?;
            page = next?;
        }
        Ok(list.end(&mut out)?)
    });
    result.and_then(|()| Ok(out.flush()?))
}

/// What waits in the drop directory while no daemon takes it.
fn waiting_files(source: &Source) -> Option<String> {
    let directory = match source.get("sendmail", "drop_directory") {
        Some("off") => return None,
        written => written.unwrap_or(DEFAULT_DROP_DIRECTORY),
    };
    let is_waiting =
        |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.starts_with("new."));
    match std::fs::read_dir(directory) {
        // Nobody but the relay and root may look into it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Some(format!(
            "Mail of programs of this host may wait in {directory}; it is taken when the daemon runs."
        )),
        Err(_) => None,
        Ok(entries) => {
            let files = entries.take(FILES_MAX).flatten();
            let number = files.filter(|entry| is_waiting(&entry.file_name())).count() as u64;
            (number > 0).then(|| {
                format!(
                    "{} in {directory}, to be taken when the daemon runs.",
                    count(number, "message")
                )
            })
        }
    }
}

/// Tries everything again, or one message.
pub(super) fn retry(source: &Source, id: Option<&str>, verbose: bool) -> Result<(), Failure> {
    let client = client(source);
    let Some(id) = id else {
        let width = fitting::width();
        let out: Box<dyn Write> = match verbose {
            true => Box::new(Lines::new(Output::standard(), width)),
            false => Box::new(io::sink()),
        };
        let mut out = Sheet { out, width };
        let everything = Chosen::Found(Search::default());
        let result = block_on(queue::for_each(
            &mut out,
            &client,
            everything,
            Form::Text,
            Verb::Retry.into(),
            SystemClock::new().wall(),
        ));
        return match result {
            // The daemon tries by itself; who may not hurry it has lost nothing.
            Err(failure) if failure.exit == Exit::Permission => Ok(()),
            result => result,
        };
    };
    let id: QueueId = id
        .parse()
        .map_err(|error| Failure::new(Exit::Data, format!("{}: {error}", id.escape_debug())))?;
    let retried = block_on(async {
        client.retry(id, &Only::default()).await.map_err(|error: ClientError| error.into())
    });
    retried.map(|_| ())
}

fn client(source: &Source) -> Client {
    Client::new(PathBuf::from(source.get("admin", "socket").unwrap_or(settings::DEFAULT_SOCKET)))
}

fn block_on<T>(question: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    Runtime::of_a_question()?.block_on(question)
}
