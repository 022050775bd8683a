//! Debian's chromedriver as a child process, and the browsers that it starts.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, getuid, kill_process_group};
use serde_json::json;
use thirtyfour::{
    CapabilitiesHelper as _, ChromiumLikeCapabilities as _, DesiredCapabilities, WebDriver,
};

/// One driver. Dropping it ends it and all that it has started.
#[derive(Debug)]
pub(crate) struct Driver {
    child: Child,
    /// What it says later goes nowhere, but a closed pipe would end it.
    _output: BufReader<ChildStdout>,
    url: String,
}

impl Driver {
    /// Starts one on a port that it chooses.
    pub(crate) fn start() -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            command.spawn().expect("chromedriver is missing: make test-page installs it");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "chromedriver ended at once");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim().trim_end_matches('.').to_owned();
            }
        };
        Self { child, _output: output, url: format!("http://127.0.0.1:{port}") }
    }

    /// A new browser, which knows nothing of any other.
    pub(crate) async fn browser(&self) -> WebDriver {
        let mut wanted = DesiredCapabilities::chrome();
        let options = ["--headless=new", "--disable-gpu", "--hide-scrollbars"];
        for option in options {
            wanted.add_arg(option).unwrap();
        }
        if getuid().is_root() {
            // Chromium's own sandbox refuses to work for root, which CI is; it only ever sees our page here.
            wanted.add_arg("--no-sandbox").unwrap();
        }
        // A container's /dev/shm may be too small.
        wanted.add_arg("--disable-dev-shm-usage").unwrap();
        // The console, and every request that is made.
        let logs = json!({ "browser": "ALL", "performance": "ALL" });
        wanted.set("goog:loggingPrefs", logs).unwrap();
        WebDriver::new(&self.url, wanted).await.expect("chromium starts")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already, which is what these calls wanted.
        _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        drop(self.child.wait());
    }
}
