//! A PostgreSQL of the tests: its own cluster on a free port and a socket in a temporary directory.
//!
//! Rule: `tests/fleet/fetch` has unpacked it below target/; a machine that lacks it fails the tests, with the words that
//! mend it. Its server refuses to be root, so it is `nobody` where the tests are. Must not know what a test proves.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Of the role `postgres`.
pub(crate) const PASSWORD: &str = "Gut:en/Morgen@Database";
/// `nobody` on every Debian.
const NOBODY: u32 = 65_534;
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// What has the books of a fleet as if so much time had passed since everything that was done so far.
pub(crate) fn as_if_passed(time: Duration) -> String {
    let time_ms = time.as_millis();
    format!(
        "UPDATE pillarbox.account SET latest = latest - interval '{time_ms} ms',
             word_at = word_at - interval '{time_ms} ms',
             probe_until = probe_until - interval '{time_ms} ms',
             notice_until = notice_until - interval '{time_ms} ms';
         UPDATE pillarbox.reservation SET lease_until = lease_until - interval '{time_ms} ms',
             counts_until = counts_until - interval '{time_ms} ms';
         UPDATE pillarbox.login SET at = at - interval '{time_ms} ms',
             open_until = open_until - interval '{time_ms} ms';
         UPDATE pillarbox.login_wish SET since = since - interval '{time_ms} ms',
             until = until - interval '{time_ms} ms'"
    )
}

/// One server; its data outlive its processes.
#[derive(Debug)]
pub(crate) struct Postgres {
    directory: TempDir,
    pub(crate) port: u16,
    server: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Postgres {
    /// The server of all tests of this process that run just now. It ends with the last of them.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Self::start());
            *shared = Arc::downgrade(&started);
            started
        })
    }

    /// A server of its own.
    pub(crate) fn start() -> Self {
        let directory = directory_for_all();
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
        let port = free.expect("a free port").port();
        let server = Mutex::new(None);
        let postgres = Self { directory, port, server, databases: AtomicU32::new(0) };
        let password = postgres.path("password");
        fs::write(&password, PASSWORD).expect("a file");
        let mut make = postgres.program("initdb");
        make.args([
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
        ])
        .args(["--no-sync", "--no-instructions"])
        .arg("--pwfile")
        .arg(password)
        .arg("-D")
        .arg(postgres.path("data"));
        let made = make.output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        postgres.configure(&format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
             max_connections = 60\nlog_statement = all\nshared_buffers = 16MB\n",
            postgres.directory.path().display()
        ));
        postgres.resume();
        postgres
    }

    /// Adds lines to its configuration; the next start reads them.
    pub(crate) fn configure(&self, lines: &str) {
        let path = self.path("data/postgresql.conf");
        let text = fs::read_to_string(&path).expect("its configuration");
        fs::write(path, text + lines).expect("its configuration");
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Starts it again on its port.
    pub(crate) fn resume(&self) {
        let log = fs::File::options().create(true).append(true).open(self.path("log"));
        let log = log.expect("a file");
        let mut server = self.program("postgres");
        server.arg("-D").arg(self.path("data")).stdin(Stdio::null());
        server.stdout(log.try_clone().expect("a second handle")).stderr(log);
        let mut server = server.spawn().expect("the server starts");
        let mut waited = Duration::ZERO;
        // It listens before it takes anybody.
        while TcpStream::connect(("127.0.0.1", self.port)).is_err()
            || self.try_sql("postgres", "SELECT 1").is_err()
        {
            let status = server.try_wait().expect("the server can be asked");
            assert!(status.is_none(), "the server ended with {status:?}: {}", self.log());
            assert!(waited < START_LIMIT, "the server does not listen: {}", self.log());
            thread::sleep(POLL);
            waited += POLL;
        }
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// Ends it at once, with whoever is connected.
    pub(crate) fn stop(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut server) = server {
            let process = Pid::from_child(&server);
            kill_process(process, Signal::QUIT).expect("the signal is sent");
            server.wait().expect("it ends");
        }
    }

    /// A new database.
    pub(crate) fn database(&self) -> String {
        let name = format!("fleet_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// What a statement answers, without a heading, the columns parted by `|`.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        match self.try_sql(database, statement) {
            Ok(answer) => answer,
            Err(said) => panic!("{statement}: {said}"),
        }
    }

    /// A client of this database that stays connected.
    pub(crate) fn session(&self, database: &str) -> Session {
        let mut client = self.client(database);
        let client = client.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut client = client.spawn().expect("psql runs");
        let answers = BufReader::new(client.stdout.take().expect("a pipe"));
        Session { client, answers }
    }

    fn client(&self, database: &str) -> Command {
        let mut client = self.program("psql");
        client.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]);
        client.arg(self.directory.path()).arg("-p").arg(self.port.to_string());
        client.args(["-d", database]).env("PGPASSWORD", PASSWORD);
        client
    }

    fn try_sql(&self, database: &str, statement: &str) -> Result<String, String> {
        let mut client = self.client(database);
        client.args(["-c", statement]);
        let answer = client.stdin(Stdio::null()).output().expect("psql runs");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim_end().to_owned();
        if answer.status.success() { Ok(text(&answer.stdout)) } else { Err(text(&answer.stderr)) }
    }

    /// A program of the package, as the user of the server.
    fn program(&self, name: &str) -> Command {
        let version = directory_with("usr/lib/postgresql", "bin/postgres");
        let mut program = unpacked(&version.join("bin").join(name));
        program.current_dir(self.directory.path());
        program
    }
}

/// A client that stays connected, for a transaction of several statements.
#[derive(Debug)]
pub(crate) struct Session {
    client: Child,
    answers: BufReader<ChildStdout>,
}

impl Session {
    /// What a statement answers, the columns parted by `|`.
    pub(crate) fn ask(&mut self, statement: &str) -> String {
        const END: &str = "the end of the answer";
        let input = self.client.stdin.as_mut().expect("a pipe");
        writeln!(input, "{statement};\nSELECT '{END}';").expect("psql listens");
        let mut answer = String::new();
        loop {
            let begin = answer.len();
            let length = self.answers.read_line(&mut answer).expect("text");
            assert!(length > 0, "{statement}: psql has ended, and has said why");
            if answer[begin..].trim_end() == END {
                answer.truncate(begin);
                answer.truncate(answer.trim_end().len());
                return answer;
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.client.stdin.take());
        self.client.wait().expect("psql ends");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An unpacked program with its libraries; not as root, which it refuses to be.
pub(crate) fn unpacked(path: &Path) -> Command {
    let mut program = Command::new(root().join(path));
    program
        .env_clear()
        .env("LD_LIBRARY_PATH", directory_with("usr/lib", "libpq.so.5"))
        .env("PATH", "/usr/bin:/bin")
        .env("TZ", "UTC");
    if rustix::process::geteuid().is_root() {
        program.uid(NOBODY).gid(NOBODY);
    }
    program
}

/// A directory for unpacked programs, which are not root.
pub(crate) fn directory_for_all() -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    if rustix::process::geteuid().is_root() {
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("only root may do this");
    }
    directory
}

fn directory_with(below: &str, holds: &str) -> PathBuf {
    let root = root();
    let mut entries = fs::read_dir(root.join(below)).expect("the unpacked package");
    let found = entries.find_map(|entry| {
        let path = entry.ok()?.path();
        path.join(holds).exists().then_some(path)
    });
    found.unwrap_or_else(|| panic!("{holds} in {below} of {}", root.display()))
}

/// The unpacked packages.
fn root() -> PathBuf {
    let database = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-database");
    assert!(
        database.join(".complete").exists(),
        "PostgreSQL is missing: run tests/fleet/fetch (make test does), which installs nothing"
    );
    database.join("root")
}
