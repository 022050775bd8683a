//! What this machine is: its gateways, its addresses, and what kind of file system a directory is on.
//!
//! Rule: read from the kernel's texts below `/proc`, which a test can make; what cannot be read counts as
//! unknown and never keeps the relay from starting. Must not know what follows from the facts.

use std::{
    fs::{self, File},
    io::Read,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

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
    pub fn of_this_process() -> Self {
        Self {
            route: read("/proc/net/route"),
            ipv6_route: read("/proc/net/ipv6_route"),
            fib_trie: read("/proc/net/fib_trie"),
            if_inet6: read("/proc/net/if_inet6"),
            mountinfo: read("/proc/self/mountinfo"),
        }
    }

    /// The default gateways.
    #[must_use]
    pub fn gateways(&self) -> Vec<IpAddr> {
        let mut gateways: Vec<IpAddr> =
            self.route.lines().filter_map(gateway_v4).map(IpAddr::V4).collect();
        gateways.extend(self.ipv6_route.lines().filter_map(gateway_v6).map(IpAddr::V6));
        gateways.dedup();
        gateways
    }

    /// The host's own addresses that the whole internet can have a route to.
    #[must_use]
    pub fn public_addresses(&self) -> Vec<IpAddr> {
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
        addresses.retain(|address| is_public(*address));
        // The main and the local table both name an address.
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// The kind of file system that holds `path`, such as `ext4`. The path must be resolved: see
    /// [`resolved`].
    #[must_use]
    pub fn file_system(&self, path: &Path) -> Option<&str> {
        let mounts = self.mountinfo.lines().filter_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let mount_point = unescaped(place.split(' ').nth(4)?);
            Some((mount_point, kind.split(' ').next()?))
        });
        // Of two at one place the later one covers the earlier.
        mounts
            .filter(|(mount_point, _)| path.starts_with(mount_point))
            .max_by_key(|(mount_point, _)| mount_point.components().count())
            .map(|(_, kind)| kind)
    }
}

/// The path without links, also when its last parts do not exist yet.
#[must_use]
pub fn resolved(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|ancestor| {
        let real = fs::canonicalize(ancestor).ok()?;
        path.strip_prefix(ancestor)
            .ok()
            .map(|rest| if rest == Path::new("") { real.clone() } else { real.join(rest) })
    });
    found.unwrap_or_else(|| path.to_owned())
}

/// Whether hosts of the whole internet can have a route to the address: not private, not of one link, not of
/// a provider's own network (RFC 6890).
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let octets = address.octets();
            let is_shared = octets[0] == 100 && octets[1] & 0b1100_0000 == 64;
            let is_benchmark = octets[0] == 198 && octets[1] & 0b1111_1110 == 18;
            !(octets[0] == 0
                || octets[0] >= 224
                || address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_documentation()
                || is_shared
                || is_benchmark)
        }
        // 2000::/3 is all that was ever given out (RFC 4291 section 2.4), less its documentation prefix.
        IpAddr::V6(address) => {
            let segments = address.segments();
            segments[0] & 0xe000 == 0x2000 && segments[..2] != [0x2001, 0x0db8]
        }
    }
}

fn read(path: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(machine.file_system(Path::new(path)), Some(kind), "{path}");
        }
        assert_eq!(Machine::default().file_system(Path::new("/")), None);
    }

    #[test]
    fn public_is_what_the_internet_can_route_to() {
        for address in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2a00:1450::1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "10.0.0.1",
            "172.17.0.2",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "198.18.0.1",
            "203.0.113.9",
            "::1",
            "fe80::1",
            "fd00::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
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
        assert_eq!(machine.file_system(Path::new("/")), None);
    }
}
