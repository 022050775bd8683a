//! The options of the token code.
//!
//! Rule: secrets are named by where they are, but for those that the configuration holds itself. Must not know
//! relay.toml.

use std::path::PathBuf;

use super::issuer::Issuer;
use crate::{
    delivery::https::{Endpoint, Limits},
    secret::Secret,
};

/// What a token must allow at Microsoft for an application of an organisation: whatever its administrator has allowed it there.
pub(crate) const APPLICATION_SCOPE: &str = "https://outlook.office365.com/.default";

/// How access tokens are had.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is exchanged for an access token.
    pub grant: Grant,
    /// Whose tokens they are.
    pub issuer: Issuer,
    /// Who exchanges it.
    pub endpoints: Endpoints,
    /// Waits towards the endpoints.
    pub limits: Limits,
}

/// What is exchanged for an access token.
#[derive(Clone, Debug)]
pub enum Grant {
    /// A refresh token, which the account's owner has given once with a browser, here or on another device.
    Refresh {
        /// The program as the provider knows it.
        client: ClientSource,
        /// Where the refresh token is kept.
        token_file: PathBuf,
    },
    /// An assertion signed with the key of a service account that may act for the whole domain.
    ServiceAccount {
        /// Google's JSON key.
        key_file: PathBuf,
    },
    /// The application's own secret or certificate (RFC 6749 section 4.4), which an organisation at Microsoft lets send as the mailbox.
    Application {
        /// The application, with its secret if it has one.
        client: ClientSource,
        /// Its certificate and the key, in PEM, in the place of a secret.
        certificate: Option<PathBuf>,
    },
}

/// Where the client's id and secret come from.
#[derive(Clone, Debug)]
pub enum ClientSource {
    /// The JSON file that Google's console offers for download.
    File(PathBuf),
    /// From the configuration.
    Named {
        /// The id, which is not a secret.
        id: String,
        /// A public client has none.
        secret: Option<SecretSource>,
    },
}

/// Where a client's secret comes from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// From the configuration or the environment.
    Inline(Secret),
    /// The first line of a file.
    File(PathBuf),
}

/// Who is asked. The defaults are Google's (docs/gmail.md section 4.3).
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Where a browser goes to consent; at Microsoft, where a code for another device is had (RFC 8628 section 3.1).
    pub authorization: Endpoint,
    /// Where tokens are exchanged.
    pub token: Endpoint,
    /// Where a token is taken back; Microsoft has no such place.
    pub revocation: Option<Endpoint>,
}

impl Endpoints {
    /// The authorization endpoint of Google.
    pub(crate) const GOOGLE_AUTHORIZATION: &'static str =
        "https://accounts.google.com/o/oauth2/v2/auth";
    /// The token endpoint of Google.
    pub(crate) const GOOGLE_TOKEN: &'static str = "https://oauth2.googleapis.com/token";
    /// The token endpoint of an organisation at Microsoft.
    pub(crate) fn microsoft_token(tenant: &str) -> String {
        format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token")
    }

    /// The device authorization endpoint of an organisation at Microsoft.
    pub(crate) fn microsoft_device(tenant: &str) -> String {
        format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/devicecode")
    }

    /// The place of an organisation's name that stands for personal accounts.
    pub(crate) const MICROSOFT_PERSONAL: &'static str = "consumers";
    /// The same for the accounts of any organisation.
    pub(crate) const MICROSOFT_ORGANIZATIONS: &'static str = "organizations";

    /// The revocation endpoint of Google.
    pub(crate) const GOOGLE_REVOCATION: &'static str = "https://oauth2.googleapis.com/revoke";
}
