//! When mail leaves next, and what decides that.
//!
//! Rule: pure; the first obstacle that only time or a person removes is the one that is named:
//! the account before the budget, the budget before the due time. Must not know how facts are gathered.

use super::api::{Account, Because, Budget, Departure};
use crate::clock::Timestamp;

/// Decides from what is known at `now`. `next_due` is the earliest due time of a waiting recipient,
/// `pace_until` the time before which the pool will start no attempt.
#[must_use]
pub fn departure(
    now: Timestamp,
    next_due: Option<Timestamp>,
    account: &Account,
    budget: &Budget,
    brake: Option<(Timestamp, Because)>,
) -> Departure {
    let Some(due) = next_due else { return Departure { at: None, because: Because::Empty } };
    let at_least_due = |at: Option<Timestamp>| at.map(|at| at.max(due));
    if !account.is_open() && account.until.is_none_or(|until| until > now.max(due)) {
        return Departure { at: at_least_due(account.until), because: Because::Account };
    }
    if budget.room == 0 && budget.frees_at.is_none_or(|frees| frees > due) {
        return Departure { at: at_least_due(budget.frees_at), because: Because::Budget };
    }
    if due > now {
        return Departure { at: Some(due), because: Because::Due };
    }
    match brake {
        Some((until, because)) if until > now => Departure { at: Some(until), because },
        _ => Departure { at: Some(now), because: Because::Now },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::state::{AccountCondition, AccountState};

    const NOW: Timestamp = Timestamp(1_000);

    fn open() -> Account {
        Account::new(None, AccountState::open(Timestamp(0)))
    }

    fn paused(until: Option<i64>) -> Account {
        let condition = AccountCondition::PausedCredentials;
        let until = until.map(Timestamp);
        Account::new(None, AccountState { condition, until, ..AccountState::open(Timestamp(0)) })
    }

    fn budget(room: u32, frees_at: Option<i64>) -> Budget {
        Budget {
            now: NOW,
            recipients_per_day: 500,
            owner_reserve: 25,
            limit: 475,
            notice_reserve: 0,
            urgent_reserve: 0,
            spent: 475 - room,
            room,
            urgent_room: room,
            frees_at: frees_at.map(Timestamp),
            full_since: None,
        }
    }

    fn check(
        due: Option<i64>,
        account: &Account,
        budget: &Budget,
        at: Option<i64>,
        because: Because,
    ) {
        let found = departure(NOW, due.map(Timestamp), account, budget, None);
        assert_eq!(found, Departure { at: at.map(Timestamp), because });
    }

    #[test]
    fn the_first_obstacle_is_named_with_its_end() {
        let (rich, spent) = (budget(10, Some(1_000)), budget(0, Some(9_000)));
        check(None, &open(), &rich, None, Because::Empty);
        check(Some(900), &open(), &rich, Some(1_000), Because::Now);
        check(Some(3_000), &open(), &rich, Some(3_000), Because::Due);
        check(Some(900), &open(), &spent, Some(9_000), Because::Budget);
        // The budget frees before the retry is due: the retry decides.
        check(Some(9_500), &open(), &spent, Some(9_500), Because::Due);
        check(Some(900), &open(), &budget(0, None), None, Because::Budget);
        check(Some(900), &paused(Some(5_000)), &spent, Some(5_000), Because::Account);
        // Only a person can end this pause.
        check(Some(900), &paused(None), &rich, None, Because::Account);
        // A pause that is over no longer counts.
        check(Some(900), &paused(Some(800)), &rich, Some(1_000), Because::Now);
    }

    #[test]
    fn pacing_is_named_only_for_mail_that_is_due() {
        let rich = budget(10, Some(1_000));
        let paced = departure(
            NOW,
            Some(Timestamp(900)),
            &open(),
            &rich,
            Some((Timestamp(1_700), Because::Pace)),
        );
        assert_eq!(paced, Departure { at: Some(Timestamp(1_700)), because: Because::Pace });
    }
}
