//! The client of the API: one request, one answer, over the Unix socket.
//!
//! Rule: an answer is limited in size and time, and every failure says what to do. Must not know how
//! answers are printed.

use std::{
    future::pending,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use data_encoding::BASE64URL_NOPAD;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;

use super::{
    alert::answers::{Targets, Trials},
    api::{
        Account, Budget, Clients, Counts, Deleted, Kind, MESSAGE_BYTES_MAX, Message, QueuePage,
        Redirected, Refused, Resent, Retried, Status,
    },
    configured::Configured,
    contents::Contents,
    fleet::{DrainOrdered, FleetView},
    forecast::{BudgetForecast, Explained},
    health::Health,
    log::Log,
    of_account::Each,
    page::{Ended, Link, PageSessions},
    pulse::Pulse,
    reload::Reload,
    sessions::Role,
    sides::Sides,
    spending::BudgetReport,
    storms::Storms,
    tally::Tally,
    trace::Wanted,
    weekly,
};
use super::{
    counts::CountBy,
    listing::{Of, Sort},
};
use crate::{
    clock::Timestamp,
    delivery::inspection::LoginProof,
    message::parts::PartText,
    queue::{id::QueueId, only::Only, search::Search},
};

/// Octets of an answer; a page of 1,000 messages with 100 recipients each stays below.
const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// Octets of an hour's dialogues.
const TRACE_BYTES_MAX: u64 = 1 << 30;
/// Octets of an answer that are held before they are looked at: of its header.
const BUFFER_MAX: usize = 16 * 1024;
/// How long an answer may take: longer than the server allows itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// How long the daemon may take to say that it is well, which needs no disk: below the time limit of any supervisor.
pub(crate) const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// The field of a request that says for which visitor of the page the daemon asks itself.
pub(super) const VISITOR: HeaderName = HeaderName::from_static("pillarbox-visitor");

/// The visitor that such a field names.
pub(super) fn visitor_of(field: &str) -> Option<String> {
    String::from_utf8(BASE64URL_NOPAD.decode(field.as_bytes()).ok()?).ok()
}

/// Where units are.
const UNIT_DIRECTORIES: [&str; 3] =
    ["/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system"];

/// Whether a unit of this machine starts the relay.
#[must_use]
pub(crate) fn has_unit() -> bool {
    UNIT_DIRECTORIES.iter().any(|place| Path::new(place).join("pillarbox.service").exists())
}

/// Where a unit is installed, a `run` by hand would leave a queue of another user behind.
fn how_to_start() -> &'static str {
    if has_unit() { "systemctl start pillarbox" } else { "pillarbox run" }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon answers on {0}; is it running? Start it with `{start}`, or name its socket with --socket",
        start = how_to_start()
    )]
    NoDaemon(PathBuf),
    /// The socket's mode keeps us out.
    #[error(
        "not allowed to use {0}; run the command as root, or as a member of the group that owns it"
    )]
    Permission(PathBuf),
    /// The daemon accepts but does not answer.
    #[error("the daemon on {0} does not answer; see its log")]
    Silent(PathBuf),
    /// The answer cannot be understood; most likely another version.
    #[error(
        "cannot understand the daemon on {path}: {reason}; does its version fit this command's?"
    )]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The daemon says no, and why.
    #[error("{}", .0.message)]
    Refused(Refused),
}

impl ClientError {
    /// The daemon's refusal, when that is what it is.
    #[must_use]
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Refused(refused) => Some(refused.error),
            Self::NoDaemon(_) | Self::Permission(_) | Self::Silent(_) | Self::Answer { .. } => None,
        }
    }
}

/// A client for the daemon behind one socket.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    /// For whom the page asks.
    visitor: Option<HeaderValue>,
}

impl Client {
    /// For the daemon that listens on `socket`. Connects with each request.
    #[must_use]
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, visitor: None }
    }

    /// The same client, asking for a visitor of the page: what is done is done by him.
    #[must_use]
    pub(crate) fn asking_for(&self, person: &str) -> Self {
        let person = BASE64URL_NOPAD.encode(person.as_bytes());
        Self { socket: self.socket.clone(), visitor: HeaderValue::from_str(&person).ok() }
    }

    /// One screen.
    pub(crate) async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, "/v1/status").await
    }

    /// One more screen, for whoever looks again and again: it costs the daemon little, however long the queue is.
    pub(crate) async fn status_again(&self, within: Duration) -> Result<Status, ClientError> {
        let answer = tokio::time::timeout(within, self.ask(Method::GET, "/v1/status?again=true"));
        answer.await.unwrap_or_else(|_| Err(ClientError::Silent(self.socket.clone())))
    }

    /// The report of now.
    pub(crate) async fn report(&self) -> Result<weekly::Answer, ClientError> {
        self.ask(Method::GET, "/v1/report").await
    }

    /// The same, and it is queued as mail.
    pub(crate) async fn send_report(&self) -> Result<weekly::Answer, ClientError> {
        self.ask(Method::POST, "/v1/report").await
    }

    /// Whether the relay is well. A daemon that takes longer than [`HEALTH_TIMEOUT`] is not.
    pub(crate) async fn health(&self) -> Result<Health, ClientError> {
        let answer =
            tokio::time::timeout(HEALTH_TIMEOUT, self.ask(Method::GET, "/v1/health")).await;
        answer.unwrap_or_else(|_| Err(ClientError::Silent(self.socket.clone())))
    }

    /// The budget of this account; without a name of each.
    pub(crate) async fn budget(&self, account: Option<&str>) -> Result<Each<Budget>, ClientError> {
        self.ask(Method::GET, &of("/v1/budget", account)).await
    }

    /// Who has been here.
    pub(crate) async fn clients(&self) -> Result<Clients, ClientError> {
        self.ask(Method::GET, "/v1/clients").await
    }

    /// The hosts that share an account's day.
    pub(crate) async fn fleet(&self) -> Result<FleetView, ClientError> {
        self.ask(Method::GET, "/v1/fleet").await
    }

    /// Has a host, or the one that is asked, take no new mail, or take it again.
    pub(crate) async fn drain(
        &self,
        host: Option<&str>,
        drains: bool,
    ) -> Result<DrainOrdered, ClientError> {
        let verb = if drains { "drain" } else { "undrain" };
        let host = host.map_or_else(String::new, |host| format!("?host={}", encoded(host)));
        self.ask(Method::POST, &format!("/v1/fleet/{verb}{host}")).await
    }

    /// The storms whose mail is kept.
    pub(crate) async fn storms(&self) -> Result<Storms, ClientError> {
        self.ask(Method::GET, "/v1/storms").await
    }

    /// The numbers that an open page follows.
    pub(crate) async fn pulse(&self) -> Result<Pulse, ClientError> {
        self.ask(Method::GET, "/v1/pulse").await
    }

    /// The last hours and days.
    pub(crate) async fn tally(&self) -> Result<Tally, ClientError> {
        self.ask(Method::GET, "/v1/tally").await
    }

    /// The configuration that holds.
    pub(crate) async fn settings(&self) -> Result<Configured, ClientError> {
        self.ask(Method::GET, "/v1/settings").await
    }

    /// A walk through the queue behind a message, or from its beginning.
    #[must_use]
    pub(crate) fn queue(&self, after: Option<QueueId>) -> Walk<'_> {
        self.walk(Of::Queue, after)
    }

    /// A walk through these messages behind one, or from their beginning.
    #[must_use]
    pub(crate) fn walk(&self, of: Of, after: Option<QueueId>) -> Walk<'_> {
        let search = Search::default();
        let path = of.path();
        Walk { client: self, path, search, sort: None, after, until: None, is_over: false }
    }

    /// What those of the messages that are meant have in common, at most `limit` values.
    pub(crate) async fn counts(
        &self,
        of: Of,
        by: CountBy,
        search: &Search,
        limit: usize,
    ) -> Result<Counts, ClientError> {
        let (path, by) = (of.path(), by.name());
        let search = encoded(&search.to_string());
        self.ask(Method::GET, &format!("{path}/counts?by={by}&limit={limit}&search={search}")).await
    }

    /// What the first of them have in common.
    pub(crate) async fn sides(&self, of: Of, search: &Search) -> Result<Sides, ClientError> {
        let search = encoded(&search.to_string());
        self.ask(Method::GET, &format!("{}/sides?search={search}", of.path())).await
    }

    /// One message of the history.
    pub(crate) async fn finished(&self, id: QueueId) -> Result<Message, ClientError> {
        self.ask(Method::GET, &format!("/v1/history/{id}")).await
    }

    /// One message.
    pub(crate) async fn message(&self, id: QueueId) -> Result<Message, ClientError> {
        self.ask(Method::GET, &format!("/v1/queue/{id}")).await
    }

    /// What a person who looks at a message sees of it.
    pub(crate) async fn contents(&self, id: QueueId) -> Result<Contents, ClientError> {
        self.ask(Method::GET, &format!("/v1/queue/{id}/contents")).await
    }

    /// The text of one of its parts.
    pub(crate) async fn part(&self, id: QueueId, number: &str) -> Result<PartText, ClientError> {
        self.ask(Method::GET, &format!("/v1/queue/{id}/contents/{}", encoded(number))).await
    }

    /// Makes a message due now, when it is one of these at that moment.
    pub(crate) async fn retry(&self, id: QueueId, only: &Only) -> Result<Retried, ClientError> {
        self.ask(Method::POST, &format!("/v1/queue/{id}/retry{}", query(only))).await
    }

    /// Holds a message until it is released, when it is one of these at that moment.
    pub(crate) async fn hold(&self, id: QueueId, only: &Only) -> Result<Retried, ClientError> {
        self.ask(Method::POST, &format!("/v1/queue/{id}/hold{}", query(only))).await
    }

    /// Lets what was held so leave again, when it is one of these at that moment.
    pub(crate) async fn release(&self, id: QueueId, only: &Only) -> Result<Retried, ClientError> {
        self.ask(Method::POST, &format!("/v1/queue/{id}/release{}", query(only))).await
    }

    /// Has a message leave at this time and not before, when it is one of these at that moment.
    pub(crate) async fn schedule(
        &self,
        id: QueueId,
        at: Timestamp,
        only: &Only,
    ) -> Result<Retried, ClientError> {
        let only = query(only).replacen('?', "&", 1);
        self.ask(Method::POST, &format!("/v1/queue/{id}/schedule?at={}{only}", at.0)).await
    }

    /// Removes a message for good, when it is one of these at that moment.
    pub(crate) async fn delete(&self, id: QueueId, only: &Only) -> Result<Deleted, ClientError> {
        self.ask(Method::DELETE, &format!("/v1/queue/{id}{}", query(only))).await
    }

    /// Sends a relayed message once more, to these or to its own recipients.
    pub(crate) async fn resend(&self, id: QueueId, to: &[String]) -> Result<Resent, ClientError> {
        let named: Vec<String> = to.iter().map(|to| format!("to={}", encoded(to))).collect();
        self.ask(Method::POST, &format!("/v1/history/{id}/resend?{}", named.join("&"))).await
    }

    /// Sends a dead letter to another address.
    pub(crate) async fn redirect(&self, id: QueueId, to: &str) -> Result<Redirected, ClientError> {
        let to = encoded(to);
        self.ask(Method::POST, &format!("/v1/dead/{id}/redirect?to={to}")).await
    }

    /// Opens a paused account.
    pub(crate) async fn resume(&self, account: Option<&str>) -> Result<Each<Account>, ClientError> {
        self.ask(Method::POST, &of("/v1/resume", account)).await
    }

    /// Pauses all sending.
    pub(crate) async fn pause(
        &self,
        until: Option<Timestamp>,
        reason: &str,
        account: Option<&str>,
    ) -> Result<Each<Account>, ClientError> {
        let until = until.map_or_else(String::new, |until| format!("until={}&", until.0));
        let path = format!("/v1/pause?{until}reason={}{}", encoded(reason), and_of(account));
        self.ask(Method::POST, &path).await
    }

    /// Has the relay log in once.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(crate) async fn prove_login(
        &self,
        account: Option<&str>,
    ) -> Result<LoginProof, ClientError> {
        self.ask(Method::POST, &of("/v1/login", account)).await
    }

    /// Who is told without mail.
    pub(crate) async fn alerts(&self) -> Result<Targets, ClientError> {
        self.ask(Method::GET, "/v1/alerts").await
    }

    /// Has a test alert sent to all of them, or to one.
    pub(crate) async fn test_alerts(&self, target: Option<&str>) -> Result<Trials, ClientError> {
        let query = target.map(|name| format!("?target={}", encoded(name)));
        let path = format!("/v1/alerts/test{}", query.unwrap_or_default());
        self.ask(Method::POST, &path).await
    }

    /// How much is logged.
    pub(crate) async fn log(&self) -> Result<Log, ClientError> {
        self.ask(Method::GET, "/v1/log").await
    }

    /// Logs at another level for so long.
    pub(crate) async fn set_log(&self, level: &str, time: Duration) -> Result<Log, ClientError> {
        let seconds = time.as_secs().max(1);
        self.ask(Method::POST, &format!("/v1/log?level={level}&seconds={seconds}")).await
    }

    /// The next hours.
    pub(crate) async fn budget_forecast(
        &self,
        account: Option<&str>,
    ) -> Result<Each<BudgetForecast>, ClientError> {
        self.ask(Method::GET, &of("/v1/budget/forecast", account)).await
    }

    /// On whom the last days were spent.
    pub(crate) async fn budget_report(
        &self,
        days: u32,
        account: Option<&str>,
    ) -> Result<BudgetReport, ClientError> {
        let path = format!("/v1/budget/report?days={days}{}", and_of(account));
        self.ask(Method::GET, &path).await
    }

    /// Why a message is where it is, and when it leaves.
    pub(crate) async fn explain(&self, id: QueueId) -> Result<Explained, ClientError> {
        self.ask(Method::GET, &format!("/v1/queue/{id}/explain")).await
    }

    /// Has the relay read its configuration anew.
    pub(crate) async fn reload(&self) -> Result<Reload, ClientError> {
        self.ask(Method::POST, "/v1/reload").await
    }

    /// A way into the page.
    pub(crate) async fn page_link(&self, role: Role) -> Result<Link, ClientError> {
        self.ask(Method::POST, &format!("/v1/page/links?role={}", role.name())).await
    }

    /// Who visits the page.
    pub(crate) async fn page_sessions(&self) -> Result<PageSessions, ClientError> {
        self.ask(Method::GET, "/v1/page/sessions").await
    }

    /// Ends a visit.
    pub(crate) async fn end_page_session(&self, number: u64) -> Result<Ended, ClientError> {
        self.ask(Method::DELETE, &format!("/v1/page/sessions/{number}")).await
    }

    /// The octets of a message: as it was taken, or as the upstream gets it.
    pub(crate) async fn octets(&self, id: QueueId, as_sent: bool) -> Result<Octets, ClientError> {
        let query = if as_sent { "?as_sent=true" } else { "" };
        let path = format!("/v1/queue/{id}/message{query}");
        self.stream(&path, MESSAGE_BYTES_MAX).await
    }

    /// Dialogues as they happen: lines of JSON.
    pub(crate) async fn trace(&self, wanted: &Wanted) -> Result<Octets, ClientError> {
        let client = wanted.client.as_deref().map(|client| format!("&client={}", encoded(client)));
        let upstream = if wanted.upstream { "&upstream=true" } else { "" };
        let (client, account) = (client.unwrap_or_default(), and_of(wanted.account.as_deref()));
        let seconds = wanted.seconds.unwrap_or_default();
        let path = format!("/v1/trace?seconds={seconds}{client}{upstream}{account}");
        self.stream(&path, TRACE_BYTES_MAX).await
    }

    /// An answer of at most `left` octets that is read as it comes.
    async fn stream(&self, path: &str, left: u64) -> Result<Octets, ClientError> {
        let opened = tokio::time::timeout(ANSWER_TIMEOUT, self.open(Method::GET, path)).await;
        let opened = opened.map_err(|_| ClientError::Silent(self.socket.clone()))??;
        if !opened.status.is_success() {
            return Err(self.refusal(opened).await);
        }
        let Opened { body, driven, .. } = opened;
        Ok(Octets { client: self.clone(), body, driven, left })
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, ClientError> {
        let exchange = async {
            let opened = self.open(method, path).await?;
            if !opened.status.is_success() {
                return Err(self.refusal(opened).await);
            }
            let body = self.whole(opened).await?;
            serde_json::from_slice(&body).map_err(|error| self.nonsense(error))
        };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, exchange).await;
        answer.unwrap_or_else(|_| Err(ClientError::Silent(self.socket.clone())))
    }

    /// What an answer that is not a success says.
    async fn refusal(&self, opened: Opened) -> ClientError {
        let status = opened.status;
        match self.whole(opened).await {
            Err(error) => error,
            Ok(body) => serde_json::from_slice(&body).map_or_else(
                |_| self.nonsense(format!("HTTP status {status}")),
                ClientError::Refused,
            ),
        }
    }

    /// The body of an answer.
    async fn whole(&self, opened: Opened) -> Result<Bytes, ClientError> {
        let Opened { body, mut driven, .. } = opened;
        let body = driving(&mut driven, Limited::new(body, ANSWER_MAX).collect()).await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => self.nonsense(format!("its answer is longer than {ANSWER_MAX} octets")),
            None => self.nonsense(error),
        })?;
        Ok(body.to_bytes())
    }

    /// Asks, and returns with the head of the answer.
    async fn open(&self, method: Method, path: &str) -> Result<Opened, ClientError> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.nonsense(error))?;
        let mut request = Request::builder().method(method).uri(path).header(HOST, "pillarbox");
        if let Some(visitor) = &self.visitor {
            request = request.header(VISITOR, visitor);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| self.nonsense(error))?;
        let mut driven: Driven = Some(Box::pin(async move { drop(connection.await) }));
        let answer = driving(&mut driven, sender.send_request(request)).await;
        let (head, body) = answer.map_err(|error| self.nonsense(error))?.into_parts();
        Ok(Opened { status: head.status, body, driven })
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::PermissionDenied => ClientError::Permission(self.socket.clone()),
            _ => ClientError::NoDaemon(self.socket.clone()),
        }
    }

    fn nonsense(&self, reason: impl ToString) -> ClientError {
        ClientError::Answer { path: self.socket.clone(), reason: reason.to_string() }
    }
}

/// A connection that is driven along with its answer; nothing when it has ended.
type Driven = Option<Pin<Box<dyn Future<Output = ()> + Send>>>;

/// An answer whose body is still to come.
struct Opened {
    status: StatusCode,
    body: Incoming,
    driven: Driven,
}

/// The octets of an answer that are still to come.
pub(crate) struct Octets {
    client: Client,
    body: Incoming,
    driven: Driven,
    left: u64,
}

impl Octets {
    /// The next block; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame =
                tokio::time::timeout(ANSWER_TIMEOUT, driving(&mut self.driven, self.body.frame()));
            let frame = frame.await.map_err(|_| ClientError::Silent(self.client.socket.clone()))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| {
                let words =
                    format!("its answer broke off ({error}); what came of it is not all of it");
                self.client.nonsense(words)
            })?;
            let Ok(block) = frame.into_data() else { continue };
            self.left = self
                .left
                .checked_sub(block.len() as u64)
                .ok_or_else(|| self.client.nonsense("its answer is longer than may be"))?;
            return Ok(Some(block));
        }
    }
}

/// Waits for an answer while its connection is driven: it ends first when the server closes it, and the answer then knows
/// why.
async fn driving<T>(driven: &mut Driven, answer: impl Future<Output = T>) -> T {
    tokio::pin!(answer);
    loop {
        let connection = async {
            match driven.as_mut() {
                Some(connection) => connection.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = connection => {}
        }
        *driven = None;
    }
}

/// The path of a request about one account, or about whichever it is about without a name.
fn of(path: &str, account: Option<&str>) -> String {
    account.map_or_else(|| path.to_owned(), |name| format!("{path}?account={}", encoded(name)))
}

/// The same behind the rest of a query.
fn and_of(account: Option<&str>) -> String {
    account.map_or_else(String::new, |name| format!("&account={}", encoded(name)))
}

/// A text within the query of a request.
fn encoded(text: &str) -> String {
    text.bytes().map(|octet| format!("%{octet:02X}")).collect()
}

/// The condition as the query of a request.
fn query(only: &Only) -> String {
    let search = only.search.as_ref().map(|search| encoded(&search.to_string()));
    let recipient = only.recipient.as_ref().map(|address| encoded(address.as_str()));
    let parts = [
        ("state", &only.state),
        ("without", &only.without),
        ("search", &search),
        ("recipient", &recipient),
    ];
    let parts = parts.into_iter().filter_map(|(key, name)| Some((key, name.as_ref()?)));
    parts.enumerate().fold(String::new(), |query, (number, (key, name))| {
        format!("{query}{}{key}={name}", if number == 0 { '?' } else { '&' })
    })
}

/// A walk over pages of messages, which ends at what was there when its first page was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Walk<'a> {
    client: &'a Client,
    path: &'static str,
    search: Search,
    sort: Option<Sort>,
    after: Option<QueueId>,
    until: Option<QueueId>,
    is_over: bool,
}

impl Walk<'_> {
    /// Over those of the messages that are meant, in this order.
    #[must_use]
    pub(crate) fn of(self, search: Search, sort: Option<Sort>) -> Self {
        Self { search, sort, ..self }
    }

    /// No further than this message, as far as the first page is concerned that was asked for then.
    #[must_use]
    pub(crate) fn up_to(self, until: Option<QueueId>) -> Self {
        Self { until, is_over: until.is_none(), ..self }
    }

    /// The next messages, at most `limit`; `None` when there are no more.
    pub(crate) async fn page(&mut self, limit: usize) -> Result<Option<Vec<Message>>, ClientError> {
        if self.is_over {
            return Ok(None);
        }
        let place = |key: &str, id: Option<QueueId>| {
            id.map_or_else(String::new, |id| format!("&{key}={id}"))
        };
        let (after, until) = (place("after", self.after), place("until", self.until));
        let search = match self.search.to_string() {
            search if search.is_empty() => search,
            search => format!("&search={}", encoded(&search)),
        };
        let sort = self.sort.map_or_else(String::new, |sort| format!("&sort={}", sort.name()));
        let path = format!("{}?limit={limit}{after}{until}{search}{sort}", self.path);
        let page: QueuePage = self.client.ask(Method::GET, &path).await?;
        (self.after, self.until) = (page.next, page.until);
        self.is_over = page.next.is_none();
        Ok(Some(page.messages))
    }

    /// Behind which message it goes on; `None` at its end.
    #[must_use]
    pub(crate) fn next(&self) -> Option<QueueId> {
        self.after.filter(|_| !self.is_over)
    }
}
