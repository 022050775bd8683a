//! The tokens of an account that logs in with them: whose they are, what they allow, when they end.
//!
//! Rule: nothing of a token is shown. Must not know how tokens are had.

use crate::{
    clock::Timestamp,
    delivery::{
        Login, PasswordSource,
        oauth::{
            Grant, Issuer, TokenError, client_file, service_account,
            token_file::{Stored, TokenFile},
            tokens::WARN_BEFORE,
        },
    },
    findings::Outcome,
    quantities::{relative, when},
};

/// What ends the end of tokens.
fn renewal(issuer: Issuer) -> String {
    let command = issuer.command();
    match issuer {
        // After a week, otherwise, the next one ends as well.
        Issuer::Google | Issuer::GoogleApi => format!(
            "set the consent screen's publishing status to \"In production\" \
             (https://console.cloud.google.com/auth/audience), then run: {command}"
        ),
        Issuer::Microsoft => format!("run: {command}"),
    }
}

/// What a person should look at.
#[must_use]
pub(crate) fn warnings(stored: &Stored, issuer: Issuer, now: Timestamp) -> Vec<String> {
    let mut warnings = Vec::new();
    let renewal = renewal(issuer);
    match stored.refresh_token_expires_at {
        Some(end) if end <= now => warnings.push(format!("the token has ended; {renewal}")),
        Some(end) if end.before(WARN_BEFORE) <= now => {
            warnings.push(format!("the token ends {}; {renewal}", relative(end, now)));
        }
        _ => {}
    }
    if lacks_scope(stored, issuer) {
        warnings.push(format!("the token does not allow mail; run: {}", issuer.command()));
    }
    warnings
}

fn lacks_scope(stored: &Stored, issuer: Issuer) -> bool {
    stored.scope.as_deref().is_some_and(|scope| !issuer.allows_mail(scope))
}

/// The judgement of the tokens of a login, whose files can be used.
pub(super) fn of(login: Option<&Login>, now: Timestamp) -> Outcome {
    let Some(Login { username, password: PasswordSource::Tokens(options) }) = login else {
        return Outcome::skipped("the account does not log in with tokens");
    };
    let judged = match &options.grant {
        Grant::Refresh { token_file, .. } => TokenFile::new(token_file.clone(), options.issuer)
            .read()
            .map(|stored| of_stored(&stored, options.issuer, username, now)),
        Grant::ServiceAccount { key_file } => service_account::describe(key_file)
            .map(|key| Outcome::pass(format!("service account {} for {username}", key.email))),
        Grant::Application { client, .. } => client_file::client(client)
            .map(|client| Outcome::pass(format!("application {} for {username}", client.id))),
    };
    judged.unwrap_or_else(|TokenError { reason, remedy, .. }| Outcome::fail(reason, remedy))
}

fn of_stored(stored: &Stored, issuer: Issuer, username: &str, now: Timestamp) -> Outcome {
    if !stored.username.eq_ignore_ascii_case(username) {
        return Outcome::fail(
            format!("the token is {}'s, and {username} is configured", stored.username),
            format!("Run: {}; or correct upstream.username", issuer.command()),
        );
    }
    let ended = stored.refresh_token_expires_at.is_some_and(|end| end <= now);
    if let Some(words) = warnings(stored, issuer, now).first() {
        let (what, remedy) = words.split_once("; ").unwrap_or((words, ""));
        return match ended || lacks_scope(stored, issuer) {
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
