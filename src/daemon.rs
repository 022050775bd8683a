//! Wires the modules into the daemon: start in order, stop in order.
//!
//! Rule: the only file that knows all modules. What was started is stopped by its owner: first the door
//! and the workers, within their named times, then the admin socket, last the store. Must not hold
//! policy of its own.

mod reload;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use thiserror::Error;
use tokio::task::JoinSet;

use self::reload::{Parts, Reader};
use crate::{
    admin::{
        self,
        accounts::{Upstream, Upstreams},
        alert::post::Post,
        checkups::Checkups,
        client::Client,
        reload::{Orders, Reloader},
        sessions::Role,
        socket::{MONITORING, Port, PortError, Socket},
        weekly::memory::Reports,
    },
    budget::{AccountKey, MAIN},
    clock::Clock,
    delivery::{self, Pool, PoolHandle},
    doctor,
    fleet::{Fleet, Load, OwnFile},
    listener::{self, BindError, Listener, OpenError},
    live::Live,
    notices::{Notifier, Shares, StormTeller},
    page::{Page, PageError, Rehearsal, Stage},
    queue::{Queue, recovery::QueueOpenError, remembered::HISTORY_MAX},
    sendmail::configured::own_mail_socket,
    settings::{FurtherAccount, ReloadError, Reloaded, Settings},
    shutdown::{Phase, Shutdown, Watch},
    supervision::Supervisor,
    tasks::{self, Mishaps},
    unix_socket::SocketError,
};

/// Between two looks for history that is too old.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);
/// What a stop may take beyond the drain times of listener and pool, before it is made immediate.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);
/// How long a start waits for the account's stored state before it says that it is ready.
const RESTORE_PATIENCE: Duration = Duration::from_secs(2);
/// How long the other hosts of a fleet may take to hear of a stop.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);
/// How long the admin socket may finish the answers it has begun.
const ADMIN_DRAIN: Duration = Duration::from_secs(2);
/// How long closing the store may take: a sync on a slow disk. Everything acknowledged is on disk
/// before; what is cut short is repaired at the next start.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The same after an order to stop at once.
const CLOSE_TIMEOUT_IMMEDIATE: Duration = Duration::from_secs(1);

/// Why the daemon does not start, or ends by itself.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The queue cannot be opened.
    #[error("{0}")]
    Store(#[from] QueueOpenError),
    /// No mail can be taken.
    #[error("{0}")]
    Listener(#[from] BindError),
    /// Clients could not be served as configured.
    #[error("{0}")]
    Door(#[from] OpenError),
    /// The administrator cannot be served.
    #[error("{0}")]
    Admin(#[from] SocketError),
    /// Metrics and probes, or the page, cannot be served.
    #[error("{0}")]
    Http(#[from] PortError),
    /// A part that never ends has ended.
    #[error(
        "the {0} ended by itself, so the daemon stops; everything accepted is on disk. Please report this with the log"
    )]
    Ended(&'static str),
    /// The queue cannot be repaired within this process.
    #[error(
        "the queue has failed: {0}; the daemon stops so that it can be restarted; everything accepted is on disk"
    )]
    Queue(String),
}

impl From<PageError> for DaemonError {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Port(error) => error.into(),
            // Its certificate is the listener's.
            PageError::Tls(error) => OpenError::from(error).into(),
        }
    }
}

/// Makes the process private: no core dump, which could hold a password, and no file for others.
pub(crate) fn harden() {
    use rustix::{
        fs::Mode,
        process::{Resource, Rlimit, setrlimit, umask},
    };
    // Lowering a limit of our own process cannot be refused.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    umask(Mode::RWXG | Mode::RWXO);
}

/// Takes the listening sockets, without taking anything from them. This comes before the queue is
/// opened, so that a port in use costs no recovery of the queue; whoever connects from here on is
/// greeted once the daemon has started.
pub fn bind(settings: &Settings) -> Result<Listener, DaemonError> {
    Ok(Listener::open(settings.listener.clone(), listener::bind(&settings.listener)?)?)
}

/// What answers: the admin socket and the port, the socket for users, and the page.
fn answering(
    settings: &Settings,
    (socket, port, page): (Socket, Option<Port>, Option<Page>),
    sources: &admin::context::Sources,
    stop: &Shutdown,
) -> JoinSet<()> {
    let mut services = JoinSet::new();
    services.spawn(admin::server::serve(socket, port, sources.clone(), stop.watch()));
    if let Some(submit) = &settings.listener.local.socket {
        let (path, stop) = (own_mail_socket(submit), stop.watch());
        services.spawn(admin::own_mail::serve(path, sources.clone(), stop));
    }
    if let Some(page) = page {
        let client = Client::new(settings.admin.socket.clone());
        services.spawn(page.serve(client, sources, stop.watch()));
    }
    services
}

/// How long a stop waits for listener and pools.
fn drain(settings: &Settings) -> Duration {
    let drains = settings.all_accounts().map(|(_, delivery, _)| delivery.drain);
    drains.fold(settings.listener.drain, Duration::max) + DRAIN_MARGIN
}

/// A daemon whose door is open. It works while [`Daemon::run`] is awaited.
#[derive(Debug)]
pub struct Daemon {
    store: Arc<Queue>,
    /// Door and workers: what a stop waits for.
    halves: JoinSet<&'static str>,
    /// What everybody who tells of the relay's state asks.
    sources: admin::context::Sources,
    /// What serves the others until they are done.
    services: Services,
    services_stop: Shutdown,
    shutdown: Shutdown,
    addresses: Vec<SocketAddr>,
    drain: Duration,
    supervisor: Supervisor,
    parts: Parts,
    orders: Orders,
    /// `None` where the configuration is not a file's.
    reader: Option<Reader>,
    /// What its page is told of the sandbox that it belongs to.
    stage: Stage,
}

impl Daemon {
    /// Opens the door, which [`bind`] has found, and starts the workers. The store is open already.
    pub async fn start(
        settings: Settings,
        clock: Arc<dyn Clock>,
        store: Arc<Queue>,
        listener: Listener,
    ) -> Result<Self, DaemonError> {
        let addresses = listener.addresses();
        let Desk { socket, port, page } = Desk::open(&settings.admin, &clock)?;
        let (shutdown, services_stop) = (Shutdown::new(), Shutdown::new());
        let stage = page.as_ref().map(Page::stage).unwrap_or_default();
        let mishaps = listener.mishaps();
        store.set_accounts(settings.routes());
        let mut pools = Pools::new(&settings, &store, &clock, &mishaps);
        // A queue that does not answer in time is asked again by the pools themselves.
        drop(tokio::time::timeout(RESTORE_PATIENCE, pools.restore()).await);
        let (reloader, orders) = admin::reload::channel();
        let parts = Parts::new(&settings, &listener, pools.parts(), &store, clock.as_ref());
        let directory = &settings.queue.directory;
        let sources = admin::context::Sources {
            store: Arc::clone(&store),
            upstreams: pools.upstreams(),
            clients: listener.clients(),
            dropped: listener.dropped(),
            clock: Arc::clone(&clock),
            stop: shutdown.watch(),
            mishaps: mishaps.clone(),
            outlook: Arc::default(),
            reports: Arc::new(Reports::in_directory(directory, parts.report.clone())),
            checkups: Arc::new(Checkups::in_directory(directory)),
            log_level: parts.log_level.clone(),
            facts: parts.facts.clone(),
            reloader,
            alert: parts.alert.clone(),
            post: Arc::new(Post::in_directory(directory)),
            page: page.as_ref().map(Page::place),
            sessions: Arc::default(),
            fleet: parts.fleet.clone(),
        };
        let mut halves = JoinSet::new();
        let (door, stop) = ((Arc::clone(&store), Arc::clone(&clock)), shutdown.watch());
        halves.spawn(async move {
            if let Err(error) = listener.run(door.0, door.1, stop).await {
                tracing::error!(%error, "the listening sockets cannot be used");
            }
            "listener"
        });
        for pool in pools.into_all() {
            let stop = shutdown.watch();
            halves.spawn(async move {
                pool.run(stop).await;
                "delivery pool"
            });
        }
        let services = answering(&settings, (socket, port, page), &sources, &services_stop);
        let services = Services { tasks: services, mishaps, clock }.with(&parts, &sources);
        log_start(&settings, &addresses, store.as_ref()).await;
        let (drain, supervisor) = (drain(&settings), Supervisor::default());
        Ok(Self {
            store,
            sources,
            halves,
            services,
            services_stop,
            shutdown,
            addresses,
            drain,
            supervisor,
            parts,
            orders,
            reader: None,
            stage,
        })
    }

    /// Tells this supervisor that the daemon is ready, and from now on that it lives.
    #[must_use]
    pub(crate) fn supervised(mut self, supervisor: Supervisor) -> Self {
        supervisor.ready();
        let (sources, teller) = (self.sources.clone(), supervisor.clone());
        self.services.tend("signs of life", move |clock| {
            let (sources, teller) = (sources.clone(), teller.clone());
            async move { teller.watch(|| admin::status::line(&sources), clock).await }
        });
        self.supervisor = supervisor;
        self
    }

    /// Lets it read its configuration anew, by `read`, which is given the one that holds.
    #[must_use]
    pub(crate) fn reading(
        mut self,
        read: impl Fn(&Settings) -> Result<Reloaded, ReloadError> + Send + Sync + 'static,
    ) -> Self {
        self.reader = Some(Reader::new(read));
        self
    }

    /// The side that can order it.
    #[must_use]
    pub(crate) fn reloader(&self) -> Reloader {
        self.sources.reloader.clone()
    }

    /// Where mail is taken; with the real port when 0 was asked for.
    #[must_use]
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A link to the page for whoever has started this; `None` without a page.
    pub(crate) fn page_link(&self, person: &str) -> Option<String> {
        let place = self.sources.page.as_deref()?;
        let link = admin::page::link(&self.sources, place, person.to_owned(), Role::Act);
        link.ok().map(|link| link.url)
    }

    /// Lets visitors of its page order trouble of the look-alike that it relays to.
    pub(crate) fn rehearse(&self, rehearsal: Rehearsal) {
        // Whoever was told first stays.
        drop(self.stage.set(rehearsal));
    }

    /// The order to stop: `Draining` lets messages in transfer and attempts in flight finish,
    /// `Immediate` drops them.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Works until the stop is ordered, then stops in order and closes the store.
    pub async fn run(mut self) -> Result<(), DaemonError> {
        let mut watch = self.shutdown.watch();
        let ended = loop {
            break tokio::select! {
                biased;
                () = watch.reached(Phase::Draining) => None,
                reason = self.store.failed() => Some(DaemonError::Queue(reason)),
                ended = self.halves.join_next() => {
                    ended.map(|name| DaemonError::Ended(name.unwrap_or("listener or delivery pool")))
                }
                // Those that can be are started again; the admin socket cannot, and nobody could ask any more.
                Some(_) = self.services.tasks.join_next() => {
                    Some(DaemonError::Ended("admin socket or another service"))
                }
                order = self.orders.next() => {
                    // Whoever has ordered it may be gone.
                    drop(order.send(self.reload()));
                    continue;
                }
            };
        };
        // A part that ends because of the order can be seen before the order itself.
        let stopping = watch.phase() != Phase::Running;
        let ended = ended.filter(|error| !stopping || matches!(error, DaemonError::Queue(_)));
        self.shutdown.advance(Phase::Draining);
        self.supervisor.stopping();
        tracing::info!(within_s = self.drain.as_secs(), "stopping");
        self.drain_halves(&mut watch).await;
        let ordered = watch.phase();
        // Whoever still watches must not wait for anything any more.
        self.shutdown.advance(Phase::Immediate);
        self.halves.shutdown().await;
        self.stop_services().await;
        self.close_store(ordered).await;
        tracing::info!("stopped");
        ended.map_or(Ok(()), Err)
    }

    fn reload(&self) -> admin::reload::Answer {
        let Some(reader) = &self.reader else {
            let words = "this relay has no configuration that could be read anew";
            tracing::info!("not reloaded: {words}");
            return Err(words.to_owned());
        };
        self.supervisor.reloading();
        let answer = reader.carry_out(&self.parts);
        self.supervisor.ready();
        answer
    }

    /// Waits for listener and pool, which keep their own times; cuts them short on a second order, or
    /// when they overstay.
    async fn drain_halves(&mut self, watch: &mut Watch) {
        let finished = async { while self.halves.join_next().await.is_some() {} };
        tokio::select! {
            biased;
            () = watch.reached(Phase::Immediate) => {}
            result = tokio::time::timeout(self.drain, finished) => {
                if result.is_err() {
                    tracing::warn!("attempts did not end in time; they are cut off and sent again later");
                }
            }
        }
    }

    async fn stop_services(&mut self) {
        if let Some(fleet) = &self.parts.fleet {
            drop(tokio::time::timeout(FAREWELL_PATIENCE, fleet.leave()).await);
        }
        self.services_stop.advance(Phase::Draining);
        // The history's keeper never ends by itself; only the admin socket is waited for.
        drop(tokio::time::timeout(ADMIN_DRAIN, self.services.tasks.join_next()).await);
        self.services.tasks.shutdown().await;
    }

    async fn close_store(&self, phase: Phase) {
        let limit = if phase == Phase::Immediate { CLOSE_TIMEOUT_IMMEDIATE } else { CLOSE_TIMEOUT };
        if tokio::time::timeout(limit, self.store.close()).await.is_err() {
            tracing::warn!("the queue did not close in time; it is checked at the next start");
        }
    }
}

/// The pools of all accounts.
struct Pools {
    main: Pool,
    others: Vec<(AccountKey, Pool)>,
    /// What they share with other hosts.
    fleet: Option<Arc<Fleet>>,
}

impl Pools {
    fn new(
        settings: &Settings,
        store: &Arc<Queue>,
        clock: &Arc<dyn Clock>,
        mishaps: &Mishaps,
    ) -> Self {
        let fleet = settings.fleet.as_ref();
        let mut fleet = fleet.and_then(|options| {
            // What a queue in the database has spent this host's ledger does not know after a start.
            let own = match &settings.queue.database {
                Some(_) => OwnFile::none(),
                None => OwnFile::in_directory(&settings.queue.directory),
            };
            Fleet::new(options, own, clock, store.drained())
        });
        let mut pool = |delivery: &delivery::Options| {
            let pool = Pool::new(delivery.clone(), Arc::clone(store), Arc::clone(clock));
            let shared = fleet.as_mut().map(|fleet| {
                let account = delivery.name_in_fleet();
                (fleet.share(account.clone()), fleet.vault(account))
            });
            pool.reporting_to(mishaps.clone()).sharing(shared)
        };
        let main = pool(&settings.delivery);
        // With one account nothing has to be told apart.
        let main = if settings.accounts.is_empty() { main } else { main.called(MAIN) };
        let others = settings.accounts.iter().map(|FurtherAccount { name, delivery, .. }| {
            (delivery.account, pool(delivery).called(name))
        });
        let others = others.collect();
        Self { main, others, fleet: fleet.map(Arc::new) }
    }

    async fn restore(&mut self) {
        let accounts = async {
            self.main.restore().await;
            for (_, pool) in &mut self.others {
                pool.restore().await;
            }
        };
        // Whoever is drained takes nothing with a new start either.
        let fleet = self.fleet.clone();
        let fleet = async {
            if let Some(fleet) = fleet {
                fleet.hosts().beat(Load::default()).await;
            }
        };
        tokio::join!(accounts, fleet);
    }

    fn parts(&self) -> (Vec<(AccountKey, PoolHandle)>, Option<Arc<Fleet>>) {
        (self.handles(), self.fleet.clone())
    }

    fn handles(&self) -> Vec<(AccountKey, PoolHandle)> {
        let others = self.others.iter().map(|(account, pool)| (*account, pool.handle()));
        [(AccountKey::MAIN, self.main.handle())].into_iter().chain(others).collect()
    }

    fn upstreams(&self) -> Upstreams {
        let of = |pool: &Pool| -> Arc<dyn Upstream> { Arc::new(pool.handle()) };
        let others = self.others.iter().map(|(account, pool)| (*account, of(pool)));
        Upstreams::new(of(&self.main)).with(others.collect())
    }

    fn into_all(self) -> impl Iterator<Item = Pool> {
        [self.main].into_iter().chain(self.others.into_iter().map(|(_, pool)| pool))
    }
}

/// Where the administrator is answered.
struct Desk {
    socket: Socket,
    /// For monitors.
    port: Option<Port>,
    /// For browsers.
    page: Option<Page>,
}

impl Desk {
    fn open(options: &admin::Options, clock: &Arc<dyn Clock>) -> Result<Self, DaemonError> {
        let clock = || Arc::clone(clock);
        let port = options.http.map(|address| Port::bind(address, &MONITORING, clock()));
        let page = options.page.as_ref().map(|options| Page::bind(options, clock()));
        Ok(Self {
            socket: Socket::bind(&options.socket, clock())?,
            port: port.transpose()?,
            page: page.transpose()?,
        })
    }
}

/// Tasks that never end by themselves; one that panics is started again.
#[derive(Debug)]
struct Services {
    tasks: JoinSet<()>,
    mishaps: Mishaps,
    clock: Arc<dyn Clock>,
}

impl Services {
    fn tend<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        task: &'static str,
        mut make: impl FnMut(Arc<dyn Clock>) -> F + Send + 'static,
    ) {
        let (mishaps, clock) = (self.mishaps.clone(), Arc::clone(&self.clock));
        let given = Arc::clone(&clock);
        self.tasks.spawn(tasks::tend(task, mishaps, clock, move || make(Arc::clone(&given))));
    }

    /// Those of every daemon.
    fn with(mut self, parts: &Parts, sources: &admin::context::Sources) -> Self {
        let level = parts.log_level.clone();
        self.tend("log level", move |clock| {
            let level = level.clone();
            async move { level.keep(clock).await }
        });
        let told = sources.clone();
        self.tend("alerts", move |_| alerts(told.clone()));
        let told = sources.clone();
        self.tend("heartbeat", move |_| admin::heartbeat::run(told.clone()));
        let told = sources.clone();
        self.tend("weekly report", move |_| admin::weekly::run(told.clone()));
        let (settings, told) = (parts.settings.clone(), sources.clone());
        self.tend("diagnosis", move |_| doctor::daily::run(settings.clone(), told.clone()));
        let (notices, queue) = (parts.notices.clone(), Arc::clone(&parts.store));
        let shared =
            parts.pools.iter().filter_map(|(account, pool)| Some((*account, pool.share()?)));
        let shares: Shares = shared.collect();
        self.tend("notices", move |clock| {
            let notifier = Notifier::new(notices.clone(), Arc::clone(&queue), clock);
            notifier.sharing(shares.clone()).run()
        });
        let (notices, queue) = (parts.notices.clone(), Arc::clone(&parts.store));
        self.tend("storms", move |clock| {
            StormTeller::new(notices.clone(), Arc::clone(&queue), clock).run()
        });
        if let Some(fleet) = parts.fleet.clone() {
            self.tend("fleet", move |_| Arc::clone(&fleet).look_after());
            let told = sources.clone();
            self.tend("signs of life for the fleet", move |_| admin::fleet::live(told.clone()));
        }
        let (settings, queue) = (parts.settings.clone(), Arc::clone(&parts.store));
        self.tend("expiry", move |clock| forget(Arc::clone(&queue), clock, settings.clone()));
        self
    }
}

/// Watches, and begins anew when somebody else is to be told.
async fn alerts(sources: admin::context::Sources) {
    loop {
        let present = sources.alert.get();
        tokio::select! {
            () = admin::alert::run(admin::alert::outputs::Options::clone(&present), sources.clone()) => {}
            () = sources.alert.replaced(&present) => {}
        }
    }
}

async fn log_start(settings: &Settings, addresses: &[SocketAddr], store: &Queue) {
    let totals = store.totals();
    let condition = condition(store, AccountKey::MAIN).await;
    let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        addresses = addresses.join(" "),
        upstream = %format_args!("{}:{}", settings.delivery.host, settings.delivery.port),
        account = condition,
        messages = totals.messages,
        bytes = totals.bytes,
        set_aside = totals.set_aside,
        admin = %settings.admin.socket.display(),
        "started"
    );
    for FurtherAccount { name, delivery, .. } in &settings.accounts {
        let account = self::condition(store, delivery.account).await;
        let upstream = format_args!("{}:{}", delivery.host, delivery.port);
        tracing::info!(account_name = name, %upstream, account, "one more account");
    }
    reload::warn_of_unreached(settings);
}

/// The stored condition of an account, in one word.
async fn condition(store: &Queue, account: AccountKey) -> &'static str {
    match store.account_state(account).await {
        Ok(state) => state.map_or("open", |state| state.condition.name()),
        Err(_) => "unknown",
    }
}

/// Forgets relayed and folded messages and gives up dead letters when their time is over.
async fn forget(store: Arc<Queue>, clock: Arc<dyn Clock>, settings: Live<Settings>) {
    let mut told = false;
    loop {
        let settings = settings.get();
        let (history, dead) = (settings.history_lifetime, settings.dead_letter_lifetime);
        match store.expire_dead(clock.wall().before(dead)).await {
            Ok(0) => {}
            Ok(messages) => tracing::warn!(messages, "dead letters expired"),
            Err(error) => tracing::debug!(%error, "dead letters could not be checked"),
        }
        match store.prune_history(clock.wall().before(history)).await {
            Ok(0) => {}
            Ok(messages) => tracing::debug!(messages, "history pruned"),
            // The store reports its own failures; the next hour tries again.
            Err(error) => tracing::debug!(%error, "history not pruned"),
        }
        match store.forget_folded(clock.wall().before(history)).await {
            Ok(0) => {}
            Ok(messages) => tracing::info!(messages, "folded mail that was told of is over"),
            Err(error) => tracing::debug!(%error, "folded mail could not be checked"),
        }
        match store.cap_history(HISTORY_MAX).await {
            Ok(messages @ 1..) if !told => {
                told = true;
                tracing::warn!(
                    messages,
                    "the history has {HISTORY_MAX} messages, which is the most: what left the queue first is forgotten \
                     before its [queue] history_lifetime"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the length of the history was not looked at"),
        }
        match store.prune_kept(settings.queue.keep_relayed).await {
            Ok(0) => {}
            Ok(messages) => tracing::debug!(messages, "kept bodies of relayed messages removed"),
            Err(error) => tracing::debug!(%error, "kept bodies of relayed messages not removed"),
        }
        clock.sleep(HOUSEKEEPING).await;
    }
}

#[cfg(test)]
mod tests;
