//! The tokens of an account that logs in with them: whose they are, what they allow, when they end.
//!
//! Rule: nothing of a token is shown. Must not know how tokens are had.

use crate::{
    clock::Timestamp,
    delivery::{
        Login, PasswordSource,
        oauth::{
            Grant, SCOPE, TokenError, client_file, service_account,
            token_file::{Stored, TokenFile},
            tokens::WARN_BEFORE,
        },
    },
    findings::Outcome,
    quantities::{relative, when},
};

/// What ends the end of tokens after a week.
const TESTING: &str = "set the consent screen's publishing status to \"In production\" \
                       (https://console.cloud.google.com/auth/audience), then run: pillarbox auth google";

/// What a person should look at.
#[must_use]
pub(crate) fn warnings(stored: &Stored, now: Timestamp) -> Vec<String> {
    let mut warnings = Vec::new();
    match stored.refresh_token_expires_at {
        Some(end) if end <= now => warnings.push(format!("the token has ended; {TESTING}")),
        Some(end) if end.before(WARN_BEFORE) <= now => {
            warnings.push(format!("the token ends {}; {TESTING}", relative(end, now)));
        }
        _ => {}
    }
    if lacks_scope(stored) {
        warnings.push("the token does not allow mail; run: pillarbox auth google".to_owned());
    }
    warnings
}

fn lacks_scope(stored: &Stored) -> bool {
    let scope = stored.scope.as_deref();
    scope.is_some_and(|scope| !scope.split(' ').any(|one| one == SCOPE))
}

/// The judgement of the tokens of a login, whose files can be used.
pub(super) fn of(login: Option<&Login>, now: Timestamp) -> Outcome {
    let Some(Login { username, password: PasswordSource::Tokens(options) }) = login else {
        return Outcome::skipped("the account does not log in with tokens");
    };
    let judged = match &options.grant {
        Grant::Refresh { token_file, .. } => TokenFile::new(token_file.clone())
            .read()
            .map(|stored| of_stored(&stored, username, now)),
        Grant::ServiceAccount { key_file } => service_account::describe(key_file)
            .map(|key| Outcome::pass(format!("service account {} for {username}", key.email))),
        Grant::Application { client, .. } => client_file::client(client)
            .map(|client| Outcome::pass(format!("application {} for {username}", client.id))),
    };
    judged.unwrap_or_else(|TokenError { reason, remedy, .. }| Outcome::fail(reason, remedy))
}

fn of_stored(stored: &Stored, username: &str, now: Timestamp) -> Outcome {
    if !stored.username.eq_ignore_ascii_case(username) {
        return Outcome::fail(
            format!("the token is {}'s, and {username} is configured", stored.username),
            "Run: pillarbox auth google; or correct upstream.username",
        );
    }
    let ended = stored.refresh_token_expires_at.is_some_and(|end| end <= now);
    if let Some(words) = warnings(stored, now).first() {
        let (what, remedy) = words.split_once("; ").unwrap_or((words, ""));
        return match ended || lacks_scope(stored) {
            true => Outcome::fail(what, remedy),
            false => Outcome::warn(what, remedy),
        };
    }
    let age = relative(stored.granted_at, now);
    let end = match stored.refresh_token_expires_at {
        Some(end) => format!("ends {}", when(end, now)),
        None => "no end is known".to_owned(),
    };
    Outcome::pass(format!("given {age}, {end}"))
}
