//! A database of its own for a test, and what is asked of the books in it.

#[allow(dead_code, reason = "the tests of the daemon use the rest of it")]
#[path = "../../../tests/support/network.rs"]
pub(crate) mod network;
#[allow(dead_code, reason = "the tests of the daemon use the rest of it")]
#[path = "../../../tests/support/postgres.rs"]
mod postgres;

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

pub(super) use self::postgres::{PASSWORD, Postgres as Server};
use crate::{
    budget::Limit,
    fleet::{
        books::{Answer, Ask, Books, Granted, Ticket, Trouble},
        hosts::{Beat, Load},
        options::{Database, Password, Place},
        postgres::Postgres,
    },
    secret::Secret,
};

pub(super) const ACCOUNT: &str = "you@gmail.com";
/// The host of a test, with the number of its ledger.
pub(super) const A: (&str, i64) = ("a", 1);
pub(super) const LEASE: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub(super) struct Known(pub(super) &'static str);

#[async_trait]
impl Password for Known {
    async fn read(&self) -> Result<Secret, String> {
        Ok(Secret::new(self.0.to_owned()))
    }
}

/// A database of its own on the shared server.
pub(crate) struct Scene {
    pub(super) server: Arc<Server>,
    pub(super) database: String,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let server = Server::shared();
        let database = server.database();
        Self { server, database }
    }

    /// On a server of its own that syncs, as one of users does; that of the other tests does not.
    pub(crate) fn that_syncs() -> Self {
        let server = Server::start();
        server.stop();
        server.configure("fsync = on\nlog_statement = none\n");
        server.resume();
        let database = server.database();
        Self { server: server.into(), database }
    }

    pub(crate) fn options(&self) -> Database {
        self.options_by(self.server.port)
    }

    /// The same where the server seems to be at this port.
    pub(crate) fn options_by(&self, port: u16) -> Database {
        Database {
            place: Place::Host("127.0.0.1".into()),
            port,
            name: self.database.clone(),
            user: "postgres".into(),
            password: Some(Arc::new(Known(PASSWORD))),
            tls: None,
        }
    }

    pub(super) fn books(&self) -> Postgres {
        Postgres::new(self.options())
    }

    /// A role that has what docs/fleet.md gives it, word for word, and nothing more; of the books alone, or of a queue as well.
    pub(crate) fn poor(&self, has_queue: bool) -> Database {
        const OF_QUEUES: &str = "-- with the queue in the database";
        let text = include_str!("../../../docs/fleet.md");
        let rights = text.split_once("## Rights").expect("the section").1;
        let rights = rights.split_once("```sql\n").and_then(|(_, block)| block.split_once("```"));
        let rights = rights.expect("its statements").0;
        let (of_books, _) = rights.split_once(OF_QUEUES).expect("two parts");
        let role = format!("poor_{}_{has_queue}", self.database);
        let rights = if has_queue { rights } else { of_books };
        let rights = rights.replace("TO relay;", &format!("TO {role};"));
        self.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; {rights}"));
        Database { user: role, ..self.options() }
    }

    /// A way to its server that can be harmed.
    pub(crate) fn network(&self) -> network::Network {
        network::Network::before(self.server.port)
    }

    pub(crate) fn sql(&self, statement: &str) -> String {
        self.server.sql(&self.database, statement)
    }

    /// As if so much time had passed since everything that was done so far.
    pub(super) fn pass(&self, time: Duration) {
        self.sql(&postgres::as_if_passed(time));
    }
}

pub(super) fn ask(recipients: u32, limit: u32) -> Ask {
    static TOKENS: AtomicI64 = AtomicI64::new(1);
    let token = TOKENS.fetch_add(1, Ordering::Relaxed);
    Ask {
        token,
        ledger: A.1,
        recipients,
        limit: Limit::of(limit),
        lease: LEASE,
        heard: 0,
        probe: false,
    }
}

/// How much a figure is measured with: as the caller of the test asks for, or little.
pub(crate) fn of_environment(name: &str, otherwise: u32) -> u32 {
    env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// What was granted; nothing where the day is full.
pub(super) fn granted(answer: Result<Answer, Trouble>) -> Option<Granted> {
    match answer.unwrap() {
        Answer::Granted(granted) => Some(granted),
        Answer::Full => None,
        other => panic!("{other:?}"),
    }
}

pub(super) fn ticket(ask: &Ask, granted: Granted) -> Ticket {
    Ticket { token: ask.token, fence: Some(granted.fence), probe: ask.probe }
}

pub(super) async fn spent(books: &dyn Books) -> u64 {
    books.spent(ACCOUNT, A, Limit::NONE).await.unwrap().recipients
}

pub(super) fn beat(host: &str, instance: Option<i64>) -> Beat {
    let load = Load { messages: 3, recipients: 4, oldest: Some(Duration::from_secs(60)) };
    Beat { host: host.to_owned(), instance, load }
}
