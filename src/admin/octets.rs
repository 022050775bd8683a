//! The octets of a message, as it was taken or as the upstream gets it.
//!
//! Rule: a message passes block by block, whatever its size. Must not know who reads it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::header::{CONTENT_LENGTH, CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use hyper::body::{Bytes, Frame};
use serde::Deserialize;

use super::{
    api::{Kind, MESSAGE_BYTES_MAX},
    context::{Refusal, Sources, parse},
};
use crate::queue::{QueueError, id::QueueId, record::MessageRecord, spool_file::MessageReader};

pub(super) fn router() -> Router<Sources> {
    Router::new().route("/v1/queue/{id}/message", get(message))
}

/// Which octets.
#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(default)]
    as_sent: bool,
}

async fn message(
    State(sources): State<Sources>,
    Path(id): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refusal> {
    let (id, Query(wanted)) = (parse(&id)?, wanted?);
    let reader = reader(&sources, id, wanted.as_sent).await?;
    let size_bytes = reader.size_bytes();
    if size_bytes > MESSAGE_BYTES_MAX {
        let words = format!(
            "message {id} has {size_bytes} octets, and at most {MESSAGE_BYTES_MAX} are given out; \
             `pillarbox store export` takes any, with the daemon stopped"
        );
        return Err(Refusal::new(Kind::BadRequest, words));
    }
    let head =
        [(CONTENT_TYPE, "message/rfc822".to_owned()), (CONTENT_LENGTH, size_bytes.to_string())];
    Ok((head, Body::new(Blocks(reader))).into_response())
}

async fn reader(sources: &Sources, id: QueueId, as_sent: bool) -> Result<MessageReader, Refusal> {
    if as_sent {
        return rewritten(sources, id).await.map(|(reader, _)| reader);
    }
    Ok(stored(sources, id).await?.1.into_original())
}

/// A message as it is stored, and what is known of it.
pub(super) async fn stored(
    sources: &Sources,
    id: QueueId,
) -> Result<(MessageRecord, MessageReader), Refusal> {
    let record = sources.store.show(id).await?.ok_or(QueueError::NotFound(id))?.record;
    let reader = match sources.store.read_message(id).await {
        Err(QueueError::NotFound(id)) => {
            let words = format!(
                "message {id} has left the queue, and its octets went with it; see pillarbox history show {id}"
            );
            return Err(Refusal::new(Kind::NotFound, words));
        }
        reader => reader?,
    };
    Ok((record, reader))
}

/// A message as the upstream gets it, and what is edited of it.
pub(super) async fn rewritten(
    sources: &Sources,
    id: QueueId,
) -> Result<(MessageReader, String), Refusal> {
    let (record, mut reader) = stored(sources, id).await?;
    let upstream = sources.upstream_of(&record).await?;
    let edits = upstream.rewrite_as_sent(id, record.accepted_at, &mut reader)?;
    Ok((reader, edits))
}

/// The body of an answer: one block in memory at a time. An error on the way ends the connection before the announced
/// length, which the other side notices.
struct Blocks(MessageReader);

impl hyper::body::Body for Blocks {
    type Data = Bytes;
    type Error = QueueError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, QueueError>>> {
        // A read of one block, as delivery makes it.
        let block = self.0.next_block().transpose();
        Poll::Ready(block.map(|block| block.map(|block| Frame::data(block.into()))))
    }
}
