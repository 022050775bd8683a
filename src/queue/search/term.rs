//! One word of a search: what it asks of a message, and how it is written.

use std::{fmt, net::IpAddr, time::Duration};

use ipnet::IpNet;

use crate::{
    clock::Timestamp,
    message::envelope::Lane,
    queue::{
        about::Client,
        fold::FOLDED,
        id::QueueId,
        record::MessageRecord,
        state::{Recipient, RecipientState},
    },
    text,
};

/// The keys with their signs, in the order of the documents. Those with `>` are compared, also with `<`: the words for
/// it, which need no quotes in a shell, stand before them.
pub(super) const KEYS: [&str; 18] = [
    "from:", "to:", "subject:", "id:", "client:", "user:", "lane:", "rule:", "storm:", "state:",
    "ended:", "reply:", "older:", "newer:", "larger:", "smaller:", "age>", "size>",
];

/// Where the messages are that a search is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the queue, where nothing has ended.
    Queue,
    /// In the history, where nothing waits.
    History,
}

/// The states in which a message leaves the queue.
const FINAL: [&str; 3] = ["relayed", "dead", FOLDED];

/// The units of an age, the largest first.
pub(super) const UNITS: [(&str, u64); 5] =
    [("w", 7 * 86_400), ("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];

/// A word, or what must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) is_not: bool,
    pub(super) test: Test,
}

/// What a word asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// The text stands somewhere: sender, recipients, subject, client, user, or at the beginning of the id.
    Anywhere(Text),
    From(Sender),
    To(Text),
    Subject(Text),
    /// The id begins so.
    Id(Text),
    Client(Clients),
    User(Text),
    /// It is folded into a storm, or was when it left the queue, whose id begins so.
    Storm(Text),
    Lane(Lane),
    /// The name of the rule that struck; a whole one.
    Rule(Text),
    /// The state's name, as screens call it.
    State(&'static str),
    /// How it left the queue, as the history calls it.
    Ended(&'static str),
    Reply(Text),
    Age(Than, Duration),
    Size(Than, u64),
}

/// Which side of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Than {
    Less,
    More,
}

/// A text that is looked for whatever the case of its letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(String);

/// Whose mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// The null reverse path.
    Null,
    Some(Text),
}

/// Which clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clients {
    Of(IpNet),
    Exactly(Client),
}

impl Text {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_lowercase())
    }

    fn is_in(&self, text: &str) -> bool {
        text::has_in_any_case(text, &self.0)
    }

    fn is(&self, text: &str) -> bool {
        text.eq_ignore_ascii_case(&self.0)
    }

    fn begins(&self, text: &str) -> bool {
        text.get(..self.0.len()).is_some_and(|part| part.eq_ignore_ascii_case(&self.0))
    }
}

impl Term {
    pub(super) fn has_key(&self) -> bool {
        !matches!(self.test, Test::Anywhere(_))
    }

    pub(super) fn is_about_states(&self) -> bool {
        matches!(self.test, Test::State(_))
    }

    /// Why it says nothing of a message of this place.
    pub(super) fn misfit(&self, place: Place) -> Option<String> {
        let Self { test, .. } = self;
        match (test, place) {
            (Test::Ended(_), Place::Queue) => Some(format!(
                "what is in the queue has not ended; ask for what has left it: pillarbox history list {test}"
            )),
            (Test::State(name), Place::History) if !FINAL.contains(name) => Some(format!(
                "what has left the queue is {}; ask for what is in it: pillarbox queue list {test}",
                FINAL.join(" or ")
            )),
            _ => None,
        }
    }

    pub(super) fn holds_of(&self, id: QueueId, record: &MessageRecord, now: Timestamp) -> bool {
        self.test.holds_of(id, record, now) != self.is_not
    }
}

impl Test {
    fn holds_of(&self, id: QueueId, record: &MessageRecord, now: Timestamp) -> bool {
        let of_sender =
            |text: &Text| record.reverse_path.as_ref().is_some_and(|at| text.is_in(at.as_str()));
        let of_recipients = |text: &Text| some(record, |one| text.is_in(one.address.as_str()));
        let of_user = |text: &Text| record.about.user.as_ref().is_some_and(|user| text.is_in(user));
        let is_of_id = |text: &Text| text.begins(&id.to_string());
        match self {
            Self::Anywhere(text) => {
                of_sender(text)
                    || of_recipients(text)
                    || text.is_in(&record.about.subject)
                    || text.is_in(&record.about.client.to_string())
                    || of_user(text)
                    || is_of_id(text)
            }
            Self::From(Sender::Null) => record.reverse_path.is_none(),
            Self::From(Sender::Some(text)) => of_sender(text),
            Self::To(text) => of_recipients(text),
            Self::Subject(text) => text.is_in(&record.about.subject),
            Self::Id(text) => is_of_id(text),
            Self::Client(clients) => clients.have(record.about.client),
            Self::User(text) => of_user(text),
            Self::Storm(text) => {
                record.fold.as_ref().is_some_and(|fold| text.begins(&fold.storm.to_string()))
            }
            Self::Lane(lane) => record.lane == *lane,
            Self::Rule(name) => record.rule.as_ref().is_some_and(|rule| name.is(rule)),
            Self::State(name) => record.has_state(name, now),
            Self::Ended(name) => record.end.as_ref().is_some_and(|end| end.how.name() == *name),
            Self::Reply(text) => some(record, |one| words(one).any(|said| text.is_in(said))),
            Self::Age(than, age) => than.holds(now.since(record.accepted_at), *age),
            Self::Size(than, size) => than.holds(record.size_bytes, *size),
        }
    }
}

/// Whether it is true of a recipient.
fn some(record: &MessageRecord, is_true: impl Fn(&Recipient) -> bool) -> bool {
    record.recipients.iter().any(is_true)
}

/// What was said about a recipient: the last reply, and why it is held or dead.
fn words(recipient: &Recipient) -> impl Iterator<Item = &str> {
    let reason = match &recipient.state {
        RecipientState::Held { reason, .. } | RecipientState::Dead { reason, .. } => Some(reason),
        _ => None,
    };
    recipient.last_reply.iter().chain(reason).map(String::as_str)
}

impl Than {
    fn holds<T: Ord>(self, found: T, limit: T) -> bool {
        match self {
            Self::Less => found < limit,
            Self::More => found > limit,
        }
    }

    /// The word for this side.
    fn key(self, less: &'static str, more: &'static str) -> &'static str {
        match self {
            Self::Less => less,
            Self::More => more,
        }
    }
}

impl Clients {
    fn have(self, client: Client) -> bool {
        match (self, client) {
            (Self::Of(network), Client::At(address)) => {
                network.contains(&IpNet::from(address.to_canonical()))
            }
            (Self::Of(_), _) => false,
            (Self::Exactly(wanted), client) => wanted == client,
        }
    }

    /// The clients of a written address or network.
    pub(super) fn of(written: &str) -> Option<Self> {
        let bare = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = bare.unwrap_or(written).parse::<IpAddr>();
        let network = address.map(|address| IpNet::from(address.to_canonical()));
        network
            .ok()
            .or_else(|| written.parse().ok())
            .map(|network: IpNet| Self::Of(network.trunc()))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_not { "-" } else { "" })?;
        write!(formatter, "{}", self.test)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anywhere(Text(text)) => write!(formatter, "{}", Written(text, Alone::Yes)),
            Self::From(Sender::Null) => formatter.write_str("from:<>"),
            Self::From(Sender::Some(text)) => text.write(formatter, "from"),
            Self::To(text) => text.write(formatter, "to"),
            Self::Subject(text) => text.write(formatter, "subject"),
            Self::Id(text) => text.write(formatter, "id"),
            Self::Client(Clients::Exactly(client)) => write!(formatter, "client:{client}"),
            Self::Client(Clients::Of(network))
                if network.prefix_len() == network.max_prefix_len() =>
            {
                write!(formatter, "client:{}", network.addr())
            }
            Self::Client(Clients::Of(network)) => write!(formatter, "client:{network}"),
            Self::User(text) => text.write(formatter, "user"),
            Self::Storm(text) => text.write(formatter, "storm"),
            Self::Lane(lane) => write!(formatter, "lane:{}", lane.name()),
            Self::Rule(name) => name.write(formatter, "rule"),
            Self::State(name) => write!(formatter, "state:{name}"),
            Self::Ended(name) => write!(formatter, "ended:{name}"),
            Self::Reply(text) => text.write(formatter, "reply"),
            Self::Age(than, age) => {
                let seconds = age.as_secs();
                let fits = |(_, unit): &&(&str, u64)| seconds > 0 && seconds.is_multiple_of(*unit);
                let (unit, length) = UNITS.iter().find(fits).unwrap_or(&("s", 1));
                let key = than.key("newer", "older");
                write!(formatter, "{key}:{}{unit}", seconds / length)
            }
            Self::Size(than, size) => {
                write!(formatter, "{}:{size}", than.key("smaller", "larger"))
            }
        }
    }
}

impl Text {
    fn write(&self, formatter: &mut fmt::Formatter<'_>, key: &str) -> fmt::Result {
        // Without quotes it would be the null reverse path.
        let alone = if self.0 == "<>" { Alone::Yes } else { Alone::No };
        write!(formatter, "{key}:{}", Written(&self.0, alone))
    }
}

/// Whether a text stands without a key, so that it could be taken for one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    Yes,
    No,
}

/// A text, in quotes where it needs them.
struct Written<'a>(&'a str, Alone);

impl fmt::Display for Written<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, alone) = self;
        let looks_like_more = *alone == Alone::Yes && text.contains(['-', ':', '<', '>']);
        if !looks_like_more && !text.contains(|one: char| one == '"' || one.is_whitespace()) {
            return formatter.write_str(text);
        }
        let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
        write!(formatter, "\"{escaped}\"")
    }
}
