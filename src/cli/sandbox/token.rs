//! The login of a scenario with tokens: a stored consent at the look-alike's own account service.
//!
//! Rule: the relay finds a token file as `pillarbox auth google` leaves one, in the sandbox's directory and nowhere
//! else. Must not know what the token endpoint answers.

use std::path::Path;

use crate::{
    cli::exit::{Exit, Failure},
    clock::Timestamp,
    delivery::{
        Login, PasswordSource,
        oauth::{
            ClientSource, Endpoint, Endpoints, Grant, Limits, Options, SecretSource,
            token_file::{Stored, TokenFile},
        },
    },
    sandbox::{OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET},
    secret::Secret,
};

/// Stores `refresh_token` below `directory` and returns the login that uses it. `service` is the address of the
/// look-alike's account service.
pub(super) fn login(
    username: &str,
    refresh_token: &str,
    service: &str,
    directory: &Path,
    now: Timestamp,
) -> Result<Login, Failure> {
    let failed = |reason: String| Failure::new(Exit::Unavailable, reason);
    let token_file = directory.join("oauth-token.json");
    let stored = Stored {
        username: username.to_owned(),
        client_id: OAUTH_CLIENT_ID.to_owned(),
        refresh_token: Secret::new(refresh_token.to_owned()),
        granted_at: now,
        refresh_token_expires_at: None,
        scope: None,
        access: None,
        stored_at: now,
    };
    TokenFile::new(token_file.clone())
        .replace(&stored)
        .map_err(|error| failed(error.to_string()))?;
    let endpoint = |path: &str| Endpoint::new(&format!("{service}{path}")).map_err(failed);
    let secret = SecretSource::Inline(Secret::new(OAUTH_CLIENT_SECRET.to_owned()));
    let tokens = Options {
        grant: Grant::Refresh {
            client: ClientSource::Named { id: OAUTH_CLIENT_ID.to_owned(), secret: Some(secret) },
            token_file,
        },
        endpoints: Endpoints {
            authorization: endpoint("/authorize")?,
            token: endpoint("/token")?,
            revocation: endpoint("/revoke")?,
        },
        limits: Limits::default(),
    };
    Ok(Login { username: username.to_owned(), password: PasswordSource::Tokens(Box::new(tokens)) })
}
