//! Postfix with Cyrus SASL, in directories of its own: three services on three free ports, mail to Maildir files.
//!
//! Rule: nothing of the machine's mail system is read or touched. Its master needs root, as every Postfix does.

use std::{
    fs,
    io::Write as _,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use super::programs::{
    PASSWORD, SIZE_MAX, Stored, USERNAME, Way, certificate, root, until_it_listens,
};
use crate::support::daemon::{Upstream, free_port};

/// `daemon` and `mail`, which have these numbers on every Debian.
const OWNER: u32 = 1;
const GROUP: u32 = 8;

/// One server; its queue and what it delivered outlive its processes.
pub(super) struct Postfix {
    directory: TempDir,
    ports: [u16; 3],
    certificate: PathBuf,
    master: Option<Child>,
}

impl Postfix {
    pub(super) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // Its processes give up root and must still get in.
        mode(directory.path(), 0o755);
        fs::create_dir_all(directory.path().join("etc/sasl")).expect("a directory");
        let (certificate, key) = certificate(directory.path());
        let ports = [free_port(), free_port(), free_port()];
        let mut server = Self { directory, ports, certificate, master: None };
        server.make_queue();
        server.make_accounts();
        server.configure(&key);
        server.restart();
        server
    }

    /// Starts it again on its ports.
    pub(super) fn restart(&mut self) {
        let said = self.path("said");
        let output = fs::File::options().create(true).append(true).open(&said).expect("a file");
        // A leftover of a killed master names a process that is gone.
        drop(fs::remove_file(self.path("queue/pid/master.pid")));
        let mut master = Command::new(root().join("usr/lib/postfix/sbin/master"));
        master.arg("-c").arg(self.path("etc")).arg("-d").env_clear().envs(self.environment());
        master
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output);
        let mut master = master.process_group(0).spawn().expect("the master starts");
        for port in self.ports {
            until_it_listens(port, &mut master, &self.path("mail/log"));
        }
        self.master = Some(master);
    }

    /// SIGKILL for the master and everything that it has started.
    pub(super) fn kill(&mut self) {
        let Some(mut master) = self.master.take() else { return };
        let group = i32::try_from(master.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process_group(group, Signal::KILL).expect("the signal is sent");
        master.wait().expect("it ends");
    }

    pub(super) fn upstream(&self, way: Way, password: &str) -> Upstream {
        Upstream {
            host: "localhost".into(),
            port: self.ports[way as usize],
            tls: if way == Way::Implicit { "implicit" } else { "starttls" }.into(),
            ca_file: Some(self.certificate.clone()),
            login: Some((USERNAME.into(), password.into())),
        }
    }

    /// What it delivered, one copy for each recipient.
    pub(super) fn stored(&self) -> Vec<Stored> {
        let Ok(entries) = fs::read_dir(self.path("mail/box/new")) else { return Vec::new() };
        let read = |entry: std::io::Result<fs::DirEntry>| {
            let text = fs::read(entry.expect("an entry").path()).expect("a message");
            let head = String::from_utf8_lossy(&text[..text.len().min(2_000)]).into_owned();
            let recipient = head.lines().find_map(|line| line.strip_prefix("Delivered-To: "));
            let recipients = vec![recipient.expect("a recipient").to_owned()];
            // A Maildir has the line ends of Unix.
            let lines: Vec<&[u8]> = text.split(|octet| *octet == b'\n').collect();
            Stored { recipients, text: lines.join(&b"\r\n"[..]) }
        };
        entries.map(read).collect()
    }

    /// What it logged.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("mail/log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What its programs need to find their libraries, plugins and configuration.
    fn environment(&self) -> [(&'static str, String); 3] {
        let root = root();
        let architecture =
            fs::read_dir(root.join("usr/lib")).expect("libraries").filter_map(Result::ok);
        let libraries =
            architecture.map(|entry| entry.path()).find(|path| path.join("sasl2").is_dir());
        let libraries = libraries.expect("the plugins of Cyrus SASL");
        let own = root.join("usr/lib/postfix");
        [
            ("MAIL_CONFIG", self.path("etc").display().to_string()),
            ("LD_LIBRARY_PATH", format!("{}:{}", libraries.display(), own.display())),
            ("SASL_PATH", libraries.join("sasl2").display().to_string()),
        ]
    }

    /// The directories as `postfix set-permissions` would make them.
    fn make_queue(&self) {
        let private =
            "active bounce corrupt defer deferred flush hold incoming private saved trace";
        for name in private.split(' ') {
            make(&self.path(&format!("queue/{name}")), 0o700, Some((OWNER, 0)));
        }
        make(&self.path("queue/pid"), 0o755, None);
        make(&self.path("queue/public"), 0o710, Some((OWNER, GROUP)));
        make(&self.path("queue/maildrop"), 0o1730, Some((OWNER, GROUP)));
        make(&self.path("data"), 0o700, Some((OWNER, 0)));
        make(&self.path("mail"), 0o755, Some((OWNER, 0)));
    }

    fn make_accounts(&self) {
        let database = self.path("etc/sasl/sasldb2");
        let (user, domain) = USERNAME.split_once('@').expect("an address");
        let mut tool = Command::new(root().join("usr/sbin/saslpasswd2"));
        tool.args(["-p", "-c", "-u", domain, "-f"])
            .arg(&database)
            .arg(user)
            .envs(self.environment());
        let mut tool = tool.stdin(Stdio::piped()).spawn().expect("saslpasswd2 starts");
        tool.stdin.take().expect("its input").write_all(PASSWORD.as_bytes()).expect("it reads");
        assert!(tool.wait().expect("it ends").success());
        chown(&database, Some(OWNER), None).expect("an owner");
        for (service, mechanism) in [("smtpd", "PLAIN"), ("bare", "LOGIN")] {
            let text = format!(
                "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {}\nmech_list: {mechanism}\n",
                database.display()
            );
            fs::write(self.path(&format!("etc/sasl/{service}.conf")), text).expect("a file");
        }
    }

    fn configure(&self, key: &Path) {
        let environment =
            self.environment().map(|(name, value)| format!("{name}={value}")).join(" ");
        let (root, directory) = (root(), self.directory.path().display().to_string());
        let main = MAIN
            .replace("DIRECTORY", &directory)
            .replace("ROOT", &root.display().to_string())
            .replace("SIZE", &SIZE_MAX.to_string())
            .replace("ENVIRONMENT", &environment)
            .replace("PAIR", &format!("{}, {}", key.display(), self.certificate.display()));
        fs::write(self.path("etc/main.cf"), main).expect("a file");
        let [starttls, implicit, bare] = self.ports;
        let master = format!(
            "127.0.0.1:{starttls} inet n - n - - smtpd\n\
             127.0.0.1:{implicit} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n\
             127.0.0.1:{bare} inet n - n - - smtpd -o smtpd_sasl_path=bare \
             -o smtpd_discard_ehlo_keywords=pipelining,8bitmime,size,dsn,chunking,smtputf8\n{SERVICES}"
        );
        fs::write(self.path("etc/master.cf"), master).expect("a file");
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.kill();
    }
}

fn make(path: &Path, permissions: u32, owner: Option<(u32, u32)>) {
    fs::create_dir_all(path).expect("a directory");
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group)).expect("an owner");
    }
    mode(path, permissions);
}

fn mode(path: &Path, permissions: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(permissions)).expect("permissions");
}

/// No name is looked up, no mail leaves, and only who has logged in inside TLS may send.
const MAIN: &str = "\
compatibility_level = 3.6
queue_directory = DIRECTORY/queue
data_directory = DIRECTORY/data
daemon_directory = ROOT/usr/lib/postfix/sbin
command_directory = ROOT/usr/sbin
shlib_directory = ROOT/usr/lib/postfix
meta_directory = DIRECTORY/etc
import_environment = ENVIRONMENT
mail_owner = daemon
setgid_group = mail
default_privs = nobody
maillog_file = DIRECTORY/mail/log
maillog_file_prefixes = DIRECTORY
myhostname = relay.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
mydestination =
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = example.net
virtual_mailbox_base = DIRECTORY/mail
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:1
virtual_gid_maps = static:1
virtual_mailbox_limit = 0
message_size_limit = SIZE
smtpd_peername_lookup = no
smtpd_delay_reject = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_recipient_access inline:{ { nosuch@example.net = 550 5.1.1 No such user here } }, permit_sasl_authenticated, reject
smtpd_sender_login_maps = inline:{ { boss@relay.test = boss@relay.test } }
smtpd_sender_restrictions = reject_known_sender_login_mismatch
smtpd_client_connection_rate_limit = 0
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_tls_chain_files = PAIR
smtpd_sasl_auth_enable = yes
";

const SERVICES: &str = "\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";
