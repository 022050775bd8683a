//! The files of the listener: certificate, key and users.
//!
//! Rule: files are looked at as the caller; what only the relay's own user may read is not blamed on the configuration.
//! Must not know how the listener uses its files.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use super::{certificate::ends_at, places::Found};
use crate::{
    clock::Timestamp,
    listener::{
        Options,
        options::TlsFiles,
        tls,
        users::{UsersError, UsersFile, UsersOf},
    },
    quantities::when,
};

/// How long before a certificate's end there is a warning: time for whoever renews it by hand.
const CERTIFICATE_WARNING: Duration = Duration::from_secs(14 * 86_400);
/// Who reads the key can pretend to be this host.
const READABLE_BY_ALL: u32 = 0o004;
/// Skipped lines of the users file that are named.
const BAD_LINES_SHOWN: usize = 5;

/// Looks at the certificate and its key.
pub(crate) fn certificate(listener: &Options, now: Timestamp) -> Found {
    let mut door = Door::default();
    if let Some(files) = &listener.tls {
        door.look_at_certificate(files, now);
    }
    door.0
}

/// Looks at the users file.
pub(crate) fn users(listener: &Options) -> Found {
    let mut door = Door::default();
    if let Some(path) = &listener.users_file {
        door.look_at_users(path);
    }
    door.0
}

#[derive(Default)]
struct Door(Found);

impl Door {
    fn look_at_certificate(&mut self, files: &TlsFiles, now: Timestamp) {
        for path in [&files.certificate, &files.key] {
            if let Err(error) = fs::File::open(path)
                && error.kind() == io::ErrorKind::PermissionDenied
            {
                return self.0.warnings.push(format!(
                    "{} cannot be looked at ({error}); check as root, or as the user that runs the relay",
                    path.display()
                ));
            }
        }
        self.0.wrong.extend(open_key(files));
        if let Err(error) = tls::check(files) {
            return self.0.wrong.push(error.to_string());
        }
        self.0.warnings.extend(certificate_end(files, now));
    }

    fn look_at_users(&mut self, path: &Path) {
        let shown = path.display();
        match UsersFile::read(path, UsersOf::Listener) {
            Ok(users) => {
                if users.logins.is_empty() {
                    let words = format!(
                        "nobody can log in: {shown} has no users; add one with: pillarbox user add LOGIN"
                    );
                    self.0.warnings.push(words);
                }
                let lines = users.skipped.iter().take(BAD_LINES_SHOWN);
                self.0.warnings.extend(
                    lines.map(|bad| {
                        format!("line {} of {shown} is skipped: {}", bad.line, bad.reason)
                    }),
                );
            }
            Err(UsersError::Unreadable { error, .. })
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                self.0.warnings.push(format!(
                    "the users file {shown} cannot be looked at ({error}); check as root, or as the user that runs the \
                     relay"
                ));
            }
            Err(error) => self.0.wrong.push(error.to_string()),
        }
    }
}

/// What a start says of the certificate, which can be used.
pub(crate) fn certificate_warnings(files: &TlsFiles, now: Timestamp) -> Vec<String> {
    open_key(files).into_iter().chain(certificate_end(files, now)).collect()
}

/// A key that everybody can read.
fn open_key(files: &TlsFiles) -> Option<String> {
    let mode = fs::metadata(&files.key).ok()?.permissions().mode();
    let key = files.key.display();
    (mode & READABLE_BY_ALL != 0)
        .then(|| format!("everybody can read the private key {key}; run: chmod o-rwx {key}"))
}

/// A certificate that ends soon, or has ended.
fn certificate_end(files: &TlsFiles, now: Timestamp) -> Option<String> {
    let end = ends_at(&files.certificate)?;
    let (verb, file) = (if end <= now { "ended" } else { "ends" }, files.certificate.display());
    (end <= now.after(CERTIFICATE_WARNING)).then(|| {
        format!(
            "the certificate {file} {verb} at {}; renew it, the relay takes it up by itself",
            when(end, now)
        )
    })
}
