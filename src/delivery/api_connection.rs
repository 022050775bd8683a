//! One connection to the Gmail API: a message is the body of one request over HTTPS (messages.send).
//!
//! Rule: the message streams from the queue, a block at a time, and its recipients are those whom its header names. Until its
//! last block is taken nothing can have been accepted; from then on everything but an answer is uncertain, and so is trouble of
//! the server's own. Must not know the queue or what an answer means.

mod upload;

use std::{fmt, future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use http_body_util::{BodyExt as _, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    ext::on_informational,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, EXPECT, HOST, HeaderValue, RETRY_AFTER,
        USER_AGENT,
    },
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Notify, time::timeout};
use tokio_rustls::client::TlsStream;

use self::upload::{Fed, Feed, Upload};
use super::{
    answer::{Answer, Fault, Stage, StageCell},
    api_replies::{self, Problem},
    bearer,
    credential::{Bearer, Credential},
    https,
    options::{Limits, Options, Way},
    reach::reach_encrypted,
    replies::Transacted,
    sight::Sight,
    tls::{self, Trust},
};
use crate::{
    clock::Timestamp,
    queue::{
        QueueError,
        spool_file::{BUFFER_BYTES, MessageReader},
    },
    smtp::client::capabilities::Capabilities,
    telemetry::dialogue::{Peer, Speaker},
};

/// Where a message is sent; `me` is whose token it is.
const PATH: &str = "/upload/gmail/v1/users/me/messages/send?uploadType=media";
/// The port that a request need not name.
const HTTPS: u16 = 443;
/// Octets of an answer. One has some hundred.
const ANSWER_MAX: usize = 64 * 1024;
/// How long the leave for the body of a long message is waited for; a server that does not know the question gives none (RFC
/// 9110 section 10.1.1).
const LEAVE_WAIT: Duration = Duration::from_secs(1);
/// How long the server is left alone when it asks for that, and no longer: mail waits meanwhile.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// Octets that the client holds in each direction, beside the block that it is given.
const BUFFER_MAX: usize = 64 * 1024;

type Driver = http1::Connection<TokioIo<TlsStream<TcpStream>>, Upload>;

/// An open connection.
pub(super) struct ApiConnection {
    host: String,
    sender: SendRequest<Upload>,
    /// Moves the octets while somebody waits for an answer.
    driver: Pin<Box<Driver>>,
    bearer: Option<Bearer>,
    limits: Limits,
    speaker: Speaker,
    protection: Option<(Vec<u8>, &'static str)>,
}

impl ApiConnection {
    /// DNS, TCP and TLS.
    pub(super) async fn open(
        options: &Options,
        way: Way,
        trust: &Trust,
        stage: &StageCell,
    ) -> Result<Self, Answer> {
        stage.enter(Stage::Connect);
        let broken = |fault| Answer::broken(Stage::Connect, Fault::OverHttps(Box::new(fault)));
        let stream = reach_encrypted(options, way.port, trust).await.map_err(broken)?;
        let protection = tls::protection(&stream);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_MAX);
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (sender, driver) = shaken.map_err(|error| broken(lost(&error)))?;
        Ok(Self {
            host: authority(&options.host, way.port),
            sender,
            driver: Box::pin(driver),
            bearer: None,
            limits: options.limits.clone(),
            speaker: Speaker::new(Peer::Upstream(options.account.number())),
            protection,
        })
    }

    /// Takes the token, which goes with each message. Returns when the connection must be renewed for another one.
    pub(super) fn log_in(&mut self, credential: &Credential) -> Result<Timestamp, Answer> {
        let Credential::Token(bearer) = credential else {
            let words = "the Gmail API takes tokens alone: set upstream.auth to \"oauth\" or \"service-account\"";
            return Err(Answer::broken(Stage::Auth, Fault::Configuration(words.into())));
        };
        self.bearer = Some(bearer.clone());
        Ok(bearer.token.use_until)
    }

    /// What is known of the server: it says nothing before it is asked.
    pub(super) fn sight(&self) -> Sight {
        Sight {
            greeting: String::new(),
            capabilities: Capabilities::default(),
            protection: self.protection.clone(),
        }
    }

    /// Sends one message to all whom its header names. `before_last` runs before the last block of it leaves; when it fails,
    /// or the message cannot be read, the connection is given up and nothing is delivered.
    pub(super) async fn transact<F>(
        &mut self,
        recipients: usize,
        reader: MessageReader,
        before_last: F,
        stage: &StageCell,
    ) -> Transacted
    where
        F: Future<Output = Result<(), QueueError>> + Send,
    {
        stage.enter(Stage::Mail);
        let octets = reader.size_bytes();
        let all = |answer: Answer, broken| Transacted {
            answers: vec![answer; recipients],
            broken,
            store_error: None,
        };
        if self.has_ended().await {
            let fault = Fault::Lost("the server closed the connection".into());
            return all(Answer::broken(Stage::Mail, fault), true);
        }
        let (feed, upload) = upload::channel(octets);
        let Some(request) = self.request(upload) else {
            let fault = Fault::Configuration("the access token cannot be sent in a header".into());
            return all(Answer::broken(Stage::Auth, fault), true);
        };
        self.speaker.says(&format!("POST {PATH}\n({octets} octets of a message)"));
        stage.enter(Stage::Data);
        let state = feed.state();
        let answered = self.exchange(request, feed, reader, before_last, stage).await;
        let is_out = state.is_out();
        match answered {
            Err(Interruption::Unreadable(problem)) => {
                let fault = Fault::Lost("given up because of the queue".into());
                let store_error = Some(problem);
                Transacted { store_error, ..all(Answer::broken(Stage::Data, fault), true) }
            }
            Err(Interruption::Broken(fault)) => all(ended(is_out, fault), true),
            Ok(heard) => {
                let Problem { reason, message } = Problem::read(&heard.body);
                self.speaker.hears(format!("{} {reason} {message}", heard.status).trim_end());
                let answer = judged(&heard, is_out);
                if heard.status == 401
                    && let Some(bearer) = &self.bearer
                {
                    bearer.tokens.reject(&bearer.token).await;
                }
                // What was answered before the end of its body leaves the connection in the middle of it.
                let is_whole = is_out && matches!(answer, Answer::Replied { .. });
                all(answer, !is_whole || self.sender.is_closed())
            }
        }
    }

    /// Whether the server has closed the connection meanwhile.
    async fn has_ended(&mut self) -> bool {
        let driver = &mut self.driver;
        let look = poll_fn(|context| Poll::Ready(driver.as_mut().poll(context).is_ready()));
        look.await || self.sender.is_closed()
    }

    fn request(&self, upload: Upload) -> Option<Request<Upload>> {
        let token = bearer::authorization(&self.bearer.as_ref()?.token.secret)?;
        Request::builder()
            .method(Method::POST)
            .uri(PATH)
            .header(HOST, &self.host)
            .header(USER_AGENT, concat!("pillarbox/", env!("CARGO_PKG_VERSION")))
            .header(AUTHORIZATION, token)
            .header(CONTENT_TYPE, "message/rfc822")
            .header(ACCEPT, "application/json")
            .body(upload)
            .ok()
    }

    /// Hands the message over and waits for the answer, which may come before its end.
    async fn exchange<F>(
        &mut self,
        mut request: Request<Upload>,
        feed: Feed,
        reader: MessageReader,
        before_last: F,
        stage: &StageCell,
    ) -> Result<Heard, Interruption>
    where
        F: Future<Output = Result<(), QueueError>> + Send,
    {
        let limit = self.limits.message(reader.size_bytes());
        let final_limit = self.limits.final_dot;
        let leave = (reader.size_bytes() > BUFFER_BYTES as u64).then(|| asked(&mut request));
        let answer = self.sender.send_request(request);
        let answer = async { received(answer.await.map_err(|error| lost(&error))?).await };
        let driven = driven(self.driver.as_mut(), answer);
        let feeding = async {
            if let Some(leave) = leave {
                drop(timeout(LEAVE_WAIT, leave.notified()).await);
            }
            timeout(limit, feed.all(reader, before_last, stage)).await
        };
        tokio::pin!(driven, feeding);
        tokio::select! {
            biased;
            answer = &mut driven => return answer.map_err(Interruption::Broken),
            fed = &mut feeding => match fed {
                Ok(Ok(Fed::All | Fed::Refused)) => {}
                Ok(Err(problem)) => return Err(Interruption::Unreadable(problem)),
                Err(_) => return Err(Interruption::Broken(Fault::too_slow(limit))),
            },
        }
        match timeout(final_limit, driven).await {
            Ok(answer) => answer.map_err(Interruption::Broken),
            Err(_) => Err(Interruption::Broken(no_answer(final_limit))),
        }
    }
}

/// The server as a request names it (RFC 9110 section 7.2).
fn authority(host: &str, port: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == HTTPS { host } else { format!("{host}:{port}") }
}

/// Asks for leave to send the body, which is told when it comes: what is refused by its header alone is refused before a long
/// message is on its way, and heard.
fn asked(request: &mut Request<Upload>) -> Arc<Notify> {
    let leave = Arc::new(Notify::new());
    let told = Arc::clone(&leave);
    on_informational(request, move |response| {
        if response.status() == StatusCode::CONTINUE {
            told.notify_one();
        }
    });
    request.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
    leave
}

/// Why there is no answer.
enum Interruption {
    Broken(Fault),
    Unreadable(QueueError),
}

/// Moves the octets of a connection until its answer is there.
async fn driven<T>(
    mut driver: Pin<&mut Driver>,
    answer: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // What was read before the end is still in the answer, whatever has ended it.
        ended = &mut driver => match (answer.await, ended) {
            (Err(_), Err(error)) => Err(lost(&error)),
            (answer, _) => answer,
        },
    }
}

/// What the server has answered.
#[derive(Debug, Default)]
struct Heard {
    status: u16,
    body: Vec<u8>,
    /// How long it asks to be left alone.
    asks_for: Duration,
}

/// An acceptance is one whatever becomes of its body.
async fn received(response: Response<Incoming>) -> Result<Heard, Fault> {
    let status = response.status().as_u16();
    let asks_for =
        if matches!(status, 429 | 503) { asked_for(response.headers()) } else { Duration::ZERO };
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_or_else(|_| Vec::new(), |body| body.to_bytes().to_vec());
    Ok(Heard { status, body, asks_for })
}

/// What Retry-After asks for (RFC 9110 section 10.2.3): seconds, or a date, which is compared with the server's own clock.
fn asked_for(headers: &HeaderMap) -> Duration {
    let Some(value) = headers.get(RETRY_AFTER) else { return Duration::ZERO };
    let text = value.to_str().unwrap_or_default().trim();
    let is_number = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let asked = if is_number {
        // A number that is too large for us asks for more than there is.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let now = headers.get(DATE).and_then(https::date);
        let times = https::date(value).zip(now);
        times.map_or(Duration::ZERO, |(until, now)| until.since(now))
    };
    asked.min(RETRY_AFTER_MAX)
}

/// What an answer is to a message of which the last block is out, or not.
fn judged(Heard { status, body, asks_for }: &Heard, is_out: bool) -> Answer {
    let (status, asks_for) = (*status, *asks_for);
    match status {
        200..=299 if is_out => api_replies::answer(status, body, asks_for),
        // The request timed out there: it is no answer to the message.
        408 | 500..=599 => {
            let Problem { reason, message } = Problem::read(body);
            let words = format!("the API answered {status} {reason} {message}");
            ended(is_out, Fault::Trouble { words: words.trim_end().to_owned(), asks_for })
        }
        400..=499 => api_replies::answer(status, body, asks_for),
        _ => {
            ended(is_out, Fault::Garbled(format!("HTTP status {status} is no answer to a message")))
        }
    }
}

/// How a request ended without an answer.
fn ended(is_out: bool, fault: Fault) -> Answer {
    let stage = if is_out { Stage::FinalDot } else { Stage::Data };
    Answer::Broken { stage, after_dot: is_out, fault }
}

fn lost(error: &hyper::Error) -> Fault {
    if error.is_closed() || error.is_canceled() || error.is_incomplete_message() {
        return Fault::Lost("the server closed the connection".into());
    }
    Fault::Lost(format!("the connection was lost: {error}"))
}

fn no_answer(limit: Duration) -> Fault {
    Fault::Lost(format!("no answer within {} s", limit.as_secs_f32()))
}

impl fmt::Debug for ApiConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ApiConnection").field("host", &self.host).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_named_with_its_port_unless_that_is_the_usual_one() {
        assert_eq!(authority("gmail.googleapis.com", 443), "gmail.googleapis.com");
        assert_eq!(authority("localhost", 4711), "localhost:4711");
        assert_eq!(authority("::1", 443), "[::1]");
    }

    #[test]
    fn an_answer_counts_for_what_was_out_when_it_came() {
        let uncertain = |answer| matches!(answer, Answer::Broken { after_dot: true, .. });
        let lost = |answer| matches!(answer, Answer::Broken { after_dot: false, .. });
        let judged = |status, is_out| judged(&Heard { status, ..Heard::default() }, is_out);
        for status in [500, 502, 503, 504, 408, 302] {
            assert!(uncertain(judged(status, true)), "{status}");
            assert!(lost(judged(status, false)), "{status}");
        }
        assert!(lost(judged(200, false)), "nobody can have accepted the half of a message");
        for status in [200, 400, 401, 403, 413, 429] {
            assert!(matches!(judged(status, true), Answer::Replied { .. }), "{status}");
        }
    }

    #[test]
    fn what_retry_after_asks_for_is_read_in_both_forms_and_bounded() {
        let asked = |value: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            if let Some(date) = date {
                headers.insert(DATE, HeaderValue::from_static(date));
            }
            asked_for(&headers).as_secs()
        };
        let now = Some("Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(asked("120", None), 120);
        assert_eq!(asked("99999999999999999999999", None), RETRY_AFTER_MAX.as_secs());
        assert_eq!(asked("Tue, 14 Nov 2023 22:23:20 GMT", now), 600);
        assert_eq!(asked("Mon, 14 Nov 2033 22:23:20 GMT", now), RETRY_AFTER_MAX.as_secs());
        for nothing in ["Tue, 14 Nov 2023 22:03:20 GMT", "-5", "soon", ""] {
            assert_eq!(asked(nothing, now), 0, "{nothing}");
        }
        assert_eq!(asked("Tue, 14 Nov 2023 22:23:20 GMT", None), 0, "whose clock is it?");
        assert_eq!(asked_for(&HeaderMap::new()), Duration::ZERO);
    }
}
