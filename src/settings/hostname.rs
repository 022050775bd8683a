//! This host's fully qualified name, for EHLO and the Received field.
//!
//! Rule: the answer always has a dot and is never localhost, because Gmail turns such names away
//! (RFC 5321 section 4.1.1.1 asks for the name the host is known by). No name server is asked: a relay
//! must start without a network. Must not know who uses the name.

use std::{fs, io::Read as _};

/// Octets of a file that are read: a hosts file of an advertisement blocker has millions.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What this host says about its own name.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The name of the running system (`uname -n`).
    pub nodename: String,
    /// The text of `/etc/hosts`.
    pub hosts: String,
    /// The text of `/etc/resolv.conf`.
    pub resolver: String,
    /// The text of `/etc/mailname`: what programs of Debian put behind a bare name.
    pub mailname: String,
}

impl Host {
    /// Asks the system. A file that cannot be read counts as empty.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let read = |path| {
            let mut text = Vec::new();
            let file = fs::File::open(path);
            drop(file.and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text)));
            String::from_utf8_lossy(&text).into_owned()
        };
        let nodename = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            nodename,
            hosts: read("/etc/hosts"),
            resolver: read("/etc/resolv.conf"),
            mailname: read("/etc/mailname"),
        }
    }

    /// The fully qualified name: the system's own when it has a dot, else the canonical name in
    /// `/etc/hosts`, else the name within the search domain of `/etc/resolv.conf`. A host without any
    /// is called `pillarbox-NAME.invalid`: well formed, and honest about not existing.
    #[must_use]
    pub fn fully_qualified_name(&self) -> String {
        let node = self.nodename.trim().trim_end_matches('.').to_lowercase();
        if is_container_id(&node) {
            return NAMELESS.into();
        }
        if is_fully_qualified(&node) {
            return node;
        }
        let candidates = [self.canonical_name(&node), self.in_search_domain(&node)];
        candidates.into_iter().flatten().next().unwrap_or_else(|| {
            let label: String =
                node.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
            let label = label.trim_matches('-');
            if label.is_empty() { NAMELESS.into() } else { format!("pillarbox-{label}.invalid") }
        })
    }

    /// The names of this host behind an `@`, apart from `listener.hostname`: its node name, its fully qualified one and
    /// that in `/etc/mailname`, which is said in no other place. In lower case, without a final dot.
    #[must_use]
    pub fn mail_names(&self) -> Vec<String> {
        let node = self.nodename.trim().trim_end_matches('.').to_lowercase();
        let mailname = self.mailname.trim_start_matches('\u{feff}').lines().map(str::trim);
        let mailname = mailname.map(|line| line.trim_end_matches('.').to_lowercase());
        let mailname = mailname.filter(|line| !line.is_empty() && !line.starts_with('#')).take(1);
        [node, self.fully_qualified_name()]
            .into_iter()
            .chain(mailname)
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// The first qualified name in a line of `/etc/hosts` that also names `node`.
    fn canonical_name(&self, node: &str) -> Option<String> {
        let lines = self.hosts.lines().map(|line| line.split('#').next().unwrap_or(""));
        lines
            .map(|line| line.split_whitespace().skip(1).map(str::to_lowercase).collect::<Vec<_>>())
            .filter(|names| names.iter().any(|name| name == node))
            .flatten()
            .find(|name| is_fully_qualified(name))
    }

    fn in_search_domain(&self, node: &str) -> Option<String> {
        // The last `domain` or `search` line wins (resolv.conf(5)).
        let line = self
            .resolver
            .lines()
            .rfind(|line| line.starts_with("domain") || line.starts_with("search"))?;
        let domain = line.split_whitespace().nth(1)?.trim_matches('.').to_lowercase();
        let name = format!("{node}.{domain}");
        (!domain.is_empty() && !node.is_empty() && is_fully_qualified(&name)).then_some(name)
    }
}

/// The name of a host that has none.
const NAMELESS: &str = "pillarbox.invalid";
/// Hexadecimal digits of the short id that engines give as a name to a container without one.
const CONTAINER_ID_LENGTH: usize = 12;

/// Another one at each start: as a name in EHLO and Message-ID it would say that there are as many relays.
fn is_container_id(node: &str) -> bool {
    node.len() == CONTAINER_ID_LENGTH
        && node.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a name may be sent in EHLO: labels of letters, digits and hyphens (RFC 5321 section 4.1.2),
/// at least two of them, and not a name of every host.
pub(super) fn is_fully_qualified(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let labels: Vec<&str> = name.split('.').collect();
    name.len() <= 253
        && labels.len() >= 2
        && labels.iter().all(|part| label(part))
        && !labels.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
        && !names_every_host(name)
}

/// Whether the name means "this host" on every host.
pub(super) fn names_every_host(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_lowercase();
    name == "localhost" || name.starts_with("localhost.") || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(nodename: &str, hosts: &str, resolver: &str, expected: &str) {
        let host = Host {
            nodename: nodename.into(),
            hosts: hosts.into(),
            resolver: resolver.into(),
            ..Host::default()
        };
        assert_eq!(host.fully_qualified_name(), expected, "{host:?}");
    }

    #[test]
    fn the_name_comes_from_the_first_place_that_has_one() {
        check("Mail.example.org", "", "", "mail.example.org");
        check(
            "nas",
            "127.0.0.1 localhost\n127.0.1.1 nas.example.org nas # me\n",
            "",
            "nas.example.org",
        );
        // An alias before the canonical name, as some installers write it.
        check(
            "nas",
            "127.0.1.1 nas nas.example.org\n",
            "search other.example\n",
            "nas.example.org",
        );
        check(
            "nas",
            "127.0.0.1 localhost.localdomain nas\n",
            "search lan.example more.example\n",
            "nas.lan.example",
        );
        check("nas", "", "domain old.example\nsearch new.example\n", "nas.new.example");
    }

    #[test]
    fn a_host_without_a_domain_gets_a_well_formed_name_that_cannot_exist() {
        check("nas", "127.0.0.1 localhost nas\n", "search .\n", "pillarbox-nas.invalid");
        check("my_box", "", "", "pillarbox-mybox.invalid");
        check("localhost", "127.0.0.1 localhost\n", "", "pillarbox-localhost.invalid");
        check("", "", "search example.org\n", "pillarbox.invalid");
    }

    #[test]
    fn the_id_of_a_container_is_not_taken_for_a_name() {
        let hosts = "127.0.0.1 localhost\n172.17.0.2 3f2a9c0d1e5b\n";
        check("3f2a9c0d1e5b", hosts, "search example.org\n", "pillarbox.invalid");
        check("deadbeef", "", "search example.org\n", "deadbeef.example.org");
    }

    #[test]
    fn the_mail_name_is_one_of_the_names_and_not_the_name() {
        let names = |mailname: &str| {
            let host =
                Host { nodename: "box7".into(), mailname: mailname.into(), ..Host::default() };
            assert_eq!(host.fully_qualified_name(), "pillarbox-box7.invalid");
            host.mail_names()[2..].to_vec()
        };
        assert_eq!(names("Box7.Example.ORG.\n"), ["box7.example.org"]);
        assert_eq!(
            names("# ours\n\r\n box7.example.org \r\nother.example\n"),
            ["box7.example.org"]
        );
        assert_eq!(names(""), Vec::<String>::new());
    }

    #[test]
    fn names_that_gmail_turns_away_are_not_fully_qualified() {
        for name in [
            "localhost",
            "localhost.localdomain",
            "box.localhost",
            "nas",
            "127.0.0.1",
            "a..b",
            "-a.b",
            "a_b.c",
        ] {
            assert!(!is_fully_qualified(name), "{name}");
        }
    }
}
