//! The deeds: directories and files that are there whole or not at all, with the mode and the owner of the plan.
//!
//! Rule: written beside, synced, renamed, and the directory synced, so that after a kill or a power cut the old file is there
//! or the new one; a link of somebody else's is never followed. The password leaves here to its file and nowhere else.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{
    found::{Found, parent},
    plan::Deed,
    service,
};
use crate::{
    careful_file::{self, Links, is_root},
    exit::{Exit, Failure},
    secret::Secret,
    settings,
};

/// What is appended to the name of a file while it is written.
const BESIDE: &str = ".new";
/// Octets of a client's or a key's file.
pub(super) const SECRET_FILE_MAX: u64 = 64 * 1024;
/// The group that the service runs in.
const GROUP: &str = "pillarbox";
const GROUPS: &str = "/etc/group";

/// How a file is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    mode: u32,
    /// User and group, when root writes.
    owner: Option<(u32, u32)>,
}

impl Whole {
    /// Of whoever writes it.
    pub(super) fn new(mode: u32) -> Self {
        Self { mode, owner: None }
    }
}

/// Does one deed. `password` is the one that was given.
pub(super) fn perform(
    deed: &Deed,
    found: &Found,
    password: Option<&Secret>,
) -> Result<(), Failure> {
    let mode = deed.mode().unwrap_or_default();
    match deed {
        Deed::Directory { path } => make_directory(path, mode),
        Deed::Password { path, .. } => {
            let Some(password) = password else { return Ok(()) };
            let line = Zeroizing::new(format!("{}\n", password.expose()));
            replace(path, line.as_bytes(), Whole::new(mode))
        }
        Deed::Copy { from, to, for_service, .. } => {
            let group = if *for_service && is_root() { group_id() } else { None };
            let bytes = secret_bytes(from)?;
            replace(to, &bytes, Whole { mode, owner: group.map(|group| (0, group)) })
        }
        Deed::Config { path, text, is_new, .. } => {
            let target = if *is_new { path.clone() } else { followed(path)? };
            expect_unchanged(path, found)?;
            let whole = if *is_new { Whole::new(mode) } else { as_it_is(&target)? };
            replace(&target, text.as_bytes(), whole)
        }
        Deed::DropIn { path, text, .. } => {
            make_directory(parent(path), 0o755)?;
            replace(path, text.as_bytes(), Whole::new(mode))
        }
        Deed::Service { arguments, .. } => service::order(arguments).map_err(|words| {
            let words = format!(
                "{words}\n  See why: journalctl -u {}; then call pillarbox setup again.",
                service::UNIT
            );
            Failure::new(Exit::Unavailable, words)
        }),
        Deed::Prove { .. } => Ok(()),
    }
}

/// Somebody may have edited the file while questions were answered.
fn expect_unchanged(path: &Path, found: &Found) -> Result<(), Failure> {
    let now = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        _ => Some(settings::text_of(path)?),
    };
    if now == found.text {
        return Ok(());
    }
    let words = format!(
        "{} was changed meanwhile, and is left as it is; call pillarbox setup again",
        path.display()
    );
    Err(Failure::new(Exit::Temporary, words))
}

/// What the administrator's link leads to.
fn followed(path: &Path) -> Result<PathBuf, Failure> {
    careful_file::expect_no_link_of_others(path)
        .and_then(|()| fs::canonicalize(path))
        .map_err(|error| cannot("change", path, &error))
}

fn as_it_is(path: &Path) -> Result<Whole, Failure> {
    let found = path.metadata().map_err(|error| cannot("change", path, &error))?;
    let owner = is_root().then(|| (found.uid(), found.gid()));
    Ok(Whole { mode: found.mode() & 0o7777, owner })
}

/// The octets of a file with a secret.
pub(super) fn secret_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let read = || {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_FILE_MAX as usize + 1));
        let file = careful_file::open(path, Links::Followed)?;
        file.take(SECRET_FILE_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > SECRET_FILE_MAX {
            return Err(io::Error::other(format!("it is longer than {SECRET_FILE_MAX} octets")));
        }
        Ok(bytes)
    };
    read().map_err(|error: io::Error| cannot("read", path, &error))
}

fn make_directory(path: &Path, mode: u32) -> Result<(), Failure> {
    let make = || {
        if path.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(mode).create(path)?;
        // The mask of this process is for secrets.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        File::open(parent(path))?.sync_all()
    };
    make().map_err(|error: io::Error| cannot("make", path, &error))
}

/// Puts a whole file in the place of what is there.
pub(super) fn replace(path: &Path, bytes: &[u8], whole: Whole) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(BESIDE);
    let beside = PathBuf::from(beside);
    let put = || {
        let mut file = careful_file::create(&beside, whole.mode)?;
        if let Some((user, group)) = whole.owner {
            fchown(&file, Some(user), Some(group))?;
        }
        // After the owner, whose change would take bits away; and the mask does not count.
        file.set_permissions(Permissions::from_mode(whole.mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(parent(path))?.sync_all()
    };
    put().map_err(|error: io::Error| {
        drop(fs::remove_file(&beside));
        cannot("write", path, &error)
    })
}

/// Removes a file, for good.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    let remove = || match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(parent(path))?.sync_all(),
    };
    remove().map_err(|error: io::Error| cannot("remove", path, &error))
}

fn group_id() -> Option<u32> {
    let groups = fs::read_to_string(GROUPS).ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == GROUP).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// A file that cannot be read or written, and what helps.
fn cannot(verb: &str, path: &Path, error: &io::Error) -> Failure {
    let shown = path.display();
    let (exit, help) = match error.kind() {
        io::ErrorKind::PermissionDenied => (
            Exit::Permission,
            "; run it as root, or name a file of your own, such as: pillarbox setup --config ./relay.toml",
        ),
        io::ErrorKind::NotFound if verb == "read" => (Exit::Data, ""),
        _ => (Exit::CannotCreate, ""),
    };
    Failure::new(exit, format!("cannot {verb} {shown}: {error}{help}"))
}
