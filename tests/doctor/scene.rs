//! A machine of files, a relay's home, a daemon that says what it is told to, and the look-alike as upstream; all well.
//!
//! Rule: a set-up changes one thing of it, as data. Must not know what a check says.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::Output,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use serde_json::{Value, json};

use crate::support::{
    daemon::{Home, Upstream},
    executable,
    gmail::Gmail,
};

/// A time for what the daemon says.
pub(super) const NOW: i64 = 1_800_000_000_000;
const DAY: i64 = 86_400_000;
/// What the kernel says of a disk.
const DISK: &str = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
const UNIT: &str = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nDropInPaths=\n\
                    NeedDaemonReload=no\nNRestarts=0\nResult=success\n";

/// A set-up in which nothing is wrong.
pub(super) struct Scene {
    pub(super) home: Home,
    pub(super) gmail: Gmail,
    /// Further arguments of the command.
    pub(super) arguments: Vec<String>,
    /// What the daemon says of itself.
    pub(super) status: Value,
    /// What it says of its login.
    pub(super) login: Value,
    /// Whether it answers.
    pub(super) has_daemon: bool,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::against(|_| ())
    }

    /// The same with another look-alike.
    pub(super) fn against(adjust: impl FnOnce(&mut pillarbox::sandbox::Options)) -> Self {
        let gmail = Gmail::with(adjust);
        let home = Home::with_sections(&gmail.upstream(), "[alert]\ncommand = [\"/bin/true\"]\n");
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", home.path("bin").display());
        let home = home.environment("PATH", &path);
        fs::create_dir_all(home.state()).unwrap();
        let drop_directory = home.drop_directory();
        fs::create_dir(&drop_directory).unwrap();
        set_mode(&drop_directory, 0o3733);
        let status = status(&home);
        let scene = Self {
            home,
            gmail,
            arguments: Vec::new(),
            status,
            login: json!({ "login": "accepted" }),
            has_daemon: true,
        };
        scene.on_machine("proc/self/mountinfo", DISK);
        scene.on_machine("run/systemd/timesync/synchronized", "");
        scene.on_machine("run/systemd/system/.keep", "");
        scene.on_machine("usr/bin/pillarbox", "");
        scene.link("usr/sbin/sendmail", "../bin/pillarbox");
        scene.program("systemctl", UNIT);
        scene.program("timedatectl", "NTP=yes\nNTPSynchronized=yes\n");
        scene
    }

    /// A file of the machine.
    pub(super) fn on_machine(&self, path: &str, text: &str) {
        let path = self.home.path("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Takes a file of the machine away.
    pub(super) fn without(&self, path: &str) {
        fs::remove_file(self.home.path("root").join(path)).unwrap();
    }

    /// A link of the machine.
    pub(super) fn link(&self, path: &str, target: &str) {
        let path = self.home.path("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        drop(fs::remove_file(&path));
        symlink(target, path).unwrap();
    }

    /// A program of this name says this.
    pub(super) fn program(&self, name: &str, says: &str) {
        let text = format!("#!/bin/sh\ncat <<'END'\n{says}END\n");
        executable::script(&self.home.path("bin").join(name), &text);
    }

    /// Where the queue is, mounted so.
    pub(super) fn mounted(&self, root: &str, kind: &str) {
        self.mounted_at(self.home.state(), root, kind);
    }

    /// The same for another directory.
    pub(super) fn mounted_at(&self, place: &Path, root: &str, kind: &str) {
        let place = fs::canonicalize(place).unwrap();
        let line = format!("23 22 8:2 {root} {} rw - {kind} source rw\n", place.display());
        self.on_machine("proc/self/mountinfo", &format!("{DISK}{line}"));
    }

    /// Changes the configuration.
    pub(super) fn configure(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.home.config()).unwrap();
        assert!(text.contains(from), "{from} is not in:\n{text}");
        fs::write(self.home.config(), text.replace(from, to)).unwrap();
    }

    /// Puts lines below the header of a section.
    pub(super) fn add(&self, section: &str, lines: &str) {
        let header = format!("[{section}]\n");
        let text = fs::read_to_string(self.home.config()).unwrap();
        let new = match text.contains(&header) {
            true => text.replacen(&header, &format!("{header}{lines}\n"), 1),
            false => format!("{text}\n{header}{lines}\n"),
        };
        fs::write(self.home.config(), new).unwrap();
    }

    /// The password comes from a file.
    pub(super) fn password_file(&self, text: &str, mode: u32) -> PathBuf {
        self.configure("password = \"abcd efgh ijkl mnop\"", "password_file = \"password\"");
        let path = self.home.path("password");
        write(&path, text, mode);
        path
    }

    /// The daemon listens on these, and on its local socket.
    pub(super) fn listens_on(&mut self, addresses: &[&str]) {
        let mut all = vec![json!(self.home.submit_socket())];
        all.extend(addresses.iter().map(|address| json!(address)));
        self.status["listening"] = json!(all);
    }

    /// The aliases file of this name in the home.
    pub(super) fn home_aliases(&mut self, name: &str) {
        let path = self.home.path(name).display().to_string();
        self.home.set_environment("PILLARBOX__IDENTITY__ALIASES_FILE", &path);
    }

    /// Another upstream, with the same account.
    pub(super) fn upstream(&self, change: impl FnOnce(&mut Upstream)) {
        let mut upstream = self.gmail.upstream();
        change(&mut upstream);
        self.home.configure(&upstream, "[alert]\ncommand = [\"/bin/true\"]\n");
    }

    /// Runs the command.
    pub(super) fn output(&self, more: &[&str]) -> Output {
        let _daemon = self.has_daemon.then(|| Fake::start(self));
        let root = self.home.path("root").display().to_string();
        let fixed = ["doctor", "--root", &root].map(str::to_owned);
        let more = more.iter().map(|one| (*one).to_owned());
        self.home.output(fixed.into_iter().chain(self.arguments.clone()).chain(more))
    }
}

/// Writes a file and the directories above it.
pub(super) fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    set_mode(path, mode);
}

pub(super) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What a daemon says that is well.
fn status(home: &Home) -> Value {
    let departure = json!({ "at": null, "because": "empty", "why": "nothing waits" });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": NOW,
        "uptime_seconds": 3_600,
        "listening": [home.smtp.to_string(), home.submit_socket()],
        "dropped": { "directory": home.drop_directory(), "waiting": 0, "set_aside": 0 },
        "upstream": "localhost:587",
        "account": {
            "username": "relay@gmail.com", "condition": "open", "since": NOW - DAY, "until": null,
            "reason": "", "remedy": "",
        },
        "budget": {
            "now": NOW, "recipients_per_day": 500, "owner_reserve": 25, "limit": 475, "spent": 3,
            "room": 472, "frees_at": null, "departure": departure,
        },
        "queue": {
            "messages": 0, "bytes": 0, "set_aside": 0, "oldest": null, "partial": false,
            "recipients": {
                "queued": 0, "uncertain": 0, "reserved": 0, "relayed": 0, "held": 0, "dead": 0,
            },
        },
        "departure": departure,
        "in_flight": [],
        "refused": [],
        "errors": [],
    })
}

/// The sockets of a daemon, until it is dropped.
struct Fake {
    socket: PathBuf,
    stop: Arc<Mutex<bool>>,
    thread: Option<JoinHandle<()>>,
    _local: Option<UnixListener>,
}

impl Fake {
    fn start(scene: &Scene) -> Self {
        let socket = scene.home.socket();
        drop(fs::remove_file(&socket));
        let listener = UnixListener::bind(&socket).unwrap();
        let local = scene.home.submit_socket();
        // A set-up may have put something else there.
        let local = (!local.exists()).then(|| UnixListener::bind(local).unwrap());
        let (status, login) = (scene.status.to_string(), scene.login.to_string());
        let stop = Arc::new(Mutex::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if *stopped.lock().unwrap() {
                    return;
                }
                answer(client.unwrap(), &status, &login);
            }
        });
        Self { socket, stop, thread: Some(thread), _local: local }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        *self.stop.lock().unwrap() = true;
        drop(UnixStream::connect(&self.socket));
        drop(self.thread.take().map(JoinHandle::join));
        drop(fs::remove_file(&self.socket));
    }
}

fn answer(mut client: UnixStream, status: &str, login: &str) {
    let (mut head, mut octet) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut octet).unwrap_or(0) == 1 {
        head.push(octet[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let body = match head.split(' ').nth(1) {
        Some("/v1/status") => status,
        Some("/v1/login") => login,
        _ => return,
    };
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    // A command that has ended needs no answer.
    drop(client.write_all(format!("{head}{body}").as_bytes()));
}

/// An address of this kernel's table of sockets.
pub(super) fn in_table(address: SocketAddr) -> String {
    let SocketAddr::V4(v4) = address else { panic!("IPv4 only") };
    format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port())
}
