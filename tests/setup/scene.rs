//! A directory with a relay.toml that leads to the look-alike and has no account yet.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use pillarbox::sandbox::{OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET};
use tempfile::TempDir;

use crate::support::{
    daemon::{free_port, pillarbox},
    gmail::Gmail,
    terminal::AtTerminal,
};

/// The account, and its password as people paste it.
pub(super) const ACCOUNT: &str = "me@gmail.com";
pub(super) const PASSWORD: &str = "abcd efgh ijkl mnop";
/// The same as it is stored.
pub(super) const STORED: &str = "abcdefghijklmnop\n";

/// Between two questions whether somebody has entered a code.
const DEVICE_INTERVAL: Duration = Duration::from_secs(1);

/// The scene.
pub(super) struct Scene {
    pub(super) gmail: Gmail,
    directory: TempDir,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::against(Gmail::start())
    }

    pub(super) fn against(gmail: Gmail) -> Self {
        let scene = Self { gmail, directory: tempfile::tempdir().unwrap() };
        let upstream = scene.gmail.upstream();
        let text = format!(
            "# Mine.\n[upstream]\n# Not the real one.\nhost = {:?} # the look-alike\nport = {}\nca_file = {:?}\n\
             ehlo_name = \"relay.example.org\"\nprovider = \"gmail\"\n\n# Here as well.\n[listener]\naddresses = [\"127.0.0.1:{}\"]\n\n\
             [queue]\ndirectory = \"queue\"\n[admin]\nsocket = \"admin.sock\"\n[sendmail]\nsocket = \"submit.sock\"\n\
             drop_directory = \"drop\"\n[identity]\naliases_file = \"off\"\n# The end.\n",
            upstream.host,
            upstream.port,
            upstream.ca_file.unwrap().display().to_string(),
            free_port(),
        );
        fs::write(scene.config(), text).unwrap();
        scene
    }

    /// With the token endpoints of the look-alike, for an account whose owner consents.
    pub(super) fn with_tokens() -> Self {
        let scene = Self::new();
        let url = scene.gmail.oauth_url();
        let places = [("authorization", "authorize"), ("token", "token"), ("revocation", "revoke")];
        let endpoints =
            places.map(|(name, place)| format!("oauth_{name}_endpoint = \"{url}/{place}\"\n"));
        let text =
            scene.text().replace("# Here as well.", &(endpoints.concat() + "# Here as well."));
        fs::write(scene.config(), text).unwrap();
        let client = serde_json::json!({
            "installed": { "client_id": OAUTH_CLIENT_ID, "client_secret": OAUTH_CLIENT_SECRET }
        });
        write_secret(&scene.path("client.json"), &client.to_string());
        scene
    }

    /// With the endpoints that give a code, for an account at one of Microsoft's providers.
    pub(super) fn at_microsoft(provider: &str) -> Self {
        let scene = Self::against(Gmail::with(|options| options.device_interval = DEVICE_INTERVAL));
        let url = scene.gmail.oauth_url();
        let lines = format!(
            "provider = {provider:?}\noauth_authorization_endpoint = \"{url}/devicecode\"\noauth_token_endpoint = \"{url}/token\"\n"
        );
        fs::write(scene.config(), scene.text().replace("provider = \"gmail\"\n", &lines)).unwrap();
        scene
    }

    /// Has the relay.toml lead to another port.
    pub(super) fn lead_to(&self, port: u16) {
        let old = format!("port = {}\n", self.gmail.upstream().port);
        fs::write(self.config(), self.text().replace(&old, &format!("port = {port}\n"))).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path("relay.toml")
    }

    pub(super) fn text(&self) -> String {
        fs::read_to_string(self.config()).unwrap()
    }

    /// The octal mode of a file.
    pub(super) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    /// Every file with its content, but those of a daemon.
    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.directory.path()).unwrap().flatten();
        let files = entries.filter(|entry| entry.path().is_file());
        let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut files: Vec<_> =
            files.map(|entry| (name(&entry), fs::read(entry.path()).unwrap())).collect();
        files.sort();
        files
    }

    /// `pillarbox setup` for this configuration.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command.arg("--config").arg(self.config());
        command
    }

    /// The same without a configuration that is named.
    pub(super) fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = pillarbox();
        command.current_dir(self.directory.path()).env("HOME", self.directory.path());
        command.env("TERM", "xterm-256color").arg("setup").args(arguments);
        command
    }

    /// A person runs it.
    pub(super) fn at_terminal(&self, arguments: &[&str]) -> AtTerminal {
        AtTerminal::run(&self.command(arguments), 80)
    }

    /// A script runs it, with this on standard input: the exit code, standard output, standard error.
    pub(super) fn run(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        output(self.command(arguments), input)
    }

    /// A first call that does everything.
    pub(super) fn set_up(&self) {
        let (code, out, err) =
            self.run(&["--no-input", "--yes", "--account", ACCOUNT, "--password-stdin"], PASSWORD);
        assert_eq!(code, 0, "{out}{err}");
    }
}

/// Runs it with this on standard input: the exit code, standard output, standard error.
pub(super) fn output(mut command: Command, input: &str) -> (i32, String, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it reads.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Writes a file that nobody else can read.
pub(super) fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
