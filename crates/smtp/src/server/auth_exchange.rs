//! The exchange of AUTH: PLAIN (RFC 4616) and LOGIN, from base64 to [`Credentials`] (RFC 4954).
//!
//! Rule: a password is a `Secret` as soon as it is decoded, and whatever it passed through is wiped.
//! Must not know which login is right, or who may try one.

use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD};
use zeroize::Zeroizing;

use super::peer::Credentials;
use crate::secret::Secret;

/// Octets of a login name: those of a mail address. It goes into the log and the envelope.
pub const LOGIN_BYTES_MAX: usize = 320;

/// A mechanism that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Name and password in one response.
    Plain,
    /// Name and password in two; never standardised, and all that some devices know.
    Login,
}

impl Mechanism {
    /// Reads its name, in any case.
    #[must_use]
    pub fn read(name: &str) -> Option<Self> {
        [("PLAIN", Self::Plain), ("LOGIN", Self::Login)]
            .into_iter()
            .find_map(|(known, mechanism)| known.eq_ignore_ascii_case(name).then_some(mechanism))
    }
}

/// What a client sent in base64, before it is decoded. It prints as stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Response(Zeroizing<Vec<u8>>);

impl Response {
    /// Takes the line, or the rest of the AUTH command.
    #[must_use]
    pub fn new(text: Vec<u8>) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The client gives up: a line with only an asterisk.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.trim_ascii() == b"*"
    }

    /// The octets; some devices forget the padding.
    fn decode(&self) -> Result<Zeroizing<Vec<u8>>, ExchangeError> {
        let text = self.0.trim_ascii();
        BASE64
            .decode(text)
            .or_else(|_| BASE64_NOPAD.decode(text))
            .map(Zeroizing::new)
            .map_err(|_| ExchangeError::Malformed)
    }

    /// An initial response that is empty is written as an equals sign (RFC 4954 section 4).
    fn of_initial(self) -> Self {
        if *self.0 == b"=" { Self::new(Vec::new()) } else { self }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// An exchange that waits for the client's next response.
#[derive(Debug, PartialEq, Eq)]
pub enum Exchange {
    /// PLAIN: for all of it.
    Plain,
    /// LOGIN: for the name.
    LoginName,
    /// LOGIN: for the password.
    LoginPassword {
        /// The name.
        login: String,
    },
}

/// What a response led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The server asks for the next response.
    Challenge(Exchange),
    /// The client has said everything.
    Complete(Credentials),
    /// So it has, but it wants to act for somebody else than the one who logs in.
    OtherIdentity(Credentials),
}

/// Why an exchange fails before anybody looks at the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeError {
    /// The client gave up.
    Cancelled,
    /// Not base64, or not what the mechanism asks for.
    Malformed,
}

impl Exchange {
    /// Begins an exchange, with the initial response if there is one.
    pub fn begin(
        mechanism: Mechanism,
        initial: Option<Response>,
    ) -> Result<Progress, ExchangeError> {
        let exchange = match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Login => Self::LoginName,
        };
        match initial {
            None => Ok(Progress::Challenge(exchange)),
            Some(response) => exchange.respond(&response.of_initial()),
        }
    }

    /// The text of the 334 that asks for the next response. Some devices compare it (Xerox).
    #[must_use]
    pub fn challenge(&self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::LoginName => "VXNlcm5hbWU6",
            Self::LoginPassword { .. } => "UGFzc3dvcmQ6",
        }
    }

    /// Takes the client's response.
    pub fn respond(self, response: &Response) -> Result<Progress, ExchangeError> {
        if response.is_cancelled() {
            return Err(ExchangeError::Cancelled);
        }
        let octets = response.decode()?;
        match self {
            Self::Plain => plain(&octets),
            Self::LoginName => {
                let login = login_name(&octets)?;
                Ok(Progress::Challenge(Self::LoginPassword { login }))
            }
            Self::LoginPassword { login } => {
                Ok(Progress::Complete(Credentials { login, password: password(&octets) }))
            }
        }
    }
}

/// `authorization identity NUL name NUL password`; the first should be empty or equal to the second.
fn plain(octets: &[u8]) -> Result<Progress, ExchangeError> {
    let mut parts = octets.splitn(3, |octet| *octet == 0);
    let (Some(identity), Some(name), Some(secret)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(ExchangeError::Malformed);
    };
    let credentials = Credentials { login: login_name(name)?, password: password(secret) };
    if identity.is_empty() || identity == name {
        Ok(Progress::Complete(credentials))
    } else {
        Ok(Progress::OtherIdentity(credentials))
    }
}

fn login_name(octets: &[u8]) -> Result<String, ExchangeError> {
    let mut name = text(octets);
    let name = std::mem::take(&mut *name);
    if name.len() > LOGIN_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(ExchangeError::Malformed);
    }
    Ok(name)
}

fn password(octets: &[u8]) -> Secret {
    Secret::new(std::mem::take(&mut *text(octets)))
}

/// UTF-8, or else Latin-1, which is what devices without UTF-8 send. Room is made beforehand, so that no
/// copy stays behind.
fn text(octets: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * octets.len()));
    match std::str::from_utf8(octets) {
        Ok(known) => text.push_str(known),
        Err(_) => text.extend(octets.iter().copied().map(char::from)),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(octets: &[u8]) -> Response {
        Response::new(BASE64.encode(octets).into_bytes())
    }

    fn credentials(login: &str, password: &str) -> Progress {
        Progress::Complete(Credentials {
            login: login.into(),
            password: Secret::new(password.into()),
        })
    }

    #[test]
    fn plain_takes_name_and_password_from_one_response() {
        for (octets, expected) in [
            (b"\0joe\0secret".as_slice(), Ok(credentials("joe", "secret"))),
            (b"joe\0joe\0secret", Ok(credentials("joe", "secret"))),
            // A password may contain anything, even nothing.
            (b"\0joe\0se\0cret", Ok(credentials("joe", "se\0cret"))),
            (b"\0joe\0", Ok(credentials("joe", ""))),
            // UTF-8, and Latin-1 for the same word.
            ("\0jörg\0gr\u{fc}n".as_bytes(), Ok(credentials("jörg", "gr\u{fc}n"))),
            (b"\0joe\0gr\xfcn", Ok(credentials("joe", "gr\u{fc}n"))),
            (
                b"admin\0joe\0secret",
                Ok(Progress::OtherIdentity(Credentials {
                    login: "joe".into(),
                    password: Secret::new("secret".into()),
                })),
            ),
            (b"", Err(ExchangeError::Malformed)),
            (b"joe\0secret", Err(ExchangeError::Malformed)),
            (b"\0j\ne\0secret", Err(ExchangeError::Malformed)),
        ] {
            assert_eq!(Exchange::begin(Mechanism::Plain, Some(response(octets))), expected);
            assert_eq!(Exchange::Plain.respond(&response(octets)), expected);
        }
    }

    #[test]
    fn login_asks_twice() {
        let Ok(Progress::Challenge(name)) = Exchange::begin(Mechanism::Login, None) else {
            panic!("no challenge");
        };
        assert_eq!(name.challenge(), BASE64.encode(b"Username:"));
        let Ok(Progress::Challenge(password)) = name.respond(&response(b"joe")) else {
            panic!("no challenge");
        };
        assert_eq!(password.challenge(), BASE64.encode(b"Password:"));
        assert_eq!(password.respond(&response(b"secret")), Ok(credentials("joe", "secret")));
        // The name as initial response.
        assert_eq!(
            Exchange::begin(Mechanism::Login, Some(response(b"joe"))),
            Ok(Progress::Challenge(Exchange::LoginPassword { login: "joe".into() }))
        );
    }

    #[test]
    fn an_equals_sign_is_an_empty_initial_response_and_nothing_later() {
        assert_eq!(
            Exchange::begin(Mechanism::Login, Some(Response::new(b"=".into()))),
            Ok(Progress::Challenge(Exchange::LoginPassword { login: String::new() }))
        );
        assert_eq!(
            Exchange::LoginName.respond(&Response::new(b"=".into())),
            Err(ExchangeError::Malformed)
        );
    }

    #[test]
    fn padding_may_be_missing_and_the_rest_must_be_base64() {
        for text in ["am8=", "am8", " am8= "] {
            let expected = Ok(Progress::Challenge(Exchange::LoginPassword { login: "jo".into() }));
            assert_eq!(
                Exchange::LoginName.respond(&Response::new(text.into())),
                expected,
                "{text}"
            );
        }
        for text in ["am8==", "a", "am 8", "am8\u{fc}", "!!!!"] {
            let expected = Err(ExchangeError::Malformed);
            assert_eq!(
                Exchange::LoginName.respond(&Response::new(text.into())),
                expected,
                "{text}"
            );
        }
        assert_eq!(
            Exchange::Plain.respond(&Response::new(b"*".into())),
            Err(ExchangeError::Cancelled)
        );
        let long = "x".repeat(LOGIN_BYTES_MAX + 1);
        assert_eq!(
            Exchange::LoginName.respond(&response(long.as_bytes())),
            Err(ExchangeError::Malformed)
        );
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let shown = format!("{:?} {:?}", response(b"secret"), credentials("joe", "secret"));
        assert!(!shown.contains("secret") && !shown.contains("c2VjcmV0"), "{shown}");
    }
}
