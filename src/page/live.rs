//! The streams of pages that are open: each is told what has changed since its document was made.
//!
//! Rule: a stream ends with its session and at once with the relay, and sends nothing but changes and signs of life. Must not
//! know how the relay is looked at.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};
use tokio::sync::watch;

use super::{assets, layout, site::Site, streams::Seat, visitor::Visitor};
use crate::{
    admin::{pieces::Pieces, pulse::Pulse},
    clock::Moment,
    shutdown::Phase,
};

/// How often a stream sees whether its session is over.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// A stream says that it lives after so many checks without a change: a proxy may end one that says nothing for longer.
const CHECKS_OF_SILENCE: u32 = 10;
/// How long one stream lasts, less than any conversation may; the browser opens the next one by itself.
const STREAM_AGE_MAX: Duration = Duration::from_secs(50);
/// What a stream begins with: after how many milliseconds the next one is opened.
const BEGINNING: Bytes = Bytes::from_static(b"retry: 3000\n\n");
const SIGN_OF_LIFE: Bytes = Bytes::from_static(b":\n\n");

/// `GET /live`: the stream.
pub(super) async fn follow(State(site): State<Site>, Visitor(visit): Visitor) -> Response {
    let Some(seat) = site.live.enter(visit.number) else {
        let words =
            "So many pages follow the relay already that this one shows what was when it was made.";
        let status = StatusCode::TOO_MANY_REQUESTS;
        return layout::plain(status, "Too many pages are open", words).into_response();
    };
    let mut told = site.live.told.subscribe();
    told.mark_changed();
    let until_ms = site.clock.now().since_boot_ms + millis(STREAM_AGE_MAX);
    let stream = Stream { seat, told, site, until_ms, has_begun: false };
    let kind = (CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // nginx hands on nothing before it has a page full of it unless it is told.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    ([kind, unbuffered], Body::new(Pieces::new(stream, |stream| Box::pin(next(stream)))))
        .into_response()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A page that is open.
struct Stream {
    seat: Seat,
    told: watch::Receiver<Option<Bytes>>,
    site: Site,
    until_ms: u64,
    has_begun: bool,
}

impl Stream {
    fn is_over(&self, now: Moment) -> bool {
        now.since_boot_ms >= self.until_ms || !self.site.sessions.is_open(self.seat.session, now)
    }
}

/// The next piece of a stream; `None` at its end.
async fn next(mut stream: Stream) -> Option<(Stream, Bytes)> {
    if !stream.has_begun {
        stream.has_begun = true;
        return Some((stream, BEGINNING));
    }
    let clock = Arc::clone(&stream.site.clock);
    let mut stop = stream.seat.live.stop.clone();
    for _ in 0..CHECKS_OF_SILENCE {
        tokio::select! {
            biased;
            () = stop.reached(Phase::Draining) => return None,
            changed = stream.told.changed() => {
                changed.ok()?;
                let event = stream.told.borrow_and_update().clone();
                if stream.is_over(clock.now()) {
                    return None;
                }
                if let Some(event) = event {
                    return Some((stream, event));
                }
            }
            () = clock.sleep(CHECK_EVERY) => {
                if stream.is_over(clock.now()) {
                    return None;
                }
            }
        }
    }
    Some((stream, SIGN_OF_LIFE))
}

/// What a document is about, of which it says how much is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Start,
    Queue,
    DeadLetters,
    History,
}

impl About {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Queue => "queue",
            Self::DeadLetters => "dead",
            Self::History => "history",
        }
    }
}

/// The place where a document says what is new; empty without a script, and when nothing is. The pulse is from before the
/// document's own question, so that nothing which came in between is missed.
pub(super) fn news(about: About, pulse: &Pulse) -> Markup {
    html! {
        p #live role="status" aria-live="polite" data-about=(about.name()) data-accepted=(pulse.accepted)
            data-messages=(pulse.messages) data-dead=(pulse.recipients.dead) data-account=(pulse.account) {}
        script src=(assets::script()) defer {}
    }
}
