//! The real binary as a child process: its directory, its life and its words.
//!
//! Rule: a [`Home`] is what survives a crash (configuration, state directory, log), a [`Daemon`] is
//! one process on it. Every port is free and every path lies in a temporary directory.
//! Must not know what a test proves.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use pillarbox::{
    clock::{Clock as _, SystemClock},
    sandbox::{APP_PASSWORD, Sandbox},
};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

/// How long a daemon may take to greet; far more than it needs, for a machine under load.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(5);

/// Where a daemon relays to.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `starttls`, `implicit` or `off`.
    pub(crate) tls: String,
    pub(crate) ca_file: Option<PathBuf>,
    /// User name and password.
    pub(crate) login: Option<(String, String)>,
}

impl Upstream {
    /// A port on which nobody answers: mail stays in the queue.
    pub(crate) fn nobody() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: free_port(),
            tls: "off".into(),
            ca_file: None,
            login: None,
        }
    }

    /// This look-alike, with a login that it takes; its certificate authority is written into `directory`.
    pub(crate) fn of(sandbox: &Sandbox, directory: &Path) -> Self {
        let ca_file = directory.join("ca.pem");
        fs::write(&ca_file, sandbox.certificate_authority_pem()).expect("written");
        Self {
            host: "localhost".into(),
            port: sandbox.starttls_address().port(),
            tls: "starttls".into(),
            ca_file: Some(ca_file),
            login: Some(("you@gmail.com".into(), APP_PASSWORD.into())),
        }
    }

    fn section(&self) -> String {
        let mut lines = format!(
            "[upstream]\nhost = {:?}\nport = {}\ntls = {:?}\nehlo_name = \"relay.example.org\"\n",
            self.host, self.port, self.tls
        );
        if let Some(file) = &self.ca_file {
            lines += &format!("ca_file = {:?}\n", file.display().to_string());
        }
        match &self.login {
            Some((username, password)) => {
                lines += &format!("username = {username:?}\npassword = {password:?}\n");
            }
            None => lines += "auth = \"none\"\n",
        }
        lines
    }
}

/// Everything that outlives one process: configuration, state, log.
#[derive(Debug)]
pub(crate) struct Home {
    directory: TempDir,
    state: PathBuf,
    /// The SMTP address in the configuration.
    pub(crate) smtp: SocketAddr,
    environment: Vec<(String, String)>,
}

impl Home {
    /// A fresh directory with a configuration for `upstream` on a free port.
    pub(crate) fn new(upstream: &Upstream) -> Self {
        Self::with_sections(upstream, "")
    }

    /// The same with more TOML at the end: further sections, but not upstream, listener, queue, admin,
    /// log.
    pub(crate) fn with_sections(upstream: &Upstream, sections: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let state = directory.path().join("state");
        let smtp = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut home = Self { directory, state, smtp, environment: Vec::new() };
        if !sections.contains("aliases_file") {
            // The aliases of the machine that runs the tests are no part of them.
            home = home.environment("PILLARBOX__IDENTITY__ALIASES_FILE", "off");
        }
        home.configure(upstream, sections);
        home
    }

    /// The same, later.
    pub(crate) fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    /// Puts the state directory elsewhere, such as on a small loop device. Call [`Self::configure`] next.
    pub(crate) fn state_at(mut self, state: &Path) -> Self {
        self.state = state.to_owned();
        self
    }

    /// Sets an environment variable of every process started from here on.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The environment variables that were set, for a daemon in the process of a test.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        self.environment.iter().cloned().collect()
    }

    /// Writes the configuration anew; the next start reads it.
    pub(crate) fn configure(&self, upstream: &Upstream, sections: &str) {
        let text = format!(
            "{}\n[listener]\naddresses = [\"{}\"]\nhostname = \"relay.example.org\"\n\
             \n[queue]\ndirectory = {:?}\n\n[admin]\nsocket = {:?}\n\n\
             [sendmail]\nsocket = {:?}\ndrop_directory = {:?}\n\n[log]\nformat = \"json\"\nlevel = \"info\"\n\n{sections}",
            upstream.section(),
            self.smtp,
            self.state.display().to_string(),
            self.socket().display().to_string(),
            self.submit_socket().display().to_string(),
            self.drop_directory().display().to_string(),
        );
        fs::write(self.config(), text).expect("the configuration is written");
    }

    /// The state directory: `spool/`, `queue.sled/`, `lock`.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// A path in the temporary directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.path("relay.toml")
    }

    /// The admin socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("admin.sock")
    }

    /// The local socket.
    pub(crate) fn submit_socket(&self) -> PathBuf {
        self.path("submit.sock")
    }

    /// The drop directory.
    pub(crate) fn drop_directory(&self) -> PathBuf {
        self.path("drop")
    }

    /// The log of every process that ran here, one after the other.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.path("log")
    }

    /// What was logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The log's lines as JSON; a line cut by a SIGKILL is left out.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// `pillarbox ARGUMENTS --config FILE`, with no inherited environment that could change its settings.
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = pillarbox();
        command.args(arguments).arg("--config").arg(self.config());
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn output<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// The same with this on its standard input.
    pub(crate) fn output_of(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        // A command that refuses its arguments reads nothing.
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).ok();
        child.wait_with_output().expect("it ends")
    }

    /// The same as another user, who then has the directory; for root only.
    pub(crate) fn start_as(&self, user: u32) -> Daemon {
        for path in [self.directory.path(), &self.config()] {
            std::os::unix::fs::chown(path, Some(user), Some(user)).expect("only root may do this");
        }
        let mut command = self.command(["run"]);
        command.uid(user).gid(user);
        let log = self.open_log();
        let mut daemon =
            self.spawn_command(command, log.try_clone().expect("a second handle"), log);
        daemon.wait_until_it_greets();
        daemon
    }

    /// Starts `pillarbox run` without waiting for anything.
    pub(crate) fn spawn(&self) -> Daemon {
        let log = self.open_log();
        self.spawn_with_log(log.try_clone().expect("a second handle"), log)
    }

    /// The same with other places for what it says.
    pub(crate) fn spawn_with_log(
        &self,
        stdout: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
    ) -> Daemon {
        self.spawn_command(self.command(["run"]), stdout, stderr)
    }

    fn open_log(&self) -> File {
        File::options().create(true).append(true).open(self.log_file()).expect("the log opens")
    }

    fn spawn_command(
        &self,
        mut command: Command,
        stdout: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
    ) -> Daemon {
        // Two daemons at the sockets of the machine would be in each other's way.
        let text = fs::read_to_string(self.config()).expect("there is a configuration");
        for section in ["[admin]\n", "[sendmail]\n"] {
            assert!(text.contains(section), "a daemon without a socket of its own: {text}");
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("the binary starts");
        Daemon { child, smtp: self.smtp, log_file: self.log_file() }
    }

    /// Starts `pillarbox run` and returns once it greets.
    pub(crate) fn start(&self) -> Daemon {
        let mut daemon = self.spawn();
        daemon.wait_until_it_greets();
        daemon
    }
}

/// The binary, without any environment of the caller but the path and what a preloaded library needs.
pub(crate) fn pillarbox() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pillarbox"));
    command.env_clear();
    for name in ["PATH", "TMPDIR", "TZ", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// One running process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    /// Where it takes mail.
    pub(crate) smtp: SocketAddr,
    log_file: PathBuf,
}

impl Daemon {
    /// The process id, for reading `/proc`.
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// A figure of `/proc/PID/status` in octets: VmRSS, or VmHWM, which is the highest so far.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process_id());
        let status = fs::read_to_string(path).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a figure");
        let kilobytes =
            line.split_whitespace().nth(1).and_then(|figure| figure.parse::<u64>().ok());
        kilobytes.expect("a number") * 1024
    }

    /// The highest figure counts from now on.
    pub(crate) fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.process_id());
        fs::write(path, "5").expect("the figure of a process of ours");
    }

    /// Waits for the 220 and leaves with QUIT. Panics with the log when the process ended instead.
    pub(crate) fn wait_until_it_greets(&mut self) {
        let greeted = within(READY_WITHIN, || {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                let log = fs::read_to_string(&self.log_file).unwrap_or_default();
                panic!("the daemon ended with {status} instead of greeting:\n{log}");
            }
            greets(self.smtp)
        });
        let log = || fs::read_to_string(&self.log_file).unwrap_or_default();
        assert!(greeted, "no greeting within {READY_WITHIN:?}:\n{}", log());
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the signal is sent");
        self.child.wait().expect("the child ends");
    }

    /// Sends a signal and returns at once.
    pub(crate) fn signal(&self, signal: Signal) {
        let process =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        rustix::process::kill_process(process, signal).expect("the signal is sent");
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be asked").is_none()
    }

    /// Waits for the end; panics when it does not come in time.
    pub(crate) fn wait(mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        within(limit, || {
            status = self.child.try_wait().expect("the child can be asked");
            status.is_some()
        });
        let log = || fs::read_to_string(&self.log_file).unwrap_or_default();
        status.unwrap_or_else(|| panic!("still running after {limit:?}:\n{}", log()))
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn terminate(self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(limit)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already, which is what these calls wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Looks at `condition` until it holds or `limit` has passed; says which.
pub(crate) fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let clock = SystemClock::new();
    let end = clock.now().since_boot_ms + u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    loop {
        if condition() {
            return true;
        }
        if clock.now().since_boot_ms >= end {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// A port that nobody has, and that no other test of this process is given. It lies below the ports that Linux
/// picks by itself (from 32768), so that no connection takes it before the daemon does.
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Another run of the tests begins elsewhere.
        let number =
            std::process::id().wrapping_mul(97).wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(10_000 + number % 20_000).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether somebody at `address` says 220.
fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return false;
    };
    // A socket that refuses the option only makes the test slower.
    drop(stream.set_read_timeout(Some(Duration::from_secs(2))));
    let mut greeting = [0; 4];
    let said = stream.read_exact(&mut greeting).is_ok() && &greeting == b"220 ";
    if said {
        drop(stream.write_all(b"QUIT\r\n"));
        drop(stream.read_to_end(&mut Vec::new()));
    }
    said
}
