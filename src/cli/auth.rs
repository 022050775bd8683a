//! `pillarbox auth`: tokens instead of a password: the consent, how long it lasts, and its end.
//!
//! Rule: no secret is printed; whatever fails says what to do. Must not know how tokens are exchanged.

mod google;
mod status;

use std::{io::Write, path::Path, sync::Arc};

use clap::Subcommand;

use super::{
    exit::{Exit, Failure},
    runtime::Runtime,
};
use crate::{
    clock::{Clock, SystemClock},
    daemon,
    delivery::{
        PasswordSource,
        oauth::{
            ClientSource, Grant, Kind, Options, TokenError,
            exchange::Exchange,
            token_file::{Stored, TokenFile},
        },
    },
    settings::{self, Settings},
};

/// What is done with the tokens.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Have the account's owner consent in a browser, here or on another machine.
    Google(google::Arguments),
    /// Show whose token there is, what it allows and when it ends.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take the token back, at the provider and here.
    Revoke,
}

/// Runs the command.
pub(super) fn run(
    out: &mut dyn Write,
    config: Option<&Path>,
    command: &Command,
) -> Result<(), Failure> {
    daemon::harden();
    let settings = settings::load(config)?;
    match command {
        Command::Google(arguments) => google::run(out, &Account::consenting(&settings)?, arguments),
        Command::Status { json } => status::run(out, &Account::of(&settings)?, *json),
        Command::Revoke => revoke(out, &Account::consenting(&settings)?),
    }
}

/// An account that logs in with tokens.
struct Account<'a> {
    settings: &'a Settings,
    username: &'a str,
    options: &'a Options,
}

/// An account whose owner consents.
struct Consenting<'a> {
    account: Account<'a>,
    client: &'a ClientSource,
    file: TokenFile,
}

impl<'a> Account<'a> {
    fn of(settings: &'a Settings) -> Result<Self, Failure> {
        let login = settings.delivery.login.as_ref();
        if let Some(login) = login
            && let PasswordSource::Tokens(options) = &login.password
        {
            return Ok(Self { settings, username: &login.username, options });
        }
        let words = format!(
            "the account does not log in with tokens ({})\n\n\
             Write these lines under [upstream]; docs/oauth.md says where the client file comes from:\n\n\
             \x20   username = \"you@gmail.com\"\n\
             \x20   auth = \"oauth\"\n\
             \x20   oauth_client_file = \"/etc/pillarbox/client.json\"",
            settings.source
        );
        Err(Failure::new(Exit::Configuration, words))
    }

    fn consenting(settings: &'a Settings) -> Result<Consenting<'a>, Failure> {
        let account = Self::of(settings)?;
        match &account.options.grant {
            Grant::Refresh { client, token_file } => {
                Ok(Consenting { client, file: TokenFile::new(token_file.clone()), account })
            }
            Grant::ServiceAccount { .. } => Err(Failure::new(
                Exit::Configuration,
                "a service account needs no consent: its key is enough, and it is taken back in the Admin console \
                 (Security, API controls, Domain-wide delegation). `pillarbox auth status` shows it.",
            )),
        }
    }
}

impl Consenting<'_> {
    fn exchange(&self) -> Exchange {
        let ca_file = self.account.settings.delivery.ca_file.clone();
        Exchange::new(self.account.options.clone(), ca_file, clock())
    }

    fn store(&self, stored: &Stored) -> Result<(), Failure> {
        Ok(self.file.replace(stored)?)
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn revoke(out: &mut dyn Write, consenting: &Consenting<'_>) -> Result<(), Failure> {
    let stored = consenting.file.read()?;
    let exchange = consenting.exchange();
    let revoked = Runtime::of_a_question()?.block_on(exchange.revoke(&stored.refresh_token));
    // A token that may still be good is kept: without it nobody could take it back.
    revoked.map_err(|error| {
        let advice = format!(
            "The token file {} was kept. Try again, or remove the access by hand \
             (https://myaccount.google.com/connections) and then the file.",
            consenting.file.path().display()
        );
        Failure::new(Exit::Temporary, format!("the token was not taken back: {error}\n  {advice}"))
    })?;
    consenting.file.remove()?;
    writeln!(
        out,
        "The token of {} was taken back and its file removed. A running relay can log in until the access token \
         ends, within the hour, and then waits for `pillarbox auth google`.",
        stored.username
    )?;
    Ok(())
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        let exit = match error.kind {
            Kind::Local => Exit::Configuration,
            Kind::Dead | Kind::Refused => Exit::Permission,
            Kind::Temporary => Exit::Temporary,
        };
        Self::new(exit, format!("{}\n  {}", error.reason, error.remedy))
    }
}
