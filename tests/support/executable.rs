//! Files to be executed. A child writes them: what this process has open for writing, a fork of another test's thread
//! holds open until its exec, and until then nobody can execute the file (`ETXTBSY`).

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// A copy that everybody may execute.
pub(crate) fn copy(from: &Path, to: &Path) {
    let mut install = Command::new("install");
    let done = install.args(["-m", "755", "--"]).args([from, to]).stdin(Stdio::null()).status();
    assert!(done.unwrap().success(), "{}", to.display());
}

/// A script of this text, which everybody may execute.
pub(crate) fn script(path: &Path, text: &str) {
    let mut install = Command::new("install");
    install.args(["-D", "-m", "755", "--", "/dev/stdin"]).arg(path).stdin(Stdio::piped());
    let mut child = install.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{}", path.display());
}
