//! `pillarbox-sandbox`: the look-alike as a program, which prints its addresses and serves until it is stopped.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a program for the command line"
)]

use std::{env, error::Error, ffi::OsString, fs, path::PathBuf, process::ExitCode};

use pillarbox_sandbox::{Options, SCENARIOS, Sandbox, Scenario};

const USAGE: &str = "usage: pillarbox-sandbox [--scenario NAME] [--journal FILE] [--mailbox DIRECTORY] [--ca-file FILE]";
/// The exit status of a wrong command line (EX_USAGE of sysexits.h).
const USAGE_STATUS: u8 = 64;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Arguments {
    options: Options,
    scenario: Option<&'static Scenario>,
    ca_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match read(env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("pillarbox-sandbox: {message}\n{USAGE}");
            return ExitCode::from(USAGE_STATUS);
        }
    };
    match serve(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pillarbox-sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read(mut words: impl Iterator<Item = OsString>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let word = word.to_string_lossy().into_owned();
        let value = words.next().ok_or_else(|| format!("{word} is unknown or has no value"))?;
        match word.as_str() {
            "--scenario" => arguments.scenario = Some(scenario(&value.to_string_lossy())?),
            "--journal" => arguments.options.journal = Some(value.into()),
            "--mailbox" => arguments.options.mailbox = Some(value.into()),
            "--ca-file" => arguments.ca_file = Some(value.into()),
            _ => return Err(format!("{word} is unknown")),
        }
    }
    if let Some(scenario) = arguments.scenario {
        scenario.prepare(&mut arguments.options);
    }
    Ok(arguments)
}

fn scenario(name: &str) -> Result<&'static Scenario, String> {
    let names = || SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
    Scenario::find(name)
        .ok_or_else(|| format!("there is no scenario {name}; choose one of {}", names()))
}

async fn serve(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::start(arguments.options).await?;
    if let Some(file) = &arguments.ca_file {
        fs::write(file, sandbox.certificate_authority_pem())
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    let mut described = sandbox.description(arguments.scenario);
    described["ca_file"] = serde_json::json!(arguments.ca_file);
    println!("{described}");
    tokio::signal::ctrl_c().await?;
    sandbox.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read_and_what_it_does_not_know_is_named() {
        let read = |text: &str| read(text.split_whitespace().map(OsString::from));
        let arguments = read("--scenario slow --mailbox /tmp/m --ca-file ca.pem").unwrap();
        assert_eq!(arguments.scenario.map(|scenario| scenario.name), Some("slow"));
        assert_eq!(arguments.options.mailbox, Some("/tmp/m".into()));
        assert_eq!(arguments.ca_file, Some("ca.pem".into()));
        for (text, named) in [
            ("--frobnicate 1", "--frobnicate is unknown"),
            ("--journal", "--journal is unknown or has no value"),
            ("--scenario none", "there is no scenario none; choose one of daily-limit, "),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.starts_with(named), "{message}");
        }
    }
}
