//! `pillarbox health`: an exit code for containers and monitors.
//!
//! Rule: one request that costs the daemon nothing. The plain question is the supervisor's ("would a restart help?");
//! what only a person can mend is told by --strict alone. Must not know how the daemon finds out.

use clap::Args;

use super::screen::{Form, Screen, json};
use crate::{
    admin::{
        client::{Client, ClientError},
        health::{Grade, Health},
    },
    exit::{Exit, Failure},
    wording::phrase,
};

/// How much is asked.
#[derive(Clone, Copy, Debug, Args)]
// The options of every question have a group of this name already.
#[group(skip)]
pub(super) struct Arguments {
    /// Also ask whether new mail is accepted: not while the disk or the queue is full, or the relay stops.
    #[arg(long)]
    ready: bool,
    /// Also ask whether nothing needs a person: not while the account is paused, or after damaged files were found.
    #[arg(long, conflicts_with = "ready")]
    strict: bool,
}

impl Arguments {
    pub(super) fn grade(self) -> Grade {
        match self {
            Self { strict: true, .. } => Grade::Clear,
            Self { ready: true, .. } => Grade::Ready,
            Self { .. } => Grade::Live,
        }
    }
}

/// Asks, prints, and fails when the relay is not as well as that.
pub(super) async fn run(
    out: &mut dyn Screen,
    client: &Client,
    form: Form,
    grade: Grade,
) -> Result<(), Failure> {
    let health = client.health().await.map_err(|error| match error {
        // It runs, so starting it is not the remedy.
        ClientError::Silent(_) => Failure::new(Exit::Unhealthy, error.to_string()),
        error => error.into(),
    })?;
    let is_well = health.is(grade);
    match form {
        Form::Json => json(out, &health)?,
        Form::Text if is_well => writeln!(out, "{}", words(&health))?,
        Form::Text => {}
    }
    match (is_well, form) {
        (true, _) => Ok(()),
        (false, Form::Json) => Err(Failure::new(Exit::Unhealthy, "")),
        (false, Form::Text) => Err(Failure::new(Exit::Unhealthy, words(&health))),
    }
}

/// `healthy`, or each trouble with its remedy, in one line: supervisors keep no more.
fn words(health: &Health) -> String {
    let troubles = health.troubles.iter().map(|trouble| match trouble.remedy.as_str() {
        "" => trouble.what.clone(),
        remedy => format!("{}. What to do: {}", phrase(&trouble.what), phrase(remedy)),
    });
    let troubles: Vec<String> = troubles.collect();
    match (health.live, troubles.join("; ")) {
        (true, troubles) if troubles.is_empty() => "healthy".to_owned(),
        (true, troubles) => format!("runs, but {troubles}"),
        (false, troubles) => format!("unhealthy: {troubles}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::health::Trouble, clock::Timestamp};

    #[test]
    fn several_troubles_stand_in_one_line_with_one_mark_between_them() {
        let trouble = |what: &str, remedy: &str| Trouble {
            spoils: Grade::Clear,
            what: what.into(),
            remedy: remedy.into(),
        };
        let troubles = vec![
            trouble("the password is refused.", "Make a new one."),
            trouble("the day is spent", ""),
            trouble("1 message is held", "Run: pillarbox queue list."),
        ];
        let (now, version) = (Timestamp(0), String::new());
        let health = Health { now, version, live: true, ready: true, clear: false, troubles };
        assert_eq!(
            words(&health),
            "runs, but the password is refused. What to do: Make a new one; the day is spent; 1 message is held. What to \
             do: Run: pillarbox queue list"
        );
    }
}
