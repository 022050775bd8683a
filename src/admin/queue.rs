//! A message of the queue and a dead letter, as the API shows and changes them.
//!
//! Rule: a message that takes a dead letter's place is durable before that is removed; a crash in between leaves both,
//! never none. Must not know what a notice is.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    Router,
    extract::{ConnectInfo, Path, Query, State, rejection::QueryRejection},
    routing::{MethodRouter, get, post},
};
use serde::Deserialize;

use super::{
    api::{Attempt, Deleted, Kind, Message, Origin, Redirected, Retried},
    context::{Json, Refusal, Sources, parse, person},
    socket::Peer,
    stand,
};
use crate::{
    clock::Timestamp,
    message::envelope::{self, Envelope},
    queue::{
        Queue, QueueError,
        id::QueueId,
        incoming::IncomingMessage,
        only::Only,
        ruled::Ruled,
        schedule::too_far,
        search::{self, Search},
        spool_file::MessageReader,
    },
    smtp::{address::Address, dsn::Dsn},
};

/// Octets of a header section that are shown.
const HEADER_SHOWN_MAX: usize = 16 * 1024;

pub(super) fn router() -> Router<Sources> {
    Router::new()
        .route("/v1/queue/{id}", get(show).delete(delete))
        .route("/v1/queue/{id}/retry", changing(Verb::Retry))
        .route("/v1/queue/{id}/hold", changing(Verb::Hold))
        .route("/v1/queue/{id}/release", changing(Verb::Release))
        .route("/v1/queue/{id}/schedule", changing(Verb::Schedule))
        .route("/v1/dead/{id}/redirect", post(redirect_dead))
}

async fn show(
    State(sources): State<Sources>,
    Path(id): Path<String>,
) -> Result<Json<Message>, Refusal> {
    let id = parse(&id)?;
    let message = sources.store.show(id).await?.ok_or(QueueError::NotFound(id))?;
    // A message of the history has no file any more, and a damaged one is reported when a worker meets it.
    let mut reader = sources.store.read_message(id).await.ok();
    let origin = reader.as_ref().map(|reader| Origin::from(reader.envelope()));
    let header = reader.as_mut().and_then(header);
    let situations = stand::situations(&sources).await?;
    let attempts = Attempt::all(&message.record, situations.has_several_accounts());
    Ok(Json(Message { origin, header, attempts, ..Message::new(message, &situations) }))
}

/// The beginning of the header section, with the fields added at acceptance. What is not UTF-8 is replaced.
fn header(reader: &mut MessageReader) -> Option<String> {
    let section = reader.take_header().ok().flatten()?;
    let mut octets = section.bytes;
    octets.truncate(HEADER_SHOWN_MAX);
    Some(String::from_utf8_lossy(&octets).replace("\r\n", "\n"))
}

/// What changes when a message leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Retry,
    Hold,
    Release,
    Schedule,
}

/// The query of such a verb: of which messages it is meant, and when they leave.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Milliseconds since 1970; of `schedule` alone.
    at: Option<Timestamp>,
    state: Option<String>,
    without: Option<String>,
    search: Option<Search>,
    /// Of `hold` alone.
    recipient: Option<Address>,
}

fn changing(verb: Verb) -> MethodRouter<Sources> {
    post(
        async move |State(sources): State<Sources>,
                    Path(id): Path<String>,
                    asked: Result<Query<Asked>, QueryRejection>| {
            change(&sources, verb, parse(&id)?, asked?.0).await
        },
    )
}

/// Does it, and says how many recipients it has met and when the message leaves now.
async fn change(
    sources: &Sources,
    verb: Verb,
    id: QueueId,
    asked: Asked,
) -> Result<Json<Retried>, Refusal> {
    let Asked { at, state, without, search, recipient } = asked;
    if verb != Verb::Hold && recipient.is_some() {
        let words = "only a hold and a deletion take a recipient (recipient=)";
        return Err(Refusal::new(Kind::BadRequest, words));
    }
    search.iter().try_for_each(|search| search.expect_fit(search::Place::Queue))?;
    let (only, now) = (Only { state, without, search, recipient }, sources.clock.wall());
    let recipients = match (verb, at) {
        (Verb::Retry, None) => sources.store.retry_only(id, now, &only).await?,
        (Verb::Hold, None) => sources.store.keep(id, &only).await?,
        (Verb::Release, None) => sources.store.release(id, &only).await?,
        (Verb::Schedule, Some(at)) => {
            if let Some(words) = too_far(at, now) {
                let words = format!("{at} is {words}; nothing was changed");
                return Err(Refusal::new(Kind::BadRequest, words));
            }
            sources.store.schedule(id, at, &only).await?
        }
        (Verb::Schedule, None) => {
            return Err(Refusal::new(Kind::BadRequest, "the time is missing: at="));
        }
        (_, Some(_)) => {
            return Err(Refusal::new(Kind::BadRequest, "only schedule takes a time (at=)"));
        }
    };
    let at = at.map(tracing::field::display);
    tracing::info!(%id, recipients, at, "{}", verb.name());
    let situations = stand::situations(sources).await?;
    let message = sources.store.show(id).await?;
    let departure = message.and_then(|message| Message::new(message, &situations).departure);
    sources.outlook.outdate();
    Ok(Json(Retried { id, recipients, departure }))
}

impl Verb {
    /// As in the log.
    fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Schedule => "schedule",
        }
    }
}

async fn delete(
    State(sources): State<Sources>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(id): Path<String>,
    only: Result<Query<Only>, QueryRejection>,
) -> Result<Json<Deleted>, Refusal> {
    let id = parse(&id)?;
    let Query(only) = only?;
    only.search.iter().try_for_each(|search| search.expect_fit(search::Place::Queue))?;
    let person = person(peer).await;
    let by = person.clone().unwrap_or_default();
    let recipients = match &only.recipient {
        Some(_) => Some(sources.store.give_up(id, &only, person).await?),
        None => sources.store.delete_by(id, &only, person).await.map(|()| None)?,
    };
    sources.outlook.outdate();
    tracing::warn!(%id, by, recipients, "deleted");
    Ok(Json(Deleted { id, recipients }))
}

/// Where a dead letter goes instead.
#[derive(Debug, Deserialize)]
struct Target {
    to: String,
}

async fn redirect_dead(
    State(sources): State<Sources>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(id): Path<String>,
    asked: Result<Query<Target>, QueryRejection>,
) -> Result<Json<Redirected>, Refusal> {
    let id = parse(&id)?;
    let Query(Target { to }) = asked?;
    let address = target(&to)?;
    let now = sources.clock.wall();
    let person = person(peer).await;
    let answer =
        redirect(&sources.store, id, address, &sources.facts().hostname, now, person).await;
    let new = answer.map_err(|error| match error {
        QueueError::NotFound(id) => {
            Refusal::new(Kind::NotFound, format!("there is no dead letter {id}; see pillarbox dead list"))
        }
        QueueError::Conflict(id) => Refusal::new(
            Kind::Conflict,
            format!(
                "message {id} is still being tried for other recipients; redirect it when they are done, or \
                 delete it"
            ),
        ),
        error => error.into(),
    })?;
    sources.outlook.outdate();
    tracing::info!(%id, new = %new, %to, "redirected");
    Ok(Json(Redirected { id, new }))
}

/// Queues the message for `to` instead of its dead recipients, and returns the new id.
///
/// # Errors
/// `Conflict` while another recipient of it is still waiting: that one would be lost.
async fn redirect(
    store: &Queue,
    id: QueueId,
    to: Address,
    hostname: &str,
    now: Timestamp,
    person: Option<String>,
) -> Result<QueueId, QueueError> {
    redirect_while(store, id, to, hostname, now, person, async || ()).await
}

/// `meanwhile` is for a test: what others do before the old message is removed.
async fn redirect_while(
    store: &Queue,
    id: QueueId,
    to: Address,
    hostname: &str,
    now: Timestamp,
    person: Option<String>,
    meanwhile: impl AsyncFnOnce(),
) -> Result<QueueId, QueueError> {
    let message = store.show(id).await?.ok_or(QueueError::NotFound(id))?;
    let record = &message.record;
    if record.dead().next().is_none() {
        return Err(QueueError::NotFound(id));
    }
    if record.recipients.iter().any(|recipient| !recipient.state.is_final()) {
        return Err(QueueError::Conflict(id));
    }
    let mut reader = store.read_message(id).await?;
    let envelope = sent_by_hand(reader.envelope(), vec![to], hostname, now);
    // A rule may have given it another lane than the envelope says.
    let mut draft = store.begin(Envelope { lane: record.lane, ..envelope })?;
    draft.ruled(Ruled { route: record.route.clone(), ..Ruled::default() });
    copy(&mut reader, &mut draft).await?;
    let redirected = store.enqueue(draft).await?.id();
    meanwhile().await;
    match store.redirected(id, redirected, person).await {
        // A person took the old one up again since it was read: it stays, and so this one must not leave.
        Err(QueueError::Conflict(_)) => match store.delete(redirected).await {
            // Unless it has left already.
            Err(QueueError::Conflict(_) | QueueError::NotFound(_)) => Ok(redirected),
            deleted => deleted.and(Err(QueueError::Conflict(id))),
        },
        removed => removed.map(|()| redirected),
    }
}

/// The envelope of a message that a person sends to others than before.
pub(super) fn sent_by_hand(
    old: &Envelope,
    to: Vec<Address>,
    hostname: &str,
    now: Timestamp,
) -> Envelope {
    // A notice of ours stays one; a client's null reverse path does not make its mail ours.
    let address = if old.is_own_notice() { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    let origin = envelope::Origin {
        address: IpAddr::V4(address),
        helo: hostname.to_owned(),
        protocol: "LOCAL".to_owned(),
        login: None,
        local: None,
    };
    Envelope {
        internationalized: old.internationalized || to.iter().any(Address::is_internationalized),
        forward_paths: to,
        dsn: Dsn::default(),
        origin,
        accepted_at: now,
        ..old.clone()
    }
}

/// The octets of a message for another one. The fields added at acceptance go with them, so that its way can be seen.
pub(super) async fn copy(
    reader: &mut MessageReader,
    draft: &mut IncomingMessage,
) -> Result<(), QueueError> {
    while let Some(block) = reader.next_block()? {
        draft.write(&block).await?;
    }
    Ok(())
}

/// An address to which mail can go, as somebody has typed it.
pub(super) fn target(to: &str) -> Result<Address, Refusal> {
    let refused = |reason: String| {
        Refusal::new(Kind::BadRequest, format!("{to:?} is not an address: {reason}"))
    };
    let address: Address = to.parse().map_err(|error| refused(format!("{error}")))?;
    if address.domain().is_none() {
        return Err(refused("it has no domain".to_owned()));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        budget::AccountKey,
        clock::{Clock as _, ManualClock},
        message::envelope::{BodyKind, Lane},
        queue::{Claim, ClaimLimits, Outcome, Queue, Settlement},
    };

    async fn text(store: &Queue, id: QueueId) -> String {
        let mut reader = store.open_message(id).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            bytes.extend_from_slice(&block);
        }
        String::from_utf8(bytes).unwrap()
    }

    /// A message to two recipients, of which the first is refused for good.
    async fn half_dead(store: &Queue, clock: &ManualClock) -> QueueId {
        let origin = envelope::Origin {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: "printer".into(),
            protocol: "SMTP".into(),
            login: None,
            local: None,
        };
        let envelope = Envelope {
            reverse_path: "printer@lan.example".parse().ok(),
            forward_paths: ["gone@example.net", "late@example.net"]
                .map(|path| path.parse().unwrap())
                .into(),
            body: BodyKind::SevenBit,
            internationalized: false,
            dsn: Dsn::default(),
            lane: Lane::Normal,
            origin,
            accepted_at: clock.wall(),
        };
        let mut draft = store.begin(envelope).unwrap();
        draft.write(b"Subject: toner\r\n\r\nlow\r\n").await.unwrap();
        let id = store.enqueue(draft).await.unwrap().id();
        settle(store, clock, vec![(0, Outcome::Dead { reply: "550 5.1.1 gone".into() })]).await;
        id
    }

    async fn settle(store: &Queue, clock: &ManualClock, outcomes: Vec<(usize, Outcome)>) {
        let terms = ClaimLimits {
            account: AccountKey::MAIN,
            limit: crate::budget::Limit::of(100),
            recipients_max: 100,
            urgent_reserve: 0,
            notice_reserve: 0,
        };
        let Claim::Message(claimed) = store.claim_due(clock.now(), terms).await.unwrap() else {
            panic!("nothing to claim")
        };
        store
            .settle(
                claimed.id,
                Settlement { reservation: claimed.reservation, at: clock.wall(), outcomes },
            )
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_dead_letter_that_somebody_resends_meanwhile_is_not_removed() {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let store = Queue::in_memory(Arc::new(clock.clone()), 1 << 20);
        let id = half_dead(&store, &clock).await;
        settle(&store, &clock, vec![(1, Outcome::Relayed { reply: "250 OK".into() })]).await;
        let to: Address = "new@example.org".parse().unwrap();
        let meanwhile = async || {
            store.retry(id, clock.wall()).await.unwrap();
        };
        let found = redirect_while(&store, id, to, "web01", clock.wall(), None, meanwhile).await;
        assert_eq!(found, Err(QueueError::Conflict(id)));
        let queued = store.list(None, 10).await.unwrap();
        assert_eq!(queued.iter().map(|message| message.id).collect::<Vec<_>>(), [id]);
    }

    #[tokio::test]
    async fn a_dead_letter_goes_to_another_address_with_its_message_id_when_nobody_else_waits_for_it()
     {
        let clock = ManualClock::new(Timestamp(1_800_000_000_000));
        let store = Queue::in_memory(Arc::new(clock.clone()), 1 << 20);
        let id = half_dead(&store, &clock).await;
        let to: Address = "new@example.org".parse().unwrap();
        let early = redirect(&store, id, to.clone(), "web01", clock.wall(), None).await;
        assert_eq!(early, Err(QueueError::Conflict(id)), "late@example.net would be lost");
        settle(&store, &clock, vec![(1, Outcome::Relayed { reply: "250 OK".into() })]).await;
        let before = text(&store, id).await;
        let new = redirect(&store, id, to, "web01", clock.wall(), None).await.unwrap();
        let after = text(&store, new).await;
        assert!(after.ends_with(&before) && after.matches("Message-ID:").count() == 1, "{after}");
        let queued = store.list(None, 10).await.unwrap();
        assert_eq!(queued.len(), 1, "the old one is gone");
        assert_eq!(queued[0].recipients()[0].address.as_str(), "new@example.org");
        assert_eq!(queued[0].record.reverse_path, "printer@lan.example".parse().ok());
        assert_eq!(
            redirect(&store, new, "x@y.example".parse().unwrap(), "web01", clock.wall(), None)
                .await,
            Err(QueueError::NotFound(new)),
            "it is not dead"
        );
    }
}
