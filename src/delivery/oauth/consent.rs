//! The first token: a person consents in a browser, here or on another machine (RFC 8252).
//!
//! Rule: the answer counts only with the state of this consent, and its code is worth nothing without our verifier
//! (PKCE, RFC 7636). It comes pasted, or to 127.0.0.1 alone, where requests are bounded in size, time and number.

use std::{collections::VecDeque, io, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use url::Url;

use super::{
    client_file::Client,
    error::{Kind, TokenError, shown},
    exchange::{Exchange, Granted},
    issuer::Issuer,
    protocol::Authorization,
    token_file::Stored,
    tokens::renewed,
};
use crate::{clock::Timestamp, secret::Secret};

/// How long a refresh token lives while its consent screen is in testing (docs/gmail.md section 4.3).
pub(crate) const TESTING_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The longest line that is taken for a pasted address; the longest codes have some hundred characters.
const PASTED_LENGTH_MAX: usize = 8 * 1024;

/// A consent that is waited for.
pub(crate) struct Consent {
    redirect: Redirect,
    redirect_address: String,
    authorization: Authorization,
    client: Client,
}

impl Consent {
    /// Listens on `port` of 127.0.0.1 (0: any free one) and makes the address to be opened.
    pub(crate) async fn begin(
        exchange: &Exchange,
        client: Client,
        username: &str,
        port: u16,
    ) -> Result<Self, TokenError> {
        let redirect = Redirect::bind(port).await.map_err(|error| {
            let reason = format!("cannot listen on 127.0.0.1:{port}: {error}");
            TokenError::local(
                reason,
                "Name another port with --port, or leave it out for any free one.",
            )
        })?;
        let redirect_address = redirect.address();
        let authorization = exchange.authorization(&client, &redirect_address, username)?;
        Ok(Self { redirect, redirect_address, authorization, client })
    }

    /// What a person opens in a browser.
    #[must_use]
    pub(crate) fn address(&self) -> &str {
        self.authorization.address.as_str()
    }

    /// Where the browser is sent afterwards.
    #[must_use]
    pub(crate) fn redirect_address(&self) -> &str {
        &self.redirect_address
    }

    /// Waits for the browser, or for a pasted line with the address it was sent to, and exchanges the code. A line
    /// that is neither is told and forgotten.
    pub(crate) async fn granted(
        self,
        exchange: &Exchange,
        mut pasted: mpsc::Receiver<String>,
        limit: Duration,
        tell: impl FnMut(&str),
    ) -> Result<Granted, TokenError> {
        let answer = timeout(limit, self.answer(&mut pasted, tell)).await.map_err(|_| {
            let reason = format!("no consent came within {} min", limit.as_secs().div_ceil(60));
            TokenError::local(
                reason,
                format!("Run `{}` again; --wait gives more time.", exchange.issuer().command()),
            )
        })?;
        let code = match answer {
            Answer::Code(code) => code,
            Answer::Refused(word) => {
                return Err(not_given(&shown(&word, &[]), exchange.issuer().command()));
            }
        };
        let verifier = &self.authorization.verifier;
        exchange.redeem(&self.client, &code, verifier, &self.redirect_address).await
    }

    async fn answer(
        &self,
        pasted: &mut mpsc::Receiver<String>,
        mut tell: impl FnMut(&str),
    ) -> Answer {
        let redirected = self.redirect.answer(&self.authorization.state);
        tokio::pin!(redirected);
        let mut open = true;
        loop {
            tokio::select! {
                answer = &mut redirected => return answer,
                line = pasted.recv(), if open => match line {
                    Some(line) => match read_pasted(&line, &self.authorization.state) {
                        Ok(Some(answer)) => return answer,
                        Ok(None) => {}
                        Err(words) => tell(words),
                    },
                    // Nobody sits at a terminal: the browser alone is waited for.
                    None => open = false,
                },
            }
        }
    }
}

impl std::fmt::Debug for Consent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Consent").field("redirect", &self.redirect).finish_non_exhaustive()
    }
}

/// A pasted line: the address to which the browser was sent, or the code alone. `None` for an empty line.
fn read_pasted(line: &str, state: &str) -> Result<Option<Answer>, &'static str> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() > PASTED_LENGTH_MAX {
        return Err("That is too long for the address of the browser.");
    }
    if line.contains("code=") || line.contains("error=") || line.contains("://") {
        // Browsers leave out http:// when they copy, or show the query alone.
        let url = match line.split_once('?') {
            Some((_, query)) => format!("http://127.0.0.1/?{query}"),
            None => format!("http://127.0.0.1/?{line}"),
        };
        let url = Url::parse(&url).map_err(|_| "That is not an address.")?;
        return read_address(&url, state).map(Some).ok_or(
            "That address does not belong to this consent. Open the address above, consent, and paste where the \
             browser ends up.",
        );
    }
    if line.contains(char::is_whitespace) || line.len() < 10 {
        return Err("That is neither the browser's address nor a code.");
    }
    // As it stands in an address.
    let query = format!("http://127.0.0.1/?code={}", line.replace('+', "%2B"));
    let decoded = Url::parse(&query).map_err(|_| "That is not a code.")?;
    let code = decoded.query_pairs().next().map(|(_, code)| Secret::new(code.into_owned()));
    Ok(code.map(Answer::Code))
}

fn not_given(word: &str, command: &str) -> TokenError {
    let remedy = match word {
        "access_denied" => format!(
            "Consent was refused in the browser, or the account is not among the test users of a consent screen in \
             \"Testing\" (https://console.cloud.google.com/auth/audience). Run `{command}` again."
        ),
        "admin_policy_enforced" => {
            "The Workspace administrator must allow this client: admin.google.com, Security, API controls, App \
             access control."
                .to_owned()
        }
        "org_internal" => {
            "The client is for one organisation only: log in with an account of it.".to_owned()
        }
        _ => format!("Run `{command}` again."),
    };
    TokenError::new(Kind::Refused, format!("no consent was given: {word}"), remedy)
}

/// A consent that cannot be used is refused at once, not in an hour.
fn check(granted: &Granted, issuer: Issuer) -> Result<(), TokenError> {
    let command = issuer.command();
    let scope = granted.scope.as_deref();
    if scope.is_some_and(|scope| !issuer.allows_mail(scope)) {
        let reason = "the consent does not include mail";
        let remedy = match issuer {
            Issuer::Google | Issuer::GoogleApi => format!(
                "Run `{command}` again, and tick the box for Gmail on the page where access is given."
            ),
            Issuer::Microsoft => format!(
                "Add SMTP.Send to the application's API permissions (https://entra.microsoft.com, App registrations), then \
                 run `{command}` again."
            ),
        };
        return Err(TokenError::new(Kind::Refused, reason, remedy));
    }
    if granted.refresh_token.is_none() {
        let reason = "the provider gave no refresh token";
        let page = issuer.permissions_page();
        let remedy = format!("Remove this client's access ({page}), then run `{command}` again.");
        return Err(TokenError::new(Kind::Refused, reason, remedy));
    }
    Ok(())
}

/// What is stored after a consent. `testing`: the person says that the consent screen is in testing.
pub(crate) fn first(
    granted: Granted,
    issuer: Issuer,
    client: &Client,
    username: &str,
    testing: bool,
    now: Timestamp,
) -> Result<Stored, TokenError> {
    check(&granted, issuer)?;
    let bare = Stored {
        username: username.to_owned(),
        client_id: client.id.clone(),
        refresh_token: Secret::new(String::new()),
        granted_at: now,
        refresh_token_expires_at: testing.then(|| now.after(TESTING_LIFETIME)),
        scope: None,
        access: None,
        stored_at: now,
    };
    Ok(renewed(bare, granted, now))
}

/// Proves a refresh token by one refresh, and returns what is to be stored then.
pub(crate) async fn prove(
    exchange: &Exchange,
    client: &Client,
    stored: Stored,
) -> Result<Stored, TokenError> {
    let granted = exchange.refresh(client, &stored.refresh_token).await?;
    Ok(renewed(stored, granted, exchange.clock().wall()))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Answer {
        Answer::Code(Secret::new(text.into()))
    }

    #[test]
    fn a_pasted_address_is_understood_as_browsers_copy_it() {
        for line in [
            "http://127.0.0.1:8080/?state=st&code=4/0Ab_c-d&scope=https://mail.google.com/",
            "  127.0.0.1:8080/?code=4%2F0Ab_c-d&state=st\r\n",
            "state=st&code=4/0Ab_c-d",
            "4%2F0Ab_c-d",
        ] {
            assert_eq!(read_pasted(line, "st"), Ok(Some(code("4/0Ab_c-d"))), "{line}");
        }
        assert_eq!(read_pasted("\n", "st"), Ok(None));
    }

    #[test]
    fn a_pasted_address_of_another_consent_is_refused() {
        assert!(read_pasted("http://127.0.0.1:8080/?state=other&code=4/0A", "st").is_err());
        assert!(read_pasted("http://127.0.0.1:8080/?code=4/0A", "st").is_err());
        assert!(read_pasted("https://accounts.google.com/signin", "st").is_err());
        assert!(read_pasted("what should I paste?", "st").is_err());
    }

    #[test]
    fn a_refusal_in_the_browser_says_what_to_do() {
        let refused = read_pasted("http://127.0.0.1/?error=access_denied&state=st", "st").unwrap();
        assert_eq!(refused, Some(Answer::Refused("access_denied".into())));
        assert!(not_given("access_denied", "x").remedy.contains("test users"));
    }
}
