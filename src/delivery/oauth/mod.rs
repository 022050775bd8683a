//! Access tokens: how the first one is had, how the next ones are, and when there will be none any more.
//!
//! Rule: a refresh token is given up only when its endpoint says in so many words that it is dead; an endpoint
//! that is down costs a pause and nothing else (docs/gmail.md section 4.3). Must not know SMTP, nor how a token is
//! put on its wire.
//!
//! [`consent`] has the first token made with a browser, [`device`] with a code that is entered on any other device,
//! `token_file` keeps it, [`tokens`] hands out access tokens
//! and refreshes them, `of_all` shares them with the other hosts of a fleet and `seal` hides them meanwhile, `service_account` and
//! `certificate` do without a browser, `protocol` has the words of OAuth 2.0, [`issuer`] what differs between providers,
//! `exchange` asks the endpoints over [`super::https`].

mod certificate;
pub(crate) mod client_file;
pub(crate) mod consent;
pub(crate) mod device;
mod error;
pub(crate) mod exchange;
mod issuer;
mod microsoft;
mod of_all;
mod options;
mod protocol;
mod refusal;
mod seal;
pub(crate) mod service_account;
pub mod token_file;
pub mod tokens;
mod web_token;

pub use super::https::{Endpoint, Limits};

pub use self::{
    error::{Kind, TokenError},
    issuer::Issuer,
    options::{ClientSource, Endpoints, Grant, Options, SecretSource},
    tokens::{AccessToken, Tokens},
};
