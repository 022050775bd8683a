//! The listening sockets: opened, or taken over from systemd; those of the network, and the local one.
//!
//! Rule: a refusal names the address and what to do about it; trouble with the local socket never keeps the relay from
//! starting. Must not know what is spoken on a socket.

use std::{
    env, fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use listenfd::ListenFd;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, sockopt},
};
use thiserror::Error;

use super::options::{Endpoint, Options};
use crate::unix_socket::UnixSocket;

/// Connections that the kernel keeps while we are busy; it caps the number at `net.core.somaxconn`.
const BACKLOG: i32 = 1024;
/// The names of the sockets that systemd has opened, with colons between them (sd_listen_fds_with_names(3)).
const NAMES: &str = "LISTEN_FDNAMES";

/// Why there is no socket to listen on.
#[derive(Debug, Error)]
pub enum BindError {
    /// Ports below 1024 are for the privileged.
    #[error(
        "not permitted to listen on {address}: ports below 1024 are reserved. Any one of these helps:\n  \
         - let systemd open it: systemctl enable --now pillarbox.socket\n  \
         - give the program the right: AmbientCapabilities=CAP_NET_BIND_SERVICE in its unit, or\n    \
         setcap cap_net_bind_service=+ep on the file\n  \
         - choose another port: addresses = [\"127.0.0.1:2525\"] under [listener]"
    )]
    NotPermitted {
        /// Which one.
        address: SocketAddr,
    },
    /// Another program listens there.
    #[error(
        "{address} is in use by another program (another mail server, or Pillarbox itself?).\n  \
         See which: ss -ltnp 'sport = :{}'\n  \
         Stop it, or choose another port in addresses under [listener].",
        address.port()
    )]
    InUse {
        /// Which one.
        address: SocketAddr,
    },
    /// This host has no such address.
    #[error(
        "{address} is not an address of this host.\n  See its addresses: ip address\n  Correct addresses under [listener]."
    )]
    NotOurs {
        /// Which one.
        address: SocketAddr,
    },
    /// Something else is wrong.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// Which one.
        address: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
    /// systemd passed a socket for TLS from the first byte.
    #[error(
        "systemd passed {address} as a socket for TLS (FileDescriptorName=smtps), but there is no certificate.\n  \
         Add tls_certificate and tls_key under [listener], or disable that socket unit."
    )]
    NoCertificate {
        /// Which one.
        address: SocketAddr,
    },
    /// systemd passed something that is no TCP socket.
    #[error(
        "socket {index} passed by systemd cannot be used: {source}.\n  \
         pillarbox.socket may have ListenStream= lines with TCP addresses, and one with a path, only."
    )]
    Inherited {
        /// Counted from 0.
        index: usize,
        /// The system's words.
        source: io::Error,
    },
}

/// A socket, and how its clients speak.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Bound and listening.
    pub(crate) socket: TcpListener,
    /// What the configuration says of its address.
    pub(crate) endpoint: Endpoint,
}

/// All sockets.
#[derive(Debug)]
pub struct Sockets {
    /// Of the network.
    pub(crate) network: Vec<Socket>,
    /// Of this host.
    pub(crate) local: Option<UnixSocket>,
}

/// Opens a socket for each address, and the local one. Sockets passed by systemd (sd_listen_fds(3)) replace them: those
/// of the network all the others of the network, a Unix socket the local one. An IPv6 address that this host does not
/// have is skipped with a warning, as long as another one works: the default has `[::1]`, and hosts without IPv6 exist.
pub fn bind(options: &Options) -> Result<Sockets, BindError> {
    let names = env::var(NAMES).unwrap_or_default();
    let inherited = inherited(ListenFd::from_env(), &names, &options.addresses)?;
    let speaks_tls = |one: &&Socket| one.endpoint.implicit_tls && options.tls.is_none();
    if let Some(socket) = inherited.network.iter().find(speaks_tls) {
        return Err(BindError::NoCertificate { address: socket.endpoint.address });
    }
    let network = if inherited.network.is_empty() { open_all(options)? } else { inherited.network };
    let local = inherited.local.or_else(|| bind_local(options.local.socket.as_deref()?));
    Ok(Sockets { network, local })
}

/// Why nothing can listen on an address just now, as a start would say it; the socket is given back at once.
#[must_use]
pub(crate) fn fault(address: SocketAddr, endpoints: &[Endpoint]) -> Option<BindError> {
    open(address, takes_ipv4(address, endpoints)).err()
}

fn open_all(options: &Options) -> Result<Vec<Socket>, BindError> {
    let mut sockets = Vec::with_capacity(options.addresses.len());
    let mut skipped = None;
    for endpoint in &options.addresses {
        let address = endpoint.address;
        match open(address, takes_ipv4(address, &options.addresses)) {
            Ok(socket) => sockets.push(Socket { socket, endpoint: *endpoint }),
            Err(error @ BindError::NotOurs { .. }) if address.is_ipv6() => {
                skipped.get_or_insert(error);
                tracing::warn!(%address, reason = "this host has no such IPv6 address", "skipped");
            }
            Err(error) => return Err(error),
        }
    }
    match skipped {
        Some(error) if sockets.is_empty() => Err(error),
        _ => Ok(sockets),
    }
}

fn inherited(
    mut passed: ListenFd,
    names: &str,
    endpoints: &[Endpoint],
) -> Result<Sockets, BindError> {
    let mut sockets = Vec::with_capacity(passed.len());
    let mut local = None;
    let names: Vec<&str> = names.split(':').collect();
    for index in 0..passed.len() {
        let wrong = |source| BindError::Inherited { index, source };
        // One that is no Unix socket stays where it is.
        if let Ok(Some(socket)) = passed.take_unix_listener(index) {
            local = Some(UnixSocket::inherited(socket).map_err(wrong)?);
            continue;
        }
        let Some(socket) = passed.take_tcp_listener(index).map_err(wrong)? else { continue };
        socket.set_nonblocking(true).map_err(wrong)?;
        let address = socket.local_addr().map_err(wrong)?;
        let named = names.get(index).and_then(|name| endpoint_named(name, address));
        let endpoint = named.unwrap_or_else(|| endpoint_of(address, endpoints));
        sockets.push(Socket { socket, endpoint });
    }
    if !sockets.is_empty() {
        let served: Vec<_> = sockets.iter().map(Served::of).collect();
        for address in ipv6_alone(&served) {
            tracing::warn!(
                %address,
                reason = "systemd has opened it for IPv6 alone, so IPv4 clients are refused; write BindIPv6Only=both into \
                          pillarbox.socket, or add a ListenStream= line for IPv4",
                "IPv6 only"
            );
        }
        for address in not_served(endpoints, &served) {
            tracing::warn!(
                %address,
                reason = "systemd passed other sockets; add a ListenStream= line to pillarbox.socket",
                "not opened"
            );
        }
    }
    Ok(Sockets { network: sockets, local })
}

/// What a socket that systemd has opened takes.
#[derive(Clone, Copy, Debug)]
struct Served {
    address: SocketAddr,
    /// Whether IPv4 clients reach it, too: as BindIPv6Only= says, or else net.ipv6.bindv6only of this host.
    with_ipv4: bool,
}

impl Served {
    fn of(socket: &Socket) -> Self {
        let address = socket.endpoint.address;
        let with_ipv4 = address.is_ipv4() || !sockopt::ipv6_v6only(&socket.socket).unwrap_or(false);
        Self { address, with_ipv4 }
    }

    fn is_of_all_ipv6(&self) -> bool {
        self.address.is_ipv6() && self.address.ip().is_unspecified()
    }
}

/// The sockets for all of IPv6 that leave IPv4 clients outside, when no other socket takes these at that port.
fn ipv6_alone(sockets: &[Served]) -> Vec<SocketAddr> {
    let takes_them = |port: u16| {
        sockets.iter().any(|other| {
            other.address.port() == port && other.with_ipv4 && other.address.ip().is_unspecified()
        })
    };
    let alone = sockets.iter().filter(|one| one.is_of_all_ipv6() && !one.with_ipv4);
    alone.map(|one| one.address).filter(|address| !takes_them(address.port())).collect()
}

/// The configured addresses at which no socket from systemd listens. One that is bound to all addresses
/// serves every one with its port; `[::]` takes IPv4 as well, unless systemd is told otherwise.
fn not_served(endpoints: &[Endpoint], sockets: &[Served]) -> Vec<SocketAddr> {
    let serves = |socket: &Served, address: SocketAddr| {
        let family = if address.is_ipv4() { socket.with_ipv4 } else { socket.address.is_ipv6() };
        let all = socket.address.ip().is_unspecified() && family;
        socket.address == address || (all && socket.address.port() == address.port())
    };
    let configured = endpoints.iter().map(|endpoint| endpoint.address);
    configured.filter(|address| !sockets.iter().any(|socket| serves(socket, *address))).collect()
}

/// What the name of a socket (FileDescriptorName=) says of its clients; other names say nothing.
fn endpoint_named(name: &str, address: SocketAddr) -> Option<Endpoint> {
    let plain = Endpoint::from(address);
    match name {
        "smtp" => Some(plain),
        "smtps" => Some(Endpoint { implicit_tls: true, ..plain }),
        "proxy" => Some(Endpoint { proxy: true, ..plain }),
        _ => None,
    }
}

/// What the configuration says of an address that systemd has bound: the entry with this address, or all
/// entries with this port, if they agree (systemd may have bound `[::]` for several of them); else the
/// clients speak plainly.
fn endpoint_of(address: SocketAddr, endpoints: &[Endpoint]) -> Endpoint {
    let speech = |endpoint: &Endpoint| (endpoint.implicit_tls, endpoint.proxy);
    let same_port: Vec<_> =
        endpoints.iter().filter(|other| other.address.port() == address.port()).collect();
    let found = match (same_port.iter().find(|other| other.address == address), &same_port[..]) {
        (Some(exact), _) => Some(speech(exact)),
        (None, [first, others @ ..])
            if others.iter().all(|other| speech(other) == speech(first)) =>
        {
            Some(speech(first))
        }
        _ => None,
    };
    if found.is_none() && endpoints.iter().any(|endpoint| speech(endpoint) != (false, false)) {
        tracing::warn!(%address, "socket from systemd is in no line of addresses under [listener]; taken as plain SMTP");
    }
    let (implicit_tls, proxy) = found.unwrap_or_default();
    Endpoint { address, implicit_tls, proxy }
}

/// Whether a socket on all addresses of IPv6 takes IPv4 clients, too, as everybody expects of `[::]:25`: unless another
/// line says what happens to those of the same port. They are IPv4 clients nevertheless, see `Options::network_of`.
#[must_use]
pub(crate) fn takes_ipv4(address: SocketAddr, endpoints: &[Endpoint]) -> bool {
    let has_ipv4_of_its_own = endpoints.iter().any(|other| {
        other.address.is_ipv4() && other.address.port() == address.port() && address.port() != 0
    });
    address.is_ipv6() && address.ip().is_unspecified() && !has_ipv4_of_its_own
}

fn open(address: SocketAddr, with_ipv4: bool) -> Result<TcpListener, BindError> {
    open_socket(address, with_ipv4).map_err(|errno| match errno {
        Errno::ACCESS | Errno::PERM => BindError::NotPermitted { address },
        Errno::ADDRINUSE => BindError::InUse { address },
        Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT => BindError::NotOurs { address },
        errno => BindError::Other { address, source: errno.into() },
    })
}

fn open_socket(address: SocketAddr, with_ipv4: bool) -> Result<TcpListener, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A restart must not wait until the connections of the last run are forgotten.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // The system has a default, which must not decide.
        sockopt::set_ipv6_v6only(&socket, !with_ipv4)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Everybody may connect; who it is, the kernel tells.
const SOCKET_MODE: u32 = 0o666;
/// Everybody must be able to pass through a directory that we make.
const DIRECTORY_MODE: u32 = 0o755;
/// What others need of the directory.
const PASSABLE: u32 = 0o001;

/// Takes the configured socket. What stands in the way is told, and the relay does without it.
fn bind_local(path: &Path) -> Option<UnixSocket> {
    let elsewhere = "set another socket under [sendmail], or socket = \"off\"";
    match UnixSocket::bind(path, SOCKET_MODE, DIRECTORY_MODE, elsewhere) {
        Ok(socket) => {
            if let Some(warning) = impassable(path) {
                tracing::warn!("{warning}");
            }
            Some(socket)
        }
        Err(error) => {
            tracing::warn!(%error, "no local socket: programs of this host reach the relay through the drop directory, or over TCP");
            None
        }
    }
}

/// Why other users cannot reach a socket at `path`, if its directory keeps them out.
#[must_use]
pub(crate) fn impassable(path: &Path) -> Option<String> {
    let directory = path.parent()?;
    let mode = fs::metadata(directory).ok()?.permissions().mode() & 0o7777;
    (mode & PASSABLE == 0).then(|| {
        format!(
            "other users cannot reach {}, because they may not pass through {} (mode {mode:04o}); run: chmod o+x {}",
            path.display(),
            directory.display(),
            directory.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::{
        os::fd::OwnedFd,
        process::{Command, Stdio},
    };

    use super::*;
    use crate::listener::tests::options;

    #[test]
    fn all_addresses_of_ipv6_take_ipv4_as_well_unless_another_line_has_its_port() {
        let endpoints = |texts: &[&str]| -> Vec<Endpoint> {
            texts.iter().map(|text| text.parse::<SocketAddr>().unwrap().into()).collect()
        };
        for (texts, takes) in [
            (&["[::]:25"][..], true),
            (&["[::]:25", "0.0.0.0:587"], true),
            (&["[::]:25", "0.0.0.0:25"], false),
            (&["[::]:25", "127.0.0.1:25"], false),
            (&["[::1]:25"], false),
            (&["0.0.0.0:25"], false),
        ] {
            let endpoints = endpoints(texts);
            assert_eq!(takes_ipv4(endpoints[0].address, &endpoints), takes, "{texts:?}");
        }
        let addresses = endpoints(&["[::]:0"]);
        let sockets = open_all(&Options { addresses, ..options() }).unwrap();
        let port = sockets[0].socket.local_addr().unwrap().port();
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// The variable that tells the child which address it must find.
    const EXPECTED: &str = "EXPECTED_ADDRESS_OF_THE_SOCKET";

    #[test]
    fn sockets_passed_by_systemd_replace_the_addresses() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        // The shell moves the socket to descriptor 3, where sd_listen_fds(3) has the first one.
        let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_FDNAMES=proxy LISTEN_PID=$$ exec \"$0\" \"$@\"";
        let outcome = Command::new("sh")
            .args(["-c", script])
            .arg(env::current_exe().unwrap())
            .args([
                "--exact",
                "listener::bind::tests::child_with_a_passed_socket",
                "--ignored",
                "--nocapture",
            ])
            .env(EXPECTED, address.to_string())
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&outcome.stdout);
        assert!(outcome.status.success() && text.contains("1 passed"), "{text}");
        assert!(text.contains("not opened") && text.contains("ListenStream="), "{text}");
    }

    #[test]
    #[ignore = "runs as the child of the test above"]
    fn child_with_a_passed_socket() {
        let log = crate::telemetry::tests::Captured::default();
        let level = tracing::Level::INFO;
        let telemetry = crate::telemetry::Options { format: crate::telemetry::Format::Json, level };
        let writer = log.clone();
        let subscriber = crate::telemetry::subscriber(telemetry, false, move || writer.clone());
        let _guard = tracing::subscriber::set_default(subscriber);
        let sockets = bind(&options()).unwrap();
        println!("{}", log.text());
        let addresses: Vec<String> = sockets
            .network
            .iter()
            .map(|socket| socket.socket.local_addr().unwrap().to_string())
            .collect();
        assert_eq!(addresses, [env::var(EXPECTED).unwrap()]);
        assert!(sockets.network[0].endpoint.proxy, "LISTEN_FDNAMES says how its clients speak");
    }

    #[test]
    fn a_passed_socket_is_matched_by_its_address_or_else_by_its_port() {
        let endpoint = |text: &str, implicit_tls, proxy| Endpoint {
            address: text.parse().unwrap(),
            implicit_tls,
            proxy,
        };
        let configured = [
            endpoint("127.0.0.1:25", false, false),
            endpoint("192.0.2.1:25", false, true),
            endpoint("127.0.0.1:465", true, false),
            endpoint("[::1]:465", true, false),
        ];
        for expected in [
            endpoint("192.0.2.1:25", false, true),
            endpoint("127.0.0.1:25", false, false),
            endpoint("[::]:465", true, false),
            // Those of port 25 do not agree, and 2525 is nowhere.
            endpoint("[::]:25", false, false),
            endpoint("127.0.0.1:2525", false, false),
        ] {
            assert_eq!(endpoint_of(expected.address, &configured), expected);
        }
    }

    #[test]
    fn the_name_of_a_passed_socket_says_how_its_clients_speak() {
        let address: SocketAddr = "127.0.0.1:4650".parse().unwrap();
        let named = |name| endpoint_named(name, address).map(|end| (end.implicit_tls, end.proxy));
        assert_eq!(named("smtp"), Some((false, false)));
        assert_eq!(named("smtps"), Some((true, false)));
        assert_eq!(named("proxy"), Some((false, true)));
        // The name that systemd gives by itself.
        assert_eq!(named("pillarbox.socket"), None);
    }

    #[test]
    fn a_configured_address_that_no_passed_socket_serves_is_found() {
        let parsed = |text: &str| {
            text.split(' ').map(|one| one.parse().unwrap()).collect::<Vec<SocketAddr>>()
        };
        for (configured, passed, missing) in [
            ("127.0.0.1:25 [::1]:25 0.0.0.0:465", "127.0.0.1:25 [::1]:25", Some("0.0.0.0:465")),
            ("127.0.0.1:25 [::1]:25", "[::]:25", None),
            ("127.0.0.1:25 [::1]:25", "0.0.0.0:25", Some("[::1]:25")),
            ("192.168.1.5:25", "192.168.1.6:25", Some("192.168.1.5:25")),
        ] {
            let configured: Vec<Endpoint> =
                parsed(configured).into_iter().map(Endpoint::from).collect();
            let expected = missing.map(parsed).unwrap_or_default();
            let passed: Vec<_> = parsed(passed)
                .into_iter()
                .map(|address| Served { address, with_ipv4: true })
                .collect();
            assert_eq!(not_served(&configured, &passed), expected);
        }
    }

    #[test]
    fn a_passed_socket_for_ipv6_alone_serves_no_ipv4_address_and_is_told_of() {
        let served = |text: &str, with_ipv4| Served { address: text.parse().unwrap(), with_ipv4 };
        let configured: Vec<Endpoint> = ["127.0.0.1:25", "[::1]:25"]
            .map(|text| text.parse::<SocketAddr>().unwrap().into())
            .into();
        let alone = [served("[::]:25", false)];
        assert_eq!(ipv6_alone(&alone), [alone[0].address]);
        assert_eq!(not_served(&configured, &alone), [configured[0].address]);
        for both in [
            &[served("[::]:25", true)][..],
            &[served("[::]:25", false), served("0.0.0.0:25", true)],
        ] {
            assert_eq!((ipv6_alone(both), not_served(&configured, both)), (vec![], vec![]));
        }
        // What the kernel says of a socket.
        let socket = open_socket("[::]:0".parse().unwrap(), false).unwrap();
        let endpoint = socket.local_addr().unwrap().into();
        assert!(!Served::of(&Socket { socket, endpoint }).with_ipv4);
    }

    #[test]
    fn an_address_in_use_is_named_with_the_way_to_find_the_other_program() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let error = bind(&Options { addresses: vec![address.into()], ..options() }).unwrap_err();
        let text = error.to_string();
        let hint = format!("ss -ltnp 'sport = :{}'", address.port());
        assert!(text.contains(&address.to_string()) && text.contains(&hint), "{text}");
    }

    #[test]
    fn a_missing_permission_names_the_three_remedies() {
        let address = SocketAddr::from(([127, 0, 0, 1], 25));
        let text = BindError::NotPermitted { address }.to_string();
        for remedy in ["pillarbox.socket", "CAP_NET_BIND_SERVICE", "127.0.0.1:2525"] {
            assert!(text.contains(remedy), "{remedy} is missing in: {text}");
        }
    }

    #[test]
    fn an_ipv6_address_that_is_missing_is_skipped_only_if_another_address_works() {
        // The documentation prefix of RFC 3849 belongs to no host.
        let missing: SocketAddr = "[2001:db8::1]:0".parse().unwrap();
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let both = bind(&Options { addresses: vec![missing.into(), loopback.into()], ..options() })
            .unwrap();
        assert_eq!(both.network.len(), 1);
        let alone = bind(&Options { addresses: vec![missing.into()], ..options() });
        assert!(matches!(alone, Err(BindError::NotOurs { .. })), "{alone:?}");
    }

    #[test]
    fn an_ipv4_address_that_is_missing_is_an_error() {
        // TEST-NET-1 of RFC 5737.
        let addresses = ["192.0.2.1:0", "127.0.0.1:0"]
            .map(|text| text.parse::<SocketAddr>().unwrap().into())
            .into();
        assert!(matches!(
            bind(&Options { addresses, ..options() }),
            Err(BindError::NotOurs { .. })
        ));
    }

    #[test]
    fn everybody_may_reach_the_local_socket_and_trouble_with_it_is_no_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/submit.sock");
        let socket = bind_local(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (SOCKET_MODE, DIRECTORY_MODE));
        assert!(bind_local(&path).is_none());
        drop(socket);
        fs::write(&path, "precious").unwrap();
        assert!(bind_local(&path).is_none());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_directory_that_keeps_others_out_is_named_with_the_command() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("submit.sock");
        let open =
            |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        open(0o755);
        assert_eq!(impassable(&path), None);
        open(0o750);
        assert!(impassable(&path).unwrap().contains("run: chmod o+x "));
    }
}
