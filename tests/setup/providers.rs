//! Providers: what is asked of each, what is written, and what a change of provider takes away.

use std::fs;

use super::scene::{ACCOUNT, PASSWORD, STORED, Scene, output};

/// A scene without a relay.toml.
fn bare() -> Scene {
    let scene = Scene::new();
    fs::remove_file(scene.config()).unwrap();
    scene
}

#[test]
fn a_person_names_the_provider_and_is_asked_in_its_words_for_what_it_needs() {
    let scene = bare();
    let mut terminal = scene.at_terminal(&["--no-prove"]);
    terminal.answer("Whose server relays the mail [gmail]", "99");
    terminal.wait_for("99 is not one of gmail, workspace");
    terminal.answer("Whose server relays the mail [gmail]", "icloud");
    terminal.answer("iCloud account", "me@icloud.com");
    terminal.answer("Who reads root's mail [me@icloud.com]", "");
    terminal.answer("Who may send", "");
    terminal.wait_for("https://account.apple.com");
    terminal.answer("App-specific password", PASSWORD);
    terminal.answer("Do this?", "");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("store the app-specific password in"), "{shown}");
    for words in ["Gmail account", "How to log in", "google"] {
        assert!(!shown.contains(words), "{words}: {shown}");
    }
    let text = scene.text();
    let lines = "[upstream]\nprovider = \"icloud\"\nusername = \"me@icloud.com\"\npassword_file = \"password\"\n";
    assert!(text.contains(lines), "{text}");
}

#[test]
fn any_other_server_is_asked_for_by_its_name_port_tls_and_login_and_proved() {
    let scene = Scene::new();
    let port = scene.gmail.upstream().port.to_string();
    let flags =
        ["--no-input", "--yes", "--provider", "custom", "--host", "localhost", "--port", &port];
    let flags =
        [&flags[..], &["--tls", "starttls", "--login", "password", "--account", ACCOUNT]].concat();
    let given = [&flags[..], &["--password-stdin"]].concat();
    let (code, out, err) = scene.run(&given, PASSWORD);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("localhost takes it.") && out.contains("store the password in"), "{out}");
    let text = scene.text();
    for line in
        ["provider = \"custom\"", "host = \"localhost\" # the look-alike", "tls = \"starttls\""]
    {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert_eq!(fs::read_to_string(scene.path("password")).unwrap(), STORED);
    let files = scene.files();
    let (code, out, _) = scene.run(&given, PASSWORD);
    assert!(code == 0 && out.contains("All is in place"), "{out}");
    let (code, out, _) = scene.run(&["--no-input", "--yes"], "");
    assert!(code == 0 && out.contains("All is in place"), "the file knows every answer: {out}");
    assert_eq!(scene.files(), files);
}

#[test]
fn a_server_that_knows_this_host_needs_neither_an_account_nor_a_password() {
    let scene = bare();
    let flags =
        ["--no-input", "--yes", "--no-prove", "--provider", "custom", "--host", "127.0.0.1"];
    let others = ["--tls", "off", "--port", "2500", "--login", "none", "--root-to", ACCOUNT];
    let (code, out, err) = scene.run(&[&flags[..], &others].concat(), "");
    assert_eq!(code, 0, "{out}{err}");
    let text = scene.text();
    let lines = "provider = \"custom\"\nhost = \"127.0.0.1\"\nport = 2500\ntls = \"off\"\nauth = \"none\"\n";
    assert!(text.contains(lines) && !text.contains("username"), "{text}");
    let scene = bare();
    let flags = ["--no-input", "--yes", "--no-prove", "--provider", "workspace-relay"];
    let (code, out, err) = scene.run(&[&flags[..], &["--root-to", ACCOUNT]].concat(), "");
    assert_eq!(code, 0, "{out}{err}");
    let text = scene.text();
    assert!(text.contains("provider = \"workspace-relay\"\nauth = \"none\"\n"), "{text}");
}

#[test]
fn another_provider_takes_nothing_of_the_one_before() {
    let scene = Scene::new();
    scene.set_up();
    let flags = ["--no-input", "--yes", "--no-prove", "--provider", "fastmail"];
    let (code, _, err) = scene.run(&flags, "");
    assert!(code == 64 && err.contains("--account ADDRESS"), "{err}");
    let account = ["--account", "me@fastmail.com"];
    let (code, _, err) = scene.run(&[&flags[..], &account].concat(), "");
    assert!(code == 64 && err.contains("--password-file"), "not the password of Gmail: {err}");
    let given = [&flags[..], &account, &["--password-stdin"]].concat();
    let (code, out, err) = scene.run(&given, "0123456789");
    assert_eq!(code, 0, "{out}{err}");
    let text = scene.text();
    for line in [
        "provider = \"fastmail\"",
        "#host = \"localhost\" # the look-alike",
        "username = \"me@fastmail.com\"",
        "admin = \"me@gmail.com\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(text.lines().any(|line| line.starts_with("#port = ")), "{text}");
    assert_eq!(fs::read_to_string(scene.path("password")).unwrap(), "0123456789\n");
}

#[test]
fn what_a_provider_does_not_have_is_refused_by_its_flag() {
    let scene = bare();
    let files = scene.files();
    for (flags, code, words) in [
        (&["--provider", "gmial"][..], 65, "gmial is not one of gmail, workspace"),
        (&["--provider", "outlook", "--account", "me@outlook.com"], 64, "--client-id ID"),
        (&["--provider", "microsoft365", "--login", "none"], 65, "none is not one of oauth"),
        (&["--provider", "microsoft365", "--tenant", "a b"], 65, "a b is not an id such as"),
        (&["--provider", "icloud", "--transport", "gmail-api"], 65, "is not one of smtp"),
        (
            &["--provider", "gmail", "--transport", "gmail-api", "--login", "app-password"],
            65,
            "app-password is not one of oauth, service-account",
        ),
        (&["--provider", "yahoo", "--login", "oauth"], 65, "oauth is not one of password"),
        (&["--provider", "custom"], 64, "--host NAME"),
        (&["--provider", "ses", "--account", "AKIA"], 64, "--host NAME"),
        (&["--provider", "brevo", "--account", "8a@smtp-brevo.com"], 64, "--root-to ADDRESS"),
        (&["--provider", "custom", "--host", "smtp.example.org:25"], 65, "the port has its own"),
    ] {
        let (found, _, err) = scene.run(&[&["--no-input", "--yes"][..], flags].concat(), "");
        assert!(found == code && err.contains(words), "{flags:?}: {found} {err}");
        assert_eq!(scene.files(), files, "{flags:?}");
    }
}

#[test]
fn a_file_whose_login_setup_does_not_know_is_left_alone() {
    let scene = bare();
    let text = "[upstream]\nprovider = \"microsoft365\"\nusername = \"relay@example.com\"\nauth = \"client-credentials\"\n\
                oauth_tenant = \"example.com\"\noauth_client_id = \"1\"\noauth_client_secret_file = \"client-secret\"\n";
    fs::write(scene.config(), text).unwrap();
    let (code, _, err) = scene.run(&["--no-input", "--yes"], "");
    assert!(code == 78 && err.contains("docs/microsoft.md"), "{code} {err}");
    assert_eq!(scene.text(), text);
    // Another way to log in is one that is asked for.
    let flags = ["--no-input", "--yes", "--no-prove", "--login", "oauth", "--client-id", "2"];
    let (code, out, err) = scene.run(&flags, "");
    assert_eq!(code, 0, "{out}{err}");
    let text = scene.text();
    for line in [
        "auth = \"oauth\"",
        "oauth_client_id = \"2\"",
        "#oauth_client_secret_file = \"client-secret\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

#[test]
fn a_container_is_given_the_providers_variables() {
    let scene = bare();
    fs::create_dir(scene.path("root")).unwrap();
    fs::write(scene.path("root/.dockerenv"), "").unwrap();
    let root = scene.path("root").display().to_string();
    let flags = ["--no-input", "--root", &root, "--provider", "ses", "--account", "AKIA"];
    let others = ["--host", "email-smtp.eu-central-1.amazonaws.com", "--root-to", ACCOUNT];
    let (code, out, err) = output(scene.bare(&[&flags[..], &others].concat()), "");
    assert_eq!(code, 0, "{out}{err}");
    for words in [
        "-e PILLARBOX__UPSTREAM__PROVIDER=ses",
        "-e PILLARBOX__UPSTREAM__HOST=email-smtp.eu-central-1.amazonaws.com",
        "-e PILLARBOX__UPSTREAM__USERNAME=AKIA",
        "-e PILLARBOX__IDENTITY__ADMIN=me@gmail.com",
        "Paste the SMTP password there",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
}
