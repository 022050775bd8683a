//! The notices of one look: gathers notices and keeps within the hour's limit.
//!
//! Rule: pure. There are never more notices than there is room for: the administrator's come first, and of the
//! senders for whom no room is left the administrator is told the number. Must not know where failures come from.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    message::notice::{Failure, MESSAGES_MAX, Returned},
    queue::{id::QueueId, record::NoticeKind},
    smtp::address::Address,
};

/// What is told to one person.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) failures: Vec<Failure>,
    /// Messages that are not described.
    pub(super) omitted: usize,
    /// Every message it is about.
    pub(super) messages: Vec<QueueId>,
}

/// The notices of one look.
#[derive(Debug)]
pub(super) struct Post {
    /// Notices that senders may still get.
    room_for_senders: usize,
    room: usize,
    admin: BTreeMap<NoticeKind, Batch>,
    senders: BTreeMap<(Address, NoticeKind), Batch>,
    left_out: BTreeSet<(Address, NoticeKind)>,
}

impl Post {
    /// `for_admin` are the kinds that the administrator will get.
    pub(super) fn new(room: usize, for_admin: &BTreeSet<NoticeKind>) -> Self {
        Self {
            room_for_senders: room.saturating_sub(for_admin.len()),
            room,
            admin: BTreeMap::new(),
            senders: BTreeMap::new(),
            left_out: BTreeSet::new(),
        }
    }

    /// Whether the administrator can be told of that kind now.
    pub(super) fn has_room_for_admin(&self, kind: NoticeKind) -> bool {
        self.admin.contains_key(&kind) || self.admin.len() < self.room
    }

    pub(super) fn add_for_admin(&mut self, id: QueueId, kind: NoticeKind, failure: Failure) {
        self.admin.entry(kind).or_default().add(id, failure);
    }

    pub(super) fn add_for_sender(
        &mut self,
        sender: &Address,
        id: QueueId,
        kind: NoticeKind,
        failure: Failure,
    ) {
        let key = (sender.clone(), kind);
        if self.senders.len() >= self.room_for_senders && !self.senders.contains_key(&key) {
            self.left_out.insert(key);
            return;
        }
        self.senders.entry(key).or_default().add(id, failure);
    }

    /// How many notices to senders there is no room for.
    pub(super) fn left_out(&self) -> usize {
        self.left_out.len()
    }

    /// Every notice, the administrator's first.
    pub(super) fn into_notices(self, admin: Option<&Address>) -> Vec<(Address, NoticeKind, Batch)> {
        let for_admin =
            self.admin.into_iter().filter_map(|(kind, batch)| Some((admin?.clone(), kind, batch)));
        let for_senders =
            self.senders.into_iter().map(|((sender, kind), batch)| (sender, kind, batch));
        for_admin.chain(for_senders).collect()
    }
}

impl Batch {
    fn add(&mut self, id: QueueId, mut failure: Failure) {
        self.messages.push(id);
        // Only a notice about one message returns something of it; the others need not hold it in memory.
        if let [first, ..] = self.failures.as_mut_slice() {
            first.returned = Returned::Headers(Vec::new());
            failure.returned = Returned::Headers(Vec::new());
        }
        if self.failures.len() < MESSAGES_MAX {
            self.failures.push(failure);
        } else {
            self.omitted += 1;
        }
    }
}
