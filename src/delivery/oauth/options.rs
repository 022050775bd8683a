//! What the token code is told.
//!
//! Rule: an address to which secrets go is https, or lies on this host. Must not know relay.toml.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use oauth2::url::{Host, Url};

use crate::secret::Secret;

/// What a token must allow: Gmail's SMTP takes no narrower scope (gmail.md section 4.3).
pub const SCOPE: &str = "https://mail.google.com/";

/// How access tokens are had.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is exchanged for an access token.
    pub grant: Grant,
    /// Who exchanges it.
    pub endpoints: Endpoints,
    /// Waits towards the endpoints.
    pub limits: Limits,
}

/// What is exchanged for an access token.
#[derive(Clone, Debug)]
pub enum Grant {
    /// A refresh token, which the account's owner has given once with a browser.
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
}

/// Where the client's id and secret come from.
#[derive(Clone, Debug)]
pub enum ClientSource {
    /// The JSON file that Google's console offers for download.
    File(PathBuf),
    /// From the configuration.
    Named {
        /// The id, which is no secret.
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

/// Who is asked. The defaults are Google's (gmail.md section 4.3).
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Where a browser goes to consent.
    pub authorization: Endpoint,
    /// Where tokens are exchanged.
    pub token: Endpoint,
    /// Where a token is taken back.
    pub revocation: Endpoint,
}

impl Endpoints {
    /// The authorization endpoint of Google.
    pub const GOOGLE_AUTHORIZATION: &'static str = "https://accounts.google.com/o/oauth2/v2/auth";
    /// The token endpoint of Google.
    pub const GOOGLE_TOKEN: &'static str = "https://oauth2.googleapis.com/token";
    /// The revocation endpoint of Google.
    pub const GOOGLE_REVOCATION: &'static str = "https://oauth2.googleapis.com/revoke";
}

/// An address to which secrets may be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Reads an address, or says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("it is no web address: {error}"))?;
        let on_this_host = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
            None => return Err("it names no host".to_owned()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it contains a user name or a password".to_owned());
        }
        if url.fragment().is_some() {
            return Err("it has a part behind #, which is never sent".to_owned());
        }
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if on_this_host => Ok(Self(url)),
            _ => {
                Err("secrets are sent there, so it must begin with https:// (http:// on this host only)"
                    .into())
            }
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// The host, for words to people.
    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Waits towards the endpoints.
#[derive(Clone, Debug)]
pub struct Limits {
    /// TCP connect, for each address.
    pub connect: Duration,
    /// The whole request, from DNS to the last octet of the answer. Google answers within a second; a worker
    /// waits meanwhile.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), answer: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_https_or_stay_on_this_host() {
        for text in [
            Endpoints::GOOGLE_TOKEN,
            Endpoints::GOOGLE_AUTHORIZATION,
            Endpoints::GOOGLE_REVOCATION,
            "http://127.0.0.1:8080/token",
            "http://[::1]/token",
            "http://localhost:1/",
        ] {
            assert!(Endpoint::new(text).is_ok(), "{text}");
        }
        for (text, words) in [
            ("http://oauth2.googleapis.com/token", "https://"),
            ("http://127.0.0.1.example.org/", "https://"),
            ("ftp://127.0.0.1/", "https://"),
            ("oauth2.googleapis.com/token", "no web address"),
            ("https://me:word@example.org/", "user name"),
            ("https://example.org/#part", "#"),
        ] {
            let error = Endpoint::new(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
