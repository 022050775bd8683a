//! The fuzz target of command lines: any octets of a line, as `smtp::command` gets them.

use pillarbox::smtp::{
    address::Address,
    command::{Command, CommandError},
    quirk::Quirks,
};

/// Runs one input. Panics when something does not hold.
pub(crate) fn run(input: &[u8]) {
    let Ok(command) = parse(input) else { return };
    assert!(!input.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t'), "{command:?}");
    // The case of the verb and blanks around the line mean nothing.
    let mut line = input.trim_ascii().to_vec();
    let verb = line.iter().position(|octet| b" \t".contains(octet)).unwrap_or(line.len());
    line[..verb].make_ascii_lowercase();
    let padded = [b"  ".as_slice(), &line, b" \t"].concat();
    assert_eq!(parse(&padded), Ok(command.clone()));
    match &command {
        Command::Mail { reverse_path: Some(path), .. } => check_path(path, "MAIL FROM"),
        Command::Recipient { forward_path, .. } => check_path(forward_path, "RCPT TO"),
        Command::Hello(name) | Command::ExtendedHello(name) => {
            assert!(!name.contains(char::is_control), "{name:?}");
        }
        _ => {}
    }
}

fn parse(line: &[u8]) -> Result<Command, CommandError> {
    Command::parse(line, &mut Quirks::default())
}

/// A path that was understood is understood in its plain form, too: what we send is what we read.
fn check_path(path: &Address, verb: &str) {
    super::address::check_safe(path);
    let again = parse(format!("{verb}:<{path}>").as_bytes());
    match again {
        Ok(Command::Mail { reverse_path: Some(read), .. }) => assert_eq!(read, *path),
        Ok(Command::Recipient { forward_path, .. }) => assert_eq!(forward_path, *path),
        other => panic!("{path} became {other:?}"),
    }
}
