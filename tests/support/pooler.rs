//! A PgBouncer of the tests before a PostgreSQL of theirs: in its transaction mode, with few connections to the server.
//!
//! Rule: `tests/fleet/fetch` has unpacked it below target/ together with the server. Must not know what a test proves.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    daemon::within,
    postgres::{PASSWORD, Postgres, directory_for_all, unpacked},
};

const START_LIMIT: Duration = Duration::from_secs(30);

/// A running pooler.
#[derive(Debug)]
pub(crate) struct Pooler {
    /// Where the server seems to be.
    pub(crate) port: u16,
    process: Child,
    directory: TempDir,
}

impl Pooler {
    /// All who ask through it share so many connections to a database of the server.
    pub(crate) fn before(server: &Postgres, connections: usize) -> Self {
        let directory = directory_for_all();
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
        let port = free.expect("a free port").port();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("users"), format!("\"postgres\" \"{PASSWORD}\"\n")).expect("a file");
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = {connections}\nlogfile = {}\n",
            server.port,
            path("users").display(),
            path("log").display(),
        );
        fs::write(path("configuration"), configuration).expect("a file");
        let mut program = unpacked(Path::new("usr/sbin/pgbouncer"));
        program.arg(path("configuration")).current_dir(directory.path());
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = program.spawn().expect("PgBouncer starts: tests/fleet/fetch unpacks it");
        let pooler = Self { port, process, directory };
        let listens = within(START_LIMIT, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(listens, "PgBouncer does not listen: {}", pooler.log());
        pooler
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended already, which is what these calls want.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
