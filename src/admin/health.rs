//! Whether the relay is well: `GET /v1/health` for `pillarbox health`, `/health/live` and `/health/ready` for probes.
//!
//! Rule: it looks at memory and at the free space only, so it answers at once however long the queue is. What a
//! restart cannot mend (a paused account, a full disk) never counts against liveness, or a supervisor would restart
//! the relay for ever. Must not know who asks, or what follows.

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde::{Deserialize, Serialize};

use super::server::Sources;
use crate::{
    clock::Timestamp,
    queue::{
        state::{AccountCondition, AccountState},
        store::{StoreError, Totals},
    },
    shutdown::Phase,
};

/// `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The time of this answer.
    pub now: Timestamp,
    /// The program's version.
    pub version: String,
    /// Whether the process works; when not, a restart may help.
    pub live: bool,
    /// Whether new mail is taken.
    pub ready: bool,
    /// Whether nothing asks for a person.
    pub clear: bool,
    /// What is wrong, the gravest first.
    pub troubles: Vec<Trouble>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What it spoils.
    pub spoils: Grade,
    /// What is wrong.
    pub what: String,
    /// What to do; empty when it passes by itself.
    pub remedy: String,
}

/// How much is asked of the relay, the least first: each one asks for those before it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// The process works.
    Live,
    /// New mail is taken.
    Ready,
    /// Nothing asks for a person.
    Clear,
}

impl Health {
    /// Whether as much as that can be said of the relay.
    #[must_use]
    pub fn is(&self, grade: Grade) -> bool {
        match grade {
            Grade::Live => self.live,
            Grade::Ready => self.ready,
            Grade::Clear => self.clear,
        }
    }

    fn new(now: Timestamp, mut troubles: Vec<Trouble>) -> Self {
        troubles.sort_by_key(|trouble| trouble.spoils);
        let holds = |grade| troubles.iter().all(|trouble| trouble.spoils > grade);
        let (live, ready, clear) = (holds(Grade::Live), holds(Grade::Ready), holds(Grade::Clear));
        Self { now, version: env!("CARGO_PKG_VERSION").to_owned(), live, ready, clear, troubles }
    }

    /// Looks.
    pub(super) fn of(sources: &Sources) -> Self {
        let store = &sources.store;
        let troubles = [
            of_room(store.admission(0)),
            of_stop(sources.stop.phase()),
            of_account(sources.upstream.status().account),
            of_files(store.totals(), &sources.facts.damaged.display().to_string()),
        ];
        Self::new(sources.clock.wall(), troubles.into_iter().flatten().collect())
    }
}

fn of_room(admission: Result<(), StoreError>) -> Option<Trouble> {
    let error = admission.err()?;
    let (spoils, remedy) = match error {
        StoreError::Full(_) => (
            Grade::Ready,
            "Make room on the disk, raise the limit, or see what waits: pillarbox status. Clients keep their mail and \
             come again",
        ),
        StoreError::Unavailable(_)
        | StoreError::Corrupt { .. }
        | StoreError::NotFound(_)
        | StoreError::Conflict(_)
        | StoreError::AlreadyKnown(_) => (
            Grade::Live,
            "The queue is opened anew by itself; when that does not help, see the log and the disk",
        ),
    };
    Some(Trouble { spoils, what: format!("no mail is taken: {error}"), remedy: remedy.to_owned() })
}

fn of_stop(phase: Phase) -> Option<Trouble> {
    let what = "the relay is stopping".to_owned();
    (phase != Phase::Running).then_some(Trouble {
        spoils: Grade::Ready,
        what,
        remedy: String::new(),
    })
}

/// Mail is taken and waits while the account pauses, and a restart would only forget why.
fn of_account(state: AccountState) -> Option<Trouble> {
    let what = format!("the account is {}: {}", state.condition.name(), state.reason);
    let trouble = Trouble { spoils: Grade::Clear, what, remedy: state.remedy };
    (state.condition != AccountCondition::Open).then_some(trouble)
}

fn of_files(totals: Totals, damaged: &str) -> Option<Trouble> {
    let what = format!("damaged files were set aside: {}", totals.set_aside);
    let remedy = format!("Look at them in {damaged}");
    (totals.set_aside > 0).then_some(Trouble { spoils: Grade::Clear, what, remedy })
}

/// For the commands.
pub(super) fn router() -> Router<Sources> {
    Router::new().route(
        "/v1/health",
        get(|State(sources): State<Sources>| async move { Json(Health::of(&sources)) }),
    )
}

/// For probes, which know nothing but the status code.
pub(super) fn probes() -> Router<Sources> {
    let probe = |grade| {
        get(move |State(sources): State<Sources>| async move {
            let health = Health::of(&sources);
            let code =
                if health.is(grade) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let mut words: String = health
                .troubles
                .iter()
                .filter(|trouble| trouble.spoils <= grade)
                .map(|trouble| format!("{}\n", trouble.what))
                .collect();
            if words.is_empty() {
                words += "ok\n";
            }
            (code, words)
        })
    };
    Router::new()
        .route("/health/live", probe(Grade::Live))
        .route("/health/ready", probe(Grade::Ready))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(troubles: impl IntoIterator<Item = Option<Trouble>>) -> Health {
        Health::new(Timestamp(0), troubles.into_iter().flatten().collect())
    }

    fn paused() -> AccountState {
        AccountState {
            condition: AccountCondition::PausedCredentials,
            reason: "535 5.7.8".into(),
            remedy: "Store the new password".into(),
            ..AccountState::open(Timestamp(0))
        }
    }

    #[test]
    fn a_paused_account_asks_for_a_person_and_for_no_restart() {
        let health = of([of_account(paused())]);
        assert_eq!((health.live, health.ready, health.clear), (true, true, false));
        assert_eq!(health.troubles[0].what, "the account is paused-credentials: 535 5.7.8");
        assert_eq!(health.troubles[0].remedy, "Store the new password");
    }

    #[test]
    fn a_full_queue_is_not_ready_and_a_failed_one_is_not_even_live() {
        let full = of([of_account(paused()), of_room(Err(StoreError::Full("no room".into())))]);
        assert_eq!((full.live, full.ready, full.clear), (true, false, false));
        assert_eq!(full.troubles[0].spoils, Grade::Ready, "the gravest comes first");
        let failed = of([of_room(Err(StoreError::Unavailable("input/output error".into())))]);
        assert_eq!((failed.live, failed.ready, failed.clear), (false, false, false));
    }

    #[test]
    fn a_relay_that_stops_is_live_and_takes_nothing_new() {
        let health = of([of_stop(Phase::Draining)]);
        assert_eq!((health.live, health.ready), (true, false));
    }

    #[test]
    fn nothing_wrong_is_clear() {
        let files = of_files(Totals::default(), "/damaged");
        let open = of_account(AccountState::open(Timestamp(0)));
        let health = of([of_room(Ok(())), of_stop(Phase::Running), open, files]);
        assert!(health.is(Grade::Live) && health.is(Grade::Ready) && health.is(Grade::Clear));
        assert!(health.troubles.is_empty());
    }
}
