//! A relay to look at: `pillarbox sandbox` on free ports, with a directory of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::window::within;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// The sandbox as a child process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Relay {
    child: Child,
    directory: TempDir,
    smtp: String,
}

impl Relay {
    /// Starts one with these options; returns when it takes mail.
    pub(crate) async fn start(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options).await
    }

    /// Starts one whose page somebody may open by name and password.
    pub(crate) async fn start_with_user(name: &str, password: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [config, users] = ["relay.toml", "page-users"].map(|name| directory.path().join(name));
        let admin = format!("[admin]\npage = \"127.0.0.1:0\"\npage_users_file = {users:?}\n");
        fs::write(&config, admin).unwrap();
        let mut command = program();
        command.args(["user", "add", "--admin", "--stdin", name, "--file"]).arg(&users);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "a user");
        let config = config.display().to_string();
        Self::start_in(directory, &["--config", &config]).await
    }

    async fn start_in(directory: TempDir, options: &[&str]) -> Self {
        let output = fs::File::create(directory.path().join("output")).unwrap();
        let mut command = program();
        command.args(["sandbox", "--listen", "127.0.0.1:0", "--page", "127.0.0.1:0"]).args(options);
        command.env("XDG_STATE_HOME", directory.path()).stdin(Stdio::null());
        let child = command.stderr(output.try_clone().unwrap()).stdout(output).spawn().unwrap();
        let mut relay = Self { child, directory, smtp: String::new() };
        let printed = || relay.printed();
        let has_begun = within(PATIENCE, async || printed().contains("one line for each stage"));
        assert!(has_begun.await, "{}", relay.printed());
        let printed = relay.printed();
        let line = printed.lines().find_map(|line| line.trim().strip_prefix("takes mail on"));
        let address = line.and_then(|line| line.split_whitespace().next()).expect("an address");
        address.clone_into(&mut relay.smtp);
        relay
    }

    /// What it has said so far.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(self.directory.path().join("output")).unwrap()
    }

    /// A link that opens its page.
    pub(crate) fn link(&self, options: &[&str]) -> String {
        let answer = self.ask(&[&["page"], options].concat());
        answer["url"].as_str().expect("a link").to_owned()
    }

    /// What a command answers as JSON.
    pub(crate) fn ask(&self, command: &[&str]) -> Value {
        let words = self.tell(&[command, &["--json"]].concat());
        serde_json::from_str(&words).unwrap_or_else(|error| panic!("{command:?}: {error}: {words}"))
    }

    /// What a command prints.
    pub(crate) fn tell(&self, command: &[&str]) -> String {
        let socket = self.directory.path().join("pillarbox-sandbox/admin.sock");
        let output = program().args(command).arg("--socket").arg(socket).output().unwrap();
        let words = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{command:?}: {words}");
        words
    }

    /// Hands it a message.
    pub(crate) fn send(&self, sender: &str, recipients: &[&str], message: &str) {
        let stream = TcpStream::connect(&self.smtp).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = BufReader::new(stream);
        let mut say = |words: &str| {
            reader.get_mut().write_all(words.as_bytes()).unwrap();
            let mut line = String::new();
            while line.as_bytes().get(3) != Some(&b' ') {
                line.clear();
                assert!(reader.read_line(&mut line).unwrap() > 0, "{words:?}: no reply");
            }
            assert!(line.starts_with('2') || line.starts_with('3'), "{words:?}: {line}");
        };
        say("");
        say("EHLO client.example.org\r\n");
        say(&format!("MAIL FROM:<{sender}>\r\n"));
        for recipient in recipients {
            say(&format!("RCPT TO:<{recipient}>\r\n"));
        }
        say("DATA\r\n");
        say(&format!("{}\r\n.\r\n", message.replace('\n', "\r\n")));
    }

    /// Waits until its queue has exactly these numbers of messages that wait to leave, and of dead letters.
    pub(crate) async fn comes_to(&self, waiting: u64, dead: u64) {
        let numbers = || {
            let status = self.ask(&["status"]);
            let recipients = &status["queue"]["recipients"];
            let number = |name: &str| recipients[name].as_u64().unwrap_or(0);
            let open = number("queued") + number("reserved") + number("uncertain");
            (open, number("dead"))
        };
        let came = within(PATIENCE, async || numbers() == (waiting, dead)).await;
        assert!(came, "{:?}, not {:?}: {}", numbers(), (waiting, dead), self.printed());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended already, which is what these calls wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The program under test, without any environment of the caller but the path.
fn program() -> Command {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/pillarbox");
    let program = std::env::var_os("PILLARBOX_PROGRAM").map_or(built, PathBuf::from);
    assert!(program.exists(), "{} was not built: make test-page", program.display());
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}
