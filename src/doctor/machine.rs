//! This machine as data: what the kernel says, who holds a port, which program a name leads to, what the clock is said to be.
//!
//! Rule: everything is read below one root, so that a test makes a machine of files. What cannot be read says nothing, and
//! no list of the kernel is read beyond a limit.

use std::{
    fs::{self, File},
    io::Read as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Component, Path, PathBuf},
};

use crate::settings::host;

/// Octets of a table of sockets: tens of thousands of connections.
const TABLE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Processes, and open files of each, among which the holder of a port is looked for.
const PROCESSES_MAX: usize = 20_000;
const FILES_MAX: usize = 5_000;
/// Octets of a process's name; the kernel has 15.
const NAME_BYTES_MAX: u64 = 64;
/// Links that are followed, as many as the kernel follows.
const LINKS_MAX: usize = 40;
/// The state of a socket that listens (`TCP_LISTEN`).
const LISTENING: &str = "0A";

/// A machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    root: PathBuf,
    /// What the kernel says of routes, addresses and mounts.
    pub(super) kernel: host::Machine,
}

impl Machine {
    /// The machine whose files are below `root`.
    #[must_use]
    pub(crate) fn below(root: &Path) -> Self {
        Self { root: root.to_owned(), kernel: host::Machine::below(root) }
    }

    /// Whether the file is there.
    pub(super) fn has(&self, path: &str) -> bool {
        self.path(Path::new(path)).exists()
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// What the path leads to when all links are followed, within this machine; `None` when nothing is there, and the
    /// place where the way ends when a link leads nowhere.
    pub(super) fn followed(&self, path: &str) -> Option<Result<PathBuf, PathBuf>> {
        let mut place = PathBuf::from(path);
        fs::symlink_metadata(self.path(&place)).ok()?;
        for _ in 0..LINKS_MAX {
            let Ok(target) = fs::read_link(self.path(&place)) else {
                let is_there = self.path(&place).exists();
                return Some(if is_there { Ok(place) } else { Err(place) });
            };
            place.pop();
            place = plain(&place.join(target));
        }
        Some(Err(place))
    }

    /// The programs that listen where `address` would have to, such as `exim4 (process 812)`; empty when that cannot be
    /// found out.
    pub(super) fn holders(&self, address: SocketAddr) -> Vec<String> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| self.text(path));
        let inodes: Vec<String> = tables
            .iter()
            .flat_map(|table| table.lines().filter_map(listener))
            .filter(|(held, _)| collide(*held, address))
            .map(|(_, inode)| format!("socket:[{inode}]"))
            .collect();
        if inodes.is_empty() { Vec::new() } else { self.processes_with(&inodes) }
    }

    fn processes_with(&self, files: &[String]) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(Path::new("/proc"))) else { return Vec::new() };
        let ids = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let ids = ids.filter(|name| name.bytes().all(|octet| octet.is_ascii_digit()));
        let holds = |id: &String| {
            let open = fs::read_dir(self.path(&Path::new("/proc").join(id).join("fd")));
            open.into_iter().flatten().flatten().take(FILES_MAX).any(|file| {
                let target = fs::read_link(file.path());
                target.is_ok_and(|target| files.iter().any(|file| target == Path::new(file)))
            })
        };
        let holders = ids.take(PROCESSES_MAX).filter(holds);
        holders.map(|id| format!("{} (process {id})", self.name_of(&id))).collect()
    }

    fn name_of(&self, process: &str) -> String {
        let name = self.limited(&format!("/proc/{process}/comm"), NAME_BYTES_MAX);
        name.trim().to_owned()
    }

    fn text(&self, path: &str) -> String {
        self.limited(path, TABLE_BYTES_MAX)
    }

    fn limited(&self, path: &str, octets: u64) -> String {
        let mut bytes = Vec::new();
        let file = File::open(self.path(Path::new(path)));
        drop(file.and_then(|file| file.take(octets).read_to_end(&mut bytes)));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The path without `..`, as a person would write it.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, component| {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            component => plain.push(component),
        }
        plain
    })
}

/// Columns: number, local address, remote address, state, queues, timer, retransmissions, user, timeout, inode.
fn listener(line: &str) -> Option<(SocketAddr, &str)> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, LISTENING, _, _, _, _, _, inode, ..] = columns[..] else { return None };
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Words of 32 bits as the machine has them.
    let words = address.as_bytes().chunks(8).map(|word| {
        let word = std::str::from_utf8(word).ok()?;
        u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes)
    });
    let words: Vec<[u8; 4]> = words.collect::<Option<_>>()?;
    let address = match words[..] {
        [v4] => IpAddr::from(Ipv4Addr::from(v4)),
        [a, b, c, d] => {
            let octets = <[u8; 16]>::try_from([a, b, c, d].concat()).ok()?;
            IpAddr::from(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some((SocketAddr::new(address, port), inode))
}

/// Whether both cannot be listened on at once.
fn collide(held: SocketAddr, wanted: SocketAddr) -> bool {
    let (held_ip, wanted_ip) = (held.ip().to_canonical(), wanted.ip().to_canonical());
    let all = |address: IpAddr| address.is_unspecified();
    let same_family = held_ip.is_ipv4() == wanted_ip.is_ipv4();
    // `[::]` takes IPv4 as well, unless it was told otherwise.
    let covers = |wide: IpAddr, other: IpAddr| all(wide) && (wide.is_ipv6() || other.is_ipv4());
    held.port() == wanted.port()
        && ((same_family && held_ip == wanted_ip)
            || covers(held_ip, wanted_ip)
            || covers(wanted_ip, held_ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_read_as_the_kernel_writes_it() {
        let v4 = "   0: 0100007F:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000  101        0 4242 1 0 100";
        let v6 = "   1: 00000000000000000000000001000000:0019 0:0 0A 0:0 00:0 0 0 0 77 1 0";
        let little_endian = cfg!(target_endian = "little");
        if little_endian {
            assert_eq!(listener(v4), Some(("127.0.0.1:25".parse().unwrap(), "4242")));
            assert_eq!(listener(v6), Some(("[::1]:25".parse().unwrap(), "77")));
        }
        assert_eq!(listener(&v4.replace(" 0A ", " 01 ")), None, "a connection");
        for nonsense in ["", "sl local_address rem_address st", "0: x:y z 0A 0 0 0 0 0 1"] {
            assert_eq!(listener(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_address_for_all_collides_with_every_one_of_its_port() {
        let check =
            |held: &str, wanted: &str| collide(held.parse().unwrap(), wanted.parse().unwrap());
        for (held, wanted) in [
            ("127.0.0.1:25", "127.0.0.1:25"),
            ("0.0.0.0:25", "127.0.0.1:25"),
            ("[::]:25", "127.0.0.1:25"),
            ("127.0.0.1:25", "0.0.0.0:25"),
            ("[::ffff:127.0.0.1]:25", "127.0.0.1:25"),
        ] {
            assert!(check(held, wanted), "{held} {wanted}");
        }
        for (held, wanted) in [
            ("127.0.0.1:26", "127.0.0.1:25"),
            ("127.0.0.2:25", "127.0.0.1:25"),
            ("0.0.0.0:25", "[::1]:25"),
            ("[::1]:25", "127.0.0.1:25"),
        ] {
            assert!(!check(held, wanted), "{held} {wanted}");
        }
    }
}
