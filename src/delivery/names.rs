//! The addresses of a name: a name with a dot in it is a whole one, whatever search domains this host has.
//!
//! Rule: with `ndots:5` and a wildcard in a search domain (Kubernetes) `smtp.gmail.com` would lead to another server. What
//! /etc/hosts names stays as it says, and a name that is not known as a whole one is looked up as this host would.

use std::{io, net::SocketAddr, path::Path};

use tokio::net::lookup_host;

/// Where names of this host's own are; octets of it that are read.
const HOSTS_FILE: &str = "/etc/hosts";
const HOSTS_BYTES_MAX: u64 = 256 * 1024;

/// The addresses of a host, an address itself included.
pub(super) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(whole) = whole(host)
        && !is_in_hosts_file(host).await
        && let Ok(addresses) = lookup_host((whole.as_str(), port)).await
    {
        let addresses: Vec<SocketAddr> = addresses.collect();
        if !addresses.is_empty() {
            return Ok(addresses);
        }
    }
    Ok(lookup_host((host, port)).await?.collect())
}

/// The name with the final dot that says that it is whole; `None` for an address and for a name without a dot, which only
/// a search domain or this host can complete.
fn whole(host: &str) -> Option<String> {
    let is_name = host.parse::<std::net::IpAddr>().is_err();
    (is_name && host.contains('.') && !host.ends_with('.')).then(|| format!("{host}."))
}

async fn is_in_hosts_file(host: &str) -> bool {
    let host = host.to_owned();
    let look = move || names(Path::new(HOSTS_FILE), &host);
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}

/// Whether a file in the form of hosts(5) has the name.
fn names(file: &Path, host: &str) -> bool {
    use io::Read as _;
    let mut text = Vec::new();
    let read = std::fs::File::open(file)
        .and_then(|file| file.take(HOSTS_BYTES_MAX).read_to_end(&mut text));
    read.is_ok()
        && String::from_utf8_lossy(&text).lines().any(|line| {
            let entry = line.split('#').next().unwrap_or("");
            entry.split_whitespace().skip(1).any(|name| name.eq_ignore_ascii_case(host))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_dot_is_whole_and_others_are_left_to_this_host() {
        assert_eq!(whole("smtp.gmail.com").as_deref(), Some("smtp.gmail.com."));
        for host in ["localhost", "mail", "192.0.2.1", "2001:db8::1", "smtp.gmail.com."] {
            assert_eq!(whole(host), None, "{host}");
        }
    }

    #[test]
    fn what_the_hosts_file_names_is_this_hosts_own() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hosts");
        std::fs::write(
            &file,
            "127.0.0.1 localhost\n192.0.2.7\tSMTP.example.org smtp # mail.example.org\n",
        )
        .unwrap();
        assert!(names(&file, "smtp.example.org") && names(&file, "smtp"));
        assert!(!names(&file, "mail.example.org") && !names(&file, "192.0.2.7"));
        assert!(!names(&directory.path().join("none"), "smtp"));
    }

    #[tokio::test]
    async fn an_address_and_this_host_are_found_without_a_name_server() {
        assert_eq!(addresses("127.0.0.1", 25).await.unwrap(), ["127.0.0.1:25".parse().unwrap()]);
        assert!(addresses("localhost", 25).await.unwrap().iter().all(|one| one.ip().is_loopback()));
    }
}
