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

/// How often one is started before a test fails for it.
const STARTS: u32 = 5;

/// One driver. Dropping it ends it and all that it has started.
#[derive(Debug)]
pub(crate) struct Driver {
    child: Child,
    /// What it says later goes nowhere, but a closed pipe would end it.
    output: BufReader<ChildStdout>,
    url: String,
}

impl Driver {
    /// Starts one on a port that it chooses.
    ///
    /// It takes any port that is free for IPv4 and then wants the same one for IPv6; where a test beside this one has
    /// that, it ends, and the next one chooses another port.
    pub(crate) fn start() -> Self {
        let mut said = String::new();
        for _ in 0..STARTS {
            match Self::listen(Command::new("chromedriver").arg("--port=0")) {
                Ok(driver) => return driver,
                Err(last) => said = last,
            }
        }
        panic!("chromedriver ended at once, {STARTS} times; the last one said: {said}");
    }

    /// Waits until it listens, or gives what it said before it ended.
    fn listen(command: &mut Command) -> Result<Self, String> {
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            command.spawn().expect("chromedriver is missing: make test-page installs it");
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut driver = Self { child, output, url: String::new() };
        let mut said = String::new();
        loop {
            let start = said.len();
            if driver.output.read_line(&mut said).unwrap() == 0 {
                return Err(said);
            }
            if let Some((_, port)) = said[start..].split_once("started successfully on port ") {
                driver.url = format!("http://127.0.0.1:{}", port.trim().trim_end_matches('.'));
                return Ok(driver);
            }
        }
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

#[test]
fn a_driver_whose_port_is_taken_says_so_and_does_not_listen() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let said = Driver::listen(Command::new("chromedriver").arg(format!("--port={port}")))
        .expect_err("the port is taken");
    assert!(said.contains("port"), "{said}");
}
