//! A message of a printer, for the tests beside the files of the queue.

use std::net::Ipv4Addr;

use super::{Queue, id::QueueId};
use crate::{
    clock::Timestamp,
    message::envelope::{BodyKind, Envelope, Lane, Origin},
    smtp::dsn::Dsn,
};

/// Its envelope, with one recipient.
pub(super) fn envelope(accepted_at: Timestamp) -> Envelope {
    Envelope {
        reverse_path: None,
        forward_paths: vec!["a@example.net".parse().unwrap()],
        body: BodyKind::SevenBit,
        internationalized: false,
        dsn: Dsn::default(),
        lane: Lane::Normal,
        origin: Origin {
            address: Ipv4Addr::LOCALHOST.into(),
            helo: "printer".into(),
            protocol: "SMTP".into(),
            login: None,
            local: None,
        },
        accepted_at,
    }
}

/// The message, queued.
pub(super) async fn accept(queue: &Queue, accepted_at: Timestamp) -> QueueId {
    let mut draft = queue.begin(envelope(accepted_at)).unwrap();
    draft.write(b"Subject: toner\r\n\r\nlow\r\n").await.unwrap();
    queue.enqueue(draft).await.unwrap().id()
}
