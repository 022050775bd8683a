//! The forms in which a webhook gets an alert: those of ntfy, Gotify, Slack and Discord beside our own JSON.
//!
//! Rule: each form is bounded by what its receiver takes, and nothing in it is a mark-up or a mention that others have
//! written: a reply of the upstream may be part of an alert. Must not know how it is sent.

use serde_json::json;

use super::watch::{Alert, State};
use crate::{delivery::https::Endpoint, text};

/// Octets of a title: ntfy and Gotify show one line.
const TITLE_BYTES_MAX: usize = 250;
/// Octets of a message: ntfy makes a file of more than 4,096, Discord refuses more than 2,000 characters in all.
const MESSAGE_BYTES_MAX: usize = 1_400;

const NO_TOPIC: &str = "the address of ntfy ends in no topic, as https://ntfy.sh/my-topic does";

/// Whose form it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// Ours, which `docs/dead-letters.md` describes.
    #[default]
    Json,
    /// ntfy (docs.ntfy.sh/publish, "Publish as JSON"): the topic is the last part of the address's path.
    Ntfy,
    /// Gotify (gotify.net/docs, POST /message): the address has the application's token.
    Gotify,
    /// Slack's incoming webhooks, which Mattermost, Rocket.Chat and others take, too.
    Slack,
    /// Discord's webhooks.
    Discord,
}

impl Format {
    /// As the configuration writes it.
    pub(crate) const WORDS: &[(&str, Self)] = &[
        ("json", Self::Json),
        ("ntfy", Self::Ntfy),
        ("gotify", Self::Gotify),
        ("slack", Self::Slack),
        ("discord", Self::Discord),
    ];

    /// See [`Self::WORDS`].
    pub(crate) fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name)
    }

    /// What is posted, and where.
    ///
    /// # Errors
    /// Why there is nothing to post it to.
    pub(super) fn request(
        self,
        endpoint: Endpoint,
        alert: &Alert,
    ) -> Result<(Endpoint, String), String> {
        let title = text::printable_within(&alert.subject, TITLE_BYTES_MAX);
        let remedy = text::printable_within(&alert.remedy, MESSAGE_BYTES_MAX);
        let message = if remedy.is_empty() { &title } else { &remedy };
        let body = match self {
            Self::Json => {
                let json = serde_json::to_string(alert).map_err(|error| error.to_string())?;
                return Ok((endpoint, json));
            }
            Self::Ntfy => {
                let (server, topic) = endpoint.split_topic().ok_or(NO_TOPIC)?;
                let (priority, tag) = match alert.state {
                    State::Begins => (4, "warning"),
                    State::Lasts => (3, "warning"),
                    State::Over => (3, "white_check_mark"),
                };
                let body = json!({
                    "topic": topic, "title": title, "message": message, "priority": priority, "tags": [tag]
                });
                return Ok((server, body.to_string()));
            }
            Self::Gotify => {
                let priority = if alert.state == State::Begins { 8 } else { 5 };
                json!({ "title": title, "message": message, "priority": priority })
            }
            Self::Slack => json!({ "text": lines(&in_slack(&title), &in_slack(&remedy)) }),
            Self::Discord => json!({
                "content": lines(&in_discord(&title), &in_discord(&remedy)), "allowed_mentions": { "parse": [] }
            }),
        };
        Ok((endpoint, body.to_string()))
    }

    /// Whether this address can be one of such a receiver.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn fits(self, endpoint: &Endpoint) -> Result<(), String> {
        match self {
            Self::Ntfy if endpoint.split_topic().is_none() => Err(NO_TOPIC.to_owned()),
            _ => Ok(()),
        }
    }
}

fn lines(title: &str, remedy: &str) -> String {
    if remedy.is_empty() { title.to_owned() } else { format!("{title}\n{remedy}") }
}

/// Slack's three characters (docs.slack.dev, "Escaping text"): no link and no mention is left.
fn in_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Nothing that Markdown would read, in what Discord takes: what is written in two characters counts as two.
fn in_discord(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if plain.len() >= MESSAGE_BYTES_MAX {
            break;
        }
        if "\\*_~`|>#[]<".contains(character) {
            plain.push('\\');
        }
        plain.push(character);
    }
    plain
}
