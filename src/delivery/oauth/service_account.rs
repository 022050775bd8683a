//! The assertion of a service account: a JSON Web Token signed with its key (RFC 7523, docs/gmail.md section 4.5).
//!
//! Rule: the key leaves its file for one signature and is wiped; the assertion is a secret as well, for it is worth
//! an access token. Blocks. Must not know who takes the assertion.

use std::path::Path;

use ring::signature::RSA_PKCS1_SHA256;
use serde::Deserialize;
use serde_json::json;

use super::{client_file::read_secret, error::TokenError, web_token};
use crate::{clock::Timestamp, secret::Secret};

/// Seconds for which an assertion is valid: the most that Google takes, so that a slow clock does no harm.
const LIFETIME_SECONDS: i64 = 3_600;
const WHAT: &str = "the service account's key file";

/// Google's JSON key.
#[derive(Deserialize)]
struct KeyJson {
    client_email: String,
    client_id: Option<String>,
    private_key: Secret,
    private_key_id: Option<String>,
}

/// What may be said of a service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceAccount {
    /// Its address.
    pub(crate) email: String,
    /// What the Workspace administrator must allow.
    pub(crate) client_id: Option<String>,
}

/// Reads who it is. Blocks.
pub(crate) fn describe(key_file: &Path) -> Result<ServiceAccount, TokenError> {
    let key = read(key_file)?;
    Ok(ServiceAccount { email: key.client_email, client_id: key.client_id })
}

/// An assertion that asks `audience` for an access token to the mailbox `username` that allows `scope`. Blocks.
pub(super) fn assertion(
    key_file: &Path,
    username: &str,
    (audience, scope): (&str, &str),
    now: Timestamp,
) -> Result<Secret, TokenError> {
    let key = read(key_file)?;
    let issued = now.0.div_euclid(1_000);
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": key.private_key_id });
    let claims = json!({
        "iss": key.client_email,
        "sub": username,
        "scope": scope,
        "aud": audience,
        "iat": issued,
        "exp": issued + LIFETIME_SECONDS,
    });
    let pem = key.private_key.expose().as_bytes();
    web_token::signed(pem, &RSA_PKCS1_SHA256, &header, &claims).ok_or_else(|| unusable(key_file))
}

/// The key itself, for a seal. Blocks.
pub(super) fn private_key(key_file: &Path) -> Result<Secret, TokenError> {
    Ok(read(key_file)?.private_key)
}

fn read(key_file: &Path) -> Result<KeyJson, TokenError> {
    let text = read_secret(key_file, WHAT)?;
    serde_json::from_str(&text).map_err(|_| unusable(key_file))
}

fn unusable(key_file: &Path) -> TokenError {
    TokenError::local(
        format!("{WHAT} {} holds no usable key", key_file.display()),
        "In https://console.cloud.google.com/iam-admin/serviceaccounts create a key of the type JSON for the service \
         account, and store the download there.",
    )
}
