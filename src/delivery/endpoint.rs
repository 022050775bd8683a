//! The address of requests to other hosts, and how long they may take.
//!
//! Rule: an address to which secrets go is https, or lies on this host. Must not know what is asked.

use std::{fmt, net::IpAddr, time::Duration};

use url::{Host, Url};

/// An address to which secrets may be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Reads an address, or says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("it is not a web address: {error}"))?;
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

    /// The address as it is sent.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// The host, for words to people.
    #[must_use]
    pub(crate) fn host(&self) -> &str {
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
    use crate::delivery::oauth::Endpoints;

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
            ("oauth2.googleapis.com/token", "not a web address"),
            ("https://me:word@example.org/", "user name"),
            ("https://example.org/#part", "#"),
        ] {
            let error = Endpoint::new(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
