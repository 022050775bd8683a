//! The health of the relay: `GET /v1/health` for `pillarbox health`, `/health/live` and `/health/ready` for probes.
//!
//! Rule: probes look at memory and at the free space only, so they are answered at once however long the queue is. What a
//! restart cannot mend (a paused account, a full disk) never counts against liveness, or a supervisor would restart
//! the relay for ever. Must not know who asks, or what follows.

use axum::{Router, extract::State, http::StatusCode, routing::get};
use serde::{Deserialize, Serialize};

use super::{
    context::{ACCOUNT, Json, Sources},
    stand,
};
use crate::{
    addressed::addressed,
    clock::Timestamp,
    fleet::{Away, REMEDY},
    queue::{
        Totals,
        state::{AccountCondition, AccountState},
        waiting::{Because, Departure, Refusing},
    },
    shutdown::Phase,
    tasks::Mishap,
};

/// `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// The time of this answer.
    pub(crate) now: Timestamp,
    /// The program's version.
    pub(crate) version: String,
    /// Whether the process works; when not, a restart may help.
    pub(crate) live: bool,
    /// Whether new mail is taken.
    pub(crate) ready: bool,
    /// Whether nothing asks for a person.
    pub(crate) clear: bool,
    /// What is wrong, the gravest first.
    pub(crate) troubles: Vec<Trouble>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// What it spoils.
    pub(crate) spoils: Grade,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do; empty when it passes by itself.
    pub(crate) remedy: String,
}

/// How much is asked of the relay, the least first: each one asks for those before it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Grade {
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
    pub(crate) fn is(&self, grade: Grade) -> bool {
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

    /// Looks, also at what keeps mail here, for which the queue is asked and not waited for long.
    pub(super) async fn of(sources: &Sources) -> Self {
        // A queue that has failed has nothing to say of the next departure.
        let departures = match stand::refusing(sources) {
            Some(Refusing { failed: true, .. }) => None,
            _ => stand::next_departures(sources).await,
        };
        Self::with(sources, departures.unwrap_or_default())
    }

    /// Looks at memory alone: enough for probes, which must have an answer at once while a disk is slow.
    pub(super) fn at_once(sources: &Sources) -> Self {
        Self::with(sources, Vec::new())
    }

    fn with(sources: &Sources, departures: Vec<Departure>) -> Self {
        let store = &sources.store;
        let first = [stand::refusing(sources).map(of_room), of_stop(sources.stop.phase())];
        let rest = [
            of_held(sources.outlook.held()),
            of_files(store.totals(), &sources.facts().damaged.display().to_string()),
            of_mishaps(sources.mishaps.so_far()),
        ];
        let first = first.into_iter().flatten().chain(of_accounts(sources));
        let first = first.chain(departures.into_iter().filter_map(of_departure));
        Self::new(sources.clock.wall(), first.chain(rest.into_iter().flatten()).collect())
    }
}

fn of_room(refusing: Refusing) -> Trouble {
    let spoils = if refusing.failed { Grade::Live } else { Grade::Ready };
    Trouble { spoils, what: refusing.what, remedy: refusing.remedy }
}

fn of_stop(phase: Phase) -> Option<Trouble> {
    let what = "the relay is stopping".to_owned();
    (phase != Phase::Running).then_some(Trouble {
        spoils: Grade::Ready,
        what,
        remedy: String::new(),
    })
}

/// What keeps the mail of one account or of several.
fn of_accounts(sources: &Sources) -> Vec<Trouble> {
    let (facts, now) = (sources.facts(), sources.clock.wall());
    let mut troubles = Vec::new();
    for (account, upstream) in sources.upstreams.all() {
        let (state, called) = (upstream.status().account, facts.called(account));
        let pause = of_pause(&called, &state, now).map(|trouble| {
            let addressed = |text: String| addressed(&text, &facts.of(account).name);
            let (what, remedy) = (addressed(trouble.what), addressed(trouble.remedy));
            Trouble { what, remedy, ..trouble }
        });
        troubles.extend(of_account(&called, &state));
        troubles.extend(pause);
    }
    troubles.extend(stand::away(sources).map(of_fleet));
    troubles
}

/// The hosts of a fleet send nothing that they cannot count together.
fn of_fleet(Away { since, reason }: Away) -> Trouble {
    let what = format!("the fleet's database cannot be asked since {since}: {reason}");
    Trouble { spoils: Grade::Clear, what, remedy: REMEDY.to_owned() }
}

/// Mail is taken and waits while the account pauses, and a restart would only forget why.
fn of_account(called: &str, state: &AccountState) -> Option<Trouble> {
    let what = format!("{called} is {}: {}", state.condition.name(), state.reason);
    let trouble = Trouble { spoils: Grade::Clear, what, remedy: state.remedy.clone() };
    (state.condition != AccountCondition::Open).then_some(trouble)
}

/// The administrator's own order, which he may have forgotten.
fn of_pause(called: &str, state: &AccountState, now: Timestamp) -> Option<Trouble> {
    // With one account it is the relay that sends nothing.
    let called = if called == ACCOUNT { "the relay" } else { called };
    state.pause(now).map(|pause| Trouble {
        spoils: Grade::Clear,
        what: format!("{called} is {}", pause.words(|at| at.to_string())),
        remedy: "Nothing, if it may wait; pillarbox resume ends the pause".to_owned(),
    })
}

/// What else keeps mail here for long: it asks for a person only in so far as somebody may wait for it.
fn of_departure(departure: Departure) -> Option<Trouble> {
    // Of the account and the queue more is said elsewhere.
    let is_news = matches!(departure.because, Because::Budget | Because::Logins);
    let what = match departure.at {
        Some(at) => format!("mail waits until {at}: {}", departure.why),
        None => format!("mail waits: {}", departure.why),
    };
    let remedy = match departure.at {
        Some(_) => "Nothing, if it may wait; pillarbox budget says what was spent",
        None => "Raise budget.recipients_per_day and restart",
    };
    is_news.then(|| Trouble { spoils: Grade::Clear, what, remedy: departure.addressed(remedy) })
}

fn of_held(recipients: u64) -> Option<Trouble> {
    let noun = if recipients == 1 { "recipient is" } else { "recipients are" };
    (recipients > 0).then(|| Trouble {
        spoils: Grade::Clear,
        what: format!("{recipients} {noun} held for a person"),
        remedy: "Look at them with pillarbox queue list --state held, then pillarbox queue retry or delete"
            .to_owned(),
    })
}

fn of_mishaps(mishap: Mishap) -> Option<Trouble> {
    let times = if mishap.number == 1 { "once" } else { "several times" };
    (mishap.number > 0).then(|| Trouble {
        spoils: Grade::Clear,
        what: format!(
            "a task of the relay ({}) has failed {times} and was started again",
            mishap.last
        ),
        remedy: "Please report it with the log; a restart of the relay clears this line".to_owned(),
    })
}

fn of_files(totals: Totals, damaged: &str) -> Option<Trouble> {
    let what = format!("damaged files were set aside: {}", totals.set_aside);
    let remedy = format!("Look at them in {damaged}");
    (totals.set_aside > 0).then_some(Trouble { spoils: Grade::Clear, what, remedy })
}

/// Why mail does not leave, or would not if there were any; nothing while it does.
pub(super) async fn standstill(sources: &Sources) -> Option<String> {
    let found = [stand::refusing(sources).map(of_room), of_stop(sources.stop.phase())];
    if let Some(trouble) = found.into_iter().flatten().chain(of_accounts(sources)).next() {
        return Some(trouble.what);
    }
    match stand::next_departures(sources).await {
        Some(departures) => {
            departures.into_iter().find_map(of_departure).map(|trouble| trouble.what)
        }
        None => Some("the queue does not answer".to_owned()),
    }
}

/// For the commands.
pub(super) fn router() -> Router<Sources> {
    Router::new().route(
        "/v1/health",
        get(|State(sources): State<Sources>| async move { Json(Health::of(&sources).await) }),
    )
}

/// For probes, which know nothing but the status code.
pub(super) fn probes() -> Router<Sources> {
    let probe = |grade| {
        get(move |State(sources): State<Sources>| async move {
            let health = Health::at_once(&sources);
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
    use crate::queue::pause::Pause;

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
        let health = of([of_account(ACCOUNT, &paused())]);
        assert_eq!((health.live, health.ready, health.clear), (true, true, false));
        assert_eq!(health.troubles[0].what, "the account is paused-credentials: 535 5.7.8");
        assert_eq!(health.troubles[0].remedy, "Store the new password");
    }

    #[test]
    fn a_pause_of_the_administrator_is_told_beside_what_the_upstream_refuses_until_it_ends() {
        let end = Timestamp(60_000);
        let pause = Some(Pause::new(Timestamp(0), Some(end), "new server"));
        let state = AccountState { pause, ..paused() };
        let health = of([of_account(ACCOUNT, &state), of_pause(ACCOUNT, &state, Timestamp(1))]);
        assert_eq!((health.live, health.ready, health.clear), (true, true, false));
        assert_eq!(
            health.troubles[1].what,
            "the relay is paused by the administrator until 1970-01-01T00:01:00Z: new server"
        );
        assert_eq!(of_pause(ACCOUNT, &state, end), None);
    }

    #[test]
    fn a_full_queue_is_not_ready_and_a_failed_one_is_not_even_live() {
        let refusing = |failed| Refusing {
            everything: true,
            failed,
            what: "no mail is taken: no room".into(),
            remedy: "make room".into(),
        };
        let full = of([of_account(ACCOUNT, &paused()), Some(of_room(refusing(false)))]);
        assert_eq!((full.live, full.ready, full.clear), (true, false, false));
        assert_eq!(full.troubles[0].spoils, Grade::Ready, "the gravest comes first");
        let failed = of([Some(of_room(refusing(true)))]);
        assert_eq!((failed.live, failed.ready, failed.clear), (false, false, false));
    }

    #[test]
    fn a_relay_that_stops_is_live_and_takes_nothing_new() {
        let health = of([of_stop(Phase::Draining)]);
        assert_eq!((health.live, health.ready), (true, false));
    }

    #[test]
    fn a_spent_day_a_held_message_and_a_failed_task_are_told_and_ask_for_no_restart() {
        let departure = Departure {
            at: Some(Timestamp(86_400_000)),
            because: Because::Budget,
            why: "the 24 h budget is spent".into(),
            account: None,
            account_name: None,
        };
        let mishap = Mishap { number: 2, last: "notices" };
        let health = of([of_departure(departure), of_held(1), of_mishaps(mishap)]);
        assert_eq!((health.ready, health.clear), (true, false));
        let words: Vec<&str> =
            health.troubles.iter().map(|trouble| trouble.what.as_str()).collect();
        assert_eq!(
            words,
            [
                "mail waits until 1970-01-02T00:00:00Z: the 24 h budget is spent",
                "1 recipient is held for a person",
                "a task of the relay (notices) has failed several times and was started again"
            ]
        );
    }

    #[test]
    fn nothing_wrong_is_clear() {
        let files = of_files(Totals::default(), "/damaged");
        let open = of_account(ACCOUNT, &AccountState::open(Timestamp(0)));
        let quiet = [of_held(0), of_mishaps(Mishap::default())];
        let health = of([of_stop(Phase::Running), open, files].into_iter().chain(quiet));
        assert!(health.is(Grade::Live) && health.is(Grade::Ready) && health.is(Grade::Clear));
        assert!(health.troubles.is_empty());
    }
}
