//! What may go wrong with a correct configuration on this very machine: strangers who look like friends, mail
//! that does not outlive a restart, a door open to the internet.
//!
//! Rule: a warning never stops the relay, for only a person knows what is around it; each says what to do.
//! Pure: the machine comes in as texts. Must not know how warnings are shown.

use std::{fmt, net::SocketAddr, path::Path};

use super::machine::{Machine, is_public};
use crate::{handbook, listener::Options, smtp::session::Authentication};

/// File systems whose content ends with the machine's run.
const VOLATILE: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];
/// File systems that end with their container.
const OF_CONTAINERS: [&str; 3] = ["overlay", "aufs", "fuse.fuse-overlayfs"];
/// File systems behind a network.
const REMOTE: [&str; 11] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "afs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.s3fs",
];

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
/// the queue.
#[must_use]
pub fn warnings(
    listener: &Options,
    addresses: &[SocketAddr],
    store: &Path,
    machine: &Machine,
) -> Vec<Warning> {
    let gateways = gateways(listener, addresses, machine);
    let door = open_door(listener, addresses, machine);
    gateways
        .into_iter()
        .chain(volatile(store, machine))
        .chain(door)
        .chain(proxies(listener))
        .collect()
}

/// A trusted network that holds the gateway.
fn gateways(listener: &Options, addresses: &[SocketAddr], machine: &Machine) -> Vec<Warning> {
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

/// A queue that does not last.
fn volatile(store: &Path, machine: &Machine) -> Option<Warning> {
    let kind = machine.file_system(store)?;
    let why = if VOLATILE.contains(&kind) {
        "which is empty after a restart of the machine: mail that was accepted would be lost"
    } else if OF_CONTAINERS.contains(&kind) {
        "which goes when its container is removed: mail that was accepted would be lost"
    } else if REMOTE.contains(&kind) {
        "a network file system: neither its locks nor its syncs can be relied on, so mail could be lost or sent twice"
    } else {
        return None;
    };
    Some(Warning {
        what: format!("the queue's directory {} is on {kind}, {why}", store.display()),
        remedy: "Mount a volume or a local disk there, or set queue.directory to a place on one"
            .into(),
    })
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
            return is_public(address.ip().to_canonical()).then_some((address, address.ip()));
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
            "whoever reaches {} can pretend to be any client, also a trusted one, for it believes every PROXY header",
            endpoint.address
        ),
        remedy: "Make sure with a firewall, or a network of their own, that only the proxy reaches it".into(),
    });
    warnings.collect()
}
