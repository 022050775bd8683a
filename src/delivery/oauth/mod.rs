//! Access tokens: how the first one is had, how the next ones are, and when there will be none any more.
//!
//! Rule: a refresh token is given up only when its endpoint says in so many words that it is dead; an endpoint
//! that is down costs a pause and nothing else (docs/gmail.md section 4.3). Must not know SMTP, nor how a token is
//! put on its wire.
//!
//! [`consent`] has the first token made with a browser, `token_file` keeps it, [`tokens`] hands out access tokens
//! and refreshes them, `service_account` and
//! `certificate` do without a browser, `protocol` has the words of OAuth 2.0,
//! `exchange` asks the endpoints over [`super::https`].

mod certificate;
pub(crate) mod client_file;
pub(crate) mod consent;
mod error;
pub(crate) mod exchange;
mod options;
mod protocol;
mod refusal;
pub(crate) mod service_account;
pub mod token_file;
pub mod tokens;
mod web_token;

pub use super::https::{Endpoint, Limits};

pub use self::{
    error::{Kind, TokenError},
    options::{ClientSource, Endpoints, Grant, Options, SCOPE, SecretSource},
    tokens::{AccessToken, Tokens},
};
