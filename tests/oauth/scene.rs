//! A pool that logs in with tokens, its queue and its upstream with the token endpoint.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::support::{lookalike_clock::lookalike_clock, service_account::write_key};
use pillarbox::{
    clock::{Clock, ManualClock, SystemClock, Timestamp},
    delivery::{
        Login, Options, PasswordSource, Pool, PoolHandle,
        oauth::{
            ClientSource, Endpoint, Endpoints, Grant, Issuer, Limits, SecretSource,
            token_file::{Stored, TokenFile},
        },
    },
    message::envelope::{BodyKind, Envelope, Lane, Origin},
    queue::{
        Queue,
        id::QueueId,
        state::{AccountCondition, AccountState, Recipient, RecipientState},
    },
    sandbox::{self, OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET, REFRESH_TOKEN, Sandbox},
    secret::Secret,
    settings::{self, Surroundings, host::Host},
    shutdown::{Phase, Shutdown},
};
use tokio::task::JoinSet;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const USERNAME: &str = "me@gmail.com";
const BODY: &[u8] =
    b"Subject: test\r\nMessage-ID: <one@example.org>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nhello\r\n";

/// A pool that logs in with tokens.
pub(super) struct Scene {
    pub(super) sandbox: Sandbox,
    pub(super) clock: ManualClock,
    pub(super) options: Options,
    pub(super) tokens: pillarbox::delivery::oauth::Options,
    pub(super) directory: tempfile::TempDir,
    store: Arc<Queue>,
    running: Option<(PoolHandle, Shutdown, JoinSet<()>)>,
}

impl Scene {
    /// Relays under one token for the mailbox, and under another one when that has ended.
    pub(super) async fn expect_one_token_until_it_ends(&mut self) {
        // A second worker would log in as well while the first one still settles.
        self.options.connections = 1;
        self.start();
        for count in 1..=3 {
            self.submit().await;
            self.until_received(count).await;
        }
        assert_eq!((self.token_requests(), self.logins()), (1, (1, 0)));
        assert_eq!(self.sandbox.mailbox().accepted()[0].username.as_deref(), Some("me@gmail.com"));
        self.clock.advance(2 * HOUR);
        self.submit().await;
        self.until_received(4).await;
        assert_eq!(self.token_requests(), 2);
    }

    /// With a refresh token in its file.
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(edit: impl FnOnce(&mut sandbox::Options)) -> Self {
        // The token endpoint says what time it is, by the clock of the machine.
        let clock = ManualClock::new(SystemClock::new().wall());
        let mut options = sandbox::Options { clock: lookalike_clock(&clock), ..Default::default() };
        edit(&mut options);
        let sandbox = Sandbox::start(options).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, sandbox.certificate_authority_pem()).unwrap();
        let mut tokens =
            tokens(&sandbox.oauth_url(), directory.path().join("state/oauth-token.json"));
        tokens.limits.answer = PATIENCE;
        let options = options_of(&sandbox, &ca_file);
        let store = Arc::new(Queue::in_memory(Arc::new(clock.clone()), 1 << 30));
        let scene = Self { sandbox, clock, options, tokens, directory, store, running: None };
        scene.file().replace(&stored(REFRESH_TOKEN, scene.clock.wall())).unwrap();
        scene
    }

    /// With the key of a service account.
    pub(super) async fn with_service_account(edit: impl FnOnce(&mut sandbox::Options)) -> Self {
        let mut scene = Self::with(edit).await;
        let key_file = scene.directory.path().join("service-account.json");
        write_key(&key_file);
        scene.tokens.grant = Grant::ServiceAccount { key_file };
        scene
    }

    pub(super) async fn running() -> Self {
        let mut scene = Self::new().await;
        scene.start();
        scene
    }

    pub(super) fn start(&mut self) {
        let mut options = self.options.clone();
        let password = PasswordSource::Tokens(Box::new(self.tokens.clone()));
        options.login = Some(Login { username: USERNAME.into(), password });
        let pool = Pool::new(options, self.store.clone(), Arc::new(self.clock.clone()));
        let (handle, shutdown, mut tasks) = (pool.handle(), Shutdown::new(), JoinSet::new());
        tasks.spawn(pool.run(shutdown.watch()));
        self.running = Some((handle, shutdown, tasks));
    }

    pub(super) async fn stop(&mut self) {
        let (_, shutdown, mut tasks) = self.running.take().unwrap();
        shutdown.advance(Phase::Draining);
        tokio::time::timeout(PATIENCE, tasks.join_next()).await.unwrap().unwrap().unwrap();
    }

    pub(super) fn handle(&self) -> &PoolHandle {
        &self.running.as_ref().unwrap().0
    }

    /// The token file.
    pub(super) fn file(&self) -> TokenFile {
        TokenFile::new(self.directory.path().join("state/oauth-token.json"), self.tokens.issuer)
    }

    pub(super) fn token_requests(&self) -> u64 {
        self.sandbox.mailbox().counters().token_requests
    }

    pub(super) fn logins(&self) -> (u64, u64) {
        let counters = self.sandbox.mailbox().counters();
        (counters.logins, counters.login_refusals)
    }

    pub(super) async fn submit(&self) -> QueueId {
        self.submit_to(&["ok@example.net"], BODY).await
    }

    pub(super) async fn submit_to(&self, recipients: &[&str], body: &[u8]) -> QueueId {
        let envelope = Envelope {
            reverse_path: Some("cron@host.example".parse().unwrap()),
            forward_paths: recipients.iter().map(|address| address.parse().unwrap()).collect(),
            body: BodyKind::SevenBit,
            internationalized: false,
            dsn: pillarbox::smtp::dsn::Dsn::default(),
            lane: Lane::Normal,
            origin: Origin {
                address: IpAddr::from([127, 0, 0, 1]),
                helo: "host.example".into(),
                protocol: "ESMTP".into(),
                login: None,
                local: None,
            },
            accepted_at: self.clock.wall(),
        };
        let mut draft = self.store.begin(envelope).unwrap();
        draft.write(body).await.unwrap();
        self.store.enqueue(draft).await.unwrap().id()
    }

    /// The state and the attempts of each recipient; none when the message is gone.
    pub(super) async fn states(&self, id: QueueId) -> Vec<(RecipientState, u32)> {
        let message = self.store.show(id).await.unwrap();
        let recipients = message.as_ref().map(|message| message.recipients());
        let state = |recipient: &Recipient| (recipient.state.clone(), recipient.attempts);
        recipients.into_iter().flatten().map(state).collect()
    }

    /// Waits until all recipients are in this state.
    pub(super) async fn until_all(&self, id: QueueId, name: &str) {
        let wait = async {
            loop {
                let states = self.states(id).await;
                if !states.is_empty() && states.iter().all(|(state, _)| state.name() == name) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("not {name}: {:?} {:?}", self.states(id).await, self.handle().status());
        }
    }

    /// Waits until the upstream has taken so many messages.
    pub(super) async fn until_received(&self, count: usize) {
        eventually(
            || self.sandbox.mailbox().count() >= count,
            || format!("{:?}", self.handle().status()),
        )
        .await;
    }

    /// Waits until the account is in that state and nothing is in flight.
    pub(super) async fn until_account(&self, expected: AccountCondition) -> AccountState {
        let status = || self.handle().status();
        let reached = || status().account.condition == expected && status().in_flight.is_empty();
        eventually(reached, || format!("not {}: {:?}", expected.name(), status())).await;
        status().account
    }

    /// Waits until the pause that begins at the `strikes`-th failure.
    pub(super) async fn until_strikes(&self, strikes: u32) -> AccountState {
        let status = || self.handle().status();
        let reached = || status().account.strikes == strikes && status().in_flight.is_empty();
        eventually(reached, || format!("not {strikes} strikes: {:?}", status())).await;
        status().account
    }

    /// Every recipient waits, and none has been charged with an attempt.
    pub(super) async fn expect_uncharged(&self, id: QueueId) {
        let message = self.store.show(id).await.unwrap().unwrap();
        for recipient in message.recipients() {
            assert_eq!((recipient.state.name(), recipient.attempts), ("queued", 0));
        }
    }
}

pub(super) async fn eventually(mut reached: impl FnMut() -> bool, present: impl Fn() -> String) {
    let wait = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("{}", present());
    }
}

/// As an administrator would write it, so that defaults are those of the product.
fn options_of(sandbox: &Sandbox, ca_file: &std::path::Path) -> Options {
    let text = format!(
        "[upstream]\nhost = \"localhost\"\nport = {}\nca_file = {:?}\nehlo_name = \"relay.example.org\"\n\
         [budget]\npace_per_minute = 0\n",
        sandbox.starttls_address().port(),
        ca_file.display().to_string()
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("relay.toml");
    std::fs::write(&file, text).unwrap();
    let surroundings = Surroundings {
        variables: std::collections::BTreeMap::new(),
        local_file: "/nowhere/relay.toml".into(),
        system_file: "/nowhere/else.toml".into(),
        host: Host { nodename: "relay.example.org".into(), ..Host::default() },
        secret_directories: Vec::new(),
    };
    settings::load_in(Some(&file), &surroundings).unwrap().delivery.clone()
}

fn tokens(url: &str, token_file: PathBuf) -> pillarbox::delivery::oauth::Options {
    let endpoint = |path: &str| Endpoint::new(&format!("{url}{path}")).unwrap();
    let client = ClientSource::Named {
        id: OAUTH_CLIENT_ID.into(),
        secret: Some(SecretSource::Inline(Secret::new(OAUTH_CLIENT_SECRET.into()))),
    };
    pillarbox::delivery::oauth::Options {
        grant: Grant::Refresh { client, token_file },
        endpoints: Endpoints {
            authorization: endpoint("/authorize"),
            token: endpoint("/token"),
            revocation: Some(endpoint("/revoke")),
        },
        issuer: Issuer::Google,
        limits: Limits::default(),
    }
}

/// What is in a token file after the consent.
pub(super) fn stored(refresh_token: &str, now: Timestamp) -> Stored {
    Stored {
        username: USERNAME.into(),
        client_id: OAUTH_CLIENT_ID.into(),
        refresh_token: Secret::new(refresh_token.into()),
        granted_at: now,
        refresh_token_expires_at: None,
        scope: None,
        access: None,
        stored_at: now,
    }
}
