//! What is asked of the endpoints, and what their answers mean.
//!
//! Rule: a refresh token is dead only after HTTP 400 with `invalid_grant`; trouble of the network or of the server
//! says nothing about it (docs/gmail.md section 4.3). Secrets are exposed here to go into a request, and an answer is
//! never repeated but for its error's words. Must not know files.

use std::{borrow::Cow, fmt, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, Client as ProtocolClient, ClientId,
    ClientSecret, CsrfToken, EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest,
    HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken,
    RequestTokenError, Scope, StandardRevocableToken, StandardTokenResponse, TokenResponse as _,
    TokenUrl,
    basic::{
        BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
        BasicTokenType,
    },
    http::{Method, Request, header},
    url::{Url, form_urlencoded},
};
use serde::{Deserialize, Serialize};

use super::{
    client_file::Client,
    error::{TokenError, shown},
    options::{Options, SCOPE},
    refusal::{Exchanged, Refusal, refused, trouble},
};
use crate::{
    clock::{Clock, Timestamp},
    delivery::{
        endpoint::Endpoint,
        https::{HttpError, Https},
    },
    secret::Secret,
};

/// How long an access token is used when its response does not say (RFC 6749 section 5.1 only recommends it).
const LIFETIME_DEFAULT: Duration = Duration::from_secs(3_600);
/// The longest that is believed.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long before its end an access token is replaced, so that none ends within a transaction.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// What Google adds to a token response.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Extra {
    refresh_token_expires_in: Option<u64>,
}

impl ExtraTokenFields for Extra {}

type Response = StandardTokenResponse<Extra, BasicTokenType>;
type Protocol<Authorization, Token> = ProtocolClient<
    BasicErrorResponse,
    Response,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    Authorization,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    Token,
>;
type Failure = RequestTokenError<HttpError, BasicErrorResponse>;

/// What an endpoint has given.
#[derive(Clone, Debug)]
pub struct Granted {
    /// For the login.
    pub access_token: Secret,
    /// When it is replaced.
    pub use_until: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// A new refresh token, which replaces the old one.
    pub refresh_token: Option<Secret>,
    /// When the refresh token ends, if the endpoint says so.
    pub refresh_token_expires_at: Option<Timestamp>,
    /// What is allowed, if the endpoint says so.
    pub scope: Option<String>,
}

/// Asks the endpoints.
pub struct Exchange {
    options: Options,
    http: Https,
    clock: Arc<dyn Clock>,
}

/// An authorization request: where the browser goes, and what proves that its answer is ours.
pub(super) struct Authorization {
    pub(super) address: Url,
    pub(super) state: CsrfToken,
    pub(super) verifier: PkceCodeVerifier,
}

impl Exchange {
    /// `ca_file` holds one more trusted root.
    #[must_use]
    pub fn new(options: Options, ca_file: Option<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        let http = Https::new(ca_file, options.limits.clone());
        Self { options, http, clock }
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(super) fn token_endpoint(&self) -> &Endpoint {
        &self.options.endpoints.token
    }

    fn protocol(&self, client: &Client) -> Protocol<EndpointSet, EndpointSet> {
        let endpoints = &self.options.endpoints;
        let protocol = ProtocolClient::new(ClientId::new(client.id.clone()))
            .set_auth_uri(AuthUrl::from_url(endpoints.authorization.url().clone()))
            .set_token_uri(TokenUrl::from_url(endpoints.token.url().clone()))
            // As Google's own libraries send it.
            .set_auth_type(AuthType::RequestBody);
        match &client.secret {
            Some(secret) => {
                protocol.set_client_secret(ClientSecret::new(secret.expose().to_owned()))
            }
            None => protocol,
        }
    }

    /// Where the browser goes (RFC 6749 section 4.1.1, RFC 7636, RFC 8252 section 7.3).
    pub(super) fn authorization(
        &self,
        client: &Client,
        redirect: &RedirectUrl,
        username: &str,
    ) -> Authorization {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (address, state) = self
            .protocol(client)
            .authorize_url(CsrfToken::new_random)
            .add_scope(Scope::new(SCOPE.to_owned()))
            .set_pkce_challenge(challenge)
            .set_redirect_uri(Cow::Borrowed(redirect))
            // Without these two Google gives no refresh token, or only at the first consent.
            .add_extra_param("access_type", "offline")
            .add_extra_param("prompt", "consent")
            .add_extra_param("login_hint", username)
            .url();
        Authorization { address, state, verifier }
    }

    /// Exchanges the code that a consent has brought.
    pub(super) async fn redeem(
        &self,
        client: &Client,
        code: &Secret,
        verifier: PkceCodeVerifier,
        redirect: &RedirectUrl,
    ) -> Result<Granted, TokenError> {
        let protocol = self.protocol(client);
        let response = protocol
            .exchange_code(AuthorizationCode::new(code.expose().to_owned()))
            .set_pkce_verifier(verifier)
            .set_redirect_uri(Cow::Borrowed(redirect))
            .request_async(&self.http)
            .await;
        self.read(response, Exchanged::Code, &[Some(code), client.secret.as_ref()])
    }

    /// Exchanges a refresh token for an access token.
    pub async fn refresh(
        &self,
        client: &Client,
        refresh_token: &Secret,
    ) -> Result<Granted, TokenError> {
        let protocol = self.protocol(client);
        let token = RefreshToken::new(refresh_token.expose().to_owned());
        let response = protocol.exchange_refresh_token(&token).request_async(&self.http).await;
        self.read(response, Exchanged::RefreshToken, &[Some(refresh_token), client.secret.as_ref()])
    }

    /// Exchanges a service account's assertion (RFC 7523 section 2.1).
    pub(super) async fn assert(&self, assertion: &Secret) -> Result<Granted, TokenError> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion.expose()),
        ];
        let response = match self.post(&self.options.endpoints.token, &form).await {
            Ok((200, body)) => serde_json::from_slice::<Response>(&body).map_err(|_| unreadable()),
            Ok((_, body)) => Err(serde_json::from_slice::<BasicErrorResponse>(&body)
                .map_or_else(|_| unreadable(), RequestTokenError::ServerResponse)),
            Err(error) => Err(RequestTokenError::Request(error)),
        };
        self.read(response, Exchanged::Assertion, &[Some(assertion)])
    }

    /// Takes a token back (RFC 7009). One that is unknown there is as good as taken back.
    pub async fn revoke(&self, token: &Secret) -> Result<(), TokenError> {
        let endpoint = &self.options.endpoints.revocation;
        match self.post(endpoint, &[("token", token.expose())]).await {
            Ok((200 | 400, _)) => Ok(()),
            Ok((status, _)) => {
                Err(trouble(&HttpError::Elsewhere(status), endpoint, "oauth_revocation_endpoint"))
            }
            Err(error) => Err(trouble(&error, endpoint, "oauth_revocation_endpoint")),
        }
    }

    async fn post(
        &self,
        endpoint: &Endpoint,
        form: &[(&str, &str)],
    ) -> Result<(u16, Vec<u8>), HttpError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri(endpoint.url().as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(body.into_bytes())
            .map_err(|error| HttpError::Configuration(error.to_string()))?;
        let response = self.http.send(request).await?;
        Ok((response.status().as_u16(), response.into_body()))
    }

    fn read(
        &self,
        response: Result<Response, Failure>,
        exchanged: Exchanged,
        secrets: &[Option<&Secret>],
    ) -> Result<Granted, TokenError> {
        let now = self.clock.wall();
        let token = &self.options.endpoints.token;
        let response = response.map_err(|failure| match failure {
            RequestTokenError::ServerResponse(error) => {
                let secrets: Vec<&str> =
                    secrets.iter().flatten().map(|secret| secret.expose()).collect();
                let words = error
                    .error_description()
                    .map(|words| shown(words, &secrets))
                    .unwrap_or_default();
                let code = shown(error.error().as_ref(), &secrets);
                refused(
                    &Refusal { code, words, kind: error.error(), seen: self.http.seen(), now },
                    exchanged,
                )
            }
            RequestTokenError::Request(error) => trouble(&error, token, "oauth_token_endpoint"),
            // The words of these two may repeat the answer, and with it a token.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => TokenError::temporary(
                format!("{} gave an answer that is no token response", token.host()),
            ),
        })?;
        let lifetime = response.expires_in().unwrap_or(LIFETIME_DEFAULT).min(LIFETIME_MAX);
        let extra = response.extra_fields();
        let refresh_lifetime = extra.refresh_token_expires_in.map(Duration::from_secs);
        let scopes = response
            .scopes()
            .map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>());
        Ok(Granted {
            access_token: Secret::new(response.access_token().secret().clone()),
            // A token with a very short life is used for half of it, else every message would want its own.
            use_until: now.after(lifetime.saturating_sub(MARGIN).max(lifetime / 2)),
            expires_at: now.after(lifetime),
            refresh_token: response
                .refresh_token()
                .map(|token| Secret::new(token.secret().clone())),
            refresh_token_expires_at: refresh_lifetime.map(|lifetime| now.after(lifetime)),
            scope: scopes.map(|scopes| scopes.join(" ")),
        })
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Exchange")
            .field("endpoints", &self.options.endpoints)
            .finish_non_exhaustive()
    }
}

/// For the protocol's requests.
impl<'c> AsyncHttpClient<'c> for Https {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

fn unreadable() -> Failure {
    RequestTokenError::Other(String::new())
}
