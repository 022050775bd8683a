//! Files with secrets that others have made: Google's client JSON, an existing refresh token, a secret's own file.
//!
//! Rule: a file that others may change, and a secret that others may read, is not used; errors name the file and
//! never repeat its content. Must not know what is exchanged for what.

use std::{
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    error::TokenError,
    options::{ClientSource, SecretSource},
};
use crate::{
    careful_file::{self, Links},
    secret::Secret,
    text,
};

/// Octets of any of these files; a service account's key has about 2,400.
const FILE_LENGTH_MAX: u64 = 64 * 1024;
/// Readable by everyone, or writable by anyone but the owner.
const OPEN_TO_OTHERS: u32 = 0o026;
/// Writable by anyone but the owner.
const CHANGEABLE_BY_OTHERS: u32 = 0o022;

/// The program as the provider knows it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Its id, which is not a secret.
    pub(crate) id: String,
    /// A public client has none.
    pub(crate) secret: Option<Secret>,
}

/// A refresh token that was had in another way.
#[derive(Debug)]
pub(crate) struct Imported {
    /// The client it was made for, when the file says so.
    pub(crate) client_id: Option<String>,
    /// The token.
    pub(crate) refresh_token: Secret,
}

/// Google's client JSON: one object inside another that names the type. Files of gcloud and google-auth have the
/// same keys at the top.
#[derive(Deserialize)]
struct ClientJson {
    installed: Option<ClientKeys>,
    web: Option<ClientKeys>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
}

#[derive(Deserialize)]
struct ClientKeys {
    client_id: String,
    client_secret: Option<Secret>,
}

/// The client, from wherever it is. Blocks.
pub(crate) fn client(source: &ClientSource) -> Result<Client, TokenError> {
    match source {
        ClientSource::File(path) => client_file(path),
        ClientSource::Named { id, secret: None } => Ok(Client { id: id.clone(), secret: None }),
        ClientSource::Named { id, secret: Some(SecretSource::Inline(secret)) } => {
            Ok(Client { id: id.clone(), secret: Some(secret.clone()) })
        }
        ClientSource::Named { id, secret: Some(SecretSource::File(path)) } => {
            let text = read(path, "the file of the OAuth client's secret", OPEN_TO_OTHERS)?;
            let line = text.lines().next().unwrap_or_default().trim();
            if line.is_empty() {
                let what =
                    format!("{} gives no client secret: its first line is empty", path.display());
                return Err(TokenError::local(what, client_remedy(path)));
            }
            Ok(Client { id: id.clone(), secret: Some(Secret::new(line.to_owned())) })
        }
    }
}

fn client_file(path: &Path) -> Result<Client, TokenError> {
    // A desktop client's secret is known to every copy of a program, so reading it is no harm; changing it is.
    let text = read(path, "the OAuth client file", CHANGEABLE_BY_OTHERS)?;
    let wrong =
        |what: &str| TokenError::local(format!("{} {what}", path.display()), client_remedy(path));
    let json: ClientJson =
        serde_json::from_str(&text).map_err(|_| wrong("is no OAuth client file"))?;
    if json.web.is_some() && json.installed.is_none() {
        return Err(wrong("is for a client of the type \"Web application\""));
    }
    match (json.installed, json.client_id) {
        (Some(keys), _) => Ok(Client { id: keys.client_id, secret: keys.client_secret }),
        (None, Some(id)) => Ok(Client { id, secret: json.client_secret }),
        (None, None) => Err(wrong("names no client")),
    }
}

fn client_remedy(path: &Path) -> String {
    format!(
        "In Google's console (https://console.cloud.google.com/auth/clients) create a client of the type \"Desktop \
         app\", download its JSON and store it as {}.",
        path.display()
    )
}

#[derive(Deserialize)]
struct ImportJson {
    client_id: Option<String>,
    refresh_token: Option<Secret>,
}

/// Reads an existing refresh token: JSON as gcloud, google-auth and sendgmail write it, the output of Google's
/// oauth2.py, or the token alone. Blocks.
pub(crate) fn import(path: &Path) -> Result<Imported, TokenError> {
    let text = read(path, "the file to import", OPEN_TO_OTHERS)?;
    let none = || {
        let remedy = "It must be JSON with \"refresh_token\", a line \"Refresh Token: ...\", or the token alone.";
        TokenError::local(format!("{} has no refresh token", path.display()), remedy)
    };
    if text.trim_start().starts_with('{') {
        let json: ImportJson = serde_json::from_str(&text).map_err(|_| none())?;
        let refresh_token = json.refresh_token.ok_or_else(none)?;
        return Ok(Imported { client_id: json.client_id, refresh_token });
    }
    let labelled = text.lines().find_map(|line| line.trim().strip_prefix("Refresh Token:"));
    let token = labelled.unwrap_or(&text).trim();
    let is_token = !token.is_empty() && token.chars().all(|character| character.is_ascii_graphic());
    if !is_token {
        return Err(none());
    }
    Ok(Imported { client_id: None, refresh_token: Secret::new(token.to_owned()) })
}

/// Reads a file whole, unless it is open to others or too large.
pub(super) fn read_secret(path: &Path, what: &str) -> Result<Zeroizing<String>, TokenError> {
    read(path, what, OPEN_TO_OTHERS)
}

fn read(path: &Path, what: &str, forbidden: u32) -> Result<Zeroizing<String>, TokenError> {
    let shown = path.display();
    let failed = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => format!("Put {what} there, or correct the path."),
            _ => format!("Let the user who runs the relay read it; see who may: ls -l {shown}"),
        };
        TokenError::local(format!("{what} {shown} cannot be read: {error}"), remedy)
    };
    let file = careful_file::open(path, Links::Followed).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & forbidden != 0 {
        return Err(TokenError::local(
            format!("{what} {shown} is open to others"),
            format!("Run: chmod 600 {shown}"),
        ));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_LENGTH_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    let refused = |words: &str| {
        let reason = format!("{what} {shown} {words}");
        TokenError::local(reason, "Store the file again as it was downloaded.")
    };
    let content = text::only_utf8(&bytes).map_err(refused)?;
    let content = std::str::from_utf8(content).map_err(|_| refused("is not UTF-8"))?;
    let text = Zeroizing::new(content.to_owned());
    if text.len() as u64 > FILE_LENGTH_MAX {
        let reason = format!("{what} {shown} is larger than {FILE_LENGTH_MAX} bytes");
        return Err(TokenError::local(reason, "It is some other file; correct the path."));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    fn file(directory: &tempfile::TempDir, text: &str, mode: u32) -> PathBuf {
        let path = directory.path().join("file.json");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_client_file_of_googles_console_is_understood_and_a_web_client_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let desktop = r#"{"installed":{"client_id":"1.apps","project_id":"p","client_secret":"GOCSPX-word"}}"#;
        let path = file(&directory, desktop, 0o644);
        let client = client(&ClientSource::File(path)).unwrap();
        assert_eq!(
            (client.id.as_str(), client.secret),
            ("1.apps", Some(Secret::new("GOCSPX-word".into())))
        );
        for (text, words) in [
            (r#"{"web":{"client_id":"1.apps","client_secret":"GOCSPX-word"}}"#, "Web application"),
            (r#"{"type":"service_account"}"#, "names no client"),
            ("GOCSPX-word", "no OAuth client file"),
        ] {
            let error =
                super::client(&ClientSource::File(file(&directory, text, 0o600))).unwrap_err();
            assert!(
                error.reason.contains(words) && error.remedy.contains("Desktop app"),
                "{error:?}"
            );
            assert!(!error.reason.contains("GOCSPX"), "{error:?}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_or_change_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        for (mode, accepted) in [(0o600, true), (0o640, true), (0o644, false), (0o660, false)] {
            let path = file(&directory, "1//token", mode);
            assert_eq!(import(&path).is_ok(), accepted, "{mode:o}");
        }
        let changeable = file(&directory, r#"{"client_id":"1"}"#, 0o664);
        assert!(client(&ClientSource::File(changeable)).unwrap_err().remedy.contains("chmod 600"));
    }

    #[test]
    fn a_refresh_token_is_found_in_the_files_that_people_have() {
        let directory = tempfile::tempdir().unwrap();
        for (text, client) in [
            (
                r#"{"type":"authorized_user","client_id":"1","client_secret":"s","refresh_token":"1//t"}"#,
                Some("1"),
            ),
            (
                r#"{"access_token":"ya29","token_type":"Bearer","refresh_token":"1//t","expiry":"x"}"#,
                None,
            ),
            (
                "Refresh Token: 1//t\nAccess Token: ya29.a\nAccess Token Expiration Seconds: 3600\n",
                None,
            ),
            ("1//t\n", None),
        ] {
            let imported = import(&file(&directory, text, 0o600)).unwrap();
            assert_eq!(imported.refresh_token, Secret::new("1//t".into()), "{text}");
            assert_eq!(imported.client_id.as_deref(), client);
        }
        for text in ["", "two words", r#"{"client_id":"1"}"#] {
            assert!(import(&file(&directory, text, 0o600)).is_err(), "{text}");
        }
    }
}
