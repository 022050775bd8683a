//! The situations of all accounts, for the mail of each.
//!
//! Rule: pure. A message's situation is that of the account that has it at the moment. Must not know who asks.

use std::collections::BTreeMap;

use super::{
    order::ServedBy,
    record::MessageRecord,
    schedule::Due,
    waiting::{Departure, Situation},
    way::Way,
};
#[cfg(test)]
use crate::clock::Timestamp;
use crate::{
    budget::{AccountKey, MAIN},
    message::envelope::Lane,
};

/// The earliest time at which a recipient is due, by the account that has the mail, and by lane.
pub(crate) type NextDue = BTreeMap<(AccountKey, Lane), Due>;

/// The situations of all accounts at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Situations {
    main: Situation,
    others: BTreeMap<AccountKey, Situation>,
    served_by: ServedBy,
}

impl Situations {
    /// Of the main account, and of those there are besides it.
    pub(crate) fn new(
        main: Situation,
        others: BTreeMap<AccountKey, Situation>,
        served_by: ServedBy,
    ) -> Self {
        Self { main, others, served_by }
    }

    /// Of one account, with nothing in the way of anything.
    #[cfg(test)]
    pub(crate) fn clear(now: Timestamp) -> Self {
        Self::new(Situation::clear(now), BTreeMap::new(), ServedBy::default())
    }

    /// That of an account; of one that there is none of, the main one's.
    pub(crate) fn of_account(&self, account: AccountKey) -> &Situation {
        self.others.get(&account).unwrap_or(&self.main)
    }

    /// That of the account that has a message.
    pub(crate) fn of(&self, record: &MessageRecord) -> &Situation {
        if self.others.is_empty() {
            return &self.main;
        }
        self.of_account(self.served_by.account_of(Way::of(record)))
    }

    /// Whether there are accounts besides the main one.
    pub(crate) fn has_several_accounts(&self) -> bool {
        !self.others.is_empty()
    }

    /// The name of the account that has a message, or has tried it last; `None` where there is only one.
    pub(crate) fn account_of(&self, record: &MessageRecord) -> Option<String> {
        let name = || match record.end {
            Some(_) => record.account.clone(),
            None => self.of(record).name.as_deref().map(str::to_owned),
        };
        self.has_several_accounts().then(|| name().unwrap_or_else(|| MAIN.to_owned()))
    }

    /// When the first of several leaves.
    pub(crate) fn first_departure(&self, next_due: &NextDue) -> Departure {
        let departures = [(AccountKey::MAIN, &self.main)]
            .into_iter()
            .chain(self.others.iter().map(|(account, situation)| (*account, situation)))
            .filter_map(|(account, situation)| {
                let mut own = of_account(next_due, account).peekable();
                own.peek().is_some().then(|| situation.first_departure(own))
            });
        let first = departures.min_by_key(Departure::rank);
        first.unwrap_or_else(|| self.main.first_departure([]))
    }
}

/// What of it one account has.
pub(crate) fn of_account(
    next_due: &NextDue,
    account: AccountKey,
) -> impl Iterator<Item = (Lane, Due)> {
    let own = next_due.iter().filter(move |((of, _), _)| *of == account);
    own.map(|((_, lane), due)| (*lane, *due))
}
