//! Google's account service, as far as SMTP needs it: consent, tokens, revocation, over HTTP on loopback.
//!
//! Rule: HTTP is here, the decisions are in `consent.rs`, `device.rs` and `grant.rs`. Every request is counted, so
//! that a test can tell a relay which asks once from one which asks for every message. Must not know SMTP.

mod consent;
mod device;
mod grant;
mod port;
mod tokens;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Form, Router,
    body::Body,
    extract::{DefaultBodyLimit, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use data_encoding::BASE64;
use hyper::body::{Bytes, Frame};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

use self::grant::Answer;
pub use self::grant::TokenAnswer;
pub(super) use self::tokens::{Expiry, Scope, Tokens};
use self::{
    device::{Decision, Devices},
    port::{AGE_MAX, Port},
};
use super::{
    script::Stage,
    server::ordered,
    shared::{Shared, Weight},
};

/// Names and values of a query or a form.
type Parameters = BTreeMap<String, String>;

/// What has been issued, and what is ordered.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) tokens: Tokens,
    devices: Devices,
    orders: Mutex<VecDeque<TokenAnswer>>,
}

impl Identity {
    /// Orders an answer for the next request; the oldest order is forgotten beyond [`ORDERS_MAX`].
    pub(super) fn order(&self, answer: TokenAnswer) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.len() >= ORDERS_MAX {
            orders.pop_front();
        }
        orders.push_back(answer);
    }

    fn take_order(&self) -> Option<TokenAnswer> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Serves until the sandbox stops.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let router = Router::new()
        .route("/o/oauth2/v2/auth", get(authorize))
        .route("/authorize", get(authorize))
        .route("/devicecode", post(device_code))
        .route("/device", get(enter_code))
        .route("/token", post(token))
        .route("/revoke", post(revoke))
        .layer(DefaultBodyLimit::max(REQUEST_BODY_MAX))
        .with_state(shared);
    let server = axum::serve(Port::new(listener, AGE_MAX), router);
    tokio::select! {
        // Accepting never fails for good: the listener waits and tries again.
        _ = server => {}
        // Not gracefully: a client that keeps its connection must not keep the sandbox.
        () = ordered(&mut stop) => {}
    }
}

async fn authorize(State(shared): State<Arc<Shared>>, Query(asked): Query<Parameters>) -> Response {
    shared.mailbox.tally(|counters| counters.authorizations += 1);
    match consent::consent(&asked, &shared, shared.options.clock.now()) {
        Ok(location) => (StatusCode::FOUND, [(header::LOCATION, location)]).into_response(),
        Err(page) => (StatusCode::BAD_REQUEST, page).into_response(),
    }
}

/// The device authorization endpoint (RFC 8628 section 3.1).
async fn device_code(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<Parameters>,
) -> Response {
    shared.mailbox.tally(|counters| counters.authorizations += 1);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let page = format!("http://{host}/device");
    let (status, value) = device::authorize(&form, &shared, &page, shared.options.clock.now());
    json(status, &value)
}

/// The page on which a person enters the code; the account of a query is believed.
async fn enter_code(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<Parameters>,
) -> Response {
    let Some(user_code) = asked.get("user_code") else {
        let page = "Add to this address: ?user_code=CODE&username=ADDRESS, or &deny=1 in place of the address.\n";
        return page.into_response();
    };
    let decision = match (asked.get("deny"), asked.get("username")) {
        (Some(_), _) => Decision::Refused,
        (None, username) => Decision::Agreed(username.cloned()),
    };
    match shared.identity.devices.decide(user_code, decision, shared.options.clock.now()) {
        true => "You can close this window.\n".into_response(),
        false => (StatusCode::BAD_REQUEST, "That code is not right.\n").into_response(),
    }
}

async fn token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(mut form): Form<Parameters>,
) -> Response {
    shared.mailbox.tally(|counters| counters.token_requests += 1);
    if let Some((client_id, client_secret)) = basic(&headers) {
        form.insert("client_id".into(), client_id);
        form.insert("client_secret".into(), client_secret);
    }
    let answer = grant::answer(&form, &shared, shared.options.clock.now());
    let grant_type = form.get("grant_type").map_or("none", String::as_str);
    shared.tell(0, Stage::Auth, Weight::Result, || {
        format!("token request grant={grant_type} {answer}")
    });
    match answer {
        Answer::Json(status, value) => json(status, &value),
        Answer::Later(status, value) => {
            shared.options.clock.sleep(shared.options.slow).await;
            json(status, &value)
        }
        Answer::Text(status, text) => respond(status, text),
        Answer::Nothing => Response::new(Body::new(Broken)),
    }
}

async fn revoke(State(shared): State<Arc<Shared>>, Form(form): Form<Parameters>) -> Response {
    let token = form.get("token").map_or("", String::as_str);
    if shared.identity.tokens.revoke(token) {
        return json(200, &serde_json::json!({}));
    }
    json(
        400,
        &serde_json::json!({ "error": "invalid_token", "error_description": "Token expired or revoked" }),
    )
}

/// The client's name and secret in the header (RFC 6749 section 2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let decoded = BASE64.decode(value.strip_prefix("Basic ")?.as_bytes()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, secret) = text.split_once(':')?;
    Some((name.to_owned(), secret.to_owned()))
}

fn json(status: u16, value: &Value) -> Response {
    let mut response = respond(status, value.to_string());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

fn respond(status: u16, text: String) -> Response {
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), text)
        .into_response()
}

/// A body that fails before its first octet, so that the server closes the connection.
struct Broken;

impl hyper::body::Body for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}

/// The one scope that opens SMTP at Microsoft.
const MICROSOFT_SCOPE: &str = "https://outlook.office.com/SMTP.Send";
/// How long a code waits to be exchanged (RFC 6749 section 4.1.2 recommends at most this).
const CODE_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Octets of a form; an assertion with a long key is below 4 KiB.
const REQUEST_BODY_MAX: usize = 64 * 1024;
/// Orders that may wait; a test that needs more is wrong.
const ORDERS_MAX: usize = 1000;
