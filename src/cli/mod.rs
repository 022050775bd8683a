//! The command line: which command, with which configuration, ending with which exit code.
//!
//! Rule: the only place that prints; without `--config` no command but `run` and `check` needs a file
//! that holds a secret. Must not know how a command does its work.

mod alert;
mod auth;
mod check;
mod check_listener;
mod check_message;
mod clients;
mod dead;
mod doctor;
mod fitting;
mod fleet;
mod forecast;
mod full_screen;
mod health;
mod history;
mod keyboard;
mod log;
mod migrate;
mod of_account;
mod page;
mod password;
mod pause;
#[cfg(test)]
mod printed;
mod progress;
mod queue;
mod reload;
mod remote;
mod report;
mod run;
mod runtime;
mod sandbox;
mod screen;
mod send;
mod sendmail;
mod setup;
mod simulate;
mod spending;
mod status;
mod store;
mod storm;
mod trace;
mod user;
mod watch;

use std::{
    ffi::OsString,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand, error::ErrorKind};

use self::{
    of_account::OfAccount,
    remote::Question,
    screen::{Output, Screen, Sheet},
};
use crate::{
    clock::{Clock as _, SystemClock, Timestamp},
    exit::{Exit, Failure},
    handbook, telemetry,
};

/// Takes mail from anything on this host, keeps it safe, and relays it through Gmail within the
/// account's daily budget.
#[derive(Debug, Parser)]
#[command(name = "pillarbox", version, max_term_width = 100)]
struct Arguments {
    /// The configuration; default: $PILLARBOX_CONFIG, ./relay.toml, /etc/pillarbox/relay.toml.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up: ask for the account, then write, prove and start all of it.
    ///
    /// What has been done stays: a call that was interrupted goes on with the next one.
    Setup(Box<setup::Arguments>),
    /// Run the daemon.
    Run {
        /// If there is no account, say so and end with exit code 0 instead of 78: for the unit of a package that
        /// nobody has configured yet.
        #[arg(long)]
        skip_without_account: bool,
    },
    /// Run the daemon against a built-in look-alike of Gmail.
    ///
    /// Nothing leaves the machine.
    Sandbox(Box<sandbox::Arguments>),
    /// Check the configuration and show what would be used.
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Show every key as well, with its value and where that comes from: a line, a variable, or the default.
        #[arg(long)]
        all: bool,
        /// Only say whether there is an account: exit code 78 when there is none.
        #[arg(long, conflicts_with_all = ["json", "all", "message"])]
        account: bool,
        #[command(flatten)]
        sample: check_message::Arguments,
    },
    /// Find out what is wrong, and what mends it.
    ///
    /// Every check of this machine, the daemon and the upstream. Exit code 0 when all is well, 1 when something fails, 69 when no
    /// daemon answers (the rest is checked all the same).
    Doctor(doctor::Arguments),
    /// Show on one screen what waits, why, until when, and what to do.
    Status {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(flatten)]
        asked: status::Arguments,
    },
    /// Look at queued messages, retry them, or remove them.
    Queue {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(subcommand)]
        command: queue::Command,
    },
    /// Look at mail that could not be relayed, resend it, or give it up.
    Dead {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(subcommand)]
        command: dead::Command,
    },
    /// Look at mail that is alike and was folded, or let it leave.
    Storm {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(subcommand)]
        command: storm::Command,
    },
    /// Look at mail that has left the queue: relayed, deleted or expired.
    History {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(subcommand)]
        command: history::Command,
    },
    /// List who is told of trouble without mail, or send a test alert.
    Alert {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(subcommand)]
        command: alert::Command,
    },
    /// Show how many recipients may still be written to, and when more.
    Budget {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(flatten)]
        of: OfAccount,
        #[command(subcommand)]
        command: Option<spending::Command>,
    },
    /// Show the hosts that share an account's day, or drain one.
    ///
    /// Each with its last sign of life and what is in its queue.
    Fleet {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(subcommand)]
        command: Option<fleet::Command>,
    },
    /// Log in with a token, not a password: consent, status, revocation.
    Auth(auth::Arguments),
    /// Tell by the exit code whether the relay is well.
    ///
    /// 0 yes, 1 no, 69 not running.
    Health {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(flatten)]
        asked: health::Arguments,
    },
    /// Show how much is logged, or log more or less for a while.
    Log {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(flatten)]
        asked: log::Arguments,
    },
    /// Show what is said with a client or the upstream, as it happens.
    ///
    /// Without passwords and the text of messages.
    Trace {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(flatten)]
        asked: trace::Arguments,
    },
    /// Have the daemon read its configuration anew.
    ///
    /// Says what waits for a restart. A bad file changes nothing.
    Reload(remote::Arguments),
    /// Print the weekly report as it would be now.
    Report {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(flatten)]
        asked: report::Arguments,
    },
    /// Print a link to the page in a browser; list and end visits.
    ///
    /// The link opens it once, within five minutes.
    Page {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(flatten)]
        asked: page::Arguments,
    },
    /// Send nothing for a while.
    ///
    /// Mail is taken and kept, also over restarts, and what is on its way ends.
    Pause {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(flatten)]
        asked: pause::Arguments,
    },
    /// End a pause and try at once.
    ///
    /// Whether it is the account's own or one that was ordered.
    Resume {
        #[command(flatten)]
        remote: remote::Arguments,
        #[command(flatten)]
        of: OfAccount,
    },
    /// Show which clients have been here, and what is odd about them.
    Clients(remote::Arguments),
    /// Print a relay.toml made from another program's configuration.
    ///
    /// Of msmtp, ssmtp, nullmailer, dma or a Postfix null client.
    Migrate(migrate::Arguments),
    /// Check, export or import the queue on disk; the daemon is stopped.
    ///
    /// As an mbox file or a Maildir.
    Store {
        #[command(flatten)]
        arguments: store::Arguments,
        #[command(subcommand)]
        command: store::Command,
    },
    /// Send a test message; with --wait, show what becomes of it.
    Send(send::Arguments),
    /// Take a message from standard input, as sendmail(1) does.
    ///
    /// `pillarbox sendmail --help` says more.
    Sendmail(sendmail::Arguments),
    /// Show the queue, as mailq(1) does.
    Mailq(sendmail::Arguments),
    /// Check the aliases file, as newaliases(1) does.
    Newaliases(sendmail::Arguments),
    /// Manage who may log in to the listener: add, remove, list.
    User {
        #[command(flatten)]
        arguments: user::Arguments,
        #[command(subcommand)]
        command: user::Command,
    },
}

/// The command line as a value, for manual pages and shell completions.
#[must_use]
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Runs the command that `arguments` (with the program's name first) ask for.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // First of all: a program that sends one mail must not pay for the command line of a person.
    if let Some(invocation) = sendmail::Invocation::of(&arguments) {
        return invocation.run();
    }
    let arguments = arguments.into_iter().map(queue::as_word);
    let (arguments, is_for_programs) = match read(arguments) {
        Ok(read) => read,
        Err(error) => return explain(&error),
    };
    let width = fitting::width();
    // Buffered, because a list of 50,000 messages is many lines; the failure is told after the output.
    // Mail itself, and what is piped into a file, is nobody's words about it.
    let stdout: Box<dyn Write> = match &arguments.command {
        Command::Store { .. } | Command::Sandbox(_) => Box::new(Output::standard()),
        // It moves the cursor, and cleans what it draws.
        Command::Status { asked, .. } if asked.every().is_some() => Box::new(Output::standard()),
        Command::Queue { command: queue::Command::Cat(_), .. } if width.is_none() => {
            Box::new(Output::standard())
        }
        // What is copied from the screen has the lines of its writer.
        Command::Queue { command: queue::Command::Cat(_), .. } | Command::Migrate(_) => {
            Box::new(screen::Lines::new(Output::standard(), None))
        }
        _ if is_for_programs => Box::new(screen::Lines::new(Output::standard(), None)),
        _ => Box::new(screen::Lines::new(Output::standard(), width)),
    };
    let mut out = Sheet { out: BufWriter::new(stdout), width };
    let now = SystemClock::new().wall();
    let result = dispatch(arguments, &mut out, now).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell when these fail.
            drop(out.flush());
            if !failure.message.is_empty() {
                let words = handbook::located(&failure.to_string());
                let words = format!("pillarbox: {words}");
                let width = fitting::width_of_stderr();
                telemetry::last_words(&fitting::explained(&words, width));
            }
            failure.code()
        }
    }
}

/// The arguments, and whether JSON is asked for.
fn read(arguments: impl Iterator<Item = OsString>) -> Result<(Arguments, bool), clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let arguments = <Arguments as clap::FromArgMatches>::from_arg_matches(&matches)?;
    Ok((arguments, is_for_programs(&matches)))
}

fn is_for_programs(matches: &clap::ArgMatches) -> bool {
    let json = matches.try_get_one::<bool>("json").ok().flatten();
    json == Some(&true) || matches.subcommand().is_some_and(|(_, rest)| is_for_programs(rest))
}

/// A question, or a simulation, which is more than one.
fn budget(
    out: &mut dyn Screen,
    config: Option<&Path>,
    remote: &remote::Arguments,
    asked: Result<Question, simulate::asked::Arguments>,
    now: Timestamp,
) -> Result<(), Failure> {
    match asked {
        Ok(question) => remote::run(out, config, remote, question, now),
        Err(asked) => simulate::run(out, config, remote, &asked, now),
    }
}

fn dispatch(arguments: Arguments, out: &mut dyn Screen, now: Timestamp) -> Result<(), Failure> {
    let config = arguments.config.as_deref();
    match arguments.command {
        Command::Setup(arguments) => setup::run(out, config, &arguments),
        Command::Run { skip_without_account } => run::run(out, config, skip_without_account),
        Command::Sandbox(arguments) => sandbox::run(out, config, &arguments),
        Command::Check { account: true, .. } => check::account(config),
        Command::Check { json, sample, .. } if sample.message.is_some() => {
            check_message::run(out, config, &sample, json, now)
        }
        Command::Check { json, all, .. } => check::run(out, config, json, all),
        Command::Doctor(arguments) => doctor::run(out, config, &arguments),
        Command::Status { remote, asked } => {
            remote::run(out, config, &remote, Question::Status(asked), now)
        }
        Command::Queue { remote, command } => {
            remote::run(out, config, &remote, Question::Queue(command), now)
        }
        Command::Storm { remote, command } => {
            remote::run(out, config, &remote, Question::Storm(command), now)
        }
        Command::Dead { remote, command } => {
            remote::run(out, config, &remote, Question::Dead(command), now)
        }
        Command::History { remote, command } => {
            remote::run(out, config, &remote, Question::History(command), now)
        }
        Command::Alert { remote, command } => {
            remote::run(out, config, &remote, Question::Alert(command), now)
        }
        Command::Budget { remote, of, command } => {
            budget(out, config, &remote, Question::of_budget(of, command), now)
        }
        Command::Health { remote, asked } => {
            remote::run(out, config, &remote, Question::Health(asked.grade()), now)
        }
        Command::Log { remote, asked } => {
            remote::run(out, config, &remote, Question::Log(asked), now)
        }
        Command::Auth(arguments) => auth::run(out, config, &arguments),
        Command::Trace { remote, asked } => {
            remote::run(out, config, &remote, Question::Trace(asked), now)
        }
        Command::Reload(remote) => remote::run(out, config, &remote, Question::Reload, now),
        Command::Report { remote, asked } => {
            remote::run(out, config, &remote, Question::Report(asked), now)
        }
        Command::Page { remote, asked } => {
            remote::run(out, config, &remote, Question::Page(asked), now)
        }
        Command::Fleet { remote, command } => {
            remote::run(out, config, &remote, Question::Fleet(command), now)
        }
        Command::Pause { remote, asked } => {
            remote::run(out, config, &remote, Question::Pause(asked), now)
        }
        Command::Resume { remote, of } => {
            remote::run(out, config, &remote, Question::Resume(of), now)
        }
        Command::Clients(remote) => remote::run(out, config, &remote, Question::Clients, now),
        Command::Send(arguments) => send::run(out, config, &arguments),
        Command::Migrate(arguments) => migrate::run(out, &arguments),
        Command::Store { arguments, command } => store::run(out, config, arguments, command),
        Command::Sendmail(unread) | Command::Mailq(unread) | Command::Newaliases(unread) => {
            Err(unread.refused())
        }
        Command::User { arguments, command } => user::run(out, config, arguments, command),
    }
}

/// Help and version are answers; everything else is a command line that makes no sense.
fn explain(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // When the output is closed, the exit code still tells.
    drop(match is_answer {
        true => io::stdout().write_all(fitting::explained(&text, fitting::width()).as_bytes()),
        false => {
            let width = fitting::width_of_stderr();
            io::stderr().write_all(fitting::explained(&text, width).as_bytes())
        }
    });
    if is_answer { ExitCode::SUCCESS } else { Failure::new(Exit::Usage, "").code() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    /// Every command with those below it.
    fn all(command: &clap::Command) -> Vec<&clap::Command> {
        let below = command.get_subcommands().flat_map(all);
        std::iter::once(command).chain(below).collect()
    }

    #[test]
    fn what_a_command_does_is_said_on_one_line_of_the_list() {
        let command = command();
        for group in all(&command) {
            let names = group.get_subcommands().map(|one| one.get_name().len());
            let indent = 2 + names.max().unwrap_or(0) + 2;
            for one in group.get_subcommands() {
                let about = one.get_about().map(ToString::to_string).unwrap_or_default();
                let width = indent + about.chars().count();
                let name = one.get_name();
                assert!(!about.is_empty() && width <= 80, "{name}: {width} columns: {about}");
            }
        }
    }

    #[test]
    fn no_help_shows_a_mark_that_is_for_the_documentation_of_the_source() {
        for one in all(&command()) {
            let text = one.clone().render_long_help().to_string();
            assert!(!text.contains("\\[") && !text.contains("\\_"), "{}: {text}", one.get_name());
        }
    }

    #[test]
    fn the_configuration_may_be_named_before_and_after_the_subcommand() {
        for line in
            [["pillarbox", "--config", "a.toml", "run"], ["pillarbox", "run", "--config", "a.toml"]]
        {
            let arguments = Arguments::try_parse_from(line).expect("both are understood");
            assert_eq!(arguments.config, Some(PathBuf::from("a.toml")));
        }
    }

    #[test]
    fn a_selection_names_messages_or_all_of_them_but_not_both() {
        let parse = |line: &[&str]| Arguments::try_parse_from(line).is_ok();
        let id = "0123456789abcdefghjkmnpqr0";
        assert!(parse(&["pillarbox", "queue", "retry", id]));
        assert!(parse(&["pillarbox", "queue", "delete", "--all", "--yes"]));
        assert!(!parse(&["pillarbox", "queue", "delete", "--all", id]));
        assert!(!parse(&["pillarbox", "queue", "delete"]));
        assert!(parse(&["pillarbox", "queue", "retry", "--all", "--state", "dead"]));
        assert!(!parse(&["pillarbox", "queue", "retry", "--state", "dead", id]));
        assert!(!parse(&["pillarbox", "queue", "retry", "--all", "--state", "relayed"]));
    }
}
