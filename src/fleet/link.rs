//! The one connection of a host to the database: opened when it is needed, closed when anything was wrong with it.
//!
//! Rule: whatever is asked ends within `CALL_LIMIT`. A connection that was in the middle of something is never used again, so
//! that nothing of a session outlives its transaction. Must not know what is asked.

use std::{sync::Arc, time::Duration};

use tokio::{sync::MutexGuard, task::JoinSet, time::timeout};
use tokio_postgres::{Client, Config, Error, NoTls, config::SslMode};

use super::{
    books::Trouble,
    calls::{Call, Calls},
    options::{Database, Place, TlsFiles},
    processes, schema, tls,
};

/// How long anything may take that is asked of the database, with the wait for others of this host who ask.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long opening a connection may take, for each address.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
/// When a connection that says nothing is found to be gone.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// What a server says of itself may be long.
const WORDS_MAX: usize = 300;

/// The connection of a host.
#[derive(Debug)]
pub(super) struct Link {
    database: Database,
    calls: Arc<Calls>,
    open: tokio::sync::Mutex<Option<Open>>,
}

/// An open connection and the task that drives it, which ends with it.
#[derive(Debug)]
pub(super) struct Open {
    client: Client,
    _driven: JoinSet<()>,
}

impl Open {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}

/// The connection in the hands of one who asks. Dropped in the middle, it is closed.
pub(super) struct Held<'a> {
    open: Open,
    call: Call<'a>,
    place: MutexGuard<'a, Option<Open>>,
}

impl Held<'_> {
    pub(super) fn client(&self) -> &Client {
        &self.open.client
    }

    /// All that was asked is answered: the next one may have it.
    pub(super) fn done(mut self) {
        *self.place = Some(self.open);
        self.call.answered();
    }
}

impl Link {
    pub(super) fn new(database: Database) -> Self {
        Self { database, calls: Arc::default(), open: tokio::sync::Mutex::new(None) }
    }

    /// What was asked so far.
    pub(super) fn calls(&self) -> Arc<Calls> {
        Arc::clone(&self.calls)
    }

    /// Does something with the database, within the limit of time.
    pub(super) async fn in_time<T>(
        deed: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let late = || {
            let limit = CALL_LIMIT.as_secs();
            Trouble(format!("the database gave no answer within {limit} s"))
        };
        timeout(CALL_LIMIT, deed).await.unwrap_or_else(|_| Err(late()))
    }

    /// The connection, opened anew where that is needed.
    pub(super) async fn hold(&self) -> Result<Held<'_>, Trouble> {
        let call = self.calls.begin();
        let place = self.open.lock().await;
        self.held(call, place).await
    }

    /// The same where nobody has it just now.
    pub(super) async fn hold_idle(&self) -> Option<Result<Held<'_>, Trouble>> {
        let place = self.open.try_lock().ok()?;
        Some(self.held(self.calls.begin(), place).await)
    }

    async fn held<'a>(
        &'a self,
        call: Call<'a>,
        mut place: MutexGuard<'a, Option<Open>>,
    ) -> Result<Held<'a>, Trouble> {
        let usable = place.take().filter(|open| !open.client.is_closed());
        let open = match usable {
            Some(open) => open,
            None => self.open().await?,
        };
        Ok(Held { open, call, place })
    }

    async fn open(&self) -> Result<Open, Trouble> {
        let open = self.connect().await?;
        schema::ensure(&open.client, said).await?;
        processes::end_the_dead(&open.client, said).await?;
        Ok(open)
    }

    /// A new connection, of which nothing was asked yet, not even whether there are tables.
    pub(super) async fn connect(&self) -> Result<Open, Trouble> {
        let mut config = self.config();
        if let Some(password) = &self.database.password {
            config.password(password.read().await.map_err(Trouble)?.expose());
        }
        let mut driven = JoinSet::new();
        let client = match &self.database.tls {
            None => {
                config.ssl_mode(SslMode::Disable);
                let (client, connection) = config.connect(NoTls).await.map_err(said)?;
                driven.spawn(async move { drop(connection.await) });
                client
            }
            Some(files) => {
                config.ssl_mode(SslMode::Require);
                let connector = connector(files.clone()).await?;
                let (client, connection) = config.connect(connector).await.map_err(said)?;
                driven.spawn(async move { drop(connection.await) });
                client
            }
        };
        Ok(Open { client, _driven: driven })
    }

    fn config(&self) -> Config {
        let Database { place, port, name, user, .. } = &self.database;
        let mut config = Config::new();
        match place {
            Place::Host(host) => config.host(host),
            Place::Socket(directory) => config.host_path(directory),
        };
        config
            .port(*port)
            .dbname(name)
            .user(user)
            .application_name("pillarbox")
            .connect_timeout(CONNECT_LIMIT)
            .keepalives_idle(KEEPALIVE)
            .tcp_user_timeout(CALL_LIMIT);
        config
    }
}

/// Files are read off the threads of the runtime.
async fn connector(files: TlsFiles) -> Result<tls::Connector, Trouble> {
    let made = tokio::task::spawn_blocking(move || tls::Connector::new(&files)).await;
    made.unwrap_or_else(|_| Err("reading the trust roots failed".to_owned())).map_err(Trouble)
}

/// What the database, or the way to it, has said.
pub(super) fn said(error: Error) -> Trouble {
    if let Some(told) = error.as_db_error() {
        let words = crate::text::printable(told.message());
        let words: String = words.chars().take(WORDS_MAX).collect();
        return Trouble(format!("the database says: {words} ({})", told.code().code()));
    }
    // The driver's own words are about its calls; the reason is what lies below.
    let mut reason: &dyn std::error::Error = &error;
    while let Some(below) = reason.source() {
        reason = below;
    }
    let words = reason.to_string();
    let words: String = crate::text::printable(&words).chars().take(WORDS_MAX).collect();
    Trouble(format!("the database cannot be reached: {words}"))
}
