//! The heartbeat: a web address outside that is asked as long as mail leaves, and raises the alarm when it is not.
//!
//! Rule: silence is the alarm, so nothing is asked unless everything is well: not by a relay that has just started, nor
//! while mail would wait. What changes is logged once. The address is a secret: nothing but its host is shown. Must not know
//! when mail leaves.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    alert::outputs::{Heartbeat, LIMITS},
    checkups::Checkups,
    context::Sources,
    health,
};
use crate::{delivery::https::Https, findings::Verdict};

/// How soon it is tried again when nobody answers, and how long a relay must have been running before it is heard.
const SOON: Duration = Duration::from_secs(60);

/// Works until it is dropped.
pub(crate) async fn run(sources: Sources) {
    loop {
        let options = sources.alert.get();
        let beating = async {
            let Some(heartbeat) = options.heartbeat.clone() else {
                return std::future::pending().await;
            };
            let mut pulse = Pulse::new(heartbeat, options.ca_file.clone());
            sources.clock.sleep(pulse.heartbeat.every.min(SOON)).await;
            loop {
                let silence = match health::standstill(&sources).await {
                    None => failing_checks(&sources.checkups),
                    silence => silence,
                };
                let pause = pulse.turn(silence).await;
                sources.clock.sleep(pause).await;
            }
        };
        tokio::select! {
            () = beating => {}
            () = sources.alert.replaced(&options) => {}
        }
    }
}

/// The checks of the last diagnosis that fail.
fn failing_checks(checkups: &Arc<Checkups>) -> Option<String> {
    let report = checkups.last()?;
    let failing = report.findings.iter().filter(|finding| finding.outcome.verdict == Verdict::Fail);
    let names: Vec<&str> = failing.map(|finding| finding.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("checks fail: {}", names.join(", ")))
}

/// One heart.
#[derive(Debug)]
struct Pulse {
    heartbeat: Heartbeat,
    client: Https,
    /// Why it was not heard the last time, as the log knows.
    told: Option<String>,
}

impl Pulse {
    fn new(heartbeat: Heartbeat, ca_file: Option<PathBuf>) -> Self {
        Self { heartbeat, client: Https::new(ca_file, LIMITS), told: None }
    }

    /// Asks, unless there is a reason to be silent; returns how long it waits for the next turn.
    async fn turn(&mut self, silence: Option<String>) -> Duration {
        let place = self.heartbeat.address.place();
        if let Some(why) = silence {
            if self.told.as_ref() != Some(&why) {
                tracing::warn!(heartbeat = place, why, "the heartbeat stays away");
            }
            self.told = Some(why);
            return self.heartbeat.every.min(SOON);
        }
        let asked = match self.heartbeat.address.endpoint().await {
            Ok(endpoint) => self.client.get(&endpoint).await.map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        match asked {
            Ok(_) => {
                if self.told.take().is_some() {
                    tracing::info!(heartbeat = place, "the heartbeat is heard again");
                }
                self.heartbeat.every
            }
            Err(error) => {
                if self.told.as_ref() != Some(&error) {
                    tracing::error!(
                        heartbeat = place,
                        error,
                        "the heartbeat could not be sent; it will be tried again"
                    );
                }
                self.told = Some(error);
                self.heartbeat.every.min(SOON)
            }
        }
    }
}

#[cfg(test)]
mod tests;
