//! The place of the page: where it listens, and by which names browsers may ask for it.
//!
//! Rule: pure; a name that was not told is no name of it.

use std::{net::SocketAddr, path::PathBuf};

use url::Url;

use crate::listener::options::TlsFiles;

/// Where the page is to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where browsers find it, when that is elsewhere: before a proxy, or a container's port.
    pub(crate) url: Option<Url>,
    /// Whether another port will do where this one is taken: for the sandbox, of which several may run.
    pub(crate) may_move: bool,
    /// The certificate, where it speaks TLS itself.
    pub(crate) tls: Option<TlsFiles>,
    /// Who may come in by name and password; by links alone without it.
    pub(crate) users_file: Option<PathBuf>,
}

/// Where the page is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// What a browser asks for, without a path: `http://127.0.0.1:8025`.
    pub(crate) origin: String,
    /// The names, with their ports, by which it may be asked for.
    names: Vec<String>,
    /// Whether browsers come over TLS.
    pub(crate) is_encrypted: bool,
    /// Whether there is no way to it without.
    has_tls: bool,
}

impl Place {
    /// The place of a page that listens on `address`, with TLS of its own or without.
    pub(crate) fn new(address: SocketAddr, url: Option<&Url>, has_tls: bool) -> Self {
        let mut names = vec![address.to_string()];
        if address.ip().is_loopback() {
            names.push(format!("localhost:{}", address.port()));
        }
        let told = url.map(|url| url.origin().ascii_serialization());
        let named = told.as_deref().and_then(|origin| origin.split_once("://"));
        names.extend(named.map(|(_, name)| name.to_owned()));
        Self {
            origin: told.unwrap_or_else(|| {
                let scheme = if has_tls { "https" } else { "http" };
                format!("{scheme}://{address}")
            }),
            names,
            is_encrypted: has_tls || url.is_some_and(|url| url.scheme() == "https"),
            has_tls,
        }
    }

    /// Whether a request that names this host, with its port, is meant for the page. Without this another site could give
    /// its own name our address, and read what its visitors may read.
    pub(crate) fn is_called(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    /// Whether a request that comes from this origin comes from the page itself.
    pub(crate) fn is_own_origin(&self, origin: &str) -> bool {
        // Behind a proxy the same page may be asked for with TLS by its name and without by its address.
        let clear = origin.strip_prefix("http://").filter(|_| !self.has_tls);
        let name = clear.or_else(|| origin.strip_prefix("https://"));
        name.is_some_and(|name| self.is_called(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_answers_to_its_own_names_and_to_no_other() {
        let address = "127.0.0.1:8025".parse().unwrap();
        let place = Place::new(address, None, false);
        assert_eq!(place.origin, "http://127.0.0.1:8025");
        for own in ["127.0.0.1:8025", "localhost:8025", "LocalHost:8025"] {
            assert!(place.is_called(own), "{own}");
            assert!(place.is_own_origin(&format!("http://{own}")), "{own}");
        }
        for other in
            ["", "localhost", "localhost:80", "evil.example", "127.0.0.1.evil.example:8025"]
        {
            assert!(!place.is_called(other), "{other}");
            assert!(!place.is_own_origin(&format!("http://{other}")), "{other}");
        }
        assert!(!place.is_own_origin("null") && !place.is_own_origin("localhost:8025"));
    }

    #[test]
    fn a_url_before_it_is_where_browsers_find_it() {
        let url: Url = "https://relay.example.org/".parse().unwrap();
        let place = Place::new("0.0.0.0:8025".parse().unwrap(), Some(&url), false);
        assert_eq!(place.origin, "https://relay.example.org");
        assert!(place.is_encrypted && place.is_called("relay.example.org"));
        assert!(place.is_own_origin("https://relay.example.org"));
        assert!(!place.is_called("relay.example.org:8025") && !place.is_called("localhost:8025"));
    }

    #[test]
    fn with_tls_of_its_own_it_is_found_by_https() {
        let place = Place::new("127.0.0.1:8025".parse().unwrap(), None, true);
        assert_eq!(place.origin, "https://127.0.0.1:8025");
        assert!(place.is_encrypted && place.is_own_origin("https://localhost:8025"));
        assert!(!place.is_own_origin("http://localhost:8025"), "a form that came in the clear");
    }
}
