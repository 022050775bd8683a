//! The messages that a deed is for: some of a list, or all that a search finds.

use maud::{Markup, html};

use super::{layout::said, site::Site, visitor::Form};
use crate::{
    admin::{
        api::{Kind, Message},
        client::ClientError,
        counts::CountBy,
        listing::Of,
    },
    queue::{id::QueueId, only::Only, search::Search},
};

/// Messages that are shown in a question.
const SHOWN_MAX: usize = 50;

/// Which messages.
#[derive(Clone, Debug)]
pub(super) enum Chosen {
    /// These.
    These(Vec<QueueId>),
    /// All of a list that are found, up to the last one that was counted.
    Found { of: Of, search: Search, until: Option<QueueId> },
}

impl Chosen {
    /// What a form has chosen; `None` when the page has not made it.
    pub(super) fn of(form: &Form) -> Option<Self> {
        if form.get("all") != "yes" {
            return form.all("id").map(str::parse).collect::<Result<_, _>>().ok().map(Self::These);
        }
        let of = match form.get("of") {
            "queue" => Of::Queue,
            "dead" => Of::DeadLetters,
            _ => return None,
        };
        let until = Some(form.get("until")).filter(|until| !until.is_empty());
        let until = until.map(str::parse).transpose().ok()?;
        Some(Self::Found { of, search: of.search(form.get("search")).ok()?, until })
    }

    /// The same as fields of a form.
    pub(super) fn fields(&self) -> Markup {
        match self {
            Self::These(ids) => html! {
                @for id in ids { input type="hidden" name="id" value=(id); }
            },
            Self::Found { of, search, until } => html! {
                (found(*of, &search.to_string()))
                @if let Some(until) = until { input type="hidden" name="until" value=(until); }
            },
        }
    }

    /// How many they are, and the first of them. All that are found end from here on with the last one that was counted:
    /// what comes in while somebody reads the question is not meant.
    pub(super) async fn counted(self, site: &Site) -> Result<Counted, ClientError> {
        match self {
            Self::These(ids) => {
                let (mut there, mut first, mut recipients) = (Vec::new(), Vec::new(), 0);
                let chosen = ids.len();
                for id in ids {
                    let message = match site.client.message(id).await {
                        Err(error) if error.kind() == Some(Kind::NotFound) => continue,
                        message => message?,
                    };
                    // What has left is known for a while, and nothing can be done to it.
                    if message.end.is_none() {
                        there.push(id);
                        recipients += message.recipients.len() as u64;
                        first.extend((first.len() < SHOWN_MAX).then_some(message));
                    }
                }
                let (number, gone) = (there.len() as u64, (chosen - there.len()) as u64);
                Ok(Counted { number, recipients, gone, first, chosen: Self::These(there) })
            }
            Self::Found { of, search, .. } => {
                let counts = site.client.counts(of, CountBy::State, &search, 1).await?;
                let mut walk = site.client.walk(of, None).of(search.clone(), None);
                let mut first = Vec::new();
                while first.is_empty() && counts.messages > 0 {
                    let Some(page) = walk.page(SHOWN_MAX).await? else { break };
                    first = page;
                }
                let chosen = Self::Found { of, search, until: counts.until };
                let (number, recipients) = (counts.messages, counts.recipients);
                Ok(Counted { number, recipients, gone: 0, first, chosen })
            }
        }
    }

    /// What must be so at the moment of the deed, whatever a list has shown before.
    pub(super) fn only(&self, is_retry: bool) -> Only {
        match self {
            Self::These(_) => Only::default(),
            Self::Found { of: Of::DeadLetters, search, .. } => {
                Only::with("dead").found_by(search.clone())
            }
            Self::Found { search, .. } => Only::found(search, is_retry),
        }
    }

    /// What of a list they are, when they are all of it that is found.
    pub(super) fn description(&self) -> Markup {
        match self {
            Self::Found { search, .. } if !search.is_everything() => {
                html! { p { "All that are found by " (said(&search.to_string())) ", on every page of the list." } }
            }
            Self::Found { .. } => html! { p { "All of the list, on every page of it." } },
            Self::These(_) => html! {},
        }
    }
}

/// Chosen messages, counted.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) chosen: Chosen,
    pub(super) number: u64,
    /// How many recipients they have.
    pub(super) recipients: u64,
    /// Chosen ones that have left meanwhile.
    pub(super) gone: u64,
    /// The first of them.
    pub(super) first: Vec<Message>,
}

/// All that is found by these words, as fields of a form.
pub(super) fn found(of: Of, search: &str) -> Markup {
    html! {
        input type="hidden" name="all" value="yes";
        input type="hidden" name="of" value=(name(of));
        input type="hidden" name="search" value=(search);
    }
}

/// A list by its name in a form.
pub(super) fn name(of: Of) -> &'static str {
    match of {
        Of::Queue => "queue",
        Of::DeadLetters => "dead",
        Of::History => "history",
    }
}
