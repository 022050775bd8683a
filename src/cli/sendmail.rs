//! `sendmail`, `mailq` and `newaliases`, by the program's name or as `pillarbox sendmail ...`.
//!
//! Rule: decided before anything else is set up, because a call must be fast. Nothing goes to standard output but
//! what was asked for (`-v`, `-bp`, `-bv`), and one line to standard error when mail is not taken.
//! Must not know how mail is handed over.

mod mailq;
mod queue;

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::screen::Output;
use crate::{
    aliases_file::{AliasesFile, Choice},
    exit::{Exit, Failure},
    message::{
        address_list::Found,
        aliases::{LocalNames, Routes},
    },
    sendmail::{
        Call,
        caller::Caller,
        configured::{self, Environment, Source, session_options},
        dialogue::{self, Input},
        flags::{Flags, Mode, Role, Spelling},
    },
    settings::{self, Surroundings, host::Host},
    text,
};

const HELP: &str = "\
Takes a message from standard input and hands it to the Pillarbox daemon.

Usage: sendmail [FLAGS] RECIPIENT...      send to these
       sendmail -t [FLAGS] [RECIPIENT...] send to those in To, Cc and Bcc as well
       sendmail -bs                       speak SMTP on standard input and output
       sendmail -bp, mailq                show the queue
       sendmail -bv ADDRESS...            explain where an address would go
       sendmail -bi, newaliases           check the aliases file

Flags: -f ADDRESS the sender, -F NAME his name, -i a lone dot is text, -v say the queue id,
       -N never|success,failure,delay, -R full|hdrs, -V ID what notices are wanted
       as `pillarbox sendmail` also --host HOST:PORT and --config FILE

docs/sendmail.md has every flag, the exit codes and the variables.
";

/// What clap knows of these commands, for its list of commands. It never reads them: see [`Invocation`].
#[derive(Clone, Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Arguments {
    /// The flags of sendmail(1).
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Arguments {
    /// Only something that stands before the command gets here.
    pub(super) fn refused(&self) -> Failure {
        let count = self.arguments.len();
        let words = format!("write the command first, and its {count} arguments behind it");
        Failure::new(Exit::Usage, words)
    }
}

/// How the program was called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    role: Role,
    spelling: Spelling,
    arguments: Vec<String>,
}

impl Invocation {
    /// Looks at the program's name, and at its first argument but `--config FILE`.
    pub(super) fn of(arguments: &[OsString]) -> Option<Self> {
        let (program, rest) = arguments.split_first()?;
        // An argument that is not text is not an address either; it is told with the others.
        let text = |arguments: &[OsString]| -> Vec<String> {
            arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect()
        };
        let name = Path::new(program).file_name()?.to_str()?;
        if let Some(role) = role(name) {
            return Some(Self { role, spelling: Spelling::Name, arguments: text(rest) });
        }
        let before = match rest.first()?.to_str()? {
            "--config" => 2,
            argument if argument.starts_with("--config=") => 1,
            _ => 0,
        };
        let role = role(rest.get(before)?.to_str()?)?;
        let arguments = text(&[&rest[..before], &rest[before + 1..]].concat());
        Some(Self { role, spelling: Spelling::Subcommand, arguments })
    }

    /// Does it, and says what went wrong.
    pub(super) fn run(self) -> ExitCode {
        let name = match self.role {
            Role::Sendmail => "sendmail",
            Role::Mailq => "mailq",
            Role::Newaliases => "newaliases",
        };
        let mut complain = |words: &str| {
            let words = text::printable(words);
            // When standard error is closed, the exit code still tells.
            drop(writeln!(io::stderr(), "{name}: {words}"));
        };
        // With more rights than its caller has, it opens nothing and goes nowhere because he says so.
        let spelling =
            if configured::has_foreign_rights() { Spelling::Name } else { self.spelling };
        let flags = Flags::parse(self.role, spelling, self.arguments);
        flags.warnings.iter().for_each(|words| complain(words));
        match run(flags, &mut complain) {
            Ok(()) => ExitCode::SUCCESS,
            Err(trouble) => {
                complain(&trouble.message);
                trouble.code()
            }
        }
    }
}

fn role(name: &str) -> Option<Role> {
    match name {
        "sendmail" => Some(Role::Sendmail),
        "mailq" => Some(Role::Mailq),
        "newaliases" => Some(Role::Newaliases),
        _ => None,
    }
}

fn run(flags: Flags, complain: &mut dyn FnMut(&str)) -> Result<(), Failure> {
    match &flags.mode {
        Mode::Help => return print(HELP),
        Mode::Daemon(flag) => {
            let words = format!(
                "{flag} is for a daemon; start it as a service: `systemctl start pillarbox`, or `pillarbox run`"
            );
            return Err(Failure::new(Exit::Usage, words));
        }
        _ => {}
    }
    let environment = Environment::of_this_process();
    let source = Source::read(flags.config.as_deref(), &environment);
    if let Some(warning) = &source.warning {
        complain(warning);
    }
    match &flags.mode {
        Mode::Queue => return queue::show(&source, complain),
        Mode::Retry(id) => return queue::retry(&source, id.as_deref(), flags.verbose),
        Mode::Aliases => return check_aliases(flags.config.as_deref(), &source, complain),
        Mode::Explain => {
            return explain_addresses(flags.config.as_deref(), &source, &flags.recipients);
        }
        Mode::Send | Mode::Dialogue | Mode::Help | Mode::Daemon(_) => {}
    }
    let (caller, configured) = (Caller::of_this_process(&environment), source.configured());
    let call = Call { flags, environment, configured, caller };
    if call.flags.mode == Mode::Dialogue {
        return converse(&call, complain);
    }
    let is_terminal = io::stdin().is_terminal();
    let sent = call.send(&mut io::stdin().lock(), is_terminal)?;
    if call.flags.verbose {
        print(&sent.report.safe.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    }
    sent.trouble.map_or(Ok(()), Err)
}

fn converse(call: &Call, complain: &mut dyn FnMut(&str)) -> Result<(), Failure> {
    let (ways, author) = (call.ways(), call.author());
    let terms = dialogue::Terms {
        ways: &ways,
        author: &author,
        directories: call.directories(),
        options: session_options(&call.configured, &ways.own_name),
    };
    dialogue::speak(&terms, &mut StandardInput::new(), &mut io::stdout().lock(), complain)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = Output::standard();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(Exit::Input, format!("cannot write the output: {error}")))
}

/// Standard input, without a buffer of its own: what the session has not asked for stays in the pipe.
#[derive(Debug)]
struct StandardInput(io::Stdin);

impl StandardInput {
    /// That of this process.
    pub(super) fn new() -> Self {
        Self(io::stdin())
    }
}

impl Input for StandardInput {
    fn receive(&mut self, buffer: &mut [u8], limit: Duration) -> io::Result<usize> {
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        let ready = poll(&mut [PollFd::new(&self.0.as_fd(), PollFlags::IN)], Some(&limit))?;
        if ready == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(rustix::io::read(self.0.as_fd(), buffer)?)
    }
}

/// Checks the file.
fn check_aliases(
    config: Option<&Path>,
    source: &Source,
    complain: &mut dyn FnMut(&str),
) -> Result<(), Failure> {
    let (file, routes) = read_aliases(config, source)?;
    let path = file.choice().path().map_or_else(String::new, |path| path.display().to_string());
    let problems = routes.aliases.problems();
    problems.iter().for_each(|problem| complain(&format!("{path}, {problem}")));
    let more = routes.aliases.problem_count() - problems.len();
    if more > 0 {
        complain(&format!("{path} has {more} more mistakes"));
    }
    Ok(())
}

/// Prints where mail for each address would go.
fn explain_addresses(
    config: Option<&Path>,
    source: &Source,
    addresses: &[String],
) -> Result<(), Failure> {
    let mut found = Found::default();
    addresses.iter().for_each(|text| found.read(text));
    if let Some(text) = found.unreadable.first() {
        return Err(Failure::new(Exit::Data, format!("\"{text}\" is not an address")));
    }
    if found.addresses.is_empty() {
        return Err(Failure::new(Exit::Usage, "name the addresses: sendmail -bv ADDRESS..."));
    }
    let (_, routes) = read_aliases(config, source)?;
    let mut unknown = None;
    for address in &found.addresses {
        match routes.of(address) {
            Ok(_) => {
                let lines =
                    routes.explain(address).into_iter().map(|line| format!("{address}: {line}\n"));
                print(&lines.collect::<String>())?;
            }
            Err(reason) => {
                unknown = Some(Failure::new(Exit::NoUser, format!("{address}: {reason}")))
            }
        }
    }
    unknown.map_or(Ok(()), Err)
}

fn read_aliases(config: Option<&Path>, source: &Source) -> Result<(AliasesFile, Routes), Failure> {
    let mut surroundings = Surroundings::of_this_process();
    // Never the file of the present directory.
    surroundings.local_file = PathBuf::new();
    if configured::has_foreign_rights() {
        surroundings.variables.clear();
    }
    let file = match settings::load_in(config, &surroundings) {
        Ok(settings) => {
            let file = &settings.listener.recipients;
            AliasesFile::new(file.choice().clone(), file.local().clone())
        }
        Err(_) => by_defaults(source),
    };
    let routes =
        file.read().map_err(|error| Failure::new(Exit::Configuration, error.to_string()))?;
    let routes =
        routes.unwrap_or_else(|| Routes { local: file.local().clone(), ..Routes::default() });
    Ok((file, routes))
}

fn by_defaults(source: &Source) -> AliasesFile {
    let choice = match source.get("identity", "aliases_file") {
        None => Choice::Usual,
        Some("" | "off") => Choice::Off,
        Some(path) => Choice::Named(path.into()),
    };
    let host = Host::of_this_machine();
    let admin = source.get("identity", "admin").and_then(|admin| admin.parse().ok());
    AliasesFile::new(choice, LocalNames { admin, domains: host.mail_names(), redirect_all: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &[&str]) -> Option<(Role, Spelling, Vec<String>)> {
        let arguments: Vec<OsString> = line.iter().map(|word| (*word).into()).collect();
        Invocation::of(&arguments).map(|found| (found.role, found.spelling, found.arguments))
    }

    #[test]
    fn the_name_or_the_first_word_says_what_the_program_is() {
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (name, subcommand) = (Spelling::Name, Spelling::Subcommand);
        for (line, expected) in [
            (&["/usr/sbin/sendmail", "-t"][..], Some((Role::Sendmail, name, words(&["-t"])))),
            (&["mailq"], Some((Role::Mailq, name, words(&[])))),
            (&["newaliases"], Some((Role::Newaliases, name, words(&[])))),
            (&["pillarbox", "sendmail", "-t"], Some((Role::Sendmail, subcommand, words(&["-t"])))),
            (
                &["pillarbox", "--config", "f", "sendmail", "-t"],
                Some((Role::Sendmail, subcommand, words(&["--config", "f", "-t"]))),
            ),
            (
                &["pillarbox", "--config=f", "mailq"],
                Some((Role::Mailq, subcommand, words(&["--config=f"]))),
            ),
            (&["pillarbox", "status"], None),
            (&["pillarbox", "--config", "sendmail"], None),
            (&["pillarbox"], None),
            // The name beats the word.
            (&["sendmail", "mailq"], Some((Role::Sendmail, name, words(&["mailq"])))),
        ] {
            assert_eq!(of(line), expected, "{line:?}");
        }
    }
}
