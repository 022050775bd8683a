//! A changed configuration, handed to the parts of a daemon that runs.
//!
//! Rule: all of it or nothing: what can fail, such as a certificate, is read before the first part is told. Nobody's
//! connection ends by it.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    admin::{
        accounts::AccountFacts,
        alert::outputs,
        context::Facts,
        reload::{Answer, Reload},
        weekly::memory,
    },
    budget::AccountKey,
    clock::{Clock, Moment},
    delivery::PoolHandle,
    fleet::Fleet,
    listener::{Listener, ListenerHandle, OpenError},
    live::Live,
    notices,
    queue::Queue,
    settings::{ReloadError, Reloaded, Settings},
    telemetry::LogLevel,
};

/// Where in its directory the queue puts damaged files.
const DAMAGED: &str = "damaged";

/// Reads the configuration anew, given the one that holds.
type Read = Box<dyn Fn(&Settings) -> Result<Reloaded, ReloadError> + Send + Sync>;

/// The parts that can go on with other options.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) listener: ListenerHandle,
    /// Of every account.
    pub(super) pools: Vec<(AccountKey, PoolHandle)>,
    /// What they share with other hosts.
    pub(super) fleet: Option<Arc<Fleet>>,
    pub(super) store: Arc<Queue>,
    pub(super) notices: Live<notices::Options>,
    pub(super) alert: Live<outputs::Options>,
    pub(super) report: Live<memory::Options>,
    pub(super) facts: Live<Facts>,
    pub(super) log_level: LogLevel,
    /// The configuration that holds.
    pub(super) settings: Live<Settings>,
}

impl Parts {
    /// The parts of a daemon that starts.
    pub(super) fn new(
        settings: &Settings,
        listener: &Listener,
        (pools, fleet): (Vec<(AccountKey, PoolHandle)>, Option<Arc<Fleet>>),
        store: &Arc<Queue>,
        clock: &dyn Clock,
    ) -> Self {
        let local_socket = listener.local_socket().map(Path::to_owned);
        Self {
            listener: listener.handle(),
            pools,
            fleet,
            store: Arc::clone(store),
            notices: Live::new(settings.notices.clone()),
            alert: Live::new(settings.alert.clone()),
            report: Live::new(settings.report.clone()),
            facts: Live::new(facts(settings, clock.now(), listener.addresses(), local_socket)),
            log_level: LogLevel::of_this_process(settings.telemetry.level),
            settings: Live::new(settings.clone()),
        }
    }

    /// Tells every part.
    ///
    /// # Errors
    /// A file that the configuration names cannot be used; nothing has changed.
    fn apply(
        &self,
        Reloaded { settings, applied, at_a_start }: Reloaded,
    ) -> Result<Reload, OpenError> {
        let prepared = self.listener.prepare(settings.listener.clone())?;
        self.listener.apply(prepared);
        for (_, delivery, _) in settings.all_accounts() {
            let pool = self.pools.iter().find(|(account, _)| *account == delivery.account);
            if let Some((_, pool)) = pool {
                pool.apply(delivery.clone());
            }
        }
        self.store.set_accounts(settings.routes());
        self.store.set_room(&settings.queue);
        self.store.set_fairness(settings.queue.fairness.clone());
        self.notices.set(settings.notices.clone());
        self.report.set(settings.report.clone());
        // Whoever watches starts its judgement anew, so it is told only of what concerns it.
        if applied.iter().any(|key| key.starts_with("alert.")) {
            self.alert.set(settings.alert.clone());
        }
        let Facts { started, listening, local_socket, .. } = Facts::clone(&self.facts.get());
        self.facts.set(facts(&settings, started, listening, local_socket));
        self.log_level.configure(settings.telemetry.level);
        if applied.iter().any(|key| key.starts_with("rule.") || key.starts_with("route.")) {
            warn_of_unreached(&settings);
        }
        self.settings.set(settings);
        Ok(Reload { applied, at_a_start })
    }
}

/// A rule or a route that never strikes, or an account that is never taken, is a mistake that nobody sees: mail goes on as before.
pub(super) fn warn_of_unreached(settings: &Settings) {
    for (rule, earlier) in settings.listener.rules.unreached() {
        let remedy = "write the rule with more conditions first, or remove one of the two";
        tracing::warn!(
            rule,
            earlier,
            remedy,
            "a rule is never reached: the earlier one takes all of its mail"
        );
    }
    for (route, earlier) in settings.listener.rules.unreached_routes() {
        let remedy = "write the route with more conditions first, or remove one of the two";
        tracing::warn!(
            route,
            earlier,
            remedy,
            "a route is never reached: the earlier one takes all of its mail"
        );
    }
    for account in settings.idle_accounts() {
        let remedy = "name it in accounts of a [[route]], or remove it";
        tracing::warn!(account, remedy, "an account has no mail: no route names it");
    }
}

/// What does not change while the daemon runs, but by a changed configuration.
fn facts(
    settings: &Settings,
    started: Moment,
    listening: Vec<SocketAddr>,
    local_socket: Option<PathBuf>,
) -> Facts {
    let all = settings.all_accounts();
    let all = all.map(|(name, delivery, reserve)| AccountFacts::new(name, delivery, reserve));
    Facts {
        started,
        listening,
        local_socket,
        accounts: all.collect(),
        hostname: settings.notices.hostname.clone(),
        networks: settings.listener.networks.clone().into(),
        rules: Arc::clone(&settings.listener.rules),
        configured: Arc::new(settings.configured()),
        damaged: settings.queue.directory.join(DAMAGED),
        largest_message: settings.listener.session.max_message_bytes,
    }
}

/// Who knows where the configuration comes from.
pub(super) struct Reader(Read);

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reader")
    }
}

impl Reader {
    pub(super) fn new(
        read: impl Fn(&Settings) -> Result<Reloaded, ReloadError> + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(read))
    }

    /// Reads the configuration and tells the parts; says in the log what became of it.
    pub(super) fn carry_out(&self, parts: &Parts) -> Answer {
        let read = (self.0)(&parts.settings.get()).map_err(|error| error.to_string());
        let answer =
            read.and_then(|reloaded| parts.apply(reloaded).map_err(|error| error.to_string()));
        match &answer {
            Ok(Reload { applied, at_a_start }) => {
                let (applied, waiting) = (applied.join(" "), at_a_start.join(" "));
                if applied.is_empty() && waiting.is_empty() {
                    tracing::info!("the configuration has not changed");
                } else if waiting.is_empty() {
                    tracing::info!(applied, "configuration read anew");
                } else {
                    let remedy = "restart the daemon for these";
                    tracing::warn!(applied, waiting, remedy, "configuration read anew");
                }
            }
            Err(error) => {
                let remedy = "mend it and reload again (pillarbox check shows it); the running configuration stays";
                tracing::error!(error, remedy, "the configuration cannot be used");
            }
        }
        answer
    }
}
