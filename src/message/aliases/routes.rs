//! The receivers of mail for an address: aliases, then the administrator for every other name of this host.
//!
//! Rule: it always ends, each name is followed once, each address comes once, and the way to it is told.
//! Nobody is left out in silence: more than [`RECIPIENTS_MAX`] are an error. Must not know SMTP.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
};

use thiserror::Error;

use super::{Aliases, normalized};
use crate::smtp::address::Address;

/// Addresses that one message may have once all aliases are applied: as many as `listener.max_recipients`
/// may be, and twice the day of a Gmail account.
pub const RECIPIENTS_MAX: usize = 1_000;
/// Aliases that are applied one after another.
pub(crate) const ALIASES_DEEP_MAX: usize = 20;
/// Names and addresses that are looked at for one address.
const STEPS_MAX: usize = 20_000;

/// Which addresses mean this host, and who reads what nobody else does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalNames {
    /// Who gets mail for names that no alias has: `identity.admin`, else the account.
    pub admin: Option<Address>,
    /// The names of this host; `localhost` need not be among them.
    pub domains: Vec<String>,
    /// Who gets everything instead of those it was for: `identity.redirect_all`.
    pub redirect_all: Option<Address>,
}

impl LocalNames {
    /// The name of somebody on this host, normalized; `None` for everybody else.
    #[must_use]
    pub(crate) fn name_of(&self, address: &Address) -> Option<String> {
        let here = |domain: &str| {
            let domain = domain.trim_end_matches('.');
            let usual = ["localhost", "localhost.localdomain"].into_iter();
            usual
                .chain(self.domains.iter().map(String::as_str))
                .any(|known| known.eq_ignore_ascii_case(domain))
        };
        address.domain().is_none_or(here).then(|| normalized(address.local_part()))
    }
}

/// What is known of all recipients.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// The aliases file.
    pub(crate) aliases: Aliases,
    /// The rest.
    pub(crate) local: LocalNames,
}

/// One address that gets the mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The address.
    pub(crate) address: Address,
    /// The names on the way, the one that was asked for first; empty when no name was followed.
    pub(crate) by: Vec<String>,
    /// The last name has no alias, so the mail goes to the administrator.
    pub(crate) to_admin: bool,
}

impl fmt::Display for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.by {
            write!(formatter, "{} -> ", name.escape_debug())?;
        }
        if self.to_admin {
            formatter.write_str("(no alias: identity.admin) -> ")?;
        }
        self.address.fmt(formatter)
    }
}

/// Why mail for an address cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unrouted {
    /// No alias, and no administrator.
    #[error(
        "nobody reads mail for {0}: add a line to the aliases file, or set identity.admin in relay.toml"
    )]
    Nobody(String),
    /// More than we send one message to.
    #[error("{0} stands for more than {RECIPIENTS_MAX} addresses: use a mailing list instead")]
    TooMany(String),
}

/// An address on the way, and how it was reached.
struct Step {
    address: Address,
    is_final: bool,
    /// The step that led here.
    from: Option<usize>,
    depth: usize,
}

impl Routes {
    /// What these octets of an aliases file mean on this host.
    #[must_use]
    pub fn read(bytes: &[u8], local: LocalNames) -> Self {
        Self { aliases: Aliases::read(bytes), local }
    }

    /// Who gets mail for an address, each once, in the order of the file. `redirect_all` is not applied.
    ///
    /// # Errors
    /// [`Unrouted`].
    pub(crate) fn of(&self, address: &Address) -> Result<Vec<Route>, Unrouted> {
        if self.local.name_of(address).is_none() {
            return Ok(vec![Route { address: address.clone(), by: Vec::new(), to_admin: false }]);
        }
        let mut search = Search::new(address);
        while let Some(position) = search.waiting.pop_front() {
            let step = &search.steps[position];
            let Some(name) = self.local.name_of(&step.address) else {
                search.arrive(position, step.address.clone(), false)?;
                continue;
            };
            let is_final = step.is_final || step.depth > ALIASES_DEEP_MAX;
            match self.aliases.entries.get(&name).filter(|_| !is_final) {
                Some(entry) => search.follow(position, &name, &entry.targets)?,
                None => self.to_admin(position, name, &mut search)?,
            }
        }
        if search.found.is_empty() {
            // Nothing but a circle.
            let name = self.local.name_of(address).unwrap_or_default();
            self.to_admin(0, name, &mut search)?;
        }
        Ok(search.found)
    }

    fn to_admin(
        &self,
        position: usize,
        name: String,
        search: &mut Search<'_>,
    ) -> Result<(), Unrouted> {
        let Some(admin) = &self.local.admin else { return Err(Unrouted::Nobody(name)) };
        search.arrive(position, admin.clone(), true)
    }

    /// Where mail for an address goes, one line for each recipient, for a person: `sendmail -bv`.
    #[must_use]
    pub(crate) fn explain(&self, address: &Address) -> Vec<String> {
        let routes = match self.of(address) {
            Ok(routes) => routes,
            Err(reason) => return vec![reason.to_string()],
        };
        let redirected = |route: &Route| match &self.local.redirect_all {
            Some(everything) => format!("{route} -> (identity.redirect_all) -> {everything}"),
            None => route.to_string(),
        };
        routes.iter().map(redirected).collect()
    }
}

/// One address that is being followed.
struct Search<'a> {
    asked: &'a Address,
    steps: Vec<Step>,
    waiting: VecDeque<usize>,
    /// Names that were followed.
    names: HashSet<String>,
    addresses: HashSet<String>,
    found: Vec<Route>,
}

impl<'a> Search<'a> {
    fn new(asked: &'a Address) -> Self {
        Self {
            asked,
            steps: vec![Step { address: asked.clone(), is_final: false, from: None, depth: 0 }],
            waiting: VecDeque::from([0]),
            names: HashSet::new(),
            addresses: HashSet::new(),
            found: Vec::new(),
        }
    }

    fn too_many(&self) -> Unrouted {
        Unrouted::TooMany(self.asked.to_string())
    }

    fn follow(
        &mut self,
        position: usize,
        name: &str,
        targets: &[super::Target],
    ) -> Result<(), Unrouted> {
        if !self.names.insert(name.to_owned()) {
            return Ok(());
        }
        if self.steps.len() + targets.len() > STEPS_MAX {
            return Err(self.too_many());
        }
        let depth = self.steps[position].depth + 1;
        // In front of all that waits, so that the addresses keep the order of the file.
        for target in targets.iter().rev() {
            let is_itself = target.address.domain().is_none()
                && normalized(target.address.local_part()) == name;
            self.waiting.push_front(self.steps.len());
            self.steps.push(Step {
                address: target.address.clone(),
                is_final: target.is_final || is_itself,
                from: Some(position),
                depth,
            });
        }
        Ok(())
    }

    fn arrive(
        &mut self,
        position: usize,
        address: Address,
        to_admin: bool,
    ) -> Result<(), Unrouted> {
        if !self.addresses.insert(same_mailbox(&address)) {
            return Ok(());
        }
        if self.found.len() == RECIPIENTS_MAX {
            return Err(self.too_many());
        }
        let mut by = Vec::new();
        let mut at = if to_admin { Some(position) } else { self.steps[position].from };
        while let Some(step) = at {
            by.push(self.steps[step].address.to_string());
            at = self.steps[step].from;
        }
        by.reverse();
        self.found.push(Route { address, by, to_admin });
        Ok(())
    }
}

/// What two spellings of one mailbox have in common: only the domain knows no case for certain.
#[must_use]
pub(crate) fn same_mailbox(address: &Address) -> String {
    let mut mailbox = String::with_capacity(address.as_str().len());
    mailbox.push_str(address.local_part());
    if let Some(domain) = address.domain() {
        mailbox.push('@');
        let begins = mailbox.len();
        if domain.is_ascii() {
            mailbox.push_str(domain);
            mailbox[begins..].make_ascii_lowercase();
        } else {
            mailbox.push_str(&domain.to_lowercase());
        }
    }
    mailbox
}

/// Whether two addresses are spellings of one mailbox.
#[must_use]
pub(crate) fn is_same_mailbox(one: &Address, other: &Address) -> bool {
    let domains = one.domain().zip(other.domain());
    match domains.filter(|(one, other)| one.is_ascii() && other.is_ascii()) {
        Some((domain, same)) => {
            one.local_part() == other.local_part() && domain.eq_ignore_ascii_case(same)
        }
        None => same_mailbox(one) == same_mailbox(other),
    }
}
