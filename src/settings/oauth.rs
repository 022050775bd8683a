//! The checks of the keys for tokens in `[upstream]`.
//!
//! Rule: no secret is read here, only where it is. A key that would have no effect is refused, because whoever wrote
//! it believes that it has one. Must not know how tokens are had.

use std::path::{Path, PathBuf};

use super::{
    raw::{Auth, Upstream},
    report::{Report, set},
    value::Parsed,
};
use crate::delivery::oauth::{
    ClientSource, Endpoint, Endpoints, Grant, Limits, Options, SecretSource,
};

const SECTION: &str = "upstream";
/// In the queue's directory, which the relay's user owns and may write.
const TOKEN_FILE: &str = "oauth-token.json";

/// What goes with `auth`, or `None` when tokens are not meant or not complete.
pub(super) fn check(
    raw: &Upstream,
    auth: Auth,
    state: &Path,
    report: &mut Report<'_>,
) -> Option<Options> {
    refuse_without_effect(raw, auth, report);
    let endpoints = endpoints(raw, report)?;
    let grant = match auth {
        Auth::Consent => {
            let token_file = set(raw.oauth_token_file.as_ref());
            let token_file = token_file.map(|path| report.path(SECTION, "oauth_token_file", path));
            Grant::Refresh {
                client: client(raw, report)?,
                token_file: token_file.unwrap_or_else(|| state.join(TOKEN_FILE)),
            }
        }
        Auth::ServiceAccount => Grant::ServiceAccount { key_file: key_file(raw, report)? },
        Auth::Password | Auth::None => return None,
    };
    Some(Options { grant, endpoints, limits: Limits::default() })
}

/// Whether the key is set to anything.
fn keys(raw: &Upstream) -> [(&'static str, bool); 6] {
    let text = |value: &Option<String>| set(value.as_ref()).is_some();
    let secret = raw.oauth_client_secret.as_ref().is_some_and(|secret| secret.0.is_some());
    [
        ("oauth_client_file", text(&raw.oauth_client_file)),
        ("oauth_client_id", text(&raw.oauth_client_id)),
        ("oauth_client_secret_file", text(&raw.oauth_client_secret_file)),
        ("oauth_client_secret", secret),
        ("oauth_token_file", text(&raw.oauth_token_file)),
        ("service_account_file", text(&raw.service_account_file)),
    ]
}

fn refuse_without_effect(raw: &Upstream, auth: Auth, report: &mut Report<'_>) {
    for (key, _) in keys(raw).into_iter().filter(|(_, is_set)| *is_set) {
        let belongs_to =
            if key == "service_account_file" { Auth::ServiceAccount } else { Auth::Consent };
        if belongs_to == auth {
            continue;
        }
        let (present, wanted) = (auth.name(), belongs_to.name());
        let what = format!("it has no effect, because auth is \"{present}\"");
        report.add(SECTION, key, what, format!("Set auth = \"{wanted}\", or remove the line."));
    }
}

fn client(raw: &Upstream, report: &mut Report<'_>) -> Option<ClientSource> {
    let file = set(raw.oauth_client_file.as_ref());
    let id = set(raw.oauth_client_id.as_ref());
    let secret = secret(raw, report);
    match (file, id) {
        (Some(path), None) => {
            if secret.is_some() {
                let key = if set(raw.oauth_client_secret_file.as_ref()).is_some() {
                    "oauth_client_secret_file"
                } else {
                    "oauth_client_secret"
                };
                let what = "the client file contains the secret already";
                report.add(
                    SECTION,
                    key,
                    what,
                    "Remove the line, or write oauth_client_id instead of oauth_client_file.",
                );
            }
            Some(ClientSource::File(report.path(SECTION, "oauth_client_file", path)))
        }
        (Some(_), Some(_)) => {
            let what = "the client is given twice, here and as oauth_client_file";
            report.add(SECTION, "oauth_client_id", what, "Keep one of the two.");
            None
        }
        (None, None) => {
            let what = "there is no OAuth client";
            report.add_lack(SECTION, "auth", what, CLIENT_REMEDY);
            None
        }
        (None, Some(id)) => {
            // A desktop client of Google has a secret; other providers may have public clients.
            if secret.is_none()
                && raw
                    .oauth_token_endpoint
                    .as_ref()
                    .is_none_or(|Parsed(endpoint)| endpoint.is_none())
            {
                let what = "there is a client id but no client secret";
                let remedy =
                    "Add oauth_client_secret_file, or write oauth_client_file instead of both.";
                report.add(SECTION, "oauth_client_id", what, remedy);
            }
            Some(ClientSource::Named { id: id.to_owned(), secret })
        }
    }
}

const CLIENT_REMEDY: &str = "Add oauth_client_file = \"/etc/pillarbox/client.json\", the JSON that Google's console offers \
                             for a client of the type \"Desktop app\"; docs/oauth.md has the steps.";

fn secret(raw: &Upstream, report: &mut Report<'_>) -> Option<SecretSource> {
    let file = set(raw.oauth_client_secret_file.as_ref());
    let inline = raw.oauth_client_secret.as_ref().and_then(|secret| secret.0.clone());
    if file.is_some() && inline.is_some() {
        let what = "the client's secret is given twice, here and as oauth_client_secret_file";
        report.add(SECTION, "oauth_client_secret", what, "Keep the file.");
    }
    let file =
        file.map(|path| SecretSource::File(report.path(SECTION, "oauth_client_secret_file", path)));
    file.or_else(|| inline.map(SecretSource::Inline))
}

fn key_file(raw: &Upstream, report: &mut Report<'_>) -> Option<PathBuf> {
    let path = set(raw.service_account_file.as_ref());
    if path.is_none() {
        let remedy = "Add service_account_file = \"/etc/pillarbox/service-account.json\", the JSON key that Google's \
                      console offers; docs/oauth.md has the steps.";
        report.add_lack(SECTION, "auth", "there is no service account", remedy);
    }
    path.map(|path| report.path(SECTION, "service_account_file", path))
}

fn endpoints(raw: &Upstream, report: &mut Report<'_>) -> Option<Endpoints> {
    let mut read = |written: &Option<Parsed<Option<Endpoint>>>, key, default| {
        let written = written.as_ref().and_then(|Parsed(endpoint)| endpoint.clone());
        let read = written.map_or_else(|| Endpoint::new(default), Ok);
        read.map_err(|words| report.add(SECTION, key, words, "Remove the line for Google's.")).ok()
    };
    let authorization = Endpoints::GOOGLE_AUTHORIZATION;
    Some(Endpoints {
        authorization: read(
            &raw.oauth_authorization_endpoint,
            "oauth_authorization_endpoint",
            authorization,
        )?,
        token: read(&raw.oauth_token_endpoint, "oauth_token_endpoint", Endpoints::GOOGLE_TOKEN)?,
        revocation: read(
            &raw.oauth_revocation_endpoint,
            "oauth_revocation_endpoint",
            Endpoints::GOOGLE_REVOCATION,
        )?,
    })
}
