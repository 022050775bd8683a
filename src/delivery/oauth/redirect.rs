//! The loopback address to which the provider sends the browser after the consent (RFC 8252 section 7.3).
//!
//! Rule: it listens on 127.0.0.1 alone, for one consent; a request without the right state is answered and
//! forgotten; requests are bounded in size, time and number. Must not know what a code is exchanged for.

use std::{collections::VecDeque, io, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use url::Url;

use crate::secret::Secret;

/// Octets of a request's head. Browsers send about one thousand.
const HEAD_MAX: usize = 16 * 1024;
/// How long a request may take; browsers open connections that they do not use.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Requests at a time; for one more the first is given up, so that nobody who says nothing keeps the browser out.
const REQUESTS_MAX: usize = 16;

/// What the provider's answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Consent was given; the code is exchanged next.
    Code(Secret),
    /// It was not; the provider's word for why.
    Refused(String),
}

/// The listener of one consent.
#[derive(Debug)]
pub(super) struct Redirect {
    listener: TcpListener,
    port: u16,
}

impl Redirect {
    /// Listens; port 0 takes any free one.
    pub(super) async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// The address in the authorization request.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits for the browser with the right state.
    pub(super) async fn answer(&self, state: &str) -> Answer {
        let (mut requests, mut order) = (JoinSet::new(), VecDeque::new());
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        let state = state.to_owned();
                        order.retain(|request: &AbortHandle| !request.is_finished());
                        if order.len() >= REQUESTS_MAX && let Some(first) = order.pop_front() {
                            first.abort();
                        }
                        let serving = async move { timeout(REQUEST_LIMIT, serve(stream, &state)).await };
                        order.push_back(requests.spawn(serving));
                    }
                }
                Some(served) = requests.join_next() => {
                    if let Ok(Ok(Some(answer))) = served {
                        return answer;
                    }
                }
            }
        }
    }
}

async fn serve(mut stream: TcpStream, state: &str) -> Option<Answer> {
    let head = read_head(&mut stream).await?;
    let target = head.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    let answer = target.map_or(Err(NOT_FOUND), |target| read_target(target, state));
    let (status, text) = match &answer {
        Ok(Answer::Code(_)) => (
            "200 OK",
            "Pillarbox has the consent. You can close this window; the rest is in the terminal.",
        ),
        Ok(Answer::Refused(_)) => ("200 OK", "No consent was given. The terminal says what to do."),
        Err(refusal) => *refusal,
    };
    let page = format!("<!doctype html><title>Pillarbox</title><p>{text}</p>\n");
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    // The answer counts, whether the browser waits for its page or not.
    if stream.write_all(response.as_bytes()).await.is_ok() {
        drop(stream.shutdown().await);
    }
    answer.ok()
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut block = [0; 2048];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut block).await.ok()?;
        head.extend_from_slice(&block[..count]);
        if count == 0 || head.len() > HEAD_MAX {
            return None;
        }
    }
    String::from_utf8(head).ok()
}

const NOT_FOUND: (&str, &str) = ("404 Not Found", "There is nothing here.");
const FOREIGN: (&str, &str) = (
    "400 Bad Request",
    "This answer does not belong to the consent that is waited for. Open the address from the terminal.",
);

fn read_target(target: &str, state: &str) -> Result<Answer, (&'static str, &'static str)> {
    let url =
        Url::parse("http://127.0.0.1").and_then(|base| base.join(target)).map_err(|_| NOT_FOUND)?;
    if url.path() != "/" {
        return Err(NOT_FOUND);
    }
    read_address(&url, state).ok_or(FOREIGN)
}

/// What the address of the redirection says, if its state is the right one.
pub(super) fn read_address(url: &Url, state: &str) -> Option<Answer> {
    let value = |name: &str| {
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    if value("state")? != state {
        return None;
    }
    let code = value("code").filter(|code| !code.is_empty());
    code.map(|code| Answer::Code(Secret::new(code))).or_else(|| value("error").map(Answer::Refused))
}
