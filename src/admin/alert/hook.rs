//! Hands an alert to the administrator's command.
//!
//! Rule: bounded in time and output; a hook that fails is logged and changes nothing else. What it is told
//! holds no secret. Must not know what is an alert.

use std::{process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::AsyncWriteExt, process::Command};

use super::watch::Alert;
use crate::text;

/// How long the command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// Why an alert did not get out.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The command cannot be started.
    #[error("the alert command {program} cannot be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ended badly.
    #[error("the alert command {program} failed: {status}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
    },
    /// It took too long and was ended.
    #[error("the alert command {program} gave no answer within {} s and was ended", .limit.as_secs_f32())]
    TooSlow {
        /// The program.
        program: String,
        /// What it had.
        limit: Duration,
    },
}

/// Runs the command with the alert as one line of JSON on its standard input.
///
/// # Errors
/// When it cannot be started, fails or takes too long.
pub async fn run(command: &[String], alert: &Alert) -> Result<(), HookError> {
    run_within(command, alert, COMMAND_TIMEOUT).await
}

async fn run_within(command: &[String], alert: &Alert, limit: Duration) -> Result<(), HookError> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let named = || program.clone();
    // A process group of its own, so that a time-out reaches what the command has started.
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|source| HookError::Start { program: named(), source })?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let json = serde_json::to_string(alert).unwrap_or_default();
    let line = text::printable_json(&json).into_owned() + "\n";
    let stdin = child.stdin.take();
    let work = async move {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input is fine.
            drop(stdin.write_all(line.as_bytes()).await);
        }
        child.wait().await
    };
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(HookError::Failed { program: named(), status: status.to_string() }),
        Ok(Err(source)) => Err(HookError::Start { program: named(), source }),
        Err(_) => {
            if let Some(group) = group {
                // The group may have ended by itself in this moment: then there is nothing to do.
                kill_process_group(group, Signal::KILL).ok();
            }
            Err(HookError::TooSlow { program: named(), limit })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admin::alert::watch::{Kind, State},
        clock::Timestamp,
    };

    fn alert() -> Alert {
        Alert {
            kind: Kind::Account,
            state: State::Begins,
            host: "web01".into(),
            at: Timestamp(7),
            subject: "web01: the account is paused-quota".into(),
            remedy: "wait".into(),
        }
    }

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(String::from).into()
    }

    #[tokio::test]
    async fn the_command_gets_the_alert_as_json() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("alert.json");
        run(&shell(&format!("cat > {}", file.display())), &alert()).await.unwrap();
        let written: serde_json::Value =
            serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(
            written,
            serde_json::json!({
                "kind": "account", "state": "begins", "host": "web01", "at": 7,
                "subject": "web01: the account is paused-quota", "remedy": "wait"
            })
        );
    }

    #[tokio::test]
    async fn a_command_that_fails_is_missing_or_hangs_is_named() {
        let error = run(&shell("exit 3"), &alert()).await.unwrap_err();
        assert!(error.to_string().contains("sh failed: exit status: 3"), "{error}");
        let error = run(&["no-such-program".to_owned()], &alert()).await.unwrap_err();
        assert!(error.to_string().contains("no-such-program cannot be started"), "{error}");
        let slow =
            run_within(&shell("sleep 600 & wait"), &alert(), Duration::from_millis(100)).await;
        assert!(matches!(slow, Err(HookError::TooSlow { .. })), "{slow:?}");
    }
}
