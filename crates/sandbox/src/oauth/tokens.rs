//! The grants of Google's account service: access tokens, refresh tokens, authorisation codes.
//!
//! Rule: a token ends on the sandbox's clock; what is kept is bounded. Must not know HTTP or SMTP.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::Moment;

/// When something ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    since: Moment,
    lifetime: Duration,
}

impl Expiry {
    /// `lifetime` from `since` on.
    pub(crate) const fn new(since: Moment, lifetime: Duration) -> Self {
        Self { since, lifetime }
    }

    /// What is left; zero when it has ended.
    pub(crate) fn remaining(&self, now: Moment) -> Duration {
        self.lifetime.saturating_sub(now.since(self.since))
    }
}

/// Who may use a token: one account, or every one.
pub(super) type Subject = Option<String>;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of Gmail: the one scope that opens SMTP.
    Mail,
    /// To send, by the API alone.
    Send,
    /// To read, which is of no use to a relay.
    Read,
}

impl Scope {
    const WORDS: [(Self, &str); 3] = [
        (Self::Mail, "https://mail.google.com/"),
        (Self::Send, "https://www.googleapis.com/auth/gmail.send"),
        (Self::Read, "https://www.googleapis.com/auth/gmail.readonly"),
    ];

    /// The widest of those that are asked for; `None` when none is known.
    pub(super) fn asked(words: &str) -> Option<Self> {
        let known = Self::WORDS.iter().find(|(_, name)| words.split(' ').any(|word| word == *name));
        known.map(|(scope, _)| *scope)
    }

    /// As it is written.
    pub(super) fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(scope, _)| *scope == self).map_or("", |(_, name)| name)
    }
}

/// A code that waits to be exchanged.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub(super) challenge: String,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) subject: Subject,
    pub(super) scope: Scope,
    pub(super) expiry: Expiry,
}

/// Everything that was issued.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    issued: Mutex<Issued>,
}

#[derive(Debug, Default)]
struct Issued {
    access: HashMap<String, (Subject, Scope, Expiry)>,
    refresh: HashMap<String, (Subject, Scope)>,
    codes: HashMap<String, Code>,
}

impl Tokens {
    /// When a token of this account ends; `None` when it is unknown, ended, another account's, or not for SMTP.
    pub(crate) fn judge(&self, username: &str, token: &str, now: Moment) -> Option<Expiry> {
        let issued = self.lock();
        let (subject, scope, expiry) = issued.access.get(token)?;
        let own = subject.as_ref().is_none_or(|subject| subject.eq_ignore_ascii_case(username));
        let is_good = own && *scope == Scope::Mail && !expiry.remaining(now).is_zero();
        is_good.then_some(*expiry)
    }

    /// Whose a token is and what it allows; `None` when it is unknown or ended.
    pub(crate) fn bearer(&self, token: &str, now: Moment) -> Option<(Subject, Scope)> {
        let issued = self.lock();
        let (subject, scope, expiry) = issued.access.get(token)?;
        (!expiry.remaining(now).is_zero()).then(|| (subject.clone(), *scope))
    }

    /// A new access token.
    pub(super) fn issue_access(&self, subject: Subject, scope: Scope, expiry: Expiry) -> String {
        let token = format!("ya29.a0{}", random(48));
        keep(&mut self.lock().access, token.clone(), (subject, scope, expiry));
        token
    }

    /// A new refresh token.
    pub(super) fn issue_refresh(&self, subject: Subject, scope: Scope) -> String {
        let token = format!("1//0{}", random(40));
        keep(&mut self.lock().refresh, token.clone(), (subject, scope));
        token
    }

    /// A new code.
    pub(super) fn issue_code(&self, code: Code) -> String {
        let text = format!("4/0A{}", random(40));
        keep(&mut self.lock().codes, text.clone(), code);
        text
    }

    /// Whose refresh token this is, and what it allows.
    pub(super) fn subject_of(&self, refresh_token: &str) -> Option<(Subject, Scope)> {
        self.lock().refresh.get(refresh_token).cloned()
    }

    /// Takes a code, which can be exchanged once.
    pub(super) fn take_code(&self, code: &str) -> Option<Code> {
        self.lock().codes.remove(code)
    }

    /// Forgets a token of either kind; `false` when there is none.
    pub(super) fn revoke(&self, token: &str) -> bool {
        let mut issued = self.lock();
        issued.access.remove(token).is_some() | issued.refresh.remove(token).is_some()
    }

    /// Ends every token at once, as a change of the account's password does.
    pub(crate) fn revoke_all(&self) {
        *self.lock() = Issued::default();
    }

    fn lock(&self) -> MutexGuard<'_, Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Only a client that asks for tokens without end reaches the limit; nothing of its is worth keeping.
pub(super) fn keep<V>(map: &mut HashMap<String, V>, key: String, value: V) {
    if map.len() >= TOKENS_MAX {
        map.clear();
    }
    map.insert(key, value);
}

/// Letters and digits; nothing here needs to be secret.
pub(super) fn random(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(length).collect()
}

/// Tokens of each kind that are remembered.
const TOKENS_MAX: usize = 10_000;
