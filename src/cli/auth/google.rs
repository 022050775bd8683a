//! `pillarbox auth google`: the consent in a browser, or the import of an existing token, and its proof.
//!
//! Rule: the token is stored before anything else can fail, and proved by one refresh before success is told.
//! Must not know the protocol.

use std::{
    io::{self, BufRead as _, Read as _, Write},
    path::PathBuf,
    thread,
    time::Duration,
};

use clap::Args;
use tokio::sync::mpsc;

use super::{Consenting, clock};
use crate::{
    admin::client::Client as Daemon,
    cli::{
        exit::{Exit, Failure},
        moment::{span, when},
        runtime::Runtime,
        screen::clean,
    },
    delivery::oauth::{
        client_file::{self, Client},
        consent::{self, Consent},
        exchange::Exchange,
        token_file::Stored,
    },
    queue::state::AccountCondition,
};

/// Octets of a line that is read from the terminal; more cannot be an address.
const LINE_LENGTH_MAX: u64 = 16 * 1024;
/// Lines that wait to be looked at.
const LINES_MAX: usize = 4;

/// How the first token is had.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The port of 127.0.0.1 to which the browser comes back; default: any free one.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// How long to wait for the consent.
    #[arg(long, default_value = "10min", value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// The consent screen's publishing status is "Testing": its tokens end after 7 days.
    #[arg(long)]
    testing: bool,
    /// Take an existing refresh token from this file instead: JSON of gcloud or google-auth, the output of
    /// Google's oauth2.py, or the token alone.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["port", "wait"])]
    import: Option<PathBuf>,
}

/// Runs it.
pub(super) fn run(
    out: &mut dyn Write,
    consenting: &Consenting<'_>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let client = client_file::client(consenting.client)?;
    let exchange = consenting.exchange();
    let runtime = Runtime::of_a_question()?;
    let stored = runtime.block_on(async {
        match &arguments.import {
            Some(path) => import(consenting, &client, path, arguments.testing),
            None => ask(out, consenting, &exchange, &client, arguments).await,
        }
    })?;
    let imported = arguments.import.is_some();
    if !imported {
        // A consent is not asked for twice: stored first, proved then.
        consenting.store(&stored)?;
    }
    let proved = runtime.block_on(consent::prove(&exchange, &client, stored)).map_err(|error| {
        let mut failure = Failure::from(error);
        let place = consenting.file.path().display();
        let kept = if imported {
            "Nothing was stored.".to_owned()
        } else {
            format!("It is stored in {place}.")
        };
        failure.message = format!("the token could not be used: {}\n  {kept}", failure.message);
        failure
    })?;
    consenting.store(&proved)?;
    report(out, consenting, &proved)?;
    runtime.block_on(tell_daemon(out, consenting))
}

fn import(
    consenting: &Consenting<'_>,
    client: &Client,
    path: &std::path::Path,
    testing: bool,
) -> Result<Stored, Failure> {
    let imported = client_file::import(path)?;
    if let Some(id) = imported.client_id.filter(|id| *id != client.id) {
        let words = format!(
            "{} was made for the client {}, but {} is configured\n  A refresh token works with its own client \
             only: set upstream.oauth_client_file to that client's file; this one may do.",
            path.display(),
            clean(&id),
            clean(&client.id)
        );
        return Err(Failure::new(Exit::Data, words));
    }
    let now = clock().wall();
    Ok(Stored {
        username: consenting.account.username.to_owned(),
        client_id: client.id.clone(),
        refresh_token: imported.refresh_token,
        granted_at: now,
        refresh_token_expires_at: testing.then(|| now.after(consent::TESTING_LIFETIME)),
        scope: None,
        access: None,
        stored_at: now,
    })
}

async fn ask(
    out: &mut dyn Write,
    consenting: &Consenting<'_>,
    exchange: &Exchange,
    client: &Client,
    arguments: &Arguments,
) -> Result<Stored, Failure> {
    let username = consenting.account.username;
    let consent = Consent::begin(exchange, client.clone(), username, arguments.port).await?;
    let back = consent.redirect_address().to_owned();
    let port = back.rsplit(':').next().unwrap_or_default();
    writeln!(
        out,
        "Open this address in a browser, log in as {username} and consent:\n\n  {}\n\n\
         The browser is sent to {back} afterwards. On another machine that page does not load; then\n\
         copy the whole address of that page from the browser, paste it here and press Enter. (Or make the\n\
         way free before: ssh -L {port}:127.0.0.1:{port} to this host.)\n\n\
         Waiting for {} ...",
        consent.address(),
        span(arguments.wait)
    )?;
    out.flush()?;
    let mut told = Ok(());
    let tell = |words: &str| {
        if told.is_ok() {
            told = writeln!(out, "{words}").and_then(|()| out.flush());
        }
    };
    let granted = consent.granted(exchange, pasted_lines(), arguments.wait, tell).await?;
    told?;
    Ok(consent::first(granted, client, username, arguments.testing, clock().wall())?)
}

/// What is typed into the terminal. The thread ends with the process: nobody can take it out of its read.
fn pasted_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    let read = move || {
        let mut input = io::stdin().lock();
        let mut line = String::new();
        while matches!((&mut input).take(LINE_LENGTH_MAX).read_line(&mut line), Ok(1..)) {
            if sender.blocking_send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    };
    // Without the thread the browser is the only way, which is told by nothing happening.
    drop(thread::Builder::new().name("pasted-address".into()).spawn(read));
    receiver
}

fn report(out: &mut dyn Write, consenting: &Consenting<'_>, stored: &Stored) -> io::Result<()> {
    writeln!(
        out,
        "\nThe token works. It is stored in {}, readable by the relay's user alone.",
        consenting.file.path().display()
    )?;
    match stored.refresh_token_expires_at {
        Some(end) => writeln!(
            out,
            "It ends {}. If that is because the consent screen is in \"Testing\": set its publishing status to\n\
             \"In production\" (https://console.cloud.google.com/auth/audience) and run this command once more.",
            when(end, clock().wall())
        ),
        None => writeln!(
            out,
            "If the consent screen's publishing status is \"Testing\", Google ends the token after 7 days: set it to\n\
             \"In production\" (https://console.cloud.google.com/auth/audience) and run this command once more."
        ),
    }
}

/// A relay that waits for this token is told to look. Any other pause has other reasons and stays.
async fn tell_daemon(out: &mut dyn Write, consenting: &Consenting<'_>) -> Result<(), Failure> {
    let daemon = Daemon::new(consenting.account.settings.admin.socket.clone());
    let Ok(status) = daemon.status().await else { return Ok(()) };
    let waiting = [AccountCondition::PausedCredentials, AccountCondition::PausedConfiguration];
    if !waiting.iter().any(|condition| condition.name() == status.account.condition) {
        return Ok(());
    }
    if daemon.resume().await.is_ok() {
        writeln!(out, "The running relay has been asked to try again.")?;
    } else {
        writeln!(out, "Now run: pillarbox resume")?;
    }
    Ok(())
}
