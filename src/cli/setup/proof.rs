//! The proof of a login: the way that mail goes, up to the login and out again, and which question could mend a refusal.
//!
//! Rule: by the same code as the relay and `pillarbox doctor`; nothing is sent and no budget is spent. It has one limit in
//! time.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{providers::Login, questions::Name};
use crate::{
    cli::runtime::Runtime,
    clock::{Clock, SystemClock},
    delivery::{
        Limits, Options, PasswordSource, Way,
        inspection::{self, Link},
        oauth::{Grant, token_file::TokenFile},
    },
    exit::Failure,
    settings::Settings,
};

/// For one connection, one reply, and all of it.
const CONNECT: Duration = Duration::from_secs(10);
const REPLY: Duration = Duration::from_secs(15);
const WHOLE: Duration = Duration::from_secs(60);

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The upstream took the login; without one it was reached.
    Proved,
    /// The account's owner has not consented yet.
    NeedsConsent,
    /// It did not.
    Refused {
        /// Whether it was the login, or the way to it.
        is_login: bool,
        reason: String,
        remedy: String,
    },
}

/// Tries it.
pub(super) fn prove(settings: &Settings) -> Result<Proof, Failure> {
    if lacks_consent(settings) {
        return Ok(Proof::NeedsConsent);
    }
    let delivery = &settings.delivery;
    let limits = Limits {
        connect: CONNECT,
        command: REPLY,
        password_command: REPLY,
        ..delivery.limits.clone()
    };
    let options = Options { limits, ..delivery.clone() };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let runtime = Runtime::of_a_question()?;
    let proof = runtime.block_on(async {
        match timeout(WHOLE, log_in(&options, &clock)).await {
            Ok(proof) => proof,
            Err(_) => Proof::Refused {
                is_login: false,
                reason: format!("{} did not answer within {} s", options.host, WHOLE.as_secs()),
                remedy: "See where the way ends: pillarbox doctor".to_owned(),
            },
        }
    });
    runtime.stop();
    Ok(proof)
}

async fn log_in(options: &Options, clock: &Arc<dyn Clock>) -> Proof {
    let configured = Way { port: options.port, tls: options.tls };
    let mut result = inspection::log_in(options, configured, clock).await;
    let is_unreachable = matches!(&result, Err(broken) if broken.link == Link::Network);
    // As the relay does: some providers block one of the two ports.
    if let (true, Some(other)) = (is_unreachable, options.other_way) {
        result = inspection::log_in(options, other, clock).await.or(result);
    }
    match result {
        Ok(()) => Proof::Proved,
        Err(broken) => Proof::Refused {
            is_login: broken.link == Link::Login,
            reason: broken.reason,
            remedy: broken.remedy,
        },
    }
}

fn lacks_consent(settings: &Settings) -> bool {
    let login = settings.delivery.login.as_ref();
    let Some(PasswordSource::Tokens(options)) = login.map(|login| &login.password) else {
        return false;
    };
    match &options.grant {
        Grant::Refresh { token_file, .. } => {
            TokenFile::new(token_file.clone(), options.issuer).read().is_err()
        }
        Grant::ServiceAccount { .. } | Grant::Application { .. } => false,
    }
}

/// What can be done about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mend {
    /// Ask this question again.
    Ask(Name),
    /// Try once more as it is.
    Again,
    /// Leave it unproved.
    GoOn,
    /// Stop here.
    Stop,
}

impl Mend {
    /// For a person.
    pub(super) fn words(self) -> String {
        match self {
            Self::Ask(Name::Password) => "enter the password again".to_owned(),
            Self::Ask(Name::Account) => "name another account".to_owned(),
            Self::Ask(Name::Login) => "log in in another way".to_owned(),
            Self::Ask(Name::Host) => "name another server".to_owned(),
            Self::Ask(_) => "name another file".to_owned(),
            Self::Again => "try once more".to_owned(),
            Self::GoOn => "go on all the same".to_owned(),
            Self::Stop => "stop here; a later call goes on".to_owned(),
        }
    }
}

/// What was asked beside the account.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    /// How to log in.
    pub(super) login: bool,
    /// The server.
    pub(super) host: bool,
}

/// The ways out, the likeliest first.
pub(super) fn mends(is_login: bool, login: Option<Login>, asked: Asked) -> Vec<Mend> {
    let secret = match login {
        Some(Login::AppPassword) => Some(Name::Password),
        Some(Login::Consent) => Some(Name::ClientFile),
        Some(Login::ServiceAccount) => Some(Name::KeyFile),
        Some(Login::None) | None => None,
    };
    let others = [Name::Account].into_iter().chain(asked.login.then_some(Name::Login));
    let names = secret.into_iter().chain(others);
    let names = names.filter(|_| is_login && login != Some(Login::None)).map(Mend::Ask);
    let host = Some(Mend::Ask(Name::Host)).filter(|_| asked.host && !is_login);
    names.chain([Mend::Again]).chain(host).chain([Mend::GoOn, Mend::Stop]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_password_leads_to_the_password_and_a_lost_network_to_another_attempt() {
        let asked = Asked { login: true, host: false };
        let first = |is_login, login| mends(is_login, Some(login), asked)[0];
        assert_eq!(first(true, Login::AppPassword), Mend::Ask(Name::Password));
        assert_eq!(first(true, Login::Consent), Mend::Ask(Name::ClientFile));
        assert_eq!(first(true, Login::ServiceAccount), Mend::Ask(Name::KeyFile));
        assert_eq!(first(false, Login::AppPassword), Mend::Again);
        assert_eq!(first(true, Login::None), Mend::Again);
        let names = |asked| mends(false, Some(Login::AppPassword), asked);
        assert!(!names(asked).contains(&Mend::Ask(Name::Host)));
        assert!(names(Asked { host: true, ..asked }).contains(&Mend::Ask(Name::Host)));
    }
}
