//! The keeper of one account's access token: hands it out while it is good, and has the next one fetched.
//!
//! Rule: at most one request is under way, whoever asks, and it ends even when nobody waits for it any more, because
//! its answer may hold the only copy of a new refresh token. A refresh token stays until a person replaces it.
//! Must not know what the token is used for.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    task::{JoinSet, spawn_blocking},
};
use tracing::Instrument as _;

use super::{
    certificate,
    client_file::{self, Client},
    error::TokenError,
    exchange::{Exchange, Granted},
    issuer::Issuer,
    of_all::{Common, Had, OfAll},
    options::{ClientSource, Grant, Options},
    seal::Seal,
    service_account,
    token_file::{Stored, StoredAccess, TokenFile},
};
use crate::{
    clock::{Clock, Timestamp},
    fleet::Vault,
    secret::Secret,
};

/// From here on before its end, a refresh token's end is announced in the log.
pub(crate) const WARN_BEFORE: Duration = Duration::from_secs(2 * 24 * 3_600);
/// How long a refresh token may lie unused: Google ends one after six months (docs/gmail.md section 4.3), and nobody would
/// be told before the first mail after them.
pub const KEEP_ALIVE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Between two looks at a token that nobody asks for.
pub const LOOK_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// Between two announcements.
const WARN_EVERY: Duration = Duration::from_secs(12 * 3_600);

/// A token for a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// The token.
    pub(crate) secret: Secret,
    /// When a connection that was opened with it is renewed: five minutes before the token's end.
    pub(crate) use_until: Timestamp,
}

impl From<&OfAll> for AccessToken {
    fn from(token: &OfAll) -> Self {
        Self { secret: token.secret.clone(), use_until: token.use_until }
    }
}

/// The tokens of one account.
#[derive(Debug)]
pub struct Tokens {
    source: Arc<Source>,
    /// Where other hosts use the account's token as well.
    common: Option<Arc<Common>>,
    state: Mutex<State>,
}

/// How the next token is had.
#[derive(Debug)]
struct Source {
    username: String,
    grant: Grant,
    issuer: Issuer,
    exchange: Exchange,
}

#[derive(Debug, Default)]
struct State {
    /// The request under way.
    fetching: JoinSet<Result<Fetched, TokenError>>,
    /// The token of a service account or an application, or what could not be written to the token file.
    held: Option<Held>,
    /// The one that all hosts have.
    of_all: Option<OfAll>,
    /// The upstream did not take it.
    rejected: Option<Secret>,
    warned_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
enum Held {
    Access(AccessToken),
    Unsaved(Box<Stored>),
}

/// What a request has brought.
#[derive(Debug)]
struct Fetched {
    token: AccessToken,
    /// What state is to hold from now on; `None` where nothing was exchanged.
    exchanged: Option<Option<Held>>,
    of_all: Option<OfAll>,
    refresh_token_expires_at: Option<Timestamp>,
}

impl Tokens {
    /// Nothing is read or asked before a token is wanted. `ca_file` holds one more trusted root.
    #[must_use]
    pub fn new(
        options: Options,
        username: &str,
        ca_file: Option<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (grant, issuer) = (options.grant.clone(), options.issuer);
        let exchange = Exchange::new(options, ca_file, clock);
        let source = Source { username: username.to_owned(), grant, issuer, exchange };
        Self { source: Arc::new(source), common: None, state: Mutex::default() }
    }

    /// From now on other hosts use the same token, and one fetches it for all.
    pub(in crate::delivery) fn share(&mut self, vault: Arc<Vault>) {
        let clock = Arc::clone(self.source.exchange.clock());
        self.common = Some(Arc::new(Common::new(vault, clock)));
    }

    /// A token that is good for five minutes at least, fetched if need be.
    pub async fn access_token(&self) -> Result<AccessToken, TokenError> {
        let mut state = self.state.lock().await;
        if state.fetching.is_empty() {
            let stored = self.source.stored(&state.held).await?;
            let at_hand = self.good(&state, stored.as_ref());
            if let Some(token) = at_hand.as_ref().filter(|_| self.common.is_none()) {
                return Ok(token.clone());
            }
            let (source, common) = (Arc::clone(&self.source), self.common.clone());
            let refused = state.rejected.clone();
            // Which account it is for, the log knows by the span.
            let fetch = async move {
                match common {
                    None => source.fetch(stored).await,
                    Some(common) => {
                        Box::pin(source.have(&common, stored, (at_hand, refused))).await
                    }
                }
            };
            state.fetching.spawn(fetch.in_current_span());
        }
        // The lock is kept: whoever comes meanwhile gets the same token.
        let fetched = match state.fetching.join_next().await {
            Some(Ok(fetched)) => fetched?,
            Some(Err(_)) | None => {
                return Err(TokenError::temporary("fetching a token was interrupted"));
            }
        };
        self.warn(&mut state, fetched.refresh_token_expires_at);
        if fetched.exchanged.is_some() || fetched.of_all.is_some() {
            state.of_all = fetched.of_all;
        }
        if let Some(held) = fetched.exchanged {
            state.held = held;
        }
        Ok(fetched.token)
    }

    /// For a relay without mail: announces the end of the refresh token in time, and uses it when it has not been
    /// used for long. Does nothing while there is no token, which is not this task's to tell.
    pub async fn look_after(&self) {
        let mut state = self.state.lock().await;
        let Ok(Some(stored)) = self.source.stored(&state.held).await else { return };
        self.warn(&mut state, stored.refresh_token_expires_at);
        let now = self.source.now();
        if stored.stored_at > now.after(KEEP_ALIVE) {
            // Stored by a clock that was far ahead: nobody knows how long ago, nor whether the access token is alive.
            state.rejected = stored.access.map(|access| access.token);
        } else if now.since(stored.stored_at) < KEEP_ALIVE {
            return;
        }
        drop(state);
        if let Err(TokenError { reason, remedy, .. }) = self.access_token().await {
            let username = &self.source.username;
            tracing::warn!(username, reason, remedy, "the refresh token could not be kept alive");
        }
    }

    /// What a person runs to consent anew; `None` where nobody has to.
    pub(in crate::delivery) fn consent_command(&self) -> Option<&'static str> {
        let has_consented = matches!(self.source.grant, Grant::Refresh { .. });
        has_consented.then(|| self.source.issuer.command())
    }

    /// The upstream did not take this token: it is not handed out again.
    pub async fn reject(&self, token: &AccessToken) {
        let of_all = {
            let mut state = self.state.lock().await;
            state.rejected = Some(token.secret.clone());
            state.of_all.take_if(|of_all| of_all.secret == token.secret)
        };
        if let (Some(common), Some(of_all)) = (&self.common, of_all) {
            common.refuse(&of_all).await;
        }
    }

    /// The token at hand, unless it is used up or was rejected.
    fn good(&self, state: &State, stored: Option<&Stored>) -> Option<AccessToken> {
        let is_good = |token: &AccessToken| {
            let rejected = state.rejected.as_ref() == Some(&token.secret);
            !rejected && token.use_until > self.source.now()
        };
        let of_all = state.of_all.as_ref().map(AccessToken::from).filter(is_good);
        if of_all.is_some() {
            return of_all;
        }
        let at_hand = match (stored, &state.held) {
            (Some(stored), _) => {
                let access = stored.access.as_ref()?;
                AccessToken { secret: access.token.clone(), use_until: access.use_until }
            }
            (None, Some(Held::Access(token))) => token.clone(),
            (None, _) => return None,
        };
        is_good(&at_hand).then_some(at_hand)
    }

    fn warn(&self, state: &mut State, expires_at: Option<Timestamp>) {
        let now = self.source.now();
        let soon = expires_at.filter(|end| end.before(WARN_BEFORE) <= now);
        let due = state.warned_at.is_none_or(|last| now.since(last) >= WARN_EVERY);
        let Some(end) = soon.filter(|_| due) else { return };
        state.warned_at = Some(now);
        tracing::warn!(
            username = self.source.username,
            until = %end,
            remedy = self.source.before_its_end(),
            "the refresh token ends soon"
        );
    }
}

impl Source {
    fn now(&self) -> Timestamp {
        self.exchange.clock().wall()
    }

    /// What to do about a refresh token that ends soon.
    fn before_its_end(&self) -> String {
        let command = self.issuer.command();
        match self.issuer {
            Issuer::Google | Issuer::GoogleApi => format!(
                "run `{command}` before then; set the consent screen's publishing status to \"In production\" to be rid of this"
            ),
            Issuer::Microsoft => format!("run `{command}` before then"),
        }
    }

    /// What the token file holds, or what should be in it; `None` for a service account or an application, which have none.
    async fn stored(&self, held: &Option<Held>) -> Result<Option<Stored>, TokenError> {
        let Grant::Refresh { token_file, .. } = &self.grant else { return Ok(None) };
        let file = TokenFile::new(token_file.clone(), self.issuer);
        let read = blocking(move || file.read()).await;
        match (read, held) {
            (Ok(stored), Some(Held::Unsaved(unsaved))) if stored.stored_at < unsaved.stored_at => {
                Ok(Some(Stored::clone(unsaved)))
            }
            (read, _) => read.map(Some),
        }
    }

    async fn fetch(&self, stored: Option<Stored>) -> Result<Fetched, TokenError> {
        match (&self.grant, stored) {
            (Grant::Refresh { client, token_file }, Some(stored)) => {
                let file = TokenFile::new(token_file.clone(), self.issuer);
                self.refresh(client, file, stored).await
            }
            (Grant::ServiceAccount { key_file }, _) => {
                let (key_file, username) = (key_file.clone(), self.username.clone());
                let (audience, now) = (self.exchange.token_endpoint().to_string(), self.now());
                let scope = self.issuer.asked();
                let sign = move || {
                    service_account::assertion(&key_file, &username, (&audience, scope), now)
                };
                Ok(self.held(self.exchange.assert(&blocking(sign).await?).await?))
            }
            (Grant::Application { client, certificate }, _) => {
                let (client, certificate) = (client.clone(), certificate.clone());
                let (audience, now) = (self.exchange.token_endpoint().to_string(), self.now());
                let read = move || {
                    let client = client_file::client(&client)?;
                    let sign =
                        |file: PathBuf| certificate::assertion(&file, &client.id, &audience, now);
                    let assertion = certificate.map(sign).transpose()?;
                    Ok((client, assertion))
                };
                let (client, assertion) = blocking(read).await?;
                let exchange = &self.exchange;
                let granted = exchange.authorize_application(&client, assertion.as_ref()).await?;
                Ok(self.held(granted))
            }
            (Grant::Refresh { .. }, None) => {
                Err(TokenError::temporary("the token file was not read"))
            }
        }
    }

    /// A token without a refresh token, which is kept in memory alone.
    fn held(&self, granted: Granted) -> Fetched {
        let token = AccessToken { secret: granted.access_token, use_until: granted.use_until };
        tracing::info!(username = self.username, until = %granted.expires_at, "access token");
        let exchanged = Some(Some(Held::Access(token.clone())));
        Fetched { exchanged, of_all: None, token, refresh_token_expires_at: None }
    }

    /// A token in a fleet: that of all hosts, or one that is fetched for them.
    async fn have(
        &self,
        common: &Common,
        stored: Option<Stored>,
        (at_hand, refused): (Option<AccessToken>, Option<Secret>),
    ) -> Result<Fetched, TokenError> {
        let refresh_token_expires_at =
            stored.as_ref().and_then(|stored| stored.refresh_token_expires_at);
        let had =
            |token| Fetched { token, exchanged: None, of_all: None, refresh_token_expires_at };
        let own = at_hand.as_ref().map(|token| (token.secret.clone(), token.use_until));
        let Some(seal) = self.seal(stored.clone()).await else {
            // Whatever is wrong with a file, who fetches says it.
            return match at_hand {
                Some(token) => Ok(had(token)),
                None => Box::pin(self.fetch(stored)).await,
            };
        };
        let told = |fetched: &Fetched| (fetched.token.secret.clone(), fetched.token.use_until);
        // It is large, and would be so once more for each place that may wait for it.
        let fetch = Box::pin(self.fetch(stored));
        match (common.have(&seal, (own, refused.as_ref()), fetch, told).await?, at_hand) {
            (Had::OfAll(of_all), _) => {
                Ok(Fetched { of_all: Some(of_all.clone()), ..had(AccessToken::from(&of_all)) })
            }
            (Had::Fetched(fetched, of_all), _) => Ok(Fetched { of_all, ..fetched }),
            (Had::AtHand, Some(token)) => Ok(had(token)),
            (Had::AtHand, None) => Err(TokenError::temporary("there is no token at hand")),
        }
    }

    /// What hides the token of all; `None` where nobody else can have the same one.
    async fn seal(&self, stored: Option<Stored>) -> Option<Seal> {
        let (grant, username) = (self.grant.clone(), self.username.to_lowercase());
        let endpoint = self.exchange.token_endpoint().to_string();
        let scope = self.issuer.asked();
        let derive = move || {
            Seal::of(&grant, [username.as_str(), scope, endpoint.as_str()], stored.as_ref())
        };
        blocking(derive).await.ok().flatten()
    }

    async fn refresh(
        &self,
        client: &ClientSource,
        file: TokenFile,
        stored: Stored,
    ) -> Result<Fetched, TokenError> {
        let client = client.clone();
        let client = blocking(move || client_file::client(&client)).await?;
        self.belongs(&client, &stored)?;
        let granted = self.exchange.refresh(&client, &stored.refresh_token).await?;
        let used = stored.clone();
        let token =
            AccessToken { secret: granted.access_token.clone(), use_until: granted.use_until };
        let rotated = granted.refresh_token.is_some();
        tracing::info!(username = self.username, until = %granted.expires_at, rotated, "access token");
        let renewed = renewed(stored, granted, self.now());
        let to_store = renewed.clone();
        let held = match blocking(move || file.update(&used, &to_store)).await {
            Ok(_) => None,
            Err(error) => {
                let (reason, remedy) = (error.reason, error.remedy);
                // The old refresh token may be worthless now, so this one must reach the disk before the next stop.
                tracing::error!(
                    reason,
                    remedy,
                    rotated,
                    "the token could not be stored; it is kept in memory"
                );
                Some(Held::Unsaved(Box::new(renewed.clone())))
            }
        };
        let refresh_token_expires_at = renewed.refresh_token_expires_at;
        Ok(Fetched { token, exchanged: Some(held), of_all: None, refresh_token_expires_at })
    }

    /// A token of another client or account would be refused with words that nobody understands.
    fn belongs(&self, client: &Client, stored: &Stored) -> Result<(), TokenError> {
        let what = if client.id != stored.client_id {
            "client (upstream.oauth_client_*)"
        } else if !stored.username.eq_ignore_ascii_case(&self.username) {
            "account (upstream.username)"
        } else {
            return Ok(());
        };
        let reason = format!("the stored token was made for another {what}");
        Err(TokenError::local(reason, format!("Run: {}", self.issuer.command())))
    }
}

/// What is stored after a refresh.
pub(super) fn renewed(stored: Stored, granted: Granted, now: Timestamp) -> Stored {
    let is_new = granted.refresh_token.as_ref().is_some_and(|token| *token != stored.refresh_token);
    Stored {
        refresh_token: granted.refresh_token.unwrap_or(stored.refresh_token),
        granted_at: if is_new { now } else { stored.granted_at },
        refresh_token_expires_at: granted
            .refresh_token_expires_at
            .or(stored.refresh_token_expires_at),
        scope: granted.scope.or(stored.scope),
        access: Some(StoredAccess {
            token: granted.access_token,
            use_until: granted.use_until,
            expires_at: granted.expires_at,
        }),
        // Later than what it replaces, whatever the clock does.
        stored_at: now.max(stored.stored_at.after(Duration::from_millis(1))),
        username: stored.username,
        client_id: stored.client_id,
    }
}

/// Runs what blocks off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TokenError> + Send + 'static,
) -> Result<T, TokenError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(TokenError::temporary("reading a file was interrupted")),
    }
}
