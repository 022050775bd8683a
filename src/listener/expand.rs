//! The recipients of a transaction as the queue will have them: names of this host replaced by addresses.
//!
//! Rule: each address comes once, so that the budget counts people; what was asked for a recipient (RFC 3461)
//! is kept for all whom it stands for; nobody is left out without a refusal. Must not know where aliases
//! come from.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::transaction_log;
use crate::{
    message::aliases::{RECIPIENTS_MAX, Routes, Unrouted, same_mailbox},
    smtp::{
        address::Address,
        dsn::{Notify, ORIGINAL_RECIPIENT_LENGTH_MAX, RecipientDsn},
        server::{Refusal, Transaction},
    },
};

/// A transaction whose recipients are addresses.
#[derive(Debug)]
pub(super) struct Expanded {
    pub(super) transaction: Transaction,
    /// Those that it was for, when all mail is redirected.
    pub(super) redirected: Vec<Address>,
}

impl Unrouted {
    /// What the client is told.
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::Nobody(_) => Refusal::NobodyReads,
            Self::TooMany(_) => Refusal::TooManyAddresses { limit: RECIPIENTS_MAX },
        }
    }
}

/// Replaces the recipients.
pub(super) fn expand(
    mut transaction: Transaction,
    routes: &Routes,
    client: IpAddr,
) -> Result<Expanded, Unrouted> {
    let asked = std::mem::take(&mut transaction.forward_paths);
    let mut wishes = std::mem::take(&mut transaction.dsn.recipients);
    let mut recipients = Recipients::default();
    for (place, path) in asked.iter().enumerate() {
        let wish = wishes.remove(&place).unwrap_or_default();
        match &routes.local.redirect_all {
            Some(everything) => recipients.add(path, everything.clone(), &wish)?,
            None => {
                for route in routes.of(path)? {
                    recipients.add(path, route.address, &wish)?;
                }
            }
        }
    }
    if recipients.paths != asked {
        transaction_log::expanded(client, &asked, recipients.paths.len());
    }
    transaction.forward_paths = recipients.paths;
    transaction.dsn.recipients = recipients.wishes;
    let redirected = if routes.local.redirect_all.is_some() { asked } else { Vec::new() };
    Ok(Expanded { transaction, redirected })
}

#[derive(Default)]
struct Recipients {
    paths: Vec<Address>,
    wishes: BTreeMap<usize, RecipientDsn>,
    places: HashMap<String, usize>,
}

impl Recipients {
    fn add(
        &mut self,
        asked: &Address,
        address: Address,
        wish: &RecipientDsn,
    ) -> Result<(), Unrouted> {
        let key = same_mailbox(&address);
        if let Some(place) = self.places.get(&key) {
            self.merge(*place, wish);
            return Ok(());
        }
        if self.paths.len() == RECIPIENTS_MAX {
            return Err(Unrouted::TooMany(asked.to_string()));
        }
        let mut wish = wish.clone();
        if address != *asked && wish.original_recipient.is_none() {
            wish.original_recipient = original_recipient(asked);
        }
        if wish != RecipientDsn::default() {
            self.wishes.insert(self.paths.len(), wish);
        }
        self.places.insert(key, self.paths.len());
        self.paths.push(address);
        Ok(())
    }

    /// Two recipients are one person, who is told of whatever was asked for either.
    fn merge(&mut self, place: usize, wish: &RecipientDsn) {
        let known = self.wishes.get(&place).and_then(|wish| wish.notify);
        // Who asks for nothing hears of a failure (RFC 3461 section 4.1).
        let usual = Notify { failure: true, ..Notify::default() };
        let merged = match (known, wish.notify) {
            (None, None) => return,
            (one, other) => {
                let (one, other) = (one.unwrap_or(usual), other.unwrap_or(usual));
                Notify {
                    success: one.success || other.success,
                    failure: one.failure || other.failure,
                    delay: one.delay || other.delay,
                }
            }
        };
        self.wishes.entry(place).or_default().notify = Some(merged);
    }
}

/// ORCPT for a recipient that came without one (RFC 3461 section 4.2, RFC 6533 section 3): a notice names
/// what the sender wrote.
fn original_recipient(asked: &Address) -> Option<String> {
    let kind = if asked.is_internationalized() { "utf-8" } else { "rfc822" };
    Some(format!("{kind};{asked}")).filter(|text| text.len() <= ORIGINAL_RECIPIENT_LENGTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{message::aliases::LocalNames, smtp::dsn::Dsn};

    const FILE: &str =
        "root: a@x.example, b@x.example\nadmin: A@x.example, b@X.example\nmany: root, admin";

    fn routes() -> Routes {
        let admin = "me@gmail.com".parse().ok();
        Routes::read(FILE.as_bytes(), LocalNames { admin, ..LocalNames::default() })
    }

    fn transaction(recipients: &[(&str, &str)]) -> Transaction {
        let wish =
            |notify: &str| RecipientDsn { notify: Notify::read(notify), original_recipient: None };
        let places = recipients.iter().enumerate().filter(|(_, (_, notify))| !notify.is_empty());
        let dsn = Dsn {
            recipients: places.map(|(place, (_, notify))| (place, wish(notify))).collect(),
            ..Dsn::default()
        };
        Transaction {
            reverse_path: None,
            forward_paths: recipients.iter().map(|(path, _)| path.parse().unwrap()).collect(),
            eight_bit: false,
            internationalized: false,
            dsn,
            login: None,
            helo: String::new(),
            protocol: "SMTP",
            proposed_id: None,
            claimed_user: None,
            priority: None,
        }
    }

    fn expanded(routes: &Routes, recipients: &[(&str, &str)]) -> Vec<String> {
        let expanded =
            expand(transaction(recipients), routes, IpAddr::from([127, 0, 0, 1])).unwrap();
        let transaction = expanded.transaction;
        let shown = |(place, path): (usize, &Address)| {
            let Some(wish) = transaction.dsn.recipients.get(&place) else {
                return path.to_string();
            };
            let notify = wish.notify.map_or_else(String::new, |notify| {
                format!(
                    " {}{}{}",
                    u8::from(notify.success),
                    u8::from(notify.failure),
                    u8::from(notify.delay)
                )
            });
            format!("{path}{notify} {}", wish.original_recipient.as_deref().unwrap_or("-"))
        };
        assert!(
            transaction.dsn.recipients.keys().all(|place| *place < transaction.forward_paths.len())
        );
        transaction.forward_paths.iter().enumerate().map(shown).collect()
    }

    #[test]
    fn names_become_addresses_and_wishes_follow_them() {
        let routes = routes();
        assert_eq!(
            expanded(
                &routes,
                &[("x@y.example", "NEVER"), ("root", "SUCCESS"), ("joe@z.example", "")]
            ),
            [
                "x@y.example 000 -",
                "a@x.example 100 rfc822;root",
                "b@x.example 100 rfc822;root",
                "joe@z.example",
            ]
        );
        assert_eq!(
            expanded(&routes, &[("nobody@localhost", "")]),
            ["me@gmail.com rfc822;nobody@localhost"]
        );
    }

    #[test]
    fn one_person_gets_one_copy_and_hears_of_whatever_was_asked_for_him() {
        let routes = routes();
        assert_eq!(
            expanded(
                &routes,
                &[("b@x.example", "NEVER"), ("root", ""), ("admin", "DELAY"), ("root", "")]
            ),
            ["b@x.example 011 -", "a@x.example rfc822;root", "A@x.example 001 rfc822;admin"]
        );
        assert_eq!(expanded(&routes, &[("u@y.example", ""), ("u@Y.EXAMPLE", "")]), ["u@y.example"]);
    }

    #[test]
    fn what_was_asked_for_by_name_is_kept() {
        let mut transaction = transaction(&[("root", "")]);
        let wish = RecipientDsn {
            notify: None,
            original_recipient: Some("rfc822;Root@old.example".into()),
        };
        transaction.dsn.recipients.insert(0, wish.clone());
        let expanded = expand(transaction, &routes(), IpAddr::from([127, 0, 0, 1])).unwrap();
        assert_eq!(
            expanded.transaction.dsn.recipients,
            BTreeMap::from([(0, wish.clone()), (1, wish)])
        );
        assert!(expanded.redirected.is_empty());
    }

    #[test]
    fn all_mail_can_go_to_one_address_which_learns_whom_it_was_for() {
        let mut routes = routes();
        routes.local.redirect_all = "test@example.org".parse().ok();
        let recipients = [("x@y.example", ""), ("root", "")];
        assert_eq!(expanded(&routes, &recipients), ["test@example.org rfc822;x@y.example"]);
        let expanded =
            expand(transaction(&recipients), &routes, IpAddr::from([127, 0, 0, 1])).unwrap();
        let names: Vec<&str> = expanded.redirected.iter().map(Address::as_str).collect();
        assert_eq!(names, ["x@y.example", "root"]);
    }

    #[test]
    fn too_many_and_nobody_are_refused_as_a_whole() {
        let list = |prefix: &str| -> String {
            (0..RECIPIENTS_MAX / 2 + 1)
                .map(|number| format!("{prefix}{number}@x.example,"))
                .collect()
        };
        let file = format!("one: {}\ntwo: {}\n", list("a"), list("b"));
        let routes = Routes::read(file.as_bytes(), LocalNames::default());
        let refusal = |recipients: &[(&str, &str)]| {
            let client = IpAddr::from([127, 0, 0, 1]);
            expand(transaction(recipients), &routes, client)
                .err()
                .map(|unrouted| unrouted.refusal())
        };
        assert_eq!(refusal(&[("one", "")]), None);
        let limit = RECIPIENTS_MAX;
        assert_eq!(refusal(&[("one", ""), ("two", "")]), Some(Refusal::TooManyAddresses { limit }));
        assert_eq!(refusal(&[("x@y.example", ""), ("nobody", "")]), Some(Refusal::NobodyReads));
    }
}
