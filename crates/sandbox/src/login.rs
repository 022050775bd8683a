//! AUTH, and the passwords and tokens that decide what happens (docs/gmail.md sections 3.3 and 4.2, docs/sandbox.md).
//!
//! Rule: AUTH exists only inside TLS, as at Gmail; the trigger passwords work for every user name, so
//! that a test needs no account of its own. No credential is kept or told. Must not know the transaction.

use std::collections::BTreeMap;

use data_encoding::BASE64;

use super::{
    bearer::Bearer,
    oauth::Expiry,
    options::{ACCESS_TOKEN, APP_PASSWORD},
    replies::{self, Template},
    script::Stage,
    scripted::Ordered,
    session::{Flow, Port, Session, State},
    shared::{Shared, Weight},
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
    /// The only response of XOAUTH2.
    Xoauth2,
    /// The only response of OAUTHBEARER (RFC 7628).
    OauthBearer,
    /// The acknowledgement of the JSON that says why a token was refused.
    Acknowledgement,
}

/// Who the client says it is, and how it proves that.
pub(super) struct Credentials {
    username: String,
    proof: Proof,
}

enum Proof {
    Password(String),
    Token(String),
}

/// The next step of the dialogue.
pub(super) enum Step {
    /// Ask for more.
    Ask(Challenge, &'static [u8]),
    /// Everything is there.
    Check(Credentials),
    /// No such mechanism, or a response that is not base64.
    Refuse(&'static Template),
    /// A payload that is base64 of something else.
    Malformed,
    /// The client has answered the JSON, correctly or not.
    Acknowledged(bool),
}

/// What becomes of the login.
enum Verdict {
    /// Accepted, until the token ends if there is one.
    Accept(Option<Expiry>),
    Refuse(&'static Template),
    RefuseToken,
    Drop,
    Hang,
}

impl Session {
    /// The AUTH command.
    pub(super) fn authenticate(
        &mut self,
        mechanism: &str,
        initial: Option<&str>,
        now: Moment,
    ) -> Flow {
        if self.port == Port::Plain {
            return self.violation(&replies::UNRECOGNIZED);
        }
        if self.tls.is_none() {
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
        let offered = self
            .shared
            .options
            .mechanisms
            .split(' ')
            .any(|name| name.eq_ignore_ascii_case(mechanism));
        let step = if offered {
            begin(mechanism, initial)
        } else {
            Step::Refuse(&replies::UNKNOWN_MECHANISM)
        };
        self.login_step(step, now)
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
            Step::Malformed => {
                self.shared.mailbox.tally(|counters| {
                    counters.login_refusals += 1;
                    counters.violations += 1;
                });
                self.refuse_token(replies::TOKEN_MALFORMED)
            }
            Step::Acknowledged(properly) => {
                self.shared.mailbox.tally(|counters| counters.violations += u64::from(!properly));
                self.refuse(Stage::Auth, &replies::BAD_CREDENTIALS, "")
            }
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
            judge(&credentials, &self.shared, now)
        } else {
            Verdict::Refuse(&replies::TOO_MANY_LOGINS)
        };
        if !matches!(verdict, Verdict::Accept(_)) {
            self.shared.mailbox.tally(|counters| counters.login_refusals += 1);
        }
        match verdict {
            Verdict::Accept(expiry) => {
                self.shared.mailbox.tally(|counters| counters.logins += 1);
                self.shared.accounts.connected(&credentials.username);
                self.tell(Stage::Auth, Weight::Result, || {
                    format!("logged in user={}", credentials.username)
                });
                self.username = Some(credentials.username);
                self.expiry = expiry;
                self.output.extend_from_slice(replies::AUTHENTICATED);
                delay
            }
            Verdict::Refuse(reply) => self.refuse(Stage::Auth, reply, ""),
            Verdict::RefuseToken => self.refuse_token(replies::TOKEN_REFUSED),
            Verdict::Drop => self.drop_connection(Stage::Auth),
            Verdict::Hang => Flow::Hang,
        }
    }

    /// Says why in JSON; 535 follows when the client has acknowledged that.
    fn refuse_token(&mut self, json: &'static str) -> Flow {
        self.tell(Stage::Auth, Weight::Result, || format!("token refused json={json}"));
        self.state = State::Challenged(Challenge::Acknowledgement);
        replies::challenge_json(&mut self.output, json);
        Flow::Continue
    }
}

/// Begins AUTH.
fn begin(mechanism: &str, initial: Option<&str>) -> Step {
    let (challenge, prompt) = match mechanism.to_ascii_uppercase().as_str() {
        "PLAIN" => (Challenge::Plain, replies::CHALLENGE_EMPTY),
        "LOGIN" => (Challenge::LoginUsername, replies::CHALLENGE_USERNAME),
        "XOAUTH2" => (Challenge::Xoauth2, replies::CHALLENGE_EMPTY),
        "OAUTHBEARER" => (Challenge::OauthBearer, replies::CHALLENGE_EMPTY),
        "XOAUTH" => return Step::Refuse(&replies::XOAUTH_GONE),
        _ => return Step::Refuse(&replies::UNKNOWN_MECHANISM),
    };
    match initial {
        None => Step::Ask(challenge, prompt),
        Some(response) => proceed(challenge, response),
    }
}

/// Goes on with the client's response.
pub(super) fn proceed(challenge: Challenge, response: &str) -> Step {
    if matches!(challenge, Challenge::Acknowledgement) {
        // Empty for XOAUTH2, base64 of one octet 01 for OAUTHBEARER.
        return Step::Acknowledged(response.is_empty() || response == "AQ==");
    }
    // "=" alone is an empty initial response (RFC 4954 section 4).
    let response = if response == "=" { "" } else { response };
    let decoded =
        BASE64.decode(response.as_bytes()).ok().and_then(|octets| String::from_utf8(octets).ok());
    let Some(text) = decoded else { return Step::Refuse(&replies::CANNOT_DECODE) };
    let with_token = |bearer: Option<Bearer>| match bearer {
        Some(Bearer { username, token }) => {
            Step::Check(Credentials { username, proof: Proof::Token(token) })
        }
        None => Step::Malformed,
    };
    match challenge {
        Challenge::LoginUsername => {
            Step::Ask(Challenge::LoginPassword(text), replies::CHALLENGE_PASSWORD)
        }
        Challenge::LoginPassword(username) => {
            Step::Check(Credentials { username, proof: Proof::Password(text) })
        }
        Challenge::Plain => {
            let mut parts = text.splitn(3, '\0').skip(1).map(str::to_owned);
            match (parts.next(), parts.next()) {
                (Some(username), Some(password)) => {
                    Step::Check(Credentials { username, proof: Proof::Password(password) })
                }
                _ => Step::Refuse(&replies::CANNOT_DECODE),
            }
        }
        Challenge::Xoauth2 => with_token(Bearer::of_xoauth2(&text)),
        Challenge::OauthBearer => with_token(Bearer::of_oauthbearer(&text)),
        Challenge::Acknowledgement => Step::Acknowledged(false),
    }
}

fn judge(credentials: &Credentials, shared: &Shared, now: Moment) -> Verdict {
    let token = match &credentials.proof {
        Proof::Password(password) => {
            return judge_password(&credentials.username, password, &shared.options.accounts);
        }
        Proof::Token(token) => token,
    };
    let expiry = if token == ACCESS_TOKEN {
        Some(Expiry::new(now, shared.options.token_lifetime))
    } else {
        shared.identity.tokens.judge(&credentials.username, token, now)
    };
    expiry.map_or(Verdict::RefuseToken, |expiry| Verdict::Accept(Some(expiry)))
}

/// `accounts` empty means that every user name has [`APP_PASSWORD`].
fn judge_password(username: &str, password: &str, accounts: &BTreeMap<String, String>) -> Verdict {
    if let Some((_, verdict)) = TRIGGERS.iter().find(|(name, _)| *name == password) {
        return verdict();
    }
    let expected = match accounts.get(username) {
        Some(password) => password,
        None if accounts.is_empty() && !username.is_empty() => APP_PASSWORD,
        None => return Verdict::Refuse(&replies::BAD_CREDENTIALS),
    };
    // Google shows app passwords in four groups and accepts them so.
    let matches = password == expected || without_spaces(password) == expected;
    if matches { Verdict::Accept(None) } else { Verdict::Refuse(&replies::BAD_CREDENTIALS) }
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
