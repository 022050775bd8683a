//! The page: everything that the commands say and do, for a browser.
//!
//! Rule: what it shows comes from the API and its words from `wording/`, so that no rule is written twice; nothing is
//! shown without a session, and nothing done but by a form of the same session.

mod account;
mod assets;
mod chart;
mod chosen;
mod clients;
mod contents;
mod course;
mod deeds;
mod door;
mod entrance;
mod files;
mod guard;
mod harmless;
mod hosts;
mod html_mail;
mod layout;
mod listing;
mod live;
mod message;
mod port;
mod rehearsal;
mod resend;
mod rows;
mod scenarios;
mod settings;
mod sides;
mod site;
mod spending;
mod start;
mod storms;
mod streams;
mod visitor;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};

pub(crate) use self::rehearsal::{Rehearsal, Stage};
use self::{
    port::{PagePort, Peer},
    site::{FORM_BYTES_MAX, Site},
    streams::Live,
};
use crate::{
    admin::{
        client::Client,
        context::Sources,
        place::{Options, Place},
        server::in_time,
        socket::{PAGE, Port, PortError},
    },
    clock::Clock,
    listener::{
        guesses::Guesses,
        tls::{Tls, TlsError},
        users::Users,
    },
    shutdown::{Phase, Watch},
};

/// The page, whose port is open.
#[derive(Debug)]
pub(crate) struct Page {
    port: PagePort,
    place: Arc<Place>,
    users: Option<Arc<Users>>,
    stage: Stage,
}

/// Why there is no page.
#[derive(Debug)]
pub(crate) enum PageError {
    /// Its port cannot be had.
    Port(PortError),
    /// Its certificate cannot be used.
    Tls(TlsError),
}

impl Page {
    /// Listens.
    ///
    /// # Errors
    /// The address cannot be had, or the certificate not be used.
    pub(crate) fn bind(options: &Options, clock: Arc<dyn Clock>) -> Result<Self, PageError> {
        let tls = options.tls.clone().map(Tls::open).transpose().map_err(PageError::Tls)?;
        let mut port = Port::bind(options.address, &PAGE, Arc::clone(&clock));
        if port.is_err() && options.may_move {
            port = Port::bind(SocketAddr::new(options.address.ip(), 0), &PAGE, Arc::clone(&clock));
        }
        let port = port.map_err(PageError::Port)?;
        let address = port.address().unwrap_or(options.address);
        let place = Place::new(address, options.url.as_ref(), tls.is_some());
        // Without users there are links; mail does not wait for either.
        let users = options.users_file.as_deref();
        let users = users.map(|path| Arc::new(Users::of_page(path)));
        Ok(Self {
            port: PagePort { port, tls: tls.map(Arc::new), clock },
            place: Arc::new(place),
            users,
            stage: Stage::default(),
        })
    }

    /// What it is told of the sandbox that it belongs to.
    pub(crate) fn stage(&self) -> Stage {
        Arc::clone(&self.stage)
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
            users: self.users,
            stage: self.stage,
            has_fleet: sources.fleet.is_some(),
            guesses: Arc::new(Guesses::new(Arc::clone(&sources.clock))),
            live: Live::new(stop.clone()),
        };
        let looking = Arc::clone(&site.live).look(site.client.clone(), Arc::clone(&site.clock));
        let stopped = async move { stop.reached(Phase::Draining).await };
        let server =
            axum::serve(self.port, router(site).into_make_service_with_connect_info::<Peer>())
                .with_graceful_shutdown(stopped);
        async move { drop(tokio::join!(server.into_future(), looking)) }
    }
}

fn router(site: Site) -> Router {
    Router::new()
        .route("/", get(start::show))
        .route("/queue", get(listing::queue))
        .route("/dead", get(listing::dead))
        .route("/history", get(listing::history))
        .route("/messages/{id}", get(message::show))
        .route("/messages/{id}/html/{part}", get(html_mail::show))
        .route("/messages/{id}/frame/{part}", get(html_mail::framed))
        .route("/messages/{id}/files/{part}", get(files::download))
        .route("/deeds", post(deeds::answer))
        .route("/resend", post(resend::answer))
        .route("/storms", get(storms::show))
        .route("/budget", get(spending::show))
        .route("/clients", get(clients::show))
        .route(hosts::PATH, get(hosts::show).post(hosts::order))
        .route("/account", get(account::show).post(account::change))
        .route("/settings", get(settings::show))
        .route("/scenarios", get(scenarios::show).post(scenarios::play))
        .route("/live", get(live::follow))
        .route("/enter", get(entrance::ask).post(entrance::enter))
        .route("/leave", post(entrance::leave))
        .route("/assets/{file}", get(assets::serve))
        .fallback(layout::nothing_here)
        .layer(from_fn(in_time))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(from_fn_with_state(site.clone(), guard::stand))
        .with_state(site)
}
