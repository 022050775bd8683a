//! The syncs that a daemon asks the C library for, written down by a library that is loaded before it.

use std::{fs, path::PathBuf, process::Command};

use super::daemon::Home;

/// The list of them.
pub(crate) struct Syncs(PathBuf);

impl Syncs {
    /// Has every process of `home` from here on write down its syncs.
    pub(crate) fn of(home: Home) -> (Home, Self) {
        let (library, list) = (home.path("count_syncs.so"), home.path("syncs"));
        // What compiles Rust has a C compiler: it links with it.
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/count_syncs.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .args([library.as_os_str(), source.as_ref(), "-ldl".as_ref()])
            .status();
        assert!(compiled.expect("a C compiler").success());
        let home = home
            .environment("LD_PRELOAD", &library.display().to_string())
            .environment("SYNC_LOG", &list.display().to_string());
        (home, Self(list))
    }

    /// All so far, each as call and file name.
    pub(crate) fn all(&self) -> Vec<String> {
        let list = fs::read_to_string(&self.0).unwrap_or_default();
        list.lines().map(str::to_owned).collect()
    }

    /// Those of sled's data file that are barriers: one a commit.
    pub(crate) fn commits(&self) -> usize {
        self.all().iter().filter(|sync| *sync == "fdatasync db").count()
    }
}
