//! `pillarbox user` as an administrator types it: the real binary, the file it leaves, its exit codes.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use data_encoding::BASE64;
use pillarbox::{listener::users::Users, secret::Secret};
use serde_json::Value;

use crate::support::{
    client::Client,
    daemon::{Home, Upstream, pillarbox},
};

struct Stage {
    directory: tempfile::TempDir,
    file: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("users");
        Self { directory, file }
    }

    /// `pillarbox user ARGUMENTS --file FILE` with this standard input.
    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = pillarbox();
        command.arg("user").args(arguments).arg("--file").arg(&self.file);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        // A command that refuses its arguments may be gone before it reads.
        child.stdin.take().expect("piped").write_all(input.as_bytes()).ok();
        child.wait_with_output().expect("it ends")
    }

    fn say(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", words(&output.stderr));
        words(&output.stdout)
    }

    fn refused(&self, arguments: &[&str], input: &str, code: i32) -> String {
        let output = self.run(arguments, input);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", words(&output.stderr));
        words(&output.stderr)
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).expect("the file is there")
    }

    async fn opens(&self, login: &str, password: &str) -> bool {
        let users = Users::open(&self.file).expect("readable");
        users.verify(login, &Secret::new(password.into())).await.expect("verified")
    }
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o7777
}

#[tokio::test]
async fn who_was_added_can_log_in_until_removed() {
    let stage = Stage::new();
    let said = stage.say(&["add", "printer", "--stdin"], "correct horse\nnot this line\n");
    assert!(said.contains("printer can log in now") && !said.contains("Warning"), "{said}");
    assert!(!stage.text().contains("correct horse"), "only the hash is kept");
    assert!(stage.opens("printer", "correct horse").await);

    let said = stage.say(&["add", "printer"], "battery staple\r\n");
    assert!(said.contains("printer has a new password"), "{said}");
    assert!(stage.opens("printer", "battery staple").await);
    assert!(!stage.opens("printer", "correct horse").await);

    stage.say(&["remove", "printer"], "");
    assert!(!stage.opens("printer", "battery staple").await);
}

#[test]
fn the_list_is_for_people_and_programs_and_names_lines_that_are_skipped() {
    let stage = Stage::new();
    stage.say(&["add", "printer"], "correct horse\n");
    stage.say(&["add", "camera@example.org"], "correct horse\n");
    fs::write(&stage.file, stage.text() + "broken:secret\n").expect("written");
    let listed = stage.say(&["list"], "");
    let start = "printer\ncamera@example.org\nWarning: line 3 is skipped: the password is not an argon2id hash";
    assert!(listed.starts_with(start) && listed.contains("\n2 users in "), "{listed}");
    let listed: Value = serde_json::from_str(&stage.say(&["list", "--json"], "")).expect("JSON");
    assert_eq!(listed["users"], serde_json::json!(["printer", "camera@example.org"]));
    assert_eq!(
        (&listed["skipped"][0]["line"], &listed["skipped"][0]["login"]),
        (&3.into(), &"broken".into())
    );
    assert!(!listed.to_string().contains("secret"));
}

#[test]
fn a_new_file_is_private_and_an_old_one_keeps_mode_owner_and_remarks() {
    let stage = Stage::new();
    stage.say(&["add", "printer"], "correct horse\n");
    assert_eq!(mode(&stage.file) & 0o137, 0, "nobody else reads, nobody runs");
    fs::write(&stage.file, format!("# cellar\n{}", stage.text())).expect("written");
    fs::set_permissions(&stage.file, fs::Permissions::from_mode(0o640)).expect("our own file");
    let before = fs::metadata(&stage.file).expect("there");
    stage.say(&["add", "camera"], "correct horse\n");
    let after = fs::metadata(&stage.file).expect("there");
    assert_eq!(mode(&stage.file), 0o640);
    assert_eq!((before.uid(), before.gid()), (after.uid(), after.gid()));
    assert_ne!(before.ino(), after.ino(), "replaced as a whole");
    assert!(
        stage.text().starts_with("# cellar\nprinter:$argon2id$v=19$m=19456,t=2,p=1$"),
        "{}",
        stage.text()
    );
    let names: Vec<_> = fs::read_dir(stage.directory.path()).expect("readable").collect();
    assert_eq!(names.len(), 1, "nothing else stays behind: {names:?}");
}

#[test]
fn a_link_stays_a_link() {
    let stage = Stage::new();
    let real = stage.directory.path().join("real");
    fs::write(&real, "").expect("written");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).expect("our own file");
    std::os::unix::fs::symlink(&real, &stage.file).expect("linked");
    stage.say(&["add", "printer"], "correct horse\n");
    assert!(fs::symlink_metadata(&stage.file).expect("there").is_symlink());
    assert!(fs::read_to_string(&real).expect("readable").starts_with("printer:"));
}

#[test]
fn editors_at_the_same_time_lose_nothing() {
    const EDITORS: usize = 6;
    let stage = Stage::new();
    std::thread::scope(|scope| {
        for number in 0..EDITORS {
            let stage = &stage;
            scope.spawn(move || stage.say(&["add", &format!("device{number}")], "correct horse\n"));
        }
    });
    assert_eq!(stage.text().lines().count(), EDITORS, "{}", stage.text());
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let stage = Stage::new();
    assert!(stage.refused(&["remove", "printer"], "", 65).contains("there is no user \"printer\""));
    assert!(stage.refused(&["list"], "", 65).contains("pillarbox user add LOGIN"));
    assert!(stage.refused(&["add", "a:b"], "correct horse\n", 64).contains("no colon"));
    assert!(stage.refused(&["add", "printer"], "", 65).contains("the password is empty"));
    assert!(
        stage.refused(&["add", "printer"], &"x".repeat(2000), 65).contains("at most 1024 octets")
    );
    stage.refused(&["add", "printer", "a password"], "", 64);
    assert!(!stage.file.exists());
    assert!(
        stage
            .say(&["add", "printer"], "short\n")
            .contains("Warning: the password has only 5 characters")
    );

    fs::set_permissions(&stage.file, fs::Permissions::from_mode(0o644)).expect("our own file");
    let said = stage.refused(&["add", "camera"], "correct horse\n", 78);
    assert!(said.contains("mode 0644") && said.contains("chmod g-w,o-rw"), "{said}");
    assert!(!stage.text().contains("camera"));
}

/// AUTH PLAIN with its initial response (RFC 4616).
fn auth_plain(login: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", BASE64.encode(format!("\0{login}\0{password}").as_bytes()))
}

#[test]
fn a_device_logs_in_with_what_was_added_while_the_daemon_runs_and_clients_tells_of_it() {
    let home = Home::new(&Upstream::nobody());
    let text = fs::read_to_string(home.config()).expect("written");
    let keys = "[listener]\nauthentication = \"required\"\nusers_file = \"users\"\n";
    fs::write(home.config(), text.replace("[listener]\n", keys)).expect("written");
    let file = home.path("users");
    let stage = Stage { directory: tempfile::tempdir().expect("a directory"), file };
    stage.say(&["add", "printer"], "correct horse\n");
    let daemon = home.start();
    let mut printer = Client::hello(daemon.smtp);
    assert!(printer.command("MAIL FROM:<me@example.org>").starts_with("530 5.7.0 "));
    assert!(printer.command(&auth_plain("printer", "battery staple")).starts_with("535 5.7.8 "));
    stage.say(&["add", "printer"], "battery staple\n");
    assert!(printer.command(&auth_plain("printer", "battery staple")).starts_with("235 2.7.0 "));
    let reply = printer.mail("me@example.org", &["you@example.org"], "Subject: one\n\nHello.\n");
    assert!(reply.starts_with("250 "), "{reply}");

    let output = home.output(["clients", "--json"]);
    let clients: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let client = &clients["clients"][0];
    assert_eq!(client["address"], "127.0.0.1");
    assert_eq!((&client["accepted"], &client["failed_logins"]), (&1.into(), &1.into()), "{client}");
    assert!(client["quirks"].get("no-date").is_some(), "{client}");
    let table = words(&home.output(["clients"]).stdout);
    assert!(
        table.starts_with("ADDRESS")
            && table.contains("127.0.0.1")
            && table.contains("failed-login 1"),
        "{table}"
    );
    assert!(
        !home.log().contains("battery") && !home.log().contains("horse"),
        "a password reached the log"
    );
    assert!(daemon.terminate(Duration::from_secs(30)).success());
}

#[test]
fn the_file_is_the_one_of_the_configuration_unless_it_is_named() {
    let home = Home::new(&Upstream::nobody());
    let said = home.output(["user", "list"]);
    assert_eq!(said.status.code(), Some(78));
    assert!(
        words(&said.stderr).contains("Set users_file under [listener]"),
        "{}",
        words(&said.stderr)
    );
    let text = fs::read_to_string(home.config()).expect("written");
    let key = "[listener]\nauthentication = \"required\"\nusers_file = \"users\"\n";
    fs::write(home.config(), text.replace("[listener]\n", key)).expect("written");
    fs::write(home.path("users"), "").expect("written");
    fs::set_permissions(home.path("users"), fs::Permissions::from_mode(0o600))
        .expect("our own file");
    let said = home.output(["user", "list"]);
    assert!(words(&said.stdout).starts_with("0 users in "), "{}", words(&said.stderr));
}
