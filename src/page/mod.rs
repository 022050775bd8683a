//! The page: everything that the commands say and do, for a browser.
//!
//! Rule: what it shows comes from the API and its words from `wording/`, so that no rule is written twice; nothing is
//! shown without a session, and nothing done but by a form of the same session.

mod account;
mod assets;
mod chart;
mod chosen;
mod clients;
mod deeds;
mod entrance;
mod guard;
mod layout;
mod listing;
mod message;
mod resend;
mod rows;
mod settings;
mod site;
mod start;
mod visitor;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};

use self::site::{FORM_BYTES_MAX, Site};
use crate::{
    admin::{
        client::Client,
        context::Sources,
        place::{Options, Place},
        server::in_time,
        socket::{PAGE, Port, PortError},
    },
    clock::Clock,
    shutdown::{Phase, Watch},
};

/// The page, whose port is open.
#[derive(Debug)]
pub(crate) struct Page {
    port: Port,
    place: Arc<Place>,
}

impl Page {
    /// Listens.
    ///
    /// # Errors
    /// The address cannot be had.
    pub(crate) fn bind(options: &Options, clock: Arc<dyn Clock>) -> Result<Self, PortError> {
        let mut port = Port::bind(options.address, &PAGE, Arc::clone(&clock));
        if port.is_err() && options.may_move {
            port = Port::bind(SocketAddr::new(options.address.ip(), 0), &PAGE, clock);
        }
        let port = port?;
        let place = Place::new(port.address().unwrap_or(options.address), options.url.as_ref());
        Ok(Self { port, place: Arc::new(place) })
    }

    /// Where it is.
    pub(crate) fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }

    /// Serves what `client` is told until the stop is ordered.
    pub(crate) fn serve(
        self,
        client: Client,
        sources: &Sources,
        mut stop: Watch,
    ) -> impl Future<Output = ()> + Send + use<> {
        let site = Site {
            client,
            sessions: Arc::clone(&sources.sessions),
            clock: Arc::clone(&sources.clock),
            place: self.place,
        };
        let stopped = async move { stop.reached(Phase::Draining).await };
        let server = axum::serve(self.port, router(site)).with_graceful_shutdown(stopped);
        async move { drop(server.await) }
    }
}

fn router(site: Site) -> Router {
    Router::new()
        .route("/", get(start::show))
        .route("/queue", get(listing::queue))
        .route("/dead", get(listing::dead))
        .route("/history", get(listing::history))
        .route("/messages/{id}", get(message::show))
        .route("/deeds", post(deeds::answer))
        .route("/resend", post(resend::answer))
        .route("/clients", get(clients::show))
        .route("/account", get(account::show).post(account::change))
        .route("/settings", get(settings::show))
        .route("/enter", get(entrance::ask).post(entrance::enter))
        .route("/leave", post(entrance::leave))
        .route("/assets/{file}", get(assets::serve))
        .fallback(layout::nothing_here)
        .layer(from_fn(in_time))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(from_fn_with_state(site.clone(), guard::stand))
        .with_state(site)
}
