//! The Gmail API, as far as sending needs it: one message in the body of one request (messages.send with uploadType=media).
//!
//! Rule: what a test ordered for a stage comes first; the stages are those of SMTP: AUTH is the token, DATA the request
//! before its body, the final dot the end of the body. Recipients are those whom the header names, each as often as it
//! does: nothing is made better here than the client has made it. Must not know SMTP.

mod addressed;
mod refusal;

use std::{
    future::{pending, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use hyper::{
    Method, Request, Response,
    body::{Body as _, Incoming},
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use self::refusal::Refusal;
use super::{
    accepted::{Accepted, TlsSession},
    body::Body,
    oauth::Scope,
    options::{ACCESS_TOKEN, OverLimit, USERNAME},
    script::{Failure, Stage},
    server::{ACCEPT_PAUSE, Context, HANDSHAKE_MAX, agreed, ordered},
    shared::{Shared, Weight},
    triggers::{Armed, Effect},
};

/// What a client posts to.
const PATH: &str = "/upload/gmail/v1/users/me/messages/send";
/// Octets of a header section in which recipients are looked for.
const HEADER_MAX: usize = 1024 * 1024;
/// How long a connection may last.
const AGE_MAX: Duration = Duration::from_secs(3_600);

/// Serves until the sandbox stops.
pub(super) async fn serve(
    listener: TcpListener,
    context: Context,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = ordered(&mut stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(timeout(AGE_MAX, converse(stream, peer, context.clone())));
                }
                Err(error) => {
                    tracing::warn!(%error, "the sandbox cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

/// One connection; how it ends is the client's business.
async fn converse(stream: TcpStream, peer: SocketAddr, mut context: Context) {
    context.disconnect.mark_unchanged();
    drop(stream.set_nodelay(true));
    let Ok(Ok(stream)) = timeout(HANDSHAKE_MAX, context.acceptor.accept(stream)).await else {
        return;
    };
    let connection = Connection {
        shared: Arc::clone(&context.shared),
        number: context.shared.next_connection(),
        peer,
        tls: agreed(&stream),
    };
    connection.shared.mailbox.tally(|counters| counters.connections += 1);
    let answer = |request| connection.answer(request);
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    tokio::select! {
        result = served => {
            if let Err(error) = result {
                tracing::debug!(%error, "a connection of the API ended early");
            }
        }
        _ = context.disconnect.changed() => {}
    }
}

/// Why there is no usual answer.
enum End {
    Refused(Refusal),
    /// The connection ends without a word.
    Dropped,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Whether the answer goes out once the message is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answered {
    Yes,
    No,
}

struct Connection {
    shared: Arc<Shared>,
    number: u64,
    peer: SocketAddr,
    tls: TlsSession,
}

impl Connection {
    /// An error ends the connection without an answer.
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<String>> {
        match self.send(request).await {
            Ok(id) => {
                let value = json!({ "id": id, "threadId": id, "labelIds": ["SENT"] });
                Ok(response(200, value.to_string()))
            }
            Err(End::Refused(refusal)) => {
                self.shared.tell(self.number, Stage::Dot, Weight::Result, || refusal.to_string());
                let mut response = response(refusal.status, refusal.body());
                let asked = refusal.retry_after.and_then(|value| value.parse().ok());
                asked.and_then(|value| response.headers_mut().insert(RETRY_AFTER, value));
                Ok(response)
            }
            Err(End::Dropped) => {
                self.shared.mailbox.tally(|counters| counters.drops += 1);
                self.shared.tell(self.number, Stage::Dot, Weight::Result, || "dropped".to_owned());
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    }

    /// Takes one message; returns its id.
    async fn send(&self, request: Request<Incoming>) -> Result<String, End> {
        check(&request)?;
        self.pass(Stage::Auth, "").await?;
        let username = self.account(&request)?;
        self.pass(Stage::Data, "").await?;
        let client = request.headers().get(USER_AGENT).map(HeaderValue::to_str);
        let client = client.and_then(Result::ok).unwrap_or_default().to_owned();
        let body = self.receive(request.into_body()).await?;
        let (size, crc32, message_id) = (body.size, body.crc32(), body.message_id());
        let kept = body.into_kept();
        let recipients = addressed::recipients(&kept)
            .map_err(|field| Refusal::of_message(&format!("Invalid {field} header")))?;
        if recipients.is_empty() {
            return Err(Refusal::of_message("Recipient address required").into());
        }
        self.shared.mailbox.reach(Stage::Dot);
        let said: String = recipients.iter().map(|to| format!("TO:<{to}>\n")).collect();
        let ordered = self.pass(Stage::Dot, &said).await?;
        let struck = self.strike(&username, &recipients).await?;
        let answered = if struck == Answered::No { struck } else { ordered };
        let id = format!("{:016x}", fastrand::u64(..));
        let now = self.shared.options.clock.now();
        let count = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
        let spent = self.shared.accounts.spend(&username, count, now);
        if !spent && self.shared.options.over_limit == OverLimit::Refuse {
            self.shared.mailbox.tally(|counters| counters.quota_refusals += 1);
            return Err(Refusal::of_the_day().into());
        }
        let stored = self.shared.mailbox.store(Accepted {
            mail_from: username.clone(),
            rcpt_to: recipients,
            parameters: vec!["uploadType=media".to_owned()],
            body: kept,
            size,
            crc32,
            message_id,
            tls: Some(self.tls.clone()),
            username: Some(username),
            ehlo: client,
            peer: self.peer.ip(),
            session_id: id.clone(),
            connection_number: self.number,
            at: now.wall,
            answered: answered == Answered::Yes,
            bounced: !spent,
            copies_before: 0,
        });
        let message =
            stored.map_err(|error| Refusal::scripted(&format!("500 backendError {error}")))?;
        self.shared.tell(self.number, Stage::Dot, Weight::Result, || {
            format!("accepted by the API to={} size={size}", message.rcpt_to.join(","))
        });
        if answered == Answered::No { Err(End::Dropped) } else { Ok(id) }
    }

    /// What the recipients' names make happen. All of it happens at the end of the message, the only moment there is, and in
    /// the words of the API: what SMTP would refuse for good is the message's fault, and the rest the server's.
    async fn strike(&self, username: &str, recipients: &[String]) -> Result<Answered, End> {
        let now = self.shared.options.clock.now();
        if self.shared.accounts.limited_at(username, Stage::Dot, now) {
            return Err(Refusal::of_the_day().into());
        }
        let local_part = |to: &String| to.rsplit_once('@').map(|(local, _)| local.to_owned());
        let mut armed = recipients.iter().filter_map(|to| Armed::of(&local_part(to)?, to));
        let Some(armed) = armed.find(|armed| self.shared.strikes.strikes(armed)) else {
            return Ok(Answered::Yes);
        };
        match &armed.trigger.effect {
            Effect::Refuse(reply)
            | Effect::RefuseFirst(_, reply)
            | Effect::RefuseAndClose(reply) => Err(Refusal::like(reply, &armed.address).into()),
            Effect::LimitAccount | Effect::LimitAccountAtNextMail => {
                self.shared.accounts.limit(username, Stage::Dot, now);
                Err(Refusal::of_the_day().into())
            }
            Effect::Drop | Effect::DropAtNextMail => Err(End::Dropped),
            Effect::StoreAndDrop => Ok(Answered::No),
            Effect::Delay => {
                self.shared.options.clock.sleep(self.shared.options.slow).await;
                Ok(Answered::Yes)
            }
            Effect::Malformed(_) => Err(Refusal::page().into()),
        }
    }

    /// Whose token it is; one that is anybody's is that of the usual account.
    fn account(&self, request: &Request<Incoming>) -> Result<String, Refusal> {
        let value = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let now = self.shared.options.clock.now();
        let known = match token {
            ACCESS_TOKEN => Some((None, Scope::Mail)),
            _ => self.shared.identity.tokens.bearer(token, now),
        };
        match known {
            Some((subject, Scope::Mail | Scope::Send)) => {
                self.shared.mailbox.tally(|counters| counters.logins += 1);
                Ok(subject.unwrap_or_else(|| USERNAME.to_owned()))
            }
            Some((_, Scope::Read)) => Err(Refusal::scripted(
                "403 insufficientPermissions Request had insufficient authentication scopes.",
            )),
            None => {
                self.shared.mailbox.tally(|counters| counters.login_refusals += 1);
                Err(Refusal::scripted("401 authError Invalid Credentials"))
            }
        }
    }

    /// The whole body; what ends before its length is no message.
    async fn receive(&self, mut incoming: Incoming) -> Result<Body, End> {
        let options = &self.shared.options;
        let whole = usize::try_from(options.size_bytes_max).unwrap_or(usize::MAX);
        let mut body = Body::new(if options.keep_bodies { whole } else { HEADER_MAX });
        while let Some(frame) = poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await
        {
            let frame = frame.map_err(|_| End::Dropped)?;
            let Ok(octets) = frame.into_data() else { continue };
            if body.starts() {
                self.shared.mailbox.reach(Stage::Body);
                self.pass(Stage::Body, "").await?;
            }
            body.receive_counted(&octets);
            if body.size > options.size_bytes_max {
                return Err(Refusal::too_large().into());
            }
        }
        Ok(body)
    }

    /// Does what was ordered for a stage; afterwards the usual goes on.
    async fn pass(&self, stage: Stage, said: &str) -> Result<Answered, End> {
        let Some(failure) = self.shared.script.take(stage, said) else { return Ok(Answered::Yes) };
        match failure {
            Failure::Reply(text) | Failure::ReplyAndClose(text) => {
                Err(Refusal::scripted(&text).into())
            }
            Failure::Malformed(_) => Err(Refusal::page().into()),
            Failure::StoreAndDrop if stage == Stage::Dot => Ok(Answered::No),
            Failure::Drop | Failure::StoreAndDrop => Err(End::Dropped),
            Failure::Hang => pending().await,
            Failure::Delay(duration) => {
                self.shared.options.clock.sleep(duration).await;
                Ok(Answered::Yes)
            }
        }
    }
}

/// Whether it is the one request that is known here.
fn check(request: &Request<Incoming>) -> Result<(), Refusal> {
    let uri = request.uri();
    if request.method() != Method::POST || uri.path() != PATH {
        return Err(Refusal::scripted("404 notFound Not Found"));
    }
    let is_media =
        uri.query().is_some_and(|query| query.split('&').any(|one| one == "uploadType=media"));
    let of_type =
        request.headers().get(CONTENT_TYPE).is_some_and(|value| value == "message/rfc822");
    if !is_media || !of_type {
        let words = "Media type is not supported. Valid media types: [message/*]";
        return Err(Refusal::scripted(&format!("400 badContent {words}")));
    }
    if !request.headers().contains_key(CONTENT_LENGTH) {
        return Err(Refusal::scripted("411 required Length Required"));
    }
    Ok(())
}

fn response(status: u16, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    let json = HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
