//! `pillarbox check` and the door: what it shows of TLS, logins and networks, and what it finds wrong with their
//! files.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};

use crate::support::daemon::{Home, Upstream};

const DOOR: &str = "\
tls_addresses = [\"127.0.0.1:4650\"]
tls_certificate = \"relay.crt\"
tls_key = \"relay.key\"
authentication = \"optional\"
users_file = \"users\"

[[listener.network]]
networks = [\"192.168.1.9\"]
trusted = true
starttls = false
authentication = \"accept-any\"
max_message_bytes = \"1MiB\"
messages_per_minute = 60
lane = \"urgent\"
";

/// A configuration with everything, its files in order.
fn home() -> Home {
    let home = Home::new(&Upstream::nobody());
    let text = fs::read_to_string(home.config()).expect("written");
    fs::write(home.config(), text.replace("\n[queue]\n", &format!("{DOOR}\n[queue]\n")))
        .expect("written");
    certificate_until(&home, 2199);
    write(&home.path("users"), "", 0o600);
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$Ai6mmDI8mo+1ax9DX1rJWOIGiXVfYyT3aqFLnGK4Jqo";
    write(&home.path("users"), &format!("printer:{hash}\n"), 0o600);
    home
}

fn certificate_until(home: &Home, year: i32) {
    let mut parameters =
        rcgen::CertificateParams::new(vec!["relay.example.org".into()]).expect("a name");
    parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("signed");
    write(&home.path("relay.crt"), &certificate.pem(), 0o644);
    write(&home.path("relay.key"), &key.serialize_pem(), 0o600);
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
}

fn words(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

fn document(home: &Home) -> Value {
    let output = home.output(["check", "--json"]);
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What a check that fails says.
fn refused(home: &Home) -> String {
    let output = home.output(["check"]);
    assert_eq!(output.status.code(), Some(78), "{}", words(&output));
    words(&output)
}

#[test]
fn the_door_is_shown_as_it_would_be() {
    let home = home();
    let output = home.output(["check"]);
    let text = words(&output);
    assert!(output.status.success(), "{text}");
    for line in [
        &format!("listening   {}, 127.0.0.1:4650 (TLS)\n", home.smtp),
        "relay.crt, key ",
        "192.168.1.9/32: trusted, with any password, up to 1.0 MiB, 60 messages a minute, urgent\n",
        "127.0.0.0/8, ::1/128: trusted, may log in, STARTTLS\n",
        "everybody else: must log in, STARTTLS\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
    let listener = &document(&home)["listener"];
    assert_eq!(listener["tls_addresses"], json!(["127.0.0.1:4650"]));
    assert_eq!(
        listener["network"][0],
        json!({
            "networks": ["192.168.1.9/32"], "trusted": true, "starttls": false, "authentication": "accept-any",
            "max_message_bytes": 1 << 20, "messages_per_minute": 60, "lane": "urgent",
        })
    );
    assert_eq!(listener["everybody_else"]["authentication"], "optional");
}

#[test]
fn a_certificate_that_cannot_be_used_fails_the_check() {
    let home = home();
    let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    write(&home.path("relay.key"), &other, 0o600);
    assert!(refused(&home).contains("does not belong to"), "{}", refused(&home));
    write(&home.path("relay.key"), "no key", 0o600);
    assert!(refused(&home).contains("relay.key"), "{}", refused(&home));
    fs::remove_file(home.path("relay.crt")).expect("removed");
    assert!(refused(&home).contains("relay.crt"), "{}", refused(&home));
}

#[test]
fn a_key_that_everybody_can_read_fails_the_check() {
    let home = home();
    let key = home.path("relay.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("our own file");
    assert!(refused(&home).contains(&format!("chmod o-rwx {}", key.display())));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("our own file");
    assert!(home.output(["check"]).status.success(), "the group may");
}

#[test]
fn a_certificate_near_its_end_is_warned_of() {
    let home = home();
    let warned = |home: &Home| document(home)["warnings"].to_string().contains("the certificate ");
    assert!(!warned(&home));
    certificate_until(&home, 2001);
    assert!(warned(&home));
    assert!(words(&home.output(["check"])).contains("complete, but for the warning"));
}

#[test]
fn the_users_file_is_looked_at() {
    let home = home();
    let users: PathBuf = home.path("users");
    let warnings = |home: &Home| document(home)["warnings"].to_string();
    assert!(!warnings(&home).contains("log in:"), "{}", warnings(&home));
    write(&users, "printer:secret\n", 0o600);
    let found = warnings(&home);
    assert!(found.contains("line 1 of ") && found.contains("nobody can log in"), "{found}");
    assert!(!found.contains("secret"), "{found}");
    write(&users, "", 0o644);
    assert!(refused(&home).contains("mode 0644"));
    fs::remove_file(&users).expect("removed");
    assert!(refused(&home).contains("pillarbox user add LOGIN"));
}

/// The relay's configuration for Gmail, with these lines in the named sections.
fn at_gmail(home: &Home, upstream: &str, sections: &str) {
    let queue = home.state().display().to_string();
    let text = format!(
        "[upstream]\nusername = \"you@gmail.com\"\n{upstream}\n[listener]\naddresses = [\"{}\"]\n\
         [queue]\ndirectory = {queue:?}\n[admin]\nsocket = {:?}\n{sections}",
        home.smtp,
        home.socket().display().to_string(),
    );
    fs::write(home.config(), text).expect("written");
}

#[test]
fn a_password_that_cannot_be_one_is_found_and_not_shown() {
    let home = Home::new(&Upstream::nobody());
    let file = home.path("password");
    at_gmail(&home, "password_file = \"password\"", "");
    for (text, expected) in [
        ("", "its first line is empty"),
        ("\nabcdefghijklmnop\n", "its first line is empty"),
        ("abcdefghijklmnopabcdefgh\n", "does not hold an app password"),
        ("hunter2\n", "does not hold an app password"),
        ("abcd\u{a0}efgh ijkl mnop\u{200b}\n", "that no app password has"),
    ] {
        write(&file, text, 0o600);
        let said = refused(&home);
        assert!(said.contains(expected), "{text:?}: {said}");
        assert!(!said.contains("hunter2") && !said.contains("abcdefgh"), "{said}");
    }
    for text in ["abcdefghijklmnop\n", "abcd efgh ijkl mnop"] {
        write(&file, text, 0o600);
        assert!(home.output(["check"]).status.success(), "{text:?}");
    }
    // Elsewhere any password may be one.
    at_gmail(&home, "host = \"localhost\"\npassword_file = \"password\"", "");
    write(&file, "hunter2\n", 0o600);
    assert!(home.output(["check"]).status.success());
}

#[test]
fn a_password_file_that_the_relays_own_user_cannot_read_is_found() {
    let home = Home::new(&Upstream::nobody());
    let file = home.path("password");
    at_gmail(&home, "password_file = \"password\"", "");
    write(&file, "abcdefghijklmnop\n", 0o600);
    fs::create_dir_all(home.state()).expect("a directory");
    // The queue belongs to the user who runs the relay.
    if std::os::unix::fs::chown(home.state(), Some(12_345), Some(12_345)).is_err() {
        write(&file, "abcdefghijklmnop\n", 0o000);
    }
    let said = refused(&home);
    assert!(said.contains("cannot read the password file"), "{said}");
}

#[test]
fn files_programs_and_addresses_that_are_not_there_are_all_found_at_once() {
    let home = Home::new(&Upstream::nobody());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().map(|address| (address, taken)).expect("an address");
    write(&home.path("program"), "#!/bin/sh\n", 0o644);
    write(&home.path("webhook"), "https://alerts.example.org/\n", 0o600);
    let program = home.path("program").display().to_string();
    let sections = format!(
        "http = \"{}\"\n[alert]\ncommand = [{program:?}]\nwebhook_file = \"nowhere\"\n",
        taken.0
    );
    at_gmail(&home, "password_command = [\"no-such-program\"]\nca_file = \"no.pem\"", &sections);
    let text = fs::read_to_string(home.config()).expect("written");
    let addresses = format!("\"{}\", \"192.0.2.1:2525\", \"{}\"", home.smtp, taken.0);
    fs::write(home.config(), text.replace(&format!("\"{}\"", home.smtp), &addresses))
        .expect("written");
    let said = refused(&home);
    for expected in [
        "upstream.password_command cannot be run: there is no program no-such-program",
        "alert.command cannot be run: ",
        "it is not executable",
        "there is no webhook file ",
        "upstream.ca_file ",
        "192.0.2.1:2525 is not an address of this host",
        " is in use by another program",
        "for metrics and probes: ",
    ] {
        assert!(said.contains(expected), "{expected:?} is missing:\n{said}");
    }
    let output = home.output(["check", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["complete"], false, "{document}");
    assert!(document["problems"].as_array().is_some_and(|all| all.len() >= 7), "{document}");
}

#[test]
fn a_webhook_file_without_an_address_is_found_and_not_shown() {
    let home = Home::new(&Upstream::nobody());
    write(&home.path("password"), "abcdefghijklmnop\n", 0o600);
    at_gmail(&home, "password_file = \"password\"", "[alert]\nwebhook_file = \"webhook\"\n");
    write(&home.path("webhook"), "hunter2\n", 0o600);
    let said = refused(&home);
    assert!(said.contains("is without an address") && !said.contains("hunter2"), "{said}");
    write(&home.path("webhook"), "https://alerts.example.org/hook\n", 0o600);
    assert!(home.output(["check"]).status.success());
}

#[test]
fn a_ca_file_that_holds_no_certificate_is_found() {
    let home = Home::new(&Upstream::nobody());
    write(&home.path("password"), "abcdefghijklmnop\n", 0o600);
    write(&home.path("text.pem"), "not a certificate\n", 0o644);
    for (file, expected) in [
        ("nowhere.pem", "No such file"),
        (".", "is a directory"),
        ("text.pem", "contains no certificate in PEM"),
    ] {
        at_gmail(&home, &format!("password_file = \"password\"\nca_file = {file:?}"), "");
        let said = refused(&home);
        assert!(said.contains("upstream.ca_file") && said.contains(expected), "{file}: {said}");
    }
}

#[test]
fn no_secret_of_the_account_is_among_the_settings() {
    let home = Home::new(&Upstream::nobody());
    let rest = fs::read_to_string(home.config()).expect("written");
    let rest = rest.split_once("\n[listener]\n").expect("a listener").1;
    for account in [
        "username = \"me@gmail.com\"\npassword = \"hunter2\"",
        "username = \"me@gmail.com\"\npassword = '''\nhunter2'''",
        "username = \"me@gmail.com\"\npassword_command = [\"pass\", \"hunter2\"]",
        "username = \"me@gmail.com\"\npassword_command = [\"echo hunter2\"]",
        "username = \"me@gmail.com\"\npassword_command = [\"env\", \"A=hunter2\"]",
        "username = \"me@gmail.com\"\nauth = \"oauth\"\noauth_client_id = \"id\"\noauth_client_secret = \"hunter2\"\n\
         oauth_token_endpoint = \"https://login.example.org/t?client_secret=hunter2\"",
    ] {
        fs::write(home.config(), format!("[upstream]\n{account}\n\n[listener]\n{rest}"))
            .expect("written");
        for arguments in [&["check", "--json"][..], &["check", "--all"]] {
            let output = home.output(arguments.iter().copied());
            let said = words(&output);
            assert!(!said.contains("hunter2"), "{account}: {said}");
            assert!(said.contains("not shown") || said.contains("***"), "{account}: {said}");
        }
    }
}

const RULES: &str = "\
[[rule]]
name = \"raid\"
match = { sender = \"@nas.example.org\", subject = \"/degraded|failed/\" }
lane = \"urgent\"

[[rule]]
name = \"lists\"
match = { header = [\"list\", \"bulk\"], network = \"10.0.9.0/24\" }
lane = \"bulk\"
storm = false

[[rule]]
name = \"large-lists\"
match = { header = [\"list\", \"bulk\"], network = \"10.0.9.0/24\", size = \">1MiB\" }
hold = true

";

/// A configuration with rules, and a message in a file.
fn home_with_rules() -> (Home, PathBuf) {
    let home = Home::new(&Upstream::nobody());
    let text = fs::read_to_string(home.config()).expect("written");
    fs::write(home.config(), text.replace("[queue]\n", &format!("{RULES}[queue]\n")))
        .expect("written");
    let message = "From: \"NAS\" <monitor@nas.example.org>\r\nTo: root@example.org\r\n\
                   Subject: =?utf-8?q?RAID_md0?= degraded\r\nPrecedence: bulk\r\n\r\nhello\r\n";
    let file = home.path("message.eml");
    write(&file, message, 0o600);
    (home, file)
}

#[test]
fn a_message_is_judged_by_the_rules_as_if_it_came_in() {
    let (home, file) = home_with_rules();
    let file = file.to_str().expect("plain");
    let text = words(&home.output(["check", "--message", file, "--client", "10.0.9.3"]));
    for line in [
        "from monitor@nas.example.org to root@example.org, ",
        "raid strikes: lane urgent\n",
        "lists fits, but an earlier one strikes\n",
        "large-lists does not: it has ",
        "\nThe rule raid strikes this message.\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
    let judged = |more: &[&str]| {
        let output = home.output([&["check", "--json", "--message", file][..], more].concat());
        assert!(output.status.success(), "{}", words(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    assert_eq!(judged(&[])["rule"], "raid");
    let other = judged(&["--sender", "<>", "--client", "10.0.9.3"]);
    assert_eq!((&other["rule"], &other["sender"]), (&json!("lists"), &Value::Null));
    let none = judged(&["--sender", "a@example.org"]);
    assert_eq!(none["rule"], Value::Null);
    let why = json!(["the sender is a@example.org, not @nas.example.org"]);
    assert_eq!(none["rules"][0], json!({ "name": "raid", "outcome": "unfit", "why": why }));
}

#[test]
fn rules_are_listed_and_one_that_is_never_reached_is_warned_of() {
    let (home, _) = home_with_rules();
    let text = words(&home.output(["check", "--all"]));
    assert!(
        text.contains("rules       raid: sender = \"@nas.example.org\", subject = \"/degraded|failed/\": lane urgent\n"),
        "{text}"
    );
    assert!(
        text.contains("the rule large-lists is never reached: lists comes before it"),
        "{text}"
    );
    assert!(text.contains("[[rule]] 2"), "{text}");
}
