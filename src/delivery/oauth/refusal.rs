//! The meaning of an endpoint's refusal, and what a person does about it.
//!
//! Rule: pure. A refresh token is dead only after HTTP 400 with `invalid_grant`, and a service account has no token
//! that could be revoked (docs/gmail.md sections 4.3 and 4.5). Must not know requests.

use std::time::Duration;

use super::{
    error::{Kind, TokenError},
    issuer::Issuer,
    microsoft::{self, COMMAND},
};
use crate::{
    clock::Timestamp,
    delivery::https::{Endpoint, HttpError, Seen},
};

/// A clock that is further off than this is named as the reason of a refused assertion.
const CLOCK_ERROR_MAX: Duration = Duration::from_secs(4 * 60);

/// What is exchanged decides what a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchanged {
    Code,
    Device,
    RefreshToken,
    Assertion,
    Application,
}

/// No answer that could be about the request.
pub(super) fn trouble(
    error: &HttpError,
    endpoint: &Endpoint,
    key: &str,
    issuer: Issuer,
) -> TokenError {
    let reason = format!("{}: {error}", endpoint.host());
    match error {
        HttpError::Network(_) | HttpError::Slow(_) | HttpError::Later(_) => {
            TokenError::temporary(reason)
        }
        HttpError::Elsewhere(_) => {
            let remedy = format!(
                "Correct upstream.{key}, or remove it for {}'s; then run `pillarbox resume`.",
                issuer.name()
            );
            TokenError::new(Kind::Refused, reason, remedy)
        }
        HttpError::Certificate(_) => TokenError::new(
            Kind::Refused,
            reason,
            "Check the system's clock and its CA certificates (package ca-certificates), or upstream.ca_file if a \
             proxy opens TLS connections; then run `pillarbox resume`.",
        ),
        HttpError::Configuration(_) => {
            TokenError::new(Kind::Refused, reason, "Correct it; then run `pillarbox resume`.")
        }
    }
}

/// The endpoint has said no.
pub(super) struct Refusal<'a> {
    /// Its error code (RFC 6749 section 5.2), as it was sent.
    pub(super) kind: &'a str,
    /// The same as it may be shown.
    pub(super) code: String,
    pub(super) words: String,
    pub(super) seen: Seen,
    pub(super) now: Timestamp,
}

impl Refusal<'_> {
    fn reason(&self, what: &str) -> String {
        match self.words.as_str() {
            "" => format!("{what}: {}", self.code),
            words => format!("{what}: {}: {words}", self.code),
        }
    }
}

pub(super) fn refused(refusal: &Refusal<'_>, exchanged: Exchanged, issuer: Issuer) -> TokenError {
    let reason = refusal.reason(match exchanged {
        Exchanged::Code | Exchanged::Device => "the consent was refused",
        Exchanged::RefreshToken => "the refresh token was refused",
        Exchanged::Assertion => "the service account was refused",
        Exchanged::Application => "the application was refused",
    });
    let remedy = match refusal.kind {
        "invalid_grant" if refusal.seen.status != 400 => return TokenError::temporary(reason),
        "temporarily_unavailable" | "server_error" => return TokenError::temporary(reason),
        _ if issuer == Issuer::Microsoft || exchanged == Exchanged::Application => {
            let (kind, remedy) = match exchanged {
                Exchanged::Application => microsoft::of_application(&refusal.words),
                Exchanged::Device => microsoft::of_device(refusal.kind, &refusal.words),
                _ => microsoft::of_owner(refusal.kind, &refusal.words),
            };
            return TokenError::new(kind, reason, remedy.replace(COMMAND, issuer.command()));
        }
        "invalid_grant" => return dead(refusal, reason, exchanged, issuer.command()),
        kind if exchanged == Exchanged::Assertion => of_assertion(kind).to_owned(),
        "invalid_client" => {
            "The client id and its secret do not belong together, or the client was deleted: compare upstream.oauth_client_* \
             with https://console.cloud.google.com/auth/clients, then run `pillarbox resume`."
                .to_owned()
        }
        "unauthorized_client" => format!(
            "The refresh token belongs to another client: run `{}` with the configured one.",
            issuer.command()
        ),
        "invalid_scope" => format!(
            "The client may not ask for https://mail.google.com/: add it to the scopes of its consent screen \
             (https://console.cloud.google.com/auth/scopes), then run `{}`.",
            issuer.command()
        ),
        _ => {
            "Check upstream.oauth_client_* (a desktop client has a secret, too) and upstream.oauth_token_endpoint; then \
             run `pillarbox resume`."
                .to_owned()
        }
    };
    TokenError::new(Kind::Refused, reason, remedy)
}

fn of_assertion(kind: &str) -> &'static str {
    match kind {
        "unauthorized_client" | "invalid_scope" => DELEGATION,
        _ => {
            "Check upstream.service_account_file and upstream.username; then run `pillarbox resume`."
        }
    }
}

const DELEGATION: &str = "A Workspace administrator must allow it: admin.google.com, Security, API controls, Domain-wide \
                          delegation: add the service account's client id (\"client_id\" in its key file) with the scope \
                          https://mail.google.com/. It takes effect within minutes, sometimes a day. Then run \
                          `pillarbox resume`.";

/// HTTP 400 `invalid_grant`: what was exchanged is not, or no longer, valid.
fn dead(refusal: &Refusal<'_>, reason: String, exchanged: Exchanged, command: &str) -> TokenError {
    let words = refusal.words.to_ascii_lowercase();
    let remedy = match exchanged {
        Exchanged::Assertion => return refused_assertion(refusal, reason, &words),
        Exchanged::Code | Exchanged::Device => format!(
            "The code was used already, or is too old: run `{command}` again and finish within minutes."
        ),
        _ if words.contains("rapt") => format!(
            "The Workspace's session control wants a new login every few hours: have the administrator exempt this \
             client (admin.google.com, Security, Google Cloud session control), then run `{command}`."
        ),
        Exchanged::RefreshToken | Exchanged::Application => format!(
            "Run `{command}`. The token was revoked, the account's password was changed, or the consent \
             screen is in \"Testing\", which ends tokens after 7 days: set its publishing status to \"In production\" \
             (https://console.cloud.google.com/auth/audience) first."
        ),
    };
    TokenError::new(Kind::Dead, reason, remedy)
}

/// `invalid_grant` for an assertion never means a revoked token: there is none.
fn refused_assertion(refusal: &Refusal<'_>, reason: String, words: &str) -> TokenError {
    let skew = refusal.seen.date.map(|date| date.since(refusal.now).max(refusal.now.since(date)));
    let skewed = skew.is_some_and(|skew| skew > CLOCK_ERROR_MAX);
    if skewed || words.contains("timeframe") || words.contains("iat") {
        let by = match skew.filter(|_| skewed) {
            Some(skew) => format!("this host's clock is {} min off", skew.as_secs() / 60),
            None => "this host's clock seems to be off".to_owned(),
        };
        return TokenError::new(
            Kind::Temporary,
            format!("{by} ({reason})"),
            "Set the clock, best by NTP (timedatectl set-ntp true); the relay tries again by itself.",
        );
    }
    let remedy = if words.contains("signature") {
        "The key was deleted or disabled: create a new key for the service account \
         (https://console.cloud.google.com/iam-admin/serviceaccounts), store it as upstream.service_account_file, \
         then run `pillarbox resume`."
    } else {
        "Check that upstream.username is an existing mailbox of the domain, and that the service account exists; \
         then run `pillarbox resume`."
    };
    TokenError::new(Kind::Refused, reason, remedy)
}
