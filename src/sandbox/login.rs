//! AUTH PLAIN and LOGIN, and the passwords that decide what happens (gmail.md section 6).
//!
//! Rule: the trigger passwords work for every user name, so that a test needs no account of its own.
//! Must not know what state the session is in.

use std::collections::BTreeMap;

use data_encoding::BASE64;

use super::{
    options::APP_PASSWORD,
    replies::{self, Template},
};

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
    pub username: String,
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
pub(super) enum Verdict {
    Accept,
    Refuse(&'static Template),
    Drop,
    Hang,
}

/// Begins AUTH.
pub(super) fn begin(mechanism: &str, initial: Option<&str>) -> Step {
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
pub(super) fn judge(credentials: &Credentials, accounts: &BTreeMap<String, String>) -> Verdict {
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
