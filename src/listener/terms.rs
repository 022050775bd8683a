//! The terms by which a connection is served, from its beginning to its end: options, and what is in the files they name.
//!
//! Rule: read whole before they hold; a changed configuration makes new ones for the connections that come after it.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use thiserror::Error;

use super::{
    limits,
    options::Options,
    throughput::Rates,
    tls::{Tls, TlsError},
    users::{Users, UsersError},
};
use crate::{clock::Clock, message::excerpt::Wanted, rules::hint, smtp::server};

/// Why the acceptor cannot be opened although its sockets are there.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The certificate or its key cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The users cannot be read.
    #[error("{0}")]
    Users(#[from] UsersError),
}

/// What the configuration says of clients, with what is in the files that it names.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) options: Options,
    pub(super) session: Arc<server::Options>,
    pub(super) tls: Option<Tls>,
    pub(super) users: Option<Users>,
    /// The fields of a message by which it is judged; `None` when nothing judges.
    pub(super) wanted: Option<Arc<Wanted>>,
    rates: OnceLock<Rates>,
}

impl Terms {
    /// Certificate and users are read.
    pub(super) fn open(options: Options) -> Result<Self, OpenError> {
        Ok(Self {
            tls: options.tls.clone().map(Tls::open).transpose()?,
            users: options.users_file.as_deref().map(Users::open).transpose()?,
            session: Arc::new(options.session.clone()),
            wanted: wanted(&options),
            rates: OnceLock::new(),
            options,
        })
    }

    /// What clients of the networks may hand in a minute, counted from the first question on.
    pub(super) fn rates(&self, clock: &Arc<dyn Clock>) -> &Rates {
        self.rates.get_or_init(|| Rates::new(&self.options.networks, Arc::clone(clock)))
    }

    /// A client, as its places are counted.
    pub(super) fn limit_key(&self, address: IpAddr) -> limits::LimitKey {
        limits::LimitKey::of_address(address, self.options.policy_of(address).trusted)
    }
}

fn wanted(options: &Options) -> Option<Arc<Wanted>> {
    if options.priority_hints {
        let mut wanted = (**options.rules.wanted()).clone();
        hint::want(&mut wanted);
        return Some(Arc::new(wanted));
    }
    (!options.rules.is_empty()).then(|| Arc::clone(options.rules.wanted()))
}
