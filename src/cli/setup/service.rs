//! systemctl: whether our service runs, and what makes it start or read its files anew.
//!
//! Rule: each call has a limit in time and in what is kept of its words.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    time::timeout,
};

use crate::{cli::runtime::Runtime, text::shorten};

/// Our units.
pub(super) const UNIT: &str = "pillarbox.service";
pub(super) const SOCKET: &str = "pillarbox.socket";
/// How long a question may take.
const QUESTION: Duration = Duration::from_secs(5);
/// How long a start may take: as long as the unit lets it, for an index that is rebuilt.
const START: Duration = Duration::from_secs(16 * 60);
/// Octets of its complaint that are kept.
const WORDS_MAX: u64 = 4 * 1024;
/// Characters of them that are shown.
const SHOWN_MAX: usize = 400;

/// Whether the service runs.
pub(super) fn is_active() -> bool {
    run(&["is-active", "--quiet", UNIT], QUESTION).is_ok()
}

/// Calls systemctl; says why it failed.
pub(super) fn order(arguments: &[&str]) -> Result<(), String> {
    run(arguments, START)
}

fn run(arguments: &[&str], limit: Duration) -> Result<(), String> {
    let shown = format!("systemctl {}", arguments.join(" "));
    let runtime = Runtime::of_a_question().map_err(|failure| failure.message)?;
    runtime.block_on(async {
        let child = Command::new("systemctl")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let child = child.map_err(|error| format!("{shown} cannot be run: {error}"))?;
        match timeout(limit, ended(child)).await {
            Ok(Ok((true, _))) => Ok(()),
            Ok(Ok((false, words))) => {
                Err(format!("{shown} failed: {}", shorten(words.trim(), SHOWN_MAX)))
            }
            Ok(Err(error)) => Err(format!("{shown} failed: {error}")),
            Err(_) => Err(format!("{shown} did not end within {} s", limit.as_secs())),
        }
    })
}

async fn ended(mut child: Child) -> std::io::Result<(bool, String)> {
    let mut words = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(WORDS_MAX).read_to_end(&mut words).await?;
    }
    let status = child.wait().await?;
    Ok((status.success(), String::from_utf8_lossy(&words).into_owned()))
}
