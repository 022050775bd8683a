//! Commands that ask the running daemon: where its socket is, one small runtime, text or JSON.
//!
//! Rule: a configuration that cannot be read or is wrong keeps nobody from asking a running daemon,
//! unless it was named with --config. Must not know what is asked.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use super::{
    alert, clients, dead, fleet, forecast, health, history, log,
    of_account::OfAccount,
    page, pause, queue, reload, report,
    runtime::Runtime,
    screen::{Form, Screen, json},
    simulate::asked,
    spending, status, storm, trace, watch,
};
use crate::{
    admin::{
        api::Kind,
        client::{Client, ClientError},
        health::Grade,
    },
    budget::MAIN,
    clock::Timestamp,
    doctor::advice,
    exit::{Exit, Failure},
    settings::{self, SettingsError},
};

/// Options of every command that asks the daemon.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Arguments {
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// The daemon's admin socket; default: admin.socket of the configuration.
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
}

/// What is asked.
#[derive(Debug)]
pub(super) enum Question {
    /// One screen, once or again and again.
    Status(status::Arguments),
    /// The queue.
    Queue(queue::Command),
    /// Dead letters.
    Dead(dead::Command),
    /// What has left the queue.
    History(history::Command),
    /// Mail that is folded.
    Storm(storm::Command),
    /// Who is told without mail.
    Alert(alert::Command),
    /// The budget.
    Budget(OfAccount),
    /// Its next hours.
    BudgetForecast(OfAccount),
    /// On whom it was spent.
    BudgetReport(spending::Arguments),
    /// Who has been here.
    Clients,
    /// The hosts of a fleet.
    Fleet(Option<fleet::Command>),
    /// Whether the relay is well, and how well.
    Health(Grade),
    /// How much is logged, or the order to log more or less.
    Log(log::Arguments),
    /// Dialogues as they happen.
    Trace(trace::Arguments),
    /// The order to read the configuration anew.
    Reload,
    /// The weekly report.
    Report(report::Arguments),
    /// A way into the page, or who is in.
    Page(page::Arguments),
    /// The order to send nothing for a while.
    Pause(pause::Arguments),
    /// Not a question: open the account.
    Resume(OfAccount),
}

impl Question {
    /// What is asked of the budget; or what is to be simulated, which is more than a question.
    pub(super) fn of_budget(
        of: OfAccount,
        command: Option<spending::Command>,
    ) -> Result<Self, asked::Arguments> {
        match command {
            None => Ok(Self::Budget(of)),
            Some(spending::Command::Forecast(own)) => {
                Ok(Self::BudgetForecast(OfAccount { account: own.account.or(of.account) }))
            }
            Some(spending::Command::Report(own)) => {
                let of = OfAccount { account: own.of.account.or(of.account) };
                Ok(Self::BudgetReport(spending::Arguments { of, ..own }))
            }
            Some(spending::Command::Simulate(arguments)) => Err(arguments.of(of)),
        }
    }
}

/// Asks, and prints the answer.
pub(super) fn run(
    out: &mut dyn Screen,
    config: Option<&Path>,
    arguments: &Arguments,
    question: Question,
    now: Timestamp,
) -> Result<(), Failure> {
    let form = if arguments.json { Form::Json } else { Form::Text };
    with_client(config, arguments, |client| {
        Runtime::of_a_question()?.block_on(ask(out, &client, form, question, now))
    })
}

/// Asks the daemon that the options and the configuration name.
pub(super) fn with_client(
    config: Option<&Path>,
    arguments: &Arguments,
    ask: impl FnOnce(Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let named = arguments.socket.clone().map(|socket| Configured { socket, ignored: None });
    let Configured { socket, ignored } = named.map_or_else(|| configured(config), Ok)?;
    ask(Client::new(socket)).map_err(|failure| with_ignored(failure, ignored.as_ref()))
}

async fn ask(
    out: &mut dyn Screen,
    client: &Client,
    form: Form,
    question: Question,
    now: Timestamp,
) -> Result<(), Failure> {
    match question {
        Question::Status(asked) => match asked.every() {
            Some(every) => watch::run(out, client, form, every).await?,
            None => show(out, form, &client.status().await?, status::print)?,
        },
        Question::Budget(of) => {
            let each = client.budget(of.name()).await?;
            show(out, form, &each, |out, each| status::print_budgets(out, each, of.name()))?;
        }
        Question::BudgetForecast(of) => {
            show(out, form, &client.budget_forecast(of.name()).await?, forecast::print)?;
        }
        Question::BudgetReport(arguments) => {
            let spending::Arguments { days, of } = arguments;
            show(out, form, &client.budget_report(days, of.name()).await?, spending::print)?;
        }
        Question::Clients => show(out, form, &client.clients().await?, clients::print)?,
        Question::Fleet(command) => fleet::run(out, client, form, command.as_ref()).await?,
        Question::Health(grade) => health::run(out, client, form, grade).await?,
        Question::Log(arguments) => log::run(out, client, form, &arguments).await?,
        Question::Trace(arguments) => trace::run(out, client, form, &arguments).await?,
        Question::Page(arguments) => page::run(out, client, form, &arguments).await?,
        Question::Report(arguments) => report::run(out, client, form, arguments).await?,
        Question::Reload => reload::run(out, client, form).await?,
        Question::Pause(arguments) => pause::run(out, client, form, &arguments, now).await?,
        Question::Resume(of) => resume(out, client, form, &of, now).await?,
        Question::Alert(command) => alert::run(out, client, command, form).await?,
        Question::Dead(command) => dead::run(out, client, command, form, now).await?,
        Question::History(command) => history::run(out, client, command, form, now).await?,
        Question::Storm(command) => storm::run(out, client, command, form, now).await?,
        Question::Queue(command) => queue::run(out, client, command, form, now).await?,
    }
    Ok(())
}

async fn resume(
    out: &mut dyn Screen,
    client: &Client,
    form: Form,
    of: &OfAccount,
    now: Timestamp,
) -> Result<(), Failure> {
    let answer = client.resume(of.name()).await?;
    if matches!(form, Form::Json) {
        return Ok(json(out, &answer)?);
    }
    let budgets = client.budget(of.name()).await?;
    let first = of.name().unwrap_or(MAIN);
    for (name, account) in answer.named(first) {
        // One that has gone meanwhile has none.
        let Some((_, budget)) = budgets.named(first).find(|(of, _)| *of == name) else { continue };
        if !answer.others.is_empty() {
            writeln!(out, "{name}")?;
        }
        status::print_resumed(out, (name, account), &budget.departure, now)?;
    }
    Ok(())
}

fn show<T: Serialize>(
    out: &mut dyn Screen,
    form: Form,
    answer: &T,
    print: impl FnOnce(&mut dyn Screen, &T) -> io::Result<()>,
) -> io::Result<()> {
    match form {
        Form::Json => json(out, answer),
        Form::Text => print(out, answer),
    }
}

/// Where to ask.
#[derive(Debug)]
struct Configured {
    socket: PathBuf,
    /// Why the configuration had no say.
    ignored: Option<SettingsError>,
}

/// The socket of the configuration, or the usual one when there is no readable configuration.
fn configured(config: Option<&Path>) -> Result<Configured, Failure> {
    match settings::load(config) {
        Ok(settings) => Ok(Configured { socket: settings.admin.socket, ignored: None }),
        Err(error) if config.is_some() => Err(error.into()),
        Err(error) => {
            Ok(Configured { socket: settings::DEFAULT_SOCKET.into(), ignored: Some(error) })
        }
    }
}

/// When nobody could be reached, the configuration that was ignored may name the right socket.
fn with_ignored(mut failure: Failure, ignored: Option<&SettingsError>) -> Failure {
    if let (Exit::Unavailable | Exit::Permission, Some(error)) = (failure.exit, ignored) {
        failure.message += &format!(
            "\n\nThe configuration, which may name another socket, was ignored:\n\n{error}"
        );
    }
    failure
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::NoDaemon(_) | ClientError::Answer { .. } => Exit::Unavailable,
            ClientError::Permission(_) => Exit::Permission,
            ClientError::Silent(_) => Exit::Temporary,
            ClientError::Refused(refused) => match refused.error {
                Kind::BadRequest | Kind::NotFound | Kind::Corrupt => Exit::Data,
                Kind::Configuration => Exit::Configuration,
                Kind::Forbidden => Exit::Permission,
                Kind::Conflict | Kind::OtherState | Kind::Unavailable => Exit::Temporary,
            },
        };
        let more = match &error {
            ClientError::NoDaemon(_) | ClientError::Silent(_) => advice(&["daemon", "unit"]),
            ClientError::Permission(_) | ClientError::Answer { .. } | ClientError::Refused(_) => {
                return Self::new(exit, error.to_string());
            }
        };
        Self::new(exit, format!("{error}\n  {more}"))
    }
}
