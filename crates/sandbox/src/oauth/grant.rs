//! The token endpoint's decisions (RFC 6749 sections 4.1.3, 5 and 6; RFC 7523; docs/gmail.md section 4.3).
//!
//! Rule: what a test ordered comes first, then a refresh token whose name means something, then what
//! Google would do. Must not know HTTP.

use std::{fmt, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_rustls::rustls::{
    SignatureScheme,
    crypto::ring::{self, cipher_suite::TLS13_AES_128_GCM_SHA256},
};

use super::{
    MICROSOFT_SCOPE, Parameters, device,
    tokens::{Expiry, Scope, Subject},
};
use crate::{
    clock::Moment,
    options::{
        OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET, PUBLIC_CLIENT_ID, REFRESH_TOKEN, SEND_REFRESH_TOKEN,
    },
    shared::Shared,
};

/// What the token endpoint does instead of the usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAnswer {
    /// 400 `invalid_grant`: expired or revoked.
    InvalidGrant,
    /// 401 `invalid_client`.
    InvalidClient,
    /// 401 `unauthorized_client`: a service account without delegation.
    UnauthorizedClient,
    /// 503 with a page instead of JSON.
    Unavailable,
    /// 429.
    TooManyRequests,
    /// The usual answer after [`Options::slow`](crate::Options::slow), on the clock.
    Slow,
    /// 200 with JSON that ends in the middle.
    Truncated,
    /// The usual answer with a new refresh token.
    Rotated,
    /// An access token that SMTP already takes for expired.
    Stale,
    /// 400 `slow_down` (RFC 8628 section 3.5).
    SlowDown,
    /// 400 with these words: the error and its description.
    Refused(&'static str, &'static str),
    /// The connection ends without an answer.
    Drop,
}

/// Refresh tokens that mean something, whatever the client.
static TRIGGERS: &[(&str, TokenAnswer)] = &[
    ("revoked", TokenAnswer::InvalidGrant),
    ("wrong-client", TokenAnswer::InvalidClient),
    ("down", TokenAnswer::Unavailable),
    ("limited", TokenAnswer::TooManyRequests),
    ("slow", TokenAnswer::Slow),
    ("truncated", TokenAnswer::Truncated),
    ("rotate", TokenAnswer::Rotated),
    ("stale", TokenAnswer::Stale),
    ("drop", TokenAnswer::Drop),
];

/// What is sent back.
#[derive(Debug)]
pub(super) enum Answer {
    /// Status and JSON.
    Json(u16, Value),
    /// The same, after a wait.
    Later(u16, Value),
    /// Status and other text.
    Text(u16, String),
    /// Nothing.
    Nothing,
}

/// For the log: what it comes to, and no token.
impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(status, value) | Self::Later(status, value) => {
                let error = value["error"].as_str().unwrap_or("none");
                write!(formatter, "status={status} error={error}")
            }
            Self::Text(status, _) => write!(formatter, "status={status} without proper JSON"),
            Self::Nothing => formatter.write_str("connection dropped"),
        }
    }
}

/// Status and JSON, of a refusal as a rule.
pub(super) type Refusal = (u16, Value);

/// Answers one request.
pub(super) fn answer(form: &Parameters, shared: &Shared, now: Moment) -> Answer {
    let refresh_token = form.get("refresh_token").map_or("", String::as_str);
    let trigger =
        TRIGGERS.iter().find(|(name, _)| *name == refresh_token).map(|(_, answer)| *answer);
    let special = shared.identity.take_order().or(trigger);
    let usual = |stale: Stale, refresh: Refresh| {
        grant(form, shared, now, stale, refresh).unwrap_or_else(|refusal| refusal)
    };
    let as_json = |(status, value)| Answer::Json(status, value);
    match special {
        None if shared.options.rotate_refresh_tokens => as_json(usual(Stale::No, Refresh::New)),
        None => as_json(usual(Stale::No, Refresh::Kept)),
        Some(TokenAnswer::Rotated) => as_json(usual(Stale::No, Refresh::New)),
        Some(TokenAnswer::Stale) => as_json(usual(Stale::Yes, Refresh::Kept)),
        Some(TokenAnswer::Slow) => {
            let (status, value) = usual(Stale::No, Refresh::Kept);
            Answer::Later(status, value)
        }
        Some(TokenAnswer::Truncated) => {
            let (status, value) = usual(Stale::No, Refresh::Kept);
            let text = value.to_string();
            Answer::Text(status, text[..text.len() / 2].to_owned())
        }
        Some(TokenAnswer::InvalidGrant) => as_json(revoked()),
        Some(TokenAnswer::InvalidClient) => as_json(unknown_client()),
        Some(TokenAnswer::UnauthorizedClient) => as_json(undelegated()),
        Some(TokenAnswer::Unavailable) => Answer::Text(
            503,
            "<html><title>Error 503 (Service Unavailable)</title></html>\n".into(),
        ),
        Some(TokenAnswer::TooManyRequests) => {
            as_json(refusal(429, "rate_limit_exceeded", "Too many requests, try again later."))
        }
        Some(TokenAnswer::SlowDown) => as_json(device::slow_down()),
        Some(TokenAnswer::Refused(error, words)) => as_json(refusal(400, error, words)),
        Some(TokenAnswer::Drop) => Answer::Nothing,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stale {
    Yes,
    No,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refresh {
    Kept,
    New,
}

/// What a grant came to: whose it is, and whether a refresh token belongs to it.
struct Granted {
    subject: Subject,
    scope: Scope,
    refresh: Refresh,
}

fn grant(
    form: &Parameters,
    shared: &Shared,
    now: Moment,
    stale: Stale,
    refresh: Refresh,
) -> Result<Refusal, Refusal> {
    let is_public = form.get("client_id").is_some_and(|id| id == PUBLIC_CLIENT_ID);
    let granted = match form.get("grant_type").map(String::as_str) {
        Some("refresh_token") => {
            let (subject, scope) = refreshed(form, shared)?;
            // Microsoft gives a new one each time.
            let refresh = if is_public { Refresh::New } else { refresh };
            Granted { subject, scope, refresh }
        }
        Some("urn:ietf:params:oauth:grant-type:device_code") => {
            let subject = device::exchanged(form, shared, now)?;
            Granted { subject, scope: Scope::Mail, refresh: Refresh::New }
        }
        Some("authorization_code") => {
            let (subject, scope) = exchanged(form, shared, now)?;
            Granted { subject, scope, refresh: Refresh::New }
        }
        Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => {
            let (subject, scope) = asserted(form, shared, now)?;
            Granted { subject, scope, refresh: Refresh::Kept }
        }
        Some("client_credentials") => {
            let subject = application(form, shared, now)?;
            Granted { subject, scope: Scope::Mail, refresh: Refresh::Kept }
        }
        _ => return Err(refusal(400, "unsupported_grant_type", "Invalid grant_type")),
    };
    let lifetime = shared.options.token_lifetime;
    let valid = if stale == Stale::Yes { Duration::ZERO } else { lifetime };
    let tokens = &shared.identity.tokens;
    let Granted { subject, scope, .. } = &granted;
    let mut value = json!({
        "access_token": tokens.issue_access(subject.clone(), *scope, Expiry::new(now, valid)),
        "expires_in": lifetime.as_secs(),
        "scope": if is_public { MICROSOFT_SCOPE } else { scope.name() },
        "token_type": "Bearer",
    });
    if granted.refresh == Refresh::New {
        value["refresh_token"] = tokens.issue_refresh(granted.subject, granted.scope).into();
    }
    Ok((200, value))
}

/// RFC 6749 section 6.
fn refreshed(form: &Parameters, shared: &Shared) -> Result<(Subject, Scope), Refusal> {
    check_client(form)?;
    let token = form.get("refresh_token").map_or("", String::as_str);
    match token {
        SEND_REFRESH_TOKEN => return Ok((None, Scope::Send)),
        // The box of the consent was not ticked.
        "narrow" => return Ok((None, Scope::Read)),
        REFRESH_TOKEN => return Ok((None, Scope::Mail)),
        _ if TRIGGERS.iter().any(|(name, _)| *name == token) => return Ok((None, Scope::Mail)),
        _ => {}
    }
    shared.identity.tokens.subject_of(token).ok_or_else(revoked)
}

/// RFC 6749 section 4.1.3 with the verifier of RFC 7636 section 4.6.
fn exchanged(form: &Parameters, shared: &Shared, now: Moment) -> Result<(Subject, Scope), Refusal> {
    check_client(form)?;
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    let malformed = || refusal(400, "invalid_grant", "Malformed auth code.");
    let code = shared.identity.tokens.take_code(given("code")).ok_or_else(malformed)?;
    if code.expiry.remaining(now).is_zero() {
        return Err(refusal(400, "invalid_grant", "Bad Request"));
    }
    if given("redirect_uri") != code.redirect_uri || given("client_id") != code.client_id {
        return Err(refusal(400, "redirect_uri_mismatch", "Bad Request"));
    }
    let verifier = given("code_verifier");
    if verifier.is_empty() {
        return Err(refusal(400, "invalid_grant", "Missing code verifier."));
    }
    let long_enough = VERIFIER_LENGTHS.contains(&verifier.len());
    if !long_enough || BASE64URL_NOPAD.encode(&sha256(verifier.as_bytes())) != code.challenge {
        return Err(refusal(400, "invalid_grant", "Invalid code verifier."));
    }
    Ok((code.subject, code.scope))
}

/// RFC 6749 section 4.4, in the words of Microsoft, whose organisations alone let an application send as a mailbox.
fn application(form: &Parameters, shared: &Shared, now: Moment) -> Result<Subject, Refusal> {
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    if given("client_id") != OAUTH_CLIENT_ID {
        let words = "AADSTS700016: Application with identifier was not found in the directory.";
        return Err(refusal(400, "unauthorized_client", words));
    }
    if form.contains_key("client_assertion") {
        certified(form, shared, now)?;
    } else if given("client_secret") == "expired" {
        let words = "AADSTS7000222: The provided client secret keys are expired.";
        return Err(refusal(401, "invalid_client", words));
    } else if given("client_secret") != OAUTH_CLIENT_SECRET {
        let words = "AADSTS7000215: Invalid client secret provided.";
        return Err(refusal(401, "invalid_client", words));
    }
    if !given("scope").ends_with("/.default") {
        let words = "AADSTS1002012: The provided value for scope is not valid.";
        return Err(refusal(400, "invalid_scope", words));
    }
    Ok(None)
}

/// RFC 7523 section 2.2: a certificate in the place of the secret. Without a key any signature will do.
fn certified(form: &Parameters, shared: &Shared, now: Moment) -> Result<(), Refusal> {
    let words = "AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on \
                 application.";
    let refused = || refusal(401, "invalid_client", words);
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    let key = shared.options.service_account_key.as_deref();
    let (header, claims) = opened(given("client_assertion"), SignatureScheme::RSA_PSS_SHA256, key)
        .ok_or_else(refused)?;
    let seconds = now.wall.0.div_euclid(1000);
    let is_now = claims["nbf"].as_i64() <= Some(seconds) && claims["exp"].as_i64() > Some(seconds);
    let is_its_own = claims["iss"] == OAUTH_CLIENT_ID && claims["sub"] == OAUTH_CLIENT_ID;
    let is_for_us = claims["aud"].as_str().is_some_and(|audience| audience.ends_with("/token"));
    let is_named = header["x5t#S256"].as_str().is_some_and(|name| name.len() == 43);
    let has_type =
        given("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let is_good =
        is_now && is_its_own && is_for_us && is_named && has_type && header["alg"] == "PS256";
    if is_good { Ok(()) } else { Err(refused()) }
}

fn check_client(form: &Parameters) -> Result<(), Refusal> {
    let given = |name: &str| form.get(name).map_or("", String::as_str);
    if given("client_id") == PUBLIC_CLIENT_ID {
        let words = "AADSTS700025: Client is public so neither 'client_assertion' nor 'client_secret' should be presented.";
        let is_public = !form.contains_key("client_secret");
        return is_public.then_some(()).ok_or_else(|| refusal(401, "invalid_client", words));
    }
    if given("client_id") != OAUTH_CLIENT_ID {
        return Err(unknown_client());
    }
    if given("client_secret") != OAUTH_CLIENT_SECRET {
        return Err(refusal(401, "invalid_client", "Unauthorized"));
    }
    Ok(())
}

/// The claims of a service account's assertion (docs/gmail.md section 4.5).
#[derive(Deserialize)]
struct Claims {
    iss: String,
    #[serde(default)]
    sub: String,
    scope: String,
    aud: String,
    iat: i64,
    exp: i64,
}

/// RFC 7523 section 3.
fn asserted(form: &Parameters, shared: &Shared, now: Moment) -> Result<(Subject, Scope), Refusal> {
    let invalid = |description: &str| refusal(400, "invalid_grant", description);
    let assertion = form.get("assertion").map_or("", String::as_str);
    let claims: Claims = read(assertion, shared.options.service_account_key.as_deref())
        .ok_or_else(|| invalid("Invalid JWT Signature."))?;
    let seconds = now.wall.0.div_euclid(1000);
    let long = claims.exp.saturating_sub(claims.iat) > ASSERTION_LIFETIME_MAX;
    if long || claims.exp <= seconds || claims.iat > seconds + CLOCK_SKEW_MAX {
        return Err(invalid(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. \
             Check your iat and exp values in the JWT claim.",
        ));
    }
    if !claims.aud.ends_with("/token") {
        return Err(invalid("Invalid JWT: Failed audience check."));
    }
    let scope = Scope::asked(&claims.scope).ok_or_else(|| {
        refusal(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    })?;
    if claims.sub.is_empty() || claims.iss.split('@').next() == Some("undelegated") {
        return Err(undelegated());
    }
    Ok((Some(claims.sub), scope))
}

/// Takes a service account's assertion apart.
fn read(assertion: &str, key: Option<&[u8]>) -> Option<Claims> {
    let (header, claims) = opened(assertion, SignatureScheme::RSA_PKCS1_SHA256, key)?;
    (header["alg"] == "RS256").then(|| serde_json::from_value(claims).ok())?
}

/// Header and claims of an assertion; without a key of its signer, any signature will do.
fn opened(assertion: &str, scheme: SignatureScheme, key: Option<&[u8]>) -> Option<(Value, Value)> {
    let (signed, signature) = assertion.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
    let signature = decode(signature)?;
    let signed_by = |key| is_signed(scheme, signed.as_bytes(), &signature, key).is_some();
    if signature.is_empty() || !key.is_none_or(signed_by) {
        return None;
    }
    Some((header, serde_json::from_slice(&decode(claims)?).ok()?))
}

/// Whether a signature holds (RFC 7518 sections 3.3 and 3.5).
fn is_signed(scheme: SignatureScheme, signed: &[u8], signature: &[u8], key: &[u8]) -> Option<()> {
    let algorithms = ring::default_provider().signature_verification_algorithms;
    let (_, variants) = algorithms.mapping.iter().find(|(known, _)| *known == scheme)?;
    variants.first()?.verify_signature(key, signed, signature).ok()
}

/// The hash of the TLS library: the only SHA-256 that is linked anyway.
fn sha256(octets: &[u8]) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13();
    suite.map(|suite| suite.common.hash_provider.hash(octets).as_ref().to_vec()).unwrap_or_default()
}

pub(super) fn refusal(status: u16, error: &str, description: &str) -> Refusal {
    (status, json!({ "error": error, "error_description": description }))
}

fn revoked() -> Refusal {
    refusal(400, "invalid_grant", "Token has been expired or revoked.")
}

fn unknown_client() -> Refusal {
    refusal(401, "invalid_client", "The OAuth client was not found.")
}

fn undelegated() -> Refusal {
    refusal(
        401,
        "unauthorized_client",
        "Client is unauthorized to retrieve access tokens using this method, or client not authorized \
         for any of the scopes requested.",
    )
}

/// Characters of a code verifier (RFC 7636 section 4.1).
const VERIFIER_LENGTHS: std::ops::RangeInclusive<usize> = 43..=128;
/// Seconds between `iat` and `exp`.
const ASSERTION_LIFETIME_MAX: i64 = 3600;
/// Seconds that `iat` may lie in the future.
const CLOCK_SKEW_MAX: i64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    const RS256: SignatureScheme = SignatureScheme::RSA_PKCS1_SHA256;

    /// RFC 7515 appendix A.2.
    const SIGNED: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

    #[test]
    fn a_signature_holds_for_the_octets_and_the_key_that_made_it() {
        let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        // SEQUENCE of the modulus, with the zero octet of a positive INTEGER, and the exponent 65537.
        let mut key = vec![0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];
        key.extend(decode(MODULUS));
        key.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
        let signature = decode(SIGNATURE);
        assert!(is_signed(RS256, SIGNED.as_bytes(), &signature, &key).is_some());
        assert!(is_signed(RS256, &SIGNED.as_bytes()[1..], &signature, &key).is_none());
        assert!(is_signed(RS256, SIGNED.as_bytes(), &signature[1..], &key).is_none());
        key[20] ^= 1;
        assert!(is_signed(RS256, SIGNED.as_bytes(), &signature, &key).is_none());
    }
}
