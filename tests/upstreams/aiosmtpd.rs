//! Python's aiosmtpd as a child process.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::programs::{
    PASSWORD, SIZE_MAX, Stored, USERNAME, Way, certificate, root, until_it_listens,
};
use crate::support::daemon::{Upstream, free_port};

/// One server; what it stored outlives its process.
pub(super) struct Aiosmtpd {
    directory: TempDir,
    way: Way,
    port: u16,
    certificate: (PathBuf, PathBuf),
    child: Option<Child>,
}

impl Aiosmtpd {
    pub(super) fn start(way: Way) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("mail")).expect("a directory");
        let certificate = certificate(directory.path());
        let mut server = Self { directory, way, port: free_port(), certificate, child: None };
        server.run();
        server
    }

    /// Starts it on its port, again if it was killed.
    pub(super) fn run(&mut self) {
        let said = self.directory.path().join("said");
        let output = File::options().create(true).append(true).open(&said).expect("a file");
        let mut command = Command::new("python3");
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstreams/server.py"))
            .args([
                self.port.to_string().as_str(),
                if self.way == Way::Implicit { "implicit" } else { "starttls" },
            ])
            .args([&self.certificate.0, &self.certificate.1, &self.directory.path().join("mail")])
            .args([
                PASSWORD,
                &SIZE_MAX.to_string(),
                if self.way == Way::Bare { "PLAIN" } else { "-" },
            ])
            .env("PYTHONPATH", root().join("usr/lib/python3/dist-packages"))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output);
        let mut child = command.spawn().expect("python3 is installed");
        until_it_listens(self.port, &mut child, &said);
        self.child = Some(child);
    }

    pub(super) fn upstream(&self, password: &str) -> Upstream {
        Upstream {
            host: "localhost".into(),
            port: self.port,
            tls: if self.way == Way::Implicit { "implicit" } else { "starttls" }.into(),
            ca_file: Some(self.certificate.0.clone()),
            login: Some((USERNAME.into(), password.into())),
        }
    }

    /// The envelopes of everything that was stored.
    pub(super) fn envelopes(&self) -> Vec<Value> {
        self.numbers().map(|number| self.envelope(number)).collect()
    }

    pub(super) fn stored(&self) -> Vec<Stored> {
        let stored = |number| {
            let envelope = self.envelope(number);
            let recipients = envelope["recipients"].as_array().expect("a list");
            let recipients =
                recipients.iter().map(|one| one.as_str().expect("a text").to_owned()).collect();
            let text = fs::read(self.directory.path().join(format!("mail/{number}.eml")))
                .expect("a message");
            Stored { recipients, text }
        };
        self.numbers().map(stored).collect()
    }

    /// Each login: its mechanism and how it ended.
    pub(super) fn logins(&self) -> Vec<String> {
        let logins =
            fs::read_to_string(self.directory.path().join("mail/logins")).unwrap_or_default();
        logins.lines().map(str::to_owned).collect()
    }

    fn numbers(&self) -> impl Iterator<Item = usize> {
        let directory = self.directory.path().join("mail");
        (0..).take_while(move |number| directory.join(format!("{number}.json")).exists())
    }

    fn envelope(&self, number: usize) -> Value {
        let text = fs::read(self.directory.path().join(format!("mail/{number}.json")))
            .expect("an envelope");
        serde_json::from_slice(&text).expect("JSON")
    }
}

impl Aiosmtpd {
    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Drop for Aiosmtpd {
    fn drop(&mut self) {
        self.kill();
    }
}
