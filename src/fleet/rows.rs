//! The queue of a host that keeps nothing on its disk: its lease in the fleet's database, and the rows of its messages.
//!
//! Rule: each start is a queue of its own, known by a number. Whatever is written is written under a lock of the queue's row,
//! so that nothing is written for a queue that another host has taken over. Each call ends within its limit, and is for
//! threads that may wait. Must not know what a record means.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use thiserror::Error;
use tokio::{
    runtime::{self, Runtime},
    time::timeout,
};
use tracing::{debug, info};

use super::{
    bodies::{Bodies, Turn},
    books::Trouble,
    link::{Held, Link, said},
    options::Options,
    postgres::BEGIN,
    row_statements::{self as statements, Id, Row, Standing, Write, Written},
    schema,
    unanswered::Unanswered,
};
use crate::clock::Clock;

/// How long a queue stays its host's without a word of it. Whoever is silent for longer is taken for dead.
const LEASE: Duration = Duration::from_secs(30);
/// Octets of a message in one row: little enough for a moment's memory on either side, and few rows.
const CHUNK_BYTES: usize = 256 * 1024;
/// How long a message may take on its way to the database, with the wait for its turn. Its client waits for ten minutes.
const KEEP_LIMIT: Duration = Duration::from_secs(5 * 60);
/// Messages that are read in one question.
const PAGE: i64 = 1_000;
/// Threads that speak with the database; they never compute.
const THREADS: usize = 2;

/// Asks something by a connection, within the limit of time.
macro_rules! asked {
    ($link:expr, $client:ident => $question:expr) => {
        Link::in_time(async {
            let held = $link.hold().await?;
            let $client = held.client();
            let answer = $question.await.map_err(said)?;
            held.done();
            Ok(answer)
        })
        .await
    };
}

/// Why the database did not do something.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    /// It could not be asked, or has refused. What was asked may have been done.
    #[error("{0}")]
    Trouble(#[from] Trouble),
    /// Another host has taken over what this one had.
    #[error("another host has taken over the mail of this one, which was silent for too long")]
    Lost,
}

/// The rows of one start of a host.
#[derive(Debug)]
pub(crate) struct Rows {
    inner: Arc<Inner>,
    /// `None` when it is being dropped.
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Inner {
    host: String,
    clock: Arc<dyn Clock>,
    /// For the one who writes the index, and for those who look.
    writer: Link,
    reader: Link,
    /// Neither waits for a long message.
    lease: Link,
    bodies: Bodies,
    /// The number of the queue; 0 before there is one.
    number: AtomicI64,
    /// Until when it is certainly ours, by this boot's clock.
    until_ms: AtomicU64,
    is_over: AtomicBool,
    /// Messages that come in, or were taken back.
    unanswered: Unanswered,
}

impl Rows {
    /// Nothing is asked of the database yet.
    pub(crate) fn new(options: &Options, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("queue-database")
            .enable_all()
            .build()?;
        let link = || Link::new(options.database.clone());
        let inner = Inner {
            host: options.host.clone(),
            clock,
            writer: link(),
            reader: link(),
            lease: link(),
            bodies: Bodies::new(&options.database),
            number: AtomicI64::new(0),
            until_ms: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            unanswered: Unanswered::default(),
        };
        Ok(Self { inner: Arc::new(inner), runtime: Some(runtime) })
    }

    /// Runs it beside the caller, until it ends or these rows are dropped.
    pub(crate) fn tend(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }

    /// Waits for something that is done with the database.
    fn wait<T, F>(&self, deed: impl FnOnce(Arc<Inner>) -> F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let closing = || Refusal::Trouble(Trouble("the queue is closing".into()));
        let runtime = self.runtime.as_ref().ok_or_else(closing)?;
        let (answer, result) = mpsc::channel();
        let deed = deed(Arc::clone(&self.inner));
        runtime.spawn(async move { drop(answer.send(deed.await)) });
        result.recv().unwrap_or_else(|_| Err(closing()))
    }

    /// Makes the queue of this start where there is none, and says its number; else sees whether it is still ours.
    pub(crate) fn begin(&self) -> Result<i64, Refusal> {
        self.wait(|inner| async move {
            if inner.number() != 0 {
                inner.renew().await?;
                inner.undo().await?;
                return Ok(inner.number());
            }
            let asked_ms = inner.clock.now().since_boot_ms;
            let number =
                asked!(inner.lease, client => statements::introduce(client, &inner.host, LEASE))?;
            asked!(inner.lease, client => statements::warn_of_the_server(client))?;
            inner.number.store(number, Ordering::Release);
            inner.lasts_from(asked_ms);
            // What has no day of its own is in a table for the others.
            if let Err(refusal) = inner.make_days().await {
                debug!(%refusal, "the next days of the history are not made");
            }
            Ok(number)
        })
    }

    /// A page of the queue's messages behind `after`.
    pub(crate) fn messages(&self, after: Option<Id>) -> Result<Vec<Row>, Refusal> {
        self.wait(|inner| async move {
            let number = inner.number();
            Ok(asked!(inner.writer, client => statements::messages(client, Some(number), after, PAGE))?)
        })
    }

    /// A page of what came from another host's queue and is not known to be known here.
    pub(crate) fn fresh(&self) -> Result<Vec<Row>, Refusal> {
        self.wait(|inner| async move {
            Ok(asked!(inner.writer, client => statements::fresh(client, inner.number(), PAGE))?)
        })
    }

    /// These are known here.
    pub(crate) fn known(&self, ids: Vec<Id>) -> Result<(), Refusal> {
        self.wait(|inner| async move {
            Ok(asked!(inner.writer, client => statements::known(client, inner.number(), &ids))?)
        })
    }

    /// Whether a message of this id is mail of any host.
    pub(crate) fn has(&self, id: Id) -> Result<bool, Refusal> {
        self.wait(move |inner| async move {
            let is_there = asked!(inner.reader, client => statements::is_there(client, &id))?;
            Ok(is_there && !inner.unanswered.contains(&id))
        })
    }

    /// The ids of all messages whose octets are there.
    pub(crate) fn ids(&self) -> Result<Vec<Id>, Refusal> {
        self.wait(|inner| async move {
            let mut ids = asked!(inner.writer, client => statements::ids(client, inner.number()))?;
            ids.retain(|id| !inner.unanswered.contains(id));
            Ok(ids)
        })
    }

    /// Whether nobody has told its client yet that this message was taken, or he has heard that it was not.
    pub(crate) fn is_unanswered(&self, id: &Id) -> bool {
        self.inner.unanswered.contains(id)
    }

    /// The states of this host's accounts.
    pub(crate) fn standings(&self) -> Result<Vec<Standing>, Refusal> {
        self.wait(|inner| async move {
            Ok(asked!(inner.writer, client => statements::standings(client, &inner.host))?)
        })
    }

    /// Writes all of it in one transaction.
    pub(crate) fn write(&self, write: Write) -> Result<(), Refusal> {
        self.wait(|inner| async move {
            let held = inner.transaction(inner.writer.hold()).await?;
            let whose = (inner.number(), inner.host.as_str());
            let is_whole = step(statements::write(held.client(), whose, &write)).await?;
            if !is_whole {
                return Err(Trouble("a message of this id is another host's".into()).into());
            }
            commit(held).await
        })
    }

    /// Makes a message durable: its record and its octets. After an error it is not there, or will soon not be.
    pub(crate) fn keep(&self, id: Id, written: Written, file: &Path) -> Result<(), Refusal> {
        let file = File::open(file).map_err(|error| Trouble(error.to_string()))?;
        self.wait(|inner| async move { inner.keep(id, written, file).await })
    }

    /// Writes the octets of a message to a file; `false` when there are none.
    pub(crate) fn fetch(&self, id: Id, mut file: File) -> Result<bool, Refusal> {
        self.wait(|inner| async move {
            for part in 0.. {
                let octets = asked!(inner.bodies, client => statements::part(client, &id, part))?;
                let Some(octets) = octets else { return Ok(part > 0) };
                file.write_all(&octets).map_err(|error| Trouble(error.to_string()))?;
            }
            Ok(true)
        })
    }

    /// Notes that the final dot of a message is about to be sent. It may be sent only when this says so.
    pub(crate) fn note_dot(&self, id: Id) -> Result<(), Refusal> {
        self.wait(|inner| async move {
            let held = inner.transaction(inner.lease.hold()).await?;
            if !step(statements::note_dot(held.client(), inner.number(), &id)).await? {
                return Err(Trouble("the message is not in the database as claimed".into()).into());
            }
            commit(held).await?;
            // The process may have stood still since it was asked: only a new lease says that nobody has taken over since.
            if inner.is_over_by_own_clock() {
                inner.renew().await?;
            }
            if inner.is_over_by_own_clock() {
                let words = "this host's lease of its mail in the database is over";
                return Err(Trouble(words.into()).into());
            }
            Ok(())
        })
    }

    /// Says that this host is alive, and removes what must not be there.
    pub(crate) fn renew(&self) -> impl Future<Output = Result<(), Refusal>> + Send + 'static {
        let inner = Arc::clone(&self.inner);
        async move {
            inner.renew().await?;
            inner.undo().await
        }
    }

    /// Takes over a part of what a dead host has left; says whether there was a dead host.
    pub(crate) fn take_over(&self) -> impl Future<Output = Result<bool, Refusal>> + Send + 'static {
        let inner = Arc::clone(&self.inner);
        async move { inner.take_over(true).await }
    }

    /// The same by a thread that waits, and that reads all that is this start's afterwards.
    pub(crate) fn take_over_now(&self) -> Result<bool, Refusal> {
        self.wait(|inner| async move { inner.take_over(false).await })
    }

    /// The hosts whose lease lasts, whoever asks.
    pub(crate) fn alive(&self) -> Result<Vec<String>, Refusal> {
        self.wait(
            |inner| async move { Ok(asked!(inner.reader, client => statements::alive(client))?) },
        )
    }

    /// A page of the messages of all queues behind `after`, whoever asks.
    pub(crate) fn messages_of_all(&self, after: Option<Id>) -> Result<Vec<Row>, Refusal> {
        self.wait(move |inner| async move {
            Ok(asked!(inner.reader, client => statements::messages(client, None, after, PAGE))?)
        })
    }

    /// Makes the days of the history that are to come.
    pub(crate) fn make_days(&self) -> impl Future<Output = Result<(), Refusal>> + Send + 'static {
        let inner = Arc::clone(&self.inner);
        async move { inner.make_days().await }
    }

    /// The clean end of this start: any host may have its mail now.
    pub(crate) fn release(&self) -> Result<(), Refusal> {
        if self.inner.is_over.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.wait(|inner| async move {
            // Another host would take it for mail.
            inner.undo().await?;
            Ok(asked!(inner.lease, client => statements::release(client, inner.number()))?)
        })
    }
}

/// What is asked of the history, which is that of all hosts.
impl Rows {
    /// A finished message.
    pub(crate) fn finished(&self, id: Id) -> Result<Option<Vec<u8>>, Refusal> {
        self.wait(|inner| async move {
            Ok(asked!(inner.reader, client => statements::finished(client, &id))?)
        })
    }

    /// The first of them.
    pub(crate) fn oldest_finished(&self) -> Result<Option<Id>, Refusal> {
        self.wait(|inner| async move {
            Ok(asked!(inner.reader, client => statements::oldest_finished(client))?)
        })
    }

    /// A page of them before `before`, the newest first.
    pub(crate) fn history(
        &self,
        before: Option<Id>,
        limit: i64,
    ) -> Result<Vec<(Id, Vec<u8>)>, Refusal> {
        self.wait(move |inner| async move {
            Ok(asked!(inner.reader, client => statements::history(client, before, limit))?)
        })
    }

    /// Ends before a time (`true`), the oldest first, or after it, the latest first.
    pub(crate) fn ends(&self, time: (i64, bool), limit: i64) -> Result<Vec<(i64, Id)>, Refusal> {
        self.wait(move |inner| async move {
            Ok(asked!(inner.reader, client => statements::ends(client, time, limit))?)
        })
    }

    /// Ends beyond the `most` last ones, the oldest first.
    pub(crate) fn ends_beyond(&self, most: i64, limit: i64) -> Result<Vec<(i64, Id)>, Refusal> {
        self.wait(move |inner| async move {
            Ok(asked!(inner.reader, client => statements::ends_beyond(client, most, limit))?)
        })
    }

    /// Forgets the days that were over before a time.
    pub(crate) fn drop_days(&self, before_ms: i64) -> Result<(), Refusal> {
        self.wait(move |inner| async move {
            Ok(asked!(inner.reader, client => statements::drop_days(client, before_ms))?)
        })
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // It may be dropped by a task, which must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Inner {
    fn number(&self) -> i64 {
        self.number.load(Ordering::Acquire)
    }

    /// From a renewal on that was asked for at this time.
    fn lasts_from(&self, asked_ms: u64) {
        let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(0);
        self.until_ms.store(asked_ms.saturating_add(lease_ms), Ordering::Release);
    }

    fn is_over_by_own_clock(&self) -> bool {
        self.clock.now().since_boot_ms > self.until_ms.load(Ordering::Acquire)
    }

    async fn renew(&self) -> Result<(), Refusal> {
        if self.is_over.load(Ordering::Acquire) {
            return Ok(());
        }
        let asked_ms = self.clock.now().since_boot_ms;
        if !asked!(self.lease, client => statements::renew(client, self.number(), LEASE))? {
            return Err(self.lost());
        }
        self.lasts_from(asked_ms);
        Ok(())
    }

    fn lost(&self) -> Refusal {
        self.is_over.store(true, Ordering::Release);
        Refusal::Lost
    }

    /// Removes messages whose client was told that they were not taken, also where a server is still writing one.
    async fn undo(&self) -> Result<(), Refusal> {
        let undone = self.unanswered.undone();
        if undone.is_empty() {
            return Ok(());
        }
        asked!(self.lease, client => statements::remove(client, self.number(), &undone))?;
        self.unanswered.removed(&undone);
        Ok(())
    }

    async fn take_over(&self, as_news: bool) -> Result<bool, Refusal> {
        let held = self.transaction(self.lease.hold()).await?;
        let taken =
            step(statements::take_over(held.client(), (self.number(), as_news), PAGE)).await?;
        commit(held).await?;
        if let Some((messages, host)) = taken.as_ref().filter(|(messages, _)| *messages > 0) {
            info!(messages, host, "the mail of a host that is gone is taken over");
        }
        Ok(taken.is_some())
    }

    async fn make_days(&self) -> Result<(), Refusal> {
        Ok(asked!(self.lease, client => statements::make_days(client))?)
    }

    async fn keep(&self, id: Id, written: Written, file: File) -> Result<(), Refusal> {
        self.unanswered.begin(id)?;
        let late = || {
            let limit = KEEP_LIMIT.as_secs() / 60;
            Trouble(format!("the message has not come to the database within {limit} minutes"))
        };
        let bring = timeout(KEEP_LIMIT, self.bring(id, written, file)).await;
        let brought = bring.unwrap_or_else(|_| Err(late().into()));
        // Before the commit nothing can be there: the connection ends with the transaction.
        let (held, _turn) = brought.inspect_err(|_| self.unanswered.answered(&id))?;
        let kept = commit(held).await;
        match &kept {
            Ok(()) => self.unanswered.answered(&id),
            Err(_) => self.unanswered.lost(id),
        }
        kept
    }

    /// Writes a message up to its commit. A large one has a turn until then.
    async fn bring(
        &self,
        id: Id,
        written: Written,
        mut file: File,
    ) -> Result<(Held<'_>, Option<Turn<'_>>), Refusal> {
        let unreadable = |error: io::Error| Trouble(error.to_string());
        let is_large = file.metadata().map_err(unreadable)?.len() > CHUNK_BYTES as u64;
        let turn = if is_large { Some(self.bodies.turn().await) } else { None };
        let held = match &turn {
            Some(turn) => self.transaction(self.bodies.hold_in(turn)).await?,
            None => self.transaction(self.bodies.hold()).await?,
        };
        step(statements::insert(held.client(), self.number(), &id, &written)).await?;
        let mut block = vec![0; CHUNK_BYTES];
        for part in 0.. {
            let length = read_full(&mut file, &mut block).map_err(unreadable)?;
            if length == 0 {
                break;
            }
            step(statements::insert_part(held.client(), &id, part, &block[..length])).await?;
        }
        Ok((held, turn))
    }

    /// Begins a transaction in which nobody takes the queue over.
    async fn transaction<'a>(
        &self,
        hold: impl Future<Output = Result<Held<'a>, Trouble>>,
    ) -> Result<Held<'a>, Refusal> {
        if self.is_over.load(Ordering::Acquire) {
            return Err(Refusal::Lost);
        }
        let begun = Link::in_time(async {
            let held = hold.await?;
            held.client().batch_execute(BEGIN).await.map_err(said)?;
            let version = statements::own(held.client(), self.number()).await.map_err(said)?;
            let is_ours = version.is_some();
            version.map_or(Ok(()), |version| version.fits(schema::version()))?;
            Ok((held, is_ours))
        });
        match begun.await? {
            (held, true) => Ok(held),
            (_, false) => Err(self.lost()),
        }
    }
}

/// A step of a transaction, within the limit of time.
async fn step<T>(
    deed: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Trouble> {
    Link::in_time(async { deed.await.map_err(said) }).await
}

async fn commit(held: Held<'_>) -> Result<(), Refusal> {
    step(held.client().batch_execute("COMMIT")).await?;
    held.done();
    Ok(())
}

/// As much as there is room for; less at the end alone.
fn read_full(file: &mut File, block: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < block.len() {
        match file.read(&mut block[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
