//! `pillarbox alert test` as a script runs it: the real binary, and what its exit code says.

use std::time::Duration;

use crate::support::daemon::{Home, Upstream};

const PATIENCE: Duration = Duration::from_secs(30);

/// Exit code and everything that was said.
fn ask(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let output = home.output([&["alert", "test"], arguments].concat());
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn without_a_daemon_the_exit_code_is_69() {
    let home = Home::with_sections(&Upstream::nobody(), "[alert]\ncommand = [\"/bin/true\"]\n");
    for arguments in [&[][..], &["command"], &["--json"]] {
        let (code, words) = ask(&home, arguments);
        assert_eq!(code, Some(69), "{words}");
        assert!(words.starts_with("pillarbox: no daemon answers on "), "{words}");
    }
}

#[test]
fn the_exit_code_is_0_when_all_have_taken_it_1_when_one_has_not_and_65_for_a_name_that_is_none() {
    let targets = "[[alert.target]]\nname = \"good\"\ncommand = [\"/bin/true\"]\n\n\
                   [[alert.target]]\nname = \"bad\"\ncommand = [\"/bin/false\"]\n";
    let home = Home::with_sections(&Upstream::nobody(), targets);
    let daemon = home.start();
    for (arguments, expected) in [
        (&["good"][..], 0),
        (&["bad"], 1),
        (&[], 1),
        (&["good", "--json"], 0),
        (&["--json"], 1),
        (&["nobody"], 65),
    ] {
        let (code, words) = ask(&home, arguments);
        assert_eq!(code, Some(expected), "{arguments:?}: {words}");
    }
    let (_, words) = ask(&home, &[]);
    let expected = "good (the command /bin/true) has taken it: exit status 0\n\
                    bad (the command /bin/false) has not taken it: the alert command /bin/false failed";
    assert!(words.starts_with(expected), "{words}");
    let (_, words) = ask(&home, &["nobody"]);
    assert!(words.contains("there is no target \"nobody\"; there are: good, bad"), "{words}");
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
fn nobody_to_be_told_is_no_success() {
    let home = Home::new(&Upstream::nobody());
    let daemon = home.start();
    let (code, words) = ask(&home, &[]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.starts_with("Nobody is told without mail: "), "{words}");
    assert!(daemon.terminate(PATIENCE).success());
}
