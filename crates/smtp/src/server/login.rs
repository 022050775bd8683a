//! AUTH within a session: who may use it, what its end means (RFC 4954).
//!
//! Rule: a login counts only after `Session::authenticated` said so, or where any login will do; it opens
//! no door that the policy keeps shut. Must not know what is inside a response.

use zeroize::Zeroize as _;

use super::{
    Authentication, Credentials, LOGIN_FAILURES_MAX, LoginRefusal, Session, Step,
    auth_exchange::{Exchange, ExchangeError, Mechanism, Progress, Response},
    extension,
    line::{AUTHENTICATION_LINE_BYTES_MAX, Line},
    reply,
    state::{Hello, State},
};
use crate::quirk::Quirk;

impl Session {
    /// AUTH.
    pub(super) fn authenticate(
        &mut self,
        state: State,
        mechanism: &str,
        initial: Option<Response>,
    ) -> State {
        let objection = if !extension::authentication_works(self.client) {
            Some(reply::not_implemented())
        } else if !extension::authentication_offered(self.client) {
            Some(reply::encryption_required())
        } else if self.login.is_some() {
            Some(reply::already_authenticated())
        } else if !matches!(state, State::Ready) {
            Some(reply::not_in_a_transaction())
        } else {
            None
        };
        if let Some(reply) = objection {
            return self.object(&reply, state);
        }
        let Some(mechanism) = Mechanism::read(mechanism) else {
            return self.object(&reply::unknown_mechanism(), state);
        };
        match self.hello {
            Hello::Missing => self.quirk_log.record(Quirk::NoHello),
            Hello::Basic(_) => self.quirk_log.record(Quirk::HeloThenAuth),
            Hello::Extended(_) => {}
        }
        self.proceed(Exchange::begin(mechanism, initial))
    }

    /// Reads the client's next response; false when it has not come completely.
    pub(super) fn next_response(&mut self) -> bool {
        let State::LoggingIn(exchange) = self.take_state() else {
            return false;
        };
        let line = self.input.take_line(AUTHENTICATION_LINE_BYTES_MAX);
        self.input.wipe_used();
        if let (Some(heard), true) = (&mut self.heard, line != Line::Incomplete) {
            heard.push("***".to_owned());
        }
        self.state = match line {
            Line::Incomplete => {
                self.state = State::LoggingIn(exchange);
                return false;
            }
            Line::TooLong(_) => self.object(&reply::response_too_long(), State::Ready),
            Line::Endless => self.object(&reply::response_too_long(), State::Closed),
            Line::Complete(line) | Line::CompleteBareLf(line) => {
                self.proceed(exchange.respond(&Response::new(line)))
            }
        };
        self.enforce_limits();
        true
    }

    fn proceed(&mut self, progress: Result<Progress, ExchangeError>) -> State {
        let accept_any = self.client.policy.authentication == Authentication::AcceptAny;
        match progress {
            Ok(Progress::Challenge(exchange)) => {
                self.answer(&reply::challenge(&exchange), State::LoggingIn(exchange))
            }
            Ok(Progress::Complete(credentials) | Progress::OtherIdentity(credentials))
                if accept_any =>
            {
                self.logged_in(credentials.login)
            }
            Ok(Progress::Complete(credentials)) => self.ask(credentials),
            Ok(Progress::OtherIdentity(_)) => self.not_logged_in(LoginRefusal::Wrong),
            Err(ExchangeError::Cancelled) => self.object(&reply::login_cancelled(), State::Ready),
            Err(ExchangeError::Malformed) => {
                self.object(&reply::malformed_response(), State::Ready)
            }
        }
    }

    fn ask(&mut self, credentials: Credentials) -> State {
        let login = credentials.login.clone();
        self.due = Some(Step::Authenticate(credentials));
        State::Authenticating { login }
    }

    pub(super) fn logged_in(&mut self, login: String) -> State {
        self.login = Some(login);
        self.answer(&reply::authenticated(), State::Ready)
    }

    pub(super) fn not_logged_in(&mut self, refusal: LoginRefusal) -> State {
        if refusal == LoginRefusal::Unavailable {
            return self.answer(&reply::login_unavailable(), State::Ready);
        }
        self.login_failures += 1;
        let next = self.object(&reply::login_refused(), State::Ready);
        if self.login_failures < LOGIN_FAILURES_MAX {
            return next;
        }
        self.answer(&reply::too_many_logins(&self.options.hostname), State::Closed)
    }
}

/// Wipes a command line, which may hold a password.
pub(super) fn wipe(line: &mut [u8]) {
    line.zeroize();
}
