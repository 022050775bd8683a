//! relay.toml as a file: whose it is, and what an editor has put in front of its text.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use pillarbox::settings;

use super::surroundings;

#[test]
fn a_file_that_was_found_counts_only_when_nobody_else_can_have_written_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("relay.toml");
    fs::write(&file, "[upstream]\nport = 3\n").unwrap();
    let set_mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let found = |local: bool| {
        let mut around = surroundings(&[]);
        let place = if local { &mut around.local_file } else { &mut around.system_file };
        place.clone_from(&file);
        settings::load_in(None, &around)
    };
    for local in [true, false] {
        for (path, mode) in [(file.as_path(), 0o666), (directory.path(), 0o777)] {
            let before = fs::metadata(path).unwrap().permissions().mode();
            set_mode(path, mode);
            let words = found(local).unwrap_err().to_string();
            let named = words.contains(&file.display().to_string());
            assert!(named && words.contains("others may write"), "{words}");
            assert!(words.contains("--config"), "{words}");
            // Who names it knows what he does.
            assert_eq!(
                settings::load_in(Some(&file), &surroundings(&[])).unwrap().delivery.port,
                3
            );
            set_mode(path, before);
        }
        assert_eq!(found(local).unwrap().delivery.port, 3);
    }
}

#[test]
fn a_file_is_read_whatever_its_editor_has_put_in_front() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("relay.toml");
    let text = "[upstream]\r\nport = 3\r\n";
    let sixteen: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [[b"\xef\xbb\xbf", text.as_bytes()].concat(), [b"\xff\xfe", &sixteen[..]].concat()]
    {
        fs::write(&file, bytes).unwrap();
        assert_eq!(settings::load_in(Some(&file), &surroundings(&[])).unwrap().delivery.port, 3);
    }
}
