//! `make static`: a binary that needs nothing but a kernel.
//!
//! It takes minutes to build, so it is looked at where it has been built; this says so when it has not. The Docker
//! image is built from the same target.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::stage::{call, done};
use crate::support::{daemon::pillarbox, executable};

/// target/static/pillarbox, beside target/debug/pillarbox.
fn binary() -> PathBuf {
    let debug = PathBuf::from(pillarbox().get_program());
    debug.parent().unwrap().parent().unwrap().join("static/pillarbox")
}

#[test]
fn it_is_sendmail_in_a_root_directory_with_nothing_else() {
    let binary = binary();
    if !binary.exists() {
        eprintln!("static binary: NOT CHECKED, {} is missing; run `make static`", binary.display());
        return;
    }
    assert!(rustix::process::geteuid().is_root(), "chroot needs root");
    // ldd fails for what is not dynamic.
    let linked = done(Command::new("ldd").arg(&binary).stdin(Stdio::null()).output().unwrap());
    assert!(
        linked.stdout.contains("statically linked") || linked.stderr.contains("not a dynamic"),
        "{linked:?}"
    );
    let root = tempfile::tempdir().unwrap();
    executable::copy(&binary, &root.path().join("sendmail"));
    let sendmail = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new("chroot");
        command.arg(root.path()).arg("/sendmail").args(arguments).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        call(&mut command, b"Subject: x\n\nbody\n")
    };
    let nowhere = sendmail(&["a@b.example"], &[]);
    assert_eq!(nowhere.code, Some(75), "no daemon, no directory, and it says so: {nowhere:?}");
    fs::create_dir(root.path().join("drop")).unwrap();
    sendmail(&["a@b.example"], &[("PILLARBOX__SENDMAIL__DROP_DIRECTORY", "/drop")]).quietly();
    assert_eq!(fs::read_dir(root.path().join("drop")).unwrap().count(), 1);
    // A name without a name server: it fails in words, for now, and without a crash.
    let unknown = sendmail(&["a@b.example"], &[("PILLARBOX_SUBMIT", "relay.invalid:25")]);
    assert_eq!(unknown.code, Some(75), "{unknown:?}");
    fs::create_dir(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/hosts"), "127.0.0.1 relay\n").unwrap();
    let port = crate::support::daemon::free_port();
    let known = sendmail(&["a@b.example"], &[("PILLARBOX_SUBMIT", &format!("relay:{port}"))]);
    assert!(
        known.code == Some(75) && known.stderr.contains("refused"),
        "the name has an address: {known:?}"
    );
}
