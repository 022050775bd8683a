//! One HTTP request to an endpoint: small, bounded, over TLS.
//!
//! Rule: plain text only on this host; redirections are not followed; the answer is bounded in size and time.
//! Only answers that can be about the request are returned: anything else may be different later. It is the only
//! HTTP client towards other hosts: the token endpoints' and the alert webhook's. Must not know what is asked.

use std::{fmt, net::IpAddr, path::PathBuf, sync::Mutex, time::Duration};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, Uri,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, CONTENT_TYPE, DATE, HOST, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use url::{Host, Url, form_urlencoded};

use super::{
    answer::Fault,
    names,
    tls::{self, Trust},
};
use crate::{clock::Timestamp, sync};

/// Octets of an answer. A token response has about two thousand.
const ANSWER_MAX: usize = 64 * 1024;

/// Octets of an answer that are held before they are looked at: of its header, which has no limit otherwise.
const BUFFER_MAX: usize = 16 * 1024;

/// Why there was no answer that could be about the request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum HttpError {
    /// DNS, TCP, TLS, or an answer that broke off.
    #[error("{0}")]
    Network(String),
    /// Nothing within the limit.
    #[error("no answer within {0} s")]
    Slow(String),
    /// The server has trouble, or asks for patience.
    #[error("HTTP status {0}")]
    Later(u16),
    /// The answer comes from something that is no such endpoint.
    #[error("HTTP status {0}, which no such endpoint gives")]
    Elsewhere(u16),
    /// The server's certificate does not prove its name.
    #[error("the server's certificate was refused: {0}")]
    Certificate(String),
    /// Our own trust roots.
    #[error("{0}")]
    Configuration(String),
}

/// Sends requests, and remembers what the last answer said beside its body.
#[derive(Debug)]
pub(crate) struct Https {
    trust: Trust,
    limits: Limits,
    seen: Mutex<Seen>,
}

/// What an answer said beside its body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) status: u16,
    /// The server's clock.
    pub(super) date: Option<Timestamp>,
}

/// An answer that can be about the request.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Before it is known where it goes.
type Unsent = Request<Vec<u8>>;
type Whole = Response<Vec<u8>>;

impl Https {
    /// `ca_file` holds one more trusted root.
    #[must_use]
    pub(crate) fn new(ca_file: Option<PathBuf>, limits: Limits) -> Self {
        Self { trust: Trust::new(ca_file), limits, seen: Mutex::default() }
    }

    /// Posts JSON to an endpoint. Any 2xx is a success, and returned; the rest of the answer is thrown away.
    ///
    /// # Errors
    /// When there is no answer, or another one.
    pub(crate) async fn post_json(
        &self,
        endpoint: &Endpoint,
        body: Vec<u8>,
    ) -> Result<u16, HttpError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(endpoint.url().as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            // The error's words could repeat the address.
            .map_err(|_| wrong_address())?;
        self.status_of(request).await
    }

    /// Asks an endpoint by GET. Any 2xx is a success, and returned; the rest of the answer is thrown away.
    ///
    /// # Errors
    /// When there is no answer, or another one.
    pub(crate) async fn get(&self, endpoint: &Endpoint) -> Result<u16, HttpError> {
        let request = Request::builder().method(Method::GET).uri(endpoint.url().as_str());
        self.status_of(request.body(Vec::new()).map_err(|_| wrong_address())?).await
    }

    async fn status_of(&self, request: Unsent) -> Result<u16, HttpError> {
        let status = self.within_time(self.exchange(request)).await?.status().as_u16();
        match status {
            200..=299 => Ok(status),
            _ => Err(judged(status)),
        }
    }

    /// What came with the last answer. One request at a time is sent.
    pub(super) fn seen(&self) -> Seen {
        *sync::lock(&self.seen)
    }

    /// Posts a form to an endpoint, and returns its answer in JSON: one that gives, or one that refuses.
    pub(super) async fn post_form(
        &self,
        endpoint: &Endpoint,
        form: &[(&str, &str)],
    ) -> Result<Answer, HttpError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri(endpoint.url().as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(body.into_bytes())
            .map_err(|_| wrong_address())?;
        let response = self.within_time(self.exchange(request)).await?;
        let status = response.status().as_u16();
        if !matches!(status, 200 | 400 | 401 | 403) {
            return Err(judged(status));
        }
        // A type that is not text is none that JSON comes in.
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .map(|value| value.to_str().unwrap_or_default().to_owned());
        Ok(Answer { status, content_type, body: response.into_body() })
    }

    async fn within_time(
        &self,
        exchange: impl Future<Output = Result<Whole, HttpError>>,
    ) -> Result<Whole, HttpError> {
        let limit = self.limits.answer;
        match timeout(limit, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::Slow(limit.as_secs_f32().to_string())),
        }
    }

    async fn exchange(&self, request: Unsent) -> Result<Whole, HttpError> {
        let (request, target) = prepared(request)?;
        let stream = self.connect(&target).await?;
        let response = if target.encrypted {
            let connector = self.trust.connector().await.map_err(fault)?;
            let name = tls::server_name(&target.host).map_err(fault)?;
            let stream = connector.connect(name, stream).await;
            ask(stream.map_err(|error| fault(tls::handshake_fault(&target.host, &error)))?, request)
                .await?
        } else {
            ask(stream, request).await?
        };
        let status = response.status().as_u16();
        let seen = Seen { status, date: response.headers().get(DATE).and_then(date) };
        *sync::lock(&self.seen) = seen;
        Ok(response)
    }

    async fn connect(&self, target: &Target) -> Result<TcpStream, HttpError> {
        let addresses = names::addresses(&target.host, target.port)
            .await
            .map_err(|error| HttpError::Network(format!("the name cannot be resolved: {error}")))?;
        let mut failure = HttpError::Network("the name has no address".into());
        for address in addresses {
            failure = match timeout(self.limits.connect, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => HttpError::Network(format!("{error} ({address})")),
                Err(_) => HttpError::Network(format!("no connection ({address})")),
            };
        }
        Err(failure)
    }
}

/// What a status means that is not an answer to the request.
fn judged(status: u16) -> HttpError {
    match status {
        408 | 425 | 429 | 500..=599 => HttpError::Later(status),
        _ => HttpError::Elsewhere(status),
    }
}

fn wrong_address() -> HttpError {
    HttpError::Configuration("the endpoint's address cannot be used".into())
}

/// Where a request goes.
struct Target {
    host: String,
    port: u16,
    encrypted: bool,
}

/// The request as it is written to the server that it names.
fn prepared(request: Unsent) -> Result<(Request<Full<Bytes>>, Target), HttpError> {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().cloned().ok_or_else(wrong_address)?;
    let encrypted = parts.uri.scheme_str() == Some("https");
    let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    // An IPv6 address is in brackets, which a resolver does not want.
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let path: Uri = path.parse().map_err(|_| wrong_address())?;
    parts
        .headers
        .insert(HOST, HeaderValue::from_str(authority.as_str()).map_err(|_| wrong_address())?);
    parts.headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("pillarbox/", env!("CARGO_PKG_VERSION"))),
    );
    parts.uri = path;
    let request = Request::from_parts(parts, Full::new(Bytes::from(body)));
    Ok((request, Target { host, port, encrypted }))
}

/// One request on a connection of its own: an endpoint is asked about once an hour.
async fn ask<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Whole, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let lost =
        |error: hyper::Error| HttpError::Network(format!("the connection was lost: {error}"));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(lost)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(lost)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let body =
            body.map_err(|error| HttpError::Network(format!("the answer broke off: {error}")))?;
        Ok(Response::from_parts(parts, body.to_bytes().to_vec()))
    };
    // The connection moves the bytes of its one request, and ends with it.
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // What was read before the end is still in the answer, whatever has ended it.
        ended = &mut connection => match (answer.await, ended) {
            (Err(_), Err(error)) => Err(lost(error)),
            (answer, _) => answer,
        },
    }
}

fn fault(fault: Fault) -> HttpError {
    match fault {
        Fault::Certificate(reason) => HttpError::Certificate(reason),
        Fault::Configuration(reason) => HttpError::Configuration(reason),
        other => HttpError::Network(other.to_string()),
    }
}

/// An HTTP date (RFC 9110 section 5.6.7).
pub(super) fn date(value: &HeaderValue) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(value.to_str().ok()?).ok()?;
    Some(Timestamp(zoned.timestamp().as_millisecond()))
}

/// Whether what is sent to this address does not leave this host.
pub(crate) fn is_on_this_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

/// An address to which secrets may be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Reads an address, or says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("it is not a web address: {error}"))?;
        if url.host().is_none() {
            return Err("it names no host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it contains a user name or a password".to_owned());
        }
        if url.fragment().is_some() {
            return Err("it has a part behind #, which is never sent".to_owned());
        }
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_on_this_host(&url) => Ok(Self(url)),
            _ => {
                Err("secrets are sent there, so it must begin with https:// (http:// on this host only)"
                    .into())
            }
        }
    }

    /// The address as it is sent.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// The address without the last part of its path, and that part; `None` when the path is empty.
    pub(crate) fn split_topic(&self) -> Option<(Self, String)> {
        let mut url = self.0.clone();
        let topic = url.path_segments()?.next_back().filter(|last| !last.is_empty())?.to_owned();
        url.path_segments_mut().ok()?.pop().push("");
        Some((Self(url), topic))
    }

    /// The host, for words to people.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Waits towards the endpoints.
#[derive(Clone, Debug)]
pub struct Limits {
    /// TCP connect, for each address.
    pub connect: Duration,
    /// The whole request, from DNS to the last octet of the answer. Google answers within a second; a worker
    /// waits meanwhile.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), answer: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use tokio::io::ReadBuf;

    use super::*;
    use crate::delivery::oauth::Endpoints;

    #[test]
    fn the_servers_clock_is_read_from_its_date() {
        let read = |text: &'static str| date(&HeaderValue::from_static(text));
        assert_eq!(read("Tue, 14 Nov 2023 22:13:20 GMT"), Some(Timestamp(1_700_000_000_000)));
        assert_eq!(read("yesterday"), None);
    }

    #[test]
    fn the_request_names_host_and_path_as_a_server_expects_them() {
        let request = |address: &str| {
            let request = Request::builder().uri(address).body(Vec::new()).unwrap();
            let (request, target) = prepared(request).unwrap();
            let host = request.headers()[HOST].to_str().unwrap().to_owned();
            (target.host, target.port, target.encrypted, host, request.uri().to_string())
        };
        assert_eq!(
            request("https://oauth2.googleapis.com/token"),
            (
                "oauth2.googleapis.com".into(),
                443,
                true,
                "oauth2.googleapis.com".into(),
                "/token".into()
            )
        );
        assert_eq!(
            request("http://[::1]:8080/a?b=c"),
            ("::1".into(), 8080, false, "[::1]:8080".into(), "/a?b=c".into())
        );
    }

    #[test]
    fn secrets_go_to_https_or_stay_on_this_host() {
        for text in [
            Endpoints::GOOGLE_TOKEN,
            Endpoints::GOOGLE_AUTHORIZATION,
            Endpoints::GOOGLE_REVOCATION,
            "http://127.0.0.1:8080/token",
            "http://[::1]/token",
            "http://localhost:1/",
        ] {
            assert!(Endpoint::new(text).is_ok(), "{text}");
        }
        for (text, words) in [
            ("http://oauth2.googleapis.com/token", "https://"),
            ("http://127.0.0.1.example.org/", "https://"),
            ("ftp://127.0.0.1/", "https://"),
            ("oauth2.googleapis.com/token", "not a web address"),
            ("https://me:word@example.org/", "user name"),
            ("https://example.org/#part", "#"),
        ] {
            let error = Endpoint::new(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    /// A server that has answered and is gone: what was read is followed at once by the end of the connection, to the
    /// reader or to whoever still writes.
    struct Gone {
        answer: &'static [u8],
        /// Octets of the request that are taken; then the writer is told.
        takes: usize,
        /// Who reads before anything was asked.
        waits: Option<Waker>,
        is_asked: bool,
    }

    impl AsyncRead for Gone {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if !self.is_asked {
                self.waits = Some(context.waker().clone());
                return Poll::Pending;
            }
            if self.answer.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let (now, later) = self.answer.split_at(buffer.remaining().min(self.answer.len()));
            buffer.put_slice(now);
            self.answer = later;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Gone {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            octets: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = octets.len().min(self.takes);
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.takes -= taken;
            self.is_asked = true;
            if let Some(waiting) = self.waits.take() {
                waiting.wake();
            }
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn an_answer_that_was_read_counts_whatever_ends_the_connection_in_the_same_moment() {
        let asked = async |answer: &'static str, takes| {
            let request = Request::builder().method(Method::POST).uri("/token");
            let request = request.body(Full::new(Bytes::from_static(b"grant=refresh"))).unwrap();
            let server = Gone { answer: answer.as_bytes(), takes, waits: None, is_asked: false };
            let answer = ask(server, request).await?;
            let status = answer.status().as_u16();
            Ok::<_, HttpError>((status, String::from_utf8(answer.into_body()).unwrap()))
        };
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntoken";
        for takes in [1 << 20, 60] {
            assert_eq!(asked(whole, takes).await, Ok((200, "token".to_owned())), "{takes}");
        }
        for part in ["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ntoken", "HTTP/1.1 200 O", ""] {
            assert!(matches!(asked(part, 1 << 20).await, Err(HttpError::Network(_))), "{part}");
        }
    }
}
