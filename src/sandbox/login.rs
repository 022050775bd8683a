//! AUTH PLAIN and LOGIN, and the passwords that decide what happens (gmail.md section 6).
//!
//! Rule: AUTH exists only inside TLS, as at Gmail; the trigger passwords work for every user name, so
//! that a test needs no account of its own. No credential is kept or told. Must not know the transaction.

use std::collections::BTreeMap;

use data_encoding::BASE64;

use super::{
    options::APP_PASSWORD,
    replies::{self, Template},
    session::{Flow, Ordered, Port, Session, State},
    shared::Weight,
    triggers::Stage,
};
use crate::clock::Moment;

/// What the client is about to send after a 334.
#[derive(Debug)]
pub(super) enum Challenge {
    /// The only response of PLAIN (RFC 4616).
    Plain,
    /// The first response of LOGIN.
    LoginUsername,
    /// The second one.
    LoginPassword(String),
}

/// A user name and a password as the client sent them.
#[derive(PartialEq, Eq)]
pub(super) struct Credentials {
    username: String,
    password: String,
}

/// The next step of the dialogue.
pub(super) enum Step {
    /// Ask for more.
    Ask(Challenge, &'static [u8]),
    /// Both are there.
    Check(Credentials),
    /// No such mechanism, or a response that is not base64.
    Refuse(&'static Template),
}

/// What becomes of the login.
#[derive(Debug)]
enum Verdict {
    Accept,
    Refuse(&'static Template),
    Drop,
    Hang,
}

impl Session {
    /// The AUTH command.
    pub(super) fn authenticate(&mut self, mechanism: &str, initial: Option<&str>, now: Moment) -> Flow {
        if self.port == Port::Plain {
            return self.violation(&replies::UNRECOGNIZED);
        }
        if !self.tls {
            return self.violation(&replies::STARTTLS_FIRST);
        }
        if self.client_name.is_none() {
            return self.violation(&replies::EHLO_FIRST);
        }
        if self.username.is_some() {
            return self.violation(&replies::NO_IDENTITY_CHANGE);
        }
        if !matches!(self.state, State::Idle) {
            return self.violation(&replies::BAD_SEQUENCE);
        }
        self.login_step(begin(mechanism, initial), now)
    }

    /// Goes on after the client's response.
    pub(super) fn login_step(&mut self, step: Step, now: Moment) -> Flow {
        match step {
            Step::Refuse(reply) => self.violation(reply),
            Step::Ask(challenge, prompt) => {
                self.state = State::Challenged(challenge);
                self.output.extend_from_slice(prompt);
                Flow::Continue
            }
            Step::Check(credentials) => self.log_in(credentials, now),
        }
    }

    fn log_in(&mut self, credentials: Credentials, now: Moment) -> Flow {
        self.shared.mailbox.reach(Stage::Auth);
        let delay = match self.ordered(Stage::Auth) {
            Ordered::Proceed(flow) => flow,
            Ordered::Instead(flow) | Ordered::StoreAndDrop(flow) => {
                self.shared.mailbox.tally(|counters| counters.login_refusals += 1);
                return flow;
            }
        };
        let verdict = if self.shared.accounts.may_log_in(&credentials.username, now) {
            judge(&credentials, &self.shared.options.accounts)
        } else {
            Verdict::Refuse(&replies::TOO_MANY_LOGINS)
        };
        if !matches!(verdict, Verdict::Accept) {
            self.shared.mailbox.tally(|counters| counters.login_refusals += 1);
        }
        match verdict {
            Verdict::Accept => {
                self.shared.mailbox.tally(|counters| counters.logins += 1);
                self.shared.accounts.connected(&credentials.username);
                self.tell(Stage::Auth, Weight::Result, || format!("logged in user={}", credentials.username));
                self.username = Some(credentials.username);
                self.output.extend_from_slice(replies::AUTHENTICATED);
                delay
            }
            Verdict::Refuse(reply) => self.refuse(Stage::Auth, reply, ""),
            Verdict::Drop => self.drop_connection(Stage::Auth),
            Verdict::Hang => Flow::Hang,
        }
    }
}

/// Begins AUTH.
fn begin(mechanism: &str, initial: Option<&str>) -> Step {
    let plain = mechanism.eq_ignore_ascii_case("PLAIN");
    if !plain && !mechanism.eq_ignore_ascii_case("LOGIN") {
        return Step::Refuse(&replies::UNKNOWN_MECHANISM);
    }
    match (plain, initial) {
        (true, None) => Step::Ask(Challenge::Plain, replies::CHALLENGE_EMPTY),
        (false, None) => Step::Ask(Challenge::LoginUsername, replies::CHALLENGE_USERNAME),
        (true, Some(response)) => proceed(Challenge::Plain, response),
        (false, Some(response)) => proceed(Challenge::LoginUsername, response),
    }
}

/// Goes on with the client's response.
pub(super) fn proceed(challenge: Challenge, response: &str) -> Step {
    // "=" alone is an empty initial response (RFC 4954 section 4).
    let response = if response == "=" { "" } else { response };
    let decoded = BASE64.decode(response.as_bytes()).ok().and_then(|octets| String::from_utf8(octets).ok());
    let Some(text) = decoded else { return Step::Refuse(&replies::CANNOT_DECODE) };
    match challenge {
        Challenge::LoginUsername => Step::Ask(Challenge::LoginPassword(text), replies::CHALLENGE_PASSWORD),
        Challenge::LoginPassword(username) => Step::Check(Credentials { username, password: text }),
        Challenge::Plain => {
            let mut parts = text.splitn(3, '\0').skip(1).map(str::to_owned);
            match (parts.next(), parts.next()) {
                (Some(username), Some(password)) => Step::Check(Credentials { username, password }),
                _ => Step::Refuse(&replies::CANNOT_DECODE),
            }
        }
    }
}

/// Judges the credentials; `accounts` empty means that every user name has [`APP_PASSWORD`].
fn judge(credentials: &Credentials, accounts: &BTreeMap<String, String>) -> Verdict {
    let trigger = TRIGGERS.iter().find(|(password, _)| *password == credentials.password);
    if let Some((_, verdict)) = trigger {
        return verdict();
    }
    let expected = match accounts.get(&credentials.username) {
        Some(password) => password,
        None if accounts.is_empty() && !credentials.username.is_empty() => APP_PASSWORD,
        None => return Verdict::Refuse(&replies::BAD_CREDENTIALS),
    };
    // Google shows app passwords in four groups and accepts them so.
    let matches = credentials.password == expected || without_spaces(&credentials.password) == expected;
    if matches { Verdict::Accept } else { Verdict::Refuse(&replies::BAD_CREDENTIALS) }
}

fn without_spaces(password: &str) -> String {
    password.chars().filter(|character| !character.is_whitespace()).collect()
}

/// Passwords that mean something.
#[expect(clippy::type_complexity, reason = "a table of names and what they do")]
static TRIGGERS: &[(&str, fn() -> Verdict)] = &[
    ("wrong", || Verdict::Refuse(&replies::BAD_CREDENTIALS)),
    ("needs-app-password", || Verdict::Refuse(&replies::APP_PASSWORD_REQUIRED)),
    ("needs-browser", || Verdict::Refuse(&replies::BROWSER_REQUIRED)),
    ("captcha", || Verdict::Refuse(&replies::CAPTCHA_REQUIRED)),
    ("busy", || Verdict::Refuse(&replies::LOGIN_UNAVAILABLE)),
    ("toomany", || Verdict::Refuse(&replies::TOO_MANY_LOGINS)),
    ("drop", || Verdict::Drop),
    ("hang", || Verdict::Hang),
];
