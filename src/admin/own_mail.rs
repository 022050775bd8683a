//! The own mail of a user of this host: what `mailq` shows those who may not use the admin socket.
//!
//! Rule: a socket of its own with this one question, which changes nothing. Nobody hears of a message that the kernel did
//! not name him for, neither of its id nor of how many there are; and nobody keeps the queue busy by asking.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Query, State, rejection::QueryRejection},
    middleware::from_fn,
    routing::get,
};
use serde::Deserialize;
use tokio::sync::{Mutex, MutexGuard};

use super::{
    api::{Kind, Message, PAGE_DEFAULT, PAGE_MAX, QueuePage},
    context::{Json, Refusal, Sources},
    listing::Of,
    server::{REQUEST_BODY_MAX, in_time},
    socket::{Peer, Socket},
    stand,
};
use crate::{
    clock::Clock,
    message::envelope::LocalUser,
    passwd,
    queue::{LIST_RECIPIENTS_MAX, id::QueueId},
    shutdown::{Phase, Watch},
};

/// For each moment that an answer has taken, so many without one: users take a fifth of one processor at most.
const REST: u64 = 4;

/// What the kernel cannot tell, and what to do.
const NOT_VOUCHED: &str = "the kernel does not tell the relay whose program this is: in the relay's user namespace \
                           (PrivateUsers= of its unit, or a container's) other users have no number of their own";

/// The queue, and whose turn it is.
#[derive(Clone)]
struct Desk {
    sources: Sources,
    /// When the next question may be answered, since the boot; locked while one is.
    not_before_ms: Arc<Mutex<u64>>,
}

/// Serves users on the socket at `path` until the stop is ordered. Without the socket, they are told no more than that
/// they may not look.
pub(crate) async fn serve(path: PathBuf, sources: Sources, mut stop: Watch) {
    let socket = match Socket::for_users(&path, Arc::clone(&sources.clock)) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(%error, "users of this host cannot see their own mail with mailq");
            // A service that ends takes the relay with it.
            return stop.reached(Phase::Draining).await;
        }
    };
    let service = router(sources).into_make_service_with_connect_info::<Peer>();
    // Accepting never fails for good: the listener waits and tries again.
    let stopped = async move { stop.reached(Phase::Draining).await };
    drop(axum::serve(socket, service).with_graceful_shutdown(stopped).await);
}

fn router(sources: Sources) -> Router {
    Router::new()
        .route(Of::Queue.path(), get(list))
        .fallback(|| async { Refusal::new(Kind::NotFound, "here is /v1/queue: your own mail") })
        .layer(from_fn(in_time))
        .layer(DefaultBodyLimit::max(REQUEST_BODY_MAX))
        .with_state(Desk { sources, not_before_ms: Arc::default() })
}

/// Where it goes on, and how far it goes.
#[derive(Debug, Deserialize)]
struct Page {
    after: Option<QueueId>,
    limit: Option<usize>,
}

async fn list(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<QueuePage>, Refusal> {
    let Query(page) = page?;
    let user = passwd::named(peer.uid, None).await;
    if user.vouched().is_none() {
        return Err(Refusal::new(Kind::Forbidden, NOT_VOUCHED));
    }
    let _turn = desk.turn().await;
    page.of(&user, &desk.sources).await.map(Json)
}

impl Desk {
    /// Waits until it is this question's turn.
    async fn turn(&self) -> Turn<'_> {
        let clock = self.sources.clock.as_ref();
        let not_before_ms = self.not_before_ms.lock().await;
        let rest = not_before_ms.saturating_sub(clock.now().since_boot_ms);
        clock.sleep(Duration::from_millis(rest)).await;
        Turn { not_before_ms, begun_ms: clock.now().since_boot_ms, clock }
    }
}

/// A question that is being answered. Dropping it, also when its client has gone, begins the rest.
struct Turn<'a> {
    not_before_ms: MutexGuard<'a, u64>,
    begun_ms: u64,
    clock: &'a dyn Clock,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let now_ms = self.clock.now().since_boot_ms;
        let took_ms = now_ms.saturating_sub(self.begun_ms);
        *self.not_before_ms = now_ms.saturating_add(took_ms.saturating_mul(REST));
    }
}

impl Page {
    /// The next messages of this user. Where it goes on is one of them as well.
    async fn of(&self, user: &LocalUser, sources: &Sources) -> Result<QueuePage, Refusal> {
        let limit = self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
        let situations = stand::situations(sources).await?;
        let mut walk = Of::Queue.walk(&sources.store, self.after, None).await?;
        let (mut found, mut recipients) = (Vec::new(), 0);
        while !walk.is_over() {
            let page = Of::Queue.page(&sources.store, walk.after(), PAGE_MAX).await?;
            for message in walk.take(page) {
                if !message.record.about.is_of(user) {
                    continue;
                }
                recipients += message.recipients().len();
                let id = message.id;
                found.push(Message::new(message, &situations));
                if found.len() == limit || recipients >= LIST_RECIPIENTS_MAX {
                    return Ok(QueuePage { messages: found, next: Some(id), until: None });
                }
            }
        }
        Ok(QueuePage { messages: found, next: None, until: None })
    }
}
