//! The Gmail look-alike: what `pillarbox sandbox` relays to, and every test's upstream.
//!
//! Rule: it says what smtp.gmail.com says, word for word, and fails on request in every way that
//! Gmail fails: by script ([`Sandbox::fail_next`]), by recipient (`triggers.rs`), by password
//! (`login.rs`), by token (`oauth/`) and by scenario (`scenario.rs`). It keeps what it takes; nothing leaves the machine. Must not know queue, delivery or
//! listener: it is Gmail's side of the conversation.

// Others build on this package without reading it.
#![warn(missing_docs, clippy::missing_errors_doc, clippy::missing_panics_doc)]

mod accepted;
mod account;
mod api;
mod bearer;
mod body;
mod certificate;
mod chunk;
mod clock;
mod command;
mod director;
mod error;
mod login;
mod mailbox;
mod oauth;
mod options;
mod replies;
mod rewritten;
mod scenario;
mod script;
mod scripted;
mod server;
mod session;
mod shared;
mod transaction;
mod triggers;

use std::{fmt, net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpListener,
    sync::{broadcast, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

pub use self::{
    accepted::{Accepted, TlsSession},
    clock::{Clock, ManualClock, Moment, Sleep, SystemClock, Timestamp},
    director::Director,
    error::SandboxError,
    mailbox::{Counters, JournalLine, Mailbox, TooFew},
    oauth::TokenAnswer,
    options::{
        ACCESS_TOKEN, APP_PASSWORD, Certificate, OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET, Options,
        OverLimit, PUBLIC_CLIENT_ID, REFRESH_TOKEN, SEND_REFRESH_TOKEN, USERNAME,
    },
    replies::Malformed,
    scenario::{SCENARIOS, Scenario},
    script::{Chance, Failure, Order, Stage, Times},
    shared::Event,
};
use self::{certificate::Certificates, server::Context, session::Port, shared::Shared};

/// The name on the certificate that belongs to this machine.
pub const HOST: &str = "localhost";

/// A running look-alike. Dropping it stops it; [`Sandbox::stop`] also waits for the end.
pub struct Sandbox {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    disconnect: watch::Sender<u64>,
    authority_pem: String,
    starttls: SocketAddr,
    implicit: SocketAddr,
    plain: SocketAddr,
    oauth: SocketAddr,
    api: SocketAddr,
}

impl Sandbox {
    /// Listens on its three ports, for HTTP and for the API; returns when all of them accept connections.
    ///
    /// # Errors
    /// A port is taken, the mailbox's directory cannot be made or read, or the certificates cannot be made.
    pub async fn start(options: Options) -> Result<Self, SandboxError> {
        let certificates = Certificates::make(options.require_sni, options.certificate)?;
        if let Some(path) = &options.mailbox {
            let made = std::fs::create_dir_all(path);
            made.map_err(|source| SandboxError::Mailbox { path: path.clone(), source })?;
        }
        let mailbox = Mailbox::open(&options).map_err(|source| SandboxError::Journal {
            path: options.journal.clone().unwrap_or_default(),
            source,
        })?;
        let (starttls_listener, starttls) = bind(options.starttls_bind).await?;
        let (implicit_listener, implicit) = bind(options.implicit_bind).await?;
        let (plain_listener, plain) = bind(options.plain_bind).await?;
        let (oauth_listener, oauth) = bind(options.oauth_bind).await?;
        let (api_listener, api) = bind(options.api_bind).await?;

        let shared = Arc::new(Shared::new(options, Arc::new(mailbox)));
        let disconnect = watch::Sender::new(0);
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let listeners = [
            (starttls_listener, Port::StartTls),
            (implicit_listener, Port::Implicit),
            (plain_listener, Port::Plain),
        ];
        let context = || Context {
            shared: Arc::clone(&shared),
            acceptor: TlsAcceptor::from(Arc::clone(&certificates.server)),
            disconnect: disconnect.subscribe(),
        };
        for (listener, port) in listeners {
            tasks.spawn(server::accept(listener, port, context(), stop.subscribe()));
        }
        tasks.spawn(api::serve(api_listener, context(), stop.subscribe()));
        tasks.spawn(oauth::serve(oauth_listener, Arc::clone(&shared), stop.subscribe()));
        let authority_pem = certificates.authority_pem;
        Ok(Self {
            shared,
            tasks,
            stop,
            disconnect,
            authority_pem,
            starttls,
            implicit,
            plain,
            oauth,
            api,
        })
    }

    /// The port that offers STARTTLS ("587").
    #[must_use]
    pub const fn starttls_address(&self) -> SocketAddr {
        self.starttls
    }

    /// The port that begins with TLS ("465").
    #[must_use]
    pub const fn implicit_address(&self) -> SocketAddr {
        self.implicit
    }

    /// The port without TLS and AUTH (the "MX").
    #[must_use]
    pub const fn plain_address(&self) -> SocketAddr {
        self.plain
    }

    /// The address that the paths of consent and tokens are below, such as `http://127.0.0.1:4711`.
    #[must_use]
    pub fn oauth_url(&self) -> String {
        format!("http://{}", self.oauth)
    }

    /// The port on which the API takes messages, over HTTPS.
    #[must_use]
    pub const fn api_address(&self) -> SocketAddr {
        self.api
    }

    /// The certificate that a client must trust; new at every start.
    #[must_use]
    pub fn certificate_authority_pem(&self) -> String {
        self.authority_pem.clone()
    }

    /// Its addresses and what a client logs in with, for other programs. The password is the scenario's, if there is
    /// one; the user name is one that every scenario takes.
    #[must_use]
    pub fn description(&self, scenario: Option<&Scenario>) -> serde_json::Value {
        serde_json::json!({
            "starttls": self.starttls,
            "implicit": self.implicit,
            "plain": self.plain,
            "host": HOST,
            "username": USERNAME,
            "password": scenario.map_or(APP_PASSWORD, |scenario| scenario.password),
            "api": self.api,
            "oauth": self.oauth_url(),
            "client_id": OAUTH_CLIENT_ID,
            "client_secret": OAUTH_CLIENT_SECRET,
            "refresh_token": REFRESH_TOKEN,
        })
    }

    /// What was taken, counted and said.
    #[must_use]
    pub fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.shared.mailbox)
    }

    /// Orders a failure for the next time that any connection reaches `stage`. Several orders for one
    /// stage strike one after the other.
    pub fn fail_next(&self, stage: Stage, failure: Failure) {
        self.shared.script.order(Order { stage, failure, times: Times::Next(1) });
    }

    /// Orders a failure for every time that any connection reaches `stage`, until
    /// [`Sandbox::forget_failures`].
    pub fn fail_always(&self, stage: Stage, failure: Failure) {
        self.shared.script.order(Order { stage, failure, times: Times::Always });
    }

    /// Orders a failure for every transaction in which the words of MAIL or RCPT hold `whom` (at RCPT: those of this
    /// RCPT), until [`Sandbox::forget_failures`].
    pub fn strike(&self, whom: &str, stage: Stage, failure: Failure) {
        self.shared.script.strike(whom.to_owned(), stage, failure);
    }

    /// Takes back what [`Sandbox::strike`] ordered for `whom`, and says how often it has struck.
    pub fn relent(&self, whom: &str) -> u32 {
        self.shared.script.relent(whom)
    }

    /// Orders what the next request for a token is answered. Several orders strike one after the other.
    pub fn answer_next_token_request(&self, answer: TokenAnswer) {
        self.shared.identity.order(answer);
    }

    /// Ends every token that was issued, as a change of the account's password does.
    pub fn revoke_all_tokens(&self) {
        self.shared.identity.tokens.revoke_all();
    }

    /// Takes back the orders that have not struck yet.
    pub fn forget_failures(&self) {
        self.shared.script.forget_orders();
    }

    /// Empties the accounts' 24 hour windows and ends their lock-outs.
    pub fn clear_quota(&self) {
        self.shared.accounts.clear_quota();
    }

    /// Recipients that an account has in its 24 hour window, as Gmail counts them.
    #[must_use]
    pub fn spent(&self, username: &str) -> u32 {
        self.shared.accounts.spent(username, self.shared.options.clock.now())
    }

    /// Somebody who has it play scenarios while it runs.
    #[must_use]
    pub fn director(&self) -> Director {
        Director::new(Arc::clone(&self.shared), self.disconnect.clone())
    }

    /// Drops every open connection without a word, as a broken network does.
    pub fn disconnect_all(&self) {
        self.disconnect.send_modify(|orders| *orders += 1);
    }

    /// One line for each step of each message from now on. A watcher who is too slow misses some.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.subscribe()
    }

    /// Closes ports and connections and waits for the end of every task.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Sandbox")
            .field("starttls", &self.starttls)
            .field("implicit", &self.implicit)
            .field("plain", &self.plain)
            .finish_non_exhaustive()
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), SandboxError> {
    let failed = |source| SandboxError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
