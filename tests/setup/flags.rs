//! Scripts: flags, standard input, exit codes, and never a question.

use std::{fs, os::unix::fs::symlink};

use super::scene::{ACCOUNT, PASSWORD, STORED, Scene, output, write_secret};
use crate::support::daemon::free_port;

const CLIENT: &str = r#"{"installed":{"client_id":"1.apps","client_secret":"geheim","redirect_uris":["http://localhost"]}}"#;

#[test]
fn flags_and_standard_input_answer_everything() {
    let scene = Scene::new();
    let flags = [
        "--no-input",
        "--yes",
        "--account",
        ACCOUNT,
        "--login",
        "app-password",
        "--password-stdin",
        "--root-to",
        "boss@example.org",
        "--serve",
        "192.168.1.0/24",
        "10.0.0.7",
        "--listen",
        "127.0.0.1:2526",
    ];
    let (code, out, err) = scene.run(&flags, PASSWORD);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.contains("localhost takes it.") && !out.contains("abcd") && !out.contains('\u{1b}'),
        "{out}"
    );
    let text = scene.text();
    for line in [
        "# Mine.",
        "host = \"localhost\" # the look-alike",
        "username = \"me@gmail.com\"",
        "password_file = \"password\"",
        "admin = \"boss@example.org\"",
        "networks = [\"192.168.1.0/24\", \"10.0.0.7/32\"]",
        "trusted = true",
        "# The end.",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(text.contains(", \"127.0.0.1:2526\"]"), "{text}");
    assert_eq!(fs::read_to_string(scene.path("password")).unwrap(), STORED);
    let files = scene.files();
    let (code, out, _) = scene.run(&flags, PASSWORD);
    assert_eq!(code, 0);
    assert!(out.contains("All is in place"), "{out}");
    assert_eq!(scene.files(), files, "a second call changes nothing");
}

#[test]
fn a_missing_answer_is_named_by_its_flag_and_nothing_is_written() {
    let scene = Scene::new();
    let files = scene.files();
    let password = scene.path("given");
    for (flags, flag) in [
        (&["--no-input"][..], "--account ADDRESS"),
        (&["--no-input", "--account", ACCOUNT], "--password-file FILE or --password-stdin"),
        (&["--account", ACCOUNT], "--password-file"),
        (&["--no-input", "--login", "oauth", "--account", ACCOUNT], "--client-file FILE"),
        (&["--no-input", "--login", "service-account", "--account", ACCOUNT], "--key-file FILE"),
        (&["--no-input", "--login", "none"], "--root-to ADDRESS"),
        (&["--no-input", "--account", ACCOUNT, "--password-stdin"], "--yes"),
    ] {
        let (code, _, err) = scene.run(flags, PASSWORD);
        assert_eq!(code, 64, "{flags:?}: {err}");
        assert!(err.contains(flag), "{flags:?}: {err}");
        assert_eq!(scene.files(), files, "{flags:?}");
    }
    assert!(!password.exists());
}

#[test]
fn a_wrong_answer_is_named_by_its_flag() {
    let scene = Scene::new();
    for (flags, words) in [
        (["--account", "me"], "--account"),
        (["--login", "magic"], "is not one of"),
        (["--serve", "lan"], "neither"),
        (["--listen", "eth0"], "not an address"),
        (["--root-to", "root"], "--root-to"),
        (["--client-file", "/nonexistent"], "/nonexistent"),
        (["--password-file", "/nonexistent"], "/nonexistent"),
    ] {
        let (code, _, err) = scene.run(&[&["--no-input", "--yes"][..], &flags].concat(), "");
        assert_eq!(code, 65, "{flags:?}: {err}");
        assert!(err.contains(words), "{err}");
    }
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let scene = Scene::new();
    let files = scene.files();
    let flags = ["--no-input", "--dry-run", "--account", ACCOUNT, "--password-stdin"];
    let (code, out, _) = scene.run(&flags, PASSWORD);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("store the app password in") && !out.contains("Trying"), "{out}");
    assert_eq!(scene.files(), files);
}

#[test]
fn another_password_is_replaced_only_with_a_yes() {
    let scene = Scene::new();
    write_secret(&scene.path("password"), "aaaabbbbccccdddd\n");
    let flags = ["--no-input", "--account", ACCOUNT, "--password-stdin"];
    let (code, _, err) = scene.run(&flags, PASSWORD);
    assert_eq!(code, 64, "{err}");
    assert!(err.contains("--yes") && err.contains("another password"), "{err}");
    assert_eq!(fs::read_to_string(scene.path("password")).unwrap(), "aaaabbbbccccdddd\n");
    let (code, out, _) = scene.run(&[&flags[..], &["--yes"]].concat(), PASSWORD);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("replace the password in"), "{out}");
    assert_eq!(fs::read_to_string(scene.path("password")).unwrap(), STORED);
}

#[test]
fn a_refusal_ends_with_its_remedy_and_so_does_an_upstream_that_is_not_there() {
    let scene = Scene::new();
    let flags = ["--no-input", "--yes", "--account", ACCOUNT, "--password-stdin"];
    let (code, _, err) = scene.run(&flags, "aaaa bbbb cccc dddd");
    assert_eq!(code, 77, "{err}");
    assert!(err.contains("the login was refused") && err.contains("app password"), "{err}");
    assert!(!err.contains("aaaa"), "{err}");
    let port = format!("port = {}", scene.gmail.upstream().port);
    fs::write(scene.config(), scene.text().replace(&port, &format!("port = {}", free_port())))
        .unwrap();
    let (code, _, err) = scene.run(&flags, PASSWORD);
    assert_eq!(code, 75, "{err}");
    assert!(err.contains("could not be tried"), "{err}");
}

#[test]
fn networks_that_nobody_may_trust_and_files_that_are_wrong_leave_everything_as_it_was() {
    let scene = Scene::new();
    let files = scene.files();
    let flags =
        ["--no-input", "--yes", "--account", ACCOUNT, "--password-stdin", "--serve", "0.0.0.0/0"];
    let (code, _, err) = scene.run(&flags, PASSWORD);
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("nothing was changed"), "{err}");
    assert_eq!(scene.files(), files);
    fs::write(scene.config(), "[upstream]\npassword = geheim\n").unwrap();
    let (code, _, err) = scene.run(&flags[..5], PASSWORD);
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("line 2 is not TOML") && !err.contains("geheim"), "{err}");
}

#[test]
fn a_client_of_ones_own_is_copied_and_the_consent_is_the_next_step() {
    let scene = Scene::new();
    fs::create_dir(scene.path("Downloads")).unwrap();
    fs::write(scene.path("Downloads/client_secret_1.json"), CLIENT).unwrap();
    let flags = [
        "--no-input",
        "--yes",
        "--account",
        ACCOUNT,
        "--login",
        "oauth",
        "--client-file",
        "~/Downloads/client_secret_1.json",
    ];
    let (code, out, err) = scene.run(&flags, "");
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("pillarbox auth google --config") && !out.contains("geheim"), "{out}");
    assert_eq!(fs::read_to_string(scene.path("client.json")).unwrap(), CLIENT);
    assert_eq!(scene.mode("client.json"), 0o600);
    let text = scene.text();
    assert!(text.contains("auth = \"oauth\"\noauth_client_file = \"client.json\""), "{text}");
    let (code, _, err) =
        scene.run(&["--no-input", "--yes", "--login", "oauth", "--client-file", "relay.toml"], "");
    assert_eq!(code, 65, "{err}");
    assert!(err.contains("it is not JSON"), "{err}");
}

#[test]
fn another_way_to_log_in_takes_the_place_of_the_first_and_its_keys_become_comments() {
    let scene = Scene::new();
    scene.set_up();
    let key = scene.path("service-account.json");
    write_secret(&key, r#"{"type":"service_account"}"#);
    let key = key.display().to_string();
    let flags =
        ["--no-input", "--yes", "--no-prove", "--login", "service-account", "--key-file", &key];
    let (code, out, err) = scene.run(&flags, "");
    assert_eq!(code, 0, "{out}{err}");
    let text = scene.text();
    assert!(
        text.contains("#password_file = \"password\"")
            && text.contains("service_account_file = \"service-account.json\""),
        "{text}"
    );
    let (code, out, err) = scene
        .run(&["--no-input", "--yes", "--no-prove", "--login", "none", "--root-to", ACCOUNT], "");
    assert_eq!(code, 0, "{out}{err}");
    let text = scene.text();
    assert!(
        text.contains("#username = \"me@gmail.com\"") && text.contains("auth = \"none\""),
        "{text}"
    );
    assert!(text.contains("host = \"localhost\" # the look-alike"), "{text}");
}

#[test]
fn a_link_of_the_administrators_stays_a_link() {
    let scene = Scene::new();
    fs::rename(scene.config(), scene.path("real.toml")).unwrap();
    symlink("real.toml", scene.config()).unwrap();
    scene.set_up();
    assert!(fs::symlink_metadata(scene.config()).unwrap().is_symlink());
    assert!(fs::read_to_string(scene.path("real.toml")).unwrap().contains(ACCOUNT));
}

#[test]
fn a_container_is_given_variables_and_a_secret_file_instead() {
    let scene = Scene::new();
    let files = scene.files();
    fs::create_dir(scene.path("root")).unwrap();
    fs::write(scene.path("root/.dockerenv"), "").unwrap();
    let root = scene.path("root").display().to_string();
    let flags =
        ["--no-input", "--root", &root, "--account", ACCOUNT, "--root-to", "boss@example.org"];
    let (code, out, err) = output(scene.bare(&flags), "");
    assert_eq!(code, 0, "{out}{err}");
    for words in [
        "-e PILLARBOX__UPSTREAM__USERNAME=me@gmail.com",
        "-e PILLARBOX__IDENTITY__ADMIN=boss@example.org",
        "/run/secrets/pillarbox-password:ro",
        "install -m 0400 -o 65532 /dev/stdin pillarbox-password",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert_eq!(scene.files(), files);
}

#[test]
fn a_run_without_an_account_names_setup_first() {
    let scene = Scene::new();
    let mut run = crate::support::daemon::pillarbox();
    run.args(["run", "--config"]).arg(scene.config());
    let (code, _, err) = output(run, "");
    assert_eq!(code, 78);
    let setup = err.find("pillarbox setup").unwrap_or_else(|| panic!("{err}"));
    assert!(setup < err.find("username").unwrap(), "{err}");
}
