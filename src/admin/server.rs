//! The API: one router over the Unix socket, and a smaller one over the TCP port.
//!
//! Rule: every answer is JSON of `api.rs`, also a refusal; whoever may open the socket may do
//! everything. Must not know how commands print.

use std::time::Duration;

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Request},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};

use super::{
    alert::trial,
    api::Kind,
    client::{VISITOR, visitor_of},
    contents,
    context::{Refusal, Sources},
    counts, fleet, forecast, health, history, listing, log, metrics, octets, page, pause, pulse,
    queue, sides,
    socket::{Peer, Port, Socket},
    spending, status, storms, tally, trace, weekly,
};
use crate::shutdown::{Phase, Watch};

/// How long one answer may take; a queue that takes longer is in trouble, and says so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// No request of version 1 has a body.
pub(super) const REQUEST_BODY_MAX: usize = 1024;

/// Serves until the stop is ordered. A conversation in progress is finished first.
pub(crate) async fn serve(socket: Socket, port: Option<Port>, sources: Sources, stop: Watch) {
    let reached = |mut stop: Watch| async move { stop.reached(Phase::Draining).await };
    let over_tcp = async {
        if let Some(port) = port {
            let server = axum::serve(port, read_only(sources.clone()));
            drop(server.with_graceful_shutdown(reached(stop.clone())).await);
        }
    };
    let service = router(sources.clone()).into_make_service_with_connect_info::<Peer>();
    let over_socket = axum::serve(socket, service).with_graceful_shutdown(reached(stop.clone()));
    // Accepting never fails for good: the listeners wait and try again.
    drop(tokio::join!(over_tcp, over_socket));
}

fn router(sources: Sources) -> Router {
    Router::new()
        .merge(status::router())
        .merge(queue::router())
        .merge(octets::router())
        .merge(contents::router())
        .merge(listing::router())
        .merge(counts::router())
        .merge(history::router())
        .merge(health::router())
        .merge(health::probes())
        .merge(metrics::router())
        .merge(log::router())
        .merge(trial::router())
        .merge(fleet::router())
        .merge(forecast::router())
        .merge(pause::router())
        .merge(page::router())
        .merge(pulse::router())
        .merge(sides::router())
        .merge(spending::router())
        .merge(storms::router())
        .merge(tally::router())
        .merge(trace::router())
        .merge(weekly::router())
        .fallback(|| async {
            Refusal::new(Kind::NotFound, "there is no such path in version 1 of the API")
        })
        .layer(from_fn(in_time))
        .layer(from_fn(for_a_visitor))
        .layer(DefaultBodyLimit::max(REQUEST_BODY_MAX))
        .with_state(sources)
}

/// The page asks over the socket as the commands do, and says for whom.
async fn for_a_visitor(mut request: Request, next: Next) -> Response {
    let visitor = request.headers().get(VISITOR).and_then(|value| value.to_str().ok());
    if let Some(visitor) = visitor.and_then(visitor_of) {
        let extensions = request.extensions_mut();
        if let Some(ConnectInfo(peer)) = extensions.remove::<ConnectInfo<Peer>>() {
            extensions.insert(ConnectInfo(peer.asking_for(&visitor)));
        }
    }
    next.run(request).await
}

/// What anybody who reaches the TCP port may see.
fn read_only(sources: Sources) -> Router {
    Router::new()
        .merge(health::probes())
        .merge(metrics::router())
        .fallback(|| async {
            Refusal::new(Kind::NotFound, "here are /metrics, /health/live and /health/ready")
        })
        .layer(from_fn(in_time))
        .layer(DefaultBodyLimit::max(REQUEST_BODY_MAX))
        .with_state(sources)
}

pub(crate) async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Refusal::new(Kind::Unavailable, "the queue took too long to answer").into_response()
        }
    }
}
