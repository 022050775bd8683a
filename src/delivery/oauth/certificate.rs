//! The assertion of an application that has a certificate in the place of a secret (RFC 7523 section 2.2): a JSON Web Token
//! signed with the certificate's key, as Microsoft wants it.
//!
//! Rule: the key leaves its file for one signature and is wiped; the assertion is a secret as well. Blocks. Must not know who
//! takes the assertion.

use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
    signature::RSA_PSS_SHA256,
};
use serde_json::json;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{client_file::read_secret, error::TokenError, web_token};
use crate::{clock::Timestamp, secret::Secret};

/// Seconds for which an assertion is valid; the most that Microsoft recommends are ten minutes.
const LIFETIME_SECONDS: i64 = 600;
/// Seconds that this clock may be ahead.
const CLOCK_AHEAD_SECONDS: i64 = 60;
/// Random octets that make an assertion unlike any other.
const ID_OCTETS: usize = 16;
const WHAT: &str = "the application's certificate file";

/// An assertion that `client_id` asks `audience` for a token. Blocks.
pub(super) fn assertion(
    file: &Path,
    client_id: &str,
    audience: &str,
    now: Timestamp,
) -> Result<Secret, TokenError> {
    let text = read_secret(file, WHAT)?;
    signed(text.as_bytes(), client_id, audience, now).ok_or_else(|| {
        TokenError::local(
            format!("{WHAT} {} holds no certificate with its RSA key", file.display()),
            "Store both in it as PEM: the certificate, and its key as \"BEGIN PRIVATE KEY\" (docs/microsoft.md has the command).",
        )
    })
}

fn signed(pem: &[u8], client_id: &str, audience: &str, now: Timestamp) -> Option<Secret> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    let mut id = [0; ID_OCTETS];
    SystemRandom::new().fill(&mut id).ok()?;
    let fingerprint = BASE64URL_NOPAD.encode(digest(&SHA256, &certificate).as_ref());
    let issued = now.0.div_euclid(1_000);
    let header = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": fingerprint });
    let claims = json!({
        "aud": audience,
        "iss": client_id,
        "sub": client_id,
        "jti": BASE64URL_NOPAD.encode(&id),
        "iat": issued,
        "nbf": issued - CLOCK_AHEAD_SECONDS,
        "exp": issued + LIFETIME_SECONDS,
    });
    web_token::signed(pem, &RSA_PSS_SHA256, &header, &claims)
}
