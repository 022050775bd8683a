//! The volume that the queue is on: whether mail that lies there outlives the container, the machine's run, the network.
//!
//! Rule: what looks like a disk is told apart by the part of it that is mounted: engines give a volume without a name,
//! and an emptyDir, a directory of the host's own disk. What is unknown is taken to last.

use std::path::{Component, Path, PathBuf};

/// A file system, or the part of one that is mounted somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Which part of the file system it is.
    pub(crate) root: PathBuf,
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// Such as `ext4`.
    pub(crate) kind: String,
    /// Such as `/dev/sda1`.
    pub(crate) source: String,
}

/// File systems whose content ends with the machine's run.
const VOLATILE: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];
/// File systems that end with their container.
const OF_CONTAINERS: [&str; 4] = ["overlay", "overlayfs", "aufs", "fuse.fuse-overlayfs"];
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
/// Where engines whose storage driver is none of [`OF_CONTAINERS`] have the root of a container, as two directories in a row.
const ROOTS_OF_CONTAINERS: [[&str; 2]; 4] =
    [["btrfs", "subvolumes"], ["vfs", "dir"], ["zfs", "graph"], ["devicemapper", "mnt"]];
/// Hexadecimal digits of the name that engines give to a volume, or to the root of a container, that has none.
const ENGINE_NAME_LENGTH: usize = 64;
/// What an engine has below the directory of a volume.
const DATA: &str = "_data";
/// What containerd has below the directory of a container that ends with it: the volumes that an image asks for and the
/// pod does not name.
const OF_CONTAINER: &str = "volumes";
/// Directories of the kubelet that end with their pod.
const OF_PODS: [&str; 2] = ["kubernetes.io~empty-dir", "kubernetes.io~ephemeral"];

/// How a volume ends before its mail has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Machine,
    Container,
    Pod,
    Unnamed,
    Network,
}

/// A directory in which mail lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The queue's.
    Queue,
    /// That of the programs of this host while the relay is down.
    Drop,
}

impl Kept {
    fn name(self) -> &'static str {
        match self {
            Self::Queue => "the queue's directory",
            Self::Drop => "the drop directory",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Queue => "queue.directory",
            Self::Drop => "sendmail.drop_directory",
        }
    }
}

/// What may go wrong with a directory on this, and what to do.
pub(super) fn trouble(kept: Kept, directory: &Path, mount: &Mount) -> Option<(String, String)> {
    let end = end(mount)?;
    let (name, place, kind) = (kept.name(), directory.display(), &mount.kind);
    let lost = "mail that was accepted would be lost";
    let what = match end {
        End::Machine => {
            format!("is on {kind}, which is empty after a restart of the machine: {lost}")
        }
        End::Container => format!("is on {kind}, which goes when its container is removed: {lost}"),
        End::Pod => format!("is on a volume of Kubernetes that goes with its pod: {lost}"),
        End::Unnamed => format!(
            "is on a volume without a name, of which a new container gets a new one: {lost}"
        ),
        End::Network => format!(
            "is on {kind}, a network file system: neither its locks nor its syncs can be relied on, so mail could be lost \
             or sent twice"
        ),
    };
    let remedy = match end {
        End::Pod => "Mount a persistentVolumeClaim there instead of an emptyDir".to_owned(),
        End::Unnamed => {
            let point = mount.point.display();
            format!("Give the volume a name when the container is made: --volume pillarbox:{point}")
        }
        _ => {
            format!("Mount a volume or a local disk there, or set {} to a place on one", kept.key())
        }
    };
    Some((format!("{name} {place} {what}"), remedy))
}

/// Whether the file system goes when its container is removed.
pub(crate) fn ends_with_its_container(mount: &Mount) -> bool {
    end(mount) == Some(End::Container)
}

fn end(mount: &Mount) -> Option<End> {
    let kind = mount.kind.as_str();
    let names: Vec<&str> = mount.root.components().filter_map(name).collect();
    // Its own word for tmpfs does not matter: the pod ends first.
    if names.iter().any(|name| OF_PODS.contains(name)) {
        return Some(End::Pod);
    }
    if VOLATILE.contains(&kind) {
        return Some(End::Machine);
    }
    if OF_CONTAINERS.contains(&kind) {
        return Some(End::Container);
    }
    if REMOTE.contains(&kind) {
        return Some(End::Network);
    }
    // `/var/lib/docker/volumes/NAME/_data`, of which the file system may be mounted anywhere above.
    if names.windows(2).any(|two| is_of_engine(two[0]) && two[1] == DATA) {
        return Some(End::Unnamed);
    }
    let is_of_container =
        names.windows(2).any(|two| is_of_engine(two[0]) && two[1] == OF_CONTAINER)
            || names.windows(3).any(|three| {
                ROOTS_OF_CONTAINERS.contains(&[three[0], three[1]]) && is_of_engine(three[2])
            })
            || mount.source.rsplit(['/', '-']).next().is_some_and(is_of_engine);
    is_of_container.then_some(End::Container)
}

/// Whether an engine has made the name, because nobody gave one.
fn is_of_engine(name: &str) -> bool {
    name.len() == ENGINE_NAME_LENGTH && name.bytes().all(|octet| octet.is_ascii_hexdigit())
}

fn name(component: Component<'_>) -> Option<&str> {
    match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_that_dies_with_its_container_is_told_from_a_disk_by_the_part_that_is_mounted() {
        let hash = "0123456789abcdef".repeat(4);
        let end_of = |root: &str, kind: &str| {
            let source = "/dev/sda1".to_owned();
            let root = root.replace("HASH", &hash).into();
            end(&Mount { root, point: "/queue".into(), kind: kind.into(), source })
        };
        for (root, kind, expected) in [
            ("/", "ext4", None),
            ("/var/lib/docker/volumes/pillarbox/_data", "ext4", None),
            ("/docker/volumes/my-HASH/_data", "ext4", None),
            ("/srv/HASH", "xfs", None),
            ("/volumes/HASH", "btrfs", None),
            ("/var/lib/kubelet/pods/1/volumes/kubernetes.io~csi/pvc-1/mount", "ext4", None),
            ("/var/lib/kubelet/pods/1/volumes/kubernetes.io~local-volume/a", "ext4", None),
            ("/var/lib/docker/volumes/HASH/_data", "ext4", Some(End::Unnamed)),
            ("/docker/volumes/HASH/_data", "xfs", Some(End::Unnamed)),
            ("/volumes/HASH/_data", "btrfs", Some(End::Unnamed)),
            ("/HASH/_data", "xfs", Some(End::Unnamed)),
            ("/lib/nerdctl/1/volumes/default/HASH/_data", "ext4", Some(End::Unnamed)),
            ("/lib/containerd/io/containers/HASH/volumes/HASH", "ext4", Some(End::Container)),
            (
                "/home/a/.local/share/containers/storage/volumes/HASH/_data/q",
                "xfs",
                Some(End::Unnamed),
            ),
            (
                "/var/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/spool",
                "ext4",
                Some(End::Pod),
            ),
            ("/kubelet/pods/1/volumes/kubernetes.io~empty-dir/spool/q", "xfs", Some(End::Pod)),
            ("/var/lib/docker/vfs/dir/HASH", "ext4", Some(End::Container)),
            ("/@/var/lib/docker/btrfs/subvolumes/HASH", "btrfs", Some(End::Container)),
            ("/", "overlay", Some(End::Container)),
            ("/", "tmpfs", Some(End::Machine)),
            ("/export", "nfs4", Some(End::Network)),
        ] {
            assert_eq!(end_of(root, kind), expected, "{root} {kind}");
        }
        let of_driver = |source: String| {
            end(&Mount { root: "/".into(), point: "/".into(), kind: "zfs".into(), source })
        };
        assert_eq!(of_driver(format!("rpool/docker/{hash}")), Some(End::Container));
        assert_eq!(of_driver(format!("/dev/mapper/docker-8:1-{hash}")), Some(End::Container));
        assert_eq!(of_driver("rpool/data".into()), None);
    }
}
