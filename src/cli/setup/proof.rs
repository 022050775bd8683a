//! The proof of a login: the way that mail goes, up to the login and out again, and which question could mend a refusal.
//!
//! Rule: by the same code as the relay and `pillarbox doctor`; nothing is sent and no budget is spent. It has one limit in
//! time.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    providers::{Login, Place, asks_host, asks_login, may_use_https},
    questions::Name,
};
use crate::{
    cli::runtime::Runtime,
    clock::{Clock, SystemClock},
    delivery::{
        Limits, Options, PasswordSource, Way,
        inspection::{self, Link},
        oauth::{Grant, token_file::TokenFile},
        provider::Provider,
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
        /// Where the way ended.
        link: Link,
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
                link: Link::Network,
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
        let by_other = inspection::log_in(options, other, clock).await;
        let is_as_bad = matches!(&by_other, Err(broken) if broken.link == Link::Network);
        result = if is_as_bad { result } else { by_other };
    }
    match result {
        Ok(()) => Proof::Proved,
        Err(broken) => {
            Proof::Refused { link: broken.link, reason: broken.reason, remedy: broken.remedy }
        }
    }
}

fn lacks_consent(settings: &Settings) -> bool {
    let Some(login) = settings.delivery.login.as_ref() else { return false };
    let PasswordSource::Tokens(options) = &login.password else { return false };
    match &options.grant {
        Grant::Refresh { token_file, .. } => {
            let stored = TokenFile::new(token_file.clone(), options.issuer).read();
            // That of another account lets nobody in.
            stored.map_or(true, |stored| !stored.username.eq_ignore_ascii_case(&login.username))
        }
        Grant::ServiceAccount { .. } | Grant::Application { .. } => false,
    }
}

/// What can be done about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mend {
    /// Ask this question again.
    Ask(Name),
    /// Have the account's owner consent once more.
    Consent,
    /// Send by the Gmail API instead.
    OverHttps,
    /// Try once more as it is.
    Again,
    /// Leave it unproved.
    GoOn,
    /// Stop here.
    Stop,
}

impl Mend {
    /// The question that it answers otherwise.
    pub(super) fn question(self) -> Option<Name> {
        match self {
            Self::Ask(name) => Some(name),
            Self::OverHttps => Some(Name::Transport),
            Self::Consent | Self::Again | Self::GoOn | Self::Stop => None,
        }
    }

    /// What whoever cannot be asked may do about it, where the remedy of the refusal does not say it.
    pub(super) fn flags(self) -> Option<&'static str> {
        (self == Self::OverHttps).then_some(
            "Where HTTPS is open, mail can leave by the Gmail API: --transport gmail-api (docs/https.md)",
        )
    }

    /// For a person.
    pub(super) fn words(self) -> String {
        match self {
            Self::Ask(Name::Password) => "enter the password again".to_owned(),
            Self::Ask(Name::Account) => "name another account".to_owned(),
            Self::Ask(Name::Login) => "log in in another way".to_owned(),
            Self::Ask(Name::Host) => "name another server".to_owned(),
            Self::Ask(Name::ClientId) => "enter another application (client) id".to_owned(),
            Self::Ask(Name::Tenant) => "enter another directory (tenant) id".to_owned(),
            Self::Consent => "consent once more".to_owned(),
            Self::OverHttps => {
                "send over HTTPS instead, by the Gmail API (docs/https.md)".to_owned()
            }
            Self::Ask(_) => "name another file".to_owned(),
            Self::Again => "try once more".to_owned(),
            Self::GoOn => "go on all the same".to_owned(),
            Self::Stop => "stop here; a later call goes on".to_owned(),
        }
    }
}

/// The questions whose answer may be at fault with this login, the likeliest first.
pub(super) fn asked(login: Login, place: Place) -> Vec<Name> {
    let secrets: &[Name] = match (login, place.provider) {
        (Login::AppPassword, _) => &[Name::Password],
        (Login::Consent, Provider::Microsoft365) => &[Name::ClientId, Name::Tenant],
        (Login::Consent, Provider::Outlook) => &[Name::ClientId],
        (Login::Consent, _) => &[Name::ClientFile],
        (Login::ServiceAccount, _) => &[Name::KeyFile],
        (Login::None, _) => return Vec::new(),
    };
    let others = [Name::Account].into_iter().chain(asks_login(place).then_some(Name::Login));
    secrets.iter().copied().chain(others).collect()
}

/// The ways out, the likeliest first.
pub(super) fn mends(link: Link, login: Option<Login>, place: Place) -> Vec<Mend> {
    let is_login = link == Link::Login;
    let names = login.map(|login| asked(login, place)).unwrap_or_default();
    let names = names.into_iter().filter(|_| is_login).map(Mend::Ask);
    let consent = (is_login && login == Some(Login::Consent)).then_some(Mend::Consent);
    let https = link == Link::Network && may_use_https(place.provider) && !place.is_api;
    let https = https.then_some(Mend::OverHttps);
    let host = (!is_login && asks_host(place.provider)).then_some(Mend::Ask(Name::Host));
    consent
        .into_iter()
        .chain(names)
        .chain([Mend::Again])
        .chain(https)
        .chain(host)
        .chain([Mend::GoOn, Mend::Stop])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_password_leads_to_the_password_and_a_lost_network_to_another_attempt() {
        let gmail = Place::from(Provider::Gmail);
        let first = |link, login| mends(link, Some(login), gmail)[0];
        assert_eq!(first(Link::Login, Login::AppPassword), Mend::Ask(Name::Password));
        assert_eq!(first(Link::Login, Login::Consent), Mend::Consent);
        assert_eq!(first(Link::Login, Login::ServiceAccount), Mend::Ask(Name::KeyFile));
        assert_eq!(first(Link::Network, Login::AppPassword), Mend::Again);
        assert_eq!(first(Link::Login, Login::None), Mend::Again);
        let names = |provider: Provider| {
            mends(Link::Dialogue, Some(Login::AppPassword), Place::from(provider))
        };
        assert!(!names(Provider::Gmail).contains(&Mend::Ask(Name::Host)));
        assert!(names(Provider::Custom).contains(&Mend::Ask(Name::Host)));
    }

    #[test]
    fn https_is_offered_where_the_network_ends_the_way_of_a_mailbox_at_google_and_nowhere_else() {
        let offers = |link, place: Place| {
            mends(link, Some(Login::AppPassword), place).contains(&Mend::OverHttps)
        };
        let of = |provider| Place { provider, is_api: false };
        assert!(offers(Link::Network, of(Provider::Gmail)));
        assert!(offers(Link::Network, of(Provider::Workspace)));
        for provider in [Provider::WorkspaceRelay, Provider::Icloud, Provider::Custom] {
            assert!(!offers(Link::Network, of(provider)), "{provider:?}");
        }
        for link in [Link::Tls, Link::Dialogue, Link::Login] {
            assert!(!offers(link, of(Provider::Gmail)), "{link:?}");
        }
        assert!(!offers(Link::Network, Place { provider: Provider::Gmail, is_api: true }));
    }

    #[test]
    fn a_refused_token_of_microsoft_leads_to_another_consent_then_to_the_registration() {
        let ways = mends(Link::Login, Some(Login::Consent), Provider::Microsoft365.into());
        let names = [Name::ClientId, Name::Tenant, Name::Account].map(Mend::Ask);
        assert_eq!(ways[..4], [&[Mend::Consent][..], &names].concat());
    }
}
