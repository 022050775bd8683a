//! `pillarbox migrate`: the configurations that the manuals of five programs tell people to write, and what comes
//! of them. tests/migrate/real_files does the same with the files of the Debian packages.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::Value;

use crate::support::daemon::pillarbox;

const SECRET: &str = "abcdefghijklmnop";

/// What came out.
struct Migrated {
    text: String,
    /// What `pillarbox check --json` makes of it.
    check: Value,
}

/// Writes `files` (the first is the one that is named), migrates, and has the result checked.
fn migrate(program: &str, files: &[(&str, &str)], more: &[&str]) -> Migrated {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let here = directory.path().display().to_string();
        fs::write(directory.path().join(name), content.replace("@HERE@", &here)).unwrap();
    }
    let first = directory.path().join(files[0].0);
    let output =
        pillarbox().args(["migrate", "--from", program]).args(more).arg(first).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains(SECRET), "a password was printed:\n{text}");
    Migrated { check: check(directory.path(), &text), text }
}

/// The new configuration is one, with its password in place.
fn check(directory: &Path, text: &str) -> Value {
    let (config, password) = (directory.join("relay.toml"), directory.join("password"));
    let text = text.replace("/etc/pillarbox/password\"", &format!("{}\"", password.display()));
    fs::write(&config, &text).unwrap();
    fs::write(&password, SECRET).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let output = pillarbox().args(["check", "--json", "--config"]).arg(config).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

impl Migrated {
    #[track_caller]
    fn relays_through(&self, host: &str, port: u16, tls: &str, username: Option<&str>) {
        let upstream = &self.check["upstream"];
        assert_eq!(
            (upstream["host"].as_str(), upstream["port"].as_u64(), upstream["tls"].as_str()),
            (Some(host), Some(port.into()), Some(tls)),
            "{}",
            self.text
        );
        assert_eq!(upstream["username"].as_str(), username, "{}", self.text);
    }

    #[track_caller]
    fn says(&self, words: &[&str]) {
        for words in words {
            assert!(self.text.contains(words), "{words:?} is missing:\n{}", self.text);
        }
    }
}

#[test]
fn msmtp_with_an_account_that_inherits() {
    let file = "# a comment\ndefaults\nport 587\ntls on\ntls_trust_file /etc/ssl/certs/ca-certificates.crt\n\
                logfile ~/.msmtp.log\n\naccount gmail\nhost smtp.gmail.com\nfrom me@gmail.com\nauth on\n\
                user me@gmail.com\npassword abcdefghijklmnop\n\naccount work\nhost mail.example.com\nfrom me@example.com\n\n\
                account default : gmail\n";
    let migrated = migrate("msmtp", &[("msmtprc", file)], &[]);
    migrated.relays_through("smtp.gmail.com", 587, "starttls", Some("me@gmail.com"));
    migrated.says(&[
        "password_file = \"/etc/pillarbox/password\"",
        "the password, which is in line 13",
        "logfile (line 6): the log goes to standard error",
        "account work (line 15): one daemon relays through one account",
        "from (line 10)",
    ]);
    assert!(
        !migrated.text.contains("account gmail"),
        "the chosen account's base is no other account"
    );
    let work = migrate("msmtp", &[("msmtprc", file)], &["--account", "work"]);
    work.relays_through("mail.example.com", 587, "starttls", None);
}

#[test]
fn msmtp_with_a_command_for_the_password_and_tls_from_the_first_octet() {
    let file = "host smtp.gmail.com\ntls on\ntls_starttls off\nauth plain\nuser \"me@gmail.com\"\n\
                passwordeval \"gpg -q -d \\\"x\\\"\"\ntls_certcheck off\nsome_new_thing yes\n";
    let migrated = migrate("msmtp", &[("msmtprc", file)], &[]);
    migrated.relays_through("smtp.gmail.com", 465, "implicit", Some("me@gmail.com"));
    migrated.says(&[
        "password_command = [\"sh\", \"-c\", ",
        "tls_certcheck (line 7): the certificate is always checked",
        "some_new_thing (line 8): not known to migrate",
    ]);
    let echoed = file.replace("gpg -q -d", "echo abcdefghijklmnop");
    migrate("msmtp", &[("msmtprc", &echoed)], &[]).says(&["password, which is in line 6"]);
}

#[test]
fn ssmtp_as_its_manual_and_every_guide_has_it() {
    let file = "root=admin@example.org\nmailhub=smtp.gmail.com:587\nrewriteDomain=example.org\n\
                hostname=host.example.org\nUseSTARTTLS=YES\nUseTLS=yes\nAuthUser=me\nAuthPass=abcdefghijklmnop\n\
                FromLineOverride=YES\nAuthMethod=LOGIN\n";
    let migrated = migrate("ssmtp", &[("ssmtp.conf", file)], &[]);
    migrated.relays_through("smtp.gmail.com", 587, "starttls", Some("me@gmail.com"));
    assert_eq!(migrated.check["upstream"]["ehlo_name"], "host.example.org");
    migrated.says(&[
        "admin = \"admin@example.org\"",
        "domain = \"example.org\"",
        "FromLineOverride (line 9)",
        "AuthMethod (line 10)",
        "revaliases",
    ]);
    let plain =
        migrate("ssmtp", &[("ssmtp.conf", "root=postmaster\nmailhub=mail\n#UseTLS=YES\n")], &[]);
    plain.relays_through("mail", 25, "starttls", None);
    plain.says(&["root (line 1): it is not an address", "the connection was not protected before"]);
}

#[test]
fn nullmailer_with_its_files() {
    let files = [
        (
            "remotes",
            "smtp.gmail.com smtp port=587 starttls user=me@gmail.com pass='abcdefghijklmnop' insecure\n\
                     backup.example.com\n",
        ),
        ("adminaddr", "admin@example.org\n"),
        ("defaultdomain", "example.org\n"),
        ("me", "host.example.org\n"),
        ("queuelifetime", "604800\n"),
        ("pausetime", "60\n"),
    ];
    let migrated = migrate("nullmailer", &files, &[]);
    migrated.relays_through("smtp.gmail.com", 587, "starttls", Some("me@gmail.com"));
    assert_eq!(migrated.check["queue"]["lifetime_seconds"], 604_800);
    migrated.says(&[
        "admin = \"admin@example.org\"",
        "insecure (line 1): the certificate is always checked",
        "backup.example.com (line 2): there is one upstream",
        "the file pausetime",
    ]);
    let tls = migrate(
        "nullmailer",
        &[("remotes", "mail.example.com smtp --ssl --user=a --pass=\"a b\\\" c\"\n")],
        &[],
    );
    tls.relays_through("mail.example.com", 465, "implicit", Some("a"));
    let unquoted = "mail.example.com smtp port=587 starttls user=a pass=x abcdefghijklmnop\n";
    migrate("nullmailer", &[("remotes", unquoted)], &[])
        .says(&["a word that is not an option (line 1)"]);
}

#[test]
fn dma_with_its_file_of_logins() {
    let files = [
        (
            "dma.conf",
            "SMARTHOST smtp.gmail.com\nPORT 587\nAUTHPATH @HERE@/auth.conf\nSECURETRANSFER\nSTARTTLS\n\
                      MAILNAME host.example.org\nMASQUERADE me@gmail.com\nALIASES /etc/aliases\n",
        ),
        (
            "auth.conf",
            "other|mail.example.com:wrong\nme@gmail.com|smtp.gmail.com:abcdefghijklmnop\n",
        ),
    ];
    let migrated = migrate("dma", &files, &[]);
    migrated.relays_through("smtp.gmail.com", 587, "starttls", Some("me@gmail.com"));
    migrated.says(&["the password, which is in line 2 of ", "MASQUERADE (line 7)", "/etc/aliases"]);
}

#[test]
fn a_postfix_null_client() {
    let files = [
        (
            "main.cf",
            "# null client\nmyhostname = host.example.org\nmyorigin = /etc/mailname\ninet_interfaces = loopback-only\n\
                     mydestination =\nrelayhost = [smtp.gmail.com]:587\nsmtp_sasl_auth_enable = yes\n\
                     smtp_sasl_password_maps = hash:@HERE@/sasl_passwd\nsmtp_sasl_security_options = noanonymous\n\
                     smtp_tls_security_level = encrypt\nsmtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt\n\
                     mynetworks = 127.0.0.0/8\n    192.168.1.0/24\nalias_maps = hash:/etc/aliases\n\
                     maximal_queue_lifetime = 3\nmessage_size_limit = 10240000\n",
        ),
        ("sasl_passwd", "# the login\n[smtp.gmail.com]:587 me@gmail.com:abcdefghijklmnop\n"),
    ];
    let migrated = migrate("postfix", &files, &[]);
    migrated.relays_through("smtp.gmail.com", 587, "starttls", Some("me@gmail.com"));
    assert_eq!(migrated.check["queue"]["lifetime_seconds"], 3 * 86_400);
    migrated.says(&[
        "max_message_bytes = 10240000",
        "mynetworks (line 12): other hosts are named in [[listener.network]]",
        "inet_interfaces (line 4)",
        "/etc/aliases",
        "the password, which is in line 2 of ",
    ]);
}

#[test]
fn a_postfix_whose_login_stands_in_main_cf_itself() {
    for table in [
        "static:me@gmail.com:abcdefghijklmnop",
        "static:{me@gmail.com:abcdefghijklmnop}",
        "inline:{smtp.gmail.com=me@gmail.com:abcdefghijklmnop}",
        "inline:{ { [smtp.gmail.com]:587 = me@gmail.com:abcdefghijklmnop } }",
        "inline:{\n    [smtp.gmail.com]:587=me@gmail.com:abcdefghijklmnop\n    }",
        "hash:$config_directory/none, static:me@gmail.com:abcdefghijklmnop",
    ] {
        let file = format!(
            "relayhost = [smtp.gmail.com]:587\nsmtp_tls_security_level = encrypt\nsmtp_sasl_auth_enable = yes\n\
             smtp_sasl_password_maps = {table}\n"
        );
        let migrated = migrate("postfix", &[("main.cf", &file)], &[]);
        migrated.relays_through("smtp.gmail.com", 587, "starttls", Some("me@gmail.com"));
        migrated.says(&["the password, which is in line 4"]);
    }
}

// The expectation of the next two is [`migrate`]'s own: that no password was printed.

#[test]
fn no_password_of_postfix_or_msmtp_is_printed_however_it_is_written() {
    let postfix = "relayhost = [smtp.gmail.com]:587\nsmtp_sasl_auth_enable = yes\n";
    for more in [
        "smtp_sasl_password_maps = static:abcdefghijklmnop\n",
        "smtp_sasl_password_maps = abcdefghijklmnop\n",
        "smtp_sasl_password_maps = pcre:{ {/./ me@gmail.com:abcdefghijklmnop} }\n",
        "smtp_sasl_password_maps = mysql:abcdefghijklmnop\n",
        "smtp_sasl_password_maps = hash:me@gmail.com:abcdefghijklmnop\n",
        "smtp_sasl_password_maps = unknown:{me@gmail.com:abcdefghijklmnop\n",
        "smtp_sasl_password_maps static:me@gmail.com:abcdefghijklmnop\n",
        "smtp_sasl_password_maps =\nstatic:abcdefghijklmnop = x\n",
        "alias_maps = inline:{root=abcdefghijklmnop}\n",
        "alias_maps = static:abcdefghijklmnop\n",
        "smtp_tls_CAfile = me:abcdefghijklmnop\n",
        "maximal_queue_lifetime = abcdefghijklmnop\n",
    ] {
        migrate("postfix", &[("main.cf", &format!("{postfix}{more}"))], &[]);
    }
    let msmtp = "host smtp.gmail.com\ntls on\nuser me@gmail.com\n";
    for more in [
        "password=abcdefghijklmnop\n",
        "password\nabcdefghijklmnop\n",
        "password\nabcdefghijklmnop x\n",
        "password:abcdefghijklmnop\n",
        "passwd abcdefghijklmnop\n",
        "abcdefghijklmnop\n",
        "\"abcdefghijklmnop\" x\n",
        "password x\nuser me@gmail.com:abcdefghijklmnop\n",
        "password x\nuser me@gmail.com abcdefghijklmnop\n",
        "passwordeval /bin/echo abcdefghijklmnop\n",
        "passwordeval sh -c \"echo abcdefghijklmnop\"\n",
        "passwordeval builtin printf abcdefghijklmnop\n",
        "passwordeval gpg --passphrase abcdefghijklmnop -d x\n",
        "passwordeval gpg --passphrase=abcdefghijklmnop -d x\n",
        "passwordeval curl -u me:abcdefghijklmnop https://x\n",
        "passwordeval cat <<< abcdefghijklmnop\n",
        "passwordeval true; echo abcdefghijklmnop\n",
        "passwordeval gpg -d x || echo abcdefghijklmnop\n",
        "eval abcdefghijklmnop\npassword x\n",
    ] {
        migrate("msmtp", &[("msmtprc", &format!("{msmtp}{more}"))], &[]);
    }
}

#[test]
fn no_password_of_ssmtp_nullmailer_or_dma_is_printed_however_it_is_written() {
    let ssmtp = "mailhub=smtp.gmail.com:587\nUseSTARTTLS=YES\nAuthUser=me@gmail.com\nAuthPass=x\n";
    for more in [
        "AuthPass abcdefghijklmnop\n",
        "AuthPass:abcdefghijklmnop\n",
        "AuthPass = abcdefghijklmnop\n",
        "AUTHPASS=abcdefghijklmnop\n",
        "AuthPassword=abcdefghijklmnop\n",
        "abcdefghijklmnop=\n",
        "AuthUser=me@gmail.com:abcdefghijklmnop\n",
        "root=me:abcdefghijklmnop@smtp.gmail.com:587\n",
    ] {
        migrate("ssmtp", &[("ssmtp.conf", &format!("{ssmtp}{more}"))], &[]);
    }
    for remote in [
        "smtp.gmail.com smtp --port=587 --starttls --user=me@gmail.com:abcdefghijklmnop --pass=x\n",
        "smtp.gmail.com smtp port=587 starttls user=me@gmail.com pass=x password=abcdefghijklmnop\n",
        "smtp.gmail.com smtp port=587 starttls user=me@gmail.com pass=x\npass=abcdefghijklmnop\n",
        "smtp.gmail.com smtp port=587 starttls user=me@gmail.com pass=x abcdefghijklmnop=1\n",
        "smtp.gmail.com smtp port=587 starttls user=me@gmail.com pass=x\nabcdefghijklmnop\n",
    ] {
        migrate("nullmailer", &[("remotes", remote)], &[]);
    }
    let dma = "SMARTHOST smtp.gmail.com\nPORT 587\nSECURETRANSFER\nSTARTTLS\n";
    for more in [
        "AUTHPATH me@gmail.com|smtp.gmail.com:abcdefghijklmnop\n",
        "me@gmail.com|smtp.gmail.com:abcdefghijklmnop\n",
        "PASSWORD abcdefghijklmnop\n",
        "MAILNAME me@gmail.com:abcdefghijklmnop\n",
        "ALIASES me:abcdefghijklmnop\n",
    ] {
        migrate("dma", &[("dma.conf", &format!("{dma}{more}"))], &[]);
    }
}

#[test]
fn what_is_no_client_of_one_server_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |program: &str, content: &str, words: &str| {
        let file = directory.path().join("file");
        fs::write(&file, content).unwrap();
        let output = pillarbox().args(["migrate", "--from", program]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(65), "{said}");
        assert!(said.contains(words), "{said}");
    };
    refused("postfix", "relayhost =\n", "it has no relayhost");
    refused("ssmtp", "mailhub=me:secret@mail.example.com\n", "not the name of a host");
    refused("dma", "#SMARTHOST mail.example.com\n", "it has no SMARTHOST");
    refused("ssmtp", "root=x\n", "it has no mailhub");
    refused("nullmailer", "# nobody\n", "it names no server");
    refused("nullmailer", "mail.example.com qmqp\n", "there is no QMQP here");
    refused("msmtp", "account a\nhost x\naccount b\nhost y\n", "name one with --account: a, b");
    refused("msmtp", "account a : b\nhost x\n", "line 1: there is no account \"b\"");
    let output = pillarbox().args(["migrate", "--from", "msmtp", "/nonexistent"]).output().unwrap();
    assert_eq!(output.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&output.stderr).contains("name the file, or run as root"));
}

#[test]
fn a_file_in_utf_16_is_read_like_any_other() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ssmtp.conf");
    let text = "\u{feff}mailhub=mail.example.com:587\r\nUseSTARTTLS=YES\r\n";
    fs::write(&file, text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    let output = pillarbox().args(["migrate", "--from", "ssmtp"]).arg(&file).output().unwrap();
    let (said, told) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("mail.example.com"), "{said}{told}");
}
