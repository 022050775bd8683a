//! `[[account]]`: further accounts, each with the keys of `[upstream]` and with those of `[budget]` and `[identity]`
//! that are an account's and not the host's.
//!
//! Rule: each is read and checked by the same code as the main one; what that finds is said of the account's own lines. One
//! budget is never counted as two. Must not know which mail goes by which account.

use std::{
    fmt,
    path::Path,
    sync::{Arc, LazyLock},
};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{
    document::{ACCOUNT, numbered},
    identity::{Identity, Mailbox},
    listener::STOP_WAIT,
    report::Report,
    shown::{self, Shown},
    storage::{Allowance, Budget, Queue},
    surroundings::Surroundings,
    upstream::{Account as Completeness, Connection, Upstream},
    value::{self, Keys, field_names, tables_up_to},
};
use crate::{
    aliases_file::AliasesFile,
    budget::{AccountKey, MAIN},
    delivery,
    message::identity::Identity as MessageIdentity,
    rules::NAME_LENGTH_MAX,
    smtp::address::Address,
    text,
};

/// Accounts beside the main one: each has its connections and its threads of work.
const ACCOUNTS_MAX: usize = 15;
/// The keys of `[budget]` that each account has; the others are about what origins take from each other, whatever the
/// account.
const OF_BUDGET: [&str; 5] =
    ["recipients_per_day", "owner_reserve", "notice_reserve", "urgent_reserve", "pace_per_minute"];
/// The keys of `[identity]` that each account has; the others are this host's.
const OF_IDENTITY: [&str; 2] = ["from", "send_as"];

/// All sections of this name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Accounts(Vec<Account>);

/// One of them. Its keys stand beside each other in the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Account {
    name: Option<String>,
    upstream: Upstream,
    budget: Budget,
    identity: Identity,
}

/// An account beside the main one.
#[derive(Clone, Debug)]
pub(crate) struct FurtherAccount {
    /// Unlike all others; its number is that of `delivery`.
    pub(crate) name: String,
    /// For its delivery.
    pub(crate) delivery: delivery::Options,
    /// Recipients of each day that are left to its owner; delivery never sees them.
    pub(crate) owner_reserve: u32,
}

/// The name, and what each section gives.
static KEYS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let upstream = field_names::<Upstream>().iter().copied();
    ["name"].into_iter().chain(upstream).chain(OF_BUDGET).chain(OF_IDENTITY).collect()
});

impl<'de> Deserialize<'de> for Accounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        tables_up_to(deserializer, ACCOUNTS_MAX).map(Self)
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("Account", &KEYS, Reader)
    }
}

/// Reads an account, each key by the section that knows it.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Account;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a section whose name stands in two brackets: [[account]]")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Account, M::Error> {
        let mut account = Account::default();
        while let Some(key) = map.next_key_seed(KnownKey)? {
            if key == "name" {
                account.name = map.next_value_seed(Word)?;
            } else if OF_BUDGET.contains(&key) {
                take(&mut account.budget, key, &mut map)?;
            } else if OF_IDENTITY.contains(&key) {
                take(&mut account.identity, key, &mut map)?;
            } else {
                take(&mut account.upstream, key, &mut map)?;
            }
        }
        Ok(account)
    }
}

/// Lets a section read its key.
fn take<'de, T: Deserialize<'de> + Keys, M: MapAccess<'de>>(
    section: &mut T,
    key: &'static str,
    map: &mut M,
) -> Result<(), M::Error> {
    let alone = MapAccessDeserializer::new(OneKey { key: Some(key), map });
    section.keep(key, &T::deserialize(alone)?);
    Ok(())
}

/// A key of the account; refused where it stands when there is none of this name.
struct KnownKey;

impl<'de> DeserializeSeed<'de> for KnownKey {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KnownKey {
    type Value = &'static str;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<&'static str, E> {
        let known = KEYS.iter().find(|key| **key == name);
        known.copied().ok_or_else(|| E::unknown_field(name, &KEYS))
    }
}

struct Word;

impl<'de> DeserializeSeed<'de> for Word {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        value::word(deserializer)
    }
}

/// A map of which one key is taken.
struct OneKey<'a, M> {
    key: Option<&'static str>,
    map: &'a mut M,
}

impl<'de, M: MapAccess<'de>> MapAccess<'de> for OneKey<'_, M> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, M::Error> {
        self.key
            .take()
            .map(|key| seed.deserialize(de::value::StrDeserializer::new(key)))
            .transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, M::Error> {
        self.map.next_value_seed(seed)
    }
}

impl Keys for Account {
    fn changed(&self, other: &Self) -> Vec<&'static str> {
        let mut changed = self.upstream.changed(&other.upstream);
        changed.extend(self.budget.changed(&other.budget));
        changed.extend(self.identity.changed(&other.identity));
        changed
    }

    fn keep(&mut self, key: &str, other: &Self) {
        self.upstream.keep(key, &other.upstream);
        self.budget.keep(key, &other.budget);
        self.identity.keep(key, &other.identity);
    }

    fn shown(&self) -> shown::Keys {
        let name = self.name.clone().map_or(Shown::Nothing, Shown::Text);
        let parts = [self.upstream.shown(), self.budget.shown(), self.identity.shown()];
        let all = parts.into_iter().flatten().filter(|(key, _)| KEYS.contains(key));
        [("name", name)].into_iter().chain(all).collect()
    }
}

/// A list of sections stands in the place of a section of its own. Where another account is there than before, nothing of the
/// list is taken before a restart, so that no account gets what was written of another one.
impl Keys for Accounts {
    fn changed(&self, other: &Self) -> Vec<&'static str> {
        if !self.are_those_of(other) {
            return vec!["name"];
        }
        let changed: Vec<&str> =
            self.0.iter().zip(&other.0).flat_map(|(own, other)| own.changed(other)).collect();
        KEYS.iter().copied().filter(|key| changed.contains(key)).collect()
    }

    fn keep(&mut self, key: &str, other: &Self) {
        if self.are_those_of(other) {
            self.0.iter_mut().zip(&other.0).for_each(|(own, other)| own.keep(key, other));
        } else {
            self.clone_from(other);
        }
    }

    fn shown(&self) -> shown::Keys {
        vec![("", Shown::Sections(self.0.iter().map(Keys::shown).collect()))]
    }
}

/// What all accounts of this host share.
pub(super) struct Shared<'a> {
    pub(super) surroundings: &'a Surroundings,
    /// Where the relay keeps what it writes.
    pub(super) state: &'a Path,
    pub(super) hostname: &'a str,
    /// Whether somebody is relayed as by the main account.
    pub(super) main: Completeness,
    /// The administrator.
    pub(super) admin: Option<Address>,
    /// As which mail of this host without a domain is sent by the main account, and so by all.
    pub(super) domain: String,
    pub(super) recipients: Arc<AliasesFile>,
}

impl Accounts {
    /// Whether the same accounts are there in the same order.
    fn are_those_of(&self, other: &Self) -> bool {
        let names = |all: &Self| all.0.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
        names(self) == names(other)
    }

    /// The same with what each one's provider decides where nobody has written anything.
    pub(super) fn provide(&mut self) {
        for account in &mut self.0 {
            account.budget.provide(account.upstream.provider().profile());
            account.upstream.provide();
        }
    }

    /// Mailboxes elsewhere that are the accounts' own.
    pub(super) fn mailboxes(&self) -> impl Iterator<Item = Address> {
        self.0.iter().flat_map(|one| {
            one.upstream.mailbox().into_iter().chain(one.identity.send_as.iter().cloned())
        })
    }

    /// The accounts beside `main`, whose options are these.
    pub(super) fn check(
        &self,
        queue: &Queue,
        main: &delivery::Options,
        shared: &Shared<'_>,
        report: &mut Report<'_>,
    ) -> Vec<FurtherAccount> {
        let mut checked: Vec<FurtherAccount> = Vec::new();
        for (index, section) in self.0.iter().enumerate() {
            let place = numbered(ACCOUNT, index);
            let name = section.name(&place, &checked, report);
            let (account, complete) = report.of_account(index, name.as_deref(), |report| {
                section.check(name.as_deref().unwrap_or_default(), queue, shared, report)
            });
            // What is not complete has a problem of its own.
            let is = |other: &delivery::Options| {
                complete == Completeness::Complete && is_same(other, &account.delivery)
            };
            let mut others = checked.iter().map(|one| (one.name.as_str(), &one.delivery));
            let main = Some((MAIN, main)).filter(|_| shared.main == Completeness::Complete);
            let same = main.into_iter().chain(&mut others).find(|(_, other)| is(other));
            if let Some((other, options)) = same {
                let what = match options.login {
                    Some(_) => format!("the account {other} logs in there with the same name"),
                    None => format!("the account {other} is there as well, by the same address"),
                };
                let what = format!("{what}, and its budget would be counted twice");
                let remedy = "Remove one of the two: several senders of one account need send_as.";
                report.add(&place, "username", what, remedy);
            }
            if name.is_some() {
                checked.push(account);
            }
        }
        checked
    }
}

/// Who is who, for delivery.
pub(super) type People = (Option<Address>, MessageIdentity, Arc<AliasesFile>);

/// What delivery is told.
pub(super) fn delivery_options(
    account: AccountKey,
    upstream: Connection,
    allowance: Allowance,
    queue: &Queue,
    (admin, identity, recipients): People,
) -> delivery::Options {
    delivery::Options {
        account,
        provider: upstream.provider,
        host: upstream.host,
        port: upstream.port,
        transport: upstream.transport,
        tls: upstream.tls,
        other_way: upstream.other_way,
        ip_family: upstream.ip_family,
        login: upstream.login,
        ehlo_name: upstream.ehlo_name,
        ca_file: upstream.ca_file,
        connections: upstream.connections,
        logins_per_hour: upstream.logins_per_hour,
        recipients_per_day: allowance.recipients_per_day,
        notice_reserve: allowance.notice_reserve,
        urgent_reserve: allowance.urgent_reserve,
        pace_per_minute: upstream.transport.pace(allowance.pace_per_minute),
        lifetime: queue.lifetime,
        uncertain: queue.uncertain,
        admin,
        identity,
        recipients,
        drain: STOP_WAIT,
        limits: delivery::Limits {
            recipients_per_transaction: upstream.recipients_per_message,
            ..delivery::Limits::default()
        },
    }
}

/// Where accounts of Gmail are over SMTP.
const GOOGLE_HOST: &str = "smtp.gmail.com";

/// Whether two accounts are one for the server.
fn is_same(one: &delivery::Options, other: &delivery::Options) -> bool {
    let who = |options: &delivery::Options| {
        let login = options.login.as_ref().map(|login| login.username.to_lowercase());
        // The API's name is another one, and the account is the same.
        let host = if options.is_api() { GOOGLE_HOST } else { &options.host };
        (host.to_lowercase(), login)
    };
    who(one) == who(other)
}

impl Account {
    fn name(
        &self,
        place: &str,
        others: &[FurtherAccount],
        report: &mut Report<'_>,
    ) -> Option<String> {
        const REMEDY: &str =
            "Write for example name = \"newsletter\": routes, logs and commands call it so.";
        let Some(name) = self.name.as_deref() else {
            report.add_lack(place, "name", "the account has no name", REMEDY);
            return None;
        };
        let clash = others.iter().find(|one| one.delivery.account == AccountKey::of(name));
        let what = if !text::is_plain_name(name, NAME_LENGTH_MAX) {
            format!(
                "{} is not a name of at most {NAME_LENGTH_MAX} letters (a to z), digits and -",
                value::shown(name)
            )
        } else if name == MAIN {
            format!("{MAIN} is the account that [upstream] describes")
        } else if let Some(other) = clash {
            match other.name == name {
                true => format!("another account is called {name}"),
                false => format!(
                    "{name} has the same number (CRC-32) as the account {}, and what each has spent is kept by its number",
                    other.name
                ),
            }
        } else {
            return Some(name.to_owned());
        };
        report.add(place, "name", what, "Choose another name.");
        None
    }

    fn check(
        &self,
        name: &str,
        queue: &Queue,
        shared: &Shared<'_>,
        report: &mut Report<'_>,
    ) -> (FurtherAccount, Completeness) {
        let upstream = self.upstream.check(shared.surroundings, (name, shared.state), report);
        let address = upstream.mailbox();
        let mailbox = Mailbox::of(address.as_ref(), upstream.account);
        let identity = self.identity.check(mailbox, shared.hostname, report);
        let identity = MessageIdentity { domain: shared.domain.clone(), ..identity };
        let allowance = self.budget.check((upstream.provider, &upstream.host), report);
        let people = (shared.admin.clone(), identity, Arc::clone(&shared.recipients));
        let complete = upstream.account;
        let account = FurtherAccount {
            name: name.to_owned(),
            delivery: delivery_options(AccountKey::of(name), upstream, allowance, queue, people),
            owner_reserve: allowance.owner_reserve,
        };
        (account, complete)
    }
}

#[cfg(test)]
mod tests;
