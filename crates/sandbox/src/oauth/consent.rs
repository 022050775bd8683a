//! The authorisation endpoint: what a browser would open (RFC 6749 section 4.1, RFC 7636, RFC 8252).
//!
//! Rule: the person always agrees, unless the hint of the login says `deny`; what the client asks for
//! is checked as strictly as Google does. A wrong redirect is never followed. Must not know HTTP.

use axum::http::Uri;

use super::{
    Parameters,
    tokens::{Code, Expiry, Scope},
};
use crate::{clock::Moment, options::OAUTH_CLIENT_ID, shared::Shared};

/// Where the browser is sent, or the words of the error page.
pub(super) fn consent(asked: &Parameters, shared: &Shared, now: Moment) -> Result<String, String> {
    let given = |name: &str| asked.get(name).map_or("", String::as_str);
    if given("client_id") != OAUTH_CLIENT_ID {
        return Err("Error 401: invalid_client: The OAuth client was not found.".into());
    }
    let redirect_uri = given("redirect_uri");
    if !is_loopback(redirect_uri) {
        let name = "Error 400: redirect_uri_mismatch";
        return Err(format!("{name}: only http://127.0.0.1:PORT and the like are allowed"));
    }
    if given("response_type") != "code" {
        return Err("Error 400: unsupported_response_type: it must be code".into());
    }
    let Some(scope) = Scope::asked(given("scope")) else {
        let (mail, send) = (Scope::Mail.name(), Scope::Send.name());
        return Err(format!("Error 400: invalid_scope: SMTP needs {mail}, the API {send}"));
    };
    if given("code_challenge_method") != "S256" || given("code_challenge").len() != CHALLENGE_LENGTH
    {
        return Err("Error 400: invalid_request: PKCE with S256 is needed".into());
    }
    if given("state").is_empty() {
        return Err(
            "Error 400: invalid_request: without a state the answer could be anybody's".into()
        );
    }
    let state = encoded(given("state"));
    let hint = given("login_hint");
    if hint.split('@').next() == Some("deny") {
        return Ok(format!("{redirect_uri}?error=access_denied&state={state}"));
    }
    let code = shared.identity.tokens.issue_code(Code {
        challenge: given("code_challenge").to_owned(),
        client_id: OAUTH_CLIENT_ID.to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        subject: Some(hint.to_owned()).filter(|hint| !hint.is_empty()),
        scope,
        expiry: Expiry::new(now, super::CODE_LIFETIME),
    });
    Ok(format!(
        "{redirect_uri}?state={state}&code={}&scope={}",
        encoded(&code),
        encoded(scope.name())
    ))
}

/// RFC 8252 section 7.3: a loopback address and a port that the client chose.
fn is_loopback(redirect_uri: &str) -> bool {
    let Ok(uri) = redirect_uri.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default();
    uri.scheme_str() == Some("http")
        && ["127.0.0.1", "[::1]", "localhost"].contains(&host)
        && uri.port_u16().is_some()
        && uri.query().is_none()
}

/// Percent-encoded for a query.
fn encoded(text: &str) -> String {
    let octet = |octet: u8| match octet {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(octet).to_string()
        }
        _ => format!("%{octet:02X}"),
    };
    text.bytes().map(octet).collect()
}

/// Characters of an S256 challenge: 32 octets in base64url.
const CHALLENGE_LENGTH: usize = 43;
