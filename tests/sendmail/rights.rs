//! A program with more rights than its caller (setgid, setuid) believes nothing that he says of the surroundings.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use super::stage::{Stage, call};
use crate::support::{daemon::pillarbox, executable};

const CALLER: u32 = 61_002;
const GROUP: u32 = 61_001;

#[test]
fn no_variable_and_no_option_counts_when_the_program_has_other_rights_than_its_caller() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        return;
    }
    let stage = Stage::new();
    let program = stage.path("pillarbox");
    executable::copy(Path::new(pillarbox().get_program()), &program);
    let asked = |command: &mut Command| {
        command.env_clear().uid(CALLER).gid(CALLER);
        command.env("PILLARBOX__ADMIN__SOCKET", "/of/the/caller");
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        call(command, b"").stderr
    };
    let said = asked(Command::new(&program).arg("mailq"));
    assert!(said.contains("/of/the/caller"), "his own program obeys him: {said}");
    for (owner, group, mode) in [(0, GROUP, 0o2755), (CALLER + 1, 0, 0o4755)] {
        chown(&program, Some(owner), Some(group)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        let said = asked(Command::new(&program).arg("mailq"));
        assert!(!said.contains("/of/the/caller"), "{said}");
        assert!(said.contains("/run/pillarbox/admin.sock"), "{said}");
        fs::write(stage.path("his.toml"), "[admin]\nsocket = \"/of/the/caller\"\n").unwrap();
        for line in [["mailq", "--config"], ["--config", "mailq"]] {
            let config = stage.path("his.toml");
            let mut command = Command::new(&program);
            match line[0] {
                "mailq" => command.args(line).arg(&config),
                _ => command.arg(line[0]).arg(&config).arg(line[1]),
            };
            let said = asked(&mut command);
            assert!(!said.contains("/of/the/caller"), "{line:?}: {said}");
        }
    }
}
