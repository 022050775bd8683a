//! The requests to the endpoints, and what their answers mean.
//!
//! Rule: a refresh token is dead only after HTTP 400 with `invalid_grant`; trouble of the network or of the server
//! says nothing about it (docs/gmail.md section 4.3). Secrets are exposed here to go into a request, and an answer is
//! never repeated but for its error's words. Must not know files.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{
    client_file::Client,
    error::{TokenError, shown},
    issuer::Issuer,
    microsoft,
    options::{APPLICATION_SCOPE, Options},
    protocol::{self, Authorization, DeviceResponse, ErrorResponse, Reply, TokenResponse},
    refusal::{Exchanged, Refusal, refused, trouble},
};
use crate::{
    clock::{Clock, Timestamp},
    delivery::https::{Answer, Endpoint, HttpError, Https},
    secret::Secret,
};

/// How long an access token is used when its response does not say (RFC 6749 section 5.1 only recommends it).
const LIFETIME_DEFAULT: Duration = Duration::from_secs(3_600);
/// The longest that is believed.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long before its end an access token is replaced, so that none ends within a transaction.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// What an endpoint has given.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    /// For the login.
    pub(crate) access_token: Secret,
    /// When it is replaced.
    pub(crate) use_until: Timestamp,
    /// When it ends.
    pub(crate) expires_at: Timestamp,
    /// A new refresh token, which replaces the old one.
    pub(crate) refresh_token: Option<Secret>,
    /// When the refresh token ends, if the endpoint says so.
    pub(crate) refresh_token_expires_at: Option<Timestamp>,
    /// What is allowed, if the endpoint says so.
    pub(crate) scope: Option<String>,
}

/// What came of asking whether a code was entered.
#[derive(Clone, Debug)]
pub(super) enum Polled<G> {
    Granted(G),
    /// Not yet.
    Pending,
    /// Not yet, and it is asked too often.
    SlowDown,
}

/// Asks the endpoints.
pub(crate) struct Exchange {
    options: Options,
    http: Https,
    clock: Arc<dyn Clock>,
}

impl Exchange {
    /// `ca_file` holds one more trusted root.
    #[must_use]
    pub(crate) fn new(options: Options, ca_file: Option<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        let http = Https::new(ca_file, options.limits.clone());
        Self { options, http, clock }
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn issuer(&self) -> Issuer {
        self.options.issuer
    }

    pub(super) fn token_endpoint(&self) -> &Endpoint {
        &self.options.endpoints.token
    }

    /// Where the browser goes (RFC 6749 section 4.1.1, RFC 7636, RFC 8252 section 7.3).
    pub(super) fn authorization(
        &self,
        client: &Client,
        redirect: &str,
        username: &str,
    ) -> Result<Authorization, TokenError> {
        let endpoint = self.options.endpoints.authorization.url();
        let asked = (username, self.issuer().asked());
        Authorization::new(endpoint, &client.id, redirect, asked).map_err(|_| {
            TokenError::local(
                "the system gives no random numbers",
                format!("Look at the kernel's log; then run `{}` again.", self.issuer().command()),
            )
        })
    }

    /// Exchanges the code that a consent has brought (RFC 6749 section 4.1.3).
    pub(super) async fn redeem(
        &self,
        client: &Client,
        code: &Secret,
        verifier: &Secret,
        redirect: &str,
    ) -> Result<Granted, TokenError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("code_verifier", verifier.expose()),
            ("redirect_uri", redirect),
        ];
        form.extend(identity(client));
        let secrets = [Some(code), client.secret.as_ref()];
        self.exchange(&form, Exchanged::Code, &secrets).await
    }

    /// Gets a code that is entered on another device (RFC 8628 section 3.1).
    pub(super) async fn device_code(&self, client: &Client) -> Result<DeviceResponse, TokenError> {
        let mut form = vec![("scope", self.issuer().asked())];
        form.extend(identity(client));
        let endpoint = &self.options.endpoints.authorization;
        match self.ask(endpoint, "oauth_authorization_endpoint", &form).await? {
            Reply::Granted(response) => Ok(response),
            Reply::Refused(response) => {
                Err(self.refused(&response, Exchanged::Device, &[client.secret.as_ref()]))
            }
            Reply::Unreadable => Err(unreadable(endpoint)),
        }
    }

    /// Asks whether the code was entered (RFC 8628 section 3.4).
    pub(super) async fn poll(
        &self,
        client: &Client,
        device_code: &Secret,
    ) -> Result<Polled<Granted>, TokenError> {
        const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
        let mut form = vec![("grant_type", DEVICE_CODE), ("device_code", device_code.expose())];
        form.extend(identity(client));
        let endpoint = &self.options.endpoints.token;
        match self.ask(endpoint, "oauth_token_endpoint", &form).await? {
            Reply::Granted(response) => Ok(Polled::Granted(self.granted(response))),
            Reply::Refused(response) => match response.error.as_str() {
                "authorization_pending" => Ok(Polled::Pending),
                "slow_down" => Ok(Polled::SlowDown),
                _ => {
                    let secrets = [Some(device_code), client.secret.as_ref()];
                    Err(self.refused(&response, Exchanged::Device, &secrets))
                }
            },
            Reply::Unreadable => Err(unreadable(endpoint)),
        }
    }

    /// Exchanges a refresh token for an access token (RFC 6749 section 6).
    pub(crate) async fn refresh(
        &self,
        client: &Client,
        refresh_token: &Secret,
    ) -> Result<Granted, TokenError> {
        let mut form =
            vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())];
        if self.issuer() == Issuer::Microsoft {
            form.push(("scope", self.issuer().asked()));
        }
        form.extend(identity(client));
        let secrets = [Some(refresh_token), client.secret.as_ref()];
        self.exchange(&form, Exchanged::RefreshToken, &secrets).await
    }

    /// Exchanges a service account's assertion (RFC 7523 section 2.1).
    pub(super) async fn assert(&self, assertion: &Secret) -> Result<Granted, TokenError> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion.expose()),
        ];
        self.exchange(&form, Exchanged::Assertion, &[Some(assertion)]).await
    }

    /// Exchanges an application's own secret, or an assertion in its place (RFC 6749 section 4.4, RFC 7523 section 2.2).
    pub(super) async fn authorize_application(
        &self,
        client: &Client,
        assertion: Option<&Secret>,
    ) -> Result<Granted, TokenError> {
        const ASSERTED: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let mut form = vec![("grant_type", "client_credentials"), ("scope", APPLICATION_SCOPE)];
        form.extend(identity(client));
        if let Some(assertion) = assertion {
            form.push(("client_assertion_type", ASSERTED));
            form.push(("client_assertion", assertion.expose()));
        }
        self.exchange(&form, Exchanged::Application, &[client.secret.as_ref(), assertion]).await
    }

    /// Takes a token back (RFC 7009). One that is unknown there is as good as taken back. `None` where nobody takes it.
    pub(crate) async fn revoke(&self, token: &Secret) -> Option<Result<(), TokenError>> {
        let endpoint = self.options.endpoints.revocation.as_ref()?;
        Some(self.revoke_at(endpoint, token).await)
    }

    async fn revoke_at(&self, endpoint: &Endpoint, token: &Secret) -> Result<(), TokenError> {
        let answer = self.http.post_form(endpoint, &[("token", token.expose())]).await;
        let error = match answer {
            Ok(Answer { status: 200 | 400, .. }) => return Ok(()),
            Ok(Answer { status, .. }) => HttpError::Elsewhere(status),
            Err(error) => error,
        };
        Err(trouble(&error, endpoint, "oauth_revocation_endpoint", self.issuer()))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        key: &str,
        form: &[(&str, &str)],
    ) -> Result<Reply<T>, TokenError> {
        let answer = self.http.post_form(endpoint, form).await;
        let answer = answer.map_err(|error| trouble(&error, endpoint, key, self.issuer()))?;
        Ok(protocol::read(answer.status, answer.content_type.as_deref(), &answer.body))
    }

    async fn exchange(
        &self,
        form: &[(&str, &str)],
        exchanged: Exchanged,
        secrets: &[Option<&Secret>],
    ) -> Result<Granted, TokenError> {
        let endpoint = &self.options.endpoints.token;
        match self.ask(endpoint, "oauth_token_endpoint", form).await? {
            Reply::Granted(response) => Ok(self.granted(response)),
            Reply::Refused(response) => Err(self.refused(&response, exchanged, secrets)),
            Reply::Unreadable => Err(unreadable(endpoint)),
        }
    }

    fn refused(
        &self,
        response: &ErrorResponse,
        exchanged: Exchanged,
        secrets: &[Option<&Secret>],
    ) -> TokenError {
        let secrets: Vec<&str> = secrets.iter().flatten().map(|secret| secret.expose()).collect();
        let words = response.error_description.as_deref().unwrap_or_default();
        let words = match self.issuer() {
            Issuer::Google | Issuer::GoogleApi => words,
            Issuer::Microsoft => microsoft::without_trace(words),
        };
        let refusal = Refusal {
            kind: &response.error,
            code: shown(&response.error, &secrets),
            words: shown(words, &secrets),
            seen: self.http.seen(),
            now: self.clock.wall(),
        };
        refused(&refusal, exchanged, self.issuer())
    }

    fn granted(&self, response: TokenResponse) -> Granted {
        let now = self.clock.wall();
        let lifetime =
            response.expires_in.map_or(LIFETIME_DEFAULT, Duration::from_secs).min(LIFETIME_MAX);
        let refresh_lifetime = response.refresh_token_expires_in.map(Duration::from_secs);
        Granted {
            access_token: response.access_token,
            // A token with a very short life is used for half of it, else every message would want its own.
            use_until: now.after(lifetime.saturating_sub(MARGIN).max(lifetime / 2)),
            expires_at: now.after(lifetime),
            refresh_token: response.refresh_token,
            refresh_token_expires_at: refresh_lifetime.map(|lifetime| now.after(lifetime)),
            scope: response.scope,
        }
    }
}

fn unreadable(endpoint: &Endpoint) -> TokenError {
    let host = endpoint.host();
    TokenError::temporary(format!("{host} gave an answer that is not a token response"))
}

/// Who asks, in the form, as Google's own libraries send it (RFC 6749 section 2.3.1).
fn identity(client: &Client) -> impl Iterator<Item = (&'static str, &str)> {
    let secret = client.secret.as_ref().map(|secret| ("client_secret", secret.expose()));
    [("client_id", client.id.as_str())].into_iter().chain(secret)
}

impl fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Exchange")
            .field("endpoints", &self.options.endpoints)
            .finish_non_exhaustive()
    }
}
