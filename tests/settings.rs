//! The configuration as its writer meets it: what is refused and in which words, where it is looked for,
//! and that the annotated relay.toml tells the truth.
//!
//! The words are in `bad_configs/NAME/expected.txt`, compared whole. `BLESS=1 cargo test settings` writes
//! them anew; review the difference like code.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by a panic; clippy.toml excepts only test functions"
)]

mod files;
mod providers;
mod reference;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use pillarbox::{
    budget::Limit,
    delivery::{PasswordSource, Tls},
    message::{envelope::Lane, identity::FromPolicy},
    settings::{self, Settings, SettingsError, Source, Surroundings, host::Host},
    smtp::server::Authentication,
};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
    let variables =
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let host = Host { nodename: "relay.example.org".into(), ..Host::default() };
    Surroundings {
        variables,
        local_file: "/nowhere/relay.toml".into(),
        system_file: "/nowhere/else.toml".into(),
        host,
        secret_directories: Vec::new(),
    }
}

fn load_text(text: &str) -> Result<Settings, SettingsError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("relay.toml");
    fs::write(&file, text).unwrap();
    settings::load_in(Some(&file), &surroundings(&[]))
}

#[test]
fn every_bad_configuration_is_refused_in_the_expected_words() {
    let mut cases: Vec<PathBuf> = fs::read_dir(repository().join("tests/bad_configs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 50, "only {} cases were found", cases.len());
    for case in cases {
        let environment = fs::read_to_string(case.join("environment.txt")).unwrap_or_default();
        let variables: Vec<_> =
            environment.lines().filter_map(|line| line.split_once('=')).collect();
        let file = case.join("relay.toml");
        let outcome = settings::load_in(Some(&file), &surroundings(&variables));
        let error = outcome.expect_err(&format!("{} must be refused", case.display()));
        let text = format!("{error}\n").replace(&format!("{}/", case.display()), "");
        assert!(!text.contains("mnop") && !text.contains("4567"), "a password is shown:\n{text}");
        check_golden(&case.join("expected.txt"), &text);
    }
}

fn check_golden(golden: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(golden, text).unwrap();
    }
    let expected = fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(text, expected, "{}", golden.display());
}

#[test]
fn no_secret_is_shown_whatever_is_wrong_with_the_line_or_the_file() {
    for text in [
        "[upstream]\nusername = \"me@gmail.com\"\npassword =\nhunter2\n",
        "[upstream]\npassword = \\\n\"hunter2\"\n",
        "[upstream]\npassword\n= \"hunter2\"\n",
        "[upstream]\npassword = hunter2\n",
        "[upstream]\npassword = \"hunter2\" hunter2\n",
        "[upstream]\npassword = [\"hunter2\"]\n",
        "[upstream]\npassword = { hunter2 = 1 }\n",
        "[upstream]\npassword = [\n  \"hunter2\n",
        "[upstream]\npasswort: hunter2\n",
        "[upstream]\nport = 1\nhunter2\n",
        "[upstream]\npassword_command = \"echo hunter2\n",
        "[upstream]\npassword_command = { echo = \"hunter2\" }\n",
        "[upstream]\npassword_command = [[\"hunter2\"]]\n",
        "[alert]\ncommand = [\"curl\", \"https://me:hunter2@x.example\", 5]\n",
        "[alert]\nwebhook =\nhttps://hooks.example/hunter2\n",
        "[upstream]\nhost = \"smtps://me:hunter2@smtp.gmail.com\"\n",
        "[upstream]\nhost = \"me@gmail.com:hunter2@smtp.gmail.com\"\n",
        "[upstream]\nehlo_name = \"https://me:hunter2@x.example\"\n",
        "[listener]\nhostname = \"me:hunter2@x\"\n",
        "[admin]\nhttp = \"http://me:hunter2@127.0.0.1:80\"\n",
        "[upstream]\noauth_token_endpoint = \"https://me:hunter2@x.example/\"\n",
        "hunter2\n",
        "\"hunter2\n",
        "hunter2 hunter2\n",
        "user me@gmail.com\npassword hunter2\n",
        "AuthPass=hunter2\n",
        "machine smtp.gmail.com login me password hunter2\n",
    ] {
        let error = load_text(text).expect_err(text).to_string();
        assert!(!error.contains("hunter"), "{text}\n{error}");
    }
    for (name, value) in [
        ("PILLARBOX__UPSTREAM__PASSWORD", "\"hunter2\""),
        ("PILLARBOX__UPSTREAM__PASWORD", "hunter2"),
        ("PILLARBOX_UPSTREAM_PASSWORD", "hunter2"),
        ("PILLARBOX__UPSTREAM__HOST", "smtps://me:hunter2@smtp.gmail.com"),
        ("PILLARBOX__UPSTREAM__PASSWORD_COMMAND", "sh -c \"echo hunter2\""),
        ("PILLARBOX__ALERT__WEBHOOK", "hunter2"),
    ] {
        let error = settings::load_in(None, &surroundings(&[(name, value)])).expect_err(name);
        assert!(!error.to_string().contains("hunter"), "{name}={value}\n{error}");
    }
}

#[test]
fn a_variable_whose_value_stands_in_quotes_is_refused_in_words() {
    for (name, value) in [
        ("PILLARBOX__UPSTREAM__USERNAME", "\"you@gmail.com\""),
        ("PILLARBOX__UPSTREAM__USERNAME", "'you@gmail.com'"),
        ("PILLARBOX__UPSTREAM__USERNAME", "\u{201c}you@gmail.com\u{201d}"),
        ("PILLARBOX__UPSTREAM__USERNAME", "you@gmail.com\""),
        ("PILLARBOX__UPSTREAM__PASSWORD", "\"abcd efgh ijkl mnop\""),
        ("PILLARBOX__UPSTREAM__PASSWORD_FILE", "'/run/secrets/gmail_password'"),
        ("PILLARBOX__UPSTREAM__PASSWORD_COMMAND", "sh -c 'pass show gmail'"),
        ("PILLARBOX__UPSTREAM__PORT", "\"587\""),
        ("PILLARBOX__LISTENER__ADDRESSES", "\"127.0.0.1:25\",\"[::1]:25\""),
        ("PILLARBOX__QUEUE__LIFETIME", "`5d`"),
        ("PILLARBOX__LISTENER__HOSTNAME", " \"relay.example.org\" "),
        ("PILLARBOX__QUEUE__DIRECTORY", "\"/var/lib/pillarbox\""),
        ("PILLARBOX__IDENTITY__ADMIN", "\"\""),
        ("PILLARBOX_CONFIG", "\"/etc/pillarbox/relay.toml\""),
    ] {
        let error = settings::load_in(None, &surroundings(&[(name, value)])).expect_err(name);
        let error = error.to_string();
        assert!(error.contains(name) && error.contains("quote"), "{name}={value}\n{error}");
    }
    // A password may have quotes of its own.
    let variables = [
        ("PILLARBOX__UPSTREAM__USERNAME", "you@gmail.com"),
        ("PILLARBOX__UPSTREAM__PASSWORD", "it's a \"secret\" \"word"),
    ];
    settings::load_in(None, &surroundings(&variables)).unwrap();
}

#[test]
fn an_empty_configuration_is_the_documented_default() {
    let settings = load_text("").unwrap();
    let delivery = &settings.delivery;
    assert_eq!(
        (delivery.host.as_str(), delivery.port, delivery.tls),
        ("smtp.gmail.com", 587, Tls::Starttls)
    );
    assert_eq!((delivery.recipients_per_day, delivery.notice_reserve), (475.into(), 5));
    assert_eq!(delivery.ehlo_name, "relay.example.org");
    assert_eq!(settings.queue.directory, Path::new("/var/lib/pillarbox"));
    assert_eq!(settings.admin.socket, Path::new("/run/pillarbox/admin.sock"));
    assert_eq!(settings.admin.http, None);
    assert!(!settings.listener.session.local_recipients, "nobody reads root's mail yet");
}

#[test]
fn an_upstream_that_is_not_gmail_may_have_no_limit_of_a_day_or_a_large_one() {
    let load = |budget: &str| {
        load_text(&format!("[upstream]\nhost = \"mail.example.org\"\n[budget]\n{budget}\n"))
    };
    let settings = load("recipients_per_day = 0").unwrap();
    let delivery = &settings.delivery;
    assert_eq!(delivery.recipients_per_day, Limit::NONE);
    let reserves = (settings.owner_reserve, delivery.notice_reserve, delivery.urgent_reserve);
    assert_eq!(reserves, (0, 0, 0), "of what has no limit nothing is kept");
    assert!(load("recipients_per_day = 0\nowner_reserve = 0\nnotice_reserve = 0").is_ok());
    let settings = load("recipients_per_day = 1000000000\nowner_reserve = 20000").unwrap();
    assert_eq!(settings.delivery.recipients_per_day, Limit::of(999_980_000));
    assert!(load("recipients_per_day = 1000000001").is_err());
    let settings = load("").unwrap();
    assert_eq!(settings.delivery.recipients_per_day, Limit::of(475), "without a word as ever");
}

#[test]
fn gmail_has_a_limit_however_its_name_is_written() {
    for host in ["smtp.gmail.com", "SMTP.Gmail.Com.", "smtp-relay.gmail.com", "smtp.googlemail.com"]
    {
        let load = |limit: u32| {
            load_text(&format!(
                "[upstream]\nhost = \"{host}\"\n[budget]\nrecipients_per_day = {limit}\n"
            ))
        };
        let words = load(0).unwrap_err().to_string();
        assert!(words.contains("0 means no limit, and") && words.contains("has one"), "{words}");
        assert!(words.contains("10000 for the relay service"), "{words}");
        assert!(load(10_000).is_ok() && load(10_001).is_err(), "{host}");
    }
}

#[test]
fn notices_have_a_small_reserve_that_is_never_much_of_the_day() {
    let reserve = |text: &str| {
        let settings = load_text(&format!("[budget]\n{text}\n")).unwrap();
        settings.delivery.notice_reserve
    };
    assert_eq!(reserve("recipients_per_day = 2000\nowner_reserve = 100"), 5);
    assert_eq!(reserve("recipients_per_day = 100\nowner_reserve = 0"), 1);
    assert_eq!(reserve("recipients_per_day = 10\nowner_reserve = 0"), 0);
    assert_eq!(reserve("recipients_per_day = 100\nowner_reserve = 0\nurgent_reserve = 99"), 0);
    assert_eq!(reserve("notice_reserve = 40"), 40);
    let delay =
        |text: &str| load_text(&format!("[notices]\n{text}\n")).unwrap().notices.delay_after;
    assert_eq!(delay("").map(|after| after.as_secs()), Some(4 * 3_600));
    assert_eq!(delay("delay_after = \"2d\"").map(|after| after.as_secs()), Some(2 * 86_400));
    assert_eq!(delay("delay_after = \"never\""), None);
}

#[test]
fn the_tls_mode_follows_the_port_unless_it_is_written() {
    let tls = |text: &str| load_text(&format!("[upstream]\n{text}\n")).unwrap().delivery.tls;
    assert_eq!(tls("port = 465"), Tls::Implicit);
    assert_eq!(tls("port = 2587"), Tls::Starttls);
    assert_eq!(tls("port = 2465\ntls = \"implicit\""), Tls::Implicit);
    assert_eq!(tls("host = \"127.0.0.1\"\ntls = \"off\""), Tls::Off);
}

#[test]
fn the_final_dot_of_a_whole_name_is_taken_and_belongs_to_no_certificate() {
    let host = |text: &str| load_text(text).map(|settings| settings.delivery.host.clone());
    assert_eq!(host("[upstream]\nhost = \"smtp.gmail.com.\"\n").unwrap(), "smtp.gmail.com");
    assert_eq!(host("[upstream]\nhost = \"localhost.\"\ntls = \"off\"\n").unwrap(), "localhost");
    for wrong in ["smtp.gmail.com..", ".", "127.0.0.1."] {
        assert!(host(&format!("[upstream]\nhost = \"{wrong}\"\n")).is_err(), "{wrong}");
    }
}

#[test]
fn the_other_submission_port_stands_by_unless_it_is_forbidden_or_the_port_is_another() {
    use pillarbox::delivery::{IpFamily, Way};
    let load = |text: &str| load_text(&format!("[upstream]\n{text}\n")).unwrap().delivery.clone();
    assert_eq!(load("").other_way, Some(Way { port: 465, tls: Tls::Implicit }));
    assert_eq!(load("port = 465").other_way, Some(Way { port: 587, tls: Tls::Starttls }));
    for alone in
        ["other_port = false", "port = 2587", "tls = \"implicit\"", "other_port = \"false\""]
    {
        assert_eq!(load(alone).other_way, None, "{alone}");
    }
    assert_eq!(load("").ip_family, IpFamily::Any);
    assert_eq!(load("ip_family = \"4\"").ip_family, IpFamily::V4);
}

#[test]
fn a_password_is_found_by_its_name_where_systemd_or_a_container_puts_it() {
    let (systemd, container) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let username = ("PILLARBOX__UPSTREAM__USERNAME", "me@gmail.com");
    let found = |variables: &[(&str, &str)]| {
        let mut around = surroundings(variables);
        around.secret_directories = vec![systemd.path().into(), container.path().into()];
        settings::load_in(None, &around).map(|settings| {
            match settings.delivery.login.as_ref().map(|login| login.password.clone()) {
                Some(PasswordSource::Mounted(path)) => path,
                other => panic!("{other:?}"),
            }
        })
    };
    assert!(found(&[username]).unwrap_err().to_string().contains("no password"));
    let gmail = container.path().join("gmail_password");
    fs::write(&gmail, "abcdefghijklmnop").unwrap();
    assert_eq!(found(&[username]).unwrap(), gmail);
    let own = container.path().join("pillarbox_password");
    fs::write(&own, "abcdefghijklmnop").unwrap();
    assert_eq!(found(&[username]).unwrap(), own, "our own name before the general one");
    let credential = systemd.path().join("pillarbox-password");
    fs::write(&credential, "abcdefghijklmnop").unwrap();
    assert_eq!(found(&[username]).unwrap(), credential, "systemd's before the container's");
    // A file that is named there is a mounted one, too.
    let named = ("PILLARBOX__UPSTREAM__PASSWORD_FILE", gmail.to_str().unwrap());
    assert_eq!(found(&[username, named]).unwrap(), gmail);
}

#[test]
fn the_password_beside_the_systems_configuration_needs_no_line_and_gives_way_to_its_copy() {
    let (etc, systemd) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (file, copy) = (etc.path().join("password"), systemd.path().join("pillarbox-password"));
    let username = ("PILLARBOX__UPSTREAM__USERNAME", "me@gmail.com");
    let named = ("PILLARBOX__UPSTREAM__PASSWORD_FILE", file.to_str().unwrap());
    let found = |variables: &[(&str, &str)]| {
        let mut around = surroundings(variables);
        around.secret_directories = vec![systemd.path().into()];
        around.system_file = etc.path().join("relay.toml");
        let settings = settings::load_in(None, &around)?;
        Ok::<_, SettingsError>(settings.delivery.login.clone().unwrap().password)
    };
    // What the unit puts in the place of a password that is not stored.
    fs::write(&copy, "\n").unwrap();
    assert!(found(&[username]).unwrap_err().to_string().contains("no password"));
    fs::write(&file, "abcdefghijklmnop").unwrap();
    assert!(matches!(found(&[username]).unwrap(), PasswordSource::File(path) if path == file));
    // The daemon cannot open root's own file (here: there is none), and uses the copy, whether it is named or not.
    fs::remove_file(&file).unwrap();
    fs::write(&copy, "abcdefghijklmnop").unwrap();
    for variables in [&[username][..], &[username, named]] {
        assert!(matches!(found(variables).unwrap(), PasswordSource::Mounted(path) if path == copy));
    }
}

#[test]
fn a_written_password_source_wins_over_a_mounted_one_and_without_a_username_none_is_used() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("gmail_password"), "abcdefghijklmnop").unwrap();
    let load = |variables: &[(&str, &str)]| {
        let mut around = surroundings(variables);
        around.secret_directories = vec![directory.path().into()];
        settings::load_in(None, &around).unwrap().delivery.login.clone()
    };
    assert!(load(&[]).is_none());
    let written = [
        ("PILLARBOX__UPSTREAM__USERNAME", "me@gmail.com"),
        ("PILLARBOX__UPSTREAM__PASSWORD", "written"),
    ];
    assert!(matches!(load(&written).unwrap().password, PasswordSource::Inline(_)));
}

#[test]
fn without_an_account_everything_loads_and_run_is_told_the_two_lines_to_add() {
    let settings = settings::load_in(None, &surroundings(&[])).unwrap();
    assert_eq!(settings.source, Source::Defaults);
    let text = settings.require_account().unwrap_err().to_string();
    for line in [
        "    username = \"you@gmail.com\"\n",
        "    password_file = \"/etc/pillarbox/password\"\n",
        "    PILLARBOX__UPSTREAM__USERNAME=you@gmail.com\n",
        "    PILLARBOX__UPSTREAM__PASSWORD_FILE=/etc/pillarbox/password\n",
        "pillarbox sandbox",
    ] {
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    }
}

#[test]
fn an_upstream_that_knows_our_address_needs_no_account() {
    let settings =
        load_text("[upstream]\nhost = \"smtp-relay.gmail.com\"\nauth = \"none\"\n").unwrap();
    settings.require_account().unwrap();
    assert!(settings.delivery.login.is_none());
}

#[test]
fn mail_is_sent_as_the_account_unless_there_is_none_or_the_configuration_says_otherwise() {
    let identity = |text: &str| load_text(text).unwrap().delivery.identity.clone();
    let account = "[upstream]\nusername = \"me@gmail.com\"\npassword = \"x\"\n";
    assert_eq!(identity(account).from, FromPolicy::Account);
    assert_eq!(identity("").from, FromPolicy::Account, "the account is still to be named");
    assert_eq!(
        identity("[upstream]\nhost = \"mx.example\"\nauth = \"none\"\n").from,
        FromPolicy::Keep
    );
    let no_address = "[upstream]\nhost = \"mx.example\"\nusername = \"me\"\npassword = \"x\"\n";
    assert_eq!(identity(no_address).from, FromPolicy::Keep);
    assert_eq!(identity(&format!("{account}[identity]\nfrom = \"keep\"\n")).from, FromPolicy::Keep);
    assert_eq!(identity("[listener]\nhostname = \"mail.example\"\n").domain, "mail.example");
    assert_eq!(identity("[identity]\ndomain = \"example.org\"\n").domain, "example.org");

    let variables = [
        ("PILLARBOX__IDENTITY__FROM", "alias-list"),
        ("PILLARBOX__IDENTITY__SEND_AS", "shop@example.org, support@example.org"),
    ];
    let settings = settings::load_in(None, &surroundings(&variables)).unwrap();
    let identity = &settings.delivery.identity;
    assert_eq!((identity.from, identity.send_as.len()), (FromPolicy::AliasList, 2));
}

#[test]
fn names_of_this_host_are_those_that_nobody_else_has() {
    let local = |text: &str| {
        let mut around = surroundings(&[]);
        around.host.nodename = "web01".into();
        around.host.hosts = "192.0.2.7 web01.example.org web01\n".into();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("relay.toml");
        fs::write(&file, text).unwrap();
        settings::load_in(Some(&file), &around).unwrap().listener.recipients.local().clone()
    };
    assert_eq!(local("").domains, ["web01.example.org", "web01"]);
    let named = local("[listener]\nhostname = \"relay.example.net\"\n");
    assert_eq!(named.domains, ["relay.example.net", "web01", "web01.example.org"]);
    // A host that is called like a domain with mailboxes does not take their mail.
    for identity in ["admin = \"joe@web01.example.org\"", "domain = \"web01.example.org\""] {
        assert_eq!(local(&format!("[identity]\n{identity}\n")).domains, ["web01"], "{identity}");
    }
    // What Debian's programs put behind a bare name, and whatever else is named.
    let with_mailname = |text: &str| {
        let mut around = surroundings(&[]);
        around.host.nodename = "box7".into();
        around.host.mailname = "Box7.Example.org.\n".into();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("relay.toml");
        fs::write(&file, text).unwrap();
        settings::load_in(Some(&file), &around)
            .map(|settings| settings.listener.recipients.local().domains.clone())
    };
    let usual = ["pillarbox-box7.invalid", "box7", "box7.example.org"];
    assert_eq!(with_mailname("").unwrap(), usual);
    let domain = "[identity]\ndomain = \"box7.example.org\"\n";
    assert_eq!(with_mailname(domain).unwrap(), usual[..2], "people have mailboxes there");
    let more = "[identity]\nlocal_domains = [\"NAS.example.org.\", \"box7\"]\n";
    assert_eq!(with_mailname(more).unwrap(), [&usual[..], &["nas.example.org"]].concat());
    for (name, words) in [("a b", "is not a name of a host"), ("gmail.com", "has a mailbox")] {
        let text = format!("[identity]\nadmin = \"me@gmail.com\"\nlocal_domains = [\"{name}\"]\n");
        let error = with_mailname(&text).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let redirected = local("[identity]\nredirect_all = \"test@example.org\"\n");
    assert_eq!(redirected.redirect_all, "test@example.org".parse().ok());
}

#[test]
fn names_of_this_host_are_taken_when_somebody_reads_their_mail() {
    let taken = |text: &str| load_text(text).unwrap().listener.session.local_recipients;
    assert!(!taken("") && !taken("[identity]\naliases_file = \"off\"\n"));
    for identity in [
        "admin = \"joe@example.org\"",
        "aliases_file = \"/some/aliases\"",
        "redirect_all = \"test@example.org\"",
    ] {
        assert!(taken(&format!("[identity]\n{identity}\n")), "{identity}");
    }
    let both = "[upstream]\nusername = \"me@gmail.com\"\npassword = \"x\"\n[notices]\nto = \"admin-and-sender\"\n";
    let senders = |text: &str| load_text(&format!("{both}{text}")).unwrap().notices.senders;
    assert!(senders("") && !senders("[identity]\nredirect_all = \"test@example.org\"\n"));
}

#[test]
fn two_environment_variables_are_enough_and_an_empty_one_counts_as_unset() {
    let variables = [
        ("PILLARBOX__UPSTREAM__USERNAME", "me@gmail.com"),
        ("PILLARBOX__UPSTREAM__PASSWORD", "0123"),
        ("PILLARBOX__UPSTREAM__PASSWORD_FILE", ""),
        ("PILLARBOX__LISTENER__ADDRESSES", "127.0.0.1:2525, [::1]:2525"),
        ("PILLARBOX__QUEUE__MAX_BYTES", "1GiB"),
        ("PILLARBOX__BUDGET__PACE_PER_MINUTE", "0"),
    ];
    let settings = settings::load_in(None, &surroundings(&variables)).unwrap();
    settings.require_account().unwrap();
    let delivery = &settings.delivery;
    let login = delivery.login.as_ref().unwrap();
    assert_eq!(login.username, "me@gmail.com");
    // Digits stay digits: a leading zero is part of a password.
    assert!(
        matches!(&login.password, PasswordSource::Inline(secret) if *secret == pillarbox::secret::Secret::new("0123".into()))
    );
    assert_eq!(delivery.pace_per_minute, 0);
    assert_eq!(settings.listener.addresses.len(), 2);
    assert_eq!(settings.queue.max_bytes, 1 << 30);
    assert_eq!(delivery.admin.as_ref().map(ToString::to_string).as_deref(), Some("me@gmail.com"));
    assert!(!format!("{settings:?}").contains("0123"), "a secret is never printed");
}

#[test]
fn the_environment_wins_over_the_file_and_relative_paths_start_at_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("relay.toml");
    fs::write(
        &file,
        "[upstream]\nport = 465\nca_file = \"roots.pem\"\n[queue]\ndirectory = \"state\"\n",
    )
    .unwrap();
    let variables =
        [("PILLARBOX__UPSTREAM__PORT", "2587"), ("PILLARBOX__UPSTREAM__CA_FILE", "other.pem")];
    let settings = settings::load_in(Some(&file), &surroundings(&variables)).unwrap();
    assert_eq!(settings.delivery.port, 2587);
    assert_eq!(settings.delivery.ca_file.as_deref(), Some(Path::new("other.pem")));
    assert_eq!(settings.queue.directory, directory.path().join("state"));
}

#[test]
fn the_file_is_the_named_one_else_the_variables_else_the_local_else_the_systems() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (name, port) in [("named", 1), ("variable", 2), ("local", 3), ("system", 4)] {
        fs::write(path(name), format!("[upstream]\nport = {port}\n")).unwrap();
    }
    let variable = path("variable");
    let mut around = surroundings(&[("PILLARBOX_CONFIG", variable.to_str().unwrap())]);
    around.local_file = path("local");
    around.system_file = path("system");
    let port = |explicit: Option<&Path>, around: &Surroundings| {
        settings::load_in(explicit, around).unwrap().delivery.port
    };
    assert_eq!(port(Some(&path("named")), &around), 1);
    assert_eq!(port(None, &around), 2);
    around.variables = BTreeMap::new();
    assert_eq!(port(None, &around), 3);
    fs::remove_file(path("local")).unwrap();
    assert_eq!(port(None, &around), 4);
}

#[test]
fn a_named_file_that_is_missing_is_an_error_and_not_the_defaults() {
    let error =
        settings::load_in(Some(Path::new("/nowhere/named.toml")), &surroundings(&[])).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/nowhere/named.toml") && text.contains("--config"), "{text}");
}

#[test]
fn a_file_that_is_not_utf8_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("relay.toml");
    fs::write(&file, b"[upstream]\nhost = \"\xff\"\n").unwrap();
    let error = settings::load_in(Some(&file), &surroundings(&[])).unwrap_err().to_string();
    assert!(error.contains("line 2 is not UTF-8"), "{error}");
}

/// The policy of a client, as one would tell it.
fn policy(settings: &Settings, client: &str) -> (bool, bool, Authentication, u64) {
    let policy = settings.listener.policy_of(client.parse().unwrap());
    (policy.trusted, policy.starttls, policy.authentication, policy.max_message_bytes)
}

#[test]
fn without_sections_this_host_is_trusted_and_nobody_else() {
    let settings = load_text("").unwrap();
    assert_eq!(policy(&settings, "127.0.0.1"), (true, false, Authentication::Off, 35_872_000));
    assert_eq!(policy(&settings, "192.168.1.7"), (false, false, Authentication::Off, 35_872_000));
}

#[test]
fn the_first_network_that_holds_a_client_counts_and_trusted_networks_come_last() {
    let settings = load_text(
        "[listener]\naddresses = [\"0.0.0.0:25\"]\ntls_addresses = [\"0.0.0.0:465\"]\n\
         proxy_addresses = [\"10.0.0.5:10025\"]\n\
         tls_certificate = \"relay.crt\"\ntls_key = \"relay.key\"\nusers_file = \"users\"\n\
         authentication = \"optional\"\ntrusted_networks = [\"192.168.0.0/16\"]\n\
         [[listener.network]]\nnetworks = [\"192.168.1.9\"]\ntrusted = true\nstarttls = false\n\
         authentication = \"accept-any\"\nmax_message_bytes = \"1MiB\"\nmessages_per_minute = 60\n\
         lane = \"urgent\"\n\
         [[listener.network]]\nnetworks = [\"192.168.1.1\", \"2001:db8::/32\"]\nauthentication = \"off\"\n",
    )
    .unwrap();
    let listener = &settings.listener;
    assert_eq!(policy(&settings, "192.168.1.9"), (true, false, Authentication::AcceptAny, 1 << 20));
    let (_, section) = listener.network_of("192.168.1.9".parse().unwrap()).unwrap();
    assert_eq!(section.messages_per_minute.map(u32::from), Some(60));
    assert_eq!(section.lane, Lane::Urgent);
    assert_eq!(policy(&settings, "192.168.1.1"), (false, true, Authentication::Off, 35_872_000));
    assert_eq!(
        policy(&settings, "192.168.1.2"),
        (true, true, Authentication::Optional, 35_872_000)
    );
    assert_eq!(policy(&settings, "8.8.8.8"), (false, true, Authentication::Optional, 35_872_000));
    let endpoints = listener
        .addresses
        .iter()
        .map(|endpoint| (endpoint.address.to_string(), endpoint.implicit_tls, endpoint.proxy));
    let expected = [
        ("0.0.0.0:25", false, false),
        ("0.0.0.0:465", true, false),
        ("10.0.0.5:10025", false, true),
    ];
    assert!(endpoints.eq(expected.map(|(address, tls, proxy)| (address.to_owned(), tls, proxy))));
    let directory = settings.source.to_string();
    let directory = Path::new(&directory).parent().unwrap();
    assert_eq!(listener.tls.as_ref().unwrap().key, directory.join("relay.key"));
    assert_eq!(listener.users_file, Some(directory.join("users")));
}

#[test]
fn any_password_will_do_for_trusted_clients_only() {
    let settings = load_text("[listener]\nauthentication = \"accept-any\"\n").unwrap();
    assert_eq!(policy(&settings, "::1").2, Authentication::AcceptAny);
    assert_eq!(policy(&settings, "192.168.1.7").2, Authentication::Off);
}

#[test]
fn everybody_may_be_let_in_when_everybody_must_log_in() {
    let tls = "tls_certificate = \"relay.crt\"\ntls_key = \"relay.key\"\nusers_file = \"users\"\n";
    let settings = load_text(&format!(
        "[listener]\naddresses = [\"0.0.0.0:25\"]\n{tls}[[listener.network]]\nnetworks = [\"0.0.0.0/0\"]\n\
         authentication = \"required\"\n"
    ));
    assert_eq!(
        policy(&settings.unwrap(), "8.8.8.8"),
        (false, true, Authentication::Required, 35_872_000)
    );
}

#[test]
fn on_this_host_alone_passwords_need_no_certificate() {
    let settings =
        load_text("[listener]\nauthentication = \"required\"\nusers_file = \"users\"\n").unwrap();
    assert_eq!(policy(&settings, "127.0.0.1"), (true, false, Authentication::Required, 35_872_000));
}

#[test]
fn starttls_is_offered_where_there_is_a_certificate_unless_it_is_off() {
    let starttls = |text: &str| {
        let certificate = "tls_certificate = \"relay.crt\"\ntls_key = \"relay.key\"\n";
        policy(&load_text(&format!("[listener]\n{certificate}{text}\n")).unwrap(), "127.0.0.1").1
    };
    assert!(starttls(""));
    assert!(!starttls("starttls = \"off\""));
    assert!(starttls(
        "starttls = \"off\"\n[[listener.network]]\nnetworks = [\"127.0.0.1\"]\nstarttls = true"
    ));
}
