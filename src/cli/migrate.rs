//! `pillarbox migrate`: a relay.toml out of the configuration of another program.
//!
//! Rule: no secret is printed; what has no counterpart is named, with the reason, never dropped in silence.
//! Must not know how the programs write their files: one module for each does.

mod dma;
mod msmtp;
mod nullmailer;
mod output;
mod postfix;
mod ssmtp;

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use self::output::ConfigOutput;
use super::screen::Screen;
use crate::{
    exit::{Exit, Failure},
    handbook, text,
};

/// Octets of a configuration file; those of Postfix with every comment have 30 KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// From what.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// The program.
    #[arg(long, value_name = "PROGRAM")]
    from: Program,
    /// Its configuration; default: where the program itself looks for it.
    file: Option<PathBuf>,
    /// Which account of msmtp; default: its default account.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
}

/// A program that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Program {
    /// /etc/msmtprc
    Msmtp,
    /// /etc/ssmtp/ssmtp.conf
    Ssmtp,
    /// /etc/nullmailer/remotes and the files beside it
    Nullmailer,
    /// /etc/dma/dma.conf
    Dma,
    /// /etc/postfix/main.cf
    Postfix,
}

impl Program {
    fn usual_file(self) -> &'static str {
        match self {
            Self::Msmtp => "/etc/msmtprc",
            Self::Ssmtp => "/etc/ssmtp/ssmtp.conf",
            Self::Nullmailer => "/etc/nullmailer/remotes",
            Self::Dma => "/etc/dma/dma.conf",
            Self::Postfix => "/etc/postfix/main.cf",
        }
    }
}

/// Prints a relay.toml.
pub(super) fn run(out: &mut dyn Screen, arguments: &Arguments) -> Result<(), Failure> {
    let file = arguments.file.clone().unwrap_or_else(|| arguments.from.usual_file().into());
    let text = read(&file).map_err(|error| {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Data,
        };
        Failure::new(
            exit,
            format!("{} cannot be read: {error}; name the file, or run as root", file.display()),
        )
    })?;
    // Other files that the first one names; a missing one is told of where it is needed.
    let other = |path: &str| read(&file.parent().unwrap_or_else(|| Path::new("/")).join(path)).ok();
    let draft = match arguments.from {
        Program::Msmtp => msmtp::read(&text, arguments.account.as_deref()),
        Program::Ssmtp => ssmtp::read(&text),
        Program::Nullmailer => nullmailer::read(&text, &other),
        Program::Dma => dma::read(&text, &other),
        Program::Postfix => postfix::read(&text, &other),
    };
    let text = draft.and_then(|draft: ConfigOutput| draft.relay_toml(&file.display().to_string()));
    let text =
        text.map_err(|reason| Failure::new(Exit::Data, format!("{}: {reason}", file.display())))?;
    out.write_all(handbook::located(&text).as_bytes())?;
    Ok(())
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&text::as_utf8(&bytes)).into_owned())
}
