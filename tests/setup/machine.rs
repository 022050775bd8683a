//! A machine with systemd and the package, made of files; its systemctl is a script that notes how it was called.

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _};

use super::scene::{ACCOUNT, PASSWORD, Scene, output};
use crate::support::executable;

/// Whether the test cannot be run, which is said.
fn not_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        drop(writeln!(std::io::stderr(), "{test}: NOT RUN on this machine: it needs root"));
    }
    !root
}

/// The machine, with the scene's relay.toml as that of the service.
fn install(scene: &Scene) {
    for directory in ["etc/pillarbox", "run/systemd/system", "lib/systemd/system", "bin"] {
        fs::create_dir_all(scene.path("root").join(directory)).unwrap();
    }
    let file = |name: &str, text: &str| fs::write(scene.path("root").join(name), text).unwrap();
    file("etc/pillarbox/relay.toml", &scene.text());
    file("lib/systemd/system/pillarbox.service", "");
    let calls = scene.path("calls").display().to_string();
    let active = scene.path("active").display().to_string();
    executable::script(
        &scene.path("root/bin/systemctl"),
        &format!(
            "#!/bin/sh\n[ $1 = is-active ] && exec test -e {active}\necho \"$@\" >>{calls}\n: >{active}\n"
        ),
    );
}

fn run(scene: &Scene, flags: &[&str], input: &str) -> (i32, String, String) {
    let root = scene.path("root").display().to_string();
    let flags =
        [&["--no-input", "--yes", "--root", &root, "--account", ACCOUNT][..], flags].concat();
    let mut command = scene.bare(&flags);
    command.env("PATH", format!("{root}/bin:/usr/bin:/bin"));
    output(command, input)
}

fn calls(scene: &Scene) -> Vec<String> {
    let text = fs::read_to_string(scene.path("calls")).unwrap_or_default();
    fs::write(scene.path("calls"), "").unwrap();
    text.lines().map(str::to_owned).collect()
}

const START: &str = "enable --now pillarbox.socket pillarbox.service";

#[test]
fn the_service_is_started_once_its_login_is_proved_and_restarted_after_a_change() {
    if not_root("the_service_is_started_once_its_login_is_proved_and_restarted_after_a_change") {
        return;
    }
    let scene = Scene::new();
    install(&scene);
    let (code, _, err) = run(&scene, &["--password-stdin"], "aaaa bbbb cccc dddd");
    assert_eq!(code, 77, "{err}");
    assert!(calls(&scene).is_empty(), "a password that is refused starts nothing");
    let (code, out, err) = run(&scene, &["--password-stdin"], PASSWORD);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(calls(&scene), [START]);
    let password = scene.path("root/etc/pillarbox/password");
    assert_eq!(fs::metadata(&password).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(scene.path("root/etc/pillarbox/relay.toml")).unwrap();
    assert!(text.contains(&format!("password_file = \"{}\"", password.display())), "{text}");
    let (code, out, _) = run(&scene, &[], "");
    assert_eq!((code, calls(&scene)), (0, Vec::new()), "{out}");
    let (code, out, err) = run(&scene, &["--root-to", "boss@example.org"], "");
    assert_eq!(
        (code, calls(&scene)),
        (0, vec!["restart pillarbox.service".to_owned()]),
        "{out}{err}"
    );
}

#[test]
fn a_network_gets_its_sockets_and_the_old_ones_are_closed_before() {
    if not_root("a_network_gets_its_sockets_and_the_old_ones_are_closed_before") {
        return;
    }
    let scene = Scene::new();
    install(&scene);
    fs::write(scene.path("active"), "").unwrap();
    let flags = ["--password-stdin", "--serve", "192.168.1.0/24", "--listen", "192.168.1.10:25"];
    let (code, out, err) = run(&scene, &flags, PASSWORD);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(calls(&scene), ["daemon-reload", "stop pillarbox.service pillarbox.socket", START]);
    let drop_in = scene.path("root/etc/systemd/system/pillarbox.socket.d/setup.conf");
    let text = fs::read_to_string(&drop_in).unwrap();
    assert!(
        text.contains("[Socket]\nListenStream=\n")
            && text.contains("ListenStream=192.168.1.10:25\n"),
        "{text}"
    );
    assert_eq!(fs::metadata(&drop_in).unwrap().permissions().mode() & 0o777, 0o644);
    let (code, out, _) = run(&scene, &flags, PASSWORD);
    assert_eq!((code, calls(&scene)), (0, Vec::new()), "{out}");
}
