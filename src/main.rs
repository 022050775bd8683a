//! The program: hands its arguments to the command line and ends with its exit code.
//!
//! Rule: nothing happens here. Must not know any command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pillarbox::cli::main(std::env::args_os())
}
