//! This host: its fully qualified name, its gateways, addresses and file systems, and what may go wrong on it with a
//! correct configuration.
//!
//! Rule: the name always has a dot and is never localhost, because Gmail turns such names away (RFC 5321 section 4.1.1.1
//! asks for the name the host is known by). No name server is asked: a relay must start without a network. What cannot
//! be read counts as unknown, and a warning never stops the relay, for only a person knows what is around it. Must not
//! know who uses the name, nor how warnings are shown.

use std::{
    fmt,
    fs::{self, File},
    io::Read,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{
    special_networks::is_public,
    volume::{self, Kept, Mount},
};
use crate::{
    handbook,
    listener::Options,
    smtp::{
        host_name::{NAME_LENGTH_MAX, is_label},
        server::Authentication,
    },
};

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
    pub(crate) fn of_this_machine() -> Self {
        let read = |path| {
            let mut text = Vec::new();
            let file = File::open(path);
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
    pub(crate) fn fully_qualified_name(&self) -> String {
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
    pub(crate) fn mail_names(&self) -> Vec<String> {
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
    let labels: Vec<&str> = name.split('.').collect();
    name.len() <= NAME_LENGTH_MAX
        && labels.len() >= 2
        && labels.iter().all(|label| is_label(label))
        && !labels.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
        && !names_every_host(name)
}

/// Whether the name means "this host" on every host.
pub(super) fn names_every_host(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_lowercase();
    name == "localhost" || name.starts_with("localhost.") || name.ends_with(".localhost")
}

/// Octets of one text: thousands of routes, but not the routing table of a backbone.
const TEXT_BYTES_MAX: u64 = 1024 * 1024;
/// `RTF_GATEWAY` of route(8): the route leads to a gateway.
const ROUTE_IS_VIA_GATEWAY: u32 = 0x2;

/// The texts of the kernel.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// `/proc/net/route`: IPv4 routes.
    pub route: String,
    /// `/proc/net/ipv6_route`: IPv6 routes.
    pub ipv6_route: String,
    /// `/proc/net/fib_trie`: among other things the host's IPv4 addresses.
    pub fib_trie: String,
    /// `/proc/net/if_inet6`: the host's IPv6 addresses.
    pub if_inet6: String,
    /// `/proc/self/mountinfo`: what is mounted where.
    pub mountinfo: String,
}

impl Machine {
    /// Asks the kernel.
    #[must_use]
    pub(crate) fn of_this_process() -> Self {
        Self::below(Path::new("/"))
    }

    /// Asks the kernel whose `proc` is below `root`.
    #[must_use]
    pub(crate) fn below(root: &Path) -> Self {
        let text = |name: &str| read(&root.join("proc").join(name));
        Self {
            route: text("net/route"),
            ipv6_route: text("net/ipv6_route"),
            fib_trie: text("net/fib_trie"),
            if_inet6: text("net/if_inet6"),
            mountinfo: text("self/mountinfo"),
        }
    }

    /// The default gateways.
    #[must_use]
    pub(crate) fn gateways(&self) -> Vec<IpAddr> {
        let mut gateways: Vec<IpAddr> =
            self.route.lines().filter_map(gateway_v4).map(IpAddr::V4).collect();
        gateways.extend(self.ipv6_route.lines().filter_map(gateway_v6).map(IpAddr::V6));
        gateways.dedup();
        gateways
    }

    /// The host's own addresses that the whole internet can have a route to.
    #[must_use]
    pub(crate) fn public_addresses(&self) -> Vec<IpAddr> {
        let mut addresses = self.addresses();
        addresses.retain(|address| is_public(*address));
        addresses
    }

    /// The host's own addresses.
    #[must_use]
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = Vec::new();
        let mut leaf: Option<Ipv4Addr> = None;
        for line in self.fib_trie.lines().map(str::trim) {
            if let Some(address) = line.strip_prefix("|-- ") {
                leaf = address.parse().ok();
            } else if line == "/32 host LOCAL" {
                addresses.extend(leaf.map(IpAddr::V4));
            }
        }
        let words = self.if_inet6.lines().filter_map(|line| line.split_whitespace().next());
        addresses.extend(words.filter_map(hexadecimal).map(IpAddr::V6));
        // The main and the local table both name an address.
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// What holds `path`. The path must be resolved: see [`resolved`].
    #[must_use]
    pub(crate) fn mount(&self, path: &Path) -> Option<Mount> {
        let mounts = self.mountinfo.lines().filter_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let mut words = place.split(' ').skip(3);
            let (root, point) = (unescaped(words.next()?), unescaped(words.next()?));
            let mut words = kind.split(' ').map(str::to_owned);
            let (kind, source) = (words.next()?, words.next().unwrap_or_default());
            Some(Mount { root, point, kind, source })
        });
        // Of two at one place the later one covers the earlier.
        mounts
            .filter(|mount| path.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.components().count())
    }
}

/// The path without links, also when its last parts do not exist yet.
#[must_use]
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|ancestor| {
        let real = fs::canonicalize(ancestor).ok()?;
        path.strip_prefix(ancestor)
            .ok()
            .map(|rest| if rest == Path::new("") { real.clone() } else { real.join(rest) })
    });
    found.unwrap_or_else(|| path.to_owned())
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

/// Columns: interface, destination, gateway, flags, 3 counters, mask; addresses as the kernel's own words.
fn gateway_v4(line: &str) -> Option<Ipv4Addr> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let word = |index: usize| u32::from_str_radix(columns.get(index)?, 16).ok();
    let is_default = word(1)? == 0 && word(7)? == 0 && word(3)? & ROUTE_IS_VIA_GATEWAY != 0;
    is_default.then_some(Ipv4Addr::from(word(2)?.to_ne_bytes()))
}

/// Columns: destination, its prefix, source, its prefix, next hop, metric, 2 counters, flags, interface.
fn gateway_v6(line: &str) -> Option<Ipv6Addr> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let flags = u32::from_str_radix(columns.get(8)?, 16).ok()?;
    let is_default = hexadecimal(columns[0])?.is_unspecified()
        && columns[1] == "00"
        && flags & ROUTE_IS_VIA_GATEWAY != 0;
    hexadecimal(columns[4]).filter(|gateway| is_default && !gateway.is_unspecified())
}

fn hexadecimal(text: &str) -> Option<Ipv6Addr> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Ipv6Addr::from)
}

/// A path in mountinfo writes blank, tab, newline and backslash as octal numbers.
fn unescaped(text: &str) -> PathBuf {
    let octal = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    octal
        .iter()
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
        .into()
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What may go wrong, and why.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}. {}", self.what, self.remedy)
    }
}

/// All that may go wrong. `addresses` are those that are listened on, `store` is the resolved directory of
/// the queue, where that has to last.
#[must_use]
pub fn warnings(
    listener: &Options,
    addresses: &[SocketAddr],
    store: Option<&Path>,
    machine: &Machine,
) -> Vec<Warning> {
    gateways(listener, addresses, machine)
        .into_iter()
        .chain(store.and_then(|store| volatile(Kept::Queue, store, machine)))
        .chain(open_addresses(listener, addresses, machine))
        .collect()
}

/// A directory of mail that does not last; it must be resolved.
#[must_use]
pub(crate) fn volatile(kept: Kept, directory: &Path, machine: &Machine) -> Option<Warning> {
    let (what, remedy) = volume::trouble(kept, directory, &machine.mount(directory)?)?;
    Some(Warning { what, remedy })
}

/// What may go wrong because of the addresses that are listened on.
#[must_use]
pub(crate) fn open_addresses(
    listener: &Options,
    addresses: &[SocketAddr],
    machine: &Machine,
) -> Vec<Warning> {
    let door = open_door(listener, addresses, machine);
    door.into_iter().chain(proxies(listener)).chain(ipv6_alone(addresses)).collect()
}

/// A trusted network that holds the gateway.
#[must_use]
pub(crate) fn gateways(
    listener: &Options,
    addresses: &[SocketAddr],
    machine: &Machine,
) -> Vec<Warning> {
    if addresses.iter().all(|address| address.ip().is_loopback()) {
        return Vec::new();
    }
    let gateways = machine.gateways().into_iter().filter_map(|gateway| {
        let policy = listener.policy_of(gateway);
        (policy.trusted && policy.authentication != Authentication::Required).then(|| Warning {
            what: format!(
                "this host's gateway {gateway} is in a trusted network; a gateway that forwards connections under its \
                 own address, as those of containers do, would let anybody send as your account"
            ),
            remedy: handbook::located(&format!(
                "Unless you know that yours does not, write networks = [\"{gateway}\"] in a [[listener.network]] of \
                 its own, which is not trusted; in a container see \"In a container\" of docs/clients.md"
            )),
        })
    });
    gateways.collect()
}

/// Addresses that strangers reach although none of them could log in.
fn open_door(listener: &Options, addresses: &[SocketAddr], machine: &Machine) -> Option<Warning> {
    if listener.default_policy.authentication != Authentication::Off {
        return None;
    }
    let is_proxy = |address: &SocketAddr| {
        listener.addresses.iter().any(|endpoint| endpoint.proxy && endpoint.address == *address)
    };
    let remedy = "Listen on an address of your own network only, keep the port closed to others (in a container: \
                  publish it as 127.0.0.1:25:25), or write authentication = \"required\"";
    let own = addresses.iter().filter(|address| !is_proxy(address));
    let public = own.clone().find_map(|address| {
        if !address.ip().is_unspecified() {
            return is_public(address.ip()).then_some((address, address.ip()));
        }
        let mut public = machine.public_addresses().into_iter();
        public.find(|public| address.is_ipv6() || public.is_ipv4()).map(|public| (address, public))
    });
    if let Some((address, public)) = public {
        let what = format!(
            "port {} is reachable from outside, at {public}, and nobody can log in: strangers are refused, but they \
             will come and knock",
            address.port()
        );
        return Some(Warning { what, remedy: remedy.into() });
    }
    let everywhere = own.into_iter().find(|address| address.ip().is_unspecified())?;
    let what = format!(
        "{everywhere} takes connections from every network that this host is in, and nobody can log in: where a port is \
         forwarded to it, strangers will come and knock"
    );
    Some(Warning { what, remedy: remedy.into() })
}

/// Addresses on which a client may say who it is.
fn proxies(listener: &Options) -> Vec<Warning> {
    let open = listener
        .addresses
        .iter()
        .filter(|endpoint| endpoint.proxy && !endpoint.address.ip().is_loopback());
    let warnings = open.map(|endpoint| Warning {
        what: format!(
            "whoever reaches {} can pretend to be any client, even a trusted one, because every PROXY header is believed there",
            endpoint.address
        ),
        remedy: "Make sure with a firewall, or a network of their own, that only the proxy reaches it".into(),
    });
    warnings.collect()
}

/// Addresses of IPv6 that leave most IPv4 clients outside, though they look as if they were for everybody.
fn ipv6_alone(addresses: &[SocketAddr]) -> Vec<Warning> {
    let all = addresses.iter().filter(|address| address.is_ipv6() && address.ip().is_unspecified());
    let warnings = all.filter_map(|all| {
        let mut of_ipv4 = addresses
            .iter()
            .filter(|other| other.is_ipv4() && other.port() == all.port() && all.port() != 0);
        let first = of_ipv4.next()?;
        if first.ip().is_unspecified() || of_ipv4.any(|other| other.ip().is_unspecified()) {
            return None;
        }
        let port = all.port();
        Some(Warning {
            what: format!(
                "{all} takes IPv6 clients only, because {first} says what happens to IPv4 clients of this port: those \
                 of every other address are refused"
            ),
            remedy: format!(
                "Write \"0.0.0.0:{port}\" in its place, or leave it out: \"[::]:{port}\" alone takes IPv4 as well"
            ),
        })
    });
    warnings.collect()
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

    #[test]
    fn the_innermost_mount_and_of_two_at_one_place_the_later_one_counts() {
        let machine = Machine {
            mountinfo: "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                        23 22 0:5 / /var rw shared:1 - xfs /dev/sdb rw\n\
                        24 23 0:6 / /var/lib/with\\040blank rw - tmpfs tmpfs rw\n\
                        25 22 0:7 / /srv rw - ext4 /dev/sdc rw\n\
                        26 25 0:8 / /srv rw - nfs4 host:/srv rw\n"
                .into(),
            ..Machine::default()
        };
        for (path, kind) in [
            ("/etc/pillarbox", "ext4"),
            ("/var/lib/pillarbox", "xfs"),
            ("/variable", "ext4"),
            ("/var/lib/with blank/queue", "tmpfs"),
            ("/srv/mail", "nfs4"),
        ] {
            assert_eq!(machine.mount(Path::new(path)).unwrap().kind, kind, "{path}");
        }
        assert_eq!(Machine::default().mount(Path::new("/")), None);
    }

    #[test]
    fn a_path_is_resolved_as_far_as_it_exists() {
        let directory = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir(real.join("real")).unwrap();
        std::os::unix::fs::symlink(real.join("real"), real.join("link")).unwrap();
        assert_eq!(resolved(&real.join("link")), real.join("real"));
        assert_eq!(resolved(&real.join("link/queue/spool")), real.join("real/queue/spool"));
    }

    #[test]
    fn texts_that_make_no_sense_say_nothing() {
        let nonsense = "x\n\n1 2 3\n|-- y\n/32 host LOCAL\n".to_owned();
        let machine = Machine {
            route: nonsense.clone(),
            ipv6_route: nonsense.clone(),
            fib_trie: nonsense.clone(),
            if_inet6: nonsense.clone(),
            mountinfo: nonsense,
        };
        assert_eq!((machine.gateways(), machine.public_addresses()), (vec![], vec![]));
        assert_eq!(machine.mount(Path::new("/")), None);
    }

    #[test]
    fn an_address_for_all_of_ipv6_that_leaves_ipv4_clients_outside_is_warned_of() {
        let warnings = |texts: &[&str]| {
            let addresses: Vec<SocketAddr> =
                texts.iter().map(|text| text.parse().unwrap()).collect();
            ipv6_alone(&addresses)
        };
        for harmless in [
            &["[::]:25"][..],
            &["[::]:25", "0.0.0.0:25"],
            &["[::]:25", "127.0.0.1:25", "0.0.0.0:25"],
            &["[::]:25", "127.0.0.1:2525"],
            &["[::1]:25", "127.0.0.1:25"],
            &["[::]:0", "127.0.0.1:0"],
        ] {
            assert_eq!(warnings(harmless), [], "{harmless:?}");
        }
        let [warning] = &warnings(&["127.0.0.1:25", "[::]:25"])[..] else { panic!("one warning") };
        let text = warning.to_string();
        assert!(
            text.starts_with("[::]:25 takes IPv6 clients only, because 127.0.0.1:25 "),
            "{text}"
        );
    }
}
