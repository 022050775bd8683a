//! The account as all hosts of a fleet see it: what this host says of it to the others, and what it makes of their words.
//!
//! Rule: pure. A word is written upon the last one alone, so that nobody who comes late undoes what he has not heard; what one
//! host finds for itself (its network, its files) stays its own. Must not know where words are kept.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    delivery::account_failure::{AccountFailure, Recheck, rank},
    fleet::Word,
    queue::state::{AccountCondition, AccountState},
};

/// Octets of a reason that the others are told.
const REASON_LENGTH_MAX: usize = 2_000;

/// What the hosts say of the account to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::delivery) struct Standing {
    /// Without what only one host has: its logins, what it has sent.
    state: AccountState,
    /// The host that was told so last.
    by: String,
    /// The host that has found the account out of order first, which tells the administrator.
    first: String,
    /// A person said that all is well, and nobody has seen it yet.
    in_doubt: bool,
    /// How often a person has said so.
    resumes: u64,
}

/// What a host knows of the others' words.
#[derive(Clone, Debug, Default)]
pub(super) struct OfAll {
    /// The number of the last word that was heard or said; `None` before the first look.
    number: Option<i64>,
    /// That word; none where nobody has said anything.
    word: Option<Standing>,
    /// The account's condition is that of all hosts, and not this one's alone.
    is_of_all: bool,
    untold: Untold,
}

/// What the others have to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Untold {
    /// Rises with each.
    serial: u64,
    failed: bool,
    opened: bool,
    early: bool,
    resumed: bool,
    paused: bool,
}

impl Untold {
    fn note(&mut self, what: impl FnOnce(&mut Self)) {
        self.serial += 1;
        what(self);
    }

    fn is_nothing(self) -> bool {
        self == Self { serial: self.serial, ..Self::default() }
    }
}

/// What a host says next.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Saying {
    /// The number of the word that it is written upon.
    pub(in crate::delivery) heard: i64,
    pub(in crate::delivery) standing: Standing,
    /// Its times are by a clock that shows this.
    pub(in crate::delivery) now: Timestamp,
    serial: u64,
}

impl Saying {
    pub(in crate::delivery) fn text(&self) -> String {
        // Text, numbers and lists can always be written.
        serde_json::to_string(&self.standing).unwrap_or_default()
    }
}

/// What a word has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::delivery) struct Adopted {
    /// Something that a person is shown.
    pub(in crate::delivery) is_shown: bool,
    /// The account stands otherwise: what was on its way before has nothing to say of what came after.
    pub(super) is_another: bool,
    /// A person has said on another host that all is well.
    pub(in crate::delivery) resumed: bool,
}

impl AccountFailure {
    /// Whether every host would meet it, and not this one alone: the account is refused, and not the way there.
    fn counts_for_all(&self) -> bool {
        let is_asked_to_wait = !self.least.is_zero() || !self.asks_for.is_zero();
        self.recheck != Recheck::Local
            && match self.condition {
                AccountCondition::BackingOff => is_asked_to_wait && !self.in_our_words,
                condition => is_of_the_account(condition),
            }
    }
}

/// Whether a condition is the account's own, as far as can be said without its cause.
fn is_of_the_account(condition: AccountCondition) -> bool {
    use AccountCondition::{PausedCredentials, PausedLogin, PausedQuota};
    matches!(condition, PausedLogin | PausedQuota | PausedCredentials)
}

impl OfAll {
    /// Whether one attempt goes first of all hosts'.
    pub(super) fn wants_probe(&self, now: Timestamp) -> bool {
        self.is_shut() || self.word.as_ref().is_some_and(|word| word.state.is_day_full(now))
    }

    fn is_shut(&self) -> bool {
        let is_shut =
            |word: &Standing| word.in_doubt || word.state.condition != AccountCondition::Open;
        self.word.as_ref().is_some_and(is_shut)
    }

    pub(super) fn number(&self) -> Option<i64> {
        self.number
    }

    pub(super) fn failed(&mut self, failure: &AccountFailure) {
        self.is_of_all = failure.counts_for_all();
        let is_of_all = self.is_of_all;
        self.untold.note(|untold| (untold.failed, untold.opened) = (is_of_all, false));
    }

    /// The upstream takes mail.
    pub(super) fn opened(&mut self, is_day_full: bool, now: Timestamp) {
        let is_full_to_them =
            self.word.as_ref().is_some_and(|word| word.state.is_day_full(now) && !is_day_full);
        if self.is_shut() || is_full_to_them {
            self.is_of_all = false;
            self.untold.note(|untold| (untold.failed, untold.opened) = (false, true));
        }
    }

    pub(super) fn learned(&mut self) {
        self.untold.note(|untold| untold.early = true);
    }

    pub(super) fn paused(&mut self) {
        self.untold.note(|untold| untold.paused = true);
    }

    pub(super) fn resumed(&mut self) {
        self.is_of_all = false;
        self.untold = Untold { serial: self.untold.serial + 1, resumed: true, ..Untold::default() };
    }

    pub(super) fn clock_was_set(&mut self, step_ms: i64) {
        if let Some(word) = &mut self.word {
            word.state = word.state.clone().moved(step_ms);
        }
    }
}

impl OfAll {
    /// The host that has found the account as it is, when it is not `host` itself.
    pub(super) fn found_by(&self, host: &str) -> Option<&str> {
        let word = self.word.as_ref().filter(|_| self.is_of_all)?;
        (!self.untold.failed && word.by != host).then_some(word.by.as_str())
    }

    /// Whether another host tells the administrator of the account's trouble.
    pub(super) fn is_told_elsewhere(&self, host: &str) -> bool {
        let word = self.word.as_ref().filter(|_| self.is_of_all);
        word.is_some_and(|word| {
            word.state.condition != AccountCondition::Open && word.first != host
        })
    }

    /// What the others have to be told by `host`; nothing before their last word was heard.
    pub(super) fn to_tell(
        &self,
        state: &AccountState,
        host: &str,
        now: Timestamp,
    ) -> Option<Saying> {
        let Self { number, word, untold, .. } = self;
        let heard = number.filter(|_| !untold.is_nothing())?;
        let mut standing = word.clone().unwrap_or_else(|| Standing {
            state: AccountState::open(now),
            by: host.to_owned(),
            first: host.to_owned(),
            in_doubt: false,
            resumes: 0,
        });
        if untold.resumed {
            standing.resumes += 1;
            say(state, &mut standing, host);
            standing.state = AccountState { early: state.early.clone(), ..AccountState::open(now) };
            standing.in_doubt = true;
        }
        if untold.failed || untold.opened {
            say(state, &mut standing, host);
        }
        if untold.early {
            standing.state.early = state.early.clone();
        }
        if untold.paused {
            standing.state.pause = state.pause.clone();
        }
        Some(Saying { heard, standing, now, serial: untold.serial })
    }

    /// The others have it, under this number.
    pub(super) fn was_told(&mut self, saying: Saying, number: i64) {
        if self.number.is_some_and(|known| known >= number) {
            return;
        }
        (self.number, self.word) = (Some(number), Some(saying.standing));
        if self.untold.serial == saying.serial {
            self.untold = Untold { serial: saying.serial, ..Untold::default() };
        }
    }

    /// Another host's word counts, but for what this one has to say that is graver, or ordered by a person.
    ///
    /// # Errors
    /// It is in no form that this program knows.
    pub(super) fn adopt(
        &mut self,
        ours: &mut AccountState,
        word: &Word,
        now: Timestamp,
    ) -> Result<Adopted, serde_json::Error> {
        let known = self.number;
        if known.is_some_and(|known| known >= word.number) {
            return Ok(Adopted::default());
        }
        let said_at = now.before(word.age);
        if known.is_none() {
            // What was stored before the start may be news, or long over.
            let is_news = |since: Timestamp| word.number == 0 || since > said_at;
            self.is_of_all = is_of_the_account(ours.condition);
            let failed = self.is_of_all && is_news(ours.since);
            let paused = ours.pause(now).is_some_and(|pause| is_news(pause.since));
            self.untold.note(|untold| {
                untold.failed |= failed;
                untold.paused |= paused;
            });
        }
        if word.number == 0 {
            self.number = Some(0);
            return Ok(Adopted::default());
        }
        let mut theirs: Standing = serde_json::from_str(&word.text)?;
        theirs.state = theirs.state.moved(said_at.0.saturating_sub(word.said_at.0));
        let resumes = self.word.as_ref().map_or(0, |word| word.resumes);
        let resumed = known.is_some() && theirs.resumes > resumes;
        let state = self.beside(ours, &theirs.state);
        let stands = |state: &AccountState| {
            (state.condition, state.since, state.until, state.strikes, state.day_full_since)
        };
        let is_another = resumed || stands(&state) != stands(ours);
        let is_shown = resumed || state != *ours;
        *ours = state;
        (self.number, self.word) = (Some(word.number), Some(theirs));
        Ok(Adopted { is_shown, is_another, resumed })
    }

    /// How the account stands by the others' word and by what this host has still to say.
    fn beside(&mut self, ours: &AccountState, theirs: &AccountState) -> AccountState {
        let Self { is_of_all, untold, .. } = self;
        // Theirs is newer than what ours was found upon.
        (untold.opened, untold.early) = (false, false);
        untold.failed &= rank(ours.condition) > rank(theirs.condition);
        let is_own = ours.condition != AccountCondition::Open && !*is_of_all;
        let is_graver = rank(ours.condition) > rank(theirs.condition);
        let mut state = theirs.clone();
        if untold.resumed {
            state = AccountState { early: theirs.early.clone(), ..ours.clone() };
        } else if untold.failed || (is_own && is_graver) {
            let (pause, early) = (state.pause.take(), theirs.early.clone());
            let until = ours.until.max(theirs.until);
            let day_full_since = ours.day_full_since.max(theirs.day_full_since);
            state = AccountState { until, day_full_since, pause, early, ..ours.clone() };
        } else {
            *is_of_all = theirs.condition != AccountCondition::Open;
        }
        if untold.paused {
            state.pause.clone_from(&ours.pause);
        }
        AccountState {
            alone_until: ours.alone_until.max(theirs.alone_until),
            accepted_at: ours.accepted_at,
            spam: ours.spam.clone(),
            logins: ours.logins.clone(),
            login_mark: ours.login_mark,
            ..state
        }
    }
}

/// Puts the account's own condition in the place of the one that was said before; the person's pause stays.
fn say(own: &AccountState, standing: &mut Standing, host: &str) {
    if standing.state.condition == AccountCondition::Open {
        host.clone_into(&mut standing.first);
    }
    host.clone_into(&mut standing.by);
    let mut state = AccountState {
        accepted_at: None,
        spam: Vec::new(),
        logins: Vec::new(),
        login_mark: None,
        pause: standing.state.pause.take(),
        ..own.clone()
    };
    state.reason.truncate(state.reason.floor_char_boundary(REASON_LENGTH_MAX));
    (standing.state, standing.in_doubt) = (state, false);
}
