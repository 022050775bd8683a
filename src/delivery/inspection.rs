//! A look at the upstream that sends nothing: where its name leads, what it says of itself, whether it takes the login.
//!
//! Rule: it goes the way that mail goes, with the same trust and the same credential. A login of a running relay counts like
//! those of its mail and is left out where mail needs them, or while the account is paused: a refused password that is
//! tried again brings the account nearer to being locked.

use std::{io, net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

pub(crate) use super::sight::Sight;
use super::{
    account_failure,
    answer::{Answer, Fault, Stage, StageCell},
    classify::classify,
    connection::Connection,
    names,
    options::{Options, Way},
    parting::Parting,
    provider::Provider,
    seating::Seated,
    shared::{self, Shared},
    tls::Trust,
};
use crate::{
    addressed::addressed, clock::Clock, fleet::Seat, queue::state::AccountCondition, sync::lock,
};

/// Which link of the way is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// The network.
    Network,
    /// TLS, or the trust in the server.
    Tls,
    /// The dialogue.
    Dialogue,
    /// The login.
    Login,
}

/// Why the way ends there.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    /// Where.
    pub(crate) link: Link,
    /// What happened.
    pub(crate) reason: String,
    /// What to do.
    pub(crate) remedy: String,
}

impl Broken {
    fn of(provider: Provider, answer: &Answer) -> Self {
        let verdict = classify(provider, answer);
        let (reason, remedy) = account_failure::of(answer, &verdict, true).map_or_else(
            || (answer.to_string(), verdict.remedy.to_owned()),
            |failure| (failure.reason, failure.remedy),
        );
        Self { link: link(answer), reason, remedy }
    }
}

fn link(answer: &Answer) -> Link {
    let (stage, fault) = match answer {
        Answer::Replied { stage, .. } => (*stage, None),
        Answer::Broken { stage, fault, .. } => (*stage, Some(fault.itself())),
        Answer::Unsendable { .. } => return Link::Dialogue,
    };
    match (stage, fault) {
        (Stage::Auth, _) => Link::Login,
        (_, Some(Fault::Unreachable(_))) => Link::Network,
        (
            _,
            Some(
                Fault::Certificate(_)
                | Fault::PlainText
                | Fault::TlsFirst
                | Fault::NoStarttls
                | Fault::Injected
                | Fault::Configuration(_),
            ),
        )
        | (Stage::Connect | Stage::Starttls, _) => Link::Tls,
        _ => Link::Dialogue,
    }
}

/// The addresses of a name, in the resolver's order.
pub(crate) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    names::addresses(host, port).await
}

/// Goes the way up to where a login would follow, and says goodbye.
pub(crate) async fn look(options: &Options, way: Way) -> Result<Sight, Broken> {
    let trust = Trust::new(options.ca_file.clone());
    let opened = Connection::open(options, way, &trust, &StageCell::new()).await;
    let connection = opened
        .map_err(|answer| Broken::of(options.provider, &answer.at(&options.host, way.port)))?;
    let sight = connection.sight();
    connection.quit().await;
    Ok(sight)
}

/// Logs in without a relay that counts logins, and says goodbye.
pub(crate) async fn log_in(
    options: &Options,
    way: Way,
    clock: &Arc<dyn Clock>,
) -> Result<(), Broken> {
    let (trust, stage) = (Trust::new(options.ca_file.clone()), StageCell::new());
    let logged_in = async {
        let tokens = shared::tokens(options, clock);
        let credential = Connection::credential(options, tokens.as_ref()).await?;
        let mut connection = Connection::open(options, way, &trust, &stage).await?;
        if let Some(credential) = credential {
            connection.log_in(&credential, options, way, &stage).await?;
        }
        connection.quit().await;
        Ok(())
    };
    logged_in
        .await
        .map_err(|answer: Answer| Broken::of(options.provider, &answer.at(&options.host, way.port)))
}

/// What a running relay says of its login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "login")]
pub(crate) enum LoginProof {
    /// The upstream took it.
    Accepted,
    /// It did not, or was not asked.
    Failed {
        /// What happened.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// It was not tried.
    LeftOut {
        /// Why.
        why: String,
    },
}

/// Proves the login of a running relay.
pub(super) async fn prove(shared: &Shared) -> LoginProof {
    if let Some(why) = obstacle(shared) {
        return LoginProof::LeftOut { why };
    }
    let seat = match shared.ask_for_a_seat().await {
        Seated::Alone => None,
        Seated::With(seat) => Some(seat),
        Seated::Refused => {
            let why = "all connections and logins that the hosts of the fleet share are for mail just now, or the fleet's \
                       database cannot be asked";
            return LoginProof::LeftOut { why: why.to_owned() };
        }
    };
    match prove_now(shared, seat).await {
        Ok(()) => LoginProof::Accepted,
        Err(answer) => {
            let Broken { reason, remedy, .. } = Broken::of(shared.options().provider, &answer);
            LoginProof::Failed { reason, remedy: addressed(&remedy, &shared.name) }
        }
    }
}

fn obstacle(shared: &Shared) -> Option<String> {
    if shared.options().login.is_none() {
        return Some("no login is configured".into());
    }
    let (account, now) = (shared.account_state(), shared.now().wall);
    if let Some(pause) = account.pause(now) {
        let words = format!("the relay is {}", pause.words(|at| at.to_string()));
        return Some(addressed(&words, &shared.name));
    }
    if account.condition != AccountCondition::Open {
        return Some(format!("the account is {}: {}", account.condition.name(), account.reason));
    }
    let scarce = !shared.login_wait().is_zero() || !shared.has_logins_to_spare();
    scarce.then(|| "what is left of this hour's logins is for mail".to_owned())
}

async fn prove_now(shared: &Shared, seat: Option<Seat>) -> Result<(), Answer> {
    let (options, stage) = (&shared.options(), StageCell::new());
    let credential = Connection::credential(options, shared.tokens.as_ref()).await?;
    let counts = options.counts_logins();
    if counts {
        // Counted before anything can wait: two that ask at once are two.
        shared.logins.take();
    }
    let way = lock(&shared.port_fallback).next(shared.clock.now().since_boot_ms).first().copied();
    let way = way.unwrap_or(Way { port: options.port, tls: options.tls });
    let opened = Connection::open(options, way, &shared.trust, &stage).await;
    let named = |answer: Answer| answer.at(&options.host, way.port);
    let mut connection = opened.map_err(|answer| {
        if counts {
            shared.logins.untake();
        }
        named(answer)
    })?;
    if let Some(credential) = credential {
        if let Err(problem) = shared.persist_once().await {
            tracing::debug!(error = %problem, "the login was not noted");
        }
        if seat.as_ref().is_some_and(|seat| !seat.may_log_in()) {
            let reason = "opening the connection took too long, so no login was made".into();
            return Err(named(Answer::Unsendable { reason }));
        }
        connection.log_in(&credential, options, way, &stage).await.map_err(named)?;
    }
    shared.part(Parting::new(connection, seat));
    Ok(())
}
