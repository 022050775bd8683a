//! `[fleet]`: the database in which several hosts count together what they spend of their accounts' days.
//!
//! Rule: no password is read here, and none may stand in an address. What goes over a network is under TLS. Must not know
//! what is asked of the database.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use url::{Host, Url};

use super::{
    report::Report,
    surroundings::Surroundings,
    value::{command, path, section, shown, word},
};
use crate::{
    delivery::{PasswordSource, StoredPassword},
    fleet::{Database, IS_BUILT_IN, Options, Password, Place, TlsFiles},
};

const SECTION: &str = "fleet";
const PORT: u16 = 5432;
/// Characters of a host's name among the others.
const HOST_MAX: usize = 255;
const EXAMPLE: &str = "Write for example \"postgres://relay@db.example.org/pillarbox\"; on this host \
                       \"postgres:///pillarbox?host=/run/postgresql&user=relay\".";

section! {
    /// `[fleet]`: several hosts that share their accounts' days.
    pub(super) struct Fleet {
        database: Option<String> = None, "word";
        /// This host's name.
        host: Option<String> = None, "word";
        password_file: Option<PathBuf> = None, "path";
        password_command: Vec<String> = Vec::new(), "command";
        ca_file: Option<PathBuf> = None, "path";
        client_certificate: Option<PathBuf> = None, "path";
        client_key: Option<PathBuf> = None, "path";
    }
}

/// What an address of a database says.
struct Address {
    place: Place,
    port: u16,
    name: String,
    user: String,
    is_plain: bool,
}

impl Fleet {
    /// What the daemon is told; `None` where this host shares nothing.
    pub(super) fn check(
        &self,
        hostname: &str,
        surroundings: &Surroundings,
        report: &mut Report<'_>,
    ) -> Option<Options> {
        let host = self.host.clone().unwrap_or_else(|| hostname.to_owned());
        if host.chars().count() > HOST_MAX || host.chars().any(char::is_control) {
            let what = format!("it has control characters or more than {HOST_MAX} characters");
            report.add(
                SECTION,
                "host",
                what,
                "Write a short name that no other host of the fleet has.",
            );
        }
        let password = self.password(surroundings, report);
        let files = self.files(report);
        let Some(written) = &self.database else {
            if *self != Self::default() {
                let what = "nothing says in which database the hosts count together";
                report.add_lack(SECTION, "database", what, EXAMPLE);
            }
            return None;
        };
        if !IS_BUILT_IN {
            let what = "this pillarbox was built without fleets";
            let remedy =
                "Remove the section, or build it with the feature `fleet`, which is on by default.";
            report.add(SECTION, "database", what, remedy);
            return None;
        }
        match Address::read(written) {
            Err((what, remedy)) => {
                report.add(SECTION, "database", what, remedy);
                None
            }
            Ok(Address { place, port, name, user, is_plain }) => {
                let tls = (!is_plain).then_some(files);
                let database = Database { place, port, name, user, password, tls };
                Some(Options { host, database })
            }
        }
    }

    fn password(
        &self,
        surroundings: &Surroundings,
        report: &mut Report<'_>,
    ) -> Option<Arc<dyn Password>> {
        let command = Some(&self.password_command).filter(|words| !words.is_empty());
        if command.is_some() && self.password_file.is_some() {
            let what = "there is a password_file as well";
            report.add(SECTION, "password_command", what, "Keep one of them.");
        }
        let file = self.password_file.as_deref().map(|path| {
            let path = report.path(SECTION, "password_file", path);
            let is_mounted =
                surroundings.secret_directories.iter().any(|directory| path.starts_with(directory));
            if is_mounted { PasswordSource::Mounted(path) } else { PasswordSource::File(path) }
        });
        let source = file.or_else(|| command.cloned().map(PasswordSource::Command))?;
        Some(Arc::new(StoredPassword::new(source)))
    }

    fn files(&self, report: &mut Report<'_>) -> TlsFiles {
        let client = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => Some((
                report.path(SECTION, "client_certificate", certificate),
                report.path(SECTION, "client_key", key),
            )),
            (None, None) => None,
            (Some(_), None) => {
                let what = "a certificate proves nothing without its key";
                report.add_lack(
                    SECTION,
                    "client_key",
                    what,
                    "Add client_key with the file of its key.",
                );
                None
            }
            (None, Some(_)) => {
                let remedy = "Add client_certificate with the file of its certificate.";
                report.add_lack(SECTION, "client_certificate", "a key is no certificate", remedy);
                None
            }
        };
        let ca_file = self.ca_file.as_deref().map(|path| report.path(SECTION, "ca_file", path));
        TlsFiles { ca_file, client }
    }
}

/// What is wrong, and what to do.
type Refusal = (String, String);

impl Address {
    fn read(written: &str) -> Result<Self, Refusal> {
        let refused = |what: &str| (what.to_owned(), EXAMPLE.to_owned());
        let url = Url::parse(written).ok().filter(|url| {
            matches!(url.scheme(), "postgres" | "postgresql") && url.fragment().is_none()
        });
        let Some(url) = url else {
            return Err(refused(&format!("{} is not an address of a database", shown(written))));
        };
        if url.password().is_some() {
            let remedy = "Put the password on the first line of a file that others cannot read, and name it in password_file.";
            return Err((
                "there is a password in it, and this file is read by many".into(),
                remedy.into(),
            ));
        }
        let (mut user, mut socket, mut is_plain) = (decoded(url.username()), None, false);
        for (key, value) in url.query_pairs() {
            match (&*key, &*value) {
                ("user", name) => user = name.to_owned(),
                ("host", path) if path.starts_with('/') => socket = Some(PathBuf::from(path)),
                ("sslmode", "disable") => is_plain = true,
                ("sslmode", "verify-full") => {}
                ("sslmode", _) => {
                    return Err((
                        "a connection is verified whole, or to this host without TLS".into(),
                        "Remove sslmode, or write sslmode=disable for a database of this host."
                            .into(),
                    ));
                }
                _ => {
                    let what = format!("it says {}, which means nothing here", shown(&key));
                    return Err((
                        what,
                        "It can say host (the directory of a socket), user and sslmode.".into(),
                    ));
                }
            }
        }
        let name = decoded(url.path().trim_start_matches('/'));
        if user.is_empty() || name.is_empty() || name.contains('/') {
            return Err(refused("it names no role, or no database"));
        }
        let host = url.host().filter(|host| !matches!(host, Host::Domain("")));
        let (place, is_here) = match (host, socket) {
            (None, Some(directory)) => (Place::Socket(directory), true),
            (Some(host), None) => (Place::Host(bare(&host)), is_this_host(&host)),
            (None, None) | (Some(_), Some(_)) => {
                return Err(refused("it names no host and no socket, or both"));
            }
        };
        if is_plain && !is_here {
            let what = "without TLS anybody on the way could change what the hosts have counted";
            return Err((
                what.into(),
                "Remove sslmode=disable; ca_file can name the authority of its certificate.".into(),
            ));
        }
        let is_plain = is_plain || matches!(place, Place::Socket(_));
        Ok(Self { place, port: url.port().unwrap_or(PORT), name, user, is_plain })
    }
}

fn decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B"));
    let found = url::form_urlencoded::parse(pair.as_bytes()).next();
    found.map_or_else(String::new, |(_, value)| value.into_owned())
}

/// Without the brackets of an IPv6 address.
fn bare(host: &Host<&str>) -> String {
    match host {
        Host::Domain(name) => (*name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

fn is_this_host(host: &Host<&str>) -> bool {
    match host {
        // Of a scheme that browsers do not know, an IPv4 address is a name.
        Host::Domain(name) => {
            *name == "localhost"
                || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(written: &str) -> Result<(Place, u16, String, String, bool), String> {
        let read = Address::read(written).map_err(|(what, _)| what)?;
        Ok((read.place, read.port, read.name, read.user, read.is_plain))
    }

    #[test]
    fn an_address_names_a_host_or_a_socket_a_role_and_a_database() {
        let host = |host: &str| Place::Host(host.into());
        let named =
            |place, port, is_plain| Ok((place, port, "pillarbox".into(), "relay".into(), is_plain));
        for (written, expected) in [
            (
                "postgres://relay@db.example.org/pillarbox",
                named(host("db.example.org"), 5432, false),
            ),
            (
                "postgresql://relay@db:6432/pillarbox?sslmode=verify-full",
                named(host("db"), 6432, false),
            ),
            (
                "postgres://relay@127.0.0.1/pillarbox?sslmode=disable",
                named(host("127.0.0.1"), 5432, true),
            ),
            ("postgres://relay@[::1]/pillarbox?sslmode=disable", named(host("::1"), 5432, true)),
            (
                "postgres:///pillarbox?host=/run/postgresql&user=relay",
                named(Place::Socket("/run/postgresql".into()), 5432, true),
            ),
        ] {
            assert_eq!(read(written), expected, "{written}");
        }
        let odd = read("postgres://re%40lay@db/pillar%20box").unwrap();
        assert_eq!((odd.2.as_str(), odd.3.as_str()), ("pillar box", "re@lay"));
    }

    #[test]
    fn an_address_that_would_send_a_password_or_the_count_in_the_clear_is_refused() {
        for (written, why) in [
            ("mysql://relay@db/pillarbox", "not an address of a database"),
            ("postgres://relay:secret@db/pillarbox", "there is a password in it"),
            ("postgres://db/pillarbox", "names no role"),
            ("postgres://relay@db", "names no role"),
            ("postgres:///pillarbox?user=relay", "names no host"),
            ("postgres://relay@db/pillarbox?host=/run/postgresql", "or both"),
            ("postgres://relay@db/pillarbox?sslmode=disable", "without TLS"),
            ("postgres://relay@db/pillarbox?sslmode=prefer", "verified whole"),
            ("postgres://relay@db/pillarbox?options=-c", "means nothing here"),
        ] {
            let refused = read(written).unwrap_err();
            assert!(refused.contains(why) && !refused.contains("secret"), "{written}: {refused}");
        }
    }
}
