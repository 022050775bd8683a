//! The way by which a message leaves: the route that was found for it, or the account that has begun with it.
//!
//! Rule: known from the record alone. Which account has a route at a moment is not known here.

use super::{record::MessageRecord, state::RecipientState};
use crate::budget::AccountKey;

/// A route as a number; 0 is that of mail for which none was found, which the main account has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RouteKey(u32);

impl RouteKey {
    /// Of a route with this name.
    pub(crate) fn of(name: &str) -> Self {
        Self(crc32fast::hash(name.as_bytes()).max(1))
    }
}

/// By which way a message leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Way {
    /// Whichever account has this route at the moment.
    Route(RouteKey),
    /// This account and no other: it may have sent it already, and only it can be asked again.
    Account(AccountKey),
}

impl Default for Way {
    fn default() -> Self {
        Self::UNROUTED
    }
}

impl Way {
    /// That of mail for which no route was found.
    pub(super) const UNROUTED: Self = Self::Route(RouteKey(0));

    /// That of a message.
    pub(crate) fn of(record: &MessageRecord) -> Self {
        let is_uncertain =
            |state: &RecipientState| matches!(state, RecipientState::Queued { resend: true, .. });
        if record.recipients.iter().any(|one| is_uncertain(&one.state)) {
            return Self::Account(record.tried_by());
        }
        Self::Route(record.route.as_deref().map(RouteKey::of).unwrap_or_default())
    }
}
