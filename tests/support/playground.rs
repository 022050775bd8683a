//! `pillarbox sandbox` as a user starts it.
//!
//! Rule: what a test asserts is what a user could see: the screen, and the commands with --json.
//! Must not know what a test proves.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use super::{
    client::Client,
    daemon::{free_port, pillarbox, within},
};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// `pillarbox sandbox` as a child process. Dropping it kills it.
pub(crate) struct Playground {
    child: Child,
    /// Where it takes mail.
    pub(crate) smtp: SocketAddr,
    output: PathBuf,
}

impl Playground {
    /// The command with its own place for everything.
    pub(crate) fn command(state: &Path, smtp: SocketAddr) -> Command {
        let mut command = pillarbox();
        command.args(["sandbox", "--listen", &smtp.to_string()]).env("XDG_STATE_HOME", state);
        command.stdin(Stdio::null());
        command
    }

    /// Starts one whose default directory is below `state`; returns when it has said everything.
    pub(crate) fn start(state: &Path, arguments: &[&str]) -> Self {
        let smtp = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let output = state.join("output");
        let file = fs::File::create(&output).expect("a file");
        let mut command = Self::command(state, smtp);
        let command =
            command.args(arguments).stderr(file.try_clone().expect("a second handle")).stdout(file);
        let playground = Self { child: command.spawn().expect("the binary starts"), smtp, output };
        playground.wait_for("one line for each stage");
        playground
    }

    /// What it has said so far.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits for a word on its screen.
    pub(crate) fn wait_for(&self, word: &str) {
        assert!(within(PATIENCE, || self.printed().contains(word)), "{}", self.printed());
    }

    /// Sends a mail to one recipient.
    pub(crate) fn send(&self, recipient: &str) {
        self.send_to(&[recipient]);
    }

    /// Sends a mail to several recipients.
    pub(crate) fn send_to(&self, recipients: &[&str]) {
        let reply =
            Client::hello(self.smtp).mail("me@example.org", recipients, "Subject: x\n\nHello.\n");
        assert!(reply.starts_with("250 "), "{reply}");
    }

    /// What a command with --json answers about the sandbox below `state`.
    pub(crate) fn ask(state: &Path, question: &str) -> Value {
        serde_json::from_slice(&Self::tell(state, question)).expect("JSON")
    }

    /// Runs a command with --json at the sandbox below `state`; what it printed.
    pub(crate) fn tell(state: &Path, command: &str) -> Vec<u8> {
        let socket = state.join("pillarbox-sandbox/admin.sock");
        let output =
            pillarbox().args(command.split(' ')).args(["--json", "--socket"]).arg(socket).output();
        output.expect("the binary runs").stdout
    }

    /// Stops it in good order.
    pub(crate) fn stop(mut self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, Signal::TERM).expect("the signal is sent");
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        // It may have ended already, which is what these calls wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
