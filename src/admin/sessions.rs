//! The visitors of the page: one-time links, and the sessions that they open.
//!
//! Rule: in memory only, so a restart ends them all; of a token nothing is kept but its digest. Must not know how a
//! browser carries it.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use clap::ValueEnum;
use data_encoding::BASE64URL_NOPAD;
use ring::{
    digest::{Digest, SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};

use crate::{
    clock::{Moment, Timestamp},
    listener::users::Known,
    secret::Secret,
    sync::lock,
};

/// How long a link may be used.
pub(crate) const LINK_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// How long a session lasts, whatever is done in it.
pub(crate) const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 3_600);
/// Links that are not used yet; a further one ends the oldest.
const LINKS_MAX: usize = 16;
/// Sessions at a time; a further one ends the oldest.
const SESSIONS_MAX: usize = 32;
/// Octets of a token: more than anybody can guess.
const TOKEN_BYTES: usize = 32;

/// What a visitor may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// See everything.
    Look,
    /// See everything, and do what the commands do.
    Act,
}

impl Role {
    /// As in a query, and on a screen.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Act => "act",
        }
    }
}

/// A session as its visitor has it.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// Its number, which is no secret.
    pub(crate) number: u64,
    /// Who has asked for the link, or has logged in.
    pub(crate) person: String,
    /// What he may do.
    pub(crate) role: Role,
    /// As whom he has logged in, when it was not by a link.
    pub(crate) known: Option<Known>,
    /// Whether there are other hosts to be shown.
    pub(crate) sees_hosts: bool,
    /// What each form of the session says, so that no other site's can.
    pub(crate) form_token: Secret,
}

impl Visit {
    /// Whether a form with this token is one of the session; the time it takes does not tell how much of it was right.
    pub(crate) fn is_its_form(&self, token: &str) -> bool {
        of(token).as_ref() == of(self.form_token.expose()).as_ref()
    }
}

/// A session as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Its number.
    pub(crate) number: u64,
    /// Who has asked for the link, or has logged in.
    pub(crate) person: String,
    /// What he may do.
    pub(crate) role: Role,
    /// When it began.
    pub(crate) since: Timestamp,
    /// When it ends by itself.
    pub(crate) until: Timestamp,
}

/// Links and sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    links: VecDeque<Held>,
    sessions: VecDeque<Held>,
}

/// A link or a session: who holds its token is `visit`'s visitor.
#[derive(Debug)]
struct Held {
    token: Digest,
    since: Timestamp,
    /// By the clock that nobody sets.
    ends_ms: u64,
    visit: Visit,
}

/// There is no randomness on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoRandomness;

impl Sessions {
    /// A link for this person; its token is known to nobody else.
    pub(crate) fn invite(
        &self,
        person: String,
        role: Role,
        now: Moment,
    ) -> Result<Secret, NoRandomness> {
        let (token, form_token) = (new_token()?, new_token()?);
        let mut state = lock(&self.0);
        state.forget(now);
        state.last_number += 1;
        let number = state.last_number;
        let visit = Visit { number, person, role, known: None, sees_hosts: false, form_token };
        let link = Held::new(&token, now, LINK_LIFETIME, visit);
        push(&mut state.links, link, LINKS_MAX);
        Ok(token)
    }

    /// Whether the link of this token can be used; it stays.
    pub(crate) fn is_invited(&self, token: &str, now: Moment) -> bool {
        let mut state = lock(&self.0);
        state.forget(now);
        find(&state.links, token).is_some()
    }

    /// Uses the link of this token up for a session; `None` when there is none, and `Err` is as good.
    pub(crate) fn enter(
        &self,
        token: &str,
        now: Moment,
    ) -> Result<Option<(Secret, Visit)>, NoRandomness> {
        let new = new_token()?;
        let mut state = lock(&self.0);
        state.forget(now);
        let Some(place) = find(&state.links, token) else { return Ok(None) };
        let Some(Held { visit, .. }) = state.links.remove(place) else { return Ok(None) };
        state.begin(&new, visit.clone(), now);
        Ok(Some((new, visit)))
    }

    /// A session for a user whose password was right.
    pub(crate) fn log_in(
        &self,
        known: Known,
        now: Moment,
    ) -> Result<(Secret, Visit), NoRandomness> {
        let (new, form_token) = (new_token()?, new_token()?);
        let mut state = lock(&self.0);
        state.forget(now);
        state.last_number += 1;
        let role = if known.only_looks { Role::Look } else { Role::Act };
        let (number, person) = (state.last_number, known.login.clone());
        let visit =
            Visit { number, person, role, known: Some(known), sees_hosts: false, form_token };
        state.begin(&new, visit.clone(), now);
        Ok((new, visit))
    }

    /// The session of this token.
    pub(crate) fn visit(&self, token: &str, now: Moment) -> Option<Visit> {
        let mut state = lock(&self.0);
        state.forget(now);
        find(&state.sessions, token).map(|place| state.sessions[place].visit.clone())
    }

    /// Whether the session of this number goes on.
    pub(crate) fn is_open(&self, number: u64, now: Moment) -> bool {
        let mut state = lock(&self.0);
        state.forget(now);
        state.sessions.iter().any(|session| session.visit.number == number)
    }

    /// Ends a session; whether there was one.
    pub(crate) fn end(&self, number: u64) -> bool {
        let mut state = lock(&self.0);
        let before = state.sessions.len();
        state.sessions.retain(|session| session.visit.number != number);
        state.sessions.len() < before
    }

    /// The sessions, the oldest first.
    pub(crate) fn list(&self, now: Moment) -> Vec<Listed> {
        let mut state = lock(&self.0);
        state.forget(now);
        let listed = state.sessions.iter().map(|session| Listed {
            number: session.visit.number,
            person: session.visit.person.clone(),
            role: session.visit.role,
            since: session.since,
            until: now.wall.after(Duration::from_millis(session.ends_ms - now.since_boot_ms)),
        });
        listed.collect()
    }
}

impl State {
    fn begin(&mut self, token: &Secret, visit: Visit, now: Moment) {
        let session = Held::new(token, now, SESSION_LIFETIME, visit);
        push(&mut self.sessions, session, SESSIONS_MAX);
    }

    fn forget(&mut self, now: Moment) {
        for held in [&mut self.links, &mut self.sessions] {
            held.retain(|one| one.ends_ms > now.since_boot_ms);
        }
    }
}

impl Held {
    fn new(token: &Secret, now: Moment, lifetime: Duration, visit: Visit) -> Self {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let ends_ms = now.since_boot_ms.saturating_add(lifetime_ms);
        Self { token: of(token.expose()), since: now.wall, ends_ms, visit }
    }
}

fn push(held: &mut VecDeque<Held>, one: Held, max: usize) {
    if held.len() == max {
        held.pop_front();
    }
    held.push_back(one);
}

/// Digests are compared, so that the time it takes says nothing of a token.
fn find(held: &VecDeque<Held>, token: &str) -> Option<usize> {
    let token = of(token);
    held.iter().position(|one| one.token.as_ref() == token.as_ref())
}

fn of(token: &str) -> Digest {
    digest(&SHA256, token.as_bytes())
}

fn new_token() -> Result<Secret, NoRandomness> {
    let mut octets = [0; TOKEN_BYTES];
    SystemRandom::new().fill(&mut octets).map_err(|_| NoRandomness)?;
    Ok(Secret::new(BASE64URL_NOPAD.encode(&octets)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};

    fn invited(sessions: &Sessions, clock: &ManualClock) -> Secret {
        sessions.invite("alice".into(), Role::Act, clock.now()).expect("randomness")
    }

    fn entered(sessions: &Sessions, clock: &ManualClock) -> (Secret, Visit) {
        let link = invited(sessions, clock);
        sessions.enter(link.expose(), clock.now()).expect("randomness").expect("a link")
    }

    #[test]
    fn a_link_opens_one_session_and_only_in_its_five_minutes() {
        let (sessions, clock) = (Sessions::default(), ManualClock::new(Timestamp(1_000)));
        let link = invited(&sessions, &clock);
        assert!(sessions.is_invited(link.expose(), clock.now()), "a look does not use it up");
        let (token, visit) = sessions.enter(link.expose(), clock.now()).unwrap().unwrap();
        assert_eq!((visit.person.as_str(), visit.role), ("alice", Role::Act));
        assert!(sessions.enter(link.expose(), clock.now()).unwrap().is_none(), "used up");
        assert!(sessions.visit(link.expose(), clock.now()).is_none(), "a link is no session");
        assert!(sessions.visit(token.expose(), clock.now()).is_some());
        let late = invited(&sessions, &clock);
        clock.advance(LINK_LIFETIME);
        assert!(!sessions.is_invited(late.expose(), clock.now()));
        assert!(sessions.enter(late.expose(), clock.now()).unwrap().is_none());
    }

    #[test]
    fn a_session_ends_after_twelve_hours_also_when_the_wall_clock_is_set_back() {
        let (sessions, clock) = (Sessions::default(), ManualClock::new(Timestamp(1_000_000_000)));
        let (token, _) = entered(&sessions, &clock);
        clock.advance(SESSION_LIFETIME - Duration::from_secs(1));
        clock.set_wall(Timestamp(1_000));
        assert!(sessions.visit(token.expose(), clock.now()).is_some());
        clock.advance(Duration::from_secs(1));
        assert!(sessions.visit(token.expose(), clock.now()).is_none());
        assert_eq!(sessions.list(clock.now()), []);
    }

    #[test]
    fn a_session_that_is_ended_by_its_number_is_over_and_the_others_are_not() {
        let (sessions, clock) = (Sessions::default(), ManualClock::new(Timestamp(1_000)));
        let ((one, visit), (other, _)) = (entered(&sessions, &clock), entered(&sessions, &clock));
        assert_eq!(sessions.list(clock.now()).len(), 2);
        assert!(sessions.end(visit.number) && !sessions.end(visit.number));
        assert!(sessions.visit(one.expose(), clock.now()).is_none());
        assert!(sessions.visit(other.expose(), clock.now()).is_some());
    }

    #[test]
    fn whoever_asks_for_many_links_ends_only_the_oldest_ones() {
        let (sessions, clock) = (Sessions::default(), ManualClock::new(Timestamp(1_000)));
        let first = invited(&sessions, &clock);
        let others: Vec<_> = (0..LINKS_MAX).map(|_| invited(&sessions, &clock)).collect();
        assert!(!sessions.is_invited(first.expose(), clock.now()));
        assert!(others.iter().all(|link| sessions.is_invited(link.expose(), clock.now())));
        let tokens: Vec<_> = (0..=SESSIONS_MAX).map(|_| entered(&sessions, &clock).0).collect();
        assert!(sessions.visit(tokens[0].expose(), clock.now()).is_none());
        assert_eq!(sessions.list(clock.now()).len(), SESSIONS_MAX);
    }

    #[test]
    fn nothing_that_is_printed_of_it_shows_a_token() {
        let (sessions, clock) = (Sessions::default(), ManualClock::new(Timestamp(1_000)));
        let link = invited(&sessions, &clock);
        let (token, visit) = entered(&sessions, &clock);
        let printed = format!("{sessions:?}{visit:?}{:?}", sessions.list(clock.now()));
        for secret in [&link, &token, &visit.form_token] {
            assert!(!printed.contains(secret.expose()), "{printed}");
        }
    }
}
