//! `pillarbox auth status`: whose token there is, what it allows, when it ends.
//!
//! Rule: reads the files and asks nobody; shows no secret; the end of a token is told before it comes. Must not know
//! whether a relay runs.

use std::{io, io::Write, path::Path};

use serde_json::{Value, json};

use super::{Account, clock};
use crate::{
    cli::{
        exit::Failure,
        moment::{local, relative, when},
        screen::{self, labelled},
    },
    clock::Timestamp,
    delivery::oauth::{
        Grant, SCOPE,
        service_account::{self, ServiceAccount},
        token_file::{Stored, TokenFile},
        tokens::WARN_BEFORE,
    },
};

/// Prints it.
pub(super) fn run(
    out: &mut dyn Write,
    account: &Account<'_>,
    as_json: bool,
) -> Result<(), Failure> {
    match &account.options.grant {
        Grant::Refresh { token_file, .. } => {
            let file = TokenFile::new(token_file.clone());
            let (stored, now) = (file.read()?, clock().wall());
            if as_json {
                screen::json(out, &document(&stored, &file, now))?;
            } else {
                print(out, &stored, &file, now)?;
            }
        }
        Grant::ServiceAccount { key_file } => {
            let key = service_account::describe(key_file)?;
            if as_json {
                screen::json(out, &key_document(account.username, &key, key_file))?;
            } else {
                print_key(out, account.username, &key, key_file)?;
            }
        }
    }
    Ok(())
}

fn print(out: &mut dyn Write, stored: &Stored, file: &TokenFile, now: Timestamp) -> io::Result<()> {
    labelled(out, "account", &[stored.username.clone(), format!("client {}", stored.client_id)])?;
    labelled(
        out,
        "scope",
        &[stored.scope.clone().unwrap_or_else(|| "not said by the provider".into())],
    )?;
    let end = match stored.refresh_token_expires_at {
        Some(end) => format!("ends {}", when(end, now)),
        None => {
            "no end is known; it ends when it is revoked, unused for 6 months, or the password is changed"
                .into()
        }
    };
    let granted =
        format!("given {} ({})", local(stored.granted_at, now), relative(stored.granted_at, now));
    labelled(out, "consent", &[granted, end])?;
    let access = stored.access.as_ref().map(|access| access.expires_at);
    let access = access.map_or_else(|| "none yet".into(), |end| format!("ends {}", when(end, now)));
    labelled(out, "access", &[access])?;
    labelled(out, "file", &[file.path().display().to_string()])?;
    labelled(out, "warning", &warnings(stored, now))
}

/// What a person should do something about.
fn warnings(stored: &Stored, now: Timestamp) -> Vec<String> {
    const TESTING: &str = "set the consent screen's publishing status to \"In production\" \
                           (https://console.cloud.google.com/auth/audience), then run: pillarbox auth google";
    let mut warnings = Vec::new();
    match stored.refresh_token_expires_at {
        Some(end) if end <= now => warnings.push(format!("the token has ended; {TESTING}")),
        Some(end) if end.before(WARN_BEFORE) <= now => {
            warnings.push(format!("the token ends {}; {TESTING}", relative(end, now)));
        }
        _ => {}
    }
    let scope = stored.scope.as_deref();
    if scope.is_some_and(|scope| !scope.split(' ').any(|one| one == SCOPE)) {
        warnings.push("the token does not allow mail; run: pillarbox auth google".to_owned());
    }
    warnings
}

fn document(stored: &Stored, file: &TokenFile, now: Timestamp) -> Value {
    json!({
        "auth": "oauth",
        "username": stored.username,
        "client_id": stored.client_id,
        "scope": stored.scope,
        "granted_at": stored.granted_at,
        "refresh_token_expires_at": stored.refresh_token_expires_at,
        "access_token_expires_at": stored.access.as_ref().map(|access| access.expires_at),
        "file": file.path(),
        "warnings": warnings(stored, now),
    })
}

fn print_key(
    out: &mut dyn Write,
    username: &str,
    key: &ServiceAccount,
    key_file: &Path,
) -> io::Result<()> {
    labelled(
        out,
        "account",
        &[username.to_owned(), format!("through the service account {}", key.email)],
    )?;
    let id = key.client_id.as_deref().unwrap_or("(\"client_id\" of the key file)");
    labelled(out, "delegation", &[format!("client id {id} with the scope {SCOPE}")])?;
    labelled(out, "file", &[key_file.display().to_string()])
}

fn key_document(username: &str, key: &ServiceAccount, key_file: &Path) -> Value {
    json!({
        "auth": "service-account",
        "username": username,
        "service_account": key.email,
        "client_id": key.client_id,
        "scope": SCOPE,
        "file": key_file,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::secret::Secret;

    #[test]
    fn the_end_of_a_testing_token_is_warned_of_before_it_comes() {
        let now = Timestamp(1_700_000_000_000);
        let stored = |end| Stored {
            username: "me@gmail.com".into(),
            client_id: "1.apps".into(),
            refresh_token: Secret::new("1//word".into()),
            granted_at: now,
            refresh_token_expires_at: end,
            scope: Some(SCOPE.into()),
            access: None,
            stored_at: now,
        };
        let day = Duration::from_secs(86_400);
        assert!(warnings(&stored(None), now).is_empty());
        assert!(warnings(&stored(Some(now.after(5 * day))), now).is_empty());
        let soon = warnings(&stored(Some(now.after(day))), now);
        assert!(soon[0].contains("in 1 d") && soon[0].contains("In production"), "{soon:?}");
        let over = warnings(&stored(Some(now.before(day))), now);
        assert!(
            over[0].contains("has ended") && over[0].contains("pillarbox auth google"),
            "{over:?}"
        );
        let mut out = Vec::new();
        let file = TokenFile::new("/var/lib/pillarbox/oauth-token.json".into());
        print(&mut out, &stored(Some(now.after(day))), &file, now).unwrap();
        let text =
            String::from_utf8(out).unwrap() + &document(&stored(None), &file, now).to_string();
        assert!(text.contains("me@gmail.com") && !text.contains("1//word"), "{text}");
    }
}
