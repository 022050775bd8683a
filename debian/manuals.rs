//! Writes what the package makes out of the command line's own words: manual pages and shell completions.
//!
//! Usage: `cargo run --example manuals -- DIRECTORY`. An example, so that its libraries never come into the binary.

#![expect(clippy::print_stderr, reason = "this is a program for the command line")]

use std::{env, fs, io, path::PathBuf, process::ExitCode};

use clap_complete::{Shell, generate_to};

fn main() -> ExitCode {
    let Some(directory) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: manuals DIRECTORY");
        return ExitCode::from(64);
    };
    match write(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manuals: cannot write {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &PathBuf) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut command = pillarbox::cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "pillarbox", directory)?;
    }
    clap_mangen::generate_to(pillarbox::cli::command(), directory)
}
